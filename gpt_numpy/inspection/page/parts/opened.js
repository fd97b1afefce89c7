// One cell, opened: its formula, the same with its numbers, the line of code; the cells that it was
// computed from light up in all figures. It stays open until another cell is chosen, or it is closed.

let opened = null;  // { name, which, head, row, col }: row and col as in the array

function openCell(cell) {
  opened = { ...cell, chosen: true };
  const panel = document.getElementById("opened");
  if (panel) panel.replaceWith(openedPanel());
  finishSoon();
}
// On a narrow screen the equation may open far below its picture: a button leads there.
function pointToOpened() {
  for (const old of document.querySelectorAll(".to-opened")) old.remove();
  const panel = document.getElementById("opened");
  if (!opened || !opened.chosen || !panel || panel.getBoundingClientRect().top < window.innerHeight - 40) return;
  const painter = [...painters].find(({ of, canvas }) => of && of.name === opened.name && of.which === opened.which && (of.head || 0) === (opened.head || 0) && canvas.isConnected && canvas.tabIndex === 0);
  if (painter) painter.canvas.parentElement.querySelector(".under").append(el("button", { type: "button", class: "link to-opened", onclick: () => panel.scrollIntoView() }, "↓ where it comes from"));
}
function closeCell() {
  const cell = opened, panel = document.getElementById("opened");
  // The focus was on the panel, or on the button that leads there: it goes to the figure of the cell.
  if (document.activeElement.closest("#opened, .to-opened")) {
    const painter = [...painters].find(({ of, canvas }) => of && of.name === cell.name && of.which === cell.which && canvas.isConnected && canvas.tabIndex === 0);
    (painter ? painter.canvas : document.getElementById("view")).focus({ preventScroll: true });
  }
  opened = null;
  if (panel) panel.replaceWith(openedPanel());
  finishSoon();
}
// Which of the arrays that the opened cell was computed from stand on the page, framed, and which do not.
function nameSources() {
  const place = document.querySelector("#opened .sources"), found = place && opened && explanationOfOpened();
  if (!found) return;
  const names = [...new Set(found.sources.map(source => `${source.which} ${source.name}`))], shown = new Set([...painters].filter(({ of }) => of).map(({ of }) => `${of.which} ${of.name}`));
  const list = some => some.map((text, k) => [k ? ", " : "", el("code", {}, text.replace(/^grad /, "d ").replace(/^value /, ""))]);
  const framed = names.filter(name => shown.has(name)), others = names.filter(name => !shown.has(name));
  place.replaceChildren();
  fill(place, {}, ["Computed from ", framed.length ? ["what is framed in orange: ", list(framed)] : null, framed.length && others.length ? "; and from " : null, list(others), "."]);
}

// Which cells of a figure to outline: those that the opened cell was computed from. `of` says which array a
// figure shows, and which of its rows comes first.
function litCells(of) {
  if (!opened || !of) return [];
  const found = explanationOfOpened();
  if (!found) return [];
  const same = source => source.name === of.name && source.which === of.which && (source.head === null || of.head === undefined || source.head === of.head);
  return found.sources.filter(same).map(({ row, col }) => ({ row: row === null || row === undefined ? null : row - (of.first || 0), col }));
}
let explained = [];  // of which cell, by which numbers; what explains it
function explanationOfOpened() {
  const asked = [opened, opened && JSON.stringify(opened), computed.value, computed.grad, modelParams];
  if (!asked.every((x, k) => x === explained[k])) explained = [...asked, explanationOf(opened)];
  return explained[asked.length];
}
function explanationOf(opened) {
  const { name, which, head, row, col } = opened, x = mat(name, which, head || 0);
  if (!contents.live || !x || row >= x.rows || col >= x.cols) return null;
  return explain(name, which, head || 0, row, col);
}

function openedPanel() {
  const found = opened && explanationOfOpened();
  if (!found) return el("section", { id: "opened", class: "opened empty", "aria-label": "The opened cell" }, el("p", { class: "soft small" }, `${CLICK_ON} a cell to see where its number comes from.`));
  const { name, which, head, row, col } = opened, value = cellOf(name, which, row, col, head || 0);
  const d = which === "grad" ? "d" : "";
  return el("section", { id: "opened", class: `opened${opened.chosen ? " chosen" : ""}`, "aria-label": "The opened cell", "aria-live": "polite" },
    el("button", { type: "button", class: "close", "aria-label": "Close the opened cell", onclick: closeCell }, "×"),
    el("h3", {}, `${d ? "The gradient of " : ""}${cellInWords(name, row, col, head)}: ${number(value)}`),
    opened.largest ? el("p", { class: "small soft" }, `The largest number of its picture; ${CLICK_ON.toLowerCase()} another cell for its own.`) : null,
    found.note ? el("p", { class: "small" }, found.note) : null,
    formula(found.formula),
    numbersInPlace(found.numbers),
    wordsOf(found.formula),
    found.sources.length ? el("p", { class: "small soft sources" }) : null,
    codeLines(name, which));
}

