"""A run goes to nanoGPT and comes back: its moments, its progress, its data and its tokenizer."""

import math
from pathlib import Path

import numpy as np
import pytest

import gpt_numpy as gn
from gpt_numpy import interop
from gpt_numpy.base.errors import InputError
from gpt_numpy.cli import main as cli
from gpt_numpy.config.train import TrainConfig
from gpt_numpy.data import nanogpt_bins
from gpt_numpy.interop import nanogpt, open_model
from gpt_numpy.interop.nanogpt_training import as_torch, groups
from gpt_numpy.interop.torch_reader import open_torch
from gpt_numpy.interop.torch_writer import write_torch
from gpt_numpy.training import checkpoint
from gpt_numpy.training.checkpoint import Run

CHARACTERS = "\n abcdefghijk"
SHAPE = ["--n_layer=2", "--n_head=2", "--n_embd=8", "--block_size=8"]
QUICK = [
    *("--batch_size=3", "--max_iters=4", "--eval_interval=2", "--eval_iters=1", "--dropout=0.1"),
    *("--warmup_iters=1", "--lr_decay_iters=9", "--learning_rate=0.01", "--ops=reference"),
]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command in a folder with the data set `mine`; its output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPT_NUMPY_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data" / "mine").mkdir(parents=True)
    for split in ("train", "val"):
        tokens = np.random.default_rng(3).integers(0, len(CHARACTERS), 600).astype("<u2")
        tokens.tofile(tmp_path / "data" / "mine" / f"{split}.bin")
    nanogpt_bins.write_vocabulary(tmp_path / "data" / "mine" / "meta.pkl", CHARACTERS)

    def run(*words, status=0):
        found = cli.main(list(words))
        out, err = capsys.readouterr()
        assert found == status, err
        return out if status == 0 else err

    return run


@pytest.fixture
def trained(call):
    call("train", "--dataset=mine", *SHAPE, *QUICK, "--out_dir=r")
    call("convert", "r", "ng", "--format=nanogpt", "--checkpoint=last")
    return checkpoint.load("r/ckpt.npz", ops="reference")


def content_of(path):
    with open_torch(path) as (_, content):
        return content


def test_the_file_says_what_is_known_of_the_run(trained):
    content = content_of(Path("ng/ckpt.pt"))
    assert content["iter_num"] == 5 == trained.progress["iteration"]
    assert content["best_val_loss"] == trained.progress["best_val_loss"]
    assert content["config"]["dataset"] == "mine"
    assert content["config"]["learning_rate"] == 0.01 and content["config"]["beta2"] == 0.99
    first, second = content["optimizer"]["param_groups"]
    names = groups(trained.config)
    assert first["params"] == list(range(len(names[0])))
    assert second["params"] == [len(names[0]) + k for k in range(len(names[1]))]
    assert (first["weight_decay"], second["weight_decay"]) == (0.1, 0.0)
    # The rate of the last step, not the one that the schedule begins with.
    assert first["lr"] == second["lr"] == trained.optimizer.learning_rate != 0.01
    state = content["optimizer"]["state"]
    assert len(state) == len(trained.model.params)
    assert len({entry["step"].storage for entry in state.values()}) == len(state)


def test_resumed_from_nanogpts_file_a_run_goes_on_to_the_same_bits(call, trained):
    call("train", "--init_from=resume", "--out_dir=r", "--max_iters=9")
    out = call("train", "--init_from=resume", "--out_dir=ng", "--max_iters=9", "--ops=reference")
    assert "Resuming training from ng" in out
    ours, theirs = (checkpoint.load(f"{name}/ckpt.npz") for name in ("r", "ng"))
    assert ours.progress["iteration"] == theirs.progress["iteration"] == 10
    for kind in ("m", "v"):
        moments = [getattr(run.optimizer, kind).flat for run in (ours, theirs)]
        assert np.array_equal(*moments)
    assert np.array_equal(ours.model.params.flat, theirs.model.params.flat)
    assert theirs.tokenizer.characters == CHARACTERS and theirs.settings.dataset == "mine"
    # And the run that came from there is now one of this project.
    assert "Resuming" in call("train", "--init_from=resume", "--out_dir=ng", "--max_iters=10")


