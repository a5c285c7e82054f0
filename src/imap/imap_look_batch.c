#include "imap/imap_look_batch.h"

#include "imap/imap_server_private.h"

#include "base/mem.h"
#include "base/parallel.h"

#include <stdlib.h>

int imap_look_batch_add(struct imap_look_batch *batch, struct imap_search *search,
	struct kv_txn *kv, const struct message_record *message, bool is_decided)
{
	struct imap_look_entry entry = { .message = *message, .is_decided = is_decided };
	int rc = is_decided ? 0 : store_body_find(kv, &message->guid, &entry.place);

	if (rc < 0)
		return rc;
	if (!is_decided)
		search->body_bytes += message->size;
	batch->search = search;
	mem_grow((void **)&batch->entries, &batch->room, batch->count + 1, sizeof(entry));
	batch->entries[batch->count++] = entry;
	return 0;
}

static void ask(void *context, size_t index)
{
	const struct imap_look_batch *batch = context;
	struct imap_look_entry *entry = &batch->entries[index];
	struct buffer raw = { NULL, 0, 0 };

	if (entry->is_decided)
		return;
	entry->rc =
		store_body_read_at(batch->store, &entry->place, &entry->message.guid, false, &raw);
	if (entry->rc == 0)
		entry->answers = imap_search_ask(batch->search, buffer_bytes(&raw));
	buffer_deinit(&raw);
}

void imap_look_batch_run(struct imap_look_batch *batch, struct kv_txn *kv,
	void (*function)(void *context, const struct message_record *message, int outcome),
	void *context)
{
	struct imap_search *search = batch->search;

	if (batch->count == 0)
		return;
	batch->store = mail_store(search->session->mail);
	if (imap_helpers_take(search->session->server)) {
		parallel_run(batch->count, ask, batch);
		imap_helpers_give(search->session->server);
	} else {
		for (size_t i = 0; i < batch->count; i++)
			ask(batch, i);
	}
	for (size_t i = 0; i < batch->count; i++) {
		const struct imap_look_entry *entry = &batch->entries[i];
		int outcome = entry->is_decided ? 1 : entry->rc;

		if (outcome == 0)
			outcome = imap_search_conclude(search, kv, &entry->message, entry->answers);
		function(context, &entry->message, outcome);
	}
	batch->count = 0;
}

void imap_look_batch_deinit(struct imap_look_batch *batch)
{
	free(batch->entries);
	*batch = (struct imap_look_batch){ 0 };
}
