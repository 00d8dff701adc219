/*
 * test_acl.c - POSIX ACLs: what is refused, and the examples of acl(5): inheritance with and without a default ACL, the umask, the mask
 * and chmod, the mode after an ACL is set.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <sys/stat.h>

#include "../lib/fake/fake_engine.c"

struct value { uint8_t p[256]; size_t len; };

static void add(struct value *v, unsigned tag, unsigned perm, uint32_t id)
{
	if (v->len == 0) {
		put_u32(v->p, 2);
		v->len = 4;
	}
	v->p[v->len] = (uint8_t)tag;
	v->p[v->len + 1] = 0;
	v->p[v->len + 2] = (uint8_t)perm;
	v->p[v->len + 3] = (uint8_t)(perm >> 8);
	put_u32(v->p + v->len + 4, id);
	v->len += 8;
}

/* "u::7 u:5:6 g::5 m::7 o::0": tag, id, permissions. */
static struct value acl(const char *text)
{
	struct value v = { .len = 0 };
	unsigned id, perm;
	char tag;
	int n;

	while (sscanf(text, " %c:%n", &tag, &n) == 1) {
		bool named;

		text += n;
		named = *text != ':';
		id = named ? (unsigned)strtoul(text, (char **)(uintptr_t)&text, 10) : UINT32_MAX;
		perm = (unsigned)(text[1] - '0');
		text += 2;
		add(&v, tag == 'u' ? (named ? 2 : 1) : tag == 'g' ? (named ? 8 : 4) : tag == 'm' ? 16 : 32, perm, id);
	}
	return v;
}

static struct volume *fresh(void)
{
	struct fake_options o = { .keep_changes = true };
	struct volume *v;

	assert_int_equal(fake_open(&o, &v), 0);
	return v;
}

static void finish(struct volume *v)
{
	fake_run(v);
	assert_int_equal(fake_check(v), 0);
	assert_int_equal(fake_check_replay(v), 0);
	fake_close(v);
}

static uint64_t make(struct volume *v, uint64_t dir, const char *name, uint32_t mode, uint32_t umask)
{
	struct volume_cred cred = { 1, 1, umask };
	struct volume_attr a;

	assert_int_equal(volume_mknod(v, dir, name, strlen(name), mode, 0, &cred, &a, NULL), 0);
	return a.ino;
}

static uint32_t mode_of(struct volume *v, uint64_t ino)
{
	struct volume_attr a;

	assert_int_equal(volume_getattr(v, ino, &a), 0);
	return a.mode & 07777;
}

static int set(struct volume *v, uint64_t ino, const char *name, const char *text)
{
	struct value x = acl(text);

	return volume_setxattr(v, ino, name, x.p, x.len, 0, NULL);
}

static void expect(struct volume *v, uint64_t ino, const char *name, const char *text)
{
	struct value x = acl(text ? text : "");
	uint8_t got[256];
	size_t len;
	int rc = volume_getxattr(v, ino, name, got, sizeof got, &len);

	if (!text) {
		assert_int_equal(rc, -ENODATA);
		return;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(len, x.len);
	assert_memory_equal(got, x.p, len);
}

static void chmod_to(struct volume *v, uint64_t ino, uint32_t mode)
{
	struct volume_attr a = { .mode = mode };

	assert_int_equal(volume_setattr(v, ino, VOLUME_SET_MODE, &a, &a, NULL), 0);
}

static void test_refused(void **state)
{
	static const char *const bad[] = {
		"u::7",                         /* no group, no others */
		"u::7 g::5",
		"g::5 u::7 o::0",               /* order */
		"u::7 u::7 g::5 o::0",          /* twice */
		"u::7 g::5 o::0 o::0",
		"u::7 u:5:6 g::5 o::0",         /* named without a mask */
		"u::7 g::5 g:3:4 o::0",
		"u::8 g::5 o::0",               /* no such permission */
		"u::7 m::7 g::5 o::0",
		"u::7 g::5 m::5 m::5 o::0",
	};
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 0644, 022), d = make(v, 1, "d", S_IFDIR | 0755, 0);
	struct volume_cred cred = { 1, 1, 0 };
	struct volume_attr l;
	struct value x;

	(void)state;
	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++) {
		if (set(v, f, NS_ACL_ACCESS, bad[i]) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(set(v, d, NS_ACL_DEFAULT, bad[i]), -EINVAL);
	}
	x = acl("u::7 g::5 o::0");
	for (size_t len = 1; len < x.len; len++)
		if (len != 4)
			assert_int_equal(volume_setxattr(v, f, NS_ACL_ACCESS, x.p, len, 0, NULL), -EINVAL);
	x.p[0] = 3;
	assert_int_equal(volume_setxattr(v, f, NS_ACL_ACCESS, x.p, x.len, 0, NULL), -EOPNOTSUPP);
	x = acl("u::7 u:5:6 g::5 m::7 o::0");
	put_u32(x.p + 4 + 8 + 4, UINT32_MAX);
	assert_int_equal(volume_setxattr(v, f, NS_ACL_ACCESS, x.p, x.len, 0, NULL), -EINVAL);
	assert_int_equal(set(v, f, NS_ACL_DEFAULT, "u::7 g::5 o::0"), -EACCES);
	assert_int_equal(volume_symlink(v, 1, "l", 1, "t", 1, &cred, &l, NULL), 0);
	assert_int_equal(set(v, l.ino, NS_ACL_ACCESS, "u::7 g::5 o::0"), -EOPNOTSUPP);
	assert_int_equal(mode_of(v, f), 0644);
	expect(v, f, NS_ACL_ACCESS, NULL);
	finish(v);
}

