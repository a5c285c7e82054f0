#include "chapar/tool_restore_files.h"

#include "base/mem.h"
#include "chapar/tool_scratch.h"
#include "foreign/export_place.h"
#include "foreign/files.h"
#include "mail/annotation.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

struct tool_restore_files {
	const struct tool_options *options;
	struct backup_repository *repository;
	struct export_place place;
	char *root;          /* absolute */
	bool is_made;        /* the root was not there */
	bool is_one;         /* the root is the account's own folder */
	struct buffer store; /* of the account under way */
	struct buffer folder;
	struct tool_scratch *scratch;
};

bool tool_restore_is_files(const struct tool_options *options)
{
	return options->into != NULL && export_place_is(options->into);
}

/* ---- folders ---- */

static int entry_found(void *context, const char *name)
{
	(void)context;
	(void)name;
	return 1;
}

/* An export into what an earlier one has written would take away what is not in this state. */
static int folder_check(const char *path, struct error *error)
{
	int fd = -1;
	int rc = files_open_root(path, &fd, error);

	if (rc == ERR_NOT_FOUND) {
		*error = (struct error){ 0 };
		return 0;
	}
	if (rc == 0)
		rc = files_each(fd, bytes_of(NULL, 0), false, entry_found, NULL);
	if (fd != -1)
		close(fd);
	if (rc == 1)
		return error_set(error, ERR_EXISTS, "%s is there already, and not empty", path);
	return rc < 0 && error->code == 0 ? error_set(error, rc, "%s cannot be read", path) : rc;
}

static int root_make(struct tool_restore_files *files, struct error *error)
{
	struct buffer path = { 0 };
	char absolute[PATH_MAX];
	int rc = 0;

	buffer_append_bytes(&path, files->place.folder);
	if (files->is_one)
		rc = folder_check(buffer_string(&path), error);
	if (rc == 0) {
		files->is_made = mkdir(buffer_string(&path), 0700) == 0;
		if (!files->is_made && errno != EEXIST)
			rc = error_set_errno(error,
				errno == ENOENT ? ERR_NOT_FOUND : error_from_errno(errno), errno,
				"%s", buffer_string(&path));
	}
	if (rc == 0 && realpath(buffer_string(&path), absolute) == NULL)
		rc = error_set_errno(
			error, error_from_errno(errno), errno, "%s", buffer_string(&path));
	if (rc == 0)
		files->root = mem_strdup(absolute);
	buffer_deinit(&path);
	return rc;
}

/* On the disk that the files go to, where room is; not among the files of an account. */
static int scratch_make(struct tool_restore_files *files, struct error *error)
{
	struct buffer parent = { 0 };
	const char *slash = strrchr(files->root, '/');
	int rc;

	buffer_append_bytes(&parent, files->is_one
					     ? bytes_of(files->root, (size_t)(slash - files->root))
					     : bytes_of_string(files->root));
	rc = tool_scratch_new(buffer_string(&parent), &files->scratch, error);
	buffer_deinit(&parent);
	if (rc == 0)
		buffer_printf(&files->store, "%s/store", tool_scratch_path(files->scratch));
	return rc;
}

int tool_restore_files_begin(const struct tool_options *options,
	struct backup_repository *repository, struct tool_restore_files **files_r,
	struct error *error)
{
	struct tool_restore_files *files = mem_zalloc(sizeof(*files));
	int rc = export_place_parse(options->into, &files->place, error);

	files->options = options;
	files->repository = repository;
	files->is_one = options->name_count == 2;
	if (rc == 0)
		rc = root_make(files, error);
	if (rc == 0)
		rc = scratch_make(files, error);
	if (rc < 0)
		tool_restore_files_end(&files);
	else
		*files_r = files;
	return rc;
}

void tool_restore_files_end(struct tool_restore_files **files)
{
	if (*files == NULL)
		return;
	tool_scratch_free(&(*files)->scratch);
	/* If nothing came to be in it. */
	if ((*files)->is_made)
		(void)rmdir((*files)->root);
	buffer_deinit(&(*files)->store);
	buffer_deinit(&(*files)->folder);
	free((*files)->root);
	free(*files);
	*files = NULL;
}

