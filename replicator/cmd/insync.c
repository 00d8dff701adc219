/* insync.c - from the core's status to an answer. No state. */
#include "insync.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *insync_state(const struct node_status *s, bool paused)
{
	if (s->halted)
		return "halted";
	if (s->forgotten)
		return "forgotten";
	if (paused)
		return "paused";
	if (s->scanning)
		return "scanning";
	if (s->members && !s->peers)
		return "alone";
	if (s->joining)
		return "joining";
	return s->wanted || s->compared < s->peers ? "behind" : "in sync";
}

bool insync(const struct node_status *s, bool paused, char *ret_why, size_t cap)
{
	const char *state = insync_state(s, paused);

	if (s->missing)
		snprintf(ret_why, cap, "halted: %" PRIu64 " of %" PRIu64 " paths are missing at once, and nobody is told; clonesync missing --deleted %08" PRIx32 " or --restore %08" PRIx32 " goes on",
			 s->missing, s->missing_of, s->question, s->question);
	else if (strcmp(state, "halted") == 0)
		snprintf(ret_why, cap, "halted: the directory is not there any more, or another one is");
	else if (strcmp(state, "forgotten") == 0)
		snprintf(ret_why, cap, "forgotten: the cluster does not count this member any more; it can join again as a new one");
	else if (strcmp(state, "paused") == 0)
		snprintf(ret_why, cap, "paused: clonesync resume goes on");
	else if (strcmp(state, "scanning") == 0)
		snprintf(ret_why, cap, "looking at what is in the directory");
	else if (strcmp(state, "alone") == 0)
		snprintf(ret_why, cap, "none of the other members can be reached (there are %" PRIu64 ")", s->members);
	else if (strcmp(state, "joining") == 0)
		snprintf(ret_why, cap, "joining: learning what the cluster has");
	else if (s->compared < s->peers)
		snprintf(ret_why, cap, "comparing with the peers: %" PRIu64 " of %" PRIu64 " done", s->compared, s->peers);
	else if (s->wanted)
		snprintf(ret_why, cap, "%" PRIu64 " files are still to come", s->wanted);
	else
		ret_why[0] = '\0';
	return !ret_why[0];
}
