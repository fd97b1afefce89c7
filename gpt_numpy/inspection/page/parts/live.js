// The page computes: a worker runs the twin of the reference, and what it answers takes the place of
// recorded arrays, so that every view draws it.

const running = { worker: null, asked: 0, waiting: new Map(), busy: false, again: false, forward: false, backward: false, failed: "" };
let modelParams = {}, modelGrads = {}, wholeNorm = 0;  // of all gradients together

function startWorker() {
  const { source } = JSON.parse(document.getElementById("twin").textContent);
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  running.worker = new Worker(address);
  URL.revokeObjectURL(address);
  running.worker.onmessage = ({ data }) => {
    const question = running.waiting.get(data.id);
    if (!question) return;
    if (data.part === "done" || data.part === "failed") running.waiting.delete(data.id);
    if (data.part === "done") question.done(data);
    else if (data.part === "failed") question.fail(new Error(data.why));
    else question.part(data);
  };
  running.worker.addEventListener("error", event => fail(event.message || "the browser does not start it"));
}

// A question to the worker; `part` is called with what it answers before it is done.
function ask(kind, what, part = () => {}) {
  const id = ++running.asked;
  return new Promise((done, failed) => {
    running.waiting.set(id, { done, part, fail: failed });
    running.worker.postMessage({ id, kind, ...what });
  });
}
function fail(why) {
  running.failed = `The page cannot compute: ${why}`;
  drawPrompt();
  draw();
}

// Make the model in the worker, then run the first pass.
async function startLive() {
  try {
    startWorker();
    await loadModel(experiment.checkpoint);
    await recompute();
  } catch (error) { fail(error.message); }
}

// The model of the file, or as it was at an earlier checkpoint.
async function loadModel(checkpoint) {
  const { table, numbers, earlier } = contents.live;
  const text = checkpoint === null ? numbers : earlier.find(({ iteration }) => iteration === checkpoint).numbers;
  const { all } = await ask("load", { config, table, text });
  let start = 0;
  for (const [name, shape] of table) {
    const size = shape.reduce((a, b) => a * b, 1);
    modelParams[name] = all.subarray(start, start + size);
    start += size;
  }
}

// Both passes over the text as it is now. While one runs, a second request waits, and only the last
// one counts.
async function recompute() {
  if (running.busy) { running.again = true; return; }
  running.busy = true;
  const asked = { tokens: experiment.tokens.slice(), targets: targetsOf(experiment.tokens), off: experiment.off };
  try {
    const answer = await ask("pass", asked, forward => { if (!running.again) adoptForward(asked, forward); });
    if (!running.again) adoptBackward(answer);
    if (!running.again && isAnythingOff() && !experiment.baseline) await compareWithAllOn(asked);
  } catch (error) { fail(error.message); }
  running.busy = false;
  if (running.again) { running.again = false; await recompute(); }
}
// The loss with nothing switched off, where the page was opened with something off.
async function compareWithAllOn({ tokens, targets }) {
  experiment.baseline = await ask("loss", { tokens, targets, off: { heads: {}, neurons: {}, attention: [], mlp: [] } });
  drawSoon();
}
// Each token's target is the next one; of the last it is known if the page was made with one more.
function targetsOf(tokens) { return [...tokens.slice(1), experiment.beyond]; }

function adoptForward({ tokens, targets }, { values, loss, lens }) {
  Object.assign(running, { forward: true, backward: false });
  Object.assign(contents, { tokens, targets, lens });
  T = tokens.length;
  rowNames = tokens.map(nameOf);
  about.loss = loss;
  unpacked.clear();
  decoded = new Map();
  computed.value = values;
  computed.grad = {};
  modelGrads = {};  // those of the last pass do not belong to this one
  for (const [name, entry] of Object.entries(contents.arrays)) liveEntry(name, entry);
  contents.next = liveNext();
  contents.embedding = liveEmbedding();
  contents.neurons = Array.from({ length: config.n_layer });
  contents.neurons.forEach((_, i) => {
    let found = null;  // on first use: few views show them
    Object.defineProperty(contents.neurons, i, { get: () => found || (found = liveNeurons(i)) });
  });
  for (const layer of contents.lens) Object.assign(layer, { probabilities: { shape: [T, layer.tokens[0].length], data: layer.probabilities }, right: { shape: [T], data: layer.right } });
  state.position = experiment.moved ? T - 1 : clamp(state.position, T);
  if (experiment.moved) { experiment.moved = false; rememberState(); }
  experiment.settle(loss, values.losses);
  drawSoon();
}

