#include "sync/bundle_private.h"

#include "base/clock.h"
#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

struct bundle_create {
	struct mail *mail;
	struct bundle_create_options options;
	struct bundle_writer *writer;
	struct arena *arena; /* of the points */
	struct map points;   /* account name -> struct bundle_account, as far as it led */
	uint32_t account;    /* the last one that was begun */
	bool is_within;      /* its changes are being put */
	struct bundle_content content;
	struct bundle_summary summary;
};

/* ---- the point ---- */

/* What a bundle says of an account, as what the next one begins with. */
static void point_of(
	const struct bundle_account *account, bool is_reply, struct bundle_account *point_r)
{
	*point_r = (struct bundle_account){ .has_from = true, .from = account->digest };
	point_r->since = is_reply ? account->common : account->sequence;
	point_r->is_merged = is_reply && account->is_changed;
	if (is_reply && account->sequence == 0)
		*point_r = (struct bundle_account){ 0 }; /* the account is not there */
}

static int point_add(struct bundle_create *create, const struct bundle_about *about,
	struct bytes text, struct error *error)
{
	struct bundle_account account;
	struct bundle_account *point = arena_alloc(create->arena, sizeof(*point));
	int rc = bundle_account_read(text, &account, error);

	if (rc < 0)
		return rc;
	point_of(&account, about->is_reply, point);
	map_put(&create->points, arena_copy(create->arena, bytes_of_string(account.name)), point);
	return 0;
}

static int point_about(struct bundle_create *create, struct bytes text, struct bundle_about *about,
	struct error *error)
{
	uint64_t node = mail_node(create->mail);
	int rc = bundle_about_read(text, about, error);

	if (rc == 0 && (about->is_reply ? about->peer : about->node) != node)
		rc = error_set(error, ERR_INVALID,
			"a point is a bundle that this node made, or a reply to one");
	return rc;
}

static int points_read(struct bundle_create *create, struct error *error)
{
	struct bundle_reader *reader = NULL;
	struct bundle_about about = { 0 };
	int rc = bundle_reader_open(create->options.since, &create->options.secret, &reader, error);

	while (rc == 0) {
		struct bytes text;
		int type;

		rc = bundle_reader_next(reader, &type, &text, error);
		if (rc == 0 && type == BUNDLE_ABOUT)
			rc = point_about(create, text, &about, error);
		else if (rc == 0 && type == BUNDLE_ACCOUNT)
			rc = point_add(create, &about, text, error);
	}
	bundle_reader_free(&reader);
	if (rc == ERR_NOT_FOUND && error->code == 0)
		return about.node != 0 ? 0 : error_set(error, ERR_INVALID, "an empty bundle");
	return error_prefix(error, "%s", create->options.since);
}

/* ---- the steps ---- */

static int about_put(struct bundle_create *create, struct error *error)
{
	struct bundle_about *about = &create->summary.about;
	struct buffer text = { 0 };
	int rc;

	about->node = mail_node(create->mail);
	about->name = *mail_node_name(create->mail);
	about->created_ms = clock_now_ms(mail_clock(create->mail));
	bundle_about_write(about, &text);
	rc = bundle_writer_put(create->writer, BUNDLE_ABOUT, buffer_bytes(&text), error);
	buffer_deinit(&text);
	return rc;
}

int bundle_create_new(struct mail *mail, const struct bundle_create_options *options,
	struct bundle_create **create_r, struct error *error)
{
	struct bundle_create *create = mem_zalloc(sizeof(*create));
	int rc = 0;

	create->mail = mail;
	create->options = *options;
	create->arena = arena_new();
	if (options->since != NULL)
		rc = points_read(create, error);
	if (rc == 0)
		rc = bundle_writer_open(options->path, &options->secret, &create->writer, error);
	if (rc == 0)
		rc = about_put(create, error);
	if (rc < 0)
		bundle_create_free(&create);
	else
		*create_r = create;
	return rc;
}

static int finish(struct bundle_create *create, struct error *error)
{
	struct buffer text = { 0 };
	int rc;

	buffer_printf(
		&text, "END %%(ACCOUNTS %llu)", (unsigned long long)create->summary.account_count);
	rc = bundle_writer_finish(create->writer, buffer_bytes(&text), error);
	buffer_deinit(&text);
	return rc < 0 ? rc : BUNDLE_DONE;
}

static int account_begin(struct bundle_create *create, const char *name, struct error *error)
{
	const struct bundle_account *point = map_get(&create->points, bytes_of_string(name));
	struct bundle_account account = { 0 };
	struct buffer text = { 0 };
	int rc;

	if (point != NULL)
		account = *point;
	memcpy(account.name, name, strlen(name) + 1);
	rc = bundle_content_begin(&create->content, create->mail, &account, error);
	if (rc < 0)
		return rc;
	create->is_within = true;
	create->summary.account_count++;
	create->summary.changed_count += account.is_changed;
	bundle_account_write(&account, &text);
	rc = bundle_writer_put(create->writer, BUNDLE_ACCOUNT, buffer_bytes(&text), error);
	buffer_deinit(&text);
	return rc < 0 ? rc : BUNDLE_MORE;
}

static int account_next_step(struct bundle_create *create, struct error *error)
{
	struct account_header header;
	struct kv_txn *kv = NULL;
	int rc = mail_read_begin(create->mail, 0, &kv);

	if (rc == 0)
		rc = account_next(kv, create->account, &header);
	mail_read_end(&kv);
	if (rc == ERR_NOT_FOUND) {
		if (create->options.account != NULL && create->summary.account_count == 0)
			return error_set(error, rc, "no account %s", create->options.account);
		return finish(create, error);
	}
	if (rc < 0)
		return error_set(error, rc, "the accounts cannot be read: %s", error_name(rc));
	create->account = header.number;
	if (create->options.account != NULL && strcmp(create->options.account, header.name) != 0)
		return BUNDLE_MORE;
	if (header.hold == ACCOUNT_AWAY)
		return create->options.account == NULL
			       ? BUNDLE_MORE
			       : error_set(error, ERR_REFUSED, "%s was moved away from here",
					 header.name);
	return account_begin(create, header.name, error);
}

int bundle_create_step(struct bundle_create *create, struct error *error)
{
	int rc;

	if (!create->is_within)
		return account_next_step(create, error);
	rc = bundle_content_step(
		&create->content, create->mail, create->writer, &create->summary, error);
	if (rc != BUNDLE_DONE)
		return rc;
	bundle_content_end(&create->content);
	create->is_within = false;
	return BUNDLE_MORE;
}

void bundle_create_free(struct bundle_create **create)
{
	if (*create == NULL)
		return;
	if ((*create)->is_within)
		bundle_content_end(&(*create)->content);
	bundle_writer_free(&(*create)->writer);
	map_deinit(&(*create)->points);
	arena_free(&(*create)->arena);
	free(*create);
	*create = NULL;
}

void bundle_create_count(const struct bundle_create *create, struct bundle_summary *summary_r)
{
	*summary_r = create->summary;
	summary_r->size = bundle_writer_size(create->writer);
}
