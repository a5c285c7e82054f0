#include "imap/imap_annotation.h"

#include "imap/imap_match.h"
#include "imap/imap_metadata.h"
#include "imap/imap_reply.h"

#include "base/mem.h"
#include "mail/mime_sort.h"
#include "mail/mime_text.h"

#include <stdlib.h>

#define VALUES (ANNOTATION_VALUE_PRIVATE | ANNOTATION_VALUE_SHARED)

static const struct {
	const char *name;
	unsigned attributes;
} attribute_words[] = {
	{ "value", VALUES },
	{ "value.priv", ANNOTATION_VALUE_PRIVATE },
	{ "value.shared", ANNOTATION_VALUE_SHARED },
	{ "size", ANNOTATION_SIZE_PRIVATE | ANNOTATION_SIZE_SHARED },
	{ "size.priv", ANNOTATION_SIZE_PRIVATE },
	{ "size.shared", ANNOTATION_SIZE_SHARED },
};

#define ATTRIBUTE_WORD_COUNT (sizeof(attribute_words) / sizeof(attribute_words[0]))

/* ---- reading commands ---- */

static int parse_attribute(struct imap_parser *args, unsigned allowed, unsigned *attributes)
{
	struct bytes word;

	if (imap_parse_astring(args, &word) < 0)
		return ERR_INVALID;
	for (size_t i = 0; i < ATTRIBUTE_WORD_COUNT; i++) {
		if (!bytes_equal_string_nocase(word, attribute_words[i].name) ||
			(attribute_words[i].attributes & ~allowed) != 0)
			continue;
		*attributes |= attribute_words[i].attributes;
		return 0;
	}
	return imap_parse_fail(args, ERR_INVALID, "Unknown annotation attribute");
}

static int parse_pattern(struct imap_parser *args, struct bytes *pattern_r)
{
	struct bytes text;

	if (imap_parse_pattern(args, &text) < 0)
		return ERR_INVALID;
	if (annotation_entry(args->arena, text, true, pattern_r) < 0)
		return imap_parse_fail(args, ERR_INVALID, "Malformed entry name");
	return 0;
}

static int parse_entry(struct imap_parser *args, struct bytes *entry_r)
{
	struct bytes text;

	if (imap_parse_astring(args, &text) < 0)
		return ERR_INVALID;
	if (annotation_entry(args->arena, text, false, entry_r) < 0)
		return imap_parse_fail(args, ERR_INVALID, "Malformed entry name");
	return 0;
}

int imap_parse_annotation_wish(struct imap_parser *args, struct imap_annotation_wish *wish_r)
{
	struct imap_annotation_wish wish = { .attributes = 0 };
	bool is_list;

	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	wish.patterns =
		arena_alloc(args->arena, IMAP_ANNOTATION_ENTRY_MAX * sizeof(*wish.patterns));
	is_list = imap_parse_take(args, '(');
	do {
		if (wish.pattern_count == IMAP_ANNOTATION_ENTRY_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many entries");
		if (parse_pattern(args, &wish.patterns[wish.pattern_count++]) < 0)
			return ERR_INVALID;
	} while (is_list && imap_parse_take(args, ' '));
	if ((is_list && imap_parse_expect(args, ')') < 0) || imap_parse_space(args) < 0)
		return ERR_INVALID;
	is_list = imap_parse_take(args, '(');
	do {
		if (parse_attribute(args, 15, &wish.attributes) < 0)
			return ERR_INVALID;
	} while (is_list && imap_parse_take(args, ' '));
	if (is_list && imap_parse_expect(args, ')') < 0)
		return ERR_INVALID;
	*wish_r = wish;
	return imap_parse_expect(args, ')');
}

int imap_parse_annotation_match(
	struct imap_parser *args, struct bytes *pattern_r, unsigned *attributes_r)
{
	*attributes_r = 0;
	if (parse_pattern(args, pattern_r) < 0 || imap_parse_space(args) < 0)
		return ERR_INVALID;
	return parse_attribute(args, VALUES, attributes_r);
}

static int parse_change(
	struct imap_parser *args, struct bytes entry, struct annotation *changes, size_t *count)
{
	struct annotation change = { .entry = entry };
	unsigned attributes = 0;
	bool is_nil;

	if (parse_attribute(args, VALUES, &attributes) < 0 || imap_parse_space(args) < 0 ||
		imap_parse_value(args, &change.value, &is_nil) < 0)
		return ERR_INVALID;
	if (attributes == VALUES)
		return imap_parse_fail(args, ERR_INVALID, "Expected value.priv or value.shared");
	if (*count == IMAP_ANNOTATION_ENTRY_MAX)
		return imap_parse_fail(args, ERR_TOO_LARGE, "Too many annotations");
	change.scope =
		attributes == ANNOTATION_VALUE_SHARED ? ANNOTATION_SHARED : ANNOTATION_PRIVATE;
	change.is_set = !is_nil;
	changes[(*count)++] = change;
	return 0;
}

int imap_parse_annotations(struct imap_parser *args, struct annotation **changes_r, size_t *count_r)
{
	struct annotation *changes =
		arena_alloc(args->arena, IMAP_ANNOTATION_ENTRY_MAX * sizeof(*changes));
	size_t count = 0;

	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		struct bytes entry;

		if (parse_entry(args, &entry) < 0 || imap_parse_space(args) < 0 ||
			imap_parse_expect(args, '(') < 0)
			return ERR_INVALID;
		do {
			if (parse_change(args, entry, changes, &count) < 0)
				return ERR_INVALID;
		} while (imap_parse_take(args, ' '));
		if (imap_parse_expect(args, ')') < 0)
			return ERR_INVALID;
	} while (imap_parse_take(args, ' '));
	*changes_r = changes;
	*count_r = count;
	return imap_parse_expect(args, ')');
}

