// What the tests of the live page look at inside of it: `inside` is what test_live_page.py adds to the page.

// Whether the equations of `count` cells of an array give the numbers in them.
function everyCell([name, which, count]) {
  if (!inside.tensor(name, which)) return null;
  const { shape } = inside.tensor(name, which), heads = shape.length === 3 ? inside.config.n_head : 1;
  const found = { wrong: [], checked: 0, silent: 0 };
  for (let head = 0; head < heads; head++) {
    const m = inside.mat(name, which, head), cells = m.rows * m.cols;
    const largest = m.data.reduce((most, y) => Math.max(most, Math.abs(y)), 1e-12);
    for (let k = 0; k < Math.min(count, cells); k++) {
      const place = (k * 7919) % cells, row = Math.floor(place / m.cols), col = place % m.cols;
      const explained = inside.explain(name, which, heads > 1 ? head : 0, row, col);
      if (!explained) { found.silent++; continue; }
      found.checked++;
      const value = explained.numbers.value(), wanted = inside.at(m, row, col), shown = explained.numbers.show().map(asCode).join(" ");
      if (!(Math.abs(value - wanted) <= 1e-9 * largest)) found.wrong.push([head, row, col, value, wanted]);
      if (isArithmetic(shown) && !(Math.abs(evaluated(shown) - value) <= 0.03 * evaluated(shown.replace(/(?<!e)-/g, "+")))) found.wrong.push([head, row, col, value, shown]);
      for (const source of explained.sources) {
        if (source.name !== "wpe.weight" && !inside.tensor(source.name, source.which)) found.wrong.push(source.name);
      }
    }
  }
  return found;
}

// What stands on the page, as an expression to compute with: its numbers have three digits, so that it may
// be off by a few percent of what it would be if no sign were negative.
function asCode(node) {
  const parts = [...node.childNodes].map(asCode);
  if (node.nodeType === Node.TEXT_NODE) return node.data.replaceAll("−", "-").replaceAll("·", "*");
  if (node.tagName === "mfrac") return `((${parts[0]}) / (${parts[1]}))`;
  if (node.tagName === "msqrt") return `((${parts.join(" ")}) ** 0.5)`;
  if (node.tagName === "msup") return `${parts[0]}^${parts[1]}`;
  return node.tagName === "mtext" ? "" : parts.join(" ");
}
function isArithmetic(shown) { return /^([-+*/() ]|\d[\d.]*(e-?\d+)?)+$/.test(shown); }
function evaluated(shown) { return Function(`return ${shown}`)(); }

const DRAWN = "canvas, svg, .bars, .tokens, .numbered, .places, table, pre, code, .parts, .candidates, .controls";

// What nobody should see.
function problems() {
  const found = [];
  if (document.documentElement.scrollWidth > window.innerWidth) found.push("wider than the screen");
  for (const f of document.querySelectorAll("main figure")) if (!f.querySelector(DRAWN)) found.push("empty figure");
  const odd = document.body.innerText.match(/undefined|NaN|\bnull\b|\[object|Infinity/);
  if (odd) found.push(odd[0]);
  for (const c of document.querySelectorAll("canvas")) if (!c.width || !c.height) found.push("canvas without size");
  return found;
}

// Columns, pictures and checks of a scene of the way back.
function sublayerScene() {
  const scene = document.querySelector(".scene.sublayer"), columns = [...scene.querySelectorAll(".three > div")];
  const tops = columns.map(c => c.getBoundingClientRect().top), badges = [...scene.querySelectorAll(".derivation .badge")];
  return {
    bottom: scene.getBoundingClientRect().bottom + window.scrollY, columns: columns.map(c => c.querySelector(".column").textContent), "side by side": new Set(tops).size === 1,
    pictures: scene.querySelectorAll(".three figure").length, cell: Boolean(scene.querySelector("#opened h3")),
    badges: badges.map(b => b.dataset.badge).sort((a, b) => inside.SCENES[inside.state.scene].out().indexOf(a) - inside.SCENES[inside.state.scene].out().indexOf(b)), checked: badges.filter(b => b.textContent.includes("✓")).length };
}

// A finger that moves by so many dots, from left to right.
function swipe(by) {
  const target = document.querySelector("#question");
  const at = x => [new Touch({ identifier: 1, target, clientX: x, clientY: 400 })];
  const send = (kind, touches, x) => target.dispatchEvent(new TouchEvent(kind, { bubbles: true, touches, changedTouches: at(x) }));
  send("touchstart", at(200), 200);
  send("touchend", [], 200 + by);
}

// How many dots of a canvas have the colour of this name.
function dotsOf(canvas, name) {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const hex = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const [r, g, b] = [1, 3, 5].map(k => parseInt(hex.slice(k, k + 2), 16));
  let count = 0;
  for (let k = 0; k < data.length; k += 4) if (data[k] === r && data[k + 1] === g && data[k + 2] === b) count++;
  return count;
}

// Text with less contrast than 4.5 to what lies behind it.
function lowContrast() {
  const parse = text => text.match(/[\d.]+/g).map(Number);
  const part = x => x / 255 <= 0.03928 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const ground = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    if (!own || !e.getClientRects().length || e.closest("svg, noscript, :disabled, .skip")) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([e.tagName, e.className, e.textContent.slice(0, 30), ratio.toFixed(2)]);
  }
  return low;
}
