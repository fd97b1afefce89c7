// The log of the run: losses, norms of gradients, sizes of updates, samples.

VIEWS.training = { title: "Training", draw: drawTraining };

function drawTraining() {
  const { curves, layers, samples } = contents.history;
  const some = Object.values(curves).some(curve => curve.length) || samples.length;
  const intro = [el("h2", {}, "Training"), el("p", {}, some ? `The training of this model, from the log of its run${about.iteration === null || about.iteration === undefined ? "" : `; the checkpoint is of iteration ${about.iteration}`}.` : "The folder has no log of a training run: there is nothing to show here.")];
  if (!some) return intro;
  return [...intro, el("div", { class: "grid" },
    figure("Loss", lossSentence(curves), {}, lineChart([
      { name: "single batches", points: curves.loss, colour: line(5), width: 1, quiet: true },
      { name: "training split", points: curves.train_loss, colour: line(0), dash: "6 4", dots: true },
      { name: "validation split", points: curves.val_loss, colour: line(1), dots: true, width: 2.2 },
    ], { label: "Loss, nats a token" })),
    figure("Norm of the whole gradient", normOfRun(curves.grad_norm), { size: "half" }, lineChart([{ name: "norm", points: curves.grad_norm, colour: line(0) }], { log: true, half: true, label: "Norm of the gradient", guide: about.grad_clip || undefined })),
    figure("Learning rate", rateSentence(curves.lr), { size: "half" }, lineChart([{ name: "learning rate", points: curves.lr, colour: line(2) }], { half: true, label: "Learning rate" })),
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
function lossSentence({ loss, val_loss }) {
  const curve = val_loss.length ? val_loss : loss;
  if (!curve.length) return "No loss was logged.";
  const best = curve.reduce((low, point) => point[1] < low[1] ? point : low, curve[0]);
  return `${val_loss.length ? "The validation loss" : "The loss"} falls from ${number(curve[0][1])} to ${number(best[1])} nats a token at iteration ${best[0]}; a uniform guess has ${number(about.uniform)}.`;
}
function normOfRun(line) {
  if (!line.length) return "No norms were logged.";
  const clipped = about.grad_clip ? line.filter(([, y]) => y > about.grad_clip).length : 0;
  return `Before clipping, from ${number(line[0][1])} at the start to ${number(line[line.length - 1][1])}${about.grad_clip ? `; ${percent(clipped / line.length)} of the logged steps exceed ${about.grad_clip}, the dotted line, and were scaled down to it` : ""}.`;
}
function rateSentence(line) {
  if (!line.length) return "No learning rate was logged.";
  const top = line.reduce((high, point) => point[1] > high[1] ? point : high, line[0]);
  return `It rises to ${number(top[1])} at iteration ${top[0]} and ends at ${number(line[line.length - 1][1])}.`;
}
function layerSentence(found, what) {
  const last = Object.entries(found).filter(([, line]) => line.length).map(([name, line]) => [name, line[line.length - 1][1]]);
  if (!last.length) return "The log has no norms of single layers.";
  const [name, size] = last.reduce((high, pair) => pair[1] > high[1] ? pair : high);
  return `At the end ${name} has the ${what}, ${number(size)}; the colour shows the depth.`;
}
