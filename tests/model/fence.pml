/*
 * fence.pml - claim, seal, opening record: can two writers ever both be the
 * volume, or an acknowledged object be lost?
 *
 * The store is an array of slots, created once (if-none-match):
 *
 *   epoch E, slot 0    the opening record, or the seal of an epoch that was claimed and never opened
 *   epoch E, slot n    a log object (CUT), or the seal that ends the epoch
 *
 * Epoch 1 is open at the start. Each further epoch is claimed by one candidate; claims are created if absent, so an epoch has one
 * claimant, and since all candidates behave alike it does not matter which machine that is. A process may stop between any
 * two steps for ever: that is how it dies (only safety is checked). One that comes back claims anew, so it is one of the later candidates.
 * A writer's PUTs are delivered by the network whenever it likes, also long after the writer stopped, also again and again.
 * A collector deletes log objects that a newer epoch's checkpoint made superfluous, late and in any order.
 *
 * Defining one of the M_ macros makes the model wrong in one place; run expects each of them to be found out.
 */
#ifndef EPOCHS
#define EPOCHS 3          /* 3 or 4 */
#endif
#define SLOTS 4           /* slot 0, at most two CUTs, and room for a seal */
#define CUTS(e) ((e) == EPOCHS -> 1 : 2)

#define AT(e, s) (((e) - 1) * SLOTS + (s))
#define N (EPOCHS * SLOTS)

#define EMPTY 0
#define OPEN 1
#define CUT 2
#define SEAL 3

#define UNSENT 0
#define FLYING 1          /* put[]: from now on it may arrive at any time */
#define STORED 2          /* heard[]: 200, or a 412 behind which the sender found its own put-ID */
#define REFUSED 3         /* heard[]: 412, and what is there is not ours */

byte slot[N];
bit put[N];               /* CUTs on their way */
byte heard[N];            /* what the sender heard */
byte claimed = 1;         /* newest epoch claimed */
byte parent[EPOCHS + 1], parent_slot[EPOCHS + 1];
byte acked[EPOCHS + 1];   /* end of the prefix that the epoch's writer has acknowledged to its users */
byte manifest[EPOCHS + 1]; /* checkpoint of the epoch: the slot it stands at, 0 = none */
hidden byte limit[EPOCHS + 1]; /* how far each epoch reaches in one lineage */
hidden byte k, j;

#define NOT_IN 254
#define WHOLE 255

inline trace_lineage(e) {
	k = 1;
	do
	:: k <= EPOCHS -> limit[k] = NOT_IN; k++
	:: else -> break
	od;
	k = e;
	limit[k] = WHOLE;
	do
	:: parent[k] != 0 -> limit[parent[k]] = parent_slot[k]; k = parent[k]
	:: else -> break
	od
}

/* What was acknowledged or checkpointed below e is in e's lineage, and every opened epoch below e is an ancestor of e. */
inline check_lineage(e) {
	trace_lineage(e);
	k = 1;
	do
	:: k < e ->
		assert(slot[AT(k, 0)] != OPEN || limit[k] != NOT_IN);
		assert(acked[k] == 0 || (limit[k] != NOT_IN && acked[k] <= limit[k]));
		assert(manifest[k] == 0 || (limit[k] != NOT_IN && manifest[k] <= limit[k]));
		k++
	:: else -> break
	od
}

/* The same, looked at from what epoch e has just promised. */
inline check_promise(e, upto) {
	j = e + 1;
	do
	:: j <= EPOCHS ->
		if
		:: slot[AT(j, 0)] == OPEN -> trace_lineage(j); assert(limit[e] != NOT_IN && upto <= limit[e])
		:: else -> skip
		fi;
		j++
	:: else -> break
	od
}

inline serve(me, sent) {
end_serving:
	do
	:: sent < CUTS(me) -> atomic { sent++; put[AT(me, sent)] = 1 }
#ifdef M_ACK_OUT_OF_ORDER
	:: atomic { acked[me] < 2 && me < EPOCHS && heard[AT(me, 2)] == STORED -> acked[me] = 2; check_promise(me, acked[me]) }
#endif
	:: atomic { acked[me] < sent && heard[AT(me, acked[me] + 1)] == STORED -> acked[me]++; check_promise(me, acked[me]) }
#ifdef M_412_IS_SUCCESS
	:: atomic { acked[me] < sent && heard[AT(me, acked[me] + 1)] == REFUSED -> acked[me]++; check_promise(me, acked[me]) }
#else
	:: acked[me] < sent && heard[AT(me, acked[me] + 1)] == REFUSED -> break /* fenced */
#endif
#ifdef M_MANIFEST_EARLY
	:: atomic { manifest[me] == 0 && sent > 0 -> manifest[me] = sent; check_promise(me, manifest[me]) }
#else
	:: atomic { manifest[me] == 0 && acked[me] > 0 -> manifest[me] = acked[me]; check_promise(me, manifest[me]) }
#endif
	od
}

proctype first_writer() {
	byte sent;

	serve(1, sent)
}

