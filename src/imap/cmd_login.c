/* LOGIN and AUTHENTICATE (RFC 3501, 6.2.2 and 6.2.3; RFC 4959). */
#include "imap/imap_capability.h"
#include "imap/imap_commands.h"
#include "imap/imap_login.h"
#include "imap/imap_reply.h"

#include "base/encode.h"

enum net_result cmd_login(struct imap_session *session, struct imap_parser *args)
{
	struct imap_login login = {
		.step = SASL_FAILED, .mechanism = "LOGIN command", .is_guess = true
	};
	struct bytes name, password;

	if (imap_parse_space(args) < 0 || imap_parse_astring(args, &name) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_astring(args, &password) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (name.len <= SASL_NAME_SIZE_MAX && password.len <= PASSWORD_SIZE_MAX) {
		login.authcid = name;
		login.step = sasl_password_check(session->options->authority, name, password);
	}
	return imap_login_end(session, &login);
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

static enum net_result sasl_end(struct imap_session *session, enum sasl_step step)
{
	struct imap_login login = { .step = step,
		.authcid = sasl_server_authcid(session->sasl),
		.authzid = sasl_server_authzid(session->sasl),
		.mechanism = sasl_server_mechanism(session->sasl),
		.is_guess = sasl_server_is_guess(session->sasl) };
	enum net_result result = imap_login_end(session, &login);

	sasl_server_free(&session->sasl);
	return result;
}

static enum net_result authenticate_step(struct imap_session *session, struct bytes input)
{
	struct buffer challenge = { NULL, 0, 0 };
	enum sasl_step step = sasl_server_step(session->sasl, input, &challenge);

	if (step == SASL_CONTINUE) {
		imap_put(session, "+ ");
		encode_base64(&session->out, buffer_bytes(&challenge));
		imap_put(session, "\r\n");
		session->answer = authenticate_answer;
	}
	buffer_deinit(&challenge);
	if (step == SASL_CONTINUE)
		return NET_DONE;
	if (step != SASL_MALFORMED)
		return sasl_end(session, step);
	sasl_server_free(&session->sasl);
	return imap_bad(session, "Malformed authentication exchange");
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
	rc = sasl_server_new(session->options->authority, mechanism, imap_login_channel(session),
		&session->sasl);
	if (rc == ERR_NOT_FOUND && !imap_session_is_private(session))
		return imap_no(session, "[PRIVACYREQUIRED] No such mechanism without TLS");
	if (rc == ERR_UNAVAILABLE)
		return imap_no(session, "[UNAVAILABLE] This mechanism cannot be used now");
	if (rc < 0)
		return imap_no(session, "[CANNOT] No such mechanism");
	if (is_given && !sasl_server_takes_initial(session->sasl)) {
		sasl_server_free(&session->sasl);
		return imap_bad(session, "This mechanism has no initial response");
	}
	if (!is_given)
		return authenticate_step(session, bytes_of(NULL, 0));
	if (bytes_equal_string(initial, "="))
		return authenticate_step(session, BYTES_LITERAL(""));
	return authenticate_answer(session, initial);
}
