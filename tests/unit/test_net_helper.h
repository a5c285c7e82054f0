/*
 * test_net_helper: for tests that talk to a server over real sockets on loopback: a certificate
 * made for the run, and a plain blocking client that fails the test when the server is silent too
 * long.
 */
#ifndef CHAPAR_TEST_NET_HELPER_H
#define CHAPAR_TEST_NET_HELPER_H

#include "net/net_client.h"
#include "net/net_server.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#define HELPER_TIMEOUT_MS 10000

struct test_files { /* in a fresh temporary directory */
	char directory[64];
	char certificate_path[128]; /* self-signed, for "localhost" and 127.0.0.1 */
	char key_path[128];
	char socket_path[128];
};

void test_files_make(struct test_files *files);
/* Replaces certificate and key by new ones. */
void test_files_renew(struct test_files *files);
void test_files_remove(struct test_files *files);

struct net_client *test_connect(uint16_t port);
void test_send(struct net_client *client, const char *text);
/* The next line must be `expected`. */
void test_expect(struct net_client *client, const char *expected);
/* The next line must begin with `expected`. */
void test_expect_start(struct net_client *client, const char *expected);
/* The server must have closed. */
void test_expect_end(struct net_client *client);
/* Handshake without verification. */
void test_start_tls(struct net_client *client);

#endif
