/*
 * One pass over the lines of the message, with a stack of the boundaries of the multiparts that are
 * open. Each line that begins with "--" is compared with them; where it is the delimiter of an
 * outer one, all inner ones end there, closed or not.
 *
 * `at` is always at the start of a line, and `lines` is the count of line ends before it.
 *
 * While a delimiter is pending, `at` is at its start, and each function that reads a part returns
 * to the multipart whose delimiter it is.
 *
 * The line end before a delimiter belongs to the delimiter (RFC 2046, 5.1.1), except where it ends
 * the header of a body part.
 */
#include "mail/mime_structure.h"

#include "mail/mime_header.h"
#include "mail/mime_params.h"

#define DELIMITER_NONE (-1)

struct parser {
	struct bytes message;
	struct arena *arena;
	size_t at;
	size_t lines;
	size_t part_end; /* of the part that ended last, and the line ends before */
	size_t part_end_lines;
	size_t part_count;
	struct bytes boundaries[MIME_DEPTH_MAX];
	int boundary_count;
	int delimiter; /* index of the boundary of the delimiter line at `at`, or DELIMITER_NONE */
	bool delimiter_closes;
};

static void part_read(struct parser *parser, struct mime_part *part, int depth, bool is_digest);

static bool at_end(const struct parser *parser)
{
	return parser->at == parser->message.len;
}

static struct bytes line_peek(const struct parser *parser)
{
	struct bytes rest = parser->message;

	bytes_skip(&rest, parser->at);
	return bytes_of(rest.ptr, mime_line_size(rest));
}

static void line_skip(struct parser *parser, struct bytes line)
{
	parser->at += line.len;
	if (line.len > 0 && line.ptr[line.len - 1] == '\n')
		parser->lines++;
}

/*
 * Of the open boundaries the line may be several: the inner one that is the whole line wins, else
 * the longest that it begins with (all that RFC 2046 asks for); so neither a boundary that is the
 * beginning of another nor text behind a boundary breaks the structure.
 */
static bool delimiter_find(struct parser *parser, struct bytes line)
{
	size_t longest = 0;
	int i;

	parser->delimiter = DELIMITER_NONE;
	if (line.len < 2 || line.ptr[0] != '-' || line.ptr[1] != '-')
		return false;
	bytes_skip(&line, 2);
	line = mime_trim_end(line);
	for (i = parser->boundary_count - 1; i >= 0; i--) {
		struct bytes boundary = parser->boundaries[i], rest = line;
		bool closes;

		if (!bytes_start_with(line, boundary))
			continue;
		bytes_skip(&rest, boundary.len);
		closes = bytes_start_with(rest, BYTES_LITERAL("--"));
		if (rest.len != (closes ? 2 : 0) && boundary.len <= longest)
			continue;
		parser->delimiter = i;
		parser->delimiter_closes = closes;
		longest = boundary.len;
		if (rest.len == (closes ? 2 : 0))
			break;
	}
	return parser->delimiter != DELIMITER_NONE;
}

/* To the next delimiter, or the end. */
static void lines_skip(struct parser *parser)
{
	while (!at_end(parser)) {
		struct bytes line = line_peek(parser);

		if (delimiter_find(parser, line))
			return;
		line_skip(parser, line);
	}
}

static void header_skip(struct parser *parser)
{
	while (!at_end(parser)) {
		struct bytes line = line_peek(parser);

		if (delimiter_find(parser, line))
			return;
		line_skip(parser, line);
		if (mime_line_is_empty(line))
			return;
	}
}

/*
 * Ends the body at the pending delimiter, or at the end. A child that is no more than a header, cut
 * off by the delimiter of an outer part, has the line end before it; its parents then have it too.
 */
