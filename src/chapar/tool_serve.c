/*
 * chapar serve: the daemon's own parts, run for a clone on loopback. What it chooses once, the port
 * and a local password, stays in the clone, so that mail programs need to be told only once.
 */
#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "chapar/tool_clone.h"
#include "chapard/daemon.h"
#include "chapard/origin.h"
#include "chapard/storage.h"
#include "mail/mail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCAL_PASSWORD_NAME "local-password"
#define LOCAL_PASSWORD_SIZE 12 /* random bytes */
#define CONFIG_SIZE_MAX (1024 * 1024)
#define PORT_FREE "127.0.0.1:0\""

/* ---- changes of clone.conf ---- */

static int text_read(const char *path, struct buffer *text, struct error *error)
{
	FILE *in = fopen(path, "re");
	char block[4096];
	size_t size;
	int rc = 0;

	if (in == NULL)
		return error_set_errno(error, ERR_IO, errno, "%s", path);
	while ((size = fread(block, 1, sizeof(block), in)) > 0 && text->len <= CONFIG_SIZE_MAX)
		buffer_append(text, block, size);
	if (ferror(in) || text->len > CONFIG_SIZE_MAX)
		rc = error_set(error, ERR_IO, "%s cannot be read", path);
	fclose(in);
	return rc;
}

/* In place of the old file, all or nothing. */
static int text_replace(const char *path, struct bytes text, struct error *error)
{
	struct buffer fresh = { 0 };
	ssize_t size = -1;
	int fd, rc = 0;

	buffer_printf(&fresh, "%s.new", path);
	fd = open(buffer_string(&fresh), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd != -1)
		size = write(fd, text.ptr, text.len);
	if (size != (ssize_t)text.len || fsync(fd) != 0 || rename(buffer_string(&fresh), path) != 0)
		rc = error_set_errno(error, error_from_errno(errno), errno, "%s", path);
	if (fd != -1)
		close(fd);
	buffer_deinit(&fresh);
	return rc;
}

/* Puts `with` in place of the first `what`, or behind it. A file without it is the user's own. */
static int config_edit(const struct config *config, const char *what, const char *with,
	bool is_behind, struct error *error)
{
	struct buffer text = { 0 }, edited = { 0 };
	const char *found;
	int rc = text_read(config->file, &text, error);

	found = rc == 0 ? strstr(buffer_string(&text), what) : NULL;
	if (found != NULL) {
		size_t at = (size_t)(found - buffer_string(&text)) + (is_behind ? strlen(what) : 0);
		size_t rest = at + (is_behind ? 0 : strlen(what));

		buffer_append(&edited, text.data, at);
		buffer_append_string(&edited, with);
		buffer_append(&edited, text.data + rest, text.len - rest);
		rc = text_replace(config->file, buffer_bytes(&edited), error);
	}
	buffer_deinit(&text);
	buffer_deinit(&edited);
	return rc;
}

/* ---- the password ---- */

static void prefix_take(char **prefix, const char *text)
{
	if (text[0] == '\0')
		return;
	free(*prefix);
	*prefix = mem_strdup(text);
}

/* Others' mailboxes are found here as they are at the origin. */
static int prefixes_take(struct config *config, struct mail *mail)
{
	struct origin_state state = { 0 };
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(mail, 0, &kv);

	if (rc == 0)
		rc = origin_state_get(kv, &state);
	mail_read_end(&kv);
	if (rc == 0 && strcasecmp(state.other_users_prefix, state.shared_prefix) != 0) {
		prefix_take(&config->other_users_prefix, state.other_users_prefix);
		prefix_take(&config->shared_prefix, state.shared_prefix);
	}
	return rc;
}

