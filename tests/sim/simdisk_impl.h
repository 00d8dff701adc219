/* simdisk_impl.h - the inside of a simulated disk, shared by simdisk.c (what is on the platter) and simdisk_ops.c (struct disk). */
#ifndef CLONELOVE_SIM_SIMDISK_IMPL_H
#define CLONELOVE_SIM_SIMDISK_IMPL_H

#include "world.h"

#define SIMDISK_PAGE 4096u
#define SIMDISK_SECTOR 512u
#define SIMDISK_FILE_PAGES 4096u  /* 16 MiB */
#define SIMDISK_NAME_MAX 96

struct pending {
	struct pending *next;
	uint64_t off, seq;
	size_t len;        /* truncate: to off */
	bool truncate;
	uint8_t data[];
};

struct inode_sim {
	struct inode_sim *next_all;
	unsigned names;                  /* that refer to it now */
	unsigned opens;
	bool was_safe;                   /* scratch of lose_names: it had a durable name */
	uint8_t **pages, **platter;      /* platter: NULL = the same as pages */
	uint8_t *on_platter;             /* flags: platter differs, and platter[i] (NULL = zeros) is what is there */
	uint8_t *reserved;
	uint64_t size, platter_size;
	uint64_t used_pages;
	bool dirty, lying;               /* lying: a sync failed, so the platter differs for good */
	struct pending *log, **log_tail;
};

struct name {
	struct name *next;
	char text[SIMDISK_NAME_MAX];
	struct inode_sim *now, *durable; /* NULL = absent */
};

/* One change of names, for the journalled way of losing power. */
struct change { struct change *next; struct name *a, *b; struct inode_sim *a_now, *b_now; };

struct simdisk {
	struct world *w;
	uint64_t capacity, used_pages, write_seq;
	struct inode_sim *inodes;
	struct name *names;
	struct change *changes, **changes_tail;
	struct simdisk_faults faults;
};

struct handle { struct disk_file f; struct proc *p; struct inode_sim *i; unsigned generation; bool writable; };

struct inode_sim *simdisk_inode_new(struct simdisk *d);
void simdisk_inode_maybe_free(struct simdisk *d, struct inode_sim *i);
void simdisk_sweep(struct simdisk *d);
void simdisk_keep_platter(struct inode_sim *i, size_t k);
bool simdisk_has_space(const struct simdisk *d, const struct inode_sim *i, uint64_t off, uint64_t len);
void simdisk_lose(struct simdisk *d, struct inode_sim *i);
void simdisk_write_now(struct simdisk *d, struct inode_sim *i, const uint8_t *from, size_t len, uint64_t off);
void simdisk_recount(struct simdisk *d, struct inode_sim *i);
void simdisk_pages_from_platter(struct simdisk *d, struct inode_sim *i);
void simdisk_inode_sync_prefix(struct simdisk *d, struct inode_sim *i, uint64_t until, uint64_t size);
void simdisk_inode_sync(struct simdisk *d, struct inode_sim *i);
struct name *simdisk_name_get(struct simdisk *d, const char *text);
void simdisk_note_change(struct simdisk *d, struct name *a, struct name *b);
bool simdisk_in_dir(const char *name, const char *dir);

#endif
