/*
 * node_scrub.c - reads what is held, slowly, and hashes it: is it still what the index says (DESIGN.md, "Rot")?
 *
 * A pass goes through the records by position, up to the last that there was when it began; what changes meanwhile was read for that. A job reads a piece, of one file or
 * of several small ones, and changes and decides nothing. A piece counts if before and behind it the file's stat was that of its record, and nobody had it open
 * to write. Where the hash of all pieces is another, it is handed to the next look at that path, as what node_hash.c reads is: that one believes it if the
 * file is still to the last field what was read, and it decides (node_rot.c), beside nothing else that looks or applies.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define VALUE_SCRUB "scrub"
#define PIECE (1u << 20)
#define FILE_COST 16384u                 /* what a small file counts as at the least: finding it takes the disk's time as well */
#define RECORDS 2048u                    /* that a job goes through to find something to read */
#define SAVE_NS 60000000000ull           /* at most so much of a pass is done again by another process */
#define PAUSE_NS 20000000ull             /* between two jobs that had little to read */

struct reading { /* a file of which the first `off` bytes were read; path NULL: none */
	char *path;
	size_t len;
	uint64_t position;
	struct index_stat stat;
	uint8_t hash[HASH_BYTES];
	uint64_t off;
	struct hash_stream *block;
	struct buf blocks;
	bool rot;                      /* it is marked; is it whole all the same? */
	bool again;                    /* it could not be read a moment ago; what cannot be now is unreadable, */
	bool unreadable;               /* as the block is that it is in */
};

struct scrub {
	bool running, job, asked;
	uint64_t after, upto;
	struct node_scrub_pass now, last;
	struct reading r;              /* the job's, while there is one */
	struct rate rate;
	uint64_t next_ns, saved_ns;
	uint64_t found, restored;
};

struct scrub_job {
	struct node_job j;
	struct node *n;
	struct scrub *s;
	uint8_t *piece;
	uint64_t after, upto;
	struct node_scrub_pass did;
	uint64_t cost;
	bool end;                      /* nothing more is in this pass */
	bool news;                     /* s->r, read to its end, is not what is believed */
	bool pause;                    /* the disk may say more in a while */
	int rc;
};

static void reading_free(struct reading *r)
{
	struct buf none = BUF_INIT;
	uint8_t hash[HASH_BYTES];

	free(r->path);
	if (r->block)
		hash_stream_end(r->block, hash);
	buf_free(&r->blocks);
	memset(r, 0, sizeof *r);
	r->blocks = none;
}

/* --- run: anywhere --- */

struct pick { struct scrub_job *k; unsigned seen; };

static int other_stat(void *user, const char *path, size_t len, const struct index_record *r)
{
	(void)path;
	(void)len;
	return node_on_disk(r) && memcmp(user, &r->stat, sizeof r->stat) != 0;
}

static int pick_one(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct pick *p = user;
	struct reading *to = &p->k->s->r;

	p->seen++;
	if (r->position > p->k->upto) {
		p->k->end = true;
		return 1;
	}
	p->k->after = r->position;
	if ((!r->held && !r->rot) || r->known.deleted || r->known.kind != ENTRY_FILE || r->left_out)
		return 0;
	if (!r->known.dot.seq || r->known.unsettled || r->stale || !examine_shows(r->young, &r->stat) || r->stat.size != r->known.size) {
		p->k->did.skipped++;
		return 0;
	}
	to->path = strndup(path, len);
	if (!to->path)
		return -ENOMEM;
	to->len = len;
	to->position = r->position;
	to->rot = r->rot;
	to->stat = r->stat;
	memcpy(to->hash, r->known.hash, HASH_BYTES);
	return 1;
}

/* The next file to read, or none in so many records. */
static int pick(struct scrub_job *k)
{
	struct pick p = { k, 0 };
	struct index_txn *t;
	int rc = index_begin(k->n->o.index, false, &t), other = 0;

	if (rc)
		return rc;
	rc = index_since(t, k->after, RECORDS, pick_one, &p);
	/* A name of it that was looked at at another time is about to be looked at: nothing is said of the inode before. */
	if (rc == 1 && k->s->r.path && k->s->r.stat.links > 1)
		other = index_with_inode(t, k->s->r.stat.ino, other_stat, &k->s->r.stat);
	index_abort(t);
	if (other) {
		reading_free(&k->s->r);
		k->did.skipped++;
	}
	k->end |= !p.seen;
	return rc < 0 ? rc : other < 0 ? other : 0;
}

