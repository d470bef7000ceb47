// The inspector: what really went over the wires, exchange by exchange.
import { call, json, ready, server } from "./api.js";
import { colored, copy, h, locale, number, pretty, rich, seconds, toast } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { asCurl } from "./snippets.js";
import { text } from "./text.js";

const PERIOD = 1500; // ms between looks, while somebody looks
const SHOWN = 100_000; // characters of one body that are drawn

// wanted: what the list is narrowed to. words: in the name of the model or of the key; kind: "", "bad" or "busy"; api: a dialect.
const state = { list: null, error: null, chosen: null, exchange: null, lost: null, live: true, wanted: { words: "", kind: "", api: "" } };
let container;
let looking;

async function look() {
  if (!server.inspector || !ready()) return;
  try {
    const before = JSON.stringify(state.list);
    state.list = await json("/inspector/exchanges");
    state.error = null;
    if (JSON.stringify(state.list) !== before) drawList();
    const chosen = state.list.data.find((each) => each.serial === state.chosen);
    if (chosen && (state.exchange?.running || state.exchange?.serial !== state.chosen)) await open(state.chosen);
  } catch (error) {
    state.error = error;
    render();
  }
}

async function open(serial) {
  state.chosen = serial;
  drawList();
  const [exchange, lost] = await json(`/inspector/exchanges/${serial}`).then((found) => [found, null], (error) => [null, error]);
  if (state.chosen !== serial) return; // another has been chosen since
  Object.assign(state, { exchange, lost });
  drawExchange();
}

/** Give an exchange the address of the page: it can be kept, sent and gone back to. */
const goTo = (serial) => (location.hash = `#inspector/${serial}`);

const kindOf = (each) => (each.running ? "busy" : each.status >= 400 || each.code ? "bad" : "up");

/** The exchanges that are wanted. */
const wanted = () => state.list.data.filter((each) => {
  const { words, kind, api } = state.wanted;
  return (!kind || kindOf(each) === kind) && (!api || each.api === api) && `${each.model ?? ""} ${each.key ?? ""} ${each.path}`.toLowerCase().includes(words.toLowerCase());
});

function filters() {
  const { wanted: now } = state;
  const choice = (name, label, options) => {
    const select = h("select", { id: `exchanges-${name}`, "aria-label": text(label), onchange: (event) => { now[name] = event.target.value; drawList(); } }, options.map(([value, shown]) => h("option", { value }, shown)));
    select.value = now[name];
    return select;
  };
  return h("div", { class: "filters" },
    h("input", { type: "search", id: "exchanges-words", placeholder: text("filterExchanges"), "aria-label": text("filterExchanges"), value: now.words, oninput: (event) => { now.words = event.target.value; drawList(); } }),
    choice("kind", "status", [["", text("allStates")], ["bad", text("errors")], ["busy", text("runningNow")]]),
    choice("api", "dialect", [["", text("allDialects")], ...apis().map((name) => [name, name])]));
}

/** The APIs to choose from: the usual ones, and those that were called. */
const apis = () => [...new Set(["chat/completions", "messages", "responses", "embeddings", ...(state.list?.data ?? []).map((each) => each.api), state.wanted.api])].filter(Boolean);

const line = (each) => [new Date(each.at * 1000).toLocaleTimeString(locale(), { hourCycle: "h23" }), each.took === null ? "" : seconds(each.took),
  each.stream ? text("streamed") : "", each.key, each.attempts > 1 ? `${each.attempts}×` : "", each.code].filter(Boolean).join(" · ");

function drawList() {
  const box = container.querySelector("#exchanges");
  if (!box || !state.list) return;
  const { data } = state.list;
  const offered = container.querySelector("#exchanges-api");
  const missing = apis().filter((name) => ![...offered.options].some((each) => each.value === name));
  offered.append(...missing.map((name) => h("option", { value: name }, name)));
  const shown = wanted();
  box.replaceChildren(...(shown.length ? shown.map((each) =>
    h("li", {}, h("button", { type: "button", class: each.serial === state.chosen ? "chosen" : "", "aria-pressed": String(each.serial === state.chosen), onclick: () => goTo(each.serial) },
      h("span", { class: `state ${kindOf(each)}` }, each.running ? text("runningNow") : statusOf(each)),
      h("span", { class: "what" }, each.model ? (each.api === "chat/completions" ? each.model : `${each.model} · ${each.api}`) : each.path),
      h("span", { class: "faint" }, line(each))))) : [h("li", { class: "empty" }, text(data.length ? "noExchanges" : "inspectorEmpty"))]));
  const weight = container.querySelector("#weight");
  if (weight) weight.textContent = `${number(data.length)} / ${number(state.list.limits.exchanges)} · ${number(state.list.bytes / 1024)} KiB`;
}

