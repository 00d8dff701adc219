/* misc.c - reading directories while they change, locks, odds and ends, races. */
#include "posix.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

/* ----------------------------------------------------------------- readdir */

enum { FILES = 1500 };

static void make_many(const char *dir)
{
	char path[64];

	make_dir(dir, 0755);
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/entry-%04d", dir, i);
		NEED(mknod(path, S_IFREG | 0644, 0));
	}
}

/* How often each was seen; returns false when any was seen twice. */
static bool count_entries(DIR *d, unsigned char *seen, int *ret_total)
{
	struct dirent *e;
	bool once = true;
	int i;

	*ret_total = 0;
	while ((e = readdir(d)))
		if (sscanf(e->d_name, "entry-%d", &i) == 1 && i < FILES) {
			once = once && !seen[i]++;
			(*ret_total)++;
		}
	return once;
}

static void delete_while_reading(void)
{
	unsigned char seen[FILES] = { 0 };
	char path[300];
	struct dirent *e;
	int deleted = 0;
	DIR *d;

	make_many("del");
	d = opendir("del");
	need(d != NULL, "opendir");
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "del/%s", e->d_name);
		if (unlink(path) < 0)
			break;
		deleted++;
	}
	ok(deleted == FILES, "unlink of each entry as it is read gets all %d (%d)", FILES, deleted);
	closedir(d);
	OK(rmdir("del"));

	/* Every second one goes behind the reader's back; the others are each seen once. */
	make_many("half");
	d = opendir("half");
	need(d != NULL, "opendir");
	for (int i = 0; i < 100 && (e = readdir(d)); i++)
		if (sscanf(e->d_name, "entry-%d", &deleted) == 1)
			seen[deleted]++;
	for (int i = 0; i < FILES; i += 2) {
		snprintf(path, sizeof(path), "half/entry-%04d", i);
		NEED(unlink(path));
		snprintf(path, sizeof(path), "half/another-%04d", i);
		NEED(mknod(path, S_IFREG | 0644, 0));
	}
	ok(count_entries(d, seen, &deleted), "nothing is read twice while others come and go");
	deleted = 0;
	for (int i = 1; i < FILES; i += 2)
		deleted += seen[i] == 1;
	ok(deleted == FILES / 2, "and what stayed is read once (%d of %d)", deleted, FILES / 2);
	rewinddir(d);
	memset(seen, 0, sizeof(seen));
	ok(count_entries(d, seen, &deleted) && deleted == FILES / 2, "rewinddir shows what is there now");
	closedir(d);
}

static void positions(void)
{
	unsigned char seen[FILES] = { 0 };
	long places[FILES + 4];
	char names[FILES + 4][32];
	struct dirent *e;
	int n = 0, total;
	bool fine = true;
	DIR *d = opendir("pos");

	need(d != NULL, "opendir");
	for (; n < FILES + 3; n++) {
		places[n] = telldir(d);
		e = readdir(d);
		if (!e)
			break;
		snprintf(names[n], 32, "%.31s", e->d_name);
	}
	ok(n == FILES + 2, "%d entries, \".\" and \"..\" (%d)", FILES, n);
	for (int i = 0; i < FILES + 2 && fine; i += 97) {
		seekdir(d, places[i]);
		e = readdir(d);
		fine = e && strcmp(e->d_name, names[i]) == 0;
	}
	ok(fine, "seekdir finds again what telldir told");
	rewinddir(d);
	ok(count_entries(d, seen, &total) && total == FILES, "each is there once");
	closedir(d);
}

