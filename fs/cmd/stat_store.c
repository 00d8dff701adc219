/*
 * stat_store.c - what a store tells about its volume: superblock, newest claim,
 * heartbeat, newest slot, and (unless quick) how many objects there are.
 *
 * Reads only. The age of the writer's last sign of life is the server's Date
 * less the Last-Modified of the newest object of its, never this machine's clock.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmd.h"
#include "cmd_stat.h"
#include "err.h"
#include "object.h"

struct listing {
	struct json_object *o;
	struct progress bar;
	uint64_t epoch, slot, objects, bytes, log_objects, manifests;
	int64_t newest_s; /* Last-Modified of the newest slot of the newest epoch */
	bool has_slot;
};

static int get_object(struct store *s, const char *key, struct store_req *ret)
{
	int rc = store_get(s, key, ret);

	if (rc && rc != -ENOENT)
		return err_set(rc, "reading %s/%s: %s", s->address, key, ret->detail[0] ? ret->detail : err_text(rc));
	return rc;
}

static int decoded(struct store *s, const char *key, int rc)
{
	if (!rc)
		return 0;
	if (rc == ERR_NEWER_FORMAT)
		return err_set(rc, "%s/%s was written by a newer version of this program; update it", s->address, key);
	return err_set(rc, "%s/%s is corrupt; run fsck.clonefs %s", s->address, key, s->address);
}

static int read_superblock(struct store *s, struct superblock *ret)
{
	struct store_req r;
	int rc = get_object(s, "volume", &r);

	if (rc == -ENOENT)
		rc = err_set(ERR_NOT_A_VOLUME, "%s holds no volume; check the address, or make one: clonefs format %s", s->address, s->address);
	else if (!rc)
		rc = decoded(s, "volume", superblock_decode(r.data, r.data_len, ret));
	store_req_reset(&r);
	return rc;
}

static int last_claim(void *user, const struct store_entry *e)
{
	struct listing *l = user;
	uint64_t epoch;

	if (object_parse_claim_key(e->key, &epoch) && epoch > l->epoch)
		l->epoch = epoch;
	return 0;
}

static int last_slot(void *user, const struct store_entry *e)
{
	struct listing *l = user;
	uint64_t epoch, slot;

	if (object_parse_slot_key(e->key, &epoch, &slot) && epoch == l->epoch) {
		l->slot = slot;
		l->newest_s = e->mtime_s;
		l->has_slot = true;
	}
	return 0;
}

static int count(void *user, const struct store_entry *e)
{
	struct listing *l = user;

	l->objects++;
	progress_add(&l->bar, 1);
	l->bytes += e->size_bytes;
	l->log_objects += strncmp(e->key, "log/", 4) == 0;
	l->manifests += strncmp(e->key, "manifests/", 10) == 0;
	return 0;
}

static int list(struct store *s, const char *prefix, int (*each)(void *user, const struct store_entry *e), struct listing *l)
{
	int rc = store_list_all(s, prefix, NULL, each, l);

	if (rc && !err_last()[0])
		return err_set(rc, "listing %s/%s: %s", s->address, prefix, err_text(rc));
	return rc;
}

static int add_claim(struct store *s, struct listing *l)
{
	char key[OBJECT_KEY_MAX], text[CMD_TEXT];
	struct store_req r;
	struct claim c;
	int rc;

	object_key_claim(l->epoch, key);
	rc = get_object(s, key, &r);
	if (rc == -ENOENT)
		rc = err_set(ERR_DAMAGED, "%s/%s was listed and is not there; run fsck.clonefs %s", s->address, key, s->address);
	else if (!rc)
		rc = decoded(s, key, claim_decode(r.data, r.data_len, &c));
	if (!rc) {
		json_object_object_add(l->o, "node", json_object_new_string(c.node));
		json_object_object_add(l->o, "epoch", json_object_new_uint64(l->epoch));
		json_object_object_add(l->o, "slot", json_object_new_uint64(l->slot));
		json_object_object_add(l->o, "claimed", json_object_new_string(cmd_time(c.real_ns, text)));
		if (!l->has_slot)
			l->newest_s = r.mtime_s;
	}
	store_req_reset(&r);
	return rc;
}

