// A matrix as coloured cells. Pointer or arrow keys move a cursor; the line below says what is
// under it. Of cells narrower than a pixel the largest in magnitude is drawn.

let pointed = {};  // the cell whose number was asked for last: it stays when the view is drawn again

function largestOf(m) {
  const { data } = m;
  let largest = 0;
  for (let k = 0; k < data.length; k++) { const x = Math.abs(data[k]); if (x > largest && x < Infinity) largest = x; }
  return largest;
}

// options: kind, largest, label (for screen readers), describe(row, col, x),
// masked(row, col), rowNames, colNames, height of a row, pick(row, col), chosen (a row), key, bare
function heatmap(m, options) {
  if (!m && contents.live) return el("p", { class: "soft small" }, "Being computed …");
  if (!m) return el("p", { class: "soft small" }, "This array is too large for the page; its numbers are in the table of gpt-numpy inspect.");
  const o = { kind: "diverging", ...options };
  o.largest = o.largest === undefined ? largestOf(m) : o.largest;
  const cursor = { row: o.chosen === undefined ? 0 : o.chosen, col: 0, on: false };
  const name = o.key || `map-${o.label}`;
  const canvas = el("canvas", { tabindex: o.bare ? null : 0, role: "img", "aria-label": `${o.label}; ${m.rows} rows, ${m.cols} columns`, "data-key": name, "data-fit": o.fit ? "true" : null });
  const painter = { canvas, of: o.of, fit: () => fit(canvas, m, o), paint: () => paint(canvas, m, o, cursor) };
  painters.add(painter);
  if (o.bare) return canvas;
  const shades = o.plain ? null : o.byRow ? legendOfRows(o.kind) : legend(o.kind, o.largest);
  const readout = el("p", { class: "readout idle", "aria-live": "polite" }, `${POINT_AT} a cell for its number.`);
  const move = (row, col) => {
    Object.assign(cursor, { row: clamp(row, m.rows), col: clamp(col, m.cols), on: true });
    pointed = { name, row: cursor.row, col: cursor.col };
    readout.className = "readout";
    readout.textContent = description(m, o, cursor);
    if (canvas.isConnected) painter.paint();
  };
  if (pointed.name === name) move(pointed.row, pointed.col);
  canvas.addEventListener("pointermove", event => {
    const [row, col] = cellAt(canvas, m, o, event);
    move(row, col);
    if (isTextMap(m, o)) hover(row);
  });
  canvas.addEventListener("pointerleave", () => hover(null));
  canvas.addEventListener("pointerdown", event => move(...cellAt(canvas, m, o, event)));
  const choose = (row, col) => {
    if (o.of && contents.live) openCell({ ...o.of, head: o.of.head === undefined ? null : o.of.head, row: row + (o.of.first || 0), col });
    if (o.pick) o.pick(row, col);
  };
  canvas.addEventListener("click", event => choose(...cellAt(canvas, m, o, event)));
  canvas.addEventListener("keydown", event => keyed(event, m, { ...o, pick: choose }, cursor, move));
  return el("div", {}, canvas, el("div", { class: "under" }, readout, shades));
}

function clamp(k, count) { return Math.max(0, Math.min(count - 1, k)); }

