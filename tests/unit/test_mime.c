/* Structure, sections and summaries of messages. */
#include "base/error.h"
#include "base/hash.h"
#include "base/pack.h"
#include "mail/mime_binary.h"
#include "mail/mime_bodystructure.h"
#include "mail/mime_envelope.h"
#include "mail/mime_section.h"
#include "mail/mime_summary.h"
#include "mime_invariants.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* The example of RFC 3501, 6.4.5, with part 3 and 4 as there; texts are the numbers of the parts.
 */
static const char rfc3501_tree[] = "Subject: all\r\n"
				   "Content-Type: multipart/mixed; boundary=a\r\n"
				   "\r\n"
				   "--a\r\n"
				   "\r\n"
				   "1\r\n"
				   "--a\r\n"
				   "Content-Type: application/octet-stream\r\n"
				   "\r\n"
				   "2\r\n"
				   "--a\r\n"
				   "Content-Type: message/rfc822\r\n"
				   "\r\n"
				   "Subject: third\r\n"
				   "Content-Type: multipart/mixed; boundary=c\r\n"
				   "\r\n"
				   "--c\r\n"
				   "\r\n"
				   "3.1\r\n"
				   "--c\r\n"
				   "\r\n"
				   "3.2\r\n"
				   "--c--\r\n"
				   "--a\r\n"
				   "Content-Type: multipart/mixed; boundary=d\r\n"
				   "\r\n"
				   "--d\r\n"
				   "Content-Type: image/gif\r\n"
				   "\r\n"
				   "4.1\r\n"
				   "--d\r\n"
				   "Content-Type: message/rfc822\r\n"
				   "\r\n"
				   "Subject: inner\r\n"
				   "\r\n"
				   "4.2.1\r\n"
				   "--d--\r\n"
				   "--a--\r\n";

/* What the section of the message is; NULL: not found. Borrowed until the next call. */
static const char *section(const char *message, const char *text)
{
	static struct buffer result;
	struct arena *arena = arena_new();
	struct bytes input = bytes_of_string(message), octets;
	struct buffer scratch = { 0 };
	struct mime_section wanted;
	bool found;

	assert_int_equal(mime_section_parse(bytes_of_string(text), arena, &wanted), 0);
	found = mime_section_get(
			input, mime_structure_parse(input, arena), &wanted, &scratch, &octets) == 0;
	buffer_deinit(&result);
	if (found)
		buffer_append_bytes(&result, octets);
	buffer_deinit(&scratch);
	arena_free(&arena);
	return found ? buffer_string(&result) : NULL;
}

