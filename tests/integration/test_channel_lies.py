#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that lies on the channel: to the real, sealed bulkhead-net, without a machine. What cannot be is closed unheard, what is no truth is denied. TAP.

Everything is allowed here, and every name leads to a canary: whatever of a row's were believed would reach it, as the first case does.
"""
import pathlib
import re
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine, _text, address, opening  # noqa: E402
from guest import frame  # noqa: E402
from netconn import NETC_GO, NETC_OPEN, NETC_RESET, NETC_TO  # noqa: E402
from origins import ADDRESS, Origins  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

tmp = o = e = None
reached = []
PORT = 0


def setup():
    global tmp, o, e, PORT
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-lies-"))
    o = Origins(tmp / "origins")
    canary = socket.create_server((ADDRESS, 0), backlog=64)
    PORT = canary.getsockname()[1]

    def serve():
        while True:
            c, _ = canary.accept()
            reached.append(c.recv(4096))
            c.sendall(b"reached")
            c.close()
    threading.Thread(target=serve, daemon=True).start()
    e = engine()


def teardown():
    e.close()
    o.close()
    shutil.rmtree(tmp, ignore_errors=True)


def engine(**kw):
    return Engine(tmp, ["**.test", f"tcp **.test:{PORT}", f"tcp {ADDRESS}:{PORT}"], dns=f"{ADDRESS}:{o.dns}", ca_file=o.ca, **kw)


def payload(name=b"origin.test", dst="198.18.0.9", port=None, version=1, texts=(b"curl", b"curl it", b""), tail=b""):
    """NETC_OPEN's, any field of which may be a lie."""
    put = lambda b: struct.pack("<H", len(b)) + b  # noqa: E731
    return struct.pack("<H", version) + address(dst) + struct.pack("<H", PORT if port is None else port) + put(name) + struct.pack("<II", 7, 1000) + b"".join(map(put, texts)) + tail


def head(kind=NETC_OPEN, flags=0, zero=0, n=0):
    return struct.pack("<BBHI", kind, flags, zero, n)


def client_hello(name):
    out = ssl.MemoryBIO()
    t = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    try:
        t.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def answer(s):
    """All that came back until the end."""
    got = b""
    try:
        while part := s.recv(4096):
            got += part
    except ConnectionResetError:
        pass
    s.close()
    return got


def told():
    return pathlib.Path(e.log).read_text().count("opened a connection that is none")


