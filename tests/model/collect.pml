/*
 * collect.pml - garbage collection in three steps, beside clones and takeovers:
 * is anything ever deleted that somebody can still reach?
 *
 * One object X, which the volume's state refers to until a commit drops it. Instants before that commit refer to it for
 * ever. To delete X a writer
 *
 *   1  commits the floor: instants before the drop are given up, X is doomed
 *   2  waits until that commit is acknowledged, then lists the pins
 *   3  deletes X, unless a pin keeps an instant that needs it; the DELETE may arrive at any later time
 *
 * A clone of an old instant PUTs its pin first, then reads the floor again, and gives up where its instant lies below.
 *
 * Takeovers are one step here (fence.pml is about them): a commit of a fenced writer is simply not part of the volume. Its
 * LISTs and DELETEs go on. The macros M_ make the model wrong in one place each.
 */
#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef CLONES
#define CLONES 2
#endif

bool exists = true;       /* X in the store */
bool dropped, floored;    /* in the state that the store has */
byte owner = 1;           /* the epoch whose commits count */
bool pin[CLONES];         /* keeps an instant that needs X */
bool valid[CLONES];       /* a clone that was told that all is well */
hidden byte i;

/* Nothing may have gone that the newest state or a valid clone needs. */
inline check() {
	assert(exists || dropped);
	i = 0;
	do
	:: i < CLONES -> assert(exists || !valid[i]); i++
	:: else -> break
	od;
	i = 0
}

proctype writer(byte me) {
	bool d, f, acked, kept;   /* its own view: dropped, floored, floor acknowledged; a pin was seen */
	byte n;

end_idle:
	atomic {
		owner == me;
		d = dropped;
		f = floored;
		acked = floored
	};
	if /* the drop is an ordinary operation of a user */
	:: d -> skip
	:: !d -> d = true;
		if
		:: atomic { owner == me -> dropped = true }
		:: atomic { owner != me -> goto fenced }
#ifdef M_NO_WAIT
		:: skip           /* sent, not yet there */
#endif
		fi
	fi;
#ifdef M_PINS_FIRST
	n = 0;
	do
	:: n < CLONES -> kept = kept || pin[n]; n++
	:: else -> break
	od;
#endif
	if
	:: f -> skip
	:: !f ->
		if
		:: atomic { owner == me -> floored = true; acked = true }
		:: atomic { owner != me -> skip } /* lost */
#ifdef M_NO_WAIT
		:: skip
#endif
		fi
	fi;
#ifndef M_NO_WAIT
end_lost:
	acked;                    /* blocks for ever when the commit was lost */
#endif
#ifndef M_PINS_FIRST
	n = 0;
	do
	:: n < CLONES -> kept = kept || pin[n]; n++
	:: else -> break
	od;
#endif
#ifdef M_NO_PINS
	kept = false;
#endif
	if
	:: kept -> skip
	:: !kept -> atomic { exists = false; check() }   /* the DELETE arrives, whoever owns the volume by now */
	fi;
fenced:
	skip
}

proctype taker() {
end:
	do
	:: atomic {
		owner < WRITERS -> owner++
#ifdef M_FLOOR_FALLS
		; floored = false
#endif
	   }
	od
}

proctype clone(byte me) {
	bool low;

#ifdef M_FLOOR_READ_ONCE
	low = floored;
	pin[me] = true;
#else
	pin[me] = true;
	low = floored;
#endif
	if
	:: low -> pin[me] = false
	:: !low -> atomic { valid[me] = true; check() }
	fi
}

init {
	atomic {
		run taker();
		run writer(1);
		run writer(2);
		run writer(3);
		run clone(0);
		run clone(1)
	}
}
