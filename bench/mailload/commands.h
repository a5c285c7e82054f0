/*
 * commands: the subcommands of mailload. Each prints its findings and returns an exit status.
 */
#ifndef CHAPAR_BENCH_COMMANDS_H
#define CHAPAR_BENCH_COMMANDS_H

#include "util.h"

int command_append(const struct options *options);
int command_catchup(const struct options *options);
int command_deliver(const struct options *options);
int command_drain(const struct options *options);
int command_dump(const struct options *options);
int command_equal(const struct options *options);
int command_fetch(const struct options *options);
int command_generate(const struct options *options);
int command_idle(const struct options *options);
int command_lag(const struct options *options);
int command_make_mailboxes(const struct options *options);
int command_memory(const struct options *options);
int command_proxy(const struct options *options);
int command_splitbrain(const struct options *options);
int command_store(const struct options *options);

#endif
