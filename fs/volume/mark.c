/*
 * mark.c - the file "durable": up to which LSN the local log was durable here, so that the next mount notices when less comes back.
 *
 * It is written after an fdatasync of the log and before anybody is told of it, and is not synced itself: what outlives a process that was
 * killed is exact, what a power loss leaves may be older. Either way it is true, and what it names is in the store or was
 * on this disk. Only where LSNs are given up (adopt.c) it goes back, and is synced.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "logmsg.h"
#include "volume_impl.h"

#define MARK_MAGIC 0x5255444f434c4c43ull
#define MARK_BYTES (8 + ID_BYTES + 8 + 8)
#define MARK_NAME "durable"

static void encode(const uint8_t *log_uuid, uint64_t lsn, uint8_t *b)
{
	put_u64(b, MARK_MAGIC);
	memcpy(b + 8, log_uuid, ID_BYTES);
	put_u64(b + 8 + ID_BYTES, lsn);
	put_u64(b + MARK_BYTES - 8, hash_xxh3(b, MARK_BYTES - 8, MARK_MAGIC));
}

int mark_read(struct disk *d, uint8_t *ret_log_uuid, uint64_t *ret_lsn)
{
	uint8_t b[MARK_BYTES + 1];
	struct disk_file *f;
	size_t n;
	int rc = d->open(d, MARK_NAME, DISK_READ, &f);

	if (rc)
		return rc;
	rc = d->pread(f, b, sizeof b, 0, &n);
	d->close(f);
	if (rc)
		return rc;
	if (n != MARK_BYTES || get_u64(b) != MARK_MAGIC || get_u64(b + MARK_BYTES - 8) != hash_xxh3(b, MARK_BYTES - 8, MARK_MAGIC))
		return ERR_CORRUPT;
	memcpy(ret_log_uuid, b + 8, ID_BYTES);
	*ret_lsn = get_u64(b + 8 + ID_BYTES);
	return 0;
}

int mark_take(struct volume *v, uint64_t lsn)
{
	int rc = v->o.disk->open(v->o.disk, MARK_NAME, DISK_WRITE, &v->mark);

	if (rc)
		v->mark = NULL;
	v->mark_lsn = lsn;
	return rc;
}

int mark_set(struct volume *v, uint64_t lsn)
{
	struct disk *d = v->o.disk;
	uint8_t b[MARK_BYTES];
	int rc;

	encode(v->log_uuid, lsn, b);
	(void)d->unlink(d, MARK_NAME ".new");
	rc = d->open(d, MARK_NAME ".new", DISK_CREATE, &v->mark);
	if (rc) {
		v->mark = NULL;
		return rc;
	}
	rc = d->pwrite(v->mark, b, sizeof b, 0);
	if (!rc)
		rc = d->sync(v->mark);
	if (!rc)
		rc = d->rename(d, MARK_NAME ".new", MARK_NAME);
	if (!rc)
		rc = d->sync_dir(d, "");
	v->mark_lsn = lsn;
	return rc;
}

void mark_advance(struct volume *v, uint64_t lsn)
{
	uint8_t b[MARK_BYTES];

	if (!v->mark || lsn <= v->mark_lsn)
		return;
	encode(v->log_uuid, lsn, b);
	if (v->o.disk->pwrite(v->mark, b, sizeof b, 0) == 0) /* else the next one says it */
		v->mark_lsn = lsn;
}

void mark_close(struct volume *v)
{
	if (v->mark)
		v->o.disk->close(v->mark);
	v->mark = NULL;
}
