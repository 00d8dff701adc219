/*
 * fsxtest.c - random operations on one file, each checked against a model in
 * memory. One seed gives one history (of each thread).
 *
 *   fsxtest FILE SEED OPERATIONS            does and checks them
 *   fsxtest --verify FILE SEED OPERATIONS   only checks that FILE is what they leave behind (after a remount, say)
 *   fsxtest --until-told FILE SEED          does them until the end of its standard input, fsyncs, and prints how many
 *
 * Options before FILE:
 *   --threads N     so many threads on the file, OPERATIONS each. Operations that overlap (or move the end) exclude each other: threads share
 *                   the file, its size and its pages, but each byte has one right value at any time
 *   --grain N       what threads keep apart is rounded to N bytes (65536). Where N is no multiple of a page they share pages, and only do what
 *                   Linux keeps coherent then: no O_DIRECT, no copy_file_range, holes only alone
 *   --seconds N     for so long, in place of the OPERATIONS (which must be 0)
 *   --model PATH    goes on from the model kept there, where there is one (FILE must be as it says), and keeps it there in the end
 *
 * Prints the last operations and where the first wrong byte is, and returns 1, when the file is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/falloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../lib/rng.h"

#define FILE_MAX (6u << 20)
#define LEN_MAX (300u << 10)
#define HISTORY 24
#define SECTOR 512u
#define PAGE 4096u
#define THREADS_MAX 64

enum kind {
	WRITE, APPEND, READ, VECTOR_WRITE, VECTOR_READ, MAP_WRITE, MAP_READ, PRIVATE_MAP, DIRECT_WRITE, DIRECT_READ, TRUNCATE, PUNCH, ZERO, ZERO_KEEP, ALLOCATE,
	ALLOCATE_KEEP, COPY, SYNC, DATA_SYNC, DROP, REOPEN, SEEK, KINDS
};
static const struct { const char *name; unsigned weight; } kinds[KINDS] = {
	[WRITE] = { "write", 12 }, [APPEND] = { "append", 4 }, [READ] = { "read", 8 }, [VECTOR_WRITE] = { "pwritev", 3 }, [VECTOR_READ] = { "preadv", 2 },
	[MAP_WRITE] = { "mmap-write", 8 }, [MAP_READ] = { "mmap-read", 5 }, [PRIVATE_MAP] = { "private-mmap", 1 }, [DIRECT_WRITE] = { "direct-write", 6 },
	[DIRECT_READ] = { "direct-read", 4 }, [TRUNCATE] = { "truncate", 5 }, [PUNCH] = { "punch", 5 }, [ZERO] = { "zero-range", 3 },
	[ZERO_KEEP] = { "zero-range-keep-size", 2 }, [ALLOCATE] = { "fallocate", 2 }, [ALLOCATE_KEEP] = { "fallocate-keep-size", 1 }, [COPY] = { "copy", 4 },
	[SYNC] = { "fsync", 1 }, [DATA_SYNC] = { "fdatasync", 1 }, [DROP] = { "drop", 2 }, [REOPEN] = { "reopen", 2 }, [SEEK] = { "seek", 2 },
};

struct op { enum kind kind; uint32_t off, len, to; uint64_t fill; };

/* The file, and what must be in it. `size` changes under size_lock held for writing; bytes under their grains' locks besides. */
static uint8_t model[FILE_MAX];
static uint32_t size, grain = 65536;
static const char *path;
static pthread_rwlock_t size_lock;
static pthread_mutex_t *grains;
static uint32_t grain_count;

/* Of each thread. */
static _Thread_local uint8_t *buffer, *whole; /* whole: a shared mapping of the file at its longest, kept as long as the descriptors */
static _Thread_local struct op history[HISTORY];
static _Thread_local unsigned long done_ops;
static _Thread_local int fd = -1, direct_fd = -1, append_fd = -1;
static _Thread_local uint64_t state;

static uint64_t next(void)
{
	return rng_next(&state);
}

static uint32_t below(uint32_t n)
{
	return n ? (uint32_t)(next() % n) : 0;
}

static uint8_t byte_at(uint64_t fill, uint32_t i)
{
	uint64_t x = (fill + i / 8) * 0xd6e8feb86659fd93ull;

	return (uint8_t)((x ^ x >> 32) >> i % 8 * 8);
}

