#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make demo: the main job on one machine, with the proof. A disk is replicated while a program writes to
# it; a file is deleted, and got back from a view of the second before; then the disk is cut over, every byte of
# source and target is compared, the target's file system is checked and mounted, and what the program was told is
# safe has to be there. Exit status 0 only if all is true.
#
#   writer --> ext4 --> /dev/loopN (1 GiB, in memory) --eBPF--> agent ==TLS==> receiver --NBD--> nbdkit --> file
#
# It uses the helpers of the tests: whatever happens (^C, too), nothing is left behind.
. "$(dirname "$0")/../functions.sh"

NAME=demo
FENCE=hold # the source stays frozen, so that it can be compared; a real cutover powers it off
is_terminal=
[ ! -t 1 ] || is_terminal=yes

step()
{
	printf '\n== %s\n' "$*"
}

# show TEXT: replaces itself on a terminal; into a pipe, one line for every new KEY.
last_key=
show()
{
	local key=$1 text=$2
	if [ -n "$is_terminal" ]; then
		printf '\r   %s\e[K' "$text"
	elif [ "$key" != "$last_key" ]; then
		last_key=$key
		printf '   %s\n' "$text"
	fi
}

show_end()
{
	[ -z "$is_terminal" ] || printf '\n'
	last_key=
}

bar()
{
	local percent=$1 width=40 full
	full=$((percent * width / 100))
	printf -v full '%*s' "$full" ''
	printf '[%-*s] %3d %%' "$width" "${full// /#}" "$percent"
}

mib()
{
	echo "$(($1 / 1048576)) MiB"
}

acknowledged_record()
{
	echo "$((10#$(cat "$T/progress")))"
}

now_ms()
{
	echo "$((${EPOCHREALTIME/[.,]/} / 1000))"
}

# What blkferry view --mount has mounted, if the demo ends in between
unmount_view()
{
	local path
	while read -r path; do
		umount "$path" 2>/dev/null || umount -l "$path"
	done < <(awk -v folder="$T/view/" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | tac)
}

requires ROOT LOOP BPF mkfs.ext4 sfdisk partx jq ss nbdkit nbdfuse fusermount3 e2fsck fsfreeze

step "A disk: 1 GiB, a partition table, ext4, some files, and a program that writes all the time"
make_disk 1GiB
SOURCE=$LOOP
printf 'label: gpt\nstart=1MiB, type=linux\n' | partition_disk "$SOURCE"
make_filesystem ext4 "${SOURCE}p1" "$T/source"
mkdir "$T/source/files"
cp -r "$TOP"/{agent,common,receiver,packaging} /usr/include "$T/source/files"
seq 100000 >"$T/source/thesis"
sync -f "$T/source/thesis" # what is not on the disk yet is in no checkpoint either
SUM=$(sha256sum <"$T/source/thesis")
start_process "$T/writer.log" writer run "$T/source" --progress "$T/progress" --rewrite-mib 256 \
	--rewrite-mib-per-s 8
WRITER_PID=$STARTED_PID
wait_for 60 '[ -s "$T/progress" ]' "the writer"
echo "   $SOURCE: $(df -h --output=used "$T/source" | tail -n 1 | xargs) of files so far; writer: 200 fsynced" \
	"records and 8 MiB of random rewrites a second"

step "A receiver and an agent"
start_receiver
start_agent "$NAME" "$SOURCE"
echo "   receiver on 127.0.0.1:$RECEIVER_PORT, enrolled with a token, TLS 1.3 both ways"

# The machine's status, asked once a round.
facts='{}'
ask()
{
	process_lives "$AGENT_PID" || fail "the agent has ended"
	process_lives "$RECEIVER_PID" || fail "the receiver has ended"
	facts=$(ferry status "$NAME" --json 2>/dev/null) || facts='{"phase": "not enrolled"}'
}
fact()
{
	jq -r "$1" <<<"$facts"
}

step "Full copy, while it is written"
deadline=$((SECONDS + 300))
START_MS=
while ask && [[ "$(fact .phase)" != @(delta|catch-up|streaming) ]]; do
	[ "$SECONDS" -lt "$deadline" ] || fail "no full copy in 5 minutes; phase $(fact .phase): $(fact .last_error)"
	read -r phase all percent rate sent < <(fact \
		'"\(.phase) \(.pass_bytes) \(.percent // 0 | floor) \(.rate // 0) \(.sent_bytes // 0)"')
	if [ -z "$START_MS" ] && [ "$(fact .connected)" = true ]; then
		START_MS=$(now_ms)
	fi
	if [ "$phase" = full ] && [ "$all" != 0 ]; then
		show $((percent / 10)) "$(bar "$percent")  $(mib "$sent"), $(mib "$rate")/s; record $(acknowledged_record)"
	fi
	sleep 0.1
