// The chart of usage: tiles of what is measured, and the measure that is chosen, by days or hours, in layers by model or key.
import { chart } from "./chart.js";
import { compact, h, locale, number, seconds } from "./dom.js";
import { digitsFor, dollarsWith } from "./money.js";
import { text } from "./text.js";

const LAYERS = 6; // names that have a layer of their own

const tokens = (row) => row.prompt_tokens + row.completion_tokens;
export const took = (ms) => seconds(ms / 1000);
// of: a row of sums → its value. times: what the percentiles of the answers are of, in place of sums.
export const MEASURES = {
  requests: { of: (row) => row.requests, whole: true },
  tokens: { of: tokens, whole: true },
  costs: { of: (row) => row.cost_usd, money: true },
  saved: { of: (row) => row.saved_usd ?? 0, money: true },
  errors: { of: (row) => row.errors, whole: true },
  firstToken: { times: "first" },
  totalTime: { times: "total" },
};

const slots = new Map(); // name → its colour, so that it keeps it from one measure to the next

export const sum = (rows, of) => rows.reduce((all, row) => all + (of(row) ?? 0), 0);

// What a report may be summed up by: how the server writes it, and how it is shown. Days are by UTC, hours as the visitor's clock.
const NAMED = 7; // days that are named below a chart, at most
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const BUCKETS = {
  day: {
    step: 86_400_000, page: 7, write: (date) => date.toISOString().slice(0, 10),
    name: (date, left, count) => (left % Math.ceil(count / NAMED) ? null : date.toLocaleDateString(locale(), { month: "numeric", day: "numeric", timeZone: "UTC" })),
    whole: (date) => date.toLocaleDateString(locale(), { weekday: "short", year: "numeric", month: "short", day: "numeric", timeZone: "UTC" }),
    last: (count) => text("lastDays").replace("{}", count),
  },
  hour: {
    step: 3_600_000, page: 24, write: (date) => `${date.toISOString().slice(0, 16)}Z`,
    name: (date, left, count) => {
      if (count > 24) return date.getHours() ? null : date.toLocaleDateString(locale(), { month: "numeric", day: "numeric" });
      return date.getHours() % 4 ? null : date.toLocaleTimeString(locale(), CLOCK);
    },
    whole: (date) => date.toLocaleString(locale(), { weekday: "short", month: "short", day: "numeric", ...CLOCK }),
    last: (count) => (count > 24 ? text("lastDays").replace("{}", count / 24) : text("lastHours").replace("{}", count)),
  },
};

export const bucketOf = (data) => (data.by_hour ? "hour" : "day");

/** The sums of a report's days, or of its hours. */
export const points = (data) => data[`by_${bucketOf(data)}`];

/** A day or an hour of a report, in words. */
export const dated = (data, point) => BUCKETS[bucketOf(data)].whole(new Date(point));

/** All days or hours of a report, also those with nothing; and those of the period before. */
function spanOf(data) {
  const { step, write } = BUCKETS[bucketOf(data)];
  const [from, to] = [Date.parse(data.from), Date.parse(data.to)];
  const count = Math.round((to - from) / step) + 1;
  const since = (start) => Array.from({ length: count }, (_, at) => write(new Date(start + at * step)));
  return [since(from), since(from - count * step)];
}

/** What stands in the rows for each day or hour. */
const spread = (rows, name, span, of) => {
  const known = new Map(rows.map((row) => [row[name], of(row)]));
  return span.map((each) => known.get(each));
};

/** What writes an amount of this measure. digits: of money. */
function writer(measure, digits) {
  if (MEASURES[measure].times) return (ms) => (ms === null || ms === undefined ? "–" : took(ms));
  return MEASURES[measure].money ? dollarsWith(digits) : compact;
}

/** What writes the marks of an axis. */
const axis = (measure) => (marks) => {
  const write = MEASURES[measure].money ? dollarsWith(digitsFor(marks, 1)) : writer(measure);
  return (mark) => (mark || MEASURES[measure].money ? write(mark) : "0");
};

/** The layers of the chart, the largest first: [{name, slot, values}]. name null: all others. */
function layersOf({ data, measure, by }, span) {
  const bucket = bucketOf(data);
  const { of, times } = MEASURES[measure];
  if (times) {
    return ["p50", "p95"].map((name) => ({ name, slot: name, values: spread(data[`times_by_${bucket}`], bucket, span, (row) => row[`${times}_${name}_ms`]).map((value) => value ?? null) }));
  }
  const totals = new Map();
  for (const row of data.series) if (row[by] !== null) totals.set(row[by], (totals.get(row[by]) ?? 0) + (of(row) ?? 0));
  const shown = [...totals].filter(([, total]) => total).sort(([, one], [, other]) => Math.abs(other) - Math.abs(one)).slice(0, LAYERS).map(([name]) => name);
  colour(shown);
  const values = (name) => spread(data.series.filter((row) => row[by] === name), bucket, span, of);
  const others = span.map(() => 0);
  const places = new Map(span.map((each, at) => [each, at]));
  for (const row of data.series) if (!shown.includes(row[by]) && places.has(row[bucket])) others[places.get(row[bucket])] += of(row) ?? 0;
  return [...shown.map((name) => ({ name, slot: `slot${slots.get(name)}`, values: values(name) })),
    ...(others.some(Boolean) ? [{ name: null, slot: "rest", values: others }] : [])];
}

/** Give each of these names a colour that none of the others has: its own of before, if that is free. */
function colour(shown) {
  const free = new Set(Array.from({ length: LAYERS }, (_, slot) => slot));
  const kept = shown.filter((name) => free.delete(slots.get(name)));
  for (const name of shown) {
    if (kept.includes(name)) continue;
    const [slot] = free;
    free.delete(slot);
    slots.set(name, slot);
  }
}

