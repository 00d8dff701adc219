/*
 * simtree.c - the tree of a simulated machine: a table of names and inodes.
 *
 * Names are journaled: a power loss takes the last changes, from the end, back to the last sync of a directory at most. Contents are not: of an inode that was
 * not synced, the old content, the new, the new's length with zeros, or a half is left. Times of files have the kernel's tick.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "hash.h"
#include "simtree_impl.h"

/* --- names --- */

static const char *tree_intern(struct world *w, const char *path)
{
	char **p;

	for (size_t i = 0; i < w->interned_count; i++)
		if (strcmp(w->interned[i], path) == 0)
			return w->interned[i];
	p = realloc(w->interned, (w->interned_count + 1) * sizeof *p);
	if (!p)
		abort();
	w->interned = p;
	w->interned[w->interned_count] = strdup(path);
	return w->interned[w->interned_count++];
}

struct name *names_find(const struct sim_tree *s, const char *path)
{
	for (size_t i = 0; i < s->now.count; i++)
		if (strcmp(s->now.all[i].path, path) == 0)
			return &s->now.all[i];
	return NULL;
}

struct inode *simtree_find(const struct sim_tree *s, const char *path)
{
	struct name *n = names_find(s, path);

	return n ? n->in : NULL;
}

void simtree_names_copy(const struct names *from, struct names *to)
{
	if (to->cap < from->count) {
		to->all = realloc(to->all, (from->count + 16) * sizeof *to->all);
		if (!to->all)
			abort();
		to->cap = from->count + 16;
	}
	if (from->count)
		memcpy(to->all, from->all, from->count * sizeof *from->all);
	to->count = from->count;
}

/* Before a change of names. */
void names_journal(struct sim_tree *s)
{
	if (s->past_count == PAST_MOST) { /* the kernel has written the oldest by now */
		struct names first = s->past[0];

		memmove(s->past, s->past + 1, (PAST_MOST - 1) * sizeof s->past[0]);
		s->past[PAST_MOST - 1] = first;
		s->past_count--;
	}
	simtree_names_copy(&s->now, &s->past[s->past_count++]);
}

/* A name in it comes or goes. */
static void touch_parent(struct sim_tree *s, const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[ENTRY_PATH_MAX + 1];
	struct inode *in;

	if (!slash)
		return;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	in = simtree_find(s, dir);
	if (in)
		simtree_touch(s, in, true);
}

void names_add(struct sim_tree *s, const char *path, struct inode *in)
{
	touch_parent(s, path);
	if (s->now.count == s->now.cap) {
		s->now.cap = s->now.cap ? 2 * s->now.cap : 32;
		s->now.all = realloc(s->now.all, s->now.cap * sizeof *s->now.all);
		if (!s->now.all)
			abort();
	}
	s->now.all[s->now.count++] = (struct name){ .path = tree_intern(s->m->w, path), .in = in };
}

void names_drop(struct sim_tree *s, const char *path)
{
	struct name *n = names_find(s, path);

	touch_parent(s, path);
	if (n)
		*n = s->now.all[--s->now.count];
}

bool names_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return n == 0 || (strncmp(path, dir, n) == 0 && path[n] == '/');
}

bool names_in_corner(const char *path)
{
	return strcmp(path, TREE_CORNER) == 0 || names_below(path, TREE_CORNER);
}

bool simtree_is_dir(const struct sim_tree *s, const char *path)
{
	const struct inode *in = simtree_find(s, path);

	return !path[0] || (in && in->kind == ENTRY_DIR);
}

/* The directory that path is in: 0, -ENOENT, -ENOTDIR. */
int names_parent(const struct sim_tree *s, const char *path)
{
	char dir[ENTRY_PATH_MAX + 1];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		const struct inode *in;

		memcpy(dir, path, (size_t)(slash - path));
		dir[slash - path] = '\0';
		in = simtree_find(s, dir);
		if (!in)
			return -ENOENT;
		if (in->kind != ENTRY_DIR)
			return in->kind == ENTRY_SYMLINK ? -ELOOP : -ENOTDIR;
	}
	return 0;
}

