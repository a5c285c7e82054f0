/* Texts, addresses and parameters with UTF-8 in ASCII (RFC 2047, RFC 2231, RFC 6858). */
#include "base/encode.h"
#include "mail/mime_address.h"
#include "mail/mime_charset.h"
#include "mail/mime_downgrade_private.h"
#include "mail/mime_envelope.h"
#include "mail/mime_header.h"
#include "mail/mime_text.h"

#include <ctype.h>
#include <unicode/uidna.h>

#define LINE_SIZE_MAX 76         /* of lines with encoded words (RFC 2047, 2), where possible */
#define ENCODED_TEXT_SIZE_MAX 52 /* of an encoded word, so that "Subject: " fits before it */
#define ENCODED_WORD_EXTRA 12    /* "=?utf-8?q?" and "?=" */
#define PIECE_SIZE_MAX 900       /* of a parameter's value in a line, which has up to 998 */
#define DOMAIN_SIZE_MAX 255      /* bytes, in either form */
#define INVALID_ADDRESS "<invalid@internationalized-address.invalid>"

bool mime_is_ascii(struct bytes text)
{
	return bytes_ascii_len(text) == text.len;
}

/* A blank, after the end of a line if what follows would not fit in. */
static void fold(struct buffer *out, size_t next_size, const char *line_end)
{
	size_t size = 0;

	while (size < out->len && size < LINE_SIZE_MAX && out->data[out->len - size - 1] != '\n')
		size++;
	if (size + 1 + next_size > LINE_SIZE_MAX)
		buffer_append_string(out, line_end);
	buffer_append_byte(out, ' ');
}

/* Words with blanks before them. */
static void folded_append(struct bytes text, const char *line_end, struct buffer *out)
{
	for (text = mime_trim(text); text.len > 0; text = mime_trim(text)) {
		size_t size = 0;

		while (size < text.len && !mime_is_space(text.ptr[size]))
			size++;
		fold(out, size, line_end);
		buffer_append_bytes(out, bytes_take(&text, size));
	}
}

/* ---- encoded words ---- */

/* What "Q" leaves as it is in phrases, too (RFC 2047, 5). */
static bool is_plain(int byte)
{
	return byte == ' ' || (byte < 0x80 && (isalnum(byte) || strchr("!*+-/", byte) != NULL));
}

/* One character, or an octet that is part of none. */
static struct bytes take_character(struct bytes *text)
{
	struct bytes before = *text;

	mime_utf8_take(text);
	return bytes_of(before.ptr, before.len - text->len);
}

static void q_append(struct bytes text, struct buffer *out)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == ' ')
			buffer_append_byte(out, '_');
		else if (is_plain(text.ptr[i]) && text.ptr[i] != '\0')
			buffer_append_byte(out, text.ptr[i]);
		else
			buffer_printf(out, "=%02X", text.ptr[i]);
	}
}

static size_t q_size(struct bytes text)
{
	size_t size = 0;

	for (size_t i = 0; i < text.len; i++)
		size += is_plain(text.ptr[i]) && text.ptr[i] != '\0' ? 1 : 3;
	return size;
}

/* Of the first word; an estimate. */
static size_t encoded_size(struct bytes text)
{
	size_t size = q_size(text);

	return ENCODED_WORD_EXTRA + (size < ENCODED_TEXT_SIZE_MAX ? size : ENCODED_TEXT_SIZE_MAX);
}

/* Words of whole characters, as many as it takes, one in a line. */
static void words_append(struct bytes text, const char *line_end, struct buffer *out)
{
	/* "Q" can be read with some accents in it, and is shorter then. */
	bool is_base64 = q_size(text) > 2 * text.len + 8;

	while (text.len > 0) {
		struct bytes piece = bytes_of(text.ptr, 0);
		size_t size = 0;

		for (struct bytes rest = text; rest.len > 0;) {
			struct bytes character = take_character(&rest);

			size = is_base64 ? (piece.len + character.len + 2) / 3 * 4
					 : size + q_size(character);
			if (size > ENCODED_TEXT_SIZE_MAX)
				break;
			piece.len += character.len;
		}
		bytes_skip(&text, piece.len);
		buffer_append_string(out, is_base64 ? "=?utf-8?b?" : "=?utf-8?q?");
		if (is_base64)
			encode_base64(out, piece);
		else
			q_append(piece, out);
		buffer_append_string(out, "?=");
		if (text.len > 0)
			buffer_printf(out, "%s ", line_end);
	}
}

