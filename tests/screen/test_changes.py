#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard's Diff view, told by a scripted supervisor: lists of several pages, what is asked for and when, what an apply sends, what is said of its answer."""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from dash import SIZES, THEMES, bulkhead, dashboard, whole  # noqa: E402
from scripted import Refused, Scripted, Silent, sandbox  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

WS = "/src/shop"
DIGEST, OLD = "ab" * 32, "cd" * 32
env = sup = None
entries = {}


def entry(path, kind="modified", **more):
    return {"path": path, "kind": kind, "type": "file", "size": 100, "mode": 0o100644, "flags": [], "binary": False, "conflict": False, "add": 2, "del": 1, **more}


def listed(p):
    """changes.list, at most five entries a page."""
    all_ = entries[p["name"]]
    first = p.get("from", 0)
    return {"workspaces": [{"path": WS, "mode": "review", "generation": 1, "total": len(all_), "add": 2 * len(all_), "del": len(all_), "conflicts": 0, "marked": 0,
                            "truncated": False, "entries": all_[first:first + min(5, p["limit"])]}]}


def hunk(n, word):
    return {"id": n, "old_start": 10 + 40 * n, "old_lines": 3, "new_start": 10 + 40 * n, "new_lines": 4, "section": f"function{n}()", "lines": [
        {"k": " ", "t": "\tbefore"}, {"k": "-", "t": f"\tthe old {word}"}, {"k": "+", "t": f"\tthe new {word}"}, {"k": "+", "t": "\tone more"}, {"k": " ", "t": "after"}]}


def text(p):
    conflict = {"ours": {"hunks": [hunk(0, "host")]}, "theirs": {"hunks": [hunk(0, "sandbox")]}} if p.get("view") == "conflict" else {}
    return {"path": p["path"], "kind": "modified", "digest": DIGEST, "old_digest": OLD, "binary": False, "truncated": False, "old_size": 90, "new_size": 100, "conflict": p["path"] == "both.c",
            "hunks": [hunk(0, p["path"]), hunk(1, "second")], **conflict}


def counts(name, add=9):
    return {"name": name, "files": len(entries[name]), "add": add, "del": 3, "conflicts": 1, "marked": 1}


def setup():
    global env, sup
    env = bulkhead.Env()
    entries["blue"] = [entry(".envrc", mark="direnv"), entry("both.c", conflict=True)] + [entry(f"src/f{i:02}.c") for i in range(10)]
    entries["green"] = [entry("src/f03.c")]
    sup = Scripted(env, sandboxes=[sandbox("blue", path=WS, changes=counts("blue")), sandbox("green", path=WS, changes=counts("green")), sandbox("red", "stopped")])
    sup.answers["changes.list"] = listed
    sup.answers["changes.diff"] = text


def teardown():
    sup.close()
    env.close()


def view(s):
    s.wait("blue")
    s.keys("4")
    s.wait("f09.c")
    s.wait(r"the (new|old) \.envrc")


@case
def what_changed_is_seen_in_every_size_and_theme():
    "counts in the list of sandboxes and the tab; files of all pages, the first one's text, who else changed what; in every theme and in ASCII"
    for cols, rows in SIZES:
        with dashboard(env, cols=cols, rows=rows) as s:
            s.wait("blue")
            s.wait(r"\+9 −3")
            s.keys("4")
            s.wait(r"f09\.c")
            s.wait(r"⇄.*\+2 −1")
            s.keys("Enter")
            s.wait(r"the new \.envrc")
            whole(s, cols, rows)
    pages = [(p.get("workspace"), p["from"]) for p in sup.asked("changes.list") if p["name"] == "blue"][:3]
    equal(pages, [(None, 0), (WS, 5), (WS, 10)])
    for theme in THEMES:
        (env.config / "bulkhead").mkdir(exist_ok=True)
        (env.config / "bulkhead" / "config.yaml").write_text(f"theme: {theme}\n")
        with dashboard(env) as s:
            view(s)
            s.wait(r"\+ +the new \.envrc")
    (env.config / "bulkhead" / "config.yaml").unlink()
    with dashboard(env, BULKHEAD_ASCII="1", LC_ALL="C") as s:
        view(s)
        s.wait(r"\$ \+2 -1")


