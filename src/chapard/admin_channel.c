#include "chapard/admin_private.h"

static int live_of(
	const struct admin_call *call, const struct admin_live **live_r, struct error *error)
{
	*live_r = call->admin->live;
	if (*live_r != NULL)
		return 0;
	return error_set(error, ERR_UNAVAILABLE, "the daemon is stopped: no channel runs");
}

int admin_channel_list(struct admin_call *call, struct buffer *out, struct error *error)
{
	const struct admin_live *live;
	int rc = live_of(call, &live, error);

	if (rc < 0)
		return rc;
	live->channels(live->context, admin_has(call, ADMIN_OPTION_JSON), out);
	if (admin_has(call, ADMIN_OPTION_JSON))
		buffer_append_byte(out, '\n');
	return ADMIN_DONE;
}

static int channel_change(struct admin_call *call, enum admin_channel_act act, const char *done,
	struct buffer *out, struct error *error)
{
	const struct admin_live *live;
	int rc = live_of(call, &live, error);

	if (rc == 0)
		rc = live->channel_change(live->context, act, call->arguments[0],
			call->arguments + 1, call->argument_count - 1, error);
	if (rc < 0)
		return rc;
	buffer_printf(out, "%s %s\n", done, call->arguments[0]);
	return ADMIN_DONE;
}

int admin_channel_add(struct admin_call *call, struct buffer *out, struct error *error)
{
	return channel_change(call, ADMIN_CHANNEL_ADD, "added", out, error);
}

int admin_channel_remove(struct admin_call *call, struct buffer *out, struct error *error)
{
	return channel_change(call, ADMIN_CHANNEL_REMOVE, "removed", out, error);
}

int admin_channel_pause(struct admin_call *call, struct buffer *out, struct error *error)
{
	return channel_change(call, ADMIN_CHANNEL_PAUSE, "paused", out, error);
}

int admin_channel_resume(struct admin_call *call, struct buffer *out, struct error *error)
{
	return channel_change(call, ADMIN_CHANNEL_RESUME, "resumed", out, error);
}
