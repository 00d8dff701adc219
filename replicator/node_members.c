/*
 * node_members.c - the core's part in who belongs to the cluster.
 *
 * What is known of members is in the index before it is told, and goes to a peer before anything else does: so whoever knows of a change knows of its maker, as
 * long as that one was not forgotten. The list goes out whole, when a peer comes up and whenever it has changed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "node_impl.h"

#define VALUE_MEMBERS "members"
#define FORGOTTEN "the cluster has forgotten this node: it is to join again as a new one"
#define UNHEARD_OVER_NS 10000000000ull /* what waits to be decided is looked at more often than this */
#define SELF_AGAIN_NS 30000000000ull   /* two that live with one key write its record in turn: not faster than this */

const struct members *node_members(const struct node *n)
{
	return &n->members;
}

static bool live_other(const struct node *n, const struct member *m)
{
	return !m->forgotten && memcmp(m->node, n->o.node, sizeof m->node) != 0;
}

/* Whom the configuration names is where to begin; who was met is who there is. */
unsigned node_others(const struct node *n)
{
	unsigned known = 0;

	for (size_t i = 0; i < n->members.count; i++)
		known += live_other(n, &n->members.all[i]);
	return known ? known : n->o.peers;
}

bool node_all_up(const struct node *n, bool compared)
{
	unsigned known = 0, up = 0;

	for (const struct node_peer *p = n->peers; p; p = p->next)
		up += !compared || p->compared;
	for (size_t i = 0; i < n->members.count; i++) {
		const struct node_peer *p = n->peers;

		if (!live_other(n, &n->members.all[i]))
			continue;
		known++;
		while (p && memcmp(p->key, n->members.all[i].node, sizeof p->key) != 0)
			p = p->next;
		if (!p || (compared && !p->compared))
			return false;
	}
	return known || up >= n->o.peers;
}

bool node_all_heard(struct node *n)
{
	if (!node_all_up(n, true))
		return false;
	for (const struct node_peer *p = n->peers; p; p = p->next) {
		if (!p->joining && p->scanned)
			continue;
		if (!n->unheard_ns || node_now(n) - n->unheard_last_ns > UNHEARD_OVER_NS)
			n->unheard_ns = node_now(n);
		n->unheard_last_ns = node_now(n);
		return false;
	}
	n->unheard_ns = 0;
	return true;
}

bool node_peer_status(const struct node *n, const uint8_t *node, struct node_peer_status *ret)
{
	for (const struct node_peer *p = n->peers; p; p = p->next) {
		if (memcmp(p->key, node, sizeof p->key) != 0)
			continue;
		*ret = (struct node_peer_status){ p->compared, p->joining, !p->scanned, (int64_t)(node_clock_us(n, p) - n->o.env->real_ns(n->o.env) / 1000), (p->get_ns + 999) / 1000 };
		return true;
	}
	return false;
}

/* --- out --- */

int node_members_send(struct node *n, struct node_peer *p)
{
	struct buf b = BUF_INIT;
	size_t start;

	frame_begin(&b, FRAME_MEMBERS, &start);
	members_encode(&n->members, &b);
	frame_end(&b, start, true);
	return exchange_send(n, p, &b);
}

static int store(struct index_txn *t, const struct members *s)
{
	struct buf b = BUF_INIT;
	int rc;

	members_encode(s, &b);
	rc = b.err ? b.err : index_value_put(t, VALUE_MEMBERS, b.data, b.len);
	buf_free(&b);
	return rc;
}

/* The set becomes this one: kept, and only then ours, told, acted upon. from: who knows it already, or NULL. *next is used up. */
static int change(struct node *n, struct members *next, const struct node_peer *from)
{
	const struct member *self;
	struct index_txn *t;
	int rc = index_begin(n->o.index, true, &t);

	if (!rc)
		rc = node_commit(n, t, store(t, next));
	if (rc) {
		members_free(next);
		return rc;
	}
	members_free(&n->members);
	n->members = *next;
	self = members_get(&n->members, n->o.node);
	n->forgotten |= self && self->forgotten;
	for (struct node_peer *p = n->peers; p && !rc; p = p->next) {
		const struct member *m = members_get(&n->members, p->key);

		if (p != from)
			rc = node_members_send(n, p);
		if (n->forgotten || (m && m->forgotten))
			n->o.host->close(n->o.host, p->link, n->forgotten ? "this node was forgotten by the cluster" : FORGOTTEN);
	}
	n->o.host->members(n->o.host);
	return rc;
}

/* --- our own record --- */

