#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real trees in one booted guest, in every mode: this project's own with an npm project in it, many files (BULKHEAD_MANY_FILES=50000), git work trees of several
kinds as clones; what is edited, built, tested and committed inside, what the host sees of it, what `bulkhead diff` and `apply` make of it, and what
`bulkhead fetch` brings, also from a git in the guest that lies."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import TOP, Env  # noqa: E402
from tap import case, contains, equal, main, wait_for  # noqa: E402

G = {}
MODES = ("review", "live", "clone")
IDENT = "-c user.name=agent -c user.email=agent@example.org"
MANY = int(os.environ.get("BULKHEAD_MANY_FILES", "10000"))
TOUCHED = 300
MAKEFILE = "all: test\nprog: prog.c\n\t$(CC) -O1 -o $@ prog.c\ntest: prog\n\t./prog | grep -q 'hello from'\n"
PROG = '#include <stdio.h>\nint main(void) { printf("hello from %s\\n", "host"); return 0; }\n'


def git(where, *args, ok=True, input=None):
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    env.update(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null", GIT_AUTHOR_NAME="me", GIT_AUTHOR_EMAIL="me@example.org", GIT_COMMITTER_NAME="me",
               GIT_COMMITTER_EMAIL="me@example.org", LC_ALL="C")
    r = subprocess.run(["git", "-c", "protocol.file.allow=always", "-c", "safe.directory=*", "-C", str(where), *args], env=env, capture_output=True, text=True, input=input, timeout=120)
    if ok and r.returncode:
        raise AssertionError(f"git {' '.join(args)}: {r.stderr}")
    return r.stdout.strip()


# This project's own test and build, as far as the image's compiler goes: the lint over all sources, and the buffers with a test of them.
OWN = """FROM = core/base/buf.c core/base/escape.c core/base/utf8.c
own: own-test
\t./own-test
\tpython3 tests/lint/floors.py includes >own.log && ! grep '^not ok' own.log
own-test: own-test.c $(FROM)
\t$(CC) -std=gnu11 -Wall -I. -o $@ own-test.c $(FROM)
"""
OWN_TEST = """#include <string.h>
#include "core/base/buf.h"
int main(void) { struct buf b; buf_init(&b, 9); buf_str16(&b, "inside"); return memcmp(buf_head(&b) + 2, "inside", 6); }
"""


def own_history(d):
    """This project's own repository, as a branch; where it came without history, one commit."""
    git(d, "init", "-q", "-b", "main")
    if (TOP / ".git").exists():
        git(d, "fetch", "-q", "--no-tags", "--update-shallow", str(TOP), "HEAD")
        git(d, "reset", "-q", "--hard", "FETCH_HEAD")
        (d / ".git/FETCH_HEAD").unlink()
    else:
        shutil.copytree(TOP, d, dirs_exist_ok=True, symlinks=True, ignore=shutil.ignore_patterns("build", ".git", "*.o", "*.a"))
        git(d, "add", ".")
        git(d, "commit", "-qm", "zero")


def project(d, own=True):
    """A work tree with a history, a build, a test, an npm project, and what must not be seen inside."""
    d.mkdir()
    if own:
        own_history(d)
        (d / "inside.mk").write_text(OWN)
        (d / "own-test.c").write_text(OWN_TEST)
        npm_project(d)
    else:
        git(d, "init", "-q", "-b", "main")
    (d / "Makefile").write_text(MAKEFILE)
    (d / "prog.c").write_text(PROG)
    (d / ".gitignore").write_text("prog\nnode_modules\nown-test\nown.log\n__pycache__\n")
    git(d, "add", ".")
    git(d, "commit", "-qm", "one")
    git(d, "tag", "v1")
    (d / "notes").write_text("two\n")
    git(d, "add", ".")
    git(d, "commit", "-qm", "two")
    git(d, "remote", "add", "origin", "https://me:password@git.example.org/project.git")
    git(d, "update-ref", "refs/remotes/origin/main", "HEAD~1")
    (d / ".env").write_text("PASSWORD=untracked-secret\n")
    (d / "draft").write_text("untracked-secret\n")


