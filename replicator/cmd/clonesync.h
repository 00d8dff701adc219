/*
 * clonesync.h - the commands of clonesync, and what those share that ask a running one.
 *
 * To add a command: a function below, a line in main.c, its section in clonesync(1) and its options in the completion (tools/check-docs.sh looks). One that
 * asks the running clonesync begins its options with ASK_OPTIONS and calls ask(); what answers it is a row in answer.c.
 */
#ifndef CLONELOVE_CLONESYNC_H
#define CLONELOVE_CLONESYNC_H

#include "cmd.h"

int cmd_run(int argc, char **argv);
int cmd_join(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_peers(int argc, char **argv);
int cmd_forget(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_rescan(int argc, char **argv);
int cmd_scrub(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_trash(int argc, char **argv);
int cmd_missing(int argc, char **argv);
int cmd_diff(int argc, char **argv);

#define SOCKET_NAME "control" /* in the state directory */

struct ask_where { const char *state_dir, *config; bool json; };

#define ASK_OPTIONS \
	{ 'c', "config", "FILE", "the configuration file of the clonesync to ask (default /etc/clonelove/clonesync.conf)" }, \
	{ 's', "state-dir", "DIR", "its state directory, whatever a configuration file says" }
#define ASK_OPTION_JSON { ASK_LETTER_JSON, "json", NULL, "print JSON" }
enum { ASK_LETTER_JSON = CMD_LONG(100) };

/* Takes one of the options above; for cmd_parse, user: a struct ask_where (which may begin a bigger one). */
int ask_take(void *user, int letter, const char *arg);
/*
 * Asks; each line of the answer goes to each() (which may be NULL), the last one to *ret_last (to be put; NULL on failure). 0 or an error with a message;
 * -ENOTCONN: nobody answers there.
 */
int ask(const struct ask_where *w, const char *request, int (*each)(void *user, const char *line), void *user, struct json_object **ret_last);
/* Prints the error of an ask; returns the exit code. */
int ask_fail(const char *program, int rc);

#endif
