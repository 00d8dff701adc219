/*
 * syncworld.c - machines, processes, links, and who goes next: the seed.
 *
 * A process is a node with its jobs, its watcher's queue, its ends of links. When a call to its tree says that it died, it is taken apart before anything else of
 * it happens. Jobs run in one go but for what the tree does between two calls.
 */
#include "syncworld.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "node_impl.h"

#define PAUSE_NS 50000000ull

const char *const sync_break_names[SYNC_BREAK_COUNT] = {
	[SYNC_BREAK_NONE] = "none", [SYNC_BREAK_SYNC_LIES] = "sync-lies", [SYNC_BREAK_EXCHANGE_LOSES] = "exchange-loses",
	[SYNC_BREAK_TRASH_LOSES] = "trash-loses", [SYNC_BREAK_QUIET_LIES] = "quiet-lies", [SYNC_BREAK_FRAME_LOST] = "frame-lost",
	[SYNC_BREAK_EVENT_LOST] = "event-lost", [SYNC_BREAK_STAT_OLD] = "stat-old", [SYNC_BREAK_TEMP_REMOVED] = "temp-removed",
	[SYNC_BREAK_WRITE_TORN] = "write-torn", [SYNC_BREAK_DRESS_HALF] = "dress-half",
	[SYNC_BREAK_NOTE_LOST] = "note-lost", [SYNC_BREAK_MISSING_ASKED] = "missing-asked",
	[SYNC_BREAK_BOOT_JUMPS] = "boot-jumps", [SYNC_BREAK_BROKEN_TRUSTED] = "broken-trusted", [SYNC_BREAK_DISPLACED_OLD] = "displaced-old",
	[SYNC_BREAK_RULES_UNHEARD] = "rules-unheard",
};

void world_say(struct world *w, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	w->hash = hash_xxh3(text, strlen(text), w->hash ^ w->now_ns);
	if (w->trace)
		printf("%12.6f %s\n", (double)(w->now_ns % 1000000000000ull) / 1e9, text);
}

void world_violation(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->violation[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->violation, sizeof w->violation, fmt, ap);
	va_end(ap);
	world_say(w, "VIOLATION %s", w->violation);
}

uint64_t world_random(struct world *w, uint64_t n)
{
	return n ? rng_below(&w->rng, n) : 0;
}

bool world_chance(struct world *w, unsigned permille)
{
	return world_random(w, 1000) < permille;
}

/* --- a machine's clocks --- */

static struct machine *of_env(struct env *e)
{
	return (struct machine *)(void *)((char *)e - offsetof(struct machine, env));
}

static uint64_t boot_ns(struct env *e)
{
	struct machine *m = of_env(e);

	/* Time goes by while the core thinks, too. */
	m->w->now_ns += world_chance(m->w, 2) ? world_random(m->w, 3000000) : 100;
	if (m->w->brk == SYNC_BREAK_BOOT_JUMPS && world_chance(m->w, 1))
		m->booted_ns -= 3600000000000ull; /* as a wall clock may */
	return m->w->now_ns - m->booted_ns + 1000000000;
}

static uint64_t real_ns(struct env *e)
{
	struct machine *m = of_env(e);

	return (uint64_t)((int64_t)(m->w->now_ns + 1700000000ull * 1000000000ull) + m->skew_ns);
}

static void env_random(struct env *e, void *p, size_t len)
{
	rng_fill(&of_env(e)->rng, p, len);
}

/* --- what a node asks of its host --- */

static struct machine *of_host(struct node_host *h)
{
	return (struct machine *)(void *)((char *)h - offsetof(struct machine, host));
}

static void submit(struct node_host *h, struct node_job *j)
{
	struct machine *m = of_host(h);

	j->next = m->todo;
	m->todo = j;
}

