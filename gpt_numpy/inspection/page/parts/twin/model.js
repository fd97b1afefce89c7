// model/stages.py and model/gpt.py: the stages of a pass, and the two passes over one sequence.

// A model from its configuration and its parameters, one array of float32 in the order of `table`.
function makeModel(config, table, numbers) {
  const model = { config, norm: config.norm || "layernorm", shapes: {}, params: {}, grads: {}, headWeight: config.tied ? "wte.weight" : "lm_head.weight" };
  let start = 0;
  for (const [name, shape] of table) {
    const size = shape.reduce((a, b) => a * b, 1);
    model.shapes[name] = shape;
    model.params[name] = Float64Array.from(numbers.subarray(start, start + size));
    model.grads[name] = zeros(size);
    start += size;
  }
  model.positions = model.params["wpe.weight"] || (config.positions === "sinusoidal" ? sinusoidalPositions(config.block_size, config.n_embd) : null);
  return model;
}

// embedding.py: sinusoidal_positions
function sinusoidalPositions(count, C) {
  const table = zeros(count * C);
  for (let t = 0; t < count; t++) {
    for (let c = 0; c < C; c++) {
      const angle = t / 10000 ** ((c - c % 2) / C);
      table[t * C + c] = (c % 2 ? Math.cos(angle) : Math.sin(angle)) / Math.sqrt(C);
    }
  }
  return table;
}

// A norm's two rows of numbers and one number for each position; the names are those of a trace.
function sizeOf(name, { n_embd: C, n_head: H, n_groups: G, head_size: D, n_hidden: F, vocab_size: V, activation }, T) {
  const last = name.split(".").pop();
  if (["mean", "rstd", "losses"].includes(last) || name === "lse") return T;
  if (last === "lse") return H * T;
  if (last === "scores" || (last === "probabilities" && name !== last)) return H * T * T;
  if (name === "logits" || name === "probabilities") return T * V;
  return T * ({ qkv: C + 2 * G * D, ready: C + 2 * G * D, fc: activation === "swiglu" ? 2 * F : F, act: F }[last] || C);
}

const NOTHING_OFF = { heads: {}, neurons: {}, attention: [], mlp: [] };

// One sequence: `tokens`, and the token that follows each, -1 where none is known.
function makePass(model, tokens, targets, off = NOTHING_OFF) {
  const T = tokens.length, values = {}, gradients = {};
  const made = table => name => table[name] || (table[name] = zeros(sizeOf(name, model.config, T)));
  return { model, tokens, targets, off, T, values, gradients, at: made(values), grad: made(gradients) };
}

// stages.py: gpt. Each stage with what it reads, what it writes, and its two functions.
function stagesOf({ n_layer }) {
  const stages = [];
  let stream = "embedding.out";
  for (let i = 0; i < n_layer; i++) {
    const [x, mid, post] = [stream, `h.${i}.resid_mid`, `h.${i}.resid_post`];
    stages.push({ writes: mid, forward: pass => attentionSublayerForward(pass, i, x, mid), backward: pass => attentionSublayerBackward(pass, i, x, mid) });
    stages.push({ writes: post, forward: pass => mlpSublayerForward(pass, i, mid, post), backward: pass => mlpSublayerBackward(pass, i, mid, post) });
    stream = post;
  }
  return { stages, stream };
}

// gpt.py: forward. The mean loss over the targets that are known; NaN where there is none.
function forward(pass) {
  const { model, tokens, targets } = pass, { stages, stream } = stagesOf(model.config);
  embeddingForward(tokens, { wte: model.params["wte.weight"], wpe: model.positions }, model.config.n_embd, pass.at("embedding.out"));
  for (const stage of stages) stage.forward(pass);
  headLossForward(pass, stream);
  const known = targets.filter(target => target !== IGNORED).length;
  return pass.at("losses").reduce((sum, loss) => sum + loss, 0) / known;
}

// gpt.py: backward
function backward(pass) {
  const { model, tokens, targets } = pass, { stages, stream } = stagesOf(model.config);
  const known = targets.filter(target => target !== IGNORED).length;
  pass.grad("losses").fill(1 / Math.max(known, 1));
  headLossBackward(pass, stream);
  for (const stage of stages.reverse()) stage.backward(pass);
  embeddingBackward(pass.grad("embedding.out"), tokens, model.config.n_embd, {
    tied: model.config.tied, dwte: model.grads["wte.weight"], dwpe: model.grads["wpe.weight"] });
}
