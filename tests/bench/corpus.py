"""What is backed up, and what happens to it between two backups: the same at every call."""

import os
import pathlib
import random
import stat
import subprocess
import time
import zlib

from bench import Stop, quiet

USR_BYTES = 2 << 30
LARGE_BYTES = 2 << 30
STRANGER = 12_345  # nobody has this number
settling = 3  # seconds; what was changed two seconds ago is nobody's "unchanged"
CHUNK = 1 << 20


class Small:
    """Folders of 10 to 50 files three levels deep, sizes log-normal with a mean of 3.8 KiB, a few links."""

    name = "small"

    def __init__(self, files):
        self.files = files
        self.room, self.inodes = 2**31 + files * 120_000, 20_000 + files * 8

    def make(self, root):
        rng = random.Random(self.files)
        pool = rng.randbytes(1 << 20)
        made = number = 0
        while made < self.files:
            folder = root / f"part{number % 17}" / f"section{number % 301}" / f"folder{number}"
            folder.mkdir(parents=True)
            number += 1
            for index in range(min(rng.randint(10, 50), self.files - made)):
                length = min(int(rng.lognormvariate(7.4, 1.3)), 4 << 20)
                start = rng.randrange(len(pool))
                path = folder / f"{rng.choice(('note', 'Report', 'IMG_', 'lib', 'data-'))}{index:03}.{rng.choice(('txt', 'c', 'jpg', 'so', 'html'))}"
                with open(path, "wb", buffering=0) as file:
                    file.write((pool[start:] + pool * (length // len(pool) + 1))[:length])
                os.chmod(path, rng.choice((0o644, 0o644, 0o600, 0o755)))
                made += 1
            if number % 25 == 0:
                (folder / "latest").symlink_to(path.name)


class Usr:
    """A copy of /usr; where that has more than 2 GiB, a sample of its files, chosen by the checksum of their paths."""

    name = "usr"

    def __init__(self, most=USR_BYTES):
        self.most = most
        self.names, size = self.choose()
        self.room, self.inodes = 2**31 + size * 10 + len(self.names) * 50_000, 20_000 + len(self.names) * 8

    def choose(self):
        """(paths below /usr, bytes). All folders and links; the names of a file with several go together."""
        files, others, device = {}, [], os.lstat("/usr").st_dev
        for folder, folders, names in os.walk(b"/usr"):
            folders[:] = sorted(name for name in folders if os.lstat(os.path.join(folder, name)).st_dev == device)
            for name in sorted(names) + folders:
                path = os.path.join(folder, name)
                state = os.lstat(path)
                if stat.S_ISREG(state.st_mode):
                    files.setdefault(state.st_ino, (state.st_size, []))[1].append(path)
                elif stat.S_ISDIR(state.st_mode) or stat.S_ISLNK(state.st_mode):
                    others.append(path)
        chosen, total = others, 0
        for size, paths in sorted(files.values(), key=lambda file: zlib.crc32(min(file[1]))):
            if total + size <= self.most:
                chosen += paths
                total += size
        return sorted(os.path.relpath(path, b"/usr") for path in chosen), total

    def make(self, root):
        done = subprocess.run(["rsync", "-aHAX", "--from0", "--files-from=-", "/usr/", f"{root}/"], input=b"\0".join(self.names),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Stop(f"/usr could not be copied:\n{done.stdout.decode(errors='replace')[-2000:]}")


class Large:
    """One file that nothing compresses."""

    name = "large"

    def __init__(self, size=LARGE_BYTES):
        self.size = size
        self.room, self.inodes = 2**30 + size * 10, 20_000

    def make(self, root):
        rng = random.Random(self.size)
        with open(root / "large", "wb", buffering=0) as file:
            for start in range(0, self.size, CHUNK):
                file.write(rng.randbytes(min(CHUNK, self.size - start)))


def make(corpus, root):
    """Returns what describes it: files, entries, bytes."""
    root.mkdir(mode=0o755)
    corpus.make(root)
    rest(root)
    return describe(root)


def rest(root):
    quiet("sync", "-f", root)
    time.sleep(settling)


def describe(root):
    files = entries = size = 0
    for folder, folders, names in os.walk(root):
        entries += len(folders) + len(names)
        for name in names:
            state = os.lstat(os.path.join(folder, name))
            if stat.S_ISREG(state.st_mode):
                files, size = files + 1, size + state.st_size
    return {"files": files, "entries": entries, "bytes": size}


# --- What happens to it ---------------------------------------------------------------------------------------------------

def change(root):
    """One file in a hundred gets other bytes in its place, as many as it had; of a file of 64 MiB and more one MiB in a hundred."""
    paths = sorted(pathlib.Path(folder, name) for folder, _, names in os.walk(root) for name in names)
    paths = [path for path in paths if path.is_file() and not path.is_symlink() and path.stat().st_size > 0]
    chosen = paths[50::100] or paths[:1]
    rng = random.Random(len(paths))
    for path in chosen:
        size = path.stat().st_size
        with open(path, "r+b", buffering=0) as file:
            for start in range(0, size, 100 * CHUNK if size >= 64 * CHUNK else CHUNK):
                file.seek(start)
                file.write(rng.randbytes(min(CHUNK, size - start)))
    rest(root)


def chown(root):
    quiet("chown", "-hR", f"{STRANGER}:{STRANGER}", root)
    rest(root)


def rename(root):
    names = sorted(os.listdir(root))
    (root / "elsewhere").mkdir()
    for name in names:
        os.rename(root / name, root / "elsewhere" / name)
    rest(root)