static int host_send(struct node_host *h, void *link, struct buf *b)
{
	struct machine *m = of_host(h);
	struct sim_link *l = link, *far = &l->other->links[m->number];
	struct sim_frame *f;

	if (!l->peer && !l->closing)
		l->closing = false;
	if (m->w->brk == SYNC_BREAK_FRAME_LOST && world_chance(m->w, 20)) {
		buf_reset(b);
		return 0;
	}
	f = malloc(sizeof *f + b->len);
	if (!f)
		abort();
	f->next = NULL;
	f->len = b->len;
	memcpy(f->bytes, b->data, b->len);
	*far->in_end = f;
	far->in_end = &f->next;
	buf_reset(b);
	return 0;
}

static size_t host_queued(struct node_host *h, void *link)
{
	(void)h;
	(void)link;
	return 0;
}

static void host_close(struct node_host *h, void *link, const char *why)
{
	if (strcmp(why, err_text(ERR_CORRUPT)) == 0)
		world_violation(of_host(h)->w, "%u cannot take a frame of %u: %s", of_host(h)->number, ((struct sim_link *)link)->other->number, why);
	world_say(of_host(h)->w, "%u closes its link to %u: %s", of_host(h)->number, ((struct sim_link *)link)->other->number, why);
	((struct sim_link *)link)->closing = true;
}

static void wake_at(struct node_host *h, uint64_t at)
{
	struct machine *m = of_host(h);

	uint64_t boot = boot_ns(&m->env);

	at = m->w->now_ns + (at > boot ? at - boot : 0);
	if (!m->alarm_ns || at < m->alarm_ns)
		m->alarm_ns = at;
}

static unsigned number_of(const char *address)
{
	return (unsigned)strtoul(address, NULL, 10);
}

static void members_changed(struct node_host *h)
{
	struct machine *m = of_host(h);
	const struct members *s = node_members(m->node);

	if (admit_know(m->admit, s))
		abort();
	for (size_t i = 0; i < m->w->forget_count; i++)
		if (members_get(s, m->w->forgets[i].key) && members_get(s, m->w->forgets[i].key)->forgotten)
			m->w->forgets[i].known |= 1u << m->number;
	m->outcast |= members_get(s, m->key) && members_get(s, m->key)->forgotten;
	m->calls = m->seeds;
	for (size_t i = 0; i < s->count; i++)
		if (!s->all[i].forgotten && number_of(s->all[i].address) < m->w->count)
			m->calls |= 1u << number_of(s->all[i].address);
	m->calls &= ~(1u << m->number);
}

static void lost(struct node_host *h, const char *path)
{
	check_lost(of_host(h), path);
}

/* --- links --- */

static void drop_frames(struct sim_link *l)
{
	while (l->in) {
		struct sim_frame *f = l->in;

		l->in = f->next;
		free(f);
	}
	l->in_end = &l->in;
}

/* Both ends go down; a process that is dying is not told. */
static void link_down(struct machine *a, struct machine *b)
{
	struct machine *ends[2] = { a, b };

	for (int i = 0; i < 2; i++) {
		struct sim_link *l = &ends[i]->links[ends[!i]->number];
		struct node_peer *p = l->peer;

		drop_frames(l);
		cut_link_down(ends[i], ends[!i]->number);
		l->peer = NULL;
		l->closing = false;
		if (p && ends[i]->node && !ends[i]->crashed) {
			admit_down(ends[i]->admit, l->key);
			node_down(ends[i]->node, p);
		}
	}
}

/* The doors of both. What one says of the other, that one is told. */
static bool refused(struct machine *a, struct machine *b, struct frame_hello *h)
{
	struct machine *ends[2] = { a, b };
	bool no = memcmp(h[0].node, h[1].node, sizeof h[0].node) == 0, twin;

	for (int i = 0; i < 2 && !no; i++) {
		const char *why = admit_judge(ends[!i]->admit, &h[i], &twin);

		if (!why)
			continue;
		no = true;
		world_say(a->w, "%u is refused by %u: %.40s", ends[i]->number, ends[!i]->number, why);
		ends[i]->outcast |= !twin;
	}
	if (no)
		a->links[b->number].again_ns = a->w->now_ns + 200000000 + world_random(a->w, 2000000000);
	return no;
}

