"""Takes the measure of one command: time, CPU and memory of both sides, bytes on the wire and on the disk."""

import contextlib
import dataclasses
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

from bench import Stop, quiet

EVERY = 0.04  # seconds between two looks at the memory
IDLE = 0.001  # seconds of CPU; a side that used less took no part
TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Cost:
    """Of one command. `sync` is what a sync of the filesystem took afterwards; bytes are bytes, times are seconds."""

    seconds: float = 0
    sync: float = 0
    cpu_server: float = 0
    cpu_client: float = 0
    peak_server: int = 0
    peak_client: int = 0
    wire: int = 0
    disk: int = 0
    inodes: int = 0
    returned: float = 0  # when the command itself ended: `seconds` may go on with what it left to others

    @property
    def durable(self):
        return self.seconds + self.sync

    def __add__(self, other):
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in dataclasses.fields(Cost)}
        peaks = {name: max(getattr(self, name), getattr(other, name)) for name in ("peak_server", "peak_client")}
        return Cost(**{**sums, **peaks})


class Failed(Exception):
    """A tool failed; the text has its last lines."""


def make_group():
    """A control group of version 2 for this call, or None: cpu.stat is in each, whatever controllers are on."""
    with contextlib.suppress(OSError, IndexError, StopIteration):
        hierarchy = next(line.split()[1] for line in open("/proc/self/mounts") if line.split()[2] == "cgroup2")
        own = next(line.strip().split(":", 2)[2] for line in open("/proc/self/cgroup") if line.startswith("0::"))
        group = pathlib.Path(hierarchy + own.rstrip("/")) / f"syncropy-bench.{os.getpid()}"
        group.mkdir()
        for side in ("server", "client"):
            (group / side).mkdir()
        if (group / "server/cpu.stat").exists():
            return group
    return None


class Side:
    """All processes of one side. `group`: its control group; None: counted by rusage and /proc."""

    def __init__(self, group):
        self.group = group
        self.roots, self.finished, self.largest = set(), 0.0, 0

    def start(self, command, **options):
        words = [str(word) for word in command]
        if self.group:
            words = ["/bin/sh", "-c", 'echo 0 >"$0" && exec "$@"', str(self.group / "cgroup.procs"), *words]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, **options)
        self.roots.add(process.pid)
        return process

    def reap(self, process):
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.roots.discard(process.pid)
        self.finished += usage.ru_utime + usage.ru_stime
        self.largest = usage.ru_maxrss * 1024
        return process.returncode

    def processes(self):
        if self.group:
            return [int(line) for line in (self.group / "cgroup.procs").read_text().split()]
        found, waiting = [], list(self.roots)
        while waiting:
            pid = waiting.pop()
            with contextlib.suppress(OSError):
                waiting += map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
                found.append(pid)
        return found

    def cpu(self):
        if self.group:
            stat = dict(line.split() for line in (self.group / "cpu.stat").read_text().splitlines())
            return int(stat["usage_usec"]) / 1e6
        total = self.finished
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15])) / TICK
        return total

    def forget_peaks(self):
        for pid in self.processes():
            with contextlib.suppress(OSError):
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")

    def resident(self):
        """Bytes now: a lone process's own peak, of several the sum with shared pages counted once."""
        processes = self.processes()
        total = highest = 0
        for pid in processes:
            with contextlib.suppress(OSError, StopIteration, ValueError):
                lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
                highest = max(highest, next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")))
                if len(processes) > 1:
                    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                    total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return max(total, highest)


class Scale:
    """Where commands are weighed. One at a time."""

    def __init__(self, group, work, longest):
        """`longest`: seconds after which a command is ended, and with it all that its tool has running."""
        self.longest = longest
        self.sides = {name: Side(group / name if group else None) for name in ("server", "client")}
        self.log = work / "log"
        self.filesystem = None
        self.environment = {}

    def weigh(self, side, command, finish=None, allowed=(0,), environment=None, cwd="/"):
        """The Cost of a command of one side. finish() is part of it: it waits for what the command left to others."""
        self.filesystem.settle()
        for each in self.sides.values():
            each.forget_peaks()
        before, used, wire = {name: each.cpu() for name, each in self.sides.items()}, self.filesystem.used(), on_the_wire()
        with open(self.log, "wb") as log, Watch(self.sides) as watch:
            start = time.monotonic()
            process = self.sides[side].start(command, stdout=log, stderr=subprocess.STDOUT, env={**self.environment, **(environment or {})}, cwd=cwd)
            watch.doomed = start + self.longest
            status = self.sides[side].reap(process)
            watch.doomed = None
            returned = time.monotonic() - start
            if finish and status in allowed:
                finish(start + self.longest)
            seconds = time.monotonic() - start
        if status not in allowed and returned > self.longest:
            raise Failed(f"it was ended after {returned:.0f} s")
        if status not in allowed:
            raise Failed(f"{' '.join(map(str, command))}: exit status {status}\n{self.last_lines()}")
        sync = self.filesystem.sync()
        peaks = watch.peaks
        # What the kernel says is exact, but never below what this program had when it started the command.
        if self.sides[side].largest > own_peak():
            peaks[side] = max(peaks[side], self.sides[side].largest)
        now_used = self.filesystem.used()
        cpu = {name: each.cpu() - before[name] for name, each in self.sides.items()}
        peaks = {name: peak if name == side or cpu[name] > IDLE else 0 for name, peak in peaks.items()}
        return Cost(seconds, sync, cpu["server"], cpu["client"], peaks["server"], peaks["client"], on_the_wire() - wire,
                    now_used[0] - used[0], now_used[1] - used[1], returned)

    def last_lines(self):
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-15:])[-3000:].rstrip()

    def ask(self, command, environment=None, cwd="/"):
        """The output of a command that is not weighed."""
        try:
            return quiet(*command, env={**self.environment, **(environment or {})}, cwd=cwd)
        except Stop as stop:
            raise Failed(str(stop)) from None


class Watch(threading.Thread):
    """Looks at the memory of both sides until it is left, and ends a command that takes too long."""

    def __init__(self, sides):
        super().__init__()
        self.sides, self.doomed, self.over = sides, None, threading.Event()
        self.peaks = dict.fromkeys(sides, 0)

    def run(self):
        while not self.over.wait(EVERY):
            self.look()
            doomed = self.doomed
            if doomed and time.monotonic() > doomed:
                for pid in [pid for side in self.sides.values() for pid in side.processes()]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    def look(self):
        for name, side in self.sides.items():
            self.peaks[name] = max(self.peaks[name], side.resident())

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        self.look()


def own_peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def on_the_wire():
    """Bytes that went over loopback, both ways, with the headers: the namespace has no other traffic."""
    for line in open("/proc/net/dev"):
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[8])
    raise Stop("/proc/net/dev does not know lo")
