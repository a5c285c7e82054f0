#include "lmtp/lmtp_private.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>

#define CLIENT_NAME_SIZE_MAX 255 /* bytes of what LHLO says */

enum command_flags {
	NEEDS_LHLO = 1,
	NEEDS_SENDER = 2,
	NEEDS_NO_SENDER = 4,
	TAKES_NOTHING = 8 /* no argument */
};

struct command {
	const char *name;
	unsigned flags; /* of enum command_flags */
	enum net_result (*run)(struct lmtp_session *session, struct bytes argument);
};

void lmtp_reply(struct lmtp_session *session, const char *format, ...)
{
	struct buffer line = { 0 };
	va_list args;

	va_start(args, format);
	buffer_vprintf(&line, format, args);
	va_end(args);
	buffer_append_string(&line, "\r\n");
	net_connection_write(session->connection, buffer_bytes(&line));
	buffer_deinit(&line);
}

void lmtp_transaction_reset(struct lmtp_session *session)
{
	session->transaction = (struct lmtp_transaction){ 0 };
	arena_reset(session->arena);
}

static enum net_result bad(struct lmtp_session *session, const char *reply)
{
	lmtp_reply(session, "%s", reply);
	if (++session->bad_command_count < LMTP_BAD_COMMAND_COUNT_MAX)
		return NET_DONE;
	lmtp_reply(session, "421 4.7.0 too many errors");
	return NET_CLOSE;
}

/* ---- LHLO, STARTTLS ---- */

static enum net_result run_lhlo(struct lmtp_session *session, struct bytes argument)
{
	struct lmtp_server *server = session->server;

	/* It goes into a header, so it must hold nothing that ends one. */
	for (size_t i = 0; i < argument.len; i++)
		if (argument.ptr[i] <= ' ' || argument.ptr[i] == 0x7f ||
			strchr("()<>;,\"\\", argument.ptr[i]) != NULL)
			argument.len = 0;
	if (argument.len == 0 || argument.len > CLIENT_NAME_SIZE_MAX)
		return bad(session, "501 5.5.4 LHLO needs your name");
	lmtp_transaction_reset(session);
	buffer_clear(&session->client_name);
	buffer_append_bytes(&session->client_name, argument);
	lmtp_reply(session, "250-%s", server->host_name);
	lmtp_reply(session, "250-PIPELINING");
	lmtp_reply(session, "250-ENHANCEDSTATUSCODES");
	lmtp_reply(session, "250-8BITMIME");
	lmtp_reply(session, "250-SMTPUTF8");
	if (net_connection_can_start_tls(session->connection))
		lmtp_reply(session, "250-STARTTLS");
	lmtp_reply(session, "250 SIZE %zu", server->options.message_size_max);
	return NET_DONE;
}

static enum net_result run_helo(struct lmtp_session *session, struct bytes argument)
{
	(void)argument;
	return bad(session, "500 5.5.1 this is LMTP: say LHLO"); /* RFC 2033, section 4.1 */
}

static enum net_result run_starttls(struct lmtp_session *session, struct bytes argument)
{
	(void)argument;
	if (!net_connection_can_start_tls(session->connection))
		return bad(session, "502 5.5.1 no TLS here");
	/* RFC 3207, section 4.2: what was said in plain text is forgotten. */
	lmtp_transaction_reset(session);
	buffer_clear(&session->client_name);
	lmtp_reply(session, "220 2.0.0 go ahead");
	return NET_START_TLS;
}

/* ---- MAIL ---- */

static const char *mail_parameter(
	struct lmtp_session *session, struct bytes key, struct bytes value)
{
	struct lmtp_transaction *transaction = &session->transaction;
	uint64_t size;

