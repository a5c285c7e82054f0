#include "sync/dlist.h"

#include "base/encode.h"

struct parser {
	struct bytes in;
	struct arena *arena;
	size_t value_count, value_count_max;
	struct error *error;
};

static bool is_blank(int byte)
{
	return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static bool is_atom_byte(int byte)
{
	return byte > ' ' && byte != 0x7f && byte != '(' && byte != ')' && byte != '"';
}

static void skip_blanks(struct bytes *in)
{
	while (is_blank(bytes_peek(*in)))
		bytes_skip(in, 1);
}

static int malformed(struct parser *parser, const char *what)
{
	return error_set(parser->error, ERR_INVALID, "dlist: %s", what);
}

static int parse_value(struct parser *parser, unsigned depth, struct dlist *value_r);

static int parse_quoted(struct parser *parser, struct dlist *value_r)
{
	struct bytes rest, raw;
	unsigned char *plain;
	size_t len = 0;
	bool has_escapes = false;

	bytes_skip(&parser->in, 1);
	rest = parser->in;
	for (;;) {
		int byte = bytes_peek(rest);

		if (byte == -1 || byte == '\r' || byte == '\n' || byte == '\0')
			return malformed(parser, "quoted string does not end");
		if (byte == '"')
			break;
		if (byte == '\\') {
			has_escapes = true;
			bytes_skip(&rest, 1);
			byte = bytes_peek(rest);
			if (byte == -1 || byte == '\r' || byte == '\n' || byte == '\0')
				return malformed(parser, "quoted string does not end");
		}
		bytes_skip(&rest, 1);
	}
	raw = bytes_take(&parser->in, parser->in.len - rest.len);
	bytes_skip(&parser->in, 1);
	value_r->kind = DLIST_STRING;
	value_r->text = raw;
	if (!has_escapes)
		return 0;
	plain = arena_alloc(parser->arena, raw.len);
	while (raw.len > 0) {
		if (raw.ptr[0] == '\\')
			bytes_skip(&raw, 1);
		plain[len++] = raw.ptr[0];
		bytes_skip(&raw, 1);
	}
	value_r->text = bytes_of(plain, len);
	return 0;
}

static bool is_digit(int byte)
{
	return byte >= '0' && byte <= '9';
}

/* `{n}` or `{n+}` directly before a line's end. Anything else that begins with a brace is an atom.
 */
static bool literal_begins(struct bytes in, size_t *header_size_r, uint64_t *size_r)
{
	size_t all = in.len;
	uint64_t size = 0;
	unsigned digits = 0;

	bytes_skip(&in, 1);
	for (; is_digit(bytes_peek(in)) && digits < 12; digits++) {
		size = size * 10 + (uint64_t)(in.ptr[0] - '0');
		bytes_skip(&in, 1);
	}
	if (digits == 0)
		return false;
	if (bytes_peek(in) == '+')
		bytes_skip(&in, 1);
	if (!bytes_start_with(in, BYTES_LITERAL("}\r\n")))
		return false;
	*header_size_r = all - in.len + 3;
	*size_r = size;
	return true;
}

static int parse_literal(
	struct parser *parser, size_t header_size, uint64_t size, struct dlist *value_r)
{
	bytes_skip(&parser->in, header_size);
	if (size > parser->in.len)
		return malformed(parser, "literal is cut short");
	value_r->kind = DLIST_STRING;
	value_r->text = bytes_take(&parser->in, (size_t)size);
	return 0;
}

static int parse_atom(struct parser *parser, struct dlist *value_r)
{
	struct bytes rest = parser->in;

	while (is_atom_byte(bytes_peek(rest)))
		bytes_skip(&rest, 1);
	if (rest.len == parser->in.len)
		return malformed(parser, rest.len == 0 ? "a value is missing" : "unexpected byte");
	value_r->text = bytes_take(&parser->in, parser->in.len - rest.len);
	value_r->kind = bytes_equal_string(value_r->text, "NIL") ? DLIST_NIL : DLIST_ATOM;
	return 0;
}

/* After the opening parenthesis. */
static int parse_members(struct parser *parser, unsigned depth, bool is_map, struct dlist *value_r)
{
	const struct dlist **link = &value_r->first;
	size_t count = 0;

	value_r->kind = is_map ? DLIST_MAP : DLIST_LIST;
	for (;;) {
		struct dlist *member;
		int rc;

		skip_blanks(&parser->in);
		if (bytes_peek(parser->in) == ')')
			break;
		if (bytes_peek(parser->in) == -1)
			return malformed(parser, "list does not end");
		member = arena_zalloc(parser->arena, sizeof(*member));
		rc = parse_value(parser, depth, member);
		if (rc < 0)
			return rc;
		if (is_map && count % 2 == 0 &&
			(member->kind != DLIST_ATOM || member->text.len > DLIST_KEY_SIZE_MAX))
			return malformed(parser, "a key of a map is no atom, or too long");
		*link = member;
		link = &member->next;
		count++;
	}
	bytes_skip(&parser->in, 1);
	if (is_map && count % 2 != 0)
		return malformed(parser, "a key without a value");
	value_r->count = is_map ? count / 2 : count;
	return 0;
}

static int parse_value(struct parser *parser, unsigned depth, struct dlist *value_r)
{
	bool is_map = bytes_start_with(parser->in, BYTES_LITERAL("%("));
	size_t header_size;
	uint64_t size;

	if (++parser->value_count > parser->value_count_max)
		return error_set(parser->error, ERR_TOO_LARGE, "dlist: too many values");
	if (is_map || bytes_peek(parser->in) == '(') {
		if (depth == DLIST_DEPTH_MAX)
			return error_set(
				parser->error, ERR_TOO_LARGE, "dlist: lists are nested too deeply");
		bytes_skip(&parser->in, is_map ? 2 : 1);
		return parse_members(parser, depth + 1, is_map, value_r);
	}
	if (bytes_peek(parser->in) == '"')
		return parse_quoted(parser, value_r);
	if (bytes_peek(parser->in) == '{' && literal_begins(parser->in, &header_size, &size))
		return parse_literal(parser, header_size, size, value_r);
	return parse_atom(parser, value_r);
}

int dlist_parse(
	struct bytes *in, struct arena *arena, const struct dlist **value_r, struct error *error)
{
	return dlist_parse_at_most(in, arena, DLIST_VALUE_COUNT_MAX, value_r, error);
}

int dlist_parse_at_most(struct bytes *in, struct arena *arena, size_t value_count_max,
	const struct dlist **value_r, struct error *error)
{
	struct parser parser = {
		.in = *in, .arena = arena, .value_count_max = value_count_max, .error = error
	};
	struct dlist *value = arena_zalloc(arena, sizeof(*value));
	int rc;

	skip_blanks(&parser.in);
	rc = parse_value(&parser, 0, value);
	*in = parser.in;
	if (rc == 0)
		*value_r = value;
	return rc;
}

const struct dlist *dlist_get(const struct dlist *map, const char *key)
{
	if (map->kind != DLIST_MAP)
		return NULL;
	for (const struct dlist *at = map->first; at != NULL; at = at->next->next)
		if (bytes_equal_string(at->text, key))
			return at->next;
	return NULL;
}

int dlist_text(const struct dlist *value, struct bytes *text_r)
{
	if (value->kind != DLIST_ATOM && value->kind != DLIST_STRING)
		return ERR_INVALID;
	*text_r = value->text;
	return 0;
}

int dlist_number(const struct dlist *value, uint64_t max, uint64_t *number_r)
{
	uint64_t number = 0;
	struct bytes text;

	if (dlist_text(value, &text) < 0 || text.len == 0 || (text.len > 1 && text.ptr[0] == '0'))
		return ERR_INVALID;
	for (; text.len > 0; bytes_skip(&text, 1)) {
		uint64_t digit;

		if (!is_digit(text.ptr[0]))
			return ERR_INVALID;
		digit = (uint64_t)(text.ptr[0] - '0');
		if (digit > max || number > (max - digit) / 10)
			return ERR_INVALID;
		number = number * 10 + digit;
	}
	*number_r = number;
	return 0;
}

int dlist_get_text(const struct dlist *map, const char *key, struct bytes *text_r)
{
	const struct dlist *value = dlist_get(map, key);

	return value == NULL ? ERR_NOT_FOUND : dlist_text(value, text_r);
}

int dlist_get_number(const struct dlist *map, const char *key, uint64_t max, uint64_t *number_r)
{
	const struct dlist *value = dlist_get(map, key);

	return value == NULL ? ERR_NOT_FOUND : dlist_number(value, max, number_r);
}

int dlist_get_list(const struct dlist *map, const char *key, const struct dlist **list_r)
{
	const struct dlist *value = dlist_get(map, key);

	if (value == NULL)
		return ERR_NOT_FOUND;
	if (value->kind != DLIST_LIST)
		return ERR_INVALID;
	*list_r = value;
	return 0;
}

static void put_blank(struct dlist_writer *writer)
{
	if (writer->needs_blank)
		buffer_append_byte(writer->out, ' ');
	writer->needs_blank = true;
}

void dlist_put_atom(struct dlist_writer *writer, const char *atom)
{
	put_blank(writer);
	buffer_append_string(writer->out, atom);
}

enum text_form { FORM_ATOM, FORM_QUOTED, FORM_LITERAL };

#define QUOTED_SIZE_MAX 1024 /* bytes; longer texts are literals */

static enum text_form text_form(struct bytes text)
{
	enum text_form form = FORM_ATOM;

	if (text.len > QUOTED_SIZE_MAX)
		return FORM_LITERAL;
	if (text.len == 0 || bytes_equal_string(text, "NIL"))
		form = FORM_QUOTED;
	for (size_t i = 0; i < text.len; i++) {
		int byte = text.ptr[i];

		if (byte == '\r' || byte == '\n' || byte == '\0' || byte >= 0x80 || byte == '"')
			return FORM_LITERAL;
		if (byte == '\\' && i > 0)
			return FORM_LITERAL;
		if (!is_atom_byte(byte) || byte == '{' || byte == '%' || byte == '*')
			form = FORM_QUOTED;
	}
	/* A backslash may begin an atom, as in \Seen, but not be inside of quotes. */
	return form == FORM_QUOTED && bytes_peek(text) == '\\' ? FORM_LITERAL : form;
}

void dlist_put_text(struct dlist_writer *writer, struct bytes text)
{
	switch (text_form(text)) {
	case FORM_ATOM:
		put_blank(writer);
		buffer_append_bytes(writer->out, text);
		return;
	case FORM_QUOTED:
		put_blank(writer);
		buffer_append_byte(writer->out, '"');
		buffer_append_bytes(writer->out, text);
		buffer_append_byte(writer->out, '"');
		return;
	case FORM_LITERAL:
		dlist_put_literal(writer, text);
		return;
	}
}

void dlist_put_literal(struct dlist_writer *writer, struct bytes text)
{
	put_blank(writer);
	buffer_printf(
		writer->out, "{%zu%s}\r\n", text.len, writer->side == DLIST_REQUEST ? "+" : "");
	buffer_append_bytes(writer->out, text);
}

void dlist_put_number(struct dlist_writer *writer, uint64_t number)
{
	put_blank(writer);
	buffer_append_number(writer->out, number);
}

void dlist_put_hex(struct dlist_writer *writer, struct bytes bytes)
{
	put_blank(writer);
	encode_hex(writer->out, bytes);
}

static void begin(struct dlist_writer *writer, const char *opening)
{
	put_blank(writer);
	buffer_append_string(writer->out, opening);
	writer->needs_blank = false;
}

void dlist_begin_list(struct dlist_writer *writer)
{
	begin(writer, "(");
}

void dlist_end_list(struct dlist_writer *writer)
{
	buffer_append_byte(writer->out, ')');
	writer->needs_blank = true;
}

void dlist_begin_map(struct dlist_writer *writer)
{
	begin(writer, "%(");
}

void dlist_end_map(struct dlist_writer *writer)
{
	dlist_end_list(writer);
}

void dlist_put_text_of(struct dlist_writer *writer, const char *key, struct bytes text)
{
	dlist_put_atom(writer, key);
	dlist_put_text(writer, text);
}

void dlist_put_number_of(struct dlist_writer *writer, const char *key, uint64_t number)
{
	dlist_put_atom(writer, key);
	dlist_put_number(writer, number);
}

void dlist_put_hex_of(struct dlist_writer *writer, const char *key, struct bytes bytes)
{
	dlist_put_atom(writer, key);
	dlist_put_hex(writer, bytes);
}
