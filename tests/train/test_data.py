"""References, crops, made sets, and sets as they come: what is refused, and what is repeated."""

import json
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch

from train.data.crops import CropSettings, CropStream, _region, crops_of
from train.data.frames import plan_frames
from train.data.labelled import (
    read_labelled_folder,
    read_made_set,
    read_provenance,
    read_set,
)
from train.data.live import read_live
from train.data.pictures import Lost, picture_files, read_picture, write_png
from train.data.references import (
    Reference,
    large_enough,
    list_references,
    load_references,
    references_by_split,
    refuse_leakage,
)
from train.errors import DataError
from train.generate import SetSettings, generate
from train.labels import LABEL_SETS, label_set

LABELS = LABEL_SETS["all"]
SMALL = CropSettings(crop=64, region=128, crops_a_region=2, batch=8, batches_a_round=2, seed=4)


def test_references_come_with_author_and_licence(references_folder):
    train = list_references(references_folder, "train")
    assert [r.name for r in train] == [
        "train/astronaut.png",
        "train/brick-wall-grey.png",
        "train/coffee-cup.png",
    ]
    assert train[0].author == "NASA"
    assert train[0].licence == "public-domain"


def test_crops_are_cut_anywhere_or_where_there_is_detail():
    """Of a picture with detail in one corner alone, chance cuts more crops that are flat."""
    picture = np.full((256, 256, 3), 128, np.uint8)
    picture[:80, :80] = np.random.default_rng(1).integers(0, 256, (80, 80, 3))
    flat = {}
    for anywhere in (0.0, 1.0):
        settings = CropSettings(64, 256, crops_a_region=4, batch=32, anywhere=anywhere)
        crops = torch.cat([b[0] for b in CropStream([picture], ["refimgs"], settings, batches=4)])
        flat[anywhere] = float((crops.float().std(dim=(1, 2, 3)) < 5).float().mean())
    assert flat[0.0] < 0.45
    assert flat[1.0] > 0.55


def test_regions_are_made_as_much_smaller_as_whole_frames():
    """A region keeps as many pixels as a frame must have, not as many as a region would like."""
    picture = np.full((400, 520, 3), 128, np.uint8)
    shapes = {
        _region(picture, 448, 256, np.random.default_rng(seed)).shape[:2] for seed in range(200)
    }
    assert min(height for height, _ in shapes) < 300
    assert all(height >= 256 and width >= 256 for height, width in shapes)
    assert max(width for _, width in shapes) == 448


def test_local_damage_is_in_every_crop_that_is_cut_anywhere(train_pictures):
    settings = CropSettings(128, 384, crops_a_region=4, anywhere=1.0)
    rng = np.random.default_rng(4)
    for label in ("fastfading", "bad_lighting"):
        for crop in crops_of(train_pictures[0], label, settings, rng):
            assert crop.shape == (128, 128, 3)


def test_a_share_of_the_regions_has_its_colours_exchanged():
    picture = np.full((128, 128, 3), (30, 120, 210), np.uint8)
    seen = {}
    for share in (0.0, 1.0):
        settings = CropSettings(64, 128, crops_a_region=1, batch=32, recolour=share)
        ((crops, _),) = CropStream([picture], ["refimgs"], settings, batches=1)
        means = crops.float().mean(dim=(1, 2))
        seen[share] = {tuple(map(int, order)) for order in means.argsort(dim=1)}
    assert seen[0.0] == {(0, 1, 2)}
    assert len(seen[1.0]) == 6


def test_a_folder_with_some_of_the_splits_is_not_split_anew(tmp_path):
    for split in ("val", "test"):
        (tmp_path / split).mkdir()
        for number in range(6):
            write_png(tmp_path / split / f"{split}{number}.png", np.zeros((256, 256, 3), np.uint8))
    found = [reference.name for reference in list_references(tmp_path, "test")]
    assert found == [f"test/test{number}.png" for number in range(6)]
    with pytest.raises(DataError, match="no pictures for the split 'train'"):
        list_references(tmp_path, "train")


def test_references_whose_frames_would_have_the_same_names_are_refused(tmp_path):
    for name in ("a.png", "a.bmp"):
        (tmp_path / "refs" / "test").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "refs" / "test" / name), np.zeros((256, 256, 3), np.uint8))
    with pytest.raises(DataError, match=r"test/a.bmp and of test/a.png would have the same names"):
        generate(tmp_path / "refs", SetSettings("test", LABELS), tmp_path / "out")


