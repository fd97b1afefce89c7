// What a block does in addition to attention: residual stream, layer norm, MLP; then the head, and
// the prediction after each layer.

VIEWS.layers = { title: "Layers", draw: drawLayers };
const SECTIONS = { stream: ["Residual stream", drawStream], norm: [isRms() ? "RMSNorm" : "Layer norm", drawNorm], mlp: ["MLP", drawMlp], head: ["Output head and logit lens", drawHead] };
state.section = "stream";
state.norm = "ln_1";

function drawLayers() {
  const part = el("div", { class: "bar", role: "group", "aria-label": "Part" }, Object.entries(SECTIONS).map(([name, [title]]) =>
    el("button", { type: "button", class: "button", "aria-pressed": state.section === name ? "true" : "false", "data-key": `section-${name}`,
      style: state.section === name ? { borderColor: "var(--accent)", color: "var(--accent)" } : {}, onclick: () => change({ section: name }) }, title)));
  return [
    el("h2", {}, `Residual stream, ${isRms() ? "RMSNorm" : "layer norm"}, MLP, head`),
    el("p", {}, "The stream carries the vector of each token from the embedding to the head; every later block sees what a block has added."),
    part, tokenStrip(), ...SECTIONS[state.section][1](),
  ];
}

function drawStream() {
  const block = `h.${state.block}`, t = state.position;
  const before = state.block ? `h.${state.block - 1}.resid_post` : "embedding.out";
  const names = ["embedding.out", ...Array.from({ length: config.n_layer }, (_, i) => [`h.${i}.resid_mid`, `h.${i}.resid_post`]).flat()];
  const length = name => lengthAt(name, t);
  const rows = [["before the block", before], ["what attention adds", `${block}.attn.proj`], ["after attention", `${block}.resid_mid`], ["what the MLP adds", `${block}.mlp.proj`], ["after the block", `${block}.resid_post`]];
  const largest = Math.max(...rows.map(([, name]) => largestOf(valueOf(name))));
  const pulled = ["attn.proj", "mlp.proj"].map(part => length(`${block}.${part}`));
  return [
    el("div", { class: "bar" }, chooseBlock()),
    el("div", { class: "grid" },
      figure(`The vector of ${tokenAt(t)} in block ${state.block}`, `Attention adds a vector of length ${number(pulled[0])}, the MLP one of ${number(pulled[1])}, to a stream of length ${number(length(before))}.`, { size: "half", formula: "out = x + branch(x)" },
        el("div", { class: "flow" }, rows.map(([title, name]) => [el("h4", {}, title), heatmap(oneRow(valueOf(name), t), { height: 22, largest, plain: name !== rows[4][1], label: title, key: `stream-${name}`,
          describe: (row, col, x) => `${title}, channel ${channel(col, valueOf(name))}: ${number(x)}` })]))),
      figure("Length of the vector after each sublayer", `From the embedding to the head, the vector of ${quoted(t)} goes from length ${number(length(names[0]))} to ${number(length(names[names.length - 1]))}; the dashed line is the mean over the text.`, { size: "half" },
        lineChart([
          { name: `vector of ${tokenAt(t)}`, colour: line(0), dots: true, points: names.map((name, k) => [k, length(name)]) },
          { name: "mean over the text", colour: line(1), dash: "5 4", points: names.map((name, k) => [k, lengthOf(name)]) },
        ], { label: "Length of the vector after each sublayer", xLabel: "sublayer", half: true })),
      ...rows.slice(1).map(([title, name]) => figure(`${title[0].toUpperCase()}${title.slice(1)}`, sentenceOf(name), { size: "half" }, textMap(name, title)))),
  ];
}

function textMap(name, what) { const m = valueOf(name); return heatmap(m, ofText(what, m, { of: { name, which: "value" } })); }

function sentenceOf(name) {
  const { mean, spread, norm } = contents.arrays[name].numbers;
  return `${name}: ${shapeOf(name).join(" × ")} numbers, mean ${number(mean)}, spread ${number(spread)}, norm ${number(norm)}.`;
}

