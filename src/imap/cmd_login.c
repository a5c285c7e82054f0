/* LOGIN and AUTHENTICATE (RFC 3501, 6.2.2 and 6.2.3; RFC 4959), and what follows on success. */
#include "imap/imap_capability.h"
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"

#include "base/encode.h"
#include "base/log.h"

static enum net_result login_failed(
	struct imap_session *session, struct bytes name, const char *reason, const char *answer)
{
	char *text = arena_string(session->arena, name);

	log_event(LOG_LEVEL_WARNING, "login_failed", "protocol", "imap", "account", text, "peer",
		net_connection_peer(session->connection), "session",
		net_connection_id(session->connection), "reason", reason, NULL);
	imap_printf(session, "%s NO %s\r\n", session->tag, answer);
	net_connection_penalize(session->connection);
	if (++session->login_failure_count < IMAP_LOGIN_FAILURE_MAX)
		return NET_DONE;
	return imap_bye(session, "Too many failed logins");
}

static enum net_result login_unavailable(struct imap_session *session, struct bytes name)
{
	return login_failed(session, name, "credentials unavailable",
		"[UNAVAILABLE] Cannot check passwords now, try again later");
}

static enum net_result login_wrong(struct imap_session *session, struct bytes name)
{
	return login_failed(session, name, "wrong name or password",
		"[AUTHENTICATIONFAILED] Wrong name or password");
}

/* A peer node needs no account of its own. */
static int account_open(struct imap_session *session, const char *user, bool is_peer)
{
	const struct imap_server_options *options = session->options;
	bool may_create =
		options->may_create != NULL && options->may_create(options->context, user);
	int rc = mail_account_open(
		session->mail, bytes_of_string(user), may_create, NULL, &session->identity.account);

	if (rc == ERR_NOT_FOUND && is_peer) {
		session->identity.account = 0;
		return 0;
	}
	return rc;
}

/* `name` has shown that he is who he says he is. */
static enum net_result login_done(
	struct imap_session *session, struct bytes name, const char *mechanism)
{
	const struct imap_server_options *options = session->options;
	const char *tls = net_connection_tls_text(session->connection);
	char user[ACCOUNT_NAME_SIZE_MAX + 1];
	bool is_peer;
	int rc;

	if (account_name_normalize(name, user) < 0)
		return login_wrong(session, name);
	is_peer = options->is_peer != NULL && options->is_peer(options->context, user);
	rc = account_open(session, user, is_peer);
	if (rc == ERR_NOT_FOUND)
		return login_failed(session, name, "no such account",
			"[AUTHORIZATIONFAILED] There is no mail account of that name here");
	if (rc < 0) {
		imap_log_failure(session, rc, NULL);
		return login_unavailable(session, name);
	}
	memcpy(session->identity.name, user, sizeof(user));
	session->identity.groups = options->groups;
	session->is_peer = is_peer;
	session->state = IMAP_AUTHENTICATED;
	net_connection_forgive(session->connection);
	net_connection_set_deadline(session->connection, 0);
	net_connection_set_idle_timeout(session->connection, options->idle_timeout_s);
	log_event(LOG_LEVEL_INFO, "login", "protocol", "imap", "account", user, "peer",
		net_connection_peer(session->connection), "session",
		net_connection_id(session->connection), "mechanism", mechanism, "tls",
		tls[0] != '\0' ? tls : "none", NULL);
	imap_printf(session, "%s OK [CAPABILITY ", session->tag);
	imap_put_capabilities(session);
	imap_put(session, "] Logged in\r\n");
	return NET_DONE;
}

enum net_result cmd_login(struct imap_session *session, struct imap_parser *args)
{
	struct bytes name, password;