/* ---- an account ---- */

static int folder_choose(struct tool_restore_files *files, const char *account, struct error *error)
{
	buffer_clear(&files->folder);
	buffer_append_string(&files->folder, files->root);
	if (files->is_one)
		return 0;
	if (strcmp(account, ".") == 0 || strcmp(account, "..") == 0)
		return error_set(error, ERR_INVALID, "no folder can be called %s", account);
	buffer_printf(&files->folder, "/%s", account);
	return folder_check(buffer_string(&files->folder), error);
}

struct writing {
	struct tool_restored *restored;
	const struct backup_restore_options *wanted;
	const char *account;
};

static void mailbox_told(void *context, struct bytes name, const struct export_counts *counts)
{
	struct writing *writing = context;
	(void)name;

	writing->restored->result.mailbox_count++;
	writing->restored->result.message_count += counts->message_count;
	writing->restored->unnamed_count += counts->unnamed_count;
}

static int export_run(struct tool_restore_files *files, struct mail *mail, const char *account,
	struct writing *writing, struct error *error)
{
	struct export_options options = { .mail = mail, .tell = mailbox_told, .context = writing };
	struct export *export;
	int rc = mail_account_open(mail, bytes_of_string(account), false, error, &options.account);

	if (rc == ERR_NOT_FOUND) {
		if (files->options->name_count > 1)
			return error_set(error, rc, "the account was deleted then");
		*error = (struct error){ 0 };
		writing->restored->is_skipped = true;
		return 0;
	}
	if (rc < 0)
		return rc;
	if (writing->wanted->selection.mailbox != NULL)
		options.mailbox = bytes_of_string(writing->wanted->selection.mailbox);
	if (writing->wanted->selection.instance_count > 0)
		options.instance = writing->wanted->selection.instances;
	export = export_new(
		&options, export_place_target(&files->place, buffer_string(&files->folder)));
	do {
		rc = export_step(export, error);
	} while (rc == EXPORT_MORE);
	export_free(&export);
	return rc < 0 && error->code == 0 ? error_set(error, rc, "%s", error_name(rc)) : rc;
}

int tool_restore_files_bring(struct tool_restore_files *files, const struct backup_account *account,
	const struct backup_restore_options *wanted, struct tool_restored *restored_r,
	struct error *error)
{
	struct backup_restore_options exact = *wanted;
	struct writing writing = { restored_r, wanted, account->name };
	struct sync_self self = tool_backup_self(files->repository);
	struct backup_source source;
	struct node *node = NULL;
	int rc;

	*restored_r = (struct tool_restored){ 0 };
	if (strcmp(account->name, ANNOTATION_SERVER_ACCOUNT) == 0 &&
		files->options->name_count == 1) {
		restored_r->is_skipped = true;
		return 0;
	}
	rc = folder_choose(files, account->name, error);
	restored_r->folder = buffer_string(&files->folder);
	/* The message is chosen when it is written: all of its mailbox comes before. */
	exact.is_exact = true;
	exact.selection.instance_count = 0;
	exact.selection.with_expunged = false;
	if (rc == 0)
		rc = node_open_folder(buffer_string(&files->store), &node, error);
	if (rc == 0)
		rc = node_sync(node, &self, &source, error);
	if (rc < 0)
		error_prefix(error, "%s", account->name);
	if (rc == 0)
		rc = backup_restore(
			files->repository, account, &source, &exact, &restored_r->result, error);
	if (rc == 0) {
		/* What counts is what comes to be there. */
		restored_r->result.message_count = restored_r->result.mailbox_count = 0;
		rc = export_run(files, node_mail(node), account->name, &writing, error);
		if (rc < 0)
			error_prefix(error, "%s", account->name);
	}
	node_close(&node);
	tool_folder_remove(buffer_string(&files->store));
	return rc;
}
