/*
 * The horizon: the main thread looks once a second, and forgets in steps for a part of that second;
 * once nothing is left it looks again after a while.
 */
#include "chapard/daemon_private.h"

#include "base/log.h"
#include "mail/expiry.h"

#define DAY_MS ((uint64_t)24 * 3600 * 1000)
#define WORK_MS_MAX 200 /* of a second */
#define REST_MS 3000 /* when nothing is left, or after a failure; looking costs next to nothing */

/* The time that lies so many days before now; 0 if there is none. */
static uint64_t days_ago_ms(uint64_t days)
{
	uint64_t now_ms = clock_now_ms(clock_system());

	return now_ms > days * DAY_MS ? now_ms - days * DAY_MS : 0;
}

static int expire_step(struct daemon *daemon, struct error *error)
{
	const struct config *config = daemon->config;
	int rc = mail_expire(daemon->mail, days_ago_ms(config->horizon_days), error);

	if (rc != 0 || config->keep_expunged_days >= config->horizon_days)
		return rc;
	return mail_expire_local_bodies(daemon->mail, days_ago_ms(config->keep_expunged_days),
		&daemon->expired_locally, error);
}

/* First what was cut short when the daemon ended last: copies, accounts that were moved away. */
static int step(struct daemon *daemon, struct error *error)
{
	int rc;

	if (daemon->is_cleared)
		return expire_step(daemon, error);
	rc = mail_undo_copies(daemon->mail, error);
	if (rc != 0)
		return rc;
	rc = account_clearing_next(daemon->mail, &daemon->clearing, error);
	daemon->is_cleared = rc <= 0;
	return rc < 0 ? rc : 1;
}

void daemon_expire(struct daemon *daemon)
{
	uint64_t begin_ms = clock_monotonic_ms();
	struct error error = { 0 };
	int rc = 1;

	if (begin_ms < daemon->next_expire_ms)
		return;
	while (rc > 0 && clock_monotonic_ms() < begin_ms + WORK_MS_MAX)
		rc = step(daemon, &error);
	if (rc < 0)
		log_event(LOG_LEVEL_WARNING, "expiry-failed", "error",
			error.code != 0 ? error.text : error_name(rc), NULL);
	if (rc <= 0)
		daemon->next_expire_ms = clock_monotonic_ms() + REST_MS;
}
