/* test_replica_link.c - links between hubs on the loopback: who gets in, what gets through, what ends a link; keys. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/rng.h"
#include "err.h"
#include "link.h"
#include "logmsg.h"

static char dir[64], key_a[KEY_TEXT_BYTES], key_b[KEY_TEXT_BYTES];

static const char *in_dir(const char *name)
{
	static char b[4][160];
	static unsigned which;

	which = (which + 1) % 4;
	snprintf(b[which], sizeof b[which], "%s/%s", dir, name);
	return b[which];
}

static void write_keys(const char *name, const char *text, mode_t mode)
{
	int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static int setup(void **state)
{
	(void)state;
	logmsg_init("test", LOGMSG_ERROR);
	strcpy(dir, "/tmp/replica-link.XXXXXX");
	keys_generate(key_a);
	keys_generate(key_b);
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

/* --- a node --- */

struct node {
	struct keys *keys;
	struct node_key *key;
	struct link_hub *hub;
	pthread_mutex_t mu;
	/* under mu */
	struct link *last;         /* the newest that is up */
	unsigned ups, downs, frames, taken;
	size_t bytes;
	char why[256];
	const char *verdict;
	atomic_bool echo, stuck;
};

static void hello(void *user, struct frame_hello *ret)
{
	(void)user;
	ret->cluster = (struct frame_text){ "site", 4 };
	ret->wall_us = 7;
}

static const char *judge(void *user, const struct frame_hello *h)
{
	struct node *n = user;
	const char *verdict;

	pthread_mutex_lock(&n->mu);
	verdict = n->verdict;
	pthread_mutex_unlock(&n->mu);
	return h->cluster.len == 4 && h->wall_us == 7 ? verdict : "not of this site";
}

static void up(void *user, struct link *l, const struct frame_hello *h)
{
	struct node *n = user;

	(void)h;
	pthread_mutex_lock(&n->mu);
	n->last = l;
	n->ups++;
	pthread_mutex_unlock(&n->mu);
}

static int frame(void *user, struct link *l, const struct frame *f)
{
	struct node *n = user;
	struct frame_data d;
	struct buf b = BUF_INIT;
	size_t start;

	while (atomic_load(&n->stuck))
		usleep(1000);
	if (f->type != FRAME_DATA || frame_get_data(f, &d))
		return ERR_CORRUPT;
	pthread_mutex_lock(&n->mu);
	n->frames++;
	n->bytes += d.length;
	pthread_mutex_unlock(&n->mu);
	if (atomic_load(&n->echo)) {
		frame_begin(&b, FRAME_DATA, &start);
		frame_put_data(&b, &d);
		frame_end(&b, start, false);
		assert_int_equal(link_send(l, &b), 0);
		buf_free(&b);
	}
	return 0;
}

static void drained(void *user, struct link *l)
{
	(void)user;
	(void)l;
}

static void down(void *user, struct link *l, const char *why)
{
	struct node *n = user;

	pthread_mutex_lock(&n->mu);
	if (n->last == l)
		n->last = NULL;
	n->downs++;
	snprintf(n->why, sizeof n->why, "%s", why);
	pthread_mutex_unlock(&n->mu);
}

static const struct link_events events = { hello, judge, up, frame, drained, down, NULL };

static void start_with(struct node *n, const char *name, const char *keys, const struct link_events *e)
{
	struct link_options o = { .env = env_system(), .listen = "127.0.0.1:0", .events = e, .user = n };

	memset(n, 0, sizeof *n);
	pthread_mutex_init(&n->mu, NULL);
	write_keys("keys", keys, 0600);
	assert_int_equal(keys_load(in_dir("keys"), &n->keys), 0);
	assert_int_equal(node_key_load(in_dir(name), &n->key), 0);
	o.keys = n->keys;
	o.node = n->key;
	assert_int_equal(link_hub_start(&o, &n->hub), 0);
}

static void start(struct node *n, const char *name, const char *keys)
{
	start_with(n, name, keys, &events);
}

static void stop(struct node *n)
{
	link_hub_stop(n->hub);
	assert_int_equal(n->ups, n->downs);
	keys_free(n->keys);
	node_key_free(n->key);
	pthread_mutex_destroy(&n->mu);
}

