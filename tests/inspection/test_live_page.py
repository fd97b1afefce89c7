"""The page that computes: its numbers, what it says of them, and what a reader can do with it.

It needs playwright and a Chromium, as test_page_in_browser.py does.
"""

import os
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.inspection.page import assemble, live
from gpt_numpy.training.checkpoint import load
from tests.inspection.conftest import IS_FIREFOX, skip_without_media, tap, visit
from tests.support.pages import CHARACTERS, HOSTILE, SAMPLE, look, make_run

SIZES = {"320": (320, 568), "390": (390, 844), "768": (768, 1024), "1024": (1024, 768),
         "1440": (1440, 900)}  # fmt: skip
SCHEMES = {"320": "light", "390": "dark", "768": "light", "1024": "dark", "1440": "light"}
VIEWS = (
    "story",
    "play",
    "transformer",
    "embedding",
    "attention",
    "layers",
    "backwards",
    "training",
)
SCENES = 23
BACKWARD = range(12, SCENES)
LOOK = (Path(__file__).parent / "look.js").read_text(encoding="utf-8")
# What the tests look at inside the page, which keeps its functions to itself.
INSIDE = (
    "window.inside = { contents, state, experiment, running, computed, explain, tensor, mat, at, "
    "setTokens, toggle, agreement, SCENES, matrixOf, config };\n"
)


def written(folder, name, contents):
    """A page whose script also shows the tests its inside."""
    part, path = assemble._part, folder / name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "_part", lambda n: part(n) + (INSIDE if n == "main.js" else ""))
        assemble.write_page(str(path), contents)
    return path


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("live"))
    run, trace, contents = look(folder, live=True)
    return run, trace, contents, written(folder.parent, "page.html", contents)


@pytest.fixture
def opened(visited, seen):
    """A function that opens the page and waits for both passes."""

    def open_page(size=(1280, 900), path=None, at="", **how):
        page = visited(path or seen[3], size, at, **how)
        settled(page)
        return page

    return open_page


def look_at(page, what, given=None):
    """The answer of a function of look.js in the page."""
    return page.evaluate(f"given => {{ {LOOK}\nreturn {what}(given); }}", given)


def ready(page):
    page.wait_for_selector("html[data-ready]", timeout=20_000)
    settled(page)


def settled(page):
    """Wait until both passes of what was asked last are on the page."""
    page.wait_for_function("() => inside.running.backward && !inside.running.busy", timeout=20_000)


def painted(page):
    """Wait until all pictures show what they should."""
    page.wait_for_selector("#view[data-painted=true]")


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tied": False, "bias": False, "activation": "relu"},
        {"positions": "sinusoidal", "activation": "gelu"},
        {"positions": "rotary", "norm": "rmsnorm", "activation": "relu2"},
        {"activation": "swiglu", "logit_softcap": 3.0, "positions": "none"},
        {"qk_norm": True, "positions": "rotary", "n_head": 4, "n_kv_head": 2, "tied": False},
        {"qk_norm": True, "n_kv_head": 1, "norm": "rmsnorm"},
    ],
    ids=[
        "as GPT-2",
        "untied, no biases",
        "sinusoids",
        "rotary, RMSNorm",
        "SwiGLU, soft cap",
        "QK norm, rotary, groups of heads",
        "QK norm, one group",
    ],
)
def test_every_equation_that_a_cell_opens_gives_the_number_in_the_cell(opened, tmp_path, changes):
    run, trace, contents = look(make_run(tmp_path, **changes), live=True)
    page = opened(path=written(tmp_path, "page.html", contents))
    explained = 0
    for name, entry in trace.items():
        for which in ("value", "grad"):
            if which == "value" and entry.kind == "parameter":
                continue
            found = look_at(page, "everyCell", [name, which, 60])
            if which == "grad" and entry.grad is None:
                continue
            assert found is not None, (name, which)
            assert found["wrong"] == [], (name, which)
            if not name.endswith(".attn.lse"):
                assert found["checked"] > 0 and found["silent"] == 0, (name, which)
                explained += 1
    assert explained > 100


