/* Decoding of text, and searching; then real mail, if CHAPAR_TEST_MAIL names a folder of it. */
#include "base/error.h"
#include "base/random.h"
#include "mail/mime_text.h"
#include "mime_invariants.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void encoded_words_are_decoded_as_in_rfc_2047(void **state)
{
	static const char *const rows[][2] = {
		{ "=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>",
			"Keith Moore <moore@cs.utk.edu>" },
		{ "=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\xc3\xa9 Pirard" },
		{ "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n "
		  "=?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
			"If you can read this you understand the example." },
		{ "(=?ISO-8859-1?Q?a?= b)", "(a b)" },
		{ "(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)" },
		{ "=?ISO-8859-1?Q?a_?= =?ISO-8859-2?Q?b?=", "a b" },
		{ "=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "\xc3\xa4" }, /* a character in two words */
		{ "=?utf-8*de?q?x?=", "x" },                       /* RFC 2231, section 5 */
		{ "=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "\xe6\x97\xa5\xe6\x9c\xac" },
		{ "=?no-such-set?Q?a=E4?=", "a\xc3\xa4" },
		{ "=?utf-8?x?a?= =? =?a?b", "=?utf-8?x?a?= =? =?a?b" },
		{ "caf\xe9", "caf\xc3\xa9" }, { "a\r\n\tb", "a b" },
		{ "=?utf-8?q?a=0D=0Ab?=", "a  b" }, /* still one line */
	};
	struct buffer out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buffer_clear(&out);
		mime_header_decode(bytes_of_string(rows[i][0]), &out);
		assert_string_equal(buffer_string(&out), rows[i][1]);
	}
	buffer_deinit(&out);
}

static void transfer_encodings_are_removed_leniently(void **state)
{
	static const char *const rows[][3] = {
		{ "quoted-printable", "a=\r\nb =C3=A4=zz  \r\nc=", "ab \xc3\xa4=zz\r\nc" },
		{ "Base64", "YWJj\r\nZA==\r\nZQ==!", "abcde" },
		{ "8BIT", "a=20", "a=20" },
	};
	struct buffer out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		buffer_clear(&out);
		assert_true(mime_transfer_decode(
			bytes_of_string(rows[i][1]), bytes_of_string(rows[i][0]), &out));
		assert_string_equal(buffer_string(&out), rows[i][2]);
	}
	assert_false(mime_transfer_decode(BYTES_LITERAL("x"), BYTES_LITERAL("x-uue"), &out));
	buffer_deinit(&out);
}

static void unknown_charsets_are_refused(void **state)
{
	static const char *const bad[] = { "no-such-set", "utf-8//TRANSLIT", "WCHAR_T", "a b" };
	struct mime_needle needle;
	struct buffer out = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
			mime_needle_init(&needle, BYTES_LITERAL("x"), bytes_of_string(bad[i])),
			ERR_INVALID);
		assert_int_equal(mime_to_utf8(BYTES_LITERAL("x"), bytes_of_string(bad[i]), &out),
			ERR_INVALID);
		assert_int_equal(out.len, 0);
	}
	assert_int_equal(mime_needle_init(&needle, BYTES_LITERAL("\xff"), BYTES_LITERAL("utf-8")),
		ERR_INVALID);
	/* Without a charset UTF-8 is taken too: clients send it, and ASCII is part of it. */
	assert_int_equal(
		mime_needle_init(&needle, BYTES_LITERAL("\xc3\xa4"), BYTES_LITERAL("")), 0);
	mime_needle_deinit(&needle);
}

