#include "chapard/admin.h"

#include "base/mem.h"
#include "chapard/admin_private.h"
#include "mail/quota.h"
#include "sync/trace.h"

#include <stdlib.h>

static const struct admin_command commands[] = {
	/* name, options, number of arguments: at least, at most */
	{ "account-add", 0, 2, ADMIN_ARGUMENT_COUNT_MAX, admin_account_add }, /* NAME PASSWORD … */
	{ "account-disable", 0, 1, 1, admin_account_disable },                /* NAME */
	{ "account-enable", 0, 1, 1, admin_account_enable },                  /* NAME */
	{ "account-passwd", 0, 2, 2, admin_account_passwd },                  /* NAME PASSWORD */
	{ "account-delete", 0, 1, 1, admin_account_delete },                  /* NAME */
	{ "account-serve", 0, 1, 1, admin_account_serve },                    /* PATTERN */
	{ "account-share", 0, 1, 1, admin_account_share },                    /* NAME */
	{ "acl", ADMIN_OPTION_JSON, 2, 4, admin_acl }, /* NAME MAILBOX [IDENTIFIER RIGHTS] */
	{ "account-list", ADMIN_OPTION_JSON, 0, 0, admin_account_list },
	{ "account-mode", 0, 2, 3, admin_account_mode },     /* PATTERN multi|master [NODE] */
	{ "account-switch", 0, 1, 2, admin_account_switch }, /* NAME [NODE] */
	{ "account-move", 0, 2, 3, admin_account_move },     /* NAME NODE [remove-source] */
	{ "verify", ADMIN_OPTION_JSON | ADMIN_OPTION_BODIES, 0, 1, admin_verify }, /* [NAME] */
	{ "verify-peer", ADMIN_OPTION_JSON | ADMIN_OPTION_BODIES, 1, 2,
		admin_verify_peer }, /* NODE [repair] */
	{ "status", ADMIN_OPTION_JSON | ADMIN_OPTION_CHECK, 0, 0, admin_status },
	{ "channel-list", ADMIN_OPTION_JSON, 0, 0, admin_channel_list },
	{ "channel-add", 0, 1, ADMIN_ARGUMENT_COUNT_MAX, admin_channel_add }, /* NAME KEY=VALUE … */
	{ "channel-remove", 0, 1, 1, admin_channel_remove },
	{ "channel-pause", 0, 1, 1, admin_channel_pause },
	{ "channel-resume", 0, 1, 1, admin_channel_resume },
	{ "conflict-list", ADMIN_OPTION_JSON, 0, 2, admin_conflict_list }, /* [NAME] [since=MS] */
	{ "quota", ADMIN_OPTION_JSON, 0, 1, admin_quota },                 /* [NAME] */
	{ "quota-set", 0, 3, 1 + 2 * QUOTA_RESOURCE_COUNT,
		admin_quota_set }, /* NAME RESOURCE LIMIT … */
	/* PATH [since=PATH] [account=NAME] [passphrase=…] [key-file=PATH] */
	{ "bundle-create", ADMIN_OPTION_JSON, 1, 5, admin_bundle_create },
	/* PATH [reply=PATH] [passphrase=…] [key-file=PATH] */
	{ "bundle-apply", ADMIN_OPTION_JSON, 1, 4, admin_bundle_apply },
	{ "compact", 0, 0, 0, admin_compact },
	{ "script-activate", 0, 1, 2, admin_script_activate }, /* NAME [SCRIPT] */
	{ "script-delete", 0, 2, 2, admin_script_delete },     /* NAME SCRIPT */
	{ "script-get", 0, 2, 2, admin_script_get },           /* NAME SCRIPT */
	{ "script-list", ADMIN_OPTION_JSON, 1, 1, admin_script_list },
	{ "script-put", 0, 3, 3, admin_script_put },         /* NAME SCRIPT TEXT */
	{ "export", ADMIN_OPTION_JSON, 2, 3, admin_export }, /* ACCOUNT TARGET [mailbox=NAME] */
	/* ACCOUNT SOURCE [dry-run] [over-quota] [keep] [KEY=VALUE …] */
	{ "import", ADMIN_OPTION_JSON, 2, 16, admin_import },
	{ "origin-sync", ADMIN_OPTION_JSON, 2, 3, admin_origin_sync }, /* MODE PASSWORD [watch] */
	{ "origin-met", 0, 0, 0, admin_origin_met }, /* whether anything came from there */
	{ "trace", 0, 0, 1, admin_trace },           /* [ACCOUNT|USER|PEER] */
	{ "undelete", 0, 1, ADMIN_ARGUMENT_COUNT_MAX, admin_undelete }, /* NAME KEY=VALUE … */
	{ "undelete-list", ADMIN_OPTION_JSON, 1, 4, admin_undelete_list },
};

