// What a cell of a gradient was computed from. The rules are those of the derivations in reference/.

const BACKWARD_RULES = [];
function back(pattern, explain) { BACKWARD_RULES.push([pattern, explain]); }
const G = { which: "grad" };
function gradCell(name, r, c, head) { return cellOf(name, "grad", r, c, head); }

back(/^losses$/, ({ r, c }) => !hasTarget(r + c) ? { formula: [grad("loss", "t"), "=", "0"], numbers: num(0), sources: [], note: "No loss here: the text ends." } : ({ formula: [grad("loss", "t"), "=", fraction("1", "N")], numbers: over(num(1), num(Math.max(contents.targets.filter(v => v >= 0).length, 1))), sources: [],
  note: "The loss of the text is the mean over its N predictions." }));
back(/^logits$/, ({ r, c }) => {
  if (!hasTarget(r)) return { formula: [grad("z", "t", "v"), "=", "0"], numbers: num(0), sources: [], note: "Nothing is predicted here, so nothing is to be changed." };
  const p = cellOf("probabilities", "value", r, c), right = contents.targets[r] === c;
  const plain = times(num(entryOf("losses", r, "grad")), inside(minus(num(p), num(right ? 1 : 0)))), cap = config.logit_softcap;
  return { formula: [grad("z", "t", "v"), "=", grad("loss", "t"), "·", brackets(sub("P", "t", "v"), "−", sub("[v=y]", "t")), cap ? ["·", "(", "1", "−", power("tanh", "2"), fraction("z", "cap"), ")"] : null],
    numbers: cap ? times(plain, num(1 - Math.tanh(cellOf("logits", "value", r, c) / cap) ** 2)) : plain, sources: [from("probabilities", r, c)],
    note: right ? "This is the token that did come next: its logit should rise." : "This token did not come next: its logit should fall." };
});

// dx = dout @ weight.T
function linearBackRule(out, layer, r, i, head = null) {
  return { formula: [grad("x", "t", "i"), "=", sumOver("o", grad("out", "t", "o"), "·", sub("W", "i", "o"))],
    numbers: dot(rowOf_(out, "grad", r, head), rowOf_(`${layer}.weight`, "value", i)),
    sources: [from(out, r, null, G), from(`${layer}.weight`, i, null)] };
}
back(/^ln_f\.out$/, ({ r, c }) => ({
  formula: [grad("norm", "t", "c"), "=", sumOver("v", grad("z", "t", "v"), "·", sub("W", "v", "c"))],
  numbers: dot(rowOf_("logits", "grad", r), columnOf(headWeight(), "value", c)), sources: [from("logits", r, null, G), from(headWeight(), null, c)] }));
