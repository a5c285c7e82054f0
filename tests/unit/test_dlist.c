/* Reading and writing dlists. */
#include "sync/dlist.h"
#include "sync/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* Parses a text that lies in a heap block of its exact size, so that ASan sees an overrun. */
static int parse(
	struct bytes text, struct arena *arena, const struct dlist **value_r, size_t *rest_r)
{
	unsigned char *exact = malloc(text.len > 0 ? text.len : 1);
	struct bytes in = bytes_of(exact, text.len);
	struct error error;
	int rc;

	assert_non_null(exact);
	if (text.len > 0)
		memcpy(exact, text.ptr, text.len);
	rc = dlist_parse(&in, arena, value_r, &error);
	*rest_r = in.len;
	if (rc == 0 && ((*value_r)->kind == DLIST_ATOM || (*value_r)->kind == DLIST_STRING))
		((struct dlist *)*value_r)->text = arena_copy(arena, (*value_r)->text);
	free(exact);
	return rc;
}

static void every_form_of_a_text_is_read(void **state)
{
	static const struct {
		const char *in;
		const char *text;
		enum dlist_kind kind;
	} rows[] = {
		{ "abc", "abc", DLIST_ATOM },
		{ "  abc", "abc", DLIST_ATOM },
		{ "\\Seen", "\\Seen", DLIST_ATOM },
		{ "#ff0000", "#ff0000", DLIST_ATOM },
		{ "a{5}", "a{5}", DLIST_ATOM },
		{ "{5}", "{5}", DLIST_ATOM }, /* no line's end follows, so it is no literal */
		{ "%abc", "%abc", DLIST_ATOM },
		{ "\"\"", "", DLIST_STRING },
		{ "\"a b\"", "a b", DLIST_STRING },
		{ "\"NIL\"", "NIL", DLIST_STRING }, /* a name, not nothing */
		{ "\"a \\\"b\\\" \\\\\"", "a \"b\" \\", DLIST_STRING },
		{ "{0}\r\n", "", DLIST_STRING },
		{ "{3}\r\na\r\n", "a\r\n", DLIST_STRING },
		{ "{3+}\r\n) (", ") (", DLIST_STRING },
	};
	struct arena *arena = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct dlist *value;
		size_t rest;

		assert_int_equal(parse(bytes_of_string(rows[i].in), arena, &value, &rest), 0);
		assert_int_equal(rest, 0);
		assert_int_equal(value->kind, rows[i].kind);
		assert_true(bytes_equal_string(value->text, rows[i].text));
	}
	arena_free(&arena);
}

static void what_is_malformed_or_cut_short_is_refused(void **state)
{
	static const struct {
		const char *in;
		int code;
	} rows[] = {
		{ "", ERR_INVALID },
		{ "   ", ERR_INVALID },
		{ ")", ERR_INVALID },
		{ "\"abc", ERR_INVALID },
		{ "\"abc\\", ERR_INVALID },
		{ "\"a\r\nb\"", ERR_INVALID }, /* line ends are for literals */
		{ "{3}\r\nab", ERR_INVALID },
		{ "{4294967296+}\r\nab", ERR_INVALID },
		{ "{999999999999}\r\nab", ERR_INVALID },
		{ "(a b", ERR_INVALID },
		{ "%(A b", ERR_INVALID },
		{ "%(A)", ERR_INVALID },       /* a key without a value */
		{ "%(\"A\" b)", ERR_INVALID }, /* a key is an atom */
		{ "%((A) b)", ERR_INVALID },
		{ "((((((((a))))))))", 0 }, /* as deep as allowed */
		{ "(((((((((a)))))))))", ERR_TOO_LARGE },
	};
	struct arena *arena = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct dlist *value;
		size_t rest;

		assert_int_equal(
			parse(bytes_of_string(rows[i].in), arena, &value, &rest), rows[i].code);
	}
	arena_free(&arena);
}

