#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The file system that holds the sandboxes runs full under a running one: it pauses with a sentence, nothing of the guest breaks, and it goes on."""
import errno
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import Env  # noqa: E402
from tap import Skip, case, contains, equal, main, wait_for  # noqa: E402

G = {}
MIB = 1 << 20


def setup():
    if os.geteuid() != 0:
        return
    G["env"] = env = Env()
    (env.config / "bulkhead").mkdir(exist_ok=True)
    (env.config / "bulkhead/config.yaml").write_text("disk_reserve: 0\n")  # else a start is refused long before
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m,mode=700", "tmpfs", env.state], check=True)
    env.run("create", "--name", "a", "--mode", "none", "--memory", "768M", "shell", env.dir, ok=0)
    env.run("start", "a", ok=0, timeout=300)


def teardown():
    if "env" in G:
        try:
            G["env"].close()
        finally:
            subprocess.run(["umount", "-l", G["env"].state], check=False)
            shutil.rmtree(G["env"].dir, ignore_errors=True)


def sandbox():
    return G["env"].json("ls")["sandboxes"][0]


def take_room(leave):
    """Fills the file system but for so many bytes."""
    with open(G["env"].state / "ballast", "wb") as f:
        while (more := (s := os.statvfs(G["env"].state)).f_bavail * s.f_frsize - leave) > 0:
            try:
                os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, more)
            except OSError as e:  # a running sandbox took some of it meanwhile
                equal(e.errno, errno.ENOSPC)


@case
def full():
    "a host file system that is full pauses the sandbox and says why; room, and it goes on where it was"
    if "env" not in G:
        raise Skip("needs root: a small file system is mounted")
    env = G["env"]
    take_room(leave=8 * MIB)
    work = subprocess.Popen([env.program, "exec", "a", "--", "sh", "-ec",
                             "openssl rand 50000000 >~/x; sync ~/x; sha256sum <~/x; sudo sync; echo 3 | sudo tee /proc/sys/vm/drop_caches >/dev/null; sha256sum <~/x"],
                            env=env.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: sandbox()["state"] == "paused", 120, "the sandbox to pause")
    contains(sandbox()["reason"], "its disk cannot be written (No space left on device)")
    listing = env.run("ls", ok=0)
    contains(listing.stderr, "a paused: its disk cannot be written (No space left on device); mend that, then resume it")
    equal(work.poll(), None)
    # Without room it says so again.
    env.run("resume", "a", ok=None, timeout=60)
    wait_for(lambda: sandbox()["state"] == "paused", 60, "the sandbox to pause again")
    (env.state / "ballast").unlink()
    env.run("resume", "a", ok=0, timeout=60)
    out, _ = work.communicate(timeout=180)
    equal(work.returncode, 0)
    sums = out.split("\n")[:2]
    equal(sums[0], sums[1])
    s = sandbox()
    equal((s["state"], s["reason"]), ("running", ""))
    equal(env.run("exec", "a", "--", "sh", "-c", "dmesg 2>/dev/null | grep -ciE 'I/O error|ext4-fs error' || true", ok=0).stdout.strip(), "0")


@case
def no_room_to_make_one():
    "create and start without any room end with a sentence that names the place, and what stood there stands"
    if "env" not in G:
        raise Skip("needs root: a small file system is mounted")
    env = G["env"]
    take_room(leave=0)
    r = env.run("create", "--name", "b", "--mode", "none", "shell", env.dir, timeout=60)
    equal(r.returncode, 1, r.stderr)
    contains(r.stderr, "cannot keep the state of sandbox 'b'")
    contains(r.stderr, "no space left on device")
    equal([s["name"] for s in env.json("ls")["sandboxes"]], ["a"])
    (env.state / "ballast").unlink()
    env.run("create", "--name", "b", "--mode", "none", "shell", env.dir, ok=0)


if __name__ == "__main__":
    main(setup, teardown)
