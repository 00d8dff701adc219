/* test_replica_owners.c - a name service that cannot answer is not one that says no: nobody's file becomes somebody else's for that. The C library's questions are answered here. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "tree.h"

#define ALICE 70000u /* and upwards: every case has an id of its own, since answers are kept for a while */

static char top[64], root[80];
static struct tree *t;
static int away; /* what the service fails with; 0: it answers */
static unsigned asked;

/* alice-N has id N, as user and as group; nobody else has one. */
static int look(const char *name, unsigned id, char *b, size_t cap, unsigned *ret)
{
	unsigned n = id;

	asked++;
	if (away || (name && sscanf(name, "alice-%u", &n) != 1))
		return 0;
	if (n < ALICE || n > ALICE + 100)
		return 0;
	snprintf(b, cap, "alice-%u", n);
	*ret = n;
	return 1;
}

static int user(const char *name, unsigned id, struct passwd *pw, char *b, size_t cap, struct passwd **ret)
{
	*ret = NULL;
	if (!look(name, id, b, cap, &pw->pw_uid))
		return away;
	pw->pw_name = b;
	*ret = pw;
	return 0;
}

static int group(const char *name, unsigned id, struct group *gr, char *b, size_t cap, struct group **ret)
{
	*ret = NULL;
	if (!look(name, id, b, cap, &gr->gr_gid))
		return away;
	gr->gr_name = b;
	*ret = gr;
	return 0;
}

int getpwnam_r(const char *name, struct passwd *pw, char *b, size_t cap, struct passwd **ret)
{
	return user(name, 0, pw, b, cap, ret);
}

int getpwuid_r(uid_t id, struct passwd *pw, char *b, size_t cap, struct passwd **ret)
{
	return user(NULL, id, pw, b, cap, ret);
}

int getgrnam_r(const char *name, struct group *gr, char *b, size_t cap, struct group **ret)
{
	return group(name, 0, gr, b, cap, ret);
}

int getgrgid_r(gid_t id, struct group *gr, char *b, size_t cap, struct group **ret)
{
	return group(NULL, id, gr, b, cap, ret);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	(void)st;
	(void)flag;
	(void)w;
	return remove(path);
}

static int setup(void **state)
{
	(void)state;
	snprintf(top, sizeof top, "/var/tmp/replica-owners.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(root, sizeof root, "%s/tree", top);
	away = 0;
	return mkdir(root, 0755) || tree_posix_open(root, &t);
}

static int teardown(void **state)
{
	(void)state;
	t->free(t);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, unsigned uid, unsigned gid)
{
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/%s", root, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, uid, gid), 0);
	close(fd);
}

/* What it fails with: how describing and dressing go, of somebody who was not asked for yet. */
static void described_and_dressed(unsigned id, int fails, int rc)
{
	struct tree_owner owner;
	struct tree_stat st;
	struct entry e;

	entry_init(&e);
	away = 0;
	put("f", ALICE, ALICE);
	assert_int_equal(t->describe(t, "f", &st, &e), 0);
	away = fails;
	/* alice has another number where it comes from, which is somebody's here. */
	snprintf(e.owner, sizeof e.owner, "alice-%u", id + 1);
	e.uid = id;
	assert_int_equal(t->dress(t, "f", &e, &owner), rc);
	assert_int_equal(t->stat(t, "f", &st), 0);
	assert_int_equal(st.id.uid, rc ? ALICE : id);
	entry_free(&e);
	put("g", id + 2, id + 2);
	assert_int_equal(t->describe(t, "g", &st, &e), rc);
	assert_string_equal(e.owner, "");
	assert_string_equal(e.group, "");
	/* Who is known is so all the same. */
	put("h", ALICE, ALICE);
	assert_int_equal(t->describe(t, "h", &st, &e), 0);
	assert_int_equal(strncmp(e.owner, "alice-", 6), 0);
	entry_free(&e);
}

static void it_fails(void **state)
{
	(void)state;
	described_and_dressed(ALICE + 10, EIO, ERR_NO_NAMES);
	described_and_dressed(ALICE + 15, EAGAIN, ERR_NO_NAMES);
	described_and_dressed(ALICE + 20, EMFILE, ERR_NO_NAMES);
	described_and_dressed(ALICE + 25, access("/etc/passwd", F_OK) == 0 ? ENOENT : EIO, ERR_NO_NAMES);
	described_and_dressed(ALICE + 30, ERANGE, ERR_NO_NAMES);
}

static void there_is_no_such_name(void **state)
{
	(void)state;
	described_and_dressed(ALICE + 10, ESRCH, 0);
}

/* A service that is away may take long to say so. */
static void it_is_not_asked_for_each_file(void **state)
{
	struct tree_stat st;
	struct entry e;
	unsigned once;

	(void)state;
	entry_init(&e);
	put("f", ALICE, ALICE);
	away = EIO;
	assert_int_equal(t->describe(t, "f", &st, &e), ERR_NO_NAMES);
	once = asked;
	for (int i = 0; i < 10; i++)
		assert_int_equal(t->describe(t, "f", &st, &e), ERR_NO_NAMES);
	assert_true(asked - once < 10);
	entry_free(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(there_is_no_such_name, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_not_asked_for_each_file, setup, teardown),
	};

	return cmocka_run_group_tests_name("replica_owners", tests, NULL, NULL);
}