static void no_prefix_of_a_list_is_taken_for_the_whole(void **state)
{
	static const char whole[] = "%(NAME {4+}\r\na(b) LIST (x \"y z\" (1 2) NIL) N 5)";
	struct arena *arena = arena_new();
	const struct dlist *value;
	size_t rest;

	(void)state;
	for (size_t len = 1; len < sizeof(whole) - 1; len++) {
		if (len == 1)
			continue; /* "%" alone is an atom */
		assert_int_equal(parse(bytes_of(whole, len), arena, &value, &rest), ERR_INVALID);
	}
	assert_int_equal(parse(bytes_of(whole, sizeof(whole) - 1), arena, &value, &rest), 0);
	arena_free(&arena);
}

static void a_map_answers_by_key_and_the_first_of_two_counts(void **state)
{
	struct bytes in = BYTES_LITERAL("%(A 1 B \"2\" A 3 L (x y) E ()) tail");
	struct arena *arena = arena_new();
	const struct dlist *map, *list;
	struct bytes text;
	uint64_t number;

	(void)state;
	assert_int_equal(dlist_parse(&in, arena, &map, NULL), 0);
	assert_true(bytes_equal_string(in, " tail"));
	assert_int_equal(map->count, 5);
	assert_int_equal(dlist_get_number(map, "A", 10, &number), 0);
	assert_int_equal(number, 1);
	assert_int_equal(dlist_get_number(map, "B", 10, &number), 0); /* quoted, and yet a number */
	assert_int_equal(number, 2);
	assert_int_equal(dlist_get_number(map, "B", 1, &number), ERR_INVALID);
	assert_int_equal(dlist_get_number(map, "L", 10, &number), ERR_INVALID);
	assert_int_equal(dlist_get_text(map, "C", &text), ERR_NOT_FOUND);
	assert_int_equal(dlist_get_list(map, "L", &list), 0);
	assert_int_equal(list->count, 2);
	assert_int_equal(dlist_get_list(map, "E", &list), 0);
	assert_null(list->first);
	assert_int_equal(dlist_get_list(map, "A", &list), ERR_INVALID);
	assert_null(dlist_get(list, "A"));
	arena_free(&arena);
}

static void numbers_have_one_form_and_a_bound(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int code;
	} rows[] = {
		{ "0", 0, 0 },
		{ "18446744073709551615", UINT64_MAX, 0 },
		{ "18446744073709551616", UINT64_MAX, ERR_INVALID },
		{ "4294967295", UINT32_MAX, 0 },
		{ "4294967296", UINT32_MAX, ERR_INVALID },
		{ "9", 8, ERR_INVALID },
		{ "01", 100, ERR_INVALID },
		{ "-1", 100, ERR_INVALID },
		{ "+1", 100, ERR_INVALID },
		{ "1a", 100, ERR_INVALID },
		{ "", 100, ERR_INVALID },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dlist value = { .kind = DLIST_STRING,
			.text = bytes_of_string(rows[i].text) };
		uint64_t number;

		assert_int_equal(dlist_number(&value, rows[i].max, &number), rows[i].code);
	}
}

