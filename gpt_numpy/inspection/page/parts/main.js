// The frame: what the page is about, the tabs, the keys, light and dark.

function drawHeader() {
  const facts = [["parameters", about.parameters.toLocaleString("en")], ["blocks", config.n_layer], ["heads", config.n_head], ["channels", config.n_embd],
    ["vocabulary", config.vocab_size], ...(contents.live ? [] : [["loss on this text", `${number(about.loss)} nats a token`], ["layers", `${about.ops}, ${about.dtype}`]])];
  const shown = Array.from(about.text).slice(0, 160).join("");
  document.getElementById("top").append(
    el("div", {},
      el("h1", {}, `Inside ${about.folder}`),
      contents.live ? null : el("p", {}, "reading ", el("q", {}, shown.replace(/\n/g, " ⏎ "), about.text.length > shown.length ? "…" : "")),
      el("div", { class: "facts" }, facts.map(([name, value]) => el("span", {}, `${name} `, el("b", {}, value))))),
    el("button", { type: "button", class: "switch", id: "theme", onclick: switchTheme }));
  document.body.classList.toggle("is-live", Boolean(contents.live));
  document.title = `Inside ${about.folder} – gpt_numpy`;
}

function drawTabs() {
  const nav = document.getElementById("tabs");
  if (nav.dataset.chosen === state.view) return;
  nav.dataset.chosen = state.view;
  renewChildren(nav, Object.entries(VIEWS).map(([name, { title }], k) => el("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-selected": name === state.view ? "true" : "false", "aria-controls": "view", "data-key": `tab-${name}`,
    tabindex: name === state.view ? 0 : -1, onclick: () => go(name), onkeydown: event => walkTabs(event, k) }, el("kbd", {}, k + 1), title)));
  const chosen = document.getElementById(`tab-${state.view}`);
  requestAnimationFrame(() => { nav.scrollLeft = chosen.offsetLeft - nav.clientWidth / 2 + chosen.offsetWidth / 2; });
}

function walkTabs(event, k) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  const names = Object.keys(VIEWS), name = names[(k + step + names.length) % names.length];
  event.preventDefault();
  event.stopPropagation();
  go(name);
  document.getElementById(`tab-${name}`).focus();
}

// The figures 1, 2, ... open a view; in the view of backward the arrow keys go from step to step.
document.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || ["SELECT", "TEXTAREA", "INPUT"].includes(event.target.tagName)) return;
  const name = event.key === " " ? undefined : Object.keys(VIEWS)[Number(event.key) - 1];
  if (name) go(name);
  else if (state.view === "backwards" && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
    event.preventDefault();
    turn(event.key === "ArrowRight" ? 1 : -1);
  }
});

function switchTheme() { setTheme(theme() === "dark" ? "light" : "dark"); drawSoon(); }

window.addEventListener("popstate", () => {
  const before = changesInAddress().join(), { checkpoint } = experiment;
  restore();
  const changed = changesInAddress().join() !== before;
  if (changed) running.forward = false;  // what is on the screen is of another text
  draw();
  if (changed && experiment.checkpoint !== checkpoint) chooseCheckpoint(experiment.checkpoint);
  else if (changed) recompute();
});

drawHeader();
followTheme(drawAtOnce);
document.getElementById("foot").append(el("p", {},
  `gpt_numpy ${about.version}. Every number is from this pass, shown with three digits.`,
  about.group > 1 ? ` Channels are shown in groups of ${about.group}, each represented by its largest in magnitude.` : "",
  contents.live ? " Computed in this page, in float64, from the model’s own parameters." : contents.recorded === "asked for" ? "" : ` A recorded pass: ${contents.recorded}.`,
  " Keys: ", el("kbd", {}, "1"), "–", el("kbd", {}, Object.keys(VIEWS).length), " open the views, ", el("kbd", {}, "←"), " ", el("kbd", {}, "→"), contents.live ? [", ", el("kbd", {}, "Space"), " turn over"] : " go through backward", " (at a token ", el("kbd", {}, "←"), " ", el("kbd", {}, "→"), " choose another, in a picture another cell), ", "Tab reaches everything else."));
restore();
draw();
if (contents.live) { drawPrompt(); startLive().then(() => { document.documentElement.dataset.ready = "true"; }); } else document.documentElement.dataset.ready = "true";
