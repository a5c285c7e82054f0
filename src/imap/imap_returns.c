#include "imap/imap_returns.h"

#include "imap/imap_fetch.h"
#include "imap/imap_reply.h"

/* ---- parsing ---- */

static int parse_end_of_partial(struct imap_parser *args, bool is_from_end, uint32_t *number_r)
{
	if (is_from_end && imap_parse_expect(args, '-') < 0)
		return ERR_INVALID;
	if (imap_parse_number32(args, number_r) < 0)
		return ERR_INVALID;
	return *number_r == 0 ? ERR_INVALID : 0;
}

int imap_parse_partial(struct imap_parser *args, struct imap_partial *partial_r)
{
	struct imap_partial partial = { .is_from_end = bytes_peek(args->rest) == '-' };

	if (parse_end_of_partial(args, partial.is_from_end, &partial.first) < 0 ||
		!imap_parse_take(args, ':') ||
		parse_end_of_partial(args, partial.is_from_end, &partial.last) < 0)
		return imap_parse_fail(args, ERR_INVALID, "Malformed PARTIAL range");
	*partial_r = partial;
	return 0;
}

/* What to FETCH of new messages that are results; in the grammar without a blank, in the examples
 * with one. */
static int parse_update_items(struct imap_parser *args, struct imap_returns *returns)
{
	struct imap_fetch fetch = { .item_count = 0 };
	struct bytes before;

	if (args->rest.len >= 2 && args->rest.ptr[0] == ' ' && args->rest.ptr[1] == '(')
		bytes_skip(&args->rest, 1);
	before = args->rest;
	if (bytes_peek(before) != '(')
		return 0;
	if (imap_parse_fetch_list(args, &fetch) < 0)
		return ERR_INVALID;
	returns->update_items = bytes_of(before.ptr, before.len - args->rest.len);
	return 0;
}

static int parse_option(struct imap_parser *args, struct imap_returns *returns)
{
	static const struct {
		const char *name;
		enum imap_return option;
	} names[] = { { "MIN", RETURN_MIN }, { "MAX", RETURN_MAX }, { "ALL", RETURN_ALL },
		{ "COUNT", RETURN_COUNT }, { "SAVE", RETURN_SAVE }, { "PARTIAL", RETURN_PARTIAL },
		{ "UPDATE", RETURN_UPDATE }, { "CONTEXT", RETURN_CONTEXT } };
	unsigned before = returns->options;
	size_t i = 0;

	while (i < sizeof(names) / sizeof(names[0]) && !imap_parse_take_word(args, names[i].name))
		i++;
	if (i == sizeof(names) / sizeof(names[0]))
		return imap_parse_fail(args, ERR_INVALID, "Unknown RETURN option");
	returns->options |= names[i].option;
	if (names[i].option == RETURN_PARTIAL) {
		if ((before & RETURN_PARTIAL) != 0)
			return imap_parse_fail(args, ERR_INVALID, "More than one PARTIAL");
		if (imap_parse_space(args) < 0 || imap_parse_partial(args, &returns->partial) < 0)
			return ERR_INVALID;
	}
	if (names[i].option == RETURN_UPDATE && parse_update_items(args, returns) < 0)
		return ERR_INVALID;
	if ((returns->options & RETURN_PARTIAL) != 0 && (returns->options & RETURN_ALL) != 0)
		return imap_parse_fail(args, ERR_INVALID, "PARTIAL and ALL exclude each other");
	return 0;
}

int imap_parse_returns(struct imap_parser *args, struct imap_returns *returns)
{
	if (!imap_parse_take_word(args, "RETURN"))
		return 0;
	returns->is_extended = true;
	if (imap_parse_space(args) < 0 || imap_parse_expect(args, '(') < 0)
		return ERR_INVALID;
	while (!imap_parse_take(args, ')')) {
		if (parse_option(args, returns) < 0)
			return ERR_INVALID;
		if (bytes_peek(args->rest) != ')' && imap_parse_space(args) < 0)
			return ERR_INVALID;
	}
	/* Without one that says what to tell, all is told (RFC 4731, 3.1; RFC 5267, 4.3). */
	if ((returns->options & ~(unsigned)(RETURN_UPDATE | RETURN_CONTEXT)) == 0)
		returns->options |= RETURN_ALL;
	return imap_parse_space(args);
}

void imap_partial_resolve(
	const struct imap_partial *partial, size_t count, size_t *begin_r, size_t *end_r)
{
	size_t low = partial->first < partial->last ? partial->first : partial->last;
	size_t high = partial->first < partial->last ? partial->last : partial->first;

	high = high < count ? high : count;
	if (low > high) {
		*begin_r = *end_r = 0;
	} else if (partial->is_from_end) {
		*begin_r = count - high;
		*end_r = count - low + 1;
	} else {
		*begin_r = low - 1;
		*end_r = high;
	}
}

