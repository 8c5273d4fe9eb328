#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bulkhead-review against a guest that lies: this program is its supervisor, its machine and its guest. No sandbox is booted."""
import array
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

GEN = 7
START, ASK, READY, SYNCED, COUNTS, ANSWER = 500, 502, 520, 521, 522, 523
WATCH, READS, BEGIN, ENTRY, GONE, DONE_ALL, READ, DATA, FAILED, DISCARD, DONE = range(128, 139)
FILE, DIR, SYMLINK, FIFO, SOCKET, DEVICE, WHITEOUT = range(7)
KEEP = 139
MODES = ("review", "ro", "live", "clone", "none")
LIST, DIFF, PATCH, APPLY, DROP, UNDO, HISTORY = range(7)
ALL, DRY_RUN = 1, 2
SETID, ABSOLUTE, ESCAPES = 1, 4, 8
ALL_OF_IT = b"0123456789abcdef"


def s16(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<H", len(data)) + data


def frame(kind, payload=b""):
    return struct.pack("<BBHI", kind, 0, 0, len(payload)) + payload


def entry(path, kind=FILE, size=5, mode=0o644, redirect="", link="", opaque=0, nlink=1):
    return frame(ENTRY, struct.pack("<BBHIQQQ", kind, opaque, mode, nlink, size, 1, time.monotonic_ns()) + s16(path) + s16(redirect) + s16(link))


def data(number, content, kind=FILE, last=1, mode=0o644, offset=0, size=None):
    return frame(DATA, struct.pack("<IBBHQQQ", number, kind, last, mode, len(content) if size is None else size, 1, offset) + struct.pack("<I", len(content)) + content)


def item(path, named=False, flags=0, digest=None, old=None, hunks=()):
    return s16(path) + struct.pack("<BBH", bool(digest) | bool(old) << 1, named, flags) + (digest or bytes(32)) + (old or bytes(32)) + struct.pack(f"<H{len(hunks)}H", len(hunks), *hunks)


class Tree:
    """A tree of core/proto/tree.h as Python values."""

    def __init__(self, b):
        self.b, self.at = b, 0
        self.value = self.read(False)
        assert self.at == len(b), "something behind the tree"

    def take(self, n):
        self.at += n
        return self.b[self.at - n:self.at]

    def read(self, keyed):
        tag = self.take(1)
        if tag == b"e":
            return StopIteration
        key = self.take(struct.unpack("<H", self.take(2))[0]).decode() if keyed else None
        v = {b"t": True, b"f": False, b"n": None}.get(tag)
        if tag == b"s":
            v = self.take(struct.unpack("<I", self.take(4))[0]).decode()
        elif tag == b"i":
            v = struct.unpack("<q", self.take(8))[0]
        elif tag in b"oa":
            items = []
            while (x := self.read(tag == b"o")) is not StopIteration:
                items.append(x)
            v = dict(items) if tag == b"o" else items
        return (key, v) if keyed else v


class Stream:
    """One of the guest's: what the host wrote is cut in frames."""

    def __init__(self, sock):
        self.s, self.buf = sock, b""
        self.s.settimeout(20)

    def frame(self):
        while len(self.buf) < 8 or len(self.buf) < 8 + struct.unpack_from("<I", self.buf, 4)[0]:
            got = self.s.recv(65536)
            if not got:
                raise ConnectionError("closed")
            self.buf += got
        n = struct.unpack_from("<I", self.buf, 4)[0]
        kind, payload = self.buf[0], self.buf[8:8 + n]
        self.buf = self.buf[8 + n:]
        return kind, payload

    def request(self):
        """A READ, DISCARD or KEEP: its number and path."""
        kind, p = self.frame()
        assert kind in (READ, DISCARD, KEEP), kind
        number, _index = struct.unpack_from("<IB", p)
        return number, p[23:].decode("utf-8", "surrogateescape"), kind

    def closed(self):
        self.s.settimeout(20)
        try:
            while self.s.recv(65536):
                pass
        except ConnectionResetError:
            pass
        return True


class Review:
    def __init__(self, hide=".env*\n", executes="[a build file]\nMakefile\n", live=False):
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="bh-liar-"))
        self.w, self.state = self.top / "w", self.top / "state"
        for d in (self.w, self.state, self.top / "outside"):
            d.mkdir()
        (self.top / "outside/secret").write_text("the host's own\n")
        (self.w / "file").write_text("text\n")
        (self.w / ".env").write_text("PASSWORD=1\n")
        (self.w / "escape").symlink_to("../outside")
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.dial, dial = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self.top / "listen"))
        listener.listen(1)
        log = os.open(self.top / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        keep = [theirs.fileno(), listener.fileno()]

        def place():
            a, b = os.dup(keep[0]), os.dup(keep[1])
            os.dup2(a, 3)
            os.dup2(b, 4)
        self.p = subprocess.Popen([str(BUILD / "bulkhead-review")], close_fds=False, preexec_fn=place, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        theirs.close()
        dirs = [os.open(self.state, os.O_RDONLY | os.O_DIRECTORY), os.open(self.w, os.O_PATH | os.O_DIRECTORY)]
        start = s16("x") + struct.pack("<H", 1) + bytes([MODES.index("live" if live else "review")]) + s16(str(self.w)) + s16(hide) + s16(executes)
        self.control.sendmsg([struct.pack("<HHI", START, 0, GEN) + start],
                             [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [dial.fileno(), log, *dirs]))])
        for fd in (log, *dirs):
            os.close(fd)
        dial.close()
        listener.close()
        self.counts, self.answers, self.asked, self.tokens = None, {}, 0, []
        self.control.settimeout(30)
        self.dial.settimeout(20)
        self.until(lambda: self.synced)

    synced = False

    def hear(self):
        m = self.control.recv(65536)
        if not m:
            raise AssertionError(f"bulkhead-review is gone: {self.p.wait()}\n{(self.top / 'log').read_text()}")
        kind, p = struct.unpack_from("<H", m)[0], m[8:]
        if kind == SYNCED:
            self.synced = True
        elif kind == COUNTS:
            self.counts = dict(zip(("index", "ready", "truncated", "files", "conflicts", "marked", "add", "del"), struct.unpack("<BBBIIIQQ", p)))
        elif kind == ANSWER:
            number, last, code, n = struct.unpack_from("<IBII", p)
            got = self.answers.setdefault(number, [b"", None])
            got[0] += p[13:13 + n]
            if last:
                got[1] = code

    def until(self, fn):
        while not fn():
            self.hear()

    def stream(self):
        """The next stream it dials: ("watch" or "reads", Stream)."""
        m = self.dial.recv(64)
        _kind, gen, port, token = struct.unpack("<IIII", m)
        equal((gen, port), (GEN, 5))
        mine, theirs = socket.socketpair()
        self.dial.sendmsg([struct.pack("<IIII", 2, GEN, 5, token)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))])
        theirs.close()
        st = Stream(mine)
        kind, _ = st.frame()
        return {WATCH: "watch", READS: "reads"}[kind], st

    def both(self):
        got = dict((self.stream(), self.stream()))
        return got["watch"], got["reads"]

    def ask(self, op, *paths, limit=1000, how=0, index=0, **more):
        self.asked += 1
        p = struct.pack("<BBBIII", op, index, how, 0, limit, 3) + s16("") + struct.pack("<I", len(paths)) + b"".join(item(x, **more) for x in paths)
        self.control.send(struct.pack("<HHI", ASK, 0, GEN) + struct.pack("<IBII", self.asked, 1, 0, len(p)) + p)
        return self.asked

    def answer(self, number):
        """(0, value) or (errno, sentence)."""
        self.until(lambda: self.answers.get(number, (0, None))[1] is not None)
        text, code = self.answers.pop(number)
        return (code, text.decode()) if code else (0, Tree(text).value)

    def apply(self, *paths, **more):
        """What was applied, and of what was not: its kind by path."""
        code, v = self.answer(self.ask(APPLY, *paths, **more))
        equal(code, 0, v)
        return v["applied"], {s["path"]: s["kind"] for s in v["skipped"]}

    def entries(self):
        code, v = self.answer(self.ask(LIST))
        equal(code, 0)
        return {e["path"]: e for e in v["workspaces"][0]["entries"]}

    def close(self):
        self.p.kill()
        self.p.wait()
        shutil.rmtree(self.top, ignore_errors=True)


