"""What the model calls: attention sublayer, MLP sublayer, head, each composed of the primitives.

Source: Radford et al. (2019), section 2.3: layer norm comes first in each sublayer, and one more
before the head. With x the residual stream, each sublayer adds to it what it has computed from it:

    attention:  out = x + dropout(linear(attention(linear(norm(x)))))
    MLP:        out = x + dropout(linear(activation(linear(norm(x)))))
    head:       logits = norm(x) @ weight.T

Backward of a sum: out = x + branch(x), so dx = dout + (what comes back through the branch). The
first term hands the gradient down from block to block unchanged: this is why deep stacks train.

Backward of a composition runs through the same functions in reverse, each taking the gradient that
the next one wrote. A block's outputs of layer norm and activation are not kept for backward but
recomputed, each into the buffer that forward used: `norm` and `act` are written in both directions.

The head's weight lies as (V, C), like the token embedding that it may be, so it enters the linear
layer transposed, and its gradient leaves it transposed.

Shapes: x, out, norm, attn and their gradients (B, T, C); qkv (B, T, 3C); fc, act (B, T, F);
logits (B, T, V); mean, rstd, losses and the head's lse (B, T); the attention's lse (B, H, T).
"""

import numpy as np

from gpt_numpy.base.arrays import Array
from gpt_numpy.reference import activation as activations
from gpt_numpy.reference.attention import attention_backward, attention_forward
from gpt_numpy.reference.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.reference.dropout import dropout_backward, dropout_forward
from gpt_numpy.reference.layernorm import layernorm_backward, layernorm_forward, normalise
from gpt_numpy.reference.linear import linear_backward, linear_forward


def attention_sublayer_forward(
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    qkv_weight: Array,
    qkv_bias: Array | None,
    proj_weight: Array,
    proj_bias: Array | None,
    n_head: int,
    rate: float,
    key: int,
    site: int,
    out: Array,
    mean: Array,
    rstd: Array,
    norm: Array,
    qkv: Array,
    lse: Array,
    attn: Array,
) -> None:
    """Write the residual stream after attention to `out`; the branch's site follows `site`."""
    branch = np.empty_like(x)
    layernorm_forward(x, ln_weight, ln_bias, out=norm, mean=mean, rstd=rstd)
    linear_forward(norm, qkv_weight, qkv_bias, out=qkv)
    attention_forward(qkv, n_head, rate, key, site, out=attn, lse=lse)
    linear_forward(attn, proj_weight, proj_bias, out=branch)
    dropout_forward(branch, rate, key, site + 1, out=branch)
    out[...] = x + branch


def attention_sublayer_backward(
    dout: Array,
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    qkv_weight: Array,
    qkv_bias: Array | None,
    proj_weight: Array,
    proj_bias: Array | None,
    n_head: int,
    rate: float,
    key: int,
    site: int,
    mean: Array,
    rstd: Array,
    qkv: Array,
    lse: Array,
    attn: Array,
    dx: Array,
    dln_weight: Array,
    dln_bias: Array | None,
    dqkv_weight: Array,
    dqkv_bias: Array | None,
    dproj_weight: Array,
    dproj_bias: Array | None,
    norm: Array,
    dnorm: Array,
    dqkv: Array,
    dattn: Array,
) -> None:
    """Write the gradients of `x`, the parameters and those between; `dx` may be `dout`."""
    dbranch, dx_branch = np.empty_like(x), np.empty_like(x)
    # forward: out = x + dropout(linear(attn))
    dropout_backward(dout, rate, key, site + 1, dx=dbranch)
    linear_backward(
        dbranch,
        attn,
        proj_weight,
        proj_bias,
        dx=dattn,
        dweight=dproj_weight,
        dbias=dproj_bias,
    )
    # forward: attn = attention(qkv)
    attention_backward(dattn, qkv, n_head, rate, key, site, out=attn, lse=lse, dqkv=dqkv)
    normalise(x, ln_weight, ln_bias, mean, rstd, out=norm)  # recomputed
    # forward: qkv = linear(norm)
    linear_backward(
        dqkv, norm, qkv_weight, qkv_bias, dx=dnorm, dweight=dqkv_weight, dbias=dqkv_bias
    )
    # forward: norm = layernorm(x)
    layernorm_backward(
        dnorm,
        x,
        ln_weight,
        ln_bias,
        mean,
        rstd,
        dx=dx_branch,
        dweight=dln_weight,
        dbias=dln_bias,
    )
    # forward: out = x + branch(x)
    dx[...] = dout + dx_branch


