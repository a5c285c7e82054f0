/*
 * channel_link: a connection to a peer: login and the carriage of SYNC requests and answers over
 * IMAP, for channels and for the tool. Used by one thread only; the client may be interrupted by
 * others.
 */
#ifndef CHAPAR_CHAPARD_CHANNEL_LINK_H
#define CHAPAR_CHAPARD_CHANNEL_LINK_H

#include "base/error.h"
#include "mail/mail.h"
#include "net/net_client.h"
#include "sync/responder.h"

#define CHANNEL_ANSWER_TIMEOUT_MS 30000 /* and a millisecond for each KiB sent and not answered */

enum channel_tls { CHANNEL_TLS_NONE, CHANNEL_TLS_START, CHANNEL_TLS_IMPLICIT };

/* Where the peer is, and who we are there. All is borrowed. */
struct channel_link_options {
	const char *host; /* or the path of a UNIX socket */
	uint16_t port;
	const char *user;
	const char *password; /* NULL: the certificate of tls_options says who we are */
	enum channel_tls tls;
	struct net_client_tls tls_options;
	const char *mailboxes;  /* that SYNC requests are about (sync/view.h); NULL: all */
	struct trace *trace;    /* what passes is told there (sync/trace.h); NULL: nowhere ... */
	const char *trace_name; /* ... as that of this channel */
	const struct sync_self *self; /* who says HELLO; NULL: the node whose mail it is */
};

struct channel_link;

/*
 * Connects `client` (fresh, borrowed), negotiates TLS, logs in and says HELLO. `mail` is NULL if
 * the options say who does. Errors: those of net_client.h; ERR_REFUSED: the login, the certificate,
 * or equal node ids; ERR_UNAVAILABLE; ERR_INVALID: the server does not speak the protocol.
 */
int channel_link_open(const struct channel_link_options *options, struct mail *mail,
	struct net_client *client, struct channel_link **link_r, struct sync_peer *peer_r,
	struct error *error);
/* Sets *link to NULL. A NULL *link is allowed. Leaves the client to its owner. */
void channel_link_close(struct channel_link **link);

/* Queues a request; sends if much is queued. */
int channel_link_request(struct channel_link *link, struct bytes request, struct error *error);
/* Sends what is queued. */
int channel_link_flush(struct channel_link *link, struct error *error);
/* The answer to the oldest request not answered yet; borrowed until the next call. */
int channel_link_answer(struct channel_link *link, struct bytes *answer_r, struct error *error);

/* With no request under way: takes in what the server says unasked. ERR_CLOSED if that is BYE. */
int channel_link_listen(struct channel_link *link, struct error *error);
/* Whether the peer has told of news (SYNC NOTIFY) since the last call. */
bool channel_link_take_news(struct channel_link *link);
/* With no request under way: whether the peer still answers. */
int channel_link_try(struct channel_link *link, struct error *error);

#endif
