#include "mail/mime_downgrade.h"

#include "mail/mime_charset.h"
#include "mail/mime_downgrade_private.h"
#include "mail/mime_header.h"
#include "mail/mime_params.h"

struct downgrading {
	struct bytes message;
	size_t at; /* what is before it was written */
	size_t growth;
	struct arena *arena;
	struct buffer *out;
};

enum form {
	FORM_NONE, /* has none: the field is left out */
	FORM_TEXT,
	FORM_ADDRESSES,
	FORM_PATH, /* an address without a name */
	FORM_TYPE,
	FORM_DISPOSITION
};

static const struct {
	const char *name;
	enum form form;
} field_forms[] = {
	{ "from", FORM_ADDRESSES },
	{ "sender", FORM_ADDRESSES },
	{ "reply-to", FORM_ADDRESSES },
	{ "to", FORM_ADDRESSES },
	{ "cc", FORM_ADDRESSES },
	{ "bcc", FORM_ADDRESSES },
	{ "resent-from", FORM_ADDRESSES },
	{ "resent-sender", FORM_ADDRESSES },
	{ "resent-to", FORM_ADDRESSES },
	{ "resent-cc", FORM_ADDRESSES },
	{ "resent-bcc", FORM_ADDRESSES },
	{ "resent-reply-to", FORM_ADDRESSES },
	{ "mail-followup-to", FORM_ADDRESSES },
	{ "mail-reply-to", FORM_ADDRESSES },
	{ "disposition-notification-to", FORM_ADDRESSES },
	{ "return-path", FORM_PATH },
	{ "delivered-to", FORM_PATH },
	{ "content-type", FORM_TYPE },
	{ "content-disposition", FORM_DISPOSITION },
	/* No text in them is free. */
	{ "message-id", FORM_NONE },
	{ "resent-message-id", FORM_NONE },
	{ "in-reply-to", FORM_NONE },
	{ "references", FORM_NONE },
	{ "date", FORM_NONE },
	{ "resent-date", FORM_NONE },
	{ "received", FORM_NONE },
	{ "received-spf", FORM_NONE },
	{ "authentication-results", FORM_NONE },
	{ "dkim-signature", FORM_NONE },
	{ "arc-seal", FORM_NONE },
	{ "arc-message-signature", FORM_NONE },
	{ "arc-authentication-results", FORM_NONE },
	{ "mime-version", FORM_NONE },
	{ "content-transfer-encoding", FORM_NONE },
	{ "content-id", FORM_NONE },
	{ "content-md5", FORM_NONE },
	{ "content-language", FORM_NONE },
	{ "content-location", FORM_NONE },
	{ "content-base", FORM_NONE },
	{ "list-help", FORM_NONE },
	{ "list-unsubscribe", FORM_NONE },
	{ "list-subscribe", FORM_NONE },
	{ "list-post", FORM_NONE },
	{ "list-owner", FORM_NONE },
	{ "list-archive", FORM_NONE },
};

static enum form form_of(const struct mime_field *field)
{
	if (field->name.len == 0 || !mime_is_ascii(field->name))
		return FORM_NONE;
	for (size_t i = 0; i < sizeof(field_forms) / sizeof(field_forms[0]); i++) {
		if (bytes_equal_string_nocase(field->name, field_forms[i].name))
			return field_forms[i].form;
	}
	return FORM_TEXT;
}

static bool has_utf8(struct bytes text)
{
	return !mime_is_ascii(text) && mime_utf8_is_valid(text);
}

static bool header_has_utf8(struct bytes header)
{
	struct mime_field field;

	if (mime_is_ascii(header))
		return false;
	while (mime_field_next(&header, &field)) {
		if (has_utf8(field.raw))
			return true;
	}
	return false;
}

/* Recursion is bounded by MIME_DEPTH_MAX. */
static bool part_has_utf8(struct bytes message, const struct mime_part *part)
{
	if (header_has_utf8(mime_part_header(part, message)))
		return true;
	for (part = part->children; part != NULL; part = part->next) {
		if (part_has_utf8(message, part))
			return true;
	}
	return false;
}

bool mime_has_utf8_header(struct bytes message, const struct mime_part *root)
{
	return !mime_is_ascii(message) && part_has_utf8(message, root);
}

/*
 * A type that cannot be said, or a boundary that the body would have to have as well, is that of
 * octets: a missing type would be text, or in a digest a message. But what has parts keeps them, as
 * those of an unknown multipart (RFC 2046, section 5.1.3): else their boundaries might be taken for
 * those of what it is in.
 */
