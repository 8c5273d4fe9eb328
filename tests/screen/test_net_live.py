#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard's network on a really booted sandbox: a program that asks in its pane, keys that let it go on, rows of what it did, rules, ports."""
import pathlib
import re
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from dash import SIZES, bulkhead, dashboard  # noqa: E402
from origins import ADDRESS, Origins  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = o = tmp = None
ARMED = "a once|a s A d D"
SERVER = ("import socket\ns = socket.create_server(('127.0.0.1', 8123))\nwhile True:\n c = s.accept()[0]\n c.recv(4096)\n"
          " c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nfrom inside')\n c.close()\n")


def setup():
    global env, o, tmp
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-live-"))
    o = Origins(tmp / "origins")
    env = bulkhead.Env()
    (env.config / "bulkhead").mkdir()
    (env.config / "bulkhead" / "config.yaml").write_text(o.config() + "ask_ms: 60000\n")
    for rule in (ADDRESS, f"origin.test:{o.http}"):
        env.run("policy", "allow", rule, ok=0)
    env.run("create", "--name", "blue", "shell", ok=0)
    env.run("start", "blue", ok=0, timeout=300)


def teardown():
    env.close()
    o.close()
    subprocess.run(["rm", "-rf", str(tmp)], check=False)


def shell(s):
    s.wait("blue .*(idle|busy|waits)")
    s.keys("Enter")
    s.wait("Esc back")
    s.wait(r"agent@blue", seconds=30)


def run(s, command):
    s.keys("C-u", "C-l")
    s.type(command)
    s.keys("Enter")


def rules():
    return env.run("policy", "ls", ok=0).stdout


def allowed_by_the_prefix(s, then):
    """The question on the line is answered from inside the terminal; what was held goes on, the line is free."""
    s.wait(ARMED)
    s.keys("C-\\", "a")
    s.wait(then, seconds=20)
    s.wait("blue asks", gone=True)


@case
def a_program_in_a_pane_asks():
    "at three sizes: curl in the pane waits, the line asks, the prefix and a let it go on"
    for n, (cols, rows) in enumerate(SIZES):
        with dashboard(env, cols=cols, rows=rows) as s:
            shell(s)
            run(s, f"curl -sS http://n{n}.test:{o.http}/in-a-pane")
            s.wait(rf"blue asks: .*n{n}\.test:{o.http}", seconds=20)
            allowed_by_the_prefix(s, rf"hello from n{n}\.test:{o.http} GET /in-a-pane")


@case
def denied_by_a_key():
    "d in any view denies; the program reads why, in words"
    with dashboard(env) as s:
        shell(s)
        run(s, f"curl -sS http://never.test:{o.http}/ 2>&1 | fold -w 60")
        s.wait(r"blue asks: GET never\.test", seconds=20)
        s.keys("C-\\", "Escape")
        s.wait("⏎ terminal")
        s.keys("3")
        s.wait("Published ports")
        s.wait(ARMED)
        s.keys("d")
        s.wait(r"blue may not reach GET never\.test")
        s.wait(r"✗ deny +GET never\.test")
        s.keys("1")
        s.wait(r"curl: \(|denied|blocked", seconds=20)


@case
def rows_and_a_rule():
    "what was reached is a row with its bytes; a rule made of a row holds at once, u takes it back"
    env.run("exec", "blue", "--", "curl", "-sS", f"http://origin.test:{o.http}/row", ok=0)
    with dashboard(env) as s:
        s.wait("blue")
        s.keys("3")
        s.wait(rf"✓ allow +GET origin\.test:{o.http}.*curl.*↑.*↓", seconds=10)
        s.keys("/")
        s.type("origin.test")
        s.keys("Enter", "Enter")
        s.wait(r"host +origin\.test, port")
        s.wait(r"process +curl \(\d+\)")
        s.keys("r")
        s.wait(rf"deny origin\.test:{o.http}")
        s.keys("Enter")
        s.wait("takes it back")
        contains(env.run("policy", "ls", "--sandbox", "blue", ok=0).stdout, f"origin.test:{o.http}")
        assert env.run("exec", "blue", "--", "curl", "-sSf", f"http://origin.test:{o.http}/row", ok=None).returncode != 0
        s.keys("Escape")
        s.wait("Network $|Network ─")
        s.keys("u")
        s.wait("taken back")
        env.run("exec", "blue", "--", "curl", "-sS", f"http://origin.test:{o.http}/row", ok=0)


