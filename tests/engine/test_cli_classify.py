"""`inspector classify` on real files, through the judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from inspector.cli import file_feed, status_of
from tests.engine import tiny_engine
from tests.rights import only_as_the_mode_says


@pytest.fixture
def classify(engines, capfd):
    """Run the command; exit status, JSON rows, stderr."""

    def run(*arguments, precision="fp32"):
        status = status_of(
            ["classify", *map(str, arguments), "--engine", "tiny", "--folder", str(engines),
             "--precision", precision, "--threads", "1", "--json"]
        )  # fmt: skip
        out, err = capfd.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return run


def save(path, picture):
    assert cv2.imwrite(str(path), picture)
    return path


def save_video(path, labels, *, codec="mpeg4", height=96, width=128):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for seed, label in enumerate(labels):
            picture = tiny_engine.picture(label, height, width, seed)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_pictures_are_judged_in_the_order_given(classify, tmp_path):
    labels = ["wn", "refimgs", "gblur", "jpeg", "refimgs"]
    files = [
        save(tmp_path / f"{n}.png", tiny_engine.picture(label)) for n, label in enumerate(labels)
    ]
    files.reverse()
    status, rows, err = classify(*files)
    assert (status, err) == (0, "")
    assert [(row["path"], row["label"]) for row in rows] == [
        (str(file), label) for file, label in zip(files, reversed(labels), strict=True)
    ]
    first = rows[0]
    assert first["verdict"] == "accepted"
    assert list(first["probabilities"]) == list(tiny_engine.CLASSES)
    assert sum(first["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert first["engine"]["name"] == "tiny"
    assert (first["engine"]["runtime"], first["engine"]["precision"]) == ("openvino", "fp32")
    assert len(first["engine"]["sha256"]) == 64
    assert "frame" not in first


def test_folders_are_searched_and_sorted(classify, tmp_path):
    (tmp_path / "b").mkdir()
    save(tmp_path / "b" / "z.png", tiny_engine.picture("wn"))
    save(tmp_path / "b" / "a.bmp", tiny_engine.picture("jpeg"))
    save(tmp_path / "c.tif", tiny_engine.picture("refimgs"))
    (tmp_path / "notes.txt").write_text("not a picture")
    status, rows, _ = classify(tmp_path)
    assert status == 0
    assert [(row["path"][len(str(tmp_path)) :], row["label"]) for row in rows] == [
        ("/b/a.bmp", "jpeg"), ("/b/z.png", "wn"), ("/c.tif", "refimgs"),
    ]  # fmt: skip


def test_every_frame_of_a_video_is_judged_with_its_number_and_time(classify, tmp_path):
    labels = ["refimgs"] * 6 + ["gblur"] * 6
    video = save_video(tmp_path / "v.mp4", labels)
    status, rows, _ = classify(video)
    assert status == 0
    assert [(row["frame"], row["label"]) for row in rows] == list(enumerate(labels))
    assert [row["time_s"] for row in rows] == pytest.approx([n / 25 for n in range(12)], abs=1e-3)


def test_what_cannot_be_read_is_named_and_the_rest_is_done(classify, tmp_path):
    good = save(tmp_path / "good.png", tiny_engine.picture("wn"))
    whole = cv2.imencode(".jpg", tiny_engine.picture("wn"))[1].tobytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("this is text")
    (tmp_path / "text.mp4").write_text("this is text too")
    broken = [tmp_path / name for name in ("cut.jpg", "empty.png", "text.png", "text.mp4")]
    status, rows, err = classify(good, *broken, good)
    assert status == 1
    assert [row["verdict"] for row in rows] == ["rejected", *["unjudgeable"] * 4, "rejected"]
    assert [row.get("cause") for row in rows] == [None, *["decode"] * 4, None]
    for row, path, says in zip(
        rows[1:5], broken, ("truncated", "empty", "no picture", "video"), strict=True
    ):
        assert row["path"] == str(path)
        assert says in row["error"]
        assert f"inspector: {path}: {row['error']}" in err
        assert (row["label"], row["probabilities"], row["engine"]) == (None, {}, None)
        assert "frame" not in row


def test_a_truncated_video_gives_its_frames_and_an_error(classify, tmp_path):
    video = save_video(tmp_path / "v.avi", ["wn"] * 30)
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 2 // 3])
    status, rows, _ = classify(video)
    *judged, broken, last = rows
    assert 3 <= len(judged) < 29
    assert broken["cause"] == "decode"
    assert "v.avi is truncated" in last["error"]
    assert [(row["frame"], row["label"]) for row in judged] == [
        (n, "wn") for n in range(len(judged))
    ]
    assert (last["verdict"], last["cause"]) == ("unjudgeable", "decode")
    assert "error" in last
    assert status == 1


def test_a_video_that_breaks_off_where_its_reader_sees_no_fault(classify, tmp_path):
    video = save_video(tmp_path / "10:00:00.mkv", ["wn"] * 30, codec="libx264")
    status, rows, _ = classify(video)
    assert (status, len(rows)) == (0, 30)
    content = video.read_bytes()
    video.write_bytes(content[: len(content) * 2 // 3])
    status, rows, err = classify(video)
    *judged, last = rows
    assert status == 1
    assert judged
    assert all(row["label"] == "wn" for row in judged)
    assert (last["verdict"], last["cause"]) == ("unjudgeable", "decode")
    assert "10:00:00.mkv is truncated" in last["error"]
    assert last["error"] in err


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("grey.png", lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2GRAY)),
        ("deep.png", lambda p: p.astype(np.uint16) * 257),
        ("alpha.png", lambda p: cv2.cvtColor(p, cv2.COLOR_BGR2BGRA)),
        ("colour.png", lambda p: p),
    ],
)
def test_other_kinds_of_pictures_are_judged_after_conversion(classify, tmp_path, name, convert):
    # Grey lies between the labels: white and black are the corners that stay what they are.
    status, rows, _ = classify(save(tmp_path / name, convert(tiny_engine.picture("wn"))))
    assert status == 0
    assert rows[0]["label"] == "wn"  # white: all three colours high
    assert rows[0]["verdict"] == "rejected"


@pytest.mark.parametrize(("height", "width"), [(1, 1), (63, 500), (500, 63)])
def test_small_pictures_are_unjudgeable_and_no_error(classify, tmp_path, height, width):
    status, rows, err = classify(save(tmp_path / "s.png", tiny_engine.picture("wn", height, width)))
    assert (status, err) == (0, "")
    assert (rows[0]["verdict"], rows[0]["cause"]) == ("unjudgeable", "too_small")
    assert f"{width}x{height}" in rows[0]["reasons"][0]


def test_large_and_small_pictures_share_the_way(classify, tmp_path):
    files = [
        save(tmp_path / f"{n}.png", tiny_engine.picture("jpeg" if n % 2 else "wn", *size))
        for n, size in enumerate([(64, 64), (2000, 3000), (64, 65), (1500, 100), (64, 64)] * 3)
    ]
    status, rows, _ = classify(*files)
    assert status == 0
    assert [row["label"] for row in rows] == ["jpeg" if n % 2 else "wn" for n in range(15)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.png"], "there is no file or folder nowhere.png"),
        (["."], "no pictures or videos in ."),
        (["/dev/null"], "/dev/null is neither a file nor a folder"),
        (["--engine", "giant", "x.txt"], "no engine giant in"),
        (["--folder", "nowhere", "x.txt"], "no folder of engines at nowhere"),
    ],
)
def test_a_users_mistake_is_one_message_and_status_2(
    engines, tmp_path, monkeypatch, capfd, arguments, says
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("")
    if "--folder" not in arguments:
        arguments = [*arguments, "--folder", str(engines)]
    assert status_of(["classify", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("inspector: ")
    assert says in err
    assert len(err.splitlines()) == 1


def test_paths_that_cannot_be_looked_at_are_each_named_and_nothing_is_judged(
    engines, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    for name in ("locked", "closed"):
        Path(name).mkdir()
        save(Path(name, "p.png"), tiny_engine.picture("wn"))
        Path(name).chmod(0)
    Path("broken.png").symlink_to("gone.png")
    Path("round.png").symlink_to("round.png")
    save(Path("good.png"), tiny_engine.picture("wn"))
    paths = ["locked", "closed/p.png", "broken.png", "round.png", "good.png", "a" * 300]
    with only_as_the_mode_says():
        status = status_of(["classify", *paths, "--engine", "tiny", "--folder", str(engines)])
    out, err = capfd.readouterr()
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "inspector: 5 paths cannot be judged",
        "  the folder locked cannot be listed: Permission denied",
        "  closed/p.png cannot be looked at: Permission denied",
        "  broken.png is a link to gone.png, which is not there",
        "  round.png cannot be looked at: Too many levels of symbolic links",
        f"  {'a' * 300} cannot be looked at: File name too long",
    ]


def test_what_cannot_be_read_below_a_folder_is_told_and_the_rest_is_judged(classify, tmp_path):
    good = save(tmp_path / "good.png", tiny_engine.picture("wn"))
    secret = save(tmp_path / "secret.png", tiny_engine.picture("wn"))
    secret.chmod(0)
    (tmp_path / "broken.png").symlink_to("gone.png")
    (tmp_path / "no-list").mkdir()
    save(tmp_path / "no-list" / "p.png", tiny_engine.picture("wn"))
    (tmp_path / "no-list").chmod(0o100)
    (tmp_path / "no-way").mkdir()
    save(tmp_path / "no-way" / "p.png", tiny_engine.picture("wn"))
    (tmp_path / "no-way").chmod(0o400)
    os.mkfifo(tmp_path / "fifo.png")
    with only_as_the_mode_says():
        status, rows, err = classify(tmp_path)
        named, (row,), _ = classify(secret)
    assert (status, named) == (1, 1)
    told = {str(Path(row["path"]).relative_to(tmp_path)): row.get("error") for row in rows}
    assert told == {
        "broken.png": "broken.png cannot be read: No such file or directory",
        good.name: None,
        "no-list": "no-list cannot be read: Permission denied",
        "no-way/p.png": "p.png cannot be read: Permission denied",
        secret.name: "secret.png cannot be read: Permission denied",
    }
    assert row["verdict"] == "unjudgeable"
    assert "Traceback" not in err
    assert len(err.splitlines()) == 4


def test_a_broken_engine_is_one_message_and_status_1(tiny, tmp_path, capfd):
    (tiny / "model.onnx").write_bytes(b"")
    picture = save(tmp_path / "p.png", tiny_engine.picture("wn"))
    arguments = ["classify", str(picture), "--engine", "tiny", "--folder", str(tiny.parent)]
    assert status_of(arguments) == 1
    err = capfd.readouterr().err
    assert "Traceback" not in err
    assert "model.onnx has sha256" in err


def test_a_fallback_is_said(engines, tmp_path, capfd):
    picture = save(tmp_path / "p.png", tiny_engine.picture("wn"))
    arguments = ["classify", str(picture), "--engine", "tiny", "--folder", str(engines), "--json"]
    assert status_of([*arguments, "--runtime", "tensorrt", "--threads", "1"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["engine"]["degraded"] is True
    assert "openvino judges, not tensorrt: nobody said where its plan lies" in err


def test_people_get_lines_and_a_summary(engines, tmp_path, capfd):
    for n, label in enumerate(("wn", "refimgs")):
        save(tmp_path / f"[{n}].png", tiny_engine.picture(label))
    arguments = ["--engine", "tiny", "--folder", str(engines), "--precision", "fp16"]
    assert status_of(["classify", str(tmp_path), *arguments, "--threads", "1"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["rejected", "wn", "0.993"]
    assert lines[0].endswith("[0].png")
    assert lines[2] == "2 judged by tiny 0.1.0 (openvino, fp16): 1 accepted, 1 rejected"


def test_a_reader_that_leaves_ends_the_command(engines, tmp_path):
    video = save_video(tmp_path / "v.mp4", ["wn"] * 60)
    command = [
        *(sys.executable, "-m", "inspector.cli", "classify", str(video), "--json"),
        *("--engine", "tiny", "--folder", str(engines), "--precision", "fp32", "--threads", "1"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["label"] == "wn"
        process.stdout.close()
        err = process.stderr.read().decode()
        assert process.wait(60) == 141
    assert "Traceback" not in err


def test_names_that_no_terminal_can_show(engines, tmp_path):
    for name in (b"not utf-8 \xff.png", "two\nlines \u001b[31m.png".encode(), "Stück.png".encode()):
        path = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
        Path(path).write_bytes(cv2.imencode(".png", tiny_engine.picture("wn"))[1].tobytes())
    command = [
        *(sys.executable, "-m", "inspector.cli", "classify", str(tmp_path), "--engine", "tiny"),
        *("--folder", str(engines), "--precision", "fp32", "--threads", "1"),
    ]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    for more in ([], ["--json"]):
        done = subprocess.run([*command, *more], capture_output=True, env=strict, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        lines = done.stdout.decode("utf-8").splitlines()
        assert len(lines) == (3 if more else 4)
        assert "Stück.png" in lines[0]
        if more:
            paths = {os.fsencode(json.loads(line)["path"]) for line in lines}
            assert os.fsencode(tmp_path) + b"/not utf-8 \xff.png" in paths
        else:
            assert r"not utf-8 \udcff.png" in lines[1]
            assert r"two\nlines \x1b[31m.png" in lines[2]


def test_whatever_goes_wrong_with_one_file_the_rest_is_done(classify, tmp_path, monkeypatch):
    files = [save(tmp_path / f"{n}.png", tiny_engine.picture("wn")) for n in range(3)]
    read = file_feed.read_picture

    def unforeseen(path):
        if path == files[1]:
            msg = "nobody thought of that"
            raise RuntimeError(msg)
        return read(path)

    monkeypatch.setattr(file_feed, "read_picture", unforeseen)
    status, rows, err = classify(*files)
    assert status == 1
    assert [row["label"] for row in rows] == ["wn", None, "wn"]
    assert "1.png cannot be read: RuntimeError: nobody thought of that" in err
