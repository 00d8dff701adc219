/* host.c - threads around the core. host_impl.h has the locks. */
#include "host_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "logmsg.h"
#include "published.h"

#define NO_ALARM UINT64_MAX
#define TURN_NOTES 64u             /* that are heard before anything is started */
#define FRAMES_MOST (64u << 20)    /* bytes of frames that wait for the core; then the hub does */
#define TAKE_BYTES 65536u          /* frames so long are not copied */
#define BLIND_AGAIN_NS 60000000000ull
#define UNHEARD_SAY_S 60u                   /* so long something may wait for a member that joins or scans before that is said, */
#define UNHEARD_AGAIN_NS 600000000000ull     /* and again */
#define ROOT_AGAIN_NS 2000000000ull
#define MAP_BYTES (1ull << 40)

static struct host *of(struct node_host *b) { return (struct host *)(void *)b; }

/* --- telling the core --- */

struct note *host_note_new(enum note_kind kind, const void *bytes, size_t len)
{
	struct note *n = malloc(sizeof *n + len + 1);

	if (!n) {
		logmsg(LOGMSG_ERROR, "out of memory");
		abort(); /* a change or an answer that is not told would be lost for good */
	}
	memset(n, 0, sizeof *n);
	n->kind = kind;
	n->len = len;
	n->body = n->bytes;
	if (len)
		memcpy(n->bytes, bytes, len);
	n->bytes[len] = '\0';
	return n;
}

static void tell(struct host *h, struct note *n)
{
	pthread_mutex_lock(&h->mu);
	*h->notes_end = n;
	h->notes_end = &n->next;
	pthread_cond_signal(&h->told);
	pthread_mutex_unlock(&h->mu);
}

/* --- what the core asks for --- */

static void submit(struct node_host *b, struct node_job *j)
{
	struct host *h = of(b);

	j->next = NULL;
	pthread_mutex_lock(&h->mu);
	*h->jobs_end = j;
	h->jobs_end = &j->next;
	pthread_cond_signal(&h->work);
	pthread_mutex_unlock(&h->mu);
}

static int host_send(struct node_host *b, void *link, struct buf *frames)
{
	struct peer_link *p = link;
	int rc;

	(void)b;
	pthread_mutex_lock(&p->mu);
	rc = p->link ? link_send(p->link, frames) : -EPIPE;
	pthread_mutex_unlock(&p->mu);
	buf_reset(frames);
	return rc;
}

static size_t host_queued(struct node_host *b, void *link)
{
	struct peer_link *p = link;
	size_t n;

	(void)b;
	pthread_mutex_lock(&p->mu);
	n = p->link ? link_queued(p->link) : SIZE_MAX;
	pthread_mutex_unlock(&p->mu);
	return n;
}

static void host_close(struct node_host *b, void *link, const char *why)
{
	struct peer_link *p = link;

	(void)b;
	pthread_mutex_lock(&p->mu);
	if (p->link)
		link_close(p->link, why);
	pthread_mutex_unlock(&p->mu);
}

static void wake_at(struct node_host *b, uint64_t boot_ns)
{
	if (boot_ns < of(b)->alarm_ns)
		of(b)->alarm_ns = boot_ns;
}

/* A thread of the store's, or whoever asked. */
static void published_over(void *user, struct node_published *g)
{
	struct note *n = host_note_new(NOTE_JOB, NULL, 0);

	n->job = &g->j;
	tell(user, n);
}

static void get_published(struct node_host *b, struct node_published *g)
{
	published_get(of(b)->published, g, published_over, of(b));
}

/* --- workers --- */

static void *worker(void *arg)
{
	struct host *h = arg;
	struct node_job *j;
	struct note *n;

	for (;;) {
		pthread_mutex_lock(&h->mu);
		while (!h->jobs && !h->core_over)
			pthread_cond_wait(&h->work, &h->mu);
		j = h->jobs;
		if (j) {
			h->jobs = j->next;
			if (!h->jobs)
				h->jobs_end = &h->jobs;
		}
		pthread_mutex_unlock(&h->mu);
		if (!j)
			return NULL;
		j->run(j);
		n = host_note_new(NOTE_JOB, NULL, 0);
		n->job = j;
		tell(h, n);
	}
}

/* --- the hub's thread --- */