static void link_up(struct machine *a, struct machine *b)
{
	struct machine *ends[2] = { a, b };
	struct frame_hello h[2];

	memset(h, 0, sizeof h);
	for (int i = 0; i < 2; i++) {
		memcpy(h[i].node, ends[i]->key, sizeof h[i].node);
		node_hello(ends[i]->node, &h[i]);
		/* A hello is written before its link is up. */
		h[i].joining |= ends[i]->began_joining && world_random(a->w, 4) == 0;
	}
	if (refused(a, b, h))
		return;
	world_say(a->w, "link %u-%u is up", a->number, b->number);
	for (int i = 0; i < 2; i++) {
		struct sim_link *l = &ends[i]->links[ends[!i]->number];

		int rc = node_up(ends[i]->node, l, &h[!i], &l->peer);

		if (rc && rc != -EKEYREJECTED)
			abort();
		if (rc) {
			link_down(a, b);
			a->links[b->number].again_ns = a->w->now_ns + 1000000000;
			return;
		}
		memcpy(l->key, h[!i].node, sizeof l->key);
		admit_up(ends[i]->admit, l->key);
	}
}

void world_cut(struct world *w, unsigned a, unsigned b, bool cut)
{
	unsigned x = 1u << b, y = 1u << a;

	w->m[a].cut = cut ? w->m[a].cut | x : w->m[a].cut & ~x;
	w->m[b].cut = cut ? w->m[b].cut | y : w->m[b].cut & ~y;
	if (cut && (w->m[a].links[b].peer || w->m[b].links[a].peer))
		link_down(&w->m[a], &w->m[b]);
}

/* --- processes --- */

void machine_event(struct machine *m, const char *path, bool deep, bool writing)
{
	struct sim_event *e;

	if (!m->node || m->crashed)
		return;
	if (m->w->brk == SYNC_BREAK_EVENT_LOST && world_chance(m->w, 300))
		return;
	e = malloc(sizeof *e + strlen(path) + 1);
	if (!e)
		abort();
	strcpy(e->path, path);
	e->deep = deep;
	e->writing = writing;
	e->next = NULL;
	*m->events_end = e;
	m->events_end = &e->next;
}

static void drop_events(struct machine *m)
{
	while (m->events) {
		struct sim_event *e = m->events;

		m->events = e->next;
		free(e);
	}
	m->events_end = &m->events;
}

static void end_process(struct machine *m)
{
	struct node_status s;

	for (unsigned i = 0; i < m->w->count; i++)
		if (i != m->number && (m->links[i].peer || m->w->m[i].links[m->number].peer)) {
			m->links[i].peer = NULL;
			link_down(m, &m->w->m[i]);
		}
	while (m->todo || m->over || m->slow) {
		struct node_job **list = m->todo ? &m->todo : m->over ? &m->over : &m->slow, *j = *list;

		*list = j->next;
		j->drop(j);
	}
	cut_drop(m);
	differ_drop(m);
	node_status(m->node, &s);
	m->w->tombs_gone += s.tombs_gone;
	m->w->copied += s.published_bytes;
	node_free(m->node);
	m->node = NULL;
	admit_free(m->admit);
	m->admit = NULL;
	index_close(m->index);
	m->index = NULL;
	drop_events(m);
	m->alarm_ns = 0;
	m->turn = 0;
	m->die_at = 0;
	m->crashed = false;
}

void machine_kill(struct machine *m)
{
	if (!m->node)
		return;
	world_say(m->w, "%u is killed", m->number);
	m->crashed = true;
	ledger_unfirm(m, false);
	end_process(m);
}

