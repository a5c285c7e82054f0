#include "imap/imap_qresync.h"

#include "imap/imap_reply.h"

#include "base/mem.h"
#include "mail/seen.h"

#include <stdlib.h>

int imap_parse_qresync(struct imap_parser *args, struct imap_qresync *qresync_r)
{
	struct imap_sequence known = { NULL, 0 }, ignored;
	struct imap_qresync qresync = { 0 };

	if (imap_parse_expect(args, '(') < 0 ||
		imap_parse_number32(args, &qresync.uidvalidity) < 0 || imap_parse_space(args) < 0 ||
		imap_parse_modseq(args, &qresync.modseq) < 0)
		return ERR_INVALID;
	if (qresync.uidvalidity == 0 || qresync.modseq == 0)
		return imap_parse_fail(args, ERR_INVALID, "Zero in QRESYNC");
	if (bytes_peek(args->rest) == ' ' && args->rest.len > 1 && args->rest.ptr[1] != '(') {
		imap_parse_take(args, ' ');
		if (imap_parse_plain_sequence(args, &known) < 0)
			return ERR_INVALID;
		qresync.has_known = true;
	}
	if (imap_parse_take(args, ' ')) {
		if (imap_parse_expect(args, '(') < 0 ||
			imap_parse_plain_sequence(args, &ignored) < 0 ||
			imap_parse_space(args) < 0 ||
			imap_parse_plain_sequence(args, &ignored) < 0 ||
			imap_parse_expect(args, ')') < 0)
			return ERR_INVALID;
		qresync.has_numbers = true;
	}
	if (imap_parse_expect(args, ')') < 0)
		return ERR_INVALID;
	if (qresync.has_known)
		imap_sequence_resolve(&known, UINT32_MAX, &qresync.known);
	*qresync_r = qresync;
	return 0;
}

void imap_qresync_deinit(struct imap_qresync *qresync)
{
	uid_set_deinit(&qresync->known);
}

struct earlier {
	const struct uid_set *known;
	uint32_t *uids[2]; /* changed, vanished */
	size_t counts[2];
	size_t rooms[2];
};

static int collect(void *context, uint32_t uid, uint64_t modseq, bool is_vanished)
{
	struct earlier *earlier = context;
	size_t kind = is_vanished ? 1 : 0;
	void *uids = earlier->uids[kind];

	(void)modseq;
	if (earlier->known != NULL && !uid_set_has(earlier->known, uid))
		return 0;
	mem_grow(&uids, &earlier->rooms[kind], earlier->counts[kind] + 1, sizeof(uint32_t));
	earlier->uids[kind] = uids;
	earlier->uids[kind][earlier->counts[kind]++] = uid;
	return 0;
}

static int uid_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void sort_into(uint32_t *uids, size_t count, struct uid_set *set)
{
	if (count > 0)
		qsort(uids, count, sizeof(uids[0]), uid_order);
	for (size_t i = 0; i < count; i++)
		uid_set_add(set, uids[i], uids[i]);
}

int imap_find_earlier(struct imap_session *session, struct kv_txn *kv, uint64_t modseq,
	const struct uid_set *known, bool tells, struct uid_set *changed)
{
	struct earlier earlier = { .known = known };
	struct uid_set vanished = { 0 };
	int rc = seen_each_uid_change(kv, session->view->seen_account, session->view->account,
		session->view->mailbox, modseq, true, collect, &earlier);

	if (rc == 0) {
		sort_into(earlier.uids[1], earlier.counts[1], &vanished);
		sort_into(earlier.uids[0], earlier.counts[0], changed);
	}
	if (tells && vanished.count > 0) {
		imap_put(session, "* VANISHED (EARLIER) ");
		imap_set_write(&session->out, &vanished);
		imap_put(session, "\r\n");
	}
	uid_set_deinit(&vanished);
	free(earlier.uids[0]);
	free(earlier.uids[1]);
	return rc;
}
