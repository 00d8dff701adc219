/*
 * fetch_published.c - blocks from the published copy (published.h), before peers are asked for them.
 *
 * It is asked by the path, and what comes is held against the hash of the block like anything that a peer sends: so whatever lies there, a block that is right is right, and another is asked of
 * the peers. What lies there may be of another time: of a file the first block is asked for alone until one was right, and when more were wrong than right, nothing more of it is. After a
 * failure, a missing object among them, all that is left of the file is asked of the peers; whether others are worth asking for is the host's to know.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "fetch_impl.h"

#define PIECE_BYTES (1u << 20) /* of a block that is larger */
#define WRONG_MOST 2u          /* blocks that were not right, beyond as many as were */

struct get {
	struct node_published g;       /* first */
	struct fetch *f;
	struct request *q;
};

static void get_free(struct get *k)
{
	fetch_disk_gone(k->f);
	free(k->g.bytes);
	free(k);
}

static void drop(struct node_job *j)
{
	get_free((struct get *)(void *)j);
}

static void send_get(struct get *k)
{
	struct fetch *f = k->f;
	uint64_t left = fetch_block_len(f, k->q->block) - k->q->got.len;

	free(k->g.bytes);
	k->g.bytes = NULL;
	k->g.offset = k->q->block * f->block + k->q->got.len;
	k->g.length = left < PIECE_BYTES ? (uint32_t)left : PIECE_BYTES;
	f->n->jobs++;
	f->n->o.host->published(f->n->o.host, &k->g);
}

/* The bytes that came. 1: the block is not whole yet; 0: it is being written; else it is to be had elsewhere. */
static int take(struct get *k)
{
	struct fetch *f = k->f;
	struct buf *got = &k->q->got;

	if (f->dropped || f->state != FETCH_BLOCKS)
		return -ECANCELED;
	if (k->g.rc)
		return k->g.rc;
	if (k->g.len != k->g.length)
		return -ENODATA; /* the object ends there */
	buf_bytes(got, k->g.bytes, k->g.len);
	if (got->err)
		return got->err;
	if (got->len < fetch_block_len(f, k->q->block))
		return 1;
	k->q->bytes = got->data;
	k->q->in_job = false;
	k->q->complete = true;
	f->complete++;
	fetch_disk_write(f);
	return 0;
}

static void done(struct node_job *j)
{
	struct get *k = (struct get *)(void *)j;
	struct fetch *f = k->f;
	struct node *n = f->n;
	int rc;

	node_job_over(n);
	rc = take(k);
	if (rc == 1) {
		send_get(k);
		return;
	}
	f->published_asked -= rc != 0;
	if (rc) {
		f->published = false;
		fetch_unask(f, k->q->block);
		fetch_request_free(f, k->q);
		if (!f->dropped)
			fetch_step(f);
	}
	get_free(k);
	node_pump(n);
}

void fetch_published_begin(struct fetch *f)
{
	f->published = f->n->o.host->published != NULL;
}

int fetch_published_ask(struct fetch *f, uint32_t block)
{
	struct get *k;

	if (!f->published || (f->have[block] & FETCH_REFUSED) || f->n->stopping)
		return -ENOENT;
	if (!f->published_right && f->published_asked)
		return -EAGAIN;
	k = calloc(1, sizeof *k);
	if (k)
		k->q = fetch_request_new(f, block);
	if (!k || !k->q) {
		free(k);
		return -ENOENT;
	}
	k->q->published = k->q->in_job = true;
	k->f = f;
	k->g.j = (struct node_job){ NULL, done, drop, NULL };
	k->g.path = f->path;
	f->published_asked++;
	f->jobs++;
	send_get(k);
	return 0;
}

void fetch_published_judged(struct fetch *f, uint32_t block, bool right)
{
	f->published_asked--;
	if (right) {
		f->published_right++;
		f->n->published_bytes += fetch_block_len(f, block);
		return;
	}
	f->published_wrong++;
	f->have[block] |= FETCH_REFUSED;
	if (f->count == 1 || f->published_wrong > f->published_right + WRONG_MOST)
		f->published = false;
}
