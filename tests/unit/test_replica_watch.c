/* test_replica_watch.c - does a watch tell of everything? An owner that believes nothing but what it is told must end up with the tree. */
#include <errno.h>
#include <fcntl.h>
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

#include "../lib/rng.h"
#include "err.h"
#include "watch.h"

static char root[64];

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/replica-watch.XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", root);
	return system(command);
}

static const char *at(const char *path)
{
	static _Thread_local char b[4][4400];
	static _Thread_local unsigned which;

	which = (which + 1) % 4;
	snprintf(b[which], sizeof b[which], "%s/%s", root, path);
	return b[which];
}

/* --- an owner: paths told of, in order --- */

#define TOLD_MAX 4000
struct owner {
	pthread_mutex_t mu;
	struct { char path[200]; bool deep; } told[TOLD_MAX];
	unsigned count, lost, blind, gone;
	char blind_dir;
	atomic_bool stuck;
};

static void on_dirty(void *user, const char *path, size_t len, bool deep, bool writing)
{
	struct owner *o = user;

	(void)writing;
	while (atomic_load(&o->stuck))
		usleep(1000);
	pthread_mutex_lock(&o->mu);
	if (o->count < TOLD_MAX && len < sizeof o->told[0].path) {
		memcpy(o->told[o->count].path, path, len);
		o->told[o->count].path[len] = '\0';
		o->told[o->count++].deep = deep;
	}
	pthread_mutex_unlock(&o->mu);
}

static void on_lost(void *user)
{
	struct owner *o = user;

	pthread_mutex_lock(&o->mu);
	o->lost++;
	pthread_mutex_unlock(&o->mu);
}

static void on_blind(void *user, const char *path, size_t len, int rc)
{
	struct owner *o = user;

	assert_int_equal(rc, -ENOSPC);
	assert_int_equal(len, 1);
	pthread_mutex_lock(&o->mu);
	o->blind_dir = path[0];
	o->blind++;
	pthread_mutex_unlock(&o->mu);
}

static void on_gone(void *user)
{
	struct owner *o = user;

	pthread_mutex_lock(&o->mu);
	o->gone++;
	pthread_mutex_unlock(&o->mu);
}

static const struct watch_events events = { on_dirty, on_lost, on_blind, on_gone, NULL };

static struct watch *begin(struct owner *o, uint64_t most)
{
	struct watch_options opt = { root, most, &events, o };
	struct watch *w;

	memset(o, 0, sizeof *o);
	pthread_mutex_init(&o->mu, NULL);
	assert_int_equal(watch_start(&opt, &w), 0);
	return w;
}

static bool was_told(struct owner *o, const char *path)
{
	bool yes = false;

	for (int i = 0; i < 1000 && !yes; i++) {
		pthread_mutex_lock(&o->mu);
		for (unsigned k = 0; k < o->count && !yes; k++)
			yes = strcmp(o->told[k].path, path) == 0;
		pthread_mutex_unlock(&o->mu);
		if (!yes)
			usleep(5000);
	}
	return yes;
}

/* After was_told. */
static bool deeply_told(struct owner *o, const char *path)
{
	bool yes = false;

	pthread_mutex_lock(&o->mu);
	for (unsigned k = 0; k < o->count; k++)
		yes |= strcmp(o->told[k].path, path) == 0 && o->told[k].deep;
	pthread_mutex_unlock(&o->mu);
	return yes;
}

static void forget(struct owner *o)
{
	pthread_mutex_lock(&o->mu);
	o->count = 0;
	pthread_mutex_unlock(&o->mu);
}

static void touch(const char *path)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_APPEND, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

static struct owner owner;

