/*
 * crashwork.c - endless random work on a few files, for a machine that is going to lose power: the Kth operation follows from seed and K alone, so that
 * whoever knows the seed knows the state after any K.
 *
 *   crashwork DIR SEED ACKED [go]
 *
 * First finds the state that DIR is in: the greatest K up to ACKED + 3000 after which the files are exactly these. Prints "found K", or "lost K" where K is less
 * than ACKED (an fsync said that ACKED was safe), or "wrong" where it is the state after none. Exits with 1 unless found. With "go" it
 * goes on from K until it is stopped: "ack K NS" is written behind each fsync that succeeded: K operations are safe, and the last of them was done at NS
 * (the wall clock). Every operation is one of the volume's, whole or absent.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../lib/rng.h"

#define FILES 6u
#define FILE_BYTES 131072u
#define WRITE_BYTES 20000u
#define AHEAD 3000u

struct file { bool there; uint32_t size; uint8_t data[FILE_BYTES]; };

static struct file model[FILES], seen[FILES];
static uint64_t seed;
static uint8_t buffer[WRITE_BYTES];

enum kind { CREATE, WRITE, TRUNCATE, PUNCH, UNLINK, RENAME, NOTHING };
struct op { enum kind kind; unsigned file, to; uint32_t off, len; bool sync, sync_dir; };

static void die(const char *what)
{
	printf("wrong: %s: %s\n", what, strerror(errno));
	exit(1);
}

static const char *name(unsigned i)
{
	static char names[2][8];
	static unsigned turn;

	turn ^= 1;
	snprintf(names[turn], sizeof(names[turn]), "f%u", i);
	return names[turn];
}

/* What operation k is, in the model's present state; what it writes is in buffer. */
static struct op choose(uint64_t k)
{
	uint64_t r = seed * 1000003 + k;
	struct op o = { .file = (unsigned)rng_below(&r, FILES), .to = (unsigned)rng_below(&r, FILES) };
	struct file *f = &model[o.file];
	unsigned dice = (unsigned)rng_below(&r, 20);

	o.sync = rng_below(&r, 4) == 0;
	o.sync_dir = rng_below(&r, 3) == 0;
	o.len = 1 + (uint32_t)rng_below(&r, rng_below(&r, 3) ? 4096 : WRITE_BYTES);
	o.off = (uint32_t)rng_below(&r, FILE_BYTES - o.len);
	if (rng_below(&r, 2))
		o.off &= ~4095u;
	if (!f->there)
		o.kind = CREATE;
	else if (dice < 14)
		o.kind = WRITE;
	else if (dice < 16)
		o.kind = TRUNCATE;
	else if (dice < 17)
		o.kind = PUNCH;
	else if (dice < 18)
		o.kind = UNLINK;
	else
		o.kind = o.file == o.to ? NOTHING : RENAME;
	if (o.kind == WRITE && f->size && rng_below(&r, 3) == 0 && f->size + o.len <= FILE_BYTES)
		o.off = f->size;
	if (o.kind == WRITE)
		rng_fill(&r, buffer, o.len);
	return o;
}

static void imagine(const struct op *o)
{
	struct file *f = &model[o->file];
	uint32_t end = o->off + o->len;

	switch (o->kind) {
	case CREATE:
		f->there = true;
		break;
	case WRITE:
		memcpy(f->data + o->off, buffer, o->len);
		f->size = end > f->size ? end : f->size;
		break;
	case TRUNCATE:
		if (o->off < f->size)
			memset(f->data + o->off, 0, f->size - o->off);
		f->size = o->off;
		break;
	case PUNCH:
		memset(f->data + o->off, 0, o->len);
		break;
	case UNLINK:
		memset(f, 0, sizeof(*f));
		break;
	case RENAME:
		model[o->to] = *f;
		memset(f, 0, sizeof(*f));
		break;
	case NOTHING:
		break;
	}
}

/* Writes are direct: of a buffered one that begins inside a page the kernel makes two requests, and the power may go between them. */
static void on_file(int dir, const struct op *o)
{
	int fd = openat(dir, name(o->file), O_WRONLY | O_CLOEXEC | (o->kind == CREATE ? O_CREAT | O_EXCL : 0) | (o->kind == WRITE ? O_DIRECT : 0), 0644);
	bool ok = fd >= 0;

	if (ok && o->kind == WRITE)
		ok = pwrite(fd, buffer, o->len, (off_t)o->off) == (ssize_t)o->len;
	else if (ok && o->kind == TRUNCATE)
		ok = ftruncate(fd, (off_t)o->off) == 0;
	else if (ok && o->kind == PUNCH)
		ok = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)o->off, (off_t)o->len) == 0;
	if (!ok || close(fd))
		die(name(o->file));
}

