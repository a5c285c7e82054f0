#include "chapar/tool_clone.h"

#include "base/mem.h"
#include "chapar/clone_url.h"
#include "chapar/tool_password.h"
#include "chapar/tool_scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PASSWORD_VARIABLE "CHAPAR_PASSWORD"

int clone_find(const char *folder, struct buffer *file, struct error *error)
{
	struct stat info;

	buffer_printf(file, "%s/" CLONE_CONFIG_NAME, folder);
	if (stat(buffer_string(file), &info) != 0)
		return errno == ENOENT || errno == ENOTDIR
			       ? error_set(error, ERR_NOT_FOUND, "%s is no clone", folder)
			       : error_set_errno(error, ERR_IO, errno, "%s", folder);
	if (info.st_uid != geteuid())
		return error_set(
			error, ERR_REFUSED, "%s belongs to another user", buffer_string(file));
	return 0;
}

/* ---- making the folder ---- */

/* A value of the configuration file, so that it is read as it is. */
static void value_write(struct buffer *out, const char *key, const char *value)
{
	buffer_printf(out, "  %s = \"", key);
	for (; *value != '\0'; value++) {
		if (strchr("\"\\$", *value) != NULL)
			buffer_append_byte(out, '\\');
		buffer_append_byte(out, *value);
	}
	buffer_append_string(out, "\"\n");
}

/* Of a file that exists; the configuration's relative paths are relative to the clone. */
static int path_write(struct buffer *out, const char *key, const char *file, struct error *error)
{
	char path[PATH_MAX];

	if (file == NULL)
		return 0;
	if (realpath(file, path) == NULL)
		return error_set_errno(
			error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s", file);
	value_write(out, key, path);
	return 0;
}

static int origin_write(const struct clone_url *url, const struct tool_options *options,
	struct buffer *out, struct error *error)
{
	const char *password_file = options->password_file;
	struct buffer address = { 0 };
	int rc;

	buffer_printf(&address, strchr(url->host, ':') != NULL ? "[%s]:%u" : "%s:%u", url->host,
		url->port);
	buffer_append_string(out, "origin {\n");
	value_write(out, "address", buffer_string(&address));
	buffer_deinit(&address);
	value_write(out, "user", url->user);
	value_write(out, "tls",
		options->is_without_tls ? "none"
		: url->is_implicit_tls  ? "implicit"
					: "starttls");
	if (options->pin != NULL)
		value_write(out, "pin", options->pin);
	rc = path_write(out, "ca-file", options->ca_file, error);
	if (rc == 0 && password_file != NULL && strcmp(password_file, "-") != 0)
		rc = path_write(out, "password-file", password_file, error);
	buffer_append_string(out, "}\n");
	return rc;
}

static int file_write(const char *path, int flags, struct bytes text, struct error *error)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
	ssize_t size = fd == -1 ? -1 : write(fd, text.ptr, text.len);
	int rc = 0;

	if (size != (ssize_t)text.len || fsync(fd) != 0)
		rc = error_set_errno(error, error_from_errno(errno), errno, "%s", path);
	if (fd != -1)
		close(fd);
	return rc;
}

static int config_write(const char *folder, const struct clone_url *url,
	const struct tool_options *options, struct error *error)
{
	struct buffer text = { 0 }, path = { 0 };
	int rc;

	buffer_append_string(&text,
		"# A copy of a mail account, made by chapar clone; see chapar(1).\n"
		"node = \"clone\"\n"
		"log-level = \"warning\"\n"
		"workers = 8\n"
		"io-threads = 1\n"
		"allow-plaintext-loopback = true\n"
		"store { path = \"store\" }\n"
		"# What mail programs on this machine are served on; chapar serve chooses a port.\n"
		"listen imap { address = \"127.0.0.1:0\" }\n");
	rc = origin_write(url, options, &text, error);
	buffer_printf(&path, "%s/" CLONE_CONFIG_NAME, folder);
	if (rc == 0)
		rc = file_write(buffer_string(&path), O_EXCL, buffer_bytes(&text), error);
	buffer_deinit(&text);
	buffer_deinit(&path);
	return rc;
}

static int folder_make(const char *folder, struct error *error)
{
	if (mkdir(folder, 0700) == 0)
		return 0;
	if (errno == EEXIST && rmdir(folder) == 0 && mkdir(folder, 0700) == 0)
		return 0; /* it was empty */
	if (errno == EEXIST || errno == ENOTEMPTY || errno == ENOTDIR)
		return error_set(error, ERR_EXISTS, "%s is there already, and not empty", folder);
	return error_set_errno(error, errno == ENOENT ? ERR_NOT_FOUND : error_from_errno(errno),
		errno, "%s", folder);
}

