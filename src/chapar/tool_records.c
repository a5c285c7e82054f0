#include "chapar/tool_records.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "chapar/tool_password.h"
#include "mail/script.h"

#include <stdlib.h>
#include <time.h>

int tool_time_parse(const char *text, uint64_t now_ms, uint64_t *ms_r, struct error *error)
{
	static const struct {
		char letter;
		uint64_t ms;
	} units[] = { { 'm', 60000 }, { 'h', 3600000 }, { 'd', 86400000 } };
	struct tm parts = { 0 };
	char *end;
	uint64_t number = strtoull(text, &end, 10);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (end == text || end[0] != units[i].letter || end[1] != '\0' ||
			number > now_ms / units[i].ms)
			continue;
		*ms_r = now_ms - number * units[i].ms;
		return 0;
	}
	end = strptime(text, "%Y-%m-%d", &parts);
	if (end != NULL && (*end == 'T' || *end == ' ')) {
		const char *time = end + 1;

		end = strptime(time, "%H:%M:%S", &parts);
		if (end == NULL)
			end = strptime(time, "%H:%M", &parts);
	}
	if (end != NULL && *end == 'Z')
		end++;
	if (end == NULL || *end != '\0' || timegm(&parts) < 0)
		return error_set(error, ERR_INVALID,
			"\"%.40s\" is no time: 2026-11-21, 2026-11-21T10:50:00, 90m, 12h or 3d",
			text);
	*ms_r = (uint64_t)timegm(&parts) * 1000;
	return 0;
}

/* Words of a request, with an arena for those that are made here. */
struct request {
	struct arena *arena;
	const char **words;
	size_t count, room;
};

static void add(struct request *request, const char *word)
{
	mem_grow((void **)&request->words, &request->room, request->count + 1,
		sizeof(*request->words));
	request->words[request->count++] = word;
}

static int add_since(
	struct request *request, const struct tool_options *options, struct error *error)
{
	uint64_t ms;
	int rc;

	if (options->since == NULL)
		return 0;
	rc = tool_time_parse(options->since, clock_now_ms(clock_system()), &ms, error);
	if (rc == 0)
		add(request, arena_printf(request->arena, "since=%llu", (unsigned long long)ms));
	return rc;
}

static int finish(struct request *request, struct node *node, int rc, struct error *error)
{
	if (rc == 0)
		rc = node_run(node, request->words, request->count, stdout, error);
	free(request->words);
	arena_free(&request->arena);
	return rc;
}

int tool_undelete(struct node *node, const struct tool_options *options, struct error *error)
{
	struct request request = { .arena = arena_new() };
	int rc;

	add(&request, options->is_list ? "undelete-list" : "undelete");
	if (options->is_json && options->is_list)
		add(&request, "--json");
	add(&request, options->names[0]);
	if (options->mailbox != NULL)
		add(&request, arena_printf(request.arena, "mailbox=%s", options->mailbox));
	if (options->to != NULL)
		add(&request, arena_printf(request.arena, "to=%s", options->to));
	for (size_t i = 1; i < options->name_count; i++)
		add(&request, arena_printf(request.arena, "id=%s", options->names[i]));
	rc = add_since(&request, options, error);
	return finish(&request, node, rc, error);
}

int tool_conflict_list(struct node *node, const struct tool_options *options, struct error *error)
{
	struct request request = { .arena = arena_new() };
	int rc;

	add(&request, "conflict-list");
	if (options->is_json)
		add(&request, "--json");
	if (options->account != NULL)
		add(&request, options->account);
	if (options->name_count > 0)
		add(&request, options->names[0]);
	rc = add_since(&request, options, error);
	return finish(&request, node, rc, error);
}

static int text_read(const char *file, struct buffer *text, struct error *error)
{
	FILE *in = NULL;
	int rc = input_open(file, &in, error), byte;

	while (rc == 0 && (byte = getc(in)) != EOF) {
		if (byte == '\0')
			rc = error_set(error, ERR_INVALID, "a script holds no NUL");
		else if (text->len == SCRIPT_SIZE_MAX)
			rc = error_set(error, ERR_TOO_LARGE, "a script has at most %d bytes",
				SCRIPT_SIZE_MAX);
		else
			buffer_append_byte(text, byte);
	}
	if (rc == 0 && ferror(in))
		rc = error_set(error, ERR_IO, "the script cannot be read");
	input_close(&in);
	return rc;
}

int tool_script_put(struct node *node, const struct tool_options *options, struct error *error)
{
	struct request request = { .arena = arena_new() };
	struct buffer text = { 0 };
	int rc = text_read(options->from_file != NULL ? options->from_file : "-", &text, error);

	add(&request, "script-put");
	add(&request, options->names[0]);
	add(&request, options->names[1]);
	add(&request, buffer_string(&text));
	rc = finish(&request, node, rc, error);
	buffer_deinit(&text);
	return rc;
}