static void each_kind(void **state)
{
	struct watch *w;

	(void)state;
	assert_int_equal(mkdir(at("d"), 0755), 0);
	touch("d/f");
	w = begin(&owner, 0);
	assert_int_equal(watch_count(w), 2);
	assert_int_equal(watch_blind_count(w), 0);
	touch("d/f");
	assert_true(was_told(&owner, "d/f"));
	touch("new");
	assert_true(was_told(&owner, "new"));
	assert_int_equal(symlink("x", at("link")), 0);
	assert_true(was_told(&owner, "link"));
	forget(&owner);
	assert_int_equal(chmod(at("d"), 0700), 0);
	assert_true(was_told(&owner, "d"));
	assert_int_equal(rename(at("d/f"), at("d/g")), 0);
	assert_true(was_told(&owner, "d/f") && was_told(&owner, "d/g"));
	forget(&owner);
	assert_int_equal(unlink(at("d/g")), 0);
	assert_true(was_told(&owner, "d/g"));
	/* A directory that came from elsewhere, with what is in it; its own things under its own name from then on. */
	assert_int_equal(mkdir(at("d/sub"), 0755), 0);
	assert_true(was_told(&owner, "d/sub"));
	touch("d/sub/a");
	assert_true(was_told(&owner, "d/sub/a"));
	forget(&owner);
	assert_int_equal(rename(at("d/sub"), at("e")), 0);
	assert_true(was_told(&owner, "e") && was_told(&owner, "d/sub"));
	assert_true(deeply_told(&owner, "e"));
	assert_false(deeply_told(&owner, "d/sub")); /* gone is all there is to know: it went just now */
	touch("e/b");
	assert_true(was_told(&owner, "e/b"));
	assert_int_equal(watch_count(w), 3);
	forget(&owner);
	assert_int_equal(rmdir(at("d")), 0);
	assert_true(was_told(&owner, "d"));
	assert_false(deeply_told(&owner, "d"));
	touch("last");
	assert_true(was_told(&owner, "last"));
	assert_int_equal(watch_count(w), 2);
	/* The corner is nobody's business. */
	assert_int_equal(mkdir(at(".clonesync"), 0700), 0);
	touch(".clonesync/x");
	touch("after");
	assert_true(was_told(&owner, "after"));
	for (unsigned i = 0; i < owner.count; i++)
		assert_null(strstr(owner.told[i].path, "clonesync"));
	watch_stop(w);
}

static void too_few_watches(void **state)
{
	struct watch *w;

	(void)state;
	assert_int_equal(mkdir(at("a"), 0755), 0);
	assert_int_equal(mkdir(at("b"), 0755), 0);
	assert_int_equal(mkdir(at("c"), 0755), 0);
	w = begin(&owner, 3);
	assert_int_equal(watch_count(w), 3);
	assert_int_equal(watch_blind_count(w), 1);
	assert_int_equal(owner.blind, 1);
	assert_true(watch_limit() > 0);
	/* One goes; the blind one gets its watch, and is told of whole. */
	assert_int_equal(rmdir(at(owner.blind_dir == 'a' ? "b" : "a")), 0);
	touch("marker");
	assert_true(was_told(&owner, "marker"));
	forget(&owner);
	watch_again(w);
	assert_true(was_told(&owner, (char[]){ owner.blind_dir, 0 }));
	assert_true(deeply_told(&owner, (char[]){ owner.blind_dir, 0 }));
	assert_int_equal(watch_blind_count(w), 0);
	watch_stop(w);
}

static void lost_events(void **state)
{
	struct watch *w = begin(&owner, 0);
	unsigned lost = 0, queue = 0;
	char name[32];
	FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");

	(void)state;
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%u", &queue), 1);
	fclose(f);
	touch("first");
	assert_true(was_told(&owner, "first"));
	atomic_store(&owner.stuck, true);
	touch("second"); /* the reader hangs in this one while the kernel's queue fills */
	assert_int_equal(mkdir(at("made-meanwhile"), 0755), 0);
	for (unsigned i = 0; i < queue + 2000; i++) {
		snprintf(name, sizeof name, "f%u", i);
		assert_int_equal(mknod(at(name), S_IFREG | 0644, 0), 0);
	}
	assert_int_equal(mkdir(at("made-meanwhile/deep"), 0755), 0);
	atomic_store(&owner.stuck, false);
	for (int i = 0; i < 2000 && !lost; i++) {
		pthread_mutex_lock(&owner.mu);
		lost = owner.lost;
		pthread_mutex_unlock(&owner.mu);
		usleep(10000);
	}
	assert_true(lost > 0);
	forget(&owner);
	touch("made-meanwhile/deep/x"); /* a directory that no event told of is watched now */
	assert_true(was_told(&owner, "made-meanwhile/deep/x"));
	watch_stop(w);
}

