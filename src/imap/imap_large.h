/*
 * imap_large: sections of large messages, which go out in pieces as the client takes them. An
 * answer is written with gaps; imap_large_send() fills them from the stored body, or from a file.
 * So a client that stops reading costs the connection's buffer and what unpacking needs to go on
 * (store_stream.h), however large the message is.
 */
#ifndef CHAPAR_IMAP_IMAP_LARGE_H
#define CHAPAR_IMAP_IMAP_LARGE_H

#include "mail/mail.h"
#include "store/store_stream.h"

#define IMAP_LARGE_SIZE_MIN (1024u * 1024)  /* bytes; smaller messages are sent whole */
#define IMAP_LARGE_PIECE_SIZE (128u * 1024) /* bytes */

struct imap_session;

struct imap_large_gap {
	size_t at;           /* in the text */
	int file;            /* what is to be sent, if it is not of the body; -1: it is */
	uint64_t offset;     /* of the body ... */
	uint64_t size, sent; /* ... and how much was sent of it */
};

struct imap_large { /* zeroed at first */
	/* Of one body; kept between FETCHes of partials, so that the next one goes on there. */
	struct store_stream *stream;
	bool has_header_size;
	uint64_t header_size;
	struct imap_large_gap *gaps;
	size_t gap_count, gap_room, gap_next;
	struct buffer text; /* around the gaps, once the first is being filled ... */
	size_t text_sent;   /* ... and what was sent of it */
};

/* Makes it about the body of `guid`, whose checksum was found right. Errors of message_stream(). */
int imap_large_open(
	struct imap_large *large, struct mail *mail, struct kv_txn *kv, const struct guid *guid);
/*
 * Appends a literal of `size` bytes of the body at `offset`: with a gap for the octets, unless they
 * are few. Errors of store_stream_read().
 */
int imap_large_put(struct imap_large *large, uint64_t offset, uint64_t size, struct buffer *out);
/*
 * Appends a literal of octets that were made of the body, with a gap. They are put aside in a file
 * without a name in `folder`, which goes when they are sent; NULL, or it cannot be written: they
 * are appended as they are.
 */
void imap_large_put_made(
	struct imap_large *large, const char *folder, struct bytes octets, struct buffer *out);
/* The size of the body's header with its empty line. Errors of store_stream_read(). */
int imap_large_header_size(struct imap_large *large, uint64_t *size_r);
/* Bytes of all gaps that are to be filled. */
uint64_t imap_large_pending(const struct imap_large *large);
/*
 * Sends session->out with the gaps filled. 0: all of it (or there are no gaps, and nothing was
 * done); 1: the client is slow, to be called again. On an error of store_stream_read() the client
 * has a part of the answer, and no whole literal.
 */
int imap_large_send(struct imap_session *session);
/* Between commands: no file is held. */
void imap_large_sleep(struct imap_large *large);
/* Also if an answer with gaps is not sent after all, and after an error. */
void imap_large_deinit(struct imap_large *large);

#endif
