/*
 * lmtp_private: a session's inner structure, for this folder only.
 */
#ifndef CHAPAR_LMTP_LMTP_PRIVATE_H
#define CHAPAR_LMTP_LMTP_PRIVATE_H

#include "base/arena.h"
#include "lmtp/lmtp_server.h"

struct lmtp_server {
	struct lmtp_options options;
	char host_name[256];
	int detail_separator; /* -1: none */
	struct net_protocol protocol;
};

/* Frees of memory are the transaction's: all that a transaction points to lies in its arena. */
struct lmtp_transaction {
	bool has_sender; /* MAIL was accepted */
	bool is_utf8;    /* with SMTPUTF8 */
	struct bytes sender;
	size_t declared_size; /* 0: none */
	struct lmtp_recipient *recipients;
	size_t recipient_count, recipient_room;
};

struct lmtp_session {
	struct lmtp_server *server;
	struct net_connection *connection;
	struct arena *arena;
	struct lmtp_transaction transaction;
	struct buffer client_name; /* of LHLO; empty before */
	unsigned bad_command_count;
	unsigned transaction_number;

	/* Of framing. */
	bool is_data;      /* after 354 */
	bool is_too_large; /* the data are over the limit: they are dropped as they come */
	bool is_overlong;  /* so was the line */
	size_t scanned_len;
};

/* lmtp_frame.c: the next command line or the data with their end; the frame() of net_protocol */
enum net_frame lmtp_frame(void *context, struct bytes input, struct net_unit *unit_r);
/* The data's bytes on the wire at most: room for the dots that were stuffed. */
size_t lmtp_wire_size_max(const struct lmtp_server *server);

/* lmtp_command.c: the command() of net_protocol */
enum net_result lmtp_command(void *context, struct bytes unit);
/* What only looks into the index. */
bool lmtp_is_short(void *context, struct bytes unit);
/* As RSET: forgets sender and recipients. */
void lmtp_transaction_reset(struct lmtp_session *session);
void lmtp_reply(struct lmtp_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* lmtp_data.c: what follows 354; unit is what lmtp_frame() found */
enum net_result lmtp_data(struct lmtp_session *session, struct bytes unit);

/*
 * lmtp_path.c: addresses and parameters (RFC 5321, section 4.1.2). Parsers over *in, which is past
 * what was understood on success only.
 */
struct lmtp_path {
	struct bytes text;       /* between the angle brackets, without a source route */
	struct bytes local_part; /* unquoted, in `unquoted` if that differs from the text */
	struct bytes domain;     /* empty if there was none */
	unsigned char unquoted[LMTP_LOCAL_PART_SIZE_MAX];
};

/* "<local@domain>", "<local>" or "<>"; ERR_INVALID; ERR_REFUSED: not ASCII, but allows_utf8 is
 * false. */
int lmtp_path_parse(struct bytes *in, bool allows_utf8, struct lmtp_path *path_r);
/* The next " KEY" or " KEY=VALUE". False: there is none, which is right if *in is empty then. */
bool lmtp_parameter_take(struct bytes *in, struct bytes *key_r, struct bytes *value_r);
int lmtp_number_parse(struct bytes text, uint64_t *number_r);

#endif
