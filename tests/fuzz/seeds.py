#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first corpus of the targets of core/: seeds.py (into tests/fuzz/corpus/). What a fuzzer found is added by hand beside it."""
import pathlib
import struct

TOP = pathlib.Path(__file__).resolve().parent / "corpus"


def save(target, **files):
    d = TOP / target
    d.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (d / name).write_bytes(data)


def s(text):
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<H", len(data)) + data


def frame(kind, payload):
    return struct.pack("<BBHI", kind, 0, 0, len(payload)) + payload


def mux(stream, kind, payload=b""):
    return struct.pack("<IHBB", stream, len(payload), kind, 0) + payload


def child(kind, payload=b""):
    return struct.pack("<HHI", kind, 0, 7) + payload


def sess_open(argv, env):
    return (struct.pack("<BHH", 3, 24, 80) + s("agent") + s("/home/agent") + s("xterm-256color") + struct.pack("<H", len(argv)) +
            b"".join(map(s, argv)) + struct.pack("<H", len(env)) + b"".join(map(s, env)))


hello = mux(0, 1, struct.pack("<IHHI", 0x584D4B42, 1, 0, 5))
save("channel", hello=hello,
     life=hello + mux(1, 2, struct.pack("<II", 1, 262144)) + mux(1, 3, struct.pack("<I", 262144)) + mux(1, 5, b"bytes") +
     mux(1, 6, struct.pack("<I", 5)) + mux(1, 7) + mux(2, 4, struct.pack("<I", 2)))

save("agent",
     hello=frame(1, struct.pack("<HIQ", 1, 7, 10**18) + bytes(64) + s("web") + s("/src")) + frame(2, struct.pack("<HIQ", 1, 7, 9) + s("6.12") + s("0.1.0")),
     stats=frame(5, bytes(range(96))) + frame(6, struct.pack("<H", 1) + struct.pack("<IIIQ", 1, 2, 3, 4) + s("dockerd") + s("")),
     trust=frame(14, struct.pack("<II", 40, 0) + b"-----BEGIN CERT") + frame(14, struct.pack("<II", 20, 10) + bytes(10)),
     docker=frame(7, struct.pack("<H", 1) + s("abc") + s("web") + s("nginx") + s("running") + s("Up 2 s")) + frame(8, struct.pack("<BIQ", 3, 1, 0) + s("it died")),
     session=frame(32, sess_open(["sh", "-c", "exit 3"], ["A=1"])))

save("child",
     dial=struct.pack("<IIII", 1, 7, 2, 99), ready=child(220, struct.pack("<HI", 1, 42) + s("no_new_privs seccomp(43)")),
     machine=child(100, struct.pack("<IIIBBB", 1, 2, 1024, 0, 1, 1) + s("web") + s("quiet")), state=child(121, struct.pack("<BBI", 3, 3, 42) + s("the kernel panicked")),
     snapped=child(124, struct.pack("<II", 7, 28) + s("No space left on device")), refused=child(125, s("not in this weather")),
     stats=child(122, bytes(36) + b"\1\0\0\0" + bytes(8 * 29)), terminal=child(200, struct.pack("<IQII", 10000, 1 << 20, 0, 1500) + s("web") + s("/src") + s("[$#] $")),
     opened=child(201, struct.pack("<IB", 1, 0) + s("bash") + sess_open(["bash"], [])), attach=child(202, struct.pack("<IB", 1, 1)),
     guest=child(221, struct.pack("<BQ", 1, 5) + s("6.12") + s("0.1.0") + s("")),
     session=child(226, struct.pack("<IBBHHHIIIQQ", 1, 0, 1, 24, 80, 1, 99, 0, 0, 10, 11) + s("bash") + s("~")),
     attention=child(227, struct.pack("<IB", 1, 1) + s("done")))

dns = struct.pack(">HHHHHH", 7, 0x110, 1, 0, 0, 1) + b"\3deb\7Example\3org\0" + struct.pack(">HH", 1, 1) + b"\0" + struct.pack(">HHIH", 41, 1232, 0, 4) + b"\0\12\0\0"
save("dns", edns=dns, https=dns.replace(b"\0\1\0\1\0\0\51", b"\0\101\0\1\0\0\51"),
     reverse=struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\0010\0011\00218\003198\7in-addr\4arpa\0" + struct.pack(">HH", 12, 1),
     pointer=struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 2) + b"\1a\1b\0" + struct.pack(">HH", 1, 1) + b"\300\14" + struct.pack(">HHIH", 1, 1, 0, 0))

