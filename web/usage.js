// What this key has used: charts by day and by model, the latest requests, CSV.
import { call, json, ready, server } from "./api.js";
import { compact, dollars, h, heads, locale, number, rich, seconds } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { text } from "./text.js";

const MEASURES = [
  ["requests", (row) => row.requests, compact],
  ["tokens", (row) => row.prompt + row.completion, compact],
  ["costs", (row) => row.cost, dollars],
  ["errors", (row) => row.errors, compact],
];

const NUMBERS = ["requests", "promptTokens", "completionTokens", "costs", "saved", "errors"];
const NAMES = { byDay: "day", byModel: "model", byKey: "keyName" };
const LATEST = 100; // requests listed

const state = { data: null, error: null, days: 30 };
let container;
let asked = 0;

/** A row of sums, or of one request → what is shown of it. cost: US dollars; null where no price is known. */
const row = (raw) => ({ ...raw, prompt: raw.prompt_tokens, completion: raw.completion_tokens, cost: raw.cost_usd, saved: raw.saved_usd });

/** GET /v1/usage as this page wants it. */
function adapted(data) {
  const [days, models, keys, latest] = [data.by_day, data.by_model, data.by_key, data.requests].map((rows) => rows.map(row));
  return { days, models, keys, latest, limits: data.limits };
}

/** What the server's sums count as an error: not a client that left. */
const failed = (each) => each.status !== 499 && (each.status >= 400 || Boolean(each.code));

/** The last days up to today (UTC), those without requests included. */
function filledDays(days, count) {
  const known = new Map(days.map((each) => [each.day, each]));
  return Array.from({ length: count }, (_, at) => {
    const day = new Date(Date.now() - (count - 1 - at) * 86_400_000).toISOString().slice(0, 10);
    return known.get(day) ?? { day, requests: 0, prompt: 0, completion: 0, cost: 0, unpriced_requests: 0, errors: 0 };
  });
}

/** The mark of a sum that leaves out requests whose price is unknown. */
const plus = () => h("abbr", { title: text("unpriced"), "aria-label": text("unpriced"), role: "note", tabindex: "0" }, " +");

/** A sum of costs; where no price was known at all, that. */
const costs = (sum) => (sum.unpriced_requests && sum.unpriced_requests === sum.requests ? text("unknown") : [dollars(sum.cost), sum.unpriced_requests ? plus() : null]);

/** What the upstreams' caches have saved, less what writing to them has cost; empty where they were not used. */
const saving = (each) => (each.saved ? `${each.saved < 0 ? "−" : ""}${dollars(Math.abs(each.saved))}` : "");

const WIDTH = 300;
const HEIGHT = 84;

function chart([name, value, format], days) {
  const values = days.map((day) => value(day) ?? 0);
  const most = Math.max(...values, 0);
  const total = values.reduce((sum, each) => sum + each, 0);
  const step = WIDTH / days.length;
  const unpriced = name === "costs" && days.some((day) => day.unpriced_requests);
  const bars = days.map((day, at) => {
    const height = most ? (values[at] / most) * (HEIGHT - 4) : 0;
    return h("svg:rect", { x: (at * step + step * 0.12).toFixed(2), y: (HEIGHT - Math.max(height, values[at] ? 2 : 0)).toFixed(2), width: (step * 0.76).toFixed(2), height: Math.max(height, values[at] ? 2 : 0).toFixed(2), rx: "1.5" },
      h("svg:title", {}, `${day.day}: ${format(value(day))}`));
  });
  const label = `${text(name)}, ${text("byDay")}: ${format(total)}`;
  return h("figure", { class: `chart ${name}` },
    h("figcaption", {}, h("span", {}, text(name)), h("strong", {}, format(total), unpriced ? plus() : null)),
    h("svg:svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, preserveAspectRatio: "none" },
      h("svg:line", { x1: "0", x2: String(WIDTH), y1: String(HEIGHT - 0.5), y2: String(HEIGHT - 0.5) }), bars),
    h("div", { class: "axis" }, h("span", {}, days[0].day.slice(5)), h("span", {}, days.at(-1).day.slice(5))));
}

