#include "imap/imap_fetch.h"

#include "imap/imap_reply.h"

#include <ctype.h>

static const struct {
	const char *name;
	enum imap_fetch_kind kind;
} plain_items[] = {
	{ "FLAGS", FETCH_FLAGS },
	{ "UID", FETCH_UID },
	{ "MODSEQ", FETCH_MODSEQ },
	{ "INTERNALDATE", FETCH_INTERNALDATE },
	{ "RFC822.SIZE", FETCH_SIZE },
	{ "ENVELOPE", FETCH_ENVELOPE },
	{ "BODYSTRUCTURE", FETCH_BODYSTRUCTURE },
	{ "EMAILID", FETCH_EMAILID },
	{ "THREADID", FETCH_THREADID },
	{ "SAVEDATE", FETCH_SAVEDATE },
};

static const struct {
	const char *name;
	enum mime_section_kind kind;
	bool sets_seen;
} rfc822_items[] = {
	{ "RFC822", MIME_SECTION_ALL, true },
	{ "RFC822.HEADER", MIME_SECTION_HEADER, false },
	{ "RFC822.TEXT", MIME_SECTION_TEXT, true },
};

static const struct {
	const char *name;
	enum mime_section_kind kind;
} section_texts[] = {
	{ "HEADER.FIELDS.NOT", MIME_SECTION_HEADER_FIELDS_NOT },
	{ "HEADER.FIELDS", MIME_SECTION_HEADER_FIELDS },
	{ "HEADER", MIME_SECTION_HEADER },
	{ "TEXT", MIME_SECTION_TEXT },
	{ "MIME", MIME_SECTION_MIME },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct imap_fetch_item *add_item(struct imap_fetch *fetch, enum imap_fetch_kind kind)
{
	struct imap_fetch_item *item;

	if (fetch->item_count == IMAP_FETCH_ITEM_MAX)
		return NULL;
	item = &fetch->items[fetch->item_count++];
	*item = (struct imap_fetch_item){ .kind = kind };
	fetch->has_flags = fetch->has_flags || kind == FETCH_FLAGS;
	fetch->has_size = fetch->has_size || kind == FETCH_SIZE;
	fetch->has_modseq = fetch->has_modseq || kind == FETCH_MODSEQ;
	fetch->section_count +=
		kind == FETCH_SECTION || kind == FETCH_BINARY || kind == FETCH_BINARY_SIZE;
	fetch->tells_subjects = fetch->tells_subjects || kind == FETCH_ENVELOPE;
	fetch->needs_summary = fetch->needs_summary || kind == FETCH_ENVELOPE ||
			       kind == FETCH_BODY || kind == FETCH_BODYSTRUCTURE ||
			       kind == FETCH_PREVIEW;
	return item;
}

static int too_many(struct imap_parser *args)
{
	return imap_parse_fail(args, ERR_TOO_LARGE, "Too many FETCH items");
}

/* "1.2." or "1.2]": leaves what is not a number. */
static int parse_part_numbers(
	struct imap_parser *args, struct mime_section *section, struct buffer *label)
{
	uint32_t *numbers = NULL;

	while (isdigit(bytes_peek(args->rest))) {
		if (numbers == NULL)
			numbers =
				arena_alloc(args->arena, MIME_SECTION_DEPTH_MAX * sizeof(*numbers));
		if (section->number_count == MIME_SECTION_DEPTH_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many part numbers");
		if (imap_parse_number32(args, &numbers[section->number_count]) < 0 ||
			numbers[section->number_count] == 0)
			return imap_parse_fail(args, ERR_INVALID, "Malformed part number");
		buffer_printf(label, "%s%u", section->number_count > 0 ? "." : "",
			numbers[section->number_count]);
		section->number_count++;
		section->numbers = numbers;
		if (!imap_parse_take(args, '.'))
			return 0;
		if (!isalnum(bytes_peek(args->rest)))
			return imap_parse_fail(args, ERR_INVALID, "Malformed section");
	}
	return 0;
}

static int parse_field_names(
	struct imap_parser *args, struct mime_section *section, struct buffer *label)
{
	struct bytes *names;

	if (imap_parse_space(args) < 0 ||
		imap_parse_astring_list(args, &names, &section->name_count) < 0)
		return ERR_INVALID;
	section->names = names;
	buffer_append_string(label, " (");
	for (size_t i = 0; i < section->name_count; i++) {
		buffer_append_string(label, i > 0 ? " " : "");
		imap_put_astring(label, names[i]);
	}
	buffer_append_byte(label, ')');
	return 0;
}

int imap_parse_section(
	struct imap_parser *args, struct mime_section *section_r, struct buffer *label)
{
	struct mime_section section = { .kind = MIME_SECTION_ALL };
	size_t i = 0;

	if (parse_part_numbers(args, &section, label) < 0)
		return ERR_INVALID;
	if (bytes_peek(args->rest) != ']') {
		while (i < COUNT(section_texts) &&
			!imap_parse_take_word(args, section_texts[i].name))
			i++;
		if (i == COUNT(section_texts))
			return imap_parse_fail(args, ERR_INVALID, "Unknown section");
		section.kind = section_texts[i].kind;
		if (section.kind == MIME_SECTION_MIME && section.number_count == 0)
			return imap_parse_fail(args, ERR_INVALID, "MIME needs a part number");
		buffer_printf(
			label, "%s%s", section.number_count > 0 ? "." : "", section_texts[i].name);
	}
	if (section.kind == MIME_SECTION_HEADER_FIELDS ||
		section.kind == MIME_SECTION_HEADER_FIELDS_NOT) {
		if (parse_field_names(args, &section, label) < 0)
			return ERR_INVALID;
	}
	buffer_append_byte(label, ']');
	*section_r = section;
	return imap_parse_expect(args, ']');
}

/* "<0.2048>" after a section. */
static int parse_partial(
	struct imap_parser *args, struct imap_fetch_item *item, struct buffer *label)
{
	if (!imap_parse_take(args, '<'))
		return 0;
	if (imap_parse_number32(args, &item->offset) < 0 || imap_parse_expect(args, '.') < 0 ||
		imap_parse_number32(args, &item->size_max) < 0)
		return imap_parse_fail(args, ERR_INVALID, "Malformed partial");
	if (item->size_max == 0)
		return imap_parse_fail(args, ERR_INVALID, "Partial of no bytes");
	item->is_partial = true;
	buffer_printf(label, "<%u>", item->offset);
	return imap_parse_expect(args, '>');
}

/* After "BODY[" or "BODY.PEEK[". */
static bool names_subject(const struct mime_section *section)
{
	for (size_t i = 0; i < section->name_count; i++) {
		if (bytes_equal_string_nocase(section->names[i], "subject"))
			return true;
	}
	return false;
}

static int parse_section_item(struct imap_parser *args, struct imap_fetch *fetch)
{
	struct imap_fetch_item *item = add_item(fetch, FETCH_SECTION);
	struct buffer label = { NULL, 0, 0 };
	int rc;

	if (item == NULL)
		return too_many(args);
	buffer_append_string(&label, "BODY[");
	rc = imap_parse_section(args, &item->section, &label);
	if (rc == 0)
		rc = parse_partial(args, item, &label);
	item->label = arena_copy(args->arena, buffer_bytes(&label));
	buffer_deinit(&label);
	fetch->has_partial = fetch->has_partial || item->is_partial;
	if (rc == 0 && item->section.kind == MIME_SECTION_HEADER_FIELDS &&
		item->section.number_count == 0 &&
		mime_summary_knows(item->section.names, item->section.name_count)) {
		fetch->needs_summary = true;
		fetch->tells_subjects = fetch->tells_subjects || names_subject(&item->section);
	}
	return rc;
}

static int parse_body_item(struct imap_parser *args, struct imap_fetch *fetch)
{
	bool is_peek = imap_parse_take_word(args, "BODY.PEEK");

	if (!is_peek && !imap_parse_take_word(args, "BODY"))
		return imap_parse_fail(args, ERR_INVALID, "Unknown FETCH item");
	if (imap_parse_take(args, '[')) {
		fetch->sets_seen = fetch->sets_seen || !is_peek;
		return parse_section_item(args, fetch);
	}
	if (is_peek)
		return imap_parse_fail(args, ERR_INVALID, "BODY.PEEK needs a section");
	return add_item(fetch, FETCH_BODY) == NULL ? too_many(args) : 0;
}

/* "PREVIEW" or "PREVIEW (LAZY)"; another parenthesis behind it is that of FETCH's modifiers. */
static int parse_preview(struct imap_parser *args, struct imap_fetch *fetch)
{
	struct imap_parser ahead = *args;
	bool is_lazy = imap_parse_take(&ahead, ' ') && imap_parse_take(&ahead, '(') &&
		       imap_parse_take_word(&ahead, "LAZY") && imap_parse_take(&ahead, ')');

	if (is_lazy)
		*args = ahead;
	return add_item(fetch, is_lazy ? FETCH_PREVIEW_LAZY : FETCH_PREVIEW) == NULL
		       ? too_many(args)
		       : 0;
}

/* After "BINARY[": part numbers alone (RFC 3516). */
static int parse_binary(
	struct imap_parser *args, struct imap_fetch *fetch, enum imap_fetch_kind kind)
{
	struct imap_fetch_item *item = add_item(fetch, kind);
	struct buffer label = { NULL, 0, 0 };
	int rc;

	if (item == NULL)
		return too_many(args);
	buffer_append_string(&label, kind == FETCH_BINARY ? "BINARY[" : "BINARY.SIZE[");
	rc = parse_part_numbers(args, &item->section, &label);
	buffer_append_byte(&label, ']');
	if (rc == 0)
		rc = imap_parse_expect(args, ']');
	if (rc == 0 && kind == FETCH_BINARY)
		rc = parse_partial(args, item, &label);
	item->label = arena_copy(args->arena, buffer_bytes(&label));
	buffer_deinit(&label);
	fetch->has_partial = fetch->has_partial || item->is_partial;
	return rc;
}

static int parse_annotation(struct imap_parser *args, struct imap_fetch *fetch)
{
	struct imap_fetch_item *item = add_item(fetch, FETCH_ANNOTATION);

	if (item == NULL)
		return too_many(args);
	item->annotation = arena_zalloc(args->arena, sizeof(*item->annotation));
	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	return imap_parse_annotation_wish(args, item->annotation);
}

static int parse_item(struct imap_parser *args, struct imap_fetch *fetch)
{
	if (imap_parse_take_word(args, "ANNOTATION"))
		return parse_annotation(args, fetch);
	static const struct {
		const char *name;
		enum imap_fetch_kind kind;
		bool sets_seen;
	} binary_items[] = { { "BINARY", FETCH_BINARY, true },
		{ "BINARY.PEEK", FETCH_BINARY, false },
		{ "BINARY.SIZE", FETCH_BINARY_SIZE, false } };

	if (imap_parse_take_word(args, "PREVIEW"))
		return parse_preview(args, fetch);
	for (size_t i = 0; i < COUNT(binary_items); i++) {
		if (!imap_parse_take_word(args, binary_items[i].name))
			continue;
		fetch->sets_seen = fetch->sets_seen || binary_items[i].sets_seen;
		if (!imap_parse_take(args, '['))
			return imap_parse_fail(args, ERR_INVALID, "BINARY needs a section");
		return parse_binary(args, fetch, binary_items[i].kind);
	}
	for (size_t i = 0; i < COUNT(plain_items); i++) {
		if (imap_parse_take_word(args, plain_items[i].name))
			return add_item(fetch, plain_items[i].kind) == NULL ? too_many(args) : 0;
	}
	for (size_t i = 0; i < COUNT(rfc822_items); i++) {
		struct imap_fetch_item *item;

		if (!imap_parse_take_word(args, rfc822_items[i].name))
			continue;
		item = add_item(fetch, FETCH_SECTION);
		if (item == NULL)
			return too_many(args);
		item->section.kind = rfc822_items[i].kind;
		item->label = bytes_of_string(rfc822_items[i].name);
		fetch->sets_seen = fetch->sets_seen || rfc822_items[i].sets_seen;
		return 0;
	}
	return parse_body_item(args, fetch);
}

/* ALL, FAST and FULL stand alone. */
static bool parse_macro(struct imap_parser *args, struct imap_fetch *fetch)
{
	bool is_full = imap_parse_take_word(args, "FULL");
	bool is_all = is_full || imap_parse_take_word(args, "ALL");

	if (!is_all && !imap_parse_take_word(args, "FAST"))
		return false;
	add_item(fetch, FETCH_FLAGS);
	add_item(fetch, FETCH_INTERNALDATE);
	add_item(fetch, FETCH_SIZE);
	if (is_all)
		add_item(fetch, FETCH_ENVELOPE);
	if (is_full)
		add_item(fetch, FETCH_BODY);
	return true;
}

static int parse_items(struct imap_parser *args, struct imap_fetch *fetch)
{
	if (parse_macro(args, fetch))
		return 0;
	if (!imap_parse_take(args, '('))
		return parse_item(args, fetch);
	do {
		if (parse_item(args, fetch) < 0)
			return ERR_INVALID;
	} while (imap_parse_take(args, ' '));
	return imap_parse_expect(args, ')');
}

/* " (CHANGEDSINCE 12345 VANISHED)", " (PARTIAL -1:-30)" */
static int parse_modifiers(struct imap_parser *args, struct imap_fetch *fetch)
{
	if (!imap_parse_take(args, ' '))
		return 0;
	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		if (imap_parse_take_word(args, "VANISHED")) {
			fetch->wants_vanished = true;
			continue;
		}
		if (imap_parse_take_word(args, "PARTIAL")) {
			if (fetch->is_paged)
				return imap_parse_fail(args, ERR_INVALID, "More than one PARTIAL");
			if (imap_parse_space(args) < 0 ||
				imap_parse_partial(args, &fetch->page) < 0)
				return ERR_INVALID;
			fetch->is_paged = true;
			continue;
		}
		if (!imap_parse_take_word(args, "CHANGEDSINCE"))
			return imap_parse_fail(args, ERR_INVALID, "Unknown FETCH modifier");
		if (imap_parse_space(args) < 0 || imap_parse_modseq(args, &fetch->changedsince) < 0)
			return ERR_INVALID;
		fetch->has_changedsince = true;
	} while (imap_parse_take(args, ' '));
	if (fetch->wants_vanished && !fetch->has_changedsince)
		return imap_parse_fail(args, ERR_INVALID, "VANISHED needs CHANGEDSINCE");
	return imap_parse_expect(args, ')');
}

int imap_parse_fetch_list(struct imap_parser *args, struct imap_fetch *fetch_r)
{
	struct imap_fetch fetch = { .items = NULL };

	if (bytes_peek(args->rest) != '(')
		return imap_parse_expect(args, '(');
	fetch.items = arena_alloc(args->arena, IMAP_FETCH_ITEM_MAX * sizeof(*fetch.items));
	if (parse_items(args, &fetch) < 0)
		return ERR_INVALID;
	*fetch_r = fetch;
	return 0;
}

int imap_parse_fetch(struct imap_parser *args, struct imap_fetch *fetch_r)
{
	struct imap_fetch fetch = { .items = NULL };

	fetch.items = arena_alloc(args->arena, IMAP_FETCH_ITEM_MAX * sizeof(*fetch.items));
	if (parse_items(args, &fetch) < 0 || parse_modifiers(args, &fetch) < 0 ||
		imap_parse_end(args) < 0)
		return ERR_INVALID;
	if (fetch.has_changedsince && !fetch.has_modseq && add_item(&fetch, FETCH_MODSEQ) == NULL)
		return too_many(args);
	*fetch_r = fetch;
	return 0;
}