static bool type_append(
	struct downgrading *self, struct bytes value, const char *line_end, bool is_message)
{
	struct mime_part type = { .kind = MIME_LEAF };
	struct bytes subtype;

	if (!mime_content_type_parse(value, self->arena, &type))
		return false;
	subtype = is_message ? BYTES_LITERAL("rfc822") : type.subtype;
	if (!mime_is_ascii(subtype) && bytes_equal_string_nocase(type.type, "multipart"))
		subtype = BYTES_LITERAL("mixed");
	if (!mime_is_ascii(type.type) || !mime_is_ascii(subtype) ||
		!mime_is_ascii(mime_param_find(type.params, "boundary"))) {
		buffer_append_string(self->out, " application/octet-stream");
		return true;
	}
	buffer_printf(self->out, " %.*s/%.*s", BYTES_ARGS(type.type), BYTES_ARGS(subtype));
	mime_downgrade_params(type.params, line_end, self->out);
	return true;
}

static bool disposition_append(struct downgrading *self, struct bytes value, const char *line_end)
{
	struct mime_param *params;
	struct bytes disposition = mime_disposition_parse(value, self->arena, &params);

	if (disposition.len == 0 || !mime_is_ascii(disposition))
		return false;
	buffer_printf(self->out, " %.*s", BYTES_ARGS(disposition));
	mime_downgrade_params(params, line_end, self->out);
	return true;
}

static bool value_append(struct downgrading *self, enum form form, struct bytes value,
	const char *line_end, bool is_message)
{
	switch (form) {
	case FORM_NONE:
		return false;
	case FORM_TEXT:
		return mime_downgrade_text(value, line_end, self->out);
	case FORM_ADDRESSES:
	case FORM_PATH:
		return mime_downgrade_addresses(value, form == FORM_ADDRESSES, line_end, self->out);
	case FORM_TYPE:
		return type_append(self, value, line_end, is_message);
	case FORM_DISPOSITION:
		return disposition_append(self, value, line_end);
	}
	return false;
}

static bool ends_with(struct bytes text, const char *end)
{
	size_t size = strlen(end);

	return text.len >= size && memcmp(text.ptr + text.len - size, end, size) == 0;
}

static void field_append(struct downgrading *self, const struct mime_field *field, bool is_message)
{
	const char *line_end = ends_with(field->raw, "\r\n") ? "\r\n" : "\n";
	size_t before = self->out->len, size;
	bool is_said;

	buffer_append_bytes(self->out, field->name);
	buffer_append_byte(self->out, ':');
	is_said = self->growth < MIME_DOWNGRADE_GROWTH_MAX &&
		  value_append(self, form_of(field), field->value, line_end, is_message);
	if (!is_said) {
		buffer_truncate(self->out, before);
		return;
	}
	if (ends_with(field->raw, "\n"))
		buffer_append_string(self->out, line_end);
	size = self->out->len - before;
	self->growth += size > field->raw.len ? size - field->raw.len : 0;
}

static void copy_up_to(struct downgrading *self, size_t end)
{
	buffer_append(self->out, self->message.ptr + self->at, end - self->at);
	self->at = end;
}

static void header_append(struct downgrading *self, const struct mime_part *part)
{
	struct bytes header = mime_part_header(part, self->message);
	bool is_global = part->kind == MIME_MESSAGE && mime_part_is(part, "message", "global");
	struct mime_field field;

	copy_up_to(self, part->header_start);
	while (mime_field_next(&header, &field)) {
		bool is_type = bytes_equal_string_nocase(field.name, "content-type");

		if (has_utf8(field.raw) || (is_global && is_type))
			field_append(self, &field, is_global && is_type);
		else
			buffer_append_bytes(self->out, field.raw);
	}
	buffer_append_bytes(self->out, header);
	self->at = part->body_start;
	arena_reset(self->arena);
}

/* Parts come in the order of the message; recursion is bounded by MIME_DEPTH_MAX. */
static void part_append(struct downgrading *self, const struct mime_part *part)
{
	header_append(self, part);
	for (part = part->children; part != NULL; part = part->next)
		part_append(self, part);
}

bool mime_downgrade(struct bytes message, const struct mime_part *root, struct buffer *out)
{
	struct downgrading self = { .message = message, .out = out };

	if (!mime_has_utf8_header(message, root))
		return false;
	self.arena = arena_new();
	part_append(&self, root);
	copy_up_to(&self, message.len);
	arena_free(&self.arena);
	return true;
}
