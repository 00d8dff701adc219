/*
 * model.c - operations and their fold: the tree a volume must show.
 *
 * Plain and slow on purpose: a page per 4 KiB, names in an array, no cleverness that could
 * be wrong in the same way as the engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "model.h"

#define PAGE MODEL_PAGE_BYTES

const char *const op_names[OP_KINDS] = {
	"create", "mkdir", "fifo", "symlink", "tmpfile", "link", "unlink", "rmdir", "rename", "write", "truncate", "chmod",
	"utimes", "fallocate", "copy", "setxattr", "removexattr",
};

void op_data(uint64_t seed, uint64_t len, uint8_t *out)
{
	struct rng r = { seed };
	unsigned kind = (unsigned)(seed % 8);

	if (kind == 0) {
		memset(out, 0, len);
	} else if (kind <= 3) {
		char word[32];
		int n = snprintf(word, sizeof word, "row %" PRIu64 ";", seed);

		for (uint64_t i = 0; i < len; i++)
			out[i] = i < (uint64_t)n ? (uint8_t)word[i] : out[i - (uint64_t)n];
	} else {
		rng_fill(&r, out, len);
	}
}

void op_target(uint64_t seed, char *out)
{
	snprintf(out, 64, "../%" PRIu64 "/target", seed);
}

void op_print(const struct op *o, char *out, size_t cap)
{
	snprintf(out, cap, "#%" PRIu64 " %s ino=%" PRIu64 " dir=%" PRIu64 "/%s new=%" PRIu64 "/%s dst=%" PRIu64 " off=%" PRIu64 " dst_off=%" PRIu64
		 " len=%" PRIu64 " done=%" PRIu64 " flags=%u lsn=%" PRIu64 "..%" PRIu64, o->id, op_names[o->kind], o->ino, o->dir, o->name,
		 o->new_dir, o->new_name, o->dst, o->off, o->dst_off, o->len, o->done, o->flags, o->lsn_before, o->lsn_after);
}

static void *grow(void *p, size_t count, size_t *cap, size_t each)
{
	if (count < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 8;
	p = realloc(p, *cap * each);
	if (!p)
		abort();
	return p;
}

/* --- inodes --- */

struct model_inode *model_get(struct model *m, uint64_t ino)
{
	struct model_inode *i;

	for (i = m->buckets[ino % MODEL_BUCKETS]; i && i->a.ino != ino; i = i->next)
		;
	return i;
}

static struct model_inode *make(struct model *m, uint64_t ino, uint32_t mode)
{
	struct model_inode *i = calloc(1, sizeof *i);

	if (!i)
		abort();
	i->a.ino = ino;
	i->mode = mode;
	i->next = m->buckets[ino % MODEL_BUCKETS];
	m->buckets[ino % MODEL_BUCKETS] = i;
	m->inodes++;
	return i;
}

struct model *model_new(void)
{
	struct model *m = calloc(1, sizeof *m);

	if (!m)
		abort();
	make(m, VOLUME_ROOT_INO, S_IFDIR | 0755)->parent = VOLUME_ROOT_INO;
	return m;
}

static void inode_free(struct model_inode *i)
{
	for (size_t k = 0; k < i->page_count; k++)
		free(i->pages[k].data);
	free(i->pages);
	free(i->names);
	free(i->xattrs);
	free(i);
}

void model_prune(struct model *m)
{
	for (size_t b = 0; b < MODEL_BUCKETS; b++) {
		struct model_inode **at = &m->buckets[b], *i;

		while ((i = *at)) {
			if (i->nlink || i->a.ino == VOLUME_ROOT_INO) {
				at = &i->next;
				continue;
			}
			*at = i->next;
			inode_free(i);
			m->inodes--;
		}
	}
}

void model_free(struct model *m)
{
	if (!m)
		return;
	for (size_t b = 0; b < MODEL_BUCKETS; b++) {
		struct model_inode *i;

		while ((i = m->buckets[b])) {
			m->buckets[b] = i->next;
			inode_free(i);
		}
	}
	free(m);
}

/* --- names --- */

struct model_name *model_lookup(struct model_inode *dir, const char *name)
{
	for (size_t k = 0; k < dir->name_count; k++)
		if (!strcmp(dir->names[k].name, name))
			return &dir->names[k];
	return NULL;
}

static void name_add(struct model_inode *dir, const char *name, uint64_t ino)
{
	struct model_name *n = model_lookup(dir, name);

	if (!n) {
		dir->names = grow(dir->names, dir->name_count, &dir->name_cap, sizeof(*dir->names));
		n = &dir->names[dir->name_count++];
		snprintf(n->name, sizeof n->name, "%s", name);
	}
	n->ino = ino;
}