static void dots_and_types(void)
{
	struct dirent *e;
	int right = 0;
	DIR *d;

	make_dir("types", 0755);
	make_dir("types/d", 0755);
	make_file("types/f", "", 0644);
	NEED(symlink("x", "types/l"));
	NEED(mkfifo("types/p", 0644));
	d = opendir("types");
	need(d != NULL, "opendir");
	while ((e = readdir(d))) {
		char path[300];
		struct stat st;
		unsigned char type;

		snprintf(path, sizeof(path), "types/%s", e->d_name);
		st = stat_of(path);
		type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISREG(st.st_mode) ? DT_REG : S_ISLNK(st.st_mode) ? DT_LNK : DT_FIFO;
		if (e->d_type == type && e->d_ino == st.st_ino)
			right++;
		else
			printf("# %s: type %d for %d, inode %llu for %llu\n", e->d_name, e->d_type, type, (unsigned long long)e->d_ino, (unsigned long long)st.st_ino);
	}
	closedir(d);
	ok(right == 6, "type and inode number of every entry, \".\" and \"..\" included (%d of 6)", right);
}

void suite_readdir(void)
{
	char small[40];
	DIR *d;
	int fd;

	delete_while_reading();
	make_many("pos");
	positions();
	dots_and_types();
	fd = open("pos", O_RDONLY | O_DIRECTORY);
	ok(syscall(SYS_getdents64, fd, small, 8) < 0 && errno == EINVAL, "getdents with too little room is EINVAL");
	FAILS(read(fd, small, 1), EISDIR);
	close(fd);
	make_dir("empty", 0755);
	d = opendir("empty");
	ok(readdir(d) && readdir(d) && !readdir(d), "an empty directory holds \".\" and \"..\"");
	make_file("empty/late", "", 0644);
	rewinddir(d);
	ok(readdir(d) && readdir(d) && readdir(d) && !readdir(d), "and a new file after rewinddir");
	NEED(unlink("empty/late"));
	NEED(rmdir("empty"));
	rewinddir(d);
	errno = 0;
	ok(!readdir(d) && (errno == ENOENT || errno == 0), "a removed directory that is still open is empty");
	closedir(d);
}

/* ------------------------------------------------------------------- locks */

static int try_lock(void *arg)
{
	struct flock l = *(struct flock *)arg;
	int fd = open("lock", O_RDWR);

	return CODE(fcntl(fd, F_SETLK, &l));
}

static int who_locks(void *arg)
{
	struct flock l = *(struct flock *)arg;
	int fd = open("lock", O_RDWR);

	if (fcntl(fd, F_GETLK, &l) < 0)
		return 120;
	return l.l_type == F_UNLCK ? 0 : l.l_pid == getppid() ? 1 : 2;
}

static int try_flock(void *arg)
{
	int fd = open("lock", O_RDWR);

	return CODE(flock(fd, *(int *)arg | LOCK_NB));
}

static int wait_lock(void *arg)
{
	struct flock l = *(struct flock *)arg;
	int fd = open("lock", O_RDWR);

	alarm(20);
	return CODE(fcntl(fd, F_SETLKW, &l));
}

