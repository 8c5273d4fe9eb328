#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The network of a really booted guest: no way out but channel streams, names without resolving, refusals at once; the host's end is the test."""
import hashlib
import os
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from guest import AGENT_TRUST, Machine, frame, image  # noqa: E402
from netconn import NETC_FAILED, NETC_GO, Authority, Net, forward, head, serve_tls  # noqa: E402
from tap import Skip, case, contains, equal, main  # noqa: E402

BUILD = os.environ.get("BULKHEAD_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "build")
MB = 1 << 20
m = None

# In the guest: a query by hand, so that every field of the answer is seen. ask(NAME, TYPE, server, tcp) -> (rcode, [rdata])
DNS = r'''
import os, socket, struct, sys, time
def ask(name, kind, server="198.18.0.1", tcp=False, klass=1):
    q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".") if l) + b"\0" + struct.pack(">HH", kind, klass)
    began = time.monotonic()
    s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(20)
    s.connect((server, 53))
    s.sendall(struct.pack(">H", len(q)) + q if tcp else q)
    a = s.recv(2000)
    while tcp and len(a) < 2 + struct.unpack(">H", a[:2])[0]:
        a += s.recv(2000)
    a = a[2:] if tcp else a
    assert a[12:len(q)] == q[12:], "the question came back changed"
    n = struct.unpack(">H", a[6:8])[0]
    return (a[3] & 15, a[len(q) + 12:len(q) + 12 + struct.unpack(">H", a[len(q) + 10:len(q) + 12])[0]] if n else b"", n)
def v4(b):
    return ".".join(map(str, b))
'''


def setup():
    global m
    if not image():
        return
    m = Machine(BUILD).start()
    m.hello(hostname="testbox")
    m.wait(lambda: "network: ready" in m.console_tail(), 60, "the network's rules")


def teardown():
    if m:
        m.close()


def guest(fn):
    """A case that needs the booted guest."""
    def run():
        if not m:
            raise Skip("no guest image; build one with: bulkhead image build")
        fn()
    run.__doc__, run.__name__ = fn.__doc__, fn.__name__
    return case(run)


def py(script, user="", seconds=60):
    r = m.run(["python3", "-c", DNS + script], user=user, seconds=seconds)
    assert r.code == 0, f"exit {r.code}: {r.err.decode()}"
    return r.out.decode()


@guest
def no_interface():
    "loopback, the interface that leads nowhere and docker's bridge: nothing else"
    names = set(m.sh("ls /sys/class/net").out.decode().split())
    assert names <= {"lo", "bh0", "docker0"} and {"lo", "bh0"} <= names, names
    equal(m.sh("cat /sys/class/net/bh0/statistics/rx_packets").out.strip(), b"0")


@guest
def names_have_addresses():
    "A of the range and the same again; no AAAA, HTTPS, SVCB; PTR back; UDP and TCP; any server's address is ours"
    out = py(r'''
r, a, n = ask("deb.Example.ORG", 1)
assert (r, n) == (0, 1) and v4(a).startswith("198.18."), (r, a)
assert ask("deb.example.org", 1)[1] == a and ask("deb.example.org", 1, tcp=True)[1] == a
assert ask("deb.example.org", 1, "203.0.113.53")[1] == a and ask("deb.example.org", 1, "203.0.113.53", True)[1] == a
assert ask("deb.example.org", 1, "2001:db8::53")[1] == a and ask("deb.example.org", 1, "2001:db8::53", True)[1] == a
assert ask("www.example.org", 1)[1] != a
for kind in (28, 64, 65):
    assert ask("deb.example.org", kind) == (0, b"", 0), kind
r, p, n = ask(".".join(reversed(v4(a).split("."))) + ".in-addr.arpa", 12)
assert (r, p) == (0, b"\3deb\7example\3org\0"), (r, p)
for name in ("nosuch", "1.2.3.4", "7.113.0.203.in-addr.arpa", "printer.local", "a..b" + ".x" * 3):
    if ".." not in name:
        assert ask(name, 1)[0] == 3, name
for kind in (15, 16, 33, 255, 252):
    assert ask("secret.example.org", kind)[0] == 5, kind
assert ask("version.bind", 16, klass=3)[0] == 5
assert ask("localhost", 1)[1] == b"\x7f\0\0\1"
print("fine")
''')
    equal(out, "fine\n")
    contains(m.sh("getent ahostsv4 registry.example.net").out.decode(), "198.18.")


# In the guest or a container of it: what is neither TCP nor a question for a name. Prints what was met with anything but an error, at once.
NOWHERE = r'''
import socket, time
def fails(family, kind, proto, to, data):
    began = time.monotonic()
    s = socket.socket(family, kind, proto)
    s.settimeout(15)
    try:
        s.connect(to)
        for i in range(2):
            s.send(data)
            s.recv(100)
    except TimeoutError:
        return print("silence", proto, to)
    except OSError as e:
        if time.monotonic() - began > 12:
            print("late", proto, to, time.monotonic() - began)
        return
    print("an answer", proto, to)
for family, a in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    fails(family, socket.SOCK_DGRAM, 0, (a, 123), b"x")
    fails(family, socket.SOCK_DGRAM, 0, (a, 443), b"x" * 1200)
    fails(family, socket.SOCK_STREAM, 132, (a, 99), b"x")     # SCTP, of the kernel's own
    fails(family, socket.SOCK_DGRAM, 136, (a, 99), b"x")      # UDP-Lite
    for proto in (33, 47, 132, 250):                          # DCCP, GRE, SCTP, one that is nobody's
        fails(family, socket.SOCK_RAW, proto, (a, 0), b"\0" * 24)
fails(socket.AF_INET, socket.SOCK_RAW, 1, ("192.0.2.1", 0), b"\x08\0\xf7\xff\0\0\0\0")
fails(socket.AF_INET6, socket.SOCK_RAW, 58, ("2001:db8::1", 0), b"\x80\0\0\0\0\0\0\0")
began = time.monotonic()
for i in range(60):
    fails(socket.AF_INET, socket.SOCK_DGRAM, 0, ("192.0.2.1", 1000 + i), b"x")
    fails(socket.AF_INET6, socket.SOCK_DGRAM, 0, ("2001:db8::1", 1000 + i), b"x")
if time.monotonic() - began > 12:
    print("many are late", time.monotonic() - began)
print("done")
'''


@guest
def what_cannot_go_fails_at_once():
    "UDP, ICMP, SCTP and what else is not TCP, IPv4 and IPv6, root's raw sockets too: an error, not silence"
    equal(py(NOWHERE, user="root"), "done\n")


BOX = """set -e
ip netns add box; ip link add v0 type veth peer name v1 netns box
ip addr add 10.9.0.1/24 dev v0; ip addr add fd99::1/64 dev v0 nodad; ip link set v0 up
ip -n box addr add 10.9.0.2/24 dev v1; ip -n box addr add fd99::2/64 dev v1 nodad; ip -n box link set v1 up; ip -n box link set lo up
ip -n box route add default via 10.9.0.1; ip -n box -6 route add default via fd99::1
sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
"""


@guest
def nor_what_containers_send():
    "the same from a network namespace behind the guest, as a container's is, with IPv6: what is forwarded is refused as what is sent"
    r = m.sh(BOX, user="root")
    equal((r.code, r.err), (0, b""))
    try:
        r = m.run(["ip", "netns", "exec", "box", "python3", "-c", NOWHERE], user="root")
        equal((r.err, r.out), (b"", b"done\n"))
    finally:
        m.sh("ip netns del box; sysctl -qw net.ipv6.conf.all.forwarding=0", user="root")


@guest
def without_a_service_everything_is_reset():
    "no bulkhead-net on the host: a reset at once, by name, by address, over IPv6"
    for url in ("http://www.example.org/", "http://192.0.2.7:81/", "http://[2001:db8::7]/", "http://198.18.0.1:3129/", "http://198.19.255.254/", "http://[fe80::1%25bh0]/"):
        r = m.run(["curl", "-sS", "-m", "15", url])
        assert r.code in (7, 35, 52, 55, 56), (url, r.code, r.err)


@guest
def a_connection_says_who_it_is():
    "name, port and address; process, user, command line"
    with Net(m.chan) as net:
        s = m.session(["curl", "-sS", "-m", "40", "http://www.example.org:8080/some/path"])
        c = net.next()
        o = c.open
        equal((o["version"], o["name"], o["port"], o["comm"], o["uid"], o["container"]), (1, "www.example.org", 8080, "curl", 1000, ""))
        equal(o["cmdline"], "curl -sS -m 40 http://www.example.org:8080/some/path")
        equal(o["pid"], s.take().pid)
        assert o["dst"][:12] == bytes(10) + b"\xff\xff" and o["dst"][12:14] == bytes([198, 18]), o
        m.wait(lambda: b"\r\n\r\n" in c.got, 20, "the request")
        contains(c.take().decode(), "GET /some/path HTTP/1.1\r\nHost: www.example.org:8080\r\n")
        c.go(b"HTTP/1.0 200 OK\r\n\r\nfrom the host")
        c.s.end()
        equal((s.wait().code, bytes(s.out)), (0, b"from the host"))
        m.wait(lambda: c.s.eof or c.s.reset is not None, 20, "the client's end")
        equal((c.s.eof, c.s.reset), (True, None))
        # raw addresses, both families
        for url, dst in (("http://192.0.2.7:81/", bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 7])), ("http://[2001:db8::7]:82/", bytes.fromhex("20010db8" + "0" * 23 + "7"))):
            s = m.session(["curl", "-sS", "-m", "40", url])
            c = net.next()
            equal((c.open["name"], c.open["dst"], c.open["comm"]), ("", dst, "curl"))
            c.go(b"HTTP/1.0 204 Fine\r\n\r\n")
            c.s.end()
            equal(s.wait().code, 0)