/* 0; -EBUSY: it is not the record's, or somebody writes to it. */
static int is_quiet(struct tree *t, struct tree_file *f, const struct reading *r, bool first)
{
	struct tree_stat st;
	int rc = first ? t->quiet(f) : t->still_quiet(f);

	if (rc != 1)
		return -EBUSY;
	rc = t->fstat(f, &st);
	return rc ? rc : memcmp(&st.id, &r->stat, sizeof st.id) == 0 ? 0 : -EBUSY;
}

/* The next piece, from the disk: not what memory has of it. A block that cannot be read gets a hash that nothing has. */
static int read_piece(struct scrub_job *k, struct tree_file *f)
{
	struct reading *r = &k->s->r;
	uint64_t block = entry_block_bytes(r->stat.size), end = (r->off / block + 1) * block;
	uint8_t hash[HASH_BYTES];
	size_t want;
	int64_t got;

	end = end < r->stat.size ? end : r->stat.size;
	want = end - r->off < PIECE ? (size_t)(end - r->off) : PIECE;
	k->n->o.tree->uncache(f, r->off, want);
	got = k->n->o.tree->read(f, k->piece, want, r->off);
	r->unreadable |= got == -EIO && r->again;
	if ((got != -EIO || !r->again) && (got < 0 || (size_t)got < want))
		return got < 0 ? (int)got : -EBUSY;
	if (!r->block)
		r->block = hash_stream_new();
	if (!r->block)
		return -ENOMEM;
	hash_stream_add(r->block, k->piece, want);
	r->off += want;
	k->cost += want;
	k->did.bytes += want;
	if (r->off < end)
		return 0;
	hash_stream_end(r->block, hash);
	r->block = NULL;
	if (r->unreadable)
		memset(hash, 0, sizeof hash);
	r->unreadable = false;
	buf_bytes(&r->blocks, hash, sizeof hash);
	return r->blocks.err;
}

static void at_end(struct scrub_job *k)
{
	struct reading *r = &k->s->r;
	uint8_t hash[HASH_BYTES];

	hash_blake2b(r->blocks.data, r->blocks.len, hash);
	k->did.files++;
	k->news = (memcmp(hash, r->hash, sizeof hash) == 0) == r->rot;
	memcpy(r->hash, hash, sizeof hash);
	if (!k->news)
		reading_free(r);
}

static int read_some(struct scrub_job *k)
{
	struct tree *t = k->n->o.tree;
	struct reading *r = &k->s->r;
	struct tree_file *f;
	int rc = t->open(t, r->path, &f);

	if (rc)
		return rc;
	rc = is_quiet(t, f, r, true);
	while (!rc && r->off < r->stat.size && k->cost < PIECE)
		rc = read_piece(k, f);
	if (!rc)
		rc = is_quiet(t, f, r, false);
	t->close(f);
	if (!rc && r->off == r->stat.size)
		at_end(k);
	return rc;
}

static void begin_again(struct reading *r)
{
	uint8_t hash[HASH_BYTES];

	if (r->block)
		hash_stream_end(r->block, hash);
	r->block = NULL;
	buf_reset(&r->blocks);
	r->off = 0;
	r->again = true;
}

static void run(struct node_job *j)
{
	struct scrub_job *k = (struct scrub_job *)(void *)j;
	bool found = true;
	int rc;

	while (!k->rc && found && !k->end && !k->news && !k->pause && k->cost < PIECE && !atomic_load(&k->n->hurry)) {
		if (!k->s->r.path) {
			k->rc = pick(k);
			found = k->s->r.path != NULL;
			k->cost += FILE_COST;
			continue;
		}
		rc = read_some(k);
		if (rc == -ENOMEM)
			k->rc = rc;
		if (!rc)
			continue;
		if (rc == -EIO && !k->s->r.again) {
			k->pause = true;
			begin_again(&k->s->r);
			continue;
		}
		k->did.skipped++; /* somebody changes it, or the disk says nothing of it at all */
		reading_free(&k->s->r);
	}
}

