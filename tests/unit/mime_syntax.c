#include "mime_syntax.h"

static bool take(struct bytes *in, const char *text)
{
	size_t len = strlen(text);

	if (!bytes_start_with(*in, bytes_of(text, len)))
		return false;
	bytes_skip(in, len);
	return true;
}

static bool take_number(struct bytes *in)
{
	size_t before = in->len;

	while (bytes_peek(*in) >= '0' && bytes_peek(*in) <= '9')
		bytes_skip(in, 1);
	return in->len < before;
}

static bool take_quoted(struct bytes *in)
{
	while (in->len > 0) {
		int byte = bytes_take(in, 1).ptr[0];

		if (byte == '"')
			return true;
		if (byte == '\\' && bytes_peek(*in) != '"' && bytes_peek(*in) != '\\')
			return false;
		if (byte == '\\')
			bytes_skip(in, 1);
		if (byte == '\r' || byte == '\n' || byte == 0 || byte >= 0x80)
			return false;
	}
	return false;
}

static bool take_literal(struct bytes *in)
{
	size_t size = 0;

	while (bytes_peek(*in) >= '0' && bytes_peek(*in) <= '9' && size < in->len)
		size = size * 10 + (size_t)(bytes_take(in, 1).ptr[0] - '0');
	if (!take(in, "}\r\n") || size > in->len)
		return false;
	return bytes_find(bytes_take(in, size), 0) == size;
}

static bool take_string(struct bytes *in)
{
	if (take(in, "\""))
		return take_quoted(in);
	return take(in, "{") && take_literal(in);
}

static bool take_nstring(struct bytes *in)
{
	return take(in, "NIL") || take_string(in);
}

static bool take_address(struct bytes *in)
{
	return take(in, "(") && take_nstring(in) && take(in, " ") && take_nstring(in) &&
	       take(in, " ") && take_nstring(in) && take(in, " ") && take_nstring(in) &&
	       take(in, ")");
}

static bool take_addresses(struct bytes *in)
{
	if (take(in, "NIL"))
		return true;
	if (!take(in, "("))
		return false;
	do {
		if (!take_address(in))
			return false;
	} while (!take(in, ")"));
	return true;
}

static bool take_envelope(struct bytes *in)
{
	int i;

	if (!take(in, "(") || !take_nstring(in) || !take(in, " ") || !take_nstring(in))
		return false;
	for (i = 0; i < 6; i++) {
		if (!take(in, " ") || !take_addresses(in))
			return false;
	}
	return take(in, " ") && take_nstring(in) && take(in, " ") && take_nstring(in) &&
	       take(in, ")");
}

/* NIL or a list of strings; pairs of them if `pairs`. */
static bool take_strings(struct bytes *in, bool pairs)
{
	int count = 0;

	if (take(in, "NIL"))
		return true;
	if (!take(in, "("))
		return false;
	do {
		if (!take_string(in))
			return false;
		count++;
	} while (take(in, " "));
	return take(in, ")") && (!pairs || count % 2 == 0);
}

static bool take_disposition(struct bytes *in)
{
	if (take(in, "NIL"))
		return true;
	return take(in, "(") && take_string(in) && take(in, " ") && take_strings(in, true) &&
	       take(in, ")");
}

static bool take_extension(struct bytes *in)
{
	return take(in, " ") && take_disposition(in) && take(in, " ") && take_strings(in, false) &&
	       take(in, " ") && take_nstring(in);
}

static bool take_body(struct bytes *in, bool extended);

static bool take_multipart(struct bytes *in, bool extended)
{
	while (bytes_peek(*in) == '(') {
		if (!take_body(in, extended))
			return false;
	}
	if (!take(in, " ") || !take_string(in))
		return false;
	return !extended || (take(in, " ") && take_strings(in, true) && take_extension(in));
}

static bool is_string(struct bytes text, const char *quoted)
{
	return bytes_equal_string_nocase(text, quoted);
}

static bool take_single(struct bytes *in, bool extended)
{
	struct bytes type = *in, subtype;
	bool is_message;

	if (!take_string(in))
		return false;
	type.len -= in->len;
	if (!take(in, " "))
		return false;
	subtype = *in;
	if (!take_string(in))
		return false;
	subtype.len -= in->len;
	if (!take(in, " ") || !take_strings(in, true) || !take(in, " ") || !take_nstring(in) ||
		!take(in, " ") || !take_nstring(in) || !take(in, " ") || !take_string(in) ||
		!take(in, " ") || !take_number(in))
		return false;
	is_message = is_string(type, "\"message\"") &&
		     (is_string(subtype, "\"rfc822\"") || is_string(subtype, "\"global\""));
	if (is_message && !(take(in, " ") && take_envelope(in) && take(in, " ") &&
				  take_body(in, extended) && take(in, " ") && take_number(in)))
		return false;
	if (is_string(type, "\"text\"") && !(take(in, " ") && take_number(in)))
		return false;
	return !extended || (take(in, " ") && take_nstring(in) && take_extension(in));
}

static bool take_body(struct bytes *in, bool extended)
{
	if (!take(in, "("))
		return false;
	if (bytes_peek(*in) == '(' ? !take_multipart(in, extended) : !take_single(in, extended))
		return false;
	return take(in, ")");
}

bool mime_syntax_is_envelope(struct bytes text)
{
	return take_envelope(&text) && text.len == 0;
}

bool mime_syntax_is_body(struct bytes text, bool extended)
{
	return take_body(&text, extended) && text.len == 0;
}