@guest
def each_direction_ends_by_itself():
    "the client ends first and still reads; the host ends first and still reads"
    with Net(m.chan) as net:
        s = m.session(["python3", "-c", """import socket
s = socket.create_connection(("half.example.org", 99))
s.sendall(b"question"); s.shutdown(socket.SHUT_WR)
print(s.makefile("rb").read())"""])
        c = net.next()
        m.wait(lambda: c.s.eof, 20, "the client's end")
        equal(c.take(), b"question")
        c.go(b"answer")
        c.s.end()
        equal(bytes(s.wait().out), b"b'answer'\n")
        s = m.session(["python3", "-c", """import socket
s = socket.create_connection(("half.example.org", 99))
print(s.makefile("rb").read(), flush=True)
s.sendall(b"last words"); s.close()"""])
        c = net.next()
        c.go(b"first")
        c.s.end()
        s.wait_output(b"first")
        m.wait(lambda: c.s.eof, 20, "the client's end")
        equal(c.take(), b"last words")


@guest
def resets_go_both_ways():
    "NETC_RESET, a reset stream and a stream without a verdict reset the client; a client's reset resets the stream"
    script = """import socket
try:
    s = socket.create_connection(("reset.example.org", 99))
    s.sendall(b"x")
    print(s.recv(100))
except ConnectionResetError: print("reset")"""
    with Net(m.chan) as net:
        for end in (lambda c: c.reset(), lambda c: c.s.abort(), lambda c: c.s.end(), lambda c: c.s.send(b"no frame of ours")):
            s = m.session(["python3", "-c", script])
            end(net.next())
            s.wait()
            equal((bytes(s.out), bytes(s.err)), (b"reset\n", b""))
        s = m.session(["python3", "-c", """import socket, struct
s = socket.create_connection(("reset.example.org", 99))
s.sendall(b"x"); s.recv(1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()"""])
        c = net.next()
        c.go(b"y")
        equal(s.wait().code, 0)
        m.wait(lambda: c.s.reset is not None, 20, "the stream's reset")


