/*
 * fuzz_options.c - any bytes as mount options, as fstab and command lines give them to mount.clonefs: with and without -s, completed, and those of the
 * store handed on to it. Input: a byte of flags, then the list (NUL ends it; what follows is the address).
 */
#include "../../fs/cmd/commands.h"
#include "fuzz.h"
#include "mount.h"
#include "s3_config.h"

#include <stdlib.h>
#include <unistd.h>

static char dir[] = "/tmp/fuzz-options.XXXXXX";

static void remove_dir(void)
{
	(void)rmdir(dir);
}

static void set_up(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	FUZZ_ASSERT(mkdtemp(dir));
	atexit(remove_dir);
}

/* mount.clonefs -f: everything but the mount. */
static void helper(char *list, char *address, bool sloppy)
{
	char name[] = "mount.clonefs", f[] = "-f", s[] = "-s", n[] = "-n", o[] = "-o", half[] = "rw,cache_size=1G";
	char *argv[] = { name, f, sloppy ? s : n, o, half, o, list, address, dir, NULL };

	(void)cmd_mount_helper((int)(sizeof argv / sizeof argv[0]) - 1, argv);
}

static void parse(const char *list, const char *address)
{
	struct mount_config c;
	struct s3_config s;

	mount_config_init(&c);
	c.address = strdup(address);
	c.mountpoint = strdup("/mnt");
	FUZZ_ASSERT(c.address && c.mountpoint);
	if (mount_options_parse(&c, list) == 0 && mount_config_finish(&c) == 0) {
		/* What was accepted is what volume.h and the store are promised. */
		FUZZ_ASSERT(c.cache_dir[0] == '/' && c.control_path[0] == '/' && strlen(c.node) >= 1 && strlen(c.node) <= 64);
		FUZZ_ASSERT(c.volume.uploads <= 64 && c.volume.max_lag_ms >= c.volume.commit_interval_ms && c.volume.commit_interval_ms >= 10);
		FUZZ_ASSERT(c.readahead_kb <= 65536 && c.threads <= 64);
		(void)s3_config_make("s3://bucket/prefix", c.store_options, &s);
	}
	mount_config_free(&c);
	(void)s3_config_make(address, NULL, &s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *list, *address;
	size_t len;

	if (size < 1 || size > 4096)
		return 0;
	set_up();
	list = calloc(1, size + 1);
	FUZZ_ASSERT(list);
	memcpy(list, data + 1, size - 1);
	len = strlen(list);
	address = len + 1 < size ? list + len + 1 : list + len;
	parse(list, address);
	helper(list, address, data[0] & 1);
	free(list);
	return 0;
}
