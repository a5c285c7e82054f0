/* THREAD (RFC 5256). */
#include "imap/imap_commands.h"
#include "imap/imap_look.h"
#include "imap/imap_reply.h"
#include "imap/imap_sort.h"

#include "base/mem.h"
#include "mail/mime_thread.h"

#include <stdlib.h>

/* What is kept of a match until all are known. */
struct noted {
	struct mime_thread_message message;
	size_t subject_at; /* in `subjects` */
	size_t reference_at;
};

struct thread_work {
	enum mime_thread_algorithm algorithm;
	struct imap_look look;
	struct noted *noted;
	size_t count;
	size_t room;
	struct buffer subjects;
	struct digest *references;
	size_t reference_count;
	size_t reference_room;
};

static void work_free(void *context)
{
	struct thread_work *work = context;

	imap_look_deinit(&work->look);
	buffer_deinit(&work->subjects);
	free(work->noted);
	free(work->references);
}

static void note(struct thread_work *work, const struct message_record *message,
	const struct mime_summary *summary, const struct mime_sort *sort)
{
	struct noted *noted;

	mem_grow((void **)&work->noted, &work->room, work->count + 1, sizeof(*work->noted));
	noted = &work->noted[work->count++];
	*noted = (struct noted){ .subject_at = work->subjects.len,
		.reference_at = work->reference_count };
	noted->message = (struct mime_thread_message){ .number = message->uid,
		.sent_date = imap_sent_date(summary, message),
		.arrived = message->internaldate,
		.subject = { NULL, sort->subject.len },
		.is_reply = sort->is_reply,
		.has_id = sort->has_message_id,
		.id = sort->message_id,
		.reference_count = sort->reference_count };
	buffer_append_bytes(&work->subjects, sort->subject);
	mem_grow((void **)&work->references, &work->reference_room,
		work->reference_count + sort->reference_count + 1, sizeof(*work->references));
	for (size_t i = 0; i < sort->reference_count; i++)
		work->references[work->reference_count++] = mime_sort_reference(sort, i);
}

static int found(void *context, struct kv_txn *kv, const struct message_record *message)
{
	struct thread_work *work = context;
	struct buffer blob = { NULL, 0, 0 };
	struct mime_summary summary;
	struct mime_sort sort;
	int rc = message_summary(work->look.session->mail, kv, &message->guid, &blob, &summary);

	if (rc == 0)
		rc = mime_sort_open(summary.sort, &sort);
	if (rc == 0)
		note(work, message, &summary, &sort);
	buffer_deinit(&blob);
	return rc;
}

/* ---- answering ---- */

static void put_number(
	struct imap_session *session, const struct mime_thread *node, const char *blank)
{
	uint32_t uid;

	if (node->message == NULL)
		return;
	uid = node->message->number;
	imap_printf(session, "%s%u", blank,
		(session->command->flags & COMMAND_IS_UID) != 0
			? uid
			: (uint32_t)imap_view_find(session->view, uid) + 1);
}

/* "(3 6 (4 23)(44 7 96))". Does not recurse: threads can be very deep. */
static void put_thread(struct imap_session *session, const struct mime_thread *top)
{
	const struct mime_thread *node = top;

	imap_put(session, "(");
	put_number(session, top, "");
	for (;;) {
		if (node->children != NULL) {
			const struct mime_thread *parent = node;
			bool is_single = parent->children->next == NULL;

			node = parent->children;
			if (!is_single)
				imap_put(session, parent->message != NULL ? " (" : "(");
			put_number(session, node, is_single ? " " : "");
			continue;
		}
		while (node != top &&
			(node->parent->children->next == NULL || node->next == NULL)) {
			if (node->parent->children->next != NULL)
				imap_put(session, ")");
			node = node->parent;
		}
		if (node == top)
			break;
		node = node->next;
		imap_put(session, ")(");
		put_number(session, node, "");
	}
	imap_put(session, ")");
}

static void put_threads(struct imap_session *session, struct thread_work *work)
{
	struct mime_thread_message *messages = mem_zalloc_array(work->count + 1, sizeof(*messages));
	struct arena *arena = arena_new();

	for (size_t i = 0; i < work->count; i++) {
		struct noted *noted = &work->noted[i];

		messages[i] = noted->message;
		if (messages[i].subject.len > 0)
			messages[i].subject.ptr = work->subjects.data + noted->subject_at;
		messages[i].references = work->references + noted->reference_at;
	}
	imap_put(session, "* THREAD");
	if (work->count > 0)
		imap_put(session, " ");
	for (const struct mime_thread *thread =
			mime_thread_build(work->algorithm, messages, work->count, arena);
		thread != NULL; thread = thread->next)
		put_thread(session, thread);
	imap_put(session, "\r\n");
	arena_free(&arena);
	free(messages);
}

static enum net_result thread_run(struct imap_session *session)
{
	struct thread_work *work = session->work;
	enum net_result result;
	int rc = imap_look_turn(&work->look, thread_run, &result);

	if (rc > 0)
		return result;
	if (rc < 0)
		return imap_fail(session, rc, NULL);
	put_threads(session, work);
	return imap_ok(session, "Threaded");
}

static int parse(struct imap_parser *args, struct thread_work *work)
{
	static const struct {
		const char *name;
		enum mime_thread_algorithm algorithm;
	} names[] = { { "ORDEREDSUBJECT", MIME_THREAD_ORDEREDSUBJECT },
		{ "REFERENCES", MIME_THREAD_REFERENCES }, { "REFS", MIME_THREAD_REFS } };
	size_t i = 0;

	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	while (i < sizeof(names) / sizeof(names[0]) && !imap_parse_take_word(args, names[i].name))
		i++;
	if (i == sizeof(names) / sizeof(names[0]))
		return imap_parse_fail(args, ERR_INVALID, "Unknown threading algorithm");
	work->algorithm = names[i].algorithm;
	if (imap_parse_space(args) < 0)
		return ERR_INVALID;
	return imap_parse_search(args, true, &work->look.search);
}

enum net_result cmd_thread(struct imap_session *session, struct imap_parser *args)
{
	struct thread_work *work = arena_zalloc(session->arena, sizeof(*work));
	int rc;

	session->work = work;
	session->work_free = work_free;
	imap_look_prepare(&work->look, session);
	rc = parse(args, work);
	if (rc < 0)
		return imap_look_refuse(session, args, rc);
	imap_look_begin(&work->look, session->view);
	work->look.context = work;
	work->look.found = found;
	return thread_run(session);
}
