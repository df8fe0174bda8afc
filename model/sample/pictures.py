"""Product pictures of the generated shop: flat drawings that tell kinds apart as photographs do.

A department has its backdrop, a type its outline, a subtype what is drawn on it, and a product its colour, size, place
and light. Drawn with Pillow's plain shapes, from the product's row and the shop's seed alone.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from model.sample.draws import Draws, steady
from model.sample.products import product_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from model.sample.products import Stock
    from model.sample.taxonomy import Subtype

SIZE = (96, 128)
"""Width and height of a picture."""
FOLDER = "images"
_PER_FOLDER = 1000
_PAINTS = {
    "Black": (34, 34, 38), "White": (236, 236, 232), "Gray": (140, 144, 148), "Silver": (188, 192, 198),
    "Red": (196, 44, 40), "Blue": (44, 92, 188), "Navy": (28, 40, 92), "Green": (48, 140, 72),
    "Yellow": (228, 196, 48), "Orange": (226, 128, 40), "Pink": (226, 140, 170), "Purple": (120, 68, 156),
    "Brown": (122, 84, 52), "Beige": (214, 198, 164),
}  # fmt: skip
_MARKS = ("bars", "dots", "ring", "cross", "grid")

Colour = tuple[int, int, int]


def name_of(row: int) -> str:
    """The picture of the product in a row, as the catalogue's ``image`` column has it."""
    return f"{FOLDER}/{row // _PER_FOLDER:03d}/{product_id(row)}.png"


def write_pictures(root: Path, items: Stock) -> Iterator[str]:
    """Write the picture of every product below ``root`` and give each name, in order."""
    for row in range(len(items)):
        name = name_of(row)
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(items, row))
        yield name


def picture(items: Stock, row: int) -> bytes:
    """The PNG of the product in a row."""
    kind = items.kind(row)
    draws = Draws(items.seed, f"picture/{row}")
    image = Image.new("RGB", SIZE, _backdrop(kind))
    draw = ImageDraw.Draw(image)
    width, height = SIZE
    reach = width * (0.34 + 0.06 * draws.uniform())
    centre = (width * (0.5 + 0.08 * (draws.uniform() - 0.5)), height * (0.5 + 0.08 * (draws.uniform() - 0.5)))
    colour = _paint(items, row, draws)
    outline = _outline(kind, centre, reach, tilt=0.3 * (draws.uniform() - 0.5))
    draw.polygon(outline, fill=colour, outline=_darker(colour))
    _mark(draw, kind, centre, reach, colour)
    file = BytesIO()
    image.save(file, "PNG", optimize=False)
    return file.getvalue()


def _backdrop(kind: Subtype) -> Colour:
    """Nearly white, a shade of its own for each department."""
    red, green, blue = (228 + int(28 * steady("backdrop", kind.department, channel)) for channel in "rgb")
    return red, green, blue


def _paint(items: Stock, row: int, draws: Draws) -> Colour:
    """The colour that the product says it has, or else one of its brand's, a little lighter or darker."""
    kind = items.kind(row)
    told = next((str(value) for attribute, value in items.specs(row) if attribute.key == "color"), "")
    own = [40 + int(176 * steady("paint", items.maker(row).name, kind.name, channel)) for channel in "rgb"]
    light = 1.0 + 0.16 * (draws.uniform() - 0.5)
    red, green, blue = (min(255, round(value * light)) for value in _PAINTS.get(told, own))
    return red, green, blue


def _outline(kind: Subtype, centre: tuple[float, float], reach: float, *, tilt: float) -> list[tuple[float, float]]:
    """The silhouette of a type: a closed curve of three waves."""
    names = kind.department, kind.type_name
    waves = [
        (2 + wave, 0.3 * steady("wave", *names, str(wave)), math.tau * steady("phase", *names, str(wave)))
        for wave in range(3)
    ]
    tall = 0.8 + 0.7 * steady("tall", *names)
    corners = []
    for step in range(72):
        angle = math.tau * step / 72
        radius = reach * (0.75 + sum(size * math.cos(count * angle + phase) / 2 for count, size, phase in waves))
        corners.append((
            centre[0] + radius * math.cos(angle + tilt),
            centre[1] + tall * radius * math.sin(angle + tilt),
        ))  # fmt: skip
    return corners


def _mark(draw: ImageDraw.ImageDraw, kind: Subtype, centre: tuple[float, float], reach: float, colour: Colour) -> None:
    """What is drawn on a subtype: one of a few marks, in a number of its own, lighter or darker than the product."""
    mark, count = _MARKS[kind.index % len(_MARKS)], 2 + kind.index // len(_MARKS) % 3
    ink = _darker(colour) if sum(colour) > 330 else (250, 250, 246)
    x, y = centre
    part = 0.7 * reach / count
    if mark == "ring":
        for ring in range(1, count + 1):
            draw.ellipse(_box(x, y, part * ring * 0.8), outline=ink, width=3)
    elif mark == "cross":
        draw.line((x - 0.6 * reach, y, x + 0.6 * reach, y), fill=ink, width=2 * count)
        draw.line((x, y - 0.6 * reach, x, y + 0.6 * reach), fill=ink, width=2 * count)
    else:
        places = [(2 * i - count + 1) * part * 0.8 for i in range(count)]
        for place in places:
            if mark in ("bars", "grid"):
                draw.line((x - 0.6 * reach, y + place, x + 0.6 * reach, y + place), fill=ink, width=4)
            if mark == "grid":
                draw.line((x + place, y - 0.6 * reach, x + place, y + 0.6 * reach), fill=ink, width=4)
            if mark == "dots":
                for other in places:
                    draw.ellipse(_box(x + place, y + other, part * 0.4), fill=ink)


def _box(x: float, y: float, reach: float) -> tuple[float, float, float, float]:
    return x - reach, y - reach, x + reach, y + reach


def _darker(colour: Colour) -> Colour:
    red, green, blue = (round(0.6 * value) for value in colour)
    return red, green, blue
