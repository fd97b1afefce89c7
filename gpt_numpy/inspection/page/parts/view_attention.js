// One attention head: query, key, value, scores, mask, softmax, output.

VIEWS.attention = { title: "Attention", draw: drawAttention };

function drawAttention() {
  const at_ = `h.${state.block}.attn`, h = state.head, q = state.position;
  const p = valueOf(`${at_}.probabilities`, h), s = valueOf(`${at_}.scores`, h);
  const weights = rowOf(p, q), order = ranked(weights, q + 1);
  return [
    el("h2", {}, "One attention head"),
    el("p", {}, `The query of each token is compared with the keys of that token and of all earlier ones. The better a key matches, the more of that token's value is taken. Head ${h} of block ${state.block} reads all ${config.n_embd} channels and makes queries, keys and values of ${config.head_size} numbers each.`),
    el("div", { class: "bar" }, chooseBlock(), chooseHead()),
    attentionStrip(p),
    el("div", { class: "grid" },
      figure("Softmax: who attends to whom", `Each row is a query; its weights on the tokens up to itself sum to 1, and its colours are relative to its largest. ${quoted(q)} gives ${percent(weights[order[0]])} to ${quoted(order[0])}.`, { size: "half", formula: softmaxLine(at_) },
        heatmap(p, betweenTokens("weight", "sequential", 1))),
      figure("Scores, before mask and softmax", `How well each query matches each key: orange is a match, blue is not. Of the tokens that it may see, ${quoted(q)} matches ${quoted(argmax(rowOf(s, q), q + 1))} best. Above the diagonal are later tokens: computed, then masked.`, { size: "half", formula: contents.arrays[`${at_}.scores`].forward[0] },
        heatmap(s, betweenTokens("score", "diverging"))),
      figure("All heads of the model", `The softmax of each head, one row for each block; ${CLICK_ON.toLowerCase()} one to choose it. Heads with a strong diagonal attend to the token itself or the one before it.`, { size: "half" }, allHeads()),
      el("div", { class: "half grid" },
        figure("From weights to output", `The output of ${quoted(q)} is the average of the values with these weights; the table shows the ${Math.min(6, q + 1)} largest.`, { formula: contents.arrays[`${at_}.heads`].forward[0] },
          weightsTable(at_, order.slice(0, 6), q)),
        headRows(at_, "heads", q)),
      ...["query", "key", "value"].map(part => headRows(at_, part, q, "third"))),
  ];
}

function softmaxLine(at_) { return contents.arrays[`${at_}.probabilities`].forward[0]; }
function ranked(numbers, count) { return Array.from({ length: count }, (_, k) => k).sort((a, b) => numbers[b] - numbers[a]); }
function argmax(numbers, count) { return ranked(numbers, count)[0]; }

// The text, coloured by the attention of the chosen token, or of the one under the pointer.
function attentionStrip(p) {
  const sentence = el("figcaption", {}), strip = el("div");
  const show = q => {
    const row = rowOf(p, q), best = ranked(row, q + 1).slice(0, 3);
    sentence.textContent = `${quoted(q)} attends to ${best.map(k => `${quoted(k)} (${percent(row[k])})`).join(", ")}.`;
    for (const [k, button] of [...strip.querySelectorAll("button")].entries()) {
      button.style.background = k > q ? "var(--mask)" : css("sequential", row[k], 1);
      button.style.color = k > q ? "var(--soft)" : inkOn("sequential", row[k], 1);
    }
  };
  strip.append(tokenStrip({ hover: show }));
  strip.addEventListener("pointerleave", () => show(state.position));
  show(state.position);
  return el("figure", {}, el("h3", {}, "What a token attends to"), sentence, strip, el("p", { class: "small soft" }, `${TOUCHES ? "Tap a token to choose it." : "Point at a token, or use the arrow keys; click to choose it."} Grey tokens come later and are masked.`));
}

function betweenTokens(what, kind, largest) {
  const stored = contents.arrays[`h.${state.block}.attn.scores`].value, isHidden = kind === "sequential" || Boolean(stored && stored.lower);
  return {
    kind, largest, rowNames, colNames: rowNames, chosen: state.position, label: `${what}s between tokens`,
    masked: (row, col) => isHidden && col > row, hatch: isHidden, byRow: kind === "sequential", pick: position => change({ position }),
    of: { name: `h.${state.block}.attn.${what === "weight" ? "probabilities" : "scores"}`, which: "value", head: state.head },
    describe: (row, col, x) => `query ${quoted(row)}, key ${quoted(col)}: ${what} ${number(x)}${col > row ? ", masked afterwards" : ""}`,
  };
}

function weightsTable(at_, keys, q) {
  const p = valueOf(`${at_}.probabilities`, state.head), s = valueOf(`${at_}.scores`, state.head), v = k => lengthAt(`${at_}.value`, k, state.head);
  const head = ["token", "score", "weight", "length of its value"];
  return el("div", {}, el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, head.map((name, k) => el("th", { class: k ? "number" : "", scope: "col" }, name)))),
    el("tbody", {}, keys.map(k => el("tr", {}, el("td", {}, tokenBox(tokenAt(k)), ` at ${k}`),
      [at(s, q, k), at(p, q, k), v(k)].map(x => el("td", { class: "number" }, number(x)))))))),
    el("p", { class: "small soft" }, `Length of the output: ${number(lengthAt(`${at_}.heads`, q, state.head))}.`));
}

function allHeads() {
  const pictures = [];
  for (let block = 0; block < config.n_layer; block++) for (let head = 0; head < config.n_head; head++) {
    const chosen = block === state.block && head === state.head;
    pictures.push(el("button", { type: "button", "aria-pressed": chosen ? "true" : "false", "data-key": `head-${block}-${head}`, "aria-label": `block ${block}, head ${head}`, onclick: () => change({ block, head }) },
      heatmap(valueOf(`h.${block}.attn.probabilities`, head), { bare: true, kind: "sequential", byRow: true, hatch: true, label: `weights of block ${block}, head ${head}`, colNames: rowNames, masked: (row, col) => col > row }),
      `${block} · ${head}`));
  }
  return el("div", { class: "heads", style: config.n_head <= 6 ? { gridTemplateColumns: `repeat(${config.n_head}, minmax(0, 1fr))` } : {} }, pictures);
}

const PARTS_OF_HEAD = {
  query: ["Queries", "what each token asks for"], key: ["Keys", "what each token is matched by"],
  value: ["Values", "what each token passes on"], heads: ["Output of the head", "the weighted average of the values"],
};
function headRows(at_, part, q, size) {
  const [title, what] = PARTS_OF_HEAD[part], m = valueOf(`${at_}.${part}`, state.head);
  return figure(title, `${what[0].toUpperCase()}${what.slice(1)}, a vector of ${config.head_size} numbers each; that of ${quoted(q)} has length ${number(lengthAt(`${at_}.${part}`, q, state.head))}.`, { size },
    heatmap(m, ofText(title, m, { of: { name: `${at_}.${part}`, which: "value", head: state.head }, ...(part === "heads" ? { height: Math.max(4, Math.min(12, 330 / T)) } : {}) })));
}
