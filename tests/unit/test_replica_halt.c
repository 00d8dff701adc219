/*
 * test_replica_halt.c - a vanished tree is not a deletion (R5): two members on real directories, of which one loses its files, its file system, or has another mounted
 * over it. Nothing of that reaches the other.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host.h"
#include "logmsg.h"
#include "trash.h"

#define MEMBERS 2u
#define FILES 160u

static char top[64], key_file[96];
static struct clone { char dir[96], state[96], address[32]; struct host *h; } m[MEMBERS];
static bool may_mount;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	(void)st;
	(void)flag;
	(void)w;
	return remove(path);
}

static void start(unsigned n)
{
	const char *peer = m[!n].address;
	struct host_options o = { .dir = m[n].dir, .state_dir = m[n].state, .cluster_key_file = key_file, .listen = m[n].address[0] ? m[n].address : "127.0.0.1:0",
				  .peers = &peer, .peer_count = m[!n].address[0] ? 1 : 0, .name = m[n].dir, .index_map_bytes = 64u << 20 };

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
	strcpy(top, "/var/tmp/replica-halt.XXXXXX");
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
	for (unsigned i = 0; i < MEMBERS; i++) {
		stop(i);
		while (umount2(m[i].dir, MNT_DETACH) == 0)
			;
	}
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(unsigned n, const char *dir, unsigned i)
{
	static char b[2][200];
	static unsigned which;

	which = !which;
	snprintf(b[which], sizeof b[which], "%s/%s/f%u", m[n].dir, dir, i);
	return b[which];
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static unsigned count(unsigned n, const char *dir)
{
	unsigned there = 0;

	for (unsigned i = 0; i < FILES; i++)
		there += access(at(n, dir, i), F_OK) == 0;
	return there;
}

static struct node_status status(unsigned n)
{
	struct node_status s;

	host_status(m[n].h, &s);
	return s;
}

static void wait_in_sync(void)
{
	for (;;) {
		struct node_status a = status(0), b = status(1);

		if (!a.joining && !a.scanning && !a.working && !a.wanted && !a.dirty && a.compared && !b.joining && !b.scanning && !b.working && !b.wanted &&
		    !b.dirty && b.compared && sum_equal(a.root, b.root))
			return;
		usleep(5000);
	}
}

static void fill(void)
{
	start(0);
	start(1);
	assert_int_equal(mkdir(at(0, ".", 0), 0755), 0);
	for (unsigned i = 0; i < FILES; i++)
		put(at(0, "f0", i), "x");
	while (count(1, "f0") < FILES)
		usleep(5000);
	wait_in_sync();
}

static void wait_for_halt(unsigned n)
{
	while (!status(n).halted)
		usleep(5000);
}

/* At once, out of the tree: one by one would be somebody who deletes. */
static void move_away(unsigned n)
{
	static unsigned count;
	char to[200];

	snprintf(to, sizeof to, "%s/away-%u", top, count++);
	assert_int_equal(rename(at(n, ".", 0), to), 0);
}

static int note_count(void *user, const struct trash_item *item)
{
	assert_int_equal(item->note.why, TRASH_DELETED);
	assert_int_equal(strncmp(item->note.path, "f0", 2), 0);
	++*(unsigned *)user;
	return 0;
}

static void all_at_once(void **state)
{
	struct tree *look;
	unsigned in_trash = 0;

	(void)state;
	fill();
	assert_int_equal(host_go_on(m[0].h, 1, true), -EALREADY);
	move_away(0);
	wait_for_halt(0);
	assert_true(status(0).missing >= FILES / 2 && status(0).missing <= status(0).missing_of);
	/* A new start finds the same. */
	stop(0);
	start(0);
	wait_for_halt(0);
	assert_int_equal(status(0).missing, status(0).missing_of);
	/* Some may have gone before it was many: as few as are let through in any case. */
	assert_true(count(1, "f0") >= FILES - NODE_MISSING_MOST / 2);
	assert_int_equal(host_go_on(m[0].h, status(0).question, false), 0);
	wait_in_sync();
	assert_int_equal(count(0, "f0"), count(1, "f0"));
	assert_true(count(0, "f0") >= FILES - NODE_MISSING_MOST / 2);
	/* Once more; this time somebody says that it is meant. */
	move_away(0);
	wait_for_halt(0);
	assert_true(count(1, "f0") > 0);
	assert_int_equal(host_go_on(m[0].h, status(0).question, true), 0);
	while (access(at(1, ".", 0), F_OK) == 0)
		usleep(5000);
	wait_in_sync();
	assert_int_equal(count(1, "f0"), 0);
	assert_int_equal(tree_posix_look(m[1].dir, &look), 0);
	assert_int_equal(trash_list(look, note_count, &in_trash), 0);
	look->free(look);
	assert_true(in_trash >= FILES);
}

