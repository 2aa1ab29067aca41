#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Completion: what the programs answer to --complete, and that bash, and zsh and fish where they are installed, hand
# it on. Nothing here knows the subcommands: the help texts say what there has to be.
. "$(dirname "$0")/../functions.sh"

completions=$TOP/packaging/completions

# expect WORDS... : FIRST candidates of standard input, in this order, and no more
expect()
{
	cut -f 1 >"$T/got"
	printf '%s\n' "$@" >"$T/wanted"
	diff -u "$T/wanted" "$T/got" || fail "wrong candidates"
}

say "every subcommand, every option of its help, nothing else"
for program in blkferry blkferry-agent blkferry-receiver; do
	"$program" --complete '' | cut -f 1 >"$T/commands"
	[ -s "$T/commands" ] || fail "$program offers no commands"
	while read -r command; do
		# The usage and the lines of options; the text between may name those of other commands.
		"$program" "$command" --help | { grep -E '^(usage:|       |  --)' || true; } | { grep -oE -- '--[a-z][a-z-]+' || true; } >"$T/help"
		echo --help >>"$T/help"
		"$program" --complete "$command" -- | cut -f 1 | sort -u >"$T/offered"
		diff -u <(sort -u "$T/help") "$T/offered" || fail "$program $command"
	done <"$T/commands"
done

say "words that begin so; alternatives; files; nothing where nothing is known"
blkferry --complete ve | expect verify
blkferry --complete cutover web1 --fence '' | expect poweroff halt hold
blkferry --complete cutover --fence ha | expect halt
blkferry --complete --socket '' | expect :files
blkferry-agent --complete run --config /et | expect :files
[ -z "$(blkferry --complete token web1 --expires '')" ] || fail "a duration was made up"
[ -z "$(blkferry --complete nonsense '')" ] || fail "an unknown command was completed"
! blkferry --complete --socket "$T/nothing" status '' 2>&1 | grep -v -- '^--' ||
	fail "no receiver, but something was said"

say "names of machines come from the receiver"
start_receiver
socket=$T/control.sock
for name in web1 web2 db1; do
	enroll_agent "$name" >/dev/null
done
blkferry --complete --socket "$socket" verify '' | sort | expect db1 web1 web2
blkferry --complete --socket "$socket" limit w | sort | expect web1 web2
! blkferry --complete --socket "$socket" limit web1 '' | grep -v -- '^--' || fail "two names"

say "bash"
# complete_in_bash WORD...
complete_in_bash()
{
	(
		# shellcheck disable=SC2317  # called by the completion
		compopt()
		{
			echo "compopt $*"
		}
		# shellcheck disable=SC1091  # packaging/completions
		. "$completions/blkferry.bash"
		COMP_WORDS=("$@")
		COMP_CWORD=$(($# - 1))
		_blkferry "$1"
		[ ${#COMPREPLY[@]} = 0 ] || printf '%s\n' "${COMPREPLY[@]}"
	)
}
complete_in_bash blkferry cut | expect cutover
complete_in_bash blkferry cutover web1 --fence '' | expect poweroff halt hold
complete_in_bash blkferry --socket "$socket" pause d | expect db1
complete_in_bash blkferry-receiver run --config '' | expect 'compopt -o default'

say "zsh"
complete_in_zsh()
{
	zsh -f -c '
		_describe() { print -l -- ${(P)3} }
		_files() { print -- FILES }
		file=$1; shift
		words=("$@") CURRENT=$#
		complete() { source $file }
		complete' zsh "$completions/_blkferry" "$@"
}
if command -v zsh >/dev/null; then
	complete_in_zsh blkferry cut | expect 'cutover:freeze, ship the rest, certify, fence the source, start the target'
	complete_in_zsh blkferry cutover --fence h | expect halt hold
	complete_in_zsh blkferry-agent run --config '' | expect FILES
else
	say "  is not installed: left out"
fi

say "fish"
complete_in_fish()
{
	HOME=$T fish --no-config -c "source $completions/blkferry.fish; complete -C '$*'"
}
if command -v fish >/dev/null; then
	complete_in_fish "blkferry cut" | expect cutover
	complete_in_fish "blkferry cutover --fence h" | expect halt hold
	complete_in_fish "blkferry-agent run --config $TOP/VERS" | expect "$TOP/VERSION"
else
	say "  is not installed: left out"
fi
