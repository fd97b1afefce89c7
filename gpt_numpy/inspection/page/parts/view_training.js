// The log of the run: losses, norms of gradients, sizes of updates, samples.

VIEWS.training = { title: "Training", draw: drawTraining };

function drawTraining() {
  const { curves, layers, samples, facts, clipped } = contents.history;
  const some = Object.values(curves).some(curve => curve.length) || samples.length;
  const intro = [el("h2", {}, "Training"), el("p", {}, some ? `The training of this model, from the log of its run${about.iteration === null || about.iteration === undefined ? "" : `; the checkpoint, the saved model that this page reads, is of iteration ${about.iteration}`}.` : "The folder has no log of a training run: there is nothing to show here.")];
  if (!some) return intro;
  return [...intro, el("div", { class: "grid" },
    figure("Loss", lossSentence(facts), {}, lineChart([
      { name: "single batches", points: curves.loss, colour: line(5), width: 1, quiet: true },
      { name: "training split", points: curves.train_loss, colour: line(0), dash: "6 4", dots: true },
      { name: "validation split", points: curves.val_loss, colour: line(1), dots: true, width: 2.2 },
    ], { label: "Loss, nats a token" })),
    figure("Norm of the whole gradient", normOfRun(facts.grad_norm, clipped), { size: "half" }, lineChart([{ name: "norm", points: curves.grad_norm, colour: line(0) }], { log: true, half: true, label: "Norm of the gradient", guide: about.grad_clip || undefined })),
    figure("Learning rate", rateSentence(facts.lr), { size: "half" }, lineChart([{ name: "learning rate", points: curves.lr, colour: line(2) }], { half: true, label: "Learning rate" })),
    figure("Gradients by layer", layerSentence(layers.gradient, "largest gradient"), { size: "half" }, lineChart(byDepth(layers.gradient), { log: true, half: true, label: "Norm of the gradient of each layer" })),
    figure("Updates by layer, relative to the weights", `${layerSentence(layers.update, "largest update")} The dotted line is 0.001, a common rule of thumb.`, { size: "half" }, lineChart(byDepth(layers.update), { log: true, half: true, label: "Norm of the update divided by that of the weights", guide: 1e-3 })),
    samples.length ? figure("Samples", `${samples.length} texts that the model wrote during training, from iteration ${samples[0].iteration} to ${samples[samples.length - 1].iteration}.`, {},
      el("div", { class: "samples" }, samples.map(sample => el("div", {}, el("b", { class: "small" }, `iteration ${sample.iteration}`), el("pre", {}, visible(sample.text)))))) : null)];
}

function visible(text) { return text.replace(/[^\P{C}\n\t]/gu, "�"); }
function byDepth(found) {
  const names = Object.keys(found);
  return names.map((name, k) => ({ name, points: found[name], colour: depth(k, names.length), width: 1.4 }));
}
// In words: of all that was logged, of which the curves may show a part.
function lossSentence({ val_loss, loss }) {
  const fact = val_loss || loss, what = val_loss ? "The validation loss, on text that the model is not trained on," : "The loss of single batches";
  if (!fact) return "No loss was logged.";
  const { first, lowest } = fact;
  const course = lowest[0] === first[0] ? `starts at ${number(first[1])} nats a token and is never lower` : `falls from ${number(first[1])} to ${number(lowest[1])} nats a token at iteration ${lowest[0]}`;
  return `${what} ${course}; a uniform guess has ${number(about.uniform)}.`;
}
function normOfRun(fact, clipped) {
  if (!fact) return "No norms were logged.";
  return `Before clipping, the scaling down of a gradient that is too long: from ${number(fact.first[1])} at the start to ${number(fact.last[1])}${clipped === null ? "" : `; ${clipped ? percent(clipped) : "none"} of the logged norms ${clipped ? "are" : "is"} above ${about.grad_clip}, the dotted line, to which longer ones are scaled down`}.`;
}
function rateSentence(fact) {
  if (!fact) return "No learning rate was logged.";
  const { first, last, highest } = fact;
  return `It ${highest[0] === first[0] ? "starts at" : "rises to"} ${number(highest[1])}${highest[0] === first[0] ? "" : ` at iteration ${highest[0]}`} and ends at ${number(last[1])}.`;
}
function layerSentence(found, what) {
  const last = Object.entries(found).filter(([, line]) => line.length).map(([name, line]) => [name, line[line.length - 1][1]]);
  if (!last.length) return "The log has no norms of single layers.";
  const [name, size] = last.reduce((high, pair) => pair[1] > high[1] ? pair : high);
  return `At the end ${name} has the ${what}, ${number(size)}; the colour shows the depth.`;
}
