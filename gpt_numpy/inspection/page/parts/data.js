// The contents of the page; arrays are inflated at once, which a browser does not do while one waits, and unpacked on first use.

const contents = JSON.parse(document.getElementById("contents").textContent);
if (typeof DecompressionStream === "undefined") {
  document.getElementById("view").textContent = "This page needs a newer browser: Chrome 80, Firefox 113, Safari 16.4, or a later one.";
}
await Promise.all(packedIn(contents).map(async packed => { packed.data = await inflated(packed.data, packed.wide ? 4 : 2); }));
function packedIn(found) {
  if (found === null || typeof found !== "object") return [];
  return typeof found.data === "string" ? [found] : Object.values(found).flatMap(packedIn);
}
const about = contents.about;
const config = about.config;
let T = contents.tokens.length;  // live.js changes it together with the tokens

// All half floats by their 16 bits: a look-up is faster than decoding.
const HALF = (() => {
  const table = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24
      : exponent === 31 ? (fraction ? NaN : Infinity)
      : (1 + fraction / 1024) * 2 ** (exponent - 15);
    table[bits] = bits >> 15 ? -size : size;
  }
  return table;
})();

// The inverse of encoding.py's pack: {shape, data}, data in rows.
function unpack(packed) {
  const bytes = packed.data;
  if (!(bytes instanceof Uint8Array)) return described(bytes, packed);  // computed by the page
  if (packed.wide) return described(Float64Array.from(new Float32Array(bytes.buffer)), packed);
  const scale = 2 ** -packed.shift;
  const numbers = new Float64Array(bytes.length / 2);
  for (let i = 0; i < numbers.length; i++) {
    numbers[i] = HALF[bytes[2 * i] | (bytes[2 * i + 1] << 8)] * scale;
  }
  const whole = packed.lower ? filled(numbers, packed.shape) : numbers;
  return described(whole, packed);
}

// channels: how many numbers the last axis stands for; ofHead: how many of them belong to a head.
function described(data, { shape, groups, channels, of_head: ofHead }) {
  return { shape, data, groups: groups || shape.map(() => 1), channels: channels || shape[shape.length - 1], ofHead };
}

// A lower triangle in its square, zero elsewhere.
function filled(numbers, shape) {
  const size = shape[shape.length - 1], squares = shape.slice(0, -2).reduce((a, b) => a * b, 1);
  const whole = new Float64Array(squares * size * size);
  let next = 0;
  for (let square = 0; square < squares; square++) {
    for (let row = 0; row < size; row++) {
      for (let column = 0; column <= row; column++) {
        whole[(square * size + row) * size + column] = numbers[next++];
      }
    }
  }
  return whole;
}

const unpacked = new Map();

// An array of the trace, "value" or "grad", in the shape that it has without the batch; or null.
function tensor(name, which) {
  const key = `${which} ${name}`;
  if (!unpacked.has(key)) unpacked.set(key, find(name, which));
  return unpacked.get(key);
}

// Where the array is stored: by itself, under another name, or as a part of another array.
// Keys and values may have fewer heads than queries: then a head of them serves a group of heads.
const GROUPS = config.n_groups || config.n_head;
const WHOLE = { query: ["qkv", 0, config.n_head], key: ["qkv", config.n_head, GROUPS], value: ["qkv", config.n_head + GROUPS, GROUPS], heads: ["out", 0, config.n_head] };

function find(name, which) {
  const last = name.split(".").pop();
  if (name.includes(".attn.") && last in WHOLE) {
    const [stored, first, count] = WHOLE[last], ready = name.replace(/[^.]+$/, "ready");
    // With QK norm or rotary positions attention reads what became of queries and keys.
    const whole = stored === "qkv" && contents.arrays[ready] ? ready : name.replace(/[^.]+$/, stored);
    return headsOf(tensor(whole, which), first, count);
  }
  const entry = contents.arrays[name];
  const packed = entry && entry[which];
  if (!packed) return null;
  return packed.of ? tensor(packed.of, which) : unpack(packed);
}

// `count` heads in the channels of `x`, from the one with number `first` on, as matrices: (count, T, D).
function headsOf(x, first, count) {
  if (!x) return null;
  const H = count, group = x.groups[x.groups.length - 1];
  const width = x.shape[1], D = Math.ceil(config.head_size / group);
  const data = new Float64Array(H * T * D);
  for (let h = 0; h < H; h++) {
    const start = (first + h) * D;
    for (let t = 0; t < T; t++) {
      for (let d = 0; d < D; d++) data[(h * T + t) * D + d] = x.data[t * width + start + d];
    }
  }
  return { shape: [H, T, D], data, groups: [1, 1, group], channels: config.head_size };
}

// A matrix to draw: a vector as one row, of several heads the chosen one.
function matrix(x, head = 0) {
  if (!x) return null;
  const { shape, data, groups, channels, ofHead } = x;
  if (shape.length === 1) return { rows: 1, cols: shape[0], data, group: [1, groups[0]], channels };
  const [rows, cols] = shape.slice(-2), size = rows * cols;
  // Of fewer heads of keys and values: the one that serves this head.
  const own = shape.length === 3 ? Math.floor(head * shape[0] / config.n_head) : 0;
  const part = shape.length === 3 ? data.subarray(own * size, (own + 1) * size) : data;
  return { rows, cols, data: part, group: groups.slice(-2), channels, ofHead };
}

// The shape of an array as it is shown: of the text that is on the page now.
function shapeOf(name) { const x = contents.live && tensor(name, "value"); return x ? x.shape : contents.arrays[name].shape; }
function valueOf(name, head) { return matrix(tensor(name, "value"), head); }
function gradOf(name, head) { return matrix(tensor(name, "grad"), head); }
function at(m, row, col) { return m.data[row * m.cols + col]; }
function rowOf(m, row) { return m.data.subarray(row * m.cols, (row + 1) * m.cols); }
// The length of a token's vector, from all of its channels; of one head where there are several.
function lengthAt(name, t, head = 0) {
  const packed = contents.arrays[name].lengths, numbers = numbersOf(packed);
  return numbers[packed.shape.length === 2 ? Math.floor(head * packed.shape[0] / config.n_head) * T + t : t];
}

function nameOf(token) {
  const text = contents.names[token];
  return text === undefined ? `#${token}` : shownText(text);
}
function tokenAt(position) { return nameOf(contents.tokens[position]); }
function hasTarget(position) { return contents.targets[position] >= 0; }  // the last token may have none
function targetAt(position) { return hasTarget(position) ? nameOf(contents.targets[position]) : "?"; }
function quoted(position) { return `“${tokenAt(position)}” at ${position}`; }
