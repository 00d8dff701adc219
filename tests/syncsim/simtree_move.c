/* simtree_move.c - what changes the names of a simulated tree, what makes it durable, and what a machine's fate does to it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "simtree_impl.h"

/* --- temps --- */

static int sim_stat_temp(struct tree *t, const char *temp, struct tree_stat *ret)
{
	struct inode *in;
	int rc = tree_resolve_temp(t, temp, false, &in);

	if (!rc)
		tree_fill_stat(sim_of(t), in, ret);
	return rc;
}

static int sim_describe_temp(struct tree *t, const char *temp, struct tree_stat *ret_st, struct entry *ret)
{
	struct inode *in, old;
	int rc = tree_resolve_temp(t, temp, false, &in);

	if (rc)
		return rc;
	old = *in;
	if (in->unseen && sim_of(t)->m->w->brk == SYNC_BREAK_DISPLACED_OLD) {
		old.mode = in->seen.mode;
		old.uid = in->seen.uid;
		old.gid = in->seen.gid;
		old.mtime_ns = in->seen.mtime_ns;
		memcpy(old.attrs, in->seen.attrs, sizeof old.attrs);
	}
	tree_describe_inode(sim_of(t), &old, ret_st, ret);
	ret_st->id.links = 1;
	return 0;
}

/* Whatever a user did to it, somebody has to have looked at that before it is thrown away. */
static void judge_removed(struct sim_tree *s, const char *path, const struct inode *in)
{
	const struct name *n = names_find(s, path);

	for (size_t i = 0; i < s->now.count; i++)
		if (s->now.all[i].in == in && &s->now.all[i] != n)
			return;
	if (in->unseen && n->was_at)
		world_violation(s->m->w, "R3: %u throws away what was at %s, and what a user did to its metadata there (inode %llu)", s->m->number, n->was_at,
				(unsigned long long)in->id);
}

static int sim_remove_temp(struct tree *t, const char *temp)
{
	struct sim_tree *s = sim_of(t);
	struct inode *in;
	int rc = tree_resolve_temp(t, temp, false, &in);

	if (rc)
		return rc;
	if (in->kind == ENTRY_DIR && !names_is_empty(s, tree_corner(CORNER_TMP, temp)))
		return -ENOTEMPTY;
	if (in->kind == ENTRY_FILE && names_find(s, tree_corner(CORNER_TMP, temp)))
		judge_removed(s, tree_corner(CORNER_TMP, temp), in);
	names_journal(s);
	simtree_touch(s, in, false); /* it may have other names */
	names_drop(s, tree_corner(CORNER_TMP, temp));
	tree_leave(t);
	return 0;
}

static int sim_rename_temp(struct tree *t, const char *from, const char *to)
{
	struct sim_tree *s = sim_of(t);
	char path[512];
	struct inode *in;
	int rc = tree_resolve_temp(t, from, true, &in);

	/* What another fetch of the same start has made is that one's, or somebody applies it. */
	if (from[0] == TREE_TEMP_PART && to[0] == TREE_TEMP_PART && strncmp(from, to, (size_t)(strchr(to + 2, '-') - to) + 1) == 0)
		world_violation(s->m->w, "R2: %u takes %s away from who has it", s->m->number, from);
	if (rc)
		return rc;
	snprintf(path, sizeof path, "%s", tree_corner(CORNER_TMP, from));
	names_journal(s);
	names_move(s, path, tree_corner(CORNER_TMP, to));
	tree_leave(t);
	return 0;
}

/* --- changing places --- */

/* R2: what comes into the tree is whole, as somebody wrote it. */
static void judge_published(struct sim_tree *s, const char *path, const struct inode *in)
{
	if (in->kind == ENTRY_FILE && in->len && !ledger_knows(s->m->w, in->data, in->len))
		world_violation(s->m->w, "R2: %u publishes %s with a content that nobody wrote (%zu bytes)", s->m->number, path, in->len);
}

