// What is shown: one state for all views, so that a choice in one holds in the others.

const state = { view: contents.live ? "story" : "transformer", block: 0, head: 0, position: T - 1, step: 0, scene: 0 };
const VIEWS = {};  // name: { title, draw }, in the order of the tabs

// Change the state and draw again; the focus stays where it was.
function change(values) {
  Object.assign(state, values);
  history.replaceState(null, "", address());
  draw();
}
function go(view, values, scroll = () => window.scrollTo(0, 0)) {
  const before = address();
  if (view !== state.view) { opened = null; sceneOfOpened = ""; }  // a cell belongs to the pictures around it
  Object.assign(state, values || {}, { view });
  if (address() !== before) history.pushState(null, "", address());
  scrolls = scroll;
  draw();
}

// The state is in the address, so that reload, a bookmark and Back show the same again.
function address() {
  return "#" + [state.view, ...Object.keys(limits()).map(name => `${name}=${state[name]}`), ...changesInAddress()].join("&");
}
// The text and what is switched off, where the reader has changed them.
function changesInAddress() {
  if (!contents.live) return [];
  const text = isOriginalText() ? [] : [`text=${experiment.tokens.join(".")}`], off = offAsText();
  const at = experiment.checkpoint === null ? [] : [`checkpoint=${experiment.checkpoint}`];
  return [...text, ...at, ...(off ? [`off=${encodeURIComponent(off)}`] : [])];
}
function rememberState() { history.replaceState(null, "", address()); }
// What each part of the state may be: a number below a limit, or one of some words.
function limits() {
  return { block: config.n_layer, head: config.n_head, position: contents.live ? experiment.tokens.length : T, step: contents.steps.length, ...(contents.live ? { scene: SCENES.length } : {}), section: Object.keys(SECTIONS), norm: ["ln_1", "ln_2", "ln_f"] };
}
// Take over from the address what it may say; whatever else it says is ignored.
function restore() {
  const [view, ...parts] = location.hash.slice(1).split("&");
  if (!Object.hasOwn(VIEWS, view)) return;
  state.view = view;
  if (contents.live) restoreChanges(parts);
  for (const [name, limit] of Object.entries(limits())) {
    const text = (parts.find(part => part.startsWith(`${name}=`)) || "").slice(name.length + 1);
    if (Array.isArray(limit) ? limit.includes(text) : /^\d+$/.test(text) && Number(text) < limit) state[name] = Array.isArray(limit) ? text : Number(text);
  }
}

// The text and the switches of the address; what no token or part has the number of is left out.
function restoreChanges(parts) {
  const after = name => (parts.find(part => part.startsWith(`${name}=`)) || "").slice(name.length + 1);
  const tokens = after("text").split(".").filter(part => /^\d+$/.test(part)).map(Number).filter(token => token < config.vocab_size).slice(0, config.block_size);
  experiment.tokens = tokens.length ? tokens : experiment.original.slice();
  let off = "";
  try { off = decodeURIComponent(after("off")); } catch { off = ""; }
  experiment.off = offFromText(off);
  const at = Number(after("checkpoint") || NaN);
  experiment.checkpoint = contents.live.earlier.some(({ iteration }) => iteration === at) ? at : null;
  state.position = experiment.tokens.length - 1;
}

function draw() {
  const place = document.getElementById("view");
  const key = document.activeElement && document.activeElement.dataset.key;
  const waits = contents.live && !running.forward;
  place.replaceChildren(...(waits ? [el("p", { class: "soft" }, running.failed || "Computing the first pass …")] : VIEWS[state.view].draw().filter(Boolean)));
  if (contents.live && !waits && state.view !== "story" && state.view !== "play" && state.view !== "training") place.append(openedPanel());
  document.body.dataset.view = state.view;
  place.dataset.painted = false;
  place.setAttribute("aria-labelledby", `tab-${state.view}`);
  drawTabs();
  if (!waits && contents.live) drawPrompt();
  addPictureButtons(place);
  if (contents.live && running.forward) drawMap();
  if (!unfinished) requestAnimationFrame(finish);
  unfinished = true;
  if (key && document.activeElement === document.body) {
    const again = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    (again && !again.disabled ? again : place).focus({ preventScroll: true });
  }
}

// The layout and all that depends on it come with the next frame, before it is shown: together with the
// elements they would be one long task.
let unfinished = false;
function finish() {
  if (!unfinished) return;
  unfinished = false;
  fitScene();
  paintAll();
  if (contents.live) pointToOpened();
}
// At once and whole, for paper.
function drawAtOnce() { draw(); finish(); paintRest(); }