def serve(reads, **files):
    """Answers the next request."""
    number, path, _ = reads.request()
    reads.s.sendall(data(number, files[path]))


def serve_all(reads, content):
    try:
        while True:
            number, _, _ = reads.request()
            reads.s.sendall(data(number, content))
    except OSError:
        pass


def with_review(fn=None, **more):
    if not fn:
        return lambda fn: with_review(fn, **more)

    def run():
        r = Review(**more)
        try:
            fn(r)
            equal(r.p.poll(), None, "bulkhead-review runs on")
            equal((r.top / "outside/secret").read_text(), "the host's own\n")
            equal(os.listdir(r.top / "outside"), ["secret"])
            equal((r.w / ".env").read_text(), "PASSWORD=1\n")
            equal("the host's own" in (r.top / "log").read_text(), False)
        finally:
            r.close()
    run.__name__ = fn.__name__
    return case(run)


@with_review
def an_honest_guest_first(r):
    watch, reads = r.both()
    watch.s.sendall(frame(BEGIN, ALL_OF_IT) + entry("new", size=4) + entry("file", size=9) + frame(DONE_ALL, b"\0"))
    for _ in range(2):
        serve(reads, new=b"abc\n", file=b"text\nmore\n")
    r.until(lambda: r.counts and r.counts["files"] == 2 and r.counts["add"] == 2)
    equal({p: e["kind"] for p, e in r.entries().items()}, {"new": "added", "file": "modified"})


