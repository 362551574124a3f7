from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from inspector.observe.health import Fact, Health, Phase
from inspector.web.probes import make_probes_app

LOCAL = "http://127.0.0.1:8788"


def client(token: str | None = None, *, broker: bool = True) -> TestClient:
    health = Health()
    health.phase = Phase.SERVING
    health.watch((), lambda: [Fact("broker", broker, "as it is")])
    app = make_probes_app(
        health, lambda: {"role": "active"}, lambda: b"up 1\n", host="127.0.0.1", token=token
    )
    return TestClient(app, base_url=LOCAL)


def test_it_answers_probes_metrics_and_status():
    served = client(broker=False)
    ready = served.get("/readyz")
    assert ready.status_code == 200  # a broker that is away is told, and gates nothing
    assert [fact["ok"] for fact in ready.json()["facts"]] == [True, False]
    assert served.get("/livez").status_code == served.get("/startupz").status_code == 200
    assert served.head("/readyz").status_code == 200
    assert served.get("/metrics").text == "up 1\n"
    assert served.get("/api/status").json() == {"role": "active"}


def test_off_loopback_all_but_the_probes_ask_for_the_token():
    served = client(token="hunter2")
    assert served.get("/livez").status_code == served.get("/readyz").status_code == 200
    for path in ("/metrics", "/api/status"):
        assert served.get(path).status_code == 401
        assert served.get(path, headers={"Authorization": "Bearer hunter"}).status_code == 401
        assert served.get(path, headers={"Authorization": "Bearer hunter2"}).status_code == 200
        assert served.get(path, auth=("anybody", "hunter2")).status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/metrics"])
def test_a_page_of_another_site_cannot_reach_it_by_a_name_of_its_own(path):
    assert client().get(path, headers={"Host": "evil.example"}).status_code == 400
