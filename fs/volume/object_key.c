/*
 * object_key.c - the names of a volume's objects. Numbers are decimal and zero-padded so that listings sort by them;
 * a name parses only in exactly the form in which it is made.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "object.h"

#define EPOCH_DIGITS 10
#define SLOT_DIGITS 12

void object_key_claim(uint64_t epoch, char *ret)
{
	snprintf(ret, OBJECT_KEY_MAX, "epochs/%0*" PRIu64, EPOCH_DIGITS, epoch);
}

void object_key_slot(uint64_t epoch, uint64_t slot, char *ret)
{
	snprintf(ret, OBJECT_KEY_MAX, "log/%0*" PRIu64 "/%0*" PRIu64, EPOCH_DIGITS, epoch, SLOT_DIGITS, slot);
}

void object_key_manifest(uint64_t epoch, uint64_t slot, char *ret)
{
	snprintf(ret, OBJECT_KEY_MAX, "manifests/%0*" PRIu64 "/%0*" PRIu64, EPOCH_DIGITS, epoch, SLOT_DIGITS, slot);
}

void object_key_run(const uint8_t *id, char *ret)
{
	static const char hex[] = "0123456789abcdef";
	char *p = ret + sprintf(ret, "runs/");

	for (int i = 0; i < ID_BYTES; i++) {
		*p++ = hex[id[i] >> 4];
		*p++ = hex[id[i] & 15];
	}
	*p = '\0';
}

/* Exactly `digits` digits at *io; moves it past them. Up to 19 digits fit a uint64_t. */
static bool parse_number(const char **io, int digits, uint64_t *ret)
{
	const char *p = *io;
	uint64_t x = 0;

	for (int i = 0; i < digits; i++, p++) {
		if (*p < '0' || *p > '9')
			return false;
		x = x * 10 + (uint64_t)(*p - '0');
	}
	*io = p;
	*ret = x;
	return true;
}

static bool parse_pair(const char *key, const char *folder, uint64_t *ret_epoch, uint64_t *ret_slot)
{
	size_t len = strlen(folder);
	uint64_t epoch, slot;

	if (strncmp(key, folder, len) != 0)
		return false;
	key += len;
	if (!parse_number(&key, EPOCH_DIGITS, &epoch) || *key++ != '/' || !parse_number(&key, SLOT_DIGITS, &slot) || *key)
		return false;
	*ret_epoch = epoch;
	*ret_slot = slot;
	return true;
}

bool object_parse_claim_key(const char *key, uint64_t *ret_epoch)
{
	uint64_t epoch;

	if (strncmp(key, "epochs/", 7) != 0)
		return false;
	key += 7;
	if (!parse_number(&key, EPOCH_DIGITS, &epoch) || *key)
		return false;
	*ret_epoch = epoch;
	return true;
}

bool object_parse_slot_key(const char *key, uint64_t *ret_epoch, uint64_t *ret_slot)
{
	return parse_pair(key, "log/", ret_epoch, ret_slot);
}

bool object_parse_manifest_key(const char *key, uint64_t *ret_epoch, uint64_t *ret_slot)
{
	return parse_pair(key, "manifests/", ret_epoch, ret_slot);
}
