/*
 * clonectl.h - the commands of clonectl, and what they share: which cluster, and its store.
 *
 * To add a command: a function below, a line in main.c, its section in clonectl(1) and its options in the completion (tools/check-docs.sh looks). One that
 * looks at a cluster begins its options with WHERE_OPTIONS and calls place_open().
 */
#ifndef CLONELOVE_CLONECTL_H
#define CLONELOVE_CLONECTL_H

#include "cluster.h"
#include "cmd.h"
#include "conf.h"

int cmd_init(int argc, char **argv);
int cmd_controller(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_pool(int argc, char **argv);

#define CLONECTL_CONF "/etc/clonelove/clonectl.conf"

struct where { const char *config, *store; };

#define WHERE_OPTIONS \
	{ 'c', "config", "FILE", "the configuration (default /etc/clonelove/clonectl.conf, where there is one)" }, \
	{ 's', "store", "STORE", "the cluster's address, whatever the configuration says: s3://BUCKET/PREFIX, file:///DIR" }
/* Takes one of the options above; user: a struct where (which may begin a bigger one). */
int where_take(void *user, int letter, const char *arg);

struct place {
	struct conf conf;       /* empty where there is no file */
	struct store *store;
	struct cluster cluster;
	const char *name, *host; /* of [clonectl]; name: else one made of the host name; host: "" */
	char host_name[CLUSTER_LABEL_MAX];
};
/* 0, or an error with a message; then there is nothing to close. */
int place_open(const struct where *w, struct place *ret);
void place_close(struct place *p);

#endif
