/*
 * cmd_fsck.c - fsck.clonefs, also clonefs fsck: checks a volume from outside.
 *
 * It claims nothing and writes nothing, except deletions of garbage with
 * --repair; so it may run beside a writer, and be interrupted at any point.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "err.h"
#include "fsck.h"

/* fsck(8)'s exit codes */
enum { EX_CLEAN = 0, EX_CORRECTED = 1, EX_UNCORRECTED = 4, EX_OPERATIONAL = 8, EX_SYNTAX = 16, EX_CANCELLED = 32 };

enum { OPT_DEEP = CMD_LONG(0), OPT_REPAIR, OPT_JSON, OPT_PARALLEL, OPT_QUIET };

static const struct cmd_option options[] = {
	{ OPT_DEEP, "deep", NULL, "read and check all data, and compare the checkpoints with the whole log" },
	{ OPT_REPAIR, "repair", NULL, "delete what nothing refers to; without this nothing is ever changed" },
	{ OPT_PARALLEL, "parallel", "N", "requests at a time, 1 to 256 (default 16)" },
	{ OPT_QUIET, "quiet", NULL, "print errors only" },
	{ OPT_JSON, "json", NULL, "print the result as JSON" },
	{ 'o', "options", "LIST", "options of the store, as for mount -o" },
	{ 'a', NULL, NULL, "as fsck(8) at boot: the same as --quiet; changes nothing" },
	{ 'p', NULL, NULL, "the same as -a" },
	{ 'n', NULL, NULL, "change nothing, even with --repair" },
	{ 'y', NULL, NULL, "the same as --repair" },
	{ 'C', NULL, "[FD]", "write progress lines (stage, done, total) to this file descriptor" },
};

static const struct cmd_usage usage = {
	"fsck.clonefs", "STORE", "Checks the volume at STORE: log, checkpoints, tree and segments; with --deep every byte.", options,
	CL_ARRAY_LEN(options),
	"Exit codes, as fsck(8) has them: 0 clean; 1 garbage was deleted; 4 errors were found;\n"
	"8 it could not be checked; 16 wrong call; 32 interrupted.", EX_SYNTAX
};

struct args {
	const char *store_options;
	bool deep, repair, never, quiet, json;
	uint64_t width;
	int progress_fd;
};

static atomic_bool stop;

static void on_signal(int sig CL_UNUSED)
{
	atomic_store(&stop, true);
}

static int take_number(const char *option, const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	if (cmd_number(usage.program, option, text, ret))
		return -1;
	if (*ret >= min && *ret <= max)
		return 0;
	cmd_complain(usage.program, "%s %s: choose %" PRIu64 " to %" PRIu64, option, text, min, max);
	return -1;
}

static int take(void *user, int letter, const char *arg)
{
	struct args *a = user;
	uint64_t fd = 0;

	switch (letter) {
	case OPT_DEEP:
		a->deep = true;
		break;
	case OPT_REPAIR:
	case 'y':
		a->repair = true;
		break;
	case 'n':
		a->never = true;
		break;
	case 'a':
	case 'p':
	case OPT_QUIET:
		a->quiet = true;
		break;
	case OPT_JSON:
		a->json = true;
		break;
	case 'o':
		a->store_options = arg;
		break;
	case 'C':
		if (arg && take_number("-C", arg, 0, 1023, &fd))
			return -1;
		a->progress_fd = arg && fd ? (int)fd : -1; /* 0: on the terminal, which is the bar */
		break;
	default:
		return take_number("--parallel", arg, 1, 256, &a->width);
	}
	return 0;
}

static int check(struct fsck *k)
{
	struct meta *m = NULL;
	int rc = fsck_inventory(k);

	if (!rc)
		rc = fsck_chain(k);
	if (!rc)
		rc = fsck_runs(k);
	if (!rc)
		rc = fsck_map(k, &m);
	if (!rc && k->deep)
		rc = fsck_data(k, m);
	if (!rc)
		rc = fsck_garbage(k);
	if (m)
		meta_close(m);
	return rc;
}

