/*
 * ctlsock.h - a control socket: a unix stream socket (0600) on which a process
 * is asked, one JSON object per line, and answers in JSON lines; and the side
 * of who asks.
 *
 * A request is {"do":"WHAT",...}. Its answer is any number of lines without "ok" (progress), then one with "ok":true, or with "ok":false,
 * "error":TEXT and "code":a code of err.h. Requests of one connection are answered in order.
 *
 * Threads: one of the server's own calls everything in the options and in ctlsock_later but free(); none of it may block.
 */
#ifndef CLONELOVE_CTLSOCK_H
#define CLONELOVE_CTLSOCK_H

#include <json-c/json.h>
#include <stdbool.h>

struct ctlsock;
struct ctlsock_conn;
struct ctlsock_hub;

/*
 * An answer that comes later, inside the owner's own struct. It may come when the server is gone: nobody hears it then, and free() is called all the same.
 */
struct ctlsock_later {
	/* A moment of waiting has passed (200 ms). False: the peer is gone. NULL is fine. */
	bool (*tick)(struct ctlsock_later *l, struct ctlsock_conn *k);
	/* ctlsock_done was called: sends the last line. Not called where the peer or the server is gone. False: the peer is gone. */
	bool (*over)(struct ctlsock_later *l, struct ctlsock_conn *k);
	/* The peer or the server is gone, and nobody called ctlsock_done yet: where nobody else would, this does. NULL: somebody will. */
	void (*gone)(struct ctlsock_later *l);
	/* Once, on any thread, with no lock held; after ctlsock_done or ctlsock_release. */
	void (*free)(struct ctlsock_later *l);
	/* private */
	struct ctlsock_hub *hub;
	bool done, abandoned;
};

struct ctlsock_options {
	const char *path; /* its directory is made (0755) where it is missing; borrowed until ctlsock_stop */
	/* Answers a request by one of the sends below, or by ctlsock_wait. what: its "do", "" where there is none; q: all of it, NULL where it is no JSON.
	 * False: the peer is gone. */
	bool (*request)(void *user, struct ctlsock_conn *k, const char *what, struct json_object *q);
	void *user;
};

/* 0; -EADDRINUSE where somebody listens there, -EEXIST where something is that is no socket, and others, with a message. */
int ctlsock_start(const struct ctlsock_options *o, struct ctlsock **ret);
void ctlsock_stop(struct ctlsock *s); /* NULL is fine. Removes the socket */

/* Each returns false where the peer is gone or does not read. */
bool ctlsock_send(struct ctlsock_conn *k, const char *text, size_t len);
bool ctlsock_send_json(struct ctlsock_conn *k, struct json_object *o); /* a line; frees o, which may be NULL (no memory) */
/* The last line: ok with our process ID, or the error; why NULL or "": the code's text. */
bool ctlsock_send_result(struct ctlsock_conn *k, int rc, const char *why);

/* An answer is to come later: in this order hold, start what will call done, then wait; or release, where it need not be waited for after all. */
void ctlsock_hold(struct ctlsock_conn *k, struct ctlsock_later *l);
void ctlsock_wait(struct ctlsock_conn *k, struct ctlsock_later *l);
void ctlsock_release(struct ctlsock_later *l);
/* Any thread, once. l may be gone when it returns. */
void ctlsock_done(struct ctlsock_later *l);

/*
 * A socket that listens at path: what a dead process left is replaced, what lives is -EADDRINUSE. Its directory is made; one in /tmp that is named
 * PROGRAM-UID, which anybody could have made first, must be the caller's alone.
 */
int ctlsock_listen(const char *path, int *ret_fd);
int ctlsock_make_dir(const char *path); /* the directory that path is in */

/* --- who asks --- */

#define CTLSOCK_REPLY_MAX 65536 /* bytes of a line */

/* A connection, or -errno. */
int ctlsock_dial(const char *path);
/*
 * Sends a request line; hands each line of the answer to each() (which may be NULL; non-zero ends it) and leaves the last one, parsed, in *ret_last
 * for the caller to put. 0, -errno, -ECONNRESET where the other side went away.
 */
int ctlsock_ask(int fd, const char *request, int (*each)(void *user, const char *line), void *user, struct json_object **ret_last);
/* What a last line says: 0, or its code, with its message (or, where it has none, "who refused"). */
int ctlsock_result(struct json_object *last, const char *who);

#endif
