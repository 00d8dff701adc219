/*
 * user.c - users, and the ledger of what they wrote.
 *
 * Every content is told from every other: it begins with its number. A user overwrites in place, in two steps or in one, or writes a new file and renames it as
 * PHP does; deletes, moves files and directories, makes directories and symlinks, changes modes and times. All act on the same few paths, so that there are conflicts.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "syncworld.h"

#define HEAD 16u
#define OPEN_FOR_EVER_NS 29000000000ull /* the node's is a second more */

/* --- contents --- */

static void make_content(uint32_t token, size_t len, uint8_t *ret)
{
	uint64_t r = token * 77777ull + 5;
	char head[HEAD + 1];

	rng_fill(&r, ret, len);
	snprintf(head, sizeof head, "token %09u\n", token);
	memcpy(ret, head, HEAD);
}

uint32_t token_of(struct world *w, const struct inode *in)
{
	unsigned n;
	char head[HEAD + 1];
	uint8_t *b;
	bool same;

	if (in->kind != ENTRY_FILE || in->len < HEAD)
		return 0;
	memcpy(head, in->data, HEAD);
	head[HEAD] = '\0';
	if (sscanf(head, "token %u", &n) != 1 || n == 0 || n > w->token_count || w->tokens[n].len != in->len)
		return 0;
	b = malloc(in->len);
	if (!b)
		abort();
	make_content(n, in->len, b);
	same = memcmp(b, in->data, in->len) == 0;
	free(b);
	return same ? n : 0;
}

static uint32_t new_token(struct machine *m)
{
	struct world *w = m->w;

	if (w->token_count + 2 > w->token_cap) {
		w->token_cap = w->token_cap ? 2 * w->token_cap : 64;
		w->tokens = realloc(w->tokens, w->token_cap * sizeof *w->tokens);
		if (!w->tokens)
			abort();
	}
	w->tokens[++w->token_count] = (struct token){ .maker = m->number, .len = HEAD + world_random(w, 200) };
	if (w->one_size || w->brk == SYNC_BREAK_STAT_OLD)
		w->tokens[w->token_count].len = 100; /* a change does not show in the size */
	else if (world_chance(w, 80))
		w->tokens[w->token_count].len = ENTRY_BLOCK_BYTES_MIN + world_random(w, 3 * ENTRY_BLOCK_BYTES_MIN);
	else if (world_chance(w, 100))
		w->tokens[w->token_count].len = FRAME_CONTENT_MAX - 100 + world_random(w, 200);
	return w->token_count;
}

void ledger_content(struct world *w, const uint8_t *data, size_t len, uint64_t after_ns)
{
	if (w->content_count == w->content_cap) {
		w->content_cap = w->content_cap ? 2 * w->content_cap : 64;
		w->contents = realloc(w->contents, w->content_cap * sizeof *w->contents);
		if (!w->contents)
			abort();
	}
	w->contents[w->content_count++] = (struct content){ hash_xxh3(data, len, 1), w->now_ns + after_ns };
}

bool ledger_knows(const struct world *w, const uint8_t *data, size_t len)
{
	uint64_t h = hash_xxh3(data, len, 1);

	for (size_t i = 0; i < w->content_count; i++)
		if (w->contents[i].hash == h && w->contents[i].from_ns <= w->now_ns)
			return true;
	return false;
}

static uint64_t hash_meta(const struct inode *in)
{
	uint64_t x[6 + SIM_ATTRS] = { in->kind, in->mode, simtree_owner(in->uid), simtree_owner(in->gid), (uint64_t)in->mtime_ns, 0 };

	for (size_t i = 0; i < SIM_ATTRS; i++)
		x[6 + i] = in->attrs[i];
	return hash_xxh3(x, sizeof x, 2);
}

