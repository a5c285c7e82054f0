#include "sync/fill.h"

#include "sync/integrate.h"
#include "sync/merge.h"
#include "sync/point.h"
#include "sync/sync_limits.h"

#include <limits.h>

#define READ_STOP INT_MAX /* the part is full; never seen by callers */

bool fill_is_pristine(const struct account_header *header)
{
	/* Nothing was written but INBOX: a UIDNEXT that a peer told has no modseq above that. */
	return header->hold == ACCOUNT_SERVED && header->sequence <= header->begun + 1 &&
	       !header->is_deleted;
}

/* ---- who is at it ---- */

static bool is_driver(const struct account_fill *fill, struct fill_driver driver)
{
	return fill->source == driver.source && fill->is_pulled == driver.is_pulled;
}

/* A clock that went back does not make it younger than it is for longer than that. */
static bool is_idle(const struct account_fill *fill, uint64_t now_ms)
{
	uint64_t passed = now_ms > fill->at_ms ? now_ms - fill->at_ms : fill->at_ms - now_ms;

	return passed + 1 > FILL_IDLE_MS;
}

int fill_may_go_on(struct kv_txn *kv, uint32_t account, struct fill_driver driver, uint64_t now_ms,
	uint64_t *reached_r, uint64_t *other_r)
{
	struct account_fill fill;
	int rc = account_fill_get(kv, account, &fill);

	if (rc < 0)
		return rc;
	*other_r = fill.source;
	if (driver.view != fill.view && driver.view != 0)
		return ERR_UNAVAILABLE;
	if (!is_driver(&fill, driver) && !is_idle(&fill, now_ms))
		return ERR_UNAVAILABLE;
	*reached_r = fill.source == driver.source && fill.view == driver.view ? fill.reached : 0;
	return 0;
}

/* Where the copy is for this driver; and whether the part begins there. */
static int marker_find(struct account_write *write, const struct fill_part *part,
	struct account_fill *fill, struct error *error)
{
	uint64_t reached, other;
	int rc = fill_may_go_on(
		write->kv, write->header.number, part->driver, write->now_ms, &reached, &other);

	*fill = (struct account_fill){ .source = part->driver.source,
		.is_pulled = part->driver.is_pulled,
		.at_ms = write->now_ms,
		.view = part->driver.view };
	if (rc == ERR_NOT_FOUND)
		return fill_is_pristine(&write->header)
			       ? 0
			       : error_set(error, ERR_UNAVAILABLE,
					 "there is a copy of the account already");
	if (rc == ERR_UNAVAILABLE)
		return error_set(error, rc, "the account is being filled from node %016llx",
			(unsigned long long)other);
	if (rc == 0) {
		struct account_fill before;

		rc = account_fill_get(write->kv, write->header.number, &before);
		fill->reached = reached;
		fill->is_mixed =
			rc == 0 && (before.is_mixed || before.source != part->driver.source ||
					   before.view != part->driver.view);
	}
	return rc;
}

/* ---- taking records ---- */

static int take_mailbox(struct account_write *write, const struct mailbox_record *theirs)
{
	struct mailbox_record mine, next = *theirs;
	int rc = account_get_mailbox(
		write->kv, write->header.number, theirs->id, write->arena, &mine);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0 && mailbox_same(&mine, theirs) && mine.modseq == theirs->modseq)
		return account_raise_uidnext(write, theirs->id, theirs->uidnext);
	if (rc == 0 && !merge_mailbox_follows(&mine, theirs))
		merge_mailbox(&mine, theirs, &next);
	return account_put_mailbox(write, &next);
}

