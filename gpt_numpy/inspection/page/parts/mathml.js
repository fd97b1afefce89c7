// Formulas as MathML, and expressions that can be shown with their numbers and evaluated as well: what
// the page says that a cell is computed from is what a test adds up.

const MATHML = "http://www.w3.org/1998/Math/MathML";
function ml(tag, ...children) {
  const element = document.createElementNS(MATHML, tag);
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) element.append(child instanceof Node ? child : word(child));
  return element;
}
// Digits are a number, letters an identifier, all else an operator.
function word(text) {
  const tag = /^[−-]?[\d.,]+(e[−-]?\d+)?$/.test(text) ? "mn" : /^[\p{L}\p{M}]/u.test(text) ? "mi" : "mo";
  const element = document.createElementNS(MATHML, tag);
  element.textContent = text;
  if (text.length > 1 && tag === "mi") element.setAttribute("mathvariant", "normal");
  return element;
}
// A formula in pieces, so that a line may break before = + −.
function formula(...children) {
  const pieces = [[]];
  for (const child of children.flat(Infinity).filter(child => child !== null)) {
    if (["=", "+", "−"].includes(child) && pieces[pieces.length - 1].length) pieces.push([]);
    pieces[pieces.length - 1].push(child);
  }
  return el("p", { class: "numbers" }, pieces.map(piece => { const math = ml("math", piece); math.setAttribute("displaystyle", "true"); return [math, " "]; }));
}
function row(...children) { return ml("mrow", children); }
// sub("Q", "q", "d") is Q with the indices q and d.
function sub(base, ...indices) { return ml("msub", base, row(indices)); }
function fraction(above, below) { return ml("mfrac", row(above), row(below)); }
function root(inside) { return ml("msqrt", inside); }
function power(base, exponent) { return ml("msup", row(base), row(exponent)); }
function sumOver(index, ...body) { return row(ml("munder", "∑", row(Array.isArray(index) ? index : [index])), body); }
function grad(letter, ...indices) { return sub(`d${letter}`, ...indices); }
function brackets(...inside) { return row("(", inside, ")"); }

// Expressions. Each has value(), and show(): pieces of MathML with the numbers in place, between which a
// line may break.
function num(x) { return { value: () => x, show: () => [signed(inFormula(x))] }; }
// Counts are whole.
function inFormula(x) { return Number.isInteger(x) && Math.abs(x) < 1e4 ? String(x).replace("-", "−") : number(x); }
function signed(text) { return text.startsWith("−") ? row("(", text, ")") : row(text); }
const LONG = 24;  // letters, from which on a line may break before a sign
function infix(sign, a, b, value) {
  const show = () => {
    const [first, ...others] = b.show(), before = a.show(), last = before[before.length - 1];
    const apart = sign !== "·" && last.textContent.length + first.textContent.length > LONG;
    return [...before.slice(0, -1), ...(apart ? [last, row(sign, first)] : [row(last, sign, first)]), ...others];
  };
  return { value, show };
}
function plus(a, b) { return infix("+", a, b, () => a.value() + b.value()); }
// What is taken away stands in brackets if it has several pieces: each of them is taken away.
function minus(a, b) { return infix("−", a, { show: () => { const pieces = b.show(); return pieces.length === 1 ? pieces : enclosed(pieces); } }, () => a.value() - b.value()); }
function times(a, b) { return infix("·", a, b, () => a.value() * b.value()); }
function over(a, b) {
  const show = () => {
    const above = a.show(), below = b.show();
    if (above.length === 1 && below.length === 1) return [fraction(above, below)];
    return [...enclosed(above), row("/"), ...(below.length === 1 ? below : enclosed(below))];
  };
  return { value: () => a.value() / b.value(), show };
}
function enclosed(pieces) { return pieces.length === 1 ? [row("(", pieces, ")")] : [row("(", pieces[0]), ...pieces.slice(1, -1), row(pieces[pieces.length - 1], ")")]; }
function called(name, a, value) { return { value, show: () => { const [first, ...others] = enclosed(a.show()); return [row(name, first), ...others]; } }; }
function rootOf(a) { return { value: () => Math.sqrt(a.value()), show: () => { const pieces = a.show(); return pieces.length === 1 ? [root(pieces)] : called("√", a).show(); } }; }
function expOf(a) { return { value: () => Math.exp(a.value()), show: () => [power("e", a.show())] }; }
function logOf(a) { return called("log", a, () => Math.log(a.value())); }
function inside(a) { return { value: a.value, show: () => enclosed(a.show()) }; }
function named_(f, name, a) { return called(name, a, () => f(a.value())); }

// A sum of many terms: the largest are shown, in their order; the others are counted and added up.
const SHOWN = 4;
function total(terms) {
  if (terms.length === 0) return num(0);
  if (terms.length === 1) return terms[0];
  const value = () => terms.reduce((sum, term) => sum + term.value(), 0);
  const show = () => {
    const chosen = largestTerms(terms), rest = value() - chosen.reduce((sum, k) => sum + terms[k].value(), 0), left = terms.length - chosen.length;
    const pieces = chosen.map((k, n) => row(n ? "+" : null, terms[k].show()));
    return left ? [...pieces, row("+", signed(number(rest)), ml("mtext", `\u00a0from ${left} more`))] : pieces;
  };
  return { value, show };
}
function largestTerms(terms) {
  const all = terms.map((_, k) => k);
  if (terms.length <= SHOWN + 1) return all;
  const sizes = terms.map(term => Math.abs(term.value()));
  return all.sort((a, b) => sizes[b] - sizes[a]).slice(0, SHOWN).sort((a, b) => a - b);
}
function dot(a, b) { return total(Array.from(a, (x, k) => times(num(x), num(b[k])))); }
