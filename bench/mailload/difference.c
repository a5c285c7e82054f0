/* The differences of two snapshots, and waiting until there are none. */
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>

struct difference {
	int count;
	int show;
};

static void differ(struct difference *difference, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void differ(struct difference *difference, const char *format, ...)
{
	va_list args;

	if (difference->count++ >= difference->show)
		return;
	va_start(args, format);
	printf("  differ: ");
	vprintf(format, args);
	putchar('\n');
	va_end(args);
}

static void compare_message(struct difference *difference, const char *mailbox,
	const struct seen_message *a, const struct seen_message *b)
{
	if (strcmp(a->flags, b->flags) != 0)
		differ(difference, "%s uid %u flags A=[%s] B=[%s] (%s)", mailbox, a->uid, a->flags,
			b->flags, a->message_id);
	if (strcmp(a->internaldate, b->internaldate) != 0)
		differ(difference, "%s uid %u internaldate A=%s B=%s", mailbox, a->uid,
			a->internaldate, b->internaldate);
	if (a->size != b->size)
		differ(difference, "%s uid %u size A=%u B=%u", mailbox, a->uid, a->size, b->size);
	if (!guid_equal(&a->guid, &b->guid))
		differ(difference, "%s uid %u body differs (A %s, B %s)", mailbox, a->uid,
			a->message_id, b->message_id);
}

static void compare_messages(
	struct difference *difference, const struct seen_mailbox *a, const struct seen_mailbox *b)
{
	size_t i = 0, k = 0;

	while (i < a->count || k < b->count) {
		const struct seen_message *left = i < a->count ? &a->messages[i] : NULL;
		const struct seen_message *right = k < b->count ? &b->messages[k] : NULL;

		if (right == NULL || (left != NULL && left->uid < right->uid)) {
			differ(difference, "%s uid %u only on A (%s) [%s]", a->name, left->uid,
				left->message_id, left->flags);
			i++;
		} else if (left == NULL || right->uid < left->uid) {
			differ(difference, "%s uid %u only on B (%s) [%s]", a->name, right->uid,
				right->message_id, right->flags);
			k++;
		} else {
			compare_message(difference, a->name, left, right);
			i++;
			k++;
		}
	}
}

static void compare_mailboxes(struct difference *difference, const struct seen_mailbox *a,
	const struct seen_mailbox *b, bool with_modseq)
{
	if (a->uidvalidity != b->uidvalidity)
		differ(difference, "%s UIDVALIDITY A=%u B=%u", a->name, a->uidvalidity,
			b->uidvalidity);
	if (a->uidnext != b->uidnext)
		differ(difference, "%s UIDNEXT A=%u B=%u", a->name, a->uidnext, b->uidnext);
	if (with_modseq && a->highestmodseq != b->highestmodseq)
		differ(difference, "%s HIGHESTMODSEQ A=%llu B=%llu", a->name,
			(unsigned long long)a->highestmodseq, (unsigned long long)b->highestmodseq);
	compare_messages(difference, a, b);
}

int snapshot_compare(const struct snapshot *a, const struct snapshot *b, int show, bool with_modseq)
{
	struct difference difference = { 0, show };
	const char *left = buffer_string(&a->subscriptions);
	const char *right = buffer_string(&b->subscriptions);

	if (strcmp(left, right) != 0)
		differ(&difference, "subscriptions A=[%s] B=[%s]", left, right);
	for (size_t i = 0; i < b->count; i++) {
		const struct seen_mailbox *mailbox = &b->mailboxes[i];

		if (snapshot_find(a, mailbox->name) == NULL)
			differ(&difference, "mailbox %s only on B (%zu messages)", mailbox->name,
				mailbox->count);
	}
	for (size_t i = 0; i < a->count; i++) {
		const struct seen_mailbox *mailbox = &a->mailboxes[i];
		const struct seen_mailbox *other = snapshot_find(b, mailbox->name);

		if (other == NULL)
			differ(&difference, "mailbox %s only on A (%zu messages)", mailbox->name,
				mailbox->count);
		else
			compare_mailboxes(&difference, mailbox, other, with_modseq);
	}
	return difference.count;
}

void snapshot_print(const struct snapshot *snapshot, const char *prefix)
{
	printf("%s subs=[%s]\n", prefix, buffer_string(&snapshot->subscriptions));
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct seen_mailbox *mailbox = &snapshot->mailboxes[i];

		printf("%s %s uidvalidity=%u uidnext=%u hms=%llu n=%zu\n", prefix, mailbox->name,
			mailbox->uidvalidity, mailbox->uidnext,
			(unsigned long long)mailbox->highestmodseq, mailbox->count);
		for (size_t k = 0; k < mailbox->count; k++)
			printf("%s   %u [%s] %s\n", prefix, mailbox->messages[k].uid,
				mailbox->messages[k].flags, mailbox->messages[k].message_id);
	}
}

double snapshot_wait_equal(const struct options *options, const char *user,
	enum snapshot_depth depth, double limit, int *left_r)
{
	double began = seconds_now();

	for (;;) {
		struct snapshot a, b;
		double seconds;

		snapshot_take(&a, options, option_needed(options, "imap-a"), user, depth);
		snapshot_take(&b, options, option_needed(options, "imap-b"), user, depth);
		seconds = seconds_now() - began;
		*left_r = snapshot_compare(&a, &b, 0, false);
		snapshot_deinit(&a);
		snapshot_deinit(&b);
		if (*left_r == 0)
			return seconds;
		if (seconds > limit)
			return -1;
		sleep_ms(20);
	}
}
