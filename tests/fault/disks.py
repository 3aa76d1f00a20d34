"""A disk of our own that loses power when told: what it was not made to keep is gone."""

import fcntl
import os
import struct
import subprocess
import time

SHUTDOWN, WITHOUT_LOG = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN; what the journal holds in memory is lost too
SIZE = 320 << 20                       # XFS takes no less than 300 MiB
PATIENCE = 120

# kind: what makes it, how it is mounted, what must find nothing wrong after a cut. XFS has its journal replayed by a mount.
KINDS = {
    "ext4": (["mkfs.ext4", "-q", "-m", "0"], "loop", ["e2fsck", "-p", "-f"]),
    "ext4 writeback": (["mkfs.ext4", "-q", "-m", "0"], "loop,data=writeback,noauto_da_alloc", ["e2fsck", "-p", "-f"]),
    "xfs": (["mkfs.xfs", "-q", "-f"], "loop", ["xfs_repair", "-n"]),
}


class Disk:
    """Mounted at `where` for `owner`, and kept in the file `image`. CalledProcessError where this machine has no loop devices or cannot make it."""

    def __init__(self, kind, where, image, owner):
        self.kind, self.where, self.image = kind, where, image
        self.make, self.options, self.check = KINDS[kind]
        with open(image, "wb") as file:
            file.truncate(SIZE)
        subprocess.run([*self.make, image], check=True, capture_output=True)
        self.mount()
        os.chown(where, owner, owner)

    def mount(self):
        subprocess.run(["mount", "-o", self.options, self.image, self.where], check=True, capture_output=True)

    def cut(self):
        folder = os.open(self.where, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", WITHOUT_LOG))
        os.close(folder)

    def unmount(self):
        deadline = time.monotonic() + PATIENCE
        while (done := subprocess.run(["umount", self.where], capture_output=True, text=True)).returncode != 0:
            assert time.monotonic() < deadline, f"the disk cannot be unmounted: {done.stderr}"
            time.sleep(0.02)
        # A mount namespace that began meanwhile (a machine test's) has the mount too: until it ends, a new mount would be the old one, without power.
        while subprocess.run(["losetup", "-j", self.image], capture_output=True, text=True, check=True).stdout:
            assert time.monotonic() < deadline, f"somebody else holds the mount of {self.image}"
            time.sleep(0.02)

    def recover(self):
        """Power is back: mounted again, and its own check finds nothing but what its journal mends."""
        self.unmount()
        if self.kind == "xfs":
            self.mount()
            self.unmount()
        done = subprocess.run([*self.check, self.image], capture_output=True, text=True)
        assert done.returncode < (1 if self.kind == "xfs" else 4), f"{self.kind} is damaged: {done.stdout}{done.stderr}"
        self.mount()