static void link_hello(void *user, struct frame_hello *ret)
{
	struct host *h = user;

	pthread_mutex_lock(&h->mu);
	memcpy(ret->incarnation, h->hello.incarnation, sizeof ret->incarnation);
	memcpy(ret->index_id, h->hello.index_id, sizeof ret->index_id);
	memcpy(ret->tree_id, h->hello.tree_id, sizeof ret->tree_id);
	ret->joining = h->hello.joining;
	pthread_mutex_unlock(&h->mu);
	ret->wall_us = env_system()->real_ns(env_system()) / 1000;
	ret->name = (struct frame_text){ h->name, strlen(h->name) };
}

static void link_up(void *user, struct link *l, const struct frame_hello *hello)
{
	struct host *h = user;
	struct peer_link *p = calloc(1, sizeof *p);
	char local[FRAME_NAME_MAX] = "";
	struct note *n;

	if (!p)
		abort();
	if (!link_local(l, local, sizeof local))
		local[0] = '\0';
	n = host_note_new(NOTE_UP, local, strlen(local)); /* a NUL is behind it */
	pthread_mutex_init(&p->mu, NULL);
	p->link = l;
	memcpy(p->key, hello->node, sizeof p->key);
	link_set_user(l, p);
	n->p = p;
	n->hello = *hello;
	n->hello.cluster = n->hello.name = n->hello.address = (struct frame_text){ NULL, 0 }; /* views that die */
	logmsg(LOGMSG_NOTICE, "%.*s (%s) is up", (int)hello->name.len, hello->name.p ? hello->name.p : "", link_address(l));
	tell(h, n);
	admit_up(h->admit, hello->node);
	host_note_refusal(h, NULL, NULL);
}

static int link_frame(void *user, struct link *l, const struct frame *f)
{
	struct host *h = user;
	bool take = f->whole && f->len >= TAKE_BYTES;
	struct note *n = host_note_new(NOTE_FRAME, f->body, take ? 0 : f->len);

	if (take) {
		n->len = f->len;
		n->body = f->body;
		n->whole = *f->whole;
		*f->whole = (struct buf)BUF_INIT;
	}
	n->p = link_user(l);
	n->type = f->type;
	pthread_mutex_lock(&h->mu);
	while (h->frame_bytes > FRAMES_MOST && !h->stopping)
		pthread_cond_wait(&h->room, &h->mu);
	h->frame_bytes += f->len;
	pthread_mutex_unlock(&h->mu);
	tell(h, n);
	return 0;
}

static void link_drained(void *user, struct link *l)
{
	struct note *n = host_note_new(NOTE_DRAINED, NULL, 0);

	n->p = link_user(l);
	tell(user, n);
}

static void link_gone(void *user, struct link *l, const char *why)
{
	struct host *h = user;
	struct peer_link *p = link_user(l);
	struct note *n = host_note_new(NOTE_DOWN, NULL, 0);

	logmsg(LOGMSG_NOTICE, "%s is down: %s", link_address(l), why);
	pthread_mutex_lock(&p->mu);
	p->link = NULL;
	pthread_mutex_unlock(&p->mu);
	admit_down(h->admit, link_node(l));
	n->p = p;
	tell(h, n);
}

static const struct link_events link_events = {
	.hello = link_hello, .judge = host_judge, .up = link_up, .frame = link_frame, .drained = link_drained, .down = link_gone, .refused = host_note_refusal,
};

/* --- the core's thread --- */

static void answered(struct host *h, struct ask *a, bool lost)
{
	pthread_mutex_lock(&h->mu);
	a->over = true;
	a->lost = lost;
	pthread_cond_broadcast(&h->answered);
	pthread_mutex_unlock(&h->mu);
}

int host_ask(struct host *h, void (*run)(struct host *h, void *arg), void *arg)
{
	struct ask a = { run, arg, false, false };
	struct note *n = host_note_new(NOTE_ASK, NULL, 0);

	n->ask = &a;
	tell(h, n);
	pthread_mutex_lock(&h->mu);
	while (!a.over)
		pthread_cond_wait(&h->answered, &h->mu);
	pthread_mutex_unlock(&h->mu);
	return a.lost ? -ESHUTDOWN : 0;
}

static void link_free(struct peer_link *p)
{
	pthread_mutex_destroy(&p->mu);
	free(p);
}

