/*
 * fuzz_sync_command.c - any bytes as clonesync's configuration, and as what a running clonesync answers to the commands that ask it.
 * Input: a byte (odd: an answer), then the bytes.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "../../common/ctlsock_client.c"    /* what becomes of an answer is static, */
#include "../../replicator/cmd/cmd_status.c" /* here too */
#include "../../replicator/cmd/ask.c"
#include "../../replicator/cmd/settings.c"

static void write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);

		FUZZ_ASSERT(n > 0);
		data += n;
		size -= (size_t)n;
	}
}

static void configuration(const uint8_t *data, size_t size)
{
	char path[40];
	struct settings s;
	int fd = memfd_create("conf", MFD_CLOEXEC), rc;

	FUZZ_ASSERT(fd >= 0);
	write_all(fd, data, size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	FUZZ_ASSERT(settings_init(&s) == 0);
	rc = settings_load(&s, path);
	FUZZ_ASSERT(rc == 0 || (rc == ERR_CONFIG && strstr(err_last(), path)));
	FUZZ_ASSERT(s.peer_count <= HOST_PEERS_MAX && s.state_dir && s.state_dir[0] && (!s.tree || s.tree[0]));
	for (unsigned i = 0; i < s.peer_count; i++)
		FUZZ_ASSERT(s.peers[i][0]);
	settings_free(&s);
	close(fd);
}

struct heard { struct json_object *members; struct wait_args wait; };

static int hear(void *user, const char *line)
{
	struct heard *h = user;

	FUZZ_ASSERT(strlen(line) < CTLSOCK_REPLY_MAX);
	(void)wait_line(&h->wait, line);
	return keep_member(h->members, line);
}

static void answer(const uint8_t *data, size_t size)
{
	struct heard h = { json_object_new_array(), { .bar = PROGRESS_INIT } };
	struct json_object *last = NULL;
	int ends[2], big = 1 << 20;

	FUZZ_ASSERT(h.members && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	(void)setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
	write_all(ends[0], data, size);
	shutdown(ends[0], SHUT_WR);
	if (ctlsock_ask(ends[1], "{\"do\":\"status\"}", hear, &h, &last) == 0) {
		(void)ctlsock_result(last, "clonesync");
		print_status(last);
		for (size_t i = 0; i < json_object_array_length(h.members); i++)
			print_member(json_object_array_get_idx(h.members, i));
	}
	json_object_put(last);
	json_object_put(h.members);
	close(ends[0]);
	close(ends[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > 80000)
		return 0;
	if (data[0] & 1)
		answer(data + 1, size - 1);
	else
		configuration(data + 1, size - 1);
	return 0;
}
