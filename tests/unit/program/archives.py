"""Archives to be unpacked in tests: honest ones, and all that people have thought of since."""

import gzip
import io
import os
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence

Zipped = tuple[str | zipfile.ZipInfo, bytes]
Tarred = tuple[tarfile.TarInfo, bytes | None]


def zipped(*files: Zipped) -> bytes:
    """Return a zip."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def special(name: str, mode: int) -> zipfile.ZipInfo:
    """Return a member of a zip with a Unix mode."""
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def tarred(members: Sequence[Tarred], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=form) as archive:
        for info, content in members:
            info.size = len(content or b"")
            archive.addfile(info, None if content is None else io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Return a member of a tar."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = link
    return info


def overlapping() -> bytes:
    """Return a zip of 42 kB whose 500 members share one compressed block and inflate to 2 GB together."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    content = bytes(4 << 20)
    packed = packer.compress(content) + packer.flush()
    sizes = (zlib.crc32(content), len(packed), len(content))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, 1, 0) + b"a" + packed
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, 3, 0, 0, 0, 0, 0, 0)
    directory = b"".join(entry + b"%03d" % index for index in range(500))
    return local + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 500, 500, len(directory), len(local), 0)


def raw_zip(name: bytes, content: bytes = b"", flags: int = 0, method: int = 0) -> bytes:
    """Return a zip of one stored member, of whose name nobody approved."""
    numbers = (zlib.crc32(content), len(content), len(content))
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, flags, method, 0, 0, *numbers, len(name), 0) + name + content
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, flags, method, 0, 0, *numbers, len(name), 0, 0, 0, 0, 0, 0) + name
    return local + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)


def quoting() -> bytes:
    """Return a zip of a stored member whose content is another member, both in the directory: neither header lies."""
    inner = raw_zip(b"b", b"content")
    inner_local = inner[: inner.index(b"PK\1\2")]
    outer = raw_zip(b"a", inner_local)
    at = outer.index(inner_local)
    first, second = outer[outer.rindex(b"PK\1\2") : -22], bytearray(inner[inner.index(b"PK\1\2") : -22])
    struct.pack_into("<L", second, 42, at)
    directory = first + second
    start = outer.rindex(b"PK\1\2")
    return outer[:start] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2, 2, len(directory), start, 0)


def lying() -> bytes:
    """Return a zip whose headers say 10 bytes where 80 MB come out."""
    archive = bytearray(zipped(("a", bytes(80 << 20))))
    struct.pack_into("<L", archive, archive.rfind(b"PK\1\2") + 24, 10)
    struct.pack_into("<L", archive, 22, 10)
    return bytes(archive)


