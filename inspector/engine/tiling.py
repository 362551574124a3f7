"""The one tiling: where a frame's tiles lie, how they are cut, how their answers are joined.

Training, evaluation and the station all import this module, so that a network never meets
tiles in service that were chosen in another way than those it was trained and measured on.
Nothing here keeps state, reads a clock or needs more than NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Where = Literal["spread", "centre", "sharpest"]
Join = Literal["mean", "geometric", "worst"]

LEAST_IN_PRODUCT = 1e-6
"""`geometric` takes no probability for less, so that no tile alone rules a label out."""

_CANDIDATES_AN_AXIS = 4
"""`sharpest` weighs at most this many positions along each side of the picture."""


class TooSmallError(ValueError):
    """The picture is smaller than one tile in at least one direction, so it cannot be judged."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A square at native resolution: left edge, top edge and side, in pixels of the picture."""

    x: int
    y: int
    size: int


def tiles_of(
    height: int,
    width: int,
    *,
    size: int,
    count: int,
    where: Where,
    picture: NDArray[np.uint8] | None = None,
) -> tuple[Tile, ...]:
    """Choose the tiles of a picture.

    The choice depends on the arguments alone, so that the same frame always gives the same
    tiles.

    Args:
        height: Rows of the picture.
        width: Columns of the picture.
        size: Side of a tile in pixels.
        count: How many tiles.
        where: `spread` divides the picture into cells and takes the middle of each; `centre` lays
            the tiles side by side around the middle; `sharpest` takes those of a regular lattice
            with the most detail, in reading order.
        picture: (height, width, 3) uint8; needed for `sharpest` only.

    Returns:
        `count` tiles, all inside the picture. They overlap, and may coincide, where the
        picture holds fewer than `count` separate ones.

    Raises:
        TooSmallError: A side of the picture is shorter than `size`.
        ValueError: `size` or `count` below 1, `where` unknown, or `sharpest` without its picture.

    Example:
        >>> [(t.x, t.y) for t in tiles_of(480, 640, size=256, count=4, where="spread")]
        [(32, 0), (352, 0), (32, 224), (352, 224)]
    """
    if size < 1 or count < 1:
        raise ValueError(f"tile size and count must be at least 1, not {size} and {count}")
    if height < size or width < size:
        raise TooSmallError(
            f"a picture of {width}x{height} pixels is smaller than one tile of {size}x{size}"
        )
    if where == "spread":
        return tuple(_spread(height, width, size, count))
    if where == "centre":
        return tuple(_centre(height, width, size, count))
    if where == "sharpest":
        if picture is None:
            raise ValueError("where='sharpest' needs the picture")
        if picture.shape[:2] != (height, width):
            raise ValueError(f"the picture is {picture.shape[:2]}, not {(height, width)}")
        return tuple(_sharpest(picture, size, count))
    raise ValueError(f"where must be spread, centre or sharpest, not {where!r}")


