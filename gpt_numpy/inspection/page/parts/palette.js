// Two palettes for colour-blind readers, too: they differ in lightness as well as in hue.
// diverging: blue below zero, the paper at zero, orange above. sequential: from the paper upwards.

const PALETTES = {
  light: {
    diverging: ["#053061", "#2166ac", "#6aaed6", "#c9dfef", "#faf9f6", "#fbdcb5", "#f0993c", "#b35806", "#6b3000"],
    sequential: ["#faf9f6", "#d6e4f0", "#9dc3de", "#5897c6", "#2268a8", "#0a3f7a", "#041f45"],
  },
  dark: {
    diverging: ["#c4e2fa", "#6bb3ee", "#2f7fc4", "#1f4668", "#1b1e24", "#5a3d1d", "#b86a1c", "#f2a352", "#fde3c0"],
    sequential: ["#1b1e24", "#2d3b6b", "#2c6386", "#21918c", "#4bbf74", "#a8dc40", "#fde725"],
  },
};
// Okabe and Ito's colours for lines, lighter in the dark.
const LINES = {
  light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B97F00", "#56B4E9"],
  dark: ["#4aa8e8", "#f08a3c", "#3fc79a", "#e39ac6", "#f0c04a", "#7d9bb0"],
};

function theme() { return document.documentElement.dataset.theme === "dark" ? "dark" : "light"; }
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  const button = document.getElementById("theme");
  button.textContent = name === "dark" ? "☀ light" : "☾ dark";
  button.setAttribute("aria-label", `Change to ${name === "dark" ? "light" : "dark"} colours`);
}
// The reader's system chooses the theme, and paper is white.
function followTheme(draw) {
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  prefersDark.addEventListener("change", event => { setTheme(event.matches ? "dark" : "light"); draw(); });
  let onScreen = "light";
  window.addEventListener("beforeprint", () => { onScreen = theme(); setTheme("light"); draw(); });
  window.addEventListener("afterprint", () => { setTheme(onScreen); draw(); });
  setTheme(prefersDark.matches ? "dark" : "light");
}
function rgb(hex) { return [1, 3, 5].map(k => parseInt(hex.slice(k, k + 2), 16)); }

// 256 colours, from one end of a palette to the other.
const tables = {};
function table(kind) {
  const key = `${theme()} ${kind}`;
  if (!tables[key]) {
    const stops = PALETTES[theme()][kind].map(rgb);
    tables[key] = Array.from({ length: 256 }, (_, k) => {
      const place = k / 255 * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2);
      return stops[low].map((c, i) => Math.round(c + (place - low) * (stops[low + 1][i] - c)));
    });
  }
  return tables[key];
}

// The same as a number of 32 bits for each colour, as the dots of a picture lie in memory.
function packed([r, g, b]) { return new Uint32Array(Uint8Array.of(r, g, b, 255).buffer)[0]; }
function packedTable(kind) {
  const key = `${theme()} ${kind} packed`;
  return tables[key] || (tables[key] = Uint32Array.from(table(kind), packed));
}

// A number's colour; `largest` is the number that gets the last colour.
function colour(kind, x, largest) {
  const share = largest ? x / largest : 0;
  const place = kind === "diverging" ? (share + 1) / 2 : share;
  return table(kind)[Math.max(0, Math.min(255, Math.round(place * 255)))] || table(kind)[0];
}
function css(kind, x, largest) { return `rgb(${colour(kind, x, largest).join(",")})`; }
// Black or white, whichever has the larger contrast: at least 4.5 on any colour.
function inkOn(kind, x, largest) {
  const [r, g, b] = colour(kind, x, largest).map(c => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
// Lines of one family by depth: from blue over grey-green to orange, each lighter than the last.
function depth(k, count) {
  const stops = theme() === "dark" ? ["#6bb3ee", "#8fd3c8", "#fde725", "#f2a352"] : ["#08306b", "#2b7bba", "#3f9c7a", "#c78a1a", "#b35806"];
  const colours = stops.map(rgb), place = count > 1 ? k / (count - 1) * (colours.length - 1) : 0;
  const low = Math.min(Math.floor(place), colours.length - 2);
  return `rgb(${colours[low].map((c, i) => Math.round(c + (place - low) * (colours[low + 1][i] - c))).join(",")})`;
}
function line(k) { return LINES[theme()][k]; }
// A colour of the style sheet, asked for once: each question makes the browser apply all styles.
const asked = new Map();
function named(variable) {
  const key = `${theme()} ${variable}`;
  if (!asked.has(key)) asked.set(key, getComputedStyle(document.documentElement).getPropertyValue(variable).trim());
  return asked.get(key);
}

// Colours that are relative to the largest number of each row.
function legendOfRows(kind) {
  return el("div", { class: "legend" }, "0", el("i", { style: { background: `linear-gradient(to right, ${PALETTES[theme()][kind].join(", ")})` } }), "largest of the row");
}

// What the colours of a figure mean.
function legend(kind, largest) {
  const stops = PALETTES[theme()][kind].join(", ");
  return el("div", { class: "legend" },
    kind === "diverging" ? number(-largest) : "0",
    el("i", { style: { background: `linear-gradient(to right, ${stops})` } }),
    number(largest));
}
