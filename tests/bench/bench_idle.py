#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What Bulkhead costs while nothing happens: CPU and resident memory of every process with 1 and 8 sandboxes.

usage: bench_idle.py [SECONDS] [--counts 1,8] [--json FILE]
The dashboard is open on a terminal all the time. CPU is user+system time over SECONDS (default 30) as a share of one core; memory is
Pss where it can be read (shared pages counted once), so that sums mean something.
"""
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from report import report  # noqa: E402
from screen import Screen  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    f = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / TICK


def memory(pid):
    """(RSS, PSS) in MiB."""
    rss = pss = 0
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            rss = int(line.split()[1]) / 1024
        if line.startswith("Pss:"):
            pss = int(line.split()[1]) / 1024
    return rss, pss


def kind(pid):
    exe = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    return exe if exe.startswith(("bulkhead", "qemu")) else None


def measure(env, seconds):
    procs = {p: k for p in env.processes() if (k := kind(p))}
    before = {p: cpu(p) for p in procs}
    time.sleep(seconds)
    out = {}
    for p, k in procs.items():
        row = out.setdefault(k, [0, 0.0, 0.0, 0.0])
        rss, pss = memory(p)
        row[0] += 1
        row[1] += (cpu(p) - before[p]) / seconds * 100
        row[2] += rss
        row[3] += pss
    return out


def main():
    seconds = int(next((a for a in sys.argv[1:] if a.isdigit()), "30"))
    counts = [int(c) for c in sys.argv[sys.argv.index("--counts") + 1].split(",")] if "--counts" in sys.argv else [1, 8]
    rows = []
    with Env() as env, Screen([env.program], env=env.env, sync=False) as s:
        s.wait("bulkhead", 30)
        made = 0
        for count in counts:
            with env.rpc() as r:
                while made < count:
                    r.call("sandbox.create", kit="shell", name=f"i{made}", memory=1 << 30, cpus=1)
                    r.call("sandbox.start", name=f"i{made}")
                    made += 1
                for n in range(made):
                    r.call("sandbox.wait", name=f"i{n}", states=["running"], docker=True, timeout_ms=600000, timeout=620)
            time.sleep(10)  # let the guests' own start-up work end: this bench measures rest, it synchronises nothing
            seen = measure(env, seconds)
            for k, (n, c, rss, pss) in sorted(seen.items()):
                rows.append([f"{count} sandbox{'es' if count > 1 else ''}: {k}", n, c, rss, pss])
            ours = [seen.get(k, [0, 0, 0, 0]) for k in ("bulkhead", "bulkhead-supervisor")]
            rows.append([f"{count} sandbox{'es' if count > 1 else ''}: dashboard + supervisor", 2, *(sum(o[i] for o in ours) for i in (1, 2, 3))])
    report("At rest", ["processes", "count", "cpu % of a core", "RSS MiB", "PSS MiB"], rows, seconds=seconds)


if __name__ == "__main__":
    main()
