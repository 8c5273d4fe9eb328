#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard under tmux without a booted guest: many sandboxes, forms, prompts, filters, poor terminals, broken configurations."""
import os
import signal
import re
import sys
import pathlib

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from dash import SIZES, THEMES, Screen, bulkhead, dashboard, golden, whole  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = None
COUNT = 40


def setup():
    global env
    env = bulkhead.Env()
    with env.rpc() as r:
        for i in range(COUNT):
            r.call("sandbox.create", name=f"box-{i:02}", kit="shell")


def teardown():
    env.close()


@case
def lists_many():
    "forty sandboxes are listed at three sizes as in the golden screens, and the last can be reached"
    for cols, rows in SIZES:
        with dashboard(env, cols=cols, rows=rows) as s:
            s.wait("box-00")
            s.wait(f"{COUNT} sandboxes")
            if cols < 100:
                golden(f"list-{cols}x{rows}", s)
            else:
                s.keys("6")
                s.wait(r"box-0\d +created")
                golden(f"log-{cols}x{rows}", s)
                s.keys("1")
            s.keys("End")
            s.wait("box-39")
            s.keys("Home")
            s.wait("▸○ box-00")
            whole(s, cols, rows)
            s.keys("q")
            wait_for(lambda: s.dead() is not None, 20, "the end")
            equal(s.dead(), 0)


@case
def tiny():
    "a terminal of 20x5, then of 1x1, then of 120x40 again: nothing breaks"
    with dashboard(env, cols=20, rows=5) as s:
        s.wait("box-00")
        golden("list-20x5", s)
        for cols, rows in ((1, 1), (2, 2), (10, 3), (300, 4), (120, 40)):
            s.resize(cols, rows)
        s.wait("box-13")
        s.wait("q detach")
        whole(s, 120, 40)


@case
def resize_storm():
    "two hundred resizes in a row: the last frame is whole and keys still work"
    with dashboard(env) as s:
        s.wait("box-00")
        for i in range(200):
            s.resize(20 + i * 7 % 180, 5 + i * 3 % 55)
        s.resize(120, 40)
        s.wait("q detach")
        s.keys("j")
        s.wait("▸○ box-01")
        whole(s, 120, 40)


@case
def filters():
    "`/` filters as one types, Esc takes it away"
    with dashboard(env) as s:
        s.wait("box-00")
        s.keys("/")
        s.type("x-1")
        s.wait("10 of 40")
        s.keys("Enter")
        s.keys("End")
        s.wait("▸○ box-19")
        s.keys("Escape")
        s.wait("Sandboxes ─")
        s.wait("of 40 ─")


@case
def makes_one_with_the_form():
    "`n` makes a sandbox; a wrong answer is told beside the field and can be mended"
    with dashboard(env) as s:
        s.wait("box-00")
        s.keys("n")
        s.wait("new sandbox")
        s.type("bad/name")
        s.keys("Enter")
        s.wait("name")
        s.wait("'bad/name'|bad/name.*(must|may|only)|letters")
        s.keys("C-u")
        s.type("aaa-made")
        s.keys("Tab", "Tab", "C-u", "Tab", "Tab")
        s.type("1000T")
        s.keys("Enter")
        s.wait("memory")
        assert "aaa-made" not in env.run("ls").stdout
        s.keys("C-u")
        s.type("512M")
        s.keys("Enter")
        s.wait("▸. aaa-made")
    env.run("rm", "--force", "aaa-made", ok=0)


@case
def palette_knows_every_command():
    "every command of the command line is in the palette's table"
    text = (bulkhead.TOP / "tui" / "palette.c").read_text()
    commands = re.findall(r"^  ([a-z]+)  +\S", env.run("--help", ok=0).stdout.split("Options:")[0], re.M)
    assert len(commands) > 20, commands
    equal([c for c in commands if f'{{ "{c}",' not in text and c != "completion"], [])


@case
def asks_before_removing():
    "`Del` says what is lost; Enter means no, y means yes"
    with dashboard(env) as s:
        s.wait("box-00")
        s.keys("End")
        s.wait("▸○ box-39")
        s.keys("DC")
        s.wait(r"remove box-39\? lost: its disk .*\[y/N\]")
        s.keys("Enter")
        s.wait(r"\[y/N\]", gone=True)
        s.keys("DC")
        s.wait(r"remove box-39\?")
        s.keys("y")
        s.wait("39 sandboxes")
        s.wait("▸○ box-38")
    env.run("create", "--name", "box-39", "shell", "/", ok=None)