def npm_project(d):
    """An application and a package of its own, as a tarball: nothing is asked of a registry."""
    (d / "package").mkdir()
    (d / "package/package.json").write_text('{"name": "leftish", "version": "1.0.0", "main": "index.js"}\n')
    (d / "package/index.js").write_text("module.exports = (s, n) => s.padStart(n);\n")
    (d / "vendor").mkdir()
    with tarfile.open(d / "vendor/leftish-1.0.0.tgz", "w:gz") as t:
        t.add(d / "package", "package")
    shutil.rmtree(d / "package")
    (d / "package.json").write_text(json.dumps({"name": "app", "version": "1.0.0", "scripts": {"test": "node test.js"},
                                                "dependencies": {"leftish": "file:vendor/leftish-1.0.0.tgz"}}))
    (d / "test.js").write_text("require('assert').strictEqual(require('leftish')('x', 3), '  x'); console.log('tested');\n")


def many_files(d):
    """MANY files, a hundred to a directory, committed."""
    d.mkdir()
    git(d, "init", "-q", "-b", "main")
    # What the guest sees of a file is not all that the host sees: inode and owner are another's.
    git(d, "config", "core.checkStat", "minimal")
    files = "".join(f"M 644 inline part{i // 100:04}/f{i:06}\ndata {len(str(i)) + 1}\n{i}\n\n" for i in range(MANY))
    git(d, "fast-import", "--quiet", input=f"commit refs/heads/main\ncommitter me <me@example.org> 1700000000 +0000\ndata 3\nall\n{files}\ndone\n")
    git(d, "reset", "-q", "--hard")


def setup():
    G["env"] = env = Env()
    G["top"] = top = pathlib.Path(tempfile.mkdtemp(prefix="bh-trees-"))
    top.chmod(0o755)
    for mode in MODES:
        project(top / mode)
    many_files(top / "many")
    # A worktree linked to a shallow repository; one without a commit; one that has lost an object.
    git(top, "clone", "-q", "--depth", "1", f"file://{top}/clone", "shallow")
    git(top / "shallow", "worktree", "add", "-q", "-b", "side", str(top / "linked"))
    (top / "linked/side").write_text("side\n")
    git(top / "linked", "add", ".")
    git(top / "linked", "commit", "-qm", "side")
    (top / "empty").mkdir()
    git(top / "empty", "init", "-q", "-b", "main")
    project(top / "broken", own=False)
    blob = git(top / "broken", "rev-parse", "HEAD:notes")
    os.unlink(top / "broken/.git/objects" / blob[:2] / blob[2:])
    clones = [f"{top}/{d}:clone" for d in ("clone", "linked", "empty", "broken")]
    env.run("create", "--name", "t", "shell", top / "review", f"{top}/live:live", top / "many", *clones, ok=0)
    env.run("start", "t", ok=0, timeout=240)


def teardown():
    G["env"].close()
    shutil.rmtree(G["top"], ignore_errors=True)


def inside(command, user=None, status=0, timeout=300):
    r = G["env"].run("exec", *(["-u", user] if user else []), "t", "--", "sh", "-c", command, timeout=timeout)
    if status is not None and r.returncode != status:
        raise AssertionError(f"{command}: exit {r.returncode}, want {status}\n{r.stdout}{r.stderr}")
    return r.stdout


def workspace(d):
    return next(w for w in G["env"].json("ls")["sandboxes"][0]["workspaces"] if w["path"] == f"{G['top']}/{d}")


def fetch(*args, ok=0, **kw):
    return G["env"].run("fetch", "t", *args, ok=ok, timeout=200, **kw)


def everything(d):
    """All of a directory that a fetch may not touch: names, kinds, contents, modes and times; without objects and what belongs to tracking branches of ours."""
    out = {}
    for p in sorted(d.rglob("*")):
        rel = p.relative_to(d).as_posix()
        if rel.startswith((".git/objects", ".git/refs/remotes/bulkhead", ".git/logs/refs/remotes/bulkhead")) or rel in (
                ".git", ".git/refs/remotes", ".git/logs", ".git/logs/refs", ".git/logs/refs/remotes"):
            continue
        st = p.lstat()
        # A directory of .git may gain the way to our branches: what is in it is compared by name.
        out[rel] = (st.st_mode, st.st_ino, 0 if p.is_dir() and rel.startswith(".git/") else st.st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else None)
    return out


