// The story: a scene is one question and one picture, on the user's own text, with one worked cell.

if (contents.live) VIEWS.story = { title: "Story", draw: drawStory };
const SCENES = [...FORWARD_SCENES, ...BACKWARD_SCENES.map(scene => ({ ...scene, backward: true }))];
let sceneOfOpened = "";  // the scene whose worked cell was opened last

function drawStory() {
  const scene = SCENES[state.scene], needs = scene.backward && !running.backward;
  if (!needs && sceneOfOpened !== sceneKey()) { opened = scene.cell ? scene.cell() : null; sceneOfOpened = sceneKey(); }
  const part = scene.backward ? "The way back" : "Forward", number_ = state.scene + 1;
  const pictures = needs ? [el("p", { class: "soft" }, "Backward is being computed …")] : scene.backward ? [columnsOf(scene), derivation(scene.out())] : [el("div", { class: "pictures" }, scene.pictures())];
  return [
    el("div", { class: "scene-head", "data-stays": "scene-head" },
      el("div", {}, el("p", { class: "soft small" }, `${part} · scene ${number_} of ${SCENES.length}`), el("h2", { id: "question" }, scene.question())),
      sceneButtons()),
    sceneRail(),
    el("div", { class: `scene ${scene.backward ? "sublayer" : ""}` },
      el("div", { class: "scene-text" }, scene.text().map(text => el("p", {}, text))),
      pictures, scene.cell ? laterOnAPhone(openedPanel()) : null),
    el("div", { class: "bar below", "data-stays": "below" }, el("button", { type: "button", class: "button main", "data-key": "scene-next-below", disabled: state.scene === SCENES.length - 1, onclick: () => turnScene(1) }, "next →")),
  ];
}
// The equation stands below its pictures there, out of sight: to lay out its mathematics takes half of all.
function laterOnAPhone(panel) {
  if (drawnWidth < 640 && !panel.matches(".chosen, .empty")) panel.classList.add("later");
  return panel;
}
function columnsOf(scene) {
  const columns = scene.columns();
  return el("div", { class: "three" }, ["needed from forward", "gradient coming in", "gradient going out"].map((title, k) => el("div", {}, el("p", { class: "column" }, title), columns[k])));
}
// The derivation's steps: the line of forward, the equation of each gradient that goes out, and the check.
function derivation(names) {
  const steps = [], has_ = (step, name) => STEPS[step].equations.some(e => e.array === name);
  for (const name of names) if (!steps.some(step => has_(step, name)) && stepOf(name) >= 0) steps.push(stepOf(name));
  return el("ol", { class: "derivation" }, steps.map(step => el("li", {},
    "forward ", el("code", {}, STEPS[step].forward.join("; ")),
    el("button", { type: "button", class: "link", onclick: () => go("backwards", { step }) }, `step ${step + 1} of ${STEPS.length}`),
    STEPS[step].equations.filter(e => names.includes(e.array)).map(e => el("div", {}, el("code", {}, e.text), " ", badge(e.array))))));
}
// A table that the output head shares has its whole gradient in the last of its steps.
function stepOf(name) {
  const has_ = ({ equations }) => equations.some(e => e.array === name);
  return has(name) && contents.arrays[name].kind === "parameter" ? STEPS.findLastIndex(has_) : STEPS.findIndex(has_);
}
// The verdict in few words; all of it stands in the step.
function badge(name) {
  const found = contents.verdicts[name], untouched = isUntouched(), difference = agreement(name);
  if (!found || !untouched) return el("span", { class: "badge verdict none", "data-badge": name }, found ? "not checked for this change" : "not checked");
  const right = found.ok && (difference === null || difference <= 1e-3);
  return el("span", { class: `badge verdict ${right ? "ok" : "bad"}`, "data-badge": name, title: verdict(name).textContent }, right ? `✓ an independent derivative agrees to ${number(found.error)}` : "✗ WRONG");
}

