"""The sublayers with their activations in reach: the compositions of the reference, opened up.

`change(name, x)` may replace an activation in place right after it was computed, and `back(name,
dx)` turns the gradient of what it became into that of what it was. Everything else is
`reference/sublayers.py`, line by line. What backward computes again it also changes again; the
attention's own output, which its backward needs as it was, is computed again too.

`a` holds the arguments that the model gives to the sublayer; names are those within the block.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference import activation as activations
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.reference.dropout import dropout_backward, dropout_forward
from gpt_numpy.reference.layernorm import layernorm_backward, layernorm_forward, normalise
from gpt_numpy.reference.linear import linear_backward, linear_forward

Change = Callable[[str, Array], None]


def attention_forward_with(change: Change, a: Any) -> None:
    """The attention sublayer's forward."""
    branch = np.empty_like(a.x)
    layernorm_forward(a.x, a.ln_weight, a.ln_bias, out=a.norm, mean=a.mean, rstd=a.rstd)
    change("ln_1.out", a.norm)
    linear_forward(a.norm, a.qkv_weight, a.qkv_bias, out=a.qkv)
    change("attn.qkv", a.qkv)
    attention_forward(a.qkv, a.n_head, a.rate, a.key, a.site, out=a.attn, lse=a.lse)
    change("attn.out", a.attn)
    linear_forward(a.attn, a.proj_weight, a.proj_bias, out=branch)
    dropout_forward(branch, a.rate, a.key, a.site + 1, out=branch)
    change("attn.proj", branch)
    a.out[...] = a.x + branch
    change("resid_mid", a.out)


def attention_backward_with(change: Change, back: Change, a: Any) -> None:
    """The attention sublayer's backward."""
    dbranch, dx_branch, out = np.empty_like(a.x), np.empty_like(a.x), np.empty_like(a.attn)
    back("resid_mid", a.dout)
    # forward: out = x + dropout(linear(attn))
    dbranch[...] = a.dout
    back("attn.proj", dbranch)
    dropout_backward(dbranch, a.rate, a.key, a.site + 1, dx=dbranch)
    linear_backward(
        dbranch,
        a.attn,
        a.proj_weight,
        a.proj_bias,
        dx=a.dattn,
        dweight=a.dproj_weight,
        dbias=a.dproj_bias,
    )
    back("attn.out", a.dattn)
    # forward: attn = attention(qkv)
    attention_forward(a.qkv, a.n_head, a.rate, a.key, a.site, out=out, lse=a.lse)
    attention_backward(
        a.dattn, a.qkv, a.n_head, a.rate, a.key, a.site, out=out, lse=a.lse, dqkv=a.dqkv
    )
    back("attn.qkv", a.dqkv)
    normalise(a.x, a.ln_weight, a.ln_bias, a.mean, a.rstd, out=a.norm)
    change("ln_1.out", a.norm)
    # forward: qkv = linear(norm)
    linear_backward(
        a.dqkv,
        a.norm,
        a.qkv_weight,
        a.qkv_bias,
        dx=a.dnorm,
        dweight=a.dqkv_weight,
        dbias=a.dqkv_bias,
    )
    back("ln_1.out", a.dnorm)
    _norm_backward(a, dx_branch)
    # forward: out = x + branch(x)
    a.dx[...] = a.dout + dx_branch


def mlp_forward_with(change: Change, a: Any) -> None:
    """The MLP sublayer's forward."""
    branch = np.empty_like(a.x)
    layernorm_forward(a.x, a.ln_weight, a.ln_bias, out=a.norm, mean=a.mean, rstd=a.rstd)
    change("ln_2.out", a.norm)
    linear_forward(a.norm, a.fc_weight, a.fc_bias, out=a.fc)
    change("mlp.fc", a.fc)
    activations.FORWARD[a.activation](a.fc, out=a.act)
    change("mlp.act", a.act)
    linear_forward(a.act, a.proj_weight, a.proj_bias, out=branch)
    dropout_forward(branch, a.rate, a.key, a.site, out=branch)
    change("mlp.proj", branch)
    a.out[...] = a.x + branch
    change("resid_post", a.out)


