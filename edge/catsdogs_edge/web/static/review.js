// The page of catsdogs-review: says what collected images show, and moves them when that is confirmed.
import { $, ask, askJson, clock, colour, describeModel, element, percent, refusal, sleep, useFragment } from "./common.js";

const shown = { busy: false, model: "", labels: [], classes: [], words: {}, tiles: [], current: 0, whole: false, why: false, undo: [], out: "" };
const REASONS = { visit: "first of a visit", wavering: "it wavered", familiarity: "maybe neither", probability: "not sure", new: "something new", lot: "at random" };

const mark = (label) => (label === shown.words.delete ? "var(--lost)" : label === shown.words.unsure ? "var(--unsure)" : colour(label, shown.classes));
const word = (label) => ({ [shown.words.delete]: "delete", [shown.words.unsure]: "unsure" })[label] ?? label;
const path = (tile, what = "") => `review/${encodeURIComponent(tile.name)}${what}`;

function makeTile(image, burst) {
  const picture = element("img", { alt: `${image.label ?? "not classified"}, ${clock(new Date(1000 * image.time), true)}`, loading: "lazy", decoding: "async" });
  const badge = element("span", { className: "badge", hidden: true });
  const sure = image.label && shown.classes.includes(image.label) ? ` ${percent(image.probability)}` : "";
  const guess = element("b", { textContent: image.label ?? "–", style: { "--mark": colour(image.label ?? "", shown.classes) } });
  const words = element("span", { className: "words" }, element("span", { className: "guess" }, guess, sure), element("small", { textContent: REASONS[image.reason] ?? "" }));
  const button = element("button", { type: "button", className: "event tile" }, element("span", { className: "shot-box" }, picture, badge), words);
  const tile = { ...image, burst, button, picture, badge };
  picture.src = path(tile);
  button.addEventListener("click", () => select(shown.tiles.indexOf(tile)));
  return tile;
}

function drawBurst(burst, number) {
  const tiles = burst.images.map((image) => makeTile(image, number));
  const [first, last] = [burst.images[0], burst.images.at(-1)].map(({ time }) => new Date(1000 * time));
  const day = first.toLocaleDateString([], { weekday: "short", day: "numeric", month: "short" });
  const until = clock(last, true) === clock(first, true) ? "" : ` to ${clock(last, true)}`;
  const where = [burst.source, burst.region].filter(Boolean).join(": ");
  const title = element("h2", { textContent: `${day}, ${clock(first, true)}${until}` });
  const head = element("div", { className: "head" }, title, element("span", { className: "hint", textContent: [where, `${tiles.length} image${tiles.length > 1 ? "s" : ""}`].filter(Boolean).join(" · ") }));
  $("bursts").append(element("section", { className: "card burst", "aria-label": title.textContent }, head, element("div", { className: "events" }, ...tiles.map((tile) => tile.button))));
  shown.tiles.push(...tiles);
}

function showSaid(tile) {
  tile.badge.hidden = !tile.said;
  tile.badge.textContent = tile.said ? word(tile.said) : "";
  tile.badge.style.setProperty("--mark", tile.said ? mark(tile.said) : "");
  tile.button.classList.toggle("said", Boolean(tile.said));
}

function count() {
  const labelled = shown.tiles.filter((tile) => tile.said).length;
  $("count").textContent = shown.tiles.length ? `${labelled} of ${shown.tiles.length}` : "";
  $("confirm").disabled = !shown.tiles.some((tile) => tile.said && tile.said !== shown.words.unsure);
  $("undo").disabled = !shown.undo.length;
  $("nothing").hidden = shown.tiles.length > 0;
  $("dock").hidden = $("hint").hidden = !shown.tiles.length;
}

const selected = () => {
  const current = shown.tiles[shown.current];
  if (!current) return [];
  return shown.whole ? shown.tiles.filter((tile) => tile.burst === current.burst) : [current];
};

