"""Every picture format of the table of bad input: its stated conversion, or its named cause."""

from __future__ import annotations

import os
import struct
import zlib
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from inspector.capture.sources import pictures
from inspector.capture.sources.headers import full_scale, stated_size
from inspector.capture.sources.pictures import PictureError, file_bytes, is_cut, read_picture
from inspector.errors import CaptureError


@pytest.fixture
def bgr(scene):
    return np.ascontiguousarray(scene[:64, :80])


def write(path, data):
    path.write_bytes(data)
    return path


def coded(suffix, picture, *options):
    ok, data = cv2.imencode(suffix, picture, list(options))
    assert ok
    return data.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".ppm"])
def test_lossless_formats_keep_every_pixel(tmp_path, bgr, suffix):
    got = read_picture(write(tmp_path / f"a{suffix}", coded(suffix, bgr)))
    assert got.dtype == np.uint8
    assert (got == bgr).all()


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".jp2"])
def test_lossy_formats(tmp_path, bgr, suffix):
    got = read_picture(write(tmp_path / f"a{suffix}", coded(suffix, bgr)))
    assert got.shape == bgr.shape
    assert np.abs(got.astype(int) - bgr.astype(int)).mean() < 12


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_divided_by_257(tmp_path, bgr, suffix):
    deep = bgr.astype(np.uint16) * 257
    deep[0, 0] = 65535
    deep[0, 1] = 128  # rounds to 0
    deep[0, 2] = 129  # rounds to 1
    got = read_picture(write(tmp_path / f"a{suffix}", coded(suffix, deep)))
    assert got[0, :3, 0].tolist() == [255, 0, 1]
    assert (got[1:] == bgr[1:]).all()


def test_grey_becomes_three_equal_channels(tmp_path, bgr):
    grey = bgr[:, :, 1]
    got = read_picture(write(tmp_path / "a.png", coded(".png", grey)))
    assert got.shape == (64, 80, 3)
    assert (got == grey[:, :, None]).all()


def test_grey_16_bits(tmp_path, bgr):
    grey = bgr[:, :, 1].astype(np.uint16) * 257
    got = read_picture(write(tmp_path / "a.png", coded(".png", grey)))
    assert (got == bgr[:, :, 1][:, :, None]).all()


def test_alpha_is_dropped(tmp_path, bgr):
    alpha = np.dstack([bgr, np.zeros(bgr.shape[:2], np.uint8)])
    got = read_picture(write(tmp_path / "a.png", coded(".png", alpha)))
    assert (got == bgr).all()


def test_1_by_1_passes_on(tmp_path):
    got = read_picture(write(tmp_path / "a.png", coded(".png", np.full((1, 1, 3), 7, np.uint8))))
    assert got.tolist() == [[[7, 7, 7]]]


def test_orientation_tag_is_ignored(tmp_path, bgr):
    data = coded(".jpg", bgr)
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    turned = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert read_picture(write(tmp_path / "a.jpg", turned)).shape == bgr.shape


def cmyk_jpeg():
    """16x16 baseline JPEG of four components, all of one value (ITU T.81; Adobe transform 0)."""
    table = bytes([1] * 64)
    quantise = b"\xff\xdb" + struct.pack(">HB", 67, 0) + table
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 20, 8, 16, 16, 4)
    frame += b"".join(bytes([i, 0x11, 0]) for i in (1, 2, 3, 4))
    # One code a table: DC category 7 is "0", AC end-of-block is "0".
    dc = b"\xff\xc4" + struct.pack(">HB", 20, 0x00) + bytes([1] + [0] * 15) + bytes([0])
    ac = b"\xff\xc4" + struct.pack(">HB", 20, 0x10) + bytes([1] + [0] * 15) + bytes([0])
    adobe = b"\xff\xee" + struct.pack(">H", 14) + b"Adobe" + struct.pack(">HHHB", 100, 0, 0, 0)
    scan = b"\xff\xda" + struct.pack(">HB", 14, 4)
    scan += b"".join(bytes([i, 0]) for i in (1, 2, 3, 4)) + bytes([0, 63, 0])
    # 4 blocks of 4 components, each DC difference 0 and end of block: 32 zero bits.
    return b"\xff\xd8" + adobe + quantise + frame + dc + ac + scan + bytes(4) + b"\xff\xd9"