/** A table of sums, with the tokens of each as a bar. */
function shares(title, rows, nameOf) {
  const most = Math.max(...rows.map((each) => each.prompt + each.completion), 1);
  return h("div", { class: "scroll shares", tabindex: "0", role: "region", "aria-label": text(title) },
      h("table", {}, heads([NAMES[title], ...NUMBERS, "tokens"], NUMBERS),
        h("tbody", {}, rows.map((each) => {
          const part = ((each.prompt + each.completion) / most) * 100;
          return h("tr", {}, h("th", { scope: "row" }, nameOf(each)), [each.requests, each.prompt, each.completion].map((value) => h("td", { class: "number" }, number(value))),
            h("td", { class: "number" }, costs(each)), h("td", { class: "number" }, saving(each)), h("td", { class: "number" }, number(each.errors)),
            h("td", { class: "share" }, h("svg:svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, h("svg:rect", { width: part.toFixed(1), height: "8", rx: "1" }))));
        }))));
}

const titled = (title, rows, nameOf) => h("section", {}, h("h2", {}, text(title)), shares(title, rows, nameOf));

/** The key's own limits, and how far its budget is spent. */
function limits(given) {
  if (!given) return null;
  const { budget } = given;
  const items = ["rpm", "tpm", "concurrency"].filter((name) => given[name]).map((name) => h("div", {}, h("dt", {}, name), h("dd", {}, number(given[name]))));
  if (budget) {
    items.push(h("div", {}, h("dt", {}, text("budget")), h("dd", {}, `${dollars(budget.spent_usd)} / ${dollars(budget.usd)}`),
      h("meter", { min: "0", max: String(budget.usd), value: String(budget.spent_usd), high: String(budget.usd * 0.9), "aria-label": text("budget") }),
      budget.resets_at ? h("dd", { class: "faint" }, `${text("resets")} ${new Date(budget.resets_at).toLocaleString(locale())}`) : null));
  }
  return items.length ? h("dl", { class: "stats limits" }, items) : null;
}

const CLOCK = { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const timeOf = (each) => new Date(each.time).toLocaleString(locale(), CLOCK);

function latest(rows) {
  return h("section", {}, h("h2", {}, text("latest")),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text("latest") },
      h("table", { class: "latest" }, heads(["time", "keyName", "model", "upstream", "status", "promptTokens", "completionTokens", "costs", "saved", "took"], [...NUMBERS, "took"]),
        h("tbody", {}, rows.map((each) =>
          h("tr", {}, h("td", { class: "when", title: each.time }, timeOf(each)), h("td", {}, each.key), h("td", {}, each.model), h("td", {}, each.upstream),
            h("td", {}, h("span", { class: `state ${failed(each) ? "bad" : each.status === 200 ? "up" : each.status ? "" : "busy"}` }, each.status ? (failed(each) && each.status < 400 ? text("broken") : String(each.status)) : text("runningNow")),
              each.code ? h("div", { class: "faint why" }, each.code) : null),
            h("td", { class: "number" }, number(each.prompt)), h("td", { class: "number" }, number(each.completion)),
            h("td", { class: "number" }, dollars(each.cost), each.estimated ? ` (${text("estimated")})` : ""),
            h("td", { class: "number" }, saving(each)),
            h("td", { class: "number" }, each.total_ms === undefined || each.total_ms === null ? "" : seconds(each.total_ms / 1000))))))));
}

async function download() {
  const response = await call(`/v1/usage?format=csv&days=${state.days}&limit=10000`);
  const url = URL.createObjectURL(await response.blob());
  const link = h("a", { href: url, download: "usage.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function body() {
  if (!server.usage) return h("p", { class: "empty", id: "usage-off" }, rich(text("usageOff")));
  if (!ready()) return h("p", { class: "empty" }, text("keyNeeded"), " ", h("button", { type: "button", onclick: () => dispatchEvent(new Event("ask-key")) }, text("key")));
  if (state.error) return failure(failureOf(state.error), update);
  if (!state.data) return h("p", { class: "empty" }, "…");
  const { days, models, keys, latest: rows } = state.data;
  if (!days.length && !rows.length) return h("p", { class: "empty" }, text("nothingYet"));
  const shown = filledDays(days, state.days);
  return [
    limits(state.data.limits),
    h("div", { class: "charts" }, MEASURES.map((measure) => chart(measure, shown))),
    // What the bars tell to the eye, and to a pointer that rests on one, in words.
    days.length ? h("details", { id: "usage-days" }, h("summary", {}, text("byDay")), shares("byDay", days, (each) => each.day)) : null,
    models.length ? titled("byModel", models, (each) => each.model) : null,
    keys.length > 1 ? titled("byKey", keys, (each) => each.key) : null,
    rows.length ? latest(rows) : null,
  ].filter(Boolean);
}

function render() {
  const span = h("select", { "aria-label": text("byDay"), onchange: (event) => { state.days = Number(event.target.value); update(); } },
    [7, 30, 90].map((count) => h("option", { value: String(count) }, `${count} ${text("days")}`)));
  span.value = String(state.days);
  const controls = server.usage
    ? h("div", { class: "row" }, span, h("button", { type: "button", class: "quiet", onclick: update }, text("refresh")), h("button", { type: "button", class: "quiet", id: "usage-csv", onclick: download }, text("csv")))
    : null;
  container.replaceChildren(h("div", { class: "head" }, h("h1", {}, text("usage")), controls), h("p", { class: "lead" }, rich(text("usageText"))), h("div", { id: "usage-body" }, body()));
}

export async function update() {
  if (!container) return;
  const mine = ++asked;
  let [data, wrong] = [null, null];
  if (server.usage && ready()) {
    try {
      data = adapted(await json(`/v1/usage?days=${state.days}&limit=${LATEST}`));
    } catch (error) {
      wrong = error;
    }
  }
  if (mine !== asked) return; // something newer has been asked for
  Object.assign(state, { data, error: wrong });
  render();
}

export async function show(node) {
  container = node;
  render();
  await update();
}

export const resume = update;
export const translate = () => container && render();
