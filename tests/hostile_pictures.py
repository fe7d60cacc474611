"""Damaged, odd and hostile pictures, as many as wanted, the same every time.

Whoever reads pictures must answer each with a picture or with one clear error. Some of them are
good pictures in rare forms; which ones is not said, since the answer to give is not to crash.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice

import numpy as np
from PIL import Image, ImageCms, features

PNG_START = b"\x89PNG\r\n\x1a\n"
SUFFIXES = ("jpg", "png", "webp", "gif", "tiff", "bmp", "avif", "jp2", "txt", "")


@dataclass(frozen=True)
class HostilePicture:
    """A file as someone might send it; `name` says what is wrong and may have a wrong suffix."""

    name: str
    data: bytes


def make_hostile_pictures(number: int = 1000, seed: int = 0) -> Iterator[HostilePicture]:
    """`number` pictures: every kind by hand once, then random damage to good files."""
    rng = random.Random(seed)
    good = list(make_good_files(seed))
    by_hand = chain(
        make_impostors(), make_bombs(), make_odd_sizes(), make_odd_colours(), make_odd_exif()
    )
    yield from islice(chain(by_hand, damage_files(good, rng)), number)


def make_good_files(seed: int = 0) -> Iterator[HostilePicture]:
    """A small picture in every format that Pillow can write here."""
    noise = np.random.default_rng(seed).integers(0, 255, (24, 40, 3), np.uint8)
    picture = Image.fromarray(noise).resize((80, 48))
    kinds = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"]
    if not features.check("avif"):
        kinds.remove("AVIF")
    if not features.check("jpg_2000"):
        kinds.remove("JPEG2000")
    for kind in kinds:
        yield HostilePicture(f"good.{kind.lower()}", save(picture, kind))
    frames = [picture.rotate(90 * turn) for turn in range(4)]
    for kind in ("GIF", "PNG", "WEBP"):
        data = save(picture, kind, save_all=True, append_images=frames)
        yield HostilePicture(f"animated.{kind.lower()}", data)
    yield HostilePicture("interlaced.jpg", save(picture, "JPEG", progressive=True))
    yield HostilePicture("packed.tiff", save(picture, "TIFF", compression="tiff_lzw"))


def damage_files(good: list[HostilePicture], rng: random.Random) -> Iterator[HostilePicture]:
    """Without end: a good file cut, flipped, overwritten, doubled or run together."""
    for number in count():
        file, damage = good[number % len(good)], DAMAGES[number // len(good) % len(DAMAGES)]
        data = damage(bytearray(file.data), rng)
        stem = file.name.partition(".")[0]
        name = f"{number}-{damage.__name__}-{stem}.{rng.choice(SUFFIXES)}"
        yield HostilePicture(name.rstrip("."), bytes(data))


def cut(data: bytearray, rng: random.Random) -> bytearray:
    """The file up to somewhere."""
    return data[: rng.randrange(len(data))]


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    """One bit to thirty turned, anywhere."""
    for _ in range(rng.randint(1, 30)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def spoil_head(data: bytearray, rng: random.Random) -> bytearray:
    """Random bytes where sizes and offsets stand."""
    for _ in range(rng.randint(1, 6)):
        data[rng.randrange(4, min(len(data), 64))] = rng.choice((0, 1, 127, 128, 255))
    return data


def drop_middle(data: bytearray, rng: random.Random) -> bytearray:
    """The file without a stretch of it."""
    start, end = sorted(rng.sample(range(len(data)), 2))
    return data[:start] + data[end:]


def overwrite(data: bytearray, rng: random.Random) -> bytearray:
    """A stretch of noise or of one value."""
    start, length = rng.randrange(len(data)), rng.randrange(1, 200)
    patch = rng.randbytes(length) if rng.random() < 0.5 else bytes([rng.randrange(256)]) * length
    data[start : start + length] = patch
    return data


def repeat_part(data: bytearray, rng: random.Random) -> bytearray:
    """A stretch many times over."""
    start, end = sorted(rng.sample(range(len(data)), 2))
    return data[:start] + data[start:end] * rng.randint(2, 20) + data[end:]


def put_before(data: bytearray, rng: random.Random) -> bytearray:
    """Something else first."""
    return bytearray(rng.choice((b"\xff\xd8\xff", b"GIF89a", PNG_START, b"\0" * 9))) + data


DAMAGES: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    cut, flip_bits, spoil_head, drop_middle, overwrite, repeat_part, put_before,
)  # fmt: skip


def make_impostors() -> Iterator[HostilePicture]:
    """Files that are no pictures, and beginnings of pictures with nothing after."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.png"), b"x" * 100)
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    heic = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(99)
    heads = [b"\xff\xd8\xff\xe0", PNG_START, b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBPVP8 "]
    for name, data in {
        "empty.jpg": b"", "zero.png": b"\0", "zeros.png": bytes(4096), "text.jpg": b"hello\n",
        "page.png": b"<!doctype html><script>alert(1)</script>", "vector.png": svg,
        "script.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "paper.png": b"%PDF-1.4\n1 0 obj\n<< >>\nendobj\n", "archive.png": zipped.getvalue(),
        "program.jpg": b"\x7fELF" + bytes(100), "phone.jpg": heic, "film.jpg": heic[:8] + b"isom",
        "../../etc/passwd.png": b"root", "long.ppm": b"P3 " + b"9" * 5000, "xv.ppm": b"P7 332\n",
    }.items():  # fmt: skip
        yield HostilePicture(name, data)
    for number, head in enumerate(heads):
        yield HostilePicture(f"head-{number}.jpg", head)
        yield HostilePicture(f"head-{number}-and-zeros.jpg", head + bytes(3000))


def make_bombs() -> Iterator[HostilePicture]:
    """Small files that ask for a great deal of memory or time."""
    for side in (30_000, 65_535, 2**31 - 1):
        yield HostilePicture(f"claims-{side}.png", png(side, side, b"\0" * 9))
    whole = zlib.compress(bytes((8000 // 8 + 1) * 8000), 1)
    yield HostilePicture("really-8000.png", png(8000, 8000, whole, depth=1, colour=0))
    plenty = zlib.compress(bytes(80_000_000), 1)
    text, profile = b"Comment\0\0" + plenty, b"icc\0\0" + plenty
    yield HostilePicture("text.png", png(4, 4, bytes(9), chunk(b"zTXt", text)))
    yield HostilePicture("profile.png", png(4, 4, bytes(9), chunk(b"iCCP", profile)))
    yield HostilePicture("rows.png", png(4, 4, plenty))
    many = b"".join(chunk(b"tEXt", b"a\0" + bytes(1000)) for _ in range(3000))
    yield HostilePicture("chunks.png", png(4, 4, zlib.compress(bytes(52)), many))
    screen = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\x01\x00\x00\x3b"
    yield HostilePicture("screen.gif", screen + frame)
    claim = struct.pack(">HHB", 65500, 65500, 3) + b"\1\x22\0\2\x11\1\3\x11\1"
    yield HostilePicture("claims.jpg", b"\xff\xd8\xff\xc0\0\x11\x08" + claim + b"\xff\xda")
    canvas = b"VP8X\x0a\0\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff"
    yield HostilePicture("canvas.webp", b"RIFF\x16\0\0\0WEBP" + canvas)
    for width in (-5, 0, 2**31 - 1):
        head = struct.pack("<IiiHHIIiiII", 40, width, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
        yield HostilePicture(f"wide{width}.bmp", b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + head)
    for size in ("99999999999 1", "60000 60000", "-4 4", "4"):
        yield HostilePicture(f"size {size}.ppm", f"P6 {size} 255\n".encode() + bytes(48))
    for tag in (256, 273, 278, 279):  # width, offsets, rows a strip, lengths
        yield HostilePicture(f"tag-{tag}.tiff", tiff({tag: 2**32 - 1}))
    yield HostilePicture("itself.tiff", tiff({}, next_ifd=8))


def make_odd_sizes() -> Iterator[HostilePicture]:
    """Pictures of one pixel, of one row, and of none."""
    for width, height in ((1, 1), (1, 4000), (4000, 1), (2, 3), (16_000, 2)):
        for kind in ("PNG", "JPEG", "GIF"):
            data = save(Image.new("RGB", (width, height), "red"), kind)
            yield HostilePicture(f"{width}x{height}.{kind.lower()}", data)
    yield HostilePicture("0x0.png", png(0, 0, zlib.compress(b"")))
    yield HostilePicture("0x4.png", png(0, 4, zlib.compress(bytes(4))))


def make_odd_colours() -> Iterator[HostilePicture]:
    """Every mode that a file can have, wrong palettes, wrong profiles."""
    red = Image.new("RGB", (20, 12), (200, 30, 40))
    for kind, modes in {
        "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16"),
        "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "JPEG": ("L", "CMYK", "RGB", "YCbCr"),
        "WEBP": ("RGB", "RGBA"), "GIF": ("1", "L", "P"), "BMP": ("1", "L", "P"),
    }.items():  # fmt: skip
        for mode in modes:
            deep = Image.fromarray(np.full((12, 20), 40_000, np.uint16))
            picture = deep if mode == "I;16" else to_mode(red, mode)
            name = f"{mode.replace(';', '-')}.{kind.lower()}"
            yield HostilePicture(name, save(picture, kind))
    strange = np.array([[np.nan, np.inf], [-np.inf, -1e30]], np.float32)
    yield HostilePicture("nan.tiff", save(Image.fromarray(strange), "TIFF"))
    clear = Image.new("RGBA", (20, 12), (9, 9, 9, 0))
    yield HostilePicture("clear.png", save(clear, "PNG"))
    yield HostilePicture("index.png", png(4, 4, zlib.compress(b"\0\xff\xff\xff\xff" * 4), colour=3))
    lab = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes())
    lab[24:36] = bytes(12)  # when it was made
    for name, profile in {
        "noise": b"\xff" * 500,
        "lab": bytes(lab),
        "cut": bytes(lab[:130]),
    }.items():
        yield HostilePicture(f"profile-{name}.jpg", save(red, "JPEG", icc_profile=profile))
        yield HostilePicture(f"profile-{name}.png", save(red, "PNG", icc_profile=profile))


def make_odd_exif() -> Iterator[HostilePicture]:
    """Orientations that are none, directories that point at themselves or nowhere, noise."""
    red = Image.new("RGB", (20, 12), "red")
    for kind in ("JPEG", "PNG", "WEBP"):
        for orientation in (0, 1, 3, 6, 8, 9, 255, 65535):
            entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
            yield exif_file(red, kind, f"orientation-{orientation}", ifd(entry))
        for name, body in {
            "text": ifd(struct.pack("<HHI", 0x0112, 2, 4) + b"six\0"),
            "far": ifd(struct.pack("<HHII", 0x0112, 3, 2**31, 2**31)),
            "loop": ifd(struct.pack("<HHII", 0x8769, 4, 1, 8)),
            "kind": ifd(struct.pack("<HHII", 0x0112, 99, 1, 6)),
            "count": b"II*\0\x08\0\0\0\xff\xff" + bytes(50), "start": b"II*\0\xff\xff\xff\xff",
            "noise": bytes(range(256)) * 8, "nothing": b"", "large": b"MM\0*" + bytes(60_000),
        }.items():  # fmt: skip
            yield exif_file(red, kind, name, body)


def exif_file(picture: Image.Image, kind: str, name: str, body: bytes) -> HostilePicture:
    """The picture with these bytes as its EXIF."""
    return HostilePicture(
        f"exif-{name}.{kind.lower()}", save(picture, kind, exif=b"Exif\0\0" + body)
    )


def save(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file of this kind."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def to_mode(picture: Image.Image, mode: str) -> Image.Image:
    """The picture in another mode; LAB, which has no plain conversion, in one colour."""
    if mode == "LAB":
        return Image.new("LAB", picture.size, (110, 190, 160))
    return picture.convert(mode)


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    width: int, height: int, pixels: bytes, between: bytes = b"", *, depth: int = 8, colour: int = 2
) -> bytes:
    """A PNG that claims a size and holds these compressed pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_START + head + between + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def tiff(changed: dict[int, int], next_ifd: int = 0) -> bytes:
    """A TIFF of 4 × 4 grey pixels with some tags changed."""
    tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 200, 277: 1, 278: 4, 279: 16} | changed
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return (ifd(entries, len(tags), next_ifd) + bytes(200))[:200] + bytes(16)


def ifd(entries: bytes, number: int = 1, next_ifd: int = 0) -> bytes:
    """A TIFF's head and its directory."""
    return b"II*\0\x08\0\0\0" + struct.pack("<H", number) + entries + struct.pack("<I", next_ifd)
