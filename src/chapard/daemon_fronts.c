/*
 * The IMAP and LMTP servers, and how mail gets from LMTP to the accounts.
 */
#include "chapard/daemon_private.h"

void daemon_fronts_open(struct daemon *daemon)
{
	struct imap_server_options imap = {
		.mail = daemon->mail,
		.authority = daemon->authority,
		.is_peer = daemon_is_peer,
		.context = daemon,
		.append_size_max = daemon->config->message_size_max,
		.allow_plaintext_loopback = daemon->config->allow_plaintext_loopback,
		.version = CHAPAR_VERSION,
	};

	daemon->imap = imap_server_new(&imap);
}

void daemon_fronts_close(struct daemon *daemon)
{
	imap_server_free(&daemon->imap);
}
