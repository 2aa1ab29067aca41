#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The rules of structure that no other tool knows. Each prints what breaks it as FILE:LINE.
#
# Usage: tests/lint/structure.sh LIST     LIST: a file that names the files to look at, one a line
set -u
list=$1
failed=0
longest_file_lines=500

complain()
{
	failed=1
	printf '%s\n' "$@"
}

# files REGEX: those whose path matches
files()
{
	grep -E "$1" "$list"
}

# forbid WHY REGEX FILES_REGEX [FILES_BUT]: no line of these files may match
forbid()
{
	local hits
	hits=$(files "$3" | grep -vE "${4:-^$}" | xargs -r grep -nHE "$2")
	[ -z "$hits" ] || complain "$1:" "$hits"
}

for file in $(files '\.(c|h|sh|py)$|(^|/)Makefile$|^\.ci/run$'); do
	lines=$(wc -l <"$file")
	[ "$lines" -le "$longest_file_lines" ] ||
		complain "$file: $lines lines; a file has one responsibility and at most $longest_file_lines lines"
	head -n 2 "$file" | grep -q 'SPDX-License-Identifier: GPL-2.0-or-later' ||
		complain "$file:1: the first or second line must be the SPDX head"
done

forbid "common/ belongs to neither side" '#include "(agent|receiver)/' '^common/'
forbid "the agent knows nothing of the receiver's code" '#include "receiver/' '^agent/'
forbid "the receiver knows nothing of the agent's code" '#include "agent/' '^receiver/'
forbid "common/ does not log: it fills a fault" '\<log_(error|warning|info|debug)\(' '^common/' \
	'^common/log\.[ch]$'
forbid "only main.c ends the program (a forked child: _exit)" '(^|[^_a-zA-Z>.])exit\(' \
	'^(agent|common|receiver)/.*\.c$' '/main\.c$|^receiver/cli/'
forbid "what a kernel can do is tried, never told from its version" \
	'LINUX_VERSION_CODE|LINUX_KERNEL_VERSION|KERNEL_VERSION\(|\<uname\(|utsname' '^agent/'
forbid "a test waits for a condition with a deadline (wait_for), never for a time" \
	'(^|[;&|({])[[:space:]]*((do|then|else|!)[[:space:]]+)?(sleep|usleep)[[:space:]]|time\.sleep' \
	'^tests/(integration|fault)/' '/test-lint-structure\.sh$'

exit $failed
