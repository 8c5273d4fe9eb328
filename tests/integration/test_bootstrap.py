#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""./bootstrap on machines that lack something: a PATH of chosen tools and fake package tools; each ends with one sentence that says what to do."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import TOP  # noqa: E402
from tap import case, contains, equal, main  # noqa: E402

TOOLS = "bash sh env sed awk nproc readlink dirname mktemp tail grep rm mkdir cat uname".split()
# What each fake does when nothing else is said: nothing is installed, there is room, the person is root.
FAKES = {"dpkg-query": "exit 1", "df": "echo head; echo fs 9999999 1 9999999 1% /", "id": "echo 0", "apt-get": "exit 0", "autoreconf": "echo not today >&2; exit 1"}
APT_UPDATE = 'case " $* " in *" --error-on=any update "*) echo "E: Failed to fetch" >&2; exit 100 ;; *" update "*) exit 0 ;; esac; exit 100'
tmp = None


def set_up():
    global tmp
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="bh-boot-"))


def tear_down():
    shutil.rmtree(tmp)


def bootstrap(**fakes):
    """Exit status, what was said, what the fakes were called with. A fake of None is not there."""
    d = pathlib.Path(tempfile.mkdtemp(dir=tmp))
    for t in TOOLS:
        (d / t).symlink_to(shutil.which(t))
    for name, script in {**FAKES, **{k.replace("_", "-"): v for k, v in fakes.items()}}.items():
        if script is not None:
            (d / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{d}/calls\n{script}\n')
            (d / name).chmod(0o755)
    r = subprocess.run([shutil.which("bash"), str(TOP / "bootstrap"), "build"], env={"PATH": str(d), "TMPDIR": str(d), "BULKHEAD_BUILD_DIR": str(d / "build")},
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    calls = (d / "calls").read_text() if (d / "calls").exists() else ""
    equal([p.name for p in d.glob("bulkhead-bootstrap.*")], [], "logs left behind")
    return r.returncode, r.stdout, r.stderr, calls


def ends(result, sentence):
    code, _, err, _ = result
    equal(code, 1, err)
    contains(err.splitlines()[-1], f"bootstrap: {sentence}")


@case
def no_network():
    "the lists cannot be fetched, which apt by itself does not call an error: the sentence asks about the network"
    r = bootstrap(apt_get=APT_UPDATE)
    ends(r, "cannot update the package lists: is there a network connection?")
    contains(r[2], "E: Failed to fetch")


@case
def no_space():
    "too little room, before anything is fetched, and a disk that fills up under apt"
    r = bootstrap(df="echo head; echo fs 100 50 50 50% /")
    ends(r, "no space: /var/cache has 50 MiB free, this needs 1500")
    assert "apt-get" not in r[3], r[3]
    ends(bootstrap(apt_get='case " $* " in *" update "*) exit 0 ;; esac; echo "E: You don\'t have enough free space in /var/cache/apt/archives/." >&2; exit 100'),
         "cannot install packages: the disk is full")


@case
def no_sudo():
    "who is not root needs sudo to install: none, or one that refuses"
    ends(bootstrap(id="echo 1000"), "packages are missing and there is no sudo; as root run: apt-get install build-essential")
    r = bootstrap(id="echo 1000", sudo="exit 1")
    ends(r, "packages are missing and sudo was refused")
    assert "apt-get" not in r[3], r[3]
    contains(bootstrap(id="echo 1000", sudo='[ "$1" = -v ] && exit 0; shift; exec "$@"')[3], "apt-get -q -y")


@case
def no_debian():
    "without apt-get the packages are named"
    ends(bootstrap(apt_get=None), "this is no Debian: install these packages")


@case
def a_package_that_does_not_install():
    "apt's own words are shown, and the command that says more"
    r = bootstrap(apt_get='case " $* " in *" update "*) exit 0 ;; esac; echo "E: Unable to locate package nowhere" >&2; exit 100')
    ends(r, "cannot install packages: run 'apt-get install build-essential")
    contains(r[2], "E: Unable to locate package nowhere")


@case
def progress_is_shown():
    "while packages come a line is printed now and then; installed ones are not asked for, and root is not asked for then"
    _, out, _, calls = bootstrap(apt_get="for i in $(env sh -c 'i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; done'); do echo \"Setting up p$i (1) ...\"; done")
    lines = [line for line in out.splitlines() if line.startswith("    Setting up")]
    equal(lines, [f"    Setting up p{i} (1) ..." for i in (1, 26, 51)])
    contains(calls, "--no-install-recommends install build-essential autoconf")
    _, out, _, calls = bootstrap(dpkg_query="echo installed", sudo="exit 1", id="echo 1000")
    assert "apt-get" not in calls and "sudo" not in calls and "installing" not in out, (calls, out)


main(set_up, tear_down)
