"""The tests' own libraries that stand before the C library's functions: preload/NAME.c."""

import mmap
import pathlib
import struct
import subprocess


def library(lab, name):
    """Made from its source once in a Lab."""
    made = lab.folder / "bin" / f"{name}.so"
    if not made.exists():
        source = pathlib.Path(__file__).parent / "preload" / f"{name}.c"
        draft = made.with_suffix(".new")
        subprocess.run(["gcc", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", draft, source], check=True)
        draft.rename(made)
    return made


class Memory:
    """struct State of no-memory.c, shared with the programs that run with `environment`."""

    size = 4096

    def __init__(self, lab, path):
        path.write_bytes(bytes(self.size))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self.state = mmap.mmap(file.fileno(), self.size)
        self.environment = {"LD_PRELOAD": str(library(lab, "no-memory")), "NO_MEMORY_STATE": str(path)}

    def arm(self, at, last=0):
        """The counts begin anew."""
        self.state[:self.size] = bytes(self.size)
        self.state[8:24] = struct.pack("<QQ", at, last)

    @property
    def count(self):
        return struct.unpack_from("<Q", self.state)[0]

    @property
    def failed(self):
        return struct.unpack_from("<Q", self.state, 24)[0]

    @property
    def in_library(self):
        return struct.unpack_from("<Q", self.state, 32)[0] > 0

    @property
    def where(self):
        return self.state[40:3040].split(b"\0")[0].decode()
