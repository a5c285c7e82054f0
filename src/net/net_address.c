#include "net/net_address_private.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

static bool is_mapped(const struct sockaddr_in6 *address)
{
	return IN6_IS_ADDR_V4MAPPED(&address->sin6_addr);
}

void net_address_host(const struct sockaddr *address, char text_r[NET_ADDRESS_SIZE])
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;

	snprintf(text_r, NET_ADDRESS_SIZE, "unix");
	if (address->sa_family == AF_INET)
		inet_ntop(AF_INET, &four->sin_addr, text_r, NET_ADDRESS_SIZE);
	else if (address->sa_family == AF_INET6 && is_mapped(six))
		inet_ntop(AF_INET, &six->sin6_addr.s6_addr[12], text_r, NET_ADDRESS_SIZE);
	else if (address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &six->sin6_addr, text_r, NET_ADDRESS_SIZE);
}

void net_address_text(const struct sockaddr *address, char text_r[NET_ADDRESS_SIZE])
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
	char host[NET_ADDRESS_SIZE];

	net_address_host(address, host);
	if (address->sa_family == AF_INET)
		snprintf(text_r, NET_ADDRESS_SIZE, "%.64s:%u", host, ntohs(four->sin_port));
	else if (address->sa_family == AF_INET6)
		snprintf(text_r, NET_ADDRESS_SIZE, is_mapped(six) ? "%.64s:%u" : "[%.64s]:%u", host,
			ntohs(six->sin6_port));
	else
		snprintf(text_r, NET_ADDRESS_SIZE, "%s", host);
}

bool net_address_is_loopback(const struct sockaddr *address)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
	const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;

	if (address->sa_family == AF_INET)
		return (ntohl(four->sin_addr.s_addr) >> 24) == 127;
	if (address->sa_family == AF_INET6 && is_mapped(six))
		return six->sin6_addr.s6_addr[12] == 127;
	if (address->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
	return address->sa_family == AF_UNIX;
}
