/* data.c - bytes: reading and writing in all sizes, appending, O_DIRECT, mmap, holes, allocation, copying. */
#include "posix.h"

#include <linux/falloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define MIB (1u << 20)

static void *aligned(size_t len)
{
	void *p = NULL;

	need(posix_memalign(&p, 4096, len) == 0, "posix_memalign");
	return p;
}

static bool zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

static void all_sizes(int open_flags, const char *how)
{
	static const size_t sizes[] = { 1, 2, 511, 512, 513, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 131072, 1048575, 1048576, 1048577, 3000001 };
	static const off_t offsets[] = { 0, 1, 4095, 4096, 65536, 1000003, 8 * MIB - 1 };
	uint8_t *w = aligned(4 * MIB), *r = aligned(4 * MIB);

	for (size_t s = 0; s < ARRAY_LEN(sizes); s++)
		for (size_t o = 0; o < ARRAY_LEN(offsets); o++) {
			int fd = open("sizes", O_RDWR | O_CREAT | O_TRUNC | open_flags, 0644);
			struct stat st;
			bool fine;

			need(fd >= 0, "open");
			fill(w, sizes[s], s * 100 + o);
			fine = pwrite(fd, w, sizes[s], offsets[o]) == (ssize_t)sizes[s];
			fine = fine && fstat(fd, &st) == 0 && st.st_size == offsets[o] + (off_t)sizes[s];
			fine = fine && pread(fd, r, 4 * MIB, offsets[o]) == (ssize_t)sizes[s] && memcmp(w, r, sizes[s]) == 0;
			/* What lies before was never written. */
			if (fine && offsets[o] > 0) {
				size_t n = offsets[o] < (off_t)(4 * MIB) ? (size_t)offsets[o] : 4 * MIB;

				fine = pread(fd, r, n, 0) == (ssize_t)n && zero(r, n);
			}
			if (!fine || o == 0)
				ok(fine, "%zu bytes at %lld%s", sizes[s], (long long)offsets[o], how);
			close(fd);
		}
	free(w);
	free(r);
}

static void edges(void)
{
	void *volatile nowhere = (void *)(uintptr_t)8;
	struct rlimit old, small = { 1000, 1000 };
	char b[64];
	int fd = open("edge", O_RDWR | O_CREAT, 0644), rd, wr;

	need(fd >= 0, "open");
	ok(read(fd, b, 10) == 0, "read of an empty file is at its end");
	ok(write(fd, b, 0) == 0, "a write of nothing");
	ok(pwrite(fd, "0123456789", 10, 0) == 10, "ten bytes");
	ok(pread(fd, b, sizeof(b), 5) == 5, "a read is short at the end");
	ok(pread(fd, b, sizeof(b), 10) == 0 && pread(fd, b, sizeof(b), 1000000) == 0, "and empty beyond it");
	ok(lseek(fd, 0, SEEK_END) == 10 && lseek(fd, -3, SEEK_CUR) == 7, "lseek");
	FAILS(lseek(fd, -1, SEEK_SET), EINVAL);
	FAILS(pread(fd, b, 1, -1), EINVAL);
	FAILS(pwrite(fd, b, 1, -1), EINVAL);
	rd = open("edge", O_RDONLY);
	wr = open("edge", O_WRONLY);
	FAILS(write(rd, "x", 1), EBADF);
	FAILS(read(wr, b, 1), EBADF);
	FAILS(ftruncate(rd, 1), EINVAL);
	FAILS(pread(fd, nowhere, 4, 0), EFAULT);
	OK(ftruncate(fd, 20));
	ok(pread(fd, b, 20, 0) == 20 && zero((uint8_t *)b + 10, 10) && memcmp(b, "0123456789", 10) == 0, "growing adds zeros");
	OK(ftruncate(fd, 4));
	OK(ftruncate(fd, 12));
	ok(pread(fd, b, 12, 0) == 12 && memcmp(b, "0123", 4) == 0 && zero((uint8_t *)b + 4, 8), "what was cut off does not come back");
	OK(ftruncate(fd, 5000000));
	OK(ftruncate(fd, 4097));
	ok(lseek(fd, 0, SEEK_END) == 4097, "cut to 4097");
	ok(pwrite(fd, "far", 3, (off_t)1 << 40) == 3, "three bytes at one tebibyte");
	ok(lseek(fd, 0, SEEK_END) == ((off_t)1 << 40) + 3, "make a file that long");
	ok(pread(fd, b, 3, (off_t)1 << 40) == 3 && memcmp(b, "far", 3) == 0, "and are there");
	NEED(ftruncate(fd, 10));
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	FAILS(ftruncate(fd, 2000), EFBIG);
	FAILS(pwrite(fd, "x", 1, 1000), EFBIG);
	ok(pwrite(fd, "xyz", 3, 998) == 2, "a write up to the file size limit is short");
	setrlimit(RLIMIT_FSIZE, &old);
	close(fd);
	close(rd);
	close(wr);
}

