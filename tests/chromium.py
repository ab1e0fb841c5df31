# SPDX-License-Identifier: BSD-3-Clause
"""A real browser for tests: headless Chromium, spoken to over the DevTools protocol."""

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from tornado.websocket import websocket_connect

from bp_distributed.errors import CampaignError

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
PATIENCE_S = 30.0
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
          "--no-first-run", "--disable-background-networking", "--remote-debugging-port=0")  # fmt: skip


class Chromium:
    """One page of a browser that ends with the block."""

    def __init__(self, width=1200, height=900):
        self._size, self._numbers, self._messages = (width, height), itertools.count(1), []

    def __enter__(self):
        self._home = Path(tempfile.mkdtemp(prefix="bpd-chromium-"))
        command = [
            PROGRAM,
            *_FLAGS,
            f"--user-data-dir={self._home}",
            "--window-size={},{}".format(*self._size),
            "about:blank",
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._runner, self._socket = asyncio.Runner(), None
        try:
            self._socket = self._runner.run(self._connect())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        if self._socket is not None:
            with suppress(Exception):
                self._command("Browser.close")
            self._runner.run(self._hang_up())
        else:
            self._process.kill()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._runner.close()
        shutil.rmtree(self._home, ignore_errors=True)

    async def _connect(self):
        deadline, told = time.monotonic() + PATIENCE_S, self._home / "DevToolsActivePort"
        while not (told.exists() and told.read_text().count("\n")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{PROGRAM} did not start")
            await asyncio.sleep(0.05)
        port = int(told.read_text().splitlines()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE_S) as answer:
            pages = [entry for entry in json.load(answer) if entry["type"] == "page"]
        return await websocket_connect(pages[0]["webSocketDebuggerUrl"], max_message_size=1 << 28)

    async def _hang_up(self):
        """Close our end too, and let the event loop see it closed."""
        self._socket.close()
        while await self._socket.read_message() is not None:
            pass

    def _command(self, method, **parameters):
        return self._runner.run(asyncio.wait_for(self._exchange(method, parameters), PATIENCE_S))

    async def _exchange(self, method, parameters):
        number = next(self._numbers)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = await self._socket.read_message()
            if message is None:
                raise RuntimeError("the browser is gone")
            answer = json.loads(message)
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, url, dark=False):
        """Load a page and wait until it is complete."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._command("Emulation.setEmulatedMedia", features=[scheme])
        self._command("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def until_opens(self, link):
        """Load the page at ``link()``, which may raise until there is one."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.open(link())
            except CampaignError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def evaluate(self, script):
        """Return the value of a JavaScript expression."""
        answer = self._command("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def until(self, script):
        """Wait until a JavaScript expression holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.evaluate(script):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{script}\n{self.text()}")
            time.sleep(0.1)

    def text(self):
        """Return the text a person sees."""
        return self.evaluate("document.body ? document.body.innerText : ''")

    def screenshot(self, whole=True):
        """Return the page as PNG, all of it or what fits the window."""
        answer = self._command("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        return base64.b64decode(answer["data"])

    def _clip(self, whole):
        if not whole:
            return {}
        size = self._command("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}