/*
 * From the first word that is not ASCII to the last; what is before and behind stays, such as "Re:"
 * or the "<id>" of List-Id.
 */
bool mime_downgrade_text(struct bytes value, const char *line_end, struct buffer *out)
{
	struct buffer line = { 0 };
	struct bytes text;
	size_t first = 0, last = 0, end;

	mime_unfold(value, &line);
	text = buffer_bytes(&line);
	for (size_t i = text.len; i > 0; i--) {
		if (text.ptr[i - 1] >= 0x80) {
			last = last == 0 ? i : last;
			first = i - 1;
		}
	}
	while (first > 0 && !mime_is_space(text.ptr[first - 1]))
		first--;
	for (end = last; end < text.len && !mime_is_space(text.ptr[end]); end++)
		;
	folded_append(bytes_of(text.ptr, first), line_end, out);
	text = bytes_of(text.ptr + first, text.len - first);
	fold(out, first == 0 ? 0 : encoded_size(bytes_of(text.ptr, end - first)), line_end);
	words_append(bytes_take(&text, end - first), line_end, out);
	folded_append(text, line_end, out);
	buffer_deinit(&line);
	return true;
}

/* ---- addresses ---- */

static bool is_atom_byte(int byte)
{
	return byte > ' ' && byte < 0x7f && strchr("()<>[]:;@\\,.\"", byte) == NULL;
}

static bool is_made_of_atoms(struct bytes text, int between)
{
	for (size_t i = 0; i < text.len; i++) {
		bool is_inside = i > 0 && i + 1 < text.len && text.ptr[i - 1] != between;

		if (!is_atom_byte(text.ptr[i]) && !(text.ptr[i] == between && is_inside))
			return false;
	}
	return text.len > 0;
}

static void quoted_append(struct bytes text, struct buffer *out)
{
	buffer_append_byte(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		bool is_control = text.ptr[i] < ' ' || text.ptr[i] == 0x7f;

		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			buffer_append_byte(out, '\\');
		buffer_append_byte(out, is_control ? ' ' : text.ptr[i]);
	}
	buffer_append_byte(out, '"');
}

/* Encoded words that are there already are taken with the rest, as words cannot be nested. */
void mime_downgrade_phrase(struct bytes text, const char *line_end, struct buffer *out)
{
	struct buffer decoded = { 0 };

	if (mime_is_ascii(text)) {
		if (is_made_of_atoms(text, ' '))
			buffer_append_bytes(out, text);
		else if (text.len > 0)
			quoted_append(text, out);
		return;
	}
	mime_header_decode(text, &decoded);
	words_append(buffer_bytes(&decoded), line_end, out);
	buffer_deinit(&decoded);
}

/* The domain in A-labels; false if it has none. */
static bool domain_append(struct bytes domain, struct buffer *out)
{
	UIDNAInfo info = UIDNA_INFO_INITIALIZER;
	UErrorCode status = U_ZERO_ERROR;
	char ascii[DOMAIN_SIZE_MAX + 1];
	int32_t size = -1;
	UIDNA *idna;

	if (mime_is_ascii(domain)) {
		buffer_append_bytes(out, domain);
		return true;
	}
	if (domain.len > DOMAIN_SIZE_MAX)
		return false;
	idna = uidna_openUTS46(UIDNA_CHECK_BIDI | UIDNA_CHECK_CONTEXTJ |
				       UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_USE_STD3_RULES,
		&status);
	if (U_SUCCESS(status))
		size = uidna_nameToASCII_UTF8(idna, (const char *)domain.ptr, (int32_t)domain.len,
			ascii, sizeof(ascii), &info, &status);
	uidna_close(idna);
	if (U_FAILURE(status) || info.errors != 0 || size <= 0 || size > DOMAIN_SIZE_MAX)
		return false;
	buffer_append(out, ascii, (size_t)size);
	return true;
}

/* "<local@domain>"; false if it cannot be said in ASCII. */
static bool angle_append(const struct mime_address *address, struct buffer *out)
{
	size_t before = out->len;

	if (!mime_is_ascii(address->mailbox))
		return false;
	buffer_append_byte(out, '<');
	if (is_made_of_atoms(address->mailbox, '.'))
		buffer_append_bytes(out, address->mailbox);
	else if (address->mailbox.len > 0 || address->host.len > 0)
		quoted_append(address->mailbox, out);
	if (address->host.len > 0)
		buffer_append_byte(out, '@');
	if (!domain_append(address->host, out)) {
		buffer_truncate(out, before);
		return false;
	}
	buffer_append_byte(out, '>');
	return true;
}

