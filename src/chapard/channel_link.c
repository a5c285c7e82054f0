#include "chapard/channel_link.h"

#include "base/clock.h"
#include "base/encode.h"
#include "base/mem.h"
#include "mail/sasl.h"
#include "sync/responder.h"
#include "sync/trace.h"
#include "sync/wire.h"

#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 10000
#define TRY_TIMEOUT_MS 10000
#define LINE_SIZE_MAX (64u * 1024 * 1024)    /* bytes: an answer of many records is one line */
#define ANSWER_SIZE_MAX (256u * 1024 * 1024) /* bytes, literals included */
#define PLAIN_SIZE_MAX (16u * 1024)          /* bytes; a longer request goes as one literal */
#define FLUSH_SIZE (64u * 1024)              /* bytes queued before they are sent unasked */

/* Of a request under way, for the trace: when it was queued, and what account it is about. */
#define ASKED_COUNT 64u
struct asked {
	uint64_t tag, at_us;
	char account[ACCOUNT_NAME_SIZE_MAX + 1];
};

struct channel_link {
	struct net_client *client;
	struct buffer out;
	struct buffer line;   /* the response read last, literals included */
	struct buffer answer; /* what the last SYNC response held */
	bool has_answer;
	bool has_news;                   /* told unasked */
	uint64_t sent_tag, answered_tag; /* numbers of the last ones */
	uint64_t unanswered_size;        /* bytes sent since everything was answered */
	struct buffer mechanisms;        /* that the peer offers, each after a blank */
	struct trace *trace;             /* or NULL */
	char *trace_name, *trace_where;
	struct asked asked[ASKED_COUNT]; /* by the number of the command's tag */
};

void channel_link_close(struct channel_link **link)
{
	if (*link == NULL)
		return;
	buffer_deinit(&(*link)->out);
	buffer_deinit(&(*link)->line);
	buffer_deinit(&(*link)->answer);
	buffer_deinit(&(*link)->mechanisms);
	free((*link)->trace_name);
	free((*link)->trace_where);
	free(*link);
	*link = NULL;
}

/* ---- responses ---- */

static int answer_timeout(const struct channel_link *link)
{
	uint64_t extra = link->unanswered_size / 1024;

	return CHANNEL_ANSWER_TIMEOUT_MS + (int)(extra < 600000 ? extra : 600000);
}

/* Whether the text ends in {n} or {n+}. */
static bool ends_in_literal(struct bytes text, size_t *size_r)
{
	size_t at = text.len, size = 0, scale = 1, digits = 0;

	if (at < 3 || text.ptr[--at] != '}')
		return false;
	if (text.ptr[at - 1] == '+')
		at--;
	for (; at > 0 && text.ptr[at - 1] >= '0' && text.ptr[at - 1] <= '9' && digits < 10;
		digits++) {
		size += scale * (size_t)(text.ptr[--at] - '0');
		scale *= 10;
	}
	if (digits == 0 || at == 0 || text.ptr[at - 1] != '{')
		return false;
	*size_r = size;
	return true;
}

/* Reads one response with its literals into link->line, without the last CRLF. */
static int read_response(struct channel_link *link, int timeout_ms, struct error *error)
{
	buffer_clear(&link->line);
	for (;;) {
		struct bytes part;
		size_t size;
		int rc =
			net_client_read_line(link->client, LINE_SIZE_MAX, &part, timeout_ms, error);

		if (rc < 0)
			return rc;
		buffer_append_bytes(&link->line, part);
		if (!ends_in_literal(part, &size))
			return 0;
		if (size > ANSWER_SIZE_MAX || link->line.len > ANSWER_SIZE_MAX - size)
			return error_set(error, ERR_TOO_LARGE, "the peer's answer is too large");
		buffer_append_string(&link->line, "\r\n");
		rc = net_client_read(link->client, size, &link->line, timeout_ms, error);
		if (rc < 0)
			return rc;
	}
}

