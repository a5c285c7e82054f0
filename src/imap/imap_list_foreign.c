/*
 * What others share with the user. An index names the mailboxes (acl_each_grant()), so that this
 * costs what is shared with him, however many accounts there are. An administrator is shown all.
 */
#include "imap/imap_list_private.h"

#include "base/mem.h"

#include <stdlib.h>

struct grant {
	uint32_t account;
	struct id128 mailbox;
};

struct grants {
	struct grant *list;
	size_t count;
	size_t room;
};

static int add_grant(void *context, uint32_t account, struct id128 mailbox)
{
	struct grants *grants = context;
	void *list = grants->list;

	mem_grow(&list, &grants->room, grants->count + 1, sizeof(*grants->list));
	grants->list = list;
	grants->list[grants->count++] = (struct grant){ account, mailbox };
	return 0;
}

static int grant_order(const void *a, const void *b)
{
	const struct grant *x = a, *y = b;

	if (x->account != y->account)
		return x->account < y->account ? -1 : 1;
	return id128_compare(x->mailbox, y->mailbox);
}

/* The account that is looked at. */
struct foreign {
	struct imap_list_reading *reading;
	struct account_header header;
	bool is_shared;
};

static int open_account(struct foreign *foreign, uint32_t account)
{
	struct kv_txn *kv = foreign->reading->kv;
	int rc = 0;

	if (foreign->header.number == account)
		return 0;
	rc = account_load(kv, account, &foreign->header);
	return rc < 0 ? rc : account_is_shared(kv, account, &foreign->is_shared);
}

static int add_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct foreign *foreign = context;
	struct imap_list_reading *reading = foreign->reading;
	struct imap_target *target;
	int rc;

	if (!mailbox_is_live(mailbox))
		return 0;
	target = arena_zalloc(reading->arena, sizeof(*target));
	target->account = foreign->header.number;
	target->is_shared = foreign->is_shared;
	target->name = mailbox->name;
	target->mailbox = *mailbox;
	rc = imap_target_complete(reading->session, reading->kv, target);
	if (rc == 0 && (target->rights & ACL_LOOKUP) != 0)
		imap_list_add(
			reading, imap_target_foreign_name(reading->session, foreign->header.name,
					 foreign->is_shared, mailbox->name))
			->target = target;
	return rc;
}

static int add_granted(struct foreign *foreign, const struct grant *grant)
{
	struct imap_list_reading *reading = foreign->reading;
	struct mailbox_record mailbox;
	int rc;

	if (grant->account == reading->session->identity.account)
		return 0;
	rc = open_account(foreign, grant->account);
	if (rc == 0 && !account_is_visible(&foreign->header))
		return 0;
	if (rc == 0)
		rc = account_get_mailbox(
			reading->kv, grant->account, grant->mailbox, reading->arena, &mailbox);
	/* Entries may have come before their mailbox did. */
	if (rc == ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : add_mailbox(foreign, &mailbox);
}

static int read_granted(struct foreign *foreign)
{
	struct imap_list_reading *reading = foreign->reading;
	struct grants grants = { NULL, 0, 0 };
	int rc = acl_each_grant(reading->kv, &reading->session->identity, add_grant, &grants);

	if (grants.count > 0)
		qsort(grants.list, grants.count, sizeof(grants.list[0]), grant_order);
	for (size_t i = 0; rc == 0 && i < grants.count; i++) {
		if (i > 0 && grant_order(&grants.list[i - 1], &grants.list[i]) == 0)
			continue;
		rc = add_granted(foreign, &grants.list[i]);
	}
	free(grants.list);
	return rc;
}

static int read_all(struct foreign *foreign)
{
	struct imap_list_reading *reading = foreign->reading;
	struct account_header header = { 0 };
	int rc;

	while ((rc = account_next(reading->kv, header.number, &header)) == 0) {
		if (header.number == reading->session->identity.account ||
			!account_is_visible(&header))
			continue;
		rc = open_account(foreign, header.number);
		if (rc == 0)
			rc = account_each_mailbox(
				reading->kv, header.number, reading->arena, add_mailbox, foreign);
		if (rc < 0)
			return rc;
	}
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int imap_list_read_foreign(struct imap_list_reading *reading)
{
	struct foreign foreign = { .reading = reading };

	return reading->session->identity.is_admin ? read_all(&foreign) : read_granted(&foreign);
}
