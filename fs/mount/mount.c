/*
 * mount.c - one mounted volume as a process: opens everything in order, watches
 * while it serves, and takes everything down in the reverse order.
 *
 * Order: cache directory (locked), store, executor, volume, FUSE session, control. A failure on the way takes down what
 * is up, and tells ready() why. A process that dies at any point leaves at worst a dead mount, which the next one
 * detaches, and the local log, which the next one adopts.
 */
#include "mount.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "daemon.h"
#include "disk.h"
#include "env.h"
#include "err.h"
#include "exec.h"
#include "logmsg.h"
#include "process.h"
#include "session.h"
#include "store.h"

#define WATCH_MS 1000
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 10000
#define PROGRESS_LOG_S 10

struct mount {
	const struct mount_config *c;
	struct disk *disk;
	struct store *store;
	struct exec *exec;
	struct volume *volume;
	struct session *session;
	struct control *control;
	char meta_dir[PATH_MAX];
	struct volume_options options;
	int stop_fd;
	atomic_bool stop, drain;
	enum volume_state state;  /* as last told in the log */
};

static void sleep_ms(uint64_t ms)
{
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000 * 1000000) };

	nanosleep(&t, NULL);
}

/* ------------------------------------------------------------------- start */

static int open_cache_dir(struct mount *m)
{
	const struct mount_config *c = m->c;
	int rc = process_make_dirs(c->cache_dir);

	if (!rc)
		rc = process_check_mountpoint(c);
	if (!rc)
		rc = disk_posix_open(c->cache_dir, &m->disk);
	if (rc == -EWOULDBLOCK && !err_last()[0])
		rc = err_set(rc, "the cache directory %s is in use by another mount: give one of its own with -o cache_dir=DIR", c->cache_dir);
	if (rc)
		return rc;
	if ((size_t)snprintf(m->meta_dir, sizeof(m->meta_dir), "%s/meta", c->cache_dir) >= sizeof(m->meta_dir))
		return err_set(-ENAMETOOLONG, "the path of the cache directory is too long");
	return process_make_dirs(m->meta_dir);
}

/* What may pass by itself while a machine boots: the network, the name service, a metadata service that has no credentials yet. */
static bool worth_retrying(int rc)
{
	return rc == ERR_UNAVAILABLE || rc == ERR_AUTH || rc == ERR_CLOCK_SKEW || rc == -ETIMEDOUT || rc == -ECONNREFUSED || rc == -EHOSTUNREACH ||
	       rc == -ENETUNREACH;
}

static int open_volume_once(struct mount *m)
{
	int rc = 0;

	err_clear();
	if (!m->store)
		rc = store_open(m->c->address, m->c->store_options, &m->store);
	if (rc)
		return rc;
	m->options.store = m->store;
	return volume_open(&m->options, &m->volume);
}

static int open_volume(struct mount *m)
{
	struct env *env = env_system();
	uint64_t end = env->boot_ns(env) + m->c->retry_s * 1000000000ull, pause_ms = RETRY_MIN_MS;
	bool told = false;
	int rc;

	for (;;) {
		rc = open_volume_once(m);
		if (!worth_retrying(rc) || env->boot_ns(env) >= end)
			return rc;
		if (!told)
			logmsg(LOGMSG_NOTICE, "%s: %s; trying for %u s", m->c->address, err_last()[0] ? err_last() : err_text(rc), m->c->retry_s);
		if (m->options.stage)
			m->options.stage(m->options.stage_user, "the store does not answer; trying again");
		told = true;
		sleep_ms(pause_ms);
		pause_ms = pause_ms * 2 < RETRY_MAX_MS ? pause_ms * 2 : RETRY_MAX_MS;
	}
}

static void stop_requested(void *user, bool drain)
{
	struct mount *m = user;

	if (!drain)
		atomic_store(&m->drain, false);
	atomic_store(&m->stop, true);
	daemon_stop_wake();
}

static int start_control(struct mount *m)
{
	struct control_options o = {
		.path = m->c->control_path, .metrics = m->c->metrics, .address = m->c->address, .mountpoint = m->c->mountpoint,
		.volume = m->volume, .store = m->store, .stop = stop_requested, .user = m,
	};

	return control_start(&o, &m->control);
}

static unsigned work_threads(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 2 ? 2 : n > 8 ? 8 : (unsigned)n;
}

/* What opening found missing was said where the mount began, which is not the log that lasts. */
static void tell_loss(struct mount *m)
{
	struct volume_status st;

	volume_status(m->volume, &st);
	if (st.found_lost[0] && (m->c->log_file || !m->c->foreground))
		logmsg(LOGMSG_ERROR, "%s: %s", m->c->mountpoint, st.found_lost);
}

static int start(struct mount *m)
{
	int rc;

	m->options = m->c->volume;
	m->options.env = env_system();
	m->options.node = m->c->node;
	m->options.read_only = m->c->read_only;
	m->options.takeover = m->c->takeover;
	m->options.meta_dir = m->meta_dir;
	m->stop_fd = daemon_stop_open();
	if (m->stop_fd < 0)
		return m->stop_fd;
	rc = open_cache_dir(m);
	if (rc)
		return rc;
	process_machine_id(m->c->cache_dir, m->options.machine_id);
	rc = exec_threads_start(work_threads(), &m->exec);
	if (rc)
		return rc;
	m->options.disk = m->disk;
	m->options.exec = m->exec;
	rc = open_volume(m);
	if (rc)
		return rc;
	/* What opening met and coped with is no reason of what may fail now. */
	err_clear();
	/* From the moment the mount is there a signal must not leave it behind. Until then one simply ends the process: nothing was promised to anybody yet. */
	rc = daemon_stop_catch(true);
	if (!rc)
		rc = session_start(m->c, m->volume, &m->session);
	if (!rc)
		rc = start_control(m);
	if (!rc)
		rc = process_open_log(m->c, m->c->cache_dir);
	if (!rc)
		tell_loss(m);
	return rc;
}

