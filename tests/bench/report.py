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
MOSTS = ("agent_rss_mib", "agent_memory_mib", "stream_agent_rss_mib", "stream_agent_memory_mib")
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

for kind, suffix in (("direct", ""), ("buffered", "_buffered")):
    for state in ("alone", "tracked", "captured"):
        METRICS[f"fio_{kind}_iops_{state}"] = ("1/s", None, "higher")
        METRICS[f"fio_{kind}_p99_ns_{state}"] = ("ns", None, "lower")
    for mode, state, goal in (("tracker", "tracked", 0.97), ("capture", "captured", None)):
        METRICS[f"{mode}{suffix}_iops_ratio"] = ("ratio", goal, "higher")
        METRICS[f"{mode}{suffix}_p99_ratio"] = ("ratio", None, "lower")
        for what in ("iops", "p99"):
            measure = "p99_ns" if what == "p99" else what
            RATIOS[f"{mode}{suffix}_{what}_ratio"] = (
                f"fio_{kind}_{measure}_{state}",
                f"fio_{kind}_{measure}_alone",
            )
METRICS["bpf_ns_per_write"] = ("ns", None, "lower")
METRICS["bpf_capture_ns_per_write"] = ("ns", None, "lower")

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

STREAM_LOADS = ("10mb_s", "50mb_s", "100mb_s", "200mb_s", "10000iops")
for load in STREAM_LOADS:
    for what in ("p50", "p99", "max"):
        RPO_GOAL = 1000 if (load, what) == ("100mb_s", "p99") else None
        METRICS[f"stream_rpo_{what}_ms_at_{load}"] = ("ms", RPO_GOAL, "lower")
for load in STREAM_LOADS:
    METRICS[f"stream_iops_ratio_at_{load}"] = ("ratio", 0.97 if load == "10000iops" else None, "higher")
    METRICS[f"stream_p99_ratio_at_{load}"] = ("ratio", None, "lower")
    for what in ("iops", "p99_ns"):
        streaming, alone = (f"fio_stream_{what}_at_{load}_{state}" for state in ("streaming", "alone"))
        METRICS[alone] = METRICS[streaming] = ("ns", None, "lower") if what == "p99_ns" else ("1/s", None, "higher")
        RATIOS[f"stream_{what.removesuffix('_ns')}_ratio_at_{load}"] = (streaming, alone)
METRICS["stream_held_mb_s"] = ("MB/s", 200, "higher")
for load in STREAM_LOADS:
    METRICS[f"stream_gaps_at_{load}"] = ("", None, "lower")
    METRICS[f"stream_wire_per_byte_at_{load}"] = ("ratio", None, "lower")
    METRICS[f"stream_write_amplification_at_{load}"] = ("ratio", None, "lower")
    METRICS[f"stream_agent_cpu_percent_at_{load}"] = ("%", None, "lower")
METRICS["stream_cutover_data_ms_at_50mib_s"] = ("ms", 150, "lower")
METRICS["stream_agent_cpu_percent_at_50mib_s"] = ("%", None, "lower")
METRICS["stream_agent_rss_mib"] = ("MiB", None, "lower")
METRICS["stream_agent_memory_mib"] = ("MiB", 128, "lower")


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
    for what in MOSTS:
        for name in [name for name in values if name.startswith(f"{what}_at_")]:
            for turn, value in values[name].items():
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
    print(f"\n{'':44} {'median':>10} {'min':>10} {'max':>10} {'unit':6} {'goal':>9}")
    for result in results:
        sign = ">=" if result["better"] == "higher" else "<="
        goal = "" if result["goal"] is None else f"{sign} {result['goal']:g}"
        print(
            f"{result['name']:44} {number(result['value']):>10} {number(result['min']):>10}"
            f" {number(result['max']):>10} {result['unit']:6} {goal:>9} {verdict(result)}"
        )
    print(f"\nthe same in {sys.argv[2]}")


main()
