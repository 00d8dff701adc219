/*
 * fetch_impl.h - the inside of fetches: fetch.c (which are under way, asking, answers), fetch_published.c (the published copy, which is asked
 * first where there is one), fetch_disk.c (their temps: jobs).
 *
 * All of it is the core's; a job looks at what does not change while it is under way (want, list, file, the bytes of its requests), and the one that opens has `have` and `left` to itself.
 */
#ifndef CLONELOVE_FETCH_IMPL_H
#define CLONELOVE_FETCH_IMPL_H

#include "fetch.h"
#include "node_impl.h"

#define FETCH_ASKED 1u   /* of a block: it is asked for, */
#define FETCH_THERE 2u   /* it is there, */
#define FETCH_REFUSED 4u /* the published one is another */

enum fetch_state { FETCH_LIST, FETCH_OPENING, FETCH_BLOCKS, FETCH_READY, FETCH_BROKEN };

struct request {
	struct request *next;
	uint64_t id;
	struct node_peer *peer;
	unsigned slot;                 /* the peer's */
	bool list;
	uint32_t block;
	struct buf got;                /* of the block; or the whole frame that the block came in, */
	const uint8_t *bytes;          /* and where in there it is, once it is complete */
	bool complete;                 /* it is to be written; the peer is of no matter any more */
	bool in_job;                   /* which is being done; of a published one, it is being got */
	bool published;                /* asked of the published copy: there is no peer */
	uint64_t sent_ns;              /* the last GET, */
	unsigned beside;               /* one of so many that the peer had */
};

struct fetch {
	struct fetch *next;
	struct node *n;
	char *path;
	struct entry want, old;
	bool has_old;
	enum fetch_state state;
	int error;
	uint64_t block;
	uint32_t count, left;
	struct buf list;
	uint8_t *have;                 /* a byte for each block: FETCH_ASKED.. */
	struct tree_file *file;
	char temp[TREE_TEMP_MAX + 1];
	struct request *requests;
	unsigned window;               /* of them, */
	uint64_t window_bytes;         /* and of what they are about */
	uint32_t first;                /* no block before this one is to be asked for */
	uint64_t gone;                 /* slots of peers that do not have it */
	bool failed;                   /* one of them could not say */
	uint64_t again_ns;             /* when they are asked again */
	uint64_t stalled_ns;           /* since when nobody who is up has it; 0 */
	unsigned turn, jobs;
	unsigned complete, writers;    /* requests that are so, and in no job; jobs that write */
	uint64_t unflushed;            /* written since the disk was told to begin */
	bool dropped, kept;            /* kept: nobody gives it up where nobody has it */
	bool published;                /* the published copy is asked, */
	unsigned published_asked, published_right, published_wrong; /* blocks: under way there; that came from there */
};

struct fetches {
	struct node *n;
	struct fetch *all;
	size_t count[2];               /* big ones, small ones, */
	uint64_t small_bytes;          /* and what those are */
	uint64_t ids, window_bytes;
	uint64_t swept;                /* at this position of the index all were wanted */
	unsigned turn;
};

/* --- fetch.c --- */
void fetch_request_free(struct fetch *f, struct request *q);
void fetch_free(struct fetch *f);
void fetch_step(struct fetch *f);                 /* asks for what may be asked for */
void fetch_broken(struct fetch *f, int rc);       /* its temp could not be written */
void fetch_unask(struct fetch *f, uint32_t block); /* it is to be asked for again */
uint64_t fetch_block_len(const struct fetch *f, uint32_t block);
struct request *fetch_request_new(struct fetch *f, uint32_t block); /* of a block, which is asked for then; NULL: no memory */

/* --- fetch_published.c --- */
void fetch_published_begin(struct fetch *f);
/* A block, of the published copy. -ENOENT: it is for the peers; -EAGAIN: not yet, fetch_step comes when it is. */
int fetch_published_ask(struct fetch *f, uint32_t block);
void fetch_published_judged(struct fetch *f, uint32_t block, bool right); /* a whole block that came from there */

/* --- fetch_disk.c --- */
int fetch_disk_open(struct fetch *f);             /* a job makes its temp, and finds what is there already */
int fetch_disk_remove(struct fetch *f);           /* a job removes it */
void fetch_disk_write(struct fetch *f);           /* jobs compare with the hashes, and write, what is complete */
void fetch_disk_ready(struct fetch *f);           /* is all there? */
void fetch_disk_gone(struct fetch *f);            /* one of f->jobs is over: f is freed, if it is dropped and that was the last */

#endif
