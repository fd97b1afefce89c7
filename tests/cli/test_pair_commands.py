"""`train` of an encoder-decoder and `translate`, as they are typed."""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
import gpt_numpy.reference as ops
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.checked_batches import batch_of_run, random_batch
from gpt_numpy.cli.options import GradcheckConfig
from gpt_numpy.config.presets import TRANSLATION_PRESETS
from gpt_numpy.config.transformer import BEGIN, PAD, TransformerConfig
from gpt_numpy.config.translation import TranslationConfig
from gpt_numpy.data.batches import EVALUATE_VAL
from gpt_numpy.data.pair_dataset import open_pairs
from gpt_numpy.data.sentences import text_of
from tests.support.commands import QUICK, TEXT, caller
from tests.support.sword_modules import pretend_verses

SMALL = [
    *("--ops=reference", "--n_embd=8", "--n_head=2", "--n_layer=1", "--batch_tokens=60"),
    *("--max_iters=4", "--eval_interval=2", "--eval_iters=1", "--eval_pairs=3", "--log_interval=1"),
]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    return caller(capsys)


@pytest.fixture
def trained(call):
    assert call("train", "copy", *SMALL, "--task_size=5")[0] == 0
    return call


@pytest.mark.parametrize("name", TRANSLATION_PRESETS)
def test_presets_are_settings_that_fit(name):
    values = dict(TRANSLATION_PRESETS[name])
    shape = {k: values.pop(k) for k in list(values) if k in TransformerConfig.__dataclass_fields__}
    TransformerConfig(vocab_size=9, **shape)
    more = {"source": "a", "target": "b"} if name == "translate" else {}
    assert TranslationConfig(**values, **more).out_dir == f"out-{name}"


def test_train_reports_and_resumes(trained):
    status, out, _ = trained(
        "train", "copy", "--init_from=resume", "--max_iters=6", "--log_interval=1"
    )
    assert status == 0 and "step 6: train loss" in out and "exact 0.00%" in out
    assert "tokens/s" in out and "gpt-numpy translate --out_dir=out-copy" in out
    status, out, _ = trained(
        "train", "--init_from=resume", "--out_dir=out-copy", "--eval_only", "--eval_pairs=9"
    )
    assert status == 0 and out.splitlines()[-1].startswith("step 7: train loss"), out


def test_a_run_changes_its_precision_and_keeps_its_optimizer(call):
    words = ["--task_size=5", "--optimizer=muon", "--dtype=bfloat16", "--max_iters=2"]
    assert call("train", "copy", *SMALL, *words)[0] == 0
    run = gn.load("out-copy/ckpt.npz")
    assert run.model.precision == "bfloat16" and isinstance(run.optimizer, gn.Muon)
    resume = ["train", "--init_from=resume", "--out_dir=out-copy"]
    status, out, _ = call(*resume, "--max_iters=4", "--dtype=float32")
    assert status == 0 and "dtype bfloat16 until now, float32 from here on" in out
    status, _, err = call(*resume, "--max_iters=6", "--optimizer=adamw")
    assert status == 2 and "optimizer=adamw, but the run in out-copy has optimizer=muon" in err
    status, _, err = call("train", "copy", "--muon_momentum=1")
    assert status == 2 and "muon_momentum=1" in err


def test_translate_a_text_and_standard_input(trained, monkeypatch):
    status, out, err = trained("translate", "--out_dir=out-copy", "123", "90")
    assert (status, err, len(out.splitlines())) == (0, "", 2)
    monkeypatch.setattr(sys, "stdin", io.StringIO("123\n90\r\n"))
    status, again, _ = trained("translate", "--out_dir=out-copy", "--checkpoint=best")
    assert (status, again) == (0, out)
    monkeypatch.setattr(sys, "stdin", io.StringIO("123\n"))
    status, out, _ = trained("translate", "--out_dir=out-copy", "--beam=1", "--logprobs")
    text, logprob = out.rstrip("\n").split("\t")
    run = gn.load("out-copy/ckpt-best.npz")
    tokens = gn.translate(run.model, [[*(run.tokenizer.encode("123") + 3), 2]], beam=1)[0]
    assert run.tokenizer.decode(tokens - 3) == text and float(logprob) < 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["12a"], "source='12a': the text has 1 character that the tokenizer does not know: 'a'"),
        ([" "], "source=' ' is empty"),
        (["1" * 32], "has 33 tokens, END counted, and the model reads at most source_size=32"),
        (["1", "--beam=0"], "beam=0: must be an integer, at least 1"),
        (["1", "--checkpoint=7"], "checkpoint='7'"),
    ],
)
def test_a_source_that_cannot_be_read(trained, words, message):
    status, _, err = trained("translate", "--out_dir=out-copy", *words)
    assert status == 2 and message in err and err.count("\n") == 1


