#include "imap/imap_parse.h"

#include "imap/imap_parse_private.h"
#include "imap/imap_utf7.h"

#include "base/error.h"

#include <ctype.h>

int imap_parse_fail(struct imap_parser *parser, int code, const char *problem)
{
	parser->problem = problem;
	return code;
}

unsigned imap_class_of(int byte)
{
	if (byte <= ' ' || byte >= 0x7f)
		return 0;
	switch (byte) {
	case '(':
	case ')':
	case '{':
	case '"':
		return 0;
	case '\\':
		return CLASS_BACKSLASH;
	case '%':
	case '*':
		return CLASS_WILDCARD;
	case ']':
		return CLASS_RESP_SPECIAL;
	case '+':
		return CLASS_PLUS;
	default:
		return CLASS_ATOM;
	}
}

struct bytes imap_parse_run(struct imap_parser *parser, unsigned classes)
{
	size_t len = 0;

	while (len < parser->rest.len && (imap_class_of(parser->rest.ptr[len]) & classes) != 0)
		len++;
	return bytes_take(&parser->rest, len);
}

bool imap_parse_take(struct imap_parser *parser, int byte)
{
	if (bytes_peek(parser->rest) != byte)
		return false;
	bytes_skip(&parser->rest, 1);
	return true;
}

int imap_parse_expect(struct imap_parser *parser, int byte)
{
	if (imap_parse_take(parser, byte))
		return 0;
	switch (byte) {
	case ' ':
		return imap_parse_fail(parser, ERR_INVALID, "Missing argument");
	case '(':
		return imap_parse_fail(parser, ERR_INVALID, "Expected '('");
	case ')':
		return imap_parse_fail(parser, ERR_INVALID, "Expected ')'");
	default:
		return imap_parse_fail(parser, ERR_INVALID, "Unexpected character");
	}
}

int imap_parse_space(struct imap_parser *parser)
{
	return imap_parse_expect(parser, ' ');
}

bool imap_parse_at_end(const struct imap_parser *parser)
{
	struct bytes rest = parser->rest;

	if (bytes_peek(rest) == '\r')
		bytes_skip(&rest, 1);
	return rest.len == 0 || (rest.len == 1 && rest.ptr[0] == '\n');
}

int imap_parse_end(struct imap_parser *parser)
{
	if (imap_parse_at_end(parser))
		return 0;
	return imap_parse_fail(parser, ERR_INVALID, "Unexpected text after the arguments");
}

bool imap_parse_take_word(struct imap_parser *parser, const char *word)
{
	size_t len = strlen(word);
	struct bytes rest = parser->rest;

	if (rest.len < len || !bytes_equal_nocase(bytes_of(rest.ptr, len), bytes_of(word, len)))
		return false;
	if (rest.len > len && (isalnum(rest.ptr[len]) || strchr(".-_", rest.ptr[len]) != NULL) &&
		rest.ptr[len] != '\0')
		return false;
	bytes_skip(&parser->rest, len);
	return true;
}

int imap_parse_enter(struct imap_parser *parser)
{
	if (parser->depth >= IMAP_LIST_DEPTH_MAX)
		return imap_parse_fail(parser, ERR_TOO_LARGE, "Nested too deeply");
	parser->depth++;
	return 0;
}

void imap_parse_leave(struct imap_parser *parser)
{
	assert(parser->depth > 0);
	parser->depth--;
}

int imap_parse_atom(struct imap_parser *parser, struct bytes *atom_r)
{
	*atom_r = imap_parse_run(parser, CLASS_ATOM | CLASS_PLUS);
	if (atom_r->len == 0)
		return imap_parse_fail(parser, ERR_INVALID, "Expected an atom");
	return 0;
}

int imap_parse_tag(struct imap_parser *parser, struct bytes *tag_r)
{
	*tag_r = imap_parse_run(parser, CLASS_ATOM | CLASS_RESP_SPECIAL);
	if (tag_r->len == 0)
		return imap_parse_fail(parser, ERR_INVALID, "Missing or invalid tag");
	return 0;
}

/* The closing quote of the string that `in` is the inside of, or in.len. */
static size_t quoted_end(struct bytes in, size_t *escape_count_r)
{
	size_t at = 0, escape_count = 0;

	while (at < in.len && in.ptr[at] != '"') {
		if (in.ptr[at] == '\r' || in.ptr[at] == '\n' || in.ptr[at] == '\0')
			return in.len;
		if (in.ptr[at] == '\\') {
			escape_count++;
			at++;
			if (at == in.len || (in.ptr[at] != '"' && in.ptr[at] != '\\'))
				return in.len;
		}
		at++;
	}
	*escape_count_r = escape_count;
	return at;
}

static int parse_quoted(struct imap_parser *parser, struct bytes *string_r)
{
	size_t escape_count = 0, len = 0, end;
	struct bytes raw;
	unsigned char *copy;

	bytes_skip(&parser->rest, 1);
	end = quoted_end(parser->rest, &escape_count);
	if (end == parser->rest.len)
		return imap_parse_fail(parser, ERR_INVALID, "Malformed quoted string");
	raw = bytes_take(&parser->rest, end);
	bytes_skip(&parser->rest, 1);
	if (parser->is_utf8 && !imap_utf8_is_valid(raw))
		return imap_parse_fail(parser, ERR_INVALID, "String is not valid UTF-8");
	if (escape_count == 0) {
		*string_r = raw;
		return 0;
	}
	copy = arena_alloc(parser->arena, raw.len);
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.ptr[i] == '\\')
			i++;
		copy[len++] = raw.ptr[i];
	}
	*string_r = bytes_of(copy, len);
	return 0;
}

