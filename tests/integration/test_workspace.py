#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Workspaces of a booted guest: review, live and read-only side by side, the host's edits, a bulkhead-fs that dies, and what root inside tries."""
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import attempts  # noqa: E402
from bulkhead import Env  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

G = {}
SECRET = f"{attempts.MARK}\n"


def setup():
    G["env"] = env = Env()
    G["top"] = top = pathlib.Path(tempfile.mkdtemp(prefix="bh-ws-"))
    top.chmod(0o755)
    for d in ("review", "live", "ro", "outside"):
        (top / d).mkdir()
        (top / d / "file").write_text(f"{d}\n")
    (top / "outside/secret").write_text(SECRET)
    for d in ("review", "live"):
        (top / d / ".env").write_text("PASSWORD=1\n")
        (top / d / "sub/deep").mkdir(parents=True)
        (top / d / "sub/deep/leaf").write_text("leaf\n")
        (top / d / "own.secret").write_text("x\n")
        os.link(top / "outside/secret", top / d / "linked")
        (top / d / "escape").symlink_to(top / "outside")
        (top / d / "escape-file").symlink_to("../outside/secret")
    git = ["git", "-C", str(top), "-c", "user.name=me", "-c", "user.email=me@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "main", "clone"], check=True)
    git[2] = str(top / "clone")
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    G["git"] = git
    env.run("create", "--name", "w", "--exclude", "*.secret", "shell", top / "review", f"{top}/live:live", f"{top}/ro:ro", f"{top}/clone:clone", ok=0)
    env.run("start", "w", ok=0, timeout=200)


def teardown():
    G["env"].close()
    shutil.rmtree(G["top"], ignore_errors=True)


def inside(command, user=None, status=0, timeout=400):
    r = G["env"].run("exec", *(["-u", user] if user else []), "w", "--", "sh", "-c", command, timeout=timeout)
    if status is not None and r.returncode != status:
        raise AssertionError(f"{command}: exit {r.returncode}, want {status}\n{r.stdout}{r.stderr}")
    return r.stdout


def served_by():
    """Processes whose program is bulkhead-fs (its name goes on with "(deleted)" when it was built anew meanwhile)."""
    return [p for p in G["env"].processes() if os.path.basename(os.readlink(f"/proc/{p}/exe")).split(" ")[0] == "bulkhead-fs"]


def workspaces():
    with G["env"].rpc() as r:
        return r.call("sandbox.get", name="w")["workspaces"]


@case
def every_workspace_is_where_it_is_on_the_host():
    top = G["top"]
    equal([(w["path"], w["mode"], w["state"]) for w in workspaces()],
          [(f"{top}/review", "review", "mounted"), (f"{top}/live", "live", "mounted"), (f"{top}/ro", "ro", "mounted"), (f"{top}/clone", "clone", "mounted")])
    equal(inside("pwd; whoami"), f"{top}/review\nagent\n")
    for d in ("review", "live", "ro"):
        equal(inside(f"cat {top}/{d}/file"), f"{d}\n")
    equal(inside(f"stat -c %U:%G {top}/review/file {top}/live/file"), "agent:agent\nagent:agent\n")
    equal(inside(f"ls {top}"), "clone\nlive\nreview\nro\n")


@case
def what_is_written_in_review_stays_in_the_guest():
    top = G["top"]
    before = sorted(p.relative_to(top).as_posix() for p in (top / "review").rglob("*"))
    out = inside("set -e; echo changed >file; echo new >new; mkdir d; mv sub d/moved; rm linked; ln -s file l; chmod 600 own 2>/dev/null || true; "
                 "cat file new d/moved/deep/leaf; ls")
    equal(out, "changed\nnew\nleaf\nd\nescape\nescape-file\nfile\nl\nnew\n")
    equal(sorted(p.relative_to(top).as_posix() for p in (top / "review").rglob("*")), before)
    equal((top / "review/file").read_text(), "review\n")
    equal((top / "outside/secret").read_text(), SECRET)


@case
def what_is_written_live_is_on_the_host_at_once():
    top = G["top"]
    inside(f"set -e; cd {top}/live; echo changed >file; mkdir d; echo x >d/f; mv sub d/; ln -s file l; chmod 640 d/f; truncate -s 100000 big; ln d/f hard; echo y >>hard")
    equal((top / "live/file").read_text(), "changed\n")
    equal((top / "live/d/f").read_text(), "x\ny\n")
    equal((top / "live/d/sub/deep/leaf").read_text(), "leaf\n")
    equal(((top / "live/d/f").stat().st_mode & 0o777, os.readlink(top / "live/l"), (top / "live/big").stat().st_size), (0o640, "file", 100000))
    equal((top / "live/d/f").stat().st_uid, os.geteuid())


@case
def contents_come_whole_when_many_read_and_write():
    "eight programs at once, more than there are places for contents: what each wrote is on the host, and is read back cold by all of them together"
    top = G["top"]
    out = inside(f"""set -e; mkdir {top}/live/throng; cd {top}/live/throng
        for i in 1 2 3 4 5 6 7 8; do (head -c $((3000000 + i * 100001)) /dev/urandom | tee $i | sha256sum >$i.sum) & done; wait
        sync; echo 3 >/proc/sys/vm/drop_caches
        for i in 1 2 3 4 5 6 7 8; do (sha256sum <$i >$i.again; dd if=$i bs=777777 skip=1 status=none | sha256sum >$i.part) & done; wait
        cat *.sum; cat *.again; cat *.part""", user="root").split()[::2]
    files = [(top / f"live/throng/{i}").read_bytes() for i in range(1, 9)]
    whole = [hashlib.sha256(f).hexdigest() for f in files]
    equal(out[:8], whole)
    equal(out[8:16], whole)
    equal(out[16:], [hashlib.sha256(f[777777:]).hexdigest() for f in files])


@case
def a_read_only_workspace_is_not_written():
    top = G["top"]
    for c in ("echo x >file", "touch new", "mkdir d", "rm file", "mv file f2", "chmod 777 file", "ln file g", "truncate -s 0 file"):
        inside(f"cd {top}/ro && {c}", user="root", status=None)
        inside(f"cd {top}/ro && ! {{ {c}; }} 2>/dev/null", user="root")
    equal([p.name for p in (top / "ro").iterdir()], ["file"])
    equal((top / "ro/file").read_text(), "ro\n")


@case
def an_edit_on_the_host_is_seen_inside_within_a_second():
    top = G["top"]
    # One process inside looks all the time and says what it saw and when: the way in and out of the sandbox does not count.
    watch = "import os, sys, time\nwhile True:\n    print(time.time(), {p: (open(p).read() if os.path.exists(p) else None) for p in sys.argv[1:]}, flush=True)\n    time.sleep(0.05)"
    (top / "watch.py").write_text(watch)
    shutil.copy(top / "watch.py", top / "ro/watch.py")
    for d in ("review", "live"):
        for n in ("in-place", "replaced"):
            (top / d / n).write_text("before")
    wait_for(lambda: inside(f"cat {top}/live/in-place {top}/review/replaced", status=None) == "beforebefore", 20, "the files")
    names = [f"{top}/{d}/{n}" for d in ("review", "live") for n in ("in-place", "replaced", "created")]
    p = subprocess.Popen([G["env"].program, "exec", "w", "--", "python3", f"{top}/ro/watch.py", *names], env=G["env"].env, stdout=subprocess.PIPE,
                         stdin=subprocess.DEVNULL, text=True)
    try:
        equal("before" in p.stdout.readline(), True)
        for d in ("review", "live"):
            (top / d / "in-place").write_text("after!")
            (top / d / "tmp").write_text("after!")
            os.rename(top / d / "tmp", top / d / "replaced")
            (top / d / "created").write_text("after!")
        first = last = None
        for line in p.stdout:
            at, seen = line.split(" ", 1)
            if first is None:
                first = float(at)
            values = list(eval(seen).values())
            if values == ["after!"] * 6:
                last = float(at)
                break
            if float(at) - first > 10:
                raise AssertionError(f"still {seen}")
        print(f"# seen after {last - first:.2f} s of the guest's time")
        if last - first > 1.0:
            raise AssertionError(f"seen only after {last - first:.2f} s")
    finally:
        p.kill()
        p.wait()


LOOK = """
import errno, os, sys, time
def size(p):
    try:
        return os.lstat(p).st_size
    except FileNotFoundError:
        return None
    except OSError as e: # the overlay remembers a name that is gone below it, for a moment: until it is remounted
        if e.errno != errno.ESTALE:
            raise
        return "stale"
d, writes = sys.argv[1], sys.argv[2] == "live"
first = [size(f"{d}/many/{i}/f{k}") for i in range(4) for k in range(10)]
print(first == [k for i in range(4) for k in range(10)], flush=True)
sys.stdin.readline()
end = time.monotonic() + 20
want = [(f"{d}/many/0/f20", 1000), (f"{d}/many/1/f21", None), (f"{d}/many/2/new", 7), (f"{d}/many/3/f39", 39), (f"{d}/many/3/none", None)]
start = time.monotonic()
while [size(p) for p, _ in want] != [s for _, s in want] and time.monotonic() < end:
    time.sleep(0.02)
print([size(p) for p, _ in want] == [s for _, s in want], time.monotonic() - start, flush=True)
if writes:
    os.truncate(f"{d}/many/0/f30", 3000)
    os.unlink(f"{d}/many/0/f31")
    os.rename(f"{d}/many/0/f32", f"{d}/many/0/f31")
    open(f"{d}/many/3/none", "w").write("x")
    print([size(f"{d}/many/{n}") for n in ("0/f30", "0/f31", "0/f32", "3/none", "0/f33")] == [3000, 32, None, 1, 33], flush=True)
print(sum(size(f"{d}/many/{i}/f{k}") or 0 for i in range(4) for k in range(40)), flush=True)
"""


@case
def what_changed_while_the_machine_stood_is_seen_when_it_goes_on():
    "more changes than there is room for on their way: the last of them is known too, though nobody asks for anything meanwhile"
    top = G["top"]
    crowd = top / "live/crowd"
    crowd.mkdir()
    for i in range(5000):
        (crowd / f"{i:05}-{'n' * 40}").write_text("1")
    equal(inside(f"ls -l {crowd} | wc -l; stat -c %s {crowd}/04999-*").split(), ["5001", "1"])
    for again in range(2):
        G["env"].run("pause", "w", ok=0)
        for p in sorted(crowd.iterdir()):
            with p.open("a") as f:
                f.write("1")
        time.sleep(0.5)
        G["env"].run("resume", "w", ok=0)
        time.sleep(1.5)
        equal(inside(f"stat -c %s {crowd}/04999-*; stat -c %s {crowd}/* | sort | uniq -c").split(), [str(again + 2), "5000", str(again + 2)])
    shutil.rmtree(crowd)


@case
def names_asked_for_one_by_one_are_as_on_the_host():
    # What the host sends ahead of being asked is given up when it, or the guest, changes something.
    top = G["top"]
    (top / "ro/look.py").write_text(LOOK)
    wait_for(lambda: "os.lstat" in inside(f"cat {top}/ro/look.py", status=None), 20, "the script")
    for d in ("review", "live"):
        for i in range(4):
            (top / d / f"many/{i}").mkdir(parents=True)
            for k in range(40):
                (top / d / f"many/{i}/f{k}").write_bytes(b"x" * k)
    for d in ("review", "live"):
        wait_for(lambda: inside(f"ls {top}/{d}/many/3 | wc -l", status=None) == "40\n", 20, "the files")
        inside("echo 3 >/proc/sys/vm/drop_caches", user="root")
        p = subprocess.Popen([G["env"].program, "exec", "w", "--", "python3", f"{top}/ro/look.py", f"{top}/{d}", d], env=G["env"].env, stdout=subprocess.PIPE,
                             stdin=subprocess.PIPE, text=True)
        try:
            equal(p.stdout.readline(), "True\n", d)
            (top / d / "many/0/f20").write_bytes(b"y" * 1000)
            (top / d / "many/1/f21").unlink()
            (top / d / "many/2/new").write_text("content")
            p.stdin.write("go\n")
            p.stdin.flush()
            right, after = p.stdout.readline().split()
            equal(right, "True", f"{d}: the host's changes")
            print(f"# {d}: seen after {float(after):.2f} s")
            if d == "live":
                equal(p.stdout.readline(), "True\n", "its own changes")
            total = sum(f.stat().st_size for f in (top / d / "many").rglob("f*") if f.is_file())
            equal(p.stdout.readline(), f"{total}\n", f"{d}: all sizes together")
        finally:
            p.kill()
            p.wait()


MANY = r"""
import os, sys, time
d = sys.argv[1]
os.mkdir(d)
for i in range(100):
    fd = os.open(f"{d}/{i}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, b"text")
    os.utime(fd, (i, i))
    os.close(fd)
before = os.stat(d).st_mtime_ns
os.unlink(f"{d}/7")
print(os.stat(d).st_mtime_ns > before, os.path.exists(f"{d}/7"), os.path.exists(f"{d}/8"), sorted(os.listdir(d)) == sorted(str(i) for i in range(100) if i != 7))
"""


@case
def changes_in_live_cost_few_requests():
    # The host says what a directory is after each change, and that a new one is empty: neither is asked for.
    top = G["top"]
    d = top / "live/fresh"
    (top / "ro/many.py").write_text(MANY)
    wait_for(lambda: "os.unlink" in inside(f"cat {top}/ro/many.py", status=None), 20, "the script")

    def cost(command, want=""):
        def requests():
            time.sleep(1.2)  # they are told once a second
            with G["env"].rpc() as r:
                return r.call("sandbox.get", name="w")["fs"]["requests"]
        before = requests()
        equal(inside(command), want)
        return requests() - before

    made, gone = cost(f"python3 {top}/ro/many.py {d}", "True False True True\n"), cost(f"rm -r {d}")
    print(f"# 100 files made: {made} requests; removed: {gone}")
    equal((made < 460, gone < 260), (True, True), f"{made} and {gone} requests")
    inside(f"mkdir {d}; test ! -e {d}/host")  # known to be empty
    (d / "host").write_text("from the host")
    wait_for(lambda: inside(f"cat {d}/host", status=None) == "from the host", 1, "what the host put there", every=0.1)
    equal(inside("for w in live ro; do cat /sys/class/bdi/$(python3 -c 'import os, sys; n = os.stat(sys.argv[1]).st_dev; print(f\"{os.major(n)}:{os.minor(n)}\")' "
                 f"{top}/$w)/read_ahead_kb; done"), "1024\n1024\n")


@case
def secrets_are_not_there_and_are_listed():
    top = G["top"]
    for d in ("review", "live"):
        out = inside(f"cd {top}/{d}; ls -a; cat .env own.secret 2>&1; true", user="root")
        contains(out, "No such file")
        equal([n for n in out.split("\n") if n in (".env", "own.secret")], [])
    wait_for(lambda: all({".env", "own.secret"} <= set(w["hidden"]) for w in workspaces()[:2]), 10, "hidden names in the sandbox's object")


def of_outside():
    """Every file of the host that the attempts are after: contents, mode, times, owner."""
    return {p: (p.read_bytes(), p.stat().st_mode, p.stat().st_mtime_ns, p.stat().st_uid, p.stat().st_size) for p in (G["top"] / "outside").iterdir()}


@case
def nothing_leaves_the_workspace_whatever_root_tries():
    top = G["top"]
    equal(len(attempts.ROWS) >= 40, True)
    before, beside = of_outside(), sorted(p.name for p in top.iterdir())
    shutil.copy(attempts.__file__, top / "ro/attempts.py")
    wait_for(lambda: "MARK" in inside(f"cat {top}/ro/attempts.py", status=None), 10, "the script")
    out = json.loads(inside(f"python3 {top}/ro/attempts.py {top}/live", user="root", timeout=800))
    equal(len(out), len(attempts.ROWS))
    equal([(text, got, want) for (text, want), got in zip(attempts.ROWS, out) if got != want], [], "attempt, what it got, what it must get")
    print(f"# {len(out)} attempts, none out")
    equal(of_outside(), before)
    equal((top / "live/.env").read_text(), "PASSWORD=1\n")
    equal((top / "live/own.secret").read_text(), "x\n")
    special = [p for p in top.rglob("*") if p.is_block_device() or p.is_char_device() or (p.is_file() and not p.is_symlink() and p.stat().st_mode & 0o6000)]
    equal(special, [])
    equal(sorted(p.name for p in top.iterdir()), beside)
    wait_for(lambda: workspaces()[1]["linked"], 10, "the file with a name outside to be reported")


@case
def git_works_in_each_mode():
    top = G["top"]
    for d in ("review", "live"):
        out = inside(f"set -e; cd {top}/{d}; git init -q . 2>/dev/null; git config user.email a@example.org; git config user.name a; git add -A; "
                     "git commit -q -m one; echo more >>file; git status --porcelain; git commit -qam two; git log --oneline | wc -l; git fsck 2>&1 | grep -c error || true")
        equal(out.split(), ["M", "file", "2", "0"])
    equal((top / "review/.git").exists(), False)
    equal((top / "live/.git/HEAD").exists(), True)


HOLD = """
import errno, os, sys, time
p = sys.argv[1]
fd = os.open(p, os.O_RDWR)
print("open", flush=True)
while True:
    try:
        os.fsync(fd)
        os.pwrite(fd, b"h", 0)
        time.sleep(0.01)
    except OSError as e:
        print(errno.errorcode[e.errno], flush=True)
        break
end = time.monotonic() + 60
while True:
    try:
        with open(p, "r+") as f:
            f.seek(4)
            f.write(" and written")
        print(open(p).read(), flush=True)
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.05)
"""


@case
def a_bulkhead_fs_that_dies_is_replaced():
    top, env = G["top"], G["env"]
    found = served_by()
    equal(len(found), 1)
    # A program that has files open sees an error, not a wait, and goes on with what it opens anew.
    (top / "live/held").write_text("held")
    held = subprocess.Popen([env.program, "exec", "w", "--", "python3", "-c", HOLD, f"{top}/live/held"], env=env.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    equal(held.stdout.readline(), "open\n")
    os.kill(found[0], signal.SIGKILL)
    try:
        told, again = held.communicate(timeout=90)[0].split("\n")[:2]
    finally:
        held.kill()
        held.wait()
    equal((told in ("EIO", "EBADF", "ESTALE"), again), (True, "held and written"), told)
    equal((top / "live/held").read_text(), "held and written")
    wait_for(lambda: inside(f"cat {top}/live/file {top}/ro/file {top}/review/sub 2>/dev/null; cat {top}/live/file", status=None).endswith("changed\nmore\n"), 20,
             "the live workspace again", every=0.2)
    wait_for(lambda: inside("cat file; ls", status=None).startswith("changed"), 20, "the review workspace again", every=0.2)
    inside(f"echo again >{top}/live/again")
    equal((top / "live/again").read_text(), "again\n")
    wait_for(lambda: [w["state"] for w in workspaces()] == ["mounted"] * 4, 20, "every workspace to be mounted again")


@case
def a_supervisor_that_dies_leaves_them_as_they_are():
    top, env = G["top"], G["env"]
    served = served_by()
    equal(len(served), 1)
    inside(f"cd {top}/live && ls -a && test ! -e .env")
    os.kill(env.supervisor_pid(), signal.SIGKILL)
    wait_for(lambda: env.run("ls").returncode == 0 and env.json("ls")["sandboxes"][0]["state"] == "running", 30, "the next supervisor", every=0.2)
    equal(served_by(), served)
    inside(f"echo adopted >{top}/live/adopted")
    equal((top / "live/adopted").read_text(), "adopted\n")
    equal([w["state"] for w in workspaces()], ["mounted"] * 4)
    equal(".env" in workspaces()[1]["hidden"], True, "what was noted is told again")


@case
def a_stop_is_quick_and_what_was_written_is_there_after_it():
    top, env = G["top"], G["env"]
    inside(f"cd {top}/clone && git checkout -q -b feature && echo unsaved >unsaved")
    env.run("stop", "w", ok=0, timeout=60)
    (top / "live/while-off").write_text("x\n")
    subprocess.run([*G["git"], "commit", "-q", "--allow-empty", "-m", "two"], check=True)
    env.run("start", "w", ok=0, timeout=200)
    equal(inside("cat file new"), "changed\nmore\nnew\n")
    equal(inside(f"cat {top}/live/while-off {top}/live/again"), "x\nagain\n")
    equal(inside(f"cd {top}/clone && cat unsaved && git symbolic-ref HEAD && git log -1 --format=%s && git fetch -q host && git log -1 --format=%s host/main"),
          "unsaved\nrefs/heads/feature\none\ntwo\n")


@case
def a_reset_forgets_what_review_holds():
    env = G["env"]
    env.run("reset", "w", "--yes", ok=0, timeout=200)
    wait_for(lambda: env.json("ls")["sandboxes"][0]["state"] == "running", 120, "the sandbox to run again", every=0.2)
    equal(inside("cat file; test -e new || echo none"), "review\nnone\n")
    equal(inside(f"cd {G['top']}/clone && ls && git symbolic-ref HEAD && git log -1 --format=%s"), "refs/heads/bulkhead/w\ntwo\n")


@case
def what_cannot_be_a_workspace_is_refused():
    env, top = G["env"], G["top"]
    for args, part in ((["shell", "/usr"], "own system"), (["shell", top, top / "live"], "within one another"), (["shell", top / "nowhere"], "does not exist"),
                       (["--exclude", "a//b", "shell", top], "no pattern")):
        r = env.run("create", "--name", "no", *args)
        equal(r.returncode != 0, True, f"create {args}")
        contains(r.stderr, part)
    equal([s["name"] for s in env.json("ls")["sandboxes"]], ["w"])
    # One that vanished between making the sandbox and starting it.
    (top / "gone").mkdir()
    env.run("create", "--name", "g", "shell", top / "gone", ok=0)
    (top / "gone").rmdir()
    r = env.run("start", "g", timeout=120)
    equal(r.returncode != 0, True, "start without the directory")
    contains(r.stderr, f"cannot open directory '{top}/gone': no such file or directory")


@case
def raw_messages_of_root_reach_nothing():
    top, env = G["top"], G["env"]
    before, beside = of_outside(), sorted(p.name for p in top.iterdir())
    shutil.copy(pathlib.Path(attempts.__file__).parent / "rawfuse.py", top / "ro/rawfuse.py")
    wait_for(lambda: "requests" in inside(f"cat {top}/ro/rawfuse.py", status=None), 10, "the script")
    p = subprocess.Popen([env.program, "exec", "-u", "root", "w", "--", "python3", f"{top}/ro/rawfuse.py"], env=env.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        got = json.loads(p.stdout.readline())
        equal((got["fuse"] >= 3, got["channel"] >= 1), (True, True), f"PID 1's descriptors: {got}")
        equal([a for a in got["answers"] if "ok" in a], [], "the kernel takes none of these answers")
        equal(inside(f"cat {top}/ro/file; echo on >{top}/live/goes"), "ro\n")
        equal((top / "live/goes").read_text(), "on\n")
        # Now into the channel, as data of whatever streams there are: this machine is not to be used after it.
        with contextlib.suppress(subprocess.TimeoutExpired):
            p.communicate("go\n", timeout=60)
    finally:
        p.kill()
        p.wait()
    equal(of_outside(), before)
    equal(sorted(x.name for x in top.iterdir()), beside)
    # The host's processes are there, and the same sandbox starts again.
    env.run("kill", "w")
    env.run("start", "w", ok=0, timeout=200)
    equal(inside(f"cat {top}/ro/file; echo again >{top}/live/goes-on"), "ro\n")
    equal((top / "live/goes-on").read_text(), "again\n")
    equal(of_outside(), before)


main(setup, teardown)
