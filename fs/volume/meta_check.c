/*
 * meta_check.c - what must hold within the map, key against key.
 *
 * Reads only. Three passes: all names (into an array of the inodes they mean), all inodes against that
 * array and against their extents and attributes, then the keys of inodes that are not there. Memory: 8 bytes per name,
 * 32 per directory. The map is held still by the caller, so every violation is real.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "meta_impl.h"

struct dir_sum { uint64_t ino, parent; uint32_t entries, subdirs; bool seen; };

struct check {
	struct meta *m;
	void (*report)(void *user, const char *line);
	void *user;
	int found, err;
	uint64_t *names;        /* inode each name means; sorted after the first pass */
	size_t name_count, name_cap, name_at;
	struct dir_sum *dirs;   /* directories with names in them, ascending; then all directories */
	size_t dir_count, dir_cap, dir_at;
	uint64_t inodes, live_bytes, segments, segment_bytes;
	uint64_t last_ino;      /* the inode whose existence was asked last, and the answer */
	int last_rc;
};

static void say(struct check *c, const char *fmt, ...) CL_PRINTF(2, 3);

static void say(struct check *c, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	c->found++;
	if (c->report)
		c->report(c->user, line);
}

static int grow(void **array, size_t *cap, size_t count, size_t item)
{
	size_t more = *cap ? *cap * 2 : 64;
	void *p;

	if (count < *cap)
		return 0;
	p = realloc(*array, more * item);
	if (!p)
		return -ENOMEM;
	*array = p;
	*cap = more;
	return 0;
}

static struct dir_sum *dir_push(struct check *c, uint64_t ino)
{
	if (grow((void **)&c->dirs, &c->dir_cap, c->dir_count, sizeof *c->dirs))
		return NULL;
	c->dirs[c->dir_count] = (struct dir_sum){ .ino = ino };
	return &c->dirs[c->dir_count++];
}

/* --- names --- */

static void check_target(struct check *c, uint64_t dir, const struct volume_dirent *e)
{
	struct volume_dirent again;
	struct inode i;
	int rc = meta_inode_get(c->m, e->ino, &i);

	if (rc) {
		say(c, "directory %" PRIu64 ": the name \"%s\" means inode %" PRIu64 ", which is not there (%s)", dir, e->name, e->ino, err_text(rc));
		return;
	}
	if ((i.a.mode & S_IFMT) != e->type)
		say(c, "directory %" PRIu64 ": the name \"%s\" has another type than inode %" PRIu64, dir, e->name, e->ino);
	if (S_ISDIR(i.a.mode) && i.parent != dir)
		say(c, "directory %" PRIu64 " is named \"%s\" in %" PRIu64 ", but its parent is %" PRIu64, e->ino, e->name, dir, i.parent);
	rc = meta_name_get(c->m, dir, e->name, e->len, &again);
	if (rc || again.cookie != e->cookie)
		say(c, "directory %" PRIu64 ": the name \"%s\" is not found by its hash, or is there twice", dir, e->name);
}

