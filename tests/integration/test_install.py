#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `make install` puts where, and that it works from there: below another root, as a package is made."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD, TOP, Rpc  # noqa: E402
from tap import Skip, case, contains, equal, main  # noqa: E402

stage = None
where = {}


def make(*args):
    """make, not as a part of the make that runs this test."""
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    r = subprocess.run(["make", "-s", "-C", str(BUILD), *args], capture_output=True, text=True, timeout=600, env=env)
    if r.returncode:
        raise AssertionError(r.stderr or r.stdout)


def set_up():
    global stage
    stage = pathlib.Path(tempfile.mkdtemp(prefix="bh-stage-"))
    makefile = (BUILD / "Makefile").read_text()
    for name in ("prefix", "exec_prefix", "bindir", "libexecdir", "datarootdir", "datadir", "pkglibexecdir", "pkgdatadir", "mandir", "systemduserunitdir"):
        value = re.search(rf"^{name} = (.*)$", makefile, re.M)[1]
        while m := re.search(r"\$[({](\w+)[)}]", value):
            value = value.replace(m[0], "bulkhead" if m[1] == "PACKAGE" else where[m[1]])
        where[name] = value
    make("install", f"DESTDIR={stage}")


def at(place, *rel):
    return pathlib.Path(str(stage) + where[place], *rel)


def run(*args, **env):
    home = stage / "home"
    home.mkdir(exist_ok=True)
    e = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home), "LC_ALL": "C.UTF-8", **env}
    return subprocess.run([str(a) for a in args], env=e, cwd="/", capture_output=True, text=True, timeout=60)


@case
def programs():
    "every program is there, executable, and nothing else of ours"
    equal(sorted(p.name for p in at("bindir").iterdir()), ["bulkhead"], "programs for people")
    equal(sorted(p.name for p in at("pkglibexecdir").iterdir()), ["bulkhead-fs", "bulkhead-guest", "bulkhead-net", "bulkhead-review", "bulkhead-supervisor", "bulkhead-term", "bulkhead-vmm"], "programs")
    for p in [*at("bindir").iterdir(), *at("pkglibexecdir").iterdir()]:
        equal(p.stat().st_mode & 0o777, 0o755, str(p))


@case
def data():
    "the image's recipe, presets, services and themes lie where the programs look"
    for rel in ("guest/image/build", "guest/image/customize"):
        equal(at("pkgdatadir", rel).stat().st_mode & 0o777, 0o755, rel)
    want = {str(p.relative_to(TOP)) for d in ("guest/image", "presets", "themes") for p in (TOP / d).rglob("*") if p.is_file()}
    want |= {"core/secret/services.yaml", "core/workspace/hidden", "core/review/executes"}
    have = {str(p.relative_to(at("pkgdatadir"))) for p in at("pkgdatadir").rglob("*") if p.is_file()}
    equal(have, want, "files below the data directory")


@case
def documentation():
    "man pages, completions for three shells, a unit that names the installed program"
    for page in ("man1/bulkhead.1", "man5/bulkhead.5"):
        r = subprocess.run(["man", "--warnings", "-l", str(at("mandir", page))], capture_output=True, text=True) if shutil.which("man") else None
        if r:
            equal((r.returncode, r.stderr), (0, ""), page)
        contains(at("mandir", page).read_text(), ".TH")
    shares = at("datarootdir")
    for shell, rel in (("bash", "bash-completion/completions/bulkhead"), ("zsh", "zsh/site-functions/_bulkhead"), ("fish", "fish/vendor_completions.d/bulkhead.fish")):
        contains((shares / rel).read_text(), "bulkhead")
        if shutil.which(shell):
            equal(run(shell, "-n", shares / rel).returncode, 0, rel)
    unit = at("systemduserunitdir", "bulkhead-supervisor.service").read_text()
    contains(unit, f"ExecStart={where['pkglibexecdir']}/bulkhead-supervisor\n")
    assert "@" not in unit, unit


@case
def it_runs_from_there():
    "installed programs run, find one another, and find the recipe"
    version = run(at("bindir", "bulkhead"), "version")
    equal((version.returncode, version.stderr), (0, ""))
    contains(version.stdout, "0.1.0")
    for p in ("bulkhead-supervisor", "bulkhead-guest"):
        contains(run(at("pkglibexecdir", p), "--version").stdout, "0.1.0")
    doctor = run(at("bindir", "bulkhead"), "doctor", "--json")
    assert "installation whole" not in doctor.stdout + doctor.stderr, doctor.stdout + doctor.stderr
    images = run(at("bindir", "bulkhead"), "image", "ls", "--json")
    equal((images.returncode, images.stderr), (0, ""))
    socket = stage / "home" / "bulkhead" / "supervisor.sock"
    if socket.exists():
        with Rpc(socket) as r:
            r.call("supervisor.shutdown", stop_sandboxes=True)


@case
def uninstall():
    "make uninstall leaves no file behind"
    make("uninstall", f"DESTDIR={stage}")
    left = [str(p) for p in stage.rglob("*") if p.is_file() and not p.is_relative_to(stage / "home")]
    equal(left, [])


@case
def tarball():
    "make dist holds every file of the repository but those of the project's own machinery"
    listed = subprocess.run(["git", "-C", str(TOP), "ls-files"], capture_output=True, text=True)
    if listed.returncode:
        raise Skip("no git checkout")
    out = stage / "home" / "dist"
    make("distdir", f"distdir={out}")
    have = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    missing = {f for f in listed.stdout.splitlines() if f != ".gitignore" and not f.startswith(".ci/") and (TOP / f).exists()} - have
    equal(sorted(missing), [])


def tear_down():
    shutil.rmtree(stage, ignore_errors=True)


if __name__ == "__main__":
    main(set_up, tear_down)
