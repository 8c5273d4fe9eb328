#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""POSIX in a booted guest: the cases of tests/lib/calls.py and the random operations of tests/lib/fsx.py on a live share and in a review workspace, against the
guest's own ext4; then what the host has of it, by the share and by apply.

tests/workspace/test_posix.py and test_share.py ask all cases of a share on this machine's kernel; here the relay, the channel and the overlay are under them.
BULKHEAD_GUEST_OPS sets the operations on a file (1500), BULKHEAD_GUEST_CASES how many of the cases are asked (140; 0: all), BULKHEAD_SEED repeats a run.
"""
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

LIB = pathlib.Path(__file__).resolve().parents[1] / "lib"
sys.path.insert(0, str(LIB))
import calls  # noqa: E402
import fsx  # noqa: E402
from bulkhead import Env  # noqa: E402
from tap import case, equal, main, wait_for  # noqa: E402

G = {}
OPS = int(os.environ.get("BULKHEAD_GUEST_OPS", "1500"))
CASES = int(os.environ.get("BULKHEAD_GUEST_CASES", "140"))
SEED = int(os.environ.get("BULKHEAD_SEED", "0")) or random.randrange(1 << 32)
TOTAL = len(list(calls.cases()))
EVERY = max(1, TOTAL // CASES) if CASES else 1
FIRST = SEED % EVERY
COUNT = len(range(FIRST, TOTAL, EVERY))
PLAIN = "/srv/plain"  # on the sandbox's disk: ext4


def make(d):
    d.mkdir()
    return d


def setup():
    G["env"] = env = Env()
    G["top"] = top = pathlib.Path(tempfile.mkdtemp(prefix="bh-conform-")).resolve()
    top.chmod(0o755)
    print(f"# seed {SEED}: {COUNT} of {TOTAL} cases, {OPS} operations")
    for d in ("review", "live"):
        for i in range(COUNT):
            (top / d / "calls" / str(i)).mkdir(parents=True)
            # A file of the host with two names is another matter, in review and in live: a case of its own.
            calls.make_objects(top / d / "calls" / str(i), linked=False)
        (top / d / "tree").mkdir()
        fsx.start_tree(top / d / "tree", SEED)
        calls.make_objects(make(top / d / "names"))
        (top / d / "file").write_bytes(random.Random(SEED).randbytes(200_000))
    (top / "lib").mkdir()
    for n in ("calls.py", "fsx.py"):
        shutil.copy(LIB / n, top / "lib" / n)
    env.run("create", "--name", "c", "shell", top / "review", f"{top}/live:live", f"{top}/lib:ro", ok=0)
    env.run("start", "c", ok=0, timeout=240)
    inside(f"mkdir -p /var/lib/docker/plain {PLAIN}; busybox mount --bind /var/lib/docker/plain {PLAIN}; mkdir {PLAIN}/review {PLAIN}/live; chown -R 1000:1000 {PLAIN}", user="root")
    equal(inside(f"stat -f -c %T {PLAIN}", user="root").strip(), "ext2/ext3")


def teardown():
    G["env"].close()
    shutil.rmtree(G["top"], ignore_errors=True)


def inside(command, user=None, timeout=600):
    r = G["env"].run("exec", *(["-u", user] if user else []), "c", "--", "sh", "-ec", command, timeout=timeout)
    if r.returncode:
        raise AssertionError(f"{command}: exit {r.returncode}\n{r.stdout[-4000:]}{r.stderr[-4000:]}")
    return r.stdout


def ask(where):
    top, plain = G["top"], f"{PLAIN}/{where}/calls"
    out = inside(f"mkdir -p {plain}; chown 1000:1000 {plain}; python3 {top}/lib/calls.py {top}/{where}/calls {plain} {EVERY} {FIRST} {'turns' if where == 'review' else 'agent'}", user="root")
    got = json.loads(out)
    equal((got["n"], len(got["digests"])), (COUNT, COUNT))
    return got


@case
def calls_on_a_live_share_are_those_of_ext4():
    got = ask("live")
    equal(got["wrong"], [], f"{len(got['wrong'])} of {COUNT} differ")
    # And the host has what the guest's plain directory has.
    for i, d in enumerate(got["digests"]):
        equal((i, calls.digest(G["top"] / "live/calls" / str(i))), (i, d), "the host's tree of a case")


@case
def calls_in_a_review_workspace_are_those_of_ext4():
    before = [calls.digest(G["top"] / "review/calls" / str(i)) for i in range(COUNT)]
    got = ask("review")
    equal(got["wrong"], [], f"{len(got['wrong'])} of {COUNT} differ")
    equal([calls.digest(G["top"] / "review/calls" / str(i)) for i in range(COUNT)], before, "the host's trees")


@case
def two_names_of_a_file_of_the_host():
    top = G["top"]
    # In review they are two files once one of them is written (index=off, as in Docker's own overlays).
    equal(inside(f"cd {top}/review/names; stat -c %h linked other; echo more >>linked; cat linked other; stat -c %h linked"), "2\n2\nothersmore\nothers1\n")
    # In live one is not written while it may have a name outside: both have to have been seen.
    equal(inside(f"cd {top}/live/names; echo more 2>/dev/null >>linked || echo no; stat -c %n other; echo more >>linked; cat other"), "no\nother\nothersmore\n")
    equal(((top / "review/names/other").read_text(), (top / "live/names/other").read_text()), ("others", "othersmore\n"))


def operations(what, where, count, user=None):
    top = G["top"]
    name = "file" if what == "file" else "tree"
    rate = inside(f"test -e {PLAIN}/{where}/{name} || cp -a {top}/{where}/{name} {PLAIN}/{where}/; "
                  f"python3 {top}/lib/fsx.py {what} {top}/{where}/{name} {PLAIN}/{where}/{name} {count} {SEED}")
    print(f"# {count} operations, {rate.strip()} a second")
    inside(f"diff -r --no-dereference {top}/{where}/{name} {PLAIN}/{where}/{name}")


def plain_here(where, name):
    """The guest's plain copy, brought to the host."""
    to = make(G["top"] / f"plain-{where}")
    r = G["env"].run("exec", "c", "--", "tar", "-C", f"{PLAIN}/{where}", "-cf", "-", name, ok=0, text=False, timeout=200)
    subprocess.run(["tar", "-C", to, "-xf", "-"], input=r.stdout, check=True)
    return to / name


