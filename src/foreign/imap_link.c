#include "foreign/imap_link.h"

#include "base/encode.h"
#include "base/mem.h"
#include "mail/sasl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 30000
#define GOODBYE_TIMEOUT_MS 2000
#define LINE_SIZE_MAX (8u << 20) /* bytes without literals: a SEARCH of a million messages */
#define BYTES_PER_MS 16          /* slower than that is too slow */

struct imap_link {
	struct net_client *client;
	struct arena *arena;
	struct buffer response, out;
	struct buffer capabilities;
	uint64_t tag;
};

static void wipe(struct buffer *buffer)
{
	if (buffer->data != NULL)
		explicit_bzero(buffer->data, buffer->room);
	buffer_clear(buffer);
}

/* ---- responses ---- */

/* Whether the line ends in {n} or {n+}. */
static bool ends_in_literal(struct bytes line, uint64_t *size_r)
{
	uint64_t size = 0, scale = 1;
	size_t at = line.len, digit_count = 0;

	if (at < 3 || line.ptr[--at] != '}')
		return false;
	if (line.ptr[at - 1] == '+')
		at--;
	for (; at > 0 && line.ptr[at - 1] >= '0' && line.ptr[at - 1] <= '9' && digit_count < 10;
		digit_count++, scale *= 10)
		size += scale * (uint64_t)(line.ptr[--at] - '0');
	*size_r = size;
	return digit_count > 0 && at > 0 && line.ptr[at - 1] == '{';
}

static int response_read(struct imap_link *link, struct error *error)
{
	buffer_clear(&link->response);
	for (;;) {
		struct bytes line;
		uint64_t size;
		int rc = net_client_read_line(
			link->client, LINE_SIZE_MAX, &line, LINK_TIMEOUT_MS, error);

		if (rc < 0)
			return rc;
		buffer_append_bytes(&link->response, line);
		if (!ends_in_literal(line, &size))
			return 0;
		if (size > LINK_RESPONSE_SIZE_MAX ||
			link->response.len > LINK_RESPONSE_SIZE_MAX - size)
			return error_set(error, ERR_TOO_LARGE, "the server's answer is too large");
		buffer_append_string(&link->response, "\r\n");
		rc = net_client_read(link->client, size, &link->response,
			LINK_TIMEOUT_MS + (int)(size / BYTES_PER_MS), error);
		if (rc < 0)
			return rc;
	}
}

static void capabilities_take(struct imap_link *link, const struct answer *answer)
{
	struct bytes words = answer->kind == ANSWER_CAPABILITY ? answer->text : answer->code;

	if (answer->kind != ANSWER_CAPABILITY) {
		if (words.len < 11 ||
			!bytes_equal_string_nocase(bytes_of(words.ptr, 11), "CAPABILITY "))
			return;
		bytes_skip(&words, 11);
	}
	buffer_clear(&link->capabilities);
	buffer_append_bytes(&link->capabilities, words);
}

static int answer_read(struct imap_link *link, struct answer *answer, struct error *error)
{
	int rc = response_read(link, error);

	if (rc < 0)
		return rc;
	arena_reset(link->arena);
	rc = answer_parse(buffer_bytes(&link->response), link->arena, answer);
	if (rc < 0)
		return error_set(error, rc, "what the server says is not understood");
	capabilities_take(link, answer);
	if (answer->kind == ANSWER_STATUS && bytes_equal_string_nocase(answer->status, "BYE"))
		return error_set(error, ERR_CLOSED, "the server says goodbye: %.*s",
			(int)(answer->text.len < 150 ? answer->text.len : 150),
			(const char *)answer->text.ptr);
	return 0;
}

/* What is told when the server goes on with "+": in base64, of a SASL exchange. */
struct conversation {
	struct sasl_client *sasl; /* NULL: `message` is all there is to tell */
	struct bytes message;
	bool is_told;
};

static int reply_make(struct imap_link *link, struct conversation *conversation,
	struct bytes challenge, struct error *error)
{
	struct buffer decoded = { 0 }, reply = { 0 };
	int rc = 0;

	buffer_clear(&link->out);
	if (conversation->sasl != NULL) {
		rc = decode_base64(&decoded, challenge);
		if (rc == 0)
			rc = sasl_client_step(conversation->sasl, buffer_bytes(&decoded), &reply);
		encode_base64(&link->out, buffer_bytes(&reply));
	} else if (conversation->is_told) {
		buffer_append_byte(&link->out, '*'); /* what it says of a failure is not needed */
	} else {
		encode_base64(&link->out, conversation->message);
	}
	conversation->is_told = true;
	buffer_append_string(&link->out, "\r\n");
	wipe(&reply);
	buffer_deinit(&reply);
	buffer_deinit(&decoded);
	return rc < 0 ? error_set(error, ERR_REFUSED,
				"the server does not show that it knows the password")
		      : 0;
}

static int go_on(struct imap_link *link, struct conversation *conversation, struct bytes challenge,
	struct error *error)
{
	int rc;

