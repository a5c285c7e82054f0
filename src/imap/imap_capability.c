#include "imap/imap_capability.h"

#include "imap/imap_login.h"
#include "imap/imap_reply.h"

/* Those that need a login are not told before: clients ask again after it. */
static const char anybody_capabilities[] =
	"IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE LOGIN-REFERRALS";
static const char user_capabilities[] =
	" QUOTA QUOTASET QUOTA=RES-STORAGE QUOTA=RES-MESSAGE QUOTA=RES-MAILBOX"
	" QUOTA=RES-ANNOTATION-STORAGE METADATA LIST-METADATA"
	" ANNOTATE-EXPERIMENT-1"
	" IDLE NOTIFY NAMESPACE ACL RIGHTS=texkn LIST-MYRIGHTS CHILDREN SPECIAL-USE"
	" CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS"
	" STATUS=SIZE UNSELECT UIDPLUS MOVE MULTIAPPEND ESEARCH SEARCHRES CONDSTORE QRESYNC WITHIN"
	" BINARY CATENATE REPLACE UIDONLY UTF8=ACCEPT UNAUTHENTICATE OBJECTID SAVEDATE PREVIEW"
	" SORT SORT=DISPLAY ESORT THREAD=ORDEREDSUBJECT THREAD=REFERENCES THREAD=REFS"
	" I18NLEVEL=1 CONTEXT=SEARCH CONTEXT=SORT PARTIAL MULTISEARCH INPROGRESS XCHAPAR=1";

void imap_put_capabilities(struct imap_session *session)
{
	imap_put(session, anybody_capabilities);
	if (session->state != IMAP_NOT_AUTHENTICATED) {
		imap_put(session, user_capabilities);
		if (!net_connection_is_compressed(session->connection))
			imap_put(session, " COMPRESS=DEFLATE");
		imap_printf(session, " APPENDLIMIT=%zu", session->options->append_size_max);
		return;
	}
	if (net_connection_can_start_tls(session->connection))
		imap_put(session, " STARTTLS");
	if (!imap_session_is_private(session))
		imap_put(session, " LOGINDISABLED");
	sasl_mechanisms(
		session->options->authority, imap_login_channel(session), " AUTH=", &session->out);
}