def test_every_array_of_the_page_is_that_of_the_trace(opened, seen):
    run, trace, _, _ = seen
    text = HOSTILE
    tokens = run.tokenizer.encode(text)[: run.config.block_size]
    known = np.append(tokens[1:], -1)[None]
    model = gn.GPT(run.config, seed=None, dtype="float64", ops="reference")
    model.params.flat[...] = run.model.params.flat
    expected = gn.trace(model, tokens[None], known)
    page = opened()
    for name, entry in expected.items():
        for which, array in (("value", entry.value), ("grad", entry.grad)):
            if array is None:
                continue
            found = page.evaluate(
                "([n, w]) => { const x = inside.tensor(n, w); return x && Array.from(x.data); }",
                [name, which],
            )
            wanted = array if entry.kind == "parameter" else array[0]
            if (name, which) == ("losses", "grad"):  # the page has no loss where the text ends
                wanted = np.where(known[0] < 0, 0, wanted)
            np.testing.assert_allclose(
                np.reshape(found, wanted.shape), wanted, rtol=0,
                atol=1e-6 * max(np.abs(wanted).max(), 1e-3), err_msg=f"{name} {which}",
            )  # fmt: skip
    assert page.evaluate("inside.contents.tokens") == tokens.tolist()


def test_a_verdict_is_shown_only_while_the_gradient_is_the_one_that_was_checked(opened, seen):
    page = opened(at="#backwards&step=3")
    assert "✓ exact" in page.inner_text("main") and "computed the same" in page.inner_text("main")
    arrays = [name for name, entry in seen[1].items() if entry.grad is not None]
    found = page.evaluate("names => names.map(n => [n, inside.agreement(n)])", arrays)
    assert [name for name, x in found if x is None or x > 1e-5] == []
    page.evaluate("inside.setTokens([3, 4, 5])")
    settled(page)
    assert "✓" not in page.inner_text("main") and "Not checked" in page.inner_text("main")
    page.keyboard.press("ArrowRight")  # a step with parameters
    page.click("[data-key^=check-] >> nth=0")  # along a random direction, by differences
    page.wait_for_selector("text=they agree")


def test_a_gradient_that_differs_from_the_checked_one_is_said_to_be_wrong(opened, seen, tmp_path):
    contents = dict(seen[2])
    arrays = {**contents["arrays"]}
    name = "h.1.mlp.c_fc.weight"
    arrays[name] = {
        **arrays[name],
        "probe": arrays[name]["probe"] + arrays[name]["grad_numbers"]["norm"],
    }
    page = opened(path=written(tmp_path, "other.html", contents | {"arrays": arrays}))
    assert page.evaluate("name => inside.agreement(name)", name) > 0.5
    step = next(k for k, s in enumerate(contents["steps"]) if name in s["parameters"])
    visit(page, f"#backwards&step={step}")
    page.reload()
    ready(page)
    assert "this page computed something else" in page.inner_text("main")


# ---------------------------------------------------------------- what a reader does


def test_an_edited_text_is_read_again(opened, seen):
    run = seen[0]
    page = opened()
    page.fill("#text", "in a box (an apricot")
    page.wait_for_function("() => inside.contents.tokens.length === 20")
    settled(page)
    tokens = run.tokenizer.encode("in a box (an apricot")
    loss = gn.trace(run.model, tokens[None], np.append(tokens[1:], -1)[None]).loss
    assert page.evaluate("inside.contents.about.loss") == pytest.approx(loss, rel=1e-6)
    assert len(page.query_selector_all("#strip button")) == 21  # and what comes next
    assert page.evaluate("document.activeElement.id") == "text"
    page.fill("#text", "Zebra in")  # Z is unknown: it is left out, and said so
    page.wait_for_function("() => inside.contents.tokens.length === 7")
    page.reload()
    ready(page)
    assert page.input_value("#text") == "ebra in"
    page.click("text=original text")
    settled(page)
    assert page.input_value("#text") == HOSTILE[:40]


