// The models this key can call, grouped by who made them.
import { listModels, ready } from "./api.js";
import { compact, copy, dollars, h, heads, number, rich } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { counted, text } from "./text.js";

// As on the service's public page: by family. The first pattern that fits.
const FAMILIES = [
  ["echo", /^echo(-|$)|^echo\//],
  ["OpenAI GPT", /^(openai\/)?(gpt|o\d|chatgpt|codex|text-embedding)/],
  ["Anthropic Claude", /claude/],
  ["Google Gemini", /gemini|gemma/],
  ["DeepSeek", /deepseek/],
  ["Meta Llama", /llama/],
  ["Qwen", /qwen|qwq/],
  ["Mistral", /mistral|mixtral|codestral|magistral|devstral/],
  ["xAI Grok", /grok/],
];

/** Cards → [[family, cards]], in the order of the table above; the built-in model last. */
export function grouped(cards) {
  const groups = new Map(FAMILIES.slice(1).map(([name]) => [name, []]));
  groups.set("other", []).set("echo", []);
  for (const card of cards) {
    const family = FAMILIES.find(([, pattern]) => pattern.test(card.id.toLowerCase()));
    groups.get(family ? family[0] : "other").push(card);
  }
  return [...groups].filter(([, list]) => list.length);
}

export const groupName = (name) => (name === "other" ? text("groupOther") : name === "echo" ? text("groupBuiltin") : name);

/** Whether a model makes embeddings, and nothing else. */
export const embeds = (card) => Boolean(card.architecture?.output_modalities?.includes("embeddings"));

const perMillion = (price) => (price === undefined ? text("unknown") : dollars(Number(price) * 1e6));

function priceOf(card) {
  if (!card.pricing) return h("span", { class: "faint" }, text("unknown"));
  const { prompt, completion } = card.pricing;
  if (Number(prompt) === 0 && Number(completion) === 0) return text("free");
  return `${perMillion(prompt)} / ${perMillion(completion)}`;
}

function capabilities(card) {
  const takes = card.supported_parameters ?? [];
  const inputs = card.architecture?.input_modalities ?? [];
  return [
    takes.includes("tools") && "tools",
    inputs.includes("image") && "vision",
    embeds(card) && "embedding",
    takes.includes("reasoning") && "reasoning",
    takes.includes("structured_outputs") && "jsonCap",
  ].filter(Boolean);
}

/** What the server says about the model's health, and until when the upstream offers the model. */
function stateOf(card) {
  const kind = card.status === "cooling_down" ? "cooling_down" : "up";
  const over = card.expiration_date <= new Date().toISOString().slice(0, 10);
  const ends = card.expiration_date ? h("div", { class: over ? "ended" : "faint" }, `${text(over ? "ended" : "ends")} `, h("span", { class: "nobr" }, card.expiration_date)) : null;
  return [h("span", { class: `state ${kind}` }, text(kind)), ends];
}

const PERIOD = 10_000; // ms between looks, while somebody looks: the first cooldown of a target is as long
const state = { filter: "", cards: null, error: null };
const cells = new Map(); // id → the cell of its state
let container;
let looking;

function stateCell(card) {
  const cell = h("td", { class: "health" }, stateOf(card));
  cells.set(card.id, cell);
  return cell;
}

function rows(cards) {
  return cards.map((card) =>
    h("tr", {},
      h("th", { scope: "row" }, h("button", { type: "button", class: "paste", title: text("copy"), "aria-label": `${text("copy")}: ${card.id}`, onclick: (event) => copy(card.id, event.currentTarget) }, card.id)),
      h("td", {}, card.owned_by),
      h("td", { class: "number", "data-label": text("context") }, compact(card.context_length)),
      h("td", { class: "number", "data-label": text("output") }, compact(card.top_provider?.max_completion_tokens)),
      h("td", { class: "number price" }, priceOf(card)),
      h("td", { class: "can" }, capabilities(card).map((name) => [h("span", { class: `chip ${name}` }, text(name)), " "])),
      stateCell(card),
      h("td", {}, !embeds(card) && h("button", { type: "button", class: "small", "aria-label": `${text("tryIt")}: ${card.id}`, onclick: () => tryModel(card.id) }, text("tryIt")))));
}

function tryModel(id) {
  dispatchEvent(new CustomEvent("try-model", { detail: id }));
  location.hash = "#playground";
}

function list() {
  if (!ready()) return h("p", { class: "empty" }, text("keyNeeded"), " ", h("button", { type: "button", onclick: () => dispatchEvent(new Event("ask-key")) }, text("key")));
  if (state.error) return failure(failureOf(state.error), update);
  if (!state.cards) return h("p", { class: "empty" }, "…");
  cells.clear();
  const wanted = state.filter.toLowerCase();
  const cards = state.cards.filter((card) => `${card.id} ${card.owned_by}`.toLowerCase().includes(wanted));
  if (!cards.length) return h("p", { class: "empty" }, text("noModels"));
  const count = h("p", { class: "faint", role: "status" }, counted("modelCount", cards.length, number(cards.length)));
  const columns = ["model", "provider", "context", "output", "price", "can", "state", "tryIt"];
  return [count, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text("models") },
    h("table", { class: "models stack" },
      heads(columns, ["context", "output", "price"]),
      grouped(cards).map(([name, group]) =>
        h("tbody", {}, h("tr", { class: "group" }, h("th", { colspan: String(columns.length), scope: "rowgroup" }, groupName(name), h("span", { class: "count" }, String(group.length)))), rows(group)))))];
}

function render() {
  const box = h("div", { id: "model-list" }, list());
  const filter = h("input", { type: "search", placeholder: text("filter"), "aria-label": text("filter"), value: state.filter,
    oninput: (event) => { state.filter = event.target.value; box.replaceChildren(...[list()].flat()); } });
  container.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, text("models")), filter),
    h("p", { class: "lead" }, rich(text("modelsText"))), box);
}

export async function update() {
  if (!container) return;
  state.error = null;
  state.cards = null;
  render();
  await look();
}

/** Ask again. Where the models are the same only their states are drawn, so that focus and scrolling stay. */
async function look() {
  if (!ready()) return;
  const before = state.cards;
  try {
    state.cards = await listModels(true);
    state.error = null;
  } catch (error) {
    state.error = error;
  }
  const facts = (cards) => JSON.stringify(cards?.map((card) => ({ ...card, status: "" })));
  if (state.error || facts(before) !== facts(state.cards)) return render();
  for (const card of state.cards) cells.get(card.id)?.replaceChildren(...stateOf(card).filter(Boolean));
  return undefined;
}

export async function show(node) {
  container = node;
  await update();
  looking ??= setInterval(() => !document.hidden && !container.hidden && look(), PERIOD);
}

export const resume = look;
export const translate = () => container && render();
