/*
 * test_replica_hostile.c - a host and, in place of a member, a hub that says what the test wants: what no member may send; and what differs, of every kind.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "host.h"
#include "link.h"
#include "logmsg.h"

static char top[64], key_file[96], tree[96], address[32];
static struct host *host;
static struct keys *keys;

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *w)
{
	(void)st;
	(void)flag;
	(void)w;
	return remove(path);
}

static int setup(void **state)
{
	char key[KEY_TEXT_BYTES], state_dir[96];
	struct host_options o = { .dir = tree, .state_dir = state_dir, .cluster_key_file = key_file, .listen = "127.0.0.1:0", .name = "host", .index_map_bytes = 64u << 20 };
	int fd;

	(void)state;
	logmsg_init("test", (enum logmsg_level)-1); /* what it is to say is no failure here */
	strcpy(top, "/var/tmp/replica-hostile.XXXXXX");
	if (!mkdtemp(top))
		return -1;
	snprintf(key_file, sizeof key_file, "%s/key", top);
	snprintf(tree, sizeof tree, "%s/tree", top);
	snprintf(state_dir, sizeof state_dir, "%s/state", top);
	keys_generate(key);
	fd = open(key_file, O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || write(fd, key, strlen(key)) < 0 || mkdir(tree, 0755))
		return -1;
	close(fd);
	if (host_start(&o, &host) || keys_load(key_file, &keys))
		return -1;
	snprintf(address, sizeof address, "127.0.0.1:%u", host_port(host));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	host_stop(host);
	keys_free(keys);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *at(const char *path)
{
	static char b[4][1024];
	static unsigned which;

	which = (which + 1) % 4;
	snprintf(b[which], sizeof b[which], "%s/%s", tree, path);
	return b[which];
}

static void put(const char *path, const char *text)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

/* --- the other member --- */

#define KNOWN 32u

struct told { char path[32]; struct entry e; bool there, held; };

struct hostile {
	const char *path, *xattr;      /* what it sends as soon as it is up; NULL = nothing */
	atomic_uint ups, downs, leaves;
	atomic_bool no;                /* it is not let in, for what it sent */
	atomic_bool script;            /* it answers with its script, else with nothing */
	char why[256];
	struct link *link;
	struct told heard[KNOWN], says[KNOWN]; /* of what it asked for; the script. The test's while nothing is under way */
	unsigned heard_count, say_count;
	uint64_t missing;              /* so many paths are not on its disk, it says */
	struct link_hub *hub;
	struct node_key *key;
};

static void hello(void *user, struct frame_hello *ret)
{
	(void)user;
	memset(ret->incarnation, 9, sizeof ret->incarnation);
	ret->name = (struct frame_text){ "other", 5 };
	ret->wall_us = env_system()->real_ns(env_system()) / 1000;
}

static void send_frame(struct link *l, struct buf *b)
{
	assert_int_equal(link_send(l, b), 0);
	buf_free(b);
}

static void say_record(struct hostile *o, struct link *l)
{
	struct frame_record r = { .path = { o->path, strlen(o->path) } };
	struct xattr x = { o->xattr, o->xattr ? strlen(o->xattr) : 0, "v", 1 };
	struct buf b = BUF_INIT, attrs = BUF_INIT;
	size_t start;

	entry_init(&r.entry);
	r.entry.kind = ENTRY_DIR;
	memset(r.entry.dot.inc, 9, sizeof r.entry.dot.inc);
	r.entry.dot.seq = 1;
	r.entry.stamp = 1;
	r.entry.mode = 0755;
	assert_int_equal(vector_raise(&r.entry.known, &r.entry.dot), 0);
	if (o->xattr)
		entry_xattrs_encode(&x, 1, &attrs);
	r.entry.xattrs = attrs.data;
	r.entry.xattrs_len = (uint32_t)attrs.len;
	frame_begin(&b, FRAME_RECORDS, &start);
	buf_u32(&b, 1);
	frame_put_record(&b, &r);
	frame_end(&b, start, false);
	send_frame(l, &b);
	entry_free(&r.entry);
}