@case
def palette():
    "`:` completes and runs: an action, a command of the command line, nonsense"
    with dashboard(env) as s:
        s.wait("box-00")
        s.keys(":")
        s.type("sel")
        s.wait(":sel")
        s.keys("Escape")
        s.wait("─ command ─", gone=True)
        s.keys(":")
        s.type("doct")
        s.keys("Tab")
        s.wait(":doctor")
        s.keys("Enter")
        s.wait("Esc closes")
        s.keys("Escape")
        s.wait("Esc closes", gone=True)
        s.keys(":")
        s.type("frobnicate")
        s.keys("Enter")
        s.wait("there is no command 'frobnicate'")
        s.keys(":")
        s.type("log")
        s.keys("Enter")
        s.wait("Log ──|Esc closes")


@case
def log_tells_of_the_audit():
    "what was done with a credential stands in the log's view, as it happens and in the next dashboard, once"
    with env.rpc() as r, env.rpc() as sub:
        sub.call("events.subscribe")
        with dashboard(env) as s:
            s.wait("box-00")
            s.keys("6")
            s.wait(r"box-0\d +created")
            r.call("secret.set", service="anthropic", value="sk-ant-api03-one-two-three")
            s.wait("credential anthropic: set", seconds=10)
        told = sub.wait_event(lambda e: e["kind"] == "audit", 10)["record"]
        equal((told["event"], told["service"], told["what"]), ("secret", "anthropic", "set"))
        assert "one-two-three" not in str(told)
        records = r.call("audit.read")["records"]
        equal([(q["event"], q["seq"]) for q in records], [("secret", told["seq"])])
        equal(r.call("audit.read", name="box-00")["records"], [])
    with dashboard(env) as s:
        s.wait("box-00")
        s.keys("6")
        equal(s.wait("credential anthropic: set").count("credential anthropic"), 1)


@case
def help_shows_only_what_applies():
    "`?` differs between the list and the grid, and any key closes it"
    with dashboard(env, rows=60) as s:
        s.wait("box-00")
        s.keys("?")
        contains(s.wait("make a new sandbox"), "show only what holds a text")
        s.keys("x")
        s.wait("make a new sandbox", gone=True)
        s.keys("Tab")
        s.keys("?")
        text = s.wait("split the pane")
        assert "show only what holds a text" not in text


@case
def themes():
    "every theme can be chosen, changes colours and not one letter, and is remembered"
    seen = set()
    with dashboard(env) as s:
        s.wait("box-00")
        for name in THEMES:
            s.keys(":")
            s.type(f"theme {name}")
            s.keys("Enter")
            s.wait("theme [A-Z]")
            s.keys("Escape")
            s.wait("q detach")
            coloured = s.text(colour=True)
            seen.add(re.sub(r"[^\x1b\[\dm;:]", "", coloured))
            plain = re.sub(r"\x1b\[[\d;:]*m|\x1b\(.", "", coloured)
            contains(plain, "▸○ box-00")
            if name == "nord":
                contains(coloured, "48;2;46;52;64")
            if name == "mono":
                assert not re.search(r"\x1b\[[\d;]*(3|4|9|10)[0-7]m", coloured), "colours in the mono theme"
    equal(len(seen), len(THEMES), "themes that look different")
    with dashboard(env) as s:
        s.wait("box-00")
        contains(s.text(colour=True), "48;2;30;30;46")  # the last chosen


@case
def poor_terminals():
    "NO_COLOR, 8 colours, no UTF-8: usable; dumb and none: a sentence"
    with dashboard(env, NO_COLOR="1") as s:
        s.wait("box-00")
        assert not re.search(r"\x1b\[[\d;]*(3|4|9|10)[0-8][;m]", s.text(colour=True)), "colours with NO_COLOR"
    with dashboard(env, LC_ALL="C") as s:
        s.wait(r">\. box-00")
        assert s.text().isascii(), s.text()
    script = 'TERM=screen; export TERM; unset COLORTERM; exec "$0"'
    with Screen(["sh", "-c", script, env.program], env=env.env) as s:
        s.wait("box-00")
        assert "38;5;" not in s.text(colour=True) and "38;2;" not in s.text(colour=True)
    for term, want in (("dumb", "dumb terminal"), ("", "TERM is not set"), ("no-such-terminal", "not known")):
        script = f'TERM={term} "$0"; echo "exit $?"; sleep 100'
        with Screen(["sh", "-c", script, env.program], env=env.env) as s:
            contains(s.wait("exit 1"), want)
    r = env.run(ok=None)
    assert r.returncode != 0 and "terminal" in r.stderr, r