function adoptBackward({ gradients, parameters, grads, norm }) {
  Object.assign(running, { backward: true });
  if (parameters) modelParams = parameters;
  [modelGrads, wholeNorm] = [grads, norm];
  // The twin weights every loss alike; where the text ends there is none.
  contents.targets.forEach((target, t) => { if (target < 0) gradients.losses[t] = 0; });
  computed.grad = gradients;
  unpacked.clear();
  contents.next = liveNext(contents.next.tokens);
  drawSoon();
}

// What the worker computed, by name.
const computed = { value: {}, grad: {} };
function liveArray(name, which) {
  const data = contents.arrays[name].kind === "parameter" ? (which === "value" ? modelParams : modelGrads)[name] : computed[which][name];
  return data ? { shape: liveShape(name, data.length), data } : null;
}
function liveShape(name, size) {
  const { kind, shape } = contents.arrays[name];
  if (kind === "parameter") return shape;
  if (shape.length === 1) return [T];
  return shape.length === 3 ? [shape[0], T, T] : name.endsWith(".lse") && name !== "lse" ? [config.n_head, T] : [T, size / T];
}

// Value, gradient and statistics of an entry follow from what was computed last.
function liveEntry(name, entry) {
  if (entry.live) return;
  entry.live = true;
  entry.python = { norm: entry.grad_numbers && entry.grad_numbers.norm, probe: entry.probe, remarks: entry.remarks, update: entry.update };
  const part = ["query", "key", "value", "heads"].includes(name.split(".").pop()) && name.includes(".attn.");
  const define = (key, get) => Object.defineProperty(entry, key, { get, configurable: true });
  const whole = which => part ? partOf(name, which) : liveArray(name, which);
  if (!part) { define("value", () => liveArray(name, "value")); define("grad", () => liveArray(name, "grad")); }
  define("numbers", () => statistics(whole("value")));
  define("grad_numbers", () => { const x = whole("grad"); return x && statistics(x); });
  define("lengths", () => lengthsOf(whole("value")));
  define("remarks", () => isUntouched() ? entry.python.remarks : []);
  define("update", () => isUntouched() ? entry.python.update : null);
  if (entry.kind === "parameter") define("range", () => extent(Array.from(modelParams[name])));
}
function partOf(name, which) { return tensor(name, which); }
// What a function says of an array of a pass, which never changes: it is asked again with every scene.
function once(f) {
  const known = new WeakMap();
  return x => { if (!known.has(x.data)) known.set(x.data, f(x)); return known.get(x.data); };
}
function statistics(x) { return x ? statisticsOf(x) : { mean: 0, spread: 0, norm: 0 }; }
const statisticsOf = once(x => {
  const { data } = x;
  let sum = 0, squares = 0, deviations = 0;
  for (let k = 0; k < data.length; k++) { sum += data[k]; squares += data[k] * data[k]; }
  const mean = sum / data.length;
  for (let k = 0; k < data.length; k++) deviations += (data[k] - mean) * (data[k] - mean);
  return { mean, spread: Math.sqrt(deviations / data.length), norm: Math.sqrt(squares) };
});
// The length of each vector along the last axis.
const lengthsOf = once(({ shape, data }) => {
  const width = shape[shape.length - 1], found = new Float64Array(data.length / width);
  for (let k = 0; k < data.length; k++) found[Math.floor(k / width)] += data[k] ** 2;
  return { shape: shape.slice(0, -1), data: found.map(Math.sqrt) };
});

