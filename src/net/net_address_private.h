/*
 * net_address: socket addresses as text.
 */
#ifndef CHAPAR_NET_ADDRESS_PRIVATE_H
#define CHAPAR_NET_ADDRESS_PRIVATE_H

#include "base/bytes.h"

#include <sys/socket.h>

#define NET_ADDRESS_SIZE 160 /* bytes, with the closing NUL; longer UNIX paths are cut */

/* The address alone ("192.0.2.7", "2001:db8::1", "unix"); IPv4 in IPv6 is shown as IPv4. */
void net_address_host(const struct sockaddr *address, char text_r[NET_ADDRESS_SIZE]);
/* With port: "192.0.2.7:25", "[2001:db8::1]:25". */
void net_address_text(const struct sockaddr *address, char text_r[NET_ADDRESS_SIZE]);
bool net_address_is_loopback(const struct sockaddr *address);

#endif
