/*
 * files: reading what a user may have put there, with the rights of a daemon: below the folder that
 * the operator named, no symbolic link is followed, and only regular files are read. Descriptors
 * are the caller's to close.
 */
#ifndef CHAPAR_FOREIGN_FILES_H
#define CHAPAR_FOREIGN_FILES_H

#include "base/buffer.h"
#include "base/error.h"

#include <dirent.h>
#include <stdint.h>
#include <sys/stat.h>

/* The folder that the operator named. ERR_NOT_FOUND, ERR_REFUSED, ERR_INVALID (no folder), ERR_IO.
 */
int files_open_root(const char *path, int *fd_r, struct error *error);
/* A folder or file below; `path` is relative, "" for the folder itself. ERR_NOT_FOUND: also for
 * what is a link, or not of that kind; ERR_IO. */
int files_open_folder(int folder, struct bytes path, int *fd_r);
int files_open_file(int folder, struct bytes path, int *fd_r, struct stat *stat_r);
/* Appends a whole file. ERR_TOO_LARGE: it is over `size_max` bytes; those above. */
int files_read(int folder, const char *path, uint64_t size_max, struct buffer *out);
/* Appends `size` bytes from `offset`; fewer if the file ends. ERR_IO. */
int files_read_part(int fd, uint64_t offset, uint64_t size, struct buffer *out);

/*
 * Calls `function` for each entry, but for those that begin with a dot if `hides_dots`, until it
 * returns other than 0, which is returned. ERR_NOT_FOUND, ERR_IO.
 */
typedef int files_entry_function(void *context, const char *name);
int files_each(int folder, struct bytes path, bool hides_dots, files_entry_function *function,
	void *context);

#endif
