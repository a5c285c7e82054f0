/*
 * daemon_private: the parts of a running node, for daemon*.c only.
 *
 * Set up by daemon_start() in one thread, then constant, so that the threads of the server need no
 * lock; each part is safe for many threads by its own contract.
 */
#ifndef CHAPAR_CHAPARD_DAEMON_PRIVATE_H
#define CHAPAR_CHAPARD_DAEMON_PRIVATE_H

#include "chapard/admin.h"
#include "chapard/channel.h"
#include "chapard/daemon.h"
#include "chapard/introspection.h"
#include "imap/imap_server.h"
#include "lmtp/lmtp_server.h"
#include "mail/away.h"
#include "mail/mail.h"
#include "mail/password.h"
#include "mail/sasl.h"
#include "net/net_server.h"
#include "store/store.h"
#include "sync/trace.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOGIN_SECRET_SIZE 32 /* bytes */

#define HOST_NAME_SIZE 256

/* A sync-user, administrator or owner of a clone whose password is in a file. */
struct file_login {
	const char *name;          /* the configuration's */
	struct buffer credentials; /* made of its password */
};

/* A peer and the channel to it. */
struct daemon_peer {
	struct config_peer *peer; /* the configuration's, or our own */
	bool is_own;              /* added while the daemon ran */
	struct channel *channel;
	_Atomic uint64_t distrusted_until_ms; /* monotonic: it did not answer in time */
};

/* They come and go while the daemon runs: all under the lock. */
struct daemon_peers {
	pthread_mutex_t lock;
	struct daemon_peer **list;
	size_t count, room;
	_Atomic bool has_authority; /* one of them takes part in giving UIDs */
};

struct daemon {
	const struct config *config;
	uint64_t started_ms; /* monotonic */

	struct store *store;
	struct mail *mail;

	struct file_login *file_logins;
	size_t file_login_count;
	struct password_cache *password_cache;
	unsigned char login_secret[LOGIN_SECRET_SIZE];
	struct sasl_authority *authority;
	struct introspection *introspection; /* NULL: no tokens */
	atomic_uint saslauthd_call_count;
	char host_name[HOST_NAME_SIZE]; /* for GSSAPI */

	struct net_server *server;
	struct identity_groups *groups; /* the configuration's */
	struct imap_server *imap;
	struct buffer recent_path; /* of the file that it keeps (imap/imap_recent.h) */
	struct lmtp_server *lmtp;
	uint16_t *ports; /* of the listeners */
	struct daemon_peers peers;

	struct buffer expired_locally;    /* how far daemon_expire() came with local bodies */
	uint64_t next_expire_ms;          /* monotonic */
	struct account_clearing clearing; /* how far it came with accounts that were moved away */
	bool is_cleared;                  /* that is done */

	struct trace *trace; /* of all SYNC sessions and channels */
	struct admin admin;
	struct admin_live live;
	atomic_bool is_stopping;
	bool has_pid_file; /* it is ours to remove */
	bool is_ready;
};

/* daemon_login.c: who may log in, and as whom */
int daemon_login_open(struct daemon *daemon, struct error *error);
void daemon_login_close(struct daemon *daemon);
/* Checks the files that the sections of logins name. */
int daemon_login_check(const struct config *config, struct error *error);
/* For imap_server_options; the context is the daemon. */
int daemon_authorize(
	void *context, const char *authcid, const char *user, struct imap_grant *grant_r);
int daemon_certificate_name(
	void *context, const struct net_certificate *certificate, struct buffer *name);

/* daemon_ways.c: saslauthd, tokens, Kerberos */
int daemon_ways_open(struct daemon *daemon, struct sasl_options *options, struct error *error);
void daemon_ways_close(struct daemon *daemon);
/* What Kerberos takes from the environment; while there is one thread only. */
void daemon_ways_environment(const struct config *config);

/* daemon_fronts.c: the IMAP and LMTP servers, and how mail gets from LMTP to the accounts */
void daemon_fronts_open(struct daemon *daemon);
void daemon_fronts_close(struct daemon *daemon);

/* daemon_expire.c: forgets what is older than the horizon, for some moments at a time */
void daemon_expire(struct daemon *daemon);

/* daemon_listen.c */
int daemon_server_new(struct daemon *daemon, struct error *error);
int daemon_listen(struct daemon *daemon, struct error *error);
/* As the store's owner, so that the tool reaches the socket. */
int daemon_listen_control(struct daemon *daemon, struct error *error);
void daemon_listeners_log(const struct daemon *daemon);

/* daemon_peers.c: the channels to the configured peers */
int daemon_peers_open(struct daemon *daemon, struct error *error);
void daemon_peers_close(struct daemon *daemon);
/* Checks the files that the peers' sections name. */
int daemon_peers_check(const struct config *config, struct error *error);

/* For admin_live; the context is the daemon. */
int daemon_peers_find(
	void *context, const char *name, struct admin_node *node_r, struct error *error);
int daemon_peers_confirm(void *context, const char *name, const struct account_header *account,
	unsigned timeout_ms, struct error *error);
int daemon_peers_ask(void *context, const char *name, struct bytes request, struct buffer *answer,
	struct error *error);
int daemon_peers_change(void *context, enum admin_channel_act act, const char *name,
	const char *const *words, size_t count, struct error *error);
/* daemon_commit.c: the OK that waits for a peer. The context is the daemon. */
int daemon_acknowledge(void *context, uint32_t account, uint64_t sequence, struct error *error);
/* daemon_append.c: the append that another node does. The context is the daemon. */
int daemon_route_append(void *context, uint32_t account, struct id128 mailbox,
	const struct append_message *message, struct stamp *instance,
	struct message_place *place_r);
/* daemon_peers_tell.c */
void daemon_peers_tell(void *context, bool is_json, struct buffer *out);
void daemon_peers_health(void *context, struct admin_health *health_r);

/* daemon_status.c */
void daemon_status_init(struct daemon *daemon);

#endif