static void vectors(void)
{
	char a[3], b[5], c[100];
	struct iovec out[3] = { { (char[]){ "abc" }, 3 }, { (char[]){ "" }, 0 }, { (char[]){ "defgh" }, 5 } };
	struct iovec in[3] = { { a, 3 }, { b, 5 }, { c, 100 } };
	int fd = open("vec", O_RDWR | O_CREAT, 0644);

	ok(writev(fd, out, 3) == 8, "writev");
	ok(pwritev(fd, out, 3, 8) == 8, "pwritev");
	ok(preadv(fd, in, 3, 0) == 16 && memcmp(a, "abc", 3) == 0 && memcmp(b, "defgh", 5) == 0 && memcmp(c, "abcdefgh", 8) == 0, "preadv");
	close(fd);
}

/* Several processes append lines of different lengths: none is lost, none is torn. */
static void appenders(void)
{
	enum { WRITERS = 4, LINES = 300 };
	unsigned next[WRITERS] = { 0 };
	bool fine = true;
	char *text, *line, *save;
	unsigned lines = 0;

	fflush(stdout);
	for (int w = 0; w < WRITERS; w++)
		if (fork() == 0) {
			int fd = open("append", O_WRONLY | O_APPEND | O_CREAT, 0644);
			char buf[400];

			for (int i = 0; i < LINES; i++) {
				int n = snprintf(buf, sizeof(buf), "%d %d %0*d\n", w, i, 1 + i % 300, i);

				if (write(fd, buf, (size_t)n) != n)
					_exit(1);
			}
			_exit(0);
		}
	for (int w = 0; w < WRITERS; w++) {
		int status;

		wait(&status);
		fine = fine && status == 0;
	}
	ok(fine, "%d processes appended %d lines each", WRITERS, LINES);
	text = content_of("append", NULL);
	need(text != NULL, "append");
	for (line = strtok_r(text, "\n", &save); line && fine; line = strtok_r(NULL, "\n", &save)) {
		unsigned w, i, x;

		fine = sscanf(line, "%u %u %u", &w, &i, &x) == 3 && w < WRITERS && i == next[w] && x == i;
		if (fine)
			next[w]++;
		lines++;
	}
	ok(fine && lines == WRITERS * LINES, "every line is there once, whole and in its writer's order");
	free(text);
}

void suite_data(void)
{
	char b[16];
	int fd;

	all_sizes(0, "");
	all_sizes(O_SYNC, " with O_SYNC");
	edges();
	vectors();
	appenders();
	fd = open("ap", O_RDWR | O_CREAT | O_APPEND, 0644);
	NEED(write(fd, "one", 3));
	NEED(lseek(fd, 0, SEEK_SET));
	ok(write(fd, "two", 3) == 3 && content_is("ap", "onetwo"), "O_APPEND writes at the end wherever the offset is");
	ok(pwrite(fd, "three", 5, 0) == 5 && content_is("ap", "onetwothree"), "pwrite too, on Linux");
	ok(pread(fd, b, 3, 0) == 3 && memcmp(b, "one", 3) == 0, "reading is not bound by it");
	NEED(fcntl(fd, F_SETFL, 0));
	ok(pwrite(fd, "ONE", 3, 0) == 3 && content_is("ap", "ONEtwothree"), "and F_SETFL switches it off");
	close(fd);
}

/* ------------------------------------------------------------------ direct */