function select(index, { focus = true } = {}) {
  if (!shown.tiles.length) return;
  shown.current = Math.min(Math.max(index, 0), shown.tiles.length - 1);
  const chosen = new Set(selected());
  for (const tile of shown.tiles) {
    tile.button.setAttribute("aria-pressed", String(chosen.has(tile)));
    const wanted = path(tile, shown.why && chosen.has(tile) ? `/map?model=${shown.model}` : "");
    if (tile.picture.getAttribute("src") !== wanted) tile.picture.src = wanted;
  }
  const { button } = shown.tiles[shown.current];
  if (focus) button.focus({ preventScroll: true });
  button.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

// One after the other: what is said last must be what is written last.
let writing = Promise.resolve();
let waiting = 0;
function write(tiles, label) {
  const names = tiles.map((tile) => tile.name);
  waiting += 1;
  const kept = writing.then(async () => {
    for (;;) {
      try {
        const answer = await ask("api/v1/review/labels", { method: "POST", body: JSON.stringify({ names, label }), headers: { "content-type": "application/json" } });
        if (answer.ok) return true;
        tell(await refusal(answer));
        if (answer.status < 500) return false;
      } catch {
        tell("The box does not answer: this label waits.");
      }
      await sleep(1000);
    }
  }).finally(() => (waiting -= 1));
  writing = kept;
  return kept;
}

addEventListener("beforeunload", (event) => waiting && event.preventDefault());

function tell(words) {
  $("spoken").textContent = words;
  $("model").textContent = words;
}

function say(label, tiles = selected()) {
  if (!tiles.length || shown.busy) return;
  shown.undo.push(tiles.map((tile) => [tile, tile.said]));
  put(label, tiles);
  goOn(tiles);
}

function put(label, tiles) {
  const before = tiles.map((tile) => tile.said);
  for (const tile of tiles) {
    tile.said = label;
    showSaid(tile);
  }
  void write(tiles, label).then((kept) => {
    if (kept) return;
    tiles.forEach((tile, index) => {
      tile.said = before[index]; // what the box does not keep is not shown as kept
      showSaid(tile);
    });
    count();
  });
  tell(`${word(label)}: ${tiles.length === 1 ? "1 image" : `${tiles.length} images`}`);
}

function goOn(tiles) {
  const last = Math.max(...tiles.map((tile) => shown.tiles.indexOf(tile)));
  const next = shown.tiles.findIndex((tile, index) => index > last && !tile.said);
  select(next >= 0 ? next : last);
  count();
}

function undo() {
  const before = shown.busy ? null : shown.undo.pop();
  if (!before) return;
  const labels = new Map();
  for (const [tile, said] of before) {
    tile.said = said;
    showSaid(tile);
    labels.set(said, [...(labels.get(said) ?? []), tile]);
  }
  for (const [label, tiles] of labels) void write(tiles, label ?? null);
  tell("taken back");
  select(shown.tiles.indexOf(before[0][0]));
  count();
}

// Each image gets the model's answer for itself.
function agree() {
  const labels = new Map();
  for (const tile of selected()) if (tile.label && shown.labels.includes(tile.label)) labels.set(tile.label, [...(labels.get(tile.label) ?? []), tile]);
  const every = [...labels.values()].flat();
  if (!every.length) return;
  shown.undo.push(every.map((tile) => [tile, tile.said]));
  for (const [label, tiles] of labels) put(label, tiles);
  goOn(every);
}

const toggle = (name) => {
  if ($(name).hidden) return;
  shown[name] = !shown[name];
  $(name).setAttribute("aria-pressed", String(shown[name]));
  select(shown.current);
};

function drawLabels() {
  const keys = new Map(shown.classes.map((name, index) => [name, index < 9 ? String(index + 1) : ""]));
  keys.set(shown.words.neither, "N").set(shown.words.unsure, "U").set(shown.words.delete, "X");
  shown.keys = new Map([...keys].filter(([, key]) => key).map(([label, key]) => [key.toLowerCase(), label]));
  $("labels").replaceChildren(
    ...shown.labels.map((label) => {
      const key = keys.get(label);
      const shownKey = key ? [element("kbd", { textContent: key, "aria-hidden": "true" })] : [];
      const button = element("button", { type: "button", className: "label", style: { "--mark": mark(label) } }, element("i"), word(label), ...shownKey);
      button.addEventListener("click", () => say(label));
      return button;
    }),
  );
}

function askIfSure() {
  const counts = new Map();
  for (const { said } of shown.tiles) if (said) counts.set(said, (counts.get(said) ?? 0) + 1);
  $("sure-list").replaceChildren(...[...counts].map(([label, number]) => element("li", { "data-is": "done", textContent: `${number} ${word(label)}${label === shown.words.unsure ? " (they stay)" : ""}` })));
  $("sure-out").textContent = `Into ${shown.out}. Images that are to be deleted are removed for good.`;
  $("sure").returnValue = "";
  $("sure").showModal();
}

async function confirm() {
  shown.busy = true; // what is said meanwhile would come too late
  $("confirm").disabled = true;
  await writing;
  try {
    const done = await askJson("api/v1/review/confirm", { method: "POST" });
    const moved = Object.entries(done.moved).map(([label, number]) => `${number} ${label}`);
    const parts = [moved.length ? `moved: ${moved.join(", ")}` : "", done.deleted ? `${done.deleted} deleted` : "", done.gone ? `${done.gone} had made room for newer ones` : ""];
    await load();
    tell(parts.filter(Boolean).join("; "));
  } catch (error) {
    await load().catch(() => {}); // some of it may be done
    tell(error.message);
  }
  shown.busy = false;
}

async function load() {
  const found = await askJson("api/v1/review");
  Object.assign(shown, { classes: found.classes, words: found, labels: [...found.classes, found.neither, found.unsure, found.delete], tiles: [], undo: [], out: found.out });
  $("folder").textContent = found.folder;
  $("bursts").replaceChildren();
  drawLabels();
  found.bursts.forEach(drawBurst);
  shown.tiles.forEach(showSaid);
  count();
  const first = shown.tiles.findIndex((tile) => !tile.said);
  select(Math.max(first, 0), { focus: false });
}

new ResizeObserver(() => document.documentElement.style.setProperty("--dock", `${$("dock").offsetHeight}px`)).observe($("dock"));
$("confirm").addEventListener("click", askIfSure);
$("sure").addEventListener("close", () => $("sure").returnValue === "yes" && void confirm());
$("agree").addEventListener("click", () => !shown.busy && agree());
$("undo").addEventListener("click", undo);
$("whole").addEventListener("click", () => toggle("whole"));
$("why").addEventListener("click", () => toggle("why"));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input") || document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  const moves = { arrowright: 1, arrowdown: 1, arrowleft: -1, arrowup: -1 };
  if (key in moves) select(shown.current + moves[key]);
  else if (key === "enter" && !event.target.closest("a, .dock, header")) {
    if (!event.repeat && !shown.busy) agree();
  }
  else if (shown.keys?.has(key) && !event.repeat) say(shown.keys.get(key));
  else if (key === "b") toggle("whole");
  else if (key === "w") toggle("why");
  else if (key === "z") undo();
  else return;
  event.preventDefault();
});

await useFragment();
for (;;) {
  try {
    await load();
    const { model } = await askJson("api/v1/state");
    $("model").textContent = describeModel(model);
    shown.model = model.sha256;
    $("why").hidden = !model.maps;
    break;
  } catch (error) {
    tell(`The box does not answer: trying again. (${error.message})`);
    await sleep(1000);
  }
}
