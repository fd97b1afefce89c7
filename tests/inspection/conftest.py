"""The browser in which pages are tested: what GPT_NUMPY_BROWSER names, or Chromium.

It may name an installed Firefox, which playwright drives by WebDriver BiDi: Firefox 140 (Debian's
firefox-esr) with playwright 1.55, which has no public name for it yet, newer ones with a newer
playwright.
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
            browser = launched_firefox(playwright)
            part = assemble._part  # WebDriver BiDi evaluates strings, which the policy forbids
            patch.setattr(assemble, "_part", lambda name: part(name).replace(POLICY, "name"))
        else:
            browser = playwright.chromium.launch(executable_path=PATH, args=["--no-sandbox"])
        yield browser
        browser.close()


def launched_firefox(playwright):
    """The installed Firefox: playwright's `firefox` is a build with another protocol."""
    from playwright._impl._connection import from_channel
    from playwright.sync_api import BrowserType

    inner = playwright._impl_obj
    if "_bidiFirefox" in inner._initializer:  # until playwright 1.55
        bidi = from_channel(inner._initializer["_bidiFirefox"])
        bidi._playwright = inner
        return BrowserType(bidi).launch(executable_path=PATH)
    return playwright.firefox.launch(executable_path=PATH, channel="moz-firefox")


def visit(page, fragment):
    """Go to another address of the same page, as a link would."""
    page.evaluate("fragment => { location.hash = fragment; }", fragment)
