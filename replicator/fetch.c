/*
 * fetch.c - contents from peers.
 *
 * A fetch is OPENING (a job makes its temp, and copies what our older version has) at first or after LIST, then BLOCKS, then READY, or BROKEN (its temp could not be written; given
 * up by the next fetch_get). Requests that a peer does not answer because it went down are asked again elsewhere. A fetch whose job is under way is freed by the job's end.
 */
#include "fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fetch_impl.h"
#include "fetch_peer.h"

#define BIG_MOST 16u                  /* files of more than one block that are fetched at a time, */
#define SMALL_MOST (NODE_BATCH / 2)   /* others: as many as a job has room for, */
#define SMALL_BYTES (8u << 20)        /* as long as they are no more than so much */
/* Bytes that one fetch has under way: the first in any case, the second as long as all together have not the third. So a big file is not slow over a long way, and all
 * fetches together never ask of one peer what a link may not queue (LINK_QUEUE_MAX). */
#define WINDOW_BYTES (2u << 20)
#define WINDOW_MOST (12u << 20)
#define WINDOW_ALL (24u << 20)
#define GONE_AGAIN_NS 1000000000ull   /* a peer that did not have it is asked again */

int fetches_new(struct node *n, struct fetches **ret)
{
	struct fetches *f = calloc(1, sizeof *f);

	if (!f)
		return -ENOMEM;
	f->n = n;
	*ret = f;
	return 0;
}

/* The peer owes nothing for it any more. */
static void request_answered(struct request *q)
{
	if (q->peer)
		q->peer->gets--;
	q->peer = NULL;
}

/* That one block is, at the most. */
static uint64_t block_bytes(const struct fetch *f)
{
	return f->count > 1 ? f->block : f->want.size;
}

void fetch_request_free(struct fetch *f, struct request *q)
{
	struct request **at = &f->requests;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	f->window--;
	f->window_bytes -= q->list ? 0 : block_bytes(f);
	f->n->fetches->window_bytes -= q->list ? 0 : block_bytes(f);
	request_answered(q);
	buf_free(&q->got);
	free(q);
}

uint64_t fetch_block_len(const struct fetch *f, uint32_t b)
{
	uint64_t left = f->want.size - b * f->block;

	return left < f->block ? left : f->block;
}

void fetch_unask(struct fetch *f, uint32_t block)
{
	f->have[block] &= (uint8_t)~FETCH_ASKED;
	if (block < f->first)
		f->first = block;
}

void fetch_broken(struct fetch *f, int rc)
{
	f->state = FETCH_BROKEN;
	f->error = rc;
}

void fetch_free(struct fetch *f)
{
	while (f->requests)
		fetch_request_free(f, f->requests);
	if (f->file)
		f->n->o.tree->close(f->file);
	entry_free(&f->want);
	entry_free(&f->old);
	buf_free(&f->list);
	free(f->have);
	free(f->path);
	free(f);
}

static void take_out(struct fetches *all, struct fetch *f)
{
	struct fetch **at = &all->all;

	while (*at != f)
		at = &(*at)->next;
	*at = f->next;
	all->count[f->count == 1]--;
	all->small_bytes -= f->count == 1 ? f->want.size : 0;
}

/* Nobody wants it any more; its temp goes, when its jobs are over (the one that makes it sees to that itself). */
static void drop(struct fetches *all, struct fetch *f)
{
	bool made = f->file || f->state == FETCH_READY;

	take_out(all, f);
	f->dropped = true;
	for (struct request *q = f->requests, *next; q; q = next) {
		next = q->next;
		if (!q->in_job)
			fetch_request_free(f, q);
	}
	if (made && fetch_disk_remove(f) == 0)
		return;
	if (!f->jobs)
		fetch_free(f);
}

/* --- asking --- */

static struct node_peer *next_peer(struct fetch *f)
{
	return fetch_peer_next(f->n->peers, f->gone, &f->turn);
}

