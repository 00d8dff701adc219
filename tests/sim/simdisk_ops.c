/*
 * simdisk_ops.c - struct disk of a simulated process. Every call counts as an operation at which the machine may die: before
 * it, in the middle, or after it took effect.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simdisk_impl.h"


static struct simdisk *disk_of(struct proc *p)
{
	return p->n->disk;
}

/* Every call begins here: is the machine alive, does it die through this call? */
#define ENTER(p) \
	bool die_after; \
	if (proc_op((p), &die_after)) \
		return ERR_CRASHED

static int leave(struct proc *p, bool die_after, int rc)
{
	if (!die_after)
		return rc;
	proc_crash(p, p->crash_kind);
	return ERR_CRASHED;
}

static int do_open(struct simdisk *d, struct proc *p, const char *name, int flags, struct disk_file **ret)
{
	struct name *n = simdisk_name_get(d, name);
	struct handle *h;

	if ((flags & DISK_CREATE) && n->now)
		return -EEXIST;
	if (!(flags & DISK_CREATE) && !n->now)
		return -ENOENT;
	if (!n->now) {
		if (d->used_pages * SIMDISK_PAGE >= d->capacity)
			return -ENOSPC;
		n->now = simdisk_inode_new(d);
		n->now->names = 1;
		simdisk_note_change(d, n, NULL);
	}
	h = calloc(1, sizeof *h);
	if (!h)
		return -ENOMEM;
	h->f.disk = &p->disk;
	h->p = p;
	h->generation = p->n->disk_generation;
	h->i = n->now;
	h->i->opens++;
	h->writable = (flags & (DISK_WRITE | DISK_CREATE)) != 0;
	*ret = &h->f;
	return 0;
}

static int disk_open(struct disk *dk, const char *name, int flags, struct disk_file **ret)
{
	struct proc *p = CL_CONTAINER_OF(dk, struct proc, disk);
	ENTER(p);

	return leave(p, die_after, do_open(disk_of(p), p, name, flags, ret));
}

static void disk_close(struct disk_file *f)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);

	/* The disk of a process long dead may have been replaced; its inodes went with it. */
	if (h->generation == h->p->n->disk_generation) {
		h->i->opens--;
		simdisk_inode_maybe_free(disk_of(h->p), h->i);
	}
	free(h);
}

static int disk_pread(struct disk_file *f, void *buf, size_t len, uint64_t off, size_t *ret)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);
	uint8_t *out = buf;
	size_t done = 0;
	ENTER(h->p);

	if (off >= h->i->size)
		len = 0;
	else if (len > h->i->size - off)
		len = (size_t)(h->i->size - off);
	while (done < len) {
		uint64_t at = off + done;
		size_t n = SIMDISK_PAGE - at % SIMDISK_PAGE;
		const uint8_t *page = h->i->pages[at / SIMDISK_PAGE];

		if (n > len - done)
			n = len - done;
		if (page)
			memcpy(out + done, page + at % SIMDISK_PAGE, n);
		else
			memset(out + done, 0, n);
		done += n;
	}
	*ret = len;
	return leave(h->p, die_after, 0);
}

static int disk_pwrite(struct disk_file *f, const void *buf, size_t len, uint64_t off)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);
	struct simdisk *d = disk_of(h->p);
	int rc = 0;
	ENTER(h->p);

	if (!h->writable || off + len > (uint64_t)SIMDISK_FILE_PAGES * SIMDISK_PAGE)
		return -EINVAL;
	if (len == 0)
		return leave(h->p, die_after, 0);
	if (!simdisk_has_space(d, h->i, off, len))
		rc = -ENOSPC;
	else if (rng_permille(&d->w->rng, d->faults.write_fail))
		rc = -EIO;
	if (rc)
		len = (size_t)rng_below(&d->w->rng, len) / SIMDISK_SECTOR * SIMDISK_SECTOR;
	while (rc && len && !simdisk_has_space(d, h->i, off, len))
		len = len / 2 / SIMDISK_SECTOR * SIMDISK_SECTOR;
	/* One that dies in the middle has written some of it. */
	if (die_after && rng_permille(&d->w->rng, 500))
		len = (size_t)rng_below(&d->w->rng, len + 1) / SIMDISK_SECTOR * SIMDISK_SECTOR;
	if (len)
		simdisk_write_now(d, h->i, buf, len, off);
	return leave(h->p, die_after, rc);
}

