#include "sync/replica.h"

#include "sync/conflict.h"

#include "base/mem.h"
#include "mail/account_mode.h"

#include <stdio.h>
#include <stdlib.h>

struct report {
	struct account_write *write;
	struct account_mode mode;
	struct merge_conflict *found; /* one for each mailbox and node, with the first such act */
	size_t count, room;
};

static bool is_forbidden(const struct report *report, struct stamp act)
{
	return act.node != report->mode.master && stamp_compare(act, report->mode.since) > 0;
}

static struct bytes node_text(struct arena *arena, uint64_t node)
{
	char text[17];

	snprintf(text, sizeof(text), "%016llx", (unsigned long long)node);
	return arena_copy(arena, bytes_of_string(text));
}

static void note(struct report *report, struct id128 mailbox, struct stamp act)
{
	struct merge_conflict *conflict;

	if (!is_forbidden(report, act))
		return;
	for (size_t i = 0; i < report->count; i++) {
		conflict = &report->found[i];
		if (conflict->lost.node == act.node && id128_equal(conflict->mailbox, mailbox)) {
			if (stamp_compare(act, conflict->lost) < 0)
				conflict->lost = act;
			return;
		}
	}
	if (report->count == CONFLICT_MERGE_MAX)
		return;
	mem_grow((void **)&report->found, &report->room, report->count + 1, sizeof(*conflict));
	report->found[report->count++] = (struct merge_conflict){ .kind = MERGE_REPLICA_CHANGED,
		.mailbox = mailbox,
		.name = node_text(report->write->arena, act.node),
		.lost = act };
}

static void note_message(struct report *report, const struct message_record *message)
{
	struct id128 mailbox = message_is_shown(message) ? message->mailbox : message->placed_in;

	note(report, mailbox, message->placed);
	for (size_t i = 0; i < message->flag_count; i++)
		note(report, mailbox, message->flags[i].stamp);
}

int replica_report(struct account_write *write, uint64_t peer, const struct change_set *changes)
{
	struct report report = { .write = write };
	int rc = account_mode_get(write->kv, write->header.number, &report.mode);

	if (rc < 0 || !report.mode.has_master)
		return rc;
	for (size_t i = 0; i < changes->message_count; i++)
		note_message(&report, &changes->messages[i].record);
	/* Those of the account are the operator's and the nodes' own. */
	for (size_t i = 0; i < changes->register_count; i++)
		if (changes->registers[i].kind != RECORD_ACCOUNT)
			note(&report, changes->registers[i].mailbox, changes->registers[i].stamp);
	rc = conflict_put(write, peer, report.found, report.count);
	free(report.found);
	return rc;
}
