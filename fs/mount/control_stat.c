/*
 * control_stat.c - what a mount tells about itself, as JSON.
 *
 * The field names are an interface: clonefs(1) lists them, scripts read them.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control_internal.h"

const char *control_op_name(enum store_op op)
{
	static const char *const names[STORE_OPS] = { "put", "get", "head", "list", "delete", "copy" };

	return names[op];
}

const char *control_state_name(enum volume_state s)
{
	switch (s) {
	case VOLUME_SERVING:
		return "serving";
	case VOLUME_HELD:
		return "held";
	case VOLUME_FENCED:
		return "fenced";
	case VOLUME_FAILED:
		return "failed";
	case VOLUME_SERVING_RO:
		return "read-only";
	}
	return "unknown";
}

void control_snapshot(struct control *c, struct control_snapshot *ret)
{
	struct timespec now;

	volume_status(c->o.volume, &ret->v);
	memset(&ret->s, 0, sizeof(ret->s));
	c->o.store->counters(c->o.store, &ret->s);
	clock_gettime(CLOCK_BOOTTIME, &now);
	ret->uptime_s = (double)(now.tv_sec - c->started.tv_sec) + (double)(now.tv_nsec - c->started.tv_nsec) / 1e9;
}

static void add_u64(struct json_object *o, const char *name, uint64_t x)
{
	json_object_object_add(o, name, json_object_new_uint64(x));
}

static void add_text(struct json_object *o, const char *name, const char *text)
{
	json_object_object_add(o, name, json_object_new_string(text));
}

static void add_seconds(struct json_object *o, const char *name, double s)
{
	char text[32];

	snprintf(text, sizeof(text), "%.3f", s);
	json_object_object_add(o, name, json_object_new_double_s(s, text));
}

static struct json_object *requests_json(const struct store_counters *s)
{
	struct json_object *all = json_object_new_object();

	for (int op = 0; all && op < STORE_OPS; op++) {
		struct json_object *one = json_object_new_object();

		if (!one)
			break;
		add_u64(one, "requests", s->requests[op]);
		add_u64(one, "retries", s->retries[op]);
		add_u64(one, "failures", s->failures[op]);
		json_object_object_add(all, control_op_name((enum store_op)op), one);
	}
	return all;
}

static void add_volume(struct json_object *o, const struct volume_status *v)
{
	char uuid[33];

	for (size_t i = 0; i < sizeof(v->uuid); i++)
		snprintf(uuid + 2 * i, 3, "%02x", v->uuid[i]);
	add_text(o, "state", control_state_name(v->state));
	add_text(o, "error", v->error);
	add_text(o, "node", v->node);
	add_text(o, "uuid", uuid);
	add_u64(o, "epoch", v->epoch);
	add_u64(o, "slot", v->slot);
	add_u64(o, "lsn", v->lsn);
	add_u64(o, "lsn_local", v->lsn_local);
	add_u64(o, "lsn_store", v->lsn_store);
	add_seconds(o, "lag_seconds", (double)v->lag_ns / 1e9);
	add_u64(o, "lag_bytes", v->lag_bytes);
	add_seconds(o, "lease_age_seconds", (double)v->lease_age_ns / 1e9);
	add_u64(o, "parked", v->parked);
	add_u64(o, "cache_used_bytes", v->cache_used_bytes);
	add_u64(o, "cache_budget_bytes", v->cache_budget_bytes);
	add_u64(o, "cache_hits", v->cache_hits);
	add_u64(o, "cache_misses", v->cache_misses);
	add_u64(o, "inodes", v->inodes);
	add_u64(o, "data_bytes", v->data_bytes);
	add_u64(o, "segments", v->segments);
	add_u64(o, "segment_bytes", v->segment_bytes);
	add_u64(o, "objects_put", v->objects_put);
	add_u64(o, "object_bytes_put", v->object_bytes_put);
	add_u64(o, "written_bytes", v->written_bytes);
	add_u64(o, "elided_bytes", v->elided_bytes);
	add_u64(o, "checkpoints", v->checkpoints);
	add_u64(o, "lost_operations", v->lost_operations);
}

struct json_object *control_stat_json(struct control *c)
{
	struct json_object *o = json_object_new_object();
	struct control_snapshot s;

	if (!o)
		return NULL;
	control_snapshot(c, &s);
	json_object_object_add(o, "ok", json_object_new_boolean(true));
	json_object_object_add(o, "pid", json_object_new_int((int)getpid()));
	add_text(o, "address", c->o.address);
	add_text(o, "mountpoint", c->o.mountpoint);
	add_seconds(o, "uptime_seconds", s.uptime_s);
	add_volume(o, &s.v);
	json_object_object_add(o, "requests", requests_json(&s.s));
	add_u64(o, "bytes_sent", s.s.bytes_sent);
	add_u64(o, "bytes_received", s.s.bytes_received);
	return o;
}
