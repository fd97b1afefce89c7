// The user's text, token by token: choosing one here chooses the position of every view.

let rowNames = contents.tokens.map(nameOf);

// options: shades (a number in 0 to 1 for each token, which colours it), largest, title, hover(position)
function tokenStrip(options) {
  const o = options || {};
  if (contents.live && !options) return null;  // prompt.js shows the text above every view
  return el("div", { class: "tokens", role: "group", "aria-label": "The text: choose a token" },
    contents.tokens.map((token, position) => {
      const share = o.shades ? o.shades[position] : null;
      const style = share === null || share === undefined ? {} : {
        background: css("sequential", share, o.largest || 1), color: inkOn("sequential", share, o.largest || 1) };
      return el("button", {
        type: "button", style, "data-key": `token-${position}`, "aria-pressed": position === state.position ? "true" : "false",
        title: o.title ? o.title(position) : `position ${position}`,
        "aria-label": `${nameOf(token)}, position ${position}`,
        onclick: () => change({ position }),
        onpointerenter: () => o.hover && o.hover(position),
        onfocus: () => o.hover && o.hover(position),
        onkeydown: event => walk(event, position) }, nameOf(token));
    }));
}
function walk(event, position) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  const next = clamp(position + step, T);
  change({ position: next });
  const button = document.querySelector(`[data-key="token-${next}"]`);
  if (button) button.focus({ preventScroll: true });
}

// The rows of a (T, channels) array with their tokens; a click chooses one, which is outlined.
function ofText(what, m, extra) {
  return {
    rowNames, chosen: state.position, label: what, pick: position => change({ position }),
    describe: (row, col, x) => `${what}, ${quoted(row)}, channel ${channel(col, m)}: ${number(x)}`,
    ...extra,
  };
}

// Of the losses, one at each position: where the text ends there is none.
const WITHOUT_LOSS = { masked: (row, col) => !hasTarget(col), maskedWords: "no loss here: the text ends", hatch: true };

// The most likely next tokens after a position; the actual one is marked.
function nextTokens(position, count = 10) {
  const p = matrixOf(contents.next.probabilities), right = contents.targets[position];
  const listed = contents.next.tokens[position].slice(0, count);
  const items = listed.map((token, k) => ({ label: tokenBox(nameOf(token)), size: at(p, position, k), text: percent(at(p, position, k)), right: token === right }));
  if (right >= 0 && !listed.includes(right)) {
    const its = numbersOf(contents.next.right)[position];
    items.push({ label: tokenBox(nameOf(right)), size: its, text: percent(its), right: true });
  }
  return bars(items, 1);
}

let decoded = new Map();
function numbersOf(packed) { if (!decoded.has(packed)) decoded.set(packed, unpack(packed)); return decoded.get(packed).data; }
function matrixOf(packed) { numbersOf(packed); return matrix(decoded.get(packed)); }