void suite_direct(void)
{
	static const struct { off_t off; size_t len; } parts[] = {
		{ 0, 512 }, { 512, 512 }, { 1024, 3072 }, { 4096, 4096 }, { 16384, 16384 }, { 1536, 512 }, { 65536 - 512, 1024 }, { 100 * 512, 512 },
		{ 131072, MIB }, { 0, 4096 }, { 3 * MIB, 2 * MIB }, { 512 * 7, 512 * 9 },
	};
	uint8_t *model = calloc(1, 8 * MIB), *w = aligned(2 * MIB), *r = aligned(8 * MIB);
	int d = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644), buffered;
	size_t size = 0, block = 512;

	if (d < 0) {
		ok(false, "open(O_DIRECT): %s", strerror(errno));
		free(model);
		free(w);
		free(r);
		return;
	}
	buffered = open("direct", O_RDWR);
	memset(w, 1, 512);
	/* A file system on a device of 4 KiB sectors refuses less; then that is its block. */
	if (pwrite(d, w, 512, 0) < 0)
		block = 4096;
	NEED(ftruncate(d, 0));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t len = parts[i].len / block * block, end;
		off_t off = parts[i].off / (off_t)block * (off_t)block;

		if (len == 0)
			continue;
		fill(w, len, i + 7);
		ok(pwrite(d, w, len, off) == (ssize_t)len, "direct write of %zu at %lld", len, (long long)off);
		memcpy(model + off, w, len);
		end = (size_t)off + len;
		size = size > end ? size : end;
		ok(pread(buffered, r, 8 * MIB, 0) == (ssize_t)size && memcmp(r, model, size) == 0, "a buffered read sees it");
		/* And a small buffered write in the middle of it is seen by a direct read. */
		memset(model + off + 13, 0xee, 100);
		ok(pwrite(buffered, model + off + 13, 100, off + 13) == 100, "a buffered write into it");
		ok(pread(d, r, len, off) == (ssize_t)len && memcmp(r, model + off, len) == 0, "a direct read sees that");
	}
	ok(pread(d, r, 8 * MIB, 0) == (ssize_t)size && memcmp(r, model, size) == 0, "all of it, read directly");
	ok(pread(d, r, block, (off_t)(64 * MIB)) == 0, "a direct read beyond the end is empty");
	OK(fdatasync(d));
	close(d);
	close(buffered);
	free(model);
	free(w);
	free(r);
}

/* -------------------------------------------------------------------- mmap */

static void two_processes(void)
{
	int fd = open("shared", O_RDWR | O_CREAT, 0644), status;
	volatile char *p;
	pid_t pid;

	NEED(ftruncate(fd, 8192));
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	need(p != MAP_FAILED, "mmap");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int other = open("shared", O_RDWR);
		volatile char *q = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);

		for (int i = 0; i < 5000 && p[0] != 'a'; i++)
			usleep(1000);
		q[5000] = p[0] == 'a' ? 'b' : 'x';
		_exit(0);
	}
	p[0] = 'a';
	NEED(waitpid(pid, &status, 0));
	ok(p[5000] == 'b', "two processes see each other's stores through shared mappings");
	munmap((void *)(uintptr_t)p, 8192);
	close(fd);
}

void suite_mmap(void)
{
	size_t len = 300000;
	uint8_t *r = malloc(len), *p, *priv;
	int fd = open("m", O_RDWR | O_CREAT, 0644);

	need(r && fd >= 0, "open");
	NEED(ftruncate(fd, (off_t)len));
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!ok(p != MAP_FAILED, "mmap(MAP_SHARED)"))
		return;
	ok(zero(p, len), "a hole is zeros when mapped");
	fill(p, len, 5);
	OK(msync(p, len, MS_SYNC));
	ok(pread(fd, r, len, 0) == (ssize_t)len && filled(r, len, 5), "read sees what was stored");
	ok(pwrite(fd, "written", 7, 100000) == 7 && memcmp(p + 100000, "written", 7) == 0, "the mapping sees what is written");
	priv = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	need(priv != MAP_FAILED, "mmap");
	priv[0] = (uint8_t)~p[0];
	ok(pread(fd, r, 1, 0) == 1 && r[0] == p[0], "a private mapping keeps its stores to itself");
	memset(p + 200000, 0x77, 1000);
	munmap(p, len);
	munmap(priv, len);
	close(fd);
	fd = open("m", O_RDONLY);
	ok(pread(fd, r, 1000, 200000) == 1000 && r[0] == 0x77 && r[999] == 0x77, "stores outlive the mapping and the descriptor");
	p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	ok(p != MAP_FAILED && memcmp(p + 100000, "written", 7) == 0, "a read-only mapping");
	ok(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES, "a writable one of a read-only descriptor is refused");
	close(fd);
	OK(unlink("m"));
	ok(memcmp(p + 100000, "written", 7) == 0 && p[200000] == 0x77, "a mapped file lives on without name and descriptor");
	munmap(p, len);
	two_processes();
	free(r);
}

