// The inverse of deflated.py: the bytes of numbers with `width` bytes each.

async function inflated(text, width) {
  const stream = new Blob([fromBase85(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const sorted = new Uint8Array(await new Response(stream).arrayBuffer()), count = sorted.length / width;
  const bytes = new Uint8Array(sorted.length);
  for (let k = 0; k < count; k++) for (let j = 0; j < width; j++) bytes[k * width + j] = sorted[j * count + k];
  return bytes;
}

// Five digits are four bytes, the highest first; the last group may be shorter by the same number of both.
function fromBase85(text) {
  const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%/()*+-;,=.?@^_`{|}~";
  const value = new Uint8Array(128), groups = Math.ceil(text.length / 5), bytes = new DataView(new ArrayBuffer(4 * groups));
  for (let k = 0; k < 85; k++) value[digits.charCodeAt(k)] = k;
  for (let k = 0; k < groups; k++) {
    let word = 0;
    for (let j = 5 * k; j < 5 * k + 5; j++) word = word * 85 + (j < text.length ? value[text.charCodeAt(j)] : 84);
    bytes.setUint32(4 * k, word);
  }
  return new Uint8Array(bytes.buffer, 0, text.length - groups);
}
