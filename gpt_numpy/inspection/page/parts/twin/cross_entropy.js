// reference/cross_entropy.py: how surprised the model is by the token that did come next.

const IGNORED = -1;

// capped: the logit after the soft cap; itself if there is none
function capped(z, softcap) { return softcap ? softcap * Math.tanh(z / softcap) : z; }

// cross_entropy_forward
function crossEntropyForward(logits, targets, V, softcap, { lse, losses }) {
  targets.forEach((target, t) => {
    const row = logits.subarray(t * V, (t + 1) * V).map(z => capped(z, softcap));
    let largest = -Infinity, total = 0;
    for (const z of row) if (!(z <= largest)) largest = z;
    for (const z of row) total += Math.exp(z - largest);
    lse[t] = largest + Math.log(total);
    losses[t] = target === IGNORED ? 0 : lse[t] - row[target];
  });
}

// The softmax of each row, as trace/recomputed.py's next_token
function probabilitiesOf(logits, lse, V, softcap, out) {
  for (let k = 0; k < logits.length; k++) out[k] = Math.exp(capped(logits[k], softcap) - lse[Math.floor(k / V)]);
}

// cross_entropy_backward
function crossEntropyBackward(dlosses, logits, targets, V, softcap, { lse }, dlogits) {
  // forward: out = lse - logits[target]
  probabilitiesOf(logits, lse, V, softcap, dlogits);
  targets.forEach((target, t) => {
    for (let v = 0; v < V; v++) {
      const k = t * V + v, slope = softcap ? 1 - Math.tanh(logits[k] / softcap) ** 2 : 1;
      dlogits[k] = target === IGNORED ? 0 : dlosses[t] * (dlogits[k] - (v === target ? 1 : 0)) * slope;
    }
  });
}
