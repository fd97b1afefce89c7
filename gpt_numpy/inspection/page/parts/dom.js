// Elements. Strings become text nodes and attributes: nothing is ever parsed as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}
function el(tag, properties, ...children) { return fill(document.createElement(tag), properties, children); }
function svg(tag, properties, ...children) { return fill(document.createElementNS(SVG, tag), properties, children); }

// The children of an element become like these, in place where one is of the same kind, so that it keeps the
// focus, a pointer that drags it, and the browser lays out again only what differs; `stays` says which of them
// may. Those within one with data-stays all may.
function renewChildren(place, nodes, stays = () => true) {
  nodes.forEach((fresh, k) => {
    const old = place.childNodes[k];
    if (!old) place.append(fresh);
    else if (old.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; }
    else if (isOfKind(old, fresh) && stays(fresh)) renew(old, fresh, stays);
    else old.replaceWith(fresh);
  });
  while (place.childNodes.length > nodes.length) place.lastChild.remove();
}
function isOfKind(a, b) { return a.tagName && a.tagName === b.tagName && a.tagName !== "CANVAS" && ["id", "data-key", "data-stays"].every(name => a.getAttribute(name) === b.getAttribute(name)); }
const HANDLERS = ["onclick", "oninput", "onkeydown", "onchange", "onfocus", "onpointerenter"];
function renew(old, fresh, stays) {
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const name of fresh.getAttributeNames()) {
    const text = fresh.getAttribute(name);
    if (name === "style") { if (old.getAttribute(name) !== text) old.style.cssText = text; }  // the policy forbids the attribute
    else if (old.getAttribute(name) !== text) old.setAttribute(name, text);
  }
  for (const name of HANDLERS) if (old[name] !== fresh[name]) old[name] = fresh[name];
  const { value } = fresh;
  renewChildren(old, [...fresh.childNodes], fresh.dataset.stays ? undefined : stays);
  if (old.tagName === "SELECT" || old.tagName === "INPUT" && old !== document.activeElement) old.value = value;
}

// A figure: title, one sentence that says what it shows, and the drawing.
function figure(title, sentence, options, ...children) {
  const { formula, size } = options || {};
  return el("figure", { class: size || "" },
    el("h3", {}, title),
    el("figcaption", {}, sentence),
    formula && el("code", { class: "formula" }, formula),
    children);
}

// What one does with a finger, or with a pointer that hovers.
const TOUCHES = window.matchMedia("(pointer: coarse)").matches, POINT_AT = TOUCHES ? "Tap" : "Point at", CLICK_ON = TOUCHES ? "Tap" : "Click on";

function tokenBox(text) { return el("span", { class: "token" }, text); }

// Bars with a label before and a number after; `right` marks one; `warm` are orange, those below 0
// unless said otherwise.
function bars(items, largest) {
  const most = largest || Math.max(...items.map(item => Math.abs(item.size)), 1e-300);
  return el("div", { class: "bars" }, items.map(item => [
    el("span", { class: item.right ? "right" : "" }, item.label),
    el("span", { class: "track", "aria-hidden": "true" },
      el("i", { class: (item.warm === undefined ? item.size < 0 : item.warm) ? "warm" : "", style: { width: `${100 * Math.min(1, Math.abs(item.size) / most)}%` } })),
    el("span", {}, item.text)]));
}

function chooser(label, count, chosen, key, choose, name = k => String(k)) {
  const options = Array.from({ length: count }, (_, k) =>
    el("option", { value: k, selected: k === chosen }, name(k)));
  return el("label", {}, label,
    el("select", { "data-key": key, onchange: event => choose(Number(event.target.value)) }, options));
}
function chooseBlock() { return chooser("block", config.n_layer, state.block, "block", block => change({ block })); }
function chooseHead() { return chooser("head", config.n_head, state.head, "head", head => change({ head })); }