def mlp_sublayer_forward(
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    fc_weight: Array,
    fc_bias: Array | None,
    proj_weight: Array,
    proj_bias: Array | None,
    activation: str,
    rate: float,
    key: int,
    site: int,
    out: Array,
    mean: Array,
    rstd: Array,
    norm: Array,
    fc: Array,
    act: Array,
) -> None:
    """Write the residual stream after the MLP to `out`; `site` is for the branch."""
    branch = np.empty_like(x)
    layernorm_forward(x, ln_weight, ln_bias, out=norm, mean=mean, rstd=rstd)
    linear_forward(norm, fc_weight, fc_bias, out=fc)
    activations.FORWARD[activation](fc, out=act)
    linear_forward(act, proj_weight, proj_bias, out=branch)
    dropout_forward(branch, rate, key, site, out=branch)
    out[...] = x + branch


def mlp_sublayer_backward(
    dout: Array,
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    fc_weight: Array,
    fc_bias: Array | None,
    proj_weight: Array,
    proj_bias: Array | None,
    activation: str,
    rate: float,
    key: int,
    site: int,
    mean: Array,
    rstd: Array,
    fc: Array,
    dx: Array,
    dln_weight: Array,
    dln_bias: Array | None,
    dfc_weight: Array,
    dfc_bias: Array | None,
    dproj_weight: Array,
    dproj_bias: Array | None,
    norm: Array,
    act: Array,
    dnorm: Array,
    dfc: Array,
    dact: Array,
) -> None:
    """Write the gradients of `x`, the parameters and those between; `dx` may be `dout`."""
    dbranch, dx_branch = np.empty_like(x), np.empty_like(x)
    activations.FORWARD[activation](fc, out=act)  # recomputed
    # forward: out = x + dropout(linear(act))
    dropout_backward(dout, rate, key, site, dx=dbranch)
    linear_backward(
        dbranch,
        act,
        proj_weight,
        proj_bias,
        dx=dact,
        dweight=dproj_weight,
        dbias=dproj_bias,
    )
    # forward: act = activation(fc)
    activations.BACKWARD[activation](dact, fc, dx=dfc)
    normalise(x, ln_weight, ln_bias, mean, rstd, out=norm)  # recomputed
    # forward: fc = linear(norm)
    linear_backward(dfc, norm, fc_weight, fc_bias, dx=dnorm, dweight=dfc_weight, dbias=dfc_bias)
    # forward: norm = layernorm(x)
    layernorm_backward(
        dnorm,
        x,
        ln_weight,
        ln_bias,
        mean,
        rstd,
        dx=dx_branch,
        dweight=dln_weight,
        dbias=dln_bias,
    )
    # forward: out = x + branch(x)
    dx[...] = dout + dx_branch


def head_forward(
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    weight: Array,
    out: Array,
    mean: Array,
    rstd: Array,
    norm: Array,
) -> None:
    """Write the logits of the next token to `out`."""
    layernorm_forward(x, ln_weight, ln_bias, out=norm, mean=mean, rstd=rstd)
    linear_forward(norm, weight.T, None, out=out)


def head_backward(
    dout: Array,
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    weight: Array,
    mean: Array,
    rstd: Array,
    norm: Array,
    dx: Array,
    dln_weight: Array,
    dln_bias: Array | None,
    dweight: Array,
    dnorm: Array,
) -> None:
    """Write the gradients of `x` and of the parameters."""
    # forward: logits = norm @ weight.T
    linear_backward(dout, norm, weight.T, None, dx=dnorm, dweight=dweight.T, dbias=None)
    # forward: norm = layernorm(x)
    layernorm_backward(
        dnorm, x, ln_weight, ln_bias, mean, rstd, dx=dx, dweight=dln_weight, dbias=dln_bias
    )


def head_loss_forward(
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    weight: Array,
    targets: Array,
    out: Array,
    mean: Array,
    rstd: Array,
    norm: Array,
    logits: Array,
    lse: Array,
) -> None:
    """Write each position's loss to `out`, and the logits that it comes from."""
    head_forward(x, ln_weight, ln_bias, weight, out=logits, mean=mean, rstd=rstd, norm=norm)
    cross_entropy_forward(logits, targets, out=out, lse=lse)


def head_loss_backward(
    dout: Array,
    x: Array,
    ln_weight: Array,
    ln_bias: Array | None,
    weight: Array,
    targets: Array,
    mean: Array,
    rstd: Array,
    norm: Array,
    logits: Array,
    lse: Array,
    dx: Array,
    dln_weight: Array,
    dln_bias: Array | None,
    dweight: Array,
    dnorm: Array,
    dlogits: Array,
) -> None:
    """Write the gradients of `x` and of the parameters; `dlogits` may be `logits`."""
    cross_entropy_backward(dout, logits, targets, lse, dlogits=dlogits)
    head_backward(
        dlogits,
        x,
        ln_weight,
        ln_bias,
        weight,
        mean,
        rstd,
        norm,
        dx=dx,
        dln_weight=dln_weight,
        dln_bias=dln_bias,
        dweight=dweight,
        dnorm=dnorm,
    )
