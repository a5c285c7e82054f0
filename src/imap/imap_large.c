#include "imap/imap_large.h"

#include "imap/imap_reply.h"

#include "base/mem.h"
#include "mail/mime_header.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define HEADER_PIECE_SIZE (16u * 1024) /* bytes; at first, then doubled */

static bool needs_stream(const struct imap_large *large)
{
	for (size_t i = large->gap_next; i < large->gap_count; i++)
		if (large->gaps[i].file < 0)
			return true;
	return false;
}

int imap_large_open(
	struct imap_large *large, struct mail *mail, struct kv_txn *kv, const struct guid *guid)
{
	if (large->stream != NULL && guid_equal(store_stream_guid(large->stream), guid) &&
		store_stream_wake(large->stream, kv) == 0)
		return 0;
	assert(!needs_stream(large));
	store_stream_close(&large->stream);
	large->has_header_size = false;
	return message_stream(mail, kv, guid, &large->stream);
}

static int seek(struct imap_large *large, uint64_t offset)
{
	if (store_stream_position(large->stream) > offset)
		store_stream_rewind(large->stream);
	return store_stream_skip(large->stream, offset - store_stream_position(large->stream));
}

static void gap_add(struct imap_large *large, size_t at, int file, uint64_t offset, uint64_t size)
{
	mem_grow((void **)&large->gaps, &large->gap_room, large->gap_count + 1,
		sizeof(*large->gaps));
	large->gaps[large->gap_count++] =
		(struct imap_large_gap){ .at = at, .file = file, .offset = offset, .size = size };
}

static void gap_close(struct imap_large_gap *gap)
{
	if (gap->file >= 0)
		close(gap->file);
	gap->file = -1;
}

int imap_large_header_size(struct imap_large *large, uint64_t *size_r)
{
	struct buffer head = { NULL, 0, 0 };
	uint64_t left = store_stream_size(large->stream);
	size_t wanted = HEADER_PIECE_SIZE;
	int rc = large->has_header_size ? 0 : seek(large, 0);

	while (rc == 0 && !large->has_header_size) {
		wanted = left < wanted ? (size_t)left : wanted;
		rc = store_stream_read(large->stream, wanted, &head);
		left -= wanted;
		wanted = head.len;
		large->header_size = mime_header_block(buffer_bytes(&head)).len;
		large->has_header_size = large->header_size < head.len || left == 0;
	}
	buffer_deinit(&head);
	*size_r = large->header_size;
	return rc;
}

static void put_size(struct buffer *out, uint64_t size)
{
	buffer_append_byte(out, '{');
	buffer_append_number(out, size);
	buffer_append_string(out, "}\r\n");
}

int imap_large_put(struct imap_large *large, uint64_t offset, uint64_t size, struct buffer *out)
{
	int rc = 0;

	buffer_append_byte(out, ' ');
	put_size(out, size);
	if (size > IMAP_LARGE_PIECE_SIZE) {
		gap_add(large, out->len, -1, offset, size);
	} else if (size > 0) {
		rc = seek(large, offset);
		if (rc == 0)
			rc = store_stream_read(large->stream, (size_t)size, out);
	}
	return rc;
}

/* The descriptor of a file without a name that holds the octets, or -1. */
static int put_aside(const char *folder, struct bytes octets)
{
	int file = folder != NULL ? open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : -1;

	while (file >= 0 && octets.len > 0) {
		ssize_t written = write(file, octets.ptr, octets.len);

		if (written > 0) {
			bytes_skip(&octets, (size_t)written);
		} else {
			close(file);
			file = -1;
		}
	}
	return file;
}

void imap_large_put_made(
	struct imap_large *large, const char *folder, struct bytes octets, struct buffer *out)
{
	int file = put_aside(folder, octets);

	put_size(out, octets.len);
	if (file >= 0)
		gap_add(large, out->len, file, 0, octets.len);
	else
		buffer_append_bytes(out, octets);
}

uint64_t imap_large_pending(const struct imap_large *large)
{
	uint64_t size = 0;

	for (size_t i = large->gap_next; i < large->gap_count; i++)
		size += large->gaps[i].size - large->gaps[i].sent;
	return size;
}

static int read_file(const struct imap_large_gap *gap, size_t size, struct buffer *out)
{
	size_t end = out->len + size;

	buffer_reserve(out, size);
	while (out->len < end) {
		ssize_t got = pread(gap->file, out->data + out->len, end - out->len,
			(off_t)(gap->sent + size - (end - out->len)));

		if (got <= 0)
			return ERR_IO;
		out->len += (size_t)got;
	}
	return 0;
}

/* 0, 1 or an error as imap_large_send() has them. */
static int fill(struct imap_session *session, struct imap_large_gap *gap)
{
	struct imap_large *large = &session->large;
	int rc = gap->sent == 0 && gap->file < 0 ? seek(large, gap->offset) : 0;

	while (rc == 0 && gap->sent < gap->size) {
		uint64_t left = gap->size - gap->sent;
		size_t size = left < IMAP_LARGE_PIECE_SIZE ? (size_t)left : IMAP_LARGE_PIECE_SIZE;

		if (imap_is_full(session))
			return 1;
		rc = gap->file < 0 ? store_stream_read(large->stream, size, &session->out)
				   : read_file(gap, size, &session->out);
		gap->sent += size;
	}
	return rc;
}

static void put_text(struct imap_session *session, size_t end)
{
	struct imap_large *large = &session->large;
	size_t at = large->text_sent;

	if (end > at)
		imap_put_bytes(session, bytes_of(large->text.data + at, end - at));
	large->text_sent = end;
}

int imap_large_send(struct imap_session *session)
{
	struct imap_large *large = &session->large;
	int rc = 0;

	if (large->gap_count == 0)
		return 0;
	if (large->text.len == 0) {
		large->text = session->out;
		session->out = (struct buffer){ NULL, 0, 0 };
		imap_body_deinit(&session->body);
	}
	while (rc == 0 && large->gap_next < large->gap_count) {
		struct imap_large_gap *gap = &large->gaps[large->gap_next];

		put_text(session, gap->at);
		rc = fill(session, gap);
		if (rc == 0) {
			gap_close(gap);
			large->gap_next++;
		}
	}
	if (rc != 0)
		return rc;
	put_text(session, large->text.len);
	large->gap_count = large->gap_next = 0;
	buffer_deinit(&large->text);
	large->text_sent = 0;
	return 0;
}

void imap_large_sleep(struct imap_large *large)
{
	if (large->stream != NULL)
		store_stream_sleep(large->stream);
}

void imap_large_deinit(struct imap_large *large)
{
	for (size_t i = 0; i < large->gap_count; i++)
		gap_close(&large->gaps[i]);
	store_stream_close(&large->stream);
	buffer_deinit(&large->text);
	free(large->gaps);
	*large = (struct imap_large){ 0 };
}
