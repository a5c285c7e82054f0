#include "imap/imap_commands.h"
#include "imap/imap_mailbox.h"
#include "imap/imap_reply.h"
#include "imap/imap_server_private.h"
#include "imap/imap_status.h"
#include "imap/imap_update.h"

#include "mail/seen.h"

enum status_item {
	STATUS_MESSAGES = 1,
	STATUS_RECENT = 2,
	STATUS_UIDNEXT = 4,
	STATUS_UIDVALIDITY = 8,
	STATUS_UNSEEN = 16,
	STATUS_HIGHESTMODSEQ = 32,
	STATUS_SIZE = 64,
	STATUS_DELETED = 128,
	STATUS_APPENDLIMIT = 256,
	STATUS_MAILBOXID = 512,
	STATUS_DELETED_STORAGE = 1024
};

static const struct {
	const char *name;
	enum status_item item;
} status_items[] = {
	{ "MESSAGES", STATUS_MESSAGES },
	{ "RECENT", STATUS_RECENT },
	{ "UIDNEXT", STATUS_UIDNEXT },
	{ "UIDVALIDITY", STATUS_UIDVALIDITY },
	{ "UNSEEN", STATUS_UNSEEN },
	{ "HIGHESTMODSEQ", STATUS_HIGHESTMODSEQ },
	{ "SIZE", STATUS_SIZE },
	{ "DELETED", STATUS_DELETED },
	{ "DELETED-STORAGE", STATUS_DELETED_STORAGE },
	{ "APPENDLIMIT", STATUS_APPENDLIMIT },
	{ "MAILBOXID", STATUS_MAILBOXID },
};

#define STATUS_ITEM_COUNT (sizeof(status_items) / sizeof(status_items[0]))