void suite_locks(void)
{
	struct flock w = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 100 }, l = w;
	struct flock ofd = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10 };
	int sh = LOCK_SH, ex = LOCK_EX, status;
	int fd, fd2;
	pid_t pid;

	make_file("lock", "x", 0666);
	fd = open("lock", O_RDWR);
	OK(fcntl(fd, F_SETLK, &w));
	expect(run_as(0, 0, 0, try_lock, &w), EAGAIN, "a second write lock of the same bytes");
	ok(run_as(0, 0, 0, who_locks, &w) == 1, "F_GETLK tells whose it is");
	l.l_type = F_RDLCK;
	expect(run_as(0, 0, 0, try_lock, &l), EAGAIN, "a read lock beside a write lock");
	l.l_start = 200;
	expect(run_as(0, 0, 0, try_lock, &l), 0, "a lock of other bytes");
	w.l_type = F_RDLCK;
	OK(fcntl(fd, F_SETLK, &w));
	l.l_start = 100;
	expect(run_as(0, 0, 0, try_lock, &l), 0, "two read locks");
	fd2 = open("lock", O_RDONLY);
	close(fd2);
	w.l_type = F_WRLCK;
	expect(run_as(0, 0, 0, try_lock, &w), 0, "closing any descriptor of the file drops the process's locks");
	OK(fcntl(fd, F_SETLK, &w));
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(wait_lock(&w));
	usleep(50000);
	w.l_type = F_UNLCK;
	OK(fcntl(fd, F_SETLK, &w));
	NEED(waitpid(pid, &status, 0));
	ok(status == 0, "F_SETLKW gets the lock when it is let go");
	OK(flock(fd, LOCK_SH));
	expect(run_as(0, 0, 0, try_flock, &sh), 0, "two shared flocks");
	expect(run_as(0, 0, 0, try_flock, &ex), EWOULDBLOCK, "an exclusive flock beside a shared one");
	OK(flock(fd, LOCK_EX));
	expect(run_as(0, 0, 0, try_flock, &sh), EWOULDBLOCK, "a shared flock beside an exclusive one");
	OK(flock(fd, LOCK_UN));
	expect(run_as(0, 0, 0, try_flock, &ex), 0, "an exclusive flock alone");
	fd2 = open("lock", O_RDWR);
	OK(fcntl(fd, F_OFD_SETLK, &ofd));
	FAILS(fcntl(fd2, F_OFD_SETLK, &ofd), EAGAIN);
	close(fd);
	OK(fcntl(fd2, F_OFD_SETLK, &ofd));
	close(fd2);
}

/* ----------------------------------------------------------------- special */

static void pipes_and_sockets(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), rd, wr;
	char b[4];

	OK(bind(s, (struct sockaddr *)&a, sizeof(a)));
	OK(listen(s, 1));
	OK(connect(c, (struct sockaddr *)&a, sizeof(a)));
	ok(S_ISSOCK(stat_of("sock").st_mode), "a socket is bound on the mount");
	FAILS(open("sock", O_RDONLY), ENXIO);
	close(s);
	close(c);
	NEED(mkfifo("fifo", 0644));
	FAILS(open("fifo", O_WRONLY | O_NONBLOCK), ENXIO);
	rd = open("fifo", O_RDONLY | O_NONBLOCK);
	wr = open("fifo", O_WRONLY | O_NONBLOCK);
	ok(rd >= 0 && wr >= 0 && write(wr, "via", 3) == 3 && read(rd, b, 3) == 3 && memcmp(b, "via", 3) == 0, "bytes pass through a fifo");
	close(rd);
	close(wr);
}

static void programs(void)
{
	char copy[64] = "./sleeper";
	int fd, in = open("/bin/sleep", O_RDONLY), status;
	char *p = malloc(1 << 16);
	ssize_t n;
	pid_t pid;

	need(in >= 0 && p, "/bin/sleep");
	fd = open(copy, O_CREAT | O_WRONLY, 0755);
	while ((n = read(in, p, 1 << 16)) > 0)
		need(write(fd, p, (size_t)n) == n, "write");
	close(fd);
	close(in);
	free(p);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execl(copy, copy, "30", (char *)NULL);
		_exit(99);
	}
	usleep(200000);
	FAILS(open(copy, O_WRONLY), ETXTBSY);
	OK(unlink(copy));
	kill(pid, 9);
	NEED(waitpid(pid, &status, 0));
	ok(WIFSIGNALED(status), "a program runs from the mount, and can be unlinked meanwhile");
}

