#include "sync/view.h"

#include "sync/account_filter.h"
#include "sync/merge.h"

#include "base/error.h"
#include "base/mem.h"
#include "base/pack.h"
#include "mail/annotation.h"
#include "mail/tables.h"

#include <stdlib.h>

#define MEMBERS_VERSION 1
#define MEMBERS_KEY_SIZE 21 /* a point's key and 'V' */

/* ---- filters ---- */

static bool is_open(const char *patterns)
{
	return patterns == NULL || patterns[0] == '\0';
}

bool view_filter_is_whole(const struct view_filter *filter)
{
	return filter == NULL ||
	       (is_open(filter->mine) && is_open(filter->theirs) && filter->foreign == NULL);
}

/* Both sides name it alike, whichever of them has which patterns, and if both have the same. */
uint64_t view_filter_key(const struct view_filter *filter)
{
	const char *first, *second;
	struct buffer text = { 0 };
	uint64_t key;

	/* Of an account that is another's, nobody exchanges the whole. */
	if (view_filter_is_whole(filter) || filter->foreign != NULL)
		return 0;
	first = is_open(filter->mine) ? "" : filter->mine;
	second = is_open(filter->theirs) ? "" : filter->theirs;
	if (strcmp(first, second) > 0) {
		const char *swapped = first;

		first = second;
		second = swapped;
	}
	if (strcmp(first, second) != 0)
		buffer_append_bytes(&text, bytes_of_string(first));
	pack_u8(&text, 0);
	buffer_append_bytes(&text, bytes_of_string(second));
	key = hash64(buffer_bytes(&text), 0);
	buffer_deinit(&text);
	return key != 0 ? key : 1;
}

static bool passes(const struct view_filter *filter, struct bytes name)
{
	return mailbox_filter_passes(filter->mine, name) &&
	       mailbox_filter_passes(filter->theirs, name);
}

/* ---- which mailboxes ---- */

