/*
 * trash.c - notes, and what follows from them.
 *
 * A record of the notes: u32 magic, u32 length of the body, body, u64 XXH3 of the body. The body: u8 format (1), u8 why, u64 wall clock (µs), u64 the trash's
 * clock (ns), str16 name, str16 path; where the name is empty, 16 bytes of the boot and u64 its clock (ns) instead of the path. The last of a name counts.
 *
 * Crash behaviour: a note without its item is passed over, and dropped when the notes are shortened. An item without its note cannot come from a crash of the
 * process; however it came there, it is kept from the moment on at which it was found.
 */
#include "trash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "hash.h"
#include "pathmap.h"

#define NOTE_MAGIC 0x54436c43u          /* "ClCT" */
#define NOTE_FORMAT 1u
#define NOTE_BODY_MAX (ENTRY_PATH_MAX + ENTRY_NAME_MAX + 64u)
#define NOTE_ENDS 16u                   /* around the body */
#define NOTES_SHORTEN_BYTES 65536u      /* from here on, when most of it is about nothing */

const char *const trash_why_names[TRASH_CAUSES] = { [TRASH_UNKNOWN] = "unknown", [TRASH_DELETED] = "deletion", [TRASH_CONFLICT] = "conflict", [TRASH_ROT] = "rot" };

/* --- notes as bytes --- */

struct tick { uint8_t boot[TRASH_BOOT_BYTES]; uint64_t boot_ns, clock_ns; };

static void note_encode(const struct trash_note *n, const struct tick *tick, struct buf *out)
{
	struct buf b = BUF_INIT;

	buf_u8(&b, NOTE_FORMAT);
	buf_u8(&b, (uint8_t)n->why);
	buf_u64(&b, n->wall_us);
	buf_u64(&b, n->clock_ns);
	buf_str16(&b, n->name, strlen(n->name));
	if (tick) {
		buf_bytes(&b, tick->boot, sizeof tick->boot);
		buf_u64(&b, tick->boot_ns);
	} else {
		buf_str16(&b, n->path, strlen(n->path));
	}
	buf_u32(out, NOTE_MAGIC);
	buf_u32(out, (uint32_t)b.len);
	buf_bytes(out, b.data, b.len);
	buf_u64(out, hash_xxh3(b.data, b.len, 0));
	if (b.err && !out->err)
		out->err = b.err;
	buf_free(&b);
}

struct noted { struct pathmap_item at; struct trash_note note; char *path; bool there; }; /* at.path is the name */

struct notes {
	struct pathmap by_name;
	struct tick tick;              /* the last */
	bool ticked;
	uint64_t latest_ns;            /* the latest the clock ever showed */
	size_t bytes, records;
};

static int notes_add(struct notes *all, const char *name, size_t name_len, const char *path, size_t path_len, const struct trash_note *n)
{
	struct noted *k = (struct noted *)(void *)pathmap_get(&all->by_name, name, name_len);
	char *copy = strndup(path, path_len);
	int rc;

	if (!copy)
		return -ENOMEM;
	if (!k) {
		k = calloc(1, sizeof *k);
		rc = k ? pathmap_add(&all->by_name, name, name_len, &k->at) : -ENOMEM;
		if (rc) {
			free(k);
			free(copy);
			return rc;
		}
	}
	free(k->path);
	k->path = copy;
	k->note = *n;
	k->note.name = k->at.path;
	k->note.path = copy;
	return 0;
}

/* 1: a record, and it was taken (or is of a format that is not known); 0: these bytes are none. */
static int note_decode(struct notes *all, const uint8_t *body, size_t len)
{
	struct cursor c = cursor_make(body, len);
	struct trash_note n = { 0 };
	size_t name_len, path_len;
	const char *name, *path;
	struct tick tick;
	uint8_t why;

	if (cursor_u8(&c) != NOTE_FORMAT)
		return 1;
	why = cursor_u8(&c);
	n.why = why < TRASH_CAUSES ? (enum trash_why)why : TRASH_UNKNOWN;
	n.wall_us = cursor_u64(&c);
	n.clock_ns = cursor_u64(&c);
	name = (const char *)cursor_str16(&c, &name_len);
	if (!c.err && name_len == 0) {
		cursor_copy(&c, tick.boot, sizeof tick.boot);
		tick.boot_ns = cursor_u64(&c);
		tick.clock_ns = n.clock_ns;
		if (cursor_end(&c))
			return 1;
		all->tick = tick;
		all->ticked = true;
	} else {
		path = (const char *)cursor_str16(&c, &path_len);
		if (cursor_end(&c) || memchr(name, '\0', name_len) || (path_len && !entry_path_valid(path, path_len)))
			return 1;
		if (notes_add(all, name, name_len, path, path_len, &n))
			return -ENOMEM;
	}
	if (n.clock_ns > all->latest_ns)
		all->latest_ns = n.clock_ns;
	return 1;
}

