/* The verdicts of a split-brain run. */
#include "splitbrain.h"

#include <stdio.h>

enum fate {
	GONE,   /* expunged by a user: must not come back */
	EITHER, /* kept or gone, but the same on both sides */
	KEPT    /* must be on both sides, once */
};

static const struct expectation {
	const char *tag;
	const char *story;
	enum fate fate;
	const char *flags_wanted; /* with spaces between; NULL: none */
	const char *flag_unwanted;
} expectations[] = {
	{ "S01", "A +Flagged", KEPT, "\\Flagged", NULL },
	{ "S02", "B +Flagged", KEPT, "\\Flagged", NULL },
	{ "S03", "A +Flagged, B +Answered", KEPT, "\\Flagged \\Answered", NULL },
	{ "S04", "both +Flagged", KEPT, "\\Flagged", NULL },
	{ "S05", "was Flagged: A -Flagged, B +Answered", KEPT, "\\Answered", "\\Flagged" },
	{ "S06", "A +$Alpha, B +$Beta", KEPT, "$Alpha $Beta", NULL },
	{ "S07", "was Seen: A -Seen", KEPT, NULL, "\\Seen" },
	{ "S08", "was Seen: B -Seen", KEPT, NULL, "\\Seen" },
	{ "S09", "A expunged, B +Flagged", EITHER, NULL, NULL },
	{ "S10", "B expunged, A +Flagged", EITHER, NULL, NULL },
	{ "S11", "both expunged", GONE, NULL, NULL },
	{ "S12", "A expunged", GONE, NULL, NULL },
	{ "S13", "B expunged", GONE, NULL, NULL },
	{ "S14", "A moved to Keep, B +Flagged", KEPT, "\\Flagged", NULL },
	{ "S15", "A moved to Keep, B moved to Keep2", KEPT, NULL, NULL },
	{ "S16", "B moved to Keep", KEPT, NULL, NULL },
	{ "S17", "untouched", KEPT, NULL, NULL },
	{ "S18", "was $Work: A -$Work", KEPT, NULL, "$Work" },
	{ "S19", "A +Flagged, B +Seen then +Answered", KEPT, "\\Flagged \\Seen \\Answered", NULL },
	{ "S20", "untouched", KEPT, NULL, NULL },
	{ "A1", "new on A", KEPT, NULL, NULL },
	{ "A2", "new on A", KEPT, NULL, NULL },
	{ "A3", "new on A", KEPT, NULL, NULL },
	{ "A4", "new on A", KEPT, NULL, NULL },
	{ "A5", "new on A", KEPT, NULL, NULL },
	{ "B1", "new on B", KEPT, NULL, NULL },
	{ "B2", "new on B", KEPT, NULL, NULL },
	{ "B3", "new on B", KEPT, NULL, NULL },
	{ "B4", "new on B", KEPT, NULL, NULL },
	{ "B5", "new on B", KEPT, NULL, NULL },
	{ "SA1", "Same on A", KEPT, NULL, NULL },
	{ "SA2", "Same on A", KEPT, NULL, NULL },
	{ "SB1", "Same on B", KEPT, NULL, NULL },
	{ "SB2", "Same on B", KEPT, NULL, NULL },
	{ "SB3", "Same on B", KEPT, NULL, NULL },
	{ "P0", "in Keep", KEPT, NULL, NULL },
	{ "P1", "in Keep2", KEPT, NULL, NULL },
	{ "P2", "RenMe: A renamed to RenA, B deleted", EITHER, NULL, NULL },
	{ "P3", "RenBoth: A to RenX, B to RenY", KEPT, NULL, NULL },
	{ "P4", "DelA: A deleted, B added DA", EITHER, NULL, NULL },
	{ "DA", "added on B to DelA, deleted on A", KEPT, NULL, NULL },
	{ "P5", "DelB: B deleted, A added DB", EITHER, NULL, NULL },
	{ "DB", "added on A to DelB, deleted on B", KEPT, NULL, NULL },
	{ "OA", "OnlyA", KEPT, NULL, NULL },
	{ "OB", "OnlyB", KEPT, NULL, NULL },
};

