# SPDX-License-Identifier: GPL-2.0-or-later
#
# Packages, all of them into $(PACKAGES); packaging/README.md tells how a release is made.
#
#   make dist            the release archive
#   make deb             Debian packages
#   make check-packages  builds them all, twice, compares; installs, upgrades, removes and purges in a fresh Debian

PACKAGES := $(BUILD)/packages
DIST := $(PACKAGES)/blkferry-$(VERSION).tar.gz
# Nothing in a package depends on when, where or by whom it was built.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y VERSION)
.PHONY: dist deb check-packages

dist:
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) packaging/source.sh $(PACKAGES)
	$(call say,DIST,$(DIST))

deb: dist
	$(call say,DEB,$(PACKAGES)/deb)
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) packaging/deb/build.sh $(DIST) $(PACKAGES)/deb

check-packages: dist
ifeq ($(DEPS),1)
	$(Q)! command -v dpkg-query >/dev/null || packaging/install-deps.sh --packages || true
endif
	$(Q)SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) DIST=$(abspath $(DIST)) TEST_TIMEOUT=$${TEST_TIMEOUT:-1800} \
		tests/run.sh packages $(sort $(wildcard tests/packages/test-*.sh))
