/*
 * config: the configuration file of a node, for the daemon and the tool.
 *
 * Every key is a row of one table (config_keys.c) with its type, default, bounds and help; the
 * parser, the checks and `chapard --help-config` all come from it. The syntax is that of
 * libconfuse: KEY = VALUE, SECTION {…}, SECTION TITLE {…}, comments with #. What is unknown,
 * double, malformed or out of bounds is refused with FILE:LINE. A relative path is relative to the
 * folder of the configuration file.
 */
#ifndef CHAPAR_CHAPARD_CONFIG_H
#define CHAPAR_CHAPARD_CONFIG_H

#include "base/buffer.h"
#include "base/error.h"
#include "mail/account_mode.h"
#include "mail/identity.h"
#include "mail/password.h"

#include <stdint.h>
#include <stdio.h>

#define CONFIG_FILE_DEFAULT "/etc/chapar/chapard.conf"
#define CONFIG_NAME_SIZE_MAX 64                   /* bytes of node, peer and listener names */
#define CONFIG_TEXT_SIZE_MAX 1024                 /* bytes */
#define CONFIG_PATH_SIZE_MAX 4096                 /* bytes */
#define CONFIG_SOCKET_PATH_SIZE_MAX 107           /* bytes: what the kernel takes */
#define CONFIG_CONTROL_SOCKET_NAME "control.sock" /* in the store's folder */
#define CONFIG_SECRET_SIZE_MAX 1024               /* bytes of a password file */
#define CONFIG_LISTENER_COUNT_MAX 63
#define CONFIG_PEER_COUNT_MAX 64
#define CONFIG_SYNC_USER_COUNT_MAX 64
#define CONFIG_ADMIN_COUNT_MAX 64
#define CONFIG_GROUP_COUNT_MAX 256
#define CONFIG_MEMBERS_SIZE_MAX 65536 /* bytes of the names of a group's members */

/* "HOST:PORT", "[IPV6]:PORT", "*:PORT" or "unix:PATH". */
struct config_address {
	char *text; /* as written; NULL: not given */
	char *host; /* NULL: a UNIX socket */
	uint16_t port;
	char *path; /* NULL: TCP */
};

struct config_pin {
	bool is_set;
	unsigned char bytes[32]; /* SHA-256 of the peer's certificate in DER form */
};

enum config_protocol { CONFIG_PROTOCOL_IMAP, CONFIG_PROTOCOL_LMTP };
enum config_commit { CONFIG_COMMIT_ASYNC, CONFIG_COMMIT_SYNC };
enum config_fallback { CONFIG_FALLBACK_ACCEPT, CONFIG_FALLBACK_REFUSE };
enum config_new_accounts { CONFIG_NEW_MULTI, CONFIG_NEW_MASTER };
enum config_quota_refusal { CONFIG_QUOTA_TEMPORARY, CONFIG_QUOTA_PERMANENT };
enum config_account_names { CONFIG_NAMES_LOCAL_PART, CONFIG_NAMES_ADDRESS };
/* In the order of enum net_tls_mode. */
enum config_tls { CONFIG_TLS_NONE, CONFIG_TLS_START, CONFIG_TLS_IMPLICIT };

/* Each begins with its title, which libconfuse keeps apart from the keys. */
struct config_listener {
	char *name;
	struct config_address address;
	int protocol; /* enum config_protocol */
	int tls;      /* enum config_tls */
};

struct config_sync_user {
	char *name;
	char *password_file;   /* NULL: he has no password */
	char *certificate;     /* a pin, or a name in a verified certificate; NULL: neither */
	struct config_pin pin; /* the pin, if it is one */
	char *accounts;        /* sync/account_filter.h; NULL: all */
	char *mailboxes;       /* the same */
	bool is_read_only;
	bool no_delete;
	char *backup_folder; /* he keeps a backup there, and nothing else; NULL: accounts */
	bool backup_prune;
};

struct config_admin {
	char *name;
	char *password_file; /* NULL: the password of his account */
	bool is_read_only;
};

enum config_certificate_name { CONFIG_CERTIFICATE_EMAIL, CONFIG_CERTIFICATE_COMMON_NAME };

/* How users may show who they are. */
struct config_login {
	char *mechanisms; /* NULL: all that can work */
	bool scram_sha_1;
	char *client_ca;           /* NULL: no certificates of users */
	int certificate_name;      /* enum config_certificate_name */
	char *saslauthd;           /* NULL: passwords are in the store only */
	char *token_introspection; /* NULL: no tokens */
	char *token_client, *token_secret_file, *token_ca_file;
	char *token_scope, *token_audience, *token_name;
	uint64_t token_cache_s;
	char *gssapi_keytab; /* NULL: no GSSAPI */
	char *gssapi_realm;
	char *gssapi_host; /* NULL: the machine's name */
};

