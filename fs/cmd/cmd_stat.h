/* cmd_stat.h - the two halves of clonefs stat. */
#ifndef CLONELOVE_CMD_STAT_H
#define CLONELOVE_CMD_STAT_H

#include <json-c/json.h>
#include <stdbool.h>

#include "price.h"

/* What can be said of a volume from its store alone; *ret is the caller's. Claims nothing. */
int stat_store(const char *address, const char *store_options, bool quick, const struct price *price, struct json_object **ret);
void stat_add_dollars(struct json_object *o, const char *name, double x);

#endif
