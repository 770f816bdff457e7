// The page of catsdogs-serve: images go to the box, one at a time.
import { $, ask, askJson, describeModel, sleep, useFragment } from "./common.js";
import { addResult, takeImages } from "./results.js";

await useFragment();
let box = null;
while (!box) {
  box = await askJson("api/v1/state").catch(() => null);
  $("model").textContent = box ? describeModel(box.model) : "The box does not answer: trying again.";
  if (!box) await sleep(1000);
}
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
      const row = await answer.json();
      if (row.label || row.error) result.show(row);
      else result.fail(`The box answers ${answer.status}.`);
      return;
    }
  } catch {
    result.fail("The box does not answer.");
  }
});
