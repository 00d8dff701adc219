/*
 * keys.h - the cluster's keys and the node's own.
 *
 * The cluster key file has one key a line, 32 random bytes in base64 (44 characters); empty lines and lines that begin with # say nothing. The first
 * key is the one we call with; every one is accepted, so that a key is changed by adding the new one everywhere, putting it first
 * everywhere, and then taking the old one out. At most KEYS_MAX. The file must not be readable by others than its owner and group.
 *
 * Secrets live in memory of libsodium's guarded kind: never swapped, never in a core dump, wiped when freed. (OpenSSL's session of each connection has a copy of the
 * cluster's key in its own heap.) No key is ever in a message.
 */
#ifndef CLONELOVE_KEYS_H
#define CLONELOVE_KEYS_H

#include <stddef.h>
#include <stdint.h>

#define KEYS_MAX 4u
#define KEY_BYTES 32
#define KEY_TEXT_BYTES 45      /* with its NUL */
#define KEY_NAME_BYTES 17      /* 16 hex digits: the PSK identity; tells keys apart, tells nothing of them */
#define NODE_KEY_BYTES 32      /* public */
#define NODE_SIGNATURE_BYTES 64

struct keys;

/* A fresh key as text. ret: KEY_TEXT_BYTES. */
void keys_generate(char *ret);

/* 0; ERR_CONFIG (not there, not to be read, mode too open, no key: names file and line, never the key), -errno. */
int keys_load(const char *path, struct keys **ret);
void keys_free(struct keys *k); /* NULL is fine */
size_t keys_count(const struct keys *k);
/* The i-th key's name, and what TLS uses of it (derived, KEY_BYTES: the key itself never leaves this file). i < keys_count. */
const char *keys_name(const struct keys *k, size_t i);
const uint8_t *keys_psk(const struct keys *k, size_t i);

struct node_key;

/* The node's Ed25519 key in this file, made there (0600, synced) when there is none. */
int node_key_load(const char *path, struct node_key **ret);
void node_key_free(struct node_key *k); /* NULL is fine */
const uint8_t *node_key_public(const struct node_key *k);
void node_key_sign(const struct node_key *k, const void *p, size_t len, uint8_t *ret);
/* 1 = this node signed these bytes; 0. */
int node_key_verify(const uint8_t *node, const void *p, size_t len, const uint8_t *signature);

#endif
