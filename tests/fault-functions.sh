# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the fault tests share, on top of functions.sh: a small source that is written all the time, the proof
# that its replica becomes identical in spite of all, and looks at messages and exit statuses.

# shellcheck source=tests/functions.sh
. "$(dirname "${BASH_SOURCE[0]}")/functions.sh"

# make_source [SIZE]: a loop disk with ext4, mounted at $T/source. Sets SOURCE to the device.
make_source()
{
	make_disk "${1:-128M}"
	SOURCE=$LOOP
	make_filesystem ext4 "$SOURCE" "$T/source" -b 4096
	# So that a full copy has something to carry, and a bandwidth limit makes it as long as wanted.
	head -c "${2:-24M}" /dev/urandom >"$T/source/filling"
	sync -f "$T/source"
}

# start_writer: a program that writes to the source until stop_writer. Sets WRITER.
start_writer()
{
	start_process "$T/writer.log" writer run "$T/source" --progress "$T/progress" \
		--rewrite-mib 8 --rewrite-mib-per-s "${1:-2}" --records-per-s 100
	WRITER=$STARTED_PID
	wait_for 60 "[ -s '$T/progress' ]" "the writer's first records"
}

stop_writer()
{
	[ -n "${WRITER:-}" ] || return 0
	process_lives "$WRITER" || fail "the writer ended"
	end_process "$WRITER"
	WRITER=
}

# The writer goes on: its file system is not frozen. A look that may fail, for wait_for.
writer_moves()
{
	local before
	before=$(acknowledged_records)
	wait_until "${1:-10}" "[ \$(acknowledged_records) -gt $before ]"
}

# write_heavily CONDITION: from the moment on that $T/hooked is there (a pre-freeze-command makes it), and as long as the
# shell text CONDITION is true, 2 MiB are written again and again. At 2 MiB/s they take a second to ship: whatever the
# passes before the freeze do, the freeze finds so much. In the background, for it waits.
write_heavily()
{
	wait_until 60 "[ -e '$T/hooked' ]" || return 1
	while eval "$1"; do
		dd if=/dev/urandom of="$T/source/heavy" bs=64k count=32 conv=notrunc
	done
}

# wait_message LOG TEXT [DEADLINE_S]: until the daemon has said TEXT (fixed words) since mark_log.
wait_message()
{
	wait_for "${3:-60}" "tail -n +$((${LOG_MARKS[$1]:-0} + 1)) '$1' | grep -qF -- '${2//\'/\'\\\'\'}'" \
		"the message \"$2\" in $(basename "$1")"
}

# mark_log LOG: what is there already is not what wait_message looks for.
declare -A LOG_MARKS
mark_log()
{
	LOG_MARKS[$1]=$(wc -l <"$1")
}

# wait_last_error NAME TEXT: until the status names what is wrong.
wait_last_error()
{
	wait_for "${3:-60}" "status $1 .last_error | grep -qF -- '${2//\'/\'\\\'\'}'" \
		"\"$2\" as last error of $1"
}

# make_network: a network namespace for the agent, joined to this one. Sets NS, NET (addresses NET.1 here and NET.2
# there), HERE and THERE (the two ends); skips the test where the kernel has none of that.
make_network()
{
	NS=bf$$ HERE=bfa$$ THERE=bfb$$
	NET=10.$((RANDOM % 200 + 20)).$((RANDOM % 250 + 1))
	ip netns add "$NS" 2>/dev/null || skip "network namespaces cannot be made here"
	cleanup_fn ip netns del "$NS"
	ip link add "$HERE" type veth peer name "$THERE" 2>/dev/null || skip "this kernel has no veth"
	cleanup_fn ip link del "$HERE"
	ip link set "$THERE" netns "$NS"
	ip address add "$NET.1/24" dev "$HERE"
	ip link set "$HERE" up
	ip -n "$NS" address add "$NET.2/24" dev "$THERE"
	ip -n "$NS" link set "$THERE" up
}

