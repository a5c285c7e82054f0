#include "imap/imap_date.h"
#include "imap/imap_fetch.h"
#include "imap/imap_frame.h"
#include "imap/imap_match.h"
#include "imap/imap_parse.h"
#include "imap/imap_sequence.h"
#include "imap/imap_url.h"
#include "imap/imap_utf7.h"

#include "base/error.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* The text in a block of exactly its size, so that a sanitizer sees each byte read too far. */
static struct bytes exact(const char *text)
{
	return bytes_of(mem_dup(text, strlen(text)), strlen(text));
}

static struct arena *arena;

static int set_up(void **state)
{
	(void)state;
	arena = arena_new();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

/* ---- frames ---- */

static const struct imap_frame_limits user_limits = { .is_authenticated = true,
	.append_size_max = 200000,
	.sync_size_max = 300000,
	.unit_size_max = 400000 };

/* Feeds the text up to `len` bytes, as if it had come one byte after the other. */
static enum net_frame frame_bytewise(struct imap_frame *frame, const char *text, size_t len,
	unsigned *prompt_count, struct net_unit *unit_r)
{
	enum net_frame result = NET_FRAME_MORE;

	for (size_t i = 1; i <= len && result == NET_FRAME_MORE; i++) {
		*unit_r = (struct net_unit){ 0 };
		result = imap_frame_next(frame, &user_limits, bytes_of(text, i), unit_r);
		*prompt_count += result == NET_FRAME_MORE && unit_r->reply.len > 0;
	}
	return result;
}

static const struct {
	const char *text;
	unsigned prompt_count;
} commands[] = {
	{ "a NOOP\r\n", 0 },
	{ "a NOOP\n", 0 },
	{ "a LOGIN {5}\r\nalice {6}\r\nsecret\r\n", 2 },
	{ "a LOGIN {5+}\r\nalice {6+}\r\nsecret\r\n", 0 },
	{ "a LOGIN {0}\r\n {0+}\r\n\r\n", 1 },
	{ "a APPEND x (\\Seen) {11}\r\n{5}\r\n\r\n{6}\r {2+}\r\nx\n\r\n", 1 },
	{ "a SEARCH \"{5}\"\r\n", 0 },
	{ "a SEARCH {}\r\n", 0 },
	{ "a SEARCH 5}\r\n", 0 },
};

static void every_strict_prefix_of_a_command_needs_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		size_t len = strlen(commands[i].text);

		for (size_t cut = 0; cut <= len; cut++) {
			struct imap_frame frame = { 0 };
			struct net_unit unit = { 0 };
			unsigned prompt_count = 0;
			struct bytes prefix = bytes_of(mem_dup(commands[i].text, cut + 1), cut);
			enum net_frame result =
				imap_frame_next(&frame, &user_limits, prefix, &unit);

			free((void *)prefix.ptr);
			assert_int_equal(result, cut == len ? NET_FRAME_READY : NET_FRAME_MORE);
			frame = (struct imap_frame){ 0 };
			result =
				frame_bytewise(&frame, commands[i].text, cut, &prompt_count, &unit);
			assert_int_equal(result, cut == len ? NET_FRAME_READY : NET_FRAME_MORE);
			if (cut == len) {
				assert_int_equal(unit.len, len);
				assert_int_equal(prompt_count, commands[i].prompt_count);
			}
		}
	}
}

static void a_literal_that_is_there_already_is_prompted_for_late(void **state)
{
	const char *text = "a LOGIN {5}\r\nalice {6}\r\nsecret\r\n";
	struct imap_frame frame = { 0 };
	struct net_unit unit = { 0 };

	(void)state;
	assert_int_equal(imap_frame_next(&frame, &user_limits, bytes_of_string(text), &unit),
		NET_FRAME_READY);
	assert_int_equal(frame.late_prompt_count, 2);
}

static void a_command_ends_where_the_next_begins(void **state)
{
	const char *text = "a NOOP\r\nb NOOP\r\n";
	struct imap_frame frame = { 0 };
	struct net_unit unit = { 0 };

	(void)state;
	assert_int_equal(imap_frame_next(&frame, &user_limits, bytes_of_string(text), &unit),
		NET_FRAME_READY);
	assert_int_equal(unit.len, 8);
}

