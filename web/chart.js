// A chart of days or hours: bars in layers, or lines, on an axis from zero, with the values of the period before. Elements only, no library.
import { h } from "./dom.js";

const HEIGHT = 230; // px
const MARKS = 4; // of the axis, about
const DOTTED = 100; // points, at most, whose values get a dot

/** The distance of about so many round marks that reach a value. whole: of things that have no half. */
function step(reach, whole) {
  const least = reach / MARKS;
  const power = 10 ** Math.floor(Math.log10(least));
  const found = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least * 0.999);
  return whole ? Math.max(1, found) : found;
}

/** Round values from at most `low` to at least `high`. */
function marksOf(low, high, whole) {
  const by = step(Math.max(high, -low) || 1, whole);
  const [first, last] = [Math.floor(low / by), Math.max(Math.ceil(high / by), 1)];
  return Array.from({ length: last - first + 1 }, (_, at) => (first + at) * by);
}

/**
 * names: what stands below each point, or null. page: how many a page of the keyboard is. before: a value a point, or null.
 * layers: [{slot: of its colour, values: one a point, or null}], the lowest first. lines: each layer is a line of its own.
 * axis: marks → what writes a mark. tell: the point looked at, or null → what is said of it.
 */
export function chart({ names, page, layers, before, lines, whole, axis, label, tell }) {
  const count = names.length;
  const x = (at) => `${((at / count) * 100).toFixed(3)}%`;
  const reached = lines ? layers.flatMap(({ values }) => values) : names.flatMap((_, at) => {
    const values = layers.map((layer) => layer.values[at] ?? 0);
    return [values.filter((value) => value > 0), values.filter((value) => value < 0)].map((some) => some.reduce((sum, value) => sum + value, 0));
  });
  const all = [0, ...reached, ...(before ?? [])].map((value) => value ?? 0);
  const marks = marksOf(Math.min(...all), Math.max(...all), whole);
  const [low, high] = [marks[0], marks.at(-1)];
  const y = (value) => Number((((high - value) / (high - low)) * HEIGHT).toFixed(2));
  const written = axis(marks);

  const bars = () => names.map((_, at) => {
    const ends = [0, 0]; // of what is above zero, and below
    return layers.map(({ slot, values }) => {
      const value = values[at] ?? 0;
      if (!value) return null;
      const from = ends[value < 0 ? 1 : 0];
      ends[value < 0 ? 1 : 0] += value;
      const [top, bottom] = [y(Math.max(from, from + value)), y(Math.min(from, from + value))];
      return h("svg:rect", { class: `layer ${slot}`, x: x(at + 0.14), width: x(0.72), y: Math.min(top, bottom - 1), height: Math.max(bottom - top, 1) });
    });
  });
  const curves = () => layers.map(({ slot, values }) => values.map((value, at) => {
    if (value === null || value === undefined) return null;
    const next = values[at + 1] ?? null;
    return [next === null ? null : h("svg:line", { class: `curve ${slot}`, x1: x(at + 0.5), x2: x(at + 1.5), y1: y(value), y2: y(next) }),
      count <= DOTTED || next === null ? h("svg:circle", { class: `dot ${slot}`, cx: x(at + 0.5), cy: y(value), r: "3" }) : null];
  }));

  const column = h("svg:rect", { class: "looked", x: "0", y: "0", width: x(1), height: String(HEIGHT), visibility: "hidden" });
  const svg = h("svg:svg", { "aria-hidden": "true", height: String(HEIGHT) },
    column,
    marks.map((mark) => [h("svg:line", { class: mark === 0 ? "zero" : "grid", x1: "0", x2: "100%", y1: y(mark), y2: y(mark) }),
      h("svg:text", { x: "-8", y: y(mark) + 4, "text-anchor": "end" }, written(mark))]),
    lines ? curves() : bars(),
    (before ?? []).map((value, at) => value ? h("svg:line", { class: "before", x1: x(at + 0.04), x2: x(at + 0.96), y1: y(value), y2: y(value) }) : null),
    names.map((name, at) => name === null ? null : h("svg:text", { x: x(at + 0.5), y: String(HEIGHT + 19), "text-anchor": "middle" }, name)));

  // Each point is a step of a slider, so that the keyboard and a screen reader get at its values too.
  const box = h("div", { class: "plot", tabindex: "0", role: "slider", "aria-label": label, "aria-valuemin": "1", "aria-valuemax": String(count) }, svg);
  let shown = null;
  const look = (at) => {
    if (at === shown) return;
    shown = at;
    column.setAttribute("visibility", at === null ? "hidden" : "visible");
    column.setAttribute("x", x(at ?? 0));
    box.setAttribute("aria-valuenow", String((at ?? count - 1) + 1));
    box.setAttribute("aria-valuetext", tell(at));
  };
  const under = (event) => {
    const { left, width } = svg.getBoundingClientRect();
    return Math.min(Math.max(Math.floor(((event.clientX - left) / width) * count), 0), count - 1);
  };
  const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -page, PageUp: page, Home: -count, End: count };
  box.addEventListener("pointermove", (event) => look(under(event)));
  box.addEventListener("pointerdown", (event) => look(under(event)));
  box.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && look(null));
  box.addEventListener("blur", () => look(null));
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return look(null);
    if (!(event.key in steps)) return undefined;
    event.preventDefault();
    return look(Math.min(Math.max((shown ?? count - (steps[event.key] < 0 ? 0 : 1)) + steps[event.key], 0), count - 1));
  });
  shown = undefined;
  look(null);
  return box;
}
