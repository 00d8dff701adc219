/* dns_store.c - the driver "store": a name's answers are an object beside the cluster's own (FORMAT.md, answers). Exact: a swap is one conditional PUT. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "compiler.h"
#include "err.h"

struct dns_store { struct dns dns; struct cluster cluster; };

static struct dns_store *of(struct dns *d)
{
	return CL_CONTAINER_OF(d, struct dns_store, dns);
}

static int read_object(const struct cluster *c, const char *name, struct cluster_answers *ret, struct cluster_version *ret_v)
{
	int rc = cluster_get(c, CLUSTER_ANSWERS, name, ret, ret_v);

	if (rc == -ENOENT) {
		memset(ret, 0, sizeof(*ret));
		err_clear();
		rc = 0;
	}
	return rc;
}

static int store_read(struct dns *d, const char *name, uint32_t deadline_ms, struct dns_answers *ret)
{
	struct cluster c = of(d)->cluster;
	struct cluster_version v;
	struct cluster_answers a;
	int rc;

	c.deadline_ms = deadline_ms;
	rc = read_object(&c, name, &a, &v);
	if (rc)
		return rc;
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->token, sizeof(ret->token), "%s", a.token);
	for (size_t i = 1; i < a.count && !rc; i++)
		if (strcmp(a.addresses[i - 1].address, a.addresses[i].address) >= 0)
			rc = err_set(ERR_CORRUPT, "answers/%s: addresses: not in order, or one twice", name);
	if (!rc && a.count) {
		ret->addresses = calloc(a.count, sizeof(*ret->addresses));
		if (!ret->addresses)
			rc = -ENOMEM;
	}
	for (size_t i = 0; i < a.count && !rc; i++)
		memcpy(ret->addresses[ret->count++], a.addresses[i].address, DNS_ADDRESS_MAX);
	cluster_free(CLUSTER_ANSWERS, &a);
	cluster_version_free(&v);
	return rc;
}

static int store_swap(struct dns *d, const struct dns_change *ch, uint32_t deadline_ms)
{
	struct cluster c = of(d)->cluster;
	struct cluster_answers a, to = { .ttl_s = ch->ttl_s, .count = ch->to->count };
	struct cluster_version v;
	int rc;

	c.deadline_ms = deadline_ms;
	rc = read_object(&c, ch->name, &a, &v);
	if (rc)
		return rc;
	if (strcmp(a.token, ch->from->token) != 0)
		rc = err_set(ERR_PRECONDITION, "answers/%s: the token is %s, not %s", ch->name, *a.token ? a.token : "none", *ch->from->token ? ch->from->token : "none");
	cluster_free(CLUSTER_ANSWERS, &a);
	if (!rc && !(to.addresses = calloc(to.count, sizeof(*to.addresses))))
		rc = -ENOMEM;
	if (!rc) {
		snprintf(to.host, sizeof(to.host), "%s", ch->name);
		snprintf(to.token, sizeof(to.token), "%s", ch->to->token);
		for (size_t i = 0; i < to.count; i++)
			memcpy(to.addresses[i].address, ch->to->addresses[i], DNS_ADDRESS_MAX);
		rc = cluster_put(&c, CLUSTER_ANSWERS, ch->name, &to, &v);
	}
	free(to.addresses);
	cluster_version_free(&v);
	return rc;
}

static void store_close_driver(struct dns *d)
{
	free(of(d));
}

int dns_store_open(const struct dns_context *x, struct conf_section *s CL_UNUSED, struct dns **ret)
{
	struct dns_store *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->dns = (struct dns){ "store", x->store->address, true, store_read, store_swap, store_close_driver };
	d->cluster = (struct cluster){ x->store, x->env, 0 };
	*ret = &d->dns;
	return 0;
}
