/*
 * account_mode: who takes what users change. In mode multi, the default, every node does. With a
 * master, one node does; on the others the account is a replica, which users may only read. The
 * mode is an account-level register: it replicates, and of two changes the later one stays, so that
 * roles are exchanged, or taken over from a dead master, by one write.
 */
#ifndef CHAPAR_MAIL_ACCOUNT_MODE_H
#define CHAPAR_MAIL_ACCOUNT_MODE_H

#include "mail/account.h"

#include "base/error.h"

#define NODE_NAME_SIZE_MAX 64  /* bytes */
#define NODE_HOST_SIZE_MAX 253 /* bytes */

/* A node as people and clients know it. */
struct node_name {
	char name[NODE_NAME_SIZE_MAX + 1]; /* as configured; "" unknown */
	char host[NODE_HOST_SIZE_MAX + 1]; /* where clients reach it; "" unknown */
};

struct account_mode {
	bool has_master;
	uint64_t master; /* node id */
	struct node_name node;
	struct stamp since; /* when that was decided */
};

struct mail;

/* The account's mode; multi if none was ever set. */
int account_mode_get(struct kv_txn *kv, uint32_t account, struct account_mode *mode_r);

static inline bool account_mode_is_replica(const struct account_mode *mode, uint64_t node)
{
	return mode->has_master && mode->master != node;
}

/*
 * Says in *error who takes the changes of a replica, in the form that account_mode_host()
 * understands. Returns ERR_REPLICA.
 */
int account_mode_refuse(const struct account_mode *mode, struct error *error);
/* Of an error of account_mode_refuse(): the host where changes are taken; empty if unknown. */
struct bytes account_mode_host(const struct error *error);

/* Within a commit: ERR_REPLICA if users may not change the account on this node. */
int account_mode_check(struct account_write *write, struct error *error);

/* Writes the mode: a master, or multi. Any node may. */
int mail_mode_set(
	struct mail *mail, uint32_t account, const struct account_mode *mode, struct error *error);
/* This node becomes its master. */
int mail_mode_set_own(struct mail *mail, uint32_t account, struct error *error);

#endif
