// The scenes of forward: question, text, pictures, and the cell that is opened when the scene begins.

function block_() { return `h.${state.block}`; }
function attn_() { return `${block_()}.attn`; }
function bestKey(q) { return argmax(rowOf_(`${attn_()}.probabilities`, "value", q, state.head), q + 1); }
function strongestChannel(name, which, r, head = 0) {
  const x = rowOf_(name, which, r, head);
  return ranked(Array.from(x, Math.abs), x.length)[0];
}
function cell_(name, which, row, col, head = null) { return { name, which, head, row, col }; }

const FORWARD_SCENES = [
  { place: "tokens", question: () => "How does text become numbers?",
    text: () => [`The model knows ${config.vocab_size} tokens, here ${contents.live.characters ? "single characters" : "pieces of text"}, and every token has a number. “${tokenAt(here())}” is number ${contents.tokens[here()]}. All the model ever sees is this list of ${T} numbers.`,
      "Its only task: at each place, guess the number that comes next. Positions, like all else here, are counted from 0."],
    pictures: () => [el("figure", { class: "wide" }, el("h3", {}, "The text as the model sees it"), el("figcaption", {}, "Each token with its number; the dark frame is the one that you chose above."), numbered())] },

  { place: "embedding", question: () => "How does a number become a vector?",
    text: () => !hasPositions() ? [`A table is learned, with a row of ${config.n_embd} numbers for each token. The row of “${tokenAt(here())}” is lifted out: it is the token’s embedding, its vector in the residual stream, which runs through the whole model. Each of its ${config.n_embd} numbers is a channel.`, config.positions === "rotary" ? "Where the token stands is not added here: later, queries and keys turn with their position." : "This model is not given where a token stands, except by what it may see."] : [`Two tables are learned. One has a row of ${config.n_embd} numbers for each token: what is it? The other has a row for each position: where is it? ${config.positions === "learned" ? "" : "(Here the second is not learned, but fixed waves.) "}The row of “${tokenAt(here())}” and the row of position ${here()} are lifted out and added.`,
      `The sum is the token’s embedding: its vector in the residual stream, which runs through the whole model. Each of its ${config.n_embd} numbers is a channel.`],
    pictures: () => [tablePicture(), ...liftedRows()],
    cell: () => cell_("embedding.out", "value", here(), strongestChannel("embedding.out", "value", here())) },

  { place: "ln_1", question: () => "Why is every vector normalised first?",
    text: () => [`The vectors of the stream grow as layers add to them. Before a layer reads a vector, its ${config.n_embd} numbers are ${isRms() ? "scaled to a mean square of 1" : "shifted to mean 0 and scaled to variance 1"}, each vector for itself; then each channel has a learned gain${has(`${block_()}.ln_1.bias`) ? " and bias" : ""}.`,
      `The vector of ${quoted(here())} has length ${number(lengthAt(streamBefore(attn_()), here()))} before. The stream itself is not changed: only the copy that the layer reads.`],
    pictures: () => [picture_("Before: the stream", "One vector for each token.", streamBefore(attn_())), picture_("Normalised", isRms() ? "The same vectors with mean square 1." : "The same vectors with mean 0 and variance 1.", `${block_()}.ln_1.xhat`), picture_("Gain of each channel", "The learned weight; 1 leaves a channel as it is.", `${block_()}.ln_1.weight`, { height: 20 }), picture_("What attention reads", "Normalised, times the gain.", `${block_()}.ln_1.out`)],
    cell: () => cell_(`${block_()}.ln_1.xhat`, "value", here(), strongestChannel(`${block_()}.ln_1.xhat`, "value", here())) },

  { place: "attention", question: () => "What are a query, a key and a value?",
    text: () => [`Tokens must find out from each other. From its vector each token makes three shorter ones of ${config.head_size} numbers, by three learned matrices: a query (what am I looking for?), a key (what can I be found by?) and a value (what do I pass on?). A query might ask for the vowel before, say, and the keys of vowels would match it; what it asks is learned.`,
      `${queriesKeysInWords()}There are ${config.n_head} heads, which look for different things at once. This is head ${state.head}; ${sharedInWords()}.`],
    pictures: () => ["query", "key", "value"].map(part => picture_({ query: "Queries", key: "Keys", value: "Values" }[part], { query: "What each token looks for.", key: "What each token is found by.", value: "What each token passes on." }[part], `${attn_()}.${part}`, { head: state.head })).concat(
      picture_("What they are made from", "The normalised vectors, times a column of the matrix for each number.", `${block_()}.ln_1.out`), picture_("The matrices", `All heads side by side: queries left, keys in the middle, values right.`, `${attn_()}.c_attn.weight`, { wide: true, height: 1.6 })),
    cell: () => cell_(`${attn_()}.query`, "value", here(), strongestChannel(`${attn_()}.query`, "value", here(), state.head), state.head) },

  { place: "attention", question: () => "How well does a key match a query?",
    text: () => [`Multiply the two vectors number by number and add up: that is the score. It is large when both are strong in the same channels. A sum of D = ${config.head_size} products of spread 1 has spread √D; dividing by √D = √${config.head_size} = ${number(Math.sqrt(config.head_size))} keeps scores near 1 (spread: standard deviation). With larger scores softmax, two scenes on, would give nearly all the attention to one token; the shares of the others would be near 0, and a share near 0 passes almost no gradient to its score (scene ${sceneAt("attention", 1)}).`,
      `Every query meets every key: ${T} × ${T} scores.`],
    pictures: () => scorePictures(), cell: () => cell_(`${attn_()}.scores`, "value", here(), bestKey(here()), state.head) },

  { place: "attention", question: () => "What must a token not see?",
    text: () => ["Each place has to guess the token that comes next. If it could look at later places, it would find the answer there and learn nothing. So every score of a later key is hidden: the upper triangle is hatched. Softmax then leaves it out, as if the score were −∞.",
      `“${tokenAt(here())}” at ${here()} may look at ${here() + 1} of ${T} places.`],
    pictures: () => [picture_("Scores behind the mask", "Rows are queries, columns are keys. Hatched: later than the query.", `${attn_()}.scores`, { head: state.head, masked: (row, col) => col > row, hatch: true })],
    cell: () => cell_(`${attn_()}.scores`, "value", here(), bestKey(here()), state.head) },

  { place: "attention", question: () => "How do scores become shares?",
    text: () => ["Softmax: take e to the power of each score that may be seen, and divide by their sum. All weights are positive and each row adds up to 1, so it says how the token divides its attention.",
      `${quoted(here())} gives ${percent(cellOf(`${attn_()}.probabilities`, "value", here(), bestKey(here()), state.head))} to ${quoted(bestKey(here()))}.`],
    pictures: () => [picture_("Scores of this row", "The row of the chosen token, up to itself.", `${attn_()}.scores`, { head: state.head, only: here(), masked: (row, col) => col > here(), hatch: true, colNames: rowNames }), picture_("Weights of this row", "The same after softmax; they add up to 1.", `${attn_()}.probabilities`, { head: state.head, only: here(), kind: "sequential", masked: (row, col) => col > here(), hatch: true, colNames: rowNames }), weightsPicture()],
    cell: () => cell_(`${attn_()}.probabilities`, "value", here(), bestKey(here()), state.head) },

  { place: "attention", question: () => "What does a token take from the others?",
    text: () => [`The average of their values, with these weights. Of a token that gets ${percent(cellOf(`${attn_()}.probabilities`, "value", here(), bestKey(here()), state.head))} of the attention, that share of its value arrives.`, "This is the only place of the model where tokens exchange anything."],
    pictures: () => [weightsPicture(), picture_("Values", "What each token passes on.", `${attn_()}.value`, { head: state.head }), picture_("The head’s output", "For each token the weighted average.", `${attn_()}.heads`, { head: state.head })],
    cell: () => cell_(`${attn_()}.heads`, "value", here(), strongestChannel(`${attn_()}.heads`, "value", here(), state.head), state.head) },

  { place: "add_1", question: () => `How do ${config.n_head} heads come together?`,
    text: () => [`Their outputs stand side by side: ${config.n_head} × ${config.head_size} = ${config.n_embd} numbers. One more learned matrix, the projection, mixes them. The result is not a new vector: it is added to the one in the stream.`, "So a layer changes the stream a little, and everything that earlier layers wrote is still there."],
    pictures: () => [picture_("All heads side by side", "Each token’s outputs of all heads.", `${attn_()}.out`), picture_("After the projection", "What attention adds.", `${attn_()}.proj`), picture_("The stream after it", "Before, plus what was added.", `${block_()}.resid_mid`)],
    cell: () => cell_(`${block_()}.resid_mid`, "value", here(), strongestChannel(`${attn_()}.proj`, "value", here())) },

  { place: "mlp", question: () => "What does a token think by itself?",
    text: () => [`The MLP (multilayer perceptron): ${config.n_hidden} neurons look at each vector, each with a learned direction; ${config.activation === "swiglu" ? "each has a second one as its gate, which lets little pass where it is negative" : `${ACTIVATION_NAMES[config.activation]} lets hardly anything negative pass${activationInWords()}`}; every neuron that is left adds its own learned vector to the stream. Here ${contents.neurons[state.block].active[here()]} of ${config.n_hidden} neurons are active: their output is above ${ACTIVE}.`, config.n_layer > 1 ? `Attention and MLP together are a block. This model has ${config.n_layer}: choose another one in the map.` : ""],
    pictures: () => [picture_("Before the nonlinearity", "How well each neuron’s direction fits.", `${block_()}.mlp.fc`), picture_(`After ${ACTIVATION_NAMES[config.activation]}`, "What is left.", `${block_()}.mlp.act`), picture_("What the MLP adds", "The vectors of the active neurons, added up.", `${block_()}.mlp.proj`)],
    cell: () => cell_(`${block_()}.mlp.act`, "value", here(), strongestChannel(`${block_()}.mlp.act`, "value", here())) },

  { place: "head", question: () => "How does a vector become a guess?",
    text: () => [`After the last block the vector is normalised once more and compared with a row for each token${config.tied ? ", the same table of rows as at the start" : ""}: ${config.vocab_size} products, the logits. This last product is called the output head; it has nothing to do with the ${config.n_head > 1 ? `${config.n_head} attention heads` : "attention head"}. Softmax turns the logits into probabilities.`, `After ${quoted(here())} the model finds “${nameOf(contents.next.tokens[here()][0])}” most likely.`],
    pictures: () => [el("figure", {}, el("h3", {}, "The guess"), el("figcaption", {}, `The most likely tokens after ${quoted(here())}.`), nextTokens(here(), 8)), picture_("Logits", "A score for each token of the vocabulary.", "logits"), picture_("Probabilities", "Their softmax; each row adds up to 1.", "probabilities", { kind: "sequential" })],
    cell: () => cell_("logits", "value", here(), contents.next.tokens[here()][0]) },

  { place: "loss", question: () => "How wrong was the guess?",
    text: () => lossInWords(), pictures: () => [el("figure", {}, el("h3", {}, "What the model gave to the right token"), el("figcaption", {}, surprisesInWords()), surprises()), picture_("The loss of each place", "Minus the logarithm of that probability.", "losses", { kind: "sequential", height: 30, colNames: rowNames, ...WITHOUT_LOSS })],
    cell: () => cell_("losses", "value", 0, hereWithTarget()) },
];

