// What a model's card of GET /v1/models says: who made it, what it can do and costs, how it is.
import { dollars, h } from "./dom.js";
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

/** Whether a model makes embeddings, and nothing else. */
export const embeds = (card) => Boolean(card.architecture?.output_modalities?.includes("embeddings"));

export const perMillion = (price) => (price === undefined ? text("unknown") : dollars(Number(price) * 1e6));

/** A price in dollars for a million tokens, in and out. */
export function priceOf(card) {
  if (!card.pricing) return h("span", { class: "faint" }, text("unknown"));
  const { prompt, completion } = card.pricing;
  if (Number(prompt) === 0 && Number(completion) === 0) return text("free");
  return embeds(card) ? perMillion(prompt) : `${perMillion(prompt)} / ${perMillion(completion)}`;
}

/** What a model can do, as names of text.js. */
export function capabilities(card) {
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
export function stateOf(card) {
  const kind = card.status === "cooling_down" ? "cooling_down" : "up";
  const over = card.expiration_date <= new Date().toISOString().slice(0, 10);
  const ends = card.expiration_date ? h("div", { class: over ? "ended" : "faint" }, `${text(over ? "ended" : "ends")} `, h("span", { class: "nobr" }, card.expiration_date)) : null;
  return [h("span", { class: `state ${kind}` }, text(kind)), ends];
}

export const chips = (card) => capabilities(card).map((name) => [h("span", { class: `chip ${name}` }, text(name)), " "]);
