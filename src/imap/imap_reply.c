#include "imap/imap_reply.h"

#include "imap/imap_update.h"
#include "imap/imap_utf7.h"

#include "base/log.h"
#include "imap/imap_parse_private.h"

#include <ctype.h>

#define FLUSH_SIZE (32u * 1024)
#define QUOTED_SIZE_MAX 1000 /* bytes; longer strings are literals */

void imap_put(struct imap_session *session, const char *text)
{
	buffer_append_string(&session->out, text);
}

void imap_put_bytes(struct imap_session *session, struct bytes bytes)
{
	buffer_append_bytes(&session->out, bytes);
}

void imap_put_number(struct imap_session *session, uint64_t number)
{
	buffer_append_number(&session->out, number);
}

void imap_printf(struct imap_session *session, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buffer_vprintf(&session->out, format, args);
	va_end(args);
}

static bool is_atom(struct bytes string)
{
	for (size_t i = 0; i < string.len; i++) {
		if ((imap_class_of(string.ptr[i]) & (CLASS_ATOM | CLASS_PLUS)) == 0)
			return false;
	}
	/* NIL would be read as such where a string is optional. */
	return string.len > 0 && !bytes_equal_string_nocase(string, "NIL");
}

void imap_put_astring(struct buffer *out, struct bytes string)
{
	if (is_atom(string))
		buffer_append_bytes(out, string);
	else
		imap_put_string(out, string);
}

void imap_put_literal(struct buffer *out, struct bytes octets)
{
	buffer_append_byte(out, '{');
	buffer_append_number(out, octets.len);
	buffer_append_string(out, "}\r\n");
	buffer_append_bytes(out, octets);
}

static void put_string(struct buffer *out, struct bytes string, bool takes_utf8)
{
	bool is_quotable = string.len < QUOTED_SIZE_MAX;

	for (size_t i = 0; i < string.len && is_quotable; i++)
		is_quotable = string.ptr[i] >= ' ' && string.ptr[i] != 0x7f &&
			      (string.ptr[i] < 0x7f || takes_utf8);
	if (!is_quotable) {
		imap_put_literal(out, string);
		return;
	}
	buffer_append_byte(out, '"');
	for (size_t i = 0; i < string.len; i++) {
		if (string.ptr[i] == '"' || string.ptr[i] == '\\')
			buffer_append_byte(out, '\\');
		buffer_append_byte(out, string.ptr[i]);
	}
	buffer_append_byte(out, '"');
}

void imap_put_string(struct buffer *out, struct bytes string)
{
	put_string(out, string, false);
}

void imap_put_mailbox(struct imap_session *session, struct bytes name)
{
	struct buffer encoded = { NULL, 0, 0 };

	if (session->is_utf8 && !is_atom(name)) {
		put_string(&session->out, name, true);
		return;
	}
	imap_utf7_encode(&encoded, name);
	imap_put_astring(&session->out, session->is_utf8 ? name : buffer_bytes(&encoded));
	buffer_deinit(&encoded);
}

void imap_put_fetch(struct imap_session *session, size_t index, uint32_t uid)
{
	imap_put(session, "* ");
	imap_put_number(session, session->is_uidonly ? uid : index + 1);
	imap_put(session, session->is_uidonly ? " UIDFETCH (" : " FETCH (");
}

void imap_flush(struct imap_session *session)
{
	if (session->out.len == 0)
		return;
	session->output_size += session->out.len;
	net_connection_write(session->connection, buffer_bytes(&session->out));
	buffer_clear(&session->out);
}

bool imap_is_full(struct imap_session *session)
{
	if (session->out.len < FLUSH_SIZE)
		return false;
	imap_flush(session);
	return net_connection_is_full(session->connection);
}

/* Texts may quote what came from elsewhere: nothing in them may end the line. */
static void append_text(struct buffer *out, const char *format, va_list args)
{
	size_t start = out->len;

	buffer_vprintf(out, format, args);
	for (size_t i = start; i < out->len; i++) {
		if (out->data[i] < ' ' || out->data[i] >= 0x7f)
			out->data[i] = '?';
	}
	buffer_append_string(out, "\r\n");
}

static enum net_result finish(
	struct imap_session *session, const char *status, const char *format, va_list args)
{
	buffer_clear(&session->ending);
	buffer_printf(&session->ending, "%s %s ", session->tag, status);
	append_text(&session->ending, format, args);
	session->bad_command_count = 0;
	return imap_update_begin(session);
}

enum net_result imap_ok(struct imap_session *session, const char *format, ...)
{
	enum net_result result;
	va_list args;

	va_start(args, format);
	result = finish(session, "OK", format, args);
	va_end(args);
	return result;
}