/* It sent what is not replicated (carried.h): nothing of that frame was taken. It is an old or a hostile program, and would send it again. */
void host_bad_peer(struct host *h, struct peer_link *p, const char *what)
{
	logmsg(LOGMSG_ERROR, "a member is dropped for a minute: %s", what);
	admit_bad(h->admit, p->key);
	host_close(&h->base, p, what);
}

/* n is freed, or held back. */
static void hear(struct host *h, struct note *n)
{
	int rc;

	switch (n->kind) {
	case NOTE_JOB:
		n->job->done(n->job);
		break;
	case NOTE_DIRTY:
		node_dirty(h->node, (const char *)n->bytes, n->len, n->deep, n->writing);
		break;
	case NOTE_UP:
		rc = node_up(h->node, n->p, &n->hello, &n->p->peer);
		if (rc)
			host_close(&h->base, n->p, err_text(rc));
		else
			host_members_up(h, (const char *)n->bytes);
		break;
	case NOTE_ASK:
		n->ask->run(h, n->ask->arg);
		answered(h, n->ask, false);
		break;
	case NOTE_FRAME:
		if (host_hold(h, n))
			return;
		host_hear_frame(h, n);
		break;
	case NOTE_DRAINED:
		if (n->p->peer)
			node_drained(h->node, n->p->peer);
		break;
	case NOTE_DOWN:
		host_drop_held(h, n->p);
		if (n->p->peer)
			node_down(h->node, n->p->peer);
		link_free(n->p);
		break;
	}
	host_note_free(h, n);
}

/* Waits for news until the alarm; takes all of it. */
static struct note *wait_for_news(struct host *h, uint64_t now)
{
	struct timespec ts;
	struct note *n;

	pthread_mutex_lock(&h->mu);
	if (!h->notes && h->alarm_ns > now && !h->stopping) {
		uint64_t wait = h->alarm_ns == NO_ALARM || h->alarm_ns - now > 1000000000ull ? 1000000000ull : h->alarm_ns - now;

		clock_gettime(CLOCK_MONOTONIC, &ts);
		wait += (uint64_t)ts.tv_nsec;
		ts.tv_sec += (time_t)(wait / 1000000000ull);
		ts.tv_nsec = (long)(wait % 1000000000ull);
		pthread_cond_timedwait(&h->told, &h->mu, &ts);
	}
	n = h->notes;
	h->notes = NULL;
	h->notes_end = &h->notes;
	pthread_mutex_unlock(&h->mu);
	return n;
}

static void publish_status(struct host *h)
{
	struct node_status s;
	struct frame_hello hello;

	memset(&hello, 0, sizeof hello);
	node_status(h->node, &s);
	node_hello(h->node, &hello);
	pthread_mutex_lock(&h->mu);
	h->status = s;
	h->hello = hello;
	pthread_mutex_unlock(&h->mu);
}

static void lost(struct node_host *b, const char *path)
{
	(void)b;
	logmsg(LOGMSG_WARNING, "what %.300s was to have is held by no member: it was given up, and what was there before holds", path);
}

static void rot(struct node_host *b, const char *path, enum node_rot what)
{
	(void)b;
	if (what == NODE_ROT_FOUND)
		logmsg(LOGMSG_ERROR, "%.300s is rotten: what is on the disk is not what was written, and nobody changed it; it is had again from the other members", path);
	else if (what == NODE_ROT_RESTORED)
		logmsg(LOGMSG_NOTICE, "%.300s is restored; what was rotten is in the trash", path);
	else
		logmsg(LOGMSG_ERROR, "%.300s is rotten, and no member has it as it was: it stays as it is, and goes to nobody; put a backup in its place", path);
}

/* What waits for a member that joins or scans for long is told of, and again. */
static void say_unheard(struct host *h, uint64_t now)
{
	if (h->status.unheard_s < UNHEARD_SAY_S || now < h->unheard_say_ns)
		return;
	h->unheard_say_ns = now + UNHEARD_AGAIN_NS;
	logmsg(LOGMSG_WARNING, "what no member seems to hold cannot be given up, nor what becomes of directories be decided, for %llu s now: a member is still joining, or looking through its directory "
	       "after a start (clonesync peers says which)", (unsigned long long)h->status.unheard_s);
}