/* What SEARCH says that it knows (the code BADCHARSET). */
static void charsets_of_mail_are_known(void **state)
{
	static const char *const names[] = { "US-ASCII", "UTF-8", "UTF-7", "ISO-8859-1",
		"ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5", "ISO-8859-6", "ISO-8859-7",
		"ISO-8859-8", "ISO-8859-9", "ISO-8859-10", "ISO-8859-13", "ISO-8859-14",
		"ISO-8859-15", "ISO-8859-16", "WINDOWS-1250", "WINDOWS-1251", "WINDOWS-1252",
		"WINDOWS-1253", "WINDOWS-1254", "WINDOWS-1255", "WINDOWS-1256", "WINDOWS-1257",
		"WINDOWS-1258", "KOI8-R", "KOI8-U", "GB2312", "GBK", "GB18030", "BIG5",
		"BIG5-HKSCS", "SHIFT_JIS", "EUC-JP", "EUC-KR", "EUC-TW", "ISO-2022-JP",
		"ISO-2022-KR", "TIS-620", "MACINTOSH" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct mime_needle needle;

		if (mime_needle_init(&needle, BYTES_LITERAL("a"), bytes_of_string(names[i])) < 0)
			fail_msg("%s", names[i]);
		mime_needle_deinit(&needle);
	}
}

static const char searched[] =
	"Subject: =?utf-8?q?GR=C3=96SSE?= of\r\n things\r\n"
	"Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n"
	"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n\r\n=DCber so=\r\nft\r\n"
	"--b\r\nContent-Type: text/html; charset=koi8-r\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\n8NLJ18XU\r\n" /* "Privet" in Cyrillic */
	"--b\r\nContent-Type: application/x\r\n\r\nbinary\r\n"
	"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Attached\r\n\r\nInside\r\n--b--\r\n";

static void searching_decodes_and_disregards_case(void **state)
{
	static const struct {
		const char *text;
		bool in_subject, in_body, in_text;
	} rows[] = {
		{ "gr\xc3\xb6sse OF THINGS", true, false, true },
		{ "\xc3\xbc"
		  "BER SOFT",
			false, true, true },
		{ "\xd0\xbf\xd1\x80\xd0\x98\xd0\xb2\xd0\xb5\xd1\x82", false, true, true },
		{ "binary", false, false, false },   /* no text part */
		{ "preamble", false, false, false }, /* seen by no client */
		{ "subject: attached", false, true, true },
		{ "INSIDE", false, true, true },
		{ "boundary=B", false, false, true },
		{ "", true, true, true },
	};
	struct bytes message = bytes_of_string(searched);
	struct mime_needle needle;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(mime_needle_init(&needle, bytes_of_string(rows[i].text),
					 BYTES_LITERAL("UTF-8")),
			0);
		assert_int_equal(mime_search_header(message, BYTES_LITERAL("subject"), &needle),
			rows[i].in_subject);
		assert_int_equal(mime_search_body(message, &needle), rows[i].in_body);
		assert_int_equal(mime_search_text(message, &needle), rows[i].in_text);
		assert_false(mime_search_header(message, BYTES_LITERAL("X-None"), &needle));
		mime_needle_deinit(&needle);
	}
}

/* Octets that are no letters stay what they are, wherever they stand in a line. */
static void only_letters_lose_their_case(void **state)
{
	(void)state;
	for (int octet = '!'; octet < 0x7f; octet++) {
		char text[24], other[2] = { (char)(octet ^ 0x20), '\0' };
		bool is_letter = (octet | 0x20) >= 'a' && (octet | 0x20) <= 'z' && octet >= 'A';
		struct mime_needle needle;

		if (other[0] <= ' ' || other[0] == 0x7f || octet == '.' || other[0] == '.')
			continue;
		assert_int_equal(
			mime_needle_init(&needle, bytes_of_string(other), BYTES_LITERAL("")), 0);
		for (int at = 0; at < 17; at++) {
			memcpy(text, "\r\n.................\r\n", 22);
			text[2 + at] = (char)octet;
			assert_int_equal(
				mime_search_body(bytes_of_string(text), &needle), is_letter);
		}
		mime_needle_deinit(&needle);
	}
}

