/*
 * ask.c - asks the clonesync that runs with a state directory, and the commands that do no more than that. No state.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clonesync.h"
#include "ctlsock.h"
#include "err.h"
#include "settings.h"

int ask_take(void *user, int letter, const char *arg)
{
	struct ask_where *w = user;

	if (letter == 'c')
		w->config = arg;
	else if (letter == 's')
		w->state_dir = arg;
	else
		w->json = true;
	return 0;
}

static int socket_path(const struct ask_where *w, char *ret, size_t cap)
{
	struct settings s;
	int rc = settings_init(&s);

	if (!rc && !w->state_dir)
		rc = settings_find(&s, w->config);
	if (!rc && (size_t)snprintf(ret, cap, "%s/" SOCKET_NAME, w->state_dir ? w->state_dir : s.state_dir) >= cap)
		rc = err_set(ERR_CONFIG, "the path of the state directory is too long");
	settings_free(&s);
	return rc;
}

int ask(const struct ask_where *w, const char *request, int (*each)(void *user, const char *line), void *user, struct json_object **ret_last)
{
	char path[4096];
	int fd, rc = socket_path(w, path, sizeof(path));

	*ret_last = NULL;
	if (rc)
		return rc;
	fd = ctlsock_dial(path);
	if (fd == -ENOENT || fd == -ECONNREFUSED || fd == -ENOTDIR)
		return err_set(-ENOTCONN, "no clonesync runs with this state directory: nobody answers on %s", path);
	if (fd < 0)
		return err_set(fd, "cannot ask on %s: %s", path, strerror(-fd));
	rc = ctlsock_ask(fd, request, each, user, ret_last);
	close(fd);
	if (rc)
		return err_set(rc, "clonesync went away before it answered (%s); its log says why", err_text(rc));
	rc = ctlsock_result(*ret_last, "clonesync");
	if (rc) {
		json_object_put(*ret_last);
		*ret_last = NULL;
	}
	return rc;
}

int ask_fail(const char *program, int rc)
{
	int code = cmd_fail(program, rc);

	return rc == -ENOTCONN ? CMD_NOT_FOUND : rc == -ETIMEDOUT ? CMD_UNAVAILABLE : code;
}

/* --- commands that ask, and say nothing when it is done --- */

static const struct cmd_option options[] = { ASK_OPTIONS };

#define ASK_USAGE(name, purpose, notes) \
	{ "clonesync " name, "", purpose, options, CL_ARRAY_LEN(options), notes "Exit codes: 0 done; 1 failed; 2 wrong call; 4 none runs.", CMD_USAGE }

static int simple(const struct cmd_usage *usage, const char *request, int argc, char **argv)
{
	struct ask_where w = { .state_dir = NULL };
	struct json_object *last;
	int code = CMD_USAGE, at = cmd_parse(usage, argc, argv, ask_take, &w, &code), rc;

	if (at < 0 || cmd_operands(usage, argc - at, 0, 0, &code))
		return code;
	rc = ask(&w, request, NULL, NULL, &last);
	json_object_put(last);
	return rc ? ask_fail(usage->program, rc) : CMD_OK;
}

int cmd_forget(int argc, char **argv)
{
	static const struct cmd_usage usage = { "clonesync forget", "MEMBER", "Ends the membership of a member that is gone for good: nobody waits for it any more, and its key "
		"never comes back. MEMBER is its name, its address, or the first 8 digits or more of its key, as clonesync peers shows them.", options,
		CL_ARRAY_LEN(options), "A machine that was forgotten can join again as a new member, with an empty directory and a new state directory.\n"
		"Exit codes: 0 done; 1 no such member, or failed; 2 wrong call; 4 none runs.", CMD_USAGE };
	struct ask_where w = { .state_dir = NULL };
	struct json_object *request = json_object_new_object(), *last = NULL;
	int code = CMD_USAGE, at = cmd_parse(&usage, argc, argv, ask_take, &w, &code), rc;

	if (at < 0 || cmd_operands(&usage, argc - at, 1, 1, &code)) {
		json_object_put(request);
		return code;
	}
	rc = request && json_object_object_add(request, "do", json_object_new_string("forget")) == 0 &&
		json_object_object_add(request, "member", json_object_new_string(argv[at])) == 0 ? 0 : -ENOMEM;
	if (!rc)
		rc = ask(&w, json_object_to_json_string_ext(request, JSON_C_TO_STRING_PLAIN), NULL, NULL, &last);
	json_object_put(request);
	json_object_put(last);
	return rc ? ask_fail(usage.program, rc) : CMD_OK;
}

int cmd_rescan(int argc, char **argv)
{
	static const struct cmd_usage usage = ASK_USAGE("rescan", "Has every file looked at again, as after a start. Needed only where one suspects that a change "
		"was missed.", "It returns at once; clonesync status shows how many are left (dirty).\n");

	return simple(&usage, "{\"do\":\"rescan\"}", argc, argv);
}

int cmd_scrub(int argc, char **argv)
{
	static const struct cmd_usage usage = ASK_USAGE("scrub", "Has all that is held read again now, slowly, and compared with what was written: what has changed with "
		"nobody's doing is restored from other members.", "It returns at once; clonesync status shows how far it is, and what it found.\n");

	return simple(&usage, "{\"do\":\"scrub\"}", argc, argv);
}

int cmd_pause(int argc, char **argv)
{
	static const struct cmd_usage usage = ASK_USAGE("pause", "Ends the connections to all peers, and makes and takes none until resume or the next start.",
		"What is changed here meanwhile is noted, and sent then.\n");

	return simple(&usage, "{\"do\":\"pause\"}", argc, argv);
}

int cmd_resume(int argc, char **argv)
{
	static const struct cmd_usage usage = ASK_USAGE("resume", "Calls the peers again after a pause.", "");

	return simple(&usage, "{\"do\":\"resume\"}", argc, argv);
}
