/*
 * net_certificate: the certificate that a TLS client has shown. Whether it was issued by the
 * configured authorities is kept with it; a certificate that was not can still be known by its pin.
 * Immutable once its session has begun; any thread may read it.
 */
#ifndef CHAPAR_NET_CERTIFICATE_H
#define CHAPAR_NET_CERTIFICATE_H

#include "base/buffer.h"
#include "net/net_client.h"

#define NET_CERTIFICATE_NAME_SIZE_MAX 512 /* bytes; longer names are passed over */

struct net_certificate;

/* Issued, for TLS clients and valid now, by an authority of the server's. */
bool net_certificate_is_verified(const struct net_certificate *certificate);
/* SHA-256 of the certificate in DER form. */
void net_certificate_pin(
	const struct net_certificate *certificate, unsigned char pin_r[NET_PIN_SIZE]);

/*
 * Whether a subject alternative name (RFC 5280, section 4.2.1.6), of a host or of a mail address,
 * is `name`, in whatever case. No wildcards.
 */
bool net_certificate_has_name(const struct net_certificate *certificate, const char *name);
/* Append the first mail address among the alternative names, or the only common name of the
 * subject. ERR_NOT_FOUND: there is none that can be a name. */
int net_certificate_email(const struct net_certificate *certificate, struct buffer *out);
int net_certificate_common_name(const struct net_certificate *certificate, struct buffer *out);

#endif
