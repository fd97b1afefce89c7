// A figure as a PNG: its title, and all that is drawn in it, one below the other.

function addPictureButtons(parts) {
  for (const figure of parts.flatMap(part => part.matches("figure") ? [part] : [...part.querySelectorAll("figure")]).filter(figure => drawingsOf(figure).length)) {
    const title = figure.querySelector("h3").textContent;
    figure.prepend(el("button", { type: "button", class: "png", "aria-label": `Save “${title}” as a PNG`, title: "Save as a PNG", onclick: () => savePicture(figure, title) }, "PNG"));
  }
}
function drawingsOf(figure) { return [...figure.querySelectorAll("canvas, svg:not(.stroke)")]; }

const AIR = 16, TITLE = 30;  // around the picture, and above a drawing for its title

async function savePicture(figure, title) {
  paintRest();
  const drawings = drawingsOf(figure), boxes = drawings.map(drawing => drawing.getBoundingClientRect()), dots = 2;
  const wide = Math.max(...boxes.map(box => box.width)) + 2 * AIR;
  const high = boxes.reduce((sum, box) => sum + box.height + TITLE, AIR);
  const sheet = el("canvas", { width: Math.round(wide * dots), height: Math.round(high * dots) }), pen = sheet.getContext("2d");
  pen.scale(dots, dots);
  pen.fillStyle = named("--panel");
  pen.fillRect(0, 0, wide, high);
  let y = 0;
  for (const [k, drawing] of drawings.entries()) {
    pen.fillStyle = named("--ink");
    pen.font = `${k ? 13 : 15}px system-ui, sans-serif`;
    pen.fillText(k ? titleAbove(drawing) : drawings.length > 1 ? `${title}: ${titleAbove(drawing)}` : title, AIR, y + 21);
    y += TITLE;
    pen.drawImage(drawing.tagName === "CANVAS" ? drawing : await rastered(drawing), AIR, y, boxes[k].width, boxes[k].height);
    y += boxes[k].height;
  }
  sheet.toBlob(blob => {
    const address = URL.createObjectURL(blob);
    el("a", { href: address, download: `${title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "")}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });
}
// The nearest heading before a drawing, within its figure.
function titleAbove(drawing) {
  const above = [...drawing.closest("figure").querySelectorAll("h4")].filter(h => h.compareDocumentPosition(drawing) & Node.DOCUMENT_POSITION_FOLLOWING);
  return above.length ? above[above.length - 1].textContent : drawing.getAttribute("aria-label") || "";
}
// An SVG outside of the page has no style sheet: what it would say is written into a copy.
function rastered(drawing) {
  const copy = drawing.cloneNode(true), parts = [...copy.querySelectorAll("*")];
  for (const [k, part] of [...drawing.querySelectorAll("*")].entries()) {
    const style = getComputedStyle(part);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "font-size", "font-family", "font-weight", "text-anchor", "opacity"]) parts[k].setAttribute(name, style.getPropertyValue(name));
  }
  copy.setAttribute("xmlns", SVG);
  const box = drawing.getBoundingClientRect();
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  return new Promise((done, failed) => {
    const image = new Image();
    image.addEventListener("load", () => done(image));
    image.addEventListener("error", failed);
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  });
}
