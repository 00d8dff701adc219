/*
 * control.c - the control socket of a mount (the server's side; control_client.c
 * is the other).
 *
 * One thread polls the listening socket, a wake-up eventfd and the
 * connections. A connection is IDLE (reads a request line) or WAITING (for
 * volume_sync, as sync, drain or unmount); while it waits it gets a progress
 * line now and then, and nothing more is read from it.
 *
 * volume_sync resumes on a thread of the executor, perhaps after this server
 * is gone (volume_close answers what is still parked). So a waiter belongs to
 * itself: it holds a reference to the hub, which outlives the server as long
 * as any waiter does. Lock: hub.mu, innermost, held for a few instructions.
 *
 * Nothing here is durable; a crash leaves a stale socket, which the next mount
 * recognises (connect is refused) and replaces.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control_internal.h"
#include "err.h"
#include "logmsg.h"

#define CONNS_MAX 32
#define LINE_BYTES 1024
#define TICK_MS 200

struct hub {
	pthread_mutex_t mu;
	unsigned refs;
	int wake; /* eventfd; -1 once the server is gone */
};

struct waiter {
	struct volume_wait w;
	struct hub *hub;
	bool done, abandoned; /* under hub.mu */
	int rc;
};

enum conn_state { CONN_IDLE, CONN_WAITING };

struct conn {
	int fd;
	enum conn_state state;
	struct waiter *waiter;
	bool then_stop; /* the request was unmount */
	size_t len;
	char line[LINE_BYTES];
};

static void hub_unref(struct hub *h)
{
	bool last;

	pthread_mutex_lock(&h->mu);
	last = --h->refs == 0;
	pthread_mutex_unlock(&h->mu);
	if (!last)
		return;
	pthread_mutex_destroy(&h->mu);
	free(h);
}

static void waiter_resume(struct volume_wait *w, int rc)
{
	struct waiter *x = CL_CONTAINER_OF(w, struct waiter, w);
	struct hub *h = x->hub;
	uint64_t one = 1;
	bool abandoned;

	pthread_mutex_lock(&h->mu);
	x->rc = rc;
	x->done = true;
	abandoned = x->abandoned;
	if (h->wake >= 0 && write(h->wake, &one, sizeof(one)) < 0)
		logmsg(LOGMSG_DEBUG, "control: wake-up: %s", strerror(errno)); /* the tick notices as well */
	pthread_mutex_unlock(&h->mu);
	if (abandoned) {
		free(x);
		hub_unref(h);
	}
}

/* ---------------------------------------------------------------- replies */

static void conn_close(struct control *c, size_t i)
{
	struct conn *k = c->conns[i];

	if (k->waiter) {
		struct hub *h = k->waiter->hub;
		bool done;

		pthread_mutex_lock(&h->mu);
		done = k->waiter->done;
		k->waiter->abandoned = true;
		pthread_mutex_unlock(&h->mu);
		if (done) {
			free(k->waiter);
			hub_unref(h);
		}
	}
	close(k->fd);
	free(k);
	c->conns[i] = c->conns[--c->conn_count];
}

