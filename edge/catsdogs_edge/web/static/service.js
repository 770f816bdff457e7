// Keeps what the page `here` needs, so that it opens without a network.
const CACHE = "catsdogs-here";
const SCOPE = new URL("./", self.location).pathname;
const KEPT = ["here", "static/", "api/v1/model", "model/"];

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  const path = address.pathname.slice(SCOPE.length);
  if (event.request.method !== "GET" || address.origin !== self.location.origin || !KEPT.some((start) => path.startsWith(start))) return;
  // Addresses that change when their content does: the model by its hash, the runtime by its version
  const isFixed = path.startsWith("model/") || address.searchParams.has("v");
  event.respondWith(isFixed ? fromCache(event.request, path) : fromNetwork(event.request));
});

async function fromCache(request, path) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  if (!answer.ok) return answer;
  const [folder, name] = [path.slice(0, path.lastIndexOf("/") + 1), new URL(request.url).pathname];
  for (const old of await cache.keys()) {
    const other = new URL(old.url);
    const isOlder = folder === "model/" ? other.pathname.startsWith(`${SCOPE}model/`) : other.pathname === name;
    if (isOlder) await cache.delete(old);
  }
  await cache.put(request, answer.clone());
  return answer;
}

async function fromNetwork(request) {
  const cache = await caches.open(CACHE);
  const answer = await fetch(request).catch(() => null);
  if (answer?.ok) await cache.put(request, answer.clone());
  // Without an answer, or with one of a proxy that misses the box: what is kept
  const isAway = !answer || answer.status >= 500;
  return (isAway && (await cache.match(request))) || answer || Response.error();
}