def unchanged(d, before, what=""):
    now = everything(d)
    equal([k for k in sorted({*now, *before}) if now.get(k) != before.get(k)], [], f"{d.name} {what}: changed on the host")


def objects(d):
    return sorted(p.relative_to(d).as_posix() for p in (d / ".git/objects").rglob("*") if p.is_file())


def nothing_left():
    equal([p.name for p in (G["env"].state / "bulkhead").glob("fetch.*")], [])


@case
def every_clone_is_there_and_the_one_that_cannot_be_says_why():
    top = G["top"]
    for d in ("clone", "linked", "empty"):
        equal((workspace(d)["mode"], workspace(d)["state"], workspace(d)["why"]), ("clone", "mounted", ""), d)
    broken = workspace("broken")
    equal(broken["state"], "failed")
    contains(broken["why"], git(top / "broken", "rev-parse", "HEAD:notes"))
    equal(inside(f"ls -A {top}/broken"), "")
    for d in ("clone", "linked"):
        out = inside(f"cd {top}/{d} && git symbolic-ref HEAD && git rev-parse HEAD && git status --porcelain && stat -c %U . .git/HEAD")
        equal(out.split(), ["refs/heads/bulkhead/t", git(top / d, "rev-parse", "HEAD"), "agent", "agent"], d)
    equal(inside(f"cd {top}/empty && git symbolic-ref HEAD && ls"), "refs/heads/bulkhead/t\n")
    equal(inside(f"cat {top}/linked/side; cd {top}/clone; git rev-parse v1 host/main origin/main; git config remote.origin.url").split(),
          ["side", *git(top / "clone", "rev-parse", "v1", "main", "origin/main").split(), "https://git.example.org/project.git"])
    inside(f"cd {top}/clone && git fsck --connectivity-only --no-dangling && git log --oneline | grep -c . | grep -qx {git(top / 'clone', 'rev-list', '--count', 'HEAD')} && git fetch host && sudo git -c safe.directory='*' status")


@case
def what_was_never_committed_is_not_inside_a_clone():
    top = G["top"]
    equal(sorted(inside(f"cd {top}/clone && ls -A").split()), sorted([".git", *git(top / "clone", "ls-tree", "--name-only", "HEAD").split()]))
    out = inside("cd /run/bulkhead/host; ls -AR; test -e 2/HEAD; git --git-dir=2 cat-file --batch-all-objects --batch | grep -ao untracked-secret; true",
                 user="root")
    for word in ("config", "hooks", "index", "logs", "draft", ".env", "untracked-secret", "ORIG_HEAD"):
        equal([n for n in out.split() if n == word], [], word)
    equal(inside(f"cd {top}/clone; git config -l | grep -c password; true"), "0\n")
    # The share is for reading, also for root.
    before = everything(top / "clone")
    for c in ("touch x", "rm HEAD", "echo x >HEAD", "mkdir refs/heads/x", "rm -r objects", "mount -o remount,rw .", "git --git-dir=. update-ref refs/heads/x HEAD"):
        inside(f"cd /run/bulkhead/host/$(ls /run/bulkhead/host | head -1) && ! {{ {c}; }} 2>/dev/null; true", user="root")
    unchanged(top / "clone", before)


@case
def each_mode_edits_builds_tests_and_commits():
    top = G["top"]
    for mode in MODES:
        d = top / mode
        heads, tree = git(d, "rev-parse", "HEAD"), everything(d)
        out = inside(f"set -e; cd {d}; sed -i 's/host/{mode}/' prog.c; make -s; ./prog; git status --porcelain -uno; git {IDENT} commit -qam 'from {mode}'; "
                     "git log -1 --format=%s; git rev-parse HEAD; git status --porcelain -uno; git fsck --connectivity-only --no-dangling 2>&1 | grep -c error || true")
        lines = out.split("\n")
        equal(lines[:3], [f"hello from {mode}", " M prog.c", f"from {mode}"], mode)
        equal(lines[4:], ["0", ""], mode)
        if mode == "live":
            equal(git(d, "rev-parse", "HEAD"), lines[3])
            equal((git(d, "status", "--porcelain", "-uno"), git(d, "log", "-1", "--format=%an %s")), ("", "agent from live"))
            contains((d / "prog.c").read_text(), '"live"')
        else:
            equal(git(d, "rev-parse", "HEAD"), heads)
            unchanged(d, tree, mode)