def test_a_click_on_a_candidate_writes_it_and_the_settings_change_the_bars(opened):
    page = opened(at="#play")
    page.evaluate("inside.setTokens(inside.contents.tokens.slice(0, 10))")
    settled(page)
    before = page.inner_text(".candidates")
    page.locator("[data-key=temperature]").fill("0.5")
    sharper = page.inner_text(".candidates")
    assert before != sharper
    page.locator("[data-key=top-k]").fill("3")
    assert len(page.query_selector_all(".candidates button")) == 3
    page.locator("[data-key=top-k]").fill("1")  # what comes in the text is shown nevertheless
    for position in range(9):
        page.click(f"[data-key=token-{position}]")
        shown = page.locator(".candidates button")
        shown = shown.evaluate_all("all => all.map(b => b.dataset.key)")
        coming = page.evaluate(f"inside.contents.tokens[{position + 1}]")
        green = page.locator(".candidates .right").get_attribute("data-key")
        assert green == f"next-{coming}" and len(shown) == len({shown[0], green})
    page.click("[data-key=token-9]")
    page.locator("[data-key=top-k]").fill("3")
    first = page.get_attribute(".candidates button >> nth=0", "data-key").removeprefix("next-")
    page.click(".candidates button >> nth=0")
    page.wait_for_function("() => inside.contents.tokens.length === 11")
    assert page.evaluate("inside.contents.tokens.at(-1)") == int(first)
    settled(page)
    page.click("[data-key=token-3]")  # in the middle: what follows there is dropped
    page.click(".candidates button >> nth=1")
    page.wait_for_function("() => inside.contents.tokens.length === 5")
    settled(page)
    page.evaluate("inside.setTokens(inside.contents.tokens.concat(1, 2, 3, 4, 5, 6))")
    settled(page)
    page.click("[data-key=write-20]")
    page.wait_for_function("() => inside.contents.tokens.length === 31")
    settled(page)
    assert page.evaluate("Math.max(...inside.contents.tokens)") < len(CHARACTERS)


def test_what_is_switched_off_changes_the_loss_and_stays_in_the_address(opened):
    page = opened(at="#play")
    before = page.evaluate("inside.contents.about.loss")
    page.click("[data-key='off-heads-0-1']")
    settled(page)
    page.click("[data-key='off-mlp-1-undefined']")
    settled(page)
    after = page.evaluate("inside.contents.about.loss")
    text = page.inner_text("main")
    assert after != before and "instead of" in text and "change of each token" in text
    assert not page.evaluate("inside.tensor('h.1.mlp.proj', 'value').data.some(x => x !== 0)")
    page.reload()
    ready(page)
    assert page.evaluate("inside.contents.about.loss") == after
    page.click("[data-key=all-on]")
    settled(page)
    assert page.evaluate("inside.contents.about.loss") == before


def test_a_step_downhill_lowers_the_loss_and_one_too_large_raises_it(opened):
    page = opened(at="#play")
    before = page.evaluate("inside.contents.about.loss")
    page.click("[data-key=step]")
    page.wait_for_function("() => inside.experiment.steps.length === 2")
    settled(page)
    first = page.evaluate("inside.contents.about.loss")
    assert first < before and "The loss fell by" in page.inner_text("main")
    page.locator("[data-key=rate]").fill("1")  # a rate of 10
    page.click("[data-key=step]")
    page.wait_for_function("() => inside.experiment.steps.length === 3")
    settled(page)
    assert page.evaluate("inside.contents.about.loss") > first
    assert "rose by" in page.inner_text("main")
    page.click("[data-key=reset]")
    page.wait_for_function("() => inside.experiment.steps.length === 0")
    settled(page)
    assert page.evaluate("inside.contents.about.loss") == before