static bool take_prefix(struct bytes *text, const char *prefix)
{
	struct bytes wanted = bytes_of_string(prefix);

	if (text->len < wanted.len || strncasecmp((const char *)text->ptr, prefix, wanted.len) != 0)
		return false;
	bytes_skip(text, wanted.len);
	return true;
}

static void take_mechanisms(struct channel_link *link, struct bytes words)
{
	buffer_clear(&link->mechanisms);
	while (words.len > 0) {
		struct bytes word = bytes_take(&words, bytes_find(words, ' '));

		if (words.len > 0)
			bytes_skip(&words, 1);
		if (!take_prefix(&word, "AUTH="))
			continue;
		buffer_append_byte(&link->mechanisms, ' ');
		buffer_append_bytes(&link->mechanisms, word);
	}
	buffer_append_byte(&link->mechanisms, ' ');
}

static bool offers(const struct channel_link *link, const char *mechanism)
{
	char word[64];

	snprintf(word, sizeof(word), " %s ", mechanism);
	return strstr(buffer_string(&link->mechanisms), word) != NULL;
}

static int take_untagged(struct channel_link *link, struct bytes text, struct error *error)
{
	if (take_prefix(&text, "BYE"))
		return error_set(error, ERR_CLOSED, "the peer says goodbye:%.*s", BYTES_ARGS(text));
	if (take_prefix(&text, "CAPABILITY ")) {
		take_mechanisms(link, text);
	} else if (take_prefix(&text, "SYNC NEWS ")) {
		link->has_news = true;
	} else if (take_prefix(&text, "SYNC ")) {
		buffer_clear(&link->answer);
		buffer_append_bytes(&link->answer, text);
		link->has_answer = true;
	}
	return 0;
}

/*
 * Reads until the tagged response of the oldest command; *text_r is what follows the tag, borrowed
 * from link->line. A continuation request ends it too, if `plus` is wanted: *text_r then begins
 * with '+'.
 */
static int read_tagged(struct channel_link *link, bool wants_plus, int timeout_ms,
	struct bytes *text_r, struct error *error)
{
	char tag[32];

	snprintf(tag, sizeof(tag), "s%llu ", (unsigned long long)link->answered_tag + 1);
	for (;;) {
		int rc = read_response(link, timeout_ms, error);
		struct bytes text = buffer_bytes(&link->line);

		if (rc < 0)
			return rc;
		if (take_prefix(&text, "* ")) {
			rc = take_untagged(link, text, error);
			if (rc < 0)
				return rc;
		} else if (wants_plus && bytes_peek(text) == '+') {
			*text_r = text;
			return 0;
		} else if (take_prefix(&text, tag)) {
			link->answered_tag++;
			if (link->answered_tag == link->sent_tag)
				link->unanswered_size = 0;
			*text_r = text;
			return 0;
		} else {
			return error_set(error, ERR_INVALID, "the peer does not speak IMAP");
		}
	}
}

/* ---- commands ---- */

static void queue_command(struct channel_link *link, const char *name, struct bytes arguments)
{
	buffer_printf(&link->out, "s%llu %s", (unsigned long long)++link->sent_tag, name);
	if (arguments.len > 0)
		buffer_append_byte(&link->out, ' ');
	buffer_append_bytes(&link->out, arguments);
	buffer_append_string(&link->out, "\r\n");
}

int channel_link_flush(struct channel_link *link, struct error *error)
{
	int rc = 0;

	if (link->out.len > 0)
		rc = net_client_write(
			link->client, buffer_bytes(&link->out), CHANNEL_ANSWER_TIMEOUT_MS, error);
	link->unanswered_size += link->out.len;
	buffer_clear(&link->out);
	return rc;
}

static void trace_request(struct channel_link *link, struct bytes request)
{
	struct trace_message message = { .side = TRACE_SENT,
		.who = link->trace_name,
		.where = link->trace_where,
		.text = request,
		.duration_us = TRACE_UNTIMED };
	struct asked *asked = &link->asked[(link->sent_tag + 1) % ASKED_COUNT];

	if (!trace_is_read(link->trace))
		return;
	asked->tag = link->sent_tag + 1;
	asked->at_us = clock_monotonic_us();
	if (account_name_normalize(trace_account(request), asked->account) < 0)
		asked->account[0] = '\0';
	trace_tell(link->trace, &message);
}