// Pictures of the way back are as high as the screen allows, so that their scene needs no scrolling.
let fitted = 0;  // the height of a picture; 0: its own
const LEAST = 40, MOST = 320;
function fitScene() {
  fitted = 0;
  const scene = document.querySelector(".scene.sublayer .three") && document.querySelector(".scene.sublayer");
  if (!scene || drawnWidth < 992) { fitAll(); return; }
  const drawn = column => [...column.querySelectorAll("canvas")].filter(canvas => canvas.dataset.fit).length;
  const count = Math.max(...[...scene.querySelector(".three").children].map(drawn), 1);
  fitted = LEAST;
  fitAll();
  const spare = window.innerHeight - 10 - (scene.getBoundingClientRect().bottom + window.scrollY);
  fitted = Math.max(LEAST, Math.min(MOST, LEAST + spare / count));
  fitAll();
}

function sceneKey() { return `${state.scene} ${state.block} ${state.head} ${state.position} ${T}`; }

function sceneButtons() {
  const last = SCENES.length - 1;
  return el("div", { class: "bar scene-buttons" },
    el("button", { type: "button", class: "button", "data-key": "scene-before", disabled: state.scene === 0, onclick: () => turnScene(-1) }, "← before"),
    el("button", { type: "button", class: "button", "data-key": "explore", title: "Leave the story here; the tab Story comes back", onclick: explore }, "explore"),
    el("button", { type: "button", class: "button main", "data-key": "scene-next", disabled: state.scene === last, onclick: () => turnScene(1) }, state.scene === FORWARD_SCENES.length - 1 ? "the way back →" : "next →"));
}
function sceneRail() {
  return el("div", { class: "rail", role: "group", "aria-label": "Scenes", "data-stays": "rail" }, SCENES.map((scene, k) => el("button", {
      type: "button", class: `${k < state.scene ? "done" : ""}${scene.backward ? " backward" : ""}`, tabindex: k === state.scene ? 0 : -1, "aria-current": k === state.scene ? "step" : null, "data-key": `rail-${k}`,
      title: scene.question(), "aria-label": `scene ${k + 1}: ${scene.question()}`, onclick: () => go("story", { scene: k }) })));
}
// Leave the story at the place of which the scene speaks.
function explore() {
  const { place, backward } = SCENES[state.scene], step = backward ? stepOf(SCENES[state.scene].out()[0]) : -1;
  if (step >= 0) { go("backwards", { step }); return; }
  const section = { ln_1: "norm", ln_f: "norm", mlp: "mlp", add_1: "stream", add_2: "stream", head: "head", loss: "head" }[place];
  go(section ? "layers" : place === "tokens" ? "embedding" : place, section ? { section, ...(section === "norm" ? { norm: place } : {}) } : {});
}
function turnScene(by) {
  const scene = clamp(state.scene + by, SCENES.length);
  if (scene === state.scene) return;
  // On a phone text and map stand above: the question is what one wants to see.
  if (drawnWidth < 640) go("story", { scene }, () => document.querySelector(".scene-head").scrollIntoView());
  else go("story", { scene });
}

// Space and the arrow keys turn over; so does a swipe that is not a scroll. A button that is chosen already
// has nothing to do with Space, as the token that was clicked, which has the focus.
document.addEventListener("keydown", event => {
  if (state.view !== "story" || event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
  if (["TEXTAREA", "SELECT", "INPUT"].includes(event.target.tagName)) return;
  const pressed = event.target.tagName === "BUTTON" && !event.target.matches('[aria-pressed="true"], [aria-current]');
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
    heatmap(shown, { ...names, of, label: title, key: `story-${title}`, fit: SCENES[state.scene].backward && shown && shown.rows > 1, height: high, chosen: only === undefined && m && m.rows === T ? state.position : undefined,
      describe: (row, col, x) => `${which === "grad" ? "gradient of " : ""}${cellInWords(name, row + (only || 0), col, head)}: ${number(x)}`, ...others }));
}
// The position of which a scene speaks: for the loss and the way back one whose next token is known.
function here() { return state.position; }
function insteadOfLast() { return hasTarget(state.position) || T < 2 ? "" : `After ${quoted(state.position)} the text ends, so ${quoted(hereWithTarget())} is looked at instead. `; }
function hereWithTarget() { return hasTarget(state.position) ? state.position : Math.max(T - 2, 0); }
