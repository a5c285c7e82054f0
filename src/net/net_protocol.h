/*
 * net_protocol: what a front (IMAP, LMTP, …) gives to the server, and the connection as its
 * sessions see it.
 *
 * The server reads and writes sockets on a few I/O threads, and runs commands on a pool of workers.
 * For one session at most one callback runs at any time, on whatever thread, and each sees what the
 * ones before it wrote: a session needs no lock of its own. Three rules make idle and slow clients
 * cheap:
 * (1) frame(), session_new() and goodbye() never block; they may run on an I/O thread.
 * (2) command(), resume() and wake() run on a worker (but see is_short()) and may wait for a disk,
 *     never for a client: a command with much output stops when net_connection_is_full() and
 * returns NET_AGAIN. (3) While a unit is being worked on, or output is above the high-water mark,
 * nothing is read from the client: what he pipelines waits in the kernel, beyond one buffer.
 */
#ifndef CHAPAR_NET_PROTOCOL_H
#define CHAPAR_NET_PROTOCOL_H

#include "base/buffer.h"
#include "net/net_certificate.h"

#include <stdint.h>
#include <sys/types.h>

/* Output waiting for the client, in bytes: "full" from here on … */
#define NET_OUTPUT_HIGH_WATER (256u * 1024)
/* … and resume() is called when it has drained to this. */
#define NET_OUTPUT_LOW_WATER (64u * 1024)

struct net_connection;

enum net_frame {
	NET_FRAME_MORE,  /* the input does not hold a complete unit yet */
	NET_FRAME_READY, /* the first `len` bytes (1 or more) are a unit for command() */
	NET_FRAME_SKIP,  /* the first `len` bytes (1 or more) are to be dropped unseen */
	NET_FRAME_BAD    /* hopeless: `reply` is written and the connection closed */
};

struct net_unit { /* all zero when frame() is called */
	size_t len;
	/*
	 * MORE: written to the client now, once ("+ OK\r\n" of a synchronising literal; set it once
	 * per literal). BAD: the last words. Must live until the next callback.
	 */
	struct bytes reply;
	/* MORE: the number of input bytes known to be needed in all, or 0; only a hint. */
	size_t wanted;
};

enum net_result {
	NET_DONE,     /* the command is complete */
	NET_AGAIN,    /* it is not: call resume() when output has drained */
	NET_CLOSE,    /* write what was put out, then close */
	NET_START_TLS /* write what was put out, drop unread plaintext, then TLS handshake */
};

enum net_goodbye {
	NET_GOODBYE_IDLE,     /* the idle timeout ran out */
	NET_GOODBYE_DEADLINE, /* the deadline passed */
	NET_GOODBYE_STOP,     /* the server stops */
	NET_GOODBYE_KICKED,   /* net_connection_close() */
	NET_GOODBYE_MEMORY    /* a large unit, while all clients together send too much: try again
				 later */
};

struct net_protocol {
	const char *name; /* "imap", for logs and counters */

	/*
	 * frame() never sees more than this; if it still answers MORE at this size, the connection
	 * is closed with what `reply` says.
	 */
	size_t input_max;

	/* Written to a client who is refused because of the limit of connections; may be NULL. */
	const char *busy_text;

	/*
	 * A client has come (with implicit TLS: after the handshake). `context` is the listener's.
	 * May write the greeting. Must not be NULL nor return NULL.
	 */
	void *(*session_new)(struct net_connection *connection, void *context);

	/*
	 * Looks for the next unit in `input`, which begins where the last unit ended. Until the
	 * answer is other than MORE, `input` begins at the same byte of the stream and only grows
	 * (it may move in memory), so that the session can keep how far it has looked. Called
	 * between commands only, so it may rely on the state that the last command left.
	 */
	enum net_frame (*frame)(void *session, struct bytes input, struct net_unit *unit_r);

	/*
	 * Performs a unit; `unit` stays where it is until the command is complete: through
	 * NET_AGAIN and resume() until another answer is given.
	 */
	enum net_result (*command)(void *session, struct bytes unit);

	/*
	 * Whether the unit that frame() has just found takes microseconds and waits for nobody: its
	 * command() may run on an I/O thread then, which spares two threads the change, and answers
	 * NET_DONE or NET_CLOSE. May be NULL: none is such.
	 */
	bool (*is_short)(void *session, struct bytes unit);

	/* Goes on after NET_AGAIN. May be NULL if the protocol never answers so. */
	enum net_result (*resume)(void *session);

	/*
	 * Follows net_connection_wake(): once for any number of calls made since the last one,
	 * never while a command is incomplete, and before the next pipelined command. May be NULL.
	 */
	enum net_result (*wake)(void *session);

	/*
	 * A worker has no more to do for now, and what was put out is about to be sent: after one
	 * or several command(), resume() and wake() on this thread, the last of which answered
	 * `result`. Returns what it is to be. May wait for a disk; may be NULL.
	 */
	enum net_result (*round_end)(void *session, enum net_result result);

	/*
	 * The connection is about to be closed: may write last words ("* BYE …\r\n"). Not called
	 * when the client has gone or the session itself asked for the end. May be NULL.
	 */
	void (*goodbye)(void *session, enum net_goodbye reason);

