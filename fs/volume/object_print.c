/*
 * object_print.c - see object_print.h. Output is bounded: a run of a few megabytes can unpack to gigabytes.
 */
#include "object_print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "err.h"
#include "kvmap.h"
#include "value.h"

#define OUT_MAX (256u << 20)
#define VALUE_SHOWN 64u /* bytes of a value whose meaning is not known */
#define JSON_FLAGS (JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)

/* --- fields --- */

/* Takes v. */
static void add(struct printer *pr, json_object *o, const char *name, json_object *v)
{
	if (o && v && json_object_object_add(o, name, v) == 0)
		return;
	json_object_put(v);
	pr->err = -ENOMEM;
}

void object_print_str(struct printer *pr, json_object *o, const char *name, const char *s)
{
	add(pr, o, name, json_object_new_string(s));
}

void object_print_u64(struct printer *pr, json_object *o, const char *name, uint64_t x)
{
	add(pr, o, name, json_object_new_uint64(x));
}

void object_print_bool(struct printer *pr, json_object *o, const char *name, bool x)
{
	add(pr, o, name, json_object_new_boolean(x));
}

void object_print_segment(struct printer *pr, json_object *o, const char *name, uint64_t id)
{
	char s[17];

	snprintf(s, sizeof(s), "%016" PRIx64, id);
	object_print_str(pr, o, name, s);
}

void object_print_hex(struct printer *pr, json_object *o, const char *name, const void *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *b = p;
	char s[2 * KVMAP_KEY_MAX + 1];

	if (len > KVMAP_KEY_MAX)
		len = KVMAP_KEY_MAX;
	for (size_t i = 0; i < len; i++) {
		s[2 * i] = digits[b[i] >> 4];
		s[2 * i + 1] = digits[b[i] & 15];
	}
	s[2 * len] = '\0';
	object_print_str(pr, o, name, s);
}

/* Bytes of one well-formed UTF-8 character at p that may be shown (RFC 3629; no control characters), or 0. */
static size_t utf8_char(const uint8_t *p, size_t len)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	if (n == 1)
		return p[0] >= 0x20 && p[0] != 0x7f;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xc2 && p[1] < 0xa0) || (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return n;
}

void object_print_text(struct printer *pr, json_object *o, const char *name, const void *p, size_t len)
{
	char other[40];

	for (size_t i = 0; i < len;) {
		size_t n = utf8_char((const uint8_t *)p + i, len - i);

		if (n == 0) {
			snprintf(other, sizeof(other), "%s_hex", name);
			object_print_hex(pr, o, other, p, len);
			return;
		}
		i += n;
	}
	add(pr, o, name, json_object_new_string_len(p, (int)len));
}

void object_print_time(struct printer *pr, json_object *o, const char *name, uint64_t real_ns)
{
	time_t s = (time_t)(real_ns / 1000000000);
	struct tm tm;
	char day[40], all[60];

	if (!gmtime_r(&s, &tm) || strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
		object_print_u64(pr, o, name, real_ns);
		return;
	}
	snprintf(all, sizeof(all), "%s.%09uZ", day, (unsigned)(real_ns % 1000000000));
	object_print_str(pr, o, name, all);
}

json_object *object_print_top(struct printer *pr, const char *kind)
{
	pr->top = json_object_new_object();
	object_print_str(pr, pr->top, "object", kind);
	return pr->top;
}

json_object *object_print_list(struct printer *pr, json_object *o, const char *name)
{
	json_object *list = json_object_new_array();

	add(pr, o, name, list);
	return pr->err ? NULL : list;
}

json_object *object_print_item(struct printer *pr, json_object *list)
{
	json_object *o = json_object_new_object();

	if (o && list && json_object_array_add(list, o) == 0)
		return o;
	json_object_put(o);
	pr->err = -ENOMEM;
	return NULL;
}

/* --- text --- */

static void put(struct printer *pr, const char *s)
{
	if (!s) {
		pr->err = -ENOMEM;
		return;
	}
	buf_bytes(pr->out, s, strlen(s));
}

static void put_value(struct printer *pr, json_object *v, bool quoted)
{
	put(pr, quoted ? json_object_to_json_string_ext(v, JSON_C_TO_STRING_NOSLASHESCAPE) : json_object_get_string(v));
}

/* "name=value name=value": an element of a list. */
static void put_line(struct printer *pr, json_object *o)
{
	const char *sep = "  ";

	json_object_object_foreach(o, name, v) {
		put(pr, sep);
		put(pr, name);
		put(pr, "=");
		put_value(pr, v, strcmp(name, "name") == 0 || strcmp(name, "target") == 0);
		sep = " ";
	}
	put(pr, "\n");
}

