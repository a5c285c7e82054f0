#include "sim_guest.h"

#include "base/mem.h"
#include "mail/acl_guest.h"
#include "sync/foreign.h"

#include <stdlib.h>

#define STEP_COUNT_MAX 20000 /* of one sync; more means that it does not end */
#define ROUND_COUNT_MAX 8

struct sim_node *guests_server(struct sim *sim)
{
	return &sim->nodes[sim->guests->server];
}

struct identity guest_identity(uint32_t own)
{
	struct identity identity = { .name = GUEST_USER, .account = own };

	return identity;
}

static uint32_t find_account(struct sim_node *node, struct bytes name)
{
	struct kv_txn *kv = node_read(node);
	uint32_t number = 0;

	account_find(kv, name, &number);
	mail_read_end(&kv);
	return number;
}

uint32_t guests_own_there(struct sim *sim)
{
	return find_account(guests_server(sim), BYTES_LITERAL(GUEST_USER));
}

/* ---- rights ---- */

static unsigned any_rights(struct sim *sim)
{
	unsigned rights = ACL_LOOKUP | ACL_READ;

	if (sim->guests->is_steady || sim_chance(sim, 30))
		return ACL_ALL;
	if (sim_chance(sim, 15))
		return 0;
	for (unsigned right = ACL_SEEN; right <= ACL_ANNOTATE; right *= 2)
		if (sim_chance(sim, 60))
			rights |= right;
	return rights;
}

static int find_live(void *context, const struct mailbox_record *mailbox)
{
	struct id128 *ids = context;
	size_t count = ids[0].bytes[0];

	if (mailbox_is_live(mailbox) && count < 30) {
		ids[++count] = mailbox->id;
		ids[0].bytes[0] = (unsigned char)count;
	}
	return 0;
}

/* As SETACL of the owner, at any of the nodes. */
static void grant(struct sim *sim, struct sim_node *node)
{
	struct id128 ids[32] = { { { 0 } } }; /* the first counts them */
	struct arena *arena = arena_new();
	struct error error = { 0 };
	struct kv_txn *kv;
	size_t at;
	int rc;

	node_need_account(sim, node);
	kv = node_read(node);
	account_each_mailbox(kv, node->account, arena, find_live, ids);
	mail_read_end(&kv);
	at = 1 + sim_below(sim, ids[0].bytes[0]);
	rc = acl_change(node->mail, node->account, ids[at], BYTES_LITERAL(GUEST_USER), ACL_SET,
		any_rights(sim), &error, &node->position);
	if (rc < 0)
		sim_fail(sim, "rights cannot be given: %s", error.text);
	sim_trace(sim, "node %llu: rights to mailbox %02x%02x", (unsigned long long)node->id,
		ids[at].bytes[0], ids[at].bytes[1]);
	arena_free(&arena);
	observe(sim, node, true);
}

/* ---- beginning and end ---- */

static void open_server(struct sim *sim)
{
	static const char *const names[] = { "Work", "Archive" };
	struct sim_node *server = guests_server(sim);
	struct error error = { 0 };
	struct id128 id;
	uint32_t own;

	node_need_account(sim, server);
	if (mail_account_open(server->mail, BYTES_LITERAL(GUEST_USER), true, &error, &own) < 0)
		sim_fail(sim, "a guest's account cannot be made: %s", error.text);
	for (size_t i = 0; i < COUNT(names); i++)
		if (mailbox_create(server->mail, server->account, bytes_of_string(names[i]),
			    (struct bytes){ 0 }, &error, &id, &server->position) < 0)
			sim_fail(sim, "a mailbox cannot be made: %s", error.text);
	observe(sim, server, true);
	for (size_t i = 0; i < 4; i++)
		grant(sim, server);
}

static void open_guest(struct sim *sim, struct guest *guest)
{
	guest->sim = sim;
	guest->config.user = (char *)(uintptr_t)GUEST_USER;
	set_clock(sim, &guest->clone);
	node_open_apart(sim, &guest->clone);
}

struct guests *guests_new(struct sim *sim)
{
	struct guests *guests = mem_zalloc(sizeof(*guests));

	sim->guests = guests;
	guests->notes = guest_notes_new();
	guests->count = 1 + sim_below(sim, GUEST_COUNT_MAX);
	guests->server = sim_below(sim, sim->node_count);
	guests->is_steady = sim_chance(sim, 50);
	open_server(sim);
	for (size_t i = 0; i < guests->count; i++)
		open_guest(sim, &guests->list[i]);
	return guests;
}

