from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from model.catalog import PicturedProduct, Product, Rejects, read_products
from model.image import pictures
from model.image.pictures import PictureError, below, decode, has_picture, picture_of, thumbnail

RED, GREEN, BLUE = (220, 20, 30), (20, 200, 40), (10, 30, 210)


def quarters(size=(60, 80)):
    """Red and green above, blue and white below."""
    width, height = size
    image = Image.new("RGB", size, (255, 255, 255))
    image.paste(RED, (0, 0, width // 2, height // 2))
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    return image


def encoded(image, kind="PNG", **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(array):
    """The colours a quarter of the way in from each corner, row by row."""
    height, width = array.shape[:2]
    return [array[y, x] for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]


def looks_like_quarters(array, tolerance=14):
    for found, expected in zip(corners(array), (RED, GREEN, BLUE, (255, 255, 255)), strict=True):
        assert np.abs(found.astype(int) - expected).max() <= tolerance


def png(width, height, *, kind=2, depth=8, body=b""):
    """A PNG that says what it likes about itself."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "options"), [
    ("PNG", {}), ("JPEG", {"quality": 95}), ("JPEG", {"quality": 95, "progressive": True}),
    ("WEBP", {"lossless": True}), ("GIF", {}), ("MPO", {"quality": 95}),
])  # fmt: skip
@pytest.mark.parametrize("size", [(60, 80), (600, 800), (31, 41)])
def test_a_picture_of_any_kind_and_size_is_decoded(kind, options, size):
    found = decode(encoded(quarters(size), kind, **options), height=80, width=60)
    assert found.shape == (80, 60, 3)
    assert found.dtype == np.uint8
    looks_like_quarters(found)


def test_a_picture_of_the_right_size_is_not_resampled():
    image = Image.effect_noise((60, 80), 90).convert("RGB")
    assert np.array_equal(decode(encoded(image), height=80, width=60), np.asarray(image))


@pytest.mark.parametrize(
    ("size", "rows", "columns"), [((400, 100), (33, 48), (0, 60)), ((100, 400), (0, 80), (20, 40))]
)
def test_other_proportions_are_kept_and_the_rest_is_white(size, rows, columns):
    found = decode(encoded(Image.new("RGB", size, RED)), height=80, width=60)
    red = (np.abs(found.astype(int) - RED).max(axis=2) < 10).nonzero()
    assert (red[0].min(), red[0].max() + 1) == pytest.approx(rows, abs=1)
    assert (red[1].min(), red[1].max() + 1) == pytest.approx(columns, abs=1)
    assert (found[0, 0] == 255).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_the_same_colours(mode):
    grey = mode in ("L", "1", "LA")
    image = Image.new("L", (60, 80), 255) if grey else quarters()
    found = decode(encoded(image.convert(mode), "JPEG" if mode == "CMYK" else "PNG"), height=80, width=60)
    if grey:
        assert (found == 255).all()
    else:
        looks_like_quarters(found, tolerance=40 if mode in ("CMYK", "P") else 14)


def test_sixteen_bits_a_pixel_are_scaled_and_not_cut_off():
    levels = np.linspace(0, 65535, 60 * 80).reshape(80, 60).astype(np.uint16)
    found = decode(encoded(Image.fromarray(levels)), height=80, width=60)
    assert np.abs(found[..., 0].astype(int) - levels // 256).max() <= 1


def test_what_is_transparent_is_white_and_its_hidden_colour_does_not_bleed():
    image = Image.new("RGBA", (240, 320), (0, 0, 0, 0))
    image.paste((*RED, 255), (60, 80, 180, 240))
    found = decode(encoded(image), height=80, width=60)
    assert (found[2, 2] == 255).all()
    assert np.abs(found[40, 30].astype(int) - RED).max() <= 2
    edge = found[40].astype(int)
    assert (edge[:, 0] >= RED[0] - 12).all(), "a dark fringe: hidden black was mixed in"
    palette = Image.new("P", (60, 80), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert (decode(encoded(palette, transparency=1), height=80, width=60) == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(60, 80), (300, 400)])
def test_a_turned_photograph_is_upright(orientation, size):
    upright = quarters(size)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    looks_like_quarters(decode(encoded(stored, "JPEG", quality=95, exif=exif), height=80, width=60))


def test_what_exif_says_of_the_orientation_is_read_in_either_byte_order():
    for order in ("<", ">"):
        exif = Image.Exif()
        exif.endian = order
        exif[0x010F] = "A maker of cameras"
        exif[0x0112] = 6
        stored = quarters().transpose(Image.Transpose.ROTATE_90)
        looks_like_quarters(decode(encoded(stored, "JPEG", quality=95, exif=exif.tobytes()), height=80, width=60))


@given(exif=st.binary(max_size=80), order=st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b""]))
@settings(max_examples=200, deadline=None)
def test_any_exif_has_an_orientation(exif, order):
    assert 1 <= pictures._orientation(order + exif) <= 8


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow looks for the resolution there
def test_broken_exif_is_as_good_as_none():
    data = encoded(quarters(), "JPEG", quality=95)
    broken = b"Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\xff\xff" + b"\x01\x12\x00\x03" * 3
    marker = b"\xff\xe1" + struct.pack(">H", len(broken) + 2) + broken
    looks_like_quarters(decode(data[:2] + marker + data[2:], height=80, width=60))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_it_is_the_first_frame(kind):
    frames = [quarters(), Image.new("RGB", (60, 80), BLUE)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
    looks_like_quarters(decode(data, height=80, width=60), tolerance=30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_picture_cut_short_is_refused(kind, share):
    data = encoded(Image.effect_noise((300, 400), 90).convert("RGB"), kind)
    with pytest.raises(PictureError, match=r"broken or cut short|not a picture of a kind"):
        decode(data[: int(share * len(data))], height=80, width=60)


@pytest.mark.parametrize(("data", "message"), [
    (b"", "0 bytes"),
    (b"<svg xmlns='svg'/>", "not a picture of a kind that is read, which are JPEG, PNG, WEBP, GIF"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture of a kind"),
    (encoded(quarters(), "BMP"), "not a picture of a kind"),
    (encoded(quarters(), "TIFF"), "not a picture of a kind"),
    (png(0, 5), "empty|not a picture"),
    (png(5, 0), "empty|not a picture"),
    (png(5, 5, body=b"short"), "broken or cut short"),
    (png(30_000, 30_000), "more pixels|25,000,000"),
    (png(12_000, 12_000), "more pixels|25,000,000"),
    (png(5001, 5000), "5,001 × 5,000 pixels, more than the 25,000,000"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_what_is_no_picture_or_too_large_is_refused_with_a_reason(data, message):
    with pytest.raises(PictureError, match=message):
        decode(data, height=80, width=60)


def test_too_many_bytes_are_refused_before_anyone_looks_at_them(tmp_path, monkeypatch):
    with pytest.raises(PictureError, match="33,554,432 bytes"):
        decode(b"\xff\xd8" + b"\0" * pictures.MAX_BYTES, height=80, width=60)
    monkeypatch.setattr(pictures, "MAX_BYTES", 1000)
    (tmp_path / "large.png").write_bytes(encoded(Image.effect_noise((90, 90), 90)))
    data = picture_of(Product("p", "p", image="large.png"), tmp_path)
    assert len(data) == 1001
    with pytest.raises(PictureError, match="1,000 bytes"):
        decode(data, height=80, width=60)


def test_a_jpeg_may_be_larger_than_other_kinds_since_it_is_decoded_at_a_reduced_scale():
    data = encoded(quarters((6000, 5000)), "JPEG", quality=60)
    looks_like_quarters(decode(data, height=80, width=60)[15:65])
    with pytest.raises(PictureError, match="6,000 × 5,000"):
        decode(encoded(quarters((6000, 5000)), "PNG"), height=80, width=60)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(data=st.binary(max_size=300), place=st.integers(0, 2000), kind=st.sampled_from(["JPEG", "PNG", "GIF", "WEBP"]))
@example(data=b"\xff" * 40, place=20, kind="JPEG")
@settings(max_examples=150, deadline=None)
def test_damaged_bytes_are_decoded_or_refused_and_nothing_else(data, place, kind):
    whole = bytearray(encoded(quarters(), kind))
    place = min(place, len(whole) - 1)
    whole[place : place + len(data)] = data
    with suppress(PictureError):
        assert decode(bytes(whole), height=80, width=60).shape == (80, 60, 3)


MEASURE = """
import resource, sys
from model.image.pictures import decode
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(data, height=80, width=60)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("kind", "size", "megabytes"), [("JPEG", (4000, 3000), 16), ("PNG", (4900, 4900), 260)])
def test_memory_is_bounded(tmp_path, kind, size, megabytes):
    path = tmp_path / "picture"
    image = quarters(size)
    path.write_bytes(encoded(image.convert("RGBA") if kind == "PNG" else image, kind))
    done = subprocess.run([sys.executable, "-c", MEASURE, path], check=True, capture_output=True, text=True)
    assert int(done.stdout) < megabytes * 1024


def test_a_products_picture_is_in_the_catalogue_or_below_the_root(tmp_path):
    data = encoded(quarters())
    (tmp_path / "a.png").write_bytes(data)
    named, held = Product("p", "p", image="a.png"), PicturedProduct("p", "p", picture=data)
    assert picture_of(named, tmp_path) == picture_of(held, None) == data
    assert [has_picture(*one) for one in ((named, tmp_path), (named, None), (held, None))] == [True, False, True]
    assert not has_picture(Product("p", "p"), tmp_path)
    with pytest.raises(PictureError, match=r"'b\.png' is not a file below the image root"):
        picture_of(Product("p", "p", image="b.png"), tmp_path)
    with pytest.raises(PictureError, match="none is given"):
        picture_of(named, None)


def test_a_thumbnail_is_a_small_jpeg_on_white():
    data = thumbnail(encoded(quarters((400, 200))), side=80)
    image = Image.open(BytesIO(data))
    assert (image.format, image.size) == ("JPEG", (80, 80))
    assert min(image.convert("RGB").getpixel((40, 2))) > 240
    assert len(data) < 4000


def test_pictures_in_a_parquet_catalogue_are_read_with_their_products(tmp_path):
    data = encoded(quarters())
    table = pa.table({"product_id": ["a", "b"], "title": ["x", "y"], "image": [data, None], "raw": [b"1", b"2"]})
    pq.write_table(table, tmp_path / "c.parquet")
    first, second = read_products(tmp_path / "c.parquet", Rejects())
    assert (first.picture, first.image, dict(first.attributes)) == (data, "", {})
    assert (type(second), second.image) == (Product, "")


def test_a_column_of_structures_named_image_stays_in_the_file(tmp_path):
    held = [{"bytes": encoded(quarters()), "path": "a.png"}]
    pq.write_table(pa.table({"product_id": ["a"], "title": ["x"], "image": held}), tmp_path / "c.parquet")
    (product,) = read_products(tmp_path / "c.parquet", Rejects())
    assert (type(product), product.image) == (Product, "")


def test_a_rejected_row_is_listed_without_its_picture(tmp_path):
    table = pa.table({"product_id": ["a", "b"], "title": ["", "y"], "image": [b"x" * 5000, b"y"]})
    pq.write_table(table, tmp_path / "c.parquet")
    rejects = Rejects()
    assert len(list(read_products(tmp_path / "c.parquet", rejects))) == 1
    rejects.write(tmp_path / "rejects.jsonl")
    assert "5,000 bytes" in (tmp_path / "rejects.jsonl").read_text()


def test_only_files_below_the_root_are_found_links_followed(tmp_path):
    root = tmp_path / "shop"
    (root / "a").mkdir(parents=True)
    (root / "a" / "1.jpg").write_bytes(b"x")
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (root / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "in.jpg").symlink_to(root / "a" / "1.jpg")
    assert below(root, "a/1.jpg") == (root / "a" / "1.jpg").resolve()
    assert below(root, "in.jpg") == (root / "a" / "1.jpg").resolve()
    for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "out.jpg", "a/../../secret.jpg"):
        with pytest.raises(PictureError, match="not below the image root"):
            below(root, name)
    for name in ("nothing.jpg", "a", ""):
        with pytest.raises(PictureError, match="not a file below the image root"):
            below(root, name)
    with pytest.raises(PictureError, match="not a usable name"):
        below(root, "a\0b.jpg")
