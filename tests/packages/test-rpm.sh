#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The .rpm packages: rpmlint has nothing to say but what rpmlint.toml answers; in a tree of their own (of Debian: what is
# inside is static) they install, start nothing, upgrade and go. And what is special in dom0: its firewall, its systemd.
. "$(dirname "$0")/functions.sh"
requires ROOT rpmbuild rpm debootstrap unshare
need_static

say "build, and a next version"
rpms=$T/rpms
"$TOP/packaging/rpm/build.sh" "$DIST" "$PROGRAMS" "$rpms"
version=$(cat "$TOP/VERSION")
tar -C "$T" -xf "$DIST"
mv "$T/blkferry-$version" "$T/blkferry-$version.1"
echo "# new in the next version" | tee -a "$T/blkferry-$version.1"/packaging/examples/*.ini >/dev/null
tar -C "$T" -czf "$T/blkferry-$version.1.tar.gz" "blkferry-$version.1"
"$TOP/packaging/rpm/build.sh" "$T/blkferry-$version.1.tar.gz" "$PROGRAMS" "$T/newer"

if command -v rpmlint >/dev/null; then
	say "rpmlint"
	rpmlint -c "$TOP/packaging/rpm/rpmlint.toml" "$rpms"/*.rpm "$TOP/packaging/rpm/blkferry.spec" >"$T/rpmlint.log" 2>&1 ||
		fail "rpmlint complains"
	! grep -E ': [EW]: ' "$T/rpmlint.log" || fail "rpmlint complains"
fi

# rpm_in_tree OPTION...
rpm_in_tree()
{
	: >"$TREE/systemctl.log"
	rpm --root "$TREE" --force-debian --nodeps "$@" >"$T/rpm.log" 2>&1 || fail "rpm $*"
}

say "install: users, folders, programs that run; nothing is enabled or started, and what to do next is said"
make_tree
stub_systemctl
rpm_in_tree -i "$rpms"/blkferry{,-agent,-receiver}-[0-9]*.rpm
has /var/lib/blkferry 700 blkferry:blkferry
has /var/lib/blkferry-agent 700 root:root
has /etc/blkferry/agent.ini 644 root:root
for program in blkferry blkferry-agent blkferry-receiver; do
	[ "$(in_tree "$program" --version)" = "$program $version" ] || fail "$program does not run"
done
for daemon in agent receiver; do
	in_tree "blkferry-$daemon" run --check-config >/dev/null || fail "blkferry-$daemon refuses its own example"
	grep -q "blkferry-$daemon: not started" "$T/rpm.log" || fail "nobody says how to go on with blkferry-$daemon"
	asked preset || fail "presets were not asked"
done
! asked '(start|restart|enable)' || fail "a daemon was started or enabled: $(cat "$TREE/systemctl.log")"
in_tree runuser -u blkferry -- blkferry-receiver init >/dev/null || fail "init as the receiver's user"

say "upgrade: what runs is restarted, changed configuration stays"
echo "# the admin's" >>"$TREE/etc/blkferry/agent.ini"
mkdir "$TREE/var/lib/blkferry/storage"
echo bytes >"$TREE/var/lib/blkferry/storage/disk0.raw"
rpm_in_tree -U "$T"/newer/blkferry{,-agent,-receiver}-[0-9]*.rpm
asked try-restart || fail "running daemons were not restarted"
! asked '(start|restart|enable|disable|stop|preset)' || fail "more was done: $(cat "$TREE/systemctl.log")"
tail -n 1 "$TREE/etc/blkferry/agent.ini" | grep -q "the admin's" || fail "the admin's configuration is lost"
tail -n 1 "$TREE/etc/blkferry/receiver.ini" | grep -q "next version" || fail "the untouched configuration is old"

say "erase: daemons are stopped, what was changed or is a replica stays"
rpm_in_tree -e blkferry blkferry-agent blkferry-receiver
asked stop || fail "daemons run on without their programs"
[ ! -e "$TREE/usr/sbin/blkferry-agent" ] || fail "programs are left"
grep -q "the admin's" "$TREE/etc/blkferry/agent.ini.rpmsave" || fail "the admin's configuration is lost"
[ "$(cat "$TREE/var/lib/blkferry/storage/disk0.raw")" = bytes ] || fail "a replica is lost"

say "dom0: the receiver and the command line, for root, and nothing else"
rm -r "$TREE/var/lib/blkferry"
rpm_in_tree -i "$rpms"/blkferry-receiver-dom0-*.rpm
has /var/lib/blkferry 700 root:root
in_tree blkferry-receiver run --check-config >/dev/null || fail "it refuses its own configuration"
in_tree blkferry-receiver init >/dev/null || fail "init"
[ ! -e "$TREE/usr/sbin/blkferry-agent" ] || fail "an agent in dom0"
grep -q "^control-group = root" "$TREE/etc/blkferry/receiver.ini" || fail "a group that dom0 has not"

say "dom0: its unit has nothing that systemd 219 does not know"
sed -nE 's/^([A-Za-z]+)=.*/\1/p' "$TREE/usr/lib/systemd/system/blkferry-receiver.service" | sort -u >"$T/used"
sort -u >"$T/known" <<'END'
After
CPUShares
CapabilityBoundingSet
ConditionPathExists
Description
Documentation
ExecStart
ExecStartPre
ExecStopPost
IOSchedulingClass
IOSchedulingPriority
KillMode
MemoryLimit
Nice
NoNewPrivileges
PrivateTmp
ProtectHome
ProtectSystem
Restart
RestartPreventExitStatus
RestartSec
RuntimeDirectory
RuntimeDirectoryMode
StartLimitInterval
TimeoutStopSec
Type
UMask
WantedBy
END
[ -z "$(comm -23 "$T/used" "$T/known")" ] || fail "unknown there: $(comm -23 "$T/used" "$T/known")"

say "dom0: the port of the configuration is opened and closed by xapi's helper"
printf '#!/bin/sh\necho "$*" >/asked\n' >"$TREE/firewall-port"
chmod 755 "$TREE/firewall-port"
while read -r listen port; do
	echo "listen = $listen" >"$TREE/receiver.ini"
	in_tree env BLKFERRY_CONFIG=/receiver.ini BLKFERRY_FIREWALL_PORT=/firewall-port \
		/usr/libexec/blkferry/firewall open || fail "firewall open with $listen"
	[ "$(cat "$TREE/asked")" = "open $port tcp" ] || fail "listen = $listen: $(cat "$TREE/asked")"
done <<'END'
:10811 10811
10.0.0.1:10812 10812
10.0.0.1 10810
[fe80::1]:10813 10813
fe80::1 10810
END
in_tree env BLKFERRY_FIREWALL_PORT=/firewall-port /usr/libexec/blkferry/firewall close
[ "$(cat "$TREE/asked")" = "close 10810 tcp" ] || fail "$(cat "$TREE/asked")"
! in_tree /usr/libexec/blkferry/firewall open 2>"$T/said" || fail "without xapi it says that it worked"
grep -q "opened by hand" "$T/said" || fail "it does not say what to do"
