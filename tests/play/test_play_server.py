"""Requests: what is refused, what is answered, tabs that close, Ctrl-C."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import fastnn
from fastnn import cli
from fastnn.play import app, server
from fastnn.play.settings import PlaySettings
from fastnn.play.training import train


def request(port, method="GET", path="/", body=None, **headers):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def wanted(number=0, **settings):
    return json.dumps({"id": number, "settings": settings})


def connect(port, **options):
    from websockets.sync.client import connect

    return connect(f"ws://127.0.0.1:{port}/train", max_size=None, **options)


def unpacked(message):
    """Header of a frame, with its arrays."""
    length = int.from_bytes(message[:4], "little")
    assert (4 + length) % 8 == 0
    header, at = json.loads(message[4 : 4 + length]), 4 + length
    for name, kind, size in header.pop("arrays"):
        header[name] = np.frombuffer(message, f"<{kind}", size, at)
        at += size * int(kind[1])
    assert at == len(message)
    return header


def answer(page, number, seconds=30):
    """The last answer to a request: a finished frame or an error."""
    deadline = time.monotonic() + seconds
    while True:
        message = page.recv(timeout=deadline - time.monotonic())
        found = json.loads(message) if isinstance(message, str) else unpacked(message)
        if found["id"] == number and found.get("status") not in ("training", "stopped"):
            return found


# --- files --------------------------------------------------------------------------


def test_page_and_its_headers(port):
    status, headers, body = request(port)
    assert status == 200
    assert b"<title>fastnn play</title>" in body
    assert headers["content-type"].startswith("text/html")
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-content-type-options"] == "nosniff"


def test_files_name_nothing_outside():
    for path in app.STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        for mark in ("https:", "http:", "//www", "@import", "url("):
            known = text.replace("http://www.w3.org/2000/svg", "")
            assert mark not in known, f"{path.name} has {mark}"


def test_files_outside_are_not_served(port):
    for path in ("/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/none.js"):
        assert request(port, path=path)[0] == 404


def test_about(port):
    about = json.loads(request(port, path="/about.json")[2])
    assert about["version"] == fastnn.__version__
    assert about["fields"]["hidden"]["most"] == 8
    assert about["fields"].keys() == PlaySettings.model_fields.keys()
    for name, field in about["fields"].items():
        assert field["default"] == getattr(PlaySettings(), name)


# --- refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}"]
)
def test_foreign_host(port, host):
    status, _, body = request(port, Host=host.format(port=port))
    assert status == 403
    assert b"127.0.0.1" in body


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1"]
)
def test_foreign_origin(port, origin):
    from websockets.exceptions import InvalidStatus

    origin = origin.format(port=port)
    status, _, body = request(port, "POST", "/code", wanted(), Origin=origin)
    assert (status, body) == (403, b"requests from other pages are refused\n")
    with pytest.raises(InvalidStatus, match="403"):
        connect(port, origin=origin)


def test_own_origin_and_localhost(port):
    for name in ("127.0.0.1", "localhost"):
        own = {"Host": f"{name}:{port}", "Origin": f"http://{name}:{port}"}
        assert request(port, "POST", "/code", wanted(), **own)[0] == 200


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"samples": 2001}, "samples must be at most 2000; got 2001"),
        ({"samples": "many"}, "samples must be a whole number; got 'many'"),
        ({"steps": 10**9}, "steps must be at most 200000"),
        ({"hidden": [33], "activation": ["tanh"]}, "hidden must be at most 32; got 33"),
        ({"hidden": [2] * 9, "activation": ["tanh"] * 9}, "hidden: List should have at most 8"),
        ({"hidden": [2, 2]}, "activation must have one name for each of the 2 hidden layers"),
        ({"activation": ["cosine"]}, "activation must be 'identity', 'tanh'"),
        ({"learning_rate": 0}, "learning_rate must be above 0"),
        ({"classes": 5}, "classes must be at most 4; got 5"),
        ({"data": "points"}, "points: draw points of two classes at least"),
        ({"data": "points", "points": [[0, 0, 0], [1, 1, 4]]}, "points.1 must be below 4; got 4"),
        ({"data": "points", "points": [[0, 0, 0]] * 2001}, "points: List should have at most 2000"),
        ({"file": "/etc/passwd"}, "there is no setting 'file'"),
        ({"held_out": 1.0}, "held_out must be at most 0.9; got 1.0"),
        ({"backend": "gpu"}, "backend must be 'auto', 'cython', 'numba' or 'numpy'"),
    ],
)
def test_settings_out_of_bounds(port, settings, words):
    status, _, body = request(port, "POST", "/code", wanted(**settings))
    assert status == 400
    message = json.loads(body)["error"]
    assert words in message
    assert "\n" not in message
    with connect(port) as page:
        page.send(wanted(3, **settings))
        assert answer(page, 3) == {"id": 3, "error": message}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("{", None),
        ("[" * 10_000, None),
        ("[]", None),
        ('{"id": 7}', 7),
        ('{"id": 7, "settings": []}', 7),
        ('{"id": -1, "settings": {}}', -1),
        ('{"id": "x", "settings": {}}', None),
        ('{"id": 7, "settings": {"noise": NaN}}', 7),
        ('{"id": 7, "settings": {"noise": 1e999}}', 7),
    ],
)
def test_requests_that_are_none(port, text, number):
    with connect(port) as page:
        page.send(text)
        found = json.loads(page.recv(timeout=10))
        assert found["id"] == number
        assert found["error"]
        page.send(wanted(8, steps=10))  # the page goes on
        assert answer(page, 8)["status"] == "done"


def test_too_many_bytes(port):
    from websockets.exceptions import ConnectionClosedError

    large = " " * (app.MAX_BYTES + 1)
    status, _, body = request(port, "POST", "/table", large)
    assert status == 413
    assert "at most" in json.loads(body)["error"]
    with connect(port) as page:
        page.send(large)
        with pytest.raises(ConnectionClosedError, match="1009"):
            page.recv(timeout=10)


def test_wrong_method(port):
    assert request(port, path="/code")[0] in (404, 405)
    assert request(port, "POST", "/about.json", "x")[0] == 405


def test_too_many_pages(port, monkeypatch):
    from websockets.exceptions import ConnectionClosedError

    monkeypatch.setattr(app, "MAX_PAGES", 0)
    with connect(port) as page, pytest.raises(ConnectionClosedError, match="open already"):
        page.recv(timeout=10)


# --- answered -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"held_out": 0.25, "steps": 200, "standardize": True},
        {"data": "points", "points": [[0, 0, 1], [1, 1, 3], [0, 1, 1]], "steps": 20},
    ],
)
def test_frame_has_the_numbers_of_the_training(port, settings):
    with connect(port) as page:
        page.send(wanted(5, **settings))
        got = answer(page, 5)
    result = train(PlaySettings.check(settings))
    net, points = result.network, result.points
    assert got["status"] == "done"
    assert got["layers"] == list(net.layer_sizes)
    np.testing.assert_array_equal(got["params"], np.concatenate(result.params))
    np.testing.assert_array_equal(got["scores"].reshape(-1, 4), result.scores)
    np.testing.assert_array_equal(got["X"].reshape(-1, 2), points.X)
    np.testing.assert_array_equal(got["y"], points.y)
    assert np.flatnonzero(got["held_out"]).tolist() == points.test.tolist()
    assert got["classes"] == points.classes.tolist()
    assert got["best"] == result.best
    assert (got["shift"] is None) == (not settings.get("standardize"))


def test_latest_request_wins(port):
    with connect(port) as page:
        for number in range(1, 40):
            page.send(wanted(number, steps=100_000, seed=number))
        page.send(wanted(40, steps=30))
        seen = []
        while not seen or seen[-1]["id"] != 40:
            seen.append(unpacked(page.recv(timeout=30)))
    assert len(seen) < 10  # the others were never begun
    assert seen[-1]["status"] == "done"
    assert {one["status"] for one in seen[:-1]} <= {"training", "stopped"}
    ids = [one["id"] for one in seen]
    assert ids == sorted(ids)


def test_long_run_shows_how_far_it_came(port):
    with connect(port) as page:
        page.send(wanted(1, steps=200_000, hidden=[32] * 8, activation=["tanh"] * 8, samples=2000))
        first = unpacked(page.recv(timeout=30))
        assert first["status"] == "training"
        assert 0 < first["at"][-1] < 200_000
        page.send(wanted(2, steps=10))
        assert answer(page, 2)["status"] == "done"


def test_a_hundred_tabs_that_close(port):
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(connect(port, close_timeout=0.1)) for _ in range(100)]
        for number, page in enumerate(pages):
            page.send(wanted(number, steps=200_000, hidden=[16, 16], activation=["tanh"] * 2))
        for page in pages[::2]:
            page.socket.shutdown(socket.SHUT_RDWR)  # as a browser that has crashed
    with connect(port) as page:
        page.send(wanted(1, steps=100))
        assert answer(page, 1)["status"] == "done"


def test_model_file(port, tmp_path):
    settings = {"steps": 300, "hidden": [4], "activation": ["relu"]}
    status, headers, body = request(port, "POST", "/model", wanted(**settings))
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    (tmp_path / "model.safetensors").write_bytes(body)
    net = fastnn.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(net.params, train(PlaySettings(**settings)).network.params)


def test_model_that_diverges_is_no_file(port):
    status, _, body = request(
        port, "POST", "/model", wanted(activation=["relu"], scale=1e4, dtype="float32")
    )
    assert status == 400
    assert "The loss became" in json.loads(body)["error"]


CSV = "size;weight;kind;note\n1,5;2;cat;a\n2,5;3;dog;b\n3;;cat;c\n4;5;;d\n5;6;cow;e\n"


def test_table(port):
    status, _, body = request(port, "POST", "/table?name=pets.csv", CSV.encode())
    table = json.loads(body)
    assert status == 200
    assert table["numbers"] == {"size": [1.5, 2.5, 3, 4, 5], "weight": [2, 3, None, 5, 6]}
    assert table["classes"]["kind"] == [0, 2, 0, -1, 1]
    assert table["labels"]["kind"] == ["cat", "cow", "dog"]
    assert any("decimal" in note for note in table["notes"])


def test_large_table_is_drawn_from(port):
    text = "a,b,c\n" + "".join(f"{k},{-k},{k % 2}\n" for k in range(3000))
    table = json.loads(request(port, "POST", "/table?name=x.csv", text)[2])
    assert len(table["numbers"]["a"]) == 2000
    assert table["classes"]["c"] == [int(a) % 2 for a in table["numbers"]["a"]]
    assert "2,000 of the 3,000 rows, drawn at random" in table["notes"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.exe", CSV, "x.exe: the file's name must end in .csv"),
        ("x.csv", "", "x.csv"),
        ("x.csv", "a,b\nu,1\nv,2\n", "x.csv: two columns of numbers are needed; there are 1"),
        ("x.csv", "a,b\n1,1\n1,1\n", "x.csv: a column with 2 to 4 different values is needed"),
    ],
)
def test_file_that_is_no_such_table(port, name, text, words):
    status, _, body = request(port, "POST", f"/table?name={name}", text.encode())
    message = json.loads(body)["error"]
    assert status == 400
    assert words in message
    assert "/tmp" not in message


# --- the command --------------------------------------------------------------------


def test_port_that_is_taken(port, capsys):
    assert cli.main(["play", "--port", str(port), "--no-browser"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"fastnn: port {port}: ")
    assert err.endswith("; --port takes another, 0 any that is free\n")


def test_listens_to_this_machine_only():
    with server.listen(0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
        assert sock.family == socket.AF_INET


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize("busy", ["page", "model"])
def test_ctrl_c_ends_it_without_a_traceback(tmp_path, busy):
    """While a page trains, or a model file is made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fastnn.cli", "play", "--port", "0", "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # a shell ignores the signal for what it starts with "&"
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        told = process.stdout.readline()
        assert told.startswith("fastnn play: http://127.0.0.1:")
        port = int(told.split(":")[3].split("/")[0])
        large = {"hidden": [32] * 8, "activation": ["tanh"] * 8, "samples": 2000}
        text = wanted(1, steps=200_000, **large)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with connect(port, close_timeout=1) as page, contextlib.closing(connection):
            if busy == "model":
                connection.request("POST", "/model", text)
                page.send(wanted(2, steps=100))
                assert answer(page, 2)["status"] == "done"
            else:
                page.send(text)
                assert unpacked(page.recv(timeout=60))["status"] == "training"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=15)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (130, "", "fastnn: interrupted\n")
    assert list(tmp_path.iterdir()) == []  # nothing is kept
