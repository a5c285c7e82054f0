#include "mail/mime_params.h"

#include "mail/mime_header.h"

static struct bytes take_until(struct bytes *in, const char *stops)
{
	size_t size = 0;

	while (size < in->len && in->ptr[size] > ' ' && in->ptr[size] != 0x7f &&
		strchr(stops, in->ptr[size]) == NULL)
		size++;
	return bytes_take(in, size);
}

/*
 * An unquoted value goes to the semicolon, so that `filename=a b.pdf` is kept whole. A comment ends
 * it if white space is before it, so that `name=a(1).pdf` is kept too.
 */
static struct bytes take_loose_value(struct bytes *in)
{
	size_t size = 0;

	while (size < in->len && in->ptr[size] != ';') {
		if (in->ptr[size] == '(' && size > 0 && mime_is_space(in->ptr[size - 1]))
			break;
		size++;
	}
	return mime_trim(bytes_take(in, size));
}

static struct bytes take_value(struct bytes *in, struct arena *arena)
{
	struct buffer text = { 0 };
	struct bytes value;

	if (bytes_peek(*in) != '"')
		return take_loose_value(in);
	mime_take_quoted(in, &text);
	value = text.len > 0 ? arena_copy(arena, buffer_bytes(&text)) : BYTES_LITERAL("");
	buffer_deinit(&text);
	return value;
}

static struct mime_param *param_new(struct arena *arena, struct bytes name, struct bytes value)
{
	struct mime_param *param = arena_zalloc(arena, sizeof(*param));

	param->name = name;
	param->value = value;
	return param;
}

/* To behind the next semicolon, past quoted strings and comments; false at the end. */
static bool skip_semicolon(struct bytes *in)
{
	while (in->len > 0) {
		struct buffer ignored = { 0 };

		mime_skip_cfws(in, NULL);
		if (bytes_peek(*in) == ';') {
			bytes_skip(in, 1);
			return true;
		}
		if (bytes_peek(*in) == '"')
			mime_take_quoted(in, &ignored);
		else if (in->len > 0)
			bytes_skip(in, 1);
		buffer_deinit(&ignored);
	}
	return false;
}

static struct mime_param *params_parse(struct bytes in, struct arena *arena)
{
	struct mime_param *first = NULL, **next = &first;
	size_t count = 0;

	while (count < MIME_PARAMS_MAX && skip_semicolon(&in)) {
		struct bytes name;

		mime_skip_cfws(&in, NULL);
		name = take_until(&in, "=;\"(");
		mime_skip_cfws(&in, NULL);
		if (name.len == 0 || bytes_peek(in) != '=')
			continue;
		bytes_skip(&in, 1);
		mime_skip_cfws(&in, NULL);
		*next = param_new(arena, name, take_value(&in, arena));
		next = &(*next)->next;
		count++;
	}
	return first;
}

bool mime_content_type_parse(struct bytes value, struct arena *arena, struct mime_part *part)
{
	struct bytes type, subtype;

	mime_skip_cfws(&value, NULL);
	type = take_until(&value, "/;,=\"()<>@[]?:\\");
	mime_skip_cfws(&value, NULL);
	if (type.len == 0 || bytes_peek(value) != '/')
		return false;
	bytes_skip(&value, 1);
	mime_skip_cfws(&value, NULL);
	subtype = take_until(&value, "/;,=\"()<>@[]?:\\");
	if (subtype.len == 0)
		return false;
	part->type = type;
	part->subtype = subtype;
	part->params = params_parse(value, arena);
	return true;
}

struct bytes mime_token_parse(struct bytes value)
{
	mime_skip_cfws(&value, NULL);
	return take_until(&value, ";,\"(");
}

struct bytes mime_disposition_parse(
	struct bytes value, struct arena *arena, struct mime_param **params_r)
{
	*params_r = params_parse(value, arena);
	return mime_token_parse(value);
}

struct mime_param *mime_languages_parse(struct bytes value, struct arena *arena)
{
	struct mime_param *first = NULL, **next = &first;
	size_t count = 0;

	while (value.len > 0 && count < MIME_PARAMS_MAX) {
		struct bytes tag;

		mime_skip_cfws(&value, NULL);
		tag = take_until(&value, ",;\"(");
		if (tag.len > 0) {
			*next = param_new(arena, BYTES_LITERAL(""), tag);
			next = &(*next)->next;
			count++;
		} else if (value.len > 0) {
			bytes_skip(&value, 1);
		}
	}
	return first;
}