	if (bytes_equal_string_nocase(key, "SIZE")) {
		if (lmtp_number_parse(value, &size) < 0)
			return "501 5.5.4 bad SIZE";
		if (size > session->server->options.message_size_max)
			return "552 5.3.4 message too large";
		transaction->declared_size = (size_t)size;
		return NULL;
	}
	if (bytes_equal_string_nocase(key, "BODY")) {
		if (bytes_equal_string_nocase(value, "7BIT") ||
			bytes_equal_string_nocase(value, "8BITMIME"))
			return NULL;
		return "501 5.5.4 bad BODY";
	}
	if (bytes_equal_string_nocase(key, "SMTPUTF8") && value.len == 0) {
		transaction->is_utf8 = true;
		return NULL;
	}
	return "555 5.5.4 unknown parameter of MAIL";
}

static const char *mail_parameters(struct lmtp_session *session, struct bytes argument)
{
	struct bytes key, value;

	while (lmtp_parameter_take(&argument, &key, &value)) {
		const char *trouble = mail_parameter(session, key, value);

		if (trouble != NULL)
			return trouble;
	}
	return argument.len == 0 ? NULL : "501 5.5.4 bad parameters";
}

/* Skips "FROM:" or "TO:", in any case, and blanks after it. */
static bool keyword_take(struct bytes *in, const char *keyword)
{
	size_t len = strlen(keyword);

	if (in->len < len || !bytes_equal_string_nocase(bytes_of(in->ptr, len), keyword))
		return false;
	bytes_skip(in, len);
	while (bytes_peek(*in) == ' ')
		bytes_skip(in, 1);
	return true;
}

static enum net_result run_mail(struct lmtp_session *session, struct bytes argument)
{
	struct lmtp_path path;
	struct bytes again;
	const char *trouble;
	int rc;

	if (!keyword_take(&argument, "FROM:"))
		return bad(session, "501 5.5.4 MAIL FROM:<address> expected");
	again = argument; /* SMTPUTF8 comes after the address that it allows */
	rc = lmtp_path_parse(&argument, true, &path);
	if (rc < 0)
		return bad(session, "501 5.1.7 bad sender address");
	trouble = mail_parameters(session, argument);
	if (trouble == NULL && !session->transaction.is_utf8 &&
		lmtp_path_parse(&again, false, &path) == ERR_REFUSED)
		trouble = "553 5.6.7 sender address needs SMTPUTF8";
	if (trouble != NULL) {
		lmtp_transaction_reset(session);
		return bad(session, trouble);
	}
	session->transaction.sender = arena_copy(session->arena, path.text);
	session->transaction.has_sender = true;
	session->transaction_number++;
	lmtp_reply(session, "250 2.1.0 ok");
	return NET_DONE;
}

/* ---- RCPT ---- */

static const char *recipient_error(const struct lmtp_session *session, int rc)
{
	switch (rc) {
	case ERR_NOT_FOUND:
		return "550 5.1.1 no such recipient";
	case ERR_REFUSED:
		return "550 5.7.1 not allowed";
	case ERR_REPLICA:
		return "451 4.3.5 this account was moved to another node: route its mail there";
	case ERR_INVALID:
		return "553 5.1.3 no such address can exist here";
	case ERR_OVERQUOTA:
		return session->server->options.quota_is_permanent ? "552 5.2.2 mailbox full"
								   : "452 4.2.2 mailbox full";
	case ERR_FULL:
		return "452 4.3.1 no space left";
	case ERR_IO:
	case ERR_CORRUPT:
	case ERR_VERSION:
		return "451 4.3.0 cannot look the recipient up";
	default:
		return "451 4.3.2 try again later";
	}
}

static void refusal_log(struct lmtp_session *session, struct bytes address, const char *reply)
{
	char *text = arena_string(session->arena, address);

	log_event(LOG_LEVEL_INFO, "recipient-refused", "protocol", "lmtp", "session",
		net_connection_id(session->connection), "recipient", text, "reply", reply, NULL);
}

static int account_find(
	struct lmtp_session *session, struct lmtp_path *path, struct lmtp_recipient *recipient)
{
	const struct lmtp_backend *backend = &session->server->options.backend;
	struct bytes local_part = path->local_part;
	struct buffer account = { 0 };
	int rc = 0;

