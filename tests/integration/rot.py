"""Damage done on purpose, as a disk does it: the bytes change and nothing else says so."""

import os


def flip(path, bit):
    """Flips one bit of a file and leaves its times as they were."""
    st = os.stat(path)
    descriptor = os.open(path, os.O_RDWR)
    try:
        byte = os.pread(descriptor, 1, bit // 8)[0]
        os.pwrite(descriptor, bytes([byte ^ 1 << bit % 8]), bit // 8)
    finally:
        os.close(descriptor)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def quietly(path, change):
    """Changes what is in a folder and leaves the folder's time as it was."""
    st = os.stat(path)
    change()
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
