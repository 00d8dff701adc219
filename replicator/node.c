/*
 * node.c - the core: its start and end, jobs, what is dirty and what waits, time.
 *
 * States: started -> running (scanning -> in order) -> halted, if the tree vanishes. Joining is beside them: what is in the tree has no versions yet, and gets
 * them once the index of a member that is not joining itself was compared with ours.
 */
#include "node_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "exchange.h"

#define ERROR_KEEP_NS 5000000000ull

#define VALUE_TOKEN "token"       /* of the tree this index is about */
#define VALUE_TOKEN_NEXT "token.next"
#define VALUE_BOOT "boot"         /* of the machine, when the tree was last scanned */
#define VALUE_CLEAN "clean"       /* left in order */
#define VALUE_SEEN "seen"         /* when the last scan after a start that came to its end began, by the wall clock */

uint64_t node_now(const struct node *n)
{
	return n->o.env->boot_ns(n->o.env);
}

void node_failed(struct node *n, int rc)
{
	n->error = rc;
	n->error_ns = node_now(n);
}

static bool any_failed(const struct node *n)
{
	for (const struct pathmap_item *i = n->dirty.first; i; i = i->next)
		if (((const struct dirty *)(const void *)i)->failed)
			return true;
	for (const struct pathmap_item *i = n->waits.first; i; i = i->next)
		if (((const struct wait *)(const void *)i)->failed)
			return true;
	return false;
}

/*
 * The last error is kept while something that failed is still to be done, and for a while: who looks now and then is to see it, and what fails without a path (a
 * commit) is tried again within that time. Then all of it was done, or is not to be done any more.
 */
static void forget_error(struct node *n)
{
	if (n->error && !n->tree_job && !n->scanning && !n->tend_left && node_now(n) >= n->error_ns + ERROR_KEEP_NS && !any_failed(n))
		n->error = 0;
}

void node_temp(struct node *n, char kind, char *ret)
{
	static const char hex[] = "0123456789abcdef";
	uint64_t x = ++n->temps;
	size_t at = 0;

	ret[at++] = kind;
	ret[at++] = '-';
	for (size_t i = 0; i < 8; i++) {
		ret[at++] = hex[n->session[i] >> 4];
		ret[at++] = hex[n->session[i] & 15];
	}
	ret[at++] = '-';
	for (int shift = 44; shift >= 0; shift -= 4)
		ret[at++] = hex[(x >> shift) & 15];
	ret[at] = '\0';
}

/* --- jobs --- */

void node_submit(struct node *n, struct node_job *j)
{
	n->jobs++;
	n->o.host->submit(n->o.host, j);
}

void node_job_over(struct node *n)
{
	n->jobs--;
}

void node_wake(struct node *n, uint64_t at_ns)
{
	uint64_t now = node_now(n);

	if (n->wake_ns > now && n->wake_ns <= at_ns)
		return;
	n->wake_ns = at_ns > now ? at_ns : now + 1;
	n->o.host->wake_at(n->o.host, n->wake_ns);
}

/* --- transactions --- */

static int seen(void *user, const char *path, size_t len, const struct index_record *r)
{
	(void)path;
	(void)len;
	(void)r;
	*(bool *)user = true;
	return 0;
}

static int any_untimed(struct index_txn *t, bool *ret)
{
	*ret = false;
	return index_untimed(t, 1, seen, ret);
}

int node_commit(struct node *n, struct index_txn *t, int rc)
{
	uint64_t position = 0, wanted = 0;
	bool untimed = false, news = index_wanted_news(t);

	if (!rc)
		rc = index_context_put(t, &n->context);
	if (!rc && n->intent_news)
		rc = node_intents_put(n, t);
	if (!rc) {
		position = index_position(t);
		wanted = index_wanted_count(t);
		rc = any_untimed(t, &untimed);
	}
	if (rc) {
		index_abort(t);
	} else {
		rc = index_commit(t);
	}
	node_intents_end(n, !rc);
	if (rc) {
		node_failed(n, rc);
		node_wake(n, node_now(n) + NODE_AGAIN_MOST_NS); /* what sets no alarm of its own is tried again then */
		return rc;
	}
	if (position > n->position && !n->lazy)
		n->eager = position;
	else if (position > n->position && !n->lazy_ns)
		n->lazy_ns = node_now(n);
	n->position = position;
	n->wanted = wanted;
	n->untimed = untimed;
	n->scan_wanted |= news;
	n->context_news = n->intent_news = false;
	return 0;
}