/* Half of it may not be missing; a third may, and a move is none. */
static void not_too_much(void **state)
{
	char to[200];

	(void)state;
	fill();
	snprintf(to, sizeof to, "%s/moved", m[0].dir);
	assert_int_equal(rename(at(0, ".", 0), to), 0);
	while (count(1, "moved") < FILES || count(1, "f0") > 0)
		usleep(5000);
	wait_in_sync();
	assert_false(status(0).halted);
	for (unsigned i = 0; i < FILES / 3; i++)
		assert_int_equal(unlink(at(0, "moved", i)), 0);
	while (count(1, "moved") > FILES - FILES / 3)
		usleep(5000);
	assert_false(status(0).halted);
}

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* One after the other is not at once: nothing is held back, however many. */
static void one_by_one(void **state)
{
	double began;

	(void)state;
	fill();
	began = seconds();
	for (unsigned i = 0; i < FILES - 1; i++) {
		assert_int_equal(unlink(at(0, "f0", i)), 0);
		while (access(at(1, "f0", i), F_OK) == 0)
			usleep(1000);
	}
	assert_true(seconds() - began < FILES / 2.0); /* each held back for a second would be twice that */
	assert_false(status(0).halted);
}

/* Where something is deleted all the time it goes out all the same. */
static void all_the_time(void **state)
{
	char from[200];
	double began;
	unsigned gone = 0;

	(void)state;
	fill();
	snprintf(from, sizeof from, "%s/more", m[0].dir);
	assert_int_equal(mkdir(from, 0755), 0);
	for (unsigned i = 0; i < 10 * FILES; i++)
		put(at(0, "more", i), "y");
	while (access(at(1, "more", 10 * FILES - 1), F_OK))
		usleep(5000);
	wait_in_sync();
	began = seconds();
	while (seconds() - began < 9) { /* three at a time: never alone */
		for (unsigned k = 0; k < 3 && gone < 10 * FILES; k++)
			assert_int_equal(unlink(at(0, "more", gone++)), 0);
		usleep(100000);
	}
	assert_true(access(at(1, "more", 0), F_OK) != 0 && access(at(1, "more", gone / 4), F_OK) != 0);
	assert_false(status(0).halted);
}

static void no_rights(void)
{
	print_message("SKIP: no right to mount in a namespace of its own\n");
	skip();
}

static void unmounted(void **state)
{
	(void)state;
	if (!may_mount)
		no_rights();
	assert_int_equal(mount("replica-halt", m[0].dir, "tmpfs", 0, NULL), 0);
	fill();
	assert_int_equal(umount2(m[0].dir, MNT_DETACH), 0);
	host_rescan(m[0].h); /* an unmounting that is lazy tells nobody */
	wait_for_halt(0);
	assert_int_equal(status(0).missing, 0);
	assert_int_equal(host_go_on(m[0].h, 1, true), -ESTALE);
	assert_int_equal(count(1, "f0"), FILES);
	/* On the bare directory it is a new tree: what others have is unknown there, not deleted. */
	stop(0);
	start(0);
	wait_in_sync();
	assert_int_equal(count(0, "f0"), FILES);
	assert_int_equal(count(1, "f0"), FILES);
}

static void mounted_over(void **state)
{
	(void)state;
	if (!may_mount)
		no_rights();
	fill();
	assert_int_equal(mount("replica-halt", m[0].dir, "tmpfs", 0, NULL), 0);
	host_rescan(m[0].h);
	wait_for_halt(0);
	assert_int_equal(status(0).missing, 0);
	assert_int_equal(count(1, "f0"), FILES);
	stop(0);
	assert_int_equal(umount2(m[0].dir, 0), 0);
	start(0);
	wait_in_sync();
	assert_int_equal(count(0, "f0"), FILES);
	assert_int_equal(count(1, "f0"), FILES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_at_once, setup, teardown), cmocka_unit_test_setup_teardown(not_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(one_by_one, setup, teardown), cmocka_unit_test_setup_teardown(all_the_time, setup, teardown),
		cmocka_unit_test_setup_teardown(unmounted, setup, teardown), cmocka_unit_test_setup_teardown(mounted_over, setup, teardown),
	};

	logmsg_init("test", LOGMSG_ERROR);
	may_mount = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