	/* The end, on a worker; the connection is still valid in it, output is discarded. */
	void (*session_free)(void *session);
};

/*
 * ---- For the session's own callbacks only ----
 */

/* Puts out a copy of `bytes`. Never blocks and never fails; after the client has gone it is
 * dropped. */
void net_connection_write(struct net_connection *connection, struct bytes bytes);
void net_connection_write_string(struct net_connection *connection, const char *text);
void net_connection_printf(struct net_connection *connection, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* In command(): whether the client has sent something behind this unit. */
bool net_connection_has_more(const struct net_connection *connection);
/*
 * Keeps back what is put out from now on, until net_connection_release(), at latest in round_end();
 * with `keeps` false it is dropped. Again before that: nothing happens.
 */
void net_connection_hold(struct net_connection *connection);
void net_connection_release(struct net_connection *connection, bool keeps);

/* Bytes not yet taken by the kernel. */
size_t net_connection_output_pending(struct net_connection *connection);
/* Whether that is NET_OUTPUT_HIGH_WATER or more: stop, and return NET_AGAIN. */
bool net_connection_is_full(struct net_connection *connection);
/* The client has gone, or the connection is being closed: further work for it is in vain. */
bool net_connection_is_gone(struct net_connection *connection);

/*
 * Seconds without a byte moved in either direction after which the session is ended (goodbye() with
 * NET_GOODBYE_IDLE); 0: never. Does not run while a command does. The server's default at first.
 */
void net_connection_set_idle_timeout(struct net_connection *connection, unsigned seconds);
/*
 * Seconds from now after which the session is ended whatever it does (for the time before the
 * login); 0: no deadline, as at first.
 */
void net_connection_set_deadline(struct net_connection *connection, unsigned seconds);

/*
 * Looks at nothing more from this client for so long. A pause that is there already is not
 * shortened; goodbye() comes in spite of it.
 */
void net_connection_pause(struct net_connection *connection, unsigned milliseconds);
/*
 * The client failed to log in: he, and whoever comes from his address, has to wait before the next
 * command is looked at: half a second, doubling with each failure up to 8 s, and slowly forgotten.
 * Not for clients of this machine, such as a webmail that many people use.
 */
void net_connection_penalize(struct net_connection *connection);
/* He has logged in: his address has no more to wait. */
void net_connection_forgive(struct net_connection *connection);

/*
 * In command(): what is put out and read from now on is compressed (RFC 4978); what the client sent
 * behind this unit is taken for compressed already. ERR_UNAVAILABLE: no memory. Not twice, and not
 * with NET_START_TLS after it.
 */
int net_connection_start_compression(struct net_connection *connection);
/* By that or by TLS; session's callbacks only. */
bool net_connection_is_compressed(const struct net_connection *connection);

/*
 * ---- Constant facts, and what any thread may do that holds a reference ----
 */

/* "192.0.2.7:4711", "[2001:db8::1]:4711" or "unix:PATH" of the listener. Lives as long as the
 * connection. */
const char *net_connection_peer(const struct net_connection *connection);
/* The address without the port; "unix" for UNIX sockets. */
const char *net_connection_peer_address(const struct net_connection *connection);
/* A short text, unique among this process's sessions, for logs and Received: lines. */
const char *net_connection_id(const struct net_connection *connection);
/* From this machine: loopback address or UNIX socket. */
bool net_connection_is_loopback(const struct net_connection *connection);
bool net_connection_is_tls(const struct net_connection *connection);
/* Whether the session may answer NET_START_TLS now; anything else is a bug. */
bool net_connection_can_start_tls(const struct net_connection *connection);
/* "TLSv1.3 TLS_AES_256_GCM_SHA384" or "" without TLS; session's callbacks only. */
const char *net_connection_tls_text(const struct net_connection *connection);
/* The certificate that the client has shown, borrowed; NULL: none. */
const struct net_certificate *net_connection_certificate(const struct net_connection *connection);
/*
 * Appends the channel binding of `type`: "tls-exporter" (RFC 9266), or "tls-unique" (RFC 5929, up
 * to TLS 1.2). ERR_NOT_FOUND: the connection has none of that type.
 */
int net_connection_binding(struct net_connection *connection, const char *type, struct buffer *out);
/* The user id of the client on a UNIX socket. ERR_NOT_FOUND on others. */
int net_connection_peer_uid(const struct net_connection *connection, uid_t *uid_r);

/* Any thread, while it holds a reference; a closed connection is left in peace. */
void net_connection_wake(struct net_connection *connection);
/* Any thread, likewise: ends the session, once the running command has ended. */
void net_connection_close(struct net_connection *connection);

/*
 * References for other threads, such as a listener for commits that wakes the session. The session
 * itself needs none. Take one in a callback; drop it on any thread, at any time, also after the
 * server was freed.
 */
struct net_connection *net_connection_ref(struct net_connection *connection);
/* Sets *connection to NULL. A NULL *connection is allowed. */
void net_connection_unref(struct net_connection **connection);

#endif
