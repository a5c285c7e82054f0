/* APPEND, with MULTIAPPEND and CATENATE (RFC 3501, 6.3.11; RFC 3502; RFC 4315; RFC 4469). */
#include "imap/imap_append.h"
#include "imap/imap_commands.h"
#include "imap/imap_group.h"
#include "imap/imap_quota.h"
#include "imap/imap_reply.h"
#include "imap/imap_server_private.h"
#include "imap/imap_target.h"

#include "base/mem.h"
#include "base/parallel.h"
#include "mail/quota.h"

#include <stdlib.h>

#define APPEND_COUNT_MAX 10000 /* messages of one command */

struct appends {
	struct imap_append *items;
	size_t count, room;
	size_t size;       /* bytes of all messages that were put together */
	struct mail *mail; /* while they are made ready ... */
	_Atomic int rc;    /* ... and an error of one of them */
};

static void appends_deinit(struct appends *appends)
{
	for (size_t i = 0; i < appends->count; i++)
		imap_append_deinit(&appends->items[i]);
	free(appends->items);
}

static int parse_messages(struct imap_parser *args, struct appends *appends)
{
	do {
		if (appends->count == APPEND_COUNT_MAX)
			return imap_parse_fail(args, ERR_TOO_LARGE, "Too many messages");
		mem_grow((void **)&appends->items, &appends->room, appends->count + 1,
			sizeof(*appends->items));
		appends->items[appends->count] = (struct imap_append){ .parts = NULL };
		if (imap_parse_append(args, &appends->items[appends->count++]) < 0)
			return ERR_INVALID;
	} while (!imap_parse_at_end(args));
	return 0;
}

/*
 * CATENATE makes much of little input: the messages of one command have to be as small in all as if
 * they had been sent.
 */
static int join(struct imap_session *session, struct appends *appends, const char **answer_r)
{
	size_t size_max = session->options->append_size_max + IMAP_UNIT_SIZE_SLACK;

	for (size_t i = 0; i < appends->count; i++) {
		int rc = imap_append_join(session, &appends->items[i], answer_r);

		if (rc < 0)
			return rc;
		appends->size += appends->items[i].joined.len;
		if (appends->size > size_max) {
			*answer_r = "[TOOBIG] The messages are too large together";
			return ERR_TOO_LARGE;
		}
	}
	return 0;
}

static void prepare_one(void *context, size_t index)
{
	struct appends *appends = context;
	int rc = imap_append_prepare(appends->mail, &appends->items[index]);

	if (rc < 0)
		appends->rc = rc;
}

/* Of many messages that is most of the work, and several threads share it. */
static int prepare(struct imap_session *session, struct appends *appends)
{
	bool has_helpers = appends->count > 1 && imap_helpers_take(session->server);

	appends->mail = session->mail;
	if (has_helpers) {
		parallel_run(appends->count, prepare_one, appends);
		imap_helpers_give(session->server);
	} else {
		for (size_t i = 0; i < appends->count; i++)
			prepare_one(appends, i);
	}
	return appends->rc;
}

/* What cannot fit is refused before its bodies are compressed; the commit decides all the same. */
static int check_room(struct imap_session *session, const struct appends *appends, uint32_t account,
	struct error *error)
{
	uint64_t byte_count = 0;
	struct kv_txn *kv = NULL;
	struct quota quota;
	int rc = imap_read_begin(session, &kv);

	for (size_t i = 0; i < appends->count; i++)
		for (size_t k = 0; k < appends->items[i].part_count; k++)
			byte_count += appends->items[i].parts[k].is_url
					      ? 0
					      : appends->items[i].parts[k].text.len;
	if (rc == 0)
		rc = quota_read(session->mail, kv, account, &quota);
	mail_read_end(&kv);
	if (rc == 0 && !quota_has_room(&quota, appends->count, byte_count))
		rc = error_set(error, ERR_OVERQUOTA, "the account would be over its quota");
	return rc;
}

