#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the guest image holds, asked of a booted guest: the tools an agent works with run, the user is who it should be, the
package database is sound, and nothing of the machine that built it is in it."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from guest import Machine, image  # noqa: E402
from tap import Skip, case, contains, equal, main  # noqa: E402

m = None


def out(script, **kw):
    """Standard output of a shell script in the guest, which must succeed."""
    r = m.run(["bash", "-c", script], seconds=120, **kw)
    assert r.code == 0 and r.failed is None, f"{script!r} ended with {r.code} {r.failed}: {bytes(r.out + r.err).decode(errors='replace')[-800:]}"
    return bytes(r.out).decode().strip()


@case
def tools():
    "every tool an agent expects starts"
    for c in ("docker --version", "docker buildx version", "docker compose version", "dockerd --version", "git --version", "curl --version",
              "ssh -V", "python3 --version", "make --version",
              "rg --version", "jq --version", "less --version", "vim.tiny --version", "sudo --version", "nft --version", "iptables --version",
              "ip -V", "ps --version", "tar --version", "xz --version", "unzip -v", "patch --version", "file --version", "killall --version",
              "mkfs.ext4 -V", "busybox true"):
        out(f"PATH=$PATH:/usr/sbin:/sbin; {c} >/dev/null 2>&1")


@case
def the_agent():
    "commands run as agent: uid 1000, in group docker, root by sudo without a password, UTF-8"
    equal(out("id -un; id -u; echo ~; echo $HOME").split("\n"), ["agent", "1000", "/home/agent", "/home/agent"])
    assert "docker" in out("id -Gn").split()
    equal(out("sudo -n id -u"), "0")
    equal(out("stat -c '%U:%G %a' /home/agent").split()[0], "agent:agent")
    equal(out(". /etc/default/locale; export LANG; locale charmap"), "UTF-8")


@case
def compiles():
    "C and C++ programs compile and run; make drives them"
    equal(out("cd $(mktemp -d); echo '#include <stdio.h>\nint main(void){puts(\"c\");}' >c.c; "
              "echo '#include <iostream>\nint main(){std::cout<<\"c++\\n\";}' >d.cc; make -s c d && ./c && ./d"), "c\nc++")


@case
def node():
    "node runs JavaScript and npm makes a package"
    equal(out("node -e 'console.log([1,2,3].map(x => x * 2).join())'"), "2,4,6")
    equal(out("cd $(mktemp -d); npm init -y >/dev/null && jq -r .version package.json"), "1.0.0")


@case
def python():
    "Python finds its compiled files fresh, so the standard library is not compiled at every start"
    r = m.run(["python3", "-v", "-c", "import json"], seconds=60)
    log = bytes(r.err).decode(errors="replace").splitlines()
    equal(r.code, 0)
    assert any("__pycache__/__init__" in x and " matches " in x and x.endswith("/json/__init__.py") for x in log), [x for x in log if "json" in x][:5]
    equal([x for x in log if "wrote " in x or "bytecode is stale" in x], [])


@case
def pip():
    "pip is there, and makes environments of its own"
    equal(out("pip --version").split()[0], "pip")
    equal(out("cd $(mktemp -d); python3 -m venv v && v/bin/pip --version").split()[0], "pip")


@case
def packages():
    "the package database is sound, holds what the manifest says, and no init system"
    equal(out("dpkg --audit"), "")
    manifest = json.load(open(os.path.join(m.image, "manifest.json")))
    have = dict(x.split() for x in out("dpkg-query -W -f '${Package} ${Version}\\n'").splitlines())
    equal({p: have.get(p) for p in manifest["packages"]}, manifest["packages"])
    assert not {"systemd", "systemd-sysv", "sysvinit-core"} & have.keys()
    contains(out("cat /etc/apt/sources.list.d/*"), "trixie")
    equal(out("grep -rl unsafe-io /etc/dpkg || :"), "")
    # What java's package does: manual pages are not there, the place for their links is.
    out("sudo update-alternatives --quiet --install /usr/bin/x x /bin/true 1 --slave /usr/share/man/man1/x.1.gz x.1.gz /etc/hostname && x && sudo update-alternatives --quiet --remove x /bin/true")


@case
def kernel():
    "the kernel is the manifest's and finds its modules: bridge, veth, overlay, the filters docker uses"
    equal(out("uname -r"), json.load(open(os.path.join(m.image, "manifest.json")))["kernel"])
    out("for i in bridge veth overlay br_netfilter nf_nat xt_MASQUERADE nft_compat tun fuse; do sudo modprobe $i || exit 1; done")
    contains(out("sudo iptables --version"), "nf_tables")


@case
def files():
    "owners and set-uid bits are kept, every file has an owner, nothing of the build is left"
    equal(out("stat -c '%U %a' /usr/bin/sudo /etc/sudoers.d/agent | tr '\\n' ' '"), "root 4755 root 440")
    equal(out("sudo find / -xdev \\( -nouser -o -nogroup \\) -print | head -n 5"), "")
    equal(out("sudo ls -A /boot /var/lib/apt/lists /.out 2>/dev/null | grep -v : | grep -c . || :"), "0")
    equal(out("sudo grep -c . /etc/machine-id || :") in ("0", "1"), True)


def setup():
    global m
    if not image():
        raise Skip("no guest image is built")
    m = Machine(os.environ.get("BULKHEAD_BUILD", "build"), memory=1536)
    m.start()
    m.hello()


def teardown():
    if m:
        m.close()


if __name__ == "__main__":
    main(setup, teardown)
