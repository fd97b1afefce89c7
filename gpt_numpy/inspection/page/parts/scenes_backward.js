// The scenes of the way back, each one screen high: three columns (what is needed from forward, what comes
// in, what goes out), the derivation's steps, and whether the result was checked.

function g(title, sentence, name, options = {}) { return picture_(title, sentence, name, { ...options, which: "grad" }); }
function dStrongest(name, r, head) { return strongestChannel(name, "grad", r, head); }
function ofHead(options = {}) { return { head: state.head, ...options }; }
const MASKED = { masked: (row, col) => col > row, hatch: true };
function low(name) { return { height: Math.max(2, Math.min(4, 220 / contents.arrays[name].shape[0])) }; }

const BACKWARD_SCENES = [
  { place: "head", question: () => "What does the loss want of each logit?",
    text: () => [`${insteadOfLast()}At every place the same: the logit of the token that did come should rise, all others should fall, each as much as it was wrongly believed in. The gradient is P − 1 for the right one and P for the others, divided by ${contents.targets.filter(v => v >= 0).length} because the loss is a mean over that many places.`],
    columns: () => [[picture_("Probabilities", "What the model believed.", "probabilities", { kind: "sequential" })], [g("Of each loss", "1 / N: all places count alike.", "losses", { height: 24, ...WITHOUT_LOSS })], [g("Of the logits", "Blue should rise, orange should fall.", "logits")]],
    out: () => ["logits"],
    cell: () => cell_("logits", "grad", hereWithTarget(), Math.max(contents.targets[hereWithTarget()], 0)) },

  { place: "ln_f", question: () => "How does that reach the vectors?",
    text: () => ["A logit was a product of the vector with the token’s row. So the vector should move along each token’s row, as strongly as that logit should change: towards the rows of the right tokens, away from the others. Backward multiplies by the same table, transposed."],
    columns: () => [[picture_("Rows of the tokens", "One for each logit.", headWeight(), low(headWeight()))], [g("Of the logits", "From the last scene.", "logits")], [g("Of the normalised", "Which way each vector should not go.", "ln_f.out")]],
    out: () => ["ln_f.out"],
    cell: () => cell_("ln_f.out", "grad", hereWithTarget(), dStrongest("ln_f.out", hereWithTarget())) },

  { place: "add_2", question: () => "Why does the stream carry gradients so well?",
    text: () => [`${behindUs()} Forward was a sum: out = x + branch. Raise x by a little and out rises by just as much, so the gradient passes through the plus unchanged. The branch gets a copy, and what it sends back is added.`, `So what the loss wants reaches the embedding along the stream without passing through a single layer; the branches only add to it. The gradient’s length is ${number(gradientNorm(streamNames().pop()))} at the end of the stream and ${number(gradientNorm("embedding.out"))} at its start.`],
    columns: () => [[el("p", { class: "small soft" }, "For the sum, nothing. (The branch: see two scenes on.)"), widthsPicture()], [g("Back along the stream", "After the MLP.", `${block_()}.resid_post`)], [g("Further back along it", "The same, plus what came back through the MLP.", `${block_()}.resid_mid`)]],
    out: () => [`${block_()}.mlp.proj`, `${block_()}.resid_mid`],
    cell: () => cell_(`${block_()}.resid_mid`, "grad", hereWithTarget(), dStrongest(`${block_()}.resid_mid`, hereWithTarget())) },

  { place: "mlp", question: () => "Which neurons should change?",
    text: () => [`Each neuron is asked along its output vector: would more of you help? That is the gradient after ${ACTIVATION_NAMES[config.activation]}. It passes back times the slope of ${ACTIVATION_NAMES[config.activation]}: a neuron that is silent has slope near 0, so it is left alone. A weight between a channel and a neuron collects channel · gradient from every place of the text.`],
    columns: () => [[picture_("Neurons before", "Their slope decides what passes.", `${block_()}.mlp.fc`)], [g("After the nonlinearity", "More of this neuron?", `${block_()}.mlp.act`)], [g("Before it", "Times the slope.", `${block_()}.mlp.fc`), g("Of the first matrix", "All places added up.", `${block_()}.mlp.c_fc.weight`, low(`${block_()}.mlp.c_fc.weight`))]],
    out: () => [`${block_()}.mlp.fc`, `${block_()}.mlp.c_fc.weight`],
    cell: () => cell_(`${block_()}.mlp.fc`, "grad", hereWithTarget(), dStrongest(`${block_()}.mlp.fc`, hereWithTarget())) },

  { place: "ln_2", question: () => "What does a norm let through?",
    text: () => [`The norm undoes every change that only stretches a vector${isRms() ? "" : " or shifts all of its channels together"}, so no such change can help, and backward takes ${isRms() ? "that part" : "those two parts"} out. What is left is multiplied by 1 / ${isRms() ? "root mean square" : "spread"}: the shorter the vector, the more a change of it matters. The result joins what came back along the stream.`],
    columns: () => [[picture_("Normalised", "The direction that is taken out.", `${block_()}.ln_2.xhat`)], [g("Of what was read", "From all of its neurons.", `${block_()}.ln_2.out`)], [g("Of the normalised", "Times the gains.", `${block_()}.ln_2.xhat`), g("Of the stream", "Plus what came along it.", `${block_()}.resid_mid`)]],
    out: () => [`${block_()}.ln_2.xhat`, `${block_()}.resid_mid`],
    cell: () => cell_(`${block_()}.ln_2.xhat`, "grad", hereWithTarget(), dStrongest(`${block_()}.ln_2.xhat`, hereWithTarget())) },

  { place: "add_1", question: () => "Which head should have said something else?",
    text: () => ["What attention added was a mixture of all heads, made by the projection. Its transpose divides the wish up again: every channel of every head learns how the stream would like it changed. The weights of the projection collect, at each place, what the head said times what the stream wanted."],
    columns: () => [[picture_("All heads", "What the projection read.", `${attn_()}.out`)], [g("Of what was added", "A copy of the stream’s.", `${attn_()}.proj`)], [g("Of the heads", "Through the transposed matrix.", `${attn_()}.out`), g("Of the projection", "All places added up.", `${attn_()}.c_proj.weight`, low(`${attn_()}.c_proj.weight`))]],
    out: () => [`${attn_()}.out`, `${attn_()}.c_proj.weight`],
    cell: () => cell_(`${attn_()}.out`, "grad", hereWithTarget(), dStrongest(`${attn_()}.out`, hereWithTarget())) },

  { place: "attention", question: () => "Who was worth looking at?",
    text: () => ["The output was an average of values. So each value gets its share of the output’s gradient, from every query that looked at it. And each weight is asked: does this value point where the output should go? Weights of later tokens are asked in vain: the mask had set them to 0."],
    columns: () => [[weightsPicture("Each row adds up to 1."), picture_("Values", "What was averaged.", `${attn_()}.value`, ofHead())], [g("Of the output", "Back through the projection.", `${attn_()}.heads`, ofHead())], [g("Of the weights", "Blue: more of this one would help.", `${attn_()}.probabilities`, ofHead(MASKED)), g("Of the values", "A sum over all queries.", `${attn_()}.value`, ofHead())]],
    out: () => [`${attn_()}.probabilities`, `${attn_()}.value`],
    cell: () => strongestCell(`${attn_()}.value`) },

  { place: "attention", question: () => "What happens behind the softmax?",
    text: () => ["A row’s weights always add up to 1: if one grows, the others shrink. So a score is not judged by its weight’s gradient, but by how much better it is than the row’s average, weighted by p: p · (dp − average of dp). A weight near 0 hardly changes, whatever is asked of it."],
    columns: () => [[weightsPicture("Each row adds up to 1.")], [g("Of the weights", "From the last scene.", `${attn_()}.probabilities`, ofHead(MASKED))], [g("Of the scores", "Each row adds up to 0.", `${attn_()}.scores`, ofHead(MASKED))]],
    out: () => [`${attn_()}.scores`],
    cell: () => strongestCell(`${attn_()}.scores`) },

  { place: "attention", question: () => "Where does a key’s gradient come from?",
    text: () => ["A score was query · key / √D. So a key should move along every query that was compared with it, as strongly as that score should change: from its own place and all later ones, because only they looked at it. A query, the other way round, collects from all keys that it saw. Both again divided by √D, as forward was."],
    columns: () => [[picture_("Queries", "What looked.", `${attn_()}.query`, ofHead()), picture_("Keys", "What was looked at.", `${attn_()}.key`, ofHead())], [g("Of the scores", "A column for each key.", `${attn_()}.scores`, ofHead(MASKED))], [g("Of the keys", "A column of scores times the queries.", `${attn_()}.key`, ofHead()), g("Of the queries", "A row of scores times the keys.", `${attn_()}.query`, ofHead())]],
    out: () => [`${attn_()}.key`, `${attn_()}.query`],
    cell: () => strongestCell(`${attn_()}.key`) },

  { place: "ln_1", question: () => "How do three gradients become one?",
    text: () => [`Query, key and value were three products of the same normalised vector. What is used three times collects three gradients: each goes back through its own matrix, transposed, for all ${config.n_head} heads, and they are added. ${isReady_() ? `Before that, queries and keys go back through ${[isTurned_() ? "their turn" : "", config.qk_norm ? "their norm" : ""].filter(Boolean).join(" and ")}. ` : ""}Then comes the norm, as before the MLP, and ${state.block ? "the stream of the block below" : `the start of the stream, ${hasPositions() ? "the sum of the two tables" : "the row of the table"}`}.`],
    columns: () => [[picture_("The matrices", "Queries left, keys in the middle, values right.", `${attn_()}.c_attn.weight`, low(`${attn_()}.c_attn.weight`))], [g("Of Q, K and V", "All heads side by side.", `${attn_()}.qkv`)], [g("Of what was read", "The three, added up.", `${block_()}.ln_1.out`), g("Of the stream", "Plus what came along it.", streamBefore(attn_()))]],
    out: () => [`${block_()}.ln_1.out`, streamBefore(attn_())],
    cell: () => cell_(`${block_()}.ln_1.out`, "grad", hereWithTarget(), dStrongest(`${block_()}.ln_1.out`, hereWithTarget())) },

  { place: "embedding", question: () => `Why does the row of “${tokenAt(here())}” move?`,
    text: () => embeddingWords(),
    columns: () => [[el("figure", {}, el("h3", {}, "Where the token stands"), el("figcaption", {}, "Every one of these places adds to the same row."), placesOf(contents.tokens[here()]))], [g("Of the stream", "One for each place.", "embedding.out"), config.tied ? g("Of the logits", "The output head’s share.", "logits") : null], [g("Of the token table", config.tied ? "Tokens of the text get most; every other row only the output head’s share." : "A row gets something only where its token occurs.", "wte.weight", { chosen: contents.tokens[here()], ...low("wte.weight") })]],
    out: () => ["wte.weight"],
    cell: () => cell_("wte.weight", "grad", contents.tokens[here()], strongestChannel("wte.weight", "grad", contents.tokens[here()])) },
];

