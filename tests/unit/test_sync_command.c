/*
 * test_sync_command.c - what clonesync is told by its configuration, and what it says of how far it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compiler.h"
#include "err.h"
/* The program's own parts are in no library. */
#include "../../replicator/cmd/insync.c"
#include "../../replicator/cmd/settings.c"

static char path[64];

static int set_up(void **state CL_UNUSED)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/test_sync_command.XXXXXX");
	fd = mkstemp(path);
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state CL_UNUSED)
{
	return unlink(path);
}

static void write_file(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void a_whole_file(void **state CL_UNUSED)
{
	struct settings s;

	write_file("# a remark\n; another\n\n[clonesync]\ntree = /srv/files\nstate_dir=/var/lib/x\nlisten = :7788\naddress = web1:7788\npeer = web2:1, web3:2\t[::1]:3\npeer = web4:4\n"
		   "name = web1\nmetrics = 127.0.0.1:9\ncluster_key_file = /k\n");
	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(settings_load(&s, path), 0);
	assert_string_equal(s.tree, "/srv/files");
	assert_string_equal(s.state_dir, "/var/lib/x");
	assert_string_equal(s.listen, ":7788");
	assert_string_equal(s.name, "web1");
	assert_string_equal(s.address, "web1:7788");
	assert_string_equal(s.metrics, "127.0.0.1:9");
	assert_string_equal(s.cluster_key_file, "/k");
	assert_int_equal(s.peer_count, 4);
	assert_string_equal(s.peers[0], "web2:1");
	assert_string_equal(s.peers[1], "web3:2");
	assert_string_equal(s.peers[2], "[::1]:3");
	assert_string_equal(s.peers[3], "web4:4");
	/* What comes later wins, peers add up. */
	assert_int_equal(settings_set(&s, "tree", "/other"), 0);
	assert_int_equal(settings_set(&s, "peer", "web5:5"), 0);
	assert_string_equal(s.tree, "/other");
	assert_int_equal(s.peer_count, 5);
	settings_free(&s);
}

static void defaults(void **state CL_UNUSED)
{
	struct settings s;

	write_file("");
	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(settings_load(&s, path), 0);
	assert_null(s.tree);
	assert_null(s.listen);
	assert_null(s.metrics);
	assert_int_equal(s.peer_count, 0);
	assert_string_equal(s.state_dir, "/var/lib/clonesync");
	assert_string_equal(s.cluster_key_file, "/etc/clonelove/cluster.key");
	assert_non_null(s.name);
	settings_free(&s);
}

static void nonsense(void **state CL_UNUSED)
{
	static const struct { const char *text, *says; } bad[] = {
		{ "tree = /a\nfrobnicate = 1\n", "line 2: there is no setting frobnicate" }, { "tree\n", "line 1: " }, { "tree =\n", "line 1: tree has no value" },
		{ "[other]\ntree = /a\n", "[other]" },
	};
	struct settings s;

	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++) {
		write_file(bad[i].text);
		assert_int_equal(settings_init(&s), 0);
		assert_int_equal(settings_load(&s, path), ERR_CONFIG);
		assert_non_null(strstr(err_last(), path));
		assert_non_null(strstr(err_last(), bad[i].says));
		settings_free(&s);
	}
	assert_int_equal(settings_init(&s), 0);
	assert_int_equal(settings_load(&s, "/does/not/exist"), -ENOENT);
	assert_int_equal(settings_find(&s, "/does/not/exist"), -ENOENT);
	for (unsigned i = 0; i < HOST_PEERS_MAX; i++)
		assert_int_equal(settings_set(&s, "peer", "a:1"), 0);
	assert_int_equal(settings_set(&s, "peer", "a:1"), ERR_CONFIG);
	settings_free(&s);
}

/* Whatever is not done keeps it from being in sync, each under its own name. */
static void how_far(void **state CL_UNUSED)
{
	const struct node_status done = { .records = 9, .members = 3, .peers = 2, .compared = 2 };
	struct node_status s = done;
	char why[160];

	assert_true(insync(&s, false, why, sizeof(why)));
	assert_string_equal(why, "");
	assert_string_equal(insync_state(&s, false), "in sync");
	s.dirty = 1; /* uploads go on */
	assert_true(insync(&s, false, why, sizeof(why)));
	s.wanted = 7;
	assert_false(insync(&s, false, why, sizeof(why)));
	assert_non_null(strstr(why, "7 files"));
	s = done;
	s.compared = 1;
	assert_false(insync(&s, false, why, sizeof(why)));
	assert_string_equal(insync_state(&s, false), "behind");
	s = done;
	s.joining = true;
	assert_false(insync(&s, false, why, sizeof(why)));
	s = done;
	s.scanning = true;
	assert_false(insync(&s, false, why, sizeof(why)));
	s = done;
	s.halted = true;
	assert_false(insync(&s, true, why, sizeof(why)));
	assert_string_equal(insync_state(&s, true), "halted");
	s = done;
	assert_false(insync(&s, true, why, sizeof(why)));
	s.peers = s.compared = 0;
	assert_false(insync(&s, false, why, sizeof(why)));
	assert_string_equal(insync_state(&s, false), "alone");
	s.members = 0;
	assert_true(insync(&s, false, why, sizeof(why))); /* the only member there is */
	s.forgotten = true;
	assert_false(insync(&s, false, why, sizeof(why)));
	assert_string_equal(insync_state(&s, false), "forgotten");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_whole_file, set_up, tear_down), cmocka_unit_test_setup_teardown(defaults, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nonsense, set_up, tear_down), cmocka_unit_test(how_far),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
