"""Settings as the commands take them: what excludes what, what is left out, what help says."""

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.cli.options import InspectConfig
from gpt_numpy.cli.prompts import encode_setting
from gpt_numpy.cli.settings import (
    field_types,
    gather,
    names_nanogpts_data,
    nanogpts_training,
    only_flags,
    shape_of,
    split,
)
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data.tokenizers.characters import CharTokenizer
from gpt_numpy.training.checkpoint import Run

TYPES = field_types(GPTConfig, TrainConfig)


def test_numbers_of_files_have_their_signs_and_quotients(tmp_path):
    lines = ["seed = 7 // 2", "patience = 7 % 4", "weight_decay = -(-3 / 4)", "beta1 = +0.5"]
    (tmp_path / "c.py").write_text("\n".join([*lines, "max_iters = 2 ** 5 - 1 * 2"]))
    values = gather([str(tmp_path / "c.py")], TYPES)
    assert values["seed"] == values["patience"] == 3
    assert values["weight_decay"] == 0.75 and values["beta1"] == 0.5 and values["max_iters"] == 30
    for exponent in (65, -65):
        (tmp_path / "c.py").write_text(f"max_iters = 1 ** {exponent}")
        with pytest.raises(InputError, match=f"exponent {exponent} is larger than 64"):
            gather([str(tmp_path / "c.py")], TYPES)
    (tmp_path / "c.py").write_text("max_iters = 1 ** 64\nweight_decay = -0.5")
    assert gather([str(tmp_path / "c.py")], TYPES) == {"max_iters": 1, "weight_decay": -0.5}


def test_a_shape_has_the_vocabulary_of_its_last_preset():
    assert shape_of(["tiny", "gpt2"])["vocab_size"] == 50257
    assert shape_of(["gpt2", "tiny"])["vocab_size"] == 65 == shape_of([])["vocab_size"]
    assert shape_of(["tiny"]).keys() <= field_types(GPTConfig).keys()


def test_a_command_of_flags_takes_no_names():
    assert only_flags("sample", ["--seed=3"], {"seed": int}) == {"seed": 3}
    with pytest.raises(InputError, match="sample takes settings only"):
        only_flags("sample", ["--seed=3", "tiny"], {"seed": int})


def test_names_and_flags_are_told_apart_and_a_tilde_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    words = ["~/a", "--seed=3", "b=c", "--out_dir=~/r"]
    names, flags = split(words, {"seed": int, "out_dir": str})
    assert names == [f"{tmp_path}/a", "b=c"]
    assert flags == {"seed": 3, "out_dir": f"{tmp_path}/r"}


def test_a_flag_that_ends_in_py_is_no_file_of_nanogpt():
    assert nanogpts_training(["c.py"]) and nanogpts_training(["--out_dir=x", "c.py"])
    assert nanogpts_training(["--data=text.py"]) == nanogpts_training(["tiny", "c.py"]) == {}


def test_a_data_set_is_one_of_nanogpt_where_a_file_names_it_last(tmp_path):
    name, silent = str(tmp_path / "c.py"), str(tmp_path / "d.py")
    (tmp_path / "c.py").write_text("dataset = 'shakespeare'\n")
    (tmp_path / "d.py").write_text("batch_size = 3\n")
    for words in ([name], [silent], ["--dataset=names", name], ["--data=t.txt", name]):
        assert names_nanogpts_data(words, TYPES), words
    for last in ("--dataset=shakespeare", "--data=t.txt"):
        assert not names_nanogpts_data([name, last], TYPES)
        assert not names_nanogpts_data([last, silent], TYPES)
    assert not names_nanogpts_data(["tiny", silent], TYPES)


def test_settings_that_exclude_each_other_are_refused():
    InspectConfig(html="page.html")
    InspectConfig(keep="logits")
    with pytest.raises(InputError, match="keep='logits': a page shows everything"):
        InspectConfig(html="page.html", keep="logits")


def test_a_prompt_without_a_tokenizer_is_numbers():
    config = gn.GPTConfig(vocab_size=20, block_size=4, n_layer=1, n_head=1, n_embd=4)
    run = Run(gn.GPT(config, ops="reference"), config)
    assert encode_setting(run, "start", "5 17").tolist() == [5, 17]
    for text in ("5 x", "hello", "5.0"):
        with pytest.raises(InputError, match="this run has no tokenizer"):
            encode_setting(run, "start", text)
    run.tokenizer = CharTokenizer("ab")
    assert np.array_equal(encode_setting(run, "start", "ba"), [1, 0])
    with pytest.raises(InputError, match="start='5': the text has 1 character"):
        encode_setting(run, "start", "5")


@pytest.mark.parametrize("text", ["0", "-1", "1025", "two", "", "1.0"])
def test_threads_are_a_number_of_threads(text, capsys):
    assert cli.main(["plot", "nowhere", f"--threads={text}"]) == cli.BAD_INPUT
    assert "must be an integer from 1 to 1024" in capsys.readouterr().err


def test_train_takes_no_vocabulary_size():
    assert "vocab_size" not in cli.types_of("train")
    assert "vocab_size" in cli.types_of("bench") and "vocab_size" in cli.types_of("gradcheck")


def test_help_shows_the_defaults_of_the_command():
    def default(command, name):
        (line,) = [one for one in cli.help_of(command).splitlines() if f"--{name}=" in one]
        return line.rpartition("[")[2]

    assert default("train", "activation") == "'gelu']" and default("train", "bias") == "False]"
    assert default("gradcheck", "n_embd") == "6]" and default("bench", "n_embd") == "128]"
    assert "presets: tiny, " in cli.help_of("train") and "presets" not in cli.help_of("sample")


def test_help_is_asked_for_in_four_ways(capsys):
    for words in (["bench", "-h"], ["bench", "--help"], ["bench", "tiny", "-h"], ["help", "bench"]):
        assert cli.main(words) == cli.OK
        assert "usage: gpt-numpy bench" in capsys.readouterr().out


def test_a_preset_is_no_command(capsys):
    for word in ("tiny", "--n_layer=3"):
        assert cli.main([word]) == cli.BAD_INPUT
        assert f"did you mean gpt-numpy train {word}?" in capsys.readouterr().err