@guest
def a_client_that_gives_up_is_known_to_be_gone():
    "while the verdict is awaited: closed whole is a reset, closed in one direction is not"
    with Net(m.chan) as net:
        s = m.session(["curl", "-sS", "-m", "2", "http://slow.example.org/"])
        c = net.next()
        equal(s.wait(30).code, 28)
        m.wait(lambda: c.s.reset is not None, 10, "the stream's reset")
        s = m.session(["python3", "-c", """import socket
s = socket.create_connection(("half.example.org", 99)); s.sendall(b"question"); s.shutdown(socket.SHUT_WR)
print(s.makefile("rb").read())"""])
        c = net.next()
        m.wait(lambda: c.s.eof, 20, "the client's end")
        end = time.monotonic() + 3
        while time.monotonic() < end:
            m.chan.pump()
        equal(c.s.reset, None)
        c.go(b"answer")
        c.s.end()
        equal(bytes(s.wait().out), b"b'answer'\n")


@guest
def bulk_both_ways():
    "16 MB down and up are whole; a client that does not read, and a host that does not, stop the other and nobody else"
    data = os.urandom(MB) * 16
    with Net(m.chan) as net:
        s = m.session(["sh", "-c", "curl -sS -m 200 http://bulk.example.org/ | sha256sum"])
        c = net.next()
        began = time.monotonic()
        c.go(b"HTTP/1.0 200 OK\r\n\r\n" + data)
        c.s.end()
        s.wait(200)
        contains(s.out.decode(), hashlib.sha256(data).hexdigest())
        print(f"# down {16 / (time.monotonic() - began):.0f} MB/s")
        s = m.session(["sh", "-c", "head -c 16777216 /dev/zero | curl -sS -m 200 -H Expect: -T - http://bulk.example.org/"])
        c = net.next()
        began = time.monotonic()
        m.wait(lambda: len(c.got) > 16 * MB, 200, "the upload")
        print(f"# up {16 / (time.monotonic() - began):.0f} MB/s")
        c.go(b"HTTP/1.0 200 OK\r\n\r\n")
        c.s.end()
        equal(s.wait().code, 0)
        # Nobody reads: what is under way is bounded.
        s = m.session(["python3", "-c", """import socket, sys
s = socket.create_connection(("slow.example.org", 99)); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
print("up", flush=True); sys.stdin.read()
print(len(s.makefile("rb").read()))"""])
        c = net.next()
        c.go(data)
        c.s.end()
        s.wait_output(b"up")
        equal(m.sh("echo others go on").out, b"others go on\n")
        # The guest's kernel holds some MB for a loopback connection, the agent a window.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            m.chan.pump()
        assert len(c.s.waiting) > 4 * MB, f"{len(data) - len(c.s.waiting)} bytes were taken from a client that does not read"
        s.write(b"", end=True)
        s.wait_output(b"%d\n" % len(data), 60)


