// The scenes of the way back. Three columns where a line of forward is differentiated: what is needed from
// forward, what comes in, what goes out.

function three(needed, incoming, outgoing) {
  return el("div", { class: "three" }, [["needed from forward", needed], ["comes in", incoming], ["goes out", outgoing]].map(([title, figures]) => el("div", {}, el("p", { class: "column" }, title), figures)));
}
function g(title, sentence, name, options = {}) { return picture_(title, sentence, name, { ...options, which: "grad" }); }
function checkBadge(name) { return el("p", { class: "small badge", "data-badge": name }, verdict(name)); }
function dStrongest(name, r, head) { return strongestChannel(name, "grad", r, head); }

const BACKWARD_SCENES = [
  { place: "head", question: () => "What does the loss want of each logit?",
    text: () => [`At every place the same: the logit of the token that did come should rise, all others should fall, each as much as it was wrongly believed in. The gradient is P − 1 for the right one and P for the others, divided by ${contents.targets.filter(v => v >= 0).length} because the loss is a mean over that many places.`],
    pictures: () => [three([picture_("Probabilities", "What the model believed.", "probabilities", { kind: "sequential" })], [g("Gradient of each loss", "1 / N: all places count alike.", "losses", { height: 24 })], [g("Gradient of the logits", "Blue should rise, orange should fall.", "logits"), checkBadge("logits")])],
    cell: () => cell_("logits", "grad", hereWithTarget(), Math.max(contents.targets[hereWithTarget()], 0)) },

  { place: "ln_f", question: () => "How does that reach the vectors?",
    text: () => ["A logit was a product of the vector with the token’s row. So the vector should move along each token’s row, as strongly as that logit should change: towards the rows of the right tokens, away from the others. Backward multiplies by the same table, transposed.", "Then through the norm: the parts of the change that only shift or stretch the vector are taken out, because the norm would undo them."],
    pictures: () => [three([picture_("Rows of the tokens", "One for each logit.", headWeight(), { height: Math.max(2, Math.min(4, 200 / config.vocab_size)) })], [g("From the logits", "The gradient of the last scene.", "logits")], [g("Gradient of the normalised vectors", "Which way each vector should not go.", "ln_f.out"), checkBadge("ln_f.out")])],
    cell: () => cell_("ln_f.out", "grad", hereWithTarget(), dStrongest("ln_f.out", hereWithTarget())) },

  { place: "add_2", question: () => "Why does the stream carry gradients so well?",
    text: () => ["Forward was a sum: out = x + branch. Raise x by a little and out rises by just as much, so the gradient passes through the plus unchanged, however many blocks there are. The branch gets a copy, and what it sends back is added.", `So it never has to pass through all layers one after the other, and reaches the embedding whole. Its norm goes from ${number(gradientNorm(streamNames().pop()))} at the head to ${number(gradientNorm("embedding.out"))} at the embedding: the width of the stream in the map. Where vectors are short, the norm in front of a layer magnifies what comes back.`],
    pictures: () => [widthsPicture(), three([el("p", { class: "small soft" }, "Nothing: a sum does not need to know its terms.")], [g("Comes down the stream", "The gradient after the MLP.", `${block_()}.resid_post`)], [g("Goes on up the stream", "The same, plus what came back through the MLP.", `${block_()}.resid_mid`), checkBadge(`${block_()}.resid_mid`)])],
    cell: () => cell_(`${block_()}.resid_mid`, "grad", hereWithTarget(), dStrongest(`${block_()}.resid_mid`, hereWithTarget())) },

  { place: "mlp", question: () => "Which neurons should change?",
    text: () => [`Each neuron is asked along its output vector: would more of you help? That is the gradient after ${ACTIVATION_NAMES[config.activation]}. It passes back times the slope of ${ACTIVATION_NAMES[config.activation]}: a neuron that is silent has slope near 0, so it is left alone.`, "A weight between a channel and a neuron collects channel · gradient from every place of the text."],
    pictures: () => [three([picture_("Neurons before the nonlinearity", "Their slope decides what passes.", `${block_()}.mlp.fc`)], [g("After the nonlinearity", "More of this neuron?", `${block_()}.mlp.act`)], [g("Before the nonlinearity", "Times the slope.", `${block_()}.mlp.fc`), checkBadge(`${block_()}.mlp.fc`), g("Of the first matrix", "All places added up.", `${block_()}.mlp.c_fc.weight`, { height: 1.5 })])],
    cell: () => cell_(`${block_()}.mlp.fc`, "grad", hereWithTarget(), dStrongest(`${block_()}.mlp.fc`, hereWithTarget())) },

  { place: "attention", question: () => "Who was worth looking at?",
    text: () => ["The output was an average of values. So each value gets its share of the output’s gradient, from every query that looked at it. And each weight is asked: does this value point where the output should go?", "Weights of later tokens are asked in vain: the mask had set them to 0."],
    pictures: () => [three([weightsPicture(), picture_("Values", "What was averaged.", `${attn_()}.value`, { head: state.head })], [g("Of the head’s output", "Comes back through the projection.", `${attn_()}.heads`, { head: state.head })], [g("Of the weights", "Blue: more of this one would help.", `${attn_()}.probabilities`, { head: state.head, masked: (row, col) => col > row, hatch: true }), g("Of the values", "A sum over all queries.", `${attn_()}.value`, { head: state.head }), checkBadge(`${attn_()}.probabilities`)])],
    cell: () => strongestCell(`${attn_()}.value`) },

  { place: "attention", question: () => "What happens behind the softmax?",
    text: () => ["A row’s weights always add up to 1: if one grows, the others shrink. So a score is not judged by its weight’s gradient, but by how much better it is than the row’s average: p · (dp − average of dp). A weight near 0 hardly changes, whatever is asked of it."],
    pictures: () => [three([weightsPicture()], [g("Of the weights", "From the last scene.", `${attn_()}.probabilities`, { head: state.head, masked: (row, col) => col > row, hatch: true })], [g("Of the scores", "Each row adds up to 0.", `${attn_()}.scores`, { head: state.head, masked: (row, col) => col > row, hatch: true }), checkBadge(`${attn_()}.scores`)])],
    cell: () => strongestCell(`${attn_()}.scores`) },

  { place: "attention", question: () => "Where does a key’s gradient come from?",
    text: () => [`A score was query · key / √D. So a key should move along every query that was compared with it, as strongly as that score should change: from its own place and all later ones, because only they looked at it. A query, the other way round, collects from all keys that it saw.`, "Both again divided by √D, as forward was."],
    pictures: () => [three([picture_("Queries", "What looked.", `${attn_()}.query`, { head: state.head })], [g("Of the scores", "A column for each key.", `${attn_()}.scores`, { head: state.head, masked: (row, col) => col > row, hatch: true })], [g("Of the keys", "A column of scores times the queries.", `${attn_()}.key`, { head: state.head }), g("Of the queries", "A row of scores times the keys.", `${attn_()}.query`, { head: state.head }), checkBadge(`${attn_()}.qkv`)])],
    cell: () => strongestCell(`${attn_()}.key`) },

  { place: "embedding", question: () => `Why does the row of “${tokenAt(hereWithTarget())}” move?`,
    text: () => embeddingWords(),
    pictures: () => [three([el("figure", {}, el("h3", {}, "Where the token stands"), el("figcaption", {}, "Every one of these places adds to the same row."), placesOf(contents.tokens[hereWithTarget()]))], [g("Comes down the stream", "One gradient for each place.", "embedding.out"), config.tied ? g("Of the logits", "The head used the same rows.", "logits") : null], [g("Of the token table", "Most rows get something only where their token occurs.", "wte.weight", { chosen: contents.tokens[hereWithTarget()], height: Math.max(2, Math.min(4, 240 / config.vocab_size)) }), checkBadge("wte.weight")])],
    cell: () => cell_("wte.weight", "grad", contents.tokens[hereWithTarget()], strongestChannel("wte.weight", "grad", contents.tokens[hereWithTarget()])) },
];

