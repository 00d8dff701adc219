/* test_cluster.c - the cluster's objects: what is decoded and what is not, and that a write is made once whatever becomes of its answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends.h"
#include "cluster.h"
#include "err.h"
#include "fields.h"

#define ID "0123456789abcdef0123456789abcdef"

/* One of each kind, with every field of FORMAT.md and one that nobody knows. */
static const struct { enum cluster_kind kind; const char *name, *text; } all[] = {
	{ CLUSTER_SITE, "", "{'kind':'site','format':1,'put':'" ID "','new':7,'id':'" ID "','name':'a site','created':'2026-11-30T00:00:00Z','lease_ms':10000,'report_ms':5000,"
			    "'revision':'r1','revision_next':'r2'}" },
	{ CLUSTER_LEADER, "", "{'kind':'leader','format':1,'put':'" ID "','new':7,'epoch':3,'beat':9,'lease_ms':10000,'holder':'c-1','process':'" ID "','released':false}" },
	{ CLUSTER_MEMBER, "web-1", "{'kind':'member','format':1,'put':'" ID "','new':7,'name':'web-1','role':'web','address':'10.0.0.1','wanted':'in','state':'live','provider':'ec2',"
				   "'instance':'i-1','launch':'" ID "','epoch':2}" },
	{ CLUSTER_POOL, "www", "{'kind':'pool','format':1,'put':'" ID "','new':7,'name':'www','host':'www.example.org','role':'web','min':2,'ttl_s':5,'dns':'main','check':'http','port':80,"
			       "'path':'/up','report':true}" },
	{ CLUSTER_REPORT, "web-1", "{'kind':'report','format':1,'put':'" ID "','new':7,'name':'web-1','process':'" ID "','seq':4,'host':'web-1','ready':true,'in_sync':true,'revision':'r1',"
				   "'tree':'aa','steps':[{'name':'code','state':'failed','took_ms':12,'error':'no'}],'sees':[{'member':'web-2','up':false,'why':'refused'}]}" },
	{ CLUSTER_VIEW, "", "{'kind':'view','format':1,'put':'" ID "','new':7,'epoch':3,'at':'now','members':[{'name':'web-1','pool':'www','in':true,'health':'up','why':''}],"
			    "'problems':[{'on':'www','text':'at its minimum'}]}" },
	{ CLUSTER_DECISION, "0000000003/0000000001", "{'kind':'decision','format':1,'put':'" ID "','new':7,'epoch':3,'serial':1,'at':'now','leader':'c-1','what':'swap','on':'www',"
						     "'why':'dead','detail':'','result':'begun'}" },
	{ CLUSTER_ANSWERS, "www.example.org", "{'kind':'answers','format':1,'put':'" ID "','new':7,'host':'www.example.org','token':'3.1','ttl_s':5,'addresses':[{'address':'10.0.0.1'}]}" },
};

static char *quoted(const char *text)
{
	char *s = strdup(text);

	assert_non_null(s);
	for (char *p = s; *p; p++)
		if (*p == '\'')
			*p = '"';
	return s;
}

static int decode_text(enum cluster_kind kind, const char *name, const char *text)
{
	struct json_object *raw;
	void *st = calloc(1, cluster_bytes(kind));
	int rc;

	assert_non_null(st);
	rc = cluster_decode(kind, name, text, strlen(text), st, &raw);
	if (!rc) {
		cluster_free(kind, st);
		json_object_put(raw);
	}
	free(st);
	return rc;
}

/* What is decoded and encoded again is the same, but for `put`, and the unknown field is still there. */
static void test_round(void **state CL_UNUSED)
{
	for (size_t i = 0; i < CL_ARRAY_LEN(all); i++) {
		char *text = quoted(all[i].text);
		void *st = calloc(1, cluster_bytes(all[i].kind));
		struct json_object *raw, *again;

		assert_non_null(st);
		assert_int_equal(cluster_decode(all[i].kind, all[i].name, text, strlen(text), st, &raw), 0);
		assert_int_equal(cluster_encode(all[i].kind, all[i].name, st, raw, ID, &again), 0);
		assert_true(json_object_equal(raw, again));
		json_object_put(again);
		json_object_put(raw);
		cluster_free(all[i].kind, st);
		free(st);
		free(text);
	}
}

/* An object in which one field is of another type, or missing: an error that names it, or it is optional. */
static void without(size_t i, const char *field, struct json_object *instead, bool must_fail)
{
	char *text = quoted(all[i].text), want[160], key[CLUSTER_KEY_MAX];
	struct json_object *o = json_tokener_parse(text);
	int rc;

	assert_non_null(o);
	json_object_object_del(o, field);
	if (instead)
		json_object_object_add(o, field, instead);
	rc = decode_text(all[i].kind, all[i].name, json_object_to_json_string(o));
	snprintf(want, sizeof(want), "%s: %s: ", cluster_key(all[i].kind, all[i].name, key), field);
	if (must_fail)
		assert_int_equal(rc, ERR_CORRUPT);
	if (rc)
		assert_true(strncmp(err_last(), want, strlen(want)) == 0);
	json_object_put(o);
	free(text);
}