def test_the_model_as_it_was_earlier(opened, tmp_path):
    folder = make_run(tmp_path)
    run = load(folder / "ckpt.npz", ops="reference")
    run.model.params.flat[...] *= 0.5
    gn.save(folder / "ckpt-00000010.npz", run.model, tokenizer=run.tokenizer)
    run, _, contents = look(folder, live=True)
    page = opened(path=written(tmp_path, "page.html", contents), at="#play")
    now = page.evaluate("inside.contents.about.loss")
    page.locator("[data-key=checkpoint]").fill("0")
    page.wait_for_function("() => inside.experiment.checkpoint === 10")
    settled(page)
    page.wait_for_function("() => inside.experiment.seenLosses.size === 2")
    run.model.params.flat[...] *= 0.5
    tokens = run.tokenizer.encode(HOSTILE)
    before = gn.trace(run.model, tokens[None], np.append(tokens[1:], -1)[None]).loss
    assert page.evaluate("inside.contents.about.loss") == pytest.approx(before, rel=1e-5)
    assert "now iteration 10" in page.inner_text("main")
    page.reload()
    ready(page)
    assert page.evaluate("inside.contents.about.loss") == pytest.approx(before, rel=1e-5)
    page.locator("[data-key=checkpoint]").fill("1")
    page.wait_for_function("() => inside.experiment.checkpoint === null")
    page.wait_for_function("loss => inside.contents.about.loss === loss", arg=now)


def test_a_picture_is_saved_as_png(opened):
    if IS_FIREFOX:
        pytest.skip("playwright is not told of a Firefox's downloads by WebDriver BiDi")
    page = opened(at="#training")
    for view, title in (("training", "Loss"), ("story", "The-text")):
        if view == "story":
            page.keyboard.press("1")
            page.keyboard.press("ArrowRight")
            title = "Lifted-out-and-added"
        with page.expect_download() as download:
            page.click(f".png[aria-label*='{title.replace('-', ' ')}'] >> nth=0")
        assert download.value.suggested_filename == f"{title}.png"
        data = Path(download.value.path()).read_bytes()
        assert data.startswith(b"\x89PNG") and len(data) > 3000


# ---------------------------------------------------------------- the story


@pytest.mark.parametrize(("size", "scheme"), [(k, SCHEMES[k]) for k in SIZES])
def test_every_scene_by_keyboard(opened, size, scheme, tmp_path):
    pictures = Path(os.environ.get("GPT_NUMPY_SCREENSHOTS") or tmp_path)
    pictures.mkdir(parents=True, exist_ok=True)
    page = opened(SIZES[size], color_scheme=scheme)
    questions = []
    for scene in range(SCENES):
        assert f"scene {scene + 1} of {SCENES}" in page.inner_text("main")
        questions.append(page.inner_text("#question"))
        assert look_at(page, "problems") == [], questions[-1]
        # One worked cell; the first scene is about no array yet.
        assert bool(page.query_selector("#opened h3")) == (scene > 0), questions[-1]
        place = page.get_attribute("[aria-current=location]", "data-key")
        assert place == "map-" + page.evaluate("inside.SCENES[inside.state.scene].place")
        if os.environ.get("GPT_NUMPY_SCREENSHOTS"):
            page.screenshot(path=pictures / f"story-{size}-{scheme}-{scene:02}.png")
        page.keyboard.press(" " if scene % 2 else "ArrowRight")
    assert len(set(questions)) == SCENES
    page.keyboard.press("Shift+ ")
    assert f"scene {SCENES - 1} of" in page.inner_text("main")
    for number, view in enumerate(VIEWS, start=1):
        page.keyboard.press(str(number))
        assert page.evaluate("inside.state.view") == view
        assert look_at(page, "problems") == [], view


@pytest.mark.parametrize("size", ["1024", "1440"])
def test_a_scene_of_the_way_back_fits_the_screen(opened, size):
    page = opened(SIZES[size])
    for scene in BACKWARD:
        visit(page, f"#story&scene={scene}")
        page.wait_for_selector(f"text=scene {scene + 1} of")
        found = look_at(page, "sublayerScene")
        assert found["columns"] == ["needed from forward", "gradient coming in",
                                    "gradient going out"]  # fmt: skip
        assert found["bottom"] <= SIZES[size][1] and found["cell"], scene
        assert found["side by side"] and found["pictures"] >= 2, scene
        names = page.evaluate(f"inside.SCENES[{scene}].out()")
        assert found["badges"] == names, scene
        arrays = page.evaluate("inside.contents.verdicts")
        assert found["checked"] == sum(name in arrays for name in names) > 0
    page.evaluate("inside.setTokens([3, 4, 5])")
    settled(page)
    found = look_at(page, "sublayerScene")
    assert found["checked"] == 0 and "not checked for this change" in page.inner_text(".derivation")