static void drop(struct node_job *j)
{
	struct scrub_job *k = (struct scrub_job *)(void *)j;

	free(k->piece);
	free(k);
}

/* --- passes --- */

static uint64_t now_us(const struct node *n)
{
	return n->o.env->real_ns(n->o.env) / 1000;
}

static void put_pass(struct buf *b, const struct node_scrub_pass *p)
{
	buf_u64(b, p->began_us);
	buf_u64(b, p->ended_us);
	buf_u64(b, p->files);
	buf_u64(b, p->bytes);
	buf_u64(b, p->skipped);
	buf_u64(b, p->rotten);
}

static void get_pass(struct cursor *c, struct node_scrub_pass *p)
{
	p->began_us = cursor_u64(c);
	p->ended_us = cursor_u64(c);
	p->files = cursor_u64(c);
	p->bytes = cursor_u64(c);
	p->skipped = cursor_u64(c);
	p->rotten = cursor_u64(c);
}

static int put_state(struct scrub *s, struct index_txn *t)
{
	struct buf b = BUF_INIT;
	int rc;

	buf_u8(&b, (uint8_t)((s->running ? 1 : 0) | (s->asked ? 2 : 0)));
	buf_u64(&b, s->r.path ? s->r.position - 1 : s->after); /* who goes on with it begins that file anew */
	buf_u64(&b, s->upto);
	put_pass(&b, &s->now);
	put_pass(&b, &s->last);
	rc = b.err ? b.err : index_value_put(t, VALUE_SCRUB, b.data, b.len);
	buf_free(&b);
	return rc;
}

/* No job is under way. */
static void save(struct node *n)
{
	struct index_txn *t;
	int rc = index_begin(n->o.index, true, &t);

	if (!rc)
		rc = node_commit(n, t, put_state(n->scrub, t));
	if (rc)
		node_failed(n, rc);
	n->scrub->saved_ns = node_now(n);
}

int node_scrub_load(struct node *n, struct index_txn *t)
{
	struct scrub *s = calloc(1, sizeof *s);
	struct buf b = BUF_INIT;
	struct cursor c;
	unsigned flags;
	int rc;

	if (!s)
		return -ENOMEM;
	n->scrub = s;
	rate_init(&s->rate, n->o.scrub_rate ? n->o.scrub_rate : NODE_SCRUB_RATE, node_now(n));
	rc = index_value_get(t, VALUE_SCRUB, &b);
	if (rc == -ENOENT) { /* all that is here was read, or is about to be: the first pass comes as late as any */
		s->last.began_us = now_us(n);
		return put_state(s, t);
	}
	c = cursor_make(b.data, b.len);
	flags = cursor_u8(&c);
	s->asked = flags & 2;
	s->running = (flags & 1) && (n->o.scrub_rate || s->asked);
	s->after = cursor_u64(&c);
	s->upto = cursor_u64(&c);
	get_pass(&c, &s->now);
	get_pass(&c, &s->last);
	if (!rc)
		rc = cursor_end(&c);
	buf_free(&b);
	return rc;
}

static void begin_pass(struct node *n)
{
	struct scrub *s = n->scrub;

	s->running = true;
	s->after = 0;
	s->upto = n->position;
	s->now = (struct node_scrub_pass){ .began_us = now_us(n) };
	save(n);
}

static void end_pass(struct node *n)
{
	struct scrub *s = n->scrub;

	s->running = s->asked = false;
	s->now.ended_us = now_us(n);
	s->last = s->now;
	save(n);
}

/* The look that decides does not read it again. */
static void hand_over(struct node *n)
{
	struct reading *r = &n->scrub->r;
	struct examine_hashed h = { .stat = r->stat, .blocks = r->blocks };
	int rc;

	memcpy(h.hash, r->hash, sizeof h.hash);
	r->blocks = (struct buf)BUF_INIT;
	if (entry_block_count(r->stat.size) <= 1)
		buf_free(&h.blocks);
	rc = node_hash_give(n, r->path, r->len, &h);
	if (!rc)
		rc = node_look(n, r->path, r->len, false, true, 0);
	if (rc)
		node_failed(n, rc); /* the next pass finds it, too */
	examine_hashed_free(&h);
	reading_free(r);
}

