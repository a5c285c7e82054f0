/*
 * Little of a text is folded. ASCII folds to ASCII, one octet to one, and each other character by
 * itself to some octets, so that a needle is found either
 * (1) in octets that all come from ASCII: these are compared as they are, or
 * (2) with some that come from another character: then all of it lies within as many characters
 *     before and after, as it has octets.
 * So (2) folds what is near to other characters, and nothing if there are none.
 *
 * For (1) two octets of the needle are compared with sixteen places at once. Which two decides how
 * often all of it has to be compared; where that comes to more than the text is long, the rest is
 * folded and left to memmem(), which is linear.
 */
#include "mail/mime_needle.h"

#include "base/error.h"
#include "mail/mime_charset.h"
#include "mail/mime_text.h"

#define LANE_COUNT 16
#define BLOCK_SIZE 65536 /* bytes upper-cased at once; always more than a needle */
#define COMPARED_SLACK 4096

static_assert(BLOCK_SIZE >= 2 * MIME_NEEDLE_SIZE_MAX, "most of a block must be new");

typedef unsigned char lanes __attribute__((vector_size(LANE_COUNT)));

/* The later in this, the rarer; what is not in it is rarer than most letters. */
static size_t rarity(int octet)
{
	static const char usual[] = " ETAOINSRHLDCUM0PFGWYB1.2-VK3456789\x01XJQZ";
	const char *found = octet == '\0' ? NULL : strchr(usual, octet);

	return (size_t)((found != NULL ? found : strchr(usual, '\x01')) - usual);
}

static void find_rare(struct mime_needle *needle)
{
	const unsigned char *octets = needle->folded.data;
	size_t *rare = needle->rare;

	for (size_t i = 1; i < needle->folded.len; i++) {
		if (rarity(octets[i]) > rarity(octets[rare[0]])) {
			rare[1] = rare[0];
			rare[0] = i;
		} else if (rare[1] == rare[0] || rarity(octets[i]) > rarity(octets[rare[1]])) {
			rare[1] = i;
		}
	}
}

int mime_needle_init(struct mime_needle *needle, struct bytes text, struct bytes charset)
{
	struct buffer utf8 = { 0 };
	int rc;

	if (text.len > MIME_NEEDLE_SIZE_MAX)
		return ERR_TOO_LARGE;
	*needle = (struct mime_needle){ 0 };
	rc = mime_to_utf8_strictly(text, charset, &utf8);
	if (rc == 0)
		mime_casemap(buffer_bytes(&utf8), &needle->folded);
	buffer_deinit(&utf8);
	if (rc == 0 && needle->folded.len > MIME_NEEDLE_SIZE_MAX)
		rc = ERR_TOO_LARGE;
	needle->is_ascii = bytes_ascii_len(buffer_bytes(&needle->folded)) == needle->folded.len;
	find_rare(needle);
	if (rc < 0)
		mime_needle_deinit(needle);
	return rc;
}

void mime_needle_deinit(struct mime_needle *needle)
{
	buffer_deinit(&needle->folded);
}

struct bytes mime_needle_folded(const struct mime_needle *needle)
{
	return buffer_bytes(&needle->folded);
}

bool mime_needle_in_folded(const struct mime_needle *needle, struct bytes folded)
{
	if (needle->folded.len == 0)
		return true;
	return folded.len >= needle->folded.len &&
	       memmem(folded.ptr, folded.len, needle->folded.data, needle->folded.len) != NULL;
}

/* ---- ASCII ---- */

static bool in_blocks(const struct mime_needle *needle, struct bytes octets)
{
	unsigned char block[BLOCK_SIZE];

	for (;;) {
		size_t size = octets.len < BLOCK_SIZE ? octets.len : BLOCK_SIZE;

		mime_upper_copy(block, octets.ptr, size);
		if (mime_needle_in_folded(needle, bytes_of(block, size)))
			return true;
		if (size == octets.len)
			return false;
		bytes_skip(&octets, size - (needle->folded.len - 1));
	}
}

static unsigned char upper(unsigned char octet)
{
	return octet >= 'a' && octet <= 'z' ? (unsigned char)(octet - 32) : octet;
}