/* ---- what a message has ---- */

struct found {
	struct annotation *list; /* in order of entry, then private before shared */
	size_t count, room;
	bool wants_private, wants_shared;
	struct arena *arena;
};

static int note_one(void *context, const struct annotation *annotation)
{
	struct found *found = context;

	if (annotation->scope == ANNOTATION_PRIVATE ? !found->wants_private : !found->wants_shared)
		return 0;
	mem_grow((void **)&found->list, &found->room, found->count + 1, sizeof(*found->list));
	found->list[found->count++] = *annotation;
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct annotation *x = a, *y = b;
	int order = bytes_compare(x->entry, y->entry);

	return order != 0 ? order : (int)x->scope - (int)y->scope;
}

/* Reads those that the user may see, cleared ones too. */
static int find(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, struct found *found)
{
	uint32_t own = session->identity.account;
	struct account_header header;
	int rc = 0;

	*found = (struct found){ .wants_shared = true, .wants_private = account == own };
	found->arena = arena_new();
	if (annotation_was_made(message))
		rc = message_annotation_each(kv, account, (struct id128){ { 0 } },
			message->instance, found->arena, note_one, found);
	if (rc == 0 && account != own && own != 0) {
		found->wants_private = true;
		found->wants_shared = false;
		rc = account_load(kv, account, &header);
		if (rc == 0)
			rc = message_annotation_each(kv, own, header.id, message->instance,
				found->arena, note_one, found);
	}
	if (found->count > 0)
		qsort(found->list, found->count, sizeof(*found->list), compare_entries);
	return rc;
}

static void found_deinit(struct found *found)
{
	free(found->list);
	arena_free(&found->arena);
}

static const struct annotation *get(
	const struct found *found, struct bytes entry, enum annotation_scope scope)
{
	for (size_t i = 0; i < found->count; i++)
		if (found->list[i].is_set && found->list[i].scope == scope &&
			bytes_equal(found->list[i].entry, entry))
			return &found->list[i];
	return NULL;
}

static bool is_wanted(const struct imap_annotation_wish *wish, struct bytes entry)
{
	for (size_t i = 0; i < wish->pattern_count; i++)
		if (imap_match(wish->patterns[i], entry))
			return true;
	return false;
}

/* ---- FETCH ---- */

static void put_attribute(struct imap_session *session, const char *name, const char **blank,
	const struct annotation *annotation, bool is_size)
{
	imap_printf(session, "%s%s ", *blank, name);
	*blank = " ";
	if (is_size)
		imap_printf(session, "\"%zu\"", annotation != NULL ? annotation->value.len : 0);
	else if (annotation == NULL)
		imap_put(session, "NIL");
	else
		imap_put_value(&session->out, annotation->value);
}

static void put_entry(struct imap_session *session, const struct found *found, struct bytes entry,
	unsigned attributes, size_t *count)
{
	const struct annotation *own = get(found, entry, ANNOTATION_PRIVATE);
	const struct annotation *shared = get(found, entry, ANNOTATION_SHARED);
	const char *blank = "";

	imap_put(session, (*count)++ == 0 ? "ANNOTATION (" : " ");
	imap_put_astring(&session->out, entry);
	imap_put(session, " (");
	if ((attributes & ANNOTATION_VALUE_PRIVATE) != 0)
		put_attribute(session, "value.priv", &blank, own, false);
	if ((attributes & ANNOTATION_VALUE_SHARED) != 0)
		put_attribute(session, "value.shared", &blank, shared, false);
	if ((attributes & ANNOTATION_SIZE_PRIVATE) != 0)
		put_attribute(session, "size.priv", &blank, own, true);
	if ((attributes & ANNOTATION_SIZE_SHARED) != 0)
		put_attribute(session, "size.shared", &blank, shared, true);
	imap_put(session, ")");
}

