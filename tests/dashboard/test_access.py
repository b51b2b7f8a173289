"""Who gets what from a dashboard with a token, and from one without; what no request can get."""

from __future__ import annotations

import http.client
import re
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from sadp_dist import PruningConfig, connect
from sadp_dist.cli.dashboard import dashboard as dashboard_command
from sadp_dist.errors import MissingExtra, UsageError
from tests.cli.test_commands import refused, sadp_dist_command
from tests.dashboard.process import TOKEN, Dashboard
from tests.store.redis_server import PASSWORD, ROOT, USER, RedisServer, until

pytestmark = pytest.mark.slow

PROTECTED = (
    "/api/health",
    "/api/runs",
    "/api/runs/digits/stats",
    "/api/runs/digits/history",
    "/api/runs/digits/classes",
    "/api/runs/digits/top",
    "/api/runs/nothing/stats",
    "/api/images/0",
    "/api/nothing",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/static-offline-docs/swagger-ui-bundle.js",
    "/nothing",
)


@pytest.fixture(scope="module")
def locked(server, training, digits):
    """A dashboard with a token."""
    arguments = ("--images", digits, "--split", "train")
    with Dashboard(server.url, *arguments, SADP_DIST_DASHBOARD_TOKEN=TOKEN) as dashboard:
        yield dashboard


@pytest.mark.parametrize("path", PROTECTED)
def test_without_the_token_there_is_nothing(locked, path):
    for headers in (
        {},
        {"authorization": TOKEN},
        {"authorization": "Basic " + TOKEN},
        {"authorization": "Bearer"},
        {"cookie": f"token={TOKEN}; sadp_dist={TOKEN}"},
        {"x-token": TOKEN},
    ):
        with locked.anonymous(**headers) as client:
            for address in (path, f"{path}?token={TOKEN}&access_token={TOKEN}", f"{path}#{TOKEN}"):
                answer = client.get(address)
                assert answer.status_code == 401
                assert set(answer.json()) == {"detail"}
                assert TOKEN not in answer.text


def test_with_the_token_everything_is_there(locked):
    for path in PROTECTED:
        expected = 404 if "nothing" in path else 200
        assert locked.get(path).status_code == expected, path


def test_the_page_with_its_form_and_the_sign_of_life_are_for_everybody(locked):
    with locked.anonymous() as client:
        assert client.get("/healthz").text == "ok"
        page = client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for file in re.findall(r'(?:src|href)="(static/[^"]+)"', page.text):
            assert client.get(f"/{file}").status_code == 200, file
        assert client.get("/static/plotly.min.js").headers["content-type"].startswith("text/javascript")


def test_the_form_gives_a_cookie_that_scripts_cannot_read_and_that_is_not_the_token(locked):
    with locked.anonymous() as browser:
        assert browser.get("/api/runs").status_code == 401
        answer = browser.post("/login", data={"token": TOKEN})
        assert (answer.status_code, answer.headers["location"]) == (303, "./")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert TOKEN not in cookie
        assert browser.get("/api/runs").status_code == 200
        value = browser.cookies.popitem()[1]
        with locked.anonymous(authorization=f"Bearer {value}") as other:
            assert other.get("/api/runs").status_code == 401


def test_who_sends_wrong_tokens_is_held_up_and_the_right_one_never_is(locked):
    with locked.anonymous() as guesser:
        answers = [
            guesser.get("/api/runs", headers={"authorization": f"Bearer {TOKEN[:-1]}{end}"})
            if number % 2
            else guesser.post("/login", data={"token": f"{TOKEN}{end}"})
            for number, end in enumerate("abcdefghijkl")
        ]
        assert [answer.status_code for answer in answers] == 10 * [401] + 2 * [429]
        assert answers[0].json() == {"detail": "the token is wrong"}
        assert answers[-1].headers["retry-after"] == "60"
        assert guesser.post("/login", data={"token": TOKEN}, follow_redirects=False).status_code == 303
    assert locked.get("/api/runs").status_code == 200