/* What another source has shown there gets the next UID: nobody has seen it. */
static int make_room(struct account_write *write, const struct message_record *message)
{
	struct mailbox_record mailbox;
	struct message_record other;
	int rc = account_get_message_at(write->kv, write->header.number, message->mailbox,
		message->uid, write->arena, &other);

	if (rc < 0 || stamp_compare(other.instance, message->instance) == 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	rc = account_write_flush(write);
	if (rc == 0)
		rc = account_get_mailbox(
			write->kv, write->header.number, message->mailbox, write->arena, &mailbox);
	if (rc < 0)
		return rc;
	other.uid = mailbox.uidnext;
	other.modseq = account_tick(write, write->header.highest);
	return account_put_message(write, &other);
}

static int take_message(
	struct account_write *write, const struct message_record *theirs, bool is_mixed)
{
	struct message_record mine, next = *theirs;
	int rc = account_get_message(
		write->kv, write->header.number, theirs->instance, write->arena, &mine);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0 && message_same(&mine, theirs) && mine.modseq == theirs->modseq)
		return 0;
	if (rc == 0 && !merge_message_follows(&mine, theirs))
		rc = merge_message(&mine, theirs, write->arena, &next);
	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	rc = is_mixed && message_is_shown(&next) ? make_room(write, &next) : 0;
	return rc < 0 ? rc : account_put_message(write, &next);
}

static int take_register(struct account_write *write, const struct register_record *theirs)
{
	struct register_record mine, next = *theirs;
	int rc = account_get_register(write->kv, write->header.number, theirs->kind,
		theirs->mailbox, theirs->key, write->arena, &mine);

	if (rc < 0 && rc != ERR_NOT_FOUND)
		return rc;
	if (rc == 0 && register_same(&mine, theirs) && mine.modseq == theirs->modseq)
		return 0;
	if (rc == 0 && !merge_register_follows(&mine, theirs))
		merge_register(&mine, theirs, &next);
	return account_put_register(write, &next);
}

static int take_records(
	struct account_write *write, const struct change_set *changes, bool is_mixed)
{
	int rc = 0;

	for (size_t i = 0; i < changes->mailbox_count && rc == 0; i++)
		rc = take_mailbox(write, &changes->mailboxes[i]);
	for (size_t i = 0; i < changes->message_count && rc == 0; i++)
		rc = take_message(write, &changes->messages[i].record, is_mixed);
	for (size_t i = 0; i < changes->register_count && rc == 0; i++)
		rc = take_register(write, &changes->registers[i]);
	if (rc < 0)
		return rc;
	account_observe(write, changes->highest);
	return account_write_flush(write);
}

static int end_in_view(struct account_write *write, struct fill_part *part, const struct view *view)
{
	struct common_point point;
	int rc = view_digest(write->kv, &write->header, view, &part->digest);

	if (rc < 0 || !digest_equal(part->digest, part->result))
		return rc;
	rc = account_hold_end(write);
	if (rc < 0)
		return rc;
	part->is_whole = true;
	point = (struct common_point){ write->header.sequence, part->reached };
	return view_save(write->store, part->driver.source, part->filter, view, point);
}

static int end_if_whole(struct account_write *write, struct fill_part *part)
{
	struct view view;
	int rc;

	part->digest = write->header.digest;
	if (!part->is_last)
		return 0;
	rc = view_open(write->kv, write->header.number, part->filter, part->driver.source, &view);
	if (rc == 0)
		rc = view_tell(write->kv, &view, part->also.ids, part->also.count);
	if (rc == 0)
		rc = integrate_tell(write->kv, part->changes, &view);
	if (rc == 0)
		rc = end_in_view(write, part, &view);
	view_close(&view);
	return rc;
}

int fill_take(struct account_write *write, struct fill_part *part, struct error *error)
{
	struct account_fill fill;
	int rc = marker_find(write, part, &fill, error);

	part->is_whole = false;
	part->reached = fill.reached;
	if (rc < 0 || part->since != fill.reached)
		return rc;
	rc = integrate_check(
		part->changes, integrate_modseq_limit(write->now_ms, part->skew_ms), error);
	if (rc == 0)
		rc = integrate_check_sizes(write->kv, part->bodies, part->changes, error);
	if (rc < 0)
		return rc;
	body_set_offer(part->bodies, write);
	fill.reached = part->changes->sequence;
	rc = account_fill_put(write, &fill);
	if (rc == 0)
		rc = take_records(write, part->changes, fill.is_mixed);
	if (rc == ERR_ILLEGAL)
		error_set(error, rc, "a part of the copy does not fit to those before it");
	if (rc < 0)
		return rc;
	part->reached = fill.reached;
	return end_if_whole(write, part);
}

