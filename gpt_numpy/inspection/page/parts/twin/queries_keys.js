// reference/queries_keys.py: what happens to queries and keys before attention compares them.

// The heads of queries (part 0) or keys (part 1) in qkv: the number of the first, and how many there are.
function headsOfPart(part, { n_head: H, n_groups: G }) { return part ? [H, G] : [0, H]; }

// queries_keys_forward: QK norm, then the turn of rotary positions; each only where the model has it
function queriesKeysForward(qkv, T, config, norms, out) {
  out.set(qkv);
  for (let part = 0; part < 2; part++) {
    const [first, count] = headsOfPart(part, config);
    for (let head = first; head < first + count; head++) {
      const ready = headView(out, T, head, headsIn(config));
      if (norms[part]) normHead(ready, norms[part], config.norm_eps);
      if (config.positions === "rotary") turnHead(ready, config.rope_base, 1);
    }
  }
}

// queries_keys_backward
function queriesKeysBackward(dout, qkv, T, config, norms, { dqkv, dnorms }) {
  dqkv.set(dout);
  for (let part = 0; part < 2; part++) {
    const [first, count] = headsOfPart(part, config);
    if (dnorms[part]) dnorms[part].fill(0);
    for (let head = first; head < first + count; head++) {
      const dx = headView(dqkv, T, head, headsIn(config));
      // forward: out = turn(normed)
      if (config.positions === "rotary") turnHead(dx, config.rope_base, -1);
      // forward: normed = rmsnorm(x)
      if (norms[part]) normHeadBack(dx, headView(qkv, T, head, headsIn(config)), norms[part], config.norm_eps, dnorms[part]);
    }
  }
}

// The numbers of a head, which lie apart in rows of all heads, one after the other; and back.
function gathered({ data, rows, cols, start, row }) {
  const found = zeros(rows * cols);
  for (let t = 0; t < rows; t++) found.set(data.subarray(start + t * row, start + t * row + cols), t * cols);
  return found;
}
function scatter(found, { data, rows, cols, start, row }) {
  for (let t = 0; t < rows; t++) data.set(found.subarray(t * cols, (t + 1) * cols), start + t * row);
}

// RMSNorm over the D channels of a head, in place.
function normHead(head, weight, eps) {
  const x = gathered(head), out = zeros(x.length);
  rmsnormForward(x, { weight }, eps, { rstd: zeros(head.rows), xhat: zeros(x.length), out });
  scatter(out, head);
}
// Its gradient, in place; the weight is shared by all heads, so its gradient is a sum over them.
function normHeadBack(dhead, head, weight, eps, dweight) {
  const x = gathered(head), dx = zeros(x.length), own = zeros(weight.length);
  const kept = { rstd: zeros(head.rows), xhat: zeros(x.length) };
  rmsnormForward(x, { weight }, eps, { ...kept, out: zeros(x.length) });
  rmsnormBackward(gathered(dhead), { weight }, kept, { dx, dxhat: zeros(x.length), dweight: own });
  for (let d = 0; d < own.length; d++) dweight[d] += own[d];
  scatter(dx, dhead);
}
