/*
 * A backup in a directory: an object is a file. It is written under another name (ending in
 * ".part"), brought to disk, and then given its own; what a killed process left so is cleared away
 * by the next one that has the lock, which the kernel takes back from dead processes (flock).
 */
#include "backup/object_store.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PART ".part"

struct object_directory {
	struct object_store base;
	char *path;
	int lock_fd; /* -1: not held */
};

static int failed(struct object_directory *directory, const char *name, struct error *error)
{
	int code = errno == ENOENT                     ? ERR_NOT_FOUND
		   : errno == EACCES || errno == EPERM ? ERR_REFUSED
						       : error_from_errno(errno);

	return error_set_errno(error, code, errno, "%s/%s", directory->path, name);
}

static const char *path_of(
	struct object_directory *directory, struct buffer *path, const char *name, const char *end)
{
	buffer_clear(path);
	buffer_printf(path, "%s/%s%s", directory->path, name, end);
	return buffer_string(path);
}

/* That a name was given is on disk only when its folder is. */
static int folder_sync(struct object_directory *directory, const char *name, struct error *error)
{
	const char *slash = strchr(name, '/');
	struct buffer path = { 0 };
	int fd, rc = 0;

	buffer_printf(
		&path, "%s/%.*s", directory->path, slash != NULL ? (int)(slash - name) : 0, name);
	fd = open(buffer_string(&path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || fsync(fd) != 0)
		rc = failed(directory, name, error);
	if (fd != -1)
		close(fd);
	buffer_deinit(&path);
	return rc;
}

static int folder_make(struct object_directory *directory, const char *name, struct error *error)
{
	const char *slash = strchr(name, '/');
	struct buffer path = { 0 };
	int rc = 0;

	if (slash == NULL)
		return 0;
	buffer_printf(&path, "%s/%.*s", directory->path, (int)(slash - name), name);
	if (mkdir(buffer_string(&path), 0700) == 0)
		rc = folder_sync(directory, "", error);
	else if (errno != EEXIST)
		rc = failed(directory, name, error);
	buffer_deinit(&path);
	return rc;
}

static int all_write(int fd, struct bytes data)
{
	while (data.len > 0) {
		ssize_t size = write(fd, data.ptr, data.len);

		if (size < 0 && errno == EINTR)
			continue;
		if (size < 0)
			return -1;
		bytes_skip(&data, (size_t)size);
	}
	return 0;
}

static int directory_put(
	struct object_store *store, const char *name, struct bytes data, struct error *error)
{
	struct object_directory *directory = (struct object_directory *)store;
	struct buffer part = { 0 }, path = { 0 };
	int fd, rc = folder_make(directory, name, error);

	if (rc < 0)
		return rc;
	path_of(directory, &part, name, PART);
	path_of(directory, &path, name, "");
	fd = open(buffer_string(&part), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1 || all_write(fd, data) < 0 || fsync(fd) != 0 ||
		rename(buffer_string(&part), buffer_string(&path)) != 0) {
		rc = failed(directory, name, error);
		unlink(buffer_string(&part));
	}
	if (fd != -1)
		close(fd);
	if (rc == 0)
		rc = folder_sync(directory, name, error);
	buffer_deinit(&part);
	buffer_deinit(&path);
	return rc;
}

/* The file that is not an object yet, at the end of what came of it. -1 with errno. */
static int piece_open(const char *path, uint64_t offset)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | (offset == 0 ? O_CREAT | O_TRUNC : 0), 0600);
	struct stat info;

	if (fd == -1)
		return -1;
	if (fstat(fd, &info) == 0 && (uint64_t)info.st_size == offset &&
		lseek(fd, (off_t)offset, SEEK_SET) == (off_t)offset)
		return fd;
	close(fd);
	errno = EINVAL;
	return -1;
}

