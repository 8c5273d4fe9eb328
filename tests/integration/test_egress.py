#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes out of a really booted sandbox: allowed, asked about, denied, injected; published ports; processes that die. Servers of our own."""
import functools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from origins import ADDRESS, Origins  # noqa: E402
from packages import CLIENTS, IMAGE, PLACES, SCRIPT, Packages  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

env = o = tmp = None
ASK_S = 20
SECRET = "sk-really-secret-0123456789abcdef"


def setup():
    global env, o, tmp
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-net-"))
    o = Origins(tmp / "origins")
    o.make_repository()
    o.h2 = o.start_h2()
    o.registry = o.start_registry()
    o.packages = Packages(tmp)
    env = Env()
    d = env.config / "bulkhead"
    d.mkdir()
    (d / "config.yaml").write_text(o.config() + f"ask_ms: {ASK_S * 1000}\n")
    (d / "services.yaml").write_text("testing:\n  hosts: origin.test\n  header: Authorization\n  format: Bearer %s\n  env: TESTING_TOKEN\n")
    for rule in (f"{ADDRESS}", f"origin.test:{o.https}", f"origin.test:{o.http}", f"h2.test:{o.h2}", f"registry.test:{o.registry}"):
        env.run("policy", "allow", rule, ok=0)
    env.run("create", "--name", "net", "--memory", "2G", "shell", ok=0)
    env.run("start", "net", ok=0, timeout=200)


def teardown():
    env.close()
    o.close()
    equal(o.canary_hits, [], "connections that reached what none may reach")
    subprocess.run(["rm", "-rf", str(tmp)], check=False)


def sh(command, ok=0, timeout=120, root=False, **kw):
    return env.run("exec", *(["--user", "root"] if root else []), "net", *[a for k, v in kw.items() for a in ("-e", f"{k}={v}")], "--", "sh", "-c", command, ok=ok, timeout=timeout)


def curl(url, *more, ok=0):
    return sh(f"curl -sS --max-time 40 {' '.join(more)} '{url}'", ok=ok)


def code(url, *more):
    return curl(url, "-o /dev/null -w '%{http_code}'", *more, ok=None).stdout


def asks():
    return env.json("asks")["asks"]


