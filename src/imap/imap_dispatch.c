#include "imap/imap_commands.h"
#include "imap/imap_group.h"
#include "imap/imap_reply.h"
#include "imap/imap_target.h"

#include <stdio.h>

#define ANY (IMAP_NOT_AUTHENTICATED | IMAP_AUTHENTICATED | IMAP_SELECTED)
#define USER (IMAP_AUTHENTICATED | IMAP_SELECTED)
#define SEQ COMMAND_USES_SEQ
#define WRITES COMMAND_WRITES
#define UID COMMAND_IS_UID
#define NUMBERS COMMAND_NUMBERS
#define READS COMMAND_HARMLESS
#define NEWS COMMAND_ASKS_NEWS
#define JOINS COMMAND_JOINS

#define COMMAND_NAME_SIZE_MAX 14 /* bytes of one word */

static const struct imap_command commands[] = {
	/* name          allowed in states       preconditions   handler */
	{ "APPEND", USER, JOINS, cmd_append },
	{ "AUTHENTICATE", IMAP_NOT_AUTHENTICATED, 0, cmd_authenticate },
	{ "CANCELUPDATE", IMAP_SELECTED, READS, cmd_cancelupdate },
	{ "CAPABILITY", ANY, READS, cmd_capability },
	{ "CHECK", IMAP_SELECTED, READS, cmd_check },
	{ "CLOSE", IMAP_SELECTED, READS, cmd_close },
	{ "COMPRESS", USER, READS, cmd_compress },
	{ "COPY", IMAP_SELECTED, NUMBERS, cmd_copy },
	{ "CREATE", USER, 0, cmd_create },
	{ "DELETE", USER, 0, cmd_delete },
	{ "DELETEACL", USER, 0, cmd_deleteacl },
	{ "ENABLE", USER, READS, cmd_enable },
	{ "ESEARCH", USER, UID | READS, cmd_esearch },
	{ "EXAMINE", USER, READS, cmd_examine },
	{ "EXPUNGE", IMAP_SELECTED, WRITES, cmd_expunge },
	{ "FETCH", IMAP_SELECTED, SEQ | READS, cmd_fetch },
	{ "GETACL", USER, READS, cmd_getacl },
	{ "GETMETADATA", USER, READS, cmd_getmetadata },
	{ "GETQUOTA", USER, READS, cmd_getquota },
	{ "GETQUOTAROOT", USER, READS, cmd_getquotaroot },
	{ "ID", ANY, READS, cmd_id },
	{ "IDLE", USER, READS | NEWS, cmd_idle },
	{ "LIST", USER, READS, cmd_list },
	{ "LISTRIGHTS", USER, READS, cmd_listrights },
	{ "LOGIN", IMAP_NOT_AUTHENTICATED, COMMAND_SECRET, cmd_login },
	{ "LOGOUT", ANY, READS, cmd_logout },
	{ "LSUB", USER, READS, cmd_lsub },
	{ "MOVE", IMAP_SELECTED, NUMBERS | WRITES, cmd_move },
	{ "MYRIGHTS", USER, READS, cmd_myrights },
	{ "NAMESPACE", USER, READS, cmd_namespace },
	{ "NOOP", ANY, READS | NEWS, cmd_noop },
	{ "NOTIFY", USER, READS, cmd_notify },
	{ "RENAME", USER, 0, cmd_rename },
	{ "REPLACE", IMAP_SELECTED, NUMBERS | WRITES, cmd_replace },
	{ "SEARCH", IMAP_SELECTED, SEQ | READS, cmd_search },
	{ "SELECT", USER, READS, cmd_select },
	{ "SETACL", USER, 0, cmd_setacl },
	{ "SORT", IMAP_SELECTED, SEQ | READS, cmd_sort },
	{ "SETMETADATA", USER, 0, cmd_setmetadata },
	{ "SETQUOTA", USER, 0, cmd_setquota },
	{ "STARTTLS", IMAP_NOT_AUTHENTICATED, 0, cmd_starttls },
	{ "STATUS", USER, READS, cmd_status },
	{ "STORE", IMAP_SELECTED, SEQ | WRITES | JOINS, cmd_store },
	{ "SUBSCRIBE", USER, 0, cmd_subscribe },
	{ "SYNC", USER, READS | JOINS, cmd_sync },
	{ "THREAD", IMAP_SELECTED, SEQ | READS, cmd_thread },
	{ "UID COPY", IMAP_SELECTED, UID, cmd_copy },
	{ "UID EXPUNGE", IMAP_SELECTED, WRITES | UID, cmd_uid_expunge },
	{ "UID FETCH", IMAP_SELECTED, UID | READS, cmd_fetch },
	{ "UID MOVE", IMAP_SELECTED, WRITES | UID, cmd_move },
	{ "UID REPLACE", IMAP_SELECTED, WRITES | UID, cmd_replace },
	{ "UID SEARCH", IMAP_SELECTED, UID | READS, cmd_search },
	{ "UID SORT", IMAP_SELECTED, UID | READS, cmd_sort },
	{ "UID STORE", IMAP_SELECTED, WRITES | UID | JOINS, cmd_store },
	{ "UID THREAD", IMAP_SELECTED, UID | READS, cmd_thread },
	{ "UNAUTHENTICATE", USER, READS, cmd_unauthenticate },
	{ "UNSELECT", IMAP_SELECTED, READS, cmd_unselect },
	{ "UNSUBSCRIBE", USER, 0, cmd_unsubscribe },
};

