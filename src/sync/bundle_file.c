#include "sync/bundle_file.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/pack.h"
#include "sync/bundle_secret.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define GUARD_SIZE 16
#define SIZE_SIZE 4
#define SEAL_SIZE crypto_secretstream_xchacha20poly1305_ABYTES

/* What both ends keep of the frame before. */
struct guard {
	bool is_encrypted;
	crypto_secretstream_xchacha20poly1305_state stream;
	unsigned char last[GUARD_SIZE];
};

/* Of type and data, after the frame before. */
static void guard_of(struct guard *guard, struct bytes text)
{
	struct buffer whole = { 0 };
	struct guid sum;

	buffer_append(&whole, guard->last, sizeof(guard->last));
	buffer_append_bytes(&whole, text);
	guid_of(buffer_bytes(&whole), &sum);
	memcpy(guard->last, sum.bytes, sizeof(guard->last));
	buffer_deinit(&whole);
}

/* ---- writing ---- */

struct bundle_writer {
	char *path, *part_path;
	FILE *out;
	struct guard guard;
	struct buffer frame;
	uint64_t size;
	bool is_finished;
};

static int write_failed(struct bundle_writer *writer, struct error *error)
{
	return error_set_errno(error, error_from_errno(errno), errno, "%s", writer->part_path);
}

static int bytes_put(struct bundle_writer *writer, struct bytes bytes, struct error *error)
{
	if (fwrite(bytes.ptr, 1, bytes.len, writer->out) != bytes.len)
		return write_failed(writer, error);
	writer->size += bytes.len;
	return 0;
}

static int head_put(
	struct bundle_writer *writer, const struct bundle_secret *secret, struct error *error)
{
	unsigned char key[BUNDLE_KEY_SIZE], text[BUNDLE_HEAD_SIZE];
	struct bundle_head head = { 0 };
	int rc = 0;

	if (secret->passphrase != NULL || secret->key_file != NULL)
		rc = bundle_key_new(secret, &head, key, error);
	if (rc < 0)
		return rc;
	writer->guard.is_encrypted = head.is_encrypted;
	if (head.is_encrypted)
		crypto_secretstream_xchacha20poly1305_init_push(
			&writer->guard.stream, head.stream, key);
	sodium_memzero(key, sizeof(key));
	bundle_head_encode(&head, text);
	return bytes_put(writer, bytes_of(text, sizeof(text)), error);
}

static char *path_with(const char *path, const char *end)
{
	struct buffer text = { 0 };
	char *copy;

	buffer_printf(&text, "%s%s", path, end);
	copy = mem_strdup(buffer_string(&text));
	buffer_deinit(&text);
	return copy;
}

int bundle_writer_open(const char *path, const struct bundle_secret *secret,
	struct bundle_writer **writer_r, struct error *error)
{
	struct bundle_writer *writer;
	int rc;

	if (access(path, F_OK) == 0)
		return error_set(error, ERR_EXISTS, "%s is there already", path);
	writer = mem_zalloc(sizeof(*writer));
	writer->path = mem_strdup(path);
	writer->part_path = path_with(path, ".part");
	writer->out = fopen(writer->part_path, "we");
	if (writer->out == NULL)
		rc = write_failed(writer, error);
	else if (fchmod(fileno(writer->out), 0600) != 0)
		rc = write_failed(writer, error);
	else
		rc = head_put(writer, secret, error);
	if (rc < 0)
		bundle_writer_free(&writer);
	else
		*writer_r = writer;
	return rc;
}

static void seal(struct bundle_writer *writer, struct bytes text, bool is_last)
{
	unsigned char tag = is_last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0;
	unsigned char *sealed = buffer_extend(&writer->frame, text.len + SEAL_SIZE);

	crypto_secretstream_xchacha20poly1305_push(
		&writer->guard.stream, sealed, NULL, text.ptr, text.len, NULL, 0, tag);
}

