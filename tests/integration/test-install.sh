#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make install into an empty root, and what a packager and an admin rely on: every file in its place, the examples
# accepted by the programs with all their lines uncommented, the units pointing at what was installed.
. "$(dirname "$0")/../functions.sh"
requires make mandoc

root=$T/root
make -C "$TOP" --no-print-directory install BUILD="$BUILD" DESTDIR="$root" PREFIX=/usr/local >"$T/make.log" 2>&1 ||
	fail "make install"

say "programs run from there"
for program in sbin/blkferry-agent sbin/blkferry-receiver bin/blkferry; do
	"$root/usr/local/$program" --help >"$T/help" || fail "$program --help"
	grep -q "^usage: " "$T/help" || fail "$program --help says: $(cat "$T/help")"
	"$root/usr/local/$program" --version | grep -qF "$(cat "$TOP/VERSION")" || fail "$program --version"
done

say "each program, configuration file and unit is there, with its page"
for file in usr/local/share/man/man{1/blkferry.1,8/blkferry-agent.8,8/blkferry-receiver.8} \
	usr/local/share/man/man5/blkferry-{agent,receiver}.ini.5 etc/blkferry/{agent,receiver}.ini \
	lib/systemd/system/blkferry-{agent,receiver}.service usr/local/lib/{sysusers,tmpfiles}.d/blkferry-receiver.conf \
	usr/local/lib/tmpfiles.d/blkferry-agent.conf usr/local/lib/systemd/system-preset/90-blkferry-{agent,receiver}.preset \
	usr/local/share/{bash-completion/completions/,zsh/vendor-completions/_}blkferry{,-agent,-receiver} \
	usr/local/share/fish/vendor_completions.d/blkferry{,-agent,-receiver}.fish \
	usr/local/share/doc/blkferry/{README.md,NEWS,LICENSE,examples/agent.ini,examples/receiver.ini} \
	usr/local/share/doc/blkferry/examples/test-boot-qemu usr/local/lib/blkferry/nbdkit-blkferry-plugin.so \
	usr/local/lib/blkferry/blkferry-early usr/local/lib/systemd/system-shutdown/blkferry \
	usr/local/share/initramfs-tools/{hooks,scripts/init-premount}/blkferry \
	usr/local/lib/dracut/modules.d/50blkferry/{module-setup.sh,blkferry-early.service}; do
	[ -s "$root/$file" ] || fail "$file is missing"
done
for unit in agent receiver; do
	grep -qx "ExecStart=/usr/local/sbin/blkferry-$unit run .*" "$root/lib/systemd/system/blkferry-$unit.service" ||
		fail "the unit of blkferry-$unit starts something else"
done

! grep -rl '/usr/lib/blkferry/' "$root/usr/local/lib" "$root/usr/local/share/initramfs-tools" ||
	fail "what runs at a start or a stop looks for blkferry-early where it is not"
"$root/usr/local/lib/blkferry/blkferry-early" --help | grep -q '^usage: ' || fail "blkferry-early --help"

# options PROGRAM [SUBCOMMAND...]: every option that --help names, of the program and the subcommands
options()
{
	local program=$1 command
	shift
	{
		"$program" --help
		for command in "$@"; do
			"$program" "$command" --help
		done
	} | grep -oE -- '--[a-z][a-z-]+' | sort -u
}

say "the pages describe the options that there are, and no other"
while read -r section program; do
	commands=$("$program" --complete '' | cut -f 1)
	# shellcheck disable=SC2086  # words
	{ options "$program" $commands; printf '%s\n' --help --version; } | sort -u >"$T/$program.help"
	# systemctl in the examples has options of its own.
	mandoc -T ascii "$root/usr/local/share/man/man$section/$program.$section" | col -b | grep -v systemctl |
		grep -oE -- '--[a-z][a-z-]+' | sort -u >"$T/$program.page"
	diff -u "$T/$program.help" "$T/$program.page" || fail "$program"
done <<'END'
1 blkferry
8 blkferry-agent
8 blkferry-receiver
END

say "the examples are accepted as they are, and with every line uncommented"
for program in agent receiver; do
	example=$root/etc/blkferry/$program.ini
	sed -E 's/^#([a-z0-9-]+ = |\[)/\1/' "$example" >"$T/$program-all.ini"
	[ "$(grep -c ' = ' "$T/$program-all.ini")" -gt 8 ] || fail "nothing was uncommented"
	for file in "$example" "$T/$program-all.ini"; do
		"blkferry-$program" run --config "$file" --check-config || fail "$file"
	done
	echo "nonsense = 1" >>"$T/$program-all.ini"
	! "blkferry-$program" run --config "$T/$program-all.ini" --check-config || fail "a bad key was accepted"
done

say "configuration that is there stays"
echo "# mine" >"$root/etc/blkferry/agent.ini"
make -C "$TOP" --no-print-directory install BUILD="$BUILD" DESTDIR="$root" PREFIX=/usr/local >>"$T/make.log" 2>&1
[ "$(cat "$root/etc/blkferry/agent.ini")" = "# mine" ] || fail "overwritten"
