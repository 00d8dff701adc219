/*
 * tree.h - the same random operations on two directories: one of the file system under test, one of another that is trusted (ext4).
 * Every system call must give the same result or the same errno on both, and leave the same behind: the trusted one is the model,
 * of names, types, modes, owners, link counts, sizes, times that were set, attributes, ACLs and bytes.
 *
 * Several processes work at once. Each has a directory of its own, and names of its own in two directories that all share, so that what
 * a process does has one right outcome whatever the others do. Each acts as root and as two users by turns (setfsuid(2)), so that permissions
 * are compared too.
 */
#ifndef CLONELOVE_TEST_TREE_H
#define CLONELOVE_TEST_TREE_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "../../lib/rng.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PATH_ROOM 512
#define SLOTS 8

/* The two sides: 0 the one under test, 1 the trusted one. `result` is what a call gave on each: 0 or more, or -errno. */
extern int tree_root[2];
extern const char *const tree_side[2];
extern long result[2];

/* Files and directories held open, the same on both sides; -1 = none. Names of those that are open may be gone. */
struct slot { int fd[2]; };
extern struct slot slots[SLOTS];

#define BOTH(call)                                                                                                                                   \
	do {                                                                                                                                         \
		for (int s = 0; s < 2; s++) {                                                                                                        \
			long value_ = (long)(call);                                                                                                  \
			result[s] = value_ < 0 ? -errno : value_;                                                                                    \
		}                                                                                                                                    \
	} while (0)

size_t below(size_t n);
bool chance(size_t one_in);
/* A path of this process below the root; into buf of PATH_ROOM bytes. */
const char *some_path(char *buf);
const char *some_name(char *buf);
mode_t some_mode(void);
void some_bytes(void *p, size_t len);

/* Says what is done now, for the history. */
void saying(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The two sides differ: prints the last operations and why, and ends the process with 1. */
void differ(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Both results must be equal. */
void agree(void);
/* The test itself cannot go on (no memory, no space on the trusted side): ends the process with 2. */
void cannot(const char *what) __attribute__((noreturn));

/* names.c */
void do_open(void);
void do_mkdir(void);
void do_mknod(void);
void do_symlink(void);
void do_link(void);
void do_unlink(void);
void do_rmdir(void);
void do_rename(void);
void do_chmod(void);
void do_chown(void);
void do_utimes(void);
void do_truncate(void);
void do_setxattr(void);
void do_removexattr(void);
void do_setacl(void);
void do_readlink(void);
void do_stat(void);
void do_access(void);
void do_list(void);
void do_tmpfile(void);

/* files.c: on the slots */
void do_close(void);
void do_write(void);
void do_read(void);
void do_ftruncate(void);
void do_fchmod(void);
void do_fchown(void);
void do_fallocate(void);
void do_copy(void);
void do_map(void);
void do_fsync(void);
void do_at(void);
/* Opens on both sides (as openat), and keeps the descriptors in a slot with one chance in two. */
void open_both(const int dir[2], const char *path, int flags, mode_t mode);

/* compare.c: what is there, in full; differ() where it is not the same */
void compare_stat(const struct stat *a, const struct stat *b, const char *path);
/* Only in a set-group-id that means nothing (compare.c). */
bool differ_in_nothing(const struct stat st[2]);
void compare_path(const char *path); /* and the directory it is in */
void compare_fds(const int fd[2], const char *what);
/* Everything below path ("." = all); of a shared directory's names only those that begin with prefix, when that is not NULL. */
void compare_tree(const char *path, const char *prefix);
void compare_list(const int dir[2], const char *path, const char *prefix);

#endif
