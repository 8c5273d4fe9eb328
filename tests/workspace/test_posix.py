#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What POSIX says of every call on every kind of object, asked of a share and of a plain directory side by side: the same answer, the same tree afterwards.

tests/lib/calls.py holds the cases. Runs on this machine's own kernel, which stands for the guest's; needs root and /dev/fuse, else every case is skipped.
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import calls  # noqa: E402
from calls import OBJECTS, ONE, PAIRS, TWO, make_objects, outcome, tree  # noqa: E402
from share import Share, possible  # noqa: E402
from tap import Skip, case, equal, main  # noqa: E402

G = {}


def both():
    if "s" not in G:
        raise Skip("needs root and /dev/fuse")
    return G["s"].mnt / "c", G["plain"] / "c"


def fresh():
    m, p = both()
    for d in (m, p):
        if d.exists():
            os.chmod(d, 0o755)
            for base, dirs, _ in os.walk(d):
                for n in dirs:
                    if not os.path.islink(os.path.join(base, n)):
                        os.chmod(os.path.join(base, n), 0o755)
            shutil.rmtree(d)
        os.mkdir(d)
        make_objects(d)
    return m, p


def compare(cases):
    """cases: (name, fn, relative paths...). Anew after each that changed the tree. How many, and what differed."""
    m, p = fresh()
    n, wrong, last = 0, [], tree(p)
    for name, fn, *rel in cases:
        n += 1
        got, want = (outcome(fn, *(f"{d}/{r}" for r in rel)) for d in (m, p))
        now, there = tree(p), tree(m)
        if got != want or now != there:
            text = f"{name} {[r if len(r) < 40 else r[:12] + '...' + str(len(r)) for r in rel]}: share {got!s:.150}, plain {want!s:.150}"
            if now != there:
                text += f"; trees differ in {[k for k in {**now, **there} if now.get(k) != there.get(k)]!s:.200}"
            wrong.append(text)
        if now != last or there != last:
            m, p = fresh()
            last = tree(p)
    print(f"# {n} cases")
    equal(wrong, [], f"{len(wrong)} of {n} differ")


def setup():
    if not possible():
        return
    G["s"] = Share()
    G["plain"] = G["s"].dir / "plain"
    G["plain"].mkdir()


def teardown():
    if "s" in G:
        G["s"].close()


def each_call(part):
    names = sorted(ONE)
    compare([(n, ONE[n], o) for n in names[part::3] for o in OBJECTS])


@case
def every_call_on_every_object_1():
    both()
    each_call(0)


@case
def every_call_on_every_object_2():
    both()
    each_call(1)


@case
def every_call_on_every_object_3():
    both()
    each_call(2)


@case
def every_rename_of_every_pair():
    both()
    compare([(n, TWO[n], a, b) for n in ("rename", "rename noreplace", "rename exchange") for a in PAIRS for b in PAIRS])


@case
def every_link_of_every_pair():
    both()
    compare([(n, TWO[n], a, b) for n in ("link", "link follow") for a in PAIRS for b in PAIRS])


@case
def calls_in_an_overlay_over_a_share_are_those_of_a_plain_directory():
    both()
    # As the guest mounts it for review. Each case has its own objects below.
    every, first = 6, random.randrange(6)
    with Share("-r") as r:
        for i in range(len(list(calls.cases())[first::every])):
            (r.src / "calls" / str(i)).mkdir(parents=True)
            make_objects(r.src / "calls" / str(i), linked=False)
        at = {n: r.dir / n for n in ("upper", "work", "merged", "beside")}
        for d in at.values():
            d.mkdir()
        r.dir.chmod(0o755)
        os.chown(at["beside"], 1000, 1000)
        subprocess.run(["mount", "-t", "overlay", "-o", f"lowerdir={r.mnt},upperdir={at['upper']},workdir={at['work']},redirect_dir=on,index=off,metacopy=off,nosuid,nodev",
                        "overlay", at["merged"]], check=True)
        try:
            p = subprocess.run([sys.executable, calls.__file__, at["merged"] / "calls", at["beside"], str(every), str(first), "turns"], stdout=subprocess.PIPE, check=True)
        finally:
            subprocess.run(["umount", "-l", at["merged"]], check=True)
    got = json.loads(p.stdout)
    print(f"# {got['n']} cases")
    equal(got["wrong"], [], f"{len(got['wrong'])} of {got['n']} differ")


main(setup, teardown)