void ledger_meta(struct world *w, const struct inode *in)
{
	if (w->meta_count == w->meta_cap) {
		w->meta_cap = w->meta_cap ? 2 * w->meta_cap : 64;
		w->metas = realloc(w->metas, w->meta_cap * sizeof *w->metas);
		if (!w->metas)
			abort();
	}
	w->metas[w->meta_count++] = hash_meta(in);
}

void ledger_dir_time(struct world *w, int64_t mtime_ns)
{
	if (w->dir_time_count == w->dir_time_cap) {
		w->dir_time_cap = w->dir_time_cap ? 2 * w->dir_time_cap : 64;
		w->dir_times = realloc(w->dir_times, w->dir_time_cap * sizeof *w->dir_times);
		if (!w->dir_times)
			abort();
	}
	w->dir_times[w->dir_time_count++] = mtime_ns;
}

bool ledger_knows_meta(const struct world *w, const struct inode *in)
{
	uint64_t h = hash_meta(in);

	for (size_t i = 0; i < w->meta_count; i++)
		if (w->metas[i] == h)
			return true;
	return false;
}

static void write_token(struct machine *m, struct inode *in, uint32_t token, bool whole)
{
	size_t len = m->w->tokens[token].len, half = whole ? len : len / 2;
	uint8_t *b = malloc(len);

	if (!b)
		abort();
	make_content(token, len, b);
	free(in->data);
	in->data = malloc(len + 1);
	memcpy(in->data, b, half);
	in->len = half;
	in->dirty = true;
	free(b);
	simtree_touch(&m->tree, in, true);
	in->meddled = true;
	ledger_meta(m->w, in);
	if (whole) {
		m->w->tokens[token].closed = true;
		ledger_content(m->w, in->data, in->len, 0);
	} else {
		ledger_content(m->w, in->data, in->len, OPEN_FOR_EVER_NS);
	}
}

/* --- the ledger --- */

static void release(struct machine *m, const struct inode *in)
{
	uint32_t t = in ? token_of(m->w, in) : 0;

	if (t) {
		m->w->tokens[t].released = true;
		m->w->tokens[t].touched = true;
		m->w->tokens[t].vanished = false;
	}
}

/* Has it, beside `but`, a name in the tree? */
static bool has_name(const struct machine *m, const struct inode *in, const char *but)
{
	for (size_t i = 0; i < m->tree.now.count; i++)
		if (m->tree.now.all[i].in == in && strncmp(m->tree.now.all[i].path, TREE_CORNER, strlen(TREE_CORNER)) != 0 &&
		    (!but || strcmp(m->tree.now.all[i].path, but) != 0))
			return true;
	return false;
}

static void touch_token(struct machine *m, const struct inode *in)
{
	uint32_t t = in ? token_of(m->w, in) : 0;

	if (t) {
		m->w->tokens[t].touched = true;
		m->w->tokens[t].vanished = m->w->tokens[t].hidden = false;
	}
}

void ledger_new_at(struct world *w, const char *path)
{
	for (uint32_t t = 1; t <= w->token_count; t++)
		if (w->tokens[t].deleted_by && strcmp(w->tokens[t].deleted_at, path) == 0)
			w->tokens[t].touched = true;
}

bool machine_has(struct machine *m, uint32_t token, enum has where)
{
	for (size_t i = 0; i < m->tree.now.count; i++) {
		const char *path = m->tree.now.all[i].path;

		bool made = strncmp(path, CORNER_TMP, strlen(CORNER_TMP)) == 0, kept = !made && strncmp(path, TREE_CORNER, strlen(TREE_CORNER)) == 0;

		/* What is being made in the corner is not held yet, and at rest nothing is there. */
		if (!made && (!kept || where >= HAS_TRASH) && (where != HAS_CARRIED || !machine_ignores(m, path)) &&
		    token_of(m->w, m->tree.now.all[i].in) == token)
			return true;
	}
	return false;
}

