#include "foreign/imap_source.h"

#include "base/mem.h"
#include "foreign/imap_extra.h"
#include "foreign/maildir_files.h"
#include "imap/imap_mailbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ITEMS "(UID FLAGS INTERNALDATE RFC822.SIZE)"
#define GONE_COUNT_MAX 200000 /* UIDs told as vanished; more, and all is read anew */

struct imap_source {
	struct source source;
	struct imap_link_options options;
	char *host, *user, *login, *password, *token, *ca_path, *name;
	struct imap_link *link;
	bool has_qresync, has_condstore;
};

static struct imap_source *imap_of(struct source *source)
{
	return (struct imap_source *)source;
}

static int imap_open(struct source *source, struct error *error)
{
	struct imap_source *imap = imap_of(source);
	int rc = imap_link_open(&imap->options, &imap->link, error);

	if (rc < 0)
		return rc;
	imap->has_condstore = imap_link_offers(imap->link, "CONDSTORE") ||
			      imap_link_offers(imap->link, "QRESYNC");
	if (imap_link_offers(imap->link, "QRESYNC") && imap_link_offers(imap->link, "ENABLE"))
		imap->has_qresync =
			imap_link_run(imap->link, "ENABLE QRESYNC", NULL, NULL, error) == 0;
	*error = (struct error){ 0 };
	return 0;
}

