/*
 * answer.c - requests on the control socket: {"do":"status"}, {"do":"peers"}, {"do":"forget","member":WHO}, {"do":"diff","member":WHO}, {"do":"wait","timeout_ms":N}, {"do":"rescan"}, {"do":"scrub"}, {"do":"pause"}, {"do":"resume"}, {"do":"missing","question":"1a2b3c4d","deleted":B}.
 *
 * Nothing here is kept but who waits. All of it reads what the host published last; only who the members are is asked of
 * the core, which answers between two of its steps. The field names are an interface: scripts
 * read them by --json, and clonesync(1) lists them.
 */
#include "answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clonesync.h"
#include "ctlsock.h"
#include "env.h"
#include "err.h"
#include "insync.h"
#include "metrics.h"

struct answer {
	struct host *host;
	const struct settings *s;
	uint64_t started_ns;
	char path[4096];
	struct ctlsock *socket;
	struct metrics *metrics;
};

static uint64_t now_ns(void)
{
	return env_system()->boot_ns(env_system());
}

void answer_snapshot(struct answer *a, struct snapshot *ret)
{
	host_status(a->host, &ret->node);
	host_watching(a->host, &ret->watching);
	ret->paused = host_paused(a->host);
	ret->uptime_s = (double)(now_ns() - a->started_ns) / 1e9;
	if (!host_refused(a->host, ret->refused, sizeof(ret->refused)))
		ret->refused[0] = '\0';
	insync(&ret->node, ret->paused, ret->behind, sizeof(ret->behind));
	ret->state = insync_state(&ret->node, ret->paused);
}

/* ---------------------------------------------------------------- status */

static void add_u64(struct json_object *o, const char *name, uint64_t x)
{
	json_object_object_add(o, name, json_object_new_uint64(x));
}

static void add_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static void add_bool(struct json_object *o, const char *name, bool x)
{
	json_object_object_add(o, name, json_object_new_boolean(x));
}

static struct json_object *pass_json(const struct node_scrub_pass *p)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	add_u64(o, "began_us", p->began_us);
	add_u64(o, "ended_us", p->ended_us);
	add_u64(o, "files", p->files);
	add_u64(o, "bytes", p->bytes);
	add_u64(o, "skipped", p->skipped);
	add_u64(o, "rotten", p->rotten);
	return o;
}

static bool answer_status(struct answer *a, struct ctlsock_conn *k, struct json_object *q CL_UNUSED)
{
	struct json_object *o = json_object_new_object();
	char root[40], node[2 * NODE_KEY_BYTES + 1], question[9];
	struct snapshot s;

	if (!o)
		return false;
	answer_snapshot(a, &s);
	snprintf(root, sizeof(root), "%016" PRIx64 "%016" PRIx64, s.node.root.hi, s.node.root.lo);
	add_bool(o, "ok", true);
	json_object_object_add(o, "pid", json_object_new_int((int)getpid()));
	add_text(o, "tree", a->s->tree);
	add_text(o, "name", a->s->name ? a->s->name : "");
	add_text(o, "node", cmd_hex(host_node(a->host), NODE_KEY_BYTES, node));
	json_object_object_add(o, "port", json_object_new_int(host_port(a->host)));
	add_u64(o, "uptime_seconds", (uint64_t)s.uptime_s);
	add_text(o, "state", s.state);
	add_bool(o, "in_sync", !s.behind[0]);
	add_text(o, "behind", s.behind);
	add_text(o, "root", root);
	add_u64(o, "records", s.node.records);
	add_u64(o, "wanted", s.node.wanted);
	add_u64(o, "wanted_bytes", s.node.wanted_bytes);
	add_u64(o, "fetched_bytes", s.node.fetched_bytes);
	add_u64(o, "dirty", s.node.dirty);
	add_u64(o, "members", s.node.members);
	add_u64(o, "peers_up", s.node.peers);
	add_u64(o, "peers_compared", s.node.compared);
	add_u64(o, "watched_directories", s.watching.watched);
	add_u64(o, "unwatched_directories", s.watching.unwatched);
	add_u64(o, "missing", s.node.missing);
	snprintf(question, sizeof(question), "%08" PRIx32, s.node.question);
	add_text(o, "question", s.node.question ? question : "");
	add_u64(o, "trash_items", s.node.trash_items);
	add_u64(o, "trash_bytes", s.node.trash_bytes);
	add_u64(o, "alerts", s.node.alerts);
	add_u64(o, "rotten", s.node.rotten);
	add_u64(o, "rotten_found", s.node.scrub.found);
	add_u64(o, "rotten_restored", s.node.scrub.restored);
	add_u64(o, "scrub_rate", s.node.scrub.rate);
	json_object_object_add(o, "scrub", s.node.scrub.running ? pass_json(&s.node.scrub.now) : NULL);
	json_object_object_add(o, "last_scrub", s.node.scrub.last.ended_us ? pass_json(&s.node.scrub.last) : NULL);
	add_u64(o, "undecided_seconds", s.node.unheard_s);
	add_text(o, "refused", s.refused);
	add_text(o, "error", s.node.error ? err_text(s.node.error) : "");
	return ctlsock_send_json(k, o);
}