void ledger_vanish(struct machine *m)
{
	struct world *w = m->w;

	for (unsigned i = 0; i < w->count; i++)
		for (size_t k = 0; k < w->m[i].tree.now.count; k++)
			if (w->m[i].tree.now.all[k].in->writers)
				return;
	/* Where something that somebody did is still to be told, it may rightly win over what vanishes: who does not run has to have it, too. */
	for (uint32_t t = 1; t <= w->token_count; t++) {
		bool elsewhere = false, told = machine_has(m, t, HAS_TREE) && !w->tokens[t].released && !w->tokens[t].touched;

		for (unsigned i = 0; i < w->count && told; i++) {
			bool has = machine_has(&w->m[i], t, HAS_TREE);

			told = has || machine_idle(&w->m[i]) || w->m[i].tree.now.count == 0;
			elsewhere |= has && i != m->number && !w->m[i].tree.emptied;
		}
		w->tokens[t].vanished |= told && elsewhere;
	}
}

uint8_t *ledger_before(struct world *w, const struct machine *m)
{
	uint8_t *had = calloc(1, w->token_count + 1);

	if (!had)
		abort();
	for (size_t i = 0; i < m->tree.now.count; i++)
		had[token_of(w, m->tree.now.all[i].in)] |= strncmp(m->tree.now.all[i].path, TREE_CORNER, strlen(TREE_CORNER)) == 0 ? 2 : 1;
	return had;
}

void ledger_after(struct machine *m, uint8_t *before)
{
	struct world *w = m->w;

	for (uint32_t t = 1; t <= w->token_count; t++) {
		bool left = false, lives = false;

		for (unsigned i = 0; i < w->count && before[t] && !left; i++)
			left = machine_has(&w->m[i], t, HAS_TRASH);
		for (unsigned i = 0; i < w->count && w->tokens[t].vanished && !lives; i++)
			lives = machine_has(&w->m[i], t, HAS_TREE);
		w->tokens[t].vanished &= lives;
		if (before[t] && !left) {
			w->tokens[t].released = true;
			world_say(w, "token %u was on %u alone, and is lost", t, m->number);
		}
		/* What lost a conflict is kept where it did. Who hears of that later, with what that machine did afterwards, does not keep it once more. */
		if ((before[t] & 2) && !machine_has(m, t, HAS_TRASH))
			w->tokens[t].released = true;
	}
	free(before);
}

void ledger_firm(struct machine *m)
{
	struct node_status s;

	node_status(m->node, &s);
	if (s.joining)
		return;
	for (uint32_t t = 1; t <= m->w->token_count; t++)
		if (m->w->tokens[t].deleted_by == (int)m->number + 1)
			m->w->tokens[t].firm = true;
}

void ledger_stale(struct machine *m)
{
	for (uint32_t t = 1; t <= m->w->token_count && m->w->tombs_ns; t++)
		m->w->tokens[t].touched |= machine_has(m, t, HAS_TREE);
}

void ledger_unfirm(struct machine *m, bool all)
{
	/* Who comes back with less than it knew loses to others, and so may a version that vanished elsewhere. */
	for (uint32_t t = 1; t <= m->w->token_count && all; t++)
		m->w->tokens[t].vanished = false;
	if (all)
		world_unforget(m);
	for (uint32_t t = 1; t <= m->w->token_count; t++)
		if (m->w->tokens[t].deleted_by == (int)m->number + 1 && (all || !m->w->tokens[t].firm)) {
			m->w->tokens[t].deleted_by = 0;
			m->w->tokens[t].firm = false;
		}
}

/* --- paths --- */

void user_some_path(struct world *w, bool dir, char *ret)
{
	static const char *const dirs[] = { "", "", "", "a/", "b/", "a/c/", "d/" };
	static const char *const made[] = { "a", "b", "a/c", "d", "b/c" };

	if (dir)
		strcpy(ret, made[world_random(w, 5)]);
	else
		sprintf(ret, "%s%c", dirs[world_random(w, 7)], (char)('f' + world_random(w, 4)));
}

