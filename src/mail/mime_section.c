#include "mail/mime_section.h"

#include "base/error.h"
#include "base/mem.h"
#include "mail/mime_header.h"
#include "mail/mime_text.h"

#include <stdlib.h>

static const struct {
	const char *text;
	enum mime_section_kind kind;
} section_names[] = {
	{ "", MIME_SECTION_ALL },
	{ "HEADER", MIME_SECTION_HEADER },
	{ "TEXT", MIME_SECTION_TEXT },
	{ "MIME", MIME_SECTION_MIME },
	{ "HEADER.FIELDS", MIME_SECTION_HEADER_FIELDS },
	{ "HEADER.FIELDS.NOT", MIME_SECTION_HEADER_FIELDS_NOT },
};

static bool is_digit(int byte)
{
	return byte >= '0' && byte <= '9';
}

static int take_number(struct bytes *in, uint32_t *number_r)
{
	uint32_t number = 0;

	while (is_digit(bytes_peek(*in))) {
		uint32_t digit = (uint32_t)(bytes_take(in, 1).ptr[0] - '0');

		if (number > (UINT32_MAX - digit) / 10)
			return ERR_INVALID;
		number = number * 10 + digit;
	}
	if (number == 0)
		return ERR_INVALID;
	*number_r = number;
	return 0;
}

/* "1.2." or "1.2" at the end. */
static int take_numbers(struct bytes *in, struct arena *arena, struct mime_section *section)
{
	uint32_t numbers[MIME_SECTION_DEPTH_MAX];
	size_t count = 0;

	while (is_digit(bytes_peek(*in))) {
		if (count == MIME_SECTION_DEPTH_MAX)
			return ERR_TOO_LARGE;
		if (take_number(in, &numbers[count++]) < 0)
			return ERR_INVALID;
		if (in->len == 0)
			break;
		if (bytes_take(in, 1).ptr[0] != '.' || in->len == 0)
			return ERR_INVALID;
	}
	if (count > 0) {
		struct bytes all = bytes_of(numbers, count * sizeof(numbers[0]));

		section->numbers = memcpy(arena_alloc(arena, all.len), numbers, all.len);
		section->number_count = count;
	}
	return 0;
}

static int take_name(struct bytes *in, struct arena *arena, struct bytes *name_r)
{
	struct buffer text = { 0 };
	size_t size = 0;

	if (bytes_peek(*in) == '"') {
		mime_take_quoted(in, &text);
		*name_r = arena_copy(arena, buffer_bytes(&text));
		buffer_deinit(&text);
	} else {
		while (size < in->len && strchr(" ()\"", in->ptr[size]) == NULL)
			size++;
		*name_r = bytes_take(in, size);
	}
	return name_r->len > 0 ? 0 : ERR_INVALID;
}

/* "(A B)" to the end of the text. */
static int take_names(struct bytes in, struct arena *arena, struct mime_section *section)
{
	struct bytes names[MIME_SECTION_NAMES_MAX];
	size_t count = 0;

	if (bytes_peek(in) != '(')
		return ERR_INVALID;
	do {
		bytes_skip(&in, 1);
		if (count == MIME_SECTION_NAMES_MAX)
			return ERR_TOO_LARGE;
		if (take_name(&in, arena, &names[count++]) < 0)
			return ERR_INVALID;
	} while (bytes_peek(in) == ' ');
	if (!bytes_equal(in, BYTES_LITERAL(")")))
		return ERR_INVALID;
	section->names = memcpy(
		arena_alloc(arena, count * sizeof(names[0])), names, count * sizeof(names[0]));
	section->name_count = count;
	return 0;
}

int mime_section_parse(struct bytes text, struct arena *arena, struct mime_section *section_r)
{
	struct mime_section section = { MIME_SECTION_ALL };
	size_t i, count = sizeof(section_names) / sizeof(section_names[0]);
	struct bytes name;
	int rc;

	if (text.len == 0)
		text = BYTES_LITERAL("");
	rc = take_numbers(&text, arena, &section);
	if (rc < 0)
		return rc;
	name = bytes_take(&text, bytes_find(text, ' '));
	for (i = 0; i < count && !bytes_equal_string_nocase(name, section_names[i].text); i++)
		;
	if (i == count)
		return ERR_INVALID;
	section.kind = section_names[i].kind;
	if (section.kind == MIME_SECTION_MIME && section.number_count == 0)
		return ERR_INVALID;
	if (section.kind == MIME_SECTION_HEADER_FIELDS ||
		section.kind == MIME_SECTION_HEADER_FIELDS_NOT) {
		if (text.len == 0)
			return ERR_INVALID;
		bytes_skip(&text, 1);
		rc = take_names(text, arena, &section);
	} else if (text.len > 0) {
		rc = ERR_INVALID;
	}
	if (rc == 0)
		*section_r = section;
	return rc;
}

/*
 * Part `number` of the message that `entity` is: of a multipart its children count, anything else
 * is itself part 1 (RFC 3501, 6.4.5).
 */
