#include "mail/mime_sort.h"

#include "base/error.h"
#include "base/pack.h"
#include "mail/mime_address.h"
#include "mail/mime_charset.h"
#include "mail/mime_header.h"
#include "mail/mime_structure.h"
#include "mail/mime_subject.h"
#include "mail/mime_text.h"

#define SORT_IS_REPLY 1
#define SORT_HAS_ID 2
#define REFERENCE_SIZE 16

/* ---- message ids ---- */

/* The text up to `stop`, unquoted, without comments and white space. False if it is not there. */
static bool take_id_part(struct bytes *in, int stop, struct buffer *out)
{
	size_t before = out->len;

	while (in->len > 0) {
		int byte;

		mime_skip_cfws(in, NULL);
		byte = bytes_peek(*in);
		if (byte == stop) {
			bytes_skip(in, 1);
			return out->len > before;
		}
		if (byte < 0 || byte == '<' || byte == '>')
			return false;
		if (byte == '"') {
			mime_take_quoted(in, out);
			continue;
		}
		buffer_append_byte(out, byte);
		bytes_skip(in, 1);
	}
	return false;
}

bool mime_message_id_next(struct bytes *in, struct buffer *out)
{
	size_t before = out->len;

	while (in->len > 0) {
		bytes_skip(in, bytes_find(*in, '<'));
		if (in->len == 0)
			break;
		bytes_skip(in, 1);
		if (take_id_part(in, '@', out)) {
			buffer_append_byte(out, '@');
			if (take_id_part(in, '>', out))
				return true;
		}
		buffer_truncate(out, before);
	}
	return false;
}

static bool take_id(struct bytes *in, struct digest *digest_r)
{
	struct buffer id = { 0 };
	bool found = mime_message_id_next(in, &id);

	if (found)
		*digest_r = digest_of(buffer_bytes(&id));
	buffer_deinit(&id);
	return found;
}

static void pack_id(struct digest id, struct buffer *out)
{
	pack_u64(out, id.high);
	pack_u64(out, id.low);
}

/* The first and the last ones of a long chain: its root, and those that are likely to be there. */
static void references_collect(struct bytes value, struct buffer *out)
{
	const size_t size_max = (size_t)MIME_REFERENCE_COUNT_MAX * REFERENCE_SIZE;
	struct digest id;

	while (take_id(&value, &id)) {
		pack_id(id, out);
		if (out->len <= size_max)
			continue;
		memmove(out->data + REFERENCE_SIZE, out->data + (size_t)2 * REFERENCE_SIZE,
			out->len - (size_t)2 * REFERENCE_SIZE);
		buffer_truncate(out, out->len - REFERENCE_SIZE);
	}
}

/* ---- texts ---- */

/* As it is compared: NUL ends texts in sort keys, so there is none. */
static void text_finish(struct buffer *text, bool is_decoded, struct buffer *out)
{
	if (is_decoded) {
		mime_casemap(buffer_bytes(text), out);
	} else if (text->len > 0) {
		buffer_append_byte(out, MIME_SORT_OCTETS);
		buffer_append_bytes(out, buffer_bytes(text));
	}
	for (size_t i = 0; i < out->len; i++) {
		if (out->data[i] == '\0')
			out->data[i] = ' ';
	}
	if (out->len > MIME_SORT_TEXT_SIZE_MAX)
		buffer_truncate(out, MIME_SORT_TEXT_SIZE_MAX);
}

static void pack_text(struct buffer *text, bool is_decoded, struct buffer *out)
{
	struct buffer finished = { 0 };

	text_finish(text, is_decoded, &finished);
	pack_bytes(out, buffer_bytes(&finished));
	buffer_deinit(&finished);
}

/* The first address's local part and what is displayed of it; a group counts with its name. False
 * if that is octets. */
static bool address_read(struct bytes value, struct buffer *mailbox, struct buffer *display)
{
	struct mime_address_reader reader;
	struct mime_address address;
	bool is_decoded = true;

	mime_address_init(&reader, value);
	if (mime_address_next(&reader, &address)) {
		bool is_group = address.kind == MIME_ADDRESS_GROUP;

		mime_guess_utf8(is_group ? address.name : address.mailbox, mailbox);
		if (address.name.len > 0)
			is_decoded = mime_header_decode_strictly(address.name, display);
		if (display->len == 0 && !is_group) {
			mime_guess_utf8(address.mailbox, display);
			buffer_append_byte(display, '@');
			mime_guess_utf8(address.host, display);
		}
	}
	mime_address_deinit(&reader);
	return is_decoded;
}