/** A stream that broke off began with 200: that is not what is said of it. */
const statusOf = ({ status, code, failure }) => (status < 400 && (code || failure) ? text("broken") : String(status));

function parse(source) {
  try {
    return JSON.parse(source);
  } catch {
    return undefined;
  }
}

/** Top-level differences between what the client sent and what went upstream. */
function changes(before, after) {
  if (!before || !after) return null;
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) => {
    const [was, is] = [before[name], after[name]].map((value) => (value === undefined ? undefined : JSON.stringify(value)));
    if (was === is) return [];
    return [{ name, was, is }];
  });
}

const brief = (value) => (value.length > 300 ? `${value.slice(0, 300)}…` : value);

function drawChanges(attempt, body) {
  const list = changes(body, parse(attempt.body));
  if (!list) return null;
  return h("section", {}, h("h4", {}, text("mapped")),
    list.length || attempt.dropped.length
      ? h("ul", { class: "diff" }, list.map(({ name, was, is }) =>
          h("li", {}, h("code", { class: "name" }, name), was !== undefined ? h("del", {}, brief(was)) : null, is !== undefined ? h("ins", {}, brief(is)) : null)),
          attempt.dropped.map((name) => h("li", {}, h("span", { class: "chip warning" }, text("dropped")), " ", h("code", {}, name))))
      : h("p", { class: "faint" }, text("unchanged")));
}

const headerLines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join("\n");
const block = (title, content, language) => h("details", {}, h("summary", {}, title), h("pre", { tabindex: "0" }, language ? colored(content, language) : content));

/** code: of the exchange, for the attempt whose answer the client got. */
function drawAttempt(attempt, at, body, code) {
  const bad = attempt.failure || attempt.status >= 400 || code;
  return h("section", { class: `attempt ${bad ? "bad" : ""}` },
    h("h3", {}, `${text("attempt")} ${at + 1} · `, h("code", {}, attempt.upstream), " ",
      attempt.status ? h("span", { class: `state ${bad ? "bad" : "up"}` }, statusOf({ ...attempt, code })) : h("span", { class: "state bad" }, text(attempt.url ? "networkError" : "refusedBefore")),
      attempt.head === null ? null : h("span", { class: "faint" }, ` ${text("sentAt")} ${seconds(attempt.sent)} · ${text("answeredAt")} ${seconds(attempt.head)}`)),
    attempt.failure ? h("pre", { class: "failure" }, JSON.stringify(attempt.failure, null, 2)) : null,
    drawChanges(attempt, body),
    attempt.url ? block(text("upstreamRequest"), `POST ${attempt.url}\n${headerLines(attempt.headers)}`) : null,
    attempt.hub ? block(text("hubBody"), pretty(attempt.hub).slice(0, SHOWN), "json") : null,
    attempt.body ? block(text("upstreamBody"), pretty(attempt.body).slice(0, SHOWN), "json") : null,
    Object.keys(attempt.answer).length ? block(text("upstreamHeaders"), headerLines(attempt.answer)) : null);
}

/** Reads and writes of one exchange in the order they happened: upstream on the left, the client on the right. */
function timeline(exchange) {
  const rows = [
    ...exchange.attempts.flatMap((attempt) => attempt.reads.map((read) => ({ ...read, side: "up" }))),
    ...exchange.response.writes.map((write) => ({ ...write, side: "down" })),
  ].sort((one, other) => one.at - other.at || (one.side === "up" ? -1 : 1));
  return h("section", {}, h("h3", {}, text("timeline")),
    h("div", { class: "timeline", tabindex: "0", role: "region", "aria-label": text("timeline") },
      h("div", { class: "heads" }, h("span", {}), h("span", {}, text("fromUpstream")), h("span", {}, text("toClient"))),
      rows.slice(0, 2000).map((each) => h("div", { class: each.side }, h("time", {}, seconds(each.at)), h("pre", {}, each.data.slice(0, 20_000).trimEnd())))));
}

