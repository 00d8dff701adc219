/*
 * losedisk.c - a disk for a virtual machine that forgets, when the power goes, what it was not told to keep.
 *
 *   losedisk IMAGE SOCKET SEED
 *
 * Serves IMAGE as an NBD export on the unix socket SOCKET to one client, and ends with it. What the client writes is in memory until it
 * flushes; only then it is in IMAGE. When the client is gone without a word (it was killed: the power of the machine that it plays), a subset of
 * the writes since the last flush that SEED decides reaches IMAGE, each whole, or torn at sectors, or not at all. A client that says good-bye
 * loses nothing.
 *
 * SIGUSR1 has the power fail soon, where it hurts: within some of the next requests, in front of a flush (mostly, and mostly of one that has something to
 * flush), behind one, or at a write. It then kills the client (SIGKILL to the process at the other end of SOCKET) before it does anything else.
 *
 * Prints one line at the end: what was lost. The protocol is NBD's (doc/proto.md of the NBD project): fixed newstyle, simple replies, flush, no
 * FUA (a client does that by flushing), one request after the other, so that all before a flush are covered by it.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lib/rng.h"

#define SECTOR 4096u /* what the disk keeps whole: ext4 counts on it for its superblock. Smaller tears are test_segment_crash's and the simulation's */
#define REQUEST_MAX (32u << 20)
#define SOON 40u /* requests until the power fails, at most */
#define PATIENCE 100u

enum { OPT_EXPORT_NAME = 1, OPT_ABORT = 2, OPT_INFO = 6, OPT_GO = 7, REP_ACK = 1, REP_INFO = 3 };
enum { HANDSHAKE_FIXED = 1, HANDSHAKE_NO_ZEROES = 2, EXPORT_HAS_FLAGS = 1, EXPORT_SEND_FLUSH = 4 };
enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH };
#define REP_ERR_UNSUP ((1u << 31) + 1)
#define MAGIC_SERVER 0x4e42444d41474943ull /* NBDMAGIC */
#define MAGIC_OPT 0x49484156454f5054ull    /* IHAVEOPT */
#define MAGIC_OPT_REPLY 0x3e889045565a9ull
#define MAGIC_REQUEST 0x25609513u
#define MAGIC_REPLY 0x67446698u

struct pending {
	struct pending *next;
	uint64_t off;
	size_t len;
	uint8_t data[];
};

struct disk {
	int image, client;
	uint64_t size;
	uint8_t *now;                    /* as the client sees it: a private mapping of the image */
	struct pending *log, **log_tail; /* writes since the last flush */
	uint64_t random, writes, flushes;
	unsigned fails_in;               /* requests from now; 0 = not planned */
	bool at_flush, behind;           /* then: at the next flush, or write; after it took effect, or in front of it */
	unsigned at_risk, wanted, patience; /* writes not flushed; so many are wanted in front of that flush; flushes that are let pass for it */
};

static volatile sig_atomic_t told;

static void on_signal(int sig)
{
	(void)sig;
	told = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "losedisk: %s: %s\n", what, errno ? strerror(errno) : "the client does not speak NBD");
	exit(1);
}

/* --- the image --- */

static void keep(struct disk *d, uint64_t off, const uint8_t *data, size_t len)
{
	if (pwrite(d->image, data, len, (off_t)off) != (ssize_t)len)
		die("writing the image");
}

static void remember(struct disk *d, uint64_t off, const uint8_t *data, size_t len)
{
	struct pending *p = malloc(sizeof(*p) + len);

	if (!p)
		die("memory");
	p->next = NULL;
	p->off = off;
	p->len = len;
	memcpy(p->data, data, len);
	*d->log_tail = p;
	d->log_tail = &p->next;
	memcpy(d->now + off, data, len);
	d->writes++;
	d->at_risk++;
}

static void flush(struct disk *d)
{
	struct pending *p;

	d->flushes++;
	while ((p = d->log)) {
		keep(d, p->off, p->data, p->len);
		d->log = p->next;
		free(p);
	}
	d->log_tail = &d->log;
	d->at_risk = 0;
}

