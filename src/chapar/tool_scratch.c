#include "chapar/tool_scratch.h"

#include "base/buffer.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define REMOVE_DEPTH 16 /* descriptors at once */

struct tool_scratch {
	char *path;
	int pipe_fd; /* as long as it is open here, the folder stays; -1: nobody keeps it */
	pid_t keeper;
};

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *ftw)
{
	(void)info;
	(void)kind;
	(void)ftw;
	return remove(path);
}

void tool_folder_remove(const char *folder)
{
	(void)nftw(folder, remove_one, REMOVE_DEPTH, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* In the child: nothing is written to the pipe, so it reads the end when no one can any more. */
static _Noreturn void keep(const char *path, int fd)
{
	char byte;

	while (read(fd, &byte, 1) == -1 && errno == EINTR)
		;
	tool_folder_remove(path);
	_exit(0);
}

static int keeper_start(struct tool_scratch *scratch, struct error *error)
{
	sigset_t all, before;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) == -1)
		return error_set_errno(error, error_from_errno(errno), errno, "pipe");
	/* What ends the command, such as ^C for all of the terminal's processes, is nothing to the
	 * child, from its first moment. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	scratch->keeper = fork();
	if (scratch->keeper == 0) {
		close(fds[1]);
		keep(scratch->path, fds[0]);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(fds[0]);
	if (scratch->keeper == -1) {
		close(fds[1]);
		return error_set_errno(error, error_from_errno(errno), errno, "fork");
	}
	scratch->pipe_fd = fds[1];
	return 0;
}

int tool_scratch_new(const char *parent, struct tool_scratch **scratch_r, struct error *error)
{
	struct tool_scratch *scratch = mem_zalloc(sizeof(*scratch));
	struct buffer path = { 0 };
	int rc = 0;

	buffer_printf(&path, "%s/.chapar-XXXXXX", parent);
	scratch->path = mem_strdup(buffer_string(&path));
	scratch->pipe_fd = -1;
	buffer_deinit(&path);
	if (mkdtemp(scratch->path) == NULL) {
		rc = error_set_errno(error,
			errno == ENOENT ? ERR_NOT_FOUND : error_from_errno(errno), errno, "%s",
			parent);
		free(scratch->path);
		free(scratch);
		return rc;
	}
	rc = keeper_start(scratch, error);
	if (rc < 0)
		tool_scratch_free(&scratch);
	else
		*scratch_r = scratch;
	return rc;
}

const char *tool_scratch_path(const struct tool_scratch *scratch)
{
	return scratch->path;
}

void tool_scratch_free(struct tool_scratch **scratch)
{
	if (*scratch == NULL)
		return;
	if ((*scratch)->pipe_fd == -1) {
		tool_folder_remove((*scratch)->path);
	} else {
		close((*scratch)->pipe_fd);
		while (waitpid((*scratch)->keeper, NULL, 0) == -1 && errno == EINTR)
			;
	}
	free((*scratch)->path);
	free(*scratch);
	*scratch = NULL;
}
