/*
 * daemon.c - limits, signals and readiness of a process that serves. The signal
 * handler writes an eventfd and a counter; there is no other state.
 */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "compiler.h"
#include "logmsg.h"

void daemon_harden(void)
{
	struct rlimit files, none = { 0, 0 };

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &files) < 0)
			logmsg(LOGMSG_DEBUG, "RLIMIT_NOFILE: %s", strerror(errno));
	}
	/* The memory holds credentials: no core, and no reading of it by others of the same user. */
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		logmsg(LOGMSG_WARNING, "cannot switch core dumps off: %s", strerror(errno));
#ifndef __SANITIZE_ADDRESS__ /* its leak check must trace the process */
	if (prctl(PR_SET_DUMPABLE, 0) < 0)
		logmsg(LOGMSG_WARNING, "cannot keep the process from being dumped: %s", strerror(errno));
#endif
	signal(SIGPIPE, SIG_IGN);
}

/* ---------------------------------------------------------------- signals */

static int stop_fd = -1;
static atomic_uint stop_signals;

void daemon_stop_wake(void)
{
	uint64_t one = 1;
	int saved = errno;
	ssize_t n = write(stop_fd, &one, sizeof(one));

	(void)n; /* a full counter is readable already, which is all that is asked for */
	errno = saved;
}

static void on_signal(int sig)
{
	(void)sig;
	atomic_fetch_add(&stop_signals, 1);
	daemon_stop_wake();
}

int daemon_stop_open(void)
{
	atomic_store(&stop_signals, 0);
	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return stop_fd < 0 ? -errno : stop_fd;
}

int daemon_stop_catch(bool on)
{
	static const int all[] = { SIGTERM, SIGINT, SIGHUP };
	struct sigaction a = { .sa_handler = on ? on_signal : SIG_DFL, .sa_flags = SA_RESTART };

	for (size_t i = 0; i < CL_ARRAY_LEN(all); i++)
		if (sigaction(all[i], &a, NULL) < 0)
			return -errno;
	return 0;
}

unsigned daemon_stop_signals(void)
{
	return atomic_load(&stop_signals);
}

void daemon_stop_close(void)
{
	if (stop_fd >= 0)
		close(stop_fd);
	stop_fd = -1;
}

/* ------------------------------------------------------------- readiness */

void daemon_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (len < 2 || len >= sizeof(a.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(a.sun_path, path, len);
	if (path[0] == '@') /* an abstract name */
		a.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		logmsg(LOGMSG_WARNING, "the service manager at %s cannot be told: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}
