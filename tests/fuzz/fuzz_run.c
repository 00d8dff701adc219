/* fuzz_run.c - a run's part of any bytes: read, written again, and merged with itself. */
#include "err.h"
#include "fuzz.h"
#include "run.h"

static int next(void *user, const uint8_t **key, size_t *klen, const uint8_t **val, size_t *vlen)
{
	return run_reader_next(user, key, klen, val, vlen);
}

/* Reads a, the rest of it being equal to what b reads. */
static void same_runs(const void *a, size_t alen, const void *b, size_t blen)
{
	struct run_reader *ra, *rb;
	const uint8_t *ka, *va, *kb, *vb;
	size_t kla, vla, klb, vlb;
	int rc;

	FUZZ_ASSERT(run_reader_new(a, alen, &ra) == 0 && run_reader_new(b, blen, &rb) == 0);
	do {
		rc = run_reader_next(ra, &ka, &kla, &va, &vla);
		FUZZ_ASSERT(rc >= 0 && run_reader_next(rb, &kb, &klb, &vb, &vlb) == rc);
		if (rc)
			FUZZ_ASSERT(kla == klb && vla == vlb && !va == !vb && memcmp(ka, kb, kla) == 0 && (!vla || memcmp(va, vb, vla) == 0));
	} while (rc);
	run_reader_free(ra);
	run_reader_free(rb);
}

static void merge_with_itself(const void *p, size_t len, struct run_writer *w)
{
	struct run_reader *r[2];
	struct run_source sources[2];
	struct run_merge *m;
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc;

	for (int i = 0; i < 2; i++) {
		FUZZ_ASSERT(run_reader_new(p, len, &r[i]) == 0);
		sources[i].next = next;
		sources[i].user = r[i];
	}
	FUZZ_ASSERT(run_merge_new(sources, 2, false, &m) == 0);
	while ((rc = run_merge_next(m, &key, &klen, &val, &vlen)) == 1)
		FUZZ_ASSERT(run_writer_add(w, key, klen, val, vlen) == 0);
	FUZZ_ASSERT(rc == 0);
	run_merge_free(m);
	run_reader_free(r[0]);
	run_reader_free(r[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run_reader *r;
	struct run_writer *w;
	struct buf made = BUF_INIT;
	const uint8_t *key, *val;
	size_t klen, vlen;
	uint8_t *p;
	int rc;

	if (size < 1)
		return 0;
	p = fuzz_copy(data + 1, --size);
	if (data[0] & 1)
		fuzz_fix_run(p, size);
	rc = run_reader_new(p, size, &r);
	if (rc == 0) {
		while ((rc = run_reader_next(r, &key, &klen, &val, &vlen)) == 1)
			;
		run_reader_free(r);
		if (rc == 0) {
			FUZZ_ASSERT(run_writer_new(data[0] & 2 ? 1 : 0, &w) == 0);
			merge_with_itself(p, size, w);
			FUZZ_ASSERT(run_writer_finish(w, &made) == 0);
			same_runs(p, size, made.data, made.len);
			run_writer_free(w);
		}
	}
	FUZZ_ASSERT(rc == 0 || rc == ERR_CORRUPT || rc == ERR_NEWER_FORMAT);
	buf_free(&made);
	free(p);
	return 0;
}
