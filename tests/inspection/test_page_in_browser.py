"""The page in a real browser: every view, by keyboard and by pointer, wide and narrow, both themes.

It needs playwright and a Chromium (GPT_NUMPY_BROWSER names one; with it nothing is skipped).
Screenshots go to the folder that GPT_NUMPY_SCREENSHOTS names, or to pytest's.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from gpt_numpy.inspection.page import assemble, gradient_check
from gpt_numpy.inspection.page import contents as contents_module
from tests.inspection.conftest import skip_without_media, visit
from tests.support.pages import HOSTILE, SAMPLE, look, make_run

VIEWS = ("transformer", "embedding", "attention", "layers", "backwards", "training")
SECTIONS = ("stream", "norm", "mlp", "head")
SIZES = {"desktop": (1280, 900), "half": (960, 700), "phone": (390, 844), "narrow": (320, 568)}


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("page"))
    run, trace, contents = look(folder)
    path = folder.parent / "page.html"
    assemble.write_page(str(path), contents)
    return trace, contents, path


@pytest.fixture
def opened(visited, seen):
    """A function that opens the page."""

    def open_page(size="desktop", scheme="light", path=None):
        return visited(path or seen[2], SIZES[size], color_scheme=scheme)

    return open_page


def chosen(page):
    return page.get_attribute('[role=tab][aria-selected="true"]', "id").removeprefix("tab-")


def is_sound(page):
    """Every figure has its sentence and something drawn; nothing is wider than the screen."""
    page.wait_for_selector("#view[data-painted=true]")  # what is out of sight is painted last
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.evaluate(
        """[...document.querySelectorAll('figure')].every(f => {
          const sentence = f.querySelector('figcaption').textContent;
          return sentence.length > 20 && !/undefined|NaN|null|\\[object/.test(f.textContent)
            && f.querySelector('canvas, svg, .bars, .tokens, table, pre, code');
        })"""
    )
    assert page.evaluate(
        """[...document.querySelectorAll('canvas')].every(c => {
          const dots = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
          return c.width > 0 && c.height > 0 && dots.some(x => x > 0);
        })"""
    )
    # No text is cut off, and no two figures lie over each other.
    assert page.evaluate(
        """[...document.querySelectorAll('main h2, main h3, figcaption, nav button, td')].every(
          e => e.scrollWidth <= e.clientWidth + 1 || getComputedStyle(e).display === 'inline')"""
    )
    assert page.evaluate(
        """(() => {
          const figures = [...document.querySelectorAll('figure')];
          const boxes = figures.map(f => f.getBoundingClientRect());
          return boxes.every((a, i) => boxes.every((b, j) => i >= j ||
            a.right <= b.left + 1 || b.right <= a.left + 1 ||
            a.bottom <= b.top + 1 || b.bottom <= a.top + 1));
        })()"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_view_by_keyboard_alone(opened, size, scheme, tmp_path):
    pictures = Path(os.environ.get("GPT_NUMPY_SCREENSHOTS") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    page = opened(size, scheme)
    assert page.get_attribute("html", "data-theme") == scheme
    for number, view in enumerate(VIEWS, start=1):
        page.keyboard.press(str(number))
        assert chosen(page) == view
        for section in SECTIONS if view == "layers" else [""]:
            if section:
                page.focus(f"[data-key=section-{section}]")
                page.keyboard.press("Enter")
            is_sound(page)
            name = f"{size}-{scheme}-{view}-{section}".rstrip("-")
            page.screenshot(path=pictures / f"{name}.png", full_page=True)
    page.focus("[role=tab][aria-selected=true]")
    page.keyboard.press("ArrowRight")
    assert chosen(page) == VIEWS[0]


@pytest.mark.parametrize("size", SIZES)
def test_every_view_by_pointer(opened, size):
    page = opened(size)
    for view in VIEWS:
        page.click(f"#tab-{view}")
        assert chosen(page) == view
        page.wait_for_selector("main figure")
    for door in ("embedding", "attention", "layers", "backwards"):
        page.click("#tab-transformer")
        page.click(f"[data-door={door}] >> nth=0")
        assert chosen(page) == door
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "dark"
    is_sound(page)


def test_a_door_opens_with_the_keyboard_too(opened):
    page = opened()
    page.focus("[data-door=attention] >> nth=1")
    page.keyboard.press("Enter")
    assert chosen(page) == "attention"
    assert page.input_value("[data-key=block]") == "1"


def test_the_arrow_keys_lead_from_the_loss_to_the_embeddings_and_back(opened, seen):
    steps = seen[1]["steps"]
    page = opened()
    page.keyboard.press("5")
    for number, step in enumerate(steps, start=1):
        text = page.inner_text("main")
        assert f"step {number} of {len(steps)}" in text
        assert f"{step['place']}: {step['title']}" in text
        for line in step["forward"] + [e["text"] for e in step["equations"]]:
            assert line in text
        assert text.count("✓ exact") == sum(
            e["array"] in seen[1]["verdicts"] for e in step["equations"]
        )
        assert "WRONG" not in text
        is_sound(page)
        page.keyboard.press("ArrowRight")
    assert f"step {len(steps)} of" in page.inner_text("main")
    page.keyboard.press("ArrowLeft")
    assert f"step {len(steps) - 1} of" in page.inner_text("main")


def test_numbers_under_the_pointer_and_the_keys_are_those_of_the_trace(opened, seen):
    page = opened()
    page.keyboard.press("3")
    page.select_option("[data-key=block]", "1")
    page.select_option("[data-key=head]", "1")
    weights = seen[0]["h.1.attn.probabilities"].value[0, 1]
    canvas = page.locator("canvas[aria-label^='weights between tokens']")
    canvas.focus()
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    readout = canvas.locator("xpath=..").locator(".readout").inner_text()
    row, col = len(weights) - 1 - 2, 2
    assert f"at {row}, key" in readout and f"at {col}:" in readout
    shown = float(readout.rsplit(" ", 1)[1].replace("−", "-"))
    assert shown == pytest.approx(float(weights[row, col]), rel=6e-3, abs=1e-8)
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 24)
    readout = canvas.locator("xpath=..").locator(".readout").inner_text()
    assert "at 0, key" in readout and readout.endswith("weight 1.00")


def test_the_page_unpacks_the_numbers_that_were_packed(opened, seen):
    page = opened()
    program = assemble._part("twin/inflated.js") + assemble._part("data.js")
    for name, which in [("h.1.attn.key", "value"), ("h.0.mlp.fc", "grad"), ("logits", "value"),
                        ("h.0.attn.proj", "grad"), ("h.1.attn.scores", "grad")]:  # fmt: skip
        found = page.evaluate(
            f"async ([n, which]) => {{ {program}; return Array.from(tensor(n, which).data); }}",
            [name, which],
        )
        entry = seen[0][name]
        array = (entry.value if which == "value" else entry.grad)[0]
        array = np.tril(array) if name.endswith("scores") else array
        largest = np.abs(array).max()
        np.testing.assert_allclose(found, array.reshape(-1), rtol=0.00501, atol=1e-8 * largest)


def test_hostile_strings_are_shown_as_text(opened):
    page = opened()
    assert HOSTILE in page.inner_text("header")
    assert "onerror=alert(2)" in page.inner_text("h1")
    page.keyboard.press("6")
    assert SAMPLE.replace("\x1b", "�") in page.inner_text("main")
    counts = page.evaluate(
        "['img', 'script', 'iframe', 'a'].map(tag => document.querySelectorAll(tag).length)"
    )
    assert counts == [0, 3, 0, 1]  # its own program, twin and contents; the link to the view


def test_a_click_in_a_map_chooses_the_token_and_keeps_the_number(opened):
    page = opened("phone")
    page.keyboard.press("3")
    canvas = page.locator("canvas[aria-label^='weights between tokens']")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] * 0.8})
    assert "position=2" in page.url  # drawn again with another token
    readout = canvas.locator("xpath=..").locator(".readout").inner_text()
    assert readout.startswith("query") and "weight" in readout