static void body_end(struct parser *parser, struct mime_part *part, size_t lines_before)
{
	const unsigned char *ptr = parser->message.ptr;
	size_t end = parser->at, lines = parser->lines;

	if (parser->delimiter != DELIMITER_NONE && end > part->body_start) {
		assert(ptr[end - 1] == '\n');
		end--;
		lines--;
		if (end > part->body_start && ptr[end - 1] == '\r')
			end--;
	}
	if (part->children != NULL && parser->part_end > end) {
		end = parser->part_end;
		lines = parser->part_end_lines;
	}
	part->body_size = end - part->body_start;
	part->body_lines = lines - lines_before;
	parser->part_end = end;
	parser->part_end_lines = lines;
}

static struct mime_part *part_new(struct parser *parser, struct mime_part *parent)
{
	struct mime_part *part = arena_zalloc(parser->arena, sizeof(*part));

	part->parent = parent;
	/* The last part that is allowed takes all that follows: no more boundaries are looked for.
	 */
	if (++parser->part_count == MIME_PARTS_MAX)
		parser->boundary_count = 0;
	return part;
}

static void part_make_leaf(
	struct parser *parser, struct mime_part *part, struct bytes type, struct bytes subtype)
{
	part->kind = MIME_LEAF;
	part->type = type;
	part->subtype = subtype;
	part->params = NULL;
	if (bytes_equal_string_nocase(type, "text")) {
		part->params = arena_zalloc(parser->arena, sizeof(*part->params));
		part->params->name = BYTES_LITERAL("charset");
		part->params->value = BYTES_LITERAL("us-ascii");
	}
}

static void children_read(struct parser *parser, struct mime_part *part, int depth, int boundary)
{
	bool is_digest = bytes_equal_string_nocase(part->subtype, "digest");
	struct mime_part **next = &part->children;

	while (parser->delimiter == boundary && !parser->delimiter_closes) {
		struct mime_part *child = part_new(parser, part);

		parser->delimiter = DELIMITER_NONE;
		line_skip(parser, line_peek(parser));
		part_read(parser, child, depth + 1, is_digest);
		*next = child;
		next = &child->next;
		part->child_count++;
	}
}

static void multipart_read(struct parser *parser, struct mime_part *part, int depth)
{
	/* The padding at a line's end is not part of a boundary. */
	struct bytes boundary = mime_trim_end(mime_param_find(part->params, "boundary"));
	int index = parser->boundary_count;

	if (boundary.len == 0 || parser->part_count >= MIME_PARTS_MAX || depth >= MIME_DEPTH_MAX) {
		lines_skip(parser);
		return;
	}
	parser->boundaries[index] = boundary;
	parser->boundary_count = index + 1;
	lines_skip(parser);
	children_read(parser, part, depth, index);
	if (parser->boundary_count > index)
		parser->boundary_count = index;
	if (parser->delimiter == index) {
		parser->delimiter = DELIMITER_NONE;
		line_skip(parser, line_peek(parser));
		lines_skip(parser); /* the epilogue */
	}
}

static void message_read(struct parser *parser, struct mime_part *part, int depth)
{
	if (parser->part_count >= MIME_PARTS_MAX || depth >= MIME_DEPTH_MAX) {
		lines_skip(parser);
		part_make_leaf(
			parser, part, BYTES_LITERAL("application"), BYTES_LITERAL("octet-stream"));
		return;
	}
	part->children = part_new(parser, part);
	part->child_count = 1;
	part_read(parser, part->children, depth + 1, false);
}

/* Folded values are copied to the arena as one line; others stay in the message. */
static struct bytes value_unfold(struct parser *parser, struct bytes value)
{
	struct buffer line = { 0 };

	if (bytes_find(value, '\n') == value.len)
		return value;
	mime_unfold(value, &line);
	value = arena_copy(parser->arena, buffer_bytes(&line));
	buffer_deinit(&line);
	return value;
}

static struct bytes *simple_field(struct mime_part *part, struct bytes name)
{
	if (bytes_equal_string_nocase(name, "content-id"))
		return &part->id;
	if (bytes_equal_string_nocase(name, "content-description"))
		return &part->description;
	if (bytes_equal_string_nocase(name, "content-md5"))
		return &part->md5;
	if (bytes_equal_string_nocase(name, "content-location"))
		return &part->location;
	return NULL;
}

