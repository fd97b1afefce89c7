// The picture: two sentences, and a line between two tokens for each weight.

const WEAKEST = 0.02;  // of the largest: weaker ones have no line
const IN_WORDS = 5;
const ROW = 28;  // pixels from one token to the next, as in alignment.css

function pairFigure(numbers, kind) {
  const height = Math.max(S, T) * ROW, largest = largestOf(numbers) || 1;
  const readout = el("p", { class: `readout ${state.side ? "" : "idle"}`, "aria-live": "polite" }, chosenInWords(numbers));
  return figure(`${kind.title[0].toUpperCase()}${kind.title.slice(1)}, ${placeName()}`, kind.sentence, { size: "two-thirds" },
    el("div", { class: "names", "aria-hidden": "true" }, el("span", {}, "source"), el("span", {}, "target")),
    el("div", { class: "pair" }, sentence("source", contents.source, height),
      svg("svg", { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", style: { height: `${height}px` }, role: "img", "aria-label": `Lines between source and target: ${kind.title}, ${placeName()}` }, lines(numbers, kind, largest, height)),
      sentence("target", contents.target, height)),
    el("div", { class: "under" }, readout, legend(kind.palette, largest)));
}

function sentence(side, tokens) {
  const current = state.side === side ? state.index : 0;
  return el("ol", { class: `sentence ${side}`, "aria-label": side, start: 0 }, tokens.map((token, k) => {
    const chosen = state.side === side && state.index === k;
    return el("li", {}, el("button", {
      type: "button", class: isSpecial(side, k) ? "special" : "", "data-key": `${side}-${k}`, title: shownText(token),
      "aria-pressed": chosen ? "true" : "false", "aria-label": `${side} token ${k}, ${shownText(token)}`, tabindex: k === current ? 0 : -1,
      onclick: () => change(chosen ? { side: "", index: 0 } : { side, index: k }), onkeydown: event => walk(event, side, k) }, shownText(token)));
  }));
}
// The last token of each sentence is END.
function isSpecial(side, k) { return contents[side][k] === "END" && k === contents[side].length - 1; }

// Up and down to the neighbours, left and right to the other sentence, Escape to all lines.
function walk(event, side, k) {
  const other = side === "source" ? "target" : "source", length = contents[side].length;
  const steps = { ArrowUp: [side, k - 1], ArrowDown: [side, k + 1], Home: [side, 0], End: [side, length - 1], [side === "source" ? "ArrowRight" : "ArrowLeft"]: [other, k] };
  if (event.key === "Escape") change({ side: "", index: 0 });
  else if (event.key in steps) {
    const [to, wanted] = steps[event.key];
    const index = Math.max(0, Math.min(contents[to].length - 1, wanted));
    change({ side: to, index });
    document.querySelector(`[data-key="${to}-${index}"]`).focus();
  } else return;
  event.preventDefault();
}

function lines(numbers, kind, largest, height) {
  const y = (k, count) => (height - count * ROW) / 2 + (k + 0.5) * ROW;
  const drawn = [], [blue, orange] = [named("--accent"), named("--warm")];
  numbers.forEach((x, k) => {
    const t = Math.floor(k / S), s = k % S, share = Math.abs(x) / largest;
    if (!(share >= WEAKEST)) return;
    const aside = state.side && (state.side === "target" ? t : s) !== state.index;
    drawn.push({ share: aside ? share - 1 : share, element: svg("path", {
      d: `M 0 ${y(s, S)} C 40 ${y(s, S)}, 60 ${y(t, T)}, 100 ${y(t, T)}`, fill: "none", "vector-effect": "non-scaling-stroke",
      stroke: kind.palette === "sequential" || x < 0 ? blue : orange,
      "stroke-width": (0.6 + 5 * share).toFixed(2), opacity: aside ? 0.06 : Math.max(0.08, share).toFixed(3), "data-t": t, "data-s": s }) });
  });
  return drawn.sort((a, b) => a.share - b.share).map(line => line.element);  // the strongest on top
}

// What the chosen token reads, or is read by, in words: the strongest first.
function chosenInWords(numbers) {
  if (!state.side) return "Choose a token, by pointer or with the arrow keys, to see its lines alone.";
  const mine = state.side === "target"
    ? contents.source.map((_, s) => [sourceAt(s), numbers[state.index * S + s]])
    : contents.target.map((_, t) => [targetAt(t), numbers[t * S + state.index]]);
  const strong = mine.filter(([, x]) => x).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, IN_WORDS);
  const name = state.side === "target" ? `“${targetAt(state.index)}” is read from` : `“${sourceAt(state.index)}” is read for`;
  return `${name} ${strong.map(([token, x]) => `“${token}” ${number(x)}`).join(", ") || "nothing"}`;
}
