/* mime_invariants: what holds for every message, whatever is in it. Aborts where it does not. */
#ifndef CHAPAR_TESTS_MIME_INVARIANTS_H
#define CHAPAR_TESTS_MIME_INVARIANTS_H

#include "base/bytes.h"

void mime_invariants_check(struct bytes message);

#endif
