# SPDX-License-Identifier: Apache-2.0
"""A client's end of an exec (the SESS_* frames of core/proto/agent.h) over the descriptor `session.open` answers with.

    s = Exec(rpc, "name", ["sh", "-c", "cat; exit 3"])
    s.send(b"hello"); s.eof()
    s.finish()       # s.out, s.err, s.code, s.signal; or s.failed (a sentence)
"""
import socket
import struct
import time

from tap import PATIENCE

(STARTED, FAILED, STDIN, STDIN_EOF, STDIN_CREDIT, RESIZE, SIGNAL, STDOUT, STDERR, EXIT) = range(33, 43)
WINDOW = 256 * 1024


class Exec:
    def __init__(self, rpc, name, argv, **params):
        r = rpc.call("session.open", name=name, kind="exec", argv=argv, **params)
        self.session = r["session"]
        self.sock = socket.socket(fileno=r["fd"])
        self.buf, self.out, self.err = b"", b"", b""
        self.pid = self.code = self.signal = self.failed = None
        self.ended, self.credit = False, WINDOW

    def frame(self, kind, payload=b""):
        self.sock.settimeout(30)
        self.sock.sendall(struct.pack("<BBHI", kind, 0, 0, len(payload)) + payload)

    def send(self, data, timeout=30):
        """Input, within the credit: waits for more when it is used up."""
        while data:
            if not self.credit:
                self.pump(timeout)
                continue
            part = data[:min(self.credit, 32768)]
            self.frame(STDIN, part)
            self.credit -= len(part)
            data = data[len(part):]

    def eof(self):
        self.frame(STDIN_EOF)

    def kill(self, number):
        self.frame(SIGNAL, struct.pack("<I", number))

    def pump(self, timeout=30):
        """One read. False when the stream has ended."""
        if self.ended:
            return False
        self.sock.settimeout(timeout)
        data = self.sock.recv(262144)
        if not data:
            self.ended = True
            self.sock.close()
            return False
        self.buf += data
        at = 0
        while len(self.buf) - at >= 8:
            kind, _, _, n = struct.unpack_from("<BBHI", self.buf, at)
            if len(self.buf) - at < 8 + n:
                break
            self.take(kind, self.buf[at + 8:at + 8 + n])
            at += 8 + n
        self.buf = self.buf[at:]
        return True

    def take(self, kind, p):
        if kind == STDOUT:
            self.out += p
        elif kind == STDERR:
            self.err += p
        elif kind == STARTED:
            (self.pid,) = struct.unpack("<I", p)
        elif kind == STDIN_CREDIT:
            self.credit += struct.unpack("<I", p)[0]
        elif kind == EXIT:
            self.code, self.signal = struct.unpack("<II", p)
        elif kind == FAILED:
            self.failed = p[6:].decode()
        else:
            raise AssertionError(f"a frame of type {kind}")

    def until(self, want, timeout=30):
        """Pumps until `want` is in the output."""
        end = time.monotonic() + timeout * PATIENCE
        while want not in self.out:
            if not self.pump(max(0.01, end - time.monotonic())):
                raise AssertionError(f"the stream ended before {want!r}; out {self.out!r}, err {self.err!r}, failed {self.failed!r}")

    def finish(self, timeout=60):
        """Pumps to the end of the stream; returns self."""
        end = time.monotonic() + timeout * PATIENCE
        while self.pump(max(0.01, end - time.monotonic())):
            pass
        return self


def run(rpc, name, argv, timeout=60, **params):
    """A command without input, to its end."""
    s = Exec(rpc, name, argv, **params)
    s.eof()
    return s.finish(timeout)


def sh(rpc, name, script, **params):
    """Output of a shell script that must succeed."""
    s = run(rpc, name, ["sh", "-c", script], **params)
    if s.code != 0:
        raise AssertionError(f"{script!r}: code {s.code}, signal {s.signal}, failed {s.failed!r}, {s.out!r} {s.err!r}")
    return s.out.decode()
