/* The date-time of RFC 5322, 3.3 and 4.3, with what is seen in old mail. */
#include "mail/mime_summary.h"

#include "base/error.h"
#include "mail/mime_header.h"

#define DAY_SECONDS 86400

static const char *const months[12] = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug",
	"sep", "oct", "nov", "dec" };

static const struct {
	const char *name;
	int hours;
} zones[] = { { "EST", -5 }, { "EDT", -4 }, { "CST", -6 }, { "CDT", -5 }, { "MST", -7 },
	{ "MDT", -6 }, { "PST", -8 }, { "PDT", -7 } };

struct date {
	int year, month, day, hour, minute, second; /* month from 0 */
};

static bool is_digit(int byte)
{
	return byte >= '0' && byte <= '9';
}

/* Between min and max digits, and white space around. Returns the number of digits, 0 if none fit.
 */
static int take_digits(struct bytes *in, int count_max, int *number_r)
{
	int number = 0, count = 0;

	mime_skip_cfws(in, NULL);
	while (is_digit(bytes_peek(*in))) {
		if (++count > count_max)
			return 0;
		number = number * 10 + bytes_take(in, 1).ptr[0] - '0';
	}
	mime_skip_cfws(in, NULL);
	*number_r = number;
	return count;
}

static struct bytes take_word(struct bytes *in)
{
	size_t size = 0;

	mime_skip_cfws(in, NULL);
	while (size < in->len && ((in->ptr[size] | 0x20) >= 'a' && (in->ptr[size] | 0x20) <= 'z'))
		size++;
	return bytes_take(in, size);
}

static bool take_byte(struct bytes *in, int byte)
{
	if (bytes_peek(*in) != byte)
		return false;
	bytes_skip(in, 1);
	return true;
}

static int take_month(struct bytes *in, int *month_r)
{
	struct bytes word = take_word(in);
	int i;

	if (word.len > 3)
		word.len = 3; /* names in full are seen too */
	for (i = 0; i < 12; i++) {
		if (bytes_equal_string_nocase(word, months[i])) {
			*month_r = i;
			return 0;
		}
	}
	return ERR_INVALID;
}

static bool is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int year, int month)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return month == 1 && is_leap(year) ? 29 : days[month];
}

static int take_day(struct bytes *in, struct date *date)
{
	int digits;

	take_word(in); /* the name of the day says nothing more */
	mime_skip_cfws(in, NULL);
	take_byte(in, ',');
	if (take_digits(in, 2, &date->day) == 0)
		return ERR_INVALID;
	take_byte(in, '-');
	if (take_month(in, &date->month) < 0)
		return ERR_INVALID;
	mime_skip_cfws(in, NULL);
	take_byte(in, '-');
	digits = take_digits(in, 4, &date->year);
	if (digits < 2)
		return ERR_INVALID;
	/* RFC 5322, 4.3 */
	if (digits == 2)
		date->year += date->year < 50 ? 2000 : 1900;
	else if (digits == 3)
		date->year += 1900;
	if (date->year < 1900 || date->day < 1 || date->day > month_days(date->year, date->month))
		return ERR_INVALID;
	return 0;
}

static int take_time(struct bytes *in, struct date *date)
{
	if (take_digits(in, 2, &date->hour) == 0 || !take_byte(in, ':') ||
		take_digits(in, 2, &date->minute) == 0)
		return ERR_INVALID;
	date->second = 0;
	if (take_byte(in, ':') && take_digits(in, 2, &date->second) == 0)
		return ERR_INVALID;
	if (date->hour > 23 || date->minute > 59 || date->second > 60)
		return ERR_INVALID;
	return 0;
}

/* Names that are not known, and no zone, are UTC (RFC 5322, 4.3). */
static int32_t take_zone(struct bytes *in)
{
	int sign = bytes_peek(*in) == '-' ? -1 : 1, number;
	struct bytes name;
	size_t i;

	if (take_byte(in, '+') || take_byte(in, '-')) {
		if (take_digits(in, 4, &number) != 4 || number % 100 > 59 || number > 2400)
			return 0;
		return sign * (number / 100 * 3600 + number % 100 * 60);
	}
	name = take_word(in);
	for (i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
		if (bytes_equal_string_nocase(name, zones[i].name))
			return zones[i].hours * 3600;
	}
	return 0;
}

static int64_t days_since_1970(const struct date *date)
{
	int64_t past = date->year - 1, days = past * 365 + past / 4 - past / 100 + past / 400;
	int month;

	for (month = 0; month < date->month; month++)
		days += month_days(date->year, month);
	return days + date->day - 1 - 719162; /* days before 1970-01-01 */
}

int mime_date_parse(struct bytes value, int64_t *seconds_r, int32_t *zone_r)
{
	struct date date;

	if (value.len == 0 || take_day(&value, &date) < 0)
		return ERR_INVALID;
	*zone_r = 0;
	if (take_time(&value, &date) == 0)
		*zone_r = take_zone(&value);
	else
		date.hour = date.minute = date.second = 0;
	*seconds_r = days_since_1970(&date) * DAY_SECONDS + date.hour * 3600 + date.minute * 60 +
		     date.second - *zone_r;
	return 0;
}
