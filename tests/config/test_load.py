"""Station files: what is read from them, and what is said about their faults."""

from __future__ import annotations

import pickle
from pathlib import Path
from textwrap import dedent

import pytest

from inspector.config.faults import Fault, StationFileError, dotted
from inspector.config.load import load_station, read_station
from inspector.config.secrets import Secrets

SMALLEST = """\
version: 1
station: line-1
cameras:
  a: {source: {kind: pattern}}
"""


@pytest.fixture
def write(tmp_path):
    def _write(text: str) -> Path:
        path = tmp_path / "station.yaml"
        path.write_text(dedent(text), encoding="utf-8")
        return path

    return _write


@pytest.fixture
def faults_of(write):
    """The faults of a file, as (line, key, problem)."""

    def _faults_of(text: str) -> list[tuple[int | None, str, str]]:
        with pytest.raises(StationFileError) as caught:
            load_station(write(text))
        return [(fault.line, dotted(fault.key), fault.problem) for fault in caught.value.faults]

    return _faults_of


def test_smallest_file_has_defaults_everywhere(write):
    station = load_station(write(SMALLEST))
    assert station.station == "line-1"
    assert station.cameras["a"].policy == "default"
    assert station.policy_of("a").needed == 3
    assert station.events.kafka is None
    assert station.web.listen == "127.0.0.1:8787"


def test_relative_paths_start_at_the_files_folder_from_wherever_it_is_named(
    write, tmp_path, monkeypatch
):
    path = write(
        """\
        version: 1
        station: line-1
        state: here/state
        cameras:
          a: {source: {kind: video, path: clips/a.mp4}}
          b: {source: {kind: images, folder: /absolute/pictures}}
        """
    )
    monkeypatch.chdir(tmp_path.parent)
    station = load_station(Path(tmp_path.name) / path.name)
    assert station.state == tmp_path / "here/state"
    assert station.cameras["a"].source.path == tmp_path / "clips/a.mp4"
    assert station.cameras["b"].source.folder == Path("/absolute/pictures")


def test_loading_makes_no_folder_and_asks_for_no_file(write, tmp_path):
    load_station(write(SMALLEST + "state: new\nengine: {folder: nowhere}\n"))
    assert [path.name for path in tmp_path.iterdir()] == ["station.yaml"]


def test_every_fault_is_told_at_once_in_the_order_of_the_file(faults_of):
    found = faults_of(
        """\
        version: 2
        station: Line 1
        modus: inspect
        cameras:
          infeed:
            source: {kind: rtsp, url: "http://10.0.0.1/", open_timeout: 3}
            policy: strict
            slots: 1
          outfeed:
            source: {kind: pattern, faults: [{label: gblur, from_s: 9, to_s: 3}]}
            inspect: {every_s: often}
        policies:
          default: {needed: 6, window: 5}
        events:
          outbox: {max_mb: 0}
        web: {listen: 0.0.0.0:80}
        """
    )
    assert [(line, key) for line, key, _ in found] == [
        (1, "version"),
        (2, "station"),
        (3, "modus"),
        (6, "cameras.infeed.source.url"),
        (6, "cameras.infeed.source.open_timeout"),
        (7, "cameras.infeed.policy"),
        (8, "cameras.infeed.slots"),
        (10, "cameras.outfeed.source.faults[0]"),
        (11, "cameras.outfeed.inspect.every_s"),
        (13, "policies.default"),
        (15, "events.outbox.max_mb"),
        (16, "web"),
    ]