/* Whether mail programs can log in with what is known of the user's own password here. */
static int look(struct config *config, bool *has_r, struct error *error)
{
	struct buffer blob = { 0 };
	struct store *store = NULL;
	struct mail *mail = NULL;
	struct kv_txn *kv = NULL;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint32_t number;
	int rc = storage_open(config, &store, error);

	*has_r = false;
	if (rc == 0)
		rc = mail_open(store, clock_system(), &mail);
	if (rc == 0)
		rc = prefixes_take(config, mail);
	if (rc == 0 && account_name_normalize(bytes_of_string(config->origin.user), name) == 0) {
		rc = mail_read_begin(mail, 0, &kv);
		if (rc == 0)
			rc = account_find(kv, bytes_of_string(name), &number);
		mail_read_end(&kv);
		if (rc == 0)
			rc = mail_credentials_get(mail, number, &blob);
		*has_r = rc == 0;
	}
	mail_close(&mail);
	store_close(&store);
	buffer_deinit(&blob);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return error_set(error, rc, "%s cannot be opened: %s", config->store_path,
			error != NULL && error->code != 0 ? error->text : error_name(rc));
	return 0;
}

static int local_password_make(struct config *config, struct error *error)
{
	unsigned char random[LOCAL_PASSWORD_SIZE];
	struct buffer text = { 0 }, path = { 0 };
	int rc;

	random_bytes(random, sizeof(random));
	encode_hex(&text, bytes_of(random, sizeof(random)));
	buffer_append_byte(&text, '\n');
	buffer_printf(&path, "%s/" LOCAL_PASSWORD_NAME, config->folder);
	rc = text_replace(buffer_string(&path), buffer_bytes(&text), error);
	if (rc == 0)
		rc = config_edit(config, "origin {\n",
			"  local-password-file = \"" LOCAL_PASSWORD_NAME "\"\n", true, error);
	if (rc == 0)
		config->origin.local_password_file = mem_strdup(buffer_string(&path));
	explicit_bzero(text.data, text.room);
	buffer_deinit(&text);
	buffer_deinit(&path);
	return rc;
}

static int password_prepare(
	struct config *config, const struct tool_options *options, struct error *error)
{
	bool has = false;
	int rc = look(config, &has, error);

	if (rc < 0 || config->origin.local_password_file != NULL ||
		(has && !options->has_local_password))
		return rc;
	return local_password_make(config, error);
}

/* ---- serving ---- */

static int port_take(struct config *config, const char *text, struct error *error)
{
	char *end;
	unsigned long port = text != NULL ? strtoul(text, &end, 10) : 0;

	if (text == NULL)
		return 0;
	if (end == text || *end != '\0' || port == 0 || port > UINT16_MAX)
		return error_set(error, ERR_INVALID, "%.20s is no port", text);
	config->listeners[0].address.port = (uint16_t)port;
	return 0;
}

static int port_keep(const struct config *config, uint16_t port, struct error *error)
{
	char text[32];

	snprintf(text, sizeof(text), "127.0.0.1:%u\"", port);
	return config_edit(config, PORT_FREE, text, false, error);
}

static int announce(const struct config *config, uint16_t port, struct error *error)
{
	struct buffer password = { 0 };
	int rc = 0;

	if (config->origin.local_password_file != NULL)
		rc = config_secret_read(config->origin.local_password_file, &password, error);
	if (rc == 0)
		printf("serving imap://%s@127.0.0.1:%u/, password: %s; end with Ctrl-C\n",
			config->origin.user, port,
			password.len > 0 ? buffer_string(&password) : "as at the origin");
	if (password.data != NULL)
		explicit_bzero(password.data, password.room);
	buffer_deinit(&password);
	fflush(stdout);
	return rc;
}

int tool_serve(struct config *config, const struct tool_options *options, struct error *error)
{
	struct daemon *daemon = NULL;
	bool has_port;
	int rc;

	if (config->origin.address.text == NULL)
		return error_set(error, ERR_INVALID, "%s: this is no clone", config->file);
	log_level_set((enum log_level)config->log_level);
	rc = port_take(config, options->port, error);
	if (rc == 0)
		rc = password_prepare(config, options, error);
	if (rc < 0)
		return rc;
	has_port = config->listeners[0].address.port != 0;
	rc = daemon_start(config, &daemon, error);
	if (rc == 0 && !has_port)
		rc = port_keep(config, daemon_port(daemon, 0), error);
	if (rc == 0)
		rc = announce(config, daemon_port(daemon, 0), error);
	if (rc == 0)
		rc = daemon_wait(daemon);
	daemon_stop(&daemon);
	return rc;
}
