#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real, sealed bulkhead-net without a machine: what it keeps for a supervisor that is gone or slow, and questions. TAP."""
import base64
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine, tls_get  # noqa: E402
from memory import outside_locked, places_of  # noqa: E402
from origins import ADDRESS, Origins  # noqa: E402
from tap import Skip, case, contains, equal, main, wait_for  # noqa: E402

tmp = o = None


def alone():
    """Goes on in a network namespace of its own, where there is one: no address but the loopback's is anywhere, and that is known at once."""
    way = ["unshare", *(["-r"] if os.geteuid() else []), "-n"]
    if not os.environ.get("BULKHEAD_TEST_ALONE") and not subprocess.run([*way, "true"], capture_output=True).returncode:
        os.execvpe("unshare", [*way, "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", sys.executable, *sys.argv], {**os.environ, "BULKHEAD_TEST_ALONE": "1"})


def setup():
    global tmp, o
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-net-"))
    o = Origins(tmp / "origins")


def teardown():
    o.close()
    shutil.rmtree(tmp, ignore_errors=True)


def engine(*rules, **kw):
    return Engine(tmp, rules=[ADDRESS, *rules], dns=f"{ADDRESS}:{o.dns}", ca_file=o.ca, **kw)


def clear(path, *fields, method="GET", host="origin.test"):
    """A request of HTTP in clear."""
    return "".join(f"{x}\r\n" for x in (f"{method} {path} HTTP/1.1", f"Host: {host}:{o.http}", *fields)).encode() + b"\r\n"


