/* fault_disk.c - see fault_disk.h. One mutex for the book-keeping; the calls below run without it. */
#include "fault_disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "rng.h"

#define NAME_BYTES 64

struct undo {
	struct undo *next; /* older */
	char name[NAME_BYTES], from[NAME_BYTES]; /* from: a rename; empty name of from and len 0: a creation */
	uint64_t off;
	size_t len;
	uint8_t *old;
	bool lasting; /* a sync failed after it */
};

struct fault_disk {
	struct disk disk, *below;
	pthread_rwlock_t still; /* held for writing while the usage is summed up, so that it is that of one moment */
	pthread_mutex_t mu;
	unsigned ops, after, count, calls;
	int rc;
	bool record;
	struct undo *undo;
	unsigned open_files, open_peak;
	pthread_cond_t released;
	const char *prefix; /* of the names whose syncs are counted, */
	bool hold;          /* and wait */
	unsigned waiting, counted;
	atomic_uint filled;
};

struct fault_file {
	struct disk_file file, *below;
	char name[NAME_BYTES];
	struct fault_file *next, **link;
};

static struct fault_file *open_list; /* of all fault disks: names follow renames */
static pthread_mutex_t open_mu = PTHREAD_MUTEX_INITIALIZER;

static struct fault_disk *disk_of(struct disk *d)
{
	return CL_CONTAINER_OF(d, struct fault_disk, disk);
}

static struct fault_file *file_of(struct disk_file *f)
{
	return CL_CONTAINER_OF(f, struct fault_file, file);
}

static int strike(struct disk *d, unsigned op)
{
	struct fault_disk *x = disk_of(d);
	int rc = 0;

	pthread_mutex_lock(&x->mu);
	if (x->ops & op) {
		x->calls++;
		if (x->after)
			x->after--;
		else if (x->count) {
			x->count--;
			rc = x->rc;
		}
	}
	pthread_mutex_unlock(&x->mu);
	return rc;
}

static void remember(struct fault_disk *x, struct undo *u)
{
	pthread_mutex_lock(&x->mu);
	u->next = x->undo;
	x->undo = u;
	pthread_mutex_unlock(&x->mu);
}

static void free_undo(struct undo *u)
{
	free(u->old);
	free(u);
}

static void name_of(struct fault_file *f, char *ret)
{
	pthread_mutex_lock(&open_mu);
	memcpy(ret, f->name, NAME_BYTES);
	pthread_mutex_unlock(&open_mu);
}

static int f_open(struct disk *d, const char *name, int flags, struct disk_file **ret)
{
	struct fault_disk *x = disk_of(d);
	struct fault_file *f;
	int rc = strike(d, FAULT_OPEN);

	if (rc)
		return rc;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	rc = x->below->open(x->below, name, flags, &f->below);
	if (rc) {
		free(f);
		return rc;
	}
	f->file.disk = d;
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	pthread_mutex_lock(&open_mu);
	f->next = open_list;
	f->link = &open_list;
	if (f->next)
		f->next->link = &f->next;
	open_list = f;
	pthread_mutex_unlock(&open_mu);
	pthread_mutex_lock(&x->mu);
	if (++x->open_files > x->open_peak)
		x->open_peak = x->open_files;
	pthread_mutex_unlock(&x->mu);
	if (x->record && (flags & DISK_CREATE)) {
		struct undo *u = calloc(1, sizeof(*u));

		if (u) {
			memcpy(u->name, f->name, NAME_BYTES);
			remember(x, u);
		}
	}
	*ret = &f->file;
	return 0;
}

static void f_close(struct disk_file *p)
{
	struct fault_file *f = file_of(p);
	struct fault_disk *x = disk_of(p->disk);

	pthread_mutex_lock(&open_mu);
	*f->link = f->next;
	if (f->next)
		f->next->link = f->link;
	pthread_mutex_unlock(&open_mu);
	pthread_mutex_lock(&x->mu);
	x->open_files--;
	pthread_mutex_unlock(&x->mu);
	x->below->close(f->below);
	free(f);
}

static int f_pread(struct disk_file *p, void *buf, size_t len, uint64_t off, size_t *ret)
{
	int rc = strike(p->disk, FAULT_PREAD);

	return rc ? rc : disk_of(p->disk)->below->pread(file_of(p)->below, buf, len, off, ret);
}