struct verdicts {
	int lost, duplicated, flags_lost, resurrected;
	int uids_reused, uidvalidities_changed;
};

/* Where a message is on one side. */
struct sighting {
	struct buffer text; /* "MAILBOX/UID[FLAGS] ..." or "-" */
	int copies;
};

static bool has_tag(const struct seen_message *message, const char *tag)
{
	size_t len = strlen(tag);

	return strncmp(message->message_id, tag, len) == 0 && message->message_id[len] == '.';
}

static void find_tag(const struct snapshot *snapshot, const char *tag, struct sighting *sighting)
{
	buffer_clear(&sighting->text);
	sighting->copies = 0;
	for (size_t i = 0; i < snapshot->count; i++) {
		const struct seen_mailbox *mailbox = &snapshot->mailboxes[i];

		for (size_t k = 0; k < mailbox->count; k++) {
			const struct seen_message *message = &mailbox->messages[k];

			if (!has_tag(message, tag))
				continue;
			buffer_printf(&sighting->text, "%s%s/%u[%s]",
				sighting->copies++ > 0 ? " " : "", mailbox->name, message->uid,
				message->flags);
		}
	}
	if (sighting->copies == 0)
		buffer_append_string(&sighting->text, "-");
}

static bool has_flag(const struct sighting *sighting, const char *flag)
{
	return strstr(buffer_string(&sighting->text), flag) != NULL;
}

/* Which sides something is true of, for a verdict. */
static const char *sides_name(bool on_a, bool on_b)
{
	return on_a && on_b ? "" : on_a ? "@A" : "@B";
}

static void judge_flags(const struct expectation *expected, const struct sighting *a,
	const struct sighting *b, struct buffer *text, struct verdicts *verdicts)
{
	struct bytes left =
		bytes_of_string(expected->flags_wanted != NULL ? expected->flags_wanted : "");
	char flag[32];
	bool on_a, on_b;

	while (left.len > 0) {
		struct bytes word = bytes_take(&left, bytes_find(left, ' '));

		if (left.len > 0)
			bytes_skip(&left, 1);
		snprintf(flag, sizeof(flag), "%.*s", BYTES_ARGS(word));
		on_a = !has_flag(a, flag);
		on_b = b->copies > 0 && !has_flag(b, flag);
		if (!on_a && !on_b)
			continue;
		buffer_printf(text, " FLAG-LOST:%s%s", flag, sides_name(on_a, on_b));
		verdicts->flags_lost++;
	}
	if (expected->flag_unwanted == NULL)
		return;
	on_a = has_flag(a, expected->flag_unwanted);
	on_b = has_flag(b, expected->flag_unwanted);
	if (!on_a && !on_b)
		return;
	buffer_printf(text, " REMOVAL-LOST:%s%s", expected->flag_unwanted, sides_name(on_a, on_b));
	verdicts->flags_lost++;
}

static void judge_message(const struct expectation *expected, const struct sighting *a,
	const struct sighting *b, struct buffer *text, struct verdicts *verdicts)
{
	bool on_a = a->copies > 0, on_b = b->copies > 0;

	if (expected->fate == KEPT && !(on_a && on_b)) {
		buffer_append_string(text, on_a   ? " MISSING-ON-B"
					   : on_b ? " MISSING-ON-A"
						  : " LOST-ON-BOTH");
		verdicts->lost++;
	}
	if (expected->fate == EITHER)
		buffer_append_string(text, on_a != on_b ? " UNEQUAL"
					   : on_a       ? " (kept)"
							: " (gone)");
	if (expected->fate == GONE && (on_a || on_b)) {
		buffer_append_string(text, " RESURRECTED");
		verdicts->resurrected++;
	}
	if (a->copies > 1 || b->copies > 1) {
		buffer_append_string(text, " DUPLICATED");
		verdicts->duplicated++;
	}
	if (on_a)
		judge_flags(expected, a, b, text, verdicts);
}

