"""The page of an encoder-decoder: its numbers are the trace's, and it works in a real browser."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.config.transformer import BEGIN, END
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.inspection.page import alignment, gradient_check
from gpt_numpy.inspection.page.alignment import KINDS, alignment_contents
from gpt_numpy.inspection.page.assemble import assemble_alignment, write_page
from gpt_numpy.training.checkpoint import Run
from tests.inspection.test_trace import random_model

LETTERS = "\n &<>/abceilnoprst\x1b\u2028"
HOSTILE = "</script><script>alert(1)</script>"
CONFIG = gn.TransformerConfig(
    vocab_size=len(LETTERS) + 3, source_size=40, target_size=40, n_layer=2, n_head=2, n_embd=8,
    n_hidden=12, label_smoothing=0.1,
)  # fmt: skip
SIZES = [(320, 568), (390, 844), (768, 1024), (1024, 768), (1440, 900)]


def pass_over(source, target, config=CONFIG):
    """The run and the trace of a pair of texts."""
    model = random_model(config, "reference")
    tokenizer = CharTokenizer(LETTERS[: config.vocab_size - 3])
    tokens = [tokenizer.encode(text) + 3 for text in (source, target)]
    given = np.array([[*tokens[0], END]]), np.array([[BEGIN, *tokens[1], END]])
    return Run(model, config, tokenizer=tokenizer), gn.trace(model, *given)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    run, trace = pass_over("cable </s>", "alert " + HOSTILE[:20])
    contents = alignment_contents(run, trace, "<img src=x onerror=alert(2)> & $run", True)
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(str(path), contents, assemble_alignment)
    return trace, contents, path


def test_the_numbers_are_those_of_the_trace(seen):
    trace, contents, _ = seen
    T, S = len(contents["target"]), len(contents["source"])
    assert (T, S) == (trace.targets.shape[1] - 1, trace.tokens.shape[1])
    for kind, (part, which) in KINDS.items():
        for i in range(CONFIG.n_layer):
            array = getattr(trace[f"decoder.h.{i}.cross.{part}"], which)[0]
            shown = np.array(contents[kind][i]).reshape(CONFIG.n_head, T, S)
            np.testing.assert_allclose(shown, array, rtol=0.00501)
    assert contents["equations"]["dscores"]["text"] == "ds_qk = p_qk (dp_qk - delta_q)"
    # Without smoothing: what the model gives the token.
    z = trace["logits"].value[0]
    of_target = z[np.arange(T), trace.targets[0, 1:]] - np.log(np.exp(z).sum(axis=-1))
    np.testing.assert_allclose(contents["losses"], -of_target, rtol=0.00501)
    lengths = np.linalg.norm(trace["encoder.out"].grad[0], axis=-1)
    np.testing.assert_allclose(contents["pull"], lengths, rtol=0.00501)
    assert contents["target"][-1] == "END" and contents["target"][0] == "a"


def test_every_gradient_is_checked_and_a_wrong_one_is_named(seen, monkeypatch):
    trace, contents, _ = seen
    checked = contents["checked"]
    assert checked["count"] == len(trace.backward_order) and checked["wrong"] == []
    assert checked["error"] <= 1e-11 and checked["why"] == ""
    run, trace = pass_over("able", "tea")
    wrong = trace._sources.stored_grads["decoder.h.1.cross.kv"]
    wrong[..., : wrong.shape[-1] // 2] *= 1.001
    found = alignment_contents(run, trace, "run", True)["checked"]["wrong"]
    assert sorted(found) == ["decoder.h.1.cross.key", "decoder.h.1.cross.kv"]
    monkeypatch.setattr(gradient_check, "MOST_PARAMETERS", 10)
    checked = alignment_contents(run, trace, "run", True)["checked"]
    assert checked["count"] == 0 and "models above 10 parameters" in checked["why"]


@pytest.mark.parametrize("kind", [gn.GPT, gn.Transformer])
def test_rounded_gradients_are_not_called_wrong(kind):
    config = CONFIG
    if kind is gn.GPT:
        config = gn.GPTConfig(vocab_size=9, block_size=6, n_layer=1, n_head=2, n_embd=8)
    model = kind(config, dtype="bfloat16", ops="reference")
    given = ([[3, 4, 5]], [[4, 5, 6]]) if kind is gn.GPT else ([[3, 4, END]], [[BEGIN, 5, END]])
    trace = gn.trace(model, *map(np.array, given))
    verdicts, why = gradient_check.check_gradients(model, trace)
    assert verdicts == {} and "gradcheck --dtype=bfloat16" in why


def test_too_many_tokens_are_refused(seen, monkeypatch):
    run, trace = pass_over("able", "tea")
    monkeypatch.setattr(alignment, "MOST", 3 * 2 * 2 * 5 * 4 - 1)
    with pytest.raises(gn.InputError, match="5 tokens and a target of 4 make 240 numbers"):
        alignment_contents(run, trace, "run", True)


def test_numbers_that_are_not_finite_are_left_out():
    run, trace = pass_over("able", "tea")
    run.model.params["decoder.h.1.cross.c_q.weight"][0] = np.nan
    with np.errstate(all="ignore"):
        trace = gn.trace(run.model, trace.tokens, trace.targets)
        contents = alignment_contents(run, trace, "run", True)
    assert set(contents["weights"][1][0]) == {None} and None not in contents["weights"][0][0]
    assemble_alignment(contents)


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_strings_are_only_in_the_json_and_nothing_is_loaded(seen):
    page = assemble_alignment(seen[1] | {"source": ["@@SCRIPT@@", "@@TWIN@@"]})
    elements = Elements()
    elements.feed(page)
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 2 and "img" not in tags
    assert not any(value and re.match("https?:|//", value) for _, attributes in elements.found
                   for name, value in attributes.items() if name in ("src", "href"))  # fmt: skip
    policy = next(a["content"] for t, a in elements.found if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    text = page.split('id="contents">')[1].split("</script>")[0]
    assert json.loads(text)["source"] == ["@@SCRIPT@@", "@@TWIN@@"]


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def opened(visited, seen):
    """A function that opens the page."""

    def open_page(size=(1280, 900), scheme="light", at=""):
        return visited(seen[2], size, at, color_scheme=scheme)

    return open_page


def is_sound(page):
    """Nothing is wider than the screen, cut off or unpainted, and no two figures overlap."""
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.evaluate(
        """[...document.querySelectorAll('canvas')].every(c => {
          const dots = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
          return c.width > 0 && c.height > 0 && dots.some(x => x > 0);
        })"""
    )
    assert page.evaluate(
        """[...document.querySelectorAll('h1, h3, figcaption, .verdict, .readout')].every(
          e => e.scrollWidth <= e.clientWidth + 1)"""
    )
    assert page.evaluate(
        """(() => {
          const figures = [...document.querySelectorAll('figure')];
          const boxes = figures.map(f => f.getBoundingClientRect());
          return boxes.length === 5 && boxes.every((a, i) => a.left >= 0 && boxes.every((b, j) =>
            i >= j || a.right <= b.left + 1 || b.right <= a.left + 1 ||
            a.bottom <= b.top + 1 || b.bottom <= a.top + 1));
        })()"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_every_kind_of_number_fits_every_screen(opened, size, scheme):
    page = opened(size, scheme)
    assert page.get_attribute("html", "data-theme") == scheme
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background))) < 200) == (scheme == "dark")
    for number, kind in enumerate(KINDS, start=1):
        page.keyboard.press(str(number))
        chosen = page.locator(".kinds [aria-pressed=true]")
        assert chosen.get_attribute("data-key") == f"kind-{kind}"
        is_sound(page)


