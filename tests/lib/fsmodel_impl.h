/* fsmodel_impl.h - the inside of the model, for fsmodel*.c alone. */
#ifndef CLONELOVE_FSMODEL_IMPL_H
#define CLONELOVE_FSMODEL_IMPL_H

#include "fsmodel.h"
#include "rng.h"

struct mxattr { char name[VOLUME_NAME_MAX + 1]; uint8_t *value; size_t len; };
struct mname { char name[VOLUME_NAME_MAX + 1]; uint64_t ino; };

struct minode {
	struct volume_attr a;
	uint64_t parent;
	unsigned opens;
	bool linkable;           /* made by tmpfile and open */
	uint8_t *data;           /* size bytes (capacity FSMODEL_FILE_MAX, grown by need) */
	size_t cap;
	char *target;
	struct mxattr *xattrs;
	size_t xattr_count;
	struct mname *names;
	size_t name_count;
};

struct fsmodel {
	struct fsmodel_options o;
	struct minode *inodes;
	size_t count;
};

struct minode *fsmodel_inode(const struct fsmodel *m, uint64_t ino);
struct mname *fsmodel_name(const struct minode *d, const char *name);
/* The bytes, target or value that an operation's seed stands for. */
void fsop_bytes(const struct fsop *op, uint8_t *ret, size_t len);
size_t fsop_target(const struct fsop *op, char *ret /* VOLUME_SYMLINK_MAX + 1 */);

#endif