static void call(struct node *from, struct node *to)
{
	char address[32];

	snprintf(address, sizeof address, "127.0.0.1:%u", link_hub_port(to->hub));
	assert_int_equal(link_hub_call(from->hub, address), 0);
}

/* Waits for a condition over a node's state; gives up loudly. */
#define WAIT_FOR(n, condition) do { \
	bool there = false; \
	for (int i = 0; i < 3000 && !there; i++) { \
		pthread_mutex_lock(&(n)->mu); \
		there = (condition); \
		pthread_mutex_unlock(&(n)->mu); \
		if (!there) \
			usleep(10000); \
	} \
	if (!there) \
		fail_msg("waited in vain for %s", #condition); \
} while (0)

static int send_data(struct node *n, uint32_t len)
{
	uint8_t *bytes = calloc(1, len ? len : 1);
	struct frame_data d = { 1, FRAME_BYTES, len, bytes };
	struct buf b = BUF_INIT;
	size_t at;
	int rc = -EPIPE;

	assert_non_null(bytes);
	frame_begin(&b, FRAME_DATA, &at);
	frame_put_data(&b, &d);
	frame_end(&b, at, false);
	pthread_mutex_lock(&n->mu);
	if (n->last)
		rc = link_send(n->last, &b);
	pthread_mutex_unlock(&n->mu);
	buf_free(&b);
	free(bytes);
	return rc;
}

/* --- tests --- */

static void frames_get_through(void **state)
{
	struct node a, b;

	(void)state;
	start(&a, "a", key_a);
	start(&b, "b", key_a);
	atomic_store(&b.echo, true);
	call(&a, &b);
	WAIT_FOR(&a, a.ups == 1);
	WAIT_FOR(&b, b.ups == 1);
	assert_memory_equal(link_node(a.last), node_key_public(b.key), NODE_KEY_BYTES);
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(send_data(&a, i % 3 ? i : FRAME_PIECE_MAX), 0);
	WAIT_FOR(&a, a.frames == 30);
	assert_true(a.bytes == b.bytes && a.bytes > 10u * FRAME_PIECE_MAX);
	WAIT_FOR(&a, link_queued(a.last) == 0);
	stop(&a);
	WAIT_FOR(&b, b.downs == 1);
	stop(&b);
}

/* Takes the buffers of some of what comes, as the host does, and looks at each byte. */
static int taking_frame(void *user, struct link *l, const struct frame *f)
{
	struct node *n = user;
	struct buf taken = BUF_INIT;
	struct frame_data d;
	bool good = f->type == FRAME_DATA && !frame_get_data(f, &d);

	(void)l;
	if (!good)
		return ERR_CORRUPT;
	if (f->whole && d.request % 3) {
		taken = *f->whole;
		*f->whole = (struct buf)BUF_INIT;
	}
	for (uint32_t i = 0; i < d.length; i++)
		good &= d.bytes[i] == (uint8_t)(d.request + (d.request % 2 ? i * i / 7 : 0));
	pthread_mutex_lock(&n->mu);
	good &= d.request == n->frames;
	n->frames++;
	n->bytes += d.length;
	n->taken += taken.data != NULL;
	pthread_mutex_unlock(&n->mu);
	buf_free(&taken);
	return good ? 0 : ERR_CORRUPT;
}

/* Long frames are read to their end and handed on in their buffers, short ones many at a time; whatever comes behind whatever, and however it is held up. */
static void frames_of_any_length(void **state)
{
	static const uint32_t lengths[] = { 0, 1, 100, 16000, 65510, 65536, 65537, 131072, 200000, FRAME_PIECE_MAX - 1, FRAME_PIECE_MAX };
	struct link_events taking = events;
	struct node a, b;
	uint8_t *bytes = malloc(FRAME_PIECE_MAX);
	uint64_t rng = 5;
	size_t sent = 0;

	(void)state;
	taking.frame = taking_frame;
	start(&a, "a", key_a);
	start_with(&b, "b", key_a, &taking);
	call(&a, &b);
	WAIT_FOR(&a, a.ups == 1);
	WAIT_FOR(&b, b.ups == 1);
	for (uint64_t k = 0; k < 150; k++) {
		struct frame_data d = { k, FRAME_BYTES, lengths[rng_below(&rng, sizeof lengths / sizeof *lengths)], bytes };
		struct buf f = BUF_INIT;
		size_t at;

		for (uint32_t i = 0; i < d.length; i++)
			bytes[i] = (uint8_t)(k + (k % 2 ? i * i / 7 : 0));
		frame_begin(&f, FRAME_DATA, &at);
		frame_put_data(&f, &d);
		frame_end(&f, at, rng_below(&rng, 2));
		assert_int_equal(link_send(a.last, &f), 0);
		buf_free(&f);
		sent += d.length;
		if (k % 10 == 0)
			link_hold(b.last, k % 20 == 0);
	}
	link_hold(b.last, false);
	WAIT_FOR(&b, b.frames == 150 || b.downs);
	assert_string_equal(b.why, "");
	assert_int_equal(b.bytes, sent);
	assert_true(b.taken > 20);
	assert_int_equal(b.downs, 0);
	stop(&a);
	stop(&b);
	free(bytes);
}