static void sections_are_those_of_the_example_in_rfc_3501(void **state)
{
	static const char *const rows[][2] = {
		{ "1", "1" },
		{ "2", "2" },
		{ "3.1", "3.1" },
		{ "3.2", "3.2" },
		{ "3.HEADER.FIELDS (subject)", "Subject: third\r\n\r\n" },
		{ "4.1", "4.1" },
		{ "4.1.MIME", "Content-Type: image/gif\r\n\r\n" },
		{ "4.2.1", "4.2.1" },
		{ "4.2.HEADER", "Subject: inner\r\n\r\n" },
		{ "4.2.TEXT", "4.2.1" },
		{ "4.2.1.MIME", "Subject: inner\r\n\r\n" },
		{ "HEADER.FIELDS.NOT (CONTENT-TYPE)", "Subject: all\r\n\r\n" },
		{ "HEADER.FIELDS (nothing)", "\r\n" },
	};
	static const char *const missing[] = { "5", "1.1", "1.HEADER", "2.TEXT", "4.HEADER", "3.3",
		"4.2.2" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(section(rfc3501_tree, rows[i][0]), rows[i][1]);
	for (i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		assert_null(section(rfc3501_tree, missing[i]));
	assert_string_equal(section(rfc3501_tree, ""), rfc3501_tree);
}

static void part_1_of_a_message_without_parts_is_its_text(void **state)
{
	(void)state;
	assert_string_equal(section("A: b\r\n\r\ntext\r\n", "1"), "text\r\n");
	assert_string_equal(section("A: b\r\n\r\ntext\r\n", "1.MIME"), "A: b\r\n\r\n");
	assert_null(section("A: b\r\n\r\ntext\r\n", "2"));
	assert_null(section("A: b\r\n\r\ntext\r\n", "1.1"));
}

static void what_is_no_section_is_refused(void **state)
{
	static const char *const bad[] = { "0", "1.", ".1", "MIME", "1.0", "01x", "HEADER.FIELDS",
		"HEADER.FIELDS ()", "HEADER.FIELDS (a", "HEADER (a)", "4294967296", "TEXT ",
		"1..2" };
	struct arena *arena = arena_new();
	struct mime_section result;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			mime_section_parse(bytes_of_string(bad[i]), arena, &result), ERR_INVALID);
	arena_free(&arena);
}

static const char *bodystructure(const char *message, bool extended)
{
	static struct buffer result;
	struct arena *arena = arena_new();
	struct bytes input = bytes_of_string(message);

	buffer_clear(&result);
	mime_bodystructure_write(input, mime_structure_parse(input, arena), extended, &result);
	arena_free(&arena);
	return buffer_string(&result);
}

static void bodystructure_tells_sizes_lines_and_fields(void **state)
{
	(void)state;
	assert_string_equal(bodystructure("\r\na\r\nb\r\n", false),
		"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 2)");
	assert_string_equal(bodystructure("\na\nb\n", false),
		"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 2)");
	assert_string_equal(bodystructure("Content-Type: image/gif; name=\"a \\\"b\"\r\n"
					  "Content-ID: <i@x>\r\nContent-Description: a\r\n\tb\r\n"
					  "Content-Transfer-Encoding: (c) BASE64\r\n"
					  "Content-MD5: m==\r\nContent-Location: l\r\n"
					  "Content-Language: en, (x) de\r\n"
					  "Content-Disposition: attachment; filename*0=\"x\"; "
					  "filename*1=y (c)\r\n\r\nab",
				    true),
		"(\"image\" \"gif\" (\"name\" \"a \\\"b\") \"<i@x>\" \"a b\" \"BASE64\" 2 \"m==\" "
		"(\"attachment\" (\"filename*0\" \"x\" \"filename*1\" \"y\")) (\"en\" \"de\") "
		"\"l\")");
}

#define PLAIN(size, lines)                                                                         \
	"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" " size " " lines ")"

static void boundaries_follow_rfc_2046(void **state)
{
	static const struct {
		const char *body, *expected, *reason;
	} rows[] = {
		{ "pre\r\n--b\r\n\r\nx\r\n--b--\r\nepilogue\r\n--b\r\n\r\ny",
			"(" PLAIN("1", "0") " \"mixed\")", "preamble and epilogue are no parts" },
		{ "--b \t\r\n\r\nx\r\n--b-- \r\n", "(" PLAIN("1", "0") " \"mixed\")", "padding" },
		{ "--b\r\n\r\nx\r\n", "(" PLAIN("3", "1") " \"mixed\")",
			"the last boundary is missing" },
		{ "--b\r\n\r\nx --b\r\n--b--", "(" PLAIN("5", "0") " \"mixed\")",
			"only at a line's start" },
		{ "--b\r\n\r\n--b\r\n\r\n\r\n--b--",
			"(" PLAIN("0", "0") PLAIN("0", "0") " \"mixed\")", "empty parts" },
		{ "no boundary at all\r\n", PLAIN("20", "1"), "then it is text" },
		{ "--b\nContent-Type: text/plain\n--b--\n", "(" PLAIN("0", "0") " \"mixed\")",
			"a header without its empty line" },
		{ "--b\nContent-Type: multipart/digest; boundary=bb\n\n--bb\n\nA: "
		  "1\n\nx\n--bb--\n--b--\n",
			"(((\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 7 "
			"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) " PLAIN(
				"1", "0") " 2) \"digest\") \"mixed\")",
			"the outer boundary begins the inner one; the default type in a digest" },
		{ "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--b\n\ny\n--b--\n",
			"((" PLAIN("1", "0") " \"mixed\")" PLAIN("1", "0") " \"mixed\")",
			"an outer boundary ends an inner multipart" },
	};
	char message[1000];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(message, sizeof(message),
			"Content-Type: multipart/mixed; boundary=\"b\"\n\n%s", rows[i].body);
		if (strcmp(bodystructure(message, false), rows[i].expected) != 0)
			fail_msg("%s: %s", rows[i].reason, bodystructure(message, false));
		mime_invariants_check(bytes_of_string(message));
	}
	assert_string_equal(
		bodystructure("Content-Type: multipart/mixed\n\n--b\n\nx\n--b--", false),
		PLAIN("12", "3"));
}

