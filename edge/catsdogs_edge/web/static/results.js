// A list of images and what they were taken for, newest first; and the ways in which people hand images over.
import { $, Bars, element, percent, colour } from "./common.js";

const MOST = 50;

export function addResult(file, classes) {
  const image = element("img", { alt: "", src: URL.createObjectURL(file) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  image.addEventListener("error", () => image.classList.add("broken"), { once: true });
  const label = element("b", { textContent: "…" });
  const probability = element("span");
  const inner = element("div", { className: "inner" }, element("p", { className: "verdict" }, label, probability));
  inner.append(element("span", { className: "name", textContent: file.name ?? "" }));
  $("results").prepend(element("article", { className: "card result" }, image, inner));
  while ($("results").children.length > MOST) $("results").lastChild.remove();
  return {
    show(row) {
      if (row.error) return this.fail(row.error);
      label.textContent = row.label;
      label.style.setProperty("--mark", colour(row.label, classes));
      probability.textContent = classes.includes(row.label) ? percent(row.probability) : row.familiarity == null ? "" : `familiarity ${percent(row.familiarity)}`;
      const bars = element("div", { className: "bars" });
      new Bars(bars, classes).show(row.probabilities);
      inner.append(bars);
      $("spoken").textContent = `${file.name ?? "image"}: ${row.label}`;
    },
    fail(text) {
      label.textContent = "no answer";
      inner.append(element("span", { className: "error", textContent: text }));
      $("spoken").textContent = text;
    },
  };
}

// Calls `take` with each image that is chosen, photographed, dropped or pasted, one after the other.
export function takeImages(take) {
  let last = Promise.resolve();
  const all = (files) => {
    for (const file of files) last = last.then(() => take(file)).catch(console.error);
  };
  for (const [button, input] of [["choose", "files"], ["photograph", "camera"]]) {
    $(button).addEventListener("click", () => $(input).click());
    $(input).addEventListener("change", () => {
      all([...$(input).files]);
      $(input).value = "";
    });
  }
  const drop = $("drop");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    all([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => all([...event.clipboardData.files]));
}
