#include "mime_invariants.h"

#include "mail/mime_section.h"
#include "mail/mime_summary.h"
#include "mail/mime_text.h"
#include "mime_syntax.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);    \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static size_t line_ends(struct bytes text)
{
	size_t i, count = 0;

	for (i = 0; i < text.len; i++)
		count += text.ptr[i] == '\n';
	return count;
}

/* Parts lie one behind the other in their parent's body; returns how many there are. */
static size_t part_check(struct bytes message, const struct mime_part *part, int depth)
{
	const struct mime_part *child;
	size_t at = part->body_start, count = 0, parts = 1;

	CHECK(depth <= MIME_DEPTH_MAX);
	CHECK(part->body_start == part->header_start + part->header_size);
	CHECK(part->body_start <= message.len && part->body_size <= message.len - part->body_start);
	/* Counting again at each level would be quadratic in the depth. */
	if (depth < 4) {
		CHECK(part->header_lines == line_ends(mime_part_header(part, message)));
		CHECK(part->body_lines == line_ends(mime_part_body(part, message)));
	}
	CHECK(part->type.len > 0 && part->subtype.len > 0);
	CHECK((part->kind == MIME_LEAF) == (part->children == NULL));
	for (child = part->children; child != NULL; child = child->next, count++) {
		CHECK(child->parent == part && child->header_start >= at);
		at = child->body_start + child->body_size;
		CHECK(at <= part->body_start + part->body_size);
		parts += part_check(message, child, depth + 1);
	}
	CHECK(count == part->child_count);
	if (part->kind == MIME_MESSAGE)
		CHECK(part->children->header_start == part->body_start &&
			at == part->body_start + part->body_size);
	return parts;
}

static void section_check(struct bytes message, const struct mime_part *root, const char *text)
{
	struct arena *arena = arena_new();
	struct mime_section section;
	struct buffer scratch = { 0 };
	struct bytes octets;

	CHECK(mime_section_parse(bytes_of_string(text), arena, &section) == 0);
	if (mime_section_get(message, root, &section, &scratch, &octets) == 0 && octets.len > 0)
		CHECK(scratch.len > 0 ||
			(octets.ptr >= message.ptr &&
				octets.ptr + octets.len <= message.ptr + message.len));
	(void)mime_section_binary(message, root, section.numbers, section.number_count, &scratch);
	buffer_deinit(&scratch);
	arena_free(&arena);
}

/* The header and all fields but those, with those, are the header. */
static void fields_check(
	struct bytes message, const struct mime_part *root, const struct mime_summary *summary)
{
	static const char *const texts[] = { "From", "subject", "DATE" };
	struct bytes names[3], header = mime_part_header(root, message);
	struct buffer raw = { 0 }, kept = { 0 };
	size_t i;

	for (i = 0; i < 3; i++)
		names[i] = bytes_of_string(texts[i]);
	mime_header_fields(header, names, 3, false, &raw);
	if (mime_summary_header_fields(summary, names, 3, &kept))
		CHECK(bytes_equal(buffer_bytes(&raw), buffer_bytes(&kept)));
	mime_header_fields(header, names, 3, true, &raw);
	CHECK(raw.len >= header.len && raw.len <= header.len + 6);
	buffer_deinit(&raw);
	buffer_deinit(&kept);
}

static void summary_check(struct bytes message, const struct mime_part *root)
{
	struct mime_summary summary;
	struct buffer blob = { 0 };

	mime_summary_make(message, &blob);
	CHECK(mime_summary_open(buffer_bytes(&blob), &summary) == 0);
	CHECK(summary.message_size == message.len && summary.header_size == root->header_size);
	CHECK(mime_syntax_is_envelope(summary.envelope));
	CHECK(mime_syntax_is_body(summary.body, false));
	CHECK(mime_syntax_is_body(summary.bodystructure, true));
	fields_check(message, root, &summary);
	buffer_deinit(&blob);
}

static void search_check(struct bytes message, const char *text)
{
	struct mime_needle needle;
	struct bytes from = BYTES_LITERAL("from");

	CHECK(mime_needle_init(&needle, bytes_of_string(text), BYTES_LITERAL("utf-8")) == 0);
	if (mime_search_body(message, &needle) || mime_search_header(message, from, &needle))
		CHECK(mime_search_text(message, &needle));
	mime_needle_deinit(&needle);
}

void mime_invariants_check(struct bytes message)
{
	static const char *const sections[] = { "", "HEADER", "TEXT", "1", "1.MIME", "2", "1.1",
		"2.HEADER", "1.2.TEXT", "HEADER.FIELDS (From To)", "HEADER.FIELDS.NOT (From)",
		"1.HEADER.FIELDS (Subject)" };
	struct arena *arena = arena_new();
	struct mime_part *root = mime_structure_parse(message, arena);
	size_t i;

	CHECK(root->header_start == 0 && root->body_start + root->body_size == message.len);
	CHECK(part_check(message, root, 0) <= MIME_PARTS_MAX);
	for (i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		section_check(message, root, sections[i]);
	summary_check(message, root);
	search_check(message, "the");
	search_check(message, "gr\xc3\xb6\xc3\x9f");
	search_check(message, "");
	arena_free(&arena);
}
