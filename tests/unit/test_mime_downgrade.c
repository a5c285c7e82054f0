/* Messages with UTF-8 in their headers, for clients without it (RFC 6858). */
#include "mail/mime_downgrade.h"
#include "mail/mime_text.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static bool downgrade(struct bytes message, struct buffer *out)
{
	struct arena *arena = arena_new();
	bool is_changed;

	buffer_clear(out);
	is_changed = mime_downgrade(message, mime_structure_parse(message, arena), out);
	arena_free(&arena);
	return is_changed;
}

static bool has_utf8_header(struct bytes message)
{
	struct arena *arena = arena_new();
	bool has = mime_has_utf8_header(message, mime_structure_parse(message, arena));

	arena_free(&arena);
	return has;
}

/* Each is one message, and what it becomes. */
static const char *const downgraded[][2] = {
	/* Texts: one encoded word, from the first word with UTF-8 to the last. */
	{ "Subject: Re: Gr\u00fc\u00dfe an alle\r\n\r\n",
		"Subject: Re: =?utf-8?q?Gr=C3=BC=C3=9Fe?= an alle\r\n\r\n" },
	{ "Subject: \u00e4 b \u00f6\n\nx", "Subject: =?utf-8?q?=C3=A4_b_=C3=B6?=\n\nx" },
	{ "Subject: \u65e5\u672c\u8a9e\r\n", "Subject: =?utf-8?b?5pel5pys6Kqe?=\r\n" },
	{ "List-Id: Bl\u00e5b\u00e6r <list.example.com>\r\n\r\n",
		"List-Id: =?utf-8?q?Bl=C3=A5b=C3=A6r?= <list.example.com>\r\n\r\n" },
	/* A folded one. */
	{ "X-A: a\r\n \u00e4\r\n\r\n", "X-A: a =?utf-8?q?=C3=A4?=\r\n\r\n" },
	/* Addresses. */
	{ "From: \u00c4 <a@example.com>\r\n\r\n",
		"From: =?utf-8?q?=C3=84?= <a@example.com>\r\n\r\n" },
	{ "From: \u00c4 =?utf-8?q?=C3=96?= <a@example.com>\r\n\r\n",
		"From: =?utf-8?q?=C3=84_=C3=96?= <a@example.com>\r\n\r\n" },
	{ "From: a@b\u00fccher.example\r\n\r\n", "From: <a@xn--bcher-kva.example>\r\n\r\n" },
	{ "From: \u00e4@example.com\r\n\r\n",
		"From: =?utf-8?q?=C3=A4=40example=2Ecom?=\r\n "
		"<invalid@internationalized-address.invalid>\r\n\r\n" },
	{ "From: Fred Foo <fr\u00e9d@example.com>\r\n\r\n",
		"From: Fred Foo <invalid@internationalized-address.invalid>\r\n\r\n" },
	{ "To: \u00c4: a@b, \"J. R.\" <\"x y\"@b>;, c@d\r\n\r\n",
		"To: =?utf-8?q?=C3=84?=: <a@b>,\r\n \"J. R.\" <\"x y\"@b>;,\r\n "
		"<c@d>\r\n\r\n" },
	{ "To: \u00c4:;\r\n\r\n", "To: =?utf-8?q?=C3=84?=:;\r\n\r\n" },
	{ "Return-Path: <\u00e4@b>\r\n\r\n",
		"Return-Path: <invalid@internationalized-address.invalid>\r\n\r\n" },
	{ "From: a@\u00fc\u00fc..b\u00ad-\r\n\r\n",
		"From: =?utf-8?q?a=40=C3=BC=C3=BC=2E=2Eb=C2=AD-?=\r\n "
		"<invalid@internationalized-address.invalid>\r\n\r\n" },
	/* Parameters. */
	{ "Content-Disposition: attachment; filename=\"\u00e4 b.txt\"; size=3\r\n\r\n",
		"Content-Disposition: attachment;\r\n filename*=utf-8''%C3%A4%20b.txt;\r\n "
		"size=3\r\n\r\n" },
	{ "Content-Type: text/plain; name*0=\u00e4; charset=\"x y\"\r\n\r\n",
		"Content-Type: text/plain;\r\n name*=utf-8''%C3%A4;\r\n "
		"charset=\"x y\"\r\n\r\n" },
	{ "Content-Type: text/pl\u00e4in\r\n\r\n",
		"Content-Type: application/octet-stream\r\n\r\n" },
	/* It keeps its parts, or they would become messages of the digest. */
	{ "Content-Type: multipart/digest; boundary=x\n\n--x\nContent-Type: "
	  "multipart/\u00e4; boundary=x\n\n--x\n\n\u00e4: b\n--x--\n",
		"Content-Type: multipart/digest; boundary=x\n\n--x\nContent-Type: "
		"multipart/mixed;\n boundary=x\n\n--x\n\n\u00e4: b\n--x--\n" },
	/* What has no form in ASCII is left out, and other charsets stay. */
	{ "Message-ID: <\u00e4@b>\r\nA: \u00e4\r\n\r\n", "A: =?utf-8?q?=C3=A4?=\r\n\r\n" },
	{ "S\u00fcbject: x\r\nA: b\r\n\r\n", "A: b\r\n\r\n" },
	{ "A: caf\xe9\r\nB: \u00e4\r\n\r\n\xc3\xa4",
		"A: caf\xe9\r\nB: =?utf-8?q?=C3=A4?=\r\n\r\n\xc3\xa4" },
	/* Parts, and messages in a message. */
	{ "Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Description: "
	  "\u00e4\n\n\u00e4\n--x\nContent-Type: message/global; a=b\n\nTo: \u00e4:;\n\n"
	  "\u00e4\n--x--\n\u00e4\n",
		"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Description: "
		"=?utf-8?q?=C3=A4?=\n\n\u00e4\n--x\nContent-Type: message/rfc822;\n a=b\n\n"
		"To: =?utf-8?q?=C3=A4?=:;\n\n\u00e4\n--x--\n\u00e4\n" },
};

