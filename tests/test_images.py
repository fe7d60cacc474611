"""Reading and writing pictures: every kind that works, every kind that is refused."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from PIL import Image, ImageCms

from facestudio.errors import (
    BadOption,
    BadOutput,
    MissingFile,
    NoSpace,
    NotAPicture,
    TooLarge,
)
from facestudio.images import (
    check_output,
    cover,
    decode_picture,
    pad_reflect,
    read_metadata,
    read_picture,
    write_bytes,
    write_picture,
)

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
RED_LEFT = np.zeros((8, 16, 3), np.uint8)
RED_LEFT[:, :8] = (250, 10, 10)
RED_LEFT[:, 8:] = (10, 10, 250)


def difference(a, b):
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# Reading what works


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "gif", "tiff", "bmp", "ppm"])
def test_common_files(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    Image.fromarray(RED_LEFT).save(path)
    image = read_picture(path)
    assert image.mode == "RGB"
    assert difference(image, RED_LEFT) < 12


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode_becomes_rgb(mode):
    grey = Image.fromarray(np.full((4, 6), 255, np.uint8))
    image = read_picture(grey.convert("RGB").convert(mode) if mode != "F" else grey.convert("F"))
    assert (image.mode, image.size) == ("RGB", (6, 4))
    assert difference(image, np.full((4, 6, 3), 255)) < 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_orientation_is_applied(tmp_path, gradient, orientation, kind):
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    upright = gradient(24, 16)
    stored = upright
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    stored.save(path, exif=exif)
    image = read_picture(path)
    assert image.size == (24, 16)
    assert difference(image, upright) < 12


def test_damaged_exif_does_not_matter(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(RED_LEFT).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_picture(path).size == (16, 8)


def test_cmyk_jpeg(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=100)
    pixel = np.asarray(read_picture(path)).mean((0, 1))
    assert pixel[0] > 200
    assert pixel[1] < 60


def test_sixteen_bits_are_scaled(tmp_path):
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for name in ("a.png", "a.tiff"):
        Image.fromarray(values).save(tmp_path / name)
        image = np.asarray(read_picture(tmp_path / name))
        assert np.abs(image[..., 0] - values / 257).max() <= 1


def test_sixteen_bit_colour_png(tmp_path):
    path = tmp_path / "a.png"
    rows = b"".join(b"\0" + struct.pack(">9H", *[65535, 0, 32768] * 3) for _ in range(2))

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 3, 2, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert np.asarray(read_picture(path))[0, 0].tolist() == [255, 0, 128]


def test_transparency_lies_on_white(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0, 3] = 255
    for name in ("a.png", "a.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        Image.fromarray(pixels).save(tmp_path / name, **options)
        image = np.asarray(read_picture(tmp_path / name))
        assert image[0, 0].tolist() == [0, 0, 0]
        assert image[1, 1].tolist() == [255, 255, 255]


def test_palette_with_a_transparent_colour(tmp_path):
    image = Image.fromarray(RED_LEFT).quantize(2)
    transparent = image.getpixel((15, 0))
    image.save(tmp_path / "a.png", transparency=transparent)
    pixels = np.asarray(read_picture(tmp_path / "a.png"))
    assert pixels[0, 15].tolist() == [255, 255, 255]
    assert pixels[0, 0, 0] > 200


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_first_frame_of_an_animation(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = tmp_path / f"a.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
    assert np.asarray(read_picture(path)).mean((0, 1))[0] > 200


def test_colour_profiles_are_applied_and_bad_ones_passed_over():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(RED_LEFT)
    for profile, tolerance in ((srgb, 2), (b"not a profile", 0)):
        image.info["icc_profile"] = profile
        assert difference(read_picture(image), RED_LEFT) <= tolerance


@given(
    st_numpy.arrays(
        st.sampled_from([np.uint8, np.uint16, np.bool_, np.float32, np.float64]),
        st.tuples(st.integers(1, 5), st.integers(1, 5))
        | st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 4])),
    )
)
def test_any_array_of_picture_shape(array):
    image = read_picture(array)
    assert image.mode == "RGB"
    assert image.size == (array.shape[1], array.shape[0])


def test_float_arrays_are_0_to_1():
    image = np.asarray(read_picture(np.array([[0.0, 0.5, 1.0]])))
    assert image[0, :, 0].tolist() == [0, 128, 255]


def test_a_pil_picture_stays_as_it_was(gradient):
    source = gradient(5, 4)
    image = read_picture(source)
    image.putpixel((0, 0), (9, 9, 9))
    assert source.getpixel((0, 0)) == (0, 0, 60)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_bytes_are_read_like_files(kind):
    image = decode_picture(encoded(Image.fromarray(RED_LEFT), kind), "a")
    assert image.mode == "RGB"
    assert difference(image, RED_LEFT) < 12


# Reading what is refused


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"\0\0\0\x18ftypheic"])
def test_bytes_that_are_no_picture(data):
    with pytest.raises(NotAPicture, match="upload 1") as caught:
        decode_picture(data, "upload 1")
    assert caught.value.file == "upload 1"
    assert ("HEIC" in caught.value.message) == data.endswith(b"heic")


def test_bytes_of_too_many_pixels():
    with pytest.raises(TooLarge):
        decode_picture(bomb(60_000), "a")
    with pytest.raises(TooLarge):
        decode_picture(encoded(Image.fromarray(RED_LEFT)), "a", max_pixels=9)


@pytest.mark.parametrize("name", ["none.jpg", "a\0b.jpg", "x" * 300, "https://a.org/b.jpg"])
def test_missing_file(tmp_path, name):
    with pytest.raises(MissingFile) as caught:
        read_picture(name if name.startswith("http") else str(tmp_path / name))
    assert caught.value.file


def test_a_folder_is_not_a_picture(tmp_path):
    with pytest.raises(NotAPicture, match="not a file"):
        read_picture(tmp_path)


def test_zero_bytes(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(NotAPicture, match=r"empty \(0 bytes\)"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    "content", [b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xff\xd8\xff", b"GIF89a"]
)
def test_not_pictures(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(NotAPicture) as caught:
        read_picture(path)
    assert caught.value.file == str(path)
    assert caught.value.hint


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_under_another_name_is_named(tmp_path, brand):
    path = tmp_path / "photo.jpg"
    path.write_bytes(struct.pack(">I", 24) + b"ftyp" + brand + b"\0\0\0\0" + b"mif1heic")
    with pytest.raises(NotAPicture, match="HEIC") as caught:
        read_picture(path)
    assert "JPEG" in caught.value.hint


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_truncated(tmp_path, rng, kind):
    noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8))
    data = encoded(noise, kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: len(data) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of a cut TIFF
        with pytest.raises(NotAPicture):
            read_picture(path)


def bomb(side):
    """A PNG that claims a size it does not hold."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    return start + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT\x35\xaf\x06\x1e"


