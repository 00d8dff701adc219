/* vol.c - see vol.h. */
#include "vol.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compiler.h"
#include "err.h"

struct vol_wait {
	struct volume_wait w;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool done;
	int rc;
};

static void resumed(struct volume_wait *w, int rc)
{
	struct vol_wait *t = CL_CONTAINER_OF(w, struct vol_wait, w);

	pthread_mutex_lock(&t->mu);
	t->rc = rc;
	t->done = true;
	pthread_cond_signal(&t->cond);
	pthread_mutex_unlock(&t->mu);
}

struct vol_wait *vol_wait_new(void)
{
	struct vol_wait *t = calloc(1, sizeof *t);

	if (!t)
		abort();
	pthread_mutex_init(&t->mu, NULL);
	pthread_cond_init(&t->cond, NULL);
	t->w.resume = resumed;
	return t;
}

struct volume_wait *vol_wait_of(struct vol_wait *w)
{
	return &w->w;
}

int vol_wait(struct vol_wait *t)
{
	pthread_mutex_lock(&t->mu);
	while (!t->done)
		pthread_cond_wait(&t->cond, &t->mu);
	t->done = false;
	pthread_mutex_unlock(&t->mu);
	return t->rc;
}

int vol_rc(const struct vol_wait *t)
{
	return t->rc;
}

void vol_wait_free(struct vol_wait *t)
{
	pthread_mutex_destroy(&t->mu);
	pthread_cond_destroy(&t->cond);
	free(t);
}

void vol_options(struct volume_options *o, const char *node)
{
	memset(o, 0, sizeof *o);
	o->node = node;
	snprintf((char *)o->machine_id, sizeof o->machine_id, "m-%s", node);
	o->durability = VOLUME_DURABILITY_LOCAL;
	o->max_lag_ms = 5000;
	o->commit_interval_ms = 50;
	o->cache_bytes = 256u << 20;
}

int vol_open(struct vol *t, struct store *s, const char *dir, const struct volume_options *o)
{
	struct volume_options own = *o;
	char meta[300];
	int rc;

	memset(t, 0, sizeof *t);
	t->store = s;
	snprintf(t->dir, sizeof t->dir, "%s", dir);
	rc = disk_posix_open(dir, &t->disk);
	if (rc)
		return rc;
	rc = exec_threads_start(4, &t->exec);
	if (rc) {
		disk_posix_close(t->disk);
		return rc;
	}
	snprintf(meta, sizeof meta, "%s/meta", dir);
	mkdir(meta, 0700);
	own.store = s;
	own.disk = t->disk;
	own.env = env_system();
	own.exec = t->exec;
	own.meta_dir = meta;
	rc = volume_open(&own, &t->v);
	if (rc) {
		exec_threads_stop(t->exec);
		disk_posix_close(t->disk);
		t->v = NULL;
	}
	return rc;
}

int vol_close(struct vol *t, bool drain)
{
	int rc = volume_close(t->v, drain, NULL, NULL);

	exec_threads_stop(t->exec);
	disk_posix_close(t->disk);
	t->v = NULL;
	return rc;
}

static int finish(int rc, struct vol_wait *w)
{
	if (rc == ERR_PARKED)
		rc = vol_wait(w);
	vol_wait_free(w);
	return rc;
}

int vol_fsync(struct vol *t)
{
	struct vol_wait *w = vol_wait_new();

	return finish(volume_fsync(t->v, &w->w), w);
}

int vol_sync(struct vol *t)
{
	struct vol_wait *w = vol_wait_new();

	return finish(volume_sync(t->v, &w->w), w);
}

int vol_put_file(struct vol *t, const char *name, const void *data, size_t len)
{
	struct volume_cred cred = { .uid = 1, .gid = 2, .umask = 022 };
	struct volume_attr a;
	size_t at = 0;
	int rc = volume_lookup(t->v, VOLUME_ROOT_INO, name, strlen(name), &a);

	if (rc == -ENOENT)
		VOL_CALL(rc, w, volume_mknod(t->v, VOLUME_ROOT_INO, name, strlen(name), S_IFREG | 0644, 0, &cred, &a, w));
	while (!rc && at < len) {
		size_t n = len - at > VOLUME_WRITE_MAX ? VOLUME_WRITE_MAX : len - at;

		VOL_CALL(rc, w, volume_write(t->v, a.ino, at, (const uint8_t *)data + at, n, false, false, w));
		at += n;
	}
	return rc;
}

int vol_get_file(struct vol *t, const char *name, uint8_t **ret, size_t *ret_len)
{
	struct volume_attr a;
	size_t at = 0, n;
	uint8_t *p;
	int rc = volume_lookup(t->v, VOLUME_ROOT_INO, name, strlen(name), &a);

	if (rc)
		return rc;
	p = malloc(a.size + 1);
	if (!p)
		return -ENOMEM;
	while (at < a.size) {
		size_t want = a.size - at > VOLUME_WRITE_MAX ? VOLUME_WRITE_MAX : a.size - at;

		VOL_CALL(rc, w, volume_read(t->v, a.ino, at, want, p + at, &n, w));
		if (rc || n == 0) {
			free(p);
			return rc ? rc : -EIO;
		}
		at += n;
	}
	*ret = p;
	*ret_len = at;
	return 0;
}