static int sim_publish(struct tree *t, const char *temp, const char *path)
{
	struct sim_tree *s = sim_of(t);
	struct inode *in, *there;
	char from[512];
	int rc = tree_resolve_temp(t, temp, true, &in);

	if (!rc) {
		rc = tree_resolve(t, path, true, &there);
		rc = rc == -ENOENT && !names_parent(s, path) && !s->missing && !simtree_find(s, path) ? 0 : rc ? rc : -EEXIST;
	}
	if (rc)
		return rc;
	rules_judge_touch(s, path);
	if (temp[0] != TREE_TEMP_KEEP)
		judge_published(s, path, in);
	snprintf(from, sizeof from, "%s", tree_corner(CORNER_TMP, temp));
	names_journal(s);
	names_move(s, from, path);
	simtree_touch(s, in, false);
	world_say(s->m->w, "%u publishes %s (inode %llu)", s->m->number, path, (unsigned long long)in->id);
	tree_tell(s, path);
	tree_leave(t);
	return 0;
}

static int sim_exchange(struct tree *t, const char *temp, const char *path)
{
	struct sim_tree *s = sim_of(t);
	struct inode *in, *there;
	char at[512];
	int rc = tree_resolve_temp(t, temp, true, &in);

	if (!rc)
		rc = tree_resolve(t, path, true, &there);
	if (rc)
		return rc;
	rules_judge_touch(s, path);
	snprintf(at, sizeof at, "%s", tree_corner(CORNER_TMP, temp));
	if (names_find(s, at) && !names_find(s, at)->was_at) /* it is not put back */
		judge_published(s, path, in);
	names_journal(s);
	names_move(s, at, TREE_CORNER "/between");
	names_move(s, path, at);
	names_move(s, TREE_CORNER "/between", path);
	s->m->w->dirs_ended |= in->kind == ENTRY_DIR || there->kind == ENTRY_DIR;
	simtree_touch(s, in, false);
	simtree_touch(s, there, false);
	names_taken(s, at, path);
	if (s->m->w->brk == SYNC_BREAK_EXCHANGE_LOSES && there->kind == ENTRY_FILE && there->len) {
		struct inode *none = simtree_inode(s, ENTRY_FILE);
		uint64_t id = none->id;

		*none = (struct inode){ .all = none->all, .id = there->id, .kind = ENTRY_FILE, .len = there->len, .data = calloc(1, there->len + 1),
					.mtime_ns = there->mtime_ns, .ctime_ns = there->ctime_ns, .mode = there->mode, .uid = there->uid,
					.gid = there->gid };
		(void)id;
		names_find(s, at)->in = none;
	}
	world_say(s->m->w, "%u exchanges %s (inode %llu for %llu)", s->m->number, path, (unsigned long long)in->id, (unsigned long long)there->id);
	tree_tell(s, path);
	tree_leave(t);
	return 0;
}

static int sim_withdraw(struct tree *t, const char *path, const char *temp)
{
	struct sim_tree *s = sim_of(t);
	struct inode *in;
	int rc = tree_resolve(t, path, true, &in);

	if (rc)
		return rc;
	rules_judge_touch(s, path);
	names_journal(s);
	names_move(s, path, tree_corner(CORNER_TMP, temp));
	names_taken(s, tree_corner(CORNER_TMP, temp), path);
	simtree_touch(s, in, false);
	world_say(s->m->w, "%u withdraws %s (inode %llu)", s->m->number, path, (unsigned long long)in->id);
	tree_tell(s, path);
	tree_leave(t);
	return 0;
}

static int sim_remove_dir(struct tree *t, const char *path)
{
	struct sim_tree *s = sim_of(t);
	struct inode *in;
	int rc = tree_resolve(t, path, true, &in);

	if (!rc && in->kind != ENTRY_DIR)
		rc = -ENOTDIR;
	if (!rc && !names_is_empty(s, path))
		rc = -ENOTEMPTY;
	if (rc)
		return rc;
	rules_judge_touch(s, path);
	names_journal(s);
	names_drop(s, path);
	s->m->w->dirs_ended = true;
	world_say(s->m->w, "%u removes %s", s->m->number, path);
	tree_tell(s, path);
	tree_leave(t);
	return 0;
}

