#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What root in a booted guest puts into a review workspace's layer for `apply` to stumble over, and a host that fails meanwhile: no byte outside the
workspace is read or written, and what stands in it is the old or the new, whole."""
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env, RpcError  # noqa: E402
from tap import Skip, case, contains, equal, main, wait_for  # noqa: E402

G = {}
MARK = "the host's own"
WAIT = 60
LONG = "n" * 255


def setup():
    G["env"] = env = Env()
    G["top"] = top = pathlib.Path(tempfile.mkdtemp(prefix="bh-hostile-")).resolve()
    top.chmod(0o755)
    G["w"] = w = top / "w"
    (top / "outside/dir").mkdir(parents=True)
    for n in ("secret", "dir/leaf"):
        (top / "outside" / n).write_text(f"{MARK}, {n}\n")
    fill(w)
    G["small"] = small = top / "small"
    small.mkdir()
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], check=True)
        G["mounted"] = True
    for i in range(8):
        (small / f"f{i}").write_text(f"old {i}\n")
    G["gone"] = gone = top / "gone"
    gone.mkdir()
    (gone / "file").write_text("old\n")
    env.run("create", "--name", "h", "shell", w, small, gone, ok=0)
    env.run("start", "h", ok=0, timeout=240)
    G["rpc"] = env.rpc()
    inside("printf '%s' \"$1\" >/run/hostile.py; chmod 644 /run/hostile.py", PRELUDE)
    G["canary"] = canary()


def fill(w):
    for d in ("dir/sub", "withenv", ".ssh", ".git/hooks", "typed"):
        (w / d).mkdir(parents=True)
    for n in ("f", "kept", "swapped", "raced", "redirected", "dir/leaf", "dir/sub/deep", "withenv/a", "typed/x", "tobedir"):
        (w / n).write_text(f"{n}, as the host has it\n")
    (w / ".git/config").write_text("[core]\n")
    (w / ".env").write_text("PASSWORD=top\n")
    (w / "withenv/.env").write_text("PASSWORD=below\n")
    (w / ".ssh/id_rsa").write_text("a private key\n")


def teardown():
    G["rpc"].close()
    G["env"].close()
    if G.get("mounted"):
        subprocess.run(["umount", "-l", str(G["small"])], check=True)
    shutil.rmtree(G["top"], ignore_errors=True)


# Before every program of root's inside: W is the workspace, U its upper layer on the sandbox's disk.
PRELUDE = r"""
import ctypes, glob, os, socket, stat, sys
libc = ctypes.CDLL(None, use_errno=True)
W = sys.argv[1]
U = next(l.split("upperdir=")[1].split(",")[0] for l in open("/proc/mounts") if l.split(" ")[1] == W)
os.chdir(W)
def put(path, text="x\n"):
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w") as f:
        f.write(text)
def exchange(a, b):
    if libc.renameat2(-100, os.fsencode(a), -100, os.fsencode(b), 2) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")
"""


def inside(command, *args):
    r = G["env"].run("exec", "-u", "root", "h", "--", "sh", "-ec", command, "sh", *args, timeout=200)
    if r.returncode:
        raise AssertionError(f"{command}: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout


def root(program, where="w"):
    """A Python program of root's inside; it must end well: what it tries works there."""
    return inside("cat /run/hostile.py >/run/p.py; printf '%s' \"$1\" >>/run/p.py; python3 /run/p.py \"$2\"", program, str(G[where]))


def below(d):
    """Everything of a directory: kind, mode, contents, and the time of what is no directory."""
    out = {}
    for base, dirs, files in os.walk(d):
        for n in [*dirs, *files]:
            p = os.path.join(base, n)
            st = os.lstat(p)
            text = os.readlink(p) if stat.S_ISLNK(st.st_mode) else pathlib.Path(p).read_bytes() if stat.S_ISREG(st.st_mode) else None
            out[os.path.relpath(p, d)] = (st.st_mode, text, 0 if stat.S_ISDIR(st.st_mode) else st.st_mtime_ns)
    return out


def canary():
    return below(G["top"] / "outside"), sorted(p.name for p in G["top"].iterdir())


def unharmed(what=""):
    equal(canary(), G["canary"], f"{what}: outside the workspace")
    equal([p for p in below(G["w"]) if os.path.basename(p).startswith(".bulkhead-")], [], f"{what}: a temporary file")


def listed(where="w"):
    return {e["path"]: e for e in G["rpc"].call("changes.list", name="h", workspace=str(G[where]))["workspaces"][0]["entries"]}


