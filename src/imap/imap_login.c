#include "imap/imap_login.h"

#include "imap/imap_capability.h"
#include "imap/imap_registry.h"
#include "imap/imap_reply.h"
#include "imap/imap_server_private.h"

#include "backup/object_serve.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/account_login.h"
#include "mail/hold.h"

/* ---- What SASL may know of the connection ---- */

static int channel_binding(void *context, const char *type, struct buffer *out)
{
	return net_connection_binding(context, type, out);
}

/* Some connections over TLS 1.2 have no binding that is safe. */
static bool has_binding(struct net_connection *connection)
{
	struct buffer binding = { 0 };
	bool is_there = net_connection_binding(connection, "tls-exporter", &binding) == 0;

	buffer_deinit(&binding);
	return is_there;
}

const struct sasl_channel *imap_login_channel(struct imap_session *session)
{
	const struct imap_server_options *options = session->options;
	const struct net_certificate *certificate = net_connection_certificate(session->connection);
	struct sasl_channel *channel = &session->channel;

	channel->is_private = imap_session_is_private(session);
	if (!net_connection_is_tls(session->connection) || channel->context != NULL)
		return channel;
	channel->context = session->connection;
	if (has_binding(session->connection))
		channel->binding = channel_binding;
	if (certificate != NULL && options->certificate_name != NULL &&
		options->certificate_name(
			options->context, certificate, &session->certificate_name) == 0)
		channel->certificate_name = buffer_bytes(&session->certificate_name);
	return channel;
}

/* ---- Failures ---- */

static enum net_result refuse(struct imap_session *session, const struct imap_login *login,
	const char *reason, const char *answer)
{
	struct bytes name = login->authcid.len > 0 ? login->authcid : bytes_of("-", 1);
	struct bytes wanted = login->authzid.len > 0 ? login->authzid : name;

	log_event(LOG_LEVEL_WARNING, "login_failed", "protocol", "imap", "account",
		arena_string(session->arena, wanted), "login", arena_string(session->arena, name),
		"peer", net_connection_peer(session->connection), "session",
		net_connection_id(session->connection), "mechanism", login->mechanism, "reason",
		reason, NULL);
	imap_printf(session, "%s NO %s\r\n", session->tag, answer);
	net_connection_penalize(session->connection);
	if (++session->login_failure_count < IMAP_LOGIN_FAILURE_MAX)
		return NET_DONE;
	return imap_bye(session, "Too many failed logins");
}

static enum net_result refuse_unavailable(
	struct imap_session *session, const struct imap_login *login)
{
	return refuse(session, login, "credentials unavailable",
		"[UNAVAILABLE] Cannot check passwords now, try again later");
}

static enum net_result refuse_wrong(struct imap_session *session, const struct imap_login *login)
{
	return refuse(session, login, "wrong name or password",
		"[AUTHENTICATIONFAILED] Wrong name or password");
}

/* ---- Success ---- */

/* Credentials alone do not do: an account may have become shared on another node, or moved there.
 */
static int user_check(struct imap_session *session, uint32_t account, struct error *error)
{
	struct kv_txn *kv = NULL;
	bool has_user = false;
	int rc = mail_read_begin(session->mail, 0, &kv);

	if (rc == 0)
		rc = account_has_user(kv, account, &has_user);
	mail_read_end(&kv);
	if (rc == 0 && !has_user)
		return ERR_NOT_FOUND;
	return rc < 0 ? rc : mail_hold_check(session->mail, account, error);
}

/* A peer node, or an administrator, needs no account of his own. */
static int account_open(struct imap_session *session, const char *user,
	const struct imap_grant *grant, uint32_t *account_r, struct error *error)
{
	const struct imap_server_options *options = session->options;
	bool may_create =
		options->may_create != NULL && options->may_create(options->context, user);
	int rc;

	/* Who keeps a backup here is no user, even if there is one of his name. */
	*account_r = 0;
	if (grant->rights.backup_folder != NULL)
		return 0;
	rc = mail_account_open(session->mail, bytes_of_string(user), may_create, NULL, account_r);
	if (rc == 0)
		rc = user_check(session, *account_r, error);
	if (rc == ERR_NOT_FOUND && (grant->is_peer || grant->is_admin)) {
		*account_r = 0;
		return 0;
	}
	return rc;
}

static void session_fill(struct imap_session *session, const char *user, uint32_t account,
	const struct imap_grant *grant)
{
	const struct imap_server_options *options = session->options;
	struct identity *identity = &session->identity;

	memcpy(identity->name, user, strlen(user) + 1);
	identity->account = account;
	identity->groups = options->groups;
	identity->is_admin = grant->is_admin;
	identity->is_read_only = grant->is_read_only;
	session->is_peer = grant->is_peer;
	session->sync_rights = grant->rights;
	sync_session_free(&session->sync); /* of whoever was logged in before */
	object_server_free(&session->objects);
	session->state = IMAP_AUTHENTICATED;
	net_connection_set_deadline(session->connection, 0);
	net_connection_set_idle_timeout(session->connection, options->idle_timeout_s);
}

static enum net_result accept(
	struct imap_session *session, const struct imap_login *login, const char *user)
{
	const char *tls = net_connection_tls_text(session->connection);