/* The place of the id, or where it is to be. */
static size_t id_place(const struct view *view, struct id128 id)
{
	size_t low = 0, high = view->id_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (id128_compare(view->ids[middle], id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has_id(const struct view *view, struct id128 id)
{
	size_t place = id_place(view, id);

	return place < view->id_count && id128_equal(view->ids[place], id);
}

static void add_id(struct view *view, struct id128 id)
{
	size_t place = id_place(view, id);

	if (id128_is_none(id) || (place < view->id_count && id128_equal(view->ids[place], id)))
		return;
	mem_grow((void **)&view->ids, &view->id_room, view->id_count + 1, sizeof(*view->ids));
	memmove(&view->ids[place + 1], &view->ids[place],
		(view->id_count - place) * sizeof(*view->ids));
	view->ids[place] = id;
	view->id_count++;
}

static const struct view_member *member_find(const struct view *view, struct id128 id)
{
	size_t low = 0, high = view->member_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = id128_compare(view->members[middle].id, id);

		if (order == 0)
			return &view->members[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Deleted mailboxes that forward to others, while a view is made. */
struct forwards {
	struct view *view;
	const struct view_filter *filter;
	struct {
		struct id128 from, to;
	} * list;
	size_t count, room;
};

static int note_mailbox(void *context, const struct mailbox_record *mailbox)
{
	struct forwards *forwards = context;

	if (passes(forwards->filter, mailbox->name) || merge_is_retired(mailbox))
		add_id(forwards->view, mailbox->id);
	if (id128_is_none(mailbox->forward))
		return 0;
	mem_grow((void **)&forwards->list, &forwards->room, forwards->count + 1,
		sizeof(*forwards->list));
	forwards->list[forwards->count].from = mailbox->id;
	forwards->list[forwards->count++].to = mailbox->forward;
	return 0;
}

static void follow_forwards(struct forwards *forwards)
{
	bool has_grown = true;

	while (has_grown) {
		has_grown = false;
		for (size_t i = 0; i < forwards->count; i++) {
			bool has_from = has_id(forwards->view, forwards->list[i].from);
			bool has_to = has_id(forwards->view, forwards->list[i].to);

			if (has_from == has_to)
				continue;
			add_id(forwards->view,
				has_from ? forwards->list[i].to : forwards->list[i].from);
			has_grown = true;
		}
	}
}

static struct bytes members_key(
	unsigned char at[MEMBERS_KEY_SIZE], uint32_t account, uint64_t peer, uint64_t part)
{
	put_u32(at, account);
	put_u64(at + 4, peer);
	put_u64(at + 12, part);
	at[20] = 'V';
	return bytes_of(at, MEMBERS_KEY_SIZE);
}

static int members_load(struct kv_txn *kv, uint64_t peer, uint64_t part, struct view *view)
{
	unsigned char key[MEMBERS_KEY_SIZE];
	struct bytes value;
	uint8_t version;
	int rc = kv_get(kv, MAIL_TABLE_COMMON, members_key(key, view->account, peer, part), &value);

	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (unpack_u8(&value, &version) < 0)
		return ERR_CORRUPT;
	if (version != MEMBERS_VERSION)
		return ERR_VERSION;
	while (value.len > 0) {
		struct view_member member;

		if (unpack_raw(&value, member.id.bytes, sizeof(member.id.bytes)) < 0 ||
			unpack_varint(&value, &member.since) < 0)
			return ERR_CORRUPT;
		mem_grow((void **)&view->members, &view->member_room, view->member_count + 1,
			sizeof(*view->members));
		view->members[view->member_count++] = member;
		add_id(view, member.id);
	}
	return 0;
}

int view_open(struct kv_txn *kv, uint32_t account, const struct view_filter *filter, uint64_t peer,
	struct view *view_r)
{
	struct forwards forwards = { .view = view_r, .filter = filter };
	struct arena *arena;
	int rc;

	*view_r = (struct view){
		.account = account, .has_settings = true, .is_whole = view_filter_is_whole(filter)
	};
	if (filter != NULL && filter->foreign != NULL) {
		view_open_foreign(account, filter->foreign->ids, filter->foreign->count, view_r);
		view_r->is_discreet = false;
		return 0;
	}
	if (view_r->is_whole)
		return 0;
	arena = arena_new();
	rc = members_load(kv, peer, view_filter_key(filter), view_r);
	if (rc == 0)
		rc = account_each_mailbox(kv, account, arena, note_mailbox, &forwards);
	if (rc == 0)
		follow_forwards(&forwards);
	free(forwards.list);
	arena_free(&arena);
	return rc;
}

int view_withhold(struct kv_txn *kv, struct view *view, uint64_t peer)
{
	if (view->is_foreign)
		return 0;
	return withheld_load(kv, view->account, peer, &view->withheld, &view->withheld_count);
}

void view_open_foreign(uint32_t account, const struct id128 *ids, size_t count, struct view *view_r)
{
	*view_r = (struct view){ .account = account, .is_foreign = true, .is_discreet = true };
	for (size_t i = 0; i < count; i++)
		add_id(view_r, ids[i]);
}

void view_close(struct view *view)
{
	free(view->ids);
	free(view->told);
	free(view->members);
	free(view->withheld);
	*view = (struct view){ .is_whole = true };
}

int view_tell(struct kv_txn *kv, struct view *view, const struct id128 *ids, size_t count)
{
	struct arena *arena;
	int rc = 0;

	if (view->is_whole)
		return 0;
	arena = arena_new();
	for (size_t i = 0; i < count && rc == 0; i++) {
		struct mailbox_record mailbox = { .forward = ids[i] };

		mem_grow((void **)&view->told, &view->told_room, view->told_count + 1,
			sizeof(*view->told));
		view->told[view->told_count++] = ids[i];
		add_id(view, ids[i]);
		do {
			rc = account_get_mailbox(
				kv, view->account, mailbox.forward, arena, &mailbox);
			if (rc < 0 || id128_is_none(mailbox.forward) ||
				has_id(view, mailbox.forward))
				break;
			add_id(view, mailbox.forward);
		} while (true);
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
	}
	arena_free(&arena);
	return rc;
}

int view_also_read(struct kv_txn *kv, const struct view *view, const struct view_filter *filter,
	struct view_also *also)
{
	struct arena *arena;
	int rc = 0;

	also->count = 0;
	if (view->is_whole || view->is_foreign)
		return 0;
	arena = arena_new();
	for (size_t i = 0; i < view->id_count && rc == 0 && also->count < VIEW_ALSO_COUNT_MAX;
		i++) {
		struct mailbox_record mailbox;

		rc = account_get_mailbox(kv, view->account, view->ids[i], arena, &mailbox);
		if (rc == 0 && filter != NULL && passes(filter, mailbox.name) &&
			member_find(view, view->ids[i]) != NULL)
			continue;
		rc = rc == ERR_NOT_FOUND ? 0 : rc;
		mem_grow((void **)&also->ids, &also->room, also->count + 1, sizeof(*also->ids));
		also->ids[also->count++] = view->ids[i];
	}
	arena_free(&arena);
	return rc;
}

void view_also_deinit(struct view_also *also)
{
	free(also->ids);
	*also = (struct view_also){ 0 };
}

bool view_has(const struct view *view, struct id128 mailbox)
{
	return view->is_whole || has_id(view, mailbox);
}

bool view_is_common(const struct view *view, struct id128 mailbox, uint64_t common)
{
	const struct view_member *member;

	if (view->is_whole || (view->is_foreign && !view->is_discreet))
		return true;
	member = view->is_discreet ? NULL : member_find(view, mailbox);
	return member != NULL && member->since <= common;
}

bool view_message_is_common(
	const struct view *view, const struct message_record *message, uint64_t common)
{
	if (message->placed_sequence > common)
		return false;
	/* What was written once more counts as new towards a sorted-out point (point.h); to take it
	 * for new towards any loses nothing. */
	return view->is_whole ||
	       (message->placed_again <= common && message->shown_again <= common &&
		       message->shown_sequence <= common &&
		       view_is_common(view, message->mailbox, common));
}

bool view_is_fresh(const struct view *view, struct id128 mailbox)
{
	return !view->is_whole && !view->is_foreign && member_find(view, mailbox) == NULL;
}

/* ---- which records ---- */

void view_hide(const struct view *view, struct message_record *message)
{
	if (!message_is_shown(message) || view_has(view, message->mailbox))
		return;
	if (view->is_discreet)
		message->placed_in = (struct id128){ { 0 } };
	message->mailbox = (struct id128){ { 0 } };
	message->uid = 0;
}

void view_unhide(
	const struct view *view, const struct message_record *mine, struct message_record *theirs)
{
	if (message_is_shown(theirs) || !message_is_shown(mine) || view_has(view, mine->mailbox) ||
		stamp_compare(mine->placed, theirs->placed) != 0)
		return;
	theirs->placed_in = mine->placed_in;
	theirs->mailbox = mine->mailbox;
	theirs->uid = mine->uid;
}

bool view_withholds(const struct view *view, struct stamp instance)
{
	for (size_t i = 0; i < view->withheld_count; i++)
		if (stamp_compare(view->withheld[i].instance, instance) == 0)
			return true;
	return false;
}

void view_leave_out(const struct view *view, struct change_set *set)
{
	size_t kept = 0;

	if (view->withheld_count == 0)
		return;
	for (size_t i = 0; i < set->message_count; i++)
		if (!view_withholds(view, set->messages[i].record.instance))
			set->messages[kept++] = set->messages[i];
	set->message_count = kept;
}

void view_withheld_subtract(const struct view *view, struct id128 mailbox, uint32_t first,
	uint32_t last, struct digest *digest, uint32_t *count)
{
	for (size_t i = 0; i < view->withheld_count; i++) {
		const struct withheld *withheld = &view->withheld[i];

		if (!id128_equal(withheld->mailbox, mailbox) || withheld->uid < first ||
			withheld->uid > last)
			continue;
		digest_subtract(digest, withheld->term);
		--*count;
	}
}

static bool is_setting(const struct register_record *record)
{
	struct stamp instance;

	return record->kind != RECORD_ACL &&
	       (record->kind != RECORD_ANNOTATION ||
		       (id128_is_none(record->mailbox) && !annotation_instance(record, &instance)));
}

/* Whether an annotation is of what is in another account: the user's own, privately. */
static int is_foreign(
	struct kv_txn *kv, const struct view *view, struct id128 mailbox, struct arena *arena)
{
	struct mailbox_record found;
	int rc = account_get_mailbox(kv, view->account, mailbox, arena, &found);

	return rc == ERR_NOT_FOUND ? 1 : rc;
}

/* The message that a register is of: NOT_FOUND if it is unknown here. */
static int find_message(struct kv_txn *kv, const struct view *view,
	const struct register_record *record, struct arena *arena, struct message_record *message_r)
{
	struct stamp instance;

	return annotation_instance(record, &instance)
		       ? account_get_message(kv, view->account, instance, arena, message_r)
		       : ERR_NOT_FOUND;
}

/* What others may see is shared annotations, of what they see. Those of messages are changed by
 * whoever changes the message, at the owner's only: a copy tells nothing of them. */
static int has_foreign_register(struct kv_txn *kv, const struct view *view,
	const struct register_record *record, struct arena *arena)
{
	struct message_record message;
	int rc;

	if (!annotation_is_shared(record))
		return 0;
	if (!id128_is_none(record->mailbox))
		return has_id(view, record->mailbox);
	if (!view->is_discreet)
		return 0;
	rc = find_message(kv, view, record, arena, &message);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	if (message_is_shown(&message))
		return has_id(view, message.mailbox);
	return !record->is_set && has_id(view, message.gone_from);
}

int view_has_register(struct kv_txn *kv, const struct view *view,
	const struct register_record *record, struct arena *arena)
{
	struct message_record message;
	int rc;

	if (view->is_whole)
		return 1;
	if (is_setting(record))
		return view->has_settings;
	if (view->is_foreign)
		return has_foreign_register(kv, view, record, arena);
	if (!id128_is_none(record->mailbox)) {
		if (has_id(view, record->mailbox))
			return 1;
		rc = is_foreign(kv, view, record->mailbox, arena);
		return rc > 0 ? view->has_settings : rc;
	}
	rc = find_message(kv, view, record, arena, &message);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? !record->is_set : rc;
	if (message_is_shown(&message))
		return has_id(view, message.mailbox) && !view_withholds(view, message.instance);
	return !record->is_set && id128_is_none(message.placed_in);
}

int view_register_is_common(struct kv_txn *kv, const struct view *view,
	const struct register_record *record, uint64_t common, struct arena *arena)
{
	struct message_record message;
	int rc;

	if (record->sequence > common)
		return 0;
	if (view->is_whole || is_setting(record))
		return 1;
	if (!id128_is_none(record->mailbox))
		return view_is_common(view, record->mailbox, common);
	rc = find_message(kv, view, record, arena, &message);
	if (rc < 0)
		return rc == ERR_NOT_FOUND ? 0 : rc;
	return view_message_is_common(view, &message, common);
}

/* ---- the digest: that of the account without what is not in the view ---- */

struct digest_sum {
	struct kv_txn *kv;
	const struct view *view;
	struct arena *arena, *scratch;
	struct digest digest;
};

static int leave_out_register(void *context, const struct register_record *record)
{
	struct digest_sum *sum = context;
	int rc = record->is_set ? view_has_register(sum->kv, sum->view, record, sum->scratch) : 1;

	if (rc == 0)
		digest_subtract(&sum->digest, register_term(record));
	return rc < 0 ? rc : 0;
}

static int leave_out_mailbox(void *context, const struct mailbox_record *mailbox)
{
	static const enum record_kind kinds[] = { RECORD_ACL, RECORD_ANNOTATION };
	struct digest_sum *sum = context;
	int rc = 0;

	if (!mailbox_is_live(mailbox) || has_id(sum->view, mailbox->id))
		return 0;
	digest_subtract(&sum->digest, mailbox->digest);
	for (size_t i = 0; i < 2 && rc == 0; i++)
		rc = account_each_mailbox_register(sum->kv, sum->view->account, kinds[i],
			mailbox->id, sum->arena, leave_out_register, sum);
	return rc;
}

/* Where settings are not in the view; what is of mailboxes or messages here was looked at. */
static int leave_out_setting(void *context, const struct register_record *record)
{
	struct digest_sum *sum = context;
	int rc = is_setting(record);

	if (rc == 0 && !id128_is_none(record->mailbox))
		rc = is_foreign(sum->kv, sum->view, record->mailbox, sum->scratch);
	return rc > 0 ? leave_out_register(context, record) : rc;
}

int view_digest(struct kv_txn *kv, const struct account_header *header, const struct view *view,
	struct digest *digest_r)
{
	struct digest_sum sum = { .kv = kv, .view = view, .digest = header->digest };
	int rc = 0;

	if (view->is_foreign)
		return view_foreign_digest(kv, view, digest_r);
	for (size_t i = 0; i < view->withheld_count; i++)
		if (view_has(view, view->withheld[i].mailbox))
			digest_subtract(&sum.digest, view->withheld[i].term);
	if (view->is_whole) {
		*digest_r = sum.digest;
		return 0;
	}
	sum.arena = arena_new();
	sum.scratch = arena_new();
	rc = account_each_mailbox(kv, view->account, sum.arena, leave_out_mailbox, &sum);
	if (rc == 0)
		rc = account_each_register_of(kv, view->account, RECORD_ANNOTATION,
			(struct id128){ { 0 } }, BYTES_LITERAL("m"), sum.arena, leave_out_register,
			&sum);
	for (int kind = RECORD_ACCOUNT; kind <= RECORD_SCRIPT && rc == 0; kind++)
		if (!view->has_settings && kind != RECORD_MAILBOX && kind != RECORD_MESSAGE)
			rc = account_each_register(kv, view->account, (enum record_kind)kind,
				sum.arena, leave_out_setting, &sum);
	arena_free(&sum.arena);
	arena_free(&sum.scratch);
	*digest_r = sum.digest;
	return rc;
}

/* ---- what was common ---- */

bool view_is_news(const struct view *view)
{
	if (view->is_whole || view->is_foreign)
		return false;
	for (size_t i = 0; i < view->id_count; i++)
		if (member_find(view, view->ids[i]) == NULL)
			return true;
	return false;
}

int view_save(struct store_write *store, uint64_t peer, const struct view_filter *filter,
	const struct view *view, struct common_point point)
{
	uint64_t part = view_filter_key(filter);
	unsigned char key[MEMBERS_KEY_SIZE];
	struct buffer value = { 0 };
	int rc = 0;

	if (view_is_news(view)) {
		pack_u8(&value, MEMBERS_VERSION);
		for (size_t i = 0; i < view->id_count; i++) {
			const struct view_member *member = member_find(view, view->ids[i]);

			buffer_append(&value, view->ids[i].bytes, sizeof(view->ids[i].bytes));
			pack_varint(&value, member != NULL ? member->since : point.mine);
		}
		rc = store_put(store, MAIL_TABLE_COMMON,
			members_key(key, view->account, peer, part), buffer_bytes(&value));
		buffer_deinit(&value);
	}
	return rc < 0 ? rc : point_put_of(store, view->account, peer, part, point);
}
