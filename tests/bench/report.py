#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""From the values of a benchmark's rounds: a table on standard output, and build/bench.json.

Usage: report.py VALUES JSON     VALUES: lines "NAME ROUND VALUE"

bench.json is a flat list of {"name", "value", "unit", "goal", "better", "min", "max", "runs"}; value is the
median. A ratio is taken within each round, between neighbours in time. goal is null where there is none.
"""
import json
import statistics
import sys

PEERS = ("nbdcopy", "nbdcopy_tls", "qemu", "bdsync")
KINDS = ("random", "fs", "empty")
RATES = (0, 10, 50)

# name: (unit, goal, better)
METRICS = {}
# name: (numerator, denominator)
RATIOS = {}

COPY_GOALS = {("random", "nbdcopy_tls"): 1.0, ("fs", "nbdcopy_tls"): 2.0, ("empty", "nbdcopy_tls"): 2.0}
for kind in KINDS:
    METRICS[f"copy_{kind}_mib_s"] = ("MiB/s", None, "higher")
    METRICS[f"copy_{kind}_cpu_ms"] = ("ms", None, "lower")
    METRICS[f"copy_{kind}_wire_mib"] = ("MiB", None, "lower")
    for peer in PEERS:
        METRICS[f"copy_{kind}_{peer}_mib_s"] = ("MiB/s", None, "higher")
        METRICS[f"copy_{kind}_{peer}_cpu_ms"] = ("ms", None, "lower")
        METRICS[f"copy_{kind}_vs_{peer}"] = ("ratio", COPY_GOALS.get((kind, peer)), "higher")
        METRICS[f"copy_{kind}_cpu_vs_{peer}"] = ("ratio", None, "lower")
        RATIOS[f"copy_{kind}_cpu_vs_{peer}"] = (f"copy_{kind}_cpu_ms", f"copy_{kind}_{peer}_cpu_ms")
        RATIOS[f"copy_{kind}_vs_{peer}"] = (f"copy_{kind}_mib_s", f"copy_{kind}_{peer}_mib_s")

for channels in (1, 2):
    METRICS[f"target_write_{channels}_channels_mib_s"] = ("MiB/s", None, "higher")

for kind, prefix in (("direct", "tracker"), ("buffered", "tracker_buffered")):
    for state in ("alone", "tracked"):
        METRICS[f"fio_{kind}_iops_{state}"] = ("1/s", None, "higher")
        METRICS[f"fio_{kind}_p99_ns_{state}"] = ("ns", None, "lower")
    METRICS[f"{prefix}_iops_ratio"] = ("ratio", 0.97, "higher")
    METRICS[f"{prefix}_p99_ratio"] = ("ratio", None, "lower")
    RATIOS[f"{prefix}_iops_ratio"] = (f"fio_{kind}_iops_tracked", f"fio_{kind}_iops_alone")
    RATIOS[f"{prefix}_p99_ratio"] = (f"fio_{kind}_p99_ns_tracked", f"fio_{kind}_p99_ns_alone")
METRICS["bpf_ns_per_write"] = ("ns", None, "lower")

for rate in RATES:
    METRICS[f"cutover_data_ms_at_{rate}mib_s"] = ("ms", 250 if rate == 50 else None, "lower")
for rate in RATES:
    METRICS[f"agent_cpu_percent_at_{rate}mib_s"] = ("%", 3 if rate == 10 else None, "lower")
METRICS["agent_start_cpu_ms"] = ("ms", None, "lower")
METRICS["agent_rss_mib"] = ("MiB", 96, "lower")
METRICS["agent_memory_mib"] = ("MiB", 96, "lower")

for what in ("target", "newest", "older"):
    METRICS[f"view_{what}_mib_s"] = ("MiB/s", None, "higher")
# At most 30 % more time than the target itself
METRICS["view_newest_vs_target"] = ("ratio", 0.77, "higher")
RATIOS["view_newest_vs_target"] = ("view_newest_mib_s", "view_target_mib_s")


def read_values(path):
    """{name: {round: value}}"""
    values = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, turn, value = line.split()
            values.setdefault(name, {})[int(turn)] = float(value)
    return values


def derive(values):
    for name, (upper, lower) in RATIOS.items():
        if upper in values and lower in values:
            values[name] = {
                turn: values[upper][turn] / values[lower][turn]
                for turn in values[upper]
                if values[lower].get(turn)
            }
    # The most that the agent took at any rate
    for what in ("agent_rss_mib", "agent_memory_mib"):
        for rate in RATES:
            for turn, value in values.get(f"{what}_at_{rate}mib_s", {}).items():
                most = values.setdefault(what, {})
                most[turn] = max(most.get(turn, 0), value)


def summarise(values):
    results = []
    for name, (unit, goal, better) in METRICS.items():
        rounds = list(values.get(name, {}).values())
        if rounds:
            results.append(
                {
                    "name": name,
                    "value": round(statistics.median(rounds), 4),
                    "unit": unit,
                    "goal": goal,
                    "better": better,
                    "min": round(min(rounds), 4),
                    "max": round(max(rounds), 4),
                    "runs": len(rounds),
                }
            )
    return results


def verdict(result):
    if result["goal"] is None:
        return ""
    if result["better"] == "higher":
        return "met" if result["value"] >= result["goal"] else "MISSED"
    return "met" if result["value"] <= result["goal"] else "MISSED"


def number(value):
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def main():
    values = read_values(sys.argv[1])
    derive(values)
    results = summarise(values)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
        file.write("\n")
    print(f"\n{'':34} {'median':>10} {'min':>10} {'max':>10} {'unit':6} {'goal':>9}")
    for result in results:
        sign = ">=" if result["better"] == "higher" else "<="
        goal = "" if result["goal"] is None else f"{sign} {result['goal']:g}"
        print(
            f"{result['name']:34} {number(result['value']):>10} {number(result['min']):>10}"
            f" {number(result['max']):>10} {result['unit']:6} {goal:>9} {verdict(result)}"
        )
    print(f"\nthe same in {sys.argv[2]}")


main()
