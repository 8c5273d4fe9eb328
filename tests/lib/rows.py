# SPDX-License-Identifier: Apache-2.0
"""A terminal of the tests' own: what bulkhead-term is to a dashboard (core/proto/rows.h), without a guest. It shows what a test says, echoes what is
typed when asked to, and keeps every key."""
import socket
import struct
import threading
import time
import unicodedata

from tap import wait_for

ENTER, TAB, BACKSPACE, ESCAPE = 0x200001, 0x200002, 0x200003, 0x200004


def str16(text):
    b = text.encode()
    return struct.pack("<H", len(b)) + b


def frame(kind, payload=b"", flags=0):
    return struct.pack("<BBHI", kind, flags, 0, len(payload)) + payload


def width(c):
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1


def pack_row(index, text, fg=0, bg=0, attrs=0):
    cells = b""
    n = 0
    for c in text:
        b = c.encode()
        cells += struct.pack("<B", width(c) | len(b) << 2) + b
        n += 1
        if width(c) == 2:
            cells += b"\0"
            n += 1
    run = struct.pack("<HHIIH", n, attrs, fg, bg, 0) + cells if n else b""
    return struct.pack("<HBH", index, 0, n) + run


class Terminal:
    """One session; attach() gives the end that goes to a viewer."""

    def __init__(self, lines=(), echo=False, title=""):
        self.lines, self.echo, self.title = list(lines) or [""], echo, title
        self.size = [24, 80]
        self.keys, self.times, self.viewers, self.gen = [], [], [], 0
        self.lock = threading.RLock()

    def attach(self, session=1):
        ours, theirs = socket.socketpair()
        threading.Thread(target=self._serve, args=(ours, session), daemon=True).start()
        return theirs

    def _serve(self, s, session):
        buf = b""
        try:
            while data := s.recv(65536):
                buf += data
                while len(buf) >= 8 and len(buf) >= 8 + struct.unpack_from("<I", buf, 4)[0]:
                    n = struct.unpack_from("<I", buf, 4)[0]
                    self._frame(s, session, buf[0], buf[8:8 + n])
                    buf = buf[8 + n:]
        except OSError:
            pass
        with self.lock:
            if s in self.viewers:
                self.viewers.remove(s)
        s.close()

    def _frame(self, s, session, kind, p):
        with self.lock:
            if kind == 64:
                _, rows, cols, flags = struct.unpack("<HHHH", p)
                if not flags & 1:
                    self.size = [rows, cols]
                s.sendall(frame(96, struct.pack("<HI", 1, session) + str16("shell")) + (frame(98, str16(self.title)) if self.title else b""))
                self.viewers.append(s)
                self._draw()
            elif kind == 71:
                self.size = list(struct.unpack("<HH", p))
                self._draw()
            elif kind == 67:
                code = struct.unpack_from("<I", p)[0]
                self.keys.append(code)
                self.times.append(time.monotonic())
                if self.echo:
                    self.type(code)

    def type(self, code):
        if code == ENTER:
            self.lines.append("")
        elif code == BACKSPACE:
            self.lines[-1] = self.lines[-1][:-1]
        elif code < 0x110000:
            self.lines[-1] += chr(code)
        self._draw()

    def show(self, *lines):
        with self.lock:
            self.lines = list(lines)
            self._draw()

    def _draw(self):
        rows, cols = self.size
        shown = [line[:cols] for line in self.lines[-rows:]]
        self.gen += 1
        col = min(sum(width(c) for c in shown[-1]), cols - 1)
        head = struct.pack("<QHHHHBBBBIQQH", self.gen, rows, cols, len(shown) - 1, col, 1, 0, 0, 0, 0, 0, 0, rows)
        body = b"".join(pack_row(i, shown[i] if i < len(shown) else "") for i in range(rows))
        self.send(97, head + body)

    def send(self, kind, payload=b""):
        """A frame to every viewer: 99 is the bell, 100 a notification (str16), 101 the clipboard (blob32)."""
        with self.lock:
            for s in list(self.viewers):
                try:
                    s.sendall(frame(kind, payload))
                except OSError:
                    self.viewers.remove(s)

    def typed(self):
        """What was typed, printable keys as text."""
        with self.lock:
            return "".join(chr(k) if k < 0x110000 else "\n" if k == ENTER else "\x1b" if k == ESCAPE else "?" for k in self.keys)

    def wait_typed(self, text, seconds=10):
        wait_for(lambda: text in self.typed(), seconds, f"{text!r} typed; it was {self.typed()!r}")