/* --- what is to be looked at, and what waits --- */

struct dirty *node_dirty_add(struct node *n, const char *path, size_t len)
{
	struct dirty *d = calloc(1, sizeof *d);

	if (d && pathmap_add(&n->dirty, path, len, &d->at)) {
		free(d);
		return NULL;
	}
	return d;
}

int node_look(struct node *n, const char *path, size_t len, bool deep, bool hash, uint64_t after_ns)
{
	struct dirty *d = (struct dirty *)(void *)pathmap_get(&n->dirty, path, len);
	uint64_t due = node_now(n) + after_ns;

	if (ignore_leaves_out(n->o.ignore, path, len))
		return 0;
	if (d) {
		d->deep |= deep;
		d->hash |= hash;
		n->first_left += n->look_first && !d->first;
		d->first |= n->look_first;
		if (due < d->due_ns)
			d->due_ns = due;
		return 0;
	}
	d = node_dirty_add(n, path, len);
	if (!d)
		return -ENOMEM;
	d->due_ns = due;
	d->deep = deep;
	d->hash = hash;
	d->first = n->look_first;
	n->first_left += n->look_first;
	return 0;
}

void node_dirty(struct node *n, const char *path, size_t len, bool deep, bool writing)
{
	struct dirty *d;
	int rc = ignore_leaves_out(n->o.ignore, path, len) ? node_glance(n, path, len, 0) :
		 node_look(n, path, len, deep, false, writing ? NODE_WRITING_NS : 0);

	d = (struct dirty *)(void *)pathmap_get(&n->dirty, path, len);
	if (rc)
		node_failed(n, rc);
	else if (d && !d->glance && !deep) /* deep: to be scanned, nobody knows why */
		d->told = true;
	node_pump(n);
}

struct wait *node_wait(struct node *n, const char *path, size_t len, uint64_t after_ns)
{
	struct wait *w = (struct wait *)(void *)pathmap_get(&n->waits, path, len);

	if (!w) {
		w = calloc(1, sizeof *w);
		if (!w || pathmap_add(&n->waits, path, len, &w->at)) {
			free(w);
			return NULL;
		}
		w->pause_ns = NODE_SOON_NS;
	}
	if (after_ns == UINT64_MAX) { /* longer each time */
		after_ns = w->pause_ns;
		w->pause_ns = 2 * w->pause_ns < NODE_AGAIN_MOST_NS ? 2 * w->pause_ns : NODE_AGAIN_MOST_NS;
	}
	w->due_ns = node_now(n) + after_ns;
	return w;
}

void node_waits_over(struct node *n)
{
	while (n->waits.first) {
		struct pathmap_item *i = n->waits.first;

		pathmap_remove(&n->waits, i);
		free(i);
	}
}

void node_wait_over(struct node *n, const char *path, size_t len)
{
	struct pathmap_item *i = pathmap_get(&n->waits, path, len);

	if (!i)
		return;
	pathmap_remove(&n->waits, i);
	free(i);
}

