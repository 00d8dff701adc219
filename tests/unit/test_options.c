/* test_options.c - mount(8) options to a mount_config. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "mount.h"

static struct mount_config config;

static int setup(void **state)
{
	(void)state;
	mount_config_init(&config);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	mount_config_free(&config);
	return 0;
}

static void defaults(void **state)
{
	(void)state;
	assert_int_equal(config.volume.durability, VOLUME_DURABILITY_LOCAL);
	assert_int_equal(config.volume.max_lag_ms, 5000);
	assert_int_equal(config.volume.commit_interval_ms, 1000);
	assert_int_equal(config.volume.uploads, 4);
	assert_int_equal(config.volume.checkpoint_bytes, 32 << 20);
	assert_true(config.drain_on_stop);
	assert_false(config.read_only);
	assert_int_equal(config.allow_other, geteuid() == 0);
	assert_int_equal(mount_options_parse(&config, ""), 0);
	assert_int_equal(mount_options_parse(&config, ",,,"), 0);
	assert_null(config.store_options);
}

static void every_kind(void **state)
{
	(void)state;
	assert_int_equal(mount_options_parse(&config, "cache_dir=/var/c,cache_size=20G,node=alpha,durability=store,max_lag=7,commit_interval=250ms,"
					     "uploads=8,outage_timeout=2m,takeover,rw,metrics=127.0.0.1:9100,control=/run/x.sock,io_uring,"
					     "retry=90,threads=3,log_file=/var/log/c,nosuid,nodev,noexec,database,nonempty,noxattr,no_drain,readahead=256K,"
					     "checkpoint_size=8M,df_size=1P,fsname=db"), 0);
	assert_string_equal(config.cache_dir, "/var/c");
	assert_int_equal(config.volume.cache_bytes, 20ull << 30);
	assert_string_equal(config.node, "alpha");
	assert_int_equal(config.volume.durability, VOLUME_DURABILITY_STORE);
	assert_int_equal(config.volume.max_lag_ms, 7000);
	assert_int_equal(config.volume.commit_interval_ms, 250);
	assert_int_equal(config.volume.uploads, 8);
	assert_int_equal(config.volume.outage_timeout_ms, 120000);
	assert_true(config.takeover && config.io_uring && config.nosuid && config.nodev && config.noexec && config.database && config.nonempty && config.no_xattr);
	assert_false(config.read_only || config.drain_on_stop);
	assert_string_equal(config.metrics, "127.0.0.1:9100");
	assert_string_equal(config.control_path, "/run/x.sock");
	assert_string_equal(config.log_file, "/var/log/c");
	assert_string_equal(config.fsname, "db");
	assert_int_equal(config.retry_s, 90);
	assert_int_equal(config.threads, 3);
	assert_int_equal(config.readahead_kb, 256);
	assert_int_equal(config.volume.checkpoint_bytes, 8 << 20);
	assert_int_equal(config.volume.df_bytes, 1ull << 50);
}

static void fstab_words(void **state)
{
	(void)state;
	assert_int_equal(mount_options_parse(&config, "defaults,_netdev,nofail,noauto,user=bob,users,x-systemd.automount,"
					     "x-systemd.requires=a.service,X-mount.mkdir,noatime,relatime,comment=hello,group"), 0);
	assert_null(config.store_options);
	assert_null(config.node);
}

static void later_ones_win(void **state)
{
	(void)state;
	assert_int_equal(mount_options_parse(&config, "ro,nosuid,cache_dir=/a,drain"), 0);
	assert_true(config.read_only && config.nosuid && config.drain_on_stop);
	assert_int_equal(mount_options_parse(&config, "rw,suid,cache_dir=/b,no_drain"), 0);
	assert_false(config.read_only || config.nosuid || config.drain_on_stop);
	assert_string_equal(config.cache_dir, "/b");
}

static void times_and_sizes(void **state)
{
	static const struct { const char *text; uint64_t ms; } times[] = {
		{ "max_lag=5", 5000 }, { "max_lag=5s", 5000 }, { "max_lag=1500ms", 1500 }, { "max_lag=2m", 120000 }, { "max_lag=1h", 3600000 },
		{ "max_lag=0.5", 500 }, { "max_lag=1.25s", 1250 }, { "max_lag=unlimited", UINT64_MAX },
	};
	static const struct { const char *text; uint64_t bytes; } sizes[] = {
		{ "cache_size=1048576", 1048576 }, { "cache_size=64M", 64ull << 20 }, { "cache_size=1.5G", 3ull << 29 }, { "cache_size=2t", 2ull << 40 },
		{ "cache_size=3GiB", 3ull << 30 }, { "cache_size=100k", 102400 },
	};

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(times); i++) {
		assert_int_equal(mount_options_parse(&config, times[i].text), 0);
		assert_int_equal(config.volume.max_lag_ms, times[i].ms);
	}
	for (size_t i = 0; i < CL_ARRAY_LEN(sizes); i++) {
		assert_int_equal(mount_options_parse(&config, sizes[i].text), 0);
		assert_int_equal(config.volume.cache_bytes, sizes[i].bytes);
	}
}

/* Each of them is refused, and the message names what was wrong. */
static void wrong_ones(void **state)
{
	static const struct { const char *text, *named; } wrong[] = {
		{ "colour=red", "colour" }, { "cachedir=/x", "cachedir" }, { "cache_size=lots", "cache_size" }, { "cache_size=", "cache_size" },
		{ "cache_size=5X", "cache_size" }, { "cache_size=-1", "cache_size" }, { "cache_size=99999999999999999999", "cache_size" },
		{ "cache_size=99999999P", "cache_size" }, { "cache_size=1.", "cache_size" }, { "cache_size= 5G", "cache_size" },
		{ "max_lag=fast", "max_lag" }, { "max_lag=5d", "max_lag" }, { "commit_interval=unlimited", "commit_interval" },
		{ "durability=maybe", "durability" }, { "durability", "durability" }, { "cache_dir=relative", "cache_dir" },
		{ "cache_dir", "cache_dir" }, { "ro=1", "ro" }, { "takeover=yes", "takeover" }, { "uploads=0", "uploads" }, { "uploads=65", "uploads" },
		{ "uploads=2.5", "uploads" }, { "uploads=4s", "uploads" }, { "threads=0", "threads" }, { "readahead=1G", "readahead" },
		{ "control=here", "control" }, { "remount", "remount" }, { "sync", "sync" }, { "writeback_cache", "writeback_cache" },
		{ "region", "region" }, { "=5", "\"\"" }, { "retry=1x", "retry" },
	};

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(wrong); i++) {
		err_clear();
		assert_int_equal(mount_options_parse(&config, wrong[i].text), ERR_CONFIG);
		assert_non_null(strstr(err_last(), wrong[i].named));
	}
	/* What stands before the wrong one was obeyed, what comes after was not. */
	assert_int_equal(mount_options_parse(&config, "nodev,bogus,noexec"), ERR_CONFIG);
	assert_true(config.nodev);
	assert_false(config.noexec);
}