def lines(page, what):
    """Of every line between the sentences: target and source, and what the expression says."""
    listed = "[...document.querySelectorAll('.pair path')]"
    return page.evaluate(f"{listed}.map(p => [Number(p.dataset.t), Number(p.dataset.s), {what}])")


@pytest.mark.parametrize("size", SIZES[:3])
def test_long_names_and_many_tokens_fit(opened, seen, size, tmp_path):
    contents, count = dict(seen[1]), 40
    S = len(contents["source"])
    for side in ("source", "target"):
        contents[side] = ["Donaudampfschifffahrtsgesellschaft", *contents[side][1:]]
    contents["target"] += ["x" * 60] * (count - len(contents["target"]))
    contents["best"] = ["internationalisation"] * count
    contents["losses"] = [1.5] * count
    for kind in KINDS:
        contents[kind] = [[[0.1] * (S * count)] * 2] * 2
    path = tmp_path / "long.html"
    write_page(str(path), contents, assemble_alignment)
    page = opened(size)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    is_sound(page)


def test_lines_are_the_weights(opened, seen):
    trace, contents, _ = seen
    page = opened(at="#weights&block=1&head=0")
    weights = np.array(contents["weights"][1][0]).reshape(-1, len(contents["source"]))
    strong = weights >= 0.02 * weights.max()
    found = lines(page, "Number(p.getAttribute('opacity'))")
    assert {(t, s) for t, s, _ in found} == set(zip(*np.nonzero(strong), strict=True))
    for t, s, opacity in found:
        assert opacity == pytest.approx(max(0.08, weights[t, s] / weights.max()), abs=1e-3)
    # Above zero is orange, below it blue.
    page = opened(at="#dscores&block=1&head=1")
    scores = np.array(contents["dscores"][1][1]).reshape(weights.shape)
    colours = lines(page, "p.getAttribute('stroke')")
    orange = page.evaluate(
        "getComputedStyle(document.documentElement).getPropertyValue('--warm').trim()"
    )
    assert colours and all((c == orange) == (scores[int(t), int(s)] > 0) for t, s, c in colours)


