#include "foreign/maildir_files.h"

#include "base/error.h"
#include "foreign/source.h"
#include "imap/imap_utf7.h"

#include <stdlib.h>

/* The next line without its end; false at the end of the text. */
static bool line_take(struct bytes *text, struct bytes *line_r)
{
	if (text->len == 0)
		return false;
	*line_r = bytes_take(text, bytes_find(*text, '\n'));
	if (text->len > 0)
		bytes_skip(text, 1);
	if (line_r->len > 0 && line_r->ptr[line_r->len - 1] == '\r')
		line_r->len--;
	return true;
}

/* Takes decimal digits; false if there are none, or too many for `max`. */
static bool number_take(struct bytes *in, uint64_t max, uint64_t *number_r)
{
	uint64_t number = 0;
	size_t len = 0;

	for (; len < in->len && in->ptr[len] >= '0' && in->ptr[len] <= '9'; len++) {
		uint64_t digit = (uint64_t)(in->ptr[len] - '0');

		if (digit > max || number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	bytes_skip(in, len);
	*number_r = number;
	return len > 0;
}

static void blanks_skip(struct bytes *in)
{
	while (bytes_peek(*in) == ' ')
		bytes_skip(in, 1);
}

/* ---- names of messages ---- */

struct maildir_name maildir_name_parse(struct bytes name)
{
	struct maildir_name parsed = { .base = name };
	struct bytes rest;

	parsed.base.len = bytes_find(name, ':');
	rest = name;
	bytes_skip(&rest, parsed.base.len);
	if (bytes_start_with(rest, BYTES_LITERAL(":2,"))) {
		bytes_skip(&rest, 3);
		rest.len = bytes_find(rest, ',');
		parsed.letters = rest;
	}
	rest = parsed.base;
	for (;;) {
		uint64_t size;

		bytes_skip(&rest, bytes_find(rest, ','));
		if (rest.len == 0)
			return parsed;
		bytes_skip(&rest, 1);
		if (!bytes_start_with(rest, BYTES_LITERAL("W=")))
			continue;
		bytes_skip(&rest, 2);
		if (number_take(&rest, SOURCE_BODY_SIZE_MAX * 16, &size))
			parsed.size = size;
	}
}

/* ---- flags ---- */

static void flag_add(struct bytes name, struct bytes *flags, size_t *count)
{
	if (*count == SOURCE_FLAG_COUNT_MAX)
		return;
	for (size_t i = 0; i < *count; i++)
		if (bytes_equal_nocase(flags[i], name))
			return;
	flags[(*count)++] = name;
}

static void keyword_add(struct bytes name, struct bytes *flags, size_t *count)
{
	if (source_keyword_is_valid(name))
		flag_add(name, flags, count);
}

void maildir_flags_of_letters(struct bytes letters, const struct maildir_keywords *keywords,
	struct bytes *flags, size_t *count)
{
	static const struct {
		int letter;
		const char *name;
	} rows[] = {
		{ 'D', "\\Draft" },
		{ 'F', "\\Flagged" },
		{ 'P', "$Forwarded" },
		{ 'R', "\\Answered" },
		{ 'S', "\\Seen" },
		{ 'T', "\\Deleted" },
	};

	for (size_t i = 0; i < letters.len; i++) {
		int letter = letters.ptr[i];

		for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
			if (rows[k].letter == letter)
				flag_add(bytes_of_string(rows[k].name), flags, count);
		if (letter >= 'a' && letter <= 'z')
			keyword_add(keywords->names[letter - 'a'], flags, count);
	}
}

void maildir_keywords_parse(struct bytes text, struct maildir_keywords *keywords_r)
{
	struct bytes line;

	*keywords_r = (struct maildir_keywords){ 0 };
	while (line_take(&text, &line)) {
		uint64_t index;

		if (number_take(&line, MAILDIR_KEYWORD_COUNT - 1, &index) &&
			bytes_peek(line) == ' ') {
			bytes_skip(&line, 1);
			keywords_r->names[index] = line;
		}
	}
}

void courier_keywords_parse(
	struct bytes text, struct arena *arena, struct courier_keywords *keywords_r)
{
	struct bytes line = { 0 }, all = text;
	size_t count = 0;

	*keywords_r = (struct courier_keywords){ 0 };
	while (line_take(&all, &line) && line.len > 0)
		count++;
	keywords_r->names = arena_zalloc(arena, (count + 1) * sizeof(struct bytes));
	while (keywords_r->count < count && line_take(&text, &line))
		keywords_r->names[keywords_r->count++] = line;
	while (line_take(&text, &line)) {
		struct bytes base = line, *indexes;

		base.len = bytes_find(line, ':');
		if (base.len == line.len || base.len == 0)
			continue;
		bytes_skip(&line, base.len + 1);
		indexes = arena_alloc(arena, sizeof(*indexes));
		*indexes = line;
		map_put(&keywords_r->messages, base, indexes);
	}
}

void maildir_flags_of_courier(const struct courier_keywords *keywords, struct bytes base,
	struct bytes *flags, size_t *count)
{
	const struct bytes *indexes = map_get(&keywords->messages, base);
	struct bytes rest = indexes != NULL ? *indexes : bytes_of(NULL, 0);

	for (;;) {
		uint64_t index;

		blanks_skip(&rest);
		if (!number_take(&rest, SIZE_MAX / 2, &index))
			return;
		if (index < keywords->count)
			keyword_add(keywords->names[index], flags, count);
	}
}

void maildir_flags_of_lines(struct bytes text, struct bytes *flags, size_t *count)
{
	struct bytes line;

	while (line_take(&text, &line))
		keyword_add(line, flags, count);
}

/* ---- UIDs ---- */

/* "3 V1275660208 N25022 G3085..." or "1 1275660208 25022". */
static int header_parse(struct bytes line, struct maildir_uids *uids)
{
	uint64_t version, number;

	if (!number_take(&line, 9, &version) || (version != 1 && version != 3))
		return ERR_INVALID;
	for (int field = 0; line.len > 0; field++) {
		int letter;

		blanks_skip(&line);
		letter = version == 3 ? bytes_peek(line) : field == 0 ? 'V' : field == 1 ? 'N' : 0;
		if (version == 3 && line.len > 0)
			bytes_skip(&line, 1);
		if (letter == 'V' || letter == 'N') {
			if (!number_take(&line, UINT32_MAX, &number))
				return ERR_INVALID;
			*(letter == 'V' ? &uids->uidvalidity : &uids->uidnext) = (uint32_t)number;
		}
		bytes_skip(&line, bytes_find(line, ' '));
	}
	return uids->uidvalidity != 0 && uids->uidnext != 0 ? 0 : ERR_INVALID;
}

/* "25006 W1394 :1276528487.M364P9.host,S=1355", or without what is between. */
static bool entry_parse(struct bytes line, struct maildir_uid *uid_r, struct bytes *base_r)
{
	uint64_t number;

	*uid_r = (struct maildir_uid){ 0 };
	if (!number_take(&line, UINT32_MAX - 1, &number) || number == 0 || bytes_peek(line) != ' ')
		return false;
	uid_r->uid = (uint32_t)number;
	blanks_skip(&line);
	if (bytes_find(line, ' ') == line.len && bytes_peek(line) != ':') {
		*base_r = maildir_name_parse(line).base; /* version 1 */
		return base_r->len > 0;
	}
	while (line.len > 0 && bytes_peek(line) != ':') {
		if (bytes_peek(line) == 'W') {
			bytes_skip(&line, 1);
			if (number_take(&line, SOURCE_BODY_SIZE_MAX * 16, &number))
				uid_r->size = number;
		}
		bytes_skip(&line, bytes_find(line, ' '));
		blanks_skip(&line);
	}
	if (line.len < 2)
		return false;
	bytes_skip(&line, 1);
	*base_r = maildir_name_parse(line).base;
	return base_r->len > 0;
}

int maildir_uids_parse(struct bytes text, struct arena *arena, struct maildir_uids *uids_r)
{
	struct maildir_uids uids = { 0 };
	struct bytes line = { 0 };
	uint32_t last = 0;
	int rc = line_take(&text, &line) ? header_parse(line, &uids) : ERR_INVALID;

	while (rc == 0 && line_take(&text, &line)) {
		struct maildir_uid *uid = arena_alloc(arena, sizeof(*uid));
		struct bytes base;

		if (line.len > MAILDIR_LINE_SIZE_MAX || !entry_parse(line, uid, &base))
			continue;
		/* Both servers give up such a list, too. */
		if (uid->uid <= last) {
			rc = ERR_INVALID;
			break;
		}
		last = uid->uid;
		if (map_get(&uids.of, base) == NULL)
			map_put(&uids.of, base, uid);
	}
	if (rc < 0) {
		map_deinit(&uids.of);
		return rc;
	}
	if (uids.uidnext <= last)
		uids.uidnext = last + 1;
	*uids_r = uids;
	return 0;
}

/* ---- names of mailboxes ---- */

struct bytes maildir_folder_decode(struct bytes name, int separator, struct arena *arena)
{
	struct bytes copy = arena_copy(arena, name), utf8;
	unsigned char *at = (unsigned char *)(uintptr_t)copy.ptr;

	/* Dovecot can be told to write UTF-8; what is not of one form is taken as the other. */
	if (bytes_ascii_len(copy) == copy.len && imap_utf7_decode(arena, copy, &utf8) == 0) {
		copy = arena_copy(arena, utf8);
		at = (unsigned char *)(uintptr_t)copy.ptr;
	}
	for (size_t i = 0; i < copy.len; i++)
		if (at[i] == '/' && separator != '/')
			at[i] = '_';
		else if (at[i] == separator)
			at[i] = '/';
	return imap_name_canonical(arena, copy);
}

void maildir_folder_encode(struct bytes name, int separator, struct buffer *out)
{
	size_t begin = out->len;

	imap_utf7_encode(out, name);
	for (size_t i = begin; i < out->len; i++)
		if (out->data[i] == '/')
			out->data[i] = (unsigned char)separator;
		else if (out->data[i] == separator)
			out->data[i] = '_';
}

/* ---- subscriptions ---- */

/* \001 before 0, 1, t, r, n and l stands for NUL, itself, tab, CR, LF and (once) '\001l'. */
static struct bytes tabs_unescape(struct bytes in, struct arena *arena)
{
	static const char codes[] = "0\0001\001t\tr\rn\n";
	unsigned char *out = arena_alloc(arena, in.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < in.len; i++) {
		out[len] = in.ptr[i];
		if (in.ptr[i] == '\001' && i + 1 < in.len) {
			i++;
			out[len] = in.ptr[i];
			for (size_t k = 0; k + 1 < sizeof(codes); k += 2)
				if (in.ptr[i] == (unsigned char)codes[k])
					out[len] = (unsigned char)codes[k + 1];
		}
		len++;
	}
	return bytes_of(out, len);
}

/* Levels have tabs between them. */
static struct bytes levels_join(struct bytes line, struct arena *arena)
{
	struct buffer name = { 0 };
	struct bytes joined;

	for (;;) {
		struct bytes level = bytes_take(&line, bytes_find(line, '\t'));

		level = maildir_folder_decode(tabs_unescape(level, arena), 0, arena);
		buffer_append_bytes(&name, level);
		if (line.len == 0)
			break;
		bytes_skip(&line, 1);
		buffer_append_byte(&name, '/');
	}
	joined = imap_name_canonical(arena, arena_copy(arena, buffer_bytes(&name)));
	buffer_deinit(&name);
	return joined;
}

void maildir_subscriptions_parse(struct bytes text, int separator, bool is_courier,
	struct arena *arena, void (*function)(void *context, struct bytes name), void *context)
{
	bool has_levels = bytes_start_with(text, BYTES_LITERAL("V\t2\n"));
	struct bytes line;

	if (has_levels)
		bytes_skip(&text, 4);
	while (line_take(&text, &line)) {
		struct bytes name;

		if (line.len == 0 || line.len > MAILDIR_LINE_SIZE_MAX)
			continue;
		if (is_courier && bytes_start_with(line, BYTES_LITERAL("INBOX.")))
			bytes_skip(&line, 6);
		name = has_levels ? levels_join(line, arena)
				  : maildir_folder_decode(line, separator, arena);
		if (name.len > 0)
			function(context, name);
	}
}
