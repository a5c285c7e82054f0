/*
 * proxy: a TCP relay that counts bytes and turns (changes of direction; two make a round trip).
 * Killing it cuts the wire. SIGUSR1 prints the totals.
 */
#include "commands.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINKS_MAX 256

struct link {
	int fds[2];        /* the client's and the server's end */
	uint64_t bytes[2]; /* received from each */
	long turns;
	int last_end; /* that sent; -1: none yet */
	double opened, last_moved;
};

struct proxy {
	int listener;
	int signals;
	struct sockaddr_in target;
	double delay_ms;
	bool is_quiet;
	struct link links[LINKS_MAX];
	size_t link_count;
	long connections;
	uint64_t bytes[2]; /* of links that ended */
	long turns;
	char buffer[1 << 18];
};

static void set_address(struct sockaddr_in *address_r, const char *text)
{
	char host[64], *colon;

	memset(address_r, 0, sizeof(*address_r));
	snprintf(host, sizeof(host), "%s", text);
	colon = strrchr(host, ':');
	if (colon == NULL)
		die("bad host:port %s", text);
	*colon = '\0';
	address_r->sin_family = AF_INET;
	address_r->sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &address_r->sin_addr) != 1)
		die("give a numeric address, not %s", host);
}

static int open_listener(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&address, sizeof(address)) != 0 || listen(fd, 64) != 0)
		die("listen: %s", strerror(errno));
	return fd;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void print_link(const struct link *link, const char *state)
{
	printf("proxy conn%s to_server=%llu to_client=%llu turns=%ld secs=%.3f\n", state,
		(unsigned long long)link->bytes[0], (unsigned long long)link->bytes[1], link->turns,
		link->last_moved - link->opened);
}

static void print_totals(const struct proxy *proxy)
{
	uint64_t to_server = proxy->bytes[0], to_client = proxy->bytes[1];
	long turns = proxy->turns;

	for (size_t i = 0; i < proxy->link_count; i++) {
		to_server += proxy->links[i].bytes[0];
		to_client += proxy->links[i].bytes[1];
		turns += proxy->links[i].turns;
	}
	printf("proxy totals conns=%ld to_server=%llu to_client=%llu turns=%ld\n",
		proxy->connections, (unsigned long long)to_server, (unsigned long long)to_client,
		turns);
}

static void accept_link(struct proxy *proxy)
{
	struct link link = { .last_end = -1, .opened = seconds_now() };
	int one = 1;

	link.last_moved = link.opened;
	link.fds[0] = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
	if (link.fds[0] < 0)
		return;
	link.fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(link.fds[1], (void *)&proxy->target, sizeof(proxy->target)) != 0) {
		close(link.fds[0]);
		close(link.fds[1]);
		return;
	}
	setsockopt(link.fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(link.fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	proxy->links[proxy->link_count++] = link;
	proxy->connections++;
}

/* Moves what can be read at `end` to the other; false: the link is dead. */
static bool move_bytes(struct proxy *proxy, struct link *link, int end)
{
	ssize_t got = recv(link->fds[end], proxy->buffer, sizeof(proxy->buffer), 0);

	if (got <= 0)
		return false;
	if (proxy->delay_ms > 0)
		sleep_ms(proxy->delay_ms);
	link->bytes[end] += (uint64_t)got;
	if (link->last_end != end) {
		link->turns++;
		link->last_end = end;
	}
	link->last_moved = seconds_now();
	for (ssize_t moved = 0; moved < got;) {
		ssize_t sent = send(link->fds[1 - end], proxy->buffer + moved,
			(size_t)(got - moved), MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		moved += sent;
	}
	return true;
}

static void close_link(struct proxy *proxy, size_t index)
{
	struct link *link = &proxy->links[index];

	if (!proxy->is_quiet)
		print_link(link, "");
	proxy->bytes[0] += link->bytes[0];
	proxy->bytes[1] += link->bytes[1];
	proxy->turns += link->turns;
	close(link->fds[0]);
	close(link->fds[1]);
	*link = proxy->links[--proxy->link_count];
}

/* Serves what `waiting` says is ready: two entries for each link. */
static void serve_links(struct proxy *proxy, const struct pollfd *waiting)
{
	/* From the last, since closing one puts the last in its place. */
	for (size_t i = proxy->link_count; i-- > 0;) {
		struct link *link = &proxy->links[i];
		bool is_alive = true;

		for (int end = 0; end < 2 && is_alive; end++) {
			if (waiting[2 * i + (size_t)end].revents != 0)
				is_alive = move_bytes(proxy, link, end);
		}
		if (!is_alive)
			close_link(proxy, i);
	}
}

/* False: it is time to stop. */
static bool serve_signal(struct proxy *proxy)
{
	struct signalfd_siginfo info;

	if (read(proxy->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return false;
	if (info.ssi_signo == SIGUSR1)
		print_totals(proxy);
	return info.ssi_signo == SIGUSR1;
}

static void run(struct proxy *proxy)
{
	for (;;) {
		struct pollfd waiting[2 + 2 * LINKS_MAX] = {
			{ proxy->listener, POLLIN, 0 },
			{ proxy->signals, POLLIN, 0 },
		};

		for (size_t i = 0; i < 2 * proxy->link_count; i++)
			waiting[2 + i] =
				(struct pollfd){ proxy->links[i / 2].fds[i % 2], POLLIN, 0 };
		if (poll(waiting, 2 + 2 * proxy->link_count, -1) <= 0)
			continue;
		if (waiting[1].revents != 0 && !serve_signal(proxy))
			return;
		serve_links(proxy, waiting + 2);
		if (waiting[0].revents != 0 && proxy->link_count < LINKS_MAX)
			accept_link(proxy);
	}
}

int command_proxy(const struct options *options)
{
	struct proxy *proxy = calloc(1, sizeof(*proxy));

	if (proxy == NULL)
		die("out of memory");
	setvbuf(stdout, NULL, _IOLBF, 0);
	proxy->listener = open_listener((uint16_t)option_number(options, "listen", 0));
	proxy->signals = open_signals();
	set_address(&proxy->target, option_needed(options, "to"));
	proxy->delay_ms = option_seconds(options, "delay-ms", 0);
	proxy->is_quiet = option(options, "quiet", NULL) != NULL;
	run(proxy);
	for (size_t i = 0; i < proxy->link_count && !proxy->is_quiet; i++)
		print_link(&proxy->links[i], "(open)");
	print_totals(proxy);
	free(proxy);
	return 0;
}