back(/ln_1\.out$/, ({ b, r, c }) => linearBackRule(`${b}.attn.qkv`, `${b}.attn.c_attn`, r, c));
back(/ln_2\.out$/, ({ b, r, c }) => linearBackRule(`${b}.mlp.fc`, `${b}.mlp.c_fc`, r, c));
back(/\.mlp\.act$/, ({ b, r, c }) => off_("neurons", b, c) || linearBackRule(`${b}.mlp.proj`, `${b}.mlp.c_proj`, r, c));
back(/\.attn\.out$/, ({ b, r, c }) => off_("heads", b, Math.floor(c / config.head_size)) || linearBackRule(`${b}.attn.proj`, `${b}.attn.c_proj`, r, c));
back(/\.attn\.heads$/, ({ b, r, c, head }) => off_("heads", b, head) || linearBackRule(`${b}.attn.proj`, `${b}.attn.c_proj`, r, head * config.head_size + c));
back(/ln_\w+\.xhat$/, ({ name, r, c }) => {
  const n = name.replace(".xhat", "");
  return { formula: [grad("x̂", "t", "c"), "=", grad("out", "t", "c"), "·", sub("weight", "c")],
    numbers: times(num(gradCell(`${n}.out`, r, c)), num(entryOf(`${n}.weight`, c))), sources: [from(`${n}.out`, r, c, G), from(`${n}.weight`, 0, c)] };
});
// The residual stream: what comes from above, and what comes back through the norm of the branch.
back(/^(embedding\.out|.*resid_(mid|post))$/, ({ name, r, c }) => {
  const after = readerOf(name), C = config.n_embd, dxhat = rowOf_(`${after.norm}.xhat`, "grad", r), xhat = rowOf_(`${after.norm}.xhat`, "value", r);
  const rms = isRms(), alongOnes = rms ? 0 : dxhat.reduce((sum, d) => sum + d, 0) / C, alongXhat = dxhat.reduce((sum, d, k) => sum + d * xhat[k], 0) / C;
  const through = times(num(entryOf(`${after.norm}.rstd`, r)), inside(minus(rms ? num(dxhat[c]) : minus(num(dxhat[c]), num(alongOnes)), times(num(xhat[c]), num(alongXhat)))));
  const formula_ = [sub("rstd", "t"), "·", "(", grad("x̂", "t", "c"), rms ? null : ["−", "mean", brackets(grad("x̂", "t"))], "−", sub("x̂", "t", "c"), "·", "mean", brackets(grad("x̂", "t"), "·", sub("x̂", "t")), ")"];
  return { formula: [grad("x", "t", "c"), "=", after.out ? [grad("out", "t", "c"), "+"] : null, formula_],
    numbers: after.out ? plus(num(gradCell(after.out, r, c)), through) : through,
    sources: [...(after.out ? [from(after.out, r, c, G)] : []), from(`${after.norm}.xhat`, r, null, G), from(`${after.norm}.xhat`, r, null)],
    note: after.out ? "The first number passed through the sum unchanged; the rest came back through the branch." : "" };
});
// Which sublayer reads a stream: its norm, and the stream that it writes (none after the last norm).
function readerOf(name) {
  const found = name.match(/^h\.(\d+)\.resid_(\w+)$/), i = found ? Number(found[1]) : -1;
  if (found && found[2] === "mid") return { norm: `h.${i}.ln_2`, out: `h.${i}.resid_post` };
  return i + 1 < config.n_layer ? { norm: `h.${i + 1}.ln_1`, out: `h.${i + 1}.resid_mid` } : { norm: "ln_f", out: null };
}
back(/\.(attn|mlp)\.proj$/, ({ name, b, r, c }) => {
  const kind = name.includes(".attn.") ? "attention" : "mlp", out = `${b}.resid_${kind === "mlp" ? "post" : "mid"}`;
  return off_(kind, b) || { formula: [grad("branch", "t", "c"), "=", grad("out", "t", "c")], numbers: num(gradCell(out, r, c)), sources: [from(out, r, c, G)], note: "A sum hands its gradient to both of its terms." };
});
function gateBackRule(b, r, c) {
  const F = config.n_hidden, f = c % F, a = cellOf(`${b}.mlp.fc`, "value", r, f), s = sigmoid(a), dout = num(gradCell(`${b}.mlp.act`, r, f));
  const sources = [from(`${b}.mlp.act`, r, f, G), from(`${b}.mlp.fc`, r, f), from(`${b}.mlp.fc`, r, F + f)];
  if (c >= F) return { formula: [grad("b", "t", "f"), "=", grad("act", "t", "f"), "·", "a", "·", "σ", brackets("a")], numbers: times(times(dout, num(a)), num(s)), sources };
  return { formula: [grad("a", "t", "f"), "=", grad("act", "t", "f"), "·", "b", "·", "σ", brackets("a"), "·", "(", "1", "+", "a", "·", "(", "1", "−", "σ", brackets("a"), ")", ")"],
    numbers: times(times(times(dout, num(cellOf(`${b}.mlp.fc`, "value", r, F + f))), num(s)), inside(plus(num(1), times(num(a), inside(minus(num(1), num(s))))))), sources };
}
back(/\.mlp\.fc$/, ({ b, r, c }) => config.activation === "swiglu" ? gateBackRule(b, r, c) : ({
  formula: [grad("fc", "t", "f"), "=", grad("act", "t", "f"), "·", `${ACTIVATION_NAMES[config.activation]}′`, brackets(sub("fc", "t", "f"))],
  numbers: times(num(gradCell(`${b}.mlp.act`, r, c)), named_(ACTIVATIONS[config.activation].slope, `${ACTIVATION_NAMES[config.activation]}′`, num(cellOf(`${b}.mlp.fc`, "value", r, c)))),
  sources: [from(`${b}.mlp.act`, r, c, G), from(`${b}.mlp.fc`, r, c)] }));
