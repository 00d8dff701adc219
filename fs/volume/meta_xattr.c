/*
 * meta_xattr.c - extended attributes of the map. Stateless; how many an inode
 * has is counted in the inode by the caller.
 */
#include <errno.h>
#include <string.h>

#include "meta_impl.h"

static size_t make_key(uint64_t ino, const char *name, uint8_t *key)
{
	return value_key_xattr(ino, name, strnlen(name, VOLUME_NAME_MAX + 1), key);
}

int meta_xattr_get(struct meta *m, uint64_t ino, const char *name, const uint8_t **ret, size_t *ret_len)
{
	uint8_t key[VALUE_KEY_MAX];
	size_t klen = make_key(ino, name, key);
	MDB_val v;
	int rc;

	if (klen == 0)
		return -EINVAL;
	rc = meta_raw_get(m, key, klen, &v);
	if (rc)
		return rc == -ENOENT ? -ENODATA : rc;
	*ret = v.mv_data;
	*ret_len = v.mv_size;
	return 0;
}

int meta_xattr_put(struct meta *m, uint64_t ino, const char *name, const void *value, size_t len)
{
	uint8_t key[VALUE_KEY_MAX];
	size_t klen = make_key(ino, name, key);

	if (klen == 0 || len > VOLUME_XATTR_VALUE_MAX)
		return -EINVAL;
	/* The sink knows a deletion by its NULL: an empty value must not look like one. */
	return meta_raw_put(m, key, klen, len ? value : "", len, true, NULL);
}

int meta_xattr_del(struct meta *m, uint64_t ino, const char *name)
{
	uint8_t key[VALUE_KEY_MAX];
	size_t klen = make_key(ino, name, key);
	int rc;

	if (klen == 0)
		return -EINVAL;
	rc = meta_raw_del(m, key, klen, true);
	return rc == -ENOENT ? -ENODATA : rc;
}

int meta_xattr_next(struct meta *m, uint64_t ino, const char *after, char *ret_name)
{
	uint8_t key[VALUE_KEY_MAX + 1];
	size_t klen = value_key_prefix(VALUE_XATTR, ino, key), len = strnlen(after, VOLUME_NAME_MAX);
	struct value_key parsed;
	MDB_val k, v;
	int rc;

	/* Names hold no NUL, so name plus NUL sorts right behind the name. */
	memcpy(key + klen, after, len);
	key[klen + len] = 0;
	rc = meta_raw_seek(m, key, klen + len + 1, &k, &v);
	if (rc)
		return rc;
	if (!meta_raw_within(&k, key))
		return -ENOENT;
	rc = value_key_parse(k.mv_data, k.mv_size, &parsed);
	if (rc)
		return rc;
	memcpy(ret_name, parsed.name, parsed.name_len);
	ret_name[parsed.name_len] = '\0';
	return 0;
}