static void a_needle_is_found_over_the_edge_of_a_block(void **state)
{
	struct mime_needle needle;
	struct buffer message = { 0 };
	size_t before;

	(void)state;
	assert_int_equal(mime_needle_init(&needle, BYTES_LITERAL("needle"), BYTES_LITERAL("")), 0);
	for (before = 65536 - 8; before < 65536 + 8; before++) {
		buffer_clear(&message);
		buffer_append_string(&message, "\r\n");
		memset(buffer_extend(&message, before), 'x', before);
		assert_false(mime_search_body(buffer_bytes(&message), &needle));
		buffer_append_string(&message, "NEEDLE");
		assert_true(mime_search_body(buffer_bytes(&message), &needle));
	}
	buffer_deinit(&message);
	mime_needle_deinit(&needle);
}

static void put_piece(struct buffer *text, struct random *random)
{
	static const char *const pieces[] = { "a", "A", "e", "E", "K", "k", " ", "ab", "eE", "\r\n",
		"\xc3\xa9", "\xc3\x89", "e\xcc\x81", "\xe2\x84\xaa", "\xef\xb7\xba", "\xc3",
		"\xf0\x9f", "\xec\x95\x88", "\xef\xac\x81", "." };

	buffer_append_string(
		text, pieces[random_below(random, sizeof(pieces) / sizeof(pieces[0]))]);
}

/* What is found without folding a text, or by folding little of it, is what is found in the whole
 * of it folded. */
static void needles_are_found_as_in_the_folded_text(void **state)
{
	struct buffer text = { 0 }, sought = { 0 }, folded = { 0 };
	struct random random = { 77 };
	size_t found_count = 0;

	(void)state;

	for (size_t round = 0; round < 20000; round++) {
		struct mime_needle needle;
		bool found;

		buffer_clear(&text);
		buffer_clear(&sought);
		buffer_clear(&folded);
		for (uint64_t i = random_below(&random, 60); i > 0; i--)
			put_piece(&text, &random);
		for (uint64_t i = 1 + random_below(&random, 4); i > 0; i--)
			put_piece(&sought, &random);
		if (mime_needle_init(&needle, buffer_bytes(&sought), BYTES_LITERAL("")) < 0)
			continue;
		mime_casemap(buffer_bytes(&text), &folded);
		found = mime_needle_in_folded(&needle, buffer_bytes(&folded));
		assert_int_equal(mime_needle_in_utf8(&needle, buffer_bytes(&text)), found);
		found_count += found;
		mime_needle_deinit(&needle);
	}
	assert_in_range(found_count, 2000, 18000);
	buffer_deinit(&text);
	buffer_deinit(&sought);
	buffer_deinit(&folded);
}

/* As fast as if it were not made to be slow: each place has most of the needle. */
static void a_text_made_for_it_costs_no_more(void **state)
{
	struct mime_needle needle;
	struct buffer text = { 0 }, sought = { 0 };
	clock_t began;

	(void)state;
	memset(buffer_extend(&text, 8 << 20), 'a', 8 << 20);
	memset(buffer_extend(&sought, 4000), 'A', 4000);
	sought.data[2000] = 'B';
	assert_int_equal(mime_needle_init(&needle, buffer_bytes(&sought), BYTES_LITERAL("")), 0);
	needle.rare[0] = needle.rare[1] = 0; /* the text's maker guessed what is compared first */
	began = clock();
	assert_false(mime_needle_in_octets(&needle, buffer_bytes(&text)));
	assert_in_range(clock() - began, 0, 5 * CLOCKS_PER_SEC); /* else minutes */
	text.data[(8 << 20) - 2000] = 'b';
	assert_true(mime_needle_in_octets(&needle, buffer_bytes(&text)));
	mime_needle_deinit(&needle);
	buffer_deinit(&text);
	buffer_deinit(&sought);
}