	if (imap_parse_space(args) < 0 || imap_parse_astring(args, &name) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_astring(args, &password) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (name.len > SASL_NAME_SIZE_MAX || password.len > PASSWORD_SIZE_MAX)
		return login_wrong(session, bytes_of("-", 1));
	switch (sasl_password_check(session->options->authority, name, password)) {
	case SASL_DONE:
		return login_done(session, name, "LOGIN command");
	case SASL_UNAVAILABLE:
		return login_unavailable(session, name);
	default:
		return login_wrong(session, name);
	}
}

/* RFC 8437: another user may log in. TLS and compression stay. */
enum net_result cmd_unauthenticate(struct imap_session *session, struct imap_parser *args)
{
	if (imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	imap_session_forget_user(session);
	imap_printf(session, "%s OK [CAPABILITY ", session->tag);
	imap_put_capabilities(session);
	imap_put(session, "] Logged out, log in again\r\n");
	return NET_DONE;
}

/* ---- AUTHENTICATE ---- */

static enum net_result authenticate_answer(struct imap_session *session, struct bytes line);

static enum net_result sasl_accepted(struct imap_session *session)
{
	struct bytes name = sasl_server_authcid(session->sasl);
	struct bytes wanted = sasl_server_authzid(session->sasl);
	enum net_result result;

	if (wanted.len > 0 && !bytes_equal_nocase(wanted, name))
		result = login_failed(session, name, "may not act for another",
			"[AUTHORIZATIONFAILED] You may not act for another user");
	else
		result = login_done(session, name, "SASL");
	sasl_server_free(&session->sasl);
	return result;
}

static enum net_result authenticate_step(struct imap_session *session, struct bytes input)
{
	struct buffer challenge = { NULL, 0, 0 };
	enum sasl_step step = sasl_server_step(session->sasl, input, &challenge);
	enum net_result result = NET_DONE;
	struct bytes name;

	switch (step) {
	case SASL_CONTINUE:
		imap_put(session, "+ ");
		encode_base64(&session->out, buffer_bytes(&challenge));
		imap_put(session, "\r\n");
		session->answer = authenticate_answer;
		buffer_deinit(&challenge);
		return NET_DONE;
	case SASL_DONE:
		buffer_deinit(&challenge);
		return sasl_accepted(session);
	case SASL_MALFORMED:
		result = imap_bad(session, "Malformed authentication exchange");
		break;
	case SASL_UNAVAILABLE:
		result = login_unavailable(session, sasl_server_authcid(session->sasl));
		break;
	case SASL_FAILED:
		name = sasl_server_authcid(session->sasl);
		result = login_wrong(session, name.len > 0 ? name : bytes_of("-", 1));
		break;
	}
	sasl_server_free(&session->sasl);
	buffer_deinit(&challenge);
	return result;
}

/* One line of the client's, in base64. */
static enum net_result authenticate_answer(struct imap_session *session, struct bytes line)
{
	struct buffer decoded = { NULL, 0, 0 };
	enum net_result result;

	if (bytes_equal_string(line, "*")) {
		sasl_server_free(&session->sasl);
		return imap_bad(session, "Authentication cancelled");
	}
	if (decode_base64(&decoded, line) < 0) {
		buffer_deinit(&decoded);
		sasl_server_free(&session->sasl);
		return imap_bad(session, "Malformed base64");
	}
	/* Not "none": an answer that is empty. */
	buffer_reserve(&decoded, 1);
	result = authenticate_step(session, buffer_bytes(&decoded));
	buffer_deinit(&decoded);
	return result;
}

static int parse_initial(struct imap_parser *args, struct bytes *initial_r, bool *is_given_r)
{
	size_t len;

	*is_given_r = false;
	if (imap_parse_at_end(args))
		return 0;
	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	len = bytes_find(args->rest, '\r') < bytes_find(args->rest, '\n')
		      ? bytes_find(args->rest, '\r')
		      : bytes_find(args->rest, '\n');
	*initial_r = bytes_take(&args->rest, len);
	*is_given_r = true;
	return imap_parse_end(args);
}

enum net_result cmd_authenticate(struct imap_session *session, struct imap_parser *args)
{
	struct bytes mechanism, initial;
	bool is_given;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_atom(args, &mechanism) < 0 ||
		parse_initial(args, &initial, &is_given) < 0)
		return imap_bad_args(session, args);
	rc = sasl_server_new(session->options->authority, mechanism,
		imap_session_is_private(session), &session->sasl);
	if (rc == ERR_NOT_FOUND && !imap_session_is_private(session))
		return imap_no(session, "[PRIVACYREQUIRED] No such mechanism without TLS");
	if (rc < 0)
		return imap_no(session, "[CANNOT] No such mechanism");
	if (!is_given)
		return authenticate_step(session, bytes_of(NULL, 0));
	if (bytes_equal_string(initial, "="))
		return authenticate_step(session, BYTES_LITERAL(""));
	return authenticate_answer(session, initial);
}
