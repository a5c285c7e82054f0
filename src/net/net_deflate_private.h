/*
 * net_deflate: DEFLATE over a stream (RFC 4978, RFC 1951), between the protocol and TLS. Used by
 * net_stream.c; one thread at a time, as the stream.
 *
 * What is held is bounded whatever comes: the windows of zlib (about 180 KB in all), one read and
 * one write of compressed bytes. How much is decompressed is decided by who reads, call by call, so
 * his limits of input hold for what comes out.
 */
#ifndef CHAPAR_NET_DEFLATE_PRIVATE_H
#define CHAPAR_NET_DEFLATE_PRIVATE_H

#include "net/net_stream_private.h"

struct net_deflate;

/*
 * `early`: what was read already and is compressed. The next `plain_size` bytes written are still
 * sent as they are. NULL if there is no memory.
 */
struct net_deflate *net_deflate_new(struct bytes early, size_t plain_size);
void net_deflate_free(struct net_deflate **self);

/* As net_stream_read() and net_stream_write(). What was written is flushed when `bytes` ends. */
enum net_io net_deflate_read(
	struct net_deflate *self, struct net_stream *stream, void *ptr, size_t room, size_t *len_r);
enum net_io net_deflate_write(
	struct net_deflate *self, struct net_stream *stream, struct bytes bytes, size_t *len_r);
/* Bytes taken by net_deflate_write() that the socket has not taken. */
size_t net_deflate_unsent(const struct net_deflate *self);
/* Whether there is input that needs no reading. */
bool net_deflate_has_buffered(const struct net_deflate *self);

#endif