def test_a_line_of_standard_input_is_named_after_those_before_it(trained, monkeypatch):
    _, first, _ = trained("translate", "--out_dir=out-copy", "1")
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n\n"))
    status, out, err = trained("translate", "--out_dir=out-copy")
    assert (status, out) == (2, first) and "line 2 of standard input is empty" in err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8"))
    status, _, err = trained("translate", "--out_dir=out-copy")
    assert status == 2 and "standard input is not UTF-8" in err


def test_standard_input_that_is_closed(trained, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    status, out, err = trained("translate", "--out_dir=out-copy")
    assert (status, out) == (2, "") and "standard input is closed: give the texts" in err
    assert trained("translate", "--out_dir=out-copy", "1")[0] == 0


def test_what_follows_two_dashes_is_text(trained):
    _, out, _ = trained("translate", "--out_dir=out-copy", "1", "2")
    assert trained("translate", "--out_dir=out-copy", "1", "--", "2")[1] == out
    for word in ("--beam=1", "--help", "--threads=1"):
        status, _, err = trained("translate", "--out_dir=out-copy", "--", word)
        assert status == 2 and f"source='{word}'" in err and "unknown setting" not in err


def test_the_other_kind_of_model_is_named(trained, tmp_path):
    (tmp_path / "t.txt").write_text(TEXT)
    assert trained("train", *QUICK, "--out_dir=gpt")[0] == 0
    status, _, err = trained("translate", "--out_dir=gpt", "hello")
    assert status == 2 and "is a GPT, which continues texts: use gpt-numpy sample" in err
    status, _, err = trained("sample", "--out_dir=out-copy")
    assert status == 2 and err.count("\n") == 1
    assert "is an encoder-decoder, and a GPT is needed here" in err
    status, _, err = trained("inspect", "--out_dir=gpt", "--text=To", "--target=be")
    assert status == 2 and "target='be': a GPT reads one text" in err
    for words in (["--batch_tokens=9"], ["--label_smoothing=0.1"]):
        status, _, err = trained("train", "--init_from=resume", "--out_dir=gpt", *words)
        assert status == 2 and "is a GPT, which has no such setting" in err


def test_gradcheck_reads_the_pairs_of_the_run(trained):
    status, out, _ = trained("gradcheck", "--out_dir=out-copy", "--method=directions")
    assert status == 0 and "sources 1 x 6, targets 1 x 6, float64, reference" in out
    assert "decoder.h.0.cross.c_kv.weight" in out and "all exact; largest error" in out
    status, out, _ = trained("gradcheck", "--out_dir=out-copy", "--dtype=bfloat16", "--json")
    assert status == 0 and json.loads(out)["ok"]
    # The same batch as with the run's own data, by hand.
    run = gn.load("out-copy/ckpt-best.npz", ops="reference")
    data = open_pairs(run.settings, (32, 32), tokenizer=run.tokenizer)
    texts = data.val.texts(2, seed=0, stream=EVALUATE_VAL)
    batch = batch_of_run(run, GradcheckConfig(), print)
    assert [text_of(run.tokenizer, row) for row in batch[0]] == [source for source, _ in texts]
    assert [text_of(run.tokenizer, row) for row in batch[1]] == [target for _, target in texts]


def test_gradcheck_fails_where_a_gradient_is_wrong(trained, monkeypatch):
    right = ops.cross_attention_sublayer_backward

    def wrong(*args, dweights, **kwargs):
        right(*args, dweights=dweights, **kwargs)
        dweights.kv_weight[:, :8] *= -1

    monkeypatch.setattr(ops, "cross_attention_sublayer_backward", wrong)
    status, out, _ = trained("gradcheck", "--out_dir=out-copy", "--method=directions")
    assert status == 1 and "only decoder.h.0.cross.c_kv.weight is wrong" in out
    words = " ".join(out.split())
    assert "it is wrong in the key (-1 times" in words and "right in the value" in words


def test_gradcheck_of_a_model_without_data_takes_random_pairs(trained, tmp_path):
    run = gn.load("out-copy/ckpt.npz")
    gn.save(tmp_path / "bare" / "ckpt.npz", run.model)
    words = ["--out_dir=bare", "--method=directions", "--batch_size=3"]
    status, out, _ = trained("gradcheck", *words)
    assert status == 0 and "sources 1 x 32, targets 1 x 32" in out
    source, target = random_batch(run.config, GradcheckConfig(batch_size=3))
    assert source.shape == (3, 32) and target.shape == (3, 33)
    assert (source[1:] == PAD).any() and (target[:, 0] == BEGIN).all()
    run.model.forward(source, target)


def test_gradcheck_names_data_that_has_changed(call, tmp_path):
    lines = [f"{k:05b}" for k in range(30)]
    for name in "ab":
        (tmp_path / name).write_text("\n".join(lines))
    files = ["--source=a", "--target=b"]
    assert call("train", *files, *SMALL, "--tokenizer=char", "--max_iters=0")[0] == 0
    words = ["gradcheck", "--out_dir=out-translate", "--method=directions"]
    assert call(*words)[0] == 0
    (tmp_path / "b").write_text("\n".join(reversed(lines)))
    status, _, err = call(*words)
    assert status == 2 and "out-translate: a has changed since training" in err


def test_inspect_shows_a_pair_as_a_table_and_as_a_page(trained):
    status, out, _ = trained("inspect", "--out_dir=out-copy", "--text=123", "--target=124")
    assert status == 0 and "decoder block 0" in out and "encoder's output" in out
    assert "source 1 x 4, target 1 x 5, reference" in out and "translates" not in out
    status, out, _ = trained("inspect", "--out_dir=out-copy", "--text=123", "--keep=*.cross.q")
    (line,) = [line for line in out.splitlines() if line.startswith("the model translates: ")]
    assert out.count("cross.q ") == 1
    _, written, _ = trained("translate", "--out_dir=out-copy", "123")
    assert line.removeprefix("the model translates: ") == written.rstrip("\n")
    words = ["inspect", "--out_dir=out-copy", "--text=123", "--html=page.html"]
    status, out, _ = trained(*words)
    assert status == 0 and "page in page.html" in out
    text = Path("page.html").read_text(encoding="utf-8")
    contents = json.loads(text.split('id="contents">')[1].split("</script>")[0])
    assert contents["source"] == ["1", "2", "3", "END"] and not contents["about"]["given"]
    assert contents["about"]["target"] == written.rstrip("\n") and not contents["checked"]["wrong"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "text is empty"),
        (["--text= "], "text=' ' is empty"),
        (["--text=1x"], "text='1x': the text has 1 character that the tokenizer does not know"),
        (["--text=" + "1" * 32], "has 33 tokens, END counted, and the model reads at most"),
        (["--text=1", "--target=x"], "target='x': the text has 1 character"),
        (["--text=1", "--target=" + "1" * 32], "writes at most target_size=32"),
        (["--text=1", "--html=x.png"], "html='x.png': must end in .html"),
        (["--text=1", "--keep=x"], "keep='x' matches nothing"),
    ],
)
def test_a_pair_that_cannot_be_inspected(trained, words, message):
    status, _, err = trained("inspect", "--out_dir=out-copy", *words)
    assert status == 2 and message in err and err.count("\n") == 1


