#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our machine beside QEMU's microvm, in one run on the same KVM: in the nested machine of tests/nested.

usage: bench_vmm.py [RUNS] [--icount | --only-icount] [--vsock] [--kvmtool LKVM] [--json FILE]

Rows: process start to the first byte of a guest that does nothing else (what the monitor alone costs: no kernel unpacks itself in that time);
process start to Linux' init, exits until then; resident memory of the monitor beyond the guest's; restore to the guest's next output;
vsock (QEMU: vhost) and disk. Medians of RUNS (3), with the least and the most of them.
--icount runs boots, restores and vsock again with one CPU whose clock counts instructions, a nanosecond each: 1 ms there are a million of
them, and the same on every host, busy or not. --only-icount leaves the seconds out. --vsock: its rows alone, in a few minutes. --kvmtool boots Linux with that program too (built by hand:
Debian has none; it starts no PVH guest and has no snapshot).
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "nested"))
sys.path.insert(0, str(TESTS / "lib"))
import nest  # noqa: E402
from report import median, report, spread  # noqa: E402

QEMU = pathlib.Path(shutil.which("qemu-system-x86_64") or "/usr/bin/qemu-system-x86_64")

INIT = r"""#!/bin/sh
echo BENCH-INIT
load mark life
""" + nest.LOAD.split("\n", 1)[1] + r"""
for b in /sys/block/vd*; do ln -s ${b##*/} /dev/$(cat $b/serial); done
case $(cat /proc/cmdline) in
*bench=wait*) while :; do sleep 1000; done;;
*bench=tick*) echo BENCH-READY; while :; do echo BENCH-TICK; done;;
esac
case $(cat /proc/cmdline) in *bench=load*) load disk /dev/bulkhead-disk 32;; esac
load serve 5000 &
usleep 100000
echo BENCH-READY
while :; do sleep 1000; done
"""

