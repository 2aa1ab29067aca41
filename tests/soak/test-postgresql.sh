#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# PostgreSQL on a replicated disk under pgbench, and a client that writes down each of its transactions and the time at
# which it was acknowledged. Checkpoints at random moments: a view is mounted, PostgreSQL recovers on it as after a
# power cut, and has all that was acknowledged before the checkpoint's time, no transaction in part, and no
# damage that pg_amcheck finds in tables and indexes.
#
# PG_CHECKPOINTS=20   SEED=N
#
#   pgbench, psql --> PostgreSQL --> ext4 on a loop disk --> agent ==TLS==> receiver --> view --> PostgreSQL

. "$(dirname "$0")/../consistency-functions.sh"
. "$(dirname "$0")/../fault-functions.sh"
requires ROOT LOOP BPF nbdkit nbdfuse fusermount3 jq setpriv stdbuf

PG_CHECKPOINTS=${PG_CHECKPOINTS:-20}
# Debian keeps the servers of several versions beside each other, out of PATH.
PG=$({ find /usr/lib/postgresql /usr/pgsql-* -name initdb -path "*/bin/*" -printf "%h\n" 2>/dev/null || true; } | sort -V | tail -n 1)
[ -n "$PG" ] || skip "PostgreSQL is not installed: nothing was tested of it; packaging/install-deps.sh --soak brings it"
export PATH="$PG:$PATH"
requires initdb postgres psql pgbench pg_isready pg_amcheck
# It refuses to be run by root.
PG_USER=postgres
id "$PG_USER" >/dev/null 2>&1 || PG_USER=nobody

as_user()
{
	setpriv --reuid "$PG_USER" --regid "$(id -g "$PG_USER")" --clear-groups -- "$@"
}

# run_postgres LOG DATA PORT: starts it and waits until it answers (after its recovery). Sets POSTGRES.
run_postgres()
{
	local log=$1 data=$2 port=$3
	start_process "$log" setpriv --reuid "$PG_USER" --regid "$(id -g "$PG_USER")" --clear-groups -- \
		postgres -D "$data" -p "$port" -k "$T/sockets" -c listen_addresses= -c max_wal_size=256MB \
		-c checkpoint_timeout=30s -c autovacuum_naptime=5s
	POSTGRES=$STARTED_PID
	cleanup_fn end_process "$POSTGRES" INT # SIGTERM would wait for its clients
	wait_for 120 "pg_isready -q -h '$T/sockets' -p $port || ! process_lives $POSTGRES" "PostgreSQL"
	process_lives "$POSTGRES" || fail "PostgreSQL did not start: $(tail -n 5 "$log")"
}

# ask PORT SQL
ask()
{
	psql -qAtX -v ON_ERROR_STOP=1 -F ' ' -h "$T/sockets" -p "$1" -U postgres -c "$2" postgres
}

# record_acknowledged: the client. The second statement is sent when the first is acknowledged.
record_acknowledged()
{
	seq 1000000000 | awk '{
		print "INSERT INTO promised VALUES (" $1 ");"
		print "SELECT " $1 ", ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 1) * 1000;"
	}' | stdbuf -oL psql -qAtX -v ON_ERROR_STOP=1 -F ' ' -h "$T/sockets" -p 5001 -U postgres postgres
}

# look_at_database NUMBER AT_LEAST
look_at_database()
{
	local number=$1 at_least=$2 rows last sums
	open_view "$number"
	# It names the source's server, which lives: on another machine it would be found stale.
	rm -f "$T/view/mnt0/pg/postmaster.pid"
	run_postgres "$T/pg-view.log" "$T/view/mnt0/pg" 5002
	read -r rows last < <(ask 5002 "SELECT count(*), coalesce(max(id), 0) FROM promised")
	[ "$last" -ge "$at_least" ] ||
		fail "checkpoint #$number: the last transaction is $last, $at_least were acknowledged before"
	[ "$rows" = "$last" ] || fail "checkpoint #$number: $rows transactions up to number $last"
	# Each of pgbench's transactions changes all four by the same amount.
	sums=$(ask 5002 "SELECT count(DISTINCT s) FROM (SELECT sum(abalance) AS s FROM pgbench_accounts UNION ALL
		SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL
		SELECT coalesce(sum(delta), 0) FROM pgbench_history) AS sums")
	[ "$sums" = 1 ] || fail "checkpoint #$number: a transaction is there in part: the balances differ"
	pg_amcheck -h "$T/sockets" -p 5002 -U postgres --install-missing --heapallindexed --parent-check postgres \
		>"$T/amcheck.log" 2>&1 || fail "checkpoint #$number: pg_amcheck: $(head -n 5 "$T/amcheck.log")"
	end_process "$POSTGRES" INT || fail "checkpoint #$number: PostgreSQL did not end cleanly"
	close_view "$number"
	say "checkpoint #$number: transactions up to $last, at least $at_least; balances agree, amcheck and e2fsck clean"
}

seed_random
say "PostgreSQL ($(postgres --version | grep -o '[0-9.]*' | head -n 1)) on a loop disk, $PG_CHECKPOINTS checkpoints"
make_disk 1G
make_filesystem ext4 "$LOOP" "$T/first"
SOURCES=("$LOOP") SOURCE_FS=(ext4) SOURCE_FOLDERS=("$T/first")
install -d -o "$PG_USER" -m 700 "$T/first/pg"
install -d -o "$PG_USER" -m 755 "$T/sockets"
as_user initdb -D "$T/first/pg" -U postgres --auth=trust --data-checksums >"$T/initdb.log" 2>&1
run_postgres "$T/pg.log" "$T/first/pg" 5001
pgbench -q -i -s 5 -h "$T/sockets" -p 5001 -U postgres postgres >"$T/pgbench.log" 2>&1
ask 5001 "CREATE TABLE promised (id bigint PRIMARY KEY)"

start_receiver "retention = 10m:100ms"
start_agent web1 "$LOOP"
wait_phase web1 streaming 180
start_process "$T/pgbench.log" pgbench -n -c 4 -j 1 -T 86400 -R 200 -h "$T/sockets" -p 5001 -U postgres postgres
BENCH=$STARTED_PID
export -f record_acknowledged
export T
start_process "$T/acknowledged" bash -c 'record_acknowledged'
RECORDER=$STARTED_PID
wait_for 60 '[ "$(wc -l <"$T/acknowledged")" -gt 10 ]' "the first acknowledged transactions"

for ((i = 1; i <= PG_CHECKPOINTS; i++)); do
	random_moment 3000
	next_point "$T/acknowledged"
	look_at_database "$NUMBER" "$AT_LEAST"
	process_lives "$BENCH" || fail "pgbench ended: $(tail -n 3 "$T/pgbench.log")"
	process_lives "$RECORDER" || fail "the client ended: $(tail -n 3 "$T/acknowledged")"
done
[ "$(wc -l <"$T/acknowledged")" -gt $((PG_CHECKPOINTS * 10)) ] || fail "hardly anything was written"
end_process "$BENCH" || true
end_process "$RECORDER" || true
ferry verify web1
say "gaps: $(status web1 '.gaps | "\(.count), the last: \(.reason)"')"
