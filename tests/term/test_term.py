#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real bulkhead-term: recordings that any player takes, viewers that stall, and what its supervisor is told of who waits."""
import json
import pathlib
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from tap import case, equal, main, wait_for  # noqa: E402
from term import Frames, Term, Viewer, frame, out  # noqa: E402


def cast(path):
    """Header and events; what is no JSON or no event of asciinema v2 fails."""
    lines = path.read_text().split("\n")
    equal(lines.pop(), "", "the end of the file")
    head, events = json.loads(lines[0]), [json.loads(line) for line in lines[1:]]
    equal(head["version"], 2)
    last = 0
    for e in events:
        at, kind, data = e
        assert isinstance(at, float) and at >= last and kind in ("o", "r") and isinstance(data, str), e
        last = at
    return head, events


def text_of(events):
    return "".join(data for _, kind, data in events if kind == "o")


@case
def recording_is_whole():
    "a recording is asciinema v2; characters cut between two frames, bytes that are no text, and resizes are in it as they were"
    with Term(cap=1 << 20) as t:
        guest = t.open()
        v = Viewer(t.attach(rows=30, cols=100))
        wait_for(lambda: v.size == (30, 100), 20, "the size")
        text = "plain \"quoted\" \\ ä漢😀é\x1b[1mbold\x1b[0m\r\n"
        for byte in text.encode():  # one at a time: every character is cut at every place
            guest.sendall(out(bytes([byte])))
        guest.sendall(out(b"bad \xff\xe6\xbc here \xf0\x9f") + out(b"no end") + out("END\r\n") + out(b"\xe6"))
        v.wait("END")
        guest.sendall(frame(42, struct.pack("<II", 0, 0)))
        t.wait_state(1, "exited")
        head, events = cast(t.rec / "1.cast")
        equal((head["width"], head["height"]), (80, 24))
        equal([d for _, k, d in events if k == "r"], ["100x30"])
        equal(text_of(events), text + "bad \ufffd\ufffd here \ufffdno endEND\r\n\ufffd")
        assert all(d for _, _, d in events), "an event without anything in it"
        equal((t.rec / "1.cast").stat().st_mode & 0o777, 0o600)


@case
def recording_is_rotated():
    "at half of the cap a recording goes on in a new file that knows the terminal's size; both together stay below the cap"
    cap = 64 * 1024
    with Term(cap=cap) as t:
        guest = t.open()
        v = Viewer(t.attach(rows=31, cols=101))
        wait_for(lambda: v.size == (31, 101), 20, "the size")
        for i in range(300):
            guest.sendall(out(f"line {i} " + "漢" * 150 + "\r\n"))
        v.wait("line 299 ")
        wait_for(lambda: (t.rec / "1.cast.1").exists(), 20, "the rotated file")
        guest.sendall(frame(42, struct.pack("<II", 0, 0)))
        t.wait_state(1, "exited")
        (old, before), (new, after) = cast(t.rec / "1.cast.1"), cast(t.rec / "1.cast")
        equal((new["width"], new["height"]), (101, 31), "the size in the new file")
        both = text_of(before) + text_of(after)
        assert "\ufffd" not in both
        assert both.endswith("line 299 " + "漢" * 150 + "\r\n")
        numbers = [int(line.split()[1]) for line in both.split("\r\n") if line.startswith("line ")]
        equal(numbers, list(range(numbers[0], 300)), "lines without a gap where the file was changed")
        total = sum(p.stat().st_size for p in t.rec.iterdir())
        assert total <= cap + 16384, total
        equal(sorted(p.name for p in t.rec.iterdir()), ["1.cast", "1.cast.1"])