static void test_fields(void **state CL_UNUSED)
{
	for (size_t i = 0; i < CL_ARRAY_LEN(all); i++) {
		char *text = quoted(all[i].text);
		struct json_object *o = json_tokener_parse(text);

		json_object_object_foreach(o, field, value) {
			(void)value;
			if (strcmp(field, "new") == 0)
				continue;
			without(i, field, NULL, false);
			without(i, field, json_object_new_double(1.5), true);
			without(i, field, json_object_new_int64(-1), true);
			without(i, field, json_object_new_string("\x1b[2J \n"), strcmp(field, "why") && strcmp(field, "detail") && strcmp(field, "name") && strcmp(field, "at") &&
				strcmp(field, "on") && strcmp(field, "revision") && strcmp(field, "revision_next") && strcmp(field, "tree") && strcmp(field, "instance") && strcmp(field, "created"));
		}
		json_object_put(o);
		free(text);
	}
}

static void test_wrong(void **state CL_UNUSED)
{
	static const struct { size_t of; const char *from, *to, *why; } bad[] = {
		{ 2, "'web-1','role'", "'web-2','role'", "now/members/web-1: name: not the key's" },
		{ 2, "10.0.0.1", "10.0.0.01", "now/members/web-1: address: not what is allowed here" },
		{ 2, "'live'", "'alive'", "now/members/web-1: state: none of the values that are allowed" },
		{ 2, "'epoch':2", "'epoch':1000000000000001", "now/members/web-1: epoch: not from 0 to 1000000000000000" },
		{ 2, "'epoch':2", "'epoch':99999999999999999999999", "now/members/web-1: epoch: not from 0 to 1000000000000000" },
		{ 2, "'role':'web'", "'role':'web\\u0000x'", "now/members/web-1: role: not a text in UTF-8" },
		{ 2, "'format':1", "'format':2", "now/members/web-1: format 2: written by a newer clonectl; update this one" },
		{ 2, "'kind':'member'", "'kind':'pool'", "now/members/web-1: kind: not \"member\"" },
		{ 2, "}", "", "now/members/web-1: no JSON: it ends too soon" },
		{ 3, "www.example.org", "www..example.org", "now/pools/www: host: not what is allowed here" },
		{ 3, "'/up'", "'up'", "now/pools/www: path: not what is allowed here" },
		{ 4, "'failed'", "'gone'", "now/reports/web-1: steps: [0] state: none of the values that are allowed" },
		{ 4, "{'member':'web-2'", "7,{'member':'web-2'", "now/reports/web-1: sees: [0] not an object" },
		{ 6, "'serial':1", "'serial':2", "decisions/0000000003/0000000001: epoch, serial: not the key's" },
		{ 7, "'3.1'", "'3 1'", "answers/www.example.org: token: not what is allowed here" },
	};

	for (size_t i = 0; i < CL_ARRAY_LEN(bad); i++) {
		char made[2048], *text;
		const char *at = strstr(all[bad[i].of].text, bad[i].from);

		assert_non_null(at);
		snprintf(made, sizeof(made), "%.*s%s%s", (int)(at - all[bad[i].of].text), all[bad[i].of].text, bad[i].to, at + strlen(bad[i].from));
		text = quoted(made);
		assert_true(decode_text(all[bad[i].of].kind, all[bad[i].of].name, text) < 0);
		assert_string_equal(err_last(), bad[i].why);
		free(text);
	}
	assert_int_equal(decode_text(CLUSTER_MEMBER, "x", ""), ERR_CORRUPT);
	assert_int_equal(decode_text(CLUSTER_MEMBER, "x", "[]"), ERR_CORRUPT);
	assert_int_equal(decode_text(CLUSTER_MEMBER, "x", "{} {}"), ERR_CORRUPT);
}

/* --- in a store --- */

struct place { struct store *store; struct cluster c; };

static void open_place(struct place *p, const char *rules)
{
	struct store *below;

	assert_int_equal(store_mem_open(1, &below), 0);
	if (!rules)
		p->store = below;
	else
		assert_int_equal(store_fault_open(below, rules, 1, &p->store), 0);
	p->c = (struct cluster){ p->store, env_system(), 2000 };
}

static struct cluster_member a_member(void)
{
	struct cluster_member m = { .name = "web-1", .role = "web", .address = "10.0.0.1", .state = CLUSTER_LIVE };