// The number of the nth scene of the way back at a place of the map.
function sceneAt(place, nth = 0) { return FORWARD_SCENES.length + 1 + BACKWARD_SCENES.map((scene, k) => [scene.place, k]).filter(([name]) => name === place)[nth][1]; }
// What lies between the head and the chosen block, which no scene shows.
function behindUs() {
  const last = config.n_layer - 1, { block } = state, passed = block === last ? "" : block + 1 === last ? ` and block ${last}` : ` and blocks ${last} to ${block + 1}`;
  return `The last norm (scene ${sceneAt("ln_2")} shows how)${passed} ${passed ? "are" : "is"} already behind us; this is ${last ? `block ${block}, the others repeat it: choose one in the map` : "the only block"}.`;
}
function placesOf(token) {
  return el("p", { class: "places" }, contents.tokens.map((v, t) => v === token ? el("b", { title: `position ${t}` }, nameOf(v)) : nameOf(v)));
}
function embeddingWords() {
  const token = contents.tokens[here()], count = contents.tokens.filter(v => v === token).length;
  return [`Its row was read at ${count} ${count === 1 ? "place" : "places"} of this text. What each of these places wants changed is added up in the one row: gradients add wherever a number is used more than once.`,
    `${config.tied ? "The same row also was the token’s row in the output head, so it gets a share there from every place, even where the token does not stand. " : ""}Then the optimizer, the rule of training, moves every number of the model a little against its gradient, and training goes on with the next text. Try it: “Play” takes such a step.`];
}
// The cell with the largest gradient of the chosen head, whichever token's it is.
function strongestCell(name) {
  const m = mat(name, "grad", state.head), place = argmax(m.data.map(Math.abs), m.data.length);
  return { ...cell_(name, "grad", Math.floor(place / m.cols), place % m.cols, state.head), largest: true };
}
function streamNames() { return ["embedding.out", ...Array.from({ length: config.n_layer }, (_, i) => [`h.${i}.resid_mid`, `h.${i}.resid_post`]).flat()]; }
function streamInWords(name) {
  const [, i, part] = name.match(/^h\.(\d+)\.resid_(\w+)$/) || [];
  return i === undefined ? "embedding" : `${part === "mid" ? "attention" : "MLP"} ${i}`;
}
function gradientNorm(name) { return contents.arrays[name].grad_numbers ? contents.arrays[name].grad_numbers.norm : 0; }
function widthsPicture() {
  const names = streamNames(), size = gradientNorm;
  return el("figure", {}, el("h3", {}, "Along the stream"), el("figcaption", {}, "The gradient’s length after each layer."),
    bars(names.slice().reverse().filter(name => config.n_layer <= 4 || !name.endsWith("resid_mid")).map(name => ({ label: streamInWords(name), size: size(name), text: number(size(name)) }))));
}
