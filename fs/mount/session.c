/*
 * session.c - the mount itself: makes it, serves it with a few threads, ends it.
 *
 * Workers: each reads a request, processes it and replies. None ever waits for space, lag or the store (request.c parks), and
 * at most one at a time for the local disk: the one whose fsync found nobody syncing does it (commit.c). So as many as there are
 * processors and one more suffice, and fewer threads take turns: the next request finds warm caches.
 *
 * States: started -> (ended: the connection is gone, unmounted from outside) -> stopped -> freed. Between stop and free the engine is
 * closed; replies to parked requests then go nowhere, which libfuse survives as long as its session exists.
 */
#include "session_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "logmsg.h"

#define WAKE_SIGNAL SIGUSR2
#define BUSY_TRIES 20          /* a tenth of a second each: somebody may just be leaving */
#define UNMOUNT_PATIENCE_MS 10000
#define KILLED_TICK_MS 200

static const struct fuse_lowlevel_ops ops = {
	.init = fuse_init_op,
	.lookup = fuse_lookup_op,
	.forget = fuse_forget_op,
	.forget_multi = fuse_forget_multi_op,
	.getattr = fuse_getattr_op,
	.setattr = fuse_setattr_op,
	.readlink = fuse_readlink_op,
	.mknod = fuse_mknod_op,
	.mkdir = fuse_mkdir_op,
	.unlink = fuse_unlink_op,
	.rmdir = fuse_rmdir_op,
	.symlink = fuse_symlink_op,
	.rename = fuse_rename_op,
	.link = fuse_link_op,
	.open = fuse_open_op,
	.read = fuse_read_op,
	.write = fuse_write_op,
	.flush = fuse_flush_op,
	.release = fuse_release_op,
	.fsync = fuse_fsync_op,
	.opendir = fuse_opendir_op,
	.readdir = fuse_readdir_op,
	.readdirplus = fuse_readdirplus_op,
	.releasedir = fuse_release_op,
	.fsyncdir = fuse_fsync_op,
	.statfs = fuse_statfs_op,
	.setxattr = fuse_setxattr_op,
	.getxattr = fuse_getxattr_op,
	.listxattr = fuse_listxattr_op,
	.removexattr = fuse_removexattr_op,
	.create = fuse_create_op,
	.fallocate = fuse_fallocate_op,
	.copy_file_range = fuse_copy_file_range_op,
	.lseek = fuse_lseek_op,
	.ioctl = fuse_ioctl_op,
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
	.tmpfile = fuse_tmpfile_op,
#endif
	/* access: the kernel decides (default_permissions). Locks: the kernel's own serve, as it is the only one that writes. */
};

/* What libfuse last complained about on this thread: the reason when mounting fails. */
static _Thread_local char last_complaint[256];

static void libfuse_log(enum fuse_log_level level, const char *fmt, va_list ap) CL_PRINTF(2, 0);
static void libfuse_log(enum fuse_log_level level, const char *fmt, va_list ap)
{
	size_t len;

	vsnprintf(last_complaint, sizeof(last_complaint), fmt, ap);
	len = strlen(last_complaint);
	while (len > 0 && last_complaint[len - 1] == '\n')
		last_complaint[--len] = '\0';
	logmsg(level <= FUSE_LOG_ERR ? LOGMSG_ERROR : level == FUSE_LOG_WARNING ? LOGMSG_WARNING : LOGMSG_DEBUG, "%s", last_complaint);
}

/* ----------------------------------------------------------------- workers */

static void ignore_signal(int sig)
{
	(void)sig;
}

