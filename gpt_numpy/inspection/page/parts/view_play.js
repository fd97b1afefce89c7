// What one can do with the model: let it write, switch parts off, take a step downhill.

if (contents.live) VIEWS.play = { title: "Play", draw: drawPlay };
const OFF_NAMES = { attention: "attention", mlp: "MLP" };

function drawPlay() {
  const p = distribution(logitsAt(state.position), experiment.settings);
  return [
    el("h2", {}, "Play with the model"),
    el("p", {}, "Everything here runs in this page: the text above is read again, forward and backward, whenever something changes."),
    el("div", { class: "grid" },
      figure(`What comes after ${quoted(state.position)}?`, nextSentence(p), { size: "half" }, candidates(p), samplingControls()),
      el("div", { class: "half grid" },
        figure("One step downhill", "Every number of the model moves a little against its gradient: parameter − learning rate · gradient. Does the loss of this text fall?", {}, downhill()),
        contents.live.earlier.length ? figure("Before and after", checkpointSentence(), {}, checkpoints()) : null),
      figure("Switch something off", switchSentence(), {}, switches(), changeStrip())),
  ];
}

// ---------------------------------------------------------------- what comes next

function logitsAt(t) { const V = config.vocab_size; return computed.value.logits.subarray(t * V, (t + 1) * V).map(capOf); }

function nextSentence(p) {
  const kept = p.filter(x => x > 0).length;
  const last = state.position === T - 1;
  return `${kept} of ${config.vocab_size} tokens may be drawn. ${last ? `${CLICK_ON} one to write it.` : `In the text comes “${targetAt(state.position)}” (green frame). ${CLICK_ON} another to write it instead: the text then ends with it.`}`;
}

function candidates(p) {
  const t = state.position, right = contents.targets[t];
  const share = token => p[token] > 0 ? percent(p[token]) : "0 %";  // the settings leave it out
  const best = mostLikely(p, 12).filter(token => p[token] > 0);
  if (right >= 0 && !best.includes(right)) best.push(right);
  return el("div", { class: "candidates" }, best.map(token => el("button", {
    type: "button", class: token === right ? "right" : "", "data-key": `next-${token}`,
    "aria-label": `write ${nameOf(token)}, probability ${share(token)}`, onclick: () => writeToken(token) },
    el("span", { class: "token" }, nameOf(token)),
    el("span", { class: "track", "aria-hidden": "true" }, el("i", { style: { width: `${100 * p[token]}%` } })),
    el("span", {}, share(token)))));
}

function slider(label, key, low, high, step, value, show, set, words = null) {
  const input = el("input", { type: "range", min: low, max: high, step, value, "data-key": key, "aria-label": label, "aria-valuetext": show(value),
    oninput: ({ target }) => { const x = Number(target.value); target.nextSibling.textContent = show(x); target.setAttribute("aria-valuetext", show(x)); set(x); } });
  // It stays when all is drawn again, or one could not drag it.
  return el("label", { class: "slider", "data-stays": key }, el("span", {}, label), input, el("output", {}, show(value)), words && el("small", { class: "soft" }, words));
}

function samplingControls() {
  const s = experiment.settings, V = s.known;
  const set = values => { Object.assign(s, values); drawSoon(); };
  return el("div", { class: "controls" },
    slider("temperature", "temperature", 0, 2, 0.05, s.temperature, x => x === 0 ? "0: always the most likely" : x.toFixed(2), temperature => set({ temperature }), "The logits are divided by it: below 1 bolder, above 1 more random."),
    slider("top k", "top-k", 0, V, 1, s.topK, x => x === 0 ? "all tokens" : String(x), topK => set({ topK }), "Only so many of the most likely tokens may be drawn."),
    slider("top p", "top-p", 0.05, 1, 0.05, s.topP, x => x.toFixed(2), topP => set({ topP }), "Only the most likely, until their probabilities add up to it."),
    el("div", { class: "bar" },
      el("button", { type: "button", class: "button", "data-key": "write-1", onclick: () => writeMore(1) }, "draw one"),
      el("button", { type: "button", class: "button", "data-key": "write-20", onclick: () => writeMore(20) }, experiment.writing ? "stop" : "write 20 more")));
}

// ---------------------------------------------------------------- one step downhill

function downhill() {
  const { steps } = experiment, rate = () => 10 ** experiment.rate;
  const known = contents.targets.some(v => v >= 0);
  const last = steps.length > 1 ? steps[steps.length - 1].loss - steps[steps.length - 2].loss : null;
  return el("div", {},
    el("div", { class: "controls" }, slider("learning rate", "rate", -4, 1, 0.1, experiment.rate, x => number(10 ** x), x => { experiment.rate = x; })),
    el("div", { class: "bar" },
      el("button", { type: "button", class: "button", "data-key": "step", "aria-disabled": running.backward && known ? null : "true", onclick: () => running.backward && known && stepDownhill(rate()) }, "take the step"),
      el("button", { type: "button", class: "button", "data-key": "reset", disabled: !steps.length, onclick: backToStart }, "back to the model of the file")),
    el("p", { class: "readout", "aria-live": "polite" }, !known ? "There is nothing to predict yet, so there is no gradient." : last === null && !running.backward ? "Backward is being computed …" : last === null
      ? `The gradient of all ${about.parameters.toLocaleString("en")} parameters has norm ${number(wholeNorm)}: a small step of rate r lowers the loss by about r · ${number(wholeNorm ** 2)}.`
      : `The loss ${last < 0 ? "fell" : "rose"} by ${number(Math.abs(last))} to ${number(steps[steps.length - 1].loss)}${last < 0 ? "." : ": the step was too large for how the loss curves."}`),
    steps.length > 1 ? lineChart([{ name: "loss of this text", points: steps.map(({ loss }, k) => [k, loss]), colour: line(0), dots: true }], { label: "Loss after each step", xLabel: "step", half: true }) : null);
}