/* ------------------------------------------------------------------- space */

static void holes(int fd)
{
	static const struct { off_t at; int whence; off_t want; int code; } cases[] = {
		{ 0, SEEK_DATA, 0, 0 }, { 0, SEEK_HOLE, 65536, 0 }, { 65535, SEEK_DATA, 65535, 0 }, { 65535, SEEK_HOLE, 65536, 0 },
		{ 65536, SEEK_HOLE, 65536, 0 }, { 65536, SEEK_DATA, MIB, 0 }, { 500000, SEEK_DATA, MIB, 0 }, { MIB, SEEK_DATA, MIB, 0 },
		{ MIB, SEEK_HOLE, MIB + 65536, 0 }, { MIB + 65536, SEEK_DATA, 0, ENXIO }, { 2 * MIB - 1, SEEK_HOLE, 2 * MIB - 1, 0 },
		{ 2 * MIB, SEEK_DATA, 0, ENXIO }, { 2 * MIB, SEEK_HOLE, 0, ENXIO }, { 9 * MIB, SEEK_DATA, 0, ENXIO },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		off_t got = lseek(fd, cases[i].at, cases[i].whence);

		if (cases[i].code)
			expect(CODE(got), cases[i].code, "SEEK_%s at %lld", cases[i].whence == SEEK_DATA ? "DATA" : "HOLE", (long long)cases[i].at);
		else
			ok(got == cases[i].want, "SEEK_%s at %lld is %lld (%lld)", cases[i].whence == SEEK_DATA ? "DATA" : "HOLE", (long long)cases[i].at,
			   (long long)cases[i].want, (long long)got);
	}
}

void suite_space(void)
{
	uint8_t *w = malloc(2 * MIB), *r = malloc(2 * MIB);
	int fd = open("f", O_RDWR | O_CREAT, 0644), rd;
	struct stat st, before;

	need(w && r && fd >= 0, "open");
	OK(fallocate(fd, 0, 0, 100000));
	NEED(fstat(fd, &st));
	ok(st.st_size == 100000, "fallocate extends the file");
	ok(pread(fd, r, 100000, 0) == 100000 && zero(r, 100000), "with zeros");
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, MIB));
	NEED(fstat(fd, &st));
	ok(st.st_size == 100000, "FALLOC_FL_KEEP_SIZE does not");
	OK(posix_fallocate(fd, 50000, 100000));
	ok(lseek(fd, 0, SEEK_END) == 150000, "posix_fallocate");
	FAILS(fallocate(fd, 0, 0, 0), EINVAL);
	FAILS(fallocate(fd, 0, -1, 10), EINVAL);
	FAILS(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096), EOPNOTSUPP);
	rd = open("f", O_RDONLY);
	FAILS(fallocate(rd, 0, 0, 10), EBADF);
	close(rd);
	NEED(ftruncate(fd, 0));

	fill(w, 2 * MIB, 3);
	NEED(pwrite(fd, w, 2 * MIB, 0));
	NEED(fsync(fd));
	NEED(fstat(fd, &before));
	ok(before.st_blocks >= 2 * MIB / 512, "2 MiB take their blocks");
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, MIB - 65536));
	memset(w + 65536, 0, MIB - 65536);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB + 65536, 8 * MIB));
	memset(w + MIB + 65536, 0, MIB - 65536);
	NEED(fstat(fd, &st));
	ok(st.st_size == 2 * MIB, "punching leaves the size");
	ok(st.st_blocks * 512 <= 3 * 65536 && st.st_blocks > 0, "and gives blocks back");
	ok(pread(fd, r, 2 * MIB, 0) == 2 * MIB && memcmp(w, r, 2 * MIB) == 0, "the holes are zeros, the rest is left");
	holes(fd);
	OK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1000, 3000));
	memset(w + 1000, 0, 3000);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 10000, 20000));
	memset(w + 10000, 0, 20000);
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 2 * MIB - 10, 100));
	ok(pread(fd, r, 2 * MIB, 0) == 2 * MIB && memcmp(w, r, 2 * MIB) == 0, "punched and zeroed at odd places");
	ok(lseek(fd, 0, SEEK_END) == 2 * MIB, "the size is kept where asked");
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 2 * MIB, 5000));
	ok(lseek(fd, 0, SEEK_END) == 2 * MIB + 5000, "and grows where not");
	NEED(ftruncate(fd, 0));
	NEED(ftruncate(fd, 2 * MIB));
	NEED(fstat(fd, &st));
	ok(st.st_blocks == 0, "a file of nothing but a hole takes no blocks");
	ok(lseek(fd, 0, SEEK_HOLE) == 0, "its hole begins at 0");
	FAILS(lseek(fd, 0, SEEK_DATA), ENXIO);
	close(fd);
	free(w);
	free(r);
}