SCRIPT = r"""
mount -t tmpfs -o size=2g t /tmp; mkdir -p /host; mount -t erofs -o ro /dev/disk1 /host; mount -t debugfs d /sys/kernel/debug
for m in vsock vmw_vsock_virtio_transport_common vhost_iotlb vhost vhost_vsock; do for f in $(find /base/usr/lib/modules -name $m.ko); do insmod $f 2>/dev/null; done; done
ls /dev/vhost-vsock
truncate -s 32M /tmp/base /tmp/disk
CPUS=$(nproc); LINE="mitigations=off"
until_() { i=0; while [ $i -lt $1 ] && ! eval "$2"; do usleep 50000; i=$((i+1)); done; }
linux() { MIB=256; KERNEL=/host/vmlinuz; INITRD=/l2/initrd; }
hello() { MIB=64; KERNEL=/host/hello.guest; INITRD=; }
ours() { exec vmtime "$1" $MIB kvmboot -t 900 -m $MIB -c $CPUS -b /tmp/base -d /tmp/disk ${INITRD:+-i $INITRD} -s /tmp/hand.sock -a "$LINE $2" $3 $4 $KERNEL; }
qemu() { export LD_LIBRARY_PATH=/host/lib; exec vmtime "$1" $MIB /host/lib/ld.so /host/qemu -L /host/share -nodefaults -no-user-config -no-reboot -display none -net none -serial stdio \
	-M microvm,acpi=on,isa-serial=on,pit=off,pic=off,rtc=off,memory-backend=m -object memory-backend-file,id=m,size=${MIB}M,mem-path=/tmp/qmem,share=${4:-on} \
	-global virtio-mmio.force-legacy=false -accel kvm -cpu host -smp $CPUS -m $MIB \
	-kernel $KERNEL ${INITRD:+-initrd $INITRD} -append "console=ttyS0 panic=-1 reboot=t quiet loglevel=4 random.trust_cpu=on 8250.nr_uarts=1 pci=off $LINE $2" \
	-drive if=none,id=b,format=raw,readonly=on,file=/tmp/base -device virtio-blk-device,drive=b,serial=bulkhead-base \
	-drive if=none,id=d,format=raw,file=/tmp/disk -device virtio-blk-device,drive=d,serial=bulkhead-disk \
	-device virtio-rng-device -device virtio-balloon-device -device vhost-vsock-device,guest-cid=5 -chardev pipe,id=h,path=/tmp/mon -mon chardev=h $3; }
lkvm_() { export HOME=/tmp; exec vmtime "$1" $MIB lkvm run -k $KERNEL -i $INITRD -m $MIB -c $CPUS --console serial -n mode=none --rng --balloon -d /tmp/base,ro -d /tmp/disk \
	-p "console=ttyS0 panic=-1 reboot=t quiet loglevel=4 random.trust_cpu=on 8250.nr_uarts=1 $LINE $2"; }
tell() { sed -n "s/^@/@$1_/p" /tmp/out /tmp/err; }
run() { "$@" > /tmp/out 2>/tmp/err < /dev/null & pid=$!; }
ready() { until_ 4000 "grep -q $1 /tmp/out || ! kill -0 $pid 2>/dev/null"; }
measured() { until_ 4000 "grep -q @rss /tmp/err || ! kill -0 $pid 2>/dev/null"; }
over() { kill $pid 2>/dev/null; wait $pid; rm -f /tmp/qmem; }
mkfifo /tmp/mon.in /tmp/mon.out
cat /tmp/mon.out > /tmp/mon.log & exec 7<>/tmp/mon.in 8<>/tmp/mon.out
boots() { for r in $(seq $RUNS); do run $1 BENCH-INIT bench=wait; measured; tell $1; over; done; }
one() {
a=/tmp/hand.sock; [ $1 = ours ] || a=vsock:5
[ $VSOCK = 1 ] || costs $1
linux; load=load; [ $SHORT = 0 ] && [ $VSOCK = 0 ] || load=vsock
for r in $(seq $RUNS); do
run $1 BENCH-READY bench=$load; ready BENCH-READY; tell $1_load; until_ 400 "load ping $a:5000 1 >/dev/null 2>&1"
echo "@$1_give $(load give $a:5000 32000000)"; echo "@$1_take $(load take $a:5000 32000000)"; echo "@$1_ping $(load ping $a:5000 500)"; over
done
}
costs() {
hello; for r in $(seq $RUNS); do run $1 hello ""; measured; tell $1_hello; over; done
linux; boots $1
}
one ours; one qemu
[ $VSOCK = 1 ] && { echo NESTED-END; poweroff -f; }
linux
[ $KVMTOOL = 0 ] || { boots lkvm_; tail -3 /tmp/err; }
run ours BENCH-READY bench=tick -S /tmp/snap; measured; vmm=$(cat /proc/[0-9]*/stat | grep '(kvmboot)' | cut -d' ' -f1); kill -WINCH $vmm; wait $pid; echo "frozen: $?"
for r in $(seq $RUNS); do run ours BENCH-TICK "" -R /tmp/snap; measured; tell ours_restore; over; done
run qemu BENCH-READY bench=tick; measured
# With x-ignore-shared the memory stays in its file; each copy maps that privately, as ours do. It ends by itself: one that was stopped before is restored stopped.
echo 'migrate_set_capability x-ignore-shared on' >&7; echo 'migrate "exec:cat > /tmp/qsnap"' >&7
until_ 300 'echo info migrate >&7; usleep 300000; grep -q completed /tmp/mon.log'; kill $pid; wait $pid; mv /tmp/qmem /tmp/kept
for r in $(seq $RUNS); do
cp /tmp/kept /tmp/qmem; exec 9</tmp/qsnap; echo 'migrate_set_capability x-ignore-shared on' >&7; echo 'migrate_incoming fd:9' >&7
run qemu BENCH-TICK bench=tick "-incoming defer" off; measured; tell qemu_restore; over
done
cat /tmp/err; tail -20 /tmp/mon.log
"""


def tree(path, d):
    """QEMU with its libraries and firmware, and the kernel."""
    root = pathlib.Path(d, "tree")
    (root / "lib").mkdir(parents=True)
    shutil.copy(QEMU, root / "qemu")
    for lib in set(re.findall(r"(/\S+)", subprocess.run(["ldd", str(QEMU)], capture_output=True, text=True).stdout)):
        name = pathlib.Path(lib).name
        shutil.copy(lib, root / "lib" / ("ld.so" if name.startswith("ld-linux") else name))
    shutil.copytree("/usr/share/qemu", root / "share", ignore=lambda d, names: [n for n in names if not re.search(r"microvm|linuxboot|kvmvapic|pvh", n) or n.startswith("efi")])
    shutil.copy(nest.image() / "vmlinuz", root / "vmlinuz")
    shutil.copy(nest.BUILD / "tests/guests/hello.guest", root / "hello.guest")
    subprocess.run(["mkfs.erofs", path, str(root)], check=True, capture_output=True)


def option(name):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else None