// encoding.py and contents.py: _next, _embedding, _neurons, from the arrays of the page.
function liveNext(ranked = null) {
  const V = config.vocab_size, p = computed.value.probabilities, grad = computed.grad.logits || new Float64Array(T * V), count = Math.min(12, V);
  const best = ranked || contents.tokens.map((_, t) => mostLikely(p.subarray(t * V, (t + 1) * V), count));
  const along = x => ({ shape: [T, count], data: Float64Array.from(best.flatMap((tokens, t) => tokens.map(v => x[t * V + v]))) });
  const right = x => ({ shape: [T], data: Float64Array.from(contents.targets, (v, t) => v < 0 ? NaN : x[t * V + v]) });
  return { tokens: best, probabilities: along(p), gradients: along(grad), right: right(p), right_gradient: right(grad), losses: { shape: [T], data: computed.value.losses } };
}
function positionsTable() { return modelParams["wpe.weight"] || sinusoids(); }
function sinusoids() {
  const C = config.n_embd;
  return Float64Array.from({ length: T * C }, (_, k) => {
    const t = Math.floor(k / C), c = k % C, angle = t / 10000 ** ((c - c % 2) / C);
    return (c % 2 ? Math.cos(angle) : Math.sin(angle)) / Math.sqrt(C);
  });
}
function liveEmbedding() {
  const C = config.n_embd, wte = modelParams["wte.weight"], wpe = hasPositions() ? positionsTable() : null;
  const token = { shape: [T, C], data: new Float64Array(T * C) };
  contents.tokens.forEach((v, t) => token.data.set(wte.subarray(v * C, (v + 1) * C), t * C));
  if (!wpe) return { token, lengths: { token: lengthsOf(token) } };
  const position = { shape: [T, C], data: Float64Array.from(wpe.subarray(0, T * C)) };
  const channels = [...new Set([0, 0.125, 0.3, 0.6].map(share => Math.floor(share * (C - 1))))];
  const values = { shape: [T, channels.length], data: Float64Array.from(contents.tokens.flatMap((_, t) => channels.map(c => wpe[t * C + c]))) };
  return { token, position, lengths: { token: lengthsOf(token), position: lengthsOf(position) }, waves: { channels, values } };
}
const ACTIVE = 0.05;
function liveNeurons(i) {
  const F = config.n_hidden, after = computed.value[`h.${i}.mlp.act`];
  const rows = contents.tokens.map((_, t) => after.subarray(t * F, (t + 1) * F)), best = rows.map(x => mostLikely(x, 8));
  return { active: rows.map(x => x.reduce((n, y) => n + (y > ACTIVE ? 1 : 0), 0)), best, after: null,
    values: { shape: [T, best[0].length], data: Float64Array.from(best.flatMap((list, t) => list.map(f => rows[t][f]))) } };
}

// contents.py: probe. The page's gradient is the one that Python checked if this number is the same.
const probeOf = once(({ shape, data }) => {
  let sum = 0;
  const width = shape[shape.length - 1], below = shape.length > 1 ? shape[shape.length - 2] : 1;
  for (let k = 0; k < data.length; k++) {
    const column = k % width, row = Math.floor(k / width) % below, head = Math.floor(k / width / below);
    if (shape.length < 3 || column <= row) sum += data[k] * Math.cos(column + 991 * row + 991 * 991 * head);
  }
  return sum;
});
// Whether the gradient on the page agrees with the one of which there is a verdict: null if the text
// or the model has been changed since.
function agreement(name) {
  const entry = contents.arrays[name];
  if (!contents.live || !entry.python) return null;
  if (!isUntouched() || !running.backward) return null;
  const x = tensor(name, "grad");
  if (!x || entry.python.probe === null) return null;
  return Math.abs(probeOf(x) - entry.python.probe) / Math.max(entry.python.norm, 1e-30);
}
