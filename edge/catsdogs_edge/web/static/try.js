// The page of catsdogs-serve: images go to the box, one at a time.
import { $, ask, askJson, sleep, useFragment } from "./common.js";
import { addResult, takeImages } from "./results.js";

await useFragment();
const box = await askJson("api/v1/state");
$("model").textContent = `${box.model.name} (${box.model.precision}) on ${box.model.provider.replace("ExecutionProvider", "")}`;
$("curl").textContent = `curl --data-binary @image.jpg ${new URL("api/v1/classify", location.href)}`;

takeImages(async (file) => {
  const result = addResult(file, box.model.classes);
  try {
    for (;;) {
      const answer = await ask("api/v1/classify", { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } });
      if (answer.status === 503) {
        await sleep(1000); // others are before us
        continue;
      }
      result.show(await answer.json());
      return;
    }
  } catch {
    result.fail("The box does not answer.");
  }
});
