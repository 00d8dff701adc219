/* sockets.c - sockets that have names in the file system, in the order of unix(7)'s errors; and calls that a signal interrupts while they wait. */
#include "posix.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>

static int bind_code(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), code;

	need(s >= 0 && strlen(path) < sizeof(a.sun_path), "socket");
	strcpy(a.sun_path, path);
	code = CODE(bind(s, (struct sockaddr *)&a, sizeof(a)));
	close(s);
	return code;
}

static int connect_code(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), code;

	need(s >= 0 && strlen(path) < sizeof(a.sun_path), "socket");
	strcpy(a.sun_path, path);
	code = CODE(connect(s, (struct sockaddr *)&a, sizeof(a)));
	close(s);
	return code;
}

static int bind_child(void *path)
{
	return bind_code(path);
}

static int connect_child(void *path)
{
	return connect_code(path);
}

static void names_of_sockets(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "served" };
	int s = socket(AF_UNIX, SOCK_STREAM, 0), c;
	char name[sizeof(a.sun_path)];

	umask(022);
	NEED(bind(s, (struct sockaddr *)&a, sizeof(a)));
	umask(0);
	ok(S_ISSOCK(stat_of("served").st_mode) && (stat_of("served").st_mode & 07777) == 0755, "a socket's mode is what the umask leaves");
	expect(connect_code("served"), ECONNREFUSED, "connect before listen");
	NEED(listen(s, 100)); /* nobody accepts: each connect below takes a place */
	expect(connect_code("served"), 0, "connect once somebody listens");
	expect(bind_code("served"), EADDRINUSE, "bind to a name that is taken");
	expect(bind_code("file"), EADDRINUSE, "bind to a file's name");
	expect(bind_code("dir"), EADDRINUSE, "bind to a directory's name");
	expect(bind_code("dangling"), EADDRINUSE, "bind to a symlink that leads nowhere");
	ok(!exists("nowhere"), "makes nothing there");
	expect(bind_code("missing/s"), ENOENT, "bind in a directory that is not there");
	expect(bind_code("file/s"), ENOTDIR, "bind below a file");
	expect(bind_code("loop/s"), ELOOP, "bind through a loop of symlinks");
	expect(connect_code("missing"), ENOENT, "connect to nothing");
	expect(connect_code("file"), ECONNREFUSED, "connect to a file");
	expect(connect_code("dir"), ECONNREFUSED, "connect to a directory");
	expect(connect_code("file/s"), ENOTDIR, "connect below a file");
	expect(connect_code("loop"), ELOOP, "connect through a loop of symlinks");
	NEED(chmod("served", 0700));
	expect(run_as(USER_A, GROUP_A, 0, connect_child, (void *)(uintptr_t)"served"), EACCES, "connect without permission to write the socket");
	NEED(chmod("served", 0777));
	expect(run_as(USER_A, GROUP_A, 0, connect_child, (void *)(uintptr_t)"served"), 0, "and with it");
	expect(run_as(USER_A, GROUP_A, 0, bind_child, (void *)(uintptr_t)"dir/s"), EACCES, "bind in a directory without permission to write it");
	NEED(chmod("dir", 0700));
	expect(run_as(USER_A, GROUP_A, 0, connect_child, (void *)(uintptr_t)"dir/s"), EACCES, "connect through a directory without permission to search it");
	NEED(symlink("served", "link"));
	expect(connect_code("link"), 0, "connect through a symlink");
	OK(rename("served", "moved"));
	expect(connect_code("moved"), 0, "connect by the new name after a rename");
	expect(connect_code("served"), ENOENT, "and not by the old one");
	OK(link("moved", "second"));
	expect(connect_code("second"), 0, "connect by a second name");
	OK(unlink("moved"));
	expect(connect_code("second"), 0, "which is enough");
	close(s);
	expect(connect_code("second"), ECONNREFUSED, "connect to a socket that nobody has any more");
	OK(unlink("second"));
	/* The longest name there may be for one: 107 bytes. */
	memset(name, 's', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	expect(bind_code(name), 0, "bind to a long name");
	ok(exists(name), "which is there, whole");
	c = open(name, O_RDWR);
	ok(c < 0 && errno == ENXIO, "and cannot be opened");
}