@case
def an_npm_project_installs_and_tests_in_each_mode():
    for mode in MODES:
        d = G["top"] / mode
        before = everything(d)
        out = inside(f"set -e; cd {d}; npm install --offline --no-audit --no-fund --no-update-notifier --no-package-lock 2>&1; node test.js; ls node_modules/leftish", timeout=200)
        contains(out, "tested\nindex.js\npackage.json\n")
        equal((d / "node_modules").exists(), mode == "live")
        if mode == "live":
            equal((d / "node_modules/leftish/index.js").read_text(), "module.exports = (s, n) => s.padStart(n);\n")
            shutil.rmtree(d / "node_modules")
        unchanged(d, before, mode)


@case
def this_projects_own_tree_is_edited_built_tested_and_committed_in_each_mode():
    top = G["top"]
    for mode in MODES:
        d = top / mode
        before, files = everything(d), len(git(d, "ls-files").split("\n"))
        out = inside(f"set -e; cd {d}; git ls-files | wc -l; echo '/* edited inside */' >>core/base/buf.c; git status --porcelain; make -s -f inside.mk own; "
                     f"git {IDENT} commit -qam 'edit inside'; git status --porcelain; git log -1 --format=%s", timeout=300)
        lines = out.split("\n")
        equal(lines[:2], [str(files), " M core/base/buf.c"], mode)
        equal([line for line in lines[2:] if line.startswith((" M", "M "))], [], mode)
        equal(lines[-2], "edit inside", mode)
        if mode == "live":
            equal((git(d, "log", "-1", "--format=%s"), git(d, "status", "--porcelain", "-uno")), ("edit inside", ""))
        else:
            unchanged(d, before, mode)
    print(f"# {files} files, three times")


@case
def its_changes_are_a_patch_and_are_applied_by_command():
    d, env = G["top"] / "review", G["env"]
    inside(f"set -e; cd {d}; echo '/* more */' | tee -a prog.c >>core/base/buf.c; git mv core/base/escape.c core/base/escaped.c; rm README.md; sed -i '1a/* a line */' core/base/utf8.c; chmod +x core/base/utf8.h; printf '\\0\\1' >binary")
    want = {"M\tcore/base/buf.c", "R\tcore/base/escape.c\tcore/base/escaped.c", "D\tREADME.md", "M\tcore/base/utf8.c", "M\tcore/base/utf8.h", "A\tbinary", "M\tprog.c"}

    def lines():
        out = env.run("diff", "t", "--name-status", d, ok=0).stdout.replace(f"{d}/", "")
        return {line for line in out.splitlines() if "node_modules" not in line and "\t.git/" not in line}
    wait_for(lambda: want <= lines(), 30, "the changes", every=0.3)
    paths = [d / p for p in ("core", "binary", "prog.c")]
    patch = env.run("diff", "t", *paths, ok=0, text=False).stdout
    equal(subprocess.run(["git", "apply", "--check", "-"], cwd=d, input=patch).returncode, 0)
    contains(env.run("apply", "t", *paths, ok=0, timeout=200).stderr, "7 files applied")
    contains(env.run("apply", "t", d / "README.md", timeout=200).stderr, "1 file applied")
    contains((d / "core/base/buf.c").read_text(), "/* more */")
    equal(((d / "README.md").exists(), (d / "binary").read_bytes(), os.access(d / "core/base/utf8.h", os.X_OK)), (False, b"\0\1", True))
    # What the guest has committed and what stands on the host is one: its git sees nothing left of it.
    equal(inside(f"cd {d} && git status --porcelain core binary README.md prog.c").split("\n"),
          [" D README.md", " M core/base/buf.c", "R  core/base/escape.c -> core/base/escaped.c", " M core/base/utf8.c", " M core/base/utf8.h", " M prog.c", "?? binary", ""])
    wait_for(lambda: not want & lines(), 30, "the applied files to drop out", every=0.3)
    for _ in range(2):
        env.run("undo", "t", ok=0)
    equal(git(d, "status", "--porcelain", "-uno"), "")