	if (conversation == NULL)
		return error_set(error, ERR_INVALID, "the server asks for what it is not told");
	rc = reply_make(link, conversation, challenge, error);
	if (rc == 0)
		rc = net_client_write(
			link->client, buffer_bytes(&link->out), LINK_TIMEOUT_MS, error);
	wipe(&link->out);
	return rc;
}

static int refused(const struct answer *answer, struct error *error)
{
	return error_set(error, ERR_REFUSED, "the server says %.*s %.*s",
		BYTES_ARGS(answer->status), (int)(answer->text.len < 150 ? answer->text.len : 150),
		(const char *)answer->text.ptr);
}

/* Until the tagged response. */
static int finish(struct imap_link *link, struct conversation *conversation,
	imap_link_function *function, void *context, struct error *error)
{
	char tag[32];

	snprintf(tag, sizeof(tag), "i%" PRIu64, link->tag);
	for (;;) {
		struct answer answer;
		int rc = answer_read(link, &answer, error);

		if (rc < 0)
			return rc;
		if (answer.kind == ANSWER_CONTINUE)
			rc = go_on(link, conversation, answer.text, error);
		else if (answer.kind == ANSWER_TAGGED && bytes_equal_string(answer.tag, tag))
			return bytes_equal_string_nocase(answer.status, "OK")
				       ? 0
				       : refused(&answer, error);
		else if (function != NULL)
			rc = function(context, &answer);
		if (rc < 0)
			return rc;
	}
}

static int run(struct imap_link *link, const char *command, struct conversation *conversation,
	imap_link_function *function, void *context, struct error *error)
{
	int rc;

	buffer_clear(&link->out);
	buffer_printf(&link->out, "i%" PRIu64 " %s\r\n", ++link->tag, command);
	rc = net_client_write(link->client, buffer_bytes(&link->out), LINK_TIMEOUT_MS, error);
	wipe(&link->out);
	return rc < 0 ? rc : finish(link, conversation, function, context, error);
}

int imap_link_run(struct imap_link *link, const char *command, imap_link_function *function,
	void *context, struct error *error)
{
	return run(link, command, NULL, function, context, error);
}

bool imap_link_offers(const struct imap_link *link, const char *capability)
{
	return answer_has_word(buffer_bytes(&link->capabilities), capability);
}

int imap_link_quote(struct bytes text, struct buffer *out)
{
	buffer_append_byte(out, '"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\0' || text.ptr[i] == '\r' || text.ptr[i] == '\n')
			return ERR_INVALID;
		if (text.ptr[i] == '"' || text.ptr[i] == '\\')
			buffer_append_byte(out, '\\');
		buffer_append_byte(out, text.ptr[i]);
	}
	buffer_append_byte(out, '"');
	return 0;
}

/* ---- the beginning ---- */

static int greet(struct imap_link *link, bool *is_logged_in_r, struct error *error)
{
	struct answer answer;
	int rc = answer_read(link, &answer, error);

	if (rc < 0)
		return rc;
	*is_logged_in_r = bytes_equal_string_nocase(answer.status, "PREAUTH");
	if (answer.kind == ANSWER_STATUS &&
		(*is_logged_in_r || bytes_equal_string_nocase(answer.status, "OK")))
		return 0;
	return error_set(error, ERR_UNAVAILABLE, "the server does not greet as IMAP servers do");
}

static int secure(
	struct imap_link *link, const struct imap_link_options *options, struct error *error)
{
	int rc;

	if (options->tls != LINK_TLS_START)
		return 0;
	rc = imap_link_run(link, "STARTTLS", NULL, NULL, error);
	if (rc == 0)
		rc = net_client_start_tls(
			link->client, &options->tls_options, CONNECT_TIMEOUT_MS, error);
	/* What was told before may be another's. */
	buffer_clear(&link->capabilities);
	return rc;
}

/* Nothing but text can be told in a quoted string, or PLAIN. */
static int login_plain(
	struct imap_link *link, const struct imap_link_options *options, struct error *error)
{
	struct buffer plain = { 0 };
	struct conversation conversation = { 0 };
	int rc;

	if (options->login != NULL)
		buffer_append_string(&plain, options->user);
	buffer_append_byte(&plain, '\0');
	buffer_append_string(&plain, options->login != NULL ? options->login : options->user);
	buffer_append_byte(&plain, '\0');
	buffer_append_string(&plain, options->password);
	conversation.message = buffer_bytes(&plain);
	rc = run(link, "AUTHENTICATE PLAIN", &conversation, NULL, NULL, error);
	wipe(&plain);
	buffer_deinit(&plain);
	return rc;
}

static int login_token(
	struct imap_link *link, const struct imap_link_options *options, struct error *error)
{
	bool has_bearer = imap_link_offers(link, "AUTH=OAUTHBEARER");
	struct buffer message = { 0 };
	struct conversation conversation = { 0 };
	int rc;