int bundle_writer_put(
	struct bundle_writer *writer, int type, struct bytes data, struct error *error)
{
	struct buffer text = { 0 };
	size_t size;
	int rc;

	if (data.len > BUNDLE_FRAME_SIZE_MAX - GUARD_SIZE - SEAL_SIZE - 1)
		return error_set(error, ERR_TOO_LARGE, "too much for one frame of a bundle");
	buffer_append_byte(&text, type);
	buffer_append_bytes(&text, data);
	buffer_clear(&writer->frame);
	buffer_extend(&writer->frame, SIZE_SIZE);
	if (writer->guard.is_encrypted) {
		seal(writer, buffer_bytes(&text), type == BUNDLE_FRAME_END);
	} else {
		guard_of(&writer->guard, buffer_bytes(&text));
		buffer_append_bytes(&writer->frame, buffer_bytes(&text));
		buffer_append(&writer->frame, writer->guard.last, GUARD_SIZE);
	}
	size = writer->frame.len - SIZE_SIZE;
	put_u32(writer->frame.data, (uint32_t)size);
	rc = bytes_put(writer, buffer_bytes(&writer->frame), error);
	buffer_deinit(&text);
	return rc;
}

int bundle_writer_finish(struct bundle_writer *writer, struct bytes data, struct error *error)
{
	int rc = bundle_writer_put(writer, BUNDLE_FRAME_END, data, error);

	if (rc == 0 && (fflush(writer->out) != 0 || fsync(fileno(writer->out)) != 0 ||
			       rename(writer->part_path, writer->path) != 0))
		rc = write_failed(writer, error);
	writer->is_finished = rc == 0;
	return rc;
}

void bundle_writer_free(struct bundle_writer **writer)
{
	if (*writer == NULL)
		return;
	if ((*writer)->out != NULL) {
		fclose((*writer)->out);
		if (!(*writer)->is_finished)
			unlink((*writer)->part_path);
	}
	sodium_memzero(&(*writer)->guard, sizeof((*writer)->guard));
	buffer_deinit(&(*writer)->frame);
	free((*writer)->path);
	free((*writer)->part_path);
	free(*writer);
	*writer = NULL;
}

uint64_t bundle_writer_size(const struct bundle_writer *writer)
{
	return writer->size;
}

/* ---- reading ---- */

struct bundle_reader {
	FILE *in;
	struct guard guard;
	struct buffer frame, text;
	uint64_t size, position, frame_count;
	bool is_over;
};

static int head_take(
	struct bundle_reader *reader, const struct bundle_secret *secret, struct error *error)
{
	unsigned char text[BUNDLE_HEAD_SIZE], key[BUNDLE_KEY_SIZE];
	struct bundle_head head;
	int rc;

	if (fread(text, 1, sizeof(text), reader->in) != sizeof(text))
		return error_set(error, ERR_INVALID, "this is no bundle: it is too short");
	reader->position = sizeof(text);
	rc = bundle_head_decode(text, &head, error);
	if (rc < 0 || !head.is_encrypted)
		return rc;
	rc = bundle_key_of(secret, &head, key, error);
	if (rc < 0)
		return rc;
	reader->guard.is_encrypted = true;
	rc = crypto_secretstream_xchacha20poly1305_init_pull(
		&reader->guard.stream, head.stream, key);
	sodium_memzero(key, sizeof(key));
	return rc != 0 ? error_set(error, ERR_CORRUPT, "damaged: the head of the file") : 0;
}

int bundle_reader_open(const char *path, const struct bundle_secret *secret,
	struct bundle_reader **reader_r, struct error *error)
{
	struct bundle_reader *reader = mem_zalloc(sizeof(*reader));
	struct stat info;
	int rc;