void machine_stop(struct machine *m)
{
	if (!m->node || !machine_idle(m)) {
		machine_kill(m);
		return;
	}
	world_say(m->w, "%u stops in order", m->number);
	if (node_finish(m->node)) { /* its index failed */
		machine_kill(m);
		return;
	}
	m->crashed = true;
	end_process(m);
}

void machine_reset(struct machine *m)
{
	rng_fill(&m->w->rng, m->boot, sizeof m->boot);
	m->booted_ns = m->w->now_ns;
}

void machine_power_loss(struct machine *m)
{
	uint8_t *before = ledger_before(m->w, m);
	char old[256], now[256];

	machine_kill(m);
	world_say(m->w, "%u loses power", m->number);
	machine_reset(m);
	machine_index_path(m, "old.mdb", old, sizeof old);
	machine_index_path(m, "data.mdb", now, sizeof now);
	if (access(old, F_OK) == 0 && world_chance(m->w, 500)) { /* far more than LMDB would lose: what it knew of deletions may be gone */
		simindex_copy(old, now);
		ledger_unfirm(m, true);
	}
	ledger_unfirm(m, false);
	simtree_power_loss(&m->tree);
	ledger_after(m, before);
}

void machine_boot(struct machine *m)
{
	struct node_options o = { .host = &m->host, .env = &m->env, .tree = &m->tree.t, .name = "m", .address = m->address,
				  .peers = (unsigned)__builtin_popcount(m->seeds),
				  .scrub_rate = m->w->scrub_rate, .scrub_every_ns = m->w->scrub_every_ns, .limit_rate = (m->w->seed + m->number) % 5 == 0 ? 40000 : 0, /* a file of many blocks takes ten seconds */
				  .trash_keep_ns = m->w->keep_ns, .tombs_keep_ns = m->w->tombs_ns, .context_keep = m->w->context_keep, .known_keep = m->w->known_keep,
				  .missing_percent = m->w->missing_percent, .missing_most = 1,
				  .inline_most = m->w->inline_most, .hash_apart = m->w->hash_apart, .batch = m->w->batch, .want_keep = m->w->want_keep, .fetch_most = m->w->fetch_most };
	uint8_t id[INDEX_ID_BYTES];
	struct frame_hello h;
	int rc;

	if (m->node || m->tree.missing || m->absent)
		return;
	rng_fill(&m->w->rng, id, sizeof id);
	simtree_open(&m->tree);
	rc = index_open(m->dir, 64u << 20, id, &m->index, &o.new_index);
	if (rc) {
		world_violation(m->w, "%u cannot open its index: %s", m->number, err_last());
		return;
	}
	o.index = m->index;
	o.ignore = rules_boot(m);
	copy_boot(m);
	memcpy(o.node, m->key, sizeof o.node);
	memcpy(o.boot, m->boot, sizeof o.boot);
	m->alarm_ns = 0;
	m->turn = 0;
	m->due = false;
	rc = node_start(&o, &m->node);
	if (rc) {
		index_close(m->index);
		m->index = NULL;
		m->node = NULL;
		m->crashed = false;
		m->die_at = 0;
		m->outcast |= rc == -EKEYREJECTED;
		world_say(m->w, "%u does not start: %s", m->number, err_text(rc));
		return;
	}
	world_say(m->w, "%u starts", m->number);
	m->started_ns = m->w->now_ns;
	memset(&h, 0, sizeof h);
	node_hello(m->node, &h);
	m->began_joining = h.joining;
	if (admit_new(&m->env, &m->admit))
		abort();
	members_changed(&m->host);
	machine_copy_index(m, m, "old.mdb");
	node_run(m->node);
}

/* --- operators --- */

void machine_new_key(struct machine *m)
{
	rng_fill(&m->w->rng, m->key, sizeof m->key);
	m->outcast = false;
}

