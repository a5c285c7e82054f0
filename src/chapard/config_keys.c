/*
 * config_keys: the table of all configuration keys. packaging/man/chapard.conf.5 tells the same at
 * greater length; a test compares the two.
 */
#include "chapard/config_private.h"

#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)
#define QUOTA_MAX (MIB * MIB)

#define AT(type, field) offsetof(struct type, field)
#define TLS_CHOICES "none|starttls|implicit"

static const struct config_key root_keys[] = {
	{ "node", CONFIG_NAME, AT(config, node), .is_required = true,
		.help = "Name of this node: unique among all nodes that replicate with each "
			"other." },
	{ "client-host", CONFIG_STRING, AT(config, client_host),
		.help = "Host name where clients reach this node: the clients of a replica are "
			"referred to it." },
	{ "new-accounts", CONFIG_CHOICE, AT(config, new_accounts), .default_text = "multi",
		.choices = "multi|master",
		.help = "Whether accounts made here can be changed on all nodes, or have this "
			"node as their master." },
	{ "allow-plaintext-loopback", CONFIG_BOOL, AT(config, allow_plaintext_loopback),
		.default_text = "false",
		.help = "Allow clients on this machine to log in without TLS." },
	{ "create-accounts-on-delivery", CONFIG_BOOL, AT(config, create_accounts_on_delivery),
		.default_text = "false",
		.help = "Make an account when mail for it arrives by LMTP; else such mail is "
			"refused." },
	{ "account-names", CONFIG_CHOICE, AT(config, account_names), .default_text = "local-part",
		.choices = "local-part|address",
		.help = "What of a mail address is the account's name: what is before the @, or "
			"all." },
	{ "log-level", CONFIG_CHOICE, AT(config, log_level), .default_text = "info",
		.choices = "debug|info|warning|error",
		.help = "Least level of the events that are logged to standard error." },
	{ "message-size-max", CONFIG_NUMBER, AT(config, message_size_max), .default_text = "64M",
		.minimum = 64 * KIB, .maximum = 128 * MIB,
		.help = "Largest message taken from clients and by LMTP, in bytes." },
	{ "quota-storage", CONFIG_NUMBER, AT(config, quota_storage), .default_text = "0",
		.maximum = QUOTA_MAX,
		.help = "Bytes that the messages of an account may have, in steps of 1K; 0: no "
			"limit." },
	{ "quota-messages", CONFIG_NUMBER, AT(config, quota_messages), .default_text = "0",
		.maximum = QUOTA_MAX, .help = "Messages that an account may hold; 0: no limit." },
	{ "quota-mailboxes", CONFIG_NUMBER, AT(config, quota_mailboxes), .default_text = "0",
		.maximum = QUOTA_MAX,
		.help = "Mailboxes that an account may have, INBOX among them; 0: no limit." },
	{ "quota-annotations", CONFIG_NUMBER, AT(config, quota_annotations), .default_text = "0",
		.maximum = QUOTA_MAX,
		.help = "Bytes that the annotations of an account's messages may have; 0: no "
			"limit." },
	{ "quota-warning", CONFIG_NUMBER, AT(config, quota_warning), .default_text = "90",
		.maximum = 100,
		.help = "Per cent of a limit from which on IMAP clients are warned; 0: never." },
	{ "quota-refusal", CONFIG_CHOICE, AT(config, quota_refusal), .default_text = "temporary",
		.choices = "temporary|permanent",
		.help = "Whether mail for a full account waits at its sender (452) or goes back "
			"(552)." },
	{ "other-users-prefix", CONFIG_LEVEL, AT(config, other_users_prefix),
		.default_text = "Other Users",
		.help = "First level of the names under which users see each other's mailboxes." },
	{ "shared-prefix", CONFIG_LEVEL, AT(config, shared_prefix), .default_text = "Shared",
		.help = "First level of the names under which users see mailboxes of shared "
			"accounts." },
	{ "workers", CONFIG_NUMBER, AT(config, workers), .default_text = "32", .minimum = 1,
		.maximum = 1024, .help = "Number of threads that run the commands of clients." },
	{ "io-threads", CONFIG_NUMBER, AT(config, io_threads), .default_text = "2", .minimum = 1,
		.maximum = 64, .help = "Number of threads that read and write sockets." },
	{ "search-cache", CONFIG_NUMBER, AT(config, search_cache), .default_text = "16M",
		.minimum = 64 * KIB, .maximum = 64 * 1024 * (uint64_t)MIB,
		.help = "Bytes of memory in which flags and header fields that searches went "
			"through are kept for the next." },
	{ "connections-max", CONFIG_NUMBER, AT(config, connections_max), .default_text = "12000",
		.minimum = 1, .maximum = 1000000,
		.help = "Number of clients served at one time; further ones are told to come "
			"back." },
	{ "horizon", CONFIG_NUMBER, AT(config, horizon_days), .default_text = "30", .minimum = 1,
		.maximum = 36500,
		.help = "Days for which what was deleted is kept and can be brought back; a node "
			"may be away for so long." },
	{ "keep-expunged", CONFIG_NUMBER, AT(config, keep_expunged_days), .default_text = "36500",
		.minimum = 0, .maximum = 36500,
		.help = "Days for which messages deleted by clients of this node can be brought "
			"back, if less than horizon." },
	{ "connections-per-user-max", CONFIG_NUMBER, AT(config, user_connections_max),
		.default_text = "0", .minimum = 0, .maximum = 1000000,
		.help = "Number of sessions of one user at one time; 0: as many as he likes." },
	{ "connections-per-address-max", CONFIG_NUMBER, AT(config, address_connections_max),
		.default_text = "0", .minimum = 0, .maximum = 1000000,
		.help = "Number of clients from one address at one time, or from one /64 network "
			"of IPv6; 0: unlimited. Does not count this machine's own." },
	{ "stop-timeout", CONFIG_NUMBER, AT(config, stop_timeout_s), .default_text = "10",
		.minimum = 0, .maximum = 600,
		.help = "Seconds that clients are given to take their last words when the daemon "
			"stops." },
	{ "user", CONFIG_STRING, AT(config, user),
		.help = "System user that the daemon becomes after it has bound its addresses." },
	{ "pid-file", CONFIG_PATH, AT(config, pid_file),
		.help = "File that holds the process id from when clients are served until the "
			"end." },
};