# start_network_receiver [LINE...]: the receiver listens on NET.1; LINEs are the beginning of receiver.ini.
start_network_receiver()
{
	start_receiver
	stop_receiver
	sed -i "s|^listen = 127.0.0.1|listen = $NET.1|" "$T/receiver.ini"
	[ $# = 0 ] || printf '%s\n' "$@" "$(cat "$T/receiver.ini")" >"$T/receiver.ini"
	start_process "$T/receiver.log" blkferry-receiver run --config "$T/receiver.ini"
	RECEIVER_PID=$STARTED_PID
	wait_for 30 "ferry status" "the receiver"
}

# start_network_agent NAME DISKS [LINE...]: as start_agent, in the namespace.
start_network_agent()
{
	local name=$1 disks=$2 token
	shift 2
	token=$(ferry token "$name" | grep -o 'bf1-[A-Za-z0-9_-]*')
	ip netns exec "$NS" blkferry-agent enroll "$NET.1:$RECEIVER_PORT" "$token" --state "$T/agent-$name" >"$T/enroll.log" 2>&1
	AGENT_PINS=/sys/fs/bpf/$(basename "$T")-$name
	cleanup_fn remove_pins "$AGENT_PINS"
	printf '%s\n' "[agent]" "disks = $disks" "state-folder = $T/agent-$name" "pin-folder = $AGENT_PINS" "$@" \
		>"$T/agent-$name.ini"
	# Only the network is another one: bpffs and the mounts are those of this test. (ip netns exec would hide bpffs.)
	start_process "$T/agent-$name.log" nsenter --net="/run/netns/$NS" blkferry-agent run --config "$T/agent-$name.ini"
	AGENT_PID=$STARTED_PID
}

# random_moment MOST_MS: waits so long at most. For faults that may come at any time; SEED=N makes the same
# times come again.
seed_random()
{
	SEED=${SEED:-$RANDOM}
	RANDOM=$SEED
	say "SEED=$SEED"
}
random_moment()
{
	local us=$((RANDOM * 1000 * $1 / 32768))
	sleep "$((us / 1000000)).$(printf %06d $((us % 1000000)))"
}

# expect_exit STATUS TEXT COMMAND...: it must end with STATUS and say TEXT (fixed words).
expect_exit()
{
	local expected=$1 text=$2 result=0 output
	shift 2
	output=$("$@" 2>&1 </dev/null) || result=$?
	[ "$result" = "$expected" ] ||
		fail "exit status $result instead of $expected from: $* (it said: $output)"
	grep -qF -- "$text" <<<"$output" || fail "\"$text\" is not what it said to $*: $output"
}

# verify_says NAME: runs a verify; 0 when it came to a result, which VERIFY_STATUS is then: 0 same, 6 different.
verify_says()
{
	VERIFY_STATUS=0
	ferry verify "$1" >"$T/verify.out" 2>&1 || VERIFY_STATUS=$?
	[ "$VERIFY_STATUS" = 0 ] || [ "$VERIFY_STATUS" = 6 ]
}

# become_identical NAME [TARGET_FILE]: the writer stops, and then both sides are the same, for verify and
# byte by byte.
become_identical()
{
	local name=$1 target=${2:-}
	wait_ready "$name"
	stop_writer
	sync -f "$T/source"
	wait_ready "$name"
	[ -n "$target" ] || target=$(status "$name" '.disks[0].path')
	# A target that went away while nothing was written is noticed by the verify itself: then it is run again.
	wait_until 60 "verify_says $name" || fail "verify: $(cat "$T/verify.out")"
	[ "$VERIFY_STATUS" = 0 ] || fail "verify: $(cat "$T/verify.out")"
	# The last pass may be under way still.
	wait_until 30 "compare '$SOURCE' '$target'" ||
		fail "source and target differ: $(compare "$SOURCE" "$target" 2>&1 | head -n 20)"
	say "$name: identical ($(tail -n 1 "$T/verify.out"))"
}

# make_slow_flush COMMAND FILE FLAG: makes COMMAND, which flushes FILE for a server; while FLAG is there and the source is
# frozen (its program makes no progress), that takes a second: a receiver waits for ten.
make_slow_flush()
{
	cat >"$1" <<END
#!/bin/sh
if [ -e "$3" ]; then
	before=\$(cat "$T/progress")
	sleep 0.3
	[ "\$before" != "\$(cat "$T/progress")" ] || sleep 1
fi
sync -d "$2"
END
	chmod +x "$1"
}
