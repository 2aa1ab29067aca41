#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What the Debian machine of a test works at, and the look whether all that it said to be on disk is there.
#
#   counters   records with an fsync each, in turn in a log on the root file system and in one where PostgreSQL's data is
#   promised   transactions in PostgreSQL, one after the other
#   pgbench    transactions that move money
#
# The first two say each number when it is on disk, with the time (ns since 1970), on the virtio-serial port of their name.
#
# Usage: guest-work prepare
#        guest-work start           until stop; a later start begins a new log of counters, and goes on with promised
#        guest-work stop
#        guest-work check COUNTERS PROMISED   the numbers that have to be there at least
set -eu
folder=/var/lib/ferry
data=/var/lib/postgresql/ferry

as_postgres()
{
	runuser -u postgres -- "$@"
}

ask()
{
	as_postgres psql -qAtX -v ON_ERROR_STOP=1 -F ' ' -c "$1"
}

prepare()
{
	mkdir -p $folder $data
	echo 0 >$folder/round
	as_postgres pgbench -q -i -s 2 2>/dev/null
	ask 'CREATE TABLE promised (id bigint PRIMARY KEY)'
	sync
}

# unit NAME COMMAND: in the background. Not as much as it can: an emulated processor has to do all this, and the agent.
unit()
{
	systemd-run -q --unit "work-$1" -p CPUQuota=5% sh -c "$2"
}

start()
{
	round=$(($(cat $folder/round) + 1))
	echo $round >$folder/round
	rm -f "$folder/a$((round - 1))" "$data/b$((round - 1))"
	first=$(($(ask 'SELECT coalesce(max(id), 0) FROM promised') + 1))
	unit counters "exec counters run $folder/a$round $data/b$round >/dev/virtio-ports/counters"
	unit promised "exec guest-work promise $first >/dev/virtio-ports/promised"
	unit pgbench 'exec runuser -u postgres -- pgbench -n -c 2 -T 86400 -R 10 >/run/pgbench.log 2>&1'
}

# The second statement is sent when the first is acknowledged; ten pairs a second.
promise()
{
	seq "$1" 1000000000 | awk '{
		print "INSERT INTO promised VALUES (" $1 ");"
		print "SELECT " $1 ", ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 1) * 1000;"
		print "DO $$ BEGIN PERFORM pg_sleep(0.1); END $$;"
	}' | as_postgres stdbuf -oL psql -qAtX -v ON_ERROR_STOP=1 -F ' '
}

stop()
{
	systemctl stop work-counters work-promised work-pgbench
}

check()
{
	round=$(cat $folder/round)
	counters check "$folder/a$round" "$data/b$round" "$1"
	ask 'SELECT count(*), coalesce(max(id), 0) FROM promised' | {
		read -r rows last
		echo "promised=$last"
		[ "$rows" = "$last" ] || { echo "$rows transactions up to number $last"; exit 1; }
		[ "$last" -ge "$2" ] || { echo "the last transaction is $last, $2 were acknowledged"; exit 1; }
	}
	# Each of pgbench's transactions changes all four by the same amount.
	sums=$(ask "SELECT count(DISTINCT s) FROM (SELECT sum(abalance) AS s FROM pgbench_accounts UNION ALL
		SELECT sum(tbalance) FROM pgbench_tellers UNION ALL SELECT sum(bbalance) FROM pgbench_branches UNION ALL
		SELECT coalesce(sum(delta), 0) FROM pgbench_history) AS sums")
	[ "$sums" = 1 ] || { echo "a transaction is there in part: the balances differ"; exit 1; }
	echo "the database answers; counters up to $1, transactions up to $2"
}

"$@"