/* ---- reading a part ---- */

struct fill_reading {
	struct change_set *set;
	uint64_t reached, mailboxes_since;
	size_t room;
	uint64_t size; /* bytes, about */
};

static int read_one(struct fill_reading *reading, uint64_t sequence, uint64_t size)
{
	if (reading->room == 0 || reading->size >= SYNC_BATCH_SIZE)
		return READ_STOP;
	reading->room--;
	reading->size += size;
	reading->reached = sequence;
	return 0;
}

/* All of them come apart. */
static int pass_mailbox(void *context, const struct mailbox_record *mailbox)
{
	return read_one(context, mailbox->sequence, 0);
}

static int read_message(void *context, const struct message_record *message)
{
	struct fill_reading *reading = context;
	int rc = read_one(reading, message->sequence, 300 + 60 * (uint64_t)message->flag_count);

	if (rc == 0)
		change_set_add_message(reading->set, message, false);
	return rc;
}

static int read_register(void *context, const struct register_record *record)
{
	struct fill_reading *reading = context;
	int rc = read_one(reading, record->sequence, 100 + record->key.len + record->value.len);

	if (rc == 0)
		change_set_add_register(reading->set, record);
	return rc;
}

static int read_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct fill_reading *reading = context;

	if (mailbox->sequence > reading->mailboxes_since)
		change_set_add_mailbox(reading->set, mailbox);
	return 0;
}

/* What changed in the view since there, and nothing else that was: all of it came before. */
static int read_view(struct kv_txn *kv, const struct account_header *header,
	const struct view *view, uint64_t since, size_t count_max, struct arena *arena,
	struct fill_reading *reading)
{
	struct change_set *set = reading->set;
	struct view in_parts = *view;
	int rc;

	in_parts.is_in_parts = true;
	rc = view_changes(kv, header, &in_parts, since, since, count_max, arena, set);

	for (size_t i = 0; i < view->id_count && rc == 0; i++) {
		struct mailbox_record mailbox;

		rc = account_get_mailbox(kv, header->number, view->ids[i], arena, &mailbox);
		if (rc == 0)
			rc = read_mailbox(reading, &mailbox);
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	return rc;
}

static int read_whole(struct kv_txn *kv, const struct account_header *header, uint64_t since,
	struct arena *arena, struct fill_reading *reading)
{
	static const struct account_change_functions functions = { pass_mailbox, read_message,
		read_register };
	int rc;

	*reading->set = (struct change_set){ .account = header->id,
		.since = since,
		.sequence = header->sequence,
		.highest = header->highest };
	rc = account_each_change(kv, header->number, since, arena, &functions, reading);
	if (rc == READ_STOP) {
		reading->set->sequence = reading->reached;
		rc = 0;
	}
	return rc < 0 ? rc : account_each_mailbox(kv, header->number, arena, read_mailbox, reading);
}

int fill_read(struct kv_txn *kv, const struct account_header *header, const struct view *view,
	uint64_t since, uint64_t mailboxes_since, size_t count_max, struct arena *arena,
	struct change_set *set_r)
{
	struct fill_reading reading = {
		.set = set_r, .mailboxes_since = mailboxes_since, .room = count_max
	};
	int rc = view->is_whole ? read_whole(kv, header, since, arena, &reading)
				: read_view(kv, header, view, since, count_max, arena, &reading);

	if (rc < 0) {
		change_set_deinit(set_r);
		return rc;
	}
	change_set_normalize(set_r);
	return 0;
}