	net_connection_forgive(session->connection);
	imap_guard_passed(session->server->guard, login->authcid,
		net_connection_peer_address(session->connection));
	log_event(LOG_LEVEL_INFO, "login", "protocol", "imap", "account", user, "login",
		arena_string(session->arena, login->authcid), "peer",
		net_connection_peer(session->connection), "session",
		net_connection_id(session->connection), "mechanism", login->mechanism, "tls",
		tls[0] != '\0' ? tls : "none", NULL);
	imap_printf(session, "%s OK [CAPABILITY ", session->tag);
	imap_put_capabilities(session);
	imap_put(session, "] Logged in\r\n");
	return NET_DONE;
}

static int grant_get(struct imap_session *session, const char *authcid, const char *user,
	struct imap_grant *grant_r)
{
	const struct imap_server_options *options = session->options;

	*grant_r = (struct imap_grant){ 0 };
	if (options->authorize != NULL)
		return options->authorize(options->context, authcid, user, grant_r);
	return strcmp(authcid, user) == 0 ? 0 : ERR_REFUSED;
}

static unsigned connection_max(const struct imap_session *session, const struct imap_grant *grant)
{
	if (grant->is_peer || grant->is_admin || grant->is_delegate)
		return 0;
	return session->options->user_connection_max;
}

static enum net_result refuse_disabled(
	struct imap_session *session, const struct imap_login *login, int rc)
{
	if (rc == ERR_REFUSED)
		return refuse(session, login, "login disabled",
			"[AUTHORIZATIONFAILED] This account may not log in");
	imap_log_failure(session, rc, NULL);
	return refuse_unavailable(session, login);
}

/* He is who he says he is. */
static enum net_result authorize(struct imap_session *session, const struct imap_login *login)
{
	char authcid[ACCOUNT_NAME_SIZE_MAX + 1], user[ACCOUNT_NAME_SIZE_MAX + 1];
	struct error error = { 0 };
	struct imap_grant grant;
	uint32_t account;
	int rc;

	if (account_name_normalize(login->authcid, authcid) < 0 ||
		account_name_normalize(
			login->authzid.len > 0 ? login->authzid : login->authcid, user) < 0)
		return refuse_wrong(session, login);
	if (grant_get(session, authcid, user, &grant) < 0)
		return refuse(session, login, "may not act for another",
			"[AUTHORIZATIONFAILED] You may not act for another user");
	rc = account_open(session, user, &grant, &account, &error);
	if (rc == ERR_NOT_FOUND)
		return refuse(session, login, "no such account",
			"[AUTHORIZATIONFAILED] There is no mail account of that name here");
	if (rc == ERR_UNAVAILABLE)
		return refuse(session, login, "the account is held back",
			"[UNAVAILABLE] The account is not ready on this server, try again later");
	if (rc == ERR_REPLICA)
		return refuse(session, login, "the account was moved",
			imap_referral(session, user, &error));
	if (rc < 0) {
		imap_log_failure(session, rc, NULL);
		return refuse_unavailable(session, login);
	}
	imap_registry_remove(session->server->registry, &session->registration);
	if (imap_registry_add(session->server->registry, user, account, session->connection,
		    grant.is_delegate, connection_max(session, &grant), &session->registration) < 0)
		return refuse(session, login, "too many connections of this user",
			"[LIMIT] Too many connections of this user");
	/* After he is registered, so that a change from now on is not missed. */
	if (account != 0 && !grant.is_delegate)
		rc = account_login_check(session->mail, account);
	if (rc < 0) {
		imap_registry_remove(session->server->registry, &session->registration);
		return refuse_disabled(session, login, rc);
	}
	session_fill(session, user, account, &grant);
	return accept(session, login, user);
}

/* ---- When the answer is given ---- */

static enum net_result finish(struct imap_session *session, const struct imap_login *login)
{
	switch (login->step) {
	case SASL_DONE:
		return authorize(session, login);
	case SASL_UNAVAILABLE:
		return refuse_unavailable(session, login);
	default:
		if (login->is_guess && login->authcid.len > 0)
			imap_guard_failed(
				session->server->guard, login->authcid, clock_monotonic_ms());
		return refuse_wrong(session, login);
	}
}

static enum net_result finish_late(struct imap_session *session)
{
	return finish(session, session->work);
}

static enum net_result wait_and_finish(
	struct imap_session *session, const struct imap_login *login, unsigned wait_ms)
{
	struct imap_login *kept = arena_alloc(session->arena, sizeof(*kept));

	*kept = *login;
	kept->authcid = arena_copy(session->arena, login->authcid);
	kept->authzid = arena_copy(session->arena, login->authzid);
	session->work = kept;
	session->resume = finish_late;
	net_connection_pause(session->connection, wait_ms);
	return NET_AGAIN;
}

enum net_result imap_login_end(struct imap_session *session, const struct imap_login *login)
{
	unsigned wait_ms = 0;

	if (login->is_guess && login->authcid.len > 0 &&
		imap_guard_wait(session->server->guard, login->authcid,
			net_connection_peer_address(session->connection), clock_monotonic_ms(),
			&wait_ms) < 0)
		return refuse(session, login, "too many failed logins to this account",
			"[UNAVAILABLE] Too many failed logins to this account, try again later");
	return wait_ms > 0 ? wait_and_finish(session, login, wait_ms) : finish(session, login);
}
