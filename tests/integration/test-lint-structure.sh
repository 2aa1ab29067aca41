#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The structural lint sees each thing that it forbids, in the file where it is forbidden and not elsewhere.
. "$(dirname "$0")/../functions.sh"

mkdir -p "$T/tree"
cd "$T/tree"
head_line="// SPDX-License-Identifier: GPL-2.0-or-later"

# lint FILE: standard input becomes FILE; is the tree with it alone accepted?
lint()
{
	rm -rf ./*
	mkdir -p "$(dirname "$1")"
	{
		echo "$head_line"
		cat
	} >"$1"
	echo "$1" >"$T/list"
	"$TOP/tests/lint/structure.sh" "$T/list" >"$T/complaints" 2>&1
}

accepts()
{
	say "accepts $1: $2"
	lint "$1" <<<"$2" || fail "refused: $(cat "$T/complaints")"
}

refuses()
{
	say "refuses $1: $2"
	! lint "$1" <<<"$2" || fail "accepted"
	grep -q "$1" "$T/complaints" || fail "does not name the file: $(cat "$T/complaints")"
}

accepts common/x.c '#include "common/y.h"'
refuses common/x.c '#include "agent/y.h"'
refuses common/x.h '#include "receiver/y.h"'
refuses agent/linux/x.c '#include "receiver/y.h"'
refuses receiver/x.c '#include "agent/y.h"'
accepts tests/x.c '#include "agent/y.h"'
refuses common/x.c '	log_info("hello");'
accepts common/log.c 'log_info("hello");'
refuses agent/x.c '		exit(1);'
accepts agent/x.c '		_exit(1);'
accepts agent/main.c '		exit(1);'
refuses agent/bpf/x.bpf.c 'if (LINUX_KERNEL_VERSION > 5)'
refuses agent/x.c 'struct utsname name;'
refuses tests/integration/test-x.sh '	sleep 1'
refuses tests/integration/test-x.sh 'true && sleep 1'
accepts tests/integration/test-x.sh 'start_process "$T/log" sleep 1000'

say "refuses a file without SPDX head"
head_line="// Copyright"
refuses agent/x.c 'int x;'
head_line="// SPDX-License-Identifier: GPL-2.0-or-later"

say "500 lines are the most"
seq 499 | lint agent/x.c || fail "500 lines refused: $(cat "$T/complaints")"
! seq 500 | lint agent/x.c || fail "501 lines accepted"