/* When the next of either is due; sets the alarm for it. */
static void set_alarm(struct node *n)
{
	uint64_t next = UINT64_MAX;

	for (struct pathmap_item *i = n->dirty.first; i && !n->tree_job; i = i->next)
		if (((struct dirty *)(void *)i)->due_ns < next)
			next = ((struct dirty *)(void *)i)->due_ns;
	for (struct pathmap_item *i = n->waits.first; i && !n->tree_job; i = i->next) /* what is looked at first becomes fresh by that */
		if (((struct wait *)(void *)i)->due_ns < next && !pathmap_get(&n->intents, i->path, i->len))
			next = ((struct wait *)(void *)i)->due_ns;
	if (n->self_late && n->self_again_ns < next)
		next = n->self_again_ns;
	if (!n->tree_job && n->tend_ns < next)
		next = n->tend_ns;
	if (!n->tombs_job && n->tombs_ns < next)
		next = n->tombs_ns;
	if (n->join_again_ns && n->join_again_ns < next)
		next = n->join_again_ns;
	if (n->lazy_ns && n->lazy_ns + NODE_LAZY_NS < next)
		next = n->lazy_ns + NODE_LAZY_NS;
	if (node_scrub_alarm(n) < next)
		next = node_scrub_alarm(n);
	if (node_cuts_alarm(n) < next)
		next = node_cuts_alarm(n);
	if (serve_alarm(n) < next)
		next = serve_alarm(n);
	if (node_clocks_alarm(n) < next)
		next = node_clocks_alarm(n);
	if (n->context.count > n->o.context_keep && n->retire_ns > node_now(n) && n->retire_ns < next)
		next = n->retire_ns;
	if (!n->tree_job && node_judge_at(n) < next)
		next = node_judge_at(n);
	if (n->error && n->error_ns + ERROR_KEEP_NS > node_now(n) && n->error_ns + ERROR_KEEP_NS < next)
		next = n->error_ns + ERROR_KEEP_NS;
	if (next != UINT64_MAX)
		node_wake(n, next);
}

/* --- running --- */

static void end_scan(struct node *n)
{
	struct index_txn *t;
	uint8_t seen[8];
	int rc;

	/* What changes all the time, or is held open, does not keep it from ending. */
	if (!n->scanning || n->first_left || n->tree_job)
		return;
	/* Only now: whoever dies while scanning has still not seen what the reset did. */
	put_u64(seen, n->scan_us);
	rc = index_begin(n->o.index, true, &t);
	if (!rc) {
		rc = index_value_put(t, VALUE_BOOT, n->o.boot, sizeof n->o.boot);
		if (!rc)
			rc = index_value_put(t, VALUE_SEEN, seen, sizeof seen);
		rc = node_commit(n, t, rc ? rc : node_ignore_looked(n, t));
	}
	if (rc) {
		node_failed(n, rc);
		return;
	}
	n->scanning = n->power = false;
	n->seen_us = n->scan_us;
	for (struct node_peer *p = n->peers; p; p = p->next)
		exchange_compare(n, p);
}

static void put_news(struct node *n)
{
	struct index_txn *t;
	int rc;

	if (!n->context_news && !n->intent_news)
		return;
	rc = index_begin(n->o.index, true, &t);
	if (rc)
		node_failed(n, rc);
	else
		node_commit(n, t, 0);
}

/* Neither a stream of events nor one of peers' changes holds the other back: they take turns. */
static void start_tree_job(struct node *n)
{
	bool apply_first = n->looked;

	if (node_start_tend(n))
		return;
	n->looked = false;
	if (apply_first && node_start_apply(n))
		return;
	n->looked = node_start_look(n);
	if (!n->looked && (apply_first || !node_start_apply(n)))
		node_start_times(n);
}

void node_pump(struct node *n)
{
	if (n->running && n->halted && !n->stopping && !n->pumping && !n->turn) {
		serve_due(n); /* others may have what it has all the same, at the rate there is */
		for (struct node_peer *p = n->peers; p; p = p->next)
			node_cuts_answer(n, p);
		if (serve_alarm(n) != UINT64_MAX)
			node_wake(n, serve_alarm(n));
	}
	if (n->pumping || n->turn || !n->running || n->halted || n->stopping) {
		n->again = true;
		return;
	}
	n->pumping = true;
	do {
		n->again = false;
		put_news(n);
		node_context_due(n);
		node_members_due(n);
		node_tombs_due(n);
		node_clocks_due(n);
		node_scrub_due(n);
		serve_due(n);
		if (!n->tree_job)
			start_tree_job(n);
		node_judge_missing(n);
		if (n->halted)
			break;
		end_scan(n);
		node_join_go_on(n);
		if (n->lazy_ns && node_now(n) - n->lazy_ns >= NODE_LAZY_NS)
			n->lazy_ns = 0;
		for (struct node_peer *p = n->peers; p; p = p->next)
			exchange_pump(n, p);
		node_cuts_go_on(n);
	} while (n->again && !n->halted);
	if (!n->halted)
		forget_error(n);
	n->pumping = false;
	if (n->halted)
		node_pump(n); /* what it does all the same */
	else
		set_alarm(n);
}

