#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Asks the receiver how old a machine's newest checkpoint is (rpo_ms of its status), 50 times a second.

Usage: rpo.py SOCKET MACHINE     until SIGTERM; then prints "P50 P99 MAX", in ms, or nothing if there was none.

By the control socket itself: a `blkferry status` for each look would cost CPU time that is missing elsewhere.
"""
import json
import signal
import socket
import sys
import time

INTERVAL_S = 0.02


def look(path, machine):
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        link.sendall(json.dumps({"command": "status", "machine": machine}).encode() + b"\n")
        with link.makefile() as lines:
            answer = json.loads(lines.readline()).get("result", {"machines": [{}]})
    return answer["machines"][0].get("rpo_ms")


def percentile(ages, share):
    return ages[min(int(len(ages) * share), len(ages) - 1)]


def main():
    ages = []
    ending = []
    signal.signal(signal.SIGTERM, lambda number, frame: ending.append(number))
    while not ending:
        age = look(sys.argv[1], sys.argv[2])
        if age is not None:
            ages.append(age)
        time.sleep(INTERVAL_S)
    ages.sort()
    if ages:
        print(percentile(ages, 0.5), percentile(ages, 0.99), ages[-1])


main()
