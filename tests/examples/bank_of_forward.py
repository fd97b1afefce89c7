"""Wrong answers to the forward exercises: all lines of the function, and the diagnosis.

Form as in bank_of_layers.py, except that the answer is the whole body: it starts from nothing.
"""

SOFTMAX = "e = np.exp(x - x.max(-1, keepdims=True))"
MASKED = "s = np.where(np.tri(scores.shape[-1]) == 1, scores, -np.inf)"
E_OF_S = "e = np.exp(s - s.max(-1, keepdims=True))"
OVER_ROW = "weights[...] = e / e.sum(-1, keepdims=True)"
SOFTMAXES = [
    ("e = np.exp(x - x.max(1, keepdims=True)); out[...] = e / e.sum(1, keepdims=True)", "axis 1"),
    (f"{SOFTMAX}; out[...] = e / e.sum()", "sum runs over the whole array"),
    (f"{SOFTMAX}; out[...] = e / e.sum(0)", "sum runs along axis 0"),
    ("e = np.exp(x); out[...] = e / e.sum()", "whole array|overflow"),
    ("e = np.exp(x); out[...] = e / e.sum(-1, keepdims=True)", "overflows"),
    (
        "e = np.exp(x - np.abs(x).max(-1, keepdims=True)); out[...] = e / e.sum(-1, keepdims=True)",
        "absolute",
    ),
    (f"{SOFTMAX}; out[...] = e / (e.sum(-1, keepdims=True) + 1e-8)", "^right to 8 digits.*1e-8"),
    (f"{SOFTMAX}; out[...] = (e / e.sum(-1, keepdims=True)).astype('float32')", "^right to . dig"),
    ("e = np.exp(x); out[...] = e / (e.sum(-1, keepdims=True) + 1e-8)", "finite"),
    (f"{SOFTMAX}; out[...] = -e / e.sum(-1, keepdims=True)", r"-1 times .*\(the sign\)"),
    (f"{SOFTMAX}; out[...] = e / np.sqrt((e * e).sum(-1, keepdims=True))", "length"),
    (f"{SOFTMAX}; out[...] = e / np.exp(x).sum(-1, keepdims=True)", "overflow|below|sum"),
    (
        "e = np.exp(np.clip(x, -700, 700)); out[...] = e / e.sum(-1, keepdims=True)",
        "clipped|shares",
    ),
    ("out[...] = 1 / (1 + np.exp(-x))", "logistic"),
    ("out[...] = x / x.sum(-1, keepdims=True)", "exp is missing"),
    (f"{SOFTMAX}; out[...] = np.log(e / e.sum(-1, keepdims=True))", "logarithm"),
    ("out[...] = 0", "0 everywhere"),
    ("out = np.exp(x) / np.exp(x).sum(-1, keepdims=True)", "nothing was written"),
]
EMBEDDINGS = [
    ("out[...] = wte[tokens]", "positions are missing"),
    ("out[...] = wte[tokens] + wpe[:5].mean(0)", "mean of the rows of wpe|same row"),
    ("out[...] = wte[tokens] + wpe[:5][::-1]", "reverse"),
    ("out[...] = wte[tokens - 1] + wpe[:5]", "row before|count from 0"),
    ("out[...] = wte[:5] + wpe[:5]", "by position"),
    ("out[...] = (wte[tokens] + wpe[:5]) / 2", "half|mean of the two"),
    ("out += wte[tokens]; out += wpe[:5]", "adds to what|not finite"),
    ("for b in range(3): out[b] = wte[tokens[0]] + wpe[:5]", "first sequence"),
    (
        "for b in range(3):\n        for t in range(5): out[b, t] = wte[tokens[b, t]] + wpe[b]",
        "by seq",
    ),
    ("out[...] = wte[tokens] + 2 * wpe[:5]", "twice|two times"),
]
MASKS = [
    (f"{MASKED}; {E_OF_S}; weights[...] = e / e.sum(-2, keepdims=True)", "axis -2"),
    (
        f"s = scores; {E_OF_S}; e = e * np.tri(len(s[0])); {OVER_ROW}",
        "largest of .*masked|mask first|unmasked",
    ),
    (f"s = np.where(np.tri(len(scores[0])) == 1, scores, -10); {E_OF_S}; {OVER_ROW}", "-inf"),
    (f"s = np.where(np.tri(len(scores[0])) == 1, scores, -1000); {E_OF_S}; {OVER_ROW}", "-inf"),
    (
        f"s = scores; {E_OF_S}; e = e / e.sum(-1, keepdims=True) * np.tri(len(s[0])); {OVER_ROW}",
        "largest|mask first|unmasked",
    ),
    (
        "weights[...] = np.tri(len(scores[0])) / np.tri(len(scores[0])).sum(-1, keepdims=True)",
        "equal",
    ),
    (f"{MASKED}; {E_OF_S}; weights[...] = e / e.sum()", "whole array"),
    (f"s = scores; {E_OF_S}; {OVER_ROW}", "mask is missing"),
    (
        f"s = np.where(np.triu(scores) != 0, scores, -np.inf); {E_OF_S}; {OVER_ROW}",
        "wrong way round",
    ),
    (
        f"s = np.where(np.tri(len(scores[0]), k=-1) == 1, scores, -np.inf); {E_OF_S}; {OVER_ROW}",
        "diag",
    ),
    *(
        (
            f"s = np.where(np.tri(len(scores[0]), k=-1) == 1, scores, {low}); {E_OF_S}; {OVER_ROW}",
            "diagonal.*the first has no other",
        )
        for low in ("-1e9", "-1e30")
    ),
    (f"{MASKED}; e = np.exp(s); {OVER_ROW}", "overflows"),
    (f"{MASKED}; {E_OF_S}; weights[...] = e / (e.sum(-1, keepdims=True) + 1e-8)", "^right to 8"),
    (f"{MASKED}; {E_OF_S}; weights[...] = e", "division"),
    (f"{MASKED}; weights[...] = s", "softmax is missing|-inf"),
    (f"s = scores * np.tri(len(scores[0])); {E_OF_S}; {OVER_ROW}", "masked scores are 0"),
]
S = "s = q @ k.mT / np.sqrt(7)"
TRI = "s = np.where(np.tri(5) == 1, s, -np.inf)"
W = f"{E_OF_S}; w = e / e.sum(-1, keepdims=True)"
HEADS = [
    (f"{S}; s = s * np.tri(5); {W}; out[...] = w @ v", "masked scores are 0"),
    (f"{S}; {W}; out[...] = (w * np.tri(5)) @ v", "mask comes after softmax"),
    (f"{S}; s = np.where(np.tri(5, k=-1) == 1, s, -np.inf); {W}; out[...] = w @ v", "diagonal"),
    (
        f"{S}; s = np.where(np.tri(5, k=-1) == 1, s, -1e9); {W}; out[...] = w @ v",
        "diagonal.*the first has no other",
    ),
    (f"{S}; s = np.where(np.tri(5, k=1) == 1, s, -np.inf); {W}; out[...] = w @ v", "off by one"),
    (f"{S}; {TRI}; {W}; out[...] = w @ v / np.sqrt(7)", "twice|after softmax|once more"),
    (f"{S}; {TRI}; {E_OF_S}; out[...] = e @ v", "division"),
    (f"{S}; {TRI}; {E_OF_S}; out[...] = e / (e.sum(-1, keepdims=True) + 1e-8) @ v", "^right to "),
    (f"{S}; {TRI}; {E_OF_S}; out[...] = e / e.sum() @ v", "whole array"),
    (f"s = q @ k.mT / np.sqrt(21); {TRI}; {W}; out[...] = w @ v", r"21|no known"),
    (f"s = q @ k.mT; {TRI}; {W}; out[...] = w @ v", r"not divided by sqrt\(7\)"),
    (f"s = q @ q.mT / np.sqrt(7); {TRI}; {W}; out[...] = w @ v", "compared with the queries"),
    (f"s = q @ k.mT / np.sqrt(7); {W}; out[...] = w @ v", "mask is missing"),
    (f"s = k @ q.mT / np.sqrt(7); {TRI}; {W}; out[...] = w @ v", "exchanged"),
    (f"{S}; {TRI}; {W}; out[...] = w.mT @ v", "weights are transposed"),
    (f"s = q @ k.mT; {W}; out[...] = w @ v", "mask.*(divided|sqrt)|(divided|sqrt).*mask"),
    ("out[...] = np.cumsum(v, axis=1) / np.arange(1, 6)[:, None]", "equal"),
]
SPLITS = [
    ("out[...] = x.reshape(5, 3, 6, 7)", "directly"),
    ("out[...] = x.reshape(5, 3, 7, 6).swapaxes(2, 3)", "cut|mixes|order"),
    ("for h in range(3): out[:, h] = x[:, :, h : h + 7]", "channel 7 h"),
    ("for h in range(3): out[:, h] = x[:, :, h::3]", "h \\+ 3"),
    ("out[...] = x.reshape(6, 5, 3, 7).transpose(1, 2, 0, 3)", "sequences and positions"),
    ("out[...] = x.reshape(5, 6, 3, 7).swapaxes(1, 2)[:, :, ::-1]", "reverse"),
    ("out[...] = x.mT.reshape(5, 3, 6, 7)", "exchanged before"),
]
P = "p = np.exp(z - z.max(-1, keepdims=True)); p = p / p.sum(-1, keepdims=True)"
ZERO = "if tau == 0: return out.put(range(500), logits.argmax(-1))\n    "
DRAW = "out[...] = (p.cumsum(-1) > u[:, None]).argmax(-1)"
SAMPLES = [
    (
        f"{ZERO}z = logits / tau; {P}; out[...] = (p.cumsum(-1) < u[:, None]).argmax(-1)",
        "wrong way round",
    ),
    (
        f"{ZERO}z = logits / tau; {P}; out[...] = (p.cumsum(-1) > 1 - u[:, None]).argmax(-1)",
        "1 - u",
    ),
    (f"z = logits / (tau or 1); {P}; {DRAW}", "tau = 0|tau is 0"),
    (
        f"{ZERO}z = logits / tau; {P}; p = np.sort(p)[:, ::-1]; {DRAW}",
        "sorted",
    ),
    (f"{ZERO}z = logits; {P}; p = p ** (1 / tau); {DRAW}", "divided by its sum|sum to 1"),
    (f"{ZERO}z = logits / tau; p = np.exp(z - z.max(-1, keepdims=True)); {DRAW}", "sum"),
    (f"{ZERO}z = logits; {P}; {DRAW}", "temperature is not used"),
    (f"{ZERO}z = logits * tau; {P}; {DRAW}", "multiplied by the temperature"),
    (f"{ZERO}z = logits / tau; p = np.exp(z); p /= p.sum(-1, keepdims=True); {DRAW}", "overflow"),
    (f"{ZERO}z = logits / tau; {P}; out[...] = (p > u[:, None]).argmax(-1)", "itself is compared"),
    (f"{ZERO}z = logits / tau; {P}; out[...] = p.argmax(-1)", "always"),
    (f"{ZERO.replace('-1', '')}z = logits / tau; {P}; {DRAW}", "axis"),
    (f"{ZERO.replace('max', 'min')}z = logits / tau; {P}; {DRAW}", "smallest"),
    (
        f"{ZERO}z = logits / tau; p = np.exp(z - z.max(0)); p = p / p.sum(0); {DRAW}",
        "axis 0",
    ),
    (
        f"{ZERO}z = logits / tau; {P}; rng = np.random.default_rng()\n"
        "    out[...] = [rng.choice(11, p=row) for row in p]",
        "random",
    ),
    (f"{ZERO}z = logits / tau; {P}; out[...] = (p.cumsum(-1) > u[:, None]).argmax(-1) + 1", "late"),
    (
        f"{ZERO}z = logits / tau; {P}; c = p.cumsum(-1)\n"
        "    for r in range(500):\n"
        "        for k in range(11):\n"
        "            if c[r, k] > u[r]: out[r] = k",
        "last token.*stop at the first",
    ),
    (f"{ZERO}z = logits / tau; {P}; c = p.cumsum(-1); out[...] = c.argmax(-1)", "the last one"),
    (
        f"{ZERO}z = logits / tau; {P}; c = p.cumsum(-1); "
        "out[...] = np.abs(c - u[:, None]).argmin(-1)",
        "nearest to u",
    ),
    (
        f"{ZERO}z = logits / tau; {P}; out[...] = [np.random.default_rng(0).choice(11, p=row) "
        "for row in p]",
        "no known",
    ),
    (
        f"{ZERO.replace('argmax', 'max')}z = logits / tau; {P}; "
        "out[...] = (p > u[:, None]).argmax(-1)",
        "itself is compared.*; and at tau = 0 it is the largest logit itself",
    ),
]
M = "m[...] = beta1 * m + (1 - beta1) * g"
V = "v[...] = beta2 * v + (1 - beta2) * g * g"
A, B = "a = m / (1 - beta1**t)", "b = v / (1 - beta2**t)"
STEP = "w -= rate * (decay * w + a / (np.sqrt(b) + eps))"
ADAMS = [
    (
        f"{M}; {V}; {A}; {B}; w = {STEP.replace('-=', '-')[2:].replace('- rate', 'w - rate')}",
        "rebinds",
    ),
    (
        f"m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g * g; {A}; {B}; {STEP}",
        "rebound",
    ),
    (f"m = beta1 * m + (1 - beta1) * g; {V}; {A}; {B}; {STEP}", "m .*rebound"),
    (f"{M}; v = beta2 * v + (1 - beta2) * g * g; {A}; {B}; {STEP}", "v .*rebound"),
    (f"{M}; {V}; m /= 1 - beta1**t; v /= 1 - beta2**t; a, b = m, v; {STEP}", "in place"),
    (f"{M}; {V}; m /= 1 - beta1**t; a = m; {B}; {STEP}", "in place"),
    (f"{M}; {V}; {A}; v /= 1 - beta2**t; b = v; {STEP}", "in place"),
    (
        f"{M}; {V}; {A}; w -= rate * (decay * w + a / (np.sqrt(v) / (1 - beta2**t) + eps))",
        "root is taken before",
    ),
    (f"{M}; {V}; a = m / (1 - beta1); b = v / (1 - beta2); {STEP}", r"1 - beta for 1 - beta\^t"),
    (f"{M}; {V}; {A}; {B}; w -= rate * (decay * w + a / np.sqrt(b + eps))", "under the root"),
    (
        f"g = g + decay * w; {M}; {V}; {A}; {B}; w -= rate * a / (np.sqrt(b) + eps)",
        "gradient: it must not pass through m and v",
    ),
    (f"{M}; {V}; {A}; {B}; w -= decay * w + a / (np.sqrt(b) + eps)", "rate is missing"),
    (
        f"{M}; {V}; {A}; {B}; w -= rate * decay * w + a / (np.sqrt(b) + eps)",
        "not multiplied by the rate",
    ),
    (
        f"{M}; {V}; {A}; {B}; w -= rate * a / (np.sqrt(b) + eps); w -= rate * decay * w",
        "after the step|already changed",
    ),
    (f"{M}; {V}; {A}; {B}; w -= rate * (a / (np.sqrt(b) + eps) - decay * w)", "away from 0|sign"),
    (f"{M}; {V}; {A}; {B}; w += rate * (decay * w + a / (np.sqrt(b) + eps))", "sign"),
    (f"{M}; v[...] = beta2 * v + (1 - beta2) * m * m; {A}; {B}; {STEP}", r"square of m|m\^2"),
    (
        f"{M}; v[...] = beta1 * v + (1 - beta1) * g * g; {A}; b = v / (1 - beta1**t); {STEP}",
        "beta1.* v|v .*beta1",
    ),
    (
        "m[...] = (1 - beta1) * m + beta1 * g; v[...] = (1 - beta2) * v + beta2 * g * g; "
        f"{A}; {B}; {STEP}",
        "weights.*exchanged|beta and 1 - beta are exchanged",
    ),
    (f"{M}; {V}; a = m / (1 - beta1 * t); b = v / (1 - beta2 * t); {STEP}", r"beta \* t"),
    (f"{M}; {V}; a = m * (1 - beta1**t); b = v * (1 - beta2**t); {STEP}", "multiplied"),
    (f"{M}; {V}; a = m / (1 - beta1**(t-1)); b = v / (1 - beta2**(t-1)); {STEP}", "too small"),
    (
        f"{M}; {V}; {A}; {B}; w -= rate * (decay * g + a / (np.sqrt(b) + eps))",
        "decay.*gradient|decay . g",
    ),
    (f"{A}; {B}; {STEP}; {M}; {V}", "before m and v|old"),
    (f"{M}; {V}; {A}; {B}; w -= rate * a / (np.sqrt(b) + eps)", "decay is missing"),
    (f"{M}; {V}; {A}; {B}; w -= rate * (decay * w + a / (b + eps))", "root of v is missing"),
    (f"{M}; {V}; a, b = m, v; {STEP}", "neither mean"),
    (
        f"{M}; {V}; {A}; {B}; w[...] = -rate * (decay * w + a / (np.sqrt(b) + eps))",
        "w itself|replaced",
    ),
]
FORWARD = []
for number, output, answers in (
    ("f1", "out", SOFTMAXES),
    ("f2", "out", EMBEDDINGS),
    ("f3", "weights", MASKS),
    ("f4", "out", HEADS),
    ("f5", "out", SPLITS),
    ("f6", "out", SAMPLES),
    ("s1", "w", ADAMS),
):
    FORWARD += [(number, output, answer, words) for answer, words in answers]