def test_a_folder_with_nanogpts_file_is_taken_by_every_command(
    call, trained, tmp_path, monkeypatch
):
    words = ("--out_dir=ng", "--ops=reference")
    Path("ng/meta.pkl").unlink()  # the vocabulary is then the one of the data
    out = call("sample", *words, "--start=abc", "--num_samples=1", "--max_new_tokens=20")
    assert out.startswith("abc") and set(out.replace("-", "")) <= set(CHARACTERS)
    own = call("sample", "--out_dir=r", "--checkpoint=last", "--start=abc", "--num_samples=1",
               "--max_new_tokens=20", "--ops=reference")  # fmt: skip
    assert out == own
    assert "nats a token" in call("inspect", *words, "--text=abc def")
    call("inspect", *words, "--text=abc def", "--html=page.html")
    assert "all exact" in call("gradcheck", *words, "--method=directions")
    step = call("train", "--init_from=resume", *words, "--eval_only")
    assert step.splitlines()[-1].startswith("step 5: train loss ")
    with pytest.raises(InputError, match="checkpoint='7'"):
        interop.open_out_dir("ng", checkpoint="7")
    # From another folder, the data is found next to that of the run, as in a clone of nanoGPT.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = interop.open_run(tmp_path / "ng")
    assert run.tokenizer is not None and run.tokenizer.characters == CHARACTERS


def test_what_a_folder_holds_of_this_project_goes_first(call, trained):
    call("train", "--init_from=resume", "--out_dir=ng", "--max_iters=9", "--ops=reference")
    assert interop.open_out_dir("ng", checkpoint="last").progress["iteration"] == 10
    with pytest.raises(InputError, match="checkpoint='7'"):
        interop.open_out_dir("ng", checkpoint="7")


def test_a_folder_of_hugging_face_is_taken_too_and_cannot_be_resumed(call, trained):
    pytest.importorskip("safetensors", reason="the extra `safetensors` is not installed")
    call("convert", "r", "hf")
    assert call("sample", "--out_dir=hf", "--start=abc", "--num_samples=1", "--ops=reference")
    said = call("train", "--init_from=resume", "--out_dir=hf", status=cli.BAD_INPUT)
    assert "--init_from=hf and another --out_dir" in said
    call("train", "--init_from=hf", "--out_dir=ft", "--dataset=mine", *QUICK)


def test_the_settings_of_a_file_of_data_name_it(call, tmp_path):
    (tmp_path / "my text.txt").write_text("abc def\n" * 100)
    call("train", "--data=my text.txt", *SHAPE, *QUICK, "--out_dir=t")
    out = call("convert", "t", "tng", "--format=nanogpt")
    assert "copy it" in out and "data/my text/" in out
    assert content_of(Path("tng/ckpt.pt"))["config"]["dataset"] == "my text"


def test_a_model_alone_has_the_groups_and_no_moments(tmp_path):
    config = gn.GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4,
                          bias=False, activation="gelu")  # fmt: skip
    interop.export(Run(gn.GPT(config, ops="reference"), config), tmp_path / "ng", "nanogpt", print)
    content = content_of(tmp_path / "ng" / "ckpt.pt")
    assert [len(g["params"]) for g in content["optimizer"]["param_groups"]] == [6, 3]
    assert content["optimizer"]["state"] == {}
    assert (content["iter_num"], content["best_val_loss"]) == (0, math.inf)
    run = interop.open_nanogpt_run(str(tmp_path / "ng"), ops="reference", say=print)
    assert run.optimizer.steps == 0 and not run.optimizer.m.flat.any()
    assert run.progress["best_val_loss"] is None