static const struct config_key store_keys[] = {
	{ "path", CONFIG_PATH, AT(config, store_path), .is_required = true,
		.help = "Folder of the store; made if it does not exist." },
	{ "compression", CONFIG_NUMBER, AT(config, store_compression), .default_text = "1",
		.minimum = 0, .maximum = 19,
		.help = "zstd level for message bodies; 0 stores them as they are." },
};

static const struct config_key tls_keys[] = {
	{ "certificate", CONFIG_PATH, AT(config, tls_certificate), .is_required = true,
		.help = "PEM file with the certificate and its chain; read again on SIGHUP." },
	{ "key", CONFIG_PATH, AT(config, tls_key),
		.help = "PEM file with the private key; by default in the certificate's file." },
};

static const struct config_key listener_keys[] = {
	{ "address", CONFIG_ADDRESS, AT(config_listener, address), .is_required = true,
		.help = "HOST:PORT, [IPV6]:PORT, *:PORT (all addresses) or unix:PATH; "
			"port 0 takes a free one." },
	{ "protocol", CONFIG_CHOICE, AT(config_listener, protocol), .choices = "imap|lmtp",
		.help = "What is spoken there; by default what the title says (imap, imaps, "
			"lmtp)." },
	{ "tls", CONFIG_CHOICE, AT(config_listener, tls), .choices = TLS_CHOICES,
		.help = "By default implicit for the title imaps, else starttls where a tls "
			"section "
			"is given." },
};

static const struct config_key sync_user_keys[] = {
	{ "password-file", CONFIG_PATH, AT(config_sync_user, password_file),
		.help = "File whose one line is the password; not readable for others." },
	{ "certificate", CONFIG_TEXT, AT(config_sync_user, certificate),
		.help = "Certificate by which the node may log in (EXTERNAL): its SHA-256 as 64 "
			"hexadecimal digits, or a host name or mail address in one that a "
			"client-ca has issued." },
	{ "accounts", CONFIG_PATTERNS, AT(config_sync_user, accounts),
		.help = "Patterns of the accounts that it may see and change, separated by "
			"blanks; one that begins with ! excludes. By default all." },
	{ "mailboxes", CONFIG_MAILBOX_PATTERNS, AT(config_sync_user, mailboxes),
		.help = "Patterns of the mailboxes that it may see and change, separated by "
			"commas; one that begins with ! excludes. By default all." },
	{ "read-only", CONFIG_BOOL, AT(config_sync_user, is_read_only), .default_text = "false",
		.help = "It may take, and change nothing here." },
	{ "no-delete", CONFIG_BOOL, AT(config_sync_user, no_delete), .default_text = "false",
		.help = "Its changes may not expunge messages nor delete mailboxes here." },
	{ "backup-folder", CONFIG_PATH, AT(config_sync_user, backup_folder),
		.help = "It is for no account, but keeps a backup of its own in this folder, to "
			"which it may add and which it may read (chapar backup imaps://...)." },
	{ "backup-prune", CONFIG_BOOL, AT(config_sync_user, backup_prune), .default_text = "false",
		.help = "It may also take points of that backup away (chapar backup prune)." },
};