bool world_owns(const struct world *w, const uint8_t *key)
{
	for (unsigned i = 0; i < w->count; i++)
		if (memcmp(w->m[i].key, key, sizeof w->m[i].key) == 0)
			return true;
	return false;
}

void machine_forget(struct machine *m, const uint8_t *key)
{
	uint8_t copy[32]; /* what it is told of may move */

	memcpy(copy, key, sizeof copy);
	world_say(m->w, "%u is told to forget a member", m->number);
	if (m->w->forget_count < FORGETS_MAX)
		memcpy(m->w->forgets[m->w->forget_count++].key, key, sizeof copy);
	m->sure = true;
	if (node_forget(m->node, copy))
		world_violation(m->w, "%u cannot forget a member", m->number);
	m->sure = false;
}

void world_unforget(struct machine *m)
{
	for (size_t i = 0; i < m->w->forget_count; i++)
		m->w->forgets[i].known &= ~(1u << m->number);
}

void machine_rejoin(struct machine *m)
{
	machine_kill(m);
	world_say(m->w, "%u is made new", m->number);
	ledger_unfirm(m, true);
	machine_forget_index(m);
	machine_new_key(m);
	ledger_stale(m);
}

bool machine_idle(const struct machine *m)
{
	return m->node && !m->crashed && !m->todo && !m->over && !m->events && !m->turn && node_idle(m->node);
}

/* --- who goes next --- */

static void after(struct machine *m)
{
	if (m->crashed)
		machine_kill(m);
}

static void run_job(struct machine *m, uint64_t which, bool over)
{
	struct node_job **at = over ? &m->over : &m->todo, *j;

	while (which-- && (*at)->next)
		at = &(*at)->next;
	j = *at;
	*at = j->next;
	if (over) {
		j->done(j);
	} else {
		m->listed = false;
		j->run(j);
		j->next = NULL;
		if (m->listed && m->list_ns && !m->slow) {
			m->slow = j;
			m->slow_ns = m->w->now_ns + m->list_ns;
		} else {
			j->next = m->over;
			m->over = j;
		}
	}
	after(m);
}

static void end_slow(struct machine *m)
{
	struct node_job *j = m->slow;

	m->slow = NULL;
	j->done(j);
	after(m);
}

/* A frame that is not taken in ends the link, but what came with it is heard first, as what comes before that end. */
static void take_frame(struct machine *m, struct sim_link *l)
{
	struct sim_frame *f = l->in;
	struct buf scratch = BUF_INIT;
	size_t at = 0, used = 1;
	struct frame fr;
	int rc = 0, bad = 0;

	l->in = f->next;
	if (!l->in)
		l->in_end = &l->in;
	while (!rc && at < f->len) {
		rc = frame_next(f->bytes + at, f->len - at, &scratch, &fr, &used);
		if (!rc && !used)
			rc = ERR_CORRUPT;
		if (!rc && m->w->brk == SYNC_BREAK_BROKEN_TRUSTED)
			l->peer->broken = false;
		if (!rc && !bad)
			bad = node_frame(m->node, l->peer, &fr);
		else if (!rc)
			node_frame(m->node, l->peer, &fr);
		at += used;
	}
	buf_free(&scratch);
	free(f);
	rc = rc ? rc : bad;
	if (rc && rc != -EIO && rc != -ENOSPC)
		world_violation(m->w, "%u cannot take a frame of %u: %s", m->number, l->other->number, err_text(rc));
	l->closing |= rc != 0;
}

static void take_event(struct machine *m)
{
	struct sim_event *e = m->events;

	m->events = e->next;
	if (!m->events)
		m->events_end = &m->events;
	node_dirty(m->node, e->path, strlen(e->path), e->deep, e->writing);
	free(e);
}

static bool would_link(const struct machine *a, const struct machine *b)
{
	return ((a->calls & (1u << b->number)) || (b->calls & (1u << a->number))) && a->number < b->number && a->node && b->node && !(a->cut & (1u << b->number)) && !a->links[b->number].peer && !b->links[a->number].peer;
}

