/*
 * recover.c - finding out who is who: superblock, claims, the lineage tip, signs of life. Changes nothing, but for
 * recover_create, the one way in which marks and claims come into the store.
 */
#include "recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "recover_impl.h"

#define CREATE_TRIES 4
#define LAST_SLOT 999999999999ull

/* --- create-if-absent with an identity --- */

bool recover_mark_is_ours(const uint8_t *p, size_t len, const uint8_t *put_id)
{
	enum object_type type;
	uint64_t epoch, slot;
	uint8_t id[ID_BYTES];

	return len >= OBJECT_HEAD_BYTES && object_decode_head(p, OBJECT_HEAD_BYTES, &type, &epoch, &slot, id) == 0 && memcmp(id, put_id, ID_BYTES) == 0;
}

int recover_create(struct store *s, const char *key, const struct buf *body,
		   bool (*is_ours)(const uint8_t *p, size_t len, const uint8_t *id), const uint8_t *id)
{
	struct store_req req;
	int rc = 0, look, tries;

	for (tries = 0; tries < CREATE_TRIES; tries++) {
		rc = store_put(s, key, body->data, body->len, true, &req);
		if (rc && rc != ERR_PRECONDITION)
			err_set(rc, "%s/%s: cannot be created: %s", s->address, key, req.detail[0] ? req.detail : err_text(rc));
		store_req_reset(&req);
		if (rc == 0)
			return 0;
		if (rc != ERR_PRECONDITION && rc != ERR_UNAVAILABLE)
			return rc;
		/* Whose is it? Ours, when a reply was lost. */
		look = store_get(s, key, &req);
		if (look == 0) {
			bool ours = is_ours(req.data, req.data_len, id);

			store_req_reset(&req);
			return ours ? 0 : ERR_PRECONDITION;
		}
		store_req_reset(&req);
		if (look != -ENOENT && look != ERR_UNAVAILABLE && look != ERR_CORRUPT)
			return look;
	}
	return rc == ERR_PRECONDITION ? ERR_UNAVAILABLE : rc;
}

/* --- reading --- */

int recover_get(struct store *s, const char *key, uint64_t suffix, struct store_req *ret)
{
	int rc, tries;

	for (tries = 0; tries < CREATE_TRIES; tries++) {
		store_req_init(ret, STORE_GET);
		ret->key = key;
		ret->range_suffix = suffix != 0;
		ret->range_length = suffix ? suffix : STORE_ANY;
		rc = store_call(s, ret);
		if (rc != ERR_UNAVAILABLE && rc != ERR_CORRUPT)
			break;
		if (tries + 1 < CREATE_TRIES)
			store_req_reset(ret);
	}
	if (rc && rc != -ENOENT)
		err_set(rc, "%s/%s: cannot be read: %s", s->address, key, ret->detail[0] ? ret->detail : err_text(rc));
	return rc;
}

static int bad(int rc, struct store *s, const char *key, const char *what)
{
	if (rc == ERR_NEWER_FORMAT)
		return err_set(rc, "%s/%s: written by a newer version of clonefs; update this machine", s->address, key);
	return err_set(rc, "%s/%s: %s is damaged (%s); nothing was changed. Restore that object from a version of it or a copy of the store; fsck.clonefs names "
		       "all that is damaged", s->address, key, what, err_text(rc));
}

/* The footer of (epoch, slot): 0, -ENOENT, or an error with a message. */
int recover_footer(struct store *s, const struct superblock *sb, uint64_t epoch, uint64_t slot, struct object_footer *ret,
		   int64_t *ret_mtime, int64_t *ret_server)
{
	char key[OBJECT_KEY_MAX];
	struct store_req req;
	int rc;

	object_key_slot(epoch, slot, key);
	rc = recover_get(s, key, OBJECT_FOOTER_BYTES, &req);
	if (!rc) {
		rc = object_decode_footer(req.data, req.data_len, req.object_size, ret);
		if (!rc && (ret->epoch != epoch || ret->slot != slot || memcmp(ret->volume_uuid, sb->volume_uuid, ID_BYTES)))
			rc = ERR_CORRUPT;
		if (rc)
			bad(rc, s, key, "the log object");
		if (ret_mtime)
			*ret_mtime = req.mtime_s;
		if (ret_server)
			*ret_server = req.server_time_s;
	}
	store_req_reset(&req);
	return rc;
}