static void scan_blind(struct host *h, uint64_t now)
{
	bool blind;

	pthread_mutex_lock(&h->mu);
	blind = h->blind;
	pthread_mutex_unlock(&h->mu);
	if (!blind || now < h->blind_ns)
		return;
	h->blind_ns = now + BLIND_AGAIN_NS;
	watch_again(h->watch);
	if (watch_blind_count(h->watch))
		node_dirty(h->node, "", 0, true, false);
}

/* What is unmounted lazily stays, for who has it open, and inotify says nothing: whether the root is still what is at its path is looked at now and then (R5). */
static void look_at_root(struct host *h, uint64_t now)
{
	if (now < h->root_ns)
		return;
	h->root_ns = now + ROOT_AGAIN_NS;
	node_dirty(h->node, "", 0, false, false);
}

/* In turns: what can be started is, now and then. */
static void hear_all(struct host *h, struct note *n)
{
	do {
		unsigned left = TURN_NOTES;

		node_turn_begin(h->node);
		host_hear_held(h, &left);
		while (n && left) {
			struct note *next = n->next;
			bool job = n->kind == NOTE_JOB;

			left--;
			hear(h, n);
			n = next;
			if (job) /* the next one may make the node full again before the turn is over */
				host_hear_held(h, &left);
		}
		node_turn_end(h->node);
	} while (n || (h->holding && !node_full(h->node)));
}

static void *core(void *arg)
{
	struct host *h = arg;
	struct env *env = env_system();
	bool stop;

	node_run(h->node);
	publish_status(h);
	do {
		struct note *n = wait_for_news(h, env->boot_ns(env));
		uint64_t now;

		hear_all(h, n);
		now = env->boot_ns(env);
		if (h->alarm_ns <= now) {
			h->alarm_ns = NO_ALARM;
			node_tick(h->node);
		}
		scan_blind(h, now);
		look_at_root(h, now);
		host_tidy_memory(h, now);
		publish_status(h);
		say_unheard(h, now);
		pthread_mutex_lock(&h->mu);
		stop = h->stopping && !h->notes;
		pthread_mutex_unlock(&h->mu);
	} while (!stop || !node_stop(h->node));
	return NULL;
}

/* --- start and end --- */

static int boot_id(uint8_t *ret)
{
	char text[64] = "";
	uint8_t hash[HASH_BYTES];
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return err_set(-EIO, "cannot read /proc/sys/kernel/random/boot_id: without it a power loss cannot be told from a restart");
	hash_blake2b(text, (size_t)n, hash);
	memcpy(ret, hash, 16);
	return 0;
}

/* Does the path lie in the directory? Both are real ones. */
static bool lies_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0' || len == 1);
}

/* What changes with everything that is done must not be what is replicated. By real paths, so that no symlink hides it. */
static int check_outside(const struct host_options *o)
{
	char dir[PATH_MAX], state[PATH_MAX];

	if (!realpath(o->dir, dir))
		return err_set(-errno, "cannot open %s: %s", o->dir, strerror(errno));
	if (!realpath(o->state_dir, state))
		return err_set(-errno, "cannot open the state directory %s: %s", o->state_dir, strerror(errno));
	if (lies_in(state, dir))
		return err_set(ERR_CONFIG, "the state directory %s lies in %s, which is replicated: each member needs one of its own elsewhere", state, dir);
	return 0;
}

