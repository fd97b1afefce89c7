"""What the page says in words and signs, against what is so: the findings of newcomers to it."""

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.inspection.page import backwards
from tests.inspection.conftest import visit
from tests.inspection.test_live_page import (  # noqa: F401
    opened,
    seen,
    settled,
    written,
)
from tests.inspection.test_page_in_browser import three_digits
from tests.support.pages import CHARACTERS, look, make_run

V = len(CHARACTERS)


def grown(page, count):
    """Let the text continue with what the model finds most likely."""
    page.evaluate("inside.setTokens([5])")
    settled(page)
    for _ in range(count):
        page.evaluate(
            "inside.setTokens([...inside.contents.tokens, inside.contents.next.tokens.at(-1)[0]])"
        )
        settled(page)


def test_bars_of_a_gradient_have_its_signs_and_the_colours_of_the_maps(opened):  # noqa: F811
    page = opened(at="#backwards&step=0&position=3")
    page.wait_for_selector("text=The gradient of each logit")
    bars = page.evaluate(
        """() => {
          const figures = [...document.querySelectorAll("figure")];
          const titled = f => f.querySelector("h3").textContent.startsWith("The gradient of each");
          const parts = [...figures.find(titled).querySelector(".bars").children];
          return parts.filter((_, k) => k % 3 === 0).map((label, k) => ({
            right: label.classList.contains("right"), text: parts[3 * k + 2].textContent,
            warm: Boolean(parts[3 * k + 1].querySelector(".warm")) }));
        }"""
    )
    order = page.evaluate("inside.contents.next.tokens[3].slice(0, 10)")
    target = page.evaluate("inside.contents.targets[3]")
    order += [target] * (target not in order)
    gradient = page.evaluate("Array.from(inside.tensor('logits', 'grad').data)")
    assert len(bars) == len(order)
    for bar, token in zip(bars, order, strict=True):
        shown = float(bar["text"].replace("−", "-"))
        assert shown == pytest.approx(gradient[3 * V + token], rel=0.01), token
        assert bar["right"] == (token == target) == (shown < 0) == (not bar["warm"])


def test_where_the_text_ends_there_is_no_loss_to_change(opened):  # noqa: F811
    page = opened(at="#story&scene=12")
    tokens = page.evaluate("inside.contents.tokens.length")
    gradient = page.evaluate("Array.from(inside.tensor('losses', 'grad').data)")
    np.testing.assert_allclose(gradient, [*[1 / (tokens - 1)] * (tokens - 1), 0])
    norm = page.evaluate("inside.contents.arrays.losses.grad_numbers.norm")
    assert norm == pytest.approx((tokens - 1) ** -0.5)
    for place, label in (
        ("story&scene=12", "Of each loss"),
        ("backwards&step=0", "gradient of losses"),
    ):
        visit(page, f"#{place}")
        canvas = page.locator(f"canvas[aria-label^='{label}']")
        canvas.wait_for()
        box = canvas.bounding_box()
        for across, end in ((0.5 / tokens, False), (1 - 0.5 / tokens, True)):
            canvas.click(position={"x": box["width"] * across, "y": box["height"] - 4})
            readout = canvas.locator("xpath=..").locator(".readout").inner_text()
            cell = page.inner_text("#opened")
            assert ("no loss here: the text ends" in readout) == end
            assert ("No loss here: the text ends." in cell) == end
            fraction = page.locator("#opened mfrac").all_text_contents()
            assert end or "".join(fraction[-1].split()) == f"1{tokens - 1}"  # no 1.00 / 39.0
    assert f"losses has norm {three_digits(norm)}" in page.inner_text("main")


def test_the_map_and_the_scenes_have_the_same_lengths(opened):  # noqa: F811
    page = opened(at="#story&scene=14")
    title = page.get_attribute("[data-key=map-embedding]", "title")
    size = title.split("gradient ")[1].split(",")[0]
    assert title.endswith("all tokens together")
    assert f"and {size} at its start" in page.inner_text(".scene-text")
    visit(page, "#story&scene=1")
    page.wait_for_selector("text=scene 2 of")
    rows = np.reshape(
        page.evaluate("Array.from(inside.tensor('embedding.out', 'value').data)"), (-1, 8)
    )
    mean = three_digits(np.linalg.norm(rows, axis=1).mean())
    title = page.get_attribute("[data-key=map-embedding]", "title")
    assert title.endswith(f"mean length of a token’s vector {mean}")
    page.keyboard.press("3")
    assert f"mean length of the vectors, {mean} after the embedding" in page.inner_text("main")