static int send_get(struct fetch *f, struct request *q)
{
	uint64_t off = q->list ? 0 : q->block * f->block, len = q->list ? 0 : fetch_block_len(f, q->block);
	struct frame_get g = { .request = q->id, .size = f->want.size };
	struct buf b = BUF_INIT;
	size_t start;
	int rc;

	if (!q->list) {
		off += q->got.len;
		len -= q->got.len;
		g.length = len < FRAME_PIECE_MAX ? (uint32_t)len : FRAME_PIECE_MAX;
	}
	g.offset = off;
	memcpy(g.hash, f->want.hash, HASH_BYTES);
	q->sent_ns = node_now(f->n);
	q->beside = q->peer->gets;
	frame_begin(&b, FRAME_GET, &start);
	frame_put_get(&b, &g);
	frame_end(&b, start, false);
	rc = b.err ? b.err : f->n->o.host->send(f->n->o.host, q->peer->link, &b);
	buf_free(&b);
	return rc;
}

static struct request *add_request(struct fetch *f)
{
	struct request *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->id = ++f->n->fetches->ids;
	q->next = f->requests;
	f->requests = q;
	f->window++;
	return q;
}

struct request *fetch_request_new(struct fetch *f, uint32_t block)
{
	struct request *q = add_request(f);

	if (!q)
		return NULL;
	q->block = block;
	f->window_bytes += block_bytes(f);
	f->n->fetches->window_bytes += block_bytes(f);
	f->have[block] |= FETCH_ASKED;
	return q;
}

static int ask(struct fetch *f, bool list, uint32_t block)
{
	struct node_peer *p = next_peer(f);
	struct request *q;

	if (!p)
		return -ENOENT;
	q = list ? add_request(f) : fetch_request_new(f, block);
	if (!q)
		return -ENOMEM;
	q->list = list;
	q->peer = p;
	q->slot = p->slot;
	p->gets++;
	return send_get(f, q); /* a failure is followed by the peer's going down, and that asks elsewhere */
}

static bool may_ask(const struct fetch *f)
{
	uint64_t bytes = f->window_bytes + block_bytes(f);

	return f->window == 0 || bytes <= WINDOW_BYTES || (bytes <= WINDOW_MOST && f->n->fetches->window_bytes + block_bytes(f) <= WINDOW_ALL);
}

static int ask_block(struct fetch *f, uint32_t block)
{
	int rc = fetch_published_ask(f, block);

	return rc == -ENOENT ? ask(f, false, block) : rc;
}

static bool settled(const struct fetch *f, uint32_t block)
{
	return f->have[block] & (FETCH_ASKED | FETCH_THERE);
}

void fetch_step(struct fetch *f)
{
	int rc = 0;

	if (f->state == FETCH_LIST && !f->requests)
		rc = ask(f, true, 0);
	while (f->state == FETCH_BLOCKS && f->first < f->count && !rc && (settled(f, f->first) || may_ask(f))) {
		if (!settled(f, f->first))
			rc = ask_block(f, f->first);
		f->first += !rc;
	}
	if (rc == -ENOENT && !f->again_ns)
		f->again_ns = node_now(f->n) + GONE_AGAIN_NS;
	if (rc == -ENOENT && !f->stalled_ns)
		f->stalled_ns = node_now(f->n);
}

static int begin(struct fetches *all, const char *path, const struct entry *want, const struct entry *old, struct fetch **ret)
{
	struct fetch *f = calloc(1, sizeof *f);
	struct index_txn *t;
	int rc = f ? 0 : -ENOMEM;

	if (rc)
		return rc;
	f->n = all->n;
	f->block = entry_block_bytes(want->size);
	f->count = f->left = entry_block_count(want->size);
	f->turn = all->turn++;
	f->path = strdup(path);
	f->have = calloc(f->count, 1);
	f->has_old = old != NULL;
	fetch_published_begin(f);
	rc = f->path && f->have ? entry_copy(want, &f->want) : -ENOMEM;
	if (!rc && old)
		rc = entry_copy(old, &f->old);
	if (rc) {
		fetch_free(f);
		return rc;
	}
	f->next = all->all;
	all->all = f;
	all->count[f->count == 1]++;
	all->small_bytes += f->count == 1 ? f->want.size : 0;
	f->state = f->count > 1 ? FETCH_LIST : FETCH_OPENING;
	if (f->count > 1 && index_begin(all->n->o.index, false, &t) == 0) { /* beside the writer, which is ours: what it has is of before */
		if (index_blocks_get(t, want->hash, &f->list) == 0 && f->list.len == (size_t)f->count * HASH_BYTES)
			f->state = FETCH_OPENING;
		index_abort(t);
	}
	if (f->state == FETCH_OPENING)
		rc = fetch_disk_open(f);
	else
		fetch_step(f);
	*ret = f;
	return rc;
}

