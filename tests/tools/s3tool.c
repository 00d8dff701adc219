/*
 * s3tool.c - the store's calls from the command line, for the tests of real servers.
 *
 *   s3tool mb ADDRESS                   creates the bucket
 *   s3tool put ADDRESS KEY FILE|-       s3tool get ADDRESS KEY       s3tool rm ADDRESS KEY...
 *   s3tool ls ADDRESS [PREFIX]          s3tool head ADDRESS KEY      s3tool cp ADDRESS FROM TO
 *   s3tool race ADDRESS N               N creates of one key at once: prints how many won
 *   s3tool cas ADDRESS N                N overwrites of one ETag at once: prints how many won
 *   s3tool load ADDRESS N SECONDS       N writers; afterwards reads back every acknowledged PUT
 *   s3tool probe ADDRESS                store_probe
 *   s3tool conformance ADDRESS          the suite every backend must pass
 * Store options come from S3TOOL_OPTIONS. Exit status: 0, or 1 with one line on stderr.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"
#include "err.h"
#include "s3.h"
#include "store.h"
#include "../lib/store_conformance.h"

static int complain(const char *what)
{
	fprintf(stderr, "s3tool %s: %s\n", what, err_last());
	return 1;
}

static uint8_t *read_all(const char *path, size_t *ret_len)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	size_t cap = 1 << 16, len = 0, got;
	uint8_t *p = malloc(cap);

	while (f && p && (got = fread(p + len, 1, cap - len, f)) > 0) {
		len += got;
		if (len == cap) {
			uint8_t *q = realloc(p, cap *= 2);

			if (!q)
				free(p);
			p = q;
		}
	}
	if (!f || ferror(f)) {
		free(p);
		p = NULL;
	}
	if (f && f != stdin)
		fclose(f);
	*ret_len = len;
	return p;
}

static int put(struct store *s, const char *key, const char *path)
{
	struct store_req r;
	size_t len;
	uint8_t *p = read_all(path, &len);
	int rc;

	if (!p) {
		err_set(-EIO, "cannot read %s", path);
		return complain("put");
	}
	rc = store_put(s, key, p, len, false, &r);
	if (rc == 0)
		printf("%s\n", r.etag);
	store_req_reset(&r);
	free(p);
	return rc ? complain("put") : 0;
}

static int get(struct store *s, const char *key)
{
	struct store_req r;
	int rc = store_get(s, key, &r);

	if (rc == 0 && r.data_len && fwrite(r.data, 1, r.data_len, stdout) != r.data_len)
		rc = err_set(-EIO, "cannot write to stdout");
	store_req_reset(&r);
	return rc ? complain("get") : 0;
}

static int print_entry(void *user, const struct store_entry *e)
{
	(void)user;
	printf("%llu %s %s\n", (unsigned long long)e->size_bytes, e->etag, e->key);
	return 0;
}

static int simple(struct store *s, enum store_op op, const char *key, const char *source)
{
	struct store_req r;
	int rc;

	store_req_init(&r, op);
	r.key = key;
	r.source_key = source;
	rc = store_call(s, &r);
	if (rc == 0)
		printf("%llu %s %lld\n", (unsigned long long)r.object_size, r.etag, (long long)r.mtime_s);
	else
		err_set(rc, "%s: %s", err_text(rc), r.detail);
	store_req_reset(&r);
	return rc ? complain(key) : 0;
}

static int rm(struct store *s, char **keys, size_t n)
{
	struct store_req r;
	int rc;

	store_req_init(&r, STORE_DELETE);
	r.keys = (const char *const *)keys;
	r.key_count = n;
	rc = store_call(s, &r);
	if (rc != 0)
		err_set(rc, "%s: %s", err_text(rc), r.detail);
	store_req_reset(&r);
	return rc ? complain("rm") : 0;
}

/* --- races: n requests in flight together --- */

struct crowd {
	pthread_mutex_t mu;
	pthread_cond_t all;
	size_t left;
};