static void die(const char *what)
{
	printf("# after %lu operations, the last ones:\n", done_ops);
	for (unsigned i = 0; i < HISTORY; i++) {
		const struct op *o = &history[(done_ops + 1 + i) % HISTORY];

		if (o->len || o->off || o->to)
			printf("#   %s off %u (0x%x) len %u (0x%x) to %u\n", kinds[o->kind].name, o->off, o->off, o->len, o->len, o->to);
	}
	printf("# %s: %s (%s)\n", path, what, strerror(errno));
	exit(1);
}

static void compare(const uint8_t *got, uint32_t off, uint32_t len, const char *how)
{
	char text[160];
	uint32_t i, n = 0;

	if (memcmp(got, model + off, len) == 0)
		return;
	for (i = 0; got[i] == model[off + i]; i++)
		;
	for (uint32_t j = i; j < len; j++)
		n += got[j] != model[off + j];
	snprintf(text, sizeof(text), "%s: byte %u is 0x%02x and should be 0x%02x; %u of %u are wrong, size %u", how, off + i, got[i], model[off + i], n, len,
		 size);
	errno = 0;
	die(text);
}

/* Small and large, aligned and not, near the end and anywhere. */
static uint32_t some_len(void)
{
	switch (below(5)) {
	case 0: return 1 + below(64);
	case 1: return 1 + below(5000);
	case 2: return 4096 * (1 + below(8));
	case 3: return 65536 + below(3) * 4096;
	default: return 1 + below(LEN_MAX);
	}
}

static uint32_t some_off(uint32_t limit)
{
	uint32_t off = below(limit);

	switch (below(4)) {
	case 0: return off & ~4095u;
	case 1: return off & ~65535u;
	case 2: return size && size < limit ? size - below(size < 9000 ? size : 9000) : off;
	default: return off;
	}
}

static bool is_map(enum kind k)
{
	return k == MAP_READ || k == MAP_WRITE || k == PRIVATE_MAP;
}

static struct op make_op(void)
{
	struct op o = { .fill = next() };
	unsigned total = 0, pick;

	for (int i = 0; i < KINDS; i++)
		total += kinds[i].weight;
	pick = below(total);
	while (pick >= kinds[o.kind].weight)
		pick -= kinds[o.kind++].weight;
	if (grain % PAGE && (o.kind == DIRECT_WRITE || o.kind == COPY))
		o.kind = WRITE;
	if (grain % PAGE && o.kind == DIRECT_READ)
		o.kind = READ;
	o.len = some_len();
	o.off = some_off(FILE_MAX - o.len);
	o.to = some_off(FILE_MAX - o.len);
	if (o.kind == DIRECT_WRITE || o.kind == DIRECT_READ) {
		o.off &= ~(SECTOR - 1);
		o.len = (o.len + SECTOR - 1) & ~(SECTOR - 1);
		if (o.off + o.len > FILE_MAX)
			o.len = FILE_MAX - o.off;
	}
	if (o.kind == APPEND)
		o.off = size;
	if (o.kind == APPEND && o.off + o.len > FILE_MAX)
		o.kind = TRUNCATE;
	if (o.kind == TRUNCATE && below(6) == 0)
		o.off = 0;
	if (o.kind == READ || o.kind == VECTOR_READ || o.kind == DIRECT_READ || is_map(o.kind) || o.kind == COPY) {
		/* Within the file: a mapping cannot be touched beyond, and a copy ends there. */
		if (o.off >= size)
			o.off = size ? below(size) & (o.kind == DIRECT_READ ? ~(SECTOR - 1) : UINT32_MAX) : 0;
		if (o.off + o.len > size && o.kind != DIRECT_READ && o.kind != READ && o.kind != VECTOR_READ)
			o.len = size - o.off;
		/* copy_file_range refuses ranges that overlap. */
		if (o.kind == COPY && o.to < o.off + o.len && o.off < o.to + o.len)
			o.len = o.to > o.off ? o.to - o.off : o.off - o.to;
	}
	return o;
}

/* ------------------------------------------------------------------- model */

static void grow(uint32_t end)
{
	if (end > size)
		size = end;
}

/* Bytes beyond the size are always zero in the model. */
static void apply(const struct op *o)
{
	switch (o->kind) {
	case WRITE: case APPEND: case VECTOR_WRITE: case MAP_WRITE: case DIRECT_WRITE:
		for (uint32_t i = 0; i < o->len; i++)
			model[o->off + i] = byte_at(o->fill, i);
		if (o->len)
			grow(o->off + o->len);
		break;
	case TRUNCATE:
		if (o->off < size)
			memset(model + o->off, 0, size - o->off);
		size = o->off;
		break;
	case PUNCH: case ZERO_KEEP:
		memset(model + o->off, 0, o->len);
		break;
	case ZERO:
		memset(model + o->off, 0, o->len);
		grow(o->off + o->len);
		break;
	case ALLOCATE:
		grow(o->off + o->len);
		break;
	case COPY:
		memmove(model + o->to, model + o->off, o->len);
		if (o->len)
			grow(o->to + o->len);
		break;
	default:
		break;
	}
}

