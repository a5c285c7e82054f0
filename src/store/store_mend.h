/* store_mend: a body that is damaged in the log, or lost from it, stored anew. */
#ifndef CHAPAR_STORE_STORE_MEND_H
#define CHAPAR_STORE_STORE_MEND_H

#include "store/store.h"

/*
 * Stores the body in place of the one of that GUID, whose references stay. `body` must live until
 * the commit returned. ERR_NOT_FOUND: there is no such body, damaged or not.
 */
int store_body_mend(struct store_write *write, const struct store_body *body);

#endif
