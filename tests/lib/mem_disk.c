/* mem_disk.c - see mem_disk.h. A file is a table of 64 KiB pieces, NULL where nothing was written. */
#include "mem_disk.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"

#define PIECE 65536u
#define PIECES 256u /* 16 MiB: more than a segment */

struct mem_file {
	struct mem_file *next;
	char name[64];
	uint64_t size;
	unsigned opened;
	bool unlinked;
	uint8_t *piece[PIECES];
};

struct mem_disk {
	struct disk disk;
	pthread_mutex_t mu;
	struct mem_file *files;
};

struct handle { struct disk_file file; struct mem_file *m; };

static struct mem_disk *of(struct disk *d)
{
	return CL_CONTAINER_OF(d, struct mem_disk, disk);
}

static struct mem_file *file_of(struct disk_file *f)
{
	return CL_CONTAINER_OF(f, struct handle, file)->m;
}

static void free_file(struct mem_file *m)
{
	for (unsigned i = 0; i < PIECES; i++)
		free(m->piece[i]);
	free(m);
}

static struct mem_file **find(struct mem_disk *x, const char *name)
{
	struct mem_file **m = &x->files;

	while (*m && strcmp((*m)->name, name) != 0)
		m = &(*m)->next;
	return m;
}

static int d_open(struct disk *d, const char *name, int flags, struct disk_file **ret)
{
	struct mem_disk *x = of(d);
	struct handle *h = calloc(1, sizeof *h);
	struct mem_file *m;
	int rc = 0;

	if (!h)
		return -ENOMEM;
	pthread_mutex_lock(&x->mu);
	m = *find(x, name);
	if (flags & DISK_CREATE) {
		if (m) {
			rc = -EEXIST;
		} else if (strlen(name) >= sizeof m->name) {
			rc = -ENAMETOOLONG;
		} else if (!(m = calloc(1, sizeof *m))) {
			rc = -ENOMEM;
		} else {
			strcpy(m->name, name);
			m->next = x->files;
			x->files = m;
		}
	} else if (!m) {
		rc = -ENOENT;
	}
	if (rc == 0)
		m->opened++;
	pthread_mutex_unlock(&x->mu);
	if (rc) {
		free(h);
		return rc;
	}
	h->file.disk = d;
	h->m = m;
	*ret = &h->file;
	return 0;
}

static void d_close(struct disk_file *f)
{
	struct mem_disk *x = of(f->disk);
	struct mem_file *m = file_of(f);

	pthread_mutex_lock(&x->mu);
	if (--m->opened == 0 && m->unlinked)
		free_file(m);
	pthread_mutex_unlock(&x->mu);
	free(CL_CONTAINER_OF(f, struct handle, file));
}

static int d_pread(struct disk_file *f, void *buf, size_t len, uint64_t off, size_t *ret)
{
	struct mem_disk *x = of(f->disk);
	struct mem_file *m = file_of(f);
	size_t done = 0;

	pthread_mutex_lock(&x->mu);
	if (off < m->size && len > m->size - off)
		len = (size_t)(m->size - off);
	else if (off >= m->size)
		len = 0;
	while (done < len) {
		uint64_t at = off + done;
		size_t n = PIECE - at % PIECE;
		const uint8_t *p = m->piece[at / PIECE];

		n = n > len - done ? len - done : n;
		if (p)
			memcpy((uint8_t *)buf + done, p + at % PIECE, n);
		else
			memset((uint8_t *)buf + done, 0, n);
		done += n;
	}
	pthread_mutex_unlock(&x->mu);
	*ret = len;
	return 0;
}

static int write_locked(struct mem_file *m, const void *buf, size_t len, uint64_t off)
{
	size_t done = 0;

	if (off > (uint64_t)PIECE * PIECES || len > (uint64_t)PIECE * PIECES - off)
		return -EFBIG;
	while (done < len) {
		uint64_t at = off + done;
		size_t n = PIECE - at % PIECE;
		uint8_t **p = &m->piece[at / PIECE];

		n = n > len - done ? len - done : n;
		if (!*p && !(*p = calloc(1, PIECE)))
			return -ENOMEM;
		memcpy(*p + at % PIECE, (const uint8_t *)buf + done, n);
		done += n;
	}
	if (off + len > m->size)
		m->size = off + len;
	return 0;
}

static int d_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t off)
{
	struct mem_disk *x = of(f->disk);
	int rc;

	pthread_mutex_lock(&x->mu);
	rc = write_locked(file_of(f), buf, len, off);
	pthread_mutex_unlock(&x->mu);
	return rc;
}

static int d_sync(struct disk_file *f CL_UNUSED)
{
	return 0;
}

static int d_allocate(struct disk_file *f CL_UNUSED, uint64_t off CL_UNUSED, uint64_t len CL_UNUSED)
{
	return -EOPNOTSUPP;
}

static int d_punch(struct disk_file *f, uint64_t off, uint64_t len)
{
	struct mem_disk *x = of(f->disk);
	struct mem_file *m = file_of(f);

	pthread_mutex_lock(&x->mu);
	for (uint64_t at = off, end = off + len; at < end && at < (uint64_t)PIECE * PIECES;) {
		uint64_t n = PIECE - at % PIECE;
		uint8_t **p = &m->piece[at / PIECE];

		n = n > end - at ? end - at : n;
		if (*p && n == PIECE) {
			free(*p);
			*p = NULL;
		} else if (*p) {
			memset(*p + at % PIECE, 0, (size_t)n);
		}
		at += n;
	}
	pthread_mutex_unlock(&x->mu);
	return 0;
}

