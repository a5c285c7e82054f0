#include "measure.h"

#include "base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROCESSES_MAX 65536

struct process {
	int id;
	int parent;
	bool is_chosen;
};

/* What follows the command name in /proc/ID/stat, in text_r; NULL if the process is gone. */
static const char *read_stat(int id, char *text_r, size_t size)
{
	char path[64], *end;
	FILE *file;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/stat", id);
	file = fopen(path, "r");
	if (file == NULL)
		return NULL;
	len = fread(text_r, 1, size - 1, file);
	fclose(file);
	text_r[len] = '\0';
	end = strrchr(text_r, ')');
	return end == NULL || end[1] == '\0' ? NULL : end + 2;
}

static size_t list_processes(struct process *list_r)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	size_t count = 0;

	if (proc == NULL)
		die("/proc cannot be read");
	while ((entry = readdir(proc)) != NULL && count < PROCESSES_MAX) {
		struct process process = { .id = atoi(entry->d_name) };
		char text[512];
		const char *stat;

		if (process.id <= 0)
			continue;
		stat = read_stat(process.id, text, sizeof(text));
		if (stat == NULL)
			continue;
		sscanf(stat, "%*c %d", &process.parent);
		list_r[count++] = process;
	}
	closedir(proc);
	return count;
}

static bool is_chosen(const struct process *list, size_t count, int id)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].id == id)
			return list[i].is_chosen;
	}
	return false;
}

static void choose_trees(struct process *list, size_t count, const char *pids)
{
	bool is_growing = true;

	for (const char *at = pids; at != NULL && *at != '\0';) {
		for (size_t i = 0; i < count; i++) {
			if (list[i].id == atoi(at))
				list[i].is_chosen = true;
		}
		at = strchr(at, ',');
		if (at != NULL)
			at++;
	}
	while (is_growing) {
		is_growing = false;
		for (size_t i = 0; i < count; i++) {
			if (!list[i].is_chosen && is_chosen(list, count, list[i].parent))
				list[i].is_chosen = is_growing = true;
		}
	}
}

static void add_cpu(struct process_cost *cost, int id)
{
	char text[1024];
	const char *stat = read_stat(id, text, sizeof(text));
	unsigned long user = 0, system = 0;
	long children_user = 0, children_system = 0;

	if (stat == NULL)
		return;
	sscanf(stat, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", &user, &system,
		&children_user, &children_system);
	cost->cpu_seconds += (double)(user + system + (unsigned long)children_user +
				      (unsigned long)children_system) /
			     (double)sysconf(_SC_CLK_TCK);
}

/* Adds the numbers after `names` in /proc/ID/FILE to sums; false: the file is not there. */
static bool add_fields(int id, const char *file_name, const char *const *names, double *sums)
{
	char path[64], line[1024];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", id, file_name);
	file = fopen(path, "r");
	if (file == NULL)
		return false;
	while (fgets(line, sizeof(line), file) != NULL) {
		for (size_t i = 0; names[i] != NULL; i++) {
			if (strncmp(line, names[i], strlen(names[i])) == 0)
				sums[i] += atof(line + strlen(names[i]));
		}
	}
	fclose(file);
	return true;
}

struct process_cost measure_processes(const char *pids, bool with_memory)
{
	static const char *const io_names[] = { "write_bytes:", NULL };
	static const char *const memory_names[] = { "Pss:", "Rss:", "Private_Dirty:", NULL };
	struct process *list = mem_zalloc_array(PROCESSES_MAX, sizeof(*list));
	size_t count = list_processes(list);
	struct process_cost cost = { 0 };
	double memory[3] = { 0 };

	choose_trees(list, count, pids);
	for (size_t i = 0; i < count; i++) {
		if (!list[i].is_chosen)
			continue;
		add_cpu(&cost, list[i].id);
		add_fields(list[i].id, "io", io_names, &cost.written);
		if (!with_memory || add_fields(list[i].id, "smaps_rollup", memory_names, memory))
			cost.processes++;
	}
	cost.pss = (long)memory[0];
	cost.rss = (long)memory[1];
	cost.private_dirty = (long)memory[2];
	free(list);
	return cost;
}

void cost_begin(struct cost_watch *watch_r, const struct options *options)
{
	const char *a = option(options, "pid", NULL), *b = option(options, "pid-b", NULL);

	memset(watch_r, 0, sizeof(*watch_r));
	if (a != NULL)
		watch_r->a = measure_processes(a, false);
	if (b != NULL)
		watch_r->b = measure_processes(b, false);
}

static void report_side(const char *name, char side, const struct process_cost *before,
	const char *pids, double operations)
{
	struct process_cost after = measure_processes(pids, false);

	printf("%s cost %c: cpu_ms/op=%.3f written_KiB/op=%.1f\n", name, side,
		(after.cpu_seconds - before->cpu_seconds) * 1e3 / operations,
		(after.written - before->written) / 1024 / operations);
}

void cost_report(const struct cost_watch *watch, const struct options *options, const char *name,
	size_t operations)
{
	const char *a = option(options, "pid", NULL), *b = option(options, "pid-b", NULL);

	if (a != NULL)
		report_side(name, 'A', &watch->a, a, (double)operations);
	if (b != NULL)
		report_side(name, 'B', &watch->b, b, (double)operations);
}