@case
def marked_files_and_hunks_are_applied():
    "Space marks, a names what would be written, y sends exactly that; u takes it back"
    sup.answers["changes.apply"] = lambda p: {"id": "7", "files": len(p["items"]), "left": 0, "applied": [i["path"] for i in p["items"]], "skipped": []}
    sup.answers["changes.undo"] = lambda p: {"id": "8", "of": "7", "files": 2, "left": 0, "undone": [], "skipped": []}
    with dashboard(env) as s:
        view(s)
        s.keys("End", "Space")  # f09.c
        s.keys("K")
        s.wait("the new src/f08.c")
        s.keys("Enter", "n", "n", "Space")
        s.wait(r"\[✓\] @@ 50")
        s.keys("a")
        s.wait("apply 2 marked files, 1 hunk of blue")
        contains(s.text(), "write src/f08.c, some hunks")
        s.keys("y")
        want = {"name": "blue", "workspace": WS, "items": [{"path": "src/f08.c", "digest": DIGEST, "hunks": [1], "old_digest": OLD}, {"path": "src/f09.c", "digest": DIGEST}]}
        got = sup.wait_asked("changes.apply")
        got["items"][1].setdefault("digest", DIGEST)  # it goes with it when its text was here
        equal(got, want)
        s.wait("2 files applied from blue +u takes it back")
        s.keys("u")
        equal(sup.wait_asked("changes.undo"), {"name": "blue"})
        s.wait("2 files as before the apply")


@case
def hunks_are_numbered_as_they_were_shown():
    "with other lines around what changed the text and the apply are asked for alike; hunks marked before are not marked any more"
    before = len(sup.asked("changes.apply"))
    with dashboard(env) as s:
        view(s)
        s.keys("End")
        s.wait("the new src/f09.c")
        s.keys("Enter", "n", "Space")
        s.wait(r"\[✓\] @@ 50")
        s.keys("e")
        s.wait("the marked hunks are no longer marked")
        s.wait(r"\[✓\]", gone=True)
        wait_for(lambda: any(p.get("context") == 10 for p in sup.asked("changes.diff")), 10, "the text with more lines")
        s.wait("10 lines", gone=True)
        s.keys("n", "Space")
        s.wait(r"\[✓\] @@")
        s.keys("a")
        s.wait("some hunks")
        s.keys("y")
        got = sup.wait_asked("changes.apply", before + 1)
        equal((got["context"], len(got["items"][0]["hunks"]), got["items"][0]["old_digest"]), (10, 1, OLD))


@case
def no_is_the_default_and_what_runs_is_read_first():
    "any key but y writes nothing; what would run here is left out until it was opened and read to its end, also when all is marked"
    before = len(sup.asked("changes.apply"))
    with dashboard(env) as s:
        view(s)
        s.keys("a")
        s.wait(r"\.envrc: direnv, NOT read to its end: left out")
        s.keys("*", "a")
        s.wait("write src/f00.c")
        contains(s.text(), "1 would run on the host, not read to the end: left out")
        s.keys("Enter")
        s.wait("write src/f00.c", gone=True)
        equal(len(sup.asked("changes.apply")), before)
        s.keys("a")
        s.wait("write src/f00.c")
        s.keys("y")
        equal({i["path"] for i in sup.wait_asked("changes.apply", before + 1)["items"]}, {f"src/f{i:02}.c" for i in range(10)})
        s.keys("Enter")
        s.wait("you have read all of it")
        s.keys("a")
        s.wait(r"\.envrc: direnv, read to its end")
        s.keys("y")
        equal(sup.wait_asked("changes.apply", before + 2)["items"], [{"path": ".envrc", "digest": DIGEST, "named": True}])
        s.wait("1 file applied")
        s.keys("Tab", "Down", "a")
        s.wait("1 in conflict: left out")
        equal(len(sup.asked("changes.apply")), before + 2)


@case
def what_was_left_out_is_told():
    "one reason stands on the footer's line, several in a list; a refusal is said"
    def skip(*why):
        return lambda p: {"id": "9", "files": 0, "left": len(why), "applied": [], "skipped": [{"path": f"src/x{i}", "kind": "changed", "reason": w} for i, w in enumerate(why)]}

    with dashboard(env) as s:
        view(s)
        s.keys("End")
        sup.answers["changes.apply"] = skip("it changed since it was looked at")
        s.keys("a", "y")
        s.wait("0 files applied; left out: src/x0: it changed since it was looked at")
        sup.answers["changes.apply"] = skip("the first\x1b[31m", "the second")
        s.keys("a", "y")
        s.wait("src/x1: the second")
        contains(s.text(), "src/x0: the first^[[31m")
        s.keys("Escape")
        s.wait("Esc closes", gone=True)

        def wrong(p):
            raise Refused(1006, "the disk is full")

        sup.answers["changes.discard"] = wrong
        s.keys("d")
        s.wait("throw it away in the sandbox")
        s.keys("y")
        equal(sup.wait_asked("changes.discard")["items"][0]["path"], "src/f09.c")
        s.wait("the disk is full")


