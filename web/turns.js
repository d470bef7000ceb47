// The turns of a conversation, drawn: what was said, called and thought, what it took, and what can be done with it.
import { WIRE_LIMIT } from "./answer.js";
import { columnOf, exchanges, isLast, turns } from "./conversation.js";
import { colored, copy, dollars, h, number, pretty, seconds } from "./dom.js";
import { failure } from "./failures.js";
import { Markdown, codeBlock, markdown } from "./markdown.js";
import { text } from "./text.js";

const SHORTEST = 0.05; // seconds of an answer of which a speed is told

/** A picture where we hold its bytes; the address of one elsewhere is only shown: nothing is fetched from other hosts. */
export const picture = ({ name, url }) =>
  url.startsWith("data:image/") ? h("img", { src: url, alt: name }) : h("code", { class: "far" }, url);

/** A complete answer: JSON as a block of code, anything else as Markdown. */
function said(content) {
  if (!/^\s*[[{]/.test(content)) return markdown(content);
  try {
    return h("div", { class: "said markdown" }, codeBlock(JSON.stringify(JSON.parse(content), null, 2), "json"));
  } catch {
    return markdown(content);
  }
}

function drawCall(tool, turn) {
  const answered = turns.some((each) => each.role === "tool" && each.id === tool.id && columnOf(each) === columnOf(turn));
  tool.result ??= '{"ok": true}';
  const result = h("textarea", { rows: "2", class: "mono", "aria-label": `${text("toolResult")}: ${tool.function?.name ?? ""}`, value: tool.result, oninput: (event) => (tool.result = event.target.value) });
  return h("div", { class: "call" },
    h("p", {}, h("span", { class: "chip tools" }, text("toolCall")), " ", h("code", {}, tool.function?.name ?? tool.type)),
    h("pre", { class: "args" }, pretty(tool.function?.arguments ?? "")),
    turn.done && !answered && isLast(turn) ? h("label", { class: "field" }, h("span", {}, text("toolResult")), result) : null);
}

function statsLine(turn) {
  const { first, total, usage, finish } = turn.stats;
  const header = (name) => turn.headers?.find(([each]) => each === name)?.[1];
  const out = usage?.completion_tokens;
  const speed = out && first !== undefined && total - first > SHORTEST && turn.request.stream ? `${number(out / (total - first), 1)} tok/s` : null;
  const dropped = header("x-modelserver-dropped");
  const items = [
    first !== undefined && turn.request.stream && ["ttft", seconds(first)],
    ["total", seconds(total ?? 0)],
    speed && ["speed", speed],
    usage && ["tokensIn", number(usage.prompt_tokens) + (usage.prompt_tokens_details?.cached_tokens ? ` (${number(usage.prompt_tokens_details.cached_tokens)} ${text("cached")})` : "")],
    usage && ["tokensOut", number(out) + (usage.completion_tokens_details?.reasoning_tokens ? ` (${number(usage.completion_tokens_details.reasoning_tokens)} ${text("thought")})` : "")],
    usage && ["cost", `${turn.stats.cost ? "≈ " : ""}${dollars(turn.stats.cost)}`],
    finish && ["finish", finish],
    header("x-modelserver-upstream") && ["upstream", header("x-modelserver-upstream")],
  ];
  return h("dl", { class: "stats" }, items.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, text(name)), h("dd", {}, value))),
    dropped ? h("div", { class: "dropped" }, h("dt", {}, text("dropped")), h("dd", {}, dropped)) : null);
}

const wire = (turn) => h("details", { class: "raw", ontoggle: (event) => event.target.open && event.target.scrollIntoView({ block: "nearest" }) }, h("summary", {}, text("wire")),
  h("h3", {}, text("request")), h("pre", { tabindex: "0" }, colored(JSON.stringify(turn.request, null, 2).slice(0, WIRE_LIMIT), "json")),
  h("h3", {}, text("headers")), h("pre", { tabindex: "0" }, (turn.headers ?? []).map(([name, value]) => `${name}: ${value}`).join("\n")),
  h("h3", {}, text("response")), h("pre", { tabindex: "0", class: "bytes" }, turn.wire || turn.error?.body || ""));