static const struct config_key admin_keys[] = {
	{ "password-file", CONFIG_PATH, AT(config_admin, password_file),
		.help = "File whose one line is the password; by default the account of that "
			"name has one." },
	{ "read-only", CONFIG_BOOL, AT(config_admin, is_read_only), .default_text = "false",
		.help = "May look at everything and change nothing." },
};

static const struct config_key login_keys[] = {
	{ "mechanisms", CONFIG_TEXT, AT(config, login.mechanisms),
		.help = "The only SASL mechanisms that are offered, separated by blanks. By "
			"default all that can work." },
	{ "scram-sha-1", CONFIG_BOOL, AT(config, login.scram_sha_1), .default_text = "false",
		.help = "Keep SCRAM-SHA-1 keys of new passwords too, and offer it, for old "
			"clients." },
	{ "client-ca", CONFIG_PATH, AT(config, login.client_ca),
		.help = "PEM file of the authorities whose certificates users log in with "
			"(EXTERNAL)." },
	{ "certificate-name", CONFIG_CHOICE, AT(config, login.certificate_name),
		.default_text = "email", .choices = "email|common-name",
		.help = "What of a certificate names the user: the mail address among the "
			"alternative names, treated as account-names says, or the common name." },
	{ "saslauthd", CONFIG_PATH, AT(config, login.saslauthd),
		.help = "Socket of saslauthd, which is asked about the passwords of users that "
			"have none in the store (PAM, LDAP)." },
	{ "token-introspection", CONFIG_TEXT, AT(config, login.token_introspection),
		.help = "URL (https) where the authorization server tells about access tokens "
			"(OAUTHBEARER, XOAUTH2)." },
	{ "token-client", CONFIG_TEXT, AT(config, login.token_client),
		.help = "Under which name the authorization server knows us." },
	{ "token-secret-file", CONFIG_PATH, AT(config, login.token_secret_file),
		.help = "File whose one line is our secret there; not readable for others." },
	{ "token-ca-file", CONFIG_PATH, AT(config, login.token_ca_file),
		.help = "PEM file of the authorities that may vouch for the authorization "
			"server; by default the system's." },
	{ "token-scope", CONFIG_TEXT, AT(config, login.token_scope),
		.help = "Scopes that a token must have, separated by blanks." },
	{ "token-audience", CONFIG_TEXT, AT(config, login.token_audience),
		.help = "Whom a token must be meant for." },
	{ "token-name", CONFIG_STRING, AT(config, login.token_name), .default_text = "username",
		.help = "The claim that holds the user's name." },
	{ "token-cache", CONFIG_NUMBER, AT(config, login.token_cache_s), .default_text = "60",
		.minimum = 0, .maximum = 3600,
		.help = "Seconds for which a good token is not asked about again; 0: always "
			"ask." },
	{ "gssapi-keytab", CONFIG_PATH, AT(config, login.gssapi_keytab),
		.help = "Keytab with the key of imap/HOST, for GSSAPI (Kerberos)." },
	{ "gssapi-realm", CONFIG_TEXT, AT(config, login.gssapi_realm),
		.help = "The realm whose principals are our users." },
	{ "gssapi-host", CONFIG_TEXT, AT(config, login.gssapi_host),
		.help = "HOST of the service's principal; by default this machine's name." },
};

static const struct config_key peer_keys[] = {
	{ "address", CONFIG_ADDRESS, AT(config_peer, address), .is_required = true,
		.help = "HOST:PORT of the peer's IMAP listener, or unix:PATH." },
	{ "user", CONFIG_NAME, AT(config_peer, user), .is_required = true,
		.help = "Name under which the peer knows us (its sync-user)." },
	{ "password-file", CONFIG_PATH, AT(config_peer, password_file),
		.help = "File whose one line is our password there; not readable for others." },
	{ "certificate", CONFIG_PATH, AT(config_peer, certificate),
		.help = "PEM file of our own certificate, with which we log in there instead "
			"(EXTERNAL)." },
	{ "key", CONFIG_PATH, AT(config_peer, key),
		.help = "PEM file with its private key; by default in the certificate's file." },
	{ "tls", CONFIG_CHOICE, AT(config_peer, tls), .default_text = "starttls",
		.choices = TLS_CHOICES, .help = "How the connection is protected." },
	{ "ca-file", CONFIG_PATH, AT(config_peer, ca_file),
		.help = "PEM file of the CAs that may vouch for the peer; by default the "
			"system's." },
	{ "pin", CONFIG_PIN, AT(config_peer, pin),
		.help = "SHA-256 of the peer's certificate: exactly that one is accepted." },
	{ "accounts", CONFIG_PATTERNS, AT(config_peer, accounts),
		.help = "Patterns of the accounts that are sent there, separated by blanks; one "
			"that begins with ! excludes. By default all." },
	{ "mailboxes", CONFIG_MAILBOX_PATTERNS, AT(config_peer, mailboxes),
		.help = "Patterns of the mailboxes that are exchanged with it, separated by "
			"commas; one that begins with ! excludes. By default all." },
	{ "commit", CONFIG_CHOICE, AT(config_peer, commit), .default_text = "async",
		.choices = "async|sync",
		.help = "Whether clients are told OK when a change is on the disk here, or on the "
			"peer's, too." },
	{ "commit-timeout", CONFIG_NUMBER, AT(config_peer, commit_timeout_ms),
		.default_text = "1000", .minimum = 1, .maximum = 60000,
		.help = "Milliseconds that a client waits for the peer in commit = sync." },
	{ "commit-fallback", CONFIG_CHOICE, AT(config_peer, commit_fallback),
		.default_text = "accept", .choices = "accept|refuse",
		.help = "What a client is told if the peer has not confirmed in time: that it is "
			"done, or that it is not sure." },
	{ "uid-authority", CONFIG_BOOL, AT(config_peer, uid_authority), .default_text = "true",
		.help = "Let the two nodes agree which of them gives the UIDs of an account, so "
			"that no message is renumbered while they see each other." },
	{ "backlog-rate-max", CONFIG_NUMBER, AT(config_peer, backlog_rate_max), .default_text = "0",
		.minimum = 0, .maximum = MIB * 1024 * 1024,
		.help = "Bytes per second for first syncs and backlogs, so that they leave room "
			"on the line; 0: as fast as it goes." },
};

