// Keeps what the page `here` needs, so that it opens without a network.
const CACHE = "catsdogs-here";
const SCOPE = new URL("./", self.location).pathname;
const KEPT = ["here", "static/", "api/v1/model", "model/"];

const PAGES = ["here", ...["style.css", "here.js", "common.js", "results.js", "worker.js", "resize.js", "icon.svg"].map((name) => `static/${name}`)];

// What was loaded before this script ran is fetched again: it is small.
self.addEventListener("install", (event) => event.waitUntil(install()));

async function install() {
  const cache = await caches.open(CACHE);
  await cache.addAll(PAGES).catch(console.warn); // a full disk is no mistake
  await self.skipWaiting();
}

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  const path = address.pathname.slice(SCOPE.length);
  if (event.request.method !== "GET" || address.origin !== self.location.origin || !KEPT.some((start) => path.startsWith(start))) return;
  // Addresses that change when their content does: the model by its hash, the runtime by its version
  const isFixed = path.startsWith("model/") || address.searchParams.has("v");
  event.respondWith(isFixed ? fromCache(event, path) : fromNetwork(event));
});

async function fromCache(event, path) {
  const { request } = event;
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.ok) event.waitUntil(replace(cache, request, answer.clone(), path));
  return answer;
}

// Keeps one of each: another model, or another version of a file, is not needed any more. A full disk is no mistake.
async function replace(cache, request, answer, path) {
  try {
    await cache.put(request, answer);
    for (const old of await cache.keys()) {
      const other = new URL(old.url).pathname.slice(SCOPE.length);
      const isOlder = path.startsWith("model/") ? other.startsWith("model/") : other === path;
      if (isOlder && old.url !== request.url) await cache.delete(old);
    }
  } catch (error) {
    console.warn(error);
  }
}

async function fromNetwork(event) {
  const { request } = event;
  const cache = await caches.open(CACHE);
  const answer = await fetch(request).catch(() => null);
  if (answer?.ok) event.waitUntil(cache.put(request, answer.clone()).catch(console.warn));
  // Without an answer, or with one of a proxy that misses the box: what is kept
  const isAway = !answer || answer.status >= 500;
  return (isAway && (await cache.match(request))) || answer || Response.error();
}
