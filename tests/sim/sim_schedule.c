#include "sim_guest.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DAY_MS (24 * 3600 * 1000)
#define SKEW_SPREAD_MS                                                                             \
	(DAY_MS - 3600 * 1000) /* nodes' clocks differ by less than what is refused */

void sim_fail(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (sim->has_failed)
		return;
	sim->has_failed = true;
	va_start(args, format);
	vsnprintf(sim->failure, sizeof(sim->failure), format, args);
	va_end(args);
	sim_trace(sim, "FAILED: %s", sim->failure);
}

void sim_trace(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (!sim->is_trace)
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

bool sim_chance(struct sim *sim, unsigned percent)
{
	return random_below(&sim->random, 100) < percent;
}

size_t sim_below(struct sim *sim, size_t limit)
{
	return (size_t)random_below(&sim->random, limit);
}

/* ---- beginning ---- */

static void add_pair(struct sim *sim, size_t a, size_t b)
{
	assert(sim->pair_count + 2 <= SIM_LINK_COUNT_MAX);
	sim->pairs[sim->pair_count].from = a;
	sim->pairs[sim->pair_count++].to = b;
	sim->pairs[sim->pair_count].from = b;
	sim->pairs[sim->pair_count++].to = a;
}

static void choose_topology(struct sim *sim)
{
	static const char *const names[] = { "mesh", "chain", "star", "ring" };
	size_t kind = sim_below(sim, 4);

	sim->topology = names[kind];
	for (size_t a = 0; a < sim->node_count; a++)
		for (size_t b = a + 1; b < sim->node_count; b++)
			if (kind == 0 || (kind == 1 && b == a + 1) || (kind == 2 && a == 0) ||
				(kind == 3 && (b == a + 1 || (a == 0 && b == sim->node_count - 1))))
				add_pair(sim, a, b);
}

/* One filter for all pairs that have any, both directions alike, as channels that are set up for
 * the same partial copies. */
static void choose_filters(struct sim *sim)
{
	static const char *const patterns[] = { "INBOX", "Work, Work/*", "!Junk, !Archive",
		"INBOX, Archive" };
	struct sim_filter filter = { patterns[sim_below(sim, COUNT(patterns))], NULL };

	/* Who may see a part only is to hear of no other elsewhere. */
	if (sim->node_count == 2 && sim_chance(sim, 30))
		filter.allowed = patterns[sim_below(sim, COUNT(patterns))];
	for (size_t i = 0; i + 1 < sim->pair_count; i += 2)
		if (sim_chance(sim, 75))
			sim->pairs[i].filter = sim->pairs[i + 1].filter = filter;
}

/* Any node's clock may be up to a day wrong, but no two differ by more than what is refused. */
void set_clock(struct sim *sim, struct sim_node *node)
{
	node->clock.skew_ms = sim->earliest_skew_ms + (int64_t)sim_below(sim, SKEW_SPREAD_MS);
	if (sim_chance(sim, 50) && sim->earliest_skew_ms + SKEW_SPREAD_MS > 0)
		node->clock.skew_ms = 0;
}

static void begin(struct sim *sim, uint64_t seed, size_t nodes)
{
	static const unsigned race_percents[] = { 0, 0, 0, 0, 0, 5, 40 };
	static const unsigned tear_percents[] = { 0, 0, 0, 20 };
	static const unsigned forward_percents[] = { 0, 0, 30, 80 };

	*sim = (struct sim){ .seed = seed,
		.random = { seed },
		.is_one_writer = sim->is_one_writer,
		.is_filtered = sim->is_filtered,
		.is_guests = sim->is_guests,
		.is_trace = sim->is_trace };
	sim->now_ms = SIM_START_MS;
	sim->node_count = nodes > 0 ? nodes : 2 + sim_below(sim, 4);
	if (sim->is_guests && nodes == 0)
		sim->node_count = 1 + sim_below(sim, 2);
	sim->ledger = ledger_new();
	sim->earliest_skew_ms = -(int64_t)sim_below(sim, DAY_MS);
	choose_topology(sim);
	if (sim->is_filtered)
		choose_filters(sim);
	sim->race_percent = race_percents[sim_below(sim, COUNT(race_percents))];
	sim->tear_percent = tear_percents[sim_below(sim, COUNT(tear_percents))];
	sim->forward_percent = forward_percents[sim_below(sim, COUNT(forward_percents))];
	sim->emphasis = client_emphasis(sim);
	if (sim->is_one_writer) { /* exchanges in both directions, while one node never rests */
		sim->race_percent = 30 + (unsigned)sim_below(sim, 60);
		sim->forward_percent = 0;
	}
	sim_trace(sim, "%zu nodes, %s", sim->node_count, sim->topology);
	for (size_t i = 0; i < sim->node_count; i++) {
		struct sim_node *node = &sim->nodes[i];

		set_clock(sim, node);
		node_open(sim, node);
		observe(sim, node, false);
	}
	if (sim->is_guests)
		sim->guests = guests_new(sim);
}

static void end(struct sim *sim)
{
	for (size_t i = 0; i < sim->node_count && sim->has_failed && sim->is_trace; i++)
		node_tell(sim, &sim->nodes[i]);
	if (sim->has_failed && sim->is_trace && sim->guests != NULL)
		guests_tell(sim);
	for (size_t i = 0; i < sim->pair_count; i++)
		link_abort(&sim->links[i]);
	for (size_t i = 0; i < sim->late_count; i++)
		buffer_deinit(&sim->late[i].bytes);
	guests_free(&sim->guests);
	for (size_t i = 0; i < sim->node_count; i++) {
		node_close(&sim->nodes[i]);
		observer_free(&sim->nodes[i].observer);
		snapshot_free(&sim->nodes[i].snapshot);
	}
	for (size_t i = 0; i < SIM_ROAMER_COUNT; i++)
		observer_free(&sim->roamers[i].observer);
	ledger_free(&sim->ledger);
}

/* ---- acts and mishaps ---- */

static void step_link(struct sim *sim)
{
	size_t at, steps;
	struct sim_link *link;

	if (sim->pair_count == 0)
		return;
	at = sim_below(sim, sim->pair_count);
	link = &sim->links[at];
	if (link->exchange == NULL)
		link_begin(
			sim, link, sim->pairs[at].from, sim->pairs[at].to, &sim->pairs[at].filter);
	else if (sim_chance(sim, 5))
		link_abort(link); /* the initiator crashed */
	steps = !sim->is_one_writer && sim_chance(sim, 60) ? 1000 : 1 + sim_below(sim, 5);
	while (link->exchange != NULL && steps-- > 0 && !sim->has_failed)
		link_step(sim, link, true);
}

static void backup_or_restore(struct sim *sim)
{
	size_t at = sim_below(sim, sim->node_count);
	struct sim_node *node = &sim->nodes[at];

	if (node->snapshot == NULL || sim_chance(sim, 50)) {
		node_backup(sim, node);
		return;
	}
	sim->counts.restores++;
	node_restore(sim, at);
	for (size_t i = 0; i < sim->pair_count; i++)
		if (sim->pairs[i].from ==
			at) { /* it takes in a peer's copy before it serves clients */
			link_run(sim, at, sim->pairs[i].to);
			break;
		}
}

static void step(struct sim *sim)
{
	struct sim_node *node = &sim->nodes[sim_below(sim, sim->node_count)];
	size_t draw = sim_below(sim, 100);

	sim->now_ms += sim_below(sim, 10) == 0 ? sim_below(sim, 60000) : sim_below(sim, 20);
	if (sim_chance(sim, 2))
		set_clock(sim, node);
	if (sim_chance(sim, 5)) {
		size_t at = sim_below(sim, SIM_ROAMER_COUNT);

		observer_free(&sim->roamers[at].observer);
		sim->roamers[at].observer = observer_copy(node->observer);
		sim->roamers[at].node_id = node->id;
	}
	if (sim->is_guests && sim_chance(sim, 50))
		guests_step(sim);
	else if (draw < 8 && sim->is_one_writer)
		step_link(sim); /* what is lost or forgotten may come back, at a new UID */
	else if (draw < 4 && !sim->is_guests)
		backup_or_restore(sim);
	else if (draw < 8)
		node_expire(sim, node, sim_chance(sim, 30) ? 0 : sim_below(sim, 30000));
	else if (draw < 11)
		late_deliver(sim, true);
	else if (draw < 14)
		neighbour_act(sim, node);
	else if (draw < 67)
		client_act(sim, node);
	else
		step_link(sim);
}

/* ---- the end: what must hold ---- */

struct account_header header_of(struct sim *sim, struct sim_node *node)
{
	struct account_header header = { 0 };
	struct kv_txn *kv = node_read(node);

	if (node->account != 0 && account_load(kv, node->account, &header) < 0)
		sim_fail(sim, "the account cannot be loaded");
	mail_read_end(&kv);
	return header;
}

bool all_equal(struct sim *sim)
{
	struct account_header first = header_of(sim, &sim->nodes[0]);

	for (size_t i = 1; i < sim->node_count; i++)
		if (!digest_equal(header_of(sim, &sim->nodes[i]).digest, first.digest) ||
			header_of(sim, &sim->nodes[i]).hold != first.hold)
			return false;
	return first.hold == ACCOUNT_SERVED;
}

static void shuffle_pairs(struct sim *sim, size_t order[SIM_LINK_COUNT_MAX])
{
	for (size_t i = 0; i < sim->pair_count; i++) {
		size_t at = sim_below(sim, i + 1);

		order[i] = order[at];
		order[at] = i;
	}
}

static void run_round(struct sim *sim)
{
	size_t order[SIM_LINK_COUNT_MAX];

	shuffle_pairs(sim, order);
	for (size_t i = 0; i < sim->pair_count && !sim->has_failed; i++) {
		size_t from = sim->pairs[order[i]].from, to = sim->pairs[order[i]].to;

		if (!link_run(sim, from, to))
			continue; /* it waits for another */
		if (!sim->has_failed && !digest_equal(header_of(sim, &sim->nodes[from]).digest,
						header_of(sim, &sim->nodes[to]).digest))
			sim_fail(sim, "P6: an exchange is done and the copies differ");
	}
}

static uint64_t sum_of_sequences(struct sim *sim)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < sim->node_count; i++)
		sum += header_of(sim, &sim->nodes[i]).sequence;
	return sum;
}