def test_by_keyboard_alone(opened, seen):
    contents = seen[1]
    page = opened()
    page.focus("[data-key=source-0]")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.key") == "source-1"
    assert page.url.endswith("&source=1")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("End")
    last = len(contents["target"]) - 1
    assert page.evaluate("document.activeElement.dataset.key") == f"target-{last}"
    weights = np.mean(contents["weights"][1], axis=0).reshape(last + 1, -1)[last]
    readout = page.locator(".pair + .under .readout").inner_text()
    assert readout.startswith("“END” is read from") and f"{weights.max():.3g}" in readout
    opacities = lines(page, "Number(p.getAttribute('opacity'))")
    assert {t for t, _, opacity in opacities if opacity > 0.07} == {last}
    page.keyboard.press("Escape")
    assert "target=" not in page.url
    page.focus("[data-key=map]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    readout = page.locator("[data-key=map] + .under .readout").inner_text()
    values = [np.mean(contents[kind][1], axis=0).reshape(last + 1, -1)[1, 0] for kind in KINDS]
    found = re.findall(r"(−?[\d.]+(?:e−?\d+)?)(?:,|$)", readout)
    shown = [float(text.replace("−", "-")) for text in found]
    np.testing.assert_allclose(shown, values, rtol=0.0051)
    page.focus("[data-key=head]")
    page.keyboard.press("ArrowDown")
    assert "head=0" in page.url


def test_the_address_keeps_what_is_shown_and_ignores_nonsense(opened):
    page = opened(at="#dweights&block=0&head=1&target=2")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.locator("[data-key=target-2]").get_attribute("aria-pressed") == "true"
    assert page.locator("[data-key=head-0-1]").get_attribute("aria-pressed") == "true"
    assert page.locator("h3").first.inner_text() == "Gradient of the weights, block 0, head 1"
    page = opened(at="#weights&block=9&head=x&target=999&<script>")
    assert page.locator("h3").first.inner_text() == "Weights, block 1, mean of the heads"


def test_by_pointer(opened, seen):
    page = opened()
    page.click("[data-key=head-0-1]")
    assert "block=0&head=1" in page.url
    page.click("[data-key=target-3]")
    assert page.url.endswith("&target=3")
    page.click("[data-key=target-3]")
    assert "target" not in page.url
    page.click("#theme")
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.locator("h1").inner_text() == "Inside <img src=x onerror=alert(2)> & $run"
    assert "✓" in page.locator(".verdict").inner_text()