static int notes_decode(struct notes *all, const uint8_t *p, size_t len)
{
	size_t at = 0;
	int rc = 0;

	while (rc >= 0 && len - at >= NOTE_ENDS) {
		uint32_t body = get_u32(p + at) == NOTE_MAGIC ? get_u32(p + at + 4) : UINT32_MAX;

		if (body > NOTE_BODY_MAX || body > len - at - NOTE_ENDS || get_u64(p + at + 8 + body) != hash_xxh3(p + at + 8, body, 0)) {
			at++; /* torn, or not there yet: what is behind it counts all the same */
			continue;
		}
		rc = note_decode(all, p + at + 8, body);
		at += body + NOTE_ENDS;
		all->records++;
	}
	all->bytes = len;
	return rc < 0 ? rc : 0;
}

static void notes_free(struct notes *all)
{
	while (all->by_name.first) {
		struct noted *k = (struct noted *)(void *)all->by_name.first;

		pathmap_remove(&all->by_name, &k->at);
		free(k->path);
		free(k);
	}
	pathmap_free(&all->by_name);
}

static int notes_load(struct tree *t, struct notes *all)
{
	struct buf b = BUF_INIT;
	int rc = t->notes_get(t, &b);

	memset(all, 0, sizeof *all);
	if (!rc)
		rc = b.err ? b.err : notes_decode(all, b.data, b.len);
	buf_free(&b);
	if (rc)
		notes_free(all);
	return rc;
}

/* --- the clock --- */

int trash_clock_load(struct tree *t, const uint8_t *boot, uint64_t boot_ns, struct trash_clock *ret)
{
	struct notes all;
	uint64_t at;
	int rc = notes_load(t, &all);

	if (rc)
		return rc;
	at = all.latest_ns;
	if (all.ticked && memcmp(all.tick.boot, boot, TRASH_BOOT_BYTES) == 0 && boot_ns > all.tick.boot_ns &&
	    all.tick.clock_ns + (boot_ns - all.tick.boot_ns) > at)
		at = all.tick.clock_ns + (boot_ns - all.tick.boot_ns);
	*ret = (struct trash_clock){ at, boot_ns };
	notes_free(&all);
	return 0;
}

uint64_t trash_clock_ns(const struct trash_clock *c, uint64_t boot_ns)
{
	return c->at_ns + (boot_ns > c->boot_ns ? boot_ns - c->boot_ns : 0);
}

/* --- what comes in --- */

int trash_note(struct tree *t, const struct trash_note *notes, size_t count, bool sync)
{
	struct buf b = BUF_INIT;
	int rc;

	for (size_t i = 0; i < count; i++)
		note_encode(&notes[i], NULL, &b);
	rc = b.err ? b.err : t->note(t, b.data, b.len, sync);
	buf_free(&b);
	return rc;
}

/* --- listing --- */

struct listing { struct notes *all; trash_visit visit; void *user; };

static int list_one(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	struct listing *l = user;
	struct noted *k = (struct noted *)(void *)pathmap_get(&l->all->by_name, name, len);
	struct trash_item item = { .kind = st->kind, .carried = st->carried, .uid = st->id.uid, .gid = st->id.gid };

	item.size = st->carried && st->kind == ENTRY_FILE ? st->id.size : 0;
	if (k) {
		k->there = true;
		item.note = k->note;
	} else {
		item.note.name = name;
		item.note.path = "";
	}
	return l->visit(l->user, &item);
}

int trash_list(struct tree *t, trash_visit visit, void *user)
{
	struct notes all;
	struct listing l = { &all, visit, user };
	int rc = notes_load(t, &all);

	if (rc)
		return rc;
	rc = t->list_trash(t, list_one, &l);
	notes_free(&all);
	return rc;
}

/* --- keeping --- */

struct kept { char name[ENTRY_NAME_MAX + 1]; uint64_t clock_ns, size; bool noted; };
struct tending { struct kept *all; size_t count, cap; };