static void store_ones(void **state)
{
	(void)state;
	assert_int_equal(mount_options_parse(&config, "endpoint=http://127.0.0.1:7480,ro,path_style"), 0);
	assert_int_equal(mount_options_parse(&config, "region=eu-west-1,nosuid,sse=aws:kms"), 0);
	assert_string_equal(config.store_options, "endpoint=http://127.0.0.1:7480,path_style=on,region=eu-west-1,sse=aws:kms");
}

static void commas_in_values(void **state)
{
	(void)state;
	assert_int_equal(mount_options_parse(&config, "cache_dir=/a\\,b\\\\c,node=n,profile=x\\,y"), 0);
	assert_string_equal(config.cache_dir, "/a,b\\c");
	assert_string_equal(config.node, "n");
	assert_string_equal(config.store_options, "profile=x\\,y");
	/* A backslash before anything else is a backslash; at the end as well. */
	assert_int_equal(mount_options_parse(&config, "cache_dir=/a\\b\\"), 0);
	assert_string_equal(config.cache_dir, "/a\\b\\");
}

static void set(const char *address, const char *mountpoint)
{
	config.address = strdup(address);
	config.mountpoint = strdup(mountpoint);
	assert_non_null(config.address);
	assert_non_null(config.mountpoint);
}

static void finish_fills_in(void **state)
{
	char *first;

	(void)state;
	set("s3://bucket/db", "/mnt/x");
	assert_int_equal(mount_config_finish(&config), 0);
	assert_true(config.node && config.node[0]);
	assert_true(config.cache_dir && config.cache_dir[0] == '/');
	assert_true(config.control_path && config.control_path[0] == '/');
	assert_string_equal(config.fsname, "s3://bucket/db");
	/* The same address finds the same cache again; another one does not, and a reader has one of its own. */
	first = strdup(config.cache_dir);
	assert_non_null(first);
	free(config.cache_dir);
	config.cache_dir = NULL;
	assert_int_equal(mount_config_finish(&config), 0);
	assert_string_equal(config.cache_dir, first);
	free(config.cache_dir);
	config.cache_dir = NULL;
	config.read_only = true;
	assert_int_equal(mount_config_finish(&config), 0);
	assert_string_not_equal(config.cache_dir, first);
	free(config.cache_dir);
	config.cache_dir = NULL;
	config.read_only = false;
	free(config.address);
	config.address = strdup("s3://bucket/files");
	assert_int_equal(mount_config_finish(&config), 0);
	assert_string_not_equal(config.cache_dir, first);
	free(first);
}

