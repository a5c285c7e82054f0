/*
 * chapar-sim: runs schedules (sim.h) with one seed after the other.
 * usage: chapar-sim [--schedules N] [--seed S] [--nodes K] [--jobs J] [--seeds FILE] [--trace]
 *                   [--one-writer] [--filtered] [--guests] [--stop]
 * Prints each failing seed with its reason, and "N schedules, F failures"; exits with 1 if there
 * were any; with --stop at the first. `chapar-sim --seed S --schedules 1 --trace` tells a schedule
 * step by step.
mailboxes made anew, UID authority)
 */
#include "sim.h"

#include "base/log.h"
#include "base/mem.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILURES_PRINTED_MAX 20
#define JOB_COUNT_MAX 64

struct options {
	uint64_t schedules;
	uint64_t seed;
	bool has_seed;
	size_t nodes;
	unsigned jobs;
	const char *seeds_path;
	bool is_trace, is_one_writer, is_filtered, is_guests, is_stopped_by_failure;
};

struct totals {
	uint64_t schedules, failures;
	uint64_t acts, exchanges, failed_exchanges, conflicts, refused, repairs, integrates,
		restores;
	uint64_t rounds_max;
};

static void add_counts(struct totals *totals, const struct sim *sim)
{
	totals->schedules++;
	totals->acts += sim->counts.acts;
	totals->exchanges += sim->counts.exchanges;
	totals->failed_exchanges += sim->counts.failed_exchanges;
	totals->conflicts += sim->counts.conflicts;
	totals->refused += sim->counts.refused;
	totals->repairs += sim->counts.repairs;
	totals->integrates += sim->counts.integrates;
	totals->restores += sim->counts.restores;
	if (totals->rounds_max < sim->counts.rounds_max)
		totals->rounds_max = sim->counts.rounds_max;
}

static void run_one(const struct options *options, uint64_t seed, struct totals *totals)
{
	struct sim *sim = mem_zalloc(sizeof(*sim));

	sim->is_trace = options->is_trace;
	sim->is_one_writer = options->is_one_writer;
	sim->is_filtered = options->is_filtered;
	sim->is_guests = options->is_guests;
	if (!sim_run(sim, seed, options->nodes) && ++totals->failures <= FAILURES_PRINTED_MAX) {
		printf("seed %llu (%zu nodes, %s): %s\n", (unsigned long long)seed, sim->node_count,
			sim->topology, sim->failure);
		fflush(stdout);
	}
	add_counts(totals, sim);
	free(sim);
}

/* Every `jobs`-th seed, from the `job`-th on. */
static void run_job(const struct options *options, unsigned job, struct totals *totals)
{
	for (uint64_t i = job;
		i < options->schedules && !(options->is_stopped_by_failure && totals->failures > 0);
		i += options->jobs)
		run_one(options, options->seed + i, totals);
}

static int run_seeds(const struct options *options, struct totals *totals)
{
	FILE *file = fopen(options->seeds_path, "re");
	char line[256];

	if (file == NULL) {
		perror(options->seeds_path);
		return -1;
	}
	while (fgets(line, sizeof(line), file) != NULL) {
		struct options one = *options;
		char *end;
		uint64_t seed = strtoull(line, &end, 10);

		if (end == line)
			continue; /* a comment */
		one.nodes = strtoul(end, NULL, 10);
		run_one(&one, seed, totals);
	}
	fclose(file);
	return 0;
}

static void add_totals(struct totals *totals, const struct totals *part)
{
	uint64_t rounds =
		totals->rounds_max > part->rounds_max ? totals->rounds_max : part->rounds_max;
	const uint64_t *from = (const uint64_t *)(const void *)part;
	uint64_t *to = (uint64_t *)(void *)totals;

	for (size_t i = 0; i < sizeof(*totals) / sizeof(*to); i++)
		to[i] += from[i];
	totals->rounds_max = rounds;
}

