/*
 * cmd.h - what the commands of all programs share: a program of subcommands,
 * option tables that are both the parser and the --help text, error lines,
 * exit codes, sizes.
 *
 * Single-threaded use.
 */
#ifndef CLONELOVE_CMD_H
#define CLONELOVE_CMD_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compiler.h"
#include "progress.h"

/* Exit codes (fsck.clonefs and mount.clonefs have those of fsck(8) and mount(8)). */
enum {
	CMD_OK = 0,
	CMD_FAILED = 1,
	CMD_USAGE = 2,
	CMD_BUSY = 3,        /* the volume has a live writer; the mount or the directory is in use */
	CMD_NOT_FOUND = 4,   /* nothing there, or something is where it must not be */
	CMD_UNAVAILABLE = 5, /* no answer, or not in time: worth trying again */
	CMD_DAMAGED = 6,     /* bytes are missing or wrong: run fsck.clonefs */
};

struct cmd_command {
	const char *name;    /* NULL: only by the name the program was called by */
	const char *as;      /* that name; NULL = none */
	const char *purpose; /* a line of --help */
	int (*run)(int argc, char **argv); /* argv[0] is the name as called; returns the exit code */
};

struct cmd_program {
	const char *name, *version, *purpose;
	const struct cmd_command *commands;
	size_t command_count;
	const char *notes; /* the end of --help */
};

/* All that main() does: switches core dumps off (secrets are read later), picks the command, or prints help or version. */
int cmd_main(const struct cmd_program *p, int argc, char **argv);

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

#endif
