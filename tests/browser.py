"""Browser: pages looked at in a real one, headless Chromium of Debian's packages, spoken to through chromedriver.

`faults(files)` says what is wrong with pages: wider than the window, links that lead nowhere, text that is hard to read
in light or dark, errors on the console, and, of pages that should stand alone, anything that they fetch.
`python tests/browser.py PAGE ...` prints it; `--pictures FOLDER` also takes pictures.
"""

import argparse
import base64
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

PHONE, LAPTOP, SCREEN = (390, 844), (1280, 800), (1920, 1080)
SCHEMES = ("light", "dark")
CONTRAST = 4.5  # of text with what is behind it, WCAG 2, level AA
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars",
)  # fmt: skip
SEEN = (Path(__file__).parent / "browser.js").read_text("utf-8")


@cache
def missing() -> str:
    """Why no page can be looked at here; "" if it can."""
    lacks = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(lacks)}: apt-get install chromium chromium-driver" if lacks else ""


class Browser:
    """A browser's one window."""

    def __init__(self, session: str) -> None:
        self.session = session

    def open(self, page: Path | str) -> None:
        """Show a file, or an address, when it has been loaded."""
        url = page if isinstance(page, str) else page.resolve().as_uri()
        self.post("url", {"url": url})

    def look(self, size: tuple[int, int], scheme: str) -> None:
        """A window of this size, of somebody who likes this scheme of colours."""
        width, height = size
        self._tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                   mobile=width < 600)  # fmt: skip
        self._tell("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def ask(self, script: str, *words: object) -> object:
        """What the body of a function in JavaScript returns."""
        return self.post("execute/sync", {"script": script, "args": list(words)})

    def errors(self) -> list[str]:
        """What the console has said since it was last asked."""
        return [line["message"] for line in self.post("se/log", {"type": "browser"}) if line["level"] == "SEVERE"]

    def picture(self, file: Path, *, whole: bool = False) -> None:
        """A picture of the window, or of the `whole` page, as PNG."""
        found = self._tell("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(found["data"]))

    def post(self, path: str, body: object) -> object:
        """One command of WebDriver."""
        return _ask(f"{self.session}/{path}", body)

    def _tell(self, command: str, **how: object) -> dict[str, str]:
        return self.post("goog/cdp/execute", {"cmd": command, "params": how})


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with no memory of others; it ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        try:
            said = iter(driver.stdout.readline, "")
            port = next(found[1] for line in said if (found := re.search(r"successfully on port (\d+)", line)))
            wanted = {"goog:chromeOptions": {"args": [*FLAGS, f"--user-data-dir={folder}"]},
                      "goog:loggingPrefs": {"browser": "ALL"}}  # fmt: skip
            url = f"http://127.0.0.1:{port}/session"
            session = _ask(url, {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            yield Browser(f"{url}/{session}")
            _ask(f"{url}/{session}", method="DELETE")
        finally:
            driver.terminate()
            driver.wait(10)
            driver.stdout.close()


def _ask(url: str, body: object = None, method: str = "POST") -> object:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=120) as answer:
        return json.load(answer)["value"]


def faults(
    files: Sequence[Path],
    *,
    sizes: Sequence[tuple[int, int]] = (PHONE, LAPTOP),
    alone: bool = False,
    by: Browser | None = None,
) -> list[str]:
    """What is wrong with the pages, a line a fault; none if all is well. `alone`: they may fetch nothing.

    Links into other files are looked up there; those to other sites are not followed. `by`: a browser that is open.
    """
    if by is None:
        with browser() as mine:
            return faults(files, sizes=sizes, alone=alone, by=mine)
    return [f"{file.name}: {fault}" for file in files for fault in _of_page(by, file, sizes, alone)]


def _of_page(by: Browser, file: Path, sizes: Sequence[tuple[int, int]], alone: bool) -> Iterator[str]:
    by.errors()
    by.open(file)
    for opened in (False, True):  # folded away, and with all that is folded opened
        for size in sizes:
            by.look(size, SCHEMES[0])
            for wide in by.ask(SEEN + "return overflow(arguments[0])", opened):
                yield f"at {size[0]} pixels{', all opened' if opened else ''}: {wide}"
    for scheme in SCHEMES:
        by.look(sizes[-1], scheme)
        yield from (f"{scheme}: {faint}" for faint in by.ask(SEEN + "return faint(arguments[0])", CONTRAST))
    yield from (f"console: {error}" for error in by.errors())
    yield from _of_links(file, by.ask(SEEN + "return links()"))
    if alone:
        yield from (f"fetches {name}" for name in by.ask(SEEN + "return fetched()"))


def _of_links(file: Path, hrefs: Sequence[str]) -> Iterator[str]:
    """Fragments and files that are not there."""
    for href in dict.fromkeys(hrefs):
        parts = urlsplit(href)
        if parts.scheme in ("", "file"):
            path = Path(unquote(parts.path)) if parts.scheme else file.parent / unquote(parts.path)
            target = file if not parts.path else path / "index.html" if path.is_dir() else path
            if not target.is_file():
                yield f"link {href!r} leads to no file"
            elif parts.fragment and unquote(parts.fragment) not in _ids(target):
                yield f"link {href!r} leads to no place in {target.name}"


@cache
def _ids(page: Path) -> frozenset[str]:
    found = re.findall(r"""<[^>]*?\s(?:id|name)=(?:"([^"]*)"|'([^']*)')""", page.read_text("utf-8"))
    return frozenset(unescape(one or other) for one, other in found)


def pictures(files: Sequence[Path], folder: Path, *, whole: bool = False) -> None:
    """NAME-WIDTH-SCHEME.png of each page, at three widths, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as by:
        for file in files:
            by.open(file)
            for size in (PHONE, LAPTOP, SCREEN):
                for scheme in SCHEMES:
                    by.look(size, scheme)
                    by.picture(folder / f"{file.parent.name}-{file.stem}-{size[0]}-{scheme}.png", whole=whole)


if __name__ == "__main__":
    typed = argparse.ArgumentParser()
    typed.add_argument("pages", nargs="+", type=Path)
    typed.add_argument("--pictures", type=Path)
    typed.add_argument("--whole", action="store_true")
    asked = typed.parse_args()
    if asked.pictures:
        pictures(asked.pages, asked.pictures, whole=asked.whole)
    found = faults(asked.pages)
    print("\n".join(found) or "no fault")
    sys.exit(bool(found))
