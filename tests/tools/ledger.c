/*
 * ledger.c - keeps lines: each line read from stdin is appended to a file with
 * the time at which it came, and is on disk before the next is read. The
 * tests' and quickstart's record of what a database acknowledged.
 *
 *   ledger FILE        lines become "<unix time in ns> <line>"
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int keep(int fd, const char *line)
{
	struct timespec t;
	char out[1200];
	int n;

	clock_gettime(CLOCK_REALTIME, &t);
	n = snprintf(out, sizeof(out), "%lld%09ld %s", (long long)t.tv_sec, t.tv_nsec, line);
	if (n < 0 || (size_t)n >= sizeof(out) || write(fd, out, (size_t)n) != n || fdatasync(fd))
		return -1;
	return 0;
}

int main(int argc, char **argv)
{
	char line[1024];
	int fd;

	if (argc != 2) {
		fprintf(stderr, "Usage: ledger FILE\n");
		return 2;
	}
	fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0) {
		fprintf(stderr, "ledger: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		if (!strchr(line, '\n')) /* torn by the sender's death: not acknowledged */
			break;
		if (keep(fd, line)) {
			fprintf(stderr, "ledger: %s: %s\n", argv[1], strerror(errno));
			return 1;
		}
	}
	return close(fd) ? 1 : 0;
}