function activationInWords() {
  if (!config.activation.startsWith("gelu")) return "";
  return ` (GELU(x) = x Φ(x), Φ(x): the share of a normal distribution below x${config.activation === "gelu_tanh" ? ", here approximated by a tanh" : ""})`;
}
function numbered() {
  return el("div", { class: "numbered" }, contents.tokens.map((token, t) => el("span", { class: t === state.position ? "chosen" : "" }, el("b", { class: "token" }, nameOf(token)), el("small", {}, token))));
}
function tablePicture() {
  const V = config.vocab_size, token = contents.tokens[here()];
  return [picture_(`Token table: ${V} rows`, `The row of “${tokenAt(here())}” is framed.`, "wte.weight", { chosen: token, height: Math.max(2, Math.min(5, 260 / V)) }),
    has("wpe.weight") ? picture_(`Position table: ${config.block_size} rows`, `One for each place a text may have; the row of position ${here()} is framed.`, "wpe.weight", { chosen: here(), height: Math.max(2, Math.min(5, 260 / config.block_size)), rowNames: null }) : null];
}
function liftedRows() {
  const { token, position } = contents.embedding, t = here(), sum = valueOf("embedding.out"), places = hasPositions(), parts = places ? [matrixOf(token), matrixOf(position)] : [matrixOf(token)];
  const largest = Math.max(...parts.map(m => largestOf(oneRow(m, t))), largestOf(oneRow(sum, t)));
  const strip = (title, m, of) => [el("h4", {}, title), heatmap(oneRow(m, t), { of, height: 22, largest, plain: true, label: title, key: `lift-${title}` })];
  return [el("figure", { class: "wide" }, el("h3", {}, places ? "Lifted out and added" : "Lifted out"), el("figcaption", {}, places ? `${config.n_embd} numbers each; the third strip is the sum of the first two.` : `${config.n_embd} numbers: the row is the token’s vector.`),
    el("div", { class: "flow" }, strip(`the row of “${tokenAt(t)}”`, parts[0], { name: "wte.weight", which: "value", first: contents.tokens[t] }), places ? strip(`the row of position ${t}`, parts[1], { name: "wpe.weight", which: "value", first: t }) : null, strip(places ? "their sum: the vector of this token" : "the vector of this token", sum, { name: "embedding.out", which: "value", first: t })))];
}
// What QK norm, rotary positions and shared heads change, where the model has them.
function queriesKeysInWords() {
  const normed = config.qk_norm ? "Each query and key is scaled to a mean square of 1, then by a learned weight for each channel, so that long vectors do not win every match. " : "";
  return `${normed}${isTurned_() ? "Queries and keys then turn with their position, so that a score depends on how far apart two tokens are. " : ""}`;
}
function sharedInWords() {
  const heads = headsOfGroup(state.head);
  return heads.length > 1 ? `each head has its own matrix of queries, and heads ${heads.join(", ")} share those of keys and values` : "each head has its own three matrices";
}
function scorePictures() {
  const cell = opened && opened.name === `${attn_()}.scores` && opened.which === "value" ? opened : { row: here(), col: bestKey(here()) }, name = part => `${attn_()}.${part}`;
  const q = rowOf_(name("query"), "value", cell.row, state.head), k = rowOf_(name("key"), "value", cell.col, state.head), products = { rows: 1, cols: q.length, data: q.map((x, d) => x * k[d]), group: [1, 1] };
  return [picture_("Scores", `Rows are queries, columns are keys. ${CLICK_ON} one to open it.`, name("scores"), { head: state.head, pick: () => draw() }),
    el("figure", {}, el("h3", {}, `The score of ${quoted(cell.row)} and ${quoted(cell.col)}`), el("figcaption", {}, "Query times key, channel by channel; the sum of the third strip, over √D, is the score."),
      el("div", { class: "flow" }, [["query", rowOf_(name("query"), "value", cell.row, state.head), cell.row], ["key", rowOf_(name("key"), "value", cell.col, state.head), cell.col]].map(([part, data, row_]) => [el("h4", {}, `${part} of ${quoted(row_)}`), heatmap({ rows: 1, cols: data.length, data, group: [1, 1] }, { of: { name: name(part), which: "value", head: state.head, first: row_ }, height: 26, label: part, key: `score-${part}`, plain: true })]),
        el("h4", {}, "products"), heatmap(products, { height: 26, label: "products", key: "score-products" })))];
}
function weightsPicture(sentence = "Each row adds up to 1; colours are relative to the row’s largest.") { return picture_("Weights", sentence, `${attn_()}.probabilities`, { head: state.head, kind: "sequential", masked: (row, col) => col > row, hatch: true, byRow: true }); }

