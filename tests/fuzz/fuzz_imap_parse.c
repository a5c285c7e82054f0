/*
 * The elements of IMAP commands. The first byte says which is looked for in the rest; what was read
 * is written down and read again, and must be the same. Byte 0 to 9: where commands end, in one
 * piece and in pieces of that size.
 */
#include "fuzz_check.h"

#include "imap/imap_date.h"
#include "imap/imap_frame.h"
#include "imap/imap_reply.h"
#include "imap/imap_sequence.h"

#define INPUT_SIZE_MAX 8192
#define UNIT_COUNT_MAX 10000
#define SMALL 400 /* numbers up to this are looked at one by one */

static struct imap_parser parser_of(struct bytes text, struct arena *arena)
{
	return (struct imap_parser){ .rest = text, .arena = arena };
}

/* What is left must be the end of what there was. */
static void check_rest(const struct imap_parser *parser, struct bytes in)
{
	FUZZ_CHECK(parser->rest.len <= in.len);
	FUZZ_CHECK(in.len == 0 || parser->rest.ptr + parser->rest.len == in.ptr + in.len);
	FUZZ_CHECK(parser->depth == 0);
}

/* ---- framing ---- */

struct framing {
	enum net_frame results[UNIT_COUNT_MAX];
	size_t ends[UNIT_COUNT_MAX];
	size_t count;
	size_t prompt_count;
};

/* The commands of `in`, of which only `piece_size` more bytes are known at each look. */
static void frame_all(struct bytes in, size_t piece_size, struct framing *framing)
{
	const struct imap_frame_limits limits = {
		.is_authenticated = true, .append_size_max = 500, .unit_size_max = 2000
	};
	struct imap_frame frame = { 0 };
	size_t begin = 0, known = 0;

	framing->count = framing->prompt_count = 0;
	while (framing->count < UNIT_COUNT_MAX) {
		struct net_unit unit = { 0 };
		enum net_frame result = imap_frame_next(
			&frame, &limits, bytes_of(in.ptr + begin, known - begin), &unit);

		framing->prompt_count += result == NET_FRAME_MORE && unit.reply.len > 0;
		framing->prompt_count += frame.late_prompt_count;
		frame.late_prompt_count = 0; /* as the session does when it has sent them */
		if (result == NET_FRAME_BAD)
			return;
		if (result == NET_FRAME_MORE) {
			FUZZ_CHECK(unit.len == 0 &&
				   (unit.wanted == 0 || unit.wanted >= known - begin));
			if (known == in.len)
				return;
			known = in.len - known < piece_size ? in.len : known + piece_size;
			continue;
		}
		FUZZ_CHECK(unit.len > 0 && unit.len <= known - begin);
		begin += unit.len;
		if (result == NET_FRAME_SKIP)
			continue;
		framing->results[framing->count] = result;
		framing->ends[framing->count++] = begin;
	}
}

static void check_framing(struct bytes in, size_t piece_size)
{
	static struct framing whole, pieces;

	frame_all(in, in.len, &whole);
	frame_all(in, piece_size, &pieces);
	FUZZ_CHECK(whole.count == pieces.count);
	for (size_t i = 0; i < whole.count; i++)
		FUZZ_CHECK(
			whole.results[i] == pieces.results[i] && whole.ends[i] == pieces.ends[i]);
	FUZZ_CHECK(whole.prompt_count == pieces.prompt_count);
}

/* ---- strings and names ---- */

static void check_string(struct bytes in, bool is_astring, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena), again;
	struct buffer text = { 0 };
	struct bytes string, other;
	int rc = is_astring ? imap_parse_astring(&parser, &string)
			    : imap_parse_string(&parser, &string);

	if (rc == 0) {
		check_rest(&parser, in);
		FUZZ_CHECK(bytes_find(string, '\0') == string.len);
		if (is_astring)
			imap_put_astring(&text, string);
		else
			imap_put_string(&text, string);
		again = parser_of(buffer_bytes(&text), arena);
		rc = is_astring ? imap_parse_astring(&again, &other)
				: imap_parse_string(&again, &other);
		FUZZ_CHECK(rc == 0 && again.rest.len == 0 && bytes_equal(string, other));
	}
	buffer_deinit(&text);
}

