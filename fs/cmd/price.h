/*
 * price.h - what requests and storage cost, as an estimate.
 *
 * The defaults are AWS S3 Standard's list prices of us-east-1 (https://aws.amazon.com/s3/pricing/, as published in 2025); every other
 * provider and region differs: --price overrides each. Transfer is left out: within a region it costs nothing.
 */
#ifndef CLONELOVE_PRICE_H
#define CLONELOVE_PRICE_H

#include "store.h"

struct price {
	double put_1000;  /* US dollars for 1000 PUT, COPY or LIST requests */
	double get_1000;  /* for 1000 GET or HEAD requests */
	double storage_gib_month;
};

#define PRICE_DEFAULT { 0.005, 0.0004, 0.023 }
#define PRICE_MONTH_S (30.0 * 86400.0)

/* "put=0.005,get=0.0004,storage=0.023", any of them. 0 or ERR_CONFIG with a message. */
int price_parse(const char *text, struct price *io);
/* Dollars a month at this rate of requests (counted over seconds). 0 where nothing was counted. */
double price_requests(const struct price *p, const uint64_t *requests /* STORE_OPS */, double seconds);
double price_storage(const struct price *p, uint64_t bytes);

#endif