static void print_summary(const struct fsck *k)
{
	char data[CMD_TEXT], read[CMD_TEXT];

	printf("%s: %s: %" PRIu64 " errors, %" PRIu64 " notes%s", k->store->address, k->errors ? "DAMAGED" : "clean", k->errors, k->notes,
	       k->repaired ? ", garbage deleted" : "");
	printf("; epoch %" PRIu64 " slot %" PRIu64 " LSN %" PRIu64 ", %zu objects, %" PRIu64 " inodes, %s in %" PRIu64 " segments",
	       k->tip_epoch, k->tip_slot, k->tip_lsn, k->object_count, k->inodes, cmd_bytes(k->data_bytes, data), k->segments);
	if (k->deep)
		printf(", %s of data read and verified", cmd_bytes(k->bytes_read, read));
	puts(k->live ? "; a writer is alive" : "");
}

static int print_json(struct fsck *k, int rc)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "address", json_object_new_string(k->store->address));
	json_object_object_add(o, "complete", json_object_new_boolean(rc == 0));
	if (rc)
		json_object_object_add(o, "error", json_object_new_string(err_last()));
	json_object_object_add(o, "errors", json_object_new_uint64(k->errors));
	json_object_object_add(o, "notes", json_object_new_uint64(k->notes));
	json_object_object_add(o, "repaired", json_object_new_uint64(k->repaired));
	json_object_object_add(o, "writer_alive", json_object_new_boolean(k->live));
	json_object_object_add(o, "epoch", json_object_new_uint64(k->tip_epoch));
	json_object_object_add(o, "slot", json_object_new_uint64(k->tip_slot));
	json_object_object_add(o, "lsn", json_object_new_uint64(k->tip_lsn));
	json_object_object_add(o, "objects", json_object_new_uint64(k->object_count));
	json_object_object_add(o, "inodes", json_object_new_uint64(k->inodes));
	json_object_object_add(o, "data_bytes", json_object_new_uint64(k->data_bytes));
	json_object_object_add(o, "segments", json_object_new_uint64(k->segments));
	json_object_object_add(o, "bytes_read", json_object_new_uint64(k->bytes_read));
	json_object_object_add(o, "findings", k->findings);
	k->findings = NULL;
	return cmd_print_json(usage.program, o);
}

static int finish(struct fsck *k, const struct args *a, int rc)
{
	int code = rc == -EINTR ? EX_CANCELLED : rc ? EX_OPERATIONAL : k->errors ? EX_UNCORRECTED : k->repaired ? EX_CORRECTED : EX_CLEAN;

	if (rc)
		cmd_complain(usage.program, "%s", err_last()[0] ? err_last() : err_text(rc));
	if (a->json)
		return print_json(k, rc) ? EX_OPERATIONAL : code;
	if (!rc && !(a->quiet && !k->errors))
		print_summary(k);
	return cmd_flush(usage.program, 0) ? EX_OPERATIONAL : code;
}

int cmd_fsck(int argc, char **argv)
{
	struct args a = { .width = 16, .progress_fd = -1 };
	struct sigaction on = { .sa_handler = on_signal };
	struct fsck k = { .bar.fd = -1, .stop = &stop };
	int code = EX_SYNTAX, at = cmd_parse(&usage, argc, argv, take, &a, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code))
		return code;
	rc = store_open(argv[at], a.store_options, &k.store);
	if (rc) {
		cmd_fail(usage.program, rc);
		return rc == ERR_CONFIG ? EX_SYNTAX : EX_OPERATIONAL;
	}
	sigaction(SIGINT, &on, NULL);
	sigaction(SIGTERM, &on, NULL);
	pthread_mutex_init(&k.mu, NULL);
	k.deep = a.deep;
	k.repair = a.repair && !a.never;
	k.quiet = a.quiet;
	k.width = (unsigned)a.width;
	k.bar.fd = a.progress_fd;
	k.findings = a.json ? json_object_new_array() : NULL;
	rc = check(&k);
	code = finish(&k, &a, rc);
	fsck_free(&k);
	store_close(k.store);
	return code;
}
