#include "backup/backup_history.h"

#include "base/mem.h"

#include <stdlib.h>

struct account_history {
	const char *name;
	struct backup_moment *moments; /* the oldest first */
	size_t count, room;
};

static bool place_equal(const struct backup_place *a, const struct backup_place *b)
{
	return id128_equal(a->pack, b->pack) && a->offset == b->offset;
}

static struct account_history *account_open(struct backup_history *history, const char *name)
{
	struct account_history *account = map_get(&history->by_name, bytes_of_string(name));

	if (account != NULL)
		return account;
	account = arena_zalloc(history->arena, sizeof(*account));
	account->name = arena_string(history->arena, bytes_of_string(name));
	map_put(&history->by_name, bytes_of_string(account->name), account);
	mem_grow((void **)&history->accounts, &history->room, history->account_count + 1,
		sizeof(struct account_history *));
	history->accounts[history->account_count++] = account;
	return account;
}

void backup_history_add(struct backup_history *history, const struct backup_point *point)
{
	const char *name;

	if (history->arena == NULL)
		history->arena = arena_new();
	name = arena_string(history->arena, bytes_of_string(point->name));
	for (size_t i = 0; i < point->account_count; i++) {
		const struct backup_account *row = &point->accounts[i];
		struct account_history *account = account_open(history, row->name);

		if (account->count > 0 &&
			place_equal(&account->moments[account->count - 1].account.part, &row->part))
			continue;
		mem_grow((void **)&account->moments, &account->room, account->count + 1,
			sizeof(*account->moments));
		account->moments[account->count++] = (struct backup_moment){ *row, name };
	}
}

void backup_history_deinit(struct backup_history *history)
{
	for (size_t i = 0; i < history->account_count; i++)
		free(history->accounts[i]->moments);
	free(history->accounts);
	map_deinit(&history->by_name);
	arena_free(&history->arena);
	*history = (struct backup_history){ 0 };
}

/* ---- one chain of parts ---- */

struct walk {
	struct backup_repository *repository;
	const struct backup_history_functions *functions;
	void *context;
	struct backup_place *places; /* of the chain's parts, the latest first */
	size_t count, room;
};

static int place_note(void *context, const struct backup_place *place,
	const struct backup_part *part, struct error *error)
{
	struct walk *walk = context;

	(void)part;
	(void)error;
	mem_grow((void **)&walk->places, &walk->room, walk->count + 1, sizeof(*walk->places));
	walk->places[walk->count++] = *place;
	return 0;
}

/* Whether the moment's records are among the parts that were found; *index_r: where. */
static bool is_in_chain(
	const struct walk *walk, const struct backup_moment *moment, size_t *index_r)
{
	for (size_t i = 0; i < walk->count; i++)
		if (place_equal(&walk->places[i], &moment->account.part)) {
			*index_r = i;
			return true;
		}
	return false;
}

static int part_tell(struct walk *walk, const struct backup_account *account,
	const struct backup_place *place, struct error *error)
{
	struct arena *arena = arena_new();
	struct backup_part part = { 0 };
	int rc = backup_part_read(walk->repository, account, place, arena, &part, error);

	if (rc == 0)
		rc = walk->functions->part(walk->context, place, &part, error);
	change_set_deinit(&part.records);
	arena_free(&arena);
	return rc;
}

/*
 * The chain that the moment at `last` ends, with all moments before it that lie in it; returns how
 * many moments that were.
 */
static int chain_tell(
	struct walk *walk, const struct account_history *account, size_t last, struct error *error)
{
	size_t first = last, at, ignored;
	int rc = 0;

	while (first > 0 && is_in_chain(walk, &account->moments[first - 1], &ignored))
		first--;
	walk->functions->begin(walk->context);
	at = walk->count;
	for (size_t i = first; i <= last && rc == 0; i++) {
		size_t end = 0;

		(void)is_in_chain(walk, &account->moments[i], &end);
		while (at > end && rc == 0)
			rc = part_tell(
				walk, &account->moments[i].account, &walk->places[--at], error);
		if (rc == 0)
			rc = walk->functions->moment(walk->context, &account->moments[i], error);
	}
	return rc < 0 ? rc : (int)(last - first + 1);
}

static int account_tell(
	struct walk *walk, const struct account_history *account, struct error *error)
{
	size_t left = account->count;

	while (left > 0) {
		const struct backup_moment *moment = &account->moments[left - 1];
		int rc;

		walk->count = 0;
		rc = backup_each_part(walk->repository, &moment->account, place_note, walk, error);
		if (rc == 0)
			rc = chain_tell(walk, account, left - 1, error);
		if (rc == ERR_CORRUPT) {
			struct error own = *error;

			*error = (struct error){ 0 };
			rc = walk->functions->broken(walk->context, moment, &own);
			if (rc < 0)
				*error = own;
			else
				rc = 1;
		}
		if (rc < 0)
			return rc;
		left -= (size_t)rc;
	}
	return 0;
}

int backup_history_each(struct backup_repository *repository, const struct backup_history *history,
	const char *name, const struct backup_history_functions *functions, void *context,
	struct error *error)
{
	struct walk walk = { .repository = repository, .functions = functions, .context = context };
	int rc = 0;

	for (size_t i = 0; i < history->account_count && rc == 0; i++)
		if (name == NULL || strcmp(history->accounts[i]->name, name) == 0)
			rc = account_tell(&walk, history->accounts[i], error);
	free(walk.places);
	return rc;
}
