// The live page: asks for the newest frame again and again, and draws what the box says about it.
import { $, Bars, ask, askJson, clock, colour, describeModel, duration, element, percent, refusal, sleep, useFragment } from "./common.js";

const STATES = { live: "live", stale: "no fresh image", lost: "camera lost", reconnecting: "reconnecting", offline: "no connection" };
const HOLD_SECONDS = 15; // the box answers within 10 s, with a frame or without
const LIMITED = { seconds: HOLD_SECONDS };
const MOST_SHOWN = 60;
const REFRESH_MS = 1000; // between two looks at the events: a scene may flicker
const AGAIN = "This page tries again by itself.";

const canvas = $("image");
const pen = canvas.getContext("2d", { alpha: false });
const shown = { after: 0, why: false, event: -1, state: "", label: "", row: null, hasImage: false, box: null, bars: null, events: [], kind: "classes", hours: 6 };

function setState(state, text = "") {
  const offline = state === "offline";
  if (state !== shown.state) {
    shown.state = state;
    $("state").dataset.state = state;
  }
  const isFile = state === "live" && (shown.row?.position_s != null || shown.row?.path);
  const word = isFile ? "file" : (STATES[state] ?? state);
  if ($("state").textContent !== word) $("state").textContent = word;
  const isLive = state === "live" && shown.row?.smoothed_label != null;
  $("frame").classList.toggle("dim", !isLive);
  $("veil").hidden = isLive;
  $("caption").hidden = !isLive;
  $("snapshot").disabled = offline;
  if (isLive) return;
  const titles = { stale: "No fresh image", lost: "Camera lost", reconnecting: "Reconnecting to the camera", offline: "No connection to the box", live: "Not classified" };
  $("veil-title").textContent = titles[state] ?? "Connecting";
  $("veil-text").textContent = text;
  document.title = `${titles[state] ?? "connecting"} – catsdogs`;
  canvas.setAttribute("aria-label", titles[state] ?? "No image");
  if (shown.label !== state) {
    shown.label = state;
    $("spoken").textContent = titles[state] ?? "";
  }
  for (const id of ["probability", "since"]) $(id).textContent = "";
  $("label").textContent = "–";
  for (const id of ["rate", "latency", "age"]) $(id).textContent = "–";
  shown.bars?.show(null);
}

function showRow({ row, fps, state, reason, lasted_s: lasted }) {
  shown.row = row;
  setState(state, reason ?? row.error ?? "");
  if (row.smoothed_label == null || state !== "live") return;
  const classes = shown.box.model.classes;
  const label = row.smoothed_label;
  const probability = row.smoothed_probability;
  if (label !== shown.label) {
    shown.label = label;
    $("spoken").textContent = label;
    canvas.setAttribute("aria-label", `Camera image: ${label}`);
    document.title = `${label} – catsdogs`;
  }
  const mark = colour(label, classes);
  $("label").textContent = label;
  const known = classes.includes(label);
  $("probability").textContent = known ? percent(probability) : "";
  $("since").textContent = `for ${duration(lasted)}`;
  $("if").hidden = known;
  $("bars").classList.toggle("faint", !known);
  $("caption").style.setProperty("--mark", mark);
  $("caption").replaceChildren(label, ...(known ? [element("span", { textContent: percent(probability) })] : []));
  if (row.probabilities) shown.bars.show(row.probabilities); // none while nothing moves
  if (row.familiarity != null) {
    const meter = $("familiarity");
    meter.hidden = false;
    meter.style.setProperty("--mark", row.familiarity < (shown.box.model.threshold ?? 0) ? "var(--neither)" : "var(--live)");
    meter.querySelector("i").style.width = `${100 * row.familiarity}%`;
    $("familiarity-value").textContent = percent(row.familiarity);
  }
  $("rate").textContent = `${fps.toFixed(1)} fps`;
  $("latency").textContent = row.latency_ms == null ? "–" : `${row.latency_ms.toFixed(0)} ms`;
  $("age").textContent = row.age_ms < 1000 ? `${row.age_ms.toFixed(0)} ms` : `${(row.age_ms / 1000).toFixed(1)} s`;
}

async function drawImage(answer) {
  const bitmap = await createImageBitmap(await answer.blob());
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    $("frame").style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
  }
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  shown.hasImage = true;
}