void node_turn_begin(struct node *n)
{
	n->turn = true;
}

void node_turn_end(struct node *n)
{
	n->turn = false;
	exchange_take_told(n);
	node_pump(n);
}

void node_tick(struct node *n)
{
	n->wake_ns = 0;
	node_pump(n);
}

bool node_idle(const struct node *n)
{
	if (!n->running || n->jobs || n->dirty.count || n->scanning || n->adopting)
		return false;
	for (struct node_peer *p = n->peers; p; p = p->next)
		if (p->comparing || p->sending || p->answering || p->leaves.len || p->sent < n->position || !p->marked)
			return false;
	return true;
}

void node_status(struct node *n, struct node_status *ret)
{
	struct index_txn *t;

	memset(ret, 0, sizeof *ret);
	if (index_begin(n->o.index, false, &t) == 0) {
		ret->records = index_count(t);
		ret->wanted = index_wanted_count(t);
		ret->wanted_bytes = index_wanted_bytes(t);
		ret->rotten = index_rotten_count(t);
		index_abort(t);
	}
	ret->dirty = n->dirty.count;
	for (struct node_peer *p = n->peers; p; p = p->next) {
		ret->peers++;
		ret->compared += p->compared;
	}
	ret->untimed = n->untimed;
	ret->alerts = n->alerts;
	ret->fetched_bytes = n->fetched_bytes;
	ret->published_bytes = n->published_bytes;
	ret->members = node_others(n);
	ret->forgotten = n->forgotten;
	ret->context = n->context.count;
	ret->tombs_gone = n->tombs_gone;
	ret->joining = n->joining;
	ret->scanning = n->scanning;
	ret->halted = n->halted;
	ret->missing = n->halted_missing ? n->missing_count : 0;
	ret->missing_of = n->halted_missing ? n->missing_of : 0;
	ret->question = n->halted_missing ? n->question : 0;
	ret->working = !node_idle(n);
	ret->error = n->error;
	if (n->unheard_ns && node_now(n) - n->unheard_last_ns <= 10000000000ull)
		ret->unheard_s = (n->unheard_last_ns - n->unheard_ns) / 1000000000 + 1;
	ret->root = sums_root(index_sums(n->o.index));
	ret->trash_items = n->trash.items;
	ret->trash_bytes = n->trash.bytes;
	ret->trash_stuck = n->trash.stuck;
	node_scrub_status(n, &ret->scrub);
}

/* --- start and end --- */

static int note_path(void *user, const char *path, size_t len, const struct index_record *r)
{
	(void)r;
	buf_str16(user, path, len);
	return ((struct buf *)user)->err;
}

/* The index of another tree says nothing about this one. */
static int empty_index(struct index_txn *t)
{
	struct vector none = VECTOR_INIT;
	struct buf paths = BUF_INIT;
	struct cursor c;
	int rc = index_since(t, 0, UINT32_MAX, note_path, &paths);

	c = cursor_make(paths.data, paths.len);
	while (!rc && cursor_left(&c)) {
		size_t len;
		const char *path = (const char *)cursor_str16(&c, &len);

		rc = index_delete(t, path, len);
	}
	buf_free(&paths);
	if (!rc)
		rc = index_value_put(t, NODE_VALUE_INTENTS, NULL, 0);
	if (!rc)
		rc = index_retired_clear(t);
	return rc ? rc : index_context_put(t, &none);
}

static bool value_is(struct index_txn *t, const char *name, const void *p, size_t len)
{
	struct buf b = BUF_INIT;
	bool is = index_value_get(t, name, &b) == 0 && b.len == len && memcmp(b.data, p, len) == 0;

	buf_free(&b);
	return is;
}

static int get_seen(struct node *n, struct index_txn *t)
{
	struct buf b = BUF_INIT;
	int rc = index_value_get(t, VALUE_SEEN, &b);

	if (!rc)
		rc = b.len == 8 ? 0 : ERR_CORRUPT;
	if (!rc)
		n->seen_us = get_u64(b.data);
	buf_free(&b);
	return rc == -ENOENT ? 0 : rc;
}

