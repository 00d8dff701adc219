/*
 * cmd_unmount.c - clonefs unmount: drains through the control socket, then
 * waits until the mount's process has ended, so that the cache directory is free
 * and `released` is written when this returns.
 *
 * Interrupted while it drains: the mount stays as it was.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cmd_drain.h"
#include "commands.h"
#include "control.h"
#include "err.h"

enum { OPT_NO_DRAIN = CMD_LONG(0), OPT_TIMEOUT };

static const struct cmd_option options[] = {
	{ OPT_NO_DRAIN, "no-drain", NULL, "send nothing more: the rest stays in the local log, for the next mount on this node" },
	{ OPT_TIMEOUT, "timeout", "S", "wait this many seconds for the mount's process to end (default 300)" },
};

static const struct cmd_usage usage = {
	"clonefs unmount", "DIR", "Sends what is left of the mount at DIR to the store, and unmounts it.", options, CL_ARRAY_LEN(options),
	"Exit codes: 0 unmounted; 1 failed; 2 wrong call; 3 in use.", CMD_USAGE
};

struct args {
	bool no_drain;
	uint64_t timeout_s;
};

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == OPT_NO_DRAIN)
		a->no_drain = true;
	else if (letter == OPT_TIMEOUT)
		return cmd_number(usage.program, "--timeout", arg, &a->timeout_s);
	return 0;
}

/* 0 once the process is gone; it may be gone already. */
static int wait_end(int pid_fd, int pid, const char *dir, uint64_t timeout_s)
{
	struct pollfd p = { .fd = pid_fd, .events = POLLIN };
	struct progress bar = PROGRESS_INIT;
	int n;

	if (timeout_s > 86400)
		timeout_s = 86400;
	progress_begin(&bar, "waiting for its process", 0);
	while ((n = poll(&p, 1, (int)timeout_s * 1000)) < 0 && errno == EINTR)
		;
	progress_end(&bar);
	if (n > 0)
		return 0;
	return err_set(-ETIMEDOUT, "%s: the mount's process %d has not ended after %llu s; it goes on sending, its log says what it waits for",
		       dir, pid, (unsigned long long)timeout_s);
}

static int mount_pid(const char *dir, int *ret_pid)
{
	struct cmd_drain d;
	int rc;

	cmd_drain_begin(&d, "asking the mount");
	rc = control_call(dir, "{\"do\":\"stat\"}", cmd_drain_line, &d);
	cmd_drain_end(&d);
	*ret_pid = d.pid;
	return rc;
}

int cmd_unmount(int argc, char **argv)
{
	struct args a = { .timeout_s = 300 };
	struct cmd_drain d;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc, pid, pid_fd = -1;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code))
		return code;
	rc = mount_pid(argv[at], &pid);
	if (rc)
		return cmd_fail(usage.program, rc);
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0); /* before it can end: the number may be used again */
	cmd_drain_begin(&d, "sending to the store");
	rc = control_call(argv[at], a.no_drain ? "{\"do\":\"unmount\",\"drain\":false}" : "{\"do\":\"unmount\",\"drain\":true}", cmd_drain_line,
			  &d);
	cmd_drain_end(&d);
	if (!rc && pid_fd >= 0)
		rc = wait_end(pid_fd, pid, argv[at], a.timeout_s);
	if (pid_fd >= 0)
		close(pid_fd);
	return rc ? cmd_fail(usage.program, rc) : CMD_OK;
}
