#include "lmtp/lmtp_private.h"

#include "mail/mime_charset.h"

/* atext (RFC 5322, section 3.2.3) and "."; with SMTPUTF8 all that is not ASCII (RFC 6531, 3.3). */
static bool is_atom_byte(int c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c >= 0x80 || (c > 0 && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

/* Letters, digits, "-", "." and, as is seen in the wild, "_"; or an address literal in brackets. */
static bool is_domain_byte(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c >= 0x80;
}

static int quoted_take(struct bytes *in, struct lmtp_path *path)
{
	size_t len = 0;

	bytes_skip(in, 1);
	while (bytes_peek(*in) != '"') {
		if (bytes_peek(*in) == '\\')
			bytes_skip(in, 1);
		if (bytes_peek(*in) < ' ' || bytes_peek(*in) == 0x7f ||
			len == sizeof(path->unquoted))
			return ERR_INVALID;
		path->unquoted[len++] = in->ptr[0];
		bytes_skip(in, 1);
	}
	bytes_skip(in, 1);
	path->local_part = bytes_of(path->unquoted, len);
	return len > 0 ? 0 : ERR_INVALID;
}

static int local_part_take(struct bytes *in, struct lmtp_path *path)
{
	size_t len = 0;

	if (bytes_peek(*in) == '"')
		return quoted_take(in, path);
	while (len < in->len && is_atom_byte(in->ptr[len]))
		len++;
	if (len == 0 || len > LMTP_LOCAL_PART_SIZE_MAX)
		return ERR_INVALID;
	path->local_part = bytes_take(in, len);
	return 0;
}

static int domain_take(struct bytes *in, struct lmtp_path *path)
{
	size_t len = 0;

	if (bytes_peek(*in) == '[') {
		len = bytes_find(*in, ']') + 1;
		for (size_t i = 1; i + 1 < len && i < in->len; i++)
			if (in->ptr[i] <= ' ' || in->ptr[i] >= 0x7f || strchr("[\\<>", in->ptr[i]))
				return ERR_INVALID;
		if (len > in->len)
			return ERR_INVALID;
	} else {
		while (len < in->len && is_domain_byte(in->ptr[len]))
			len++;
	}
	if (len == 0 || len > LMTP_DOMAIN_SIZE_MAX)
		return ERR_INVALID;
	path->domain = bytes_take(in, len);
	return 0;
}

/* "@one,@two:" is to be ignored (RFC 5321, section 4.1.1.3). */
static int route_skip(struct bytes *in)
{
	size_t len = bytes_find(*in, ':');

	if (bytes_peek(*in) != '@')
		return 0;
	if (len == in->len || len > LMTP_DOMAIN_SIZE_MAX || bytes_find(*in, '>') < len)
		return ERR_INVALID;
	bytes_skip(in, len + 1);
	return 0;
}

static int text_check(struct bytes text, bool allows_utf8)
{
	bool is_ascii = true;

	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] >= 0x80)
			is_ascii = false;
	if (is_ascii)
		return 0;
	if (!allows_utf8)
		return ERR_REFUSED;
	return mime_utf8_is_valid(text) ? 0 : ERR_INVALID;
}

int lmtp_path_parse(struct bytes *in, bool allows_utf8, struct lmtp_path *path_r)
{
	struct bytes rest = *in;
	const unsigned char *start;
	int rc;

	path_r->text = path_r->local_part = path_r->domain = (struct bytes){ 0 };
	if (bytes_peek(rest) != '<')
		return ERR_INVALID;
	bytes_skip(&rest, 1);
	if (bytes_peek(rest) == '>') {
		bytes_skip(&rest, 1);
		*in = rest;
		return 0;
	}
	rc = route_skip(&rest);
	start = rest.ptr;
	if (rc == 0)
		rc = local_part_take(&rest, path_r);
	if (rc == 0 && bytes_peek(rest) == '@') {
		bytes_skip(&rest, 1);
		rc = domain_take(&rest, path_r);
	}
	if (rc < 0 || bytes_peek(rest) != '>')
		return ERR_INVALID;
	path_r->text = bytes_of(start, (size_t)(rest.ptr - start));
	bytes_skip(&rest, 1);
	rc = text_check(path_r->text, allows_utf8);
	if (rc == 0)
		*in = rest;
	return rc;
}

static size_t parameter_len(struct bytes in, const char *stops)
{
	size_t len = 0;

	while (len < in.len && in.ptr[len] > ' ' && in.ptr[len] < 0x7f &&
		strchr(stops, in.ptr[len]) == NULL)
		len++;
	return len;
}

bool lmtp_parameter_take(struct bytes *in, struct bytes *key_r, struct bytes *value_r)
{
	struct bytes rest = *in;

	while (bytes_peek(rest) == ' ')
		bytes_skip(&rest, 1);
	if (rest.len == 0) {
		*in = rest; /* blanks at the end do no harm */
		return false;
	}
	if (rest.ptr == in->ptr)
		return false;
	*key_r = bytes_take(&rest, parameter_len(rest, "="));
	*value_r = (struct bytes){ 0 };
	if (key_r->len == 0)
		return false;
	if (bytes_peek(rest) == '=') {
		bytes_skip(&rest, 1);
		*value_r = bytes_take(&rest, parameter_len(rest, ""));
		if (value_r->len == 0)
			return false;
	}
	*in = rest;
	return true;
}

int lmtp_number_parse(struct bytes text, uint64_t *number_r)
{
	uint64_t number = 0;

	if (text.len == 0 || text.len > 19)
		return ERR_INVALID;
	for (; text.len > 0; bytes_skip(&text, 1)) {
		if (text.ptr[0] < '0' || text.ptr[0] > '9')
			return ERR_INVALID;
		number = number * 10 + (uint64_t)(text.ptr[0] - '0');
	}
	*number_r = number;
	return 0;
}
