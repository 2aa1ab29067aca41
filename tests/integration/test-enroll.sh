#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Enrolment with the real programs: one token, one machine, once; and what everybody is told otherwise.
# shellcheck disable=SC2119  # start_receiver and stop_receiver do without arguments
. "$(dirname "$0")/../functions.sh"
requires openssl jq

# refused WORDS COMMAND...: it must fail with exit status 1 and say this
refused()
{
	local words=$1 got=0
	shift
	"$@" >"$T/out" 2>&1 || got=$?
	[ "$got" = 1 ] || { cat "$T/out"; fail "$*: exit status $got, not 1"; }
	grep -qF -- "$words" "$T/out" || { cat "$T/out"; fail "$*: does not say '$words'"; }
	say "  $(tail -n 1 "$T/out")"
}

# enroll TOKEN STATE [OPTION...]
enroll()
{
	local token=$1 state=$2
	shift 2
	blkferry-agent enroll "127.0.0.1:$RECEIVER_PORT" "$token" --state "$T/$state" "$@"
}

say "a receiver with its CA; init works once"
start_receiver
refused "is there already" blkferry-receiver init --state "$T/receiver"
[ "$(stat -c %a "$T/receiver/ca.key" "$T/receiver/receiver.key" | sort -u)" = 600 ] ||
	fail "keys can be read by others"

say "a token gives a certificate for that machine"
token=$(ferry token web1)
enroll "$token" web1 >"$T/out" || fail "$(cat "$T/out")"
grep -q 'enrolled as web1' "$T/out" || fail "$(cat "$T/out")"
[ "$(stat -c %a "$T/web1/machine.key")" = 600 ] || fail "the machine's key can be read by others"
[ "$(cat "$T/web1/receiver")" = "127.0.0.1:$RECEIVER_PORT" ] || fail "the receiver's address is wrong"
openssl verify -CAfile "$T/receiver/ca.pem" -purpose sslclient "$T/web1/machine.pem" >/dev/null ||
	fail "the certificate is no client's"
! openssl verify -CAfile "$T/receiver/ca.pem" -purpose sslserver "$T/web1/machine.pem" >/dev/null 2>&1 ||
	fail "a machine could pose as the receiver"

say "the same token again, a token of nobody, texts that are no token"
refused "was used" enroll "$token" again
refused "is enrolled already" enroll "$token" web1
refused "no enrolment token" enroll hunter2 again
refused "cut short" enroll "${token%??}" again
if [ "${token:20:1}" = A ]; then typo=B; else typo=A; fi
refused "mistyped" enroll "${token:0:20}$typo${token:21}" again
[ ! -e "$T/again/machine.pem" ] || fail "a refused enrolment left a certificate"

say "an expired token"
token=$(ferry token web2 --expires 1ms)
refused "expired on" enroll "$token" again

say "a token of another receiver"
blkferry-receiver init --state "$T/other" >"$T/out"
token=$(ferry token web2)
mv "$T/receiver" "$T/kept"
stop_receiver
cp -r "$T/other" "$T/receiver"
start_receiver
refused "not the receiver that made this token" enroll "$token" again
stop_receiver
rm -r "$T/receiver"
mv "$T/kept" "$T/receiver"
start_receiver

say "a token survives the receiver's restart, and comes by standard input"
echo "$token" | enroll - web2 >"$T/out" || fail "$(cat "$T/out")"

say "a new certificate takes the old one's place"
before=$(cat "$T/receiver/machines/web1/certificate")
enroll "$(ferry token web1)" web1 --replace >"$T/out" || fail "$(cat "$T/out")"
[ "$before" != "$(cat "$T/receiver/machines/web1/certificate")" ] || fail "the old one still counts"

say "nothing listens, or something else does"
refused "connection refused" blkferry-agent enroll "127.0.0.1:$(free_port)" "$token" --state "$T/again"
stop_receiver
say "done"
