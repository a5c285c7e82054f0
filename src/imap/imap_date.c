#include "imap/imap_date.h"

#include <stdlib.h>
#include <time.h>

static const char month_names[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug",
	"Sep", "Oct", "Nov", "Dec" };

int imap_month_of(struct bytes name)
{
	for (int month = 0; month < 12; month++) {
		if (bytes_equal_string_nocase(name, month_names[month]))
			return month;
	}
	return -1;
}

int imap_days_in_month(int year, int month)
{
	static const int days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month] + (month == 1 && is_leap ? 1 : 0);
}

int64_t imap_day_number(int year, int month, int day)
{
	/* Counted in years that begin in March, so that the leap day comes last. */
	int64_t y = month < 2 ? year - 1 : year;
	int64_t m = (month + 10) % 12;
	int64_t leap_days = y / 4 - y / 100 + y / 400;

	return y * 365 + leap_days + (m * 306 + 5) / 10 + day - 1 - 719468;
}

int64_t imap_day_of(int64_t seconds, int32_t zone)
{
	int64_t local = seconds + (int64_t)zone * 60;

	return local >= 0 ? local / 86400 : -((-local + 86399) / 86400);
}

/* With leading zeros, then a byte. Printing would cost more than all else in a short FETCH. */
static void put_digits(struct buffer *out, int number, size_t count, char ending)
{
	unsigned char *at = buffer_extend(out, count + 1) + count;

	*at = (unsigned char)ending;
	while (count-- > 0) {
		*--at = (unsigned char)('0' + number % 10);
		number /= 10;
	}
}

void imap_date_time_write(struct buffer *out, int64_t seconds, int32_t zone)
{
	time_t local = (time_t)(seconds + (int64_t)zone * 60);
	struct tm tm;
	int offset = abs(zone);

	/* Years that need other than four digits have no form in IMAP. */
	if (gmtime_r(&local, &tm) == NULL || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900) {
		local = 0;
		gmtime_r(&local, &tm);
	}
	buffer_append_byte(out, '"');
	put_digits(out, tm.tm_mday, 2, '-');
	buffer_append_string(out, month_names[tm.tm_mon]);
	buffer_append_byte(out, '-');
	put_digits(out, tm.tm_year + 1900, 4, ' ');
	put_digits(out, tm.tm_hour, 2, ':');
	put_digits(out, tm.tm_min, 2, ':');
	put_digits(out, tm.tm_sec, 2, ' ');
	buffer_append_byte(out, zone < 0 ? '-' : '+');
	put_digits(out, offset / 60 % 100 * 100 + offset % 60, 4, '"');
}
