#include "imap/imap_list_private.h"

#include "imap/imap_reply.h"

#include "base/mem.h"

#include <stdlib.h>

#define STEP_COUNT 500          /* names per snapshot */
#define STEP_SIZE (256u * 1024) /* bytes of output after which a snapshot ends */

struct imap_list_entry *imap_list_add(struct imap_list_reading *reading, struct bytes name)
{
	mem_grow((void **)&reading->entries, &reading->room, reading->count + 1,
		sizeof(*reading->entries));
	reading->entries[reading->count] = (struct imap_list_entry){ .name = name };
	return &reading->entries[reading->count++];
}

static int read_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct imap_list_reading *reading = context;
	struct imap_target *target;

	if (!mailbox_is_live(mailbox))
		return 0;
	target = arena_zalloc(reading->arena, sizeof(*target));
	target->account = reading->session->identity.account;
	target->is_own = true;
	target->rights = ACL_ALL;
	target->name = mailbox->name;
	target->exists = true;
	target->mailbox = *mailbox;
	imap_list_add(reading, mailbox->name)->target = target;
	return 0;
}

static int read_subscription(void *context, const struct register_record *record)
{
	struct imap_list_reading *reading = context;

	if (record->is_set)
		imap_list_add(reading, record->key)->is_subscribed = true;
	return 0;
}

/* '/' comes before all else, so that a level is followed by what is below it. */
static int name_order(struct bytes a, struct bytes b)
{
	size_t len = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < len; i++) {
		int x = a.ptr[i] == '/' ? 0 : a.ptr[i] + 1, y = b.ptr[i] == '/' ? 0 : b.ptr[i] + 1;

		if (x != y)
			return x - y;
	}
	return a.len < b.len ? -1 : a.len > b.len;
}

static int entry_order(const void *a, const void *b)
{
	const struct imap_list_entry *x = a, *y = b;

	return name_order(x->name, y->name);
}

static void sort_and_unite(struct imap_list_reading *reading)
{
	size_t kept = 0;

	if (reading->count == 0)
		return;
	qsort(reading->entries, reading->count, sizeof(reading->entries[0]), entry_order);
	for (size_t i = 1; i < reading->count; i++) {
		struct imap_list_entry *last = &reading->entries[kept],
				       *entry = &reading->entries[i];

		if (!bytes_equal(last->name, entry->name)) {
			reading->entries[++kept] = *entry;
			continue;
		}
		if (last->target == NULL)
			last->target = entry->target;
		last->is_subscribed = last->is_subscribed || entry->is_subscribed;
	}
	reading->count = kept + 1;
}

/* Adds the levels above names; most are there already and go in sort_and_unite(). */
static void add_levels(struct imap_list_reading *reading)
{
	size_t count = reading->count;
	struct bytes last = { NULL, 0 };

	for (size_t i = 0; i < count; i++) {
		struct bytes name = reading->entries[i].name;

		for (size_t len = 1; len < name.len; len++) {
			struct bytes level = bytes_of(name.ptr, len);

			if (name.ptr[len] != '/' || (bytes_start_with(last, level) &&
							    last.len > len && last.ptr[len] == '/'))
				continue;
			imap_list_add(reading, level);
		}
		last = name;
	}
	sort_and_unite(reading);
}

/* Is `name` somewhere below `level`? */
static bool is_below(struct bytes name, struct bytes level)
{
	return name.len > level.len && bytes_start_with(name, level) && name.ptr[level.len] == '/';
}

/* Children follow their levels; the levels above the present name form a stack. */
static void note_children(struct imap_list_reading *reading)
{
	size_t stack[MAILBOX_NAME_SIZE_MAX + 1], depth = 0;

	for (size_t i = 0; i < reading->count; i++) {
		const struct imap_list_entry *entry = &reading->entries[i];

		while (depth > 0 && !is_below(entry->name, reading->entries[stack[depth - 1]].name))
			depth--;
		for (size_t at = 0; at < depth; at++) {
			struct imap_list_entry *above = &reading->entries[stack[at]];

			above->has_children = above->has_children || entry->target != NULL;
			above->has_subscribed_children =
				above->has_subscribed_children || entry->is_subscribed;
		}
		if (depth <= MAILBOX_NAME_SIZE_MAX)
			stack[depth++] = i;
	}
}

int imap_list_read(struct imap_session *session, struct kv_txn *kv, bool with_foreign,
	struct imap_list *list_r)
{
	struct imap_list_reading reading = {
		.session = session, .kv = kv, .arena = session->arena
	};
	struct imap_list_entry *copy;
	int rc;

	rc = account_each_mailbox(
		kv, session->identity.account, session->arena, read_mailbox, &reading);
	if (rc == 0)
		rc = account_each_register(kv, session->identity.account, RECORD_SUBSCRIPTION,
			session->arena, read_subscription, &reading);
	if (rc == 0 && with_foreign)
		rc = imap_list_read_foreign(&reading);
	if (rc == 0) {
		sort_and_unite(&reading);
		add_levels(&reading);
		note_children(&reading);
		copy = arena_alloc(session->arena, (reading.count + 1) * sizeof(*copy));
		if (reading.count > 0)
			memcpy(copy, reading.entries, reading.count * sizeof(*copy));
		*list_r = (struct imap_list){ copy, reading.count };
	}
	free(reading.entries);
	return rc;
}

/* ---- going through it ---- */

int imap_list_walk(struct imap_session *session, const struct imap_list *list, size_t *next,
	imap_list_function *function, void *context)
{
	while (*next < list->count) {
		size_t end = list->count - *next > STEP_COUNT ? *next + STEP_COUNT : list->count;
		struct kv_txn *kv;
		int rc = imap_read_begin(session, &kv);

		if (rc < 0)
			return rc;
		for (; *next < end && rc == 0 && session->out.len < STEP_SIZE; ++*next)
			rc = function(session, kv, context, &list->entries[*next]);
		mail_read_end(&kv);
		if (rc < 0)
			return rc;
		if (imap_is_full(session))
			return 1;
	}
	return 0;
}