static void pack_address(struct bytes value, bool with_display, struct buffer *out)
{
	struct buffer mailbox = { 0 }, display = { 0 };
	bool is_decoded = true;

	if (value.len > 0)
		is_decoded = address_read(value, &mailbox, &display);
	pack_text(&mailbox, true, out);
	if (with_display)
		pack_text(&display, is_decoded, out);
	buffer_deinit(&mailbox);
	buffer_deinit(&display);
}

/* ---- the whole ---- */

enum {
	FIELD_SUBJECT,
	FIELD_FROM,
	FIELD_TO,
	FIELD_CC,
	FIELD_ID,
	FIELD_REFERENCES,
	FIELD_IN_REPLY_TO,
	FIELD_COUNT
};

/* The first of each field counts, as in ENVELOPE. */
static void fields_find(struct bytes header, struct bytes values[FIELD_COUNT])
{
	static const char *const names[FIELD_COUNT] = { "subject", "from", "to", "cc", "message-id",
		"references", "in-reply-to" };
	struct mime_field field;

	while (mime_field_next(&header, &field)) {
		for (int i = 0; i < FIELD_COUNT; i++) {
			if (values[i].ptr != NULL ||
				!bytes_equal_string_nocase(field.name, names[i]))
				continue;
			values[i] = field.value;
			if (values[i].len > MIME_FIELD_SIZE_MAX)
				values[i].len = MIME_FIELD_SIZE_MAX;
		}
	}
}

void mime_sort_make(struct bytes header, struct buffer *out)
{
	struct bytes values[FIELD_COUNT] = { { NULL, 0 } };
	struct buffer subject = { 0 }, references = { 0 };
	struct mime_subject_kind kind;
	struct digest id;
	bool has_id;

	fields_find(header, values);
	kind = mime_base_subject(values[FIELD_SUBJECT], &subject);
	has_id = take_id(&values[FIELD_ID], &id);
	references_collect(values[FIELD_REFERENCES], &references);
	if (references.len == 0) {
		struct digest parent;

		if (take_id(&values[FIELD_IN_REPLY_TO], &parent))
			pack_id(parent, &references);
	}
	pack_u8(out, (uint8_t)((kind.is_reply ? SORT_IS_REPLY : 0) | (has_id ? SORT_HAS_ID : 0)));
	pack_text(&subject, kind.is_decoded, out);
	pack_address(values[FIELD_FROM], true, out);
	pack_address(values[FIELD_TO], true, out);
	pack_address(values[FIELD_CC], false, out);
	if (has_id)
		pack_id(id, out);
	pack_bytes(out, buffer_bytes(&references));
	buffer_deinit(&subject);
	buffer_deinit(&references);
}

static int unpack_id(struct bytes *in, struct digest *id_r)
{
	return unpack_u64(in, &id_r->high) < 0 || unpack_u64(in, &id_r->low) < 0 ? ERR_CORRUPT : 0;
}

int mime_sort_open(struct bytes blob, struct mime_sort *sort_r)
{
	struct mime_sort sort = { 0 };
	uint8_t flags;

	if (unpack_u8(&blob, &flags) < 0 || (flags & ~(SORT_IS_REPLY | SORT_HAS_ID)) != 0 ||
		unpack_bytes(&blob, &sort.subject) < 0 || unpack_bytes(&blob, &sort.from) < 0 ||
		unpack_bytes(&blob, &sort.display_from) < 0 || unpack_bytes(&blob, &sort.to) < 0 ||
		unpack_bytes(&blob, &sort.display_to) < 0 || unpack_bytes(&blob, &sort.cc) < 0)
		return ERR_CORRUPT;
	sort.is_reply = (flags & SORT_IS_REPLY) != 0;
	sort.has_message_id = (flags & SORT_HAS_ID) != 0;
	if (sort.has_message_id && unpack_id(&blob, &sort.message_id) < 0)
		return ERR_CORRUPT;
	if (unpack_bytes(&blob, &sort.references) < 0 || blob.len > 0 ||
		sort.references.len % REFERENCE_SIZE != 0)
		return ERR_CORRUPT;
	sort.reference_count = sort.references.len / REFERENCE_SIZE;
	*sort_r = sort;
	return 0;
}

struct digest mime_sort_reference(const struct mime_sort *sort, size_t index)
{
	const unsigned char *at = sort->references.ptr + index * REFERENCE_SIZE;

	assert(index < sort->reference_count);
	return (struct digest){ get_u64(at), get_u64(at + 8) };
}
