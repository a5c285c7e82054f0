/* Parameter values in other charsets and in pieces (RFC 2231, 3 and 4), as text. */
#include "mail/mime_text.h"

#include "mail/mime_charset.h"
#include "mail/mime_params.h"

#include <ctype.h>

#define PIECE_COUNT_MAX 1000 /* of one value */

struct piece {
	struct bytes base; /* the parameter's name without asterisks */
	int number;        /* of "*0", "*1" ...; -1: there is none */
	bool is_extended;  /* percent-encoded */
};

static struct piece piece_of(const struct mime_param *param)
{
	size_t star = bytes_find(param->name, '*');
	struct piece piece = { bytes_of(param->name.ptr, star), -1, false };
	struct bytes rest = bytes_of(param->name.ptr + star, param->name.len - star);

	if (rest.len > 1 && isdigit(rest.ptr[1])) {
		bytes_skip(&rest, 1);
		for (piece.number = 0; isdigit(bytes_peek(rest)) && piece.number < PIECE_COUNT_MAX;
			bytes_skip(&rest, 1))
			piece.number = piece.number * 10 + rest.ptr[0] - '0';
	}
	piece.is_extended = bytes_peek(rest) == '*';
	return piece;
}

static int hex_digit(int byte)
{
	if (isdigit(byte))
		return byte - '0';
	byte |= 0x20;
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static void percent_decode(struct bytes text, struct buffer *out)
{
	while (text.len > 0) {
		int high = text.len > 2 ? hex_digit(text.ptr[1]) : -1;
		int low = text.len > 2 ? hex_digit(text.ptr[2]) : -1;

		if (text.ptr[0] == '%' && high >= 0 && low >= 0) {
			buffer_append_byte(out, high << 4 | low);
			bytes_skip(&text, 3);
			continue;
		}
		buffer_append_byte(out, text.ptr[0]);
		bytes_skip(&text, 1);
	}
}

/* "charset'language'" off the front of the first piece. */
static struct bytes take_charset(struct bytes *value)
{
	size_t first = bytes_find(*value, '\''), second;
	struct bytes charset = bytes_of(value->ptr, first), rest = *value;

	if (first == value->len)
		return bytes_of(NULL, 0);
	bytes_skip(&rest, first + 1);
	second = bytes_find(rest, '\'');
	if (second == rest.len)
		return bytes_of(NULL, 0);
	bytes_skip(&rest, second + 1);
	*value = rest;
	return charset;
}

/* The parameter that is piece `number` of `base`; NULL: there is none. */
static const struct mime_param *piece_find(
	const struct mime_param *params, struct bytes base, int number)
{
	for (const struct mime_param *param = params; param != NULL; param = param->next) {
		struct piece piece = piece_of(param);

		if (piece.number == number && (piece.number >= 0 || piece.is_extended) &&
			bytes_equal_nocase(piece.base, base))
			return param;
	}
	return NULL;
}

static void value_append(
	const struct mime_param *params, const struct mime_param *first, struct buffer *out)
{
	struct bytes charset = { NULL, 0 }, base = piece_of(first).base;
	const struct mime_param *param = first;
	struct buffer octets = { 0 };

	for (int number = piece_of(first).number; param != NULL && number < PIECE_COUNT_MAX;
		param = number >= 0 ? piece_find(params, base, ++number) : NULL) {
		struct bytes value = param->value;

		if (!piece_of(param).is_extended) {
			buffer_append_bytes(&octets, value);
			continue;
		}
		if (param == first)
			charset = take_charset(&value);
		percent_decode(value, &octets);
	}
	buffer_append_string(out, "; ");
	buffer_append_bytes(out, base);
	buffer_append_byte(out, '=');
	if (mime_to_utf8(buffer_bytes(&octets), charset, out) < 0)
		mime_guess_utf8(buffer_bytes(&octets), out);
	buffer_deinit(&octets);
}

void mime_params_decode(struct bytes value, struct buffer *out)
{
	struct arena *arena = arena_new();
	struct mime_param *params;

	if (value.len > MIME_FIELD_SIZE_MAX)
		value.len = MIME_FIELD_SIZE_MAX;
	/* A disposition is a token and parameters; so is a type, but for its slash. */
	while (value.len > 0 && value.ptr[0] != ';')
		bytes_skip(&value, 1);
	(void)mime_disposition_parse(value, arena, &params);
	for (const struct mime_param *param = params; param != NULL; param = param->next) {
		struct piece piece = piece_of(param);

		if ((piece.number == 0 || (piece.number < 0 && piece.is_extended)) &&
			piece_find(params, piece.base, piece.number) == param)
			value_append(params, param, out);
	}
	arena_free(&arena);
}
