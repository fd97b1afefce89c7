// What is shown: one state for all views, so that a choice in one holds in the others.

const state = { view: "transformer", block: 0, head: 0, position: T - 1, step: 0 };
const VIEWS = {};  // name: { title, draw }, in the order of the tabs

// Change the state and draw again; the focus stays where it was.
function change(values) {
  Object.assign(state, values);
  history.replaceState(null, "", address());
  draw();
}
function go(view, values) {
  const before = address();
  Object.assign(state, values || {}, { view });
  if (address() !== before) history.pushState(null, "", address());
  draw();
  window.scrollTo(0, 0);
}

// The state is in the address, so that reload, a bookmark and Back show the same again.
function address() {
  return "#" + [state.view, ...Object.keys(limits()).map(name => `${name}=${state[name]}`)].join("&");
}
// What each part of the state may be: a number below a limit, or one of some words.
function limits() {
  return { block: config.n_layer, head: config.n_head, position: T, step: contents.steps.length, section: Object.keys(SECTIONS), norm: ["ln_1", "ln_2", "ln_f"] };
}
// Take over from the address what it may say; whatever else it says is ignored.
function restore() {
  const [view, ...parts] = location.hash.slice(1).split("&");
  if (!Object.hasOwn(VIEWS, view)) return;
  state.view = view;
  for (const [name, limit] of Object.entries(limits())) {
    const text = (parts.find(part => part.startsWith(`${name}=`)) || "").slice(name.length + 1);
    if (Array.isArray(limit) ? limit.includes(text) : /^\d+$/.test(text) && Number(text) < limit) state[name] = Array.isArray(limit) ? text : Number(text);
  }
}

function draw() {
  const place = document.getElementById("view");
  const key = document.activeElement && document.activeElement.dataset.key;
  place.replaceChildren(...VIEWS[state.view].draw());
  place.setAttribute("aria-labelledby", `tab-${state.view}`);
  drawTabs();
  paintAll();
  if (key) {
    const again = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
    if (again) again.focus({ preventScroll: true });
  }
}