# What stands in a camera, and the fault it must give: key below the camera, part of the problem.
BARRIER = "on_motion: {x: 1, y: 1, width: 9, height: 9}"
CAMERA_FAULTS = {
    "unknown key": ("{source: {kind: pattern}, polcy: x}", "polcy", 'did you mean "policy"?'),
    "unknown key, nothing near": (
        "{source: {kind: pattern, zzz: 1}}",
        "source.zzz",
        "known here: faults, fps, height, kind, period_s, seed, width",
    ),
    "text for a number": (
        "{source: {kind: pattern, fps: fast}}",
        "source.fps",
        'got "fast", expected a number',
    ),
    "number in quotes": (
        "{source: {kind: pattern}, slots: '6'}",
        "slots",
        'got "6", expected a whole number',
    ),
    "fraction for a whole number": (
        "{source: {kind: pattern, seed: 1.5}}",
        "source.seed",
        "got the number 1.5, expected a whole number",
    ),
    "yes for true": (
        "{source: {kind: video, path: a, loop: yes}}",
        "source.loop",
        'got "yes", expected true or false',
    ),
    "true for a number": (
        "{source: {kind: pattern}, slots: true}",
        "slots",
        "got true, expected a whole number",
    ),
    "too small": (
        "{source: {kind: pattern, width: 8}}",
        "source.width",
        "got the number 8, expected at least 64",
    ),
    "infinite": (
        "{source: {kind: pattern}, max_age_s: .inf}",
        "max_age_s",
        "got the number inf, expected",
    ),
    "not a number": (
        "{source: {kind: pattern}, max_age_s: .nan}",
        "max_age_s",
        "got the number nan",
    ),
    "list for a section": (
        "{source: {kind: pattern}, region: [1, 2, 3, 4]}",
        "region",
        "got a list, expected a section",
    ),
    "section for text": (
        "{source: {kind: video, path: {a: b}}}",
        "source.path",
        "got a section, expected text",
    ),
    "nothing": ("", "", "got nothing, expected a section"),
    "missing key": ("{source: {kind: video}}", "source.path", "missing; expected the file"),
    "missing source": ("{slots: 4}", "source", "missing"),
    "missing kind": (
        "{source: {path: a}}",
        "source.kind",
        "missing; expected one of rtsp, device, video, images, pattern",
    ),
    "unknown kind": (
        "{source: {kind: rstp, url: rtsp://a/b}}",
        "source.kind",
        'got "rstp", expected one of rtsp, device, video, images, pattern; did you mean "rtsp"?',
    ),
    "not one of the choices": (
        "{source: {kind: rtsp, url: rtsp://a/b, transport: http}}",
        "source.transport",
        'got "http", expected "tcp" or "udp"',
    ),
    "keys that exclude each other": (
        "{source: {kind: images, folder: a, watch: true, loop: true}}",
        "source",
        "watch and loop exclude each other",
    ),
    "credentials of a camera without log-in": (
        "{source: {kind: pattern}, credentials: {username: A, password: B}}",
        "",
        "credentials are for rtsp sources, this one is pattern",
    ),
    "address with an impossible port": (
        '{source: {kind: rtsp, url: "rtsp://10.0.0.1:99999/"}}',
        "source.url",
        "the port must be a number from 1 to 65535",
    ),
    "address with a blank": (
        '{source: {kind: rtsp, url: "rtsp://10.0.0.1/a b"}}',
        "source.url",
        "expected an address such as rtsp://",
    ),
    "address with empty credentials": (
        '{source: {kind: rtsp, url: "rtsp://@10.0.0.1/"}}',
        "source.url",
        "name them under credentials",
    ),
    "fault after the end of the script": (
        "{source: {kind: pattern, period_s: 10, faults: [{label: wn, from_s: 12, to_s: 14}]}}",
        "source",
        "a fault lasts to 14 s, the script begins again after period_s (10 s)",
    ),
    "a script without end": (
        "{source: {kind: pattern, faults: ["
        + ", ".join(["{label: wn, from_s: 1, to_s: 2}"] * 101)
        + "]}}",
        "source.faults",
        "at most 100 entries",
    ),
    "region that fits no slot": (
        "{source: {kind: video, path: a}, region: {x: 0, y: 0, width: 5000, height: 5000}}",
        "",
        "pictures of 5000x5000 have 25.0 megapixels, max_megapixels is 16",
    ),
    "pattern that fits no slot": (
        "{source: {kind: pattern, width: 7680, height: 4320}}",
        "",
        "pictures of 7680x4320 have 33.2 megapixels, max_megapixels is 16",
    ),
    "region outside the pattern": (
        "{source: {kind: pattern}, region: {x: 1200, y: 0, width: 100, height: 100}}",
        "",
        "region reaches to column 1300 and row 100, the pattern has 1280x720",
    ),
    "two reasons to judge": (
        "{source: {kind: pattern}, inspect: {on_trigger: true, every_s: 0.2}}",
        "inspect",
        "on_trigger and every_s (0.2) exclude each other",
    ),
    "three reasons to judge": (
        f"{{source: {{kind: pattern}}, inspect: {{every_s: 1, on_trigger: true, {BARRIER}}}}}",
        "inspect",
        "on_trigger and on_motion and every_s (1) exclude each other",
    ),
    "parts that cannot be told from the belt": (
        f"{{source: {{kind: pattern}}, inspect: {{{BARRIER[:-1]}, free: 0.2}}}}}}",
        "inspect.on_motion",
        "say whether parts are lighter or darker than it",
    ),
    "barrier outside the pattern": (
        "{source: {kind: pattern}, inspect: {on_motion: {x: 1279, y: 0, width: 8, height: 100}}}",
        "",
        "inspect.on_motion reaches to column 1287 and row 100, the pattern has 1280x720",
    ),
    "a delay beyond the deadline": (
        "{source: {kind: pattern}, camera_delay_ms: 500, inspect: {deadline_ms: 500}}",
        "",
        "camera_delay_ms (500) must be less than inspect.deadline_ms (500)",
    ),
    "empty path": ("{source: {kind: video, path: ''}}", "source.path", "expected a path"),
    "date for a name": (
        "{source: {kind: pattern}, policy: 2026-01-01}",
        "policy",
        'no policy is called "2026-01-01"; known here: default',
    ),
}


