/*
 * fake_peer: as much of an IMAP server as a replication channel talks to, on a loopback port, that
 * can break links and fall silent when a test says so.
 */
#ifndef CHAPAR_TESTS_FAKE_PEER_H
#define CHAPAR_TESTS_FAKE_PEER_H

#include "mail/mail.h"

struct fake_peer;

/* Serves `mail`; one connection at a time, whose user is "sync" with the password "secret". */
struct fake_peer *fake_peer_new(struct mail *mail);
void fake_peer_free(struct fake_peer **peer);
uint16_t fake_peer_port(const struct fake_peer *peer);

/* Any thread. The connection is cut when the next `count`-th SYNC command of that verb has come,
 * before or after it ran. */
void fake_peer_cut_at(struct fake_peer *peer, const char *verb, unsigned count, bool after_it_ran);
/* While on, connections are refused with BYE. */
void fake_peer_refuse(struct fake_peer *peer, bool on);
/* SYNC requests that name this account fail, until another is given, or NULL. */
void fake_peer_fail_account(struct fake_peer *peer, const char *account);
/* How many SYNC commands of that verb came so far. */
unsigned fake_peer_count(struct fake_peer *peer, const char *verb);

#endif
