/*
 * watch: what changed in accounts, told as it becomes visible: for IDLE, NOTIFY, and whoever
 * streams changes.
 *
 * A set of watches belongs to one session. What happens is gathered in the watches until the
 * session looks; it is woken once, and again only after it has looked at everything. A change costs
 * what it costs to tell those who watch its account: other watches are not looked at.
 *
 * Memory is bounded by the number of watches, and for those that keep events by
 * WATCH_EVENT_COUNT_MAX: events of one mailbox or register are united (with what was before the
 * first), and what would be more is given up and told as an overflow.
 *
 * Who waits to be granted something does not know by which account: WATCH_GRANTS is of all
 * accounts, and is told of entries of ACLs that are meant for its user.
 *
 * A set is used by one thread at a time. The wake function runs on the committer's thread.
 */
#ifndef CHAPAR_MAIL_WATCH_H
#define CHAPAR_MAIL_WATCH_H

#include "mail/record.h"

#define WATCH_EVENT_COUNT_MAX 1000 /* kept by one watch */

struct identity;
struct mail;
struct watch_set;
struct watch;

#define WATCH_ALL_ACCOUNTS UINT32_MAX /* as an account's number, for WATCH_ANY */

enum watch_kind {
	WATCH_ANY,     /* whether anything changed in the account */
	WATCH_MAILBOX, /* whether anything changed in one mailbox, its registers included */
	WATCH_EVENTS,  /* what changed */
	WATCH_GRANTS   /* which entries of ACLs for one user changed, in any account */
};

enum watch_change {                /* a set of bits */
	WATCH_MESSAGE_NEW = 1,     /* a UID is shown that was not */
	WATCH_MESSAGE_EXPUNGE = 2, /* one is shown no more */
	WATCH_FLAGS = 4,
	WATCH_NAME = 8, /* made, renamed or deleted */
	WATCH_ANNOTATIONS = 16
};

/* Of a mailbox or a register; how it is now is to be read from the account. */
struct watch_event {
	uint32_t account;      /* that it is in */
	enum record_kind kind; /* RECORD_MAILBOX, or the register's */
	struct id128 mailbox;  /* none for registers of the account */
	unsigned changes;      /* of a mailbox: of enum watch_change; 0: nothing of these */
	bool was_there;        /* before: the mailbox was live, the register was set */
	struct bytes name;     /* of a mailbox: before; of a register: its key */
	struct bytes value;    /* of an ACL entry: before; else empty */
	uint64_t position;     /* of the commit that did it; 0: not known, or several */
};

/* The last commits of the session itself, whose events are left out; zeroed at first. */
#define WATCH_OWN_COUNT 8
struct watch_own {
	uint64_t positions[WATCH_OWN_COUNT];
	unsigned next;
};
void watch_own_add(struct watch_own *own, uint64_t position);

struct watch_news {
	struct watch_event *events; /* in the arena */
	size_t count;
	bool is_overflow; /* some were given up */
};

/* `function` must not block and must not call this module. */
struct watch_set *watch_set_new(struct mail *mail, void (*function)(void *context), void *context);
/* After it returns, the function is not running and will not be called again. Sets *set to NULL; a
 * NULL *set is allowed. */
void watch_set_free(struct watch_set **set);

/* What commits up to `position` did is known already: their events are not told, however late they
 * come. Before the set has watches. */
void watch_set_since(struct watch_set *set, uint64_t position);

/* `mailbox` for WATCH_MAILBOX only. Told from now on is what is not yet visible. */
struct watch *watch_add(
	struct watch_set *set, uint32_t account, enum watch_kind kind, struct id128 mailbox);
/* `identity` is borrowed, and must not change as long as the watch is there. */
struct watch *watch_add_grants(struct watch_set *set, const struct identity *identity);
/* Whether a watch of the set is of that kind and account. */
bool watch_set_has(const struct watch_set *set, uint32_t account, enum watch_kind kind);
/* Sets *watch to NULL; a NULL *watch is allowed. */
void watch_remove(struct watch **watch);

/*
 * The next watch with news, or NULL; the set then wakes again. It has none after this. Of `own`
 * (which may be NULL) nothing is told, unless so much waits that it was united with other changes.
 */
struct watch *watch_next(struct watch_set *set, struct arena *arena, const struct watch_own *own,
	struct watch_news *news_r);
/* 0: of none, or of all. */
uint32_t watch_account(const struct watch *watch);

#endif