@case
def answered_elsewhere():
    "a question that the command line answers leaves the line with a word who did; always writes a rule, and u takes it back"
    with dashboard(env) as s:
        shell(s)
        run(s, f"curl -sS http://cli.test:{o.http}/cli")
        s.wait(r"blue asks: GET cli\.test", seconds=20)
        q = env.json("asks")["asks"][0]
        env.run("answer", str(q["id"]), "allow", ok=0)
        s.wait(r"cli\.test:\d+/cli: allowed by the command line")
        s.wait(rf"hello from cli\.test:{o.http}", seconds=20)
        run(s, f"curl -sS http://ever.test:{o.http}/1")
        s.wait(r"blue asks: GET ever\.test", seconds=20)
        s.wait(ARMED)
        s.keys("C-\\", "A")
        s.wait(rf"hello from ever\.test:{o.http} GET /1", seconds=20)
        contains(rules(), "ever.test")
        run(s, f"curl -sS http://ever.test:{o.http}/2")
        s.wait(rf"hello from ever\.test:{o.http} GET /2", seconds=20)
        s.keys("C-\\", "Escape")
        s.wait("⏎ terminal")
        s.keys("u")
        s.wait(r"taken back: allow ever\.test")
        assert "ever.test" not in rules(), rules()


@case
def many_are_one():
    "ten connections to one host are one question that says so"
    with dashboard(env) as s:
        shell(s)
        run(s, f"for i in 1 2 3 4 5 6 7 8 9 10; do curl -sS http://ten.test:{o.http}/$i & done; wait")
        s.wait(r"blue asks: GET ten\.test:\d+/\d+ \(curl, 10", seconds=30)
        contains(s.text(), "1 ask")
        s.wait(ARMED)
        s.keys("C-\\", "a")
        wait_for(lambda: len(re.findall(r"hello from ten\.test", s.text())) == 10, 30, "ten answers")


@case
def a_terminal_alone():
    "in `bulkhead attach` the question comes over the first row, the prefix and a answer it, the terminal keeps its size"
    with dashboard(env, "attach", "blue", cols=100, rows=30) as s:
        s.wait(r"agent@blue", seconds=30)
        run(s, f"tput lines; curl -sS http://alone.test:{o.http}/attached")
        s.wait(r"^30$", seconds=20)
        s.wait(rf"^ ▲ blue asks: GET alone\.test:{o.http}/attached", seconds=20)
        allowed_by_the_prefix(s, rf"hello from alone\.test:{o.http} GET /attached")


@case
def a_port_by_keys():
    "P publishes a port that leads inside; Del in its pane ends it"
    p = subprocess.Popen([env.program, "exec", "blue", "--", "python3", "-c", SERVER], env=env.env, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with dashboard(env) as s:
            s.wait("blue")
            s.keys("3", "P")
            s.wait("publish of blue")
            s.type("8123")
            s.keys("Enter")
            port = int(re.search(r"127\.0\.0\.1:(\d+) is port 8123", s.wait(r"127\.0\.0\.1:\d+ is port 8123 of blue"))[1])

            def answers():
                try:
                    with socket.create_connection((ADDRESS, port), 5) as c:
                        c.sendall(b"GET / HTTP/1.0\r\n\r\n")
                        return b"200 OK" in c.recv(4096)
                except OSError:
                    return False

            wait_for(answers, 60, "an answer from inside", every=0.3)
            s.keys("Tab", "DC")
            s.wait("none; P makes a port")
            equal(answers(), False)
    finally:
        p.terminate()
        p.wait()


if __name__ == "__main__":
    main(setup, teardown)
