// What this key has used: one chart of one measure, in layers by model or key; sums, the latest requests, CSV.
import { call, json, key, ready, server } from "./api.js";
import { h, locale, meter, number, rich } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { digitsFor, dollarsWith } from "./money.js";
import { folded } from "./tables.js";
import { text } from "./text.js";
import { bucketOf, dated, drawn, points, sum, tiles, took } from "./trend.js";

const LATEST = 200; // requests listed
const PERIODS = [1, 7, 30, 90, 365]; // days
const HOURLY = 7; // days, at most, that are shown by hours
const STATUS = ["ok", "error", "left", "running"];

const state = { data: null, error: null, days: 30, hourly: false, measure: "requests", by: "model", wanted: { model: "", key: "", status: "" } };
const names = { model: new Set(), key: new Set() }; // seen so far, to choose from
let owner = null; // the key that these names are of
let container;
let asked = 0;

/** The mark of a sum that leaves out requests whose price is unknown. */
const plus = () => h("abbr", { title: text("unpriced"), "aria-label": text("unpriced"), role: "note", tabindex: "0" }, " +");

/** A sum of costs; where no price was known at all, that. */
const costs = (row, write) => (row.unpriced_requests && row.unpriced_requests === row.requests ? text("unknown") : [write(row.cost_usd), row.unpriced_requests ? plus() : null]);

/** What the upstreams' caches have saved, less what writing to them has cost; empty where they were not used. */
const saving = (amount, write) => (amount ? write(amount) : "");

/** A table of sums by day, hour, model or key. times: rows of percentiles by the same name, if there are any. */
function sums(name, by, rows, times = []) {
  const write = dollarsWith(state.digits);
  const known = new Map(times.map((row) => [row[by], row]));
  const all = Object.fromEntries(["requests", "unpriced_requests", "cost_usd", "saved_usd"].map((field) => [field, sum(rows, (row) => row[field])]));
  const counted = (column, of) => [column, (row) => number(of(row)), { number: true, sum: number(sum(rows, of)) }];
  const percentiles = (column, which) => [column, (row) => {
    const found = known.get(row[by]);
    return found ? `${took(found[`${which}_p50_ms`])} / ${took(found[`${which}_p95_ms`])}` : "";
  }, { number: true, half: true }];
  return folded(`sums-${by}`, text(name), [
    [by === "key" ? "keyName" : by, (row) => (by === "hour" ? h("span", { class: "nobr" }, dated(state.data, row.hour)) : row[by])],
    counted("requests", (row) => row.requests),
    counted("promptTokens", (row) => row.prompt_tokens),
    counted("completionTokens", (row) => row.completion_tokens),
    ["costs", (row) => costs(row, write), { number: true, sum: costs(all, write) }],
    ["saved", (row) => saving(row.saved_usd, write), { number: true, sum: saving(all.saved_usd, write) }],
    counted("errors", (row) => row.errors),
    ...(times.length ? [percentiles("firstTokenTimes", "first"), percentiles("totalTimes", "total")] : []),
  ], rows);
}

const titled = (title, table) => h("section", {}, h("h2", {}, text(title)), table);

/** The key's own limits, and how far its budget is spent. */
function limits(given) {
  if (!given) return null;
  const { budget } = given;
  const items = ["rpm", "tpm", "concurrency"].filter((name) => given[name]).map((name) => h("div", {}, h("dt", {}, name), h("dd", {}, number(given[name]))));
  if (budget) {
    const write = dollarsWith(2);
    items.push(h("div", {}, h("dt", {}, text("budget")), h("dd", {}, `${write(budget.spent_usd)} / ${write(budget.usd)}`),
      h("dd", {}, meter(budget.spent_usd, budget.usd, text("budget"))),
      budget.resets_at ? h("dd", { class: "faint" }, `${text("resets")} ${new Date(budget.resets_at).toLocaleString(locale())}`) : null));
  }
  return items.length ? h("dl", { class: "stats limits" }, items) : null;
}

/** What the server's sums count as an error: not a client that left. */
const failed = (each) => each.status !== 499 && (each.status >= 400 || Boolean(each.code));

