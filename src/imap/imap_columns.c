#include "imap/imap_columns.h"

#include "base/hash.h"
#include "base/mem.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SLOT_COUNT 1024u
#define FIELD_SIZE_MAX 2048 /* bytes of a message's field; one with more is left out */

/* Flag i is bit i. */
static const char *const flag_names[] = { "\\Answered", "\\Deleted", "\\Draft", "\\Flagged",
	"\\Seen" };
#define FLAG_COUNT (sizeof(flag_names) / sizeof(flag_names[0]))

struct imap_column {
	_Atomic unsigned references;
	uint32_t account;
	uint32_t uidvalidity;
	struct id128 mailbox;
	char name[IMAP_COLUMN_NAME_SIZE_MAX + 1]; /* in lower case; "": flags */
	uint64_t modseq;
	size_t size_max;
	uint32_t *uids;
	size_t count, uid_room;
	struct buffer octets; /* of flags one each; of a field its text, and LF */
	uint32_t *ends;       /* of a field: where in `octets` that of each message ends */
	size_t end_room;
};

struct imap_columns {
	pthread_mutex_t lock;
	size_t size_max;
	struct imap_column *slots[SLOT_COUNT];
	size_t size;   /* bytes of all */
	unsigned hand; /* the slot that is emptied next */
};

/* ---- the cache ---- */

struct imap_columns *imap_columns_new(size_t size_max)
{
	struct imap_columns *columns = mem_zalloc(sizeof(*columns));

	pthread_mutex_init(&columns->lock, NULL);
	columns->size_max = size_max;
	return columns;
}

void imap_column_release(struct imap_column **column)
{
	struct imap_column *released = *column;

	*column = NULL;
	if (released == NULL ||
		atomic_fetch_sub_explicit(&released->references, 1, memory_order_acq_rel) > 1)
		return;
	free(released->uids);
	free(released->ends);
	buffer_deinit(&released->octets);
	free(released);
}

static size_t size_of(const struct imap_column *column)
{
	return sizeof(*column) + column->count * sizeof(*column->uids) +
	       (column->ends != NULL ? column->count * sizeof(*column->ends) : 0) +
	       column->octets.len + 1;
}

static void empty(struct imap_columns *columns, struct imap_column **slot)
{
	if (*slot == NULL)
		return;
	columns->size -= size_of(*slot);
	imap_column_release(slot);
}

void imap_columns_free(struct imap_columns **columns)
{
	if (*columns == NULL)
		return;
	for (unsigned i = 0; i < SLOT_COUNT; i++)
		empty(*columns, &(*columns)->slots[i]);
	pthread_mutex_destroy(&(*columns)->lock);
	free(*columns);
	*columns = NULL;
}

static struct imap_column **slot_of(struct imap_columns *columns, const struct imap_column *column)
{
	uint64_t hash = hash64(bytes_of_string(column->name), column->account);

	hash = hash64(bytes_of(&column->mailbox, sizeof(column->mailbox)), hash);
	return &columns->slots[hash % SLOT_COUNT];
}

static bool is_same(const struct imap_column *a, const struct imap_column *b)
{
	return a->account == b->account && a->uidvalidity == b->uidvalidity &&
	       id128_equal(a->mailbox, b->mailbox) && strcmp(a->name, b->name) == 0;
}

/* Says of which mailbox and field it is. */
static bool name_column(struct imap_column *column, const struct imap_view *view, struct bytes name)
{
	if (name.len > IMAP_COLUMN_NAME_SIZE_MAX)
		return false;
	column->account = view->account;
	column->uidvalidity = view->uidvalidity;
	column->mailbox = view->mailbox;
	for (size_t i = 0; i < name.len; i++)
		column->name[i] = (char)tolower(name.ptr[i]);
	column->name[name.len] = '\0';
	return true;
}

struct imap_column *imap_columns_take(
	struct imap_columns *columns, const struct imap_view *view, struct bytes name)
{
	struct imap_column wanted = { 0 }, *found;

	if (!name_column(&wanted, view, name))
		return NULL;
	pthread_mutex_lock(&columns->lock);
	found = *slot_of(columns, &wanted);
	if (found != NULL && is_same(found, &wanted))
		atomic_fetch_add_explicit(&found->references, 1, memory_order_relaxed);
	else
		found = NULL;
	pthread_mutex_unlock(&columns->lock);
	return found;
}

/* Gives back what filling reserved. */
static void trim(struct imap_column *column)
{
	size_t uid_size = column->count * sizeof(*column->uids);

	column->uids = mem_realloc(column->uids, uid_size);
	if (column->ends != NULL)
		column->ends = mem_realloc(column->ends, uid_size);
	column->octets.room = column->octets.len + 1;
	column->octets.data = mem_realloc(column->octets.data, column->octets.room);
}

