// The other end of live.js: it runs in a thread of its own, so that the page never waits.
// Every answer carries the number of its question.

let model = null, weights = null, current = null;
let changed = false;  // the parameters, since the page got them

// The inverse of live.py's in_base85: five digits of base 85 are four bytes.
function float32(text, count) {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%/()*+-;,=.?@^_`{|}~";
  const value = new Uint8Array(128), words = new DataView(new ArrayBuffer(4)), found = new Float32Array(count);
  for (let k = 0; k < 85; k++) value[digits.charCodeAt(k)] = k;
  for (let k = 0; k < count; k++) {
    let word = 0;
    for (let j = 5 * k; j < 5 * k + 5; j++) word = word * 85 + value[text.charCodeAt(j)];
    words.setUint32(0, word);  // the bytes of a little-endian number, the first one highest
    found[k] = words.getFloat32(0, true);
  }
  return found;
}

const ANSWERS = {
  // The parameters go back as numbers: to decode them takes longer than a page may stand still.
  load({ config, table, text, count }) {
    const all = float32(text, count);
    weights = { config, table, numbers: all };
    model = makeModel(config, table, all);
    return { all };
  },
  // Forward first, so that the page can show it while backward still runs.
  pass({ tokens, targets, off, id }) {
    current = makePass(model, tokens, targets, off);
    const loss = forward(current);
    postMessage({ id, part: "forward", loss, values: current.values, lens: logitLens(current) });
    backward(current);
    const answer = { gradients: current.gradients, parameters: changed ? model.params : null, grads: model.grads };
    changed = false;
    return answer;
  },
  // The loss alone, with something switched off.
  loss({ tokens, targets, off }) {
    const pass = makePass(model, tokens, targets, off);
    return { loss: forward(pass), losses: pass.at("losses") };
  },
  write({ tokens, count, settings, seed, id }) {
    const random = randomNumbers(seed), written = [];
    for (let k = 0; k < count; k++) {
      written.push(draw(distribution(nextLogits(model, tokens.concat(written)), settings), random()));
      postMessage({ id, part: "token", token: written[k] });
    }
    return { written };
  },
  descend({ rate, tokens, targets, off }) {
    const pass = makePass(model, tokens, targets, off), before = forward(pass);
    backward(pass);
    descend(model, rate);
    changed = true;
    return { before, after: forward(makePass(model, tokens, targets, off)) };
  },
  reset() {
    model = makeModel(weights.config, weights.table, weights.numbers);
    changed = true;
    return {};
  },
  check({ name, seed }) { return checkParameter(current, name, seed); },
};

onmessage = ({ data }) => {
  try {
    const answer = ANSWERS[data.kind](data);
    // The gradients of activations are of no use here any more: they move instead of being copied.
    postMessage({ id: data.id, part: "done", ...answer }, Object.values(answer.gradients || {}).map(x => x.buffer));
  } catch (error) {
    postMessage({ id: data.id, part: "failed", why: String(error) });
  }
};