static void crowd_done(struct store_req *r)
{
	struct crowd *c = r->user;

	pthread_mutex_lock(&c->mu);
	if (--c->left == 0)
		pthread_cond_signal(&c->all);
	pthread_mutex_unlock(&c->mu);
}

/* All n at once over one key; each body is its own number. Counts results. */
static int race(struct store *s, size_t n, const char *etag)
{
	struct crowd c = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, n };
	struct store_req *r = calloc(n, sizeof(*r)), back;
	struct iovec *iov = calloc(n, sizeof(*iov));
	char (*text)[32] = calloc(n, sizeof(*text));
	size_t won = 0, lost = 0, unclear = 0, winner = 0;
	int bad = 0;

	if (!r || !iov || !text)
		abort();
	for (size_t i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "writer %zu", i);
		iov[i] = (struct iovec){ text[i], strlen(text[i]) };
		store_req_init(&r[i], STORE_PUT);
		r[i].key = "race";
		r[i].body = &iov[i];
		r[i].body_count = 1;
		r[i].if_none_match = !etag;
		r[i].if_match = etag;
		r[i].done = crowd_done;
		r[i].user = &c;
		s->submit(s, &r[i]);
	}
	pthread_mutex_lock(&c.mu);
	while (c.left)
		pthread_cond_wait(&c.all, &c.mu);
	pthread_mutex_unlock(&c.mu);
	if (store_get(s, "race", &back) != 0)
		return complain("race");
	for (size_t i = 0; i < n; i++) {
		bool is_mine = back.data_len == iov[i].iov_len && memcmp(back.data, text[i], back.data_len) == 0;

		if (r[i].result == 0)
			won++, winner = i;
		else if (r[i].ambiguous)
			unclear++;
		else if (r[i].result == ERR_PRECONDITION)
			lost++;
		/* A clear result must agree with what is there. */
		if ((r[i].result == 0 && !is_mine) || (r[i].result != 0 && !r[i].ambiguous && is_mine))
			bad++;
		if (r[i].result != 0 && r[i].result != ERR_PRECONDITION)
			fprintf(stderr, "# %s: %s\n", err_text(r[i].result), r[i].detail);
	}
	printf("won %zu lost %zu unclear %zu contradictions %d (last winner %zu)\n", won, lost, unclear, bad, winner);
	store_req_reset(&back);
	for (size_t i = 0; i < n; i++)
		store_req_reset(&r[i]);
	free(r);
	free(iov);
	free(text);
	return bad != 0 || won > 1 || won + unclear < 1;
}

static int cas(struct store *s, size_t n)
{
	struct store_req r;
	char etag[STORE_ETAG_MAX];

	if (store_put(s, "race", "before", 6, false, &r) != 0)
		return complain("cas");
	memcpy(etag, r.etag, sizeof(etag));
	store_req_reset(&r);
	return race(s, n, etag);
}

/* --- load: writers that go on through whatever happens to the server --- */

enum { LOAD_MAX = 20000 };

struct writer {
	struct store *s;
	time_t until;
	unsigned number;
	unsigned acked, failed, read_back;
	bool *ok;
	pthread_t thread;
};

static void *write_on(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < LOAD_MAX && time(NULL) < w->until; i++) {
		struct store_req r;
		char key[64], text[96];

		snprintf(key, sizeof(key), "load/%u/%06u", w->number, i);
		snprintf(text, sizeof(text), "value of %s", key);
		/* As the engine does: create only; where unclear, read back. */
		if (store_put(w->s, key, text, strlen(text), true, &r) == 0) {
			w->ok[i] = true;
			w->acked++;
		} else if (r.ambiguous) {
			struct store_req back;

			w->ok[i] = store_get(w->s, key, &back) == 0 && back.data_len == strlen(text) &&
				   memcmp(back.data, text, back.data_len) == 0;
			w->read_back += w->ok[i];
			store_req_reset(&back);
		} else {
			w->failed++;
		}
		store_req_reset(&r);
	}
	return NULL;
}

