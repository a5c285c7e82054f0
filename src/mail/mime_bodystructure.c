#include "mail/mime_bodystructure.h"

#include "mail/mime_envelope.h"

struct writer {
	struct bytes message;
	bool extended;
	struct buffer *out;
};

static void space(struct writer *writer)
{
	buffer_append_byte(writer->out, ' ');
}

static void string(struct writer *writer, struct bytes value)
{
	mime_nstring_write(value, writer->out);
}

/* With `adds_charset`, the charset that holds if none is given is written out (RFC 2045, 5.2). */
static void params_write(struct writer *writer, const struct mime_param *param, bool adds_charset)
{
	bool has_charset = mime_param_find(param, "charset").ptr != NULL;

	if (param == NULL && !adds_charset) {
		buffer_append_string(writer->out, "NIL");
		return;
	}
	buffer_append_byte(writer->out, '(');
	for (; param != NULL; param = param->next) {
		string(writer, param->name);
		space(writer);
		string(writer, param->value);
		if (param->next != NULL || (adds_charset && !has_charset))
			space(writer);
	}
	if (adds_charset && !has_charset)
		buffer_append_string(writer->out, "\"charset\" \"us-ascii\"");
	buffer_append_byte(writer->out, ')');
}

static void languages_write(struct writer *writer, const struct mime_param *language)
{
	if (language == NULL) {
		buffer_append_string(writer->out, "NIL");
		return;
	}
	buffer_append_byte(writer->out, '(');
	for (; language != NULL; language = language->next) {
		string(writer, language->value);
		if (language->next != NULL)
			space(writer);
	}
	buffer_append_byte(writer->out, ')');
}

/* body-fld-dsp, body-fld-lang, body-fld-loc */
static void extension_write(struct writer *writer, const struct mime_part *part)
{
	if (part->disposition.len == 0) {
		buffer_append_string(writer->out, "NIL");
	} else {
		buffer_append_byte(writer->out, '(');
		string(writer, part->disposition);
		space(writer);
		params_write(writer, part->disposition_params, false);
		buffer_append_byte(writer->out, ')');
	}
	space(writer);
	languages_write(writer, part->languages);
	space(writer);
	string(writer, part->location);
}

static void part_write(struct writer *writer, const struct mime_part *part);

static void multipart_write(struct writer *writer, const struct mime_part *part)
{
	const struct mime_part *child;

	for (child = part->children; child != NULL; child = child->next)
		part_write(writer, child);
	space(writer);
	string(writer, part->subtype);
	if (!writer->extended)
		return;
	space(writer);
	params_write(writer, part->params, false);
	space(writer);
	extension_write(writer, part);
}

static void message_write(struct writer *writer, const struct mime_part *part)
{
	const struct mime_part *inner = part->children;

	space(writer);
	mime_envelope_write(mime_part_header(inner, writer->message), writer->out);
	space(writer);
	part_write(writer, inner);
	buffer_printf(writer->out, " %zu", part->body_lines);
}

static void single_write(struct writer *writer, const struct mime_part *part)
{
	bool is_text = bytes_equal_string_nocase(part->type, "text");

	string(writer, part->type);
	space(writer);
	string(writer, part->subtype);
	space(writer);
	params_write(writer, part->params, is_text);
	space(writer);
	string(writer, part->id);
	space(writer);
	string(writer, part->description);
	space(writer);
	string(writer, part->encoding.len > 0 ? part->encoding : BYTES_LITERAL("7bit"));
	buffer_printf(writer->out, " %zu", part->body_size);
	if (part->kind == MIME_MESSAGE)
		message_write(writer, part);
	else if (is_text)
		buffer_printf(writer->out, " %zu", part->body_lines);
	if (!writer->extended)
		return;
	space(writer);
	string(writer, part->md5);
	space(writer);
	extension_write(writer, part);
}

/* Recursion is bounded by MIME_DEPTH_MAX. */
static void part_write(struct writer *writer, const struct mime_part *part)
{
	buffer_append_byte(writer->out, '(');
	if (part->kind == MIME_MULTIPART)
		multipart_write(writer, part);
	else
		single_write(writer, part);
	buffer_append_byte(writer->out, ')');
}

void mime_bodystructure_write(
	struct bytes message, const struct mime_part *root, bool extended, struct buffer *out)
{
	struct writer writer = { message, extended, out };

	part_write(&writer, root);
}
