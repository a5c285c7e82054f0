#include "imap/imap_frame.h"

#include <ctype.h>

struct literal {
	uint64_t size; /* saturated */
	bool is_synchronising;
};

/* The literal announced at the end of a line without its CRLF. */
static bool find_literal(struct bytes line, struct literal *literal_r)
{
	struct literal literal = { 0, true };
	size_t digits;

	if (line.len == 0 || line.ptr[line.len - 1] != '}')
		return false;
	line.len--;
	if (line.len > 0 && line.ptr[line.len - 1] == '+') {
		literal.is_synchronising = false;
		line.len--;
	}
	for (digits = 0; digits < line.len && isdigit(line.ptr[line.len - 1 - digits]); digits++)
		;
	if (digits == 0 || digits == line.len || line.ptr[line.len - 1 - digits] != '{')
		return false;
	for (size_t i = line.len - digits; i < line.len; i++) {
		if (literal.size > UINT32_MAX)
			continue;
		literal.size = literal.size * 10 + (uint64_t)(line.ptr[i] - '0');
	}
	*literal_r = literal;
	return true;
}

static bool is_command(struct bytes unit, const char *name)
{
	size_t space = bytes_find(unit, ' '), len = strlen(name);

	if (unit.len < space + 1 + len)
		return false;
	bytes_skip(&unit, space + 1);
	return bytes_equal_nocase(bytes_of(unit.ptr, len), bytes_of(name, len));
}

/* `unit` is the command up to the literal. */
static size_t literal_size_max(const struct imap_frame_limits *limits, struct bytes unit)
{
	if (!limits->is_authenticated)
		return IMAP_PREAUTH_SIZE_MAX;
	if (is_command(unit, "APPEND ") || is_command(unit, "REPLACE ") ||
		is_command(unit, "UID REPLACE "))
		return limits->append_size_max;
	if (is_command(unit, "SYNC "))
		return limits->sync_size_max;
	return IMAP_LITERAL_SIZE_MAX;
}

static enum net_frame unit_ready(struct imap_frame *frame, size_t len, struct net_unit *unit_r)
{
	unsigned late_prompt_count = frame->late_prompt_count;

	*frame = (struct imap_frame){ .late_prompt_count = late_prompt_count };
	unit_r->len = len;
	return NET_FRAME_READY;
}

static enum net_frame unit_refused(struct imap_frame *frame, size_t len, enum imap_refusal refusal,
	uint64_t drop_size, bool is_dropping, struct net_unit *unit_r)
{
	unit_ready(frame, len, unit_r);
	frame->refusal = refusal;
	frame->drop_size = drop_size;
	frame->is_dropping = is_dropping;
	return NET_FRAME_READY;
}

/* Drops what follows a refused literal: its bytes, the piece of line behind it, and so on. */
static enum net_frame drop(struct imap_frame *frame, struct bytes input, struct net_unit *unit_r)
{
	struct literal literal;
	size_t end;

	if (frame->drop_size > 0) {
		unit_r->len = frame->drop_size < input.len ? (size_t)frame->drop_size : input.len;
		frame->drop_size -= unit_r->len;
		return unit_r->len > 0 ? NET_FRAME_SKIP : NET_FRAME_MORE;
	}
	end = frame->scanned +
	      bytes_find(bytes_of(input.ptr + frame->scanned, input.len - frame->scanned), '\n');
	if (end == input.len) {
		frame->scanned = end;
		if (input.len < IMAP_LINE_SIZE_MAX)
			return NET_FRAME_MORE;
		/* The head of a literal cut in two by this is not seen: a client that sends
		 * such lines gets more answers than he asked for. */
		frame->scanned = 0;
		unit_r->len = input.len;
		return NET_FRAME_SKIP;
	}
	unit_r->len = end + 1;
	frame->scanned = 0;
	if (end > 0 && input.ptr[end - 1] == '\r')
		end--;
	frame->is_dropping =
		find_literal(bytes_of(input.ptr, end), &literal) && !literal.is_synchronising;
	frame->drop_size = frame->is_dropping ? literal.size : 0;
	return NET_FRAME_SKIP;
}

