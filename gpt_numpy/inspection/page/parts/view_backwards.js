// Backward, step by step: from the loss to the embeddings with the arrow keys.

VIEWS.backwards = { title: "Backwards", draw: drawBackwards };
const STEPS = contents.steps;

function drawBackwards() {
  const step = STEPS[state.step];
  return [
    el("h2", {}, "Backwards"),
    el("p", {}, ["From the loss back to the embeddings: each step takes the gradient of what a line of forward wrote, and computes the gradient of what it read. ", el("kbd", {}, "→"), " is the next step towards the embeddings, ", el("kbd", {}, "←"), " back towards the loss."]),
    el("p", { class: "small" }, checkedSentence()),
    rail(),
    el("div", { class: "step" },
      el("button", { type: "button", class: "button", "data-key": "earlier", disabled: state.step === 0, onclick: () => turn(-1) }, "← towards the loss"),
      el("button", { type: "button", class: "button", "data-key": "later", disabled: state.step === STEPS.length - 1, onclick: () => turn(1) }, "on →"),
      el("h3", { "aria-live": "polite" }, `${step.place}: ${step.title}`),
      el("span", { class: "soft small" }, `step ${state.step + 1} of ${STEPS.length}`)),
    el("div", { class: "grid" },
      figure("The line and its derivative", forwardSentence(step), { size: "half sticky" }, el("div", { class: "equations" },
        el("div", {}, el("div", { class: "soft small" }, "forward"), step.forward.map(line => el("code", { class: "formula" }, line))),
        step.equations.map(equation))),
      el("div", { class: "half grid" }, gradients(step), specials(step))),
  ];
}

function turn(by) {
  const step = clamp(state.step + by, STEPS.length);
  if (step !== state.step) change({ step });
}

function rail() {
  return el("div", { class: "rail", role: "group", "aria-label": "Steps of backward" }, STEPS.map((step, k) =>
    el("button", { type: "button", tabindex: k === state.step ? 0 : -1, class: k < state.step ? "done" : "", "aria-current": k === state.step ? "step" : null, "data-key": k === state.step ? "rail" : null,
      title: `${k + 1}. ${step.place}: ${step.title}`, "aria-label": `step ${k + 1}, ${step.place}: ${step.title}`, onclick: () => change({ step: k }) })));
}

function forwardSentence(step) {
  const count = step.equations.length, lines = step.forward.length;
  const known = step.equations.filter(e => contents.verdicts[e.array]);
  const right = known.filter(e => contents.verdicts[e.array].ok).length;
  const compared = known.length === count ? "compared with the exact derivative" : `${known.length} of them compared with the exact derivative`;
  const checked = !isUntouched() ? "not checked for this change" : known.length === 0 ? "not compared with the exact derivative"
    : `${compared}, ${right < known.length ? `${known.length - right} of ${known.length} are WRONG` : right === 1 ? "it is right" : `${right} are right`}`;
  return `${lines === 1 ? "One line" : `${lines} lines`} of forward ${lines === 1 ? "has" : "have"} ${count} ${count === 1 ? "gradient" : "gradients"}; ${checked}. Derived in ${step.derivation}.`;
}

// What was checked of this pass, in all; nothing is said of what was not.
function checkedSentence() {
  const arrays = new Set(["losses", ...STEPS.flatMap(step => step.equations.map(e => e.array))]), found = [...arrays].filter(name => contents.verdicts[name]);
  const right = found.filter(name => contents.verdicts[name].ok).length;
  if (!isUntouched()) return `Of the original text and model ${found.length} of the ${arrays.size} gradients were compared, one by one, with the exact derivative; this page has computed others since.`;
  const why = contents.unchecked ? ` (${contents.unchecked}; gpt-numpy gradcheck checks all parameters of any model)` : "";
  return `${found.length} of the ${arrays.size} gradients were compared, one by one, with the exact derivative${why}${found.length ? `: ${right === found.length ? `all ${found.length === arrays.size ? "" : "of these "}` : `${right} `}are right${right === found.length ? "" : `, ${found.length - right} are WRONG`}` : ""}.`;
}
function othersSentence({ array, others }) {
  return `${array} is read in several places, so its gradient is a sum: ${others.length === 1 ? "a term comes" : "terms come"} from step ${others.join(", ")}. Norm, map and check are of the whole sum.`;
}

