/*
 * ctlsock.c - the control socket of a process (the server's side;
 * ctlsock_client.c is the other).
 *
 * One thread polls the listening socket, a wake-up eventfd and the
 * connections. A connection is IDLE (reads a request line) or WAITING (for an
 * answer that comes later); while it waits it is given a tick now and then, and
 * nothing more is read from it.
 *
 * What is waited for may end on any thread, perhaps after this server is gone.
 * So it belongs to itself: it holds a reference to the hub, which outlives the
 * server as long as any such answer does. Lock: hub.mu, innermost, held for a
 * few instructions.
 *
 * Nothing here is durable; a crash leaves a stale socket, which the next
 * process recognises (connect is refused) and replaces.
 */
#include "ctlsock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "logmsg.h"

#define CONNS_MAX 32
#define LINE_BYTES 1024
#define TICK_MS 200

struct ctlsock_hub {
	pthread_mutex_t mu;
	unsigned refs;
	int wake; /* eventfd; -1 once the server is gone */
};

struct ctlsock_conn {
	struct ctlsock *server;
	int fd;
	struct ctlsock_later *later; /* NULL: IDLE */
	size_t len;
	char line[LINE_BYTES];
};

struct ctlsock {
	struct ctlsock_options o;
	struct ctlsock_hub *hub;
	int listen_fd;
	pthread_t thread;
	atomic_bool stopping;
	struct ctlsock_conn *conns[CONNS_MAX]; /* the thread's own */
	size_t conn_count;
};

/* ----------------------------------------------------------- answers to come */

static void hub_unref(struct ctlsock_hub *h)
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

void ctlsock_hold(struct ctlsock_conn *k, struct ctlsock_later *l)
{
	struct ctlsock_hub *h = k->server->hub;

	l->hub = h;
	l->done = l->abandoned = false;
	pthread_mutex_lock(&h->mu);
	h->refs++;
	pthread_mutex_unlock(&h->mu);
}

void ctlsock_wait(struct ctlsock_conn *k, struct ctlsock_later *l)
{
	k->later = l;
}

void ctlsock_release(struct ctlsock_later *l)
{
	struct ctlsock_hub *h = l->hub;

	l->free(l);
	hub_unref(h);
}

void ctlsock_done(struct ctlsock_later *l)
{
	struct ctlsock_hub *h = l->hub;
	uint64_t one = 1;
	bool abandoned;

	pthread_mutex_lock(&h->mu);
	l->done = true;
	abandoned = l->abandoned;
	if (h->wake >= 0 && write(h->wake, &one, sizeof(one)) < 0)
		logmsg(LOGMSG_DEBUG, "control: wake-up: %s", strerror(errno)); /* the tick notices as well */
	pthread_mutex_unlock(&h->mu);
	if (abandoned)
		ctlsock_release(l);
}

/* ---------------------------------------------------------------- replies */

static void conn_close(struct ctlsock *s, size_t i)
{
	struct ctlsock_conn *k = s->conns[i];

	if (k->later) {
		struct ctlsock_hub *h = k->later->hub;
		void (*gone)(struct ctlsock_later *l) = k->later->gone;
		bool done;

		pthread_mutex_lock(&h->mu);
		done = k->later->done;
		k->later->abandoned = true;
		pthread_mutex_unlock(&h->mu);
		if (done)
			ctlsock_release(k->later);
		else if (gone) /* without it, later may be freed by now: whoever answers it owns it */
			gone(k->later);
	}
	close(k->fd);
	free(k);
	s->conns[i] = s->conns[--s->conn_count];
}

bool ctlsock_send(struct ctlsock_conn *k, const char *text, size_t len)
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

bool ctlsock_send_json(struct ctlsock_conn *k, struct json_object *o)
{
	const char *text = o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE) : NULL;
	bool ok = text && ctlsock_send(k, text, strlen(text)) && ctlsock_send(k, "\n", 1);

	json_object_put(o);
	return ok;
}

bool ctlsock_send_result(struct ctlsock_conn *k, int rc, const char *why)
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
	return ctlsock_send_json(k, o);
}