int imap_parse_status_items(struct imap_parser *args, unsigned *items_r)
{
	unsigned items = 0;

	if (imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	do {
		size_t i = 0;

		while (i < STATUS_ITEM_COUNT && !imap_parse_take_word(args, status_items[i].name))
			i++;
		if (i == STATUS_ITEM_COUNT)
			return imap_parse_fail(args, ERR_INVALID, "Unknown STATUS item");
		items |= status_items[i].item;
	} while (imap_parse_take(args, ' '));
	*items_r = items;
	return imap_parse_expect(args, ')');
}

bool imap_status_has_modseq(unsigned items)
{
	return (items & STATUS_HIGHESTMODSEQ) != 0;
}

unsigned imap_status_brief(const struct imap_session *session, bool with_modseq)
{
	return STATUS_MESSAGES | STATUS_UIDNEXT | STATUS_UIDVALIDITY | STATUS_UNSEEN |
	       (session->is_condstore || with_modseq ? STATUS_HIGHESTMODSEQ : 0u);
}

static int recent_count(struct imap_session *session, struct kv_txn *kv,
	const struct imap_target *target, uint32_t *count_r)
{
	const struct mailbox_record *mailbox = &target->mailbox;
	uint32_t first =
		imap_recent_first(session->server->recent, mailbox->id, mailbox->uidnext, false);
	struct digest ignored;

	*count_r = 0;
	if (first >= mailbox->uidnext)
		return 0;
	return account_range_digest(
		kv, target->account, mailbox->id, first, UINT32_MAX, &ignored, count_r);
}

/* Those that are to be looked for. */
struct counts {
	uint32_t recent, unseen;
};

static void put_item(struct imap_session *session, const struct mailbox_record *mailbox,
	enum status_item item, const struct counts *counts)
{
	switch (item) {
	case STATUS_MESSAGES:
		imap_printf(session, "%u", mailbox->message_count);
		break;
	case STATUS_RECENT:
		imap_printf(session, "%u", counts->recent);
		break;
	case STATUS_UIDNEXT:
		imap_printf(session, "%u", mailbox->uidnext);
		break;
	case STATUS_UIDVALIDITY:
		imap_printf(session, "%u", mailbox->uidvalidity);
		break;
	case STATUS_UNSEEN:
		imap_printf(session, "%u", counts->unseen);
		break;
	case STATUS_HIGHESTMODSEQ:
		imap_printf(session, "%llu",
			(unsigned long long)(mailbox->highestmodseq > 0 ? mailbox->highestmodseq
									: 1));
		break;
	case STATUS_SIZE:
		imap_printf(session, "%llu", (unsigned long long)mailbox->byte_count);
		break;
	case STATUS_DELETED:
		imap_printf(session, "%u", mailbox->deleted_count);
		break;
	case STATUS_DELETED_STORAGE:
		imap_printf(session, "%llu", (unsigned long long)mailbox->deleted_byte_count);
		break;
	case STATUS_APPENDLIMIT:
		imap_printf(session, "%zu", session->options->append_size_max);
		break;
	case STATUS_MAILBOXID:
		imap_put(session, "(");
		imap_put_mailbox_id(&session->out, mailbox->id);
		imap_put(session, ")");
		break;
	}
}

int imap_status_settle(struct imap_session *session, const struct imap_target *target)
{
	uint64_t position = 0;
	struct kv_txn *kv;
	int rc;

	if (target->seen_account == 0)
		return 0;
	rc = imap_read_begin(session, &kv);
	if (rc < 0)
		return rc;
	rc = seen_is_ahead(session->mail, kv, target->seen_account, target->account);
	mail_read_end(&kv);
	if (rc > 0)
		rc = seen_settle(
			session->mail, target->seen_account, target->account, NULL, &position);
	imap_wrote(session, position);
	return rc;
}

int imap_put_status(struct imap_session *session, struct kv_txn *kv, struct bytes name,
	const struct imap_target *target, unsigned items)
{
	const char *blank = "";
	struct counts counts = { 0, 0 };
	int rc = 0;

	if ((items & STATUS_RECENT) != 0)
		rc = recent_count(session, kv, target, &counts.recent);
	if (rc == 0 && (items & STATUS_UNSEEN) != 0)
		rc = seen_count_unseen(kv, target->seen_account, target->account, &target->mailbox,
			&counts.unseen);
	if (rc < 0)
		return rc;
	imap_put(session, "* STATUS ");
	imap_put_mailbox(session, name);
	imap_put(session, " (");
	for (size_t i = 0; i < STATUS_ITEM_COUNT; i++) {
		if ((items & status_items[i].item) == 0)
			continue;
		imap_printf(session, "%s%s ", blank, status_items[i].name);
		put_item(session, &target->mailbox, status_items[i].item, &counts);
		blank = " ";
	}
	imap_put(session, ")\r\n");
	return 0;
}

enum net_result cmd_status(struct imap_session *session, struct imap_parser *args)
{
	struct imap_target target;
	struct error error = { 0 };
	struct kv_txn *kv;
	struct bytes name;
	unsigned items;
	int rc;

	if (imap_parse_space(args) < 0 || imap_parse_mailbox(args, &name) < 0 ||
		imap_parse_space(args) < 0 || imap_parse_status_items(args, &items) < 0 ||
		imap_parse_end(args) < 0)
		return imap_bad_args(session, args);
	if (imap_status_has_modseq(items))
		imap_enable_condstore(session);
	imap_catch_up(session);
	rc = imap_target_find(session, NULL, name, ACL_READ, &target, &error);
	if (rc == 0)
		rc = imap_status_settle(session, &target);
	if (rc == 0)
		rc = imap_read_begin(session, &kv);
	if (rc == 0) {
		/* Once more: in the snapshot that is told of. */
		rc = imap_target_find(session, kv, name, ACL_READ, &target, &error);
		if (rc == 0)
			rc = imap_put_status(session, kv, name, &target, items);
		mail_read_end(&kv);
	}
	return rc < 0 ? imap_fail(session, rc, &error) : imap_ok(session, "Done");
}