def test_convert_writes_the_model_alone_and_refuses_formats_of_others(trained):
    for form in ([], ["--format=nanogpt"]):
        status, _, err = trained("convert", "out-copy", "new", *form)
        assert status == 2 and err.count("\n") == 1 and "--format=gpt_numpy writes" in err
        assert not Path("new").exists()
    status, out, _ = trained("convert", "out-copy", "new", "--format=gpt_numpy")
    assert status == 0 and "parameters of out-copy written to new (gpt_numpy)" in out
    ours, theirs = (gn.load(f"{folder}") for folder in ("new/ckpt.npz", "out-copy/ckpt-best.npz"))
    assert ours.model.params.flat.tobytes() == theirs.model.params.flat.tobytes()
    assert ours.optimizer is None and theirs.optimizer is not None
    texts = [trained("translate", f"--out_dir={name}", "123") for name in ("new", "out-copy")]
    assert texts[0] == texts[1] and texts[0][0] == 0
    with np.load("new/ckpt.npz") as file:  # what the refusal promises
        assert "wte.weight" in " ".join(file.files)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tiny", "--label_smoothing=0.1"], "label_smoothing=0.1: a GPT has no such setting"),
        (["copy", "--block_size=9"], "block_size=9: an encoder-decoder has no such setting"),
        (["copy", "--batch_size=9"], "batch_size=9: use --batch_tokens=N"),
        (["copy", "--init_from=x"], "init_from='x': an encoder-decoder starts from scratch"),
        (["copy", "--source_size=4"], "source_size=4: a source of copy has up to 11 tokens"),
        (["--source=a"], "source='a' without target"),
        (["--source=a", "--target=b"], "source='a': there is no such file"),
        (["translate"], "dataset='pairs' without files"),
        (["translate", "--dataset=verse"], "'verse': no pairs have this name; did you mean verses"),
        (["date", "--dataset=dat"], "no pairs have this name; did you mean date?"),
        (["--dataset=verse"], "data/verse/train.bin'; did you mean verses or reverse?"),
        (["copy", "--mo=x"], "mo='x' with dataset='copy'"),
        (["translate", "--dataset=verses", "--mo=x"], "mo='x' with dataset='verses', which needs"),
        (["copy", "--eval_only", "--eval_test"], "eval_test=True with eval_only=True, dataset='c"),
        (["--dataset=verses", "--eval_test"], "eval_test=True with eval_only=False, dataset='ver"),
        (
            ["copy", "--n_embd=4000000"],
            "target_size=32, source_size=32, batch_tokens=1024 take",
        ),
        (["copy", "--batch_tokens=99999999999"], "this machine has"),
    ],
)
def test_settings_that_do_not_belong_together(call, words, message):
    status, _, err = call("train", *words)
    assert status == 2 and message in err and err.count("\n") == 1


