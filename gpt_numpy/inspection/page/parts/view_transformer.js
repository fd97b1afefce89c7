// The whole model as a diagram: the residual stream runs down, every sublayer reads it and adds to
// it. Each box opens the view that shows its inside.

VIEWS.transformer = { title: "Transformer", draw: drawTransformer };

function drawTransformer() {
  const best = contents.next.tokens[state.position][0];
  const p = at(matrixOf(contents.next.probabilities), state.position, 0);
  return [
    el("h2", {}, "The transformer"),
    el("p", {}, `Each token of the text enters at the top as a vector of ${config.n_embd} numbers and flows down the residual stream. Every block reads the stream and adds to it. At the bottom the head turns each vector into a distribution of the next token. ${CLICK_ON} a box to see inside.`),
    el("div", { class: "grid" },
      contents.live ? null : figure("The text", `The model has read ${T} tokens; ${hasTarget(state.position) ? `after ${quoted(state.position)} comes “${targetAt(state.position)}”` : `the text ends with ${quoted(state.position)}`}.`, { size: "third" }, tokenStrip()),
      figure("The model", `The blue line is the residual stream; its width shows the mean length of the vectors, ${streamSentence()}.`, { size: contents.live ? "half" : "third" }, diagram()),
      figure("The next token", `After ${quoted(state.position)} the most likely token is “${nameOf(best)}”, with ${percent(p)}${hasTarget(state.position) ? "; the green frame marks the actual next token" : ""}.`, { size: contents.live ? "half" : "third" },
        nextTokens(state.position),
        el("p", { class: "small soft" }, `${hasTarget(state.position) ? `Its loss there: ${number(numbersOf(contents.next.losses)[state.position])} nats (units of the natural logarithm); the` : "The"} mean over the text is ${number(about.loss)}, that of a uniform guess ${number(about.uniform)}.`))),
    unusual(),
  ];
}

function unusual() {
  const marked = Object.entries(contents.arrays).filter(([, entry]) => entry.remarks.length);
  return el("p", { class: "small" }, marked.length
    ? ["Unusual: ", marked.map(([name, entry], k) => [k ? "; " : "", el("span", { class: "remark" }, `${name}: ${entry.remarks.join(", ")}`)])]
    : "Nothing in this pass is marked as unusual; gpt-numpy inspect --help lists what would be.");
}

// The mean over the text.
function lengthOf(name) { const all = numbersOf(contents.arrays[name].lengths); return all.reduce((sum, x) => sum + x, 0) / all.length; }
// What is added up where the text enters, and the sizes of the tables.
function tablesInWords() {
  const C = config.n_embd, { positions } = config;
  return [`token${positions === "learned" ? " + position" : ""} embedding${positions === "sinusoidal" ? " + sinusoids" : ""}`, `${config.vocab_size} × ${C}${positions === "learned" ? ` and ${config.block_size} × ${C}` : ""}`];
}
function streamSentence() {
  const last = `h.${config.n_layer - 1}.resid_post`;
  return `${number(lengthOf("embedding.out"))} after the embedding and ${number(lengthOf(last))} before the head`;
}

const MAP = { wide: 340, stream: 84, box: 150, boxWide: 178 };

function diagram() {
  const blockHigh = 150, top = 92, high = top + config.n_layer * blockHigh + 128;
  const drawing = svg("svg", { viewBox: `0 0 ${MAP.wide} ${high}`, width: MAP.wide, class: "map", role: "group", "aria-label": "Diagram of the model" }, svg("g", { class: "below" }));
  const longest = Math.max(lengthOf("embedding.out"), ...Array.from({ length: config.n_layer }, (_, i) => lengthOf(`h.${i}.resid_post`)));
  const width = name => 2 + 11 * lengthOf(name) / longest;
  let before = "embedding.out";
  stream(drawing, 58, top, width(before));
  for (let i = 0; i < config.n_layer; i++) {
    const y = top + i * blockHigh;
    drawing.append(
      svg("rect", { x: 6, y: y + 2, width: MAP.wide - 12, height: blockHigh - 8, rx: 12, class: "frame" }),
      svg("text", { x: 14, y: y + 19, class: "soft", "font-size": 11 }, `block ${i}`));
    branch(drawing, y + 12, width(before), width(`h.${i}.resid_mid`), `h.${i}.ln_1`, `attention, ${config.n_head} heads`, "attention", i);
    branch(drawing, y + 78, width(`h.${i}.resid_mid`), width(`h.${i}.resid_post`), `h.${i}.ln_2`, `MLP, ${config.n_hidden} neurons`, "layers", i);
    before = `h.${i}.resid_post`;
  }
  const end = top + config.n_layer * blockHigh;
  stream(drawing, end - 6, end + 20, width(before));
  drawing.append(
    door(MAP.stream - 66, 14, 304, 44, ...tablesInWords(), "embedding", {}),
    door(MAP.stream - 66, end + 20, 304, 44, `last ${isRms() ? "RMSNorm" : "layer norm"}, head, softmax`, `${config.n_embd} → ${config.vocab_size}`, "layers", { section: "head" }),
    svg("path", { d: `M ${MAP.stream} ${end + 64} v 14`, class: "wire" }),
    door(MAP.stream - 66, end + 78, 304, 40, "loss, and back again", `${number(about.loss)} nats a token`, "backwards", { step: 0 }));
  return drawing;
}

function stream(drawing, from, to, width) {
  drawing.querySelector(".below").append(svg("path", { d: `M ${MAP.stream} ${from} V ${to}`, class: "stream", "stroke-width": width.toFixed(1) }));
}

// From the stream through a layer norm into a sublayer, and back into the stream by a sum.
function branch(drawing, y, before, after, norm, text, view, block) {
  const x = MAP.stream, right = MAP.box + MAP.boxWide / 2;
  stream(drawing, y - 14, y + 54, before);
  stream(drawing, y + 54, y + 70, after);
  drawing.append(
    svg("path", { d: `M ${x} ${y + 18} H ${MAP.box}`, class: "wire" }),
    svg("path", { d: `M ${right} ${y + 38} V ${y + 54} H ${x + 9}`, class: "wire" }),
    svg("circle", { cx: x, cy: y + 54, r: 9, class: "plus" }),
    svg("path", { d: `M ${x - 5} ${y + 54} h 10 M ${x} ${y + 49} v 10`, class: "wire" }),
    door(MAP.box, y, MAP.boxWide, 38, text, `after ${isRms() ? "RMSNorm" : "layer norm"} ${norm.split(".").pop()}`, view, { block }));
}

function door(x, y, width, height, text, below, view, values) {
  const enter = () => go(view, values);
  return svg("g", { role: "link", tabindex: 0, "aria-label": `${text}${values.block === undefined ? "" : `, block ${values.block}`}`, "data-door": view,
      onclick: enter, onkeydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); enter(); } } },
    svg("rect", { x, y, width, height, rx: 9, class: "box" }),
    svg("text", { x: x + width / 2, y: y + height / 2 - 3, "text-anchor": "middle", "font-weight": 600 }, text),
    svg("text", { x: x + width / 2, y: y + height / 2 + 12, "text-anchor": "middle", class: "soft", "font-size": 11 }, below));
}
