// When the figures of a view are laid out and painted: in frames of their own, those in sight first, a few in
// each, so that no task of a phone takes long.

const widths = new WeakMap();  // of the canvases, as they were measured last
const painters = new Set();  // of the figures on the screen; each draws at its width

// The widths and heights of all figures. All widths first: each height that is set would make the browser lay
// the page out again.
function fitAll() {
  for (const painter of painters) if (!painter.canvas.isConnected) { painters.delete(painter); gone.push(painter.canvas); }
  for (const { canvas } of painters) widths.set(canvas, canvas.clientWidth);
  for (const painter of painters) painter.fit();
}
let gone = [];  // the canvases of figures that are no longer there
function layOut() {
  fitScene();
  nameSources();
  if (scrolls) { scrolls(); scrolls = null; }
  // What is in sight comes first.
  const isSeen = ({ canvas }) => { const { top, bottom } = canvas.getBoundingClientRect(); return bottom > 0 && top < window.innerHeight; };
  const seen = new Set([...painters].filter(isSeen));
  unpainted = [...seen, ...[...painters].filter(painter => !seen.has(painter))];
  tellPainted();
}
let unpainted = [];  // the painters that may not have painted what they show now, in their order
let waitsForFrame = false;
const SPELL = 8, DOTS = 3e5;  // of each frame: ms, and the dots of its pictures, which the browser copies at its end
// Paint until a time, the rest in the next frames, at least one in each: a phone would stand still meanwhile.
function paintUntil(end, atLeastOne = false) {
  for (let dots = 0; unpainted.length && dots < DOTS && (performance.now() < end || atLeastOne); atLeastOne = false) dots += unpainted.shift().paint();
  tellPainted();
  if (waitsForFrame) return;
  waitsForFrame = true;
  nextFrame(() => {
    waitsForFrame = false;
    if (unpainted.length) paintUntil(performance.now() + SPELL, true);
    else showLater();
  });
}
// A frame is left out between two: the page's thread would wait until the last one is on the screen.
function nextFrame(f) { requestAnimationFrame(() => setTimeout(() => requestAnimationFrame(f))); }
function tellPainted() { document.getElementById("view").dataset.painted = unpainted.length === 0 && !unfinished && !soon.view && !soon.around; }
function paintRest() {
  while (unpainted.length) unpainted.shift().paint();
  showLater();
  tellPainted();
}
// What a phone shows only further down is laid out last. The dots of what is gone are given back: the browser
// would stand still to collect them.
function showLater() {
  for (const part of document.querySelectorAll(".later")) part.classList.remove("later");
  for (const canvas of gone.splice(0)) Object.assign(canvas, { width: 0, height: 0 });
}
let scrolls = null;  // where to scroll to, once all heights are known
window.addEventListener("resize", () => finishSoon());