static void put_tree(struct printer *pr, json_object *o)
{
	json_object_object_foreach(o, name, v) {
		put(pr, name);
		put(pr, ":");
		if (!json_object_is_type(v, json_type_array)) {
			put(pr, " ");
			put_value(pr, v, false);
			put(pr, "\n");
			continue;
		}
		put(pr, "\n");
		for (size_t i = 0; i < json_object_array_length(v); i++)
			put_line(pr, json_object_array_get_idx(v, i));
	}
}

/* --- changes --- */

static const char *type_name(uint32_t type)
{
	switch (type) {
	case S_IFREG: return "file";
	case S_IFDIR: return "directory";
	case S_IFLNK: return "symlink";
	case S_IFCHR: return "character device";
	case S_IFBLK: return "block device";
	case S_IFIFO: return "fifo";
	default: return "socket";
	}
}

static void print_timespec(struct printer *pr, json_object *o, const char *name, const struct timespec *t)
{
	char s[48];

	snprintf(s, sizeof(s), "%" PRId64 ".%09ld", (int64_t)t->tv_sec, t->tv_nsec);
	object_print_str(pr, o, name, s);
}

static void print_inode(struct printer *pr, json_object *o, const struct inode *i)
{
	char mode[16];

	snprintf(mode, sizeof(mode), "%07o", i->a.mode);
	object_print_str(pr, o, "type", type_name(i->a.mode & S_IFMT));
	object_print_str(pr, o, "mode", mode);
	object_print_u64(pr, o, "uid", i->a.uid);
	object_print_u64(pr, o, "gid", i->a.gid);
	object_print_u64(pr, o, "nlink", i->a.nlink);
	object_print_u64(pr, o, "size", i->a.size);
	object_print_u64(pr, o, "allocated_bytes", i->a.allocated_bytes);
	object_print_u64(pr, o, "rdev", i->a.rdev);
	object_print_u64(pr, o, "change", i->a.change);
	object_print_u64(pr, o, "parent", i->parent);
	object_print_u64(pr, o, "xattrs", i->xattrs);
	object_print_u64(pr, o, "entries", i->entries);
	print_timespec(pr, o, "atime", &i->a.atime);
	print_timespec(pr, o, "mtime", &i->a.mtime);
	print_timespec(pr, o, "ctime", &i->a.ctime);
	print_timespec(pr, o, "btime", &i->a.btime);
	if (i->target_len)
		object_print_text(pr, o, "target", i->target, i->target_len);
}

static void print_key(struct printer *pr, json_object *o, const struct value_key *k)
{
	switch (k->table) {
	case VALUE_DIRENT:
		object_print_str(pr, o, "table", "dirent");
		object_print_u64(pr, o, "dir", k->a);
		object_print_u64(pr, o, "cookie", k->b);
		return;
	case VALUE_EXTENT:
		object_print_str(pr, o, "table", "extent");
		object_print_u64(pr, o, "ino", k->a);
		object_print_u64(pr, o, "last", k->b);
		return;
	case VALUE_SEGMENT:
		object_print_str(pr, o, "table", "segment");
		object_print_segment(pr, o, "segment", k->a);
		return;
	case VALUE_INODE:
		object_print_str(pr, o, "table", "inode");
		break;
	case VALUE_ORPHAN:
		object_print_str(pr, o, "table", "orphan");
		break;
	case VALUE_XATTR:
		object_print_str(pr, o, "table", "xattr");
		break;
	}
	object_print_u64(pr, o, "ino", k->a);
	if (k->name)
		object_print_text(pr, o, "name", k->name, k->name_len);
}

static int print_dirent_value(struct printer *pr, json_object *o, const struct value_key *k, const uint8_t *val, size_t vlen)
{
	struct volume_dirent d;
	int rc = value_dirent_decode(k->b, val, vlen, &d);

	if (rc)
		return rc;
	object_print_u64(pr, o, "ino", d.ino);
	object_print_str(pr, o, "type", type_name(d.type));
	object_print_text(pr, o, "name", d.name, d.len);
	return 0;
}

static int print_extent_value(struct printer *pr, json_object *o, const struct value_key *k, const uint8_t *val, size_t vlen)
{
	struct extent e;
	int rc = value_extent_decode(k->a, k->b, val, vlen, &e);

	if (rc)
		return rc;
	object_print_u64(pr, o, "start", e.start);
	object_print_u64(pr, o, "len", e.len);
	object_print_segment(pr, o, "segment", e.segment);
	object_print_u64(pr, o, "logical", e.logical);
	return 0;
}