static const struct mime_part *message_part(const struct mime_part *entity, uint32_t number)
{
	const struct mime_part *child;

	if (entity->kind != MIME_MULTIPART)
		return number == 1 ? entity : NULL;
	if (number == 0 || number > entity->child_count)
		return NULL;
	for (child = entity->children; --number > 0; child = child->next)
		;
	return child;
}

static const struct mime_part *part_find(
	const struct mime_part *root, const uint32_t *numbers, size_t count)
{
	const struct mime_part *part = root;
	size_t i;

	for (i = 0; i < count && part != NULL; i++) {
		if (i == 0 || part->kind == MIME_MULTIPART)
			part = message_part(part, numbers[i]);
		else if (part->kind == MIME_MESSAGE)
			part = message_part(part->children, numbers[i]);
		else
			part = NULL;
	}
	return part;
}

/* By length first: most names that differ are told apart without looking at them. */
static int name_order(const void *a, const void *b)
{
	const struct bytes *x = a, *y = b;

	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->len == 0 ? 0 : strncasecmp((const char *)x->ptr, (const char *)y->ptr, x->len);
}

/* A bit for each letter that a name begins with; most fields begin with another. */
static uint32_t first_letters(const struct bytes *names, size_t name_count)
{
	uint32_t letters = 0;

	for (size_t i = 0; i < name_count; i++) {
		if (names[i].len == 0)
			return UINT32_MAX;
		letters |= (uint32_t)1 << (names[i].ptr[0] & 31);
	}
	return letters;
}

static bool is_named(struct bytes raw, const struct bytes *sorted, size_t name_count)
{
	struct mime_field field;

	return mime_field_next(&raw, &field) &&
	       bsearch(&field.name, sorted, name_count, sizeof(*sorted), name_order) != NULL;
}

void mime_header_fields(struct bytes header, const struct bytes *names, size_t name_count,
	bool except, struct buffer *out)
{
	struct bytes *sorted = mem_alloc((name_count + 1) * sizeof(*sorted)), raw;
	uint32_t letters = first_letters(names, name_count);

	/* A header may have very many fields, and a client may name very many. */
	if (name_count > 0)
		memcpy(sorted, names, name_count * sizeof(*sorted));
	qsort(sorted, name_count, sizeof(*sorted), name_order);
	while (mime_field_take(&header, &raw)) {
		bool may_be_named = (letters >> (raw.ptr[0] & 31) & 1) != 0;

		if ((may_be_named && is_named(raw, sorted, name_count)) == except)
			continue;
		buffer_append_bytes(out, raw);
		if (raw.ptr[raw.len - 1] != '\n') /* the message ends here */
			buffer_append_string(out, "\r\n");
	}
	buffer_append_string(out, "\r\n");
	free(sorted);
}

/* The header, or fields of it. */
static void header_get(struct bytes header, const struct mime_section *section,
	struct buffer *scratch, struct bytes *octets_r)
{
	size_t before = scratch->len;

	if (section->kind == MIME_SECTION_HEADER) {
		*octets_r = header;
		return;
	}
	mime_header_fields(header, section->names, section->name_count,
		section->kind == MIME_SECTION_HEADER_FIELDS_NOT, scratch);
	*octets_r = bytes_of(scratch->data + before, scratch->len - before);
}

int mime_section_get(struct bytes message, const struct mime_part *root,
	const struct mime_section *section, struct buffer *scratch, struct bytes *octets_r)
{
	const struct mime_part *part, *inner = root;

	if (mime_section_is_header(section)) {
		header_get(mime_header_block(message), section, scratch, octets_r);
		return 0;
	}
	part = part_find(root, section->numbers, section->number_count);
	if (part == NULL)
		return ERR_NOT_FOUND;
	if (section->kind == MIME_SECTION_ALL) {
		*octets_r = section->number_count == 0 ? message : mime_part_body(part, message);
		return 0;
	}
	if (section->kind == MIME_SECTION_MIME) {
		if (section->number_count == 0)
			return ERR_NOT_FOUND;
		*octets_r = mime_part_header(part, message);
		return 0;
	}
	if (section->number_count > 0) {
		if (part->kind != MIME_MESSAGE)
			return ERR_NOT_FOUND;
		inner = part->children;
	}
	if (section->kind == MIME_SECTION_TEXT)
		*octets_r = mime_part_body(inner, message);
	else
		header_get(mime_part_header(inner, message), section, scratch, octets_r);
	return 0;
}

int mime_section_binary(struct bytes message, const struct mime_part *root, const uint32_t *numbers,
	size_t number_count, struct buffer *out)
{
	const struct mime_part *part = part_find(root, numbers, number_count);
	size_t before = out->len;

	if (part == NULL)
		return ERR_NOT_FOUND;
	if (number_count == 0) {
		buffer_append_bytes(out, message);
		return 0;
	}
	if (mime_transfer_decode(mime_part_body(part, message), part->encoding, out))
		return 0;
	buffer_truncate(out, before);
	return ERR_INVALID;
}
