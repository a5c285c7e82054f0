#include "net/net_stream_private.h"

#include "base/error.h"
#include "net/net_deflate_private.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * OpenSSL's own socket BIO writes with write(), which raises SIGPIPE when the peer has gone; a
 * library may not change the process's signals, so TLS has this way to the socket instead.
 */
static int bio_write(BIO *bio, const char *data, size_t len, size_t *len_r)
{
	ssize_t n = send((int)(intptr_t)BIO_get_data(bio), data, len, MSG_NOSIGNAL);

	BIO_clear_retry_flags(bio);
	if (n >= 0) {
		*len_r = (size_t)n;
		return 1;
	}
	if (errno == EAGAIN || errno == EINTR)
		BIO_set_retry_write(bio);
	return 0;
}

static int bio_read(BIO *bio, char *data, size_t room, size_t *len_r)
{
	ssize_t n = recv((int)(intptr_t)BIO_get_data(bio), data, room, 0);

	BIO_clear_retry_flags(bio);
	if (n > 0) {
		*len_r = (size_t)n;
		return 1;
	}
	if (n == 0)
		BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
	else if (errno == EAGAIN || errno == EINTR)
		BIO_set_retry_read(bio);
	return 0;
}

static long bio_control(BIO *bio, int command, long number, void *ptr)
{
	(void)number;
	(void)ptr;
	if (command == BIO_CTRL_FLUSH)
		return 1;
	if (command == BIO_CTRL_EOF)
		return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
	return 0;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *net_stream_bio_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "chapar socket");

	if (method == NULL)
		abort();
	BIO_meth_set_create(method, bio_create);
	BIO_meth_set_write_ex(method, bio_write);
	BIO_meth_set_read_ex(method, bio_read);
	BIO_meth_set_ctrl(method, bio_control);
	return method;
}

void net_stream_set_ssl(struct net_stream *stream, SSL *ssl, const BIO_METHOD *method)
{
	BIO *bio = BIO_new(method);

	if (bio == NULL)
		abort();
	BIO_set_data(bio, (void *)(intptr_t)stream->fd);
	SSL_set_bio(ssl, bio, bio);
	SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				  SSL_MODE_RELEASE_BUFFERS);
	stream->ssl = ssl;
}

static enum net_io ssl_result(struct net_stream *stream, int rc)
{
	if (rc > 0)
		return NET_IO_OK;
	switch (SSL_get_error(stream->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		return NET_IO_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return NET_IO_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return NET_IO_END;
	default:
		return NET_IO_FAILED;
	}
}

enum net_io net_stream_handshake(struct net_stream *stream)
{
	ERR_clear_error();
	return ssl_result(stream, SSL_do_handshake(stream->ssl));
}

enum net_io net_stream_read_raw(struct net_stream *stream, void *ptr, size_t room, size_t *len_r)
{
	ssize_t n;

	*len_r = 0;
	if (stream->fd == -1)
		return NET_IO_FAILED;
	if (stream->ssl != NULL) {
		ERR_clear_error();
		return ssl_result(stream, SSL_read_ex(stream->ssl, ptr, room, len_r));
	}
	do
		n = recv(stream->fd, ptr, room, 0);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return errno == EAGAIN ? NET_IO_WANT_READ : NET_IO_FAILED;
	*len_r = (size_t)n;
	return n == 0 ? NET_IO_END : NET_IO_OK;
}

enum net_io net_stream_write_raw(struct net_stream *stream, struct bytes bytes, size_t *len_r)
{
	ssize_t n;

	*len_r = 0;
	if (stream->fd == -1)
		return NET_IO_FAILED;
	if (stream->ssl != NULL) {
		ERR_clear_error();
		return ssl_result(stream, SSL_write_ex(stream->ssl, bytes.ptr, bytes.len, len_r));
	}
	do
		n = send(stream->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
	while (n == -1 && errno == EINTR);
	if (n == -1)
		return errno == EAGAIN ? NET_IO_WANT_WRITE : NET_IO_FAILED;
	*len_r = (size_t)n;
	return NET_IO_OK;
}

int net_stream_compress(struct net_stream *stream, struct bytes early, size_t plain_size)
{
	assert(stream->deflate == NULL);
	stream->deflate = net_deflate_new(early, plain_size);
	return stream->deflate != NULL ? 0 : ERR_UNAVAILABLE;
}

enum net_io net_stream_read(struct net_stream *stream, void *ptr, size_t room, size_t *len_r)
{
	if (stream->deflate == NULL)
		return net_stream_read_raw(stream, ptr, room, len_r);
	return net_deflate_read(stream->deflate, stream, ptr, room, len_r);
}

enum net_io net_stream_write(struct net_stream *stream, struct bytes bytes, size_t *len_r)
{
	if (stream->deflate == NULL)
		return net_stream_write_raw(stream, bytes, len_r);
	return net_deflate_write(stream->deflate, stream, bytes, len_r);
}

size_t net_stream_unsent(const struct net_stream *stream)
{
	return stream->deflate != NULL ? net_deflate_unsent(stream->deflate) : 0;
}

bool net_stream_has_buffered(const struct net_stream *stream)
{
	return (stream->ssl != NULL && SSL_has_pending(stream->ssl)) ||
	       (stream->deflate != NULL && net_deflate_has_buffered(stream->deflate));
}

void net_stream_shutdown(struct net_stream *stream)
{
	if (stream->fd == -1)
		return;
	if (stream->ssl != NULL && SSL_is_init_finished(stream->ssl)) {
		ERR_clear_error();
		SSL_shutdown(stream->ssl);
	}
	shutdown(stream->fd, SHUT_WR);
}

void net_stream_close(struct net_stream *stream)
{
	ERR_clear_error();
	net_deflate_free(&stream->deflate);
	SSL_free(stream->ssl);
	stream->ssl = NULL;
	if (stream->fd != -1)
		close(stream->fd);
	stream->fd = -1;
}