function lossInWords() {
  const t = hereWithTarget(), loss = numbersOf(contents.next.losses)[t];
  if (!hasTarget(t)) return ["A text of one token has nothing to predict: write a few more."];
  return [`${insteadOfLast()}After ${quoted(t)} came “${targetAt(t)}”, to which the model had given ${percent(Math.exp(-loss))}. The loss is the surprise: −log ${number(Math.exp(-loss))} = ${number(loss)} nats (units of the natural logarithm), ${unsure(loss)}.`,
    `The mean over the text is ${number(about.loss)} nats: ${unsure(about.loss)}. ${about.loss > Math.log(config.vocab_size) ? "" : `Guessing blindly among ${config.vocab_size} would be ${number(Math.log(config.vocab_size))}. `}Now the way back: how should each number of the model change to make this smaller?`];
}
const PLACES_SHOWN = 9;
function placesAround() {
  const all = contents.tokens.map((_, t) => t).filter(hasTarget), first = clamp(all.indexOf(hereWithTarget()) - 4, Math.max(all.length - PLACES_SHOWN + 1, 1));
  return all.slice(first, first + PLACES_SHOWN);
}
function surprisesInWords() {
  const places = placesAround();
  return `The probability of the token that does come next, ${places.length < T - 1 ? `from position ${places[0]} to ${places[places.length - 1]}` : "of each place"}.`;
}
function surprises() {
  const losses = numbersOf(contents.next.losses), t = hereWithTarget();
  return bars(placesAround().map(k => ({ label: [tokenBox(tokenAt(k)), " → ", tokenBox(targetAt(k))], size: Math.exp(-losses[k]), text: percent(Math.exp(-losses[k])), right: k === t })), 1);
}
