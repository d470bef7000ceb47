// The documentation: text.js's sections laid out, with this server's address and models filled in.
import { call, events, listModels, ready, server } from "./api.js";
import { embeds } from "./cards.js";
import { colored, compact, copy, copyButton, h, remember, rich, seconds } from "./dom.js";
import { requestOf, sample } from "./sample.js";
import { setup } from "./snippets.js";
import { LIVE, SECTIONS, counted, pick, text } from "./text.js";
import { labelled, words } from "./words.js";

const LANGUAGES = { curl: "curl", python: "Python", node: "Node" };
const state = { cards: [], clients: {}, model: "echo", code: stored("code") ?? "curl", running: null, words: "" };

function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

const plain = (name) => name.replace(/[^\w./:@+-]/g, "");
const reasons = (card) => card.supported_parameters?.includes("reasoning");

/** Our placeholders → this server's values. Names of models come from its configuration: quotes must not break the code. */
function filled(source) {
  const first = (test) => state.cards.find((card) => plain(card.id) === card.id && test(card))?.id;
  const values = {
    base: server.base,
    origin: server.origin,
    model: plain(state.model),
    reasoner: plain(first((card) => card.id === state.model && reasons(card)) ?? first(reasons) ?? state.model),
    completer: plain(first((card) => card.owned_by === "echo") ?? state.model),
    embedder: plain(first(embeds) ?? first((card) => card.id === "echo") ?? "text-embedding-3-small"),
    curl: setup.curl(),
    python: setup.python(),
    anthropic: setup.anthropic(),
    node: setup.node(),
  };
  return source.replace(/\{\{(\w+)\}\}/g, (_, name) => values[name] ?? "");
}

function codeBlock(sources, id) {
  const available = Object.keys(LANGUAGES).filter((name) => sources[name]);
  const shown = available.includes(state.code) ? state.code : available[0];
  const source = filled(sources[shown]);
  const tabs = available.length > 1
    ? h("div", { class: "tabs", role: "group", "aria-label": "curl, Python, Node" },
        available.map((name) =>
          h("button", { type: "button", "aria-pressed": String(name === shown), onclick: () => choose(name) }, LANGUAGES[name])))
    : h("span", { class: "tabs one" }, LANGUAGES[available[0]]);
  const echo = state.cards.find((card) => card.owned_by === "echo" && plain(card.id) === card.id)?.id;
  const request = echo && sources.curl ? requestOf(filled(sources.curl), plain(state.model), echo) : null;
  const [button, answer] = request ? sample(request, id === "headers") : [];
  return h("figure", { class: "code" },
    h("figcaption", {}, tabs, h("span", { class: "row" }, button, copyButton(source))),
    h("pre", { tabindex: "0", "data-language": shown, "aria-label": LANGUAGES[shown] }, h("code", {}, colored(source, shown))), answer);
}

function choose(name) {
  state.code = name;
  remember("code", name);
  const anchor = [...document.querySelectorAll(".doc")].find((node) => node.getBoundingClientRect().bottom > 90);
  const before = anchor?.getBoundingClientRect().top;
  render();
  const same = anchor && document.getElementById(anchor.id);
  if (same) scrollBy(0, same.getBoundingClientRect().top - before); // what is read stays where it is
}

const LABELLED = 5; // columns of a table whose cells say, on a phone, what they are
const cell = (value, label) => h("td", { "data-label": label }, rich(filled(pick(value))));

function table(heads, rows) {
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": pick(heads[0]) },
    h("table", { class: "stack" }, h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, pick(head))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((value, at) => cell(value, heads.length >= LABELLED && at ? pick(heads[at]) : undefined)))))));
}

const live = {
  model: () => h("label", { class: "inline" }, text("modelIn"), modelSelect()),
  auth: () => h("p", { class: "note" }, rich(pick(server.keyed ? LIVE.authOn : LIVE.authOff))),
  onlyEcho: () => state.cards.length && state.cards.every((card) => card.owned_by === "echo") && h("p", { class: "note" }, rich(pick(LIVE.onlyEcho))),
  usage: () => h("p", { class: "note" }, rich(pick(server.usage ? LIVE.usageOn : LIVE.usageOff))),
  models: () =>
    ready()
      ? h("p", { class: "chips", tabindex: "0", role: "group", "aria-label": text("models") }, state.cards.map((card) => h("span", { class: "worded" }, h("code", {}, card.id), words(card, state.cards).map((name) => h("span", { class: `chip ${name}` }, text(name))))))
      : h("p", { class: "note" }, rich(pick(LIVE.modelsLocked))),
  clients: () => {
    const rows = state.clients[document.documentElement.lang] ?? [];
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text("docs") },
      h("table", { class: "clients stack" },
        h("tbody", {}, rows.map(([name, kind, where]) =>
          h("tr", {}, h("th", { scope: "row" }, name),
            h("td", {}, h("button", { type: "button", class: "paste", title: text("copy"), "aria-label": `${text("copy")}: ${server[kind]} (${name})`,
              onclick: (event) => copy(server[kind], event.currentTarget) }, server[kind])),
            h("td", {}, rich(filled(where))))))));
  },
};