@guest
def published_ports():
    "the host reaches a port of the guest's loopback, IPv4 or IPv6; where nothing answers it hears why"
    s = m.session(["python3", "-c", """import socket
for family, port in ((socket.AF_INET, 8123), (socket.AF_INET6, 8124)):
    l = socket.create_server(("127.0.0.1" if family == socket.AF_INET else "::1", port), family=family)
    print("up", flush=True)
    c, _ = l.accept()
    c.sendall(b"hello " + c.makefile("rb").readline()); c.close()"""])
    s.wait_output(b"up")
    for port in (8123, 8124):
        if port == 8124:
            s.wait_output(b"up\nup")
        f = forward(m.chan, port)
        f.send(b"world\n")
        m.wait(lambda: f.eof or f.reset, 20, "the answer")
        equal(head(f), (NETC_GO, b""))
        equal(bytes(f.got), b"hello world\n")
        f.end()
    f = forward(m.chan, 8125)
    m.wait(lambda: f.eof or f.reset, 20, "the refusal")
    kind, p = head(f)
    equal(kind, NETC_FAILED)
    contains(p[6:].decode(), "nothing answers on port 8125 in the sandbox")
    f.end()
    for bad in (b"\0" * 8, b"\x83\0\0\0\2\0\0\0\0\0", b"GET / HTTP/1.0\r\n\r\n"):
        f = m.chan.open(3)
        f.send(bad)
        m.wait(lambda: f.reset is not None, 20, "the reset")


CLIENTS = {
    "curl": "curl -sS -m 60 https://secure.example.org/",
    "python": "python3 -c 'import urllib.request as u; print(u.urlopen(\"https://secure.example.org/\", timeout=60).read().decode())'",
    "node": "node -e 'require(\"https\").get(\"https://secure.example.org/\", r => r.on(\"data\", d => console.log(d.toString()))).on(\"error\", e => { console.error(e.code); process.exit(1) })'",
    "openssl": "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | openssl s_client -quiet -verify_return_error -servername secure.example.org -connect secure.example.org:443",
    "git": "git ls-remote https://secure.example.org/x",
}