	reader->in = fopen(path, "re");
	if (reader->in == NULL || fstat(fileno(reader->in), &info) != 0) {
		rc = error_set_errno(
			error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s", path);
	} else {
		reader->size = (uint64_t)info.st_size;
		rc = head_take(reader, secret, error);
		if (rc < 0)
			error_prefix(error, "%s", path);
	}
	if (rc < 0)
		bundle_reader_free(&reader);
	else
		*reader_r = reader;
	return rc;
}

static int damaged(struct bundle_reader *reader, const char *how, struct error *error)
{
	return error_set(error, ERR_CORRUPT, "damaged: frame %llu, at byte %llu, %s",
		(unsigned long long)reader->frame_count + 1, (unsigned long long)reader->position,
		how);
}

static int frame_read(struct bundle_reader *reader, struct error *error)
{
	unsigned char size_text[SIZE_SIZE];
	size_t size, least = reader->guard.is_encrypted ? SEAL_SIZE + 1 : GUARD_SIZE + 1;

	buffer_clear(&reader->frame);
	if (fread(size_text, 1, sizeof(size_text), reader->in) != sizeof(size_text))
		return damaged(reader, "is missing: the file is cut off", error);
	size = get_u32(size_text);
	if (size < least || size > BUNDLE_FRAME_SIZE_MAX)
		return damaged(reader, "has an impossible size", error);
	if (size > reader->size - reader->position)
		return damaged(reader, "is cut off, or its size is wrong", error);
	if (fread(buffer_extend(&reader->frame, size), 1, size, reader->in) != size)
		return damaged(reader, "cannot be read", error);
	return 0;
}

static int frame_open(struct bundle_reader *reader, struct error *error)
{
	struct bytes frame = buffer_bytes(&reader->frame);
	unsigned char tag = 0;
	size_t size;

	buffer_clear(&reader->text);
	if (reader->guard.is_encrypted) {
		size = frame.len - SEAL_SIZE;
		if (crypto_secretstream_xchacha20poly1305_pull(&reader->guard.stream,
			    buffer_extend(&reader->text, size), NULL, &tag, frame.ptr, frame.len,
			    NULL, 0) != 0)
			return damaged(reader, "was changed", error);
		return 0;
	}
	size = frame.len - GUARD_SIZE;
	guard_of(&reader->guard, bytes_of(frame.ptr, size));
	if (memcmp(reader->guard.last, frame.ptr + size, GUARD_SIZE) != 0)
		return damaged(reader, "was changed", error);
	buffer_append(&reader->text, frame.ptr, size);
	return 0;
}

int bundle_reader_next(
	struct bundle_reader *reader, int *type_r, struct bytes *data_r, struct error *error)
{
	struct bytes text;
	int rc;

	if (reader->is_over)
		return ERR_NOT_FOUND;
	rc = frame_read(reader, error);
	if (rc == 0)
		rc = frame_open(reader, error);
	if (rc < 0)
		return rc;
	reader->position += SIZE_SIZE + reader->frame.len;
	reader->frame_count++;
	text = buffer_bytes(&reader->text);
	*type_r = text.ptr[0];
	bytes_skip(&text, 1);
	*data_r = text;
	reader->is_over = *type_r == BUNDLE_FRAME_END;
	if (reader->is_over && reader->position != reader->size)
		return damaged(reader, "is the last, and the file goes on", error);
	return 0;
}

void bundle_reader_free(struct bundle_reader **reader)
{
	if (*reader == NULL)
		return;
	if ((*reader)->in != NULL)
		fclose((*reader)->in);
	sodium_memzero(&(*reader)->guard, sizeof((*reader)->guard));
	buffer_deinit(&(*reader)->frame);
	buffer_deinit(&(*reader)->text);
	free(*reader);
	*reader = NULL;
}

bool bundle_reader_is_encrypted(const struct bundle_reader *reader)
{
	return reader->guard.is_encrypted;
}

uint64_t bundle_reader_size(const struct bundle_reader *reader)
{
	return reader->size;
}

uint64_t bundle_reader_position(const struct bundle_reader *reader)
{
	return reader->position;
}
