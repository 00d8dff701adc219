/*
 * test_replica_host.c - three members on real directories in one process: links over the loopback, inotify, threads. What is done on one is on all, in the end;
 * nothing here asks how soon (a case that never gets there is ended by the test's time limit).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "host.h"
#include "logmsg.h"

#define MEMBERS 3u

static char top[64], key_file[96];
static struct clone { char dir[96], state[96], address[32]; struct host *h; } m[MEMBERS];

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	(void)st;
	(void)flag;
	(void)w;
	return remove(path);
}

/* A port that was free a moment ago. */
static void start(unsigned n)
{
	const char *peers[MEMBERS];
	struct host_options o = { .dir = m[n].dir, .state_dir = m[n].state, .cluster_key_file = key_file, .listen = m[n].address[0] ? m[n].address : "127.0.0.1:0",
				  .peers = peers, .peer_count = 0, .name = m[n].dir, .index_map_bytes = 64u << 20 };

	for (unsigned i = 0; i < MEMBERS; i++)
		if (i != n && m[i].address[0])
			peers[o.peer_count++] = m[i].address;
	assert_int_equal(host_start(&o, &m[n].h), 0);
	snprintf(m[n].address, sizeof m[n].address, "127.0.0.1:%u", host_port(m[n].h));
}

static void stop(unsigned n)
{
	host_stop(m[n].h);
	m[n].h = NULL;
}

