#include "chapar/tool_foreign.h"

#include "base/arena.h"
#include "chapar/clone_url.h"
#include "chapar/tool_password.h"
#include "chapard/json.h"

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

/* What is imported: of one account, or one line of a list. */
struct job {
	const struct tool_options *options;
	const char *account, *user, *source;
	struct buffer *secret; /* a password or token, asked for once; empty: not yet */
};

static int password_take(const struct job *job, const struct clone_url *url, struct error *error)
{
	const struct tool_options *options = job->options;
	const char *variable = getenv(PASSWORD_VARIABLE);
	struct buffer question = { 0 };
	int rc;

	if (job->secret->len > 0)
		return 0;
	if (options->token_file != NULL)
		return password_read(options->token_file, job->secret, error);
	if (options->password_file != NULL)
		return password_read(options->password_file, job->secret, error);
	if (variable != NULL && variable[0] != '\0') {
		buffer_append_string(job->secret, variable);
		return 0;
	}
	buffer_printf(&question, "Password of %s at %s",
		options->login != NULL ? options->login : url->user, url->host);
	rc = password_ask(buffer_string(&question), job->secret, error);
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

static int server_add(struct request *request, const struct job *job, struct error *error)
{
	const struct tool_options *options = job->options;
	struct clone_url url;
	int rc = clone_url_parse(job->source, &url, error);

	if (rc == 0 && url.user[0] == '\0')
		snprintf(url.user, sizeof(url.user), "%s", job->user);
	if (rc == 0)
		rc = password_take(job, &url, error);
	if (rc < 0)
		return rc;
	add(request, "imap:");
	add_value(request, "host", url.host);
	add_value(request, "port", arena_printf(request->arena, "%u", url.port));
	add_value(request, "user", arena_printf(request->arena, "%s", url.user));
	add_value(request, "login", options->login);
	add_value(request, options->token_file != NULL ? "token" : "password",
		buffer_string(job->secret));
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

static void secret_wipe(struct buffer *secret)
{
	if (secret->data != NULL)
		explicit_bzero(secret->data, secret->room);
	buffer_deinit(secret);
}

static void request_wipe(struct request *request)
{
	for (size_t i = 0; i < request->count; i++)
		if (strncmp(request->words[i], "password=", 9) == 0 ||
			strncmp(request->words[i], "token=", 6) == 0)
			explicit_bzero(
				(char *)(uintptr_t)request->words[i], strlen(request->words[i]));
}

static int job_run(struct node *node, const struct job *job, FILE *out, struct error *error)
{
	const struct tool_options *options = job->options;
	struct request request = { .arena = arena_new() };
	int rc;

	add(&request, "import");
	add_if(&request, options->is_json, "--json");
	add(&request, job->account);
	rc = strncasecmp(job->source, "imap", 4) == 0 ? server_add(&request, job, error)
						      : place_add(&request, job->source, error);
	add_if(&request, options->is_dry_run, "dry-run");
	add_if(&request, options->is_over_quota, "over-quota");
	add_if(&request, options->keeps_gone, "keep");
	if (rc == 0)
		rc = node_run(node, request.words, request.count, out, error);
	request_wipe(&request);
	arena_free(&request.arena);
	return rc;
}

/* ---- a list of accounts ---- */

struct list {
	struct node *node;
	const struct tool_options *options;
	const char *source; /* with %u and %n */
	struct buffer secret;
	size_t line_count, failed_count;
	struct error first;
};

/* %u is the user there, %n what is before the @ in it; other signs of per cent are the URL's. */
static char *source_of(struct arena *arena, const char *pattern, const char *user)
{
	bool is_url = strncasecmp(pattern, "imap", 4) == 0;
	struct buffer text = { 0 };
	char *copy;

	for (; *pattern != '\0'; pattern++) {
		if (pattern[0] == '%' && (pattern[1] == 'u' || pattern[1] == 'n')) {
			size_t len = pattern[1] == 'u' ? strlen(user) : strcspn(user, "@");

			/* In a URL the user ends at the last @, so one in his name is encoded. */
			for (size_t i = 0; i < len; i++)
				if (user[i] == '@' && is_url)
					buffer_append_string(&text, "%40");
				else
					buffer_append_byte(&text, user[i]);
			pattern++;
		} else {
			buffer_append_byte(&text, *pattern);
		}
	}
	copy = arena_printf(arena, "%s", buffer_string(&text));
	buffer_deinit(&text);
	return copy;
}

/* One value for programs: what was told of the account, and the error. */
static void tell_json(
	const struct list *list, const char *account, const char *told, const struct error *error)
{
	struct buffer out = { 0 };

	json_member_string(
		&out, list->line_count == 0 ? "[{" : ",{", "account", bytes_of_string(account));
	buffer_printf(&out, ",\"mailboxes\":%s", told[0] != '\0' ? told : "[]");
	json_member_string(
		&out, ",", "error", bytes_of_string(error->code != 0 ? error->text : ""));
	buffer_append_string(&out, "}\n");
	fwrite(out.data, 1, out.len, stdout);
	buffer_deinit(&out);
}

static int line_import(struct list *list, const struct job *job)
{
	struct error error = { 0 };
	char *told = NULL;
	size_t told_size = 0;
	FILE *out = list->options->is_json ? open_memstream(&told, &told_size) : stdout;
	int rc = out == NULL ? ERR_IO : 0;

	if (rc == 0 && !list->options->is_json)
		printf("%s:\n", job->account);
	if (rc == 0)
		rc = job_run(list->node, job, out, &error);
	if (rc < 0 && error.code == 0)
		error_set(&error, rc, "%s", error_name(rc));
	if (list->options->is_json && out != NULL)
		fclose(out);
	if (list->options->is_json)
		tell_json(list, job->account, told != NULL ? told : "", &error);
	else if (rc < 0)
		fprintf(stderr, "chapar: %s: %s\n", job->account, error.text);
	free(told);
	list->line_count++;
	list->failed_count += rc < 0;
	if (rc < 0 && list->first.code == 0)
		list->first = error;
	/* A disk that is full is so for all that follow. */
	return error.code == ERR_FULL ? rc : 0;
}

/* ACCOUNT [USER [PASSWORD]], with blanks between them; the password goes to the line's end. */
static int line_take(struct list *list, char *line)
{
	struct arena *arena = arena_new();
	struct buffer own = { 0 };
	struct job job = { .options = list->options, .secret = &list->secret };
	char *next;
	int rc = 0;

	job.account = strtok_r(line, " \t", &next);
	job.user = job.account != NULL ? strtok_r(NULL, " \t", &next) : NULL;
	if (job.user == NULL)
		job.user = job.account;
	else
		next += strspn(next, " \t");
	if (job.user != job.account && next[0] != '\0') {
		buffer_append_string(&own, next);
		job.secret = &own;
	}
	if (job.account != NULL && job.account[0] != '#') {
		job.source = source_of(arena, list->source, job.user);
		rc = line_import(list, &job);
	}
	secret_wipe(&own);
	arena_free(&arena);
	return rc;
}

static int list_run(struct node *node, const struct tool_options *options, struct error *error)
{
	struct list list = { .node = node, .options = options, .source = options->names[0] };
	struct buffer line = { 0 };
	FILE *in = NULL;
	int rc = input_open(options->from_file, &in, error);

	while (rc == 0) {
		rc = line_read(in, &line, error);
		if (rc == 0 && line.len > 0)
			rc = line_take(&list, (char *)line.data);
	}
	if (rc == ERR_NOT_FOUND && in != NULL)
		rc = 0; /* the end */
	input_close(&in);
	secret_wipe(&line);
	secret_wipe(&list.secret);
	if (options->is_json && list.line_count == 0)
		fputs("[", stdout);
	if (options->is_json)
		fputs("]\n", stdout);
	if (rc == 0 && list.failed_count > 0)
		rc = error_set(error, list.first.code, "%zu of %zu accounts failed: the first: %s",
			list.failed_count, list.line_count, list.first.text);
	return rc;
}

int tool_import(struct node *node, const struct tool_options *options, struct error *error)
{
	struct buffer secret = { 0 };
	struct job job = { .options = options,
		.account = options->names[0],
		.user = options->names[0],
		.source = options->names[1],
		.secret = &secret };
	int rc;

	if (options->from_file != NULL)
		return list_run(node, options, error);
	rc = job_run(node, &job, stdout, error);
	secret_wipe(&secret);
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
	add_value(&request, "mailbox", options->mailbox);
	if (rc == 0)
		rc = node_run(node, request.words, request.count, stdout, error);
	arena_free(&request.arena);
	return rc;
}