def deflated_zeros(size: int) -> bytes:
    """Return zeros compressed without compressing them all: blocks that refer to nothing before them can be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(4 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size // (4 << 20)) + packer.flush()


def zip_bomb(size: int) -> bytes:
    """Return a zip of one file of zeros, with an honest directory but for the checksum."""
    packed = deflated_zeros(size)
    numbers = (0, len(packed), size)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, *numbers, 1, 0) + b"a" + packed
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, *numbers, 1, 0, 0, 0, 0, 0, 0) + b"a"
    return local + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)


def tar_bomb(size: int) -> bytes:
    """Return a compressed tar of one file of zeros; its end and its checksum are missing."""
    info = member("a")
    info.size = size
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    header = packer.compress(info.tobuf(tarfile.USTAR_FORMAT)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\2\3" + header + deflated_zeros(size) + bytes(8)


def many_members(count: int) -> bytes:
    """Return a compressed tar of empty files."""
    headers: list[bytes] = []
    for index in range(count):
        name = b"f%d" % index
        header = name.ljust(124, b"\0") + b"00000000000\0" + bytes(12) + b" " * 8 + b"0" + bytes(355)
        headers.append(header[:148] + b"%06o\0 " % sum(header) + header[156:])
    return gzip.compress(b"".join(headers) + bytes(1024), 1)


def with_comment(size: int) -> bytes:
    """Return a compressed tar with an extended header of some size."""
    info = member("a")
    info.pax_headers = {"comment": "c" * size}
    return tarred([(info, b"x")], "w:gz")


def nested() -> bytes:
    """Return zips in a zip, which are unpacked only once."""
    inner = zipped(("a", bytes(50 << 20)))
    return zipped(("n.zip", zipped(("m.zip", inner))))


CASES: dict[str, tuple[Callable[[], bytes], bool | None]] = {
    "plain zip": (lambda: zipped(("a.txt", b"hi"), ("d/b.txt", b"yo")), True),
    "plain tar": (
        lambda: tarred([(member("a"), b"hi"), (member("d", tarfile.DIRTYPE), None), (member("d/b"), b"x")]),
        True,
    ),
    "plain tar.gz": (lambda: tarred([(member("./a"), b"hi")], "w:gz"), True),
    "plain tar.xz": (lambda: tarred([(member("a"), b"hi")], "w:xz"), True),
    "zip ../": (lambda: zipped(("../evil", b"x")), False),
    "zip a/../../": (lambda: zipped(("a/../../evil", b"x")), False),
    "zip absolute": (lambda: zipped(("/tmp/evil", b"x")), False),
    "zip drive": (lambda: zipped(("C:\\evil", b"x")), False),
    "zip backslash": (lambda: zipped(("a\\..\\evil", b"x")), False),
    "zip NUL in a name": (lambda: zipped(("a\0b", b"x")), None),  # zipfile itself cuts such a name
    "zip newline in a name": (lambda: zipped(("a\nb", b"x")), False),
    "zip symlink": (lambda: zipped((special("l", stat.S_IFLNK | 0o777), b"/etc"), ("l/evil", b"x")), False),
    "zip device": (lambda: zipped((special("d", stat.S_IFCHR | 0o666), b"")), False),
    "zip twice": (lambda: zipped(("a", b"1"), ("a", b"2")), False),
    "zip twice but for case": (lambda: zipped(("a", b"1"), ("A", b"2")), False),
    "zip twice but for Unicode form": (lambda: zipped(("\u00e9", b"1"), ("e\u0301", b"2")), False),
    "zip file as directory": (lambda: zipped(("a", b"1"), ("a/b", b"2")), False),
    "zip bomb of 300 MB": (lambda: zip_bomb(300 << 20), False),
    "zip overlapping bomb of 2 GB": (overlapping, False),
    "zip lying about a size": (lying, False),
    "zip of 5,000 members": (lambda: zipped(*((f"f{index}", b"") for index in range(5000))), False),
    "zip in a zip in a zip": (nested, True),
    "zip deep": (lambda: zipped(("/".join("d" * 100), b"x")), False),
    "zip name of a device": (lambda: zipped(("con.txt", b"x")), False),
    "tar ../": (lambda: tarred([(member("../evil"), b"x")]), False),
    "tar absolute": (lambda: tarred([(member("/evil"), b"x")]), False),
    "tar symlink, then through it": (
        lambda: tarred([(member("l", tarfile.SYMTYPE, "/tmp"), None), (member("l/evil"), b"x")]),
        False,
    ),
    "tar hard link": (lambda: tarred([(member("h", tarfile.LNKTYPE, "/etc/passwd"), None)]), False),
    "tar pipe": (lambda: tarred([(member("f", tarfile.FIFOTYPE), None)]), False),
    "tar device": (lambda: tarred([(member("f", tarfile.CHRTYPE), None)]), False),
    "tar.gz bomb of 400 MB": (lambda: tar_bomb(400 << 20), False),
    "tar.gz of 20,000 members": (lambda: many_members(20_000), False),
    "tar.gz with a header of 30 MB": (lambda: with_comment(30 << 20), False),
    "zip cut off": (lambda: zipped(("a", b"hi" * 1000))[:-30], False),
    "tar.gz cut off": (lambda: tarred([(member("a"), os.urandom(50_000))], "w:gz")[:-2000], False),
    "random bytes": (lambda: os.urandom(4096), False),
    "nothing": (lambda: b"", False),
}
"""Name: how to make it, and whether it may be unpacked (None: either)."""
