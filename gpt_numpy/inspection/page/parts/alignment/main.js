// The frame: header, controls, keys, light and dark; and the figures about the pair as a whole.

function drawHeader() {
  const checked = contents.checked, right = checked.wrong.length === 0;
  const facts = [["parameters", about.parameters.toLocaleString("en")], ["blocks", about.blocks], ["heads", about.heads], ["channels", about.channels],
    ["loss on this pair", `${number(about.loss)} nats a token${about.smoothing ? `, with smoothing ${about.smoothing}` : ""}`], ["layers", `${about.ops}, ${about.dtype}`]];
  const verdict = checked.count === 0 ? `Gradients are not checked on this page: ${checked.why}.`
    : right ? `✓ ${checked.count} gradients of this pass, those of all weights and scores among them, are equal to the complex step; largest error ${number(checked.error)}.${checked.why ? ` Not all: ${checked.why}.` : ""}`
    : `✗ ${checked.wrong.length} of ${checked.count} gradients of this pass differ from the complex step: ${checked.wrong.slice(0, 5).join(", ")}`;
  document.getElementById("top").append(
    el("div", {},
      el("h1", {}, `Inside ${about.folder}`),
      el("p", {}, el("q", {}, shortened(about.source)), " → ", el("q", {}, shortened(about.target)), about.given ? "" : ", as the model translates it"),
      el("div", { class: "facts" }, facts.map(([name, value]) => el("span", {}, `${name} `, el("b", {}, value)))),
      el("p", { class: `small verdict ${checked.count === 0 ? "none" : right ? "ok" : "bad"}` }, verdict)),
    el("button", { type: "button", class: "switch", id: "theme", onclick: () => { setTheme(theme() === "dark" ? "light" : "dark"); draw(); } }));
  document.title = `Inside ${about.folder} – gpt_numpy`;
}
function shortened(text) {
  const letters = Array.from(text);
  return letters.slice(0, 160).join("").replace(/\n/g, " ⏎ ") + (letters.length > 160 ? "…" : "");
}

function drawControls() {
  const heads = [["mean", MEAN], ...Array.from({ length: about.heads }, (_, k) => [String(k), k])];
  document.getElementById("controls").replaceChildren(
    el("div", { class: "kinds", role: "group", "aria-label": "Numbers" }, Object.entries(KINDS).map(([kind, { title }], k) => el("button", {
      type: "button", class: "button", "data-key": `kind-${kind}`, "aria-pressed": kind === state.kind ? "true" : "false", onclick: () => change({ kind }) },
      el("kbd", {}, k + 1), ` ${title}`))),
    chooser("block", about.blocks, state.block, "block", block => change({ block })),
    chooser("head", heads.length, heads.findIndex(([, head]) => head === state.head), "head", k => change({ head: heads[k][1] }), k => heads[k][0]));
}

function lossFigure() {
  return figure("How surprised the model is", "The loss of each token of the target, in nats (units of the natural logarithm); behind it what the model finds most likely there, if that is another token.", { size: "half" },
    bars(contents.target.map((_, t) => ({
      label: tokenBox(targetAt(t)), size: contents.losses[t], warm: false,
      text: `${number(contents.losses[t])}${contents.best[t] === contents.target[t] ? "" : ` (${shownText(contents.best[t])})`}` }))));
}
function pullFigure() {
  return figure("What comes back to the encoder", "The length of the gradient of the loss at each token of the encoder’s output: the sum of what all decoder blocks send back through their keys and values.", { size: "half" },
    bars(contents.pull.map((size, s) => ({ label: tokenBox(sourceAt(s)), size, text: number(size) }))));
}

function draw() {
  const place = document.getElementById("view"), kind = KINDS[state.kind];
  const key = document.activeElement && document.activeElement.dataset.key;
  const numbers = mapOf(state.kind, state.block, state.head);
  drawControls();
  place.replaceChildren(el("div", { class: "grid" }, pairFigure(numbers, kind), mapFigure(numbers, kind), headsFigure(kind), lossFigure(), pullFigure()));
  paintAll();
  if (key && document.activeElement === document.body) {
    const again = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    (again || place).focus({ preventScroll: true });
  }
}

document.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") return;
  const kind = event.key === " " ? undefined : Object.keys(KINDS)[Number(event.key) - 1];
  if (kind) change({ kind });
});
window.addEventListener("hashchange", () => { restore(); draw(); });

drawHeader();
followTheme(draw);
document.getElementById("foot").append(el("p", {},
  `gpt_numpy ${about.version}. Every number is from this pass, shown with three digits. Keys: `, el("kbd", {}, "1"), "–", el("kbd", {}, Object.keys(KINDS).length),
  " choose the numbers; at a token ", el("kbd", {}, "↑"), " ", el("kbd", {}, "↓"), " go to its neighbours, ", el("kbd", {}, "←"), " ", el("kbd", {}, "→"), " to the other sentence, ", el("kbd", {}, "Esc"), " to all lines."));
restore();
draw();
document.documentElement.dataset.ready = "true";
