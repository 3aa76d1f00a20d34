"""Folder trees: looking at one whole, at any depth, and making the ones that the tests back up."""

import dataclasses
import hashlib
import os
import random
import socket
import stat
import struct
import subprocess

TYPES = {stat.S_IFREG: 1, stat.S_IFDIR: 2, stat.S_IFLNK: 3, stat.S_IFBLK: 4, stat.S_IFCHR: 5, stat.S_IFIFO: 6, stat.S_IFSOCK: 7}


@dataclasses.dataclass
class Node:
    kind: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    inode: int
    links: int
    device: int
    blocks: int
    target: bytes = None
    digest: bytes = None
    xattrs: dict = dataclasses.field(default_factory=dict)


def _look_at(folder, name):
    """One name in an open folder, without following it."""
    st = os.lstat(name, dir_fd=folder)
    node = Node(stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns, st.st_ino, st.st_nlink,
                st.st_rdev, st.st_blocks)
    if node.kind == stat.S_IFLNK:
        node.target = os.fsencode(os.readlink(name, dir_fd=folder))
    return node


def _xattrs(descriptor):
    try:
        return {name: os.getxattr(descriptor, name) for name in os.listxattr(descriptor)}
    except OSError:
        return {}


def _file(folder, name, node):
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        hasher = hashlib.sha256()
        while piece := os.read(descriptor, 1 << 20):
            hasher.update(piece)
        node.digest, node.xattrs = hasher.digest(), _xattrs(descriptor)
    finally:
        os.close(descriptor)


def scan(path):
    """path beneath `path` as bytes (itself: b"") → Node. Goes by descriptors: no path is too long for it."""
    found = {}

    def walk(parent, name, at):
        node = found[at] = _look_at(parent, name)
        if node.kind == stat.S_IFREG:
            _file(parent, name, node)
        elif node.kind == stat.S_IFDIR:
            descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            try:
                node.xattrs = _xattrs(descriptor)
                for child in os.listdir(descriptor):
                    child = os.fsencode(child)
                    walk(descriptor, child, at + b"/" + child if at else child)
            finally:
                os.close(descriptor)

    walk(None, os.fsencode(str(path)), b"")
    return found


