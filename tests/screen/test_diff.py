#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Diff view on really booted sandboxes: what is edited inside is seen, marked, applied, undone and discarded by keys; a conflict stays one; two sandboxes
on one directory say what both changed."""
import os
import pathlib
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from dash import SIZES, bulkhead, dashboard, whole  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = top = None
BOOT = 150  # seconds, at most
LINES = [f"line {i}\n" for i in range(60)]
WAIT = 30


def setup():
    global env, top
    env = bulkhead.Env()
    top = pathlib.Path(tempfile.mkdtemp(prefix="bh-diff-"))
    top.chmod(0o755)
    (top / "src").mkdir()
    (top / "src/main.c").write_text("".join(LINES))
    (top / "both.txt").write_text("a\nb\nc\n")
    (top / "gone.txt").write_text("x\n")
    with env.rpc() as r:
        for name in ("blue", "green"):
            env.run("create", "--name", name, "--memory", "1G", "shell", top, ok=0)
            r.call("sandbox.start", name=name)
        for name in ("blue", "green"):
            r.call("sandbox.wait", name=name, states=["running"], timeout_ms=BOOT * 1000, timeout=BOOT + 5)


def teardown():
    env.close()
    shutil.rmtree(top, ignore_errors=True)


def inside(command, name="blue"):
    r = env.run("exec", name, "--", "sh", "-c", f"cd {top} && {command}", timeout=120)
    equal((r.returncode, r.stderr), (0, ""), command)
    return r.stdout


def view(s, name="blue"):
    s.wait(name)
    s.keys("4")
    s.wait(f"Changes of {name}", WAIT)


def go(s, name):
    """The cursor onto the file of that name."""
    s.wait(rf"[AMDRmT] {re.escape(name)}\b", WAIT)
    for i in range(60):
        if i % 20 == 0:  # and again: what was applied a moment ago leaves the list while we go through it
            s.keys("Home")
            s.wait(r"Changes of .*\n(│.*│)?│?▸", WAIT)
        if re.search(rf"▸..?.? +[AMDRmT] {re.escape(name)}\b", s.text()):
            return
        before = s.text()
        s.keys("Down")
        wait_for(lambda: s.text() != before, WAIT, f"the cursor one row on\n{before}")
    raise AssertionError(f"{name} is not in the list:\n{s.text()}")


def on_host(path):
    return (top / path).read_text()


@case
def an_edit_inside_is_seen_within_a_second():
    "written inside while the dashboard looks on: name, counts and text come by themselves, at three sizes"
    with dashboard(env, cols=120, rows=40) as s:
        view(s)
        s.wait("nothing changed", WAIT)
        start = time.time()
        stamp = float(inside("sed -i 's/^line 5$/LINE five/; s/^line 50$/LINE fifty/' src/main.c; date +%s.%N"))
        s.wait(r"M main\.c +\+2 −2", WAIT)
        print(f"# seen {time.time() - max(stamp, start):.2f} s after it was written", flush=True)
        s.wait(r"\+ ?LINE five", WAIT)
        contains(s.text(), "src/")
    for cols, rows in SIZES:
        with dashboard(env, cols=cols, rows=rows) as s:
            s.wait(r"blue(.|\n)*\+2 −2", WAIT)  # in the list of sandboxes
            view(s)
            go(s, "main.c")
            s.keys("Enter")
            s.wait(r"LINE five", WAIT)
            whole(s, cols, rows)
            if cols == 200:
                s.wait(r"-line 50 +│.*\+LINE fifty")  # side by side


@case
def a_hunk_is_applied_and_taken_back():
    "one of two hunks is marked and written to the host, the other stays; u makes the host's file what it was"
    with dashboard(env) as s:
        view(s)
        go(s, "main.c")
        s.keys("Enter")
        s.wait(r"▸\[ \] @@", WAIT)
        s.keys("n", "Space")
        s.wait(r"\[✓\] @@ 48", WAIT)
        s.keys("a")
        s.wait(r"write src/main\.c, some hunks", WAIT)
        equal(on_host("src/main.c"), "".join(LINES))
        s.keys("y")
        s.wait("1 file applied from blue", WAIT)
        want = "".join(LINES).replace("line 50\n", "LINE fifty\n")
        equal(on_host("src/main.c"), want)
        s.wait(r"M main\.c +\+1 −1", WAIT)
        s.keys("u")
        s.wait("1 file as before the apply", WAIT)
        equal(on_host("src/main.c"), "".join(LINES))
        s.wait(r"M main\.c +\+2 −2", WAIT)


@case
def what_would_run_here_is_read_or_named():
    "a hook is named in the question; read to its end it is not named any more; the link that leaves is left out; files deleted inside go"
    inside("rm gone.txt; mkdir -p .vscode; printf '{\"tasks\": []}\\n' > .vscode/tasks.json; ln -s /etc/passwd out; printf 'esc \\033[31m\\n' > 'od\\d'")
    with dashboard(env) as s:
        view(s)
        s.wait(r"D gone\.txt +−1", WAIT)
        s.wait(r"A tasks\.json.*⚡.*\+1", WAIT)
        s.wait(r"A od\\134d", WAIT)
        s.keys("*", "a")
        s.wait(r"\.vscode/tasks\.json: .*NOT read", WAIT)
        contains(s.text(), "delete gone.txt")
        contains(s.text(), "left out, bulkhead apply --patch shows")
        s.keys("Enter")  # no
        s.wait("NOT read", gone=True)
        s.keys("*")
        s.wait("✓", gone=True)
        assert (top / "gone.txt").exists() and not (top / ".vscode").exists()
        go(s, "tasks.json")
        s.wait("it is applied once it was read to its end", WAIT)
        s.keys("Enter")
        s.wait("you have read all of it", WAIT)
        s.keys("a")
        s.wait(r"tasks\.json: .*, read to its end", WAIT)
        s.keys("y")
        s.wait("1 file applied", WAIT)
        equal(on_host(".vscode/tasks.json"), '{"tasks": []}\n')
        s.keys("Tab")
        go(s, "od\\134d")
        s.wait(r"\+ ?esc \\033\[31m", WAIT)
        go(s, "gone.txt")
        s.keys("a")
        s.wait("delete gone.txt", WAIT)
        s.keys("y")
        s.wait("1 file applied", WAIT)
        assert not (top / "gone.txt").exists()
        go(s, "out")
        s.wait("symlink-absolute: left out", WAIT)
        s.keys("a")
        s.wait("device, setuid or escaping link: left out", WAIT)
        assert not os.path.lexists(top / "out")


@case
def a_conflict_is_shown_three_ways_and_discarded():
    "changed on both sides it is not written over; c shows both; d throws the sandbox's away and the host's shows inside again"
    inside("printf 'a\\nsandbox\\nc\\n' > both.txt")
    with dashboard(env, cols=200, rows=50) as s:
        view(s)
        s.wait(r"M both\.txt +\+1 −1", WAIT)
        (top / "both.txt").write_text("a\nthe host\nc\n")  # the host is looked at anew every few seconds, and whenever the view is opened
        s.keys("1")
        s.wait("Sandboxes", WAIT)
        s.keys("4")
        s.wait(r"M both\.txt.*(✗|conflict)", WAIT)
        go(s, "both.txt")
        s.keys("c")
        s.wait(r"the host +│.*sandbox", WAIT)
        s.keys("a")
        s.wait("in conflict: left out", WAIT)
        s.keys("d")
        s.wait("lost: both.txt", WAIT)
        s.keys("n")
        s.wait("lost: both.txt", gone=True)
        s.keys("d")
        s.wait("lost: both.txt", WAIT)
        s.keys("y")
        s.wait("1 file discarded in blue", WAIT)
        s.wait(r"M both\.txt", WAIT, gone=True)
    equal(on_host("both.txt"), "a\nthe host\nc\n")
    wait_for(lambda: inside("cat both.txt") == "a\nthe host\nc\n", WAIT, "the host's file inside", every=0.5)


@case
def two_sandboxes_on_one_directory():
    "what both changed says so; applied from one it is in conflict in the other"
    inside("printf 'green\\n' >> src/main.c", "green")
    with dashboard(env) as s:
        view(s)
        s.wait(r"M main\.c +⇄", WAIT)
        go(s, "main.c")
        s.wait("green changed it too", WAIT)
        s.keys("a")
        s.wait("write src/main.c", WAIT)
        s.keys("y")
        s.wait("1 file applied from blue", WAIT)
        s.keys("]")
        s.wait("Changes of green", WAIT)
        s.wait(r"M main\.c.*✗", WAIT)


if __name__ == "__main__":
    main(setup, teardown)
