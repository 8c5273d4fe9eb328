#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Apply, discard and undo on one booted guest: what is taken, what is left and why, what the audit log says, and what goes wrong in between."""
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env, RpcError  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

G = {}
WAIT = 60


def setup():
    G["env"] = env = Env()
    G["ws"] = ws = pathlib.Path(tempfile.mkdtemp(prefix="bh-apply-"))
    ws.chmod(0o755)
    ws = G["ws"] = ws.resolve()
    lines = "".join(f"line {i}\n" for i in range(60))
    for name in ("one", "two", "three", "both", "gone", "keep"):
        (ws / name).write_text(f"{name}\n{lines}")
    (ws / "dir/sub").mkdir(parents=True)
    (ws / "dir/sub/leaf").write_text("leaf\n")
    (ws / "dir/old").write_text("a name to be given up\n" * 5)
    (ws / "Makefile").write_text("all:\n")
    (ws / ".git/hooks").mkdir(parents=True)
    (ws / ".git/config").write_text("[core]\n")
    env.run("create", "--name", "a", "--no-default-excludes", "shell", ws, ok=0)
    env.run("start", "a", ok=0, timeout=300)


def teardown():
    G["env"].close()
    shutil.rmtree(G["ws"], ignore_errors=True)


def inside(command, user=None):
    r = G["env"].run("exec", *(["-u", user] if user else []), "a", "--", "sh", "-ec", command, timeout=200)
    if r.returncode != 0:
        raise AssertionError(f"{command}: exit {r.returncode}\n{r.stdout}{r.stderr}")
    return r.stdout


def listed():
    with G["env"].rpc() as c:
        w = c.call("changes.list", name="a")["workspaces"][0]
    return {e["path"]: e for e in w["entries"]}


def expect_changes(*paths):
    """The list is these, soon."""
    def same():
        G["last"] = sorted(listed())
        return G["last"] == sorted(paths)
    try:
        wait_for(same, WAIT, "the changes", every=0.2)
    except AssertionError as e:
        raise AssertionError(f"changes are {G['last']}, want {sorted(paths)}") from e


def apply(*args, status=0):
    r = G["env"].run("apply", "a", *args, timeout=200)
    if r.returncode != status:
        raise AssertionError(f"apply {args}: exit {r.returncode}, want {status}\n{r.stdout}{r.stderr}")
    return r.stdout + r.stderr


def digest(path):
    return hashlib.sha256((G["ws"] / path).read_bytes()).hexdigest()


def audit(event):
    out = []
    for p in sorted((G["env"].state / "bulkhead/audit").rglob("*")):
        if p.is_file():
            out += [json.loads(line) for line in p.read_text().splitlines() if line.startswith("{")]
    return [r for r in out if r.get("event") == event]


def temporaries():
    return [p.name for p in G["ws"].rglob(".bulkhead-*")]


def reviewer():
    for p in G["env"].processes():
        with contextlib.suppress(OSError):
            if os.path.basename(os.readlink(f"/proc/{p}/exe")).split(" ")[0] == "bulkhead-review":
                return p
    return None


@case
def what_is_named_is_applied_and_drops_out_of_the_diff():
    ws = G["ws"]
    inside("cd %s; echo changed >one; mkdir -p new/deep; printf 'made\\n' >new/deep/file; chmod 755 new/deep/file; rm gone; mv dir/old dir/renamed; "
           "ln -s one link; chmod 700 keep" % ws)
    expect_changes("one", "new/deep/file", "gone", "dir/renamed", "link", "keep")
    before = {p: (ws / p).read_bytes() for p in ("one", "gone")}
    was = digest("one")
    out = apply("--dry-run", "one", "new")
    contains(out, "would be applied")
    equal((ws / "one").read_bytes(), before["one"])
    equal((ws / "new").exists(), False)
    contains(apply("one", "new"), "2 files applied")
    equal((ws / "one").read_text(), "changed\n")
    equal(((ws / "new/deep/file").read_text(), (ws / "new/deep/file").stat().st_mode & 0o7777), ("made\n", 0o755))
    equal((ws / "new/deep/file").stat().st_uid, os.geteuid())
    expect_changes("gone", "dir/renamed", "link", "keep")
    equal(inside(f"cat {ws}/one {ws}/new/deep/file"), "changed\nmade\n")
    # One record, with hashes.
    r = audit("apply")[-1]
    equal((r["sandbox"], r["workspace"], r["files"], r["left"]), ("a", str(ws), 2, 0))
    equal([(c["path"], c["before"], c["after"]) for c in r["changes"] if c["path"] == "one"], [("one", was, digest("one"))])
    contains(apply("--all"), "applied")
    equal(((ws / "gone").exists(), (ws / "dir/old").exists(), (ws / "dir/renamed").read_text(), os.readlink(ws / "link")),
          (False, False, "a name to be given up\n" * 5, "one"))
    equal((ws / "keep").stat().st_mode & 0o777, 0o700)
    expect_changes()
    equal(temporaries(), [])