def impossible():
    """Rows that are no opening at all: what is said, and whether its sender ends there."""
    good = payload()
    whole = frame(NETC_OPEN, good)
    rows = {f"cut after {n} bytes": (whole[:n], True) for n in (1, 7, 8, 9, 10, 26, 28, 30, 41, 49, len(whole) - 1)}
    rows.update({
        "longer than any": (head(n=2049) + bytes(2049), False),
        "a length of four gigabytes": (head(n=0xffffffff) + good, False),
        "a length of none": (head(n=0), False),
        "a length shorter than what is said": (head(n=len(good) - 2) + good, False),
        "a length longer than what is said": (head(n=len(good) + 2) + good + b"\0\0", False),
        "a field that must be zero": (head(zero=1, n=len(good)) + good, False),
        "garbage behind the last field": (frame(NETC_OPEN, payload(tail=b"garbage")), False),
        "version 0": (frame(NETC_OPEN, payload(version=0)), False),
        "version 2": (frame(NETC_OPEN, payload(version=2)), False),
        "version 65535": (frame(NETC_OPEN, payload(version=0xffff)), False),
        "port 0": (frame(NETC_OPEN, payload(port=0)), False),
        "a string longer than the frame": (frame(NETC_OPEN, good[:20] + struct.pack("<H", 0xffff) + b"a" * 300), False),
        "a command without end": (frame(NETC_OPEN, payload(texts=(b"c" * 64, b"", b""))), False),
        "arguments without end": (frame(NETC_OPEN, payload(texts=(b"", b"c" * 256, b""))), False),
        "a container without end": (frame(NETC_OPEN, payload(texts=(b"", b"", b"c" * 64))), False),
        "a NUL in the command": (frame(NETC_OPEN, payload(texts=(b"cu\0rl", b"", b""))), False),
        "NETC_GO": (frame(NETC_GO), False), "NETC_RESET": (frame(NETC_RESET), False), "NETC_TO": (frame(NETC_TO, struct.pack("<H", 22)), False),
        "another protocol's frame": (frame(1, good), False), "frame 0": (frame(0, good), False), "frame 255": (frame(255, good), False),
        "HTTP": (b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n", False), "TLS": (client_hello("origin.test"), False), "NULs": (bytes(4096), False),
    })
    names = {"a NUL in the name": b"origin.test\0.evil.test", "a NUL as name": b"\0", "a control character": b"ori\x01gin.test", "an escape sequence": b"\x1b[2Jorigin.test", "a line end": b"origin.test\nallow",
             "a blank": b"origin test", "UTF-8": "örigin.test".encode(), "overlong UTF-8": b"origin\xc0\xae.test", "0xff": b"\xff" * 8, "254 characters": b"a." * 124 + b"a.test",
             "1,900 characters": b"a" * 1900, "a label of 64": b"a" * 64 + b".test", "an empty label": b"origin..test", "a dot first": b".origin.test", "a dot last": b"origin.test.", "a dot": b".",
             "upper case": b"ORIGIN.test", "a slash": b"origin.test/x", "a port": b"origin.test:443", "a user": b"x@origin.test", "a wildcard": b"*.test", "an address": ADDRESS.encode(),
             "an IPv6 address": b"::1", "in brackets": b"[::1]", "a decimal address": b"2130706433", "a hex address": b"0x7f000001", "an octal one": b"0177.0.0.1", "an address's short form": b"127.1"}
    rows.update({f"a name that is none: {k}": (frame(NETC_OPEN, payload(name=v)), False) for k, v in names.items()})
    return rows


@case
def what_is_true_goes_through():
    "said rightly it reaches the server: by name, and by an address that a rule names"
    for data in (opening("origin.test", PORT), frame(NETC_OPEN, payload()), opening(ADDRESS, PORT)):
        s = e.connect_raw(data + b"\1hello")
        equal(answer(s), frame(NETC_GO) + b"reached")
    equal(len(reached), 3)


@case
def what_cannot_be_is_closed():
    "truncated, oversized, of another version, with names that are none, with garbage behind: closed, told, and nobody is reached"
    before = told()
    wrong = {}
    for what, (data, ends) in impossible().items():
        s = e.connect_raw(data if ends else data + b"\1hello", timeout=8)
        if ends:
            s.shutdown(socket.SHUT_WR)
        if got := answer(s):
            wrong[what] = got
    equal(wrong, {})
    equal(len(reached), 3)
    wait_for(lambda: told() > before, 5, "a line about it")
    assert told() - before <= 25, "a guest fills the log"


@case
def of_another_generation():
    "a connection of another generation, or to another port, is closed unheard"
    for lie in ({"dial_gen": 2}, {"dial_gen": 0}, {"dial_gen": 0xffffffff}, {"dial_port": 3}, {"dial_port": 0}):
        with engine(**lie) as other:
            try:
                equal(answer(other.connect_raw(opening("origin.test", PORT) + b"\1hello", timeout=8)), b"", lie)
            except BrokenPipeError:
                pass  # closed before it could speak
            other.alive()
    equal(len(reached), 3)


def denied(s, why):
    """In words, over TLS of bulkhead-net's own: which this client does not go on with."""
    equal(s.recv(1)[0] in (NETC_GO, NETC_RESET), True)
    e.wait(rf"^decided deny {why}")
    s.close()


@case
def what_is_no_truth_is_denied():
    "a name and an address or port that are another's, a name that the ClientHello or the Host contradict, metadata by number: denied, with a record"
    n = len(reached)
    # The address says nothing where there is a name: the name is resolved again here, and the port is the one connected to.
    equal(answer(e.connect_raw(frame(NETC_OPEN, payload(dst="169.254.169.254")) + b"\1hello")), frame(NETC_GO) + b"reached")
    equal(len(reached), n + 1)
    for k, dst in enumerate(("10.0.0.1", "169.254.169.254", "127.0.0.2", "::1", "fe80::1", "64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:0:0", "198.18.0.9", "255.255.255.255", "0.0.0.0"), 1):
        s = e.connect_raw(frame(NETC_OPEN, payload(name=b"", dst=dst)) + b"\1hello")
        equal(answer(s), frame(NETC_RESET), dst)
        wait_for(lambda: len(re.findall(rf"^decided deny :{PORT} ", e.said(), re.M)) == k, 5, f"the record about {dst}")
    denied(e.connect_raw(frame(NETC_OPEN, payload(name=b"other.test")) + client_hello("origin.test")), r"other\.test:\d+ .*\[its ClientHello names another host\]")
    denied(e.connect_raw(frame(NETC_OPEN, payload()) + client_hello("origin.test")[:1] + b"\3\1\0\1\0"), r"origin\.test:\d+ .*\[its ClientHello is not one\]")
    s = e.connect_raw(frame(NETC_OPEN, payload()) + b"GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
    contains(answer(s).decode("latin1"), "HTTP/1.1 421 ")
    equal(len(reached), n + 1)


@case
def it_lives():
    "after all of it the same process serves the next connection; a thousand that say nothing, or half of it, stop nobody"
    silent = [e.connect_raw(opening("origin.test", PORT)[:k % 40]) for k in range(1000)]
    equal(answer(e.connect_raw(opening("origin.test", PORT) + b"\1hello")), frame(NETC_GO) + b"reached")
    for s in silent:
        s.close()
    equal(answer(e.connect_raw(opening("origin.test", PORT) + b"\1hello")), frame(NETC_GO) + b"reached")
    equal(e.p.poll(), None)
    contains(pathlib.Path(f"/proc/{e.pid}/comm").read_text(), "bulkhead-net")


if __name__ == "__main__":
    main(setup, teardown)
