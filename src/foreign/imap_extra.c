#include "foreign/imap_extra.h"

#include "foreign/rights.h"

struct taking {
	struct source_extras *extras;
	struct arena *arena;
	struct bytes owner;
};

static int rights_take(void *context, const struct answer *answer)
{
	struct taking *taking = context;

	if (answer->kind != ANSWER_ACL)
		return 0;
	taking->extras->of[IMPORT_RIGHTS].is_told = true;
	for (size_t i = 0; i < answer->pairs.count; i++) {
		struct rights_entry entry;

		if (rights_of_acl(answer->pairs.list[i].name, answer->pairs.list[i].value,
			    taking->owner, taking->arena, &entry))
			source_extra_add(taking->extras, IMPORT_RIGHTS, taking->arena,
				entry.identifier, arena_copy(taking->arena, entry.letters));
	}
	return 0;
}

/* What a server says of itself, or LIST has told already. */
static bool is_servers_own(struct bytes entry)
{
	static const char *const prefixes[] = { "/shared/vendor/cmu/", "/private/vendor/cmu/",
		"/shared/vendor/vendor.dovecot/", "/private/vendor/vendor.dovecot/",
		"/private/specialuse", "/shared/specialuse" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		size_t len = strlen(prefixes[i]);

		if (entry.len >= len &&
			bytes_equal_string_nocase(bytes_of(entry.ptr, len), prefixes[i]))
			return true;
	}
	return false;
}

static int metadata_take(void *context, const struct answer *answer)
{
	struct taking *taking = context;

	if (answer->kind != ANSWER_METADATA || answer->pairs.mailbox.len == 0)
		return 0;
	for (size_t i = 0; i < answer->pairs.count; i++)
		if (!is_servers_own(answer->pairs.list[i].name))
			source_extra_add(taking->extras, IMPORT_METADATA, taking->arena,
				arena_copy(taking->arena, answer->pairs.list[i].name),
				arena_copy(taking->arena, answer->pairs.list[i].value));
	return 0;
}

/* The first root only: others are of more than this account. */
static int limits_take(void *context, const struct answer *answer)
{
	struct taking *taking = context;

	if (answer->kind != ANSWER_QUOTA || taking->extras->of[IMPORT_LIMITS].is_told)
		return 0;
	taking->extras->of[IMPORT_LIMITS].is_told = true;
	for (size_t i = 0; i < answer->pairs.count; i++)
		source_extra_add(taking->extras, IMPORT_LIMITS, taking->arena,
			arena_copy(taking->arena, answer->pairs.list[i].name),
			arena_copy(taking->arena, answer->pairs.list[i].value));
	return 0;
}

/* The command with the mailbox's name in it. 1: the server refuses it. */
static int ask(struct imap_link *link, const char *command, struct bytes place, const char *rest,
	imap_link_function *function, struct taking *taking, struct error *error)
{
	struct buffer text = { 0 };
	int rc;

	buffer_append_string(&text, command);
	rc = imap_link_quote(place, &text);
	buffer_append_string(&text, rest);
	if (rc == 0)
		rc = imap_link_run(link, buffer_string(&text), function, taking, error);
	buffer_deinit(&text);
	if (rc != ERR_REFUSED)
		return rc;
	*error = (struct error){ 0 };
	return 1;
}

int imap_extra_of_mailbox(struct imap_link *link, struct bytes place, struct bytes owner,
	struct arena *arena, struct source_extras *extras_r, struct error *error)
{
	struct taking taking = { extras_r, arena, owner };
	int rc = 0;

	if (imap_link_offers(link, "ACL"))
		rc = ask(link, "GETACL ", place, "", rights_take, &taking, error);
	if (rc < 0 || !imap_link_offers(link, "METADATA"))
		return rc < 0 ? rc : 0;
	rc = ask(link, "GETMETADATA (DEPTH infinity) ", place, " (/private /shared)", metadata_take,
		&taking, error);
	/* A mailbox without entries is told with none. */
	if (rc == 0)
		extras_r->of[IMPORT_METADATA].is_told = true;
	return rc < 0 ? rc : 0;
}

int imap_extra_of_account(struct imap_link *link, struct arena *arena,
	struct source_extras *extras_r, struct error *error)
{
	struct taking taking = { extras_r, arena, { 0 } };
	int rc = 0;

	if (imap_link_offers(link, "QUOTA"))
		rc = ask(link, "GETQUOTAROOT ", BYTES_LITERAL("INBOX"), "", limits_take, &taking,
			error);
	return rc < 0 ? rc : 0;
}