def test_pairs_of_two_files(call, tmp_path):
    lines = [f"{k:05b}" for k in range(30)]
    (tmp_path / "a").write_text("\n".join(lines))
    (tmp_path / "b").write_text("\n".join(line[::-1] for line in lines))
    files = ["--source=a", "--target=b"]
    status, out, _ = call("train", *files, *SMALL, "--tokenizer=char", "--schedule=noam")
    assert status == 0 and "starting from the preset translate" in out
    assert "found vocab_size = 5 (inside a)" in out
    # Other files are other data.
    (tmp_path / "b").write_text("\n".join(lines))
    status, _, err = call("train", "--init_from=resume", "--out_dir=out-translate", "--max_iters=9")
    assert status == 2 and "resume with the same data" in err
    assert np.isfinite(gn.load("out-translate/ckpt.npz").model.params.flat).all()


def test_verses_are_learned_and_the_test_is_for_the_end(call, monkeypatch, tmp_path):
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    words = [f"{k:04o}"[:2] + " " + f"{k:04o}"[2:] for k in range(0, 4096, 3)]
    swapped = str.maketrans("01234567", "abcdefgh")
    pretend_verses(monkeypatch, [(word, word.translate(swapped)) for word in words])
    quick = ["--tokenizer=char", "--n_embd=32", "--n_head=2", "--n_layer=1", "--batch_tokens=256"]
    quick += ["--source_size=8", "--target_size=8", "--lr_schedule=cosine", "--learning_rate=1e-2"]
    quick += ["--warmup_iters=20", "--max_iters=300", "--lr_decay_iters=300", "--dropout=0.0"]
    status, out, _ = call("train", "--dataset=verses", *quick, "--eval_interval=300")
    assert status == 0 and "found vocab_size = 20 (inside verses)" in out
    assert "starting from the preset translate" in out
    status, out, _ = call(
        *("train", "--init_from=resume", "--out_dir=out-translate"),
        *("--eval_only", "--eval_test", "--eval_full", "--eval_pairs=1000"),
    )
    test_loss, exact = re.search("test loss ([0-9.]+), .*exact ([0-9.]+)%", out).groups()
    assert status == 0 and "val loss" not in out
    assert float(test_loss) < 0.2 and float(exact) > 95, out  # smoothing leaves 0.1


def test_bleu_asks_for_its_package_first(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    status, _, err = call("train", "copy", "--bleu")
    assert status == 2 and "pip install 'gpt_numpy[translate]'" in err


def test_help_names_presets_and_settings_of_both_kinds():
    lines = cli.help_of("train").splitlines()
    (presets,) = [line for line in lines if line.startswith("presets: ")]
    assert "copy, reverse, addition, date, translate" in presets
    for name in ("batch_tokens", "label_smoothing", "n_layer", "learning_rate"):
        assert len([line for line in lines if line.startswith(f"  --{name}=")]) == 1
    assert "copy" not in cli.help_of("bench")
