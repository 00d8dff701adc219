/*
 * cmd.h - what the subcommands of clonefs share: option tables that are both
 * the parser and the --help text, error lines, exit codes, sizes, progress.
 *
 * Single-threaded use, except where it says so.
 */
#ifndef CLONELOVE_CMD_H
#define CLONELOVE_CMD_H

#include <json-c/json.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

/* Exit codes of clonefs (fsck.clonefs and mount.clonefs have those of fsck(8) and mount(8)). */
enum {
	CMD_OK = 0,
	CMD_FAILED = 1,
	CMD_USAGE = 2,
	CMD_BUSY = 3,        /* the volume has a live writer, or the mount is in use */
	CMD_NOT_FOUND = 4,   /* no volume there, or it exists already where it must not */
	CMD_UNAVAILABLE = 5, /* the store does not answer: worth trying again */
	CMD_DAMAGED = 6,     /* bytes are missing or wrong: run fsck.clonefs */
};

#define CMD_LONG(n) (256 + (n)) /* the letter of an option that has none */

struct cmd_option {
	int letter;       /* short form, or CMD_LONG(n) */
	const char *name; /* long form; NULL = none */
	const char *arg;  /* its argument's name; NULL = none; "[N]" = optional, attached */
	const char *help;
};

struct cmd_usage {
	const char *program;  /* "clonefs format" */
	const char *operands; /* "STORE" */
	const char *purpose;
	const struct cmd_option *options;
	size_t option_count;
	const char *notes;    /* the end of --help; NULL = none */
	int usage_exit;       /* exit code of a wrong call */
};

/*
 * Parses the options; take() gets each (non-zero = a wrong call, after it printed why). --help prints and ends.
 * Returns the index of the first operand (operands are moved to the end of argv), or -1 with *ret_exit to exit with.
 */
int cmd_parse(const struct cmd_usage *u, int argc, char **argv, int (*take)(void *user, int letter, const char *arg), void *user,
	      int *ret_exit);
/* Checks the number of operands; 0 or -1 (message printed, *ret_exit set). */
int cmd_operands(const struct cmd_usage *u, int given, int min, int max, int *ret_exit);
/* One line on stderr: "program: message". */
void cmd_complain(const char *program, const char *fmt, ...) CL_PRINTF(2, 3);
/* Prints err_last() (or err_text) as the one error line; returns the exit code for rc. */
int cmd_fail(const char *program, int rc);
int cmd_exit_code(int rc);

/* "1.5 GiB"; "2 m 03 s"; ret: CMD_TEXT bytes. */
#define CMD_TEXT 48
const char *cmd_bytes(uint64_t bytes, char *ret);
const char *cmd_seconds(double s, char *ret);
const char *cmd_hex(const uint8_t *p, size_t len, char *ret); /* 2 * len + 1 bytes */
const char *cmd_time(uint64_t real_ns, char *ret);            /* RFC 3339, UTC */
/* A decimal number; -1 and a message where it is not one. */
int cmd_number(const char *program, const char *option, const char *text, uint64_t *ret);

/* Prints a JSON document on stdout, and frees it. Returns CMD_OK or CMD_FAILED. */
int cmd_print_json(const char *program, struct json_object *o);
/* Flushes stdout; CMD_FAILED with a message when that fails (disk full). */
int cmd_flush(const char *program, int code);

/*
 * A line on stderr where that is a terminal: what goes on, a bar where the total is known, and for how long; else silent. It is drawn each second,
 * whatever its owner does meanwhile. fd >= 0: lines "stage done total" there too, as fsck(8)'s -C has it. One at a time in a process.
 */
struct progress {
	const char *what;
	int stage, fd;
	bool tty, drawn;
	_Atomic uint64_t done, total; /* total 0: not known */
	uint64_t begun_ns, drawn_ns;
};
#define PROGRESS_INIT { .fd = -1 }
void progress_begin(struct progress *p, const char *what, uint64_t total);
void progress_add(struct progress *p, uint64_t n); /* any thread */
void progress_draw(struct progress *p);            /* any thread; cheap to call often */
void progress_say(struct progress *p, const char *what); /* another `what`, borrowed, from here on */
void progress_hide(struct progress *p);            /* any thread: something is to be printed */
void progress_end(struct progress *p);

/* The commands: argv[0] is the name as called. Return the exit code. */
int cmd_format(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_mount_helper(int argc, char **argv);
int cmd_sync(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_unmount(int argc, char **argv);
int cmd_salvage(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_fsck(int argc, char **argv);

#endif
