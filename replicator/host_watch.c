/* host_watch.c - what the watcher says, told to the core: on the watcher's thread, but for what is asked about it. */
#include "err.h"
#include "host_impl.h"
#include "logmsg.h"

/* Not told yet: who hears of one end of a move alone looks at that, tells of it, and comes to the other end after that. */
static void watch_dirty(void *user, const char *path, size_t len, bool deep, bool writing)
{
	struct host *h = user;
	struct note *n = host_note_new(NOTE_DIRTY, path, len);

	n->deep = deep;
	n->writing = writing;
	*h->seen_end = n;
	h->seen_end = &n->next;
}

static void watch_over(void *user)
{
	struct host *h = user;

	if (!h->seen)
		return;
	pthread_mutex_lock(&h->mu);
	*h->notes_end = h->seen;
	h->notes_end = h->seen_end;
	pthread_cond_signal(&h->told);
	pthread_mutex_unlock(&h->mu);
	h->seen = NULL;
	h->seen_end = &h->seen;
}

static void watch_lost(void *user)
{
	logmsg(LOGMSG_NOTICE, "the kernel's queue of events ran over: scanning");
	watch_dirty(user, "", 0, true, false);
}

/* How many there are is said once: at the start (host_tell_limit), or when the first directory is found that is one too many. */
static void watch_blind(void *user, const char *path, size_t len, int rc)
{
	struct host *h = user;
	bool first;

	pthread_mutex_lock(&h->mu);
	first = !h->blind && h->watch;
	h->blind = true;
	pthread_mutex_unlock(&h->mu);
	logmsg(first ? LOGMSG_WARNING : LOGMSG_DEBUG, "%.*s cannot be watched (%s): from here on such directories are scanned once a minute. Raise the limit: "
	       "sysctl -w fs.inotify.max_user_watches=%llu", (int)len, path, err_text(rc), (unsigned long long)(2 * watch_limit()));
}

/* Are there watches enough for the tree? */
void host_tell_limit(struct host *h)
{
	struct host_watching w;

	host_watching(h, &w);
	if (w.unwatched)
		logmsg(LOGMSG_WARNING, "the tree has %llu directories, and %llu of them cannot be watched (the limit is %llu): these are scanned once a minute. "
		       "Raise the limit: sysctl -w fs.inotify.max_user_watches=%llu", (unsigned long long)(w.watched + w.unwatched),
		       (unsigned long long)w.unwatched, (unsigned long long)w.limit, (unsigned long long)(w.limit + 2 * (w.watched + w.unwatched)));
}

static void watch_gone(void *user)
{
	logmsg(LOGMSG_ERROR, "the tree's root is gone");
	watch_dirty(user, "", 0, true, false);
	watch_over(user);
}

const struct watch_events host_watch_events = { watch_dirty, watch_lost, watch_blind, watch_gone, watch_over };

void host_watching(struct host *h, struct host_watching *ret)
{
	*ret = (struct host_watching){ watch_count(h->watch), watch_blind_count(h->watch), watch_limit() };
}