// Boxes are in pixels of the frame, which the box may have shrunk by `scale`.
function drawRegions(regions, scale) {
  const unit = Math.max(Math.min(canvas.height, canvas.width * 0.75), 240) / 480;
  pen.lineWidth = 2 * unit;
  pen.font = `${16 * unit}px system-ui, sans-serif`;
  for (const { name, label, box } of regions) {
    const [left, top, right, bottom] = box.map((edge) => edge * scale);
    const isSeen = label != null && shown.box.model.classes.includes(label);
    pen.strokeStyle = isSeen ? "#e69f00" : "#aaaaaa";
    pen.strokeRect(left, top, right - left, bottom - top);
    if (!name) continue;
    const words = label == null ? name : `${name}: ${label}`;
    const width = Math.min(pen.measureText(words).width, right - left - 16 * unit);
    pen.fillStyle = "rgb(0 0 0 / 75%)"; // readable on whatever is behind
    pen.fillRect(left, top, width + 16 * unit, 28 * unit);
    pen.fillStyle = isSeen ? "#e69f00" : "#ffffff";
    pen.fillText(words, left + 8 * unit, top + 20 * unit, width);
  }
}

// Where the camera was lost before this page was opened, its last image tells what it saw.
async function showLastImage() {
  const answer = await ask("snapshot.jpg?drawn=0&small=1", LIMITED);
  if (answer.ok) await drawImage(answer);
}

async function showFrame(answer) {
  const words = answer.headers.get("X-Catsdogs");
  if (!words) return;
  const seen = JSON.parse(words);
  shown.after = seen.sequence;
  if (answer.status === 200) {
    await drawImage(answer);
    drawRegions(seen.regions ?? [], canvas.width / seen.width);
  }
  showRow(seen);
  if (!shown.hasImage && answer.status !== 200) await showLastImage();
  if (seen.event !== shown.event) {
    shown.event = seen.event;
    void refresh();
  }
}

const visible = () => new Promise((resolve) => {
  if (!document.hidden) return resolve();
  document.addEventListener("visibilitychange", resolve, { once: true });
});

async function watch() {
  let failures = 0;
  for (;;) {
    await visible();
    try {
      const answer = await ask(`frame.jpg?after=${shown.after}${shown.why ? "&why=1" : ""}`, { seconds: HOLD_SECONDS });
      if (!answer.ok) {
        failures += 1;
        setState("offline", [429, 503].includes(answer.status) ? await refusal(answer) : AGAIN);
        await sleep(2000);
        continue;
      }
      if (failures) await start(); // it may be another one by now
      failures = 0;
      await showFrame(answer);
    } catch {
      failures += 1;
      setState("offline", AGAIN);
      await sleep(Math.min(250 * 2 ** failures, 2000));
    }
  }
}