static void warn_of_quota(struct imap_session *session, uint32_t account)
{
	struct kv_txn *kv = NULL;

	if (session->options->quota_warning_percent > 0 && imap_read_begin(session, &kv) == 0)
		imap_quota_warn(session, kv, account);
	mail_read_end(&kv);
}

static int append_to(struct imap_session *session, const struct appends *appends,
	const struct imap_target *target, struct error *error, uint32_t *uidvalidity_r,
	uint32_t *uid_r)
{
	struct append_message *messages =
		arena_alloc(session->arena, appends->count * sizeof(*messages));
	struct shared_place place = imap_target_place(target);
	uint64_t position = 0;
	int rc;

	for (size_t i = 0; i < appends->count; i++)
		messages[i] = appends->items[i].message;
	rc = shared_append(session->mail, &place, messages, appends->count, error, uidvalidity_r,
		uid_r, &position);
	if (rc == 0)
		imap_wrote(session, position);
	return rc;
}

static enum net_result append_run(
	struct imap_session *session, struct appends *appends, struct bytes name)
{
	const char *answer = NULL;
	struct imap_target target;
	struct error error = { 0 };
	uint32_t uidvalidity, uid;
	int rc;

	rc = imap_target_find(session, NULL, name, ACL_INSERT, &target, &error);
	if (rc == ERR_NOT_FOUND)
		return imap_no_destination(session, name);
	if (rc == 0)
		rc = check_room(session, appends, target.account, &error);
	for (size_t i = 0; i < appends->count && rc == 0 && answer == NULL; i++)
		answer = imap_append_refusal(&appends->items[i], &target);
	if (answer != NULL)
		return imap_no(session, "%s", answer);
	if (rc == 0)
		rc = join(session, appends, &answer);
	if (rc < 0 && answer != NULL)
		return imap_no(session, "%s", answer);
	if (rc == 0)
		rc = prepare(session, appends);
	if (rc == 0)
		rc = append_to(session, appends, &target, &error, &uidvalidity, &uid);
	if (rc == ERR_TIMEOUT && store_group_is_on(mail_store(session->mail))) {
		/* Another node is to be asked first. */
		if (imap_group_leave(session) < 0)
			return imap_bye(session, IMAP_GROUP_LOST_TEXT);
		rc = append_to(session, appends, &target, &error, &uidvalidity, &uid);
	}
	if (rc == ERR_NOT_FOUND)
		return imap_no_destination(session, name);
	if (rc < 0)
		return imap_fail(session, rc, &error);
	warn_of_quota(session, target.account);
	if (appends->count == 1)
		return imap_ok(session, "[APPENDUID %u %u] Appended", uidvalidity, uid);
	return imap_ok(session, "[APPENDUID %u %u:%u] Appended", uidvalidity, uid,
		uid + (uint32_t)appends->count - 1);
}

/* Before anything is read, which may show what the group did. A large one lets others in first. */
static int join_or_leave(struct imap_session *session, const struct appends *appends, size_t size)
{
	bool is_small = appends->count <= IMAP_GROUP_MESSAGE_COUNT_MAX &&
			size <= IMAP_GROUP_REQUEST_SIZE_MAX && !appends->items[0].is_catenated;

	return is_small ? imap_group_join(session) : imap_group_leave(session);
}

enum net_result cmd_append(struct imap_session *session, struct imap_parser *args)
{
	struct appends appends = { 0 };
	size_t size = args->rest.len;
	enum net_result result;
	struct bytes name;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		parse_messages(args, &appends) < 0)
		result = imap_bad_args(session, args);
	else if (join_or_leave(session, &appends, size) < 0)
		result = imap_bye(session, IMAP_GROUP_LOST_TEXT);
	else
		result = append_run(session, &appends, name);
	appends_deinit(&appends);
	return result;
}
