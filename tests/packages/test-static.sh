#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The static agent in a tree that has nothing but it: no libc, no loader, no shell. It must run, see the disks, check a
# configuration, and find a receiver by name, in /etc/hosts and by DNS.
. "$(dirname "$0")/functions.sh"
requires ROOT LOOP readelf strings python3 jq
need_static

say "it needs nothing"
! readelf -ldW "$PROGRAMS/blkferry-agent" | grep -E 'INTERP|NEEDED' || fail "it wants a loader"
! strings -a "$PROGRAMS"/* | grep -F "$BUILD/" || fail "it knows where it was built"

say "unpacked and installed"
tar -C "$T" -xf "$STATIC"/blkferry-agent-*.tar.gz
TREE=$T/tree
mkdir "$TREE"
for times in once twice; do
	env DESTDIR="$TREE" "$T"/blkferry-agent-*/install.sh >"$T/install.log" || fail "install.sh, $times"
	echo "# the admin's" >>"$TREE/etc/blkferry/agent.ini"
done
grep -q "the admin's" "$TREE/etc/blkferry/agent.ini" || fail "install.sh wrote over the configuration"
grep -q "^ExecStart=/usr/local/sbin/blkferry-agent run" "$TREE/etc/systemd/system/blkferry-agent.service" ||
	fail "the unit starts something else"
grep -q "blkferry-agent enroll" "$T/install.log" || fail "nobody says how to go on"

# agent ARGUMENT...: in the tree, in this script's network
agent()
{
	chroot "$TREE" /usr/local/sbin/blkferry-agent "$@"
}

say "it runs"
[ "$(agent --version)" = "blkferry-agent $(cat "$TOP/VERSION")" ] || fail "--version"
agent run --check-config >"$T/out" || fail "it refuses the example"
! agent disks >"$T/out" 2>&1 || fail "disks, where there is no /sys"
grep -q "sysfs" "$T/out" || fail "it does not say what is missing: $(cat "$T/out")"
for folder in sys proc dev; do
	mkdir "$TREE/$folder"
	mount --rbind "/$folder" "$TREE/$folder"
	mount --make-rslave "$TREE/$folder"
	cleanup_fn umount -l "$TREE/$folder"
done
make_disk 64M
for program in agent blkferry-agent; do
	"$program" disks --disks "$LOOP" --json | jq -S '.[] | select(.chosen)' >"$T/$program.json" ||
		fail "$program sees no disks"
done
[ -s "$T/agent.json" ] || fail "the disk is not chosen"
diff -u "$T/blkferry-agent.json" "$T/agent.json" || fail "it sees the disk as another one than the ordinary agent"

say "it finds a receiver by /etc/hosts, and by DNS"
start_receiver
echo "127.0.0.1 ferry-by-file" >"$TREE/etc/hosts"
agent enroll "ferry-by-file:$RECEIVER_PORT" "$(ferry token web1)" --state /web1 || fail "by /etc/hosts"
cat >"$T/dns.py" <<'END'
# Answers every question for an A record with 127.0.0.1, and says that there is no other record.
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.53.0.1", 53))
print("ready", flush=True)
while True:
    data, peer = server.recvfrom(512)
    end = data.index(b"\0", 12) + 5
    question = data[12:end]
    is_a = question[-4:-2] == b"\0\1"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if is_a else b""
    server.sendto(data[:2] + b"\x81\x80\0\1\0" + bytes([is_a]) + b"\0\0\0\0" + question + answer, peer)
END
start_process "$T/dns.log" python3 "$T/dns.py"
wait_for 20 "grep -q ready '$T/dns.log'" "the name server"
echo "nameserver 127.53.0.1" >"$TREE/etc/resolv.conf"
agent enroll "ferry.blkferry.example:$RECEIVER_PORT" "$(ferry token web2)" --state /web2 || fail "by DNS"
