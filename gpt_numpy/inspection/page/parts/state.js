// What is shown: one state for all views, so that a choice in one holds in the others.

const state = { view: "transformer", block: 0, head: 0, position: T - 1, step: 0 };
const VIEWS = {};  // name: { title, draw }, in the order of the tabs

// Change the state and draw again; the focus stays where it was.
function change(values) {
  Object.assign(state, values);
  draw();
}
function go(view, values) {
  Object.assign(state, values || {}, { view });
  if (location.hash.slice(1) !== view) history.replaceState(null, "", `#${view}`);
  draw();
  window.scrollTo(0, 0);
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