@case
def many_files_are_looked_at_changed_committed_and_applied():
    d, env = G["top"] / "many", G["env"]
    began = time.monotonic()
    equal(inside(f"cd {d} && git ls-files | wc -l && git status --porcelain", timeout=600), f"{MANY}\n")
    print(f"# git status of {MANY} files, cold: {time.monotonic() - began:.1f} s")
    step = MANY // TOUCHED
    inside(f"cd {d} && git ls-files | awk 'NR % {step} == 0' | head -{TOUCHED} | xargs sed -i 's/$/ changed/'; mkdir new; for i in $(seq 20); do echo $i >new/$i; done")
    began = time.monotonic()
    out = inside(f"cd {d} && git status --porcelain", timeout=600).splitlines()
    print(f"# warm: {time.monotonic() - began:.1f} s")
    equal((len([x for x in out if x.startswith(" M ")]), [x for x in out if not x.startswith(" M ")]), (TOUCHED, ["?? new/"]))
    inside(f"cd {d} && git {IDENT} commit -qam inside", timeout=600)
    wait_for(lambda: len(env.run("diff", "t", "--name-status", d, ok=0).stdout.splitlines()) == TOUCHED + 20, 60, "the changes", every=0.5)
    began = time.monotonic()
    contains(env.run("apply", "t", d, ok=0, timeout=300).stderr, f"{TOUCHED + 20} files applied")
    print(f"# apply: {time.monotonic() - began:.1f} s")
    out = git(d, "status", "--porcelain").split("\n")
    equal(sorted({x.strip()[:2] for x in out}), ["??", "M "])
    equal(len(out), TOUCHED + 1)
    changed = [p for p in git(d, "diff", "--name-only").split("\n")]
    equal({(d / p).read_text() == f"{int(p[-6:])} changed\n" for p in changed}, {True})
    equal(inside(f"cd {d} && git status --porcelain", timeout=600), "?? new/\n")
    wait_for(lambda: "is nothing that 't' changed" in env.run("diff", "t", d).stderr, 60, "no change left", every=0.5)


@case
def a_fetch_brings_branches_and_touches_nothing_else():
    top, env = G["top"], G["env"]
    inside(f"set -e; cd {top}/clone; git checkout -q -b feature; for i in 1 2 3; do echo $i >f$i; git add .; git {IDENT} commit -qm $i; done; git branch plain v1; "
           f"mkdir -p .git/hooks; echo 'touch {top}/clone/hooked' >.git/hooks/reference-transaction; chmod +x .git/hooks/reference-transaction; git tag -f t1")
    before = {d: everything(top / d) for d in MODES + ("linked", "empty")}
    inside(f"cd {top}/empty && git {IDENT} commit -q --allow-empty -m first")
    r = fetch(ok=1)
    contains(r.stderr, f"workspace '{top}/broken'")
    out = r.stdout
    for line in ("bulkhead/t/feature  5 new commits", f"git log HEAD..bulkhead/t/feature   in {top}/clone", "bulkhead/t/main  2 new commits\n", "bulkhead/t/bulkhead/t  2 new commits\n",
                 "bulkhead/t/bulkhead/t  1 new commit\n"):
        contains(out, line)
    equal("plain" in out, False)
    for d, was in before.items():
        unchanged(top / d, was)
    equal(git(top / "clone", "rev-parse", "bulkhead/t/feature", "bulkhead/t/bulkhead/t").split(),
          inside(f"git -C {top}/clone rev-parse feature bulkhead/t").split())
    equal(git(top / "review", "log", "-1", "--format=%s", "bulkhead/t/main"), "edit inside")
    for d in ("clone", "review", "empty"):
        git(top / d, "fsck", "--strict")
    equal(git(top / "live", "for-each-ref", "refs/remotes/bulkhead"), "")
    equal(git(top / "clone", "tag"), "v1")
    nothing_left()
    for d in ("clone", "review", "linked", "empty"):
        equal(fetch("--workspace", top / d).stdout, "nothing new in 't'\n")