static struct inode *some_file(struct machine *m, char *ret)
{
	struct inode *in;

	for (int i = 0; i < 6; i++) {
		user_some_path(m->w, false, ret);
		in = simtree_find(&m->tree, ret);
		if (in && in->kind == ENTRY_FILE)
			return in;
	}
	return NULL;
}

/* --- what users do --- */

/* A new file, or one in another's place; 0: it cannot be. len 0: as long as chance has it. */
static uint32_t put_at(struct machine *m, const char *path, size_t len)
{
	struct inode *in, *old = simtree_find(&m->tree, path);
	uint32_t t;

	if (old && old->kind == ENTRY_DIR)
		return 0;
	t = new_token(m);
	if (len)
		m->w->tokens[t].len = len;
	in = simtree_inode(&m->tree, ENTRY_FILE);
	write_token(m, in, t, true);
	if (simtree_user_put(&m->tree, path, in)) {
		m->w->tokens[t].released = true;
		return 0;
	}
	m->w->tokens[t].hidden = machine_ignores(m, path);
	release(m, old);
	ledger_new_at(m->w, path);
	world_say(m->w, "user of %u puts token %u at %s", m->number, t, path);
	return t;
}

static void put_new(struct machine *m)
{
	char path[64];

	user_some_path(m->w, false, path);
	put_at(m, path, 0);
}

uint32_t user_put(struct machine *m, const char *path, size_t len)
{
	uint32_t t;

	m->tree.acting = true;
	t = put_at(m, path, len);
	m->tree.acting = false;
	return t;
}

static void did_metadata(struct machine *m, const char *path)
{
	struct inode *in = simtree_find(&m->tree, path);

	m->tree.acting = true;
	touch_token(m, in);
	simtree_touch(&m->tree, in, false);
	in->meddled = true;
	ledger_meta(m->w, in);
	machine_event(m, path, false, false);
	m->tree.acting = false;
}

void user_mode(struct machine *m, const char *path, unsigned mode)
{
	simtree_find(&m->tree, path)->mode = (uint16_t)mode;
	did_metadata(m, path);
}

void user_owner(struct machine *m, const char *path, uint32_t id)
{
	simtree_find(&m->tree, path)->uid = simtree_find(&m->tree, path)->gid = id;
	did_metadata(m, path);
}

void user_dir(struct machine *m, const char *path)
{
	m->tree.acting = true;
	if (simtree_user_put(&m->tree, path, simtree_inode(&m->tree, ENTRY_DIR)))
		abort();
	m->tree.acting = false;
}

/* whole: in one step; else it is open, and half written. 0: it cannot be opened now. */
static uint32_t write_at(struct machine *m, const char *path, struct inode *in, bool whole)
{
	uint32_t t;

	if (in->leased) { /* opening waits for the lease: the user does something else first */
		in->broken = true;
		return 0;
	}
	release(m, in);
	t = new_token(m);
	write_token(m, in, t, whole);
	if (!whole) {
		in->writers++;
		in->half = t;
	}
	machine_event(m, path, false, !whole);
	world_say(m->w, "user of %u writes token %u into %s%s", m->number, t, path, whole ? "" : ", and has it open");
	return t;
}

static void overwrite(struct machine *m)
{
	char path[64];
	struct inode *in = some_file(m, path);
	bool whole = world_chance(m->w, 600);

	if (in && !in->writers)
		write_at(m, path, in, whole);
}

static uint32_t write_by(struct machine *m, const char *path, bool whole)
{
	uint32_t t;

	m->tree.acting = true;
	t = write_at(m, path, simtree_find(&m->tree, path), whole);
	m->tree.acting = false;
	return t;
}

uint32_t user_open(struct machine *m, const char *path)
{
	return write_by(m, path, false);
}

uint32_t user_write(struct machine *m, const char *path)
{
	return write_by(m, path, true);
}