def cut(
    picture_bgr: NDArray[np.uint8], tiles: Sequence[Tile], out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Copy tiles out of a picture.

    Args:
        picture_bgr: (H, W, 3) uint8.
        tiles: Tiles of one size, all inside the picture.
        out: Where to write, (N, size, size, 3) uint8; made where None.

    Returns:
        (N, size, size, 3) uint8, contiguous, in the order of `tiles`: `out` where it was given.

    Raises:
        ValueError: No tiles, unequal sizes, a tile that leaves the picture, or an `out` of
            another shape.
    """
    if not tiles:
        raise ValueError("no tiles to cut")
    size = tiles[0].size
    shape = (len(tiles), size, size, 3)
    if out is None:
        out = np.empty(shape, dtype=np.uint8)
    elif out.shape != shape or out.dtype != np.uint8:
        raise ValueError(f"out is {out.shape} {out.dtype}, not {shape} uint8")
    height, width = picture_bgr.shape[:2]
    for index, tile in enumerate(tiles):
        if tile.size != size:
            raise ValueError(f"tiles of different sizes: {size} and {tile.size}")
        if not (0 <= tile.x <= width - size and 0 <= tile.y <= height - size):
            raise ValueError(f"{tile} leaves a picture of {width}x{height} pixels")
        out[index] = picture_bgr[tile.y : tile.y + size, tile.x : tile.x + size]
    return out


def join(
    probabilities: NDArray[np.float32], how: Join, acceptable: Sequence[int]
) -> NDArray[np.float32]:
    """Make one answer for the frame out of the answers for its tiles.

    Args:
        probabilities: (N, C) of N tiles.
        how: `mean` averages; `geometric` averages the logarithms, so that a tile that is certain
            counts for more than one that has seen nothing; `worst` takes the answer of the tile
            with the least probability of being acceptable (the first of equals), since local
            damage drowns in a mean.
        acceptable: Columns of the acceptable labels; used by `worst` only.

    Returns:
        (C,) float32.

    Raises:
        ValueError: No tiles, or `how` unknown.

    Example:
        >>> join(np.array([[0.8, 0.2], [0.1, 0.9]], np.float32), "worst", [1]).tolist()
        [0.800000011920929, 0.20000000298023224]
    """
    if probabilities.ndim != 2 or len(probabilities) == 0:  # noqa: PLR2004 - rows and columns
        raise ValueError(f"expected (tiles, classes), at least one tile, not {probabilities.shape}")
    if how == "mean":
        joined = probabilities.mean(axis=0, dtype=np.float64)
    elif how == "geometric":
        logarithms = np.log(np.clip(probabilities.astype(np.float64), LEAST_IN_PRODUCT, 1))
        product = np.exp(logarithms.mean(axis=0))
        joined = product / product.sum()
    elif how == "worst":
        good = probabilities[:, list(acceptable)].sum(axis=1)
        joined = probabilities[int(good.argmin())]
    else:
        raise ValueError(f"how must be mean, geometric or worst, not {how!r}")
    answer: NDArray[np.float32] = joined.astype(np.float32)
    return answer


def _rows_for(height: int, width: int, count: int) -> int:
    """How many rows of tiles suit the shape of the picture (or of what the tiles may move in)."""
    rows = round(sqrt(count * max(height, 1) / max(width, 1)))
    return min(max(rows, 1), count)


def _spread(height: int, width: int, size: int, count: int) -> list[Tile]:
    """Rows of tiles, each in the middle of its cell, drawn inwards where the cells are too small.

    What is inspected lies rather in the middle than in the corners, where lenses are worst besides.
    """
    rows = _rows_for(height, width, count)
    tiles = []
    for row, y in enumerate(_cells(height, size, rows)):
        columns = count * (row + 1) // rows - count * row // rows
        tiles += [Tile(x, y, size) for x in _cells(width, size, columns)]
    return tiles


def _cells(length: int, size: int, count: int) -> list[int]:
    """Where tiles begin that lie in the middle of `count` equal cells, all within the length."""
    starts = [(length * (2 * index + 1) // count - size) // 2 for index in range(count)]
    return [min(max(start, 0), length - size) for start in starts]


def _even(room: int, count: int) -> list[int]:
    if count == 1:
        return [room // 2]
    return [room * index // (count - 1) for index in range(count)]


def _centre(height: int, width: int, size: int, count: int) -> list[Tile]:
    """A block of adjoining tiles around the middle, drawn together where the picture is small."""
    rows = _rows_for(height, width, count)
    columns = ceil(count / rows)
    xs = _middle(width, size, columns)
    ys = _middle(height, size, rows)
    return [Tile(xs[i % columns], ys[i // columns], size) for i in range(count)]


def _middle(length: int, size: int, count: int) -> list[int]:
    room = length - size
    start = (length - size * count) / 2
    if start >= 0:
        return [int(start) + size * index for index in range(count)]
    return _even(room, count)


def _sharpest(picture: NDArray[np.uint8], size: int, count: int) -> list[Tile]:
    """The lattice positions with the largest mean absolute difference between neighbours.

    Green alone is looked at, every second row: it carries most of the luminance and costs a
    sixth of the whole.
    """
    height, width = picture.shape[:2]
    lattice = [
        Tile(x, y, size)
        for y in _even(height - size, _positions(height, size))
        for x in _even(width - size, _positions(width, size))
    ]
    detail = [_detail(picture, tile) for tile in lattice]
    order = sorted(range(len(lattice)), key=lambda index: -detail[index])
    chosen = [lattice[index] for index in sorted(order[:count])]
    while len(chosen) < count:
        chosen.append(chosen[len(chosen) % len(lattice)])
    return chosen


def _positions(length: int, size: int) -> int:
    return min(ceil(length / size), _CANDIDATES_AN_AXIS)


def _detail(picture: NDArray[np.uint8], tile: Tile) -> float:
    green = picture[tile.y : tile.y + tile.size : 2, tile.x : tile.x + tile.size, 1]
    along = np.abs(np.diff(green.astype(np.int16), axis=1))
    return float(along.mean()) if along.size else 0.0
