"""Makes the pictures and the clip of the demo from a folder of references.

Run from the top of the checkout, with the training requirements installed:

    python configs/demo/make_demo.py REFERENCES

REFERENCES is a folder of pristine pictures with a `SOURCES.csv` (file, package, author, licence)
that names each one. The same references give the same files; only pictures whose licence lets
changed versions travel freely are taken, and NOTICE names them all.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from train.distortions import DISTORTIONS, Picture

HERE = Path(__file__).parent
FREE = {"public-domain", "CC0-1.0", "BSD-2-clause", "Expat", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0"}

FPS = 10
WINDOW_WH = (480, 368)
STEP_PX = 1
"""The window moves by whole pixels: no interpolation, so that good frames stay pristine."""
CRF_GOOD = 14
CRF_NOISE = 36
"""Noise would fill the file; what is left of it at this quality still looks like noise."""


@dataclass(frozen=True)
class Scene:
    """A pan over one picture: good, then one fault, then good again. Times in seconds."""

    reference: str
    label: str
    severity: float
    good_s: float = 3.0
    fault_s: float = 3.0
    again_s: float = 2.0


@dataclass(frozen=True)
class Still:
    """One picture of the folder camera."""

    reference: str
    label: str = "refimgs"
    severity: float = 3.0


SCENES = (
    Scene("train/cardboard-taped.webp", "gblur", 3.5),
    Scene("train/citrus-fruits.webp", "bad_lighting", 4.5),
    Scene("train/fabric-floral.webp", "wn", 4.0, fault_s=2.0, again_s=3.0),
)
STILLS = (
    Still("test/farm-chicken.webp"),
    Still("test/monument-chateaude-chenonceau.webp"),
    Still("val/metal-roof-stained.webp"),
    Still("test/monument-schwerin-palace.webp"),
    Still("test/farm-chicken.webp", "jpeg", 4.5),
    Still("val/metal-roof-stained.webp", "jpeg", 4.0),
    Still("test/monument-hawa-mahal.webp", "jpeg", 4.0),
    Still("test/monument-mysore-palace.webp"),
    Still("test/monument-hawa-mahal.webp"),
    Still("val/monument-lincoln-memorial.webp"),
    Still("val/music-america.webp"),
    Still("val/music-america.webp", "jp2k", 4.0),
    Still("val/monument-lincoln-memorial.webp", "motion_blur", 4.0),
    Still("test/monument-mysore-palace.webp", "wn", 4.0),
)


def main() -> None:
    """Read the arguments and make everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("references", type=Path, help="folder with SOURCES.csv")
    folder = parser.parse_args().references
    with (folder / "SOURCES.csv").open(encoding="utf-8", newline="") as file:
        sources = {row["file"]: row for row in csv.DictReader(file)}
    used = sorted({part.reference for part in (*SCENES, *STILLS)})
    for name in used:
        if sources[name]["licence"] not in FREE:
            raise SystemExit(f"{name} may not be shipped: {sources[name]['licence']}")
    pictures = {name: _read(folder / name) for name in used}
    make_folder(pictures, HERE / "pictures")
    make_clip(pictures, HERE / "clip.mp4")
    (HERE / "NOTICE").write_text(notice([sources[name] for name in used]), encoding="utf-8")


def make_folder(pictures: dict[str, Picture], folder: Path) -> None:
    """Write the stills, without loss, in the order in which the camera shows them."""
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    for number, still in enumerate(STILLS, 1):
        rng = np.random.default_rng(number)
        picture = DISTORTIONS[still.label].apply(pictures[still.reference], still.severity, rng)
        word = "good" if still.label == "refimgs" else still.label
        name = f"{number:02}-{Path(still.reference).stem}-{word}.webp"
        # A quality above 100 is OpenCV's way to ask for lossless WebP.
        cv2.imwrite(str(folder / name), picture, [cv2.IMWRITE_WEBP_QUALITY, 101])


def make_clip(pictures: dict[str, Picture], path: Path) -> None:
    """Write the clip: the scenes one after the other."""
    frames: list[Picture] = []
    zones = []
    for number, scene in enumerate(SCENES):
        begin = len(frames) + round(scene.good_s * FPS)
        frames += scene_frames(pictures[scene.reference], scene, np.random.default_rng(number))
        if scene.label == "wn":
            zones.append(f"{begin},{begin + round(scene.fault_s * FPS) - 1},crf={CRF_NOISE}")
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height = WINDOW_WH
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.options = {
            "crf": str(CRF_GOOD),
            "preset": "veryslow",
            "g": str(5 * FPS),
            "threads": "1",  # more threads give other bits
            "x264-params": "zones=" + "/".join(zones),
        }
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())


def scene_frames(picture: Picture, scene: Scene, rng: np.random.Generator) -> list[Picture]:
    """The frames of one scene: a window that moves over the picture, to and fro if need be."""
    width, height = WINDOW_WH
    room = picture.shape[1] - width
    top = (picture.shape[0] - height) // 2
    if room < 0 or top < 0:
        raise SystemExit(f"{scene.reference} is smaller than {width} x {height}")
    good, fault, again = (
        round(part * FPS) for part in (scene.good_s, scene.fault_s, scene.again_s)
    )
    # One seed a scene holds the light and the blur still while the noise changes.
    seed = int(rng.integers(2**32))
    frames = []
    for number in range(good + fault + again):
        left = number * STEP_PX % (2 * room) if room else 0
        left = min(left, 2 * room - left)
        frame = np.ascontiguousarray(picture[top : top + height, left : left + width])
        if good <= number < good + fault:
            own = np.random.default_rng(seed + (number if scene.label == "wn" else 0))
            frame = DISTORTIONS[scene.label].apply(frame, scene.severity, own)
        frames.append(frame)
    return frames


def notice(rows: list[dict[str, str]]) -> str:
    """Who made the pictures, and under which licence."""
    head = (
        "The clip and the pictures in this folder were made by make_demo.py from the pictures\n"
        "below, which come from packages of Debian 12. They were cropped and made smaller, and\n"
        "some were blurred, darkened, compressed or given noise on purpose.\n"
    )
    lines = [
        f"{Path(row['file']).stem}\n    author:  {row['author']}\n    licence: {row['licence']}\n"
        f"    source:  {row['package']} {row['version']}\n"
        for row in rows
    ]
    links = (
        "CC-BY licences: https://creativecommons.org/licenses/by/2.0/ (3.0/ and 4.0/ likewise).\n"
        "CC0-1.0: https://creativecommons.org/publicdomain/zero/1.0/\n"
    )
    return "\n".join([head, *lines, links])


def _read(path: Path) -> Picture:
    picture = cv2.imread(str(path))
    if picture is None:
        raise SystemExit(f"cannot read {path}")
    return picture


if __name__ == "__main__":
    main()
