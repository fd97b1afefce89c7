"""Where settings come from: what is understood, and that what is not is one clear line."""

import pytest

from gpt_numpy.base.errors import InputError
from gpt_numpy.cli.options import SampleConfig
from gpt_numpy.cli.settings import field_types, gather, parse_flag
from gpt_numpy.config.model import GPTConfig
from gpt_numpy.config.presets import PRESETS
from gpt_numpy.config.train import TrainConfig

TYPES = field_types(GPTConfig, TrainConfig, without=("vocab_size",))


def quiet(*words):
    return gather(words, TYPES, lambda text: None)


def refused(*words):
    with pytest.raises(InputError) as caught:
        quiet(*words)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(name, content):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(data)
        return name

    return write


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("--n_layer=4", "n_layer", 4),
        ("--n-layer=4", "n_layer", 4),
        ("--max_iters=1e3", "max_iters", 1000),
        ("--learning_rate=1", "learning_rate", 1.0),
        ("--dropout=0", "dropout", 0.0),
        ("--bias", "bias", True),
        ("--bias=False", "bias", False),
        ("--bias=0", "bias", False),
        ("--out_dir=a=b", "out_dir", "a=b"),
        ("--out_dir=ü 1e3", "out_dir", "ü 1e3"),
        ("--dataset=", "dataset", ""),
    ],
)
def test_a_flag_gives_a_value_of_the_type_of_its_setting(word, key, value):
    assert parse_flag(word, TYPES) == (key, value)
    assert type(parse_flag(word, TYPES)[1]) is type(value)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--n_layers=4", "did you mean --n_layer"),
        ("--zzzzzz=4", "known names is similar"),
        ("--", "unknown setting"),
        ("--data=", "--data= is empty: name a file, or leave it out"),
        ("--n_layer", "write --n_layer=VALUE"),
        ("--n_layer=", "integer"),
        ("--n_layer=4.5", "--n_layer='4.5'"),
        ("--n_layer=four", "integer"),
        ("--n_layer=nan", "integer"),
        ("--n_layer=1e400", "integer"),
        ("--n_layer=" + "9" * 5000, "integer"),
        ("--learning_rate=fast", "a finite number, such as 0.001"),
        ("--learning_rate=nan", "a finite number, such as 0.001"),
        ("--learning_rate=1e400", "a finite number, such as 0.001"),
        ("--bias=maybe", "True or False"),
        ("tinny", "did you mean tiny"),
        ("-n_layer=4", "did you mean --n_layer"),
        ("n_layer=4", "did you mean --n_layer"),
        ("\u2013n_layer=4", "did you mean --n_layer"),
        ("False", "--key=False"),
        ("", "neither a preset"),
        ("missing.py", "No such file"),
        ("x" * 10_000, "neither a preset"),
    ],
)
def test_a_word_that_cannot_be_used_is_refused_with_the_fix(word, said):
    assert said in refused(word)


def test_later_words_win_over_earlier_ones(file):
    file("a.toml", "n_layer = 2\nn_head = 2\n")
    assert quiet("--n_layer=1", "a.toml")["n_layer"] == 2
    values = quiet("tiny", "a.toml", "--n_layer=3", "--n_layer=5")
    assert (values["n_layer"], values["n_head"]) == (5, 2)
    assert values["block_size"] == PRESETS["tiny"]["block_size"]


def test_overrides_are_logged_as_in_nanogpt():
    said = []
    gather(["--n_layer=4"], TYPES, said.append)
    assert said == ["Overriding: n_layer = 4"]


NANOGPT = """\
import time
# comments, too
out_dir = 'out-shakespeare'
eval_interval = 250 # keep frequent because we'll overfit
wandb_log = True # feel free to turn on
wandb_run_name = 'ft-' + str(time.time())
dataset = 'shakespeare_char'
gradient_accumulation_steps = 5 * 8
learning_rate = 1e-3
min_lr = 1e-3 / 10
weight_decay = 1
warmup_iters = 1e2
'a docstring'
"""


def test_a_nanogpt_file_is_read_as_data(file):
    said = []
    name = file("ft.py", NANOGPT)
    assert gather([name], TYPES, said.append) == {
        "out_dir": "out-shakespeare",
        "eval_interval": 250,
        "dataset": "shakespeare_char",
        "gradient_accumulation_steps": 40,
        "learning_rate": 1e-3,
        "min_lr": 1e-4,
        "weight_decay": 1.0,
        "warmup_iters": 100,
    }
    assert [line.split(":")[0] for line in said] == [f"ft.py, line {n}" for n in (1, 5, 6)]