@with_review
def garbage_ends_the_stream_and_nothing_else(r):
    watch, reads = r.both()
    for bad in (b"\xff" * 64, frame(ENTRY, b"x"), frame(BEGIN, b"short"), entry("before-begin"), frame(200, b""), struct.pack("<BBHI", ENTRY, 0, 0, 1 << 30)):
        watch.s.sendall(bad)
        equal(watch.closed(), True)
        kind, watch = r.stream()
        equal(kind, "watch")
    watch.s.sendall(frame(BEGIN, ALL_OF_IT) + entry("new") + frame(DONE_ALL, b"\0"))
    serve(reads, new=b"x\n")
    r.until(lambda: r.counts and r.counts["files"] == 1)


@with_review
def no_path_leads_out(r):
    watch, reads = r.both()
    for bad in ("../outside/secret", "/etc/passwd", "a/../../outside/secret", "", "a//b", ".", "a/."):
        watch.s.sendall(frame(BEGIN, ALL_OF_IT) + entry(bad))
        equal(watch.closed(), True)
        kind, watch = r.stream()
        equal(kind, "watch")
    for bad in ({"redirect": "../outside"}, {"redirect": "/etc"}):
        watch.s.sendall(frame(BEGIN, ALL_OF_IT) + entry("d", DIR, **bad))
        equal(watch.closed(), True)
        _, watch = r.stream()
    # Through the host's own link, and a directory said to come from a hidden name or through the link.
    watch.s.sendall(frame(BEGIN, ALL_OF_IT) + entry("escape/secret") + entry("d", DIR, redirect="escape") + entry("e", DIR, redirect=".env") + entry("escape", DIR) +
                    frame(DONE_ALL, b"\0"))
    threading.Thread(target=serve_all, args=(reads, b"mine\n"), daemon=True).start()
    r.until(lambda: r.counts and r.counts["ready"])
    got = r.entries()
    equal(sorted(got), ["escape", "escape/secret"])
    equal((got["escape/secret"]["kind"], got["escape"]["kind"]), ("added", "type"))
    code, v = r.answer(r.ask(DIFF, "escape/secret"))
    equal((code, [x["k"] + x["t"] for x in v["hunks"][0]["lines"]]), (0, ["+mine"]))


