#include "chapar/tool_progress.h"

#include "base/clock.h"

#include <stdlib.h>
#include <unistd.h>

#define BAR_WIDTH 20
#define KIB 1024.0
#define RATE_MS_MIN 1000 /* before a rate means anything */

static void amount_text(uint64_t amount, bool is_bytes, char *text, size_t size)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)amount;
	size_t unit = 0;

	if (!is_bytes) {
		snprintf(text, size, "%llu", (unsigned long long)amount);
		return;
	}
	for (; value >= KIB && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
		value /= KIB;
	snprintf(text, size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static void bar_text(uint64_t done, uint64_t total, char bar[BAR_WIDTH + 1])
{
	size_t filled = total > 0 ? (size_t)((double)done / (double)total * BAR_WIDTH) : 0;

	for (size_t i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < filled ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
}

void progress_text(const char *subject, const char *unit, uint64_t done, uint64_t total,
	uint64_t since, uint64_t elapsed_ms, char text_r[PROGRESS_LINE_SIZE_MAX])
{
	bool is_bytes = strcmp(unit, "bytes") == 0;
	char bar[BAR_WIDTH + 1], has[32], whole[32], rate[32];
	const char *counted = is_bytes ? "" : unit;
	uint64_t per_s, left_s;

	if (total == 0) {
		snprintf(text_r, PROGRESS_LINE_SIZE_MAX, "%.60s ...", subject);
		return;
	}
	done = done < total ? done : total;
	bar_text(done, total, bar);
	amount_text(done, is_bytes, has, sizeof(has));
	amount_text(total, is_bytes, whole, sizeof(whole));
	per_s = elapsed_ms < RATE_MS_MIN || done < since ? 0 : (done - since) * 1000 / elapsed_ms;
	if (per_s == 0) {
		snprintf(text_r, PROGRESS_LINE_SIZE_MAX, "%.60s [%s] %s of %s%s%.20s", subject, bar,
			has, whole, counted[0] != '\0' ? " " : "", counted);
		return;
	}
	amount_text(per_s, is_bytes, rate, sizeof(rate));
	left_s = (total - done) / per_s;
	snprintf(text_r, PROGRESS_LINE_SIZE_MAX,
		"%.60s [%s] %s of %s%s%.20s, %s/s, %llu:%02llu left", subject, bar, has, whole,
		counted[0] != '\0' ? " " : "", counted, rate, (unsigned long long)left_s / 60,
		(unsigned long long)left_s % 60);
}

void progress_begin(struct tool_progress *progress, FILE *out)
{
	*progress = (struct tool_progress){ .out = out,
		.terminal = isatty(STDERR_FILENO) ? stderr : NULL };
}

static void wipe(struct tool_progress *progress)
{
	if (progress->is_shown)
		fputs("\r\033[K", progress->terminal);
	progress->is_shown = false;
}

static void show(struct tool_progress *progress, struct bytes line)
{
	unsigned long long done, total;
	char copy[PROGRESS_LINE_SIZE_MAX], unit[21], subject[64];
	char text[PROGRESS_LINE_SIZE_MAX];
	uint64_t now = clock_monotonic_ms();

	if (progress->terminal == NULL || line.len >= sizeof(copy))
		return;
	snprintf(copy, sizeof(copy), "%.*s", BYTES_ARGS(line));
	if (sscanf(copy, "\r %llu %llu %20s %63[^\n]", &done, &total, unit, subject) != 4)
		return;
	if (strcmp(subject, progress->subject) != 0 || done < progress->first_done) {
		snprintf(progress->subject, sizeof(progress->subject), "%s", subject);
		progress->begin_ms = now;
		progress->first_done = done;
	}
	progress_text(
		subject, unit, done, total, progress->first_done, now - progress->begin_ms, text);
	fprintf(progress->terminal, "\r\033[K%s", text);
	fflush(progress->terminal);
	progress->is_shown = true;
}

void progress_line(struct tool_progress *progress, struct bytes line)
{
	if (bytes_peek(line) == '\r') {
		show(progress, line);
		return;
	}
	wipe(progress);
	fwrite(line.ptr, 1, line.len, progress->out);
	putc('\n', progress->out);
	fflush(progress->out);
}

void progress_end(struct tool_progress *progress)
{
	wipe(progress);
}
