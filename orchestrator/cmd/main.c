/*
 * main.c - the program clonectl: its commands.
 */
#include "clonectl.h"

#ifndef CLONELOVE_VERSION
#define CLONELOVE_VERSION "0.1"
#endif

static const struct cmd_command commands[] = {
	{ "init", NULL, "make a cluster in a store", cmd_init },
	{ "controller", NULL, "watch the members, and keep the pools' answers", cmd_controller },
	{ "status", NULL, "show the members, the pools, and what is wrong", cmd_status },
	{ "log", NULL, "show what was decided, by whom, and why", cmd_log },
	{ "pool", NULL, "make a pool; list, add, drain and remove its members", cmd_pool },
};

static const struct cmd_program program = {
	"clonectl", CLONELOVE_VERSION, "Keeps a site's machines: which there are, and which of them are in the answers of its names.", commands, CL_ARRAY_LEN(commands),
	"Each command has --help; see clonectl(1), and clonectl.conf(5) for the configuration.",
};

int main(int argc, char **argv)
{
	return cmd_main(&program, argc, argv);
}