static int disk_sync(struct disk_file *f)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);
	struct simdisk *d = disk_of(h->p);
	struct rng *r = &d->w->rng;
	uint64_t size = h->i->size, until = d->write_seq;
	bool die_after;

	if (proc_sync_op(h->p, &die_after))
		return ERR_CRASHED;

	/* It takes a while, and others go on; whatever they write meanwhile may or may not be covered. */
	if (coro_self() && rng_permille(r, 700))
		coro_sleep(rng_permille(r, 30) ? rng_below(r, 400 * SIM_MS) : rng_below(r, 4 * SIM_MS));
	if (h->p->dead)
		return ERR_CRASHED;
	if (die_after && rng_permille(r, 500))
		return leave(h->p, die_after, 0);
	if (rng_permille(r, d->faults.sync_fail) || d->faults.sync_fails_for_good) {
		simdisk_lose(d, h->i);
		h->i->lying = h->i->dirty;
		if (h->i->dirty && rng_permille(r, 300))
			simdisk_pages_from_platter(d, h->i);
		return leave(h->p, die_after, -EIO);
	}
	if (d->w->brk == BREAK_SYNC_LIES)
		return leave(h->p, die_after, 0);
	if (h->i->log && until < d->write_seq && rng_permille(r, 500))
		simdisk_inode_sync_prefix(d, h->i, until, size);
	else
		simdisk_inode_sync(d, h->i);
	return leave(h->p, die_after, 0);
}

static int disk_allocate(struct disk_file *f, uint64_t off, uint64_t len)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);
	struct simdisk *d = disk_of(h->p);
	ENTER(h->p);

	if (len == 0 || off + len > (uint64_t)SIMDISK_FILE_PAGES * SIMDISK_PAGE)
		return -EINVAL;
	if (!simdisk_has_space(d, h->i, off, len))
		return leave(h->p, die_after, -ENOSPC);
	for (uint64_t k = off / SIMDISK_PAGE; k <= (off + len - 1) / SIMDISK_PAGE; k++) {
		if (!h->i->pages[k] && !h->i->reserved[k]) {
			h->i->used_pages++;
			d->used_pages++;
		}
		h->i->reserved[k] = 1;
	}
	if (off + len > h->i->size) {
		h->i->size = off + len;
		h->i->dirty = true;
	}
	return leave(h->p, die_after, 0);
}

static int disk_truncate(struct disk_file *f, uint64_t size)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);
	struct simdisk *d = disk_of(h->p);
	struct inode_sim *i = h->i;
	struct pending *q;
	ENTER(h->p);

	if (size > (uint64_t)SIMDISK_FILE_PAGES * SIMDISK_PAGE)
		return -EFBIG;
	q = calloc(1, sizeof *q);
	if (!q)
		return -ENOMEM;
	q->truncate = true;
	q->seq = ++d->write_seq;
	q->off = size;
	for (size_t k = (size_t)(size / SIMDISK_PAGE); size < i->size && k < SIMDISK_FILE_PAGES; k++) {
		size_t keep = k == size / SIMDISK_PAGE ? (size_t)(size % SIMDISK_PAGE) : 0;

		i->reserved[k] = keep ? i->reserved[k] : 0;
		if (!i->pages[k])
			continue;
		simdisk_keep_platter(i, k);
		if (keep) {
			memset(i->pages[k] + keep, 0, SIMDISK_PAGE - keep);
			continue;
		}
		free(i->pages[k]);
		i->pages[k] = NULL;
	}
	*i->log_tail = q;
	i->log_tail = &q->next;
	i->dirty = true;
	i->size = size;
	simdisk_recount(d, i);
	return leave(h->p, die_after, 0);
}

static int disk_size(struct disk_file *f, uint64_t *ret)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);

	if (h->p->dead)
		return ERR_CRASHED;
	*ret = h->i->size;
	return 0;
}

static int disk_usage(struct disk_file *f, uint64_t *ret)
{
	struct handle *h = CL_CONTAINER_OF(f, struct handle, f);

	if (h->p->dead)
		return ERR_CRASHED;
	*ret = h->i->used_pages * SIMDISK_PAGE;
	return 0;
}

