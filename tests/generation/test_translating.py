"""Greedy decoding, drawing and beam search, with a decoder whose logits stand in a table."""

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import NotFiniteError
from gpt_numpy.config.transformer import BEGIN, END, PAD
from gpt_numpy.generation import translating
from gpt_numpy.generation.beam_search import beam_search, length_penalty, log_softmax
from gpt_numpy.generation.translating import Decoding, hypotheses, translate
from tests.support.table_decoder import TableModel, every_target

SOURCES = [np.array(source) for source in ([3], [4, 3], [3, 3, 4], [4])]


def best_of_all(model, source, longest, alpha):
    """By the definition: the score of every target that there is."""
    scored = [
        (total / ((5 + len(tokens) + 1) / 6) ** alpha, tokens)
        for tokens, total in every_target(model, source, longest)
    ]
    return max(scored)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_is_an_exhaustive_search(seed, alpha):
    model = TableModel(seed, ending=-1.0)
    how = Decoding(beam=64, length_penalty=alpha, max_new_tokens=4)
    found = hypotheses(model, SOURCES, how)
    for source, hypothesis in zip(SOURCES, found, strict=True):
        score, tokens = best_of_all(model, source.tolist(), 5, alpha)
        assert hypothesis.tokens == tokens
        assert hypothesis.score == pytest.approx(score, rel=1e-12)


def test_the_penalty_decides_and_its_length_counts_end():
    assert length_penalty(1, 0.6) == 1.0
    assert length_penalty(7, 0.6) == pytest.approx(2**0.6)
    lengths = [
        sum(
            len(each.tokens)
            for each in hypotheses(
                TableModel(2), SOURCES, Decoding(beam=64, length_penalty=alpha, max_new_tokens=4)
            )
        )
        for alpha in (0.0, 4.0)
    ]
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_of_one_is_greedy(seed):
    model = TableModel(seed)
    greedy = hypotheses(model, SOURCES, Decoding(beam=1))
    for source, hypothesis in zip(SOURCES, greedy, strict=True):
        decoder = model.start_decoding(source[None])
        ((beam_of_1,),) = beam_search(decoder, [len(source) + 50], 1, 0.6)
        written = [BEGIN]
        while written[-1] != END and len(written) < 20:
            logits = model.logits(source.tolist(), written)
            written.append(END + int(logits[END:].argmax()))
        assert hypothesis.tokens == written[1:-1] == beam_of_1.tokens
        assert hypothesis.log_probability == pytest.approx(beam_of_1.log_probability)


def test_a_finished_hypothesis_is_kept_while_others_go_on():
    # What begins with 3 ends at once; what begins with 4 goes on, with ever less probable tokens.
    class Early(TableModel):
        def logits(self, source, tokens):
            if len(tokens) == 1:
                return np.array([-9.0, -9.0, -9.0, 1.0, 1.0])
            if tokens[1] == 3:
                return np.array([-9.0, -9.0, 4.0, -9.0, -9.0])
            return np.array([-9.0, -9.0, -9.0, 2.0, -1.0])

    model = Early(0)
    (found,) = beam_search(model.start_decoding(np.array([[3]])), [8], 2, 0.6)
    assert len(model.steps) > 4  # with this penalty a longer one might still have won
    assert found[0].tokens == [3] and found[0].score == max(each.score for each in found)
    assert len(found) > 1


def test_a_search_ends_when_nothing_can_become_better():
    model = TableModel(0, ending=8.0)
    hypotheses(model, SOURCES[:1], Decoding(beam=3, length_penalty=0.6))
    assert len(model.steps) <= 2
    # Sources that are done leave the batch.
    model = TableModel(1)
    hypotheses(model, SOURCES, Decoding(beam=2))
    assert model.steps[0] == len(SOURCES) and max(model.steps) > model.steps[-1]


