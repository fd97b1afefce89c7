// What is shown: one state for all views, so that a choice in one holds in the others.

const state = { view: contents.live ? "story" : "transformer", block: 0, head: 0, position: T - 1, step: 0, scene: 0 };
const VIEWS = {};  // name: { title, draw }, in the order of the tabs

// Change the state and draw again; the focus stays where it was.
function change(values) {
  Object.assign(state, values);
  history.replaceState(null, "", address());
  drawSoon();
}
function go(view, values, scroll = () => window.scrollTo(0, 0)) {
  const before = address();
  if (view !== state.view) { opened = null; sceneOfOpened = ""; }  // a cell belongs to the pictures around it
  Object.assign(state, values || {}, { view });
  if (address() !== before) history.pushState(null, "", address());
  scrolls = scroll;
  drawSoon();
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

// On a phone the view, and what stands around it, are drawn in tasks of their own: Chromium ends a tap with a
// layout, and together with that all would be one long task.
const soon = { view: false, around: false };
function inItsOwnTask(part, f) {
  document.getElementById("view").dataset.painted = false;
  if (!soon[part]) setTimeout(() => { if (soon[part]) f(); });
  soon[part] = true;
}
function drawSoon() { if (TOUCHES) inItsOwnTask("view", draw); else draw(); }

function draw() {
  soon.view = false;
  const place = document.getElementById("view");
  const waits = contents.live && !running.forward;
  const fresh = waits ? [el("p", { class: "soft" }, running.failed || "Computing the first pass …")] : VIEWS[state.view].draw().filter(Boolean);
  if (contents.live && !waits && state.view !== "story" && state.view !== "play" && state.view !== "training") fresh.push(openedPanel());
  addPictureButtons(fresh);
  handOver(place, fresh);
  renewChildren(place, fresh, child => Boolean(child.dataset.stays || child.querySelector("[data-stays]")));
  document.body.dataset.view = state.view;
  place.setAttribute("aria-labelledby", `tab-${state.view}`);
  if (TOUCHES) inItsOwnTask("around", drawAround); else drawAround();
  finishSoon();
}
// The tabs, the text and the map.
function drawAround() {
  soon.around = false;
  const had = document.activeElement !== document.body;
  drawTabs();
  if (contents.live && running.forward) { drawPrompt(); drawMap(); }
  if (had && document.activeElement === document.body) document.getElementById("view").focus({ preventScroll: true });
  tellPainted();
}

// What has the focus may be about to go. To give the focus to another element makes the browser lay the page
// out, as long as all is new; so the view itself has it until finish() has laid all out.
let focused = null;  // the key of what had it
function handOver(place, fresh) {
  const active = document.activeElement;
  if (!place.contains(active)) return;
  const { key } = active.dataset, selector = key && `[data-key="${CSS.escape(key)}"]`;
  const again = selector && fresh.map(part => part.matches(selector) ? part : part.querySelector(selector)).find(Boolean);
  if (again && !again.disabled && active.closest("[data-stays]") && again.closest("[data-stays]")) return;
  if (active !== place) focused = again && !again.disabled ? key : null;
  place.focus({ preventScroll: true });
}
function handBack() {
  const place = document.getElementById("view"), again = focused && document.querySelector(`[data-key="${CSS.escape(focused)}"]`);
  focused = null;
  if (again && document.activeElement === place) again.focus({ preventScroll: true });
}

// The layout and all that depends on it come with the next frame, before it is shown: together with the
// elements they would be one long task.
let unfinished = false;
function finishSoon() {
  document.getElementById("view").dataset.painted = false;
  if (!unfinished) requestAnimationFrame(finish);
  unfinished = true;
}
function finish() {
  if (!unfinished) return;
  unfinished = false;
  const end = performance.now() + SPELL;
  layOut();
  if (contents.live) pointToOpened();
  handBack();
  paintUntil(end);
}
// At once and whole, for paper.
function drawAtOnce() { draw(); drawAround(); finish(); paintRest(); }
