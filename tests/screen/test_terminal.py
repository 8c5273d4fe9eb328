#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Live terminals in the dashboard without a machine: a scripted supervisor hands out terminals of the tests' own (tests/lib/rows.py). What the person types
must arrive whatever else is slow, hostile or away."""
import pathlib
import re
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from dash import bulkhead, dashboard, whole  # noqa: E402
from rows import Terminal  # noqa: E402
from scripted import Scripted, sandbox, session  # noqa: E402
from tap import case, main, wait_for  # noqa: E402

env = None


def setup():
    global env
    env = bulkhead.Env()


def teardown():
    env.close()


def supervisor(*names):
    sup = Scripted(env, sandboxes=[sandbox(n, sessions=[session()]) for n in names])
    return sup


def type_one_by_one(s, terminal, text, within):
    """Every key arrives at the terminal, soon after it was pressed."""
    for i in range(len(text)):
        start = time.monotonic()
        s.type(text[i])
        terminal.wait_typed(text[:i + 1])
        took = time.monotonic() - start
        assert took < within, f"a key took {took:.1f} s to the terminal"


@case
def supervisor_that_does_not_answer():
    "a supervisor that takes connections and does not answer, or is not there at all, holds no key up; the next one is found"
    sup = supervisor("blue")
    terminal = sup.terminals["blue"] = Terminal(["ready"], echo=True)
    with dashboard(env) as s:
        s.wait("ready")
        s.keys("Enter")
        s.wait("Esc back")
        silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sup.close()
        silent.bind(str(sup.path))
        sup.path.chmod(0o600)
        silent.listen(8)
        try:
            s.wait("supervisor is away", seconds=10)
            silent.settimeout(20)
            c, _ = silent.accept()
            assert b'"hello"' in c.recv(4096)  # it waits for the answer now
            type_one_by_one(s, terminal, "while it is away", 2)
            s.wait("while it is away")
        finally:
            silent.close()
            sup.path.unlink()
        again = supervisor("blue")
        again.terminals["blue"] = terminal
        c.close()
        try:
            s.wait("the supervisor is back", seconds=20)
            type_one_by_one(s, terminal, "while it is away, and after", 2)
        finally:
            again.close()


@case
def a_window_that_becomes_narrow():
    "while somebody types, a window made narrow keeps what is typed into on the screen: the one terminal, and also the second of two"
    sup = supervisor("blue", "red")
    for n in ("blue", "red"):
        sup.terminals[n] = Terminal([f"this is {n}"], echo=True)
    with dashboard(env) as s:
        s.resize(200, 50)
        s.wait("this is red")
        s.wait("this is blue")
        for n, go in (("blue", ["Enter"]), ("red", ["C-\\", "Tab"])):
            s.keys(*go)
            s.type("wide ")
            sup.terminals[n].wait_typed("wide ")
            s.resize(80, 24)
            s.type("narrow ")
            sup.terminals[n].wait_typed("wide narrow ")
            s.wait(f"this is {n}")
            s.wait("wide narrow")
            s.resize(200, 50)
            s.wait("this is red")
            s.wait("this is blue")
            s.type("again")
            sup.terminals[n].wait_typed("wide narrow again")
        s.resize(80, 24)
        s.wait("this is red")
        s.keys("C-\\", "Escape")
        s.wait("this is red", gone=True)  # nobody types any more: the list, as at this size
    sup.close()


@case
def nine_tiles_live():
    "nine terminals that print without end are nine live tiles; every one moves, keys are obeyed, and one of them can be typed into meanwhile"
    names = [f"box-{i}" for i in range(1, 10)]
    sup = supervisor(*names)
    stop = threading.Event()
    for n in names:
        sup.terminals[n] = Terminal([f"{n} line 0"], echo=n == "box-5")

    def flood():
        i = 0
        while not stop.wait(0.002):
            i += 1
            for n in names:
                t = sup.terminals[n]
                with t.lock:
                    t.show(*[f"{n} line {i + k}" for k in range(20)], t.lines[-1] if t.echo and t.keys else "> ")

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        with dashboard(env, cols=200, rows=60) as s:
            s.wait("▸. box-1")
            s.keys("g")

            def numbers():
                found = {}
                for n, i in re.findall(r"(box-\d) line (\d+)", s.text()):
                    found[n] = max(int(i), found.get(n, 0))
                return found

            before = wait_for(lambda: (lambda f: f if len(f) == 9 else None)(numbers()), 20, "nine tiles")
            wait_for(lambda: all(numbers().get(n, 0) > before[n] + 20 for n in names), 20, "every tile to move")
            whole(s, 200, 60)
            start = time.monotonic()
            s.keys("Right")
            s.wait("▸. box-2")
            took = time.monotonic() - start
            assert took < 3, f"a key took {took:.1f} s beside nine tiles"
            for _ in range(3):
                s.keys("Right")
            s.wait("▸. box-5")
            s.keys("Enter")
            s.wait("Esc back")
            type_one_by_one(s, sup.terminals["box-5"], "typed", 3)
            s.wait("typed")
    finally:
        stop.set()
        thread.join()
        sup.close()


@case
def splits_are_remembered():
    "a sandbox's splits and their sizes are there again in the next dashboard, as far as their sessions live; so is the layout that was set"
    sessions = [session(1), session(2), session(3)]
    sup = Scripted(env, sandboxes=[sandbox("blue", sessions=[session(1)])])
    sup.terminals["blue"] = Terminal(["ready"])
    given = iter((2, 3))

    def opened(params):
        n = next(given)
        sup.event("sandbox", sandbox=sandbox("blue", sessions=sessions[:n]))
        return {"session": session(n)}

    def panes(s):
        return s.text().count("blue · ")

    sup.answers["session.open"] = opened
    try:
        with dashboard(env) as s:
            s.wait("ready")
            s.keys("Enter")
            s.wait("Esc back")
            s.keys("C-\\", "|")
            wait_for(lambda: panes(s) == 2, 10, "two panes")
            s.keys("C-\\", "-")
            wait_for(lambda: panes(s) == 3, 10, "three panes")
            for _ in range(3):
                s.keys("C-\\", ">")
            s.wait(r"^┌─ Sandboxes ─+┐┌.{54}┐┌.{30}┐$")
            s.keys("C-\\", "q")
            wait_for(lambda: s.dead() is not None, 20, "the end")
        sup.state["sandboxes"] = [sandbox("blue", sessions=sessions)]
        with dashboard(env) as s:
            wait_for(lambda: panes(s) == 3, 10, "three panes again")
            s.wait(r"^┌─ Sandboxes ─+┐┌.{54}┐┌.{30}┐$")
            s.keys("L")
            s.wait("layout: one pane at a time")
            s.wait(r"Sandboxes ─+┐", gone=True)
            s.keys("q")
            wait_for(lambda: s.dead() is not None, 20, "the end")
        sup.state["sandboxes"] = [sandbox("blue", sessions=[session(1), session(2, "exited"), session(3)])]
        with dashboard(env) as s:
            s.wait("blue")
            assert not re.search("Sandboxes ─+┐", s.text()), s.text()
            for want in ("list and panes", "list and two terminals", "by the size"):
                s.keys("L")
                s.wait(f"layout: {want}")
            wait_for(lambda: panes(s) == 2, 10, "the two that live")
            s.keys("q")
    finally:
        sup.close()


if __name__ == "__main__":
    main(setup, teardown)