/* False where the peer is gone or does not read: the caller closes. */
static bool conn_send(struct conn *k, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(k->fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

static bool conn_send_json(struct conn *k, struct json_object *o)
{
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
	bool ok = text && conn_send(k, text, strlen(text)) && conn_send(k, "\n", 1);

	json_object_put(o);
	return ok;
}

static bool conn_send_result(struct conn *k, int rc, const char *why)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return false;
	json_object_object_add(o, "ok", json_object_new_boolean(rc == 0));
	if (rc) {
		json_object_object_add(o, "error", json_object_new_string(why && why[0] ? why : err_text(rc)));
		json_object_object_add(o, "code", json_object_new_int(rc));
	} else {
		json_object_object_add(o, "pid", json_object_new_int((int)getpid()));
	}
	return conn_send_json(k, o);
}

static bool conn_send_progress(struct control *c, struct conn *k)
{
	struct volume_status st;
	char line[64];
	int n;

	volume_status(c->o.volume, &st);
	n = snprintf(line, sizeof(line), "{\"progress\":%llu}\n", (unsigned long long)st.lag_bytes);
	return conn_send(k, line, (size_t)n);
}

/* --------------------------------------------------------------- requests */

/* In use by a process (an open file, a working directory)? MNT_EXPIRE asks without unmounting: EAGAIN = it could go. */
static int mount_is_busy(const char *mountpoint)
{
	int fd;

	if (umount2(mountpoint, MNT_EXPIRE | UMOUNT_NOFOLLOW) == 0 || errno != EBUSY) {
		fd = open(mountpoint, O_PATH | O_NOFOLLOW | O_CLOEXEC); /* a look takes the mark away again */
		if (fd >= 0)
			close(fd);
		return 0;
	}
	return err_set(-EBUSY, "%s is in use: end the processes that use it (fuser -vm %s shows them) and try again", mountpoint, mountpoint);
}

static bool finish_wait(struct control *c, struct conn *k, int rc)
{
	char why[512] = "";
	struct volume_status st;

	k->state = CONN_IDLE;
	if (rc) {
		volume_status(c->o.volume, &st);
		snprintf(why, sizeof(why), "%s: %s", st.error[0] ? st.error : err_text(rc),
			 k->then_stop ? "still mounted, what is unsent stays in the local log" : "what is unsent stays in the local log");
	} else if (k->then_stop) {
		c->o.stop(c->o.user, true);
	}
	return conn_send_result(k, rc, why);
}

/* Starts volume_sync; the answer comes at once or later. */
static bool start_wait(struct control *c, struct conn *k, bool then_stop)
{
	struct waiter *x = calloc(1, sizeof(*x));
	int rc;

	k->then_stop = then_stop;
	if (!x)
		return conn_send_result(k, -ENOMEM, NULL);
	x->w.resume = waiter_resume;
	x->hub = c->hub;
	pthread_mutex_lock(&c->hub->mu);
	c->hub->refs++;
	pthread_mutex_unlock(&c->hub->mu);
	rc = volume_sync(c->o.volume, &x->w);
	if (rc == ERR_PARKED) {
		k->waiter = x;
		k->state = CONN_WAITING;
		return conn_send_progress(c, k);
	}
	free(x);
	hub_unref(c->hub);
	if (rc == -EROFS || rc == ERR_READ_ONLY) { /* a read-only mount has nothing to send; a fenced one has, and says so */
		struct volume_status st;

		volume_status(c->o.volume, &st);
		rc = st.state == VOLUME_SERVING_RO ? 0 : rc;
	}
	return finish_wait(c, k, rc);
}

static bool request_unmount(struct control *c, struct conn *k, bool drain)
{
	int rc = mount_is_busy(c->o.mountpoint);

	if (rc)
		return conn_send_result(k, rc, err_last());
	if (drain)
		return start_wait(c, k, true);
	c->o.stop(c->o.user, false);
	return conn_send_result(k, 0, NULL);
}

static bool serve_line(struct control *c, struct conn *k, const char *line)
{
	struct json_object *q = json_tokener_parse(line), *what, *drain;
	const char *todo = "";
	bool ok;

	if (q && json_object_is_type(q, json_type_object) && json_object_object_get_ex(q, "do", &what) &&
	    json_object_is_type(what, json_type_string))
		todo = json_object_get_string(what);
	if (strcmp(todo, "stat") == 0)
		ok = conn_send_json(k, control_stat_json(c));
	else if (strcmp(todo, "sync") == 0 || strcmp(todo, "drain") == 0)
		ok = start_wait(c, k, false);
	else if (strcmp(todo, "unmount") == 0)
		ok = request_unmount(c, k, !json_object_object_get_ex(q, "drain", &drain) || json_object_get_boolean(drain));
	else
		ok = conn_send_result(k, -EINVAL, "unknown request");
	json_object_put(q);
	return ok;
}

/* Reads what is there and serves each whole line; false = close. */
static bool conn_readable(struct control *c, struct conn *k)
{
	ssize_t n = recv(k->fd, k->line + k->len, sizeof(k->line) - 1 - k->len, 0);
	char *end;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n == 0)
		return false;
	k->len += (size_t)n;
	k->line[k->len] = '\0';
	while (k->state == CONN_IDLE && (end = memchr(k->line, '\n', k->len))) {
		*end = '\0';
		if (!serve_line(c, k, k->line))
			return false;
		k->len -= (size_t)(end + 1 - k->line);
		memmove(k->line, end + 1, k->len + 1);
	}
	return k->len + 1 < sizeof(k->line); /* a request that does not fit is none */
}