static int f_pwrite(struct disk_file *p, const void *buf, size_t len, uint64_t off)
{
	struct fault_disk *x = disk_of(p->disk);
	struct fault_file *f = file_of(p);
	int rc = strike(p->disk, FAULT_PWRITE);
	size_t n = 0;

	if (x->record) {
		struct undo *u = calloc(1, sizeof(*u));

		if (!u || !(u->old = calloc(1, len)))
			return -ENOMEM;
		if (x->below->pread(f->below, u->old, len, off, &n))
			return -EIO;
		name_of(f, u->name);
		u->off = off;
		u->len = len;
		u->lasting = rc != 0;
		remember(x, u);
	}
	if (rc) { /* torn */
		if (len > 1)
			(void)x->below->pwrite(f->below, buf, len / 2, off);
		return rc;
	}
	pthread_rwlock_rdlock(&x->still);
	rc = x->below->pwrite(f->below, buf, len, off);
	pthread_rwlock_unlock(&x->still);
	return rc;
}

static void wait_released(struct fault_disk *x, const char *name)
{
	pthread_mutex_lock(&x->mu);
	if (x->prefix && strncmp(name, x->prefix, strlen(x->prefix)) == 0) {
		x->counted++;
		x->waiting++;
		while (x->hold)
			pthread_cond_wait(&x->released, &x->mu);
		x->waiting--;
	}
	pthread_mutex_unlock(&x->mu);
}

void fault_disk_hold_syncs(struct disk *d, const char *prefix)
{
	struct fault_disk *x = disk_of(d);

	pthread_mutex_lock(&x->mu);
	x->hold = prefix != NULL;
	if (prefix) {
		x->prefix = prefix;
		x->counted = 0;
	}
	pthread_cond_broadcast(&x->released);
	pthread_mutex_unlock(&x->mu);
}

unsigned fault_disk_syncs_waiting(struct disk *d)
{
	struct fault_disk *x = disk_of(d);
	unsigned n;

	pthread_mutex_lock(&x->mu);
	n = x->waiting;
	pthread_mutex_unlock(&x->mu);
	return n;
}

unsigned fault_disk_syncs_counted(struct disk *d)
{
	struct fault_disk *x = disk_of(d);
	unsigned n;

	pthread_mutex_lock(&x->mu);
	n = x->counted;
	pthread_mutex_unlock(&x->mu);
	return n;
}

static int f_sync(struct disk_file *p)
{
	struct fault_disk *x = disk_of(p->disk);
	struct undo **u, *gone;
	char name[NAME_BYTES];
	int rc;

	name_of(file_of(p), name);
	wait_released(x, name);
	rc = strike(p->disk, FAULT_SYNC);
	if (rc == 0)
		rc = x->below->sync(file_of(p)->below);
	name_of(file_of(p), name);
	pthread_mutex_lock(&x->mu);
	for (u = &x->undo; *u;) {
		gone = *u;
		if (gone->len == 0 || strcmp(gone->name, name) != 0 || gone->lasting) {
			u = &gone->next;
		} else if (rc) {
			gone->lasting = true;
			u = &gone->next;
		} else {
			*u = gone->next;
			free_undo(gone);
		}
	}
	pthread_mutex_unlock(&x->mu);
	return rc;
}

static int f_allocate(struct disk_file *p, uint64_t off, uint64_t len)
{
	int rc = strike(p->disk, FAULT_ALLOCATE);

	if (rc)
		return rc;
	pthread_rwlock_rdlock(&disk_of(p->disk)->still);
	rc = disk_of(p->disk)->below->allocate(file_of(p)->below, off, len);
	pthread_rwlock_unlock(&disk_of(p->disk)->still);
	return rc;
}

static int f_fill(struct disk_file *p, uint64_t off, uint64_t len)
{
	struct disk *below = disk_of(p->disk)->below;
	int rc = below->fill ? strike(p->disk, FAULT_ALLOCATE) : f_allocate(p, off, len);

	if (rc || !below->fill)
		return rc;
	pthread_rwlock_rdlock(&disk_of(p->disk)->still);
	rc = below->fill(file_of(p)->below, off, len);
	pthread_rwlock_unlock(&disk_of(p->disk)->still);
	atomic_fetch_add(&disk_of(p->disk)->filled, rc == 0);
	return rc;
}