def test_odd_logins_are_refused(locked):
    with locked.anonymous() as client:
        assert client.post("/login", content=b"token=" + 10_000 * b"x").status_code == 413
        for content in (b"", b"token", b"\xff\xfe", b'{"token": "x"}'):
            assert client.post("/login", content=content).status_code == 401
        assert client.get("/login").status_code == 401
        assert client.get("/api/runs", headers={"cookie": "a=b; =; ;;"}).status_code == 401
    assert raw(locked, "/api/runs", Authorization="Bearer \x80\xff", Cookie="\xfe=\xff")[0] == 401


def test_every_answer_says_what_a_browser_may_do_with_it(locked):
    with locked.anonymous() as anonymous:
        answers = [locked.get(path) for path in ("/", "/api/runs", "/metrics", "/docs", "/api/nothing")]
        for answer in (*answers, anonymous.get("/api/runs"), anonymous.get("/static/page.js")):
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
            assert ("script-src 'self';" in policy) == (answer.url.path != "/docs")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in answer.headers
    assert answers[1].headers["cache-control"] == "no-store"


def test_the_page_of_the_api_loads_nothing_from_elsewhere(locked):
    page = locked.get("/docs").text
    assert "swagger-ui-bundle.js" in page
    for file in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert file.startswith("/")
        assert locked.get(file).status_code == 200, file


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "/static//etc/passwd",
        "/static/..\\app.py",
        "/static/%00",
        "/static/" + "a" * 5000,
        "/static-offline-docs/../core.py",
        "/static-offline-docs/%2e%2e/core.py",
        "/api/images/../../app.py",
        "/api/images/..%2f..%2fapp.py",
        "/api/images/0%2f..%2f..%2f..%2fetc%2fpasswd",
        "/api/images/train%2f0%2f0.png",
        "/api/images/0.png",
        "/api/images/1e1",
        "/api/images/",
        "/api/images/%00",
        "/api/runs/..%2f..%2fetc%2fpasswd/stats",
        "/api/runs/%00/stats",
        "/api/runs//stats",
        "/api/runs/%ff%fe/stats",
    ],
)
def test_no_path_leads_outside(locked, path):
    status, body = raw(locked, path)
    assert status in (404, 422), body
    assert b"root:" not in body and b"import " not in body


def raw(dashboard: Dashboard, path: str, **headers: str) -> tuple[int, bytes]:
    """An answer to a request that no client has put in order."""
    connection = http.client.HTTPConnection(urlsplit(dashboard.address).netloc, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}", **headers})
    with connection.getresponse() as answer:
        body = answer.read()
    connection.close()
    return answer.status, body


def test_a_page_elsewhere_whose_name_means_this_machine_reads_nothing(dashboard):
    port = urlsplit(dashboard.address).port
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1.evil.example",
        "",
        "localhost.evil.example",
    ):
        status, body = raw(dashboard, "/api/runs", Host=host)
        assert (status, b"digits" in body) == (400, False), host
    for host in (f"127.0.0.1:{port}", "localhost", f"localhost:{port}", f"[::1]:{port}"):
        assert raw(dashboard, "/api/runs", Host=host)[0] == 200, host


def test_no_host_that_is_claimed_makes_a_path_public(locked):
    for host in (
        "x/static/",
        "x/static/?",
        "x/healthz?",
        "x/healthz#",
        "x/static/y:80",
        "x@y/static/",
        "/",
        "",
    ):
        status, body = raw(locked, "/api/runs", Host=host, Authorization="")
        assert status in (400, 401) and b"digits" not in body, host


