/*
 * fields.h - JSON objects by tables of fields: one table is the decoder, the encoder and the bounds of a struct.
 *
 * Decoding is strict: a field of another type, out of its bounds or missing is an error that names it, and nothing is kept. What the table does not
 * have is no error, and stays in the json_object for whoever writes it again. Pure functions.
 */
#ifndef CLONELOVE_FIELDS_H
#define CLONELOVE_FIELDS_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIELDS_NUMBER_MAX UINT64_C(1000000000000000)

enum field_type {
	FIELD_TEXT,   /* char[size] */
	FIELD_NUMBER, /* uint64_t */
	FIELD_BOOL,   /* bool */
	FIELD_CHOICE, /* int: the index among choices */
	FIELD_LIST,   /* a pointer to malloc'd elements, NULL where there is none; size_t at count_at */
};

struct fields;

struct field {
	const char *name;
	enum field_type type;
	size_t at;                  /* offset in the struct */
	bool optional;              /* missing: "", `standard`, false, none */
	size_t size;                /* TEXT: with the NUL */
	bool (*check)(const char *);/* TEXT: NULL = any UTF-8; what is written is made so, each byte that cannot be shown a '?' */
	uint64_t least, most, standard; /* NUMBER; LIST: most elements */
	const char *const *choices; /* CHOICE: NULL at the end */
	const struct fields *element;   /* LIST: of these */
	size_t count_at;
};

struct fields {
	const struct field *field;
	size_t count, bytes; /* sizeof the struct */
};

/* Bytes as one JSON object, nothing behind it but white space. 0, ERR_CORRUPT with a message, -ENOMEM. The caller puts *ret. */
int fields_parse(const void *p, size_t len, struct json_object **ret);
/* Fills all of the struct. 0; ERR_CORRUPT "steps[3].name: ..." or -ENOMEM, and then there is nothing to free. */
int fields_decode(const struct fields *f, struct json_object *o, void *ret);
/* Sets all fields in o. 0; ERR_CORRUPT where the struct has what could not be read again (a bug of the caller, or a text by hand); -ENOMEM. */
int fields_encode(const struct fields *f, const void *st, struct json_object *o);
void fields_free(const struct fields *f, void *st); /* the lists; leaves none */

#endif