def test_names_assigned_above_are_known_as_where_nanogpt_executes_the_file(file):
    name = file(
        "c.py",
        "max_iters = 500\nlr_decay_iters = max_iters\nmin_lr = learning_rate / 10\n"
        "tokens = 4096\nbatch_size = tokens // 64\nout_dir = 'out-' + dataset\n",
    )
    values = quiet("--learning_rate=0.5", "--dataset=mine", name)
    assert (values["lr_decay_iters"], values["min_lr"]) == (500, 0.05)
    assert (values["batch_size"], values["out_dir"]) == (64, "out-mine")
    assert "tokens" not in values
    assert "nor a name assigned before" in refused(file("d.py", "lr_decay_iters = max_iters\n"))
    assert "'x' is" not in refused(file("e.py", "x = 'a' * 9\n"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("a = 10**60\nb = a * a * a * a * a * a\nn_layer = b", "too large"),
        ("a = 'aaaaaaaaaaaaaaaa'" + "\na = a + a" * 20 + "\nout_dir = a", "too large"),
        ("a = 'text'\nn_layer = -a", "neither a literal"),
        ("a = 'text'\nn_layer = 2 ** a", "joined with +"),
        ("typo = 4", "line 2: unknown setting typo"),
        ("typo = 4\nn_layer = 2", "line 2: unknown setting typo"),
        ("n_layer = int('4')", "line 2: `int('4')` is neither a literal"),
        ("n_layer = n_head", "line 2"),
        ("n_layer = __import__('os').system('touch PWNED')", "line 2"),
        ("open('PWNED', 'w')", "line 2"),
        ("if True:\n    n_layer = 4", "line 2: `if True:...` is not `name = value`"),
        ("n_layer, n_head = 4, 4", "line 2"),
        ("n_layer = n_head = 4", "line 2"),
        ("n_layer: int = 4", "line 2"),
        ("n_layer += 4", "line 2"),
        ("n_layer = [4]", "line 2"),
        ("n_layer = 4 4", "line 2: invalid syntax"),
        ("n_layer = '4'", "must be an integer"),
        ("n_layer = 4.5", "must be an integer"),
        ("n_layer = True", "must be an integer"),
        ("bias = 1", "must be True or False"),
        ("n_layr = 4", "line 2: unknown setting n_layr: did you mean n_layer"),
        ("n_layer = 10**10**10", "exponent"),
        ("n_layer = (10**64)**64", "not a real number"),
        ("n_layer = 2 ** 1j", "neither a literal"),
        ("dropout = (-1) ** 0.5", "not a real number"),
        ("n_layer = 1 // 0", "zero"),
        ("dropout = 1e-400", "line 2: 1e-400: would be rounded to 0"),
        ("dropout = 1e-200 ** 2", "`1e-200 ** 2` would be rounded to 0"),
        ("dropout = 1e-300 / 1e300", "`1e-300 / 1e+300` would be rounded to 0"),
        ("dropout = 1e-300 * 1e-300", "`1e-300 * 1e-300` would be rounded to 0"),
        ("out_dir = 'a' * 10**9", "joined with +"),
        ("out_dir = '%9999999s' % 'a'", "joined with +"),
        ("n_layer = " + "9" * 5000, "line 2"),
        ("n_layer = " + "-" * 5000 + "1", "recursion"),
        ("-" * 900 + "1", "nested too deeply"),
        ("n_layer = " + "+".join("1" * 50_000), "recursion"),
    ],
)
def test_what_is_no_literal_is_refused_with_its_line_and_never_run(file, tmp_path, code, said):
    name = file("config.py", "# a comment\n" + code + "\n")
    # Python 3.13 has a deeper stack than the older ones; both ways out are fine.
    message = refused(name)
    assert said in message or (said == "recursion" and "nested" in message)
    assert message.startswith("config.py")
    assert not (tmp_path / "PWNED").exists()


def test_zeros_of_files_are_zeros(file):
    zeros = "dropout = 0.0\nweight_decay = 0e5\n"
    assert quiet(file("c.toml", zeros)) == {"dropout": 0.0, "weight_decay": 0.0}
    zeros += "min_lr = 0 * 1e-3\nlearning_rate = 0 / 7\nbeta1 = 1e-3 - 1e-3\n"
    assert set(quiet(file("c.py", zeros)).values()) == {0.0}


def test_escapes_that_python_warns_of_are_no_concern_of_ours(file):
    assert quiet(file("c.py", "out_dir = 'C:\\data'\n")) == {"out_dir": "C:\\data"}


@pytest.mark.parametrize("name", ["c.py", "c.toml"])
def test_a_byte_order_mark_is_passed_over(file, name):
    assert quiet(file(name, b"\xef\xbb\xbfn_layer = 2\r\n")) == {"n_layer": 2}


@pytest.mark.parametrize("name", ["c.py", "c.toml"])
def test_files_that_are_no_text_are_refused(file, tmp_path, name):
    assert "UTF-8" in refused(file(name, b"out_dir = '\xe4'\n"))
    assert name in refused(file(name, b"n_layer = 1\0\n"))
    (tmp_path / ("folder-" + name)).mkdir()
    assert "folder" in refused("folder-" + name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n_layer = 2\nn_layer = 3", "not valid TOML"),
        ("n_layer = " + "[" * 50_000, "nested too deeply"),
        ("n_layer = " + "9" * 5000, "not valid TOML"),
        ("dropout = 1e-400", "1e-400: would be rounded to 0"),
        ("[train]\nn_layer = 2", "[train] is a table"),
        ("out_dir = 2024-01-01", "must be a string"),
        ("n_layer = '4'", "must be an integer"),
        ("n_layr = 4", "did you mean n_layer"),
    ],
)
def test_toml_that_cannot_be_used_is_refused(file, text, said):
    assert said in refused(file("c.toml", text))


def test_every_setting_of_a_preset_is_a_setting():
    for name, values in PRESETS.items():
        assert values.keys() <= TYPES.keys(), name
        assert all(type(value) is TYPES[key] for key, value in values.items()), name
        assert quiet(name) == values


def test_every_setting_has_a_help_text_and_a_plain_type():
    for config in (GPTConfig, TrainConfig, SampleConfig):
        for field in config.__dataclass_fields__.values():
            assert field.metadata["help"]
            assert field.type in (int, float, str, bool)