static void secret_free(char **text)
{
	if (*text != NULL)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

static void imap_free(struct source *source)
{
	struct imap_source *imap = imap_of(source);

	imap_link_close(&imap->link);
	secret_free(&imap->password);
	secret_free(&imap->token);
	free(imap->host);
	free(imap->user);
	free(imap->login);
	free(imap->ca_path);
	free(imap->name);
	free(imap);
}

/* ---- mailboxes ---- */

struct listing {
	struct arena *arena;
	struct source_mailbox *mailboxes;
	size_t count, room;
	struct answer_namespaces namespaces;
	struct map at; /* by place: index + 1 */
};

static int namespaces_take(void *context, const struct answer *answer)
{
	struct listing *listing = context;
	struct answer_namespaces *all = &listing->namespaces;

	if (answer->kind != ANSWER_NAMESPACE)
		return 0;
	*all = answer->namespaces;
	all->personal = arena_copy(listing->arena, all->personal);
	for (size_t i = 0; i < all->foreign_count; i++)
		all->foreign[i] = arena_copy(listing->arena, all->foreign[i]);
	return 0;
}

static bool starts_with_nocase(struct bytes text, struct bytes prefix)
{
	return text.len >= prefix.len && bytes_equal_nocase(bytes_of(text.ptr, prefix.len), prefix);
}

/* Whether it belongs to others, or is the root of theirs. */
static bool is_foreign(const struct listing *listing, struct bytes name)
{
	for (size_t i = 0; i < listing->namespaces.foreign_count; i++) {
		struct bytes prefix = listing->namespaces.foreign[i];

		if (prefix.len == 0)
			continue;
		if (starts_with_nocase(name, prefix))
			return true;
		prefix.len--; /* its separator */
		if (bytes_equal_nocase(name, prefix))
			return true;
	}
	return false;
}

static struct bytes special_use_of(struct bytes attributes)
{
	struct bytes use;

	while (attributes.len > 0) {
		struct bytes word = bytes_take(&attributes, bytes_find(attributes, ' '));

		if (imap_special_use_find(word, &use))
			return use;
		if (attributes.len > 0)
			bytes_skip(&attributes, 1);
	}
	return bytes_of(NULL, 0);
}

static struct source_mailbox *mailbox_at(struct listing *listing, struct bytes place)
{
	struct bytes *index = map_get(&listing->at, place);

	return index != NULL ? &listing->mailboxes[index->len] : NULL;
}

static struct source_mailbox *mailbox_add(struct listing *listing, struct bytes name, int separator)
{
	struct bytes place = arena_copy(listing->arena, name), rest = place;
	struct bytes *index = arena_zalloc(listing->arena, sizeof(*index));

	if (listing->namespaces.personal.len > 0 && rest.len > listing->namespaces.personal.len &&
		starts_with_nocase(rest, listing->namespaces.personal))
		bytes_skip(&rest, listing->namespaces.personal.len);
	mem_grow((void **)&listing->mailboxes, &listing->room, listing->count + 1,
		sizeof(*listing->mailboxes));
	listing->mailboxes[listing->count] = (struct source_mailbox){
		.name = maildir_folder_decode(rest, separator, listing->arena), .place = place
	};
	index->len = listing->count;
	map_put(&listing->at, place, index);
	return &listing->mailboxes[listing->count++];
}

static int mailbox_take(void *context, const struct answer *answer)
{
	struct listing *listing = context;
	const struct answer_list *list = &answer->list;
	struct source_mailbox *mailbox;

	if (answer->kind != ANSWER_LIST || is_foreign(listing, list->name))
		return 0;
	if (listing->count == SOURCE_MAILBOX_COUNT_MAX)
		return ERR_TOO_LARGE;
	mailbox = mailbox_at(listing, list->name);
	if (mailbox == NULL)
		mailbox = mailbox_add(listing, list->name, list->separator);
	if (list->is_lsub) {
		/* Levels above what is subscribed are told, too. */
		if (!answer_has_word(list->attributes, "\\Noselect"))
			mailbox->is_subscribed = true;
		return 0;
	}
	mailbox->has_mail = !answer_has_word(list->attributes, "\\Noselect") &&
			    !answer_has_word(list->attributes, "\\NonExistent");
	mailbox->special_use = special_use_of(list->attributes);
	return 0;
}

static int imap_list(
	struct source *source, struct arena *arena, struct source_list *list_r, struct error *error)
{
	struct imap_source *imap = imap_of(source);
	struct listing listing = { .arena = arena };
	bool has_uses = imap_link_offers(imap->link, "SPECIAL-USE") &&
			imap_link_offers(imap->link, "LIST-EXTENDED");
	int rc = 0;

	if (imap_link_offers(imap->link, "NAMESPACE"))
		rc = imap_link_run(imap->link, "NAMESPACE", namespaces_take, &listing, error);
	if (rc == 0)
		rc = imap_link_run(imap->link,
			has_uses ? "LIST \"\" \"*\" RETURN (SPECIAL-USE)" : "LIST \"\" \"*\"",
			mailbox_take, &listing, error);
	if (rc == 0)
		rc = imap_link_run(imap->link, "LSUB \"\" \"*\"", mailbox_take, &listing, error);
	if (rc == 0 && listing.count == 0)
		rc = error_set(error, ERR_INVALID, "the server lists no mailboxes");
	if (rc == 0) {
		list_r->mailboxes = arena_alloc(arena, listing.count * sizeof(*listing.mailboxes));
		memcpy(list_r->mailboxes, listing.mailboxes,
			listing.count * sizeof(*listing.mailboxes));
		list_r->count = listing.count;
	}
	map_deinit(&listing.at);
	free(listing.mailboxes);
	return rc;
}

/* ---- what is in one ---- */

struct reading {
	struct arena *arena;
	struct source_point point;
	uint32_t exists;
	struct source_message *messages;
	size_t count, room;
	uint64_t *numbers; /* vanished, or all that there are */
	size_t number_count, number_room;
	int number_rc;
};

static int state_take(void *context, const struct answer *answer)
{
	struct reading *reading = context;
	uint64_t number;

	if (answer->kind == ANSWER_EXISTS)
		reading->exists = answer->number;
	if (answer->kind != ANSWER_STATUS)
		return 0;
	if (answer_code_number(answer->code, "UIDVALIDITY", &number) && number <= UINT32_MAX)
		reading->point.uidvalidity = (uint32_t)number;
	if (answer_code_number(answer->code, "UIDNEXT", &number) && number <= UINT32_MAX)
		reading->point.uidnext = (uint32_t)number;
	if (answer_code_number(answer->code, "HIGHESTMODSEQ", &number))
		reading->point.highestmodseq = number;
	return 0;
}

static void number_take(void *context, uint32_t number)
{
	struct reading *reading = context;

	mem_grow((void **)&reading->numbers, &reading->number_room, reading->number_count + 1,
		sizeof(*reading->numbers));
	reading->numbers[reading->number_count++] = number;
}

static void message_take(struct reading *reading, const struct answer_fetch *fetch)
{
	struct source_message *message;

	mem_grow((void **)&reading->messages, &reading->room, reading->count + 1,
		sizeof(*reading->messages));
	message = &reading->messages[reading->count++];
	*message = (struct source_message){ .key = fetch->uid,
		.uid = fetch->uid,
		.date = fetch->date,
		.zone = fetch->zone,
		.size = fetch->size,
		.flag_count = fetch->flag_count };
	message->flags =
		arena_alloc(reading->arena, (fetch->flag_count + 1) * sizeof(struct bytes));
	for (size_t i = 0; i < fetch->flag_count; i++)
		message->flags[i] = arena_copy(reading->arena, fetch->flags[i]);
}

static int messages_take(void *context, const struct answer *answer)
{
	struct reading *reading = context;

	if (answer->kind == ANSWER_VANISHED)
		reading->number_rc =
			answer_numbers(answer->text, GONE_COUNT_MAX, number_take, reading);
	if (answer->kind == ANSWER_SEARCH)
		reading->number_rc = answer_numbers(
			answer->text, SOURCE_MESSAGE_COUNT_MAX, number_take, reading);
	/* What is told unasked lacks something; the next run hears of it. */
	if (answer->kind != ANSWER_FETCH || answer->fetch.uid == 0 || !answer->fetch.has_flags ||
		!answer->fetch.has_date)
		return 0;
	if (reading->count == SOURCE_MESSAGE_COUNT_MAX)
		return ERR_TOO_LARGE;
	message_take(reading, &answer->fetch);
	return 0;
}

static int examine(struct imap_source *imap, const struct source_mailbox *mailbox,
	struct reading *reading, struct error *error)
{
	struct buffer command = { 0 };
	int rc;

	buffer_append_string(&command, "EXAMINE ");
	rc = imap_link_quote(mailbox->place, &command);
	if (imap->has_condstore && !imap->has_qresync)
		buffer_append_string(&command, " (CONDSTORE)");
	if (rc == 0)
		rc = imap_link_run(imap->link, buffer_string(&command), state_take, reading, error);
	buffer_deinit(&command);
	if (rc == 0 && reading->point.uidvalidity == 0)
		rc = error_set(error, ERR_INVALID, "the server tells no UIDVALIDITY");
	return rc;
}

static int order(const void *left, const void *right)
{
	const struct source_message *a = left, *b = right;

	return a->uid < b->uid ? -1 : a->uid > b->uid;
}

static void state_make(struct reading *reading, struct source_state *state_r)
{
	size_t count = 0;

	if (reading->count > 1)
		qsort(reading->messages, reading->count, sizeof(*reading->messages), order);
	/* Each once. */
	for (size_t i = 0; i < reading->count; i++)
		if (count == 0 || reading->messages[count - 1].uid != reading->messages[i].uid)
			reading->messages[count++] = reading->messages[i];
	state_r->point = reading->point;
	state_r->messages = arena_alloc(reading->arena, (count + 1) * sizeof(*reading->messages));
	if (count > 0)
		memcpy(state_r->messages, reading->messages, count * sizeof(*reading->messages));
	state_r->count = count;
	if (count > 0 && state_r->point.uidnext <= state_r->messages[count - 1].uid)
		state_r->point.uidnext = state_r->messages[count - 1].uid + 1;
}

static uint64_t *numbers_copy(const struct reading *reading)
{
	uint64_t *copy =
		arena_alloc(reading->arena, (reading->number_count + 1) * sizeof(uint64_t));

	if (reading->number_count > 0)
		memcpy(copy, reading->numbers, reading->number_count * sizeof(uint64_t));
	return copy;
}

/* 1: it did not work out, read all. */
static int difference_read(struct imap_source *imap, const struct source_point *since,
	struct reading *reading, struct source_state *state_r, struct error *error)
{
	char command[160];
	int rc = 0;

	if (since->uidnext == 0 || since->highestmodseq == 0 ||
		since->uidvalidity != reading->point.uidvalidity ||
		reading->point.highestmodseq == 0)
		return 1;
	snprintf(command, sizeof(command), "UID FETCH 1:* " ITEMS " (CHANGEDSINCE %" PRIu64 "%s)",
		since->highestmodseq, imap->has_qresync ? " VANISHED" : "");
	if (since->highestmodseq != reading->point.highestmodseq ||
		since->uidnext != reading->point.uidnext)
		rc = imap_link_run(imap->link, command, messages_take, reading, error);
	if (rc == 0 && !imap->has_qresync)
		rc = imap_link_run(imap->link, "UID SEARCH ALL", messages_take, reading, error);
	if (rc < 0)
		return rc;
	if (reading->number_rc < 0) {
		reading->count = reading->number_count = 0;
		return 1;
	}
	state_make(reading, state_r);
	state_r->is_difference = true;
	if (imap->has_qresync) {
		state_r->gone = numbers_copy(reading);
		state_r->gone_count = reading->number_count;
	} else {
		state_r->keys = numbers_copy(reading);
		state_r->key_count = reading->number_count;
	}
	return 0;
}

static int imap_read(struct source *source, const struct source_mailbox *mailbox,
	const struct source_point *since, struct arena *arena, struct source_state *state_r,
	struct error *error)
{
	struct imap_source *imap = imap_of(source);
	struct reading reading = { .arena = arena };
	int rc = examine(imap, mailbox, &reading, error);

	*state_r = (struct source_state){ 0 };
	if (rc == 0)
		rc = difference_read(imap, since, &reading, state_r, error);
	if (rc == 1) {
		rc = reading.exists == 0 ? 0
					 : imap_link_run(imap->link, "UID FETCH 1:* " ITEMS,
						   messages_take, &reading, error);
		state_make(&reading, state_r);
	}
	free(reading.messages);
	free(reading.numbers);
	return rc;
}

/* ---- bodies ---- */

struct fetching {
	const struct source_message *messages;
	size_t count;
	source_body_function *function;
	void *context;
};

static int body_take(void *context, const struct answer *answer)
{
	struct fetching *fetching = context;
	const struct answer_fetch *fetch = &answer->fetch;

	if (answer->kind != ANSWER_FETCH || !fetch->has_body)
		return 0;
	for (size_t i = 0; i < fetching->count; i++)
		if (fetching->messages[i].uid == fetch->uid &&
			fetch->body.len <= SOURCE_BODY_SIZE_MAX)
			return fetching->function(fetching->context, i, fetch->body);
	return 0;
}

static int imap_bodies(struct source *source, const struct source_message *messages, size_t count,
	source_body_function *function, void *context, struct error *error)
{
	struct imap_source *imap = imap_of(source);
	struct fetching fetching = { messages, count, function, context };
	struct buffer command = { 0 };
	size_t wanted = 0;
	int rc = 0;

	buffer_append_string(&command, "UID FETCH ");
	for (size_t i = 0; i < count; i++)
		if (messages[i].size <= SOURCE_BODY_SIZE_MAX)
			buffer_printf(&command, wanted++ == 0 ? "%" PRIu32 : ",%" PRIu32,
				messages[i].uid);
	buffer_append_string(&command, " (UID BODY.PEEK[])");
	if (wanted > 0)
		rc = imap_link_run(
			imap->link, buffer_string(&command), body_take, &fetching, error);
	buffer_deinit(&command);
	return rc;
}

static int imap_extras(struct source *source, const struct source_mailbox *mailbox,
	struct arena *arena, struct source_extras *extras_r, struct error *error)
{
	struct imap_source *imap = imap_of(source);

	if (mailbox == NULL)
		return imap_extra_of_account(imap->link, arena, extras_r, error);
	return imap_extra_of_mailbox(
		imap->link, mailbox->place, bytes_of_string(imap->user), arena, extras_r, error);
}

static const struct source_class imap_class = {
	.keys_are_uids = true,
	.open = imap_open,
	.list = imap_list,
	.read = imap_read,
	.bodies = imap_bodies,
	.extras = imap_extras,
	.free = imap_free,
};

static char *copy_of(const char *text)
{
	return text != NULL ? mem_strdup(text) : NULL;
}

struct source *imap_source_new(const struct imap_link_options *options)
{
	struct imap_source *imap = mem_zalloc(sizeof(*imap));
	struct buffer name = { 0 };

	buffer_printf(&name, "imap:%s@%s", options->user, options->host);
	imap->source.class = &imap_class;
	imap->options = *options;
	imap->options.host = imap->host = copy_of(options->host);
	imap->options.user = imap->user = copy_of(options->user);
	imap->options.login = imap->login = copy_of(options->login);
	imap->options.password = imap->password = copy_of(options->password);
	imap->options.token = imap->token = copy_of(options->token);
	imap->options.tls_options.ca_path = imap->ca_path = copy_of(options->tls_options.ca_path);
	imap->name = copy_of(buffer_string(&name));
	imap->source.name = imap->name;
	buffer_deinit(&name);
	return &imap->source;
}
