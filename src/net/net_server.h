/*
 * net_server: listeners, I/O threads and the worker pool. See net_protocol.h for what runs where.
 *
 * Life: net_server_new(), net_server_listen() for each listener (so that privileges can be dropped
 * after binding), net_server_start(), net_server_stop(), net_server_free(). These are called by one
 * thread; the functions that any thread may call say so.
 */
#ifndef CHAPAR_NET_SERVER_H
#define CHAPAR_NET_SERVER_H

#include "base/error.h"
#include "net/net_protocol.h"

struct net_server;

/* A client over connection_count_max gets the protocol's `busy_text` and is closed. */
struct net_server_options {            /* 0 or NULL: the default */
	unsigned io_thread_count;      /* 2 */
	unsigned worker_count;         /* 32 */
	unsigned connection_count_max; /* 12000; an eighth of them for local clients */
	/* Clients from one address, or one /64 of IPv6; 0: any number. Not this machine's own. */
	unsigned address_connection_max;
	bool counts_loopback;             /* but these too; for tests */
	unsigned idle_timeout_s;          /* 1800; sessions change their own */
	uint64_t input_size_max;          /* bytes; 1 GiB: units not yet complete, of all clients */
	unsigned tls_handshake_s;         /* 60: time that a client has for the TLS handshake */
	const char *tls_certificate_path; /* PEM, the chain; NULL: this server has no TLS */
	const char *tls_key_path;         /* PEM; NULL: in the certificate's file */
	/* PEM: authorities that may vouch for clients' certificates; NULL: none may. */
	const char *tls_client_ca_path;
	bool tls_wants_certificate; /* asks clients for theirs without such authorities too */
};

#define NET_IO_THREAD_COUNT_MAX 64
#define NET_WORKER_COUNT_MAX 1024
#define NET_LISTENER_COUNT_MAX 64

/*
 * Strings are copied. Errors: ERR_INVALID (a number over its limit; a certificate or key that
 * cannot be used), ERR_IO; `error` says which file.
 */
int net_server_new(const struct net_server_options *options, struct net_server **server_r,
	struct error *error);

enum net_tls_mode {
	NET_TLS_NONE,    /* never */
	NET_TLS_START,   /* the session may answer NET_START_TLS, if the server has a certificate */
	NET_TLS_IMPLICIT /* from the first byte */
};

struct net_listener_options {
	/*
	 * TCP: a numeric address or a host name, of which the first address is taken; "*" is every
	 * IPv6 and IPv4 address. NULL: a UNIX socket.
	 */
	const char *address;
	uint16_t port;    /* 0: a free one is chosen */
	const char *path; /* of the UNIX socket; a stale one is replaced, one in use is an error */
	mode_t mode;      /* of the UNIX socket; 0: 0600 */
	enum net_tls_mode tls;
	const struct net_protocol *protocol; /* must outlive the server */
	void *context;                       /* for session_new() */
};

/*
 * Binds and listens; clients are served after net_server_start(). Stores the port (0 for UNIX
 * sockets) if port_r is not NULL. Errors: ERR_EXISTS (address in use), ERR_INVALID, ERR_REFUSED,
 * ERR_IO.
 */
int net_server_listen(struct net_server *server, const struct net_listener_options *options,
	uint16_t *port_r, struct error *error);

/* Starts all threads. ERR_IO if the system has no room for them. */
int net_server_start(struct net_server *server, struct error *error);

/*
 * Ends it cleanly: no new clients; running commands finish; sessions get goodbye(NET_GOODBYE_STOP);
 * what was put out is written, at most for `grace_ms`; then all is closed, all sessions are freed
 * and all threads joined. Does nothing if not started. Not on a thread of the server.
 */
void net_server_stop(struct net_server *server, unsigned grace_ms);

/* Stops (without grace, if that was not done) and frees; sets *server to NULL. NULL is allowed. */
void net_server_free(struct net_server **server);

/*
 * Reads certificate and key again; new handshakes use them. On an error the old ones stay.
 * Any thread. ERR_INVALID, ERR_IO; ERR_NOT_FOUND if the server has no TLS.
 */
int net_server_reload_tls(struct net_server *server, struct error *error);

struct net_server_stats {
	uint64_t accepted_count;
	uint64_t refused_count;       /* over connection_count_max */
	uint64_t tls_failed_count;    /* handshakes */
	uint64_t command_count;       /* units given to command() */
	uint64_t input_size;          /* bytes, after decryption */
	uint64_t output_size;         /* bytes, before encryption */
	unsigned connection_count;    /* now */
	unsigned worker_busy_count;   /* now */
	unsigned worker_queue_length; /* now: sessions with work that wait for a worker */
};

/* Any thread. */
void net_server_stats(struct net_server *server, struct net_server_stats *stats_r);

#endif
