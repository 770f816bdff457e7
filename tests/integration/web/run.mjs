// Runs an ONNX file with onnxruntime-web (WebAssembly) on raw uint8 images, one after the other.
//
//   node run.mjs MODEL PIXELS SIZE
//
// PIXELS holds N images of SIZE x SIZE x 3 bytes, RGB. Prints a JSON array of N rows of logits.
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const [model, pixels, size] = process.argv.slice(2);
ort.env.logLevel = "error";
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
const bytes = new Uint8Array(readFileSync(pixels));
const edge = Number(size);
const step = edge * edge * 3;
const rows = [];
for (let start = 0; start < bytes.length; start += step) {
  const image = new ort.Tensor("uint8", bytes.slice(start, start + step), [1, edge, edge, 3]);
  const { logits } = await session.run({ image }, ["logits"]);
  rows.push(Array.from(logits.data));
}
console.log(JSON.stringify(rows));