@guest
def the_hosts_roots_are_trusted():
    "before: every client refuses the test's certificate; then its root is given: each takes it; update-ca-certificates will find it"
    try:
        ca = Authority(m.dir)
        context = ca.server("secure.example.org")
    except (OSError, subprocess.CalledProcessError) as e:
        raise Skip(f"no openssl on this host: {e}") from None
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntrusted"

    def attempt(client):
        s = m.session(["sh", "-c", CLIENTS[client]])
        asked = serve_tls(m.chan, net.next(60), context, b"HTTP/1.0 404 Gone\r\n\r\n" if client == "git" else answer, 90)
        try:
            return asked, s.wait(60)
        except AssertionError as e:
            raise AssertionError(f"{client}, asked {asked}: {e}; {s.out} {s.err}") from None

    with Net(m.chan) as net:
        for client in CLIENTS:
            asked, s = attempt(client)
            assert asked is None and s.code != 0, f"{client} trusted a stranger"
        with open("/etc/ssl/certs/ca-certificates.crt", "rb") as f:
            host = f.read()
        m.control.trust(host + ca.pem)
        m.wait(lambda: m.sh("grep -c BEGIN /run/bulkhead/trust/extra.pem").out.strip() not in (b"", b"0"), 30, "the roots")
        for client in CLIENTS:
            asked, s = attempt(client)
            assert asked, f"{client} does not trust the host's root: {s.err.decode()}"
            if client != "git":
                contains(s.out.decode(), "trusted")
        body = ca.pem.split(b"-----")[2].strip()
        assert body in m.sh("cat /usr/local/share/ca-certificates/bulkhead/*.crt").out
        # Rubbish changes nothing.
        m.control.trust(b"no certificate at all")
        m.control.s.send(frame(AGENT_TRUST, struct.pack("<II", 100, 50) + b"x" * 10))
        m.control.s.send(frame(AGENT_TRUST, struct.pack("<II", 1 << 30, 0) + b"x" * 10))
        assert attempt("curl")[0]


@guest
def many_at_once():
    "1,000 connections held open, all answered; memory of the agent stays small"
    n = 1000
    with Net(m.chan) as net:
        s = m.session(["python3", "-c", f"""import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
all = [socket.create_connection(("many.example.org", 1000 + i)) for i in range({n})]
print("open", flush=True)
for i, s in enumerate(all): s.sendall(b"%d" % i)
assert [s.recv(100) for s in all] == [b"%d" % i for i in range({n})]
print("answered", flush=True)"""])
        began = time.monotonic()
        conns = [net.next(120) for _ in range(n)]
        print(f"# {n} connections in {time.monotonic() - began:.1f} s")
        equal(sorted(c.open["port"] for c in conns), list(range(1000, 1000 + n)))
        for c in conns:
            m.wait(lambda c=c: c.got, 60, "bytes")
            c.go(c.take())
        equal(s.wait(60).code, 0)
        contains(s.out.decode(), "answered")
        rss = int(m.sh("grep VmRSS /proc/1/status", user="root").out.split()[1])
        print(f"# agent {rss / 1024:.1f} MiB")
        assert rss < 64 * 1024, rss


def make_box():
    if m.run(["docker", "image", "inspect", "box"]).code == 0:
        return
    r = m.sh("""mkdir -p ~/img && cd ~/img && cp /bin/busybox . &&
printf 'FROM scratch\\nCOPY busybox /bin/busybox\\nRUN ["/bin/busybox", "--install", "/bin"]\\nENTRYPOINT ["/bin/busybox"]\\nCMD ["true"]\\n' >Dockerfile &&
docker build -q -t box .""", seconds=240)
    equal(r.code, 0)


