#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our own machine with unmodified Linux guests, inside a nested machine where /dev/kvm is real.

Two outer machines, one with the whole of bulkhead and one with a kernel by hand, print marks ("@name value"); the cases look at these. Always run: some minutes of two cores.
BULKHEAD_TEST_NESTED=1 asks for the long form as well: a GB over vsock each way, 1,000 connections, five restores, `docker run`; =0 leaves all of it out.
BULKHEAD_VERBOSE=1 shows the console as it comes, BULKHEAD_NESTED_SECONDS limits it.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE))
import nest  # noqa: E402
from bulkhead import BUILD  # noqa: E402
from tap import Skip, case, contains, equal, main  # noqa: E402

ASKED = os.environ.get("BULKHEAD_TEST_NESTED", "")
LONG = ASKED not in ("", "0")
ROOTS = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")  # bulkhead-net wants some
console, how = "", ""


class Marks(dict):
    """One that was never printed says in one line how the outer machines ended; what they said last is in the report (setup)."""

    def __missing__(self, name):
        raise AssertionError(f"no '@{name}': {how}; the last marks: {' '.join(list(self)[-4:])}")


marks = Marks()
PROGRAMS = ("bulkhead", "bulkhead-supervisor", "bulkhead-vmm", "bulkhead-term", "bulkhead-net", "bulkhead-fs", "bulkhead-review", "tests/vmm/kvmboot", "tests/nested/conns",
            "tests/nested/load")

INNER = nest.LOAD + """
echo "@release $(uname -r)"
echo "@cpus $(nproc)"
a=$(sha256sum < /dev/vda); dd if=/dev/vda of=/dev/vdb bs=64k oflag=direct 2>/dev/null; sync
[ "$a" = "$(sha256sum < /dev/vdb)" ] && echo "@disk same"
dd if=/dev/zero of=/dev/vda count=1 2>/dev/null || echo "@base read-only"
echo "@devices $(ls /sys/bus/virtio/devices | wc -l)"
echo "@irq $(cat /proc/interrupts | grep -c virtio)"
dd if=/dev/hwrng bs=64 count=1 2>/dev/null | wc -c | (read n; echo "@hwrng $n")
load serve 5000 &
echo INNER-READY
f=$(free -m | grep Mem | tr -s ' ' | cut -d' ' -f4); echo "@free $f"; full=$f
n=0 # a round of free page hints takes all that is free for a moment: three looks
while [ $n -lt 3 ]; do usleep 20000; echo tick; f=$(free -m | grep Mem | tr -s ' ' | cut -d' ' -f4); [ "${f:-$full}" -le $((full - 40)) ] && n=$((n + 1)) || n=0; done
echo "@squeezed $f"
case $(cat /proc/cmdline) in *fill*) # half of what the balloon holds beyond what is free
mount -t tmpfs -o size=99% t /tmp; dd if=/dev/zero of=/tmp/fill bs=1M count=$((f + 24)) 2>/dev/null; echo "@filled $? $(dmesg | grep -c 'Out of memory')";;
esac
echo "@forks $(dmesg | grep -c 'virtual machine fork')"
poweroff -f
"""