def until(want, what, where="w"):
    def probe():
        G["seen"] = listed(where)
        return want(G["seen"])
    try:
        wait_for(probe, WAIT, what, every=0.1)
    except AssertionError as e:
        raise AssertionError(f"{e}; there is {sorted(p[:40] for p in G['seen'])}") from None
    return G["seen"]


def apply(*items, where="w", **kw):
    """The paths applied, and the kinds of what was left."""
    r = G["rpc"].call("changes.apply", timeout=200, name="h", workspace=str(G[where]), **({"items": [i if isinstance(i, dict) else {"path": i, "named": True} for i in items]} if items else {}), **kw)
    return sorted(r["applied"]), {s["path"]: s["kind"] for s in r["skipped"]}


def refused(why, *items, **kw):
    try:
        apply(*items, **kw)
    except RpcError as e:
        contains(str(e), why)
    else:
        raise AssertionError(f"apply {items} was not refused: {why}")


def discard(where="w"):
    """Until nothing is left: what the guest did last may be told after the first."""
    def clean():
        G["left"] = G["rpc"].call("changes.discard", timeout=200, name="h", workspace=str(G[where]), all=True)
        G["seen"] = listed(where)
        return not G["seen"]
    try:
        wait_for(clean, WAIT, "no change", every=0.5)
    except AssertionError as e:
        raise AssertionError(f"{e}; there is {G['seen']}, of {G['left']}") from None


def everything_back():
    """The host's directory as at the beginning (the same one: the guest holds it), and an empty layer."""
    w = G["w"]
    for p in w.iterdir():
        shutil.rmtree(p) if p.is_dir() and not p.is_symlink() else p.unlink()
    fill_into(w)
    discard()  # also what the layer has kept: what was applied below a directory of its own is a change again now


def fill_into(w):
    with tempfile.TemporaryDirectory() as d:
        fill(pathlib.Path(d) / "w")
        shutil.copytree(pathlib.Path(d) / "w", w, dirs_exist_ok=True)


# What root makes, and what must come of it by `apply --all`, then by name: "applied", or the kind under which it is left.
ODD = [
    ("os.symlink('.', 'a')", "a", "applied", None),
    ("os.symlink('a/../outside/secret', 'b')", "b", "flag", None),  # by its letters inside, by the first link outside
    ("os.symlink('dir/../../outside/secret', 'c')", "c", "flag", None),
    ("os.symlink('../outside', 'up')", "up", "flag", None),
    ("os.symlink('/etc/passwd', 'absolute')", "absolute", "flag", None),
    ("os.symlink('/proc/self/root', 'magic')", "magic", "flag", None),
    ("os.symlink('..', 'dir/sub/parent')", "dir/sub/parent", "applied", None),
    ("os.symlink('loop2', 'loop1'); os.symlink('loop1', 'loop2')", "loop1", "applied", None),
    ("os.mknod('disk', stat.S_IFBLK | 0o666, os.makedev(8, 0))", "disk", "flag", "flag"),
    ("os.mknod('mem', stat.S_IFCHR | 0o666, os.makedev(1, 1))", "mem", "flag", "flag"),
    ("os.mkfifo('fifo')", "fifo", "flag", "flag"),
    ("s = socket.socket(socket.AF_UNIX); s.bind('sock')", "sock", "flag", "flag"),
    ("put('suid'); os.chmod('suid', 0o4755)", "suid", "flag", "flag"),
    ("put('sgid'); os.chmod('sgid', 0o2755)", "sgid", "flag", "flag"),
    ("put('hard1'); os.link('hard1', 'hard2')", "hard1", "applied", None),
    ("put('nl\\nname')", "nl\\012name", "flag", None),
    ("put('esc\\x1b[31m')", "esc\\033[31m", "flag", None),
    ("put('bidi\\u202etxt')", None, "flag", None),
    ("put(b'bytes\\xff\\xfe')", "bytes\\377\\376", None, None),
    ("put('n' * 255)", LONG, "applied", None),
    ("put('-rf')", "-rf", "applied", None),
    ("put('.env.local', 'x')", ".env.local", "flag", None),
    ("put('.GIT/hooks/pre-commit'); put('.Git/config')", ".GIT/hooks/pre-commit", "mark", "mark"),
    ("put('.git/config', '[core]\\n\\tfsmonitor = touch /tmp/x\\n')", ".git/config", "mark", "mark"),
    ("put('sub/.git', 'gitdir: ../../outside\\n')", "sub/.git", "mark", "mark"),
    ("put('sparse'); os.truncate('sparse', 70 << 30)", "sparse", "flag", "flag"),
    ("put('/'.join(['deep'] * 150) + '/leaf')", "/".join(["deep"] * 150) + "/leaf", "applied", None),
    # Written into the layer itself: what only overlayfs is to write there.
    ("os.mknod(U + '/whiteout-of-nothing', stat.S_IFCHR, 0)", "whiteout-of-nothing", "absent", None),
    ("os.mkdir(U + '/r1'); os.setxattr(U + '/r1', 'trusted.overlay.redirect', b'/../outside')", "r1", "dir", None),
    ("os.mkdir(U + '/r2'); os.setxattr(U + '/r2', 'trusted.overlay.redirect', b'../outside/dir')", "r2", "dir", None),
    ("os.mkdir(U + '/r3'); os.setxattr(U + '/r3', 'trusted.overlay.redirect', b'/.ssh')", "r3", "dir", None),
    ("os.mkdir(U + '/r4'); os.setxattr(U + '/r4', 'trusted.overlay.redirect', b'/.git/hooks')", "r4", "dir", None),
    ("put(U + '/m1', ''); os.setxattr(U + '/m1', 'trusted.overlay.metacopy', b''); os.setxattr(U + '/m1', 'trusted.overlay.redirect', b'/../outside/secret')", "m1", None, None),
    ("put(U + '/m2', ''); os.setxattr(U + '/m2', 'trusted.overlay.origin', os.urandom(60))", "m2", None, None),
]


