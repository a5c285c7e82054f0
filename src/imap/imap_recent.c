#include "imap/imap_recent.h"

#include "base/mem.h"
#include "base/pack.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOT_COUNT                                                                                 \
	(2u * IMAP_RECENT_MAILBOX_MAX) /* a power of two: open addressing stays short              \
					*/

struct slot {
	struct id128 mailbox; /* none: free */
	uint32_t uidnext;     /* the first UID that nobody was told of */
};

struct imap_recent {
	pthread_mutex_t lock;
	struct slot *slots; /* NULL until first used */
	size_t count;
	bool is_changed; /* since it was written */
};

struct imap_recent *imap_recent_new(void)
{
	struct imap_recent *recent = mem_zalloc(sizeof(*recent));

	pthread_mutex_init(&recent->lock, NULL);
	return recent;
}

void imap_recent_free(struct imap_recent **recent)
{
	if (*recent == NULL)
		return;
	pthread_mutex_destroy(&(*recent)->lock);
	free((*recent)->slots);
	free(*recent);
	*recent = NULL;
}

/* The mailbox's slot, or the free one where it belongs. */
static struct slot *slot_find(struct imap_recent *recent, struct id128 mailbox)
{
	size_t at = (size_t)hash64(bytes_of(&mailbox, sizeof(mailbox)), 0);

	for (;; at++) {
		struct slot *slot = &recent->slots[at % SLOT_COUNT];

		if (id128_is_none(slot->mailbox) || id128_equal(slot->mailbox, mailbox))
			return slot;
	}
}

/* The mailbox's slot; if there was none, with that `uidnext`. */
static struct slot *slot_get(struct imap_recent *recent, struct id128 mailbox, uint32_t uidnext)
{
	struct slot *slot;

	if (recent->slots == NULL)
		recent->slots = mem_zalloc_array(SLOT_COUNT, sizeof(*recent->slots));
	slot = slot_find(recent, mailbox);
	if (!id128_is_none(slot->mailbox))
		return slot;
	if (recent->count == IMAP_RECENT_MAILBOX_MAX) {
		memset(recent->slots, 0, SLOT_COUNT * sizeof(*recent->slots));
		recent->count = 0;
		slot = slot_find(recent, mailbox);
	}
	*slot = (struct slot){ mailbox, uidnext };
	recent->count++;
	recent->is_changed = true;
	return slot;
}

uint32_t imap_recent_first(
	struct imap_recent *recent, struct id128 mailbox, uint32_t uidnext, bool claim)
{
	uint32_t first = uidnext;
	struct slot *slot;

	pthread_mutex_lock(&recent->lock);
	slot = slot_get(recent, mailbox, uidnext);
	if (slot->uidnext < first)
		first = slot->uidnext;
	if (claim && slot->uidnext < uidnext) {
		slot->uidnext = uidnext;
		recent->is_changed = true;
	}
	pthread_mutex_unlock(&recent->lock);
	return first;
}

/* ---- the file ---- */

#define FILE_MAGIC "CHRECENT"
#define FILE_VERSION 1
#define ROW_SIZE (16 + 4)
#define FILE_SIZE_MAX (8 + 4 + (size_t)IMAP_RECENT_MAILBOX_MAX * ROW_SIZE + 4)

static int file_read(const char *path, struct buffer *out)
{
	FILE *file = fopen(path, "rbe");
	size_t size;
	int rc;

	if (file == NULL)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	size = fread(buffer_extend(out, FILE_SIZE_MAX + 1), 1, FILE_SIZE_MAX + 1, file);
	rc = ferror(file) ? ERR_IO : 0;
	buffer_truncate(out, size);
	fclose(file);
	return rc;
}

static int rows_read(struct imap_recent *recent, struct bytes in)
{
	struct bytes magic = bytes_of_string(FILE_MAGIC);
	uint32_t version;

	if (in.len < magic.len + 8 || in.len > FILE_SIZE_MAX || !bytes_start_with(in, magic))
		return ERR_CORRUPT;
	in.len -= 4;
	if (get_u32(in.ptr + in.len) != crc32c(0, in))
		return ERR_CORRUPT;
	bytes_skip(&in, magic.len);
	if (unpack_u32(&in, &version) < 0 || in.len % ROW_SIZE != 0)
		return ERR_CORRUPT;
	if (version != FILE_VERSION)
		return ERR_VERSION;
	while (in.len > 0) {
		struct id128 mailbox;
		uint32_t uidnext;

		if (unpack_raw(&in, mailbox.bytes, sizeof(mailbox.bytes)) < 0 ||
			unpack_u32(&in, &uidnext) < 0)
			return ERR_CORRUPT;
		if (!id128_is_none(mailbox))
			slot_get(recent, mailbox, uidnext)->uidnext = uidnext;
	}
	return 0;
}

int imap_recent_load(struct imap_recent *recent, const char *path)
{
	struct buffer text = { 0 };
	int rc = file_read(path, &text);

	if (rc == 0)
		rc = rows_read(recent, buffer_bytes(&text));
	buffer_deinit(&text);
	recent->is_changed = rc != 0;
	return rc == ERR_NOT_FOUND ? 0 : rc;
}

static bool rows_write(struct imap_recent *recent, struct buffer *out)
{
	bool is_changed;

	pthread_mutex_lock(&recent->lock);
	is_changed = recent->is_changed;
	recent->is_changed = false;
	buffer_append_string(out, FILE_MAGIC);
	pack_u32(out, FILE_VERSION);
	for (size_t i = 0; is_changed && recent->slots != NULL && i < SLOT_COUNT; i++) {
		const struct slot *slot = &recent->slots[i];

		if (id128_is_none(slot->mailbox))
			continue;
		buffer_append(out, slot->mailbox.bytes, sizeof(slot->mailbox.bytes));
		pack_u32(out, slot->uidnext);
	}
	pthread_mutex_unlock(&recent->lock);
	pack_u32(out, crc32c(0, buffer_bytes(out)));
	return is_changed;
}

/* Not synced to disk: what is lost with the machine is recent once more. */
static int file_replace(const char *path, struct bytes text)
{
	struct buffer part = { 0 };
	FILE *file;
	int rc = 0;

	buffer_printf(&part, "%s.part", path);
	file = fopen(buffer_string(&part), "wbe");
	if (file == NULL || fwrite(text.ptr, 1, text.len, file) != text.len)
		rc = ERR_IO;
	if (file != NULL && fclose(file) != 0)
		rc = ERR_IO;
	if (rc == 0 && rename(buffer_string(&part), path) != 0)
		rc = ERR_IO;
	if (rc < 0)
		unlink(buffer_string(&part));
	buffer_deinit(&part);
	return rc;
}

int imap_recent_save(struct imap_recent *recent, const char *path)
{
	struct buffer text = { 0 };
	int rc = 0;

	if (rows_write(recent, &text))
		rc = file_replace(path, buffer_bytes(&text));
	if (rc < 0) {
		pthread_mutex_lock(&recent->lock);
		recent->is_changed = true;
		pthread_mutex_unlock(&recent->lock);
	}
	buffer_deinit(&text);
	return rc;
}
