/*
 * posix.h - a program that asks a file system, assertion by assertion, whether it is one: TAP on stdout.
 * Each suite runs in an empty directory of its own, which is the working directory, as root.
 */
#ifndef CLONELOVE_TEST_POSIX_H
#define CLONELOVE_TEST_POSIX_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

void suite_errors(void);
void suite_create(void);
void suite_owner(void);
void suite_permission(void);
void suite_setid(void);
void suite_rename(void);
void suite_links(void);
void suite_orphans(void);
void suite_data(void);
void suite_direct(void);
void suite_mmap(void);
void suite_space(void);
void suite_copy(void);
void suite_times(void);
void suite_names(void);
void suite_symlinks(void);
void suite_readdir(void);
void suite_xattr(void);
void suite_acl(void);
void suite_locks(void);
void suite_special(void);
void suite_races(void);
void suite_descriptors(void);
void suite_addresses(void);
void suite_flags(void);
void suite_limits(void);
void suite_opath(void);
void suite_mappings(void);
void suite_leases(void);
void suite_positions(void);
void suite_namespaces(void);
void suite_moments(void);
void suite_rwf(void);
void suite_sockets(void);
void suite_signals(void);
/* In a read-only mount (posixtest --readonly DIR), on what was made there before (posixtest --ground DIR). */
void suite_readonly(void);
void make_readonly_ground(void);

/* One TAP line. Returns pass. */
bool ok(bool pass, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void skip(const char *what, const char *why);
/* What the system call returned: 0 or more is 0, else the errno. */
#define CODE(call) ((call) < 0 ? errno : 0)
/* The call must fail with `code` (0 = succeed); the text says what was called for. */
void expect(int got, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define FAILS(call, code) expect(CODE(call), (code), "%s", #call)
#define OK(call) expect(CODE(call), 0, "%s", #call)

/* Makes the test itself work, or ends the program: what fails here is not an assertion but its ground. */
void need(bool fine, const char *what);
#define NEED(call) need((call) >= 0, #call)

void make_file(const char *path, const char *text, mode_t mode);
void make_dir(const char *path, mode_t mode);
struct stat stat_of(const char *path); /* lstat */
bool exists(const char *path);
/* The whole content, NUL after it; free it. NULL: cannot be read. */
char *content_of(const char *path, size_t *ret_len);
bool content_is(const char *path, const char *text);
/* Bytes that depend on seed and position. */
void fill(void *p, size_t len, uint64_t seed);
bool filled(const void *p, size_t len, uint64_t seed);

/* Runs fn in a child as that user, with one more group (or 0 = none); returns what fn returned (0..127). */
#define USER_A 10001
#define USER_B 10002
#define GROUP_A 20001
#define GROUP_B 20002
#define GROUP_C 20003
int run_as(uid_t uid, gid_t gid, gid_t extra, int (*fn)(void *), void *arg);

/* One call on paths, for tables: returns 0 or the errno. */
enum call {
	C_OPEN_READ, C_OPEN_WRITE, C_CREATE, C_CREATE_EXCL, C_OPEN_DIR, C_MKDIR, C_RMDIR, C_UNLINK, C_MKFIFO, C_SYMLINK_AT, C_LINK_FROM, C_LINK_TO,
	C_RENAME_FROM, C_RENAME_TO, C_CHMOD, C_CHOWN, C_LCHOWN, C_TRUNCATE, C_STAT, C_LSTAT, C_READLINK, C_UTIMES, C_UTIMES_SET, C_ACCESS_READ,
	C_ACCESS_EXEC, C_STATVFS, C_SETXATTR, C_GETXATTR, C_CHDIR, C_EXEC, CALLS
};
const char *call_name(enum call c);
/* aux: an existing file in a writable place, for the calls that need a second path. */
int make_call(enum call c, const char *path, const char *aux);
int call_as(uid_t uid, gid_t gid, gid_t extra, enum call c, const char *path, const char *aux);

#endif
