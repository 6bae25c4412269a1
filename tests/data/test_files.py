"""Files: found, checked, downloaded when asked, and never half there. The only server is on this machine."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sapwood import data
from sapwood.data import files
from sapwood.data.files import MissingData, find, find_form
from sapwood.errors import InputError

BODY = bytes(range(256)) * 4_000  # about a megabyte: several chunks
SHA = hashlib.sha256(BODY).hexdigest()
WANTED = {"a.gz": SHA}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A local folder and a cache of their own, and no proxy between here and here."""
    monkeypatch.setenv("SAPWOOD_DATA", str(tmp_path / "local"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "local" / "toy", tmp_path / "cache" / "sapwood" / "toy"


class Answers(BaseHTTPRequestHandler):
    """/good serves BODY, /unsized the same without its length, /wrong other bytes, /broken only half; else 404."""

    def do_GET(self):
        self.server.asked.append(self.path)
        kind = self.path.split("/")[1]
        if kind not in ("good", "unsized", "wrong", "broken"):
            return self.send_error(404)
        self.send_response(200)
        if kind != "unsized":
            self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write({"wrong": BODY[::-1], "broken": BODY[: len(BODY) // 2]}.get(kind, BODY))

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as serving:
        serving.asked = []
        serving.address = f"http://127.0.0.1:{serving.server_port}"
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def put(folder, content=BODY):
    folder.mkdir(parents=True)
    (folder / "a.gz").write_bytes(content)
    return folder / "a.gz"


def left_in(folder):
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_the_local_folder_comes_before_the_cache_and_the_cache_before_the_network(places, server):
    local, cached = places
    here = put(cached)
    assert find("toy", WANTED, [f"{server.address}/good"], download=True) == {"a.gz": here}
    first = put(local)
    assert find("toy", WANTED, [f"{server.address}/good"], download=True) == {"a.gz": first}
    assert server.asked == []


def test_files_may_lie_in_different_places(places):
    local, cached = places
    put(local).rename(local / "b.gz")
    put(cached)
    assert find("toy", {"a.gz": SHA, "b.gz": SHA}, []) == {"a.gz": cached / "a.gz", "b.gz": local / "b.gz"}


def test_missing_files_are_one_error_with_the_places_and_the_way_out(places, server):
    local, cached = places
    with pytest.raises(MissingData, match="2 of 2 files not found") as caught:
        find("toy", {"a.gz": SHA, "b.gz": SHA}, [f"{server.address}/good"])
    for said in ("'toy'", "a.gz, b.gz", "$SAPWOOD_DATA", str(local), str(cached), "--download", server.address):
        assert said in str(caught.value)
    assert server.asked == []
    assert left_in(cached) == []


def test_without_the_variable_the_error_says_that_it_is_not_set(monkeypatch):
    monkeypatch.delenv("SAPWOOD_DATA")
    with pytest.raises(MissingData, match=r"\$SAPWOOD_DATA \(not set\)"):
        find("toy", WANTED, [])


def test_the_cache_is_under_home_when_the_variable_is_unset_or_relative(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert files.cache("toy") == tmp_path / ".cache" / "sapwood" / "toy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert files.cache("toy") == tmp_path / ".cache" / "sapwood" / "toy"


def test_a_found_file_with_other_contents_is_refused_even_when_downloading(places, server):
    found = put(places[0], b"something else")
    for download in (False, True):
        with pytest.raises(InputError, match="damaged or another version") as caught:
            find("toy", WANTED, [f"{server.address}/good"], download=download)
        for said in (str(found), hashlib.sha256(b"something else").hexdigest(), SHA, "delete it"):
            assert said in str(caught.value)
    assert found.read_bytes() == b"something else"
    assert server.asked == []


@pytest.mark.parametrize(("kind", "total"), [("good", len(BODY)), ("unsized", None)])
def test_a_download_lands_in_the_cache_and_reports_every_chunk(places, server, kind, total):
    calls = []
    got = find("toy", WANTED, [f"{server.address}/{kind}"], download=True, progress=lambda *call: calls.append(call))
    assert got == {"a.gz": places[1] / "a.gz"}
    assert got["a.gz"].read_bytes() == BODY
    assert left_in(places[1]) == ["a.gz"]
    assert calls[0] == (0, total)
    assert calls[-1] == (len(BODY), total)
    assert len(calls) > 3
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})


def test_only_what_is_missing_is_downloaded(places, server):
    put(places[0])
    find("toy", {"a.gz": SHA, "b.gz": SHA}, [f"{server.address}/good"], download=True)
    assert server.asked == ["/good/b.gz"]
    assert left_in(places[1]) == ["b.gz"]


def test_the_next_mirror_is_asked_when_one_fails(server):
    mirrors = [f"{server.address}/{kind}" for kind in ("absent", "broken", "wrong", "good")]
    assert find("toy", WANTED, mirrors, download=True)["a.gz"].read_bytes() == BODY
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("absent", r"HTTP status 404 \(Not Found\)"),
        ("broken", f"broke off after {len(BODY) // 2} of {len(BODY)} bytes"),
        ("wrong", f"what it serves has SHA-256 {hashlib.sha256(BODY[::-1]).hexdigest()}, expected {SHA}"),
    ],
)
def test_a_failed_download_is_one_error_and_leaves_nothing(places, server, kind, said):
    with pytest.raises(InputError, match=said) as caught:
        find("toy", WANTED, [f"{server.address}/{kind}"], download=True)
    assert f"{server.address}/{kind}/a.gz" in str(caught.value)
    assert left_in(places[1]) == []


def test_nobody_listening_is_one_error_with_address_and_reason(places):
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as closed:
        address = f"http://127.0.0.1:{closed.server_port}"
    with pytest.raises(InputError, match="refused") as caught:
        find("toy", WANTED, [address], download=True)
    assert f"{address}/a.gz" in str(caught.value)
    assert left_in(places[1]) == []


def test_an_interrupted_download_leaves_nothing(places, server):
    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find("toy", WANTED, [f"{server.address}/good"], download=True, progress=interrupt)
    assert left_in(places[1]) == []


def test_a_cache_that_cannot_be_made_is_one_error(places, server):
    places[1].parent.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot download"):
        find("toy", WANTED, [f"{server.address}/good"], download=True)


FORMS = ({"a": SHA, "b": SHA}, WANTED)


def test_the_first_form_that_is_whole_is_taken_and_the_last_is_downloaded(places, server):
    put(places[0]).rename(places[0] / "a")
    mirrors = [f"{server.address}/good"]
    with pytest.raises(MissingData, match=r"1 of 1 files not found \(a\.gz\).*as well: a, b \(not found: b\)$"):
        find_form("toy", FORMS, mirrors)
    assert find_form("toy", FORMS, mirrors, download=True) == {"a.gz": places[1] / "a.gz"}
    assert server.asked == ["/good/a.gz"]
    (places[0] / "b").write_bytes(BODY)
    for download in (False, True):
        assert find_form("toy", FORMS, mirrors, download=download) == {name: places[0] / name for name in "ab"}
    assert server.asked == ["/good/a.gz"]


def test_files_that_nobody_serves_are_not_said_to_be_downloadable(places):
    with pytest.raises(MissingData, match=r"put them into one of these$"):
        find("toy", WANTED, ())
    put(places[0], b"something else")
    with pytest.raises(InputError, match=r"expected [0-9a-f]{64}; put the official file there$"):
        find("toy", WANTED, ())


def test_fetch_downloads_by_name_and_refuses_unknown_names(monkeypatch, server):
    calls = []
    monkeypatch.setattr(data.mnist, "FILES", WANTED)
    monkeypatch.setattr(data.mnist, "URLS", (f"{server.address}/good",))
    data.fetch("mnist", lambda *call: calls.append(call))
    assert (files.cache("mnist") / "a.gz").read_bytes() == BODY
    assert calls[-1] == (len(BODY), len(BODY))
    with pytest.raises(InputError, match="did you mean 'mnist'"):
        data.fetch("minst")