static int each_name(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct check *c = user;
	struct dir_sum *d = c->dir_count ? &c->dirs[c->dir_count - 1] : NULL;
	struct volume_dirent e;
	struct value_key k;
	int rc = value_key_parse(key, klen, &k);

	if (!rc)
		rc = value_dirent_decode(k.b, val, vlen, &e);
	if (rc) {
		say(c, "a directory entry cannot be read: %s", err_text(rc));
		return 0;
	}
	if (!d || d->ino != k.a)
		d = dir_push(c, k.a);
	if (!d || grow((void **)&c->names, &c->name_cap, c->name_count, sizeof *c->names))
		return -ENOMEM;
	c->names[c->name_count++] = e.ino;
	d->entries++;
	if (S_ISDIR(e.type))
		d->subdirs++;
	check_target(c, k.a, &e);
	return 0;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int by_ino(const void *a, const void *b)
{
	return by_number(&((const struct dir_sum *)a)->ino, &((const struct dir_sum *)b)->ino);
}

/* --- inodes --- */

static void check_dir(struct check *c, const struct inode *i, uint64_t names, bool orphan)
{
	struct dir_sum sum = { .ino = i->a.ino };
	const struct dir_sum *d = c->dir_at ? bsearch(&sum, c->dirs, c->dir_at, sizeof *c->dirs, by_ino) : NULL;

	if (d)
		sum = *d;
	if (i->entries != sum.entries)
		say(c, "directory %" PRIu64 " holds %" PRIu32 " names, but says %" PRIu32, i->a.ino, sum.entries, i->entries);
	if (i->a.ino == VOLUME_ROOT_INO) {
		if (names)
			say(c, "the root directory has a name");
	} else if (names != (orphan ? 0 : 1)) {
		say(c, "directory %" PRIu64 " has %" PRIu64 " names", i->a.ino, names);
	}
	if (i->a.nlink != (orphan ? 0 : 2 + sum.subdirs))
		say(c, "directory %" PRIu64 " has %" PRIu32 " subdirectories and link count %" PRIu32, i->a.ino, sum.subdirs, i->a.nlink);
	if (orphan && sum.entries)
		say(c, "directory %" PRIu64 " is removed, but not empty", i->a.ino);
}

static void check_extents(struct check *c, const struct inode *i)
{
	uint64_t at = 0, sum = 0;
	struct segment_ref r;
	struct extent e;
	int rc;

	while ((rc = meta_extent_find(c->m, i->a.ino, at, &e)) == 0) {
		if (e.start < at)
			say(c, "inode %" PRIu64 ": extents overlap at %" PRIu64, i->a.ino, e.start);
		if (meta_segment_get(c->m, e.segment, &r) == 0 && (uint64_t)e.logical + e.len > r.data_len)
			say(c, "inode %" PRIu64 ": the extent at %" PRIu64 " goes beyond segment %016" PRIx64, i->a.ino, e.start, e.segment);
		at = e.start + e.len;
		sum += e.len;
	}
	if (rc != -ENOENT)
		say(c, "inode %" PRIu64 ": an extent cannot be read: %s", i->a.ino, err_text(rc));
	if (sum && !S_ISREG(i->a.mode))
		say(c, "inode %" PRIu64 " has data, but is no regular file", i->a.ino);
	if (at > i->a.size)
		say(c, "inode %" PRIu64 ": data up to %" PRIu64 " in a file of %" PRIu64 " bytes", i->a.ino, at, i->a.size);
	if (sum != i->a.allocated_bytes)
		say(c, "inode %" PRIu64 ": %" PRIu64 " bytes in extents, but says %" PRIu64, i->a.ino, sum, i->a.allocated_bytes);
	c->live_bytes += sum;
}

static void check_xattrs(struct check *c, const struct inode *i)
{
	char name[VOLUME_NAME_MAX + 1] = "";
	uint32_t n = 0;
	int rc;

	while ((rc = meta_xattr_next(c->m, i->a.ino, name, name)) == 0)
		n++;
	if (rc != -ENOENT)
		say(c, "inode %" PRIu64 ": an extended attribute cannot be read: %s", i->a.ino, err_text(rc));
	if (n != i->xattrs)
		say(c, "inode %" PRIu64 " has %" PRIu32 " extended attributes, but says %" PRIu32, i->a.ino, n, i->xattrs);
}

static bool is_orphan(struct check *c, uint64_t ino)
{
	uint64_t found;

	return meta_orphan_next(c->m, ino - 1, &found) == 0 && found == ino;
}

static int each_inode(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct check *c = user;
	uint64_t names = 0;
	struct value_key k;
	struct inode i;
	bool orphan;
	int rc = value_key_parse(key, klen, &k);

	c->inodes++;
	if (!rc)
		rc = value_inode_decode(k.a, val, vlen, &i);
	if (rc || k.a == 0) {
		say(c, "an inode cannot be read: %s", err_text(rc));
		return 0;
	}
	while (c->name_at < c->name_count && c->names[c->name_at] < k.a)
		c->name_at++;
	for (; c->name_at < c->name_count && c->names[c->name_at] == k.a; c->name_at++)
		names++;
	orphan = is_orphan(c, k.a);
	if (S_ISDIR(i.a.mode)) {
		struct dir_sum *d;

		check_dir(c, &i, names, orphan);
		d = dir_push(c, k.a);
		if (!d)
			return -ENOMEM;
		d->parent = i.parent;
		d->seen = orphan || k.a == VOLUME_ROOT_INO;
	} else {
		if (i.a.nlink != names)
			say(c, "inode %" PRIu64 " has %" PRIu64 " names and link count %" PRIu32, k.a, names, i.a.nlink);
		if (orphan != (names == 0))
			say(c, "inode %" PRIu64 " has %" PRIu64 " names and is%s listed as an orphan", k.a, names, orphan ? "" : " not");
	}
	check_extents(c, &i);
	check_xattrs(c, &i);
	return 0;
}

/* Every directory must come to the root by its parents: dirs[dir_at..] are all of them, seen = known to. */
static int check_tree(struct check *c)
{
	size_t count = c->dir_count - c->dir_at, i, depth, cap = 0;
	struct dir_sum *all, *d, key = { .ino = 0 }, **path = NULL;

	if (count == 0)
		return 0;
	all = c->dirs + c->dir_at;
	for (i = 0; i < count; i++) {
		for (d = &all[i], depth = 0; d && !d->seen; d = bsearch(&key, all, count, sizeof *all, by_ino)) {
			if (grow((void **)&path, &cap, depth, sizeof *path)) {
				free(path);
				return -ENOMEM;
			}
			path[depth++] = d;
			d->seen = true; /* a cycle ends here too, and is told by where the walk ended */
			key.ino = d->parent;
		}
		if (!d)
			say(c, "directory %" PRIu64 ": its parents do not lead to the root", all[i].ino);
		for (size_t j = 0; d && j < depth; j++)
			if (path[j] == d)
				say(c, "directory %" PRIu64 " is inside itself", d->ino);
	}
	free(path);
	return 0;
}

/* --- what belongs to no inode; segments --- */

static int each_other(void *user, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct check *c = user;
	struct segment_ref r;
	struct value_key k;
	struct inode i;
	int rc = value_check(key, klen, val, vlen);

	if (!rc)
		rc = value_key_parse(key, klen, &k);
	if (rc) {
		say(c, "a key of table '%c' cannot be read: %s", klen ? key[0] : '?', err_text(rc));
		return 0;
	}
	if (k.table == VALUE_SEGMENT) {
		rc = value_segment_decode(k.a, val, vlen, &r);
		if (rc)
			return rc;
		c->segments++;
		c->segment_bytes += r.object_bytes;
		return 0;
	}
	if (k.table == VALUE_INODE)
		return 0;
	if (k.a != c->last_ino) {
		c->last_ino = k.a;
		c->last_rc = meta_inode_get(c->m, k.a, &i);
		if (c->last_rc)
			say(c, "a key of table '%c' belongs to inode %" PRIu64 ", which is not there (%s)", (char)k.table, k.a, err_text(c->last_rc));
		else if (k.table == VALUE_DIRENT && !S_ISDIR(i.a.mode))
			say(c, "inode %" PRIu64 " has names in it, but is no directory", k.a);
	}
	return 0;
}

static void check_sums(struct check *c)
{
	const struct meta *m = c->m;

	if (c->inodes != m->inodes)
		say(c, "%" PRIu64 " inodes are there, %" PRIu64 " are counted", c->inodes, m->inodes);
	if (c->live_bytes != m->live_bytes)
		say(c, "extents hold %" PRIu64 " bytes, %" PRIu64 " are counted", c->live_bytes, m->live_bytes);
	if (c->segments != m->segments || c->segment_bytes != m->segment_bytes)
		say(c, "%" PRIu64 " segments of %" PRIu64 " bytes are there, %" PRIu64 " of %" PRIu64 " are counted", c->segments, c->segment_bytes,
		    m->segments, m->segment_bytes);
}

static int run(struct check *c)
{
	struct inode root;
	int rc = meta_walk(c->m, VALUE_DIRENT, each_name, c);

	if (rc)
		return rc;
	if (c->name_count)
		qsort(c->names, c->name_count, sizeof *c->names, by_number);
	c->dir_at = c->dir_count;
	rc = meta_inode_get(c->m, VOLUME_ROOT_INO, &root);
	if (rc || !S_ISDIR(root.a.mode))
		say(c, "there is no root directory");
	rc = meta_walk(c->m, VALUE_INODE, each_inode, c);
	if (!rc)
		rc = check_tree(c);
	if (!rc)
		rc = meta_walk(c->m, 0, each_other, c);
	if (!rc)
		check_sums(c);
	return rc;
}

int meta_check(struct meta *m, void (*report)(void *user, const char *line), void *user)
{
	struct check c = { .m = m, .report = report, .user = user };
	int rc = run(&c);

	free(c.names);
	free(c.dirs);
	return rc ? rc : c.found;
}
