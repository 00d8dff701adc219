/* keys.c - key files: reading and making them; signatures, by libsodium. */
#include "keys.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

#define FILE_MAX 4096
#define PSK_CONTEXT "clsyncPK" /* crypto_kdf: 8 bytes */
#define NAME_ID 1u
#define PSK_ID 2u

struct key { uint8_t psk[KEY_BYTES]; char name[KEY_NAME_BYTES]; };

struct keys { /* in sodium_malloc's memory */
	size_t count;
	struct key k[KEYS_MAX];
};

struct node_key { uint8_t pub[NODE_KEY_BYTES], secret[crypto_sign_SECRETKEYBYTES]; };

static void *guarded(size_t len)
{
	void *p = sodium_init() < 0 ? NULL : sodium_malloc(len);

	if (p)
		memset(p, 0, len);
	return p;
}

void keys_generate(char *ret)
{
	uint8_t key[KEY_BYTES];

	if (sodium_init() < 0)
		abort();
	randombytes_buf(key, sizeof key);
	sodium_bin2base64(ret, KEY_TEXT_BYTES, key, sizeof key, sodium_base64_VARIANT_ORIGINAL);
	sodium_memzero(key, sizeof key);
}

static void derive(const uint8_t *key, struct key *ret)
{
	uint8_t name[16];

	crypto_kdf_derive_from_key(ret->psk, KEY_BYTES, PSK_ID, PSK_CONTEXT, key);
	crypto_kdf_derive_from_key(name, sizeof name, NAME_ID, PSK_CONTEXT, key);
	sodium_bin2hex(ret->name, KEY_NAME_BYTES, name, (KEY_NAME_BYTES - 1) / 2);
}

static int add_line(struct keys *k, const char *path, unsigned number, const char *line, size_t len)
{
	uint8_t key[KEY_BYTES];
	size_t got;
	int rc = 0;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' ' || line[len - 1] == '\t'))
		len--;
	if (len == 0 || line[0] == '#')
		return 0;
	if (k->count == KEYS_MAX)
		return err_set(ERR_CONFIG, "%s has more than %u keys: take out those that no member uses any more", path, KEYS_MAX);
	if (sodium_base642bin(key, sizeof key, line, len, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) || got != KEY_BYTES)
		rc = err_set(ERR_CONFIG, "line %u of %s is no key: a key is 44 characters, as clonesync keygen prints them", number, path);
	else
		derive(key, &k->k[k->count++]);
	sodium_memzero(key, sizeof key);
	return rc;
}

/* All of a small file. text: FILE_MAX + 1 bytes, guarded. */
static int read_file(const char *path, char *text, size_t *ret_len)
{
	struct stat st;
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return err_set(-errno, "cannot open %s: %s", path, strerror(errno));
	n = fstat(fd, &st) ? -1 : read(fd, text, FILE_MAX + 1);
	if (n < 0)
		rc = err_set(-errno, "cannot read %s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode) || n > FILE_MAX)
		rc = err_set(ERR_CONFIG, "%s is no key file: it is larger than %d bytes or no regular file", path, FILE_MAX);
	else if (st.st_mode & 07)
		rc = err_set(-EPERM, "%s can be read or written by everybody (mode %o): chmod 600 %s, and change the key if somebody may have read it",
			     path, st.st_mode & 07777u, path);
	close(fd);
	if (!rc)
		*ret_len = (size_t)n;
	return rc;
}

int keys_load(const char *path, struct keys **ret)
{
	char *text = guarded(FILE_MAX + 1), *p, *end;
	struct keys *k = guarded(sizeof *k);
	unsigned number = 0;
	size_t len = 0;
	int rc = text && k ? read_file(path, text, &len) : -ENOMEM;

	if (rc == -ENOENT)
		err_set(rc, "there is no key file %s: make one with clonesync keygen > %s, the same on every member", path, path);
	if (rc == -ENOENT || rc == -ENOTDIR || rc == -EISDIR || rc == -EACCES || rc == -EPERM)
		rc = ERR_CONFIG; /* it stays so until somebody changes it */
	for (p = text, end = p + len; !rc && p < end; p++) {
		char *eol = memchr(p, '\n', (size_t)(end - p));

		if (!eol)
			eol = end;
		rc = add_line(k, path, ++number, p, (size_t)(eol - p));
		p = eol;
	}
	if (!rc && k->count == 0)
		rc = err_set(ERR_CONFIG, "%s holds no key", path);
	sodium_free(text);
	if (rc) {
		keys_free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

void keys_free(struct keys *k)
{
	sodium_free(k);
}

size_t keys_count(const struct keys *k)
{
	return k->count;
}

const char *keys_name(const struct keys *k, size_t i)
{
	return k->k[i].name;
}

const uint8_t *keys_psk(const struct keys *k, size_t i)
{
	return k->k[i].psk;
}

/* --- the node's own --- */

static int sync_parent(const char *path)
{
	char *copy = strdup(path);
	int fd, rc = -ENOMEM;

	if (copy) {
		fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		rc = fd < 0 || fsync(fd) ? -errno : 0;
		if (fd >= 0)
			close(fd);
		free(copy);
	}
	return rc;
}

/* The seed goes to a file of another name first: a key file is whole or is not there. */
static int write_seed(const char *path, const uint8_t *seed)
{
	char tmp[4096];
	int fd, rc = 0;

	if ((size_t)snprintf(tmp, sizeof tmp, "%s.new", path) >= sizeof tmp)
		return -ENAMETOOLONG;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	errno = EIO;
	if (write(fd, seed, crypto_sign_SEEDBYTES) != crypto_sign_SEEDBYTES || fsync(fd))
		rc = -errno;
	close(fd);
	if (!rc && rename(tmp, path))
		rc = -errno;
	return rc ? rc : sync_parent(path);
}

int node_key_load(const char *path, struct node_key **ret)
{
	struct node_key *k = guarded(sizeof *k);
	char *seed = guarded(FILE_MAX + 1);
	size_t len = 0;
	int rc = k && seed ? read_file(path, seed, &len) : -ENOMEM;

	if (rc == -ENOENT) {
		randombytes_buf(seed, crypto_sign_SEEDBYTES);
		len = crypto_sign_SEEDBYTES;
		rc = write_seed(path, (const uint8_t *)seed);
		if (rc)
			err_set(rc, "cannot make this node's key %s: %s", path, err_text(rc));
	}
	if (!rc && len != crypto_sign_SEEDBYTES)
		rc = err_set(ERR_CONFIG, "%s is no node key: remove it, and this node gets a new identity", path);
	if (!rc)
		crypto_sign_seed_keypair(k->pub, k->secret, (const uint8_t *)seed);
	sodium_free(seed);
	if (rc) {
		node_key_free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

void node_key_free(struct node_key *k)
{
	sodium_free(k);
}

const uint8_t *node_key_public(const struct node_key *k)
{
	return k->pub;
}

void node_key_sign(const struct node_key *k, const void *p, size_t len, uint8_t *ret)
{
	crypto_sign_detached(ret, NULL, p, len, k->secret);
}

int node_key_verify(const uint8_t *node, const void *p, size_t len, const uint8_t *signature)
{
	return crypto_sign_verify_detached(signature, p, len, node) == 0;
}
