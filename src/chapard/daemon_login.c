/*
 * Who may log in, and as whom: accounts, with the credentials in their records; the nodes of the
 * sync-user sections; and administrators, who may act as others. All share one space of names; a
 * sync-user hides an account of the same name, and is known by his own password and certificate
 * only, whatever saslauthd or an authorization server says of somebody who is called like him.
 */
#include "chapard/daemon_private.h"

#include "base/mem.h"
#include "base/random.h"
#include "mail/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PASSWORD_CACHE_COUNT 65536 /* logins remembered */
#define PASSWORD_CACHE_LIFE_S 3600
#define LOGIN_SECRET_NAME "login.secret"

/* ---- Names of the configuration ---- */

static const struct config_sync_user *sync_user_find(const struct daemon *daemon, struct bytes name)
{
	for (size_t i = 0; i < daemon->config->sync_user_count; i++)
		if (bytes_equal_string_nocase(name, daemon->config->sync_users[i].name))
			return &daemon->config->sync_users[i];
	return NULL;
}

static const struct config_admin *admin_find(const struct daemon *daemon, struct bytes name)
{
	for (size_t i = 0; i < daemon->config->admin_count; i++)
		if (bytes_equal_string_nocase(name, daemon->config->admins[i].name))
			return &daemon->config->admins[i];
	return NULL;
}

static const struct file_login *file_login_find(const struct daemon *daemon, struct bytes name)
{
	for (size_t i = 0; i < daemon->file_login_count; i++)
		if (bytes_equal_string_nocase(name, daemon->file_logins[i].name))
			return &daemon->file_logins[i];
	return NULL;
}

static bool is_reserved(void *context, struct bytes name)
{
	return sync_user_find(context, name) != NULL;
}

/* ---- Whether they are who they say ---- */

/* What was a user's may have become shared, or be so on another node. */
static int user_check(struct daemon *daemon, uint32_t account)
{
	struct kv_txn *kv = NULL;
	bool has_user = false;
	/* Before its first copy is whole who its user is may not have come yet. */
	int rc = mail_hold_check(daemon->mail, account, NULL);

	if (rc < 0)
		return rc;
	rc = mail_read_begin(daemon->mail, 0, &kv);
	if (rc == 0)
		rc = account_has_user(kv, account, &has_user);
	mail_read_end(&kv);
	return rc == 0 && !has_user ? ERR_NOT_FOUND : rc;
}

static int credentials_lookup(void *context, struct bytes name, struct buffer *blob)
{
	struct daemon *daemon = context;
	const struct file_login *login = file_login_find(daemon, name);
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	bool is_away;
	uint32_t number;
	int rc;

	if (login != NULL) {
		buffer_append_bytes(blob, buffer_bytes(&login->credentials));
		return 0;
	}
	if (is_reserved(daemon, name) || account_name_normalize(name, normal) < 0)
		return ERR_NOT_FOUND;
	rc = mail_account_open(daemon->mail, bytes_of_string(normal), false, NULL, &number);
	if (rc == 0)
		rc = user_check(daemon, number);
	/* Who he is he proves here, to be told where his account was moved. */
	is_away = rc == ERR_REPLICA;
	if (rc == 0 || is_away)
		rc = mail_credentials_get(daemon->mail, number, blob);
	/* It is just coming back, and what was left of it is cleared for that. */
	return is_away && rc == ERR_NOT_FOUND ? ERR_UNAVAILABLE : rc;
}

static bool is_certificate_of(
	const struct net_certificate *certificate, const struct config_sync_user *user)
{
	unsigned char pin[NET_PIN_SIZE];

	if (user->certificate == NULL)
		return false;
	net_certificate_pin(certificate, pin);
	if (user->pin.is_set)
		return memcmp(pin, user->pin.bytes, sizeof(pin)) == 0;
	return net_certificate_is_verified(certificate) &&
	       net_certificate_has_name(certificate, user->certificate);
}

/* The user's name as the configuration has it in certificates. */
static int user_of_certificate(
	const struct daemon *daemon, const struct net_certificate *certificate, struct buffer *name)
{
	int rc;

	if (daemon->config->login.client_ca == NULL || !net_certificate_is_verified(certificate))
		return ERR_NOT_FOUND;
	if (daemon->config->login.certificate_name == CONFIG_CERTIFICATE_COMMON_NAME)
		return net_certificate_common_name(certificate, name);
	rc = net_certificate_email(certificate, name);
	if (rc == 0 && daemon->config->account_names == CONFIG_NAMES_LOCAL_PART)
		name->len = bytes_find(buffer_bytes(name), '@');
	return rc;
}

int daemon_certificate_name(
	void *context, const struct net_certificate *certificate, struct buffer *name)
{
	struct daemon *daemon = context;
	int rc;

	for (size_t i = 0; i < daemon->config->sync_user_count; i++)
		if (is_certificate_of(certificate, &daemon->config->sync_users[i])) {
			buffer_append_string(name, daemon->config->sync_users[i].name);
			return 0;
		}
	rc = user_of_certificate(daemon, certificate, name);
	if (rc == 0 && (name->len == 0 || is_reserved(daemon, buffer_bytes(name)))) {
		buffer_clear(name);
		rc = ERR_NOT_FOUND;
	}
	return rc;
}

/* ---- As whom they may act ---- */

