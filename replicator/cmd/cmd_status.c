/*
 * cmd_status.c - clonesync status, clonesync peers and clonesync wait.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clonesync.h"
#include "err.h"
#include "text.h"

/* ---------------------------------------------------------------- status */

static const struct cmd_option status_options[] = { ASK_OPTIONS, ASK_OPTION_JSON };

static const struct cmd_usage status_usage = {
	"clonesync status", "", "Shows how far the running clonesync is.", status_options, CL_ARRAY_LEN(status_options),
	"Exit codes: 0 shown; 1 failed; 2 wrong call; 4 none runs.", CMD_USAGE
};

static const char *text_of(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) && x ? json_object_get_string(x) : "";
}

/* For a terminal, which names that others have chosen must not drive. */
struct shown { char text[512]; };

static const char *show(struct json_object *o, const char *name, struct shown *s)
{
	return text_shown(text_of(o, name), s->text, sizeof(s->text));
}

static uint64_t number_of(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) && x ? json_object_get_uint64(x) : 0;
}

static void print_pass(struct json_object *o, const char *when)
{
	char bytes[CMD_TEXT];

	printf("scrub      %s: %" PRIu64 " files read, %s, %" PRIu64 " rotten", when, number_of(o, "files"), cmd_bytes(number_of(o, "bytes"), bytes), number_of(o, "rotten"));
	if (number_of(o, "skipped"))
		printf("; %" PRIu64 " not read, as they were being changed", number_of(o, "skipped"));
	putchar('\n');
}

static void print_scrub(struct json_object *o)
{
	struct json_object *pass;
	char at[CMD_TEXT];

	if (json_object_object_get_ex(o, "last_scrub", &pass) && pass)
		print_pass(pass, cmd_time(number_of(pass, "ended_us") * 1000, at));
	if (json_object_object_get_ex(o, "scrub", &pass) && pass)
		print_pass(pass, "under way");
}

static void print_status(struct json_object *o)
{
	const char *behind = text_of(o, "behind");
	struct shown a, b;
	char up[CMD_TEXT];

	printf("directory  %s\n", show(o, "tree", &a));
	printf("member     %s (%.16s), up %s\n", show(o, "name", &a), show(o, "node", &b), cmd_seconds((double)number_of(o, "uptime_seconds"), up));
	printf("state      %s\n", *behind ? behind : "in sync");
	printf("peers      %" PRIu64 " up of %" PRIu64 "\n", number_of(o, "peers_up"), number_of(o, "members"));
	printf("paths      %" PRIu64 " known, %" PRIu64 " still to come, %" PRIu64 " to be looked at\n", number_of(o, "records"), number_of(o, "wanted"),
	       number_of(o, "dirty"));
	printf("root       %s\n", text_of(o, "root"));
	if (number_of(o, "unwatched_directories"))
		printf("watching   %" PRIu64 " directories; %" PRIu64 " for want of watches only once a minute (its log has the sysctl)\n",
		       number_of(o, "watched_directories"), number_of(o, "unwatched_directories"));
	if (number_of(o, "trash_items"))
		printf("trash      %" PRIu64 " items, %s\n", number_of(o, "trash_items"), cmd_bytes(number_of(o, "trash_bytes"), up));
	if (number_of(o, "undecided_seconds"))
		printf("undecided  for %s: what nobody seems to hold, or what becomes of a directory; a member is joining or scanning (clonesync peers)\n",
		       cmd_seconds((double)number_of(o, "undecided_seconds"), up));
	print_scrub(o);
	if (number_of(o, "rotten"))
		printf("rotten     %" PRIu64 " files, of which no member has given what was there yet: the log names them\n", number_of(o, "rotten"));
	if (number_of(o, "alerts"))
		printf("alerts     %" PRIu64 ": the log has them\n", number_of(o, "alerts"));
	if (*text_of(o, "refused"))
		printf("refused    %s\n", show(o, "refused", &a));
	if (*text_of(o, "error"))
		printf("error      %s\n", text_of(o, "error"));
}

/* JSON is what was answered, without what was for this program. */
static int print(const char *program, bool json, struct json_object *o)
{
	if (json) {
		json_object_object_del(o, "ok");
		return cmd_print_json(program, o);
	}
	print_status(o);
	json_object_put(o);
	return cmd_flush(program, CMD_OK);
}

int cmd_status(int argc, char **argv)
{
	struct ask_where w = { .state_dir = NULL };
	struct json_object *o;
	int code = CMD_USAGE, at = cmd_parse(&status_usage, argc, argv, ask_take, &w, &code), rc;

	if (at < 0 || cmd_operands(&status_usage, argc - at, 0, 0, &code))
		return code;
	rc = ask(&w, "{\"do\":\"status\"}", NULL, NULL, &o);
	return rc ? ask_fail(status_usage.program, rc) : print(status_usage.program, w.json, o);
}

/* ----------------------------------------------------------------- peers */

static const struct cmd_usage peers_usage = {
	"clonesync peers", "", "Shows the members of the cluster, as the running clonesync knows them.", status_options, CL_ARRAY_LEN(status_options),
	"Exit codes: 0 shown; 1 failed; 2 wrong call; 4 none runs.", CMD_USAGE
};

static bool is_set(struct json_object *o, const char *name)
{
	struct json_object *x;

	return json_object_object_get_ex(o, name, &x) && json_object_get_boolean(x);
}

