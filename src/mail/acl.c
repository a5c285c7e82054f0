#include "mail/acl.h"

#include "mail/sasl_prepare.h"

#define LETTERS "lrswipkxtean" /* in the order of the bits */
#define OLD_CREATE (ACL_CREATE | ACL_DELETE)
#define OLD_DELETE (ACL_MARK | ACL_EXPUNGE)

static unsigned right_of(int letter)
{
	const char *at = letter > 0 ? strchr(LETTERS, letter) : NULL;

	if (at != NULL)
		return 1u << (at - LETTERS);
	return letter == 'c' ? OLD_CREATE : letter == 'd' ? OLD_DELETE : 0;
}

int acl_parse_rights(struct bytes letters, unsigned *rights_r)
{
	unsigned rights = 0;

	for (size_t i = 0; i < letters.len; i++) {
		unsigned right = right_of(letters.ptr[i]);

		if (right == 0)
			return ERR_INVALID;
		rights |= right;
	}
	*rights_r = rights;
	return 0;
}

void acl_write_rights(struct buffer *out, unsigned rights)
{
	for (unsigned i = 0; i < sizeof(LETTERS) - 1; i++) {
		if ((rights & (1u << i)) != 0)
			buffer_append_byte(out, LETTERS[i]);
	}
}

void acl_tell_rights(struct buffer *out, unsigned rights)
{
	acl_write_rights(out, rights);
	if ((rights & OLD_CREATE) != 0)
		buffer_append_byte(out, 'c');
	if ((rights & OLD_DELETE) != 0)
		buffer_append_byte(out, 'd');
}

/* Takes "-" and "group:" off the front; a group's name is kept as the configuration has it. */
static bool take_group(struct bytes *identifier)
{
	const struct bytes prefix = BYTES_LITERAL("group:");

	if (identifier->len < prefix.len ||
		!bytes_equal_nocase(bytes_of(identifier->ptr, prefix.len), prefix))
		return false;
	bytes_skip(identifier, prefix.len);
	return true;
}

static bool take_minus(struct bytes *identifier)
{
	if (bytes_peek(*identifier) != '-')
		return false;
	bytes_skip(identifier, 1);
	return true;
}

int acl_identifier_normalize(struct bytes identifier, char normal_r[ACL_IDENTIFIER_SIZE_MAX + 1])
{
	struct buffer prepared = { NULL, 0, 0 };
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	bool is_negative = take_minus(&identifier), is_group = take_group(&identifier);
	int rc = sasl_prepare(identifier, &prepared);

	if (rc == 0)
		rc = account_name_normalize(buffer_bytes(&prepared), name);
	if (rc == 0) {
		normal_r[0] = '\0';
		if (is_negative)
			strcat(normal_r, "-");
		if (is_group)
			strcat(normal_r, "group:");
		strcat(normal_r, name);
	}
	buffer_deinit(&prepared);
	return rc < 0 ? ERR_INVALID : 0;
}

/* A user whose name reads like another kind of identifier is not meant by it. */
static bool is_own_name(const struct identity *identity, struct bytes identifier)
{
	struct bytes rest = identifier;

	return bytes_equal_string(identifier, identity->name) && !take_minus(&rest) &&
	       !take_group(&rest) && !bytes_equal_string(identifier, "anyone");
}

static bool is_meant(const struct identity *identity, struct bytes identifier)
{
	if (bytes_equal_string(identifier, "anyone") || is_own_name(identity, identifier))
		return true;
	return take_group(&identifier) && identity_is_member(identity, identifier);
}

bool acl_concerns(const struct identity *identity, struct bytes identifier)
{
	take_minus(&identifier);
	return is_meant(identity, identifier);
}

unsigned acl_effective(const struct identity *identity, bool is_owner,
	const struct acl_entry *entries, size_t count)
{
	unsigned given = 0, taken = 0, rights;
	bool has_entry = false;

	for (size_t i = 0; i < count; i++) {
		struct bytes identifier = entries[i].identifier;
		bool is_negative = take_minus(&identifier);

		if (is_owner ? !is_own_name(identity, identifier) : !is_meant(identity, identifier))
			continue;
		has_entry = has_entry || !is_negative;
		if (is_negative)
			taken |= entries[i].rights;
		else
			given |= entries[i].rights;
	}
	rights = (is_owner && !has_entry ? ACL_ALL : given) & ~taken;
	if (is_owner)
		rights |= ACL_LOOKUP | ACL_ADMINISTER;
	if (identity->is_admin)
		rights |= ACL_LOOKUP | ACL_CREATE | ACL_DELETE | ACL_ADMINISTER;
	if (identity->is_read_only)
		rights &= ACL_LOOKUP | ACL_READ;
	return rights;
}
