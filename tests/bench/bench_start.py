#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a person waits: from `bulkhead run` to the shell's prompt in a viewer, and to dockerd answering.

usage: bench_start.py [RUNS] [--json FILE]      each run is a new sandbox with a blank disk; medians of RUNS (default 5)
"""
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from report import median, report, spread  # noqa: E402
from screen import Screen  # noqa: E402


def one(env, n):
    """Seconds to: the sandbox `running`, a prompt on the dashboard's screen, dockerd ready; and again for start on the kept disk."""
    work = env.dir / f"w{n}"
    work.mkdir()
    name = f"b{n}"
    t0 = time.monotonic()
    with Screen([env.program, "run", "shell", str(work), "--name", name], env=env.env, sync=False) as s:
        s.wait(r"agent@\S+.*[$#] *", 120)
        prompt = time.monotonic() - t0
        with env.rpc() as r:
            r.call("sandbox.wait", name=name, states=["running"], docker=True, timeout_ms=120000, timeout=130)
        docker = time.monotonic() - t0
    with env.rpc() as r:
        r.call("sandbox.stop", name=name)
        r.call("sandbox.wait", name=name, states=["stopped"], timeout_ms=30000)
        t1 = time.monotonic()
        r.call("sandbox.start", name=name)
        r.call("sandbox.wait", name=name, states=["running"], timeout_ms=60000)
        again = time.monotonic() - t1
        r.call("sandbox.wait", name=name, states=["running"], docker=True, timeout_ms=120000, timeout=130)
        docker_again = time.monotonic() - t1
        t2 = time.monotonic()
        r.call("sandbox.remove", name=name, force=True)
        removed = time.monotonic() - t2
    return prompt, docker, again, docker_again, removed


def main():
    runs = int(next((a for a in sys.argv[1:] if a.isdigit()), "5"))
    with Env() as env:
        env.start_supervisor()
        seen = list(zip(*[one(env, n) for n in range(runs)]))
        backend = subprocess.run([env.program, "doctor"], env=env.env, capture_output=True, text=True).stdout
        kvm = next((line.strip() for line in backend.splitlines() if "kvm" in line.lower()), "?")
    what = ["run to prompt, blank disk", "run to dockerd ready, blank disk", "start to running, disk kept", "start to dockerd ready, disk kept", "rm --force"]
    report("Start of a sandbox (seconds)", ["what", "median", "min..max"], [[w, median(v), spread(v)] for w, v in zip(what, seen)],
           runs=runs, cores=os.cpu_count(), machine=kvm)


if __name__ == "__main__":
    main()