function equation(e) {
  return el("div", {},
    el("div", { class: "soft small" }, "gradient of ", el("code", {}, e.array)),
    el("code", { class: "formula" }, e.text),
    el("pre", { class: "source", tabindex: 0, "aria-label": "Lines of the reference" }, e.code.lines.map(([line, text]) =>
      el("span", { class: e.code.marked.includes(line) ? "marked" : "" }, el("b", {}, line), text))),
    el("p", { class: "small soft" }, `${e.code.file}, ${e.code.function}; computed here by ${e.computed}`),
    e.others.length ? el("p", { class: "small soft" }, othersSentence(e)) : null,
    el("p", { class: "small" }, verdict(e.array)));
}

function verdict(name) {
  const found = contents.verdicts[name];
  if (contents.live && !isUntouched()) return el("span", { class: "verdict none" }, "Not checked for this change: the check was of the original text and model.", checkButton(name));
  if (!found) return el("span", { class: "verdict none" }, "Not compared with the exact derivative.");
  if (found.error === null) return el("span", { class: "verdict bad" }, "✗ not finite, so it cannot be compared");
  return el("span", { class: `verdict ${found.ok ? "ok" : "bad"}` }, found.ok ? "✓ exact" : "✗ WRONG",
    el("span", { class: "soft", title: "The derivative is computed a second time, by the complex step, which uses the forward pass alone and is exact to rounding." }, `: an independent derivative differs by ${number(found.error)} of its size, the rounding of ${about.dtype}`), agreementSentence(name));
}

// A gradient of parameters can be compared here and now with a quotient of differences, which knows
// nothing of backward.
function checkButton(name) {
  if (contents.arrays[name].kind !== "parameter" || !running.backward) return null;
  const place = el("span", { role: "status" });
  const check = async () => {
    const { slope, quotient, error } = await ask("check", { name, seed: 1 });
    place.textContent = ` Along a random direction the gradient says ${number(slope)}, the difference of two losses ${number(quotient)}: ${error < 1e-4 ? "✓ they agree" : "✗ they do NOT agree"}, to ${number(error)} of the gradient’s length.`;
  };
  return [" ", el("button", { type: "button", class: "button small", "data-key": `check-${name}`, onclick: check }, "check it now"), place];
}

// In a live page the verdict is of the gradient that Python computed: it holds here if both are the same.
function agreementSentence(name) {
  const difference = agreement(name);
  if (difference === null) return null;
  return difference <= 1e-3 ? el("span", { class: "soft" }, `; this page computed the same, to ${number(difference)}`) : el("span", { class: "verdict bad" }, `; ✗ this page computed something else, ${number(difference)} apart`);
}

// The gradients that come in, go out, and are those of parameters.
function gradients(step) {
  const groups = [
    ["Needed from forward", contents.live ? step.needed : [], "what the equations read in addition to the gradient"],
    ["Incoming", step.incoming, "the gradient of what the line wrote"],
    ["Outgoing", step.outgoing, "the gradient of what the line read"],
    ["Parameters", step.parameters, "the gradient of the parameters, by which the optimizer, the rule of training, moves them"],
  ];
  return groups.filter(([, names]) => names.length).map(([title, names, what]) =>
    title === "Needed from forward" ? needed(title, names, what) : figure(title, `${what[0].toUpperCase()}${what.slice(1)}: ${names.map(normSentence).join("; ")}.`, {},
      el("div", { class: "flow" }, names.map(name => [el("h4", {}, el("code", {}, `d ${name}`), el("span", { class: "soft small" }, ` ${shapeOf(name).join(" × ")}`)), gradientMap(name)]))));
}

// The arrays of forward: the same maps, of values.
function needed(title, names, what) {
  return figure(title, `${what[0].toUpperCase()}${what.slice(1)}.`, {}, el("div", { class: "flow" }, names.map(name => {
    const m = valueOf(name, contents.arrays[name].shape.length === 3 ? state.head : 0), many = contents.arrays[name].shape.length === 3;
    const rows = m && m.rows === T ? { rowNames, ...(m.cols === T && /scores|probabilities/.test(name) ? { colNames: rowNames } : {}) } : {};
    return [el("h4", {}, el("code", {}, name)), heatmap(m, { ...rows, of: { name, which: "value", head: many ? state.head : undefined }, label: `value of ${name}`, height: m && m.rows === 1 ? 24 : Math.max(2, Math.min(8, 220 / (m ? m.rows : 1))),
      describe: (row, col, x) => `${cellInWords(name, row, col, many ? state.head : null)}: ${number(x)}` })];
  })));
}

