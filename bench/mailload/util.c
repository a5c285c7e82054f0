#include "util.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char *option(const struct options *options, const char *name, const char *fallback)
{
	for (int i = 2; i < options->count; i++) {
		const char *word = options->words[i];

		if (strncmp(word, "--", 2) == 0 && strcmp(word + 2, name) == 0)
			return i + 1 < options->count ? options->words[i + 1] : "";
	}
	return fallback;
}

long option_number(const struct options *options, const char *name, long fallback)
{
	const char *value = option(options, name, NULL);

	return value == NULL ? fallback : atol(value);
}

double option_seconds(const struct options *options, const char *name, long fallback)
{
	return (double)option_number(options, name, fallback);
}

const char *option_needed(const struct options *options, const char *name)
{
	const char *value = option(options, name, NULL);

	if (value == NULL)
		die("--%s is needed", name);
	return value;
}

void option_run_command(const struct options *options, const char *name)
{
	const char *command = option(options, name, "");
	double began = seconds_now();
	int status;

	if (*command == '\0')
		return;
	fflush(stdout);
	status = system(command);
	printf("hook %s rc=%d took_s=%.2f\n", name, status, seconds_now() - began);
	fflush(stdout);
}

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("mailload: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void sleep_ms(double ms)
{
	struct timespec pause = { (time_t)(ms / 1000), (long)(fmod(ms, 1000) * 1e6) };

	nanosleep(&pause, NULL);
}

int compare_doubles(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

double percentile(const double *sorted, size_t count, double percent)
{
	double place, fraction;
	size_t below;

	if (count == 0)
		return 0;
	place = percent / 100 * (double)(count - 1);
	below = (size_t)place;
	fraction = place - (double)below;
	if (below + 1 >= count)
		return sorted[count - 1];
	return sorted[below] * (1 - fraction) + sorted[below + 1] * fraction;
}

void report_latency(const char *name, double *latencies, size_t count)
{
	double sum = 0, least = 0, most = 0, mean = 0;

	qsort(latencies, count, sizeof(*latencies), compare_doubles);
	for (size_t i = 0; i < count; i++)
		sum += latencies[i];
	if (count > 0) {
		least = latencies[0];
		most = latencies[count - 1];
		mean = sum / (double)count;
	}
	printf("%s n=%zu min_ms=%.2f p50_ms=%.2f p90_ms=%.2f p99_ms=%.2f max_ms=%.2f "
	       "mean_ms=%.2f\n",
		name, count, least * 1e3, percentile(latencies, count, 50) * 1e3,
		percentile(latencies, count, 90) * 1e3, percentile(latencies, count, 99) * 1e3,
		most * 1e3, mean * 1e3);
	fflush(stdout);
}