void suite_special(void)
{
	struct pollfd pf = { .events = POLLIN | POLLOUT };
	struct statvfs sv;
	int fd, d, n;

	pipes_and_sockets();
	programs();
	OK(statvfs(".", &sv));
	ok(sv.f_blocks > 0 && sv.f_bfree <= sv.f_blocks && sv.f_bavail <= sv.f_bfree && sv.f_namemax == 255 && sv.f_frsize >= 512, "statvfs is sane");
	ok(sv.f_files >= sv.f_ffree, "its inodes too");
	fd = open("f", O_CREAT | O_RDWR, 0644);
	d = open(".", O_RDONLY | O_DIRECTORY);
	NEED(write(fd, "data", 4));
	OK(fsync(fd));
	OK(fdatasync(fd));
	OK(fsync(d));
	OK(fdatasync(d));
	OK(syncfs(fd));
	OK(sync_file_range(fd, 0, 4, SYNC_FILE_RANGE_WRITE));
	OK(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	ok(pread(fd, &n, 4, 0) == 4 && memcmp(&n, "data", 4) == 0, "what was dropped from the cache is read again");
	OK(readahead(fd, 0, 4096));
	pf.fd = fd;
	ok(poll(&pf, 1, 0) == 1 && pf.revents == (POLLIN | POLLOUT), "a file is always ready");
	FAILS(ioctl(fd, 0x5401 /* TCGETS */, &sv), ENOTTY);
	ok(!isatty(fd) && errno == ENOTTY, "isatty");
	OK(ioctl(fd, FIONREAD, &n));
	OK(fcntl(fd, F_SETFL, O_APPEND));
	OK(lseek(d, 0, SEEK_SET));
	FAILS(ftruncate(d, 0), EINVAL);
	FAILS(pwrite(d, "x", 1, 0), EBADF);
	close(d);
	OK(close(fd));
	FAILS(open("f", O_RDONLY | O_DIRECTORY | O_NOFOLLOW), ENOTDIR);
	ok(dup(0) > 0, "descriptors are left");
}

/* ------------------------------------------------------------------- races */

enum { RACERS = 4, ROUNDS = 100 };

/* In each round every child does fn(round); returns how many succeeded in all. */
static int race(int (*fn)(int round, int child))
{
	int total = 0, pipes[2];
	char c;

	NEED(pipe(pipes));
	fflush(stdout);
	for (int k = 0; k < RACERS; k++)
		if (fork() == 0) {
			for (int r = 0; r < ROUNDS; r++)
				if (fn(r, k) == 0 && write(pipes[1], "+", 1) != 1)
					_exit(1);
			_exit(0);
		}
	close(pipes[1]);
	while (read(pipes[0], &c, 1) == 1)
		total++;
	close(pipes[0]);
	for (int k = 0; k < RACERS; k++)
		wait(NULL);
	return total;
}

static int race_create(int r, int k)
{
	char n[32];
	int fd;

	(void)k;
	snprintf(n, sizeof(n), "c%d", r);
	fd = open(n, O_CREAT | O_EXCL | O_WRONLY, 0644);
	return fd < 0 ? -1 : close(fd);
}

static int race_mkdir(int r, int k)
{
	char n[32];

	(void)k;
	snprintf(n, sizeof(n), "d%d", r);
	return mkdir(n, 0755);
}

static int race_unlink(int r, int k)
{
	char n[32];

	(void)k;
	snprintf(n, sizeof(n), "c%d", r);
	return unlink(n);
}

static int race_link(int r, int k)
{
	char n[32];

	(void)k;
	snprintf(n, sizeof(n), "l%d", r);
	return link("base", n);
}

static int race_rename(int r, int k)
{
	char from[32], to[32];

	snprintf(from, sizeof(from), "r%d-%d", r, k);
	snprintf(to, sizeof(to), "t%d", r);
	make_file(from, from, 0644);
	return rename(from, to);
}

/* A name that is replaced all the time is never missing, and never half there. */
static void replaced_name(void)
{
	int status, misses = 0, looks = 0;
	pid_t pid;

	make_file("target", "content", 0644);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 1000; i++) {
			make_file("temp", "content", 0644);
			if (rename("temp", "target") < 0)
				_exit(1);
		}
		_exit(0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0) {
		misses += !content_is("target", "content");
		looks++;
	}
	ok(status == 0 && misses == 0 && looks > 0, "a name that is renamed over 1000 times is there whole, always (%d looks)", looks);
}

