#include "mail/identity.h"

static bool group_has(const struct identity_group *group, const char *user)
{
	for (size_t i = 0; i < group->member_count; i++) {
		if (strcmp(group->members[i], user) == 0)
			return true;
	}
	return false;
}

bool identity_is_member(const struct identity *identity, struct bytes group)
{
	const struct identity_groups *groups = identity->groups;

	for (size_t i = 0; groups != NULL && i < groups->count; i++) {
		if (bytes_equal_string(group, groups->groups[i].name) &&
			group_has(&groups->groups[i], identity->name))
			return true;
	}
	return false;
}
