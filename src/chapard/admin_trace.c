/* trace: SYNC sessions, as they are (sync/trace.h). It never ends by itself. */
#include "chapard/admin_private.h"

#include "sync/trace.h"

int admin_trace(struct admin_call *call, struct buffer *out, struct error *error)
{
	if (call->admin->live == NULL || call->wake == NULL)
		return error_set(error, ERR_UNAVAILABLE, "nothing is under way: no daemon runs");
	if (call->trace == NULL)
		call->trace = trace_reader_new(call->admin->live->trace,
			call->argument_count > 0 ? call->arguments[0] : NULL, call->wake,
			call->wake_context);
	trace_read(call->trace, out);
	return ADMIN_WAIT;
}
