"""What the model calls: attention sublayer, MLP sublayer, head, fused where a step gets faster.

Bias, activation, dropout and the sum with the residual stream are epilogues of the products
(epilogue.py), done strip by strip while the product is in the cache. The layer norm's backward adds
to the residual stream's gradient directly and writes the normalised rows again, which the gradient
of the weight behind it needs: that comes after it.
"""

from gpt_numpy.base.arrays import Array
from gpt_numpy.kernels.activation import NUMBERS
from gpt_numpy.kernels.attention import attention_backward, attention_forward
from gpt_numpy.kernels.cross_entropy import cross_entropy_backward, cross_entropy_forward
from gpt_numpy.kernels.dropout import dropout_backward
from gpt_numpy.kernels.engine.jit import flat, same_memory
from gpt_numpy.kernels.engine.pool import repeatable
from gpt_numpy.kernels.layernorm import (
    layernorm_backward,
    layernorm_backward_again,
    layernorm_forward,
)
from gpt_numpy.kernels.linear import linear_backward, linear_forward, parameter_gradients
from gpt_numpy.kernels.products.epilogue import ACTIVATE, GRADIENT, GRADIENT_IN_PLACE
from gpt_numpy.kernels.products.matmul import multiply, multiply_and_add, multiply_columns

LOGITS = 2**25  # elements of the logits that need to exist at once; the head works through the rest


@repeatable
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
    """Write the residual stream after attention to `out`; `site` is the attention weights'."""
    layernorm_forward(x, ln_weight, ln_bias, out=norm, mean=mean, rstd=rstd)
    linear_forward(norm, qkv_weight, qkv_bias, out=qkv)
    attention_forward(qkv, n_head, rate, key, site, out=attn, lse=lse)
    multiply_and_add(attn, proj_weight, proj_bias, x, (rate, key, site + 1), out=out)


@repeatable
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
    # forward: out = x + dropout(linear(attn))
    dbranch = _through_dropout(dout, rate, key, site + 1, space=dnorm)
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
    # forward: norm = layernorm(x); qkv = linear(norm)
    multiply(dqkv, qkv_weight, dnorm, transposed=True)
    layernorm_backward_again(
        dnorm, x, ln_weight, ln_bias, mean, rstd,
        dx=dx, dweight=dln_weight, dbias=dln_bias, out=norm, residual=dout,
    )  # fmt: skip
    parameter_gradients(dqkv, norm, dweight=dqkv_weight, dbias=dqkv_bias)


@repeatable
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
    """Write the residual stream after the MLP to `out`; `site` is the branch's."""
    kind = NUMBERS[activation]
    layernorm_forward(x, ln_weight, ln_bias, out=norm, mean=mean, rstd=rstd)
    multiply(norm, fc_weight, fc, bias=fc_bias, finish=ACTIVATE, kind=kind, second=act)
    multiply_and_add(act, proj_weight, proj_bias, x, (rate, key, site), out=out)


@repeatable
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
    # forward: act = activation(fc); out = x + dropout(linear(act))
    dbranch = _through_dropout(dout, rate, key, site, space=dnorm)
    in_place = same_memory(dfc, dact)
    multiply(
        dbranch, proj_weight, dact, transposed=True, kind=NUMBERS[activation], other=fc,
        finish=GRADIENT_IN_PLACE if in_place else GRADIENT, second=dfc, third=act,
    )  # fmt: skip
    parameter_gradients(dbranch, act, dproj_weight, dproj_bias)
    # forward: norm = layernorm(x); fc = linear(norm)
    multiply(dfc, fc_weight, dnorm, transposed=True)
    layernorm_backward_again(
        dnorm, x, ln_weight, ln_bias, mean, rstd,
        dx=dx, dweight=dln_weight, dbias=dln_bias, out=norm, residual=dout,
    )  # fmt: skip
    parameter_gradients(dfc, norm, dweight=dfc_weight, dbias=dfc_bias)


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
    multiply(norm, weight, out, transposed=True)


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
    # forward: norm = layernorm(x); logits = norm @ weight.T
    multiply(dout, weight, dnorm)
    multiply_columns(dout, norm, dweight)
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
    """Write each position's loss to `out`.

    The logits of as many positions as `logits` has room for are worked out at a time; those of the
    last ones stay there.
    """
    layernorm_forward(x, ln_weight, ln_bias, out=norm, mean=mean, rstd=rstd)
    norms, y, losses, sums = _positions(norm), flat(targets), flat(out), flat(lse)
    for part, z in _parts(logits, y.size):
        multiply(norms[part], weight, z, transposed=True)
        cross_entropy_forward(z, y[part], out=losses[part], lse=sums[part])


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
    """Write the gradients of `x` and of the parameters; `dlogits` may be `logits`.

    Those logits that forward did not leave are worked out again, in `dlogits`.
    """
    norms, dnorms, douts = _positions(norm), _positions(dnorm), flat(dout)
    y, sums = flat(targets), flat(lse)
    for again, (part, dz) in enumerate(reversed(_parts(dlogits, y.size))):
        z = dz if again else _positions(logits)[: len(dz)]
        if again:
            multiply(norms[part], weight, z, transposed=True)
        # forward: loss = cross_entropy(logits)
        cross_entropy_backward(douts[part], z, y[part], sums[part], dlogits=dz)
        # forward: logits = norm @ weight.T
        multiply(dz, weight, dnorms[part])
        multiply_columns(dz, norms[part], dweight, add=again > 0)
    # forward: norm = layernorm(x)
    layernorm_backward(
        dnorm, x, ln_weight, ln_bias, mean, rstd, dx=dx, dweight=dln_weight, dbias=dln_bias
    )


def _positions(array: Array) -> Array:
    """All vectors of an array, one after the other."""
    return flat(array).reshape(-1, array.shape[-1])


def _parts(logits: Array, count: int) -> list[tuple[slice, Array]]:
    """Which positions have their logits where, in turn: at last as many as there is room for."""
    room = _positions(logits)
    first = count % len(room)
    starts = [0] * (first > 0) + list(range(first, count, len(room)))
    stops = [*starts[1:], count]
    return [(slice(i, j), room[: j - i]) for i, j in zip(starts, stops, strict=True)]


def _through_dropout(dout: Array, rate: float, key: int, site: int, space: Array) -> Array:
    """The gradient of what was dropped out: `dout` itself, or written to `space`."""
    if rate == 0:
        return dout
    dropout_backward(dout, rate, key, site, dx=space)
    return space
