# SPDX-License-Identifier: GPL-2.0-or-later
#
# Builds the three programs of blkferry and runs their tests. Everything lands in $(BUILD).
#
#   make                 blkferry-agent, blkferry-receiver, blkferry
#   make check           every test (root: the integration tests use loop devices and BPF)
#   make check-vm        the main job in guests: kernels of several Debians, whole Debian machines (QEMU, without KVM)
#   make check SAN=1     the same tests with ASan and UBSan; SAN=thread for TSan
#   make soak            daemons killed at random moments of streaming, again and again; hours
#   make demo            the main job on this machine, with the proof at the end
#   make bench           measurements; table on screen, build/bench.json
#   make lint            formatting, static analysis, the structural checks
#   make install DESTDIR=/some/root PREFIX=/usr
#   make deb             and other packages: packaging/packages.mk
#
# A packager may set any variable below from the command line; V=1 shows the commands.

PREFIX ?= /usr
DESTDIR ?=
SBINDIR ?= $(PREFIX)/sbin
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
LIBDIR ?= $(PREFIX)/lib/blkferry
SYSCONFDIR ?= /etc
UNITDIR ?= /lib/systemd/system
SHUTDOWNDIR ?= $(PREFIX)/lib/systemd/system-shutdown
INITRAMFSDIR ?= $(PREFIX)/share/initramfs-tools
DRACUTDIR ?= $(PREFIX)/lib/dracut/modules.d
BASHCOMPDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHCOMPDIR ?= $(PREFIX)/share/zsh/vendor-completions
FISHCOMPDIR ?= $(PREFIX)/share/fish/vendor_completions.d

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
CLANG ?= clang
BPFTOOL ?= bpftool
PKG_CONFIG ?= pkg-config
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wpointer-arith \
	-Wformat=2 -Wundef -Wswitch-enum -Wno-unused-parameter
VERSION := $(shell cat VERSION)

SAN ?=
ifeq ($(SAN),1)
BUILD ?= build-san
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
else ifeq ($(SAN),thread)
BUILD ?= build-tsan
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer
else
BUILD ?= build
SANFLAGS :=
endif
export BUILD SAN

ifeq ($(V),1)
Q :=
else
Q := @
endif
say = @printf '  %-8s %s\n' $(1) $(2)

COMMON_LIBS := libcrypto libssl liblz4 libzstd inih libxxhash jansson
AGENT_LIBS := libbpf liburing
RECEIVER_LIBS := libnbd libcurl
pkg = $(shell $(PKG_CONFIG) $(1) $(2))

ALL_CFLAGS = -std=gnu11 -D_GNU_SOURCE -DBLKFERRY_VERSION='"$(VERSION)"' -I. -I$(BUILD) \
	$(WARNINGS) $(CPPFLAGS) $(CFLAGS) $(SANFLAGS) -fstack-protector-strong -pthread -MMD -MP
ALL_LDFLAGS = $(LDFLAGS) $(SANFLAGS) -pthread
COMMON_LDLIBS = $(call pkg,--libs,$(COMMON_LIBS))
AGENT_LDLIBS = $(call pkg,--libs,$(AGENT_LIBS)) $(COMMON_LDLIBS)
RECEIVER_LDLIBS = $(call pkg,--libs,$(RECEIVER_LIBS)) $(COMMON_LDLIBS)