/* The answer to the request with that tag, if that was traced. */
static void trace_answer(struct channel_link *link, uint64_t tag, struct bytes answer)
{
	const struct asked *asked = &link->asked[tag % ASKED_COUNT];
	struct trace_message message = { .side = TRACE_RECEIVED,
		.who = link->trace_name,
		.where = link->trace_where,
		.text = answer,
		.duration_us = TRACE_UNTIMED };

	if (!trace_is_read(link->trace))
		return;
	if (asked->tag == tag) {
		message.account = bytes_of_string(asked->account);
		message.duration_us = clock_monotonic_us() - asked->at_us;
	}
	trace_tell(link->trace, &message);
}

int channel_link_request(struct channel_link *link, struct bytes request, struct error *error)
{
	trace_request(link, request);
	if (request.len <= PLAIN_SIZE_MAX) {
		queue_command(link, "SYNC", request);
	} else {
		buffer_printf(&link->out, "s%llu SYNC {%zu+}\r\n",
			(unsigned long long)++link->sent_tag, request.len);
		buffer_append_bytes(&link->out, request);
		buffer_append_string(&link->out, "\r\n");
	}
	return link->out.len >= FLUSH_SIZE ? channel_link_flush(link, error) : 0;
}

int channel_link_answer(struct channel_link *link, struct bytes *answer_r, struct error *error)
{
	struct bytes text;
	int rc;

	link->has_answer = false;
	rc = read_tagged(link, false, answer_timeout(link), &text, error);
	if (rc < 0)
		return rc;
	if (!link->has_answer) {
		char reason[ERROR_TEXT_SIZE];

		snprintf(reason, sizeof(reason), "%.*s", (int)(text.len < 200 ? text.len : 200),
			(const char *)text.ptr);
		buffer_clear(&link->answer);
		wire_put_error(&link->answer, ERR_REFUSED, reason, 0);
	}
	*answer_r = buffer_bytes(&link->answer);
	trace_answer(link, link->answered_tag, *answer_r);
	return 0;
}

/* One command alone; NO and BAD are ERR_REFUSED. */
static int run_command(
	struct channel_link *link, const char *name, struct bytes arguments, struct error *error)
{
	struct bytes text;
	int rc;

	queue_command(link, name, arguments);
	rc = channel_link_flush(link, error);
	if (rc == 0)
		rc = read_tagged(link, false, CHANNEL_ANSWER_TIMEOUT_MS, &text, error);
	if (rc == 0 && !take_prefix(&text, "OK"))
		rc = error_set(
			error, ERR_REFUSED, "%s: the peer says %.*s", name, BYTES_ARGS(text));
	return rc;
}

int channel_link_try(struct channel_link *link, struct error *error)
{
	struct bytes text;
	int rc;

	queue_command(link, "NOOP", bytes_of(NULL, 0));
	rc = channel_link_flush(link, error);
	return rc < 0 ? rc : read_tagged(link, false, TRY_TIMEOUT_MS, &text, error);
}

bool channel_link_take_news(struct channel_link *link)
{
	bool has_news = link->has_news;

	link->has_news = false;
	return has_news;
}

int channel_link_listen(struct channel_link *link, struct error *error)
{
	struct bytes text;
	int rc = read_response(link, CHANNEL_ANSWER_TIMEOUT_MS, error);

	if (rc < 0)
		return rc;
	text = buffer_bytes(&link->line);
	if (!take_prefix(&text, "* "))
		return error_set(error, ERR_INVALID, "the peer does not speak IMAP");
	return take_untagged(link, text, error);
}

/* ---- the beginning of a connection ---- */

