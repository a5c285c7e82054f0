/*
 * privileges: root becomes the system user of the configuration.
 */
#ifndef CHAPAR_CHAPARD_PRIVILEGES_H
#define CHAPAR_CHAPARD_PRIVILEGES_H

#include "base/error.h"

#include <stdbool.h>

/*
 * If the process is root's and `user` is not NULL: becomes that user, with his groups. With
 * `may_return`, only effectively: privileges_regain() makes it root again. Else for good, also
 * after may_return. Concerns all threads. ERR_NOT_FOUND: no such user; ERR_REFUSED.
 */
int privileges_drop(const char *user, bool may_return, struct error *error);
void privileges_regain(void);

#endif