def test_a_set_that_was_refused_claims_no_folder(tmp_path, references_folder):
    with pytest.raises(DataError, match="split must be one of"):
        generate(references_folder, SetSettings("tset", LABELS), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_header_that_promises_too_much_is_no_readable_picture(tmp_path):
    path = tmp_path / "huge.png"
    data = bytearray(cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    data[16:24] = struct.pack(">II", 100_000, 100_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"huge.png: not a readable picture"):
        read_picture(path)


def test_a_source_on_two_sides_is_refused(tmp_path):
    def reference(name):
        return Reference(name, tmp_path / name, "package:photo", "a", "CC0-1.0")

    both = r"both sides of the split: train/a \(train\) and test/b \(test\)"
    with pytest.raises(DataError, match=both):
        refuse_leakage({"train": [reference("train/a")], "val": [], "test": [reference("test/b")]})


def test_an_unknown_split_and_an_empty_one_are_refused(references_folder, tmp_path):
    with pytest.raises(DataError, match="train, val, test"):
        list_references(references_folder, "tests")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="no pictures for the split 'train'"):
        list_references(tmp_path, "train")
    with pytest.raises(DataError, match="no folder"):
        list_references(tmp_path / "nowhere", "train")


def test_unreadable_and_tiny_pictures_are_named(tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(DataError, match=r"torn.png: not a readable picture"):
        read_picture(tmp_path / "torn.png")
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"tiny.png: 9x8 pixels, but at least 64"):
        read_picture(tmp_path / "tiny.png", 64)


def test_more_than_one_in_a_hundred_lost_is_an_error_and_fewer_are_named(tmp_path, caplog):
    Lost().check(20, tmp_path)
    assert not caplog.messages
    Lost(["a: torn"]).check(20, tmp_path)
    assert caplog.messages == [
        f"1 of 20 pictures in {tmp_path} cannot be used and are left out:\n  a: torn"
    ]
    Lost(["a: torn", "b: torn"]).check(200, tmp_path)
    with pytest.raises(DataError, match=r"2 of 199 pictures(?s:.*)b: torn"):
        Lost(["a: torn", "b: torn"]).check(199, tmp_path)


@pytest.fixture
def of_two_sizes(tmp_path):
    """References of 256 and of 320 pixels a side, one of each."""
    folder = tmp_path / "references"
    rng = np.random.default_rng(1)
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        for side in (256, 320):
            picture = rng.integers(0, 255, (side, side + 8, 3), np.uint8)
            cv2.imwrite(str(folder / split / f"{split}-{side}.png"), picture)
    return folder


def test_references_without_a_tile_of_the_wanted_side_are_not_used_and_that_is_said(
    of_two_sizes, caplog
):
    every = load_references(list_references(of_two_sizes, "train"), of_two_sizes)
    kept, pictures = large_enough(*every, 299, of_two_sizes)
    assert [r.name for r in kept] == ["train/train-320.png"]
    assert [p.shape for p in pictures] == [(320, 328, 3)]
    said = f"1 of 2 pictures in {of_two_sizes} are smaller than 299 pixels and are not used"
    assert caplog.messages == [said]
    with pytest.raises(DataError, match="none of 2 pictures has 512 pixels each way"):
        large_enough(*every, 512, of_two_sizes)


def test_a_made_set_for_larger_tiles_has_no_frame_below_them(of_two_sizes, tmp_path, caplog):
    settings = SetSettings("val", ("refimgs", "wn"), variants=2, smallest_side=299)
    generate(of_two_sizes, settings, tmp_path / "made", processes=1)
    frames = read_made_set(tmp_path / "made")
    assert len(frames) == 2 * 5 * 2
    sides = [min(read_picture(frame.path).shape[:2]) for frame in frames]
    assert min(sides) >= 299
    assert {frame.source for frame in frames} == {"val-320"}
    assert "1 of 2 pictures" in caplog.text
    none = SetSettings("val", ("refimgs",), smallest_side=400)
    with pytest.raises(DataError, match="none of 2 pictures has 400 pixels each way"):
        generate(of_two_sizes, none, tmp_path / "none", processes=1)


def test_frames_of_one_photograph_are_of_one_source(tmp_path):
    folder = tmp_path / "references"
    rng = np.random.default_rng(1)
    for name in ("a-left", "a-right"):
        write_png(folder / "test" / f"{name}.png", rng.integers(0, 255, (256, 256, 3), np.uint8))
    rows = "".join(f"test/{name}.png,site,a.raw\n" for name in ("a-left", "a-right"))
    (folder / "SOURCES.csv").write_text(f"file,package,path\n{rows}")
    generate(folder, SetSettings("test", ("refimgs",)), tmp_path / "made", processes=1)
    assert {frame.source for frame in read_made_set(tmp_path / "made")} == {"site:a.raw"}


def test_a_table_from_windows_is_understood_and_strange_rows_are_said(tmp_path, caplog):
    write_png(tmp_path / "train" / "a.png", np.zeros((256, 256, 3), np.uint8))
    (tmp_path / "SOURCES.csv").write_text("file,licence\ntrain\\a.png,CC0-1.0\ntrain/b.png,MIT\n")
    assert [r.licence for r in list_references(tmp_path, "train")] == ["CC0-1.0"]
    assert "1 of 2 rows" in caplog.text
    assert "train/b.png" in caplog.text


def test_label_sets_have_their_sizes():
    assert [len(label_set(name)) for name in ("table1", "abstract", "all")] == [7, 6, 8]
    with pytest.raises(DataError, match="table1, abstract"):
        label_set("al")


def test_batches_repeat_with_the_seed_and_go_on_in_the_middle(train_pictures):
    whole = list(CropStream(train_pictures, LABELS, SMALL, batches=5))
    rest = list(CropStream(train_pictures, LABELS, SMALL, first_batch=3, batches=2))
    for (pixels, answers), (again, answers_again) in zip(whole[3:], rest, strict=True):
        assert (pixels == again).all()
        assert (answers == answers_again).all()
    pixels, answers = whole[0]
    assert pixels.shape == (8, 64, 64, 3)
    assert answers.shape == (8,)


def test_a_round_has_every_label_equally_often(train_pictures):
    settings = CropSettings(crop=64, region=96, crops_a_region=1, batch=16, batches_a_round=2)
    answers = [
        int(a) for _, b in CropStream(train_pictures, LABELS, settings, batches=2) for a in b
    ]
    assert np.bincount(answers, minlength=8).tolist() == [4] * 8


def test_another_seed_gives_other_crops(train_pictures):
    other = CropSettings(64, 128, 2, 8, 2, seed=5)
    first = next(iter(CropStream(train_pictures, LABELS, SMALL)))[0]
    assert (first != next(iter(CropStream(train_pictures, LABELS, other)))[0]).any()


def test_a_plan_has_all_labels_and_severities_equally_often():
    plans = plan_frames(["a", "b"], LABELS, variants=2)
    assert len(plans) == 2 * 8 * 5 * 2
    assert len({plan.seed for plan in plans}) == len(plans)
    kept = {plan.name: plan.seed for plan in plan_frames(["b"], LABELS, variants=2)}
    assert kept.items() <= {plan.name: plan.seed for plan in plans}.items()
    more = plan_frames(["a"], LABELS, good_variants=4)
    assert sum(plan.label == "refimgs" for plan in more) == 20
    assert len(more) == 7 * 5 + 20


@pytest.fixture(scope="module")
def made(references_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "val"
    settings = SetSettings("val", ("gblur", "refimgs", "wn"), seed=2)
    generate(references_folder, settings, out, processes=1)
    return out, settings


def test_a_made_set_has_a_manifest_with_seeds_digests_and_licences(made):
    out, _ = made
    document = json.loads((out / "manifest.json").read_text())
    assert len(document["frames"]) == 15
    assert len(read_made_set(out)) == 15
    row, known = read_provenance(out)[0]
    assert len(row["sha256"]) == 64
    assert known["licence"] == "public-domain"


def test_a_killed_generation_makes_what_is_missing_and_the_same(made, references_folder, tmp_path):
    out, settings = made
    copy = tmp_path / "val"
    shutil.copytree(out, copy)
    (copy / "manifest.json").unlink()
    with pytest.raises(DataError, match="not finished, run generate again"):
        read_made_set(copy)
    next((copy / "wn").iterdir()).unlink()
    generate(references_folder, settings, copy, processes=1)
    assert (copy / "manifest.json").read_text() == (out / "manifest.json").read_text()


def test_a_generation_killed_before_it_claimed_its_folder_can_be_run_again(
    references_folder, tmp_path
):
    (tmp_path / "plan.json.part").touch()
    settings = SetSettings("val", ("refimgs",))
    generate(references_folder, settings, tmp_path, processes=1)
    assert (tmp_path / "manifest.json").is_file()


def test_a_set_begun_with_other_settings_is_refused(made, references_folder):
    out, _ = made
    with pytest.raises(DataError, match="begun with other settings"):
        generate(references_folder, SetSettings("val", LABELS), out, processes=1)


def test_a_set_begun_by_other_code_is_refused(made, references_folder, monkeypatch):
    out, settings = made
    monkeypatch.setattr("train.generate.frames_made_by", lambda: "other distortions")
    with pytest.raises(DataError, match="or by other code"):
        generate(references_folder, settings, out, processes=1)


def test_a_set_begun_with_other_references_is_refused(tmp_path):
    settings, sets = SetSettings("val", ("refimgs",)), tmp_path / "made"
    for name, grey in (("one", 100), ("two", 101)):
        write_png(tmp_path / name / "val" / "a.png", np.full((256, 256, 3), grey, np.uint8))
    generate(tmp_path / "one", settings, sets, processes=1)
    generate(tmp_path / "one", settings, sets, processes=1)
    with pytest.raises(DataError, match="begun with other settings or references"):
        generate(tmp_path / "two", settings, sets, processes=1)


def test_a_folder_with_other_files_is_refused(references_folder, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        generate(references_folder, SetSettings("val", LABELS), tmp_path, processes=1)


def write(path, size=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((size, size, 3), 90, np.uint8))


def test_what_other_programs_lay_beside_pictures_is_passed_over(tmp_path):
    for name in ("wn/a.png", "wn/.thumbnails/t.png", "wn/@eaDir/a.png/S.jpg", ".git/x.png"):
        write(tmp_path / name)
    (tmp_path / "__MACOSX").mkdir()
    assert [f.path.name for f in read_labelled_folder(tmp_path, ("wn", "gblur"))] == ["a.png"]


def test_frames_of_several_folders_below_a_label_are_told_apart(tmp_path):
    for name in ("gblur/one/1.png", "gblur/two/1.png", "wn/one/1.png"):
        write(tmp_path / name)
    frames = read_labelled_folder(tmp_path, ("wn", "gblur"))
    assert [frame.source for frame in frames] == ["one/1", "two/1", "one/1"]


def test_a_picture_torn_within_is_refused(tmp_path, references_folder):
    picture = read_picture(next(references_folder.glob("train/*.png")))
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    (tmp_path / "torn.jpg").write_bytes(data[: len(data) // 2] + bytes(len(data) // 2))
    with pytest.raises(DataError, match=r"torn\.jpg: not a readable picture"):
        read_picture(tmp_path / "torn.jpg")


def test_twelve_bits_in_a_file_of_sixteen_are_not_taken_for_the_dark(tmp_path):
    rng = np.random.default_rng(1)
    cv2.imwrite(str(tmp_path / "12.png"), rng.integers(0, 4096, (32, 32, 3), np.uint16))
    with pytest.raises(DataError, match=r"12\.png: of 16 bits, but no value is above 409"):
        read_picture(tmp_path / "12.png")
    cv2.imwrite(str(tmp_path / "16.png"), rng.integers(0, 65536, (32, 32, 3), np.uint16))
    assert read_picture(tmp_path / "16.png").mean() == pytest.approx(127.5, abs=3)
    cv2.imwrite(str(tmp_path / "8.png"), np.full((32, 32, 3), 3, np.uint8))
    assert read_picture(tmp_path / "8.png").max() == 3


@pytest.mark.parametrize(("white", "light"), [(4095, 255), (40, 2)])
def test_a_file_that_states_its_own_white_may_be_dark(tmp_path, white, light):
    head = b"P6\n32 32\n4095\n"
    path = tmp_path / "12.ppm"
    path.write_bytes(head + np.full((32, 32, 3), white, ">u2").tobytes())
    assert read_picture(path).max() == light


def test_hidden_files_are_no_pictures(tmp_path):
    write(tmp_path / "gblur" / "a.png")
    (tmp_path / "gblur" / "._a.png").write_bytes(b"what an archive left behind")
    assert [path.name for path in picture_files(tmp_path)] == ["a.png"]


def test_labelled_folders_are_read_and_typos_and_empty_labels_refused(tmp_path):
    write(tmp_path / "gblur" / "a.png")
    write(tmp_path / "refimgs" / "deep" / "b.png")
    assert [f.label for f in read_set(tmp_path, LABELS)] == ["gblur", "refimgs"]
    (tmp_path / "wn").mkdir()
    with pytest.raises(DataError, match="no pictures for wn"):
        read_labelled_folder(tmp_path, LABELS)
    write(tmp_path / "gblurr" / "a.png")
    with pytest.raises(DataError, match="gblurr is no label; there are: bad_lighting"):
        read_labelled_folder(tmp_path, LABELS)


@pytest.fixture
def live(tmp_path):
    write(tmp_path / "refimgs" / "sailing1.bmp")
    for label in ("fastfading", "gblur", "jp2k", "jpeg", "wn"):
        write(tmp_path / label / "img1.bmp")
        write(tmp_path / label / "img2.bmp")
        text = "sailing1.bmp img1.bmp 1.5\nsailing1.bmp img2.bmp 0\n\n"
        (tmp_path / label / "info.txt").write_text(text)
    return tmp_path


def test_live_is_read_as_distributed_without_its_undistorted_copies(live):
    frames = read_set(live, LABELS)
    assert sorted(f.label for f in frames) == [
        "fastfading",
        "gblur",
        "jp2k",
        "jpeg",
        "refimgs",
        "wn",
    ]
    assert {f.source for f in frames} == {"sailing1.bmp"}
    assert {f.path.name for f in frames if f.label != "refimgs"} == {"img1.bmp"}


def test_a_torn_live_is_refused_with_the_line(live):
    (live / "wn" / "info.txt").write_text("sailing1.bmp img9.bmp 2\n")
    with pytest.raises(DataError, match=r"info.txt, line 1: there is no picture .*img9.bmp"):
        read_live(live, LABELS)
    (live / "wn" / "info.txt").write_text("sailing1.bmp\n")
    with pytest.raises(DataError, match="expected 'reference picture parameter'"):
        read_live(live, LABELS)


def test_a_part_of_live_is_read_and_what_is_missing_is_named(live, caplog):
    shutil.rmtree(live / "jp2k")
    labels = {frame.label for frame in read_set(live, LABELS)}
    assert labels == {"fastfading", "gblur", "jpeg", "refimgs", "wn"}
    assert caplog.messages == [f"{live} has no folder jp2k: that label has no pictures"]
    (live / "wn" / "info.txt").unlink()
    with pytest.raises(DataError, match=r"info.txt: No such file"):
        read_live(live, LABELS)


def _listed(folder, header, rows):
    folder.mkdir()
    for number in range(40):
        cv2.imwrite(str(folder / f"p{number}.png"), np.zeros((8, 8, 3), np.uint8))
    (folder / "SOURCES.csv").write_bytes("\n".join([header, *rows]).encode("utf-8-sig"))
    return folder


def test_an_unsplit_folder_keeps_pictures_of_one_photograph_together(tmp_path):
    rows = [f"p{n}.png,session/{n // 8}.raw,Me" for n in range(40)]
    folder = _listed(tmp_path / "own", "file,path,author", rows)
    by_split = references_by_split(folder)
    assert sum(len(references) for references in by_split.values()) == 40
    assert len(by_split["train"]) % 8 == 0


def test_a_table_may_have_short_rows_and_other_columns(tmp_path):
    folder = _listed(tmp_path / "own", "file,path,licence", ["p1.png", "p2.png,x", "p3.png,,MIT"])
    every = {r.name: r for rs in references_by_split(folder).values() for r in rs}
    assert every["p1.png"].licence == "unknown"
    assert every["p3.png"].licence == "MIT"
    (folder / "SOURCES.csv").write_bytes("file,author\np1.png,Müller\n".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        references_by_split(folder)