static void fields_become_ascii(void **state)
{
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(downgraded) / sizeof(downgraded[0]); i++) {
		assert_true(downgrade(bytes_of_string(downgraded[i][0]), &out));
		assert_string_equal(buffer_string(&out), downgraded[i][1]);
		assert_false(has_utf8_header(buffer_bytes(&out)));
		assert_false(downgrade(bytes_of_string(downgraded[i][1]), &out));
		assert_int_equal(out.len, 0);
	}
	buffer_deinit(&out);
}

static void messages_without_utf8_in_headers_are_not_touched(void **state)
{
	static const char *const rows[] = { "", "\r\n\u00e4", "Subject: a\r\n\r\n\u00e4",
		"Subject: caf\xe9\r\n\r\n\u00e4",
		("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"
		 "U3ViamVjdDogw6QKCg==\r\n") };
	struct buffer out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_false(downgrade(bytes_of_string(rows[i]), &out));
	buffer_deinit(&out);
}

/* RFC 2047, 2 and 5: words of at most 75, of whole characters; and no line beyond 998. */
static void long_values_are_put_into_lines(void **state)
{
	static const char *const names[] = { "Subject: ", "From: ", "Content-Type: a/b; n=" };
	struct buffer message = { 0 }, out = { 0 }, decoded = { 0 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct bytes rest;

		buffer_clear(&message);
		buffer_append_string(&message, names[i]);
		for (int k = 0; k < 500; k++)
			buffer_append_string(&message, k % 7 == 3 ? " a" : "\u00e9\u65e5");
		buffer_append_string(&message, "\r\n\r\n");
		assert_true(downgrade(buffer_bytes(&message), &out));
		for (rest = buffer_bytes(&out); rest.len > 0;) {
			struct bytes line = bytes_take(&rest, bytes_find(rest, '\n'));

			assert_true(line.len <= (i < 2 ? 78 : 998));
			bytes_skip(&rest, rest.len > 0 ? 1 : 0);
		}
		if (i > 0)
			continue;
		mime_header_decode(buffer_bytes(&out), &decoded);
		assert_true(bytes_start_with(
			buffer_bytes(&decoded), bytes_of(message.data, message.len - 4)));
	}
	buffer_deinit(&message);
	buffer_deinit(&out);
	buffer_deinit(&decoded);
}

/* Small fields that become large ones: all that is sent has a bound. */
static void what_headers_grow_by_is_bounded(void **state)
{
	struct buffer message = { 0 }, out = { 0 };

	(void)state;
	buffer_append_string(&message, "To: ");
	for (int i = 0; i < 100000; i++)
		buffer_append_string(&message, "\u00e4,");
	for (int i = 0; i < 300000; i++)
		buffer_append_string(&message, "\nA:\u00e4");
	buffer_append_string(&message, "\n\n\u00e4");
	assert_true(downgrade(buffer_bytes(&message), &out));
	assert_true(out.len < message.len + 2 * MIME_DOWNGRADE_GROWTH_MAX);
	assert_false(has_utf8_header(buffer_bytes(&out)));
	assert_memory_equal(out.data + out.len - 4, "\n\n\u00e4", 4);
	buffer_deinit(&message);
	buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_become_ascii),
		cmocka_unit_test(messages_without_utf8_in_headers_are_not_touched),
		cmocka_unit_test(long_values_are_put_into_lines),
		cmocka_unit_test(what_headers_grow_by_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
