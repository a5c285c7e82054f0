#include "store/store_private.h"

#include "base/mem.h"
#include "base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_NAME_SIZE 32
#define IOV_COUNT 512
#define AHEAD_SIZE ((uint64_t)256 << 10)      /* bytes of zeros at a time, and ... */
#define AHEAD_BATCH_SIZE_MAX (AHEAD_SIZE / 2) /* ... behind batches up to this */

static void segment_name(char name[SEGMENT_NAME_SIZE], uint64_t number)
{
	snprintf(name, SEGMENT_NAME_SIZE, "%016llx.segment", (unsigned long long)number);
}

static void segment_free(struct log_segment *segment)
{
	close(segment->fd);
	free(segment->filter);
	free(segment);
}

static void segment_add(struct log_files *log, uint64_t number, int fd, uint64_t size)
{
	struct log_segment *segment = mem_zalloc(sizeof(*segment));
	void *segments = log->segments;

	segment->number = number;
	segment->fd = fd;
	segment->size = size;
	pthread_mutex_lock(&log->lock);
	mem_grow(&segments, &log->room, log->count + 1, sizeof(struct log_segment *));
	log->segments = segments;
	log->segments[log->count++] = segment;
	pthread_mutex_unlock(&log->lock);
}

static int segment_open(struct log_files *log, uint64_t number, struct error *error)
{
	unsigned char header[SEGMENT_HEADER_SIZE];
	char name[SEGMENT_NAME_SIZE];
	struct id128 store;
	uint64_t found;
	struct stat stat;
	int fd, rc;

	segment_name(name, number);
	fd = openat(log->dir_fd, name, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat) < 0) {
		rc = error_set_errno(error, ERR_IO, errno, "segment %s", name);
		goto err;
	}
	rc = segment_read(fd, 0, header, sizeof(header));
	if (rc == 0)
		rc = segment_header_decode(header, &store, &found);
	if (rc == 0 && (found != number || (log->count > 0 && !id128_equal(store, log->store))))
		rc = ERR_CORRUPT;
	if (rc < 0) {
		error_set(error, rc, "segment %s: the header is not of this store: %s", name,
			error_name(rc));
		goto err;
	}
	log->store = store;
	segment_add(log, number, fd, (uint64_t)stat.st_size);
	return 0;
err:
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The last segment, if its header never reached the disk: nothing in it was acknowledged. */
static bool segment_is_stillborn(struct log_files *log, uint64_t number)
{
	unsigned char header[SEGMENT_HEADER_SIZE] = { 0 };
	char name[SEGMENT_NAME_SIZE];
	struct id128 store;
	struct stat stat;
	uint64_t found;
	bool is_good;
	int fd;

	segment_name(name, number);
	fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	is_good = fstat(fd, &stat) < 0 || stat.st_size > SEGMENT_HEADER_SIZE ||
		  (segment_read(fd, 0, header, sizeof(header)) == 0 &&
			  segment_header_decode(header, &store, &found) != ERR_CORRUPT);
	close(fd);
	return !is_good && unlinkat(log->dir_fd, name, 0) == 0;
}