function normSentence(name) {
  const entry = contents.arrays[name];
  const norm = entry.grad_numbers && entry.grad_numbers.norm;
  const update = entry.update ? `, the next update moves it by ${percent(entry.update)} of its size` : "";
  return `${name} has norm ${number(norm)}${update}`;
}

function gradientMap(name) {
  const entry = contents.arrays[name], kind = entry.kind;
  const many = entry.shape.length === 3;
  const m = gradOf(name, many ? state.head : 0);
  const note = many ? el("div", { class: "bar" }, chooseHead()) : null;
  const describe = (row, col, x) => kind === "parameter"
    ? `${rowOfParameter(name, row, m, entry)}, column ${channel(col, m)}: ${number(x)}`
    : name.endsWith("scores") || name.endsWith("probabilities") && many ? `query ${quoted(row)}, key ${quoted(col)}: ${number(x)}`
    : name === "logits" ? `${quoted(row)}, logit of “${nameOf(col)}”: ${number(x)}`
    : name === "losses" ? `${quoted(col)}: ${number(x)}`
    : `${quoted(row)}, channel ${channel(col, m)}: ${number(x)}`;
  const square = many && m && m.rows === m.cols && entry.shape[1] === entry.shape[2];
  const rows = kind === "parameter" || !m || m.rows !== T ? null : rowNames;
  return [note, heatmap(m, { of: { name, which: "grad", head: many ? state.head : undefined }, label: `gradient of ${name}`, rowNames: rows, colNames: square ? rowNames : null, describe, masked: square ? (row, col) => col > row : null, ...(name === "losses" ? WITHOUT_LOSS : {}),
    height: m && m.rows === 1 ? 24 : Math.max(3, Math.min(10, 300 / (m ? m.rows : 1))) })];
}
function rowOfParameter(name, row, m, { shape }) {
  if (m.rows === 1) return "vector";
  return name === "wte.weight" && m.group[0] === 1 ? `row of “${nameOf(row)}”` : `row ${grouped(row, m.group[0], shape[0])}`;
}

// At both ends: what the loss of a single token changes.
function specials(step) {
  if (step.title === "softmax and loss") return gradientOfLogits();
  if (step.place === "embedding") return influenceOfRows();
  return null;
}

function gradientOfLogits() {
  const t = contents.live ? hereWithTarget() : state.position, g = matrixOf(contents.next.gradients), right = contents.targets[t];
  const items = contents.next.tokens[t].slice(0, 10).map((token, k) => gradientBar(token, at(g, t, k), right));
  if (!items.some(item => item.right) && right >= 0) {
    items.push(gradientBar(right, numbersOf(contents.next.right_gradient)[t], right));
  }
  return figure(`The gradient of each logit after ${quoted(t)}`, right < 0 ? "Nothing is predicted here, so every gradient is 0." : `Below 0, blue: a step against the gradient raises this logit, that of “${targetAt(t)}”, which did come next. Above 0, orange: it lowers the others, each in proportion to its probability.`, {}, tokenStrip(), bars(items));
}
// In the colours of the maps of gradients: blue below 0.
function gradientBar(token, x, right) { return { label: tokenBox(nameOf(token)), size: x, text: number(x), warm: x > 0, right: token === right }; }

function influenceOfRows() {
  if (contents.live && !isUntouched()) return el("p", { class: "soft small" }, "How strongly each position influences each single loss was computed for the original text only.");
  if (!contents.influence) return el("p", { class: "soft small" }, "This model is too large to separate the losses of single tokens.");
  const m = matrixOf(contents.influence), t = clamp(state.position, m.rows), row = rowOf(m, t), order = ranked(row, t + 1);
  return figure("Influence of each position on each loss", `Each row is the loss at one token, each column a position of the embedding: the loss at ${quoted(t)} has the largest gradient at ${quoted(order[0])} (norm ${number(row[order[0]])}).`, {},
    heatmap(m, { kind: "sequential", rowNames, colNames: rowNames, chosen: t, masked: (r, c) => c > r, label: "gradient of each loss at each position", pick: position => change({ position }),
      describe: (r, c, x) => `gradient of the loss at ${quoted(r)} with respect to ${quoted(c)}: norm ${number(x)}` }));
}
