// A word or two on each model, from what its card says and its name: new, the newest of its family here, cheap, reasoning.
import { embeds, grouped } from "./cards.js";
import { text } from "./text.js";

const CHEAP = { prompt: 1, completion: 2 }; // US dollars per million tokens, at most
const NEVER = -1;
const NEW = 3; // months after the one of its release

/** The month of a date, counted from year 0. */
const monthOf = (date) => Number(date.slice(0, 4)) * 12 + Number(date.slice(5, 7));

/** The generation in a model's name: gpt-5.2 → 5.2, claude-haiku-4-5 → 4.05, gemini-pro → NEVER. No sizes (70b), no dates. */
function generation(id) {
  const found = /(?<![\d.])(1?\d)(?:[.-](\d{1,2}))?(?![\d.]|b\b)/i.exec(id.slice(id.lastIndexOf("/") + 1));
  return found ? Number(found[1]) + Number(found[2] ?? 0) / 100 : NEVER;
}

const today = () => new Date().toISOString();
const over = (card) => card.expiration_date <= today().slice(0, 10);

const isNew = (card) => Boolean(card.released) && monthOf(today()) - monthOf(card.released) <= NEW;

/** Which of a family is the newest: by the month of release where that of all is known, then by the generation. */
function newestOf(cards) {
  const dated = cards.every((card) => card.released);
  const age = (card) => (dated ? monthOf(card.released) * 100 : 0) + generation(card.id);
  const most = Math.max(...cards.map(age));
  return cards.length > 1 && most > NEVER ? cards.filter((card) => age(card) === most) : [];
}

function isCheap({ pricing }) {
  const [prompt, completion] = [pricing?.prompt, pricing?.completion].map((price) => Number(price) * 1e6);
  return prompt + completion > 0 && prompt <= CHEAP.prompt && completion <= CHEAP.completion;
}

function computed(cards) {
  const found = new Map();
  for (const [family, members] of grouped(cards)) {
    if (family === "echo") continue;
    const current = members.filter((card) => !embeds(card) && !over(card));
    const newest = family === "other" ? [] : newestOf(current);
    for (const card of members) {
      found.set(card.id, [
        isNew(card) && !over(card) && "isNew",
        newest.includes(card) && "newest",
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

/** The name of a model with its words, where there is room for text only: what is the newest need not be called new. */
export function labelled(card, cards) {
  const some = words(card, cards);
  return [card.id, some.filter((name) => name !== "isNew" || !some.includes("newest")).map(text).join(", ")].filter(Boolean).join(" · ");
}
