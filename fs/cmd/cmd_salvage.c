/*
 * cmd_salvage.c - clonefs salvage: what a fenced or dead writer had not sent.
 * It reads the cache directory and, where asked, writes a directory of files.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "err.h"
#include "salvage.h"

enum { OPT_LIST = CMD_LONG(0), OPT_EXTRACT, OPT_AFTER, OPT_JSON };

static const struct cmd_option options[] = {
	{ OPT_LIST, "list", NULL, "print every unsent operation" },
	{ OPT_EXTRACT, "extract", "DIR", "write the data as files, inode-N, and a manifest.json into the new directory DIR" },
	{ OPT_AFTER, "after", "LSN", "leave out what the volume has up to this LSN (clonefs stat STORE --get lsn)" },
	{ OPT_JSON, "json", NULL, "print JSON" },
};

static const struct cmd_usage usage = {
	"clonefs salvage", "CACHE_DIR", "Shows what a fenced or dead writer left in its cache directory and had not sent.", options,
	CL_ARRAY_LEN(options),
	"Segments marked \"moved\" belong to a writer that was fenced: they are not part of the volume and never will be.\n"
	"The others are the log of a writer that has not come back: mounting on that node again sends what is missing.\n"
	"Exit codes: 0 printed (also where there is nothing); 1 failed; 2 wrong call.", CMD_USAGE
};

struct args {
	bool list, json;
	const char *extract;
	uint64_t after;
};

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;

	if (letter == OPT_LIST)
		a->list = true;
	else if (letter == OPT_EXTRACT)
		a->extract = arg;
	else if (letter == OPT_AFTER)
		return cmd_number(usage.program, "--after", arg, &a->after);
	else
		a->json = true;
	return 0;
}

static bool shown(const struct salvage *s, const struct salvage_segment *g)
{
	return g->last_lsn > s->after_lsn;
}

static struct json_object *segments_json(const struct salvage *s)
{
	struct json_object *all = json_object_new_array();

	for (size_t i = 0; i < s->count; i++) {
		const struct salvage_segment *g = &s->segments[i];
		struct json_object *o;
		char id[24];

		if (!shown(s, g))
			continue;
		o = json_object_new_object();
		snprintf(id, sizeof(id), "%016" PRIx64, segment_header(g->s)->id);
		json_object_object_add(o, "segment", json_object_new_string(id));
		json_object_object_add(o, "moved", json_object_new_boolean(g->moved));
		json_object_object_add(o, "epoch", json_object_new_uint64(segment_header(g->s)->epoch));
		json_object_object_add(o, "first_lsn", json_object_new_uint64(g->first_lsn));
		json_object_object_add(o, "last_lsn", json_object_new_uint64(g->last_lsn));
		json_object_object_add(o, "operations", json_object_new_uint64(g->records));
		json_object_object_add(o, "missing", json_object_new_uint64(g->missing));
		json_object_object_add(o, "written_bytes", json_object_new_uint64(g->written_bytes));
		json_object_array_add(all, o);
	}
	return all;
}

static void print_segments(const struct salvage *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct salvage_segment *g = &s->segments[i];
		char from[CMD_TEXT], to[CMD_TEXT], size[CMD_TEXT];

		if (!shown(s, g))
			continue;
		n++;
		printf("segment %016" PRIx64 " %s epoch %" PRIu64 " LSN %" PRIu64 "-%" PRIu64 ": %" PRIu64 " operations, %s written, %s to %s\n",
		       segment_header(g->s)->id, g->moved ? "moved" : "log", segment_header(g->s)->epoch, g->first_lsn, g->last_lsn, g->records,
		       cmd_bytes(g->written_bytes, size), cmd_time(g->from_ns, from), cmd_time(g->to_ns, to));
		if (g->missing)
			printf("        %" PRIu64 " operations before or between these are damaged: they are left out\n", g->missing);
	}
	if (s->unreadable)
		printf("%zu files in salvage/ have a damaged header: nothing can be got out of them\n", s->unreadable);
	if (!n && !s->unreadable)
		puts("nothing to salvage");
	if (!s->disk)
		puts("(a mount holds the directory: its own log is not shown)");
}

struct lister { struct json_object *all; };

static int list_record(void *user, const struct salvage_segment *g CL_UNUSED, struct record *r)
{
	struct lister *l = user;
	struct json_object *changes = json_object_new_array(), *o;
	const uint8_t *key, *val;
	size_t klen, vlen;
	char time[CMD_TEXT];
	int rc;

	while ((rc = record_next(r, &key, &klen, &val, &vlen)) > 0)
		json_object_array_add(changes, salvage_change_json(key, klen, val, vlen));
	if (l->all) {
		o = json_object_new_object();
		json_object_object_add(o, "lsn", json_object_new_uint64(r->lsn));
		json_object_object_add(o, "time", json_object_new_string(cmd_time(r->real_ns, time)));
		json_object_object_add(o, "written_bytes", json_object_new_uint64(r->data_len));
		json_object_object_add(o, "changes", changes);
		json_object_array_add(l->all, o);
		return rc;
	}
	printf("%" PRIu64 " %s %s\n", r->lsn, cmd_time(r->real_ns, time),
	       json_object_to_json_string_ext(changes, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(changes);
	return rc;
}

static int show(struct salvage *s, const struct args *a, struct json_object *o)
{
	struct lister l = { NULL };
	int rc = 0;

	if (o)
		json_object_object_add(o, "segments", segments_json(s));
	else
		print_segments(s);
	if (!a->list)
		return 0;
	if (o) {
		l.all = json_object_new_array();
		json_object_object_add(o, "operations", l.all);
	}
	rc = salvage_walk(s, list_record, &l);
	return rc && !err_last()[0] ? err_set(rc, "reading the records: %s", err_text(rc)) : rc;
}

static int extract(struct salvage *s, const char *dir, struct json_object *o)
{
	struct progress bar = PROGRESS_INIT;
	struct salvage_counts n;
	char size[CMD_TEXT], elsewhere[CMD_TEXT];
	int rc;

	progress_begin(&bar, "writing the files", 0);
	rc = salvage_extract(s, dir, &n);
	progress_end(&bar);
	if (rc)
		return rc;
	if (o) {
		json_object_object_add(o, "extracted_files", json_object_new_uint64(n.files));
		json_object_object_add(o, "extracted_bytes", json_object_new_uint64(n.bytes));
		json_object_object_add(o, "elsewhere_bytes", json_object_new_uint64(n.elsewhere_bytes));
	} else {
		printf("%s: %" PRIu64 " operations; %s in %" PRIu64 " files; %s more are referred to that other segments hold\n", dir, n.operations,
		       cmd_bytes(n.bytes, size), n.files, cmd_bytes(n.elsewhere_bytes, elsewhere));
	}
	return 0;
}

int cmd_salvage(int argc, char **argv)
{
	struct args a = { 0 };
	struct progress bar = PROGRESS_INIT;
	struct salvage s;
	struct json_object *o = NULL;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code))
		return code;
	progress_begin(&bar, "reading the segments", 0);
	rc = salvage_open(argv[at], &s);
	progress_end(&bar);
	if (rc)
		return cmd_fail(usage.program, rc);
	s.after_lsn = a.after;
	o = a.json ? json_object_new_object() : NULL;
	rc = a.extract ? extract(&s, a.extract, o) : 0;
	if (!rc)
		rc = show(&s, &a, o);
	salvage_close(&s);
	if (rc) {
		json_object_put(o);
		return cmd_flush(usage.program, cmd_fail(usage.program, rc));
	}
	return o ? cmd_print_json(usage.program, o) : cmd_flush(usage.program, CMD_OK);
}
