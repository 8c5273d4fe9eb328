# SPDX-License-Identifier: Apache-2.0
"""A share mounted on this machine's own kernel, which plays the guest's (tests/workspace/mount_share)."""
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading

from bulkhead import BUILD
from tap import equal


def possible():
    """Mounting needs root and /dev/fuse."""
    return os.geteuid() == 0 and os.path.exists("/dev/fuse")


class Share:
    """A source directory, served and mounted."""

    def __init__(self, *args, source=None):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bh-share-"))
        self.src = source or self.dir / "src"
        self.mnt = self.dir / "mnt"
        self.src.mkdir(exist_ok=True)
        self.mnt.mkdir()
        self.p = subprocess.Popen([str(BUILD / "tests/workspace/mount_share"), *args, str(self.src), str(self.mnt)], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
        equal(self.p.stdout.readline(), "ready\n", "mount_share")
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.p.stdout), daemon=True)
        self.reader.start()

    def close(self):
        subprocess.run(["umount", "-l", str(self.mnt)], check=False)
        try:
            self.p.wait(10)
        except subprocess.TimeoutExpired:  # a name space made meanwhile by somebody else holds the mount
            self.p.terminate()
            self.p.wait(30)
        self.reader.join(5)
        shutil.rmtree(self.dir, ignore_errors=True)
        equal(self.p.returncode, 0, f"mount_share's end ({''.join(self.lines[-1:]).strip()})")

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.close()