void imap_columns_keep(struct imap_columns *columns, struct imap_column **column)
{
	size_t size = size_of(*column);

	if (size > columns->size_max || (*column)->count == 0) {
		imap_column_release(column);
		return;
	}
	trim(*column);
	pthread_mutex_lock(&columns->lock);
	empty(columns, slot_of(columns, *column));
	while (columns->size + size > columns->size_max)
		empty(columns, &columns->slots[columns->hand++ % SLOT_COUNT]);
	*slot_of(columns, *column) = *column;
	columns->size += size;
	pthread_mutex_unlock(&columns->lock);
	*column = NULL;
}

static size_t flag_index(struct bytes flag)
{
	size_t i = 0;

	while (i < FLAG_COUNT && !bytes_equal_string_nocase(flag, flag_names[i]))
		i++;
	return i;
}

/* ---- filling ---- */

struct imap_column *imap_column_new(const struct imap_columns *columns,
	const struct imap_view *view, struct bytes name, uint64_t modseq)
{
	struct imap_column *column = mem_zalloc(sizeof(*column));

	atomic_init(&column->references, 1);
	column->modseq = modseq;
	column->size_max = columns->size_max < UINT32_MAX ? columns->size_max : UINT32_MAX;
	if (!name_column(column, view, name))
		imap_column_release(&column);
	return column;
}

static void add_uid(struct imap_column *column, uint32_t uid)
{
	mem_grow((void **)&column->uids, &column->uid_room, column->count + 1,
		sizeof(*column->uids));
	column->uids[column->count++] = uid;
}

static bool has_room(const struct imap_column *column)
{
	return size_of(column) + FIELD_SIZE_MAX <= column->size_max;
}

void imap_column_add_flags(struct imap_column *column, const struct message_record *message)
{
	unsigned bits = 0;

	if (!has_room(column))
		return;
	for (size_t i = 0; i < message->flag_count; i++) {
		if (message->flags[i].is_set)
			bits |= 1u << flag_index(message->flags[i].name);
	}
	add_uid(column, message->uid);
	buffer_append_byte(&column->octets, (int)bits);
}

/* What was appended from `before` on is the message's text. */
static bool end_text(
	struct imap_column *column, uint32_t uid, size_t before, const struct mime_needle *needle)
{
	size_t size = column->octets.len - before;

	if (size > FIELD_SIZE_MAX) {
		buffer_truncate(&column->octets, before);
		return true;
	}
	add_uid(column, uid);
	mem_grow((void **)&column->ends, &column->end_room, column->count, sizeof(*column->ends));
	column->ends[column->count - 1] = (uint32_t)column->octets.len;
	return needle == NULL ||
	       mime_needle_in_folded(needle, bytes_of(column->octets.data + before, size));
}

bool imap_column_add_field(struct imap_column *column, uint32_t uid, struct bytes message,
	const struct mime_needle *needle)
{
	size_t before = column->octets.len;

	if (!has_room(column))
		return true;
	mime_search_fold(message, bytes_of_string(column->name), &column->octets);
	return end_text(column, uid, before, needle);
}

bool imap_column_add_folded(struct imap_column *column, uint32_t uid, struct bytes folded,
	const struct mime_needle *needle)
{
	size_t before = column->octets.len;

	if (!has_room(column))
		return true;
	buffer_append_bytes(&column->octets, folded);
	return end_text(column, uid, before, needle);
}

/* ---- reading ---- */

uint64_t imap_column_modseq(const struct imap_column *column)
{
	return column->modseq;
}

size_t imap_column_count(const struct imap_column *column)
{
	return column->count;
}

const uint32_t *imap_column_uids(const struct imap_column *column)
{
	return column->uids;
}

bool imap_column_has_flag(struct bytes flag)
{
	return flag_index(flag) < FLAG_COUNT;
}

void imap_column_find_flag(
	const struct imap_column *column, struct bytes flag, bool is_set, bool *may)
{
	const unsigned char *octets = column->octets.data;
	unsigned shift = (unsigned)flag_index(flag);

	for (size_t i = 0; i < column->count; i++)
		may[i] = ((octets[i] >> shift & 1) != 0) == is_set;
}

/* The first message whose text ends behind `at`, from message `low` on. */
static size_t message_of(const struct imap_column *column, size_t low, size_t at)
{
	size_t high = column->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (column->ends[middle] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* In all texts at once: what is found over the end of one may be there, too, as far as this
 * knows. */
void imap_column_find_text(
	const struct imap_column *column, const struct mime_needle *needle, bool *may)
{
	struct bytes text = buffer_bytes(&column->octets), folded = mime_needle_folded(needle);
	size_t i = 0, at = 0;

	memset(may, 0, column->count * sizeof(*may));
	while (at < text.len) {
		const unsigned char *found =
			memmem(text.ptr + at, text.len - at, folded.ptr, folded.len);

		if (found == NULL)
			return;
		i = message_of(column, i, (size_t)(found - text.ptr));
		may[i] = true;
		at = column->ends[i];
	}
}
