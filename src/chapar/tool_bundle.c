#include "chapar/tool_bundle.h"

#include "base/arena.h"
#include "chapar/tool_password.h"
#include "chapard/json.h"
#include "sync/bundle.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PASSPHRASE_VARIABLE "CHAPAR_PASSPHRASE"

/* ---- the secret ---- */

/* Whether a file that is there needs a passphrase. */
static bool needs_passphrase(const char *file)
{
	struct bundle_secret none = { 0 };
	struct bundle_reader *reader = NULL;
	struct error error = { 0 };
	int rc = bundle_reader_open(file, &none, &reader, &error);

	bundle_reader_free(&reader);
	return rc == ERR_REFUSED;
}

/* The passphrase stays empty where there is none. */
static int passphrase_take(
	const struct tool_options *options, struct buffer *passphrase, struct error *error)
{
	bool is_create = options->command == TOOL_BUNDLE_CREATE;
	const char *variable = getenv(PASSPHRASE_VARIABLE);

	if (options->key_file != NULL &&
		(options->passphrase_file != NULL || options->is_encrypted))
		return error_set(
			error, ERR_INVALID, "a bundle has a key file or a passphrase, not both");
	if (options->key_file != NULL)
		return 0;
	if (options->passphrase_file != NULL)
		return password_read(options->passphrase_file, passphrase, error);
	if (is_create ? !options->is_encrypted : !needs_passphrase(options->names[0]))
		return 0;
	if (variable != NULL && variable[0] != '\0') {
		buffer_append_string(passphrase, variable);
		return 0;
	}
	return is_create ? password_read(NULL, passphrase, error)
			 : password_ask("Passphrase", passphrase, error);
}

static void passphrase_wipe(struct buffer *passphrase)
{
	if (passphrase->data != NULL)
		explicit_bzero(passphrase->data, passphrase->room);
	buffer_deinit(passphrase);
}

/* ---- on a node ---- */

/* The daemon has another working folder. */
static int path_make(
	struct arena *arena, const char *file, const char **path_r, struct error *error)
{
	char folder[PATH_MAX];

	if (file[0] != '/' && getcwd(folder, sizeof(folder)) == NULL)
		return error_set_errno(error, ERR_IO, errno, "this folder");
	*path_r = file[0] == '/' ? file : arena_printf(arena, "%s/%s", folder, file);
	return 0;
}

struct request {
	const char *words[8];
	size_t count;
	struct arena *arena;
	int rc;
	struct error *error;
};

static void add_file(struct request *request, const char *key, const char *file)
{
	const char *path = NULL;

	if (file == NULL || request->rc < 0)
		return;
	request->rc = path_make(request->arena, file, &path, request->error);
	if (request->rc == 0)
		request->words[request->count++] = arena_printf(request->arena, "%s%s", key, path);
}

int tool_bundle(struct node *node, const struct tool_options *options, struct error *error)
{
	bool is_create = options->command == TOOL_BUNDLE_CREATE;
	struct request request = { .arena = arena_new(), .error = error };
	struct buffer passphrase = { 0 };
	const char *reply = options->reply;

	request.rc = passphrase_take(options, &passphrase, error);
	request.words[request.count++] = is_create ? "bundle-create" : "bundle-apply";
	if (options->is_json)
		request.words[request.count++] = "--json";
	add_file(&request, "", options->names[0]);
	if (!is_create && reply == NULL)
		reply = arena_printf(request.arena, "%s.reply", options->names[0]);
	add_file(&request, is_create ? "since=" : "reply=", is_create ? options->since : reply);
	add_file(&request, "key-file=", options->key_file);
	if (options->account != NULL)
		request.words[request.count++] =
			arena_printf(request.arena, "account=%s", options->account);
	if (passphrase.len > 0)
		request.words[request.count++] =
			arena_printf(request.arena, "passphrase=%s", buffer_string(&passphrase));
	if (request.rc == 0)
		request.rc = node_run(node, request.words, request.count, stdout, error);
	if (passphrase.len > 0)
		explicit_bzero((char *)request.words[request.count - 1],
			strlen(request.words[request.count - 1]));
	passphrase_wipe(&passphrase);
	arena_free(&request.arena);
	return request.rc;
}

/* ---- without one ---- */

struct listing {
	FILE *out;
	bool is_json;
	uint64_t count;
};

