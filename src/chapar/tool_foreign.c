#include "chapar/tool_foreign.h"

#include "base/arena.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define WORD_COUNT_MAX 16

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

/* "maildir:Mail" with the path made absolute, for the daemon has another working folder. */
static int place_add(struct request *request, const char *text, struct error *error)
{
	const char *colon = strchr(text, ':');
	char folder[PATH_MAX];

	if (colon == NULL || strncmp(colon, "://", 3) == 0 || colon[1] == '/') {
		add(request, text);
		return 0;
	}
	if (getcwd(folder, sizeof(folder)) == NULL)
		return error_set_errno(error, ERR_IO, errno, "this folder");
	add(request, arena_printf(request->arena, "%.*s:%s/%s", (int)(colon - text), text, folder,
			     colon + 1));
	return 0;
}

int tool_import(struct node *node, const struct tool_options *options, struct error *error)
{
	struct request request = { .arena = arena_new() };
	int rc;

	add(&request, "import");
	add_if(&request, options->is_json, "--json");
	add(&request, options->names[0]);
	rc = place_add(&request, options->names[1], error);
	add_if(&request, options->is_dry_run, "dry-run");
	add_if(&request, options->is_over_quota, "over-quota");
	add_if(&request, options->keeps_gone, "keep");
	if (rc == 0)
		rc = node_run(node, request.words, request.count, stdout, error);
	arena_free(&request.arena);
	return rc;
}
