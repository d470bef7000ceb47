// The chart of usage: tiles of what is measured, and the measure that is chosen, day by day, in layers by model or key.
import { chart } from "./chart.js";
import { compact, h, locale, number, seconds } from "./dom.js";
import { digitsFor, dollarsWith } from "./money.js";
import { text } from "./text.js";

const DAY = 86_400_000; // ms
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

/** The last days up to a day, and what stands in the rows for each of them. */
const daysUntil = (last, count) => Array.from({ length: count }, (_, at) => new Date(Date.parse(last) - (count - 1 - at) * DAY).toISOString().slice(0, 10));
const spread = (rows, days, of) => {
  const known = new Map(rows.map((row) => [row.day, of(row)]));
  return days.map((day) => known.get(day));
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
function layersOf({ data, measure, by }, days) {
  const { of, times } = MEASURES[measure];
  if (times) {
    return ["p50", "p95"].map((name) => ({ name, slot: name, values: spread(data.times_by_day, days, (row) => row[`${times}_${name}_ms`]).map((value) => value ?? null) }));
  }
  const totals = new Map();
  for (const row of data.series) if (row[by] !== null) totals.set(row[by], (totals.get(row[by]) ?? 0) + (of(row) ?? 0));
  const shown = [...totals].filter(([, total]) => total).sort(([, one], [, other]) => Math.abs(other) - Math.abs(one)).slice(0, LAYERS).map(([name]) => name);
  colour(shown);
  const values = (name) => spread(data.series.filter((row) => row[by] === name), days, of);
  const others = days.map(() => 0);
  for (const row of data.series) if (!shown.includes(row[by]) && days.includes(row.day)) others[days.indexOf(row.day)] += of(row) ?? 0;
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
  return text("against").replace("{change}", `${percent < 0 ? "−" : "+"}${number(Math.abs(percent))} %`).replace("{before}", () => write(before));
}

/** Whether of no request that these sums hold the price was known. */
const unpriced = (rows) => sum(rows, (row) => row.requests) > 0 && rows.every((row) => row.unpriced_requests === row.requests);

/** What was spent in all: the price of some, or of all, may not be known. */
function spent(rows, write) {
  if (unpriced(rows)) return text("unknown");
  return write(sum(rows, MEASURES.costs.of)) + (rows.some((row) => row.unpriced_requests) ? " +" : "");
}

/** A button for each measure: its total, and how that differs from the period before. choose: shows its chart. */
export function tiles({ data, measure, digits }, choose) {
  return h("div", { class: "tiles", role: "group", "aria-label": text("measure") }, Object.entries(MEASURES).map(([name, { of, times }]) => {
    const write = writer(name, digits);
    const [all] = data.times;
    const [total, beside] = times
      ? [write(all?.[`${times}_p50_ms`]), `p95 ${write(all?.[`${times}_p95_ms`])}`]
      : [name === "costs" ? spent(data.by_day, write) : write(sum(data.by_day, of)), change(sum(data.by_day, of), sum(data.previous, of), write)];
    return h("button", { type: "button", class: "tile", id: `measure-${name}`, "aria-pressed": String(name === measure), onclick: () => choose(name) },
      h("span", {}, text(name), times ? " p50" : ""), h("strong", {}, total),
      h("small", {}, beside));
  }));
}

/**
 * The chart of the chosen measure, and beside it what its layers are and hold: all days, or the one that is looked at.
 * view: {data, days, measure, by, digits, keys: how many there are}. stack: draws the layers by another name.
 */
export function drawn(view, stack) {
  const { data, measure } = view;
  const { of, times, whole } = MEASURES[measure];
  const days = daysUntil(data.to, view.days);
  const layers = layersOf(view, days);
  const before = times ? null : spread(data.previous, daysUntil(days[0], view.days + 1).slice(0, -1), of).map((value) => value ?? 0);
  const write = writer(measure, view.digits);
  const [all] = data.times;
  const legend = h("div", { class: "legend" });
  const dated = (day) => new Date(day).toLocaleDateString(locale(), { weekday: "short", year: "numeric", month: "short", day: "numeric", timeZone: "UTC" });
  const entry = (slot, name, value) => h("li", {}, h("span", { class: `swatch ${slot}` }), h("span", { class: "name" }, name), h("span", { class: "amount" }, value));
  const valueOf = (layer, at) => (at !== null ? layer.values[at] : times ? all?.[`${times}_${layer.name}_ms`] : layer.values.reduce((one, other) => one + (other ?? 0), 0)) ?? (times ? null : 0);
  const tell = (at) => {
    const heading = at === null ? `${text("lastDays").replace("{}", view.days)}` : dated(days[at]);
    const looked = at === null ? data.by_day : data.by_day.filter(({ day }) => day === days[at]);
    const total = times ? null : measure === "costs" && unpriced(looked) ? text("unknown") : write(layers.reduce((sum, layer) => sum + valueOf(layer, at), 0));
    const previous = before && (at === null ? before.reduce((one, other) => one + other, 0) : before[at]);
    const rows = layers.map((layer) => [layer.slot, layer.name ?? text("others"), write(valueOf(layer, at))]);
    legend.replaceChildren(
      h("p", { class: "faint" }, heading), total === null ? "" : h("strong", {}, total),
      h("ol", {}, rows.map((row) => entry(...row)), before && sum(data.previous, of) ? entry("before", text("previous"), write(previous)) : null));
    return `${heading}: ${[total, ...rows.map(([, name, value]) => `${name} ${value}`)].filter(Boolean).join(", ")}`;
  };
  const empty = !layers.some(({ values }) => values.some(Boolean)) && !(measure === "costs" && unpriced(data.by_day));
  return h("figure", { class: "chart", id: "usage-chart" },
    h("figcaption", {}, h("h2", {}, text(measure)),
      view.keys > 1 && !times ? h("div", { class: "tabs", role: "group", "aria-label": text("stackBy") }, ["model", "key"].map((by) =>
        h("button", { type: "button", id: `stack-${by}`, "aria-pressed": String(by === view.by), onclick: () => stack(by) }, text(by === "key" ? "byKey" : "byModel")))) : null),
    h("div", { class: "drawn" },
      chart({ days, layers, before, lines: Boolean(times), whole, axis: axis(measure), label: `${text(measure)}, ${text("byDay")}`, tell }), legend),
    empty ? h("p", { class: "faint" }, text("noneOfIt")) : null,
    measure === "costs" && data.by_day.some((row) => row.unpriced_requests) ? h("p", { class: "faint" }, `+ ${text("unpriced")}`) : null,
    times ? h("p", { class: "faint" }, text("timesText")) : null);
}