@case
def what_root_makes_in_the_layer_is_flagged_or_harmless():
    w = G["w"]
    before = below(w)
    root("import json\nout = []\n" + "".join(f"{text}\n" for text, *_ in ODD))
    wanted = [p for _, p, kind, _ in ODD if p and kind not in ("absent", "dir", None)]
    seen = until(lambda e: set(wanted) <= set(e), "all of it in the list")
    if len(seen) > 80:
        raise AssertionError(sorted(seen))
    applied, left = apply(all=True)
    wrong = []
    for text, path, kind, _ in ODD:
        got = "applied" if path in applied else left.get(path)
        if kind not in (None, "dir", "absent") and path and got != kind:
            wrong.append((text, got, kind))
        if kind == "absent" and path in seen:
            wrong.append((text, "listed", kind))
    equal([k for p, k in left.items() if "bidi" in p], ["flag"])
    unharmed("--all")
    equal(wrong, [], "what root made, what came of it, what must come of it")
    named_wrong = []
    for text, path, _, kind in ODD:
        if kind:
            done, left = apply(path)
            got = "applied" if path in done else left.get(path)
            if got != kind:
                named_wrong.append((text, got, kind))
    equal(named_wrong, [], "the same, named")
    equal(apply(*({"path": p, "named": True, "flags": ["setuid"]} for p in ("suid", "sgid"))), (["sgid", "suid"], {}))
    unharmed("named")
    # Nothing on the host is of a kind, a mode or a content that must not be.
    now = below(w)
    for p, (mode, text, _) in now.items():
        kind = stat.S_IFMT(mode)
        equal((p, kind in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), mode & 0o6000 if kind != stat.S_IFDIR else 0), (p, True, 0))
        if isinstance(text, bytes):
            equal((p, MARK.encode() in text), (p, False))
    for p in (".git/config", ".ssh/id_rsa", ".env", "withenv/.env", "kept", "f"):
        equal((p, now.get(p)), (p, before[p]))
    equal([p for p in now if p.startswith((".GIT", ".Git", "sub/.git", ".git/")) and p not in before], [])
    equal((os.stat(w / "hard1").st_nlink, (w / "hard2").read_text()), (1, "x\n"))
    equal([p for p in now if "id_rsa" in p], [".ssh/id_rsa"])


@case
def a_hidden_file_is_neither_moved_into_sight_nor_lost():
    w = G["w"]
    everything_back()
    root("os.rename('withenv', 'moved')\nos.mkdir(U + '/keys'); os.setxattr(U + '/keys', 'trusted.overlay.redirect', b'/.ssh')\n"
         "os.mkdir(U + '/own'); os.setxattr(U + '/own', 'trusted.overlay.redirect', b'/withenv')\nput(U + '/own/.env', 'guess')\n")
    until(lambda e: "moved/a" in e, "the directory that moved")
    for how in ({"all": True}, {}):
        apply(*([] if how else ["moved", "moved/a", "own", "own/.env", "keys", "keys/id_rsa", "keys/.env"]), **how)
        now = below(w)
        # Under a name the guest may see nobody finds what was hidden, and it is still there.
        equal({p: t for p, (_, t, _) in now.items() if t in (b"PASSWORD=below\n", b"a private key\n", b"PASSWORD=top\n") and not p.endswith(("/.env", ".ssh/id_rsa")) and p != ".env"}, {})
        equal(sorted(t for _, t, _ in now.values() if isinstance(t, bytes) and (b"PASSWORD=" in t or b"private" in t)), [b"PASSWORD=below\n", b"PASSWORD=top\n", b"a private key\n"])
        equal(now[".ssh/id_rsa"][1], b"a private key\n")
        unharmed(f"a hidden name, {how}")
    equal("PASSWORD=below" in inside(f"cat {w}/*/* {w}/*/.e* 2>/dev/null || true"), False)