static int sim_set_dir_time(struct tree *t, const char *path, int64_t sec, uint32_t ns)
{
	struct inode *in;
	int rc = tree_resolve(t, path, true, &in);

	if (rc)
		return rc;
	if (in->kind != ENTRY_DIR)
		return -ENOTDIR;
	rules_judge_touch(sim_of(t), path);
	simtree_touch(sim_of(t), in, false);
	in->mtime_ns = sec * 1000000000 + (int64_t)ns;
	world_say(sim_of(t)->m->w, "%u sets the time of %s", sim_of(t)->m->number, path);
	tree_tell(sim_of(t), path);
	tree_leave(t);
	return 0;
}

/* --- durability --- */

static void save(struct inode *in)
{
	free(in->synced);
	in->synced = malloc(in->len + 1);
	if (in->len)
		memcpy(in->synced, in->data, in->len);
	in->synced_len = in->len;
	in->synced_mtime_ns = in->mtime_ns;
	in->dirty = false;
}

/* A hint: what it does nobody may count on. */
static void sim_begin_sync(struct tree_file *f, uint64_t off, uint64_t len)
{
	(void)f, (void)off, (void)len;
}

static int sim_sync_file(struct tree_file *f)
{
	int rc = tree_enter(&f->s->t, true);

	if (!rc && f->s->m->w->brk != SYNC_BREAK_SYNC_LIES)
		save(f->in);
	return rc;
}

static int sim_sync_dir(struct tree *t, const char *path)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_enter(t, true);

	if (!rc && path[0])
		rc = names_parent(s, path);
	if (!rc && path[0] && !simtree_find(s, path))
		rc = -ENOENT;
	if (!rc && !simtree_is_dir(s, path))
		rc = -ENOTDIR;
	if (!rc && s->m->w->brk != SYNC_BREAK_SYNC_LIES)
		s->past_count = 0;
	return rc;
}

/* Half of the time it is not to be had. */
static int sim_sync_all(struct tree *t)
{
	struct sim_tree *s = sim_of(t);
	int rc = tree_enter(t, true);

	if (rc || world_chance(s->m->w, 500))
		return rc ? rc : -EOPNOTSUPP;
	if (s->m->w->brk == SYNC_BREAK_SYNC_LIES)
		return 0;
	for (size_t i = 0; i < s->now.count; i++)
		if (s->now.all[i].in->kind == ENTRY_FILE)
			save(s->now.all[i].in);
	s->past_count = 0;
	tree_leave(t);
	return 0;
}

/* part: of what is being fetched; nobody may ever see it as it is. */
static void lose_content(struct world *w, struct inode *in, bool part)
{
	size_t half;

	if (in->kind != ENTRY_FILE || !in->dirty)
		return;
	switch (world_random(w, 4)) {
	case 0: /* as it was synced; never: empty */
		free(in->data);
		in->data = calloc(1, in->synced_len + 1);
		if (in->synced_len)
			memcpy(in->data, in->synced, in->synced_len);
		in->len = in->synced_len;
		if (in->synced)
			in->mtime_ns = in->synced_mtime_ns;
		break;
	case 1: /* zeros */
		memset(in->data, 0, in->len);
		break;
	case 2: /* a half */
		half = in->len / 2;
		in->len = half;
		break;
	default: /* it had been written after all */
		break;
	}
	if (!part) {
		ledger_content(w, in->data, in->len, 0);
		ledger_meta(w, in);
	}
	save(in);
}

static bool is_part(const struct name *n)
{
	return strncmp(n->path, CORNER_TMP, strlen(CORNER_TMP)) == 0 && n->path[strlen(CORNER_TMP)] == TREE_TEMP_PART;
}