	if (!has_bearer && !imap_link_offers(link, "AUTH=XOAUTH2"))
		return error_set(error, ERR_REFUSED, "the server takes no tokens");
	if (has_bearer)
		buffer_printf(&message, "n,a=%s,\001host=%s\001port=%u\001auth=Bearer %s\001\001",
			options->user, options->host, options->port, options->token);
	else
		buffer_printf(&message, "user=%s\001auth=Bearer %s\001\001", options->user,
			options->token);
	conversation.message = buffer_bytes(&message);
	rc = run(link, has_bearer ? "AUTHENTICATE OAUTHBEARER" : "AUTHENTICATE XOAUTH2",
		&conversation, NULL, NULL, error);
	wipe(&message);
	buffer_deinit(&message);
	return rc;
}

static int login_scram(struct imap_link *link, const struct imap_link_options *options,
	const char *mechanism, struct error *error)
{
	struct sasl_client_options sasl_options = { .mechanism = mechanism,
		.authzid = options->login != NULL ? options->user : NULL,
		.authcid = options->login != NULL ? options->login : options->user,
		.password = options->password };
	struct conversation conversation = { 0 };
	char command[64];
	int rc = sasl_client_new(&sasl_options, &conversation.sasl);

	if (rc < 0)
		return error_set(error, ERR_INVALID, "the name or password cannot be used");
	snprintf(command, sizeof(command), "AUTHENTICATE %s", mechanism);
	rc = run(link, command, &conversation, NULL, NULL, error);
	if (rc == 0 && !sasl_client_is_done(conversation.sasl))
		rc = error_set(
			error, ERR_REFUSED, "the server has not shown that it knows the password");
	sasl_client_free(&conversation.sasl);
	return rc;
}

static int login_command(
	struct imap_link *link, const struct imap_link_options *options, struct error *error)
{
	struct buffer command = { 0 };
	int rc;

	buffer_append_string(&command, "LOGIN ");
	rc = imap_link_quote(bytes_of_string(options->user), &command);
	buffer_append_byte(&command, ' ');
	if (rc == 0)
		rc = imap_link_quote(bytes_of_string(options->password), &command);
	if (rc == 0)
		rc = imap_link_run(link, buffer_string(&command), NULL, NULL, error);
	wipe(&command);
	buffer_deinit(&command);
	return rc;
}

/* PLAIN first: it works whatever form the server keeps passwords in, and there is TLS. */
static int login_any(
	struct imap_link *link, const struct imap_link_options *options, struct error *error)
{
	if (options->token != NULL)
		return login_token(link, options, error);
	if (imap_link_offers(link, "AUTH=PLAIN"))
		return login_plain(link, options, error);
	if (imap_link_offers(link, "AUTH=SCRAM-SHA-256"))
		return login_scram(link, options, "SCRAM-SHA-256", error);
	if (imap_link_offers(link, "AUTH=SCRAM-SHA-1"))
		return login_scram(link, options, "SCRAM-SHA-1", error);
	if (options->login != NULL || imap_link_offers(link, "LOGINDISABLED"))
		return error_set(error, ERR_REFUSED, "the server offers neither PLAIN nor SCRAM");
	return login_command(link, options, error);
}

static int login(
	struct imap_link *link, const struct imap_link_options *options, struct error *error)
{
	int rc = link->capabilities.len > 0 ? 0
					    : imap_link_run(link, "CAPABILITY", NULL, NULL, error);

	if (rc == 0)
		rc = login_any(link, options, error);
	if (rc == ERR_REFUSED)
		return error_prefix(error, "login of %s",
			options->login != NULL ? options->login : options->user);
	if (rc < 0)
		return rc;
	return imap_link_run(link, "CAPABILITY", NULL, NULL, error);
}

int imap_link_open(
	const struct imap_link_options *options, struct imap_link **link_r, struct error *error)
{
	struct imap_link *link = mem_zalloc(sizeof(*link));
	bool is_logged_in = false;
	int rc;

	link->arena = arena_new();
	link->client = net_client_new();
	rc = net_client_connect(
		link->client, options->host, options->port, CONNECT_TIMEOUT_MS, error);
	if (rc == 0 && options->tls == LINK_TLS_IMPLICIT)
		rc = net_client_start_tls(
			link->client, &options->tls_options, CONNECT_TIMEOUT_MS, error);
	if (rc == 0)
		rc = greet(link, &is_logged_in, error);
	if (rc == 0)
		rc = secure(link, options, error);
	if (rc == 0 && !is_logged_in)
		rc = login(link, options, error);
	if (rc < 0) {
		net_client_free(&link->client);
		imap_link_close(&link);
		return error_prefix(error, "%s", options->host);
	}
	*link_r = link;
	return 0;
}

void imap_link_close(struct imap_link **link)
{
	if (*link == NULL)
		return;
	if ((*link)->client != NULL)
		(void)net_client_write(
			(*link)->client, BYTES_LITERAL("bye LOGOUT\r\n"), GOODBYE_TIMEOUT_MS, NULL);
	net_client_free(&(*link)->client);
	arena_free(&(*link)->arena);
	buffer_deinit(&(*link)->response);
	buffer_deinit(&(*link)->out);
	buffer_deinit(&(*link)->capabilities);
	free(*link);
	*link = NULL;
}
