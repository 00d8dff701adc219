/*
 * cmd_sync.c - clonefs sync: returns when the store has all that was written
 * before the call. The mount does the work; a crash here harms nothing.
 */
#include <stdio.h>

#include "cmd_drain.h"
#include "commands.h"
#include "control.h"

enum { OPT_JSON = CMD_LONG(0) };

static const struct cmd_option options[] = {
	{ OPT_JSON, "json", NULL, "print the result as JSON" },
};

static const struct cmd_usage usage = {
	"clonefs sync", "DIR", "Returns when the store has everything written on the mount at DIR before the call.", options,
	CL_ARRAY_LEN(options), "Exit codes: 0 done; 1 failed; 2 wrong call.", CMD_USAGE
};

static int take(void *user, int letter, const char *arg CL_UNUSED)
{
	*(bool *)user = letter == OPT_JSON;
	return 0;
}

int cmd_sync(int argc, char **argv)
{
	struct cmd_drain d;
	bool json = false;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, take, &json, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code))
		return code;
	cmd_drain_begin(&d, "sending to the store");
	rc = control_call(argv[at], "{\"do\":\"sync\"}", cmd_drain_line, &d);
	cmd_drain_end(&d);
	if (rc)
		return cmd_fail(usage.program, rc);
	if (json) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "synced", json_object_new_boolean(true));
		json_object_object_add(o, "bytes", json_object_new_uint64(d.bar.total));
		return cmd_print_json(usage.program, o);
	}
	return CMD_OK;
}
