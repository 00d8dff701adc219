/* dns.c - the drivers there are, and what all of them share. */
#include "dns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compiler.h"
#include "err.h"

static const struct { const char *kind; dns_driver_open *open; const char *known; } drivers[] = {
	{ "store", dns_store_open, "driver" },
};

int dns_open(const struct dns_context *x, struct conf_section *s, struct dns **ret)
{
	const char *kind = conf_take(s, "driver");
	struct dns *d;
	int rc;

	if (!kind)
		return conf_wrong(s, "driver", "missing");
	for (size_t i = 0; i < CL_ARRAY_LEN(drivers); i++) {
		if (strcmp(drivers[i].kind, kind) != 0)
			continue;
		rc = drivers[i].open(x, s, &d);
		if (rc)
			return rc;
		rc = conf_finish(s, drivers[i].known);
		if (rc)
			d->close(d);
		else
			*ret = d;
		return rc;
	}
	return conf_wrong(s, "driver", "there is no such driver; clonectl.conf(5) has them");
}

void dns_close(struct dns *d)
{
	if (d)
		d->close(d);
}

int dns_swap(struct dns *d, const struct dns_change *c, uint32_t deadline_ms)
{
	bool good = c->to->count >= 1 && c->to->count <= DNS_ANSWERS_MAX && dns_is_token(c->to->token) && strcmp(c->to->token, c->from->token) != 0 && dns_is_name(c->name);

	for (size_t i = 0; i < c->to->count && good; i++)
		good = dns_is_address(c->to->addresses[i]) && (i == 0 || strcmp(c->to->addresses[i - 1], c->to->addresses[i]) < 0);
	return good ? d->swap(d, c, deadline_ms) : err_set(-EINVAL, "%s: no answers, or none that could be given: nothing is written", c->name);
}

void dns_answers_free(struct dns_answers *a)
{
	free(a->addresses);
	a->addresses = NULL;
	a->count = 0;
}

bool dns_is_address(const char *text)
{
	char bytes[16], again[INET6_ADDRSTRLEN];
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	return inet_pton(family, text, bytes) == 1 && inet_ntop(family, bytes, again, sizeof(again)) && strcmp(text, again) == 0;
}

bool dns_is_name(const char *text)
{
	size_t label = 0;

	if (strlen(text) >= DNS_NAME_MAX)
		return false;
	for (const char *p = text;; p++) {
		if (*p == '.' || !*p) {
			if (label == 0 || label > 63 || p[-1] == '-')
				return false;
			if (!*p)
				return true;
			label = 0;
		} else if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_' || (*p == '-' && label)) {
			label++;
		} else {
			return false;
		}
	}
}

bool dns_is_token(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len < DNS_TOKEN_MAX && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}