@case
def undo_brings_everything_back_and_can_be_undone():
    env, ws = G["env"], G["ws"]
    ids = [a["id"] for a in env.json("undo", "a", "--list")["applies"]]
    equal(len(ids), 2)
    contains(env.run("undo", "a", ok=0).stderr, f"apply {ids[0]} undone")
    equal(((ws / "gone").exists(), (ws / "dir/old").exists(), (ws / "link").is_symlink(), (ws / "dir/renamed").exists()), (True, True, False, False))
    (ws / "one").write_text("edited by the person\n")
    r = env.run("undo", "a", ok=1)
    contains(r.stdout, "one: it was changed on the host since")
    contains(r.stderr, "nothing was done")
    equal((ws / "new/deep/file").exists(), True)
    (ws / "one").write_text("changed\n")
    env.run("undo", "a", ok=0)
    contains((ws / "one").read_text(), "line 59")
    equal((ws / "new").exists(), False)
    contains(env.run("undo", "a", ok=1).stderr, "nothing was applied that could be undone")
    contains(env.run("undo", "a", ids[1], ok=1).stderr, "undone already")
    again = [a for a in env.json("undo", "a", "--list")["applies"] if a["of"] == ids[1]]
    equal([a["kind"] for a in again], ["undo"])
    env.run("undo", "a", again[0]["id"], ok=0)
    equal((ws / "one").read_text(), "changed\n")
    equal(len(audit("undo")), 3)
    expect_changes()


@case
def what_the_host_changed_is_a_conflict_and_is_never_overwritten():
    ws = G["ws"]
    inside(f"cd {ws}; echo inside >>both; echo inside >>two")
    expect_changes("both", "two")
    (ws / "both").write_text("the person's\n")
    wait_for(lambda: listed()["both"]["conflict"], WAIT, "the conflict", every=0.2)
    out = apply("--all", status=1)
    contains(out, "both: the host has changed it since the change was first seen")
    contains(out, "1 file applied, 1 left")
    out = apply("both", status=1)
    contains(out, "never overwritten")
    equal((ws / "both").read_text(), "the person's\n")
    G["env"].run("discard", "a", "both", "--yes", ok=0)
    expect_changes()
    wait_for(lambda: inside(f"cat {ws}/both") == "the person's\n", WAIT, "the host's file inside", every=0.3)


@case
def what_would_be_run_on_the_host_must_be_named():
    ws = G["ws"]
    inside(f"cd {ws}; echo '\tcurl evil' >>Makefile; mkdir -p .vscode web; echo '{{}}' >.vscode/tasks.json; echo '{{}}' >web/package.json; echo x >plain; "
           "ln -s /etc/passwd absolute; ln -s ../../x escapes; echo '#!/bin/sh' >.git/hooks/pre-commit; chmod 755 .git/hooks/pre-commit; mkfifo pipe; "
           "cp /bin/true suid; chmod 4755 suid; printf x >\"$(printf 'na\\033me')\"")
    wait_for(lambda: len(listed()) >= 9, WAIT, "the changes", every=0.2)
    out = apply("--all", status=1)
    for part in ("Makefile: build recipe", ".vscode/tasks.json: editor", "web/package.json: package", "absolute: ", "escapes: ", "pipe: ", "suid: "):
        contains(out, part)
    equal("applied   plain" in out, True)
    contains(apply(".", status=1), "Makefile: build recipe")
    out = apply("Makefile", ".vscode/tasks.json", "absolute", "suid", status=1)
    contains((ws / "Makefile").read_text(), "evil")
    contains(out, "Makefile  build recipe")
    equal((os.path.lexists(ws / "absolute"), os.path.lexists(ws / "suid")), (False, False))
    contains(apply("--links", "absolute"), "absolute  a link to /etc/passwd")
    equal(os.readlink(ws / "absolute"), "/etc/passwd")
    apply("--setuid", "suid")
    equal((ws / "suid").stat().st_mode & 0o7777, 0o755)
    apply("pipe", status=1)
    with G["env"].rpc() as c:
        r = c.call("changes.apply", name="a", items=[{"path": ".git/hooks/pre-commit", "named": True}, {"path": "no/such", "named": True}])
    equal((r["applied"], sorted(s["kind"] for s in r["skipped"]) in (["gone", "mark"], ["gone", "gone"])), ([], True))
    equal((ws / ".git/hooks/pre-commit").exists(), False)
    equal((ws / "pipe").exists(), False)
    G["env"].run("discard", "a", "--all", "--yes", ok=0)
    expect_changes()


