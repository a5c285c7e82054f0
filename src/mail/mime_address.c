/*
 * What an element of the list is becomes known late: "a b" may be the phrase before "<", the name
 * of a group before ":", or a local part. So words are collected as text, and the last "@" outside
 * quotes is noted, until one of "<", ":", ",", ";" or the end decides.
 */
#include "mail/mime_address.h"

#include "mail/mime_header.h"

#include <stdint.h>

#define NO_AT SIZE_MAX

struct collected {
	struct buffer text;
	size_t at;      /* index of the last "@" in the text, or NO_AT */
	bool has_words; /* also if they were empty quotes */
	int stop;       /* the byte that ended it, not taken; -1: the end */
};

void mime_address_init(struct mime_address_reader *reader, struct bytes value)
{
	*reader = (struct mime_address_reader){ .rest = value };
}

void mime_address_deinit(struct mime_address_reader *reader)
{
	buffer_deinit(&reader->name);
	buffer_deinit(&reader->comment);
	buffer_deinit(&reader->mailbox);
	buffer_deinit(&reader->route);
	buffer_deinit(&reader->host);
}

static void take_domain_literal(struct bytes *in, struct buffer *out)
{
	size_t size = bytes_find(*in, ']');

	buffer_append_bytes(out, bytes_take(in, size < in->len ? size + 1 : size));
}

static void take_word(struct bytes *in, const char *stops, struct collected *collected)
{
	struct buffer *text = &collected->text;
	bool after_at = collected->at != NO_AT &&
			mime_trim_end(buffer_bytes(text)).len == collected->at + 1;

	collected->has_words = true;
	if (bytes_peek(*in) == '"') {
		mime_take_quoted(in, text);
		return;
	}
	if (bytes_peek(*in) == '[' && after_at) {
		take_domain_literal(in, text);
		return;
	}
	do {
		int byte = bytes_take(in, 1).ptr[0];

		if (byte == '\\' && in->len > 0)
			byte = bytes_take(in, 1).ptr[0];
		else if (byte == '@')
			collected->at = text->len;
		buffer_append_byte(text, byte);
		if (byte == '@')
			return;
	} while (in->len > 0 && !mime_is_space(bytes_peek(*in)) && bytes_peek(*in) != '(' &&
		 bytes_peek(*in) != '"' && strchr(stops, bytes_peek(*in)) == NULL);
}

/* Words with one space where there was white space between them. */
static void collect(
	struct bytes *in, const char *stops, struct buffer *comment, struct collected *collected)
{
	struct buffer *text = &collected->text;
	const unsigned char *word_end = NULL;

	buffer_clear(text);
	collected->at = NO_AT;
	collected->has_words = false;
	for (;;) {
		mime_skip_cfws(in, comment);
		collected->stop = bytes_peek(*in);
		if (in->len == 0 || (collected->stop > 0 && strchr(stops, collected->stop)))
			break;
		if (collected->has_words && in->ptr != word_end)
			buffer_append_byte(text, ' ');
		take_word(in, stops, collected);
		word_end = in->ptr;
	}
}

/* Appends without the white space around dots and at the ends (RFC 5322, 4.4: obs-local-part). */
static void append_dotted(struct bytes text, struct buffer *out)
{
	size_t i;

	text = mime_trim(text);
	for (i = 0; i < text.len; i++) {
		bool by_dot = i > 0 && i + 1 < text.len && text.ptr[i] == ' ' &&
			      (text.ptr[i - 1] == '.' || text.ptr[i + 1] == '.');

		if (!by_dot)
			buffer_append_byte(out, text.ptr[i]);
	}
}

static struct bytes text_or_empty(const struct buffer *text)
{
	return text->len > 0 ? buffer_bytes(text) : BYTES_LITERAL("");
}

static void address_split(struct mime_address_reader *reader, const struct collected *collected)
{
	struct bytes text = text_or_empty(&collected->text), mailbox;

	mailbox = bytes_take(&text, collected->at == NO_AT ? text.len : collected->at);
	append_dotted(mailbox, &reader->mailbox);
	if (text.len > 0) {
		bytes_skip(&text, 1);
		append_dotted(text, &reader->host);
	}
}

/* "<@a,@b:c@d>", which the rest begins with. */
static void take_angle(struct mime_address_reader *reader, struct collected *collected)
{
	bytes_skip(&reader->rest, 1);
	mime_skip_cfws(&reader->rest, NULL);
	if (bytes_peek(reader->rest) == '@') {
		collect(&reader->rest, ":>;", NULL, collected);
		append_dotted(buffer_bytes(&collected->text), &reader->route);
		if (collected->stop == ':')
			bytes_skip(&reader->rest, 1);
	}
	collect(&reader->rest, ">,;", NULL, collected);
	address_split(reader, collected);
	if (collected->stop == '>')
		bytes_skip(&reader->rest, 1);
	/* What stands behind can only be a comment. */
	collect(&reader->rest, ",;", &reader->comment, collected);
}

static struct bytes text_or_none(const struct buffer *text)
{
	return text->len > 0 ? buffer_bytes(text) : bytes_of(NULL, 0);
}

static void address_finish(struct mime_address_reader *reader, struct mime_address *address_r)
{
	address_r->kind = MIME_ADDRESS;
	address_r->name = text_or_none(reader->name.len > 0 ? &reader->name : &reader->comment);
	address_r->route = text_or_none(&reader->route);
	address_r->mailbox = text_or_empty(&reader->mailbox);
	address_r->host = text_or_empty(&reader->host);
}

/* One element up to its stop; true if it was an address or the start of a group. */
static bool element_take(struct mime_address_reader *reader, struct collected *collected,
	struct mime_address *address_r)
{
	collect(&reader->rest, reader->is_in_group ? "<,;" : "<,;:", &reader->comment, collected);
	if (collected->stop == ':') {
		bytes_skip(&reader->rest, 1);
		buffer_append_bytes(&reader->name, buffer_bytes(&collected->text));
		*address_r = (struct mime_address){ .kind = MIME_ADDRESS_GROUP };
		address_r->name = text_or_empty(&reader->name);
		reader->is_in_group = true;
		return true;
	}
	if (collected->stop == '<') {
		buffer_append_bytes(&reader->name, buffer_bytes(&collected->text));
		take_angle(reader, collected);
	} else if (collected->has_words) {
		address_split(reader, collected);
	} else {
		return false;
	}
	address_finish(reader, address_r);
	return true;
}

static bool group_end(struct mime_address_reader *reader, struct mime_address *address_r)
{
	reader->is_in_group = false;
	*address_r = (struct mime_address){ .kind = MIME_ADDRESS_GROUP_END };
	return true;
}

bool mime_address_next(struct mime_address_reader *reader, struct mime_address *address_r)
{
	struct collected collected = { 0 };
	bool found = false;

	buffer_clear(&reader->name);
	buffer_clear(&reader->comment);
	buffer_clear(&reader->mailbox);
	buffer_clear(&reader->route);
	buffer_clear(&reader->host);
	while (!found && reader->rest.len > 0) {
		int byte = bytes_peek(reader->rest);

		if (byte == ';' || byte == ',') {
			bytes_skip(&reader->rest, 1);
			found = byte == ';' && reader->is_in_group && group_end(reader, address_r);
			continue;
		}
		buffer_clear(&reader->comment);
		found = element_take(reader, &collected, address_r);
	}
	if (!found && reader->is_in_group)
		found = group_end(reader, address_r);
	buffer_deinit(&collected.text);
	return found;
}