/** The text of a turn in a box to write in. user's: sent again from there; a model's: kept. */
function editor(turn, node, actions) {
  const box = h("textarea", { rows: "4", "aria-label": text("edit"), value: turn.content });
  const back = () => node.replaceWith(drawTurn(turn, actions));
  const save = () => actions.edit(turn, box.value);
  box.addEventListener("keydown", (event) => event.key === "Escape" && back());
  node.replaceChildren(h("div", { class: "edit" }, box, h("div", { class: "row" },
    h("button", { type: "button", class: "small primary", onclick: save }, text(turn.role === "user" ? "sendAgain" : "save")),
    h("button", { type: "button", class: "small", onclick: back }, text("cancel")))));
  box.focus();
}

function tools(turn, node, actions) {
  const button = (name, act) => h("button", { type: "button", class: "link", onclick: act }, text(name));
  return h("div", { class: "actions" },
    turn.content ? button("copy", (event) => copy(turn.content, event.currentTarget)) : null,
    button("edit", () => editor(turn, node, actions)),
    turn.role === "assistant" ? button("retry", () => actions.retry(turn)) : null,
    button("delete", () => actions.remove(turn)));
}

/** The whole conversation: where two models answered a message, their answers side by side. */
export function drawTurns(actions) {
  const draw = (list) => list.map((turn) => drawTurn(turn, actions));
  return exchanges().flatMap((exchange) => {
    if (!exchange.some((turn) => columnOf(turn) === 1)) return draw(exchange);
    const said = (column) => h("div", { class: "column" }, draw(exchange.filter((turn) => turn.role !== "user" && columnOf(turn) === column)));
    return [...draw(exchange.filter((turn) => turn.role === "user")), h("div", { class: "columns" }, said(0), said(1))];
  });
}

/** actions: retry, remove, edit (turn, content) and results, each called with the turn. */
export function drawTurn(turn, actions) {
  if (turn.role === "tool") {
    return h("article", { class: "turn tool" }, h("h2", {}, `${text("toolResult")} · ${turn.name ?? ""}`), h("pre", { class: "args" }, turn.content));
  }
  const node = h("article", { class: `turn ${turn.role}` });
  node.turn = turn;
  if (turn.role === "user") {
    node.append(h("h2", {}, text("you")), h("div", { class: "said" }, turn.content));
    if (turn.images?.length) node.append(h("div", { class: "strip" }, turn.images.map((image) => h("figure", {}, picture(image), h("figcaption", {}, image.name)))));
    node.append(tools(turn, node, actions));
    return node;
  }
  node.classList.toggle("busy", !turn.done);
  node.append(h("h2", {}, turn.model),
    h("details", { class: "thinking", open: true, hidden: !turn.reasoning }, h("summary", {}, text("thinking")), h("pre", {}, turn.reasoning)),
    turn.done ? said(turn.content) : h("div", { class: "said markdown" }),
    ...(turn.others ?? []).map((content, at) => h("section", { class: "other" }, h("h3", {}, `${text("choice")} ${at + 2}`), markdown(content ?? ""))),
    h("div", { class: "calls" }, (turn.calls ?? []).filter(Boolean).map((tool) => drawCall(tool, turn))));
  if (!turn.done) {
    node.markdown = new Markdown(node.querySelector(".said"));
    node.markdown.draw(turn.content);
    return node;
  }
  const last = isLast(turn);
  node.append(...[
    turn.calls?.length && last && !turn.error && !turn.note ? h("button", { type: "button", id: "play-results", onclick: () => actions.results(turn) }, text("sendResults")) : null,
    turn.error ? failure(turn.error, () => actions.retry(turn)) : null,
    turn.note ? h("p", { class: "faint" }, text(turn.note)) : null,
    statsLine(turn), tools(turn, node, actions), wire(turn)].filter(Boolean));
  return node;
}

/** Draw what has come since of an answer that is under way. */
export function redraw(node, turn) {
  node.markdown.draw(turn.content);
  const thinking = node.querySelector(".thinking");
  thinking.hidden = !turn.reasoning;
  thinking.querySelector("pre").textContent = turn.reasoning;
  node.querySelector(".calls").replaceChildren(...turn.calls.filter(Boolean).map((tool) => drawCall(tool, turn)));
}