# Every .c file of a folder belongs to that folder's program.
COMMON_SRC := $(wildcard common/*.c)
AGENT_SRC := $(wildcard agent/*.c agent/linux/*.c agent/linux/check/*.c agent/linux/firstboot/*.c agent/cli/*.c)
RECEIVER_SRC := $(wildcard receiver/*.c receiver/xapi/*.c)
VIEW_PLUGIN_SRC := $(wildcard receiver/view_plugin/*.c)
CLI_SRC := $(wildcard receiver/cli/*.c)
BPF_SRC := $(wildcard agent/bpf/*.bpf.c)
obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
SKELETONS := $(patsubst agent/bpf/%.bpf.c,$(BUILD)/bpf/%.skel.h,$(BPF_SRC))

# Empty: do not build it (nbdkit loads it, so it cannot be static).
VIEW_PLUGIN ?= $(BUILD)/nbdkit-blkferry-plugin.so
PROGRAMS := $(BUILD)/blkferry-agent $(BUILD)/blkferry-early $(BUILD)/blkferry-receiver $(BUILD)/blkferry $(VIEW_PLUGIN)

all: $(PROGRAMS)
# Made on the way, and kept: or they would be made again each time.
.SECONDARY:
.PHONY: all deps check check-vm check-unit check-integration check-fuzz soak demo bench lint install clean

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/libcommon.a: $(call obj,$(COMMON_SRC))
$(BUILD)/libagent.a: $(call obj,$(filter-out agent/main.c,$(AGENT_SRC)))
$(BUILD)/libreceiver.a: $(call obj,$(filter-out receiver/main.c,$(RECEIVER_SRC)) \
	$(filter-out %/plugin.c,$(VIEW_PLUGIN_SRC)))
$(BUILD)/lib%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/blkferry-agent: $(call obj,agent/main.c) $(BUILD)/libagent.a $(BUILD)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(AGENT_LDLIBS)

# For the initramfs: of the agent's code only what it needs, of the libraries too.
$(BUILD)/blkferry-early: $(call obj,agent/early/main.c) $(BUILD)/libagent.a $(BUILD)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed -o $@ $^ $(AGENT_LDLIBS)

$(BUILD)/blkferry-receiver: $(call obj,receiver/main.c) $(BUILD)/libreceiver.a $(BUILD)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(RECEIVER_LDLIBS)

$(BUILD)/blkferry: $(call obj,$(CLI_SRC)) $(BUILD)/libcommon.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(COMMON_LDLIBS)

# What nbdkit loads for views: position-independent, and without sanitizers, which nbdkit does not have.
pic = $(patsubst %.c,$(BUILD)/obj-pic/%.o,$(1))
$(BUILD)/obj-pic/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out $(SANFLAGS),$(ALL_CFLAGS)) -fPIC -c -o $@ $<

ifneq ($(VIEW_PLUGIN),)
$(VIEW_PLUGIN): $(call pic,$(VIEW_PLUGIN_SRC) receiver/target_nbd_connect.c common/fault.c \
		common/os_clock.c common/os_io.c common/os_thread.c)
	$(call say,LD,$@)
	$(Q)$(CC) $(filter-out $(SANFLAGS),$(ALL_LDFLAGS)) -shared -o $@ $^ $(call pkg,--libs,libnbd)
endif

# The BPF programs: one object, turned into a header that the agent embeds.
$(BUILD)/bpf/%.bpf.o: agent/bpf/%.bpf.c $(wildcard agent/bpf/*.h)
	$(call say,BPF,$<)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -mcpu=v3 -O2 -g -Wall -ffile-prefix-map=$(CURDIR)=. -I. -I/usr/include/$(shell uname -m)-linux-gnu -c -o $@ $<

$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q){ echo '/* NOLINTBEGIN: bpftool wrote this */' && \
		$(BPFTOOL) gen skeleton $< name $(subst -,_,$*)_bpf && echo '/* NOLINTEND */'; } >$@.tmp && mv $@.tmp $@

$(call obj,$(AGENT_SRC)): | $(SKELETONS)

# Tests. tests/unit/SIDE/test_x.c links with that side's library; tests/tools/*.c are small programs
# that the shell tests run.
UNIT_SRC := $(wildcard tests/unit/common/*.c tests/unit/agent/*.c tests/unit/receiver/*.c)
UNIT_TESTS := $(patsubst %.c,$(BUILD)/%,$(UNIT_SRC))
TOOLS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/tools/*.c))
BENCH_TOOLS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/bench/*.c))

$(BUILD)/tests/unit/common/%: $(BUILD)/obj/tests/unit/common/%.o $(BUILD)/libcommon.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(COMMON_LDLIBS)
$(BUILD)/tests/unit/agent/%: $(BUILD)/obj/tests/unit/agent/%.o $(BUILD)/libagent.a $(BUILD)/libcommon.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(AGENT_LDLIBS)
$(BUILD)/tests/unit/receiver/%: $(BUILD)/obj/tests/unit/receiver/%.o $(BUILD)/libreceiver.a $(BUILD)/libcommon.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka $(RECEIVER_LDLIBS)
$(BUILD)/tests/tools/%: $(BUILD)/obj/tests/tools/%.o $(BUILD)/libagent.a $(BUILD)/libcommon.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(AGENT_LDLIBS)
# The disk's own record of its writes, below a loop disk (tests/oracle).
ORACLE := $(BUILD)/tests/oracle/nbdkit-oracle-plugin.so
$(ORACLE): tests/oracle/oracle_plugin.c tests/oracle/oracle_log.h
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fsanitize%,$(ALL_CFLAGS)) -fPIC -shared -o $@ $< $(call pkg,--libs,libxxhash)
$(BUILD)/tests/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/libreceiver.a $(BUILD)/libcommon.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(RECEIVER_LDLIBS)
$(call obj,$(wildcard tests/tools/*.c) $(UNIT_SRC)): | $(SKELETONS)

# On Debian and alike, what is missing is installed first. DEPS=0 leaves that out.
DEPS ?= 1
deps:
ifeq ($(DEPS),1)
	$(Q)! command -v dpkg-query >/dev/null || packaging/install-deps.sh --all
endif

# A make of its own, since this one has looked for headers and libraries already. A part that fails does not hide the others.
check: deps
	$(Q)$(MAKE) --no-print-directory -k check-unit check-fuzz check-integration

check-unit: all $(UNIT_TESTS)
	$(Q)tests/run.sh unit $(UNIT_TESTS)

check-integration: all $(TOOLS) $(ORACLE)
	$(Q)tests/run.sh integration $(sort $(wildcard tests/integration/test-*.sh))

# Fuzzing: each tests/fuzz/fuzz_X.c with libFuzzer, in a build of its own (clang, sanitizers).
# fuzz_agent_X and fuzz_receiver_X also get that side's code.
#   make fuzz FUZZ_SECONDS=600     each for ten minutes; check-fuzz: a few seconds
FUZZ_SECONDS ?= 5
FUZZERS := $(patsubst %.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_MAKE = $(MAKE) --no-print-directory BUILD=build-fuzz SAN= CC=$(CLANG) \
	SANFLAGS='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined'
.PHONY: fuzz fuzzers

define link_fuzzer
$(call say,LD,$@)
@mkdir -p $(@D)
$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^
endef

$(BUILD)/tests/fuzz/fuzz_agent_%: $(BUILD)/obj/tests/fuzz/fuzz_agent_%.o $(BUILD)/libagent.a $(BUILD)/libcommon.a
	$(link_fuzzer) $(AGENT_LDLIBS)
$(BUILD)/tests/fuzz/fuzz_receiver_%: $(BUILD)/obj/tests/fuzz/fuzz_receiver_%.o $(BUILD)/libreceiver.a $(BUILD)/libcommon.a
	$(link_fuzzer) $(RECEIVER_LDLIBS)
$(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/libcommon.a
	$(link_fuzzer) $(COMMON_LDLIBS)
.SECONDARY: $(call obj,$(wildcard tests/fuzz/fuzz_*.c))

fuzzers: $(FUZZERS)

check-fuzz:
	$(Q)$(FUZZ_MAKE) fuzzers
	$(Q)BUILD=build-fuzz FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh \
		$(patsubst $(BUILD)/%,build-fuzz/%,$(FUZZERS))

fuzz: FUZZ_SECONDS = 300
fuzz: check-fuzz

# Not part of check: it fetches kernels from Debian, and takes minutes where nothing accelerates QEMU.
check-vm: all $(TOOLS)
ifeq ($(DEPS),1)
	$(Q)! command -v dpkg-query >/dev/null || packaging/install-deps.sh --vm || true
endif
	$(Q)$(MAKE) --no-print-directory deb || true
	$(Q)TEST_TIMEOUT=$${TEST_TIMEOUT:-1800} tests/run.sh vm $(sort $(wildcard tests/vm/test-*.sh))

# Not part of check either: SIGKILL for hours (SOAK_ROUNDS=200), PostgreSQL, btrfs.
soak: all $(TOOLS)
ifeq ($(DEPS),1)
	$(Q)! command -v dpkg-query >/dev/null || packaging/install-deps.sh --soak || true
endif
	$(Q)TEST_TIMEOUT=$${TEST_TIMEOUT:-86400} tests/run.sh soak $(sort $(wildcard tests/soak/test-*.sh))

demo: deps
	$(Q)$(MAKE) --no-print-directory all $(TOOLS)
	$(Q)tests/demo/demo.sh

bench: deps
	$(Q)$(MAKE) --no-print-directory all $(TOOLS) $(BENCH_TOOLS)
	$(Q)tests/bench/bench.sh

lint: $(SKELETONS)
	$(Q)tests/lint/run.sh

# Configuration that is there stays as it is.
DOCDIR ?= $(PREFIX)/share/doc/blkferry
install: all
	install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DOCDIR)/examples \
		$(addprefix $(DESTDIR)$(PREFIX)/lib/,sysusers.d tmpfiles.d systemd/system-preset firewalld/services) \
		$(DESTDIR)$(BASHCOMPDIR) $(DESTDIR)$(ZSHCOMPDIR) $(DESTDIR)$(FISHCOMPDIR) \
		$(addprefix $(DESTDIR)$(MANDIR)/man,1 5 7 8) $(DESTDIR)$(SYSCONFDIR)/blkferry
	install -m 755 $(BUILD)/blkferry-agent $(BUILD)/blkferry-receiver $(DESTDIR)$(SBINDIR)
	install -m 755 $(BUILD)/blkferry $(DESTDIR)$(BINDIR)
	install -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(SHUTDOWNDIR) $(DESTDIR)$(DRACUTDIR) \
		$(DESTDIR)$(INITRAMFSDIR)/hooks $(DESTDIR)$(INITRAMFSDIR)/scripts/init-premount
	install -m 755 $(BUILD)/blkferry-early $(DESTDIR)$(LIBDIR)
	install -m 755 packaging/systemd/system-shutdown $(DESTDIR)$(SHUTDOWNDIR)/blkferry
	install -m 755 packaging/initramfs-tools/hook $(DESTDIR)$(INITRAMFSDIR)/hooks/blkferry
	install -m 755 packaging/initramfs-tools/init-premount $(DESTDIR)$(INITRAMFSDIR)/scripts/init-premount/blkferry
	cp -R packaging/dracut/50blkferry $(DESTDIR)$(DRACUTDIR)
	sed -i 's|/usr/lib/blkferry/blkferry-early|$(LIBDIR)/blkferry-early|' $(DESTDIR)$(SHUTDOWNDIR)/blkferry \
		$(DESTDIR)$(INITRAMFSDIR)/hooks/blkferry $(DESTDIR)$(INITRAMFSDIR)/scripts/init-premount/blkferry \
		$(DESTDIR)$(DRACUTDIR)/50blkferry/*
ifneq ($(VIEW_PLUGIN),)
	install -m 755 $(VIEW_PLUGIN) $(DESTDIR)$(LIBDIR)
endif
	install -m 644 packaging/systemd/*.service $(DESTDIR)$(UNITDIR)
	sed -i 's|/usr/sbin/|$(SBINDIR)/|' $(DESTDIR)$(UNITDIR)/blkferry-agent.service \
		$(DESTDIR)$(UNITDIR)/blkferry-agent-first-boot.service \
		$(DESTDIR)$(UNITDIR)/blkferry-receiver.service
	install -m 644 packaging/sysusers.d/*.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d
	install -m 644 packaging/tmpfiles.d/*.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
	install -m 644 packaging/presets/*.preset $(DESTDIR)$(PREFIX)/lib/systemd/system-preset
	install -m 644 packaging/firewalld/*.xml $(DESTDIR)$(PREFIX)/lib/firewalld/services
	programs="blkferry blkferry-agent blkferry-receiver"; for p in $$programs; do \
		sed "s/$$programs/$$p/" packaging/completions/blkferry.bash >$(DESTDIR)$(BASHCOMPDIR)/$$p && \
		sed "s/$$programs/$$p/" packaging/completions/blkferry.fish >$(DESTDIR)$(FISHCOMPDIR)/$$p.fish && \
		sed "s/$$programs/$$p/" packaging/completions/_blkferry >$(DESTDIR)$(ZSHCOMPDIR)/_$$p || exit 1; done
	for n in 1 5 7 8; do install -m 644 packaging/man/*.$$n $(DESTDIR)$(MANDIR)/man$$n || exit 1; done
	install -m 644 README.md NEWS LICENSE $(DESTDIR)$(DOCDIR)
	install -m 644 packaging/examples/*.ini $(DESTDIR)$(DOCDIR)/examples
	install -m 755 packaging/examples/test-boot-qemu $(DESTDIR)$(DOCDIR)/examples
	for f in agent.ini receiver.ini; do \
		[ -e $(DESTDIR)$(SYSCONFDIR)/blkferry/$$f ] || \
		install -m 644 packaging/examples/$$f $(DESTDIR)$(SYSCONFDIR)/blkferry || exit 1; done

include packaging/packages.mk

clean:
	rm -rf build build-san build-tsan build-fuzz

-include $(shell find $(BUILD)/obj $(BUILD)/obj-pic -name '*.d' 2>/dev/null)
