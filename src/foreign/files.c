#include "foreign/files.h"

#include "base/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

static int code_of(int number)
{
	switch (number) {
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case ENAMETOOLONG:
		return ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
		return ERR_REFUSED;
	default:
		return error_from_errno(number);
	}
}

int files_open_root(const char *path, int *fd_r, struct error *error)
{
	int fd = open(path, FOLDER_FLAGS);

	if (fd == -1 && errno == ENOTDIR)
		return error_set(error, ERR_INVALID, "%s is no folder", path);
	if (fd == -1 && errno == EACCES)
		return error_set(error, ERR_REFUSED,
			"%s may not be read by user %u, as whom it "
			"is tried",
			path, (unsigned)geteuid());
	if (fd == -1)
		return error_set_errno(error, code_of(errno), errno, "%s", path);
	*fd_r = fd;
	return 0;
}

/* Opens level by level, as O_NOFOLLOW is about the last one only. */
static int open_below(int folder, struct bytes path, int flags, int *fd_r)
{
	char level[NAME_MAX + 1];
	int fd = fcntl(folder, F_DUPFD_CLOEXEC, 0);

	while (fd != -1 && path.len > 0) {
		size_t len = bytes_find(path, '/');
		int next = -1;

		if (len > NAME_MAX || len == 0) {
			errno = ENOENT;
		} else {
			memcpy(level, path.ptr, len);
			level[len] = '\0';
			next = openat(
				fd, level, (len < path.len ? FOLDER_FLAGS : flags) | O_NOFOLLOW);
		}
		bytes_skip(&path, len < path.len ? len + 1 : len);
		if (close(fd) == -1 && next == -1)
			return ERR_IO;
		fd = next;
	}
	if (fd == -1)
		return code_of(errno);
	*fd_r = fd;
	return 0;
}

int files_open_folder(int folder, struct bytes path, int *fd_r)
{
	return open_below(folder, path, FOLDER_FLAGS, fd_r);
}

int files_open_file(int folder, struct bytes path, int *fd_r, struct stat *stat_r)
{
	/* A FIFO must not stop us. */
	int rc = open_below(folder, path, O_RDONLY | O_NONBLOCK | O_CLOEXEC, fd_r);

	if (rc < 0)
		return rc;
	if (fstat(*fd_r, stat_r) == -1)
		rc = ERR_IO;
	else if (!S_ISREG(stat_r->st_mode))
		rc = ERR_NOT_FOUND;
	if (rc < 0)
		close(*fd_r);
	return rc;
}

int files_read_part(int fd, uint64_t offset, uint64_t size, struct buffer *out)
{
	while (size > 0) {
		size_t wanted = size < (1u << 20) ? (size_t)size : (1u << 20);
		size_t before = out->len;
		ssize_t got = pread(fd, buffer_extend(out, wanted), wanted, (off_t)offset);

		buffer_truncate(out, before + (got > 0 ? (size_t)got : 0));
		if (got == 0)
			return 0;
		if (got < 0 && errno != EINTR)
			return ERR_IO;
		if (got > 0) {
			size -= (uint64_t)got;
			offset += (uint64_t)got;
		}
	}
	return 0;
}

int files_read(int folder, const char *path, uint64_t size_max, struct buffer *out)
{
	struct stat info;
	int fd, rc = files_open_file(folder, bytes_of_string(path), &fd, &info);

	if (rc < 0)
		return rc;
	rc = (uint64_t)info.st_size > size_max
		     ? ERR_TOO_LARGE
		     : files_read_part(fd, 0, (uint64_t)info.st_size, out);
	close(fd);
	return rc;
}

int files_each(int folder, struct bytes path, bool hides_dots, files_entry_function *function,
	void *context)
{
	struct dirent *entry;
	DIR *stream;
	int fd, rc = files_open_folder(folder, path, &fd);

	if (rc < 0)
		return rc;
	stream = fdopendir(fd);
	if (stream == NULL) {
		close(fd);
		return ERR_IO;
	}
	while (rc == 0) {
		errno = 0;
		entry = readdir(stream);
		if (entry == NULL) {
			rc = errno != 0 ? ERR_IO : 0;
			break;
		}
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
			!(hides_dots && entry->d_name[0] == '.'))
			rc = function(context, entry->d_name);
	}
	closedir(stream);
	return rc;
}
