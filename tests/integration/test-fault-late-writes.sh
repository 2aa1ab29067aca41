#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A write that the target's server has and has not executed yet when its session ends: it must not land on the
# newer data of the next session, which is acknowledged and never sent again.
#
# The server here lets a write that begins with SLOW wait until the gate is opened, and notes when it begins and
# when such a write, or one that begins with FAST, has landed.

. "$(dirname "$0")/../fault-functions.sh"
requires ROOT BPF LOOP nbdkit jq flock

NBDKIT=$(command -v nbdkit)

cat >"$T/pwrite" <<'END'
#!/bin/sh
# pwrite RAW OFFSET: the bytes come by standard input
data=$(mktemp "$FOLDER/write.XXXXXX")
cat >"$data"
word=$(head -c 4 "$data" | tr -d '\0')
if [ "$word" = SLOW ]; then
	echo "SLOW begins" >>"$FOLDER/events"
	flock "$FOLDER/gate" true
fi
dd if="$data" of="$1" bs=64k conv=notrunc oflag=seek_bytes seek="$2" status=none
rm "$data"
case $word in
SLOW | FAST) echo "$word lands" >>"$FOLDER/events" ;;
esac
END
chmod +x "$T/pwrite"
export FOLDER=$T
exec {gate}>"$T/gate" # closed while this has the lock

# The receiver finds this one when it starts the server of an auto target.
mkdir "$T/bin"
cat >"$T/bin/nbdkit" <<END
#!/bin/bash
raw=\${!#}
exec "$NBDKIT" "\${@:1:\$#-2}" eval thread_model='echo parallel' get_size="stat -c %s '\$raw'" \\
	can_write='exit 0' can_flush='exit 0' can_multi_conn='exit 0' can_zero='exit 3' can_fua='echo none' \\
	pread="dd if='\$raw' bs=64k iflag=count_bytes,skip_bytes skip=\\\$4 count=\\\$3 status=none" \\
	pwrite="'$T/pwrite' '\$raw' \\\$4" flush='exit 0'
END
chmod +x "$T/bin/nbdkit"
PATH=$T/bin:$PATH

make_disk 16M
SOURCE=$LOOP
dd if=/dev/urandom of="$SOURCE" bs=1M count=16 oflag=direct status=none

event()
{
	grep -q "$1" "$T/events"
}

# write_block WORD [MIB]: a block that begins with WORD, always at the same place, and random data behind it.
write_block()
{
	{
		printf '%-4096s' "$1"
		head -c $((${2:-0} * 1048576)) /dev/urandom
	} >"$T/block"
	dd if="$T/block" of="$SOURCE" bs=9M iflag=fullblock seek=409600 oflag=direct,seek_bytes \
		conv=notrunc status=none
}

run_agent()
{
	start_agent web1 "$SOURCE" "allocated-only = no" "pass-interval = 100ms"
}

# The newer data has overtaken the older: it has landed and is acknowledged.
overtaken()
{
	event "FAST lands" && [ "$(status web1 '.ready and .dirty_bytes + .todo_bytes == 0')" = true ]
}

# prevented TEXT: the receiver has said since begin_slow_write what it does about it.
prevented()
{
	tail -n "+$((${LOG_MARKS[$T/receiver.log]} + 1))" "$T/receiver.log" | grep -qF "$1"
}

# begin_slow_write: the old session, with a write that the server has not executed, and more data to come.
begin_slow_write()
{
	flock "$gate"
	: >"$T/events"
	wait_ready web1
	ferry limit web1 1MiB/s >/dev/null
	write_block SLOW 3
	wait_for 30 "event 'SLOW begins'" "the slow write at the server"
	mark_log "$T/receiver.log"
	mark_log "$T/agent-web1.log"
}

kill_agent()
{
	end_process "$AGENT_PID" KILL || true
	ferry limit web1 none >/dev/null 2>&1 || true # stored for the next agent
	write_block FAST
	run_agent
}

# end_identical FILE: both writes have landed; the file must be what the source is.
end_identical()
{
	wait_for 60 "event 'FAST lands'" "the newer write"
	wait_for 60 "event 'SLOW lands'" "the older write"
	wait_ready web1
	wait_until 10 "compare '$SOURCE' '$1'" ||
		fail "the older write landed on the newer one: $(compare "$SOURCE" "$1" 2>&1 | tail -n 3)"
}

say "auto target, receiver killed"
start_receiver
run_agent
begin_slow_write
end_process "$RECEIVER_PID" KILL || true
write_block FAST
start_receiver
# The gate opens when it is overtaken, or the receiver has seen to it that it cannot be.
wait_for 60 "overtaken || prevented 'nbdkit is ended and started anew'" "the next session"
flock -u "$gate"
end_identical "$(status web1 '.disks[0].path')"

say "auto target, agent killed"
server=$(cat "$T/storage/web1-disk0.pid")
begin_slow_write
kill_agent
wait_until 5 overtaken || true # it must not be: the old session waits for its end
flock -u "$gate"
end_identical "$(status web1 '.disks[0].path')"
[ "$(cat "$T/storage/web1-disk0.pid")" = "$server" ] || fail "a server was restarted whose writes had ended"

say "a server of somebody else, agent killed"
stop_agent
stop_receiver
truncate -s 16M "$T/foreign.raw"
start_process "$T/nbdkit.log" "$T/bin/nbdkit" -f -U "$T/foreign.sock" file "$T/foreign.raw"
wait_for 10 "[ -S '$T/foreign.sock' ]" "the server"
start_receiver "" "[machine web1]" "disk0 = nbd+unix:///?socket=$T/foreign.sock"
run_agent
begin_slow_write
kill_agent
wait_until 5 overtaken || true
flock -u "$gate"
end_identical "$T/foreign.raw"

say "a server of somebody else, receiver killed"
begin_slow_write
end_process "$RECEIVER_PID" KILL || true
write_block FAST
start_receiver "" "[machine web1]" "disk0 = nbd+unix:///?socket=$T/foreign.sock"
wait_for 60 "overtaken || prevented 'was left with writes under way'" "the next session"
flock -u "$gate"
end_identical "$T/foreign.raw"
wait_message "$T/agent-web1.log" "comparing digests, only differences are sent" 1

say "left cleanly, it is not compared again"
mark_log "$T/agent-web1.log"
stop_receiver
start_receiver "" "[machine web1]" "disk0 = nbd+unix:///?socket=$T/foreign.sock"
wait_message "$T/agent-web1.log" "connected to the receiver"
wait_ready web1
! tail -n "+$((${LOG_MARKS[$T/agent-web1.log]} + 1))" "$T/agent-web1.log" |
	grep -q "comparing digests" || fail "a target that was left cleanly was compared"