@guest
def containers():
    "a container's connections by name, on docker's network and on one of its own; its DNS; its UDP fails at once"
    m.docker_ready(180)
    make_box()
    equal(m.sh("docker network create inner", seconds=60).code, 0)
    with Net(m.chan) as net:
        for network in ("bridge", "inner", "host"):
            s = m.session(["docker", "run", "--rm", "--name", f"web-{network}", "--network", network, "box", "wget", "-q", "-O", "-", "http://origin.example.org/x"])
            c = net.next(120)
            equal((c.open["name"], c.open["port"], c.open["container"], c.open["comm"]), ("origin.example.org", 80, f"web-{network}", "busybox"))
            contains(c.open["cmdline"], "wget -q -O - http://origin.example.org/x")
            c.go(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine")
            c.s.end()
            s.wait(60)
            equal((s.code, bytes(s.out)), (0, b"fine"))
    began = time.monotonic()
    r = m.run(["docker", "run", "--rm", "box", "sh", "-c", "nslookup -type=a dns.example.org 203.0.113.9; echo x | nc -u -w 5 192.0.2.1 99; ping -c 1 -W 5 192.0.2.1"], seconds=120)
    contains(r.out.decode(), "198.18.")
    assert time.monotonic() - began < 60
    # A port a container publishes in the guest is one the host can publish on.
    equal(m.sh("docker run -d --rm --name serves -p 8130:80 box sh -c 'echo served >/index.html; exec httpd -f -h /'", seconds=120).code, 0)
    f = forward(m.chan, 8130)
    f.send(b"GET /index.html HTTP/1.0\r\n\r\n")
    m.wait(lambda: f.eof or f.reset, 60, "the container's answer")
    equal(head(f), (NETC_GO, b""))
    assert f.got.endswith(b"served\n"), f.got
    f.end()
    m.sh("docker rm -f serves", seconds=60)


@guest
def containers_trust_too():
    "a container of any image takes a certificate of the added root, in run, exec and build; the image keeps no trace of it"
    m.docker_ready(180)
    make_box()
    try:
        ca = Authority(m.dir)
        context = ca.server("secure.example.org")
    except (OSError, subprocess.CalledProcessError) as e:
        raise Skip(f"no openssl on this host: {e}") from None
    answer = b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntrusted"
    with open("/etc/ssl/certs/ca-certificates.crt", "rb") as f:
        m.control.trust(f.read() + ca.pem)
    # The guest's own programs in a container without a store: what they trust comes from what was mounted.
    curl = "ln -s usr/lib /lib; ln -s usr/lib64 /lib64; exec /usr/bin/curl -sS -m 60 https://secure.example.org/"
    with Net(m.chan) as net:
        s = m.session(["docker", "run", "--name", "tls", "-v", "/usr:/usr:ro", "box", "sh", "-c", curl])
        asked = serve_tls(m.chan, net.next(120), context, answer, 90)
        s.wait(90)
        assert asked and s.out == b"trusted", (s.out, s.err)
    equal(m.sh("docker diff tls | grep -c -e /dev/ -e ca-cert", seconds=60).out, b"0\n")
    r = m.sh("""docker run -d --name stays box sleep 600 >/dev/null && docker exec stays sh -c 'grep -c BEGIN $SSL_CERT_FILE; ls $NODE_EXTRA_CA_CERTS' &&
docker exec -e SSL_CERT_FILE=/own stays sh -c 'echo $SSL_CERT_FILE'; docker rm -f stays >/dev/null""", seconds=120)
    out = r.out.decode().split()
    assert len(out) == 3 and int(out[0]) > 20 and out[1:] == ["/dev/.bulkhead/extra.pem", "/own"], (out, r.err)
    r = m.sh("""mkdir -p ~/t && cd ~/t && printf 'FROM box\\nRUN test -s $SSL_CERT_FILE && touch /made\\n' >Dockerfile && docker build -q --no-cache -t made . &&
docker create --name made made && docker export made | tar t | grep -v -e '^bin/' && docker inspect -f '{{.Config.Env}}' made""", seconds=240)
    equal(r.code, 0)
    contains(r.out.decode(), "made")
    for trace in ("bulkhead", "SSL_CERT", "ca-cert"):
        assert trace not in r.out.decode(), r.out.decode()


@guest
def docker_build():
    "a step of docker build connects as any container does"
    m.docker_ready(180)
    make_box()
    with Net(m.chan) as net:
        s = m.session(["sh", "-c", "mkdir -p ~/b && cd ~/b && printf 'FROM box\\nRUN wget -q -O - http://step.example.org/\\n' >Dockerfile && docker build --progress plain --no-cache ."])
        c = net.next(180)
        equal((c.open["name"], c.open["port"]), ("step.example.org", 80))
        c.go(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\nfetched\n")
        c.s.end()
        equal(s.wait(180).code, 0)
        contains((s.out + s.err).decode(), "fetched")


@guest
def root_without_rules_reaches_nothing():
    "root takes the rules away and adds routes: still no packet leaves, and nothing answers"
    with Net(m.chan) as net:
        r = m.sh("nft delete table inet bulkhead; ip route add 192.0.2.0/24 dev bh0; curl -sS -m 3 http://192.0.2.7/; curl -sS -m 3 http://gone.example.org/", user="root", seconds=60)
        assert r.code in (7, 28), r.code
        equal(net.conns, [])
    equal(m.sh("cat /sys/class/net/bh0/statistics/rx_packets").out.strip(), b"0")


if __name__ == "__main__":
    main(setup, teardown)