def netconn(name, addr, port, **who):
    return frame(128, struct.pack("<H", 1) + addr + struct.pack("<H", port) + s(name) + struct.pack("<II", who.get("pid", 0), who.get("uid", 0)) +
                 s(who.get("comm", "")) + s(who.get("cmdline", "")) + s(who.get("container", "")))


save("netconn", name=netconn("registry.example.org", bytes(10) + b"\xff\xff\xc6\x12\1\0", 443, pid=77, uid=1000, comm="npm", cmdline="npm install", container="web"),
     address=netconn("", bytes.fromhex("20010db8000000000000000000000001"), 22), illegal=netconn("0x7f.1", bytes(16), 80) + b"GET /")

head = struct.pack("<QHHHHBBBBIQQ", 3, 4, 12, 1, 2, 1, 0, 1, 0, 16, 0, 9)


def run(cells, fg=0, bg=0, attrs=0, link=0):
    return struct.pack("<HHIIH", len(cells), attrs, fg, bg, link) + b"".join(bytes([w | len(t.encode()) << 2]) + t.encode() for w, t in cells)


save("rows",
     plain=head + struct.pack("<H", 1) + struct.pack("<HBH", 0, 0, 2) + run([(1, "h"), (1, "i")]),
     wide=head + struct.pack("<H", 2) + struct.pack("<HBH", 1, 1, 5) + run([(1, "e\u0301"), (2, "\u4f60"), (0, "")], fg=0x010000FF, attrs=3) +
     run([(2, "\U0001F600"), (0, "")], bg=0x02102030, link=4) + struct.pack("<HBH", 2, 0, 0))