/* Of a field that occurs twice the first counts. */
static void field_apply(struct parser *parser, struct mime_part *part, struct mime_field *field)
{
	struct bytes *simple, value = field->value;

	if (!bytes_equal_nocase(bytes_of(field->name.ptr, field->name.len < 8 ? 0 : 8),
		    BYTES_LITERAL("content-")))
		return;
	if (value.len > MIME_FIELD_SIZE_MAX)
		value.len = MIME_FIELD_SIZE_MAX;
	value = value_unfold(parser, value);
	simple = simple_field(part, field->name);
	if (simple != NULL) {
		if (simple->ptr == NULL)
			*simple = value;
	} else if (bytes_equal_string_nocase(field->name, "content-type")) {
		if (part->type.ptr == NULL)
			mime_content_type_parse(value, parser->arena, part);
	} else if (bytes_equal_string_nocase(field->name, "content-transfer-encoding")) {
		if (part->encoding.len == 0)
			part->encoding = mime_token_parse(value);
	} else if (bytes_equal_string_nocase(field->name, "content-disposition")) {
		if (part->disposition.len == 0)
			part->disposition = mime_disposition_parse(
				value, parser->arena, &part->disposition_params);
	} else if (bytes_equal_string_nocase(field->name, "content-language")) {
		if (part->languages == NULL)
			part->languages = mime_languages_parse(value, parser->arena);
	}
}

static void header_read(struct parser *parser, struct mime_part *part, bool is_digest)
{
	struct bytes header;
	struct mime_field field;
	size_t lines_before = parser->lines;

	part->header_start = parser->at;
	header_skip(parser);
	part->header_size = parser->at - part->header_start;
	part->header_lines = parser->lines - lines_before;
	part->body_start = parser->at;
	header = mime_part_header(part, parser->message);
	while (mime_field_next(&header, &field))
		field_apply(parser, part, &field);
	if (part->type.ptr != NULL)
		return;
	if (is_digest) {
		part->type = BYTES_LITERAL("message");
		part->subtype = BYTES_LITERAL("rfc822");
	} else {
		part_make_leaf(parser, part, BYTES_LITERAL("text"), BYTES_LITERAL("plain"));
	}
}

static void part_read(struct parser *parser, struct mime_part *part, int depth, bool is_digest)
{
	size_t lines_before;

	header_read(parser, part, is_digest);
	lines_before = parser->lines;
	if (bytes_equal_string_nocase(part->type, "multipart")) {
		part->kind = MIME_MULTIPART;
		if (parser->delimiter == DELIMITER_NONE)
			multipart_read(parser, part, depth);
		if (part->children == NULL)
			part_make_leaf(parser, part, BYTES_LITERAL("text"), BYTES_LITERAL("plain"));
	} else if (mime_part_is(part, "message", "rfc822") ||
		   mime_part_is(part, "message", "global")) {
		part->kind = MIME_MESSAGE;
		message_read(parser, part, depth);
	} else if (parser->delimiter == DELIMITER_NONE) {
		lines_skip(parser);
	}
	body_end(parser, part, lines_before);
}

struct mime_part *mime_structure_parse(struct bytes message, struct arena *arena)
{
	struct parser parser = { .message = message, .arena = arena, .delimiter = DELIMITER_NONE };
	struct mime_part *root = part_new(&parser, NULL);

	if (message.ptr == NULL)
		parser.message = BYTES_LITERAL("");
	part_read(&parser, root, 0, false);
	assert(at_end(&parser));
	return root;
}

struct bytes mime_param_find(const struct mime_param *params, const char *name)
{
	for (; params != NULL; params = params->next) {
		if (bytes_equal_string_nocase(params->name, name))
			return params->value;
	}
	return bytes_of(NULL, 0);
}

bool mime_part_is(const struct mime_part *part, const char *type, const char *subtype)
{
	return bytes_equal_string_nocase(part->type, type) &&
	       bytes_equal_string_nocase(part->subtype, subtype);
}