/* Whose address cannot be said is told by name; without a name the address is that. */
static void address_append(const struct mime_address *address, bool with_names,
	const char *line_end, struct buffer *out)
{
	struct buffer angle = { 0 }, name = { 0 };

	if (address->name.len > 0)
		buffer_append_bytes(&name, address->name);
	if (!angle_append(address, &angle)) {
		buffer_append_string(&angle, INVALID_ADDRESS);
		if (name.len == 0) {
			buffer_append_bytes(&name, address->mailbox);
			buffer_append_string(&name, address->host.len > 0 ? "@" : "");
			buffer_append_bytes(&name, address->host);
		}
	}
	if (with_names && name.len > 0) {
		mime_downgrade_phrase(buffer_bytes(&name), line_end, out);
		fold(out, angle.len, line_end);
	}
	buffer_append_bytes(out, buffer_bytes(&angle));
	buffer_deinit(&angle);
	buffer_deinit(&name);
}

bool mime_downgrade_addresses(
	struct bytes value, bool with_names, const char *line_end, struct buffer *out)
{
	struct mime_address_reader reader;
	struct mime_address address;
	size_t count = 0;
	bool is_first = true; /* of the field, or of the group */

	mime_address_init(&reader, value);
	while (count < MIME_ADDRESSES_MAX && mime_address_next(&reader, &address)) {
		if (address.kind == MIME_ADDRESS_GROUP_END) {
			buffer_append_byte(out, ';');
			is_first = false;
			continue;
		}
		if (is_first)
			buffer_append_byte(out, ' ');
		else
			buffer_printf(out, ",%s ", line_end);
		is_first = address.kind == MIME_ADDRESS_GROUP;
		count++;
		if (address.kind == MIME_ADDRESS) {
			address_append(&address, with_names, line_end, out);
			continue;
		}
		mime_downgrade_phrase(address.name, line_end, out);
		buffer_append_byte(out, ':');
	}
	if (reader.is_in_group)
		buffer_append_byte(out, ';');
	mime_address_deinit(&reader);
	return count > 0;
}

/* ---- parameters ---- */

static bool is_token(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		int byte = text.ptr[i];

		if (byte <= ' ' || byte >= 0x7f || strchr("()<>@,;:\\\"/[]?=", byte) != NULL)
			return false;
	}
	return text.len > 0;
}

static void percent_append(struct bytes text, struct buffer *out)
{
	for (size_t i = 0; i < text.len; i++) {
		int byte = text.ptr[i];

		if (byte > 0 && byte < 0x80 && (isalnum(byte) || strchr("-._", byte) != NULL))
			buffer_append_byte(out, byte);
		else
			buffer_printf(out, "%%%02X", byte);
	}
}

/* "name*=utf-8''value", or "name*0*=utf-8''val", "name*1*=ue" (RFC 2231, 4.1). */
static void extended_append(
	struct bytes name, struct bytes value, const char *line_end, struct buffer *out)
{
	size_t piece_size = PIECE_SIZE_MAX / 3;
	bool is_whole = value.len <= piece_size;

	for (unsigned number = 0; number == 0 || value.len > 0; number++) {
		size_t size = value.len < piece_size ? value.len : piece_size;

		buffer_printf(out, ";%s %.*s*", line_end, BYTES_ARGS(name));
		if (!is_whole)
			buffer_printf(out, "%u*", number);
		buffer_append_string(out, number == 0 ? "=utf-8''" : "=");
		percent_append(bytes_take(&value, size), out);
	}
}

void mime_downgrade_params(const struct mime_param *param, const char *line_end, struct buffer *out)
{
	for (; param != NULL; param = param->next) {
		struct buffer line = { 0 };

		mime_unfold(param->value, &line);
		if (is_token(param->name) && mime_is_ascii(buffer_bytes(&line))) {
			buffer_printf(out, ";%s %.*s=", line_end, BYTES_ARGS(param->name));
			if (is_token(buffer_bytes(&line)))
				buffer_append_bytes(out, buffer_bytes(&line));
			else
				quoted_append(buffer_bytes(&line), out);
		} else if (is_token(param->name)) {
			/* Its own asterisks would say what is not so. */
			extended_append(bytes_of(param->name.ptr, bytes_find(param->name, '*')),
				buffer_bytes(&line), line_end, out);
		}
		buffer_deinit(&line);
	}
}