static void close_one(struct machine *m, struct name *n)
{
	n->in->writers = 0;
	write_token(m, n->in, n->in->half, true);
	n->in->half = 0;
	world_say(m->w, "user of %u closes %s", m->number, n->path);
	if (strncmp(n->path, TREE_CORNER, strlen(TREE_CORNER)) != 0)
		machine_event(m, n->path, false, false);
}

void user_finish(struct machine *m)
{
	for (size_t i = 0; i < m->tree.now.count; i++)
		if (m->tree.now.all[i].in->writers && !m->tree.now.all[i].in->leased)
			close_one(m, &m->tree.now.all[i]);
}

static void remove_at(struct machine *m, const char *path, struct inode *in)
{
	struct node_status s = { .joining = true };
	uint32_t t = token_of(m->w, in);

	if (m->node)
		node_status(m->node, &s);
	/* While something is displaced, what is removed may be put back as the edit that it is (an exchange that is taken back). */
	for (size_t i = 0; i < m->tree.now.count; i++)
		s.scanning |= strncmp(m->tree.now.all[i].path, CORNER_TMP, strlen(CORNER_TMP)) == 0 &&
			      m->tree.now.all[i].path[strlen(CORNER_TMP)] == TREE_TEMP_KEEP;
	/* While scanning, what was being put in place when the process died may be taken for never having been there. */
	if (has_name(m, in, path)) { /* it is not deleted */
		if (t)
			m->w->tokens[t].touched = true;
		world_say(m->w, "user of %u removes %s, a name of token %u", m->number, path, t);
		simtree_user_remove(&m->tree, path);
		return;
	}
	if (t && machine_ignores(m, path)) {
		rules_removed(m, t);
		world_say(m->w, "user of %u removes %s (token %u), for nobody else", m->number, path, t);
		simtree_user_remove(&m->tree, path);
		return;
	}
	if (t && m->node && !s.joining && !s.scanning && !m->w->tokens[t].touched && !m->w->tokens[t].deleted_by) {
		m->w->tokens[t].deleted_by = (int)m->number + 1;
		snprintf(m->w->tokens[t].deleted_at, sizeof m->w->tokens[t].deleted_at, "%s", path);
	} else if (t) {
		m->w->tokens[t].touched = true;
	}
	if (t) {
		m->w->tokens[t].released = true;
		m->w->tokens[t].vanished = false;
	}
	world_say(m->w, "user of %u removes %s (token %u)", m->number, path, t);
	simtree_user_remove(&m->tree, path);
}

static void remove_file(struct machine *m)
{
	char path[64];
	struct inode *in = some_file(m, path);

	if (in && !in->writers)
		remove_at(m, path, in);
}

void user_remove(struct machine *m, const char *path)
{
	m->tree.acting = true;
	remove_at(m, path, simtree_find(&m->tree, path));
	m->tree.acting = false;
}

static void remove_all(struct machine *m, const char *dir)
{
	size_t n = strlen(dir);

	world_say(m->w, "user of %u removes all of %s", m->number, dir);
	for (;;) {
		const char *last = NULL;

		for (size_t i = 0; i < m->tree.now.count; i++) {
			const char *p = m->tree.now.all[i].path;

			if (strncmp(p, dir, n) == 0 && p[n] == '/' && (!last || strlen(p) > strlen(last)))
				last = p;
		}
		if (!last)
			break;
		release(m, simtree_find(&m->tree, last));
		if (simtree_find(&m->tree, last)->writers)
			m->w->tokens[simtree_find(&m->tree, last)->half].released = true;
		simtree_user_remove(&m->tree, last);
	}
	simtree_user_remove(&m->tree, dir);
}

static void remove_tree(struct machine *m)
{
	char dir[64];

	user_some_path(m->w, true, dir);
	if (simtree_is_dir(&m->tree, dir))
		remove_all(m, dir);
}