static void keys_decide(void **state)
{
	struct node a, b, c;
	char both[2 * KEY_TEXT_BYTES + 1];

	(void)state;
	snprintf(both, sizeof both, "%s\n%s\n", key_b, key_a);
	start(&a, "a", key_a);
	start(&b, "b", key_b);
	start(&c, "c", both);
	call(&a, &b); /* never */
	call(&a, &c); /* c has the new key first, and still the old one */
	call(&c, &b);
	call(&c, &a); /* first with the wrong one, then with the right one; then there is a link already */
	WAIT_FOR(&a, a.last != NULL);
	WAIT_FOR(&b, b.last != NULL);
	WAIT_FOR(&c, c.ups >= 2);
	pthread_mutex_lock(&b.mu);
	assert_memory_equal(link_node(b.last), node_key_public(c.key), NODE_KEY_BYTES);
	assert_int_equal(b.ups, 1);
	pthread_mutex_unlock(&b.mu);
	stop(&a);
	stop(&b);
	stop(&c);
}

static void one_link_between_two(void **state)
{
	struct node a, b;

	(void)state;
	start(&a, "a", key_a);
	start(&b, "b", key_a);
	call(&a, &b);
	call(&b, &a);
	for (int round = 0; round < 5; round++) {
		WAIT_FOR(&a, a.last != NULL && a.ups - a.downs == 1);
		WAIT_FOR(&b, b.last != NULL && b.ups - b.downs == 1);
		pthread_mutex_lock(&a.mu);
		if (a.last)
			link_close(a.last, "on purpose");
		pthread_mutex_unlock(&a.mu);
		WAIT_FOR(&a, a.downs > (unsigned)round);
	}
	stop(&a);
	stop(&b);
}

/* Nobody judges: who has the keys comes up. */
static void no_judge(void **state)
{
	struct link_events e = events;
	struct node a, b;

	(void)state;
	e.judge = NULL;
	start_with(&a, "a", key_a, &e);
	start_with(&b, "b", key_a, &e);
	call(&a, &b);
	WAIT_FOR(&a, a.ups == 1);
	WAIT_FOR(&b, b.ups == 1);
	stop(&a);
	stop(&b);
}

static void refused(void **state)
{
	struct node a, b, twin;

	(void)state;
	start(&a, "a", key_a);
	start(&b, "b", key_a);
	start(&twin, "a", key_a); /* a cloned image: the same identity */
	pthread_mutex_lock(&b.mu);
	b.verdict = "this member was forgotten";
	pthread_mutex_unlock(&b.mu);
	call(&twin, &a);
	call(&a, &b);
	call(&a, &a);
	usleep(300000);
	assert_int_equal(a.ups + b.ups + twin.ups, 0);
	pthread_mutex_lock(&b.mu);
	b.verdict = NULL;
	pthread_mutex_unlock(&b.mu);
	WAIT_FOR(&a, a.ups == 1); /* it went on asking */
	stop(&twin);
	stop(&a);
	stop(&b);
}