def test_a_class_and_a_run_may_be_called_anything(server, tmp_path):
    from PIL import Image

    evil = "<img src=x onerror=alert(1)>"
    for name in (evil, "plain"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "0.png")
    run = "<script>alert(1)</script>"
    with connect(server.url, run, 2, PruningConfig(ratio=0.0, epochs=2), [0, 1]) as store:
        store.push([0, 1], [1.0, 2.0], epoch=0)
        store.flush()
        with Dashboard(server.url, "--images", tmp_path) as dashboard:
            rows = dashboard.of(run, "top")
            assert [row["name"] for row in rows.json()] == ["plain", evil]
            for answer in (rows, dashboard.get("/api/runs"), dashboard.of(run, "classes")):
                assert answer.headers["content-type"] == "application/json"
                assert answer.headers["x-content-type-options"] == "nosniff"
            metrics = dashboard.get("/metrics")
            assert f'run="{run}"' in metrics.text
            assert metrics.headers["content-type"].startswith("text/plain")
            missing = dashboard.of(f"{run}no", "stats")
            assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")


def test_the_stores_password_is_nowhere(tmp_path):
    def answers() -> list[str]:
        paths = ("/api/health", "/api/runs", "/metrics", "/api/runs/no/stats")
        return [dashboard.get(path).text for path in paths]

    with RedisServer(tmp_path, conf=ROOT / "docker" / "redis.conf") as server:
        place = f"127.0.0.1:{server.port}/0"
        line = refused(sadp_dist_command("dashboard", "--store", f"redis://{USER}:hunter2@{place}"))
        assert "refuses this user and password" in line and "hunter2" not in line
        with Dashboard(f"redis://{USER}:{quote(PASSWORD, safe='')}@{place}") as dashboard:
            assert dashboard.get("/api/health").json()["reachable"] is True
            said = answers()
            server.kill()
            until(lambda: dashboard.get("/api/runs").status_code == 503)
            said += answers()
            assert dashboard.stop() == 0
            for text in (*said, *dashboard.lines):
                for part in (PASSWORD, quote(PASSWORD, safe=""), "battery", f"{USER}:"):
                    assert part not in text


def test_an_address_for_others_needs_a_token(tmp_path):
    line = refused(sadp_dist_command("dashboard", "--store", tmp_path, "--host", "0.0.0.0"))
    assert "--host 0.0.0.0 is reachable from other machines" in line
    assert "openssl rand -hex 32" in line and "SADP_DIST_DASHBOARD_TOKEN" in line


def test_the_token_may_come_from_a_file(tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    with Dashboard(tmp_path, SADP_DIST_DASHBOARD_TOKEN_FILE=str(tmp_path / "token")) as dashboard:
        assert dashboard.get("/api/runs").status_code == 401
        with dashboard.anonymous(authorization=f"Bearer {TOKEN}") as client:
            assert client.get("/api/runs").status_code == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"token": "short"},
            "the token in --token or SADP_DIST_DASHBOARD_TOKEN is not valid: it must have at least 16",
        ),
        ({"token": "päss wörd päss wörd"}, "must have at least 16 printable ASCII characters"),
        ({"token_file": Path("/no/token")}, "/no/token cannot be read"),
        ({"token": TOKEN, "token_file": Path("/no/token")}, "there are two tokens"),
        ({"host": "no.such.host.invalid"}, "--host no.such.host.invalid is not an address"),
        ({"split": "train"}, "--split train needs --images"),
        ({"images": "/no/images"}, "'/no/images' does not exist"),
        ({"store": "redsi://me:secret@host"}, "is not a store"),
        ({"store": "/no/folder"}, "--store /no/folder does not exist"),
        ({"store": "memory:"}, "lives in the processes that train"),
    ],
)
def test_what_is_typed_wrong_is_one_line_that_has_no_secret(tmp_path, options, message):
    with pytest.raises(UsageError) as wrong:
        dashboard_command(**{"store": str(tmp_path), "port": 0, **options})
    line = str(wrong.value)
    assert message in line and "\n" not in line
    for secret in ("short", "wörd", TOKEN, "secret"):
        assert secret not in line


def test_without_its_packages_one_is_told_what_to_install(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("sadp_dist.dashboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtra, match=r"uvicorn is not installed.*'sadp_dist\[dashboard\]'"):
        dashboard_command(store=str(tmp_path))