static void make_dir(struct machine *m)
{
	char dir[64], *slash;

	user_some_path(m->w, true, dir);
	slash = strchr(dir, '/');
	if (simtree_find(&m->tree, dir) || (slash && (*slash = '\0', !simtree_is_dir(&m->tree, dir))))
		return;
	if (slash)
		*slash = '/';
	world_say(m->w, "user of %u makes %s", m->number, dir);
	simtree_user_put(&m->tree, dir, simtree_inode(&m->tree, ENTRY_DIR));
}

static void make_symlink(struct machine *m)
{
	char path[64];
	struct inode *in, *old;

	user_some_path(m->w, world_chance(m->w, 300), path);
	old = simtree_find(&m->tree, path);
	if (old && (old->kind == ENTRY_DIR || old->writers))
		return;
	in = simtree_inode(&m->tree, ENTRY_SYMLINK);
	in->target = malloc(32);
	sprintf(in->target, "to/%llu", (unsigned long long)in->id);
	if (simtree_user_put(&m->tree, path, in) == 0) {
		release(m, old);
		ledger_new_at(m->w, path);
		world_say(m->w, "user of %u makes a symlink %s", m->number, path);
	}
}

static void link_at(struct machine *m, const char *to, const char *from, struct inode *in)
{
	if (simtree_user_link(&m->tree, to, in))
		return;
	touch_token(m, in);
	ledger_new_at(m->w, to);
	world_say(m->w, "user of %u links %s to %s", m->number, to, from);
}

static void link_one(struct machine *m)
{
	char from[64], to[64];
	struct inode *in = some_file(m, from);

	user_some_path(m->w, false, to);
	if (in && !in->writers)
		link_at(m, to, from, in);
}

void user_link(struct machine *m, const char *to, const char *from)
{
	m->tree.acting = true;
	link_at(m, to, from, simtree_find(&m->tree, from));
	m->tree.acting = false;
}

static void rename_one(struct machine *m)
{
	char from[64], to[64];
	bool dir = world_chance(m->w, 300);
	struct inode *in, *old;

	user_some_path(m->w, dir, from);
	user_some_path(m->w, dir, to);
	in = simtree_find(&m->tree, from);
	old = simtree_find(&m->tree, to);
	if (!in || (old && old->writers) || (in->kind == ENTRY_DIR) != dir)
		return;
	for (size_t i = 0; i < m->tree.now.count; i++)
		if (strncmp(m->tree.now.all[i].path, from, strlen(from)) == 0)
			touch_token(m, m->tree.now.all[i].in);
	if (simtree_user_rename(&m->tree, from, to))
		return;
	release(m, old);
	for (size_t i = 0; i < m->tree.now.count; i++)
		if (strncmp(m->tree.now.all[i].path, to, strlen(to)) == 0)
			ledger_new_at(m->w, m->tree.now.all[i].path);
	world_say(m->w, "user of %u moves %s to %s", m->number, from, to);
}

/* cp -p to another name, and that renamed over it: the same in an inode of its own. */
static void copy_name(struct machine *m, const char *path)
{
	const struct inode *in = simtree_find(&m->tree, path);
	struct inode *copy = simtree_inode(&m->tree, ENTRY_FILE);

	copy->mode = in->mode;
	copy->uid = in->uid;
	copy->gid = in->gid;
	copy->mtime_ns = in->mtime_ns;
	memcpy(copy->attrs, in->attrs, sizeof copy->attrs);
	copy->data = malloc(in->len + 1);
	if (!copy->data)
		abort();
	memcpy(copy->data, in->data, in->len);
	copy->len = in->len;
	if (simtree_user_put(&m->tree, path, copy))
		return;
	ledger_meta(m->w, copy);
	world_say(m->w, "user of %u copies %s over itself", m->number, path);
}