def changed_file(path, change):
    """Write a nanoGPT file again with arrays instead of what was changed in its content."""
    config = gn.GPTConfig(vocab_size=5, block_size=4, n_layer=1, n_head=1, n_embd=4,
                          bias=False, activation="gelu")  # fmt: skip
    model = gn.GPT(config, ops="reference")
    optimizer = gn.AdamW(model)
    optimizer.steps = 3
    written = {}

    def keep(file, content):
        written.update(content)

    original, nanogpt.write_torch = nanogpt.write_torch, keep
    try:
        nanogpt.write_nanogpt(path, Run(model, config, optimizer=optimizer))
    finally:
        nanogpt.write_torch = original
    change(written)
    with (path / "ckpt.pt").open("wb") as file:
        write_torch(file, written)


CHANGES = {
    "there is no optimizer": lambda c: c.pop("optimizer"),
    "no state and param_groups": lambda c: c["optimizer"].pop("state"),
    "groups are not those": lambda c: c["optimizer"]["param_groups"].pop(),
    "groups are not those of": lambda c: c["optimizer"]["param_groups"][1]["params"].pop(),
    "groups are not those of nanoGPT": lambda c: c["optimizer"]["param_groups"][0]["params"].append(
        c["optimizer"]["param_groups"][1]["params"].pop(0)
    ),
    "lacks the moments of wte.weight": lambda c: c["optimizer"]["state"].pop(0),
    "lacks the moments of wpe.weight": lambda c: c["optimizer"]["state"][1].pop("exp_avg"),
    "same number of steps": lambda c: c["optimizer"]["state"][2]["step"].fill(9),
    "shape \\(2, 2\\), not \\(5, 4\\)": lambda c: c["optimizer"]["state"][0].update(
        exp_avg=np.zeros((2, 2), "f4")
    ),
    "wpe.weight' is not a tensor": lambda c: c["optimizer"]["state"][1].update(exp_avg="x"),
}


@pytest.mark.parametrize("said", CHANGES)
def test_an_optimizer_of_another_kind_is_refused_and_its_model_is_not(said, tmp_path):
    (tmp_path / "ng").mkdir()
    changed_file(tmp_path / "ng", CHANGES[said])
    with pytest.raises(InputError, match=f"cannot be resumed: .*{said}.*--init_from="):
        open_model.open_nanogpt_run(str(tmp_path / "ng"), ops="reference", say=print)
    assert interop.open_run(tmp_path / "ng").config.vocab_size == 5


def test_settings_that_are_no_settings_are_left_out(tmp_path):
    (tmp_path / "ng").mkdir()

    def change(content):
        content["config"] |= {"learning_rate": "x", "batch_size": True, "device": "cuda"}
        content["config"] |= {"dtype": "bfloat16", "dataset": "../../etc", "beta1": 0.5}

    changed_file(tmp_path / "ng", change)
    settings = interop.open_run(tmp_path / "ng").settings
    assert (settings.learning_rate, settings.batch_size) == (6e-4, 12)
    assert (settings.device, settings.dtype, settings.beta1) == ("cpu", "float32", 0.5)


def test_a_value_that_no_run_has_gives_way_to_the_defaults_but_the_data_keeps_its_name(tmp_path):
    (tmp_path / "ng").mkdir()
    changed_file(
        tmp_path / "ng",
        lambda content: content["config"].update(batch_size=-3, beta1=0.5, dataset="mine"),
    )
    settings = interop.open_run(tmp_path / "ng").settings
    assert (settings.batch_size, settings.beta1, settings.dataset) == (12, 0.9, "mine")


@pytest.mark.parametrize("number", [True, -1, 2.0, "3", 2**48])
def test_an_iteration_that_is_no_count_is_refused(number, tmp_path):
    (tmp_path / "ng").mkdir()
    changed_file(tmp_path / "ng", lambda content: content.update(iter_num=number))
    with pytest.raises(InputError, match="iter_num is not an integer of at least 0"):
        interop.open_run(tmp_path / "ng")