def test_cmyk_jpeg_is_converted(tmp_path):
    got = read_picture(write(tmp_path / "a.jpg", cmyk_jpeg()))
    assert got.shape == (16, 16, 3)
    # Adobe stores ink inverted: 128 everywhere is half ink of each colour over half black.
    assert np.abs(got.astype(int) - 64).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp", ".jp2"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_truncated_files_are_damaged(tmp_path, bgr, suffix, share):
    data = coded(suffix, bgr)
    with pytest.raises(PictureError) as failure:
        read_picture(write(tmp_path / f"a{suffix}", data[: int(len(data) * share)]))
    assert failure.value.cause == "decode"
    assert f"a{suffix}" in str(failure.value)


def test_what_hangs_on_behind_a_jpeg_does_not_matter(tmp_path, bgr):
    data = coded(".jpg", bgr) + b"a film: \xff\xd9 \xff\xda and more"
    assert read_picture(write(tmp_path / "a.jpg", data)).shape == bgr.shape


def test_a_jpeg_cut_behind_its_thumbnail_is_truncated(tmp_path, bgr):
    thumbnail = b"Exif\0\0" + coded(".jpg", bgr[:16, :16])
    data = coded(".jpg", bgr)
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert read_picture(write(tmp_path / "a.jpg", data)).shape == bgr.shape
    with pytest.raises(PictureError, match="truncated"):
        read_picture(write(tmp_path / "b.jpg", data[:-50]))


def test_jpeg_damaged_inside_is_noticed(tmp_path, scene):
    data = bytearray(coded(".jpg", scene, cv2.IMWRITE_JPEG_QUALITY, 92))
    middle = len(data) // 2
    data[middle : middle + 2000] = (
        np.random.default_rng(1).integers(0, 255, 2000, np.uint8).tobytes()
    )
    with pytest.raises(PictureError, match="damaged inside"):
        read_picture(write(tmp_path / "a.jpg", bytes(data)))


@pytest.mark.parametrize(
    "options",
    [
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 4],
        [cv2.IMWRITE_JPEG_QUALITY, 3],
        [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440],
        [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
    ],
)
def test_whole_jpegs_of_every_kind_pass(tmp_path, scene, options):
    for picture in (scene, scene[:37, :53], scene[:, :, 0]):
        read_picture(write(tmp_path / "a.jpg", coded(".jpg", picture, *options)))


def test_damaged_png_is_noticed(tmp_path, bgr):
    data = bytearray(coded(".png", bgr))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(PictureError):
        read_picture(write(tmp_path / "a.png", bytes(data)))


@pytest.mark.parametrize("data", [b"", b"not a picture", bytes(1000), b"\xff\xd8\xff\xe0 no"])
def test_what_is_no_picture_is_damaged(tmp_path, data):
    with pytest.raises(CaptureError) as failure:
        read_picture(write(tmp_path / "a.jpg", data))
    assert failure.value.cause == "decode"


def test_missing_file(tmp_path):
    with pytest.raises(PictureError, match=r"a\.png cannot be read: No such file"):
        read_picture(tmp_path / "a.png")


def test_float_pictures_are_refused(tmp_path, bgr):
    data = coded(".tif", bgr.astype(np.float32) / 255)
    with pytest.raises(PictureError, match="float32, expected 8 or 16 bits"):
        read_picture(write(tmp_path / "a.tif", data))


