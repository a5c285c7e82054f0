#include "lmtp/lmtp_private.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>
#include <time.h>

#define HEADERS_SIZE_MAX 2048 /* bytes that we put before a message, about */

static const char *delivery_reply(const struct lmtp_session *session, int rc)
{
	switch (rc) {
	case 0:
		return "250 2.1.5";
	case ERR_NOT_FOUND:
		return "550 5.1.1";
	case ERR_REFUSED:
		return "550 5.7.1";
	case ERR_TOO_LARGE:
		return "552 5.2.3";
	case ERR_INVALID:
	case ERR_ILLEGAL:
		return "554 5.6.0";
	case ERR_OVERQUOTA:
		return session->server->options.quota_is_permanent ? "552 5.2.2" : "452 4.2.2";
	case ERR_FULL:
		return "452 4.3.1";
	case ERR_IO:
	case ERR_CORRUPT:
	case ERR_VERSION:
		return "451 4.3.0";
	default:
		return "451 4.3.2";
	}
}

static void reply_all(struct lmtp_session *session, const char *reply)
{
	for (size_t i = 0; i < session->transaction.recipient_count; i++)
		lmtp_reply(session, "%s", reply);
}

/* ---- The message ---- */

/* RFC 5322, section 3.3, in UTC: the reader's program shows his own time. */
static void date_append(struct buffer *out)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
		"Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t now = (time_t)(clock_now_ms(clock_system()) / 1000);
	struct tm tm;

	gmtime_r(&now, &tm);
	buffer_printf(out, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday,
		months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* RFC 3848 and RFC 6531, section 4.3. */
static const char *with_protocol(const struct lmtp_session *session)
{
	bool is_tls = net_connection_is_tls(session->connection);

	if (session->transaction.is_utf8)
		return is_tls ? "UTF8LMTPS" : "UTF8LMTP";
	return is_tls ? "LMTPS" : "LMTP";
}

/* The TCP-info of RFC 5321, section 4.4; there is none for a UNIX socket. */
static void peer_append(struct net_connection *connection, struct buffer *out)
{
	const char *address = net_connection_peer_address(connection);

	if (strchr(address, ':') != NULL)
		buffer_printf(out, " ([IPv6:%s])", address);
	else if (strchr(address, '.') != NULL)
		buffer_printf(out, " ([%s])", address);
	else
		buffer_append_string(out, " (local)");
}

static void headers_append(struct lmtp_session *session, struct buffer *out)
{
	struct net_connection *connection = session->connection;

	buffer_append_string(out, "Return-Path: <");
	buffer_append_bytes(out, session->transaction.sender);
	buffer_append_string(out, ">\r\nReceived: from ");
	buffer_append_bytes(out, buffer_bytes(&session->client_name));
	peer_append(connection, out);
	buffer_printf(out, "\r\n\tby %s with %s id %s-%u;\r\n\t", session->server->host_name,
		with_protocol(session), net_connection_id(connection), session->transaction_number);
	date_append(out);
	buffer_append_string(out, "\r\n");
}

/*
 * Appends one line as it was sent, up to and with its CRLF, without the dot that was put before it,
 * and with CRLF for each LF that is bare.
 */
static void line_append(struct buffer *out, struct bytes line)
{
	if (bytes_peek(line) == '.')
		bytes_skip(&line, 1);
	while (line.len > 0) {
		size_t len = bytes_find(line, '\n');

		if (len == line.len) {
			buffer_append_bytes(out, line);
			return;
		}
		if (len > 0 && line.ptr[len - 1] == '\r') {
			buffer_append_bytes(out, bytes_take(&line, len + 1));
			continue;
		}
		buffer_append_bytes(out, bytes_take(&line, len));
		buffer_append_string(out, "\r\n");
		bytes_skip(&line, 1);
	}
}

/* Bytes of the first line with its CRLF; all, if there is none. */
static size_t line_size(struct bytes data)
{
	for (size_t at = 0; at < data.len; at++) {
		at += bytes_find(bytes_of(data.ptr + at, data.len - at), '\n');
		if (at > 0 && at < data.len && data.ptr[at - 1] == '\r')
			return at + 1;
	}
	return data.len;
}

/* Takes all lines of the data, which end in CRLF. */
static void body_append(struct buffer *out, struct bytes data)
{
	while (data.len > 0)
		line_append(out, bytes_take(&data, line_size(data)));
}

/* ---- Delivery ---- */

/* The first recipient with the same account and detail: what arrives there is one message. */
static size_t twin_find(const struct lmtp_transaction *transaction, size_t index)
{
	const struct lmtp_recipient *one = &transaction->recipients[index];

	for (size_t i = 0; i < index; i++)
		if (bytes_equal(transaction->recipients[i].account, one->account) &&
			bytes_equal(transaction->recipients[i].detail, one->detail))
			return i;
	return index;
}

static void delivery_log(
	struct lmtp_session *session, const struct lmtp_recipient *recipient, size_t size, int rc)
{
	char size_text[24];

	snprintf(size_text, sizeof(size_text), "%zu", size);
	log_event(rc == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING,
		rc == 0 ? "delivered" : "delivery-failed", "protocol", "lmtp", "account",
		arena_string(session->arena, recipient->account), "session",
		net_connection_id(session->connection), "size", size_text, rc == 0 ? NULL : "error",
		error_name(rc), NULL);
}

static void deliver(struct lmtp_session *session, struct bytes message)
{
	struct lmtp_transaction *transaction = &session->transaction;
	const struct lmtp_backend *backend = &session->server->options.backend;
	size_t count = transaction->recipient_count, unique_count = 0;
	struct lmtp_recipient *unique = arena_zalloc(session->arena, count * sizeof(*unique));
	size_t *places = arena_zalloc(session->arena, count * sizeof(*places));
	int *results = arena_zalloc(session->arena, count * sizeof(*results));
	int rc;

	for (size_t i = 0; i < count; i++) {
		size_t twin = twin_find(transaction, i);

		places[i] = twin == i ? unique_count : places[twin];
		if (twin == i)
			unique[unique_count++] = transaction->recipients[i];
	}
	rc = backend->deliver(backend->context, message, unique, unique_count, results);
	for (size_t i = 0; i < unique_count; i++) {
		results[i] = rc < 0 ? rc : results[i];
		delivery_log(session, &unique[i], message.len, results[i]);
	}
	for (size_t i = 0; i < count; i++) {
		int result = results[places[i]];

		lmtp_reply(session, "%s <%.*s> %s", delivery_reply(session, result),
			BYTES_ARGS(transaction->recipients[i].address),
			result == 0 ? "delivered" : error_name(result));
	}
}

enum net_result lmtp_data(struct lmtp_session *session, struct bytes unit)
{
	struct buffer message = { 0 };
	size_t header_size;

	session->is_data = false;
	if (session->is_too_large) {
		reply_all(session, "552 5.3.4 message too large");
		goto out;
	}
	assert(unit.len >= 3);
	unit.len -= 3; /* the dot and its CRLF */
	if (bytes_find(unit, '\0') < unit.len) {
		reply_all(session, "554 5.6.0 message with NUL bytes");
		goto out;
	}
	buffer_reserve(&message, unit.len + HEADERS_SIZE_MAX);
	headers_append(session, &message);
	header_size = message.len;
	body_append(&message, unit);
	if (message.len - header_size > session->server->options.message_size_max)
		reply_all(session, "552 5.3.4 message too large");
	else
		deliver(session, buffer_bytes(&message));
	buffer_deinit(&message);
out:
	session->is_too_large = false;
	lmtp_transaction_reset(session);
	return NET_DONE;
}
