/*
 * exit_code: what the programs tell their callers (sysexits.h). Documented in chapard(8),
 * chapar(1).
 */
#ifndef CHAPAR_CHAPARD_EXIT_CODE_H
#define CHAPAR_CHAPARD_EXIT_CODE_H

/* 0 for 0, else the exit code for a negative enum error_code. */
int exit_code_of(int rc);

#endif
