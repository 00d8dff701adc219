/* price.c - the estimate behind clonefs stat's dollars. Pure functions. */
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "price.h"

int price_parse(const char *text, struct price *io)
{
	struct price p = *io;

	while (*text) {
		size_t len = strcspn(text, ",");
		char one[64], *value, *end;
		double x;

		if (len >= sizeof(one))
			return err_set(ERR_CONFIG, "--price: %s is too long", text);
		memcpy(one, text, len);
		one[len] = '\0';
		value = strchr(one, '=');
		x = value ? strtod(value + 1, &end) : -1;
		if (!value || value[1] == '\0' || *end || !(x >= 0))
			return err_set(ERR_CONFIG, "--price: %s is not NAME=DOLLARS", one);
		*value = '\0';
		if (strcmp(one, "put") == 0)
			p.put_1000 = x;
		else if (strcmp(one, "get") == 0)
			p.get_1000 = x;
		else if (strcmp(one, "storage") == 0)
			p.storage_gib_month = x;
		else
			return err_set(ERR_CONFIG, "--price: %s is unknown; there are put, get (for 1000 requests) and storage (for a GiB a month)", one);
		text += len + (text[len] == ',');
	}
	*io = p;
	return 0;
}

double price_requests(const struct price *p, const uint64_t *requests, double seconds)
{
	double dear = (double)(requests[STORE_PUT] + requests[STORE_COPY] + requests[STORE_LIST]);
	double cheap = (double)(requests[STORE_GET] + requests[STORE_HEAD]); /* deletes cost nothing */

	if (seconds <= 0)
		return 0;
	return (dear * p->put_1000 + cheap * p->get_1000) / 1000.0 * PRICE_MONTH_S / seconds;
}

double price_storage(const struct price *p, uint64_t bytes)
{
	return (double)bytes / (1024.0 * 1024.0 * 1024.0) * p->storage_gib_month;
}