def test_a_newcomer_can_leave_the_story_and_come_back(opened):
    page = opened(at="#story&scene=16")
    page.click("[data-key=explore]")
    assert page.evaluate("inside.state.view") == "backwards"
    assert "h.0.ln_2.xhat" in page.inner_text("main")
    page.keyboard.press("1")
    assert "scene 17 of" in page.inner_text("main") and page.query_selector("#opened h3")
    for scene, view in ((0, "embedding"), (3, "attention"), (9, "layers")):
        visit(page, f"#story&scene={scene}")
        page.wait_for_selector(f"text=scene {scene + 1} of")
        page.click("[data-key=explore]")
        assert page.evaluate("inside.state.view") == view
        assert page.query_selector("#opened h3") is None  # the cell belonged to the scene


def test_a_scene_shows_the_equation_and_the_code_of_the_whole_gradient(opened, seen):
    page, steps = opened(at="#story&scene=22"), seen[2]["steps"]
    shown, cell = page.inner_text(".derivation"), page.inner_text("#opened")
    assert f"step {len(steps)} of {len(steps)}" in shown
    assert steps[-1]["equations"][0]["text"] in shown and "dlogits_btv" in shown
    assert "np.add.at(dwte" in cell and "dwte[...] = 0" not in cell  # the head's half stays
    visit(page, "#story&scene=13")
    assert "dnorm = dlogits @ weight" in page.inner_text(".derivation")


def test_a_scene_says_what_lies_behind_the_chosen_block(opened, tmp_path):
    page = opened()  # two blocks

    def text(scene, block):
        visit(page, f"#story&scene={scene}&block={block}")
        page.reload()
        ready(page)
        return page.inner_text(".scene-text")

    assert "(scene 17 shows how) and block 1 are already behind us; this is block 0" in text(14, 0)
    assert "(scene 17 shows how) is already behind us; this is block 1" in text(14, 1)
    text(16, 0)
    assert page.inner_text("#question") == "What does a norm let through?"
    assert "(scene 20)" in text(4, 0)
    text(19, 0)
    assert page.inner_text("#question") == "What happens behind the softmax?"
    assert "start of the stream, the sum of the two tables." in text(21, 0)
    assert "the stream of the block below." in text(21, 1)
    _, _, contents = look(make_run(tmp_path, n_layer=3, positions="rotary"), live=True)
    page = opened(path=written(tmp_path, "page.html", contents))
    assert "and blocks 2 to 1 are already behind us" in text(14, 0)
    assert "start of the stream, the row of the table." in text(21, 0)


def test_the_row_of_the_opened_cell_has_its_name(opened):
    page = opened(at="#story&scene=3")
    canvas = page.locator("canvas[aria-label^='Queries']")
    page.evaluate("""() => {
      const { prototype } = CanvasRenderingContext2D, write = prototype.fillText;
      prototype.fillText = function (text, x, y) {
        if (this.canvas.getAttribute("aria-label").startsWith("Queries")) window.written.push(y);
        write.call(this, text, x, y);
      };
    }""")
    high = (canvas.bounding_box()["height"] - 7) / len(page.evaluate("inside.contents.tokens"))
    assert high < 9  # too low for a name in every row
    for row in (7, 8):
        page.evaluate("window.written = []")
        y = 4 + (row + 0.5) * high
        canvas.click(position={"x": 60, "y": y})
        painted(page)
        assert min(abs(y - other) for other in page.evaluate("window.written")) < 1


def test_a_masked_weight_says_that_its_gradient_goes_no_further(opened):
    page = opened(at="#story&scene=18")
    canvas = page.locator("canvas[aria-label^='Of the weights']")
    box = canvas.bounding_box()
    for across, down, masked in ((0.9, 0.2, True), (0.2, 0.9, False)):
        canvas.click(position={"x": box["width"] * across, "y": box["height"] * down})
        assert ("the weight was 0, so this" in page.inner_text("#opened")) == masked


