/*
 * main.c - the program clonefs: picks the subcommand, by its first argument
 * or by the name it was called by (mount.clonefs, fsck.clonefs).
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

#ifndef CLONELOVE_VERSION
#define CLONELOVE_VERSION "0.1"
#endif

static const struct command {
	const char *name, *as, *purpose;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "format", NULL, "make an empty volume", cmd_format },
	{ "mount", NULL, "mount a volume on a directory", cmd_mount },
	{ "sync", NULL, "wait until the store has everything written so far", cmd_sync },
	{ "stat", NULL, "show a volume or a mount: writer, lag, cache, requests, cost", cmd_stat },
	{ "unmount", NULL, "send what is left to the store, and unmount", cmd_unmount },
	{ "salvage", NULL, "show and extract what a dead or fenced writer had not sent", cmd_salvage },
	{ "dump", NULL, "print one object of a volume readably", cmd_dump },
	{ "fsck", "fsck.clonefs", "check a volume from outside", cmd_fsck },
	{ NULL, "mount.clonefs", NULL, cmd_mount_helper },
};

static int help(FILE *to, int code)
{
	fputs("Usage: clonefs COMMAND [OPTION]... [ARGUMENT]...\n"
	      "A file system whose every byte is on S3-compatible object storage.\n\nCommands:\n", to);
	for (size_t i = 0; i < CL_ARRAY_LEN(commands); i++)
		if (commands[i].name)
			fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].purpose);
	fputs("\nOptions:\n  -h, --help     print this and exit\n  -V, --version  print the version and exit\n\n"
	      "A STORE is s3://bucket/prefix or file:///absolute/path. Each command has --help; see clonefs(1).\n", to);
	return code;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0] ? argv[0] : "clonefs", '/');
	const char *called = slash ? slash + 1 : argv[0] ? argv[0] : "clonefs";

#ifndef SANITIZED /* the leak checker traces its own process */
	prctl(PR_SET_DUMPABLE, 0);
#endif
	for (size_t i = 0; i < CL_ARRAY_LEN(commands); i++) {
		if (commands[i].as && strcmp(called, commands[i].as) == 0) {
			logmsg_init(commands[i].as, LOGMSG_NOTICE);
			return commands[i].run(argc, argv);
		}
	}
	logmsg_init("clonefs", LOGMSG_NOTICE);
	if (argc < 2)
		return help(stderr, CMD_USAGE);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
		return cmd_flush("clonefs", help(stdout, CMD_OK));
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("clonefs " CLONELOVE_VERSION);
		return cmd_flush("clonefs", CMD_OK);
	}
	for (size_t i = 0; i < CL_ARRAY_LEN(commands); i++)
		if (commands[i].name && strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	cmd_complain("clonefs", "%s: no such command; see clonefs --help", argv[1]);
	return CMD_USAGE;
}
