/*
 * net_private: the server's inner structure, for this folder only.
 *
 * A connection belongs to one I/O thread from its acceptance to its end. Its session and input
 * belong to that thread while `busy` is false, and to one worker while it is true; only the I/O
 * thread sets `busy`, only the worker clears it, both under the connection's mutex, which so hands
 * the session's memory over. The stream and the output are used by both under the mutex.
 *
 * Whoever wants something of the I/O thread posts the connection to its inbox (connection_post()).
 * The inbox carries no message: the I/O thread looks at the connection's fields and does what they
 * ask for (connection_advance()), so a post too many does no harm.
 *
 * Locks, in this order: connection, its post mutex, then inbox or pool or server. None is held in a
 * session's callback.
 */
#ifndef CHAPAR_NET_PRIVATE_H
#define CHAPAR_NET_PRIVATE_H

#include "base/buffer.h"
#include "net/net_address_private.h"
#include "net/net_certificate.h"
#include "net/net_crowd_private.h"
#include "net/net_penalty_private.h"
#include "net/net_server.h"
#include "net/net_stream_private.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define NET_READ_SIZE_MIN (4u * 1024)  /* bytes of room for a first read */
#define NET_READ_SIZE_MAX (64u * 1024) /* bytes taken by one read at most */
#define NET_SMALL_SIZE (64u * 1024)    /* input up to here does not count as held */
#define NET_FLUSH_SIZE (32u * 1024)    /* output of a running command is sent from here on */
#define NET_ROUND_COUNT_MAX 64         /* pipelined commands before other sessions get a turn */
#define NET_DRAIN_MS 30000 /* a client that takes no last words for so long is cut off */
#define NET_LINGER_MS 2000 /* wait for the client's end, lest a reset eat the last words */
#define NET_LINGER_SIZE_MAX (1024u * 1024) /* bytes dropped in that time */
#define NET_CONNECTION_ID_SIZE 24

enum connection_phase {
	PHASE_NEW,       /* accepted, not yet seen by its I/O thread */
	PHASE_HANDSHAKE, /* TLS */
	PHASE_OPEN,      /* the session lives */
	PHASE_TLS_DRAIN, /* output is written before the TLS handshake */
	PHASE_DRAIN,     /* output is written before the end */
	PHASE_ENDED,     /* the session is being freed */
	PHASE_LINGER     /* only the socket is left */
};

enum connection_work { WORK_COMMAND, WORK_RESUME, WORK_WAKE, WORK_FREE };

struct io_thread;

struct net_connection {
	atomic_uint ref_count;

	/* Constant after PHASE_NEW. */
	struct net_server *server;
	struct io_thread *io;
	const struct net_protocol *protocol;
	void *context;
	enum net_tls_mode tls_mode;
	bool is_loopback;
	uint64_t penalty_key;
	uint64_t crowd_key; /* 0: not counted */
	bool has_uid;
	uid_t uid;
	char id[NET_CONNECTION_ID_SIZE];
	char peer[NET_ADDRESS_SIZE];
	char peer_address[NET_ADDRESS_SIZE];

	atomic_bool is_tls;                  /* after the handshake, once and for all … */
	char tls_text[64];                   /* … and what was agreed on */
	struct net_certificate *certificate; /* the client's; NULL: none */

	/* The I/O thread's, or while `busy` the worker's. */
	void *session;
	struct buffer input;
	size_t input_start;    /* what is before it was consumed */
	size_t unit_len;       /* of the unit being worked on */
	size_t input_wanted;   /* input that frame() expects in all; 0: unknown */
	bool is_suspended;     /* NET_AGAIN was answered */
	size_t input_held;     /* what the server's input_held counts of it */
	enum net_frame framed; /* the worker's last look; MORE also if there is no input */
	enum connection_work work;
	uint64_t deadline_ms; /* monotonic; 0: none */
	uint64_t pause_ms;    /* monotonic: until then nothing is looked at; 0: no pause */
	unsigned idle_timeout_s;
	bool is_timer_changed;

	/* The I/O thread's. */
	enum connection_phase phase;
	bool is_registered;
	bool is_end_of_input;
	bool is_too_much;  /* input: see connection_count_input() */
	bool is_read_full; /* the last read took as much as it could: there may be more */
	bool is_read_armed, is_write_armed;
	bool needs_linger;
	size_t linger_size;
	uint64_t phase_since_ms;
	uint64_t timer_due_ms; /* 0: the timer must be armed; UINT64_MAX: none is needed */
	struct event read_event, write_event, timer_event;
	struct net_connection *previous, *next; /* in the I/O thread's list */

	/* In the pool's queue. */
	struct net_connection *queue_next;

	/* In the inbox; under the inbox's mutex. */
	struct net_connection *inbox_next;
	bool is_posted;

	atomic_bool wake_wanted;

	/*
	 * For posting by other threads, who must not wait while much output is encrypted under the
	 * other mutex.
	 */
	pthread_mutex_t post_mutex;
	bool is_deaf; /* ended: nothing is posted, and the I/O thread may be gone */

