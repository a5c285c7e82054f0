/*
 * fuzz_mailbox: one store with a mailbox of odd messages that stays for all inputs, since they only
 * look at it (EXAMINE), and sessions on it.
 */
#ifndef CHAPAR_TESTS_FUZZ_MAILBOX_H
#define CHAPAR_TESTS_FUZZ_MAILBOX_H

#include "fuzz_session.h"

#include <stdint.h>

#define FUZZ_MESSAGE_COUNT 7

/* The UID of message `number`, from 1; there are gaps. */
uint32_t fuzz_mailbox_uid(uint32_t number);

/*
 * A session of the first server, made when first asked for and anew when it has ended, that has
 * INBOX open; `slow` as in fuzz_session_new(), up to 3. It lives until the next call.
 */
struct fuzz_session *fuzz_mailbox_session(unsigned slow);

#endif
