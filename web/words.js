// A word or two on each model, from what its card says and its name: the newest of its family here, cheap, reasoning.
import { embeds, grouped } from "./cards.js";
import { text } from "./text.js";

const CHEAP = { prompt: 1, completion: 2 }; // US dollars per million tokens, at most
const NEVER = -1;

/** The generation in a model's name: gpt-5.2 → 5.2, claude-haiku-4-5 → 4.05, gemini-pro → NEVER. No sizes (70b), no dates. */
function generation(id) {
  const found = /(?<![\d.])(1?\d)(?:[.-](\d{1,2}))?(?![\d.]|b\b)/i.exec(id.slice(id.lastIndexOf("/") + 1));
  return found ? Number(found[1]) + Number(found[2] ?? 0) / 100 : NEVER;
}

const over = (card) => card.expiration_date <= new Date().toISOString().slice(0, 10);

function isCheap({ pricing }) {
  const [prompt, completion] = [pricing?.prompt, pricing?.completion].map((price) => Number(price) * 1e6);
  return prompt + completion > 0 && prompt <= CHEAP.prompt && completion <= CHEAP.completion;
}

function computed(cards) {
  const found = new Map();
  for (const [family, members] of grouped(cards)) {
    if (family === "echo") continue;
    const current = members.filter((card) => !embeds(card) && !over(card));
    const newest = family === "other" || current.length < 2 ? NEVER : Math.max(...current.map((card) => generation(card.id)));
    for (const card of members) {
      found.set(card.id, [
        newest !== NEVER && current.includes(card) && generation(card.id) === newest && "newest",
        isCheap(card) && "cheap",
        card.supported_parameters?.includes("reasoning") && "reasoning",
      ].filter(Boolean));
    }
  }
  return found;
}

const known = new WeakMap(); // a list of cards → words by id

/** Keys of text.js: what is to be said of a model among these. */
export function words(card, cards) {
  if (!known.has(cards)) known.set(cards, computed(cards));
  return known.get(cards).get(card.id) ?? [];
}

/** The name of a model with its words, where there is room for text only. */
export const labelled = (card, cards) => [card.id, words(card, cards).map(text).join(", ")].filter(Boolean).join(" · ");