/* -------------------------------------------------------------------- file */

static void open_file(int flags)
{
	fd = open(path, O_RDWR | flags, 0644);
	direct_fd = fd < 0 ? -1 : open(path, O_RDWR | O_DIRECT);
	append_fd = direct_fd < 0 ? -1 : open(path, O_WRONLY | O_APPEND);
	if (append_fd < 0)
		die("open");
	whole = mmap(NULL, FILE_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (whole == MAP_FAILED)
		die("mmap of all");
}

static void close_file(void)
{
	if (munmap(whole, FILE_MAX) < 0 || close(fd) < 0 || close(direct_fd) < 0 || close(append_fd) < 0)
		die("close");
}

static void fill_buffer(const struct op *o)
{
	for (uint32_t i = 0; i < o->len; i++)
		buffer[i] = byte_at(o->fill, i);
}

/* Three parts of the buffer, of odd lengths, one of them perhaps empty. */
static void cut(const struct op *o, struct iovec *ret)
{
	size_t a = o->len ? o->fill % o->len : 0, b = o->len > a ? (o->fill >> 20) % (o->len - a) : 0;

	ret[0] = (struct iovec){ buffer, a };
	ret[1] = (struct iovec){ buffer + a, b };
	ret[2] = (struct iovec){ buffer + a + b, o->len - a - b };
}

static void do_write(int to, const struct op *o)
{
	struct iovec parts[3], all = { buffer, o->len };
	ssize_t n;

	fill_buffer(o);
	cut(o, parts);
	if (o->kind == VECTOR_WRITE)
		n = pwritev(to, parts, 3, o->off);
	else if (o->kind == APPEND && o->fill % 2)
		n = write(append_fd, buffer, o->len);
	else if (o->fill % 16 == 0)
		n = pwritev2(to, &all, 1, o->off, RWF_DSYNC);
	else
		n = pwrite(to, buffer, o->len, o->off);
	if (n != (ssize_t)o->len)
		die("write");
}

static void do_read(int from, const struct op *o, const char *how)
{
	uint32_t want = o->off >= size ? 0 : size - o->off < o->len ? size - o->off : o->len;
	struct iovec parts[3];
	ssize_t n;

	cut(o, parts);
	n = o->kind == VECTOR_READ ? preadv(from, parts, 3, o->off) : pread(from, buffer, o->len, o->off);
	if (n != (ssize_t)want) {
		printf("# read gave %zd of %u\n", n, want);
		die(how);
	}
	compare(buffer, o->off, want, how);
}

/* Through a mapping of its own, or through the one that was there all the time. */
static void do_map(const struct op *o)
{
	uint32_t page = o->off & ~(PAGE - 1), len = o->off - page + o->len;
	bool own = o->kind == PRIVATE_MAP || o->fill % 2;
	uint8_t *p = whole + page;

	if (o->len == 0)
		return;
	if (own)
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, o->kind == PRIVATE_MAP ? MAP_PRIVATE : MAP_SHARED, fd, page);
	if (p == MAP_FAILED)
		die("mmap");
	if (o->kind != MAP_WRITE)
		compare(p + (o->off - page), o->off, o->len, own ? "mmap" : "old mmap");
	if (o->kind != MAP_READ) { /* what a private mapping is given stays there: the model does not change */
		fill_buffer(o);
		memcpy(p + (o->off - page), buffer, o->len);
		if (o->fill % 3 == 0 && msync(p, len, o->fill % 5 ? MS_SYNC : MS_ASYNC) < 0)
			die("msync");
	}
	if (own && munmap(p, len) < 0)
		die("munmap");
}

static void do_copy(const struct op *o)
{
	off_t from = o->off, to = o->to;
	uint32_t left = o->len;

	while (left > 0) {
		ssize_t n = copy_file_range(fd, &from, fd, &to, left, 0);

		if (n <= 0)
			die("copy_file_range");
		left -= (uint32_t)n;
	}
}

/*
 * Where there is no data there are zeros; and the file's end is a hole. What the other threads own at this moment is not looked at.
 * Stores into a mapping are written back first: lseek(2) over FUSE does not see them before.
 */
