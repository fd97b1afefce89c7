// The story: a scene is one question and one picture, on the user's own text, with one worked cell.

if (contents.live) VIEWS.story = { title: "Story", draw: drawStory };
const SCENES = [...FORWARD_SCENES, ...BACKWARD_SCENES.map(scene => ({ ...scene, backward: true }))];
let sceneOfOpened = -1;  // the scene whose worked cell was opened last

function drawStory() {
  const scene = SCENES[state.scene], needs = scene.backward && !running.backward;
  if (!needs && sceneOfOpened !== sceneKey()) { opened = scene.cell(); sceneOfOpened = sceneKey(); }
  const part = scene.backward ? "The way back" : "Forward", number_ = state.scene + 1;
  return [
    el("div", { class: "scene-head" },
      el("div", {}, el("p", { class: "soft small" }, `${part} · scene ${number_} of ${SCENES.length}`), el("h2", { id: "question" }, scene.question())),
      sceneButtons()),
    sceneRail(),
    el("div", { class: "scene" },
      el("div", { class: "scene-text" }, scene.text().map(text => el("p", {}, text))),
      el("div", { class: "pictures" }, needs ? el("p", { class: "soft" }, "Backward is being computed …") : scene.pictures()),
      openedPanel()),
  ];
}
function sceneKey() { return `${state.scene} ${state.block} ${state.head} ${state.position} ${T}`; }

function sceneButtons() {
  const last = SCENES.length - 1;
  return el("div", { class: "bar scene-buttons" },
    el("button", { type: "button", class: "button", "data-key": "scene-before", disabled: state.scene === 0, onclick: () => turnScene(-1) }, "← before"),
    el("button", { type: "button", class: "button main", "data-key": "scene-next", disabled: state.scene === last, onclick: () => turnScene(1) }, state.scene === FORWARD_SCENES.length - 1 ? "the way back →" : "next →"));
}
function sceneRail() {
  return el("div", { class: "rail", role: "group", "aria-label": "Scenes" }, SCENES.map((scene, k) => el("button", {
      type: "button", class: `${k < state.scene ? "done" : ""}${scene.backward ? " backward" : ""}`, tabindex: k === state.scene ? 0 : -1, "aria-current": k === state.scene ? "step" : null,
      title: scene.question(), "aria-label": `scene ${k + 1}: ${scene.question()}`, onclick: () => go("story", { scene: k }) })));
}
function turnScene(by) {
  const scene = clamp(state.scene + by, SCENES.length);
  if (scene !== state.scene) go("story", { scene });
}

// Space and the arrow keys turn over; so does a swipe that is not a scroll.
document.addEventListener("keydown", event => {
  if (state.view !== "story" || event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
  if (["TEXTAREA", "SELECT", "INPUT"].includes(event.target.tagName)) return;
  const pressed = ["BUTTON", "CANVAS"].includes(event.target.tagName);
  const by = event.key === " " && !pressed ? (event.shiftKey ? -1 : 1) : { ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  turnScene(by);
});
let touched = null;
document.addEventListener("touchstart", event => { touched = event.touches.length === 1 ? [event.touches[0].clientX, event.touches[0].clientY, event.target] : null; }, { passive: true });
document.addEventListener("touchend", event => {
  if (!touched || state.view !== "story" || touched[2].closest("canvas, textarea, input, .tokens, .source")) return;
  const [x, y] = [event.changedTouches[0].clientX - touched[0], event.changedTouches[0].clientY - touched[1]];
  if (Math.abs(x) > 60 && Math.abs(x) > 2 * Math.abs(y)) turnScene(x < 0 ? 1 : -1);
}, { passive: true });

// ---------------------------------------------------------------- pictures

// A figure of an array of the text: rows are tokens, or one row alone.
function picture_(title, sentence, name, options = {}) {
  const { which = "value", head, only, height, wide, ...others } = options;
  const m = mat(name, which, head || 0), of = { name, which, head: head === undefined ? undefined : head, first: only === undefined ? 0 : only };
  const shown = only === undefined ? m : m && oneRow(m, only);
  const square = only === undefined && m && m.rows === m.cols && m.rows === T && m.cols === T && /scores|probabilities/.test(name);
  const names = only !== undefined ? { rowNames: [tokenAt(only)] } : square ? { rowNames, colNames: rowNames } : m && m.rows === T ? { rowNames } : {};
  const high = height || (only !== undefined ? 24 : square ? undefined : Math.max(4, Math.min(11, 250 / (m ? m.rows : 1))));
  return el("figure", { class: `${square ? "square" : ""} ${wide ? "wide" : ""}` }, el("h3", {}, title), el("figcaption", {}, sentence),
    heatmap(shown, { ...names, of, label: title, key: `story-${title}`, height: high, chosen: only === undefined && m && m.rows === T ? state.position : undefined,
      describe: (row, col, x) => `${which === "grad" ? "gradient of " : ""}${cellInWords(name, row + (only || 0), col, head)}: ${number(x)}`, ...others }));
}
// The position of which a scene speaks: for the loss and the way back one whose next token is known.
function here() { return state.position; }
function strongestRow(name, which, head = 0) {
  const m = mat(name, which, head), sizes = Array.from({ length: m.rows }, (_, r) => rowOf(m, r).reduce((sum, x) => sum + x * x, 0));
  return argmax(sizes, m.rows);
}
function hereWithTarget() { return hasTarget(state.position) ? state.position : Math.max(T - 2, 0); }
