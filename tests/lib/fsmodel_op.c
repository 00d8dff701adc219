/*
 * fsmodel_op.c - random operations, and running one on a volume.
 *
 * Choices lean towards what has broken file systems: few names, so that renames meet; offsets around block borders; small writes next to
 * each other; copies within a file; and now and then what must be refused.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "err.h"
#include "fsmodel_impl.h"

void fsop_bytes(const struct fsop *op, uint8_t *ret, size_t len)
{
	uint64_t seed = op->seed;

	for (size_t i = 0; i < len; i++)
		ret[i] = (uint8_t)((seed + i * 0x9e3779b97f4a7c15u) >> 37 | 1); /* never zero: a hole where data belongs shows */
}

size_t fsop_target(const struct fsop *op, char *ret)
{
	size_t len = 1 + op->seed % (op->seed % 8 ? 60 : VOLUME_SYMLINK_MAX);

	for (size_t i = 0; i < len; i++)
		ret[i] = (char)('a' + (op->seed + i * 7) % 26);
	ret[len] = '\0';
	return len;
}

/* --- choosing --- */

static uint64_t pick(struct fsmodel *m, uint64_t *seed, uint32_t type)
{
	for (int tries = 0; tries < 30; tries++) {
		const struct minode *i = &m->inodes[rng_below(seed, m->count)];

		if (!type || (i->a.mode & S_IFMT) == type)
			return i->a.ino;
	}
	return VOLUME_ROOT_INO;
}

/* Mostly what it should be; sometimes anything; rarely what is not there. */
static uint64_t pick_mostly(struct fsmodel *m, uint64_t *seed, uint32_t type)
{
	size_t luck = rng_below(seed, 100);

	if (luck < 2)
		return 999999999;
	return pick(m, seed, luck < 8 ? 0 : type);
}

static void random_name(struct fsmodel *m, uint64_t *seed, char *ret)
{
	size_t luck = rng_below(seed, 200);

	if (luck == 0) {
		ret[0] = '\0';
	} else if (luck == 1) {
		memset(ret, 'x', VOLUME_NAME_MAX + 1);
		ret[VOLUME_NAME_MAX + 1] = '\0';
	} else if (luck == 2) {
		memset(ret, 'y', VOLUME_NAME_MAX);
		ret[VOLUME_NAME_MAX] = '\0';
	} else {
		sprintf(ret, "n%zu", rng_below(seed, m->o.names));
	}
}

static void existing_name(struct fsmodel *m, uint64_t *seed, uint64_t dir, char *ret)
{
	const struct minode *d = fsmodel_inode(m, dir);

	if (d && d->name_count && rng_below(seed, 10))
		strcpy(ret, d->names[rng_below(seed, d->name_count)].name);
	else
		random_name(m, seed, ret);
}

static uint64_t random_off(uint64_t *seed)
{
	uint64_t off = rng_next(seed);

	switch (rng_below(seed, 5)) {
	case 0:
		return off % 3000;
	case 1:
		return off % (FSMODEL_FILE_MAX / 4096 / 2) * 4096;
	case 2:
		return (1 + off % 5) * 65536 - 20 + rng_below(seed, 40);
	case 3:
		return 65536 + off % 6000;
	default:
		return off % (FSMODEL_FILE_MAX / 2);
	}
}

static uint64_t random_len(uint64_t *seed)
{
	uint64_t len = rng_next(seed);

	switch (rng_below(seed, 6)) {
	case 0:
		return len % 10;
	case 1:
	case 2:
		return 1 + len % 200;
	case 3:
		return (1 + len % 8) * 4096;
	case 4:
		return 1 + len % 20000;
	default:
		return 1 + len % 200000;
	}
}

static struct timespec random_time(uint64_t *seed)
{
	return (struct timespec){ .tv_sec = (time_t)(rng_next(seed) % 4000000000u) - 1000000000, .tv_nsec = (long)rng_below(seed, 1000000000) };
}

static void random_setattr(struct fsmodel *m, uint64_t *seed, struct fsop *op)
{
	size_t luck = rng_below(seed, 10);

	op->ino = pick_mostly(m, seed, luck < 5 ? S_IFREG : 0);
	op->set = luck < 5 ? VOLUME_SET_SIZE : (unsigned)rng_below(seed, 1024) & ~(unsigned)VOLUME_SET_SIZE;
	op->attr = (struct volume_attr){
		.mode = (uint32_t)rng_below(seed, 010000), .uid = (uint32_t)rng_below(seed, 5), .gid = (uint32_t)rng_below(seed, 5),
		.size = rng_below(seed, 4) ? random_off(seed) : random_len(seed),
		.atime = random_time(seed), .mtime = random_time(seed), .ctime = random_time(seed),
	};
}