enum net_result imap_ok_highestmodseq(struct imap_session *session, const char *text)
{
	buffer_clear(&session->ending);
	buffer_printf(&session->ending, "%s OK ", session->tag);
	session->ending_modseq_at = session->ending.len;
	session->bad_command_count = 0;
	buffer_printf(&session->ending, "%s\r\n", text);
	return imap_update_begin(session);
}

enum net_result imap_no(struct imap_session *session, const char *format, ...)
{
	enum net_result result;
	va_list args;

	va_start(args, format);
	result = finish(session, "NO", format, args);
	va_end(args);
	return result;
}

enum net_result imap_bad(struct imap_session *session, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	imap_printf(session, "%s BAD ", session->tag[0] != '\0' ? session->tag : "*");
	append_text(&session->out, format, args);
	va_end(args);
	if (++session->bad_command_count < IMAP_BAD_COMMAND_MAX)
		return NET_DONE;
	return imap_bye(session, "Too many invalid commands");
}

enum net_result imap_bad_args(struct imap_session *session, const struct imap_parser *args)
{
	if (args->is_over_limit)
		return imap_no(session, "[LIMIT] %s", args->problem);
	return imap_bad(
		session, "%s", args->problem != NULL ? args->problem : "Malformed arguments");
}

/* Response codes of RFC 5530 and others; "" for none. */
static const char *code_of(int rc)
{
	switch (rc) {
	case ERR_OVERQUOTA:
		return "[OVERQUOTA] ";
	case ERR_CORRUPT:
	case ERR_VERSION:
		return "[CORRUPTION] ";
	case ERR_NOT_FOUND:
		return "[NONEXISTENT] ";
	case ERR_EXISTS:
		return "[ALREADYEXISTS] ";
	case ERR_INVALID:
		return "[CANNOT] ";
	case ERR_TOO_LARGE:
		return "[LIMIT] ";
	case ERR_REFUSED:
		return "[NOPERM] ";
	case ERR_ILLEGAL:
		return "[SERVERBUG] ";
	default:
		return "[UNAVAILABLE] ";
	}
}

static bool is_internal(int rc)
{
	return rc == ERR_IO || rc == ERR_FULL || rc == ERR_CORRUPT || rc == ERR_VERSION ||
	       rc == ERR_ILLEGAL || rc == ERR_CLOSED;
}

void imap_log_failure(struct imap_session *session, int rc, const struct error *error)
{
	const char *text = error != NULL && error->text[0] != '\0' ? error->text : error_name(rc);

	log_event(LOG_LEVEL_ERROR, "imap_failure", "session",
		net_connection_id(session->connection), "account", session->identity.name,
		"mailbox", session->view != NULL ? session->view->name : "-", "command",
		session->command != NULL ? session->command->name : "-", "code", error_name(rc),
		"error", text, NULL);
}

/* RFC 2193: where the change can be made. */
static enum net_result refer(struct imap_session *session, const struct error *error)
{
	struct bytes host = account_mode_host(error);

	if (host.len == 0)
		return imap_no(session, "[NOPERM] %s", error->text);
	return imap_no(session, "[REFERRAL imap://%.*s/] %s", BYTES_ARGS(host), error->text);
}

/* In a URL (RFC 5092). */
static void put_user(struct buffer *out, const char *user)
{
	for (; *user != '\0'; user++) {
		unsigned char byte = (unsigned char)*user;

		if (byte < 0x80 && (isalnum(byte) || strchr("-._~", byte) != NULL))
			buffer_append(out, user, 1);
		else
			buffer_printf(out, "%%%02X", byte);
	}
}

const char *imap_referral(struct imap_session *session, const char *user, const struct error *error)
{
	struct bytes host = account_mode_host(error);
	struct buffer text = { 0 };
	const char *copy;

	if (host.len == 0) {
		buffer_append_string(&text, "[UNAVAILABLE]");
	} else {
		buffer_append_string(&text, "[REFERRAL imap://");
		put_user(&text, user);
		buffer_printf(&text, "@%.*s/]", BYTES_ARGS(host));
	}
	buffer_printf(&text, " %s", error->text);
	copy = arena_string(session->arena, buffer_bytes(&text));
	buffer_deinit(&text);
	return copy;
}

enum net_result imap_fail(struct imap_session *session, int rc, const struct error *error)
{
	const char *text = error != NULL && error->text[0] != '\0' ? error->text : error_name(rc);

	if (rc == ERR_REPLICA && error != NULL)
		return refer(session, error);
	/* What is wrong on our disks is for the log, not for the client. */
	if (is_internal(rc)) {
		imap_log_failure(session, rc, error);
		text = error_name(rc);
	}
	return imap_no(session, "%s%s", code_of(rc), text);
}

enum net_result imap_bye(struct imap_session *session, const char *text)
{
	imap_printf(session, "* BYE %s\r\n", text);
	return NET_CLOSE;
}
