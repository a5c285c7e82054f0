/* imap_date: days and months of the (proleptic) Gregorian calendar, as IMAP writes them. Pure. */
#ifndef CHAPAR_IMAP_DATE_H
#define CHAPAR_IMAP_DATE_H

#include "base/buffer.h"

#include <stdint.h>

/* 0 to 11 for "Jan" to "Dec" in any case, or -1. */
int imap_month_of(struct bytes name);
/* `month` from 0 to 11. */
int imap_days_in_month(int year, int month);
/* Days since 1970-01-01; `month` from 0, `day` from 1. */
int64_t imap_day_number(int year, int month, int day);
/* The day number of a moment as seen `zone` minutes east of UTC. */
int64_t imap_day_of(int64_t seconds, int32_t zone);
/* Appends "dd-Mon-yyyy hh:mm:ss +zzzz" in double quotes. */
void imap_date_time_write(struct buffer *out, int64_t seconds, int32_t zone);

#endif