static void random_xattr(struct fsmodel *m, uint64_t *seed, struct fsop *op)
{
	static const int flags[] = { 0, 0, XATTR_CREATE, XATTR_REPLACE };
	size_t luck = rng_below(seed, 100);

	op->kind = luck < 70 ? FSOP_SETXATTR : FSOP_REMOVEXATTR;
	op->ino = pick_mostly(m, seed, 0);
	sprintf(op->name, "%s.%zu", luck % 4 ? "user" : "trusted", rng_below(seed, 12));
	op->flags = (uint32_t)flags[rng_below(seed, 4)];
	op->len = luck == 0 ? VOLUME_XATTR_VALUE_MAX : luck < 5 ? rng_below(seed, 9000) : rng_below(seed, 40);
}

static void random_data(struct fsmodel *m, uint64_t *seed, struct fsop *op)
{
	static const uint32_t modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	size_t luck = rng_below(seed, 100);
	const struct minode *i;

	op->ino = pick_mostly(m, seed, S_IFREG);
	op->off = random_off(seed);
	op->len = random_len(seed);
	i = fsmodel_inode(m, op->ino);
	if (luck < 65) {
		op->kind = FSOP_WRITE;
		op->append = luck < 10 && (!i || i->a.size + op->len <= FSMODEL_FILE_MAX);
		op->kill_priv = luck % 2;
	} else if (luck < 82) {
		op->kind = FSOP_FALLOCATE;
		op->flags = modes[rng_below(seed, CL_ARRAY_LEN(modes))];
	} else {
		op->kind = FSOP_COPY;
		op->ino2 = rng_below(seed, 4) ? pick_mostly(m, seed, S_IFREG) : op->ino;
		op->off2 = random_off(seed);
	}
}

static void random_make(struct fsmodel *m, uint64_t *seed, struct fsop *op)
{
	static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	size_t luck = rng_below(seed, 100), dirs = 0;

	for (size_t i = 0; i < m->count; i++)
		dirs += S_ISDIR(m->inodes[i].a.mode) ? 1 : 0;
	op->ino = pick_mostly(m, seed, S_IFDIR);
	op->target = pick_mostly(m, seed, S_IFREG);
	random_name(m, seed, op->name);
	op->mode = types[rng_below(seed, CL_ARRAY_LEN(types))] | (uint32_t)rng_below(seed, 010000);
	if (S_ISDIR(op->mode) && dirs > m->o.dirs * 2)
		op->mode = S_IFREG | 0644;
	op->kind = luck < 70 ? FSOP_MKNOD : luck < 80 ? FSOP_SYMLINK : FSOP_LINK;
	if (m->o.opens && luck >= 97) {
		op->kind = FSOP_TMPFILE;
		op->mode = S_IFREG | (op->mode & 07777);
	}
}