def answer(argv, answers, cwd=None):
    p = subprocess.run([G["env"].program, *argv], env=G["env"].env, input=answers, capture_output=True, text=True, timeout=100, cwd=cwd)
    return p.returncode, p.stdout + p.stderr


@case
def hunks_are_chosen_one_by_one():
    ws = G["ws"]
    (ws / "three").write_text("".join(f"line {i}\n" for i in range(60)))
    wait_for(lambda: inside(f"head -1 {ws}/three") == "line 0\n", WAIT, "the host's file inside", every=0.3)
    inside(f"cd {ws}; sed -i 's/^line 5$/five/; s/^line 30$/thirty/; s/^line 50$/fifty/' three; echo '# more' >>Makefile; echo n >zz-new")
    expect_changes("three", "Makefile", "zz-new")
    # Makefile no; three: help, first yes, second no, third yes; zz-new: the rest is left.
    code, out = answer(["apply", "a", "--patch"], "n\n?\ny\nn\ny\nq\n")
    equal(code, 0, out)
    contains(out, "(2/3) Apply this hunk?")
    contains(out, "+thirty")
    want = "".join(f"line {i}\n" for i in range(60)).replace("line 5\n", "five\n").replace("line 50\n", "fifty\n")
    equal((ws / "three").read_text(), want)
    contains((ws / "Makefile").read_text(), "evil")
    equal("more" in (ws / "Makefile").read_text(), False)
    # What was not taken is still there, and no conflict: the host's file is ours.
    expect_changes("three", "Makefile", "zz-new")
    equal([e["conflict"] for e in listed().values()], [False] * 3)
    code, out = answer(["apply", "a", "--patch", "three", "Makefile"], "y\na\n", cwd=ws)
    equal(code, 0, out)
    equal((ws / "three").read_text(), want.replace("line 30\n", "thirty\n"))
    contains((ws / "Makefile").read_text(), "# more")
    expect_changes("zz-new")
    contains(answer(["apply", "a", "--patch"], "")[1], "0 files applied")


@case
def what_was_seen_is_what_is_applied():
    ws = G["ws"]
    inside(f"cd {ws}; echo first >seen; echo first >swapped")
    expect_changes("zz-new", "seen", "swapped")
    with G["env"].rpc() as c:
        seen = {p: c.call("changes.diff", name="a", path=p)["digest"] for p in ("seen", "swapped")}
        inside(f"cd {ws}; echo second >seen; rm swapped; ln -s /etc/shadow swapped")
        r = c.call("changes.apply", name="a", items=[{"path": p, "digest": d} for p, d in seen.items()])
        equal((r["applied"], sorted(s["path"] for s in r["skipped"])), ([], ["seen", "swapped"]))
        equal([s["kind"] for s in r["skipped"] if s["path"] == "seen"], ["changed"])
    equal(((ws / "seen").exists(), os.path.lexists(ws / "swapped")), (False, False))
    expect_changes("zz-new", "seen", "swapped")  # for a moment it was gone
    G["env"].run("discard", "a", "seen", "swapped", "zz-new", "--yes", ok=0)
    expect_changes()


@case
def a_directory_swapped_for_a_link_leads_nowhere():
    ws = G["ws"]
    outside = ws.parent / (ws.name + "-outside")
    outside.mkdir()
    try:
        (outside / "leaf").write_text("outside\n")
        inside(f"echo changed >{ws}/dir/sub/leaf; echo n >{ws}/dir/sub/added")
        expect_changes("dir/sub/leaf", "dir/sub/added")
        (ws / "dir/sub").rename(ws / "dir/real")
        (ws / "dir/sub").symlink_to(outside)
        apply("dir/sub/leaf", "dir/sub/added", status=1)
        equal(([p.name for p in outside.iterdir()], (outside / "leaf").read_text()), (["leaf"], "outside\n"))
        equal((ws / "dir/real/leaf").read_text(), "leaf\n")
        (ws / "dir/sub").unlink()
        (ws / "dir/real").rename(ws / "dir/sub")
        apply("dir/sub")
        equal((ws / "dir/sub/leaf").read_text(), "changed\n")
        expect_changes()
    finally:
        shutil.rmtree(outside)


