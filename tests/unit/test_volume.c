/*
 * test_volume.c - the engine on a real disk and real threads, over the store in memory: what was acknowledged is there after any
 * kind of end, and two writers never both go on.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends.h"
#include "err.h"
#include "fault.h"
#include "object.h"
#include "../lib/vol.h"

struct world { struct store *store; char base[64]; };

static const char *sub(struct world *w, const char *name)
{
	static char path[2][128];
	static int i;

	i = !i;
	snprintf(path[i], sizeof path[i], "%s/%s", w->base, name);
	return path[i];
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	strcpy(w->base, "/tmp/test_volume.XXXXXX");
	if (!mkdtemp(w->base) || store_mem_open(0, &w->store))
		return -1;
	if (volume_format(w->store, env_system(), false, 1))
		return -1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char cmd[128];

	store_close(w->store);
	snprintf(cmd, sizeof cmd, "rm -rf %s", w->base);
	if (system(cmd))
		return -1;
	free(w);
	return 0;
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	size_t i;

	for (i = 0; i < n; i++) {
		seed = seed * 1103515245u + 12345u;
		p[i] = (uint8_t)(seed >> 16);
	}
}

static void put(struct vol *t, const char *name, size_t len, unsigned seed)
{
	uint8_t *p = malloc(len + 1);

	fill(p, len, seed);
	assert_int_equal(vol_put_file(t, name, p, len), 0);
	free(p);
}

static void check(struct vol *t, const char *name, size_t len, unsigned seed)
{
	uint8_t *want = malloc(len + 1), *got;
	size_t n;
	int rc = vol_get_file(t, name, &got, &n);

	if (rc)
		fail_msg("%s: %s: %s", name, err_text(rc), err_last());
	fill(want, len, seed);
	assert_int_equal(n, len);
	assert_memory_equal(got, want, len);
	free(want);
	free(got);
}

static void must_open(struct vol *t, struct world *w, const char *dir, const struct volume_options *o)
{
	int rc = vol_open(t, w->store, sub(w, dir), o);

	if (rc)
		fail_msg("open on %s: %s: %s", dir, err_text(rc), err_last());
}

static void test_clean_close(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct vol t;

	vol_options(&o, "a");
	must_open(&t, w, "a", &o);
	put(&t, "one", 100000, 1);
	put(&t, "big", 20u << 20, 2);
	check(&t, "big", 20u << 20, 2);
	assert_int_equal(vol_close(&t, true), 0);
	/* another machine, nothing local, no takeover needed: it was released */
	vol_options(&o, "b");
	must_open(&t, w, "b", &o);
	check(&t, "one", 100000, 1);
	check(&t, "big", 20u << 20, 2);
	assert_int_equal(vol_close(&t, true), 0);
}

static void test_no_drain_same_node(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct vol t;
	int i;
	char name[16];

	vol_options(&o, "a");
	for (i = 0; i < 5; i++) {
		o.commit_interval_ms = i % 2 ? 50 : 60000;
		must_open(&t, w, "a", &o);
		snprintf(name, sizeof name, "f%d", i);
		put(&t, name, 5000 + 3000u * (unsigned)i, (unsigned)i);
		assert_int_equal(vol_fsync(&t), 0);
		assert_int_equal(vol_close(&t, false), 0);
	}
	must_open(&t, w, "a", &o);
	for (i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "f%d", i);
		check(&t, name, 5000 + 3000u * (unsigned)i, (unsigned)i);
	}
	assert_int_equal(vol_close(&t, true), 0);
}

static void test_takeover_fences(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct volume_status st;
	struct vol a, b;
	struct vol_wait *wait = vol_wait_new();
	struct volume_attr attr;
	struct volume_cred cred = { 0 };
	int rc;

	vol_options(&o, "a");
	must_open(&a, w, "a", &o);
	put(&a, "kept", 10000, 7);
	assert_int_equal(vol_sync(&a), 0);
	vol_options(&o, "b");
	assert_int_equal(vol_open(&b, w->store, sub(w, "b"), &o), ERR_VOLUME_BUSY);
	o.takeover = true;
	must_open(&b, w, "b", &o);
	check(&b, "kept", 10000, 7);
	/* the old one has not noticed; what it writes may be acknowledged from its lease at most, never by the store */
	rc = volume_mknod(a.v, VOLUME_ROOT_INO, "late", 4, S_IFREG | 0600, 0, &cred, &attr, vol_wait_of(wait));
	if (rc == 0)
		assert_int_equal(vol_sync(&a), -EIO);
	volume_status(a.v, &st);
	assert_int_equal(st.state, VOLUME_FENCED);
	rc = volume_mknod(a.v, VOLUME_ROOT_INO, "later", 5, S_IFREG | 0600, 0, &cred, &attr, vol_wait_of(wait));
	assert_int_equal(rc, ERR_FENCED);
	check(&a, "kept", 10000, 7);
	put(&b, "after", 3000, 8);
	assert_int_equal(vol_sync(&b), 0);
	assert_int_equal(vol_close(&b, true), 0);
	vol_close(&a, false);
	/* the old node comes back: its tail is salvaged, not resurrected */
	vol_options(&o, "a");
	must_open(&a, w, "a", &o);
	check(&a, "kept", 10000, 7);
	check(&a, "after", 3000, 8);
	assert_int_equal(volume_lookup(a.v, VOLUME_ROOT_INO, "late", 4, &attr), -ENOENT);
	assert_int_equal(vol_close(&a, true), 0);
	vol_wait_free(wait);
}