/* --------------------------------------------------------------- requests */

static bool serve_line(struct ctlsock *s, struct ctlsock_conn *k, const char *line)
{
	struct json_object *q = json_tokener_parse(line), *what;
	const char *todo = "";
	bool ok;

	if (q && json_object_is_type(q, json_type_object) && json_object_object_get_ex(q, "do", &what) &&
	    json_object_is_type(what, json_type_string))
		todo = json_object_get_string(what);
	ok = s->o.request(s->o.user, k, todo, q);
	json_object_put(q);
	return ok;
}

/* Reads what is there and serves each whole line; false = close. */
static bool conn_readable(struct ctlsock *s, struct ctlsock_conn *k)
{
	ssize_t n = recv(k->fd, k->line + k->len, sizeof(k->line) - 1 - k->len, 0);
	char *end;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n == 0)
		return false;
	k->len += (size_t)n;
	k->line[k->len] = '\0';
	while (!k->later && (end = memchr(k->line, '\n', k->len))) {
		*end = '\0';
		if (!serve_line(s, k, k->line))
			return false;
		k->len -= (size_t)(end + 1 - k->line);
		memmove(k->line, end + 1, k->len + 1);
	}
	return k->len + 1 < sizeof(k->line); /* a request that does not fit is none */
}

static bool conn_waiting(struct ctlsock_conn *k, bool tick)
{
	struct ctlsock_later *l = k->later;
	bool done, ok;

	pthread_mutex_lock(&l->hub->mu);
	done = l->done;
	pthread_mutex_unlock(&l->hub->mu);
	if (!done)
		return !tick || !l->tick || l->tick(l, k);
	k->later = NULL;
	ok = l->over(l, k);
	ctlsock_release(l);
	return ok;
}

/* False where nobody could be taken: no descriptor or memory is left, and whoever waits goes on waiting. */
static bool accept_one(struct ctlsock *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ctlsock_conn *k;

	if (fd < 0)
		return false;
	k = s->conn_count < CONNS_MAX ? calloc(1, sizeof(*k)) : NULL;
	if (!k) {
		close(fd);
		return true;
	}
	k->server = s;
	k->fd = fd;
	s->conns[s->conn_count++] = k;
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

static void serve_conns(struct ctlsock *s, const struct pollfd *fds, size_t polled, bool tick)
{
	for (size_t i = polled; i-- > 0;) { /* backwards: closing moves the last one here */
		struct ctlsock_conn *k = s->conns[i];
		bool ok = true;

		if (k->later)
			ok = !(fds[i].revents & (POLLERR | POLLHUP)) && conn_waiting(k, tick);
		else if (fds[i].revents)
			ok = conn_readable(s, k);
		if (!ok)
			conn_close(s, i);
	}
}

static void *ctlsock_thread(void *arg)
{
	struct pollfd fds[CONNS_MAX + 2];
	struct ctlsock *s = arg;
	uint64_t ticked = now_ms(), sink;
	bool tick, accepting = true; /* else for one tick not: poll would say at once that somebody waits */

	while (!atomic_load(&s->stopping)) {
		size_t n = s->conn_count;

		for (size_t i = 0; i < n; i++)
			fds[i] = (struct pollfd){ s->conns[i]->fd, s->conns[i]->later ? 0 : POLLIN, 0 };
		fds[n] = (struct pollfd){ accepting ? s->listen_fd : -1, POLLIN, 0 };
		fds[n + 1] = (struct pollfd){ s->hub->wake, POLLIN, 0 };
		if (poll(fds, n + 2, n || !accepting ? TICK_MS : -1) < 0 && errno != EINTR)
			pause_ms(TICK_MS); /* no memory, which passes; without this thread every caller would wait for ever */
		if (fds[n + 1].revents && read(s->hub->wake, &sink, sizeof(sink)) < 0 && errno != EAGAIN)
			logmsg(LOGMSG_WARNING, "control: wake-up: %s", strerror(errno));
		tick = now_ms() - ticked >= TICK_MS;
		if (tick)
			ticked = now_ms();
		serve_conns(s, fds, n, tick);
		accepting = !fds[n].revents || accept_one(s);
	}
	while (s->conn_count)
		conn_close(s, s->conn_count - 1);
	return NULL;
}

/* ------------------------------------------------------------- its socket */

/* In /tmp anybody can make a directory of that name first. */
static bool is_tmp_of_user(const char *dir)
{
	char tail[32];
	size_t n = (size_t)snprintf(tail, sizeof(tail), "-%u", (unsigned)geteuid()), len = strlen(dir);

	return strncmp(dir, "/tmp/", 5) == 0 && !strchr(dir + 5, '/') && len > 5 + n && strcmp(dir + len - n, tail) == 0;
}

int ctlsock_make_dir(const char *path)
{
	struct stat st;
	char dir[PATH_MAX];
	char *slash;
	bool ours;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	ours = is_tmp_of_user(dir);
	if (mkdir(dir, ours ? 0700 : 0755) && errno != EEXIST)
		return err_set(-errno, "making the directory %s for a socket: %s; choose another path for it", dir, strerror(errno));
	if (ours && (lstat(dir, &st) || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077)))
		return err_set(-EPERM, "%s is not a directory of yours alone; remove it, or choose another path for the socket", dir);
	return 0;
}

