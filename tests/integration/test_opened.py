#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opened connections (netpolicy/opened.h) between real clients (curl, openssl, node, nghttp) and real servers: TAP."""
import base64
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD  # noqa: E402
from memory import outside_locked  # noqa: E402
from origin import BLOCK, Origin, certificate, pattern_sha  # noqa: E402
from tap import Skip, case, contains, equal, main, wait_for  # noqa: E402

GATE = BUILD / "tests/netpolicy/gate"
VALUE = "sekret-value-99"
DIR = pathlib.Path(tempfile.mkdtemp(prefix="bulkhead-opened."))
SECRET = ["--secret", "origin.test", "Authorization", "Bearer %s", "placeholder-1234", VALUE]


def file_of(blocks):
    path = DIR / f"{blocks}-blocks"
    with open(path, "wb") as f:
        for _ in range(blocks):
            f.write(BLOCK)
    return path


class Gate:
    def __init__(self, upstream, *args, roots=None):
        self.ca = DIR / "ca.pem"
        self.out = DIR / "gate.out"
        with open(self.out, "w") as out:
            self.p = subprocess.Popen([GATE, "--upstream", str(upstream), "--roots", str(roots or CRT), "--ca-out", str(self.ca), "--jail", *args], stdin=subprocess.PIPE, stdout=out)
        self.port = int(wait_for(lambda: re.match(r"listening (\d+).*\n", self.out.read_text()), 10, "the gate's port")[1])

    def said(self, pattern, seconds=5):
        return wait_for(lambda: re.search(pattern, self.out.read_text(), re.M), seconds, f"{pattern!r} in:\n{self.out.read_text()[-2000:]}")

    def count(self, pattern):
        return len(re.findall(pattern, self.out.read_text(), re.M))

    def rss_kib(self):
        return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{self.p.pid}/status").read_text())[1])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.p.stdin.close()
        try:
            status = self.p.wait(10)
        except subprocess.TimeoutExpired:
            self.p.kill()
            raise AssertionError("the gate does not end")
        if exc == (None, None, None):
            equal(status, 0, "the gate's end")

    def curl(self, path, *args, host="origin.test", scheme="https", check=True):
        port = 443 if scheme == "https" else 80
        r = subprocess.run(["curl", "-sS", "--max-time", "120", "--cacert", self.ca, "--connect-to", f"{host}:{port}:127.0.0.1:{self.port}", *args, f"{scheme}://{host}{path}"],
                           capture_output=True)
        if check and r.returncode:
            raise AssertionError(f"curl {path}: {r.stderr.decode()}\n{self.out.read_text()[-2000:]}")
        return r.stdout.decode(errors="replace") if check else r

    def tls(self, alpn=("http/1.1",), name="origin.test"):
        ctx = ssl.create_default_context(cafile=self.ca)
        ctx.set_alpn_protocols(list(alpn))
        s = ctx.wrap_socket(socket.create_connection(("127.0.0.1", self.port), timeout=10), server_hostname=name)
        return s


def read_all(s):
    data = b""
    try:
        while b := s.recv(65536):
            data += b
    except (ConnectionError, ssl.SSLError):
        pass
    return data


def read_until(s, end):
    data = b""
    while end not in data:
        b = s.recv(65536)
        if not b:
            raise AssertionError(f"ended with {data!r} before {end!r}")
        data += b
    return data


def setup():
    global CRT, KEY, ORIGIN
    CRT, KEY = certificate(DIR, "origin.test")
    ORIGIN = Origin((CRT, KEY))


def teardown():
    shutil.rmtree(DIR, ignore_errors=True)


@case
def requests_pass_in_both_versions():
    "GET, HEAD and lengths of zero in HTTP/1.1 and HTTP/2, decided with method and path, recorded with bytes and status"
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            equal(g.curl("/a", v), "hello /a\n")
            contains(g.curl("/a", v, "-I"), "ength: 9")
            equal(g.curl("/up", v, "-X", "POST").split()[0], "0")
        g.said(r"^decide 1 GET /a origin.test:443$")
        g.said(r"^closed \d+ verdict=0 status=200 in=0 out=9 service= GET /a \[allow origin.test\]$")


@case
def values_of_a_query_are_not_told():
    "the path that is decided about and recorded has a query's keys, not its values"
    with Gate(ORIGIN.port) as g:
        g.curl("/a?key=geheim&b&c=d=e?f")
        g.said(r"^decide 1 GET /a\?key=&b&c= ")
        equal(g.count("geheim"), 0)