	pthread_mutex_t mutex; /* for all that follows */
	struct net_stream stream;
	struct buffer output;
	size_t output_start;
	bool is_held;      /* output stays here ... */
	size_t held_size;  /* ... and what was put out before that is so much of it */
	bool busy;         /* belongs to a worker */
	bool is_returned;  /* a worker has finished; `result` is its answer */
	bool wants_return; /* the I/O thread must be told when the worker is done */
	bool is_blocked;   /* the socket takes no more: the I/O thread writes on */
	bool is_broken;    /* no byte will pass any more */
	bool is_closed;    /* ended: output is dropped, nothing is posted */
	bool kick_wanted;
	enum net_result result;
	uint64_t activity_ms; /* when a byte was last moved, or a command ended */
};

struct io_thread {
	struct net_server *server;
	pthread_t thread;
	bool is_started;
	struct event_base *base;
	struct event *inbox_event;
	int inbox_fd;
	struct net_connection *connections;
	bool is_stop_seen, is_force_seen;

	pthread_mutex_t mutex;
	struct net_connection *inbox;
	bool is_quitting;
};

struct pool;

struct pool_worker {
	struct pool *pool;
	pthread_t thread;
	struct pool_worker *idle_next;
	struct net_connection *given; /* what it is woken for; NULL: to look at is_quitting */
	sem_t wake;
};

/* A connection goes straight to an idle worker, the one that was at work last, whose memory is
 * still in the caches; it waits in the queue only if there is none. */
struct pool {
	pthread_mutex_t mutex;
	struct pool_worker *idle;
	struct net_connection *first, *last;
	unsigned queue_length, busy_count;
	bool is_quitting;
	struct pool_worker *workers;
	unsigned worker_count;
};

struct listener {
	struct net_server *server;
	int fd;
	struct event *event, *retry_event;
	const struct net_protocol *protocol;
	void *context;
	enum net_tls_mode tls;
	char *path; /* of a UNIX socket, else NULL */
};

struct net_server {
	unsigned io_thread_count, worker_count, connection_count_max, address_connection_max;
	bool counts_loopback;
	unsigned idle_timeout_s, tls_handshake_s;
	uint64_t input_size_max;
	char *certificate_path, *key_path, *client_ca_path;
	bool wants_certificate;
	BIO_METHOD *bio_method;
	struct net_penalties penalties;
	struct net_crowd crowd;
	struct io_thread *io_threads;
	struct pool pool;
	struct listener *listeners[NET_LISTENER_COUNT_MAX];
	unsigned listener_count;
	bool is_started;
	unsigned io_thread_next;
	uint32_t id_prefix;
	atomic_bool is_stopping, is_forced;
	atomic_uint_fast64_t input_held; /* bytes of large units */

	pthread_mutex_t mutex; /* for what follows */
	pthread_cond_t emptied;
	SSL_CTX *tls_context; /* NULL: no TLS */
	unsigned connection_count;

	atomic_uint_fast64_t accepted_count, refused_count, tls_failed_count, command_count;
	atomic_uint_fast64_t input_size, output_size;
};

/* net_connection.c: what any thread may do */
struct net_connection *connection_new(
	struct net_server *server, const struct listener *listener, int fd);
/* Any thread: asks the I/O thread to look at the connection. */
void connection_post(struct net_connection *connection);
/* With the mutex held: writes what the socket takes. */
void connection_flush(struct net_connection *connection);
/* With the mutex held. */
size_t connection_pending(const struct net_connection *connection);
/* For the owner: what is to be framed. */
struct bytes connection_input(const struct net_connection *connection);
void connection_consume(struct net_connection *connection, size_t len);
void connection_input_drop(struct net_connection *connection);
/* For the owner: counts the input that is held now. False: it is large, and there is too much in
 * all. */
bool connection_count_input(struct net_connection *connection);
/*
 * For the owner: frames the input. READY: the unit is at its start, unit_len long; MORE; BAD: the
 * last words are put out. SKIP is dealt with here.
 */
enum net_frame connection_frame(struct net_connection *connection);

/* net_io.c: the I/O threads */
int io_thread_init(struct io_thread *io, struct net_server *server);
int io_thread_start(struct io_thread *io);
/* Makes the thread look at the server's stop flags. */
void io_thread_nudge(struct io_thread *io);
/* Ends the thread; it has no connections any more. */
void io_thread_stop(struct io_thread *io);
void io_thread_deinit(struct io_thread *io);
/* Puts the connection into the inbox. */
void io_thread_post(struct io_thread *io, struct net_connection *connection);

/* net_advance.c: on the I/O thread, what a connection does next */
void connection_open(struct net_connection *connection);
void connection_advance(struct net_connection *connection);

/* net_pool.c: the workers */
void pool_init(struct pool *pool);
int pool_start(struct pool *pool, unsigned thread_count);
void pool_submit(struct pool *pool, struct net_connection *connection);
/* For the owner: does what connection->work says, on this thread. */
enum net_result connection_do(struct net_connection *connection);
/* Ends the workers after the queue is empty. */
void pool_stop(struct pool *pool);
void pool_deinit(struct pool *pool);

/* net_listener.c */
int listener_arm(struct listener *listener, struct event_base *base);
void listener_close(struct listener **listener);

#endif