static bool can_link(const struct machine *a, const struct machine *b)
{
	return would_link(a, b) && a->links[b->number].again_ns <= a->w->now_ns;
}

/* When the next who was refused tries again. */
static uint64_t next_try(const struct world *w)
{
	uint64_t next = UINT64_MAX;

	for (unsigned a = 0; a < w->count; a++)
		for (unsigned b = a + 1; b < w->count; b++)
			if (would_link(&w->m[a], &w->m[b]) && w->m[a].links[b].again_ns < next)
				next = w->m[a].links[b].again_ns;
	return next;
}

/* What machine m can do: counts the choices, or does the one whose number is `which`. */
static uint64_t choices(struct machine *m, uint64_t which, bool act)
{
	uint64_t n = 0, k = 0;

	if (!m->node)
		return 0;
#define CHOICE(count, does) do { k = (count); if (act && which >= n && which < n + k) { which -= n; does; return 0; } n += k; } while (0)
	for (struct node_job *j = m->todo; j; j = j->next)
		k++;
	CHOICE(k, run_job(m, which, false));
	k = 0;
	for (struct node_job *j = m->over; j; j = j->next)
		k++;
	CHOICE(k, run_job(m, which, true));
	CHOICE(m->slow && m->slow_ns <= m->w->now_ns ? 1u : 0u, end_slow(m));
	CHOICE(m->events ? 1u : 0u, take_event(m));
	CHOICE(m->alarm_ns && m->alarm_ns <= m->w->now_ns ? 1u : 0u, (m->alarm_ns = 0, node_tick(m->node)));
	for (unsigned i = 0; i < m->w->count; i++) {
		CHOICE(m->links[i].peer && m->links[i].in && !node_full(m->node) ? 1u : 0u, take_frame(m, &m->links[i]));
		CHOICE(m->links[i].peer && m->links[i].closing ? 1u : 0u, link_down(m, &m->w->m[i]));
		CHOICE(i != m->number && can_link(m, &m->w->m[i]) ? 1u : 0u, link_up(m, &m->w->m[i]));
	}
#undef CHOICE
	return n;
}

/* One of the things that machine m can do, alone or as a part of a turn. */
static void act(struct machine *m, uint64_t which)
{
	if (!m->turn && world_chance(m->w, 100)) {
		m->turn = 2 + (unsigned)world_random(m->w, 8);
		node_turn_begin(m->node);
	}
	choices(m, which, true);
	if (m->node && m->turn && --m->turn == 0)
		node_turn_end(m->node);
}

static bool end_turns(struct world *w)
{
	bool any = false;

	for (unsigned i = 0; i < w->count; i++) {
		struct machine *m = &w->m[i];

		if (!m->node || !m->turn)
			continue;
		m->turn = 0;
		node_turn_end(m->node);
		any = true;
	}
	return any;
}

bool world_step(struct world *w)
{
	uint64_t n[NODES_MAX], all = 0, which, alarm = next_try(w);

	for (unsigned i = 0; i < w->count; i++) {
		n[i] = choices(&w->m[i], 0, false);
		all += n[i];
		if (w->m[i].node && w->m[i].alarm_ns && w->m[i].alarm_ns < alarm)
			alarm = w->m[i].alarm_ns;
		if (w->m[i].slow && w->m[i].slow_ns < alarm)
			alarm = w->m[i].slow_ns;
	}
	if (!all && end_turns(w))
		return true;
	if (!all) {
		if (alarm == UINT64_MAX)
			return false;
		if (alarm > w->now_ns) /* not over a long pause at once: something else may happen */
			w->now_ns = alarm - w->now_ns < PAUSE_NS ? alarm : w->now_ns + PAUSE_NS;
		return true;
	}
	w->steps++;
	w->now_ns += 1000 + world_random(w, world_chance(w, 50) ? 5000000 : 200000);
	which = world_random(w, all);
	for (unsigned i = 0; i < w->count; i++) {
		if (which < n[i]) {
			act(&w->m[i], which);
			break;
		}
		which -= n[i];
	}
	for (unsigned i = 0; i < w->count; i++) {
		if (machine_idle(&w->m[i])) {
			ledger_firm(&w->m[i]);
			w->m[i].tree.restoring = false;
		}
		if (w->m[i].node && world_chance(w, 5))
			machine_copy_index(&w->m[i], &w->m[i], "old.mdb");
	}
	return true;
}