static bool conn_waiting(struct control *c, struct conn *k, bool tick)
{
	bool done;
	int rc;

	pthread_mutex_lock(&c->hub->mu);
	done = k->waiter->done;
	rc = k->waiter->rc;
	pthread_mutex_unlock(&c->hub->mu);
	if (!done)
		return !tick || conn_send_progress(c, k);
	free(k->waiter);
	k->waiter = NULL;
	hub_unref(c->hub);
	return finish_wait(c, k, rc);
}

/* False where nobody could be taken: no descriptor or memory is left, and whoever waits goes on waiting. */
static bool accept_one(struct control *c)
{
	int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct conn *k;

	if (fd < 0)
		return false;
	k = c->conn_count < CONNS_MAX ? calloc(1, sizeof(*k)) : NULL;
	if (!k) {
		close(fd);
		return true;
	}
	k->fd = fd;
	c->conns[c->conn_count++] = k;
	return true;
}

/* ------------------------------------------------------------- the thread */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static void serve_conns(struct control *c, const struct pollfd *fds, size_t polled, bool tick)
{
	for (size_t i = polled; i-- > 0;) { /* backwards: closing moves the last one here */
		struct conn *k = c->conns[i];
		bool ok = true;

		if (k->state == CONN_WAITING)
			ok = !(fds[i].revents & (POLLERR | POLLHUP)) && conn_waiting(c, k, tick);
		else if (fds[i].revents)
			ok = conn_readable(c, k);
		if (!ok)
			conn_close(c, i);
	}
}

static void *control_thread(void *arg)
{
	struct pollfd fds[CONNS_MAX + 2];
	struct control *c = arg;
	uint64_t ticked = now_ms(), sink;
	bool tick, accepting = true; /* else for one tick not: poll would say at once that somebody waits */

	while (!atomic_load(&c->stopping)) {
		size_t n = c->conn_count;

		for (size_t i = 0; i < n; i++)
			fds[i] = (struct pollfd){ c->conns[i]->fd, c->conns[i]->state == CONN_IDLE ? POLLIN : 0, 0 };
		fds[n] = (struct pollfd){ accepting ? c->listen_fd : -1, POLLIN, 0 };
		fds[n + 1] = (struct pollfd){ c->hub->wake, POLLIN, 0 };
		if (poll(fds, n + 2, n || !accepting ? TICK_MS : -1) < 0 && errno != EINTR)
			pause_ms(TICK_MS); /* no memory, which passes; without this thread every caller would wait for ever */
		if (fds[n + 1].revents && read(c->hub->wake, &sink, sizeof(sink)) < 0 && errno != EAGAIN)
			logmsg(LOGMSG_WARNING, "control: wake-up: %s", strerror(errno));
		tick = now_ms() - ticked >= TICK_MS;
		if (tick)
			ticked = now_ms();
		serve_conns(c, fds, n, tick);
		accepting = !fds[n].revents || accept_one(c);
	}
	while (c->conn_count)
		conn_close(c, c->conn_count - 1);
	return NULL;
}

/* ----------------------------------------------------------- start, stop */

static int make_dir_of(const char *path)
{
	bool ours = strncmp(path, CONTROL_TMP_PREFIX, strlen(CONTROL_TMP_PREFIX)) == 0;
	struct stat st;
	char dir[PATH_MAX];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	if (mkdir(dir, ours ? 0700 : 0755) && errno != EEXIST)
		return err_set(-errno, "making the directory %s for the control socket: %s; choose another with -o control=PATH", dir,
			       strerror(errno));
	/* In /tmp anybody can make a directory of that name first. */
	if (ours && (lstat(dir, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)))
		return err_set(-EPERM, "%s is not a directory of yours alone; remove it, or choose another place with -o control=PATH", dir);
	return 0;
}

/* A socket that refuses is left over: nobody listens on it any more. One that does not is a living mount's, however busy that is; and what is no
 * socket was never ours. */