function keyed(event, m, o, cursor, move) {
  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  if (event.key in steps) {
    const [down, right] = steps[event.key];
    move(cursor.row + (cursor.on ? down : 0), cursor.col + (cursor.on ? right : 0));
  } else if (event.key === "Enter" && o.pick && cursor.on) o.pick(cursor.row, cursor.col);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function description(m, o, { row, col }) {
  if (o.masked && o.masked(row, col)) return o.maskedWords || `${tokenNames(o, row, col)}: masked, position ${row} cannot see what comes after it`;
  const x = at(m, row, col);
  return o.describe ? o.describe(row, col, x) : `row ${grouped(row, m.group[0])}, channel ${channel(col, m)}: ${number(x)}`;
}
function tokenNames(o, row, col) { return `“${o.rowNames ? o.rowNames[row] : row}”, “${o.colNames ? o.colNames[col] : col}”`; }
function grouped(k, group, count = Infinity) {
  const first = k * group, last = Math.min(first + group, count) - 1;
  return last > first ? `${first}–${last} (the largest)` : String(first);
}
// The channels of a column; where they are those of heads, no group has channels of two.
function channel(col, m) {
  if (!m.ofHead || m.group[1] === 1) return grouped(col, m.group[1], m.channels);
  const cells = Math.ceil(m.ofHead / m.group[1]), head = Math.floor(col / cells), inside = (col % cells) * m.group[1];
  const first = head * m.ofHead + inside, last = head * m.ofHead + Math.min(inside + m.group[1], m.ofHead) - 1;
  return last > first ? `${first}–${last} (the largest)` : String(first);
}

// Where the cells lie: a margin for names, then rows of equal height.
function layout(canvas, m, o) {
  const width = widths.get(canvas) || canvas.clientWidth || 300;
  const square = o.colNames && m.cols === m.rows;
  const left = o.rowNames && !o.bare ? 26 : 0, top = o.bare ? 0 : o.colNames ? 20 : left ? 4 : 0;
  const cellWidth = (width - left) / m.cols;
  const natural = o.fit && fitted ? fitted / m.rows : square ? cellWidth : o.height || Math.max(5, Math.min(16, 640 / m.rows));
  return { width, left, top, cellWidth, cellHeight: natural, height: top + natural * m.rows + (left && !square ? 3 : 0) };
}

function cellAt(canvas, m, o, event) {
  const box = canvas.getBoundingClientRect(), l = layout(canvas, m, o);
  return [
    clamp(Math.floor((event.clientY - box.top - l.top) / l.cellHeight), m.rows),
    clamp(Math.floor((event.clientX - box.left - l.left) / l.cellWidth), m.cols),
  ];
}

function fit(canvas, m, o) {
  const l = layout(canvas, m, o);
  const high = `${l.height}px`, dots = Math.min(window.devicePixelRatio || 1, 2);  // finer takes a phone too long
  if (canvas.style.height !== high) canvas.style.height = high;
  // Either empties the canvas, and makes the browser lay the page out.
  const size = [l.width, l.height].map(x => Math.round(x * dots));
  if (canvas.width !== size[0] || canvas.height !== size[1]) { [canvas.width, canvas.height] = size; shown.delete(canvas); }
  return { ...l, dots };
}
// How many dots were painted.
function paint(canvas, m, o, cursor) {
  const l = fit(canvas, m, o), { dots } = l, lit = litCells(o.of);
  const ringed = opened && isOpenedIn(o.of, m), pale = isTextMap(m, o) && hovered !== null && hovered !== cursor.row;
  const marks = JSON.stringify([theme(), lit, ringed && [opened.row, opened.col], pale && hovered, cursor.on && [cursor.row, cursor.col]]);
  if (shown.get(canvas) === marks) return 0;
  shown.set(canvas, marks);
  const pen = canvas.getContext("2d");
  pen.setTransform(dots, 0, 0, dots, 0, 0);
  pen.clearRect(0, 0, l.width + 1, l.height + 1);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(pictureOnce(m, o, Math.round((l.width - l.left) * dots)), l.left, l.top, l.width - l.left, l.cellHeight * m.rows);
  if (!o.bare) names(pen, m, o, l);
  if (o.chosen !== undefined) outline(pen, l, o.chosen, 0, m.cols, named("--accent"));
  if (o.hatch) hatch(pen, m, o, l);
  for (const { row, col } of lit) outline(pen, l, row === null ? 0 : row, col === null ? 0 : col, col === null ? m.cols : 1, named("--warm"), row === null ? m.rows : 1);
  if (ringed) ring(pen, l, opened.row - (o.of.first || 0), opened.col);
  if (pale) outline(pen, l, hovered, 0, m.cols, named("--soft"));
  if (cursor.on) outline(pen, l, cursor.row, cursor.col, 1, named("--ink"));
  return canvas.width * canvas.height;
}
const shown = new WeakMap();  // by canvas: what is marked in it; as long as that stays, so does the picture

// The coloured cells of a figure stay the same while a cursor moves over it.
const pictures = new WeakMap();  // by the options of a figure: { key, image }
function pictureOnce(m, o, dots) {
  const key = `${dots} ${theme()}`;
  if (!pictures.has(o) || pictures.get(o).key !== key) pictures.set(o, { key, image: picture(m, o, dots) });
  return pictures.get(o).image;
}

// The token under the pointer is outlined in all figures that have a row for each token.
let hovered = null, waiting = false;
function isTextMap(m, o) { return contents.live && !o.bare && o.rowNames === rowNames && m.rows === T; }
function hover(row) {
  if (row === hovered) return;
  hovered = row;
  if (!waiting) requestAnimationFrame(() => { waiting = false; for (const painter of painters) if (painter.canvas.isConnected) painter.paint(); });
  waiting = true;
}

function picture(m, o, dots) {
  const cols = Math.min(m.cols, Math.max(dots, 1)), per = m.cols / cols;
  const image = new ImageData(cols, m.rows), mask = packed(rgb(named("--masked"))), colours = packedTable(o.kind);
  const both = o.kind === "diverging", { data } = m, out = new Uint32Array(image.data.buffer);
  for (let row = 0, place = 0; row < m.rows; row++) {
    const largest = (o.byRow ? largestOf({ data: rowOf(m, row) }) : o.largest) || Infinity;
    for (let col = 0; col < cols; col++, place++) {
      // Of the numbers under one dot the largest in magnitude.
      const first = Math.floor(col * per), end = Math.min(Math.max((col + 1) * per, first + 1), m.cols);
      let x = 0;
      for (let k = row * m.cols + first; k < row * m.cols + end; k++) if (!(Math.abs(data[k]) <= Math.abs(x))) x = data[k];
      const share = both ? (x / largest + 1) / 2 : x / largest;
      const hidden = (o.masked && o.masked(row, col)) || Number.isNaN(x);
      out[place] = hidden ? mask : colours[Math.max(0, Math.min(255, Math.round(share * 255)))];
    }
  }
  const small = document.createElement("canvas");
  small.width = cols; small.height = m.rows;
  small.getContext("2d").putImageData(image, 0, 0);
  return small;
}

// The tokens next to the rows, and above the columns of a square, as many as fit.
function names(pen, m, o, l) {
  pen.fillStyle = named("--soft");
  pen.font = "10.5px ui-monospace, Menlo, 'DejaVu Sans Mono', monospace";
  pen.textBaseline = "middle";
  const every = size => Math.max(1, Math.ceil(10.5 / size));
  pen.textAlign = "right";
  const name = row => pen.fillText(short(o.rowNames[row]), l.left - 5, l.top + (row + 0.5) * l.cellHeight);
  if (o.rowNames) {
    // The rows of the opened cell and the framed one have their names; others only where they do not run into these.
    const dark = [], isFree = row => dark.every(other => Math.abs(row - other) * l.cellHeight >= 10.5);
    for (const row of [opened && isOpenedIn(o.of, m) ? opened.row - (o.of.first || 0) : undefined, o.chosen]) if (row !== undefined && row < m.rows && isFree(row)) dark.push(row);
    for (let row = 0; row < m.rows; row += every(l.cellHeight)) if (isFree(row)) name(row);
    pen.fillStyle = named("--ink");
    dark.forEach(name);
    pen.fillStyle = named("--soft");
  }
  pen.textAlign = "center";
  if (l.top > 4) for (let col = 0; col < m.cols; col += every(l.cellWidth)) {
    pen.fillText(short(o.colNames[col]), l.left + (col + 0.5) * l.cellWidth, l.top - 9);
  }
}
function short(name) { const letters = Array.from(name); return letters.length > 3 ? `${letters.slice(0, 2).join("")}…` : name; }

function isOpenedIn(of, m) {
  return of && opened.name === of.name && opened.which === of.which && (opened.head || 0) === (of.head || 0) && opened.row >= (of.first || 0) && opened.row < (of.first || 0) + m.rows;
}
function outline(pen, l, row, col, count, colour, high = 1) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1.5;
  pen.strokeRect(l.left + col * l.cellWidth + 0.75, l.top + row * l.cellHeight + 0.75, Math.max(count * l.cellWidth - 1.5, 2), Math.max(high * l.cellHeight - 1.5, 2));
}

