/*
 * tables: where the mail layer keeps what in the key-value store. All numbers in keys are
 * big-endian; ACCOUNT is the account's number (32 bits), MAILBOX an id (128 bits), STAMP modseq and
 * node (64 bits each).
 */
#ifndef CHAPAR_MAIL_TABLES_H
#define CHAPAR_MAIL_TABLES_H

#include "mail/record.h"

#include "store/store.h"

enum mail_table {
	MAIL_TABLE_ACCOUNT = STORE_TABLE_FIRST_FREE, /* ACCOUNT -> header */
	MAIL_TABLE_ACCOUNT_NAME,                     /* name -> ACCOUNT */
	MAIL_TABLE_MAILBOX,                          /* ACCOUNT MAILBOX -> record */
	MAIL_TABLE_MAILBOX_NAME,                     /* ACCOUNT name -> MAILBOX (live ones) */
	MAIL_TABLE_MESSAGE,  /* ACCOUNT MAILBOX UID -> record (shown ones) */
	MAIL_TABLE_INSTANCE, /* ACCOUNT STAMP -> 'S' MAILBOX UID, or 'T' record (not shown) */
	MAIL_TABLE_MODSEQ,   /* ACCOUNT MAILBOX modseq UID -> 'S' shown or 'V' vanished */
	MAIL_TABLE_SEQUENCE, /* ACCOUNT sequence -> kind and key of the record last written there */
	MAIL_TABLE_REGISTER, /* ACCOUNT kind MAILBOX key -> record */
	MAIL_TABLE_SUMMARY,  /* GUID -> mime_summary blob; derived, not logged */
	MAIL_TABLE_COMMON,   /* ACCOUNT peer node -> last common point with that peer;
				node 0: where its first copy stands (hold.c) */
	MAIL_TABLE_CHANNEL,  /* channel name -> cursor in the feed, and peer node */
	MAIL_TABLE_CONFLICT, /* ACCOUNT modseq counter -> conflict journal entry */
	MAIL_TABLE_GRANT,    /* identifier NUL ACCOUNT MAILBOX -> nothing (acl registers) */
	/* ACCOUNT OWNER modseq STAMP -> '+' or '-' (seen registers of mail/seen.h; OWNER: an
	 * account's id); under the modseq SEEN_ARRIVED those that are to be settled; under 0, and
	 * no STAMP, OWNER's number once a cursor was told to ACCOUNT. */
	MAIL_TABLE_SEEN,
	MAIL_TABLE_SEEN_BY, /* OWNER STAMP ACCOUNT -> nothing (the same) */
	MAIL_TABLE_COPYING, /* ACCOUNT id UID -> MAILBOX last UID, run (copying.c) */
	MAIL_TABLE_EXPIRY =
		STORE_TABLE_COUNT - 2 /* TIME ACCOUNT KIND key -> see account_expire.c */
};

#define MAILBOX_KEY_SIZE 20
#define MESSAGE_KEY_SIZE 24
#define INSTANCE_KEY_SIZE 20
#define MODSEQ_KEY_SIZE 32
#define SEQUENCE_KEY_SIZE 12
#define REGISTER_KEY_SIZE (4 + 1 + 16 + REGISTER_KEY_SIZE_MAX)
#define GRANT_KEY_SIZE (REGISTER_KEY_SIZE_MAX + 1 + 4 + 16)
#define SEEN_KEY_SIZE 44
#define SEEN_ARRIVED UINT64_MAX
#define SEEN_BY_KEY_SIZE 36

/* Each builds a key in `at`, which has room for the size named above, and returns it. */
struct bytes account_key(unsigned char at[4], uint32_t account);
struct bytes mailbox_key(
	unsigned char at[MAILBOX_KEY_SIZE], uint32_t account, struct id128 mailbox);
struct bytes message_key(
	unsigned char at[MESSAGE_KEY_SIZE], uint32_t account, struct id128 mailbox, uint32_t uid);
struct bytes instance_key(
	unsigned char at[INSTANCE_KEY_SIZE], uint32_t account, struct stamp instance);
struct bytes modseq_key(unsigned char at[MODSEQ_KEY_SIZE], uint32_t account, struct id128 mailbox,
	uint64_t modseq, uint32_t uid);
struct bytes sequence_key(unsigned char at[SEQUENCE_KEY_SIZE], uint32_t account, uint64_t sequence);
struct bytes register_key(unsigned char at[REGISTER_KEY_SIZE], uint32_t account,
	enum record_kind kind, struct id128 mailbox, struct bytes key);
/* The identifier, without "-" before it, and NUL. */
struct bytes grant_prefix(unsigned char at[GRANT_KEY_SIZE], struct bytes identifier);
struct bytes grant_key(unsigned char at[GRANT_KEY_SIZE], struct bytes identifier, uint32_t account,
	struct id128 mailbox);
struct bytes seen_key(unsigned char at[SEEN_KEY_SIZE], uint32_t account, struct id128 owner,
	uint64_t modseq, struct stamp instance);
/* What comes before ACCOUNT has SEEN_BY_KEY_SIZE - 4 bytes. */
struct bytes seen_by_key(unsigned char at[SEEN_BY_KEY_SIZE], struct id128 owner,
	struct stamp instance, uint32_t account);
/* ACCOUNT and a name of at most MAILBOX_NAME_SIZE_MAX bytes. */
struct bytes name_key(
	unsigned char at[4 + MAILBOX_NAME_SIZE_MAX], uint32_t account, struct bytes name);

#endif
