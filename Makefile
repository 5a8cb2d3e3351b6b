# SPDX-License-Identifier: MIT
#
# make demo	the main job, shown; installs what is missing, builds, uses the VM where it must
# make test	every test; the same
# make		the program, the library, the examples, the man pages
# make help	all targets
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
SANFLAGS_fuzz := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
ALLFLAGS = $(CSTD) $(CFLAGS) $(WARN) $(SANFLAGS_$(SAN)) -I. -Ilib -MMD -MP -fvisibility=hidden \
	$(if $(FIU),-DFIU_ENABLE)

BASE_SRC  := $(wildcard lib/base/*.c)
LIB_SRC   := $(wildcard lib/*.c) $(BASE_SRC)
FAULT_SRC := $(wildcard faults/*.c faults/*/*.c)
TOOL_SRC  := $(filter-out tools/vm/init.c,$(wildcard tools/*.c tools/*/*.c))
UNIT_SRC  := $(wildcard tests/unit/test_*.c)
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
MAN	:= $(patsubst tools/man/%.scd,$B/man/%,$(wildcard tools/man/*.scd))

# The library alone asks libfiu only where it has failure points.
CORE_LIBS := -luring $(if $(FIU),-lfiu) -lpthread
FAULT_LIBS := -ljansson -luring -lxxhash -lfiu -lpthread -lm
TOOL_LIBS := -lfuse3 -lnettle $(FAULT_LIBS)
UNIT_LIBS := -lcmocka $(TOOL_LIBS)

.PHONY: all deps demo test unit sim fuzz-replay page screen fail explore security many crash crash-demo fuzz \
	device soak bench install clean help format build-unit build-tsan build-sim build-fuzz build-device build-fail \
	build-count build-explore
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
# Make would delete the objects of the test programs as intermediate files.
.SECONDARY:

all: $B/faultblk $B/libublkcore.a $B/libublkcore.so.$(SOVER) $(EXAMPLES) $(MAN)

help:
	@sed -n 's/^# make/make/p' Makefile
	@echo 'make deps	install the packages that are missing (Debian, as root), saying which'
	@echo 'make unit | sim | fuzz-replay | page | screen | fail | explore | security | many | crash | device	parts of make test'
	@echo 'make crash-demo	real software and power cuts, in full'
	@echo 'make fuzz | soak | bench	longer runs: fuzzing, repeated tests, benchmarks'
	@echo 'make install	to DESTDIR=$(DESTDIR) PREFIX=$(PREFIX)'

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
define need
	@sh tests/need $(1)
endef

deps:
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST) $(PKG_BENCH))
	@sh tests/borrow $(PKG_BORROW)

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

$B/obj/tools/vm/blob.o: tools/vm/blob.S $B/vm/init tools/vm/fetch
	@mkdir -p $(@D)
	$(CC) -DVM_INIT_PATH='"$B/vm/init"' -DVM_FETCH_PATH='"tools/vm/fetch"' -c $< -o $@

$B/obj/tools/checks/blob.o: tools/checks/blob.S $(wildcard tools/checks/*)
	@mkdir -p $(@D)
	$(CC) -c $< -o $@

# One page of its parts; its policy names style and script by their hashes.
$B/report/page.html: tools/report/make $(wildcard tools/report/page.*)
	@mkdir -p $(@D)
	sh tools/report/make >$@

$B/obj/tools/report/blob.o: tools/report/blob.S $B/report/page.html
	@mkdir -p $(@D)
	$(CC) -DREPORT_PAGE_PATH='"$B/report/page.html"' -c $< -o $@

TOOL_OBJ = $(call obj,$(TOOL_SRC)) $B/obj/tools/vm/blob.o $B/obj/tools/checks/blob.o \
	$B/obj/tools/report/blob.o
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

$B/man/%: tools/man/%.scd | $B/buildable
	@mkdir -p $(@D)
	scdoc <$< | sed '$(NO_HYPHENS)' >$@

# ---------------------------------------------------------------------------------- tests

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

build-unit: $(UNIT)
build-tsan: $(patsubst tests/unit/%.c,$B/unit/%,$(TSAN_SRC))
build-sim: $(SIM)
build-fuzz: $(FUZZ)
build-count: $(patsubst tests/count/%.c,$B/count/%,$(wildcard tests/count/*.c))
build-device: all $(HELPERS)
build-fail: $B/faultblk $(FAIL)
build-explore: $B/faultblk $(STATES)

test:
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	@sh tests/borrow $(PKG_BORROW)
	@bash tests/run all

unit sim fuzz-replay page screen fail explore security many crash device:
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	$(if $(filter device many,$@),@sh tests/borrow $(PKG_BORROW))
	@bash tests/run $@

soak:
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	@sh tests/borrow $(PKG_BORROW)
	@SOAK=1 bash tests/run all

crash-demo:
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_TEST))
	@$(MAKE) --no-print-directory -s -j$$(nproc) $B/faultblk
	@bash tests/crash/run full

fuzz:
	$(call need,$(PKG_BUILD) $(PKG_TEST))
	@sh tests/fuzz/grow

demo:
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_DEMO))
	@$(MAKE) --no-print-directory -s -j$$(nproc) $B/faultblk
	@sh tools/demo $B/faultblk

bench:
	$(call need,$(PKG_BUILD) $(PKG_VM) $(PKG_BENCH))
	@$(MAKE) --no-print-directory -s -j$$(nproc) $B/faultblk $(EXAMPLES)
	$(if $(EXPLORE),@$(MAKE) --no-print-directory -s -j$$(nproc) $B/bench/explore build-explore)
	@$(if $(EXPLORE),sh bench/explore $B,$(if $(EFFECTS),python3 bench/effects,sh bench/run) \
		$B/faultblk)

format:
	clang-format -i $$(git ls-files '*.c' '*.h')

# ---------------------------------------------------------------------------------- installing

install: all
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

clean:
	rm -rf build bench/out

-include $(shell find build -name '*.d' 2>/dev/null)
