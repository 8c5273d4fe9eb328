#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `bulkhead apply` sends and says, told by a scripted supervisor: what counts as seen, what a flag takes, many requests. No sandbox is booted."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from scripted import Scripted  # noqa: E402
from tap import case, contains, equal, main  # noqa: E402

WS = "/src/shop"
DIGEST, OLD = "ab" * 32, "cd" * 32
env = sup = None
entries, diffs = [], {}


def entry(path, kind="modified", **more):
    return {"path": path, "kind": kind, "type": "file", "size": 100, "mode": 0o644, "flags": [], "binary": False, "conflict": False, "add": 1, "del": 1, **more}


def hunk(n, *lines):
    return {"id": n, "old_start": 1, "old_lines": 1, "new_start": 1, "new_lines": 1, "section": "", "lines": [{"k": "+", **line} for line in lines]}


def setup():
    global env, sup
    env = Env()
    sup = Scripted(env)
    sup.answers["sandbox.get"] = {"name": "blue", "workspaces": [{"path": WS, "mode": "review"}]}
    sup.answers["changes.list"] = lambda p: {"workspaces": [{"path": WS, "mode": "review", "ready": True, "truncated": False, "total": len(entries),
                                                            "entries": entries[p["from"]:p["from"] + p["limit"]]}]}
    sup.answers["changes.diff"] = lambda p: {"path": p["path"], "kind": "modified", "digest": DIGEST, "old_digest": OLD, "binary": False, "truncated": False, "hunks": diffs[p["path"]]}
    sup.answers["changes.apply"] = lambda p: {"id": str(len(sup.asked("changes.apply"))), "files": len(p["items"]), "left": 0, "applied": [i["path"] for i in p["items"]], "skipped": []}


def teardown():
    sup.close()
    env.close()


def apply(*args, answers=""):
    """(what it printed, the items it sent by path)"""
    before = len(sup.asked("changes.apply"))
    p = subprocess.run([env.program, "apply", "blue", *args], env=env.env, input=answers, capture_output=True, text=True, timeout=60)
    equal(p.returncode, 0, p.stdout + p.stderr)
    return p.stdout + p.stderr, {i.pop("path"): i for p in sup.asked("changes.apply")[before:] for i in p["items"]}


@case
def a_line_that_is_cut_was_not_seen():
    entries[:] = [entry("Makefile", mark="build recipe"), entry("justfile", mark="build recipe"), entry("plain")]
    diffs.update({"Makefile": [hunk(0, {"t": "all:", "cut": True})], "justfile": [hunk(0, {"t": "all:"})], "plain": [hunk(0, {"t": "x", "cut": True})]})
    out, items = apply("--patch", answers="y\ny\ny\n")
    contains(out, "+all: ... and more of this line")
    contains(out, "not all of it was shown")
    equal({p: i["named"] for p, i in items.items()}, {"Makefile": False, "justfile": True, "plain": False})
    equal((items["justfile"]["digest"], items["justfile"]["old_digest"]), (DIGEST, OLD))


@case
def a_hunk_that_was_not_shown_was_not_seen():
    entries[:] = [entry("Makefile", mark="build recipe")]
    diffs["Makefile"] = [hunk(n, {"t": f"line {n}"}) for n in range(3)]
    for answers, named, hunks in (("y\na\n", False, None), ("y\ny\nn\n", True, [0, 1]), ("n\nn\na\n", True, [2]), ("y\ny\ny\n", True, None)):
        out, items = apply("--patch", answers=answers)
        equal((items["Makefile"]["named"], items["Makefile"].get("hunks")), (named, hunks), answers)


@case
def what_is_odd_is_said_and_asked_for():
    entries[:] = [entry("out", "added", type="symlink", flags=["symlink-absolute"]), entry("tool", "added", flags=["setuid"]), entry("od\\033d", "added", flags=["name-control"])]
    diffs.update({"out": [hunk(0, {"t": "/etc/passwd"})], "tool": [hunk(0, {"t": "x"})], "od\\033d": [hunk(0, {"t": "x"})]})
    out, items = apply("out", "tool")
    equal([i.get("flags") for i in items.values()], [None, None])
    out, items = apply("--links", "out", "tool")
    equal((items["out"], items["tool"]), ({"named": True, "digest": DIGEST, "flags": ["symlink-absolute"]}, {"named": True}))
    contains(out, "out  a link to /etc/passwd")
    out, items = apply("--setuid", "out", "tool")
    equal((items["out"].get("flags"), items["tool"]["flags"]), (None, ["setuid"]))
    out, items = apply("--patch", answers="y\ny\ny\n")
    equal({p: i["flags"] for p, i in items.items()}, {"out": ["symlink-absolute"], "tool": ["setuid"], "od\\033d": ["name-control"]})
    contains(out, "it is odd: symlink-absolute")
    equal(subprocess.run([env.program, "apply", "blue", "--all", "--links"], env=env.env, capture_output=True, timeout=60).returncode, 2)


@case
def every_apply_of_a_long_list_can_be_taken_back():
    entries[:] = [entry(f"dir/{i:05}-{'n' * 200}") for i in range(3000)]
    before = len(sup.asked("changes.apply"))
    out, items = apply("dir")
    n = len(sup.asked("changes.apply")) - before
    equal((n > 1, len(items)), (True, 3000))
    for i in range(n):
        contains(out, f"bulkhead undo blue {before + 1 + i}")
    assert out.index(f"undo blue {before + n}") < out.index(f"undo blue {before + 1}"), "the newest first"


if __name__ == "__main__":
    main(setup, teardown)
