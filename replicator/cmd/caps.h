/*
 * caps.h - root's rights, given up but for those that a replicator needs: capabilities(7).
 */
#ifndef CLONELOVE_CAPS_H
#define CLONELOVE_CAPS_H

#include <stdbool.h>

/*
 * Before any thread, once. As root: keeps what reading and making anybody's files takes (and, low_port, listening below port 1024), drops the rest from all
 * sets for good. Else nothing. ret (CAPS_TEXT bytes): what was done, for the log; "" = nothing. 0, or -errno with a message.
 */
#define CAPS_TEXT 512
int caps_drop(bool low_port, char *ret);

#endif