static bool has_room(const struct fetches *all, bool small)
{
	unsigned usual = small ? SMALL_MOST : BIG_MOST, most = all->n->o.fetch_most;

	return all->count[small] < (most && most < usual ? most : usual) && (!small || all->small_bytes < SMALL_BYTES);
}

static bool some(const struct fetch *f) { return f->left < f->count; } /* a job's, while there is one */

/* Who keeps its place for nothing: nobody who is up has it, for some time, and it is not about to be given up for lost. What has got some of its content goes last. */
static struct fetch *stalled(const struct fetches *all, bool small)
{
	struct fetch *worst = NULL;

	for (struct fetch *f = all->all; f; f = f->next) {
		if (fetch_small(f->want.size) != small || (f->state != FETCH_LIST && f->state != FETCH_BLOCKS) || f->jobs || f->requests || !f->stalled_ns ||
		    node_now(all->n) - f->stalled_ns < GONE_AGAIN_NS || (!f->failed && !f->kept && node_all_heard(all->n)))
			continue;
		if (!worst || some(f) < some(worst) || (some(f) == some(worst) && f->stalled_ns < worst->stalled_ns))
			worst = f;
	}
	return worst;
}

int fetch_get(struct fetches *all, const char *path, const struct entry *want, const struct entry *old, bool kept, char *ret_temp, bool *ret_gone)
{
	struct fetch *f = all->all;
	int rc = 0;

	*ret_gone = false;
	while (f && (f->want.size != want->size || memcmp(f->want.hash, want->hash, HASH_BYTES) != 0))
		f = f->next;
	if (!f) {
		while (!has_room(all, fetch_small(want->size))) {
			f = stalled(all, fetch_small(want->size));
			if (!f)
				return -EBUSY;
			node_want_fetch(all->n, f->path, strlen(f->path), fetch_small(f->want.size)); /* in its turn */
			drop(all, f);
		}
		rc = begin(all, path, want, old, &f);
		if (rc)
			return rc;
		f->kept = kept;
	}
	if (strcmp(f->path, path) != 0)
		return 0; /* it is on its way for another path: a copy can be made then */
	if (f->state == FETCH_READY) {
		memcpy(ret_temp, f->temp, sizeof f->temp);
		take_out(all, f);
		fetch_free(f);
		return 1;
	}
	if (f->state == FETCH_BROKEN) {
		rc = f->error;
		drop(all, f);
		return rc;
	}
	if (!f->window && f->gone)
		*ret_gone = !f->failed && !next_peer(f);
	if (f->again_ns && f->again_ns <= node_now(f->n)) {
		f->gone = 0;
		f->failed = false;
		f->again_ns = 0;
		fetch_step(f);
	}
	return 0;
}

static bool is_wanted(struct index_txn *t, const struct fetch *f)
{
	struct index_record r;
	bool yes;

	index_record_init(&r);
	yes = index_get(t, f->path, strlen(f->path), &r) == 0 && !r.held && !r.left_out && !r.known.deleted && r.known.kind == ENTRY_FILE &&
	      r.known.size == f->want.size && memcmp(r.known.hash, f->want.hash, HASH_BYTES) == 0;
	index_record_free(&r);
	return yes;
}

void fetch_sweep(struct fetches *all)
{
	struct index_txn *t;

	if (!all->all || all->swept == all->n->position || index_begin(all->n->o.index, false, &t))
		return;
	all->swept = all->n->position;
	for (struct fetch *f = all->all, *next; f; f = next) {
		next = f->next;
		if (!is_wanted(t, f))
			drop(all, f);
	}
	index_abort(t);
}

bool fetch_small(uint64_t size)
{
	return entry_block_count(size) == 1;
}

bool fetch_room(const struct fetches *all, bool small)
{
	return has_room(all, small) || stalled(all, small);
}

/* --- answers --- */

static void take_list(struct fetch *f, const struct frame_data *d)
{
	uint8_t h[HASH_BYTES];
	struct index_txn *t;
	int rc;

	hash_blake2b(d->bytes, d->length, h);
	if (d->length != f->count * HASH_BYTES || memcmp(h, f->want.hash, HASH_BYTES) != 0) {
		f->failed = true;
		return;
	}
	buf_reset(&f->list);
	buf_bytes(&f->list, d->bytes, d->length);
	rc = f->list.err ? f->list.err : index_begin(f->n->o.index, true, &t);
	if (!rc) {
		rc = index_blocks_put(t, f->want.hash, f->list.data, f->list.len);
		rc = node_commit(f->n, t, rc == -ENOENT ? 0 : rc); /* it is not wanted any more: the next sweep takes note */
	}
	if (!rc)
		rc = fetch_disk_open(f);
	if (rc)
		fetch_broken(f, rc);
}