static void done(struct node_job *j)
{
	struct scrub_job *k = (struct scrub_job *)(void *)j;
	struct node *n = k->n;
	struct scrub *s = n->scrub;

	node_job_over(n);
	s->job = false;
	s->after = k->after;
	s->now.files += k->did.files;
	s->now.bytes += k->did.bytes;
	s->now.skipped += k->did.skipped;
	rate_took(&s->rate, k->cost);
	s->next_ns = node_now(n) + (k->rc || k->pause ? NODE_AGAIN_MOST_NS : PAUSE_NS);
	if (k->rc)
		node_failed(n, k->rc);
	if (k->news)
		hand_over(n);
	if (k->end && !k->rc)
		end_pass(n);
	else if (node_now(n) - s->saved_ns >= SAVE_NS)
		save(n);
	drop(j);
	node_pump(n);
}

/* The wall clock decides: a pass too early, or a week late, where it was set. */
static uint64_t wait_us(const struct node *n)
{
	const struct scrub *s = n->scrub;
	uint64_t every = n->o.scrub_every_ns / 1000, now = now_us(n), began = s->now.began_us > s->last.began_us ? s->now.began_us : s->last.began_us;

	return now < began || now - began >= every ? 0 : every - (now - began);
}

static bool may_scrub(const struct node *n)
{
	return !n->scrub->job && !n->joining && !n->scanning && !n->power && (n->scrub->running || n->scrub->asked || n->o.scrub_rate);
}

uint64_t node_scrub_alarm(const struct node *n)
{
	const struct scrub *s = n->scrub;
	uint64_t ready = rate_ready_at(&s->rate);

	if (!may_scrub(n))
		return UINT64_MAX;
	if (!s->running && !s->asked)
		return node_now(n) + wait_us(n) * 1000 + 1;
	return s->rate.left > 0 || ready < s->next_ns ? s->next_ns : ready;
}

void node_scrub_due(struct node *n)
{
	struct scrub *s = n->scrub;
	struct scrub_job *k;

	if (!may_scrub(n) || s->next_ns > node_now(n) || (!s->running && !s->asked && wait_us(n)))
		return;
	if (!s->running)
		begin_pass(n);
	if (!rate_ready(&s->rate, node_now(n)))
		return;
	k = calloc(1, sizeof *k);
	if (k)
		k->piece = malloc(PIECE);
	if (!k || !k->piece) {
		free(k);
		s->next_ns = node_now(n) + NODE_AGAIN_MOST_NS;
		node_failed(n, -ENOMEM);
		return;
	}
	k->j = (struct node_job){ run, done, drop, NULL };
	k->n = n;
	k->s = s;
	k->after = s->after;
	k->upto = s->upto;
	s->job = true;
	node_submit(n, &k->j);
}

void node_scrub(struct node *n)
{
	n->scrub->asked = true;
	n->scrub->next_ns = 0;
	node_pump(n);
}

/* --- what came of it --- */

void node_scrub_rotten(struct node *n, const char *path)
{
	struct scrub *s = n->scrub;

	s->found++;
	(s->running ? &s->now : &s->last)->rotten++;
	n->o.host->rot(n->o.host, path, NODE_ROT_FOUND);
}

void node_scrub_restored(struct node *n, const char *path)
{
	n->scrub->restored++;
	n->o.host->rot(n->o.host, path, NODE_ROT_RESTORED);
}

void node_scrub_status(const struct node *n, struct node_scrub_status *ret)
{
	const struct scrub *s = n->scrub;

	*ret = (struct node_scrub_status){ .running = s->running || s->asked, .rate = n->o.scrub_rate, .now = s->now, .last = s->last, .found = s->found, .restored = s->restored };
}

void node_scrub_end(struct node *n)
{
	if (n->scrub->running)
		save(n);
}

void node_scrub_free(struct node *n)
{
	if (!n->scrub)
		return;
	reading_free(&n->scrub->r);
	free(n->scrub);
}
