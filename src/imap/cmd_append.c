/* APPEND, with MULTIAPPEND (RFC 3501, 6.3.11; RFC 3502; RFC 4315). */
#include "imap/imap_commands.h"
#include "imap/imap_reply.h"
#include "imap/imap_target.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>

#define APPEND_COUNT_MAX 10000 /* messages of one command */

struct append {
	struct append_message *messages;
	struct mail_body **bodies; /* of the messages, ours to free */
	struct bytes *raws;
	size_t count;
	size_t message_room, body_room, raw_room;
};

static void append_deinit(struct append *append)
{
	for (size_t i = 0; i < append->count; i++)
		mail_body_free(&append->bodies[i]);
	free(append->messages);
	free(append->bodies);
	free(append->raws);
}

/* [SP flags] [SP date-time] SP literal */
static int parse_message(
	struct imap_parser *args, struct append_message *message_r, struct bytes *raw_r)
{
	struct imap_flags flags = { NULL, 0 };
	struct append_message message = { .internaldate =
						  (int64_t)(clock_now_ms(clock_system()) / 1000) };
	int rc = 0;

	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	if (bytes_peek(args->rest) == '(') {
		rc = imap_parse_flag_list(args, &flags);
		if (rc == 0)
			rc = imap_parse_space(args);
	}
	if (rc == 0 && bytes_peek(args->rest) == '"') {
		rc = imap_parse_date_time(args, &message.internaldate, &message.internaldate_zone);
		if (rc == 0)
			rc = imap_parse_space(args);
	}
	if (rc == 0)
		rc = imap_parse_literal(args, raw_r);
	message.flags = flags.names;
	message.flag_count = flags.count;
	*message_r = message;
	return rc;
}

static int parse_messages(struct imap_parser *args, struct append *append)
{
	do {
		size_t at = append->count;

		if (at == APPEND_COUNT_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many messages");
		mem_grow((void **)&append->messages, &append->message_room, at + 1,
			sizeof(*append->messages));
		mem_grow((void **)&append->bodies, &append->body_room, at + 1,
			sizeof(*append->bodies));
		mem_grow((void **)&append->raws, &append->raw_room, at + 1, sizeof(*append->raws));
		append->bodies[at] = NULL;
		if (parse_message(args, &append->messages[at], &append->raws[at]) < 0)
			return ERR_INVALID;
		append->count++;
	} while (!imap_parse_at_end(args));
	return 0;
}

/* Why a message cannot be taken, or NULL. */
static const char *find_fault(const struct append *append)
{
	for (size_t i = 0; i < append->count; i++) {
		struct bytes raw = append->raws[i];

		if (raw.len == 0)
			return "Empty message";
		/* No later FETCH could send it (RFC 3501, section 9: CHAR8). */
		if (bytes_find(raw, '\0') < raw.len)
			return "Message contains NUL";
	}
	return NULL;
}

static int prepare_bodies(struct imap_session *session, struct append *append)
{
	for (size_t i = 0; i < append->count; i++) {
		int rc = mail_body_prepare(session->mail, append->raws[i], &append->bodies[i]);

		if (rc < 0)
			return rc;
		append->messages[i].body = append->bodies[i];
	}
	return 0;
}

static enum net_result append_run(
	struct imap_session *session, struct append *append, struct bytes name)
{
	struct imap_target target;
	struct error error = { 0 };
	uint32_t uidvalidity, uid;
	uint64_t position = 0;
	int rc;

	rc = imap_target_find(session, NULL, name, ACL_INSERT, &target, &error);
	if (rc == 0)
		rc = prepare_bodies(session, append);
	if (rc == 0)
		rc = mailbox_append(session->mail, target.account, target.mailbox.id,
			append->messages, append->count, &error, &uidvalidity, &uid, &position);
	if (rc == ERR_NOT_FOUND)
		return imap_no(session, "[TRYCREATE] No such mailbox");
	if (rc < 0)
		return imap_fail(session, rc, &error);
	imap_wrote(session, position);
	if (append->count == 1)
		return imap_ok(session, "[APPENDUID %u %u] Appended", uidvalidity, uid);
	return imap_ok(session, "[APPENDUID %u %u:%u] Appended", uidvalidity, uid,
		uid + (uint32_t)append->count - 1);
}

enum net_result cmd_append(struct imap_session *session, struct imap_parser *args)
{
	struct append append = { 0 };
	enum net_result result;
	const char *fault;
	struct bytes name;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		parse_messages(args, &append) < 0) {
		result = imap_bad_args(session, args);
	} else {
		fault = find_fault(&append);
		result = fault != NULL ? imap_no(session, "[CANNOT] %s", fault)
				       : append_run(session, &append, name);
	}
	append_deinit(&append);
	return result;
}