/* The power is gone: some of what was not flushed was on its way to the platter. */
static void lose(struct disk *d)
{
	unsigned luck = rng_below(&d->random, 4) ? (unsigned)rng_below(&d->random, 1001) : 0, whole = 0, torn = 0, none = 0;
	struct pending *p;

	for (p = d->log; p; p = p->next) {
		if (rng_below(&d->random, 1000) < luck) {
			keep(d, p->off, p->data, p->len);
			whole++;
		} else if (rng_below(&d->random, 2) && p->len > SECTOR) {
			for (size_t at = 0; at < p->len; at += SECTOR)
				if (rng_below(&d->random, 2))
					keep(d, p->off + at, p->data + at, p->len - at < SECTOR ? p->len - at : SECTOR);
			torn++;
		} else {
			none++;
		}
	}
	printf("power lost after %" PRIu64 " writes and %" PRIu64 " flushes: of %u writes not flushed %u are kept, %u torn, %u lost\n", d->writes,
	       d->flushes, whole + torn + none, whole, torn, none);
}

/* Kills the machine whose disk this is. */
static void cut_power(struct disk *d)
{
	struct ucred peer = { .pid = 0 };
	socklen_t len = sizeof(peer);

	if (getsockopt(d->client, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.pid <= 1 || kill(peer.pid, SIGKILL))
		die("killing the client");
	lose(d);
	exit(0);
}

/* --- the connection --- */

/* False at its end. */
static bool take(struct disk *d, void *buf, size_t len)
{
	char *at = buf;

	while (len > 0) {
		ssize_t n = read(d->client, at, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool give(struct disk *d, const void *buf, size_t len)
{
	const char *at = buf;

	while (len > 0) {
		ssize_t n = send(d->client, at, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static bool give_u(struct disk *d, uint64_t x, unsigned bytes)
{
	uint8_t out[8];

	for (unsigned i = 0; i < bytes; i++)
		out[i] = (uint8_t)(x >> 8 * (bytes - 1 - i));
	return give(d, out, bytes);
}

static bool take_u(struct disk *d, unsigned bytes, uint64_t *ret)
{
	uint8_t in[8];

	*ret = 0;
	if (!take(d, in, bytes))
		return false;
	for (unsigned i = 0; i < bytes; i++)
		*ret = *ret << 8 | in[i];
	return true;
}

static bool option_reply(struct disk *d, uint64_t option, uint32_t type, uint32_t len)
{
	return give_u(d, MAGIC_OPT_REPLY, 8) && give_u(d, option, 4) && give_u(d, type, 4) && give_u(d, len, 4);
}

/* Returns true when requests follow. */
static bool haggle(struct disk *d)
{
	static const char zeroes[124];
	uint64_t magic, option, len, flags;
	char skipped[4096];

	if (!give_u(d, MAGIC_SERVER, 8) || !give_u(d, MAGIC_OPT, 8) || !give_u(d, HANDSHAKE_FIXED | HANDSHAKE_NO_ZEROES, 2) || !take_u(d, 4, &flags))
		return false;
	while (take_u(d, 8, &magic) && take_u(d, 4, &option) && take_u(d, 4, &len)) {
		errno = 0;
		if (magic != MAGIC_OPT || len > sizeof(skipped) || !take(d, skipped, (size_t)len))
			die("option");
		switch (option) {
		case OPT_EXPORT_NAME:
			return give_u(d, d->size, 8) && give_u(d, EXPORT_HAS_FLAGS | EXPORT_SEND_FLUSH, 2) &&
			       ((flags & HANDSHAKE_NO_ZEROES) || give(d, zeroes, sizeof(zeroes)));
		case OPT_INFO:
		case OPT_GO:
			if (!option_reply(d, option, REP_INFO, 12) || !give_u(d, 0, 2) || !give_u(d, d->size, 8) ||
			    !give_u(d, EXPORT_HAS_FLAGS | EXPORT_SEND_FLUSH, 2) || !option_reply(d, option, REP_ACK, 0))
				return false;
			if (option == OPT_GO)
				return true;
			break;
		case OPT_ABORT:
			option_reply(d, option, REP_ACK, 0);
			return false;
		default:
			if (!option_reply(d, option, REP_ERR_UNSUP, 0))
				return false;
		}
	}
	return false;
}

/* Counts down to the moment the power fails, once it was told to. */
static bool power_fails(struct disk *d, bool is_flush, bool behind)
{
	if (told && !d->fails_in) {
		d->fails_in = 1 + (unsigned)rng_below(&d->random, SOON);
		d->at_flush = rng_below(&d->random, 8) != 0;
		d->behind = !d->at_flush || rng_below(&d->random, 8) == 0;
		d->wanted = d->behind ? 0 : (unsigned)rng_below(&d->random, 6);
		d->patience = PATIENCE;
	}
	if (!d->fails_in)
		return false;
	if (!behind && d->fails_in > 1)
		d->fails_in--;
	if (d->fails_in > 1 || is_flush < d->at_flush || behind != d->behind)
		return false;
	return d->at_risk >= d->wanted || d->patience-- == 0;
}

static void serve(struct disk *d)
{
	uint8_t *buf = malloc(REQUEST_MAX);
	uint64_t magic, flags, type, handle, off, len;

	if (!buf)
		die("memory");
	while (take_u(d, 4, &magic) && take_u(d, 2, &flags) && take_u(d, 2, &type) && take_u(d, 8, &handle) && take_u(d, 8, &off) && take_u(d, 4, &len)) {
		bool wrong = type > CMD_FLUSH || off > d->size || len > d->size - off || len > REQUEST_MAX;

		errno = 0;
		if (magic != MAGIC_REQUEST || (wrong && type == CMD_WRITE))
			die("request");
		if (type == CMD_DISC) {
			flush(d);
			printf("good-bye after %" PRIu64 " writes and %" PRIu64 " flushes: nothing is lost\n", d->writes, d->flushes);
			exit(0);
		}
		if (type == CMD_WRITE && !take(d, buf, (size_t)len))
			break;
		if (type != CMD_READ && power_fails(d, type == CMD_FLUSH, false))
			cut_power(d);
		if (type == CMD_WRITE)
			remember(d, off, buf, (size_t)len);
		else if (type == CMD_FLUSH)
			flush(d);
		if (type != CMD_READ && power_fails(d, type == CMD_FLUSH, true))
			cut_power(d);
		if (!give_u(d, MAGIC_REPLY, 4) || !give_u(d, wrong ? EINVAL : 0, 4) || !give_u(d, handle, 8) ||
		    (type == CMD_READ && !wrong && !give(d, d->now + off, (size_t)len)))
			break;
	}
	free(buf);
}

static int listen_on(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	errno = 0;
	if (strlen(path) >= sizeof(a.sun_path))
		return -1;
	memcpy(a.sun_path, path, strlen(path) + 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1))
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	struct disk d = { .size = 0 };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct stat st;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "Usage: losedisk IMAGE SOCKET SEED\n");
		return 2;
	}
	d.random = strtoull(argv[3], NULL, 10);
	d.log_tail = &d.log;
	sigaction(SIGUSR1, &act, NULL);
	d.image = open(argv[1], O_RDWR | O_CLOEXEC);
	if (d.image < 0 || fstat(d.image, &st))
		die(argv[1]);
	d.size = (uint64_t)st.st_size;
	d.now = mmap(NULL, d.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, d.image, 0);
	if (d.now == MAP_FAILED)
		die(argv[1]);
	fd = listen_on(argv[2]);
	if (fd < 0)
		die(argv[2]);
	do {
		d.client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	} while (d.client < 0 && errno == EINTR);
	if (d.client < 0)
		die("accept");
	if (haggle(&d))
		serve(&d);
	lose(&d);
	return 0;
}
