/*
 * dir.c - a store in a local directory: opening, dispatch, closing. Keys are paths below the root; what each part promises is
 * in dir.h, how a crash is survived in dir_write.c.
 */
#include "dir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"
#include "compiler.h"
#include "err.h"

#define DEFAULT_THREADS 16

static struct dir *dir_of(struct store *s)
{
	return CL_CONTAINER_OF(s, struct dir, store);
}

static void dir_run(void *user, struct store_req *r)
{
	struct dir *d = user;
	int rc = -EINVAL;

	switch (r->op) {
	case STORE_PUT:
		rc = dir_put(d, r);
		break;
	case STORE_GET:
		rc = dir_get(d, r);
		break;
	case STORE_HEAD:
		rc = dir_head(d, r);
		break;
	case STORE_LIST:
		rc = dir_list(d, r);
		break;
	case STORE_DELETE:
		rc = dir_delete(d, r);
		break;
	case STORE_COPY:
		rc = dir_copy(d, r);
		break;
	case STORE_OPS:
		break;
	}
	r->result = rc;
	r->server_time_s = (int64_t)time(NULL);
}

static void dir_submit(struct store *s, struct store_req *r)
{
	pool_submit(dir_of(s)->pool, r);
}

static void dir_counters(struct store *s, struct store_counters *ret)
{
	counters_read(&dir_of(s)->counters, ret);
}

static void dir_free(struct dir *d)
{
	if (d->own_fd >= 0)
		close(d->own_fd);
	if (d->root_fd >= 0)
		close(d->root_fd);
	dir_level_destroy(&d->level);
	pthread_mutex_destroy(&d->lock);
	counters_destroy(&d->counters);
	free(d->path);
	free(d->address);
	free(d);
}

static void dir_close(struct store *s)
{
	struct dir *d = dir_of(s);

	pool_stop(d->pool);
	dir_free(d);
}

static int option(void *user, const char *key, const char *value)
{
	unsigned *threads = user;
	unsigned long n;
	char *end;

	if (strcmp(key, "threads") != 0)
		return err_set(ERR_CONFIG, "unknown option \"%s\" for a file:// store (known: threads)", key);
	n = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || n < 1 || n > 256)
		return err_set(ERR_CONFIG, "option threads=%s of a file:// store must be a number from 1 to 256", value);
	*threads = (unsigned)n;
	return 0;
}

/* The path without needless slashes; ERR_CONFIG where it is none. */
static int set_path(struct dir *d, const char *path)
{
	size_t len = 0;

	if (path[0] != '/')
		return err_set(ERR_CONFIG, "file://%s: the path must be absolute (file:///path)", path);
	if (strlen(path) >= PATH_MAX)
		return err_set(ERR_CONFIG, "file://%.100s...: the path is too long", path);
	d->path = malloc(strlen(path) + 1);
	if (d->path == NULL)
		return err_set(-ENOMEM, "cannot open file://%s: out of memory", path);
	for (const char *p = path; *p != '\0'; p++)
		if (*p != '/' || len == 0 || d->path[len - 1] != '/')
			d->path[len++] = *p;
	while (len > 1 && d->path[len - 1] == '/')
		len--;
	d->path[len] = '\0';
	if (asprintf(&d->address, "file://%s", d->path) < 0) {
		d->address = NULL;
		return err_set(-ENOMEM, "cannot open file://%s: out of memory", path);
	}
	d->store.address = d->address;
	return 0;
}

/* A root that is missing may be made later, but only in a directory that is there: else the address is wrong. */
static int check_above(struct dir *d)
{
	char above[PATH_MAX];
	struct stat st;
	char *slash;

	snprintf(above, sizeof(above), "%s", d->path);
	slash = strrchr(above, '/');
	if (slash != NULL)
		slash[slash == above] = '\0';
	if (stat(above, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return err_set(ERR_NO_BUCKET, "no directory %s for the store %s: make it first, or mend the address", above, d->address);
}

/*
 * Opens what is there. What a writer that was killed left visible but not synced is made durable before anybody builds on it;
 * what it left unfinished is removed.
 */
static int open_root(struct dir *d)
{
	int fd, rc = dir_root(d, false, &fd);

	if (rc == -ENOENT)
		return check_above(d);
	if (rc == -ENOTDIR)
		return err_set(ERR_NO_BUCKET, "%s is not a directory: mend the address", d->path);
	if (rc)
		return err_set(rc == -EACCES ? ERR_AUTH : rc, "cannot open the directory %s: %s", d->path, err_text(rc));
	if (syncfs(fd)) {
		rc = -errno;
		return err_set(ERR_UNAVAILABLE, "cannot sync the file system of %s: %s", d->path, err_text(rc));
	}
	dir_clean(d);
	return 0;
}

int store_dir_open(const char *path, const char *options, struct store **ret)
{
	struct dir *d = calloc(1, sizeof(*d));
	unsigned threads = DEFAULT_THREADS;
	int rc;

	if (d == NULL)
		return err_set(-ENOMEM, "cannot open file://%s: out of memory", path);
	d->store = (struct store){ .kind = "dir", .submit = dir_submit, .wait = store_wait_threads, .counters = dir_counters,
				   .close = dir_close };
	d->root_fd = d->own_fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	dir_level_init(&d->level);
	counters_init(&d->counters);
	rc = store_options(options, option, &threads);
	if (!rc)
		rc = set_path(d, path);
	if (!rc)
		rc = open_root(d);
	if (!rc)
		rc = pool_start(threads, dir_run, d, &d->counters, &d->pool);
	if (rc) {
		dir_free(d);
		return rc;
	}
	*ret = &d->store;
	return 0;
}
