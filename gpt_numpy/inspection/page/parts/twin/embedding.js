// reference/embedding.py: look up a row for the token and a row for its place, add them.

// embedding_forward
function embeddingForward(tokens, { wte, wpe }, C, out) {
  tokens.forEach((token, t) => {
    for (let c = 0; c < C; c++) out[t * C + c] = wte[token * C + c] + (wpe ? wpe[t * C + c] : 0);
  });
}

// embedding_backward; `tied`: the head has already written its share to dwte
function embeddingBackward(dout, tokens, C, { tied, dwte, dwpe }) {
  // forward: row = wte[tokens] + wpe[:T]
  if (!tied) dwte.fill(0);
  if (dwpe) dwpe.fill(0);
  tokens.forEach((token, t) => {
    for (let c = 0; c < C; c++) {
      dwte[token * C + c] += dout[t * C + c];
      if (dwpe) dwpe[t * C + c] = dout[t * C + c];
    }
  });
}
