/* Rights as letters, identifiers, and who may do what (RFC 4314). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mail/acl.h"

static unsigned rights_of(const char *letters)
{
	unsigned rights = 0;

	assert_int_equal(acl_parse_rights(bytes_of_string(letters), &rights), 0);
	return rights;
}

static void rights_are_read_and_told_with_their_obsolete_names(void **state)
{
	static const struct {
		const char *in, *out; /* NULL: refused */
	} rows[] = {
		{ "", "" },
		{ "lr", "lr" },
		{ "rl", "lr" },             /* always in one order */
		{ "llrr", "lr" },           /* double */
		{ "lrswida", "lrswitead" }, /* d is t and e */
		{ "k", "kc" },              /* RFC 4314, 2.1.1 */
		{ "c", "kxc" },
		{ "t", "td" },
		{ "d", "ted" },
		{ "lrswipkxtean", "lrswipkxteancd" },
		{ "Lr", NULL }, /* upper case */
		{ "lq", NULL }, /* unknown */
		{ "l0", NULL }, /* digits are for others to define */
		{ "l r", NULL },
	};
	struct buffer out = { NULL, 0, 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *expected = rows[i].out;
		unsigned rights;
		int rc = acl_parse_rights(bytes_of_string(rows[i].in), &rights);

		assert_int_equal(rc, expected == NULL ? ERR_INVALID : 0);
		if (rc < 0)
			continue;
		buffer_clear(&out);
		acl_tell_rights(&out, rights);
		assert_string_equal(buffer_string(&out), expected);
	}
	buffer_deinit(&out);
}

static void identifiers_have_one_form(void **state)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{ "Bob", "bob" }, { "-Bob", "-bob" }, { "Group:Sales", "group:sales" },
		{ "-group:sales", "-group:sales" }, { "anyone", "anyone" },
		{ "bob@Example.com", "bob@example.com" }, { "", NULL }, { "-", NULL },
		{ "group:", NULL }, { "a b", NULL }, { "a/b", NULL }, { "a\x01", NULL },
		{ "\xff", NULL }, /* not UTF-8 */
	};
	char normal[ACL_IDENTIFIER_SIZE_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = acl_identifier_normalize(bytes_of_string(rows[i].in), normal);

		assert_int_equal(rc, rows[i].out == NULL ? ERR_INVALID : 0);
		if (rc == 0)
			assert_string_equal(normal, rows[i].out);
	}
}

static void the_longest_identifier_fits(void **state)
{
	char in[7 + ACCOUNT_NAME_SIZE_MAX + 2] = "-group:";
	char normal[ACL_IDENTIFIER_SIZE_MAX + 1];

	(void)state;
	memset(in + 7, 'x', ACCOUNT_NAME_SIZE_MAX);
	assert_int_equal(acl_identifier_normalize(bytes_of_string(in), normal), 0);
	assert_string_equal(normal, in);
	in[7 + ACCOUNT_NAME_SIZE_MAX] = 'x';
	assert_int_equal(acl_identifier_normalize(bytes_of_string(in), normal), ERR_INVALID);
}

/* ---- who has what ---- */

static const char *const sales_members[] = { "bob", "carol" };
static const struct identity_group group_list[] = { { "sales", sales_members, 2 } };
static const struct identity_groups groups = { group_list, 1 };

static unsigned effective(const char *user, bool is_owner, bool is_admin, const char *entries)
{
	struct identity identity = { .account = 1, .groups = &groups, .is_admin = is_admin };
	struct acl_entry list[8];
	struct bytes text = bytes_of_string(entries);
	size_t count = 0;

	strcpy(identity.name, user);
	while (text.len > 0) {
		struct bytes word = bytes_take(&text, bytes_find(text, ' '));
		size_t at = bytes_find(word, '=');

		list[count].identifier = bytes_of(word.ptr, at);
		bytes_skip(&word, at + 1);
		assert_int_equal(acl_parse_rights(word, &list[count++].rights), 0);
		if (text.len > 0)
			bytes_skip(&text, 1);
	}
	return acl_effective(&identity, is_owner, list, count);
}

static void rights_are_what_entries_give_less_what_they_take(void **state)
{
	static const struct {
		const char *user, *entries, *rights;
	} rows[] = {
		{ "bob", "", "" },
		{ "bob", "bob=lr", "lr" },
		{ "bob", "carol=lr", "" },
		{ "bob", "anyone=l bob=r", "lr" },
		{ "bob", "group:sales=lrs", "lrs" },
		{ "dave", "group:sales=lrs", "" },
		{ "bob", "group:other=lrs", "" },
		{ "bob", "group:sales=lrswi -bob=w", "lrsi" },
		{ "bob", "bob=lrswi -group:sales=i", "lrsw" },
		{ "bob", "bob=lr -anyone=r", "l" },
		{ "bob", "bob=lr -carol=lr", "lr" },
		{ "", "anyone=lp", "lp" }, /* nobody known: a sender of mail */
		{ "", "bob=lp", "" },
		/* Names that read like other identifiers are not meant by them. */
		{ "-bob", "-bob=lr", "" },
		{ "group:sales", "group:sales=lr", "" },
		{ "anyone", "-anyone=l anyone=lr", "r" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(effective(rows[i].user, false, false, rows[i].entries),
			rights_of(rows[i].rights));
}

static void an_owner_cannot_lock_himself_out(void **state)
{
	(void)state;
	assert_int_equal(effective("alice", true, false, ""), ACL_ALL);
	assert_int_equal(effective("alice", true, false, "bob=lr anyone=l"), ACL_ALL);
	assert_int_equal(effective("alice", true, false, "alice=lrs"), rights_of("lrsa"));
	assert_int_equal(effective("alice", true, false, "-alice=xte"), rights_of("lrswipkan"));
	assert_int_equal(effective("alice", true, false, "-alice=lrswipkxtean"), rights_of("la"));
	/* What is taken from everybody else is not taken from him. */
	assert_int_equal(effective("alice", true, false, "-anyone=lrswipkxtean"), ACL_ALL);
}

static void an_administrator_can_help_himself(void **state)
{
	(void)state;
	assert_int_equal(effective("root", false, true, ""), rights_of("lkxa"));
	assert_int_equal(effective("root", false, true, "root=r -root=a"), rights_of("lrkxa"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights_are_read_and_told_with_their_obsolete_names),
		cmocka_unit_test(identifiers_have_one_form),
		cmocka_unit_test(the_longest_identifier_fits),
		cmocka_unit_test(rights_are_what_entries_give_less_what_they_take),
		cmocka_unit_test(an_owner_cannot_lock_himself_out),
		cmocka_unit_test(an_administrator_can_help_himself),
	};

	return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
