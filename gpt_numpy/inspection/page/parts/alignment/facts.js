// What the page is about: the contents, and which of them are shown.

const contents = JSON.parse(document.getElementById("contents").textContent);
const about = contents.about, S = contents.source.length, T = contents.target.length;

const KINDS = {
  weights: { title: "weights", palette: "sequential", sentence: "How strongly each token of the target, as it is predicted, is read from each token of the source: the weights of cross-attention. A row of them sums to 1." },
  dweights: { title: "gradient of the weights", palette: "diverging", sentence: "Backward: how the loss of this pair would change if a weight grew by itself. Orange makes the loss larger, blue makes it smaller." },
  dscores: { title: "gradient of the scores", palette: "diverging", sentence: "Backward, through the softmax: how the loss would change if a query matched a key better, which takes from the other weights of its row. A row sums to 0; training moves against the colour." },
};
const MEAN = -1;  // instead of a head: the mean of all

// side: the sentence of the chosen token, "source", "target" or ""; index: its place.
const state = { kind: "weights", block: about.blocks - 1, head: MEAN, side: "", index: 0 };

function address() {
  const head = state.head === MEAN ? "mean" : state.head;
  return `#${state.kind}&block=${state.block}&head=${head}${state.side ? `&${state.side}=${state.index}` : ""}`;
}
// Take over from the address what it may say; whatever else it says is ignored.
function restore() {
  const [kind, ...parts] = location.hash.slice(1).split("&");
  if (!Object.hasOwn(KINDS, kind)) return;
  const numbers = new Map(parts.map(part => part.split("=")).filter(([, text]) => /^\d+$/.test(text)).map(([name, text]) => [name, Number(text)]));
  const below = (name, limit, otherwise) => numbers.has(name) && numbers.get(name) < limit ? numbers.get(name) : otherwise;
  Object.assign(state, { kind, block: below("block", about.blocks, about.blocks - 1), head: below("head", about.heads, MEAN), side: "", index: 0 });
  for (const [side, length] of [["source", S], ["target", T]]) {
    const index = below(side, length, null);
    if (index !== null) Object.assign(state, { side, index });
  }
}
function change(values) {
  Object.assign(state, values);
  history.replaceState(null, "", address());
  draw();
}

// The numbers of a map, in rows; of all heads their mean.
function mapOf(kind, block, head) {
  const maps = contents[kind][block];
  if (head !== MEAN) return maps[head];
  return maps[0].map((_, k) => maps.reduce((sum, map) => sum + map[k], 0) / maps.length);
}
function largestOf(numbers) { return Math.max(...numbers.map(Math.abs).filter(Number.isFinite), 0); }
function headName(head) { return head === MEAN ? "mean of the heads" : `head ${head}`; }
function placeName() { return `block ${state.block}, ${headName(state.head)}`; }

function sourceAt(s) { return shownText(contents.source[s]); }
function targetAt(t) { return shownText(contents.target[t]); }
