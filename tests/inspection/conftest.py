"""The browser in which pages are tested: what GPT_NUMPY_BROWSER names, or Chromium."""

import os
import shutil

import pytest


@pytest.fixture(scope="module")
def browser():
    """A Chromium. With GPT_NUMPY_BROWSER nothing is skipped: what is missing is an error."""
    path = os.environ.get("GPT_NUMPY_BROWSER") or shutil.which("chromium")
    if not os.environ.get("GPT_NUMPY_BROWSER"):
        pytest.importorskip(
            "playwright", reason="playwright is not installed: pip install playwright"
        )
        if path is None:
            pytest.skip("no chromium: install it, or name it in GPT_NUMPY_BROWSER")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