back(/\.attn\.probabilities$/, ({ b, r, c, head }) => ({
  note: c > r ? "Masked: the weight was 0, so this number goes no further." : "",
  formula: [grad("p", "q", "k"), "=", sumOver("d", grad("out", "q", "d"), "·", sub("V", "k", "d"))],
  numbers: dot(rowOf_(`${b}.attn.heads`, "grad", r, head), rowOf_(`${b}.attn.value`, "value", c, head)),
  sources: [from(`${b}.attn.heads`, r, null, { ...G, head }), from(`${b}.attn.value`, c, null, { head })] }));
back(/\.attn\.scores$/, ({ b, r, c, head }) => {
  if (c > r) return { formula: [grad("s", "q", "k"), "=", "0"], numbers: num(0), sources: [], note: "Masked: p is 0, so nothing flows back from the future." };
  const p = rowOf_(`${b}.attn.probabilities`, "value", r, head), dp = rowOf_(`${b}.attn.probabilities`, "grad", r, head);
  return { formula: [grad("s", "q", "k"), "=", sub("p", "q", "k"), "·", brackets(grad("p", "q", "k"), "−", sumOver("j", sub("p", "q", "j"), "·", grad("p", "q", "j")))],
    numbers: times(num(p[c]), inside(minus(num(dp[c]), dot(p.slice(0, r + 1), dp.slice(0, r + 1))))),
    sources: [from(`${b}.attn.probabilities`, r, null, { head }), from(`${b}.attn.probabilities`, r, null, { ...G, head })],
    note: "A score raises its own weight and lowers all others of its row." };
});
back(/\.attn\.query$/, ({ b, r, c, head }) => ({
  formula: [grad("Q", "q", "d"), "=", fraction(sumOver("k", grad("s", "q", "k"), "·", sub("K", "k", "d")), root("D"))],
  numbers: over(dot(rowOf_(`${b}.attn.scores`, "grad", r, head).slice(0, r + 1), columnOf(`${b}.attn.key`, "value", c, head).slice(0, r + 1)), rootOf(num(config.head_size))),
  sources: [from(`${b}.attn.scores`, r, null, { ...G, head }), from(`${b}.attn.key`, null, c, { head })] }));
// Keys and values collect from every query that may see them, of all heads that share them.
function ofGroup(head, name, which, column, r) {
  return Float64Array.from(headsOfGroup(head).flatMap(h => Array.from(columnOf(name, which, column, h).slice(r))));
}
function queriesOfGroup(head) { return headsOfGroup(head).length > 1 ? ["h", ",", "q"] : "q"; }
function sharedNote(head) { return headsOfGroup(head).length > 1 ? ` Heads ${headsOfGroup(head).join(", ")} share it, and the gradients of all of them add up.` : ""; }
back(/\.attn\.key$/, ({ b, r, c, head }) => ({
  formula: [grad("K", "k", "d"), "=", fraction(sumOver(queriesOfGroup(head), grad("s", "q", "k"), "·", sub("Q", "q", "d")), root("D"))],
  numbers: over(dot(ofGroup(head, `${b}.attn.scores`, "grad", r, r), ofGroup(head, `${b}.attn.query`, "value", c, r)), rootOf(num(config.head_size))),
  sources: headsOfGroup(head).flatMap(h => [from(`${b}.attn.scores`, null, r, { ...G, head: h }), from(`${b}.attn.query`, null, c, { head: h })]),
  note: `A key’s gradient comes from every query that looked at it: from this position and all later ones.${sharedNote(head)}` }));
back(/\.attn\.value$/, ({ b, r, c, head }) => ({
  formula: [grad("V", "k", "d"), "=", sumOver(queriesOfGroup(head), sub("p", "q", "k"), "·", grad("out", "q", "d"))],
  numbers: dot(ofGroup(head, `${b}.attn.probabilities`, "value", r, r), ofGroup(head, `${b}.attn.heads`, "grad", c, r)),
  sources: headsOfGroup(head).flatMap(h => [from(`${b}.attn.probabilities`, null, r, { head: h }), from(`${b}.attn.heads`, null, c, { ...G, head: h })]),
  note: sharedNote(head).trim() }));

