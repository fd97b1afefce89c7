// reference/attention.py: each position averages the values of the positions it may see.
// qkv holds the heads of queries, keys and values side by side, D channels each: H of queries, G of keys
// and G of values. Query head h sees the keys and values of head floor(h G / H).

// split_heads: one of `count` heads side by side, as a view of T x D numbers
function headView(x, T, head, count) {
  const width = x.length / T, D = width / count;
  return view(x, T, D, head * D, width);
}
function headsIn({ n_head: H, n_groups: G }) { return H + 2 * G; }
// split_qkv: views of query, key and value for query head h
function splitQkv(qkv, T, h, config) {
  const { n_head: H, n_groups: G } = config, own = Math.floor(h * G / H);
  return [h, H + own, H + G + own].map(head => headView(qkv, T, head, headsIn(config)));
}
function squareView(x, T, head) { return view(x, T, T, head * T * T); }

// attention_forward
function attentionForward(qkv, config, T, { scores, probabilities, lse, out }) {
  for (let h = 0; h < config.n_head; h++) {
    const [Q, K, V] = splitQkv(qkv, T, h, config);
    const s = squareView(scores, T, h), p = squareView(probabilities, T, h);
    product(Q, transposed(K), s, 1 / Math.sqrt(Q.cols));
    for (let q = 0; q < T; q++) softmaxRow(s.data, p.data, s.start + q * T, q + 1, T, lse, h * T + q);
    product(p, V, headView(out, T, h, config.n_head));
  }
}

// Of the first `seen` scores of a row; the others are masked: their weight is 0.
function softmaxRow(s, p, start, seen, T, lse, place) {
  let largest = -Infinity, total = 0;
  for (let k = 0; k < seen; k++) if (!(s[start + k] <= largest)) largest = s[start + k];
  for (let k = 0; k < seen; k++) total += p[start + k] = Math.exp(s[start + k] - largest);
  for (let k = 0; k < T; k++) p[start + k] = k < seen ? p[start + k] / total : 0;
  lse[place] = largest + Math.log(total);
}

// attention_backward; without dropout w = p and dw = dp
function attentionBackward(dout, qkv, config, T, { probabilities, attn }, { dqkv, dscores, dprobabilities }) {
  const { n_head: H, n_groups: G } = config;
  for (let h = 0; h < H; h++) {
    const [Q, K, V] = splitQkv(qkv, T, h, config), [dQ, dK, dV] = splitQkv(dqkv, T, h, config);
    const dO = headView(dout, T, h, H), out = headView(attn, T, h, H);
    const more = h % (H / G) > 0;  // sum_of_groups: the first query head of a group assigns, the others add
    const p = squareView(probabilities, T, h), dp = squareView(dprobabilities, T, h), ds = squareView(dscores, T, h);
    const scale = 1 / Math.sqrt(Q.cols);
    // forward: out = p @ V
    product(dO, transposed(V), dp);
    product(transposed(p), dO, dV, 1, more);
    // forward: p = softmax(s)
    for (let q = 0; q < T; q++) {
      let delta = 0;
      for (let d = 0; d < dO.cols; d++) delta += dO.data[dO.start + q * dO.row + d] * out.data[out.start + q * out.row + d];
      for (let k = 0; k < T; k++) {
        const place = p.start + q * T + k;
        ds.data[place] = p.data[place] * (dp.data[place] - delta);
      }
    }
    // forward: s = Q @ K.T / sqrt(D)
    product(ds, K, dQ, scale);
    product(transposed(ds), Q, dK, scale, more);
  }
}