static int print_segment_value(struct printer *pr, json_object *o, const struct value_key *k, const uint8_t *val, size_t vlen)
{
	struct segment_ref r;
	int rc = value_segment_decode(k->a, val, vlen, &r);

	if (rc)
		return rc;
	object_print_u64(pr, o, "epoch", r.epoch);
	object_print_u64(pr, o, "slot", r.slot);
	object_print_u64(pr, o, "object_bytes", r.object_bytes);
	object_print_u64(pr, o, "data_len", r.data_len);
	object_print_u64(pr, o, "table_offset", r.table_offset);
	object_print_u64(pr, o, "table_len", r.table_len);
	object_print_hex(pr, o, "table_hash", r.table_hash, HASH_BYTES);
	return 0;
}

static void print_bytes(struct printer *pr, json_object *o, const uint8_t *val, size_t vlen)
{
	object_print_u64(pr, o, "value_bytes", vlen);
	object_print_hex(pr, o, vlen > VALUE_SHOWN ? "value_begins_hex" : "value_hex", val, vlen > VALUE_SHOWN ? VALUE_SHOWN : vlen);
}

static int print_inode_value(struct printer *pr, json_object *o, const struct value_key *k, const uint8_t *val, size_t vlen)
{
	struct inode i;
	int rc = value_inode_decode(k->a, val, vlen, &i);

	if (!rc)
		print_inode(pr, o, &i);
	return rc;
}

static int print_value(struct printer *pr, json_object *o, const struct value_key *k, const uint8_t *val, size_t vlen)
{
	switch (k->table) {
	case VALUE_DIRENT:
		return print_dirent_value(pr, o, k, val, vlen);
	case VALUE_EXTENT:
		return print_extent_value(pr, o, k, val, vlen);
	case VALUE_INODE:
		return print_inode_value(pr, o, k, val, vlen);
	case VALUE_ORPHAN:
		return value_orphan_decode(val, vlen);
	case VALUE_SEGMENT:
		return print_segment_value(pr, o, k, val, vlen);
	case VALUE_XATTR:
		break;
	}
	print_bytes(pr, o, val, vlen);
	return 0;
}

static void put_change(struct printer *pr, json_object *o)
{
	if (!pr->json) {
		put_line(pr, o);
		return;
	}
	put(pr, pr->changes ? ",\n    " : "\n    ");
	put(pr, json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
}

int object_print_change(struct printer *pr, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	json_object *o = json_object_new_object();
	struct value_key k;
	int rc = value_key_parse(key, klen, &k);

	object_print_str(pr, o, "op", val ? "put" : "delete");
	if (rc)
		object_print_hex(pr, o, "key_hex", key, klen);
	else
		print_key(pr, o, &k);
	if (!rc && val)
		rc = print_value(pr, o, &k, val, vlen);
	if (rc) {
		if (val)
			print_bytes(pr, o, val, vlen);
		object_print_str(pr, o, "error", err_text(rc));
	}
	if (!pr->err)
		put_change(pr, o);
	json_object_put(o);
	pr->changes++;
	if (!pr->err)
		pr->err = pr->out->err;
	if (!pr->err && pr->out->len > OUT_MAX)
		pr->err = err_set(-EFBIG, "this run has too many entries to print");
	return pr->err;
}

/* --- the document --- */

int object_print_changes_begin(struct printer *pr)
{
	if (pr->err)
		return pr->err;
	pr->in_changes = true;
	if (!pr->json) {
		put_tree(pr, pr->top);
		put(pr, "changes:\n");
		return pr->out->err;
	}
	put(pr, json_object_to_json_string_ext(pr->top, JSON_FLAGS));
	if (pr->err || pr->out->err)
		return pr->err ? pr->err : pr->out->err;
	/* The tree ends with a brace: the list goes in before that. */
	while (pr->out->len > 0 && pr->out->data[--pr->out->len] != '}')
		;
	while (pr->out->len > 0 && strchr("\n ", pr->out->data[pr->out->len - 1]))
		pr->out->len--;
	put(pr, ",\n  \"changes\":[");
	return pr->out->err;
}

int object_print_end(struct printer *pr)
{
	if (pr->err)
		return pr->err;
	if (pr->in_changes)
		put(pr, !pr->json ? "" : pr->changes ? "\n  ]\n}\n" : "]\n}\n");
	else if (pr->json)
		put(pr, json_object_to_json_string_ext(pr->top, JSON_FLAGS));
	else
		put_tree(pr, pr->top);
	if (!pr->in_changes && pr->json)
		put(pr, "\n");
	return pr->err ? pr->err : pr->out->err;
}
