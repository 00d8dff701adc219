/*
 * salvage_extract.c - what unsent records wrote, as files: inode-<number> with
 * each written range at its offset (holes elsewhere), and manifest.json with names, ranges and
 * operations.
 *
 * Records are applied in order of LSN, so that a later write of the same range
 * wins, as it would have in the volume. Extents that point at data which is in the
 * store already are counted, not copied. Files are synced before this returns;
 * nothing outside dir is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "salvage.h"

#define COPY_BYTES (1u << 20)

struct extraction {
	struct salvage *s;
	int dir_fd;
	const char *dir;
	uint8_t *copy; /* COPY_BYTES */
	struct json_object *operations, *names, *files;
	struct salvage_counts n;
};

static const struct salvage_segment *find_segment(const struct salvage *s, uint64_t id)
{
	for (size_t i = 0; i < s->count; i++)
		if (segment_header(s->segments[i].s)->id == id)
			return &s->segments[i];
	return NULL;
}

static int write_all(int fd, const uint8_t *p, size_t len, uint64_t off)
{
	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return 0;
}

static int copy_extent(struct extraction *x, int fd, const struct extent *e, struct segment *seg)
{
	bool need[SEGMENT_BLOCKS];
	int rc = 0;

	for (uint64_t done = 0; !rc && done < e->len;) {
		uint32_t n = e->len - done < COPY_BYTES ? (uint32_t)(e->len - done) : COPY_BYTES;

		memset(need, 0, sizeof(need));
		rc = segment_read(seg, e->logical + (uint32_t)done, n, x->copy, need);
		if (!rc)
			rc = write_all(fd, x->copy, n, e->start + done);
		done += n;
	}
	return rc;
}

static void note_range(struct extraction *x, const char *name, const struct extent *e)
{
	struct json_object *file, *range = json_object_new_array();

	if (!json_object_object_get_ex(x->files, name, &file)) {
		file = json_object_new_array();
		json_object_object_add(x->files, name, file);
		x->n.files++;
	}
	json_object_array_add(range, json_object_new_uint64(e->start));
	json_object_array_add(range, json_object_new_uint64(e->len));
	json_object_array_add(file, range);
}

static int put_extent(struct extraction *x, const struct extent *e)
{
	const struct salvage_segment *g = find_segment(x->s, e->segment);
	char name[32];
	int fd, rc;

	if (!g) {
		x->n.elsewhere_bytes += e->len;
		return 0;
	}
	snprintf(name, sizeof(name), "inode-%" PRIu64, e->ino);
	fd = openat(x->dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(-errno, "making %s/%s: %s", x->dir, name, strerror(errno));
	rc = copy_extent(x, fd, e, g->s);
	if (rc)
		err_set(rc, "writing %s/%s: %s", x->dir, name, err_text(rc));
	close(fd);
	if (rc)
		return rc;
	x->n.bytes += e->len;
	note_range(x, name, e);
	return 0;
}

static int take_change(struct extraction *x, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen)
{
	struct volume_dirent d;
	struct value_key k;
	struct extent e;

	if (value_key_parse(key, klen, &k) || !val)
		return 0;
	if (k.table == VALUE_EXTENT && value_extent_decode(k.a, k.b, val, vlen, &e) == 0)
		return put_extent(x, &e);
	if (k.table == VALUE_DIRENT && value_dirent_decode(k.b, val, vlen, &d) == 0) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "inode", json_object_new_uint64(d.ino));
		json_object_object_add(o, "dir", json_object_new_uint64(k.a));
		json_object_object_add(o, "name", json_object_new_string_len(d.name, d.len));
		json_object_array_add(x->names, o);
	}
	return 0;
}

static int take_record(void *user, const struct salvage_segment *g CL_UNUSED, struct record *r)
{
	struct extraction *x = user;
	struct json_object *op = json_object_new_object(), *changes = json_object_new_array();
	const uint8_t *key, *val;
	size_t klen, vlen;
	int rc;

	json_object_object_add(op, "lsn", json_object_new_uint64(r->lsn));
	json_object_object_add(op, "time_ns", json_object_new_uint64(r->real_ns));
	json_object_object_add(op, "changes", changes);
	json_object_array_add(x->operations, op);
	x->n.operations++;
	while ((rc = record_next(r, &key, &klen, &val, &vlen)) > 0) {
		json_object_array_add(changes, salvage_change_json(key, klen, val, vlen));
		rc = take_change(x, key, klen, val, vlen);
		if (rc)
			return rc;
	}
	return rc;
}

static int write_manifest(struct extraction *x)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	int fd, rc;

	json_object_object_add(o, "operations", x->operations);
	json_object_object_add(o, "names", x->names);
	json_object_object_add(o, "files", x->files);
	x->operations = x->names = x->files = NULL;
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	fd = openat(x->dir_fd, "manifest.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = fd < 0 ? -errno : text ? write_all(fd, (const uint8_t *)text, strlen(text), 0) : -ENOMEM;
	if (fd >= 0)
		close(fd);
	json_object_put(o);
	if (!rc && syncfs(x->dir_fd))
		rc = -errno;
	return rc ? err_set(rc, "writing %s/manifest.json: %s", x->dir, err_text(rc)) : 0;
}

static int open_target(const char *dir, int *ret)
{
	if (mkdir(dir, 0700))
		return err_set(-errno, "making %s: %s; name a directory that does not exist yet", dir, strerror(errno));
	*ret = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret < 0 ? err_set(-errno, "opening %s: %s", dir, strerror(errno)) : 0;
}

int salvage_extract(struct salvage *s, const char *dir, struct salvage_counts *ret)
{
	struct extraction x = { .s = s, .dir_fd = -1, .dir = dir };
	int rc = open_target(dir, &x.dir_fd);

	x.copy = malloc(COPY_BYTES);
	x.operations = json_object_new_array();
	x.names = json_object_new_array();
	x.files = json_object_new_object();
	if (!rc && (!x.copy || !x.operations || !x.names || !x.files))
		rc = -ENOMEM;
	if (!rc)
		rc = salvage_walk(s, take_record, &x);
	if (!rc)
		rc = write_manifest(&x);
	json_object_put(x.operations);
	json_object_put(x.names);
	json_object_put(x.files);
	free(x.copy);
	if (x.dir_fd >= 0)
		close(x.dir_fd);
	*ret = x.n;
	return rc;
}