def mlp_backward_with(change: Change, back: Change, a: Any) -> None:
    """The MLP sublayer's backward."""
    dbranch, dx_branch = np.empty_like(a.x), np.empty_like(a.x)
    back("resid_post", a.dout)
    activations.FORWARD[a.activation](a.fc, out=a.act)
    change("mlp.act", a.act)
    # forward: out = x + dropout(linear(act))
    dbranch[...] = a.dout
    back("mlp.proj", dbranch)
    dropout_backward(dbranch, a.rate, a.key, a.site, dx=dbranch)
    linear_backward(
        dbranch,
        a.act,
        a.proj_weight,
        a.proj_bias,
        dx=a.dact,
        dweight=a.dproj_weight,
        dbias=a.dproj_bias,
    )
    back("mlp.act", a.dact)
    # forward: act = activation(fc)
    activations.BACKWARD[a.activation](a.dact, a.fc, dx=a.dfc)
    back("mlp.fc", a.dfc)
    normalise(a.x, a.ln_weight, a.ln_bias, a.mean, a.rstd, out=a.norm)
    change("ln_2.out", a.norm)
    # forward: fc = linear(norm)
    linear_backward(
        a.dfc,
        a.norm,
        a.fc_weight,
        a.fc_bias,
        dx=a.dnorm,
        dweight=a.dfc_weight,
        dbias=a.dfc_bias,
    )
    back("ln_2.out", a.dnorm)
    _norm_backward(a, dx_branch)
    # forward: out = x + branch(x)
    a.dx[...] = a.dout + dx_branch


def head_forward_with(change: Change, a: Any, logits: Array) -> None:
    """The head's forward, to `logits`."""
    layernorm_forward(a.x, a.ln_weight, a.ln_bias, out=a.norm, mean=a.mean, rstd=a.rstd)
    change("ln_f.out", a.norm)
    linear_forward(a.norm, a.weight.T, None, out=logits)
    change("logits", logits)


def head_loss_forward_with(change: Change, a: Any) -> None:
    """The head's and the loss's forward."""
    logits = _room_for_logits(a)
    head_forward_with(change, a, logits)
    cross_entropy_forward(logits, a.targets, out=a.out, lse=a.lse)


def head_loss_backward_with(change: Change, back: Change, a: Any) -> None:
    """The head's and the loss's backward."""
    logits, dlogits = _room_for_logits(a), a.dlogits
    if logits is not a.logits:
        linear_forward(a.norm, a.weight.T, None, out=logits)
        change("logits", logits)
        dlogits = logits
    # forward: out = cross_entropy(logits)
    cross_entropy_backward(a.dout, logits, a.targets, a.lse, dlogits=dlogits)
    back("logits", dlogits)
    # forward: logits = norm @ weight.T
    linear_backward(dlogits, a.norm, a.weight.T, None, dx=a.dnorm, dweight=a.dweight.T, dbias=None)
    back("ln_f.out", a.dnorm)
    _norm_backward(a, a.dx)


def _room_for_logits(a: Any) -> Array:
    """Those of all positions: the model's own array, or one of its own if that holds only some."""
    shape = (*a.targets.shape, len(a.weight))
    room: Array = a.logits if a.logits.shape == shape else np.empty(shape, a.x.dtype)
    return room


def _norm_backward(a: Any, dx: Array) -> None:
    # forward: norm = layernorm(x)
    layernorm_backward(
        a.dnorm,
        a.x,
        a.ln_weight,
        a.ln_bias,
        a.mean,
        a.rstd,
        dx=dx,
        dweight=a.dln_weight,
        dbias=a.dln_bias,
    )
