/*
 * host_members.c - members on a real machine: whom the hub calls, whom it lets in, our own address, what operators ask.
 *
 * The hub calls whom the configuration names, and every live member's address; of two links between two nodes one goes (link.h). A member whose address has changed
 * says so in its own record, and is called there from then on.
 */
#include "host_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"

/* --- whom to call --- */

static bool is_in(char *const *list, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], text) == 0)
			return true;
	return false;
}

static bool is_address_of_live(struct host *h, const char *address)
{
	const struct members *s = node_members(h->node);

	for (size_t i = 0; i < s->count; i++)
		if (!s->all[i].forgotten && memcmp(s->all[i].node, node_key_public(h->key), FRAME_NODE_BYTES) != 0 && strcmp(s->all[i].address, address) == 0)
			return true;
	return false;
}

static void call_more(struct host *h, const struct member *m)
{
	char **list, *copy;

	if (m->forgotten || !m->address[0] || memcmp(m->node, node_key_public(h->key), sizeof m->node) == 0 || is_in(h->called, h->called_count, m->address))
		return;
	list = realloc(h->called, (h->called_count + 1) * sizeof *list);
	if (list)
		h->called = list;
	copy = list ? strdup(m->address) : NULL;
	if (!copy) {
		logmsg(LOGMSG_ERROR, "out of memory: %s is not called", m->address);
		return;
	}
	h->called[h->called_count++] = copy; /* kept also where it is no address: it is said once */
	if (link_hub_call(h->hub, m->address))
		logmsg(LOGMSG_WARNING, "the member %s cannot be called: %s", m->name, err_last());
}

void host_members_changed(struct node_host *b)
{
	struct host *h = (struct host *)(void *)b;
	const struct members *s = node_members(h->node);

	if (admit_know(h->admit, s))
		logmsg(LOGMSG_ERROR, "out of memory: who is let in is what was known before");
	for (size_t i = 0; i < h->called_count;) {
		if (is_address_of_live(h, h->called[i])) {
			i++;
			continue;
		}
		if (!is_in(h->peers, h->peer_count, h->called[i]))
			link_hub_call_no_more(h->hub, h->called[i]);
		free(h->called[i]);
		h->called[i] = h->called[--h->called_count];
	}
	for (size_t i = 0; i < s->count; i++)
		call_more(h, &s->all[i]);
}

/* --- our own address --- */

/* True: the listening address says on which hosts' addresses, not on all of this machine. */
static bool one_host(const char *listen)
{
	size_t n = strlen(listen);

	return n && listen[0] != ':' && strncmp(listen, "0.0.0.0:", 8) != 0 && strncmp(listen, "[::]:", 5) != 0;
}

void host_members_up(struct host *h, const char *local)
{
	char address[FRAME_NAME_MAX + 1];

	if (!h->learn_address || !local[0] || (size_t)snprintf(address, sizeof address, "%s:%u", local, link_hub_port(h->hub)) >= sizeof address)
		return;
	h->learn_address = false; /* of a machine with several, the first one does */
	if (node_address(h->node, address) == 0)
		logmsg(LOGMSG_NOTICE, "other members call this one at %s", address);
}

int host_members_start(struct host *h, const struct host_options *o)
{
	char address[FRAME_NAME_MAX + 1];
	const char *colon;
	int rc = 0;

	h->peers = calloc(o->peer_count + 1, sizeof *h->peers);
	if (!h->peers)
		return -ENOMEM;
	for (unsigned i = 0; i < o->peer_count && !rc; i++) {
		h->peers[i] = strdup(o->peers[i]);
		rc = h->peers[i] ? link_hub_call(h->hub, o->peers[i]) : -ENOMEM;
		h->peer_count += h->peers[i] != NULL;
	}
	if (!rc && !o->address && o->listen && one_host(o->listen)) {
		colon = strrchr(o->listen, ':');
		if (snprintf(address, sizeof address, "%.*s:%u", (int)(colon - o->listen), o->listen, link_hub_port(h->hub)) < (int)sizeof address)
			rc = node_address(h->node, address);
	}
	h->learn_address = !o->address && o->listen && !one_host(o->listen);
	if (!rc)
		host_members_changed(&h->base);
	return rc;
}

static void free_list(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(list[i]);
	free(list);
}

void host_members_free(struct host *h)
{
	free_list(h->peers, h->peer_count);
	free_list(h->called, h->called_count);
}

/* --- the door --- */