/* -------------------------------------------------------------------- copy */

static ssize_t copy_all(int in, off_t in_off, int out, off_t out_off, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = copy_file_range(in, &in_off, out, &out_off, len - done, 0);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

void suite_copy(void)
{
	static const struct { off_t in, out; size_t len; } parts[] = {
		{ 0, 0, 6 * MIB }, { 1, 3, 100 }, { 4096, 0, 4096 }, { 12345, 54321, 77777 }, { MIB - 1, 65536, MIB + 2 }, { 3 * MIB, 7 * MIB, MIB },
	};
	uint8_t *src = malloc(6 * MIB), *dst = calloc(1, 10 * MIB), *r = malloc(10 * MIB);
	int in = open("in", O_RDWR | O_CREAT, 0644), out = open("out", O_RDWR | O_CREAT, 0644), ap;
	size_t size = 0;
	off_t zero_off = 0;

	need(src && dst && r && in >= 0 && out >= 0, "open");
	fill(src, 6 * MIB, 11);
	need(pwrite(in, src, 6 * MIB, 0) == 6 * MIB, "write");
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		size_t end = (size_t)parts[i].out + parts[i].len;

		ok(copy_all(in, parts[i].in, out, parts[i].out, parts[i].len) == (ssize_t)parts[i].len, "copy %zu bytes from %lld to %lld", parts[i].len,
		   (long long)parts[i].in, (long long)parts[i].out);
		memcpy(dst + parts[i].out, src + parts[i].in, parts[i].len);
		size = size > end ? size : end;
		ok(pread(out, r, 10 * MIB, 0) == (ssize_t)size && memcmp(r, dst, size) == 0, "and they are there");
	}
	NEED(pwrite(in, "changed", 7, 0));
	ok(pread(out, r, 7, 0) == 7 && memcmp(r, dst, 7) == 0, "a change of the source does not show in the copy");
	NEED(pwrite(out, "CHANGED", 7, 3 * MIB));
	ok(pread(in, r, 7, 3 * MIB) == 7 && memcmp(r, src + 3 * MIB, 7) == 0, "nor the other way round");
	NEED(unlink("in"));
	ok(pread(out, r, 1000, 7 * MIB) == 1000 && memcmp(r, dst + 7 * MIB, 1000) == 0, "the copy outlives the source's name");
	ok(copy_file_range(in, &(off_t){ 6 * MIB }, out, &(off_t){ 0 }, 10, 0) == 0, "a copy from the end is empty");
	FAILS(copy_file_range(out, &(off_t){ 0 }, out, &(off_t){ 10 }, 100, 0), EINVAL);
	ok(copy_file_range(out, &(off_t){ 0 }, out, &(off_t){ 9 * MIB }, 4096, 0) == 4096, "within one file, apart");
	ok(pread(out, r, 4096, 9 * MIB) == 4096 && pread(out, r + 4096, 4096, 0) == 4096 && memcmp(r, r + 4096, 4096) == 0, "works");
	ap = open("out", O_WRONLY | O_APPEND);
	FAILS(copy_file_range(in, &zero_off, ap, NULL, 10, 0), EBADF);
	FAILS(copy_file_range(in, &zero_off, out, NULL, 10, 1), EINVAL);
	close(ap);
	close(in);
	close(out);
	free(src);
	free(dst);
	free(r);
}