static int d_truncate(struct disk_file *f, uint64_t size)
{
	struct mem_disk *x = of(f->disk);
	struct mem_file *m = file_of(f);
	unsigned i;

	pthread_mutex_lock(&x->mu);
	for (i = 0; i < PIECES; i++) {
		uint64_t from = (uint64_t)i * PIECE;

		if (!m->piece[i] || from + PIECE <= size)
			continue;
		if (size > from) {
			memset(m->piece[i] + (size - from), 0, PIECE - (size_t)(size - from));
			continue;
		}
		free(m->piece[i]);
		m->piece[i] = NULL;
	}
	m->size = size;
	pthread_mutex_unlock(&x->mu);
	return 0;
}

static int d_size(struct disk_file *f, uint64_t *ret)
{
	struct mem_disk *x = of(f->disk);

	pthread_mutex_lock(&x->mu);
	*ret = file_of(f)->size;
	pthread_mutex_unlock(&x->mu);
	return 0;
}

static int d_usage(struct disk_file *f, uint64_t *ret)
{
	struct mem_disk *x = of(f->disk);
	uint64_t n = 0;

	pthread_mutex_lock(&x->mu);
	for (unsigned i = 0; i < PIECES; i++)
		n += file_of(f)->piece[i] ? PIECE : 0;
	pthread_mutex_unlock(&x->mu);
	*ret = n;
	return 0;
}

/* Takes it out of the directory; with it open, it lives on. */
static void drop_locked(struct mem_file **at)
{
	struct mem_file *m = *at;

	*at = m->next;
	m->unlinked = true;
	if (m->opened == 0)
		free_file(m);
}

static int d_rename(struct disk *d, const char *from, const char *to)
{
	struct mem_disk *x = of(d);
	struct mem_file *m, **old;
	int rc = 0;

	pthread_mutex_lock(&x->mu);
	m = *find(x, from);
	if (!m || strlen(to) >= sizeof m->name) {
		rc = m ? -ENAMETOOLONG : -ENOENT;
	} else if (strcmp(from, to) != 0) {
		old = find(x, to);
		if (*old)
			drop_locked(old);
		strcpy(m->name, to);
	}
	pthread_mutex_unlock(&x->mu);
	return rc;
}

static int d_unlink(struct disk *d, const char *name)
{
	struct mem_disk *x = of(d);
	struct mem_file **m;
	int rc = 0;

	pthread_mutex_lock(&x->mu);
	m = find(x, name);
	if (*m)
		drop_locked(m);
	else
		rc = -ENOENT;
	pthread_mutex_unlock(&x->mu);
	return rc;
}

static int d_mkdir(struct disk *d CL_UNUSED, const char *name CL_UNUSED)
{
	return 0;
}

static int d_sync_dir(struct disk *d CL_UNUSED, const char *dir CL_UNUSED)
{
	return 0;
}

/* Names are collected first: each() may open, rename and unlink. */
static int d_list(struct disk *d, const char *dir, int (*each)(void *user, const char *name), void *user)
{
	struct mem_disk *x = of(d);
	size_t dlen = strlen(dir), count = 0, n = 0;
	char (*names)[64];
	int rc = 0;

	pthread_mutex_lock(&x->mu);
	for (struct mem_file *m = x->files; m; m = m->next)
		count++;
	names = calloc(count + 1, sizeof *names);
	for (struct mem_file *m = x->files; names && m; m = m->next) {
		const char *slash = strchr(m->name, '/');

		if (dlen ? slash && (size_t)(slash - m->name) == dlen && strncmp(m->name, dir, dlen) == 0 : !slash)
			strcpy(names[n++], slash ? slash + 1 : m->name);
	}
	pthread_mutex_unlock(&x->mu);
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = each(user, names[i]);
	free(names);
	return rc;
}

static int d_free_bytes(struct disk *d CL_UNUSED, uint64_t *ret)
{
	*ret = UINT64_C(1) << 40;
	return 0;
}

static const struct disk table = {
	.open = d_open, .close = d_close, .pread = d_pread, .pwrite = d_pwrite, .sync = d_sync, .allocate = d_allocate, .truncate = d_truncate,
	.punch = d_punch,
	.size = d_size, .usage = d_usage, .rename = d_rename, .unlink = d_unlink, .mkdir = d_mkdir, .sync_dir = d_sync_dir, .list = d_list,
	.free_bytes = d_free_bytes,
};

struct disk *mem_disk_new(void)
{
	struct mem_disk *x = calloc(1, sizeof *x);

	if (!x)
		return NULL;
	x->disk = table;
	pthread_mutex_init(&x->mu, NULL);
	return &x->disk;
}

void mem_disk_free(struct disk *d)
{
	struct mem_disk *x = of(d);

	while (x->files)
		drop_locked(&x->files);
	pthread_mutex_destroy(&x->mu);
	free(x);
}

int mem_disk_put(struct disk *d, const char *name, uint64_t off, const void *data, size_t len)
{
	struct disk_file *f;
	int rc = d_open(d, name, DISK_WRITE, &f);

	if (rc == -ENOENT)
		rc = d_open(d, name, DISK_WRITE | DISK_CREATE, &f);
	if (rc)
		return rc;
	rc = d_pwrite(f, data, len, off);
	d_close(f);
	return rc;
}
