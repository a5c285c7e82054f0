#include "imap/imap_group.h"

#include "imap/imap_reply.h"

#include "store/store.h"

#define GROUP_AGE_MS_MAX 5                         /* others wait with their commits */
#define GROUP_SIZE_MAX ((uint64_t)2 * 1024 * 1024) /* bytes of log */

int imap_group_join(struct imap_session *session)
{
	struct store *store = mail_store(session->mail);
	uint64_t age_ms, size;
	int rc = 0;

	store_group_get_extent(store, &age_ms, &size);
	if (age_ms >= GROUP_AGE_MS_MAX || size >= GROUP_SIZE_MAX)
		rc = imap_group_leave(session);
	if (rc < 0 || store_group_is_on(store) || !net_connection_has_more(session->connection) ||
		mail_is_acknowledging(session->mail))
		return rc;
	net_connection_hold(session->connection);
	store_group_begin(store);
	return 0;
}

int imap_group_leave(struct imap_session *session)
{
	struct error error = { 0 };
	int rc = store_group_end(mail_store(session->mail), &error);

	net_connection_release(session->connection, rc == 0);
	if (rc < 0) {
		buffer_clear(&session->out);
		imap_log_failure(session, rc, &error);
	}
	return rc;
}