static void test_store_durability(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct vol t;
	int i;
	char name[16];

	vol_options(&o, "a");
	o.durability = VOLUME_DURABILITY_STORE;
	o.commit_interval_ms = 60000;
	must_open(&t, w, "a", &o);
	for (i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "s%d", i);
		put(&t, name, 4096, (unsigned)i);
		assert_int_equal(vol_fsync(&t), 0);
	}
	vol_close(&t, false);
	vol_options(&o, "b");
	o.takeover = true;
	must_open(&t, w, "b", &o);
	for (i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "s%d", i);
		check(&t, name, 4096, (unsigned)i);
	}
	assert_int_equal(vol_close(&t, true), 0);
}

static void test_checkpoints(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct volume_status st;
	struct vol t;
	int round, i;
	char name[32];

	vol_options(&o, "a");
	o.checkpoint_bytes = 20000;
	for (round = 0; round < 6; round++) {
		must_open(&t, w, round % 2 ? "a" : "b", &o);
		for (i = 0; i < 100; i++) {
			snprintf(name, sizeof name, "c%d-%d", round, i);
			put(&t, name, 100 + (unsigned)i * 37, (unsigned)(i + round));
			if (i % 10 == 0)
				assert_int_equal(vol_sync(&t), 0);
		}
		usleep(300000);
		volume_status(t.v, &st);
		assert_true(st.checkpoints > 0);
		assert_int_equal(vol_close(&t, true), 0);
	}
	vol_options(&o, "c");
	o.read_only = true;
	must_open(&t, w, "c", &o);
	for (round = 0; round < 6; round++)
		for (i = 0; i < 100; i++) {
			snprintf(name, sizeof name, "c%d-%d", round, i);
			check(&t, name, 100 + (unsigned)i * 37, (unsigned)(i + round));
		}
	vol_close(&t, false);
}

struct keys { char key[1000][OBJECT_KEY_MAX]; size_t n; };

static int note_key(void *user, const struct store_entry *e)
{
	struct keys *k = user;

	if (k->n < 1000)
		snprintf(k->key[k->n++], OBJECT_KEY_MAX, "%s", e->key);
	return 0;
}

/* Any one log object or claim missing: recovery refuses, and the refusal changes nothing. */
static void test_missing_object_is_damage(void **state)
{
	struct world *w = *state;
	struct volume_options o;
	struct vol t;
	struct keys *k = calloc(1, sizeof *k);
	size_t i;
	char name[16];

	vol_options(&o, "a");
	for (i = 0; i < 8; i++) {
		must_open(&t, w, i % 3 ? "a" : "b", &o);
		snprintf(name, sizeof name, "d%zu", i);
		put(&t, name, 9000, (unsigned)i);
		assert_int_equal(vol_sync(&t), 0);
		put(&t, name, 9000, (unsigned)i);
		assert_int_equal(vol_close(&t, true), 0);
	}
	assert_int_equal(store_list_all(w->store, "log/", NULL, note_key, k), 0);
	assert_int_equal(store_list_all(w->store, "epochs/", NULL, note_key, k), 0);
	vol_options(&o, "r");
	o.read_only = true;
	for (i = 0; i < k->n; i++) {
		struct store_req saved, req;
		uint64_t epoch, slot;
		int rc;
		bool seal = false;

		assert_int_equal(store_get(w->store, k->key[i], &saved), 0);
		if (object_parse_slot_key(k->key[i], &epoch, &slot)) {
			struct object_footer f;

			assert_int_equal(object_decode_footer(saved.data, saved.data_len, saved.data_len, &f), 0);
			seal = f.type == OBJECT_SEAL;
		}
		assert_int_equal(store_delete(w->store, k->key[i]), 0);
		rc = vol_open(&t, w->store, sub(w, "r"), &o);
		/* a seal below the tip carries nothing; an inner claim neither: then all must be there */
		if (rc == 0) {
			size_t j;

			for (j = 0; j < 8; j++) {
				snprintf(name, sizeof name, "d%zu", j);
				check(&t, name, 9000, (unsigned)j);
			}
			vol_close(&t, false);
			if (!seal && strncmp(k->key[i], "epochs/", 7) != 0)
				fail_msg("recovery did not notice that %s is missing", k->key[i]);
		} else if (rc != ERR_DAMAGED) {
			fail_msg("without %s: %s, not damage", k->key[i], err_text(rc));
		}
		assert_int_equal(store_put(w->store, k->key[i], saved.data, saved.data_len, true, &req), 0);
		store_req_reset(&req);
		store_req_reset(&saved);
	}
	free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_clean_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_drain_same_node, setup, teardown),
		cmocka_unit_test_setup_teardown(test_takeover_fences, setup, teardown),
		cmocka_unit_test_setup_teardown(test_store_durability, setup, teardown),
		cmocka_unit_test_setup_teardown(test_checkpoints, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_object_is_damage, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
