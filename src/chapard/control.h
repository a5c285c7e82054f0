/*
 * control: the UNIX socket in the store's folder, over which the tool has the daemon run admin
 * commands. Whoever can connect (mode 0600: the store's owner and root) may do everything.
 *
 * The client sends a request line (admin.h). The server answers with any number of lines that begin
 * with '=' and hold a line of output each, and one last line: "OK", or "FAIL CODE TEXT" with CODE
 * of enum error_code. Then the next request may follow; a command that does not end by itself
 * (trace) is ended by it. Lines end in LF.
 *
 * After the request "sync" and its OK the connection carries SYNC requests instead, as those of a
 * full peer (sync/responder.h), until it ends: each as its length in decimal digits, LF, and so
 * many bytes; each answer likewise. That is how a backup reads from the node that it runs beside.
 */
#ifndef CHAPAR_CHAPARD_CONTROL_H
#define CHAPAR_CHAPARD_CONTROL_H

#include "chapard/admin.h"
#include "chapard/config.h"
#include "net/net_protocol.h"

#define CONTROL_LINE_SIZE_MAX 65536 /* bytes of one line of an answer */

#define CONTROL_SYNC "sync" /* the request */

/* The protocol of the listener; its context is the struct admin. */
extern const struct net_protocol control_protocol;

/* The socket's path, in the store's folder; the caller's to free. */
char *control_path(const char *store_path);

/* The number that begins a SYNC request or answer, from its line. ERR_INVALID, ERR_TOO_LARGE. */
int control_size_parse(struct bytes line, size_t *size_r);

/* Takes what a last line says: 0 for "OK", else the code, with the text in *error. */
int control_result_parse(struct bytes line, struct error *error);

#endif
