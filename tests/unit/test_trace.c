/* What a trace tells of a message of the protocol, and what it never tells. */
#include "sync/trace.h"

#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void numbers_and_counts_are_told_and_texts_are_not(void **state)
{
	static const struct {
		const char *text, *told;
	} rows[] = {
		{ "POINTS %(ACCOUNTS (anna bert))", "POINTS ACCOUNTS=(2)" },
		{ "CHANGES %(ACCOUNT anna SINCE 5 COMMON 3)",
			"CHANGES ACCOUNT=anna SINCE=5 COMMON=3" },
		{ "APPLY %(ACCOUNT anna MESSAGES (%(INSTANCE 5.0000000000000001 MODSEQ 7 FLAGS "
		  "(secret + 5.0000000000000001)) %(MODSEQ 6)))",
			"APPLY ACCOUNT=anna MESSAGES=(2)<=7" },
		{ "PUT %(BODIES (0011 {6+}\r\nsecret))", "PUT BODIES=(2)" },
		{ "ERROR %(CODE ILLEGAL TEXT \"secret\")", "ERROR CODE=ILLEGAL TEXT=[6 bytes]" },
		{ "NEWS %(ACCOUNT \"an na\" DIGEST 00ff)", "NEWS ACCOUNT=? DIGEST=00ff" },
		{ "RANGE %(MAILBOX secret RANGES (1 2))", "RANGE MAILBOX=[6 bytes] RANGES=(2)" },
		{ "APPLY %(SINCE secret1 CODE lower)", "APPLY SINCE=[7 bytes] CODE=[5 bytes]" },
		{ "X %(secret 5 KEY %(NAME secret))", "X ? KEY={1}" },
		{ "CHANGES %(ACCOUNT \"a\1b\")", "CHANGES ACCOUNT=?" },
		{ "secret %()", "malformed" },
		{ "CHANGES (secret", "malformed" },
		{ "{10}\r\nPOINTS %()", "POINTS" },
		{ "", "malformed" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer out = { 0 };

		trace_describe(bytes_of_string(rows[i].text), &out);
		assert_string_equal(buffer_string(&out), rows[i].told);
		buffer_deinit(&out);
	}
}

static void count_wake(void *context)
{
	(*(unsigned *)context)++;
}

static void tell(struct trace *trace, const char *who, const char *text)
{
	struct trace_message message = {
		.who = who, .where = "here", .text = bytes_of_string(text), .duration_us = 1234
	};

	trace_tell(trace, &message);
}

static void a_reader_is_told_what_concerns_its_subject(void **state)
{
	struct trace *trace = trace_new();
	struct buffer all = { 0 }, some = { 0 };
	unsigned wake_count = 0, other_count = 0;
	struct trace_reader *reader, *other;

	(void)state;
	tell(trace, "anna", "POINTS %()");
	assert_false(trace_is_read(trace));
	reader = trace_reader_new(trace, NULL, count_wake, &wake_count);
	other = trace_reader_new(trace, "anna", count_wake, &other_count);
	assert_true(trace_is_read(trace));
	tell(trace, "bert", "POINTS %()");
	tell(trace, "anna", "LACKS %()");
	tell(trace, "peer", "GET %(ACCOUNT ANNA)");
	assert_int_equal(wake_count, 1);
	trace_read(reader, &all);
	trace_read(other, &some);
	assert_non_null(strstr(buffer_string(&all), " bert here < POINTS 10 bytes 1.234 ms\n"));
	assert_null(strstr(buffer_string(&some), "bert"));
	assert_non_null(strstr(buffer_string(&some), "LACKS"));
	assert_non_null(strstr(buffer_string(&some), "GET ACCOUNT=anna"));
	tell(trace, "bert", "POINTS %()");
	assert_int_equal(wake_count, 2);
	assert_int_equal(other_count, 1);
	trace_reader_free(&reader);
	trace_reader_free(&other);
	assert_false(trace_is_read(trace));
	trace_free(&trace);
	buffer_deinit(&all);
	buffer_deinit(&some);
}

static void a_reader_that_does_not_read_loses_lines_and_is_told(void **state)
{
	struct trace *trace = trace_new();
	struct buffer out = { 0 };
	unsigned wake_count = 0;
	struct trace_reader *reader = trace_reader_new(trace, NULL, count_wake, &wake_count);

	(void)state;
	for (int i = 0; i < TRACE_LINE_COUNT_MAX + 7; i++)
		tell(trace, "anna", "POINTS %()");
	trace_read(reader, &out);
	assert_non_null(strstr(buffer_string(&out), "\n7 lines are lost"));
	assert_true(out.len < (TRACE_LINE_COUNT_MAX + 1) * 100);
	buffer_clear(&out);
	trace_read(reader, &out);
	assert_int_equal(out.len, 0);
	trace_reader_free(&reader);
	trace_free(&trace);
	buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_and_counts_are_told_and_texts_are_not),
		cmocka_unit_test(a_reader_is_told_what_concerns_its_subject),
		cmocka_unit_test(a_reader_that_does_not_read_loses_lines_and_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
