/*
 * control_metrics.c - the gauges and counters of a mount.
 *
 * It reads the same snapshot as the control socket, keeps nothing, and never
 * waits for the store, so that it answers during an outage too.
 */
#include <inttypes.h>

#include "control_internal.h"

static void put_info(struct metrics_text *t, struct control *c, const struct volume_status *v)
{
	metrics_head(t, "info", "gauge", "What is mounted where, by which node.");
	metrics_put(t, "clonefs_info{");
	metrics_label(t, "address", c->o.address);
	metrics_put(t, ",");
	metrics_label(t, "mountpoint", c->o.mountpoint);
	metrics_put(t, ",");
	metrics_label(t, "node", v->node);
	metrics_put(t, "} 1\n");
	metrics_head(t, "state", "gauge", "1 for the state the volume is in.");
	for (int s = VOLUME_SERVING; s <= VOLUME_SERVING_RO; s++)
		metrics_put(t, "clonefs_state{state=\"%s\"} %d\n", control_state_name((enum volume_state)s), (int)v->state == s);
}

static void put_volume(struct metrics_text *t, const struct control_snapshot *s)
{
	const struct volume_status *v = &s->v;

	metrics_gauge(t, "uptime_seconds", "Seconds since the mount began.", s->uptime_s);
	metrics_gauge(t, "epoch", "The writer's epoch.", (double)v->epoch);
	metrics_gauge(t, "lag_seconds", "Age of the oldest change that the store has not got.", (double)v->lag_ns / 1e9);
	metrics_gauge(t, "lag_bytes", "Bytes that the store has not got.", (double)v->lag_bytes);
	metrics_gauge(t, "lease_age_seconds", "Seconds since the store last confirmed this writer.", (double)v->lease_age_ns / 1e9);
	metrics_gauge(t, "parked_requests", "Requests that wait for space, lag or the store.", (double)v->parked);
	metrics_gauge(t, "cache_used_bytes", "Disk space of the cache directory in use.", (double)v->cache_used_bytes);
	metrics_gauge(t, "cache_budget_bytes", "Hard limit of the cache directory.", (double)v->cache_budget_bytes);
	metrics_gauge(t, "inodes", "Inodes of the volume.", (double)v->inodes);
	metrics_gauge(t, "data_bytes", "Bytes that files refer to.", (double)v->data_bytes);
	metrics_gauge(t, "segments", "Segments of the volume.", (double)v->segments);
	metrics_gauge(t, "segment_bytes", "Bytes of all segments' objects.", (double)v->segment_bytes);
	metrics_gauge(t, "lost_operations", "Operations that this node's log had and the volume has not, as found at the mount.", (double)v->lost_operations);
	metrics_gauge(t, "trouble", "1 while there is an error that clonefs stat tells.", v->error[0] != '\0');
	metrics_counter(t, "lsn_total", "Last log sequence number given out.", v->lsn);
	metrics_counter(t, "lsn_local_total", "Last log sequence number durable on the local disk.", v->lsn_local);
	metrics_counter(t, "lsn_store_total", "Last log sequence number that the store has.", v->lsn_store);
	metrics_counter(t, "cache_hits_total", "Reads served from the cache.", v->cache_hits);
	metrics_counter(t, "cache_misses_total", "Reads that had to fetch.", v->cache_misses);
	metrics_counter(t, "objects_put_total", "Log objects sent.", v->objects_put);
	metrics_counter(t, "object_bytes_put_total", "Bytes of log objects sent.", v->object_bytes_put);
	metrics_counter(t, "written_bytes_total", "Bytes written by users of the file system.", v->written_bytes);
	metrics_counter(t, "elided_bytes_total", "Bytes written and not sent, because they were overwritten or deleted first.", v->elided_bytes);
	metrics_counter(t, "checkpoints_total", "Checkpoints made.", v->checkpoints);
}

static void put_per_op(struct metrics_text *t, const char *name, const char *help, const uint64_t *x)
{
	metrics_head(t, name, "counter", help);
	for (int op = 0; op < STORE_OPS; op++)
		metrics_put(t, "clonefs_%s{op=\"%s\"} %" PRIu64 "\n", name, control_op_name((enum store_op)op), x[op]);
}

/* Buckets are cumulative. Their sum is not kept by the store, so the sum series is left out. */
static void put_latency(struct metrics_text *t, const struct store_counters *s)
{
	metrics_head(t, "store_latency_seconds", "histogram", "Time from request to answer of the store.");
	for (int op = 0; op < STORE_OPS; op++) {
		const char *name = control_op_name((enum store_op)op);
		uint64_t sum = 0;

		for (unsigned i = 0; i + 1 < STORE_HIST; i++) {
			sum += s->latency[op][i];
			metrics_put(t, "clonefs_store_latency_seconds_bucket{op=\"%s\",le=\"%.9g\"} %" PRIu64 "\n", name,
			    (double)(UINT64_C(64) << i) / 1e6, sum);
		}
		sum += s->latency[op][STORE_HIST - 1];
		metrics_put(t, "clonefs_store_latency_seconds_bucket{op=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, sum);
		metrics_put(t, "clonefs_store_latency_seconds_count{op=\"%s\"} %" PRIu64 "\n", name, sum);
	}
}

void control_metrics(void *user, struct metrics_text *t)
{
	struct control *c = user;
	struct control_snapshot s;

	control_snapshot(c, &s);
	put_info(t, c, &s.v);
	put_volume(t, &s);
	put_per_op(t, "store_requests_total", "Requests sent to the store, retries included.", s.s.requests);
	put_per_op(t, "store_retries_total", "Requests sent again.", s.s.retries);
	put_per_op(t, "store_failures_total", "Requests that failed in the end.", s.s.failures);
	metrics_counter(t, "store_sent_bytes_total", "Bytes of bodies sent to the store.", s.s.bytes_sent);
	metrics_counter(t, "store_received_bytes_total", "Bytes of bodies received from the store.", s.s.bytes_received);
	put_latency(t, &s.s);
}
