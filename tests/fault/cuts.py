"""Cuts the power of the disk with the repository and the embedded catalog at random moments; then the oracle judges, and the next run must succeed.

Long form: tests/fault/run cuts. A share of it: test_power_cut.py.
"""

import os
import re
import time

import harness
from disks import Disk
from kills import KEEP, Killing


class Cutting(Killing):
    def __init__(self, lab, kind, seed):
        super().__init__(lab, seed, files=80, large=1 << 20)
        self.disk, self.boot = None, 0
        try:
            self.disk = Disk(kind, self.world.store, self.world.folder / "disk", harness.SERVER)
        except BaseException:
            self.world.close()
            raise
        self.boots()

    def __exit__(self, *exception):
        if os.path.ismount(self.world.store):
            self.disk.unmount()
        super().__exit__(*exception)

    def boots(self):
        self.boot += 1
        self.world.environment = {**self.world.environment, "SYNCROPY_BOOT_ID": f"{self.boot:032x}"}

    def change_much(self):
        self.change()
        for number in range(60):
            path = self.world.source / f"many/{self.chance.randrange(5)}/{self.chance.randrange(100)}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.chance.randbytes(self.chance.randrange(10_000)))


def at_random_moments(lab, kind, count, seed):
    """`count` cuts: three of four while a run goes on, the fourth right after one that said it succeeded."""
    with Cutting(lab, kind, seed) as cutting:
        world, chance, counts = cutting.world, cutting.chance, cutting.counts
        cutting.start_anew(0)
        lengths = []
        for _ in range(KEEP + 1):
            cutting.change_much()
            lengths.append(world.run().seconds)
        length = min(lengths[1:])
        for number in range(count):
            cutting.change_much()
            promised = set()
            if number % 4 == 3:
                cutting.run_well()
                cutting.disk.cut()
                counts["cut after the end"] += 1
            else:
                run = world.start("-c", world.configuration, "-H")
                time.sleep(length * chance.random())
                counts["cut in mid-run" if run.runs() else "cut after the end"] += 1
                cutting.disk.cut()
                run.wait(60)
                world.made.remove(run)
                counts["executed"] += 1
                promised = set(re.findall(r"a: (hour/\S+) is complete", run.text()))
            counts["cut"] += 1
            cutting.disk.recover()
            cutting.boots()
            if number % 4 == 3:
                cutting.oracle.at_rest()  # the catalog, too, was on the disk when the run ended
            cutting.look()
            for name in promised:
                assert (world.repository / "a" / name).exists(), f"the run said that {name} is complete, and then it was not there"
            cutting.change_much()
            cutting.run_well()
        assert counts["cut in mid-run"] > 0, f"no cut met a run: {counts}"
        return counts