static int read_greeting(struct channel_link *link, bool *is_logged_in_r, struct error *error)
{
	struct bytes text;
	int rc = read_response(link, CONNECT_TIMEOUT_MS, error);

	if (rc < 0)
		return rc;
	text = buffer_bytes(&link->line);
	if (!take_prefix(&text, "* "))
		return error_set(error, ERR_INVALID, "the peer does not speak IMAP");
	*is_logged_in_r = take_prefix(&text, "PREAUTH ");
	if (*is_logged_in_r || take_prefix(&text, "OK "))
		return 0;
	return error_set(error, ERR_UNAVAILABLE, "the peer says %.*s", BYTES_ARGS(text));
}

static int answer_challenge(
	struct channel_link *link, struct sasl_client *sasl, struct bytes text, struct error *error)
{
	struct buffer challenge = { 0 }, response = { 0 };
	int rc;

	bytes_skip(&text, text.len > 1 ? 2 : 1); /* "+ " */
	rc = decode_base64(&challenge, text);
	if (rc == 0)
		rc = sasl_client_step(sasl, buffer_bytes(&challenge), &response);
	if (rc < 0) {
		error_set(error, rc, "the login failed: the peer does not know the password");
	} else {
		encode_base64(&link->out, buffer_bytes(&response));
		buffer_append_string(&link->out, "\r\n");
		rc = channel_link_flush(link, error);
	}
	buffer_deinit(&challenge);
	buffer_deinit(&response);
	return rc;
}

/* Where nobody can listen on the way. */
static bool is_private(const struct channel_link *link, const struct channel_link_options *options)
{
	return net_client_is_tls(link->client) || options->host[0] == '/' ||
	       strncmp(options->host, "127.", 4) == 0 || strcmp(options->host, "::1") == 0 ||
	       strcmp(options->host, "localhost") == 0;
}

/*
 * The strongest way that both have. A certificate of ours goes first, and if there is no password,
 * alone. With a channel binding nobody in between can pass our login on.
 */
static const char *mechanism_choose(const struct channel_link *link,
	const struct channel_link_options *options, struct bytes binding)
{
	bool has_certificate =
		options->tls_options.certificate_path != NULL && net_client_is_tls(link->client);

	if (has_certificate && offers(link, "EXTERNAL"))
		return "EXTERNAL";
	if (options->password == NULL)
		return NULL;
	if (binding.len > 0 && offers(link, "SCRAM-SHA-256-PLUS"))
		return "SCRAM-SHA-256-PLUS";
	if (offers(link, "SCRAM-SHA-256"))
		return "SCRAM-SHA-256";
	return is_private(link, options) ? "PLAIN" : NULL;
}

static int no_mechanism(const struct channel_link_options *options, struct error *error)
{
	if (options->password == NULL)
		return error_set(error, ERR_REFUSED,
			"the peer does not take our certificate for a login (AUTH=EXTERNAL)");
	return error_set(error, ERR_REFUSED,
		"the peer offers no login that hides the password, and there is no TLS");
}

/* From AUTHENTICATE to its tagged response. */
static int converse(struct channel_link *link, const char *mechanism, struct sasl_client *sasl,
	struct error *error)
{
	struct bytes text = { 0 };
	int rc;

	queue_command(link, "AUTHENTICATE", bytes_of_string(mechanism));
	rc = channel_link_flush(link, error);
	while (rc == 0) {
		rc = read_tagged(link, true, CHANNEL_ANSWER_TIMEOUT_MS, &text, error);
		if (rc < 0 || bytes_peek(text) != '+')
			break;
		rc = answer_challenge(link, sasl, text, error);
	}
	if (rc == 0 && !take_prefix(&text, "OK"))
		rc = error_set(error, ERR_REFUSED, "the login failed: the peer says %.*s",
			BYTES_ARGS(text));
	if (rc == 0 && !sasl_client_is_done(sasl))
		rc = error_set(
			error, ERR_REFUSED, "the peer has not shown that it knows the password");
	return rc;
}

