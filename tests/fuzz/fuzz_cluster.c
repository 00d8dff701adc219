/*
 * fuzz_cluster.c - any bytes as an object of the cluster. Input: a byte (which kind), then the object; it is called what it says itself, so that the rest is looked at.
 * What is accepted encodes to the same but for `put`, and is accepted again.
 */
#include <inttypes.h>

#include "cluster.h"
#include "fuzz.h"

#define PUT "ffffffffffffffffffffffffffffffff"

static void name_of(enum cluster_kind kind, const uint8_t *p, size_t len, char *ret)
{
	char *text = strndup((const char *)p, len);
	struct json_object *o, *x, *y;

	FUZZ_ASSERT(text);
	o = json_tokener_parse(text);
	ret[0] = '\0';
	if (kind == CLUSTER_DECISION && json_object_object_get_ex(o, "epoch", &x) && json_object_object_get_ex(o, "serial", &y))
		cluster_decision_name(json_object_get_uint64(x), json_object_get_uint64(y), ret);
	else if (json_object_object_get_ex(o, kind == CLUSTER_ANSWERS ? "host" : "name", &x) && x)
		snprintf(ret, CLUSTER_NAME_MAX, "%s", json_object_get_string(x));
	json_object_put(o);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char name[CLUSTER_NAME_MAX];
	struct json_object *raw, *made, *again;
	enum cluster_kind kind;
	const char *text;
	uint8_t *copy;
	size_t len;
	void *st;

	if (size < 1)
		return 0;
	kind = (enum cluster_kind)(data[0] % CLUSTER_KINDS);
	st = calloc(1, cluster_bytes(kind));
	copy = fuzz_copy(data + 1, size - 1);
	FUZZ_ASSERT(st);
	name_of(kind, copy, size - 1, name);
	if (cluster_decode(kind, name, copy, size - 1, st, &raw) == 0) {
		FUZZ_ASSERT(cluster_encode(kind, name, st, raw, PUT, &made) == 0);
		cluster_free(kind, st);
		text = json_object_to_json_string_length(made, JSON_C_TO_STRING_PLAIN, &len);
		FUZZ_ASSERT(text && cluster_decode(kind, name, text, len, st, &again) == 0);
		cluster_free(kind, st);
		FUZZ_ASSERT(json_object_equal(made, again));
		json_object_put(again);
		json_object_put(made);
		json_object_put(raw);
	}
	free(copy);
	free(st);
	return 0;
}