static void any_text_is_read_back_as_it_was_written(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *written; /* in a request */
	} rows[] = {
		{ "abc", 3, "abc" },
		{ "", 0, "\"\"" },
		{ "NIL", 3, "\"NIL\"" },
		{ "a b", 3, "\"a b\"" },
		{ "(", 1, "\"(\"" },
		{ "{5}", 3, "\"{5}\"" }, /* must not end a line as a literal does */
		{ "%(", 2, "\"%(\"" },
		{ "\\Seen", 5, "\\Seen" },
		{ "a\"b", 3, "{3+}\r\na\"b" },
		{ "a\\b", 3, "{3+}\r\na\\b" },
		{ "\\ b", 3, "{3+}\r\n\\ b" },
		{ "a\r\nb", 4, "{4+}\r\na\r\nb" },
		{ "\0", 1, NULL },
		{ "\xc3\xa9", 2, "{2+}\r\n\xc3\xa9" },
		{ "\x7f", 1, "\"\x7f\"" },
	};
	struct arena *arena = arena_new();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct bytes text = bytes_of(rows[i].text, rows[i].len);
		struct buffer out = { 0 };
		struct dlist_writer writer = dlist_writer(&out, DLIST_REQUEST);
		const struct dlist *value;
		struct bytes in;

		dlist_put_text(&writer, text);
		if (rows[i].written != NULL)
			assert_true(bytes_equal_string(buffer_bytes(&out), rows[i].written));
		in = buffer_bytes(&out);
		assert_int_equal(dlist_parse(&in, arena, &value, NULL), 0);
		assert_int_equal(in.len, 0);
		assert_true(bytes_equal(value->text, text));
		buffer_deinit(&out);
	}
	arena_free(&arena);
}

static void a_record_is_read_back_as_it_was_written(void **state)
{
	struct flag_state flags[] = {
		{ BYTES_LITERAL("$Label"), { 7, 8 }, false },
		{ BYTES_LITERAL("\\Seen"), { 1000, 5 }, true },
	};
	struct message_change change = { .record = { .instance = { 1000, 5 },
						 .size = 11,
						 .internaldate = -86400,
						 .internaldate_zone = -90,
						 .savedate_ms = 17,
						 .placed = { 1001, 6 },
						 .placed_in = { { 1 } },
						 .mailbox = { { 2 } },
						 .uid = 4000000000,
						 .thread = { { 3 } },
						 .flags = flags,
						 .flag_count = 2,
						 .modseq = MODSEQ_MAX },
		.was_common = true };
	struct arena *arena = arena_new();
	struct buffer out = { 0 };
	struct dlist_writer writer = dlist_writer(&out, DLIST_ANSWER);
	struct message_change read;
	const struct dlist *map;
	struct bytes in;

	(void)state;
	wire_put_message(&writer, &change);
	in = buffer_bytes(&out);
	assert_int_equal(dlist_parse(&in, arena, &map, NULL), 0);
	assert_int_equal(wire_message(map, arena, &read, NULL), 0);
	assert_true(message_same(&read.record, &change.record));
	assert_true(read.was_common);
	assert_true(read.record.modseq == MODSEQ_MAX && read.record.internaldate == -86400);
	assert_int_equal(read.record.internaldate_zone, -90);
	assert_true(read.record.savedate_ms == 17 && read.record.size == 11);
	assert_true(id128_equal(read.record.thread, change.record.thread));
	buffer_deinit(&out);
	arena_free(&arena);
}

static void an_error_goes_over_the_wire_with_its_code_and_words(void **state)
{
	struct arena *arena = arena_new();
	struct buffer out = { 0 };
	struct error error;
	const struct dlist *map;
	struct bytes verb;

	(void)state;
	wire_put_error(&out, ERR_ILLEGAL, "a \"bad\" change", 0);
	assert_int_equal(wire_parse(buffer_bytes(&out), arena, &verb, &map, NULL), 0);
	assert_true(bytes_equal_string(verb, "ERROR"));
	assert_int_equal(wire_error(map, &error), ERR_ILLEGAL);
	assert_non_null(strstr(error.text, "a \"bad\" change"));
	buffer_deinit(&out);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_of_a_text_is_read),
		cmocka_unit_test(what_is_malformed_or_cut_short_is_refused),
		cmocka_unit_test(no_prefix_of_a_list_is_taken_for_the_whole),
		cmocka_unit_test(a_map_answers_by_key_and_the_first_of_two_counts),
		cmocka_unit_test(numbers_have_one_form_and_a_bound),
		cmocka_unit_test(any_text_is_read_back_as_it_was_written),
		cmocka_unit_test(a_record_is_read_back_as_it_was_written),
		cmocka_unit_test(an_error_goes_over_the_wire_with_its_code_and_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