def test_scenes_by_pointer_swipe_and_map_and_back(opened):
    page = opened((390, 844), has_touch=True, is_mobile=True)
    tap(page, "[data-key=scene-next]")
    assert "scene 2 of" in page.inner_text("main")
    look_at(page, "swipe", -120)
    assert "scene 3 of" in page.inner_text("main")
    look_at(page, "swipe", 120)
    assert "scene 2 of" in page.inner_text("main")
    tap(page, "[data-key=map-mlp]")
    assert page.inner_text("#question") == "What does a token think by itself?"
    page.go_back()
    assert "scene 2 of" in page.inner_text("main")


def test_a_tap_opens_a_cell_which_stays_and_lights_its_sources(opened):
    page = opened((390, 844), at="#story&scene=4", has_touch=True, is_mobile=True)
    canvas = page.locator("canvas[aria-label^='Scores']")
    box, before = canvas.bounding_box(), page.inner_text("#opened h3")
    tap(canvas, position={"x": box["width"] * 0.5, "y": box["height"] * 0.8})
    text = page.inner_text("#opened h3")
    assert text.startswith("the score of query") and text != before
    assert len(page.query_selector_all("#opened math")) >= 3
    assert "scores(Q, K)" in page.inner_text("#opened")
    lit = page.locator("canvas[aria-label^='query']")
    painted(page)
    assert lit.evaluate(f"c => {{ {LOOK}; return dotsOf(c, '--warm'); }}") > 100
    tap(page, "[data-key=scene-next]")
    page.keyboard.press("Escape")
    assert page.query_selector("#opened.empty")
    assert lit.count() == 0


def test_a_token_under_the_pointer_is_outlined_in_all_figures(opened):
    page = opened(at="#story&scene=3")
    queries, keys = (page.locator(f"canvas[aria-label^='{name}']") for name in ("Queries", "Keys"))
    drawn = "c => c.toDataURL()"
    before = keys.evaluate(drawn)
    queries.hover(position={"x": 60, "y": 60})
    page.wait_for_timeout(100)
    assert keys.evaluate(drawn) != before
    page.mouse.move(2, 2)
    page.wait_for_timeout(100)
    assert keys.evaluate(drawn) == before