void simtree_power_loss(struct sim_tree *s)
{
	size_t back = world_random(s->m->w, s->past_count + 1);

	if (back < s->past_count)
		simtree_names_copy(&s->past[back], &s->now);
	s->past_count = 0;
	simtree_trash_power_loss(s);
	for (size_t i = 0; i < s->now.count; i++) {
		if (s->now.all[i].in->half) /* its writer is gone as well */
			ledger_content(s->m->w, s->now.all[i].in->data, s->now.all[i].in->len, 0);
		s->now.all[i].in->writers = 0;
		s->now.all[i].in->half = 0;
		lose_content(s->m->w, s->now.all[i].in, is_part(&s->now.all[i]));
	}
}

/* --- is it still the tree? --- */

static int sim_alive(struct tree *t)
{
	struct sim_tree *s = sim_of(t);

	return s->m->crashed || s->missing ? -ESTALE : 0;
}

static int sim_token_get(struct tree *t, uint8_t *ret)
{
	struct sim_tree *s = sim_of(t);

	if (!s->has_token)
		return -ENOENT;
	memcpy(ret, s->token, sizeof s->token);
	return 0;
}

static int sim_token_put(struct tree *t, const uint8_t *token)
{
	struct sim_tree *s = sim_of(t);

	memcpy(s->token, token, sizeof s->token);
	s->has_token = true;
	return 0;
}

static void sim_free(struct tree *t)
{
	(void)t;
}

void simtree_init(struct sim_tree *s, struct machine *m)
{
	s->m = m;
	simtree_looking(&s->t);
	s->t.stat_temp = sim_stat_temp;
	s->t.describe_temp = sim_describe_temp;
	s->t.remove_temp = sim_remove_temp;
	s->t.rename_temp = sim_rename_temp;
	s->t.publish = sim_publish;
	s->t.exchange = sim_exchange;
	s->t.withdraw = sim_withdraw;
	s->t.remove_dir = sim_remove_dir;
	s->t.set_dir_time = sim_set_dir_time;
	simtree_trash(&s->t);
	s->t.begin_sync = sim_begin_sync;
	s->t.sync_file = sim_sync_file;
	s->t.sync_dir = sim_sync_dir;
	s->t.sync_all = sim_sync_all;
	s->t.alive = sim_alive;
	s->t.token_get = sim_token_get;
	s->t.token_put = sim_token_put;
	s->t.free = sim_free;
}

/* Whatever begins with an x may be somebody's; all else in the corner was being made. */
void simtree_open(struct sim_tree *s)
{
	char path[512];

	s->notes_synced = s->notes.len;
	for (size_t i = 0; i < s->now.count; i++) {
		const char *name = s->now.all[i].path + strlen(CORNER_TMP);

		if (strncmp(s->now.all[i].path, CORNER_TMP, strlen(CORNER_TMP)) != 0 || strchr(name, '/'))
			continue;
		if (s->now.all[i].in->leased)
			s->now.all[i].in->leased = false;
		if (name[0] == TREE_TEMP_PART)
			continue;
		if (name[0] == TREE_TEMP_KEEP && s->m->w->brk != SYNC_BREAK_TEMP_REMOVED &&
		    (s->now.all[i].in->kind != ENTRY_DIR || !names_is_empty(s, s->now.all[i].path))) {
			snprintf(path, sizeof path, "%s%s", CORNER_TRASH, name);
			names_move(s, s->now.all[i].path, path);
		} else {
			names_drop(s, s->now.all[i].path);
			i--;
		}
	}
	for (size_t i = 0; i < s->now.count; i++)
		s->now.all[i].in->leased = false;
	s->past_count = 0;
}

void simtree_clear(struct sim_tree *s)
{
	s->now.count = 0;
	s->past_count = 0;
	s->has_token = false;
	buf_free(&s->notes);
	s->notes_synced = 0;
}

