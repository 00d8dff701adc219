/* simindex.c - the files of a machine's index: copied, thrown away. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "syncworld.h"

void machine_index_path(const struct machine *m, const char *name, char *ret, size_t cap)
{
	snprintf(ret, cap, "%s/%s", m->dir, name);
}

void simindex_copy(const char *from, const char *to)
{
	char b[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		abort();
	while ((n = read(in, b, sizeof b)) > 0)
		if (write(out, b, (size_t)n) != n)
			abort();
	close(in);
	close(out);
}

void machine_copy_index(const struct machine *from, struct machine *to, const char *name)
{
	char a[256], b[256];

	machine_index_path(from, "data.mdb", a, sizeof a);
	machine_index_path(to, name, b, sizeof b);
	if (access(a, F_OK) == 0)
		simindex_copy(a, b);
}

void machine_forget_index(struct machine *m)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "old.mdb" };
	char path[256];

	for (size_t i = 0; i < 3; i++) {
		machine_index_path(m, names[i], path, sizeof path);
		unlink(path);
	}
}