const char *host_judge(void *user, const struct frame_hello *hello)
{
	struct host *h = user;
	bool twin;
	const char *no = admit_judge(h->admit, hello, &twin);

	if (twin)
		logmsg(LOGMSG_ERROR, "two processes with the key of %.*s are running: one has a copy of the other's state directory; stop it, and move its state directory away",
		       (int)hello->name.len, hello->name.p ? hello->name.p : "");
	return no;
}

void host_note_refusal(void *user, const char *address, const char *why)
{
	struct host *h = user;
	char text[sizeof h->refused] = "";
	bool news;

	if (address)
		snprintf(text, sizeof text, "%s: %s", address, why);
	pthread_mutex_lock(&h->mu);
	news = address && strcmp(h->refused, text) != 0;
	strcpy(h->refused, text);
	pthread_mutex_unlock(&h->mu);
	if (news)
		logmsg(LOGMSG_WARNING, "refused by %s", text);
}

bool host_refused(struct host *h, char *ret, size_t cap)
{
	pthread_mutex_lock(&h->mu);
	snprintf(ret, cap, "%s", h->refused);
	pthread_mutex_unlock(&h->mu);
	return ret[0] != '\0';
}

/* --- what operators ask --- */

struct list { struct host_member *all; size_t count; };

static void list_members(struct host *h, void *arg)
{
	const struct members *s = node_members(h->node);
	struct list *l = arg;

	l->all = calloc(s->count + 1, sizeof *l->all);
	for (size_t i = 0; i < s->count && l->all; i++) {
		struct host_member *m = &l->all[l->count++];
		struct node_peer_status p;

		m->m = s->all[i];
		m->self = memcmp(m->m.node, node_key_public(h->key), sizeof m->m.node) == 0;
		m->up = node_peer_status(h->node, m->m.node, &p);
		if (!m->up)
			continue;
		m->compared = p.compared;
		m->joining = p.joining;
		m->scanning = p.scanning;
		m->clock_us = p.clock_us;
		m->get_us = p.get_us;
	}
}

int host_members(struct host *h, struct host_member **ret, size_t *ret_count)
{
	struct list l = { NULL, 0 };
	int rc = host_ask(h, list_members, &l);

	if (rc || !l.all)
		return rc ? rc : -ENOMEM;
	*ret = l.all;
	*ret_count = l.count;
	return 0;
}

struct forget { const char *who; int rc; };

/* Is m meant by the text? */
static bool meant(const struct member *m, const char *who)
{
	char hex[2 * FRAME_NODE_BYTES + 1];

	for (size_t i = 0; i < FRAME_NODE_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", m->node[i]);
	return strcmp(who, m->name) == 0 || strcmp(who, m->address) == 0 || (strlen(who) >= 8 && strncmp(hex, who, strlen(who)) == 0);
}

int host_members_find(struct host *h, const char *who, struct member *ret)
{
	const struct members *s = node_members(h->node);
	size_t found = 0;

	for (size_t i = 0; i < s->count && who[0]; i++) {
		if (s->all[i].forgotten || !meant(&s->all[i], who))
			continue;
		*ret = s->all[i];
		found++;
	}
	if (found != 1)
		return found ? -ENOTUNIQ : -ENOENT;
	return memcmp(ret->node, node_key_public(h->key), sizeof ret->node) == 0 ? -EINVAL : 0;
}

int host_members_why(int rc, const char *who)
{
	if (rc == -ENOTUNIQ)
		return err_set(ERR_CONFIG, "several members are meant by %s: name one by the first digits of its key", who);
	if (rc == -EINVAL)
		return err_set(ERR_CONFIG, "%s is this node itself: name another member", who);
	return err_set(-ENOENT, "there is no member %s: clonesync peers shows them", who);
}

static void forget(struct host *h, void *arg)
{
	struct forget *f = arg;
	struct member m;

	f->rc = host_members_find(h, f->who, &m);
	if (!f->rc)
		f->rc = node_forget(h->node, m.node);
}

int host_forget(struct host *h, const char *who)
{
	struct forget f = { who, 0 };
	int rc = host_ask(h, forget, &f);

	if (rc)
		return err_set(rc, "this node stops");
	if (f.rc == -EINVAL)
		return err_set(ERR_CONFIG, "%s is this node itself: forget it on another member", who);
	if (f.rc == -ENOENT || f.rc == -ENOTUNIQ)
		return host_members_why(f.rc, who);
	return f.rc ? err_set(f.rc, "cannot forget %s: %s", who, err_text(f.rc)) : 0;
}