# $MB, $CONNS, $RESTORES, $DOCKER, $LIMIT (seconds of a kernel by hand) and $STUCK (seconds of all of bulkhead) are set before. WHOLE: what bulkhead does with a sandbox in our machine.
BEGIN = r"""
mount -t tmpfs -o size=4g t /tmp; mkdir -p /run /host /root /usr/local /etc
mount -t tmpfs r /run; mount -t erofs -o ro /dev/disk1 /host; mount --bind /host/usr/local /usr/local
export PATH=/bin:/usr/local/bin TERM=dumb LC_ALL=C.UTF-8
until_() { i=0; while ! eval "$2"; do [ $i -lt $1 ] || return 1; usleep 100000; i=$((i+1)); done; }
"""
WHOLE = r"""
# Everything of bulkhead runs as an ordinary user of the group that may open /dev/kvm; what looks at its processes does not.
monitor() { cat /proc/[0-9]*/stat | grep '(bulkhead-vmm)' | cut -d' ' -f1; }
as() { /bin/setpriv --reuid=1000 --regid=1000 --groups=36 --inh-caps=-all "$@"; }
bulkhead() { as bulkhead "$@"; }
# When it takes longer than it ever should: what stands where; and the machine ends.
watch() {
sleep $STUCK; echo "@stuck"; ps -o pid,stat,args | grep -v '\['; cat /tmp/open /tmp/snapped
for t in /proc/[0-9]*/task/*; do echo "$t $(cat $t/comm) $(cut -d' ' -f3 $t/stat) $(cat $t/wchan) $(cat $t/syscall)"; done | grep -e bulkhead -e vcpu
bulkhead ls & usleep 10000000; tail -n 20 $state/*.log $state/sandboxes/a/vmm.log $state/sandboxes/a/console.log
poweroff -f
}
whole() {
mkdir -p /tmp/cache /tmp/home /tmp/ws /tmp/up /tmp/wk; mount -t overlay -o lowerdir=/host/cache,upperdir=/tmp/up,workdir=/tmp/wk o /tmp/cache
mkdir -p -m 700 /run/x; export HOME=/tmp/home XDG_CACHE_HOME=/tmp/cache XDG_RUNTIME_DIR=/run/x
state=/tmp/home/.local/state/bulkhead
watch &
# What was built is known to be whole on the host; to hash half a gigabyte here would take minutes. No time has a fraction in this erofs.
(cd /tmp/cache/bulkhead/images/*/ && stat -c '%n %d %i %s 0.000000000 0.000000000' vmlinuz base.img modules.cpio manifest.json > verified)
mkdir -p $HOME/.config/bulkhead; echo 'boot_ms: 1800000' > $HOME/.config/bulkhead/config.yaml # emulated twice, and beside whatever else the host does
chown 0:36 /dev/kvm; chmod 660 /dev/kvm; echo of the host > /tmp/ws/w
chown -R 1000:1000 /run/x /tmp/home /tmp/ws; chown 1000:1000 /tmp/cache /tmp/cache/bulkhead /tmp/cache/bulkhead/images /tmp/cache/bulkhead/images/* /tmp/cache/bulkhead/images/*/verified
echo "@create $(bulkhead create -n a --backend kvm -m 768M --cpus 2 shell /tmp/ws)"
bulkhead start a > /tmp/start 2>&1; echo "@start $?"
until_ 2400 'bulkhead ls | grep -q -e running -e failed'
echo "@ls $(bulkhead ls | grep ^a)"
until_ 10 'bulkhead doctor > /tmp/doctor; grep "^ok *kvm:" /tmp/doctor'; cat /tmp/doctor
echo "@uname $(bulkhead exec a -- uname -r) $(uname -r)"
vmm=$(monitor); echo "@user $(stat -c %u /proc/$vmm/status) $(grep ^Uid: /proc/$vmm/status | tr -s '\t' ' ')"
echo "@rss $(awk '/^Size:/ { size = $2 } /^Rss:/ { if (size < 786432) sum += $2 } END { print sum }' /proc/$vmm/smaps)"
echo "@out $(bulkhead exec a -- head -c 2000000 /dev/zero | sha256sum | cut -c 1-16) $(head -c 2000000 /dev/zero | sha256sum | cut -c 1-16)"
head -c 2000000 /dev/urandom > /tmp/r
echo "@in $(bulkhead exec a -- sha256sum < /tmp/r | cut -c 1-16) $(sha256sum < /tmp/r | cut -c 1-16)"
echo "@conns $(as conns /run/x/bulkhead/sb/a/channel.sock 2 $CONNS)"
echo "@after $(bulkhead exec a -- echo still here)"
rpc='{"jsonrpc":"2.0","id":1,"method":"hello","params":{"version":1,"client":"nested","class":"cli"}}'
echo "@asked $(as load rpc /run/x/bulkhead/supervisor.sock "$rpc" '{"jsonrpc":"2.0","id":2,"method":"sandbox.balloon","params":{"name":"a","bytes":134217728}}' | grep -c '"error"')"
balloon() { bulkhead stats --json a | tr -d ' \n' | sed -n 's/.*"actual":\([0-9]*\),"given":\([0-9]*\),"reported":\([0-9]*\),"hinted":\([0-9]*\).*/\1 \2 \3 \4/p' > /tmp/b; }
until_ 30 'balloon; read x y < /tmp/b; [ "${x:-0}" -ge 134217728 ]'; echo "@balloon $(cat /tmp/b)"
bulkhead pause a; echo "@paused $? $(bulkhead ls | grep -c paused)"; bulkhead resume a; echo "@resumed $?"
echo "@again $(bulkhead exec a -- echo awake)"
echo "@filed $(bulkhead exec a -- sh -c 'head -c 2000000 /dev/urandom > f; sync; a=$(sha256sum < f); sudo sh -c "echo 3 > /proc/sys/vm/drop_caches"; [ "$(sha256sum < f)" = "$a" ] && stat -c %s f')"
[ $DOCKER = 0 ] || { until_ 6000 'bulkhead ls | grep -q ready'; echo "@docker $(bulkhead exec a -- sh -c 'cd /tmp && mkdir d && cp /bin/busybox d/ && tar -C d -c . | docker import - box >/dev/null && docker run --rm box /busybox echo in a container' 2>&1 | tail -1)"; }
snapshot
echo "@jail $(grep -o 'jail: .*' $state/sandboxes/a/vmm.log | head -1)"
vmm=$(monitor); echo "@threads $(for t in /proc/$vmm/task/*; do grep Seccomp: $t/status; done | tr -s '\t\n' ' ')"
bulkhead stop a >/dev/null 2>&1; echo "@stop $?"
[ $RESTORES = 1 ] || { bulkhead restore -y a; echo "@started $? $(bulkhead exec a -- cat kept)"; bulkhead stop a; }
cat $state/*.log $state/sandboxes/a/vmm.log $state/sandboxes/a/console.log
}
# A file, a process and an open command; then all of it is changed, and the sandbox restored.
snapshot() {
bulkhead exec a -- sh -c 'echo before > kept; sync; setsid sh -c "echo \$\$ > /dev/shm/pid; n=0; while sleep 0.1; do n=\$((n+1)); echo \$n > /dev/shm/n; done" > /dev/null 2>&1 < /dev/null &'
(bulkhead exec a -- sh -c 'echo on; exec sleep 4000' > /tmp/open 2>&1; echo "@hung $? $(tail -1 /tmp/open)") & open=$!
until_ 300 'grep -q on /tmp/open'
bulkhead snapshot a > /tmp/snapped 2>&1; echo "@snapshot $? $(cat /tmp/snapped)"
echo "@listed $(bulkhead ls --json | tr -d ' \n' | grep -c '"snapshot":{"created":"20[^"]*","bytes":[1-9]')"
usleep 30000000 # so far its clock would be behind
for i in $(seq $RESTORES); do
bulkhead exec a -- sh -c 'echo after > kept; echo > new; sync; kill $(cat /dev/shm/pid); cat kept'
bulkhead restore -y a; echo "@restore $?"
bulkhead exec a -- sh -c 'a=$(cat /dev/shm/n); for i in $(seq 100); do [ "$(cat /dev/shm/n)" = "$a" ] || break; sleep 0.1; done; echo "@kept $(cat kept) $(ls new 2>/dev/null) $(kill -0 $(cat /dev/shm/pid) && echo alive) $i $(cat w)"'
done
wait $open
echo "@reseeded $(bulkhead exec a -- sudo dmesg | grep -c 'virtual machine fork')"
echo "@clock $(date +%s) $(bulkhead exec a -- date +%s) $(date +%s)"
}
"""