/* Tombstones are not in the digest and may travel on, which may make merges of them; but all comes
 * to rest. */
static void come_to_rest(struct sim *sim)
{
	uint64_t rounds = 0, before;

	do {
		before = sum_of_sequences(sim);
		run_round(sim);
		if (++rounds > sim->node_count + 2)
			sim_fail(sim, "P6: equal copies go on changing records");
	} while (!sim->has_failed && sum_of_sequences(sim) > before);
	if (!sim->has_failed && !all_equal(sim))
		sim_fail(sim, "P6: equal copies do not stay equal");
}

/* Each pair's part becomes equal, which the exchange itself sees to. */
static void converge_filtered(struct sim *sim)
{
	uint64_t rounds = 0, before;

	do {
		size_t order[SIM_LINK_COUNT_MAX];

		before = sum_of_sequences(sim);
		shuffle_pairs(sim, order);
		for (size_t i = 0; i < sim->pair_count && !sim->has_failed; i++) {
			size_t at = order[i];

			link_run_filtered(sim, sim->pairs[at].from, sim->pairs[at].to,
				&sim->pairs[at].filter);
		}
		if (++rounds > 4 * sim->node_count + 2)
			sim_fail(sim, "P6: partial copies go on changing records");
	} while (!sim->has_failed && sum_of_sequences(sim) > before);
}