/* ---- writing ---- */

uint32_t imap_result_number(const struct imap_results *results, uint32_t uid)
{
	return results->is_uid ? uid : (uint32_t)imap_view_find(results->view, uid) + 1;
}

void imap_put_ordered(
	struct buffer *out, const struct imap_results *results, size_t begin, size_t end)
{
	for (size_t i = begin; i < end;) {
		uint32_t first = imap_result_number(results, results->matches[i].uid);
		uint32_t last = first;

		buffer_printf(out, "%s%u", i > begin ? "," : "", first);
		while (++i < end &&
			imap_result_number(results, results->matches[i].uid) == last + 1)
			last++;
		if (last > first)
			buffer_printf(out, ":%u", last);
	}
}

void imap_put_correlator(
	struct imap_session *session, const char *tag, const struct imap_results *results)
{
	imap_put(session, "* ESEARCH (TAG ");
	imap_put_string(&session->out, bytes_of_string(tag));
	if (results->mailbox.ptr != NULL) {
		imap_put(session, " MAILBOX ");
		imap_put_mailbox(session, results->mailbox);
		imap_printf(session, " UIDVALIDITY %u", results->view->uidvalidity);
	}
	imap_printf(session, ")%s", results->is_uid ? " UID" : "");
}

void imap_put_partial(struct imap_session *session, const struct imap_partial *partial)
{
	const char *sign = partial->is_from_end ? "-" : "";

	imap_printf(session, "%s%u:%s%u", sign, partial->first, sign, partial->last);
}

static void put_partial_results(struct imap_session *session, const struct imap_returns *returns,
	const struct imap_results *results)
{
	size_t begin, end;

	imap_partial_resolve(&returns->partial, results->count, &begin, &end);
	imap_put(session, " PARTIAL (");
	imap_put_partial(session, &returns->partial);
	imap_put(session, " ");
	if (begin == end)
		imap_put(session, "NIL");
	else
		imap_put_ordered(&session->out, results, begin, end);
	imap_put(session, ")");
}

void imap_put_esearch(struct imap_session *session, const struct imap_returns *returns,
	const struct imap_results *results)
{
	size_t count = results->count;

	imap_put_correlator(session, session->tag, results);
	if ((returns->options & RETURN_MIN) != 0 && count > 0)
		imap_printf(
			session, " MIN %u", imap_result_number(results, results->matches[0].uid));
	if ((returns->options & RETURN_MAX) != 0 && count > 0)
		imap_printf(session, " MAX %u",
			imap_result_number(results, results->matches[count - 1].uid));
	if ((returns->options & RETURN_COUNT) != 0)
		imap_printf(session, " COUNT %zu", count);
	if ((returns->options & RETURN_ALL) != 0 && count > 0) {
		imap_put(session, " ALL ");
		imap_put_ordered(&session->out, results, 0, count);
	}
	if ((returns->options & RETURN_PARTIAL) != 0)
		put_partial_results(session, returns, results);
	if (results->tells_modseq && count > 0)
		imap_printf(session, " MODSEQ %llu",
			(unsigned long long)imap_results_modseq(returns, results));
	imap_put(session, "\r\n");
}

/* Whether the result at `index` is among those that are named, where COUNT and ALL are not asked.
 */
static bool is_named(const struct imap_returns *returns, size_t count, size_t index)
{
	size_t begin = 0, end = 0;

	if ((returns->options & RETURN_PARTIAL) != 0)
		imap_partial_resolve(&returns->partial, count, &begin, &end);
	return (index == 0 && (returns->options & RETURN_MIN) != 0) ||
	       (index == count - 1 && (returns->options & RETURN_MAX) != 0) ||
	       (index >= begin && index < end);
}

static bool names_some(const struct imap_returns *returns)
{
	return returns->is_extended && (returns->options & (RETURN_ALL | RETURN_COUNT)) == 0 &&
	       (returns->options & (RETURN_MIN | RETURN_MAX | RETURN_PARTIAL)) != 0;
}

uint64_t imap_results_modseq(const struct imap_returns *returns, const struct imap_results *results)
{
	bool some = names_some(returns);
	uint64_t greatest = 0;

	for (size_t i = 0; i < results->count; i++) {
		uint64_t modseq = results->matches[i].modseq;

		if (modseq > greatest && (!some || is_named(returns, results->count, i)))
			greatest = modseq;
	}
	return greatest;
}

void imap_save_results(struct imap_session *session, const struct imap_returns *returns,
	const struct imap_results *results)
{
	struct uid_set *saved = &session->view->saved;
	bool some = names_some(returns);

	uid_set_deinit(saved);
	for (size_t i = 0; i < results->count; i++) {
		if (!some || is_named(returns, results->count, i))
			uid_set_add(saved, results->matches[i].uid, results->matches[i].uid);
	}
}
