// The page that runs the model in the visitor's browser: in a worker, on images and on the camera of the device.
import { $, askJson, colour, element, percent, useFragment } from "./common.js";
import { addResult, takeImages } from "./results.js";

const RUNTIME_MB = 3.7; // onnxruntime-web, compressed
const waiting = new Map();
let worker, model, stream, next = 0;

function setState(state, text) {
  $("state").dataset.state = state;
  $("state").textContent = text;
}

function showStep({ step, is, text, share }) {
  const item = $(`step-${step}`);
  item.dataset.is = is;
  if (text) item.querySelector("small").textContent = `– ${text}`;
  if (share != null) $("progress").value = share;
  if (step !== "test" || is === "busy") return;
  $("progress").hidden = true;
  if (is === "none") {
    setState("stale", "ready, without a test");
  } else if (is === "failed") {
    setState("lost", "self-test failed");
    $("problem").textContent = "This browser computes other answers than the box: do not trust them.";
  } else {
    setState("live", "ready, self-test passed");
  }
  if ($("ready").hidden) {
    takeImages(async (file) => {
      const result = addResult(file, model.contract.classes);
      await classify({ file }).then((row) => result.show(row), (error) => result.fail(error.message));
    });
  }
  $("ready").hidden = false;
}

function fail(text) {
  for (const { reject } of waiting.values()) reject(new Error(text));
  waiting.clear();
  setState("lost", "not loaded");
  $("problem").textContent = text;
  for (const item of document.querySelectorAll(".checks [data-is=busy]")) item.dataset.is = "failed";
}

function classify(message, transfer = []) {
  return new Promise((resolve, reject) => {
    const id = ++next;
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, ...message }, transfer);
  });
}

function load() {
  $("before").hidden = true;
  $("steps").hidden = false;
  setState("connecting", "loading");
  worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("error", (event) => fail(event.message || "This browser cannot run the model."));
  worker.addEventListener("message", ({ data }) => {
    if (data.step) return showStep(data);
    const asked = waiting.get(data.id);
    waiting.delete(data.id);
    if (!asked) return fail(data.error);
    data.error ? asked.reject(new Error(data.error)) : asked.resolve(data.row);
  });
  worker.postMessage({ load: { base: document.baseURI, model } });
}

async function watchCamera() {
  $("start").disabled = true;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 640 } } });
  } catch (error) {
    $("camera-hint").textContent = `The camera cannot be used: ${error.message}`;
    return;
  } finally {
    $("start").disabled = false;
  }
  try {
    await classifyCamera(stream);
  } catch (error) {
    $("camera-hint").textContent = `The camera has ended: ${error.message}`;
    stop();
  }
}

async function classifyCamera(mine) {
  const { classes } = model.contract;
  const video = $("video");
  video.srcObject = mine;
  await video.play();
  $("frame").style.aspectRatio = `${video.videoWidth} / ${video.videoHeight}`;
  $("live").hidden = false;
  $("start").hidden = true;
  let label = "";
  while (stream === mine) {
    if (!mine.active) throw new Error("it was unplugged, or taken away");
    const bitmap = await createImageBitmap(video);
    const started = performance.now();
    const row = await classify({ bitmap }, [bitmap]);
    if (stream !== mine) return;
    const known = classes.includes(row.label);
    $("caption").hidden = false;
    $("caption").style.setProperty("--mark", colour(row.label, classes));
    $("caption").replaceChildren(row.label, ...(known ? [element("span", { textContent: percent(row.probability) })] : []));
    $("rate").textContent = `${(1000 / (performance.now() - started)).toFixed(1)} fps, ${row.latency_ms.toFixed(0)} ms`;
    if (row.label !== label) $("spoken").textContent = label = row.label;
    if (document.hidden) await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
  }
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  $("live").hidden = true;
  $("start").hidden = false;
}

// Waits, but not for long, until the script that keeps things is at work: what is fetched from then on is kept.
async function keeper() {
  const workers = navigator.serviceWorker;
  if (!workers || workers.controller) return;
  const changed = new Promise((resolve) => workers.addEventListener("controllerchange", resolve, { once: true }));
  await Promise.race([changed, new Promise((resolve) => setTimeout(resolve, 3000))]);
}

$("load").addEventListener("click", load);
$("start").addEventListener("click", watchCamera);
$("stop").addEventListener("click", stop);
$("mirror").addEventListener("click", () => $("mirror").setAttribute("aria-pressed", String($("frame").classList.toggle("mirrored"))));
if (!navigator.mediaDevices) {
  $("start").hidden = true;
  $("camera-hint").textContent = "Drop images here, paste one, or choose them. Browsers give the camera only to pages of https and of localhost: this one came over plain http.";
}

await useFragment();
// Where this page is not secure, it works all the same, but not without a network.
await navigator.serviceWorker?.register("service.js").catch(console.warn);
await keeper();
try {
  model = await askJson("api/v1/model");
  $("model").textContent = `${model.contract.precision}, SHA-256 ${model.sha256.slice(0, 12)}…`;
  $("cost").textContent = `Loads ${(model.bytes / 1e6 + RUNTIME_MB).toFixed(0)} MB on the first visit, and needs about 300 MB of memory while it runs.`;
  $("load").disabled = false;
} catch (error) {
  $("cost").textContent = `The box does not answer: ${error.message}`;
}
