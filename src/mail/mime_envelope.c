#include "mail/mime_envelope.h"

#include "mail/mime_address.h"
#include "mail/mime_header.h"

#define QUOTED_SIZE_MAX                                                                            \
	4096 /* bytes; longer strings are literals, for clients with short lines                   \
	      */

static bool needs_literal(struct bytes value)
{
	size_t i;

	for (i = 0; i < value.len; i++) {
		if (value.ptr[i] >= 0x80)
			return true;
	}
	return value.len > QUOTED_SIZE_MAX;
}

static void quoted_write(struct bytes value, struct buffer *out)
{
	size_t i;

	buffer_append_byte(out, '"');
	for (i = 0; i < value.len; i++) {
		if (value.ptr[i] == '"' || value.ptr[i] == '\\')
			buffer_append_byte(out, '\\');
		buffer_append_byte(out, value.ptr[i]);
	}
	buffer_append_byte(out, '"');
}

void mime_nstring_write(struct bytes value, struct buffer *out)
{
	struct buffer line = { 0 };
	size_t i;

	if (value.ptr == NULL) {
		buffer_append_string(out, "NIL");
		return;
	}
	mime_unfold(value, &line);
	for (i = 0; i < line.len; i++) {
		if (line.data[i] == '\0')
			line.data[i] = '?';
		else if (line.data[i] == '\r')
			line.data[i] = ' ';
	}
	if (needs_literal(buffer_bytes(&line))) {
		buffer_printf(out, "{%zu}\r\n", line.len);
		buffer_append_bytes(out, buffer_bytes(&line));
	} else {
		quoted_write(buffer_bytes(&line), out);
	}
	buffer_deinit(&line);
}

static void address_write(const struct mime_address *address, struct buffer *out)
{
	const struct bytes none = { NULL, 0 };

	buffer_append_byte(out, '(');
	mime_nstring_write(address->kind == MIME_ADDRESS ? address->name : none, out);
	buffer_append_byte(out, ' ');
	mime_nstring_write(address->route, out);
	buffer_append_byte(out, ' ');
	mime_nstring_write(address->kind == MIME_ADDRESS ? address->mailbox : address->name, out);
	buffer_append_byte(out, ' ');
	mime_nstring_write(address->host, out);
	buffer_append_byte(out, ')');
}

/* Appends the addresses without the outer parentheses. */
static void addresses_append(struct bytes value, struct buffer *out)
{
	struct mime_address_reader reader;
	struct mime_address address;
	bool is_in_group = false;
	size_t count = 0;

	mime_address_init(&reader, value);
	while (count++ < MIME_ADDRESSES_MAX && mime_address_next(&reader, &address)) {
		address_write(&address, out);
		if (address.kind != MIME_ADDRESS)
			is_in_group = address.kind == MIME_ADDRESS_GROUP;
	}
	if (is_in_group)
		address_write(&(struct mime_address){ .kind = MIME_ADDRESS_GROUP_END }, out);
	mime_address_deinit(&reader);
}

static void list_write(struct bytes addresses, struct buffer *out)
{
	if (addresses.len == 0) {
		buffer_append_string(out, "NIL");
		return;
	}
	buffer_append_byte(out, '(');
	buffer_append_bytes(out, addresses);
	buffer_append_byte(out, ')');
}

void mime_addresses_write(struct bytes value, struct buffer *out)
{
	struct buffer addresses = { 0 };

	addresses_append(value, &addresses);
	list_write(buffer_bytes(&addresses), out);
	buffer_deinit(&addresses);
}

enum { DATE, SUBJECT, IN_REPLY_TO, MESSAGE_ID, TEXT_COUNT };
enum { FROM, SENDER, REPLY_TO, TO, CC, BCC, LIST_COUNT };

static const char *const text_names[TEXT_COUNT] = { "date", "subject", "in-reply-to",
	"message-id" };
static const char *const list_names[LIST_COUNT] = { "from", "sender", "reply-to", "to", "cc",
	"bcc" };

struct envelope {
	struct bytes texts[TEXT_COUNT];
	struct buffer lists[LIST_COUNT];
};

static struct bytes cut(struct bytes value, size_t size_max)
{
	if (value.len > size_max)
		value.len = size_max;
	return value;
}

static void envelope_take(struct envelope *envelope, const struct mime_field *field)
{
	int i;

	for (i = 0; i < TEXT_COUNT; i++) {
		if (envelope->texts[i].ptr == NULL &&
			bytes_equal_string_nocase(field->name, text_names[i]))
			envelope->texts[i] = cut(field->value, MIME_ENVELOPE_TEXT_SIZE_MAX);
	}
	for (i = 0; i < LIST_COUNT; i++) {
		if (bytes_equal_string_nocase(field->name, list_names[i]) &&
			envelope->lists[i].len < MIME_ENVELOPE_LIST_SIZE_MAX)
			addresses_append(cut(field->value, MIME_ENVELOPE_LIST_SIZE_MAX),
				&envelope->lists[i]);
	}
}

void mime_envelope_write(struct bytes header, struct buffer *out)
{
	struct envelope envelope = { 0 };
	struct mime_field field;
	int i;

	while (mime_field_next(&header, &field))
		envelope_take(&envelope, &field);
	buffer_append_byte(out, '(');
	mime_nstring_write(envelope.texts[DATE], out);
	buffer_append_byte(out, ' ');
	mime_nstring_write(envelope.texts[SUBJECT], out);
	for (i = 0; i < LIST_COUNT; i++) {
		bool is_default = (i == SENDER || i == REPLY_TO) && envelope.lists[i].len == 0;

		buffer_append_byte(out, ' ');
		list_write(buffer_bytes(&envelope.lists[is_default ? FROM : i]), out);
	}
	buffer_append_byte(out, ' ');
	mime_nstring_write(envelope.texts[IN_REPLY_TO], out);
	buffer_append_byte(out, ' ');
	mime_nstring_write(envelope.texts[MESSAGE_ID], out);
	buffer_append_byte(out, ')');
	for (i = 0; i < LIST_COUNT; i++)
		buffer_deinit(&envelope.lists[i]);
}
