// reference/attention_sublayer.py, mlp_sublayer.py and head.py: what a stage does, by names of arrays.
// `pass.at(name)` is the array of a name, `pass.grad(name)` its gradient; both are made on first use.
// `off` is what the reader has switched off: its output is zero, and so is its gradient.

function normForward(pass, x, name) {
  const { forward, statistics } = NORMS[pass.model.norm];
  const kept = { xhat: pass.at(`${name}.xhat`), out: pass.at(`${name}.out`) };
  for (const statistic of statistics) kept[statistic] = pass.at(`${name}.${statistic}`);
  forward(pass.at(x), weightsOf(pass.model, name), pass.model.config.norm_eps, kept);
}
function normBackward(pass, name, dx) {
  const { backward, statistics } = NORMS[pass.model.norm], { model } = pass;
  const kept = { xhat: pass.at(`${name}.xhat`) };
  for (const statistic of statistics) kept[statistic] = pass.at(`${name}.${statistic}`);
  backward(pass.grad(`${name}.out`), weightsOf(model, name), kept, {
    dx, dxhat: pass.grad(`${name}.xhat`), dweight: model.grads[`${name}.weight`], dbias: model.grads[`${name}.bias`] });
}
function weightsOf(model, name) { return { weight: model.params[`${name}.weight`], bias: model.params[`${name}.bias`] }; }

// A linear layer from the array `x` to the array `out`, by its name, and back.
function linearOf(pass, x, name, out) {
  const { weight, bias } = weightsOf(pass.model, name), [I, O] = pass.model.shapes[`${name}.weight`];
  linearForward(view(pass.at(x), pass.T, I), view(weight, I, O), bias, view(pass.at(out), pass.T, O));
}
function linearBack(pass, dout, x, name) {
  const { model, T } = pass, [I, O] = model.shapes[`${name}.weight`];
  linearBackward(view(dout, T, O), view(pass.at(x), T, I), view(model.params[`${name}.weight`], I, O), {
    dx: view(pass.grad(x), T, I), dweight: view(model.grads[`${name}.weight`], I, O), dbias: model.grads[`${name}.bias`] });
}

function addBranch(x, branch, out) { for (let k = 0; k < x.length; k++) out[k] = x[k] + branch[k]; }

// Zero the channels of each row from `first` on, `count` of them.
function silence(x, T, first, count) {
  const width = x.length / T;
  for (let t = 0; t < T; t++) x.fill(0, t * width + first, t * width + first + count);
}
function silenceHeads(pass, i, x) {
  const D = pass.model.config.head_size;
  for (const h of pass.off.heads[i] || []) silence(x, pass.T, h * D, D);
}

// What attention reads: with QK norm or rotary positions what became of queries and keys.
function isMadeReady({ model: { config } }) { return config.qk_norm || config.positions === "rotary"; }
function attended(pass, b) { return `${b}.attn.${isMadeReady(pass) ? "ready" : "qkv"}`; }
// The weights of QK norm, or their gradients, for queries and keys.
function headNorms(table, b) { return ["q", "k"].map(letter => table[`${b}.attn.${letter}_norm.weight`]); }

// attention_sublayer_forward
function attentionSublayerForward(pass, i, x, out) {
  const b = `h.${i}`, { config, params } = pass.model;
  normForward(pass, x, `${b}.ln_1`);
  linearOf(pass, `${b}.ln_1.out`, `${b}.attn.c_attn`, `${b}.attn.qkv`);
  if (isMadeReady(pass)) queriesKeysForward(pass.at(`${b}.attn.qkv`), pass.T, config, headNorms(params, b), pass.at(`${b}.attn.ready`));
  attentionForward(pass.at(attended(pass, b)), config, pass.T, {
    scores: pass.at(`${b}.attn.scores`), probabilities: pass.at(`${b}.attn.probabilities`), lse: pass.at(`${b}.attn.lse`), out: pass.at(`${b}.attn.out`) });
  silenceHeads(pass, i, pass.at(`${b}.attn.out`));
  linearOf(pass, `${b}.attn.out`, `${b}.attn.c_proj`, `${b}.attn.proj`);
  if (pass.off.attention.includes(i)) pass.at(`${b}.attn.proj`).fill(0);
  addBranch(pass.at(x), pass.at(`${b}.attn.proj`), pass.at(out));
}

