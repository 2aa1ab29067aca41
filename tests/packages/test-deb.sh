#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The Debian packages: lintian has nothing to say; in a fresh Debian they install, do not start what cannot run yet,
# upgrade, remove and purge. Configuration that was changed stays; a replica stays whatever happens.
. "$(dirname "$0")/functions.sh"
requires ROOT dpkg-buildpackage dh lintian debootstrap unshare

say "build"
debs=$T/debs
"$TOP/packaging/deb/build.sh" "$DIST" "$debs"

say "lintian"
lintian --allow-root --fail-on error,warning "$debs"/*.changes >"$T/lintian.log" 2>&1 || fail "lintian complains"
! grep -E '^[EW]:' "$T/lintian.log" || fail "lintian complains"

say "a fresh Debian"
make_tree
in_tree apt-get -qq update >"$T/apt.log" 2>&1 || skip "apt cannot reach its mirror"
in_tree apt-get -qqy install --no-install-recommends systemd >>"$T/apt.log" 2>&1
stub_systemctl
mkdir "$TREE/new" "$TREE/newer"
cp "$debs"/*.deb "$TREE/new"
rm "$TREE"/new/*-dbgsym_*

# A next version: the same programs; an example that has changed, too.
for deb in "$TREE"/new/*.deb; do
	rm -rf "$T/repack"
	dpkg-deb -R "$deb" "$T/repack"
	sed -i 's/^Version: .*/&+next/; s/(= \([^)]*\))/(= \1+next)/' "$T/repack/DEBIAN/control"
	for ini in "$T"/repack/etc/blkferry/*.ini; do
		[ ! -e "$ini" ] || echo "# new in the next version" >>"$ini"
	done
	dpkg-deb --root-owner-group -b "$T/repack" "$TREE/newer" >/dev/null
done

# apt COMMAND...
apt()
{
	: >"$TREE/systemctl.log"
	in_tree sh -c 'apt-get -qqy -o Dpkg::Options::=--force-confold --no-install-recommends "$@"' apt "$@" \
		>"$T/apt.log" 2>&1 || fail "apt-get $*"
}

# install FOLDER
install()
{
	local files
	files=$(cd "$TREE" && printf '/%s ' "$1"/*.deb)
	# shellcheck disable=SC2086  # words
	apt install $files
}

say "install: users, folders, programs that run; nothing is enabled or started, and what to do next is said"
install new
has /var/lib/blkferry 700 blkferry:blkferry
has /var/lib/blkferry-agent 700 root:root
has /etc/blkferry/agent.ini 644 root:root
for program in blkferry blkferry-agent blkferry-receiver; do
	[ "$(in_tree "$program" --version)" = "$program $(cat "$TOP/VERSION")" ] || fail "$program does not run"
	in_tree test -e "/usr/share/bash-completion/completions/$program" || fail "$program is not completed"
done
for daemon in agent receiver; do
	in_tree "blkferry-$daemon" run --check-config >/dev/null || fail "blkferry-$daemon refuses its own example"
	grep -q "blkferry-$daemon: not started" "$T/apt.log" || fail "nobody says how to go on with blkferry-$daemon"
done
! asked '(start|restart|enable)' || fail "a daemon was started or enabled: $(cat "$TREE/systemctl.log")"
! find "$TREE/etc/systemd" -name 'blkferry*' | grep . || fail "a unit is enabled"
in_tree runuser -u blkferry -- blkferry-receiver init >/dev/null || fail "init as the receiver's user"
has /var/lib/blkferry/ca.key 600 blkferry:blkferry

say "upgrade: what runs is restarted, changed configuration stays"
echo "# the admin's" >>"$TREE/etc/blkferry/agent.ini"
in_tree mkdir -p /var/lib/blkferry/storage/web1 /var/lib/blkferry/machines
echo bytes >"$TREE/var/lib/blkferry/storage/web1/disk0.raw"
touch "$TREE/var/lib/blkferry-agent/machine.pem"
install newer
in_tree dpkg-query -W -f '${Version}\n' blkferry blkferry-agent blkferry-receiver >"$T/versions"
[ "$(grep -c '+next$' "$T/versions")" = 3 ] || fail "not upgraded: $(cat "$T/versions")"
asked try-restart || fail "running daemons were not restarted: $(cat "$TREE/systemctl.log")"
! asked '(start|restart|enable|stop)' || fail "more was done to the daemons: $(cat "$TREE/systemctl.log")"
tail -n 1 "$TREE/etc/blkferry/agent.ini" | grep -q "the admin's" || fail "the admin's configuration is lost"
tail -n 1 "$TREE/etc/blkferry/receiver.ini" | grep -q "next version" || fail "the untouched configuration is old"

say "remove: daemons are stopped, state and configuration stay"
apt remove blkferry blkferry-agent blkferry-receiver
asked stop || fail "daemons run on without their programs: $(cat "$TREE/systemctl.log")"
[ ! -e "$TREE/usr/sbin/blkferry-agent" ] || fail "programs are left"
for file in etc/blkferry/agent.ini var/lib/blkferry/ca.key var/lib/blkferry-agent/machine.pem \
	var/lib/blkferry/storage/web1/disk0.raw; do
	[ -e "$TREE/$file" ] || fail "$file is lost"
done

say "purge: keys and configuration go, the replica stays, and that is said"
apt purge blkferry blkferry-agent blkferry-receiver
for path in etc/blkferry var/lib/blkferry-agent var/lib/blkferry/ca.key var/lib/blkferry/receiver.key; do
	[ ! -e "$TREE/$path" ] || fail "$path is left: $(find "$TREE/$path")"
done
[ "$(cat "$TREE/var/lib/blkferry/storage/web1/disk0.raw")" = bytes ] || fail "a purge destroyed a replica"
grep -q "rm -r /var/lib/blkferry" "$T/apt.log" || fail "nobody says what is left"

say "installed again it goes on; purged without a replica nothing is left"
install new
in_tree runuser -u blkferry -- blkferry-receiver init >/dev/null || fail "init"
rm -r "$TREE/var/lib/blkferry/storage"
apt purge blkferry blkferry-agent blkferry-receiver
! find "$TREE/etc" "$TREE/usr" "$TREE/var/lib" -name '*blkferry*' ! -path '*/apt/*' | grep . || fail "leftovers"