@case
def three_ways_and_search():
    "c shows what the host and the sandbox did, side by side where there is room; / finds, n goes on"
    for cols in (120, 200):
        with dashboard(env, cols=cols, rows=60) as s:
            view(s)
            s.keys("Down", "c")
            s.wait("what the host did")
            s.wait("what the sandbox did")
            s.wait(r"the new host.*│.*the new sandbox" if cols == 200 else r"the new sandbox")
            s.keys("c")
            s.wait("what the host did since", gone=True)
            s.keys("Enter", "/")
            s.type("second")
            s.keys("Enter")
            s.wait(r"▸.*the old second")
            s.keys("Escape", "Escape")


@case
def how_it_is_shown_is_remembered():
    "flat, side by side and the width of the files are found again by the next dashboard"
    with dashboard(env) as s:
        view(s)
        s.keys("t", "|", ">")
        s.wait(r"M src/f00\.c")
        s.wait(r"- +the old \.envrc +│.*\+ +the new")
        edge = s.text().split("\n")[2].index("┐")
    with dashboard(env) as s:
        s.wait("blue")
        s.keys("4")
        s.wait(r"M src/f00\.c")
        s.wait(r"- +the old \.envrc +│.*\+ +the new")
        equal(s.text().split("\n")[2].index("┐"), edge)
        s.keys("t", "|", "<")
        s.wait(r"M f00\.c")


@case
def what_changes_is_seen_at_once():
    "an event brings the new list while the cursor stays on its file; a flood of them is a request at a time"
    with dashboard(env) as s:
        view(s)
        s.keys("End")
        s.wait(r"▸.*f09\.c")
        entries["blue"].insert(2, entry("new.c", "added"))
        start = time.monotonic()
        sup.event("changes", **counts("blue", 11))
        s.wait(r"A new\.c")
        took = time.monotonic() - start
        s.wait(r"▸.*f09\.c")
        before = len(sup.asked("changes.list"))
        for i in range(500):
            sup.event("changes", **counts("blue", 12 + i))
        sup.event("changes", **counts("blue", 4321))
        s.keys("1")
        s.wait(r"\+4321")
        asked = len(sup.asked("changes.list")) - before
        assert asked < 1000, asked  # three pages a list, and one list at a time
        print(f"# a change was on the screen after {took * 1000:.0f} ms; 500 events made {asked} requests", flush=True)
        del entries["blue"][2]


@case
def one_that_never_answers_keeps_no_other_waiting():
    "another sandbox on the same directory is asked for its list and says nothing: this one's goes on, text and list"
    def silent(p):
        if p["name"] == "green":
            raise Silent
        return listed(p)

    sup.answers["changes.list"] = silent
    with dashboard(env) as s:
        view(s)
        wait_for(lambda: any(p["name"] == "green" for p in sup.asked("changes.list")), 10, "green being asked")
        entries["blue"].insert(2, entry("later.c", "added"))
        sup.event("changes", **counts("blue", 77))
        s.wait(r"A later\.c")
        del entries["blue"][2]
        s.keys("End")
        s.wait(r"the new src/f09\.c")
    sup.answers["changes.list"] = listed


@case
def a_sandbox_that_cannot_tell():
    "why there is no list is said in its place; another sandbox is a key away"
    def refuse(p):
        if p["name"] == "red":
            raise Refused(1003, "red does not run")
        return listed(p)

    sup.answers["changes.list"] = refuse
    with dashboard(env) as s:
        view(s)
        s.keys("]", "]")
        s.wait("red does not run")
        s.keys("[")
        s.wait("Changes of green")
        s.wait("f03.c")
        sup.event("removed", name="green")
        wait_for(lambda: "Changes of green" not in s.text(), 10, "another sandbox's changes")


if __name__ == "__main__":
    main(setup, teardown)