/* Is this index about this tree, and may its past be gone on with? Leaves a new token in the index, not yet in the tree. */
static int recognise(struct node *n, struct index_txn *t, const uint8_t *next)
{
	struct buf b = BUF_INIT;
	uint8_t token[TREE_TOKEN_BYTES];
	int rc = n->o.tree->token_get(n->o.tree, token);
	bool there = rc == 0;

	if (rc && rc != -ENOENT)
		return rc;
	rc = 0;
	if (!n->o.new_index && (!there || (!value_is(t, VALUE_TOKEN, token, sizeof token) && !value_is(t, VALUE_TOKEN_NEXT, token, sizeof token)))) {
		n->joining = true;
		rc = empty_index(t);
	} else if (!n->o.new_index) {
		n->joining = index_value_get(t, NODE_VALUE_JOINING, &b) == 0;
		if (!value_is(t, VALUE_CLEAN, "1", 1) && !value_is(t, VALUE_BOOT, n->o.boot, sizeof n->o.boot))
			n->power = n->joining = true;
	} else {
		n->joining = true;
	}
	buf_free(&b);
	if (!rc && there)
		rc = index_value_put(t, VALUE_TOKEN, token, sizeof token);
	if (!rc)
		rc = index_value_put(t, VALUE_TOKEN_NEXT, next, TREE_TOKEN_BYTES);
	if (!rc)
		rc = index_value_put(t, VALUE_CLEAN, NULL, 0);
	if (!rc && n->joining)
		rc = index_value_put(t, NODE_VALUE_JOINING, "1", 1);
	if (!rc)
		rc = node_intents_get(n, t);
	if (!rc)
		rc = get_seen(n, t);
	if (!rc)
		rc = node_context_load(n, t);
	if (!rc)
		rc = node_members_load(n, t);
	if (!rc)
		rc = node_tombs_load(n, t);
	if (!rc)
		rc = node_ignore_load(n, t);
	if (!rc)
		rc = node_scrub_load(n, t);
	return rc;
}

static int prepare(struct node *n)
{
	uint8_t next[TREE_TOKEN_BYTES];
	struct index_txn *t;
	int rc = n->o.tree->alive(n->o.tree);

	if (!rc)
		rc = trash_clock_load(n->o.tree, n->o.boot, node_now(n), &n->trash_clock);
	if (!rc)
		rc = index_begin(n->o.index, true, &t);
	if (rc)
		return rc;
	n->o.env->random(n->o.env, next, sizeof next);
	rc = recognise(n, t, next);
	if (rc)
		index_abort(t);
	else
		rc = index_commit(t);
	if (!rc)
		rc = index_sync(n->o.index);
	if (!rc)
		rc = n->o.tree->token_put(n->o.tree, next);
	if (!rc)
		rc = index_begin(n->o.index, true, &t);
	if (rc)
		return rc;
	n->position = index_position(t);
	n->wanted = index_wanted_count(t);
	rc = any_untimed(t, &n->untimed);
	if (!rc)
		rc = index_value_put(t, VALUE_TOKEN, next, sizeof next);
	if (rc) {
		index_abort(t);
		return rc;
	}
	return index_commit(t);
}

