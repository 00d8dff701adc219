/* members.c - the set of members: merging, bounds, bytes. */
#include "members.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

void members_free(struct members *s)
{
	free(s->all);
	memset(s, 0, sizeof *s);
}

/* Where the key is, or would be. */
static size_t place(const struct members *s, const uint8_t *node, bool *ret_there)
{
	size_t low = 0, high = s->count;

	*ret_there = false;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int d = memcmp(s->all[mid].node, node, FRAME_NODE_BYTES);

		if (d == 0) {
			*ret_there = true;
			return mid;
		}
		if (d < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct member *members_get(const struct members *s, const uint8_t *node)
{
	bool there;
	size_t i = place(s, node, &there);

	return there ? &s->all[i] : NULL;
}

size_t members_live(const struct members *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		n += !s->all[i].forgotten;
	return n;
}

int members_order(const struct member *a, const struct member *b)
{
	int d;

	if (a->forgotten != b->forgotten)
		return a->forgotten ? 1 : -1;
	if (a->stamp != b->stamp)
		return a->stamp < b->stamp ? -1 : 1;
	d = strcmp(a->address, b->address);
	return d ? d : strcmp(a->name, b->name);
}

/* The one that was forgotten the longest ago, or count. */
static size_t oldest_forgotten(const struct members *s)
{
	size_t found = s->count;

	for (size_t i = 0; i < s->count; i++)
		if (s->all[i].forgotten && (found == s->count || s->all[i].stamp < s->all[found].stamp))
			found = i;
	return found;
}

static void take_out(struct members *s, size_t i)
{
	s->count--;
	memmove(&s->all[i], &s->all[i + 1], (s->count - i) * sizeof *s->all);
}

/* Room for one more that is no older than what goes for it. */
static bool make_room(struct members *s, const struct member *m)
{
	size_t old;

	if (!m->forgotten && members_live(s) >= MEMBERS_LIVE_MAX)
		return false;
	if (s->count < MEMBERS_MAX)
		return true;
	old = oldest_forgotten(s);
	if (old == s->count || (m->forgotten && m->stamp <= s->all[old].stamp))
		return false;
	take_out(s, old);
	return true;
}

static int grow(struct members *s)
{
	size_t cap = s->cap ? 2 * s->cap : 8;
	struct member *p;

	if (s->count < s->cap)
		return 0;
	p = realloc(s->all, cap * sizeof *p);
	if (!p)
		return -ENOMEM;
	s->all = p;
	s->cap = cap;
	return 0;
}

int members_merge(struct members *s, const struct member *m, bool *ret_changed)
{
	bool there;
	size_t i = place(s, m->node, &there);

	*ret_changed = false;
	if (there) {
		*ret_changed = members_order(m, &s->all[i]) > 0;
		if (*ret_changed)
			s->all[i] = *m;
		return 0;
	}
	if (grow(s))
		return -ENOMEM;
	if (!make_room(s, m))
		return 0;
	i = place(s, m->node, &there);
	memmove(&s->all[i + 1], &s->all[i], (s->count - i) * sizeof *s->all);
	s->all[i] = *m;
	s->count++;
	*ret_changed = true;
	return 0;
}

int members_copy(const struct members *from, struct members *to)
{
	to->all = from->count ? malloc(from->count * sizeof *to->all) : NULL;
	if (from->count && !to->all)
		return -ENOMEM;
	if (from->count)
		memcpy(to->all, from->all, from->count * sizeof *to->all);
	to->count = to->cap = from->count;
	return 0;
}

/* --- bytes --- */

void members_encode(const struct members *s, struct buf *out)
{
	buf_u16(out, (uint16_t)s->count);
	for (size_t i = 0; i < s->count; i++) {
		const struct member *m = &s->all[i];
		struct frame_member f = { .state = m->forgotten ? FRAME_FORGOTTEN : FRAME_MEMBER, .stamp = m->stamp,
					  .name = { m->name, strlen(m->name) }, .address = { m->address, strlen(m->address) } };

		memcpy(f.node, m->node, sizeof f.node);
		frame_put_member(out, &f);
	}
}

static int text(const struct frame_text *t, char *ret)
{
	if (t->len > FRAME_NAME_MAX || (t->len && memchr(t->p, '\0', t->len)))
		return ERR_CORRUPT;
	if (t->len)
		memcpy(ret, t->p, t->len);
	ret[t->len] = '\0';
	return 0;
}

int members_decode(struct cursor *c, struct members *s, bool *ret_changed)
{
	unsigned count = cursor_u16(c);
	bool any = false, changed;
	int rc = c->err;

	for (unsigned i = 0; i < count && !rc; i++) {
		struct frame_member f;
		struct member m;

		rc = frame_get_member(c, &f);
		if (!rc && f.stamp > MEMBERS_STAMP_MAX)
			rc = ERR_CORRUPT;
		if (!rc)
			rc = text(&f.name, m.name);
		if (!rc)
			rc = text(&f.address, m.address);
		if (rc)
			break;
		memcpy(m.node, f.node, sizeof m.node);
		m.forgotten = f.state == FRAME_FORGOTTEN;
		m.stamp = f.stamp;
		rc = members_merge(s, &m, &changed);
		any |= !rc && changed;
	}
	if (!rc)
		rc = cursor_end(c);
	*ret_changed = any;
	return rc;
}
