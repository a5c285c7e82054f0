/*
 * imap_server: the IMAP4rev1 front (RFC 3501 and the extensions of docs/imap.md), as a net_protocol
 * for any number of listeners.
 *
 * Each login, failed login, logout and internal error is logged as one line, with account, mailbox
 * and session as far as they are known.
 */
#ifndef CHAPAR_IMAP_IMAP_SERVER_H
#define CHAPAR_IMAP_IMAP_SERVER_H

#include "mail/identity.h"
#include "mail/mail.h"
#include "mail/sasl.h"
#include "net/net_protocol.h"
#include "sync/responder.h"

struct imap_server;

/* What a user may do, beyond what ACLs say. */
struct imap_grant {
	bool is_admin;             /* acts as administrator */
	bool is_read_only;         /* may look, and change nothing */
	bool is_delegate;          /* an administrator who acts as this user */
	bool is_peer;              /* a peer node, who need not have an account ... */
	struct sync_rights rights; /* ... and what it may do */
};

struct imap_server_options { /* 0 or NULL: the default */
	struct mail *mail;   /* borrowed until imap_server_free() */

	/* Checks names and passwords; borrowed likewise. */
	struct sasl_authority *authority;
	/*
	 * Whether `authcid`, who has shown that he is that, may act as `user` (mostly himself; both
	 * as account_name_normalize() gives them), and with which rights: 0 with *grant_r, or
	 * ERR_REFUSED. NULL: everybody is an ordinary user, and acts as himself only.
	 */
	int (*authorize)(
		void *context, const char *authcid, const char *user, struct imap_grant *grant_r);
	/* Appends the name that EXTERNAL gives the owner of the certificate: 0, or ERR_NOT_FOUND:
	 * he has none. NULL: nobody has. */
	int (*certificate_name)(
		void *context, const struct net_certificate *certificate, struct buffer *name);
	/* Whether an account may be made for the user that is not there yet. NULL: none may. */
	bool (*may_create)(void *context, const char *user);
	void *context;       /* of all three */
	struct trace *trace; /* of SYNC (sync/trace.h); borrowed likewise. NULL: none */
	/* All groups of users that ACLs may name; borrowed likewise. NULL: none. */
	const struct identity_groups *groups;
	/* First levels of the names of other accounts' mailboxes (imap_target.h); borrowed. */
	const char *other_users_prefix; /* "Other Users" */
	const char *shared_prefix;      /* "Shared" */

	size_t append_size_max;        /* bytes of one message; 64 MiB */
	size_t search_cache_size;      /* bytes for imap_columns.h; 16 MiB */
	size_t search_cache_count_min; /* messages of a mailbox that it is for; 200 */
	bool allow_plaintext_loopback; /* passwords without TLS from this machine */
	bool allow_plaintext;          /* and from everywhere; for tests and closed networks */
	unsigned user_connection_max;  /* sessions of one user at a time; 0: as many as he likes */
	unsigned idle_timeout_s;       /* 1800; RFC 3501 asks for no less */
	unsigned login_timeout_s;      /* 60: from the greeting to the login */
	unsigned progress_interval_ms; /* 10000: between reports of a long search's progress */
	const char *name;              /* for ID; "Chapar" */
	const char *version;           /* for ID; omitted if NULL */
	/* Clients are warned from so much of a quota on; 0: never. */
	unsigned quota_warning_percent;
	/* Where it is kept who was told of which messages (imap_recent.h); borrowed. NULL: in
	 * memory only. */
	const char *recent_path;
	/* For files without names: what was decoded for clients that are slow (imap_large.h);
	 * borrowed. NULL: it stays in memory. */
	const char *spill_folder;
};

/* Strings are borrowed. Never fails. */
struct imap_server *imap_server_new(const struct imap_server_options *options);
/* After net_server_stop(). Sets *server to NULL. A NULL *server is allowed. */
void imap_server_free(struct imap_server **server);

/*
 * Closes the sessions of users whose login was disabled since the last call, and once a minute
 * writes the file `recent_path`, if it changes. To be called every second or so, by one thread.
 */
void imap_server_sweep(struct imap_server *server);

/* For net_listener_options: the protocol, with the server itself as `context`. */
const struct net_protocol *imap_server_protocol(const struct imap_server *server);

#endif
