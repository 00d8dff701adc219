/*
 * fuzz_control.c - any bytes as what comes over the control socket: to the mount, that serves a volume here, and to the command that asked it.
 * Input: a byte (odd: a mount's answer), then the bytes.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backends.h"
#include "fuzz.h"
#define get_u64 stat_get_u64 /* buf.h has one too */
#include "../../fs/cmd/cmd_stat.c"
#undef get_u64
#include "../../common/ctlsock_client.c" /* what becomes of an answer is static */
#include "../../fs/mount/control_client.c"
#include "../lib/vol.h"

static volatile bool ours; /* or the compiler leaves the comparison out */
static char dir[] = "/tmp/fuzz-control.XXXXXX";
static char path[64];
static struct vol vol;
static struct control *server;
static struct store *store;

static void stop(void *user CL_UNUSED, bool drain CL_UNUSED)
{
}

static void tear_down(void)
{
	char command[64];

	control_stop(server);
	vol_close(&vol, false);
	store_close(store);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	FUZZ_ASSERT(system(command) == 0);
}

static void set_up(void)
{
	struct control_options c = { .address = "mem:", .mountpoint = "/nowhere", .stop = stop };
	struct volume_options o;

	if (server)
		return;
	FUZZ_ASSERT(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/control", dir);
	FUZZ_ASSERT(store_mem_open(0, &store) == 0 && volume_format(store, env_system(), false, 0) == 0);
	vol_options(&o, "fuzz");
	FUZZ_ASSERT(vol_open(&vol, store, dir, &o) == 0);
	c.path = path;
	c.volume = vol.v;
	c.store = store;
	FUZZ_ASSERT(control_start(&c, &server) == 0);
	atexit(tear_down);
}

static void write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* it was closed on: too long a line */
		data += n;
		size -= (size_t)n;
	}
}

/* Each request gets at least one line; the connection ends when ours does. */
static void request(const uint8_t *data, size_t size)
{
	char sink[4096];
	int fd = ctlsock_dial(path);

	FUZZ_ASSERT(fd >= 0);
	write_all(fd, data, size);
	shutdown(fd, SHUT_WR);
	while (recv(fd, sink, sizeof sink, 0) > 0)
		;
	close(fd);
}

static int keep(void *user, const char *line)
{
	FUZZ_ASSERT(strlen(line) < CTLSOCK_REPLY_MAX);
	return keep_line(user, line);
}

static void reply(const uint8_t *data, size_t size)
{
	struct json_object *last = NULL, *o = NULL;
	int ends[2];

	FUZZ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	write_all(ends[0], data, size);
	close(ends[0]);
	if (read_replies(ends[1], keep, &o, &last) == 0) {
		ours = names_mount(last, "/nowhere");
		(void)ctlsock_result(last, "the mount");
		print_mount(o);
		print_store(o);
		(void)print_one(o, "requests.put.requests");
		(void)print_one(o, "ok");
	}
	json_object_put(last);
	json_object_put(o);
	close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 80000)
		return 0;
	set_up();
	if (data[0] & 1)
		reply(data + 1, size - 1);
	else
		request(data + 1, size - 1);
	return 0;
}