/* --------------------------------------------------------------- signals */

static void on_alarm(int sig)
{
	(void)sig;
}

/* A signal every 20 ms that interrupts what waits, until it is switched off: one alone may come before the call waits. */
static void alarms(bool on)
{
	struct sigaction a = { .sa_handler = on ? on_alarm : SIG_IGN };
	struct itimerval t = { { 0, on ? 20000 : 0 }, { 0, on ? 20000 : 0 } };

	NEED(sigaction(SIGALRM, &a, NULL));
	NEED(setitimer(ITIMER_REAL, &t, NULL));
}

static int lock_and_tell(void *arg)
{
	int *ends = arg, fd = open("lock", O_RDWR);
	struct flock l = { .l_type = F_WRLCK };
	char c;

	if (fcntl(fd, F_SETLK, &l) < 0 || flock(fd, LOCK_EX) < 0 || write(ends[1], "+", 1) != 1)
		return 1;
	close(ends[1]);
	return read(ends[2], &c, 1) != 0; /* until the other end is closed */
}

/* Calls that wait are interrupted by a signal whose handler does not say SA_RESTART; those on regular files are not, and complete. */
static void interrupted(void)
{
	struct flock l = { .l_type = F_WRLCK }, ofd = l;
	int ends[2], hold[2], three[3], fd;
	static char big[1 << 20];
	ssize_t n = 0, bad = 0;
	pid_t pid;
	char c;

	NEED(pipe(ends));
	NEED(pipe(hold));
	three[0] = ends[0];
	three[1] = ends[1];
	three[2] = hold[0];
	fflush(stdout);
	pid = fork();
	NEED(pid);
	if (pid == 0) {
		close(hold[1]);
		_exit(lock_and_tell(three));
	}
	close(ends[1]);
	need(read(ends[0], &c, 1) == 1, "the other process locks");
	fd = open("lock", O_RDWR);
	alarms(true);
	FAILS(fcntl(fd, F_SETLKW, &l), EINTR);
	FAILS(fcntl(fd, F_OFD_SETLKW, &ofd), EINTR);
	FAILS(flock(fd, LOCK_EX), EINTR);
	FAILS(open("fifo", O_RDONLY), EINTR);
	FAILS(open("fifo", O_WRONLY), EINTR);
	close(fd);
	fd = open("fifo", O_RDWR);
	FAILS(read(fd, &c, 1), EINTR);
	close(fd);
	fd = open("big", O_RDWR | O_CREAT, 0644);
	for (int i = 0; i < 64; i++) {
		fill(big, sizeof(big), (uint64_t)i);
		n = pwrite(fd, big, sizeof(big), (off_t)i * (off_t)sizeof(big));
		bad += n != (ssize_t)sizeof(big);
	}
	ok(bad == 0, "writes of a file are whole, whatever signals come");
	OK(fsync(fd));
	bad = 0;
	NEED(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	for (int i = 0; i < 64; i++) {
		n = pread(fd, big, sizeof(big), (off_t)i * (off_t)sizeof(big));
		bad += n != (ssize_t)sizeof(big) || !filled(big, sizeof(big), (uint64_t)i);
	}
	ok(bad == 0, "and reads");
	OK(ftruncate(fd, 0));
	OK(rename("big", "bigger"));
	alarms(false);
	close(fd);
	close(hold[1]);
	close(hold[0]);
	close(ends[0]);
	NEED(waitpid(pid, NULL, 0));
}

void suite_sockets(void)
{
	make_file("file", "", 0644);
	make_dir("dir", 0755);
	NEED(symlink("nowhere", "dangling"));
	NEED(symlink("loop", "loop"));
	names_of_sockets();
}

void suite_signals(void)
{
	make_file("lock", "", 0666);
	NEED(mkfifo("fifo", 0644));
	interrupted();
}
