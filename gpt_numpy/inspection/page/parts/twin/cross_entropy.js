// reference/cross_entropy.py: how surprised the model is by the token that did come next.

const IGNORED = -1;

// cross_entropy_forward
function crossEntropyForward(logits, targets, V, { lse, losses }) {
  targets.forEach((target, t) => {
    let largest = -Infinity, total = 0;
    for (let v = 0; v < V; v++) if (!(logits[t * V + v] <= largest)) largest = logits[t * V + v];
    for (let v = 0; v < V; v++) total += Math.exp(logits[t * V + v] - largest);
    lse[t] = largest + Math.log(total);
    losses[t] = target === IGNORED ? 0 : lse[t] - logits[t * V + target];
  });
}

// The softmax of each row, as trace/recomputed.py's next_token
function probabilitiesOf(logits, lse, V, out) {
  for (let k = 0; k < logits.length; k++) out[k] = Math.exp(logits[k] - lse[Math.floor(k / V)]);
}

// cross_entropy_backward
function crossEntropyBackward(dlosses, logits, targets, V, { lse }, dlogits) {
  // forward: out = lse - logits[target]
  probabilitiesOf(logits, lse, V, dlogits);
  targets.forEach((target, t) => {
    for (let v = 0; v < V; v++) dlogits[t * V + v] = target === IGNORED ? 0 : dlosses[t] * (dlogits[t * V + v] - (v === target ? 1 : 0));
  });
}
