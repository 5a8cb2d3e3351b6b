# SPDX-License-Identifier: MIT
#
# `make help` lists the targets: what stands after `##` at each.
#
# Nothing outside the source tree is written, except packages (make deps), the VM's cache of kernel
# packages, and what `make install` is told.

VERSION	:= 0.1.0
SOVER	:= 0
PREFIX	?= /usr/local
DESTDIR	?=
CC	?= gcc
CLANG	?= clang
CSTD	:= -std=gnu11 -D_GNU_SOURCE
CFLAGS	?= -O2 -g
WARN	:= -Wall -Wextra -Werror
SAN	?=
FIU	?=

# One source tree, one build directory for each way of building it: make SAN=asan, make SAN=tsan,
# make FIU=1 (with the failure points of lib/base/failpoint.h), and their combinations.
B	:= build$(if $(FIU),/fiu)$(if $(SAN),/$(SAN))$(if $(filter clang,$(notdir $(CC))),/clang)
SANFLAGS_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SANFLAGS_tsan := -fsanitize=thread
# Each basic block tells tests/count that it was there.
SANFLAGS_count := -fsanitize-coverage=trace-pc
# Lines and branches are counted: tests/cover.
SANFLAGS_cover := --coverage -fprofile-update=atomic
SANFLAGS_fuzz := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
ALLFLAGS = $(CSTD) $(CFLAGS) $(WARN) $(SANFLAGS_$(SAN)) -I. -Ilib -MMD -MP -fvisibility=hidden \
	$(if $(FIU),-DFIU_ENABLE)

