# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# bash completion of blkferry, blkferry-agent and blkferry-receiver: each is asked what can come next (--complete).

_blkferry()
{
	local line
	COMPREPLY=()
	while IFS= read -r line; do
		if [ "$line" = :files ]; then
			compopt -o default
			return
		fi
		COMPREPLY+=("${line%%$'\t'*}")
	done < <("$1" --complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _blkferry blkferry blkferry-agent blkferry-receiver
