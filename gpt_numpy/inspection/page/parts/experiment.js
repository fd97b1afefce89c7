// What the reader has changed: the text, what is switched off, the steps downhill.

const experiment = {
  original: null,  // the tokens that the page was made with
  tokens: [],
  beyond: -1,  // the target of the last token
  off: { heads: {}, neurons: {}, attention: [], mlp: [] },
  rate: -2, steps: [],  // the power of ten; of each step downhill { rate, loss } after it
  settings: { temperature: 1, topK: 0, topP: 1 },
  baseline: null,  // loss and losses of this text with nothing switched off
  writing: false,
  checkpoint: null,  // the iteration of an earlier one; null: the model of the file
  seenLosses: new Map(),  // of this text at the checkpoints that were chosen
  leftOut: [],  // characters that the reader typed and the model does not know
  moved: false,  // another text: its last token is to be chosen once its pass is there
  settle(loss, losses) {
    if (isAnythingOff()) return;
    experiment.baseline = { loss, losses: Float64Array.from(losses) };
    if (!experiment.steps.length) experiment.seenLosses.set(experiment.checkpoint, loss);
  },
};

if (contents.live) {
  // The page was made with all tokens but the last as input: here the last one is read, too.
  const all = [...contents.tokens, contents.targets[contents.targets.length - 1]], fits = all.length <= config.block_size;
  experiment.tokens = fits ? all : all.slice(0, -1);
  experiment.beyond = fits ? -1 : all[all.length - 1];
  experiment.original = experiment.tokens.slice();
  experiment.settings.known = contents.live.characters ? contents.live.characters.length : config.vocab_size;
}

function partsOff() {
  const { heads, neurons, attention, mlp } = experiment.off;
  return attention.length + mlp.length + Object.values(heads).flat().length + Object.values(neurons).flat().length;
}
function isAnythingOff() { return partsOff() > 0; }
function isOriginalText() { return experiment.tokens.length === experiment.original.length && experiment.tokens.every((token, k) => token === experiment.original[k]); }
// Text and model are those of which Python checked the gradients.
function isUntouched() { return !contents.live || (isOriginalText() && !isAnythingOff() && !experiment.steps.length && experiment.checkpoint === null); }

// Read another text: at most block_size tokens, of which the last ones count.
function setTokens(tokens) {
  experiment.tokens = tokens.slice(-config.block_size);
  experiment.beyond = isOriginalText() ? experiment.beyond : -1;
  experiment.baseline = null;
  experiment.seenLosses.clear();
  experiment.moved = true;
  rememberState();
  recompute();
}
// Write a token after the chosen one; what followed there is dropped.
function writeToken(token) { experiment.leftOut = []; setTokens([...experiment.tokens.slice(0, state.position + 1), token]); }

// Switch something off or on again: kind is heads, neurons (each of a block), attention or mlp.
function toggle(kind, block, which) {
  const { off } = experiment, list = which === undefined ? off[kind] : off[kind][block] || (off[kind][block] = []);
  const what = which === undefined ? block : which, place = list.indexOf(what);
  if (place < 0) list.push(what); else list.splice(place, 1);
  rememberState();
  drawSoon();
  recompute();
}
function isOff(kind, block, which) {
  const list = which === undefined ? experiment.off[kind] : experiment.off[kind][block] || [];
  return list.includes(which === undefined ? block : which);
}
function switchAllOn() {
  experiment.off = { heads: {}, neurons: {}, attention: [], mlp: [] };
  rememberState();
  drawSoon();
  recompute();
}
// "h0.1 n1.5 a2 m0": what is off, for the address.
function offAsText() {
  const { heads, neurons, attention, mlp } = experiment.off;
  const of = (letter, table) => Object.entries(table).flatMap(([block, list]) => list.map(k => `${letter}${block}.${k}`));
  return [...of("h", heads), ...of("n", neurons), ...attention.map(i => `a${i}`), ...mlp.map(i => `m${i}`)].join(" ");
}
function offFromText(text) {
  const off = { heads: {}, neurons: {}, attention: [], mlp: [] }, L = config.n_layer;
  for (const [, letter, block, which] of text.matchAll(/([hnam])(\d+)(?:\.(\d+))?(?= |$)/g)) {
    const i = Number(block), k = Number(which);
    if (i >= L) continue;
    if (letter === "h" && k < config.n_head) (off.heads[i] = off.heads[i] || []).push(k);
    if (letter === "n" && k < config.n_hidden) (off.neurons[i] = off.neurons[i] || []).push(k);
    if (letter === "a" || letter === "m") off[letter === "a" ? "attention" : "mlp"].push(i);
  }
  return off;
}

async function writeMore(count) {
  if (experiment.writing) { experiment.writing = false; return; }
  experiment.writing = true;
  drawPrompt();
  drawSoon();
  const seed = Math.floor(Math.random() * 2 ** 31);
  for (let k = 0; k < count && experiment.writing; k++) {
    let next = null;
    await ask("write", { tokens: experiment.tokens, count: 1, settings: experiment.settings, seed: seed + 7919 * k }, ({ token }) => { next = token; });
    experiment.tokens = [...experiment.tokens, next].slice(-config.block_size);
    experiment.beyond = -1;
    drawPrompt();
  }
  experiment.writing = false;
  setTokens(experiment.tokens);
}

// One step of gradient descent on this text, the same for all parameters.
async function stepDownhill(rate) {
  const { before, after } = await ask("descend", { rate, tokens: experiment.tokens, targets: targetsOf(experiment.tokens), off: experiment.off });
  if (!experiment.steps.length) experiment.steps.push({ rate: 0, loss: before });
  experiment.steps.push({ rate, loss: after });
  experiment.baseline = null;
  await recompute();
}
// The model as it was at an earlier checkpoint.
async function chooseCheckpoint(checkpoint) {
  experiment.checkpoint = checkpoint;
  experiment.steps = [];
  experiment.baseline = null;
  rememberState();
  await loadModel(checkpoint);
  await recompute();
}
async function backToStart() {
  await ask("reset", {});
  experiment.steps = [];
  experiment.baseline = null;
  await recompute();
}
