// The text above every view: to edit where a token is a character, coloured by the loss of each token.

function drawPrompt() {
  const place = document.getElementById("prompt");
  if (!contents.live) return;
  place.hidden = false;
  if (!place.childElementCount) place.append(...promptParts());
  const field = document.getElementById("text");
  if (field && document.activeElement !== field) field.value = textOf(experiment.tokens);
  const status = document.getElementById("status"), text = statusText();
  if (status.textContent !== text) status.textContent = text;
  // Laying out a long strip takes long: it is drawn again only if something in it has changed.
  const shows = [running.forward && computed.value, state.position, theme()];
  if (shows[0] && shows.every((x, k) => x === shown_[k])) return;
  shown_ = shows;
  renewChildren(document.getElementById("strip"), [lossStrip()]);
  requestAnimationFrame(showChosen);
}
let shown_ = [];  // what the strip was drawn of

// A long text scrolls within its strip: the chosen token is always in sight.
function showChosen() {
  const strip = document.querySelector("#strip .tokens"), chosen = strip && strip.querySelector('[aria-pressed="true"]');
  if (chosen) strip.scrollLeft = chosen.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
  if (chosen) strip.scrollTop = chosen.offsetTop - strip.offsetTop - strip.clientHeight / 2 + chosen.offsetHeight / 2;
}

function promptParts() {
  const { characters } = contents.live;
  const field = characters && el("textarea", { id: "text", rows: 1, spellcheck: "false", autocomplete: "off", "aria-label": "The text: edit it", "aria-describedby": "status", oninput: event => edited(event.target) });
  return [
    el("div", { class: "edit" }, field,
      el("div", { class: "actions" },
        el("button", { type: "button", class: "button", onclick: () => writeMore(20), id: "write" }, "write 20 more"),
        el("button", { type: "button", class: "button", onclick: () => { setTokens(experiment.original.slice()); drawPrompt(); } }, "original text"))),
    el("div", { id: "strip" }),
    el("p", { class: "small soft", id: "status", role: "status" })];
}

function textOf(tokens) { return tokens.map(token => contents.names[token] || "").join(""); }

let typing = 0;
function edited(field) {
  const { characters } = contents.live, letters = Array.from(field.value);
  const unknown = [...new Set(letters.filter(letter => !characters.includes(letter)))];
  const tokens = letters.filter(letter => characters.includes(letter)).map(letter => characters.indexOf(letter));
  const status = document.getElementById("status");
  experiment.leftOut = unknown;
  if (unknown.length) status.textContent = statusText();
  if (!tokens.length) { status.textContent = "Give the model at least one character that it knows."; return; }
  clearTimeout(typing);
  typing = setTimeout(() => setTokens(tokens), 60);
}

function statusText() {
  if (running.failed) return running.failed;
  if (experiment.writing) return `The model writes; ${CLICK_ON.toLowerCase()} the button again to stop it.`;
  if (!running.forward) return "Computing the first pass …";
  if (Number.isNaN(about.loss) && T > 1) return "The loss is not a number: the model has diverged.";
  const known = contents.targets.filter(v => v >= 0).length, left = experiment.leftOut.length ? `Left out, since the model does not know them: ${experiment.leftOut.join(" ")}. ` : "";
  const loss = known ? `Loss ${number(about.loss)} nats (natural logarithm) a token: ${unsure(about.loss)}. Stronger colour: harder to predict.` : "With one token there is nothing to predict yet.";
  const off = isAnythingOff() && known ? ` Some parts are switched off${experiment.baseline ? `; with all of them it is ${number(experiment.baseline.loss)}` : ""}.` : "";
  const steps = experiment.steps.length ? ` The model is ${experiment.steps.length - 1} ${experiment.steps.length === 2 ? "step" : "steps"} downhill from the one in the file.` : "";
  const full = contents.tokens.length === config.block_size ? ` The context of ${config.block_size} tokens is full.` : "";
  return `${left}${loss}${off}${steps}${full}${running.backward ? "" : " Backward is being computed …"}`;
}

// What a loss means: a blind guess is the worst that a number of equally likely tokens can stand for.
function unsure(loss) {
  const V = config.vocab_size, blind = Math.log(V);
  return loss > blind ? `worse than a blind guess among ${V} (${number(blind)})` : `as unsure as between ${number(Math.exp(loss))} equally likely tokens`;
}

// Each token in the colour of the loss with which it was predicted: dark is a surprise. The first token
// has none; after the last one stands what the model would write.
function lossStrip() {
  if (!running.forward) return el("p", { class: "soft" }, textOf(experiment.tokens));
  const losses = numbersOf(contents.next.losses), uniform = Math.log(config.vocab_size);
  const strip = tokenStrip({
    shades: contents.tokens.map((_, t) => t ? losses[t - 1] / uniform : null), largest: 1.6, key: "text",
    title: t => t ? `predicted with ${percent(Math.exp(-losses[t - 1]))}, loss ${number(losses[t - 1])}` : "the first token, which nothing predicts" });
  const best = contents.next.tokens[T - 1][0];
  strip.append(el("button", { type: "button", class: "guess", title: "What comes next? See all candidates", "aria-label": `What comes next? Most likely ${nameOf(best)}`, onclick: () => { state.position = T - 1; go("play"); } }, `${nameOf(best)}?`));
  return strip;
}
