/*
 * serve.c - a GET is answered by a job: the list from the index, bytes from whatever path has the content on the disk, if it is still what its record says. Where there is a limit of what goes out
 * a second, a GET waits for its turn before anything is read: first come, first served, and who asks has only so many on the way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define CANDIDATES 8u

struct serve_job {
	struct node_job j;
	struct serve_job *next;
	struct node *n;
	struct node_peer *p;
	struct frame_get g;
	struct buf frame;      /* what is read is read into it: nothing is copied */
	/* while looking for one that has it */
	size_t at;             /* of the bytes in the frame */
	bool found;
	unsigned tried;
	struct buf stale;      /* paths that are not as recorded */
};

static void job_free(struct node_job *j)
{
	struct serve_job *s = (struct serve_job *)(void *)j;

	if (--s->p->refs == 0 && s->p->down)
		exchange_free_peer(s->p);
	buf_free(&s->frame);
	buf_free(&s->stale);
	free(s);
}

/* The piece from this path. 1: done; 0: not here; or an error of the disk. */
static int read_piece(struct serve_job *s, const char *path, const struct index_record *r)
{
	struct tree *t = s->n->o.tree;
	struct tree_stat st;
	struct tree_file *f;
	int64_t got;
	int rc = t->open(t, path, &f);

	if (rc)
		return rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP || rc == -EINVAL ? 0 : rc;
	rc = t->fstat(f, &st);
	if (!rc && memcmp(&st.id, &r->stat, sizeof st.id) == 0) {
		rc = buf_reserve(&s->frame, s->at - s->frame.len + s->g.length);
		got = rc ? rc : t->read(f, s->frame.data + s->at, s->g.length, s->g.offset);
		if (got < 0)
			rc = (int)got;
		if (!rc)
			rc = t->fstat(f, &st);
		s->found = !rc && (uint64_t)got == s->g.length && memcmp(&st.id, &r->stat, sizeof st.id) == 0;
	}
	t->close(f);
	if (!rc && !s->found) /* not what the record says any more, if only in a link's time */
		buf_str16(&s->stale, path, strlen(path));
	return rc ? rc : s->found;
}

static int try_path(void *user, const char *path, size_t len, const struct index_record *r)
{
	struct serve_job *s = user;
	const struct entry *disk = node_on_disk(r);
	char text[ENTRY_PATH_MAX + 1];

	if (!disk || disk->size != s->g.size || s->tried++ >= CANDIDATES)
		return 0;
	memcpy(text, path, len);
	text[len] = '\0';
	return read_piece(s, text, r);
}

static int is_one(void *user, const char *path, size_t len, const struct index_record *r)
{
	(void)path;
	(void)len;
	(void)r;
	*(bool *)user = true;
	return 1;
}

static bool all_zeros(const uint8_t *p, size_t len)
{
	return len && p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static void run(struct node_job *j)
{
	struct serve_job *s = (struct serve_job *)(void *)j;
	struct frame_data d = { .request = s->g.request, .status = FRAME_GONE };
	struct buf list = BUF_INIT;
	struct index_txn *t;
	bool rotten = false;
	size_t start;
	int rc = index_begin(s->n->o.index, false, &t);

	frame_begin(&s->frame, FRAME_DATA, &start);
	s->at = start + FRAME_HEAD_BYTES + FRAME_DATA_HEAD_BYTES;
	if (!rc && s->g.length == 0) {
		rc = index_blocks_get(t, s->g.hash, &list);
		rc = rc == -ENOENT ? 0 : rc ? rc : 1;
	} else if (!rc) {
		rc = index_with_hash(t, s->g.hash, try_path, s);
	}
	if (!rc && !s->tried && index_rotten_of(t, s->g.hash, is_one, &rotten) < 0)
		rc = -EIO;
	index_abort(t);
	/* Gone is what is not in the index; what is there by the index and cannot be read, or is being changed, is not given up for lost; nor is what is rotten here: somebody may mend it. */
	if (rc < 0 || (rc == 0 && (s->tried || rotten)))
		d.status = FRAME_FAILED;
	else if (rc == 1)
		d.status = s->found && all_zeros(s->frame.data + s->at, s->g.length) ? FRAME_ZEROS : FRAME_BYTES;
	if (rc == 1)
		d.length = s->found ? s->g.length : (uint32_t)list.len;
	frame_put_data_head(&s->frame, &d);
	if (d.status == FRAME_BYTES && s->found)
		s->frame.len += s->g.length;
	else if (d.status == FRAME_BYTES)
		buf_bytes(&s->frame, list.data, list.len);
	frame_end(&s->frame, start, true);
	buf_free(&list);
}

static void done(struct node_job *j)
{
	struct serve_job *s = (struct serve_job *)(void *)j;
	struct node *n = s->n;

	struct cursor c = cursor_make(s->stale.data, s->stale.err ? 0 : s->stale.len);

	node_job_over(n);
	while (cursor_left(&c)) {
		size_t len;
		const char *path = (const char *)cursor_str16(&c, &len);

		if (node_look(n, path, len, false, false, 0))
			break;
	}
	if (!s->found && s->g.length)
		rate_gave_back(&n->rate, s->g.length); /* it was not here */
	if (!s->p->down && !s->frame.err)
		n->o.host->send(n->o.host, s->p->link, &s->frame);
	job_free(j);
	node_pump(n);
}

static void begin(struct node *n, struct serve_job *s)
{
	rate_took(&n->rate, s->g.length);
	node_submit(n, &s->j);
}

void serve_due(struct node *n)
{
	while (n->serve_first && (n->serve_first->p->down || rate_ready(&n->rate, node_now(n)))) {
		struct serve_job *s = n->serve_first;

		n->serve_first = s->next;
		if (!n->serve_first)
			n->serve_end = &n->serve_first;
		if (s->p->down)
			job_free(&s->j);
		else
			begin(n, s);
	}
}

uint64_t serve_alarm(const struct node *n)
{
	return n->serve_first ? rate_ready_at(&n->rate) : UINT64_MAX;
}

void serve_free(struct node *n)
{
	while (n->serve_first) {
		struct serve_job *s = n->serve_first;

		n->serve_first = s->next;
		job_free(&s->j);
	}
	n->serve_end = &n->serve_first;
}

int serve_get(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct serve_job *s = calloc(1, sizeof *s);
	int rc = s ? frame_get_get(f, &s->g) : -ENOMEM;

	if (rc) {
		free(s);
		return rc;
	}
	s->j = (struct node_job){ run, done, job_free, NULL };
	s->n = n;
	s->p = p;
	p->refs++;
	if (s->g.length && (n->serve_first || !rate_ready(&n->rate, node_now(n)))) {
		*n->serve_end = s;
		n->serve_end = &s->next;
	} else {
		begin(n, s);
	}
	return 0;
}