static void do_seek(const struct op *o)
{
	off_t hole, data, end = o->off + o->len < size ? o->off + o->len : size;
	uint32_t page = o->off & ~(PAGE - 1);

	if (o->off < end && msync(whole + page, (size_t)end - page, MS_SYNC) < 0)
		die("msync");
	data = lseek(fd, o->off, SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		die("SEEK_DATA");
	if (data < 0)
		data = size;
	for (off_t i = o->off; i < data && i < end; i++)
		if (model[i])
			die("SEEK_DATA skipped data");
	if (o->off < size) {
		hole = lseek(fd, o->off, SEEK_HOLE);
		if (hole < (off_t)o->off || hole > (off_t)size)
			die("SEEK_HOLE");
	}
}

static void do_fallocate(int mode, const struct op *o)
{
	if (fallocate(fd, mode, o->off, o->len) < 0)
		die(kinds[o->kind].name);
}

static void check_size(void)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_size != (off_t)size) {
		printf("# size %lld for %u\n", (long long)st.st_size, size);
		die("size");
	}
}

static void check_all(void)
{
	uint8_t *all = malloc(FILE_MAX + 1);

	check_size();
	if (!all || pread(fd, all, FILE_MAX + 1, 0) != (ssize_t)size)
		die("reading it all");
	compare(all, 0, size, "all of it");
	free(all);
}

static void perform(const struct op *o)
{
	switch (o->kind) {
	case WRITE: case APPEND: case VECTOR_WRITE: do_write(fd, o); break;
	case DIRECT_WRITE: do_write(direct_fd, o); break;
	case READ: case VECTOR_READ: do_read(fd, o, "read"); break;
	case DIRECT_READ: do_read(direct_fd, o, "direct read"); break;
	case MAP_WRITE: case MAP_READ: case PRIVATE_MAP: do_map(o); break;
	case TRUNCATE:
		if (o->fill % 2 ? ftruncate(fd, o->off) < 0 : truncate(path, o->off) < 0)
			die("truncate");
		break;
	case PUNCH: do_fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, o); break;
	case ZERO: do_fallocate(FALLOC_FL_ZERO_RANGE, o); break;
	case ZERO_KEEP: do_fallocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, o); break;
	case ALLOCATE: do_fallocate(0, o); break;
	case ALLOCATE_KEEP: do_fallocate(FALLOC_FL_KEEP_SIZE, o); break;
	case COPY: do_copy(o); break;
	case SYNC: case DATA_SYNC:
		if ((o->kind == SYNC ? fsync(fd) : fdatasync(fd)) < 0)
			die("fsync");
		break;
	case DROP: /* clean pages go, so that the next read asks the file system */
		if (fsync(fd) < 0 || (errno = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED)) != 0)
			die("dropping pages");
		break;
	case REOPEN:
		close_file();
		open_file(0);
		break;
	case SEEK: do_seek(o); break;
	default: break;
	}
}

/* ----------------------------------------------------------------- threads */

/*
 * Does it move the file's end, or take part in what does? Then it runs alone. So does making a hole where pages are shared: Linux writes the range
 * back, has the file system make the hole and then clears the pages; a page that another thread stores into and that is written back between
 * the last two carries the old bytes out again.
 */
static bool alone(const struct op *o)
{
	if (grain % PAGE && (o->kind == PUNCH || o->kind == ZERO || o->kind == ZERO_KEEP))
		return true;
	switch (o->kind) {
	case TRUNCATE: case APPEND: return true;
	case WRITE: case VECTOR_WRITE: case DIRECT_WRITE: case ZERO: case ALLOCATE: return o->off + o->len > size;
	case COPY: return o->to + o->len > size;
	default: return false;
	}
}

static bool within(uint32_t g, uint32_t off, uint32_t len)
{
	return len && g >= off / grain && g <= (off + len - 1) / grain;
}

/* Takes (or gives back) the grains that the operation touches, in ascending order. */
static void hold(const struct op *o, int (*fn)(pthread_mutex_t *))
{
	for (uint32_t g = 0; g < grain_count; g++)
		if (within(g, o->off, o->len) || (o->kind == COPY && within(g, o->to, o->len)))
			fn(&grains[g]);
}

