// What the reader can do with the model: look after every layer, write, descend, check.

const BEST = 10;

// page/logit_lens.py: the most likely tokens if the head read the stream after each stage.
function logitLens(pass) {
  const { model, T, targets } = pass, V = model.config.vocab_size;
  const softcap = model.config.logit_softcap;
  const places = ["embedding.out", ...stagesOf(model.config).stages.map(stage => stage.writes)];
  return places.map(place => {
    const own = {}, at = name => name === place ? pass.at(place) : own[name] || (own[name] = zeros(sizeOf(name, model.config, T)));
    const scratch = { ...pass, at }, logits = zeros(T * V), p = zeros(T * V), lse = zeros(T), losses = zeros(T);
    headForward(scratch, place, logits);
    crossEntropyForward(logits, targets, V, softcap, { lse, losses });
    probabilitiesOf(logits, lse, V, softcap, p);
    const best = Array.from({ length: T }, (_, t) => mostLikely(p.subarray(t * V, (t + 1) * V), BEST));
    return { place, tokens: best, probabilities: Float64Array.from(best.flatMap((tokens, t) => tokens.map(v => p[t * V + v]))),
      right: Float64Array.from(targets, (target, t) => target === IGNORED ? NaN : p[t * V + target]) };
  });
}

// The next token after the last `block_size` tokens, by a forward pass over them.
function nextLogits(model, tokens) {
  const read = tokens.slice(-model.config.block_size), pass = makePass(model, read, read.map(() => IGNORED)), V = model.config.vocab_size;
  forward(pass);
  return pass.at("logits").subarray((read.length - 1) * V).map(z => capped(z, model.config.logit_softcap));
}

// One step against the gradient: every parameter minus the learning rate times its gradient.
function descend(model, rate) {
  for (const [name, parameter] of Object.entries(model.params)) {
    const grad = model.grads[name];
    for (let k = 0; k < parameter.length; k++) parameter[k] -= rate * grad[k];
  }
}

// Along a random direction in one parameter the slope of the loss, twice: from the gradient, and as
// the quotient of differences (f(x + h) - f(x - h)) / 2h, which knows nothing of backward.
function checkParameter(pass, name, seed) {
  const { model } = pass, parameter = model.params[name], next = randomNumbers(seed);
  const direction = Float64Array.from(parameter, () => next() < 0.5 ? -1 : 1), before = Float64Array.from(parameter);
  const h = 1e-5 / Math.sqrt(parameter.length);
  const loss = sign => {
    for (let k = 0; k < parameter.length; k++) parameter[k] = before[k] + sign * h * direction[k];
    return forward(makePass(model, pass.tokens, pass.targets, pass.off));
  };
  const quotient = (loss(1) - loss(-1)) / (2 * h);
  parameter.set(before);
  const slope = model.grads[name].reduce((sum, g, k) => sum + g * direction[k], 0);
  const norm = Math.sqrt(model.grads[name].reduce((sum, g) => sum + g * g, 0));
  return { slope, quotient, error: Math.abs(slope - quotient) / Math.max(norm, 1e-300) };
}