def told(r, *entries):
    watch, reads = r.both()
    watch.s.sendall(frame(BEGIN, ALL_OF_IT) + b"".join(entries) + frame(DONE_ALL, b"\0"))
    return watch, reads


@with_review
def content_is_what_comes_not_what_was_claimed(r):
    # A size over what is looked at unasked: nothing is read before it is asked for.
    watch, reads = told(r, entry("big", size=1 << 60), entry("swapped", size=30 << 20))
    r.until(lambda: r.counts and r.counts["files"] == 2)
    equal(r.entries()["big"]["flags"], ["large"])
    n = r.ask(DIFF, "swapped")
    number, path, _ = reads.request()
    equal(path, "swapped")
    reads.s.sendall(data(number, b"../outside/secret", kind=SYMLINK, mode=0o777))
    code, v = r.answer(n)
    equal((code, v["type"], v["new_size"]), (0, "symlink", 17))
    n = r.ask(DIFF, "big")
    number, path, _ = reads.request()
    reads.s.sendall(data(number, b"small\n", size=1 << 60))
    code, v = r.answer(n)
    equal((code, v["new_size"], len(v["hunks"])), (0, 6, 1))


@with_review
def answers_to_what_was_not_asked_cut_it_off(r):
    watch, reads = told(r, entry("a", size=30 << 20))
    r.until(lambda: r.counts and r.counts["files"] == 1)
    for lie in (lambda n: data(n + 1, b"x"), lambda n: data(n, b"x", offset=7), lambda n: frame(DONE, struct.pack("<I", n)), lambda n: b"\xff" * 32,
                lambda n: data(n, b"x", last=0) + data(n, b"y", kind=SYMLINK, offset=0), lambda n: data(n, b"", last=0) * 3, lambda n: frame(FAILED, struct.pack("<II", n, 0))):
        n = r.ask(DIFF, "a")
        number, _, _ = reads.request()
        reads.s.sendall(lie(number))
        code, text = r.answer(n)
        equal(code != 0, True, f"code of {lie(1)!r}")
        contains(text, "does not answer as it should")
        equal(reads.closed(), True)
        # Nothing waits for it meanwhile.
        code, text = r.answer(r.ask(DIFF, "a"))
        contains(text, "does not answer")
        kind, reads = r.stream()
        equal(kind, "reads")
        # Something good in between, or it would be asked less and less often.
        n = r.ask(DIFF, "a")
        serve(reads, a=b"good\n")
        equal(r.answer(n)[0], 0)
    n = r.ask(DIFF, "a")
    number, _, _ = reads.request()
    reads.s.close()
    equal(r.answer(n)[0] != 0, True)


class Guest(threading.Thread):
    """Answers requests: for content with what `has` says of the path (bytes, or a function of the request's number that makes frames), for the rest with DONE."""

    def __init__(self, reads, **has):
        super().__init__(daemon=True)
        self.reads, self.has, self.discarded = reads, has, []
        self.start()

    def run(self):
        try:
            while True:
                number, path, kind = self.reads.request()
                what = self.has.get(path, b"")
                if kind == READ:
                    self.reads.s.sendall(what(number) if callable(what) else data(number, what))
                else:
                    self.discarded.append(path)
                    self.reads.s.sendall(frame(DONE, struct.pack("<I", number)))
        except OSError:
            pass


def link(text):
    return lambda number: data(number, text, kind=SYMLINK, mode=0o777)


@with_review
def an_honest_apply_and_the_way_back(r):
    watch, reads = told(r, entry("file", size=6), entry("new", DIR), entry("new/deep", size=4))
    guest = Guest(reads, **{"file": b"other\n", "new/deep": b"new\n"})
    r.until(lambda: r.counts and r.counts["files"] == 2)
    equal(r.apply("file", "new/deep"), (["file", "new/deep"], {}))
    equal(((r.w / "file").read_text(), (r.w / "new/deep").read_text()), ("other\n", "new\n"))
    equal(guest.discarded, ["file", "new/deep"])
    # The guest is not needed for the way back.
    watch.s.close()
    reads.s.close()
    code, v = r.answer(r.ask(UNDO, index=255))
    equal((code, sorted(v["undone"]), (r.w / "file").read_text(), (r.w / "new").exists()), (0, ["file", "new", "new/deep"], "text\n", False))