static void a_header_is_searched_as_it_is_shown(void **state)
{
	static const struct {
		const char *header, *sought;
		bool found;
	} rows[] = {
		{ "Subject: one\r\n two\r\n", "one two", true },
		{ "Subject: one\r\n two\r\n", "one\r\n two", false },
		{ "Subject: one\r\nTo: two\r\n", "one\r\nto", false }, /* two fields */
		{ "Subject: one\r\n two\r\n", "ONE", true },
		{ "Subject: =?utf-8?q?p=6Cain?=\r\n", "plain", true },
		{ "Subject: =?utf-8?q?p=6Cain?=\r\n", "p=6c", false }, /* not what is shown */
		{ "X: =?utf-8?q?a?=\r\nSubject: text\r\n", "ject: te", true },
		{ "Content-Type: a/b; n*=utf-8''%78%79z\r\n", "xyz", true },
		{ "Subject: caf\xc3\xa9\r\n", "cafe", true },
		{ "Subject: text\r\n\r\nSubject: body\r\n", "subject: body", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buffer message = { 0 };
		struct mime_needle needle;

		buffer_append_string(&message, rows[i].header);
		/* No body is searched, as no part is text. */
		if (strstr(rows[i].header, "Content-Type") == NULL) {
			buffer_clear(&message);
			buffer_append_string(&message, "Content-Type: a/b\r\n");
			buffer_append_string(&message, rows[i].header);
		}
		assert_int_equal(mime_needle_init(&needle, bytes_of_string(rows[i].sought),
					 BYTES_LITERAL("UTF-8")),
			0);
		assert_int_equal(mime_search_text(buffer_bytes(&message), &needle), rows[i].found);
		mime_needle_deinit(&needle);
		buffer_deinit(&message);
	}
}

static size_t file_count;

/* Mail lies on disk with LF and comes over the network with CRLF: both must hold. */
static int file_check(const char *path, const struct stat *status, int type, struct FTW *where)
{
	struct buffer lf = { 0 }, crlf = { 0 };
	FILE *file;
	int byte;

	(void)status;
	(void)where;
	if (type != FTW_F)
		return 0;
	file = fopen(path, "rb");
	assert_non_null(file);
	while ((byte = getc(file)) != EOF) {
		buffer_append_byte(&lf, byte);
		if (byte == '\n' && (crlf.len == 0 || crlf.data[crlf.len - 1] != '\r'))
			buffer_append_byte(&crlf, '\r');
		buffer_append_byte(&crlf, byte);
	}
	fclose(file);
	mime_invariants_check(buffer_bytes(&lf));
	mime_invariants_check(buffer_bytes(&crlf));
	file_count++;
	buffer_deinit(&lf);
	buffer_deinit(&crlf);
	return 0;
}

static void real_mail_keeps_the_invariants(void **state)
{
	const char *folder = getenv("CHAPAR_TEST_MAIL");

	(void)state;
	if (folder == NULL) {
		print_message("CHAPAR_TEST_MAIL is not set: no real mail is tested\n");
		skip();
	}
	assert_int_equal(nftw(folder, file_check, 16, FTW_PHYS), 0);
	assert_true(file_count > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(encoded_words_are_decoded_as_in_rfc_2047),
		cmocka_unit_test(transfer_encodings_are_removed_leniently),
		cmocka_unit_test(unknown_charsets_are_refused),
		cmocka_unit_test(charsets_of_mail_are_known),
		cmocka_unit_test(searching_decodes_and_disregards_case),
		cmocka_unit_test(only_letters_lose_their_case),
		cmocka_unit_test(a_needle_is_found_over_the_edge_of_a_block),
		cmocka_unit_test(needles_are_found_as_in_the_folded_text),
		cmocka_unit_test(a_text_made_for_it_costs_no_more),
		cmocka_unit_test(a_header_is_searched_as_it_is_shown),
		cmocka_unit_test(real_mail_keeps_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