static int disk_rename(struct disk *dk, const char *from, const char *to)
{
	struct proc *p = CL_CONTAINER_OF(dk, struct proc, disk);
	struct simdisk *d = disk_of(p);
	struct name *a = simdisk_name_get(d, from), *b = simdisk_name_get(d, to);
	struct inode_sim *old;
	ENTER(p);

	if (!a->now)
		return leave(p, die_after, -ENOENT);
	old = b->now;
	if (a != b) {
		b->now = a->now;
		a->now = NULL;
		simdisk_note_change(d, a, b);
		if (old) {
			old->names--;
			simdisk_inode_maybe_free(d, old);
		}
	}
	return leave(p, die_after, 0);
}

static int disk_unlink(struct disk *dk, const char *name)
{
	struct proc *p = CL_CONTAINER_OF(dk, struct proc, disk);
	struct simdisk *d = disk_of(p);
	struct name *n = simdisk_name_get(d, name);
	struct inode_sim *old = n->now;
	ENTER(p);

	if (!old)
		return leave(p, die_after, -ENOENT);
	n->now = NULL;
	old->names--;
	simdisk_note_change(d, n, NULL);
	simdisk_inode_maybe_free(d, old);
	return leave(p, die_after, 0);
}

static int disk_mkdir(struct disk *dk, const char *name)
{
	struct proc *p = CL_CONTAINER_OF(dk, struct proc, disk);
	ENTER(p);

	(void)name; /* directories are there when something is in them */
	return leave(p, die_after, 0);
}

static int disk_sync_dir(struct disk *dk, const char *dir)
{
	struct proc *p = CL_CONTAINER_OF(dk, struct proc, disk);
	struct simdisk *d = disk_of(p);
	struct change **at, *c;
	struct name *n;
	ENTER(p);

	if (die_after && rng_permille(&d->w->rng, 500))
		return leave(p, die_after, 0);
	if (d->w->brk == BREAK_DIRSYNC_LIES)
		return leave(p, die_after, 0);
	for (n = d->names; n; n = n->next)
		if (simdisk_in_dir(n->text, dir))
			n->durable = n->now;
	for (at = &d->changes; (c = *at);) {
		if (simdisk_in_dir(c->a->text, dir) && (!c->b || simdisk_in_dir(c->b->text, dir))) {
			*at = c->next;
			free(c);
		} else {
			at = &c->next;
		}
	}
	d->changes_tail = at;
	simdisk_sweep(d);
	return leave(p, die_after, 0);
}

static int disk_list(struct disk *dk, const char *dir, int (*each)(void *user, const char *name), void *user)
{
	struct proc *p = CL_CONTAINER_OF(dk, struct proc, disk);
	struct simdisk *d = disk_of(p);
	struct name *n, *next;
	int rc = 0;
	ENTER(p);

	for (n = d->names; n && !rc; n = next) {
		char text[SIMDISK_NAME_MAX];

		next = n->next;
		if (!n->now || !simdisk_in_dir(n->text, dir))
			continue;
		snprintf(text, sizeof text, "%s", dir[0] ? strchr(n->text, '/') + 1 : n->text);
		rc = each(user, text);
	}
	return leave(p, die_after, rc);
}

static int disk_free_bytes(struct disk *dk, uint64_t *ret)
{
	struct proc *p = CL_CONTAINER_OF(dk, struct proc, disk);
	struct simdisk *d = disk_of(p);

	if (p->dead)
		return ERR_CRASHED;
	*ret = d->capacity > d->used_pages * SIMDISK_PAGE ? d->capacity - d->used_pages * SIMDISK_PAGE : 0;
	return 0;
}

void simdisk_attach(struct simdisk *d, struct proc *p)
{
	(void)d;
	p->disk = (struct disk){
		.open = disk_open, .close = disk_close, .pread = disk_pread, .pwrite = disk_pwrite, .sync = disk_sync,
		.allocate = disk_allocate, .truncate = disk_truncate, .size = disk_size, .usage = disk_usage,
		.rename = disk_rename, .unlink = disk_unlink, .mkdir = disk_mkdir, .sync_dir = disk_sync_dir,
		.list = disk_list, .free_bytes = disk_free_bytes,
	};
}
