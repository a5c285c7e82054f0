#include "sync/foreign.h"

#include "base/mem.h"
#include "base/pack.h"

#include <stdlib.h>

#define FOREIGN_NEEDS (ACL_LOOKUP | ACL_READ)

struct collecting {
	struct foreign_list *list;
	uint32_t own, account;
};

static int collect(void *context, uint32_t account, struct id128 mailbox)
{
	struct collecting *collecting = context;
	struct foreign_list *list = collecting->list;

	if (account == collecting->own ||
		(collecting->account != 0 && account != collecting->account))
		return 0;
	mem_grow((void **)&list->list, &list->room, list->count + 1, sizeof(*list->list));
	list->list[list->count++] = (struct foreign_mailbox){ .account = account, .id = mailbox };
	return 0;
}

uint64_t foreign_writer(const char *user, uint64_t node)
{
	struct buffer name = { 0 };
	struct bytes digest;
	struct id128 id;
	uint64_t writer;

	buffer_append_string(&name, user);
	pack_u8(&name, 0);
	pack_u64(&name, node);
	id = id128_derive("chapar guest", buffer_bytes(&name));
	buffer_deinit(&name);
	digest = bytes_of(id.bytes, sizeof(id.bytes));
	return unpack_u64(&digest, &writer) == 0 && writer != 0 ? writer : 1;
}

static int compare(const void *a, const void *b)
{
	const struct foreign_mailbox *left = a, *right = b;

	if (left->account != right->account)
		return left->account < right->account ? -1 : 1;
	return id128_compare(left->id, right->id);
}

static int look_up(struct kv_txn *kv, const struct identity *identity, struct arena *arena,
	struct foreign_mailbox *mailbox)
{
	struct account_header header;
	struct mailbox_record record;
	int rc = account_load(kv, mailbox->account, &header);

	mailbox->rights = 0;
	if (rc == 0 && !account_is_visible(&header))
		return 0;
	if (rc == 0)
		rc = account_get_mailbox(kv, mailbox->account, mailbox->id, arena, &record);
	if (rc == 0 && mailbox_is_live(&record))
		rc = acl_rights(kv, identity, mailbox->account, mailbox->id, &mailbox->rights);
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

int foreign_list_read(struct kv_txn *kv, const struct identity *identity, uint32_t own,
	uint32_t account, struct foreign_list *list_r)
{
	struct collecting collecting = { list_r, own, account };
	struct arena *arena = arena_new();
	size_t kept = 0;
	int rc;

	*list_r = (struct foreign_list){ 0 };
	rc = acl_each_grant(kv, identity, collect, &collecting);
	if (list_r->count > 1)
		qsort(list_r->list, list_r->count, sizeof(*list_r->list), compare);
	for (size_t i = 0; i < list_r->count && rc == 0; i++) {
		struct foreign_mailbox mailbox = list_r->list[i];

		if (kept > 0 && compare(&list_r->list[kept - 1], &mailbox) == 0)
			continue;
		arena_reset(arena);
		rc = look_up(kv, identity, arena, &mailbox);
		if (rc == 0 && (mailbox.rights & FOREIGN_NEEDS) == FOREIGN_NEEDS)
			list_r->list[kept++] = mailbox;
	}
	list_r->count = kept;
	arena_free(&arena);
	return rc;
}

void foreign_list_deinit(struct foreign_list *list)
{
	free(list->list);
	*list = (struct foreign_list){ 0 };
}

unsigned foreign_rights(const struct foreign_list *list, uint32_t account, struct id128 id)
{
	struct foreign_mailbox key = { .account = account, .id = id };
	const struct foreign_mailbox *found =
		list->count == 0 ? NULL
				 : bsearch(&key, list->list, list->count, sizeof(key), compare);

	return found != NULL ? found->rights : 0;
}