// ---------------------------------------------------------------- before and after

function allCheckpoints() { return [...contents.live.earlier.map(({ iteration }) => iteration), null]; }
function checkpointInWords(checkpoint) { return checkpoint !== null ? `iteration ${checkpoint}` : about.iteration === null || about.iteration === undefined ? "the model of the file" : `iteration ${about.iteration}, the model of the file`; }
function checkpointSentence() { return `The model as it was earlier in its training: now ${checkpointInWords(experiment.checkpoint)}. Everything on the page is computed with it.`; }
function checkpoints() {
  const all = allCheckpoints(), place = all.indexOf(experiment.checkpoint), seen = all.map((checkpoint, k) => [k, experiment.seenLosses.get(checkpoint)]).filter(([, loss]) => loss !== undefined);
  return el("div", {},
    el("div", { class: "controls" }, slider("checkpoint", "checkpoint", 0, all.length - 1, 1, place, k => String(all[k] === null ? about.iteration || "last" : all[k]), k => chooseCheckpoint(all[k]))),
    bars(seen.map(([k, loss]) => ({ label: checkpointInWords(all[k]).split(",")[0], size: loss, text: number(loss), right: k === place })), Math.log(config.vocab_size)),
    el("p", { class: "small soft" }, "The loss of this text, at the checkpoints that you chose; a full bar is a blind guess."));
}

// ---------------------------------------------------------------- switching parts off

function switchSentence() {
  if (!isAnythingOff()) return "A head, a neuron or a whole sublayer can be silenced: its output becomes zero, and all that follows is computed again. What is it good for?";
  if (!experiment.baseline) return "The loss with these parts switched off.";
  const change = about.loss - experiment.baseline.loss;
  const [now, before] = [about.loss, experiment.baseline.loss].map(number), one = partsOff() === 1, them = one ? "it" : "them";
  if (now === before) return `Without ${them} the loss stays at ${now}: hardly any difference (${number(Math.abs(change))} ${change > 0 ? "higher" : "lower"}).`;
  return `Without ${them} the loss is ${now} instead of ${before}: ${change > 0 ? `${number(change)} higher, the model needs ${them} here` : `${number(-change)} lower, here ${one ? "it does" : "they do"} harm`}.`;
}

function switchButton(kind, block, which, text) {
  const off = isOff(kind, block, which);
  return el("button", { type: "button", class: "part", "aria-pressed": off ? "true" : "false", "data-key": `off-${kind}-${block}-${which}`,
    "aria-label": `${text} of block ${block}, ${off ? "switched off" : "on"}`, onclick: () => toggle(kind, block, which) }, off ? el("s", {}, text) : text);
}

function switches() {
  const blocks = Array.from({ length: config.n_layer }, (_, i) => el("div", { class: "parts" }, el("b", { class: "small" }, `block ${i}`),
    switchButton("attention", i, undefined, "attention"),
    Array.from({ length: config.n_head }, (_, h) => switchButton("heads", i, h, `head ${h}`)),
    switchButton("mlp", i, undefined, "MLP"),
    neuronsOf(i).map(f => switchButton("neurons", i, f, `neuron ${f}`))));
  return el("div", {}, blocks,
    isAnythingOff() ? el("button", { type: "button", class: "button", "data-key": "all-on", onclick: switchAllOn }, "switch all on again") : null);
}
// The neurons to offer: those that are off, and the most active ones at the chosen token.
function neuronsOf(i) {
  const off = experiment.off.neurons[i] || [], F = config.n_hidden, t = state.position;
  return [...new Set([...off, ...mostLikely(computed.value[`h.${i}.mlp.act`].subarray(t * F, (t + 1) * F), 3)])];
}

// Each token in the colour of how its loss changed.
function changeStrip() {
  if (!isAnythingOff() || !experiment.baseline || experiment.baseline.losses.length !== T) return null;
  const now = numbersOf(contents.next.losses), changes = contents.tokens.map((_, t) => t ? now[t - 1] - experiment.baseline.losses[t - 1] : 0);
  const largest = Math.max(...changes.map(Math.abs), 1e-9);
  return el("div", {}, el("p", { class: "small soft" }, "The change of each token’s loss: orange is harder to predict than before, blue easier."),
    el("div", { class: "tokens still" }, contents.tokens.map((token, t) => el("span", { class: "token", title: `loss ${number(changes[t])} ${changes[t] < 0 ? "lower" : "higher"}`, style: { background: css("diverging", changes[t], largest), color: inkOn("diverging", changes[t], largest) } }, nameOf(token)))),
    legend("diverging", largest));
}