/** By how much the period differs from the one before, and what that had; "" where it had nothing. */
function change(now, before, write) {
  if (!before) return "";
  const percent = Math.round(((now - before) / Math.abs(before)) * 100);
  return text("against").replace("{change}", `${percent < 0 ? "−" : percent ? "+" : "±"}${number(Math.abs(percent))} %`).replace("{before}", () => write(before));
}

/** Whether of no request that these sums hold the price was known. */
const unpriced = (rows) => sum(rows, (row) => row.requests) > 0 && rows.every((row) => row.unpriced_requests === row.requests);

/** What was spent in all: the price of some, or of all, may not be known. */
function spent(rows, write) {
  if (unpriced(rows)) return text("unknown");
  return write(sum(rows, MEASURES.costs.of)) + (rows.some((row) => row.unpriced_requests) ? " +" : "");
}

/** A button for each measure: its total, and how that differs from the period before. choose: shows its chart. */
export function tiles({ data, measure }, choose) {
  return h("div", { class: "tiles", role: "group", "aria-label": text("measure") }, Object.entries(MEASURES).map(([name, { of, times }]) => {
    const [now, before] = times ? [] : [sum(points(data), of), sum(data.previous, of)];
    const write = writer(name, digitsFor([now, before]));
    const [all] = data.times;
    const [total, beside] = times
      ? [write(all?.[`${times}_p50_ms`]), `p95 ${write(all?.[`${times}_p95_ms`])}`]
      : [name === "costs" ? spent(points(data), write) : write(now), change(now, before, write)];
    return h("button", { type: "button", class: "tile", id: `measure-${name}`, "aria-pressed": String(name === measure), onclick: () => choose(name) },
      h("span", {}, text(name), times ? " p50" : ""), h("strong", {}, total),
      h("small", {}, beside));
  }));
}

/** Buttons of which one is pressed. choose: called with the name of another. */
const choices = (label, chosen, all, choose) => h("div", { class: "tabs", role: "group", "aria-label": text(`${label}By`) },
  all.map(([name, shown]) => h("button", { type: "button", id: `${label}-${name}`, "aria-pressed": String(name === chosen), onclick: () => choose(name) }, text(shown))));

/**
 * The chart of the chosen measure, and beside it what its layers are and hold: the whole period, or what is looked at.
 * view: {data, measure, by, digits, keys: how many there are, hourly: whether a choice of days or hours is to be shown}.
 * stack: draws the layers by another name. divide: by hours, or not.
 */
export function drawn(view, stack, divide) {
  const { data, measure } = view;
  const { of, times, whole } = MEASURES[measure];
  const bucket = bucketOf(data);
  const { page, name: named, last } = BUCKETS[bucket];
  const [span, earlier] = spanOf(data);
  const layers = layersOf(view, span);
  const before = times ? null : spread(data.previous, bucket, earlier, of).map((value) => value ?? 0);
  const write = writer(measure, view.digits);
  const [all] = data.times;
  const legend = h("div", { class: "legend" });
  const entry = (slot, name, value) => h("li", {}, h("span", { class: `swatch ${slot}` }), h("span", { class: "name" }, name), h("span", { class: "amount" }, value));
  const valueOf = (layer, at) => (at !== null ? layer.values[at] : times ? all?.[`${times}_${layer.name}_ms`] : layer.values.reduce((one, other) => one + (other ?? 0), 0)) ?? (times ? null : 0);
  const tell = (at) => {
    const heading = at === null ? last(span.length) : dated(data, span[at]);
    const looked = at === null ? points(data) : points(data).filter((row) => row[bucket] === span[at]);
    const total = times ? null : measure === "costs" && unpriced(looked) ? text("unknown") : write(layers.reduce((sum, layer) => sum + valueOf(layer, at), 0));
    const previous = before && (at === null ? before.reduce((one, other) => one + other, 0) : before[at]);
    const rows = layers.map((layer) => [layer.slot, layer.name ?? text("others"), write(valueOf(layer, at))]);
    legend.replaceChildren(
      h("p", { class: "faint" }, heading), total === null ? "" : h("strong", {}, total),
      h("ol", {}, rows.map((row) => entry(...row)), before && sum(data.previous, of) ? entry("before", text("previous"), write(previous)) : null));
    return `${heading}: ${[total, ...rows.map(([, name, value]) => `${name} ${value}`)].filter(Boolean).join(", ")}`;
  };
  const empty = !layers.some(({ values }) => values.some(Boolean)) && !(measure === "costs" && unpriced(points(data)));
  return h("figure", { class: "chart", id: "usage-chart" },
    h("figcaption", {}, h("h2", {}, text(measure)),
      h("div", { class: "row wrap" },
        view.hourly === null ? null : choices("points", bucket, [["day", "byDay"], ["hour", "byHour"]], (each) => divide(each === "hour")),
        view.keys > 1 && !times ? choices("stack", view.by, [["model", "byModel"], ["key", "byKey"]], stack) : null)),
    h("div", { class: "drawn" },
      chart({
        names: span.map((each, at) => named(new Date(each), span.length - 1 - at, span.length)), page, layers, before, lines: Boolean(times), whole,
        axis: axis(measure), label: `${text(measure)}, ${text(bucket === "hour" ? "byHour" : "byDay")}`, tell,
      }), legend),
    empty ? h("p", { class: "faint" }, text("noneOfIt")) : null,
    measure === "costs" && points(data).some((row) => row.unpriced_requests) ? h("p", { class: "faint" }, `+ ${text("unpriced")}`) : null,
    times ? h("p", { class: "faint" }, text("timesText")) : null);
}

