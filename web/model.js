// One model: its names, what it does, the targets behind it in the order they are asked, and code that calls it.
import { chips, embeds, perMillion, priceOf, stateOf } from "./cards.js";
import { colored, compact, copy, copyButton, h, remember, rich } from "./dom.js";
import { asCurl, asNode, asPython, forEmbeddings } from "./snippets.js";
import { text } from "./text.js";

const LANGUAGES = { curl: "curl", python: "Python", node: "Node" };
let language = "curl"; // of the code; the documentation remembers the same choice

/** The address of a model on this page. */
export const addressOf = (id) => `#models/${encodeURIComponent(id)}`;

export function tryModel(id) {
  dispatchEvent(new CustomEvent("try-model", { detail: id }));
  location.hash = "#playground";
}

const fact = (name, ...value) => (value.some((each) => each !== null && each !== undefined && each !== "") ? h("div", {}, h("dt", {}, text(name)), h("dd", {}, ...value)) : null);

/** What is known of a model, or of one of its targets. */
const facts = (card) => [
  fact("context", card.context_length === undefined ? text("unknown") : compact(card.context_length)),
  embeds(card) ? null : fact("output", card.top_provider ? compact(card.top_provider.max_completion_tokens) : text("unknown")),
  fact("price", priceOf(card)),
  card.pricing?.input_cache_read === undefined ? null : fact("cacheRead", perMillion(card.pricing.input_cache_read)),
  card.pricing?.input_cache_write === undefined ? null : fact("cacheWrite", perMillion(card.pricing.input_cache_write)),
];

/** What it costs where the prompt is long, or outside of the peak hours. */
const otherPrices = ({ long_context: long, off_peak: off }) => [
  long ? fact("longContext", `> ${compact(long.above)} `, priceOf({ pricing: long })) : null,
  off ? fact("offPeak", priceOf({ pricing: off }), ` (${text("peak")} ${off.peak.join(", ")} UTC${off.peak_days === "all" ? "" : `, ${text("peakDays")}`})`) : null,
];

const named = (label, names, kind) => names.length ? h("div", {}, h("dt", {}, text(label)), h("dd", {}, names.map((name) => [h("code", { class: `chip ${kind}` }, name), " "]))) : null;

/** A target: its state, what it costs and holds, and what is dropped for it. */
function target(card, at, all) {
  const share = card.weight ? Math.round((card.weight / all.reduce((sum, each) => sum + each.weight, 0)) * 100) : 0;
  return h("li", { class: `attempt target ${card.status === "cooling_down" ? "cooling" : ""}` },
    h("h3", {}, h("span", { class: "count" }, `${at + 1}`), h("code", {}, card.target), " ", stateOf(card), share ? h("span", { class: "chip" }, `${text("share")} ${share} %`) : null),
    h("dl", { class: "stats" }, facts(card), otherPrices(card), fact("can", chips(card))),
    h("dl", { class: "stats treats" },
      named("droppedFor", card.dropped, "warning"), named("refusedFor", card.refused, "bad"), named("alsoAfter", card.on ?? [], ""),
      card.dropped.length || card.refused.length ? null : h("div", {}, h("dd", { class: "faint" }, text("takesAll")))));
}

function code(id, card, redraw) {
  try {
    language = localStorage.getItem("code") ?? language;
  } catch {
    // Storage may be forbidden: the choice holds for this visit.
  }
  const shown = Object.hasOwn(LANGUAGES, language) ? language : "curl";
  const body = { model: id, messages: [{ role: "user", content: "Hello!" }] };
  const source = embeds(card) ? forEmbeddings(id)[shown] : { curl: asCurl, python: asPython, node: asNode }[shown](body);
  return h("figure", { class: "code", id: "model-code" },
    h("figcaption", {}, h("div", { class: "tabs", role: "group", "aria-label": "curl, Python, Node" }, Object.entries(LANGUAGES).map(([name, label]) =>
      h("button", { type: "button", id: `model-code-${name}`, "aria-pressed": String(name === shown), onclick: () => { language = name; remember("code", name); redraw(); } }, label))),
      copyButton(source)),
    h("pre", { tabindex: "0", "data-language": shown, "aria-label": LANGUAGES[shown] }, h("code", {}, colored(source, shown))));
}

/** The view of a model. card: of GET /v1/models/{id}, null while that is asked for. wrong: what stands in its place. */
export function drawModel(id, card, redraw, wrong) {
  const head = [
    h("p", { class: "back" }, h("a", { href: "#models" }, `← ${text("allModelsBack")}`)),
    h("div", { class: "head" }, h("h1", { class: "mono" }, id),
      h("div", { class: "row" }, h("button", { type: "button", class: "copy", onclick: (event) => copy(id, event.currentTarget) }, text("copyName")),
        card && !embeds(card) ? h("button", { type: "button", class: "small primary", id: "model-try", onclick: () => tryModel(id) }, text("tryIt")) : null)),
  ];
  if (wrong || !card) return [...head, wrong ?? h("p", { class: "empty" }, "…")];
  const { aliases, targets } = card;
  const weighed = targets.some((each) => each.weight);
  return [...head,
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, text("state")), h("dd", {}, stateOf(card))), fact("provider", card.owned_by), fact("released", card.released), facts(card),
      fact("inputs", (card.architecture?.input_modalities ?? []).map((name) => text(`input_${name}`)).join(", ")),
      fact("effort", (card.reasoning_efforts ?? []).join(", ")), fact("can", chips(card))),
    h("div", { class: "of-model" },
      h("div", {},
        h("section", { id: "model-targets" }, h("h2", {}, text("targets")),
          h("p", { class: "faint" }, text(targets.length === 1 ? "targetsOne" : weighed ? "targetsWeighed" : "targetsInOrder")),
          h("ol", { class: "targets" }, targets.map(target)),
          h("p", { class: "faint" }, rich(text("treatsText")))),
        h("section", { id: "model-aliases" }, h("h2", {}, text("aliases")),
          aliases.length ? h("ul", { class: "aliases" }, aliases.map((name) => h("li", {}, h("a", { class: "mono", href: addressOf(name) }, name)))) : h("p", { class: "faint" }, text("noAliases")))),
      h("section", {}, h("h2", {}, text("callIt")), code(id, card, redraw)))];
}