static int f_truncate(struct disk_file *p, uint64_t size)
{
	return disk_of(p->disk)->below->truncate(file_of(p)->below, size);
}

static int f_punch(struct disk_file *p, uint64_t off, uint64_t len)
{
	return disk_of(p->disk)->below->punch(file_of(p)->below, off, len);
}

static int f_size(struct disk_file *p, uint64_t *ret)
{
	return disk_of(p->disk)->below->size(file_of(p)->below, ret);
}

static int f_usage(struct disk_file *p, uint64_t *ret)
{
	return disk_of(p->disk)->below->usage(file_of(p)->below, ret);
}

/* Writes remembered under the old name are the same file's under the new one. */
static void follow(struct fault_disk *x, const char *from, const char *to)
{
	struct fault_file *f;
	struct undo *u;

	pthread_mutex_lock(&open_mu);
	for (f = open_list; f; f = f->next)
		if (f->file.disk == &x->disk && strcmp(f->name, from) == 0)
			(void)snprintf(f->name, sizeof(f->name), "%s", to);
	pthread_mutex_unlock(&open_mu);
	pthread_mutex_lock(&x->mu);
	for (u = x->undo; u; u = u->next)
		if (u->len && strcmp(u->name, from) == 0)
			(void)snprintf(u->name, sizeof(u->name), "%s", to);
	pthread_mutex_unlock(&x->mu);
}

static int f_rename(struct disk *d, const char *from, const char *to)
{
	struct fault_disk *x = disk_of(d);
	int rc = strike(d, FAULT_RENAME);

	pthread_rwlock_rdlock(&x->still);
	if (rc == 0)
		rc = x->below->rename(x->below, from, to);
	pthread_rwlock_unlock(&x->still);
	if (rc)
		return rc;
	follow(x, from, to);
	if (x->record) {
		struct undo *u = calloc(1, sizeof(*u));

		if (u) {
			(void)snprintf(u->name, sizeof(u->name), "%s", to);
			(void)snprintf(u->from, sizeof(u->from), "%s", from);
			remember(x, u);
		}
	}
	return 0;
}

static int f_unlink(struct disk *d, const char *name)
{
	int rc = strike(d, FAULT_UNLINK);

	if (rc)
		return rc;
	pthread_rwlock_rdlock(&disk_of(d)->still);
	rc = disk_of(d)->below->unlink(disk_of(d)->below, name);
	pthread_rwlock_unlock(&disk_of(d)->still);
	return rc;
}

static int f_mkdir(struct disk *d, const char *name)
{
	return disk_of(d)->below->mkdir(disk_of(d)->below, name);
}

static int f_sync_dir(struct disk *d, const char *dir)
{
	struct fault_disk *x = disk_of(d);
	int rc = strike(d, FAULT_SYNC_DIR);
	struct undo **u, *gone;

	if (rc == 0)
		rc = x->below->sync_dir(x->below, dir);
	if (rc)
		return rc;
	pthread_mutex_lock(&x->mu);
	for (u = &x->undo; *u;) {
		gone = *u;
		if (gone->len) {
			u = &gone->next;
			continue;
		}
		*u = gone->next;
		free_undo(gone);
	}
	pthread_mutex_unlock(&x->mu);
	return 0;
}

static int f_list(struct disk *d, const char *dir, int (*each)(void *user, const char *name), void *user)
{
	return disk_of(d)->below->list(disk_of(d)->below, dir, each, user);
}

static int f_free_bytes(struct disk *d, uint64_t *ret)
{
	return disk_of(d)->below->free_bytes(disk_of(d)->below, ret);
}

static const struct disk table = {
	.open = f_open, .close = f_close, .pread = f_pread, .pwrite = f_pwrite, .sync = f_sync, .allocate = f_allocate, .fill = f_fill,
	.truncate = f_truncate, .punch = f_punch, .size = f_size, .usage = f_usage, .rename = f_rename, .unlink = f_unlink,
	.mkdir = f_mkdir, .sync_dir = f_sync_dir, .list = f_list, .free_bytes = f_free_bytes,
};

struct disk *fault_disk_new(struct disk *below)
{
	struct fault_disk *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->disk = table;
	x->below = below;
	pthread_mutex_init(&x->mu, NULL);
	pthread_cond_init(&x->released, NULL);
	pthread_rwlock_init(&x->still, NULL);
	return &x->disk;
}

