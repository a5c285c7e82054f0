/*
 * Values of header fields: encoded words (RFC 2047), addresses, dates, parameters (RFC 2231) and
 * what ENVELOPE makes of them. What was understood is written down in its plainest form and read
 * again: the same must come out.
 */
#include "fuzz_check.h"

#include "mail/mime_address.h"
#include "mail/mime_charset.h"
#include "mail/mime_envelope.h"
#include "mail/mime_header.h"
#include "mail/mime_params.h"
#include "mail/mime_summary.h"
#include "mail/mime_text.h"
#include "mime_syntax.h"

#include <time.h>

#define INPUT_SIZE_MAX 8192

static bool contains(struct bytes text, const char *part)
{
	return text.len > 0 && memmem(text.ptr, text.len, part, strlen(part)) != NULL;
}

/* ---- encoded words ---- */

static void append_base64_word(struct bytes text, struct buffer *out)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	buffer_append_string(out, "=?UTF-8?B?");
	for (size_t i = 0; i < text.len; i += 3) {
		unsigned bits = 0;

		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < text.len ? text.ptr[i + k] : 0u);
		for (size_t k = 0; k < 4; k++)
			buffer_append_byte(
				out, i + k > text.len ? '=' : digits[bits >> (18 - 6 * k) & 0x3f]);
	}
	buffer_append_string(out, "?=");
}

static void append_q_word(struct bytes text, struct buffer *out)
{
	buffer_append_string(out, "=?utf-8*en?q?");
	for (size_t i = 0; i < text.len; i++)
		buffer_printf(out, "=%02X", text.ptr[i]);
	buffer_append_string(out, "?=");
}

static void check_decoding(struct bytes value)
{
	struct buffer text = { 0 }, unfolded = { 0 }, word = { 0 }, again = { 0 };

	mime_header_decode(value, &text);
	FUZZ_CHECK(mime_utf8_is_valid(buffer_bytes(&text)));
	mime_unfold(value, &unfolded);
	if (!contains(buffer_bytes(&unfolded), "=?") && mime_utf8_is_valid(buffer_bytes(&unfolded)))
		FUZZ_CHECK(bytes_equal(buffer_bytes(&text), buffer_bytes(&unfolded)));
	/* The decoded text as encoded words, split at any place, is decoded to itself. */
	if (text.len > 0 && !contains(buffer_bytes(&text), "\n") &&
		!contains(buffer_bytes(&text), "\r")) {
		struct bytes rest = buffer_bytes(&text);

		append_base64_word(bytes_take(&rest, text.len / 2), &word);
		buffer_append_string(&word, "\r\n ");
		append_base64_word(rest, &word);
		mime_header_decode(buffer_bytes(&word), &again);
		FUZZ_CHECK(bytes_equal(buffer_bytes(&again), buffer_bytes(&text)));
		buffer_clear(&word);
		buffer_clear(&again);
		append_q_word(buffer_bytes(&text), &word);
		mime_header_decode(buffer_bytes(&word), &again);
		FUZZ_CHECK(bytes_equal(buffer_bytes(&again), buffer_bytes(&text)));
	}
	buffer_deinit(&text);
	buffer_deinit(&unfolded);
	buffer_deinit(&word);
	buffer_deinit(&again);
}

/* ---- addresses ---- */

static void append_quoted(struct bytes text, struct buffer *out)
{
	buffer_append_byte(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			buffer_append_byte(out, '\\');
		buffer_append_byte(out, text.ptr[i]);
	}
	buffer_append_byte(out, '"');
}

/* Only what has a plain form: others are read leniently, and there is no way to write them. */
static bool is_plain(struct bytes text)
{
	if (text.len == 0)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		int byte = text.ptr[i];

		if (byte <= ' ' || byte >= 0x7f || strchr("()<>[]:;@\\,\"", byte) != NULL)
			return false;
	}
	return true;
}

static bool has_spaces_in_a_row(struct bytes text)
{
	if (mime_trim(text).len != text.len)
		return true;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < ' ')
			return true;
	}
	return contains(text, "  ");
}

static void check_address(const struct mime_address *address)
{
	struct mime_address_reader reader;
	struct mime_address again;
	struct buffer text = { 0 };

	if (!is_plain(address->mailbox) || !is_plain(address->host) ||
		has_spaces_in_a_row(address->name))
		return;
	if (address->name.len > 0)
		append_quoted(address->name, &text);
	buffer_printf(&text, " <%.*s@%.*s> (c), z@example.org", BYTES_ARGS(address->mailbox),
		BYTES_ARGS(address->host));
	mime_address_init(&reader, buffer_bytes(&text));
	FUZZ_CHECK(mime_address_next(&reader, &again) && again.kind == MIME_ADDRESS);
	FUZZ_CHECK(bytes_equal(again.mailbox, address->mailbox));
	FUZZ_CHECK(bytes_equal(again.host, address->host));
	FUZZ_CHECK(bytes_equal(
		again.name, address->name.len > 0 ? address->name : BYTES_LITERAL("c")));
	FUZZ_CHECK(mime_address_next(&reader, &again) && bytes_equal_string(again.mailbox, "z"));
	FUZZ_CHECK(!mime_address_next(&reader, &again));
	mime_address_deinit(&reader);
	buffer_deinit(&text);
}

