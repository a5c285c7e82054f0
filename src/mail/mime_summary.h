/*
 * mime_summary: what clients ask most about a message, computed once when it arrives, so that
 * listing a mailbox does not read bodies. It is derived: it can be thrown away and made again from
 * the message.
 *
 * A blob is: the magic byte 'M', the version byte, then as pack.h has it the message size, header
 * size, header lines, body lines (varints), a byte of flags, the surrogate's size (varint), the
 * sent date and day (u64 each), ENVELOPE, BODY and BODYSTRUCTURE (byte strings), the known header
 * fields (a byte string: whole raw fields in the message's order), the sort keys (a byte string,
 * see mime_sort.h), the preview (a byte string), the subject as searches compare it (a byte string,
 * from version 4 on), and a CRC32C of all before (u32). Version 3 is read as well.
 *
 * Pure; any thread.
 */
#ifndef CHAPAR_MAIL_MIME_SUMMARY_H
#define CHAPAR_MAIL_MIME_SUMMARY_H

#include "base/buffer.h"

#include <stdint.h>

#define MIME_SUMMARY_VERSION 4
#define MIME_SUMMARY_VERSION_MIN 3         /* that is read */
#define MIME_SUMMARY_SUBJECT_SIZE_MAX 2048 /* bytes of a folded subject that is kept */
#define MIME_SUMMARY_FIELDS_SIZE_MAX                                                               \
	65536 /* bytes of known fields that are kept; beyond: none are */

struct mime_summary {            /* all borrowed from the blob */
	uint64_t message_size;   /* bytes: RFC822.SIZE */
	uint64_t surrogate_size; /* bytes of mime_downgrade()'s; 0: no header has UTF-8 */
	uint64_t header_size;    /* bytes, with the empty line that ends it */
	uint64_t header_lines;
	uint64_t body_lines;
	bool has_sent_date;
	bool has_fields;   /* false: `fields` are not there (too long) */
	int64_t sent_date; /* seconds since 1970 UTC, of the Date field */
	int64_t sent_day;  /* days since 1970 in the Date field's own zone: SENTSINCE disregards
			      zones */
	struct bytes envelope;
	struct bytes body;
	struct bytes bodystructure;
	struct bytes fields;
	struct bytes sort;    /* for mime_sort_open() */
	struct bytes preview; /* UTF-8, one line */
	struct bytes subject; /* mime_search_fold()'s; empty: not there (too long, or an older
				 version) */
};

/* Appends the blob of `message` to *out. Any bytes are a message. */
void mime_summary_make(struct bytes message, struct buffer *out);

/* ERR_VERSION: made by another version; ERR_CORRUPT: damaged. Both mean: make it again. */
int mime_summary_open(struct bytes blob, struct mime_summary *view_r);

/*
 * BODY[HEADER.FIELDS (names)] from the summary alone: appends the raw fields and an empty line.
 * Known are Date, From, To, Cc, Bcc, Subject, Message-ID, References, In-Reply-To, Reply-To,
 * Sender, Content-Type, MIME-Version, List-Id, X-Priority, Importance, Priority,
 * Content-Transfer-Encoding, Delivered-To, Return-Path, X-Mailer, User-Agent and Newsgroups. False,
 * with *out unchanged, if it cannot say (another name): read the message.
 */
bool mime_summary_header_fields(const struct mime_summary *summary, const struct bytes *names,
	size_t name_count, struct buffer *out);

/* Whether it can say so of these names, where the fields are not too long. */
bool mime_summary_knows(const struct bytes *names, size_t name_count);

/*
 * Parses an RFC 5322 date, obsolete forms included: seconds since 1970 UTC, and the zone in seconds
 * east of UTC. Years 1900 to 9999. A time that is missing or cannot be read is midnight, such a
 * zone UTC (RFC 5256, 2.2). ERR_INVALID: not a date.
 */
int mime_date_parse(struct bytes value, int64_t *seconds_r, int32_t *zone_r);

#endif
