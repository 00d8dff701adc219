/*
 * main.c - the program clonefs, mount.clonefs and fsck.clonefs: its commands.
 */
#include "commands.h"

#ifndef CLONELOVE_VERSION
#define CLONELOVE_VERSION "0.1"
#endif

static const struct cmd_command commands[] = {
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

static const struct cmd_program program = {
	"clonefs", CLONELOVE_VERSION, "A file system whose every byte is on S3-compatible object storage.", commands, CL_ARRAY_LEN(commands),
	"A STORE is s3://bucket/prefix or file:///absolute/path. Each command has --help; see clonefs(1).",
};

int main(int argc, char **argv)
{
	return cmd_main(&program, argc, argv);
}