BASE_SRC  := $(wildcard lib/base/*.c)
LIB_SRC   := $(wildcard lib/*.c) $(BASE_SRC)
FAULT_SRC := $(wildcard faults/*.c faults/*/*.c)
TOOL_SRC  := $(filter-out tools/vm/init.c,$(wildcard tools/*.c tools/*/*.c))
UNIT_SRC  := $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c)
SIM_SRC   := $(wildcard tests/sim/sim_*.c)
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
EXAMPLES  := $(patsubst lib/examples/%.c,$B/examples/%,$(wildcard lib/examples/*.c))
TSAN_SRC  := $(shell grep -lE '^/\* tsan \*/' $(UNIT_SRC) /dev/null)

obj	= $(patsubst %.c,$B/obj/%.o,$(1))
UNIT	:= $(patsubst tests/unit/%.c,$B/unit/%,$(UNIT_SRC))
SIM	:= $(patsubst tests/sim/%.c,$B/sim/%,$(SIM_SRC))
FUZZ	:= $(patsubst tests/fuzz/%.c,$B/fuzz/%,$(FUZZ_SRC))
FAIL	:= $(patsubst tests/fail/%.c,$B/fail/%,$(wildcard tests/fail/*.c))
STATES	:= $(patsubst tests/explore/%.c,$B/explore/%,$(wildcard tests/explore/*.c))
HELPERS	:= $(patsubst tests/device/%.c,$B/device/%,$(wildcard tests/device/*.c))
MAN	:= $(patsubst tools/man/%.scd,$B/man/%,$(wildcard tools/man/*.scd)) $B/man/ublkcore.3

# The library alone asks libfiu only where it has failure points.
CORE_LIBS := -luring $(if $(FIU),-lfiu) -lpthread
FAULT_LIBS := -ljansson -luring -lxxhash -lfiu -lpthread -lm
TOOL_LIBS := -lfuse3 -lnettle $(FAULT_LIBS)
UNIT_LIBS := -lcmocka $(TOOL_LIBS)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
# Make would delete the objects of the test programs as intermediate files.
.SECONDARY:

.PHONY: all help
all: $B/faultblk $B/libublkcore.a $B/libublkcore.so.$(SOVER) $(EXAMPLES) $(MAN) ## the program, the library, its examples, the manual pages

help: ## these lines
	@sed -nE -e 's/^# -+ ([a-z ]+)$$/\n\1/p' -e 's/^([a-z][a-z -]*):.* ## (.*)/\1	\2/p' Makefile | \
		awk -F '\t' 'NF < 2 { title = $$0; next } title { print title; title = "" } \
			{ printf (length($$1) > 15 ? "  make %s\n%23s%s\n" : "  make %-15s%s%s\n"), $$1, "", $$2 }'

# ---------------------------------------------------------------------------------- packages

# What each package is for stands in tests/README.md. A package is missing when dpkg does not know it;
# where everything is there nothing is installed and nothing is fetched.
PKG_BUILD := gcc make libc6-dev liburing-dev libjansson-dev libxxhash-dev libfiu-dev \
	     libfuse3-dev nettle-dev pkg-config scdoc
PKG_VM	  := kmod xz-utils zstd
PKG_TEST  := clang libclang-rt-14-dev libcmocka-dev fio e2fsprogs xfsprogs btrfs-progs socat procps \
	     util-linux fiu-utils sqlite3 dmsetup libpq5 libicu72 libldap-2.5-0 libxml2 \
	     libgssapi-krb5-2 chromium chromium-driver python3 openssh-client groff-base strace
# Unpacked into the cache of the virtual machine and never installed: as packages they would start a
# server or change how the machine boots.
PKG_BORROW := mdadm udev fdisk libfdisk1 postgresql-15 postgresql-client-15 slurmctld slurmd \
	      slurm-client slurm-wlm-basic-plugins munge libmunge2 libhwloc15 parallel rsync libpopt0 \
	      openssh-server libwrap0
PKG_DEMO  := fio e2fsprogs util-linux
PKG_BENCH := fio nbdkit nbd-client gnuplot-nox dmsetup python3
PKG_LINT  := clang-format clang-tidy cppcheck shellcheck git
PKG_COVER := gcovr
PKG_ABI	  := abigail-tools
need	   = @sh tests/need $(1)
borrow	   = @sh tests/borrow $(PKG_BORROW)
# Built once the packages are there.
built	   = @$(MAKE) --no-print-directory -s -j$$(nproc) $(1)

.PHONY: deps deps-lint
deps: ## install the packages that are missing (Debian, as root), saying which
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST) $(PKG_BENCH))
	$(borrow)

deps-lint: ## install what lint, cover and abi need
	$(call need,$(PKG_LINT) $(PKG_COVER) $(PKG_ABI))

# ---------------------------------------------------------------------------------- building

# Where something is missing: that, and not the compiler's words about it.
$B/buildable: tests/buildable
	@mkdir -p $(@D)
	@sh tests/buildable "$(CC)"
	@touch $@

$B/obj/%.o: %.c | $B/buildable
	@mkdir -p $(@D)
	$(CC) $(ALLFLAGS) -c $< -o $@

$B/obj/lib/%.o: ALLFLAGS += -fPIC

# For our own programs: every symbol. For users: only those of ublkcore.h, so that nothing of ours
# collides with a name of theirs.
$B/libcore.a: $(call obj,$(LIB_SRC))
	@rm -f $@
	$(AR) qcs $@ $^

$B/libublkcore.a: $(call obj,$(LIB_SRC))
	@rm -f $@
	$(LD) -r $^ -o $B/ublkcore.o
	objcopy --localize-hidden $B/ublkcore.o
	$(AR) qcs $@ $B/ublkcore.o

$B/libublkcore.so.$(SOVER): $(call obj,$(LIB_SRC)) lib/libublkcore.map
	$(CC) -shared $(SANFLAGS_$(SAN)) -Wl,-soname,libublkcore.so.$(SOVER) \
		-Wl,--version-script,lib/libublkcore.map $(call obj,$(LIB_SRC)) $(CORE_LIBS) -o $@
	@ln -sf libublkcore.so.$(SOVER) $B/libublkcore.so

$B/libfaults.a: $(call obj,$(FAULT_SRC))
	@rm -f $@
	$(AR) qcs $@ $^

$B/vm/init: tools/vm/init.c $(wildcard tools/vm/*.h) | $B/buildable
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(WARN) -I. -Os -static -s $< -o $@

# One page of its parts; its policy names style and script by their hashes.
$B/report/page.html: tools/report/make $(wildcard tools/report/page.*)
	@mkdir -p $(@D)
	sh tools/report/make >$@

# Files that the program carries; a blob.S names each by its path here or in the build directory.
$B/obj/%.o: %.S | $B/buildable
	@mkdir -p $(@D)
	$(CC) -Wa,-I$B -c $< -o $@

$B/obj/tools/checks/blob.o: $(wildcard tools/checks/*)
$B/obj/tools/report/blob.o: $B/report/page.html
$B/obj/tools/vm/blob.o: $B/vm/init tools/vm/fetch

TOOL_OBJ = $(call obj,$(TOOL_SRC)) $(patsubst %.S,$B/obj/%.o,$(wildcard tools/*/blob.S))
$B/faultblk: $(TOOL_OBJ) $B/libfaults.a $B/libcore.a
	$(CC) $(SANFLAGS_$(SAN)) $^ $(TOOL_LIBS) -o $@

# Examples are built as a user would: the public header and the library, nothing else.
$B/examples/%: lib/examples/%.c $B/libublkcore.a lib/ublkcore.h
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(CFLAGS) $(WARN) $(SANFLAGS_$(SAN)) -Ilib $< $B/libublkcore.a $(CORE_LIBS) -o $@

# Names and options that a hyphen breaks cannot be searched or copied.
NO_HYPHENS := /^\.TH /i .nr HY 0
$B/man/faultblk-rules.5: tools/man/faultblk-rules.5.scd $B/faultblk
	@mkdir -p $(@D)
	@$B/faultblk faults --scdoc >$@.kinds
	sed -e '/^@KINDS@$$/{r $@.kinds' -e 'd}' $< | scdoc | sed '$(NO_HYPHENS)' >$@
	@rm -f $@.kinds

$B/man/ublkcore.3: lib/ublkcore.h lib/manual
	@mkdir -p $(@D)
	sh lib/manual man <$< >$@

$B/doc/ublkcore.html: lib/ublkcore.h lib/manual
	@mkdir -p $(@D)
	sh lib/manual html <$< >$@

.PHONY: doc
doc: $(MAN) $B/doc/ublkcore.html ## the manual pages, and the library's as HTML (build/doc)

$B/man/%: tools/man/%.scd | $B/buildable
	@mkdir -p $(@D)
	scdoc <$< | sed '$(NO_HYPHENS)' >$@

# ---------------------------------------------------------------------------------- building tests

# The tools as an archive: a test is linked with those that it calls.
$B/libtools.a: $(filter-out $(patsubst %,$B/obj/tools/%.o,faultblk cmd/vm cmd/doctor) $B/obj/tools/vm/%,$(TOOL_OBJ))
	@rm -f $@
	$(AR) qcs $@ $^

$B/unit/%: $B/obj/tests/unit/%.o $B/libtools.a $B/libfaults.a $B/libcore.a
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS_$(SAN)) $^ $(UNIT_LIBS) -o $@

$B/sim/%: $B/obj/tests/sim/%.o $B/libfaults.a $B/libcore.a
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS_$(SAN)) $^ $(FAULT_LIBS) -o $@

