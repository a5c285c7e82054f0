#include "foreign/unpack.h"

#include "base/error.h"

#include <limits.h>
#include <zlib.h>
#include <zstd.h>

#define STEP_SIZE ((size_t)64 << 10) /* bytes of output at a time */
#define GZIP_WINDOW_BITS (15 + 16)   /* zlib: the largest window, and gzip's header and sum */

static const struct bytes gzip_magic = { (const unsigned char *)"\x1f\x8b\x08", 3 };

enum unpack_form unpack_form_of(struct bytes raw)
{
	static const struct {
		struct bytes magic;
		enum unpack_form form;
	} rows[] = {
		{ { (const unsigned char *)"\x28\xb5\x2f\xfd", 4 }, UNPACK_ZSTD },
		{ { (const unsigned char *)"\xfd\x37\x7a\x58\x5a\x00", 6 }, UNPACK_OTHER },
		{ { (const unsigned char *)"Dovecot-LZ4\x0d\x2a\x9b\xc5", 15 }, UNPACK_OTHER },
	};

	if (bytes_start_with(raw, gzip_magic))
		return UNPACK_GZIP;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (bytes_start_with(raw, rows[i].magic))
			return rows[i].form;
	/* "BZh", a digit, and the beginning of a block. */
	if (raw.len >= 10 && memcmp(raw.ptr, "BZh", 3) == 0 &&
		memcmp(raw.ptr + 4, "\x31\x41\x59\x26\x53\x59", 6) == 0)
		return UNPACK_OTHER;
	return UNPACK_PLAIN;
}

/* Whether the next step has room; `before` is where the output began. */
static bool has_room(const struct buffer *out, size_t before, uint64_t size_max)
{
	return out->len - before <= size_max;
}

/* Some programs write several streams one after the other. */
static bool gzip_goes_on(z_stream *stream)
{
	return bytes_start_with(bytes_of(stream->next_in, stream->avail_in), gzip_magic) &&
	       inflateReset(stream) == Z_OK;
}

static int gzip_unpack(struct bytes raw, uint64_t size_max, struct buffer *out)
{
	z_stream stream = { .next_in = (unsigned char *)(uintptr_t)raw.ptr,
		.avail_in = (unsigned)raw.len };
	size_t before = out->len;
	int rc = inflateInit2(&stream, GZIP_WINDOW_BITS);

	while (rc == Z_OK && has_room(out, before, size_max)) {
		size_t at = out->len;

		stream.next_out = buffer_extend(out, STEP_SIZE);
		stream.avail_out = (unsigned)STEP_SIZE;
		rc = inflate(&stream, Z_NO_FLUSH);
		buffer_truncate(out, at + STEP_SIZE - stream.avail_out);
		if (rc == Z_STREAM_END && gzip_goes_on(&stream))
			rc = Z_OK;
	}
	inflateEnd(&stream);
	if (!has_room(out, before, size_max))
		return ERR_TOO_LARGE;
	return rc == Z_STREAM_END ? 0 : ERR_INVALID;
}

static int zstd_unpack(struct bytes raw, uint64_t size_max, struct buffer *out)
{
	ZSTD_DStream *stream = ZSTD_createDStream();
	ZSTD_inBuffer input = { raw.ptr, raw.len, 0 };
	size_t before = out->len, hint = 1;
	bool has_more = true;

	while (stream != NULL && has_more && has_room(out, before, size_max)) {
		size_t at = out->len;
		ZSTD_outBuffer output = { buffer_extend(out, STEP_SIZE), STEP_SIZE, 0 };

		hint = ZSTD_decompressStream(stream, &output, &input);
		buffer_truncate(out, at + (ZSTD_isError(hint) ? 0 : output.pos));
		/* A full output may hide that there is more. */
		has_more = !ZSTD_isError(hint) &&
			   (input.pos < input.size || output.pos == output.size);
	}
	ZSTD_freeDStream(stream);
	if (!has_room(out, before, size_max))
		return ERR_TOO_LARGE;
	return hint == 0 ? 0 : ERR_INVALID; /* else a frame is not at its end */
}

int unpack(enum unpack_form form, struct bytes raw, uint64_t size_max, struct buffer *out)
{
	if (raw.len > UINT_MAX)
		return ERR_TOO_LARGE;
	switch (form) {
	case UNPACK_GZIP:
		return gzip_unpack(raw, size_max, out);
	case UNPACK_ZSTD:
		return zstd_unpack(raw, size_max, out);
	default:
		return ERR_INVALID;
	}
}
