// Classifies one image with a catsdogs model, in Node.js:  node classify.mjs MODEL CONTRACT PIXELS
//   npm install onnxruntime-web
//   catsdogs-export --describe model.int8.onnx > contract.json
//   ffmpeg -i image.jpg -vf scale=224:224:flags=area -f rawvideo -pix_fmt rgb24 image.rgb
import { readFileSync } from "node:fs";
import * as ort from "onnxruntime-web";

const [model, contractFile, pixels] = process.argv.slice(2);
const contract = JSON.parse(readFileSync(contractFile, "utf8"));
if (Number.parseInt(contract.version) > 1) throw new Error(`contract ${contract.version} is newer than this example`);

const session = await ort.InferenceSession.create(readFileSync(model));
const { image_size: size, input_name: input, classes, familiarity } = contract;
const image = new ort.Tensor("uint8", new Uint8Array(readFileSync(pixels)), [1, size, size, 3]); // RGB, nothing else
const answers = await session.run({ [input]: image });

const probabilities = Array.from(answers[contract.probabilities_name].data);
const best = probabilities.indexOf(Math.max(...probabilities));
const known = familiarity ? answers[contract.familiarity_name].data[0] : 1;
const label = familiarity && known < familiarity.threshold ? "neither" : classes[best];
console.log(JSON.stringify({ label, probability: probabilities[best], familiarity: known }));