const CLIENT = /^\| ([^|]+) \| `http:\/\/[\d.:]+(\/v1)?` \| (.*) \|$/gm;
/** Read what to paste into which client from the documentation's page of clients: [name, base or origin, where]. */
async function loadClients() {
  const { lang } = document.documentElement;
  if (state.clients[lang]) return;
  const response = await fetch(`/docs/${lang}/clients.md`);
  const page = response.ok ? await response.text() : "";
  state.clients[lang] = [...page.matchAll(CLIENT)].map(([, name, version, where]) =>
    [name, version ? "base" : "origin", where.replaceAll("gpt-4o", "{{model}}").replaceAll("](models.md)", "](#models)")]);
}

function modelSelect() {
  const select = h("select", { onchange: (event) => { state.model = event.target.value; render(); document.querySelector(".hero select")?.focus(); } },
    (state.cards.length ? state.cards.filter((card) => !embeds(card)) : [{ id: state.model }]).map((card) => h("option", { value: card.id, selected: card.id === state.model }, labelled(card, state.cards))));
  select.value = state.model;
  return select;
}

const blocks = {
  p: ([, ...pair]) => h("p", {}, rich(filled(pick(pair)))),
  note: ([, ...pair]) => h("p", { class: "note" }, rich(filled(pick(pair)))),
  ul: ([, ...items]) => h("ul", {}, items.map((pair) => h("li", {}, rich(filled(pick(pair)))))),
  code: ([, sources], id) => codeBlock(sources, id),
  table: ([, heads, ...rows]) => table(heads, rows),
  live: ([, name]) => live[name](),
};

const WIDE = (block) => block[0] === "table" || (block[0] === "live" && block[1] === "clients");

/** A button that copies the address of a section. */
const anchor = (entry) => h("button", { type: "button", class: "anchor", title: text("copyLink"), "aria-label": `${text("copyLink")}: ${pick(entry.title)}`,
  onclick: (event) => { history.replaceState(null, "", `#${entry.id}`); copy(`${server.origin}/#${entry.id}`, event.currentTarget); } }, "#");

/** Show only the sections in which all words stand. */
function search(typed) {
  state.words = typed;
  const wanted = typed.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const node of container.querySelectorAll(".doc")) {
    const content = node.textContent.toLowerCase();
    node.hidden = !wanted.every((word) => content.includes(word));
    container.querySelector(`.contents a[href="#${node.id}"]`).parentElement.hidden = node.hidden;
    found += node.hidden ? 0 : 1;
  }
  container.querySelector("#docs-none").hidden = found > 0;
}

function section(entry, number) {
  const served = entry.body.filter((block) => !block[2]?.if || server[block[2].if]);
  const made = (test) => served.filter(test).map((block) => blocks[block[0]](block, entry.id));
  const prose = made((block) => block[0] !== "code" && !WIDE(block));
  const code = made((block) => block[0] === "code");
  return h("section", { class: `doc ${code.length ? "" : "no-code"}`, id: entry.id, "aria-labelledby": `${entry.id}-title` },
    h("h2", { id: `${entry.id}-title` }, h("a", { href: `#${entry.id}`, "aria-hidden": "true", tabindex: "-1" }, String(number).padStart(2, "0")), pick(entry.title), anchor(entry)),
    h("div", { class: "prose" }, prose),
    code.length ? h("div", { class: "beside" }, code) : null,
    made(WIDE));
}

function hero() {
  const wire = h("ol", { class: "wire", id: "hero-wire", "aria-live": "off" }, h("li", { class: "idle" }, text("heroIdle")));
  const button = h("button", { type: "button", class: "primary", id: "hero-run", onclick: () => runHero(wire, button) }, text("heroRun"));
  const request = `{"model": "${state.model}", "stream": true,\n "messages": [{"role": "user", "content": "Hello, wire!"}]}`;
  const lines = text("heroTitle").split("\n");
  return h("div", { class: "hero" },
    h("div", { class: "pitch" },
      h("h1", {}, lines[0], h("br"), lines[1]),
      h("p", {}, text("heroText")),
      h("div", { class: "address" }, h("code", { id: "base-url" }, server.base), copyButton(server.base)),
      h("p", { class: "badge", id: "badge", role: "status" }, h("span", { class: "dot" }), h("span", { id: "badge-text" }, text("checking")))),
    h("figure", { class: "code live" },
      h("figcaption", {}, h("span", { class: "tabs one" }, "POST /v1/chat/completions"), h("label", {}, h("span", { class: "offscreen" }, text("modelIn")), modelSelect()), button),
      h("pre", { tabindex: "0", "aria-label": text("request") }, h("code", {}, colored(request, "json"))),
      h("div", { class: "wire-box", tabindex: "0", role: "region", "aria-label": text("heroWire") }, wire)));
}