/* 1: the request is not over. */
static int take_piece(struct fetch *f, struct request *q, const struct frame_data *d, struct buf *whole)
{
	uint64_t len = fetch_block_len(f, q->block);

	if (d->length == 0 || d->length > len - q->got.len) {
		f->failed = true;
		return 0;
	}
	f->n->fetched_bytes += d->length;
	if (d->status == FRAME_BYTES && d->length == len && whole) { /* nothing is copied */
		buf_free(&q->got);
		q->got = *whole;
		*whole = (struct buf)BUF_INIT;
		q->bytes = d->bytes;
	} else {
		if (d->status == FRAME_BYTES)
			buf_bytes(&q->got, d->bytes, d->length);
		else
			buf_zero(&q->got, d->length);
		if (q->got.err) {
			fetch_broken(f, q->got.err);
			return 0;
		}
		if (q->got.len < len) {
			send_get(f, q);
			return 1;
		}
		q->bytes = q->got.data;
	}
	q->complete = true;
	f->complete++;
	request_answered(q);
	fetch_disk_write(f);
	return 1;
}

static struct request *find(struct fetches *all, uint64_t id, struct fetch **ret)
{
	for (struct fetch *f = all->all; f; f = f->next)
		for (struct request *q = f->requests; q; q = q->next)
			if (q->id == id && !q->complete) {
				*ret = f;
				return q;
			}
	return NULL;
}

int fetch_data(struct fetches *all, struct node_peer *p, const struct frame *fr)
{
	struct frame_data d;
	struct request *q;
	struct fetch *f;
	bool good = false;
	int rc = frame_get_data(fr, &d);

	if (rc)
		return rc;
	q = find(all, d.request, &f);
	if (!q || q->peer != p)
		return 0; /* of a fetch that is over */
	fetch_peer_answered(p, (node_now(f->n) - q->sent_ns) / q->beside + 1);
	if (d.status == FRAME_BYTES || d.status == FRAME_ZEROS) {
		if (q->list && d.status == FRAME_BYTES) {
			take_list(f, &d);
			good = f->state != FETCH_LIST;
			f->stalled_ns = good ? 0 : f->stalled_ns;
		} else if (!q->list && take_piece(f, q, &d, fr->whole)) {
			f->stalled_ns = 0;
			return 0;
		}
	} else if (d.status == FRAME_FAILED) {
		f->failed = true;
	}
	if (!good) {
		f->gone |= fetch_peer_bit(p->slot);
		if (!q->list)
			fetch_unask(f, q->block);
	}
	fetch_request_free(f, q);
	fetch_step(f);
	return 0;
}

void fetch_peer_up(struct fetches *all, struct node_peer *p)
{
	for (struct fetch *f = all->all; f; f = f->next) {
		f->gone &= ~fetch_peer_bit(p->slot);
		fetch_step(f);
	}
}

void fetch_held(struct fetches *all, const uint8_t *hash, struct node_peer *p)
{
	for (struct fetch *f = all->all; f; f = f->next)
		if (memcmp(f->want.hash, hash, HASH_BYTES) == 0 && (f->gone & fetch_peer_bit(p->slot))) {
			f->gone &= ~fetch_peer_bit(p->slot);
			fetch_step(f);
		}
}

void fetch_peer_down(struct fetches *all, struct node_peer *p)
{
	for (struct fetch *f = all->all; f; f = f->next) {
		f->gone &= ~fetch_peer_bit(p->slot);
		for (struct request *q = f->requests, *next; q; q = next) {
			next = q->next;
			if (q->peer != p || q->complete)
				continue;
			if (!q->list)
				fetch_unask(f, q->block);
			fetch_request_free(f, q);
		}
		fetch_step(f);
	}
}

void fetches_free(struct fetches *all)
{
	if (!all)
		return;
	while (all->all) {
		struct fetch *f = all->all;

		all->all = f->next;
		fetch_free(f);
	}
	free(all);
}
