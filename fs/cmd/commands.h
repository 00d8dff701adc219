/*
 * commands.h - the commands of clonefs, fsck.clonefs and mount.clonefs. argv[0] is the name as called; they return the exit code.
 */
#ifndef CLONELOVE_COMMANDS_H
#define CLONELOVE_COMMANDS_H

#include "cmd.h"

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