	if (session->server->detail_separator != -1) {
		size_t len = bytes_find(local_part, session->server->detail_separator);

		/* A local part that begins with the separator has no account before it. */
		if (len > 0 && len < local_part.len) {
			recipient->detail =
				bytes_of(local_part.ptr + len + 1, local_part.len - len - 1);
			local_part.len = len;
		}
	}
	if (backend->account_name != NULL)
		rc = backend->account_name(backend->context, local_part, path->domain, &account);
	else
		buffer_append_bytes(&account, local_part);
	if (rc == 0)
		rc = backend->recipient_check(backend->context, buffer_bytes(&account),
			session->transaction.declared_size, &recipient->handle);
	if (rc == 0) {
		recipient->account = arena_copy(session->arena, buffer_bytes(&account));
		recipient->detail = arena_copy(session->arena, recipient->detail);
		recipient->address = arena_copy(session->arena, path->text);
	}
	buffer_deinit(&account);
	return rc;
}

static struct lmtp_recipient *recipient_add(struct lmtp_session *session)
{
	struct lmtp_transaction *transaction = &session->transaction;
	struct lmtp_recipient *more;
	size_t room = transaction->recipient_room * 2 + 4;

	if (transaction->recipient_count == transaction->recipient_room) {
		more = arena_zalloc(session->arena, room * sizeof(*more));
		if (transaction->recipient_count > 0)
			memcpy(more, transaction->recipients,
				transaction->recipient_count * sizeof(*more));
		transaction->recipients = more;
		transaction->recipient_room = room;
	}
	return &transaction->recipients[transaction->recipient_count];
}

static enum net_result run_rcpt(struct lmtp_session *session, struct bytes argument)
{
	struct lmtp_recipient *recipient;
	struct lmtp_path path;
	int rc;

	if (!keyword_take(&argument, "TO:"))
		return bad(session, "501 5.5.4 RCPT TO:<address> expected");
	rc = lmtp_path_parse(&argument, session->transaction.is_utf8, &path);
	if (rc == ERR_REFUSED)
		return bad(session, "553 5.6.7 recipient address needs SMTPUTF8");
	if (rc < 0 || path.text.len == 0)
		return bad(session, "501 5.1.3 bad recipient address");
	while (bytes_peek(argument) == ' ')
		bytes_skip(&argument, 1);
	if (argument.len > 0)
		return bad(session, "555 5.5.4 unknown parameter of RCPT");
	if (session->transaction.recipient_count == LMTP_RECIPIENT_COUNT_MAX) {
		lmtp_reply(session, "452 4.5.3 too many recipients");
		return NET_DONE;
	}
	recipient = recipient_add(session);
	*recipient = (struct lmtp_recipient){ 0 };
	rc = account_find(session, &path, recipient);
	if (rc < 0) {
		refusal_log(session, path.text, recipient_error(session, rc));
		lmtp_reply(session, "%s", recipient_error(session, rc));
		return NET_DONE;
	}
	session->transaction.recipient_count++;
	lmtp_reply(session, "250 2.1.5 ok");
	return NET_DONE;
}

/* ---- The others ---- */

static enum net_result run_data(struct lmtp_session *session, struct bytes argument)
{
	(void)argument;
	if (session->transaction.recipient_count == 0)
		return bad(session, "503 5.5.1 no valid recipients"); /* RFC 2033, section 4.2 */
	session->is_data = true;
	session->is_too_large = false;
	lmtp_reply(session, "354 go ahead, end with CRLF.CRLF");
	return NET_DONE;
}

static enum net_result run_rset(struct lmtp_session *session, struct bytes argument)
{
	(void)argument;
	lmtp_transaction_reset(session);
	lmtp_reply(session, "250 2.0.0 ok");
	return NET_DONE;
}

static enum net_result run_noop(struct lmtp_session *session, struct bytes argument)
{
	(void)argument;
	lmtp_reply(session, "250 2.0.0 ok");
	return NET_DONE;
}