int node_start(const struct node_options *o, struct node **ret)
{
	struct node *n = calloc(1, sizeof *n);
	int rc;

	if (!n)
		return -ENOMEM;
	n->o = *o;
	snprintf(n->name, sizeof n->name, "%s", o->name ? o->name : "");
	snprintf(n->address, sizeof n->address, "%s", o->address ? o->address : "");
	if (!n->o.missing_percent)
		n->o.missing_percent = NODE_MISSING_PERCENT;
	if (!n->o.missing_most)
		n->o.missing_most = NODE_MISSING_MOST;
	if (!n->o.context_keep)
		n->o.context_keep = NODE_CONTEXT_KEEP;
	if (!n->o.known_keep)
		n->o.known_keep = NODE_KNOWN_KEEP;
	if (!n->o.tombs_keep_ns)
		n->o.tombs_keep_ns = NODE_TOMBS_KEEP_NS;
	if (!n->o.scrub_every_ns)
		n->o.scrub_every_ns = NODE_SCRUB_EVERY_NS;
	if (!n->o.hash_apart)
		n->o.hash_apart = NODE_HASH_APART;
	if (!n->o.inline_most)
		n->o.inline_most = NODE_INLINE_MOST;
	if (!n->o.batch || n->o.batch > NODE_BATCH)
		n->o.batch = NODE_BATCH;
	if (!n->o.want_keep)
		n->o.want_keep = NODE_WANT_KEEP;
	if (!n->o.trash_keep_ns)
		n->o.trash_keep_ns = TRASH_KEEP_NS;
	n->scanning = n->scan_wanted = true;
	n->list_most = 1;
	n->began_ns = node_now(n);
	rate_init(&n->rate, o->limit_rate, n->began_ns);
	n->serve_end = &n->serve_first;
	/* Never one that was before: whatever state this process begins with, nobody else has made a change under this name. */
	o->env->random(o->env, n->incarnation, sizeof n->incarnation);
	o->env->random(o->env, n->session, sizeof n->session);
	rc = fetches_new(n, &n->fetches);
	if (!rc)
		rc = prepare(n);
	if (rc) {
		node_free(n);
		return rc;
	}
	*ret = n;
	return 0;
}

void node_run(struct node *n)
{
	int rc;

	n->running = true;
	n->scan_us = n->o.env->real_ns(n->o.env) / 1000;
	node_tend_first(n);
	n->look_first = true;
	rc = node_look(n, "", 0, true, n->power, 0);
	for (struct pathmap_item *i = n->intents.first; i && !rc; i = i->next)
		rc = node_look(n, i->path, i->len, false, true, 0);
	n->look_first = false;
	if (rc)
		node_failed(n, rc);
	node_pump(n);
}

bool node_stop(struct node *n)
{
	n->stopping = true;
	atomic_store(&n->hurry, true);
	return n->jobs == 0;
}

static int put_value(struct node *n, const char *name, const uint8_t *p, size_t len, bool clean)
{
	struct index_txn *t;
	int rc = index_begin(n->o.index, true, &t);

	if (rc)
		return rc;
	rc = index_value_put(t, name, p, len);
	if (!rc && clean)
		rc = index_value_put(t, VALUE_CLEAN, "1", 1);
	rc = node_commit(n, t, rc);
	return rc ? rc : index_sync(n->o.index);
}

/* What differs after an end in order is believed: but not if it is a tree that was copied before, and brought back. So the tree has another token from here on. */
int node_finish(struct node *n)
{
	uint8_t next[TREE_TOKEN_BYTES];
	int rc;

	node_scrub_end(n);
	n->o.env->random(n->o.env, next, sizeof next);
	rc = put_value(n, VALUE_TOKEN_NEXT, next, sizeof next, false);
	if (!rc)
		rc = n->o.tree->token_put(n->o.tree, next);
	return rc ? rc : put_value(n, VALUE_TOKEN, next, sizeof next, true);
}

static void free_items(struct pathmap *m)
{
	while (m->first) {
		struct pathmap_item *i = m->first;

		pathmap_remove(m, i);
		free(i);
	}
	pathmap_free(m);
}

void node_free(struct node *n)
{
	if (!n)
		return;
	serve_free(n);
	exchange_drop_told(n);
	fetches_free(n->fetches); /* these two know of peers */
	node_diffs_free(n);
	while (n->peers) {
		struct node_peer *p = n->peers;

		n->peers = p->next;
		exchange_free_peer(p);
	}
	node_announced_free(n);
	node_choose_free(n);
	node_hash_free(n);
	node_kept_free(n);
	free_items(&n->dirty);
	free_items(&n->waits);
	node_intents_free(n);
	node_cuts_free(n);
	node_tombs_free(n);
	node_scrub_free(n);
	index_set_ignore(n->o.index, NULL);
	ignore_free(n->ignored);
	vector_free(&n->context);
	members_free(&n->members);
	free(n);
}