@pytest.mark.parametrize(
    ("iteration", "best", "known"),
    [(7, 2.5, 2.5), (7, np.array(2.5, "f4"), 2.5), (7, 1e9, None), (0, 2.5, None), (7, "x", None)],
)
def test_the_best_loss_is_that_of_an_evaluation(iteration, best, known, tmp_path):
    (tmp_path / "ng").mkdir()
    changed_file(
        tmp_path / "ng",
        lambda content: content.update(iter_num=iteration, best_val_loss=best),
    )
    progress = interop.open_run(tmp_path / "ng").progress
    assert (progress["iteration"], progress["best_val_loss"]) == (iteration, known)
    assert progress["best_iteration"] == (iteration if known else -1)


@pytest.mark.parametrize("outside", ["../outside", "/outside"])
def test_the_name_of_a_data_set_leads_to_no_other_folder(outside, tmp_path, monkeypatch):
    for name in ("ng", "data", "outside"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    nanogpt_bins.write_vocabulary(tmp_path / "outside" / "meta.pkl", "abcde")
    name = outside if outside.startswith(".") else str(tmp_path / "outside")
    changed_file(tmp_path / "ng", lambda content: content["config"].update(dataset=name))
    assert interop.open_run(tmp_path / "ng").tokenizer is None


@pytest.mark.parametrize("vocab_size", [50257, 50304])
def test_without_a_vocabulary_gpt2s_is_assumed_as_nanogpt_does(vocab_size, tmp_path, monkeypatch):
    config = gn.GPTConfig(vocab_size=vocab_size, block_size=4, n_layer=1, n_head=1, n_embd=2,
                          bias=False, activation="gelu")  # fmt: skip
    interop.export(Run(gn.GPT(config, ops="reference"), config), tmp_path / "ng", "nanogpt", print)
    assumed, said = object.__new__(open_model.CharTokenizer), []
    assumed.vocab_size = 50257
    monkeypatch.setattr(open_model, "gpt2_tokenizer", lambda say: assumed)
    assert interop.open_run(tmp_path / "ng", say=said.append).tokenizer is assumed
    assert "assuming GPT-2's tokens" in said[0]

    def absent(say):
        raise InputError("no network")

    monkeypatch.setattr(open_model, "gpt2_tokenizer", absent)
    assert interop.open_run(tmp_path / "ng", say=said.append).tokenizer is None
    assert "not available: no network" in said[-1]


def test_a_smaller_vocabulary_is_not_assumed_to_be_gpt2s(call, trained, monkeypatch):
    Path("ng/meta.pkl").unlink()
    Path("data").rename("elsewhere")
    monkeypatch.setattr(open_model, "gpt2_tokenizer", pytest.fail)
    assert interop.open_run("ng").tokenizer is None


# ---------------------------------------------------------------- with PyTorch, as nanoGPT does


def torch_loss(torch, params, config, tokens, targets):
    """The loss of nanoGPT's model, written out."""
    from torch.nn import functional as F

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], params[f"{name}.weight"], params.get(f"{name}.bias"))

    def linear(x, name):
        return F.linear(x, params[f"{name}.weight"], params.get(f"{name}.bias"))

    B, T = tokens.shape
    C, H = config.n_embd, config.n_head
    wte = params["transformer.wte.weight"]
    x = wte[tokens] + params["transformer.wpe.weight"][:T]
    for i in range(config.n_layer):
        block = f"transformer.h.{i}"
        heads = linear(norm(x, f"{block}.ln_1"), f"{block}.attn.c_attn").split(C, dim=2)
        q, k, v = (part.view(B, T, H, C // H).transpose(1, 2) for part in heads)
        attn = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + linear(attn.transpose(1, 2).reshape(B, T, C), f"{block}.attn.c_proj")
        hidden = F.gelu(linear(norm(x, f"{block}.ln_2"), f"{block}.mlp.c_fc"))
        x = x + linear(hidden, f"{block}.mlp.c_proj")
    logits = F.linear(norm(x, "transformer.ln_f"), wte)
    return F.cross_entropy(logits.view(B * T, -1), targets.view(-1))


def torch_optimizer(torch, params):
    """AdamW over two groups, as nanoGPT's configure_optimizers makes them."""
    decayed = [p for p in params.values() if p.dim() >= 2]
    others = [p for p in params.values() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.2}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.9))