/* ----------------------------------------------------------------- peers */

static struct json_object *member_json(const struct host_member *m)
{
	struct json_object *o = json_object_new_object();
	char node[2 * NODE_KEY_BYTES + 1];

	if (!o)
		return NULL;
	add_text(o, "name", m->m.name);
	add_text(o, "address", m->m.address);
	add_text(o, "node", cmd_hex(m->m.node, sizeof(m->m.node), node));
	add_bool(o, "self", m->self);
	add_bool(o, "up", m->up);
	add_bool(o, "compared", m->compared);
	add_bool(o, "joining", m->joining);
	add_bool(o, "scanning", m->scanning);
	json_object_object_add(o, "clock_us", json_object_new_int64(m->clock_us));
	add_u64(o, "get_us", m->get_us);
	return o;
}

/* A line for each live member, this one among them. */
static bool answer_peers(struct answer *a, struct ctlsock_conn *k, struct json_object *q CL_UNUSED)
{
	struct host_member *all;
	size_t count;
	bool ok = true;
	int rc = host_members(a->host, &all, &count);

	if (rc)
		return ctlsock_send_result(k, rc, NULL);
	for (size_t i = 0; i < count && ok; i++)
		if (!all[i].m.forgotten)
			ok = ctlsock_send_json(k, member_json(&all[i]));
	free(all);
	return ok && ctlsock_send_result(k, 0, NULL);
}

/* ---------------------------------------------------------------- forget */

static bool answer_forget(struct answer *a, struct ctlsock_conn *k, struct json_object *q)
{
	struct json_object *who;
	int rc;

	if (!json_object_object_get_ex(q, "member", &who) || !json_object_is_type(who, json_type_string))
		return ctlsock_send_result(k, -EINVAL, "which member?");
	rc = host_forget(a->host, json_object_get_string(who));
	return ctlsock_send_result(k, rc, rc ? err_last() : NULL);
}

/* ------------------------------------------------------------------ wait */

struct waiter {
	struct ctlsock_later later;
	struct answer *a;
	struct host_sync *sync;
	uint64_t until_ns; /* UINT64_MAX: for ever */
	int rc;
	char why[256];
};

static struct waiter *waiter_of(struct ctlsock_later *l) { return CL_CONTAINER_OF(l, struct waiter, later); }

/* Is it over? Else the peer is told how far it is. */
static bool waiter_tick(struct ctlsock_later *l, struct ctlsock_conn *k)
{
	struct waiter *w = waiter_of(l);
	struct json_object *o;
	struct snapshot s;
	char behind[200];
	unsigned members;
	bool over = host_sync_over(w->sync, &members, behind, sizeof(behind));

	answer_snapshot(w->a, &s);
	if (!over && s.paused)
		snprintf(behind, sizeof(behind), "%s", s.behind);
	if (!over && now_ns() >= w->until_ns) {
		w->rc = -ETIMEDOUT;
		snprintf(w->why, sizeof(w->why), "not in sync in time: %s", behind);
	}
	if (over || w->rc) {
		ctlsock_done(l);
		return true;
	}
	o = json_object_new_object();
	if (o) {
		add_text(o, "progress", behind);
		add_u64(o, "wanted", s.node.wanted);
	}
	return ctlsock_send_json(k, o);
}

static bool waiter_over(struct ctlsock_later *l, struct ctlsock_conn *k)
{
	struct waiter *w = waiter_of(l);

	return w->rc ? ctlsock_send_result(k, w->rc, w->why) : answer_status(w->a, k, NULL);
}

