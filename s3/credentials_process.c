/*
 * credentials_process.c - keys from a command (credential_process of a profile).
 * Its output goes from the pipe into secret memory; its errors go to our stderr.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "credentials_impl.h"
#include "err.h"

extern char **environ;

enum { OUTPUT_MAX = 65536, TIMEOUT_MS = 60000, EXIT_MS = 3000 };

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int spawn(const char *command, int out, pid_t *ret_pid)
{
	char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)(uintptr_t)command, NULL };
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	int rc;

	if (posix_spawn_file_actions_init(&files) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attr) != 0) {
		posix_spawn_file_actions_destroy(&files);
		return -ENOMEM;
	}
	sigemptyset(&none);
	rc = posix_spawn_file_actions_adddup2(&files, out, 1);
	if (rc == 0)
		rc = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	/* A group of its own, so that a timeout ends the shell's children too; no signal blocked. */
	if (rc == 0)
		rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
	if (rc == 0)
		rc = posix_spawnattr_setpgroup(&attr, 0);
	if (rc == 0)
		rc = posix_spawnattr_setsigmask(&attr, &none);
	if (rc == 0)
		rc = posix_spawn(ret_pid, "/bin/sh", &files, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return -rc;
}

/* Reads to the end into s->text (OUTPUT_MAX bytes). 0, -ETIMEDOUT, -EFBIG, -errno. */
static int drain(int fd, struct secret *s)
{
	int64_t deadline = now_ms() + TIMEOUT_MS;

	s->len = 0;
	while (1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int64_t left = deadline - now_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		if (!p.revents)
			continue;
		if (s->len == OUTPUT_MAX)
			return -EFBIG;
		n = read(fd, s->text + s->len, OUTPUT_MAX - s->len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		if (n > 0)
			s->len += (size_t)n;
	}
}

/* Waits for its end; what has closed its output and goes on, or was told to end, is given so long. */
static int reap(pid_t pid, int64_t wait_ms, int *ret_status)
{
	int64_t deadline = now_ms() + wait_ms;
	pid_t got;

	while ((got = waitpid(pid, ret_status, WNOHANG)) == 0 && now_ms() < deadline)
		nanosleep(&(struct timespec){ 0, 5000000 }, NULL);
	if (got == 0) {
		kill(-pid, SIGKILL);
		while ((got = waitpid(pid, ret_status, 0)) < 0 && errno == EINTR)
			;
		return -ETIMEDOUT;
	}
	return got < 0 ? -errno : 0;
}

int credentials_process(const char *command, struct credentials_set *s)
{
	struct secret *out = secret_new(NULL, OUTPUT_MAX);
	int fds[2], rc, status = 0;
	pid_t pid;

	if (!out)
		return err_set(-ENOMEM, "out of memory");
	if (pipe2(fds, O_CLOEXEC) != 0) {
		rc = err_set(-errno, "cannot make a pipe: %s", strerror(errno));
		secret_free(out);
		return rc;
	}
	rc = spawn(command, fds[1], &pid);
	close(fds[1]);
	if (rc == 0) {
		rc = drain(fds[0], out);
		if (rc != 0) {
			kill(-pid, SIGKILL);
			(void)reap(pid, EXIT_MS, &status);
		} else {
			rc = reap(pid, EXIT_MS, &status);
		}
	}
	close(fds[0]);
	if (rc != 0)
		rc = err_set(ERR_AUTH, "credential_process failed: %s", strerror(-rc));
	else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		rc = err_set(ERR_AUTH, "credential_process failed with status %d: run it by hand to see why",
			     WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	else
		rc = credentials_from_json("credential_process", out, "SessionToken", s);
	secret_free(out);
	return rc;
}
