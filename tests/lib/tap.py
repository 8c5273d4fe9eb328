# SPDX-License-Identifier: Apache-2.0
"""A small TAP producer: each test is a function; its docstring's first line is the case's name.

    @case
    def listing_is_empty(): "ls of a fresh state prints nothing"
    if __name__ == "__main__": main()

A case fails by any exception; Skip("why") skips it. No sleeps: wait_for() polls a condition until a deadline.
"""
import os
import sys
import time
import traceback

_cases = []
# What is waited for may take so many times longer than it should: emulated machines share their host with others. A wait that succeeds costs nothing.
PATIENCE = float(os.environ.get("BULKHEAD_TEST_PATIENCE", "4"))


class Skip(Exception):
    pass


def case(fn):
    _cases.append(fn)
    return fn


def equal(got, want, what=""):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, want {want!r}" if what else f"got {got!r}, want {want!r}")


def contains(text, part):
    if part not in text:
        raise AssertionError(f"{part!r} is not in:\n{text}")


def wait_for(probe, seconds, what, every=0.02):
    """The first true value of probe(); fails after `seconds` (times PATIENCE) saying what did not come."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds * PATIENCE} s for {what}")
        time.sleep(every)


def main(setup=None, teardown=None):
    """Runs the cases in order (argv may name some), prints TAP, exits 1 when one failed."""
    wanted = sys.argv[1:]
    chosen = [c for c in _cases if not wanted or any(w in c.__name__ for w in wanted)]
    print("TAP version 13", flush=True)
    print(f"1..{len(chosen)}", flush=True)
    failed = 0
    dead = None
    try:
        if setup:
            setup()
    except Exception as e:  # every case then fails with this reason
        dead = e
        traceback.print_exc()
    for n, fn in enumerate(chosen, 1):
        name = (fn.__doc__ or fn.__name__).strip().splitlines()[0].replace("#", "")
        start = time.monotonic()
        try:
            if dead is not None:
                raise AssertionError(f"set-up failed: {dead}")
            fn()
            print(f"ok {n} - {name} # {time.monotonic() - start:.1f}s", flush=True)
        except Skip as s:
            print(f"ok {n} - {name} # SKIP {s}", flush=True)
        except Exception as e:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}", flush=True)
            print(f"not ok {n} - {name}: {str(e).splitlines()[0] if str(e) else type(e).__name__}", flush=True)
    try:
        if teardown:
            teardown()
    except Exception:
        traceback.print_exc()
        failed += 1
        print("# the teardown failed", flush=True)
    sys.exit(1 if failed else 0)