static const struct config_key origin_keys[] = {
	{ "address", CONFIG_ADDRESS, AT(config, origin.address), .is_required = true,
		.help = "HOST:PORT of the IMAP listener of the node that was cloned, or "
			"unix:PATH." },
	{ "user", CONFIG_TEXT, AT(config, origin.user), .is_required = true,
		.help = "Login name there." },
	{ "tls", CONFIG_CHOICE, AT(config, origin.tls), .default_text = "implicit",
		.choices = TLS_CHOICES,
		.help = "How the connection is protected; none to this machine only." },
	{ "ca-file", CONFIG_PATH, AT(config, origin.ca_file),
		.help = "PEM file of the CAs that may vouch for the origin; by default the "
			"system's." },
	{ "pin", CONFIG_PIN, AT(config, origin.pin),
		.help = "SHA-256 of the origin's certificate: exactly that one is accepted." },
	{ "password-file", CONFIG_PATH, AT(config, origin.password_file),
		.help = "File whose one line is the password there; not readable for others. By "
			"default the tool asks." },
	{ "local-password-file", CONFIG_PATH, AT(config, origin.local_password_file),
		.help = "File whose one line is what mail programs log in to this copy with. By "
			"default the same passwords as at the origin." },
};

static const struct config_key group_keys[] = {
	{ "members", CONFIG_MEMBERS, AT(config_group, members), .is_required = true,
		.help = "Names of users, separated by blanks." },
};

#define KEYS(table) (table), sizeof(table) / sizeof((table)[0])

const struct config_section config_sections[CONFIG_SECTION_COUNT] = {
	{ "", KEYS(root_keys), .help = "Keys outside of any section." },
	{ "store", KEYS(store_keys), .is_required = true, .help = "Where the mail is kept." },
	{ "tls", KEYS(tls_keys), .help = "The certificate of this server." },
	{ "listen", KEYS(listener_keys), sizeof(struct config_listener), AT(config, listeners),
		AT(config, listener_count), CONFIG_LISTENER_COUNT_MAX, .is_required = true,
		.help = "An address that clients are served on; the title names it in the log." },
	{ "sync-user", KEYS(sync_user_keys), sizeof(struct config_sync_user),
		AT(config, sync_users), AT(config, sync_user_count), CONFIG_SYNC_USER_COUNT_MAX,
		.help = "A node that may replicate accounts. Its title is its login name." },
	{ "admin", KEYS(admin_keys), sizeof(struct config_admin), AT(config, admins),
		AT(config, admin_count), CONFIG_ADMIN_COUNT_MAX,
		.help = "A user who may log in as any other, and administer all mailboxes. Its "
			"title is his name." },
	{ "login", KEYS(login_keys), .help = "How users show who they are." },
	{ "peer", KEYS(peer_keys), sizeof(struct config_peer), AT(config, peers),
		AT(config, peer_count), CONFIG_PEER_COUNT_MAX,
		.help = "A node that our changes are sent to, merged with its own." },
	{ "origin", KEYS(origin_keys),
		.help = "Where this copy was cloned from; written by chapar "
			"clone." },
	{ "group", KEYS(group_keys), sizeof(struct config_group), AT(config, groups),
		AT(config, group_count), CONFIG_GROUP_COUNT_MAX,
		.help = "Users whom rights to mailboxes name together, as group:TITLE." },
};
