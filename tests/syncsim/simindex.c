/* simindex.c - a machine's index: its files are copied, thrown away; its commits fail (the linker puts __wrap_index_commit in front of the real one). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "index_impl.h"
#include "syncworld.h"

#define FAILS_PERMILLE 60u

int __real_index_commit(struct index_txn *t);
int __wrap_index_commit(struct index_txn *t);

static struct world *world; /* a transaction knows its index alone */

void simindex_init(struct world *w)
{
	world = w;
}

/* Not those of a start: who cannot write its index then is started again. */
int __wrap_index_commit(struct index_txn *t)
{
	for (unsigned i = 0; world && t->changed && i < world->count; i++) {
		struct machine *m = &world->m[i];

		if (m->index != t->x || !m->node || !m->commit_at || --m->commit_at)
			continue;
		world_say(world, "that commit of %u fails", i);
		index_abort(t);
		return -EIO;
	}
	for (unsigned i = 0; world && world->faults && t->changed && i < world->count; i++) {
		struct machine *m = &world->m[i];

		if (m->index != t->x || !m->node || m->sure || !world_chance(world, FAILS_PERMILLE))
			continue;
		world_say(world, "a commit of %u fails", i);
		index_abort(t);
		return world_chance(world, 500) ? -ENOSPC : -EIO;
	}
	return __real_index_commit(t);
}

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