bool names_is_empty(const struct sim_tree *s, const char *dir)
{
	for (size_t i = 0; i < s->now.count; i++)
		if (names_below(s->now.all[i].path, dir))
			return false;
	return true;
}

static int64_t file_time(const struct sim_tree *s)
{
	uint64_t now = s->m->env.real_ns(&s->m->env);

	return (int64_t)(now / TICK_NS * TICK_NS) + 1; /* no whole second: those are for file systems that have no others */
}

void simtree_touch(struct sim_tree *s, struct inode *in, bool mtime)
{
	if (s->m->w->brk == SYNC_BREAK_STAT_OLD && s->acting && in->mtime_ns)
		return;
	in->ctime_ns = file_time(s);
	if (mtime)
		in->mtime_ns = file_time(s);
	if (mtime && s->acting && in->kind == ENTRY_DIR)
		ledger_dir_time(s->m->w, in->mtime_ns);
}

struct inode *simtree_inode(struct sim_tree *s, enum entry_kind kind)
{
	struct inode *in = calloc(1, sizeof *in);

	if (!in)
		abort();
	in->id = ++s->m->w->inode_ids;
	in->kind = kind;
	in->mode = kind == ENTRY_DIR ? 0755 : kind == ENTRY_FILE ? 0644 : 0777;
	in->uid = in->gid = s->m->owners;
	in->dirty = true;
	in->all = s->m->w->inodes;
	s->m->w->inodes = in;
	simtree_touch(s, in, true);
	return in;
}

/* Moves a name, and everything below it. */
void names_move(struct sim_tree *s, const char *from, const char *to)
{
	char path[2 * ENTRY_PATH_MAX + 2];
	size_t n = strlen(from);

	touch_parent(s, from);
	touch_parent(s, to);
	for (size_t i = 0; i < s->now.count; i++) {
		struct name *x = &s->now.all[i];

		if (strcmp(x->path, from) != 0 && !names_below(x->path, from))
			continue;
		snprintf(path, sizeof path, "%s%s", to, x->path + n);
		x->path = tree_intern(s->m->w, path);
	}
}

void names_taken(struct sim_tree *s, const char *temp, const char *path)
{
	struct name *n = names_find(s, temp);

	n->was_at = tree_intern(s->m->w, path);
	n->taken_ns = s->m->w->now_ns;
	n->unnoted = false;
}

void tree_tell(struct sim_tree *s, const char *path)
{
	if (!names_in_corner(path))
		machine_event(s->m, path, simtree_is_dir(s, path), false);
}

/* --- what happens at each call --- */

int tree_enter(struct tree *t, bool changes)
{
	struct sim_tree *s = sim_of(t);
	struct machine *m = s->m;
	struct world *w = m->w;

	if (s->acting)
		return s->missing ? -ENOENT : 0;
	if (m->crashed)
		return ERR_CRASHED;
	if (m->die_at && --m->die_at == 0) {
		m->crashed = true;
		world_say(w, "%u dies at a call to its tree", m->number);
		return ERR_CRASHED;
	}
	if (m->fail_at && --m->fail_at == 0) {
		world_say(w, "a call of %u to its tree fails", m->number);
		return -EIO;
	}
	w->now_ns += 1000 + world_random(w, 20000);
	if (w->users && world_chance(w, w->user_permille))
		user_act(m);
	if (s->missing)
		return -ENOENT;
	if (w->faults && world_chance(w, 2))
		return changes && world_chance(w, 500) ? -ENOSPC : -EIO;
	return 0;
}

/* The process may die right behind what it did. */
void tree_leave(struct tree *t)
{
	struct machine *m = sim_of(t)->m;

	if (!sim_of(t)->acting && m->die_at && --m->die_at == 0) {
		m->crashed = true;
		world_say(m->w, "%u dies behind a call to its tree", m->number);
	}
}

void tree_fill_stat(const struct sim_tree *s, const struct inode *in, struct tree_stat *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->carried = true;
	ret->kind = in->kind;
	ret->id.ino = in->id;
	ret->id.size = in->kind == ENTRY_FILE ? in->len : 0;
	for (size_t i = 0; i < s->now.count; i++)
		ret->id.links += s->now.all[i].in == in;
	ret->id.mtime_s = in->mtime_ns / 1000000000;
	ret->id.mtime_ns = (uint32_t)(in->mtime_ns % 1000000000);
	ret->id.ctime_s = in->ctime_ns / 1000000000;
	ret->id.ctime_ns = (uint32_t)(in->ctime_ns % 1000000000);
	ret->mode = in->mode;
	ret->id.uid = in->uid;
	ret->id.gid = in->gid;
}

