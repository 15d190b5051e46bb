"""One page in a browser, looked at and used as a person would, by the DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

#: Seconds until something must be seen: a shared machine with two cores takes its time.
PATIENCE = 20.0

#: Keys that write nothing, or not their name, by their number.
_KEYS = {
    "Backspace": 8,
    "Tab": 9,
    "Enter": 13,
    "Escape": 27,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}
_TEXTS = {"Enter": "\r"}

#: The visible elements a selector finds that hold a text.
_VISIBLE = """(selector, text) => [...document.querySelectorAll(selector)].filter((node) =>
  node.checkVisibility({ visibilityProperty: true }) && node.textContent.includes(text))"""
#: The middle of the first of them that can be pressed, scrolled into view: it is still and nothing covers it.
_FIND = f"""(selector, text) => {{
  for (const node of ({_VISIBLE})(selector, text)) {{
    if (node.disabled || node.getAnimations().some((each) => each.playState === "running")) continue;
    node.scrollIntoView({{ block: "nearest", behavior: "instant" }});
    const {{ left, top, width, height }} = node.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    const hit = document.elementFromPoint(x, y);
    if (width && height && hit && (node.contains(hit) || hit.contains(node))) return {{ x, y }};
  }}
  return null;
}}"""

Json = dict[str, Any]


class BrowserError(AssertionError):
    """The browser refused a command or a script threw; the text is its own."""


class Page:
    """One tab: looked at and used as a person would, by what is visible."""

    def __init__(self, call: Callable[..., Awaitable[Json]], session: str, context: str) -> None:
        self.session = session
        self.context = context
        #: What was written to the console as an error, and what was thrown.
        self.errors: list[str] = []
        #: Addresses of every request.
        self.requests: list[str] = []
        self._call = call
        self._loaded = asyncio.Event()

    def hear(self, method: str, parameters: Json) -> None:
        """Take in an event of the protocol."""
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(str([argument.get("value") for argument in parameters["args"]]))

    async def call(self, method: str, /, **parameters: Any) -> Json:
        """Give a command to this page and return its result. Raises ``BrowserError``."""
        return await self._call(method, self.session, **parameters)

    async def resize(self, width: int, height: int, *, scale: float = 1) -> None:
        """Give the page another size in CSS pixels, ``scale`` device pixels each."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        await self.call("Emulation.setDeviceMetricsOverride", mobile=False, **size)

    async def prefer(self, **features: str) -> None:
        """Say what the person prefers: ``color_scheme="dark"``, ``reduced_motion="reduce"``."""
        wanted = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        await self.call("Emulation.setEmulatedMedia", features=wanted)

    async def speak(self, language: str) -> None:
        """Make this the browser's language, such as ``de-AT``, for pages that are opened from now on."""
        agent = await self.evaluate("navigator.userAgent")
        await self.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)

    async def allow_clipboard(self, origin: str) -> None:
        """Let pages of ``origin`` read and write the clipboard."""
        permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        await self._call(
            "Browser.grantPermissions", permissions=permissions, origin=origin, browserContextId=self.context
        )

    async def go(self, url: str) -> None:
        """Open ``url`` and wait until its document is complete."""
        await self._loaded_by("Page.navigate", url=url)

    async def reload(self) -> None:
        """Open the same address anew and wait until its document is complete."""
        await self._loaded_by("Page.reload")

    async def _loaded_by(self, method: str, **parameters: str) -> None:
        self._loaded.clear()
        await self.call(method, **parameters)
        async with asyncio.timeout(PATIENCE):
            await self._loaded.wait()

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression, a promise's once it is kept. Raises ``BrowserError``."""
        told = await self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in told:
            thrown = told["exceptionDetails"]
            raise BrowserError(thrown.get("exception", {}).get("description") or thrown["text"])
        return told["result"].get("value")

    async def until(self, script: str, *, told: str = "", patience: float = PATIENCE) -> Any:
        """Wait until an expression is true and return its value.

        Raises ``BrowserError`` after ``patience`` seconds; it tells ``told``, or else the expression.
        """
        # Looked at in the page, so that nothing goes over the wire in between.
        return await self.evaluate(
            f"""new Promise((keep, give_up) => {{
              const end = performance.now() + {patience * 1000:.0f};
              const look = () => {{
                const value = ({script});
                if (value) keep(value);
                else if (performance.now() > end) give_up(new Error("Never seen: " + {json.dumps(told or script)}));
                else setTimeout(look, 20);
              }};
              look();
            }})"""
        )

    async def click(self, selector: str, text: str = "", *, patience: float = PATIENCE) -> None:
        """Press the middle of the first element that ``selector`` finds, holds ``text`` and can be pressed, as a mouse does."""
        box = await self.until(
            f"({_FIND})({json.dumps(selector)}, {json.dumps(text)})",
            told=f"{selector} {text} to be pressed",
            patience=patience,
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=box["x"], y=box["y"], button="left", clickCount=1)

    async def shows(self, selector: str, text: str = "", *, patience: float = PATIENCE) -> None:
        """Wait until a visible element that ``selector`` finds holds ``text``."""
        await self.until(
            f"({_VISIBLE})({json.dumps(selector)}, {json.dumps(text)}).length > 0",
            told=f"{selector} {text}",
            patience=patience,
        )

    async def hides(self, selector: str, text: str = "") -> None:
        """Wait until no visible element that ``selector`` finds holds ``text``."""
        await self.until(
            f"({_VISIBLE})({json.dumps(selector)}, {json.dumps(text)}).length === 0",
            told=f"the end of {selector} {text}",
        )

    async def text(self, selector: str) -> str:
        """Return what the first visible element that ``selector`` finds holds, once there is one."""
        return str(await self.until(f"({_VISIBLE})({json.dumps(selector)}, '')[0]?.textContent", told=selector))

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key of the keyboard: a name such as ``Tab``, or one character."""
        text = _TEXTS.get(key, "" if key in _KEYS else key)
        code = _KEYS.get(key) or ord(key.upper())
        known = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **known)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **known)

    async def write(self, text: str) -> None:
        """Type ``text`` where the focus is."""
        await self.call("Input.insertText", text=text)

    async def fill(self, selector: str, text: str) -> None:
        """Replace what a field holds."""
        await self.click(selector)
        await self.evaluate("document.activeElement.select()")
        await (self.write(text) if text else self.press("Backspace"))

    async def picture(self) -> bytes:
        """Return a PNG of what is visible."""
        told = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(told["data"])
