/*
 * node_ignore.c - ignored paths (DESIGN.md): which they are is the same for the life of a process. index_put leaves them out, node_look does not look at them; here is what becomes of records when
 * a process begins with other rules than the one before, and of what lies beside what is ignored: other names of its inodes, the directories that it is in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define VALUE_IGNORE "ignore" /* by which rules records are left out: LOOKED or not, and their text; nothing where there are none */
#define LOOKED 1u              /* what they leave out no more was looked at, all of it */

/* --- the start --- */

struct turned { const struct ignore *rules; struct buf paths; };

static int note_turned(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct turned *f = user;

	if (r->stale || r->left_out != ignore_leaves_out(f->rules, path, len))
		buf_str16(&f->paths, path, len);
	return f->paths.err;
}

/* What is ignored from now on is left alone; without a version nobody else knows of it. What is not any more is looked at. */
static int turn(struct node *n, struct index_txn *t, const char *path, size_t len)
{
	struct index_record r;
	int rc;

	index_record_init(&r);
	rc = index_get(t, path, len, &r);
	if (!rc && !r.left_out && !r.known.dot.seq)
		rc = index_delete(t, path, len);
	else if (!rc)
		rc = index_put(t, path, len, &r);
	if (!rc && r.stale)
		rc = node_look(n, path, len, false, true, 0);
	index_record_free(&r);
	return rc;
}

static int turn_all(struct node *n, struct index_txn *t)
{
	struct turned f = { n->o.ignore, BUF_INIT };
	struct cursor c;
	int rc = index_since(t, 0, UINT32_MAX, note_turned, &f);

	c = cursor_make(f.paths.data, f.paths.len);
	n->look_first = true;
	while (!rc && cursor_left(&c)) {
		size_t len;
		const char *path = (const char *)cursor_str16(&c, &len);

		rc = turn(n, t, path, len);
	}
	n->look_first = false;
	buf_free(&f.paths);
	return rc;
}

/* What was under way at a path that is ignored now is nobody's business any more. */
static void drop_intents(struct node *n)
{
	for (struct pathmap_item *i = n->intents.first, *next; i; i = next) {
		next = i->next;
		if (ignore_leaves_out(n->o.ignore, i->path, i->len))
			node_intent_drop(n, i->path);
	}
}

static int put_rules(struct node *n, struct index_txn *t, bool looked)
{
	bool any = n->o.ignore && !ignore_is_empty(n->o.ignore);
	struct buf value = BUF_INIT;
	int rc;

	buf_u8(&value, looked ? LOOKED : 0);
	if (any)
		ignore_text(n->o.ignore, &value);
	rc = value.err ? value.err : index_value_put(t, VALUE_IGNORE, any || !looked ? value.data : NULL, value.len);
	buf_free(&value);
	return rc;
}

static bool same_rules(const struct node *n, const struct buf *was)
{
	struct buf now = BUF_INIT;
	bool same;

	buf_u8(&now, LOOKED);
	if (n->o.ignore)
		ignore_text(n->o.ignore, &now);
	same = now.len == 1 ? !was->len : !now.err && was->len == now.len && memcmp(was->data, now.data, now.len) == 0;
	buf_free(&now);
	return same;
}

int node_ignore_load(struct node *n, struct index_txn *t)
{
	struct buf was = BUF_INIT;
	int rc = index_value_get(t, VALUE_IGNORE, &was);
	bool same = (!rc || rc == -ENOENT) && same_rules(n, &was);

	if (!same && was.len) /* a start before this one that did not look through all: nobody knows what was left out before that */
		n->ignored_any = was.data[0] != LOOKED || ignore_parse("the index", (const char *)was.data + 1, was.len - 1, &n->ignored);
	buf_free(&was);
	if (rc && rc != -ENOENT)
		return rc;
	index_set_ignore(n->o.index, n->o.ignore);
	drop_intents(n);
	if (same)
		return 0;
	n->turned = true;
	rc = turn_all(n, t);
	return rc ? rc : put_rules(n, t, false);
}

/* What was left out before has been looked at, but for what is busy: that is there, and looked at by any scan. */
int node_ignore_looked(struct node *n, struct index_txn *t)
{
	return n->turned ? put_rules(n, t, true) : 0;
}

bool node_was_ignored(const struct node *n, const char *path, size_t len)
{
	return n->turned && n->scanning && (n->ignored_any || ignore_leaves_out(n->ignored, path, len));
}

/* --- other names --- */

int node_glance(struct node *n, const char *path, size_t len, uint64_t after_ns)
{
	struct dirty *d = (struct dirty *)(void *)pathmap_get(&n->dirty, path, len);

	if (d)
		return 0;
	d = node_dirty_add(n, path, len);
	if (!d)
		return -ENOMEM;
	d->due_ns = node_now(n) + after_ns;
	d->glance = true;
	return 0;
}

/* inotify tells of one name alone: what is written by an ignored one shows in all others. And a name that came or went shows in the time of its directory. */
int node_glanced(struct node *n, struct index_txn *t, const char *path, const struct tree_stat *st)
{
	int rc = st && st->carried && st->kind == ENTRY_FILE && st->id.links > 1 ? node_look_at_links(n, t, path, st->id.ino, &st->id) : 0;

	return rc ? rc : node_look_at_parent(n, path);
}

/* --- directories that hold what is ignored --- */

static int keep_one(struct node *n, struct index_txn *t, const char *path, size_t len)
{
	struct entry e, after;
	struct index_record r;
	int rc;

	index_record_init(&r);
	entry_init(&e);
	entry_init(&after);
	rc = index_get(t, path, len, &r);
	if (!rc && !r.held && r.on_disk && r.disk.kind == ENTRY_DIR && (r.known.deleted || r.known.kind != ENTRY_DIR)) {
		after.stamp = r.known.stamp;
		rc = entry_copy(&r.disk, &e);
		if (!rc)
			rc = node_decide_over(n, t, path, len, &r, &e, &after);
	}
	entry_free(&e);
	index_record_free(&r);
	return rc == -ENOENT ? 0 : rc;
}

/*
 * The directory is to go, or to make place for something, and cannot: it stays, everywhere, and so does every directory that it is in. (Were one of these to go on being wanted gone, this one would
 * be ended again for that, and kept again, for ever. Those above are told of first, for the same reason.) That does not claim to know of what was to take its place: whoever has that keeps it.
 */
int node_found_kept(struct node *n, struct index_txn *t, const char *path)
{
	size_t len = strlen(path);
	int rc = 0;

	for (size_t i = 1; i < len && !rc; i++)
		if (path[i] == '/')
			rc = keep_one(n, t, path, i);
	return rc || !len ? rc : keep_one(n, t, path, len);
}