static bool is_at(const struct mime_needle *needle, const unsigned char *octets, size_t *compared)
{
	size_t i = 0;

	while (i < needle->folded.len && upper(octets[i]) == needle->folded.data[i])
		i++;
	*compared += i + 1;
	return i == needle->folded.len;
}

/* An octet of the needle, for all lanes: (text | bits) == octets where the text has it. */
struct probe {
	lanes bits;
	lanes octets;
	size_t at; /* in the needle */
};

static struct probe probe_of(const struct mime_needle *needle, size_t at)
{
	unsigned char octet = needle->folded.data[at], bit = 0;
	struct probe probe = { .at = at };

	if (octet >= 'A' && octet <= 'Z')
		bit = 'a' - 'A';
	memset(&probe.bits, bit, sizeof(probe.bits));
	memset(&probe.octets, octet | bit, sizeof(probe.octets));
	return probe;
}

static bool any_lane(const unsigned char *octets, const struct probe *a, const struct probe *b)
{
	lanes at_a, at_b, both;
	uint64_t words[LANE_COUNT / sizeof(uint64_t)];

	memcpy(&at_a, octets + a->at, sizeof(at_a));
	memcpy(&at_b, octets + b->at, sizeof(at_b));
	both = (lanes)((at_a | a->bits) == a->octets) & (lanes)((at_b | b->bits) == b->octets);
	memcpy(words, &both, sizeof(words));
	return (words[0] | words[1]) != 0;
}

bool mime_needle_in_octets(const struct mime_needle *needle, struct bytes octets)
{
	struct probe probes[2];
	size_t place_count, compared = 0, at = 0;

	if (needle->folded.len == 0)
		return true;
	if (octets.len < needle->folded.len)
		return false;
	probes[0] = probe_of(needle, needle->rare[0]);
	probes[1] = probe_of(needle, needle->rare[1]);
	place_count = octets.len - needle->folded.len + 1;
	while (at < place_count) {
		size_t end = at + LANE_COUNT;

		if (end > place_count) {
			end = place_count;
		} else if (!any_lane(octets.ptr + at, &probes[0], &probes[1])) {
			at = end;
			continue;
		}
		for (; at < end; at++) {
			if (is_at(needle, octets.ptr + at, &compared))
				return true;
		}
		if (compared > octets.len + COMPARED_SLACK)
			return in_blocks(needle, bytes_of(octets.ptr + at, octets.len - at));
	}
	return false;
}

/* ---- other characters ---- */

static bool is_ascii_at(struct bytes text, size_t at)
{
	return text.ptr[at] < 0x80;
}

/* The end of what may belong to a find with the character at `at`: so much ASCII behind the last
 * character that follows with less between them. */
static size_t reach_end(struct bytes utf8, size_t at, size_t reach)
{
	size_t ascii_count = 0;

	for (; at < utf8.len && ascii_count < reach; at++)
		ascii_count = is_ascii_at(utf8, at) ? ascii_count + 1 : 0;
	return at;
}

/* In a short text, which mostly has not even the octet that is rarest. */
static bool is_in_short(const struct mime_needle *needle, struct bytes folded)
{
	return bytes_find(folded, needle->folded.data[needle->rare[0]]) < folded.len &&
	       mime_needle_in_folded(needle, folded);
}

static bool near_others(const struct mime_needle *needle, struct bytes utf8)
{
	struct buffer folded = { 0 };
	struct mime_folder folder = { 0 };
	size_t reach = needle->folded.len, at = 0;
	bool found = false;

	while (!found && at < utf8.len) {
		size_t other = at + bytes_ascii_len(bytes_of(utf8.ptr + at, utf8.len - at));
		/* What stands that near before it is ASCII, or was folded with what came before. */
		size_t begin = other < reach ? 0 : other - reach;

		if (other == utf8.len)
			break;
		at = reach_end(utf8, other, reach);
		buffer_clear(&folded);
		mime_fold(&folder, bytes_of(utf8.ptr + begin, at - begin), &folded);
		found = is_in_short(needle, buffer_bytes(&folded));
	}
	buffer_deinit(&folded);
	return found;
}

bool mime_needle_in_utf8(const struct mime_needle *needle, struct bytes utf8)
{
	return (needle->is_ascii && mime_needle_in_octets(needle, utf8)) ||
	       near_others(needle, utf8);
}
