// Calls to the server this page came from. The key stays in this tab's session storage and travels in one header.
const root = document.documentElement.dataset;

export const server = {
  origin: location.origin,
  base: `${location.origin}/v1`,
  keyed: root.keys === "required",
  usage: root.usage === "on",
  inspector: root.inspector === "on",
  serves: (route) => (root.routes ?? "").split(" ").includes(route),
};

export const key = {
  get value() {
    try {
      return sessionStorage.getItem("key") ?? "";
    } catch {
      return "";
    }
  },
  set value(value) {
    if (value) sessionStorage.setItem("key", value);
    else sessionStorage.removeItem("key");
  },
};

/** Whether calls can be made at all. */
export const ready = () => !server.keyed || key.value !== "";

export function call(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key.value) headers.set("Authorization", `Bearer ${key.value}`);
  if (options.body !== undefined) headers.set("Content-Type", "application/json");
  return fetch(path, { ...options, headers, cache: "no-store", redirect: "error" });
}

/** What went wrong, as it arrived. status 0: no answer at all. */
export class Refused extends Error {
  constructor(status, body, headers = []) {
    super(messageOf(body) || `HTTP ${status}`);
    Object.assign(this, { status, body, headers });
  }
}

function messageOf(body) {
  try {
    return String(JSON.parse(body).error.message);
  } catch {
    return body.slice(0, 500);
  }
}

/** GET or POST; the answer as JSON. Throws Refused. */
export async function json(path, options = {}) {
  const response = await call(path, options);
  const body = await response.text();
  if (!response.ok) throw new Refused(response.status, body, [...response.headers]);
  return body ? JSON.parse(body) : null;
}

/** The data of each event in a stream of server-sent events, as it comes: {data, raw}. Comments have data null. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const raw of blocks) {
      const lines = raw.split("\n").filter((line) => line.startsWith("data:"));
      yield { raw, data: lines.length ? lines.map((line) => line.slice(5).replace(/^ /, "")).join("\n") : null };
    }
  }
  if (rest.trim()) yield { raw: rest, data: null };
}

let models = null;
/** The models this caller may use: cards of GET /v1/models. */
export function listModels(again = false) {
  if (again || !models) {
    models = json("/v1/models").then((list) => list.data);
    models.catch(() => (models = null));
  }
  return models;
}
