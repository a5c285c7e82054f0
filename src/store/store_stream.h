/*
 * store_stream: a body read in pieces, for who may take long about it. What is held meanwhile is
 * what zstd needs to go on (its window: 512 KiB to 8 MiB with the level of compression, never more
 * than the body) or nothing, if the body is stored as it is.
 *
 * Before the first byte is given, all of the stored body was read and its checksum found right; and
 * it is summed up again while it is given, and the end withheld unless it is right then, too.
 *
 * While a stream is awake the file of the log that the body is in stays, whatever compaction does.
 * One thread at a time; all streams end before store_close().
 */
#ifndef CHAPAR_STORE_STORE_STREAM_H
#define CHAPAR_STORE_STORE_STREAM_H

#include "store/store.h"

struct store_stream;

/* Errors of store_body_read(), and ERR_UNAVAILABLE: no memory. */
int store_stream_open(struct store *store, struct kv_txn *kv, const struct guid *guid,
	struct store_stream **stream_r);
/* NULL is allowed. */
void store_stream_close(struct store_stream **stream);
const struct guid *store_stream_guid(const struct store_stream *stream);
uint64_t store_stream_size(const struct store_stream *stream);     /* of the body, in bytes */
uint64_t store_stream_position(const struct store_stream *stream); /* of what is read next */

/*
 * Appends the next `size` bytes, which must be there, to *out. ERR_CORRUPT: they are not what was
 * stored; ERR_IO. The stream can only be closed then.
 */
int store_stream_read(struct store_stream *stream, size_t size, struct buffer *out);
/* Passes over them. The same errors. */
int store_stream_skip(struct store_stream *stream, uint64_t size);

/* Begins again at the first byte. */
void store_stream_rewind(struct store_stream *stream);

/* Lets go of the file for a while ... */
void store_stream_sleep(struct store_stream *stream);
/* ... and takes it again. ERR_NOT_FOUND: the body has moved since; close the stream and open one.
 */
int store_stream_wake(struct store_stream *stream, struct kv_txn *kv);

#endif
