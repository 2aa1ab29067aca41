# SPDX-License-Identifier: GPL-2.0-or-later
#
# Packages, all of them into $(PACKAGES); packaging/README.md tells how a release is made.
#
#   make dist            the release archive
#   make deb             Debian packages
#   make lint-deb        builds them, and looks what lintian says
#   make static-agent    the agent as one program that needs no library; the first time takes ten minutes
#   make rpm             .rpm packages for EL8, EL9 and XCP-ng's dom0
#   make check-packages  builds them all, twice, compares; installs, upgrades, removes and purges in a fresh Debian

PACKAGES := $(BUILD)/packages
DIST := $(PACKAGES)/blkferry-$(VERSION).tar.gz
# Nothing in a package depends on when, where or by whom it was built.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y VERSION)
.PHONY: dist deb lint-deb static-agent rpm check-packages

dist:
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) packaging/source.sh $(PACKAGES)
	$(call say,DIST,$(DIST))

deb: dist
	$(call say,DEB,$(PACKAGES)/deb)
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) packaging/deb/build.sh $(DIST) $(PACKAGES)/deb

lint-deb: deb
	$(Q)lintian --allow-root --fail-on error,warning $(PACKAGES)/deb/*.changes

static-agent: dist
	$(call say,STATIC,$(PACKAGES)/static)
	$(Q)packaging/static/build-libs.sh $(BUILD)/static
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) packaging/static/build.sh $(DIST) $(BUILD)/static $(PACKAGES)/static

rpm: static-agent
	$(call say,RPM,$(PACKAGES)/rpm)
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) packaging/rpm/build.sh $(DIST) $(PACKAGES)/static/programs \
		$(PACKAGES)/rpm

check-packages: dist
ifeq ($(DEPS),1)
	$(Q)! command -v dpkg-query >/dev/null || packaging/install-deps.sh --packages || true
endif
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) DIST=$(abspath $(DIST)) TEST_TIMEOUT=$${TEST_TIMEOUT:-3600} \
		tests/run.sh packages $(sort $(wildcard tests/packages/test-*.sh))