@with_review
def links_that_lead_out_by_way_of_another_are_flagged(r):
    watch, reads = told(r, entry("a", SYMLINK, link="."), entry("b", SYMLINK, link="a/../../outside/secret"), entry("c", SYMLINK, link="/etc/passwd"))
    Guest(reads, a=link(b"."), b=link(b"a/../../outside/secret"), c=link(b"/etc/passwd"))
    r.until(lambda: r.counts and r.counts["files"] == 3)
    equal({p: e["flags"] for p, e in r.entries().items()}, {"a": [], "b": ["symlink-escapes"], "c": ["symlink-absolute"]})
    equal(r.apply(how=ALL), (["a"], {"b": "flag", "c": "flag"}))
    # A name consents to what would be run; where a link leads is said by its own word, which is of the link's own kind.
    equal(r.apply("b", "c", named=True), ([], {"b": "flag", "c": "flag"}))
    equal(r.apply("b", "c", named=True, flags=ABSOLUTE), (["c"], {"b": "flag"}))
    equal((os.path.lexists(r.w / "b"), os.readlink(r.w / "c")), (False, "/etc/passwd"))


@with_review
def what_is_applied_is_what_was_told_and_seen(r):
    watch, reads = told(r, entry("src.c"), entry("stays", SYMLINK, link="file"), entry("tool", mode=0o755), entry("pipe"), entry("gone"), entry("file", size=6))
    Guest(reads, **{"src.c": link(b"/etc/passwd"), "stays": link(b"/etc/passwd"), "tool": lambda n: data(n, b"x\n", mode=0o4755), "pipe": lambda n: data(n, b"", kind=FIFO),
                    "gone": lambda n: data(n, b"", kind=WHITEOUT), "file": b"other\n"})
    r.until(lambda: r.counts and r.counts["files"] == 5)  # what is not there after all is no change
    names = ("src.c", "stays", "tool", "pipe", "gone")
    want = {"src.c": "changed", "stays": "flag", "tool": "flag", "pipe": "changed"}
    equal(r.apply(*names, named=True), ([], {**want, "gone": "gone"}))
    equal(r.apply(how=ALL), (["file"], want))
    equal(sorted(os.listdir(r.w)), [".env", "escape", "file"])
    (r.w / "file").write_text("text\n")
    # Even with every consent a file does not become a link.
    equal(r.apply("src.c", "pipe", named=True, flags=0xff), ([], {"src.c": "changed", "pipe": "changed"}))
    equal(r.apply("tool", named=True, flags=SETID), (["tool"], {}))
    equal((r.w / "tool").stat().st_mode & 0o7777, 0o755)
    (r.w / "tool").unlink()


@with_review
def a_digest_holds_on_both_sides(r):
    (r.w / "file").write_text("".join(f"line {i}\n" for i in range(40)))
    theirs = "".join(f"line {i}\n" for i in range(40)).replace("line 3\n", "three\n").replace("line 30\n", "thirty\n").encode()
    has = {"file": theirs}
    watch, reads = told(r, entry("file", size=len(theirs)))
    guest = Guest(reads, **has)
    r.until(lambda: r.counts and r.counts["files"] == 1)
    code, v = r.answer(r.ask(DIFF, "file"))
    seen, old = bytes.fromhex(v["digest"]), bytes.fromhex(v["old_digest"])
    equal((code, len(v["hunks"])), (0, 2))
    # The first hunk is taken by somebody else: what was the second is the first now.
    equal(r.apply("file", digest=seen, old=old, hunks=(0,)), (["file"], {}))
    equal(r.apply("file", digest=seen, old=old, hunks=(0,)), ([], {"file": "changed"}))
    equal("thirty" in (r.w / "file").read_text(), False)
    guest.has["file"] = theirs + b"more\n"
    equal(r.apply("file", digest=seen, hunks=(0,)), ([], {"file": "changed"}))
    equal("thirty" in (r.w / "file").read_text(), False)