static int compare_numbers(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int list_numbers(int dir_fd, uint64_t **numbers_r, size_t *count_r, struct error *error)
{
	DIR *dir = fdopendir(dup(dir_fd));
	struct dirent *entry;
	size_t room = 0;

	if (dir == NULL)
		return error_set_errno(error, ERR_IO, errno, "cannot list the log");
	rewinddir(dir);
	while ((entry = readdir(dir)) != NULL) {
		unsigned long long number;
		char end;

		if (sscanf(entry->d_name, "%16llx.segmen%c", &number, &end) != 2 || end != 't')
			continue;
		mem_grow((void **)numbers_r, &room, *count_r + 1, sizeof(**numbers_r));
		(*numbers_r)[(*count_r)++] = number;
	}
	closedir(dir);
	if (*count_r > 0)
		qsort(*numbers_r, *count_r, sizeof(**numbers_r), compare_numbers);
	return 0;
}

int log_open(struct log_files *log, int dir_fd, const struct store_io *io, struct error *error)
{
	uint64_t *numbers = NULL;
	size_t count = 0;
	int rc;

	log->dir_fd = dir_fd;
	log->io = io;
	pthread_mutex_init(&log->lock, NULL);
	rc = list_numbers(dir_fd, &numbers, &count, error);
	if (rc == 0 && count > 0 && segment_is_stillborn(log, numbers[count - 1]))
		count--;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = segment_open(log, numbers[i], error);
	free(numbers);
	return rc;
}

static int segment_create(struct log_files *log, uint64_t number)
{
	unsigned char header[SEGMENT_HEADER_SIZE];
	char name[SEGMENT_NAME_SIZE];
	struct iovec iov = { header, sizeof(header) };
	int fd, rc = 0;

	segment_name(name, number);
	segment_header_encode(header, log->store, number);
	fd = openat(log->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_from_errno(errno);
	errno = EIO;
	if (log->io->write(log->io, fd, &iov, 1, 0) != (ssize_t)sizeof(header) ||
		log->io->sync(log->io, fd) < 0 || fsync(log->dir_fd) < 0)
		rc = error_from_errno(errno);
	if (rc < 0) {
		close(fd);
		unlinkat(log->dir_fd, name, 0);
		return rc;
	}
	segment_add(log, number, fd, SEGMENT_HEADER_SIZE);
	log->end.segment = number;
	log->end.offset = SEGMENT_HEADER_SIZE;
	log->ahead_end = 0;
	return 0;
}

int log_create(struct log_files *log, struct error *error)
{
	int rc;

	log->store = id128_random();
	rc = segment_create(log, 1);
	return rc < 0 ? error_set(error, rc, "cannot begin the log: %s", error_name(rc)) : 0;
}

/* The one being written: never removed. */
static struct log_segment *last_segment(struct log_files *log)
{
	struct log_segment *segment;

	pthread_mutex_lock(&log->lock);
	segment = log->segments[log->count - 1];
	pthread_mutex_unlock(&log->lock);
	return segment;
}

/* Cuts off the zeros that wait behind the end. */
static int ahead_cut(struct log_files *log)
{
	if (log->ahead_end <= log->end.offset)
		return 0;
	log->ahead_end = 0;
	return ftruncate(last_segment(log)->fd, (off_t)log->end.offset) < 0
		       ? error_from_errno(errno)
		       : 0;
}

void log_close(struct log_files *log)
{
	(void)ahead_cut(log); /* else the next start does */
	for (size_t i = 0; i < log->count; i++) {
		segment_free(log->segments[i]);
	}
	free(log->segments);
	if (log->dir_fd >= 0)
		close(log->dir_fd);
	pthread_mutex_destroy(&log->lock);
}

/* ---- appending ---- */

static int write_all(
	struct log_files *log, int fd, struct iovec *iov, size_t count, uint64_t *offset)
{
	size_t at = 0;

	while (at < count) {
		size_t batch = count - at < IOV_COUNT ? count - at : IOV_COUNT;
		ssize_t wrote = log->io->write(log->io, fd, iov + at, (int)batch, (off_t)*offset);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote <= 0)
			return wrote == 0 ? ERR_FULL : error_from_errno(errno);
		*offset += (uint64_t)wrote;
		for (size_t left = (size_t)wrote; left > 0;) {
			size_t taken = left < iov[at].iov_len ? left : iov[at].iov_len;

			iov[at].iov_base = (unsigned char *)iov[at].iov_base + taken;
			iov[at].iov_len -= taken;
			left -= taken;
			if (iov[at].iov_len == 0)
				at++;
		}
	}
	return 0;
}

/*
 * Behind what was written up to `offset`, if that is where the file ends, come zeros, which the
 * same sync brings to disk: so what is appended next has its blocks and the file's size on disk
 * already, and a sync of it writes nothing else, which takes about half as long (bench/sync_rate.c;
 * blocks that are only reserved gain nothing). To replay they are a torn tail. Without room it is
 * done without.
 */
static void ahead_write(
	struct log_files *log, struct log_segment *segment, uint64_t offset, uint64_t batch_size)
{
	static const unsigned char zeros[AHEAD_SIZE];
	struct iovec iov = { (void *)(uintptr_t)zeros, sizeof(zeros) };

	if (offset <= log->ahead_end || batch_size > AHEAD_BATCH_SIZE_MAX)
		return;
	if (log->io->write(log->io, segment->fd, &iov, 1, (off_t)offset) == (ssize_t)sizeof(zeros))
		log->ahead_end = offset + sizeof(zeros);
	else if (ftruncate(segment->fd, (off_t)offset) < 0)
		log->ahead_end = offset + sizeof(zeros); /* some of it may be there */
}

int log_append(struct log_files *log, const struct log_batch *batch, uint64_t last_sequence)
{
	struct log_segment *segment = last_segment(log);
	struct iovec *iov = mem_zalloc_array(batch->piece_count, sizeof(*iov));
	uint64_t offset = log->end.offset;
	int rc;

	for (size_t i = 0; i < batch->piece_count; i++) {
		const struct log_piece *piece = &batch->pieces[i];
		const unsigned char *from =
			piece->borrowed != NULL ? piece->borrowed : batch->own.data + piece->at;

		iov[i] = (struct iovec){ (void *)(uintptr_t)from, piece->size };
	}
	rc = write_all(log, segment->fd, iov, batch->piece_count, &offset);
	free(iov);
	if (rc < 0)
		log->ahead_end = 0;
	/* What cannot be cut back would be taken for a commit after the next start. */
	if (rc < 0 && ftruncate(segment->fd, (off_t)log->end.offset) < 0)
		return ERR_IO;
	if (rc < 0)
		return rc;
	ahead_write(log, segment, offset, batch->size);
	if (log->io->sync(log->io, segment->fd) < 0)
		return ERR_IO; /* what is on disk is unknown, whatever errno says */
	log->end.offset = offset;
	log->end.sequence = last_sequence;
	pthread_mutex_lock(&log->lock);
	segment->size = offset;
	pthread_mutex_unlock(&log->lock);
	return 0;
}

int log_rotate(struct log_files *log, uint64_t segment_size)
{
	int rc = 0;

	if (log->end.offset < segment_size || log->end.offset <= SEGMENT_HEADER_SIZE)
		return 0;
	if (log->ahead_end > log->end.offset) {
		/* Only the last segment may have a tail that is no frame. */
		rc = ahead_cut(log);
		if (rc == 0 && log->io->sync(log->io, last_segment(log)->fd) < 0)
			rc = ERR_IO;
	}
	return rc < 0 ? rc : segment_create(log, log->end.segment + 1);
}

/* ---- finding segments ---- */

struct log_segment *log_find(struct log_files *log, uint64_t number)
{
	size_t low = 0, high = log->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (log->segments[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < log->count && log->segments[low]->number == number ? log->segments[low] : NULL;
}

struct log_segment *log_acquire(struct log_files *log, uint64_t number)
{
	struct log_segment *segment;

	pthread_mutex_lock(&log->lock);
	segment = log_find(log, number);
	if (segment != NULL)
		segment->references++;
	pthread_mutex_unlock(&log->lock);
	return segment;
}

/* The first segment from `number` on, with a reference. */
static struct log_segment *segment_from(struct log_files *log, uint64_t number)
{
	struct log_segment *segment = NULL;

	pthread_mutex_lock(&log->lock);
	for (size_t i = 0; i < log->count && segment == NULL; i++)
		if (log->segments[i]->number >= number)
			segment = log->segments[i];
	if (segment != NULL)
		segment->references++;
	pthread_mutex_unlock(&log->lock);
	return segment;
}

void log_release(struct log_files *log, struct log_segment *segment)
{
	bool is_last;

	pthread_mutex_lock(&log->lock);
	is_last = --segment->references == 0 && segment->is_removed;
	pthread_mutex_unlock(&log->lock);
	if (is_last) {
		segment_free(segment);
	}
}

int log_remove(struct log_files *log, uint64_t number)
{
	char name[SEGMENT_NAME_SIZE];
	struct log_segment *segment;
	bool is_free;

	segment_name(name, number);
	if (unlinkat(log->dir_fd, name, 0) < 0)
		return ERR_IO;
	pthread_mutex_lock(&log->lock);
	segment = log_find(log, number);
	for (size_t i = 0; i < log->count; i++) {
		if (log->segments[i] == segment) {
			memmove(&log->segments[i], &log->segments[i + 1],
				(log->count - i - 1) * sizeof(struct log_segment *));
			log->count--;
			break;
		}
	}
	segment->is_removed = true;
	is_free = segment->references == 0;
	pthread_mutex_unlock(&log->lock);
	if (is_free) {
		segment_free(segment);
	}
	return fsync(log->dir_fd) < 0 ? ERR_IO : 0;
}

/* ---- replay ---- */

static int tail_cut(struct log_files *log, struct log_segment *segment,
	struct log_position *position, uint64_t bad_offset, bool repair, struct error *error)
{
	/* Only at the start can the tail be torn: a running store knows where it ended. */
	bool is_tail = repair && segment == last_segment(log);
	int rc = ERR_NOT_FOUND;
	uint64_t later;

	if (is_tail)
		rc = segment_find_later(segment->fd, log->store, bad_offset, segment->size,
			position->sequence + 1, &later);
	if (!is_tail || rc == 0)
		return error_set(error, ERR_CORRUPT,
			"segment %016llx is damaged at offset %llu: what follows there was "
			"acknowledged",
			(unsigned long long)segment->number, (unsigned long long)bad_offset);
	if (rc != ERR_NOT_FOUND)
		return error_set(error, rc, "segment %016llx cannot be read",
			(unsigned long long)segment->number);
	if (ftruncate(segment->fd, (off_t)position->offset) < 0 || fdatasync(segment->fd) < 0)
		return error_set_errno(error, ERR_IO, errno, "segment %016llx",
			(unsigned long long)segment->number);
	segment->size = position->offset;
	return 0;
}

/*
 * Goes on after damage that is no torn tail, if that is asked for. The commits that are missing
 * show in `skipped_bytes`; the sequence goes on with the next good frame.
 */
static bool damage_skip(struct log_files *log, struct log_segment *segment,
	struct log_position *position, uint64_t *offset)
{
	struct frame frame;
	uint64_t next;

	if (!log->skips_damage)
		return false;
	if (segment == last_segment(log) &&
		segment_find_later(segment->fd, log->store, *offset, segment->size,
			position->sequence + 1, &next) < 0)
		return false;
	if (segment_pass_damage(segment->fd, log->store, *offset, segment->size, &next) < 0)
		return false;
	log->skipped_bytes += next - *offset;
	*offset = next;
	position->segment = segment->number;
	position->offset = next;
	if (segment_read_header(segment->fd, log->store, next, segment->size, &frame) == 0 &&
		frame.sequence > position->sequence)
		position->sequence = frame.sequence - 1;
	return true;
}

static int replay_segment(struct log_files *log, struct log_segment *segment,
	struct log_position *position, bool repair, replay_commit *commit, void *context,
	struct error *error)
{
	struct buffer payload = { 0 };
	uint64_t offset = position->offset;
	int rc = 0;

	for (;;) {
		struct frame frame;

		rc = segment_read_frame(
			segment->fd, log->store, offset, segment->size, &frame, &payload);
		if (rc == ERR_NOT_FOUND && offset == position->offset) {
			rc = 0;
			break;
		}
		if (rc == ERR_CORRUPT && damage_skip(log, segment, position, &offset))
			continue;
		if (rc == 0 && frame.sequence != position->sequence + 1) {
			/* Good frames that do not follow each other are no torn tail. */
			rc = error_set(error, ERR_CORRUPT,
				"segment %016llx is damaged at offset %llu: commit %llu is "
				"missing",
				(unsigned long long)segment->number, (unsigned long long)offset,
				(unsigned long long)position->sequence + 1);
			break;
		}
		if (rc == ERR_CORRUPT || rc == ERR_NOT_FOUND) {
			rc = tail_cut(log, segment, position, offset, repair, error);
			break;
		}
		if (rc < 0) {
			error_set(error, rc, "segment %016llx at offset %llu: %s",
				(unsigned long long)segment->number, (unsigned long long)offset,
				error_name(rc));
			break;
		}
		offset += frame_extent(frame.payload_size);
		if (frame.type != FRAME_COMMIT)
			continue;
		position->segment = segment->number;
		position->offset = offset;
		position->sequence = frame.sequence;
		rc = commit(context, &frame, buffer_bytes(&payload));
		if (rc < 0) {
			error_set(error, rc, "segment %016llx: cannot redo commit %llu: %s",
				(unsigned long long)segment->number,
				(unsigned long long)frame.sequence, error_name(rc));
			break;
		}
	}
	buffer_deinit(&payload);
	return rc;
}

/* Where segments between were reclaimed, the sequence goes on at the first frame that is there. */
static void sequence_skip(
	struct log_files *log, struct log_segment *segment, struct log_position *position)
{
	struct frame frame;

	if (segment_read_header(
		    segment->fd, log->store, SEGMENT_HEADER_SIZE, segment->size, &frame) == 0 &&
		frame.sequence > position->sequence)
		position->sequence = frame.sequence - 1;
}

int log_replay(struct log_files *log, struct log_position *position, bool repair,
	replay_commit *commit, void *context, struct error *error)
{
	struct log_segment *segment = segment_from(log, position->segment);
	int rc = 0;

	if (segment == NULL || segment->number != position->segment ||
		position->offset > segment->size)
		rc = error_set(error, ERR_CORRUPT,
			"the index is at offset %llu of segment %016llx, which the log does not "
			"have",
			(unsigned long long)position->offset,
			(unsigned long long)position->segment);
	while (segment != NULL && rc == 0) {
		struct log_segment *done = segment;

		if (segment->number > position->segment + 1 || position->sequence == 0)
			sequence_skip(log, segment, position);
		if (segment->number > position->segment) {
			position->segment = segment->number;
			position->offset = SEGMENT_HEADER_SIZE;
		}
		rc = replay_segment(log, segment, position, repair, commit, context, error);
		segment = rc == 0 ? segment_from(log, segment->number + 1) : NULL;
		log_release(log, done);
	}
	if (rc < 0 && segment != NULL)
		log_release(log, segment);
	return rc;
}
