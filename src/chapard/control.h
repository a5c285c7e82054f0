/*
 * control: the UNIX socket in the store's folder, over which the tool has the daemon run admin
 * commands. Whoever can connect (mode 0600: the store's owner and root) may do everything.
 *
 * The client sends a request line (admin.h). The server answers with any number of lines that begin
 * with '=' and hold a line of output each, and one last line: "OK", or "FAIL CODE TEXT" with CODE
 * of enum error_code. Then the next request may follow; a command that does not end by itself
 * (trace) is ended by it. Lines end in LF.
 */
#ifndef CHAPAR_CHAPARD_CONTROL_H
#define CHAPAR_CHAPARD_CONTROL_H

#include "chapard/admin.h"
#include "chapard/config.h"
#include "net/net_protocol.h"

#define CONTROL_LINE_SIZE_MAX 65536 /* bytes of one line of an answer */

/* The protocol of the listener; its context is the struct admin. */
extern const struct net_protocol control_protocol;

/* The socket's path, in the store's folder; the caller's to free. */
char *control_path(const char *store_path);

/* Takes what a last line says: 0 for "OK", else the code, with the text in *error. */
int control_result_parse(struct bytes line, struct error *error);

#endif
