#include "chapar/clone_url.h"

#include <ctype.h>

#define IMAPS_PORT 993
#define IMAP_PORT 143

static int hex_digit(int byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	byte = tolower(byte);
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Takes %XX out. */
static int text_decode(struct bytes in, char *text, size_t size, struct error *error)
{
	size_t len = 0;

	while (in.len > 0) {
		int byte = bytes_peek(in);

		bytes_skip(&in, 1);
		if (byte == '%') {
			int high = in.len < 2 ? -1 : hex_digit(in.ptr[0]);
			int low = in.len < 2 ? -1 : hex_digit(in.ptr[1]);

			if (high < 0 || low < 0)
				return error_set(error, ERR_INVALID, "%% without two digits");
			byte = high * 16 + low;
			bytes_skip(&in, 2);
		}
		if (byte < ' ' || byte == 0x7f || len + 1 == size)
			return error_set(error, ERR_INVALID, "a name is too long, or no name");
		text[len++] = (char)byte;
	}
	text[len] = '\0';
	return 0;
}

static int scheme_take(struct bytes *in, struct clone_url *url, struct error *error)
{
	static const struct {
		const char *text;
		bool is_implicit_tls;
		uint16_t port;
	} schemes[] = { { "imaps://", true, IMAPS_PORT }, { "imap://", false, IMAP_PORT } };

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		size_t len = strlen(schemes[i].text);

		if (in->len < len ||
			!bytes_equal_string_nocase(bytes_of(in->ptr, len), schemes[i].text))
			continue;
		bytes_skip(in, len);
		url->is_implicit_tls = schemes[i].is_implicit_tls;
		url->port = schemes[i].port;
		return 0;
	}
	return error_set(error, ERR_INVALID, "it begins with imaps:// or imap://");
}

/* "anna", or "anna;AUTH=*", of which the mechanism is found out anyway. */
static int user_take(struct bytes *in, struct clone_url *url, struct error *error)
{
	size_t end = bytes_find(*in, '/'), at = in->len;
	struct bytes user;

	for (size_t i = 0; i < end; i++)
		if (in->ptr[i] == '@')
			at = i;
	if (at == in->len)
		return 0;
	user = bytes_take(in, at);
	bytes_skip(in, 1);
	user.len = bytes_find(user, ';');
	if (bytes_find(user, ':') < user.len)
		return error_set(error, ERR_INVALID,
			"no password in it, please: others could read it; use --password-file or "
			"CHAPAR_PASSWORD");
	return text_decode(user, url->user, sizeof(url->user), error);
}

static int port_take(struct bytes in, struct clone_url *url, struct error *error)
{
	unsigned port = 0;

	if (in.len == 0)
		return 0;
	bytes_skip(&in, 1); /* the colon */
	for (; in.len > 0 && in.len <= 5 && bytes_peek(in) >= '0' && bytes_peek(in) <= '9';
		bytes_skip(&in, 1))
		port = port * 10 + (unsigned)(bytes_peek(in) - '0');
	if (in.len > 0 || port == 0 || port > UINT16_MAX)
		return error_set(error, ERR_INVALID, "bad port");
	url->port = (uint16_t)port;
	return 0;
}

static int host_take(struct bytes in, struct clone_url *url, struct error *error)
{
	struct bytes host;
	int rc;

	if (bytes_peek(in) == '[') {
		bytes_skip(&in, 1);
		host = bytes_take(&in, bytes_find(in, ']'));
		if (in.len == 0)
			return error_set(error, ERR_INVALID, "[ without ]");
		bytes_skip(&in, 1);
	} else {
		host = bytes_take(&in, bytes_find(in, ':'));
	}
	if (in.len > 0 && bytes_peek(in) != ':')
		return error_set(error, ERR_INVALID, "bad port");
	rc = text_decode(host, url->host, sizeof(url->host), error);
	if (rc < 0)
		return rc;
	if (url->host[0] == '\0')
		return error_set(error, ERR_INVALID, "the host is missing");
	return port_take(in, url, error);
}

int clone_url_parse(const char *text, struct clone_url *url_r, struct error *error)
{
	struct clone_url url = { 0 };
	struct bytes in = bytes_of_string(text), rest;
	int rc = scheme_take(&in, &url, error);

	if (rc == 0)
		rc = user_take(&in, &url, error);
	if (rc == 0) {
		rest = in;
		in.len = bytes_find(in, '/');
		bytes_skip(&rest, in.len);
		rc = host_take(in, &url, error);
	}
	if (rc == 0 && rest.len > 1)
		rc = error_set(error, ERR_INVALID, "a clone is of the whole account: no mailbox");
	if (rc < 0) {
		if (error != NULL)
			error_prefix(error, "\"%.100s\" is no address of an account", text);
		return rc;
	}
	*url_r = url;
	return 0;
}

static void text_encode(const char *text, struct buffer *out)
{
	for (; *text != '\0'; text++)
		if (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL)
			buffer_append_byte(out, *text);
		else
			buffer_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
}

void clone_url_write(const struct clone_url *url, struct buffer *out)
{
	buffer_append_string(out, url->is_implicit_tls ? "imaps://" : "imap://");
	if (url->user[0] != '\0') {
		text_encode(url->user, out);
		buffer_append_byte(out, '@');
	}
	buffer_printf(out, strchr(url->host, ':') != NULL ? "[%s]" : "%s", url->host);
	if (url->port != (url->is_implicit_tls ? IMAPS_PORT : IMAP_PORT))
		buffer_printf(out, ":%u", url->port);
	buffer_append_byte(out, '/');
}
