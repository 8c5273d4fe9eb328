#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The way out through the host's own proxy (HTTPS_PROXY, NO_PROXY): the real, sealed bulkhead-net and a real squid that wants a password. TAP."""
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from engine import Engine, tls_get as get  # noqa: E402
from origins import ADDRESS, Origins, _free_port, _wait_port  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

tmp = o = squid = None
PORT = 0
VALUE, PLACEHOLDER = "sk-really-secret-98765", "placeholder-4321"
SECRET = ("origin.test", "Authorization", "Bearer %s", PLACEHOLDER, VALUE)


def setup():
    global tmp, o, squid, PORT
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-proxy-"))
    o = Origins(tmp / "origins")
    d = tmp / "squid"
    d.mkdir()
    for p in (tmp, d):
        p.chmod(0o777)  # squid leaves root's rights
    PORT = _free_port()
    hashed = subprocess.run(["openssl", "passwd", "-apr1", "p@ss:word"], capture_output=True, text=True, check=True).stdout.strip()
    (d / "users").write_text(f"me:{hashed}\n")
    (d / "hosts").write_text("".join(f"{ADDRESS} {n}.test\n" for n in ("origin", "other", "h2")))
    program = shutil.which("squid", path="/usr/sbin:/usr/bin")
    assert program, "squid is needed (Debian package squid)"
    (d / "squid.conf").write_text(f"""
http_port {ADDRESS}:{PORT}
hosts_file {d}/hosts
auth_param basic program /usr/lib/squid/basic_ncsa_auth {d}/users
auth_param basic children 1
acl known proxy_auth REQUIRED
acl nothere dstdomain forbidden.test
http_access deny nothere
http_access allow known
http_access deny all
cache deny all
pid_filename {d}/pid
access_log stdio:{d}/access.log
cache_log {d}/cache.log
coredump_dir {d}
shutdown_lifetime 1 seconds
pinger_enable off
max_filedescriptors 1024
""")
    squid = subprocess.Popen([program, "-N", "-f", str(d / "squid.conf")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_port(PORT, 30)


def teardown():
    if squid:
        squid.terminate()
        try:
            squid.wait(15)
        except subprocess.TimeoutExpired:
            squid.kill()
            squid.wait(10)
    o.close()
    shutil.rmtree(tmp, ignore_errors=True)


def proxy(user="me:p%40ss%3Aword@"):
    return f"http://{user}{ADDRESS}:{PORT}"


def engine(**kw):
    kw.setdefault("rules", [f"origin.test:{o.https}", f"other.test:{o.https}", f"forbidden.test:{o.https}"])
    return Engine(tmp, dns=f"{ADDRESS}:{o.dns}", ca_file=o.ca, **kw)


def seen():
    f = tmp / "squid/access.log"
    return f.read_text() if f.exists() else ""


@contextlib.contextmanager
def unknown(*names):
    """Names that only the proxy resolves."""
    o.names.update({n: "" for n in names})
    try:
        yield
    finally:
        for n in names:
            del o.names[n]


@case
def passed_through():
    "TLS goes by the proxy's CONNECT, with user and password, verified end to end by the guest; only the proxy knows the name"
    with unknown("origin.test"):
        with engine(proxy=proxy()) as e:
            contains(get(e, "origin.test", o.https, o.ca), f"hello from origin.test:{o.https} GET /x")
            e.wait(rf"^closed allow origin\.test:{o.https} ")
            assert "p@ss" not in e.said() and "p%40ss" not in e.said()
        wait_for(lambda: f"CONNECT origin.test:{o.https} me" in seen(), 10, "squid's record")


@case
def opened():
    "an opened connection goes the same way; the credential is put in, and the proxy never sees it"
    o.seen.clear()
    with unknown("origin.test"), engine(proxy=proxy(), secrets=[SECRET], ca_out=tmp / "ours.pem") as e:
        contains(get(e, "origin.test", o.https, tmp / "ours.pem", "/opened"), "GET /opened")
        e.wait("^injected ")
    equal([v for r in o.seen for k, v in r["headers"] if k.lower() == "authorization"], [f"Bearer {VALUE}"])
    assert VALUE not in seen() and VALUE not in (tmp / "squid/cache.log").read_text()


@case
def refused():
    "a wrong password, none, a host the proxy forbids, a proxy that is not there: not reached, in words, and never around it"
    before = len(o.seen)
    for p, name, why in ((proxy("me:wrong@"), "origin.test", "the proxy refused: 407"), (proxy(""), "origin.test", "the proxy refused: 407"),
                         (proxy(), "forbidden.test", "the proxy refused: 403"), (f"http://{ADDRESS}:{_free_port()}", "origin.test", "refused"),
                         (f"socks5://{ADDRESS}:{PORT}", "origin.test", "HTTPS_PROXY is not")):
        with unknown("origin.test", "forbidden.test"), engine(proxy=p) as e:
            equal(get(e, name, o.https, o.ca), None)
            contains(e.wait(r"^closed [^[]*\[(.*)\]")[1], why)
    with unknown("origin.test"), engine(proxy=proxy("me:wrong@"), secrets=[SECRET], ca_out=tmp / "ours.pem") as e:
        answer = get(e, "origin.test", o.https, tmp / "ours.pem")
        contains(answer, " 502 ")
        contains(answer, "407")
    equal(len(o.seen), before)


@case
def excepted():
    "NO_PROXY: by suffix, with a star, by address; those go directly, and what is forbidden stays so"
    rules = [ADDRESS, f"other.test:{o.https}"]
    for no in ("other.test", "x.example, .test", "*"):
        had = seen().count("CONNECT")
        with engine(rules=rules, proxy=proxy(), no_proxy=no) as e:
            contains(get(e, "other.test", o.https, o.ca), "hello from other.test")
        equal(seen().count("CONNECT"), had)
    with engine(proxy=proxy(), no_proxy="*", ca_out=tmp / "ours.pem") as e:  # no rule names the loopback address
        contains(get(e, "other.test", o.https, tmp / "ours.pem"), " 403 ")
        e.wait(r"^decided deny other\.test.*its address is")


@case
def addresses():
    "an address by number: a forbidden one is not handed to the proxy; one that a rule names is reached directly"
    with engine(rules=["*"], proxy=proxy()) as e:
        for number in (ADDRESS, "169.254.169.254", "10.0.0.1"):
            had = seen().count("CONNECT")
            with e.connect(number, o.tcp) as s:
                s.sendall(b"\x16\x03\x01\x00")  # a ClientHello that never ends
                equal(e.opened(s), False)
            equal(seen().count("CONNECT"), had)
    with engine(rules=[f"tcp {ADDRESS}:{o.tcp}"], proxy=proxy()) as e, e.connect(ADDRESS, o.tcp) as s:
        equal(e.opened(s), True)
        equal(s.recv(6), b"ready\n")


@case
def names():
    "a name that is local, or has a forbidden address where this host knows one, is not handed to the proxy unless a rule names it"
    had = seen().count("CONNECT")
    with engine(rules=["*"], proxy=proxy(), ca_out=tmp / "ours.pem", secrets=[SECRET]) as e:
        for name in ("intranet", "localhost", "vault.internal", "printer.local", "metadata.goog"):
            contains(get(e, name, o.https, tmp / "ours.pem"), " 403 ")
            e.wait(rf"^decided deny {name}:\d+ .*, by its name\]")
        contains(get(e, "other.test", o.https, tmp / "ours.pem"), " 403 ")
        e.wait(r"^decided deny other\.test:\d+ .*\[its address is loopback address\]")
        contains(get(e, "origin.test", o.https, tmp / "ours.pem"), " 403 ")
        o.names["two.test"] = "192.0.2.1"
        try:
            equal(get(e, "two.test", o.https, o.ca), None)  # the proxy does not know it: it was asked
            wait_for(lambda: "CONNECT two.test" in seen(), 10, "squid's record")
        finally:
            del o.names["two.test"]
    equal(seen().count("CONNECT"), had + 1)
    with engine(rules=["*", "printer.local:443"], proxy=proxy()) as e:
        get(e, "printer.local", 443, o.ca)
        wait_for(lambda: "CONNECT printer.local:443" in seen(), 10, "squid's record")
    with engine(rules=["other.test", ADDRESS], proxy=proxy()) as e:
        contains(get(e, "other.test", o.https, o.ca), "hello from other.test")


@case
def no_resolver():
    "where this host resolves nothing at all every name goes to the proxy, the first after a moment, later ones at once"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ADDRESS, 0))
        with Engine(tmp, dns=f"{ADDRESS}:{silent.getsockname()[1]}", ca_file=o.ca, rules=["*.test"], proxy=proxy()) as e:
            contains(get(e, "origin.test", o.https, o.ca), "hello from origin.test")
            asked = len(_drain(silent))
            contains(get(e, "other.test", o.https, o.ca), "hello from other.test")
            equal((asked > 0, len(_drain(silent))), (True, 0))


def _drain(s):
    s.setblocking(False)
    got = []
    try:
        while True:
            got.append(s.recv(2000))
    except BlockingIOError:
        return got


if __name__ == "__main__":
    main(setup, teardown)
