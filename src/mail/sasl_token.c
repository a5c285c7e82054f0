/*
 * OAUTHBEARER (RFC 7628) and XOAUTH2, which came before it: one message with a bearer token. If the
 * token is refused, the client is told why in JSON, says something without meaning, and then hears
 * that the login failed.
 */
#include "mail/sasl_prepare.h"
#include "mail/sasl_private.h"

#define SEPARATOR '\001'

/* Takes "KEY=VALUE\1" off the front; false at the closing "\1" and where there is no pair. */
static bool pair_take(struct bytes *in, struct bytes *key_r, struct bytes *value_r)
{
	size_t len = bytes_find(*in, SEPARATOR);
	struct bytes pair;

	if (len == 0 || len == in->len)
		return false;
	pair = bytes_take(in, len);
	bytes_skip(in, 1);
	*key_r = bytes_take(&pair, bytes_find(pair, '='));
	if (pair.len == 0)
		return false;
	bytes_skip(&pair, 1);
	*value_r = pair;
	return true;
}

/* "Bearer TOKEN"; the scheme in any case (RFC 7235), the token as in RFC 6750, section 2.1. */
static bool token_take(struct bytes value, struct bytes *token_r)
{
	static const char others[] = "-._~+/=";

	if (value.len < 8 || !bytes_equal_string_nocase(bytes_of(value.ptr, 7), "Bearer "))
		return false;
	bytes_skip(&value, 7);
	while (bytes_peek(value) == ' ')
		bytes_skip(&value, 1);
	for (size_t i = 0; i < value.len; i++) {
		unsigned char c = value.ptr[i];
		unsigned char letter = c | 0x20;

		if (!(c >= '0' && c <= '9') && !(letter >= 'a' && letter <= 'z') &&
			(c == '\0' || strchr(others, c) == NULL))
			return false;
	}
	*token_r = value;
	return value.len > 0;
}

/* The pairs after the header, up to the end of the message. `user_r` may be NULL. */
static bool pairs_parse(struct bytes in, struct bytes *user_r, struct bytes *token_r)
{
	struct bytes key, value;
	bool has_token = false;

	while (pair_take(&in, &key, &value)) {
		if (bytes_equal_string_nocase(key, "auth")) {
			if (has_token || !token_take(value, token_r))
				return false;
			has_token = true;
		} else if (user_r != NULL && bytes_equal_string_nocase(key, "user")) {
			*user_r = value;
		}
	}
	return has_token && in.len == 1 && bytes_peek(in) == SEPARATOR;
}

/* A name of the gs2 header: "=2C" is a comma, "=3D" the sign itself (RFC 5801, section 4). */
static bool saslname_read(struct bytes text, struct buffer *out)
{
	for (; text.len > 0; bytes_skip(&text, 1)) {
		if (text.ptr[0] != '=') {
			buffer_append_byte(out, text.ptr[0]);
			continue;
		}
		if (!bytes_start_with(text, BYTES_LITERAL("=2C")) &&
			!bytes_start_with(text, BYTES_LITERAL("=3D")))
			return false;
		buffer_append_byte(out, text.ptr[2] == 'C' ? ',' : '=');
		bytes_skip(&text, 2);
	}
	return true;
}

static bool authzid_set(struct sasl_server *server, struct bytes name)
{
	return name.len <= SASL_NAME_SIZE_MAX && sasl_prepare(name, &server->authzid) == 0;
}

/* "n,a=NAME," or "n,,", and the separator. */
static bool header_take(struct sasl_server *server, struct bytes *in)
{
	struct buffer name = { 0 };
	struct bytes text;
	bool is_good = true;

	if (!bytes_start_with(*in, BYTES_LITERAL("n,")) &&
		!bytes_start_with(*in, BYTES_LITERAL("y,")))
		return false;
	bytes_skip(in, 2);
	text = bytes_take(in, bytes_find(*in, ','));
	if (in->len < 2 || in->ptr[1] != SEPARATOR)
		return false;
	bytes_skip(in, 2);
	if (text.len > 0)
		is_good = bytes_start_with(text, BYTES_LITERAL("a=")) &&
			  saslname_read(bytes_of(text.ptr + 2, text.len - 2), &name) &&
			  authzid_set(server, buffer_bytes(&name));
	buffer_deinit(&name);
	return is_good;
}

/* RFC 7628, section 3.2.2; XOAUTH2's clients look for "status" likewise. */
static void refusal_write(
	const struct sasl_server *server, const char *status, struct buffer *challenge)
{
	buffer_printf(challenge, "{\"status\":\"%s\",\"schemes\":\"bearer\"", status);
	if (server->authority->token_scope != NULL)
		buffer_printf(challenge, ",\"scope\":\"%s\"", server->authority->token_scope);
	buffer_append_byte(challenge, '}');
}

static enum sasl_step token_check(struct sasl_server *server, struct bytes token,
	const char *status, struct buffer *challenge)
{
	const struct sasl_options *options = &server->authority->options;
	struct buffer name = { 0 };
	int rc = options->token_check(options->context, token, &name);

	if (rc == 0 && (name.len > SASL_NAME_SIZE_MAX ||
			       sasl_prepare(buffer_bytes(&name), &server->authcid) < 0 ||
			       sasl_is_reserved(server->authority, buffer_bytes(&server->authcid))))
		rc = ERR_REFUSED;
	buffer_deinit(&name);
	if (rc == 0)
		return SASL_DONE;
	if (rc != ERR_REFUSED)
		return SASL_UNAVAILABLE;
	refusal_write(server, status, challenge);
	server->is_refused = true;
	return SASL_CONTINUE;
}

enum sasl_step sasl_oauthbearer_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	struct bytes token;

	if (server->is_refused)
		return SASL_FAILED;
	if (!header_take(server, &input) || !pairs_parse(input, NULL, &token))
		return SASL_MALFORMED;
	return token_check(server, token, "invalid_token", challenge);
}

enum sasl_step sasl_xoauth2_step(
	struct sasl_server *server, struct bytes input, struct buffer *challenge)
{
	struct bytes token, user = { 0 };

	if (server->is_refused)
		return SASL_FAILED;
	if (!pairs_parse(input, &user, &token) || !authzid_set(server, user))
		return SASL_MALFORMED;
	return token_check(server, token, "401", challenge);
}