static void nonsense_ends_it(void **state)
{
	struct node a, b;
	struct buf junk = BUF_INIT;
	size_t at;

	(void)state;
	start(&a, "a", key_a);
	start(&b, "b", key_a);
	call(&a, &b);
	WAIT_FOR(&a, a.ups == 1);
	frame_begin(&junk, FRAME_MARK, &at); /* a type that the owner does not take */
	buf_zero(&junk, 3);
	frame_end(&junk, at, false);
	pthread_mutex_lock(&a.mu);
	assert_int_equal(link_send(a.last, &junk), 0);
	pthread_mutex_unlock(&a.mu);
	WAIT_FOR(&a, a.downs == 1);
	assert_non_null(strstr(a.why, "the peer says: a message that makes no sense"));
	WAIT_FOR(&a, a.ups == 2); /* and comes back */
	buf_zero(&junk, 100);
	pthread_mutex_lock(&a.mu);
	assert_int_equal(link_send(a.last, &junk), 0);
	pthread_mutex_unlock(&a.mu);
	WAIT_FOR(&b, b.downs == 2);
	buf_free(&junk);
	stop(&a);
	stop(&b);
}

static void who_does_not_read_is_dropped(void **state)
{
	struct node a, b;
	int rc = 0;

	(void)state;
	start(&a, "a", key_a);
	start(&b, "b", key_a);
	call(&a, &b);
	WAIT_FOR(&a, a.ups == 1);
	atomic_store(&b.stuck, true);
	for (unsigned i = 0; i < 200 && rc == 0; i++)
		rc = send_data(&a, FRAME_PIECE_MAX);
	assert_int_equal(rc, -ENOBUFS);
	assert_int_equal(send_data(&a, 1), -EPIPE);
	WAIT_FOR(&a, a.downs == 1);
	atomic_store(&b.stuck, false);
	stop(&a);
	stop(&b);
}

/* The port of a loopback address of its own: who = 1 is 127.0.0.1. */
static int stranger(struct node *to, unsigned who)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + who) };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(link_hub_port(to->hub)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof from), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof sin), 0);
	return fd;
}

/* Has the other side closed it? Waits for so many ms. */
static bool closed_within(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, ms) == 1 && read(fd, &c, 1) <= 0;
}

static uint64_t now_ms(void)
{
	return env_system()->boot_ns(env_system()) / 1000000;
}

/* What is held is not read, the other way goes on, and afterwards nothing is lost. */
static void held(void **state)
{
	struct node a, b;

	(void)state;
	start(&a, "a", key_a);
	start(&b, "b", key_a);
	call(&a, &b);
	WAIT_FOR(&a, a.ups == 1);
	WAIT_FOR(&b, b.ups == 1);
	link_hold(b.last, true);
	usleep(100000); /* its thread has heard of it */
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(send_data(&a, FRAME_PIECE_MAX), 0);
	assert_int_equal(send_data(&b, 5), 0);
	WAIT_FOR(&a, a.frames == 1);
	usleep(200000);
	pthread_mutex_lock(&b.mu);
	assert_int_equal(b.frames, 0);
	pthread_mutex_unlock(&b.mu);
	link_hold(b.last, false);
	WAIT_FOR(&b, b.frames == 20);
	/* Who goes away while it is held is noticed, at the latest when something is sent. */
	link_hold(b.last, true);
	usleep(100000);
	stop(&a);
	send_data(&b, FRAME_PIECE_MAX);
	pthread_mutex_lock(&b.mu);
	if (b.last) /* it may have been noticed already */
		link_hold(b.last, false);
	pthread_mutex_unlock(&b.mu);
	WAIT_FOR(&b, b.downs == 1);
	stop(&b);
}

/* Strangers who talk something else, or nothing, get nothing and hold nobody up, be they of one address or of many. */
static void strangers(void **state)
{
	struct node a, b;
	int fds[LINK_STRANGERS_MAX + 10];
	uint64_t began;

	(void)state;
	start(&a, "a", key_a);
	start(&b, "b", key_a);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < CL_ARRAY_LEN(fds); i++) {
			fds[i] = stranger(&b, round ? 2 + i : 1);
			if (!round && i % 2)
				assert_true(write(fds[i], "GET / HTTP/1.1\r\n\r\n", 18) == 18 || errno == EPIPE || errno == ECONNRESET);
			else if (i % 3 == 0) /* one that has begun, and goes on when it likes */
				assert_true(write(fds[i], "\x16\x03\x01\x00\xff\x01", 6) == 6 || errno == EPIPE || errno == ECONNRESET);
		}
		began = now_ms();
		call(&a, &b);
		WAIT_FOR(&a, a.ups == round + 1);
		assert_true(now_ms() - began < LINK_STRANGER_S * 1000 / 2); /* it did not have to wait until they were thrown out */
		if (round) { /* the oldest made way, the newest wait for their time */
			assert_true(closed_within(fds[0], 1000));
			assert_false(closed_within(fds[CL_ARRAY_LEN(fds) - 2], 0));
			assert_true(closed_within(fds[CL_ARRAY_LEN(fds) - 2], LINK_STRANGER_S * 1000 + 3000));
		}
		for (unsigned i = 0; i < CL_ARRAY_LEN(fds); i++)
			close(fds[i]);
		if (round)
			break;
		stop(&a);
		start(&a, "a", key_a);
		a.ups = a.downs = 1; /* counted on */
	}
	stop(&a);
	stop(&b);
}