static void one(bool real)
{
	uint64_t before = state;
	struct op o;
	bool exclusive;

	pthread_rwlock_rdlock(&size_lock);
	o = make_op();
	exclusive = alone(&o) || (done_ops + 1) % 200 == 0;
	if (exclusive) { /* the size may be another by the time the lock is there: then it is another operation */
		pthread_rwlock_unlock(&size_lock);
		pthread_rwlock_wrlock(&size_lock);
		state = before;
		o = make_op();
	} else {
		hold(&o, pthread_mutex_lock);
	}
	history[done_ops % HISTORY] = o;
	if (real)
		perform(&o);
	apply(&o);
	if (real)
		check_size();
	done_ops++;
	if (real && done_ops % 200 == 0)
		check_all();
	if (!exclusive)
		hold(&o, pthread_mutex_unlock);
	pthread_rwlock_unlock(&size_lock);
}

static bool told(void)
{
	struct pollfd p = { .fd = 0, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

struct run { bool verify, until; unsigned long count, done; time_t seconds; uint64_t seed; pthread_t thread; };

static void *run_thread(void *arg)
{
	struct run *r = arg;
	time_t end = time(NULL) + r->seconds;

	state = r->seed;
	if (posix_memalign((void **)&buffer, PAGE, FILE_MAX) != 0)
		die("memory");
	open_file(0);
	while (r->until ? !told() : r->seconds ? time(NULL) < end : done_ops < r->count)
		one(!r->verify);
	r->done = done_ops;
	if (r->until && fsync(fd) < 0)
		die("fsync");
	close_file();
	free(buffer);
	return NULL;
}

/* -------------------------------------------------------------------- main */

static void load_model(const char *from)
{
	int m = open(from, O_RDONLY);
	ssize_t n = m < 0 ? 0 : read(m, model, FILE_MAX);

	if (n < 0)
		die(from);
	size = (uint32_t)n;
	if (m >= 0)
		close(m);
}

static void keep_model(const char *to)
{
	int m = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (m < 0 || write(m, model, size) != (ssize_t)size || close(m) < 0)
		die(to);
}

static void make_locks(void)
{
	pthread_rwlockattr_t a;

	/* Else many threads of readers never let a truncation in. */
	pthread_rwlockattr_init(&a);
	pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&size_lock, &a);
	grain_count = FILE_MAX / grain + 1;
	grains = calloc(grain_count, sizeof(*grains));
	if (!grains)
		die("memory");
	for (uint32_t g = 0; g < grain_count; g++)
		pthread_mutex_init(&grains[g], NULL);
}

static int usage(void)
{
	fprintf(stderr, "usage: fsxtest [--verify] [--threads N] [--grain N] [--seconds N] [--model PATH] FILE SEED OPERATIONS | --until-told FILE SEED\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "verify", no_argument, NULL, 'v' }, { "until-told", no_argument, NULL, 'u' }, { "threads", required_argument, NULL, 't' },
		{ "grain", required_argument, NULL, 'g' }, { "seconds", required_argument, NULL, 's' }, { "model", required_argument, NULL, 'm' }, { 0 },
	};
	struct run runs[THREADS_MAX], r = { 0 };
	unsigned threads = 1;
	unsigned long total = 0;
	const char *kept = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1)
		switch (c) {
		case 'v': r.verify = true; break;
		case 'u': r.until = true; break;
		case 't': threads = (unsigned)strtoul(optarg, NULL, 0); break;
		case 'g': grain = (uint32_t)strtoul(optarg, NULL, 0); break;
		case 's': r.seconds = (time_t)strtoul(optarg, NULL, 0); break;
		case 'm': kept = optarg; break;
		default: return usage();
		}
	if (argc != optind + (r.until ? 2 : 3) || threads < 1 || threads > THREADS_MAX || grain < 512)
		return usage();
	path = argv[optind];
	r.seed = strtoull(argv[optind + 1], NULL, 0) * 2 + 1;
	if (!r.until)
		r.count = strtoul(argv[optind + 2], NULL, 0);
	make_locks();
	if (kept)
		load_model(kept);
	open_file(r.verify || size ? 0 : O_CREAT | O_TRUNC);
	if (kept)
		check_all();
	for (unsigned t = 0; t < threads; t++) {
		runs[t] = r;
		runs[t].seed = r.seed + t * 1000003;
		if (pthread_create(&runs[t].thread, NULL, run_thread, &runs[t]) != 0)
			die("thread");
	}
	for (unsigned t = 0; t < threads; t++) {
		pthread_join(runs[t].thread, NULL);
		total += runs[t].done;
	}
	check_all();
	close_file();
	if (kept)
		keep_model(kept);
	printf("%lu\n", total);
	return 0;
}
