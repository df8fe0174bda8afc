"""Pictures as shops and shoppers send them, made arrays of one shape without trusting a byte of them.

What a picture claims is checked before it is decoded: its bytes, its kind and its pixels. A JPEG is decoded at an
eighth, a quarter or half of its scale where that is enough, so a photograph of 12 megapixels costs what a small one
does. The memory that one picture takes is that of the most pixels allowed, some 200 MB for the worst, and a few for the
usual.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from model.catalog import PicturedProduct

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from model.catalog import Product

MAX_BYTES = 32 << 20
MAX_PIXELS = 25_000_000
"""Of what is decoded whole; the most that a phone's photograph has, saved as PNG."""
MAX_JPEG_PIXELS = 100_000_000
"""Of a JPEG, which is decoded at a reduced scale."""
KINDS = ("JPEG", "PNG", "WEBP", "GIF")
"""What is read; every further decoder would be a further way in."""

_WHITE = (255, 255, 255)
_ORIENTATION, _SHORT = 0x0112, 3
_HEADER, _ENTRY = 8, 12
"""Bytes of EXIF's head, and of each entry of a directory."""
_TURNS = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
"""What undoes each EXIF orientation but the first, which is upright."""
_LYING = (5, 6, 7, 8)
# what decoders raise about bytes that are not what they claim to be
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, KeyError, IndexError, TypeError, OverflowError, struct.error)


class PictureError(ValueError):
    """Bytes that are no picture, or one that is not read; the message is one line and says what would be."""


def decode(data: bytes, *, height: int, width: int) -> NDArray[np.uint8]:
    """The picture in ``data`` as (height, width, 3) uint8: upright, in its own proportions, on white.

    Of an animation it is the first frame.

    Raises:
        PictureError: not a picture of a kind that is read, broken, empty, or larger than is allowed.
    """
    return np.asarray(open_picture(data, height=height, width=width))


def open_picture(data: bytes, *, height: int, width: int) -> Image.Image:
    """As :func:`decode`, as a picture of Pillow's in RGB and of exactly ``width`` × ``height``."""
    picture = _opened(data)
    try:
        orientation = _orientation(picture.info.get("exif", b""))
        inner = _within(picture.size, (height, width) if orientation in _LYING else (width, height))
        # decoding at twice the size or more keeps what resizing needs; other kinds ignore it
        picture.draft("RGB", (2 * inner[0], 2 * inner[1]))
        _check_pixels(picture.size, MAX_PIXELS, "decoded")
        picture.load()
        small = _on_white(picture, inner)
    except PictureError:
        raise
    except _BROKEN as error:
        raise PictureError(f"the picture is broken or cut short: {_one_line(error)}") from error
    for turn in _TURNS.get(orientation, ()):
        small = small.transpose(turn)
    sheet = Image.new("RGB", (width, height), _WHITE)
    sheet.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
    return sheet


def has_picture(product: Product, root: Path | None) -> bool:
    """Whether the catalogue holds a product's picture, or names one below ``root``, if that is given."""
    return isinstance(product, PicturedProduct) or bool(product.image and root is not None)


def picture_of(product: Product, root: Path | None) -> bytes:
    """The picture of a product that has one: its bytes, or those of the file that it names below ``root``.

    Raises:
        PictureError: there is no such file below ``root``.
    """
    if isinstance(product, PicturedProduct):
        return product.picture
    if root is None:
        raise PictureError(f"picture {product.image!r} is to be looked for below an image root, and none is given")
    path = below(root, product.image)
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{path.name} cannot be read: {error.strerror}") from error


def thumbnail(data: bytes, *, side: int) -> bytes:
    """A JPEG of the picture in ``data`` that fits into ``side`` × ``side``, on white.

    Raises:
        PictureError: as :func:`decode`.
    """
    written = BytesIO()
    open_picture(data, height=side, width=side).save(written, "JPEG", quality=80)
    return written.getvalue()


def below(root: Path, name: str) -> Path:
    """The file ``name`` below ``root``, links followed.

    Raises:
        PictureError: it is not below ``root``, or no file.
    """
    try:
        top = root.resolve()
        path = (top / name).resolve()
        if not path.is_relative_to(top):
            raise PictureError(f"picture {name!r} is not below the image root")
        if not path.is_file():
            raise PictureError(f"picture {name!r} is not a file below the image root")
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a name with a zero byte
        if isinstance(error, PictureError):
            raise
        raise PictureError(f"picture {name!r} is not a usable name: {_one_line(error)}") from error
    return path


def _opened(data: bytes) -> Image.Image:
    """The picture in ``data``, its header read and its claims checked."""
    if len(data) > MAX_BYTES:
        raise PictureError(f"a picture may have {MAX_BYTES:,} bytes, and this one has more")
    if not data:
        raise PictureError("there is no picture: it has 0 bytes")
    try:
        picture = Image.open(BytesIO(data), formats=KINDS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"the picture has more pixels than the {MAX_PIXELS:,} that are allowed") from error
    except _BROKEN as error:
        raise PictureError(f"this is not a picture of a kind that is read, which are {', '.join(KINDS)}") from error
    if min(picture.size) < 1:
        raise PictureError(f"the picture is empty: {picture.width} × {picture.height} pixels")
    _check_pixels(picture.size, MAX_JPEG_PIXELS if isinstance(picture, JpegImageFile) else MAX_PIXELS, "given")
    return picture


def _check_pixels(size: tuple[int, int], most: int, when: str) -> None:
    if size[0] * size[1] > most:
        raise PictureError(
            f"the picture as {when} has {size[0]:,} × {size[1]:,} pixels, more than the {most:,} that are allowed"
        )


def _orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, that raw EXIF tells in its first directory; 1 where there is none or it is broken.

    Read here, as Pillow's reader follows every other tag as well, and warns of what it finds.
    """
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < _HEADER:
        return 1
    start = struct.unpack_from(f"{order}I", tiff, 4)[0]
    if start + 2 > len(tiff):
        return 1
    count = struct.unpack_from(f"{order}H", tiff, start)[0]
    for place in range(start + 2, min(start + 2 + count * _ENTRY, len(tiff) - _ENTRY + 1), _ENTRY):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, place)
        if tag == _ORIENTATION and kind == _SHORT:
            return value if value in _TURNS else 1
    return 1


def _within(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the proportions of ``size`` that fits into ``box``, at least one pixel each way."""
    scale = min(box[0] / size[0], box[1] / size[1])
    return max(1, min(box[0], round(size[0] * scale))), max(1, min(box[1], round(size[1] * scale)))


def _on_white(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """``picture`` in RGB and of ``size``; what is transparent is white."""
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 bits a pixel, which convert would cut off at 255
        picture = picture.convert("F").point(lambda value: value / 256.0).convert("L")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        layer = _resized(picture.convert("RGBA").convert("RGBa"), size).convert(
            "RGBA"
        )  # premultiplied: no fringe of hidden colours
        sheet = Image.new("RGB", size, _WHITE)
        sheet.paste(layer, mask=layer.getchannel("A"))
        return sheet
    return _resized(picture.convert("RGB"), size)


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