static void name_del(struct model_inode *dir, const char *name)
{
	struct model_name *n = model_lookup(dir, name);

	if (n)
		*n = dir->names[--dir->name_count];
}

/* --- contents --- */

static size_t page_at(const struct model_inode *i, uint64_t index)
{
	size_t lo = 0, hi = i->page_count;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (i->pages[mid].index < index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint8_t *page_make(struct model_inode *i, uint64_t index)
{
	size_t k = page_at(i, index);

	if (k < i->page_count && i->pages[k].index == index)
		return i->pages[k].data;
	i->pages = grow(i->pages, i->page_count, &i->page_cap, sizeof(*i->pages));
	memmove(&i->pages[k + 1], &i->pages[k], (i->page_count - k) * sizeof(*i->pages));
	i->page_count++;
	i->pages[k].index = index;
	i->pages[k].data = calloc(1, PAGE);
	if (!i->pages[k].data)
		abort();
	return i->pages[k].data;
}

void model_read(const struct model_inode *i, uint64_t off, size_t len, uint8_t *out)
{
	size_t done = 0, k = page_at(i, off / PAGE);

	memset(out, 0, len);
	for (; k < i->page_count && done < len; k++) {
		uint64_t start = i->pages[k].index * PAGE, from = start > off ? start : off;
		uint64_t end = start + PAGE < off + len ? start + PAGE : off + len;

		if (start >= off + len)
			break;
		memcpy(out + (from - off), i->pages[k].data + (from - start), (size_t)(end - from));
	}
}

static void bytes_put(struct model_inode *i, uint64_t off, const uint8_t *data, uint64_t len)
{
	while (len > 0) {
		uint64_t n = PAGE - off % PAGE;

		if (n > len)
			n = len;
		memcpy(page_make(i, off / PAGE) + off % PAGE, data, (size_t)n);
		off += n;
		data += n;
		len -= n;
	}
}

static void bytes_zero(struct model_inode *i, uint64_t off, uint64_t end)
{
	size_t k = page_at(i, off / PAGE), to;

	for (to = k; k < i->page_count; k++) {
		uint64_t start = i->pages[k].index * PAGE;

		if (start < end) {
			uint64_t a = start > off ? start : off, b = start + PAGE < end ? start + PAGE : end;

			if (a == start && b == start + PAGE) {
				free(i->pages[k].data);
				continue;
			}
			memset(i->pages[k].data + (a - start), 0, (size_t)(b - a));
		}
		i->pages[to++] = i->pages[k];
	}
	i->page_count = to;
}

static void resize(struct model_inode *i, uint64_t size)
{
	if (size < i->size)
		bytes_zero(i, size, UINT64_MAX);
	i->size = size;
}

/* --- what must happen --- */

static bool is_dir(const struct model_inode *i)
{
	return S_ISDIR(i->mode);
}

static bool below(struct model *m, uint64_t dir, uint64_t ancestor)
{
	for (unsigned n = 0; n < 1000; n++) {
		struct model_inode *i = model_get(m, dir);

		if (dir == ancestor)
			return true;
		if (!i || dir == VOLUME_ROOT_INO)
			return false;
		dir = i->parent;
	}
	return false;
}

static int predict_rename(struct model *m, const struct op *o)
{
	struct model_name *from = model_lookup(model_get(m, o->dir), o->name);
	struct model_name *to = model_lookup(model_get(m, o->new_dir), o->new_name);
	struct model_inode *a, *b;

	if (!from)
		return ENOENT;
	if ((o->flags & RENAME_EXCHANGE) && !to)
		return ENOENT;
	if ((o->flags & RENAME_NOREPLACE) && to)
		return EEXIST;
	a = model_get(m, from->ino);
	b = to ? model_get(m, to->ino) : NULL;
	if (is_dir(a) && below(m, o->new_dir, a->a.ino))
		return EINVAL;
	if (o->flags & RENAME_EXCHANGE)
		return is_dir(b) && below(m, o->dir, b->a.ino) ? EINVAL : 0;
	if (!b || a == b)
		return 0;
	if (is_dir(a) && !is_dir(b))
		return ENOTDIR;
	if (!is_dir(a) && is_dir(b))
		return EISDIR;
	return is_dir(b) && b->name_count ? ENOTEMPTY : 0;
}

static int predict_name(struct model *m, const struct op *o)
{
	struct model_inode *dir = model_get(m, o->dir), *i;
	struct model_name *n;

	if (!dir || !is_dir(dir))
		return ENOENT;
	n = model_lookup(dir, o->name);
	switch (o->kind) {
	case OP_LINK:
		i = model_get(m, o->ino);
		if (!i)
			return ENOENT;
		return is_dir(i) ? EPERM : n ? EEXIST : 0;
	case OP_UNLINK:
		return !n ? ENOENT : is_dir(model_get(m, n->ino)) ? EISDIR : 0;
	case OP_RMDIR:
		if (!n)
			return ENOENT;
		i = model_get(m, n->ino);
		return !is_dir(i) ? ENOTDIR : i->name_count ? ENOTEMPTY : 0;
	case OP_RENAME:
		return model_get(m, o->new_dir) ? predict_rename(m, o) : ENOENT;
	default:
		return n ? EEXIST : 0;
	}
}

static struct model_xattr *xattr_find(struct model_inode *i, const char *name)
{
	for (size_t k = 0; k < i->xattr_count; k++)
		if (!strcmp(i->xattrs[k].name, name))
			return &i->xattrs[k];
	return NULL;
}

int model_predict(struct model *m, const struct op *o)
{
	struct model_inode *i, *d;
	struct model_xattr *x;
	uint64_t len;

	if (o->kind == OP_TMPFILE)
		return 0;
	if (o->kind <= OP_RENAME)
		return predict_name(m, o);
	i = model_get(m, o->ino);
	if (!i)
		return ENOENT;
	switch (o->kind) {
	case OP_COPY:
		d = model_get(m, o->dst);
		if (!d)
			return ENOENT;
		/* The end of the source cuts the range before it can overlap, as the kernel has it. */
		len = o->off >= i->size ? 0 : o->len < i->size - o->off ? o->len : i->size - o->off;
		return i == d && len && o->off < o->dst_off + len && o->dst_off < o->off + len ? EINVAL : 0;
	case OP_SETXATTR:
		x = xattr_find(i, o->name);
		if (((o->flags & XATTR_CREATE) && x) || ((o->flags & XATTR_REPLACE) && !x))
			return x ? EEXIST : ENODATA;
		/* xattr(7): "user." is for these two */
		return (i->mode & S_IFMT) == S_IFREG || is_dir(i) ? 0 : EPERM;
	case OP_REMOVEXATTR:
		return xattr_find(i, o->name) ? 0 : ENODATA;
	default:
		return 0;
	}
}

/* --- what happens --- */

static void drop_link(struct model_inode *i)
{
	if (is_dir(i))
		i->nlink = 0;
	else if (i->nlink)
		i->nlink--;
}

static void apply_rename(struct model *m, const struct op *o)
{
	struct model_inode *d1 = model_get(m, o->dir), *d2 = model_get(m, o->new_dir), *a, *b;
	struct model_name *from = model_lookup(d1, o->name), *to = model_lookup(d2, o->new_name);
	uint64_t ia = from->ino, ib = to ? to->ino : 0;

	a = model_get(m, ia);
	b = ib ? model_get(m, ib) : NULL;
	if (a == b)
		return;
	if (o->flags & RENAME_EXCHANGE) {
		from->ino = ib;
		to->ino = ia;
		a->parent = o->new_dir;
		b->parent = o->dir;
		return;
	}
	if (b)
		drop_link(b);
	name_add(d2, o->new_name, ia);
	name_del(d1, o->name);
	a->parent = o->new_dir;
}

static void apply_new(struct model *m, const struct op *o)
{
	static const uint32_t types[] = { [OP_CREATE] = S_IFREG, [OP_MKDIR] = S_IFDIR, [OP_FIFO] = S_IFIFO, [OP_SYMLINK] = S_IFLNK,
					  [OP_TMPFILE] = S_IFREG };
	struct model_inode *i = make(m, o->ino, types[o->kind] | (o->kind == OP_SYMLINK ? 0777 : o->mode));

	i->parent = o->dir;
	if (o->kind == OP_TMPFILE)
		return;
	i->nlink = 1;
	name_add(model_get(m, o->dir), o->name, o->ino);
	if (o->kind == OP_SYMLINK) {
		op_target(o->data_seed, i->target);
		i->size = strlen(i->target);
	}
}

static void apply_name(struct model *m, const struct op *o)
{
	struct model_inode *dir = model_get(m, o->dir);

	switch (o->kind) {
	case OP_LINK:
		name_add(dir, o->name, o->ino);
		model_get(m, o->ino)->nlink++;
		break;
	case OP_UNLINK:
	case OP_RMDIR:
		drop_link(model_get(m, model_lookup(dir, o->name)->ino));
		name_del(dir, o->name);
		break;
	default:
		apply_rename(m, o);
	}
}

static void apply_write(struct model_inode *i, const struct op *o)
{
	uint64_t off = o->flags & 1 ? i->size : o->off;
	uint8_t *data = malloc(o->len + 1);

	if (!data)
		abort();
	op_data(o->data_seed, o->len, data);
	bytes_put(i, off, data, o->len);
	free(data);
	if (o->len && off + o->len > i->size)
		i->size = off + o->len;
}

static void apply_copy(struct model_inode *i, struct model_inode *d, const struct op *o)
{
	uint8_t *data = malloc(o->done + 1);

	if (!data)
		abort();
	model_read(i, o->off, o->done, data);
	bytes_put(d, o->dst_off, data, o->done);
	free(data);
	if (o->done && o->dst_off + o->done > d->size)
		d->size = o->dst_off + o->done;
}

static void apply_fallocate(struct model_inode *i, const struct op *o)
{
	uint64_t end = o->off + o->len;

	if (!(o->flags & FALLOC_FL_KEEP_SIZE) && end > i->size)
		i->size = end;
	if (o->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		bytes_zero(i, o->off, end);
}

static void apply_xattr(struct model_inode *i, const struct op *o)
{
	struct model_xattr *x = xattr_find(i, o->name);

	if (o->kind == OP_REMOVEXATTR) {
		*x = i->xattrs[--i->xattr_count];
		return;
	}
	if (!x) {
		i->xattrs = grow(i->xattrs, i->xattr_count, &i->xattr_cap, sizeof(*i->xattrs));
		x = &i->xattrs[i->xattr_count++];
		snprintf(x->name, sizeof x->name, "%s", o->name);
	}
	x->seed = o->data_seed;
	x->len = o->len;
}

void model_note(struct model *m, const struct volume_attr *a)
{
	struct model_inode *i = model_get(m, a->ino);

	if (i)
		i->a = *a;
}

static void check_noted(struct model *m, const struct op *o, char *wrong, size_t cap)
{
	for (unsigned k = 0; k < o->attr_count; k++) {
		const struct volume_attr *a = &o->attrs[k];
		struct model_inode *i = model_get(m, a->ino);

		if (!i)
			snprintf(wrong, cap, "an inode %" PRIu64 " that the model has not", a->ino);
		else if (a->mode != i->mode)
			snprintf(wrong, cap, "inode %" PRIu64 " has mode %o, not %o", a->ino, a->mode, i->mode);
		else if (!is_dir(i) && (a->size != i->size || a->nlink != i->nlink))
			snprintf(wrong, cap, "inode %" PRIu64 " has size %" PRIu64 " and %u links, not %" PRIu64 " and %u",
				 a->ino, a->size, a->nlink, i->size, i->nlink);
	}
}

void model_apply(struct model *m, const struct op *o, char *wrong, size_t cap)
{
	struct model_inode *i = model_get(m, o->ino);

	wrong[0] = '\0';
	if (o->kind <= OP_TMPFILE && i) {
		snprintf(wrong, cap, "inode number %" PRIu64 " given out twice", o->ino);
	} else if (model_predict(m, o)) {
		snprintf(wrong, cap, "%s accepted where it cannot work", op_names[o->kind]);
		m->impossible = true;
		return;
	} else if (o->kind <= OP_TMPFILE) {
		apply_new(m, o);
	} else if (o->kind <= OP_RENAME) {
		apply_name(m, o);
	} else if (o->kind == OP_WRITE) {
		apply_write(i, o);
	} else if (o->kind == OP_TRUNCATE) {
		resize(i, o->len);
	} else if (o->kind == OP_CHMOD) {
		i->mode = (i->mode & S_IFMT) | o->mode;
	} else if (o->kind == OP_FALLOCATE) {
		apply_fallocate(i, o);
	} else if (o->kind == OP_COPY) {
		apply_copy(i, model_get(m, o->dst), o);
	} else if (o->kind == OP_SETXATTR || o->kind == OP_REMOVEXATTR) {
		apply_xattr(i, o);
	}
	if (!wrong[0])
		check_noted(m, o, wrong, cap);
	for (unsigned k = 0; k < o->attr_count; k++)
		model_note(m, &o->attrs[k]);
}

/* --- histories --- */

void history_add(struct history *h, struct op *o)
{
	h->ops = grow(h->ops, h->count, &h->cap, sizeof(*h->ops));
	h->ops[h->count++] = o;
}

size_t history_upto(const struct history *h, uint64_t lsn)
{
	size_t n = 0;

	while (n < h->count && h->ops[n]->lsn_after <= lsn)
		n++;
	return n;
}

void history_copy(struct history *to, const struct history *from, size_t count)
{
	to->count = 0;
	for (size_t i = 0; i < count; i++)
		history_add(to, from->ops[i]);
}

void history_free(struct history *h)
{
	free(h->ops);
	memset(h, 0, sizeof *h);
}

struct model *history_fold(const struct history *h, size_t count)
{
	struct model *m = model_new();
	char wrong[256];

	for (size_t i = 0; i < count; i++)
		model_apply(m, h->ops[i], wrong, sizeof wrong);
	return m;
}
