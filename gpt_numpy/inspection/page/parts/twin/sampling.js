// generation/sampling.py: which token comes next.

// Probabilities of the tokens after temperature, top_k and top_p; what is left out gets 0.
// Temperature 0 takes the most likely token. `known`: how many tokens have a name; others never come.
function distribution(logits, { temperature = 1, topK = 0, topP = 1, known = logits.length }) {
  const order = mostLikely(logits.subarray(0, known), known), p = new Float64Array(logits.length);
  if (temperature <= 0) { p[order[0]] = 1; return p; }
  const kept = topK > 0 ? order.slice(0, topK) : order, largest = logits[order[0]];
  let total = 0;
  for (const token of kept) total += p[token] = Math.exp((logits[token] - largest) / temperature);
  let sum = 0, left = 0;
  for (const token of kept) {
    // The most likely tokens until their sum reaches topP; the one that reaches it is the last.
    if (left && sum >= topP * total) p[token] = 0; else left += p[token];
    sum = left;
  }
  for (const token of kept) p[token] /= left;
  return p;
}

// The places of the largest numbers, the largest first; of equal ones the first.
function mostLikely(p, count) {
  if (count > 16) return Array.from(p.keys()).sort((a, b) => p[b] - p[a]).slice(0, count);
  const best = [];
  for (let k = 0; k < p.length; k++) {
    if (best.length === count && !(p[k] > p[best[count - 1]])) continue;
    let place = best.length < count ? best.length : count - 1;
    for (; place > 0 && p[k] > p[best[place - 1]]; place--) best[place] = best[place - 1];
    best[place] = k;
  }
  return best;
}

// A small generator of random numbers in [0, 1), the same for the same seed (a xorshift of 32 bits).
function randomNumbers(seed) {
  let state = (seed ^ 0x9e3779b9) | 1;
  return () => {
    state ^= state << 13; state ^= state >>> 17; state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
function draw(p, u) {
  let sum = 0, last = 0;
  for (let k = 0; k < p.length; k++) if (p[k] > 0) { sum += p[k]; last = k; if (u < sum) return k; }
  return last;
}
