/* origin_private: the state that a clone keeps of its origin, for origin*.c only. */
#ifndef CHAPAR_CHAPARD_ORIGIN_PRIVATE_H
#define CHAPAR_CHAPARD_ORIGIN_PRIVATE_H

#include "chapard/origin.h"

int origin_state_put(struct mail *mail, const struct origin_state *state, struct error *error);

#endif