static int piece_write(int fd, struct bytes data, bool is_last, const char *part, const char *path)
{
	if (all_write(fd, data) < 0)
		return -1;
	return is_last && (fsync(fd) != 0 || rename(part, path) != 0) ? -1 : 0;
}

int object_directory_put_piece(struct object_store *store, const char *name, uint64_t offset,
	struct bytes data, bool is_last, struct error *error)
{
	struct object_directory *directory = (struct object_directory *)store;
	struct buffer part = { 0 }, path = { 0 };
	int fd = -1, rc = folder_make(directory, name, error);

	if (rc < 0)
		return rc;
	path_of(directory, &part, name, PART);
	path_of(directory, &path, name, "");
	if (access(buffer_string(&path), F_OK) == 0)
		rc = error_set(error, ERR_EXISTS, "%s is there already", name);
	if (rc == 0)
		fd = piece_open(buffer_string(&part), offset);
	if (rc == 0 && fd == -1 && (errno == EINVAL || errno == ENOENT))
		rc = error_set(error, ERR_INVALID, "%s: a piece that does not follow", name);
	else if (rc == 0 && (fd == -1 || piece_write(fd, data, is_last, buffer_string(&part),
						 buffer_string(&path)) < 0))
		rc = failed(directory, name, error);
	if (fd != -1)
		close(fd);
	if (fd != -1 && rc < 0)
		unlink(buffer_string(&part));
	if (rc == 0 && is_last)
		rc = folder_sync(directory, name, error);
	buffer_deinit(&part);
	buffer_deinit(&path);
	return rc;
}

static int part_read(int fd, uint64_t offset, uint64_t size, struct buffer *out)
{
	unsigned char *at = buffer_extend(out, size);
	size_t before = out->len - size, done = 0;

	while (done < size) {
		ssize_t count = pread(fd, at + done, size - done, (off_t)(offset + done));

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return -1;
		if (count == 0)
			break;
		done += (size_t)count;
	}
	buffer_truncate(out, before + done);
	return 0;
}

static int directory_get(struct object_store *store, const char *name, uint64_t offset,
	uint64_t size, struct buffer *out, struct error *error)
{
	struct object_directory *directory = (struct object_directory *)store;
	struct buffer path = { 0 };
	struct stat info;
	int fd = open(path_of(directory, &path, name, ""), O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd == -1 || fstat(fd, &info) != 0)
		rc = failed(directory, name, error);
	else if (size == 0 && (uint64_t)info.st_size > OBJECT_SIZE_MAX)
		rc = error_set(error, ERR_TOO_LARGE, "%s: more than an object holds", name);
	else if (part_read(fd, offset, size == 0 ? (uint64_t)info.st_size : size, out) < 0)
		rc = failed(directory, name, error);
	if (fd != -1)
		close(fd);
	buffer_deinit(&path);
	return rc;
}

/* Calls function for each file; those half written only if asked for, and then no others. */
static int files_each(struct object_directory *directory, const char *folder, bool wants_parts,
	object_function *function, void *context, struct error *error)
{
	struct buffer path = { 0 };
	DIR *dir = opendir(path_of(directory, &path, folder, ""));
	const struct dirent *entry;
	int rc = 0;

	if (dir == NULL && errno != ENOENT)
		rc = failed(directory, folder, error);
	while (rc == 0 && dir != NULL && (entry = readdir(dir)) != NULL) {
		struct buffer name = { 0 };
		struct stat info;
		size_t len = strlen(entry->d_name), part_len = strlen(PART);
		bool is_part = len > part_len && strcmp(entry->d_name + len - part_len, PART) == 0;

		buffer_printf(&name, "%s%s%s", folder, folder[0] != '\0' ? "/" : "", entry->d_name);
		if (entry->d_name[0] != '.' && is_part == wants_parts &&
			(is_part || object_name_is_valid(buffer_string(&name))) &&
			stat(path_of(directory, &path, buffer_string(&name), ""), &info) == 0 &&
			S_ISREG(info.st_mode))
			rc = function(context, buffer_string(&name), (uint64_t)info.st_size);
		buffer_deinit(&name);
	}
	if (dir != NULL)
		closedir(dir);
	buffer_deinit(&path);
	return rc;
}

