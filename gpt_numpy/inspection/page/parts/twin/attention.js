// reference/attention.py: each position averages the values of the positions it may see.
// qkv holds query, key and value side by side; head h has channels h D to (h + 1) D of each.

// split_heads: one head of one of the parts, as a view of T x D numbers
function headView(x, T, part, parts, head, H) {
  const width = x.length / T, D = width / (parts * H);
  return view(x, T, D, (part * H + head) * D, width);
}
function squareView(x, T, head) { return view(x, T, T, head * T * T); }

// attention_forward
function attentionForward(qkv, H, T, { scores, probabilities, lse, out }) {
  for (let h = 0; h < H; h++) {
    const [Q, K, V] = [0, 1, 2].map(part => headView(qkv, T, part, 3, h, H));
    const s = squareView(scores, T, h), p = squareView(probabilities, T, h);
    product(Q, transposed(K), s, 1 / Math.sqrt(Q.cols));
    for (let q = 0; q < T; q++) softmaxRow(s.data, p.data, s.start + q * T, q + 1, T, lse, h * T + q);
    product(p, V, headView(out, T, 0, 1, h, H));
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
function attentionBackward(dout, qkv, H, T, { probabilities, attn }, { dqkv, dscores, dprobabilities }) {
  for (let h = 0; h < H; h++) {
    const [Q, K, V] = [0, 1, 2].map(part => headView(qkv, T, part, 3, h, H));
    const [dQ, dK, dV] = [0, 1, 2].map(part => headView(dqkv, T, part, 3, h, H));
    const dO = headView(dout, T, 0, 1, h, H), out = headView(attn, T, 0, 1, h, H);
    const p = squareView(probabilities, T, h), dp = squareView(dprobabilities, T, h), ds = squareView(dscores, T, h);
    const scale = 1 / Math.sqrt(Q.cols);
    // forward: out = p @ V
    product(dO, transposed(V), dp);
    product(transposed(p), dO, dV);
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
    product(transposed(ds), Q, dK, scale);
  }
}
