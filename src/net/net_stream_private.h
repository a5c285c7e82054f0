/*
 * net_stream: a non-blocking socket, plain or with TLS over it, as server and client both use it.
 * A stream is used by one thread at a time. It never raises SIGPIPE.
 */
#ifndef CHAPAR_NET_STREAM_PRIVATE_H
#define CHAPAR_NET_STREAM_PRIVATE_H

#include "base/bytes.h"

#include <openssl/ssl.h>

enum net_io {
	NET_IO_OK,         /* at least one byte was moved; or the handshake is complete */
	NET_IO_WANT_READ,  /* try again when the socket is readable */
	NET_IO_WANT_WRITE, /* … writable */
	NET_IO_END,        /* the peer ended the stream */
	NET_IO_FAILED      /* it is broken */
};

struct net_stream {
	int fd;                      /* -1: closed */
	SSL *ssl;                    /* NULL: plain */
	struct net_deflate *deflate; /* NULL: not compressed */
};

/* The way of TLS to the socket. Must outlive the streams that use it; BIO_meth_free() frees it. */
BIO_METHOD *net_stream_bio_method_new(void);

/* Takes over `ssl`, whose role (accept or connect) is set. */
void net_stream_set_ssl(struct net_stream *stream, SSL *ssl, const BIO_METHOD *method);
enum net_io net_stream_handshake(struct net_stream *stream);
/*
 * What is read and written from now on is compressed (RFC 4978), but for the next `plain_size`
 * bytes written. `early` was read already, and belongs to the compressed data. ERR_UNAVAILABLE: no
 * memory.
 */
int net_stream_compress(struct net_stream *stream, struct bytes early, size_t plain_size);
enum net_io net_stream_read(struct net_stream *stream, void *ptr, size_t room, size_t *len_r);
enum net_io net_stream_write(struct net_stream *stream, struct bytes bytes, size_t *len_r);
/* Bytes that were taken by net_stream_write() and wait in the stream: it takes them on when it is
 * called again, with no bytes too. */
size_t net_stream_unsent(const struct net_stream *stream);
/* The same below the compression, for net_deflate.c. */
enum net_io net_stream_read_raw(struct net_stream *stream, void *ptr, size_t room, size_t *len_r);
enum net_io net_stream_write_raw(struct net_stream *stream, struct bytes bytes, size_t *len_r);
/* Whether there is input that select() and its kind do not know of. */
bool net_stream_has_buffered(const struct net_stream *stream);
/* Tells the peer that nothing more will come. */
void net_stream_shutdown(struct net_stream *stream);
/* Closes the socket. May be called again. */
void net_stream_close(struct net_stream *stream);

#endif