int tree_resolve(struct tree *t, const char *path, bool changes, struct inode **ret)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_enter(t, changes);

	if (rc)
		return rc;
	if (!entry_path_valid(path, strlen(path)) || names_in_corner(path))
		return -EINVAL;
	rc = names_parent(s, path);
	if (rc)
		return rc;
	*ret = simtree_find(s, path);
	return *ret ? 0 : -ENOENT;
}

const char *tree_corner(const char *dir, const char *name)
{
	static char path[512];

	snprintf(path, sizeof path, "%s%s", dir, name);
	return path;
}

int tree_resolve_temp(struct tree *t, const char *temp, bool changes, struct inode **ret)
{
	int rc = tree_enter(t, changes);

	if (rc)
		return rc;
	*ret = simtree_find(sim_of(t), tree_corner(CORNER_TMP, temp));
	return *ret ? 0 : -ENOENT;
}

/* --- looking --- */

static int sim_stat(struct tree *t, const char *path, struct tree_stat *ret)
{
	struct inode *in;
	int rc = tree_resolve(t, path, false, &in);

	if (!rc)
		tree_fill_stat(sim_of(t), in, ret);
	return rc;
}

static int sim_list(struct tree *t, const char *dir, tree_visit visit, void *user)
{
	struct sim_tree *s = sim_of(t);
	struct names all = { NULL, 0, 0 };
	size_t n = strlen(dir);
	struct tree_stat st;
	int rc = tree_enter(t, false);

	if (!rc && n)
		rc = names_parent(s, dir);
	if (!rc && n && !simtree_find(s, dir))
		rc = -ENOENT;
	if (!rc && !simtree_is_dir(s, dir))
		rc = -ENOTDIR;
	if (rc)
		return rc;
	s->m->listed = true;
	simtree_names_copy(&s->now, &all);
	for (size_t i = 0; i < all.count && !rc; i++) {
		const char *name = all.all[i].path + (n ? n + 1 : 0);

		if (!names_below(all.all[i].path, dir) || names_in_corner(all.all[i].path) || strchr(name, '/'))
			continue;
		tree_fill_stat(s, all.all[i].in, &st);
		rc = visit(user, name, strlen(name), &st);
	}
	free(all.all);
	return rc;
}

uint32_t simtree_owner(uint32_t id)
{
	return id >= 1000 && id % 100 < SIM_OWNERS ? id % 100 : id;
}

/* The last name is not known on every second disk. */
bool simtree_owner_named(const struct machine *m, uint32_t id)
{
	return id >= m->owners && id < m->owners + SIM_OWNERS - (m->owners / 100 % 2);
}

/* Of its k-th owner, or group. */
static void name_owner(const struct machine *m, bool group, uint32_t k, char *ret)
{
	snprintf(ret, 12, "%s%s%u", m->renamed & 1u << k ? "new" : "", group ? "g" : "u", k);
}

static void describe_owners(const struct machine *m, const struct inode *in, struct entry *ret)
{
	ret->uid = in->uid;
	ret->gid = in->gid;
	if (simtree_owner_named(m, in->uid))
		name_owner(m, false, in->uid - m->owners, ret->owner);
	if (simtree_owner_named(m, in->gid))
		name_owner(m, true, in->gid - m->owners, ret->group);
}

static const char *const attr_names[SIM_ATTRS] = { "user.a", "user.b" };

static void describe_attrs(const struct inode *in, struct entry *ret)
{
	struct xattr x[SIM_ATTRS];
	struct buf b = BUF_INIT;
	size_t count = 0;

	for (size_t i = 0; i < SIM_ATTRS; i++)
		if (in->attrs[i])
			x[count++] = (struct xattr){ attr_names[i], strlen(attr_names[i]), &in->attrs[i], sizeof in->attrs[i] };
	entry_xattrs_encode(x, count, &b);
	if (b.err)
		abort();
	ret->xattrs = b.data;
	ret->xattrs_len = (uint32_t)b.len;
}