int imap_parse_literal(struct imap_parser *parser, struct bytes *literal_r)
{
	uint64_t len;
	int rc;

	rc = imap_parse_expect(parser, '{');
	if (rc == 0)
		rc = imap_parse_number(parser, UINT32_MAX, &len);
	if (rc < 0)
		return imap_parse_fail(parser, rc, "Expected a literal");
	imap_parse_take(parser, '+');
	if (!imap_parse_take(parser, '}'))
		return imap_parse_fail(parser, ERR_INVALID, "Malformed literal");
	imap_parse_take(parser, '\r');
	if (!imap_parse_take(parser, '\n') || len > parser->rest.len)
		return imap_parse_fail(parser, ERR_INVALID, "Malformed literal");
	*literal_r = bytes_take(&parser->rest, (size_t)len);
	return 0;
}

int imap_parse_literal8(struct imap_parser *parser, struct bytes *literal_r, bool *is_binary_r)
{
	*is_binary_r = imap_parse_take(parser, '~');
	return imap_parse_literal(parser, literal_r);
}

int imap_parse_string(struct imap_parser *parser, struct bytes *string_r)
{
	int rc;

	if (bytes_peek(parser->rest) == '"')
		return parse_quoted(parser, string_r);
	if (bytes_peek(parser->rest) != '{')
		return imap_parse_fail(parser, ERR_INVALID, "Expected a string");
	rc = imap_parse_literal(parser, string_r);
	if (rc == 0 && bytes_find(*string_r, '\0') < string_r->len)
		return imap_parse_fail(parser, ERR_INVALID, "NUL in a string");
	return rc;
}

static int parse_string_or_run(struct imap_parser *parser, unsigned classes, struct bytes *string_r)
{
	int next = bytes_peek(parser->rest);

	if (next == '"' || next == '{')
		return imap_parse_string(parser, string_r);
	*string_r = imap_parse_run(parser, classes);
	if (string_r->len == 0)
		return imap_parse_fail(parser, ERR_INVALID, "Missing or malformed argument");
	return 0;
}

int imap_parse_astring(struct imap_parser *parser, struct bytes *string_r)
{
	return parse_string_or_run(parser, CLASS_ASTRING, string_r);
}

int imap_parse_pattern(struct imap_parser *parser, struct bytes *pattern_r)
{
	return parse_string_or_run(parser, CLASS_PATTERN, pattern_r);
}

int imap_name_decode(struct imap_parser *parser, struct bytes wire, struct bytes *name_r)
{
	if (!parser->is_utf8)
		return imap_utf7_decode(parser->arena, wire, name_r);
	if (!imap_utf8_is_valid(wire))
		return ERR_INVALID;
	*name_r = wire;
	return 0;
}

int imap_parse_mailbox(struct imap_parser *parser, struct bytes *name_r)
{
	struct bytes encoded;
	int rc;

	rc = imap_parse_astring(parser, &encoded);
	if (rc < 0)
		return rc;
	if (imap_name_decode(parser, encoded, name_r) < 0)
		return imap_parse_fail(parser, ERR_INVALID,
			parser->is_utf8 ? "Mailbox name is not valid UTF-8"
					: "Mailbox name is not valid modified UTF-7");
	*name_r = imap_name_canonical(parser->arena, *name_r);
	return 0;
}

int imap_parse_number(struct imap_parser *parser, uint64_t max, uint64_t *number_r)
{
	uint64_t number = 0;

	if (!isdigit(bytes_peek(parser->rest)))
		return imap_parse_fail(parser, ERR_INVALID, "Expected a number");
	while (isdigit(bytes_peek(parser->rest))) {
		uint64_t digit = (uint64_t)(bytes_peek(parser->rest) - '0');

		if (digit > max || number > (max - digit) / 10)
			return imap_parse_fail(parser, ERR_INVALID, "Number too large");
		number = number * 10 + digit;
		bytes_skip(&parser->rest, 1);
	}
	*number_r = number;
	return 0;
}

int imap_parse_number32(struct imap_parser *parser, uint32_t *number_r)
{
	uint64_t number;
	int rc = imap_parse_number(parser, UINT32_MAX, &number);

	if (rc == 0)
		*number_r = (uint32_t)number;
	return rc;
}

int imap_parse_modseq(struct imap_parser *parser, uint64_t *modseq_r)
{
	return imap_parse_number(parser, INT64_MAX, modseq_r);
}

int imap_parse_astring_list(struct imap_parser *parser, struct bytes **strings_r, size_t *count_r)
{
	struct bytes *strings = NULL;
	size_t count = 0;
	int rc;

	rc = imap_parse_expect(parser, '(');
	if (rc < 0)
		return rc;
	strings = arena_alloc(parser->arena, IMAP_LIST_COUNT_MAX * sizeof(*strings));
	do {
		if (count == IMAP_LIST_COUNT_MAX)
			return imap_parse_fail(parser, ERR_TOO_LARGE, "Too many list members");
		rc = imap_parse_astring(parser, &strings[count++]);
		if (rc < 0)
			return rc;
	} while (imap_parse_take(parser, ' '));
	rc = imap_parse_expect(parser, ')');
	if (rc < 0)
		return rc;
	*strings_r = strings;
	*count_r = count;
	return 0;
}