class Running:
    """A command inside that goes on while we do something."""

    def __init__(self, command):
        self.p = subprocess.Popen([env.program, "exec", "net", "--", "sh", "-c", command], env=env.env, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def end(self, timeout=60):
        out, _ = self.p.communicate(timeout=timeout)
        return out


def question(name, seconds=15):
    return wait_for(lambda: next((a for a in asks() if a["name"] == name), None), seconds, f"a question about {name}", every=0.1)


@case
def no_interface():
    "the guest has loopback, docker's bridge and a dummy; no way out but the policy's"
    names = set(sh("ls /sys/class/net").stdout.split())
    assert names <= {"lo", "docker0", "bh0"}, names


@case
def allowed():
    "https and http that a rule allows just work: checked against the origin's own certificate, HTTP/2 too"
    equal(curl(f"https://origin.test:{o.https}/a").stdout, f"hello from origin.test:{o.https} GET /a\n")
    equal(curl(f"http://origin.test:{o.http}/b").stdout, f"hello from origin.test:{o.http} GET /b\n")
    contains(curl(f"https://h2.test:{o.h2}/", "-w '%{http_version}'").stdout, "hello over h2\n2")


@case
def bulk():
    "8 MiB down and up through the proxy are the bytes they were"
    got = sh(f"curl -sS 'https://origin.test:{o.https}/big={8 << 20}' | sha256sum").stdout.split()[0]
    want = subprocess.run(["sha256sum"], input=bytes(range(256)) * (32 << 10), capture_output=True, check=True).stdout.split()[0].decode()
    equal(got, want)
    sh("head -c 8388608 /dev/urandom > /tmp/up")
    equal(sh(f"curl -sS --data-binary @/tmp/up https://origin.test:{o.https}/sum").stdout.split()[0], sh("sha256sum /tmp/up").stdout.split()[0])


@case
def ask_then_allow():
    "what no rule decides waits for a person; after 'allow' the very connection goes on"
    run = Running(f"curl -sS --max-time 40 https://other.test:{o.https}/waited")
    a = question("other.test")
    equal((a["port"], a["comm"], a["count"]), (o.https, "curl", 1))
    env.run("answer", str(a["id"]), "allow", ok=0)
    equal(run.end(), f"hello from other.test:{o.https} GET /waited\n")
    equal(asks(), [])
    late = env.run("answer", str(a["id"]), "deny", ok=1)
    contains(late.stderr, "answered with 'allow'")


@case
def ask_then_deny():
    "after 'deny' the client reads why, in words, with what the operator could do"
    run = Running(f"curl -sS -w '%{{http_code}}' --max-time 40 https://other.test:{o.https}/denied")
    env.run("answer", str(question("other.test")["id"]), "deny", ok=0)
    text = run.end()
    contains(text, "other.test")
    contains(text, "403")
    contains(text, "bulkhead policy allow")


@case
def nobody_answers():
    "a question nobody answers in time is a denial"
    t = time.monotonic()
    text = curl(f"https://other.test:{o.https}/late", "-w '%{http_code}'").stdout
    contains(text, "403")
    assert ASK_S - 1 < time.monotonic() - t < ASK_S + 40, time.monotonic() - t


@case
def joined():
    "ten connections to one host are one question with a count; one answer lets all go on"
    run = Running(f"for i in $(seq 10); do curl -sS --max-time 40 https://third.test:{o.https}/$i & done; wait")
    a = wait_for(lambda: next((a for a in asks() if a["name"] == "third.test" and a["count"] == 10), None), ASK_S, "ten joined", every=0.1)
    env.run("answer", str(a["id"]), "allow", ok=0)
    equal(run.end().count("hello from third.test"), 10)


@case
def always():
    "'always' writes the rule first: the next connection is not asked about; policy ls shows it"
    run = Running(f"curl -sS --max-time 40 https://third.test:{o.https}/first")
    env.run("answer", str(question("third.test")["id"]), "allow", "--scope", "always", ok=0)
    contains(run.end(), "hello")
    contains(curl(f"https://third.test:{o.https}/second").stdout, "hello")
    contains(env.run("policy", "ls", ok=0).stdout, "third.test")
    env.run("policy", "rm", f"allow third.test:{o.https}", ok=0)


@case
def raw_tcp():
    "a protocol that is neither TLS nor HTTP needs a rule that says tcp; else the connection is reset at once"
    talk = f"exec 3<>/dev/tcp/other.test/{o.tcp}; read -t 40 a <&3; echo hi >&3; read -t 40 b <&3; echo $a $b"
    env.run("policy", "deny", f"tcp other.test:{o.tcp}", ok=0)
    t = time.monotonic()
    equal(sh(f"bash -c '{talk}'", ok=None).stdout.strip(), "")
    assert time.monotonic() - t < 36, "it waited for the client"
    equal(o.tcp_seen, 0)
    env.run("policy", "rm", f"deny tcp other.test:{o.tcp}", ok=0)
    env.run("policy", "allow", f"tcp other.test:{o.tcp}", ok=0)
    equal(sh(f"bash -c '{talk}'").stdout.strip(), "ready HI")


@case
def methods_and_paths():
    "a rule of methods and paths opens TLS: the guest trusts our authority, each request is decided by itself"
    env.run("policy", "allow", f"other.test:{o.https} GET,HEAD /open/**", ok=0)
    env.run("policy", "deny", f"other.test:{o.https} POST", ok=0)
    contains(curl(f"https://other.test:{o.https}/open/x").stdout, "GET /open/x")
    equal(code(f"https://other.test:{o.https}/open/x", "-X POST -d a=b"), "403")
    contains(sh(f"curl -sSv https://other.test:{o.https}/open/x 2>&1").stdout.lower(), "bulkhead")
    for rule in (f"allow other.test:{o.https} GET,HEAD /open/**", f"deny other.test:{o.https} POST"):
        env.run("policy", "rm", rule, ok=0)


@case
def locked_but_for_a_path():
    "where everything is denied but one path of a host, its TLS is opened to see the path, and another host's is not"
    narrow = f"a.deep.test:{o.https}"
    env.run("policy", "preset", "-s", "net", "locked", ok=0)
    env.run("policy", "allow", "-s", "net", narrow, "GET", "/only/**", ok=0)
    try:
        equal(curl(f"https://{narrow}/only/a/b").stdout, f"hello from {narrow} GET /only/a/b\n")
        for target in ("/else", "/only/../else", "/only/%2e%2e/else"):
            equal(code(f"https://{narrow}{target}", "--path-as-is"), "403", target)
        equal(code(f"https://{narrow}/only/x", "-X POST"), "403")
        equal(code(f"https://b.deep.test:{o.https}/only/x"), "403")
        equal(asks(), [])
    finally:
        env.run("policy", "preset", "-s", "net", "none", ok=0)
        env.run("policy", "rm", "-s", "net", "allow", narrow, "GET", "/only/**", ok=0)


@case
def credentials():
    "a key is put in by the host and is nowhere in the guest; an echo of it is masked"
    env.run("secret", "set", "testing", "--stdin", input=SECRET + "\n", ok=0)
    placeholder = sh("printf %s \"$TESTING_TOKEN\"").stdout
    assert placeholder and SECRET not in placeholder, placeholder
    contains(curl(f"https://origin.test:{o.https}/x").stdout, "hello")
    equal(o.seen[-1]["headers"] and {k.lower(): v for k, v in o.seen[-1]["headers"]}.get("authorization"), f"Bearer {SECRET}")
    sh(f"curl -sS -H 'X-Api-Key: '\"$TESTING_TOKEN\" https://origin.test:{o.https}/y")
    equal({k.lower(): v for k, v in o.seen[-1]["headers"]}["x-api-key"], SECRET)
    echoed = curl(f"https://origin.test:{o.https}/echo-auth", "-i").stdout
    assert SECRET not in echoed, echoed
    found = sh(f"LC_ALL=C grep -ralF -- '{SECRET[:20]}' /proc/[0-9]*/environ /home /etc /tmp /root /run 2>/dev/null | head -3", ok=None, timeout=300).stdout
    equal(found, "")
    assert SECRET not in env.run("policy", "log", "--json", ok=0).stdout
    env.run("secret", "rm", "testing", ok=0)


@case
def git_over_https():
    "git clones and pushes over https"
    url = f"https://origin.test:{o.https}/git/project.git"
    sh(f"rm -rf /tmp/p; git clone -q {url} /tmp/p && cd /tmp/p && echo more >> file && git -c user.name=a -c user.email=a@a.test commit -qam more && git push -q")
    log = subprocess.run(["git", "-C", str(o.git / "project.git"), "log", "--oneline"], capture_output=True, text=True, check=True).stdout
    equal(len(log.splitlines()), 2)


@case
def websocket_and_events():
    "a WebSocket talks through opened HTTP; server-sent events come one by one"
    script = f"""
import base64,os,socket
s=socket.create_connection(("origin.test",{o.http}))
s.sendall(b"GET /ws HTTP/1.1\\r\\nHost: origin.test:{o.http}\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: "+base64.b64encode(os.urandom(16))+b"\\r\\n\\r\\n")
f=s.makefile("rb"); print(f.readline().decode().strip())
while f.readline().strip(): pass
m=os.urandom(4); d=b"hello socket"
s.sendall(bytes([0x81,0x80|len(d)])+m+bytes(b^m[i%4] for i,b in enumerate(d))); h=f.read(2); print(f.read(h[1]).decode())
"""
    out = env.run("exec", "net", "--", "python3", "-c", script, ok=0).stdout
    contains(out, "101")
    contains(out, "hello socket")
    times = sh(f"curl -sSN http://origin.test:{o.http}/sse | while read l; do [ \"$l\" ] && date +%s%N; done; true").stdout.split()
    equal(len(times), 3)
    assert int(times[2]) - int(times[0]) > 300_000_000, times


def docker_ready():
    wait_for(lambda: env.json("ls")["sandboxes"][0]["docker"]["state"] == "ready", 180, "dockerd", every=0.5)


@functools.cache
def clients():
    """Where the clients run: the script in the guest, the image in its dockerd."""
    env.run("exec", "--user", "root", "net", "--", "sh", "-c", "cat > /opt/fetch.sh", input=SCRIPT, ok=0)
    docker_ready()
    sh(IMAGE, root=True)


@case
def containers():
    "curl in docker run and in docker build, and docker pull and push, by the policy"
    clients()
    equal(sh(f"docker run --rm clients curl -sS http://origin.test:{o.http}/c", timeout=200).stdout, f"hello from origin.test:{o.http} GET /c\n")
    built = sh(f"printf 'FROM clients\\nRUN curl -sS http://origin.test:{o.http}/build\\n' | docker build --no-cache --progress=plain --output type=cacheonly - 2>&1", timeout=300).stdout
    contains(built, f"hello from origin.test:{o.http} GET /build\n")
    pushed()


SIX = """
import socket, struct
name = b"".join(bytes([len(l)]) + l for l in b"origin.test".split(b".")) + b"\\0"
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.settimeout(20); s.connect(("2001:db8::53", 53))
s.send(struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + name + struct.pack(">HH", 1, 1))
print("by IPv6", ".".join(map(str, s.recv(512)[-4:-2])))
"""


@case
def containers_with_ipv6():
    "a container of a network with IPv6 resolves over it and reaches what is allowed; an address by IPv6 that no rule names is asked about as any"
    clients()
    sh("docker network create --ipv6 --subnet fd77:2::/64 six", timeout=120)
    try:
        said = sh(f"docker run --rm --network six -e SIX=\"$SIX\" clients sh -c 'grep -c ^fd77 /proc/net/if_inet6 || ls /proc/net/if_inet6; python3 -c \"$SIX\"; curl -sS https://origin.test:{o.https}/six'",
                  timeout=200, SIX=SIX).stdout
        contains(said, "by IPv6 198.18\n")
        contains(said, f"hello from origin.test:{o.https} GET /six\n")
        run = Running(f"docker run --rm --network six clients curl -sS -o /dev/null -w '%{{http_code}}' 'http://[2001:db8::77]:{o.http}/'")
        a = wait_for(lambda: next((a for a in asks() if a["address"] == "2001:db8::77"), None), 60, "the question", every=0.2)
        equal((a["name"], a["port"], a["comm"]), ("", o.http, "curl"))
        env.run("answer", str(a["id"]), "deny", ok=0)
        contains(run.end(), "403")
    finally:
        sh("docker network rm six", ok=None)


@functools.cache
def pushed():
    """A tiny image in the registry, and not here."""
    docker_ready()
    name = f"registry.test:{o.registry}/tiny"
    sh(f"printf 'FROM scratch\\nCOPY hosts /\\n' > /tmp/D; docker build -q -f /tmp/D -t {name} /etc && docker push -q {name} && docker rmi -f {name}", timeout=300)


HERE, INSIDE = ("guest",), ("run", "build")


def fetch(word, answer, places, timeout=400):
    """In each place every client fetches its own, all at once; what asks is given the answer. {(place, client): (status, words)}, and who asked."""
    clients()
    want = {(p, c) for p in places for c in CLIENTS} | ({("guest", "pull")} if "guest" in places else set())
    if "guest" in places:
        pushed()
    runs = {p: Running(PLACES[p].format(f"{word}-{p} {o.https} {o.registry} {' '.join(c for q, c in sorted(want) if q == p)}")) for p in places}
    asked, inside, end = set(), set(), time.monotonic() + timeout
    while any(r.p.poll() is None for r in runs.values()) and time.monotonic() < end:
        for a in asks():
            if m := re.fullmatch(rf"([a-z]+)-{word}-([a-z]+)\.deep\.test", a["name"]):
                asked.add((m[2], m[1]))
                inside.add((m[2], a["container"]))
                if answer:
                    env.run("answer", str(a["id"]), answer)  # it may have gone meanwhile
        time.sleep(0.2)
    out = {}
    for p, r in runs.items():
        said = r.end(30)
        got = {(p, m[1]): (int(m[2]), m[3]) for m in re.finditer(r"^(?:#\d+ [\d.]+ )?([a-z]+) (\d+) (.*)$", said, re.M) if (p, m[1]) in want}
        equal(sorted(got), sorted(w for w in want if w[0] == p), said)
        out.update(got)
    equal(asks(), [])
    assert not asked or {c for p, c in inside if p == "run"} <= {"fetch"}, inside
    return out, asked


def works(word, answer, places):
    out, asked = fetch(word, answer, places)
    equal({c: words for c, (status, words) in out.items() if status != 0}, {})
    equal(asked, set(out) if answer else set())


def fails(word, answer, places):
    out, asked = fetch(word, answer, places)
    # docker waits ten seconds for a server's half of the handshake, which is less than a question's time; pip does not tell why it found nothing.
    known = {"pull": "403|Bulkhead blocked this request|TLS handshake timeout", "pip": "403|No matching distribution found"}
    equal({c: words for c, (status, words) in out.items() if status == 0 or not re.search(known.get(c[1], "403"), words)}, {})
    equal(asked, set(out))
    equal([r["host"] for r in o.seen if f"-{word}-" in r["host"]], [], "the origin was reached")


@case
def every_client_allowed():
    "curl, git, apt, pip, npm and docker pull at once: what a rule allows just works"
    env.run("policy", "allow", "**.deep.test", ok=0)
    try:
        works("free", None, HERE)
    finally:
        env.run("policy", "rm", "allow **.deep.test", ok=0)


@case
def every_client_asks_and_is_allowed():
    "each of them waits for the person, and after 'allow' goes on as if nothing had been"
    works("ask", "allow", HERE)


@case
def every_client_asks_and_is_denied():
    "each of them reads the denial in its way and reaches nothing"
    fails("no", "deny", HERE)


@case
def every_client_when_nobody_answers():
    "each of them is denied when its time is over"
    fails("late", None, HERE)


@case
def clients_inside_ask_and_are_allowed():
    "curl, git, apt, pip and npm in a container and in a step of docker build: each waits for the person, and after 'allow' goes on"
    works("ask", "allow", INSIDE)


@case
def clients_inside_ask_and_are_denied():
    "each of them inside reads the denial and reaches nothing"
    for place in INSIDE:  # one after the other: who is slow to say hello is taken for raw TCP, and reset instead of told
        fails("no", "deny", (place,))


@case
def clients_inside_when_nobody_answers():
    "each of them inside is denied when its time is over"
    for place in INSIDE:  # as above
        fails("late", None, (place,))


@case
def published_port():
    "a published port leads into the sandbox, on loopback only, until it is removed"
    sh("cd /tmp && echo inside > page && (setsid python3 -m http.server 3000 --bind 127.0.0.1 >/dev/null 2>&1 &) ; sleep 1")
    port = json.loads(env.run("ports", "net", "--publish", "0:3000", "--json", ok=0).stdout)
    port = port.get("ports", [port])[0]["host_port"]

    def get():
        with socket.create_connection((ADDRESS, port), 10) as s:
            s.sendall(b"GET /page HTTP/1.0\r\n\r\n")
            data = b""
            while part := s.recv(4096):
                data += part
            return data
    def there():
        try:
            return b"inside" in get()
        except ConnectionError:  # the server inside is not up yet
            return False
    wait_for(there, 20, "the page", every=0.3)
    listed = env.json("ports", "net")["ports"]
    equal([(p["host_port"], p["guest_port"], p["host_address"]) for p in listed], [(port, 3000, ADDRESS)])
    env.run("ports", "net", "--unpublish", str(listed[0]["id"]), ok=0)
    try:
        get()
        raise AssertionError("the port still answers")
    except ConnectionRefusedError:
        pass


@case
def rules_change_at_once():
    "a new 'deny' ends an open connection and a held one; a new 'allow' lets a held one go on"
    slow = Running(f"curl -sSN --max-time 50 https://origin.test:{o.https}/drip | wc -l")
    held = Running(f"curl -sS --max-time 30 https://other.test:{o.https}/held")
    question("other.test")
    env.run("policy", "allow", f"other.test:{o.https}", ok=0)
    contains(held.end(), "GET /held")
    env.run("policy", "deny", f"origin.test:{o.https}", ok=0)
    assert int(slow.end(20).split()[-1]) < 200
    env.run("policy", "rm", f"deny origin.test:{o.https}", ok=0)
    env.run("policy", "rm", f"allow other.test:{o.https}", ok=0)


@case
def processes_die():
    "bulkhead-net killed: the next connection works; the supervisor killed while one is held: the next one has the question and answers it"
    for pid in env.processes():
        if os.readlink(f"/proc/{pid}/exe").endswith("/bulkhead-net"):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: "hello" in curl(f"https://origin.test:{o.https}/again", ok=None).stdout, 20, "a connection through a new bulkhead-net", every=0.3)
    run = Running(f"curl -sS --max-time 40 https://other.test:{o.https}/over")
    question("other.test")
    os.kill(env.supervisor_pid(), signal.SIGKILL)
    a = question("other.test")
    env.run("answer", str(a["id"]), "allow", ok=0)
    contains(run.end(), "GET /over")


@case
def audit():
    "the audit log of all this is whole; a byte changed in it is found"
    r = env.json("audit", "verify")
    assert r["ok"] and r["records"] > 40, r


if __name__ == "__main__":
    main(setup, teardown)