/* Ends all calls that these processes are in. */
static void stop_all(const pid_t *pids, size_t n)
{
	int status;

	for (size_t k = 0; k < n; k++)
		kill(pids[k], SIGSTOP);
	for (size_t k = 0; k < n; k++)
		NEED(waitpid(pids[k], &status, WUNTRACED));
}

/*
 * Links and times of a directory are right after each change in it, though others look at it all the time: whoever hears late of what was
 * before must not be believed.
 *
 * The kernel (6.18 and before, fuse_change_attributes_common) calls attributes valid before it has filled them in, so that a stat on another processor
 * at that instant gets old ones, or some old and some new. What is wrong is therefore looked at again while nobody can put it right.
 */
static void watched_directory(void)
{
	enum { CHANGES_MADE = 2000 };
	struct timespec before;
	int wrong_links = 0, wrong_times = 0, links;
	pid_t watchers[3];
	struct stat st;

	make_dir("watched", 0755);
	make_dir("watched/d", 0755);
	fflush(stdout);
	for (size_t k = 0; k < ARRAY_LEN(watchers); k++) {
		watchers[k] = fork();
		if (watchers[k] == 0)
			for (;;) {
				DIR *d = opendir("watched");
				struct dirent *e;

				while (d && (e = readdir(d)))
					fstatat(dirfd(d), e->d_name, &st, 0);
				closedir(d);
				utimensat(AT_FDCWD, "watched", NULL, 0); /* what is cached of it goes */
			}
	}
	for (int i = 0; i < CHANGES_MADE; i++) {
		struct timespec old[2] = { { 1000 + i, 0 }, { 1000 + i, 0 } };

		NEED(utimensat(AT_FDCWD, "watched/d", old, 0));
		before = stat_of("watched/d").st_mtim;
		NEED(i % 2 ? rmdir("watched/d/sub") : mkdir("watched/d/sub", 0755));
		st = stat_of("watched/d");
		links = i % 2 ? 2 : 3;
		if ((int)st.st_nlink != links || st.st_mtim.tv_sec == before.tv_sec) {
			stop_all(watchers, ARRAY_LEN(watchers));
			st = stat_of("watched/d");
			for (size_t k = 0; k < ARRAY_LEN(watchers); k++)
				kill(watchers[k], SIGCONT);
		}
		wrong_links += (int)st.st_nlink != links;
		wrong_times += st.st_mtim.tv_sec == before.tv_sec;
	}
	for (size_t k = 0; k < ARRAY_LEN(watchers); k++) {
		kill(watchers[k], SIGKILL);
		NEED(waitpid(watchers[k], NULL, 0));
	}
	ok(wrong_links == 0, "a watched directory's links are right after each of %d changes (%d were not)", CHANGES_MADE, wrong_links);
	ok(wrong_times == 0, "and its mtime has moved (%d had not)", wrong_times);
}

void suite_races(void)
{
	char n[32];
	int left = 0;

	ok(race(race_create) == ROUNDS, "of %d racing O_EXCL creations one wins, %d times", RACERS, ROUNDS);
	ok(race(race_mkdir) == ROUNDS, "of racing mkdirs one wins");
	ok(race(race_unlink) == ROUNDS, "of racing unlinks one wins");
	make_file("base", "", 0644);
	ok(race(race_link) == ROUNDS, "of racing links one wins");
	ok(stat_of("base").st_nlink == ROUNDS + 1, "and the link count is right");
	ok(race(race_rename) == ROUNDS * RACERS, "racing renames to one name all succeed");
	for (int r = 0; r < ROUNDS; r++) {
		snprintf(n, sizeof(n), "t%d", r);
		left += exists(n) && stat_of(n).st_nlink == 1;
	}
	ok(left == ROUNDS, "and leave one file each");
	replaced_name();
	watched_directory();
}
