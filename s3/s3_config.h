/* s3_config.h - an address, the options and the environment, made into what the S3 backend works with. Options: see S3.md. */
#ifndef CLONELOVE_S3_CONFIG_H
#define CLONELOVE_S3_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

struct s3_config {
	char bucket[256];
	char prefix[516]; /* "" or ends with '/' */
	char region[64];
	char host[300];   /* host[:port] of the endpoint; a default port is left out */
	bool https, custom_endpoint, path_style;
	char profile[128]; /* "": the environment's */
	char ca_bundle[512]; /* "": the system's */
	bool checksum, requester_pays;
	char sse[16], sse_kms_key_id[200], storage_class[32];
	unsigned connections;
	uint64_t timeout_ms, connect_timeout_ms, stall_ms, hedge_ms;
	uint64_t multipart_bytes, part_bytes;
};

/* Returns 0, or ERR_CONFIG (or -errno for an unreadable file) with a message. */
int s3_config_make(const char *address, const char *options, struct s3_config *ret);

/* Whether it can be a region's name: it goes into the host's name and into signatures. */
bool s3_config_is_region(const char *region);
/* Sets the region, and with AWS's own endpoint the host that goes with it. */
void s3_config_set_region(struct s3_config *c, const char *region);

#endif