function drawTimeline({ start, end, spans }) {
  const classes = shown.box.model.classes;
  const width = 720;
  const at = (time) => (width * (time - start)) / (end - start);
  const totals = new Map();
  const bars = [];
  for (const { start: from, end: to, name } of spans) {
    if (!name) continue;
    totals.set(name, (totals.get(name) ?? 0) + (to - from));
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const isClass = classes.includes(name);
    const height = isClass ? 44 : 14;
    for (const [key, value] of Object.entries({ x: at(from), width: Math.max(at(to) - at(from), 1), y: 44 - height, height })) bar.setAttribute(key, value);
    bar.style.fill = colour(name, classes);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${name}, ${clock(new Date(1000 * from))} to ${clock(new Date(1000 * to))}`;
    bar.append(title);
    bars.push(bar);
  }
  $("timeline").replaceChildren(...bars);
  const names = [...totals.keys()].sort((one, other) => rank(other) - rank(one));
  $("timeline").setAttribute("aria-label", names.length ? names.map((name) => `${name} ${duration(totals.get(name))}`).join(", ") : "Nothing yet");
  $("legend").replaceChildren(...names.map((name) => element("li", { style: { "--mark": colour(name, classes) } }, element("i"), name, element("span", { textContent: duration(totals.get(name)) }))));
  const marks = 5;
  $("axis").replaceChildren(...Array.from({ length: marks }, (_, index) => element("span", { textContent: index === marks - 1 ? "now" : clock(new Date(1000 * (start + ((end - start) * index) / (marks - 1)))) })));
}

const rank = (name) => (shown.box.model.classes.includes(name) ? 2 : name === "neither" ? 1 : 0);

function drawEvents() {
  const { classes } = shown.box.model;
  const wanted = shown.events.filter((event) => shown.kind === "all" || event.kind === "snapshot" || classes.includes(event.label)).slice(0, MOST_SHOWN);
  $("no-events").hidden = wanted.length > 0;
  const there = new Map(Array.from($("events").children, (item) => [item.dataset.id, item]));
  $("events").replaceChildren(...wanted.map((event) => there.get(`${event.id} ${event.time}`) ?? makeEvent(event)));
}

function makeEvent(event) {
  const { classes } = shown.box.model;
  const name = event.label ?? event.state;
  const time = new Date(event.time);
  const title = event.kind === "snapshot" ? `Snapshot: ${name}` : STATES[name] ?? name;
  const day = time.toDateString() === new Date().toDateString() ? "" : `${time.toLocaleDateString([], { day: "numeric", month: "short" })}, `;
  const when = `${day}${clock(time, true)}`;
  const image = event.image && `api/v1/${event.image}`;
  const picture = image ? element("img", { className: "shot", src: image, alt: "", loading: "lazy" }) : element("span", { className: "shot none", textContent: event.label ? "–" : "!", "aria-hidden": "true" });
  const known = classes.includes(event.label) ? ` · ${percent(event.probability)}` : "";
  const words = element("span", { className: "words" }, element("b", { textContent: title, style: { "--mark": colour(name, classes) } }), element("small", { textContent: when + known }));
  const card = element(image ? "button" : "div", { className: "event" }, picture, words);
  if (image) {
    card.type = "button";
    card.addEventListener("click", () => {
      $("viewer-image").src = image;
      $("viewer-image").alt = `${title}, ${when}`;
      $("viewer-title").textContent = `${title}, ${when}${known}`;
      $("viewer-save").href = image;
      $("viewer-save").download = `catsdogs-${event.time.replaceAll(":", "")}-${name}.jpg`;
      $("viewer").showModal();
    });
  }
  return element("li", { "data-id": `${event.id} ${event.time}` }, card);
}

// One after the other, and not too often; what comes meanwhile is looked at once more.
let refreshing = false;
let isDue = false;
async function refresh() {
  if (refreshing) {
    isDue = true;
    return;
  }
  refreshing = true;
  do {
    isDue = false;
    await load();
    await sleep(REFRESH_MS);
  } while (isDue);
  refreshing = false;
}

async function load() {
  if (!shown.box || document.hidden) return;
  try {
    const [{ events }, spans] = await Promise.all([askJson("api/v1/events?limit=300", LIMITED), askJson(`api/v1/timeline?hours=${shown.hours}`, LIMITED)]);
    shown.events = events.reverse();
    drawEvents();
    drawTimeline(spans);
  } catch {
    return; // the frames say that there is no connection
  }
}

async function start() {
  const box = await askJson("api/v1/state", LIMITED);
  const isNew = JSON.stringify(box.model.classes) !== JSON.stringify(shown.box?.model.classes);
  shown.box = box;
  if (isNew) {
    $("bars").replaceChildren();
    shown.bars = new Bars($("bars"), box.model.classes);
  }
  shown.event = -1;
  $("source").textContent = box.source ?? "";
  $("source").title = box.source ?? "";
  $("model").textContent = describeModel(box.model);
  $("why").hidden = !box.model.maps;
  $("familiarity").querySelector("u").style.left = `${100 * (box.model.threshold ?? 0)}%`;
  $("familiarity").querySelector("#mark-hint").hidden = box.model.threshold == null;
}

function pressed(button, group) {
  for (const other of group) other.setAttribute("aria-pressed", String(other === button));
}

function wire() {
  const mirror = () => {
    const on = $("frame").classList.toggle("mirrored");
    $("mirror").setAttribute("aria-pressed", String(on));
  };
  const why = () => {
    if ($("why").hidden) return;
    shown.why = !shown.why;
    $("why").setAttribute("aria-pressed", String(shown.why));
  };
  const full = () => (document.fullscreenElement ? document.exitFullscreen() : $("frame").requestFullscreen?.());
  const snapshot = async () => {
    try {
      await askJson("api/v1/snapshots", { method: "POST" });
      $("said").textContent = "Kept among the events.";
      void refresh();
    } catch (error) {
      $("said").textContent = error.message;
    }
    setTimeout(() => ($("said").textContent = ""), 4000);
  };
  $("mirror").addEventListener("click", mirror);
  $("why").addEventListener("click", why);
  $("full").addEventListener("click", full);
  $("snapshot").addEventListener("click", snapshot);
  $("viewer-close").addEventListener("click", () => $("viewer").close());
  $("viewer").addEventListener("click", (event) => event.target === $("viewer") && $("viewer").close());
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input") || document.querySelector("dialog[open]")) return;
    ({ m: mirror, w: why, f: full, s: snapshot })[event.key.toLowerCase()]?.();
  });
  const hours = document.querySelectorAll("[data-hours]");
  for (const button of hours) {
    button.addEventListener("click", () => {
      shown.hours = Number(button.dataset.hours);
      pressed(button, hours);
      void refresh();
    });
  }
  const kinds = document.querySelectorAll("[data-kind]");
  for (const button of kinds) {
    button.addEventListener("click", () => {
      shown.kind = button.dataset.kind;
      pressed(button, kinds);
      drawEvents();
    });
  }
  document.addEventListener("visibilitychange", refresh);
}

wire();
await useFragment();
for (;;) {
  try {
    await start();
    break;
  } catch {
    setState("offline", AGAIN);
    await sleep(1000);
  }
}
void refresh();
setInterval(refresh, 15000);
await watch();
