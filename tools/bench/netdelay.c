/*
 * netdelay.c - a switch that takes its time: netdelay DELAY_US INTERFACE...
 *
 * For kernels without tc netem. Every frame that comes in at one of the interfaces goes out at another (the one its destination was last seen at, or
 * all others) DELAY_US later, in order and untouched; the interfaces belong to no bridge meanwhile. Frames come and go with the kernel's
 * offloads still to be made (PACKET_VNET_HDR), so a large segment of TCP is one frame here as it is on a bridge of the kernel's.
 *
 * Bounded: QUEUE_FRAMES frames and QUEUE_BYTES of them; what comes beyond is dropped, as by a switch whose buffer is full. Prints "ready" when it
 * forwards; SIGTERM ends it, and it says how many frames it forwarded and dropped. Needs CAP_NET_RAW.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum { PORTS_MAX = 16, MACS_MAX = 64, FRAME_BYTES = 1 << 17, QUEUE_FRAMES = 1 << 16, QUEUE_BYTES = 256 << 20, SOCKET_BYTES = 64 << 20, TURN = 64 };

struct frame {
	uint64_t due_ns;
	uint32_t bytes;
	int port; /* where it came in */
	unsigned char *data; /* with the header of the offloads before it */
};

static struct {
	int fd[PORTS_MAX], ports;
	struct { unsigned char mac[ETH_ALEN]; int port; } seen[MACS_MAX];
	int macs;
	struct frame queue[QUEUE_FRAMES]; /* a ring: the delay is the same for all, so the first in is the first due */
	uint32_t head, count;
	uint64_t bytes, delay_ns, forwarded, dropped;
} sw;

static volatile sig_atomic_t ended;

static void end(int sig)
{
	(void)sig;
	ended = 1;
}

static void die(const char *what, const char *on)
{
	fprintf(stderr, "netdelay: cannot %s %s: %s\n", what, on, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int open_port(const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)if_nametoindex(name) };
	struct packet_mreq all = { .mr_ifindex = at.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1, bytes = SOCKET_BYTES;

	if (!at.sll_ifindex)
		die("find the interface", name);
	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) || setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) || setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) || bind(fd, (struct sockaddr *)&at, sizeof at))
		die("open the interface", name);
	return fd;
}

static void learn(const unsigned char *mac, int port)
{
	int i = 0;

	while (i < sw.macs && memcmp(sw.seen[i].mac, mac, ETH_ALEN))
		i++;
	if (i == MACS_MAX)
		return; /* its frames go to all */
	if (i == sw.macs)
		memcpy(sw.seen[sw.macs++].mac, mac, ETH_ALEN);
	sw.seen[i].port = port;
}

/* -1: to all. */
static int port_of(const unsigned char *mac)
{
	for (int i = 0; i < sw.macs; i++)
		if (!memcmp(sw.seen[i].mac, mac, ETH_ALEN))
			return sw.seen[i].port;
	return -1;
}

static void take_in(int port)
{
	static unsigned char buf[FRAME_BYTES];

	for (int i = 0; i < TURN; i++) {
		ssize_t n = recv(sw.fd[port], buf, sizeof buf, 0);
		struct frame *f = &sw.queue[(sw.head + sw.count) % QUEUE_FRAMES];

		if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENETDOWN))
			return;
		if (n < 0)
			die("read from", "an interface");
		if ((size_t)n < sizeof(struct virtio_net_hdr) + ETH_HLEN)
			continue;
		if (sw.count == QUEUE_FRAMES || sw.bytes + (uint64_t)n > QUEUE_BYTES || !(f->data = malloc((size_t)n))) {
			sw.dropped++;
			continue;
		}
		memcpy(f->data, buf, (size_t)n);
		f->bytes = (uint32_t)n;
		f->port = port;
		f->due_ns = now_ns() + sw.delay_ns;
		sw.count++;
		sw.bytes += f->bytes;
	}
}

static void send_out(int port, const struct frame *f)
{
	while (send(sw.fd[port], f->data, f->bytes, 0) < 0) {
		struct pollfd p = { .fd = sw.fd[port], .events = POLLOUT };

		if (errno == EINTR)
			continue;
		if ((errno != EAGAIN && errno != ENOBUFS) || poll(&p, 1, 10) <= 0) {
			sw.dropped++;
			return;
		}
	}
	sw.forwarded++;
}

static void forward(const struct frame *f)
{
	const unsigned char *eth = f->data + sizeof(struct virtio_net_hdr);
	int to = port_of(eth);

	learn(eth + ETH_ALEN, f->port);
	for (int i = 0; i < sw.ports; i++)
		if (i != f->port && (to < 0 || to == i))
			send_out(i, f);
}

static void serve(void)
{
	struct pollfd p[PORTS_MAX];

	for (int i = 0; i < sw.ports; i++)
		p[i] = (struct pollfd){ .fd = sw.fd[i], .events = POLLIN };
	while (!ended) {
		struct timespec wait = { 3600, 0 };
		uint64_t now = now_ns();
		int n = 0;

		for (; sw.count && n < TURN && sw.queue[sw.head].due_ns <= now; n++) {
			struct frame *f = &sw.queue[sw.head];

			forward(f);
			free(f->data);
			sw.bytes -= f->bytes;
			sw.head = (sw.head + 1) % QUEUE_FRAMES;
			sw.count--;
		}
		if (sw.count) {
			uint64_t due = sw.queue[sw.head].due_ns;
			uint64_t left = due > now ? due - now : 0;

			wait = (struct timespec){ (time_t)(left / 1000000000u), (long)(left % 1000000000u) };
		}
		if (ppoll(p, (nfds_t)sw.ports, &wait, NULL) < 0 && errno != EINTR)
			die("wait for", "frames");
		for (int i = 0; i < sw.ports; i++)
			if (p[i].revents)
				take_in(i);
	}
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_handler = end };
	char *rest;

	sw.delay_ns = argc > 1 ? strtoull(argv[1], &rest, 10) * 1000u : 0;
	if (argc < 4 || argc - 2 > PORTS_MAX || *rest) {
		fprintf(stderr, "Usage: netdelay DELAY_US INTERFACE INTERFACE...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		sw.fd[sw.ports++] = open_port(argv[i]);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	/* What it measures by must not wait behind what is measured. */
	prctl(PR_SET_TIMERSLACK, 1000ul);
	if (setpriority(PRIO_PROCESS, 0, -15))
		perror("netdelay: not preferred by the scheduler, delays may be longer");
	puts("ready");
	fflush(stdout);
	serve();
	fprintf(stderr, "netdelay: %llu frames forwarded, %llu dropped\n", (unsigned long long)sw.forwarded, (unsigned long long)sw.dropped);
	return 0;
}