static int directory_list(struct object_store *store, const char *folder, object_function *function,
	void *context, struct error *error)
{
	return files_each(
		(struct object_directory *)store, folder, false, function, context, error);
}

static int directory_remove(struct object_store *store, const char *name, struct error *error)
{
	struct object_directory *directory = (struct object_directory *)store;
	struct buffer path = { 0 };
	int rc = 0;

	if (unlink(path_of(directory, &path, name, "")) != 0 && errno != ENOENT)
		rc = failed(directory, name, error);
	buffer_deinit(&path);
	return rc;
}

/* ---- the lock ---- */

static int part_remove(void *context, const char *name, uint64_t size)
{
	struct error ignored = { 0 };

	(void)size;
	(void)directory_remove(context, name, &ignored);
	return 0;
}

/* Who holds it says so in the file, for people. */
static int lock_refused(int fd, struct error *error)
{
	char who[100];
	ssize_t size = pread(fd, who, sizeof(who) - 1, 0);

	who[size > 0 ? size : 0] = '\0';
	return error_set(error, ERR_UNAVAILABLE, "it is being written by %s",
		who[0] != '\0' ? who : "another process");
}

int object_directory_lock(struct object_store *store, const char *holder, struct error *error)
{
	static const char *const folders[] = { "", "packs", "points", "moved" };
	struct object_directory *directory = (struct object_directory *)store;
	struct buffer path = { 0 }, who = { 0 };
	int fd = open(path_of(directory, &path, "lock", ""), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int rc = 0;

	if (fd == -1)
		rc = failed(directory, "lock", error);
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		rc = errno == EWOULDBLOCK ? lock_refused(fd, error)
					  : failed(directory, "lock", error);
	if (rc == 0) {
		if (holder != NULL)
			buffer_append_string(&who, holder);
		else
			buffer_printf(&who, "process %ld", (long)getpid());
		if (ftruncate(fd, 0) != 0 || all_write(fd, buffer_bytes(&who)) < 0)
			rc = failed(directory, "lock", error);
	}
	if (rc == 0) {
		directory->lock_fd = fd;
		fd = -1;
		for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && rc == 0; i++)
			rc = files_each(directory, folders[i], true, part_remove, directory, error);
	}
	if (fd != -1)
		close(fd);
	buffer_deinit(&path);
	buffer_deinit(&who);
	return rc;
}

static int directory_lock(struct object_store *store, struct error *error)
{
	return object_directory_lock(store, NULL, error);
}

static void directory_close(struct object_store *store)
{
	struct object_directory *directory = (struct object_directory *)store;

	if (directory->lock_fd != -1)
		close(directory->lock_fd);
	free(directory->path);
	free(directory);
}

static const struct object_store_functions functions = { directory_put, directory_get,
	directory_list, directory_remove, directory_lock, directory_close };

int object_directory_open(
	const char *path, bool create, struct object_store **store_r, struct error *error)
{
	struct object_directory *directory = mem_zalloc(sizeof(*directory));
	struct stat info;
	int rc = 0;

	directory->base.functions = &functions;
	directory->path = mem_strdup(path);
	directory->lock_fd = -1;
	if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
		rc = error_set_errno(error, error_from_errno(errno), errno, "%s", path);
	else if (stat(path, &info) != 0)
		rc = error_set_errno(
			error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, errno, "%s", path);
	else if (!S_ISDIR(info.st_mode))
		rc = error_set(error, ERR_INVALID, "%s is no folder", path);
	if (rc < 0)
		directory_close(&directory->base);
	else
		*store_r = &directory->base;
	return rc;
}