function drawNorm() {
  const last = state.norm === "ln_f", norm = last ? "ln_f" : `h.${state.block}.${state.norm}`, t = state.position;
  const before = last ? `h.${config.n_layer - 1}.resid_post` : state.norm === "ln_2" ? `h.${state.block}.resid_mid` : state.block ? `h.${state.block - 1}.resid_post` : "embedding.out";
  const kinds = ["ln_1", "ln_2", "ln_f"], lines = contents.arrays[`${norm}.out`].forward.concat(contents.arrays[`${norm}.xhat`].forward);
  const centred = config.norm === "layernorm", mean = centred ? valueOf(`${norm}.mean`).data[t] : 0, rstd = valueOf(`${norm}.rstd`).data[t], w = valueOf(`${norm}.weight`);
  const row = (title, name, sentence) => figure(title, sentence, { size: "half" }, textMap(name, title));
  const [least, most] = contents.arrays[`${norm}.weight`].range;
  return [
    el("div", { class: "bar" }, chooser(centred ? "layer norm" : "RMSNorm", 3, kinds.indexOf(state.norm), "norm", k => change({ norm: kinds[k] }), k => ["before attention (ln_1)", "before the MLP (ln_2)", "before the head (ln_f)"][k]), last ? null : chooseBlock()),
    el("div", { class: "grid" },
      row("Input", before, `The vector of ${quoted(t)} ${centred ? `has mean ${number(mean)} and ` : ""}is divided by ${number(1 / rstd)}, the root of its ${centred ? "variance" : "mean square"} + eps.`),
      figure("Normalised", `Every row now has ${centred ? "mean 0 and variance 1" : "mean square 1"}, less a trace: eps = ${config.norm_eps} is added to the ${centred ? "variance" : "mean square"} that it is divided by.`, { size: "half", formula: lines[1] }, textMap(`${norm}.xhat`, "normalised")),
      figure("Weight", `One learned factor for each channel, initially 1; now they lie between ${number(least)} and ${number(most)}.`, {},
        heatmap(w, { height: 26, label: "weight of the norm", describe: (r, col, x) => `weight of channel ${channel(col, w)}: ${number(x)}` })),
      figure("Output", `Normalised, scaled${config.bias && centred ? " and shifted" : ""}, channel by channel: the sublayer reads ${norm}.out.`, { formula: lines[0] }, textMap(`${norm}.out`, "output"))),
  ];
}

function drawMlp() {
  const mlp = `h.${state.block}.mlp`, t = state.position;
  // Of SwiGLU's two channels for each neuron the first is its gate.
  const gated = config.activation === "swiglu", all = rowOf(valueOf(`${mlp}.fc`), t), fc = gated ? all.subarray(0, all.length / 2) : all, neurons = contents.neurons[state.block], best = neurons.best[t], values = matrixOf(neurons.values);
  const after = rowOf(neurons.after ? matrixOf(neurons.after) : valueOf(`${mlp}.act`), t);
  return [
    el("div", { class: "bar" }, chooseBlock()),
    el("div", { class: "grid" },
      figure("Neurons before the nonlinearity", `Each of the ${config.n_hidden} neurons computes a weighted sum of the ${config.n_embd} channels; the nonlinearity suppresses negative (blue) ones.`, { size: "half", formula: contents.arrays[`${mlp}.fc`].forward[0] }, textMap(`${mlp}.fc`, "before")),
      figure("Neurons after it", `For ${quoted(t)}, ${neurons.active[t]} of ${config.n_hidden} neurons are active, above 0.05.`, { size: "half", formula: contents.arrays[`${mlp}.act`].forward[0] }, textMap(`${mlp}.act`, "after")),
      config.activation === "swiglu" ? null : figure("The nonlinearity at work", `Each dot is a neuron at ${quoted(t)}${about.group > 1 ? ", of each group the one with the largest number before" : ""}: its value before (horizontal) and after (vertical); below zero hardly anything is left.`, { size: "half" }, curve(fc, after)),
      figure("The most active neurons", `Neuron ${best[0]} is the most active at ${quoted(t)}, with ${number(at(values, t, 0))}.`, { size: "half" },
        bars(best.map((neuron, k) => ({ label: el("span", {}, `neuron ${neuron}`), size: at(values, t, k), text: number(at(values, t, k)) })))),
      figure("What the MLP adds", sentenceOf(`${mlp}.proj`), {}, textMap(`${mlp}.proj`, "what the MLP adds"))),
  ];
}

