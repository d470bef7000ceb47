// The models this key can call: grouped by who made them or sorted, narrowed to what is looked for; one model, at its address.
import { json, listModels, ready } from "./api.js";
import { capabilities, chips, embeds, groupName, grouped, priceOf, stateOf } from "./cards.js";
import { compact, h, number, rich } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { addressOf, drawModel, tryModel } from "./model.js";
import { LIVE, counted, pick, text } from "./text.js";
import { words } from "./words.js";

const PERIOD = 10_000; // ms between looks, while somebody looks: the first cooldown of a target is as long
const CAN = ["tools", "vision", "reasoning", "jsonCap", "embedding"];
const PRICES = [["0", "free"], ["0.5", "≤ $0.50"], ["1", "≤ $1"], ["5", "≤ $5"], ["15", "≤ $15"]]; // of a million tokens of a prompt
const CONTEXTS = [32_000, 128_000, 200_000, 1_000_000]; // tokens

const priceIn = (card) => (card.pricing?.prompt === undefined ? null : Number(card.pricing.prompt) * 1e6);
const priceOut = (card) => (card.pricing?.completion === undefined ? null : Number(card.pricing.completion) * 1e6);

/** Compare by a value, and by the next where that is the same; what is not known comes last. way: 1 or -1. */
const by = (way, ...values) => (one, other) => {
  for (const value of values) {
    const [mine, theirs] = [value(one), value(other)];
    if ((mine ?? null) === (theirs ?? null)) continue;
    if (mine === null || mine === undefined) return 1;
    if (theirs === null || theirs === undefined) return -1;
    return mine < theirs ? -way : way;
  }
  return 0;
};
// name of an order → how it compares; of: the column it goes by.
const ORDERS = {
  family: {},
  name: { of: "model", compare: by(1, (card) => card.id.toLowerCase()) },
  newest: { compare: by(-1, (card) => card.released) },
  cheapest: { of: "price", compare: by(1, priceIn, priceOut), sorted: "ascending" },
  dearest: { of: "price", compare: by(-1, priceIn, priceOut), sorted: "descending" },
  context: { of: "context", compare: by(-1, (card) => card.context_length), sorted: "descending" },
  output: { of: "output", compare: by(-1, (card) => card.top_provider?.max_completion_tokens), sorted: "descending" },
};
const COLUMNS = ["model", "provider", "context", "output", "price", "can", "state", "tryIt"];
const AGES = ["isNew", "newest"];
const NUMBERS = ["context", "output", "price"];

const none = () => ({ words: "", can: new Set(), price: "", context: "" });
const state = { wanted: none(), order: "family", cards: null, error: null, chosen: "", model: null, left: 0 };
const cells = new Map(); // id → the cell of its state
let container;
let looking;

/** Whether a card is one that is looked for. */
function isWanted(card) {
  const { words, can, price, context } = state.wanted;
  const known = capabilities(card);
  return `${card.id} ${card.owned_by}`.toLowerCase().includes(words.toLowerCase())
    && [...can].every((name) => known.includes(name))
    && (price === "" || (priceIn(card) !== null && priceIn(card) <= Number(price) && (price !== "0" || priceOut(card) === 0)))
    && (context === "" || card.context_length >= Number(context));
}

function stateCell(card) {
  const cell = h("td", { class: "health" }, stateOf(card));
  cells.set(card.id, cell);
  return cell;
}

/** Whether it is new, or the newest of its family: what else there is of words has a column. */
const ages = (card) => words(card, state.cards).filter((name) => AGES.includes(name)).map((name) => [" ", h("span", { class: `chip ${name}` }, text(name))]);

const rows = (cards) => cards.map((card) =>
  h("tr", {},
    h("th", { scope: "row" }, h("a", { class: "mono", href: addressOf(card.id) }, card.id), ages(card)),
    h("td", {}, card.owned_by),
    h("td", { class: "number", "data-label": text("context") }, compact(card.context_length)),
    h("td", { class: "number", "data-label": text("output") }, compact(card.top_provider?.max_completion_tokens)),
    h("td", { class: "number price" }, priceOf(card)),
    h("td", { class: "can" }, chips(card)),
    stateCell(card),
    h("td", {}, !embeds(card) && h("button", { type: "button", class: "small", "aria-label": `${text("tryIt")}: ${card.id}`, onclick: () => tryModel(card.id) }, text("tryIt")))));

/** The head of the table. Columns that can be sorted by are buttons: again, for the other way, or as it was. */
function head() {
  const { of = "", sorted } = ORDERS[state.order];
  return h("thead", {}, h("tr", {}, COLUMNS.map((name) => {
    const orders = ["family", ...Object.keys(ORDERS).filter((order) => ORDERS[order].of === name)];
    const next = orders[(orders.indexOf(state.order) + 1) % orders.length] ?? orders[1];
    const label = name === "tryIt" ? h("span", { class: "offscreen" }, text(name))
      : orders.length > 1 ? h("button", { type: "button", class: "sort", id: `sort-${name}`, onclick: () => sort(orders.includes(state.order) ? next : orders[1]) }, text(name)) : text(name);
    return h("th", { scope: "col", class: `col-${name} ${NUMBERS.includes(name) ? "number" : ""}`, "aria-sort": of === name ? (sorted ?? "ascending") : null }, label);
  })));
}

function sort(order) {
  state.order = order;
  render();
}