function placesOf(token) {
  return el("div", { class: "numbered" }, contents.tokens.map((v, t) => el("span", { class: v === token ? "chosen" : "faint" }, el("b", { class: "token" }, nameOf(v)), el("small", {}, t))));
}
function embeddingWords() {
  const token = contents.tokens[hereWithTarget()], count = contents.tokens.filter(v => v === token).length;
  return [`Its row was read at ${count} ${count === 1 ? "place" : "places"} of this text. What each of these places wants changed is added up in the one row: gradients add wherever a number is used more than once.`,
    `${config.tied ? "The same row also was the token’s row in the head, so it gets a share there from every place, even where the token does not stand. " : ""}Then the optimizer moves every number of the model a little against its gradient, and training goes on with the next text. Try it: “Play” takes such a step.`];
}
// The cell of the chosen head in the row with the largest gradient.
function strongestCell(name) {
  const row = strongestRow(name, "grad", state.head);
  return cell_(name, "grad", row, dStrongest(name, row, state.head), state.head);
}
function streamNames() { return ["embedding.out", ...Array.from({ length: config.n_layer }, (_, i) => [`h.${i}.resid_mid`, `h.${i}.resid_post`]).flat()]; }
function streamInWords(name) {
  const [, i, part] = name.match(/^h\.(\d+)\.resid_(\w+)$/) || [];
  return i === undefined ? "after the embedding" : `after ${part === "mid" ? "attention" : "the MLP"}, block ${i}`;
}
function gradientNorm(name) { return contents.arrays[name].grad_numbers ? contents.arrays[name].grad_numbers.norm : 0; }
function widthsPicture() {
  const names = streamNames(), size = gradientNorm;
  return el("figure", { class: "wide" }, el("h3", {}, "The gradient along the stream"), el("figcaption", {}, `Its norm from the head back to the embedding: ${number(size(names[names.length - 1]))} to ${number(size(names[0]))}.`),
    bars(names.slice().reverse().map(name => ({ label: streamInWords(name), size: size(name), text: number(size(name)) }))));
}
