/*
 * store.c - addresses to stores, and the blocking calls.
 *
 * A blocking call's request is its own; who waits and who completes meet in r->user, which turns from NULL to &completed under
 * one of a fixed set of mutexes. The mutex outlives every request, so the waiter may free its request the moment it sees it
 * completed, while the completing thread is still leaving the mutex.
 */
#include "store.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backends.h"
#include "err.h"
#include "logmsg.h"

#define MEETINGS 32

static struct meeting {
	pthread_mutex_t lock;
	pthread_cond_t done;
} meetings[MEETINGS] = { [0 ... MEETINGS - 1] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER } };

static char completed;

static struct meeting *meeting_of(const struct store_req *r)
{
	return &meetings[((uintptr_t)r / sizeof(*r)) % MEETINGS];
}

void store_wait_done(struct store_req *r)
{
	struct meeting *m = meeting_of(r);

	pthread_mutex_lock(&m->lock);
	r->user = &completed;
	pthread_cond_broadcast(&m->done);
	pthread_mutex_unlock(&m->lock);
}

void store_wait_threads(struct store *s, struct store_req *r)
{
	struct meeting *m = meeting_of(r);

	(void)s;
	pthread_mutex_lock(&m->lock);
	while (r->user != &completed)
		pthread_cond_wait(&m->done, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

int store_call(struct store *s, struct store_req *r)
{
	r->user = NULL;
	r->done = store_wait_done;
	s->submit(s, r);
	s->wait(s, r);
	return r->result;
}

/* The message for a failed request of a blocking call. */
static int report(struct store *s, const struct store_req *r, const char *what, const char *key)
{
	const char *why = r->detail[0] != '\0' ? r->detail : err_text(r->result);

	if (r->result == 0)
		return 0;
	return err_set(r->result, "cannot %s %s in %s: %s", what, key, s->address, why);
}

int store_put(struct store *s, const char *key, const void *data, size_t len, bool if_none_match, struct store_req *ret_req)
{
	struct iovec body = { .iov_base = (void *)(uintptr_t)data, .iov_len = len };

	store_req_init(ret_req, STORE_PUT);
	ret_req->key = key;
	ret_req->body = &body;
	ret_req->body_count = 1;
	ret_req->if_none_match = if_none_match;
	store_call(s, ret_req);
	/* The body lives in this frame. */
	ret_req->body = NULL;
	ret_req->body_count = 0;
	return report(s, ret_req, "write", key);
}

int store_get(struct store *s, const char *key, struct store_req *ret_req)
{
	store_req_init(ret_req, STORE_GET);
	ret_req->key = key;
	store_call(s, ret_req);
	return report(s, ret_req, "read", key);
}

int store_delete(struct store *s, const char *key)
{
	struct store_req r;
	int rc;

	store_req_init(&r, STORE_DELETE);
	r.keys = &key;
	r.key_count = 1;
	store_call(s, &r);
	rc = report(s, &r, "delete", key);
	store_req_reset(&r);
	return rc;
}

int store_list_all(struct store *s, const char *prefix, const char *start_after,
		   int (*each)(void *user, const struct store_entry *e), void *user)
{
	char after[STORE_KEY_MAX + 1];
	bool more = true;
	int rc = 0;

	if (start_after != NULL && strlen(start_after) > STORE_KEY_MAX)
		return err_set(-EINVAL, "cannot list %s in %s: start_after is too long", prefix, s->address);
	snprintf(after, sizeof(after), "%s", start_after != NULL ? start_after : "");
	while (more && !rc) {
		struct store_req r;

		store_req_init(&r, STORE_LIST);
		r.key = prefix;
		r.start_after = after[0] != '\0' ? after : NULL;
		store_call(s, &r);
		rc = report(s, &r, "list", prefix);
		more = r.truncated;
		/* A page that neither ends nor gets further would be asked for for ever. */
		if (!rc && more && (r.entry_count == 0 || strcmp(r.entries[r.entry_count - 1].key, after) <= 0))
			rc = err_set(ERR_CORRUPT, "cannot list %s in %s: the listing does not advance", prefix, s->address);
		for (size_t i = 0; i < r.entry_count && !rc; i++)
			rc = each(user, &r.entries[i]);
		if (!rc && more &&
		    snprintf(after, sizeof(after), "%s", r.entries[r.entry_count - 1].key) >= (int)sizeof(after))
			rc = err_set(ERR_UNSUPPORTED, "cannot list %s in %s: a key is longer than %d bytes", prefix, s->address,
				     STORE_KEY_MAX);
		store_req_reset(&r);
	}
	return rc;
}

/* Stacks the layer for drills, when the environment asks for it. Takes s over in any case. */
static int add_faults(struct store *s, struct store **ret)
{
	const char *rules = getenv("CLONELOVE_FAULTS");
	int rc;

	if (rules == NULL || rules[0] == '\0') {
		*ret = s;
		return 0;
	}
	rc = store_fault_open(s, rules, (uint64_t)getpid(), ret);
	if (rc) {
		store_close(s);
		return rc;
	}
	logmsg(LOGMSG_WARNING, "the store %s has faults injected, as CLONELOVE_FAULTS asks: %s", (*ret)->address, rules);
	return 0;
}

int store_open(const char *address, const char *options, struct store **ret)
{
	struct store *s = NULL;
	int rc;

	if (strncmp(address, "file://", 7) == 0)
		rc = store_dir_open(address + 7, options, &s);
	else if (strncmp(address, "s3://", 5) == 0)
		rc = store_s3_open(address, options, &s);
	else
		rc = err_set(ERR_CONFIG, "not a store's address: %s (give s3://bucket/prefix or file:///absolute/path)", address);
	return rc ? rc : add_faults(s, ret);
}

void store_close(struct store *s)
{
	if (s != NULL)
		s->close(s);
}