static void tell_ended(struct session *s)
{
	uint64_t one = 1;

	atomic_store(&s->ended, true);
	if (write(s->event_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		logmsg(LOGMSG_ERROR, "the event counter of the mount: %s", strerror(errno));
}

struct worker_start { struct session *s; unsigned index; };

static void *worker(void *arg)
{
	struct worker_start *start = arg;
	struct session *s = start->s;
	unsigned index = start->index;
	struct fuse_buf b = { .mem = NULL };
	char name[16];

	free(start);
	snprintf(name, sizeof(name), "fuse-%u", index);
	pthread_setname_np(pthread_self(), name);
	while (!atomic_load(&s->stopping)) {
		int rc = fuse_session_receive_buf(s->fuse, &b);

		if (rc == -EINTR || rc == -EAGAIN)
			continue;
		if (rc <= 0) {
			if (rc < 0)
				logmsg(LOGMSG_ERROR, "%s: reading from the kernel: %s", s->mountpoint, strerror(-rc));
			break;
		}
		wire_process(s, &b);
	}
	free(b.mem);
	if (!atomic_load(&s->stopping))
		tell_ended(s);
	atomic_store(&s->thread_done[index], true);
	return NULL;
}

static int start_worker(struct session *s)
{
	struct worker_start *start = malloc(sizeof(*start));
	unsigned i = s->thread_count;
	int rc;

	if (!start)
		return -ENOMEM;
	*start = (struct worker_start){ s, i };
	rc = -pthread_create(&s->threads[i], NULL, worker, start);
	if (rc < 0)
		free(start);
	else
		s->thread_count++;
	return rc;
}

static unsigned choose_threads(const struct mount_config *c)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned serving = c->threads > 0 ? c->threads : n < 2 ? 2 : n > 16 ? 16 : (unsigned)n;

	return serving < SESSION_MAX_THREADS ? serving + 1 : SESSION_MAX_THREADS;
}

static void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/* A worker may be about to block in read just as it is woken: so it is woken until it has left. */
static void join_workers(struct session *s)
{
	atomic_store(&s->stopping, true);
	for (unsigned i = 0; i < s->thread_count; i++) {
		while (!atomic_load(&s->thread_done[i])) {
			pthread_kill(s->threads[i], WAKE_SIGNAL);
			sleep_ms(2);
		}
		pthread_join(s->threads[i], NULL);
	}
	s->thread_count = 0;
}

/* ------------------------------------------------------------------- mount */

/* io_uring needs the library, the kernel and its administrator: whichever is missing is said once. */
static bool io_uring_wanted(const struct mount_config *c)
{
	const char *lacks = NULL;
	char answer = 'N';
	int fd;

	if (!c->io_uring)
		return false;
	fd = open("/sys/module/fuse/parameters/enable_uring", O_RDONLY | O_CLOEXEC);
	if (FUSE_VERSION < FUSE_MAKE_VERSION(3, 18))
		lacks = "it needs libfuse 3.18 or newer, which this program was not built with";
	else if (fd < 0)
		lacks = "this kernel does not have it (Linux 6.14 or newer does)";
	else if (read(fd, &answer, 1) != 1 || answer != 'Y')
		lacks = "it is switched off: echo Y > /sys/module/fuse/parameters/enable_uring";
	if (fd >= 0)
		close(fd);
	if (lacks)
		logmsg(LOGMSG_WARNING, "mounting without io_uring: %s", lacks);
	return !lacks;
}

/* fuse_opt splits at commas that no backslash precedes. */
static void add_escaped(char **w, const char *text)
{
	for (; *text; text++) {
		if (*text == ',' || *text == '\\')
			*(*w)++ = '\\';
		*(*w)++ = *text;
	}
	**w = '\0';
}

/*
 * A parked request keeps its place in its processor's ring, and when a ring is full of them what comes after waits, cached reads too (which
 * is why io_uring is not the default). A place is 1 MiB of address space, of memory only once it was used.
 */
static unsigned uring_depth(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n <= 4 ? 128 : n >= 64 ? 8 : (unsigned)(512 / n);
}

/* For libfuse: what fusermount3 is to ask for, and io_uring. */
static char *mount_options(const struct mount_config *c)
{
	char *o = malloc(2 * strlen(c->fsname) + 256), *w = o;

	if (!o)
		return NULL;
	w = stpcpy(w, "subtype=clonefs,default_permissions,fsname=");
	add_escaped(&w, c->fsname);
	if (c->allow_other)
		w = stpcpy(w, ",allow_other");
	if (c->read_only)
		w = stpcpy(w, ",ro");
	w = stpcpy(w, c->nosuid ? ",nosuid" : ",suid");
	w = stpcpy(w, c->nodev ? ",nodev" : ",dev");
	if (c->noexec)
		w = stpcpy(w, ",noexec");
	if (io_uring_wanted(c))
		sprintf(w, ",io_uring,io_uring_q_depth=%u", uring_depth());
	return o;
}

static int new_fuse_session(struct session *s)
{
	char *options = mount_options(s->c);
	char program[] = "clonefs", dash_o[] = "-o";
	char *argv[] = { program, dash_o, options, NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);

	if (!options)
		return -ENOMEM;
	fuse_set_log_func(libfuse_log);
	s->fuse = fuse_session_new(&args, &ops, sizeof(ops), s);
	fuse_opt_free_args(&args);
	free(options);
	return s->fuse ? 0 : err_set(-EINVAL, "libfuse did not make a session: %s", last_complaint);
}

/* As root: by mount(2), which says exactly what went wrong. libfuse gets the descriptor. */
static int mount_as_root(struct session *s)
{
	const struct mount_config *c = s->c;
	unsigned long flags = (c->read_only ? MS_RDONLY : 0) | (c->nosuid ? MS_NOSUID : 0) | (c->nodev ? MS_NODEV : 0) | (c->noexec ? MS_NOEXEC : 0);
	char data[128], device[32];
	int rc, fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_set(-errno, "cannot open /dev/fuse (%s): the kernel needs its fuse module (modprobe fuse)", strerror(errno));
	snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions%s", fd, c->allow_other ? ",allow_other" : "");
	if (mount(c->fsname, s->mountpoint, "fuse.clonefs", flags, data) < 0) {
		rc = err_set(-errno, "cannot mount on %s: %s", s->mountpoint, strerror(errno));
		close(fd);
		return rc;
	}
	s->mounted = true;
	snprintf(device, sizeof(device), "/dev/fd/%d", fd);
	if (fuse_session_mount(s->fuse, device) == 0)
		return 0;
	close(fd); /* which ends the connection; session_stop takes the mount away */
	return err_set(-EIO, "libfuse did not take the connection of %s: %s", s->mountpoint, last_complaint);
}

static int do_mount(struct session *s)
{
	int rc = 0;

	last_complaint[0] = '\0';
	if (geteuid() == 0)
		rc = mount_as_root(s);
	else if (fuse_session_mount(s->fuse, s->mountpoint) != 0)
		rc = err_set(-EPERM, "cannot mount on %s: %s", s->mountpoint, last_complaint[0] ? last_complaint : "fusermount3 refused, see above");
	if (rc)
		return rc;
	s->mounted = true;
	wire_attach(s);
	return 0;
}

/* The first answer shows that it works; then the kernel reads ahead as far as asked (its default is 128 KiB; one fetch from the store costs
 * the same for much more). */
static int first_look(struct session *s)
{
	char path[80], text[16];
	struct stat st;
	int fd, n;

	if (stat(s->mountpoint, &st) < 0)
		return err_set(-errno, "%s was mounted but does not answer: %s", s->mountpoint, strerror(errno));
	if (s->c->readahead_kb == 0)
		return 0;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
	n = snprintf(text, sizeof(text), "%u", s->c->readahead_kb);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* Only root may, and only where sysfs is: reading is a little slower otherwise. */
	if (fd < 0 || write(fd, text, (size_t)n) != n)
		logmsg(LOGMSG_INFO, "the kernel's readahead stays as it is (%s: %s)", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return 0;
}

int session_start(const struct mount_config *c, struct volume *v, struct session **ret)
{
	struct sigaction wake = { .sa_handler = ignore_signal };
	struct session *s = calloc(1, sizeof(*s));
	unsigned threads = choose_threads(c);
	int rc;

	if (!s)
		return -ENOMEM;
	s->c = c;
	s->v = v;
	pthread_mutex_init(&s->parked_mu, NULL);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->mountpoint = strdup(c->mountpoint);
	rc = s->event_fd < 0 ? -errno : s->mountpoint ? lookups_new(v, &s->lookups) : -ENOMEM;
	if (!rc && sigaction(WAKE_SIGNAL, &wake, NULL) < 0)
		rc = -errno;
	if (!rc)
		rc = new_fuse_session(s);
	if (!rc)
		rc = do_mount(s);
	for (unsigned i = 0; !rc && i < threads; i++)
		rc = start_worker(s);
	if (!rc)
		rc = first_look(s);
	if (rc) {
		session_stop(s);
		session_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int session_event_fd(const struct session *s)
{
	return s->event_fd;
}

bool session_tick(struct session *s, int *ret_again_ms)
{
	uint64_t n;

	if (read(s->event_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		logmsg(LOGMSG_ERROR, "the event counter of the mount: %s", strerror(errno));
	*ret_again_ms = request_reap_killed(s) ? KILLED_TICK_MS : -1;
	return atomic_load(&s->ended);
}

/* ----------------------------------------------------------------- unmount */

struct unmounting { struct session *s; int result; atomic_bool done; };

/* umount(2) writes dirty mapped pages back, through us, and these writes may be parked: so it has a thread of its own. */
static void *unmount_gently(void *arg)
{
	struct unmounting *u = arg;
	int fd;

	for (int i = 0; i < BUSY_TRIES; i++) {
		u->result = umount2(u->s->mountpoint, UMOUNT_NOFOLLOW) == 0 ? 0 : -errno;
		if (u->result != -EBUSY)
			break;
		sleep_ms(100);
	}
	if (u->result == -EBUSY) {
		fd = open(u->s->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0) {
			if (syncfs(fd) < 0)
				logmsg(LOGMSG_WARNING, "%s: syncing before the forced unmount: %s", u->s->mountpoint, strerror(errno));
			close(fd);
		}
	}
	atomic_store(&u->done, true);
	return NULL;
}

static void unmount(struct session *s)
{
	struct unmounting u = { .s = s, .result = -EIO };
	pthread_t thread;
	bool started = pthread_create(&thread, NULL, unmount_gently, &u) == 0;

	for (int ms = 0; started && !atomic_load(&u.done) && ms < UNMOUNT_PATIENCE_MS; ms += 10)
		sleep_ms(10);
	if (!started || !atomic_load(&u.done) || u.result != 0) {
		if (!atomic_load(&s->ended))
			logmsg(LOGMSG_WARNING, "%s is in use: unmounting it by force; processes that use it get errors from now on", s->mountpoint);
		if (umount2(s->mountpoint, MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && !atomic_load(&s->ended))
			logmsg(LOGMSG_ERROR, "cannot unmount %s: %s", s->mountpoint, strerror(errno));
	}
	if (started)
		pthread_join(thread, NULL);
}

/*
 * Who is not root asks fusermount3. Not through libfuse: that closes the descriptor first, and whatever is opened next in this process, a log object
 * or a segment, would get its number while answers to the kernel are still written to it. Returns the process, or 0.
 */
static pid_t ask_helper(struct session *s)
{
	char name[] = "fusermount3", u[] = "-u", q[] = "-q", z[] = "-z", end[] = "--";
	char *argv[] = { name, u, q, z, end, s->mountpoint, NULL };
	pid_t pid;
	int rc = posix_spawnp(&pid, name, NULL, NULL, argv, environ);

	if (rc == 0)
		return pid;
	logmsg(LOGMSG_ERROR, "cannot run fusermount3 to unmount %s: %s", s->mountpoint, strerror(rc));
	return 0;
}

static bool helper_ended(struct session *s, pid_t pid, int flags)
{
	int status = 0;
	pid_t got;

	do
		got = waitpid(pid, &status, flags);
	while (got < 0 && errno == EINTR);
	if (got == pid && status != 0 && !atomic_load(&s->ended))
		logmsg(LOGMSG_ERROR, "fusermount3 could not unmount %s", s->mountpoint);
	return got != 0;
}

/* Ends the connection, whoever still uses the mount, and keeps the number of its descriptor taken: by one that takes nothing and (as
 * libfuse asks before it would unmount once more) polls as broken. */
static void cut_connection(struct session *s)
{
	int ends[2], fd = fuse_session_fd(s->fuse);

	if (fd < 0)
		return;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		logmsg(LOGMSG_WARNING, "%s: a pipe: %s", s->mountpoint, strerror(errno));
		return;
	}
	close(ends[0]);
	if (dup3(ends[1], fd, O_CLOEXEC) < 0)
		logmsg(LOGMSG_WARNING, "%s: closing the connection: %s", s->mountpoint, strerror(errno));
	close(ends[1]);
}

/* The helper's umount(2) writes dirty pages back, through the workers; where that has to wait for the store it is not waited for. */
static void unmount_by_helper(struct session *s)
{
	pid_t helper = ask_helper(s);
	bool over = helper == 0;

	for (int ms = 0; !over && ms < UNMOUNT_PATIENCE_MS; ms += 10) {
		over = helper_ended(s, helper, WNOHANG);
		if (!over)
			sleep_ms(10);
	}
	join_workers(s);
	cut_connection(s);
	if (!over)
		helper_ended(s, helper, 0);
}

void session_stop(struct session *s)
{
	if (s->mounted && !atomic_load(&s->ended)) {
		if (geteuid() == 0)
			unmount(s);
		else
			unmount_by_helper(s);
	}
	s->mounted = false;
	join_workers(s);
}

void session_free(struct session *s)
{
	if (!s)
		return;
	if (s->fuse) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 18)
		/* Only libfuse's own loop ends the threads of its rings; on a session that has exited it does nothing else. */
		fuse_session_exit(s->fuse);
		fuse_session_loop_mt(s->fuse, NULL);
#endif
		fuse_session_unmount(s->fuse); /* where libfuse mounted: frees what it keeps of that */
		fuse_session_destroy(s->fuse);
	}
	lookups_free(s->lookups);
	if (s->event_fd >= 0)
		close(s->event_fd);
	pthread_mutex_destroy(&s->parked_mu);
	free(s->mountpoint);
	free(s);
}