static void test_mode(void **state)
{
	struct volume *v = fresh();
	uint64_t f = make(v, 1, "f", S_IFREG | 04644, 0);

	(void)state;
	/* An ACL that says what a mode can say is the mode. */
	assert_int_equal(set(v, f, NS_ACL_ACCESS, "u::7 g::5 o::1"), 0);
	assert_int_equal(mode_of(v, f), 04751);
	expect(v, f, NS_ACL_ACCESS, NULL);
	/* With a mask the group bits are the mask. */
	assert_int_equal(set(v, f, NS_ACL_ACCESS, "u::6 u:5:7 g::5 m::4 o::0"), 0);
	assert_int_equal(mode_of(v, f), 04640);
	expect(v, f, NS_ACL_ACCESS, "u::6 u:5:7 g::5 m::4 o::0");
	chmod_to(v, f, 0771);
	assert_int_equal(mode_of(v, f), 0771);
	expect(v, f, NS_ACL_ACCESS, "u::7 u:5:7 g::5 m::7 o::1");
	/* A mask alone, without names, is kept too; chmod goes to it. */
	assert_int_equal(set(v, f, NS_ACL_ACCESS, "u::6 g::6 m::2 o::0"), 0);
	assert_int_equal(mode_of(v, f), 0620);
	chmod_to(v, f, 0740);
	expect(v, f, NS_ACL_ACCESS, "u::7 g::6 m::4 o::0");
	/* Replaced by a plain one, and removed: the mode stays. */
	assert_int_equal(set(v, f, NS_ACL_ACCESS, "u::6 g::4 o::4"), 0);
	expect(v, f, NS_ACL_ACCESS, NULL);
	assert_int_equal(mode_of(v, f), 0644);
	assert_int_equal(volume_removexattr(v, f, NS_ACL_ACCESS, NULL), 0);
	assert_int_equal(set(v, f, NS_ACL_ACCESS, "u::6 u:5:7 g::5 m::4 o::0"), 0);
	assert_int_equal(volume_removexattr(v, f, NS_ACL_ACCESS, NULL), 0);
	assert_int_equal(mode_of(v, f), 0640);
	assert_int_equal(set(v, f, NS_ACL_ACCESS, "u::6 u:5:7 g::5 m::4 o::0"), 0);
	assert_int_equal(volume_setxattr(v, f, NS_ACL_ACCESS, "\2\0\0\0", 4, 0, NULL), 0);
	expect(v, f, NS_ACL_ACCESS, NULL);
	finish(v);
}