def test_a_slider_can_be_dragged(opened):
    """The bars are drawn again at each move; the slider under the pointer has to stay."""
    page = opened(at="#play")
    slider = page.locator("[data-key=temperature]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    bars = page.inner_text(".candidates")
    page.mouse.move(middle, y)
    page.mouse.down()
    values = []
    for share in (0.1, 0.2, 0.3, 0.4):
        page.mouse.move(middle + share * box["width"], y)
        painted(page)
        values.append(float(slider.input_value()))
    page.mouse.up()
    assert values == sorted(set(values))
    assert page.locator(".slider output").first.inner_text() == f"{values[-1]:.2f}"
    assert page.inner_text(".candidates") != bars


def test_a_turn_of_the_story_lays_the_page_out_few_times(opened):
    if IS_FIREFOX:
        pytest.skip("a Firefox does not count its layouts")
    page = opened((390, 844), has_touch=True, is_mobile=True)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def layouts():
        found = session.send("Performance.getMetrics")["metrics"]
        return next(metric["value"] for metric in found if metric["name"] == "LayoutCount")

    turn = """() => new Promise(done => {
      const painted = () => document.querySelector("#view[data-painted=true]");
      const wait = () => painted() ? done() : requestAnimationFrame(wait);
      document.querySelector("[data-key=scene-next]").click();
      wait();
    })"""
    for scene in range(1, SCENES):
        before = layouts()
        page.evaluate(turn)
        # The tap, the view, its surroundings, the frame; 8 if parts measure while others write.
        assert layouts() - before <= 5, scene
        assert f"scene {scene + 1} of" in page.inner_text("main")


TASK = {"ThreadControllerImpl::RunTask", "RunTask"}


def tasks(page, act):
    """What the page's thread does while act() runs: for each task the names of its parts.

    A part of a task is an event of Chromium's trace: Layout, TimerFire, click, ...
    """
    session, events, ended = page.context.new_cdp_session(page), [], []
    session.on("Tracing.dataCollected", lambda data: events.extend(data["value"]))
    session.on("Tracing.tracingComplete", lambda _: ended.append(True))
    categories = {"includedCategories": ["toplevel", "devtools.timeline"]}
    session.send("Tracing.start", {"transferMode": "ReportEvents", "traceConfig": categories})
    act()
    session.send("Tracing.end")
    while not ended:
        page.wait_for_timeout(10)
    threads = {(e["pid"], e["tid"]) for e in events if e["name"] == "EventDispatch"}
    found = []
    for thread in threads:
        mine = [e for e in events if (e["pid"], e["tid"]) == thread and e["ph"] == "X"]
        for task in (e for e in mine if e["name"] in TASK):
            end = task["ts"] + task.get("dur", 0)
            parts = [e for e in mine if task["ts"] <= e["ts"] < end]
            found.append([
                e["args"]["data"]["type"] if e["name"] == "EventDispatch" else e["name"]
                for e in parts
            ])  # fmt: skip
    return found


def test_a_turn_on_a_phone_is_made_of_short_tasks(opened):
    """A tap, the elements and the layout are a task each, and a frame paints few dots.

    Chromium lays the page out at the end of a tap, and whenever an element gets the focus.
    """
    if IS_FIREFOX:
        pytest.skip("a Firefox has another trace")
    page = opened((390, 844), has_touch=True, is_mobile=True)
    page.evaluate("""() => {
      const { prototype } = CanvasRenderingContext2D, draw = prototype.drawImage;
      window.frames_ = [[]];
      const next = () => { window.frames_.push([]); requestAnimationFrame(next); };
      requestAnimationFrame(next);
      prototype.drawImage = function (...given) {
        window.frames_.at(-1).push(this.canvas.width * this.canvas.height);
        draw.apply(this, given);
      };
    }""")
    for key, turns in (("scene-next", SCENES - 1), ("scene-before", SCENES - 1)):
        for turn in range(turns):
            button = page.locator(f"[data-key={key}]")

            def act(button=button):
                tap(button)
                painted(page)

            for parts in tasks(page, act):
                if "click" in parts or "TimerFire" in parts:
                    assert "Layout" not in parts, (key, turn)
                assert not {"click", "TimerFire"} <= set(parts), (key, turn)
    frames = page.evaluate("window.frames_")
    assert sum(map(len, frames)) > 2 * SCENES  # a test of nothing would pass
    # A picture is painted whole; after so many dots none is begun.
    assert max(sum(dots[:-1]) for dots in frames if dots) < 3e5


def test_the_focus_stays_on_the_button_that_turns_over(opened):
    page = opened()
    focused = "document.activeElement.dataset.key || document.activeElement.id"
    for key, end in (("scene-next", SCENES - 1), ("scene-before", 0)):
        page.focus(f"[data-key={key}]")
        page.evaluate("""() => {
          window.left = 0;
          document.addEventListener("focusout", () => { window.left += 1; });
        }""")
        for _ in range(SCENES - 2):
            page.keyboard.press("Enter")
            assert page.evaluate(focused) == key
        assert page.evaluate("window.left") == 0
        page.keyboard.press("Enter")  # there is no other scene: the button is off
        assert page.evaluate("inside.state.scene") == end
        assert page.evaluate(focused) == "view"
    page.focus("[data-key=rail-5]")
    page.keyboard.press("Enter")
    assert page.evaluate("inside.state.scene") == 5 and page.evaluate(focused) == "rail-5"


def test_focus_is_never_lost(opened):
    page = opened()
    for key in ("scene-next", "map-attention", "map-loss", "off-heads-0-0", "temperature", "step"):
        if key.startswith(("off", "temp", "step")):
            page.keyboard.press("2")
        page.focus(f"[data-key='{key}']")
        page.keyboard.press("ArrowRight" if key == "temperature" else "Enter")
        settled(page)
        assert page.evaluate("document.activeElement !== document.body"), key


def test_every_section_of_the_layers_and_every_norm(opened):
    page = opened(at="#layers")
    for section in ("norm", "mlp", "head", "stream"):
        page.click(f"[data-key=section-{section}]")
        assert len(page.query_selector_all("main figure")) > 1, section
        assert look_at(page, "problems") == [], section
    page.click("[data-key=section-norm]")
    for norm in range(3):
        page.locator("[data-key=norm]").select_option(str(norm))
        assert look_at(page, "problems") == [], norm
        assert "now they lie between" in page.inner_text("main")


def test_the_last_scene_and_a_text_of_one_token_can_be_shown(opened):
    page = opened()
    page.evaluate("inside.setTokens([5])")
    settled(page)
    for scene in range(SCENES):
        visit(page, f"#story&scene={scene}&text=5")
        page.reload()
        ready(page)
        assert look_at(page, "problems") == [], scene


# ---------------------------------------------------------------- craft


def test_nonsense_in_the_address_is_ignored(opened):
    page = opened(at="#story&scene=99&text=7.x.999999.4&off=h9.0%20q1%20n0.99999%20a0&head=-1")
    assert page.evaluate("inside.contents.tokens") == [7, 4]
    assert page.evaluate("inside.experiment.off.attention") == [0]
    assert page.evaluate("inside.state.scene") == 0
    assert look_at(page, "problems") == []
    visit(page, "#play&off=%E0%A4%A")
    page.reload()
    ready(page)
    assert look_at(page, "problems") == []


def test_hostile_strings_are_text_in_the_live_page_too(opened):
    page = opened()
    assert page.input_value("#text") == HOSTILE[:40]
    assert "onerror=alert(2)" in page.inner_text("h1")
    page.keyboard.press("8")
    assert SAMPLE.replace("\x1b", "�") in page.inner_text("main")
    tags = "['img', 'script', 'iframe', 'a'].map(tag => document.querySelectorAll(tag).length)"
    counts = page.evaluate(tags)
    assert counts == [0, 3, 0, 1]  # program, twin and contents; the link to the view


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(opened, scheme):
    page = opened(color_scheme=scheme)
    for place in ("story", "story&scene=13", "play&off=h0.0%20m1", "backwards&step=4", "attention"):
        visit(page, f"#{place}")
        page.reload()
        ready(page)
        assert look_at(page, "lowContrast") == [], place


def test_print_and_forced_colours_keep_the_marks(opened):
    skip_without_media()
    page = opened(at="#play")
    page.emulate_media(forced_colors="active")
    bar = "getComputedStyle(document.querySelector('.candidates .track i')).backgroundColor"
    assert page.evaluate(bar) != page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(forced_colors="none", media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    page.keyboard.press("1")
    assert look_at(page, "problems") == []


def test_a_diverged_model_has_a_page_too(opened, tmp_path):
    folder = make_run(tmp_path)
    run = load(folder / "ckpt.npz", ops="reference")
    run.model.params["h.1.ln_2.weight"][0] = np.inf
    gn.save(folder / "ckpt.npz", run.model, tokenizer=run.tokenizer)
    with np.errstate(all="ignore"):
        _, _, contents = look(folder, live=True)
    page = opened(path=written(tmp_path, "page.html", contents))
    assert "the model has diverged" in page.inner_text("#status")
    for scene in (0, 9, 12, 19):
        visit(page, f"#story&scene={scene}")
        assert "✓" not in page.inner_text("main")


def test_a_model_that_the_page_cannot_compute_says_why(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(live, "MOST_PARAMETERS", 100)
    _, _, contents = look(make_run(tmp_path), live=True)
    path = tmp_path / "page.html"
    assemble.write_page(str(path), contents)
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    assert "up to 100 travel in a page" in page.inner_text("footer")
    assert len(page.query_selector_all("[role=tab]")) == 6 and not page.is_visible("#prompt")
    page.close()
