// Runs the model beside the page, so that the page never waits: loads it, lets it pass its own test, classifies images.
import { resize } from "./resize.js";

const RUNTIME = "1.30.0"; // of onnxruntime-web, in the addresses: a newer one is another file
const MOST_THREADS = 2; // more are slower on a busy phone

let ort, session, about;

async function load({ base, model }) {
  about = model;
  postMessage({ step: "runtime", is: "busy" });
  ort = await import(`./ort.wasm.bundle.min.mjs?v=${RUNTIME}`);
  const isPhone = /iPhone|iPad/.test(navigator.userAgent) || (/Mac/.test(navigator.userAgent) && navigator.maxTouchPoints > 1);
  ort.env.wasm.numThreads = self.crossOriginIsolated && !isPhone ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  ort.env.wasm.wasmPaths = { wasm: new URL(`ort-wasm-simd-threaded.wasm?v=${RUNTIME}`, import.meta.url).href };
  postMessage({ step: "runtime", is: "done", text: `${ort.env.wasm.numThreads} thread${ort.env.wasm.numThreads > 1 ? "s" : ""}` });
  postMessage({ step: "model", is: "busy" });
  const bytes = await download(new URL(model.url, base), model.bytes);
  postMessage({ step: "model", is: "busy", text: "starting" });
  session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  postMessage({ step: "model", is: "done", text: `${(model.bytes / 1e6).toFixed(1)} MB` });
  await test();
}

async function download(address, size) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`The box answers ${answer.status}.`);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    bytes.set(value, at);
    at += value.length;
    postMessage({ step: "model", is: "busy", share: at / size });
  }
  if (at !== size) throw new Error("The model did not arrive whole: load this page again.");
  return bytes;
}

// The four images in the model file, and what this very file must answer to them.
async function test() {
  if (!about.selftest) return postMessage({ step: "test", is: "none", text: "this file carries none" });
  postMessage({ step: "test", is: "busy" });
  const { probes, tolerance, familiarity_tolerance: allowed } = about.selftest;
  let largest = 0;
  let familiarity = 0;
  for (const probe of Object.values(probes)) {
    const file = new Blob([Uint8Array.from(atob(probe.file), (sign) => sign.charCodeAt(0))]);
    const found = await ask(await decode(file));
    largest = Math.max(largest, ...probe.logits.map((logit, index) => Math.abs(logit - found.logits[index])));
    if (probe.familiarity != null) familiarity = Math.max(familiarity, Math.abs(probe.familiarity - found.familiarity));
  }
  const passed = largest <= tolerance && familiarity <= (allowed ?? Infinity);
  const text = `${Object.keys(probes).length} images: logits differ by ${largest.toFixed(3)} (${tolerance.toFixed(3)} allowed)`;
  postMessage({ step: "test", is: passed ? "done" : "failed", text, largest, familiarity });
}

// Pixels as they are in the file, upright; no colour management, as on the box.
async function decode(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  return read(bitmap);
}

function read(bitmap) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  const size = about.contract.image_size;
  return resize(pen.getImageData(0, 0, width, height).data, 4, width, height, size);
}

async function ask(pixels) {
  const { contract } = about;
  const size = contract.image_size;
  const started = performance.now();
  const results = await session.run({ [contract.input_name]: new ort.Tensor("uint8", pixels, [1, size, size, 3]) });
  const milliseconds = performance.now() - started;
  const values = (name) => Array.from(results[name].data);
  const familiarity = contract.familiarity ? values(contract.familiarity_name)[0] : null;
  return { logits: values(contract.logits_name), probabilities: values(contract.probabilities_name), familiarity, milliseconds };
}

function decide({ logits, probabilities, familiarity, milliseconds }) {
  const { classes } = about.contract;
  const best = probabilities.indexOf(Math.max(...probabilities));
  const isNeither = about.threshold != null && familiarity != null && familiarity < about.threshold;
  return {
    label: isNeither ? "neither" : classes[best],
    probability: isNeither ? 1 - familiarity : probabilities[best],
    probabilities: Object.fromEntries(classes.map((name, index) => [name, probabilities[index]])),
    familiarity,
    logits,
    latency_ms: milliseconds,
  };
}

// One message after the other: a model runs one image at a time.
let last = Promise.resolve();
self.addEventListener("message", ({ data }) => {
  last = last.then(async () => {
    try {
      if (data.load) await load(data.load);
      else postMessage({ id: data.id, row: decide(await ask(data.file ? await decode(data.file) : read(data.bitmap))) });
    } catch (error) {
      const text = data.file ? "This is no image that the browser can decode." : `${error.message ?? error}`;
      postMessage({ id: data.id, error: text });
    }
  });
});
