#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs test programs that print TAP and counts: run.py [-k WORD]... [--again] PROGRAM...

Compiled programs run as many at once as there are CPUs, then scripts one by one: these boot machines and look at the clock. Each program has a time limit (BULKHEAD_TEST_TIMEOUT seconds, 1800), its own process group, and is
shown in full only when something in it failed; what a script leaves running, daemons too, is ended with it. A program that crashes, prints no plan, or prints fewer cases than planned is a failure.
With --again a script that failed gets one more try, whole: emulated machines have hours when a minute is not enough. What fails twice failed; what did not is counted as passed and told as "unsteady" before the last line.
The last line is "N passed, N failed", and ", N skipped" when cases were (the lines before say what failed or was skipped, and why); the exit status is 1 when something failed.
"""
import concurrent.futures
import ctypes
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

LIMIT = int(os.environ.get("BULKHEAD_TEST_TIMEOUT", "1800"))
SECOND_TRIES = 6
PR_SET_CHILD_SUBREAPER = 36


def processes():
    """pid -> (its parent, its state)."""
    found = {}
    for p in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = p.read_text().rsplit(")", 1)[1].split()
            found[int(p.parent.name)] = (int(fields[1]), fields[0])
        except (OSError, IndexError):
            continue
    return found


def reap(besides, done):
    """What became ours as its parent ended does not stay as a zombie: tests look whether it is gone."""
    while not done.wait(0.1):
        for pid, (parent, state) in processes().items():
            if parent == os.getpid() and state == "Z" and pid != besides:
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass


def end_descendants():
    """Kills whoever descends from here: as their subreaper we are the parent of those that were left."""
    for _ in range(100):
        all_, mine = processes(), {os.getpid()}
        while more := {c for c, (parent, _) in all_.items() if parent in mine} - mine:
            mine |= more
        if len(mine) == 1:
            return
        for p in mine - {os.getpid()}:
            try:
                os.kill(p, signal.SIGKILL)
            except OSError:
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        time.sleep(0.02)


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped, self.why = 0, 0, [], []

    def add(self, other):
        self.passed, self.failed = self.passed + other.passed, self.failed + other.failed
        self.skipped, self.why = self.skipped + other.skipped, self.why + other.why


def execute(program, alone=False):
    """Output, exit status (None when it never came) and seconds. alone: nothing else is run by us meanwhile."""
    start = time.monotonic()
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP", PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    argv = [sys.executable, program] if program.endswith(".py") else [os.path.abspath(program)]
    p = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    done = threading.Event()
    if alone:
        threading.Thread(target=reap, args=(p.pid, done), daemon=True).start()
    try:
        out, _ = p.communicate(timeout=LIMIT)
        status = p.returncode
    except subprocess.TimeoutExpired:
        status = None
    done.set()
    try:
        os.killpg(p.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if status is None:
        out, _ = p.communicate()
    return out.decode(errors="replace"), status, time.monotonic() - start


def count(out, status, tally, name):
    """Adds the cases of one program; returns the reasons why it counts as failed."""
    why, planned, seen, failed = [], 0, 0, 0
    for line in out.splitlines():
        if m := re.match(r"1\.\.(\d+)\b", line):
            planned += int(m[1])
        elif m := re.match(r"(not )?ok\b(.*)", line):
            seen += 1
            if m[1]:
                failed += 1
                why.append(line)
            elif skip := re.search(r"# SKIP\s*(.*)", line):
                tally.skipped.append(f"{name}: {skip[1]}")
            else:
                tally.passed += 1
    tally.failed += failed
    if status is None:
        why.append(f"took longer than {LIMIT} s")
    elif status < 0:
        why.append(f"was killed by {signal.Signals(-status).name}")
    elif status > 0 and failed == 0:
        why.append(f"ended with status {status}")
    if status is not None and seen < planned:
        why.append(f"planned {planned} cases, told of {seen}")
    if planned == 0:
        why.append("printed no plan")
    if why and failed == 0:
        tally.failed += 1
    return why


def brief(line, most=240):
    """A reason that leaves room for the others where only the end of a log is kept; the whole one stands in the program's output."""
    return line if len(line) <= most else line[:most] + " [...]"


def is_compiled(program):
    return not program.endswith((".py", ".sh"))


def report(program, top, result):
    """The program's own tally, and its name; prints how it ended, all of it when it failed."""
    out, status, seconds = result
    name = os.path.relpath(os.path.abspath(program), os.getcwd() if is_compiled(program) else top)
    tally = Tally()
    why = count(out, status, tally, name)
    tally.why = [f"{name}: {w}" for w in why]
    print(f"{'FAIL' if why else 'ok  '} {name} ({seconds:.1f} s)", flush=True)
    if why:
        for w in why:
            print(f"  -> {brief(w)}")
        print("    " + "\n    ".join(out.rstrip().splitlines()[-400:]), flush=True)
    return tally


def run_scripts(programs, top, tally, again):
    """Adds to the tally; returns what failed and then passed, with the reason. With more than `again` failures something is broken, not unsteady: no more second tries."""
    unsteady = []
    for p in programs:
        first = report(p, top, execute(p, alone=True))
        end_descendants()
        if first.failed and again > 0:
            again -= 1
            print(f"  -> once more: {os.path.basename(p)}", flush=True)
            second = report(p, top, execute(p, alone=True))
            end_descendants()
            if not second.failed:
                unsteady += first.why
            first = second
        tally.add(first)
    return unsteady


def main():
    for s in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):  # nohup, and a shell's '&', have them ignored by all that we start
        if signal.getsignal(s) == signal.SIG_IGN:
            signal.signal(s, signal.SIG_DFL)
    words, programs, again = [], [], 0
    args = iter(sys.argv[1:])
    for a in args:
        if a == "-k":
            words += next(args).split()
        elif a == "--again":
            again = SECOND_TRIES
        else:
            programs.append(a)
    chosen = [p for p in programs if not words or any(w in p for w in words)]
    if not chosen:
        sys.exit("run.py: no test program of that name")
    tally = Tally()
    top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = {p: pool.submit(execute, p) for p in chosen if is_compiled(p)}
        for p, run in compiled.items():
            tally.add(report(p, top, run.result()))
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    unsteady = run_scripts([p for p in chosen if p not in compiled], top, tally, again)
    for what, lines in (("failed", tally.why), ("unsteady", unsteady), ("skipped", tally.skipped)):
        for line in lines:
            print(f"{what}: {brief(line)}")
    print(f"{tally.passed} passed, {tally.failed} failed" + (f", {len(tally.skipped)} skipped" if tally.skipped else ""))
    sys.exit(1 if tally.failed else 0)


main()