void fault_disk_close(struct disk *d)
{
	struct fault_disk *x = disk_of(d);

	while (x->undo) {
		struct undo *u = x->undo;

		x->undo = u->next;
		free_undo(u);
	}
	pthread_mutex_destroy(&x->mu);
	pthread_cond_destroy(&x->released);
	pthread_rwlock_destroy(&x->still);
	free(x);
}

void fault_disk_fail(struct disk *d, unsigned ops, unsigned after, unsigned count, int rc)
{
	struct fault_disk *x = disk_of(d);

	pthread_mutex_lock(&x->mu);
	x->ops = ops;
	x->after = after;
	x->count = count;
	x->rc = rc;
	x->calls = 0;
	pthread_mutex_unlock(&x->mu);
}

unsigned fault_disk_calls(struct disk *d)
{
	struct fault_disk *x = disk_of(d);
	unsigned n;

	pthread_mutex_lock(&x->mu);
	n = x->calls;
	pthread_mutex_unlock(&x->mu);
	return n;
}

void fault_disk_record(struct disk *d, bool on)
{
	disk_of(d)->record = on;
}

/* Puts back [from, to) of what u replaced. */
static int put_back(struct fault_disk *x, const struct undo *u, size_t from, size_t to)
{
	struct disk_file *f;
	int rc = x->below->open(x->below, u->name, DISK_WRITE, &f);

	if (rc)
		return rc == -ENOENT ? 0 : rc; /* unlinked since */
	if (to > from)
		rc = x->below->pwrite(f, u->old + from, to - from, u->off + from);
	x->below->close(f);
	return rc;
}

static int take_back(struct fault_disk *x, const struct undo *u, uint64_t *rng)
{
	size_t a, b;

	if (u->len == 0) {
		if (rng_below(rng, 2))
			return 0;
		if (*u->from)
			(void)x->below->rename(x->below, u->name, u->from); /* or it is gone */
		else
			(void)x->below->unlink(x->below, u->name);
		return 0;
	}
	switch (rng_below(rng, 4)) {
	case 0: /* it arrived */
		return 0;
	case 1: /* it did not */
		return put_back(x, u, 0, u->len);
	case 2: /* its beginning did */
		return put_back(x, u, rng_below(rng, u->len), u->len);
	default: /* a piece of it did not */
		a = rng_below(rng, u->len);
		b = a + rng_below(rng, u->len - a) + 1;
		return put_back(x, u, a, b);
	}
}

int fault_disk_power_loss(struct disk *d, uint64_t seed)
{
	struct fault_disk *x = disk_of(d);
	uint64_t rng = seed;
	int rc = 0;

	while (x->undo) {
		struct undo *u = x->undo;

		x->undo = u->next;
		if (rc == 0)
			rc = take_back(x, u, &rng);
		free_undo(u);
	}
	return rc;
}

struct sum { struct fault_disk *x; uint64_t bytes; };

static int add_usage(void *user, const char *name)
{
	struct sum *s = user;
	struct disk_file *f;
	uint64_t n;

	if (strcmp(name, "lock") == 0)
		return 0;
	if (s->x->below->open(s->x->below, name, DISK_READ, &f))
		return 0; /* gone meanwhile */
	if (s->x->below->usage(f, &n) == 0)
		s->bytes += n;
	s->x->below->close(f);
	return 0;
}

unsigned fault_disk_filled(struct disk *d)
{
	return atomic_load(&disk_of(d)->filled);
}

uint64_t fault_disk_usage(struct disk *d)
{
	struct sum s = { disk_of(d), 0 };

	pthread_rwlock_wrlock(&s.x->still);
	(void)s.x->below->list(s.x->below, "", add_usage, &s);
	pthread_rwlock_unlock(&s.x->still);
	return s.bytes;
}

unsigned fault_disk_open_files(struct disk *d)
{
	struct fault_disk *x = disk_of(d);
	unsigned n;

	pthread_mutex_lock(&x->mu);
	n = x->open_files;
	pthread_mutex_unlock(&x->mu);
	return n;
}

unsigned fault_disk_open_peak(struct disk *d)
{
	struct fault_disk *x = disk_of(d);
	unsigned n;

	pthread_mutex_lock(&x->mu);
	n = x->open_peak;
	pthread_mutex_unlock(&x->mu);
	return n;
}