void guests_free(struct guests **guests)
{
	if (*guests == NULL)
		return;
	for (size_t i = 0; i < (*guests)->count; i++) {
		struct guest *guest = &(*guests)->list[i];

		origin_free(&guest->origin);
		mail_close(&guest->clone.mail);
		store_close(&guest->clone.store);
		observer_free(&guest->clone.observer);
	}
	for (size_t i = 0; i < (*guests)->late_count; i++)
		buffer_deinit(&(*guests)->late[i].bytes);
	guest_notes_free(&(*guests)->notes);
	free(*guests);
	*guests = NULL;
}

void guests_tell(struct sim *sim)
{
	for (size_t i = 0; i < sim->guests->count; i++)
		if (sim->guests->list[i].clone.account != 0)
			node_tell(sim, &sim->guests->list[i].clone);
}

/* ---- syncing ---- */

static void tell(void *context, const char *account, const struct exchange_result *result)
{
	const struct guest *guest = context;

	sim_trace(guest->sim, "guest %llu syncs %s: %s", (unsigned long long)guest->clone.id,
		account, result->error.code != 0 ? result->error.text : "done");
}

static void tell_kept(void *context, const char *account, const char *mailbox, const char *kept_in,
	const struct error *why)
{
	const struct guest *guest = context;

	sim_trace(guest->sim, "guest %llu keeps a message for %s of %s in %s: %s",
		(unsigned long long)guest->clone.id, mailbox, account, kept_in, why->text);
}

static void sync_begin(struct guest *guest)
{
	struct origin_options options = { .config = &guest->config,
		.password = "",
		.mode = ORIGIN_SYNC,
		.tell = tell,
		.tell_kept = tell_kept,
		.context = guest };

	if (guest->mishaps && sim_chance(guest->sim, 20))
		options.mode = sim_chance(guest->sim, 50) ? ORIGIN_PULL : ORIGIN_PUSH;
	sim_trace(guest->sim, "guest %llu begins to sync", (unsigned long long)guest->clone.id);
	guest->sim->counts.exchanges++;
	guest->origin = origin_new(guest->clone.mail, &options);
}

/* What his clients see of it now. */
static void look(struct guest *guest)
{
	struct sim_node *clone = &guest->clone;

	clone->position = mail_position(clone->mail);
	if (clone->account == 0)
		clone->account = find_account(clone, BYTES_LITERAL(SIM_ACCOUNT));
	if (guest->own == 0)
		guest->own = find_account(clone, BYTES_LITERAL(GUEST_USER));
}

/* True if there is more to do. *rc_r: how it ended. */
static bool sync_step(struct guest *guest, int *rc_r, struct error *error)
{
	struct sim *sim = guest->sim;

	guest_link_begin(guest);
	*rc_r = origin_step(guest->origin, error);
	look(guest);
	if (*rc_r == ORIGIN_MORE)
		return true;
	sim_trace(sim, "guest %llu ends its sync: %s", (unsigned long long)guest->clone.id,
		*rc_r < 0 ? error->text : "done");
	if (*rc_r < 0)
		sim->counts.failed_exchanges++;
	if (*rc_r == ERR_IO || *rc_r == ERR_ILLEGAL || *rc_r == ERR_INVALID)
		sim_fail(sim, "a guest's sync fails: %s: %s", error_name(*rc_r), error->text);
	origin_free(&guest->origin);
	return false;
}

/* Some steps, each of which may be the last: the connection breaks, or the process dies. */
static void sync_some(struct guest *guest)
{
	struct sim *sim = guest->sim;
	size_t steps = sim_chance(sim, 60) ? 1000 : 1 + sim_below(sim, 5);
	struct error error = { 0 };
	int rc;

	guest->mishaps = true;
	if (guest->origin == NULL)
		sync_begin(guest);
	while (steps-- > 0 && !sim->has_failed && sync_step(guest, &rc, &error))
		if (sim_chance(sim, 1 + sim->tear_percent / 4)) {
			sim_trace(sim, "guest %llu dies", (unsigned long long)guest->clone.id);
			origin_free(&guest->origin);
			break;
		}
}