/* P6: in a bounded number of rounds. */
void converge(struct sim *sim)
{
	uint64_t rounds = 0;

	for (size_t i = 0; i < sim->pair_count; i++)
		link_abort(&sim->links[i]);
	if (sim->is_filtered)
		converge_filtered(sim);
	do {
		run_round(sim);
		if (++rounds > sim->node_count + 2)
			sim_fail(sim, "P6: the copies have not become equal in %llu rounds",
				(unsigned long long)rounds - 1);
	} while (!sim->has_failed && !all_equal(sim));
	if (sim->counts.rounds_max < rounds)
		sim->counts.rounds_max = rounds;
	if (!sim->has_failed)
		come_to_rest(sim);
}

/* P8: whatever was sent before may come again. */
static void repeat_the_past(struct sim *sim)
{
	for (int i = 0; i < 20 && !sim->has_failed; i++)
		late_deliver(sim, false);
	if (!sim->has_failed && !all_equal(sim))
		sim_fail(sim, "P8: a request that came again has changed a copy");
}

struct mailbox_names {
	struct sim *sim;
	struct map names;
};

static int check_name(void *context, const struct mailbox_record *mailbox)
{
	struct mailbox_names *names = context;

	if (!mailbox_is_live(mailbox))
		return 0;
	if (map_get(&names->names, mailbox->name) != NULL)
		sim_fail(names->sim, "two mailboxes are named %.*s", BYTES_ARGS(mailbox->name));
	map_put(&names->names, mailbox->name, names);
	return 0;
}

static void report_finding(void *context, const char *text)
{
	sim_fail(context, "account_verify: %s", text);
}

static void check_node(struct sim *sim, struct sim_node *node)
{
	struct mailbox_names names = { .sim = sim };
	struct arena *arena = arena_new();
	struct kv_txn *kv = node_read(node);
	int rc = account_each_mailbox(kv, node->account, arena, check_name, &names);

	mail_read_end(&kv);
	map_deinit(&names.names);
	arena_free(&arena);
	if (rc == 0)
		rc = account_verify(node->mail, node->account, true, report_finding, sim);
	if (rc < 0)
		sim_fail(sim, "account_verify: %s", error_name(rc));
	if (header_of(sim, node).is_deleted && header_of(sim, node).message_count > 0)
		sim_fail(sim, "P1: a deleted account holds mail that nobody deleted");
	observer_check(sim, node);
	/* Where partial copies differ, no cursor means the same. */
	for (size_t i = 0; i < SIM_ROAMER_COUNT && !sim->is_filtered; i++)
		if (sim->roamers[i].observer != NULL && !sim->has_failed)
			observer_roam(sim, sim->roamers[i].observer, node);
	ledger_check(sim, node);
}

bool sim_run(struct sim *sim, uint64_t seed, size_t nodes)
{
	size_t steps;

	begin(sim, seed, nodes);
	steps = 5 + sim_below(sim, 76);
	for (size_t i = 0; i < steps && !sim->has_failed; i++)
		step(sim);
	if (!sim->has_failed)
		converge(sim);
	if (!sim->has_failed && sim->is_guests)
		guests_converge(sim);
	if (!sim->has_failed && !sim->is_one_writer && !sim->is_guests)
		epilogue(sim);
	if (!sim->has_failed)
		repeat_the_past(sim);
	for (size_t i = 0; i < sim->node_count && !sim->has_failed; i++)
		check_node(sim, &sim->nodes[i]);
	end(sim);
	return !sim->has_failed;
}