struct config_peer {
	char *name;
	struct config_address address;
	char *user;
	char *password_file;
	int tls; /* enum config_tls */
	char *ca_file;
	struct config_pin pin;
	char *certificate, *key; /* our own; NULL: none, in the certificate's file */
	char *accounts;          /* sync/account_filter.h; NULL: all */
	char *mailboxes;         /* the same */
	uint64_t backlog_rate_max;
	int commit; /* enum config_commit */
	uint64_t commit_timeout_ms;
	int commit_fallback; /* enum config_fallback */
	bool uid_authority;
};

/* Where a clone comes from (chapar clone). */
struct config_origin {
	struct config_address address; /* text NULL: the node is no clone */
	char *user;                    /* who we are there: an ordinary user */
	int tls;                       /* enum config_tls */
	char *ca_file;
	struct config_pin pin;
	char *password_file;       /* NULL: whoever runs the tool is asked */
	char *local_password_file; /* what mail programs log in here with; NULL: as at the origin */
};

/* Users whom rights to mailboxes can name together. */
struct config_group {
	char *name;
	char *members; /* user names, separated by blanks or commas */
};

struct config {
	char *file;   /* absolute */
	char *folder; /* of the file, absolute */

	char *node;
	char *client_host; /* NULL: not known */
	int new_accounts;  /* enum config_new_accounts */
	bool allow_plaintext_loopback;
	bool create_accounts_on_delivery;
	int account_names; /* enum config_account_names */
	int log_level;     /* enum log_level */
	uint64_t message_size_max;
	uint64_t search_cache;  /* bytes */
	uint64_t quota_storage; /* bytes; 0: no limit, as with the next three */
	uint64_t quota_messages;
	uint64_t quota_mailboxes;
	uint64_t quota_annotations; /* bytes */
	uint64_t quota_warning;     /* percent; 0: never */
	int quota_refusal;          /* enum config_quota_refusal */
	char *other_users_prefix;   /* first levels of the names of others' mailboxes */
	char *shared_prefix;
	uint64_t workers;
	uint64_t io_threads;
	uint64_t connections_max;
	uint64_t user_connections_max;    /* 0: unlimited */
	uint64_t address_connections_max; /* 0: unlimited */
	uint64_t stop_timeout_s;
	uint64_t horizon_days;
	uint64_t keep_expunged_days;
	char *user;     /* NULL: stay who we are */
	char *pid_file; /* NULL: none */

	char *store_path;
	uint64_t store_compression;

	char *tls_certificate; /* NULL: no TLS */
	char *tls_key;

	struct config_listener *listeners;
	size_t listener_count;
	struct config_sync_user *sync_users;
	size_t sync_user_count;
	struct config_admin *admins;
	size_t admin_count;
	struct config_login login;
	struct config_peer *peers;
	size_t peer_count;
	struct config_origin origin;
	struct config_group *groups;
	size_t group_count;
};

/*
 * Reads and checks the file; on 0 *config_r is the caller's until config_free(). Does not read the
 * files that it names. Errors: ERR_NOT_FOUND, ERR_IO (the file cannot be read), ERR_INVALID
 * (FILE:LINE and the reason).
 */
int config_load(const char *file, struct config **config_r, struct error *error);
/* Sets *config to NULL. A NULL *config is allowed. */
void config_free(struct config **config);

/* What peers and clients know the node by. */
void config_node_name(const struct config *config, struct node_name *name_r);

/*
 * The groups in the form that identities have them in, names and members normalized. The caller's
 * until config_groups_free(), which sets *groups to NULL; the configuration may go before.
 */
struct identity_groups *config_groups_new(const struct config *config);
void config_groups_free(struct identity_groups **groups);

/* 64 hexadecimal digits, which colons may stand between. ERR_INVALID. */
int config_pin_parse(const char *text, struct config_pin *pin_r, struct error *error);

/*
 * Reads the secret in a password file, without the line's end, to *secret. ERR_INVALID: empty, too
 * long, more than one line; ERR_REFUSED: other users may read or write the file; ERR_NOT_FOUND,
 * ERR_IO.
 */
int config_secret_read(const char *file, struct buffer *secret, struct error *error);

/*
 * A peer that is not in the file: its section as words KEY=VALUE, with the checks of the file.
 * Relative paths are as in the file of `config`. ERR_INVALID with the reason. *peer_r is freed by
 * config_peer_free(), which sets *peer to NULL.
 */
int config_peer_parse(const struct config *config, const char *name, const char *const *words,
	size_t count, struct config_peer **peer_r, struct error *error);
void config_peer_free(struct config_peer **peer);

/* How passwords are stored here. */
struct password_parameters config_password_parameters(const struct config *config);

/* Prints every key with its type, bounds, default and help. */
void config_help(FILE *out);

#endif
