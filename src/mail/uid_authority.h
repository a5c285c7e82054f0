/*
 * uid_authority: which node gives the UIDs of an account while its nodes see each other, so that
 * they do not give one UID twice. It is a matter of memory and time only: whatever goes wrong with
 * it, merging puts right.
 *
 * The authority is the node with the smallest id. To a node that appends while itself is idle it
 * lends the account, for a while. For some time after a lease it still sends its own appends there,
 * since what was appended under it may be on its way.
 *
 * Any thread.
 */
#ifndef CHAPAR_MAIL_UID_AUTHORITY_H
#define CHAPAR_MAIL_UID_AUTHORITY_H

#include <stdbool.h>
#include <stdint.h>

#define UID_AUTHORITY_LEASE_MS 5000
#define UID_AUTHORITY_GRACE_MS 2000 /* after a lease */
#define UID_AUTHORITY_IDLE_MS 5000  /* nothing was appended for so long: it can be lent */

struct uid_authority;

struct uid_authority *uid_authority_new(void);
void uid_authority_free(struct uid_authority **authority);

/* All times are monotonic milliseconds. */

/*
 * This node wants to append: returns the node that the account is lent to, or 0, and then it is
 * lent to nobody for a while. One step, so that nothing is lent between the question and the
 * append.
 */
uint64_t uid_authority_claim(
	struct uid_authority *authority, uint32_t account, uint64_t own_node, uint64_t now_ms);
/*
 * `node` wants to append. Lends it the account if no other node is at work there, and returns for
 * how many milliseconds; 0: not lent, append it for that node.
 */
uint64_t uid_authority_lend(
	struct uid_authority *authority, uint32_t account, uint64_t node, uint64_t now_ms);
/* The account was lent to this node until `until_ms`. */
void uid_authority_borrow(struct uid_authority *authority, uint32_t account, uint64_t until_ms);
bool uid_authority_is_borrowed(struct uid_authority *authority, uint32_t account, uint64_t now_ms);

#endif
