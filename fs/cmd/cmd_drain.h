/* cmd_drain.h - follows a mount's {"progress":bytes_left} lines as a bar; for sync and unmount. */
#ifndef CLONELOVE_CMD_DRAIN_H
#define CLONELOVE_CMD_DRAIN_H

#include "cmd.h"

struct cmd_drain {
	struct progress bar; /* bar.total: the most bytes that were left */
	uint64_t bytes_left;
	int pid;             /* of the mount, from its last line; 0 = not told */
};

void cmd_drain_begin(struct cmd_drain *d, const char *what);
int cmd_drain_line(void *user, const char *line); /* for control_call */
void cmd_drain_end(struct cmd_drain *d);

#endif
