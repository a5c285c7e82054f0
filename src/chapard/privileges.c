#include "chapard/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

static int user_find(const char *user, uid_t *uid_r, gid_t *gid_r, struct error *error)
{
	char text[16384];
	struct passwd entry, *found = NULL;
	int number = getpwnam_r(user, &entry, text, sizeof(text), &found);

	if (found == NULL)
		return number == 0
			       ? error_set(error, ERR_NOT_FOUND, "no system user \"%s\"", user)
			       : error_set_errno(error, ERR_IO, number, "system user \"%s\"", user);
	*uid_r = entry.pw_uid;
	*gid_r = entry.pw_gid;
	return 0;
}

int privileges_drop(const char *user, bool may_return, struct error *error)
{
	uid_t uid;
	gid_t gid;
	int rc;

	if (user == NULL || getuid() != 0)
		return 0;
	privileges_regain();
	rc = user_find(user, &uid, &gid, error);
	if (rc < 0)
		return rc;
	if (initgroups(user, gid) != 0 || setresgid(gid, gid, may_return ? 0 : gid) != 0 ||
		setresuid(may_return ? 0 : uid, uid, may_return ? 0 : uid) != 0)
		return error_set_errno(
			error, ERR_REFUSED, errno, "cannot become user \"%s\"", user);
	return 0;
}

void privileges_regain(void)
{
	if (getuid() == 0 && geteuid() != 0 && (seteuid(0) != 0 || setegid(0) != 0))
		abort(); /* root may always be root */
}
