// What a cell of an activation was computed from: the formula, the same with its numbers, and the cells
// that it read. Each rule fits the names of some arrays, as trace/operations.py has their equations.

// A matrix of the trace: of several heads one, of a vector one row.
function mat(name, which, head) { return matrix(tensor(name, which), head); }
function rowOf_(name, which, r, head) { return rowOf(mat(name, which, head), r); }
function columnOf(name, which, c, head) { const m = mat(name, which, head); return Float64Array.from({ length: m.rows }, (_, r) => at(m, r, c)); }
function cellOf(name, which, r, c, head) { const m = mat(name, which, head); return m ? at(m, r, c) : 0; }
// A vector, such as a bias or a mean, by its index; 0 where the model has none.
function entryOf(name, k, which = "value") { return contents.arrays[name] ? tensor(name, which).data[k] : 0; }
function has(name) { return Object.hasOwn(contents.arrays, name); }
// Cells that light up: a row, a column, or one cell; `head` where there are several.
function from(name, row, col, { which = "value", head = null } = {}) { return { name, which, row, col, head }; }
function streamBefore(name) {
  const [, i, rest] = name.match(/^h\.(\d+)\.(.*)$/) || [null, null, name];
  if (rest.startsWith("ln_2") || rest === "resid_post" || rest.startsWith("mlp")) return `h.${i}.resid_mid`;
  if (i === null) return `h.${config.n_layer - 1}.resid_post`;
  return Number(i) ? `h.${i - 1}.resid_post` : "embedding.out";
}
function widthOf(name) { const { shape } = contents.arrays[name]; return shape[shape.length - 1]; }

const FORWARD_RULES = [];  // [pattern of names, function(context) => explanation]
function rule(pattern, explain) { FORWARD_RULES.push([pattern, explain]); }

// Whether a vector of the position is added to the token's.
function hasPositions() { return ["learned", "sinusoidal"].includes(config.positions); }
rule(/^embedding\.out$/, ({ r, c }) => {
  const token = num(cellOf("wte.weight", "value", contents.tokens[r], c)), there = hasPositions();
  return { formula: [sub("row", "t", "c"), "=", sub("wte", sub("token", "t"), "c"), there ? ["+", sub("wpe", "t", "c")] : null],
    numbers: there ? plus(token, num(positionsTable()[r * config.n_embd + c])) : token,
    sources: [from("wte.weight", contents.tokens[r], c), ...(there ? [from("wpe.weight", r, c)] : [])] };
});
const isRms = () => config.norm === "rmsnorm";

rule(/\.?ln_\w+\.mean$/, ({ name, r, c }) => {
  const x = streamBefore(name), t = r + c;  // a vector is drawn as one row
  return { formula: [sub("mean", "t"), "=", fraction("1", "C"), sumOver("c", sub("x", "t", "c"))],
    numbers: over(total(Array.from(rowOf_(x, "value", t), num)), num(config.n_embd)), sources: [from(x, t, null)] };
});
rule(/\.?ln_\w+\.rstd$/, ({ name, r, c }) => {
  const x = streamBefore(name), t = r + c, mean = isRms() ? 0 : entryOf(name.replace("rstd", "mean"), t), row_ = rowOf_(x, "value", t);
  const squares = Array.from(row_, y => num((y - mean) ** 2)), deviation = isRms() ? sub("x", "t", "c") : brackets(sub("x", "t", "c"), "−", sub("mean", "t"));
  return { formula: [sub("rstd", "t"), "=", fraction("1", root(row(fraction("1", "C"), sumOver("c", power(deviation, "2")), "+", "ε")))],
    numbers: over(num(1), rootOf(plus(over(total(squares), num(config.n_embd)), num(config.norm_eps)))), sources: [from(x, t, null)] };
});
rule(/ln_\w+\.xhat$/, ({ name, r, c }) => {
  const x = streamBefore(name), n = name.replace(".xhat", "");
  if (isRms()) return { formula: [sub("x̂", "t", "c"), "=", sub("x", "t", "c"), "·", sub("rstd", "t")], numbers: times(num(cellOf(x, "value", r, c)), num(entryOf(`${n}.rstd`, r))), sources: [from(x, r, null)] };
  return { formula: [sub("x̂", "t", "c"), "=", brackets(sub("x", "t", "c"), "−", sub("mean", "t")), "·", sub("rstd", "t")],
    numbers: times(inside(minus(num(cellOf(x, "value", r, c)), num(entryOf(`${n}.mean`, r)))), num(entryOf(`${n}.rstd`, r))), sources: [from(x, r, null)] };
});
rule(/ln_\w+\.out$/, ({ name, r, c }) => {
  const n = name.replace(".out", ""), bias = has(`${n}.bias`);
  const scaled = times(num(cellOf(`${n}.xhat`, "value", r, c)), num(entryOf(`${n}.weight`, c)));
  return { formula: [sub("out", "t", "c"), "=", sub("x̂", "t", "c"), "·", sub("weight", "c"), bias ? ["+", sub("bias", "c")] : null],
    numbers: bias ? plus(scaled, num(entryOf(`${n}.bias`, c))) : scaled, sources: [from(`${n}.xhat`, r, c), from(`${n}.weight`, 0, c)] };
});