@with_review
def a_file_in_a_directory_s_place(r):
    for path in ("d/a", "d/sub/b", "kept/a", "kept/.env"):
        (r.w / path).parent.mkdir(parents=True, exist_ok=True)
        (r.w / path).write_text("x\n")
    watch, reads = told(r, entry("d", size=4), entry("kept", SYMLINK, link="file"), entry("open", mode=0o666))
    Guest(reads, d=b"now\n", kept=link(b"file"), open=lambda n: data(n, b"x\n", mode=0o666))
    r.until(lambda: r.counts and r.counts["files"] == 6)
    equal({p: e["kind"] for p, e in r.entries().items()}, {"d": "type", "d/a": "deleted", "d/sub/b": "deleted", "kept": "type", "kept/a": "deleted", "open": "added"})
    code, v = r.answer(r.ask(APPLY, how=ALL))
    equal((code, (r.w / "d").read_text(), (r.w / "open").stat().st_mode & 0o777), (0, "now\n", 0o664))
    # What the sandbox never saw holds its directory.
    equal([(s["path"], s["kind"]) for s in v["skipped"]], [("kept", "conflict")])
    equal(os.listdir(r.w / "kept"), [".env"])
    code, v = r.answer(r.ask(UNDO, index=255))
    equal((code, v["why"], (r.w / "d/sub/b").read_text(), (r.w / "d/a").read_text()), (0, "", "x\n", "x\n"))


@with_review
def a_hidden_file_is_no_half_of_a_rename(r):
    watch, reads = told(r, entry(".env", WHITEOUT), entry("copy", size=11))
    Guest(reads, copy=b"PASSWORD=1\n")
    r.until(lambda: r.counts and r.counts["files"] == 2)
    got = r.entries()
    equal({p: (e["kind"], e["conflict"]) for p, e in got.items()}, {".env": ("deleted", True), "copy": ("added", False)})
    equal(r.apply(how=ALL), (["copy"], {".env": "flag"}))
    equal(r.apply(".env", named=True), ([], {".env": "conflict"}))


@with_review
def lies_in_the_middle_of_an_apply(r):
    "an answer that cannot be writes nothing; one that comes after the file was written takes nothing back"
    watch, reads = told(r, entry("b", size=30 << 20))
    r.until(lambda: r.counts and r.counts["files"] == 1)
    for lie in (lambda n: data(n, b"x" * 5, offset=7), lambda n: data(n, b"half\n", last=0) + data(n + 1, b"half\n", offset=5), lambda n: data(n, b"x", last=0) + b"\xff" * 64):
        Guest(reads, b=lie)
        equal(r.apply("b", named=True, flags=0xff), ([], {"b": "error"}))
        equal(reads.closed(), True)
        _, reads = r.stream()
        equal(sorted(os.listdir(r.w)), [".env", "escape", "file"])
    watch.s.sendall(frame(GONE, s16("b")) + entry("file"))
    number, after = [], []

    def serve_and_lie():
        while (x := reads.request())[2] == READ:
            reads.s.sendall(data(x[0], b"12345"))
        number.append(x[1])
        reads.s.sendall(frame(DONE, struct.pack("<I", x[0] + 1)))
        after.append(reads.closed())
    t = threading.Thread(target=serve_and_lie, daemon=True)
    t.start()
    wait_for(lambda: "file" in r.entries(), 20, "the file")
    equal(r.apply("file"), (["file"], {}))
    t.join(20)
    equal((number, after, (r.w / "file").read_text()), (["file"], [True], "12345"))


