// The models this key can call, grouped by who made them.
import { listModels, ready } from "./api.js";
import { compact, copy, dollars, h, heads, rich } from "./dom.js";
import { text } from "./text.js";

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
    takes.includes("reasoning") && "reasoning",
    takes.includes("structured_outputs") && "jsonCap",
  ].filter(Boolean);
}

/** What the server says about the model's health; a server that says nothing claims nothing. */
function stateOf(card) {
  const kind = card.status === "resting" ? "resting" : card.status === "up" || card.status === "ready" ? "up" : "configured";
  const over = card.expiration_date <= new Date().toISOString().slice(0, 10);
  const ends = card.expiration_date ? h("div", { class: over ? "ended" : "faint" }, `${text(over ? "ended" : "ends")} ${card.expiration_date}`) : null;
  return [h("span", { class: `state ${kind}` }, text(kind)), ends];
}

const state = { filter: "", cards: null, error: null };
let container;

function rows(cards) {
  return cards.map((card) =>
    h("tr", {},
      h("th", { scope: "row" }, h("button", { type: "button", class: "paste", title: text("copy"), "aria-label": `${text("copy")}: ${card.id}`, onclick: (event) => copy(card.id, event.currentTarget) }, card.id)),
      h("td", {}, card.owned_by),
      h("td", { class: "number" }, compact(card.context_length)),
      h("td", { class: "number" }, compact(card.top_provider?.max_completion_tokens)),
      h("td", { class: "number" }, priceOf(card)),
      h("td", {}, capabilities(card).map((name) => [h("span", { class: `chip ${name}` }, text(name)), " "])),
      h("td", {}, stateOf(card)),
      h("td", {}, h("button", { type: "button", class: "small", "aria-label": `${text("tryIt")}: ${card.id}`, onclick: () => tryModel(card.id) }, text("tryIt")))));
}

function tryModel(id) {
  dispatchEvent(new CustomEvent("try-model", { detail: id }));
  location.hash = "#playground";
}

function list() {
  if (!ready()) return h("p", { class: "empty" }, text("keyNeeded"), " ", h("button", { type: "button", onclick: () => dispatchEvent(new Event("ask-key")) }, text("key")));
  if (state.error) return h("p", { class: "wrong" }, state.error);
  if (!state.cards) return h("p", { class: "empty" }, "…");
  const wanted = state.filter.toLowerCase();
  const cards = state.cards.filter((card) => `${card.id} ${card.owned_by}`.toLowerCase().includes(wanted));
  if (!cards.length) return h("p", { class: "empty" }, text("noModels"));
  const columns = ["model", "provider", "context", "output", "price", "can", "state", "tryIt"];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text("models") },
    h("table", { class: "models" },
      heads(columns, ["context", "output", "price"]),
      grouped(cards).map(([name, group]) =>
        h("tbody", {}, h("tr", { class: "group" }, h("th", { colspan: String(columns.length), scope: "rowgroup" }, groupName(name), h("span", { class: "count" }, String(group.length)))), rows(group)))));
}

function render() {
  const box = h("div", { id: "model-list" }, list());
  const filter = h("input", { type: "search", placeholder: text("filter"), "aria-label": text("filter"), value: state.filter,
    oninput: (event) => { state.filter = event.target.value; box.replaceChildren(list()); } });
  container.replaceChildren(
    h("div", { class: "head" }, h("h1", {}, text("models")), filter),
    h("p", { class: "lead" }, rich(text("modelsText"))), box);
}

export async function update() {
  if (!container) return;
  state.error = null;
  state.cards = null;
  render();
  if (!ready()) return;
  try {
    state.cards = await listModels(true);
  } catch (error) {
    state.error = error.message;
  }
  render();
}

export async function show(node) {
  container = node;
  await update();
}

export const translate = () => container && render();
