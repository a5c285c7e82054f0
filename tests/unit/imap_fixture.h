/*
 * imap_fixture: an IMAP server on a loopback port with a store of its own, for one test. The users
 * alice, bob and carol, password "secret", get accounts when they log in; bob and carol are the
 * group "sales"; "peer" is a peer node.
 */
#ifndef CHAPAR_TEST_IMAP_FIXTURE_H
#define CHAPAR_TEST_IMAP_FIXTURE_H

#include "test_net_helper.h"

#include "imap/imap_server.h"

struct imap_fixture {
	struct test_files files;
	struct buffer credentials;
	struct sasl_authority *authority;
	struct store *store;
	struct mail *mail;
	struct imap_server *imap;
	struct net_server *net;
	uint16_t port;
	unsigned progress_interval_ms; /* 0: the server's own */
	unsigned idle_timeout_s;       /* likewise */
	unsigned login_timeout_s;      /* likewise */
	struct store_options store_options;
};

/* Makes and starts it, with logins allowed without TLS. */
void imap_fixture_start(struct imap_fixture *fixture);
void imap_fixture_start_with(
	struct imap_fixture *fixture, bool allow_plaintext, size_t append_size_max);
/* One whose store is opened so; path and `create` are the fixture's. */
void imap_fixture_start_storing(
	struct imap_fixture *fixture, const struct store_options *store_options);
/* One that tells of a search's progress whenever it can. */
void imap_fixture_start_telling(struct imap_fixture *fixture);
/* One that ends sessions that move no byte for so long. */
void imap_fixture_start_impatient(struct imap_fixture *fixture, unsigned idle_timeout_s);
/* One that ends who has not logged in after so long. */
void imap_fixture_start_hurried(struct imap_fixture *fixture, unsigned login_timeout_s);
void imap_fixture_stop(struct imap_fixture *fixture);

#endif