// attention_sublayer_backward
function attentionSublayerBackward(pass, i, x, out) {
  const b = `h.${i}`, { config, params, grads } = pass.model, dout = pass.grad(out), dbranch = pass.grad(`${b}.attn.proj`);
  // forward: out = x + linear(attn)
  dbranch.set(dout);
  if (pass.off.attention.includes(i)) dbranch.fill(0);
  linearBack(pass, dbranch, `${b}.attn.out`, `${b}.attn.c_proj`);
  silenceHeads(pass, i, pass.grad(`${b}.attn.out`));
  // forward: attn = attention(qkv)
  attentionBackward(pass.grad(`${b}.attn.out`), pass.at(attended(pass, b)), config, pass.T,
    { probabilities: pass.at(`${b}.attn.probabilities`), attn: pass.at(`${b}.attn.out`) },
    { dqkv: pass.grad(attended(pass, b)), dscores: pass.grad(`${b}.attn.scores`), dprobabilities: pass.grad(`${b}.attn.probabilities`) });
  // forward: ready = queries_keys(qkv)
  if (isMadeReady(pass)) {
    queriesKeysBackward(pass.grad(`${b}.attn.ready`), pass.at(`${b}.attn.qkv`), pass.T, config, headNorms(params, b),
      { dqkv: pass.grad(`${b}.attn.qkv`), dnorms: headNorms(grads, b) });
  }
  // forward: qkv = linear(norm)
  linearBack(pass, pass.grad(`${b}.attn.qkv`), `${b}.ln_1.out`, `${b}.attn.c_attn`);
  // forward: norm = layernorm(x); out = x + branch(x)
  const dx = pass.grad(x);
  normBackward(pass, `${b}.ln_1`, dx);
  addBranch(dx, dout, dx);
}

// mlp_sublayer_forward
function mlpSublayerForward(pass, i, x, out) {
  const b = `h.${i}`, kind = pass.model.config.activation;
  normForward(pass, x, `${b}.ln_2`);
  linearOf(pass, `${b}.ln_2.out`, `${b}.mlp.c_fc`, `${b}.mlp.fc`);
  activationForward(kind, pass.at(`${b}.mlp.fc`), pass.at(`${b}.mlp.act`), pass.T);
  for (const neuron of pass.off.neurons[i] || []) silence(pass.at(`${b}.mlp.act`), pass.T, neuron, 1);
  linearOf(pass, `${b}.mlp.act`, `${b}.mlp.c_proj`, `${b}.mlp.proj`);
  if (pass.off.mlp.includes(i)) pass.at(`${b}.mlp.proj`).fill(0);
  addBranch(pass.at(x), pass.at(`${b}.mlp.proj`), pass.at(out));
}

// mlp_sublayer_backward
function mlpSublayerBackward(pass, i, x, out) {
  const b = `h.${i}`, kind = pass.model.config.activation, dout = pass.grad(out), dbranch = pass.grad(`${b}.mlp.proj`);
  // forward: out = x + linear(act)
  dbranch.set(dout);
  if (pass.off.mlp.includes(i)) dbranch.fill(0);
  linearBack(pass, dbranch, `${b}.mlp.act`, `${b}.mlp.c_proj`);
  for (const neuron of pass.off.neurons[i] || []) silence(pass.grad(`${b}.mlp.act`), pass.T, neuron, 1);
  // forward: act = activation(fc)
  activationBackward(kind, pass.grad(`${b}.mlp.act`), pass.at(`${b}.mlp.fc`), pass.grad(`${b}.mlp.fc`), pass.T);
  // forward: fc = linear(norm)
  linearBack(pass, pass.grad(`${b}.mlp.fc`), `${b}.ln_2.out`, `${b}.mlp.c_fc`);
  // forward: norm = layernorm(x); out = x + branch(x)
  const dx = pass.grad(x);
  normBackward(pass, `${b}.ln_2`, dx);
  addBranch(dx, dout, dx);
}

// head_forward: the weight lies as (V, C), like the token embedding that it may be
function headForward(pass, x, logits) {
  const { model, T } = pass, V = model.config.vocab_size, C = model.config.n_embd;
  normForward(pass, x, "ln_f");
  product(view(pass.at("ln_f.out"), T, C), transposed(view(model.params[model.headWeight], V, C)), view(logits, T, V));
}

// head_loss_forward
function headLossForward(pass, x) {
  headForward(pass, x, pass.at("logits"));
  const V = pass.model.config.vocab_size;
  const softcap = pass.model.config.logit_softcap;
  crossEntropyForward(pass.at("logits"), pass.targets, V, softcap, { lse: pass.at("lse"), losses: pass.at("losses") });
  probabilitiesOf(pass.at("logits"), pass.at("lse"), V, softcap, pass.at("probabilities"));
}

// head_loss_backward
function headLossBackward(pass, x) {
  const { model, T } = pass, V = model.config.vocab_size, C = model.config.n_embd, dlogits = pass.grad("logits");
  // forward: losses = cross_entropy(logits)
  crossEntropyBackward(pass.grad("losses"), pass.at("logits"), pass.targets, V, model.config.logit_softcap, { lse: pass.at("lse") }, dlogits);
  // forward: logits = norm @ weight.T
  linearBackward(view(dlogits, T, V), view(pass.at("ln_f.out"), T, C), transposed(view(model.params[model.headWeight], V, C)), {
    dx: view(pass.grad("ln_f.out"), T, C), dweight: transposed(view(model.grads[model.headWeight], V, C)), dbias: null });
  // forward: norm = layernorm(x)
  normBackward(pass, "ln_f", pass.grad(x));
}