static void say_who(struct hostile *o, struct link *l)
{
	struct frame_member m = { .state = FRAME_MEMBER, .stamp = env_system()->real_ns(env_system()) / 1000, .name = { "other", 5 }, .address = { "", 0 } };
	struct buf b = BUF_INIT;
	size_t start;

	memcpy(m.node, node_key_public(o->key), sizeof m.node);
	frame_begin(&b, FRAME_MEMBERS, &start);
	buf_u16(&b, 1);
	frame_put_member(&b, &m);
	frame_end(&b, start, false);
	send_frame(l, &b);
}

static void up(void *user, struct link *l, const struct frame_hello *h)
{
	struct hostile *o = user;

	(void)h;
	o->link = l;
	if (o->path)
		say_record(o, l);
	else
		say_who(o, l);
	atomic_fetch_add(&o->ups, 1);
}

static void put_place(struct buf *b)
{
	struct vector nothing = VECTOR_INIT;

	buf_u64(b, 1);
	vector_encode(&nothing, b);
}

static const char *const paths[] = { "same", "to-come-there", "newer-here", "newer-there", "conflict", "missing-there", "deleted-there", "deleted-here", "missing-here" };
#define PATHS 8u /* the host's */

/* Is any of the paths below this child of the node? */
static bool has_path(uint16_t node, unsigned child)
{
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		unsigned leaf = sums_leaf(paths[i], strlen(paths[i]));

		if (node == FRAME_ROOT ? leaf / SUM_FANOUT == child : leaf == node * SUM_FANOUT + child)
			return true;
	}
	return false;
}

static void say_sums(struct link *l, uint16_t node)
{
	struct buf b = BUF_INIT;
	size_t start;

	frame_begin(&b, FRAME_SUMS, &start);
	buf_u16(&b, node);
	for (unsigned i = 0; i < SUM_FANOUT; i++)
		frame_put_sum(&b, (struct sum){ has_path(node, i), 0 }); /* differs, or is of nothing */
	put_place(&b);
	frame_end(&b, start, true);
	send_frame(l, &b);
}

static void say_leaf(struct hostile *o, struct link *l, uint16_t leaf)
{
	struct buf b = BUF_INIT, records = BUF_INIT;
	unsigned say_count = atomic_load(&o->script) ? o->say_count : 0; /* it is whole then */
	uint32_t count = 0;
	size_t start;

	for (unsigned i = 0; i < say_count; i++) {
		struct told *t = &o->says[i];
		struct frame_record r = { .path = { t->path, strlen(t->path) }, .entry = t->e /* borrowed */, .held = t->held, .position = 1 };

		if (!t->there || sums_leaf(t->path, strlen(t->path)) != leaf)
			continue;
		frame_put_leaf_record(&records, &r);
		count++;
	}
	frame_begin(&b, FRAME_LEAF, &start);
	buf_u16(&b, leaf);
	buf_u8(&b, 1);
	buf_u32(&b, count);
	buf_bytes(&b, records.data, records.len);
	put_place(&b);
	frame_end(&b, start, true);
	assert_int_equal(records.err, 0);
	buf_free(&records);
	send_frame(l, &b);
}

static void say_cut(struct hostile *o, struct link *l, uint64_t request)
{
	struct frame_cut k = { .request = request, .context = VECTOR_INIT, .missing = o->missing, .wall_us = env_system()->real_ns(env_system()) / 1000 };
	struct buf b = BUF_INIT;
	size_t start;

	frame_begin(&b, FRAME_CUT, &start);
	frame_put_cut(&b, &k);
	frame_end(&b, start, true);
	send_frame(l, &b);
}

static void hear_leaf(struct hostile *o, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct frame_record r;
	uint32_t count;

	cursor_u16(&c);
	cursor_u8(&c);
	count = cursor_u32(&c);
	while (count-- > 0) {
		assert_int_equal(frame_get_leaf_record(&c, &r), 0);
		assert_true(o->heard_count < KNOWN);
		snprintf(o->heard[o->heard_count].path, sizeof o->heard[0].path, "%.*s", (int)r.path.len, r.path.p);
		o->heard[o->heard_count++].e = r.entry; /* is owned there */
	}
	atomic_fetch_add(&o->leaves, 1);
}