/* Another disk with the same on it: inodes are its own. */
void simtree_copy(const struct sim_tree *from, struct sim_tree *to)
{
	rules_copied(to->m->w);
	to->now.count = 0;
	to->past_count = 0;
	for (size_t i = 0; i < from->now.count; i++) {
		const struct inode *a = from->now.all[i].in;
		struct inode *b = NULL;

		for (size_t k = 0; k < i; k++) /* another name of it */
			if (from->now.all[k].in == a)
				b = to->now.all[k].in;
		if (b) {
			names_add(to, from->now.all[i].path, b);
			to->now.all[to->now.count - 1] = from->now.all[i];
			to->now.all[to->now.count - 1].in = b;
			continue;
		}
		b = simtree_inode(to, a->kind);
		b->mode = a->mode;
		b->uid = a->uid;
		b->gid = a->gid;
		memcpy(b->attrs, a->attrs, sizeof b->attrs);
		b->mtime_ns = a->mtime_ns;
		b->ctime_ns = a->ctime_ns;
		b->id = a->id; /* an image has the same numbers */
		b->len = a->len;
		b->data = malloc(a->len + 1);
		if (a->len)
			memcpy(b->data, a->data, a->len);
		b->target = a->target ? strdup(a->target) : NULL;
		save(b);
		if (a->writers || a->half)
			ledger_content(to->m->w, b->data, b->len, 0);
		names_add(to, from->now.all[i].path, b);
		to->now.all[to->now.count - 1] = from->now.all[i];
		to->now.all[to->now.count - 1].in = b;
	}
	for (size_t i = 0; i < from->now.count; i++) /* names that come touch their directories */
		to->now.all[i].in->mtime_ns = from->now.all[i].in->mtime_ns;
	buf_reset(&to->notes);
	buf_bytes(&to->notes, from->notes.data, from->notes.len);
	to->notes_synced = to->notes.len;
	memcpy(to->token, from->token, sizeof to->token);
	to->has_token = from->has_token;
}

void simtree_free(struct sim_tree *s)
{
	free(s->now.all);
	buf_free(&s->notes);
	for (size_t i = 0; i < PAST_MOST; i++)
		free(s->past[i].all);
}

/* --- users --- */

int simtree_user_put(struct sim_tree *s, const char *path, struct inode *in)
{
	struct inode *there = simtree_find(s, path);
	int rc = names_parent(s, path);

	if (rc)
		return rc;
	if (there && there->kind == ENTRY_DIR)
		return -EISDIR;
	names_journal(s);
	if (there) {
		rules_lost_name(s, path);
		simtree_touch(s, there, false); /* it may have other names */
		names_drop(s, path);
	}
	names_add(s, path, in);
	tree_tell(s, path);
	return 0;
}

/* Another name of it: nothing is told of the others. */
int simtree_user_link(struct sim_tree *s, const char *path, struct inode *in)
{
	int rc = names_parent(s, path);

	if (rc || simtree_find(s, path))
		return rc ? rc : -EEXIST;
	names_journal(s);
	names_add(s, path, in);
	simtree_touch(s, in, false);
	tree_tell(s, path);
	return 0;
}

int simtree_user_remove(struct sim_tree *s, const char *path)
{
	if (!simtree_find(s, path))
		return -ENOENT;
	if (!names_is_empty(s, path))
		return -ENOTEMPTY;
	names_journal(s);
	tree_tell(s, path);
	s->m->w->dirs_ended |= simtree_is_dir(s, path);
	rules_lost_name(s, path);
	simtree_touch(s, simtree_find(s, path), false);
	names_drop(s, path);
	return 0;
}

int simtree_user_rename(struct sim_tree *s, const char *from, const char *to)
{
	struct inode *in = simtree_find(s, from), *there = simtree_find(s, to);
	int rc = names_parent(s, to);

	if (!in)
		return -ENOENT;
	if (rc)
		return rc;
	if (strcmp(from, to) == 0 || names_below(to, from) || (there && (there->kind == ENTRY_DIR) != (in->kind == ENTRY_DIR)))
		return -EINVAL;
	if (there && there->kind == ENTRY_DIR && !names_is_empty(s, to))
		return -ENOTEMPTY;
	names_journal(s);
	if (there) {
		rules_lost_name(s, to);
		simtree_touch(s, there, false);
		names_drop(s, to);
	}
	s->m->w->dirs_ended |= in->kind == ENTRY_DIR;
	tree_tell(s, from);
	names_move(s, from, to);
	simtree_touch(s, in, false);
	tree_tell(s, to);
	return 0;
}