/* user: the array. The last line, with "ok", is no member. */
static int keep_member(void *user, const char *line)
{
	struct json_object *o = json_tokener_parse(line);

	if (!o || json_object_object_get_ex(o, "ok", NULL) || json_object_array_add(user, o))
		json_object_put(o);
	return 0;
}

static void print_member(struct json_object *o)
{
	struct shown name, node, address;
	struct json_object *x;
	double clock_s = json_object_object_get_ex(o, "clock_us", &x) ? (double)json_object_get_int64(x) / 1e6 : 0;

	printf("%-20s %.16s %-28s %s", show(o, "name", &name), show(o, "node", &node), *show(o, "address", &address) ? address.text : "(cannot be called)",
	       is_set(o, "self") ? "this one" : !is_set(o, "up") ? "down" : is_set(o, "compared") ? "up" : "up, comparing");
	if (is_set(o, "scanning"))
		printf(", scanning");
	if (is_set(o, "joining"))
		printf(", joining");
	if (clock_s > 1 || clock_s < -1)
		printf(", its clock is %.1f s %s", clock_s > 0 ? clock_s : -clock_s, clock_s > 0 ? "ahead" : "behind");
	putchar('\n');
}

int cmd_peers(int argc, char **argv)
{
	struct ask_where w = { .state_dir = NULL };
	struct json_object *all = json_object_new_array(), *last;
	int code = CMD_USAGE, at = cmd_parse(&peers_usage, argc, argv, ask_take, &w, &code), rc;

	if (at < 0 || cmd_operands(&peers_usage, argc - at, 0, 0, &code)) {
		json_object_put(all);
		return code;
	}
	rc = all ? ask(&w, "{\"do\":\"peers\"}", keep_member, all, &last) : -ENOMEM;
	if (rc) {
		json_object_put(all);
		return ask_fail(peers_usage.program, rc);
	}
	json_object_put(last);
	if (w.json)
		return cmd_print_json(peers_usage.program, all);
	for (size_t i = 0; i < json_object_array_length(all); i++)
		print_member(json_object_array_get_idx(all, i));
	json_object_put(all);
	return cmd_flush(peers_usage.program, CMD_OK);
}

/* ------------------------------------------------------------------ wait */

enum { OPT_IN_SYNC = CMD_LONG(0), OPT_TIMEOUT };

static const struct cmd_option wait_options[] = {
	{ OPT_IN_SYNC, "in-sync", NULL, "until everything that the reachable peers have is here (what there is to wait for)" },
	{ OPT_TIMEOUT, "timeout", "S", "give up after so many seconds" },
	ASK_OPTIONS, ASK_OPTION_JSON,
};

static const struct cmd_usage wait_usage = {
	"clonesync wait", "", "Returns when the directory is what the cluster has.", wait_options, CL_ARRAY_LEN(wait_options),
	"Exit codes: 0 it is; 1 failed; 2 wrong call; 4 none runs; 5 not in time.", CMD_USAGE
};

struct wait_args {
	struct ask_where w; /* first */
	bool in_sync, timeout;
	uint64_t timeout_s;
	struct progress bar;
	char said[2][160];
	unsigned turn;
};

static int wait_take(void *user, int letter, const char *arg)
{
	struct wait_args *a = user;

	if (letter == OPT_TIMEOUT) {
		a->timeout = true;
		return cmd_number(wait_usage.program, "--timeout", arg, &a->timeout_s);
	}
	if (letter != OPT_IN_SYNC)
		return ask_take(user, letter, arg);
	a->in_sync = true;
	return 0;
}

static int wait_line(void *user, const char *line)
{
	struct wait_args *a = user;
	struct json_object *o = json_tokener_parse(line);
	const char *said = o ? text_of(o, "progress") : "";

	if (*said) {
		a->turn = !a->turn; /* the other one may be on its way to the terminal */
		snprintf(a->said[a->turn], sizeof(a->said[0]), "%s", said);
		progress_say(&a->bar, a->said[a->turn]);
		progress_draw(&a->bar);
	}
	json_object_put(o);
	return 0;
}

int cmd_wait(int argc, char **argv)
{
	struct wait_args a = { .bar = PROGRESS_INIT };
	char request[80] = "{\"do\":\"wait\"}";
	struct json_object *o;
	int code = CMD_USAGE, at = cmd_parse(&wait_usage, argc, argv, wait_take, &a, &code), rc;

	if (at < 0 || cmd_operands(&wait_usage, argc - at, 0, 0, &code))
		return code;
	if (!a.in_sync) {
		cmd_complain(wait_usage.program, "for what? --in-sync is what there is to wait for");
		return CMD_USAGE;
	}
	if (a.timeout)
		snprintf(request, sizeof(request), "{\"do\":\"wait\",\"timeout_ms\":%" PRIu64 "}", a.timeout_s < 1000000000 ? a.timeout_s * 1000 : UINT64_C(1000000000000));
	progress_begin(&a.bar, "waiting", 0);
	rc = ask(&a.w, request, wait_line, &a, &o);
	progress_end(&a.bar);
	if (rc)
		return ask_fail(wait_usage.program, rc);
	if (a.w.json)
		return print(wait_usage.program, true, o);
	json_object_put(o);
	return CMD_OK;
}