void tree_describe_inode(const struct sim_tree *s, const struct inode *in, struct tree_stat *ret_st, struct entry *ret)
{
	tree_fill_stat(s, in, ret_st);
	entry_free(ret);
	ret->kind = in->kind;
	ret->mode = in->mode;
	describe_owners(s->m, in, ret);
	describe_attrs(in, ret);
	if (in->kind == ENTRY_DIR) {
		ret->dir_s = ret_st->id.mtime_s;
		ret->dir_ns = ret_st->id.mtime_ns;
		return;
	}
	ret->mtime_s = ret_st->id.mtime_s;
	ret->mtime_ns = ret_st->id.mtime_ns;
	ret->size = in->len;
	if (in->kind == ENTRY_SYMLINK) {
		ret->size = 0;
		ret->target = strdup(in->target);
	}
}

static struct inode_meta meta_of(const struct inode *in)
{
	struct inode_meta m = { .mode = in->mode, .uid = in->uid, .gid = in->gid, .mtime_ns = in->mtime_ns };

	memcpy(m.attrs, in->attrs, sizeof m.attrs);
	return m;
}

static int sim_describe(struct tree *t, const char *path, struct tree_stat *ret_st, struct entry *ret)
{
	struct inode *in;
	int rc = tree_resolve(t, path, false, &in);

	if (rc)
		return rc;
	tree_describe_inode(sim_of(t), in, ret_st, ret);
	if (!sim_of(t)->acting) {
		in->unseen = false;
		in->seen = meta_of(in);
	}
	return 0;
}

/* --- contents --- */

static int open_inode(struct sim_tree *s, struct inode *in, struct tree_file **ret)
{
	struct tree_file *f;

	if (in->kind != ENTRY_FILE)
		return -EINVAL;
	f = calloc(1, sizeof *f);
	if (!f)
		return -ENOMEM;
	f->s = s;
	f->in = in;
	*ret = f;
	return 0;
}

static int sim_open(struct tree *t, const char *path, struct tree_file **ret)
{
	struct inode *in;
	int rc = tree_resolve(t, path, false, &in);

	return rc ? rc : open_inode(sim_of(t), in, ret);
}

static int sim_open_temp(struct tree *t, const char *temp, struct tree_file **ret)
{
	struct inode *in;
	int rc = tree_resolve_temp(t, temp, false, &in);

	return rc ? rc : open_inode(sim_of(t), in, ret);
}

static int sim_fstat(struct tree_file *f, struct tree_stat *ret)
{
	int rc = tree_enter(&f->s->t, false);

	if (!rc)
		tree_fill_stat(f->s, f->in, ret);
	return rc;
}

static int64_t sim_read(struct tree_file *f, void *buf, size_t len, uint64_t off)
{
	int rc = tree_enter(&f->s->t, false);

	if (!rc && f->in->unreadable)
		rc = -EIO;
	f->s->m->w->reads_failed += rc == -EIO;
	if (rc)
		return rc;
	if (off >= f->in->len)
		return 0;
	if (len > f->in->len - off)
		len = f->in->len - (size_t)off;
	memcpy(buf, f->in->data + off, len);
	return (int64_t)len;
}

static int sim_data(struct tree_file *f, uint64_t off, uint64_t *ret_data, uint64_t *ret_end)
{
	*ret_data = off;
	*ret_end = f->in->len;
	return 0;
}

static void sim_uncache(struct tree_file *f, uint64_t off, uint64_t len)
{
	(void)f;
	(void)off;
	(void)len;
}

static int sim_quiet(struct tree_file *f)
{
	int rc = tree_enter(&f->s->t, false);

	if (rc)
		return rc;
	if (f->s->m->w->brk == SYNC_BREAK_QUIET_LIES)
		return 1;
	if (f->in->writers)
		return 0;
	f->leased = f->in->leased = true;
	f->in->broken = false;
	return 1;
}

static int sim_still_quiet(struct tree_file *f)
{
	int rc = tree_enter(&f->s->t, false);

	return rc ? rc : f->s->m->w->brk == SYNC_BREAK_QUIET_LIES || (!f->in->broken && !f->in->writers);
}