static int frame(void *user, struct link *l, const struct frame *f)
{
	struct cursor c = cursor_make(f->body, f->len);
	struct hostile *o = user;
	struct frame_get g;
	struct frame_data gone = { .status = FRAME_GONE };
	struct buf b = BUF_INIT;
	size_t start;

	switch (f->type) {
	case FRAME_ASK_SUMS:
		say_sums(l, cursor_u16(&c));
		break;
	case FRAME_ASK_LEAVES:
		for (unsigned n = cursor_u16(&c); n; n--)
			say_leaf(o, l, cursor_u16(&c));
		break;
	case FRAME_ASK_CUT:
		say_cut(o, l, cursor_u64(&c));
		break;
	case FRAME_LEAF:
		hear_leaf(o, f);
		break;
	case FRAME_GET:
		assert_int_equal(frame_get_get(f, &g), 0);
		gone.request = g.request;
		frame_begin(&b, FRAME_DATA, &start);
		frame_put_data(&b, &gone);
		frame_end(&b, start, false);
		send_frame(l, &b);
		break;
	default:
		break;
	}
	return 0;
}

static void drained(void *user, struct link *l)
{
	(void)user;
	(void)l;
}

static void down(void *user, struct link *l, const char *why)
{
	struct hostile *o = user;

	(void)l;
	snprintf(o->why, sizeof o->why, "%s", why);
	atomic_fetch_add(&o->downs, 1);
}

static void refused(void *user, const char *who, const char *why)
{
	struct hostile *o = user;

	(void)who;
	atomic_store(&o->no, strstr(why, "no member may send") != NULL);
}

static const struct link_events events = { .hello = hello, .up = up, .frame = frame, .drained = drained, .down = down, .refused = refused };

static void begin(struct hostile *o, unsigned number)
{
	struct link_options lo = { .keys = keys, .env = env_system(), .events = &events, .user = o };
	char path[128];

	snprintf(path, sizeof path, "%s/hostile%u", top, number);
	assert_int_equal(node_key_load(path, &o->key), 0);
	lo.node = o->key;
	assert_int_equal(link_hub_start(&lo, &o->hub), 0);
	assert_int_equal(link_hub_call(o->hub, address), 0);
	while (!atomic_load(&o->ups))
		usleep(1000);
}

static void end(struct hostile *o)
{
	link_hub_stop(o->hub);
	node_key_free(o->key);
	for (unsigned i = 0; i < KNOWN; i++) {
		entry_free(&o->heard[i].e);
		entry_free(&o->says[i].e);
	}
}

/* Who sends what nobody could apply is dropped, and not let in again at once; nothing of it is kept; the others go on. */
static void what_no_member_may_send(void **state)
{
	static const char *const what[][2] = { { ".clonesync/trash/x", NULL }, { "d", "security.capability" }, { "d", "trusted.overlay.opaque" }, { "harmless", NULL } };
	struct node_status s;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct hostile o = { .path = what[i][0], .xattr = what[i][1] };

		begin(&o, i);
		if (i == 3) { /* what is harmless is taken, from a stranger with the key as well */
			while (access(at("harmless"), F_OK) != 0)
				usleep(1000);
			assert_int_equal(atomic_load(&o.downs), 0);
		} else {
			while (!atomic_load(&o.no))
				usleep(1000);
			assert_int_equal(atomic_load(&o.ups), 1);
		}
		end(&o);
		assert_true(i == 3 || strstr(o.why, "it sent"));
		do {
			host_status(host, &s);
			usleep(1000);
		} while (s.records < (i == 3));
		assert_int_equal(s.records, i == 3);
	}
	assert_int_equal(access(at("d"), F_OK), -1);
	assert_int_equal(access(at(".clonesync/trash/x"), F_OK), -1);
}

/* --- what differs --- */

/* The leaves of all these paths, as the host has them. */
static void ask_all(struct hostile *o)
{
	unsigned before = atomic_load(&o->leaves);
	struct buf b = BUF_INIT;
	size_t start;

	for (unsigned i = 0; i < o->heard_count; i++)
		entry_free(&o->heard[i].e);
	o->heard_count = 0;
	frame_begin(&b, FRAME_ASK_LEAVES, &start);
	buf_u16(&b, PATHS);
	for (size_t i = 0; i < PATHS; i++)
		buf_u16(&b, sums_leaf(paths[i], strlen(paths[i])));
	frame_end(&b, start, false);
	send_frame(o->link, &b);
	while (atomic_load(&o->leaves) < before + PATHS)
		usleep(1000);
}