/* All that can be found wrong before anything is made; and the keys. */
static int check_first(struct host *h, const struct host_options *o)
{
	char dir[PATH_MAX], key[PATH_MAX];
	struct stat st;
	int rc = 0;

	if (o->peer_count > HOST_PEERS_MAX)
		return err_set(ERR_CONFIG, "more than %u peers", HOST_PEERS_MAX);
	for (unsigned i = 0; i < o->peer_count && !rc; i++)
		rc = link_check_call(o->peers[i]);
	if (!rc && o->address)
		rc = link_check_call(o->address);
	if (!rc && o->listen)
		rc = link_check_listen(o->listen);
	if (!rc && o->ignore)
		rc = ignore_parse("ignore", o->ignore, strlen(o->ignore), &h->ignore);
	if (!rc && h->ignore && ignore_needs_kind(h->ignore))
		rc = err_set(ERR_CONFIG, "a pattern that keeps directories alone (!x/) is none that can be gone by");
	if (rc)
		return rc;
	if (!realpath(o->dir, dir) || stat(dir, &st))
		return err_set(-errno, "cannot open %s: %s", o->dir, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(-ENOTDIR, "%s is no directory", o->dir);
	rc = keys_load(o->cluster_key_file, &h->keys);
	if (!rc && realpath(o->cluster_key_file, key) && lies_in(key, dir))
		rc = err_set(ERR_CONFIG, "the key file %s lies in %s, where it would be replicated, and could be changed, by every member: move it elsewhere", key, dir);
	return rc;
}

static int open_state(struct host *h, const struct host_options *o, struct node_options *no)
{
	char path[HOST_STATE_DIR_MAX + 32];
	uint8_t random[INDEX_ID_BYTES];
	bool made = false;
	int rc;

	if (strlen(o->state_dir) > HOST_STATE_DIR_MAX)
		return err_set(-ENAMETOOLONG, "the path of the state directory is too long: %s", o->state_dir);
	if (mkdir(o->state_dir, 0700) == 0)
		made = true;
	else if (errno != EEXIST)
		return err_set(-errno, "cannot make the state directory %s: %s", o->state_dir, strerror(errno));
	strcpy(h->state_dir, o->state_dir);
	rc = check_outside(o);
	if (rc && made)
		rmdir(o->state_dir);
	snprintf(path, sizeof path, "%s/node.key", o->state_dir);
	if (!rc)
		rc = node_key_load(path, &h->key);
	env_system()->random(env_system(), random, sizeof random);
	snprintf(path, sizeof path, "%s/index", o->state_dir);
	if (!rc)
		rc = index_open(path, o->index_map_bytes ? o->index_map_bytes : MAP_BYTES, random, &h->index, &no->new_index);
	return rc;
}

static int start_threads(struct host *h)
{
	int rc = 0;

	while (!rc && h->worker_count < HOST_WORKERS) {
		rc = -pthread_create(&h->workers[h->worker_count], NULL, worker, h);
		if (!rc)
			h->worker_count++;
	}
	if (!rc)
		rc = -pthread_create(&h->core, NULL, core, h);
	h->core_started = !rc;
	return rc;
}

static int start(struct host *h, const struct host_options *o)
{
	struct node_options no = { .host = &h->base, .env = env_system(), .peers = o->peer_count, .name = h->name, .address = o->address,
				   .missing_percent = o->missing_percent, .missing_most = o->missing_most, .trash_keep_ns = o->trash_keep_ns,
				   .trash_most_bytes = o->trash_most_bytes, .tombs_keep_ns = o->tombs_keep_ns, .limit_rate = o->limit_rate };
	struct watch_options wo = { .dir = o->dir, .events = &host_watch_events, .user = h };
	struct link_options lo = { .env = env_system(), .listen = o->listen, .events = &link_events, .user = h };
	struct watch *watch;
	int rc = check_first(h, o);

	if (!rc)
		rc = open_state(h, o, &no);
	if (!rc)
		rc = boot_id(no.boot);
	if (!rc)
		rc = tree_posix_open(o->dir, &h->tree);
	if (!rc && !o->scrub_off) /* on clonefs it would fetch the volume */
		no.scrub_rate = o->scrub_rate ? o->scrub_rate : h->tree->far(h->tree) ? 0 : NODE_SCRUB_RATE;
	if (!rc)
		rc = watch_start(&wo, &watch);
	if (rc)
		return rc;
	pthread_mutex_lock(&h->mu); /* its thread is there already */
	h->watch = watch;
	pthread_mutex_unlock(&h->mu);
	host_tell_limit(h);
	no.ignore = h->ignore;
	no.tree = h->tree;
	no.index = h->index;
	memcpy(no.node, node_key_public(h->key), sizeof no.node);
	rc = node_start(&no, &h->node);
	if (rc == -EKEYREJECTED)
		return err_set(rc, "the cluster has forgotten this node: to join again as a new one, move %s and what is in %s away", o->state_dir, o->dir);
	if (rc)
		return err_set(rc, "cannot begin with %s: %s", o->dir, err_text(rc));
	publish_status(h);
	lo.keys = h->keys;
	lo.node = h->key;
	lo.paused = host_was_paused(h->state_dir);
	rc = link_hub_start(&lo, &h->hub);
	if (!rc)
		rc = host_members_start(h, o);
	return rc ? rc : start_threads(h);
}

int host_start(const struct host_options *o, struct host **ret)
{
	struct host *h = calloc(1, sizeof *h);
	pthread_condattr_t attr;
	int rc;

	if (!h)
		return -ENOMEM;
	host_bound_memory();
	h->published = o->published;
	h->base = (struct node_host){ submit, host_send, host_queued, host_close, wake_at, host_members_changed, lost, h->published ? get_published : NULL, rot };
	h->notes_end = &h->notes;
	h->seen_end = &h->seen;
	h->jobs_end = &h->jobs;
	h->alarm_ns = NO_ALARM;
	snprintf(h->name, sizeof h->name, "%s", o->name ? o->name : "");
	pthread_mutex_init(&h->mu, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->told, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&h->work, NULL);
	pthread_cond_init(&h->room, NULL);
	pthread_cond_init(&h->answered, NULL);
	rc = admit_new(env_system(), &h->admit);
	if (!rc)
		rc = start(h, o);
	if (rc) {
		host_stop(h);
		return rc;
	}
	*ret = h;
	return 0;
}

static void drop_notes(struct host *h)
{
	while (h->notes) {
		struct note *n = h->notes;

		h->notes = n->next;
		if (n->kind == NOTE_JOB)
			n->job->drop(n->job);
		if (n->kind == NOTE_DOWN) {
			host_drop_held(h, n->p);
			link_free(n->p);
		}
		if (n->kind == NOTE_ASK)
			answered(h, n->ask, true);
		buf_free(&n->whole);
		free(n);
	}
	h->notes_end = &h->notes;
}

void host_stop(struct host *h)
{
	if (!h)
		return;
	watch_stop(h->watch);
	if (h->published)
		published_cancel(h->published);
	link_hub_stop(h->hub); /* every link is told to be down, and the core hears it */
	pthread_mutex_lock(&h->mu);
	h->stopping = true;
	pthread_cond_broadcast(&h->told);
	pthread_cond_broadcast(&h->room);
	pthread_mutex_unlock(&h->mu);
	if (h->core_started)
		pthread_join(h->core, NULL);
	pthread_mutex_lock(&h->mu);
	h->core_over = true;
	pthread_cond_broadcast(&h->work);
	pthread_mutex_unlock(&h->mu);
	for (unsigned i = 0; i < h->worker_count; i++)
		pthread_join(h->workers[i], NULL);
	drop_notes(h);
	if (h->core_started && node_finish(h->node))
		logmsg(LOGMSG_ERROR, "the index could not be closed in order: %s", err_text(-EIO));
	node_free(h->node);
	index_close(h->index);
	if (h->tree)
		h->tree->free(h->tree);
	node_key_free(h->key);
	keys_free(h->keys);
	ignore_free(h->ignore);
	host_members_free(h);
	admit_free(h->admit);
	pthread_cond_destroy(&h->answered);
	pthread_cond_destroy(&h->told);
	pthread_cond_destroy(&h->work);
	pthread_cond_destroy(&h->room);
	pthread_mutex_destroy(&h->mu);
	free(h);
}

uint16_t host_port(const struct host *h)
{
	return link_hub_port(h->hub);
}

int host_call(struct host *h, const char *address)
{
	return link_hub_call(h->hub, address);
}

void host_status(struct host *h, struct node_status *ret)
{
	pthread_mutex_lock(&h->mu);
	*ret = h->status;
	pthread_mutex_unlock(&h->mu);
}

const uint8_t *host_node(const struct host *h)
{
	return node_key_public(h->key);
}

void host_rescan(struct host *h)
{
	struct note *n = host_note_new(NOTE_DIRTY, "", 0);

	n->deep = true;
	tell(h, n);
}

static void scrub(struct host *h, void *arg)
{
	(void)arg;
	node_scrub(h->node);
}

int host_scrub(struct host *h)
{
	return host_ask(h, scrub, NULL);
}

struct going_on { uint32_t question; bool deleted; int rc; };

static void go_on(struct host *h, void *arg)
{
	struct going_on *g = arg;

	g->rc = node_go_on(h->node, g->question, g->deleted);
}

int host_go_on(struct host *h, uint32_t question, bool deleted)
{
	struct going_on g = { question, deleted, 0 };
	int rc = host_ask(h, go_on, &g);

	return rc ? rc : g.rc;
}