static int keep_one(void *user, const struct trash_item *item)
{
	struct tending *x = user;

	if (x->count == x->cap) {
		size_t cap = x->cap ? 2 * x->cap : 64;
		struct kept *p = realloc(x->all, cap * sizeof *p);

		if (!p)
			return -ENOMEM;
		x->all = p;
		x->cap = cap;
	}
	x->all[x->count] = (struct kept){ .clock_ns = item->note.clock_ns, .size = item->size, .noted = item->note.clock_ns || item->note.wall_us };
	strncpy(x->all[x->count].name, item->note.name, ENTRY_NAME_MAX);
	x->count++;
	return 0;
}

static int older(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return x->clock_ns < y->clock_ns ? -1 : x->clock_ns > y->clock_ns ? 1 : strcmp(x->name, y->name);
}

static int note_left(void *user, const char *name, size_t len, const struct tree_stat *st)
{
	(void)st;
	if (name[0] == TREE_TEMP_KEEP && len <= TREE_TEMP_MAX)
		buf_bytes(user, name, len + 1);
	return ((struct buf *)user)->err;
}

/* What may hold somebody's edit, and did not get to the trash. */
static int sweep(struct tree *t, struct buf *left, bool *ret_stuck)
{
	int rc = t->list_temps(t, note_left, left), first;

	if (!rc && left->len)
		rc = t->sync_notes(t);
	first = rc;
	*ret_stuck = rc != 0;
	for (size_t at = 0; !rc && at < left->len; at += strlen((const char *)left->data + at) + 1) {
		const char *temp = (const char *)left->data + at;
		struct tree_stat st;
		int one = t->stat_temp(t, temp, &st);

		if (!one && st.carried && st.kind == ENTRY_DIR)
			one = t->remove_temp(t, temp);
		else if (!one)
			one = -ENOTEMPTY;
		if (one == -ENOTEMPTY)
			one = t->trash(t, temp, temp);
		if (one && one != -ENOENT) {
			*ret_stuck = true;
			first = first ? first : one;
		}
	}
	return first;
}

/* Their time begins now: whatever they are, they are not thrown away for want of a note. */
static int note_unnoted(struct tree *t, const struct trash_rules *r, struct tending *x)
{
	struct buf b = BUF_INIT;
	int rc = 0;

	for (size_t i = 0; i < x->count; i++)
		if (!x->all[i].noted) {
			struct trash_note n = { x->all[i].name, "", TRASH_UNKNOWN, r->wall_us ? r->wall_us : 1, r->clock_ns };

			note_encode(&n, NULL, &b);
			x->all[i].clock_ns = r->clock_ns;
		}
	if (b.len || b.err)
		rc = b.err ? b.err : t->note(t, b.data, b.len, true);
	buf_free(&b);
	return rc;
}

static int remove_old(struct tree *t, const struct trash_rules *r, struct tending *x, struct trash_state *s)
{
	int first = 0;

	for (size_t i = 0; i < x->count; i++) {
		s->items++;
		s->bytes += x->all[i].size;
	}
	if (x->count)
		qsort(x->all, x->count, sizeof *x->all, older);
	for (size_t i = 0; i < x->count; i++) {
		uint64_t age = r->clock_ns > x->all[i].clock_ns ? r->clock_ns - x->all[i].clock_ns : 0;
		bool full = r->most_bytes && s->bytes > r->most_bytes && age >= TRASH_LEAST_NS;
		int rc;

		if (!x->all[i].noted || (age < r->keep_ns && !full))
			continue;
		rc = t->remove_trash(t, x->all[i].name);
		if (rc && rc != -ENOENT) {
			first = first ? first : rc;
			continue;
		}
		s->removed++;
		s->items--;
		s->bytes -= x->all[i].size;
	}
	return first;
}

/* The time, and once most of the notes are about nothing, those alone that are about something. left: temps that are still to come to the trash. */
static int write_time(struct tree *t, const struct trash_rules *r, const struct buf *left)
{
	struct trash_note none = { "", "", TRASH_UNKNOWN, r->wall_us, r->clock_ns };
	struct tick tick = { .boot_ns = r->boot_ns, .clock_ns = r->clock_ns };
	struct tending there = { NULL, 0, 0 };
	struct buf b = BUF_INIT;
	struct notes all;
	struct listing l = { &all, keep_one, &there };
	int rc = notes_load(t, &all);

	if (rc)
		return rc;
	memcpy(tick.boot, r->boot, sizeof tick.boot);
	note_encode(&none, &tick, &b);
	if (all.bytes >= NOTES_SHORTEN_BYTES)
		rc = t->list_trash(t, list_one, &l);
	if (!rc && all.bytes >= NOTES_SHORTEN_BYTES && there.count < all.records / 2) {
		for (size_t at = 0; at < left->len; at += strlen((const char *)left->data + at) + 1) {
			struct noted *k = (struct noted *)(void *)pathmap_get(&all.by_name, (const char *)left->data + at, strlen((const char *)left->data + at));

			if (k)
				k->there = true;
		}
		for (struct pathmap_item *i = all.by_name.first; i; i = i->next)
			if (((struct noted *)(void *)i)->there)
				note_encode(&((struct noted *)(void *)i)->note, NULL, &b);
		rc = b.err ? b.err : t->notes_put(t, b.data, b.len);
	} else if (!rc) {
		rc = b.err ? b.err : t->note(t, b.data, b.len, true);
	}
	free(there.all);
	buf_free(&b);
	notes_free(&all);
	return rc;
}

