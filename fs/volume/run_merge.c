/*
 * run_merge.c - the k-way merge of sorted sources, newest first. See run.h.
 *
 * A binary heap of the sources by the key each stands at, and by age where keys are equal. A source's key and value
 * are views that it takes back at its next step, so the one whose entry was returned last is stepped at the beginning
 * of the next call; older entries of the same key are stepped over at once.
 *
 * What comes out ascends strictly, or ERR_CORRUPT comes out: a source whose keys do not ascend (parts in the wrong
 * order, say) cannot pass unseen.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "kvmap.h"
#include "run.h"

struct place {
	uint64_t h0, h1; /* the key's first 16 bytes, as numbers: settles most comparisons */
	const uint8_t *key, *val;
	size_t klen, vlen;
	size_t source;
};

struct run_merge {
	struct run_source *sources;
	struct place *heap;
	size_t count, live;
	bool drop_tombstones, started, pending; /* pending: heap[0] was returned and is to be stepped */
	int err;
	size_t last_len;
	uint8_t last[KVMAP_KEY_MAX];
};

int run_merge_new(const struct run_source *sources, size_t count, bool drop_tombstones, struct run_merge **ret)
{
	struct run_merge *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->sources = calloc(count ? count : 1, sizeof(*m->sources));
	m->heap = calloc(count ? count : 1, sizeof(*m->heap));
	if (!m->sources || !m->heap) {
		run_merge_free(m);
		return -ENOMEM;
	}
	if (count)
		memcpy(m->sources, sources, count * sizeof(*sources));
	m->count = count;
	m->drop_tombstones = drop_tombstones;
	*ret = m;
	return 0;
}

void run_merge_free(struct run_merge *m)
{
	if (!m)
		return;
	free(m->sources);
	free(m->heap);
	free(m);
}

static int bytes_cmp(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	int d = memcmp(a, b, alen < blen ? alen : blen);

	return d ? d : (alen > blen) - (alen < blen);
}

static int key_cmp(const struct place *a, const struct place *b)
{
	if (a->h0 != b->h0)
		return a->h0 < b->h0 ? -1 : 1;
	if (a->h1 != b->h1)
		return a->h1 < b->h1 ? -1 : 1;
	return bytes_cmp(a->key, a->klen, b->key, b->klen);
}

static bool before(const struct place *a, const struct place *b)
{
	int d = key_cmp(a, b);

	return d < 0 || (d == 0 && a->source < b->source);
}

/* 1: the place has the source's next entry; 0: the source is at its end; or an error. */
static int place_step(struct run_merge *m, struct place *p)
{
	struct run_source *s = &m->sources[p->source];
	uint8_t pad[16] = { 0 };
	const uint8_t *k;
	int rc = s->next(s->user, &p->key, &p->klen, &p->val, &p->vlen);

	if (rc <= 0)
		return rc;
	if (p->klen < 1 || p->klen > KVMAP_KEY_MAX)
		return ERR_CORRUPT;
	k = p->key;
	if (p->klen < sizeof(pad)) {
		memcpy(pad, k, p->klen);
		k = pad;
	}
	p->h0 = get_be64(k);
	p->h1 = get_be64(k + 8);
	return 1;
}

static void sift_down(struct run_merge *m, size_t i)
{
	struct place p = m->heap[i];

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= m->live)
			break;
		if (c + 1 < m->live && before(&m->heap[c + 1], &m->heap[c]))
			c++;
		if (!before(&m->heap[c], &p))
			break;
		m->heap[i] = m->heap[c];
		i = c;
	}
	m->heap[i] = p;
}

/* Steps the source at heap[i] and puts it where it belongs now: its key only grew. */
static int heap_step(struct run_merge *m, size_t i)
{
	int rc = place_step(m, &m->heap[i]);

	if (rc < 0)
		return rc;
	if (rc == 0) {
		m->heap[i] = m->heap[--m->live];
		if (i >= m->live)
			return 0;
	}
	sift_down(m, i);
	return 0;
}

static int start(struct run_merge *m)
{
	for (size_t i = 0; i < m->count; i++) {
		struct place *p = &m->heap[m->live];
		int rc;

		p->source = i;
		rc = place_step(m, p);
		if (rc < 0)
			return rc;
		m->live += rc > 0;
	}
	for (size_t i = m->live / 2; i-- > 0;)
		sift_down(m, i);
	m->started = true;
	return 0;
}

/* Steps over what is hidden by the entry at the top: equal keys of older sources. Whoever has one is the top's child first. */
static int skip_hidden(struct run_merge *m)
{
	for (;;) {
		size_t c = 1;
		int rc;

		if (c + 1 < m->live && before(&m->heap[c + 1], &m->heap[c]))
			c++;
		if (c >= m->live || key_cmp(&m->heap[c], &m->heap[0]) != 0)
			return 0;
		rc = heap_step(m, c);
		if (rc)
			return rc;
	}
}

/* 1: heap[0] is the next entry, tombstones included. */
static int advance(struct run_merge *m)
{
	const struct place *p = &m->heap[0];
	int rc;

	if (!m->started) {
		rc = start(m);
		if (rc)
			return rc;
	}
	if (m->pending) {
		rc = heap_step(m, 0);
		m->pending = false;
		if (rc)
			return rc;
	}
	if (m->live == 0)
		return 0;
	rc = skip_hidden(m);
	if (rc)
		return rc;
	if (m->last_len && bytes_cmp(p->key, p->klen, m->last, m->last_len) <= 0)
		return ERR_CORRUPT;
	memcpy(m->last, p->key, p->klen);
	m->last_len = p->klen;
	m->pending = true;
	return 1;
}

int run_merge_next(struct run_merge *m, const uint8_t **ret_key, size_t *ret_klen, const uint8_t **ret_val, size_t *ret_vlen)
{
	const struct place *p = &m->heap[0];
	int rc;

	if (m->err)
		return m->err;
	do {
		rc = advance(m);
		if (rc < 0)
			m->err = rc;
		if (rc <= 0)
			return rc;
	} while (m->drop_tombstones && !p->val);
	*ret_key = p->key;
	*ret_klen = p->klen;
	*ret_val = p->val;
	*ret_vlen = p->vlen;
	return 1;
}