def test_back_and_reload_show_the_same_again(opened):
    page = opened()
    page.keyboard.press("3")
    page.select_option("[data-key=block]", "1")
    page.select_option("[data-key=head]", "1")
    page.keyboard.press("5")
    page.keyboard.press("ArrowRight")
    page.reload()
    assert "step 2 of" in page.inner_text("main")
    page.go_back()
    assert chosen(page) == "attention"
    assert [page.input_value(f"[data-key={name}]") for name in ("block", "head")] == ["1", "1"]
    for nonsense in ("#attention&block=7&head=x&position=-1&norm=__proto__", "#constructor&step=1"):
        visit(page, nonsense)
        page.reload()
        is_sound(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_light_and_the_bars_stay(opened, scheme):
    skip_without_media()
    page = opened("desktop", scheme)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.get_attribute("html", "data-theme") == "light"
    style = "getComputedStyle(document.querySelector('.track i')).printColorAdjust"
    assert page.evaluate(style) == "exact"
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.get_attribute("html", "data-theme") == scheme


def test_bars_stay_where_the_system_chooses_the_colours(opened):
    skip_without_media()
    page = opened()
    page.emulate_media(forced_colors="active")
    style = "getComputedStyle(document.querySelector('.track i')).backgroundColor"
    assert page.evaluate(style) != page.evaluate("getComputedStyle(document.body).backgroundColor")


def three_digits(x):
    """A number as the page writes it."""
    size = abs(x)
    if size >= 1e4 or size < 1e-3:
        mantissa, _, exponent = f"{x:.2e}".partition("e")
        text = f"{mantissa}e{int(exponent)}"
    else:
        text = f"{x:#.3g}".rstrip(".")
    return text.replace("-", "−")


def test_lengths_in_words_are_exact_where_channels_are_in_groups(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(contents_module, "BUDGET", 65_000)
    _, trace, contents = look(make_run(tmp_path, n_embd=10))
    assert contents["about"]["group"] == 4
    assemble.write_page(str(tmp_path / "page.html"), contents)
    page = opened(path=tmp_path / "page.html")
    page.keyboard.press("3")
    text = page.inner_text("main")
    for part in ("query", "key", "value", "heads"):
        norm = np.linalg.norm(trace[f"h.0.attn.{part}"].value[0, 0, -1])
        assert f"at 32 has length {three_digits(norm)}." in text
    page.keyboard.press("4")
    text = page.inner_text("main")
    first, last = (
        three_digits(np.linalg.norm(trace[name].value[0, -1]))
        for name in ("embedding.out", "h.1.resid_post")
    )
    assert f"goes from length {first} to {last};" in text
    page.focus("[data-key=section-mlp]")
    page.keyboard.press("Enter")
    act = trace["h.0.mlp.act"].value[0, -1]
    text = page.inner_text("main")
    assert f"{(act > 0.05).sum()} of 40 neurons are active" in text
    assert f"Neuron {act.argmax()} is the most active" in text
    is_sound(page)
    # A cell of the last group of a head has the numbers of that head alone.
    page.keyboard.press("3")
    canvas = page.locator("canvas[aria-label^='Keys']")
    canvas.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    readout = canvas.locator("xpath=..").locator(".readout").inner_text()
    shown = three_digits(trace["h.0.attn.key"].value[0, 0, -1, 4])
    assert readout.endswith(f"channel 4: {shown}")


def test_nothing_is_said_to_be_right_that_was_not_checked(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(gradient_check, "MOST_PARAMETERS", 1)
    _, _, contents = look(make_run(tmp_path))
    assemble.write_page(str(tmp_path / "page.html"), contents)
    page = opened(path=tmp_path / "page.html")
    page.keyboard.press("5")
    for _ in contents["steps"]:
        text = page.inner_text("main")
        assert "0 of the 69 gradients were compared" in text and "are not checked here" in text
        assert "Not compared with the exact derivative." in text
        for claim in ("✓", "exact:", "right", "neighbouring", "before and after it are"):
            assert claim not in text, claim
        page.keyboard.press("ArrowRight")


MODERN = {"norm": "rmsnorm", "positions": "rotary", "activation": "swiglu", "qk_norm": True,
          "n_kv_head": 1, "logit_softcap": 20.0, "bias": False, "tied": False}  # fmt: skip


@pytest.mark.parametrize("changes", [MODERN, {"positions": "none"}], ids=["modern", "none"])
def test_every_view_of_a_model_with_other_parts(opened, tmp_path, changes):
    _, trace, contents = look(make_run(tmp_path, **changes))
    assemble.write_page(str(tmp_path / "page.html"), contents)
    page = opened(path=tmp_path / "page.html")
    for number in range(1, 7):
        page.keyboard.press(str(number))
        for section in SECTIONS if VIEWS[number - 1] == "layers" else [""]:
            if section:
                page.click(f"[data-key=section-{section}]")
            is_sound(page)
    page.keyboard.press("5")
    for _ in contents["steps"]:
        is_sound(page)
        page.keyboard.press("ArrowRight")
    # Queries and keys are what attention compares; heads of keys may be shared.
    page.keyboard.press("3")
    page.select_option("[data-key=head]", "1")
    for part in ("query", "key", "value"):
        value = trace[f"h.0.attn.{part}"].value[0]
        norm = np.linalg.norm(value[len(value) - 1, -1])
        assert f"has length {three_digits(norm)}" in page.inner_text("main")