static int load(struct store *s, unsigned n, int seconds)
{
	struct writer *w = calloc(n, sizeof(*w));
	struct store_counters c;
	unsigned acked = 0, failed = 0, lost = 0, read_back = 0;

	if (!w)
		abort();
	for (unsigned i = 0; i < n; i++) {
		w[i] = (struct writer){ .s = s, .until = time(NULL) + seconds, .number = i, .ok = calloc(LOAD_MAX, sizeof(bool)) };
		if (!w[i].ok || pthread_create(&w[i].thread, NULL, write_on, &w[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		acked += w[i].acked;
		failed += w[i].failed;
		read_back += w[i].read_back;
		for (unsigned k = 0; k < LOAD_MAX; k++) {
			struct store_req r;
			char key[64], text[96];

			if (!w[i].ok[k])
				continue;
			snprintf(key, sizeof(key), "load/%u/%06u", i, k);
			snprintf(text, sizeof(text), "value of %s", key);
			if (store_get(s, key, &r) != 0 || r.data_len != strlen(text) || memcmp(r.data, text, r.data_len) != 0)
				lost++;
			store_req_reset(&r);
		}
		free(w[i].ok);
	}
	free(w);
	s->counters(s, &c);
	printf("acknowledged %u, unclear but there %u, refused %u, lost %u; PUT attempts %llu, retries %llu\n", acked, read_back, failed,
	       lost, (unsigned long long)c.requests[STORE_PUT], (unsigned long long)c.retries[STORE_PUT]);
	return lost != 0 || acked == 0;
}

static int conformance(struct store *s, bool closing)
{
	char why[512] = "";
	int rc = closing ? store_conformance_close(s, why, sizeof(why)) : store_conformance(s, why, sizeof(why));

	if (rc != 0)
		fprintf(stderr, "s3tool conformance: %s\n", why);
	return rc ? 1 : 0;
}

static int run(struct store *s, const char *what, char **argv, int argc)
{
	if (strcmp(what, "mb") == 0)
		return s3_create_bucket(s) ? complain(what) : 0;
	if (strcmp(what, "put") == 0 && argc == 2)
		return put(s, argv[0], argv[1]);
	if (strcmp(what, "get") == 0 && argc == 1)
		return get(s, argv[0]);
	if (strcmp(what, "rm") == 0 && argc >= 1)
		return rm(s, argv, (size_t)argc);
	if (strcmp(what, "ls") == 0)
		return store_list_all(s, argc ? argv[0] : "", NULL, print_entry, NULL) ? complain(what) : 0;
	if (strcmp(what, "head") == 0 && argc == 1)
		return simple(s, STORE_HEAD, argv[0], NULL);
	if (strcmp(what, "cp") == 0 && argc == 2)
		return simple(s, STORE_COPY, argv[1], argv[0]);
	if (strcmp(what, "race") == 0 && argc == 1)
		return race(s, strtoul(argv[0], NULL, 10), NULL);
	if (strcmp(what, "cas") == 0 && argc == 1)
		return cas(s, strtoul(argv[0], NULL, 10));
	if (strcmp(what, "load") == 0 && argc == 2)
		return load(s, (unsigned)strtoul(argv[0], NULL, 10), atoi(argv[1]));
	if (strcmp(what, "probe") == 0)
		return store_probe(s) ? complain(what) : 0;
	if (strcmp(what, "conformance") == 0)
		return conformance(s, false);
	fprintf(stderr, "s3tool: unknown command or wrong number of arguments: %s\n", what);
	return 2;
}

int main(int argc, char **argv)
{
	struct store *s;
	int rc;

	if (argc < 3) {
		fprintf(stderr, "usage: s3tool mb|put|get|rm|ls|head|cp|race|cas|load|probe|conformance|conformance-close ADDRESS ...\n");
		return 2;
	}
	if (store_s3_open(argv[2], getenv("S3TOOL_OPTIONS"), &s) != 0)
		return complain(argv[1]);
	if (strcmp(argv[1], "conformance-close") == 0)
		return conformance(s, true);
	rc = run(s, argv[1], argv + 3, argc - 3);
	store_close(s);
	return rc;
}