/* A whole one without mishaps. */
static int sync_all(struct guest *guest, struct error *error)
{
	size_t steps = 0;
	int rc = 0;

	origin_free(&guest->origin);
	guest->mishaps = false;
	sync_begin(guest);
	while (!guest->sim->has_failed && sync_step(guest, &rc, error))
		if (++steps == STEP_COUNT_MAX)
			sim_fail(guest->sim, "P6: a guest's sync does not end");
	return rc;
}

void guests_step(struct sim *sim)
{
	struct guests *guests = sim->guests;
	struct guest *guest = &guests->list[sim_below(sim, guests->count)];
	size_t draw = sim_below(sim, 100);

	if (draw < 50)
		guest_act(guest);
	else if (draw < 85)
		sync_some(guest);
	else if (draw < 92)
		grant(sim, &sim->nodes[sim_below(sim, sim->node_count)]);
	else if (draw < 95)
		set_clock(sim, &guest->clone);
	else
		guest_late_deliver(sim);
}

/* ---- the end: what must hold ---- */

static uint64_t sequence_of(struct sim_node *node, uint32_t account)
{
	struct account_header header = { 0 };
	struct kv_txn *kv = node_read(node);

	if (account != 0)
		account_load(kv, account, &header);
	mail_read_end(&kv);
	return header.sequence;
}

static uint64_t sum_of_sequences(struct sim *sim)
{
	struct guests *guests = sim->guests;
	uint64_t sum = sequence_of(guests_server(sim), guests_own_there(sim));

	for (size_t i = 0; i < sim->node_count; i++)
		sum += sequence_of(&sim->nodes[i], sim->nodes[i].account);
	for (size_t i = 0; i < guests->count; i++)
		sum += sequence_of(&guests->list[i].clone, guests->list[i].clone.account) +
		       sequence_of(&guests->list[i].clone, guests->list[i].own);
	return sum;
}

struct comparing {
	struct sim *sim;
	struct guest *guest;
	struct kv_txn *there, *here;
	struct arena *arena;
	struct identity identity_there, identity_here;
	struct mailbox_record mailbox; /* there */
};

static bool same_flags(const struct message_record *a, const struct message_record *b)
{
	for (size_t i = 0; i < a->flag_count; i++) {
		const struct flag_state *flag = message_flag(b, a->flags[i].name);

		if (a->flags[i].is_set && !bytes_equal_string(a->flags[i].name, "\\Seen") &&
			(flag == NULL || !flag->is_set))
			return false;
	}
	return true;
}

static int compare_message(void *context, const struct message_record *there)
{
	struct comparing *comparing = context;
	struct message_record here;
	int rc = account_get_message(comparing->here, comparing->guest->clone.account,
		there->instance, comparing->arena, &here);

	if (rc < 0 || !message_is_shown(&here))
		sim_fail(comparing->sim, "P6: a guest does not see message %llu.%llu",
			(unsigned long long)there->instance.modseq,
			(unsigned long long)there->instance.node);
	else if (here.uid != there->uid || !id128_equal(here.mailbox, there->mailbox))
		sim_fail(comparing->sim,
			"P6: a guest sees message %llu.%llu elsewhere, as UID %u and not %u",
			(unsigned long long)there->instance.modseq,
			(unsigned long long)there->instance.node, here.uid, there->uid);
	else if (!same_flags(&here, there) || !same_flags(there, &here))
		sim_fail(comparing->sim, "P6: a guest sees other flags of message %llu.%llu",
			(unsigned long long)there->instance.modseq,
			(unsigned long long)there->instance.node);
	return 0;
}

static unsigned rights_there(struct comparing *comparing, struct id128 mailbox)
{
	unsigned rights = 0;

	acl_rights(comparing->there, &comparing->identity_there,
		guests_server(comparing->sim)->account, mailbox, &rights);
	return (rights & ACL_LOOKUP) != 0 && (rights & ACL_READ) != 0 ? rights : 0;
}

static int compare_mailbox(void *context, const struct mailbox_record *there)
{
	struct comparing *comparing = context;
	uint32_t account = comparing->guest->clone.account;
	unsigned rights = rights_there(comparing, there->id), rights_here = 0;
	struct mailbox_record here;

	if (!mailbox_is_live(there) || rights == 0)
		return 0;
	if (account_get_mailbox(comparing->here, account, there->id, comparing->arena, &here) < 0 ||
		!mailbox_is_live(&here) || !bytes_equal(here.name, there->name)) {
		sim_fail(comparing->sim, "P6: a guest does not see mailbox %.*s",
			BYTES_ARGS(there->name));
		return 0;
	}
	acl_rights(comparing->here, &comparing->identity_here, account, there->id, &rights_here);
	if (rights_here != (rights & ACL_OF_GUEST))
		sim_fail(comparing->sim, "P6: a guest's rights to %.*s are %x and not %x",
			BYTES_ARGS(there->name), rights_here, rights & ACL_OF_GUEST);
	if (here.message_count != there->message_count)
		sim_fail(comparing->sim, "P6: a guest sees %u messages in %.*s and not %u",
			here.message_count, BYTES_ARGS(there->name), there->message_count);
	return account_each_message(comparing->there, guests_server(comparing->sim)->account,
		there->id, 1, UINT32_MAX, comparing->arena, compare_message, comparing);
}

