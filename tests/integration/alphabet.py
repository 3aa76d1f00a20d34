"""The alphabet and the entry encoding of syncropy-protocol(7), written from that page alone."""

import ctypes
import dataclasses

REGULAR, FOLDER, SYMLINK, BLOCK, CHARACTER, FIFO, SOCKET = range(1, 8)
RACY, UNSTABLE, UNREAD, HAS_DIGEST = 1, 2, 4, 128


class Malformed(Exception):
    pass


class Writer:
    def __init__(self):
        self.bytes = bytearray()

    def byte(self, value):
        self.bytes.append(value)
        return self

    def raw(self, value):
        self.bytes += value
        return self

    def unsigned(self, value):
        while value > 0x7F:
            self.bytes.append(value & 0x7F | 0x80)
            value >>= 7
        self.bytes.append(value)
        return self

    def signed(self, value):
        return self.unsigned(value << 1 if value >= 0 else (-value << 1) - 1)

    def string(self, value):
        value = value.encode() if isinstance(value, str) else value
        return self.unsigned(len(value)).raw(value)

    def time(self, nanoseconds):
        return self.signed(nanoseconds // 10**9).unsigned(nanoseconds % 10**9)

    def optional_digest(self, digest):
        return self.byte(0) if digest is None else self.byte(1).raw(digest)


class Reader:
    def __init__(self, data):
        self.data, self.at = bytes(data), 0

    def raw(self, count):
        if self.at + count > len(self.data):
            raise Malformed(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count:self.at]

    def byte(self):
        return self.raw(1)[0]

    def unsigned(self):
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 1 << 64 or (byte == 0 and shift):
                    raise Malformed("an integer with needless bytes, or of more than 64 bits")
                return value
            shift += 7

    def signed(self):
        value = self.unsigned()
        return value >> 1 if value % 2 == 0 else -(value + 1 >> 1)

    def string(self):
        return self.raw(self.unsigned())

    def time(self):
        seconds, nanoseconds = self.signed(), self.unsigned()
        if nanoseconds >= 10**9:
            raise Malformed("nanoseconds")
        return seconds * 10**9 + nanoseconds

    def optional_digest(self):
        return self.raw(32) if self.byte() else None

    @property
    def at_end(self):
        return self.at == len(self.data)

    def expect_end(self):
        if not self.at_end:
            raise Malformed(f"{len(self.data) - self.at} bytes too many")


@dataclasses.dataclass
class Stat:
    type: int = REGULAR
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 10**18  # nanoseconds
    ctime: int = 10**18
    inode: int = 1
    filesystem: int = 1
    links: int = 1
    major: int = 0
    minor: int = 0


@dataclasses.dataclass
class Details:
    owner: bytes = b""
    group: bytes = b""
    target: bytes = b""
    access_acl: list = dataclasses.field(default_factory=list)   # (kind, permissions, id, name)
    default_acl: list = dataclasses.field(default_factory=list)
    xattrs: list = dataclasses.field(default_factory=list)       # (name, value)
    sparse: bool = False
    extents: list = dataclasses.field(default_factory=list)      # (offset, length)


@dataclasses.dataclass
class Entry:
    path: bytes
    stat: Stat
    flags: int = 0
    details: Details = None
    digest: bytes = None


def sort_key(path):
    """Component by component: '/' below every other byte."""
    return path.split(b"/") if path else []


def put_path(out, path, previous):
    shared = 0
    while shared < min(len(path), len(previous)) and path[shared] == previous[shared]:
        shared += 1
    out.unsigned(shared).string(path[shared:])


def get_path(data, previous):
    shared = data.unsigned()
    if shared > len(previous):
        raise Malformed("a path that shares more than there is")
    return previous[:shared] + data.string()


def put_stat(out, stat):
    out.unsigned(stat.type + 8 * stat.mode).unsigned(stat.uid).unsigned(stat.gid)
    if stat.type in (REGULAR, SYMLINK):
        out.unsigned(stat.size)
    out.time(stat.mtime).time(stat.ctime).unsigned(stat.inode).unsigned(stat.filesystem).unsigned(stat.links)
    if stat.type in (BLOCK, CHARACTER):
        out.unsigned(stat.major).unsigned(stat.minor)


def get_stat(data):
    head = data.unsigned()
    stat = Stat(type=head % 8, mode=head // 8, uid=data.unsigned(), gid=data.unsigned())
    if stat.type in (REGULAR, SYMLINK):
        stat.size = data.unsigned()
    stat.mtime, stat.ctime = data.time(), data.time()
    stat.inode, stat.filesystem, stat.links = data.unsigned(), data.unsigned(), data.unsigned()
    if stat.type in (BLOCK, CHARACTER):
        stat.major, stat.minor = data.unsigned(), data.unsigned()
    return stat


def get_acl(data):
    acl = []
    for _ in range(data.unsigned()):
        head = data.byte()
        kind = head // 8
        acl.append((kind, head % 8, *((data.unsigned(), data.string()) if kind in (2, 4) else (None, b""))))
    return acl


def put_details(out, details, type):
    details = details or Details()
    out.byte((4 if details.xattrs else 0) + (8 if details.sparse else 0)).string(details.owner).string(details.group)
    if type == SYMLINK:
        out.string(details.target)
    if details.xattrs:
        out.unsigned(len(details.xattrs))
        for name, value in details.xattrs:
            out.string(name).string(value)
    if details.sparse:
        out.unsigned(len(details.extents))
        end = 0
        for offset, length in details.extents:
            out.unsigned(offset - end).unsigned(length)
            end = offset + length


def get_details(data, stat):
    bits = data.byte()
    details = Details(owner=data.string(), group=data.string())
    if stat.type == SYMLINK:
        details.target = data.string()
    if bits & 1:
        details.access_acl = get_acl(data)
    if bits & 2:
        details.default_acl = get_acl(data)
    if bits & 4:
        details.xattrs = [(data.string(), data.string()) for _ in range(data.unsigned())]
    if bits & 8:
        details.sparse = True
        end = 0
        for _ in range(data.unsigned()):
            offset = end + data.unsigned()
            end = offset + data.unsigned()
            details.extents.append((offset, end - offset))
    return details


def get_entry(data, previous):
    entry = Entry(path=get_path(data, previous), stat=get_stat(data), flags=data.byte())
    entry.details = get_details(data, entry.stat)
    if entry.flags & HAS_DIGEST:
        entry.flags -= HAS_DIGEST
        entry.digest = data.raw(32)
    return entry


# Python 3.11 has no Zstandard of its own; the library is there, since the programs are linked to it.
_zstd = ctypes.CDLL("libzstd.so.1")
for _name in ("ZSTD_compress", "ZSTD_decompress", "ZSTD_compressBound"):
    getattr(_zstd, _name).restype = ctypes.c_size_t
_zstd.ZSTD_getFrameContentSize.restype = ctypes.c_ulonglong


def unpack(data, size=None):
    if size is None:
        size = _zstd.ZSTD_getFrameContentSize(data, ctypes.c_size_t(len(data)))
    buffer = ctypes.create_string_buffer(max(size, 1))
    got = _zstd.ZSTD_decompress(buffer, ctypes.c_size_t(size), data, ctypes.c_size_t(len(data)))
    if _zstd.ZSTD_isError(ctypes.c_size_t(got)) or got != size:
        raise Malformed("not a Zstandard frame of the size it states")
    return buffer.raw[:size]


def pack(data, level=3):
    bound = _zstd.ZSTD_compressBound(ctypes.c_size_t(len(data)))
    buffer = ctypes.create_string_buffer(bound)
    got = _zstd.ZSTD_compress(buffer, ctypes.c_size_t(bound), data, ctypes.c_size_t(len(data)), level)
    if _zstd.ZSTD_isError(ctypes.c_size_t(got)):
        raise Malformed("cannot pack")
    return buffer.raw[:got]