/* ---- what is asked of the node ---- */

static int password_take(const struct config *config, const struct tool_options *options,
	struct buffer *password, struct error *error)
{
	const struct config_origin *origin = &config->origin;
	const char *variable = getenv(PASSWORD_VARIABLE);
	struct buffer question = { 0 };
	int rc;

	if (options->password_file != NULL && strcmp(options->password_file, "-") == 0)
		return password_read("-", password, error);
	if (options->password_file != NULL)
		return config_secret_read(options->password_file, password, error);
	if (variable != NULL && variable[0] != '\0') {
		buffer_append_string(password, variable);
		return 0;
	}
	if (origin->password_file != NULL)
		return config_secret_read(origin->password_file, password, error);
	buffer_printf(&question, "Password of %s at %s", origin->user, origin->address.text);
	rc = password_ask(buffer_string(&question), password, error);
	buffer_deinit(&question);
	return rc;
}

static int origin_run(const struct config *config, struct node *node, const char *mode,
	const struct tool_options *options, struct error *error)
{
	const char *words[6] = { "origin-sync" };
	struct buffer password = { 0 };
	size_t count = 1;
	int rc;

	if (config->origin.address.text == NULL)
		return error_set(error, ERR_INVALID, "%s: this is no clone", config->file);
	rc = password_take(config, options, &password, error);
	if (options->is_json)
		words[count++] = "--json";
	words[count++] = mode;
	words[count++] = buffer_string(&password);
	if (options->is_watch)
		words[count++] = "watch";
	if (rc == 0)
		rc = node_run(node, words, count, stdout, error);
	if (password.data != NULL)
		explicit_bzero(password.data, password.room);
	buffer_deinit(&password);
	return rc;
}

int tool_sync(const struct config *config, struct node *node, const struct tool_options *options,
	struct error *error)
{
	const char *mode = options->command == TOOL_PULL   ? "pull"
			   : options->command == TOOL_PUSH ? "push"
							   : "sync";

	return origin_run(config, node, mode, options, error);
}

/* ---- clone ---- */

/* Whether anything of the origin has come: then it is worth keeping, and goes on from there. */
static bool has_mail(struct node *node)
{
	static const char *const words[] = { "origin-met" };
	struct error ignored = { 0 };
	FILE *nowhere = fopen("/dev/null", "we");
	int rc = nowhere != NULL ? node_run(node, words, 1, nowhere, &ignored) : 0;

	if (nowhere != NULL)
		fclose(nowhere);
	return rc == 0;
}

static int clone_fill(const char *folder, const struct tool_options *options, bool *is_kept_r,
	struct error *error)
{
	struct buffer file = { 0 };
	struct config *config = NULL;
	struct node *node = NULL;
	int rc = clone_find(folder, &file, error);

	*is_kept_r = false;
	if (rc == 0)
		rc = config_load(buffer_string(&file), &config, error);
	if (rc == 0)
		rc = node_open(config, &node, error);
	if (rc == 0) {
		rc = origin_run(config, node, "pull", options, error);
		*is_kept_r = rc == 0 || has_mail(node);
	}
	node_close(&node);
	config_free(&config);
	buffer_deinit(&file);
	return rc;
}

static int user_complete(struct clone_url *url, struct error *error)
{
	const struct passwd *entry = url->user[0] == '\0' ? getpwuid(geteuid()) : NULL;

	if (url->user[0] == '\0' && entry == NULL)
		return error_set(error, ERR_INVALID, "say as whom: imaps://USER@HOST/");
	if (url->user[0] == '\0')
		snprintf(url->user, sizeof(url->user), "%s", entry->pw_name);
	return 0;
}

int tool_clone(const struct tool_options *options, struct error *error)
{
	const char *folder;
	struct clone_url url;
	bool is_kept = false;
	int rc = clone_url_parse(options->names[0], &url, error);

	if (rc == 0)
		rc = user_complete(&url, error);
	if (rc < 0)
		return rc;
	folder = options->name_count > 1 ? options->names[1] : url.user;
	if (options->name_count < 2 && strchr(url.user, '/') != NULL)
		return error_set(error, ERR_INVALID, "say into which folder");
	rc = folder_make(folder, error);
	if (rc < 0)
		return rc;
	rc = config_write(folder, &url, options, error);
	if (rc == 0)
		rc = clone_fill(folder, options, &is_kept, error);
	if (rc < 0 && !is_kept)
		tool_folder_remove(folder);
	else if (rc < 0)
		fprintf(stderr, "chapar: %s is not complete; chapar pull %s goes on\n", folder,
			folder);
	return rc;
}
