// Tokens to vectors: the one of the token, the one of its position, and their sum.

VIEWS.embedding = { title: "Embedding", draw: drawEmbedding };

function drawEmbedding() {
  if (!contents.embedding.position) return drawTokens();
  const token = matrixOf(contents.embedding.token), position = matrixOf(contents.embedding.position);
  const sum = valueOf("embedding.out");
  const largest = Math.max(largestOf(token), largestOf(position), largestOf(sum));
  const t = state.position, own = contents.embedding.lengths;
  const all = [own.token, own.position, contents.arrays["embedding.out"].lengths].map(numbersOf);
  const lengths = all.map(numbers => numbers[t]);
  const learned = config.positions === "learned";
  const part = (title, m, numbers) => figure(title, embeddingSentence(numbers), { size: "third" }, heatmap(m, ofText(title, m, { largest, of: m === sum ? { name: "embedding.out", which: "value" } : undefined })));
  return [
    el("h2", {}, "Embedding"),
    el("p", {}, `A token is a number, which selects a row of the token table. Its position selects a row of the ${learned ? "learned table of positions" : "table of sinusoids"}. The first block reads the sum, ${config.n_embd} numbers.`),
    tokenStrip(),
    figure(`One token: ${tokenAt(t)} is number ${contents.tokens[t]}, at position ${t}`,
      `The token's row has length ${number(lengths[0])}, the position's ${number(lengths[1])}, their sum ${number(lengths[2])}: ${lengths[0] > lengths[1] ? "the token has the larger share" : "the position has the larger share"}.`,
      { formula: contents.arrays["embedding.out"].forward[0] },
      el("div", { class: "flow" }, [["the token's row of wte", token], [learned ? "the position's row of wpe" : "the position's sinusoids", position], ["their sum", sum]].map(([name, m]) =>
        [el("h4", {}, name), heatmap(oneRow(m, t), { height: 26, largest, plain: m !== sum, label: `${name} for ${tokenAt(t)}`, key: `row-${name}`,
          describe: (row, col, x) => `${name}, channel ${channel(col, m)}: ${number(x)}` })]))),
    el("div", { class: "grid" },
      part("Rows of the tokens", token, all[0]),
      part("Rows of the positions", position, all[1]),
      part("Their sum", sum, all[2]),
      figure("Some channels over the positions", learned
        ? "Each line is one channel of the table of positions: learned, where the original paper used sine waves."
        : "Each line is one channel: pairs of a sine and a cosine, slower for higher channels.", {}, waves())),
  ];
}

// Without vectors of positions: queries and keys turn, or there are none.
function drawTokens() {
  const token = matrixOf(contents.embedding.token), lengths = numbersOf(contents.embedding.lengths.token);
  return [
    el("h2", {}, "Embedding"),
    el("p", {}, `A token is a number, which selects a row of the token table: ${config.n_embd} numbers, which the first block reads. No position is added to them${config.positions === "rotary" ? ": attention turns queries and keys by their position" : ""}.`),
    tokenStrip(),
    figure("Rows of the tokens", embeddingSentence(lengths), { formula: contents.arrays["embedding.out"].forward[0] }, heatmap(token, ofText("Rows of the tokens", token, {}))),
  ];
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