static void finish_keeps_what_is_set(void **state)
{
	(void)state;
	set("file:///s", "/mnt/x");
	assert_int_equal(mount_options_parse(&config, "node=n1,cache_dir=/c,control=/run/c,fsname=f"), 0);
	assert_int_equal(mount_config_finish(&config), 0);
	assert_string_equal(config.node, "n1");
	assert_string_equal(config.cache_dir, "/c");
	assert_string_equal(config.control_path, "/run/c");
	assert_string_equal(config.fsname, "f");
}

static void finish_refuses(void **state)
{
	static const char *const wrong[] = {
		"cache_size=1M", "max_lag=500ms", "commit_interval=1ms,max_lag=5", "commit_interval=2h,max_lag=3h", "checkpoint_size=4K", "ro,takeover",
		"node=two words", "node=a/b",
		"node=0123456789012345678901234567890123456789012345678901234567890123456789",
	};

	(void)state;
	assert_int_equal(mount_config_finish(&config), ERR_CONFIG); /* no address */
	config.address = strdup("file:///s");
	assert_int_equal(mount_config_finish(&config), ERR_CONFIG); /* no mount point */
	config.mountpoint = strdup("relative");
	assert_int_equal(mount_config_finish(&config), ERR_CONFIG);
	for (size_t i = 0; i < CL_ARRAY_LEN(wrong); i++) {
		mount_config_free(&config);
		mount_config_init(&config);
		set("file:///s", "/mnt/x");
		assert_int_equal(mount_options_parse(&config, wrong[i]), 0);
		err_clear();
		assert_int_equal(mount_config_finish(&config), ERR_CONFIG);
		assert_true(strlen(err_last()) > 20);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(every_kind, setup, teardown),
		cmocka_unit_test_setup_teardown(fstab_words, setup, teardown),
		cmocka_unit_test_setup_teardown(later_ones_win, setup, teardown),
		cmocka_unit_test_setup_teardown(times_and_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(store_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(commas_in_values, setup, teardown),
		cmocka_unit_test_setup_teardown(finish_fills_in, setup, teardown),
		cmocka_unit_test_setup_teardown(finish_keeps_what_is_set, setup, teardown),
		cmocka_unit_test_setup_teardown(finish_refuses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
