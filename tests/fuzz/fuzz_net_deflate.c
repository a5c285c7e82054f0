/*
 * Compression of a connection. The first byte says how much is read and written at once. The rest
 * is what a peer sends as compressed data: whatever it is, no read gives more than there is room
 * for, and what comes out is what zlib makes of it in one go. And it is data of ours: what is
 * compressed here, decompressed there, is the same.
 */
#include "fuzz_check.h"

#include "net/net_deflate_private.h"

#include "base/buffer.h"

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#define INPUT_SIZE_MAX 16384          /* fits into the buffer of a socket, compressed or not */
#define OUTPUT_SIZE_MAX (256u * 1024) /* of what comes out as much is looked at */
#define IDLE_COUNT_MAX (INPUT_SIZE_MAX + 100) /* calls that bring nothing */

struct pair {
	struct net_stream near, far;
};

static void pair_open(struct pair *pair)
{
	int fds[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	*pair = (struct pair){ .near = { .fd = fds[0] }, .far = { .fd = fds[1] } };
}

static void pair_close(struct pair *pair)
{
	close(pair->near.fd);
	close(pair->far.fd);
}

/* Reads to the end, `room` bytes at a time, or until there is enough. */
static enum net_io read_all(
	struct net_deflate *deflate, struct net_stream *stream, size_t room, struct buffer *out)
{
	enum net_io io = NET_IO_OK;
	unsigned idle_count = 0;
	unsigned char piece[256];
	size_t len;

	while (io == NET_IO_OK && out->len < OUTPUT_SIZE_MAX) {
		io = net_deflate_read(deflate, stream, piece, room, &len);
		FUZZ_CHECK(len <= room);
		FUZZ_CHECK(len > 0 || io != NET_IO_OK || ++idle_count < IDLE_COUNT_MAX);
		buffer_append_bytes(out, bytes_of(piece, len));
	}
	return io;
}

/* What zlib itself makes of it, as much as was looked at. */
static void check_with_zlib(struct bytes input, const struct buffer *out)
{
	unsigned char *whole = malloc(out->len + 1);
	z_stream zlib = { .next_in = (unsigned char *)(uintptr_t)input.ptr,
		.avail_in = (uInt)input.len,
		.next_out = whole,
		.avail_out = (uInt)out->len };

	FUZZ_CHECK(whole != NULL && inflateInit2(&zlib, -15) == Z_OK);
	if (out->len > 0)
		(void)inflate(&zlib, Z_SYNC_FLUSH);
	FUZZ_CHECK(zlib.avail_out == 0);
	FUZZ_CHECK(out->len == 0 || memcmp(whole, out->data, out->len) == 0);
	inflateEnd(&zlib);
	free(whole);
}

static void check_hostile(struct bytes input, size_t room)
{
	size_t early_size = input.len < room ? input.len : room;
	struct net_deflate *deflate = net_deflate_new(bytes_of(input.ptr, early_size), 0);
	struct bytes rest = bytes_of(input.ptr + early_size, input.len - early_size);
	struct buffer out = { NULL, 0, 0 };
	struct pair pair;

	FUZZ_CHECK(deflate != NULL);
	pair_open(&pair);
	FUZZ_CHECK(write(pair.far.fd, rest.ptr, rest.len) == (ssize_t)rest.len);
	shutdown(pair.far.fd, SHUT_WR);
	FUZZ_CHECK(read_all(deflate, &pair.near, room, &out) != NET_IO_WANT_WRITE);
	check_with_zlib(input, &out);
	buffer_deinit(&out);
	net_deflate_free(&deflate);
	pair_close(&pair);
}

static void check_own(struct bytes input, size_t piece_size)
{
	struct net_deflate *near = net_deflate_new(bytes_of(NULL, 0), 0);
	struct net_deflate *far = net_deflate_new(bytes_of(NULL, 0), 0);
	struct buffer out = { NULL, 0, 0 };
	struct bytes rest = input;
	struct pair pair;

	FUZZ_CHECK(near != NULL && far != NULL);
	pair_open(&pair);
	while (rest.len > 0) {
		size_t n = rest.len < piece_size ? rest.len : piece_size, len;

		FUZZ_CHECK(net_deflate_write(near, &pair.near, bytes_of(rest.ptr, n), &len) ==
			   NET_IO_OK);
		FUZZ_CHECK(len > 0 && len <= n);
		bytes_skip(&rest, len);
		/* Everything is flushed: whoever reads now has all of it. */
		FUZZ_CHECK(net_deflate_unsent(near) == 0);
		FUZZ_CHECK(read_all(far, &pair.far, piece_size, &out) == NET_IO_WANT_READ);
		FUZZ_CHECK(out.len == input.len - rest.len);
	}
	FUZZ_CHECK(out.len == 0 || memcmp(out.data, input.ptr, out.len) == 0);
	buffer_deinit(&out);
	net_deflate_free(&near);
	net_deflate_free(&far);
	pair_close(&pair);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	if (size < 2 || size > INPUT_SIZE_MAX)
		return 0;
	check_hostile(bytes_of(data + 1, size - 1), data[0] % 255u + 1);
	check_own(bytes_of(data + 1, size - 1), data[0] % 255u + 1);
	return 0;
}
