#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make lint: formatting, static analysis, and the rules of structure (structure.sh). Every check runs,
# also after one has failed; the exit status is 0 only when all passed.
#
# Usage: tests/lint/run.sh [CHECK...]     CHECK: format shell structure man docs units cppcheck tidy
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
logs=$build/lint
mkdir -p "$logs"

# Files that are, or are about to be, in the tree; without git (a release archive), all but the builds.
sources()
{
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files --cached --others --exclude-standard
	else
		find . -path './build*' -prune -o -type f -print | sed 's|^\./||'
	fi | sort -u | while read -r file; do
		[ -f "$file" ] && echo "$file"
	done
}

sources >"$logs/files"
grep -E '\.[ch]$' "$logs/files" >"$logs/c-and-h"
# The BPF programs are C of another machine: clang compiles them with warnings on, that is their check.
grep -E '\.c$' "$logs/files" | grep -v '\.bpf\.c$' >"$logs/c"
while read -r file; do
	case $file in
	*.sh) echo "$file" ;;
	*.*) ;;
	*) head -n 1 "$file" | grep -qE '^#!/bin/(ba)?sh' && echo "$file" ;;
	esac
done <"$logs/files" >"$logs/scripts"

check_format()
{
	xargs clang-format --dry-run --Werror <"$logs/c-and-h"
}

check_shell()
{
	xargs shellcheck <"$logs/scripts"
}

check_structure()
{
	tests/lint/structure.sh "$logs/files"
}

check_man()
{
	local page status=0
	while read -r page; do
		mandoc -T lint -W warning "$page" || status=1
	done < <(grep -E '^packaging/man/' "$logs/files")
	return $status
}

# Is every key of a configuration described in its page and shown in its example, and no other?
same_keys()
{
	local program=$1 page=packaging/man/blkferry-$1.ini.5 example=packaging/examples/$1.ini status=0
	sed -nE 's/.*KEY[A-Z_]*\("([a-z0-9-]+)".*/\1/p; s/.*\.name = "([a-z0-9-]+)".*/\1/p' \
		"$program"/options*.c | sort -u >"$logs/$program.keys"
	sed -nE 's/^\.It Cm ([a-z0-9-]+).*/\1/p' "$page" | grep -vE '^(auto|file|block|nbds?|nbd.unix|xcp)$' |
		sed 's/^disk[0-9]*$/disk/' | sort -u >"$logs/$program.page-keys"
	sed -nE 's/^#?([a-z0-9-]+) = .*/\1/p' "$example" | sed 's/^disk[0-9]*$/disk/' |
		sort -u >"$logs/$program.example-keys"
	for what in page example; do
		diff -u --label "$program's code" --label "its $what" "$logs/$program.keys" \
			"$logs/$program.$what-keys" || status=1
	done
	return $status
}

check_docs()
{
	local status=0
	same_keys agent || status=1
	[ ! -e receiver/options.c ] || same_keys receiver || status=1
	return $status
}

# Complaints about programs and pages that are not installed here do not count.
check_units()
{
	local complaints
	command -v systemd-analyze >/dev/null || return 0
	complaints=$(systemd-analyze verify packaging/systemd/*.service 2>&1 |
		grep -E '^(/.*/)?blkferry-' | grep -vE 'is not executable|failed with code')
	[ -z "$complaints" ] || echo "$complaints"
	[ -z "$complaints" ]
}

check_cppcheck()
{
	mkdir -p "$logs/cppcheck"
	# shellcheck disable=SC2046  # one word a file; no file here has a space in its name
	cppcheck --quiet --error-exitcode=1 -j "$(nproc)" --std=c11 --inline-suppr \
		--cppcheck-build-dir="$logs/cppcheck" --enable=warning,performance,portability \
		--suppressions-list=tests/lint/cppcheck.txt --library=tests/lint/cppcheck.cfg \
		-D_GNU_SOURCE -I. $(cat "$logs/c")
}

# tidy_one FILE: what was found good before, headers and settings included, is not looked at again.
# max-nodes: a third of the default, or a few large functions take half of the time.
tidy_one()
{
	local stamp flags=(-std=gnu11 -D_GNU_SOURCE '-DBLKFERRY_VERSION="lint"' -I. -I"$build")
	stamp=$logs/tidy/$({ gcc -E -P "${flags[@]}" "$1" && cat .clang-tidy tests/.clang-tidy; } 2>/dev/null |
		sha256sum | cut -d ' ' -f 1)
	[ ! -e "$stamp" ] || return 0
	clang-tidy --quiet "$1" -- "${flags[@]}" -Xclang -analyzer-config -Xclang max-nodes=75000 \
		2>/dev/null && touch "$stamp"
}

check_tidy()
{
	mkdir -p "$logs/tidy"
	export -f tidy_one
	export logs build
	xargs -P "$(nproc)" -n 1 bash -c 'tidy_one "$1" || exit 1' tidy <"$logs/c"
}

failed=
for check in "${@:-format shell structure man docs units cppcheck tidy}"; do
	for name in $check; do
		start=$SECONDS
		if "check_$name" >"$logs/$name.log" 2>&1; then
			printf '  %-7s %-12s %4d s\n' ok "$name" $((SECONDS - start))
		else
			failed="$failed $name"
			printf '  %-7s %-12s %4d s; %s:\n' FAILED "$name" $((SECONDS - start)) "$logs/$name.log"
			head -n 60 "$logs/$name.log" | sed 's/^/    | /'
		fi
	done
done
[ -z "$failed" ] || echo "lint: failed:$failed"
[ -z "$failed" ]
