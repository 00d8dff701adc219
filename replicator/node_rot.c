/*
 * node_rot.c - contents that changed with nobody's doing (DESIGN.md, "Rot"): never an edit. What the record says is wanted again, and what lies there goes to the trash
 * when that comes. Until then, and where nobody has it, it stays, marked.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

/*
 * The stat is the record's to the last field, any write since would show in it, and a lease says that nobody has the file open to write (nor mapped): and yet the
 * content is another. What is marked already, and is still that content, goes on being so, whatever was done to its metadata.
 *
 * After a loss of power, and while joining, no difference is believed anyway.
 */
bool node_is_rot(const struct node *n, const struct index_record *r, const struct examine_result *x)
{
	const struct entry *disk = node_on_disk(r);

	if (n->power || n->joining || !disk || disk->kind != ENTRY_FILE || disk->unsettled || x->found.kind != ENTRY_FILE || !x->quiet)
		return false;
	if (r->rot)
		return x->found.size == disk->size && memcmp(x->found.hash, disk->hash, HASH_BYTES) == 0;
	return disk->dot.seq && memcmp(&r->stat, &x->stat.id, sizeof r->stat) == 0 && examine_shows(r->young, &r->stat) &&
	       memcmp(x->found.hash, disk->hash, HASH_BYTES) != 0;
}

/* e: without version; moved. */
static int mark(struct node *n, struct index_txn *t, const char *path, size_t len, struct index_record *r, struct entry *e, const struct index_stat *st)
{
	bool news = !r->rot;
	int rc;

	node_unversion(e);
	rc = node_applied(n, t, path, len, r, e, st);
	if (!rc && r->on_disk && !r->held) {
		r->rot = true;
		rc = index_put(t, path, len, r);
		if (news)
			node_scrub_rotten(n, path);
	}
	return rc;
}

struct names { const char *path; size_t len; const struct index_stat *st; const uint8_t *hash; struct buf paths; };

static int note_name(void *user, const char *path, size_t len, const struct index_record *r)
{
	const struct entry *disk = node_on_disk(r);
	struct names *s = user;

	if ((len == s->len && memcmp(path, s->path, len) == 0) || !disk || disk->kind != ENTRY_FILE || r->rot || !disk->dot.seq ||
	    memcmp(&r->stat, s->st, sizeof r->stat) != 0 || memcmp(disk->hash, s->hash, HASH_BYTES) != 0)
		return 0;
	buf_str16(&s->paths, path, len);
	return s->paths.err;
}

/* The inode's other names, in the same transaction: what is still believed to be whole could be linked to, in place of the one that is not. */
static int mark_names(struct node *n, struct index_txn *t, struct names *s, const uint8_t *hash)
{
	struct index_record r;
	struct cursor c;
	struct entry e;
	int rc = index_with_inode(t, s->st->ino, note_name, s);

	index_record_init(&r);
	entry_init(&e);
	c = cursor_make(s->paths.data, s->paths.len);
	while (!rc && cursor_left(&c)) {
		size_t len;
		const char *view = (const char *)cursor_str16(&c, &len);
		char path[ENTRY_PATH_MAX + 1];

		memcpy(path, view, len);
		path[len] = '\0';
		rc = index_get(t, path, len, &r);
		if (!rc)
			rc = entry_copy(node_on_disk(&r), &e);
		memcpy(e.hash, hash, HASH_BYTES);
		if (!rc)
			rc = mark(n, t, path, len, &r, &e, s->st);
	}
	entry_free(&e);
	index_record_free(&r);
	buf_free(&s->paths);
	return rc;
}

int node_rot(struct node *n, struct index_txn *t, const char *path, struct index_record *r, struct examine_result *x)
{
	struct names s = { path, strlen(path), &x->stat.id, NULL, BUF_INIT };
	uint8_t was[HASH_BYTES], is[HASH_BYTES];
	bool news = !r->rot;
	int rc;

	memcpy(was, node_on_disk(r)->hash, sizeof was);
	memcpy(is, x->found.hash, sizeof is);
	s.hash = was;
	r->young = x->young;
	rc = mark(n, t, path, s.len, r, &x->found, s.st);
	return !rc && news && s.st->links > 1 ? mark_names(n, t, &s, is) : rc;
}