def png_of_zeros(height, width):
    """A valid grey PNG that compresses to almost nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * height), 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def test_100_megapixels_are_too_large(tmp_path):
    path = write(tmp_path / "a.png", png_of_zeros(10_000, 10_000))
    with pytest.raises(PictureError, match=r"100\.0 megapixels") as failure:
        read_picture(path, most_pixels=16_000_000)
    assert failure.value.cause == "too_large"


def kinds_of(bgr):
    """The picture as a file of every kind, by its name."""
    for suffix in (".png", ".jpg", ".bmp", ".tif", ".webp", ".jp2", ".avif", ".ppm"):
        yield suffix, coded(suffix, bgr)
    yield "lossless.webp", coded(".webp", bgr, cv2.IMWRITE_WEBP_QUALITY, 101)
    alpha = np.dstack([bgr, bgr[:, :, 0]])
    yield "alpha.webp", coded(".webp", alpha)


def test_size_is_read_from_the_header(bgr):
    wrong = {name: stated_size(data) for name, data in kinds_of(bgr)}
    assert wrong == dict.fromkeys(wrong, (64, 80))


def test_a_header_that_breaks_off_states_no_size(bgr):
    for name, data in kinds_of(bgr):
        for end in range(40):
            assert stated_size(data[:end]) in {None, (64, 80)}, (name, end)


@pytest.mark.parametrize(
    "data",
    [
        b"P5 # a comment\n 40000 # another\n 30000 255\n",
        b"II*\0\x08\0\0\0\2\0\0\1\4\0\1\0\0\0\x40\x9c\0\0\1\1\4\0\1\0\0\0\x30\x75\0\0",
        b"MM\0*\0\0\0\x08\0\2\1\0\0\3\0\0\0\1\x9c\x40\0\0\1\1\0\3\0\0\0\1\x75\x30\0\0",
    ],
)
def test_a_picture_that_would_fill_the_memory_is_not_decoded(tmp_path, monkeypatch, data):
    monkeypatch.setattr("cv2.imdecode", None)
    with pytest.raises(PictureError, match=r"1200\.0 megapixels \(40000x30000\)") as caught:
        read_picture(write(tmp_path / "a.tif", data))
    assert caught.value.cause == "too_large"


def test_several_pictures_in_one_file_are_refused(tmp_path, bgr):
    path = tmp_path / "a.tif"
    assert cv2.imwritemulti(str(path), [bgr, bgr])
    with pytest.raises(PictureError, match="several pictures"):
        read_picture(path)


def test_animated_gif_is_refused(tmp_path):
    header = b"GIF89a" + struct.pack("<HHBBB", 2, 2, 0x80, 0, 0) + bytes([0, 0, 0, 255, 255, 255])
    image = b"," + struct.pack("<HHHHB", 0, 0, 2, 2, 0) + b"\x02\x03\x84\x51\x05\x00"
    control = b"!\xf9\x04\x00\x0a\x00\x00\x00"
    path = write(tmp_path / "a.gif", header + (control + image) * 2 + b";")
    with pytest.raises(PictureError):
        read_picture(path)


def grey_anymap(kind, values, most):
    """A portable greymap, of binary numbers (P5) or written out (P2)."""
    head = b"%s\n%d %d\n%d\n" % (kind, values.shape[1], values.shape[0], most)
    if kind == b"P2":
        return head + b" ".join(b"%d" % value for value in values.ravel()) + b"\n"
    return head + values.astype(">u2" if most > 255 else np.uint8).tobytes()


def grey_jp2(values, depth):
    """A lossless JPEG 2000 whose numbers have `depth` bits."""
    context = av.CodecContext.create("jpeg2000", "w")
    context.height, context.width = values.shape
    context.pix_fmt, context.time_base = f"gray{depth}le", Fraction(1, 25)
    context.options = {"pred": "dwt53"}
    frame = av.VideoFrame.from_ndarray(values.astype(np.uint16), format=context.pix_fmt)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


@pytest.mark.parametrize("kind", [b"P5", b"P2"])
@pytest.mark.parametrize("most", [100, 255, 1000, 1023, 4095, 16383, 65535])
def test_the_largest_value_of_an_anymap_is_white(tmp_path, kind, most):
    values = np.arange(64 * 1024).reshape(64, 1024) % (most + 1)
    values[0, :2] = 0, most
    got = read_picture(write(tmp_path / "a.pgm", grey_anymap(kind, values, most)))
    assert got[0, :2, 0].tolist() == [0, 255]
    off = np.abs(got[:, :, 0].astype(int) * most - values.astype(int) * 255)
    nearest = most if (kind, most) == (b"P2", 100) else most / 2  # OpenCV cuts its fraction off
    assert off.max() <= nearest


def test_colours_of_an_anymap_have_its_scale(tmp_path):
    data = b"P6\n# of 12 bits\n2 1\n4095\n" + np.array([0, 2048, 4095] * 2, ">u2").tobytes()
    assert read_picture(write(tmp_path / "a.ppm", data)).tolist() == [[[255, 128, 0]] * 2]


@pytest.mark.parametrize("depth", [10, 12, 16])
@pytest.mark.parametrize("boxed", [True, False])
def test_the_depth_of_a_jpeg_2000_tells_what_is_white(tmp_path, bgr, depth, boxed):
    most = (1 << depth) - 1
    grey = bgr[:, :, 1]
    data = grey_jp2(np.rint(grey.astype(float) * most / 255), depth)
    data = data if boxed else data[data.find(b"\xff\x4f\xff\x51") :]
    got = read_picture(write(tmp_path / "a.jp2", data))[:, :, 0]
    assert np.abs(got.astype(int) - grey.astype(int)).max() <= 1


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_the_depth_of_an_avif_tells_what_is_white(tmp_path, bgr, depth):
    most = (1 << depth) - 1
    deep = np.rint(bgr.astype(float) * most / 255).astype(np.uint16 if depth > 8 else np.uint8)
    best = (cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100)
    got = read_picture(write(tmp_path / "a.avif", coded(".avif", deep, *best)))
    assert np.abs(got.astype(int) - bgr.astype(int)).mean() < 2


def test_what_does_not_tell_its_scale_is_refused(tmp_path, bgr):
    data = bytearray(coded(".jp2", bgr.astype(np.uint16) * 257))
    data[data.find(b"\xff\x4f\xff\x51") + 42] = 11  # the first of three colours has 12 bits
    with pytest.raises(
        PictureError, match=r"a\.jp2 .* does not tell one full scale .* 8 or 16 bits"
    ):
        read_picture(write(tmp_path / "a.jp2", bytes(data)))
    deep = coded(".avif", bgr.astype(np.uint16), cv2.IMWRITE_AVIF_DEPTH, 10)
    for data in (deep.replace(b"av1C", b"av2C"), deep[:20], b"P5 2 2", b"no known format"):
        assert full_scale(data, 65535) is None


def test_a_header_cannot_keep_its_reader_busy():
    """One that can be read in two ways at each of many places takes for ever to be refused."""
    hostile = b"P5 " + b"# " * 1000 + b"no number"
    assert stated_size(hostile) is None
    assert full_scale(hostile, 255) is None


def bitmap_of_os2(bgr):
    """A BMP with a second header of 12 bytes; its width needs no padding."""
    height, width = bgr.shape[:2]
    pixels = bgr[::-1].tobytes()
    head = struct.pack("<IHHI", 26 + len(pixels), 0, 0, 26)
    return b"BM" + head + struct.pack("<IHHHH", 12, width, height, 1, 24) + pixels


def test_a_bitmap_of_os2(tmp_path, bgr):
    data = bitmap_of_os2(bgr)
    assert stated_size(data) == (64, 80)
    assert (read_picture(write(tmp_path / "a.bmp", data)) == bgr).all()


def tiff(order, grey, compression=1, strip_bytes=None, rows=5):
    """A grey TIFF in strips of some rows whose directory comes first, as some writers have it."""
    height, width = grey.shape
    strips = [grey[at : at + rows].tobytes() for at in range(0, height, rows)]
    first = 10 + 12 * 9 + 4
    tables = first + 8 * len(strips)
    places = np.cumsum([tables, *map(len, strips)])[:-1].tolist()
    lengths = strip_bytes or [len(strip) for strip in strips]
    at = (first, first + 4 * len(strips)) if len(strips) > 1 else (places[0], lengths[0])
    fields = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 273: at[0], 277: 1,
              278: rows, 279: at[1]}  # fmt: skip
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(fields))
    for tag, value in fields.items():
        count = len(strips) if tag in {273, 279} else 1
        data += struct.pack(order + "HHII", tag, 4, count, value)
    data += struct.pack(order + "I", 0)
    return data + struct.pack(f"{order}{2 * len(strips)}I", *places, *lengths) + b"".join(strips)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_that_lacks_rows_is_cut(tmp_path, bgr, order):
    grey = np.ascontiguousarray(bgr[:, :, 0])
    whole = tiff(order, grey)
    assert (read_picture(write(tmp_path / "a.tif", whole))[:, :, 0] == grey).all()
    assert not is_cut(whole)
    assert all(is_cut(whole[:end]) for end in range(1, len(whole)))


def test_a_tiff_whose_strip_is_said_to_be_longer_than_the_file_is_whole(tmp_path, bgr):
    grey = np.ascontiguousarray(bgr[:, :, 0])
    data = tiff("<", grey[:5], strip_bytes=[5000], rows=5)
    assert (read_picture(write(tmp_path / "a.tif", data))[:, :, 0] == grey[:5]).all()


def test_of_a_packed_tiff_only_its_decoder_tells_the_length(bgr):
    assert not is_cut(tiff("<", np.ascontiguousarray(bgr[:, :, 0]), compression=5)[:-100])


@pytest.mark.parametrize("kind", [b"P4", b"P5", b"P6"])
@pytest.mark.parametrize("most", [255, 4095])
def test_an_anymap_that_lacks_values_is_cut(kind, most):
    if kind == b"P4":
        head, row = b"P4\n# a bitmap\n19 7\n", 3
    else:
        head = b"%s\n19 7\n# with its scale\n%d\n" % (kind, most)
        row = 19 * (3 if kind == b"P6" else 1) * (2 if most > 255 else 1)
    whole = head + bytes(7 * row)
    assert not is_cut(whole)
    assert not is_cut(whole + b"another picture behind it")
    assert all(is_cut(whole[:end]) for end in range(len(head), len(whole)))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, bgr, monkeypatch):
    path = write(tmp_path / "a.png", coded(".png", bgr))
    asked = []

    def written_between(descriptor):
        asked.append(descriptor)
        if len(asked) == 2:
            with path.open("ab") as file:
                file.write(b"more")
        return fstat(descriptor)

    fstat = os.fstat
    monkeypatch.setattr(pictures.os, "fstat", written_between)
    with pytest.raises(PictureError, match=r"a\.png changed while it was read"):
        file_bytes(path)


def test_every_16_bit_value_is_divided_and_rounded(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = read_picture(write(tmp_path / "a.png", coded(".png", values)))
    assert (got[:, :, 0] == (values.astype(np.uint32) + 128) // 257).all()


def test_a_file_larger_than_any_picture_is_not_read(tmp_path):
    path = write(tmp_path / "a.png", b"")
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: takes no room, and reading it would take all memory
    with pytest.raises(PictureError, match=r"a\.png has 1099\.5 GB; this is no picture") as caught:
        read_picture(path)
    assert caught.value.cause == "too_large"


@pytest.mark.parametrize("step", ["imdecode", "convertScaleAbs"])
def test_too_little_memory_is_a_fact_of_the_picture(tmp_path, bgr, monkeypatch, step):
    path = write(tmp_path / "a.png", coded(".png", bgr.astype(np.uint16) * 257))

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(f"cv2.{step}", full)
    with pytest.raises(PictureError, match=r"a\.png"):
        read_picture(path)