# A kernel by hand, with kvmboot.
BYHAND = r"""
boot() { : > /tmp/out; : > /tmp/err; kvmboot -t $LIMIT -m 384 -b /tmp/a -d /tmp/b -i ${initrd:-/l2/initrd} -a mitigations=off -s /tmp/hand.sock "$@" ${kernel:-/host/vmlinuz} > /tmp/out 2>/tmp/err & pid=$!; }
err() { until_ 600 "grep -q '$1' /tmp/err || ! kill -0 $pid"; }
ready() { until_ 3000 "grep -q $1 /tmp/out || ! kill -0 $pid"; }
byhand() {
dd if=/dev/urandom of=/tmp/a bs=1M count=2 2>/dev/null; truncate -s 2M /tmp/b
boot -c 4 -a 'mitigations=off fill'; ready INNER-READY; err 'channel up'
echo "@give $(load give /tmp/hand.sock:5000 $((MB*1000000)))"; echo "@take $(load take /tmp/hand.sock:5000 $((MB*1000000)))"; echo "@ping $(load ping /tmp/hand.sock:5000 50)"
ready tick; kill -USR2 $pid; err paused; n=$(grep -c tick /tmp/out); usleep 1000000; echo "@stood $n $(grep -c tick /tmp/out)"
kill -USR2 $pid; err resumed; until_ 300 "[ \$(grep -c tick /tmp/out) -gt $n ]"; echo "@ticks $n $(grep -c tick /tmp/out)"
kill -HUP $pid; wait $pid; echo "@byhand $?"
cat /tmp/out /tmp/err
[ "$(sha256sum < /tmp/a)" = "$(sha256sum < /tmp/b)" ] && echo "@copied same"
boot -c 2 -S /tmp/snap; ready @free; err 'channel up'; load hold /tmp/hand.sock:5000 > /tmp/hold & hold=$!; until_ 300 'grep -q held /tmp/hold'
kill -WINCH $pid; wait $pid; echo "@frozen $?"; wait $hold
codes=; for i in $(seq $RESTORES); do
boot -c 2 -R /tmp/snap; err 'channel up'; dialed=$(load ping /tmp/hand.sock:5000 3 | cut -d' ' -f1); ready @held
kill -HUP $pid; wait $pid; codes="$codes $?:$(grep -c @squeezed /tmp/out):$(sed -n 's/^@held //p' /tmp/out | tr -d '\r'):$dialed:$(sed -n 's/^@forks //p' /tmp/out | tr -d '\r')"
done; echo "@restores $codes"
cat /tmp/err
if [ -e /l2/old-vmlinuz ]; then
initrd=/l2/old kernel=/l2/old-vmlinuz boot -c 2; ready @free; err 'channel up'; pinged=$(load ping /tmp/hand.sock:5000 3 | cut -d' ' -f1); kill -HUP $pid; wait $pid; code=$?
echo "@old $code $(sed -n 's/^@release //p; s/^@cpus //p; s/^@disk //p; s/^@devices //p' /tmp/out | tr -s '\r\n' ' ') $pinged $(grep -c @squeezed /tmp/out)"
fi
}
"""