	return m;
}

static void test_swap(void **state CL_UNUSED)
{
	struct cluster_version a = { .raw = NULL }, b;
	struct cluster_member m = a_member(), got;
	struct place p;

	open_place(&p, NULL);
	assert_int_equal(cluster_get(&p.c, CLUSTER_MEMBER, "web-1", &got, &b), -ENOENT);
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &a), 0);
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &b), ERR_PRECONDITION); /* there is one by now */
	cluster_version_free(&b);
	assert_int_equal(cluster_get(&p.c, CLUSTER_MEMBER, "web-1", &got, &b), 0);
	assert_string_equal(got.address, "10.0.0.1");
	m.wanted = CLUSTER_OUT;
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &a), 0);
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &b), ERR_PRECONDITION);
	cluster_version_free(&a);
	cluster_version_free(&b);
	store_close(p.store);
}

/* Whatever becomes of the answers to a write, it is made, and its caller knows. */
static void test_answers_lost(void **state CL_UNUSED)
{
	static const char *const rules[] = { "put:now/members/*:lost-reply:count=1", "put:now/members/*:lost-reply:count=2", "put:now/members/*:412-after-success:count=1", "put:now/members/*:503:count=2",
					     "put:now/members/*:conflict409:count=1" };

	for (size_t i = 0; i < CL_ARRAY_LEN(rules); i++) {
		struct cluster_version v = { .raw = NULL }, read;
		struct cluster_member m = a_member(), got;
		struct place p;

		open_place(&p, rules[i]);
		assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &v), 0);
		m.wanted = CLUSTER_OUT; /* the version is that of what was written */
		assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &v), 0);
		assert_int_equal(cluster_get(&p.c, CLUSTER_MEMBER, "web-1", &got, &read), 0);
		assert_int_equal(got.wanted, CLUSTER_OUT);
		assert_string_equal(read.etag, v.etag);
		cluster_version_free(&read);
		cluster_version_free(&v);
		store_close(p.store);
	}
}

static void test_not_known(void **state CL_UNUSED)
{
	struct cluster_version v = { .raw = NULL };
	struct cluster_member m = a_member();
	struct place p;

	open_place(&p, "put:now/members/*:503");
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &v), ERR_UNAVAILABLE);
	assert_int_equal(v.etag[0], 0);
	store_close(p.store);
	open_place(&p, "put:now/members/*:412-after-success, get:now/members/*:503");
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &v), ERR_UNAVAILABLE);
	store_close(p.store);
	open_place(&p, "put:now/members/*:auth");
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &v), ERR_AUTH);
	store_close(p.store);
}

struct changing { struct place *p; unsigned calls, rivals; };

/* While it decides, others are faster. */
static int drain(void *user, bool found, void *st)
{
	struct changing *x = user;
	struct cluster_member *m = st;

	if (!found)
		return -ENOENT;
	if (x->calls++ < x->rivals) {
		struct cluster_version v;
		struct cluster_member other;

		assert_int_equal(cluster_get(&x->p->c, CLUSTER_MEMBER, "web-1", &other, &v), 0);
		other.epoch++;
		assert_int_equal(cluster_put(&x->p->c, CLUSTER_MEMBER, "web-1", &other, &v), 0);
		cluster_version_free(&v);
	}
	if (m->wanted == CLUSTER_OUT)
		return 1;
	m->wanted = CLUSTER_OUT;
	return 0;
}

static void test_change(void **state CL_UNUSED)
{
	struct cluster_version v = { .raw = NULL };
	struct cluster_member m = a_member();
	struct place p;
	struct changing x = { &p, 0, 3 };

	open_place(&p, NULL);
	assert_int_equal(cluster_change(&p.c, CLUSTER_MEMBER, "web-1", drain, &x, NULL), -ENOENT);
	assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, "web-1", &m, &v), 0);
	cluster_version_free(&v);
	assert_int_equal(cluster_change(&p.c, CLUSTER_MEMBER, "web-1", drain, &x, &m), 0);
	assert_int_equal(x.calls, 4);
	assert_int_equal(m.wanted, CLUSTER_OUT);
	assert_int_equal(m.epoch, 3); /* nobody's change was lost */
	assert_int_equal(cluster_change(&p.c, CLUSTER_MEMBER, "web-1", drain, &x, &m), 1);
	m.wanted = CLUSTER_IN;
	x = (struct changing){ &p, 0, 100 };
	assert_int_equal(cluster_change(&p.c, CLUSTER_POOL, "web-1", drain, &x, NULL), -ENOENT);
	store_close(p.store);
}

