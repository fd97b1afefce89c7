// The map of the model, always in view: where one is, forward and backward, and how wide the stream is.

const PLACES = [
  ["tokens", "tokens", "tok"], ["embedding", ["learned", "sinusoidal"].includes(config.positions) ? "two tables" : "table", "tab"], ["ln_1", "norm", "norm"], ["attention", "attention", "att"], ["add_1", "+", "+"],
  ["ln_2", "norm", "norm"], ["mlp", "MLP", "MLP"], ["add_2", "+", "+"], ["ln_f", "last norm", "norm"], ["head", "logits", "logits"], ["loss", "loss", "loss"],
];
const OF_BLOCK = ["ln_1", "attention", "add_1", "ln_2", "mlp", "add_2"];

// The stream as it is at a place.
function streamAt(place) {
  const b = `h.${state.block}`, last = `h.${config.n_layer - 1}.resid_post`;
  return { embedding: "embedding.out", ln_1: streamBefore(`${b}.attn`), attention: streamBefore(`${b}.attn`), add_1: `${b}.resid_mid`, ln_2: `${b}.resid_mid`, mlp: `${b}.resid_mid`, add_2: `${b}.resid_post`, ln_f: last }[place];
}

function drawMap() {
  const aside = document.getElementById("map");
  if (!contents.live) return;
  aside.hidden = false;
  const { place, backward } = whereOnMap();
  const names = [...new Set(PLACES.map(([key]) => streamAt(key)).filter(Boolean))];
  const sizes = Object.fromEntries(names.map(name => [name, running.forward ? streamSize(name, backward) : 0])), largest = Math.max(...Object.values(sizes), 1e-300);
  renewChildren(aside, [
    el("p", { class: "direction" }, backward ? "↑ backward" : "↓ forward"),
    el("ol", { class: backward ? "map-places back" : "map-places" }, PLACES.map(([key, long, short_]) => {
      const stream = streamAt(key), wide = stream ? 2 + 12 * sizes[stream] / largest : 0;
      return el("li", { class: OF_BLOCK.includes(key) ? "of-block" : "" },
        el("i", { class: "stream", "aria-hidden": "true", style: { width: `${wide.toFixed(1)}px`, marginLeft: `${(8 - wide / 2).toFixed(1)}px` } }),
        el("button", { type: "button", class: "place", "data-key": `map-${key}`, "aria-current": key === place ? "location" : null, "aria-label": `${long === "+" ? "sum with the stream" : long}${OF_BLOCK.includes(key) ? `, block ${state.block}` : ""}`,
          title: stream ? `${stream}: ${backward ? `gradient ${number(sizes[stream])}, all tokens together` : `mean length of a token’s vector ${number(sizes[stream])}`}` : long, onclick: () => goToPlace(key) },
          el("span", { class: "long" }, long), el("span", { class: "short" }, short_)));
    })),
    config.n_layer > 1 ? el("div", { class: "which-block" }, chooser("block", config.n_layer, state.block, "map-block", block => change({ block }), k => `${k} of 0–${config.n_layer - 1}`)) : null,
    config.n_head > 1 ? el("div", { class: "which-block" }, chooser("head", config.n_head, state.head, "map-head", head => change({ head }), k => `${k} of 0–${config.n_head - 1}`)) : null,
    el("p", { class: "small soft width-note" }, `The stream is as wide as ${backward ? "its gradient" : "its vectors are long"}.`)].filter(Boolean));
}
// The mean length of the vectors, or the length of their whole gradient, as the scenes have it.
function streamSize(name, backward) { return backward ? gradientNorm(name) : lengthOf(name); }

function whereOnMap() {
  if (state.view === "story") return { place: SCENES[state.scene].place, backward: SCENES[state.scene].backward };
  if (state.view === "backwards") return { place: placeOfStep(contents.steps[state.step]), backward: true };
  const of = { embedding: "embedding", attention: "attention", layers: { stream: "add_2", norm: state.norm, mlp: "mlp", head: "head" }[state.section], play: "head" };
  return { place: of[state.view], backward: false };
}
function placeOfStep(step) {
  const title = step.title;
  if (title === "softmax and loss") return "loss";
  if (title === "head") return "head";
  if (title.startsWith("last ")) return "ln_f";
  if (step.place === "embedding") return "embedding";
  const mlp = step.equations.some(e => e.array.includes(".mlp.") || e.array.includes("ln_2") || e.array.endsWith("resid_mid"));
  if (title === "layer norm" || title === "RMSNorm") return mlp ? "ln_2" : "ln_1";
  if (title.startsWith("sum")) return mlp ? "add_2" : "add_1";
  return mlp ? "mlp" : "attention";
}
function goToPlace(key) {
  const backward = whereOnMap().backward, order = SCENES.map((scene, k) => [scene, k]);
  if (state.view === "backwards") {
    const step = contents.steps.findIndex(s => placeOfStep(s) === key && (!OF_BLOCK.includes(key) || s.place === `block ${state.block}`));
    if (step >= 0) { change({ step }); return; }
  }
  const found = order.find(([scene]) => scene.place === key && scene.backward === backward) || order.find(([scene]) => scene.place === key);
  if (found) go("story", { scene: found[1] });
}