static void check_mailbox(struct bytes in, bool is_utf8, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena), again;
	struct imap_session session = { .is_utf8 = is_utf8 }; /* all that is asked of it */
	struct bytes name, other;

	parser.is_utf8 = is_utf8;
	if (imap_parse_mailbox(&parser, &name) == 0) {
		check_rest(&parser, in);
		imap_put_mailbox(&session, name);
		again = parser_of(buffer_bytes(&session.out), arena);
		again.is_utf8 = is_utf8;
		FUZZ_CHECK(imap_parse_mailbox(&again, &other) == 0);
		FUZZ_CHECK(again.rest.len == 0 && bytes_equal(name, other));
	}
	buffer_deinit(&session.out);
}

static void check_strings(struct bytes in, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena), again;
	struct buffer text = { 0 };
	struct bytes *strings, *others;
	size_t count, other_count;

	if (imap_parse_astring_list(&parser, &strings, &count) == 0) {
		check_rest(&parser, in);
		FUZZ_CHECK(count > 0 && count <= IMAP_LIST_COUNT_MAX);
		for (size_t i = 0; i < count; i++) {
			buffer_append_byte(&text, i == 0 ? '(' : ' ');
			imap_put_astring(&text, strings[i]);
		}
		buffer_append_byte(&text, ')');
		again = parser_of(buffer_bytes(&text), arena);
		FUZZ_CHECK(imap_parse_astring_list(&again, &others, &other_count) == 0);
		FUZZ_CHECK(other_count == count && again.rest.len == 0);
		for (size_t i = 0; i < count; i++)
			FUZZ_CHECK(bytes_equal(strings[i], others[i]));
	}
	buffer_deinit(&text);
}

/* ---- flags ---- */

static void check_flags(struct bytes in, bool is_store, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena), again;
	struct buffer text = { 0 };
	struct imap_flags flags, others;
	int rc = is_store ? imap_parse_store_flags(&parser, &flags)
			  : imap_parse_flag_list(&parser, &flags);

	if (rc < 0)
		return;
	check_rest(&parser, in);
	buffer_append_byte(&text, '(');
	for (size_t i = 0; i < flags.count; i++) {
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(!bytes_equal_nocase(flags.names[i], flags.names[k]));
		FUZZ_CHECK(!bytes_equal_string_nocase(flags.names[i], "\\Recent"));
		buffer_append_string(&text, i > 0 ? " " : "");
		buffer_append_bytes(&text, flags.names[i]);
	}
	buffer_append_byte(&text, ')');
	again = parser_of(buffer_bytes(&text), arena);
	FUZZ_CHECK(imap_parse_flag_list(&again, &others) == 0 && again.rest.len == 0);
	FUZZ_CHECK(others.count == flags.count);
	for (size_t i = 0; i < flags.count; i++)
		FUZZ_CHECK(bytes_equal(flags.names[i], others.names[i]));
	buffer_deinit(&text);
}

/* ---- dates ---- */

static void check_date_time(struct bytes in, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena), again;
	struct buffer text = { 0 };
	int64_t seconds, other;
	int32_t zone, other_zone;

	if (imap_parse_date_time(&parser, &seconds, &zone) == 0) {
		check_rest(&parser, in);
		imap_date_time_write(&text, seconds, zone);
		again = parser_of(buffer_bytes(&text), arena);
		FUZZ_CHECK(imap_parse_date_time(&again, &other, &other_zone) == 0);
		FUZZ_CHECK(again.rest.len == 0 && other_zone == zone);
		/* A leap second at the end of the year 9999 has no form. */
		FUZZ_CHECK(other == seconds || seconds / 86400 > 2932890);
	}
	buffer_deinit(&text);
}

static void check_date(struct bytes in, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena), again;
	struct buffer text = { 0 };
	int64_t day, other;
	int32_t zone;

	if (imap_parse_date(&parser, &day) == 0) {
		check_rest(&parser, in);
		imap_date_time_write(&text, day * 86400, 0);
		again = parser_of(buffer_bytes(&text), arena);
		FUZZ_CHECK(imap_parse_date_time(&again, &other, &zone) == 0);
		FUZZ_CHECK(other == day * 86400 && imap_day_of(other, 0) == day);
	}
	buffer_deinit(&text);
}

/* ---- sets ---- */

