/*
 * run_parts.c - see run_parts.h. A part is immutable and named by a random ID; the manifest that lists it carries its
 * hash, so a part that no manifest names is garbage and nothing more.
 */
#include "run_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

struct part_source {
	struct store *store;
	const struct manifest_run *run;
	uint32_t at;               /* the part being read is at - 1 */
	bool fetching;             /* req is the GET of part `at` */
	char key[OBJECT_KEY_MAX];
	struct store_req req;
	uint8_t *data;
	struct run_reader *reader;
};

static void fetch_next(struct part_source *p)
{
	if (p->at >= p->run->part_count)
		return;
	object_key_run(p->run->parts[p->at].id, p->key);
	store_req_init(&p->req, STORE_GET);
	p->req.key = p->key;
	p->req.range_length = STORE_ANY;
	p->req.done = store_wait_done;
	p->fetching = true;
	p->store->submit(p->store, &p->req);
}

int part_source_new(struct store *s, const struct manifest_run *run, struct part_source **ret)
{
	struct part_source *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	p->store = s;
	p->run = run;
	fetch_next(p);
	*ret = p;
	return 0;
}

void part_source_free(struct part_source *p)
{
	if (!p)
		return;
	if (p->fetching)
		p->store->wait(p->store, &p->req);
	store_req_reset(&p->req);
	run_reader_free(p->reader);
	free(p->data);
	free(p);
}

static int next_part(struct part_source *p)
{
	const struct manifest_part *part = &p->run->parts[p->at];
	uint8_t hash[HASH_BYTES];
	size_t len;
	int rc;

	run_reader_free(p->reader);
	p->reader = NULL;
	free(p->data);
	p->data = NULL;
	p->store->wait(p->store, &p->req);
	p->fetching = false;
	rc = p->req.result;
	if (rc == -ENOENT)
		return err_set(ERR_DAMAGED, "%s/%s: a part of a checkpoint is missing", p->store->address, p->key);
	if (rc)
		return err_set(rc, "%s/%s: %s", p->store->address, p->key, p->req.detail);
	p->data = p->req.data;
	len = p->req.data_len;
	p->req.data = NULL;
	store_req_reset(&p->req);
	hash_blake2b(p->data, len, hash);
	if (len != part->bytes || memcmp(hash, part->hash, HASH_BYTES))
		return err_set(ERR_CORRUPT, "%s/%s: a part of a checkpoint is damaged", p->store->address, p->key);
	rc = run_reader_new(p->data, len, &p->reader);
	if (rc)
		return err_set(rc, "%s/%s: a part of a checkpoint cannot be read: %s", p->store->address, p->key, err_text(rc));
	p->at++;
	fetch_next(p);
	return 0;
}

int part_source_next(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen)
{
	struct part_source *p = user;
	int rc;

	for (;;) {
		if (p->reader) {
			rc = run_reader_next(p->reader, key, klen, val, vlen);
			if (rc < 0)
				return err_set(rc, "%s: a part of a checkpoint is damaged", p->store->address);
			if (rc)
				return rc;
		}
		if (p->at >= p->run->part_count)
			return 0;
		rc = next_part(p);
		if (rc)
			return rc;
	}
}

/* --- writing --- */

struct out {
	struct store *store;
	struct env *env;
	struct manifest_run run;
	uint64_t count; /* keys in the part being filled */
};

static int put_part(struct out *o, struct run_writer *w)
{
	struct buf bytes = BUF_INIT;
	struct manifest_part *parts, *part;
	char key[OBJECT_KEY_MAX];
	struct store_req req;
	int rc = run_writer_finish(w, &bytes);

	if (rc)
		goto done;
	parts = realloc(o->run.parts, (o->run.part_count + 1) * sizeof *parts);
	if (!parts) {
		rc = -ENOMEM;
		goto done;
	}
	o->run.parts = parts;
	part = &parts[o->run.part_count];
	memset(part, 0, sizeof *part);
	o->env->random(o->env, part->id, sizeof part->id);
	part->bytes = (uint32_t)bytes.len;
	part->count = o->count;
	hash_blake2b(bytes.data, bytes.len, part->hash);
	object_key_run(part->id, key);
	rc = store_put(o->store, key, bytes.data, bytes.len, false, &req);
	store_req_reset(&req);
	if (rc)
		goto done;
	o->run.part_count++;
	o->run.bytes += bytes.len;
	o->count = 0;
done:
	buf_free(&bytes);
	return rc;
}

static void delete_parts(struct out *o)
{
	char key[OBJECT_KEY_MAX];
	uint32_t i;

	for (i = 0; i < o->run.part_count; i++) {
		object_key_run(o->run.parts[i].id, key);
		(void)store_delete(o->store, key); /* garbage at worst */
	}
	free(o->run.parts);
}

int run_parts_write(struct store *s, struct env *env, int compress, struct run_merge *m, struct manifest_run *ret)
{
	struct out o = { .store = s, .env = env };
	const uint8_t *key, *val;
	struct run_writer *w;
	size_t klen, vlen;
	int rc = run_writer_new(compress, &w);

	if (rc)
		return rc;
	while ((rc = run_merge_next(m, &key, &klen, &val, &vlen)) > 0) {
		rc = run_writer_add(w, key, klen, val, vlen);
		if (rc)
			break;
		o.count++;
		if (run_writer_bytes(w) >= RUN_PART_BYTES) {
			rc = put_part(&o, w);
			if (rc)
				break;
		}
	}
	if (!rc && o.count)
		rc = put_part(&o, w);
	run_writer_free(w);
	if (rc) {
		delete_parts(&o);
		return rc;
	}
	*ret = o.run;
	return 0;
}
