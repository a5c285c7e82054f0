/*
 * i;unicode-casemap (RFC 5051, 2): each character's simple titlecase form, decomposed canonically
 * and for compatibility, character by character and without reordering.
 */
#include "mail/mime_text.h"

#include "mail/mime_charset.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#define DECOMPOSITION_UNITS_MAX 32 /* UTF-16; the longest (U+FDFA) has 18 */
#define HANGUL_FIRST 0xac00
#define HANGUL_LAST 0xd7a3

static struct mime_folded_character character_fold(
	const UNormalizer2 *decomposer, int character, struct buffer *out)
{
	struct mime_folded_character folded = { .character = character };
	UChar units[DECOMPOSITION_UNITS_MAX];
	char utf8[DECOMPOSITION_UNITS_MAX * 3];
	UErrorCode status = U_ZERO_ERROR;
	int32_t count = -1, size = 0;
	size_t before = out->len;

	character = u_totitle(character);
	/* Hangul syllables decompose by a rule, not by the property that RFC 5051 names. */
	if (decomposer != NULL && (character < HANGUL_FIRST || character > HANGUL_LAST))
		count = unorm2_getDecomposition(
			decomposer, character, units, DECOMPOSITION_UNITS_MAX, &status);
	if (count >= 0)
		u_strToUTF8(utf8, sizeof(utf8), &size, units, count, &status);
	if (count < 0 || U_FAILURE(status))
		mime_utf8_append(out, character);
	else
		buffer_append(out, utf8, (size_t)size);
	if (out->len - before <= sizeof(folded.octets)) {
		folded.size = (uint8_t)(out->len - before);
		memcpy(folded.octets, out->data + before, folded.size);
	}
	return folded;
}

void mime_upper_copy(unsigned char *to, const unsigned char *from, size_t size)
{
	const uint64_t ones = 0x0101010101010101u, highs = ones << 7;
	size_t i = 0;

	/* Eight octets at once: of each the high bit of `lower` says whether it is a small letter,
	 * and its shift is the difference of the cases. */
	for (; i + sizeof(uint64_t) <= size; i += sizeof(uint64_t)) {
		uint64_t word, low, lower;

		memcpy(&word, from + i, sizeof(word));
		low = word & ~highs;
		lower = (low + ones * (0x80 - 'a')) & ~(low + ones * (0x7f - 'z')) & ~word & highs;
		word -= lower >> 2;
		memcpy(to + i, &word, sizeof(word));
	}
	for (; i < size; i++)
		to[i] = from[i] >= 'a' && from[i] <= 'z' ? (unsigned char)(from[i] - 32) : from[i];
}

static void character_append(struct mime_folder *folder, int character, struct buffer *out)
{
	struct mime_folded_character *known =
		&folder->known[(unsigned)character % MIME_FOLDER_COUNT];
	UErrorCode status = U_ZERO_ERROR;

	if (known->size > 0 && known->character == character) {
		buffer_append(out, known->octets, known->size);
		return;
	}
	*known = character_fold(unorm2_getNFKDInstance(&status), character, out);
}

void mime_fold(struct mime_folder *folder, struct bytes utf8, struct buffer *out)
{
	buffer_reserve(out, utf8.len);
	while (utf8.len > 0) {
		size_t ascii = bytes_ascii_len(utf8);
		int character;

		if (ascii > 0) {
			mime_upper_copy(buffer_extend(out, ascii), utf8.ptr, ascii);
			bytes_skip(&utf8, ascii);
			continue;
		}
		character = mime_utf8_take(&utf8);
		character_append(folder, character < 0 ? 0xfffd : character, out);
	}
}

void mime_casemap(struct bytes utf8, struct buffer *out)
{
	struct mime_folder folder = { 0 };

	mime_fold(&folder, utf8, out);
}