static int read_superblock(struct store *s, struct superblock *ret)
{
	struct store_req req;
	int rc = recover_get(s, "volume", 0, &req);

	if (rc == -ENOENT)
		rc = err_set(ERR_NOT_A_VOLUME, "%s: there is no volume here; make one with: clonefs format %s", s->address, s->address);
	else if (!rc) {
		rc = superblock_decode(req.data, req.data_len, ret);
		if (rc)
			bad(rc, s, "volume", "the superblock");
	}
	store_req_reset(&req);
	return rc;
}

static int note_claim(void *user, const struct store_entry *e)
{
	struct survey *sv = user;
	uint64_t epoch;

	if (object_parse_claim_key(e->key, &epoch) && epoch > sv->newest_claim)
		sv->newest_claim = epoch;
	return 0;
}

static int any_entry(void *user, const struct store_entry *e)
{
	char *key = user;

	strncpy(key, e->key, OBJECT_KEY_MAX - 1);
	key[OBJECT_KEY_MAX - 1] = '\0';
	return 1;
}

static int read_claims(struct store *s, struct survey *sv)
{
	char key[OBJECT_KEY_MAX], found[OBJECT_KEY_MAX] = "";
	struct store_req req;
	uint64_t before;
	unsigned again = 0;
	int rc;

	do {
		before = sv->newest_claim;
		rc = store_list_all(s, "epochs/", NULL, note_claim, sv);
		if (rc)
			return err_set(rc, "%s: the claims under epochs/ cannot be listed: %s", s->address, err_text(rc));
		/* Log objects of an epoch that nobody claimed mean that a claim is gone: its epoch must not be given away again.
		 * Another opener may just have claimed and opened between the two listings; then the claims are looked at again. */
		object_key_slot(sv->newest_claim, LAST_SLOT, key);
		rc = store_list_all(s, "log/", key, any_entry, found);
		if (rc < 0)
			return err_set(rc, "%s: log/ cannot be listed: %s", s->address, err_text(rc));
	} while (rc && (sv->newest_claim > before || again++ == 0));
	if (rc)
		return err_set(ERR_DAMAGED, "%s: %s exists but the claim of its epoch under epochs/ is missing; nothing was changed", s->address,
			       found);
	if (!sv->newest_claim)
		return 0;
	object_key_claim(sv->newest_claim, key);
	rc = recover_get(s, key, 0, &req);
	if (!rc) {
		rc = claim_decode(req.data, req.data_len, &sv->claim);
		if (!rc && (sv->claim.epoch != sv->newest_claim || memcmp(sv->claim.volume_uuid, sv->sb.volume_uuid, ID_BYTES)))
			rc = ERR_CORRUPT;
		if (rc)
			bad(rc, s, key, "the claim");
		else
			sv->age_s = req.server_time_s - req.mtime_s;
	} else if (rc == -ENOENT) {
		rc = err_set(ERR_UNAVAILABLE, "%s/%s: listed, but not there", s->address, key);
	}
	store_req_reset(&req);
	return rc;
}

/* An epoch without an opening record must be without objects at all: otherwise the record was lost. */
static int check_never_opened(struct store *s, uint64_t epoch)
{
	char prefix[OBJECT_KEY_MAX], found[OBJECT_KEY_MAX] = "";
	int rc;

	object_key_slot(epoch, 0, prefix);
	rc = store_list_all(s, "log/", prefix, any_entry, found);
	if (rc < 0)
		return err_set(rc, "%s: log/ cannot be listed: %s", s->address, err_text(rc));
	/* found is the first object after slot 0, perhaps of a later epoch */
	if (rc && strncmp(prefix, found, strlen(prefix) - 12) == 0)
		return err_set(ERR_DAMAGED, "%s/%s: the opening record is missing though %s exists; nothing was changed", s->address, prefix,
			       found);
	return 0;
}