static void addresses(void **state)
{
	static const char *const bad[] = { "", "host", "host:", ":x", "::1:99", "[::1:99", "host:70000" };
	struct node a;
	struct link_options o;
	struct link_hub *h;
	char address[32];

	(void)state;
	start(&a, "a", key_a);
	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++)
		assert_int_equal(link_hub_call(a.hub, bad[i]), ERR_CONFIG);
	assert_int_equal(link_hub_call(a.hub, "[::1]:9"), 0);
	assert_int_equal(link_hub_call(a.hub, "no-such-host.invalid:9"), 0);
	assert_int_equal(link_hub_call(a.hub, "no-such-host.invalid:9"), 0);
	link_hub_call_no_more(a.hub, "no-such-host.invalid:9");
	snprintf(address, sizeof address, "127.0.0.1:%u", link_hub_port(a.hub));
	o = (struct link_options){ a.keys, a.key, env_system(), address, &events, &a, false };
	assert_int_equal(link_hub_start(&o, &h), -EADDRINUSE);
	assert_non_null(strstr(err_last(), address));
	stop(&a);
}

static void key_files(void **state)
{
	struct keys *k;
	struct node_key *n, *again;
	uint8_t signature[NODE_SIGNATURE_BYTES];
	char text[600];

	(void)state;
	assert_int_equal(keys_load(in_dir("none"), &k), ERR_CONFIG);
	assert_non_null(strstr(err_last(), "clonesync keygen"));
	snprintf(text, sizeof text, "# the site's\n\n%s\r\n%s", key_a, key_b);
	write_keys("k", text, 0640);
	assert_int_equal(keys_load(in_dir("k"), &k), 0);
	assert_int_equal(keys_count(k), 2);
	assert_memory_not_equal(keys_psk(k, 0), keys_psk(k, 1), KEY_BYTES);
	assert_string_not_equal(keys_name(k, 0), keys_name(k, 1));
	keys_free(k);
	write_keys("k", text, 0644);
	assert_int_equal(keys_load(in_dir("k"), &k), ERR_CONFIG);
	assert_null(strstr(err_last(), key_a));
	snprintf(text, sizeof text, "%s\n%.40s\n", key_a, key_b);
	write_keys("k", text, 0600);
	assert_int_equal(keys_load(in_dir("k"), &k), ERR_CONFIG);
	assert_non_null(strstr(err_last(), "line 2"));
	assert_null(strstr(err_last(), "="));
	write_keys("k", "# nothing\n", 0600);
	assert_int_equal(keys_load(in_dir("k"), &k), ERR_CONFIG);
	assert_int_equal(node_key_load(in_dir("n"), &n), 0);
	assert_int_equal(node_key_load(in_dir("n"), &again), 0);
	assert_memory_equal(node_key_public(n), node_key_public(again), NODE_KEY_BYTES);
	node_key_sign(n, "words", 5, signature);
	assert_int_equal(node_key_verify(node_key_public(again), "words", 5, signature), 1);
	assert_int_equal(node_key_verify(node_key_public(again), "other", 5, signature), 0);
	node_key_free(n);
	node_key_free(again);
	write_keys("n", "short", 0600);
	assert_int_equal(node_key_load(in_dir("n"), &n), ERR_CONFIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_get_through), cmocka_unit_test(frames_of_any_length), cmocka_unit_test(keys_decide), cmocka_unit_test(one_link_between_two),
		cmocka_unit_test(no_judge), cmocka_unit_test(refused), cmocka_unit_test(nonsense_ends_it), cmocka_unit_test(who_does_not_read_is_dropped),
		cmocka_unit_test(held), cmocka_unit_test(strangers), cmocka_unit_test(addresses), cmocka_unit_test(key_files),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