@pytest.mark.parametrize(("text", "key", "problem"), CAMERA_FAULTS.values(), ids=CAMERA_FAULTS)
def test_fault_of_a_camera_says_where_what_came_and_what_was_expected(
    text, key, problem, faults_of
):
    found = faults_of(f"version: 1\nstation: line-1\ncameras:\n  a: {text}\n")
    place = f"cameras.a.{key}".rstrip(".")
    assert [(line, where) for line, where, _ in found] == [(4, place)], found
    assert problem in found[0][2]


def test_two_cameras_of_one_name_are_one_fault_with_both_lines(faults_of):
    text = SMALLEST + "  b: {source: {kind: pattern}}\n  a: {source: {kind: pattern}}\n"
    assert faults_of(text) == [
        (6, "cameras.a", "the camera came twice, first at line 4; each name stands once")
    ]


def test_a_key_that_comes_twice_is_a_fault(faults_of):
    assert faults_of(SMALLEST + "station: line-2\n") == [
        (5, "station", "the key came twice, first at line 2; each name stands once")
    ]


def test_an_alias_of_a_section_that_merges_and_overrides_repeats_nothing(write):
    station = load_station(
        write(
            """\
            version: 1
            station: line-1
            cameras:
              left: &camera {source: {kind: pattern}, slots: 4}
              right: &big {<<: *camera, slots: 8}
              top: *big
            """
        )
    )
    assert [camera.slots for camera in station.cameras.values()] == [4, 8, 8]


def test_a_key_that_comes_twice_is_told_once_however_many_aliases_there_are(faults_of):
    text = SMALLEST.replace("  a: ", "  a: &a ").replace("pattern}", "pattern, seed: 1, seed: 2}")
    assert faults_of(text + "  b: *a\n  c: {<<: *a, slots: 8}\n") == [
        (4, "cameras.a.source.seed", "the key came twice, first at line 4; each name stands once")
    ]


def test_a_key_that_comes_twice_in_what_is_merged_is_told_too(faults_of):
    text = SMALLEST + "  b: {<<: [{slots: 4, slots: 8}], source: {kind: pattern}}\n"
    assert [line for line, _, problem in faults_of(text) if "came twice" in problem] == [5]


@pytest.mark.parametrize(
    "value",
    [
        "!!bool foo",
        "!!timestamp foo",
        "!!timestamp 2020-01-01",
        "!!timestamp 2020-13-01",
        "!!binary aGk=",
        "!!int ''",
        "!!float ''",
        "!!python/name:os.system ''",
        pytest.param("9" * 5000, id="long number"),
    ],
)
def test_a_value_that_is_not_what_its_tag_says_is_a_fault_with_its_line(value, faults_of):
    ((line, key, problem),) = faults_of(f"{SMALLEST}mode: {value}\n")
    assert (line, key) == (5, "mode")
    assert problem.startswith("a value of kind tag:yaml.org,2002:")


def test_rules_between_keys_are_told_together_with_unknown_keys_beside_them(faults_of):
    found = faults_of(SMALLEST + "policies:\n  p: {needed: 9, window: 4, recover: 3}\n")
    assert [problem for _, _, problem in found] == [
        "needed (9) cannot exceed window (4)",
        'unknown key; did you mean "recover_after"?',
    ]