static void sim_close(struct tree_file *f)
{
	if (f && f->leased)
		f->in->leased = false;
	free(f);
}

/* --- making --- */

static int new_temp(struct tree *t, const char *temp, enum entry_kind kind, struct inode **ret)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_resolve_temp(t, temp, true, ret);

	if (rc != -ENOENT || s->missing)
		return rc ? rc : -EEXIST;
	names_journal(s);
	*ret = simtree_inode(s, kind);
	names_add(s, tree_corner(CORNER_TMP, temp), *ret);
	return 0;
}

static int sim_make_file(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret)
{
	struct inode *in;
	int rc = new_temp(t, temp, ENTRY_FILE, &in);

	if (rc)
		return rc;
	in->len = (size_t)size;
	in->data = calloc(1, in->len + 1);
	in->mode = 0600;
	return open_inode(sim_of(t), in, ret);
}

static int sim_reopen_file(struct tree *t, const char *temp, uint64_t size, struct tree_file **ret)
{
	struct inode *in;
	int rc = tree_resolve_temp(t, temp, false, &in);

	if (!rc && (in->kind != ENTRY_FILE || in->len != size))
		rc = -EINVAL;
	return rc ? rc : open_inode(sim_of(t), in, ret);
}

static int sim_write(struct tree_file *f, const void *buf, size_t len, uint64_t off)
{
	int rc = tree_enter(&f->s->t, true);

	if (rc)
		return rc;
	if (off + len > f->in->len)
		return -EINVAL;
	memcpy(f->in->data + off, buf, len);
	f->in->dirty = true;
	tree_leave(&f->s->t);
	return 0;
}

static int sim_copy(struct tree_file *to, struct tree_file *from, uint64_t off, uint64_t len)
{
	if (off + len > from->in->len)
		return -EIO;
	return sim_write(to, from->in->data + off, (size_t)len, off);
}

static int sim_make_dir(struct tree *t, const char *temp)
{
	struct inode *in;

	return new_temp(t, temp, ENTRY_DIR, &in);
}

static int sim_make_symlink(struct tree *t, const char *temp, const char *target)
{
	struct inode *in;
	int rc = new_temp(t, temp, ENTRY_SYMLINK, &in);

	if (!rc)
		in->target = strdup(target);
	return rc;
}

static int sim_link_from(struct tree *t, const char *path, const char *temp)
{
	struct sim_tree *s = sim_of(t);
	struct inode *in, *there;
	int rc = tree_resolve(t, path, true, &in);

	if (!rc && in->kind == ENTRY_DIR)
		rc = -EPERM;
	if (!rc)
		rc = tree_resolve_temp(t, temp, true, &there) == 0 ? -EEXIST : 0;
	if (rc || s->m->crashed || s->missing)
		return rc ? rc : -EIO;
	in = simtree_find(s, path); /* users were there between */
	if (!in || in->kind == ENTRY_DIR)
		return -ENOENT;
	rules_judge_touch(s, path);
	names_journal(s);
	names_add(s, tree_corner(CORNER_TMP, temp), in);
	simtree_touch(s, in, false);
	world_say(s->m->w, "%u links %s", s->m->number, path);
	tree_leave(t);
	return 0;
}

static uint32_t owner_number(const struct machine *m, bool group, const char *name, uint32_t number)
{
	char own[12];

	for (uint32_t k = 0; simtree_owner_named(m, m->owners + k); k++) {
		name_owner(m, group, k, own);
		if (strcmp(own, name) == 0)
			return m->owners + k;
	}
	return number;
}

static uint32_t attr_wanted(const struct entry *e, size_t which)
{
	struct cursor c = cursor_make(e->xattrs, e->xattrs_len);
	uint32_t v = 0;
	struct xattr x;

	while (entry_xattrs_next(&c, &x) > 0)
		if (x.name_len == strlen(attr_names[which]) && memcmp(x.name, attr_names[which], x.name_len) == 0 && x.value_len == sizeof v)
			memcpy(&v, x.value, sizeof v);
	return v;
}