static void root_gone(void **state)
{
	struct watch *w = begin(&owner, 0);
	char away[80];
	unsigned gone = 0;

	(void)state;
	snprintf(away, sizeof away, "%s.away", root);
	assert_int_equal(rename(root, away), 0);
	for (int i = 0; i < 1000 && !gone; i++) {
		pthread_mutex_lock(&owner.mu);
		gone = owner.gone;
		pthread_mutex_unlock(&owner.mu);
		usleep(5000);
	}
	assert_int_equal(gone, 1);
	watch_stop(w);
	assert_int_equal(rename(away, root), 0);
}

static void deep_tree(void **state)
{
	char path[4200] = "";
	struct watch *w;

	(void)state;
	for (unsigned i = 0; i < 900; i++) {
		strcat(path, i ? "/d" : "d");
		assert_int_equal(mkdir(at(path), 0755), 0);
	}
	w = begin(&owner, 0);
	assert_int_equal(watch_count(w), 901);
	assert_int_equal(watch_blind_count(w), 0);
	watch_stop(w);
}

/* --- the owner that believes --- */

#define NAMES 6
#define DEPTH 3
#define SLOTS 6000 /* paths of up to four parts over six names */

struct believer { pthread_mutex_t mu; ino_t ino[SLOTS]; struct timespec mtime[SLOTS]; off_t size[SLOTS]; atomic_uint calls; };

/* A path's number, by its parts; -1 where it is none of ours. */
static int slot_of(const char *path, size_t len)
{
	int n = 0;

	for (size_t i = 0; i < len; i += 2) {
		if (path[i] < 'a' || path[i] >= 'a' + NAMES || (i + 1 < len && path[i + 1] != '/'))
			return -1;
		n = n * (NAMES + 1) + 1 + path[i] - 'a';
	}
	return n < SLOTS ? n : -1;
}

/* Is it a directory? */
static bool look(struct believer *b, const char *path, size_t len)
{
	char p[32];
	struct stat st;
	int n = slot_of(path, len);

	if (n < 0)
		return true;
	memcpy(p, path, len);
	p[len] = '\0';
	memset(&st, 0, sizeof st);
	if (lstat(at(p), &st))
		memset(&st, 0, sizeof st);
	if (S_ISDIR(st.st_mode))
		st.st_size = 0;
	b->ino[n] = st.st_ino;
	b->mtime[n] = S_ISDIR(st.st_mode) ? (struct timespec){ 0, 0 } : st.st_mtim;
	b->size[n] = st.st_size;
	return S_ISDIR(st.st_mode);
}

static void look_below(struct believer *b, const char *path, size_t len)
{
	char p[32];

	(void)look(b, path, len);
	if (len >= 2 * DEPTH + 1)
		return;
	memcpy(p, path, len);
	if (len)
		p[len++] = '/';
	for (char c = 'a'; c < 'a' + NAMES; c++) {
		p[len] = c;
		look_below(b, p, len + 1);
	}
}

static void believe(void *user, const char *path, size_t len, bool deep, bool writing)
{
	struct believer *b = user;

	(void)writing;
	atomic_fetch_add(&b->calls, 1);
	if (len > 2 * DEPTH + 1)
		return;
	pthread_mutex_lock(&b->mu);
	/* What was below a directory that is gone is gone as well. */
	if (!look(b, path, len) || deep)
		look_below(b, path, len);
	pthread_mutex_unlock(&b->mu);
}

static void believe_lost(void *user)
{
	struct believer *b = user;

	pthread_mutex_lock(&b->mu);
	look_below(b, "", 0);
	pthread_mutex_unlock(&b->mu);
}

static void no_blind(void *user, const char *path, size_t len, int rc)
{
	(void)user;
	(void)path;
	(void)len;
	/* A directory that went while it was being watched is none. */
	assert_true(rc == -ENOENT || rc == -ENOTDIR);
}

static void no_gone(void *user)
{
	(void)user;
	fail_msg("the root is there");
}

static void random_path(uint64_t *r, char *out)
{
	size_t parts = 1 + rng_below(r, DEPTH + 1);

	for (size_t i = 0; i < parts; i++) {
		out[2 * i] = (char)('a' + rng_below(r, NAMES));
		out[2 * i + 1] = i + 1 < parts ? '/' : '\0';
	}
}