class Talk:
    """A guest's connection of HTTP in clear: requests go out at once, answers are counted as they come."""

    def __init__(self, e, host="origin.test", data=b"", timeout=30):
        self.s = e.connect(host, o.http, timeout)
        self.s.sendall(data)
        self.data = b""
        equal(e.opened(self.s), True)

    def statuses(self, n):
        """The first n answers, the last of them whole: a change of rules may end one that is still on its way."""
        while self.data.count(b"HTTP/1.1 ") < n or not self._whole(n):
            part = self.s.recv(65536)
            if not part:
                raise AssertionError(f"ended after {self.data[-500:]!r}")
            self.data += part
        return re.findall(rb"HTTP/1\.1 (\d+)", self.data)[:n]

    def _whole(self, n):
        head, end, body = self.data.split(b"HTTP/1.1 ")[n].partition(b"\r\n\r\n")
        length = re.search(rb"(?i)^content-length: *(\d+)", head, re.M)
        return end and (not length or len(body) >= int(length[1]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.s.close()


def numbers(e, pattern=""):
    return [int(n) for n in re.findall(rf"^(?:decided|closed|alarm|injected) {pattern}.* n=(\d+) ", e.said(), re.M)]


@case
def records_wait_for_the_next_supervisor():
    "what is decided while there is no supervisor is told to the next; what one had not written yet is told again, with its number"
    with engine(f"origin.test:{o.http}") as e:
        e.tell("leave")
        with Talk(e, data=clear("/alone")) as t:
            equal(t.statuses(1), [b"200"])
        equal(e.count("/alone"), 0)
        e.tell("back")
        e.wait(r"^decided allow origin\.test:\d+ GET /alone ")
        e.wait(r"^closed allow origin\.test:\d+ GET /alone ")
        e.tell("mute")
        with Talk(e, data=clear("/unwritten")) as t:
            equal(t.statuses(1), [b"200"])
        first = e.wait(r"^decided allow \S+ GET /unwritten .* n=(\d+) ")[1]
        e.tell("leave")
        e.tell("unmute")
        e.tell("back")
        wait_for(lambda: e.count(rf"GET /unwritten .* n={first} ") == 2, 20, "the record again")
        e.tell("leave")
        e.tell("back")
        e.wait(r"(?s)(adopted.*){3}")
        with Talk(e, data=clear("/after")) as t:
            equal(t.statuses(1), [b"200"])
        e.wait(r"^decided allow \S+ GET /after ")
        equal(e.count(r"GET /unwritten .* n=%s " % first), 2, "what was written is not told again")


def flood(n, host="origin.test"):
    return b"".join(clear(f"/no/{i:05}-" + "x" * 900, host=host) for i in range(n))


@case
def a_flood_of_refusals_waits():
    "a guest that makes refusals while nobody takes their records is made to wait; then every one of them is told, and what was let out too"
    n = 4000
    with engine(f"origin.test:{o.http}", f"deny origin.test:{o.http} /no/**") as e:
        e.tell("leave")
        with Talk(e, data=clear("/first")) as t:
            equal(t.statuses(1), [b"200"])
            t.s.setblocking(False)
            data = flood(n)
            while "does not keep up" not in pathlib.Path(e.log).read_text():
                for step in (lambda: t.s.send(data[:50000]), lambda: t.s.recv(65536)):
                    try:
                        done = step()
                    except BlockingIOError:
                        continue
                    data, t.data = (data[done:], t.data) if isinstance(done, int) else (data, t.data + done)
            had = t.data.count(b"HTTP/1.1 403")
            equal(500 < had < n, True, had)
            # Nobody else gets through meanwhile.
            with e.connect("origin.test", o.http, timeout=1) as other:
                other.sendall(clear("/meanwhile"))
                try:
                    raise AssertionError(f"an answer: {other.recv(100)!r}")
                except TimeoutError:
                    pass
                equal(e.count("^lost"), 0)
                e.tell("back")
                other.settimeout(30)
                equal(e.opened(other), True)
                contains(other.recv(9999), b"200")
            t.s.settimeout(60)
            rest = threading.Thread(target=t.s.sendall, args=(data,))
            rest.start()
            equal(t.statuses(n + 1)[1:], [b"403"] * n)
            rest.join()
        e.wait(r"^decided allow \S+ GET /meanwhile ")
        wait_for(lambda: e.count("^decided deny") == n, 60, f"{n} records of refusals")
        equal(e.count("^lost"), 0)
        got = numbers(e)
        equal(got, sorted(set(got)), "in order, none twice")
        equal(got[0], 1)
        equal(len(got), got[-1], "none left out")


@case
def what_finds_no_room_is_counted():
    "refusals that need no decision (another Host) go on; what finds no room is counted in one record, and nothing is let out unrecorded"
    n = 6000
    with engine(f"origin.test:{o.http}") as e:
        e.tell("leave")
        with Talk(e, data=clear("/first")) as t:
            equal(t.statuses(1), [b"200"])
            data = flood(n, host="evil.test")
            while data:
                data = data[t.s.send(data[:50000]):]
                t.statuses(t.data.count(b"HTTP/1.1 ") + 1)
            equal(t.statuses(n + 1)[1:], [b"421"] * n)
            before = len(o.seen)
            t.s.sendall(clear("/after"))
            t.s.settimeout(1)
            try:
                raise AssertionError(f"it was let out: {t.statuses(n + 2)[-1]}")
            except TimeoutError:
                equal(len(o.seen), before)
            e.tell("back")
            t.s.settimeout(30)
            equal(t.statuses(n + 2)[-1], b"200")
        e.wait(r"^decided allow \S+ GET /after ")
        equal(int(e.wait(r"^lost (\d+)$")[1]) > 1000, True)
        wait_for(lambda: e.count(r"^(decided|closed) .*/no/") + sum(map(int, re.findall(r"^lost (\d+)$", e.said(), re.M))) == 2 * n, 20, f"{n} refusals in all")


@case
def a_credential_stands_in_locked_pages_only():
    "told by the supervisor and again, put into requests of both versions, echoed: nowhere but in pages that are locked and in no core dump"
    value = "sk-" + "0123456789abcdef" * 3
    ca = tmp / "ours.pem"
    with engine(f"origin.test:{o.https}", ca_out=ca, secrets=[("origin.test", "Authorization", "Bearer %s", "placeholder-4321", value),
                                                              ("origin.test", "", "", "placeholder-other", "other" + value)]) as e:
        wait_for(lambda: len(places_of(e.pid, value.encode())) == 3, 20, "each value, and the one made up for its field, to be there, and no message", every=0.1)
        for path in ("/plain", "/echo-auth", "/q?a=placeholder-4321&b=placeholder-other"):
            contains(tls_get(e, "origin.test", o.https, ca, path, "X-Key: placeholder-4321", "Authorization: Basic " + base64.b64encode(b"x:placeholder-4321").decode()), "200 OK")
        equal(value in o.seen[-1]["path"], True)
        e.wait(r"(?s)(^closed .*){3}")
        equal(outside_locked(e.pid, value.encode()), [])
        e.tell("leave")
        e.tell("back")
        e.wait("^adopted")
        e.tell("secrets")  # once more, over the new connection
        contains(tls_get(e, "origin.test", o.https, ca, "/again"), "200 OK")
        equal(outside_locked(e.pid, value.encode()), [])


def asked(e, want, count=1):
    """The number of the question that is told now, the `want`th of them all."""
    return wait_for(lambda: (ids := re.findall(rf"^ask (\d+) \S+ count={count}$", e.said(), re.M)) and len(set(ids)) >= want and ids[-1], 20, f"question {want} in:\n{e.said()[-1500:]}")


@case
def an_answer_lets_through_what_it_showed():
    "once is for what the same rule asks about on this connection, and for the same path where that rule looks at paths"
    with engine(f"ask origin.test:{o.http}", f"ask origin.test:{o.http} /admin/**") as e, Talk(e, data=clear("/public")) as t:
        e.tell(f"answer {asked(e, 1)} allow")
        equal(t.statuses(1), [b"200"])
        t.s.sendall(clear("/public/more"))
        equal(t.statuses(2), [b"200"] * 2)
        equal(e.count("^ask"), 1)
        t.s.sendall(clear("/admin/a"))
        e.tell(f"answer {asked(e, 2)} allow")
        equal(t.statuses(3), [b"200"] * 3)
        t.s.sendall(clear("/admin/a") + clear("/admin/b"))
        e.tell(f"answer {asked(e, 3)} deny")
        equal(t.statuses(5), [b"200"] * 4 + [b"403"])
        equal(e.count("^ask"), 3)


@case
def questions_of_a_path_are_not_joined():
    "two requests that one rule of paths asks about are two questions; without a path they are one, and each still decides by itself"
    with engine(f"ask origin.test:{o.http} /admin/**", f"ask other.test:{o.http}") as e:
        with Talk(e, data=clear("/admin/a")) as a, Talk(e, data=clear("/admin/b")) as b:
            ids = wait_for(lambda: len(ids := sorted(set(re.findall(r"^ask (\d+) ", e.said(), re.M)))) == 2 and ids, 20, "two questions")
            e.tell(f"answer {ids[0]} allow")
            e.tell(f"answer {ids[1]} deny")
            equal({a.statuses(1)[0], b.statuses(1)[0]}, {b"200", b"403"})
        with Talk(e, "other.test", clear("/fine", host="other.test")) as a, Talk(e, "other.test", clear("/secret/x", host="other.test")) as b:
            n = asked(e, 1, count=2)
            e.tell(f"rules {ADDRESS}; ask other.test:{o.http}; deny other.test:{o.http} /secret/**")
            equal(b.statuses(1), [b"403"])
            e.wait(rf"(?s)^ask {n} other\.test:\d+ count=2$.*^ask {n} other\.test:\d+ count=1$")
            e.tell(f"answer {n} allow")
            equal(a.statuses(1), [b"200"])
        e.wait(rf"^decided deny other\.test:\d+ GET /secret/x .*\[deny other\.test:\d+ /secret/\*\*\]")


def waits(e, n):
    """How many wait for the answer, by what was told last."""
    return int(re.findall(rf"^ask {n} \S+ count=(\d+)$", e.said(), re.M)[-1])


@case
def who_gave_up_may_come_again():
    "the question of a client that left stays, its next attempt joins it, and an answer in between holds for the next one: once"
    with engine(f"ask origin.test:{o.http}") as e:
        for _ in range(2):
            with Talk(e, data=clear("/late")):
                n = asked(e, 1)
                wait_for(lambda: waits(e, n) == 1, 20, "it to be told as waiting")
            wait_for(lambda: waits(e, n) == 0, 20, "it to be told as gone")
        equal(len(set(re.findall(r"^ask (\d+) ", e.said(), re.M))), 1)
        equal(e.count("^gone"), 0)
        e.tell(f"answer {n} allow")
        e.wait(rf"^gone {n} answered$")
        with Talk(e, data=clear("/late")) as t:
            equal(t.statuses(1), [b"200"])
        with Talk(e, data=clear("/late")):
            later = asked(e, 2)
        e.wait(rf"^ask {later} \S+ count=0$")
        e.tell(f"answer {later} deny")
        with Talk(e, data=clear("/late")) as t:
            equal(t.statuses(1), [b"403"])
        # An answer that became a rule which was taken back again is none.
        with Talk(e, data=clear("/late")):
            last = asked(e, 3)
        e.wait(rf"^ask {last} \S+ count=0$")
        e.tell(f"answer {last} allow")
        e.tell(f"rules {ADDRESS}; ask origin.test:{o.http}")
        with Talk(e, data=clear("/late")):
            asked(e, 4)


@case
def what_is_not_answered_ends_in_time():
    "also the question whose client has left; another one is asked anew"
    with engine(f"ask origin.test:{o.http}", ask_ms=1000) as e:
        with Talk(e, data=clear("/late")):
            n = asked(e, 1)
        e.wait(rf"(?s)^ask {n} \S+ count=0$.*^gone {n} timeout$")
        with Talk(e, data=clear("/late")) as t:
            asked(e, 2)
            equal(t.statuses(1), [b"403"])


@case
def a_change_of_rules_ends_what_they_refuse_now():
    "connections to an address that is denied now, or was let through by a rule that is gone: passed on ones end, opened ones go on where they may"
    first = f"tcp origin.test:{o.tcp}; origin.test:{o.http}"
    for after, why in ((f"{first}; {ADDRESS}; deny 127.0.0.0/8", "denied one \\(deny 127"), (first, "loopback address")):
        with engine(*first.split("; ")) as e, e.connect("origin.test", o.tcp) as s, Talk(e, data=clear("/one")) as t:
            equal(e.opened(s), True)
            equal(s.recv(6), b"ready\n")
            equal(t.statuses(1), [b"200"])
            before = len(o.seen)
            e.tell(f"rules {first}; {ADDRESS}; deny else.test")
            t.s.sendall(clear("/two"))
            equal(t.statuses(2), [b"200"] * 2)
            e.tell(f"rules {after}")
            equal(s.recv(1), b"")
            e.wait(rf"^decided deny origin\.test:{o.tcp} .*its address is {why}")
            t.s.sendall(clear("/three"))
            equal(t.statuses(3)[2], b"403")
            equal([r["path"] for r in o.seen[before:]], ["/two"])


@case
def a_forbidden_address_is_one_denial():
    "an allowed name at a forbidden address, in clear, opened, passed on, raw: one decision a connection or request, a denial that says which address; no key is put in"
    inner, ours = "10.9.8.7", tmp / "ours.pem"
    o.names.update({"inner.test": inner, "kept.test": inner, "both.test": [inner, ADDRESS]})
    try:
        with Engine(tmp, rules=["*", f"tcp *:{o.tcp}"], secrets=[("kept.test", "Authorization", "Bearer %s", "placeholder-of-a-key", "sk-really-secret")],
                    dns=f"{ADDRESS}:{o.dns}", ca_file=o.ca, ca_out=ours) as e:
            with Talk(e, "inner.test", clear("/a", host="inner.test")) as t:
                equal(t.statuses(1), [b"403"])
                t.s.sendall(clear("/b", host="inner.test"))
                equal(t.statuses(2), [b"403"] * 2)
                contains(t.data.decode(), "private address")
                assert inner not in t.data.decode(), "the guest is told an address of the host's network"
            for name in ("kept.test", "inner.test"):
                contains(tls_get(e, name, o.https, ours), "HTTP/1.1 403 ")
            with e.connect("inner.test", o.tcp) as s:
                s.sendall(b"\1hello")
                equal(e.opened(s), False)
            why = rf"status=\d+ in=\d+ out=\d+ to={inner} n=\d+ \[its address is private address\]$"
            for what in (rf"inner\.test:{o.http} GET /a", rf"inner\.test:{o.http} GET /b", rf"kept\.test:{o.https} GET /x", rf"inner\.test:{o.https}  ", rf"inner\.test:{o.tcp}  "):
                e.wait(rf"^decided deny {what} ?{why}")
            equal((e.count("^decided "), e.count("^decided deny "), e.count("^injected "), e.count("^closed allow ")), (5, 5, 0, 0), e.said())
        with engine("*") as e:  # where one of a name's addresses may be reached it is, and the record says which
            with Talk(e, "both.test", clear("/c", host="both.test")) as t:
                equal(t.statuses(1), [b"200"])
            e.wait(rf"^decided allow both\.test:{o.http} GET /c status=0 in=0 out=0 to={ADDRESS} ")
            equal(e.count("^decided "), 1, e.said())
    finally:
        for name in ("inner.test", "kept.test", "both.test"):
            del o.names[name]


def nat64(prefix, bits, v4):
    """RFC 6052, 2.2."""
    b, at = bytearray(socket.inet_pton(socket.AF_INET6, prefix)), bits // 8
    for byte in socket.inet_aton(v4):
        at += at == 8
        b[at] = byte
        at += 1
    return socket.inet_ntop(socket.AF_INET6, bytes(b))


@case
def a_networks_own_nat64():
    "its prefix is learnt from the host's resolver, whatever its length: what hides a forbidden or denied IPv4 address is refused, what leads elsewhere is not"
    prefixes = {32: "2001:db8::", 40: "2001:db8:100::", 48: "2001:db8:122::", 56: "2001:db8:122:300::", 64: "2001:db8:122:344::", 96: "2001:db8:122:344::"}
    hidden = {"ten": ("10.0.0.1", "NAT64 of private address"), "loop": (ADDRESS, "NAT64 of loopback address"), "link": ("169.254.169.254", "NAT64 of metadata address"),
              "named": ("10.0.0.9", None), "literal": ("10.0.0.10", None), "denied": ("198.51.100.7", r"NAT64 of denied one \(deny 198\.51\.100\.0/24\)"), "fine": ("203.0.113.5", None)}
    try:
        for bits, prefix in prefixes.items():
            o.names["ipv4only.arpa"] = ["192.0.0.170", "192.0.0.171", nat64(prefix, bits, "192.0.0.170"), nat64(prefix, bits, "192.0.0.171")]
            o.names.update({f"{n}.test": nat64(prefix, bits, v4) for n, (v4, _) in hidden.items()})
            # At once: the first connection may come before the resolver's answer.
            with Engine(tmp, rules=["*", "10.0.0.9", o.names["literal.test"], "deny 198.51.100.0/24"], dns=f"{ADDRESS}:{o.dns}", ca_file=o.ca) as e:
                for n, (_, why) in hidden.items():
                    with Talk(e, f"{n}.test", clear("/x", host=f"{n}.test")) as t:
                        equal(t.statuses(1), [b"403" if why else b"502"], (bits, n, t.data, e.said()))  # nobody is at these addresses
                    e.wait(rf"^decided deny {n}\.test:.* to={o.names[f'{n}.test']} n=\d+ \[its address is {why}\]$" if why else rf"^decided allow {n}\.test:")
        o.names["ipv4only.arpa"] = ["192.0.0.170", "192.0.0.171"]  # a network without one
        with engine("*") as e, Talk(e, "ten.test", clear("/x", host="ten.test")) as t:
            equal(t.statuses(1), [b"502"])
    finally:
        for n in ("ipv4only.arpa", *(f"{n}.test" for n in hidden)):
            del o.names[n]


@case
def a_resolver_that_is_silent():
    "where the resolver does not answer for the NAT64 prefix, what goes over IPv6 waits three seconds, and only in the beginning; over IPv4 it does not"
    o.names.update({"six.test": "2001:db8::7", "ipv4only.arpa": lambda kind: None})
    try:
        with engine("*") as e:
            for name, least, most in (("origin.test", 0, 2.5), ("six.test", 1, 12), ("six.test", 0, 2.5)):
                began = time.monotonic()
                with Talk(e, name, clear("/x", host=name)) as t:
                    equal(t.statuses(1), [b"200" if name == "origin.test" else b"502"])
                assert least <= time.monotonic() - began <= most, (name, time.monotonic() - began)
    finally:
        del o.names["six.test"], o.names["ipv4only.arpa"]


@case
def a_server_that_is_not_there():
    "what was allowed and did not get there: one decision, which is what the rules said, and its end with the 502"
    with socket.socket() as closed:
        closed.bind((ADDRESS, 0))
        port = closed.getsockname()[1]
        with engine("*") as e, e.connect("origin.test", port) as s:
            s.sendall(f"GET /gone HTTP/1.1\r\nHost: origin.test:{port}\r\n\r\n".encode())
            equal(e.opened(s), True)
            contains(s.recv(65536).decode(), "HTTP/1.1 502 ")
            s.close()
            e.wait(rf"^closed allow origin\.test:{port} GET /gone status=502 ")
            equal(re.findall(r"^(decided \w+) \S+ GET /gone .*\[(.*)\]$", e.said(), re.M), [("decided allow", "allow *")], e.said())


@case
def names_are_looked_up_whole():
    "the host's search list is not put behind a name that does not exist"
    os.environ["LOCALDOMAIN"] = "search.test"
    try:
        with engine("*", ca_out=tmp / "ours.pem") as e:
            o.dns_seen.clear()
            tls_get(e, "gone.example", o.https, tmp / "ours.pem")
            e.wait(r"^(closed|decided) \S+ gone\.example:.*there is no such name")
            equal({n for n, _ in o.dns_seen} - {"ipv4only.arpa"}, {"gone.example"})  # that one is its own question
    finally:
        del os.environ["LOCALDOMAIN"]


def own_address():
    """In a network namespace of its own (root there): an address that comes to this host after bulkhead-net has looked which it has."""
    address = "192.0.2.77"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory(prefix="bh-own-") as d, socket.socket() as listener:
        for rules, way in (([f"tcp {address}/31:7000"], False), ([f"tcp {address}:7000"], True)):
            with Engine(d, rules=[r.replace(".77/31", ".76/31") for r in rules]) as e:
                if not listener.getsockname()[1]:
                    subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
                    listener.bind((address, 7000))
                    listener.listen()
                with e.connect(address, 7000) as s:
                    equal(e.opened(s), way, rules)
                if not way:
                    e.wait(r"^decided deny .*\[its address is address of this host\]")


@case
def an_address_of_this_host_is_refused_whenever_it_came():
    "one that was added after bulkhead-net was sealed, unless a rule names it"
    inside = ["unshare", "-rn", sys.executable, __file__, "--own-address"]
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        raise Skip("no namespaces here")
    r = subprocess.run(inside, capture_output=True, text=True, timeout=60)
    equal(r.returncode, 0, r.stderr[-2000:])


if __name__ == "__main__":
    if sys.argv[1:] == ["--own-address"]:
        own_address()
    else:
        alone()
        main(setup, teardown)