/* ------------------------------------------------------------------- watch */

static void tell_state(struct mount *m)
{
	const char *mp = m->c->mountpoint;
	struct volume_status st;

	volume_status(m->volume, &st);
	if (st.state == m->state)
		return;
	switch (st.state) {
	case VOLUME_HELD:
		logmsg(LOGMSG_WARNING, "%s: writes are held until the store has caught up (%s). Reading goes on; nothing is lost, nothing need be done here",
		       mp, st.error);
		break;
	case VOLUME_FENCED:
		logmsg(LOGMSG_ERROR, "%s is read-only from now on: %s. What is cached can still be read. Unmount it (clonefs unmount --no-drain); what it had not "
		       "sent is kept in %s for clonefs salvage", mp, st.error, m->c->cache_dir);
		break;
	case VOLUME_FAILED:
		logmsg(LOGMSG_ERROR, "%s: the volume failed and is read-only from now on (%s). Put the cause right, then unmount and mount again: what "
		       "fsync acknowledged is in %s or on the store", mp, st.error, m->c->cache_dir);
		break;
	case VOLUME_SERVING:
		logmsg(LOGMSG_NOTICE, "%s: writes go on", mp);
		break;
	case VOLUME_SERVING_RO:
		break;
	}
	m->state = st.state;
}

/* Serves until somebody wants an end, or the mount is gone. */
static void watch(struct mount *m)
{
	struct pollfd fds[2] = { { .fd = m->stop_fd, .events = POLLIN }, { .fd = session_event_fd(m->session), .events = POLLIN } };
	bool ended = false;
	int again;

	while (!ended && !atomic_load(&m->stop) && daemon_stop_signals() == 0) {
		ended = session_tick(m->session, &again);
		tell_state(m);
		if (!ended && poll(fds, 2, again >= 0 && again < WATCH_MS ? again : WATCH_MS) < 0 && errno != EINTR) {
			logmsg(LOGMSG_ERROR, "poll: %s", strerror(errno));
			sleep_ms(WATCH_MS); /* no memory, which passes */
		}
	}
	logmsg(LOGMSG_INFO, "%s: %s", m->c->mountpoint, ended ? "unmounted" : "asked to end");
}

/* -------------------------------------------------------------------- stop */

struct draining { struct mount *m; unsigned signals; uint64_t told_s; };

static int drain_progress(void *user, uint64_t bytes_left)
{
	struct draining *d = user;
	struct env *env = env_system();
	uint64_t now_s = env->boot_ns(env) / 1000000000;

	if (now_s >= d->told_s + PROGRESS_LOG_S) {
		d->told_s = now_s;
		logmsg(LOGMSG_NOTICE, "%s: %llu bytes are still to be sent to the store", d->m->c->mountpoint, (unsigned long long)bytes_left);
	}
	return daemon_stop_signals() > d->signals || !atomic_load(&d->m->drain);
}

static int close_volume(struct mount *m)
{
	struct env *env = env_system();
	bool drain = m->c->drain_on_stop && atomic_load(&m->drain) && !m->c->read_only;
	struct draining d = { m, daemon_stop_signals(), env->boot_ns(env) / 1000000000 };
	int rc;

	err_clear();
	rc = volume_close(m->volume, drain, drain_progress, &d);
	if (rc == ERR_FENCED)
		logmsg(LOGMSG_WARNING, "%s: another node has the volume now; what was not sent is kept in %s for clonefs salvage", m->c->mountpoint,
		       m->c->cache_dir);
	else if (rc < 0)
		logmsg(LOGMSG_WARNING, "%s: not all could be sent to the store (%s). The rest is kept in %s: mount again on this machine to send it",
		       m->c->mountpoint, err_last()[0] ? err_last() : err_text(rc), m->c->cache_dir);
	return rc;
}

static int stop(struct mount *m)
{
	int rc = 0;

	if (m->session)
		session_stop(m->session);
	if (m->control)
		control_stop(m->control);
	if (m->volume)
		rc = close_volume(m);
	session_free(m->session);
	if (m->exec)
		exec_threads_stop(m->exec);
	store_close(m->store);
	if (m->disk)
		disk_posix_close(m->disk);
	daemon_stop_catch(false);
	daemon_stop_close();
	return rc;
}

int mount_serve(const struct mount_config *c, void (*ready)(void *user, int rc), void *user)
{
	struct mount m = { .c = c, .state = c->read_only ? VOLUME_SERVING_RO : VOLUME_SERVING };
	char why[1024];
	int rc;

	atomic_store(&m.drain, true);
	process_harden();
	err_clear();
	rc = start(&m);
	if (rc) {
		/* Taking down sets messages of its own; the first one counts. */
		snprintf(why, sizeof(why), "%s", err_last()[0] ? err_last() : err_text(rc));
		stop(&m);
		rc = err_set(rc, "%s", why);
		if (ready)
			ready(user, rc);
		return rc;
	}
	if (ready)
		ready(user, 0);
	logmsg(LOGMSG_NOTICE, "%s is mounted on %s", c->address, c->mountpoint);
	watch(&m);
	return stop(&m);
}
