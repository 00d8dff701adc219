/*
 * control.c - the control socket of a mount: what is asked there, and what is
 * done about it (ctlsock.h is the socket; control_client.c the other side).
 *
 * sync, drain and unmount wait for volume_sync, which resumes on a thread of
 * the executor, perhaps after this server is gone (volume_close answers what is
 * still parked): a waiter then frees itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "control_internal.h"
#include "err.h"

struct waiter {
	struct volume_wait w;
	struct ctlsock_later later;
	struct control *c;
	bool then_stop; /* the request was unmount */
	int rc;         /* before ctlsock_done */
};

static struct waiter *waiter_of(struct ctlsock_later *l) { return CL_CONTAINER_OF(l, struct waiter, later); }

static void waiter_resume(struct volume_wait *w, int rc)
{
	struct waiter *x = CL_CONTAINER_OF(w, struct waiter, w);

	x->rc = rc;
	ctlsock_done(&x->later);
}

static bool send_progress(struct control *c, struct ctlsock_conn *k)
{
	struct volume_status st;
	char line[64];
	int n;

	volume_status(c->o.volume, &st);
	n = snprintf(line, sizeof(line), "{\"progress\":%llu}\n", (unsigned long long)st.lag_bytes);
	return ctlsock_send(k, line, (size_t)n);
}

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

static bool finish_wait(struct waiter *x, struct ctlsock_conn *k, int rc)
{
	struct control *c = x->c;
	char why[512] = "";
	struct volume_status st;

	if (rc) {
		volume_status(c->o.volume, &st);
		snprintf(why, sizeof(why), "%s: %s", st.error[0] ? st.error : err_text(rc),
			 x->then_stop ? "still mounted, what is unsent stays in the local log" : "what is unsent stays in the local log");
	} else if (x->then_stop) {
		c->o.stop(c->o.user, true);
	}
	return ctlsock_send_result(k, rc, why);
}

static bool waiter_tick(struct ctlsock_later *l, struct ctlsock_conn *k)
{
	return send_progress(waiter_of(l)->c, k);
}

static bool waiter_over(struct ctlsock_later *l, struct ctlsock_conn *k)
{
	return finish_wait(waiter_of(l), k, waiter_of(l)->rc);
}

static void waiter_free(struct ctlsock_later *l)
{
	free(waiter_of(l));
}

/* Starts volume_sync; the answer comes at once or later. */
static bool start_wait(struct control *c, struct ctlsock_conn *k, bool then_stop)
{
	struct waiter *x = calloc(1, sizeof(*x));
	bool ok;
	int rc;

	if (!x)
		return ctlsock_send_result(k, -ENOMEM, NULL);
	x->w.resume = waiter_resume;
	x->later = (struct ctlsock_later){ .tick = waiter_tick, .over = waiter_over, .free = waiter_free };
	x->c = c;
	x->then_stop = then_stop;
	ctlsock_hold(k, &x->later);
	rc = volume_sync(c->o.volume, &x->w);
	if (rc == ERR_PARKED) {
		ctlsock_wait(k, &x->later);
		return send_progress(c, k);
	}
	if (rc == -EROFS || rc == ERR_READ_ONLY) { /* a read-only mount has nothing to send; a fenced one has, and says so */
		struct volume_status st;

		volume_status(c->o.volume, &st);
		rc = st.state == VOLUME_SERVING_RO ? 0 : rc;
	}
	ok = finish_wait(x, k, rc);
	ctlsock_release(&x->later);
	return ok;
}

static bool request_unmount(struct control *c, struct ctlsock_conn *k, bool drain)
{
	int rc = mount_is_busy(c->o.mountpoint);

	if (rc)
		return ctlsock_send_result(k, rc, err_last());
	if (drain)
		return start_wait(c, k, true);
	c->o.stop(c->o.user, false);
	return ctlsock_send_result(k, 0, NULL);
}

static bool request(void *user, struct ctlsock_conn *k, const char *what, struct json_object *q)
{
	struct control *c = user;
	struct json_object *drain;

	if (strcmp(what, "stat") == 0)
		return ctlsock_send_json(k, control_stat_json(c));
	if (strcmp(what, "sync") == 0 || strcmp(what, "drain") == 0)
		return start_wait(c, k, false);
	if (strcmp(what, "unmount") == 0)
		return request_unmount(c, k, !json_object_object_get_ex(q, "drain", &drain) || json_object_get_boolean(drain));
	return ctlsock_send_result(k, -EINVAL, "unknown request");
}

/* ----------------------------------------------------------- start, stop */

int control_check(const char *path, const char *metrics)
{
	int fd, rc = ctlsock_listen(path, &fd);

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

/* A mount whose socket was put elsewhere is still found by its mount point: a link from the default place, where that can be made. */
static void link_default(struct control *c)
{
	char path[CONTROL_PATH_MAX];

	control_default_path(c->o.mountpoint, path);
	if (strcmp(path, c->o.path) == 0 || ctlsock_make_dir(path))
		return;
	unlink(path);
	if (symlink(c->o.path, path) == 0)
		snprintf(c->link, sizeof(c->link), "%s", path);
}

int control_start(const struct control_options *o, struct control **ret)
{
	struct control *c = calloc(1, sizeof(*c));
	struct ctlsock_options so = { .path = o->path, .request = request, .user = c };
	struct metrics_options mo = { .where = o->metrics, .prefix = "clonefs", .render = control_metrics, .user = c };
	int rc = 0;

	if (!c)
		return -ENOMEM;
	c->o = *o;
	clock_gettime(CLOCK_BOOTTIME, &c->started);
	if (o->metrics)
		rc = metrics_start(&mo, &c->metrics);
	if (!rc)
		rc = ctlsock_start(&so, &c->socket);
	if (rc) {
		metrics_stop(c->metrics);
		free(c);
		return rc;
	}
	link_default(c);
	*ret = c;
	return 0;
}

void control_stop(struct control *c)
{
	if (!c)
		return;
	ctlsock_stop(c->socket);
	metrics_stop(c->metrics);
	if (c->link[0])
		unlink(c->link);
	free(c);
}
