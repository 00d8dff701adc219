/*
 * main.c - the program clonesync: its commands.
 */
#include "clonesync.h"

#ifndef CLONELOVE_VERSION
#define CLONELOVE_VERSION "0.1"
#endif

static const struct cmd_command commands[] = {
	{ "run", NULL, "keep a directory the same as the other members have it", cmd_run },
	{ "join", NULL, "fill an empty directory with what the cluster has", cmd_join },
	{ "keygen", NULL, "make a key for a cluster", cmd_keygen },
	{ "status", NULL, "show how far a running clonesync is", cmd_status },
	{ "peers", NULL, "show the members of the cluster", cmd_peers },
	{ "forget", NULL, "end the membership of one that is gone", cmd_forget },
	{ "wait", NULL, "wait until the directory is what the cluster has", cmd_wait },
	{ "diff", NULL, "show what differs from the other members", cmd_diff },
	{ "rescan", NULL, "look at every file again", cmd_rescan },
	{ "scrub", NULL, "read all files again, to find what has rotted", cmd_scrub },
	{ "pause", NULL, "leave the cluster alone for a while", cmd_pause },
	{ "resume", NULL, "go on after a pause", cmd_resume },
	{ "trash", NULL, "list, restore and remove what was deleted or lost a conflict", cmd_trash },
	{ "missing", NULL, "say what to make of much that is missing", cmd_missing },
};

static const struct cmd_program program = {
	"clonesync", CLONELOVE_VERSION, "Keeps a directory the same on every member of a cluster, whoever of them changes it.", commands, CL_ARRAY_LEN(commands),
	"Each command has --help; see clonesync(1), and clonesync.conf(5) for the configuration.",
};

int main(int argc, char **argv)
{
	return cmd_main(&program, argc, argv);
}