@case
def a_fetch_follows_what_is_rewritten_and_names_what_it_cannot():
    top, env = G["top"], G["env"]
    inside(f"cd {top}/clone && git {IDENT} commit -q --amend -m 'three again'")
    r = json.loads(fetch("--workspace", top / "clone", "--json").stdout)
    equal([(x["branch"], x["state"], x["commits"], x["ref"]) for x in r], [("feature", "rewritten", 1, "refs/remotes/bulkhead/t/feature")])
    for where, part in (("live", "on the host already"), ("broken", "not there"), (".", "no workspace")):
        r = fetch("--workspace", top / where, ok=1)
        contains(r.stderr, part)
    # A repository whose configuration an agent may have written in mode live runs nothing of it, and its own branches are not written through ours.
    d = top / "clone"
    keys = ("core.fsmonitor", "core.alternateRefsCommand", "core.sshCommand", "core.hooksPath", "uploadpack.packObjectsHook")
    for key in keys:
        git(d, "config", key, f"touch {top}/ran; true")
    git(d, "config", f"url.ext::touch {top}/ran #.insteadOf", "/")
    (d / ".git/objects/info/alternates").write_text(f"{top}/live/.git/objects\n")
    inside(f"cd {d} && git {IDENT} commit -q --amend -m 'three once more'")
    contains(fetch("--workspace", d, ok=1).stderr, "'ext' not allowed")
    git(d, "config", "--unset", f"url.ext::touch {top}/ran #.insteadOf")
    contains(fetch("--workspace", d).stdout, "rewritten")
    equal((top / "ran").exists(), False)
    for key in keys:
        git(d, "config", "--unset", key)
    (d / ".git/objects/info/alternates").unlink()
    git(d, "symbolic-ref", "refs/remotes/bulkhead/t/evil", "refs/heads/main")
    contains(fetch("--workspace", d, ok=1).stderr, "symbolic")
    git(d, "symbolic-ref", "--delete", "refs/remotes/bulkhead/t/evil")
    r = env.run("fetch", "nobody")
    equal((r.returncode, "nobody" in r.stderr), (1, True))
    equal(env.run("fetch", "--", "--upload-pack=id").returncode, 1)


EVIL = r'''#!/usr/bin/env python3
import os, subprocess, sys, zlib
what = open("/tmp/evil").read().strip()
if "upload-pack" not in sys.argv or what == "none":
    os.execv("/usr/bin/git", ["git", *sys.argv[1:]])
out = sys.stdout.buffer
def pkt(b):
    out.write(b"%04x" % (len(b) + 4) + b)
def advert(refs, caps=b"side-band-64k ofs-delta"):
    for i, (oid, name) in enumerate(refs):
        pkt(oid + b" " + name + (b"\0" + caps if i == 0 else b"") + b"\n")
    out.write(b"0000")
    out.flush()
a, b = b"a" * 40, b"b" * 40
try:
    if what == "garbage":
        out.write(os.urandom(200000))
    elif what == "nothing":
        pass
    elif what == "names":
        advert([(a, b"HEAD"), (a, b"refs/heads/../../x"), (a, b"refs/heads/HEAD"), (a, b"refs/heads/--upload-pack=touch"), (a, b"refs/heads/a b"),
                (a, b"refs/heads/x.lock"), (a, b"refs/heads/\x1b[31mred"), (a, b"/etc/passwd"), (a, b"refs/heads/" + b"n" * 300)])
    elif what == "many":
        advert([(a, b"refs/heads/%d" % i) for i in range(200000)])
    elif what == "absent":
        advert([(a, b"refs/heads/evil")])
        sys.stdin.buffer.read(1)
        pkt(b"NAK\n")
        pack = b"PACK\0\0\0\2\0\0\0\0"
        import hashlib
        pkt(b"\1" + pack + hashlib.sha1(pack).digest())
        out.write(b"0000")
    elif what == "endless":
        advert([(b, b"refs/heads/evil")])
        sys.stdin.buffer.read(1)
        pkt(b"NAK\n")
        pkt(b"\1PACK\0\0\0\2\x7f\xff\xff\xff")
        one = b"\x31" + zlib.compress(b"x")
        while True:
            pkt(b"\1" + one * 4000)
    elif what == "chatter":
        advert([(b, b"refs/heads/evil")])
        sys.stdin.buffer.read(1)
        pkt(b"NAK\n")
        while True:
            pkt(b"\2" + b"\x1b]0;evil\x07fatal: lies\n" * 1000)
    out.flush()
except BrokenPipeError:
    pass
'''