@case
def broken_configuration():
    "a config.yaml with a mistake is told of with its line; what is right in it holds"
    d = env.config / "bulkhead"
    d.mkdir(exist_ok=True)
    (d / "config.yaml").write_text("theme: nord\nkeys:\n  new-sandbox: F2\n  fly: F3\n")
    try:
        with dashboard(env) as s:
            s.wait("config.yaml line 4: there is no action 'fly'")
            contains(s.text(colour=True), "48;2;46;52;64")
            s.keys("F2")
            s.wait("new sandbox")
        (d / "config.yaml").write_text("theme: [\n")
        with dashboard(env) as s:
            s.wait("config.yaml line")
            s.wait("box-00")
        (d / "config.yaml").write_text("theme: no-such\n")
        with dashboard(env) as s:
            s.wait("there is no theme 'no-such'")
    finally:
        (d / "config.yaml").unlink()


def mouse(s, button, row, col, end="M"):
    s.tmux("send-keys", "-H", *[f"{b:02x}" for b in f"\x1b[<{button};{col};{row}{end}".encode()])


@case
def mouse_works():
    "a click selects, the wheel scrolls, a border is dragged and the size is remembered"
    with dashboard(env) as s:
        s.wait("▸○ box-00")
        mouse(s, 0, 7, 10)
        mouse(s, 0, 7, 10, "m")
        s.wait("▸○ box-02")
        for _ in range(3):
            mouse(s, 65, 7, 10)
        s.wait("▸○ box-05")
        mouse(s, 64, 7, 10)
        s.wait("▸○ box-04")
        mouse(s, 0, 20, 32)
        mouse(s, 32, 20, 50)
        mouse(s, 0, 20, 50, "m")
        s.wait(r"^┌─ Sandboxes ─{36,38}┐┌")
        s.keys("q")
    with dashboard(env) as s:
        s.wait(r"^┌─ Sandboxes ─{36,38}┐┌")
        s.keys("<", "<", "<", "<", "<", "<")
        s.wait(r"^┌─ Sandboxes ─{8,16}┐┌")


@case
def signals_restore_the_terminal():
    "SIGTERM, SIGHUP and SIGINT end it, with the terminal in the modes and with the screen of before"
    modes = 'stty -a | tr " " "\n" | grep -E "^-?(icanon|echo|isig|icrnl|opost);?$" | tr "\n" " "'
    # From the terminal: a shell without job control gives what it starts with & /dev/null to read.
    script = f'echo "before $({modes})"; "$0" </dev/tty & p=$!; echo $p >"$PIDFILE"; wait $p; echo "after $? $({modes})"; sleep 100'
    pidfile = env.dir / "dashboard.pid"
    for signo in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        with Screen(["sh", "-c", script, env.program], env={**env.env, "PIDFILE": str(pidfile)}) as s:
            s.wait("box-00")
            os.kill(int(pidfile.read_text()), signo)
            text = s.wait("^after 0 .*", seconds=20)
            before, after = (re.search(rf"^{word} (?:0 )?(.*?) *$", text, re.M).group(1) for word in ("before", "after"))
            contains(before, "icanon")
            equal(after, before, f"the terminal's modes after {signo.name}")
            assert "box-00" not in text, "the screen of before is back"


@case
def supervisor_comes_back():
    "with the supervisor killed the dashboard says so, finds it again by itself, and goes on"
    with dashboard(env) as s:
        s.wait("box-00")
        os.kill(env.supervisor_pid(), signal.SIGKILL)
        s.wait("supervisor is away|no supervisor")
        s.wait("the supervisor is back", seconds=20)
        s.keys("End")
        s.wait("▸○ box-3[89]")
        s.keys("Escape")
        s.wait("no supervisor", gone=True)


if __name__ == "__main__":
    main(setup, teardown)