static void perform(int dir, const struct op *o)
{
	if (o->kind <= PUNCH)
		on_file(dir, o);
	else if (o->kind == UNLINK && unlinkat(dir, name(o->file), 0))
		die("unlink");
	else if (o->kind == RENAME && renameat(dir, name(o->file), dir, name(o->to)))
		die("rename");
}

static void look(int dir)
{
	for (unsigned i = 0; i < FILES; i++) {
		int fd = openat(dir, name(i), O_RDONLY | O_CLOEXEC);
		struct stat st;

		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0 || fstat(fd, &st) || st.st_size > FILE_BYTES || pread(fd, seen[i].data, FILE_BYTES, 0) != st.st_size)
			die(name(i));
		seen[i].there = true;
		seen[i].size = (uint32_t)st.st_size;
		close(fd);
	}
}

static bool same(void)
{
	for (unsigned i = 0; i < FILES; i++)
		if (seen[i].there != model[i].there || seen[i].size != model[i].size)
			return false;
	for (unsigned i = 0; i < FILES; i++)
		if (memcmp(seen[i].data, model[i].data, seen[i].size) != 0)
			return false;
	return true;
}

static unsigned differing(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FILES; i++)
		n += seen[i].there != model[i].there || seen[i].size != model[i].size || memcmp(seen[i].data, model[i].data, seen[i].size) != 0;
	return n;
}

/* The greatest K with the fewest files that differ. */
static uint64_t find(uint64_t acked, unsigned *ret_differing)
{
	uint64_t k, best = 0;

	*ret_differing = differing();
	for (k = 1; k <= acked + AHEAD; k++) {
		struct op o = choose(k);

		imagine(&o);
		if (same() || (*ret_differing && differing() <= *ret_differing)) {
			*ret_differing = differing();
			best = k;
		}
	}
	return best;
}

/* Where the files differ from the state after k, which is the nearest. */
static void explain(uint64_t k)
{
	memset(model, 0, sizeof(model));
	for (uint64_t i = 1; i <= k; i++) {
		struct op o = choose(i);

		imagine(&o);
	}
	printf("wrong: the nearest is %" PRIu64 ":", k);
	for (unsigned i = 0; i < FILES; i++) {
		uint32_t from = 0, to = FILE_BYTES;

		while (from < FILE_BYTES && seen[i].data[from] == model[i].data[from])
			from++;
		while (to > from && seen[i].data[to - 1] == model[i].data[to - 1])
			to--;
		if (seen[i].there != model[i].there || seen[i].size != model[i].size || from < to)
			printf(" %s: there %d of %d, size %u of %u, bytes %u to %u;", name(i), seen[i].there, model[i].there, seen[i].size, model[i].size, from, to);
	}
	for (uint64_t i = k - (k > 2 ? 2 : k); i < k + 2; i++) {
		struct op o = choose(i + 1); /* those behind k only about: its state is not the one they were chosen in */

		printf(" %" PRIu64 ": kind %d of %s, %u bytes at %u;", i + 1, (int)o.kind, name(o.file), o.len, o.off);
	}
	putchar('\n');
}

static void sync_one(int dir, const struct op *o)
{
	int fd = o->sync_dir || !model[o->file].there ? dup(dir) : openat(dir, name(o->file), O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd))
		die("fsync");
	close(fd);
}

int main(int argc, char **argv)
{
	struct timespec t;
	uint64_t k, acked;
	char line[64];
	int dir;
	unsigned off;

	if (argc != 4 && argc != 5) {
		fprintf(stderr, "Usage: crashwork DIR SEED ACKED [go]\n");
		return 2;
	}
	seed = strtoull(argv[2], NULL, 10);
	acked = strtoull(argv[3], NULL, 10);
	dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		die(argv[1]);
	look(dir);
	k = find(acked, &off);
	if (off)
		explain(k);
	else
		printf(k < acked ? "lost %" PRIu64 "\n" : "found %" PRIu64 "\n", k);
	fflush(stdout);
	if (off || k < acked)
		return 1;
	memcpy(model, seen, sizeof(model));
	while (argc == 5) {
		struct op o = choose(++k);
		int n;

		imagine(&o);
		perform(dir, &o);
		if (!o.sync)
			continue;
		clock_gettime(CLOCK_REALTIME, &t);
		sync_one(dir, &o);
		n = snprintf(line, sizeof(line), "ack %" PRIu64 " %lld%09ld\n", k, (long long)t.tv_sec, t.tv_nsec);
		if (write(STDOUT_FILENO, line, (size_t)n) != n)
			return 1;
	}
	return 0;
}
