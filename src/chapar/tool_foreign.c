#include "chapar/tool_foreign.h"

#include "base/arena.h"
#include "chapar/clone_url.h"
#include "chapar/tool_password.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define WORD_COUNT_MAX 24
#define PASSWORD_VARIABLE "CHAPAR_PASSWORD"

struct request {
	const char *words[WORD_COUNT_MAX];
	size_t count;
	struct arena *arena;
};

static void add(struct request *request, const char *word)
{
	assert(request->count < WORD_COUNT_MAX);
	request->words[request->count++] = word;
}

static void add_if(struct request *request, bool condition, const char *word)
{
	if (condition)
		add(request, word);
}

static void add_value(struct request *request, const char *key, const char *value)
{
	if (value != NULL)
		add(request, arena_printf(request->arena, "%s=%s", key, value));
}

/* ---- an account on a server ---- */

static int password_take(const struct tool_options *options, const struct clone_url *url,
	struct buffer *password, struct error *error)
{
	const char *variable = getenv(PASSWORD_VARIABLE);
	struct buffer question = { 0 };
	int rc;

	if (options->password_file != NULL)
		return password_read(options->password_file, password, error);
	if (variable != NULL && variable[0] != '\0') {
		buffer_append_string(password, variable);
		return 0;
	}
	buffer_printf(&question, "Password of %s at %s",
		options->login != NULL ? options->login : url->user, url->host);
	rc = password_ask(buffer_string(&question), password, error);
	buffer_deinit(&question);
	return rc;
}

static int file_add(struct request *request, const char *key, const char *file, struct error *error)
{
	char *path = file != NULL ? realpath(file, NULL) : NULL;

	if (file != NULL && path == NULL)
		return error_set_errno(error, ERR_NOT_FOUND, errno, "%s", file);
	add_value(request, key, path);
	free(path);
	return 0;
}

static int server_add(struct request *request, const struct tool_options *options,
	struct buffer *password, struct error *error)
{
	struct clone_url url;
	int rc = clone_url_parse(options->names[1], &url, error);

	if (rc == 0 && url.user[0] == '\0')
		snprintf(url.user, sizeof(url.user), "%s", options->names[0]);
	if (rc == 0)
		rc = password_take(options, &url, password, error);
	if (rc < 0)
		return rc;
	add(request, "imap:");
	add_value(request, "host", url.host);
	add_value(request, "port", arena_printf(request->arena, "%u", url.port));
	add_value(request, "user", url.user);
	add_value(request, "login", options->login);
	add_value(request, "password", buffer_string(password));
	add_value(request, "tls",
		options->is_without_tls ? "none"
		: url.is_implicit_tls   ? "implicit"
					: "start");
	add_value(request, "pin", options->pin);
	return file_add(request, "ca-file", options->ca_file, error);
}

/* ---- files ---- */

/* "maildir:Mail" with the path made absolute, for the daemon has another working folder. */
static int place_add(struct request *request, const char *text, struct error *error)
{
	const char *colon = strchr(text, ':');
	char folder[PATH_MAX];

	if (colon == NULL || colon[1] == '/') {
		add(request, text);
		return 0;
	}
	if (getcwd(folder, sizeof(folder)) == NULL)
		return error_set_errno(error, ERR_IO, errno, "this folder");
	add(request, arena_printf(request->arena, "%.*s:%s/%s", (int)(colon - text), text, folder,
			     colon + 1));
	return 0;
}

static void wipe(struct request *request, struct buffer *password)
{
	if (password->data != NULL)
		explicit_bzero(password->data, password->room);
	for (size_t i = 0; i < request->count; i++)
		if (strncmp(request->words[i], "password=", 9) == 0)
			explicit_bzero(
				(char *)(uintptr_t)request->words[i], strlen(request->words[i]));
	buffer_deinit(password);
}

int tool_import(struct node *node, const struct tool_options *options, struct error *error)
{
	bool is_server = strncasecmp(options->names[1], "imap", 4) == 0;
	struct request request = { .arena = arena_new() };
	struct buffer password = { 0 };
	int rc;

	add(&request, "import");
	add_if(&request, options->is_json, "--json");
	add(&request, options->names[0]);
	rc = is_server ? server_add(&request, options, &password, error)
		       : place_add(&request, options->names[1], error);
	add_if(&request, options->is_dry_run, "dry-run");
	add_if(&request, options->is_over_quota, "over-quota");
	add_if(&request, options->keeps_gone, "keep");
	if (rc == 0)
		rc = node_run(node, request.words, request.count, stdout, error);
	wipe(&request, &password);
	arena_free(&request.arena);
	return rc;
}

int tool_export(struct node *node, const struct tool_options *options, struct error *error)
{
	struct request request = { .arena = arena_new() };
	int rc;

	add(&request, "export");
	add_if(&request, options->is_json, "--json");
	add(&request, options->names[0]);
	rc = place_add(&request, options->names[1], error);
	if (rc == 0)
		rc = node_run(node, request.words, request.count, stdout, error);
	arena_free(&request.arena);
	return rc;
}