static void judge_messages(const struct both_sides *after, struct verdicts *verdicts)
{
	struct sighting a = { 0 }, b = { 0 };
	struct buffer text = { 0 };

	printf("splitbrain per message (expected outcome; where on A | where on B)\n");
	for (size_t i = 0; i < sizeof(expectations) / sizeof(*expectations); i++) {
		const struct expectation *expected = &expectations[i];
		bool is_same;

		buffer_clear(&text);
		find_tag(&after->a, expected->tag, &a);
		find_tag(&after->b, expected->tag, &b);
		judge_message(expected, &a, &b, &text, verdicts);
		is_same = bytes_equal(buffer_bytes(&a.text), buffer_bytes(&b.text));
		printf("  %-4s %-40s %s%s%s%s\n", expected->tag, expected->story,
			buffer_string(&a.text), is_same ? " | same" : " | ",
			is_same ? "" : buffer_string(&b.text), buffer_string(&text));
	}
	buffer_deinit(&a.text);
	buffer_deinit(&b.text);
	buffer_deinit(&text);
}

static void judge_uids(char side, const struct seen_mailbox *before,
	const struct seen_mailbox *after, struct verdicts *verdicts)
{
	for (size_t i = 0; i < before->count; i++) {
		const struct seen_message *old = &before->messages[i];

		for (size_t k = 0; k < after->count; k++) {
			const struct seen_message *new = &after->messages[k];

			if (old->uid != new->uid || strcmp(old->message_id, new->message_id) == 0)
				continue;
			verdicts->uids_reused++;
			printf("  %c: %s uid %u REUSED: client saw %s, now %s\n", side,
				before->name, old->uid, old->message_id, new->message_id);
		}
	}
}

/* A UID that a client saw before must never name another message under the same UIDVALIDITY. */
static void judge_names(char side, const struct snapshot *before, const struct snapshot *after,
	struct verdicts *verdicts)
{
	for (size_t i = 0; i < before->count; i++) {
		const struct seen_mailbox *old = &before->mailboxes[i];
		const struct seen_mailbox *new = snapshot_find(after, old->name);

		if (new == NULL)
			continue;
		if (old->uidvalidity != new->uidvalidity) {
			verdicts->uidvalidities_changed++;
			printf("  %c: %s UIDVALIDITY changed %u -> %u\n", side, old->name,
				old->uidvalidity, new->uidvalidity);
			continue;
		}
		if (new->highestmodseq != 0 && new->highestmodseq < old->highestmodseq)
			printf("  %c: %s HIGHESTMODSEQ went back %llu -> %llu\n", side, old->name,
				(unsigned long long)old->highestmodseq,
				(unsigned long long)new->highestmodseq);
		judge_uids(side, old, new, verdicts);
	}
}

void splitbrain_judge(const struct options *options, const char *user,
	const struct both_sides *before, const struct both_sides *after)
{
	struct verdicts verdicts = { 0 };
	struct snapshot a, b;
	int differences;

	judge_messages(after, &verdicts);
	judge_names('A', &before->a, &after->a, &verdicts);
	judge_names('B', &before->b, &after->b, &verdicts);
	printf("splitbrain A against B after quiet:\n");
	snapshot_take(&a, options, option_needed(options, "imap-a"), user, SNAPSHOT_BODIES);
	snapshot_take(&b, options, option_needed(options, "imap-b"), user, SNAPSHOT_BODIES);
	differences = snapshot_compare(&a, &b, 60, false);
	printf("splitbrain summary: lost_or_missing=%d duplicated=%d flag_changes_lost=%d "
	       "resurrected=%d uid_reused=%d uidvalidity_changed=%d A_B_differences=%d %s\n",
		verdicts.lost, verdicts.duplicated, verdicts.flags_lost, verdicts.resurrected,
		verdicts.uids_reused, verdicts.uidvalidities_changed, differences,
		differences != 0 ? "NOT EQUAL" : "EQUAL");
	snapshot_deinit(&a);
	snapshot_deinit(&b);
}
