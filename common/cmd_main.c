/*
 * cmd_main.c - a program of subcommands: picks one by its first argument, or by
 * the name the program was called by.
 *
 * Secrets come from the environment and files only; core dumps are switched
 * off here, for every command, before any is read.
 */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "cmd.h"
#include "logmsg.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

static int help(const struct cmd_program *p, FILE *to, int code)
{
	fprintf(to, "Usage: %s COMMAND [OPTION]... [ARGUMENT]...\n%s\n\nCommands:\n", p->name, p->purpose);
	for (size_t i = 0; i < p->command_count; i++)
		if (p->commands[i].name)
			fprintf(to, "  %-10s %s\n", p->commands[i].name, p->commands[i].purpose);
	fprintf(to, "\nOptions:\n  -h, --help     print this and exit\n  -V, --version  print the version and exit\n\n%s\n", p->notes);
	return code;
}

int cmd_main(const struct cmd_program *p, int argc, char **argv)
{
	const char *slash = strrchr(argv[0] ? argv[0] : p->name, '/');
	const char *called = slash ? slash + 1 : argv[0] ? argv[0] : p->name;

#ifndef SANITIZED /* the leak checker traces its own process */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	for (size_t i = 0; i < p->command_count; i++) {
		if (p->commands[i].as && strcmp(called, p->commands[i].as) == 0) {
			logmsg_init(p->commands[i].as, LOGMSG_NOTICE);
			return p->commands[i].run(argc, argv);
		}
	}
	logmsg_init(p->name, LOGMSG_NOTICE);
	if (argc < 2)
		return help(p, stderr, CMD_USAGE);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
		return cmd_flush(p->name, help(p, stdout, CMD_OK));
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("%s %s\n", p->name, p->version);
		return cmd_flush(p->name, CMD_OK);
	}
	for (size_t i = 0; i < p->command_count; i++)
		if (p->commands[i].name && strcmp(argv[1], p->commands[i].name) == 0)
			return p->commands[i].run(argc - 1, argv + 1);
	cmd_complain(p->name, "%s: no such command; see %s --help", argv[1], p->name);
	return CMD_USAGE;
}