static int setup(void **state)
{
	char key[KEY_TEXT_BYTES];
	int fd;

	(void)state;
	logmsg_init("test", LOGMSG_ERROR);
	strcpy(top, "/var/tmp/replica-host.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(key_file, sizeof key_file, "%s/key", top);
	keys_generate(key);
	fd = open(key_file, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, key, strlen(key)) < 0)
		return -1;
	close(fd);
	memset(m, 0, sizeof m);
	for (unsigned i = 0; i < MEMBERS; i++) {
		snprintf(m[i].dir, sizeof m[i].dir, "%s/tree%u", top, i);
		snprintf(m[i].state, sizeof m[i].state, "%s/state%u", top, i);
		if (mkdir(m[i].dir, 0755))
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MEMBERS; i++)
		stop(i);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(unsigned n, const char *path)
{
	static _Thread_local char b[4][1024];
	static _Thread_local unsigned which;

	which = (which + 1) % 4;
	snprintf(b[which], sizeof b[which], "%s/%s", m[n].dir, path);
	return b[which];
}

static void put(unsigned n, const char *path, const char *text)
{
	int fd = open(at(n, path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static bool has(unsigned n, const char *path, const char *text)
{
	char b[100] = "";
	int fd = open(at(n, path), O_RDONLY);
	ssize_t len = fd < 0 ? -1 : read(fd, b, sizeof b - 1);

	if (fd >= 0)
		close(fd);
	return text ? len >= 0 && strcmp(b, text) == 0 : access(at(n, path), F_OK) != 0;
}

static void wait_for(const char *path, const char *text)
{
	for (unsigned n = 0; n < MEMBERS; n++)
		while (m[n].h && !has(n, path, text))
			usleep(5000);
}

static bool in_sync(void)
{
	struct node_status s[MEMBERS];
	unsigned up = 0;

	for (unsigned n = 0; n < MEMBERS; n++) {
		if (!m[n].h)
			continue;
		host_status(m[n].h, &s[n]);
		if (s[n].joining || s[n].scanning || s[n].working || s[n].wanted || s[n].dirty || !sum_equal(s[n].root, s[0].root))
			return false;
		up++;
	}
	for (unsigned n = 0; n < MEMBERS; n++)
		if (m[n].h && s[n].compared + 1 < up)
			return false;
	return true;
}

static void wait_in_sync(void)
{
	while (!in_sync())
		usleep(5000);
}

/* Who starts first is a cluster by itself; the others call it, and each other. */
static void start_all(void)
{
	for (unsigned i = 0; i < MEMBERS; i++)
		start(i);
	wait_in_sync();
}

static unsigned trashed(unsigned n)
{
	DIR *d = opendir(at(n, ".clonesync/trash"));
	unsigned count = 0;

	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		count += e->d_name[0] != '.';
	closedir(d);
	return count;
}

static void everywhere(void **state)
{
	struct stat a, b;

	(void)state;
	put(0, "before", "the start");
	start_all();
	wait_for("before", "the start");
	for (unsigned n = 0; n < MEMBERS; n++) {
		char name[32];

		sprintf(name, "from-%u", n);
		put(n, name, name);
		wait_for(name, name);
	}
	assert_int_equal(mkdir(at(1, "d"), 0750), 0);
	assert_int_equal(mkdir(at(1, "d/e"), 0755), 0);
	put(1, "d/e/f", "deep");
	wait_for("d/e/f", "deep");
	assert_int_equal(symlink("e/f", at(2, "d/link")), 0);
	wait_for("d/link", "deep");
	assert_int_equal(rename(at(2, "d"), at(2, "moved")), 0);
	wait_for("moved/e/f", "deep");
	wait_for("d", NULL);
	assert_int_equal(unlink(at(0, "before")), 0);
	wait_for("before", NULL);
	put(1, "from-0", "changed");
	assert_int_equal(chmod(at(1, "from-0"), 0600), 0);
	wait_for("from-0", "changed");
	wait_in_sync();
	assert_int_equal(stat(at(0, "from-0"), &a), 0);
	assert_int_equal(stat(at(1, "from-0"), &b), 0);
	assert_true(a.st_mode == b.st_mode && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
	assert_int_equal(stat(at(0, "moved"), &a), 0);
	assert_int_equal(a.st_mode & 07777, 0750);
}

static void a_big_file(void **state)
{
	size_t len = 5u << 20;
	char *b = malloc(len), *c = malloc(len);
	int fd;

	(void)state;
	assert_true(b && c);
	for (size_t i = 0; i < len; i++)
		b[i] = (char)(i * 31 + i / 4096);
	start_all();
	for (int round = 0; round < 2; round++) { /* then one block of it changes */
		memcpy(b + (1u << 20), round ? "now" : "was", 3);
		fd = open(at(0, "big"), O_WRONLY | O_CREAT, 0644);
		assert_int_equal(write(fd, b, len), (ssize_t)len);
		close(fd);
		for (unsigned n = 1; n < MEMBERS; n++) {
			ssize_t got = 0;

			do {
				usleep(5000);
				fd = open(at(n, "big"), O_RDONLY);
				got = fd < 0 ? -1 : read(fd, c, len);
				if (fd >= 0)
					close(fd);
			} while (got != (ssize_t)len || memcmp(b, c, len) != 0);
		}
	}
	free(b);
	free(c);
}

static void conflict_and_restart(void **state)
{
	struct stat st;

	(void)state;
	start_all();
	put(0, "f", "common");
	put(0, "gone", "x");
	wait_for("f", "common");
	wait_for("gone", "x");
	wait_in_sync();
	stop(2);
	put(0, "f", "while 2 was away");
	assert_int_equal(unlink(at(1, "gone")), 0);
	put(1, "new", "too");
	wait_for("f", "while 2 was away");
	wait_for("gone", NULL);
	wait_for("new", "too");
	usleep(20000);
	put(2, "f", "and nobody looked"); /* the later one wins, the other is kept */
	put(2, "own", "of 2");
	start(2);
	wait_for("f", "and nobody looked");
	wait_for("own", "of 2");
	wait_for("new", "too");
	wait_for("gone", NULL);
	wait_in_sync();
	assert_true(trashed(0) >= 1);
	/* A member whose disk is new has all of it again. */
	stop(1);
	assert_int_equal(nftw(m[1].dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(nftw(m[1].state, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	assert_int_equal(mkdir(m[1].dir, 0755), 0);
	start(1);
	wait_for("own", "of 2");
	wait_for("f", "and nobody looked");
	wait_in_sync();
	assert_int_equal(stat(at(0, "own"), &st), 0);
}

static void *write_on(void *arg)
{
	atomic_bool *stop = arg;
	int fd = open(at(1, "log"), O_WRONLY | O_CREAT | O_APPEND, 0644);

	while (!atomic_load(stop)) {
		if (write(fd, "line\n", 5) != 5)
			break;
		usleep(2000);
	}
	close(fd);
	return NULL;
}

/* A file that is open and written all the time keeps a member neither from the others nor from being in order. */
static void a_busy_file(void **state)
{
	struct node_status s;
	atomic_bool over = false;
	pthread_t writer;

	(void)state;
	start(0);
	put(0, "f", "from 0");
	assert_int_equal(pthread_create(&writer, NULL, write_on, &over), 0);
	while (access(at(1, "log"), F_OK) != 0)
		usleep(1000);
	start(1);
	do {
		usleep(5000);
		host_status(m[1].h, &s);
	} while (s.scanning || s.joining || !has(1, "f", "from 0"));
	put(1, "g", "from 1");
	while (!has(0, "g", "from 1"))
		usleep(5000);
	atomic_store(&over, true);
	pthread_join(writer, NULL);
	while (access(at(0, "log"), F_OK) != 0)
		usleep(5000);
	wait_in_sync();
}

static const struct host_member *find(const struct host_member *all, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (!all[i].m.forgotten && strcmp(all[i].m.name, name) == 0)
			return &all[i];
	return NULL;
}

/* n knows of all others, at the addresses where they are, and is linked to each. */
static bool knows_all(unsigned n)
{
	struct host_member *all;
	size_t count;
	bool yes = true;

	assert_int_equal(host_members(m[n].h, &all, &count), 0);
	for (unsigned i = 0; i < MEMBERS && yes; i++) {
		const struct host_member *k = find(all, count, m[i].dir);

		yes = k && strcmp(k->m.address, m[i].address) == 0 && k->self == (i == n) && (i == n || k->up);
	}
	free(all);
	return yes;
}

static void start_knowing(unsigned n, const char *peer)
{
	struct host_options o = { .dir = m[n].dir, .state_dir = m[n].state, .cluster_key_file = key_file, .listen = "127.0.0.1:0", .peers = &peer,
				  .peer_count = peer != NULL, .name = m[n].dir, .index_map_bytes = 64u << 20 };

	assert_int_equal(host_start(&o, &m[n].h), 0);
	snprintf(m[n].address, sizeof m[n].address, "127.0.0.1:%u", host_port(m[n].h));
}

/* A new one knows one address and the key, and learns the rest; so do the others of it, and of one that has moved. */
static void learn_from_one(void **state)
{
	(void)state;
	start_knowing(0, NULL);
	put(0, "f", "of the first");
	start_knowing(1, m[0].address);
	start_knowing(2, m[1].address);
	wait_for("f", "of the first");
	for (unsigned n = 0; n < MEMBERS; n++)
		while (!knows_all(n))
			usleep(5000);
	wait_in_sync();
	/* Elsewhere now, and told of nobody: it knows whom to call. */
	stop(0);
	start_knowing(0, NULL);
	for (unsigned n = 0; n < MEMBERS; n++)
		while (!knows_all(n))
			usleep(5000);
	put(0, "g", "moved");
	wait_for("g", "moved");
}

static void *upload(void *arg)
{
	atomic_bool *stop = arg;
	char name[32];

	for (unsigned i = 0; !atomic_load(stop); i++) {
		sprintf(name, "u%u", i);
		put(0, name, "one of very many");
		usleep(2000);
	}
	return NULL;
}

/* In sync within so many ms; else why not. */
static bool in_sync_within(unsigned n, unsigned ms, unsigned *ret_members, char *ret_why)
{
	struct host_sync *s;
	bool over = false;

	assert_int_equal(host_sync_begin(m[n].h, &s), 0);
	for (unsigned i = 0; i <= ms / 5 && !over; i++) {
		over = host_sync_over(s, ret_members, ret_why, 200);
		usleep(5000);
	}
	host_sync_free(s);
	return over;
}

/* All that was there when it was asked for is, while uploads go on. */
static void sync_while_uploads_go_on(void **state)
{
	atomic_bool over = false;
	pthread_t writer;
	unsigned members = 9;
	struct node_status s;
	char name[32], why[200];

	(void)state;
	start_knowing(0, NULL);
	assert_true(in_sync_within(0, 20000, &members, why));
	assert_int_equal(members, 0);
	for (unsigned i = 0; i < 300; i++) {
		sprintf(name, "f%u", i);
		put(0, name, name);
	}
	do {
		usleep(5000);
		host_status(m[0].h, &s);
	} while (s.records < 300 || s.dirty);
	assert_int_equal(pthread_create(&writer, NULL, upload, &over), 0);
	start_knowing(1, m[0].address);
	start_knowing(2, m[0].address);
	for (unsigned n = 1; n < MEMBERS; n++) {
		if (!in_sync_within(n, 60000, &members, why))
			fail_msg("%u is not in sync: %s", n, why);
		assert_true(members >= 1);
		for (unsigned i = 0; i < 300; i++) {
			sprintf(name, "f%u", i);
			assert_true(has(n, name, name));
		}
	}
	atomic_store(&over, true);
	pthread_join(writer, NULL);
	wait_in_sync();
}

/* Who has others and reaches nobody is not in sync, and says why. */
static void sync_alone(void **state)
{
	unsigned members;
	char why[200];

	(void)state;
	start_knowing(0, "127.0.0.1:1");
	assert_false(in_sync_within(0, 300, &members, why));
	assert_non_null(strstr(why, "none of the other members"));
	stop(0);
	start_all();
	do /* the first that is up is enough to be in sync with */
		assert_true(in_sync_within(0, 60000, &members, why));
	while (members < MEMBERS - 1);
	stop(1);
	stop(2);
	assert_false(in_sync_within(0, 300, &members, why));
	assert_non_null(strstr(why, "there are 2"));
}

static void forgotten(void **state)
{
	char why[512];
	struct host_member *all;
	struct host_options o = { .dir = m[2].dir, .state_dir = m[2].state, .cluster_key_file = key_file, .listen = "127.0.0.1:0", .index_map_bytes = 64u << 20 };
	struct node_status s;
	size_t count;

	(void)state;
	start_all();
	for (unsigned n = 0; n < MEMBERS; n++)
		while (!knows_all(n))
			usleep(5000);
	assert_int_equal(host_forget(m[0].h, "nobody"), -ENOENT);
	assert_int_equal(host_forget(m[0].h, m[0].dir), ERR_CONFIG);
	stop(2);
	assert_int_equal(host_forget(m[0].h, m[2].dir), 0);
	do { /* the other hears of it */
		host_status(m[1].h, &s);
		usleep(5000);
	} while (s.members != 1);
	start(2);
	while (!host_refused(m[2].h, why, sizeof why))
		usleep(5000);
	assert_non_null(strstr(why, "forgotten"));
	put(0, "f", "without it");
	while (!has(1, "f", "without it"))
		usleep(5000);
	assert_true(has(2, "f", NULL));
	/* It joins as a new one, beside its forgotten self. */
	stop(2);
	assert_int_equal(nftw(m[2].state, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	start(2);
	wait_for("f", "without it");
	for (unsigned n = 0; n < MEMBERS; n++)
		while (!knows_all(n))
			usleep(5000);
	assert_int_equal(host_members(m[2].h, &all, &count), 0);
	assert_int_equal(count, MEMBERS + 1);
	free(all);
	/* One that is up is told, and does not start again as what it was. */
	assert_int_equal(host_forget(m[0].h, m[2].address), 0);
	do {
		host_status(m[2].h, &s);
		usleep(5000);
	} while (!s.forgotten);
	stop(2);
	assert_int_equal(host_start(&o, &m[2].h), -EKEYREJECTED);
	assert_non_null(strstr(err_last(), m[2].state));
	m[2].h = NULL;
}

/* Who pauses hears and says nothing; what was done meanwhile on both sides is everywhere soon after, not with the next of the others' growing pauses. */
static void a_pause(void **state)
{
	struct node_status s;

	(void)state;
	start_all();
	put(0, "f", "before");
	wait_for("f", "before");
	wait_in_sync();
	assert_int_equal(host_pause(m[1].h, true), 0);
	assert_true(host_paused(m[1].h));
	do {
		usleep(5000);
		host_status(m[1].h, &s);
	} while (s.peers);
	put(0, "f", "while 1 paused");
	put(1, "g", "by 1");
	while (!has(2, "f", "while 1 paused"))
		usleep(5000);
	usleep(700000); /* the others call again, and are refused */
	host_status(m[1].h, &s);
	assert_int_equal(s.peers, 0);
	stop(1); /* who was paused is so after a restart */
	start(1);
	assert_true(host_paused(m[1].h));
	usleep(700000);
	host_status(m[1].h, &s);
	assert_int_equal(s.peers, 0);
	assert_true(has(1, "f", "before"));
	assert_true(has(0, "g", NULL) && has(2, "g", NULL));
	assert_int_equal(host_pause(m[1].h, false), 0);
	wait_for("f", "while 1 paused");
	wait_for("g", "by 1");
	wait_in_sync();
	assert_false(host_paused(m[1].h));
	stop(1);
	start(1);
	assert_false(host_paused(m[1].h));
	put(1, "h", "by 1, again");
	wait_for("h", "by 1, again");
}

static void refusals(void **state)
{
	const char *nonsense = "nonsense";
	struct host_options o = { .dir = m[0].dir, .state_dir = m[0].state, .cluster_key_file = "/nowhere", .listen = "127.0.0.1:0" };
	struct host *h;

	(void)state;
	assert_int_equal(host_start(&o, &h), ERR_CONFIG);
	o.cluster_key_file = at(0, "key");
	assert_int_equal(rename(key_file, at(0, "key")), 0);
	assert_int_equal(host_start(&o, &h), ERR_CONFIG);
	assert_non_null(strstr(err_last(), "key file"));
	assert_int_equal(rename(at(0, "key"), key_file), 0);
	o.cluster_key_file = key_file;
	o.dir = "/nowhere";
	assert_int_equal(host_start(&o, &h), -ENOENT);
	assert_non_null(strstr(err_last(), "/nowhere"));
	o.dir = m[0].dir;
	o.listen = "nonsense";
	assert_int_equal(host_start(&o, &h), ERR_CONFIG);
	o.listen = NULL;
	o.peers = &nonsense;
	o.peer_count = 1;
	assert_int_equal(host_start(&o, &h), ERR_CONFIG);
	o.peer_count = 0;
	o.address = nonsense;
	assert_int_equal(host_start(&o, &h), ERR_CONFIG);
	o.address = NULL;
	assert_true(has(0, ".clonesync", NULL)); /* all that came before anything was made */
	assert_int_equal(access(m[0].state, F_OK), -1);
	o.state_dir = at(0, "state");
	assert_int_equal(host_start(&o, &h), ERR_CONFIG);
	assert_non_null(strstr(err_last(), "state directory"));
	assert_true(has(0, "state", NULL));
	o.state_dir = m[0].state;
	assert_int_equal(host_start(&o, &m[0].h), 0);
	assert_int_equal(host_start(&o, &h), -EBUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everywhere, setup, teardown), cmocka_unit_test_setup_teardown(a_big_file, setup, teardown),
		cmocka_unit_test_setup_teardown(conflict_and_restart, setup, teardown), cmocka_unit_test_setup_teardown(a_busy_file, setup, teardown),
		cmocka_unit_test_setup_teardown(learn_from_one, setup, teardown),
		cmocka_unit_test_setup_teardown(forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(sync_while_uploads_go_on, setup, teardown), cmocka_unit_test_setup_teardown(sync_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pause, setup, teardown), cmocka_unit_test_setup_teardown(refusals, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