static void test_inherit(void **state)
{
	struct volume *v = fresh();
	struct volume_cred cred = { 1, 1, 077 };
	struct volume_attr a;
	uint64_t d = make(v, 1, "d", S_IFDIR | 0755, 022), f, sub;

	(void)state;
	assert_int_equal(mode_of(v, d), 0755);
	/* No default ACL: the umask. */
	assert_int_equal(mode_of(v, make(v, d, "plain", S_IFREG | 0666, 027)), 0640);
	/* A default ACL: the umask says nothing; what was asked for and what the ACL allows. */
	assert_int_equal(set(v, d, NS_ACL_DEFAULT, "u::7 u:5:6 g::5 m::7 o::4"), 0);
	assert_int_equal(mode_of(v, d), 0755);
	f = make(v, d, "f", S_IFREG | 0662, 077);
	expect(v, f, NS_ACL_ACCESS, "u::6 u:5:6 g::5 m::6 o::0");
	assert_int_equal(mode_of(v, f), 0660);
	expect(v, f, NS_ACL_DEFAULT, NULL);
	sub = make(v, d, "sub", S_IFDIR | 01777, 077);
	expect(v, sub, NS_ACL_ACCESS, "u::7 u:5:6 g::5 m::7 o::4");
	expect(v, sub, NS_ACL_DEFAULT, "u::7 u:5:6 g::5 m::7 o::4");
	assert_int_equal(mode_of(v, sub), 01774);
	/* It goes on into the next level, and to files without a name. */
	f = make(v, sub, "f", S_IFREG | 0200, 0);
	expect(v, f, NS_ACL_ACCESS, "u::2 u:5:6 g::5 m::0 o::0");
	assert_int_equal(volume_tmpfile(v, sub, 0600, &cred, &a, NULL), 0);
	expect(v, a.ino, NS_ACL_ACCESS, "u::6 u:5:6 g::5 m::0 o::0");
	volume_open_unref(v, a.ino);
	/* Symlinks have none. */
	assert_int_equal(volume_symlink(v, sub, "l", 1, "t", 1, &cred, &a, NULL), 0);
	expect(v, a.ino, NS_ACL_ACCESS, NULL);
	assert_int_equal(a.mode, S_IFLNK | 0777);
	/* A default ACL of a mode's worth: a mode, and for directories the default again. */
	assert_int_equal(set(v, d, NS_ACL_DEFAULT, "u::7 g::5 o::0"), 0);
	f = make(v, d, "g", S_IFREG | 0666, 0);
	assert_int_equal(mode_of(v, f), 0640);
	expect(v, f, NS_ACL_ACCESS, NULL);
	sub = make(v, d, "sub2", S_IFDIR | 0777, 0777);
	assert_int_equal(mode_of(v, sub), 0750);
	expect(v, sub, NS_ACL_ACCESS, NULL);
	expect(v, sub, NS_ACL_DEFAULT, "u::7 g::5 o::0");
	/* Gone again: the umask counts. */
	assert_int_equal(volume_removexattr(v, d, NS_ACL_DEFAULT, NULL), 0);
	assert_int_equal(volume_removexattr(v, d, NS_ACL_DEFAULT, NULL), 0);
	assert_int_equal(mode_of(v, make(v, d, "h", S_IFREG | 0666, 022)), 0644);
	finish(v);
}

/* Two ACLs of the largest size still fit in the record that makes a directory. */
static void test_largest(void **state)
{
	struct volume *v = fresh();
	uint64_t d = make(v, 1, "d", S_IFDIR | 0755, 0), sub;
	static uint8_t big[VOLUME_XATTR_VALUE_MAX];
	static uint8_t got[VOLUME_XATTR_VALUE_MAX];
	struct value head = acl("u::7"), tail = acl("g::7 m::7 o::7");
	size_t len, entries = (sizeof big - 4) / 8 - 4;

	(void)state;
	memcpy(big, head.p, head.len);
	for (size_t i = 0; i < entries; i++) {
		big[12 + i * 8] = 2;
		big[12 + i * 8 + 2] = 7;
		put_u32(big + 12 + i * 8 + 4, (uint32_t)i);
	}
	memcpy(big + 12 + entries * 8, tail.p + 4, tail.len - 4);
	len = 12 + entries * 8 + tail.len - 4;
	assert_int_equal(volume_setxattr(v, d, NS_ACL_DEFAULT, big, len, 0, NULL), 0);
	sub = make(v, d, "sub", S_IFDIR | 0777, 0);
	assert_int_equal(volume_getxattr(v, sub, NS_ACL_ACCESS, got, sizeof got, &len), 0);
	assert_int_equal(len, 12 + entries * 8 + tail.len - 4);
	assert_memory_equal(got, big, len);
	chmod_to(v, sub, 0700);
	finish(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_mode), cmocka_unit_test(test_inherit), cmocka_unit_test(test_largest),
	};

	return cmocka_run_group_tests_name("acl", tests, NULL, NULL);
}
