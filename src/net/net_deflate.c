#include "net/net_deflate_private.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <stdlib.h>
#include <zlib.h>

#define READ_SIZE 4096          /* compressed bytes taken by one read */
#define WRITE_SIZE (32u * 1024) /* bytes compressed by one write */
#define ROUND_COUNT_MAX 16      /* reads that may bring nothing before others get a turn */
/* Raw DEFLATE. A client's window may be the greatest; ours need not be, for many are idle. */
#define INFLATE_WINDOW (-15)
#define DEFLATE_WINDOW (-14)
#define DEFLATE_MEMORY 7

struct net_deflate {
	z_stream in, out;
	struct buffer received; /* compressed */
	size_t received_start;
	bool has_more; /* inflate() stopped for want of room */
	bool is_ended; /* the peer ended his compressed data */
	size_t plain_size;
	struct buffer unsent; /* compressed */
	size_t unsent_start;
};

struct net_deflate *net_deflate_new(struct bytes early, size_t plain_size)
{
	struct net_deflate *self = mem_zalloc(sizeof(*self));

	if (inflateInit2(&self->in, INFLATE_WINDOW) != Z_OK) {
		free(self);
		return NULL;
	}
	if (deflateInit2(&self->out, Z_DEFAULT_COMPRESSION, Z_DEFLATED, DEFLATE_WINDOW,
		    DEFLATE_MEMORY, Z_DEFAULT_STRATEGY) != Z_OK) {
		inflateEnd(&self->in);
		free(self);
		return NULL;
	}
	buffer_append_bytes(&self->received, early);
	self->plain_size = plain_size;
	return self;
}

void net_deflate_free(struct net_deflate **self)
{
	if (*self == NULL)
		return;
	inflateEnd(&(*self)->in);
	deflateEnd(&(*self)->out);
	buffer_deinit(&(*self)->received);
	buffer_deinit(&(*self)->unsent);
	free(*self);
	*self = NULL;
}

/* ---- reading ---- */

static enum net_io inflate_some(struct net_deflate *self, void *ptr, size_t room, size_t *len_r)
{
	size_t held = self->received.len - self->received_start;
	z_stream *in = &self->in;
	int rc;

	in->next_in = held > 0 ? self->received.data + self->received_start : NULL;
	in->avail_in = (uInt)held;
	in->next_out = ptr;
	in->avail_out = (uInt)room;
	rc = inflate(in, Z_SYNC_FLUSH);
	self->received_start += held - in->avail_in;
	if (self->received_start == self->received.len) {
		buffer_deinit(&self->received);
		self->received_start = 0;
	}
	self->has_more = in->avail_out == 0;
	self->is_ended = rc == Z_STREAM_END;
	*len_r = room - in->avail_out;
	return rc == Z_OK || rc == Z_BUF_ERROR || rc == Z_STREAM_END ? NET_IO_OK : NET_IO_FAILED;
}

static enum net_io receive(struct net_deflate *self, struct net_stream *stream)
{
	enum net_io io;
	size_t n;

	io = net_stream_read_raw(stream, buffer_extend(&self->received, READ_SIZE), READ_SIZE, &n);
	buffer_truncate(&self->received, n);
	if (n == 0)
		buffer_deinit(&self->received);
	return io;
}

enum net_io net_deflate_read(
	struct net_deflate *self, struct net_stream *stream, void *ptr, size_t room, size_t *len_r)
{
	enum net_io io = NET_IO_OK;

	*len_r = 0;
	for (unsigned round = 0; round < ROUND_COUNT_MAX; round++) {
		if (!self->is_ended && net_deflate_has_buffered(self))
			io = inflate_some(self, ptr, room, len_r);
		if (io != NET_IO_OK || *len_r > 0)
			return io;
		if (self->is_ended)
			return NET_IO_END;
		io = receive(self, stream);
		if (io != NET_IO_OK)
			return io;
	}
	return NET_IO_OK;
}

bool net_deflate_has_buffered(const struct net_deflate *self)
{
	return self->has_more || self->received.len > self->received_start;
}

/* ---- writing ---- */

static enum net_io drain(struct net_deflate *self, struct net_stream *stream)
{
	enum net_io io = NET_IO_OK;

	while (io == NET_IO_OK && net_deflate_unsent(self) > 0) {
		struct bytes rest = buffer_bytes(&self->unsent);
		size_t n;

		bytes_skip(&rest, self->unsent_start);
		io = net_stream_write_raw(stream, rest, &n);
		self->unsent_start += n;
	}
	if (net_deflate_unsent(self) == 0) {
		buffer_deinit(&self->unsent);
		self->unsent_start = 0;
	}
	return io;
}

static void deflate_some(struct net_deflate *self, struct bytes bytes, int flush)
{
	z_stream *out = &self->out;

	/* zlib promises not to write there, but has no const. */
	out->next_in = (unsigned char *)bytes.ptr;
	out->avail_in = (uInt)bytes.len;
	do {
		buffer_reserve(&self->unsent, READ_SIZE);
		out->next_out = self->unsent.data + self->unsent.len;
		out->avail_out = READ_SIZE;
		deflate(out, flush);
		self->unsent.len += READ_SIZE - out->avail_out;
	} while (out->avail_out == 0);
	assert(out->avail_in == 0);
}

enum net_io net_deflate_write(
	struct net_deflate *self, struct net_stream *stream, struct bytes bytes, size_t *len_r)
{
	size_t size = bytes.len < WRITE_SIZE ? bytes.len : WRITE_SIZE;
	enum net_io io;

	*len_r = 0;
	if (self->plain_size > 0) {
		if (bytes.len > self->plain_size)
			bytes.len = self->plain_size;
		io = net_stream_write_raw(stream, bytes, len_r);
		self->plain_size -= *len_r;
		return io;
	}
	io = drain(self, stream);
	if (io != NET_IO_OK || size == 0)
		return io;
	deflate_some(
		self, bytes_of(bytes.ptr, size), size == bytes.len ? Z_SYNC_FLUSH : Z_NO_FLUSH);
	*len_r = size;
	io = drain(self, stream);
	/* What the socket did not take is told by net_deflate_unsent(). */
	return io == NET_IO_FAILED || io == NET_IO_END ? io : NET_IO_OK;
}

size_t net_deflate_unsent(const struct net_deflate *self)
{
	return self->unsent.len - self->unsent_start;
}
