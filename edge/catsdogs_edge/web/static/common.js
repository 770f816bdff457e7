// What all pages share: colours, words for numbers, the token.

export const $ = (id) => document.getElementById(id);

const GONE = new Set(["stale", "lost", "reconnecting"]);

// The colour of a label or a state: a class has the one of its number.
export function colour(name, classes) {
  const index = classes.indexOf(name);
  if (index >= 0) {
    const mark = `var(--class-${index % 6})`;
    return index % 12 < 6 ? mark : `color-mix(in oklab, ${mark} 55%, var(--ink))`; // darker, or lighter where it is dark
  }
  return GONE.has(name) ? "var(--gone)" : "var(--neither)";
}

export function percent(value) {
  if (value == null) return "";
  return value >= 0.9995 ? ">99.9 %" : `${(100 * value).toFixed(1)} %`;
}

export function clock(date, withSeconds = false) {
  const form = { hour: "2-digit", minute: "2-digit" };
  if (withSeconds) form.second = "2-digit";
  return date.toLocaleTimeString([], form);
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "style") for (const [rule, to] of Object.entries(value)) made.style.setProperty(rule, to);
    else if (key.startsWith("aria-") || key.startsWith("data-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

// Bars for the classes, made once and then only moved.
export class Bars {
  constructor(root, classes) {
    this.rows = classes.map((name) => {
      const value = element("span");
      const fill = element("i");
      const meter = element("span", { className: "meter" }, fill);
      const row = element("div", { className: "bar", style: { "--mark": colour(name, classes) } }, element("span", { textContent: name }), value, meter);
      root.append(row);
      return { name, value, fill };
    });
  }

  show(probabilities) {
    for (const { name, value, fill } of this.rows) {
      const share = probabilities?.[name];
      value.textContent = share == null ? "–" : percent(share);
      fill.style.width = `${100 * (share ?? 0)}%`;
    }
  }
}

// Tells the box that a page asks, which has a dialog of its own: without it, the browser would ask for a password.
const PAGE = { "x-catsdogs-page": "1" };

// A token in the fragment of the address reaches no server and no log: it becomes a cookie, and leaves the address.
async function open(token) {
  try {
    const answer = await fetch("api/v1/session", { method: "POST", headers: { ...PAGE, authorization: `Bearer ${token}` } });
    if (answer.ok) return "";
    return answer.status === 429 ? "Too many wrong tokens: wait a minute." : "This is not the token.";
  } catch {
    return "The box does not answer.";
  }
}

export async function useFragment() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  let token = found[1];
  try {
    token = decodeURIComponent(token);
  } catch {
    // a token may hold a percent sign
  }
  await open(token);
}

// Asks for the token until it is right; all who wait for it go on then.
let opened = null;
let goOn = null;
function askForToken() {
  opened ??= new Promise((resolve) => {
    goOn = resolve;
    $("login").showModal();
  });
  return opened;
}

// The same on all pages.
const login = element("dialog", { id: "login", "aria-labelledby": "login-title" });
const form = element("form", { id: "login-form", method: "dialog" });
form.append(
  element("h2", { id: "login-title", textContent: "This box asks for its token" }),
  element("input", { type: "text", autocomplete: "username", value: "catsdogs", hidden: true }),
  element("label", { htmlFor: "token", textContent: "Token" }),
  element("input", { type: "password", id: "token", autocomplete: "current-password", required: true }),
  element("p", { className: "wrong", id: "login-wrong", role: "alert" }),
  element("button", { className: "primary", textContent: "Open" }),
);
login.append(form);
document.body.append(login);
login.addEventListener("close", () => goOn && login.showModal()); // such as by Escape
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const problem = await open($("token").value);
  $("login-wrong").textContent = problem;
  if (problem) return;
  $("token").value = "";
  const resolve = goOn;
  opened = goOn = null;
  $("login").close();
  resolve();
});

// Fetches, and asks for the token where one is needed.
export async function ask(path, { seconds, headers, ...options } = {}) {
  for (;;) {
    const signal = seconds ? AbortSignal.timeout(1000 * seconds) : undefined;
    const answer = await fetch(path, { cache: "no-store", headers: { ...PAGE, ...headers }, signal, ...options });
    if (answer.status !== 401) return answer;
    await askForToken();
  }
}

// What the server says where it refuses.
export async function refusal(answer) {
  return (await answer.json().catch(() => ({}))).error ?? `The box answers ${answer.status}.`;
}

// Who runs the model, for the foot of a page.
export function describeModel({ name, precision, provider }) {
  return `${name} (${precision}) on ${provider.replace("ExecutionProvider", "")}`;
}

export async function askJson(path, options) {
  const answer = await ask(path, options);
  if (!answer.ok) throw new Error(await refusal(answer));
  return answer.json();
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