// Dots on the curve of the activation function.
function curve(before, after) {
  const [x0, x1] = extent(Array.from(before)), [y0, y1] = extent(Array.from(after));
  const margin = (low, high) => (high - low) * 0.05 || 1;
  WIDE = Math.round(chartWidth(true));
  const s = scales([{ points: [[x0 - margin(x0, x1), y0 - margin(y0, y1)], [x1 + margin(x0, x1), y1 + margin(y0, y1)]] }], {});
  const drawing = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, role: "img", "aria-label": "Neurons before and after the nonlinearity" });
  axes(drawing, { ...s, x0: NaN }, {});
  for (const x of ticks(s.x0, s.x1, 6)) drawing.append(svg("text", { x: s.x(x), y: HIGH - 10, "text-anchor": "middle", class: "soft" }, tick(x)));
  before.forEach((x, k) => drawing.append(svg("circle", { cx: s.x(x), cy: s.y(after[k]), r: 3, fill: named("--accent"), opacity: 0.45 })));
  return drawing;
}

function drawHead() {
  const t = state.position, right = matrixOfLens("right");
  const known = hasTarget(t), first = right.lines.findIndex((line, k) => contents.lens[k].tokens[t][0] === contents.targets[t]);
  return [
    el("div", { class: "grid" },
      figure("The prediction after each layer", !known ? `If the head read the stream here: what the model would write after ${quoted(t)}, after each layer.` : first < 0
        ? `If the head read the stream here: after ${quoted(t)} no layer ranks the next token, “${targetAt(t)}”, first.`
        : `If the head read the stream here: after ${quoted(t)} the next token, “${targetAt(t)}”, ranks first ${contents.lens[first].place === "embedding.out" ? "from the embedding on" : `after ${contents.lens[first].place}`}.`,
        { size: "half" }, lensTable(t)),
      figure("The distribution after the last layer", `Softmax over ${config.vocab_size} logits, the most likely token first${known ? "; the green frame marks the actual next token" : ""}.`, { size: "half", formula: contents.arrays.lse.forward[0] }, nextTokens(t, 12)),
      figure("When the next token becomes likely", `Rows are points of the stream: e is the embedding, 0A after the attention of block 0, 0M after its MLP. A strong colour means that the actual next token is already likely there.`, {},
        heatmap(right, { kind: "sequential", largest: 1, height: 22, rowNames: contents.lens.map(({ place }) => place.replace("embedding.out", "e").replace("h.", "").replace(".resid_mid", "A").replace(".resid_post", "M")), colNames: rowNames, label: "probability of the right token", pick: (row, col) => change({ position: col }),
          describe: (row, col, x) => `after ${contents.lens[row].place}, ${quoted(col)}: ${hasTarget(col) ? `the next token “${targetAt(col)}” has ${percent(x)}; the` : "the"} most likely is “${nameOf(contents.lens[row].tokens[col][0])}”` })),
      contents.arrays.logits.value ? figure("Logits", `One number for each token of the vocabulary, at each position; the largest is ${number(largestOf(valueOf("logits")))} in magnitude.`, {},
        heatmap(valueOf("logits"), { ...ofText("logits", valueOf("logits"), { of: { name: "logits", which: "value" } }), describe: (row, col, x) => `${quoted(row)}: logit of “${nameOf(col)}” ${number(x)}` })) : null),
  ];
}

function known_(t, p) { return hasTarget(t) ? percent(p) : "–"; }
function matrixOfLens(which) {
  const lines = contents.lens.map(layer => numbersOf(layer[which]));
  return { rows: lines.length, cols: T, data: Float64Array.from(lines.flatMap(line => Array.from(line))), group: [1, 1], lines };
}

function lensTable(t) {
  return el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, ["after", "most likely next tokens", "actual next token"].map((name, k) => el("th", { scope: "col", class: k === 2 ? "number" : "" }, name)))),
    el("tbody", {}, contents.lens.map(layer => {
      const p = matrixOf(layer.probabilities);
      return el("tr", {}, el("td", {}, el("code", {}, layer.place)),
        el("td", {}, layer.tokens[t].slice(0, 3).map((token, k) => [tokenBox(nameOf(token)), ` ${percent(at(p, t, k))} `])),
        el("td", { class: "number" }, known_(t, numbersOf(layer.right)[t])));
    }))));
}
