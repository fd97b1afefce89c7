"""The browser in which pages are tested: what GPT_NUMPY_BROWSER names, or Chromium.

It may name an installed Firefox, which playwright drives by WebDriver BiDi: Firefox 140 and 153
(Debian's firefox-esr) with playwright 1.55, which has no public name for it yet. By that protocol
playwright sends no taps, so a mouse clicks instead, and cannot ask for paper or for forced colours:
those tests are skipped.
"""

import os
import shutil
from pathlib import Path

import pytest

from gpt_numpy.inspection.page import assemble

PATH = os.environ.get("GPT_NUMPY_BROWSER") or shutil.which("chromium")
POLICY = 'http-equiv="Content-Security-Policy"'
IS_FIREFOX = "firefox" in Path(PATH or "").name


@pytest.fixture(scope="module")
def browser():
    """The browser. With GPT_NUMPY_BROWSER nothing is skipped: what is missing is an error."""
    if not os.environ.get("GPT_NUMPY_BROWSER"):
        pytest.importorskip(
            "playwright", reason="playwright is not installed: pip install playwright"
        )
        if PATH is None:
            pytest.skip("no chromium: install it, or name it in GPT_NUMPY_BROWSER")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, pytest.MonkeyPatch.context() as patch:
        if IS_FIREFOX:
            browser = Firefox(playwright)
            part = assemble._part  # WebDriver BiDi evaluates strings, which the policy forbids
            patch.setattr(assemble, "_part", lambda name: part(name).replace(POLICY, "name"))
        else:
            browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visited(browser):
    """A function that opens a page; whatever it logs, asks for or alerts is a failure."""
    complaints, contexts = [], []

    def open_page(path, size, at="", **how):
        width, height = size
        context = browser.new_context(viewport={"width": width, "height": height}, **how)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.is_navigation_request()
                or request.url.startswith("blob:") or complaints.append(request.url))  # fmt: skip
        page.goto(path.as_uri() + at)
        page.wait_for_selector("html[data-ready]", timeout=20_000)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


class Firefox:
    """What the tests use of a browser; one Firefox for each colour scheme, which is a setting."""

    def __init__(self, playwright):
        self.playwright, self.launched = playwright, {}

    def new_context(self, *, color_scheme="light", **how):
        if color_scheme not in self.launched:
            settings = {
                "layout.css.prefers-color-scheme.content-override": int(color_scheme == "light"),
                "dom.w3c_touch_events.enabled": 1,  # a script may make touches
            }
            self.launched[color_scheme] = launched_firefox(self.playwright, settings)
        return self.launched[color_scheme].new_context(**how)

    def new_page(self):
        return self.new_context().new_page()

    def close(self):
        for browser in self.launched.values():
            browser.close()


def launched_firefox(playwright, settings):
    """The installed Firefox: playwright's `firefox` is a build with another protocol."""
    how = {"executable_path": PATH, "firefox_user_prefs": settings}
    from playwright._impl._connection import from_channel
    from playwright.sync_api import BrowserType

    inner = playwright._impl_obj
    if "_bidiFirefox" in inner._initializer:  # until playwright 1.55
        bidi = from_channel(inner._initializer["_bidiFirefox"])
        bidi._playwright = inner
        return BrowserType(bidi).launch(**how)
    return playwright.firefox.launch(**how, channel="moz-firefox")


def tap(target, *args, **how):
    """A finger on the page or on an element; with a Firefox it is the mouse."""
    (target.click if IS_FIREFOX else target.tap)(*args, **how)


def skip_without_media():
    """Skip where no other medium can be asked for."""
    if IS_FIREFOX:
        pytest.skip("playwright cannot ask a Firefox for paper or forced colours")


def visit(page, fragment):
    """Go to another address of the same page, as a link would."""
    page.evaluate("fragment => { location.hash = fragment; }", fragment)
