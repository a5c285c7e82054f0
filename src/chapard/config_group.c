/*
 * config_group: groups of users, and where the mailboxes of others are seen.
 */
#include "chapard/config_private.h"

#include "base/mem.h"
#include "mail/mail.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SEPARATORS " \t\r\n,"

/* Takes the next name off the front of *text. ERR_NOT_FOUND: there is none. */
static int take_member(const char **text, struct bytes *member_r)
{
	const char *begin = *text + strspn(*text, SEPARATORS);
	size_t len = strcspn(begin, SEPARATORS);

	*text = begin + len;
	*member_r = bytes_of(begin, len);
	return len > 0 ? 0 : ERR_NOT_FOUND;
}

int config_members_check(const char *text, struct error *error)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	struct bytes member;

	if (strlen(text) > CONFIG_MEMBERS_SIZE_MAX)
		return error_set(
			error, ERR_INVALID, "is longer than %d bytes", CONFIG_MEMBERS_SIZE_MAX);
	while (take_member(&text, &member) == 0)
		if (account_name_normalize(member, normal) < 0)
			return error_set(error, ERR_INVALID, "\"%.*s\" cannot be a user's name",
				(int)(member.len < 100 ? member.len : 100),
				(const char *)member.ptr);
	return 0;
}

int config_level_check(const char *text, struct error *error)
{
	if (strpbrk(text, "/*%") != NULL || strcasecmp(text, "INBOX") == 0)
		return error_set(error, ERR_INVALID,
			"\"%.100s\" cannot be a level: no '/', '*' or '%%', and not INBOX", text);
	return mailbox_name_check(bytes_of_string(text), error);
}

static char *name_copy(struct bytes name)
{
	char normal[ACCOUNT_NAME_SIZE_MAX + 1];
	int rc = account_name_normalize(name, normal);

	assert(rc == 0); /* checked when the file was read */
	(void)rc;
	return mem_strdup(normal);
}

static void group_fill(const struct config_group *configured, struct identity_group *group)
{
	const char *text = configured->members;
	void *members = NULL;
	size_t room = 0;
	struct bytes member;

	group->name = name_copy(bytes_of_string(configured->name));
	while (take_member(&text, &member) == 0) {
		mem_grow(&members, &room, group->member_count + 1, sizeof(*group->members));
		((const char **)members)[group->member_count++] = name_copy(member);
	}
	group->members = members;
}

struct identity_groups *config_groups_new(const struct config *config)
{
	struct identity_groups *groups = mem_zalloc(sizeof(*groups));
	struct identity_group *list = mem_zalloc_array(config->group_count + 1, sizeof(*list));

	for (size_t i = 0; i < config->group_count; i++)
		group_fill(&config->groups[i], &list[i]);
	groups->groups = list;
	groups->count = config->group_count;
	return groups;
}

void config_groups_free(struct identity_groups **groups)
{
	if (*groups == NULL)
		return;
	for (size_t i = 0; i < (*groups)->count; i++) {
		const struct identity_group *group = &(*groups)->groups[i];

		for (size_t k = 0; k < group->member_count; k++)
			free((char *)group->members[k]);
		free((void *)group->members);
		free((char *)group->name);
	}
	free((void *)(*groups)->groups);
	free(*groups);
	*groups = NULL;
}