def test_a_wrong_value_leads_to_no_second_fault_about_its_neighbours(faults_of):
    # Without `window` its default, 5, would make `needed: 9` wrong as well.
    found = faults_of(SMALLEST + "policies:\n  p: {needed: 9, window: many}\n")
    assert found == [(6, "policies.p.window", 'got "many", expected a whole number')]


def test_labels_of_a_policy_are_all_or_a_list(faults_of):
    found = faults_of(
        SMALLEST
        + "policies:\n  p: {reject: [gblur, blurry]}\n  q: {reject: 5}\n  r: {reject: []}\n"
    )
    assert [(line, key) for line, key, _ in found] == [
        (6, "policies.p.reject[1]"),
        (7, "policies.q.reject"),
        (8, "policies.r.reject"),
    ]
    assert '"gblur"' in found[0][2]
    assert found[1][2] == 'got the number 5, expected "all", or a list'
    assert found[2][2] == 'got an empty list, expected "all", or at least 1 entry'


@pytest.mark.parametrize(
    ("kafka", "key", "problem"),
    [
        ("{bootstrap_servers: []}", ".bootstrap_servers", "at least 1 entry"),
        ("{bootstrap_servers: [broker]}", ".bootstrap_servers[0]", "HOST:PORT"),
        ("{bootstrap_servers: ['b:99999']}", ".bootstrap_servers[0]", "a port from 1 to 65535"),
        (
            "{bootstrap_servers: [b:1], security_protocol: SASL_SSL}",
            "",
            "SASL_SSL needs a sasl section",
        ),
        (
            "{bootstrap_servers: [b:1], sasl: {mechanism: PLAIN, username: U, password: P}}",
            "",
            "PLAINTEXT does not go with a sasl section",
        ),
        (
            "{bootstrap_servers: [b:1], tls: {ca_file: a}}",
            "",
            "PLAINTEXT does not go with a tls section",
        ),
        (
            "{bootstrap_servers: [b:1], security_protocol: SSL, tls: {key_file: a}}",
            ".tls",
            "certificate_file and key_file go together",
        ),
    ],
)
def test_faults_of_the_broker_section(kafka, key, problem, faults_of):
    found = faults_of(SMALLEST + f"events:\n  kafka: {kafka}\n")
    assert [(line, where) for line, where, _ in found] == [(6, f"events.kafka{key}")], found
    assert problem in found[0][2]


# Files that are no station file at all: content, line, part of the problem.
BROKEN = {
    "empty": (b"", None, "the file is empty"),
    "only a comment": (b"# nothing\n", None, "the file is empty"),
    "a tab": (b"version: 1\ncameras:\n\ta: 1\n", 3, "a tab; YAML indents with spaces"),
    "an open bracket": (b"version: 1\ncameras: {a: [1, 2\n", 3, "not YAML"),
    "bad indentation": (b"version: 1\n  station: x\n", 2, "a colon where none is expected"),
    "two documents": (b"version: 1\n---\nversion: 1\n", 2, "a second document begins here"),
    "a list": (b"- version: 1\n", 1, "got a list, expected a section"),
    "plain text": (b"hello\n", 1, 'got "hello", expected a section'),
    "binary": (b"version: 1\n\x00\x01\x02", 2, "not text: the character U+0000"),
    "other encoding": ("version: 1\nstation: \xe4".encode("latin-1"), 2, "not text in UTF-8"),
    "a Python object": (b"version: !!python/name:os.system\n", 1, "no place here"),
    "an alias that holds itself": (b"version: &a [*a]\n", 1, "an alias that holds itself"),
    "an unknown alias": (b"version: *nobody\n", 1, "not YAML: found undefined alias"),
    "nested without end": (b"[" * 5000, None, "nested too deeply"),
    "a key that is a list": (b"? [a]\n: 1\n", 1, "a key must be one word"),
}


