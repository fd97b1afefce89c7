// Queries, keys and values: from the channels of qkv to what attention reads, and back (queries_keys.py).
// QK norm and rotary positions are in between where the model has them; heads may share keys and values.

const isTurned_ = () => config.positions === "rotary";
const isReady_ = () => isTurned_() || config.qk_norm;
// Which head of keys and values serves a query head, and which query heads share that one.
function ownGroup(head) { return Math.floor(head * GROUPS / config.n_head); }
function headsOfGroup(head) { return Array.from({ length: config.n_head }, (_, h) => h).filter(h => ownGroup(h) === ownGroup(head)); }
// The first channel, in a row of qkv, of the queries (part 0), keys (1) or values (2) of a query head.
function firstChannel(part, head) { return config.head_size * (part ? config.n_head + (part - 1) * GROUPS + ownGroup(head) : head); }
// What a channel of qkv is: the part, the first query head that reads it, and the channel in its head.
function placeInQkv(c) {
  const D = config.head_size, H = config.n_head, k = Math.floor(c / D), part = k < H ? 0 : k < H + GROUPS ? 1 : 2;
  return { part, head: part ? (k - H) % GROUPS * H / GROUPS : k, d: c % D };
}
const PARTS_OF_QKV = { query: [0, "Q"], key: [1, "K"], value: [2, "V"] };

// The turn of a pair of channels, d and the other one: at position t by the angle.
function turnOf(t, d) {
  const D = config.head_size, early = d < D / 2;
  return { early, other: early ? d + D / 2 : d - D / 2, angle: t * config.rope_base ** (-2 * (d % (D / 2)) / D) };
}
function normWeight(b, part) { return config.qk_norm && part < 2 ? tensor(`${b}.attn.${"qk"[part]}_norm.weight`, "value").data : null; }
// A head's numbers in qkv at a position, and one over their root mean square.
function numbersOfHead(b, t, first) {
  const x = rowOf_(`${b}.attn.qkv`, "value", t).slice(first, first + config.head_size);
  return { x, rstd: 1 / Math.sqrt(x.reduce((sum, y) => sum + y * y, 0) / x.length + config.norm_eps) };
}

rule(/\.attn\.(query|key|value)$/, ({ name, b, r, c, head }) => {
  const [part, letter] = PARTS_OF_QKV[name.split(".").pop()], channel_ = firstChannel(part, head) + c;
  return isReady_() ? readyRule(b, r, part, head, c, letter) : linearRule(`${b}.ln_1.out`, `${b}.attn.c_attn`, r, channel_, [letter, "norm"]);
});
rule(/\.attn\.ready$/, ({ b, r, c }) => {
  const { part, head, d } = placeInQkv(c);
  return readyRule(b, r, part, head, d, "QKV"[part]);
});

function readyRule(b, t, part, head, d, letter) {
  const name = `${b}.attn.qkv`, first = firstChannel(part, head), { x, rstd } = numbersOfHead(b, t, first), weight = normWeight(b, part);
  if (part === 2) return { formula: [sub("V", "t", "d"), "=", sub("qkv", "t", "d")], numbers: num(x[d]), sources: [from(name, t, first + d)], note: "Values stay as they are." };
  const scaled = k => weight ? times(num(x[k]), num(weight[k])) : num(x[k]), symbol = index => weight ? [sub("x", "t", index), "·", sub("w", index)] : sub("x", "t", index);
  const { early, other, angle } = turnOf(t, d), join = early ? minus : plus;
  const body = isTurned_() ? [symbol("d"), "·", "cos", "θ", early ? "−" : "+", symbol("d±D/2"), "·", "sin", "θ"] : symbol("d");
  const inner = isTurned_() ? join(times(scaled(d), num(Math.cos(angle))), times(scaled(other), num(Math.sin(angle)))) : scaled(d);
  return { formula: [sub(letter, "t", "d"), "=", weight ? [sub("rstd", "t"), "·", "(", body, ")"] : body],
    numbers: weight ? times(num(rstd), inside(inner)) : inner,
    sources: weight ? sourcesOfHead(name, t, first) : [from(name, t, first + d), from(name, t, first + other)],
    note: [weight ? `QK norm: the ${config.head_size} numbers of the head are divided by their root mean square, ${number(1 / rstd)}, and each is scaled by its weight.` : "",
      isTurned_() ? `The pair of channels ${Math.min(d, other)} and ${Math.max(d, other)} turns by θ = ${number(angle)} at position ${t}.` : ""].join(" ").trim() };
}
function sourcesOfHead(name, t, first, which = "value") { return Array.from({ length: config.head_size }, (_, k) => from(name, t, first + k, { which })); }