def test_a_loss_above_that_of_a_blind_guess_is_said_to_be_worse(opened):  # noqa: F811
    page = opened()
    worse = f"worse than a blind guess among {V} ({three_digits(np.log(V))})"
    assert page.evaluate("inside.contents.about.loss") > np.log(V)
    assert worse in page.inner_text("#status") and "as unsure" not in page.inner_text("#status")
    grown(page, 6)
    loss = page.evaluate("inside.contents.about.loss")
    between = f"as unsure as between {three_digits(np.exp(loss))} equally likely tokens"
    assert loss < np.log(V) and between in page.inner_text("#status")
    page.click(".rail [aria-label^='scene 12:']")
    assert "blind guess" not in page.inner_text(".scene-text")
    assert page.inner_text(".scene-text").count("as unsure as between") == 2


def test_space_turns_over_after_a_token_was_chosen(opened):  # noqa: F811
    page = opened(at="#story&scene=3")
    page.click("[data-key=token-4]")
    page.keyboard.press(" ")
    assert "scene 5 of" in page.inner_text("main")
    page.keyboard.press(" ")
    assert "scene 6 of" in page.inner_text("main")
    page.keyboard.press("ArrowRight")  # at a token: the next one, as the footer says
    assert page.evaluate("inside.state.position") == 5 and "scene 6 of" in page.inner_text("main")
    assert "at a token ← → choose another" in " ".join(page.inner_text("footer").split())
    page.focus("[data-key=token-9]")  # not chosen yet: Space chooses, as at any button
    page.keyboard.press(" ")
    assert page.evaluate("inside.state.position") == 9 and "scene 6 of" in page.inner_text("main")
    page.keyboard.press(" ")
    assert "scene 7 of" in page.inner_text("main")
    page.locator("main canvas").first.click()
    page.keyboard.press(" ")
    assert "scene 8 of" in page.inner_text("main")


@pytest.mark.parametrize(
    ("changes", "lit", "dark"),
    [
        ({}, ("+= bias",), ("smoothing", "softcap", "dwte[...] = 0", "share * share")),
        ({"bias": False, "tied": False}, ("dwte[...] = 0",), ("+= bias", "dbias[...]")),
        ({"logit_softcap": 3.0}, ("1 - share * share",), ("smoothing",)),
        ({"positions": "rotary"}, ("row = wte",), ("rmsnorm_backward(", "row += wpe", "dwpe[")),
        ({"positions": "sinusoidal"}, ("row += wpe",), ("dwpe[",)),
    ],
    ids=["as GPT-2", "without biases", "soft cap", "rotary", "sinusoids"],
)
def test_only_lines_that_the_model_runs_are_lit(changes, lit, dark):
    settings = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 4} | changes
    model = gn.GPT(gn.GPTConfig(vocab_size=5, **settings), seed=1, ops="reference")
    trace = gn.trace(model, *np.random.default_rng(0).integers(0, 5, (2, 1, 4)))
    codes = [e["code"] for step in backwards.steps(trace) for e in step["equations"]]
    codes += backwards.forward_code(trace).values()
    shown = []
    for code in codes:
        lines = dict(map(tuple, code["lines"]))
        assert max(lines) == max(code["marked"])  # nothing after the last line that counts
        shown += [lines[number] for number in code["marked"]]
    text = "\n".join(shown)
    assert [part for part in lit if part not in text] == []
    assert [part for part in dark if part in text] == []