def torch_step(torch, params, optimizer, config, batch):
    loss = torch_loss(torch, params, config, *map(torch.tensor, batch))
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(params.values()), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def our_step(run, batch):
    run.model.forward(*batch)
    run.model.backward()
    run.optimizer.step()


def batches(count):
    rng = np.random.default_rng(8)
    return [rng.integers(0, 13, (2, 3, 8)) for _ in range(count)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("where", ["from nanoGPT", "to nanoGPT"])
def test_a_run_goes_on_elsewhere_as_it_would_have_here(where, bias, tmp_path):
    torch = pytest.importorskip("torch", reason="nanoGPT's files are PyTorch's")
    config = gn.GPTConfig(vocab_size=13, block_size=8, n_layer=2, n_head=2, n_embd=8, bias=bias,
                          activation="gelu")  # fmt: skip
    model = gn.GPT(config, seed=4, ops="reference")
    params = {
        f"transformer.{name}": torch.nn.Parameter(torch.tensor(as_torch(name, param)))
        for name, param in model.params.items()
    }
    (tmp_path / "ng").mkdir()
    seen = batches(6)
    if where == "from nanoGPT":
        optimizer = torch_optimizer(torch, params)
        for batch in seen[:3]:
            torch_step(torch, params, optimizer, config, batch)
        names = "n_layer n_head n_embd block_size bias vocab_size dropout".split()
        state = {name: param.detach() for name, param in params.items()}
        content = {
            "model": state | {"lm_head.weight": state["transformer.wte.weight"]},
            "optimizer": optimizer.state_dict(),
            "model_args": {name: getattr(config, name) for name in names},
            "iter_num": 3,
            "best_val_loss": torch.tensor(2.5),
            "config": {"beta1": 0.8, "beta2": 0.9, "learning_rate": 0.01, "weight_decay": 0.2,
                       "grad_clip": 1.0, "dataset": "mine", "device": "cuda"},
        }  # fmt: skip
        torch.save(content, tmp_path / "ng" / "ckpt.pt")
        run = interop.open_nanogpt_run(str(tmp_path / "ng"), ops="reference", say=print)
        assert run.optimizer.steps == 3 and run.progress["iteration"] == 3
        assert run.progress["best_val_loss"] == 2.5
    else:
        run = Run(model, config)
        run.optimizer = gn.AdamW(model, learning_rate=0.01, betas=(0.8, 0.9), weight_decay=0.2)
        for batch in seen[:3]:
            our_step(run, batch)
        run.settings = TrainConfig(learning_rate=0.01, beta1=0.8, beta2=0.9, weight_decay=0.2)
        interop.export(run, tmp_path / "to", "nanogpt", print)
        content = torch.load(tmp_path / "to" / "ckpt.pt", weights_only=True)
        for name, param in params.items():
            param.data[...] = content["model"][name]
        optimizer = torch_optimizer(torch, params)
        optimizer.load_state_dict(content["optimizer"])
        assert optimizer.param_groups[0]["weight_decay"] == 0.2
    for batch in seen[3:]:
        torch_step(torch, params, optimizer, config, batch)
        our_step(run, batch)
    for name, param in run.model.params.items():
        theirs = params[f"transformer.{name}"].detach().numpy()
        assert np.abs(as_torch(name, param) - theirs).max() < 1e-4, name