/* A socket that refuses is left over: nobody listens on it any more. One that does not is a living process', however busy that is; and what is no
 * socket was never ours. */
static int replace_stale(const char *path, const struct sockaddr_un *a)
{
	struct stat st;
	int fd, rc;

	if (lstat(path, &st))
		return errno == ENOENT ? 0 : err_set(-errno, "the socket %s: %s", path, strerror(errno));
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
		return err_set(-EADDRINUSE, "%s: another process answers on this socket; end it, or choose another path for the socket", path);
	if (rc != ECONNREFUSED && rc != ENOENT)
		return err_set(-rc, "the socket %s: %s; remove it, or choose another path", path, strerror(rc));
	if (unlink(path) && errno != ENOENT)
		return err_set(-errno, "removing the stale socket %s: %s", path, strerror(errno));
	return 0;
}

int ctlsock_listen(const char *path, int *ret_fd)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(ERR_CONFIG, "%s: longer than a socket's name may be (%zu bytes); choose a shorter path", path,
			       sizeof(a.sun_path) - 1);
	strcpy(a.sun_path, path);
	rc = ctlsock_make_dir(path);
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

/* ----------------------------------------------------------- start, stop */

static int hub_new(struct ctlsock_hub **ret)
{
	struct ctlsock_hub *h = calloc(1, sizeof(*h));

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

static void hub_retire(struct ctlsock_hub *h)
{
	pthread_mutex_lock(&h->mu);
	close(h->wake);
	h->wake = -1;
	pthread_mutex_unlock(&h->mu);
	hub_unref(h);
}

static void ctlsock_free(struct ctlsock *s)
{
	if (s->listen_fd >= 0) {
		close(s->listen_fd);
		unlink(s->o.path);
	}
	if (s->hub)
		hub_retire(s->hub);
	free(s);
}

int ctlsock_start(const struct ctlsock_options *o, struct ctlsock **ret)
{
	struct ctlsock *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->o = *o;
	s->listen_fd = -1;
	rc = hub_new(&s->hub);
	if (!rc)
		rc = ctlsock_listen(o->path, &s->listen_fd);
	if (!rc)
		rc = -pthread_create(&s->thread, NULL, ctlsock_thread, s);
	if (rc) {
		ctlsock_free(s);
		return rc;
	}
	*ret = s;
	return 0;
}

void ctlsock_stop(struct ctlsock *s)
{
	uint64_t one = 1;

	if (!s)
		return;
	atomic_store(&s->stopping, true);
	if (write(s->hub->wake, &one, sizeof(one)) < 0)
		logmsg(LOGMSG_WARNING, "control: wake-up: %s", strerror(errno));
	pthread_join(s->thread, NULL);
	ctlsock_free(s);
}