@case
def denials_are_told_in_words():
    "a denied request gets a 403 that names host, rule and the operator's command, as text or JSON; nothing goes upstream"
    before = len(ORIGIN.seen)
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            text = g.curl("/deny/x", v, "-i")
            contains(text, " 403")
            contains(text, "deny origin.test GET /deny*")
            contains(text, "bulkhead policy allow origin.test --sandbox blue")
            page = json.loads(g.curl("/deny/x", v, "-H", "Accept: application/json"))
            equal(page["error"]["host"], "origin.test")
        equal(g.count("^connect"), 0)
    equal(len(ORIGIN.seen), before)


@case
def a_held_request_goes_on():
    "a request that waits for an answer goes on when it comes; the next one on the connection is decided by itself"
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            equal(g.curl("/ask/it", v), "hello /ask/it\n")
        with g.tls() as s:
            s.sendall(b"GET /ask/1 HTTP/1.1\r\nHost: origin.test\r\n\r\nGET /deny HTTP/1.1\r\nHost: origin.test\r\n\r\nGET /b HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
            data = read_all(s).decode()
        equal(re.findall(r"HTTP/1.1 (\d+)", data), ["200", "403", "200"])
        contains(data, "hello /b")


@case
def who_leaves_is_not_asked_about():
    "a client that goes away while it is held withdraws the question"
    with Gate(ORIGIN.port) as g:
        for alpn in ("--http1.1", "--http2"):
            g.curl("/never", alpn, "--max-time", "0.5", check=False)
        wait_for(lambda: g.count("^undecide") == 2, 20, "both questions to be withdrawn")


@case
def bodies_pass_whole_and_in_little_memory():
    "30 MB up and 50 MB down in both versions arrive unaltered through a process of less than 16 MB"
    body = file_of(460)
    sha = pattern_sha(460 * len(BLOCK))
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            equal(g.curl("/up", v, "--data-binary", f"@{body}"), f"{460 * len(BLOCK)} {sha}\n")
            equal(g.curl("/up", v, "-X", "POST", "-T", str(body), "-H", "Transfer-Encoding: chunked").split()[1], sha)
            out = DIR / "down"
            g.curl("/big?50000000", v, "-o", str(out))
            equal(subprocess.run(["sha256sum", out], capture_output=True, text=True).stdout.split()[0], pattern_sha(50000000))
        if "sanitized" not in g.out.read_text() and g.rss_kib() > 16384:
            raise AssertionError(f"{g.rss_kib()} KiB")


@case
def who_does_not_read_stops_the_server():
    "a guest that reads nothing makes the server wait: what lies between is bounded"
    for alpn in ("http/1.1",):
        with Gate(ORIGIN.port) as g, g.tls((alpn,)) as s:
            ORIGIN.sent = 0
            s.sendall(b"GET /big?500000000 HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            read_until(s, b"\r\n\r\n")
            last = [-1, 0]

            def still():
                last[0], last[1] = last[1], ORIGIN.sent
                return last[0] == last[1] > 0
            wait_for(still, 20, "the server to stop", every=0.5)
            if ORIGIN.sent > 32 << 20:
                raise AssertionError(f"{ORIGIN.sent} bytes are on their way")


@case
def chunks_and_trailers():
    "chunked answers and their trailers, in both versions; trailers of a request"
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            text = g.curl("/chunked", v, "-i")
            contains(text, "part 4\n")
            contains(text.lower(), "x-sum: 42")
        ORIGIN.trailers.clear()
        with g.tls() as s:
            s.sendall(b"POST /up HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-End: 7\r\nHost: evil\r\n\r\n")
            contains(read_all(s).decode(), "\r\n\r\n5 ")
        equal(ORIGIN.trailers, ["X-End: 7"])


@case
def events_are_not_held_back():
    "a server-sent event arrives before the next one is sent"
    with Gate(ORIGIN.port, *SECRET) as g:
        for _ in range(2):
            ORIGIN.gate.clear()
            with g.tls() as s:
                s.sendall(b"GET /events HTTP/1.1\r\nHost: origin.test\r\nConnection: close\r\n\r\n")
                read_until(s, b"data: 1\n\n")
                ORIGIN.gate.set()
                read_until(s, b"data: 2\n\n")


@case
def websocket():
    "a WebSocket upgrade passes bytes both ways until both ends are done; a denied one stays closed"
    head = "GET {} HTTP/1.1\r\nHost: origin.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    with Gate(ORIGIN.port) as g:
        with g.tls(("h2", "http/1.1")[1:]) as s:
            s.sendall(head.format("/ws").encode() + b"early")
            data = read_until(s, b"early")
            contains(data.decode(), "101 Switching Protocols")
            contains(data.decode(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            for n in (1, 1000, 200000):
                s.sendall(b"\x81" * n)
                got = 0
                while got < n:
                    got += len(s.recv(65536))
            s.unwrap().close()
        g.said(r"^closed 1 verdict=0 status=101 in=201006 out=201006 ")
        with g.tls() as s:
            s.sendall(head.format("/deny/ws").encode() + b"\x81\x05hello" * 10)
            data = read_all(s).decode(errors="replace")
            contains(data, "403 Forbidden")
            equal(data.count("HTTP/1.1"), 2 if "400" in data else 1)


@case
def continue_before_the_body():
    "100-continue comes from the server when it is allowed, and a denied upload is answered without its body"
    body = DIR / "small"
    body.write_bytes(b"x" * 3000)
    with Gate(ORIGIN.port) as g:
        with g.tls() as s:
            s.sendall(b"POST /up HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
            contains(read_until(s, b"\r\n\r\n").decode(), "100 Continue")
            s.sendall(b"abc")
            contains(read_all(s).decode(), "\r\n\r\n3 ")
        with g.tls() as s:
            s.sendall(b"POST /deny HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            contains(read_until(s, b"\r\n\r\n").decode(), "403 Forbidden")


@case
def early_answers():
    "an answer before the end of the request's body reaches the client in both versions, ours and the server's"
    body = file_of(200)
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            equal(g.curl("/deny", v, "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", f"@{body}"), "403")
            # Of no declared length: curl ends a body early once it has such an answer, which is a fault of HTTP/2 when a length was declared.
            equal(g.curl("/early", v, "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "-X", "POST", "-T", str(body), "-H", "Transfer-Encoding: chunked"), "413")


@case
def broken_answers():
    "an answer until the end of the connection passes; a cut one is seen to be cut; malformed ones are a 502 that says why"
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            equal(g.curl("/until-close", v), "until the end")
            r = g.curl("/short", v, check=False)
            if r.returncode == 0:
                raise AssertionError("a cut answer looks whole")
        for raw, why in ((b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Transfer-Encoding"), (b"nonsense\r\n\r\n", "not HTTP/1"),
                         (b"HTTP/1.1 200 OK\nA: b\n\n", "line feed"), (b"HTTP/1.1 101 Ok\r\n\r\n", "interim"), (b"", "without an answer")):
            contains(g.curl("/raw?" + base64.urlsafe_b64encode(raw).decode(), "-i"), " 502")
            contains(g.curl("/raw?" + base64.urlsafe_b64encode(raw).decode(), "--http1.1"), why)
        contains(g.curl("/raw?" + base64.urlsafe_b64encode(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").decode(), "--http1.1"), "ok")


@case
def one_connection_upstream_is_used_again():
    "requests on one connection share one to the server; one the server has closed meanwhile is replaced"
    with Gate(ORIGIN.port) as g:
        with g.tls() as s:
            for i in range(5):
                s.sendall(b"GET /r%d HTTP/1.1\r\nHost: origin.test\r\n\r\n" % i)
                read_until(s, b"hello /r%d\n" % i)
            equal(g.count("^connect 1"), 1)
            for _ in range(3):
                s.sendall(b"GET /once HTTP/1.1\r\nHost: origin.test\r\n\r\n")
                read_until(s, b"once\n")


@case
def a_request_that_may_have_been_seen_is_not_made_twice():
    "a connection kept for the next request that ends without an answer: what only reads is sent once more, what does something is not"
    with Gate(ORIGIN.port) as g:
        for method, times in (("GET", 2), ("HEAD", 2), ("POST", 1), ("DELETE", 1)):
            before = len(ORIGIN.seen)
            with g.tls() as s:
                s.sendall(b"GET /first HTTP/1.1\r\nHost: origin.test\r\n\r\n")
                read_until(s, b"hello /first\n")
                s.sendall(f"{method} /drop HTTP/1.1\r\nHost: origin.test\r\n\r\n".encode())
                contains(read_until(s, b"\r\n\r\n").decode(), "502")
            equal([m for m, path, _ in ORIGIN.seen[before:] if path == "/drop"], [method] * times)


@case
def another_host_is_misdirected():
    "Host and :authority must be the connection's; an absolute URI must agree; CONNECT is refused; lies about them reach nobody"
    before = len(ORIGIN.seen)
    with Gate(ORIGIN.port) as g:
        for v in ("--http1.1", "--http2"):
            contains(g.curl("/", v, "-i", "-H", "Host: evil.test"), " 421")
            contains(g.curl("/", v, "-i", "-H", "Host: origin.test:8443"), " 421")
        for head, status in ((b"GET http://evil.test/ HTTP/1.1\r\nHost: origin.test", 400), (b"GET / HTTP/1.1\r\nHost: origin.test\r\nHost: evil.test", 400),
                             (b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test", 421), (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: origin.test", 405),
                             (b"CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443", 405), (b"GET / HTTP/1.1\r\nHost: origin.test@evil.test", 400),
                             (b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\nHost: origin.test", 400), (b"GET /\tx HTTP/1.1\r\nHost: origin.test", 400), (b"GET / HTTP/1.1\r\nHost: origin.test\r\nX: a\n b", 400),
                             (b"POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked", 400),
                             (b"POST / HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: xchunked", 400), (b"GET / HTTP/1.1", 400), (b"\x00\x01\x02\x03\x04", 400)):
            with g.tls() as s:
                s.sendall(head + b"\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: origin.test\r\n\r\n")
                s.settimeout(10)
                data = read_until(s, b"\r\n\r\n").decode()
                contains(data.split("\r\n")[0], str(status))
    if any("smuggled" in path and fields.get("Host") != "origin.test" for _, path, fields in ORIGIN.seen[before:]):
        raise AssertionError(ORIGIN.seen[before:])


def h2_request(*fields, body=None, framed=b""):
    """One stream of HTTP/2, its fields as they are; literal, never indexed."""
    block = b"".join(b"\x10" + h2_string(n) + h2_string(v) for n, v in fields)
    frames = h2_frame(1, 4 if body is not None else 5, 1, block) + (h2_frame(0, 1, 1, body) if body is not None else b"")
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0) + framed + frames


def h2_string(s):
    return (bytes([len(s)]) if len(s) < 127 else b"\x7f" + bytes([len(s) - 127])) + s


def h2_frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def h2_outcome(s):
    """"200", ... of stream 1; "reset"; "goaway"; "closed"."""
    data, status = b"", None
    s.settimeout(10)
    while True:
        while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], "big"):
            try:
                b = s.recv(65536)
            except (ConnectionError, ssl.SSLError):
                b = b""
            if not b:
                return status or "closed"
            data += b
        n, kind, flags, stream = int.from_bytes(data[:3], "big"), data[3], data[4], int.from_bytes(data[5:9], "big")
        payload, data = data[9:9 + n], data[9 + n:]
        if kind == 1 and stream == 1:
            names = {0x88: "200", 0x89: "204", 0x8a: "206", 0x8b: "304", 0x8c: "400", 0x8d: "404"}
            status = names.get(payload[0]) or next((c for c in ("403", "405", "421", "400", "502") if huffman_or_plain(payload, c)), "other")
            return status
        if kind == 3:
            return "reset"
        if kind == 7:
            return "goaway"


def huffman_or_plain(payload, code):
    """nghttp2 packs what gets shorter: these two do, 403 and 405 do not."""
    packed = {"421": b"\x68\x41", "502": b"\x6c\x02"}
    return packed.get(code, code.encode()) in payload[:8]


@case
def lies_in_http2_reach_nobody():
    "fields of HTTP/2 that would be lines of HTTP/1, another authority beside a good one, lengths that are not so: the server sees none of it"
    good = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"origin.test"), (b":path", b"/h2")]

    def with_(i, value):
        return good[:i] + [(good[i][0], value)] + good[i + 1:]
    table = (
        ("good", good, None, {"200"}),
        ("another authority", with_(2, b"evil.test"), None, {"421"}),
        ("another port", with_(2, b"origin.test:8443"), None, {"421"}),
        ("host beside authority", good + [(b"host", b"evil.test")], None, {"reset"}),
        ("only a foreign host", good[:2] + good[3:] + [(b"host", b"evil.test")], None, {"421"}),
        ("user information", with_(2, b"origin.test@evil.test"), None, {"reset"}),
        ("a line in the path", with_(3, b"/x HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /y"), None, {"reset", "goaway"}),
        ("a blank in the path", with_(3, b"/x y"), None, {"reset", "goaway"}),
        ("no path", good[:3], None, {"reset"}),
        ("a relative path", with_(3, b"x"), None, {"reset"}),
        ("an absolute path", with_(3, b"https://evil.test/"), None, {"reset"}),
        ("a line in the method", with_(0, b"GET / HTTP/1.1\r\nX: "), None, {"reset"}),
        ("a long method", with_(0, b"G" * 40), None, {"reset"}),
        ("another scheme", with_(1, b"http"), None, {"reset"}),
        ("connect", [(b":method", b"CONNECT"), (b":authority", b"evil.test:443")], None, {"405", "reset"}),
        ("a line in a value", good + [(b"x", b"a\r\nHost: evil.test")], None, {"reset", "200"}),
        ("a line feed in a value", good + [(b"x", b"a\nTransfer-Encoding: chunked")], None, {"reset", "200"}),
        ("a line in a name", good + [(b"x: y\r\nhost", b"evil.test")], None, {"reset", "200"}),
        ("chunks", good + [(b"transfer-encoding", b"chunked")], None, {"reset"}),
        ("connection", good + [(b"connection", b"close")], None, {"reset"}),
        ("too short a body", good + [(b"content-length", b"10")], b"short", {"reset"}),
        ("too long a body", good + [(b"content-length", b"2")], b"GET /inner HTTP/1.1\r\n\r\n", {"reset"}),
        ("two lengths", good + [(b"content-length", b"2"), (b"content-length", b"3")], b"ab", {"reset"}),
        ("pseudo after", [(b"x", b"y"), *good], None, {"reset"}),
        ("pseudo twice", good + [(b":path", b"/other")], None, {"reset"}),
    )
    with Gate(ORIGIN.port) as g:
        for what, fields, body, want in table:
            before = len(ORIGIN.seen)
            with g.tls(("h2",)) as s:
                s.sendall(h2_request(*fields, body=body))
                got = h2_outcome(s)
            if got not in want:
                raise AssertionError(f"{what}: {got}, want {want}")
            for method, path, sent in ORIGIN.seen[before:]:
                if path != "/h2" or sent.get("Host") != "origin.test" or "Transfer-Encoding" in sent or "evil" in str(sent):
                    raise AssertionError(f"{what}: the server saw {method} {path} {sent}")


@case
def smuggled_requests_are_decided_too():
    "what lies in a body stays a body: the server sees as many requests as were decided"
    with Gate(ORIGIN.port) as g:
        for framing in (b"Content-Length: 50", b"Transfer-Encoding: chunked"):
            before = len(ORIGIN.seen)
            inner = b"GET /deny/inner HTTP/1.1\r\nHost: origin.test\r\n\r\n".ljust(50, b"x")
            body = inner if framing.startswith(b"C") else b"32\r\n" + inner + b"\r\n0\r\n\r\n"
            with g.tls() as s:
                s.sendall(b"POST /up HTTP/1.1\r\nHost: origin.test\r\n" + framing + b"\r\nConnection: close\r\n\r\n" + body)
                contains(read_all(s).decode(), "\r\n\r\n50 ")
            equal([p for _, p, _ in ORIGIN.seen[before:]], ["/up"])


@case
def credentials_are_put_in_and_masked():
    "the service's field is set, the guest's stripped, placeholders replaced (Basic included); echoes are masked in fields, bodies and cut into pieces"
    with Gate(ORIGIN.port, *SECRET) as g:
        for v in ("--http1.1", "--http2"):
            ORIGIN.seen.clear()
            text = g.curl("/echo", v, "-i", "-H", "Authorization: mine", "-H", "X-Key: a placeholder-1234 b", "-H", "Accept-Encoding: gzip")
            fields = {k.lower(): v for k, v in ORIGIN.seen[-1][2].items()}
            equal(fields["authorization"], "Bearer " + VALUE)
            equal(fields["x-key"], f"a {VALUE} b")
            equal(fields["accept-encoding"], "identity")
            if VALUE in text:
                raise AssertionError(f"the value came back:\n{text}")
            contains(text, "Bearer " + "*" * len(VALUE))
            equal(g.curl("/pieces", v), "<Bearer " + "*" * len(VALUE) + ">")
            g.curl("/a?key=placeholder-1234", v)
            equal(ORIGIN.seen[-1][1], "/a?key=" + VALUE)
        g.said(r"^injected \d+ .*service=testing GET /echo")
        equal(g.count(VALUE), 0)
    with Gate(ORIGIN.port, "--secret", "origin.test", "", "", "placeholder-1234", VALUE) as g:
        g.curl("/echo", "-u", "me:placeholder-1234")
        equal(ORIGIN.seen[-1][2].get("authorization") or ORIGIN.seen[-1][2]["Authorization"], "Basic " + base64.b64encode(f"me:{VALUE}".encode()).decode())
    with Gate(ORIGIN.port, "--secret", "origin.test", "Authorization", "basic:x-token", "placeholder-1234", VALUE) as g:
        blob = base64.b64encode(f"x-token:{VALUE}".encode()).decode()
        text = g.curl("/echo", "-i")
        equal({k.lower(): v for k, v in ORIGIN.seen[-1][2].items()}["authorization"], "Basic " + blob)
        if blob[:20] in text:
            raise AssertionError("the blob came back")


@case
def an_echo_is_masked_whatever_the_other_fields_are():
    "the order of a response's fields, a coding that is none, more than one of it: the value does not come back"
    table = (
        ("hop-by-hop fields around the coding", "Connection: close\r\nContent-Encoding: identity\r\nTransfer-Encoding: chunked"),
        ("named by Connection", "Connection: X-A, X-B\r\nX-A: 1\r\nContent-Encoding: identity\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\nKeep-Alive: 5"),
        ("not coded, though it says so", "Content-Encoding: gzip\r\nTransfer-Encoding: chunked"),
        ("said twice", "Content-Encoding: identity\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked"),
    )
    with Gate(ORIGIN.port, *SECRET) as g:
        for what, fields in table:
            raw = f"HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{len(VALUE):x}\r\n{VALUE}\r\n0\r\n\r\n".encode()
            for v in ("--http1.1", "--http2"):
                equal(g.curl("/raw?" + base64.urlsafe_b64encode(raw).decode(), v), "*" * len(VALUE), what)


@case
def a_value_lies_in_locked_memory_only():
    "after requests and echoes in both versions the value stands nowhere in the process but in its locked page, which is left out of core dumps"
    with Gate(ORIGIN.port, *SECRET) as g:
        if "sanitized" in g.out.read_text():
            raise Skip("AddressSanitizer keeps what is freed")
        for v in ("--http1.1", "--http2"):
            for path in ("/echo", "/pieces", "/a?key=placeholder-1234", "/up"):
                g.curl(path, v, "-H", "X-Key: placeholder-1234", *(["-d", "x"] if path == "/up" else []))
        wait_for(lambda: g.count("^end") == 8, 20, "the connections to end")
        equal(outside_locked(g.p.pid, VALUE.encode()), [])


@case
def a_placeholder_elsewhere_is_an_alarm():
    "a placeholder toward another host, in any field, Basic, query or trailer, is refused and told; so is one in clear toward its own"
    with Gate(ORIGIN.port, "--secret", "other.test", "X-Api-Key", "%s", "placeholder-1234", VALUE) as g:
        before = len(ORIGIN.seen)
        for n, args in enumerate((["-H", "X-Any: xplaceholder-1234x"], ["-u", "me:placeholder-1234"], ["-b", "a=placeholder-1234"], ["-H", "placeholder-1234: x"])):
            for v in ("--http1.1", "--http2"):
                contains(g.curl("/a", v, "-i", *args), " 403")
        contains(g.curl("/a?k=placeholder-1234"), "credential of 'testing'")
        equal(len(ORIGIN.seen), before)
        equal(g.count("^alarm .*service=testing"), 9)
        with g.tls() as s:
            s.sendall(b"POST /up HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: placeholder-1234\r\n\r\n")
            contains(read_until(s, b"\r\n\r\n").decode(), "403")
        equal(g.count("^alarm .*service=testing"), 10)
    clear = Origin()
    with Gate(clear.port, "--clear", *SECRET) as g:
        contains(g.curl("/a", "-i", "-H", "X-Any: placeholder-1234", scheme="http"), " 403")
        equal(g.curl("/a", scheme="http"), "hello /a\n")
        equal("Authorization" in clear.seen[-1][2], False)


@case
def a_placeholder_in_a_body_is_an_alarm():
    "toward a host that gets no credential, and in clear toward any: refused wherever it stands in the body and however it is cut; a host that gets one is told"
    place = b"placeholder-1234"
    end = DIR / "long"
    end.write_bytes(BLOCK * 20 + b"token=" + place)
    with Gate(ORIGIN.port, "--secret", "other.test", "X-Api-Key", "%s", place.decode(), VALUE) as g:
        for n, v in enumerate(("--http1.1", "--http2")):
            contains(g.curl("/up", v, "-i", "-d", "a=placeholder-1234&b"), " 403")
            contains(g.curl("/up", v, "-i", "-H", "Expect:", "--data-binary", f"@{end}"), "credential of 'testing'")
            contains(g.curl("/ask/up", v, "-i", "-d", "placeholder-1234"), " 403")
            equal(g.curl("/up", v, "-d", "placeholder-123").split()[0], "15")
            equal(g.count(r"^alarm .*service=testing POST .*in the body"), 3 * (n + 1))
        with g.tls() as s:
            s.sendall(b"POST /up HTTP/1.1\r\nHost: origin.test\r\nTransfer-Encoding: chunked\r\n\r\n")
            for c in b"xxplaceholder-123placeholder-1234yy":
                s.sendall(b"1\r\n%c\r\n" % c)
            contains(read_until(s, b"\r\n\r\n").decode(), "403")
        equal(g.count("^alarm"), 7)
    equal([p for _, p, _ in ORIGIN.seen if p == "/ask/up"], [])
    with Gate(ORIGIN.port, *SECRET) as g:
        equal(g.curl("/up", "-d", "a=placeholder-1234").split()[0], "18")
        equal(g.count("^alarm"), 0)
    clear = Origin()
    with Gate(clear.port, "--clear", *SECRET) as g:
        contains(g.curl("/up", "-i", "-d", "a=placeholder-1234", scheme="http"), " 403")
        equal(g.count("^alarm"), 1)


@case
def http_in_clear():
    "HTTP in clear is decided and passed the same way; an https target in it is refused; a client may end its direction first"
    clear = Origin()
    with Gate(clear.port, "--clear") as g:
        equal(g.curl("/a", scheme="http"), "hello /a\n")
        contains(g.curl("/deny", "-i", scheme="http"), " 403")
        contains(g.curl("/deny", scheme="http"), "http://origin.test:80/deny")
        equal(hash_of(g.curl("/big?5000000", scheme="http")), hash_of((BLOCK * 77)[:5000000].decode(errors="replace")))
        with socket.create_connection(("127.0.0.1", g.port), timeout=10) as s:
            s.sendall(b"GET https://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            contains(read_until(s, b"\r\n\r\n").decode(), "400")
        with socket.create_connection(("127.0.0.1", g.port), timeout=10) as s:
            s.sendall(b"GET /half HTTP/1.0\r\nHost: origin.test\r\n\r\n")
            s.shutdown(socket.SHUT_WR)
            contains(read_all(s).decode(), "hello /half")


def hash_of(text):
    return hash(text)


@case
def the_server_must_prove_its_name():
    "a certificate for another name, an unknown issuer, no TLS, nobody there, a forbidden address: each told in words"
    other = Origin(certificate(DIR, "other.test"))
    clear = Origin()
    with Gate(other.port, roots=DIR / "other.test.crt") as g:
        contains(g.curl("/"), "certificate is not valid: hostname mismatch")
    with Gate(ORIGIN.port, roots=DIR / "other.test.crt") as g:
        contains(g.curl("/", "--http1.1"), "certificate is not valid: self-signed certificate")
    with Gate(clear.port) as g:
        contains(g.curl("/", "-i"), " 502")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        with Gate(s.getsockname()[1]) as g:
            contains(g.curl("/"), "onnection refused")
    with Gate(1) as g:
        contains(g.curl("/", "-i"), " 403")
        contains(g.curl("/"), "private address 10.0.0.1")


@case
def the_guest_gets_only_its_own_name():
    "another SNI, none, TLS 1.1, no certificate to be had: no connection"
    with Gate(ORIGIN.port) as g:
        for args in (["-servername", "evil.test"], ["-noservername"], ["-tls1_1", "-servername", "origin.test", "-cipher", "ALL:@SECLEVEL=0"]):
            r = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{g.port}", *args], input=b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n", capture_output=True, timeout=20)
            if b"hello" in r.stdout:
                raise AssertionError(r.stdout.decode())
    with Gate(ORIGIN.port, "--name", "unsigned.test") as g:
        r = g.curl("/", host="unsigned.test", check=False)
        equal(r.returncode, 35)
        g.said("no certificate for this name")


@case
def node_speaks_both():
    "node's https and http2 clients trust the leaf and get through"
    node = shutil.which("node")
    if not node:
        raise Skip("node is not installed")
    script = """
const https = require('https'), http2 = require('http2'), port = +process.argv[1];
https.get({host: '127.0.0.1', port, servername: 'origin.test', path: '/n1', headers: {host: 'origin.test'}}, r => { r.on('data', d => process.stdout.write(d)); r.on('end', two); });
function two() {
  const c = http2.connect('https://origin.test', {createConnection: () => require('tls').connect({host: '127.0.0.1', port, servername: 'origin.test', ALPNProtocols: ['h2']})});
  let left = 50;
  for (let i = 0; i < 50; i++) { const r = c.request({':path': '/n2'}); let b = ''; r.on('data', d => b += d); r.on('end', () => { if (--left === 0) { process.stdout.write(b); c.close(); } }); r.end(); }
}
"""
    with Gate(ORIGIN.port) as g:
        r = subprocess.run([node, "-e", script, str(g.port)], env=dict(os.environ, NODE_EXTRA_CA_CERTS=str(g.ca)), capture_output=True, text=True, timeout=30)
        equal(r.stdout, "hello /n1\nhello /n2\n", r.stderr)
        if not 2 <= g.count("^connect") <= 17:
            raise AssertionError(f"{g.count('^connect')} connections to the server")


class H2:
    """nghttpd: a server that speaks HTTP/2 only (our other origin speaks HTTP/1.1 only)."""

    def __enter__(self):
        tool = shutil.which("nghttpd") or shutil.which("nghttpd", path="/usr/sbin")
        if not tool:
            raise Skip("nghttpd is not installed (Debian package nghttp2-server)")
        root = DIR / "root"
        root.mkdir(exist_ok=True)
        (root / "a").write_text("hello over 2\n")
        with open(root / "big", "wb") as f:
            for _ in range(800):
                f.write(BLOCK)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.p = subprocess.Popen([tool, "-d", root, "--echo-upload", "-a", "127.0.0.1", str(self.port), KEY, CRT], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", self.port)) == 0
        wait_for(up, 10, "nghttpd")
        return self

    def __exit__(self, *exc):
        self.p.kill()
        self.p.wait()


@case
def http2_to_http2():
    "both ends speak HTTP/2: one connection to the server for many streams; bodies both ways; credentials"
    with H2() as server, Gate(server.port, *SECRET) as g:
        equal(g.curl("/a", "-i").splitlines()[-1], "hello over 2")
        out = DIR / "down2"
        g.curl("/big", "-o", str(out))
        equal(out.stat().st_size, 800 * len(BLOCK))
        equal(subprocess.run(["cmp", out, DIR / "root/big"]).returncode, 0)
        body = DIR / "up2"
        body.write_bytes(BLOCK * 100)
        g.curl("/echo", "--data-binary", f"@{body}", "-o", str(out))
        equal(out.read_bytes() == BLOCK * 100, True)
        contains(g.curl("/none", "-i"), " 404")
        load = shutil.which("h2load")
        if load:
            before = g.count("^connect")
            r = subprocess.run([load, "-n", "2000", "-c", "2", "-m", "50", "--connect-to", f"127.0.0.1:{g.port}", "https://origin.test/a"],
                               capture_output=True, text=True, timeout=60)
            contains(r.stdout, "2000 succeeded, 0 failed, 0 errored")
            equal(g.count("^connect") - before, 2)


@case
def http1_to_a_server_of_both():
    "a guest of HTTP/1.1 gets HTTP/1.1 from a server that prefers 2"
    origin = Origin((CRT, KEY), alpn=("h2", "http/1.1"))
    with Gate(origin.port) as g:
        equal(g.curl("/x", "--http1.1"), "hello /x\n")


@case
def drained_connections_finish_their_work():
    "a drained connection answers what it has, takes nothing new and ends"
    with Gate(ORIGIN.port) as g:
        with g.tls() as idle, g.tls() as busy:
            for s in (idle, busy):
                s.sendall(b"GET /a HTTP/1.1\r\nHost: origin.test\r\n\r\n")
                read_until(s, b"hello /a\n")
            ORIGIN.gate.clear()
            busy.sendall(b"GET /events HTTP/1.1\r\nHost: origin.test\r\n\r\nGET /b HTTP/1.1\r\nHost: origin.test\r\n\r\n")
            read_until(busy, b"data: 1")
            g.p.stdin.write(b"d")
            g.p.stdin.flush()
            equal(read_all(idle), b"")
            ORIGIN.gate.set()
            data = read_all(busy)
            contains(data.decode(), "data: 2")
            equal(b"hello /b" in data, False)


if __name__ == "__main__":
    main(setup, teardown)
