// Tokens to vectors: the one of the token, the one of its position, and their sum.

VIEWS.embedding = { title: "Embedding", draw: drawEmbedding };

function drawEmbedding() {
  const { token: tokens, position: positions, lengths: own } = contents.embedding, there = Boolean(positions);
  const token = matrixOf(tokens), position = there ? matrixOf(positions) : null, sum = valueOf("embedding.out");
  const largest = Math.max(...[token, position, sum].filter(Boolean).map(largestOf));
  const t = state.position, learned = config.positions === "learned";
  const part = (title, m, packed) => figure(title, embeddingSentence(numbersOf(packed)), { size: there ? "third" : "half" }, heatmap(m, ofText(title, m, { largest, of: m === sum ? { name: "embedding.out", which: "value" } : undefined })));
  const rows = [["the token's row of wte", token], ...(there ? [[learned ? "the position's row of wpe" : "the position's sinusoids", position]] : []), [there ? "their sum" : "what the first block reads", sum]];
  return [
    el("h2", {}, "Embedding"),
    el("p", {}, `A token is a number, which selects a row of the token table. ${positionSentence(there, learned)}`),
    tokenStrip(),
    figure(`One token: ${tokenAt(t)} is number ${contents.tokens[t]}, at position ${t}`, there ? sharesSentence(t) : `The token's row has length ${number(numbersOf(own.token)[t])}.`,
      { formula: contents.arrays["embedding.out"].forward[0] },
      el("div", { class: "flow" }, rows.map(([name, m]) =>
        [el("h4", {}, name), heatmap(oneRow(m, t), { height: 26, largest, plain: m !== sum, label: `${name} for ${tokenAt(t)}`, key: `row-${name}`,
          describe: (row, col, x) => `${name}, channel ${channel(col, m)}: ${number(x)}` })]))),
    el("div", { class: "grid" },
      part("Rows of the tokens", token, own.token),
      there ? part("Rows of the positions", position, own.position) : null,
      part(there ? "Their sum" : "What the first block reads", sum, contents.arrays["embedding.out"].lengths),
      there ? figure("Some channels over the positions", learned
        ? "Each line is one channel of the table of positions: learned, where the original paper used sine waves."
        : "Each line is one channel: pairs of a sine and a cosine, slower for higher channels.", {}, waves()) : null),
  ];
}

function positionSentence(there, learned) {
  if (there) return `Its position selects a row of the ${learned ? "learned table of positions" : "table of sinusoids"}. The first block reads the sum, ${config.n_embd} numbers.`;
  return config.positions === "rotary" ? "Its position is not added: queries and keys turn with it, in every block." : "Its position is not added anywhere: this model has none, except for what a token may see.";
}
function sharesSentence(t) {
  const own = contents.embedding.lengths, lengths = [own.token, own.position, contents.arrays["embedding.out"].lengths].map(packed => numbersOf(packed)[t]);
  return `The token's row has length ${number(lengths[0])}, the position's ${number(lengths[1])}, their sum ${number(lengths[2])}: ${lengths[0] > lengths[1] ? "the token has the larger share" : "the position has the larger share"}.`;
}

function oneRow(m, t) { return { ...m, rows: 1, data: rowOf(m, t) }; }

function embeddingSentence(lengths) {
  const longest = lengths.indexOf(Math.max(...lengths)), shortest = lengths.indexOf(Math.min(...lengths));
  return `One vector for each token of the text; the longest is that of ${quoted(longest)} (${number(lengths[longest])}), the shortest that of ${quoted(shortest)} (${number(lengths[shortest])}).`;
}

function waves() {
  const { channels, values } = contents.embedding.waves, m = matrixOf(values);
  return lineChart(channels.map((channel, k) => ({
    name: `channel ${channel}`, colour: line(k),
    points: contents.tokens.map((_, t) => [t, at(m, t, k)]) })), { label: "Channels of the positions", xLabel: "position" });
}