/* Whether the set has the number, range by range as the client wrote it. */
static bool has_number(const struct imap_sequence *sequence, uint32_t number, uint32_t star)
{
	for (size_t i = 0; i < sequence->count; i++) {
		uint32_t a = sequence->ranges[i].first, b = sequence->ranges[i].last;

		a = a == IMAP_STAR ? star : a;
		b = b == IMAP_STAR ? star : b;
		if ((a <= number && number <= b) || (b <= number && number <= a))
			return true;
	}
	return false;
}

static void check_written_set(const struct uid_set *set, struct arena *arena)
{
	struct imap_sequence sequence;
	struct imap_parser parser;
	struct uid_set again = { 0 };
	struct buffer text = { 0 };

	imap_set_write(&text, set);
	FUZZ_CHECK((text.len == 0) == (set->count == 0));
	if (set->count > 0) {
		parser = parser_of(buffer_bytes(&text), arena);
		FUZZ_CHECK(imap_parse_plain_sequence(&parser, &sequence) == 0);
		FUZZ_CHECK(parser.rest.len == 0 && sequence.count == set->count);
		imap_sequence_resolve(&sequence, 1, &again);
		FUZZ_CHECK(again.count == set->count &&
			   memcmp(again.ranges, set->ranges, set->count * sizeof(set->ranges[0])) ==
				   0);
	}
	uid_set_deinit(&again);
	buffer_deinit(&text);
}

static void check_set(struct bytes in, uint32_t star, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena);
	struct imap_sequence sequence, copy;
	struct uid_set set = { 0 };

	if (imap_parse_sequence(&parser, &sequence) < 0)
		return;
	check_rest(&parser, in);
	FUZZ_CHECK(sequence.is_saved == (sequence.count == 0));
	FUZZ_CHECK(sequence.count <= IMAP_RANGE_COUNT_MAX);
	copy = sequence;
	copy.ranges = arena_alloc(arena, (sequence.count + 1) * sizeof(*copy.ranges));
	if (sequence.count > 0)
		memcpy(copy.ranges, sequence.ranges, sequence.count * sizeof(*copy.ranges));
	imap_sequence_resolve(&sequence, star, &set);
	for (uint32_t number = 1; number < SMALL; number++)
		FUZZ_CHECK(uid_set_has(&set, number) == has_number(&copy, number, star));
	for (size_t i = 0; i < set.count; i++)
		FUZZ_CHECK(set.ranges[i].first <= set.ranges[i].last &&
			   (i == 0 || set.ranges[i].first > set.ranges[i - 1].last));
	if (set.count > 0)
		FUZZ_CHECK(imap_sequence_greatest(&copy, star) == set.ranges[set.count - 1].last);
	check_written_set(&set, arena);
	uid_set_deinit(&set);
}

static void check_numbers(struct bytes in, struct arena *arena)
{
	struct imap_parser parser = parser_of(in, arena), again;
	uint64_t number, modseq;
	char text[32];

	if (imap_parse_number(&parser, UINT64_MAX, &number) == 0) {
		check_rest(&parser, in);
		snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
		while (bytes_peek(in) == '0' && in.len - parser.rest.len > strlen(text))
			bytes_skip(&in, 1);
		FUZZ_CHECK(bytes_equal_string(bytes_of(in.ptr, in.len - parser.rest.len), text));
		again = parser_of(in, arena);
		FUZZ_CHECK((imap_parse_modseq(&again, &modseq) == 0) == (number <= INT64_MAX));
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct arena *arena;
	struct bytes in;
	unsigned choice;

	if (size < 1 || size > INPUT_SIZE_MAX)
		return 0;
	choice = data[0];
	in = bytes_of(data + 1, size - 1);
	if (choice < 10) {
		check_framing(in, choice + 1);
		return 0;
	}
	arena = arena_new();
	switch (choice % 10) {
	case 0:
	case 1:
		check_string(in, choice % 10 == 1, arena);
		break;
	case 2:
		check_mailbox(in, choice >= 128, arena);
		break;
	case 3:
		check_strings(in, arena);
		break;
	case 4:
	case 5:
		check_flags(in, choice % 10 == 5, arena);
		break;
	case 6:
		check_date_time(in, arena);
		break;
	case 7:
		check_date(in, arena);
		break;
	case 8:
		check_set(in, choice, arena);
		break;
	default:
		check_numbers(in, arena);
		break;
	}
	arena_free(&arena);
	return 0;
}