/* Into *s. */
static int write_self(const struct node *n, struct members *s, bool *ret_changed)
{
	const struct member *was = members_get(s, n->o.node);
	struct member m = { .stamp = n->o.env->real_ns(n->o.env) / 1000 };

	*ret_changed = false;
	if (was && (was->forgotten || (strcmp(was->name, n->name) == 0 && strcmp(was->address, n->address) == 0)))
		return 0;
	if (m.stamp > MEMBERS_STAMP_MAX)
		m.stamp = MEMBERS_STAMP_MAX;
	if (was && m.stamp <= was->stamp)
		m.stamp = was->stamp < MEMBERS_STAMP_MAX ? was->stamp + 1 : was->stamp;
	memcpy(m.node, n->o.node, sizeof m.node);
	strcpy(m.name, n->name);
	strcpy(m.address, n->address);
	return members_merge(s, &m, ret_changed);
}

void node_members_due(struct node *n)
{
	struct members next = MEMBERS_INIT;
	bool news = false;
	int rc;

	if (!n->self_late || node_now(n) < n->self_again_ns)
		return;
	n->self_again_ns = node_now(n) + SELF_AGAIN_NS;
	rc = members_copy(&n->members, &next);
	if (!rc)
		rc = write_self(n, &next, &news);
	if (!rc && news)
		rc = change(n, &next, NULL);
	else
		members_free(&next);
	n->self_late = rc != 0;
	if (rc)
		node_failed(n, rc);
}

int node_address(struct node *n, const char *address)
{
	if (strlen(address) > FRAME_NAME_MAX)
		return -ENAMETOOLONG;
	strcpy(n->address, address);
	n->self_late = true;
	node_pump(n);
	return 0;
}

/* --- in --- */

int node_members_take(struct node *n, struct node_peer *p, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct members theirs = MEMBERS_INIT, next = MEMBERS_INIT;
	const struct member *self, *peer;
	bool any, news = false;
	int rc = members_decode(&c, &theirs, &any);

	if (!rc && !members_get(&theirs, p->key)) /* it is not even in its own list */
		rc = ERR_CORRUPT;
	if (!rc)
		rc = members_copy(&n->members, &next);
	for (size_t i = 0; i < theirs.count && !rc; i++) {
		rc = members_merge(&next, &theirs.all[i], &any);
		news |= any;
	}
	members_free(&theirs);
	if (!rc && news)
		rc = change(n, &next, p);
	else
		members_free(&next);
	if (rc)
		return rc;
	self = members_get(&n->members, n->o.node);
	/* Who was set back, or was moved, meets a record that it wrote itself, or a copy of it. What holds now is what it says now. */
	if (!self || (!self->forgotten && (strcmp(self->name, n->name) != 0 || strcmp(self->address, n->address) != 0)))
		n->self_late = true;
	peer = members_get(&n->members, p->key);
	if (!news && peer && peer->forgotten)
		n->o.host->close(n->o.host, p->link, FORGOTTEN);
	return rc;
}

int node_forget(struct node *n, const uint8_t *node)
{
	const struct member *was = members_get(&n->members, node);
	struct members next = MEMBERS_INIT;
	struct member m;
	bool news = false;
	int rc;

	if (memcmp(node, n->o.node, sizeof m.node) == 0)
		return -EINVAL;
	if (!was)
		return -ENOENT;
	if (was->forgotten)
		return 0;
	m = *was;
	m.forgotten = true;
	m.stamp = n->o.env->real_ns(n->o.env) / 1000;
	if (m.stamp <= was->stamp)
		m.stamp = was->stamp < MEMBERS_STAMP_MAX ? was->stamp + 1 : was->stamp;
	rc = members_copy(&n->members, &next);
	if (!rc)
		rc = members_merge(&next, &m, &news);
	if (!rc && news)
		rc = change(n, &next, NULL);
	else
		members_free(&next);
	if (!rc)
		rc = index_sync(n->o.index);
	node_pump(n);
	return rc;
}

/* --- start --- */

int node_members_load(struct node *n, struct index_txn *t)
{
	struct buf b = BUF_INIT;
	struct cursor c;
	bool news;
	int rc = index_value_get(t, VALUE_MEMBERS, &b);

	c = cursor_make(b.data, b.len);
	rc = rc == -ENOENT ? 0 : rc ? rc : members_decode(&c, &n->members, &news);
	buf_free(&b);
	if (!rc && members_get(&n->members, n->o.node) && members_get(&n->members, n->o.node)->forgotten)
		return -EKEYREJECTED;
	if (!rc)
		rc = write_self(n, &n->members, &news);
	return rc || !news ? rc : store(t, &n->members);
}