// Parameters: a weight collects from every position.
const INPUTS = { "attn.c_attn": ["ln_1.out", "attn.qkv"], "attn.c_proj": ["attn.out", "attn.proj"], "mlp.c_fc": ["ln_2.out", "mlp.fc"], "mlp.c_proj": ["mlp.act", "mlp.proj"] };
back(/\.c_\w+\.weight$/, ({ name, b, r, c }) => {
  const [x, out] = INPUTS[name.split(".").slice(2, 4).join(".")].map(part => `${b}.${part}`);
  return { formula: [grad("W", "i", "o"), "=", sumOver("t", sub("x", "t", "i"), "·", grad("out", "t", "o"))],
    numbers: dot(columnOf(x, "value", r), columnOf(out, "grad", c)), sources: [from(x, null, r), from(out, null, c, G)] };
});
back(/\.c_\w+\.bias$/, ({ name, b, c }) => {
  const out = `${b}.${INPUTS[name.split(".").slice(2, 4).join(".")][1]}`;
  return { formula: [grad("bias", "o"), "=", sumOver("t", grad("out", "t", "o"))], numbers: total(Array.from(columnOf(out, "grad", c), num)), sources: [from(out, null, c, G)] };
});
back(/ln_\w+\.weight$/, ({ name, c }) => {
  const n = name.replace(".weight", "");
  return { formula: [grad("weight", "c"), "=", sumOver("t", grad("out", "t", "c"), "·", sub("x̂", "t", "c"))],
    numbers: dot(columnOf(`${n}.out`, "grad", c), columnOf(`${n}.xhat`, "value", c)), sources: [from(`${n}.out`, null, c, G), from(`${n}.xhat`, null, c)] };
});
back(/ln_\w+\.bias$/, ({ name, c }) => {
  const out = name.replace(".bias", ".out");
  return { formula: [grad("bias", "c"), "=", sumOver("t", grad("out", "t", "c"))], numbers: total(Array.from(columnOf(out, "grad", c), num)), sources: [from(out, null, c, G)] };
});
back(/^wpe\.weight$/, ({ r, c }) => r >= T
  ? { formula: [grad("wpe", "t", "c"), "=", "0"], numbers: num(0), sources: [], note: "The text does not reach this position." }
  : { formula: [grad("wpe", "t", "c"), "=", grad("row", "t", "c")], numbers: num(gradCell("embedding.out", r, c)), sources: [from("embedding.out", r, c, G)] });
back(/^(wte|lm_head)\.weight$/, ({ name, r, c }) => {
  const places = name.startsWith("wte") ? contents.tokens.map((v, t) => v === r ? t : -1).filter(t => t >= 0) : [];
  const looked = total(places.map(t => num(gradCell("embedding.out", t, c))));
  const head = name === headWeight() ? dot(columnOf("logits", "grad", r), columnOf("ln_f.out", "value", c)) : null;
  const lookup = name.startsWith("wte") ? [ml("munder", "∑", row("t", ":", sub("token", "t"), "=", "v")), grad("row", "t", "c")] : null;
  return { formula: [grad("wte", "v", "c"), "=", lookup, head && lookup ? "+" : null, head ? sumOver("t", grad("z", "t", "v"), "·", sub("norm", "t", "c")) : null],
    numbers: head && lookup ? plus(looked, head) : head || looked,
    sources: [...places.map(t => from("embedding.out", t, c, G)), ...(head ? [from("logits", null, r, G), from("ln_f.out", null, c)] : [])],
    note: name.startsWith("wte") ? `This token stands at ${places.length} ${places.length === 1 ? "position" : "positions"} of the text${head ? "; its row is a weight of the output head, too: the gradients add up" : ""}.${places.includes(T - 1) && !hasTarget(T - 1) ? ` Position ${T - 1} adds 0: nothing is predicted there, and no later place looks at it.` : ""}` : "" };
});

// The explanation of a cell, or null where there is no rule for the array.
function explain(name, which, head, r, c) {
  const rules = which === "grad" ? BACKWARD_RULES : FORWARD_RULES, found = rules.find(([pattern]) => pattern.test(name));
  if (!found || !tensor(name, which)) return null;
  const block = name.match(/^h\.\d+/);
  return found[1]({ name, head, r, c, b: block ? block[0] : "" });
}