@with_review
def a_discard_is_the_guest_s_and_only_there(r):
    watch, reads = told(r, entry("file", size=9), entry("x", size=9))
    guest = Guest(reads, file=b"new text\n", x=b"new text\n")
    r.until(lambda: r.counts and r.counts["files"] == 2)
    code, v = r.answer(r.ask(DROP, "file", "x"))
    equal((code, v["discarded"], guest.discarded), (0, ["file", "x"], ["file", "x"]))
    equal(((r.w / "file").read_text(), sorted(os.listdir(r.w))), ("text\n", [".env", "escape", "file"]))
    # It says that it did and tells the same again: then it is a change still, and the host's file is the host's.
    watch.s.sendall(entry("file", size=9))
    wait_for(lambda: r.entries().get("file", {}).get("kind") == "modified", 20, "the change")


@with_review(live=True)
def what_a_live_sandbox_does_to_git_is_shown_where_it_would_run(r):
    for path, text in ((".git/hooks/pre-commit", "#!/bin/sh\n"), (".git/config", "[core]\n"), (".git/index", "x"), (".git/objects/ab/cd", "x"), ("sub/.git/hooks/post-checkout", "x")):
        (r.w / path).parent.mkdir(parents=True, exist_ok=True)
        (r.w / path).write_text(text)
    (r.w / "tree").mkdir()
    (r.w / "tree/.git").write_text("gitdir: /elsewhere\n")
    wait_for(lambda: sorted(r.entries()) == [".git/config", ".git/hooks/pre-commit", "sub/.git/hooks/post-checkout", "tree/.git"], 20, "what would run")


@with_review
def a_guest_that_drips_is_cut_off(r):
    "what it sends byte by byte is waited for no longer than nothing at all; others' questions go on, and it is asked less and less often"
    watch, reads = told(r, entry("a", size=1000))

    def drip(reads, gap):
        number, _, _ = reads.request()
        began = time.monotonic()
        try:
            for at in range(1000):
                reads.s.sendall(data(number, b"x", last=0, offset=at))
                time.sleep(gap)
        except OSError:
            pass
        return time.monotonic() - began
    for least, gap in ((1, 0.2), (2, 0.02)):
        took = drip(reads, gap)
        equal(took < 10, True, f"{took} s")
        code, v = r.answer(r.ask(LIST))
        equal((code, len(v["workspaces"][0]["entries"])), (0, 1))
        began = time.monotonic()
        _, reads = r.stream()
        equal(time.monotonic() - began > least - 0.5, True, "asked again too soon")


@with_review
def content_without_an_end_is_refused(r):
    watch, reads = told(r, entry("a", size=30 << 20))
    r.until(lambda: r.counts and r.counts["files"] == 1)
    n = r.ask(DIFF, "a")
    number, _, _ = reads.request()
    piece, at = b"z" * 49152, 0
    try:
        while at < 200 << 20:
            reads.s.sendall(data(number, piece, last=0, offset=at))
            at += len(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    code, _ = r.answer(n)
    equal((code != 0, at < 80 << 20), (True, True), f"{at >> 20} MiB were taken")
    rss = int(next(x for x in pathlib.Path(f"/proc/{r.p.pid}/status").read_text().splitlines() if x.startswith("VmHWM")).split()[1]) >> 10
    equal(rss < 300, True, f"{rss} MiB")


@with_review
def more_names_than_can_be(r):
    watch, reads = r.both()
    watch.s.sendall(frame(BEGIN, ALL_OF_IT))
    for i in range(0, 210000, 1000):
        watch.s.sendall(b"".join(entry(f"d/{i + k}", WHITEOUT, size=0) for k in range(1000)))
    watch.s.sendall(entry("late", WHITEOUT) + frame(DONE_ALL, b"\0"))
    r.until(lambda: r.counts and r.counts["ready"])
    equal((r.counts["truncated"], r.counts["files"]), (1, 0))
    for i in range(0, 210000, 1000):
        watch.s.sendall(b"".join(frame(GONE, s16(f"d/{i + k}")) for k in range(1000)))
    watch.s.sendall(frame(BEGIN, ALL_OF_IT) + entry("file", WHITEOUT) + frame(DONE_ALL, b"\0"))
    wait_for(lambda: list(r.entries()) == ["file"], 30, "the one that is left")


main()