static void random_unmake(struct fsmodel *m, uint64_t *seed, struct fsop *op)
{
	static const uint32_t flags[] = { 0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	size_t luck = rng_below(seed, 100);

	op->ino = pick_mostly(m, seed, S_IFDIR);
	existing_name(m, seed, op->ino, op->name);
	op->kind = luck < 20 ? FSOP_UNLINK : luck < 30 ? FSOP_RMDIR : FSOP_RENAME;
	op->ino2 = rng_below(seed, 3) ? pick_mostly(m, seed, S_IFDIR) : op->ino;
	op->flags = flags[rng_below(seed, CL_ARRAY_LEN(flags))];
	if (rng_below(seed, 2))
		existing_name(m, seed, op->ino2, op->name2);
	else
		random_name(m, seed, op->name2);
}

void fsop_random(struct fsmodel *m, uint64_t *seed, struct fsop *ret)
{
	size_t luck = rng_below(seed, 100);

	memset(ret, 0, sizeof *ret);
	ret->seed = rng_next(seed);
	ret->cred = (struct volume_cred){ (uint32_t)rng_below(seed, 4), (uint32_t)rng_below(seed, 4), (uint32_t)rng_below(seed, 512) };
	if (luck < 20) {
		random_make(m, seed, ret);
	} else if (luck < 40) {
		random_unmake(m, seed, ret);
	} else if (luck < 50) {
		ret->kind = FSOP_SETATTR;
		random_setattr(m, seed, ret);
	} else if (luck < 56) {
		random_xattr(m, seed, ret);
	} else if (luck < 64 && m->o.opens) {
		ret->kind = luck % 2 ? FSOP_OPEN : FSOP_CLOSE;
		ret->ino = pick_mostly(m, seed, 0);
		/* Closing what nobody opened is the caller's error, not an operation. */
		if (ret->kind == FSOP_CLOSE && (!fsmodel_inode(m, ret->ino) || !fsmodel_inode(m, ret->ino)->opens))
			ret->kind = FSOP_OPEN;
	} else {
		random_data(m, seed, ret);
	}
}

void fsop_print(const struct fsop *op, char *ret, size_t size)
{
	static const char *const kinds[FSOP_KINDS] = { "mknod", "symlink", "tmpfile", "link", "unlink", "rmdir", "rename", "setattr", "setxattr",
						       "removexattr", "write", "fallocate", "copy", "open", "close" };

	snprintf(ret, size, "%s ino %" PRIu64 " \"%.20s\" ino2 %" PRIu64 " \"%.20s\" target %" PRIu64 " off %" PRIu64 " off2 %" PRIu64 " len %" PRIu64
		 " mode %o flags %x set %x size %" PRIu64 "%s", kinds[op->kind], op->ino, op->name, op->ino2, op->name2, op->target, op->off, op->off2,
		 op->len, op->mode, op->flags, op->set, op->attr.size, op->append ? " append" : "");
}

/* --- running --- */

static int run_bytes(const struct fsmodel_target *t, const struct fsop *op, struct volume_wait *w)
{
	uint8_t *p = aligned_alloc(16, (op->len + 16) / 16 * 16); /* not malloc, which tests make fail for the volume */
	int rc;

	if (!p)
		abort();
	fsop_bytes(op, p, op->len);
	rc = op->kind == FSOP_WRITE ? t->write(t->v, op->ino, op->off, p, op->len, op->append, op->kill_priv, w)
				    : t->setxattr(t->v, op->ino, op->name, p, op->len, (int)op->flags, w);
	free(p);
	return rc;
}

static int run_make(const struct fsmodel_target *t, const struct fsop *op, struct volume_wait *w, struct fsop_result *ret)
{
	char target[VOLUME_SYMLINK_MAX + 1];
	struct volume_attr a = { .ino = 0 };
	int rc;

	if (op->kind == FSOP_SYMLINK)
		rc = t->symlink(t->v, op->ino, op->name, strlen(op->name), target, fsop_target(op, target), &op->cred, &a, w);
	else if (op->kind == FSOP_TMPFILE)
		rc = t->tmpfile(t->v, op->ino, op->mode, &op->cred, &a, w);
	else
		rc = t->mknod(t->v, op->ino, op->name, strlen(op->name), op->mode, 0, &op->cred, &a, w);
	ret->ino = a.ino;
	return rc;
}

int fsop_run(const struct fsmodel_target *t, const struct fsop *op, struct volume_wait *w, struct fsop_result *ret)
{
	const size_t len = strlen(op->name), len2 = strlen(op->name2);
	struct volume_attr a;

	switch (op->kind) {
	case FSOP_MKNOD: case FSOP_SYMLINK: case FSOP_TMPFILE:
		return run_make(t, op, w, ret);
	case FSOP_LINK:
		return t->link(t->v, op->target, op->ino, op->name, len, &a, w);
	case FSOP_UNLINK:
		return t->unlink(t->v, op->ino, op->name, len, w);
	case FSOP_RMDIR:
		return t->rmdir(t->v, op->ino, op->name, len, w);
	case FSOP_RENAME:
		return t->rename(t->v, op->ino, op->name, len, op->ino2, op->name2, len2, op->flags, w);
	case FSOP_SETATTR:
		return t->setattr(t->v, op->ino, op->set, &op->attr, &a, w);
	case FSOP_SETXATTR: case FSOP_WRITE:
		return run_bytes(t, op, w);
	case FSOP_REMOVEXATTR:
		return t->removexattr(t->v, op->ino, op->name, w);
	case FSOP_FALLOCATE:
		return t->fallocate(t->v, op->ino, (int)op->flags, op->off, op->len, w);
	case FSOP_COPY:
		ret->copied = 0;
		return t->copy_range(t->v, op->ino, op->off, op->ino2, op->off2, op->len, &ret->copied, w);
	case FSOP_OPEN:
		return t->open_ref(t->v, op->ino);
	case FSOP_CLOSE:
		t->open_unref(t->v, op->ino);
		return 0;
	case FSOP_KINDS:
		break;
	}
	abort();
}