def below(d):
    out = {}
    for p in sorted(d.rglob("*")):
        out[str(p.relative_to(d))] = os.readlink(p) if p.is_symlink() else p.is_file() and p.read_bytes()
    return out


@case
def a_file_in_the_place_of_a_directory_comes_when_what_lay_there_has_gone():
    env, ws = G["env"], G["ws"]
    (ws / "about").mkdir()
    for n in ("x", "y", "z"):
        (ws / "about" / n).write_text(f"{n} of about\n" * 9)
    wait_for(lambda: inside(f"ls {ws}/about 2>/dev/null || :").split() == ["x", "y", "z"], WAIT, "what the host made", every=0.2)
    inside(f"cd {ws}; mkdir fresh zoo; mv about/x fresh/x; mv about/y zoo/y; mv about/z zz; rmdir about; echo now a file >about")
    expect_changes("about", "fresh/x", "zoo/y", "zz")
    text = apply("--all", "--dry-run")
    equal("left" in text, False, text)
    apply("--all")
    equal((ws / "about").read_text(), "now a file\n")
    equal([(ws / n).read_text()[:1] for n in ("fresh/x", "zoo/y", "zz")], ["x", "y", "z"])
    expect_changes()
    env.run("undo", "a", ok=0)
    equal(sorted(os.listdir(ws / "about")), ["x", "y", "z"])
    equal([(ws / n).exists() for n in ("fresh/x", "zoo/y", "zz")], [False] * 3)
    env.run("discard", "a", "--all", "--yes", ok=0)
    expect_changes()
    shutil.rmtree(ws / "about")
    wait_for(lambda: not inside(f"ls {ws}").count("about"), 20, "what the host removed to be gone inside")


@case
def what_was_moved_is_discarded_with_its_directory():
    env, ws = G["env"], G["ws"]
    for p in ("tree/a", "tree/b", "tree/sub/c", "other/d", "other/tree/e"):
        (ws / p).parent.mkdir(parents=True, exist_ok=True)
        (ws / p).write_text(f"{p}\n" * 9)
    (ws / "hollow/deep").mkdir(parents=True)
    have = below(ws)
    seen = f"cd {ws}; find . -type d | sort; find . -type f -exec md5sum {{}} + | sort -k2"
    wait_for(lambda: "hollow/deep" in inside(seen), WAIT, "the trees inside", every=0.3)
    before = inside(seen)
    for how in (["moved", "tree"], ["--all"]):
        inside(f"cd {ws}; mv tree moved; echo more >>moved/a; rm moved/b; echo n >moved/new; mv moved/sub moved/sub2; mv hollow empty")
        expect_changes("moved/a", "tree/b", "moved/new", "moved/sub2/c", "hollow/deep")
        if how != ["--all"]:
            # One file of it cannot go back without the others.
            contains(env.run("discard", "a", "moved/a", "--yes", ok=1).stdout, "it went with its directory")
        env.run("discard", "a", *how, "--yes", ok=0)
        expect_changes(*(["hollow/deep"] if how != ["--all"] else []))
        if how != ["--all"]:
            inside(f"cd {ws}; mv empty hollow")
        wait_for(lambda: inside(seen) == before, WAIT, "the host's tree inside", every=0.3)
    # Over one another, away and back, over a file.
    inside(f"cd {ws}; rm -r other/tree; mv tree other/tree; mv other other2; mv other2 other; mv other/d x; mkdir d; mv x d/; rm one; mv dir one; mkdir dir; echo n >dir/n")
    wait_for(lambda: {"one", "other/tree/a", "other/tree/e", "dir/n"} <= set(listed()), WAIT, "the changes", every=0.3)
    env.run("discard", "a", "--all", "--yes", ok=0)
    expect_changes()
    wait_for(lambda: inside(seen) == before, WAIT, "the host's tree inside", every=0.3)
    equal(below(ws), have)