static bool is_first_set(const struct found *found, size_t at)
{
	return found->list[at].is_set &&
	       (at == 0 || !found->list[at - 1].is_set ||
		       !bytes_equal(found->list[at - 1].entry, found->list[at].entry));
}

int imap_put_annotations(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, const struct imap_annotation_wish *wish)
{
	struct found found;
	size_t count = 0;
	int rc = find(session, kv, account, message, &found);

	for (size_t i = 0; i < found.count && rc == 0; i++)
		if (is_first_set(&found, i) && is_wanted(wish, found.list[i].entry))
			put_entry(session, &found, found.list[i].entry, wish->attributes, &count);
	for (size_t i = 0; i < wish->pattern_count && rc == 0; i++) {
		struct bytes entry = wish->patterns[i];

		if (bytes_find(entry, '*') == entry.len && bytes_find(entry, '%') == entry.len &&
			get(&found, entry, ANNOTATION_PRIVATE) == NULL &&
			get(&found, entry, ANNOTATION_SHARED) == NULL)
			put_entry(session, &found, entry, wish->attributes, &count);
	}
	if (count > 0)
		imap_put(session, ")");
	found_deinit(&found);
	return rc;
}

int imap_put_annotation_names(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, uint64_t modseq)
{
	struct bytes last = { NULL, 0 };
	struct found found;
	size_t count = 0;
	int rc = find(session, kv, account, message, &found);

	for (size_t i = 0; i < found.count && rc == 0; i++) {
		const struct annotation *annotation = &found.list[i];

		if (annotation->modseq <= modseq ||
			(count > 0 && bytes_equal(annotation->entry, last)))
			continue;
		imap_put(session, count++ == 0 ? " ANNOTATION (" : " ");
		imap_put_astring(&session->out, annotation->entry);
		last = annotation->entry;
	}
	if (count > 0)
		imap_put(session, ")");
	found_deinit(&found);
	return rc;
}

/* ---- SEARCH and SORT ---- */

static bool is_asked_for(const struct annotation *annotation, unsigned attributes)
{
	unsigned attribute = annotation->scope == ANNOTATION_PRIVATE ? ANNOTATION_VALUE_PRIVATE
								     : ANNOTATION_VALUE_SHARED;

	return annotation->is_set && (attributes & attribute) != 0;
}

static bool holds(struct bytes value, struct bytes folded)
{
	struct buffer text = { NULL, 0, 0 };
	bool is_in;

	if (folded.len == 0)
		return true;
	mime_casemap(value, &text);
	is_in = text.len > 0 && memmem(text.data, text.len, folded.ptr, folded.len) != NULL;
	buffer_deinit(&text);
	return is_in;
}

int imap_annotation_matches(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, struct bytes pattern, unsigned attributes,
	struct bytes folded, bool is_nil)
{
	struct found found;
	bool is_there = false;
	int rc = find(session, kv, account, message, &found);

	for (size_t i = 0; i < found.count && rc == 0 && !is_there; i++)
		is_there = is_asked_for(&found.list[i], attributes) &&
			   imap_match(pattern, found.list[i].entry) &&
			   (is_nil || holds(found.list[i].value, folded));
	found_deinit(&found);
	return rc < 0 ? rc : is_there != is_nil;
}

int imap_annotation_sort_text(struct imap_session *session, struct kv_txn *kv, uint32_t account,
	const struct message_record *message, struct bytes entry, unsigned attributes,
	struct buffer *out)
{
	struct found found;
	size_t start = out->len;
	int rc = find(session, kv, account, message, &found);

	for (size_t i = 0; i < found.count && rc == 0; i++) {
		if (!is_asked_for(&found.list[i], attributes) ||
			!bytes_equal(found.list[i].entry, entry))
			continue;
		mime_casemap(found.list[i].value, out);
		break;
	}
	if (out->len - start > MIME_SORT_TEXT_SIZE_MAX)
		buffer_truncate(out, start + MIME_SORT_TEXT_SIZE_MAX);
	found_deinit(&found);
	return rc;
}