/* The command's name, with the second word if the first is UID. */
static const struct imap_command *find_command(struct imap_parser *parser)
{
	char name[32];
	struct bytes word;
	int len;

	if (imap_parse_atom(parser, &word) < 0 || word.len > COMMAND_NAME_SIZE_MAX)
		return NULL;
	len = snprintf(name, sizeof(name), "%.*s", BYTES_ARGS(word));
	if (bytes_equal_string_nocase(word, "UID")) {
		if (imap_parse_space(parser) < 0 || imap_parse_atom(parser, &word) < 0 ||
			word.len > COMMAND_NAME_SIZE_MAX)
			return NULL;
		len = snprintf(name, sizeof(name), "UID %.*s", BYTES_ARGS(word));
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (bytes_equal_string_nocase(bytes_of(name, (size_t)len), commands[i].name))
			return &commands[i];
	}
	return NULL;
}

static int parse_tag(struct imap_session *session, struct imap_parser *parser)
{
	struct bytes tag;

	session->tag[0] = '\0';
	if (imap_parse_tag(parser, &tag) < 0)
		return ERR_INVALID;
	if (tag.len > IMAP_TAG_SIZE_MAX)
		return imap_parse_fail(parser, ERR_TOO_LARGE, "Tag too long");
	memcpy(session->tag, tag.ptr, tag.len);
	session->tag[tag.len] = '\0';
	return imap_parse_space(parser);
}

static enum net_result refuse(struct imap_session *session, const struct imap_command *command)
{
	if (session->frame.refusal == IMAP_REFUSED_LINE)
		return imap_bad(session, "[TOOBIG] Command line too long");
	if (command->run == cmd_append || command->run == cmd_replace)
		return imap_no(session, "[TOOBIG] Message is larger than %zu bytes",
			session->options->append_size_max);
	return imap_bad(session, "[TOOBIG] Literal too large");
}

/* The states' names, for who is in the wrong one. */
static enum net_result refuse_state(
	struct imap_session *session, const struct imap_command *command)
{
	if (session->state == IMAP_NOT_AUTHENTICATED)
		return imap_bad(session, "Log in first");
	if (command->states == IMAP_NOT_AUTHENTICATED)
		return imap_bad(session, "Already logged in");
	return imap_bad(session, "No mailbox selected");
}

/* A replica's mailbox is read-only, too; then the client learns where it is not. */
static enum net_result refuse_write(struct imap_session *session)
{
	struct account_mode mode = { 0 };
	struct error error = { 0 };
	struct kv_txn *kv = NULL;
	int rc = imap_read_begin(session, &kv);

	if (rc == 0)
		rc = account_mode_get(kv, session->view->account, &mode);
	mail_read_end(&kv);
	if (rc < 0)
		return imap_fail(session, rc, NULL);
	if (account_mode_is_replica(&mode, mail_node(session->mail)))
		return imap_fail(session, account_mode_refuse(&mode, &error), &error);
	return imap_no(session, "[READ-ONLY] Mailbox was opened read-only");
}

/*
 * Rights may have changed since the last command, and the mailbox may be gone: CHECK and the like
 * then end as ever. OfflineIMAP takes an APPEND for done only after a CHECK.
 */
static enum net_result run_selected(struct imap_session *session, struct imap_parser *args)
{
	const struct imap_command *command = session->command;
	int rc = imap_view_refresh(session);

	if (rc == ERR_NOT_FOUND && command->run == cmd_close)
		return cmd_unselect(session, args);
	if (rc == ERR_NOT_FOUND &&
		(command->flags & (COMMAND_NAMES_MESSAGES | COMMAND_WRITES)) != 0)
		return imap_bye(session, IMAP_MAILBOX_GONE_TEXT);
	if (rc > 0)
		return imap_bye(session, "You may no longer read the selected mailbox");
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return imap_fail(session, rc, NULL);
	return command->run(session, args);
}

enum net_result imap_dispatch(struct imap_session *session, struct bytes unit)
{
	struct imap_parser parser = {
		.rest = unit, .arena = session->arena, .is_utf8 = session->is_utf8
	};
	const struct imap_command *command;
	const char *end;

	if (parse_tag(session, &parser) < 0)
		return imap_bad(session, "%s", parser.problem);
	command = find_command(&parser);
	if (command == NULL)
		return imap_bad(session, "Unknown command");
	session->command = command;
	if ((command->flags & COMMAND_JOINS) == 0 && imap_group_leave(session) < 0)
		return imap_bye(session, IMAP_GROUP_LOST_TEXT);
	if (command->run != cmd_fetch) {
		imap_body_deinit(&session->body);
		imap_large_deinit(&session->large);
	}
	if (session->frame.refusal != IMAP_REFUSED_NOT)
		return refuse(session, command);
	if ((command->states & session->state) == 0)
		return refuse_state(session, command);
	if ((command->flags & COMMAND_SECRET) != 0 && !imap_session_is_private(session))
		return imap_no(session, "[PRIVACYREQUIRED] Start TLS first");
	if (session->is_uidonly && (command->flags & (COMMAND_USES_SEQ | COMMAND_NUMBERS)) != 0)
		return imap_bad(session,
			"[UIDREQUIRED] Message numbers are not allowed once UIDONLY is enabled");
	if ((command->flags & COMMAND_WRITES) != 0 && session->view->is_read_only)
		return refuse_write(session);
	end = imap_login_is_over(session);
	if (end != NULL)
		return imap_bye(session, end);
	if (session->identity.is_read_only && (command->flags & COMMAND_HARMLESS) == 0)
		return imap_no(session, "[NOPERM] You may look, but change nothing");
	if (command->states == IMAP_SELECTED && command->run != cmd_unselect)
		return run_selected(session, &parser);
	return command->run(session, &parser);
}