@case
def a_reviewer_killed_in_the_middle_leaves_old_or_new():
    env, ws = G["env"], G["ws"]
    n = 60
    for i in range(n):
        (ws / f"many{i}").write_text("old\n" * 50)
    wait_for(lambda: inside(f"ls {ws} | grep -c many") == f"{n}\n", WAIT, "the files inside", every=0.3)
    inside(f"cd {ws}; for i in $(seq 0 {n - 1}); do echo new >many$i; done")
    expect_changes(*[f"many{i}" for i in range(n)])
    def changed():
        return sum((ws / f"many{i}").read_text() == "new\n" for i in range(n))

    def all_told():
        with contextlib.suppress(RpcError):
            return len(listed()) == n - changed()

    for after in (3, 20):
        wait_for(all_told, WAIT, "what is left in the list", every=0.2)
        have, pid = changed(), reviewer()
        p = subprocess.Popen([env.program, "apply", "a", "--all"], env=env.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for(lambda: changed() >= have + after, WAIT, "some of them", every=0.001)
        os.kill(pid, signal.SIGKILL)
        out = p.communicate(timeout=WAIT)[0]
        equal(p.returncode, 1, out)
        wait_for(lambda: reviewer() not in (None, pid), WAIT, "another bulkhead-review")
        wait_for(lambda: not temporaries(), WAIT, "no temporary")
        equal({(ws / f"many{i}").read_text() for i in range(n)} - {"old\n" * 50, "new\n"}, set())
    wait_for(all_told, WAIT, "what is left in the list", every=0.2)
    apply("--all")
    equal({(ws / f"many{i}").read_text() for i in range(n)}, {"new\n"})
    expect_changes()
    # Every part can be taken back.
    while any((ws / f"many{i}").read_text() == "new\n" for i in range(n)):
        env.run("undo", "a", ok=0)
    equal({(ws / f"many{i}").read_text() for i in range(n)}, {"old\n" * 50})


@case
def a_guest_killed_in_the_middle_leaves_old_or_new():
    env, ws = G["env"], G["ws"]
    inside(f"cd {ws}; for i in $(seq 0 59); do echo again >many$i; done; echo x >fresh")
    wait_for(lambda: len(listed()) == 61, WAIT, "the changes", every=0.3)
    p = subprocess.Popen([env.program, "apply", "a", "--all"], env=env.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: (ws / "many0").read_text() == "again\n", WAIT, "the first", every=0.001)
    env.run("kill", "a", ok=0)
    out = p.communicate(timeout=WAIT)[0]
    equal({(ws / f"many{i}").read_text() for i in range(60)} - {"old\n" * 50, "again\n"}, set(), out)
    equal(temporaries(), [])
    contains(env.run("apply", "a", "--all", ok=1).stderr, "while it runs")


@case
def what_was_applied_is_taken_back_while_it_is_stopped():
    env, ws = G["env"], G["ws"]
    # Killed with its machine the apply may have begun no record; what changed is in one or it is not changed.
    while any((ws / f"many{i}").read_text() == "again\n" for i in range(60)):
        env.run("undo", "a", ok=0)
    equal(({(ws / f"many{i}").read_text() for i in range(60)}, (ws / "fresh").exists()), ({"old\n" * 50}, False))
    last = env.json("undo", "a", "--list")["applies"][0]
    equal((last["kind"], env.json("ls")["sandboxes"][0]["changes"]["ready"]), ("undo", False))
    # One after another, and many at once.
    env.run("undo", "a", last["id"], ok=0)
    ps = [subprocess.Popen([env.program, "undo", "a", "--list", "--json"], env=env.env, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for p in ps:
        out = p.communicate(timeout=WAIT)[0]
        equal((p.returncode, json.loads(out)["applies"][0]["of"]), (0, last["id"]), out)
    env.run("undo", "a", ok=0)
    (ws / "many0").write_text("the host's\n")
    contains(env.run("undo", "a", env.json("undo", "a", "--list")["applies"][0]["id"], ok=1).stdout, "it was changed on the host since")
    wait_for(lambda: reviewer() is None, WAIT, "its end")
    contains(env.run("diff", "a", ok=1).stderr, "while it runs")
    # A start waits for one that is at it.
    p = subprocess.Popen([env.program, "undo", "a", "--list"], env=env.env, stdout=subprocess.DEVNULL)
    env.run("start", "a", ok=0, timeout=300)
    equal(p.wait(WAIT) in (0, 1), True)
    wait_for(lambda: env.json("ls")["sandboxes"][0]["changes"]["ready"], WAIT, "its changes, as of one that runs")


if __name__ == "__main__":
    main(setup, teardown)