@case
def a_git_in_the_guest_that_lies_brings_nothing():
    top = G["top"]
    # A tree that checks out over .git/config, an honest git's way.
    inside(f"set -e; cd {top}/clone; b=$(echo 'x' | git hash-object -w --stdin); "
           "sub=$(printf \"100644 blob $b\\tconfig\\n\" | git mktree); "
           "raw=$(python3 -c \"import sys; sys.stdout.buffer.write(b'40000 .git\\0' + bytes.fromhex('$sub'))\" | git hash-object -w -t tree --literally --stdin); "
           f"c=$(echo evil | git {IDENT} commit-tree $raw -p HEAD); git update-ref refs/heads/evil $c")
    d = top / "clone"
    before, had, refs = everything(d), objects(d), git(d, "for-each-ref")
    r = fetch("--workspace", d, ok=1)
    contains(r.stderr, "hasDotgit")
    unchanged(d, before)
    equal((objects(d), git(d, "for-each-ref")), (had, refs))
    inside(f"git -C {d} update-ref -d refs/heads/evil")
    script = G["env"].dir / "git"
    script.write_text(EVIL)
    G["env"].run("cp", script, "t:/tmp/git", ok=0)
    inside("echo none >/tmp/evil; chmod 666 /tmp/evil; install -m 755 /tmp/git /usr/local/bin/git", user="root")
    tried = 0
    for what, status, part in (("garbage", 1, "cannot fetch"), ("nothing", 1, "cannot fetch"), ("names", None, ""), ("many", 1, "more than it may"),
                               ("absent", 1, "cannot fetch"), ("endless", 1, "more than it may"), ("chatter", 1, "more than it may")):
        inside(f"echo {what} >/tmp/evil")
        r = fetch("--workspace", d, "--max-size", "3M", ok=status)
        contains(r.stderr, part)
        equal("\x1b" in r.stderr + r.stdout, False, what)
        unchanged(d, before, what)
        equal((objects(d), git(d, "for-each-ref")), (had, refs), what)
        nothing_left()
        tried += 1
        print(f"# {what}: {r.stderr.strip()[:160]!r}")
    inside("rm /usr/local/bin/git", user="root")
    fetch("--workspace", d)
    print(f"# {tried + 1} lies, none believed")


@case
def what_cannot_be_cloned_is_refused_with_a_sentence():
    top, env = G["top"], G["env"]
    git(top, "init", "-q", "--bare", "bare.git")
    git(top / "review", "submodule", "add", "-q", f"{top}/shallow", "sub")
    (top / "plain").mkdir()
    (top / "pointer").mkdir()
    (top / "pointer/.git").write_text(f"gitdir: {top}/live/.git\n")
    for d, part in (("bare.git", "bare"), ("review/sub", "submodule"), ("plain", "git init"), ("clone/core", "not the top"), ("pointer", "submodule")):
        r = env.run("create", "--name", "no", "--mode", "clone", "shell", top / d)
        equal(r.returncode != 0, True, d)
        contains(r.stderr, part)
    r = env.run("create", "--name", "no", "--mode", "clone", "-w", f"{top}/linked:clone", "shell", top / "shallow")
    contains(r.stderr, "one repository")
    r = env.run("create", "--name", "x.lock", "--mode", "clone", "shell", top / "clone")
    contains(r.stderr, "branch's name")
    equal([s["name"] for s in env.json("ls")["sandboxes"]], ["t"])
    env.run("kill", "t", ok=0)
    contains(fetch(ok=1).stderr, "bulkhead start t")


main(setup, teardown)