static int authenticate(
	struct channel_link *link, const struct channel_link_options *options, struct error *error)
{
	struct sasl_client_options sasl_options = { .authcid = options->user,
		.password = options->password };
	struct sasl_client *sasl = NULL;
	struct buffer binding = { 0 };
	int rc;

	if (net_client_binding(link->client, "tls-exporter", &binding) == 0)
		sasl_options.binding = buffer_bytes(&binding);
	sasl_options.mechanism = mechanism_choose(link, options, sasl_options.binding);
	if (sasl_options.mechanism == NULL)
		rc = no_mechanism(options, error);
	else
		rc = sasl_client_new(&sasl_options, &sasl);
	if (rc == ERR_INVALID)
		error_set(error, rc, "the channel's user or password cannot be used");
	if (rc == 0)
		rc = converse(link, sasl_options.mechanism, sasl, error);
	sasl_client_free(&sasl);
	buffer_deinit(&binding);
	return rc;
}

static int start_tls(
	struct channel_link *link, const struct channel_link_options *options, struct error *error)
{
	int rc = run_command(link, "STARTTLS", bytes_of(NULL, 0), error);

	return rc < 0 ? rc
		      : net_client_start_tls(
				link->client, &options->tls_options, CONNECT_TIMEOUT_MS, error);
}

static int hello(struct channel_link *link, const struct channel_link_options *options,
	struct mail *mail, struct sync_peer *peer_r, struct error *error)
{
	struct buffer request = { 0 };
	struct bytes answer;
	int rc;

	if (options->self != NULL)
		sync_hello_request_as(options->self, options->mailboxes, &request);
	else
		sync_hello_request(mail, options->mailboxes, &request);
	rc = channel_link_request(link, buffer_bytes(&request), error);
	if (rc == 0)
		rc = channel_link_flush(link, error);
	if (rc == 0)
		rc = channel_link_answer(link, &answer, error);
	if (rc == 0 && options->self != NULL)
		rc = sync_hello_check_as(options->self, options->mailboxes, answer, peer_r, error);
	else if (rc == 0)
		rc = sync_hello_check(mail, options->mailboxes, answer, peer_r, error);
	buffer_deinit(&request);
	return rc;
}

static int begin(struct channel_link *link, const struct channel_link_options *options,
	struct mail *mail, struct sync_peer *peer_r, struct error *error)
{
	bool is_logged_in = false;
	int rc = net_client_connect(
		link->client, options->host, options->port, CONNECT_TIMEOUT_MS, error);

	if (rc == 0 && options->tls == CHANNEL_TLS_IMPLICIT)
		rc = net_client_start_tls(
			link->client, &options->tls_options, CONNECT_TIMEOUT_MS, error);
	if (rc == 0)
		rc = read_greeting(link, &is_logged_in, error);
	if (rc == 0 && options->tls == CHANNEL_TLS_START)
		rc = start_tls(link, options, error);
	if (rc == 0 && !is_logged_in)
		rc = run_command(link, "CAPABILITY", bytes_of(NULL, 0), error);
	if (rc == 0 && !is_logged_in)
		rc = authenticate(link, options, error);
	return rc < 0 ? rc : hello(link, options, mail, peer_r, error);
}

int channel_link_open(const struct channel_link_options *options, struct mail *mail,
	struct net_client *client, struct channel_link **link_r, struct sync_peer *peer_r,
	struct error *error)
{
	struct channel_link *link = mem_zalloc(sizeof(*link));
	int rc;

	link->client = client;
	link->trace = options->trace;
	if (options->trace != NULL) {
		struct buffer where = { 0 };

		buffer_append_string(&where, options->host);
		if (options->host[0] != '/')
			buffer_printf(&where, ":%u", (unsigned)options->port);
		link->trace_name = mem_strdup(options->trace_name);
		link->trace_where = mem_strdup(buffer_string(&where));
		buffer_deinit(&where);
	}
	rc = begin(link, options, mail, peer_r, error);
	if (rc < 0)
		channel_link_close(&link);
	else
		*link_r = link;
	return rc;
}