static void check_addresses(struct bytes value)
{
	struct mime_address_reader reader;
	struct mime_address address;
	struct buffer list = { 0 }, text = { 0 };
	size_t before = value.len + 1;
	int group_depth = 0;

	mime_address_init(&reader, value);
	while (mime_address_next(&reader, &address)) {
		/* Each but the end of a group takes some of the input. */
		FUZZ_CHECK(address.kind == MIME_ADDRESS_GROUP_END || reader.rest.len < before);
		before = reader.rest.len;
		if (address.kind == MIME_ADDRESS)
			check_address(&address);
		group_depth += address.kind == MIME_ADDRESS_GROUP;
		group_depth -= address.kind == MIME_ADDRESS_GROUP_END;
		FUZZ_CHECK(group_depth == 0 || group_depth == 1);
	}
	FUZZ_CHECK(group_depth == 0 && reader.rest.len == 0);
	mime_address_deinit(&reader);
	mime_addresses_write(value, &list);
	buffer_printf(&text, "(NIL NIL NIL NIL NIL %.*s NIL NIL NIL NIL)",
		BYTES_ARGS(buffer_bytes(&list)));
	if (bytes_find(buffer_bytes(&list), '\0') == list.len)
		FUZZ_CHECK(mime_syntax_is_envelope(buffer_bytes(&text)));
	buffer_deinit(&list);
	buffer_deinit(&text);
}

/* ---- dates ---- */

static void check_date(struct bytes value)
{
	int64_t seconds, again;
	int32_t zone, zone_again;
	char text[64];
	struct tm tm;
	time_t local;

	if (mime_date_parse(value, &seconds, &zone) < 0)
		return;
	FUZZ_CHECK(zone % 60 == 0 && zone <= 24 * 3600 + 59 * 60 && zone >= -24 * 3600 - 59 * 60);
	local = (time_t)(seconds + zone);
	FUZZ_CHECK(gmtime_r(&local, &tm) != NULL);
	FUZZ_CHECK(timegm(&tm) == local && tm.tm_year >= 0 && tm.tm_year <= 9999 - 1900 + 1);
	if (tm.tm_year > 9999 - 1900)
		return; /* a leap second */
	strftime(text, sizeof(text), "%a, %d %b %Y %T", &tm);
	snprintf(text + strlen(text), 32, " %c%02d%02d", zone < 0 ? '-' : '+', abs(zone) / 3600,
		abs(zone) / 60 % 60);
	FUZZ_CHECK(mime_date_parse(bytes_of_string(text), &again, &zone_again) == 0);
	FUZZ_CHECK(again == seconds && zone_again == zone);
}

/* ---- parameters ---- */

static bool is_borrowed(struct bytes part, struct bytes whole)
{
	return part.len == 0 ||
	       (part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check_params(struct bytes value, struct arena *arena)
{
	struct mime_part part = { 0 }, again = { 0 };
	struct buffer text = { 0 };

	if (!mime_content_type_parse(value, arena, &part)) {
		FUZZ_CHECK(part.type.ptr == NULL && part.params == NULL);
		return;
	}
	FUZZ_CHECK(part.type.len > 0 && part.subtype.len > 0);
	FUZZ_CHECK(is_borrowed(part.type, value) && is_borrowed(part.subtype, value));
	buffer_append_bytes(&text, part.type);
	buffer_append_byte(&text, '/');
	buffer_append_bytes(&text, part.subtype);
	for (struct mime_param *param = part.params; param != NULL; param = param->next) {
		FUZZ_CHECK(is_borrowed(param->name, value) && param->name.len > 0);
		buffer_append_string(&text, "; ");
		buffer_append_bytes(&text, param->name);
		buffer_append_byte(&text, '=');
		append_quoted(param->value, &text);
	}
	FUZZ_CHECK(mime_content_type_parse(buffer_bytes(&text), arena, &again));
	FUZZ_CHECK(bytes_equal(again.type, part.type) && bytes_equal(again.subtype, part.subtype));
	for (struct mime_param *a = part.params, *b = again.params; a != NULL || b != NULL;
		a = a->next, b = b->next) {
		FUZZ_CHECK(a != NULL && b != NULL);
		FUZZ_CHECK(bytes_equal(a->name, b->name) && bytes_equal(a->value, b->value));
	}
	buffer_deinit(&text);
}

/* ---- all as fields ---- */

static void check_envelope(struct bytes value)
{
	static const char *const names[] = { "Subject", "From", "To", "Date", "Message-Id" };
	struct buffer header = { 0 }, envelope = { 0 };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		buffer_printf(&header, "%s: ", names[i]);
		buffer_append_bytes(&header, value);
		buffer_append_string(&header, "\r\n");
	}
	mime_envelope_write(buffer_bytes(&header), &envelope);
	FUZZ_CHECK(mime_syntax_is_envelope(buffer_bytes(&envelope)));
	buffer_deinit(&header);
	buffer_deinit(&envelope);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	struct bytes value = bytes_of(data, size);
	struct arena *arena;

	if (size > INPUT_SIZE_MAX)
		return 0;
	arena = arena_new();
	check_decoding(value);
	check_addresses(value);
	check_date(value);
	check_params(value, arena);
	check_envelope(value);
	arena_free(&arena);
	return 0;
}
