"""Secrets by name: where they come from, and that they do not leak."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from inspector.config.document import parse
from inspector.config.secrets import Secrets, names_of
from inspector.errors import UserError
from tests.test_reload import Office


@pytest.fixture
def credentials(tmp_path):
    """A credential folder as systemd makes it, with one credential."""
    (tmp_path / "CAM_PASSWORD").write_text("from the folder\n", encoding="utf-8")
    return tmp_path


def test_the_environment_comes_before_the_credential_folder(credentials):
    folder = {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert Secrets(folder).get("CAM_PASSWORD") == "from the folder"
    assert Secrets({**folder, "CAM_PASSWORD": "from outside"}).get("CAM_PASSWORD") == "from outside"


def test_a_folder_that_the_unit_loads_puts_its_id_before_the_name(tmp_path):
    (tmp_path / "secret_CAM_USER").write_text("viewer\n", encoding="utf-8")
    secrets = Secrets({"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert secrets.get("CAM_USER") == "viewer"
    (tmp_path / "CAM_USER").write_text("of its own\n", encoding="utf-8")
    assert secrets.get("CAM_USER") == "of its own"


def test_an_empty_variable_does_not_hide_the_credential(credentials):
    environment = {"CREDENTIALS_DIRECTORY": str(credentials), "CAM_PASSWORD": ""}
    assert Secrets(environment).get("CAM_PASSWORD") == "from the folder"


def test_without_argument_the_environment_of_the_process_is_asked(monkeypatch):
    monkeypatch.setenv("CAM_PASSWORD", "x")
    assert Secrets().get("CAM_PASSWORD") == "x"
    monkeypatch.delenv("CAM_PASSWORD")
    assert Secrets().missing(["CAM_PASSWORD"]) == ["CAM_PASSWORD"]


def test_a_missing_secret_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"CAM_PASSWORD is not set: export it.*LoadCredential="):
        Secrets({}).get("CAM_PASSWORD")


def test_a_credential_that_cannot_be_read_is_told_and_not_shown(credentials):
    (credentials / "KEY").write_bytes(b"hunter2\xff")
    with pytest.raises(UserError, match=r"credential KEY .* cannot be read") as caught:
        Secrets({"CREDENTIALS_DIRECTORY": str(credentials)}).get("KEY")
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown_by_their_holder():
    assert repr(Secrets({"CAM_PASSWORD": "hunter2"})) == "Secrets()"


def test_names_of_finds_every_key_that_names_a_secret():
    document = parse(
        """
        version: 1
        station: line-1
        cameras:
          a:
            source: {kind: rtsp, url: rtsp://10.0.0.1/}
            credentials: {username: A, password: B}
          b:
            source: {kind: rtsp, url: rtsp://10.0.0.2/}
            credentials: {username: A, password: C}
        events:
          kafka:
            bootstrap_servers: [b:1]
            security_protocol: SASL_SSL
            tls: {certificate_file: c, key_file: k, key_password: D}
            sasl: {mechanism: PLAIN, username: E, password: F}
        web: {token: G}
        """
    )
    assert names_of(document.value) == {
        "A": [
            ("cameras", "a", "credentials", "username"),
            ("cameras", "b", "credentials", "username"),
        ],
        "B": [("cameras", "a", "credentials", "password")],
        "C": [("cameras", "b", "credentials", "password")],
        "D": [("events", "kafka", "tls", "key_password")],
        "E": [("events", "kafka", "sasl", "username")],
        "F": [("events", "kafka", "sasl", "password")],
        "G": [("web", "token")],
    }


def test_names_of_passes_over_what_is_no_section():
    assert names_of({"cameras": [1], "web": {"token": ["T"]}, "events": {"kafka": "x"}}) == {}
    assert names_of({"web": {"token": "not a name"}, "token": "T"}) == {}
    assert names_of("text") == names_of(None) == {}


@pytest.mark.parametrize(
    "url",
    [
        "rtps://10.0.0.21:554/user=op&password=s3cret&channel=1",
        "rtsp://admin:s3cret\uff1f7@10.0.0.1",
    ],
)
def test_a_refused_reload_shows_no_password_of_an_address(url, tmp_path):
    office = Office(tmp_path)
    office.write(cameras={"a": {"source": {"kind": "rtsp", "url": url}}})
    with capture_logs() as logs:
        outcome = office.reloads.reload("SIGHUP")
    assert outcome.word == "refused"
    assert "s3cret" not in f"{outcome} {office.reloads.facts()} {office.journal.newest(9)} {logs}"