static int replace_stale(const char *path, const struct sockaddr_un *a)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : err_set(-errno, "the control socket %s: %s", path, strerror(errno));
	/* A link leads to a socket that was put elsewhere, or, when that is gone, nowhere. */
	if (S_ISLNK(st.st_mode) ? stat(path, &st) == 0 && !S_ISSOCK(st.st_mode) : !S_ISSOCK(st.st_mode))
		return err_set(-EEXIST, "%s is there already and is not a socket: choose another path for it", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	do
		rc = connect(fd, (const struct sockaddr *)a, sizeof(*a)) ? errno : 0;
	while (rc == EINTR);
	close(fd);
	if (rc == 0 || rc == EAGAIN)
		return err_set(-EADDRINUSE, "%s: another mount answers on this control socket; unmount it, or choose another with -o control=PATH",
			       path);
	if (rc != ECONNREFUSED && rc != ENOENT)
		return err_set(-rc, "the control socket %s: %s; remove it, or choose another path", path, strerror(rc));
	if (unlink(path) && errno != ENOENT)
		return err_set(-errno, "removing the stale control socket %s: %s", path, strerror(errno));
	return 0;
}

int control_listen_unix(const char *path, int *ret_fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(ERR_CONFIG, "%s: longer than a socket's name may be (%zu bytes); choose a shorter path", path,
			       sizeof(a.sun_path) - 1);
	strcpy(a.sun_path, path);
	rc = make_dir_of(path);
	if (!rc)
		rc = replace_stale(path, &a);
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(-errno, "making a socket: %s", strerror(errno));
	/* Mode before listen: until then nobody can connect. */
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || chmod(path, 0600) || listen(fd, 16)) {
		rc = err_set(-errno, "the socket %s: %s; choose another path", path, strerror(errno));
		close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

int control_check(const char *path, const char *metrics)
{
	int fd, rc = control_listen_unix(path, &fd);

	if (!rc) {
		close(fd);
		unlink(path);
	}
	if (rc || !metrics)
		return rc;
	rc = metrics_listen(metrics, &fd);
	if (!rc)
		close(fd);
	if (!rc && strncmp(metrics, "unix:", 5) == 0)
		unlink(metrics + 5);
	return rc;
}

static int hub_new(struct hub **ret)
{
	struct hub *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->wake < 0) {
		free(h);
		return -errno;
	}
	pthread_mutex_init(&h->mu, NULL);
	h->refs = 1;
	*ret = h;
	return 0;
}

static void hub_retire(struct hub *h)
{
	pthread_mutex_lock(&h->mu);
	close(h->wake);
	h->wake = -1;
	pthread_mutex_unlock(&h->mu);
	hub_unref(h);
}

/* A mount whose socket was put elsewhere is still found by its mount point: a link from the default place, where that can be made. */
static void link_default(struct control *c)
{
	char path[CONTROL_PATH_MAX];

	control_default_path(c->o.mountpoint, path);
	if (strcmp(path, c->o.path) == 0 || make_dir_of(path))
		return;
	unlink(path);
	if (symlink(c->o.path, path) == 0)
		snprintf(c->link, sizeof(c->link), "%s", path);
}

static void control_free(struct control *c)
{
	if (c->listen_fd >= 0) {
		close(c->listen_fd);
		unlink(c->o.path);
	}
	if (c->link[0])
		unlink(c->link);
	if (c->hub)
		hub_retire(c->hub);
	free(c->conns);
	free(c);
}

int control_start(const struct control_options *o, struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	int rc;

	if (!c)
		return -ENOMEM;
	c->o = *o;
	c->listen_fd = -1;
	clock_gettime(CLOCK_BOOTTIME, &c->started);
	c->conns = calloc(CONNS_MAX, sizeof(*c->conns));
	rc = c->conns ? hub_new(&c->hub) : -ENOMEM;
	if (!rc)
		rc = control_listen_unix(o->path, &c->listen_fd);
	if (!rc && o->metrics)
		rc = metrics_start(c, o->metrics, &c->metrics);
	if (!rc)
		rc = -pthread_create(&c->thread, NULL, control_thread, c);
	if (rc) {
		metrics_stop(c->metrics);
		control_free(c);
		return rc;
	}
	link_default(c);
	*ret = c;
	return 0;
}

void control_stop(struct control *c)
{
	uint64_t one = 1;

	if (!c)
		return;
	atomic_store(&c->stopping, true);
	if (write(c->hub->wake, &one, sizeof(one)) < 0)
		logmsg(LOGMSG_WARNING, "control: wake-up: %s", strerror(errno));
	pthread_join(c->thread, NULL);
	metrics_stop(c->metrics);
	control_free(c);
}
