// Lines over a common axis; pointer or arrow keys read off their values.

const HIGH = 250, PAD = { left: 46, right: 20, top: 12, bottom: 28 };
let WIDE = 560;  // of the chart that is being drawn: one unit is one dot of the screen

// As wide as its figure: `half` of the page, if it is wide enough for two.
function chartWidth(half) {
  const page = Math.min(drawnWidth, 1408) - (drawnWidth < 640 ? 56 : 74);
  return Math.max(half && drawnWidth >= 896 ? page / 2 - 26 : page, 240);
}
let drawnWidth = window.innerWidth;  // to ask for it makes the browser lay the page out
window.addEventListener("resize", () => { if (window.innerWidth !== drawnWidth) { drawnWidth = window.innerWidth; draw(); } });

// lines: [{ name, points: [[x, y]], colour, dash, width, dots, quiet }]; options: log, label, xLabel, guide
function lineChart(lines, options) {
  const o = options || {};
  const shown = lines.filter(line => line.points.some(([, y]) => !o.log || y > 0));
  if (!shown.length) return el("p", { class: "soft" }, "Nothing of this was recorded.");
  WIDE = Math.round(chartWidth(o.half));
  const wide = WIDE, scale = scales(shown, o);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, role: "img", "aria-label": o.label, tabindex: 0, "data-key": `chart-${o.label}` });
  axes(drawing, scale, o);
  for (const line of shown) {
    const points = line.points.filter(([, y]) => !o.log || y > 0).map(([x, y]) => [scale.x(x), scale.y(y)]);
    drawing.append(strokeOf(line, "polyline", { points: points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" "), fill: "none", "stroke-linejoin": "round" }));
    if (line.dots) for (const [x, y] of points) drawing.append(svg("circle", { cx: x, cy: y, r: 3, fill: line.colour }));
  }
  const readout = el("p", { class: "readout idle", "aria-live": "polite" }, `${POINT_AT} the lines for their numbers.`);
  pointing(drawing, shown, scale, readout, { ...o, wide });
  return el("div", {}, drawing, key(shown), el("div", { class: "under" }, readout));
}

// A line as it is drawn, in the chart and in its key.
function strokeOf({ colour, width, dash, quiet }, tag, where) {
  return svg(tag, { ...where, stroke: colour, "stroke-width": width || 1.8, "stroke-dasharray": dash, opacity: quiet ? 0.45 : null });
}

function scales(lines, o) {
  const points = lines.flatMap(line => line.points).filter(([, y]) => !o.log || y > 0);
  let [x0, x1] = extent(points.map(p => p[0])), [y0, y1] = extent(points.map(p => p[1]));
  if (o.guide) { y0 = Math.min(y0, o.guide); y1 = Math.max(y1, o.guide); }
  if (x1 === x0) x1 = x0 + 1;
  if (!o.log) { const margin = (y1 - y0) * 0.06 || Math.abs(y1) || 1; y0 -= margin; y1 += margin; }
  else { y0 /= 1.25; y1 *= 1.25; }
  const wide = WIDE, f = o.log ? Math.log10 : y => y;
  return {
    x0, x1, y0, y1,
    x: x => PAD.left + (x - x0) / (x1 - x0) * (wide - PAD.left - PAD.right),
    y: y => HIGH - PAD.bottom - (f(y) - f(y0)) / (f(y1) - f(y0)) * (HIGH - PAD.top - PAD.bottom),
  };
}
function extent(numbers) { return numbers.reduce(([low, high], x) => [Math.min(low, x), Math.max(high, x)], [Infinity, -Infinity]); }

function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(k => k * power).find(s => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}
function logTicks(low, high) {
  const found = [];
  for (let k = Math.floor(Math.log10(low)); k <= Math.ceil(Math.log10(high)); k++) {
    for (const m of Math.log10(high / low) < 1.6 ? [1, 2, 5] : [1]) if (m * 10 ** k >= low && m * 10 ** k <= high) found.push(m * 10 ** k);
  }
  return found;
}
function axes(drawing, s, o) {
  const grid = named("--line");
  for (const y of o.log ? logTicks(s.y0, s.y1) : ticks(s.y0, s.y1, 5)) {
    drawing.append(
      svg("line", { x1: PAD.left, x2: WIDE - PAD.right, y1: s.y(y), y2: s.y(y), stroke: grid }),
      svg("text", { x: PAD.left - 7, y: s.y(y) + 4, "text-anchor": "end", class: "soft" }, tick(y)));
  }
  for (const x of ticks(s.x0, s.x1, 5)) if (Number.isInteger(x)) {
    drawing.append(svg("text", { x: s.x(x), y: HIGH - 10, "text-anchor": "middle", class: "soft" }, String(x)));
  }
  if (o.guide) drawing.append(svg("line", { x1: PAD.left, x2: WIDE - PAD.right, y1: s.y(o.guide), y2: s.y(o.guide), stroke: named("--soft"), "stroke-dasharray": "2 4" }));
}
function tick(y) { return Math.abs(y) < 1e-3 && y ? y.toExponential(0).replace("-", "−") : String(Number(y.toPrecision(6))).replace("-", "−"); }
function key(lines) {
  return lines.length < 2 ? null : el("div", { class: "key" }, lines.map(line =>
    el("span", {}, svg("svg", { class: "stroke", viewBox: "0 0 24 8", width: 24, height: 8, "aria-hidden": "true" }, strokeOf(line, "line", { x1: 0, x2: 24, y1: 4, y2: 4 })), line.name)));
}

function pointing(drawing, lines, s, readout, o) {
  const places = [...new Set(lines.flatMap(line => line.points.map(p => p[0])))].sort((a, b) => a - b);
  const mark = svg("line", { y1: PAD.top, y2: HIGH - PAD.bottom, stroke: named("--ink"), "stroke-width": 1, visibility: "hidden" });
  drawing.append(mark);
  let chosen = -1;
  const show = k => {
    chosen = clamp(k, places.length);
    const x = places[chosen];
    mark.setAttribute("x1", s.x(x)); mark.setAttribute("x2", s.x(x)); mark.setAttribute("visibility", "visible");
    const values = lines.map(line => [line.name, nearest(line.points, x)]).filter(([, y]) => y !== null);
    readout.className = "readout";
    readout.textContent = `${o.xLabel || "iteration"} ${x}: ${values.map(([name, y]) => `${name} ${number(y)}`).join(", ")}`;
  };
  const closest = event => {
    const box = drawing.getBoundingClientRect(), wide = o.wide, x = (event.clientX - box.left) * wide / box.width;
    return places.reduce((best, p, k) => Math.abs(s.x(p) - x) < Math.abs(s.x(places[best]) - x) ? k : best, 0);
  };
  drawing.addEventListener("pointermove", event => show(closest(event)));
  drawing.addEventListener("pointerdown", event => show(closest(event)));
  drawing.addEventListener("keydown", event => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    show(chosen + step);
    event.preventDefault();
    event.stopPropagation();
  });
}
function nearest(points, x) {
  let best = points[0];
  for (const point of points) if (Math.abs(point[0] - x) < Math.abs(best[0] - x)) best = point;
  return best ? best[1] : null;
}