// Around the opened cell, outside of it, so that its colour stays to be seen.
function ring(pen, l, row, col) {
  for (const [width, far, colour] of [[4, 2.5, named("--panel")], [1.6, 1.6, named("--ink")]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.strokeRect(l.left + col * l.cellWidth - far, l.top + row * l.cellHeight - far, l.cellWidth + 2 * far, l.cellHeight + 2 * far);
  }
}

// Thin slanted lines over what is masked: nothing that a number could look like.
function hatch(pen, m, o, l) {
  pen.fillStyle = slanted(pen, l.dots);
  pen.beginPath();
  for (let row = 0; row < m.rows; row++) {
    for (let col = 0, first = 0; col <= m.cols; col++) {
      if (col < m.cols && o.masked(row, col)) continue;
      if (col > first) pen.rect(l.left + first * l.cellWidth, l.top + row * l.cellHeight, (col - first) * l.cellWidth, l.cellHeight);
      first = col + 1;
    }
  }
  pen.fill();
}
// A tile of such lines, as a pattern: to stroke lines within thousands of cells takes long.
function slanted(pen, dots) {
  const size = Math.round(7 * dots), tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const drawn = tile.getContext("2d");
  drawn.strokeStyle = named("--hatch");
  drawn.lineWidth = dots;
  drawn.beginPath();
  for (const x of [0, size, 2 * size]) { drawn.moveTo(x + dots, -dots); drawn.lineTo(x - size - dots, size + dots); }
  drawn.stroke();
  const pattern = pen.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / dots));
  return pattern;
}
