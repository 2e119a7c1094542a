"""Headless Chromium, driven over its DevTools protocol: pages, clicks, text, pictures.

What belongs here: the browser. What does not: what is looked at (`browse`). One websocket, and nothing that
has to be installed besides Chromium.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

from hrp_core.errors import HrpError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# A browser that looks at one local page has nothing to fetch elsewhere.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
START_SECONDS = 60.0
WAIT_SECONDS = 60.0
CLICK_SECONDS = 10.0
CLICKABLE = "button, a, [role=button], [role=tab], [role=menuitem], [role=option], label"
_LOOK_EVERY = 0.25


class BrowserError(HrpError):
    """The browser is missing, or a page did not show what it should."""


def find_chromium() -> str:
    """Return the path of Chromium or Chrome; the environment variable CHROMIUM goes first.

    Raises:
        BrowserError: there is none.
    """
    named = os.environ.get("CHROMIUM")
    for name in [named] if named else NAMES:
        if found := shutil.which(name):
            return found
    looked = named or ", ".join(NAMES)
    raise BrowserError(
        f"no Chromium was found (looked for {looked}). Install it (Debian and Ubuntu: apt install chromium), "
        "or set CHROMIUM to the path of Chromium or Chrome"
    )


class Browser:
    """One page in a browser with a fresh profile; a context manager.

    Args:
        width: of the window, CSS pixels.
        height: of the window, CSS pixels.
    """

    def __init__(self, width: int = 1440, height: int = 900) -> None:
        self._chromium = find_chromium()
        self._size = (width, height)
        self._calls = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._profile: tempfile.TemporaryDirectory[str] | None = None
        self._socket: ClientConnection | None = None

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(prefix="browse-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [
                *(self._chromium, *FLAGS, f"--user-data-dir={self._profile.name}"),
                *(
                    "--remote-debugging-port=0",
                    f"--window-size={self._size[0]},{self._size[1]}",
                    "about:blank",
                ),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._open_page(Path(self._profile.name) / "DevToolsActivePort")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def goto(self, url: str) -> None:
        """Load a page; what it shows arrives later (`wait_for`)."""
        self._call("Page.navigate", url=url)

    def resize(self, width: int, height: int, scale: float = 1.0) -> None:
        """Give the page another size, CSS pixels; pictures are `scale` times as large."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression.

        Raises:
            BrowserError: it threw.
        """
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            told = answer["exceptionDetails"]
            raise BrowserError(told.get("exception", {}).get("description", told["text"]))
        return answer["result"].get("value")

    def text(self) -> str:
        """Return the text that the page shows."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait_until(self, holds: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
        """Return once `holds()` is true.

        Raises:
            BrowserError: it did not become true in `seconds`; the message has the page's text.
        """
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                address = self.run("location.href")
                raise BrowserError(
                    f"{address} did not show {what} within {seconds:.0f} s. It says:\n{self.text()[:3000]}"
                )
            time.sleep(_LOOK_EVERY)

    def wait_for(self, *texts: str, seconds: float = WAIT_SECONDS) -> str:
        """Return the page's text once it contains all of `texts`, whatever their case."""
        wanted = [text.lower() for text in texts]

        def shown() -> bool:
            page = self.text().lower()
            return all(text in page for text in wanted)

        self.wait_until(shown, " and ".join(repr(text) for text in texts), seconds)
        return self.text()

    def click(self, label: str, kinds: str = CLICKABLE, seconds: float = WAIT_SECONDS) -> None:
        """Click the button, link, tab or menu item that reads `label`, once there is one that can be clicked.

        Args:
            label: its whole text.
            kinds: CSS selector of what is looked at; the first that fits is clicked.
            seconds: how long to wait for it.
        """
        wanted = json.dumps(label)
        script = f"""(() => {{
            const found = [...document.querySelectorAll({json.dumps(kinds)})].find(each =>
                each.innerText.trim() === {wanted} && !each.disabled && each.offsetParent !== null);
            if (!found) return null;
            found.scrollIntoView({{block: 'center'}});
            const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        at: list[float] = []

        def there() -> bool:
            at[:] = self.run(script) or []
            return bool(at)

        self.wait_until(there, f"something to click that reads {label!r}", seconds)
        self.click_at(at[0], at[1])

    def click_until(self, label: str, text: str, tries: int = 6) -> None:
        """Click `label` until the page shows `text`: one that still lays itself out swallows a click.

        Raises:
            BrowserError: it did not show the text after `tries` clicks.
        """
        for attempt in range(tries):
            self.click(label)
            try:
                self.wait_for(text, seconds=WAIT_SECONDS if attempt == tries - 1 else CLICK_SECONDS)
                return
            except BrowserError:
                if attempt == tries - 1:
                    raise

    def click_at(self, x: float, y: float) -> None:
        """Click a point of the window, CSS pixels, as a mouse does."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def fill(self, placeholder: str, text: str, seconds: float = WAIT_SECONDS) -> None:
        """Write `text`, and Tab, into the field whose placeholder starts with `placeholder`."""
        script = f"""(() => {{
            const found = [...document.querySelectorAll('input')].find(each =>
                each.placeholder.startsWith({json.dumps(placeholder)}) && each.offsetParent !== null);
            if (!found) return false;
            found.focus();
            found.select();
            return true;
        }})()"""
        self.wait_until(lambda: self.run(script), f"a field with the placeholder {placeholder!r}", seconds)
        self._call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    def picture(self, path: Path, clip: tuple[float, float, float, float] | None = None) -> None:
        """Write a PNG of the window.

        Args:
            path: where to.
            clip: x, y, width and height of the part that is kept, CSS pixels.
        """
        part: dict[str, Any] = {}
        if clip is not None:
            x, y, width, height = clip
            part = {"clip": {"x": x, "y": y, "width": width, "height": height, "scale": 1}}
        data = self._call("Page.captureScreenshot", format="png", **part)["data"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))

    def _open_page(self, port_file: Path) -> None:
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while not (port_file.exists() and port_file.read_text().count("\n")):
            if self._process.poll() is not None or time.monotonic() > end:
                raise BrowserError(
                    f"{self._chromium} did not start; try `{self._chromium} --headless about:blank`"
                )
            time.sleep(_LOOK_EVERY)
        port, path = port_file.read_text().split()
        # Tables and pictures come in messages of megabytes.
        self._socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
        target = self._send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._send("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session: str | None = attached["sessionId"]
        self._call("Page.enable")
        self.resize(*self._size)

    def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        return self._send(method, arguments, self._session)

    def _send(self, method: str, arguments: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        assert self._socket is not None
        self._calls += 1
        call: dict[str, Any] = {"id": self._calls, "method": method, "params": arguments}
        self._socket.send(json.dumps(call if session is None else {**call, "sessionId": session}))
        while True:
            answer = json.loads(self._socket.recv(timeout=WAIT_SECONDS))
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._profile is not None:
            self._profile.cleanup()