# With SAN=fuzz and clang a fuzzer, otherwise a program that replays the files it is given.
ifeq ($(SAN),fuzz)
FUZZ_MAIN :=
FUZZ_LINK := -fsanitize=address,undefined,fuzzer
else
FUZZ_MAIN := $B/obj/tests/fuzz/replay.o
FUZZ_LINK := $(SANFLAGS_$(SAN))
endif
$B/fuzz/%: $B/obj/tests/fuzz/%.o $(FUZZ_MAIN) $B/libtools.a $B/libfaults.a $B/libcore.a
	@mkdir -p $(@D)
	$(CC) $(FUZZ_LINK) $^ $(TOOL_LIBS) -o $@

$B/device/%: tests/device/%.c $(wildcard tests/device/*.h) $B/libublkcore.a
	@mkdir -p $(@D)
	$(CC) $(CSTD) $(CFLAGS) $(WARN) $(SANFLAGS_$(SAN)) -I. -Ilib $< $B/libublkcore.a \
		$(FAULT_LIBS) -o $@

# Recordings for the tests of `faultblk explore`, made without a kernel.
$B/explore/%: $B/obj/tests/explore/%.o $B/libfaults.a $B/libcore.a
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS_$(SAN)) $^ $(FAULT_LIBS) -o $@

$B/bench/%: $B/obj/bench/%.o $B/libtools.a $B/libfaults.a $B/libcore.a
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS_$(SAN)) $^ $(TOOL_LIBS) -o $@

# Work that is counted: only with SAN=count.
$B/count/%: $B/obj/tests/count/%.o $B/libfaults.a $B/libcore.a
	@mkdir -p $(@D)
	$(CC) -Wl,--wrap=memcpy,--wrap=memmove,--wrap=memset $^ $(FAULT_LIBS) -o $@

# What makes failure points fail: only with FIU=1.
$B/fail/%: $B/obj/tests/fail/%.o $B/libtools.a $B/libfaults.a $B/libcore.a
	@mkdir -p $(@D)
	$(CC) $(SANFLAGS_$(SAN)) $^ $(TOOL_LIBS) -o $@

.PHONY: build-unit build-tsan build-sim build-fuzz build-count build-device build-fail build-explore
build-unit: $(UNIT) ## unit tests; with SAN=asan or SAN=tsan this and all else under sanitizers
build-tsan: $(patsubst tests/unit/%.c,$B/unit/%,$(TSAN_SRC)) ## the unit tests that have threads
build-sim: $(SIM) ## simulators
build-fuzz: $(FUZZ) ## fuzzers with SAN=fuzz CC=clang, otherwise replayers of their inputs
build-count: $(patsubst tests/count/%.c,$B/count/%,$(wildcard tests/count/*.c)) ## counters of work, with SAN=count
build-device: all $(HELPERS) ## helpers of the device tests
build-fail: $B/faultblk $(FAIL) ## sweeps of the failure points, with FIU=1
build-explore: $B/faultblk $(STATES) ## makers of recordings

# ---------------------------------------------------------------------------------- testing

PARTS := unit sim fuzz-replay page screen fail explore security many crash device
.PHONY: demo check test $(PARTS) soak crash-demo fuzz bench
demo: ## the main job, shown; installs what is missing, builds, uses a VM where it must
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_DEMO))
	$(call built,$B/faultblk)
	@sh tools/demo $B/faultblk

check: ## the tests of a few minutes: tree, text, unit; no VM, no browser
	$(call need,$(PKG_BUILD) $(PKG_TEST))
	@bash tests/run check

test: ## every test
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	$(borrow)
	@bash tests/run all

unit sim fuzz-replay page screen fail explore security many crash device: ## parts of make test
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	$(if $(filter device many,$@),$(borrow))
	@bash tests/run $@

soak: ## every test, for longer
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	$(borrow)
	@SOAK=1 bash tests/run all

crash-demo: ## real software and power cuts, in full
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	$(call built,$B/faultblk)
	@bash tests/crash/run full

fuzz: ## fuzz, and keep what is found
	$(call need,$(PKG_BUILD) $(PKG_TEST))
	@sh tests/fuzz/grow

bench: ## compare with other disks; ICOUNT=1, EFFECTS=1, EXPLORE=1: see bench/README.md
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_BENCH))
	$(call built,$(if $(EXPLORE),$B/bench/explore build-explore,$B/faultblk $(EXAMPLES)))
	@sh bench/run $B/faultblk

# ---------------------------------------------------------------------------------- maintaining

.PHONY: lint lint-changed format hooks abi abi-accept cover cover-html
lint: ## clang-format, clang-tidy, cppcheck and shellcheck on all files
	$(call need,$(PKG_LINT))
	@bash tests/lint

lint-changed: ## the same on the files that differ from upstream
	$(call need,$(PKG_LINT))
	@bash tests/lint changed

format: ## clang-format, in place
	clang-format -i $$(git ls-files '*.c' '*.h')

hooks: ## let git run lint before each commit, and make check before each push
	@was=$$(git config core.hooksPath); case $$was in tests/hooks | '') ;; *) \
		echo "make hooks: core.hooksPath is $$was already; git config --unset core.hooksPath first"; exit 1 ;; esac
	@old=$$(find "$$(git rev-parse --git-common-dir)/hooks" -type f -perm -u+x ! -name '*.sample' 2>/dev/null); \
		[ -z "$$old" ] || { echo "make hooks: git would not run these any more, move them first:" $$old; exit 1; }
	git config core.hooksPath tests/hooks
	@echo 'to undo it: git config --unset core.hooksPath'

abi: $B/libublkcore.so.$(SOVER) ## compare the library's binary interface with lib/ublkcore.abi
	$(call need,$(PKG_ABI))
	@sh tests/abi $<

abi-accept: $B/libublkcore.so.$(SOVER) ## store the interface as it is now
	$(call need,$(PKG_ABI))
	@sh tests/abi $< accept

cover: ## lines and branches that unit tests reach; TESTS='FILTER...': and these device tests
	$(call need,$(PKG_BUILD) $(PKG_TEST) $(PKG_COVER))
	@sh tests/cover text

cover-html: ## the same as pages: build/cover/html/index.html
	$(call need,$(PKG_BUILD) $(PKG_TEST) $(PKG_COVER))
	@sh tests/cover html

# ---------------------------------------------------------------------------------- installing

.PHONY: install uninstall dist clean
install: all ## into DESTDIR and PREFIX, /usr/local unless given
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include \
		$(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/share/faultblk/etc \
		$(DESTDIR)$(PREFIX)/share/faultblk/bench $(DESTDIR)$(PREFIX)/share/faultblk/scenarios
	install -m 755 $B/faultblk $(DESTDIR)$(PREFIX)/bin/faultblk
	install -m 644 lib/ublkcore.h $(DESTDIR)$(PREFIX)/include/ublkcore.h
	install -m 644 $B/libublkcore.a $(DESTDIR)$(PREFIX)/lib/libublkcore.a
	install -m 755 $B/libublkcore.so.$(SOVER) $(DESTDIR)$(PREFIX)/lib/libublkcore.so.$(SOVER)
	ln -sf libublkcore.so.$(SOVER) $(DESTDIR)$(PREFIX)/lib/libublkcore.so
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' lib/ublkcore.pc.in \
		>$(DESTDIR)$(PREFIX)/lib/pkgconfig/ublkcore.pc
	for page in $(MAN); do section=$${page##*.}; \
		install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$$section/$${page##*/} || exit 1; \
	done
	cp -r tools/etc/. $(DESTDIR)$(PREFIX)/share/faultblk/etc/
	sed -i 's|/usr/local/bin|$(PREFIX)/bin|' \
		$(DESTDIR)$(PREFIX)/share/faultblk/etc/systemd/system/faultblk@.service \
		$(DESTDIR)$(PREFIX)/share/faultblk/etc/udev/rules.d/90-faultblk.rules
	install -m 644 bench/*.fio $(DESTDIR)$(PREFIX)/share/faultblk/bench/
	install -m 644 tools/scenarios/*.fbs $(DESTDIR)$(PREFIX)/share/faultblk/scenarios/
	@# Into a running system: let the loader know of the library.
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then ldconfig; fi

# What `install` puts there, and the folders of ours that are empty then.
uninstall: ## remove what install put
	@rm -rf $B/stage
	@$(MAKE) --no-print-directory -s install DESTDIR=$B/stage >/dev/null
	@find $B/stage ! -type d -printf '%P\n' | (cd '$(DESTDIR)/' && xargs -d '\n' rm -f)
	@find '$(DESTDIR)$(PREFIX)/share/faultblk' -type d -empty -delete 2>/dev/null || :
	@rm -rf $B/stage

DIST := faultblk-$(VERSION)
dist: ## build/faultblk-VERSION.tar.gz, of the last commit
	@mkdir -p build
	git archive --prefix=$(DIST)/ -o build/$(DIST).tar.gz HEAD

clean: ## remove what was built
	rm -rf build bench/out

-include $(shell find $B/obj -name '*.d' 2>/dev/null)
