/*
 * annotation: registers of kind RECORD_ANNOTATION: metadata of mailboxes and of the server (RFC
 * 5464) and annotations of messages (RFC 5257). Of each the later stamp wins, wherever it was made.
 *
 * Keys. Metadata: the mailbox's id (none: of the server), and the scope's letter followed by the
 * entry. Of a message: 'm', the message's instance (16 bytes), the scope's letter and the entry; so
 * they follow a MOVE and a new UID. Private ones of other accounts' mailboxes and messages are in
 * the account of who wrote them: under the mailbox's id, or for messages under the id of the
 * account that the message is in (`owner` below; none: the account itself).
 *
 * Entries are kept in lower case, for they are the same in any (RFC 5464, section 3.2.1). Deleting
 * a mailbox or expunging a message makes tombstones of its annotations in the same commit.
 */
#ifndef CHAPAR_MAIL_ANNOTATION_H
#define CHAPAR_MAIL_ANNOTATION_H

#include "mail/mail.h"

#define ANNOTATION_ENTRY_SIZE_MAX (REGISTER_KEY_SIZE_MAX - 18) /* bytes */
#define ANNOTATION_VALUE_SIZE_MAX (32u * 1024)                 /* bytes */
#define ANNOTATION_COUNT_MAX 1000                /* of one mailbox, private and shared each */
#define ANNOTATION_TOTAL_SIZE_MAX (1024u * 1024) /* bytes of their values */
#define ANNOTATION_MESSAGE_COUNT_MAX 100         /* of one message, private and shared each */

/* Shared entries of the server as a whole are those of this account; it gets no mail. */
#define ANNOTATION_SERVER_ACCOUNT "#server"

/* A flag that is never set: its stamp is that of the last change of the message's annotations, so
 * that such a change is a change of the message to CONDSTORE and to merges. */
#define ANNOTATION_FLAG "\\Annotation"

enum annotation_scope { ANNOTATION_PRIVATE = 'p', ANNOTATION_SHARED = 's' };

struct annotation {
	enum annotation_scope scope;
	struct bytes entry; /* "/comment" */
	bool is_set;
	struct bytes value;
	uint64_t modseq; /* when read */
};

/* Bytes that a register adds to the account's ANNOTATION-STORAGE: the size of the value, if it is
 * an annotation of a message that is set. */
uint64_t annotation_message_size(const struct register_record *record);

/*
 * 0 if it can be an entry: begins with '/', no empty level, printable ASCII without '*' and '%'.
 * Else ERR_INVALID, or ERR_TOO_LARGE. Copies it in lower case. With `is_pattern` '*' and '%' may
 * occur, and the beginning may be anything.
 */
int annotation_entry(
	struct arena *arena, struct bytes text, bool is_pattern, struct bytes *entry_r);

/* The message that a register's key says it is an annotation of; false: it is none. */
bool annotation_instance(const struct register_record *record, struct stamp *instance_r);
/* Whether others may see it (ANNOTATION_SHARED), by its key; false: it is no annotation. */
bool annotation_is_shared(const struct register_record *record);
/* What the keys of a message's annotations begin with; in `at`. */
struct bytes annotation_prefix(unsigned char at[REGISTER_KEY_SIZE_MAX], struct stamp instance);

/* False: the account holds no annotation of the message, and never did. */
bool annotation_was_made(const struct message_record *message);

/* ---- reading; in order of scope and entry; cleared ones too, told by is_set ---- */
typedef int annotation_function(void *context, const struct annotation *annotation);

/* Metadata of one scope whose entries begin with `prefix`. */
int metadata_each(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	enum annotation_scope scope, struct bytes prefix, struct arena *arena,
	annotation_function *function, void *context);
/* ERR_NOT_FOUND if it is not set. */
int metadata_get(struct kv_txn *kv, uint32_t account, struct id128 mailbox,
	enum annotation_scope scope, struct bytes entry, struct arena *arena,
	struct bytes *value_r);
int message_annotation_each(struct kv_txn *kv, uint32_t account, struct id128 owner,
	struct stamp instance, struct arena *arena, annotation_function *function, void *context);

/* ---- changing: each call one durable commit, but for steps ---- */

/* What one SETMETADATA changes. */
struct metadata_change {
	uint32_t account; /* the mailbox's, or that holds the server's; shared entries go there ...
			   */
	uint32_t own;     /* ... and private ones here: maybe the same */
	struct id128 mailbox; /* none: the server */
	const struct annotation *entries;
	size_t count;
	bool sets_special_use; /* of the mailbox, as mailbox_set_special_use() does */
	struct bytes special_use;
};

/*
 * All or none, in both accounts. ERR_TOO_LARGE: too many, or too much in all. ERR_NOT_FOUND: the
 * mailbox is gone (which is not looked at for private entries in another account). ERR_EXISTS:
 * another mailbox has the special use.
 */
int metadata_set(struct mail *mail, const struct metadata_change *change, struct error *error,
	uint64_t *position_r);

/*
 * Annotates the shown UIDs of the set, in steps like message_store(), with which it shares
 * `unchanged_since`, *changed_r and *modified_r. ERR_TOO_LARGE: too many of one message;
 * ERR_OVERQUOTA.
 */
int message_annotate(struct mail *mail, uint32_t account, struct id128 mailbox,
	const struct uid_set *uids, const struct annotation *changes, size_t count,
	uint64_t unchanged_since, struct error *error, struct uid_set *changed_r,
	struct uid_set *modified_r, uint64_t *position_r);
/* Private annotations, in `account`, of messages in another; `owner` is that one's id. The messages
 * do not change by it. All or none. */
int message_annotate_privately(struct mail *mail, uint32_t account, struct id128 owner,
	const struct stamp *instances, size_t instance_count, const struct annotation *changes,
	size_t count, struct error *error, uint64_t *position_r);

/* ---- inside a commit ---- */

/* Writes the annotations of a message that is to be put after it; raises its modseq and stamps
 * ANNOTATION_FLAG. *is_changed_r: whether anything differs from before. */
int annotations_put(struct account_write *write, struct message_record *message,
	const struct annotation *changes, size_t count, bool *is_changed_r);
/* ERR_TOO_LARGE: the mailbox has more metadata, or more in all, than it may. */
int metadata_check(struct account_write *write, struct id128 mailbox);
/* Gives mailbox `to` all metadata of `from`, of the same account. */
int annotations_copy_mailbox(struct account_write *write, struct id128 from, struct id128 to);
/* Makes tombstones of all of the mailbox, or of the message. */
int annotations_clear_mailbox(struct account_write *write, struct id128 mailbox);
int annotations_clear_message(struct account_write *write, const struct message_record *message);
/* The private ones among `changes`, of a message in account `owner`, for the user of account `own`.
 */
int annotations_put_privately(struct account_write *own, struct id128 owner, struct stamp instance,
	const struct annotation *changes, size_t count);
/*
 * Gives a copy, which was just put into account `to`, what the user of account `own` has of the
 * original in account `from` privately. One of them at least is not his.
 */
int annotations_copy_privately(struct account_write *own, const struct account_write *from,
	struct stamp instance, struct account_write *to, struct message_record *copy);
/* Gives a copy of a message, which was just put, what the original has, and puts it again; from
 * another account only what is shared. */
int annotations_copy(struct account_write *write, uint32_t from_account,
	const struct message_record *from, struct message_record *copy);
/* The same of what an expunged message had, for the one that takes its place. */
int annotations_bring_back(struct account_write *write, const struct message_record *gone,
	struct message_record *message);

#endif