/* --- making and unmaking --- */

void machine_init(struct world *w, unsigned number)
{
	struct machine *m = &w->m[number];

	m->w = w;
	m->number = number;
	m->env = (struct env){ boot_ns, real_ns, env_random };
	m->host = (struct node_host){ submit, host_send, host_queued, host_close, wake_at, members_changed, lost, NULL, rot_told };
	m->rng = rng_next(&w->rng);
	snprintf(m->address, sizeof m->address, "%u", number);
	machine_new_key(m);
	rng_fill(&w->rng, m->boot, sizeof m->boot);
	m->events_end = &m->events;
	m->owners = 1000 + 100 * number;
	snprintf(m->dir, sizeof m->dir, "%s/%u", w->dir, number);
	if (mkdir(m->dir, 0700))
		abort();
	simtree_init(&m->tree, m);
	for (unsigned i = 0; i < NODES_MAX; i++) {
		m->links[i] = (struct sim_link){ .m = m, .other = &w->m[i] };
		m->links[i].in_end = &m->links[i].in;
	}
}

/* Everybody knows everybody's address, or each but the first knows one that was there before. */
static void configure(struct world *w)
{
	bool all = world_chance(w, 500);

	for (unsigned i = 0; i < w->count; i++)
		w->m[i].seeds = all ? ((1u << w->count) - 1) & ~(1u << i) : i ? 1u << world_random(w, i) : 0;
	if (world_chance(w, 300))
		w->m[w->count - 1].absent = true;
}

void world_init(struct world *w, uint64_t seed, enum sync_break brk, bool trace)
{
	memset(w, 0, sizeof *w);
	w->seed = seed;
	w->rng = seed * 0x9e3779b97f4a7c15u + 1;
	w->now_ns = 1000000000;
	w->brk = brk;
	w->trace = trace;
	snprintf(w->dir, sizeof w->dir, "/dev/shm/syncsim.XXXXXX");
	if (!mkdtemp(w->dir)) {
		snprintf(w->dir, sizeof w->dir, "/tmp/syncsim.XXXXXX");
		if (!mkdtemp(w->dir))
			abort();
	}
	w->count = 3 + (unsigned)world_random(w, world_chance(w, 200) ? NODES_MAX - 2 : 2);
	for (unsigned i = 0; i < w->count; i++)
		machine_init(w, i);
	configure(w);
	simindex_init(w);
}

void world_free(struct world *w)
{
	char path[256];

	simindex_init(NULL);
	for (unsigned i = 0; i < w->count; i++) {
		struct machine *m = &w->m[i];

		if (m->node) {
			m->crashed = true;
			end_process(m);
		}
		drop_events(m);
		machine_forget_index(m);
		machine_index_path(m, "lock", path, sizeof path);
		unlink(path);
		rmdir(m->dir);
		simtree_free(&m->tree);
	}
	rmdir(w->dir);
	while (w->inodes) {
		struct inode *in = w->inodes;

		w->inodes = in->all;
		free(in->data);
		free(in->synced);
		free(in->target);
		free(in);
	}
	for (size_t i = 0; i < w->interned_count; i++)
		free(w->interned[i]);
	free(w->interned);
	free(w->tokens);
	free(w->contents);
	free(w->metas);
	free(w->dir_times);
}
