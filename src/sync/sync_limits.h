/*
 * sync_limits: how much goes into one message of an exchange, or is kept for one. Larger changes go
 * in several. With SYNC_SMALL_LIMITS all are so small that a few records need many messages: one of
 * the two programs of tests/sim is built so, since what happens between two messages is where
 * exchanges can go wrong.
 */
#ifndef CHAPAR_SYNC_SYNC_LIMITS_H
#define CHAPAR_SYNC_SYNC_LIMITS_H

#ifndef SYNC_SMALL_LIMITS

#define EXCHANGE_GUESS_COUNT_MAX 100u /* new bodies sent without asking */
#define EXCHANGE_GUESS_SIZE_MAX (256u * 1024)
#define EXCHANGE_GUID_BATCH 5000u  /* GUIDs in one LACKS */
#define EXCHANGE_STAGE_BATCH 5000u /* records in one STAGE, APPLY or INTEGRATE */
#define EXCHANGE_GET_BATCH 1000u   /* bodies in one GET or PUT */
#define EXCHANGE_GET_WINDOW 2u     /* GETs under way */

/* records of a first copy in one part, and one commit; a smaller account comes at once */
#define FILL_RECORD_COUNT_MAX 500u

#define APPLY_PART_COUNT_MAX 250u /* messages in one commit, where an APPLY goes in parts */

#define REPAIR_SPLIT 16u
#define REPAIR_SMALL 64u       /* messages: a range is exchanged, not split further */
#define REPAIR_RANGE_BATCH 64u /* ranges in one request */
#define REPAIR_INSTANCE_BATCH 5000u

#define CHANGES_COUNT_MAX 20000u    /* records in one answer */
#define CHANGES_IN_COMMIT_MAX 2000u /* records read while other writers wait */
#define MISSING_COUNT_MAX 10000u    /* instances named in one MISSING */

/* bytes of bodies or records that senders put together */
#define SYNC_BATCH_SIZE (16u * 1024 * 1024)

#define NOTIFY_ACCOUNT_COUNT_MAX 500u
#define NOTIFY_RECORD_COUNT 100u          /* told in one NEWS, if not asked otherwise */
#define NOTIFY_RECORD_COUNT_MAX 1000u     /* ... and if it is */
#define NOTIFY_BODY_SIZE_MAX (64u * 1024) /* bytes of a body that is told ... */
#define NOTIFY_SIZE_MAX (256u * 1024)     /* ... and of all in one NEWS */

#define BODY_SET_COMMIT_SIZE_MAX (256u * 1024)      /* bytes brought to disk in one commit */
#define BODY_SET_MEMORY_SIZE_MAX (2u * 1024 * 1024) /* bytes kept in memory */
#define BODY_SET_MEMORY_COUNT_MAX 100               /* bodies kept in memory */

#else

#define EXCHANGE_GUESS_COUNT_MAX 1u
#define EXCHANGE_GUESS_SIZE_MAX 100u
#define EXCHANGE_GUID_BATCH 2u
#define EXCHANGE_STAGE_BATCH 2u
#define EXCHANGE_GET_BATCH 1u
#define EXCHANGE_GET_WINDOW 2u

#define FILL_RECORD_COUNT_MAX 3u

#define APPLY_PART_COUNT_MAX 2u

#define REPAIR_SPLIT 2u
#define REPAIR_SMALL 1u
#define REPAIR_RANGE_BATCH 2u
#define REPAIR_INSTANCE_BATCH 2u

#define CHANGES_COUNT_MAX 3u
#define CHANGES_IN_COMMIT_MAX 2u
#define MISSING_COUNT_MAX 2u

#define SYNC_BATCH_SIZE 100u

#define NOTIFY_ACCOUNT_COUNT_MAX 500u
#define NOTIFY_RECORD_COUNT 2u
#define NOTIFY_RECORD_COUNT_MAX 3u
#define NOTIFY_BODY_SIZE_MAX 100u
#define NOTIFY_SIZE_MAX 1000u

#define BODY_SET_COMMIT_SIZE_MAX 100u
#define BODY_SET_MEMORY_SIZE_MAX 100u
#define BODY_SET_MEMORY_COUNT_MAX 1u

#endif

#endif
