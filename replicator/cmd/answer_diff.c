/*
 * answer_diff.c - {"do":"diff","member":WHO}: a line for each path that differs, then how many there are. The core goes through the indexes; whoever asks waits
 * on the control socket's thread, and gives up after DIFF_MOST_NS.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "cmd.h"
#include "ctlsock.h"
#include "env.h"
#include "err.h"
#include "text.h"

#define DIFF_MOST_NS 120000000000ull
#define LINES_BYTES 65536u /* at a time: what a socket takes whose other end is busy for a moment */

struct differ {
	struct ctlsock_later later;
	struct host_diff *diff;
	uint64_t until_ns;
	bool over;
	int rc;
	char why[1024];
	struct node_diff_result result;
	const struct host_difference *all;
	size_t count, sent;
};

static struct differ *differ_of(struct ctlsock_later *l) { return CL_CONTAINER_OF(l, struct differ, later); }

static uint64_t now_ns(void)
{
	return env_system()->boot_ns(env_system());
}

static bool put_path(struct ctlsock_conn *k, const struct host_difference *x)
{
	struct json_object *o = json_object_new_object();
	size_t len = strlen(x->path);
	char *hex = malloc(2 * len + 1);

	if (o && hex) {
		json_object_object_add(o, "path", text_is_utf8(x->path) ? json_object_new_string(x->path) : NULL);
		json_object_object_add(o, "path_hex", json_object_new_string(cmd_hex((const uint8_t *)x->path, len, hex)));
		json_object_object_add(o, "how", json_object_new_string(node_differs_names[x->how]));
	}
	free(hex);
	return ctlsock_send_json(k, o);
}

static void see_whether_over(struct differ *d)
{
	if (!host_diff_over(d->diff)) {
		if (now_ns() < d->until_ns)
			return;
		d->rc = -ETIMEDOUT;
		snprintf(d->why, sizeof(d->why), "the member did not answer in two minutes: clonesync status on it says how it is");
	} else {
		d->rc = host_diff_result(d->diff, &d->result, &d->all, &d->count);
		snprintf(d->why, sizeof(d->why), "%s", d->rc ? err_last() : "");
	}
	d->over = true;
}

static bool tick(struct ctlsock_later *l, struct ctlsock_conn *k)
{
	struct differ *d = differ_of(l);
	size_t bytes = 0;

	if (!d->over)
		see_whether_over(d);
	for (; d->sent < d->count && bytes < LINES_BYTES; d->sent++) {
		bytes += 3 * strlen(d->all[d->sent].path) + 64;
		if (!put_path(k, &d->all[d->sent]))
			return false;
	}
	if (d->over && d->sent == d->count)
		ctlsock_done(l);
	return true;
}

static bool tell(struct ctlsock_later *l, struct ctlsock_conn *k)
{
	const struct differ *d = differ_of(l);
	const struct node_diff_result *r = &d->result;
	struct json_object *o;

	if (d->rc)
		return ctlsock_send_result(k, d->rc, d->why);
	o = json_object_new_object();
	if (o) {
		json_object_object_add(o, "ok", json_object_new_boolean(true));
		json_object_object_add(o, "identical", json_object_new_boolean(!r->differing && !r->here && !r->there));
		json_object_object_add(o, "differing", json_object_new_uint64(r->differing));
		json_object_object_add(o, "to_come_here", json_object_new_uint64(r->here));
		json_object_object_add(o, "to_come_there", json_object_new_uint64(r->there));
		json_object_object_add(o, "listed", json_object_new_uint64(d->count));
	}
	return ctlsock_send_json(k, o);
}

static void differ_free(struct ctlsock_later *l)
{
	host_diff_free(differ_of(l)->diff);
	free(differ_of(l));
}

bool answer_diff(struct host *host, struct ctlsock_conn *k, struct json_object *q)
{
	struct json_object *who;
	struct differ *d;
	int rc;

	if (!json_object_object_get_ex(q, "member", &who) || !json_object_is_type(who, json_type_string))
		return ctlsock_send_result(k, -EINVAL, "which member?");
	d = calloc(1, sizeof(*d));
	if (!d)
		return ctlsock_send_result(k, -ENOMEM, NULL);
	rc = host_diff_begin(host, json_object_get_string(who), &d->diff);
	if (rc) {
		free(d);
		return ctlsock_send_result(k, rc, err_last());
	}
	d->later = (struct ctlsock_later){ .tick = tick, .over = tell, .gone = ctlsock_done, .free = differ_free };
	d->until_ns = now_ns() + DIFF_MOST_NS;
	ctlsock_hold(k, &d->later);
	ctlsock_wait(k, &d->later);
	return tick(&d->later, k);
}