def test_the_key_of_a_chart_has_the_strokes_of_its_lines(opened):  # noqa: F811
    page = opened(at="#training")
    strokes = page.evaluate(
        """() => {
          const names = ["stroke", "stroke-width", "stroke-dasharray", "opacity"];
          const of = e => names.map(name => e.getAttribute(name));
          return [...document.querySelectorAll("figure")].map(f =>
            ["svg polyline", ".key line"].map(where => [...f.querySelectorAll(where)].map(of)));
        }"""
    )
    with_key = [(lines, key) for lines, key in strokes if key]
    assert len(with_key) == 3 and all(lines == key for lines, key in with_key)
    assert any(stroke[2] for stroke in with_key[0][0])  # the training split is dashed


def test_what_one_does_with_a_finger_is_to_tap(opened):  # noqa: F811
    places = ("story&scene=3", "attention", "transformer", "play", "training")
    for how in ({}, {"has_touch": True, "is_mobile": True}):
        page = opened((390, 844), **how)
        text = ""
        for place in places:
            visit(page, f"#{place}")
            page.wait_for_timeout(100)
            text += page.inner_text("main")
        words = {w: text.count(w) for w in ("Tap", "Point at", "Click on", "click")}
        assert words["Tap"] if how else words["Point at"] and words["Click on"], words
        assert sum(words.values()) == words["Tap"] or not how, words


@pytest.mark.parametrize(("scene", "title"), [(3, "Queries"), (4, "Scores")])
def test_a_tapped_cell_leads_to_its_equation_below(opened, scene, title):  # noqa: F811
    page = opened((390, 844), at=f"#story&scene={scene}", has_touch=True, is_mobile=True)
    assert page.locator(".to-opened").count() == 0
    page.locator(f"canvas[aria-label^='{title}']").tap(position={"x": 60, "y": 60})
    page.locator("figure .to-opened").tap()
    top = page.locator("#opened").bounding_box()["y"]
    assert 0 <= top < 500
    page.click("[aria-label='Close the opened cell']")
    assert page.locator(".to-opened").count() == 0


def test_an_equation_explains_its_words(opened):  # noqa: F811
    page = opened(at="#story&scene=2")
    assert "rstd: 1 / standard deviation of the vector’s 8 numbers" in page.inner_text("#opened")
    visit(page, "#story&scene=11")
    page.wait_for_selector("text=scene 12 of")
    words = page.inner_text("#opened .words")
    assert "lse: log of the sum of e to the power of every logit; y: the token that did" in words
    visit(page, "#story&scene=18")
    page.wait_for_selector("text=scene 19 of")
    gradient = page.evaluate("Array.from(inside.mat('h.0.attn.value', 'grad', 0).data)")
    assert page.inner_text("#opened h3").endswith(three_digits(max(gradient, key=abs)))
    assert "The largest number of its picture" in page.inner_text("#opened")


def test_a_table_a_head_and_what_is_switched_off_in_words(opened):  # noqa: F811
    page = opened(at="#transformer")
    assert page.locator("[data-door=embedding]").text_content().endswith(f"{V} × 8 and 40 × 8")
    visit(page, "#attention")
    page.wait_for_selector("text=One attention head")
    assert "reads all 8 channels and makes queries, keys and values of 4 numbers each" in (
        page.inner_text("main")
    )
    visit(page, "#play")
    page.click("[data-key='off-heads-0-1']")
    settled(page)
    before, now = page.evaluate("[inside.experiment.baseline.loss, inside.contents.about.loss]")
    same = three_digits(before) == three_digits(now)
    text = page.inner_text("main")
    assert ("hardly any difference" in text) == same and "Without it the loss" in text
    page.evaluate("inside.experiment.baseline.loss = inside.contents.about.loss + 1e-6")
    page.keyboard.press("1")
    page.keyboard.press("2")
    assert "hardly any difference (1.00e−6 lower)" in page.inner_text("main")


def test_the_norm_has_its_own_name(opened, tmp_path):  # noqa: F811
    _, _, contents = look(make_run(tmp_path, norm="rmsnorm"), live=True)
    page = opened(path=written(tmp_path, "page.html", contents), at="#transformer")
    for view in ("transformer", "layers"):
        visit(page, f"#{view}")
        page.wait_for_selector(f"#tab-{view}[aria-selected=true]")
        text = page.locator("main").text_content()
        assert "RMSNorm" in text and "layer norm" not in text.lower(), view
