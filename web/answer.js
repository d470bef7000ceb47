// One request for an answer: the stream, or the whole answer, written into a turn of the conversation as it comes.
import { Refused, call, events, json } from "./api.js";
import { failureOf } from "./failures.js";
import { text } from "./text.js";

export const WIRE_LIMIT = 400_000; // characters of the raw stream that are kept for show

export const newTurn = (body) => ({ role: "assistant", content: "", reasoning: "", calls: [], others: [], model: body.model, request: body, wire: "", stats: {} });

/** Send turn.request and write what comes into the turn. changed: called after each event. cards: for prices. Never throws. */
export async function ask(turn, signal, changed, cards) {
  const body = turn.request;
  const began = performance.now();
  const time = () => (performance.now() - began) / 1000;
  try {
    const response = await call("/v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
    turn.headers = [...response.headers].filter(([name]) => /^x-|retry-after|content-type/.test(name));
    turn.status = response.status;
    if (!response.ok) throw new Refused(response.status, await response.text(), turn.headers);
    if (body.stream) await readStream(response, turn, time, changed);
    else readWhole(await response.text(), turn, time);
  } catch (error) {
    if (error.name === "AbortError") turn.note = "stopped";
    else turn.error = failureOf(error, turn.status !== undefined);
  }
  turn.stats.total = time();
  if (turn.stats.usage) turn.stats.cost = cost(turn.stats.usage, await pricesOf(turn, cards));
  turn.done = true;
}

async function readStream(response, turn, time, changed) {
  let done = false;
  for await (const { raw, data } of events(response)) {
    if (turn.wire.length < WIRE_LIMIT) turn.wire += `${time().toFixed(3)}  ${raw}\n\n`;
    if (data === null) continue;
    if (data === "[DONE]") {
      done = true;
      continue;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(turn.status, data);
    for (const choice of chunk.choices) {
      if (choice.index === 0) take(choice.delta, turn, time);
      else other(turn, choice.index, choice.delta);
      if (choice.finish_reason && choice.index === 0) turn.stats.finish = choice.finish_reason;
    }
    if (chunk.usage) turn.stats.usage = chunk.usage;
    changed();
  }
  if (!done) turn.error = { status: turn.status, broken: true, body: "", says: text("brokeOff") };
}

/** The text of a further choice: n was more than 1. */
function other(turn, index, message) {
  turn.others[index - 1] = (turn.others[index - 1] ?? "") + (message.content ?? "") + (message.refusal ?? "");
}

function take(delta, turn, time) {
  const says = delta.content || delta.reasoning_content || delta.refusal || delta.tool_calls?.length;
  if (says && turn.stats.first === undefined) turn.stats.first = time();
  turn.content += (delta.content ?? "") + (delta.refusal ?? "");
  turn.reasoning += delta.reasoning_content ?? "";
  for (const piece of delta.tool_calls ?? []) {
    const known = (turn.calls[piece.index] ??= { id: piece.id, type: "function", function: { name: "", arguments: "" } });
    if (piece.id) known.id = piece.id;
    known.function.name += piece.function?.name ?? "";
    known.function.arguments += piece.function?.arguments ?? "";
  }
}

function readWhole(body, turn, time) {
  turn.wire = body.slice(0, WIRE_LIMIT);
  const answer = JSON.parse(body);
  const [choice, ...more] = answer.choices;
  turn.stats.first = time();
  turn.content = choice?.message.content ?? choice?.message.refusal ?? "";
  turn.reasoning = choice?.message.reasoning_content ?? "";
  turn.calls = choice?.message.tool_calls ?? [];
  for (const { index, message } of more) other(turn, index, message);
  turn.stats.finish = choice?.finish_reason;
  turn.stats.usage = answer.usage;
}

const prices = new Map(); // provider/model → a promise of its listed prices, or of null

/** The listed prices of whoever answered: not always the first that the model's card speaks of. */
async function pricesOf(turn, cards) {
  const own = cards.find((each) => each.id === turn.model);
  const header = turn.headers?.find(([name]) => name === "x-modelserver-upstream")?.[1];
  if (!header || header === `${own?.owned_by}/${own?.id}`) return own?.pricing ?? null;
  if (!prices.has(header)) prices.set(header, json(`/v1/models/${header}`).then((found) => found.pricing ?? null, () => null));
  return prices.get(header);
}

/** US dollars, about; null when a price that is needed is unknown. A price of the cache falls back to the input's. */
function cost(usage, price) {
  if (!price) return null;
  const cached = usage.prompt_tokens_details?.cached_tokens ?? 0;
  const parts = [[usage.prompt_tokens - cached, price.prompt], [cached, price.input_cache_read ?? price.prompt], [usage.completion_tokens, price.completion]];
  if (parts.some(([tokens, each]) => tokens && each === undefined)) return null;
  return parts.reduce((sum, [tokens, each]) => sum + tokens * Number(each ?? 0), 0);
}