/* One system call of several. */
static void dress_step(struct sim_tree *s, struct inode *in, const struct entry *e, unsigned step)
{
	switch (step) {
	case 0:
		in->mode &= e->mode & 0777;
		break;
	case 1:
		in->uid = owner_number(s->m, false, e->owner, e->uid);
		in->gid = owner_number(s->m, true, e->group, e->gid);
		break;
	case 2:
	case 3:
		in->attrs[step - 2] = attr_wanted(e, step - 2);
		break;
	case 4:
		in->mode = e->mode;
		break;
	default:
		if (in->kind != ENTRY_DIR)
			in->mtime_ns = e->mtime_s * 1000000000 + (int64_t)e->mtime_ns;
		break;
	}
	simtree_touch(s, in, false);
}

/* Users may act, and the process die, between one call and the next. */
static int dress_inode(struct tree *t, struct inode *in, const struct entry *e, bool in_place, struct tree_owner *ret)
{
	struct sim_tree *s = sim_of(t);
	bool link = in->kind == ENTRY_SYMLINK;
	int rc = 0;

	/* It is rare, and short: death would seldom find it. */
	if (in_place && s->m->w->users && s->m->w->faults && !s->m->die_at && world_chance(s->m->w, 300))
		s->m->die_at = 1 + world_random(s->m->w, 8);
	in->meddled = false;
	for (unsigned step = 0; step < 6 && !rc; step++) {
		if (link && step != 1 && step != 5)
			continue;
		if (s->m->w->brk == SYNC_BREAK_DRESS_HALF && step == 4 && world_chance(s->m->w, 100))
			break;
		rc = step ? tree_enter(t, true) : 0;
		if (!rc)
			dress_step(s, in, e, step);
		if (in->meddled)
			ledger_meta(s->m->w, in);
	}
	*ret = (struct tree_owner){ owner_number(s->m, false, e->owner, e->uid), owner_number(s->m, true, e->group, e->gid) };
	return rc;
}

static int sim_dress_temp(struct tree *t, const char *temp, const struct entry *e, struct tree_owner *ret)
{
	struct inode *in;
	int rc = tree_resolve_temp(t, temp, true, &in);

	if (!rc)
		rc = dress_inode(t, in, e, false, ret);
	if (!rc && sim_of(t)->m->w->brk == SYNC_BREAK_WRITE_TORN && in->len > 8 && world_chance(sim_of(t)->m->w, 100))
		memset(in->data + in->len / 2, 0, in->len - in->len / 2);
	return rc;
}

static int sim_dress(struct tree *t, const char *path, const struct entry *e, struct tree_owner *ret)
{
	struct inode *in;
	int rc = tree_resolve(t, path, true, &in);

	if (!rc)
		world_say(sim_of(t)->m->w, "%u dresses %s", sim_of(t)->m->number, path);
	rules_judge_touch(sim_of(t), path);
	return rc ? rc : dress_inode(t, in, e, true, ret);
}

static int sim_dress_file(struct tree *t, struct tree_file *f, const struct entry *e, struct tree_owner *ret)
{
	int rc = tree_enter(t, true);

	if (!rc)
		world_say(sim_of(t)->m->w, "%u dresses inode %llu in place", sim_of(t)->m->number, (unsigned long long)f->in->id);
	return rc ? rc : dress_inode(t, f->in, e, true, ret);
}

void simtree_looking(struct tree *t)
{
	t->stat = sim_stat;
	t->list = sim_list;
	t->describe = sim_describe;
	t->open = sim_open;
	t->open_temp = sim_open_temp;
	t->fstat = sim_fstat;
	t->read = sim_read;
	t->uncache = sim_uncache;
	t->data = sim_data;
	t->quiet = sim_quiet;
	t->still_quiet = sim_still_quiet;
	t->close = sim_close;
	t->make_file = sim_make_file;
	t->reopen_file = sim_reopen_file;
	t->write = sim_write;
	t->copy = sim_copy;
	t->make_dir = sim_make_dir;
	t->make_symlink = sim_make_symlink;
	t->link_from = sim_link_from;
	t->dress_temp = sim_dress_temp;
	t->dress = sim_dress;
	t->dress_file = sim_dress_file;
}