def link(a, b):
    try:
        os.link(a, b)
    except OSError:  # the cache lies elsewhere
        shutil.copy(a, b)


def tree(path):
    """An erofs of an installation and the newest image, for the outer machine."""
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["make", "-s", "-C", str(BUILD), "install", f"DESTDIR={d}/inst"], check=True, capture_output=True)
        root = pathlib.Path(d, "tree")
        shutil.copytree(f"{d}/inst/usr", root / "usr", symlinks=True)
        for p in [*root.glob("usr/local/bin/*"), *root.glob("usr/local/libexec/bulkhead/*")]:
            subprocess.run(["strip", str(p)], capture_output=True)
        shutil.copytree(nest.image(), root / "cache/bulkhead/images" / nest.image().name, copy_function=link)
        link(nest.image() / "vmlinuz", root / "vmlinuz")
        subprocess.run(["mkfs.erofs", "-T", "0", path, str(root)], check=True, capture_output=True)


def run(script, image, memory):
    """The console of an outer machine and how it ended."""
    parts = [[("init", INNER.encode(), 0o755)], [BUILD / "tests/nested/load"]]
    old = nest.bookworm()
    olds = [("l2/old-vmlinuz", old[1], 0o644), ("l2/old", nest.initrd(*parts, modules=old[2]), 0o644)] if old else []
    return nest.outer(script, [*olds, ("l2/initrd", nest.initrd(*parts), 0o644), ("etc/ssl/certs/ca-certificates.crt", ROOTS.read_bytes() if ROOTS.exists() else b"", 0o644),
                               ("etc/resolv.conf", b"nameserver 127.0.0.1\n", 0o644)],
                      [*(BUILD / p for p in PROGRAMS), pathlib.Path(shutil.which("setpriv"))], drives=[image], memory=memory,
                      seconds=int(os.environ.get("BULKHEAD_NESTED_SECONDS", "6000" if LONG else "1500")), show=bool(os.environ.get("BULKHEAD_VERBOSE")))


