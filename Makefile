# Clonelove. make            builds build/clonefs, build/clonesync and build/clonectl
#             make quickstart [STORE=s3://bucket/prefix]   the main job, shown
#             make test       installs what the tests need, and runs them all
# More: check-unit check-sim check-syncsim check-orbitsim check-ace check-model check-asan check-tsan check-random check-wedge check-powerloss check-poison fuzz fuzz-replay bench lint install deb check-chroot clean; "make help" lists them.
# Variables: CC, BUILD (output directory), OPT, SAN (e.g. -fsanitize=address,undefined), SRCS and TESTS (to build a part),
#            DESTDIR and PREFIX (install), SEEDS (check-sim, check-syncsim, check-poison), PART (check-ace), FUZZ_SECONDS (fuzz), SECONDS and SEED (check-random), ROUNDS and SEED (check-powerloss, check-poison), RELEASE (check-chroot).

CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
VERSION := 0.1
BUILD ?= build
SAN ?=
OPT ?= -O2
PREFIX ?= /usr
DESTDIR ?=
SEEDS ?= 3000
FUZZ_SECONDS ?= 60
SECONDS ?= 600
SEED ?=
ROUNDS ?= 20
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

PKGS := fuse3 libcurl openssl lmdb libsodium libzstd expat libxxhash libmicrohttpd json-c inih
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 -Werror
# The sanitizers make gcc see truncations and overflows that are none; the plain build judges warnings.
ifneq ($(SAN),)
WARN += -Wno-error
endif
CPPFLAGS += -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Icommon -Is3 -Ifs/volume -Ifs/mount -Ireplicator -Iorchestrator
CFLAGS += -std=gnu17 -g $(OPT) $(WARN) $(SAN) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS += $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread
LDFLAGS += $(SAN)

