/* fields.c - tables of fields, both ways. An error's path is put together on the way up: each level puts its own name before the message. */
#include "fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "err.h"
#include "text.h"

#include <errno.h>

#define DEPTH_MAX 16

int fields_parse(const void *p, size_t len, struct json_object **ret)
{
	struct json_tokener *t = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *o;
	enum json_tokener_error e;
	size_t end;

	if (!t)
		return -ENOMEM;
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(t, p, (int)len);
	e = json_tokener_get_error(t);
	end = json_tokener_get_parse_end(t);
	json_tokener_free(t);
	while (end < len && strchr(" \t\r\n", ((const char *)p)[end]) && ((const char *)p)[end])
		end++;
	if (e == json_tokener_success && json_object_is_type(o, json_type_object) && end == len) {
		*ret = o;
		return 0;
	}
	json_object_put(o);
	if (e == json_tokener_continue)
		return err_set(ERR_CORRUPT, "no JSON: it ends too soon");
	if (e != json_tokener_success)
		return err_set(ERR_CORRUPT, "no JSON: %s at byte %zu", json_tokener_error_desc(e), end);
	return err_set(ERR_CORRUPT, end == len ? "not an object" : "something behind the object");
}

static void *at(const struct field *f, void *st)
{
	return (char *)st + f->at;
}

static const void *at_const(const struct field *f, const void *st)
{
	return (const char *)st + f->at;
}

static int text_in(const struct field *f, struct json_object *x, char *ret)
{
	const char *s;
	size_t len;

	if (!json_object_is_type(x, json_type_string))
		return err_set(ERR_CORRUPT, "not a text");
	s = json_object_get_string(x);
	len = (size_t)json_object_get_string_len(x);
	if (len >= f->size)
		return err_set(ERR_CORRUPT, "longer than %zu bytes", f->size - 1);
	if (strlen(s) != len || !text_is_utf8(s))
		return err_set(ERR_CORRUPT, "not a text in UTF-8");
	if (f->check && !(f->optional && !len) && !f->check(s))
		return err_set(ERR_CORRUPT, "not what is allowed here");
	memcpy(ret, s, len + 1);
	return 0;
}

static int number_in(const struct field *f, struct json_object *x, uint64_t *ret)
{
	if (!json_object_is_type(x, json_type_int))
		return err_set(ERR_CORRUPT, "not a whole number");
	if (json_object_get_int64(x) < 0 || json_object_get_uint64(x) < f->least || json_object_get_uint64(x) > f->most)
		return err_set(ERR_CORRUPT, "not from %" PRIu64 " to %" PRIu64, f->least, f->most);
	*ret = json_object_get_uint64(x);
	return 0;
}

static int choice_in(const struct field *f, struct json_object *x, int *ret)
{
	const char *s = json_object_is_type(x, json_type_string) ? json_object_get_string(x) : "";

	for (int i = 0; f->choices[i]; i++) {
		if (strcmp(f->choices[i], s) != 0)
			continue;
		*ret = i;
		return 0;
	}
	return err_set(ERR_CORRUPT, "none of the values that are allowed");
}

static int list_in(const struct field *f, struct json_object *x, void *st)
{
	size_t n, *count = (size_t *)(void *)((char *)st + f->count_at);
	char *all;
	int rc = 0;

	if (!json_object_is_type(x, json_type_array))
		return err_set(ERR_CORRUPT, "not a list");
	n = json_object_array_length(x);
	if (n > f->most)
		return err_set(ERR_CORRUPT, "more than %" PRIu64 " elements", f->most);
	if (!n)
		return 0;
	all = calloc(n, f->element->bytes);
	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < n && !rc; i++) {
		struct json_object *e = json_object_array_get_idx(x, i);

		rc = json_object_is_type(e, json_type_object) ? fields_decode(f->element, e, all + i * f->element->bytes) : err_set(ERR_CORRUPT, "not an object");
		if (rc == ERR_CORRUPT)
			err_set(rc, "[%zu] %s", i, err_last());
	}
	if (rc) {
		free(all); /* elements have no lists of their own */
		return rc;
	}
	memcpy(at(f, st), &all, sizeof(all));
	*count = n;
	return 0;
}