back(/\.attn\.(qkv|ready)$/, ({ name, b, r, c }) => {
  const { part, head, d } = placeInQkv(c);
  if (isReady_() && name.endsWith("qkv")) return readyBackRule(b, r, part, c - d, d);
  return explain(`${b}.attn.${["query", "key", "value"][part]}`, "grad", head, r, d);
});

// The gradient of what the turn read: turned by the opposite angle.
function turnedBack(b, t, first, d) {
  const g = k => num(gradCell(`${b}.attn.ready`, t, first + k)), { early, other, angle } = turnOf(t, d);
  return isTurned_() ? (early ? plus : minus)(times(g(d), num(Math.cos(angle))), times(g(other), num(Math.sin(angle)))) : g(d);
}
function readyBackRule(b, t, part, first, d) {
  const ready = `${b}.attn.ready`, { early, other, angle } = turnOf(t, d), weight = normWeight(b, part), from_ = k => from(ready, t, first + k, G);
  if (part === 2) return { formula: [grad("qkv", "t", "d"), "=", grad("V", "t", "d")], numbers: num(gradCell(ready, t, first + d)), sources: [from_(d)] };
  const numbers = turnedBack(b, t, first, d), turned = [grad("out", "t", "d"), "·", "cos", "θ", early ? "+" : "−", grad("out", "t", "d±D/2"), "·", "sin", "θ"];
  const note = isTurned_() ? `Turned back by θ = ${number(angle)}.` : "";
  if (!weight) return { formula: [grad("x", "t", "d"), "=", turned], numbers, sources: [from_(d), from_(other)], note };
  const { x, rstd } = numbersOfHead(b, t, first), xhat = x.map(y => y * rstd);
  const along = xhat.reduce((sum, y, k) => sum + y * turnedBack(b, t, first, k).value() * weight[k], 0) / xhat.length;
  return { formula: [grad("x", "t", "d"), "=", sub("rstd", "t"), "·", "(", grad("n", "t", "d"), "·", sub("w", "d"), "−", sub("x̂", "t", "d"), "·", "mean", brackets(grad("n", "t"), "·", "w", "·", sub("x̂", "t")), ")"],
    numbers: times(num(rstd), inside(minus(times(inside(numbers), num(weight[d])), times(num(xhat[d]), num(along))))),
    sources: [...sourcesOfHead(ready, t, first, "grad"), ...sourcesOfHead(`${b}.attn.qkv`, t, first)],
    note: `${note} dn is the gradient of the normalised vector; the part of it along x̂ is removed, since a longer vector has the same norm.`.trim() };
}

// The weight of QK norm: shared by all heads of the text's queries, or keys.
back(/\.attn\.[qk]_norm\.weight$/, ({ name, b, c }) => {
  const part = name.includes("k_norm") ? 1 : 0, heads = part ? GROUPS : config.n_head, terms = [];
  for (let head = 0; head < heads; head++) {
    const first = firstChannel(part, part ? head * config.n_head / GROUPS : head);
    for (let t = 0; t < T; t++) {
      const { x, rstd } = numbersOfHead(b, t, first);
      terms.push(times(num(turnedBack(b, t, first, c).value()), num(x[c] * rstd)));
    }
  }
  return { formula: [grad("w", "d"), "=", sumOver(["t", ",", "h"], grad("n", "t", "h", "d"), "·", sub("x̂", "t", "h", "d"))], numbers: total(terms),
    sources: [from(`${b}.attn.ready`, null, null, G), from(`${b}.attn.qkv`, null, null)], note: `One weight for all ${heads} heads and all positions: their gradients add up.` };
});