const CLOCK = { month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

function statusOf(each) {
  const kind = failed(each) ? "bad" : each.status === 200 ? "up" : each.status ? "" : "busy";
  const shown = !each.status ? text("runningNow") : failed(each) && each.status < 400 ? text("broken") : String(each.status);
  return [h("span", { class: `state ${kind}` }, shown), each.code ? h("div", { class: "faint why" }, each.code) : null];
}

function latest(rows) {
  const write = dollarsWith(digitsFor(rows.flatMap((row) => [row.cost_usd, row.saved_usd])));
  const counted = (column, of) => [column, (row) => number(of(row)), { number: true, half: true, sum: number(sum(rows, of)) }];
  const table = folded("latest", text("latest"), [
    ["time", (row) => h("span", { class: "when", title: row.time }, new Date(row.time).toLocaleString(locale(), CLOCK))],
    ["keyName", (row) => row.key, { half: true }],
    ["model", (row) => row.model, { half: true }],
    ["upstream", (row) => row.upstream, { half: true }],
    ["status", statusOf, { half: true }],
    counted("promptTokens", (row) => row.prompt_tokens),
    counted("completionTokens", (row) => row.completion_tokens),
    ["costs", (row) => [write(row.cost_usd), row.estimated ? ` (${text("estimated")})` : ""], { number: true, half: true, sum: write(sum(rows, (row) => row.cost_usd)) }],
    ["saved", (row) => saving(row.saved_usd, write), { number: true, half: true, sum: saving(sum(rows, (row) => row.saved_usd), write) }],
    ["took", (row) => (row.total_ms === undefined || row.total_ms === null ? "" : took(row.total_ms)), { number: true, half: true }],
  ], rows);
  return h("section", {}, h("div", { class: "head" }, h("h2", {}, text("latest")), choice("status", "status", "allStates", STATUS.map((each) => [each, text(`status_${each}`)]))),
    rows.length ? table : h("p", { class: "empty" }, text("nothingHere")));
}

/** A choice of what is asked for. */
function choice(name, label, all, options) {
  const select = h("select", { id: `usage-${name}`, "aria-label": text(label), onchange: (event) => { state.wanted[name] = event.target.value; update(); } },
    [["", text(all)], ...options].map(([value, shown]) => h("option", { value }, shown)));
  select.value = state.wanted[name];
  return select;
}

/** The question of this view. */
const byHours = () => state.days === 1 || (state.hourly && state.days <= HOURLY);
const query = (more) => new URLSearchParams({ days: state.days, ...(byHours() ? { bucket: "hour" } : {}), ...Object.fromEntries(Object.entries(state.wanted).filter(([, value]) => value)), ...more });

async function download() {
  const response = await call(`/v1/usage?${query({ format: "csv", limit: 10_000 })}`);
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
  const { data } = state;
  const [bucket, title] = bucketOf(data) === "hour" ? ["hour", "byHour"] : ["day", "byDay"];
  if (!points(data).length && !data.requests.length && !Object.values(state.wanted).some(Boolean)) return h("p", { class: "empty" }, text("nothingYet"), " ", h("a", { href: "#playground" }, text("playground")));
  return [
    limits(data.limits),
    tiles(state, (measure) => { state.measure = measure; render(); }),
    drawn({ ...state, keys: names.key.size, hourly: state.days > 1 && state.days <= HOURLY ? state.hourly : null },
      (by) => { state.by = by; update(); }, (hourly) => { state.hourly = hourly; update(); }),
    // What the chart tells to the eye, in words.
    points(data).length ? h("details", { id: "usage-days" }, h("summary", {}, text(title)), sums(title, bucket, points(data), data[`times_by_${bucket}`])) : null,
    data.by_model.length ? titled("byModel", sums("byModel", "model", data.by_model, data.times_by_model)) : null,
    data.by_key.length > 1 ? titled("byKey", sums("byKey", "key", data.by_key, data.times_by_key)) : null,
    latest(data.requests),
  ].filter(Boolean);
}

function controls() {
  const span = h("select", { id: "usage-days-shown", "aria-label": text("period"), onchange: (event) => { state.days = Number(event.target.value); update(); } },
    PERIODS.map((count) => h("option", { value: String(count) }, count > 1 ? `${count} ${text("days")}` : `24 ${text("hours")}`)));
  span.value = String(state.days);
  const known = (name) => [...names[name]].sort().map((each) => [each, each]);
  return h("div", { class: "row wrap" }, span, choice("model", "model", "allModels", known("model")),
    names.key.size > 1 ? choice("key", "keyName", "allKeys", known("key")) : null,
    h("button", { type: "button", class: "quiet", id: "usage-refresh", onclick: update }, text("refresh")),
    h("button", { type: "button", class: "quiet", id: "usage-csv", onclick: download }, text("csv")));
}

function render() {
  const focused = container.contains(document.activeElement) ? document.activeElement.id : "";
  const open = container.querySelector("#usage-days")?.open;
  container.replaceChildren(h("div", { class: "head" }, h("h1", {}, text("usage")), server.usage && ready() ? controls() : ""),
    h("p", { class: "lead" }, rich(text("usageText"))), h("div", { id: "usage-body" }, body()));
  if (open) container.querySelector("#usage-days")?.setAttribute("open", "");
  if (focused) document.getElementById(focused)?.focus();
}

export async function update() {
  if (!container) return;
  if (key.value !== owner) {
    owner = key.value;
    for (const some of Object.values(names)) some.clear();
    Object.assign(state, { by: "model", wanted: { model: "", key: "", status: "" } });
  }
  const mine = ++asked;
  let [data, wrong] = [null, null];
  if (server.usage && ready()) {
    try {
      data = await json(`/v1/usage?${query({ limit: LATEST, series: state.by })}`);
    } catch (error) {
      wrong = error;
    }
  }
  if (mine !== asked) return; // something newer has been asked for
  if (data) {
    for (const name of ["model", "key"]) for (const row of data[`by_${name}`]) names[name].add(row[name]);
    state.digits = digitsFor([data.by_model, data.by_key, points(data)].flat().flatMap((row) => [row.cost_usd, row.saved_usd]));
  }
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