/* Seals slot 0 of every epoch between the tip and ours. -> look: one of them was opened after all. */
inline seal_unopened(g) {
	g = me - 1;
	do
	:: g > tip ->
		atomic {
			if
			:: slot[AT(g, 0)] == EMPTY -> slot[AT(g, 0)] = SEAL
			:: slot[AT(g, 0)] == SEAL -> skip
			:: slot[AT(g, 0)] == OPEN -> goto look
			fi;
			g--
		}
	:: else -> break
	od
}

/* Seals the tip at its first free slot; on 412 it reads what is there and goes on. s: where its end is. */
inline seal_tip(s) {
	s = 1;
	do
	:: atomic {
		if
		:: slot[AT(tip, s)] == EMPTY ->
#ifndef M_NO_SEAL
			slot[AT(tip, s)] = SEAL;
#endif
			break
		:: slot[AT(tip, s)] == SEAL -> break
		:: slot[AT(tip, s)] == CUT -> s++
		fi
	   }
	od
}

inline put_open() {
	atomic {
		if
		:: slot[AT(me, 0)] == EMPTY ->
			slot[AT(me, 0)] = OPEN;
			parent[me] = tip;
			parent_slot[me] = s - 1;
			check_lineage(me)
		:: else -> goto done            /* sealed by a later candidate */
		fi
	}
}

proctype candidate(byte me) {
	byte tip, g, s;

	atomic { claimed == me - 1 -> claimed = me };   /* PUT epochs/<me> if-none-match */
look:
	tip = me - 1;                           /* the highest opened epoch below ours, one GET at a time */
	do
	:: slot[AT(tip, 0)] == OPEN -> break
	:: slot[AT(tip, 0)] != OPEN -> tip--
	od;
#ifndef M_NO_SEAL_OF_UNOPENED
	seal_unopened(g);
#endif
#ifdef M_OPEN_BEFORE_SEAL
	s = 1;
	do
	:: slot[AT(tip, s)] == CUT -> s++
	:: slot[AT(tip, s)] != CUT -> break
	od;
	put_open();
	seal_tip(s);
#else
	seal_tip(s);
	put_open();
#endif
	atomic { tip = 0; g = 0; s = 0 };
	serve(me, s);
done:
	atomic { tip = 0; g = 0; s = 0 }
}

/* Delivers a CUT, now or later, once or again. */
#ifdef M_STORE_OVERWRITES
#define ARRIVE(i) (slot[i] != CUT)
#else
#define ARRIVE(i) (slot[i] == EMPTY)
#endif
#define DELIVER(i) \
	:: atomic { put[i] && ARRIVE(i) -> slot[i] = CUT; heard[i] = STORED } \
	:: atomic { put[i] && slot[i] == SEAL && heard[i] == UNSENT -> heard[i] = REFUSED }

proctype network() {
end:
	do
	DELIVER(AT(1, 1))
	DELIVER(AT(1, 2))
	DELIVER(AT(2, 1))
	DELIVER(AT(2, 2))
	DELIVER(AT(3, 1))
#if EPOCHS > 3
	DELIVER(AT(3, 2))
	DELIVER(AT(4, 1))
#endif
	od
}

/*
 * A writer with a checkpoint in its own epoch needs no log object of the epochs below any more. Marks stay for ever:
 * slot 0, because that it is taken keeps a candidate who slept through all of it from opening; a seal, because the old writer, thawed
 * long after, sends the cut again whose place the seal took, and would have it acknowledged.
 */
#ifdef M_COLLECT_SEALS
#define GARBAGE(e, s) (slot[AT(e, s)] == CUT || ((s) > 0 && slot[AT(e, s)] == SEAL))
#else
#ifdef M_COLLECT_MARKS
#define GARBAGE(e, s) (slot[AT(e, s)] == CUT || ((s) == 0 && slot[AT(e, s)] == SEAL))
#else
#define GARBAGE(e, s) (slot[AT(e, s)] == CUT)
#endif
#endif
#define CHECKPOINTED(e) (manifest[e] > 0 && slot[AT(e, 0)] == OPEN)
#if EPOCHS > 3
#define NEEDLESS(e) (((e) < 2 && CHECKPOINTED(2)) || ((e) < 3 && CHECKPOINTED(3)) || ((e) < 4 && CHECKPOINTED(4)))
#else
#define NEEDLESS(e) (((e) < 2 && CHECKPOINTED(2)) || ((e) < 3 && CHECKPOINTED(3)))
#endif
#define COLLECT(e, s) \
	:: atomic { NEEDLESS(e) && GARBAGE(e, s) -> slot[AT(e, s)] = EMPTY }

proctype collector() {
end:
	do
	COLLECT(1, 1)
	COLLECT(1, 2)
	COLLECT(2, 1)
	COLLECT(2, 2)
#ifdef M_COLLECT_MARKS
	COLLECT(2, 0)
#endif
	od
}

init {
	atomic {
		slot[AT(1, 0)] = OPEN;
		run network();
		run collector();
		run first_writer();
		run candidate(2);
		run candidate(3);
#if EPOCHS > 3
		run candidate(4)
#endif
	}
}