/* The newest of heartbeat and log object says when the writer was last alive. */
static int add_heartbeat(struct store *s, struct listing *l)
{
	const char *state = "alive";
	struct heartbeat h;
	struct store_req r;
	int64_t now;
	int rc = get_object(s, "heartbeat", &r);

	now = r.server_time_s;
	if (!rc)
		rc = decoded(s, "heartbeat", heartbeat_decode(r.data, r.data_len, &h));
	if (!rc && h.epoch >= l->epoch) {
		if (r.mtime_s > l->newest_s)
			l->newest_s = r.mtime_s;
		if (h.state == HEARTBEAT_RELEASED)
			state = "released";
		json_object_object_add(l->o, "lsn", json_object_new_uint64(h.lsn));
	}
	store_req_reset(&r);
	if (rc && rc != -ENOENT)
		return rc;
	json_object_object_add(l->o, "heartbeat_age_seconds",
			       json_object_new_uint64(now > l->newest_s ? (uint64_t)(now - l->newest_s) : 0));
	if (strcmp(state, "alive") == 0 && now - l->newest_s > 45)
		state = "silent";
	json_object_object_add(l->o, "writer_state", json_object_new_string(state));
	return 0;
}

static int fill(struct store *s, bool quick, const struct price *price, struct listing *l)
{
	char prefix[OBJECT_KEY_MAX], text[CMD_TEXT], uuid[2 * ID_BYTES + 1];
	struct superblock sb;
	int rc = read_superblock(s, &sb);

	if (rc)
		return rc;
	json_object_object_add(l->o, "address", json_object_new_string(s->address));
	json_object_object_add(l->o, "uuid", json_object_new_string(cmd_hex(sb.volume_uuid, ID_BYTES, uuid)));
	json_object_object_add(l->o, "created", json_object_new_string(cmd_time(sb.created_real_ns, text)));
	json_object_object_add(l->o, "compress", json_object_new_uint64(sb.compress));
	json_object_object_add(l->o, "fencing", json_object_new_boolean(!sb.unsafe_no_fencing));
	rc = list(s, "epochs/", last_claim, l);
	if (!rc && l->epoch) {
		object_key_slot(l->epoch, 0, prefix);
		*(strrchr(prefix, '/') + 1) = '\0';
		rc = list(s, prefix, last_slot, l);
		if (!rc)
			rc = add_claim(s, l);
		if (!rc)
			rc = add_heartbeat(s, l);
	}
	if (rc || quick)
		return rc;
	rc = list(s, "", count, l);
	if (rc)
		return rc;
	json_object_object_add(l->o, "objects", json_object_new_uint64(l->objects));
	json_object_object_add(l->o, "object_bytes", json_object_new_uint64(l->bytes));
	json_object_object_add(l->o, "log_objects", json_object_new_uint64(l->log_objects));
	json_object_object_add(l->o, "manifests", json_object_new_uint64(l->manifests));
	stat_add_dollars(l->o, "storage_usd_month", price_storage(price, l->bytes));
	return 0;
}

int stat_store(const char *address, const char *store_options, bool quick, const struct price *price, struct json_object **ret)
{
	struct listing l = { .o = json_object_new_object(), .bar = PROGRESS_INIT };
	struct store *s = NULL;
	int rc = l.o ? 0 : -ENOMEM;

	progress_begin(&l.bar, "looking into the store", 0);
	if (!rc)
		rc = store_open(address, store_options, &s);
	if (!rc)
		rc = fill(s, quick, price, &l);
	store_close(s);
	progress_end(&l.bar);
	if (rc) {
		json_object_put(l.o);
		return rc;
	}
	*ret = l.o;
	return 0;
}