// A linear layer: `x` times a column of `layer`'s weight, plus its bias.
function linearRule(x, layer, r, o, symbols) {
  const bias = has(`${layer}.bias`), [out, input] = symbols;
  const products = dot(rowOf_(x, "value", r), columnOf(`${layer}.weight`, "value", o));
  return { formula: [sub(out, "t", "o"), "=", sumOver("i", sub(input, "t", "i"), "·", sub("W", "i", "o")), bias ? ["+", sub("bias", "o")] : null],
    numbers: bias ? plus(products, num(entryOf(`${layer}.bias`, o))) : products,
    sources: [from(x, r, null), from(`${layer}.weight`, null, o)] };
}
rule(/\.attn\.qkv$/, ({ b, r, c }) => linearRule(`${b}.ln_1.out`, `${b}.attn.c_attn`, r, c, ["qkv", "norm"]));
rule(/\.attn\.proj$/, ({ b, r, c }) => off_("attention", b) || linearRule(`${b}.attn.out`, `${b}.attn.c_proj`, r, c, ["branch", "heads"]));
rule(/\.mlp\.fc$/, ({ b, r, c }) => linearRule(`${b}.ln_2.out`, `${b}.mlp.c_fc`, r, c, ["fc", "norm"]));
rule(/\.mlp\.proj$/, ({ b, r, c }) => off_("mlp", b) || linearRule(`${b}.mlp.act`, `${b}.mlp.c_proj`, r, c, ["branch", "act"]));
function off_(kind, b, which) {
  return isOff(kind, Number(b.slice(2)), which) ? { formula: ["out", "=", "0"], numbers: num(0), sources: [], note: "You switched this off." } : null;
}

rule(/\.attn\.scores$/, ({ b, r, c, head }) => ({
  formula: [sub("s", "q", "k"), "=", fraction(sumOver("d", sub("Q", "q", "d"), "·", sub("K", "k", "d")), root("D"))],
  numbers: over(dot(rowOf_(`${b}.attn.query`, "value", r, head), rowOf_(`${b}.attn.key`, "value", c, head)), rootOf(num(config.head_size))),
  sources: [from(`${b}.attn.query`, r, null, { head }), from(`${b}.attn.key`, c, null, { head })],
  note: c > r ? "This key comes after the query: the mask will hide the score." : "" }));
