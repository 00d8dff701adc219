/*
 * cmd_diff.c - clonesync diff: is the directory here what it is on the others, and what differs? Asks which members are up, then about one after the other; what
 * comes is kept until it is whole, so that a slow terminal holds nobody up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clonesync.h"
#include "entry.h"
#include "err.h"
#include "text.h"

enum { DIFF_IDENTICAL = 0, DIFF_DIFFERS = 1, DIFF_TROUBLE = 2 };

static const struct cmd_option options[] = { ASK_OPTIONS, ASK_OPTION_JSON };

static const struct cmd_usage usage = {
	"clonesync diff", "[MEMBER]", "Compares the directory with that of the other members that are up, or of one, and shows the paths that differ.", options, CL_ARRAY_LEN(options),
	"It takes time by what differs, not by what there is. What changes meanwhile may show.\n"
	"Exit codes: 0 identical; 1 something differs; 2 wrong call, or failed; 4 none runs; 5 no other member is up, or it did not answer.", DIFF_TROUBLE
};

static const char *text_of(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) && x ? json_object_get_string(x) : "";
}

static uint64_t number_of(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) && x ? json_object_get_uint64(x) : 0;
}

static bool is_set(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) && json_object_get_boolean(x);
}

/* user: the array. The last line, with "ok", is asked for otherwise. */
static int keep(void *user, const char *line)
{
	struct json_object *o = json_tokener_parse(line);

	if (!o || json_object_object_get_ex(o, "ok", NULL) || json_object_array_add(user, o))
		json_object_put(o);
	return 0;
}

static void print_path(struct json_object *o)
{
	const char *hex = text_of(o, "path_hex");
	char path[ENTRY_PATH_MAX + 1], shown[4 * ENTRY_PATH_MAX + 8];
	size_t len = strlen(hex) / 2 < ENTRY_PATH_MAX ? strlen(hex) / 2 : ENTRY_PATH_MAX;
	unsigned byte;

	for (size_t i = 0; i < len; i++)
		path[i] = sscanf(hex + 2 * i, "%2x", &byte) == 1 ? (char)byte : '?';
	path[len] = '\0';
	printf("  %-14s %s\n", text_of(o, "how"), text_shown(path, shown, sizeof shown));
}

/* What came of one member: its name, key, and the answer with the paths. */
static void print_one(struct json_object *o)
{
	struct json_object *paths;
	char name[600];
	uint64_t differing = number_of(o, "differing"), here = number_of(o, "to_come_here"), there = number_of(o, "to_come_there"), listed = number_of(o, "listed");
	bool identical = is_set(o, "identical");

	printf("%s: ", text_shown(text_of(o, "name"), name, sizeof name));
	if (identical)
		printf("identical\n");
	else
		printf("%" PRIu64 " paths differ, %" PRIu64 " are still to come here, %" PRIu64 " there\n", differing, here, there);
	if (json_object_object_get_ex(o, "paths", &paths))
		for (size_t i = 0; i < json_object_array_length(paths); i++)
			print_path(json_object_array_get_idx(paths, i));
	if (listed < differing + here)
		printf("  (%" PRIu64 " more are not shown)\n", differing + here - listed);
}

/* Asks about one member. The answer is *ret, with its paths; to be put. */
static int one(const struct ask_where *w, struct json_object *member, struct json_object **ret)
{
	struct json_object *q = json_object_new_object(), *paths = json_object_new_array(), *o;
	int rc = q && paths ? 0 : -ENOMEM;

	if (!rc) {
		json_object_object_add(q, "do", json_object_new_string("diff"));
		json_object_object_add(q, "member", json_object_new_string(text_of(member, "node")));
		rc = ask(w, json_object_to_json_string_ext(q, JSON_C_TO_STRING_PLAIN), keep, paths, &o);
	}
	json_object_put(q);
	if (rc) {
		json_object_put(paths);
		return rc;
	}
	json_object_object_del(o, "ok");
	json_object_object_add(o, "name", json_object_new_string(text_of(member, "name")));
	json_object_object_add(o, "node", json_object_new_string(text_of(member, "node")));
	json_object_object_add(o, "paths", paths);
	*ret = o;
	return 0;
}

/* As host_forget has it: a name, an address, the beginning of a key. */
static bool meant(struct json_object *m, const char *who)
{
	return strcmp(who, text_of(m, "name")) == 0 || strcmp(who, text_of(m, "address")) == 0 || (strlen(who) >= 8 && strncmp(text_of(m, "node"), who, strlen(who)) == 0);
}

/* Compares with those that are meant (NULL: all that are up); *ret_all has what came of each, to be put. */
static int compare(const struct ask_where *w, const char *who, struct json_object **ret_all, bool *ret_identical)
{
	struct json_object *members = json_object_new_array(), *all = json_object_new_array(), *o = NULL;
	unsigned asked = 0, known = 0;
	int rc = members && all ? ask(w, "{\"do\":\"peers\"}", keep, members, &o) : -ENOMEM;

	json_object_put(o);
	*ret_identical = true;
	for (size_t i = 0; !rc && i < json_object_array_length(members); i++) {
		struct json_object *m = json_object_array_get_idx(members, i);

		if (is_set(m, "self") || (who && !meant(m, who)))
			continue;
		known++;
		if (!is_set(m, "up") && who) {
			rc = err_set(ERR_UNAVAILABLE, "%s is not up: clonesync peers shows who is", text_of(m, "name"));
			break;
		}
		if (!is_set(m, "up")) {
			cmd_complain(usage.program, "%s is not up, and not compared with", text_of(m, "name"));
			continue;
		}
		asked++;
		rc = one(w, m, &o);
		if (rc)
			break;
		*ret_identical &= is_set(o, "identical");
		json_object_array_add(all, o);
	}
	json_object_put(members);
	if (!rc && who && !known)
		rc = err_set(-ENOENT, "there is no other member %s: clonesync peers shows them", who);
	else if (!rc && who && known > 1)
		rc = err_set(ERR_CONFIG, "several members are meant by %s: name one by the first digits of its key", who);
	else if (!rc && !asked)
		rc = err_set(ERR_UNAVAILABLE, known ? "no other member is up" : "no other member is known");
	if (rc)
		json_object_put(all);
	else
		*ret_all = all;
	return rc;
}

int cmd_diff(int argc, char **argv)
{
	struct ask_where w = { .state_dir = NULL };
	struct json_object *all;
	bool identical;
	int code = DIFF_TROUBLE, at = cmd_parse(&usage, argc, argv, ask_take, &w, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 0, 1, &code))
		return code;
	rc = compare(&w, argv[at], &all, &identical);
	if (rc) {
		code = ask_fail(usage.program, rc);
		return code == CMD_FAILED ? DIFF_TROUBLE : code;
	}
	if (w.json) {
		code = cmd_print_json(usage.program, all);
	} else {
		for (size_t i = 0; i < json_object_array_length(all); i++)
			print_one(json_object_array_get_idx(all, i));
		json_object_put(all);
		code = cmd_flush(usage.program, CMD_OK);
	}
	return code != CMD_OK ? DIFF_TROUBLE : identical ? DIFF_IDENTICAL : DIFF_DIFFERS;
}
