/*
 * object_print.h - the printing half of object_dump: fields into a JSON tree,
 * the tree and the changes of a run as text or JSON. Private to object_dump.c.
 *
 * Errors are sticky in the printer; object_print_end tells.
 */
#ifndef CLONELOVE_OBJECT_PRINT_H
#define CLONELOVE_OBJECT_PRINT_H

#include <json-c/json.h>

#include "object.h"

struct printer {
	struct buf *out;
	bool json;
	json_object *top; /* freed by whoever made the printer */
	bool in_changes;
	uint64_t changes;
	int err;
};

/* The document's object, with its kind. */
json_object *object_print_top(struct printer *pr, const char *kind);
/* An array of objects in o, and one more object at its end. */
json_object *object_print_list(struct printer *pr, json_object *o, const char *name);
json_object *object_print_item(struct printer *pr, json_object *list);

void object_print_u64(struct printer *pr, json_object *o, const char *name, uint64_t x);
void object_print_bool(struct printer *pr, json_object *o, const char *name, bool x);
void object_print_str(struct printer *pr, json_object *o, const char *name, const char *s); /* our own words */
/* Bytes from an object: as they are where they are text, as "name_hex" otherwise. */
void object_print_text(struct printer *pr, json_object *o, const char *name, const void *p, size_t len);
void object_print_hex(struct printer *pr, json_object *o, const char *name, const void *p, size_t len);
void object_print_segment(struct printer *pr, json_object *o, const char *name, uint64_t id); /* as in the names of its file */
void object_print_time(struct printer *pr, json_object *o, const char *name, uint64_t real_ns);

/* After the fields, before the first change. */
int object_print_changes_begin(struct printer *pr);
/* One entry of a run; val NULL = deletion. -EFBIG when the whole grows beyond reason. */
int object_print_change(struct printer *pr, const uint8_t *key, size_t klen, const uint8_t *val, size_t vlen);
int object_print_end(struct printer *pr);

#endif
