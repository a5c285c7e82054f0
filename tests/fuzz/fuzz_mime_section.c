/*
 * Sections of a message: the first byte is the size of the section's text, then come that text and
 * the message. What BODY[...] gives is compared with a walk over the parts that shares no code with
 * it, and with what the sections of the same part have in common.
 */
#include "fuzz_check.h"

#include "mail/mime_bodystructure.h"
#include "mail/mime_section.h"
#include "mime_invariants.h"
#include "mime_syntax.h"

#include "base/error.h"

#define INPUT_SIZE_MAX 60000

struct subject {
	struct bytes message;
	const struct mime_part *root;
	struct mime_section section;
};

static int get(const struct subject *subject, enum mime_section_kind kind, size_t number_count,
	struct bytes *octets_r)
{
	struct mime_section section = subject->section;
	struct buffer scratch = { 0 };
	int rc;

	section.kind = kind;
	section.number_count = number_count;
	*octets_r = bytes_of(NULL, 0);
	rc = mime_section_get(subject->message, subject->root, &section, &scratch, octets_r);
	buffer_deinit(&scratch);
	return rc;
}

static const struct mime_part *child_at(const struct mime_part *part, uint32_t number)
{
	const struct mime_part *child = part->children;

	while (child != NULL && --number > 0)
		child = child->next;
	return child;
}

/*
 * RFC 3501, 6.4.5: "Every message has at least one part number. Non-multipart messages, and
 * non-multipart messages encapsulated in other messages, have only a part 1." So a number goes to a
 * child of the multipart that stands here, or, once, from a message to its only part.
 */
static const struct mime_part *walk(const struct subject *subject)
{
	const struct mime_part *here = subject->root;
	bool is_message = true; /* the next number counts the parts of a message */

	for (size_t i = 0; i < subject->section.number_count; i++) {
		uint32_t number = subject->section.numbers[i];

		if (!is_message && here->kind == MIME_MESSAGE) {
			here = here->children;
			is_message = true;
		}
		if (here->kind == MIME_MULTIPART)
			here = child_at(here, number);
		else if (!is_message || number != 1)
			return NULL;
		if (here == NULL)
			return NULL;
		is_message = false;
	}
	return here;
}

static bool adjoin(struct bytes first, struct bytes second)
{
	return first.len == 0 || second.len == 0 || first.ptr + first.len == second.ptr;
}

static void check_whole(
	const struct subject *subject, const struct mime_part *part, struct bytes all)
{
	struct bytes header, text, mime, again;

	if (subject->section.number_count == 0) {
		FUZZ_CHECK(bytes_equal(all, subject->message));
		FUZZ_CHECK(get(subject, MIME_SECTION_HEADER, 0, &header) == 0);
		FUZZ_CHECK(get(subject, MIME_SECTION_TEXT, 0, &text) == 0);
		FUZZ_CHECK(header.len + text.len == all.len && adjoin(header, text));
		FUZZ_CHECK(get(subject, MIME_SECTION_MIME, 0, &mime) == ERR_NOT_FOUND);
		return;
	}
	FUZZ_CHECK(bytes_equal(all, mime_part_body(part, subject->message)));
	FUZZ_CHECK(get(subject, MIME_SECTION_MIME, subject->section.number_count, &mime) == 0);
	FUZZ_CHECK(adjoin(mime, all));
	if (get(subject, MIME_SECTION_HEADER, subject->section.number_count, &header) == 0) {
		FUZZ_CHECK(part->kind == MIME_MESSAGE);
		FUZZ_CHECK(
			get(subject, MIME_SECTION_TEXT, subject->section.number_count, &text) == 0);
		FUZZ_CHECK(header.len + text.len == all.len && adjoin(header, text));
	} else {
		FUZZ_CHECK(part->kind != MIME_MESSAGE);
	}
	if (subject->section.number_count > 1)
		FUZZ_CHECK(get(subject, MIME_SECTION_ALL, subject->section.number_count - 1,
				   &again) == 0);
}

/* Removing an encoding does not depend on what else is asked, and never makes more of it. */
static void check_binary(const struct subject *subject, struct bytes all)
{
	struct buffer out = { 0 };
	int rc;

	buffer_append_string(&out, "before");
	rc = mime_section_binary(subject->message, subject->root, subject->section.numbers,
		subject->section.number_count, &out);
	FUZZ_CHECK(rc == 0 || rc == ERR_INVALID);
	FUZZ_CHECK(bytes_start_with(buffer_bytes(&out), BYTES_LITERAL("before")));
	FUZZ_CHECK(out.len <= all.len + 6 && (rc == 0 || out.len == 6));
	buffer_deinit(&out);
}

static void check_section(const struct subject *subject)
{
	const struct mime_part *part = walk(subject);
	struct buffer scratch = { 0 };
	struct bytes all, octets;
	int rc;

	rc = get(subject, MIME_SECTION_ALL, subject->section.number_count, &all);
	FUZZ_CHECK((rc == 0) == (part != NULL));
	if (rc == 0) {
		check_whole(subject, part, all);
		check_binary(subject, all);
	}
	if (mime_section_get(
		    subject->message, subject->root, &subject->section, &scratch, &octets) == 0)
		FUZZ_CHECK(part != NULL && (scratch.len > 0 || octets.len <= subject->message.len));
	buffer_deinit(&scratch);
}

/* A part's structure is well-formed by itself too, and BODY is the beginning of BODYSTRUCTURE. */
static void check_structure(struct bytes message, const struct mime_part *root)
{
	struct buffer body = { 0 }, structure = { 0 };

	mime_bodystructure_write(message, root, false, &body);
	mime_bodystructure_write(message, root, true, &structure);
	FUZZ_CHECK(mime_syntax_is_body(buffer_bytes(&body), false));
	FUZZ_CHECK(mime_syntax_is_body(buffer_bytes(&structure), true));
	if (root->kind == MIME_LEAF)
		FUZZ_CHECK(bytes_start_with(
			buffer_bytes(&structure), bytes_of(body.data, body.len - 1)));
	buffer_deinit(&body);
	buffer_deinit(&structure);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct subject subject = { .message = bytes_of(data, size) };
	struct arena *arena;
	struct bytes text;
	size_t text_size;

	if (size < 1 || size > INPUT_SIZE_MAX || size < 1u + data[0])
		return 0;
	text_size = bytes_take(&subject.message, 1).ptr[0];
	text = bytes_take(&subject.message, text_size);
	arena = arena_new();
	subject.root = mime_structure_parse(subject.message, arena);
	if (mime_section_parse(text, arena, &subject.section) == 0)
		check_section(&subject);
	check_structure(subject.message, subject.root);
	mime_invariants_check(subject.message);
	arena_free(&arena);
	return 0;
}