// The words of an equation that do not speak for themselves.
const WORDS = {
  wte: () => "the token table", wpe: () => hasPositions() && config.positions !== "learned" ? "the waves of positions" : "the position table",
  "x̂": () => "the normalised vector", rstd: () => `1 / ${isRms() ? "root mean square" : "standard deviation"} of the vector’s ${config.n_embd} numbers`, "ε": () => "a tiny number, against division by 0",
  branch: () => "what the layer adds to the stream", lse: () => "log of the sum of e to the power of every logit", y: () => "the token that did come next", "[v=y]": () => "1 for the token that did come next, 0 for all others",
  D: () => "how many numbers a query has", N: () => "how many places of the text have a loss", "σ": () => "sigmoid, 1 / (1 + e to the power of minus it)",
};
function wordsOf(pieces) {
  const written = new Set(pieces.flat(Infinity).filter(Boolean).flatMap(piece => piece instanceof Node ? [piece, ...piece.querySelectorAll("*")].filter(node => !node.childElementCount).map(node => node.textContent) : [piece]));
  const plain = [...written].map(text => text.replace(/^d(?=x̂$|branch$)/, "")), known = Object.keys(WORDS).filter(text => plain.includes(text));
  return known.length ? el("p", { class: "small soft words" }, known.map((text, k) => `${k ? "; " : ""}${text}: ${WORDS[text]()}`), ".") : null;
}

function numbersInPlace(numbers) {
  const pieces = numbers.show(), same = pieces.length === 1 && pieces[0].textContent.replace(/[()]/g, "") === inFormula(numbers.value());
  return el("p", { class: "numbers" }, same ? [] : ["= ", pieces.map(piece => [ml("math", piece), " "])], "= ", el("b", {}, number(numbers.value())));
}

// Which number it is, in words.
function cellInWords(name, row, col, head) {
  const part = name.split(".").pop(), block = name.match(/^h\.(\d+)/), where = block ? ` of block ${block[1]}` : "";
  const heads = head !== null && head !== undefined && name.includes(".attn.") ? `, head ${head}` : "";
  if (name === "logits" || name === "probabilities") return `${name === "logits" ? "the logit" : "the probability"} of “${nameOf(col)}” after ${quoted(row)}`;
  if (["scores", "probabilities"].includes(part)) return `the ${part === "scores" ? "score" : "weight"} of query ${quoted(row)} and key ${quoted(col)}${where}${heads}`;
  if (contents.arrays[name].kind === "parameter") return `${name}[${contents.arrays[name].shape.length === 1 ? col : `${name === "wte.weight" ? `“${nameOf(row)}”` : row}, ${col}`}]`;
  if (contents.arrays[name].shape.length === 1) return `${NAMES_IN_WORDS[part] || part} at ${quoted(row + col)}`;
  return `${NAMES_IN_WORDS[name] || NAMES_IN_WORDS[name.split(".").slice(-2).join(".")] || NAMES_IN_WORDS[part] || part}${where}${heads}, ${quoted(row)}, channel ${col}`;
}
const NAMES_IN_WORDS = {
  losses: "the loss", lse: "the log-sum-exp of the logits", mean: "the mean", rstd: "rstd",
  "embedding.out": "the vector at the start of the stream", "ln_1.out": "what attention reads", "ln_2.out": "what the MLP reads", "ln_f.out": "what the output head reads", "attn.out": "the heads side by side", qkv: "query, key and value", ready: "query, key and value as attention reads them",
  query: "the query", key: "the key", value: "the value", heads: "the head’s output", proj: "what is added to the stream", resid_mid: "the stream after attention", resid_post: "the stream after the MLP", xhat: "the normalised vector", act: "the neuron after the nonlinearity", fc: "the neuron before the nonlinearity" };

function codeLines(name, which) {
  const code = which === "grad" ? codeOfGradient(name) : contents.code[name.replace(/\.(query|key|value)$/, isReady_() ? ".ready" : ".qkv")];
  if (!code) return null;
  const marked = code.lines.filter(([line]) => code.marked.includes(line)), lines = (marked.length ? marked : code.lines).slice(0, 5);
  return el("div", {}, el("pre", { class: "source", tabindex: 0, "aria-label": "Lines of the reference" }, lines.map(([line, text]) => el("span", {}, el("b", {}, line), text.replace("# fmt: skip", "").trim()))),
    el("p", { class: "small soft" }, `${code.file}, ${code.function}`));
}
function codeOfGradient(name) {
  const whole = { query: "qkv", key: "qkv", value: "qkv" };
  if (stepOf(name) >= 0) return STEPS[stepOf(name)].equations.find(e => e.array === name).code;
  const part = name.split(".").pop();
  return whole[part] ? codeOfGradient(name.replace(/[^.]+$/, whole[part])) : null;
}

document.addEventListener("keydown", event => { if (event.key === "Escape" && opened) closeCell(); });