static void waiter_free(struct ctlsock_later *l)
{
	host_sync_free(waiter_of(l)->sync);
	free(waiter_of(l));
}

static bool answer_wait(struct answer *a, struct ctlsock_conn *k, struct json_object *q)
{
	struct waiter *w = calloc(1, sizeof(*w));
	struct json_object *timeout;
	int rc;

	if (!w)
		return ctlsock_send_result(k, -ENOMEM, NULL);
	rc = host_sync_begin(a->host, &w->sync);
	if (rc) {
		free(w);
		return ctlsock_send_result(k, rc, err_last());
	}
	w->later = (struct ctlsock_later){ .tick = waiter_tick, .over = waiter_over, .gone = ctlsock_done, .free = waiter_free };
	w->a = a;
	w->until_ns = UINT64_MAX;
	if (json_object_object_get_ex(q, "timeout_ms", &timeout))
		w->until_ns = now_ns() + json_object_get_uint64(timeout) * 1000000u;
	ctlsock_hold(k, &w->later);
	ctlsock_wait(k, &w->later);
	return waiter_tick(&w->later, k);
}

/* ---------------------------------------------------------------- others */

static bool answer_rescan(struct answer *a, struct ctlsock_conn *k, struct json_object *q CL_UNUSED)
{
	host_rescan(a->host);
	return ctlsock_send_result(k, 0, NULL);
}

static bool answer_scrub(struct answer *a, struct ctlsock_conn *k, struct json_object *q CL_UNUSED)
{
	return ctlsock_send_result(k, host_scrub(a->host), NULL);
}

static bool answer_pause(struct answer *a, struct ctlsock_conn *k, struct json_object *q CL_UNUSED)
{
	int rc = host_pause(a->host, true);

	return ctlsock_send_result(k, rc, rc ? err_last() : NULL);
}

static bool answer_resume(struct answer *a, struct ctlsock_conn *k, struct json_object *q CL_UNUSED)
{
	int rc = host_pause(a->host, false);

	return ctlsock_send_result(k, rc, rc ? err_last() : NULL);
}

static bool answer_missing(struct answer *a, struct ctlsock_conn *k, struct json_object *q)
{
	struct json_object *deleted, *number;
	unsigned long question = 0;
	char *end = NULL;
	int rc = -EINVAL;

	if (json_object_object_get_ex(q, "question", &number) && json_object_is_type(number, json_type_string))
		question = strtoul(json_object_get_string(number), &end, 16);
	if (end && !*end && question <= UINT32_MAX && json_object_object_get_ex(q, "deleted", &deleted) &&
	    json_object_is_type(deleted, json_type_boolean))
		rc = host_go_on(a->host, (uint32_t)question, json_object_get_boolean(deleted));
	return ctlsock_send_result(k, rc, rc == -EALREADY ? "it has not halted: nothing is held back" :
				   rc == -ESRCH ? "that is not what is asked now: see clonesync status for what is missing, and the number to answer with" :
				   rc == -ESTALE ? "the directory itself is gone, or another one is in its place: put it right, and start clonesync again" : NULL);
}

static bool answer_diff_from(struct answer *a, struct ctlsock_conn *k, struct json_object *q)
{
	return answer_diff(a->host, k, q);
}

/* q: the request, an object. */
static const struct { const char *what; bool (*answer)(struct answer *a, struct ctlsock_conn *k, struct json_object *q); } requests[] = {
	{ "status", answer_status }, { "peers", answer_peers }, { "forget", answer_forget },
	{ "wait", answer_wait }, { "rescan", answer_rescan }, { "pause", answer_pause }, { "resume", answer_resume },
	{ "scrub", answer_scrub }, { "missing", answer_missing }, { "diff", answer_diff_from },
};

static bool request(void *user, struct ctlsock_conn *k, const char *what, struct json_object *q)
{
	for (size_t i = 0; i < CL_ARRAY_LEN(requests); i++)
		if (strcmp(what, requests[i].what) == 0)
			return requests[i].answer(user, k, q);
	return ctlsock_send_result(k, -EINVAL, "the clonesync that runs knows no such request: is it an older one?");
}

/* --------------------------------------------------------------- metrics */

