#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bare-metal guests on /dev/kvm, also on one that only emulates: each drives our devices, or abuses them, and tells the outcome on its console."""
import fcntl
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from bulkhead import BUILD  # noqa: E402
from tap import Skip, case, contains, equal, main  # noqa: E402

SECONDS = 150  # a second or two when nothing else runs


def run(name, *options):
    """The lines of a guest's console; it must have powered off by itself."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("no /dev/kvm")
    program, kernel = BUILD / "tests/vmm/kvmboot", BUILD / "tests/guests" / (name if "." in name else f"{name}.guest")
    if not program.exists() or not kernel.exists():
        raise Skip("make check builds kvmboot and the guests")
    r = subprocess.run([str(program), "-t", str(SECONDS), *options, str(kernel)], capture_output=True, text=True, timeout=SECONDS + 20)
    lines = r.stdout.splitlines()
    bad = [line for line in lines if line.startswith("not ok")]
    if bad or r.returncode or lines[-1:] != ["done"]:
        raise AssertionError(f"{name}: code {r.returncode}, {bad}\n{r.stdout}\n{r.stderr}")
    print(f"# {name}: {sum(line.startswith('ok') for line in lines)} checks in the guest")
    return lines


@case
def machine():
    "memory map, ACPI tables and serial port as a PVH kernel finds them"
    run("hello")


@case
def machine_with_cpus():
    "the same with four vCPUs, three of which wait to be started"
    run("hello", "-c", "4")


@case
def bzimage():
    "the same as a bzImage finds it at its 64-bit entry: boot parameters, initial ramdisk, long mode"
    with tempfile.NamedTemporaryFile() as f:
        f.write(b"ramdisk!" * 625)
        f.flush()
        run("bz.image", "-i", f.name)


@case
def entropy_and_queues():
    "entropy by direct and indirect descriptors, then every abuse of a queue"
    run("rng")


@case
def disks():
    "read, write, flush, discard, zeroes, and ranges that are not the disk's; the read-only disk keeps its bytes"
    with tempfile.TemporaryDirectory() as d:
        base, disk = pathlib.Path(d, "base"), pathlib.Path(d, "disk")
        base.write_bytes(b"A" * 4096)
        disk.write_bytes(b"B" * (1 << 20))
        run("blk", "-b", str(base), "-d", str(disk))
        equal(base.read_bytes(), b"A" * 4096, "the read-only disk")
        data = disk.read_bytes()
        equal(len(data), 1 << 20, "the disk's size")
        equal(data[:512] + data[8192 + 4096:], b"B" * (len(data) - 8192 - 4096 + 512), "what no request named")


@case
def disks_with_queues():
    "the same with four CPUs and so four queues a disk"
    with tempfile.TemporaryDirectory() as d:
        base, disk = pathlib.Path(d, "base"), pathlib.Path(d, "disk")
        base.write_bytes(b"A" * 4096)
        disk.write_bytes(b"B" * (1 << 20))
        run("blk", "-c", "4", "-b", str(base), "-d", str(disk))


@case
def processors():
    "sixteen CPUs, each started by the first one"
    contains("\n".join(run("smp", "-c", "16")), "# processors 00000010")


def talk(name, word, act, *options):
    """Runs a guest, does act(process) when it has said the word, and returns its lines."""
    program, kernel = BUILD / "tests/vmm/kvmboot", BUILD / f"tests/guests/{name}.guest"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("no /dev/kvm")
    p = subprocess.Popen([str(program), "-t", str(SECONDS), *options, str(kernel)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        for line in p.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == word:
                act(p)
        equal(p.wait(timeout=SECONDS), 0, p.stderr.read())
    finally:
        p.kill()
    bad = [line for line in lines if line.startswith("not ok")]
    if bad or lines[-1:] != ["done"]:
        raise AssertionError(f"{name}: {bad}\n" + "\n".join(lines)[-4000:])
    return lines


def pauses(p, n):
    for _ in range(n):
        for word in ("paused", "resumed"):
            p.send_signal(signal.SIGUSR2)
            for line in p.stderr:
                if word in line:
                    break


def told_again(p, n):
    """Paused; and again and again at once after it was told to go on: each is told."""
    p.send_signal(signal.SIGUSR2)
    for turn in range(n + 1):
        for line in p.stderr:
            if "paused" in line:
                break
        p.send_signal(signal.SIGURG if turn < n else signal.SIGUSR2)


@case
def clock():
    "a pause sets the flag by which a guest knows that time passed without it"
    talk("clock", "pause", lambda p: pauses(p, 1))


@case
def storm():
    "eight CPUs at the same two devices at once, half of them ringing, half resetting, taking queues away and rewriting descriptors; pauses meanwhile"
    with tempfile.TemporaryDirectory() as d:
        disk = pathlib.Path(d, "disk")
        disk.write_bytes(b"B" * (1 << 20))

        talk("storm", "storm", lambda p: (pauses(p, 5), told_again(p, 10)), "-c", "8", "-d", str(disk))
        equal(disk.read_bytes(), b"B" * (1 << 20), "no request wrote")


@case
def balloon():
    "pages given up, taken back, reported and hinted, statistics, and lists that lie"
    talk("balloon", "squeeze", lambda p: p.send_signal(signal.SIGHUP))


@case
def console():
    "output of every shape, input, emergency output, and a driver that breaks its device"
    def hello(p):
        p.stdin.write("hello\n")
        p.stdin.flush()

    # The serial port's lines and the console's go one way, each whole in itself but in no order between them: a line may stand inside another.
    for attempt in range(4):
        lines = talk("console", "type", hello)
        equal("".join(lines).count("x") >= 19998, True, "no byte is lost")
        gone = [line[:40] for line in ("# by virtio", "# by three parts", "#" + "x" * 19998, "# emergency", "# again", "# after that") if line not in lines]
        if not gone:
            return
    raise AssertionError(f"not on the console: {gone}")


@case
def power_button():
    "the power button's interrupt arrives when it is pressed, and not before"
    talk("power", "press", lambda p: p.send_signal(signal.SIGQUIT))


@case
def channel():
    "connections of the guest, refusals, and packets that lie"
    run("vsock")


CPUID, MSRS, TSC = 16, 21, 26


KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL = 0xAE03, 60


def can(what):
    with open("/dev/kvm", "rb+", buffering=0) as f:
        return fcntl.ioctl(f, KVM_CHECK_EXTENSION, what) > 0


def sections(state):
    """The parts of a state file: [kind, number, bytes]."""
    at, out = 12, []
    while at < len(state) - 8:
        kind, number, n = struct.unpack_from("<III", state, at)
        out.append([kind, number, state[at + 12:at + 12 + n]])
        at += 12 + n
    return out


def rebuilt(state, kind, change):
    """The file with one part changed, and a checksum that is right: what a person with a reason would make of it."""
    parts = [[k, n, change(b) if k == kind else b] for k, n, b in sections(state)]
    text = state[:8] + struct.pack("<I", len(parts)) + b"".join(struct.pack("<III", k, n, len(b)) + b for k, n, b in parts)
    h = 0xcbf29ce484222325
    for b in text:
        h = (h ^ b) * 0x100000001b3 & 0xffffffffffffffff
    return text + struct.pack("<Q", h)


def tampered(state, refused):
    def leaf(function, index, change):
        def of(b):
            b = bytearray(b)
            for i in range(struct.unpack_from("<I", b, 0)[0]):
                at = 8 + 40 * i
                e = list(struct.unpack_from("<7I", b, at))
                if e[:2] == [function, index]:
                    change(e)
                    struct.pack_into("<7I", b, at, *e)
            return bytes(b)
        return rebuilt(state, CPUID, of)

    def put(register, value):
        def change(e):
            e[3 + register] = value(e[3 + register])
        return change

    def more(entry):
        def of(b):
            n = struct.unpack_from("<I", b, 0)[0]
            b = bytearray(b)
            struct.pack_into("<I", b, 0, n + 1)
            struct.pack_into("<7I", b, 8 + 40 * n, *entry)
            return bytes(b)
        return rebuilt(state, CPUID, of)

    def first_msr(b):
        return struct.pack("<I", 0x12345678) + b[4:]

    def faster(b):
        khz, = struct.unpack("<I", b)
        return struct.pack("<I", khz + khz // 10)

    forbidden = "CPU features that no machine of ours is given"
    refused(leaf(0x80000001, 0, put(2, lambda v: v | 1 << 2)), forbidden)
    refused(more([1, 5, 0, 0, 0, 1 << 5, 0]), forbidden)
    refused(more([7, 0, 1, 0, 1, 0, 0]), forbidden)
    refused(leaf(0, 0, put(1, lambda v: v ^ 1)), "of another maker")
    lacks = leaf(7, 0, put(1, lambda v: v | 1 << 16 | 1 << 17 | 1 << 21 | 1 << 28 | 1 << 29 | 1 << 30 | 1 << 31))  # AVX-512 and SHA
    if lacks != state:
        refused(lacks, "features that this one lacks (CPUID 0x7.0)")
    refused(rebuilt(state, MSRS, first_msr), "a register (0x12345678) of vCPU 0 that machines on this host have not")
    if any(dict((k, b) for k, _, b in sections(state))[TSC]) and not can(KVM_CAP_TSC_CONTROL):
        refused(rebuilt(state, TSC, faster), "and it cannot be set")


@case
def snapshot():
    "frozen in the middle of its work, it goes on from the copy three times; a damaged or wrong copy is refused with a sentence"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("no /dev/kvm")
    program, kernel = str(BUILD / "tests/vmm/kvmboot"), str(BUILD / "tests/guests/snapshot.guest")
    with tempfile.TemporaryDirectory() as d:
        disk = pathlib.Path(d, "disk")
        disk.write_bytes(b"B" * (1 << 20))
        p = subprocess.Popen([program, "-S", f"{d}/s", "-d", str(disk), kernel], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        before = []
        while len(before) < 5:
            before.append(p.stdout.readline())
        p.send_signal(signal.SIGWINCH)
        rest, err = p.communicate(timeout=SECONDS)
        equal(p.returncode, 5, err)
        before = "".join(before) + rest
        last = int(before.split()[-1], 16)
        size = os.stat(f"{d}/s.mem")
        equal(size.st_size, 64 << 20)
        if size.st_blocks * 512 > 8 << 20:
            raise AssertionError(f"the memory file is not sparse: {size.st_blocks * 512}")
        for _ in range(3):
            lines = run("snapshot", "-R", f"{d}/s", "-d", str(disk))
            contains("\n".join(lines), "the generation is another")
            contains("\n".join(lines), "the generation's line was raised")
            equal([int(line.split()[1], 16) for line in lines if line.startswith("tick")], list(range(last + 1, 40)), "ticks after the copy")
        state = pathlib.Path(d, "s.state").read_bytes()

        def refused(data, why, *options):
            pathlib.Path(d, "s.state").write_bytes(data)
            r = subprocess.run([program, "-R", f"{d}/s", "-d", str(disk), *options, kernel], capture_output=True, text=True, timeout=SECONDS)
            equal(r.returncode, 1)
            contains(r.stderr, why)

        refused(state[:1000] + bytes([state[1000] ^ 1]) + state[1001:], "checksum")
        refused(state[:-100], "checksum")
        refused(b"", "the snapshot is none")
        refused(state[:4] + b"\x63" + state[5:], "version 99")
        refused(state, "a machine with 1 vCPUs and 64 MiB", "-c", "2")
        refused(state, "64 MiB", "-m", "128")
        refused(state, "device 0 is not this machine's", "-b", str(disk))
        tampered(state, refused)
        memory = pathlib.Path(d, "s.mem")
        with memory.open("r+b") as f:  # as if it were that of another snapshot of the same machine
            f.seek(0xff000)
            mark = f.read(16)
            f.seek(0xff000)
            f.write(bytes(b ^ 0xff for b in mark))
        refused(state, "memory file belongs to another snapshot")
        with memory.open("r+b") as f:
            f.seek(0xff000)
            f.write(mark)
        with disk.open("ab") as f:
            f.write(b"B" * 512)
        refused(state, "disk 'bulkhead-disk' had 1024 KiB")


def filters(p):
    """What /proc says of the seccomp mode of every thread."""
    return [line.split()[1] for t in pathlib.Path("/proc", str(p.pid), "task").iterdir() for line in (t / "status").read_text().splitlines() if line.startswith("Seccomp:")]


@case
def frozen_in_the_middle():
    "frozen while a byte is on its way out, again and again: the console goes on with the very next one, none is lost and none comes twice"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise Skip("no /dev/kvm")
    program, kernel = str(BUILD / "tests/vmm/kvmboot"), str(BUILD / "tests/guests/count.guest")
    with tempfile.TemporaryDirectory() as d:
        told = ""
        for n in range(6):
            p = subprocess.Popen([program, "-m", "16", "-t", str(SECONDS), "-S", f"{d}/{n}", *(["-R", f"{d}/{n - 1}"] if n else []), kernel], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
            for _ in range(20):
                told += p.stdout.readline()
            p.send_signal(signal.SIGWINCH)
            told += p.stdout.read()  # communicate() would lose what readline() has read ahead
            err = p.stderr.read()
            equal(p.wait(SECONDS), 5, err)
        lines = told.splitlines()
        equal([line for n, line in enumerate(lines[:-1]) if line != f"{n:08x}"][:4], [])
        if len(lines) < 120:
            raise AssertionError(f"only {len(lines)} lines")


@case
def every_thread_is_sealed():
    "loop, vCPUs and disks' queues have a filter each while the guest runs"
    seen = []
    with tempfile.TemporaryDirectory() as d:
        disk = pathlib.Path(d, "disk")
        disk.write_bytes(b"B" * (1 << 20))

        def act(p):
            for line in p.stderr:
                if "runs" in line:
                    break
            seen.extend(filters(p))
            p.send_signal(signal.SIGQUIT)

        talk("power", "press", act, "-c", "2", "-d", str(disk))
    equal(set(seen), {"2"})
    if len(seen) < 5:  # newer kernels keep a thread of KVM's own among ours
        raise AssertionError(f"{len(seen)} threads, not one loop, two vCPUs, two queues")


@case
def unsealed_threads():
    "every guest above ran with sealed threads: the same unsealed differs in nothing"
    equal(run("rng", "-u")[-1], "done")


main()
