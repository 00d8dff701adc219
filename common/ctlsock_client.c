/*
 * ctlsock_client.c - asks a process on its control socket. Nothing is kept.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctlsock.h"
#include "err.h"

int ctlsock_dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	strcpy(a.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* On a unix socket one that was interrupted has not begun. */
	do
		rc = connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	while (rc == -EINTR);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

static int send_line(int fd, const char *text)
{
	size_t len = strlen(text), done = 0;

	while (done < len + 1) {
		ssize_t n = done < len ? send(fd, text + done, len - done, MSG_NOSIGNAL) : send(fd, "\n", 1, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPIPE;
		done += (size_t)n;
	}
	return 0;
}

/* Hands each line to each() (which may be NULL) until one holds "ok"; that one is left parsed in *ret_last. */
static int read_replies(int fd, int (*each)(void *user, const char *line), void *user, struct json_object **ret_last)
{
	char *b = malloc(CTLSOCK_REPLY_MAX);
	size_t len = 0;
	int rc = b ? 0 : -ENOMEM;

	*ret_last = NULL;
	while (!rc && !*ret_last) {
		ssize_t n = recv(fd, b + len, CTLSOCK_REPLY_MAX - 1 - len, 0);
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || len + (size_t)n >= CTLSOCK_REPLY_MAX - 1) {
			rc = n < 0 ? -errno : n == 0 ? -ECONNRESET : -EMSGSIZE;
			break;
		}
		len += (size_t)n;
		b[len] = '\0';
		while (!rc && !*ret_last && (end = memchr(b, '\n', len))) {
			struct json_object *o, *ok;

			*end = '\0';
			rc = each ? each(user, b) : 0;
			o = json_tokener_parse(b);
			if (!o || !json_object_object_get_ex(o, "ok", &ok))
				json_object_put(o);
			else
				*ret_last = o;
			len -= (size_t)(end + 1 - b);
			memmove(b, end + 1, len + 1);
		}
	}
	free(b);
	if (rc) {
		json_object_put(*ret_last);
		*ret_last = NULL;
	}
	return rc;
}

int ctlsock_ask(int fd, const char *request, int (*each)(void *user, const char *line), void *user, struct json_object **ret_last)
{
	int rc = send_line(fd, request);

	*ret_last = NULL;
	return rc ? rc : read_replies(fd, each, user, ret_last);
}

int ctlsock_result(struct json_object *last, const char *who)
{
	struct json_object *ok, *error, *code;
	int rc = -EIO;

	if (json_object_object_get_ex(last, "ok", &ok) && json_object_get_boolean(ok))
		return 0;
	if (json_object_object_get_ex(last, "code", &code) && json_object_get_int(code) < 0)
		rc = json_object_get_int(code);
	if (json_object_object_get_ex(last, "error", &error) && error)
		return err_set(rc, "%s", json_object_get_string(error));
	return err_set(rc, "%s refused", who);
}
