/*
 * sync-rate: how often a second this disk takes what is appended to a file for good, which no store
 * can go beyond that commits one thing at a time. In turns, so that other load meets all ways
 * alike: `pwrite` and `fdatasync` into a file that grows, into one reserved by fallocate(), into
 * one that is made longer by zeros now and then (as the log is), and into one whose blocks were
 * written before; and one call of `pwritev2` with RWF_DSYNC. usage: sync-rate FOLDER [BYTES]
 * [MILLISECONDS]
 */
#include "base/mem.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define TURN_COUNT 5
#define FILE_SIZE ((off_t)256 << 20) /* bytes, of those whose blocks are there */
#define SAMPLE_COUNT_MAX 1000000
#define AHEAD_SIZE ((off_t)256 << 10) /* bytes of zeros at a time */

struct way {
	const char *name;
	bool is_written;  /* beforehand */
	bool is_reserved; /* by fallocate() */
	bool is_one_call;
	bool is_ahead; /* zeros are written behind what is appended, with the same sync */
	int fd;
	off_t at, end;   /* `end`: up to where zeros are */
	double *samples; /* microseconds */
	size_t count;
};

static struct way ways[] = {
	{ .name = "growing file, pwrite and fdatasync" },
	{ .name = "growing file, pwritev2 with RWF_DSYNC", .is_one_call = true },
	{ .name = "reserved by fallocate, pwrite and fdatasync", .is_reserved = true },
	{ .name = "zeros ahead, pwrite and fdatasync", .is_ahead = true },
	{ .name = "blocks written before, pwrite and fdatasync", .is_written = true },
	{ .name = "blocks written before, pwritev2 with RWF_DSYNC",
		.is_written = true,
		.is_one_call = true },
};
#define WAY_COUNT (sizeof(ways) / sizeof(ways[0]))

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void prepare(struct way *way, const char *folder)
{
	static char zeros[1 << 20];

	way->fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (way->fd < 0)
		die(folder);
	if (way->is_reserved && fallocate(way->fd, 0, 0, FILE_SIZE) < 0)
		die("fallocate");
	for (off_t at = 0; way->is_written && at < FILE_SIZE; at += (off_t)sizeof(zeros))
		if (pwrite(way->fd, zeros, sizeof(zeros), at) != (ssize_t)sizeof(zeros))
			die("pwrite");
	if (fsync(way->fd) < 0)
		die("fsync");
	way->samples = mem_zalloc_array(SAMPLE_COUNT_MAX, sizeof(*way->samples));
}

static void write_once(struct way *way, const unsigned char *bytes, size_t size)
{
	static char zeros[AHEAD_SIZE];
	bool needs_more = way->is_ahead && way->at + (off_t)size > way->end;
	struct iovec iov[2] = { { (void *)(uintptr_t)bytes, size }, { zeros, sizeof(zeros) } };
	size_t wanted = size + (needs_more ? sizeof(zeros) : 0);
	ssize_t written = pwritev2(
		way->fd, iov, needs_more ? 2 : 1, way->at, way->is_one_call ? RWF_DSYNC : 0);

	if (written != (ssize_t)wanted || (!way->is_one_call && fdatasync(way->fd) < 0))
		die("write");
	if (needs_more)
		way->end = way->at + (off_t)wanted;
	way->at += (off_t)size;
	if ((way->is_written || way->is_reserved) && way->at + (off_t)size > FILE_SIZE)
		way->at = 0;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void take_turn(struct way *way, const unsigned char *bytes, size_t size, double length_us)
{
	double end = now_us() + length_us, began, ended;

	do {
		began = now_us();
		write_once(way, bytes, size);
		ended = now_us();
		if (way->count < SAMPLE_COUNT_MAX)
			way->samples[way->count++] = ended - began;
	} while (ended < end);
}

static void report(struct way *way)
{
	double sum = 0;

	for (size_t i = 0; i < way->count; i++)
		sum += way->samples[i];
	qsort(way->samples, way->count, sizeof(*way->samples), compare);
	printf("%-48s %7.0f a second, half below %5.0f us, 99 %% below %6.0f us\n", way->name,
		(double)way->count / sum * 1e6, way->samples[way->count / 2],
		way->samples[way->count * 99 / 100]);
}

int main(int argc, char **argv)
{
	size_t size = argc > 2 ? (size_t)atol(argv[2]) : 12288;
	double length_us = (argc > 3 ? atof(argv[3]) : 2000) * 1e3 / TURN_COUNT;
	unsigned char *bytes;

	if (argc < 2 || size == 0 || (off_t)size > FILE_SIZE) {
		fprintf(stderr, "usage: sync-rate FOLDER [BYTES] [MILLISECONDS]\n");
		return 64;
	}
	bytes = mem_zalloc(size);
	memset(bytes, 'x', size);
	for (size_t i = 0; i < WAY_COUNT; i++)
		prepare(&ways[i], argv[1]);
	for (int turn = 0; turn < TURN_COUNT; turn++)
		for (size_t i = 0; i < WAY_COUNT; i++)
			take_turn(&ways[i], bytes, size, length_us);
	for (size_t i = 0; i < WAY_COUNT; i++) {
		report(&ways[i]);
		free(ways[i].samples);
	}
	free(bytes);
	return 0;
}