def setup():
    global console, how
    if ASKED == "0" or not nest.image():
        return
    numbers = f"MB={1000 if LONG else 4} CONNS={1000 if LONG else 100} RESTORES={5 if LONG else 1} DOCKER={int(LONG)} LIMIT={5000 if LONG else 600} STUCK={4500 if LONG else 900}\n"
    with tempfile.TemporaryDirectory() as d, concurrent.futures.ThreadPoolExecutor(2) as pool:
        tree(f"{d}/tree.img")
        ended = [pool.submit(run, numbers + BEGIN + script + name + " 2>&1\n", f"{d}/tree.img", memory)
                 for name, script, memory in (("whole", WHOLE, 5120), ("byhand", BYHAND, 3072))]
        parts = [e.result() for e in ended]
    console, how = "".join(text for text, _ in parts), "; ".join(f"{name} {h}" for name, (_, h) in zip(("whole", "byhand"), parts))
    for m in re.finditer(r"^(?:.*\x1b\[K)?@(\w+) ?(.*)$", console, re.M):  # after a progress that was rubbed out
        marks.setdefault(m[1], m[2].strip())
    for text, h in parts:
        if "NESTED-END" not in text:
            print(f"# {h}. " + text[-8000:].replace("\n", "\n# "))


def nested(fn):
    def run():
        if ASKED == "0" or not nest.image():
            raise Skip("BULKHEAD_TEST_NESTED=0" if ASKED == "0" else "there is no guest image")
        try:
            fn()
        except Exception:
            print("# " + console[-24000:].replace("\n", "\n# "))
            raise
    run.__doc__, run.__name__ = fn.__doc__, fn.__name__
    return case(run)


@nested
def boots_linux():
    "an unmodified Debian kernel boots with four CPUs, finds six devices, and powers off by ACPI"
    equal(marks["byhand"], "0")
    equal(marks["cpus"], "4")
    equal((marks["devices"], marks["irq"]), ("6", "6"))
    equal(marks["hwrng"], "64")


@nested
def boots_bookworm():
    "so does Debian 12's, unchanged from its package"
    if not nest.bookworm():
        raise Skip("apt has no bookworm cloud kernel here")
    equal(marks["old"].split(), ["0", nest.bookworm()[0], "2", "same", "6", "3", "1"])


@nested
def disks_keep_their_bytes():
    "2 MiB of noise from one disk to the other, compared inside and outside; the read-only one refuses"
    equal((marks["disk"], marks["copied"], marks["base"]), ("same", "same", "read-only"))


@nested
def vsock_carries_every_byte():
    "numbered bytes each way over vsock, checked by the one who reads them, and answers to small messages"
    for way in ("give", "take", "ping"):
        n, us = marks[way].split()
        equal(int(n), 50 if way == "ping" else (1000 if LONG else 4) * 1000000, way)
        print(f"# {way}: {n} in {int(us) / 1e6:.2f} s")


@nested
def pauses_and_squeezes():
    "paused and resumed it goes on; the balloon takes an eighth of its memory"
    contains(console, "kvmboot: paused")
    contains(console, "kvmboot: resumed")
    stood, ticks = marks["stood"].split(), marks["ticks"].split()
    equal(stood[0], stood[1], "while it was paused the guest went on")
    if int(ticks[1]) <= int(ticks[0]):
        raise AssertionError(f"after it was resumed the guest stands: {ticks}")
    given = int(marks["free"]) - int(marks["squeezed"])
    if not 40 <= given <= 60:
        raise AssertionError(f"the guest gave up {given} MiB, want 48")


@nested
def balloon_deflates():
    "a guest that runs out of memory takes back from the balloon what it needs, and nobody in it is killed"
    equal(marks["filled"], "0 0")