static const struct entry *heard(const struct hostile *o, const char *path)
{
	for (unsigned i = 0; i < o->heard_count; i++)
		if (strcmp(o->heard[i].path, path) == 0)
			return &o->heard[i].e;
	fail_msg("the host has no %s", path);
	return NULL;
}

/* A record of the script: e (copied; NULL: an empty file), and after that a change of its own, that knows of e or does not. */
static struct entry *say(struct hostile *o, const char *path, const struct entry *e, bool changed, bool knowing)
{
	struct told *t = &o->says[o->say_count++];

	snprintf(t->path, sizeof t->path, "%s", path);
	entry_init(&t->e);
	if (e)
		assert_int_equal(entry_copy(e, &t->e), 0);
	t->there = t->held = true;
	if (!changed)
		return &t->e;
	if (!knowing)
		vector_free(&t->e.known);
	memset(t->e.dot.inc, 9, sizeof t->e.dot.inc);
	t->e.dot.seq = o->say_count;
	t->e.stamp++;
	t->e.mode = 0600;
	assert_int_equal(vector_raise(&t->e.known, &t->e.dot), 0);
	return &t->e;
}

static void wait_quiet(unsigned records)
{
	struct node_status s;

	do {
		usleep(20000);
		host_status(host, &s);
	} while (s.working || s.dirty || s.scanning || s.records != records);
}

static struct host_diff *compare(const char *who)
{
	struct host_diff *d;

	assert_int_equal(host_diff_begin(host, who, &d), 0);
	while (!host_diff_over(d))
		usleep(1000);
	return d;
}

static void expect(const struct host_difference *all, size_t count, const char *path, enum node_differs how)
{
	unsigned seen = 0;

	for (size_t i = 0; i < count; i++)
		if (strcmp(all[i].path, path) == 0) {
			assert_string_equal(node_differs_names[all[i].how], node_differs_names[how]);
			seen++;
		}
	assert_int_equal(seen, 1);
}