done
[ -n "$START_MS" ] || fail "the full copy was not seen"
COPY_MS=$(($(now_ms) - START_MS))
COPIED=$(fact .sent_bytes)
show complete "$(bar 100)  $(mib "$COPIED") in $COPY_MS ms, $(mib "$(fact .wire_bytes)") on the wire; record $(acknowledged_record)"
show_end

step "Delta passes until the rest is small, then streaming: each write in order, a checkpoint every second"
until [ "$(fact .phase)" = streaming ] && [ "$(fact '.points // 0')" -ge 3 ] && [ "$(fact '.span_ms // 0')" -gt 3000 ]; do
	[ "$SECONDS" -lt "$deadline" ] || fail "not streaming in 5 minutes: $(fact .phase), $(fact .last_error)"
	show "$(fact '"\(.phase) \(.pass)"')" "$(fact .phase): $(mib "$(fact .lag_bytes)") behind, $(mib "$(fact .sent_bytes)") sent"
	sleep 0.1
	ask
done
show "$(fact .points)" "$(fact .points) checkpoints; the newest is $(fact .rpo_ms) ms old"
show_end

step "A mistake: rm thesis"
cleanup_fn unmount_view
# One that retention has thinned around already: of those of the last second it keeps one.
read -r POINT WHEN < <(ferry points "$NAME" --json |
	jq -r '[.[] | select(.age_s > 2)] | last // empty | "\(.number) \(.time)"')
rm "$T/source/thesis"
sync -f "$T/source"
# A busy machine may have a gap just now: it streams again by itself.
wait_for 120 'ferry checkpoint "$NAME" --label after-it >>"$T/view.log" 2>&1' "a checkpoint after it"
echo "   checkpoint #$POINT, of $WHEN, has it; the writer writes on, and replication goes on"
ferry view "$NAME" --at "#$POINT" --mount "$T/view" >"$T/view.out" 2>>"$T/view.log" ||
	fail "no view: $(cat "$T/view.log")"
sed 's/^/   /' "$T/view.out"
[ "$(sha256sum <"$T/view/disk0p1/thesis")" = "$SUM" ] || fail "the file in the view is another one"
echo "   $(stat --printf '%n: %s bytes' "$T/view/disk0p1/thesis"), intact"
ferry view "$NAME" --stop >>"$T/view.log"
ferry view "$NAME" --at after-it --mount "$T/view" >>"$T/view.log"
[ ! -e "$T/view/disk0p1/thesis" ] || fail "the checkpoint after the mistake still has the file"
echo "   in the checkpoint after it: gone"
ferry view "$NAME" --stop >>"$T/view.log"

step "blkferry cutover $NAME --fence $FENCE"
result=0
ferry cutover "$NAME" --fence "$FENCE" --json >"$T/cutover.json" 2>"$T/cutover.log" || result=$?
jq -r 'select(.event == "step") | "   \(.step)|\(.ms * 10 | floor / 10)|\(.text)"' "$T/cutover.json" |
	while IFS='|' read -r name ms text; do
		printf '%-12s %9s ms  %s\n' "$name" "$ms" "$text"
	done
[ "$result" = 0 ] || fail "the cutover failed, exit status $result: $(cat "$T/cutover.log")"
RECORD=$(acknowledged_record)
DOWNTIME_MS=$(jq -r 'select(.data_downtime_ms) | .data_downtime_ms | ceil' "$T/cutover.json")
TARGET=$(ferry status "$NAME" --json | jq -r '.disks[0].path')
[ -f "$TARGET" ] || fail "no target file: '$TARGET'"

step "Proof. The source is frozen, so both sides stand still"
! wait_until 1 '[ "$(acknowledged_record)" -gt "$RECORD" ]' || fail "the source is written: it is not fenced"
echo "   the writer is stopped at record $RECORD"
compare --larger "$SOURCE" "$TARGET" >"$T/compare.out" || {
	cat "$T/compare.out"
	fail "source and target differ"
}
echo "   $(cat "$T/compare.out")"
REPLICA=$(losetup --find --show --read-only "$TARGET")
cleanup_fn detach_loop "$REPLICA"
partx --update "$REPLICA"
wait_for 10 "[ -b '${REPLICA}p1' ]" "the target's partition"
e2fsck -fn "${REPLICA}p1" >"$T/e2fsck.out" 2>&1 || {
	cat "$T/e2fsck.out"
	fail "e2fsck -fn found errors on the target"
}
echo "   e2fsck -fn on the target: clean"
mount_folder "${REPLICA}p1" "$T/target" -o ro
found=$(writer check "$T/target" --at-least "$RECORD") || fail "records are missing on the target"
echo "   mounted; acknowledged record $RECORD is there, all records and blocks intact: $found"

fsfreeze -u "$T/source"
end_process "$WRITER_PID" || fail "the writer ended with exit status $?"

echo
echo "demo: replica identical, $((COPIED / 1048576)) MiB in $((COPY_MS / 1000)).$((COPY_MS % 1000 / 100)) s, the file got back, data downtime $DOWNTIME_MS ms"