static void random_change(uint64_t *r)
{
	char p[16], q[16];
	int fd;

	random_path(r, p);
	random_path(r, q);
	switch (rng_below(r, 8)) {
	case 0:
	case 1:
		(void)mkdir(at(p), 0755);
		break;
	case 2:
	case 3:
		fd = open(at(p), O_WRONLY | O_CREAT | O_APPEND, 0644);
		if (fd >= 0) {
			assert_int_equal(write(fd, "yy", 1 + rng_below(r, 2)) > 0, 1);
			close(fd);
		}
		break;
	case 4:
	case 5:
		(void)rename(at(p), at(q));
		break;
	case 6:
		(void)unlink(at(p));
		break;
	default:
		(void)rmdir(at(p));
	}
}

/* However deep: directories are moved into one another. */
static uint64_t directories(const char *path, size_t len)
{
	uint64_t n = 1;
	struct stat st;
	char p[400];

	assert_true(len + 3 < sizeof p);
	memcpy(p, path, len);
	if (len)
		p[len++] = '/';
	for (char c = 'a'; c < 'a' + NAMES; c++) {
		p[len] = c;
		p[len + 1] = '\0';
		if (lstat(at(p), &st) == 0 && S_ISDIR(st.st_mode))
			n += directories(p, len + 1);
	}
	return n;
}

static void nothing_goes_unsaid(void **state)
{
	static const struct watch_events all = { believe, believe_lost, no_blind, no_gone, NULL };
	struct believer *b = calloc(1, sizeof *b), *truth = calloc(1, sizeof *truth);
	struct watch_options o = { root, 0, &all, b };
	struct watch *w;
	uint64_t r = 31;

	(void)state;
	assert_true(b && truth);
	pthread_mutex_init(&b->mu, NULL);
	assert_int_equal(watch_start(&o, &w), 0);
	for (int round = 0; round < 60; round++) {
		unsigned calls = 0;
		bool same = false;

		for (int i = 0; i < 400; i++)
			random_change(&r);
		/* Quiet: told of everything once no more comes; then what is believed is what is. */
		for (int i = 0; i < 400 && !same; i++) {
			calls = atomic_load(&b->calls);
			usleep(5000);
			if (calls != atomic_load(&b->calls))
				continue;
			memset(truth->ino, 0, sizeof truth->ino);
			memset(truth->size, 0, sizeof truth->size);
			memset(truth->mtime, 0, sizeof truth->mtime);
			look_below(truth, "", 0);
			pthread_mutex_lock(&b->mu);
			same = memcmp(b->ino + 1, truth->ino + 1, sizeof b->ino - sizeof b->ino[0]) == 0 &&
			       memcmp(b->size + 1, truth->size + 1, sizeof b->size - sizeof b->size[0]) == 0 &&
			       memcmp(b->mtime + 1, truth->mtime + 1, sizeof b->mtime - sizeof b->mtime[0]) == 0;
			pthread_mutex_unlock(&b->mu);
		}
		for (int n = 1; n < SLOTS && !same; n++)
			if (b->ino[n] != truth->ino[n] || b->size[n] != truth->size[n] || b->mtime[n].tv_nsec != truth->mtime[n].tv_nsec)
				print_message("round %d: slot %d (%c%c%c%c): believed %lu %ld, is %lu %ld\n", round, n,
					      n / 343 ? 'a' - 1 + n / 343 % 7 : '-', n / 49 ? 'a' - 1 + n / 49 % 7 : '-',
					      n / 7 ? 'a' - 1 + n / 7 % 7 : '-', 'a' - 1 + n % 7, (unsigned long)b->ino[n],
					      (long)b->size[n], (unsigned long)truth->ino[n], (long)truth->size[n]);
		assert_true(same);
		for (int i = 0; i < 200 && watch_count(w) != directories("", 0); i++)
			usleep(5000);
		assert_int_equal(watch_count(w), directories("", 0));
		assert_int_equal(watch_blind_count(w), 0);
	}
	watch_stop(w);
	free(b);
	free(truth);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_kind, setup, teardown), cmocka_unit_test_setup_teardown(too_few_watches, setup, teardown),
		cmocka_unit_test_setup_teardown(lost_events, setup, teardown), cmocka_unit_test_setup_teardown(root_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(deep_tree, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_goes_unsaid, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