static void render(void *user, struct metrics_text *t)
{
	struct answer *a = user;
	struct snapshot s;

	answer_snapshot(a, &s);
	metrics_head(t, "info", "gauge", "What is kept, by which member.");
	metrics_put(t, "clonesync_info{");
	metrics_label(t, "tree", a->s->tree);
	metrics_put(t, ",");
	metrics_label(t, "name", a->s->name ? a->s->name : "");
	metrics_put(t, "} 1\n");
	metrics_gauge(t, "uptime_seconds", "Seconds since the start.", s.uptime_s);
	metrics_gauge(t, "in_sync", "1 while everything that the reachable peers have is here.", !s.behind[0]);
	metrics_gauge(t, "paused", "1 while it is paused.", s.paused);
	metrics_gauge(t, "scanning", "1 until the directory was looked at after the start.", s.node.scanning);
	metrics_gauge(t, "joining", "1 until it has learned what the cluster has.", s.node.joining);
	metrics_gauge(t, "forgotten", "1 when the cluster does not count this member any more.", s.node.forgotten);
	metrics_gauge(t, "halted", "1 when the directory is gone, or much of it is missing.", s.node.halted);
	metrics_gauge(t, "missing", "Paths that are missing at once, of which nobody was told.", (double)s.node.missing);
	metrics_gauge(t, "trash_items", "Files in the trash, when it was last looked through.", (double)s.node.trash_items);
	metrics_gauge(t, "trash_bytes", "Bytes in the trash, when it was last looked through.", (double)s.node.trash_bytes);
	metrics_gauge(t, "trash_stuck", "1 while something cannot be moved to the trash, for want of space.", s.node.trash_stuck);
	metrics_gauge(t, "records", "Paths it knows of, deleted ones that it remembers among them.", (double)s.node.records);
	metrics_gauge(t, "wanted", "Files that others have and that are still to come.", (double)s.node.wanted);
	metrics_gauge(t, "dirty", "Paths that are to be looked at.", (double)s.node.dirty);
	metrics_gauge(t, "members", "Other members that there are.", (double)s.node.members);
	metrics_gauge(t, "peers_up", "Peers that are connected.", (double)s.node.peers);
	metrics_gauge(t, "peers_compared", "Connected peers whose index was compared with this one's.", (double)s.node.compared);
	metrics_gauge(t, "watched_directories", "Directories that are watched.", (double)s.watching.watched);
	metrics_gauge(t, "unwatched_directories", "Directories that are scanned once a minute, for want of watches.", (double)s.watching.unwatched);
	metrics_gauge(t, "trouble", "1 while there is an error that clonesync status tells.", s.node.error != 0 || s.node.halted);
	metrics_gauge(t, "rotten", "Files whose content changed with nobody's doing, not restored yet.", (double)s.node.rotten);
	metrics_counter(t, "rotten_found_total", "Files that were found so.", s.node.scrub.found);
	metrics_counter(t, "rotten_restored_total", "Files that were restored from other members.", s.node.scrub.restored);
	metrics_gauge(t, "scrub_ended_seconds", "When all that is held was last read again, in seconds since 1970; 0: not yet.", (double)(s.node.scrub.last.ended_us / 1000000));
	metrics_gauge(t, "undecided_seconds", "So long something waits to be decided for a member that joins or scans.", (double)s.node.unheard_s);
	metrics_counter(t, "alerts_total", "Things that should not be, as two nodes with one identity.", s.node.alerts);
}

/* ----------------------------------------------------------- start, stop */

int answer_start(struct host *host, const struct settings *s, struct answer **ret)
{
	struct answer *a = calloc(1, sizeof(*a));
	struct ctlsock_options so = { .request = request, .user = a };
	struct metrics_options mo = { .where = s->metrics, .prefix = "clonesync", .render = render, .user = a };
	int rc = 0;

	if (!a)
		return -ENOMEM;
	a->host = host;
	a->s = s;
	a->started_ns = now_ns();
	so.path = a->path;
	if ((size_t)snprintf(a->path, sizeof(a->path), "%s/" SOCKET_NAME, s->state_dir) >= sizeof(a->path))
		rc = err_set(ERR_CONFIG, "the path of the state directory is too long");
	if (!rc)
		rc = ctlsock_start(&so, &a->socket);
	if (!rc && s->metrics)
		rc = metrics_start(&mo, &a->metrics);
	if (rc) {
		answer_stop(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void answer_stop(struct answer *a)
{
	if (!a)
		return;
	ctlsock_stop(a->socket);
	metrics_stop(a->metrics);
	free(a);
}