@case
def a_viewer_that_stalls():
    "one viewer never reads and one reads but never acknowledges: the guest is not blocked, and a third viewer gets every screen"
    with Term() as t:
        guest = t.open()
        deaf = t.attach()  # never read from
        mute = t.attach()
        got = []
        threading.Thread(target=lambda: collect(mute, got), daemon=True).start()
        v = Viewer(t.attach())
        v.wait("")
        blob = b"".join(out(f"\x1b[3{i % 8}mrow {i} " + "x" * 60 + "\r\n") for i in range(60000))  # some MB, more than any buffer on the way
        start = time.monotonic()
        guest.settimeout(60)
        guest.sendall(blob + out("\x1b[2J\x1b[HLAST"))
        v.wait("LAST", 60)
        print(f"# {len(blob) / 1e6:.1f} MB past a stalled viewer in {time.monotonic() - start:.1f} s")
        equal(v.rows[0], "LAST")
        assert sum(1 for kind in got if kind == 97) <= 2, "more than two frames for one that acknowledges none"
        start = time.monotonic()
        v.key("k")  # and its keys arrive
        f = Frames(guest)
        while f.next(20)[0] != 35:
            pass
        assert time.monotonic() - start < 40
        wait_for(lambda: t.told[1]["viewers"] == 3, 20, "all three to be told of")
        deaf.close()
        wait_for(lambda: t.told[1]["viewers"] == 2, 20, "the deaf one to be forgotten")


def collect(sock, got):
    f = Frames(sock)
    try:
        while True:
            got.append(f.next(3600)[0])
    except (EOFError, OSError):
        pass


@case
def bell_waits_key_busy():
    "a bell waits for the person until a key; the exit is told with its code to supervisor and viewer"
    with Term() as t:
        guest, view = t.session()
        v = Viewer(view)
        t.wait_state(1, "busy")
        guest.sendall(out("done\a"))
        t.wait_state(1, "waits")
        wait_for(lambda: (1, "bell", "test") in t.attention, 20, f"the bell; told was {t.attention}")
        wait_for(lambda: 99 in v.kinds, 20, "the bell at the viewer")
        guest.sendall(out("more\a"))
        v.wait("donemore")
        v.key("x")
        t.wait_state(1, "busy")
        equal([s for n, s in t.history if n == 1], ["opening", "busy", "waits", "busy"])
        equal(t.attention, [(1, "bell", "test")], "attention once")
        t.wait_state(1, "idle")
        guest.sendall(frame(42, struct.pack("<II", 7, 0)))
        t.wait_state(1, "exited")
        equal(t.told[1]["code"], 7)
        wait_for(lambda: v.exit == (7, 0), 20, "the exit at the viewer")
        v.wait("donemore")  # what there was to see stays


@case
def the_bell_of_who_types():
    "a bell right after a key is about that key: the viewer hears it, nobody is said to wait"
    with Term() as t:
        guest, view = t.session()
        v = Viewer(view)
        t.wait_state(1, "busy")
        v.key("\t")
        f = Frames(guest)
        while f.next(20)[0] != 35:
            pass
        guest.sendall(out("\a"))
        wait_for(lambda: 99 in v.kinds, 20, "the bell at the viewer")
        t.wait_state(1, "idle")
        equal([s for _, s in t.history], ["opening", "busy", "idle"])
        equal(t.attention, [])
        guest.sendall(out("\a"))  # a second or more later: nobody has just typed
        t.wait_state(1, "waits")


@case
def a_prompt_waits():
    "quiet output whose last line asks is said to wait, with words; an answer ends it; a shell's prompt is idle"
    with Term(idle_ms=300, pattern=r"\[y/N\] *$") as t:
        guest, view = t.session()
        v = Viewer(view)
        guest.sendall(out("agent@blue:~$ "))
        t.wait_state(1, "idle")
        equal(t.attention, [])
        guest.sendall(out("rm -i x\r\nremove x? [y/N] "))
        t.wait_state(1, "waits")
        equal(t.attention, [(1, "waits", "test")])
        v.key("y")
        t.wait_state(1, "busy")
        guest.sendall(out("y\r\nagent@blue:~$ "))
        t.wait_state(1, "idle")
        equal(len(t.attention), 1)


if __name__ == "__main__":
    main()