static int find_tip(struct store *s, struct survey *sv)
{
	uint64_t e;
	int rc;

	for (e = sv->newest_claim; e > 0; e--) {
		struct object_footer f;

		rc = recover_footer(s, &sv->sb, e, 0, &f, NULL, NULL);
		if (rc == -ENOENT) {
			rc = check_never_opened(s, e);
			if (rc != ERR_DAMAGED) {
				if (rc)
					return rc;
				continue;
			}
			/* It may have been opened between the two looks. */
			rc = recover_footer(s, &sv->sb, e, 0, &f, NULL, NULL);
			if (rc == -ENOENT)
				return check_never_opened(s, e);
		}
		if (rc)
			return rc;
		if (f.type == OBJECT_SEAL)
			continue;
		if (f.type != OBJECT_OPEN)
			return err_set(ERR_CORRUPT, "%s: slot 0 of epoch %" PRIu64 " is not an opening record", s->address, e);
		sv->has_tip = true;
		sv->tip_epoch = e;
		sv->tip_open = f;
		return 0;
	}
	return 0;
}

static int read_heartbeat(struct store *s, struct survey *sv)
{
	struct store_req req;
	int rc = recover_get(s, "heartbeat", 0, &req);

	if (rc == -ENOENT) {
		rc = 0;
	} else if (!rc) {
		rc = heartbeat_decode(req.data, req.data_len, &sv->heartbeat);
		if (rc == 0 && memcmp(sv->heartbeat.volume_uuid, sv->sb.volume_uuid, ID_BYTES) == 0) {
			int64_t age = req.server_time_s - req.mtime_s;

			sv->has_heartbeat = true;
			if (age < sv->age_s && sv->has_tip && sv->heartbeat.epoch >= sv->tip_epoch)
				sv->age_s = age;
		} else if (rc != ERR_NEWER_FORMAT) {
			rc = 0; /* a heartbeat is a hint: a damaged one says nothing */
		} else {
			bad(rc, s, "heartbeat", "the heartbeat");
		}
		memcpy(sv->heartbeat_etag, req.etag, sizeof sv->heartbeat_etag);
	}
	store_req_reset(&req);
	return rc;
}

struct newest { int64_t mtime_s; uint64_t epoch; };

static int note_newest(void *user, const struct store_entry *e)
{
	struct newest *n = user;
	uint64_t epoch, slot;

	if (object_parse_slot_key(e->key, &epoch, &slot) && epoch == n->epoch && e->mtime_s > n->mtime_s)
		n->mtime_s = e->mtime_s;
	return 0;
}

/* The newest log object of the tip is a sign of life too. */
static int read_age(struct store *s, struct survey *sv)
{
	char after[OBJECT_KEY_MAX], key[OBJECT_KEY_MAX];
	struct newest n = { .epoch = sv->tip_epoch };
	struct object_footer f;
	int64_t mtime, server;
	int rc;

	if (!sv->has_tip)
		return 0;
	rc = recover_footer(s, &sv->sb, sv->tip_epoch, 0, &f, &mtime, &server);
	if (rc)
		return rc == -ENOENT ? err_set(ERR_DAMAGED, "%s: the opening record of epoch %" PRIu64 " is gone", s->address, sv->tip_epoch) : rc;
	n.mtime_s = mtime;
	object_key_slot(sv->tip_epoch, sv->has_heartbeat && sv->heartbeat.epoch == sv->tip_epoch ? sv->heartbeat.slot : 0, after);
	object_key_slot(sv->tip_epoch, 0, key);
	key[strlen(key) - 12] = '\0'; /* the epoch's folder */
	rc = store_list_all(s, key, after, note_newest, &n);
	if (rc)
		return err_set(rc, "%s/%s cannot be listed: %s", s->address, key, err_text(rc));
	if (server - n.mtime_s < sv->age_s)
		sv->age_s = server - n.mtime_s;
	return 0;
}

int recover_survey(struct store *s, struct survey *ret)
{
	struct survey sv;
	int rc;

	memset(&sv, 0, sizeof sv);
	sv.age_s = INT64_MAX;
	rc = read_superblock(s, &sv.sb);
	if (!rc)
		rc = read_claims(s, &sv);
	if (!rc)
		rc = find_tip(s, &sv);
	if (!rc)
		rc = read_heartbeat(s, &sv);
	if (!rc)
		rc = read_age(s, &sv);
	if (rc)
		return rc;
	sv.released = sv.has_heartbeat && sv.has_tip && sv.heartbeat.state == HEARTBEAT_RELEASED && sv.tip_epoch == sv.newest_claim &&
		      memcmp(sv.heartbeat.claim_id, sv.tip_open.claim_id, ID_BYTES) == 0;
	*ret = sv;
	return 0;
}