function list() {
  if (state.error) return failure(failureOf(state.error), update);
  if (!state.cards) return h("p", { class: "empty" }, "…");
  cells.clear();
  const cards = state.cards.filter(isWanted);
  if (!cards.length) return h("p", { class: "empty" }, text("noModels"), " ", h("button", { type: "button", id: "models-all", onclick: () => { state.wanted = none(); render(); } }, text("showAllModels")));
  const count = h("p", { class: "faint", role: "status" }, counted("modelCount", cards.length, number(cards.length)));
  const group = ([name, some]) => h("tbody", {}, h("tr", { class: "group" }, h("th", { colspan: String(COLUMNS.length), scope: "rowgroup" }, groupName(name), h("span", { class: "count" }, String(some.length)))), rows(some));
  const { compare } = ORDERS[state.order];
  return [count, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text("models") },
    h("table", { class: "models stack" }, head(), compare ? h("tbody", {}, rows(cards.sort(compare))) : grouped(cards).map(group)))];
}

/** The list, narrowed and in order. */
function catalogue() {
  const { wanted } = state;
  const box = h("div", { id: "model-list" }, list());
  const redraw = () => box.replaceChildren(...[list()].flat());
  const choice = (name, label, all, options) => {
    const select = h("select", { id: `models-${name}`, "aria-label": text(label), onchange: (event) => { wanted[name] = event.target.value; redraw(); } },
      [["", text(all)], ...options].map(([value, shown]) => h("option", { value }, shown)));
    select.value = wanted[name];
    return select;
  };
  const toggle = (name) => {
    const button = h("button", { type: "button", class: "small", "aria-pressed": String(wanted.can.has(name)), onclick: () => {
      if (!wanted.can.delete(name)) wanted.can.add(name);
      button.setAttribute("aria-pressed", String(wanted.can.has(name)));
      redraw();
    } }, text(name));
    return button;
  };
  const order = h("select", { id: "models-order", "aria-label": text("order"), onchange: (event) => sort(event.target.value) },
    Object.keys(ORDERS).map((name) => h("option", { value: name }, text(`order_${name}`))));
  order.value = state.order;
  return [
    h("div", { class: "head" }, h("h1", {}, text("models")),
      h("input", { type: "search", id: "models-words", placeholder: text("filter"), "aria-label": text("filter"), value: wanted.words, oninput: (event) => { wanted.words = event.target.value; redraw(); } })),
    h("p", { class: "lead" }, rich(text("modelsText"))),
    state.cards?.length && state.cards.every((card) => card.owned_by === "echo") ? h("p", { class: "note" }, rich(pick(LIVE.onlyEcho))) : "",
    h("div", { class: "row wrap narrow" },
      h("div", { class: "row wrap toggles", role: "group", "aria-label": text("can") }, CAN.map(toggle)),
      choice("price", "price", "anyPrice", PRICES.map(([value, shown]) => [value, value === "0" ? text(shown) : shown])),
      choice("context", "context", "anyContext", CONTEXTS.map((tokens) => [String(tokens), `≥ ${compact(tokens)}`])), order),
    box];
}

function render() {
  const focused = container.contains(document.activeElement) ? document.activeElement.id : "";
  if (!ready()) {
    container.replaceChildren(h("div", { class: "head" }, h("h1", {}, text("models"))), h("p", { class: "lead" }, rich(text("modelsText"))),
      h("p", { class: "empty" }, text("keyNeeded"), " ", h("button", { type: "button", onclick: () => dispatchEvent(new Event("ask-key")) }, text("key"))));
    return;
  }
  container.replaceChildren(...(state.chosen ? drawModel(state.chosen, state.model, render, state.error && failure(failureOf(state.error), look)) : catalogue()).filter(Boolean));
  if (focused) document.getElementById(focused)?.focus();
}

export async function update() {
  if (!container) return;
  Object.assign(state, { error: null, cards: null, model: null });
  render();
  await look();
}

/** Ask again. Where the models of the list are the same only their states are drawn, so that focus and scrolling stay. */
async function look() {
  if (!ready()) return undefined;
  const { chosen, cards, model } = state;
  const [found, error] = await (chosen ? json(`/v1/models/${encodeURIComponent(chosen)}`) : listModels(true)).then((some) => [some, null], (wrong) => [null, wrong]);
  if (chosen !== state.chosen) return undefined; // another view has been opened since
  const before = state.error;
  state.error = error;
  if (chosen) {
    state.model = found;
    return JSON.stringify(found) !== JSON.stringify(model) || error || before ? render() : undefined;
  }
  state.cards = found;
  const facts = (some) => JSON.stringify(some?.map((card) => ({ ...card, status: "" })));
  if (error || before || facts(cards) !== facts(found)) return render();
  for (const card of found) cells.get(card.id)?.replaceChildren(...stateOf(card).filter(Boolean));
  return undefined;
}

/** Open the model of an address, or the list. */
async function choose(inside) {
  let id = "";
  try {
    id = decodeURIComponent(inside ?? "");
  } catch {
    id = inside; // typed by hand
  }
  const { chosen, left } = state;
  if (id !== chosen) {
    if (!chosen) state.left = scrollY;
    Object.assign(state, { chosen: id, model: null, error: null });
    render();
    scrollTo({ top: id ? 0 : left, behavior: "instant" }); // back to where the list was left
  }
  await look();
}

export async function show(node, inside) {
  container = node;
  render();
  await choose(inside);
  looking ??= setInterval(() => !document.hidden && !container.hidden && look(), PERIOD);
}

export const resume = choose;
export const translate = () => container && render();
