#include "imap/imap_date.h"
#include "imap/imap_parse.h"

#include "base/error.h"

#include <ctype.h>

static int bad_date(struct imap_parser *parser)
{
	return imap_parse_fail(parser, ERR_INVALID, "Malformed date");
}

/* Exactly `digit_count` digits. */
static int parse_digits(struct imap_parser *parser, size_t digit_count, int *number_r)
{
	int number = 0;

	for (size_t i = 0; i < digit_count; i++) {
		int byte = bytes_peek(parser->rest);

		if (!isdigit(byte))
			return bad_date(parser);
		number = number * 10 + (byte - '0');
		bytes_skip(&parser->rest, 1);
	}
	*number_r = number;
	return 0;
}

/* "-Mon-yyyy" after a day. */
static int parse_month_year(struct imap_parser *parser, int day, int64_t *day_r)
{
	int month, year;

	if (!imap_parse_take(parser, '-') || parser->rest.len < 3)
		return bad_date(parser);
	month = imap_month_of(bytes_take(&parser->rest, 3));
	if (month < 0 || !imap_parse_take(parser, '-') || parse_digits(parser, 4, &year) < 0)
		return bad_date(parser);
	if (day < 1 || day > imap_days_in_month(year, month))
		return bad_date(parser);
	*day_r = imap_day_number(year, month, day);
	return 0;
}

int imap_parse_date(struct imap_parser *parser, int64_t *day_r)
{
	bool is_quoted = imap_parse_take(parser, '"');
	uint64_t day;
	int rc;

	rc = imap_parse_number(parser, 31, &day);
	if (rc < 0)
		return bad_date(parser);
	rc = parse_month_year(parser, (int)day, day_r);
	if (rc < 0)
		return rc;
	if (is_quoted && !imap_parse_take(parser, '"'))
		return bad_date(parser);
	return 0;
}

/* "hh:mm:ss" */
static int parse_time(struct imap_parser *parser, int64_t *seconds_r)
{
	int hour, minute, second;

	if (parse_digits(parser, 2, &hour) < 0 || !imap_parse_take(parser, ':') ||
		parse_digits(parser, 2, &minute) < 0 || !imap_parse_take(parser, ':') ||
		parse_digits(parser, 2, &second) < 0)
		return bad_date(parser);
	if (hour > 23 || minute > 59 || second > 60)
		return bad_date(parser);
	*seconds_r = (hour * 60 + minute) * 60 + second;
	return 0;
}

/* "+zzzz" */
static int parse_zone(struct imap_parser *parser, int32_t *minutes_r)
{
	int sign = bytes_peek(parser->rest), hours, minutes;

	if (sign != '+' && sign != '-')
		return bad_date(parser);
	bytes_skip(&parser->rest, 1);
	if (parse_digits(parser, 2, &hours) < 0 || parse_digits(parser, 2, &minutes) < 0)
		return bad_date(parser);
	if (hours > 23 || minutes > 59)
		return bad_date(parser);
	*minutes_r = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
	return 0;
}

int imap_parse_date_time(struct imap_parser *parser, int64_t *seconds_r, int32_t *zone_r)
{
	size_t day_digits;
	int64_t days, seconds;
	int day;
	int32_t zone;

	if (!imap_parse_take(parser, '"'))
		return bad_date(parser);
	day_digits = imap_parse_take(parser, ' ') ? 1 : 2;
	if (parse_digits(parser, day_digits, &day) < 0 ||
		parse_month_year(parser, day, &days) < 0 || !imap_parse_take(parser, ' ') ||
		parse_time(parser, &seconds) < 0 || !imap_parse_take(parser, ' ') ||
		parse_zone(parser, &zone) < 0 || !imap_parse_take(parser, '"'))
		return bad_date(parser);
	*seconds_r = days * 86400 + seconds - (int64_t)zone * 60;
	*zone_r = zone;
	return 0;
}