/* Nothing else is here. */
static int compare_back(void *context, const struct mailbox_record *here)
{
	struct comparing *comparing = context;
	struct mailbox_record there;
	unsigned rights = 0;
	int rc = account_get_mailbox(comparing->there, guests_server(comparing->sim)->account,
		here->id, comparing->arena, &there);

	if (!mailbox_is_live(here))
		return 0;
	acl_rights(comparing->here, &comparing->identity_here, comparing->guest->clone.account,
		here->id, &rights);
	if ((rights != 0 || here->message_count > 0) &&
		(rc < 0 || !mailbox_is_live(&there) || rights_there(comparing, here->id) == 0))
		sim_fail(comparing->sim, "P6: a guest still sees mailbox %.*s",
			BYTES_ARGS(here->name));
	return 0;
}

static void report_finding(void *context, const char *text)
{
	sim_fail(context, "account_verify of a guest's copy: %s", text);
}

static void check_own(struct sim *sim, struct guest *guest)
{
	struct account_header here = { 0 }, there = { 0 };
	struct kv_txn *kv = node_read(&guest->clone);

	if (account_load(kv, guest->own, &here) < 0)
		sim_fail(sim, "a guest's own account cannot be loaded");
	mail_read_end(&kv);
	kv = node_read(guests_server(sim));
	if (account_load(kv, guests_own_there(sim), &there) < 0)
		sim_fail(sim, "a guest's own account cannot be loaded");
	mail_read_end(&kv);
	if (!digest_equal(here.digest, there.digest))
		sim_fail(sim, "P6: the copies of a guest's own account differ");
}

static void check_guest(struct sim *sim, struct guest *guest)
{
	struct comparing comparing = { .sim = sim,
		.guest = guest,
		.there = node_read(guests_server(sim)),
		.here = node_read(&guest->clone),
		.arena = arena_new(),
		.identity_there = guest_identity(guests_own_there(sim)),
		.identity_here = guest_identity(guest->own) };

	check_own(sim, guest);
	account_each_mailbox(comparing.there, guests_server(sim)->account, comparing.arena,
		compare_mailbox, &comparing);
	if (guest->clone.account != 0)
		account_each_mailbox(comparing.here, guest->clone.account, comparing.arena,
			compare_back, &comparing);
	mail_read_end(&comparing.there);
	mail_read_end(&comparing.here);
	arena_free(&comparing.arena);
	if (guest->clone.account != 0 && !sim->has_failed &&
		account_verify(guest->clone.mail, guest->clone.account, true, report_finding, sim) <
			0)
		sim_fail(sim, "account_verify of a guest's copy fails");
}

static bool round_is_clean(struct sim *sim, struct error *error)
{
	struct guests *guests = sim->guests;
	bool is_clean = true;

	for (size_t i = 0; i < guests->count && !sim->has_failed; i++)
		is_clean = sync_all(&guests->list[i], error) == 0 && is_clean;
	return is_clean;
}

void guests_converge(struct sim *sim)
{
	struct guests *guests = sim->guests;
	struct error error = { 0 };
	uint64_t before;
	unsigned rounds = 0;
	bool is_clean;

	do {
		before = sum_of_sequences(sim);
		is_clean = round_is_clean(sim, &error);
		if (!sim->has_failed)
			converge(sim);
		if (++rounds > ROUND_COUNT_MAX)
			sim_fail(sim, "P6: guests do not come to rest: %s",
				is_clean ? "records go on changing" : error.text);
	} while (!sim->has_failed && (!is_clean || sum_of_sequences(sim) > before));
	for (size_t i = 0; i < guests->count && !sim->has_failed; i++)
		check_guest(sim, &guests->list[i]);
	if (!sim->has_failed)
		guest_notes_check(sim);
}