/** An event with what it says set off from its envelope. */
const marked = (raw) => raw.split(/("delta":\{[^{}]*\})/).map((part) => (part.startsWith('"delta"') ? h("mark", {}, part) : part));

/** One real request; each event as it arrives, with its time. */
async function runHero(wire, button) {
  if (state.running) return state.running.abort();
  if (!ready()) return document.getElementById("key").click();
  state.running = new AbortController();
  button.textContent = text("stop");
  wire.replaceChildren();
  const began = performance.now();
  const add = (content, kind = "") => {
    wire.append(h("li", { class: kind }, h("time", {}, seconds((performance.now() - began) / 1000)), h("span", {}, marked(content))));
    wire.parentElement.scrollTop = wire.parentElement.scrollHeight;
  };
  try {
    const body = { model: state.model, stream: true, messages: [{ role: "user", content: "Hello, wire!" }] };
    const response = await call("/v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal: state.running.signal });
    add(`HTTP ${response.status}${response.headers.get("x-modelserver-upstream") ? `  ${response.headers.get("x-modelserver-upstream")}` : ""}`, response.ok ? "head" : "bad");
    if (response.ok) {
      let data = null;
      for await (const event of events(response)) {
        ({ data } = event);
        add(event.raw, /^\{"error"/.test(data ?? "") ? "bad" : "");
      }
      if (data !== "[DONE]") add(text("brokeOff"), "bad");
    } else add(await response.text(), "bad");
  } catch (error) {
    add(error.name === "AbortError" ? text("stopped") : `${text("networkError")}: ${error.message}`, "bad");
  }
  state.running = null;
  button.textContent = text("heroRun");
}

let container;
function render() {
  const sections = SECTIONS.filter((entry) => !entry.if || server.serves(entry.if));
  const links = sections.map((entry) => h("li", {}, h("a", { href: `#${entry.id}` }, pick(entry.title))));
  const kept = container.querySelector("#hero-wire")?.childElementCount > 1 ? container.querySelector(".wire-box") : null;
  container.replaceChildren(
    hero(),
    h("div", { class: "with-contents" },
      h("nav", { class: "contents", "aria-label": text("contents") },
        h("input", { type: "search", id: "docs-search", placeholder: text("searchDocs"), "aria-label": text("searchDocs"), value: state.words, oninput: (event) => search(event.target.value) }),
        h("ol", {}, links),
        h("p", {}, h("a", { href: `/docs/${document.documentElement.lang}/`, id: "docs-all" }, text("manual")))),
      h("div", { class: "sections" }, sections.map((entry, at) => section(entry, at + 1)), h("p", { class: "empty", id: "docs-none", role: "status", hidden: true }, text("nothingFound")))));
  if (state.words) search(state.words);
  if (kept && state.running === null) container.querySelector(".wire-box").replaceWith(kept);
  spy();
  badge();
}

/** The status badge tells what /healthz says, now. */
async function badge() {
  const node = document.getElementById("badge");
  const label = document.getElementById("badge-text");
  try {
    const response = await fetch("/healthz", { cache: "no-store" });
    const health = await response.json();
    if (!response.ok || health.status !== "ok") throw new Error(health.status);
    const trouble = [health.trouble ?? []].flat().map(String).join(" ");
    node.className = trouble ? "badge ailing" : "badge up";
    const { length } = state.cards;
    const models = length ? ` · ${counted("modelCount", length, compact(length))}` : "";
    label.textContent = `${text("running")} · v${health.version} · ${text("compatible")}${models}${trouble && ` · ${trouble}`}`;
  } catch {
    node.className = "badge down";
    label.textContent = text("down");
  }
}

let observer;
/** Mark in the contents what is being read. */
function spy() {
  observer?.disconnect();
  const links = new Map([...container.querySelectorAll(".contents li a")].map((link) => [link.hash.slice(1), link]));
  observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-18% 0px -81% 0px" });
  for (const node of container.querySelectorAll(".doc")) observer.observe(node);
}

export async function show(node) {
  container = node;
  if (!container.childElementCount) render();
  setInterval(() => !document.hidden && !container.hidden && badge(), 15_000);
  await update();
}

/** The key has changed: so may the models have. */
export async function update() {
  if (!container) return;
  const clients = loadClients().catch(() => null);
  try {
    state.cards = ready() ? await listModels(true) : [];
  } catch {
    state.cards = [];
  }
  await clients;
  if (!state.cards.some((card) => card.id === state.model)) {
    state.model = (state.cards.find((card) => card.id !== "echo" && !embeds(card)) ?? state.cards[0])?.id ?? "echo";
  }
  render();
  if (location.hash.length > 1 && SECTIONS.some((entry) => entry.id === location.hash.slice(1))) {
    document.getElementById(location.hash.slice(1))?.scrollIntoView({ behavior: "instant" });
  }
}

export function translate() {
  if (!container) return;
  render();
  if (!state.clients[document.documentElement.lang]) loadClients().then(render, () => null);
}
export const hasSection = (name) => SECTIONS.some((entry) => entry.id === name);