rule(/\.attn\.probabilities$/, ({ b, r, c, head }) => {
  if (c > r) return { formula: [sub("p", "q", "k"), "=", "0"], numbers: num(0), sources: [], note: "Masked: a query never sees a later key." };
  const s = Array.from(rowOf_(`${b}.attn.scores`, "value", r, head)).slice(0, r + 1);
  return softmaxRule(s, c, ["p", "s", "q", "k"], [from(`${b}.attn.scores`, r, null, { head })]);
});
function softmaxRule(scores, k, [p, s, q, index], sources) {
  // e to the power of a large number overflows; a common number taken from all changes nothing.
  const largest = Math.max(...scores), shift = largest > 300 ? largest : 0, shifted = x => expOf(num(x - shift));
  return { formula: [sub(p, q, index), "=", fraction(power("e", sub(s, q, index)), sumOver("j", power("e", sub(s, q, "j"))))],
    numbers: over(shifted(scores[k]), total(Array.from(scores, shifted))), sources };
}
rule(/\.attn\.(heads|out)$/, ({ name, b, r, c, head }) => {
  const D = config.head_size, h = name.endsWith("out") ? Math.floor(c / D) : head, d = name.endsWith("out") ? c % D : c;
  const seen = r + 1;
  return off_("heads", b, h) || {
    formula: [sub("out", "q", "d"), "=", sumOver("k", sub("p", "q", "k"), "·", sub("V", "k", "d"))],
    numbers: dot(rowOf_(`${b}.attn.probabilities`, "value", r, h).slice(0, seen), columnOf(`${b}.attn.value`, "value", d, h).slice(0, seen)),
    sources: [from(`${b}.attn.probabilities`, r, null, { head: h }), from(`${b}.attn.value`, null, d, { head: h })] };
});
rule(/\.resid_(mid|post)$/, ({ name, b, r, c }) => {
  const x = name.endsWith("mid") ? streamBefore(`${b}.attn`) : `${b}.resid_mid`, branch = `${b}.${name.endsWith("mid") ? "attn" : "mlp"}.proj`;
  return { formula: [sub("out", "t", "c"), "=", sub("x", "t", "c"), "+", sub("branch", "t", "c")],
    numbers: plus(num(cellOf(x, "value", r, c)), num(cellOf(branch, "value", r, c))), sources: [from(x, r, c), from(branch, r, c)] };
});
function gateRule(b, r, c) {
  const F = config.n_hidden, a = num(cellOf(`${b}.mlp.fc`, "value", r, c)), value = num(cellOf(`${b}.mlp.fc`, "value", r, F + c));
  return { formula: [sub("act", "t", "f"), "=", sub("a", "t", "f"), "·", "σ", brackets(sub("a", "t", "f")), "·", sub("b", "t", "f")],
    numbers: times(times(a, named_(sigmoid, "σ", a)), value), sources: [from(`${b}.mlp.fc`, r, c), from(`${b}.mlp.fc`, r, F + c)], note: `Neuron ${c} has a gate a, channel ${c}, and a value b, channel ${F + c}.` };
}
rule(/\.mlp\.act$/, ({ b, r, c }) => off_("neurons", b, c) || (config.activation === "swiglu" ? gateRule(b, r, c) : null) || {
  formula: [sub("act", "t", "f"), "=", ACTIVATION_NAMES[config.activation], brackets(sub("fc", "t", "f"))],
  numbers: named_(ACTIVATIONS[config.activation].f, ACTIVATION_NAMES[config.activation], num(cellOf(`${b}.mlp.fc`, "value", r, c))), sources: [from(`${b}.mlp.fc`, r, c)] });
const ACTIVATION_NAMES = { gelu: "GELU", gelu_tanh: "GELU", relu: "ReLU", relu2: "ReLU²", swiglu: "SwiGLU" };

function headWeight() { return config.tied ? "wte.weight" : "lm_head.weight"; }
rule(/^logits$/, ({ r, c }) => ({
  formula: [sub("z", "t", "v"), "=", sumOver("c", sub("norm", "t", "c"), "·", sub("W", "v", "c"))],
  numbers: dot(rowOf_("ln_f.out", "value", r), rowOf_(headWeight(), "value", c)),
  sources: [from("ln_f.out", r, null), from(headWeight(), c, null)] }));
// The logits as softmax reads them: bounded by cap tanh(z / cap), where the model has a soft cap.
function cappedRow(t) { return Array.from(rowOf_("logits", "value", t), z => capOf(z)); }
function capOf(z) { const cap = config.logit_softcap; return cap ? cap * Math.tanh(z / cap) : z; }
function capNote() { return config.logit_softcap ? `The logits are bounded first: ${number(config.logit_softcap)} tanh(z / ${number(config.logit_softcap)}).` : ""; }
rule(/^probabilities$/, ({ r, c }) => ({ ...softmaxRule(cappedRow(r), c, ["P", "z", "t", "v"], [from("logits", r, null)]), note: capNote() }));
rule(/^lse$/, ({ r, c }) => ({ formula: [sub("lse", "t"), "=", "log", sumOver("v", power("e", sub("z", "t", "v")))],
  numbers: logOf(total(cappedRow(r + c).map(z => expOf(num(z))))), sources: [from("logits", r + c, null)], note: capNote() }));
rule(/^losses$/, ({ r, c }) => {
  const t = r + c, y = contents.targets[t];
  if (y < 0) return { formula: [sub("loss", "t"), "=", "0"], numbers: num(0), sources: [], note: "The text ends here: there is no next token to predict." };
  return { formula: [sub("loss", "t"), "=", "−", "log", sub("P", "t", "y"), "=", sub("lse", "t"), "−", sub("z", "t", "y")],
    numbers: minus(num(entryOf("lse", t)), num(capOf(cellOf("logits", "value", t, y)))), sources: [from("logits", t, y), from("probabilities", t, y)], note: capNote() };
});
