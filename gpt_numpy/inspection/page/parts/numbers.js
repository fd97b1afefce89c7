// Numbers and tokens as they are written.

// Three digits: the arrays have no more.
function number(x) {
  if (x === null || x === undefined) return "–";
  if (!Number.isFinite(x)) return String(x);
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text = size >= 1e4 || size < 1e-3 ? x.toExponential(2) : x.toPrecision(3);
  return text.replace("-", "−").replace("e−", "e−").replace("e-", "e−").replace("e+", "e");
}
function percent(p) { return p >= 0.001 ? `${(100 * p).toPrecision(3)} %` : "< 0.1 %"; }

// Tokens made visible: spaces and line ends have signs of their own.
const SIGNS = { " ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍" };
function shownText(text) {
  if (text === "") return "∅";
  const shown = Array.from(text, c => SIGNS[c] || (/[\p{C}]/u.test(c) ? "�" : c)).join("");
  return shown.length > 1 && shown[0] === "␣" ? `␣${shown.slice(1)}` : shown;
}
