/*
 * link_tls.c - TLS 1.3 with external pre-shared keys and nothing else: no certificates, no tickets, no early data. A peer without
 * the key gets no further than its first message.
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "err.h"
#include "link_impl.h"

static const unsigned char cipher_id[] = { 0x13, 0x01 }; /* TLS_AES_128_GCM_SHA256: an external PSK goes with SHA-256 (RFC 8446 4.2.11) */
#define READ_BYTES 131072u

static const char export_label[] = "EXPORTER-clonesync-1";

/* A session that stands for the i-th key. */
static SSL_SESSION *session_of(SSL *ssl, const struct keys *keys, size_t i)
{
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, cipher_id);
	SSL_SESSION *s = SSL_SESSION_new();

	if (!s || !cipher || !SSL_SESSION_set1_master_key(s, keys_psk(keys, i), KEY_BYTES) || !SSL_SESSION_set_cipher(s, cipher) ||
	    !SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION)) {
		SSL_SESSION_free(s);
		return NULL;
	}
	return s;
}

static int use_key(SSL *ssl, const EVP_MD *md, const unsigned char **id, size_t *id_len, SSL_SESSION **ret)
{
	struct link *l = SSL_get_app_data(ssl);
	const struct keys *keys = l->hub->o.keys;

	(void)md;
	*ret = session_of(ssl, keys, l->key);
	if (!*ret)
		return 0;
	*id = (const unsigned char *)keys_name(keys, l->key);
	*id_len = KEY_NAME_BYTES - 1;
	return 1;
}

static int find_key(SSL *ssl, const unsigned char *id, size_t id_len, SSL_SESSION **ret)
{
	struct link *l = SSL_get_app_data(ssl);
	const struct keys *keys = l->hub->o.keys;

	*ret = NULL;
	for (size_t i = 0; i < keys_count(keys); i++) {
		if (id_len != KEY_NAME_BYTES - 1 || memcmp(id, keys_name(keys, i), id_len) != 0)
			continue;
		*ret = session_of(ssl, keys, i);
		return *ret != NULL;
	}
	return 1; /* unknown: without a certificate the handshake ends there */
}

static SSL_CTX *context(const SSL_METHOD *method)
{
	SSL_CTX *c = SSL_CTX_new(method);

	if (!c)
		return NULL;
	SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
	SSL_CTX_set_ciphersuites(c, "TLS_AES_128_GCM_SHA256");
	SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(c, 1); /* several records by one read(2): what is left over, SSL_has_pending tells */
	SSL_CTX_set_default_read_buffer_len(c, READ_BYTES);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c, 0);
	SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL); /* the key is what proves a peer, and then its signature */
	return c;
}

int link_tls_open(struct link_hub *h)
{
	h->server = context(TLS_server_method());
	h->client = context(TLS_client_method());
	if (!h->server || !h->client)
		return err_set(-ENOMEM, "OpenSSL cannot make a TLS context: %s", ERR_reason_error_string(ERR_get_error()));
	SSL_CTX_set_psk_find_session_callback(h->server, find_key);
	SSL_CTX_set_psk_use_session_callback(h->client, use_key);
	return 0;
}

void link_tls_close(struct link_hub *h)
{
	SSL_CTX_free(h->server);
	SSL_CTX_free(h->client);
}

int link_tls_start(struct link *l)
{
	l->ssl = SSL_new(l->inbound ? l->hub->server : l->hub->client);
	if (!l->ssl || !SSL_set_fd(l->ssl, l->fd))
		return -ENOMEM;
	SSL_set_app_data(l->ssl, l);
	if (l->inbound)
		SSL_set_accept_state(l->ssl);
	else
		SSL_set_connect_state(l->ssl);
	return 0;
}

/* What a call of OpenSSL's that did not succeed waits for; false: it failed. */
static bool waits(struct link *l, int rc)
{
	int e = SSL_get_error(l->ssl, rc);

	l->want_read = e == SSL_ERROR_WANT_READ;
	l->want_write = e == SSL_ERROR_WANT_WRITE;
	return l->want_read || l->want_write;
}

static void say_why(struct link *l, const char *what)
{
	unsigned long e = ERR_get_error();
	const char *reason = e ? ERR_reason_error_string(e) : NULL;

	if (!l->why[0])
		snprintf(l->why, sizeof l->why, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
	ERR_clear_error();
}

/* Somebody did not like something; else somebody only went away. */
static bool is_answer(unsigned long e)
{
	return e && !(ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
}

int link_tls_shake(struct link *l)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(l->ssl);
	if (rc == 1) {
		l->want_read = true;
		l->want_write = false;
		/* Whatever else it may have agreed to: without the key it is nobody. */
		if (SSL_session_reused(l->ssl) && SSL_version(l->ssl) == TLS1_3_VERSION)
			return 1;
		say_why(l, "the peer did not use the cluster's key");
		return ERR_AUTH;
	}
	if (waits(l, rc))
		return 0;
	if (!is_answer(ERR_peek_error())) {
		say_why(l, "the connection ended while it was being made");
		return -ECONNRESET;
	}
	say_why(l, "no TLS with the cluster's key (is it the same key on both sides?)");
	return ERR_AUTH;
}

int link_tls_export(struct link *l, bool client, uint8_t *ret)
{
	const char *context = client ? "client" : "server";

	return SSL_export_keying_material(l->ssl, ret, LINK_EXPORT_BYTES, export_label, sizeof export_label - 1,
					  (const unsigned char *)context, strlen(context), 1) == 1 ? 0 : -EIO;
}

int link_tls_read(struct link *l, void *p, size_t len)
{
	size_t n;
	int rc;

	ERR_clear_error();
	rc = SSL_read_ex(l->ssl, p, len, &n);
	if (rc == 1)
		return (int)n;
	if (waits(l, rc))
		return 0;
	say_why(l, "the peer closed the connection");
	return -ECONNRESET;
}

int link_tls_write(struct link *l, const void *p, size_t len)
{
	size_t n;
	int rc;

	ERR_clear_error();
	rc = SSL_write_ex(l->ssl, p, len, &n);
	if (rc == 1)
		return (int)n;
	if (waits(l, rc))
		return 0;
	say_why(l, "the peer does not take what we send");
	return -EPIPE;
}