static enum net_frame refuse_literal(
	struct imap_frame *frame, struct literal literal, size_t line_end, struct net_unit *unit_r)
{
	if (literal.is_synchronising)
		return unit_refused(frame, line_end, IMAP_REFUSED_LITERAL, 0, false, unit_r);
	if (literal.size > IMAP_DROP_SIZE_MAX) {
		unit_r->reply = BYTES_LITERAL("* BYE [TOOBIG] Literal too large\r\n");
		return NET_FRAME_BAD;
	}
	return unit_refused(frame, line_end, IMAP_REFUSED_LITERAL, literal.size, true, unit_r);
}

/* Looks for the end of the present piece of line. False: it is not there. */
static bool find_line_end(struct imap_frame *frame, struct bytes input, size_t *end_r)
{
	size_t from = frame->scanned > frame->line_start ? frame->scanned : frame->line_start;
	size_t end = from + bytes_find(bytes_of(input.ptr + from, input.len - from), '\n');

	frame->scanned = end;
	*end_r = end + 1;
	return end < input.len;
}

/* The piece of line from line_start to `end`, without its CRLF or LF. */
static struct bytes line_of(const struct imap_frame *frame, struct bytes input, size_t end)
{
	struct bytes line = bytes_of(input.ptr + frame->line_start, end - frame->line_start);

	if (line.len > 0 && line.ptr[line.len - 1] == '\n')
		line.len--;
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	return line;
}

/* The line is too long; what belongs to it and is still to come is dropped. */
static enum net_frame refuse_line(struct imap_frame *frame, struct bytes input, size_t end,
	bool is_whole, struct net_unit *unit_r)
{
	struct literal literal = { 0, true };
	bool is_followed = is_whole && find_literal(line_of(frame, input, end), &literal) &&
			   !literal.is_synchronising;

	return unit_refused(frame, end, IMAP_REFUSED_LINE, is_followed ? literal.size : 0,
		is_followed || !is_whole, unit_r);
}

enum net_frame imap_frame_next(struct imap_frame *frame, const struct imap_frame_limits *limits,
	struct bytes input, struct net_unit *unit_r)
{
	size_t size_max = limits->is_authenticated ? IMAP_LINE_SIZE_MAX : IMAP_PREAUTH_SIZE_MAX;
	struct literal literal;
	size_t end;

	if (frame->is_dropping)
		return drop(frame, input, unit_r);
	for (;;) {
		bool is_found;

		if (input.len < frame->line_start) {
			unit_r->wanted = frame->line_start;
			return NET_FRAME_MORE;
		}
		is_found = find_line_end(frame, input, &end);
		if (!is_found)
			end = input.len;
		if (frame->text_size + (end - frame->line_start) > size_max)
			return refuse_line(frame, input, end, is_found, unit_r);
		if (!is_found)
			return NET_FRAME_MORE;
		if (limits->is_line_only || !find_literal(line_of(frame, input, end), &literal))
			return unit_ready(frame, end, unit_r);
		if (literal.size > literal_size_max(limits, bytes_of(input.ptr, end)) ||
			end + literal.size > limits->unit_size_max)
			return refuse_literal(frame, literal, end, unit_r);
		frame->text_size += end - frame->line_start;
		frame->line_start = end + (size_t)literal.size;
		frame->scanned = 0;
		if (!literal.is_synchronising)
			continue;
		if (input.len < frame->line_start || input.len == end) {
			unit_r->reply = BYTES_LITERAL(IMAP_PROMPT);
			unit_r->wanted = frame->line_start;
			return NET_FRAME_MORE;
		}
		frame->late_prompt_count++;
	}
}
