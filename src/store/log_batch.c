/* What one write of the log consists of, piece by piece. */
#include "store/store_private.h"

#include "base/mem.h"

#include <stdlib.h>

void batch_clear(struct log_batch *batch)
{
	buffer_clear(&batch->own);
	batch->piece_count = 0;
	batch->size = 0;
}

void batch_deinit(struct log_batch *batch)
{
	buffer_deinit(&batch->own);
	free(batch->pieces);
	*batch = (struct log_batch){ 0 };
}

void batch_cut(struct log_batch *batch, size_t piece_count, size_t own_size, uint64_t size)
{
	batch->piece_count = piece_count;
	buffer_truncate(&batch->own, own_size);
	batch->size = size;
}

static void piece_add(struct log_batch *batch, struct log_piece piece)
{
	mem_grow((void **)&batch->pieces, &batch->piece_room, batch->piece_count + 1,
		sizeof(*batch->pieces));
	batch->pieces[batch->piece_count++] = piece;
	batch->size += piece.size;
}

void batch_add_own(struct log_batch *batch, struct bytes bytes)
{
	size_t at = batch->own.len;

	if (bytes.len == 0) /* a write of nothing looks like a full disk */
		return;
	buffer_append_bytes(&batch->own, bytes);
	piece_add(batch, (struct log_piece){ NULL, at, bytes.len });
}

void batch_add_borrowed(struct log_batch *batch, struct bytes bytes)
{
	if (bytes.len > 0)
		piece_add(batch, (struct log_piece){ bytes.ptr, 0, bytes.len });
}