def measure(runs, icount):
    programs = [nest.BUILD / "tests" / p for p in ("vmm/kvmboot", "nested/load", "nested/vmtime")]
    kvmtool = option("--kvmtool")
    with tempfile.TemporaryDirectory() as d:
        tree(f"{d}/tree.img", d)
        inner = nest.initrd([("init", INIT.encode(), 0o755)], [nest.BUILD / "tests/nested/load"])
        text, how = nest.outer(f"RUNS={runs} SHORT={int(icount)} VSOCK={int('--vsock' in sys.argv)} KVMTOOL={int(bool(kvmtool))}\n" + SCRIPT, [("l2/initrd", inner, 0o644)],
                               programs + ([pathlib.Path(kvmtool)] if kvmtool else []), [f"{d}/tree.img"], memory=4096, seconds=3000,
                               show="--verbose" in sys.argv, icount=icount)
    seen = {}
    for m in re.finditer(r"^@(\w+) (.*)$", text, re.M):
        seen.setdefault(m[1], []).append(int(m[2].split()[-1] or 0))
    return seen, f"{text[-4000:]}\nthe outer machine {how}" if "NESTED-END" not in text else ""


# What is measured: unit, key of vmtime's and load's marks, and what a mark means in that unit.
ROWS = [
    ("process start to a guest's first byte", "ms", "hello_us", lambda v: v / 1000),
    ("process start to Linux' init", "ms", "us", lambda v: v / 1000),
    ("exits until init", "", "exits", lambda v: v),
    ("resident beyond the guest's memory", "KiB", "rss_kib", lambda v: v),
    ("restore to the guest's next output", "ms", "restore_us", lambda v: v / 1000),
    ("vsock to the guest", "MB/s", "give", lambda us: 32e6 / us),
    ("vsock from the guest", "MB/s", "take", lambda us: 32e6 / us),
    ("vsock there and back", "us", "ping", lambda us: us / 500),
    ("disk written in order", "MB/s", "load_write", lambda us: (32 << 20) / us),
    ("disk read in order", "MB/s", "load_read", lambda us: (32 << 20) / us),
    ("disk, 4 KiB anywhere", "us", "load_seek", lambda us: us / 1000),
]
# The rows of a machine that counts instructions, and their units there.
COUNTED = {"ms": "million instructions", "": "one CPU", "KiB": "KiB", "MB/s": "instructions a byte", "us": "thousand instructions"}


def per_byte(us):
    return us * 1000 / 32e6


def rows_of(seen, icount):
    """Rows of the table, and whether every one of ours and QEMU's was measured."""
    rows, whole = [], True
    for name, unit, key, make in ROWS:
        disk = key.startswith("load_")
        if icount and disk or "--vsock" in sys.argv and (disk or not name.startswith("vsock")):
            continue
        if icount and unit == "MB/s":
            make = per_byte
        ours, qemu, lkvm = ([make(v) for v in seen.get(f"{who}_{key}", [])] for who in ("ours", "qemu", "lkvm_"))
        whole = whole and bool(ours and qemu)
        rows.append([name, COUNTED[unit] if icount else unit, *(float(median(v)) if v else "-" for v in (ours, qemu)),
                     f"{median(ours) / median(qemu):.2f}" if ours and qemu else "-", *(spread(v) if len(v) > 1 else "" for v in (ours, qemu)),
                     *([float(median(lkvm)) if lkvm else "-"] if option("--kvmtool") else [])])
    return rows, whole


def lines():
    src = nest.TOP / "vmm"
    return sum(len(p.read_text().splitlines()) for d in ("kvm", "devices") for p in (src / d).rglob("*.[ch]"))


def main():
    runs = int(next((a for a in sys.argv[1:] if a.isdigit()), "3"))
    passes = ([] if "--only-icount" in sys.argv else [False]) + ([True] if {"--icount", "--only-icount"} & set(sys.argv) else [])
    table, ok = [], True
    for icount in passes:
        seen, broke = measure(1 if icount else runs, icount)
        rows, whole = rows_of(seen, icount)
        print(broke, end="")
        table += rows
        ok = ok and whole and not broke
    version = subprocess.run([str(QEMU), "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    report("Our machine and QEMU's microvm on the same KVM (nested, emulated: a second is not a second)",
           ["what", "unit", "bulkhead", "QEMU", "ours/theirs", "spread", "theirs", *(["kvmtool"] if option("--kvmtool") else [])], table,
           qemu=version, guest=f"256 MiB, Debian {nest.image().name}", runs=runs, lines_of_code=lines(),
           monitor_bytes=(nest.BUILD / "bulkhead-vmm").stat().st_size, qemu_bytes=QEMU.stat().st_size)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