static int one_in(const struct field *f, struct json_object *x, void *st)
{
	switch (f->type) {
	case FIELD_TEXT: return text_in(f, x, at(f, st));
	case FIELD_NUMBER: return number_in(f, x, at(f, st));
	case FIELD_CHOICE: return choice_in(f, x, at(f, st));
	case FIELD_LIST: return list_in(f, x, st);
	default:
		if (!json_object_is_type(x, json_type_boolean))
			return err_set(ERR_CORRUPT, "neither true nor false");
		*(bool *)at(f, st) = json_object_get_boolean(x);
		return 0;
	}
}

int fields_decode(const struct fields *f, struct json_object *o, void *ret)
{
	int rc = 0;

	memset(ret, 0, f->bytes);
	for (size_t i = 0; i < f->count && !rc; i++) {
		const struct field *one = &f->field[i];
		struct json_object *x;

		if (json_object_object_get_ex(o, one->name, &x)) {
			rc = one_in(one, x, ret);
			if (rc == ERR_CORRUPT)
				err_set(rc, "%s: %s", one->name, err_last());
		} else if (!one->optional) {
			rc = err_set(ERR_CORRUPT, "%s: missing", one->name);
		} else if (one->type == FIELD_NUMBER) {
			*(uint64_t *)at(one, ret) = one->standard;
		} else if (one->type == FIELD_BOOL) {
			*(bool *)at(one, ret) = one->standard;
		}
	}
	if (rc)
		fields_free(f, ret);
	return rc;
}

void fields_free(const struct fields *f, void *st)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct field *one = &f->field[i];
		void *all;

		if (one->type != FIELD_LIST)
			continue;
		memcpy(&all, at(one, st), sizeof(all));
		free(all);
		all = NULL;
		memcpy(at(one, st), &all, sizeof(all));
		*(size_t *)(void *)((char *)st + one->count_at) = 0;
	}
}

static struct json_object *list_out(const struct field *f, const void *st, int *ret_rc)
{
	size_t n = *(const size_t *)(const void *)((const char *)st + f->count_at);
	struct json_object *list = json_object_new_array();
	const char *all;

	memcpy(&all, at_const(f, st), sizeof(all));
	for (size_t i = 0; list && i < n && !*ret_rc; i++) {
		struct json_object *e = json_object_new_object();

		*ret_rc = e ? fields_encode(f->element, all + i * f->element->bytes, e) : -ENOMEM;
		if (*ret_rc || json_object_array_add(list, e)) {
			json_object_put(e);
			if (!*ret_rc)
				*ret_rc = -ENOMEM;
		}
	}
	return list;
}

static struct json_object *text_out(const struct field *f, const char *text)
{
	char *copy = strndup(text, f->size - 1);
	struct json_object *x;

	if (!copy)
		return NULL;
	if (!f->check && !text_is_utf8(copy))
		text_clean(copy, '?');
	x = json_object_new_string(copy);
	free(copy);
	return x;
}

static struct json_object *one_out(const struct field *f, const void *st, int *ret_rc)
{
	switch (f->type) {
	case FIELD_TEXT: return text_out(f, at_const(f, st));
	case FIELD_NUMBER: return json_object_new_uint64(*(const uint64_t *)at_const(f, st));
	case FIELD_CHOICE: return json_object_new_string(f->choices[*(const int *)at_const(f, st)]);
	case FIELD_LIST: return list_out(f, st, ret_rc);
	default: return json_object_new_boolean(*(const bool *)at_const(f, st));
	}
}

int fields_encode(const struct fields *f, const void *st, struct json_object *o)
{
	for (size_t i = 0; i < f->count; i++) {
		const struct field *one = &f->field[i];
		int rc = 0;
		struct json_object *x = one_out(one, st, &rc);

		if (!rc && (!x || json_object_object_add(o, one->name, x)))
			rc = -ENOMEM;
		if (rc) {
			json_object_put(x);
			return rc;
		}
	}
	return 0;
}