function drawExchange() {
  const box = container.querySelector("#exchange");
  const exchange = state.exchange;
  if (!box) return undefined;
  if (state.lost) return box.replaceChildren(failure(failureOf(state.lost)));
  if (!exchange) return box.replaceChildren(h("p", { class: "empty" }, text("choose")));
  const body = parse(exchange.request.body);
  const chat = body && exchange.path.endsWith("/chat/completions");
  const facts = [["status", exchange.running ? text("runningNow") : exchange.status], ["total", exchange.took === null ? "" : seconds(exchange.took)],
    ["ttft", exchange.first === null ? "" : seconds(exchange.first)], ["upstream", exchange.upstream], ["keyName", exchange.key],
    ["tokensIn", exchange.prompt], ["tokensOut", exchange.completion], ["code", exchange.code]];
  return box.replaceChildren(
    h("div", { class: "head" }, h("h2", {}, `${exchange.method} ${exchange.path}`),
      h("div", { class: "row wrap" },
        body ? h("button", { type: "button", class: "small", onclick: (event) => copy(asCurl(body, exchange.path), event.currentTarget) }, text("asCurl")) : null,
        chat ? h("button", { type: "button", class: "small", onclick: () => { dispatchEvent(new CustomEvent("try-request", { detail: body })); location.hash = "#playground"; } }, text("openPlay")) : null,
        body ? h("button", { type: "button", class: "small primary", id: "replay", onclick: () => replay(exchange) }, text("replay")) : null)),
    h("dl", { class: "stats" }, facts.filter(([, value]) => value !== "" && value !== null && value !== undefined).map(([name, value]) => h("div", {}, h("dt", {}, text(name)), h("dd", {}, String(value))))),
    exchange.cut ? h("p", { class: "wrong" }, text("cut")) : "",
    block(text("clientRequest"), `${exchange.method} ${exchange.path}\n${headerLines(exchange.request.headers)}`),
    exchange.request.body ? block(text("clientBody"), pretty(exchange.request.body).slice(0, SHOWN), "json") : "",
    ...exchange.attempts.map((attempt, at) => drawAttempt(attempt, at, body, at === exchange.attempts.length - 1 ? exchange.code : "")),
    Object.keys(exchange.response.headers).length ? block(text("clientHeaders"), headerLines(exchange.response.headers)) : "",
    timeline(exchange));
}

/** Send the same body again, with this page's key. The answer is looked at here like any other. */
async function replay(exchange) {
  let id;
  try {
    const response = await call(exchange.path, { method: "POST", body: exchange.request.body });
    id = response.headers.get("x-request-id");
    await response.text();
  } catch (error) {
    toast(`${text("networkError")}: ${error.message}`); // an answer that broke off is one to look at, too
  }
  await look();
  const found = state.list?.data.find((each) => each.id === id);
  if (found) goTo(found.serial);
}

async function clear() {
  await call("/inspector/exchanges", { method: "DELETE" });
  Object.assign(state, { chosen: null, exchange: null, lost: null });
  history.replaceState(null, "", "#inspector");
  await look();
  drawExchange();
}

function render() {
  const head = h("div", { class: "head" }, h("h1", {}, text("inspector")));
  const lead = h("p", { class: "lead" }, rich(text("inspectorText")));
  if (!server.inspector) {
    container.replaceChildren(head, lead, h("div", { class: "empty", id: "inspector-off" }, h("p", {}, text("inspectorOff")), h("pre", {}, "inspector: {enabled: true}")));
    return;
  }
  if (state.error && ready() && state.error.status !== 403) {
    container.replaceChildren(head, lead, failure(failureOf(state.error), update));
    return;
  }
  if (state.error || !ready()) {
    container.replaceChildren(head, lead, h("p", { class: "empty" }, state.error ? rich(text("inspectorAdmin")) : text("keyNeeded"), " ", h("button", { type: "button", onclick: () => dispatchEvent(new Event("ask-key")) }, text("key"))));
    return;
  }
  head.append(h("div", { class: "row" },
    h("span", { class: "faint", id: "weight" }),
    h("label", { class: "inline" }, h("input", { type: "checkbox", checked: state.live, onchange: (event) => (state.live = event.target.checked) }), text("live")),
    h("button", { type: "button", class: "quiet", onclick: look }, text("refresh")),
    h("button", { type: "button", class: "quiet", id: "inspector-clear", onclick: clear }, text("clear"))));
  container.replaceChildren(head, lead, h("div", { class: "inspect" }, h("div", { class: "found" }, filters(), h("ol", { id: "exchanges", "aria-label": text("latest") })), h("div", { id: "exchange" })));
  if (state.list) drawList();
  drawExchange();
}

export async function update() {
  state.error = null;
  if (container) render();
  await resume();
}

/** Open the exchange of an address; without one, and where none is open, the newest. */
async function choose(serial) {
  if (/^\d+$/.test(serial ?? "")) return open(Number(serial));
  const [newest] = state.list?.data ?? [];
  return newest && state.chosen === null ? open(newest.serial) : undefined;
}

export async function show(node, serial) {
  container = node;
  render();
  await resume(serial);
  looking ??= setInterval(() => state.live && !document.hidden && !container.hidden && !state.error && look(), PERIOD);
}

export async function resume(serial) {
  await look();
  if (server.inspector && ready() && !state.error) await choose(serial);
}

export const translate = () => container && render();