def same(a, b):
    r = subprocess.run(["diff", "-r", "--no-dereference", str(a), str(b)], capture_output=True, text=True)
    equal((r.returncode, r.stdout[:2000], r.stderr[:2000]), (0, "", ""))


@case
def random_operations_on_a_live_share_are_those_of_ext4():
    operations("file", "live", OPS)
    operations("tree", "live", OPS // 2)
    same(G["top"] / "live/tree", plain_here("live", "tree"))
    G["env"].run("cp", f"c:{PLAIN}/live/file", G["top"] / "plain-file", ok=0)
    equal((G["top"] / "live/file").read_bytes() == (G["top"] / "plain-file").read_bytes(), True, "the host's file")


@case
def random_operations_in_review_are_those_of_ext4():
    operations("file", "review", OPS)
    operations("moves", "review", OPS // 2)


def drop_empty(d):
    """Directories with nothing in them have no place in a patch."""
    for base, dirs, _ in os.walk(d, topdown=False):
        for n in dirs:
            p = os.path.join(base, n)
            if not os.path.islink(p) and not os.listdir(p):
                os.rmdir(p)


@case
def what_random_operations_made_is_what_diff_and_apply_make_of_it():
    env, top = G["env"], G["top"]
    review, plain = top / "review", plain_here("review", "tree")
    drop_empty(plain)
    shutil.copytree(review / "tree", top / "copy/tree", symlinks=True)
    subprocess.run(["git", "init", "-q"], cwd=top / "copy", check=True)

    def diffed():
        before, G["patch"] = G.get("patch"), env.run("diff", "c", review / "tree", ok=0, text=False, timeout=200).stdout
        return before == G["patch"]
    wait_for(diffed, 60, "a diff that stands still", every=1.5)
    r = subprocess.run(["git", "apply", "--whitespace=nowarn", "-"], cwd=top / "copy", input=G["patch"], capture_output=True)
    equal((r.returncode, r.stderr.decode(errors="replace")), (0, ""), "git apply")
    drop_empty(top / "copy/tree")
    same(top / "copy/tree", plain)
    r = env.run("apply", "c", review / "tree", timeout=300)
    print(f"# {(r.stdout + r.stderr).strip().splitlines()[-1]}")
    left = [x for x in r.stdout.splitlines() if x.startswith("left")]
    equal(left, [])
    copy = top / "applied"
    shutil.copytree(review / "tree", copy, symlinks=True)
    drop_empty(copy)
    same(copy, plain)


main(setup, teardown)