static void account_json(struct listing *listing, const struct bundle_account *account)
{
	struct buffer text = { 0 };

	json_member_string(&text, listing->count++ == 0 ? "{" : ",\n{", "account",
		bytes_of_string(account->name));
	json_member_bool(&text, ",", "changed", account->is_changed);
	json_member_number(&text, ",", "since", account->since);
	json_member_number(&text, ",", "sequence", account->sequence);
	buffer_printf(&text, ",\"digest\":\"%016llx%016llx\"}",
		(unsigned long long)account->digest.high, (unsigned long long)account->digest.low);
	fputs(buffer_string(&text), listing->out);
	buffer_deinit(&text);
}

static void account_tell(void *context, const struct bundle_account *account)
{
	struct listing *listing = context;

	if (listing->is_json)
		account_json(listing, account);
	else if (!account->is_changed)
		fprintf(listing->out, "%s: unchanged\n", account->name);
	else if (account->since == 0)
		fprintf(listing->out, "%s: all of it\n", account->name);
	else
		fprintf(listing->out, "%s: changes %llu to %llu\n", account->name,
			(unsigned long long)account->since, (unsigned long long)account->sequence);
}

static void summary_json(const struct bundle_summary *sum, FILE *out)
{
	struct buffer text = { 0 };

	buffer_printf(&text, "\"node\":\"%016llx\"", (unsigned long long)sum->about.node);
	json_member_string(&text, ",", "name", bytes_of_string(sum->about.name.name));
	json_member_number(&text, ",", "created-ms", sum->about.created_ms);
	json_member_bool(&text, ",", "reply", sum->about.is_reply);
	json_member_bool(&text, ",", "encrypted", sum->is_encrypted);
	json_member_number(&text, ",", "records", sum->record_count);
	json_member_number(&text, ",", "messages", sum->body_count);
	json_member_number(&text, ",", "message-bytes", sum->body_bytes);
	json_member_number(&text, ",", "bytes", sum->size);
	fprintf(out, "%s}\n", buffer_string(&text));
	buffer_deinit(&text);
}

static void summary_text(const struct bundle_summary *sum, FILE *out)
{
	time_t created = (time_t)(sum->about.created_ms / 1000);
	struct tm parts;
	char when[32];

	gmtime_r(&created, &parts);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &parts);
	fprintf(out, "made      %s by node %s (id %016llx)%s\n", when,
		sum->about.name.name[0] != '\0' ? sum->about.name.name : "?",
		(unsigned long long)sum->about.node,
		sum->about.is_reply ? ", in reply to a bundle that was refused" : "");
	fprintf(out,
		"holds     %llu of %llu accounts, %llu changes with %llu messages of %llu bytes\n",
		(unsigned long long)sum->changed_count, (unsigned long long)sum->account_count,
		(unsigned long long)sum->record_count, (unsigned long long)sum->body_count,
		(unsigned long long)sum->body_bytes);
	fprintf(out, "file      %llu bytes, %s; undamaged\n", (unsigned long long)sum->size,
		sum->is_encrypted ? "encrypted" : "not encrypted");
}

int tool_bundle_check(const struct tool_options *options, FILE *out, struct error *error)
{
	bool is_info = options->command == TOOL_BUNDLE_INFO;
	struct listing listing = { .out = out, .is_json = options->is_json };
	struct buffer passphrase = { 0 };
	struct bundle_secret secret = { .key_file = options->key_file };
	struct bundle_summary sum;
	int rc = passphrase_take(options, &passphrase, error);

	if (rc < 0)
		return rc;
	secret.passphrase = passphrase.len > 0 ? buffer_string(&passphrase) : NULL;
	if (options->is_json)
		fputs("{\"accounts\":[", out);
	rc = bundle_check(
		options->names[0], &secret, is_info ? account_tell : NULL, &listing, &sum, error);
	if (options->is_json)
		fputs("],\n", out);
	if (rc == 0 && options->is_json)
		summary_json(&sum, out);
	else if (rc == 0 && is_info)
		summary_text(&sum, out);
	else if (rc == 0)
		fprintf(out, "%s is whole\n", options->names[0]);
	else if (options->is_json)
		fputs("\"error\":true}\n", out);
	passphrase_wipe(&passphrase);
	return rc;
}