static const char *addresses(const char *value)
{
	static struct buffer result;

	buffer_clear(&result);
	mime_addresses_write(bytes_of_string(value), &result);
	return buffer_string(&result);
}

static void addresses_are_read_as_rfc_5322_writes_them(void **state)
{
	static const char *const rows[][2] = {
		{ "John Doe <jdoe@machine.example>",
			"((\"John Doe\" NIL \"jdoe\" \"machine.example\"))" },
		{ "\"Joe Q. Public\" <john.q.public@example.com>",
			"((\"Joe Q. Public\" NIL \"john.q.public\" \"example.com\"))" },
		{ "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
			"((\"Mary Smith\" NIL \"mary\" \"x.test\")(NIL NIL \"jdoe\" "
			"\"example.org\")"
			"(\"Who?\" NIL \"one\" \"y.test\"))" },
		{ "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
			"((NIL NIL \"boss\" \"nil.test\")"
			"(\"Giant; \\\"Big\\\" Box\" NIL \"sysservices\" \"example.net\"))" },
		{ "A Group:Ed Jones <c@a.test>,joe@where.test;",
			"((NIL NIL \"A Group\" NIL)(\"Ed Jones\" NIL \"c\" \"a.test\")"
			"(NIL NIL \"joe\" \"where.test\")(NIL NIL NIL NIL))" },
		{ "Undisclosed recipients:;",
			"((NIL NIL \"Undisclosed recipients\" NIL)(NIL NIL NIL NIL))" },
		{ "Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
			"((\"Pete\" NIL \"pete\" \"silly.test\"))" },
		{ "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
			"((NIL NIL \"Hidden recipients\" NIL)(NIL NIL NIL NIL))" },
		{ "Joe <@node.test,@b.test:joe . s@example . org>, , x@y",
			"((\"Joe\" \"@node.test,@b.test\" \"joe.s\" \"example.org\")(NIL NIL \"x\" "
			"\"y\"))" },
		{ "jdoe@test   . example (John)", "((\"John\" NIL \"jdoe\" \"test.example\"))" },
		{ "root", "((NIL NIL \"root\" \"\"))" }, /* NIL would be a group */
		{ "<>", "((NIL NIL \"\" \"\"))" },
		{ "u@[IPv6:::1]", "((NIL NIL \"u\" \"[IPv6:::1]\"))" },
		{ "a@b <c@d>", "((\"a@b\" NIL \"c\" \"d\"))" },
		{ "g: a@b", "((NIL NIL \"g\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))" },
		{ " (c) ", "NIL" },
		{ "", "NIL" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(addresses(rows[i][0]), rows[i][1]);
}

static const char *envelope(const char *header)
{
	static struct buffer result;

	buffer_clear(&result);
	mime_envelope_write(bytes_of_string(header), &result);
	return buffer_string(&result);
}

static void an_envelope_defaults_sender_and_reply_to(void **state)
{
	(void)state;
	assert_string_equal(envelope("from: a@b\r\nSender: (none)\r\nTo: c@d\r\n\r\n"),
		"(NIL NIL ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) "
		"((NIL NIL \"c\" \"d\")) NIL NIL NIL NIL)");
	assert_string_equal(envelope("Subject:\r\nDATE: x\r\n y\r\nMessage-Id: <m>\r\n"),
		"(\"x y\" \"\" NIL NIL NIL NIL NIL NIL NIL \"<m>\")");
}

static void strings_are_valid_whatever_a_header_holds(void **state)
{
	static const struct {
		const char *value;
		size_t size;
		const char *expected;
	} rows[] = {
		{ "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
		{ "caf\xc3\xa9", 5, "{5}\r\ncaf\xc3\xa9" },
		{ "a\0b", 3, "\"a?b\"" },
		{ "a\rb", 3, "\"a b\"" },
		{ "a\r\n \t b\nc", 9, "\"a b c\"" },
		{ "", 0, "\"\"" },
	};
	struct buffer out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buffer_clear(&out);
		mime_nstring_write(bytes_of(rows[i].value, rows[i].size), &out);
		assert_string_equal(buffer_string(&out), rows[i].expected);
	}
	buffer_deinit(&out);
}

static void dates_are_read_with_their_zones(void **state)
{
	static const struct {
		const char *value;
		int64_t seconds;
		int32_t zone;
	} rows[] = {
		{ "Fri, 21 Nov 1997 09:55:06 -0600", 880127706, -21600 },
		{ "21 Nov 97 09:55:06 GMT", 880106106, 0 },
		{ "Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n"
		  "               -0330 (Newfoundland Time)",
			-27723480, -12600 },
		{ "1 Jan 1970 00:00 +0000", 0, 0 },
		{ "29 Feb 2000 12:00:00 EST", 951843600, -18000 },
		/* RFC 5256, 2.2: midnight, UTC */
		{ "1 Jan 2000", 946684800, 0 },
		{ "1 Jan 2000 25:00 +0100", 946684800, 0 },
	};
	static const char *const bad[] = { "", "yesterday", "30 Feb 2000 1:1", "1 Jan 1899 1:1",
		"1 Foo 2000 1:1" };
	int64_t seconds;
	int32_t zone;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(
			mime_date_parse(bytes_of_string(rows[i].value), &seconds, &zone), 0);
		assert_int_equal(seconds, rows[i].seconds);
		assert_int_equal(zone, rows[i].zone);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
			mime_date_parse(bytes_of_string(bad[i]), &seconds, &zone), ERR_INVALID);
}

static void a_damaged_summary_is_refused(void **state)
{
	struct mime_summary summary;
	struct buffer blob = { 0 };
	size_t i;

	(void)state;
	mime_summary_make(bytes_of_string(rfc3501_tree), &blob);
	for (i = 0; i < blob.len; i++) {
		assert_int_equal(mime_summary_open(bytes_of(blob.data, i), &summary), ERR_CORRUPT);
		blob.data[i] ^= 0x20;
		assert_int_equal(mime_summary_open(buffer_bytes(&blob), &summary),
			i == 1 ? ERR_VERSION : ERR_CORRUPT);
		blob.data[i] ^= 0x20;
	}
	assert_int_equal(mime_summary_open(buffer_bytes(&blob), &summary), 0);
	buffer_deinit(&blob);
}

/* One that an older version left: the same without the subject. */
static void a_summary_without_a_subject_is_read(void **state)
{
	struct bytes message = BYTES_LITERAL("Subject: =?utf-8?q?=C3=A9?=a\r\n\r\nbody\r\n");
	struct mime_summary summary, older;
	struct buffer blob = { 0 }, old = { 0 };

	(void)state;
	mime_summary_make(message, &blob);
	assert_int_equal(mime_summary_open(buffer_bytes(&blob), &summary), 0);
	assert_true(bytes_equal_string(summary.subject, "E\xcc\x81"
							"A\n"));
	/* Before the subject is its size, behind it the checksum. */
	buffer_append(&old, blob.data, (size_t)(summary.subject.ptr - blob.data) - 1);
	old.data[1] = 3;
	pack_u32(&old, crc32c(0, buffer_bytes(&old)));
	assert_int_equal(mime_summary_open(buffer_bytes(&old), &older), 0);
	assert_int_equal(older.subject.len, 0);
	assert_true(bytes_equal(older.preview, summary.preview));
	assert_true(bytes_equal(older.fields, summary.fields));
	buffer_deinit(&blob);
	buffer_deinit(&old);
}

static void a_summary_answers_for_the_fields_it_knows_only(void **state)
{
	struct bytes message = BYTES_LITERAL("Subject: a\r\n b\r\nX-Other: c\r\nsubject: d");
	struct bytes names[2] = { BYTES_LITERAL("SUBJECT"), BYTES_LITERAL("X-Other") };
	struct mime_summary summary;
	struct buffer blob = { 0 }, out = { 0 };

	(void)state;
	mime_summary_make(message, &blob);
	assert_int_equal(mime_summary_open(buffer_bytes(&blob), &summary), 0);
	assert_true(mime_summary_header_fields(&summary, names, 1, &out));
	assert_string_equal(buffer_string(&out), "Subject: a\r\n b\r\nsubject: d\r\n\r\n");
	assert_false(mime_summary_header_fields(&summary, names, 2, &out));
	buffer_deinit(&blob);
	buffer_deinit(&out);
}

static void repeat(struct buffer *out, const char *text, size_t count)
{
	while (count-- > 0)
		buffer_append_string(out, text);
}

/* Each would take minutes if anything were quadratic. */
static void hostile_messages_take_linear_time(void **state)
{
	struct buffer out = { 0 };

	(void)state;
	repeat(&out, "Content-Type: multipart/mixed; boundary=b\n\n--b\n", 30000); /* deep */
	mime_invariants_check(buffer_bytes(&out));
	buffer_clear(&out);
	buffer_append_string(&out, "Content-Type: multipart/mixed; boundary=b\n\n");
	repeat(&out, "--b\n\n", 200000); /* parts */
	mime_invariants_check(buffer_bytes(&out));
	buffer_clear(&out);
	repeat(&out, "Content-Type: message/rfc822\n\n", 30000);
	mime_invariants_check(buffer_bytes(&out));
	buffer_clear(&out);
	repeat(&out, "From: a@b\n", 100000); /* fields */
	mime_invariants_check(buffer_bytes(&out));
	buffer_clear(&out);
	buffer_append_string(&out, "Content-Type: a/b; ");
	repeat(&out, "(((\"=?a?q?", 100000); /* a line of 1 MB */
	mime_invariants_check(buffer_bytes(&out));
	buffer_deinit(&out);
}

/* ---- binary content (RFC 3516) ---- */

static void assert_content(struct bytes message, uint32_t number, struct bytes wanted)
{
	struct buffer content = { NULL, 0, 0 };
	struct arena *arena = arena_new();
	const struct mime_part *root = mime_structure_parse(message, arena);

	assert_int_equal(mime_section_binary(message, root, &number, 1, &content), 0);
	assert_true(bytes_equal(buffer_bytes(&content), wanted));
	buffer_deinit(&content);
	arena_free(&arena);
}

static void binary_contents_survive_in_base64(void **state)
{
	static const char head[] = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
				   "Content-Transfer-Encoding: 8bit\r\n\r\n";
	static const char between[] = "\r\n--b\r\n\r\ntext\r\n--b--\r\n";
	unsigned char content[300];

	(void)state;
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (unsigned char)(i * 7);
	for (size_t size = 1; size <= sizeof(content); size++) {
		struct buffer message = { NULL, 0, 0 }, encoded = { NULL, 0, 0 };
		struct bytes out;

		buffer_append_string(&message, head);
		buffer_append(&message, content, size);
		buffer_append_string(&message, between);
		assert_int_equal(mime_binary_encode(buffer_bytes(&message), &encoded), 0);
		out = buffer_bytes(&encoded);
		assert_int_equal(bytes_find(out, '\0'), out.len);
		assert_content(out, 1, bytes_of(content, size));
		assert_content(out, 2, BYTES_LITERAL("text"));
		buffer_deinit(&message);
		buffer_deinit(&encoded);
	}
}

static void nul_outside_of_contents_is_refused(void **state)
{
	static const struct bytes rows[] = {
		BYTES_LITERAL("Subject: a\0b\r\n\r\ntext"),
		BYTES_LITERAL(
			"Content-Type: multipart/mixed; boundary=b\r\n\r\n\0\r\n--b\r\n\r\nx"),
		BYTES_LITERAL("Content-Transfer-Encoding: base64\r\n\r\nAAAA\0"),
		BYTES_LITERAL("Content-Transfer-Encoding: x-odd\r\n\r\n\0"),
		BYTES_LITERAL("Content-Type: message/rfc822\r\n\r\nSubject: \0\r\n\r\nx"),
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer out = { NULL, 0, 0 };

		buffer_append_string(&out, "before");
		assert_int_equal(mime_binary_encode(rows[i], &out), ERR_INVALID);
		assert_true(bytes_equal_string(buffer_bytes(&out), "before"));
		buffer_deinit(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sections_are_those_of_the_example_in_rfc_3501),
		cmocka_unit_test(part_1_of_a_message_without_parts_is_its_text),
		cmocka_unit_test(what_is_no_section_is_refused),
		cmocka_unit_test(bodystructure_tells_sizes_lines_and_fields),
		cmocka_unit_test(boundaries_follow_rfc_2046),
		cmocka_unit_test(addresses_are_read_as_rfc_5322_writes_them),
		cmocka_unit_test(an_envelope_defaults_sender_and_reply_to),
		cmocka_unit_test(strings_are_valid_whatever_a_header_holds),
		cmocka_unit_test(dates_are_read_with_their_zones),
		cmocka_unit_test(a_damaged_summary_is_refused),
		cmocka_unit_test(a_summary_without_a_subject_is_read),
		cmocka_unit_test(a_summary_answers_for_the_fields_it_knows_only),
		cmocka_unit_test(binary_contents_survive_in_base64),
		cmocka_unit_test(nul_outside_of_contents_is_refused),
		cmocka_unit_test(hostile_messages_take_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
