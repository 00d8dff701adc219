/*
 * epoch.c - the heartbeat of an idle writer: one small object, refreshed by compare-and-swap, and a look at whether somebody
 * claimed the epoch after ours.
 *
 * The heartbeat protects nothing by itself; it keeps a careless mount from taking over a live volume. A claim or a
 * newer heartbeat makes us ask the log: an empty cut is sent, and meets the seal if there is one.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "volume_impl.h"

static int encode(struct volume *v, enum heartbeat_state state, struct buf *out)
{
	struct heartbeat h;

	memset(&h, 0, sizeof h);
	memcpy(h.volume_uuid, v->sb.volume_uuid, ID_BYTES);
	memcpy(h.claim_id, v->claim_id, ID_BYTES);
	pthread_mutex_lock(&v->mu);
	h.epoch = v->epoch;
	h.slot = v->acked_slot;
	h.lsn = v->lsn_store;
	pthread_mutex_unlock(&v->mu);
	h.real_ns = v->o.env->real_ns(v->o.env);
	h.state = state;
	memcpy(h.node, v->node, sizeof h.node);
	return heartbeat_encode(&h, out);
}

static int put(struct volume *v, const struct buf *b)
{
	struct store_req req;
	struct iovec iov = { .iov_base = b->data, .iov_len = b->len };
	int rc;

	store_req_init(&req, STORE_PUT);
	req.key = "heartbeat";
	req.body = &iov;
	req.body_count = 1;
	if (v->heartbeat_etag[0])
		req.if_match = v->heartbeat_etag;
	else
		req.if_none_match = true;
	rc = store_call(v->o.store, &req);
	if (!rc)
		memcpy(v->heartbeat_etag, req.etag, sizeof v->heartbeat_etag);
	store_req_reset(&req);
	return rc == -ENOENT ? ERR_PRECONDITION : rc;
}

/* What stands there now. ERR_FENCED: a later epoch's; else its ETag is taken as the one to replace. */
static int look(struct volume *v)
{
	struct store_req req;
	struct heartbeat h;
	int rc = store_get(v->o.store, "heartbeat", &req);

	if (rc == 0) {
		if (heartbeat_decode(req.data, req.data_len, &h) == 0 && h.epoch > v->epoch &&
		    memcmp(h.volume_uuid, v->sb.volume_uuid, ID_BYTES) == 0)
			rc = ERR_FENCED;
		memcpy(v->heartbeat_etag, req.etag, sizeof v->heartbeat_etag);
	} else if (rc == -ENOENT) {
		v->heartbeat_etag[0] = '\0';
		rc = 0;
	}
	store_req_reset(&req);
	return rc;
}

int epoch_heartbeat_write(struct volume *v, enum heartbeat_state state)
{
	struct buf b = BUF_INIT;
	int rc = encode(v, state, &b), tries;

	for (tries = 0; !rc && tries < 3; tries++) {
		rc = put(v, &b);
		if (rc != ERR_PRECONDITION)
			break;
		rc = look(v);
	}
	buf_free(&b);
	return rc;
}

static bool claimed_after_us(struct volume *v)
{
	char key[OBJECT_KEY_MAX];
	struct store_req req;
	int rc;

	object_key_claim(v->epoch + 1, key);
	store_req_init(&req, STORE_HEAD);
	req.key = key;
	rc = store_call(v->o.store, &req);
	store_req_reset(&req);
	return rc == 0;
}

void epoch_heartbeat_run(struct job *j)
{
	struct volume *v = CL_CONTAINER_OF(j, struct volume, heartbeat_job);
	int rc = epoch_heartbeat_write(v, HEARTBEAT_ALIVE);
	bool ask = rc == ERR_FENCED || claimed_after_us(v);

	pthread_mutex_lock(&v->mu);
	v->heartbeat_boot_ns = volume_boot(v);
	if (ask && v->state == VOLUME_SERVING && v->cut_count == 0 && commit_cut(v))
		logmsg(LOGMSG_WARNING, "%s: cannot ask the log whether this epoch is still ours", v->o.store->address);
	v->heartbeat_busy = false;
	v->busy--;
	pthread_mutex_unlock(&v->mu);
}
