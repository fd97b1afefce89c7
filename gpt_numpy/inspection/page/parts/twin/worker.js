// The other end of live.js: it runs in a thread of its own, so that the page never waits.
// Every answer carries the number of its question.

let model = null, weights = null, current = null;
let changed = false;  // the parameters, since the page got them

const ANSWERS = {
  // The parameters go back as numbers: to decode them takes longer than a page may stand still.
  async load({ config, table, text }) {
    const all = new Float32Array((await inflated(text, 4)).buffer);
    weights = { config, table, numbers: all };
    model = makeModel(config, table, all);
    return { all };
  },
  // Forward first, so that the page can show it while backward still runs.
  pass({ tokens, targets, off, id }) {
    current = makePass(model, tokens, targets, off);
    const loss = forward(current);
    send({ id, part: "forward", loss, values: copies(current.values), lens: logitLens(current) });
    backward(current);
    const answer = { gradients: current.gradients, parameters: changed ? copies(model.params) : null, grads: copies(model.grads), norm: wholeNorm(model.grads) };
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

function wholeNorm(arrays) {
  let squares = 0;
  for (const x of Object.values(arrays)) for (let k = 0; k < x.length; k++) squares += x[k] * x[k];
  return Math.sqrt(squares);
}

// Arrays move to the page, which would stand still while it copies them; what is still of use here is copied here.
function copies(arrays) { return Object.fromEntries(Object.entries(arrays).map(([name, x]) => [name, x.slice()])); }
function send(answer) {
  const { values, gradients, parameters, grads } = answer;
  postMessage(answer, [values, gradients, parameters, grads].flatMap(arrays => Object.values(arrays || {}).map(x => x.buffer)));
}

let last = Promise.resolve();  // a question waits until the one before it is answered
onmessage = ({ data }) => { last = last.then(() => reply(data)); };
async function reply(data) {
  try {
    const answer = await ANSWERS[data.kind](data);
    send({ id: data.id, part: "done", ...answer });
  } catch (error) {
    postMessage({ id: data.id, part: "failed", why: String(error) });
  }

}