static const struct {
	const char *text;
	enum admin_option option;
} options[] = {
	{ "--json", ADMIN_OPTION_JSON },
	{ "--bodies", ADMIN_OPTION_BODIES },
	{ "--check", ADMIN_OPTION_CHECK },
};

void admin_request_encode(const char *const *words, size_t count, struct buffer *request)
{
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buffer_append_byte(request, ' ');
		for (const char *c = words[i]; *c != '\0'; c++)
			if ((unsigned char)*c <= ' ' || *c == '%' || *c == 0x7f)
				buffer_printf(request, "%%%02X", (unsigned)(unsigned char)*c);
			else
				buffer_append_byte(request, *c);
	}
}

static int hex_digit(int byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

/* Decodes one word. ERR_INVALID: a bad %XX, or a NUL. */
static int word_decode(struct arena *arena, struct bytes word, const char **text_r)
{
	char *text = arena_alloc(arena, word.len + 1);
	size_t len = 0;

	while (word.len > 0) {
		int byte = bytes_peek(word);

		if (byte == '%') {
			int high = word.len < 3 ? -1 : hex_digit(word.ptr[1]);
			int low = word.len < 3 ? -1 : hex_digit(word.ptr[2]);

			if (high < 0 || low < 0)
				return ERR_INVALID;
			byte = high * 16 + low;
			bytes_skip(&word, 2);
		}
		if (byte == '\0')
			return ERR_INVALID;
		text[len++] = (char)byte;
		bytes_skip(&word, 1);
	}
	text[len] = '\0';
	*text_r = text;
	return 0;
}

static int words_decode(struct admin_call *call, struct bytes request, struct error *error)
{
	size_t room = 0;

	for (;;) {
		struct bytes word = bytes_take(&request, bytes_find(request, ' '));

		if (call->argument_count == ADMIN_ARGUMENT_COUNT_MAX + 1)
			return error_set(error, ERR_INVALID, "more than %d arguments",
				ADMIN_ARGUMENT_COUNT_MAX);
		mem_grow((void **)&call->arguments, &room, call->argument_count + 1,
			sizeof(*call->arguments));
		if (word_decode(call->arena, word, &call->arguments[call->argument_count]) < 0)
			return error_set(error, ERR_INVALID, "malformed argument");
		call->argument_count++;
		if (request.len == 0)
			return 0;
		bytes_skip(&request, 1);
	}
}

static const struct admin_command *command_find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static unsigned option_find(const struct admin_command *command, const char *text)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].text, text) == 0)
			return (unsigned)options[i].option & command->options;
	return 0;
}

/* Takes the command's name and its options, which come first, off the arguments. */
static int call_parse(struct admin_call *call, struct error *error)
{
	size_t index = 1;

	call->command = command_find(call->arguments[0]);
	if (call->command == NULL)
		return error_set(error, ERR_INVALID, "no such command: %.40s", call->arguments[0]);
	for (; index < call->argument_count; index++) {
		unsigned option = option_find(call->command, call->arguments[index]);

		if (option == 0)
			break;
		call->options |= option;
	}
	call->argument_count -= index;
	memmove(call->arguments, call->arguments + index,
		call->argument_count * sizeof(*call->arguments));
	if (call->argument_count < call->command->argument_count_min ||
		call->argument_count > call->command->argument_count_max)
		return error_set(error, ERR_INVALID, "%s: wrong arguments", call->command->name);
	return 0;
}

int admin_call_new(
	struct admin *admin, struct bytes request, struct admin_call **call_r, struct error *error)
{
	struct admin_call *call = mem_zalloc(sizeof(*call));
	int rc;

	call->admin = admin;
	call->arena = arena_new();
	rc = words_decode(call, request, error);
	if (rc == 0)
		rc = call_parse(call, error);
	if (rc == 0) {
		*call_r = call;
		call = NULL;
	}
	admin_call_free(&call);
	return rc;
}

void admin_call_free(struct admin_call **call)
{
	if (*call == NULL)
		return;
	if ((*call)->state_free != NULL)
		(*call)->state_free((*call)->state);
	trace_reader_free(&(*call)->trace);
	free((*call)->arguments);
	arena_free(&(*call)->arena);
	free(*call);
	*call = NULL;
}

void admin_call_on_news(struct admin_call *call, void (*wake)(void *context), void *context)
{
	call->wake = wake;
	call->wake_context = context;
}

int admin_call_step(struct admin_call *call, struct buffer *out, struct error *error)
{
	return call->command->step(call, out, error);
}

void admin_progress(
	struct buffer *out, uint64_t done, uint64_t total, const char *unit, const char *what)
{
	buffer_printf(out, "\r %llu %llu %s %s\n", (unsigned long long)done,
		(unsigned long long)total, unit, what);
}