@nested
def snapshot_and_restores():
    "Linux with two CPUs frozen and restored: its open stream has ended (ECONNRESET), a new one opens, its random numbers begin anew; it gives up memory and powers off"
    equal(marks["frozen"], "5")
    equal(marks["restores"].split(), ["0:1:104:3:1"] * (5 if LONG else 1))


@nested
def a_sandbox_goes_back():
    "snapshot, change, restore: the file, the process in memory and the workspace are as they were; the open command has hung up, entropy and clock are of now"
    equal(marks["snapshot"].split()[:2], ["0", "a:"])
    equal(marks["listed"], "1")
    equal(marks["restore"], "0")
    words = re.findall(r"^@kept (.*)$", console, re.M)
    equal(len(words), 5 if LONG else 1)
    for line in words:
        w = line.split()
        equal((w[:2], w[3:]), (["before", "alive"], ["of", "the", "host"]))
        if int(w[2]) >= 100:
            raise AssertionError("the process of then counts no more")
    if marks["hung"].split()[0] == "0":
        raise AssertionError("a command that was open at the snapshot ended as if all were well")
    if int(marks["reseeded"]) < 1:
        raise AssertionError("the kernel does not know that it is a copy")
    before, inside, after = map(int, marks["clock"].split())
    if not before - 15 <= inside <= after + 3:  # on its way for seconds, where all is emulated twice
        raise AssertionError(f"its clock is off: {marks['clock']}")
    if LONG:
        equal(marks["started"], "0 before")


@nested
def chosen():
    "the probe finds that this /dev/kvm runs guests: doctor says so, and ls which machine it is"
    contains(console, "sandboxes run in bulkhead's own machine (kvm)")
    contains(marks["ls"], " kvm ")


@nested
def an_ordinary_user():
    "bulkhead-vmm runs as uid 1000, whose group may open /dev/kvm"
    equal(marks["user"].split(), ["0", "Uid:", "1000", "1000", "1000", "1000"])


@nested
def the_whole_stack():
    "bulkhead starts the real image in our machine and runs commands"
    contains(marks["ls"], " running ")  # `start` itself may have given up waiting: the image is hashed first, under emulation
    inner, outer = marks["uname"].split()
    contains(inner, "cloud-amd64")
    equal(inner, outer)


@nested
def bulk_both_ways():
    "2 MB each way through exec, checksummed"
    for way in ("out", "in"):
        got, want = marks[way].split()
        equal(got, want, way)


@nested
def many_connections():
    "a hundred connections open at once, and afterwards all is as before"
    equal(marks["conns"].split()[0], "1000" if LONG else "100")
    equal(marks["after"], "still here")
    print(f"# {marks['conns'].split()[1]} us a connection")


@nested
def lifecycle():
    "pause, resume, disk, stop"
    equal((marks["paused"], marks["resumed"], marks["again"]), ("0 1", "0", "awake"))
    equal(marks["filed"], "2000000")
    equal(marks["stop"], "0")


@nested
def gives_memory_back():
    "the supervisor asks the guest for 128 MiB: the balloon has them, the host got them; what Linux hinted at as free was marked"
    equal(marks["asked"], "0")
    actual, given, _, hinted = map(int, marks["balloon"].split())
    if actual < 128 << 20 or given < 128 << 20 or hinted == 0:
        raise AssertionError(marks["balloon"])


@nested
def docker_runs():
    "docker run in a sandbox of our machine"
    if not LONG:
        raise Skip("minutes of emulation; BULKHEAD_TEST_NESTED=1 runs it")
    equal(marks["docker"], "in a container")


@nested
def every_thread_is_sealed():
    "the monitor says what it got, and every one of its threads has a filter"
    for what in ("no_new_privs", "rlimits", "nodump", " pids", " namespaces", " root", " landlock(", "nocaps", "seccomp("):
        contains(marks["jail"], what)
    words = marks["threads"].split()
    if len(words) < 8 or any(words[i + 1] != "2" for i in range(0, len(words), 2)):
        raise AssertionError(marks["threads"])


@nested
def monitor_is_small():
    "beyond the guest's memory the monitor holds at most 5 MiB"
    print(f"# {marks['rss']} KiB")
    if not 500 < int(marks["rss"]) <= 5 * 1024:
        raise AssertionError(f"{marks['rss']} KiB")


main(setup)