@pytest.mark.parametrize(("content", "line", "problem"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_station_file_is_refused_in_one_sentence(content, line, problem, tmp_path):
    path = tmp_path / "station.yaml"
    path.write_bytes(content)
    with pytest.raises(StationFileError) as caught:
        load_station(path)
    found = [(fault.line, fault.problem) for fault in caught.value.faults]
    assert any(where == line and problem in text for where, text in found), found


def test_aliases_that_multiply_are_refused_quickly(tmp_path):
    path = tmp_path / "station.yaml"
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{now}: &{now} [{', '.join([f'*{before}'] * 10)}]"
        for before, now in zip("abcdefg", "bcdefgh", strict=True)
    ]
    path.write_text("\n".join(lines))
    with pytest.raises(StationFileError, match="aliases multiply"):
        load_station(path)


def test_aliases_and_merge_keys_spare_repetition(write):
    station = load_station(
        write(
            """\
            version: 1
            station: line-1
            cameras:
              a: &usual
                source: {kind: pattern, seed: 1}
                slots: 4
              b:
                <<: *usual
                source: {kind: pattern, seed: 2}
            """
        )
    )
    assert station.cameras["b"].slots == 4
    assert station.cameras["b"].source.seed == 2


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "station.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())
    assert load_station(path).station == "line-1"


def test_numbers_are_read_as_they_look(write):
    station = load_station(
        write(SMALLEST.replace("kind: pattern", "kind: pattern, seed: 010, fps: 1e1"))
    )
    assert station.cameras["a"].source.seed == 10
    assert station.cameras["a"].source.fps == 10.0


@pytest.mark.parametrize(
    ("name", "problem"),
    [("nothing.yaml", "there is no such file"), (".", "this is a folder")],
)
def test_a_file_that_cannot_be_opened(name, problem, tmp_path):
    with pytest.raises(StationFileError, match=problem):
        load_station(tmp_path / name)


def test_a_file_too_large_to_be_one_is_not_read(tmp_path):
    path = tmp_path / "station.yaml"
    path.write_bytes(b"#" * 2_000_001)
    with pytest.raises(StationFileError, match="this is no station file"):
        load_station(path)


def test_no_message_shows_what_may_be_a_secret(write):
    text = """\
        version: 1
        station: line-1
        cameras:
          a:
            source: {kind: rtsp, url: "rtsp://root:hunter2@10.0.0.1/"}
            credentials: {username: "root hunter2", password: "hunter2!"}
        web: {token: "hunter2 hunter2"}
        """
    with pytest.raises(StationFileError) as caught:
        load_station(write(text))
    assert len(caught.value.faults) == 4
    assert "hunter2" not in str(caught.value)
    assert not any("hunter2" in f"{fault.got}" for fault in caught.value.faults)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp:/admin:hunter2@10.0.0.21/s",
        "rtsp//admin:hunter2@10.0.0.21/s",
        "admin:hunter2@10.0.0.21/s",
        "rtsp://admin:hunter2/x@10.0.0.21/s",
        "rtsp://admin:hunter2#x@10.0.0.21/s",
        "rtsp://admin:hunter2?x@10.0.0.21/s",
        "rtsp://admin:12/hunter2@10.0.0.21/s",
        "rtsp://admin:hunter2\uff1f7@10.0.0.21/s",
        "rtsp://admin:[hunter2@10.0.0.21/s",
    ],
)
def test_an_address_that_is_mistyped_shows_no_password(write, url):
    text = f"""\
        version: 1
        station: line-1
        cameras: {{a: {{source: {{kind: rtsp, url: "{url}"}}}}}}
        """
    with pytest.raises(StationFileError) as caught:
        load_station(write(text))
    told = f"{caught.value} {[fault.document() for fault in caught.value.faults]}"
    assert "hunter2" not in told
    assert "***@10.0.0.21/s" in told


@pytest.mark.parametrize(
    "url",
    [
        "rtps://10.0.0.21:554/user=op&password=hunter2&channel=1",
        "rtsp://10.0.0.21:554000/user=op_password=hunter2_channel=1",
        "rtsp:/10.0.0.21/stream1?user=op&pwd=hunter2",
    ],
)
def test_a_password_in_the_path_of_a_wrong_address_is_not_shown(write, url):
    text = f"{SMALLEST}  b: {{source: {{kind: rtsp, url: '{url}'}}}}\n"
    with pytest.raises(StationFileError) as caught:
        load_station(write(text))
    told = f"{caught.value} {[fault.document() for fault in caught.value.faults]}"
    assert "hunter2" not in told
    assert "***" in told


