"""Wrong answers to the atomic steps, some of which follow from one another, and later ones."""

SPLIT = "dout.reshape(5, 6, 7, 3).transpose(0, 3, 1, 2)"
REST = (
    "; dp = dO @ V.mT; ds = p * (dp - (dp * p).sum(-1, keepdims=True)); dQ[...] = ds @ K * scale; "
    "dK[...] = ds.mT @ Q * scale; dV[...] = p.mT @ dO"
)
EVEN = "dx[..., ::2] = {0}[..., ::2] * cos + {0}[..., 1::2] * sin; "
ODD = "dx[..., 1::2] = {0}[..., 1::2] * cos - {0}[..., ::2] * sin"
STEPS = [
    ("7a", "dx", "!de[...] = dout / total; dx[...] = de * e", "^follows from your de"),
    ("7a", "de", "!de[...] = dout / total; dx[...] = de * e", "dtotal is missing"),
    (
        "7a",
        "de",
        "!dtotal[...] = dinverse / total**2; de[...] = dout / total + dtotal",
        "^follows from your dtotal",
    ),
    (
        *(
            "7a",
            "dx",
            "!dtotal[...] = dinverse / total**2; de[...] = dout / total + dtotal; dx[...] = de * e",
        ),
        "^follows from your de",
    ),
    (
        "7a",
        "dtotal",
        "!dinverse[...] = dout.sum(-1, keepdims=True); dtotal[...] = -dinverse / total**2",
        "^follows from your dinverse",
    ),
    (
        "7a",
        "dtotal",
        "!dinverse[...] = dout.sum(-1, keepdims=True); dtotal[...] = dinverse / total**2",
        "sign",
    ),
    ("7a", "dx", "!de[...] = dout / total; dx[...] = de", "factor e is missing"),
    ("7a", "de", "dout / total + dinverse", "dinverse stands|slope"),
    ("7a", "dx", "dout * e", "dout stands|no known"),
    ("7a", "dx", "de / total * e", "out stands where e belongs"),
    ("7a", "dtotal", "dinverse", "sign|slope"),
    (
        "10a",
        "dmasked",
        "!dweights[...] = dout @ k.mT; dmasked[...] = "
        "p * (dweights - (dweights * p).sum(-1, keepdims=True))",
        "^follows from your dweights",
    ),
    (
        "10a",
        "dscores",
        "!dmasked[...] = p * dweights; dscores[...] = dmasked",
        "^follows from your dmasked",
    ),
    (
        "10a",
        "dq",
        "!dmasked[...] = p * dweights; dscores[...] = dmasked; dq[...] = dscores @ k / np.sqrt(7)",
        "^follows from your dscores",
    ),
    (
        "10a",
        "dk",
        "!dmasked[...] = dweights; dscores[...] = dmasked * np.tri(5); "
        "dk[...] = dscores.mT @ q / np.sqrt(7)",
        "^follows from your dscores",
    ),
    (
        "10a",
        "dk",
        "!dscores[...] = p * dweights; dk[...] = dscores @ q / np.sqrt(7)",
        "not transposed",
    ),
    ("10a", "dq", "!dscores[...] = p * dweights; dq[...] = dscores @ k", "sqrt"),
    ("10a", "dmasked", "!dweights[...] = -dout @ v.mT; dmasked[...] = p * dweights", "missing"),
    ("10a", "dweights", "p.mT @ dout @ v.mT", "no known"),
    ("10a", "dscores", "dmasked / np.sqrt(7)", "sqrt"),
]
OTHERS = [
    (
        "3",
        "dx",
        "dout * 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du",
        "dout is (missing|left out)|factor dout",
    ),
    (
        "5",
        "dx",
        "dout + (1 - np.tanh(x @ weight) ** 2) * (dout @ weight.T)",
        "outside|after the product",
    ),
    (
        "5",
        "dx",
        "(1 - np.tanh(x @ weight) ** 2) * (dout @ weight.T)",
        "outside|after the product|missing",
    ),
    ("5", "dweight", "(1 - np.tanh(x @ weight) ** 2).T @ x", "no known|dout"),
    (
        "9",
        "dx",
        "(dxhat - along_ones - xhat * along_xhat) * rstd[..., None] * weight",
        "weight is one factor|weight",
    ),
    ("11", "dqkv", f"!dO = dout.reshape(5, 3, 6, 7){REST}", "reshape"),
    ("11", "dqkv", f"!dO = {SPLIT}{REST}", r"channels h, h \+ 3"),
    (
        "11",
        "dqkv",
        "!dQ[...] = ds @ K / np.sqrt(21); dK[...] = ds.mT @ Q / np.sqrt(21)",
        r"sqrt\(C\).*where sqrt\(D\).*in dQ and dK$",
    ),
    ("11", "dqkv", "!dQ[...] = ds @ K / 7; dK[...] = ds.mT @ Q / 7", "D, not sqrt|sqrt"),
    (
        "12",
        "dtable",
        "as_head + look((dout @ table) * (1 - x * x) * x)",
        "lookup's part of the gradient is wrong",
    ),
    (
        "13",
        "dx",
        "dxhat * rstd[..., None] - x * (dxhat * x).mean(-1, keepdims=True) * rstd[..., None]",
        "divided by rstd where|x stands where xhat.*both",
    ),
    (
        "13",
        "dx",
        "dxhat * rstd[..., None] - x * (dxhat * x).mean(-1, keepdims=True) * rstd[..., None] ** 2",
        "xhat belongs in the mean|rstd",
    ),
    ("14", "dx", f"!{EVEN.format('dout')}{ODD.format('dout')}", "neighbours"),
    ("14", "dx", "dout * np.concatenate([cos, cos], -1)", "missing.*missing"),
    ("15", "dgate", "dout * up * share * (1 - share)", "SiLU|gate|missing"),
    ("16", "dk", "(ds.mT @ q).reshape(3, 5, 6, 7).sum(axis=1)", "sqrt"),
    ("16", "dv", "(dp.mT @ dout).reshape(3, 5, 6, 7).sum(axis=1)", "dp stands|no known"),
    (
        "16",
        "dk",
        "(ds.mT @ K / np.sqrt(7)).reshape(3, 5, 6, 7).sum(axis=1)",
        "k stands where q|K stands",
    ),
    ("17", "dwk", "memory.T @ dk / np.sqrt(7)", "sqrt|7"),
    ("17", "dq", "(p * (dp - (dp * p).sum(-2, keepdims=True))) @ k / np.sqrt(7)", "queries"),
    ("18", "dlogits", "dout * (P - 0.7 * Y - 0.3 / 12 * (1 - Y)) * kept / n", "V - 1 others"),
    (
        "18",
        "dlogits",
        "dout * (P - 0.3 * Y - 0.7 / 13) * kept / n",
        "exchanged|1 - e is spread|e stands",
    ),
    ("18", "dlogits", "dout * (P - 0.7 * Y - 0.3 / 13) * kept / 9", "all 9 rows, not by the 6"),
    (
        *("18", "dlogits", "dout * (P - 0.7 * Y - 0.3 / 13) / 9"),
        "all 9 rows, not by the 6.*rows that do not count .* are not 0",
    ),
    (
        "18",
        "dlogits",
        "dout * (P - 0.7 * Y - 0.3 / 13) / n",
        "do not count and must be zero|padding",
    ),
    (
        *("18", "dlogits", "dout * (P + 0.7 * Y - 0.3 / 12) / n"),
        r"rows that do not count \(target -1\) are not 0; .*the sign.*-1.083 where -1",
    ),
]
LATER = STEPS + OTHERS
