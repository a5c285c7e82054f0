/*
 * Who may log in: accounts, with the credentials in their records, and the nodes of the sync-user
 * sections. Both share one space of names; a sync-user hides an account of the same name.
 */
#include "chapard/daemon_private.h"

#include "base/mem.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define PASSWORD_CACHE_COUNT 65536 /* logins remembered */
#define PASSWORD_CACHE_LIFE_S 3600
#define LOGIN_SECRET_NAME "login.secret"

static const struct sync_login *sync_login_find(const struct daemon *daemon, struct bytes name)
{
	for (size_t i = 0; i < daemon->config->sync_user_count; i++)
		if (bytes_equal_string_nocase(name, daemon->sync_logins[i].name))
			return &daemon->sync_logins[i];
	return NULL;
}

bool daemon_is_peer(void *context, const char *user_name)
{
	return sync_login_find(context, bytes_of_string(user_name)) != NULL;
}

static int credentials_lookup(void *context, struct bytes name, struct buffer *blob)
{
	struct daemon *daemon = context;
	const struct sync_login *login = sync_login_find(daemon, name);
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	uint32_t number;
	int rc;

	if (login != NULL) {
		buffer_append_bytes(blob, buffer_bytes(&login->credentials));
		return 0;
	}
	if (account_name_normalize(name, normal) < 0)
		return ERR_NOT_FOUND;
	rc = mail_account_open(daemon->mail, bytes_of_string(normal), false, NULL, &number);
	if (rc < 0)
		return rc;
	return mail_credentials_get(daemon->mail, number, blob);
}

static int sync_login_open(
	const struct config_sync_user *user, struct sync_login *login, struct error *error)
{
	struct buffer secret = { 0 };
	int rc = config_secret_read(user->password_file, &secret, error);

	login->name = user->name;
	if (rc == 0)
		rc = credentials_make(buffer_bytes(&secret), NULL, &login->credentials, error);
	if (rc < 0)
		error_prefix(error, "sync-user %s", user->name);
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

int daemon_login_open(struct daemon *daemon, struct error *error)
{
	struct sasl_options options = {
		.lookup = credentials_lookup,
		.context = daemon,
		.parameters = password_parameters_default(),
		.secret = bytes_of(daemon->login_secret, LOGIN_SECRET_SIZE),
	};
	size_t count = daemon->config->sync_user_count;
	int rc = login_secret_load(daemon, error);

	daemon->sync_logins = mem_zalloc_array(count + 1, sizeof(*daemon->sync_logins));
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = sync_login_open(
			&daemon->config->sync_users[i], &daemon->sync_logins[i], error);
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
	for (size_t i = 0; daemon->sync_logins != NULL && i < daemon->config->sync_user_count; i++)
		buffer_deinit(&daemon->sync_logins[i].credentials);
	free(daemon->sync_logins);
	daemon->sync_logins = NULL;
}
