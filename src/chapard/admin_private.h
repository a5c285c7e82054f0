/*
 * admin_private: a running command, for admin*.c only.
 */
#ifndef CHAPAR_CHAPARD_ADMIN_PRIVATE_H
#define CHAPAR_CHAPARD_ADMIN_PRIVATE_H

#include "chapard/admin.h"

#include "base/arena.h"
#include "mail/away.h"

#define ADMIN_LIST_STEP 200   /* accounts told in one step */
#define ADMIN_PROGRESS_MS 200 /* between two lines that tell how far it is */

/* One step: enum admin_step, or a negative code. */
typedef int admin_step_function(struct admin_call *call, struct buffer *out, struct error *error);

enum admin_option { ADMIN_OPTION_JSON = 1, ADMIN_OPTION_BODIES = 2, ADMIN_OPTION_CHECK = 4 };

struct admin_command {
	const char *name;
	unsigned options; /* that it takes */
	size_t argument_count_min, argument_count_max;
	admin_step_function *step;
};

struct admin_call {
	struct admin *admin;
	const struct admin_command *command;
	struct arena *arena; /* of the arguments */
	unsigned options;    /* given */
	const char **arguments;
	size_t argument_count;

	void (*wake)(void *context); /* NULL: nobody can wait */
	void *wake_context;
	struct trace_reader *trace;

	/* Where a command goes on. */
	size_t argument_index;
	uint32_t account;
	uint64_t item_count; /* accounts told or looked at */
	uint64_t message_count, byte_count;
	uint64_t kept_count, kept_bytes;
	uint64_t since_ms;                      /* conflicts: told from then on */
	uint64_t finding_count;                 /* of verify; conflicts told */
	uint64_t told_at_ms;                    /* monotonic: when progress was told last */
	uint64_t progress_done, progress_total; /* bytes or messages that verify has read */

	/* What a command keeps beside that, and who frees it; NULL: nothing. */
	void *state;
	void (*state_free)(void *state);
};

static inline bool admin_has(const struct admin_call *call, enum admin_option option)
{
	return (call->options & (unsigned)option) != 0;
}

/* admin_account.c */
admin_step_function admin_account_add, admin_account_disable, admin_account_enable,
	admin_account_list, admin_account_passwd;
/* admin_share.c */
admin_step_function admin_account_serve, admin_account_share, admin_acl;
/* admin_mode.c */
admin_step_function admin_account_mode, admin_account_switch;
/* admin_move.c */
admin_step_function admin_account_move;
/* Has the channels look at the account. */
int admin_account_touch(struct admin_call *call, struct error *error);
/*
 * admin_remove.c: giving up the copy here, once the node that the command's second argument names
 * has proven that it has all of it.
 */
struct admin_removal { /* zeroed at first */
	enum { REMOVAL_COMPARES, REMOVAL_ASKS, REMOVAL_LETS_GO, REMOVAL_CLEARS } stage;
	char name[ACCOUNT_NAME_SIZE_MAX + 1];
	uint64_t sequence; /* of the copy here, as it was compared */
	uint64_t asked;    /* up to this one it has the bodies */
	uint64_t message_count, kept_count;
	uint64_t differs_since_ms; /* since when both copies are these, and not equal; 0: never */
	struct digest ours, theirs;
	struct account_clearing clearing;
};
bool admin_removal_is_on(const struct admin_removal *removal);
/* ADMIN_MORE, ADMIN_DONE. ERR_CHANGED: the other node is to confirm first that it has what the
 * account is now, then again. */
int admin_removal_step(struct admin_call *call, struct admin_removal *removal, struct buffer *out,
	struct error *error);
/* admin_deletion.c */
admin_step_function admin_account_delete, admin_undelete, admin_undelete_list;
/* admin_script.c */
admin_step_function admin_script_activate, admin_script_delete, admin_script_get, admin_script_list,
	admin_script_put;
/* admin_store.c */
admin_step_function admin_verify, admin_compact, admin_status;
/* admin_withheld.c, parts of status */
void admin_withheld_json(struct admin_call *call, struct buffer *out);
void admin_withheld_text(struct admin_call *call, struct buffer *out);
uint64_t admin_withheld_count(struct admin_call *call);
/* admin_channel.c */
admin_step_function admin_channel_list, admin_channel_add, admin_channel_remove,
	admin_channel_pause, admin_channel_resume;

/* admin_trace.c */
admin_step_function admin_trace;

/* admin_quota.c */
admin_step_function admin_quota, admin_quota_set;

/* admin_compare.c */
admin_step_function admin_verify_peer;

/* admin_bundle.c */
admin_step_function admin_bundle_create, admin_bundle_apply;

/* admin_export.c */
admin_step_function admin_export;

/* admin_import.c */
admin_step_function admin_import;

/* admin_origin.c */
admin_step_function admin_origin_sync, admin_origin_met;
/* Part of status, of a clone. */
struct admin_origin_health {
	uint64_t attempt_ms, success_ms; /* since 1970; 0: never */
	uint64_t pending_count;          /* records that changed here and are not there */
	char error[ERROR_TEXT_SIZE];     /* of the last attempt; "": it succeeded */
};
int admin_origin_health(
	struct admin_call *call, struct admin_origin_health *health_r, struct error *error);
void admin_origin_json(
	struct admin_call *call, const struct admin_origin_health *health, struct buffer *out);
void admin_origin_text(
	struct admin_call *call, const struct admin_origin_health *health, struct buffer *out);

/* admin_conflict.c */
admin_step_function admin_conflict_list;

/*
 * The account that the command's argument names, or, if it has none, the next one of all; counts
 * it. ERR_NOT_FOUND with nothing in *error: no more.
 */
int admin_account_next(
	struct admin_call *call, struct account_header *header_r, struct error *error);
/* Finds an account by its name as a person writes it. ERR_NOT_FOUND, ERR_INVALID. */
int admin_account_find(
	struct admin_call *call, const char *name, uint32_t *number_r, struct error *error);

#endif