SRCS ?= $(wildcard common/*.c s3/*.c fs/volume/*.c fs/mount/*.c replicator/*.c orchestrator/*.c)
CMD_SRCS := $(wildcard fs/cmd/*.c)
SYNC_CMD_SRCS := $(wildcard replicator/cmd/*.c)
CTL_CMD_SRCS := $(wildcard orchestrator/cmd/*.c)
TESTS ?= $(wildcard tests/unit/test_*.c)
TEST_LIB := $(wildcard tests/lib/*.c)
SIM_SRCS := $(wildcard tests/sim/*.c)
SYNCSIM_SRCS := $(wildcard tests/syncsim/*.c)
ORBITSIM_SRCS := $(wildcard tests/orbitsim/*.c)
TOOL_SRCS := $(wildcard tests/tools/*.c)
FUZZ_SRCS := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRCS := $(wildcard tools/bench/*.c)

obj = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIB := $(BUILD)/libclonelove.a
TESTLIB := $(BUILD)/libtest.a
CMDLIB := $(BUILD)/libcmd.a
TEST_BINS := $(patsubst %.c,$(BUILD)/%,$(TESTS))
TOOL_BINS := $(patsubst %.c,$(BUILD)/%,$(TOOL_SRCS))
FUZZ_BINS := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRCS))
BENCH_BINS := $(patsubst %.c,$(BUILD)/%,$(BENCH_SRCS))
LINK = $(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
SUB = +$(MAKE) --no-print-directory -j$(JOBS)

all: $(BUILD)/clonefs $(BUILD)/mount.clonefs $(BUILD)/fsck.clonefs $(BUILD)/clonesync $(BUILD)/clonectl

# What was compiled with other flags is compiled again.
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CPPFLAGS) $(CFLAGS)' | cmp -s - $@ || echo '$(CC) $(CPPFLAGS) $(CFLAGS)' > $@

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/fs/cmd/main.o $(BUILD)/replicator/cmd/main.o $(BUILD)/orchestrator/cmd/main.o: private CPPFLAGS += -DCLONELOVE_VERSION='"$(VERSION)"'
# Newer versions of cmocka deprecate assertions for some that the oldest we build with lacks.
$(BUILD)/tests/unit/%.o: private CPPFLAGS += -DCMOCKA_DISABLE_DEPRECATION_WARNINGS

$(LIB): $(call obj,$(SRCS))
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/clonefs: $(call obj,$(CMD_SRCS)) $(LIB)
	$(LINK)

$(BUILD)/mount.clonefs $(BUILD)/fsck.clonefs: $(BUILD)/clonefs
	ln -sf clonefs $@

$(BUILD)/clonesync: $(call obj,$(SYNC_CMD_SRCS)) $(LIB)
	$(LINK)

$(BUILD)/clonectl: $(call obj,$(CTL_CMD_SRCS)) $(LIB)
	$(LINK)

# What tests share; an archive, so that a program takes what it uses.
$(TESTLIB): $(call obj,$(TEST_LIB))
	@rm -f $@
	ar rcs $@ $^

$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(TESTLIB) $(LIB)
	$(LINK) -lcmocka

$(BUILD)/sim: $(call obj,$(SIM_SRCS)) $(TESTLIB) $(LIB)
	$(LINK)

# The replicator's.
# --wrap: commits of the index fail (tests/syncsim/simindex.c).
$(BUILD)/syncsim: $(call obj,$(SYNCSIM_SRCS)) $(TESTLIB) $(LIB)
	$(LINK) -Wl,--wrap=index_commit

# The orchestrator's.
$(BUILD)/orbitsim: $(call obj,$(ORBITSIM_SRCS)) $(LIB)
	$(LINK)

$(BUILD)/tests/tools/%: $(BUILD)/tests/tools/%.o $(TESTLIB) $(LIB)
	$(LINK)

$(BUILD)/tools/bench/%: $(BUILD)/tools/bench/%.o $(TESTLIB) $(LIB)
	$(LINK)

# The commands, for fuzzers of what they read.
$(CMDLIB): $(call obj,$(filter-out fs/cmd/main.c,$(CMD_SRCS)))
	@rm -f $@
	ar rcs $@ $^

# With clang and SAN=-fsanitize=fuzzer,... a fuzzer; else a program that replays the files named on its command line.
FUZZ_MAIN := $(if $(findstring fuzzer,$(SAN)),,$(wildcard tests/fuzz/replay_main.c))
$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(call obj,$(FUZZ_MAIN)) $(CMDLIB) $(TESTLIB) $(LIB)
	$(LINK)

# By itself: quickstart needs it, and no library of the tests.
$(BUILD)/ledger: $(BUILD)/tests/tools/ledger.o
	$(LINK)

# The first process of a virtual machine: static, and of nothing else of ours. What makes a clonefs there forget to sync.
$(BUILD)/guestinit: tests/tools/guest/init.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O2 $(WARN) -D_GNU_SOURCE -static -o $@ $<
$(BUILD)/nosync.so: tests/tools/guest/nosync.c
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -O2 $(WARN) -D_GNU_SOURCE -shared -fPIC -o $@ $<

unit-bins: $(TEST_BINS)
tool-bins: $(TOOL_BINS) $(BUILD)/ledger $(BUILD)/guestinit $(BUILD)/nosync.so
fuzz-bins: $(FUZZ_BINS)
bench-bins: $(BENCH_BINS)

# ------------------------------------------------------------------- the two commands of the README

quickstart:
	@packaging/install-deps.sh build run
	$(SUB) -s all $(BUILD)/ledger
	@packaging/quickstart.sh --build $(BUILD) $(if $(STORE),--store $(STORE))

test:
	@packaging/install-deps.sh build run test
	$(SUB) all unit-bins tool-bins fuzz-bins $(if $(SIM_SRCS),$(BUILD)/sim) $(BUILD)/syncsim $(BUILD)/orbitsim
	tests/run --build $(BUILD)

# ------------------------------------------------------------------- parts of it

check-unit:
	$(SUB) unit-bins tool-bins
	tests/run --build $(BUILD) --only unit

check-sim:
	$(SUB) $(BUILD)/sim
	$(BUILD)/sim --seeds $(SEEDS) --jobs $(JOBS)

# Clusters of the replicator.
check-syncsim:
	$(SUB) $(BUILD)/syncsim
	$(BUILD)/syncsim --scenes
	$(BUILD)/syncsim --sweeps and
	$(BUILD)/syncsim --seeds $(SEEDS) --jobs $(JOBS)

# Clusters of the orchestrator.
check-orbitsim:
	$(SUB) $(BUILD)/orbitsim
	$(BUILD)/orbitsim --check-breaks --seeds 50
	$(BUILD)/orbitsim --seeds $(SEEDS) --jobs $(JOBS)

# All short workloads with a crash (about an hour of two processors), or a part of those of three operations: PART=3/60.
check-ace:
	$(SUB) $(BUILD)/sim
	$(BUILD)/sim --ace 2 --jobs $(JOBS)
	$(BUILD)/sim --ace 3 $(if $(PART),--part $(PART)) --jobs $(JOBS)

check-model:
	tests/run --build $(BUILD) --only model

check-mounted: all
	$(SUB) tool-bins
	tests/run --build $(BUILD) --only mounted

# Random operations against a model and against ext4, in rounds with remounts, kills and takeovers: make check-random SECONDS=3600 SEED=1
check-random: all
	$(SUB) tool-bins
	BUILD=$(abspath $(BUILD)) RANDOM_SECONDS=$(SECONDS) $(if $(SEED),RANDOM_SEED=$(SEED)) tests/mounted/random.sh

check-asan:
	$(SUB) BUILD=$(BUILD)/asan SAN="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" OPT=-O1 \
		all unit-bins tool-bins fuzz-bins $(if $(SIM_SRCS),$(BUILD)/asan/sim) $(BUILD)/asan/syncsim $(BUILD)/asan/orbitsim
	tests/run --build $(BUILD)/asan --only unit,sim,mounted --sanitized

# All of it; "make test" has a part. A report of any process fails its case.
check-tsan:
	$(SUB) BUILD=$(BUILD)/tsan SAN="-fsanitize=thread -fno-omit-frame-pointer" OPT=-O1 all unit-bins tool-bins
	tests/run --build $(BUILD)/tsan --only unit,mounted --sanitized

# A store that is away for a quarter of an hour; make test has half a minute of it.
check-wedge: all
	@packaging/install-deps.sh build run test
	$(SUB) tool-bins
	OUTAGE=900 BUILD=$(abspath $(BUILD)) tests/mounted/wedge.sh

# Rounds of a virtual machine on a disk that forgets, with files and with MariaDB; make test has a few of each: make check-powerloss ROUNDS=100 SEED=1
check-powerloss: all
	@packaging/install-deps.sh build run test
	$(SUB) tool-bins
	ROUNDS=$(ROUNDS) $(if $(SEED),SEED=$(SEED)) BUILD=$(abspath $(BUILD)) tests/mounted/powerloss.sh
	ROUNDS=$(ROUNDS) $(if $(SEED),SEED=$(SEED)) BUILD=$(abspath $(BUILD)) tests/mounted/powerloss_mariadb.sh

# Damaged cache directories, simulated and real; make test has some of each: make check-poison SEEDS=20000 ROUNDS=200
check-poison: all
	@packaging/install-deps.sh build run test
	$(SUB) tool-bins $(BUILD)/sim
	$(BUILD)/sim --scenario poison --seeds $(SEEDS) --jobs $(JOBS)
	ROUNDS=$(ROUNDS) $(if $(SEED),SEED=$(SEED)) BUILD=$(abspath $(BUILD)) tests/mounted/poison.sh

fuzz:
	@packaging/install-deps.sh build fuzz
	$(SUB) CC=clang BUILD=$(BUILD)/fuzz SAN="-fsanitize=fuzzer,address,undefined" OPT=-O1 fuzz-bins
	tools/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS)

fuzz-replay:
	$(SUB) BUILD=$(BUILD)/asan SAN="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" OPT=-O1 fuzz-bins
	tests/run --build $(BUILD)/asan --only fuzz

# Ratios, both sides in one run, as tables and a picture in $(BUILD)/bench; a part of it: make bench BENCH="fsync mariadb"; on a real S3 server: BENCH_S3=1.
bench:
	@packaging/install-deps.sh build run test bench
	$(SUB) all $(BENCH_BINS) tool-bins
	tools/bench/run --build $(BUILD) $(BENCH)

lint: all
	tools/lint.sh --build $(BUILD)

# ------------------------------------------------------------------- installing

MAN1 := $(wildcard fs/cmd/*.1 replicator/cmd/*.1 orchestrator/cmd/*.1)
MAN5 := $(wildcard fs/cmd/*.5 replicator/cmd/*.5 orchestrator/cmd/*.5)
MAN8 := $(wildcard fs/cmd/*.8)
D := $(DESTDIR)$(PREFIX)

install: all
	install -d $(D)/bin $(D)/sbin $(D)/share/man/man1 $(D)/share/man/man5 $(D)/share/man/man8 $(D)/lib/systemd/system \
		$(D)/share/doc/clonefs/examples $(D)/share/bash-completion/completions $(DESTDIR)/etc/clonelove
	install -m 755 $(BUILD)/clonefs $(BUILD)/clonesync $(BUILD)/clonectl $(D)/bin
	ln -sf ../bin/clonefs $(D)/sbin/mount.clonefs
	ln -sf ../bin/clonefs $(D)/sbin/fsck.clonefs
	install -m 644 $(MAN1) $(D)/share/man/man1
	install -m 644 $(MAN5) $(D)/share/man/man5
	install -m 644 $(MAN8) $(D)/share/man/man8
	install -m 644 packaging/systemd/*.service $(D)/lib/systemd/system
	install -m 644 packaging/fstab.example packaging/mariadb-clonefs.cnf packaging/systemd/*.md $(D)/share/doc/clonefs/examples
	install -m 644 README.md $(D)/share/doc/clonefs
	install -m 644 packaging/clonefs.bash-completion $(D)/share/bash-completion/completions/clonefs
	install -m 644 packaging/clonesync.bash-completion $(D)/share/bash-completion/completions/clonesync
	install -m 644 packaging/clonectl.bash-completion $(D)/share/bash-completion/completions/clonectl

deb:
	@packaging/install-deps.sh build deb
	packaging/build-deb.sh $(BUILD) $(VERSION)

check-chroot:
	@packaging/install-deps.sh chroot
	packaging/check-chroot.sh $(RELEASE)

clean:
	rm -rf $(BUILD)

help:
	@sed -n '1,7p' Makefile

print-cflags:
	@echo $(CPPFLAGS) $(CFLAGS)

FORCE:
.PHONY: all quickstart test check-unit check-sim check-syncsim check-orbitsim check-ace check-model check-mounted check-random check-wedge check-powerloss check-poison check-asan check-tsan fuzz fuzz-replay bench lint install deb check-chroot clean help \
	unit-bins tool-bins fuzz-bins bench-bins print-cflags FORCE
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