int daemon_authorize(
	void *context, const char *authcid, const char *user, struct imap_grant *grant_r)
{
	struct daemon *daemon = context;
	const struct config_sync_user *node = sync_user_find(daemon, bytes_of_string(authcid));
	const struct config_admin *admin = admin_find(daemon, bytes_of_string(authcid));
	bool is_himself = strcmp(authcid, user) == 0;

	*grant_r = (struct imap_grant){ 0 };
	if (node != NULL) {
		grant_r->is_peer = true;
		grant_r->is_read_only = node->is_read_only;
		grant_r->rights = (struct sync_rights){ .is_full = node->backup_folder == NULL,
			.backup_folder = node->backup_folder,
			.may_prune = node->backup_prune,
			.accounts = node->accounts,
			.mailboxes = node->mailboxes,
			.is_read_only = node->is_read_only,
			.no_delete = node->no_delete };
		return is_himself ? 0 : ERR_REFUSED;
	}
	if (admin == NULL)
		return is_himself ? 0 : ERR_REFUSED;
	grant_r->is_admin = is_himself;
	grant_r->is_delegate = !is_himself;
	grant_r->is_read_only = admin->is_read_only;
	grant_r->rights.is_read_only = admin->is_read_only;
	/* A node's rights are nobody else's. */
	return sync_user_find(daemon, bytes_of_string(user)) == NULL ? 0 : ERR_REFUSED;
}

/* ---- Starting ---- */

static int file_login_open(
	struct daemon *daemon, const char *name, const char *password_file, struct error *error)
{
	struct file_login *login = &daemon->file_logins[daemon->file_login_count];
	struct buffer secret = { 0 };
	int rc;

	if (password_file == NULL)
		return 0;
	rc = config_secret_read(password_file, &secret, error);
	login->name = name;
	if (rc == 0)
		rc = credentials_make(buffer_bytes(&secret), NULL, &login->credentials, error);
	if (rc == 0)
		daemon->file_login_count++;
	else
		error_prefix(error, "password of %s", name);
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&secret);
	return rc;
}

/* The salts of unknown accounts must be the same after a restart, else they tell who is unknown. */
static int login_secret_load(struct daemon *daemon, struct error *error)
{
	struct buffer path = { 0 };
	ssize_t size;
	int fd, rc = 0;

	buffer_printf(&path, "%s/" LOGIN_SECRET_NAME, daemon->config->store_path);
	fd = open(buffer_string(&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	size = fd == -1 ? -1 : read(fd, daemon->login_secret, LOGIN_SECRET_SIZE);
	if (size >= 0 && size < LOGIN_SECRET_SIZE) {
		random_bytes(daemon->login_secret, LOGIN_SECRET_SIZE);
		size = pwrite(fd, daemon->login_secret, LOGIN_SECRET_SIZE, 0);
	}
	if (size < LOGIN_SECRET_SIZE)
		rc = error_set_errno(error, ERR_IO, errno, "%s", buffer_string(&path));
	if (fd != -1)
		close(fd);
	buffer_deinit(&path);
	return rc;
}

static int file_logins_open(struct daemon *daemon, struct error *error)
{
	const struct config *config = daemon->config;
	int rc = 0;

	daemon->file_logins = mem_zalloc_array(
		config->sync_user_count + config->admin_count + 2, sizeof(*daemon->file_logins));
	for (size_t i = 0; i < config->sync_user_count && rc == 0; i++)
		rc = file_login_open(daemon, config->sync_users[i].name,
			config->sync_users[i].password_file, error);
	for (size_t i = 0; i < config->admin_count && rc == 0; i++)
		rc = file_login_open(
			daemon, config->admins[i].name, config->admins[i].password_file, error);
	if (rc == 0 && config->origin.user != NULL)
		rc = file_login_open(
			daemon, config->origin.user, config->origin.local_password_file, error);
	return rc;
}

int daemon_login_open(struct daemon *daemon, struct error *error)
{
	struct sasl_options options = {
		.lookup = credentials_lookup,
		.is_reserved = is_reserved,
		.context = daemon,
		.parameters = config_password_parameters(daemon->config),
		.secret = bytes_of(daemon->login_secret, LOGIN_SECRET_SIZE),
		.mechanisms = daemon->config->login.mechanisms,
	};
	int rc = login_secret_load(daemon, error);

	if (rc == 0)
		rc = file_logins_open(daemon, error);
	if (rc == 0)
		rc = daemon_ways_open(daemon, &options, error);
	if (rc < 0)
		return rc;
	daemon->password_cache = password_cache_new(PASSWORD_CACHE_COUNT, PASSWORD_CACHE_LIFE_S);
	options.cache = daemon->password_cache;
	daemon->authority = sasl_authority_new(&options);
	return 0;
}

void daemon_login_close(struct daemon *daemon)
{
	sasl_authority_free(&daemon->authority);
	password_cache_free(&daemon->password_cache);
	daemon_ways_close(daemon);
	for (size_t i = 0; i < daemon->file_login_count; i++)
		buffer_deinit(&daemon->file_logins[i].credentials);
	free(daemon->file_logins);
	daemon->file_logins = NULL;
	daemon->file_login_count = 0;
}

int daemon_login_check(const struct config *config, struct error *error)
{
	struct buffer secret = { 0 };
	int rc = 0;

	for (size_t i = 0; i < config->sync_user_count && rc == 0; i++)
		if (config->sync_users[i].password_file != NULL)
			rc = config_secret_read(
				config->sync_users[i].password_file, &secret, error);
	for (size_t i = 0; i < config->admin_count && rc == 0; i++)
		if (config->admins[i].password_file != NULL)
			rc = config_secret_read(config->admins[i].password_file, &secret, error);
	if (rc == 0 && config->login.token_secret_file != NULL)
		rc = config_secret_read(config->login.token_secret_file, &secret, error);
	if (rc == 0 && config->login.gssapi_keytab != NULL &&
		access(config->login.gssapi_keytab, R_OK) != 0)
		rc = error_set_errno(error, ERR_IO, errno, "%s", config->login.gssapi_keytab);
	if (secret.data != NULL)
		explicit_bzero(secret.data, secret.room);
	buffer_deinit(&secret);
	return rc;
}