@case
def what_was_moved_away_and_back_is_where_it_was():
    w = G["w"]
    everything_back()
    before = below(w)
    # overlayfs leaves a redirect that leads where the directory lies.
    root("os.rename('dir', 'away'); os.rename('away', 'dir')\nos.mkdir('e'); os.rename('dir/sub', 'e/sub'); os.rename('e/sub', 'dir/sub'); os.rmdir('e')\n"
         "equal = os.getxattr(U + '/dir/sub', 'trusted.overlay.redirect') == b'/dir/sub'; sys.exit(not equal)")
    root("put('typed/x', 'edited\\n'); put('dir/sub/deep', 'edited\\n'); put('dir/sub/new', 'new\\n'); os.unlink('dir/leaf')")
    seen = until(lambda e: {"typed/x", "dir/sub/deep", "dir/sub/new", "dir/leaf"} <= set(e), "the changes")
    equal({p: e["kind"] for p, e in seen.items()}, {"typed/x": "modified", "dir/sub/deep": "modified", "dir/sub/new": "added", "dir/leaf": "deleted"})
    applied, left = apply(all=True)
    equal((applied, left), (["dir/leaf", "dir/sub/deep", "dir/sub/new", "typed/x"], {}))
    now = below(w)
    equal({p for p in before if p not in now}, {"dir/leaf"})
    equal((now["dir/sub/deep"][1], now["dir/sub/new"][1]), (b"edited\n", b"new\n"))
    unharmed("moved away and back")


SWAPS = {  # what stands there when it is looked at, then what root makes of it: digest and path are the same, the thing is not
    "a link whose text is the file's contents": "os.unlink('swapped'); os.symlink('../outside/secret', 'swapped')",
    "a link of a file that is the same": "put('twin', '../outside/secret'); os.unlink('swapped'); os.symlink('twin', 'swapped')",
    "a FIFO": "os.unlink('swapped'); os.mkfifo('swapped')",
    "a device": "os.unlink('swapped'); os.mknod('swapped', stat.S_IFCHR | 0o666, os.makedev(1, 3))",
    "a directory": "os.unlink('swapped'); os.mkdir('swapped'); put('swapped/in', '../outside/secret')",
    "a whiteout": "os.unlink('swapped')",
    "other contents": "put('swapped', '../outside/secret and more')",
}


@case
def what_was_looked_at_as_a_file_is_applied_as_nothing_else():
    w = G["w"]
    everything_back()
    for what, program in SWAPS.items():
        root("put('swapped', '../outside/secret')")
        until(lambda e: "swapped" in e and e["swapped"]["type"] == "file", "the file")
        seen = G["rpc"].call("changes.diff", name="h", workspace=str(w), path="swapped")["digest"]
        root(program)
        applied, left = apply({"path": "swapped", "digest": seen, "named": True})
        st = os.lstat(w / "swapped")
        equal((what, applied, stat.S_ISREG(st.st_mode), (w / "swapped").read_text()), (what, [], True, "swapped, as the host has it\n"))
        unharmed(what)
        discard()