def write(path, content=b"", mode=0o644, mtime=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    if mtime is not None:
        os.utime(path, ns=(mtime, mtime))
    return path


def filler(count, seed=0):
    """Bytes that nothing can pack, the same each time."""
    return random.Random(seed).randbytes(count)


def small(folder, files=40, seed=0):
    """A small tree of ordinary things: folders, files of many sizes, a symbolic link, a hard link."""
    chance = random.Random(seed)
    for number in range(files):
        write(folder / f"folder{number % 4}/sub{number % 3}/file{number:03}", filler(chance.choice((0, 10, 1_000, 5_000)), seed + number))
    write(folder / "top", "the top\n")
    (folder / "folder0/link").symlink_to("../top")
    os.link(folder / "top", folder / "folder1/hard")
    return folder


NEWLINE = b"two\nlines"
ESCAPE = b"red \x1b[31m alarm"
LATIN1 = b"caf\xe9"
LONGEST = b"n" * 255
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep


def features(folder):
    """Everything a Linux filesystem holds that one `diff` can look at; what only the entry model holds is in special/."""
    folder.mkdir(exist_ok=True)
    write(folder / "plain", "content\n", 0o640)
    write(folder / "empty")
    (folder / "empty-folder").mkdir()
    write(folder / "modes/setuid", "x", 0o4755)
    write(folder / "modes/setgid", "x", 0o2755)
    (folder / "modes/sticky").mkdir()
    (folder / "modes/sticky").chmod(0o1777)
    (folder / "modes/setgid-folder").mkdir()
    (folder / "modes/setgid-folder").chmod(0o2775)
    write(folder / "owners/nobody", "theirs")
    os.chown(folder / "owners/nobody", 65534, 65534)
    write(folder / "owners/number", "no name has this number")
    os.chown(folder / "owners/number", 123_456, 654_321)
    write(folder / "secret/unreadable", "mode 000\n", 0)
    (folder / "secret").chmod(0)

    links = folder / "links"
    links.mkdir()
    (links / "relative").symlink_to("../plain")
    (links / "absolute").symlink_to("/etc/hostname")
    (links / "dangling").symlink_to("nowhere at all")
    (links / "to-folder").symlink_to("../modes")
    os.symlink(b"t" * 4000, os.fsencode(links) + b"/long-target")
    os.lchown(links / "relative", 65534, 65534)
    os.utime(links / "relative", ns=(5 * 10**17 + 7, 5 * 10**17 + 7), follow_symlinks=False)
    write(links / "first", "one inode, three names")
    os.link(links / "first", links / "second")
    os.link(links / "first", folder / "third-of-first")

    for number, name in enumerate((NEWLINE, ESCAPE, LATIN1, LONGEST, b" blank ", b"-dash", b"back\\slash", b"\xff\xfe\x01", "schön".encode())):
        base = os.fsencode(folder) + b"/names"
        os.makedirs(base, exist_ok=True)
        with open(base + b"/" + name, "wb") as file:
            file.write(b"%d" % number)
        os.makedirs(base + b"/in/" + name)
        os.symlink(name, base + b"/in/" + name + b"/link")

    times = folder / "times"
    for name, when in (("nanoseconds", 1_234_567_890_123_456_789), ("before-1970", -86_400 * 10**9 + 1), ("far", 4_000_000_000 * 10**9 + 1)):
        write(times / name, name, mtime=when)
    write(times / "folder/in", "x")
    os.utime(times / "folder", ns=(10**18 + 1, 10**18 + 1))

    with open(folder / "sparse", "wb") as file:
        file.truncate(64 << 20)
        for offset in (1 << 20, 40 << 20):
            file.seek(offset)
            file.write(filler(64 << 10, offset))
    with open(folder / "one-hole", "wb") as file:
        file.truncate(10 << 20)
    write(folder / "large", filler((3 << 20) + 12_345, 1))
    write(folder / "just-inline", filler(65_536, 2))
    write(folder / "just-not-inline", filler(65_537, 3))

    deep = folder / "deep"
    for level in range(200):
        deep = deep / f"d{level % 10}"
    write(deep / "bottom", "200 deep\n")

    attributes(folder / "attributes")
    special(folder / "special")
    return folder


def attributes(folder):
    """ACLs, extended attributes, capabilities."""
    write(folder / "acl", "shared", 0o640)
    (folder / "acl-folder").mkdir()
    subprocess.run(["setfacl", "-m", "u:nobody:r,u:123456:rw,g:nogroup:r", folder / "acl"], check=True)
    subprocess.run(["setfacl", "-m", "u:nobody:rwx,d:u:nobody:rx,d:g::rx,d:o::-", folder / "acl-folder"], check=True)
    write(folder / "xattrs", "x")
    os.setxattr(folder / "xattrs", "user.comment", b"what people write")
    os.setxattr(folder / "xattrs", "user.bytes", bytes(range(256)))
    os.setxattr(folder / "xattrs", "user.empty", b"")
    os.setxattr(folder / "xattrs", "security.label-of-test", b"secret\0")
    write(folder / "many", "x")
    for number in range(20):
        os.setxattr(folder / "many", f"user.number{number:02}", b"v" * 60)
    os.setxattr(folder / "acl-folder", "user.on-a-folder", b"yes")
    write(folder / "ping", "a program", 0o755)
    os.setxattr(folder / "ping", "security.capability", CAPABILITY)


def special(folder):
    """What a stored tree never holds. Device nodes only where this machine lets them be made: the machine in a container does not."""
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "fifo").chmod(0o622)
    at = os.open(folder, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{at}/socket")  # bind() takes 108 bytes
    os.close(at)
    (folder / "socket").chmod(0o751)
    try:
        os.mknod(folder / "block", stat.S_IFBLK | 0o660, os.makedev(7, 199))
        os.mknod(folder / "character", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        return
    os.chown(folder / "block", 0, 6)


def chain(folder, depth, name):
    """Folders `depth` deep, each called `name`, a file at the bottom. For paths that no system call takes whole."""
    folder.mkdir(exist_ok=True)
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=at)
        deeper = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = deeper
    file = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=at)
    os.write(file, b"far down\n")
    os.close(file)
    os.close(at)
    return folder
