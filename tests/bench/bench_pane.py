#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A terminal's throughput and a key's way, against tmux in the same run.

usage: bench_pane.py [MEGABYTES] [ROUNDS] [--json FILE]
Ours is the real bulkhead-term, sealed, with a viewer attached; this program plays the guest over its dial socket. tmux runs `cat` of the same
bytes in a detached session. A round of each follows the other, medians are shown. A key's way: a byte typed into a raw `cat` and its echo, seen
by the viewer here and by the attached client's terminal there.
"""
import os
import pathlib
import pty
import random
import select
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from report import median, report  # noqa: E402
from term import Frames, Term, frame  # noqa: E402

ROWS, COLS = 50, 200


def watch(view, exited):
    """A viewer that acknowledges every frame, until the session's end."""
    f = Frames(view)
    try:
        while True:
            kind, payload = f.next()
            if kind == 97:
                view.sendall(frame(65, payload[:8]))
            elif kind == 105:
                exited.set()
                return
    except (EOFError, OSError):
        exited.set()


def ours(term, data):
    guest, view = term.session()
    exited = threading.Event()
    threading.Thread(target=watch, args=(view, exited), daemon=True).start()
    blob = b"".join(frame(40, data[i:i + 32760]) for i in range(0, len(data), 32760)) + frame(42, struct.pack("<II", 0, 0))
    start = time.monotonic()
    guest.sendall(blob)
    exited.wait(600)
    return len(data) / (time.monotonic() - start) / 1e6


def tmux(path):
    sock = tempfile.mktemp(prefix="bh-bench-tmux-")
    run = ["tmux", "-S", sock, "-f", "/dev/null"]
    subprocess.run([*run, "new-session", "-d", "-x", str(COLS), "-y", str(ROWS), "sh"], check=True)
    subprocess.run([*run, "set", "-g", "history-limit", "10000"], check=True)
    start = time.monotonic()
    subprocess.run([*run, "new-window", f"cat {path}; tmux -S {sock} wait-for -S done"], check=True)
    subprocess.run([*run, "wait-for", "done"], check=True)
    # What cat wrote last may still be in the pty: an answer to a command comes after it was read.
    subprocess.run([*run, "display-message", "-p", "x"], check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    subprocess.run([*run, "kill-server"], check=False)
    return os.path.getsize(path) / seconds / 1e6


def echo_ours(term, keys):
    guest, view = term.session()
    g, v = Frames(guest), Frames(view)
    while v.next()[0] != 97:
        pass
    times = []
    view.sendall(frame(65, bytes(8)))
    for i in range(keys):
        start = time.monotonic()
        view.sendall(frame(66, b"x"))
        while True:
            kind, payload = g.next()
            if kind == 35:
                guest.sendall(frame(40, payload) + frame(37, struct.pack("<I", len(payload))))
                break
        while True:
            kind, payload = v.next()
            if kind == 97:
                break
        times.append((time.monotonic() - start) * 1e6)
        view.sendall(frame(65, payload[:8]))
        time.sleep(0.02)
    return times


def echo_tmux(keys):
    """A client attached on a pty of ours; the pane is a raw cat, so that only tmux and it are on the way."""
    sock = tempfile.mktemp(prefix="bh-bench-tmux-")
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp("tmux", ["tmux", "-S", sock, "-f", "/dev/null", "new-session", "-x", str(COLS), "-y", str(ROWS), "stty raw -echo; echo up; exec cat"])
    text = b""
    while b"up" not in text:
        text += os.read(fd, 65536)
    time.sleep(1.0)  # its status line and answers settle: a bench, nothing is synchronised by it
    times = []
    for i in range(keys):
        while select.select([fd], [], [], 0)[0]:
            os.read(fd, 65536)
        start = time.monotonic()
        os.write(fd, b"x")
        while b"x" not in os.read(fd, 65536):
            pass
        times.append((time.monotonic() - start) * 1e6)
        time.sleep(0.02)
    subprocess.run(["tmux", "-S", sock, "kill-server"], check=False)
    os.waitpid(pid, 0)
    return times


def mixes(size):
    rnd = random.Random(1)
    words = ["lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "0x7fff", "/usr/lib", "return", "{", "}", "=="]

    def line():
        return " ".join(rnd.choice(words) for _ in range(rnd.randint(3, 20)))

    plain = "\r\n".join(line() for _ in range(2000)) + "\r\n"
    colour = "\r\n".join("".join(f"\x1b[38;5;{rnd.randrange(256)}m{w} " for w in line().split()) + "\x1b[0m" for _ in range(2000)) + "\r\n"
    wide = "\r\n".join("".join(chr(rnd.randrange(0x4E00, 0x9000)) for _ in range(40)) for _ in range(2000)) + "\r\n"
    cells = "".join(f"\x1b[{rnd.randint(1, ROWS)};{rnd.randint(1, COLS)}H{rnd.choice('abcdef')}" for _ in range(20000))
    region = f"\x1b[5;{ROWS - 5}r" + "".join(f"\x1b[{ROWS - 5};1H{line()}\n" for _ in range(2000)) + "\x1b[r"
    for name, text in (("plain text", plain), ("coloured words", colour), ("wide characters", wide), ("single cells", cells), ("scrolling region", region)):
        one = text.encode()
        yield name, one * max(1, size // len(one))


def main():
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    size, rounds = (numbers + [20, 3][len(numbers):])[:2]
    term = Term(ROWS, COLS)
    rows = []
    try:
        for name, data in mixes(size * 1000000):
            with tempfile.NamedTemporaryFile(prefix="bh-bench-") as f:
                f.write(data)
                f.flush()
                pairs = [(ours(term, data), tmux(f.name)) for _ in range(rounds)]
            a, b = median([p[0] for p in pairs]), median([p[1] for p in pairs])
            rows.append([name, a, b, a / b])
        mine, theirs = [], []
        for _ in range(rounds):
            mine += echo_ours(term, 50)
            theirs += echo_tmux(50)
        rows.append(["key to echo, median us", median(mine), median(theirs), median(mine) / median(theirs)])
        rows.append(["key to echo, 95 % us", sorted(mine)[int(len(mine) * 0.95)], sorted(theirs)[int(len(theirs) * 0.95)],
                     sorted(mine)[int(len(mine) * 0.95)] / sorted(theirs)[int(len(theirs) * 0.95)]])
    finally:
        term.close()
    version = subprocess.run(["tmux", "-V"], capture_output=True, text=True).stdout.strip()
    report("A pane, MB/s (higher is better) and a key's way (lower is better)", ["what", "bulkhead-term", "tmux", "ratio"], rows,
           bytes=f"{size} MB a mix", rounds=rounds, peer=version, size=f"{COLS}x{ROWS}")


if __name__ == "__main__":
    main()
