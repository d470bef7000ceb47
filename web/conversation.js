// The conversation of the playground: its turns, as messages of a request, and kept over a reload.
// It is kept in the session storage of this tab, as the key is: it ends with the tab, and never leaves this browser.

const NAME = "conversation";
const WIRE_KEPT = 50_000; // characters of a turn's raw stream that outlast a reload

/**
 * {role, content, images?, calls?, reasoning?, others?, error?, stats?, note?, wire?, request?, done?, column?}, each.
 * column: 1 for what the second of two models said, and what its tools were answered; else 0, or left out.
 */
export const turns = [];

export const columnOf = (turn) => turn.column ?? 0;

/** The turns from each message of the user up to the next: [[turn]]. */
export function exchanges() {
  const found = [];
  for (const turn of turns) {
    if (turn.role === "user" || !found.length) found.push([]);
    found.at(-1).push(turn);
  }
  return found;
}

/** Whether nothing has been said since, as far as its own model knows. */
export function isLast(turn) {
  const own = exchanges().at(-1) ?? [];
  return own.findLast((each) => each.role === "user" || columnOf(each) === columnOf(turn)) === turn;
}

/** Keep the turns, and `more` beside them. What does not fit is kept without its wires, or else not at all. */
export function keep(more) {
  const kept = (wire) => JSON.stringify({ ...more, turns: turns.map((turn) => ({ ...turn, wire: turn.wire?.slice(0, wire), request: wire ? turn.request : { stream: turn.request?.stream } })) });
  for (const make of [() => kept(WIRE_KEPT), () => kept(0)]) {
    try {
      sessionStorage.setItem(NAME, make());
      return;
    } catch {
      // Too large, or storage is forbidden.
    }
  }
  try {
    sessionStorage.removeItem(NAME);
  } catch {
    // Forbidden: it holds until the reload.
  }
}

/** Fill the turns with those that were kept; returns what was kept beside them, or null. */
export function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(NAME));
    if (!kept) return null;
    for (const turn of kept.turns) {
      if (turn.role === "assistant" && !turn.done) Object.assign(turn, { done: true, note: "stopped" }); // the reload cut it off
    }
    turns.splice(0, turns.length, ...kept.turns);
    return kept;
  } catch {
    return null;
  }
}

/** Take a turn off the conversation, and the tool results that would be left without their call. */
export function remove(turn) {
  const calls = new Set((turn.calls ?? []).filter(Boolean).map(({ id }) => id));
  const left = turns.filter((each) => each !== turn && !(each.role === "tool" && calls.has(each.id) && columnOf(each) === columnOf(turn)));
  turns.splice(0, turns.length, ...left);
}

/** Take a turn, and all behind it, off the conversation; but for what the other model said to the same message. */
export function cutAt(turn) {
  const at = turns.indexOf(turn);
  const next = turns.findIndex((each, place) => place > at && each.role === "user");
  const beside = turn.role === "user" ? [] : turns.slice(at, next < 0 ? turns.length : next).filter((each) => columnOf(each) !== columnOf(turn));
  turns.splice(at, turns.length, ...beside);
}

export function messageOf(turn) {
  if (turn.role === "tool") return { role: "tool", tool_call_id: turn.id, content: turn.content };
  if (turn.role === "assistant") {
    const calls = turn.error || turn.note ? [] : (turn.calls ?? []).filter(Boolean); // a call that broke off is none
    const message = { role: "assistant", content: turn.content || (calls.length ? null : "") };
    if (calls.length) message.tool_calls = calls.map(({ id, type, function: fn }) => ({ id, type, function: fn }));
    return message;
  }
  if (!turn.images?.length) return { role: "user", content: turn.content };
  const parts = turn.images.map(({ url }) => ({ type: "image_url", image_url: { url } }));
  return { role: "user", content: [...(turn.content ? [{ type: "text", text: turn.content }] : []), ...parts] };
}

/** The messages for the model of a column; of an answer that failed, only what it said. What only the other one answered is its own. */
export function messages(column = 0) {
  const heard = exchanges().flatMap((exchange) => {
    const own = exchange.some((turn) => turn.role !== "user" && columnOf(turn) === column) ? column : 1 - column;
    return exchange.filter((turn) => turn.role === "user" || columnOf(turn) === own);
  });
  return heard.filter((turn) => !(turn.error || turn.note) || turn.content).map(messageOf);
}

const textOf = (content) => (typeof content === "string" ? content : (content ?? []).filter((part) => part.type === "text").map((part) => part.text).join("\n"));

/** Take over a recorded request's messages. Returns {system, last}: its system prompt and the user's last message. */
export function adopt(body) {
  const found = [];
  const system = [];
  for (const message of body.messages ?? []) {
    const images = Array.isArray(message.content) ? message.content.filter((part) => part.type === "image_url").map((part) => ({ name: "image", url: String(part.image_url?.url ?? part.image_url) })) : [];
    const content = textOf(message.content);
    if (message.role === "system" || message.role === "developer") system.push(content);
    else if (message.role === "tool") found.push({ role: "tool", id: message.tool_call_id, name: message.name, content });
    else if (message.role === "assistant") found.push({ role: "assistant", content, reasoning: "", calls: message.tool_calls ?? [], model: body.model, request: body, stats: { total: 0 }, done: true });
    else found.push({ role: "user", content, images });
  }
  const last = found.at(-1)?.role === "user" ? found.pop() : { content: "", images: [] };
  turns.splice(0, turns.length, ...found);
  return { system: system.join("\n"), last };
}