/* One name, or all names of the inode: as who copies a tree without regard to hard links. */
static void copy_over(struct machine *m)
{
	char path[64];
	struct inode *in = some_file(m, path);
	bool all = world_chance(m->w, 700);

	if (!in || in->writers || !in->data)
		return;
	touch_token(m, in);
	copy_name(m, path);
	for (size_t i = 0; all && i < m->tree.now.count; i++) {
		const struct name *n = &m->tree.now.all[i];

		if (n->in == in && strncmp(n->path, TREE_CORNER, strlen(TREE_CORNER)) != 0) {
			copy_name(m, n->path);
			i = (size_t)-1; /* names have other places now */
		}
	}
}

/* With a name here, or a number that has none anywhere. */
static uint32_t some_owner(struct machine *m)
{
	uint32_t id = m->owners + (uint32_t)world_random(m->w, SIM_OWNERS);

	return simtree_owner_named(m, id) ? id : 77;
}

static void change_meta(struct machine *m)
{
	char path[64];
	struct inode *in;
	uint64_t before;

	user_some_path(m->w, world_chance(m->w, 300), path);
	in = simtree_find(&m->tree, path);
	if (!in || in->kind == ENTRY_SYMLINK || in->writers)
		return;
	before = hash_meta(in);
	touch_token(m, in);
	switch (world_random(m->w, 5)) {
	case 0:
		in->mode = (uint16_t)(in->kind == ENTRY_DIR ? 0700 + world_random(m->w, 64) : 0600 + world_random(m->w, 64));
		break;
	case 1:
		in->uid = some_owner(m);
		break;
	case 2:
		in->gid = some_owner(m);
		break;
	case 3: /* 0: it is taken away */
		in->attrs[world_random(m->w, SIM_ATTRS)] = (uint32_t)world_random(m->w, 4);
		break;
	default:
		simtree_touch(&m->tree, in, true);
		if (world_chance(m->w, 400)) /* touch -d */
			in->mtime_ns += ((int64_t)world_random(m->w, 7200) - 5400) * 1000000000;
		break;
	}
	simtree_touch(&m->tree, in, false);
	in->meddled = true;
	in->unseen |= hash_meta(in) != before;
	ledger_meta(m->w, in);
	if (in->kind == ENTRY_DIR)
		ledger_dir_time(m->w, in->mtime_ns);
	world_say(m->w, "user of %u changes metadata of %s", m->number, path);
	machine_event(m, path, false, false);
}

/* What is about what machines ignore: files there, and directories that go with such a file in them. */
static void act_by_rules(struct machine *m)
{
	char path[64];
	bool file = world_chance(m->w, 500);

	for (unsigned k = 0; file && k < 20; k++) {
		user_some_path(m->w, false, path);
		if (machine_ignores(m, path) && put_at(m, path, 0))
			return;
	}
	user_some_path(m->w, true, path);
	if (simtree_is_dir(&m->tree, path))
		remove_all(m, path);
	if (world_chance(m->w, 300))
		put_at(m, path, 0);
}

void user_act(struct machine *m)
{
	struct sim_tree *s = &m->tree;
	uint64_t what = world_random(m->w, 100);

	if (s->acting || s->missing || s->emptied || s->restoring || m->w->user_ops >= m->w->user_ops_most)
		return;
	s->acting = true;
	m->w->user_ops++;
	m->w->now_ns += world_random(m->w, 3000000);
	if (world_chance(m->w, 300))
		user_finish(m);
	if (m->w->rules && world_chance(m->w, 250))
		act_by_rules(m);
	else if (world_chance(m->w, 40))
		user_trash(m);
	else if (world_chance(m->w, m->w->meta_permille))
		change_meta(m);
	else if (what < 33)
		put_new(m);
	else if (what < 52)
		overwrite(m);
	else if (what < 65)
		remove_file(m);
	else if (what < 69)
		remove_tree(m);
	else if (what < 82)
		make_dir(m);
	else if (what < 88)
		make_symlink(m);
	else if (what < 93)
		link_one(m);
	else if (what < 95)
		copy_over(m);
	else
		rename_one(m);
	s->acting = false;
}
