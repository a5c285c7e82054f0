#include "foreign/rights.h"

#include <string.h>

static const char all_letters[] = "lrswipkxtean";

static bool has_letter(struct bytes letters, int letter)
{
	return bytes_find(letters, letter) < letters.len;
}

/*
 * "c" and "d" of RFC 2086 are k and x, and t and e; servers with the newer letters tell them
 * besides, also where only one of each two is there. What is no letter of ours is left out.
 */
static struct bytes letters_of(struct bytes from, struct arena *arena)
{
	bool is_new = has_letter(from, 'k') || has_letter(from, 'x') || has_letter(from, 't') ||
		      has_letter(from, 'e');
	char *letters = arena_zalloc(arena, sizeof(all_letters));
	size_t count = 0;

	for (size_t i = 0; all_letters[i] != '\0'; i++) {
		int older = strchr("kx", all_letters[i]) != NULL   ? 'c'
			    : strchr("te", all_letters[i]) != NULL ? 'd'
								   : 0;

		if (has_letter(from, all_letters[i]) ||
			(!is_new && older != 0 && has_letter(from, older)))
			letters[count++] = all_letters[i];
	}
	return bytes_of(letters, count);
}

static bool prefix_take(struct bytes *text, const char *prefix)
{
	if (!bytes_start_with(*text, bytes_of_string(prefix)))
		return false;
	bytes_skip(text, strlen(prefix));
	return true;
}

static bool entry_make(bool is_negative, const char *kind, struct bytes name, struct bytes letters,
	struct arena *arena, struct rights_entry *entry_r)
{
	if (name.len == 0 || letters.len == 0)
		return false;
	entry_r->identifier = bytes_of_string(
		arena_printf(arena, "%s%s%.*s", is_negative ? "-" : "", kind, BYTES_ARGS(name)));
	entry_r->letters = letters;
	return true;
}

bool rights_of_acl(struct bytes identifier, struct bytes letters, struct bytes owner,
	struct arena *arena, struct rights_entry *entry_r)
{
	struct bytes rest = identifier;
	bool is_negative = prefix_take(&rest, "-"), is_override = prefix_take(&rest, "!");

	letters = letters_of(letters, arena);
	if (bytes_equal_nocase(rest, owner) || bytes_equal_string(rest, "owner") ||
		bytes_peek(rest) == '#' || bytes_equal_string(rest, "anonymous"))
		return false;
	if (bytes_equal_string(rest, "authenticated"))
		rest = BYTES_LITERAL("anyone"); /* nobody is here without a login */
	if (prefix_take(&rest, "$"))
		return entry_make(is_negative, "group:", rest, letters, arena, entry_r);
	return !is_override && entry_make(is_negative, "", rest, letters, arena, entry_r);
}

/* Up to a blank; or between quotes, without them. */
static struct bytes word_take(struct bytes *line)
{
	struct bytes word;
	bool is_quoted = prefix_take(line, "\"");

	word = bytes_take(line, bytes_find(*line, is_quoted ? '"' : ' '));
	if (is_quoted && line->len > 0)
		bytes_skip(line, 1);
	while (bytes_peek(*line) == ' ')
		bytes_skip(line, 1);
	return word;
}

static int letter_of_name(struct bytes name)
{
	static const struct {
		const char *name;
		char letter;
	} rows[] = { { "lookup", 'l' }, { "read", 'r' }, { "write", 'w' }, { "write-seen", 's' },
		{ "write-deleted", 't' }, { "insert", 'i' }, { "post", 'p' }, { "expunge", 'e' },
		{ "create", 'k' }, { "delete", 'x' }, { "admin", 'a' } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (bytes_equal_string(name, rows[i].name))
			return rows[i].letter;
	return 0;
}

/* Letters, and names after a colon. */
static struct bytes line_letters(struct bytes line, struct arena *arena)
{
	struct bytes plain = bytes_take(&line, bytes_find(line, ':'));
	char *letters = arena_zalloc(arena, plain.len + line.len + 1);
	size_t count = plain.len;

	if (plain.len > 0)
		memcpy(letters, plain.ptr, plain.len);
	bytes_skip(&line, line.len > 0);
	while (line.len > 0) {
		int letter = letter_of_name(word_take(&line));

		if (letter != 0)
			letters[count++] = (char)letter;
	}
	return letters_of(bytes_of(letters, count), arena);
}

bool rights_of_line(struct bytes line, struct arena *arena, struct rights_entry *entry_r)
{
	struct bytes name, letters;
	bool is_negative;

	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	while (bytes_peek(line) == ' ')
		bytes_skip(&line, 1);
	if (bytes_peek(line) == '#')
		return false;
	name = word_take(&line);
	is_negative = prefix_take(&name, "-");
	letters = line_letters(line, arena);
	if (prefix_take(&name, "user="))
		return entry_make(is_negative, "", name, letters, arena, entry_r);
	if (prefix_take(&name, "group="))
		return entry_make(is_negative, "group:", name, letters, arena, entry_r);
	if (bytes_equal_string(name, "anyone") || bytes_equal_string(name, "authenticated"))
		return entry_make(
			is_negative, "", BYTES_LITERAL("anyone"), letters, arena, entry_r);
	return false; /* owner, group-override, and what is not known */
}
