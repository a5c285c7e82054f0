/*
 * util: what every part of mailload uses: the command line, the clock, latency figures.
 * Times are seconds as double. Any thread may call any function.
 */
#ifndef CHAPAR_BENCH_UTIL_H
#define CHAPAR_BENCH_UTIL_H

#include <stddef.h>

/* The command line: words[1] is the subcommand, pairs of `--name value` follow. */
struct options {
	int count;
	char **words;
};

/* The value after `--name`, "" if it is the last word, or `fallback`. Borrowed from the words. */
const char *option(const struct options *options, const char *name, const char *fallback);
long option_number(const struct options *options, const char *name, long fallback);
double option_seconds(const struct options *options, const char *name, long fallback);
/* As option(); ends the program if it is missing. */
const char *option_needed(const struct options *options, const char *name);

/* Runs the shell command given as `--name` and reports its status; nothing if not given. */
void option_run_command(const struct options *options, const char *name);

/* Prints "mailload: ..." to stderr and ends the program with status 2: a load driver that cannot
 * do what it was asked has nothing to report. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

double seconds_now(void); /* of a clock that never steps */
void sleep_ms(double ms);

/* qsort() order of doubles. */
int compare_doubles(const void *a, const void *b);
/* Of `count` sorted values, with linear interpolation; 0 of none. */
double percentile(const double *sorted, size_t count, double percent);
/* Sorts the latencies (seconds) and prints one line about them. */
void report_latency(const char *name, double *latencies, size_t count);

#endif