/* A process per job. One that dies takes its totals with it, which counts as a failure. */
static void run_jobs(const struct options *options, struct totals *totals)
{
	int pipes[JOB_COUNT_MAX][2];

	fflush(stdout);
	for (unsigned job = 0; job < options->jobs; job++) {
		if (pipe(pipes[job]) < 0)
			abort();
		if (fork() == 0) {
			struct totals own = { 0 };

			run_job(options, job, &own);
			fflush(stdout);
			_exit(write(pipes[job][1], &own, sizeof(own)) == sizeof(own) ? 0 : 1);
		}
		close(pipes[job][1]);
	}
	for (unsigned job = 0; job < options->jobs; job++) {
		struct totals part = { 0 };

		if (read(pipes[job][0], &part, sizeof(part)) != sizeof(part)) {
			printf("job %u died\n", job);
			part = (struct totals){ .failures = 1 };
		}
		add_totals(totals, &part);
		close(pipes[job][0]);
	}
	while (wait(NULL) > 0)
		;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: chapar-sim [--schedules N] [--seed S] [--nodes K] [--jobs J] "
		"[--seeds FILE] [--trace] [--one-writer] [--filtered] [--guests] [--stop]\n");
	exit(2);
}

static struct options read_options(int argc, char **argv)
{
	static const struct option names[] = { { "schedules", 1, NULL, 'n' },
		{ "seed", 1, NULL, 's' }, { "nodes", 1, NULL, 'k' }, { "jobs", 1, NULL, 'j' },
		{ "seeds", 1, NULL, 'f' }, { "trace", 0, NULL, 't' }, { "stop", 0, NULL, 'e' },
		{ "one-writer", 0, NULL, 'w' }, { "filtered", 0, NULL, 'p' },
		{ "guests", 0, NULL, 'g' }, { NULL, 0, NULL, 0 } };
	struct options options = { .schedules = 1000, .jobs = 1 };
	int option;

	random_bytes(&options.seed, sizeof(options.seed));
	options.seed >>= 16;
	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option == 'n')
			options.schedules = strtoull(optarg, NULL, 10);
		else if (option == 's')
			options.seed = strtoull(optarg, NULL, 10);
		else if (option == 'k')
			options.nodes = strtoul(optarg, NULL, 10);
		else if (option == 'j')
			options.jobs = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'f')
			options.seeds_path = optarg;
		else if (option == 't')
			options.is_trace = true;
		else if (option == 'w')
			options.is_one_writer = true;
		else if (option == 'p')
			options.is_filtered = true;
		else if (option == 'g')
			options.is_guests = true;
		else if (option == 'e')
			options.is_stopped_by_failure = true;
		else
			usage();
	}
	if (optind < argc || options.jobs < 1 || options.jobs > JOB_COUNT_MAX ||
		(options.nodes == 1 && !options.is_guests) || options.nodes > SIM_NODE_COUNT_MAX)
		usage();
	return options;
}

int main(int argc, char **argv)
{
	struct options options = read_options(argc, argv);
	struct totals totals = { 0 };

	log_level_set(LOG_LEVEL_ERROR);
	if (options.seeds_path != NULL) {
		if (run_seeds(&options, &totals) < 0)
			return 2;
	} else {
		printf("seed %llu\n", (unsigned long long)options.seed);
		if (options.jobs == 1)
			run_job(&options, 0, &totals);
		else
			run_jobs(&options, &totals);
	}
	printf("%llu acts, %llu exchanges (%llu failed), %llu conflicts, %llu refused, %llu merged "
	       "there, "
	       "%llu repairs, %llu restores, at most %llu rounds\n",
		(unsigned long long)totals.acts, (unsigned long long)totals.exchanges,
		(unsigned long long)totals.failed_exchanges, (unsigned long long)totals.conflicts,
		(unsigned long long)totals.refused, (unsigned long long)totals.integrates,
		(unsigned long long)totals.repairs, (unsigned long long)totals.restores,
		(unsigned long long)totals.rounds_max);
	printf("%llu schedules, %llu failures\n", (unsigned long long)totals.schedules,
		(unsigned long long)totals.failures);
	return totals.failures == 0 ? 0 : 1;
}
