// The same numbers as maps: a row for each token of the target, a column for each of the source.

const painters = new Set();  // of the maps on the screen; each draws at its width
function paintAll() {
  for (const painter of [...painters]) if (!painter.canvas.isConnected) painters.delete(painter);
  for (const { paint } of painters) paint();
}
window.addEventListener("resize", () => requestAnimationFrame(paintAll));

function mapFigure(numbers, kind) {
  const equation = contents.equations[state.kind], largest = largestOf(numbers);
  const cursor = { row: state.side === "target" ? state.index : 0, col: state.side === "source" ? state.index : 0, on: false };
  const readout = el("p", { class: "readout idle", "aria-live": "polite" }, `${POINT_AT} a cell for its numbers.`);
  const canvas = el("canvas", { tabindex: 0, role: "img", "data-key": "map", "aria-label": `${kind.title} as a map; ${T} rows, ${S} columns` });
  const paint = () => paintMap(canvas, numbers, kind.palette, largest, { names: true, cursor });
  const move = (row, col) => {
    Object.assign(cursor, { row: Math.max(0, Math.min(T - 1, row)), col: Math.max(0, Math.min(S - 1, col)), on: true });
    readout.className = "readout";
    readout.textContent = cellInWords(cursor.row, cursor.col);
    paint();
  };
  const cell = event => {
    const box = canvas.getBoundingClientRect(), l = layout(canvas, true);
    return [Math.floor((event.clientY - box.top - l.top) / l.high), Math.floor((event.clientX - box.left - l.left) / l.wide)];
  };
  canvas.addEventListener("pointermove", event => move(...cell(event)));
  canvas.addEventListener("pointerdown", event => move(...cell(event)));
  canvas.addEventListener("click", () => change({ side: "target", index: cursor.row }));
  canvas.addEventListener("keydown", event => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) move(cursor.row + (cursor.on ? step[0] : 0), cursor.col + (cursor.on ? step[1] : 0));
    else if (event.key === "Enter" && cursor.on) change({ side: "target", index: cursor.row });
    else return;
    event.preventDefault();
  });
  painters.add({ canvas, paint });
  return figure("As a map", "A row for each token of the target, a column for each token of the source.", { formula: equation.text, size: "third" },
    canvas, el("div", { class: "under" }, readout, legend(kind.palette, largest)),
    el("p", { class: "small soft" }, "Derived in ", el("code", {}, equation.file), "; computed by ", el("code", {}, equation.function), "."));
}

// All that is known of one cell: the weight, and both gradients.
function cellInWords(t, s) {
  const [p, dp, ds] = Object.keys(KINDS).map(kind => number(mapOf(kind, state.block, state.head)[t * S + s]));
  return `“${targetAt(t)}” from “${sourceAt(s)}”: weight ${p}, its gradient ${dp}, that of the score ${ds}`;
}

function headsFigure(kind) {
  const largest = largestOf(contents[state.kind].flat(2));
  const buttons = contents[state.kind].flatMap((heads, block) => heads.map((numbers, head) => {
    const canvas = el("canvas", { "aria-hidden": "true" });
    painters.add({ canvas, paint: () => paintMap(canvas, numbers, kind.palette, largest, {}) });
    return el("button", { type: "button", "data-key": `head-${block}-${head}`, "aria-pressed": block === state.block && head === state.head ? "true" : "false",
      "aria-label": `block ${block}, head ${head}`, onclick: () => change({ block, head }) }, canvas, `${block}.${head}`);
  }));
  return figure("Every block and head", `The ${kind.title} of all ${about.blocks * about.heads} heads, all with the same colours; choose one to see it above.`, {},
    el("div", { class: "heads" }, buttons));
}

const LETTER = 6.8;  // pixels
function margin(tokens, width) {
  return Math.min(width / 4, 10 + LETTER * Math.max(...tokens.map(token => shownText(token).length)));
}
function layout(canvas, names) {
  const width = canvas.clientWidth || 300, left = names ? margin(contents.target, width) : 0;
  const wide = (width - left) / S, high = names ? Math.max(5, Math.min(22, wide, 640 / T)) : Math.max(1, wide * Math.min(1, S / T));
  const top = names && wide >= 9 ? margin(contents.source, width) : 0;
  return { width, left, top, wide, high, height: top + high * T };
}

function paintMap(canvas, numbers, palette, largest, { names, cursor }) {
  const l = layout(canvas, names), dots = window.devicePixelRatio || 1;
  canvas.style.height = `${l.height}px`;
  canvas.width = Math.max(1, Math.round(l.width * dots));
  canvas.height = Math.max(1, Math.round(l.height * dots));
  const pen = canvas.getContext("2d");
  pen.scale(dots, dots);
  numbers.forEach((x, k) => {
    pen.fillStyle = x === null ? named("--bad") : css(palette, x, largest);
    pen.fillRect(l.left + k % S * l.wide, l.top + Math.floor(k / S) * l.high, l.wide + 0.5, l.high + 0.5);
  });
  if (names) drawNames(pen, l);
  if (cursor && cursor.on) {
    pen.strokeStyle = named("--ink");
    pen.lineWidth = 2;
    pen.strokeRect(l.left + cursor.col * l.wide, l.top + cursor.row * l.high, l.wide, l.high);
  }
}

// As many names as have space, at the left and, turned, above.
function drawNames(pen, l) {
  pen.fillStyle = named("--soft");
  pen.font = "11px ui-monospace, Menlo, monospace";
  pen.textBaseline = "middle";
  if (l.high >= 9) {
    pen.textAlign = "right";
    contents.target.forEach((_, t) => pen.fillText(cut(pen, targetAt(t), l.left - 6), l.left - 5, l.top + (t + 0.5) * l.high));
  }
  if (!l.top) return;
  pen.textAlign = "left";
  contents.source.forEach((_, s) => {
    pen.save();
    pen.translate(l.left + (s + 0.5) * l.wide, l.top - 5);
    pen.rotate(-Math.PI / 2);
    pen.fillText(cut(pen, sourceAt(s), l.top - 6), 0, 0);
    pen.restore();
  });
}
function cut(pen, text, width) {
  let letters = Array.from(text);
  if (pen.measureText(text).width <= width) return text;
  while (letters.length > 1 && pen.measureText(`${letters.join("")}…`).width > width) letters = letters.slice(0, -1);
  return `${letters.join("")}…`;
}