static void large_literals_are_for_append_and_sync_only(void **state)
{
	static const struct {
		const char *text;
		bool is_refused;
	} rows[] = {
		{ "a APPEND x {200000}\r\n", false },
		{ "a APPEND x {200001}\r\n", true }, /* one over */
		{ "a append x {200000}\r\n", false },
		{ "a SYNC {300000}\r\n", false },
		{ "a SYNC {300001}\r\n", true },
		{ "a SEARCH TEXT {65536}\r\n", false },
		{ "a SEARCH TEXT {65537}\r\n", true },
		{ "a APPENDIX {65537}\r\n", true },
		{ "a APPEND x {99999999999999999999999}\r\n", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct imap_frame frame = { 0 };
		struct net_unit unit = { 0 };
		enum net_frame result =
			imap_frame_next(&frame, &user_limits, bytes_of_string(rows[i].text), &unit);

		assert_int_equal(result, rows[i].is_refused ? NET_FRAME_READY : NET_FRAME_MORE);
		assert_int_equal(frame.refusal,
			rows[i].is_refused ? IMAP_REFUSED_LITERAL : IMAP_REFUSED_NOT);
	}
}

/* Takes the units and what is to be dropped, one after the other. Returns the number of units. */
static unsigned count_units(struct bytes input, size_t step)
{
	struct imap_frame frame = { 0 };
	unsigned unit_count = 0;
	size_t seen = 0;

	while (input.len > 0) {
		struct net_unit unit = { 0 };
		enum net_frame result;

		if (seen < input.len)
			seen = seen + step < input.len ? seen + step : input.len;
		result = imap_frame_next(&frame, &user_limits, bytes_of(input.ptr, seen), &unit);
		assert_int_not_equal(result, NET_FRAME_BAD);
		if (result == NET_FRAME_MORE && seen == input.len)
			return unit_count;
		if (result == NET_FRAME_MORE)
			continue;
		unit_count += result == NET_FRAME_READY;
		assert_true(unit.len > 0 && unit.len <= seen);
		bytes_skip(&input, unit.len);
		seen -= unit.len;
	}
	return unit_count;
}

static void what_follows_a_refused_literal_is_dropped(void **state)
{
	struct buffer input = { NULL, 0, 0 };

	(void)state;
	buffer_append_string(&input, "a CREATE {70000+}\r\n");
	memset(buffer_extend(&input, 70000), '\n', 70000);
	buffer_append_string(
		&input, " {3+}\r\nx\r\n x\r\nb NOOP\r\nc CREATE {70000}\r\nd NOOP\r\n");
	assert_int_equal(count_units(buffer_bytes(&input), 1), 4);
	assert_int_equal(count_units(buffer_bytes(&input), 100000), 4);
	buffer_deinit(&input);
}

static void what_follows_the_limit_of_a_line_is_dropped(void **state)
{
	struct buffer input = { NULL, 0, 0 };

	(void)state;
	buffer_append_string(&input, "a SEARCH ");
	memset(buffer_extend(&input, 200000), 'x', 200000);
	buffer_append_string(&input, " {6+}\r\nx NOOP\r\nb NOOP\r\n");
	assert_int_equal(count_units(buffer_bytes(&input), 997), 2);
	assert_int_equal(count_units(buffer_bytes(&input), 1000000), 2);
	buffer_deinit(&input);
}

/* ---- strings, flags, dates ---- */

static void strings_are_read_in_all_their_forms(void **state)
{
	static const struct {
		const char *text;
		const char *value; /* NULL: malformed */
	} rows[] = {
		{ "abc]+ x", "abc]+" },
		{ "\"a \\\"b\\\\c\" x", "a \"b\\c" },
		{ "\"\" x", "" },
		{ "{3}\r\na\rb x", "a\rb" },
		{ "{3+}\r\nabc x", "abc" },
		{ "{0}\r\n x", "" },
		{ "\"a", NULL },
		{ "\"a\\", NULL },
		{ "\"a\\b\"", NULL },
		{ "\"a\r\n\"", NULL },
		{ "{5}\r\nab", NULL },
		{ "{5", NULL },
		{ "{}\r\n", NULL },
		{ "{1}x", NULL },
		{ "(", NULL },
		{ "a\x80", "a" },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = exact(rows[i].text), value;
		struct imap_parser parser = { .rest = text, .arena = arena };
		int rc = imap_parse_astring(&parser, &value);

		assert_int_equal(rc, rows[i].value == NULL ? ERR_INVALID : 0);
		if (rc == 0)
			assert_true(bytes_equal_string(value, rows[i].value));
		else
			assert_non_null(parser.problem);
		free((void *)text.ptr);
	}
}

static void flags_come_in_one_spelling_and_once(void **state)
{
	struct imap_parser parser = {
		.rest = BYTES_LITERAL("(\\SEEN foo \\seen $forwarded FOO \\Recent)"), .arena = arena
	};
	struct imap_flags flags;

	(void)state;
	assert_int_equal(imap_parse_flag_list(&parser, &flags), 0);
	assert_int_equal(flags.count, 3);
	assert_true(bytes_equal_string(flags.names[0], "\\Seen"));
	assert_true(bytes_equal_string(flags.names[1], "foo"));
	assert_true(bytes_equal_string(flags.names[2], "$Forwarded"));
}

static void dates_are_those_of_the_calendar(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: malformed */
		int32_t zone;
	} rows[] = {
		{ "\"01-Jan-1970 00:00:00 +0000\"", 0, 0 },
		{ "\" 1-jan-1970 00:00:00 +0000\"", 0, 0 },
		{ "\"17-Jul-1996 02:44:25 -0700\"", 837596665, -420 },
		{ "\"29-Feb-2000 23:59:59 +0530\"", 951848999, 330 },
		{ "\"29-Feb-1900 00:00:00 +0000\"", -1, 0 }, /* no leap year */
		{ "\"31-Apr-2000 00:00:00 +0000\"", -1, 0 },
		{ "\"00-Apr-2000 00:00:00 +0000\"", -1, 0 },
		{ "\"01-Apr-2000 24:00:00 +0000\"", -1, 0 },
		{ "\"01-Apr-2000 00:00:00 0000\"", -1, 0 },
		{ "\"01-Apr-2000 00:00:00 +0000", -1, 0 },
		{ "\"01-Xyz-2000 00:00:00 +0000\"", -1, 0 },
		{ "\"01-Ap", -1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = exact(rows[i].text);
		struct imap_parser parser = { .rest = text, .arena = arena };
		int64_t seconds;
		int32_t zone;
		int rc = imap_parse_date_time(&parser, &seconds, &zone);

		assert_int_equal(rc, rows[i].seconds == -1 ? ERR_INVALID : 0);
		if (rc == 0) {
			assert_int_equal(seconds, rows[i].seconds);
			assert_int_equal(zone, rows[i].zone);
		}
		free((void *)text.ptr);
	}
}

static void a_written_date_is_read_as_the_same(void **state)
{
	(void)state;
	for (int64_t seconds = -2000000000; seconds < 4000000000; seconds += 86400 * 17 + 3601) {
		struct buffer text = { NULL, 0, 0 };
		int32_t zone = (int32_t)(seconds % 7 * 60), zone_read;
		struct imap_parser parser = { .arena = arena };
		int64_t seconds_read;

		imap_date_time_write(&text, seconds, zone);
		parser.rest = buffer_bytes(&text);
		assert_int_equal(imap_parse_date_time(&parser, &seconds_read, &zone_read), 0);
		assert_int_equal(seconds_read, seconds);
		assert_int_equal(zone_read, zone);
		buffer_deinit(&text);
	}
}

/* ---- sequence sets ---- */

static void sets_are_put_in_order(void **state)
{
	static const struct {
		const char *text;
		const char *set; /* with "*" as 10; NULL: malformed */
	} rows[] = {
		{ "1", "1" },
		{ "*", "10" },
		{ "4:2", "2:4" },
		{ "2,1,3", "1:3" },
		{ "8:*,1", "1,8:10" },
		{ "20:*", "10:20" },
		{ "*:5", "5:10" },
		{ "1:3,2:5,7", "1:5,7" },
		{ "4294967295", "4294967295" },
		{ "4294967296", NULL },
		{ "0", NULL },
		{ "1:0", NULL },
		{ "1,", NULL },
		{ "1:", NULL },
		{ ",1", NULL },
		{ "a", NULL },
		{ "", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = exact(rows[i].text);
		struct imap_parser parser = { .rest = text, .arena = arena };
		struct imap_sequence sequence;
		struct uid_set set = { 0 };
		struct buffer out = { NULL, 0, 0 };
		int rc = imap_parse_sequence(&parser, &sequence);

		assert_int_equal(rc, rows[i].set == NULL ? ERR_INVALID : 0);
		if (rc == 0) {
			imap_sequence_resolve(&sequence, 10, &set);
			imap_set_write(&out, &set);
			assert_string_equal(buffer_string(&out), rows[i].set);
		}
		uid_set_deinit(&set);
		buffer_deinit(&out);
		free((void *)text.ptr);
	}
}

/* ---- names ---- */

static void names_are_decoded_from_their_one_form(void **state)
{
	static const struct {
		const char *encoded;
		const char *utf8; /* NULL: refused */
	} rows[] = {
		{ "INBOX", "INBOX" },
		{ "a&-b", "a&b" },
		{ "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/"
						     "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e" },
		{ "caf&AOk-", "caf\xc3\xa9" },
		{ "&2D3eAA-", "\xf0\x9f\x98\x80" },
		{ "caf&AOk", NULL },            /* not closed */
		{ "&Jjo!", NULL },              /* RFC 3501, 5.1.3 */
		{ "&U,BTFw-&ZeVnLIqe-", NULL }, /* the same: superfluous shift */
		{ "&AGE-", NULL },              /* "a" has a shorter form */
		{ "&2D0-", NULL },              /* half a surrogate pair */
		{ "&3gA-", NULL },              /* the other half */
		{ "&AOl-", NULL },              /* bits left over */
		{ "caf\xc3\xa9", NULL },        /* 8-bit */
		{ "a\tb", NULL },
		{ "&", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = exact(rows[i].encoded), utf8;
		struct buffer out = { NULL, 0, 0 };
		int rc = imap_utf7_decode(arena, text, &utf8);

		assert_int_equal(rc, rows[i].utf8 == NULL ? ERR_INVALID : 0);
		if (rc == 0) {
			assert_true(bytes_equal_string(utf8, rows[i].utf8));
			imap_utf7_encode(&out, utf8);
			assert_string_equal(buffer_string(&out), rows[i].encoded);
		}
		buffer_deinit(&out);
		free((void *)text.ptr);
	}
}

static void inbox_is_in_capitals(void **state)
{
	static const char *const rows[][2] = { { "inbox", "INBOX" }, { "Inbox/Work", "INBOX/Work" },
		{ "inboxes", "inboxes" }, { "a/inbox", "a/inbox" } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_true(bytes_equal_string(
			imap_name_canonical(arena, bytes_of_string(rows[i][0])), rows[i][1]));
}

static void patterns_match_levels(void **state)
{
	static const struct {
		const char *pattern;
		const char *name;
		bool matches;
	} rows[] = {
		{ "*", "a/b/c", true },
		{ "%", "a", true },
		{ "%", "a/b", false },
		{ "%/%", "a/b", true },
		{ "a*c", "a/b/c", true },
		{ "a%c", "a/b/c", false },
		{ "a%c", "abc", true },
		{ "*b%", "a/bc", true },
		{ "*b%", "a/b/c", false },
		{ "%%%*", "x", true },
		{ "", "", true },
		{ "", "a", false },
		{ "a", "A", false },
		{ "inbox", "INBOX", true },
		{ "i%", "INBOX", true },
		{ "i%", "INBOX/a", false },
		{ "*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
			imap_match(bytes_of_string(rows[i].pattern), bytes_of_string(rows[i].name)),
			rows[i].matches);
}

/* ---- URLs ---- */

/* RFC 5092, and the examples of RFC 4469. NULL: it names no message here. */
static void urls_name_messages_and_pieces_of_them(void **state)
{
	static const struct {
		const char *url;
		const char *mailbox;
		struct imap_url parts;
	} rows[] = {
		{ "/INBOX/;UID=20", "INBOX", { .uid = 20 } },
		{ "/inbox;UIDVALIDITY=385759045/;UID=20", "INBOX",
			{ .uidvalidity = 385759045, .uid = 20 } },
		{ "/Drafts;UIDVALIDITY=385759045/;UID=20/;section=1.5.9", "Drafts",
			{ .uidvalidity = 385759045, .uid = 20, .has_section = true } },
		{ "/a/b%20c/;UID=1/;SECTION=HEADER.FIELDS%20(To)/;PARTIAL=0.1024", "a/b c",
			{ .uid = 1, .has_section = true, .is_partial = true, .size_max = 1024 } },
		{ "/gr%C3%BC%c3%9fe/;UID=4294967295/;PARTIAL=7",
			"gr\xc3\xbc\xc3\x9f"
			"e",
			{ .uid = 4294967295,
				.is_partial = true,
				.offset = 7,
				.size_max = UINT32_MAX } },
		{ ";UID=3/;SECTION=TEXT", "", { .uid = 3, .has_section = true } },
		{ "", NULL, { .uid = 0 } },
		{ "/", NULL, { .uid = 0 } },
		{ "/;UID=1", NULL, { .uid = 0 } },
		{ "/INBOX", NULL, { .uid = 0 } },
		{ "/INBOX;UID=1", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=0", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=4294967296", NULL, { .uid = 0 } },
		{ "/INBOX;UIDVALIDITY=0/;UID=1", NULL, { .uid = 0 } },
		{ "/INBOX;UIDVALIDITY=1;UID=1", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=1/", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=1/;SECTION=1.", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=1/;SECTION=MIME", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=1/;SECTION=1;PARTIAL=1", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=1/;PARTIAL=1.0", NULL, { .uid = 0 } },
		{ "/INBOX/;UID=1;EXPIRE=2099-01-01T00:00:00Z;URLAUTH=anonymous", NULL,
			{ .uid = 0 } },
		{ "/IN%BOX/;UID=1", NULL, { .uid = 0 } },
		{ "/INBOX%/;UID=1", NULL, { .uid = 0 } },
		{ "/a%00b/;UID=1", NULL, { .uid = 0 } },
		{ "/a%ffb/;UID=1", NULL, { .uid = 0 } },
		{ "imap://example.org/INBOX/;UID=1", NULL, { .uid = 0 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = exact(rows[i].url);
		const struct imap_url *wanted = &rows[i].parts;
		struct imap_url url = { .uid = 0 };
		int rc = imap_url_parse(text, arena, &url);

		if ((rc == 0) != (rows[i].mailbox != NULL))
			fail_msg("%s: %d", rows[i].url, rc);
		if (rc == 0) {
			assert_true(bytes_equal_string(url.mailbox, rows[i].mailbox));
			assert_int_equal(url.uidvalidity, wanted->uidvalidity);
			assert_int_equal(url.uid, wanted->uid);
			assert_int_equal(url.has_section, wanted->has_section);
			assert_int_equal(url.is_partial, wanted->is_partial);
			assert_int_equal(url.offset, wanted->offset);
			assert_int_equal(url.size_max, wanted->size_max);
		}
		free((void *)text.ptr);
	}
}

/* ---- FETCH ---- */

static void sections_are_named_in_capitals(void **state)
{
	static const char *const rows[][2] = { { "]", "]" }, { "1.2.3]", "1.2.3]" },
		{ "header]", "HEADER]" }, { "1.mime]", "1.MIME]" },
		{ "header.fields (Date \"From\")]", "HEADER.FIELDS (Date From)]" },
		{ "4.1.header.fields.not (x)]", "4.1.HEADER.FIELDS.NOT (x)]" }, { "1.]", NULL },
		{ "1..2]", NULL }, { "0]", NULL }, { ".1]", NULL }, { "text", NULL },
		{ "header.fields]", NULL }, { "header.fields ()]", NULL }, { "1.1", NULL } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = exact(rows[i][0]);
		struct imap_parser parser = { .rest = text, .arena = arena };
		struct buffer label = { NULL, 0, 0 };
		struct mime_section section;
		int rc = imap_parse_section(&parser, &section, &label);

		assert_int_equal(rc, rows[i][1] == NULL ? ERR_INVALID : 0);
		if (rc == 0)
			assert_string_equal(buffer_string(&label), rows[i][1]);
		buffer_deinit(&label);
		free((void *)text.ptr);
	}
}

static void lists_nest_to_a_limit(void **state)
{
	struct imap_parser parser = { .arena = arena };

	(void)state;
	for (unsigned i = 0; i < IMAP_LIST_DEPTH_MAX; i++)
		assert_int_equal(imap_parse_enter(&parser), 0);
	assert_int_equal(imap_parse_enter(&parser), ERR_TOO_LARGE);
	imap_parse_leave(&parser);
	assert_int_equal(imap_parse_enter(&parser), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_strict_prefix_of_a_command_needs_more),
		cmocka_unit_test(a_literal_that_is_there_already_is_prompted_for_late),
		cmocka_unit_test(a_command_ends_where_the_next_begins),
		cmocka_unit_test(large_literals_are_for_append_and_sync_only),
		cmocka_unit_test(what_follows_a_refused_literal_is_dropped),
		cmocka_unit_test(what_follows_the_limit_of_a_line_is_dropped),
		cmocka_unit_test(strings_are_read_in_all_their_forms),
		cmocka_unit_test(flags_come_in_one_spelling_and_once),
		cmocka_unit_test(dates_are_those_of_the_calendar),
		cmocka_unit_test(a_written_date_is_read_as_the_same),
		cmocka_unit_test(sets_are_put_in_order),
		cmocka_unit_test(names_are_decoded_from_their_one_form),
		cmocka_unit_test(inbox_is_in_capitals),
		cmocka_unit_test(patterns_match_levels),
		cmocka_unit_test(urls_name_messages_and_pieces_of_them),
		cmocka_unit_test(sections_are_named_in_capitals),
		cmocka_unit_test(lists_nest_to_a_limit),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
