/*
 * status.h - what clonectl status shows: all objects as the store has them, with ages by the store's own clock.
 */
#ifndef CLONELOVE_STATUS_H
#define CLONELOVE_STATUS_H

#include "cluster.h"
#include "view.h"

struct status_age { char name[CLUSTER_LABEL_MAX]; int64_t s; };

struct status {
	struct view now;
	struct cluster_leader leader;     /* epoch 0: there was none yet */
	int64_t leader_age_s;
	struct cluster_view view;         /* epoch 0: none was written yet */
	struct status_age *reports;       /* how old each report is */
	size_t report_count, report_cap;
	int64_t clock_s;                  /* the store's */
};

/* 0; -ENOENT: there is no cluster; others, with a message. status_free in any case. */
int status_read(const struct cluster *c, struct status *ret);
void status_free(struct status *s);
/* -1: there is no report. */
int64_t status_report_age(const struct status *s, const char *name);

void status_print(const struct cluster *c, const struct status *s);
struct json_object *status_json(const struct status *s); /* NULL: no memory */

#endif