/* An object that cannot be read is left as it is; fields that nobody knows stay. */
static void test_kept(void **state CL_UNUSED)
{
	struct store_req r;
	struct place p;
	struct changing x = { &p, 0, 0 };
	char *text = quoted(all[2].text);

	open_place(&p, NULL);
	assert_int_equal(store_put(p.store, "now/members/web-1", "{\"kind\":7}", 10, false, &r), 0);
	store_req_reset(&r);
	assert_int_equal(cluster_change(&p.c, CLUSTER_MEMBER, "web-1", drain, &x, NULL), ERR_CORRUPT);
	assert_int_equal(x.calls, 0);
	assert_int_equal(store_get(p.store, "now/members/web-1", &r), 0);
	assert_int_equal(r.data_len, 10);
	store_req_reset(&r);
	assert_int_equal(store_put(p.store, "now/members/web-1", text, strlen(text), false, &r), 0);
	store_req_reset(&r);
	assert_int_equal(cluster_change(&p.c, CLUSTER_MEMBER, "web-1", drain, &x, NULL), 0);
	assert_int_equal(store_get(p.store, "now/members/web-1", &r), 0);
	assert_non_null(memmem(r.data, r.data_len, "\"new\":7", 7));
	assert_non_null(memmem(r.data, r.data_len, "\"out\"", 5));
	store_req_reset(&r);
	free(text);
	store_close(p.store);
}

static int count_name(void *user, const char *name, const char *etag CL_UNUSED)
{
	strcat(user, name);
	return strcmp(name, "c") == 0 ? 9 : 0;
}

static void test_list(void **state CL_UNUSED)
{
	char names[16] = "";
	struct place p;

	open_place(&p, NULL);
	for (const char *n = "dcba"; *n; n++) {
		struct cluster_version v = { .raw = NULL };
		struct cluster_member m = a_member();

		m.name[0] = *n;
		m.name[1] = '\0';
		assert_int_equal(cluster_put(&p.c, CLUSTER_MEMBER, m.name, &m, &v), 0);
		cluster_version_free(&v);
	}
	assert_int_equal(cluster_list(&p.c, CLUSTER_MEMBER, count_name, names), 9);
	assert_string_equal(names, "abc");
	store_close(p.store);
}

/* The DNS driver "store". */
static void test_dns_store(void **state CL_UNUSED)
{
	char one[1][DNS_ADDRESS_MAX] = { "10.0.0.1" }, two[2][DNS_ADDRESS_MAX] = { "10.0.0.1", "10.0.0.2" }, wrong[2][DNS_ADDRESS_MAX] = { "10.0.0.2", "10.0.0.1" };
	struct dns_answers none = { .token = "" }, first = { "1.1", one, 1 }, second = { "1.2", two, 2 }, got, bad = { "1.9", wrong, 2 }, empty = { .token = "1.9" };
	struct conf_section s = { .kind = (char *)(uintptr_t)"dns", .name = (char *)(uintptr_t)"main", .path = "x.conf" };
	struct dns_context x;
	struct place p;
	struct dns *d;

	open_place(&p, NULL);
	x = (struct dns_context){ p.store, env_system() };
	assert_int_equal(dns_store_open(&x, &s, &d), 0);
	assert_int_equal(d->read(d, "www.example.org", 1000, &got), 0);
	assert_int_equal(got.count, 0);
	assert_string_equal(got.token, "");
	assert_int_equal(dns_swap(d, &(struct dns_change){ "www.example.org", &none, &empty, 5 }, 1000), -EINVAL);
	assert_int_equal(dns_swap(d, &(struct dns_change){ "www.example.org", &none, &bad, 5 }, 1000), -EINVAL);
	assert_int_equal(dns_swap(d, &(struct dns_change){ "www.example.org", &none, &first, 5 }, 1000), 0);
	assert_int_equal(dns_swap(d, &(struct dns_change){ "www.example.org", &none, &second, 5 }, 1000), ERR_PRECONDITION);
	assert_int_equal(dns_swap(d, &(struct dns_change){ "www.example.org", &first, &second, 5 }, 1000), 0);
	assert_int_equal(dns_swap(d, &(struct dns_change){ "www.example.org", &first, &second, 5 }, 1000), ERR_PRECONDITION); /* late, or twice */
	assert_int_equal(d->read(d, "www.example.org", 1000, &got), 0);
	assert_int_equal(got.count, 2);
	assert_string_equal(got.token, "1.2");
	assert_string_equal(got.addresses[1], "10.0.0.2");
	dns_answers_free(&got);
	dns_close(d);
	store_close(p.store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round), cmocka_unit_test(test_fields), cmocka_unit_test(test_wrong), cmocka_unit_test(test_swap), cmocka_unit_test(test_answers_lost),
		cmocka_unit_test(test_not_known), cmocka_unit_test(test_change), cmocka_unit_test(test_kept), cmocka_unit_test(test_list), cmocka_unit_test(test_dns_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