static enum net_result run_quit(struct lmtp_session *session, struct bytes argument)
{
	(void)argument;
	lmtp_reply(session, "221 2.0.0 bye");
	return NET_CLOSE;
}

static enum net_result run_vrfy(struct lmtp_session *session, struct bytes argument)
{
	if (argument.len == 0)
		return bad(session, "501 5.5.4 VRFY needs an address");
	lmtp_reply(session, "252 2.1.5 send some mail, I'll try my best");
	return NET_DONE;
}

static enum net_result run_help(struct lmtp_session *session, struct bytes argument)
{
	(void)argument;
	lmtp_reply(session, "214 2.0.0 LHLO MAIL RCPT DATA RSET NOOP VRFY STARTTLS QUIT");
	return NET_DONE;
}

static const struct command commands[] = {
	/* name      preconditions                                handler */
	{ "LHLO", 0, run_lhlo },
	{ "HELO", 0, run_helo },
	{ "EHLO", 0, run_helo },
	{ "STARTTLS", NEEDS_LHLO | TAKES_NOTHING, run_starttls },
	{ "MAIL", NEEDS_LHLO | NEEDS_NO_SENDER, run_mail },
	{ "RCPT", NEEDS_LHLO | NEEDS_SENDER, run_rcpt },
	{ "DATA", NEEDS_LHLO | NEEDS_SENDER | TAKES_NOTHING, run_data },
	{ "RSET", TAKES_NOTHING, run_rset },
	{ "NOOP", 0, run_noop },
	{ "VRFY", 0, run_vrfy },
	{ "HELP", 0, run_help },
	{ "QUIT", TAKES_NOTHING, run_quit },
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static enum net_result command_dispatch(
	struct lmtp_session *session, const struct command *command, struct bytes argument)
{
	if ((command->flags & TAKES_NOTHING) != 0 && argument.len > 0)
		return bad(session, "501 5.5.4 no argument expected");
	if ((command->flags & NEEDS_LHLO) != 0 && session->client_name.len == 0)
		return bad(session, "503 5.5.1 say LHLO first");
	if ((command->flags & NEEDS_SENDER) != 0 && !session->transaction.has_sender)
		return bad(session, "503 5.5.1 MAIL first");
	if ((command->flags & NEEDS_NO_SENDER) != 0 && session->transaction.has_sender)
		return bad(session, "503 5.5.1 sender is given already");
	return command->run(session, argument);
}

static enum net_result line_command(struct lmtp_session *session, struct bytes line)
{
	struct bytes name;

	while (line.len > 0 && strchr("\r\n \t", line.ptr[line.len - 1]) != NULL &&
		line.ptr[line.len - 1] != '\0')
		line.len--;
	name = bytes_take(&line, bytes_find(line, ' '));
	while (bytes_peek(line) == ' ')
		bytes_skip(&line, 1);
	for (size_t i = 0; i < line.len; i++)
		if (line.ptr[i] < ' ' || line.ptr[i] == 0x7f)
			return bad(session, "500 5.5.2 control character in a command");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (bytes_equal_string_nocase(name, commands[i].name))
			return command_dispatch(session, &commands[i], line);
	return bad(session, "500 5.5.1 unknown command");
}

bool lmtp_is_short(void *context, struct bytes unit)
{
	static const char *const names[] = { "MAIL ", "RCPT ", "DATA\r", "RSET\r", "NOOP\r" };
	const struct lmtp_session *session = context;

	if (session->is_data || session->is_overlong || unit.len < 5)
		return false;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (bytes_equal_string_nocase(bytes_of(unit.ptr, 5), names[i]))
			return true;
	return false;
}

enum net_result lmtp_command(void *context, struct bytes unit)
{
	struct lmtp_session *session = context;

	if (session->is_data)
		return lmtp_data(session, unit);
	if (session->is_overlong) {
		session->is_overlong = false;
		return bad(session, "500 5.5.2 line too long");
	}
	return line_command(session, unit);
}
