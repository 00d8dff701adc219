/*
 * salvage.c - finds and replays the local log segments of a cache directory.
 *
 * Two places: salvage/ holds what a fenced writer had not sent, moved there by
 * the mount that came after; the directory itself holds the log of a writer that died and has not
 * been mounted again (which a mount on the same node would adopt). A directory that a
 * mount holds is locked: only its salvage/ is read then.
 *
 * Reads only: segments are opened and replayed, never synced or renamed. Replay
 * verifies every record and its data; what does not check is left out, and the gap told.
 */
#include "salvage.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

/* ------------------------------------------------------------ collecting */

struct scan { struct salvage *s; struct disk *d; bool moved; };

static int tally_record(void *user, struct record *r)
{
	struct salvage_segment *g = user;

	g->missing += r->lsn - g->last_lsn - 1;
	if (!g->records++) {
		g->first_lsn = r->lsn;
		g->from_ns = r->real_ns;
	}
	g->last_lsn = r->lsn;
	g->to_ns = r->real_ns;
	g->written_bytes += r->data_len;
	return 0;
}

static int add_segment(void *user, const char *name)
{
	struct scan *x = user;
	struct salvage_segment g = { .moved = x->moved }, *more;
	int rc;

	if (strncmp(name, "seg-", 4) || strlen(name) != 20 || strspn(name + 4, "0123456789abcdef") != 16)
		return 0;
	rc = segment_open_name(x->d, name, true, &g.s);
	if (rc == ERR_CORRUPT) { /* never flushed, or, in salvage/, damaged */
		x->s->unreadable += x->moved;
		return 0;
	}
	if (rc)
		return err_set(rc, "opening %s: %s", name, err_text(rc));
	if (!segment_header(g.s)->is_log) {
		segment_unref(g.s);
		return 0;
	}
	g.last_lsn = segment_header(g.s)->first_lsn - 1;
	rc = segment_salvage(g.s, tally_record, &g);
	more = rc || !g.records ? NULL : realloc(x->s->segments, (x->s->count + 1) * sizeof(*more));
	if (!more) {
		segment_unref(g.s);
		return rc ? err_set(rc, "replaying %s: %s", name, err_text(rc)) : g.records ? -ENOMEM : 0;
	}
	x->s->segments = more;
	more[x->s->count++] = g;
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct salvage_segment *x = a, *y = b;

	return x->first_lsn < y->first_lsn ? -1 : x->first_lsn > y->first_lsn;
}

static int scan(struct salvage *s, struct disk *d, bool moved)
{
	struct scan x = { s, d, moved };

	return d ? d->list(d, "", add_segment, &x) : 0;
}

/* Opens a directory that exists; -ENOENT where it does not (disk_posix_open would make it). */
static int open_dir(const char *path, struct disk **ret)
{
	struct stat st;

	if (stat(path, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	return disk_posix_open(path, ret);
}

int salvage_open(const char *cache_dir, struct salvage *ret)
{
	char sub[4096];
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = open_dir(cache_dir, &ret->disk);
	if (rc && rc != -EWOULDBLOCK)
		return rc == -ENOENT || rc == -ENOTDIR ? err_set(rc, "%s: %s; name the cache_dir of a mount", cache_dir, err_text(rc)) : rc;
	snprintf(sub, sizeof(sub), "%s/salvage", cache_dir);
	rc = open_dir(sub, &ret->moved);
	if (rc == -ENOENT)
		rc = 0;
	if (!rc)
		rc = scan(ret, ret->moved, true);
	if (!rc)
		rc = scan(ret, ret->disk, false);
	if (rc)
		salvage_close(ret);
	else if (ret->count)
		qsort(ret->segments, ret->count, sizeof(*ret->segments), compare);
	return rc;
}

void salvage_close(struct salvage *s)
{
	for (size_t i = 0; i < s->count; i++)
		segment_unref(s->segments[i].s);
	free(s->segments);
	if (s->moved) {
		s->moved->unlink(s->moved, "lock"); /* made by opening it; the directory is left as it was */
		disk_posix_close(s->moved);
	}
	if (s->disk)
		disk_posix_close(s->disk);
	memset(s, 0, sizeof(*s));
}

struct walk {
	struct salvage *s;
	const struct salvage_segment *g;
	int (*each)(void *user, const struct salvage_segment *g, struct record *r);
	void *user;
};

static int walk_record(void *user, struct record *r)
{
	struct walk *w = user;

	return r->lsn > w->s->after_lsn ? w->each(w->user, w->g, r) : 0;
}

int salvage_walk(struct salvage *s, int (*each)(void *user, const struct salvage_segment *g, struct record *r), void *user)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < s->count; i++) {
		struct walk w = { s, &s->segments[i], each, user };

		rc = segment_salvage(s->segments[i].s, walk_record, &w);
	}
	return rc;
}

/* ----------------------------------------------------------- readable */

static void add_u64(struct json_object *o, const char *name, uint64_t x)
{
	json_object_object_add(o, name, json_object_new_uint64(x));
}

static void add_bytes(struct json_object *o, const char *name, const void *p, size_t len)
{
	json_object_object_add(o, name, json_object_new_string_len(p, (int)len));
}

static void describe_inode(struct json_object *o, uint64_t ino, const uint8_t *val, size_t vlen)
{
	struct inode *i = calloc(1, sizeof(*i));

	add_u64(o, "inode", ino);
	if (i && val && value_inode_decode(ino, val, vlen, i) == 0) {
		char mode[16];

		snprintf(mode, sizeof(mode), "%07o", i->a.mode);
		json_object_object_add(o, "mode", json_object_new_string(mode));
		add_u64(o, "size", i->a.size);
		add_u64(o, "uid", i->a.uid);
		add_u64(o, "gid", i->a.gid);
		add_u64(o, "links", i->a.nlink);
		if (i->target_len)
			add_bytes(o, "target", i->target, i->target_len);
	}
	free(i);
}

static const char *describe(struct json_object *o, const struct value_key *k, const uint8_t *val, size_t vlen)
{
	struct volume_dirent d;
	struct extent e;

	switch (k->table) {
	case VALUE_DIRENT:
		add_u64(o, "dir", k->a);
		if (val && value_dirent_decode(k->b, val, vlen, &d) == 0) {
			add_bytes(o, "name", d.name, d.len);
			add_u64(o, "inode", d.ino);
		} else {
			add_u64(o, "cookie", k->b);
		}
		return "name";
	case VALUE_EXTENT:
		add_u64(o, "inode", k->a);
		if (val && value_extent_decode(k->a, k->b, val, vlen, &e) == 0) {
			add_u64(o, "offset", e.start);
			add_u64(o, "bytes", e.len);
		} else {
			add_u64(o, "last_byte", k->b);
		}
		return "data";
	case VALUE_INODE:
		describe_inode(o, k->a, val, vlen);
		return "inode";
	case VALUE_ORPHAN:
		add_u64(o, "inode", k->a);
		return "orphan";
	case VALUE_SEGMENT:
		add_u64(o, "segment", k->a);
		return "segment";
	case VALUE_XATTR:
		add_u64(o, "inode", k->a);
		add_bytes(o, "name", k->name, k->name_len);
		return "xattr";
	}
	return "unknown";
}

struct json_object *salvage_change_json(const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct json_object *o = json_object_new_object();
	struct value_key k;

	if (!o)
		return NULL;
	if (value_key_parse(key, klen, &k))
		json_object_object_add(o, "change", json_object_new_string("unreadable"));
	else
		json_object_object_add(o, val ? "put" : "delete", json_object_new_string(describe(o, &k, val, vlen)));
	return o;
}