int trash_tend(struct tree *t, const struct trash_rules *rules, struct trash_state *ret)
{
	struct tending x = { NULL, 0, 0 };
	struct buf left = BUF_INIT;
	int rc, first;

	memset(ret, 0, sizeof *ret);
	first = sweep(t, &left, &ret->stuck);
	rc = trash_list(t, keep_one, &x);
	first = first ? first : rc;
	if (!rc) { /* a full disk has no room for notes: all the more has to go what may */
		rc = note_unnoted(t, rules, &x);
		first = first ? first : rc;
		rc = remove_old(t, rules, &x, ret);
		first = first ? first : rc;
	}
	rc = write_time(t, rules, &left);
	first = first ? first : rc;
	buf_free(&left);
	free(x.all);
	return first;
}

/* --- for users --- */

struct search { const char *name; struct trash_item item; char path[ENTRY_PATH_MAX + 1]; };

static int find_one(void *user, const struct trash_item *item)
{
	struct search *s = user;

	if (strcmp(item->note.name, s->name) != 0)
		return 0;
	s->item = *item;
	strncpy(s->path, item->note.path, ENTRY_PATH_MAX);
	return 1;
}

/* A directory for it to be in, as it is owned. */
static int make_one(struct tree *t, struct env *env, const char *path, const struct trash_item *like)
{
	static const char hex[] = "0123456789abcdef";
	char temp[TREE_TEMP_MAX + 1] = "r-";
	struct tree_stat st;
	uint8_t random[8];
	struct entry e;
	struct tree_owner owner;
	int rc = t->stat(t, path, &st);

	if (rc != -ENOENT)
		return rc ? rc : st.carried && st.kind == ENTRY_DIR ? 0 : -ENOTDIR;
	env->random(env, random, sizeof random);
	for (size_t i = 0; i < sizeof random; i++) {
		temp[2 + 2 * i] = hex[random[i] >> 4];
		temp[3 + 2 * i] = hex[random[i] & 15];
	}
	temp[2 + 2 * sizeof random] = '\0';
	entry_init(&e);
	e.kind = ENTRY_DIR;
	e.mode = 0755;
	e.uid = like->uid;
	e.gid = like->gid;
	rc = t->make_dir(t, temp);
	if (rc)
		return rc;
	rc = t->dress_temp(t, temp, &e, &owner);
	if (!rc)
		rc = t->publish(t, temp, path);
	if (rc)
		t->remove_temp(t, temp);
	return rc == -EEXIST ? 0 : rc; /* somebody was quicker: if that is no directory, what follows says so */
}

static int sync_parents(struct tree *t, const char *path)
{
	char dir[ENTRY_PATH_MAX + 1];
	int rc = 0;

	strcpy(dir, path);
	while (!rc && dir[0]) {
		char *slash = strrchr(dir, '/');

		*(slash ? slash : dir) = '\0';
		rc = t->sync_dir(t, dir);
	}
	return rc;
}

int trash_restore(struct tree *t, struct env *env, const char *name, const char *to, char *ret_path)
{
	struct search s = { .name = name };
	char dir[ENTRY_PATH_MAX + 1];
	int rc = trash_list(t, find_one, &s);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return -ENOENT;
	if (!to)
		to = s.path;
	if (!to[0])
		return -ENODATA;
	if (!entry_path_valid(to, strlen(to)))
		return -EINVAL;
	rc = 0;
	for (const char *slash = strchr(to, '/'); slash && !rc; slash = strchr(slash + 1, '/')) {
		memcpy(dir, to, (size_t)(slash - to));
		dir[slash - to] = '\0';
		rc = make_one(t, env, dir, &s.item);
	}
	if (!rc)
		rc = t->untrash(t, name, to);
	if (rc)
		return rc;
	if (ret_path)
		strcpy(ret_path, to);
	return sync_parents(t, to);
}

int trash_remove(struct tree *t, const char *name)
{
	return t->remove_trash(t, name);
}