save("text", plain=b"web-1", size=b"1.5GiB", escape=b"\x1b]0;t\x07\x1b[31m\x7f", bidi="a\u202eb\u200b\ufeff\u00ad".encode(),
     ill=b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbfA\xed\xa0\x80\xf4\x90\x80\x80\xc0", wide="\u4f60\u597d \U0001F600 e\u0301\n\t".encode())

save("osc", title=b"a\x1b]0;title\x07b\x1b]2;t\x1b\\c", notify=b"\x1b]9;done\x07\x1b]777;notify;a;b\x07\x1b]99;i=1;x\x1b\\",
     link=b"\x1b]8;;https://example.org\x1b\\link\x1b]8;;\x1b\\", clipboard=b"\x1b]52;c;aGVsbG8=\x07", dropped=b"\x1bPq#0\x1b\\x\x1b_a\x1b\\y\x9d0;t\x9c\x1b]0;cut",
     cut=b"\x1b]0;\x1b[31m\x18z\x1b\x1b]\x07")

save("terminal", text=b"hello \x1b[31mred\x1b[0m\r\n" * 3, wide="\u4f60\u597d\U0001F600e\u0301\u202e\u200b\ufeff\x1b[1G\u0301x".encode(),
     scroll=b"".join(b"line %d\r\n" % i for i in range(30)) + b"\xff\x00\x05\x0a" + b"\x1b[2;4r\x1b[3S\x1b[2T\x1bM",
     alt=b"\x1b[?1049h\x1b[?2004h\x1b[?1000h\x1b[?1006hfull\x1b[5;5H\x1b[K\xff\x02\x03\x05\xff\x04\x03\x03\x1b[?1049l", keys=b"\x1b[?1h\xff\x01\x85\x00\xff\x01a\x04\xff\x03\x01\x00",
     wrap="\u4f60".encode() * 40 + b"\xff\x00\x03\x07" + b"a" * 70 + b"\xff\x00\x14\x28" + b"\x1b[1;1H\x1b[4h\x1b[3@\x1b[2P\x1b[5X",
     hang=b"\x1b[b\r\xcc\x81\x1b[9b", params=b"\x1b[" + b";" * 60 + b"m\x1b[1:2:3::::5;6;7;8;9;0;1;2;3;4;5;6;7;8;9H", c1=b"\xc2\x80\xc2\x80\x1bH\t",
     marks=b"a" + b"\xcc\x81" * 40, smaller=b"\x1b[8;10r\x1b[10;30H\x1b7\xff\x00\x03\x04\x1b8x\n\n\x1bH\x1b[s\xff\x00\x01\x01\x1b[u\n\x1b#6\x1b[?69h\x1b[2;3s",
     answers=b"\x1b[c\x1b[6n\x1b[?6n\x1b[5n\x1b[>c\x1b[18t\x1bP$qm\x1b\\", link=b"\x1b]8;;https://example.org\x1b\\l\x1b]8;;\x1b\\\x1b[4:3m\x1b[38;2;1;2;3mz\x1b[7;8;9m")

save("qmp", greeting=b'{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": []}}', back=b'{"return": {}}',
     error=b'{"error": {"class": "GenericError", "desc": "no \\u001b such"}}',
     event=b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}')

save("http", ok=b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nOK", error=b"HTTP/1.1 500 Internal Server Error\r\n\r\n")

save("seq", text="caf\u00e9 \u4f60 e\u0301\u0301\r\n\t\x7f".encode(), ill=b"\xc3(\xe4\xbd(\xf0\x9f\x98\x80\xc2\x9b\xff\xed\xa0\x80",
     csi=b"\x1b[1;2:3m\x1b[;;;;;;;;;;;;;;;;;;H\x1b[99999A\x1b[?1000;1006h\x1b[?69h\x1b[2 q\x1b[s\x1b[u\x1b[3;4s\x1b[1;5r", repeat=b"a\x1b[3b\x1b[b",
     escape=b"\x1b7\x1b8\x1b(0\x1b#3\x1b#8\x1b((((x\x1b]0;t\x1b[3\x18\x1b[3\r1m\x1b[1<m\x1bc\x1bM")

row = struct.pack("<H", 1) + struct.pack("<HBH", 0, 0, 2) + run([(1, "h"), (1, "i")])
history = struct.pack("<IQQQH", 1, 0, 0, 9, 1) + struct.pack("<HBH", 0, 1, 2) + run([(2, "\u4f60"), (0, "")])
save("viewer",
     screen=frame(96, struct.pack("<HI", 1, 1) + s("shell")) + frame(97, head + row) + frame(98, s("title")) + frame(97, head + row),
     parts=frame(97, head + row) * 2 + struct.pack("<BBHI", 97, 1, 0, len(head + row)) + head + row + frame(97, head + row),
     history=frame(97, head + row) + frame(102, history) + frame(103, struct.pack("<IBQHH", 1, 1, 4, 0, 2)) + frame(102, history),
     rest=frame(104, struct.pack("<H", 1) + s("https://example.org/")) + frame(99, b"") + frame(100, s("done")) + frame(101, struct.pack("<I", 2) + b"ab") +
     frame(105, struct.pack("<II", 3, 0)))

save("person",
     theme=b"\x00name X\nnormal #102030/5/red default bold,dim mono=reverse\nwaits - bright-blue -\n",
     config=b"\x01theme: nord\nprefix: C-a\nkeys:\n  kill: [K, prefix k]\nclipboard: ask\n",
     keys=b"\x02a\x1b[1;5C\x1bOP\x1b[<0;5;7M\x1b[200~pas\x1b[2te\x1b[201~\xc3\xa4\x1b[27;5;105~\x1b",
     terminfo=b"\x03" + struct.pack("<HHHHHH", 0o432, 4, 1, 15, 361, 3) + b"xt|\0" + b"\1" + b"\0" + b"\xff\xff" * 15 + b"\0\0" * 361 + b"ab\0")


save("services",
     one=b"a:\n  summary: one\n  env: [A_KEY, B_KEY]\n  placeholder: sk-\n  hosts: ['*.a.example:8443', a.example]\n  header: X-Key\n  format: Key %s\n",
     rules=b"b:\n  rules:\n    - {hosts: b.example, header: Authorization, format: 'basic:me'}\n    - hosts: '**.c.example'\n",
     two=b"{a: {hosts: a.example}, b: {hosts: [b.example]}}\n", alias=b"a: &x {hosts: a.example}\nb: *x\n")


def hello(*extensions, version=0x0303, records=1):
    ext = b"".join(struct.pack(">HH", t, len(b)) + b for t, b in extensions)
    body = struct.pack(">H", version) + bytes(32) + b"\0" + struct.pack(">HH", 2, 0x1301) + b"\x01\0" + struct.pack(">H", len(ext)) + ext
    body = b"\x01" + len(body).to_bytes(3, "big") + body
    step = -(-len(body) // records)
    parts = [body[i:i + step] for i in range(0, len(body), step)]
    return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(p)) + p for p in parts)


def sni(name):
    return 0, struct.pack(">HBH", len(name) + 3, 0, len(name)) + name


alpn = (16, b"\0\x0c\x02h2\x08http/1.1")
save("sni", plain=hello(sni(b"api.example.org"), alpn, (43, b"\x04\x03\x04\x03\x03")), cut=hello(sni(b"Api.Example.Org"), records=7), ech=hello(sni(b"a.example"), (0xFE0D, b"\0" * 8)),
     twice=hello(sni(b"a.example"), sni(b"b.example")), old=hello(version=0x0301))

save("http1",
     get=b"\x00GET /v1/models?x=1 HTTP/1.1\r\nHost: api.example.org\r\nAccept: */*\r\n\r\n",
     post=b"\x00POST http://api.example.org/v1 HTTP/1.1\r\nHost: api.example.org\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
     smuggle=b"\x00POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     upgrade=b"\x00GET /ws HTTP/1.1\r\nHost: [::1]:8443\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x01a",
     ok=b"\x01HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", closes=b"\x01HTTP/1.0 404 Not Found\r\n\r\ngone", head=b"\x02HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")

BLUE = '{"kind":"sandbox","sandbox":{"name":"blue","state":"running","kit":"shell"}}\n'
ASK = '{"kind":"ask","ask":{"id":7,"sandbox":"blue","count":2,"since":"2026-01-02T03:04:05Z","until":"2026-01-02T03:06:05Z","proto":"https","name":"a.example.org",' \
      '"port":443,"method":"GET","path":"/v1","comm":"curl","pid":9}}\n'
DECIDED = '{"kind":"decision","decision":{"event":"decided","verdict":"ask","sandbox":"blue","conn":1,"proto":"tls","name":"a.example.org","port":443}}\n'
CLOSED = DECIDED.replace("decided", "closed").replace('"port"', '"in":5,"out":6,"ms":70,"port"')
save("events", ask=(BLUE + ASK + "a\nEnter\nC-\\\nd\n" + '{"kind":"ask_gone","id":7,"end":"answered","by":"x"}\n').encode(),
     rows=(BLUE + DECIDED + CLOSED + "3\nUp\nEnter\nr\nRight\nTab\nEsc\nv\n/\na\nEnter\n").encode(),
     ports=(BLUE + '{"kind":"ports","ports":[{"id":1,"sandbox":"blue","host_address":"::1","host_port":80,"guest_port":3000}]}\n3\nTab\nP\n8\nEnter\nDel\n').encode())

# ---- devices of our own machine (tests/fuzz/device.h) --------------------------------------------------------------------------------
def up(features=0):
    return struct.pack("<BI", 4, features)


def give(q, head):
    return struct.pack("<BBH", 5, q, head)


def desc(q, i, at, n, flags, nxt=0):
    return struct.pack("<BBBHHHH", 6, q, i, at, n, flags, nxt)


def mem(at, data):
    return struct.pack("<BHB", 2, at, len(data)) + data


def packet(op, src, dst, n=0, flags=0, data=b"", alloc=65536, fwd=0):
    return struct.pack("<QQIIIHHIII", 3, 2, src, dst, n, 1, op, flags, alloc, fwd) + data


IND = 1 << 28
save("rng", direct=up() + desc(0, 0, 0x8000, 64, 2) + give(0, 0),
     indirect=up(IND) + mem(0x9000, struct.pack("<QIHHQIHH", 0x8000, 10, 3, 1, 0x8100, 5000, 2, 0)) + desc(0, 0, 0x9000, 32, 4) + give(0, 0),
     loop=up(IND) + desc(0, 0, 0x8000, 8, 3, 1) + desc(0, 1, 0x8000, 8, 3, 0) + give(0, 0) + up() + b"\x03\x00",
     regs=b"".join(struct.pack("<BHBI", 0, off, 2, 0xffffffff) + struct.pack("<BHB", 1, off, 2) for off in range(0, 0x110, 4)))
for ro in (0, 1):
    req = lambda kind, sector, at, n, flags: (mem(0x8000, struct.pack("<IIQ", kind, 0, sector)) + desc(0, 0, 0x8000, 16, 1, 1) +  # noqa: E731
                                              desc(0, 1, at, n, 1 | flags, 2) + desc(0, 2, 0x8100, 1, 2) + give(0, 0))
    save("blk", **{f"all{ro}": bytes([ro | 6]) + up(1 << 29) + req(0, 3, 0x9000, 1024, 2) + req(1, 5, 0x9000, 512, 0) + req(4, 0, 0x9000, 512, 0) +
                   req(8, 0, 0x9000, 20, 2) + mem(0xa000, struct.pack("<QII", 8, 4, 0)) + req(11, 0, 0xa000, 16, 0) + req(13, 0, 0xa000, 16, 0)})
rx = b"".join(desc(0, i, 0xa000 + i * 512, 512, 2) for i in range(8)) + b"".join(give(0, i) for i in range(8))
tx = lambda p: mem(0x8000, p) + desc(1, 0, 0x8000, len(p), 0) + give(1, 0)  # noqa: E731
alive = up() + rx + tx(packet(1, 5000, 1024))
save("vsock", up=alive, dial=alive + b"\x07\x00\x00" + tx(packet(2, 1, 0x40000000)) + tx(packet(5, 1, 0x40000000, 5, 0, b"bytes")) + b"\x07\x02\x00" +
     tx(packet(4, 1, 0x40000000, 0, 3)), inward=alive + tx(packet(1, 7000, 16)) + tx(packet(5, 7000, 16, 3, 0, b"abc")) + b"\x07\x02\x00\x07\x04\x00" +
     tx(packet(7, 7000, 16)) + tx(packet(6, 7000, 16)) + tx(packet(4, 7000, 16, 0, 2)) + tx(packet(3, 7000, 16)),
     refused=alive + tx(packet(1, 7000, 19)) + tx(packet(5, 1, 2)) + tx(packet(99, 1, 2)))
save("serial", life=bytes([3, 0x80, 0, 1, 1, 0, 3, 3, 1, 3, 2, 7, 0, 65, 0x22, 0, 0x40, 0, 0x80, 7, 0x20, 0, 4, 0x10, 0, 66, 0x20, 0, 0x25, 0]))

basic = b"Basic dTpQTEFDRS0x"  # u:PLACE-1
save("inject", plain=b"\x03X: PLACE-1\nAuthorization: mine\n\n/p?k=PLACE-1\nbody sekret-9 and dTpzZWtyZXQtOQ== end", basic=b"\x00A: " + basic + b"\nAccept-Encoding: gzip\n\n/\n", path=b"\x07\n/PLACE-1\n")


def op(kind, data=b"", n=None):
    return bytes([kind]) + struct.pack("<H", len(data) if n is None else n) + data


def h2frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def lit(name, value):
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


get = b"GET /a?x=PLACE-1 HTTP/1.1\r\nHost: own.example\r\nX: PLACE-1\r\n\r\n"
deny = b"GET /deny HTTP/1.1\r\nHost: own.example\r\n\r\n"
post = b"POST /p HTTP/1.1\r\nHost: own.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n"
ws = b"GET /w HTTP/1.1\r\nHost: own.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
settings = h2frame(4, 0, 0)
head2 = b"\x82\x87\x84\x41\x0bown.example"
preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings
req2 = preface + h2frame(1, 5, 1, head2) + h2frame(1, 4, 3, b"\x83" + head2[1:] + lit(b"x", b"PLACE-1")) + h2frame(0, 0, 3, b"some") + h2frame(0, 1, 3, b"body")
ans2 = settings + h2frame(1, 4, 1, b"\x88" + lit(b"x-echo", b"v")) + h2frame(0, 1, 1, b"hello") + h2frame(1, 5, 3, b"\x89")
save("opened",
     h1=bytes([32]) + op(0, get) + op(2, ok) + op(0, deny + post) + op(2, b"HTTP/1.1 100 Continue\r\n\r\n") + op(2, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: u\r\n\r\n") + op(3),
     clear=bytes([36]) + op(0, get[:20]) + op(0, get[20:] + deny) + op(0, deny + post + get.replace(b"PLACE-1", b"")) + op(2, b"HTTP/1.0 200 OK\r\n\r\nuntil") + op(4),
     later=bytes([8]) + op(0, get) + op(5, n=0) + op(6, n=0) + op(2, ok[:30]) + op(2, ok[30:]) + op(0, get) + op(3),
     refused=bytes([8]) + op(0, get) + op(5, n=0) + op(6 | 128, n=0) + op(0, get) + op(5, n=1) + op(6 | 192, n=1), websocket=bytes([32]) + op(0, ws + b"early") +
     op(2, b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframes") + op(0, b"more") + op(4) + op(3),
     h2h1=bytes([33]) + op(0, req2) + op(2, ok) + op(10, ok) + op(7), h2h2=bytes([35]) + op(0, req2) + op(2, ans2) + op(4), little=bytes([32 | 16 | 3]) + op(0, req2) + op(2, ans2) + op(7 | 128),
     cut=bytes([32]) + op(0, post[:90]) + op(2, ok[:45]) + op(4) + op(3), twohosts=bytes([33]) + op(0, preface + h2frame(1, 5, 1, b"\x82\x87\x84" + lit(b":authority", b"evil.example"))))

# policy: rules as text, the file, the blob with facts
save("rule", host=b"allow **.example.org:80,443,8000-8010 GET,POST /v1/**", one=b"deny *.Example.ORG.", tcp=b"ask tcp [2001:db8::1]:5432", net=b"deny 10.0.0.0/8", any=b"*",
     v6=b"2001:db8::/32", number=b"allow 0x7f000001", path=b"/a/../%2e%2e//b?c", glob=b"/v1/*/**/x? /v1/a/b/c/xy", mapped=b"64:ff9b::10.0.0.1")
save("policy", both=b"# c\ndefault: ask\npreset: balanced\nallow:\n  - \"**.a.test:443\"  # x\n  - host: b.test\n    ports: [80, 443]\n    methods: [GET]\n    path: /x/**\n"
     b"    note: n\ndeny: [c.test, \"*.d.test\"]\nask:\n", tcp=b"allow:\n- {host: \"2001:db8::1\", port: 22, tcp: yes}\n- host: a.test\n  ports:\n  - 1\n  - 2-3\n",
     alias=b"allow: &a\n  - a.test\ndeny: *a\n", star=b"allow:\n  - *.a.test\n", twice=b"allow: []\nallow: []\n", flow=b"{allow: [a.test,\n b.test,], deny: ~}\n", empty=b"---\n")


def rule(verdict, scope, flags, kind, host, ports=(), methods=(), path=""):
    return (bytes([verdict, scope, flags, kind]) + host + bytes([len(ports)]) + b"".join(struct.pack("<HH", *x) for x in ports) + bytes([len(methods)]) + b"".join(map(s, methods)) +
            s(path))


def blob(rules, facts, default=2, flags=0):
    data = struct.pack("<IHBBBBI", 0x4C555242, 1, default, 5, flags, 1, len(rules)) + b"".join(rules)
    return struct.pack("<H", len(data)) + data + facts


def facts(proto, port, name, method="", path="", addr=None):
    return struct.pack("<BHB", proto, port, addr is not None) + (addr or bytes(16)) + s(name) + s(method) + s(path)


ten = bytes(10) + b"\xff\xff\x0a" + bytes(3)
save("rules", names=blob([rule(0, 2, 0, 0, s("a.test"), [(443, 443)]), rule(1, 0, 0, 2, s("b.test")), rule(2, 1, 0, 1, s("c.test"), [], ["GET"], "/v1/*")], facts(3, 443, "x.c.test", "GET", "/v1/a")),
     nets=blob([rule(0, 2, 0, 4, bytes([104]) + ten), rule(1, 3, 0, 3, b"")], facts(1, 443, "", addr=ten), 1, 3), tcp=blob([rule(0, 1, 1, 0, s("a.test"), [(22, 23)])], facts(0, 22, "a.test")))
save("balloon", inflate=up(0x22) + mem(0x8000, struct.pack("<IIII", 10, 11, 99999, 0xffffffff)) + desc(0, 0, 0x8000, 16, 0) + give(0, 0) + give(1, 0),
     report=up(0x22) + desc(3, 0, 0xb100, 0x2f00, 2) + give(3, 0), stats=up(0x22) + mem(0x8000, struct.pack("<HQHQ", 4, 1 << 20, 99, 1)) +
     desc(2, 0, 0x8000, 20, 0) + give(2, 0) + b"\x07\x01\x00" + give(2, 0) + b"\x07\x00\x09", hint=up(0x2a) + b"\x07\x02\x00" + mem(0x8000, struct.pack("<II", 2, 0)) +
     desc(3, 0, 0x8000, 4, 0) + give(3, 0) + desc(3, 1, 0x9000, 0x2000, 2) + give(3, 1) + desc(3, 2, 0x8004, 4, 0) + give(3, 2) + desc(4, 0, 0xb000, 0x1000, 2) + give(4, 0))
long = b"".join(desc(1, 0, 0x8000, 0x7fff, 0) + give(1, 0) for _ in range(3))
save("console", out=up() + mem(0x8000, b"text") + desc(1, 0, 0x8000, 4, 0) + give(1, 0) + b"\x07\x01\x05", typed=up() + desc(0, 0, 0x8000, 2, 2) + give(0, 0) + b"\x07\x00\x03" +
     desc(0, 1, 0x8000, 9, 2) + give(0, 1), stalls=up(1 << 29) + long + b"\x07\x01\xff" * 20 + b"\x03\x01", emergency=struct.pack("<BHBI", 0, 0x108, 2, 65))
def vstate(kind, queues, config=b"", features=1 << 32):
    """A device as virtio_save() writes it: running, each queue ready, three requests done."""
    q = [struct.pack("<HBQQQHHH", 16, 1, 0x1000 * n, 0x1000 * n + 0x200, 0x1000 * n + 0x400, 3, 3, 3) for n in range(queues)]
    return struct.pack("<IQIIIIII", kind, features, 0, 0, 0, 15, 0, 0) + config.ljust(96, b"\0") + b"".join(q)


save("state", device=vstate(4, 1), disk=vstate(2, 2, struct.pack("<Q", 128)), channel=vstate(19, 3), squeezed=vstate(5, 5, features=1 << 32 | 0x2e | 3 << 28), tty=vstate(3, 2), serial=bytes(7), balloon=b"\x01\x05\x00\x02\x00\x00\x00\x01",
     whole=struct.pack("<IIIIII", 0x4E534B42, 3, 1, 49, 0, 7) + bytes(7) + bytes(8))

# ---- a workspace's requests (tests/fuzz/fuzz_share.c): opcode, node, length, body ------------------------------------------------------
def rq(op, node=0, body=b"", fh=False):
    return struct.pack("<BBH", op, node | (0x80 if fh else 0), len(body)) + body


def nm(*names):
    return b"".join(n + b"\0" for n in names)


ROOT = struct.pack("<Q", 1)
save("share",
     look=rq(1, 0, nm(b"f")) + rq(1, 0, nm(b"d")) + rq(1, 0, nm(b"l")) + rq(1, 0, nm(b".env")) + rq(3, 1, bytes(16)) + rq(5, 3) + rq(17),
     read=rq(1, 0, nm(b"f")) + rq(14, 1, struct.pack("<II", 2, 0)) + rq(15, 1, bytes(8) + struct.pack("<QII", 0, 4096, 0) + bytes(16), True) +
     rq(16, 1, bytes(8) + struct.pack("<QII", 3, 4, 0) + bytes(16) + b"data", True) + rq(46, 1, bytes(8) + struct.pack("<QII", 0, 3, 0), True) +
     rq(43, 1, bytes(8) + struct.pack("<QQII", 0, 8192, 0, 0), True) + rq(20, 1, bytes(16), True) + rq(18, 1, bytes(24), True),
     list=rq(27, 0, bytes(8)) + rq(28, 0, bytes(8) + struct.pack("<QII", 0, 4096, 0) + bytes(16), True) +
     rq(44, 0, bytes(8) + struct.pack("<QII", 0, 4096, 0) + bytes(16), True) + rq(30, 0, bytes(16), True) + rq(29, 0, bytes(24), True),
     make=rq(35, 0, struct.pack("<IIII", 0x42, 0o644, 0, 0) + nm(b"new")) + rq(9, 0, struct.pack("<II", 0o755, 0) + nm(b"dir")) +
     rq(8, 0, struct.pack("<IIII", 0o100644, 0, 0, 0) + nm(b"node")) + rq(6, 0, nm(b"link", b"../target")) + rq(12, 0, ROOT + nm(b"new", b"old")) +
     rq(45, 0, ROOT + struct.pack("<II", 2, 0) + nm(b"old", b"f")) + rq(10, 0, nm(b"f")) + rq(11, 0, nm(b"dir")),
     window=rq(255, 0, struct.pack("<Q", 2 << 20)) + rq(1, 0, nm(b"f")) + rq(14, 1, struct.pack("<II", 2, 0)) + rq(254, 0, b"\2") +
     rq(16, 1, bytes(8) + struct.pack("<QII", 3, 4, 0) + bytes(16), True) + rq(254, 0, b"\3") +
     rq(15, 1, bytes(8) + struct.pack("<QII", 0, 4096, 0) + bytes(16), True) + rq(254, 0, b"\4") + rq(15, 1, bytes(8) + struct.pack("<QII", 0, 9, 0) + bytes(16), True),
     attrs=rq(1, 0, nm(b"f")) + rq(4, 1, struct.pack("<IIQQQQQQIIIIIIII", 0x1f9, 0, 0, 100, 0, 1, 2, 3, 4, 5, 6, 0o600, 0, 0, 0, 0)) +
     rq(21, 1, struct.pack("<II", 1, 0) + nm(b"user.a") + b"v") + rq(22, 1, struct.pack("<II", 100, 0) + nm(b"user.a")) +
     rq(23, 1, struct.pack("<II", 100, 0)) + rq(24, 1, nm(b"user.a")) + rq(42, 0, struct.pack("<II", 1, 0) + struct.pack("<QQ", 2, 1)),
     forget=rq(1, 0, nm(b"f")) + rq(2, 1, struct.pack("<Q", 9)) + rq(3, 1, bytes(16)) + rq(47, 1, bytes(56)) + rq(26, 0, bytes(64)) + rq(36, 0, bytes(8)))
def hide_lines(*lines):
    return b"\n".join(lines) + b"\n"


save("hide", usual=b"\3a/b\0" + hide_lines(b".env*", b"!.env.example", b"# no", b"deploy/*/key", b"/top", b"dir/"))

OID = b"0123456789abcdef0123456789abcdef01234567"
save("branches", usual=OID + b"\trefs/heads/main\n" + OID + b" refs/heads/feature/x\n" + OID + b"\trefs/tags/v1\n",
     bad=b"".join(OID + b"\trefs/heads/" + n + b"\n" for n in (b"../x", b"HEAD", b"-x", b"a b", b"x.lock", b"\x1b[31m", b"a\0b", b"n" * 201)))
save("gitconfig", usual=b'[core]\n\tbare = false\n[remote "origin"]\n\turl = https://me:token@example.org/a.git\n[extensions]\n\tobjectFormat = sha256\n',
     odd=b'[extensions]refStorage="reftable" ; x\n[Extensions\npartialClone\n[remote "origin"]\nurl=git@example.org:a\\\n')


def changes_entry(path, kind=0, redirect="", link="", opaque=0):
    return frame(131, struct.pack("<BBHIQQQ", kind, opaque, 0o644, 1, 5, 6, 7) + s(path) + s(redirect) + s(link))


begun = frame(130, bytes(range(16)))
save("changes", told=begun + changes_entry("dir", 1) + changes_entry("dir/file") + changes_entry("link", 2, link="../x") + frame(133, b"\0"),
     renamed=begun + changes_entry("gone", 6) + changes_entry("to", 1, redirect="gone") + changes_entry("to/a") + changes_entry("hides", 1, opaque=1) + frame(133, b"\1"),
     again=begun + changes_entry("a/b/c") + frame(132, s("a/b/c")) + changes_entry("odd\xff\n".encode("latin-1")) + begun + frame(133, b"\0"),
     content=frame(135, struct.pack("<IBBHQQQ", 1, 0, 1, 0o644, 3, 4, 0) + struct.pack("<I", 3) + b"abc"), escapes=begun + changes_entry("../x") + changes_entry("/etc/passwd"),
     tree=b"o" + b"s" + s("path") + struct.pack("<I", 1) + b"x" + b"a" + s("list") + b"i" + struct.pack("<q", -1) + b"tfn" + b"e" + b"e",
     ask=struct.pack("<BBBIII", 1, 0, 0, 0, 100, 3) + s("") + struct.pack("<I", 1) + s("dir/file") + b"\1\0" + bytes(32) + struct.pack("<HH", 1, 2))