def test_missing_secrets_are_faults_with_the_line_that_names_them(write):
    path = write(
        """\
        version: 1
        station: line-1
        cameras:
          a:
            source: {kind: rtsp, url: rtsp://10.0.0.1/}
            credentials:
              username: CAM_USER
              password: CAM_PASSWORD
        web: {token: WEB_TOKEN}
        """
    )
    assert load_station(path).web.token == "WEB_TOKEN"
    with pytest.raises(StationFileError) as caught:
        load_station(path, Secrets({"CAM_USER": "root", "WEB_TOKEN": ""}))
    assert [(fault.line, dotted(fault.key)) for fault in caught.value.faults] == [
        (8, "cameras.a.credentials.password"),
        (9, "web.token"),
    ]
    assert "CAM_PASSWORD is not set" in str(caught.value)
    complete = {"CAM_USER": "root", "CAM_PASSWORD": "x", "WEB_TOKEN": "y"}
    assert load_station(path, Secrets(complete)).station == "line-1"


def test_missing_secrets_are_told_together_with_every_other_fault(write, tmp_path):
    path = write(
        """\
        version: 1
        station: line-1
        modus: inspect
        cameras:
          a:
            source: {kind: rtsp, url: http://10.0.0.1/}
            credentials: {username: CAM_USER, password: CAM_PASSWORD}
          b: {source: {kind: pattern}, slots: many}
        web: {token: WEB_TOKEN}
        """
    )
    (tmp_path / "CAM_PASSWORD").write_bytes(b"\xff")
    with pytest.raises(StationFileError) as caught:
        load_station(path, Secrets({"CAM_USER": "x", "CREDENTIALS_DIRECTORY": str(tmp_path)}))
    assert [(fault.line, dotted(fault.key)) for fault in caught.value.faults] == [
        (3, "modus"),
        (6, "cameras.a.source.url"),
        (7, "cameras.a.credentials.password"),
        (8, "cameras.b.slots"),
        (9, "web.token"),
    ]
    assert "CAM_PASSWORD in $CREDENTIALS_DIRECTORY cannot be read" in str(caught.value)
    assert "WEB_TOKEN is not set" in str(caught.value)


def test_a_loaded_file_knows_the_place_of_its_keys(write):
    file = read_station(write(SMALLEST))
    assert file.fault(("cameras", "a", "source"), "late").line == 4
    assert file.fault(("cameras", "a", "slots"), "absent keys lie at their parent").line == 4


def test_the_error_survives_the_way_between_processes():
    error = StationFileError(Path("s.yaml"), [Fault(("a", 0), "wrong", 3, 1)])
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "s.yaml: 1 fault\n  line 3: a[0]: wrong"
    assert copy.faults == error.faults


@pytest.mark.parametrize(
    ("evidence", "key", "problem"),
    [
        ("{format: gif}", ".format", "jpeg"),
        ("{format: png, quality: 90}", "", "quality goes with format jpeg; png is lossless"),
        ("{keep_days: 0}", ".keep_days", "more than 0"),
        ("{max_mb: 0}", ".max_mb", "at least 1"),
        ("{min_free_mb: -1}", ".min_free_mb", "at least 0"),
        ("{per_minute: 0}", ".per_minute", "at least 1"),
        ("{folder: ''}", ".folder", "expected a path"),
        ("{keep_day: 3}", ".keep_day", "keep_days"),
    ],
)
def test_fault_of_the_evidence(evidence, key, problem, faults_of):
    found = faults_of(f"{SMALLEST}evidence: {evidence}\n")
    assert [(line, where) for line, where, _ in found] == [(5, f"evidence{key}")], found
    assert problem in found[0][2]


@pytest.mark.parametrize("folder", ["''", ".", "./"])
def test_plans_have_a_folder_of_their_own(folder, faults_of):
    ((line, key, problem),) = faults_of(f"{SMALLEST}engine: {{plans: {folder}}}\n")
    assert (line, key) == (5, "engine.plans")
    assert "expected a path other than the state folder itself" in problem


def test_evidence_is_kept_where_it_is_asked_for(write):
    assert load_station(write(SMALLEST)).evidence is None
    kept = load_station(write(SMALLEST + "evidence: {}\n")).evidence
    assert (kept.format, kept.quality, kept.per_minute, kept.min_free_mb) == ("jpeg", 92, 10, 2000)
    assert kept.folder == Path("evidence"), "in the state folder, not in that of the file"
