/* Base subjects, message ids, the comparator, threads and previews. */
#include "base/error.h"
#include "base/random.h"
#include "mail/mime_html.h"
#include "mail/mime_preview.h"
#include "mail/mime_sort.h"
#include "mail/mime_subject.h"
#include "mail/mime_summary.h"
#include "mail/mime_text.h"
#include "mail/mime_thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 5256, 2.1. */
static void base_subjects_are_what_rfc_5256_leaves_of_subjects(void **state)
{
	static const struct {
		const char *subject, *base;
		bool is_reply;
	} rows[] = {
		{ "lunch", "lunch", false },
		{ "Re: lunch", "lunch", true },
		{ "RE : fw: Fwd:  lunch", "lunch", true },
		{ "Re [2]: lunch", "lunch", true },
		{ "[chapar] Re: [chapar] lunch", "lunch", true },
		{ "[chapar] lunch", "lunch", false },
		{ "[a] [b][c] lunch", "lunch", false },
		{ "[only]", "[only]", false },
		{ "[a][b]", "[b]", false },
		{ "Re: [only]", "[only]", true },
		{ "lunch (fwd) ", "lunch", true },
		{ "lunch (Fwd)(FWD)", "lunch", true },
		{ "[fwd: lunch]", "lunch", true },
		{ "[Fwd: re: [x] lunch (fwd)]", "lunch", true },
		{ "re lunch", "re lunch", false },
		{ "Ref: lunch", "Ref: lunch", false },
		{ "re[[x]]: lunch", "re[[x]]: lunch", false },
		{ "", "", false },
		{ " \t ", "", false },
		{ "Re:", "", true },
		{ "a\t b\r\n  c", "a b c", false },
		{ "=?utf-8?q?Re:_caf=C3=A9?=", "caf\xc3\xa9", true },
		{ "=?iso-8859-1?q?Re=3A?= =?iso-8859-1?q?_=E4?=", "\xc3\xa4", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buffer out = { 0 };

		assert_int_equal(mime_base_subject(bytes_of_string(rows[i].subject), &out).is_reply,
			rows[i].is_reply);
		assert_string_equal(buffer_string(&out), rows[i].base);
		buffer_deinit(&out);
	}
}

/* RFC 5256, 2: all spellings of an id are one. */
static void message_ids_are_found_and_made_alike(void **state)
{
	static const char *const rows[][2] = {
		{ "<01KF8JCEOCBS0045PS@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com" },
		{ "<\"01KF8JCEOCBS0045PS\"@xxx.yyy.com>", "01KF8JCEOCBS0045PS@xxx.yyy.com" },
		{ "Your message of Friday <a @ (x) b>, with <c@d>", "a@b" },
		{ "<no at> <@b> <a@> <e@f>", "e@f" },
		{ "<\"a\\\"b\"@c>", "a\"b@c" },
		{ "a@b", "" },
		{ "<a@b", "" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct bytes in = bytes_of_string(rows[i][0]);
		struct buffer out = { 0 };

		assert_int_equal(mime_message_id_next(&in, &out), rows[i][1][0] != '\0');
		assert_string_equal(buffer_string(&out), rows[i][1]);
		buffer_deinit(&out);
	}
}

/* RFC 5051. */
static void the_comparator_disregards_case_and_compatible_forms(void **state)
{
	static const struct {
		const char *a, *b;
		bool is_same;
	} rows[] = {
		{ "chapar", "CHAPAR", true },
		{ "\xc3\xa4", "\xc3\x84", true },         /* a with diaeresis */
		{ "\xc3\xa4", "a\xcc\x88", true },        /* and decomposed */
		{ "\xef\xac\x81", "fi", false },          /* a ligature has no simple title case */
		{ "\xef\xac\x81", "\xef\xac\x81", true }, /* but is itself */
		{ "\xef\xbc\xa1", "a", true },            /* full width */
		{ "\xe2\x84\xab", "\xc3\xa5", true },     /* Angstrom sign */
		{ "\xcf\x83", "\xcf\x82", true },         /* both sigmas */
		{ "\xc7\x86", "\xc7\x84", true },         /* dz: lower and upper to title case */
		{ "\xd0\x9f\xd1\x80", "\xd0\xbf\xd0\xa0", true },
		{ "\xc3\x9f", "ss", false }, /* sharp s */
		{ "a", "b", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buffer a = { 0 }, b = { 0 };

		mime_casemap(bytes_of_string(rows[i].a), &a);
		mime_casemap(bytes_of_string(rows[i].b), &b);
		assert_int_equal(bytes_equal(buffer_bytes(&a), buffer_bytes(&b)), rows[i].is_same);
		buffer_deinit(&a);
		buffer_deinit(&b);
	}
}

/* ---- threads ---- */

struct given { /* a message of a test's mailbox, the first is 1 */
	const char *id, *references, *subject;
	int sent;
};

#define GIVEN_COUNT_MAX 64

struct mailbox {
	struct mime_thread_message messages[GIVEN_COUNT_MAX];
	struct buffer blobs[GIVEN_COUNT_MAX];
	struct digest references[GIVEN_COUNT_MAX][MIME_REFERENCE_COUNT_MAX];
};

static void message_read(struct mailbox *mailbox, size_t at, const struct given *given, int number)
{
	struct mime_thread_message *message = &mailbox->messages[at];
	struct buffer header = { 0 };
	struct mime_sort sort;

	if (given->id != NULL)
		buffer_printf(&header, "Message-ID: <%s@x>\r\n", given->id);
	if (given->references != NULL)
		buffer_printf(&header, "References: %s\r\n", given->references);
	buffer_printf(&header, "Subject: %s\r\n\r\n", given->subject);
	buffer_clear(&mailbox->blobs[at]);
	mime_sort_make(buffer_bytes(&header), &mailbox->blobs[at]);
	buffer_deinit(&header);
	assert_int_equal(mime_sort_open(buffer_bytes(&mailbox->blobs[at]), &sort), 0);
	for (size_t i = 0; i < sort.reference_count; i++)
		mailbox->references[at][i] = mime_sort_reference(&sort, i);
	*message = (struct mime_thread_message){ .number = (uint32_t)number,
		.sent_date = given->sent,
		.arrived = number,
		.subject = sort.subject,
		.is_reply = sort.is_reply,
		.has_id = sort.has_message_id,
		.id = sort.message_id,
		.references = mailbox->references[at],
		.reference_count = sort.reference_count };
}

/* Recursion is bounded by the tests' own threads. */
static void thread_print(const struct mime_thread *node, struct buffer *out)
{
	const char *blank = "";

	if (node->message != NULL) {
		buffer_printf(out, "%u", node->message->number);
		blank = " ";
	}
	for (const struct mime_thread *child = node->children; child != NULL; child = child->next) {
		bool is_single = node->children->next == NULL;

		buffer_printf(out, "%s%s", blank, is_single ? "" : "(");
		thread_print(child, out);
		buffer_append_string(out, is_single ? "" : ")");
		blank = "";
	}
}

static void threads_print(enum mime_thread_algorithm algorithm, const struct mailbox *mailbox,
	size_t count, struct buffer *out)
{
	struct arena *arena = arena_new();

	for (const struct mime_thread *thread =
			mime_thread_build(algorithm, mailbox->messages, count, arena);
		thread != NULL; thread = thread->next) {
		buffer_append_byte(out, '(');
		thread_print(thread, out);
		buffer_append_byte(out, ')');
	}
	arena_free(&arena);
}

static void mailbox_deinit(struct mailbox *mailbox)
{
	for (size_t i = 0; i < GIVEN_COUNT_MAX; i++)
		buffer_deinit(&mailbox->blobs[i]);
}

static void check_threads(enum mime_thread_algorithm algorithm, const struct given *given,
	size_t count, const char *expected)
{
	struct mailbox mailbox = { 0 };
	struct buffer out = { 0 };

	for (size_t i = 0; i < count; i++)
		message_read(&mailbox, i, &given[i], (int)i + 1);
	threads_print(algorithm, &mailbox, count, &out);
	assert_string_equal(buffer_string(&out), expected);
	buffer_deinit(&out);
	mailbox_deinit(&mailbox);
}

/* RFC 5256, 3: the trees of the THREAD response's examples. */
static const struct given tree[] = {
	{ "1", NULL, "a", 1 },
	{ "2", NULL, "b", 2 },
	{ "3", "<2@x>", "Re: b", 3 },
	{ "4", "<2@x> <3@x>", "Re: b", 4 },
	{ "5", "<2@x>", "Re: b", 5 },
	{ "6", "<gone@x>", "Re: c", 6 },
	{ "7", "<gone@x>", "Re: c", 7 },
	{ "8", "<away@x> <6@x>", "Re: c", 8 },
	{ NULL, NULL, "Re: a", 9 },
	{ NULL, NULL, "d", 10 },
	{ "11", "<11@x>", "Re: e", 11 },
	{ "12", "<13@x>", "f", 12 },
	{ "13", "<12@x>", "f", 13 },
	{ "12", NULL, "", 14 },
};

static void references_make_trees_and_subjects_join_them(void **state)
{
	(void)state;
	check_threads(MIME_THREAD_REFERENCES, tree, COUNT(tree),
		"(1 9)(2 (3 4)(5))((6 8)(7))(10)(11)(13 12)(14)");
}

static void refs_leaves_subjects_alone_and_sorts_by_arrival(void **state)
{
	(void)state;
	check_threads(MIME_THREAD_REFS, tree, COUNT(tree),
		"(1)(2 (3 4)(5))((6 8)(7))(9)(10)(11)(13 12)(14)");
	/* An answer brings its thread to the end. */
	check_threads(MIME_THREAD_REFS,
		(const struct given[]){
			{ "1", NULL, "a", 1 }, { "2", NULL, "b", 2 }, { "3", "<1@x>", "a", 3 } },
		3, "(2)(1 3)");
}

static void ordered_subject_gathers_by_subject_alone(void **state)
{
	(void)state;
	check_threads(MIME_THREAD_ORDEREDSUBJECT, tree, COUNT(tree),
		"(1 9)(2 (3)(4)(5))(6 (7)(8))(10)(11)(12 13)(14)");
	check_threads(MIME_THREAD_ORDEREDSUBJECT,
		(const struct given[]){ { "1", NULL, "b", 5 }, { "2", NULL, "A", 7 },
			{ "3", NULL, "[x] a", 3 }, { "4", NULL, "re: B", 1 } },
		4, "(4 1)(3 2)");
}

/* Step 5.C. */
static void threads_of_one_subject_are_joined_by_the_rules(void **state)
{
	static const struct {
		const struct given given[5];
		size_t count;
		const char *expected;
	} rows[] = {
		/* a reply below the one that is none, whichever comes first */
		{ { { "1", NULL, "Re: a", 1 }, { "2", NULL, "a", 2 } }, 2, "(2 1)" },
		/* neither a reply: siblings */
		{ { { "1", NULL, "a", 1 }, { "2", NULL, "A", 2 } }, 2, "((1)(2))" },
		{ { { "1", NULL, "a", 3 }, { "2", NULL, "a", 2 }, { "3", NULL, "re: a", 1 } }, 3,
			"((2 3)(1))" },
		/* an empty subject joins nothing */
		{ { { "1", NULL, "", 1 }, { "2", NULL, "re:", 2 } }, 2, "(1)(2)" },
		/* a message comes to the children of one that is not there ... */
		{ { { "1", "<g@x>", "a", 1 }, { "2", "<g@x>", "a", 2 }, { "3", NULL, "a", 3 } }, 3,
			"((1)(2)(3))" },
		/* ... and so do the children of another */
		{ { { "1", "<g@x>", "a", 1 }, { "2", "<g@x>", "a", 2 }, { "3", "<h@x>", "a", 3 },
			  { "4", "<h@x>", "a", 4 } },
			4, "((1)(2)(3)(4))" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		check_threads(
			MIME_THREAD_REFERENCES, rows[i].given, rows[i].count, rows[i].expected);
}

/* What the messages say of each other decides, not the order in which they came. */
static void threads_do_not_depend_on_the_mailboxs_order(void **state)
{
	static const struct given consistent[] = {
		{ "1", NULL, "a", 1 },
		{ "2", "<1@x>", "Re: a", 2 },
		{ "3", "<1@x> <2@x>", "Re: a", 3 },
		{ "4", "<1@x> <2@x> <3@x>", "Re: a", 4 },
		{ "5", "<1@x> <2@x>", "Re: a", 5 },
		{ "6", "<0@x> <7@x>", "Re: b", 6 },
		{ "7", "<0@x>", "Re: b", 7 },
		{ "8", "<0@x>", "Re: b", 8 },
		{ "9", "<1@x> <2@x> <3@x> <4@x>", "changed", 9 },
	};
	static const char expected[] = "(1 2 (3 4 9)(5))((7 6)(8))";
	size_t order[COUNT(consistent)];

	(void)state;
	for (size_t i = 0; i < COUNT(order); i++)
		order[i] = i;
	for (int round = 0; round < 500; round++) {
		struct mailbox mailbox = { 0 };
		struct buffer out = { 0 };

		for (size_t i = COUNT(order); i > 1; i--) {
			size_t other = (size_t)rand() % i, kept = order[i - 1];

			order[i - 1] = order[other];
			order[other] = kept;
		}
		for (size_t i = 0; i < COUNT(order); i++)
			message_read(&mailbox, i, &consistent[order[i]], (int)order[i] + 1);
		threads_print(MIME_THREAD_REFERENCES, &mailbox, COUNT(order), &out);
		assert_string_equal(buffer_string(&out), expected);
		buffer_deinit(&out);
		mailbox_deinit(&mailbox);
	}
}

/* Deep threads, wide ones, and loops cost no more than sorting does. */
static void hostile_references_take_no_time(void **state)
{
	enum { MESSAGE_COUNT = 20000 };
	struct mime_thread_message *messages = calloc(MESSAGE_COUNT, sizeof(*messages));
	struct digest(*references)[3] = calloc(MESSAGE_COUNT, sizeof(*references));

	(void)state;
	for (int shape = 0; shape < 4; shape++) {
		struct arena *arena = arena_new();
		size_t threads = 0;

		for (uint64_t i = 0; i < MESSAGE_COUNT; i++) {
			uint64_t parents[] = { i + 1, i - 1, 0, (uint64_t)rand() % MESSAGE_COUNT };

			references[i][0] = (struct digest){ 0, parents[shape] };
			references[i][1] = (struct digest){ 0, (uint64_t)rand() % MESSAGE_COUNT };
			references[i][2] = references[i][0];
			messages[i] = (struct mime_thread_message){ .number = (uint32_t)i + 1,
				.has_id = true,
				.id = { 0, i },
				.references = references[i],
				.reference_count = shape == 3 ? 3 : 1 };
		}
		for (struct mime_thread *thread = mime_thread_build(
			     MIME_THREAD_REFERENCES, messages, MESSAGE_COUNT, arena);
			thread != NULL; thread = thread->next)
			threads++;
		assert_true(threads > 0);
		arena_free(&arena);
	}
	free(messages);
	free(references);
}

/* ---- previews ---- */

static void html_is_read_for_its_words(void **state)
{
	static const char *const rows[][2] = {
		{ "<p>one<br>two</p>", " one two " },
		{ "<html><head><title>T</title><style>p{}</style></head><body>x</body>", "   x " },
		{ "b<b>ol</b>d", "bold" },
		{ "<script>if (a<b) x()</script>y", " y" },
		{ "a<!-- <p> -->b", "ab" },
		{ "<a href=\"x>y\" title='z'>link</a>", "link" },
		{ "<p class=it's>x", " x" },
		{ "&lt;&amp;&eacute;&#233;&#xE9;&euro;&nope;&",
			"<&\xc3\xa9\xc3\xa9\xc3\xa9\xe2\x82\xac&nope;&" },
		{ "1 < 2", "1 < 2" },
		{ "<!DOCTYPE html>x", " x" },
		{ "<unfinished", " " },
		{ "&#0;&#xd800;&#99999999;", "&#0;&#xd800;&#99999999;" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct buffer out = { 0 };

		mime_html_text(bytes_of_string(rows[i][0]), &out);
		assert_string_equal(buffer_string(&out), rows[i][1]);
		buffer_deinit(&out);
	}
}

/* RFC 8970. */
static void a_preview_is_the_first_text_that_is_shown(void **state)
{
	static const char *const rows[][2] = {
		{ "Subject: x\r\n\r\n  Hello,\r\n\r\n  world!\r\n", "Hello, world!" },
		{ "\r\nOn Monday X wrote:\r\n> old\r\n> text\r\nYes.\r\n",
			"On Monday X wrote: Yes." },
		{ "\r\n> only\r\n> quoted\r\n", "> only > quoted" },
		{ "Content-Type: text/html; charset=iso-8859-1\r\n"
		  "Content-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=FC=\r\n=DFe</p>",
			"Gr\xc3\xbc\xc3\x9f"
			"e" },
		{ "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
		  "Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nfile\r\n"
		  "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
		  "--c\r\nContent-Type: image/png\r\n\r\nx\r\n"
		  "--c\r\nContent-Type: text/html\r\n\r\n<b>sh</b>own\r\n--c--\r\n--b--\r\n",
			"shown" },
		{ "Content-Type: multipart/encrypted; "
		  "boundary=b\r\n\r\n--b\r\n\r\nsecret\r\n--b--\r\n",
			"" },
		{ "Content-Type: image/png\r\n\r\nx", "" },
		{ "", "" },
		{ "\r\nx\xe2\x80\x8b \xc2\xa0\xe2\x80\x8cy\xe2\x80\x8cz", "x y\xe2\x80\x8cz" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct mime_summary summary;
		struct buffer blob = { 0 };

		mime_summary_make(bytes_of_string(rows[i][0]), &blob);
		assert_int_equal(mime_summary_open(buffer_bytes(&blob), &summary), 0);
		assert_int_equal(summary.preview.len, strlen(rows[i][1]));
		assert_memory_equal(summary.preview.ptr, rows[i][1], summary.preview.len);
		buffer_deinit(&blob);
	}
}

static void a_preview_has_200_characters_at_most(void **state)
{
	struct mime_summary summary;
	struct buffer message = { 0 }, blob = { 0 };

	(void)state;
	buffer_append_string(&message, "Content-Type: text/plain; charset=utf-8\r\n\r\n");
	for (int i = 0; i < 1000; i++)
		buffer_append_string(&message, "\xc3\xa4");
	mime_summary_make(buffer_bytes(&message), &blob);
	assert_int_equal(mime_summary_open(buffer_bytes(&blob), &summary), 0);
	assert_int_equal(summary.preview.len, 2 * MIME_PREVIEW_LENGTH_MAX);
	buffer_deinit(&message);
	buffer_deinit(&blob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base_subjects_are_what_rfc_5256_leaves_of_subjects),
		cmocka_unit_test(message_ids_are_found_and_made_alike),
		cmocka_unit_test(the_comparator_disregards_case_and_compatible_forms),
		cmocka_unit_test(references_make_trees_and_subjects_join_them),
		cmocka_unit_test(refs_leaves_subjects_alone_and_sorts_by_arrival),
		cmocka_unit_test(ordered_subject_gathers_by_subject_alone),
		cmocka_unit_test(threads_of_one_subject_are_joined_by_the_rules),
		cmocka_unit_test(threads_do_not_depend_on_the_mailboxs_order),
		cmocka_unit_test(hostile_references_take_no_time),
		cmocka_unit_test(html_is_read_for_its_words),
		cmocka_unit_test(a_preview_is_the_first_text_that_is_shown),
		cmocka_unit_test(a_preview_has_200_characters_at_most),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