@pytest.mark.parametrize("side", [8_000, 10_000, 60_000])
def test_bombs_are_refused_unread(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb(side))
    with pytest.raises(TooLarge, match=r"bomb\.png"):
        read_picture(path)


def test_the_limit_counts_for_every_source():
    with pytest.raises(TooLarge, match="at most 8 are read"):
        read_picture(np.zeros((3, 3), np.uint8), max_pixels=8)
    with pytest.raises(TooLarge):
        read_picture(Image.new("L", (3, 3)), max_pixels=8)
    assert read_picture(Image.new("L", (3, 3)), max_pixels=9).size == (3, 3)


@pytest.mark.parametrize(
    "source",
    [np.zeros(3), np.zeros((2, 2, 2)), np.zeros((0, 3, 3)), np.zeros((2, 2), complex), 7, None],
)
def test_other_things_are_refused(source):
    with pytest.raises(NotAPicture):
        read_picture(source)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
@pytest.mark.filterwarnings("ignore")
def test_damage_gives_a_picture_or_our_error(tmp_path, data):
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"]))
    content = bytearray(encoded(Image.fromarray(RED_LEFT), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    with contextlib.suppress(NotAPicture, TooLarge):
        assert read_picture(path, max_pixels=1_000_000).mode == "RGB"


# Writing


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.JPEG", "a.webp"])
def test_written_pictures_carry_their_settings(tmp_path, gradient, name):
    metadata = {"prompt": 'an "ink" drawing – 水', "seed": 3, "nested": {"alpha": [0.5, None]}}
    write_picture(gradient(32, 24), tmp_path / name, metadata)
    assert read_metadata(tmp_path / name) == metadata
    assert difference(read_picture(tmp_path / name), gradient(32, 24)) < 4
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_generated_pictures_say_so_in_iptcs_words(tmp_path, gradient, kind):
    write_picture(gradient(32, 24), tmp_path / f"a.{kind}", {"generated": True})
    with Image.open(tmp_path / f"a.{kind}") as image:
        (described,) = ElementTree.fromstring(image.info["xmp"]).iter(f"{RDF}Description")
    (value,) = (v for k, v in described.items() if k.endswith("}DigitalSourceType"))
    assert value.endswith("/trainedAlgorithmicMedia")
    write_picture(gradient(32, 24), tmp_path / f"b.{kind}", {"generated": False})
    with Image.open(tmp_path / f"b.{kind}") as image:
        assert "xmp" not in image.info


def test_no_metadata(tmp_path, gradient):
    for name in ("a.png", "a.jpg"):
        write_picture(gradient(4, 4), tmp_path / name)
        assert read_metadata(tmp_path / name) is None
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0holiday"
    gradient(4, 4).save(tmp_path / "b.jpg", exif=exif)
    assert read_metadata(tmp_path / "b.jpg") is None


def test_metadata_of_what_is_no_picture(tmp_path):
    with pytest.raises(MissingFile):
        read_metadata(tmp_path / "none.png")
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(NotAPicture):
        read_metadata(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.bmp", "a", "none/a.png"])
def test_unusable_outputs(tmp_path, gradient, name):
    with pytest.raises(BadOutput) as caught:
        write_picture(gradient(4, 4), tmp_path / name)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_folder_as_output(tmp_path, gradient):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(BadOutput, match="is a folder"):
        write_picture(gradient(4, 4), tmp_path / "a.png")
    with pytest.raises(BadOutput):
        write_bytes(tmp_path / "a.png", b"x")
    assert not list((tmp_path / "a.png").iterdir())
    assert os.listdir(tmp_path) == ["a.png"]


def test_what_the_format_cannot_hold(tmp_path, gradient):
    with pytest.raises(BadOutput, match="cannot write"):
        write_picture(gradient(4, 4), tmp_path / "a.jpg", {"long": "x" * 70_000})
    assert not list(tmp_path.iterdir())


def test_check_output(tmp_path):
    check_output(tmp_path)
    check_output(tmp_path / "a.safetensors")
    check_output(tmp_path / "a.png", [".png"])
    with pytest.raises(BadOutput, match=r"\.png"):
        check_output(tmp_path / "a.gif", [".png"])
    with pytest.raises(BadOutput, match="does not exist"):
        check_output(tmp_path / "none" / "a.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EACCES, BadOutput),
        (errno.EROFS, BadOutput),
    ],
)
def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch, code, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(error) as caught:
        write_bytes(path, b"new")
    assert caught.value.file == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_unwritable_folder(tmp_path, monkeypatch):
    def refuse(self, *_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadOutput, match="Permission denied"):
        check_output(tmp_path / "a.png")


# Shapes


@given(*[st.integers(1, 40)] * 4)
def test_cover_has_the_size_asked_for(width, height, new_width, new_height):
    image = Image.new("RGB", (width, height), (9, 8, 7))
    covered = cover(image, new_width, new_height)
    assert covered.size == (new_width, new_height)
    assert np.asarray(covered).reshape(-1, 3).max(0).tolist() == [9, 8, 7]


def test_cover_keeps_the_middle(gradient):
    middle = cover(gradient(256, 64), 64, 64)
    assert difference(middle, gradient(256, 64).crop((96, 0, 160, 64))) < 2
    with pytest.raises(BadOption):
        cover(gradient(4, 4), 0, 4)


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0, 3))
def test_padding_keeps_the_picture(width, height, fraction):
    array = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    padded, (x, y) = pad_reflect(Image.fromarray(array), fraction)
    assert padded.size == (width + 2 * x, height + 2 * y)
    assert (x, y) == (round(width * fraction), round(height * fraction))
    assert (np.asarray(padded)[y : y + height, x : x + width] == array).all()


def test_padding_resembles_the_edge(gradient):
    padded, (x, y) = pad_reflect(gradient(60, 60), 0.4)
    assert difference(padded.getpixel((x - 1, y + 30)), padded.getpixel((x, y + 30))) < 20
    with pytest.raises(BadOption):
        pad_reflect(gradient(4, 4), -0.1)