@pytest.mark.parametrize("how", [Decoding(beam=1), Decoding(beam=3), Decoding(temperature=1.0)])
def test_a_target_ends_at_the_limit(how):
    never = TableModel(3, ending=-1e3, target_size=7)
    assert [len(h.tokens) for h in hypotheses(never, SOURCES, how)] == [6] * 4
    long = TableModel(3, ending=-1e3, target_size=1000)
    found = hypotheses(long, SOURCES[:2], how)
    assert [len(h.tokens) for h in found] == [len(s) + 49 for s in SOURCES[:2]]
    (few,) = translate(long, [[3]], beam=how.beam, max_new_tokens=2)
    assert len(few) == 2
    # It is END that is forced: its probability belongs to the score.
    assert all(h.log_probability < -900 for h in found)


def test_padding_and_begin_are_never_written():
    class Padding(TableModel):
        def logits(self, source, tokens):
            logits = super().logits(source, tokens)
            logits[[PAD, BEGIN]] += 20
            return logits

    for how in (Decoding(beam=1), Decoding(beam=4), Decoding(temperature=1.0)):
        for found in hypotheses(Padding(0), SOURCES, how):
            assert all(token > END for token in found.tokens)
            # The log-probability is the model's own, theirs included.
            assert found.log_probability < -10


def test_draws_depend_on_the_seed_and_the_number_of_the_source_alone():
    model = TableModel(1, ending=-2.0)
    drawn = [translate(model, SOURCES, temperature=1.0, seed=seed) for seed in (0, 0, 1)]
    as_lists = [[each.tolist() for each in found] for found in drawn]
    assert as_lists[0] == as_lists[1] != as_lists[2]
    first = translate(model, SOURCES[:2], temperature=1.0)
    assert [each.tolist() for each in first] == as_lists[0][:2] and len(first[1]) > 1
    cold = translate(model, SOURCES, temperature=1e-3)
    greedy = translate(model, SOURCES, beam=1)
    assert [c.tolist() for c in cold] == [g.tolist() for g in greedy]


def test_groups_of_sources_change_nothing(monkeypatch):
    model = TableModel(6)
    whole = translate(model, SOURCES, beam=3)
    monkeypatch.setattr(translating, "_ROWS_TIMES_LENGTH", 4)
    parts = translate(model, SOURCES, beam=3)
    assert [w.tolist() for w in whole] == [p.tolist() for p in parts]
    # Padding at the end of a source is no part of it.
    again = translate(model, np.array([[3, 0, 0], [4, 3, 0], [3, 3, 4], [4, 0, 0]]), beam=3)
    assert [w.tolist() for w in whole] == [a.tolist() for a in again]


def test_the_frequencies_of_drawn_tokens_are_the_probabilities():
    model = TableModel(7)
    many = [np.array([3])] * 4000
    model.logits = lambda source, tokens: np.array([-30.0, -30.0, 0.5, 0.0, -1.0])
    first = [each.tokens[:1] or [END] for each in hypotheses(model, many, Decoding(temperature=1))]
    expected = np.exp(log_softmax(model.logits(0, 0)[None])[0])
    for token in (2, 3, 4):
        assert np.mean(np.array(first) == token) == pytest.approx(expected[token], abs=0.03)


@pytest.mark.parametrize(
    ("sources", "settings", "message"),
    [
        ([[]], {}, "sources has shape"),
        ([[3], []], {}, r"sources\[1\]"),
        ([[3, 9]], {}, r"sources\[0\] contains 9: must be from 1 to vocab_size - 1 = 4"),
        ([[3, 0, 3]], {}, r"contains 0.*PAD=0 only at the end"),
        ([[0, 0]], {}, "holds no token other than PAD"),
        ([[3] * 31], {}, "31 tokens: the model reads at most source_size=30"),
        ([[3.5]], {}, "must be integers"),
        ([[3]], {"beam": 0}, "beam=0: must be an integer, at least 1"),
        ([[3]], {"lenght_penalty": 1}, "did you mean length_penalty"),
        ([[3]], {"temperature": -1}, "temperature=-1"),
    ],
)
def test_bad_input(sources, settings, message):
    with pytest.raises(gn.InputError, match=message):
        translate(TableModel(0), sources, **settings)


def test_logits_that_are_not_finite_are_an_error():
    model = TableModel(0)
    model.logits = lambda source, tokens: np.array([0, 0, 0, np.nan, 0.0])
    for beam in (1, 2):
        with pytest.raises(NotFiniteError, match="logits of the next token are not finite"):
            translate(model, [[3]], beam=beam)
