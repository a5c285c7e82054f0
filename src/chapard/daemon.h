/*
 * daemon: the parts of a node put together: store, mail, listeners, channels, control socket.
 *
 * One thread calls these. daemon_start() blocks SIGTERM, SIGINT and SIGHUP before it starts
 * threads; daemon_wait() takes them.
 */
#ifndef CHAPAR_CHAPARD_DAEMON_H
#define CHAPAR_CHAPARD_DAEMON_H

#include "chapard/config.h"

struct daemon;

/*
 * Opens the store (made if it is not there) and serves clients. `config` stays borrowed until
 * daemon_stop(). Errors: ERR_INVALID (a file that the configuration names), ERR_EXISTS (an address
 * is in use), ERR_UNAVAILABLE (another process has the store open), ERR_REFUSED, ERR_NOT_FOUND (the
 * system user), and those of store_open().
 */
int daemon_start(const struct config *config, struct daemon **daemon_r, struct error *error);

/* The port of a listener of the configuration, as it was bound. */
uint16_t daemon_port(const struct daemon *daemon, size_t listener);

/*
 * Waits until the process is told to stop (0), or the store stops writing, which only a new start
 * can mend (its code). On SIGHUP it reads certificate and key again.
 */
int daemon_wait(struct daemon *daemon);

/*
 * Finishes acknowledged work, tells clients goodbye, stops the channels, closes the store. Sets
 * *daemon to NULL. A NULL *daemon is allowed.
 */
void daemon_stop(struct daemon **daemon);

/* Checks the files that the configuration names, without serving. ERR_INVALID, ERR_REFUSED, … */
int daemon_check(const struct config *config, struct error *error);

#endif
