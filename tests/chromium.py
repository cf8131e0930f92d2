"""A headless Chromium, driven through a pair of pipes: what a page looks like in a window of some size, in a colour
scheme and on paper, and what its elements measure. The page itself stays as it is.

The messages are those of the Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/): JSON, each
ended by a zero byte.
"""

import base64
import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PIPES = (3, 4)  # the descriptors that the browser reads commands from and writes answers to
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run")
A4 = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True, "printBackground": True}  # inches


def find_chromium() -> str | None:
    """The first of `NAMES` in PATH."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser(program: str, profile: Path) -> Iterator["Tab"]:
    """An empty tab of a browser that is killed at the end; its own files lie in `profile`."""
    commands, to_browser = map(_moved_up, os.pipe())
    from_browser, answers = map(_moved_up, os.pipe())
    ends = zip((commands, answers), PIPES, strict=True)
    actions: list[tuple] = [(os.POSIX_SPAWN_DUP2, end, number) for end, number in ends]
    actions += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    words = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    # A group of its own, so that the browser's helpers end with it.
    process = os.posix_spawn(program, words, os.environ, file_actions=actions, setpgroup=0)
    os.close(commands)
    os.close(answers)
    with os.fdopen(to_browser, "wb", buffering=0) as out, os.fdopen(from_browser, "rb") as back:
        try:
            yield Tab(out, back)
        finally:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _moved_up(descriptor: int) -> int:
    """A copy with a number that is not one of `PIPES`; the original is closed."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


class Tab:
    """A page in the browser."""

    def __init__(self, out, back):
        self.out, self.back, self.unread = out, back, b""
        self.sent, self.session = 0, None
        (page,) = [each for each in self.send("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        attached = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        self.send("Page.enable")

    def send(self, method: str, **parameters) -> dict:
        """The answer to a command; events before it are passed over."""
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        self.out.write(json.dumps(message).encode() + b"\0")
        answer = self._read_until(lambda message: message.get("id") == self.sent)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _read_until(self, is_wanted) -> dict:
        while True:
            message = json.loads(self._read_message())
            if is_wanted(message):
                return message

    def _read_message(self) -> bytes:
        """All up to the next zero byte."""
        while b"\0" not in self.unread:
            more = self.back.read1(1 << 20)
            assert more, "the browser has ended"
            self.unread += more
        message, _, self.unread = self.unread.partition(b"\0")
        return message

    def open(self, file: Path, anchor: str = "") -> None:
        """Load a file, and wait until its pictures are there."""
        self.send("Page.navigate", url=file.resolve().as_uri() + anchor)
        self.evaluate(
            "new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))"
        )

    def show(self, width: int, height: int, scheme: str = "light", media: str = "screen") -> None:
        """The size of the window in pixels, the reader's colour scheme, and the medium."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def evaluate(self, expression: str):
        """The value of an expression in JavaScript, or of the promise that it is."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot")["data"])

    def pdf(self) -> bytes:
        """The page printed on A4."""
        self.send("Emulation.setEmulatedMedia", media="print")
        return base64.b64decode(self.send("Page.printToPDF", **A4)["data"])