static void what_differs(void **state)
{
	static struct hostile o = { .missing = 5 };
	const struct host_difference *all;
	struct host_member *members;
	struct node_diff_result r;
	struct host_diff *d;
	struct entry *e;
	size_t count;

	(void)state;
	for (size_t i = 0; i < PATHS; i++)
		put(paths[i], paths[i]);
	wait_quiet(PATHS);
	assert_int_equal(host_diff_begin(host, "other", &d), -ENOENT);
	assert_int_equal(host_diff_begin(host, "host", &d), ERR_CONFIG);
	begin(&o, 0);
	ask_all(&o);
	say(&o, "same", heard(&o, "same"), false, true);
	say(&o, "to-come-there", heard(&o, "to-come-there"), false, true);
	o.says[1].held = false;
	say(&o, "newer-here", heard(&o, "newer-here"), false, true);
	say(&o, "newer-there", heard(&o, "newer-there"), true, true);
	e = say(&o, "conflict", heard(&o, "conflict"), true, false);
	e->size = 7;
	e = say(&o, "deleted-there", NULL, false, true);
	e->deleted = true;
	memset(e->dot.inc, 9, sizeof e->dot.inc);
	e->dot.seq = 77;
	e->stamp = heard(&o, "deleted-there")->stamp + 1;
	assert_int_equal(vector_copy(&heard(&o, "deleted-there")->known, &e->known), 0);
	assert_int_equal(vector_raise(&e->known, &e->dot), 0);
	say(&o, "deleted-here", heard(&o, "deleted-here"), false, true);
	e = say(&o, "missing-here", NULL, false, true);
	e->kind = ENTRY_DIR;
	memset(e->dot.inc, 9, sizeof e->dot.inc);
	e->dot.seq = 78;
	e->stamp = heard(&o, "same")->stamp + 1;
	e->mode = 0755;
	assert_int_equal(vector_raise(&e->known, &e->dot), 0);
	put("newer-here", "and changed again");
	assert_int_equal(unlink(at("deleted-here")), 0);
	wait_quiet(PATHS);
	while (ask_all(&o), !heard(&o, "deleted-here")->deleted || heard(&o, "newer-here")->size != 17)
		usleep(20000);
	while (host_members(host, &members, &count) == 0 && (free(members), count < 2)) /* until it said who it is */
		usleep(1000);
	atomic_store(&o.script, true);
	d = compare("other");
	assert_int_equal(host_diff_result(d, &r, &all, &count), 0);
	assert_int_equal(count, 8);
	expect(all, count, "to-come-there", NODE_TO_COME_THERE);
	expect(all, count, "newer-here", NODE_NEWER_HERE);
	expect(all, count, "newer-there", NODE_NEWER_THERE);
	expect(all, count, "conflict", NODE_CONFLICTING);
	expect(all, count, "missing-there", NODE_MISSING_THERE);
	expect(all, count, "missing-here", NODE_MISSING_HERE);
	expect(all, count, "deleted-there", NODE_DELETED_THERE);
	expect(all, count, "deleted-here", NODE_DELETED_HERE);
	assert_int_equal(r.differing, 7);
	assert_int_equal(r.there, 5);
	host_diff_free(d);
	/* Dropped half-way; and one that ends with its connection. */
	assert_int_equal(host_diff_begin(host, "other", &d), 0);
	host_diff_free(d);
	assert_int_equal(host_diff_begin(host, "other", &d), 0);
	end(&o);
	while (!host_diff_over(d))
		usleep(1000);
	host_diff_free(d);
	while ((d = NULL, host_diff_begin(host, "other", &d)) != ERR_UNAVAILABLE) { /* until it was heard that it went */
		host_diff_free(d);
		usleep(1000);
	}
	assert_non_null(strstr(err_last(), "is not up"));
}

/* --- contexts --- */

static void say_mark(struct hostile *o, unsigned who, uint32_t count)
{
	struct vector v = VECTOR_INIT;
	struct buf b = BUF_INIT;
	size_t start;

	for (uint32_t i = 0; i < count; i++) {
		struct dot d = { .seq = 1 };

		memset(d.inc, (int)who, sizeof d.inc);
		put_u32(d.inc, i);
		assert_int_equal(vector_raise(&v, &d), 0);
	}
	frame_begin(&b, FRAME_MARK, &start);
	frame_put_mark(&b, 1, &v);
	frame_end(&b, start, true);
	assert_int_equal(b.err, 0);
	send_frame(o->link, &b);
	vector_free(&v);
}

static void wait_compared(unsigned peers)
{
	struct host_member *m;
	size_t count;

	for (unsigned compared = 0; compared != peers; usleep(1000)) {
		assert_int_equal(host_members(host, &m, &count), 0);
		compared = 0;
		for (size_t i = 0; i < count; i++)
			compared += m[i].up && m[i].compared;
		free(m);
	}
}

/* Who says more than can be is dropped, before ours is more than can be written and told. The others go on. */
static void contexts(void **state)
{
	static struct hostile o[3];
	struct node_status s;

	(void)state;
	wait_quiet(0);
	for (unsigned i = 0; i < 3; i++)
		begin(&o[i], i);
	wait_compared(3);
	say_mark(&o[0], 1, VECTOR_MAX); /* alone too much, with what is our own */
	while (!atomic_load(&o[0].no))
		usleep(1000);
	say_mark(&o[1], 2, 3000);
	do
		host_status(host, &s);
	while (s.context < 3000 && !usleep(1000));
	say_mark(&o[2], 3, 3000); /* too much with that */
	while (!atomic_load(&o[2].no))
		usleep(1000);
	assert_int_equal(atomic_load(&o[1].downs), 0);
	put("after", "x");
	wait_quiet(1);
	host_status(host, &s);
	assert_int_equal(s.error, 0);
	for (unsigned i = 0; i < 3; i++)
		end(&o[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_no_member_may_send, setup, teardown), cmocka_unit_test_setup_teardown(what_differs, setup, teardown),
		cmocka_unit_test_setup_teardown(contexts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
