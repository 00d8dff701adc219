/*
 * simtree_impl.h - the inside of the simulated tree: simtree.c (names, looking, contents, making), simtree_move.c (moving, syncing, losing),
 * simtree_trash.c.
 */
#ifndef CLONELOVE_SIMTREE_IMPL_H
#define CLONELOVE_SIMTREE_IMPL_H

#include "syncworld.h"

struct tree_file { struct sim_tree *s; struct inode *in; bool leased; };

static inline struct sim_tree *sim_of(struct tree *t) { return (struct sim_tree *)(void *)t; } /* the first member */

struct name *names_find(const struct sim_tree *s, const char *path);
void names_journal(struct sim_tree *s);          /* before a change of names */
void names_add(struct sim_tree *s, const char *path, struct inode *in);
void names_drop(struct sim_tree *s, const char *path);
void names_move(struct sim_tree *s, const char *from, const char *to); /* with everything below it */
void names_taken(struct sim_tree *s, const char *temp, const char *path); /* what is the temp now was at path */
bool names_below(const char *path, const char *dir);
bool names_in_corner(const char *path);
int names_parent(const struct sim_tree *s, const char *path); /* the directory that path is in: 0, -ENOENT, -ENOTDIR, -ELOOP */
bool names_is_empty(const struct sim_tree *s, const char *dir);

void tree_tell(struct sim_tree *s, const char *path); /* the watcher */
/* What happens at each call, and behind it: death, users, faults. */
int tree_enter(struct tree *t, bool changes);
void tree_leave(struct tree *t);
int tree_resolve(struct tree *t, const char *path, bool changes, struct inode **ret);
int tree_resolve_temp(struct tree *t, const char *temp, bool changes, struct inode **ret);
const char *tree_corner(const char *dir, const char *name); /* static storage */

void tree_fill_stat(const struct sim_tree *s, const struct inode *in, struct tree_stat *ret);
void tree_describe_inode(const struct sim_tree *s, const struct inode *in, struct tree_stat *ret_st, struct entry *ret);
void simtree_looking(struct tree *t);
/* --- simtree_trash.c --- */
void simtree_trash(struct tree *t);
void simtree_trash_power_loss(struct sim_tree *s);

#endif