@case
def a_swapper_at_full_speed_gets_nothing_but_files_through():
    w, env = G["w"], G["env"]
    everything_back()
    root("put('raced', 'fine\\n'); put('dir/sub/deep', 'fine\\n')")
    until(lambda e: {"raced", "dir/sub/deep"} <= set(e), "both files")
    seen = {p: G["rpc"].call("changes.diff", name="h", workspace=str(w), path=p)["digest"] for p in ("raced", "dir/sub/deep")}
    program = PRELUDE + ("os.symlink('../outside/secret', 'link'); os.makedirs('elsewhere'); os.symlink('../../outside/dir', 'todir')\nprint('swaps', flush=True)\n"
                         "def swap():\n    exchange('raced', 'link')\n    os.rename('dir/sub', 'kept-sub'); os.symlink('../../outside/dir', 'dir/sub'); os.unlink('dir/sub'); os.rename('kept-sub', 'dir/sub')\n"
                         # What the host changes below is stale for a moment: the next turn.
                         "while True:\n    try:\n        swap()\n    except OSError:\n        if os.path.lexists('kept-sub') and not os.path.lexists('dir/sub'): os.rename('kept-sub', 'dir/sub')\n")
    p = subprocess.Popen([env.program, "exec", "-u", "root", "h", "--", "python3", "-c", program, str(w)], env=env.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        equal(p.stdout.readline(), "swaps\n")
        tries, done = 0, 0
        end = time.monotonic() + 8
        while time.monotonic() < end and tries < 25:
            tries += 1
            applied, _ = apply(*({"path": q, "digest": d, "named": True} for q, d in seen.items()))
            done += len(applied)
            for q, old in (("raced", "raced, as the host has it\n"), ("dir/sub/deep", "dir/sub/deep, as the host has it\n")):
                st = os.lstat(w / q)
                equal((q, stat.S_ISREG(st.st_mode), (w / q).read_text() in (old, "fine\n")), (q, True, True))
            equal((w / "dir/sub").is_symlink(), False)
    finally:
        p.kill()
        p.wait()
        # A directory that was moved is not discarded by what is in it: root takes it away.
        inside(f"pkill -9 -f '[d]ef swap' || true; rm -rf {w}/kept-sub")
    print(f"# {tries} applies, {done} files came through")
    unharmed("a swapper")


@case
def a_file_and_a_directory_in_one_anothers_place():
    w = G["w"]
    everything_back()
    root("os.unlink('tobedir'); put('tobedir/in', 'inner\\n')\nimport shutil\nshutil.rmtree('typed'); put('typed', 'a file now\\n')")
    until(lambda e: {"tobedir/in", "typed"} <= set(e), "both")
    before = below(w)
    # What is inside alone: it cannot stand under a file. That is left as it is, or done whole.
    apply("tobedir/in")
    now = below(w)
    equal(now["tobedir"][:2] == before["tobedir"][:2] or now.get("tobedir/in", (0, 0))[1] == b"inner\n", True)
    unharmed("a file that became a directory")
    for _ in range(2):
        apply(all=True)
    now = below(w)
    equal((now["tobedir/in"][1], now["typed"][1], "typed/x" in now), (b"inner\n", b"a file now\n", False))
    unharmed("both")
    until(lambda e: not e, "nothing left")


@case
def a_full_disk_leaves_every_file_old_or_new():
    if not G.get("mounted"):
        raise Skip("a small file system needs root")
    small = G["small"]
    root("for i in range(8): put(f'f{i}', f'new {i}\\n' + 'y' * 200_000)", "small")
    until(lambda e: len(e) == 8, "eight files", "small")
    applied, left = apply(where="small", all=True)
    equal((set(left.values()), len(applied) + len(left), 0 < len(applied) < 8), ({"error"}, 8, True), f"{applied} {left}")

    def whole():
        return {p.name: p.read_text().split("\n")[0] for p in small.iterdir()}
    equal(whole(), {f"f{i}": f"new {i}" if f"f{i}" in applied else f"old {i}" for i in range(8)})
    equal({p.stat().st_size for p in small.iterdir()} <= {6, 200_006}, True)
    until(lambda e: len(e) == len(left), "what is left", "small")
    # There is room again, and the rest comes.
    subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
    applied, again = apply(where="small", all=True)
    equal((sorted(applied), again), (sorted(left), {}))
    equal(whole(), {f"f{i}": f"new {i}" for i in range(8)})
    unharmed("a full disk")


@case
def a_workspace_that_vanishes_takes_nothing_and_is_not_made_again():
    gone, env = G["gone"], G["env"]
    root("put('file', 'new\\n'); put('more', 'more\\n')", "gone")
    until(lambda e: {"file", "more"} <= set(e), "both files", "gone")
    shutil.rmtree(gone)
    refused("has been deleted on the host", where="gone", all=True)
    equal(gone.exists(), False)
    # Another directory of its name is another one.
    gone.mkdir()
    (gone / "file").write_text("another\n")
    refused("has been deleted on the host", "file", "more", where="gone")
    equal((sorted(p.name for p in gone.iterdir()), (gone / "file").read_text()), (["file"], "another\n"))
    equal(env.json("ls")["sandboxes"][0]["state"], "running")
    root("put('f', 'goes on\\n')")
    until(lambda e: "f" in e, "the other workspace's change")
    equal(apply("f")[0], ["f"])
    equal((G["w"] / "f").read_text(), "goes on\n")


if __name__ == "__main__":
    main(setup, teardown)
