// The playground: one conversation with one model, and everything the wire says about it.
import { Refused, call, events, json, listModels, ready } from "./api.js";
import { colored, copy, h, number, dollars, seconds, toast } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { embeds, groupName, grouped } from "./models.js";
import { asCurl, asNode, asPython } from "./snippets.js";
import { PLAY, text } from "./text.js";

const OTHER = "\u0000other";
const WIRE_LIMIT = 400_000; // characters of the raw stream that are kept for show
const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

const state = {
  cards: [],
  turns: [], // {role, content, images?, calls?, reasoning?, error?, stats?, note?, wire?}
  images: [], // of the message being written: {name, url}
  running: null, // AbortController
  pending: null, // model asked for by another view
};
const ui = {};

const field = (label, control) => h("label", { class: "field" }, h("span", { t: label }), control);

function build(container) {
  ui.model = h("select", { id: "play-model", onchange: chooseModel });
  ui.other = h("input", { id: "play-other", hidden: true, "t-aria-label": "otherName", "t-placeholder": "otherName", spellcheck: "false" });
  ui.system = h("textarea", { id: "play-system", rows: "2" });
  ui.temperature = h("input", { id: "play-temperature", type: "number", min: "0", max: "2", step: "0.1", "t-placeholder": "unset" });
  ui.max = h("input", { id: "play-max", type: "number", min: "1", step: "1", "t-placeholder": "unset" });
  ui.effort = h("select", { id: "play-effort" });
  ui.stream = h("input", { id: "play-stream", type: "checkbox", checked: true });
  ui.tools = h("textarea", { id: "play-tools", rows: "4", spellcheck: "false", class: "mono" });
  ui.choice = h("select", { id: "play-choice" }, ["", "auto", "required", "none"].map((value) => h("option", { value, t: value ? undefined : "unset" }, value)));
  ui.schema = h("textarea", { id: "play-schema", rows: "4", spellcheck: "false", class: "mono" });
  ui.log = h("div", { class: "log", id: "play-log", role: "log", tabindex: "0", "t-aria-label": "playground" });
  ui.message = h("textarea", { id: "play-message", rows: "3", "t-placeholder": "messageHint", "t-aria-label": "message", onkeydown: keys, onpaste: paste });
  ui.strip = h("div", { class: "strip", id: "play-images" });
  ui.url = h("input", { id: "play-url", type: "url", "t-placeholder": "imageUrl", "t-aria-label": "imageUrl", onkeydown: (event) => event.key === "Enter" && addUrl(event) });
  ui.file = h("input", { type: "file", accept: "image/*", multiple: true, class: "offscreen", id: "play-file", "t-aria-label": "chooseImage", tabindex: "-1", onchange: () => { addFiles(ui.file.files); ui.file.value = ""; } });
  ui.send = h("button", { id: "play-send", type: "button", class: "primary", t: "send", onclick: send });
  ui.stop = h("button", { id: "play-stop", type: "button", class: "danger", hidden: true, t: "stop", onclick: () => state.running?.abort() });

  const example = (control, value) => h("button", { type: "button", class: "link", t: "example", onclick: () => { control.value = JSON.stringify(JSON.parse(value), null, 1); if (control === ui.tools && !ui.choice.value) ui.choice.value = "required"; } });
  const as = (label, make) => h("button", { type: "button", class: "small quiet", t: label, onclick: (event) => { const body = bodyOf(true); if (body) copy(make(body), event.currentTarget); } });

  const settings = h("details", { class: "settings", id: "play-settings" },
    h("summary", { t: "settings" }),
    h("div", { class: "fields" },
      field("system", ui.system),
      h("div", { class: "pair" }, field("temperature", ui.temperature), field("maxTokens", ui.max)),
      h("div", { class: "pair" }, field("effort", ui.effort), h("label", { class: "field check" }, h("span", { t: "streamed" }), ui.stream)),
      h("details", { class: "more" }, h("summary", { t: "advanced" }),
        field("toolsJson", ui.tools), h("div", { class: "row" }, example(ui.tools, PLAY.tools)), field("toolChoice", ui.choice),
        field("schemaJson", ui.schema), h("div", { class: "row" }, example(ui.schema, PLAY.schema))),
      h("div", { class: "row wrap copies" }, as("asCurl", asCurl), as("asPython", asPython), as("asNode", asNode))));
  settings.open = matchMedia("(min-width: 900px)").matches;

  ui.composer = h("div", { class: "composer" }, ui.strip, ui.message,
    h("div", { class: "row wrap" },
      ui.file, h("button", { type: "button", class: "small quiet", t: "chooseImage", onclick: () => ui.file.click() }),
      ui.url, h("button", { type: "button", class: "small quiet", t: "addImage", id: "play-add-url", onclick: addUrl }),
      h("span", { class: "spring" }),
      h("button", { type: "button", class: "small quiet", t: "newChat", id: "play-new", onclick: newChat }),
      ui.stop, ui.send));
  container.replaceChildren(
    h("h1", { class: "offscreen", t: "playground" }),
    h("div", { class: "play" }, h("div", { class: "side" }, field("model", ui.model), ui.other, settings),
      h("div", { class: "talk", ondragover: (event) => event.preventDefault(), ondrop: drop },
        ui.log, ui.composer)));
  draw();
}

// The model

function fillModels() {
  const before = state.pending ?? modelName();
  state.pending = null;
  ui.model.replaceChildren(
    ...grouped(state.cards).map(([name, cards]) => h("optgroup", { label: groupName(name) }, cards.map((card) => h("option", { value: card.id }, card.id)))),
    h("option", { value: OTHER }, text("otherName")));
  const known = state.cards.some((card) => card.id === before);
  ui.model.value = known ? before : before ? OTHER : (state.cards[0]?.id ?? OTHER);
  if (!known && before) ui.other.value = before;
  chooseModel();
}

function chooseModel() {
  ui.other.hidden = ui.model.value !== OTHER;
  const efforts = card()?.reasoning_efforts ?? EFFORTS;
  const before = ui.effort.value;
  ui.effort.replaceChildren(h("option", { value: "", t: "unset" }), ...efforts.map((value) => h("option", { value }, value)));
  ui.effort.value = efforts.includes(before) ? before : "";
}

const modelName = () => (ui.model.value === OTHER ? ui.other.value.trim() : ui.model.value);
const card = () => state.cards.find((each) => each.id === modelName());

// Images

function addImage(name, url) {
  state.images.push({ name, url });
  drawStrip();
}

function addFiles(files) {
  for (const file of files) {
    if (!file.type.startsWith("image/")) {
      toast(`${file.name}: ${text("notImage")}`);
      continue;
    }
    const reader = new FileReader();
    reader.onload = () => addImage(file.name, reader.result);
    reader.readAsDataURL(file);
  }
}

function addUrl(event) {
  event.preventDefault();
  const url = ui.url.value.trim();
  if (!/^(https?:\/\/|data:image\/)/.test(url)) return ui.url.focus();
  addImage(url.slice(0, 80), url);
  ui.url.value = "";
  return undefined;
}

function paste(event) {
  if (!event.clipboardData.files.length) return;
  event.preventDefault();
  addFiles(event.clipboardData.files);
}

function drop(event) {
  event.preventDefault();
  addFiles(event.dataTransfer.files);
}

/** A picture where we hold its bytes; the address of one elsewhere is only shown: nothing is fetched from other hosts. */
const picture = ({ name, url }) =>
  url.startsWith("data:image/") ? h("img", { src: url, alt: name }) : h("code", { class: "far" }, url);

function drawStrip() {
  ui.strip.replaceChildren(...state.images.map((image, at) =>
    h("figure", {}, picture(image), h("figcaption", {}, image.name),
      h("button", { type: "button", "aria-label": `${text("remove")}: ${image.name}`, onclick: () => { state.images.splice(at, 1); drawStrip(); } }, "×"))));
}

// The request

function parsed(control, label) {
  if (!control.value.trim()) return undefined;
  try {
    return JSON.parse(control.value);
  } catch (error) {
    control.closest("details").open = true;
    control.focus();
    toast(`${text(label)} ${text("invalidJson")}: ${error.message}`);
    throw error;
  }
}

function messageOf(turn) {
  if (turn.role === "tool") return { role: "tool", tool_call_id: turn.id, content: turn.content };
  if (turn.role === "assistant") {
    const message = { role: "assistant", content: turn.content || (turn.calls?.length ? null : "") };
    if (turn.calls?.length) message.tool_calls = turn.calls.map(({ id, type, function: fn }) => ({ id, type, function: fn }));
    return message;
  }
  if (!turn.images?.length) return { role: "user", content: turn.content };
  const parts = turn.images.map(({ url }) => ({ type: "image_url", image_url: { url } }));
  return { role: "user", content: [...(turn.content ? [{ type: "text", text: turn.content }] : []), ...parts] };
}

/** The body of the next request. draft: with the message that is being written. Undefined when a field is wrong. */
function bodyOf(draft) {
  let tools, schema;
  try {
    tools = parsed(ui.tools, "toolsJson");
    schema = parsed(ui.schema, "schemaJson");
  } catch {
    return undefined;
  }
  const turns = state.turns.filter((turn) => !turn.error && !turn.note || turn.content || turn.calls?.length);
  const messages = turns.map(messageOf);
  if (ui.system.value.trim()) messages.unshift({ role: "system", content: ui.system.value });
  if (draft && (ui.message.value || state.images.length || !messages.length)) {
    messages.push(messageOf({ role: "user", content: ui.message.value || (state.images.length ? "" : "Hello!"), images: state.images }));
  }
  const body = { model: modelName(), messages };
  if (ui.stream.checked) Object.assign(body, { stream: true, stream_options: { include_usage: true } });
  if (ui.temperature.value !== "") body.temperature = Number(ui.temperature.value);
  if (ui.max.value !== "") body.max_tokens = Number(ui.max.value);
  if (ui.effort.value) body.reasoning_effort = ui.effort.value;
  if (tools !== undefined) body.tools = tools;
  if (tools !== undefined && ui.choice.value) body.tool_choice = ui.choice.value;
  if (schema !== undefined) body.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  return body;
}

function keys(event) {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    send();
  }
}

function newChat() {
  state.running?.abort();
  state.turns = [];
  draw();
}

async function send() {
  if (state.running) return;
  if (!ready()) {
    toast(text("keyNeeded"));
    dispatchEvent(new Event("ask-key"));
    return;
  }
  const said = ui.message.value;
  if (!said && !state.images.length && state.turns.at(-1)?.role !== "tool") return;
  if (bodyOf(false) === undefined) return;
  if (said || state.images.length) {
    state.turns.push({ role: "user", content: said, images: state.images });
    ui.message.value = "";
    state.images = [];
    drawStrip();
  }
  await run(bodyOf(false));
}

async function run(body) {
  const turn = { role: "assistant", content: "", reasoning: "", calls: [], model: body.model, request: body, wire: "", stats: {} };
  state.turns.push(turn);
  state.running = new AbortController();
  const began = performance.now();
  const time = () => (performance.now() - began) / 1000;
  ui.send.hidden = true;
  ui.stop.hidden = false;
  draw();
  try {
    const response = await call("/v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal: state.running.signal });
    turn.headers = [...response.headers].filter(([name]) => /^x-|retry-after|content-type/.test(name));
    turn.status = response.status;
    if (!response.ok) throw new Refused(response.status, await response.text(), turn.headers);
    if (body.stream) await readStream(response, turn, time);
    else readWhole(await response.text(), turn, time);
  } catch (error) {
    if (error.name === "AbortError") turn.note = text("stopped");
    else turn.error = failureOf(error, turn.status !== undefined);
  }
  turn.stats.total = time();
  if (turn.stats.usage) turn.stats.cost = cost(turn.stats.usage, await pricesOf(turn));
  turn.done = true;
  state.running = null;
  ui.send.hidden = false;
  ui.stop.hidden = true;
  draw();
}

/** Ask again for an answer, which is taken off the conversation. */
async function retry(turn) {
  if (state.running) return;
  state.turns.splice(state.turns.indexOf(turn));
  const body = bodyOf(false);
  if (body) await run(body);
}

async function readStream(response, turn, time) {
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
    for (const choice of chunk.choices.filter((each) => each.index === 0)) {
      take(choice.delta, turn, time);
      if (choice.finish_reason) turn.stats.finish = choice.finish_reason;
    }
    if (chunk.usage) turn.stats.usage = chunk.usage;
    later();
  }
  if (!done) turn.error = { status: turn.status, broken: true, body: "", says: text("brokeOff") };
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
  const [choice] = answer.choices;
  turn.stats.first = time();
  turn.content = choice?.message.content ?? choice?.message.refusal ?? "";
  turn.reasoning = choice?.message.reasoning_content ?? "";
  turn.calls = choice?.message.tool_calls ?? [];
  turn.stats.finish = choice?.finish_reason;
  turn.stats.usage = answer.usage;
}

// The conversation

let waiting = false;
/** Draw the last turn at the next frame: a fast stream has many chunks in one. */
function later() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    if (!state.turns.length) return;
    const atEnd = [ui.log, document.scrollingElement].every((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 60);
    const last = ui.log.querySelector(".turn:last-of-type");
    const turn = state.turns.at(-1);
    if (last?.turn === turn) redraw(last, turn);
    else draw();
    if (atEnd) toEnd();
  });
}

/** Show the end of the conversation. On a phone it is the page that scrolls. */
function toEnd() {
  ui.log.scrollTop = ui.log.scrollHeight;
  ui.composer.scrollIntoView({ block: "nearest", behavior: "instant" });
}

function redraw(node, turn) {
  node.querySelector(".said").textContent = turn.content;
  const thinking = node.querySelector(".thinking");
  thinking.hidden = !turn.reasoning;
  thinking.querySelector("pre").textContent = turn.reasoning;
  node.querySelector(".calls").replaceChildren(...turn.calls.filter(Boolean).map((tool) => drawCall(tool, turn)));
}

function drawCall(tool, turn) {
  const answered = state.turns.some((each) => each.role === "tool" && each.id === tool.id);
  tool.result ??= '{"ok": true}';
  const result = h("textarea", { rows: "2", class: "mono", "aria-label": `${text("toolResult")}: ${tool.function?.name ?? ""}`, value: tool.result, oninput: (event) => (tool.result = event.target.value) });
  return h("div", { class: "call" },
    h("p", {}, h("span", { class: "chip tools" }, text("toolCall")), " ", h("code", {}, tool.function?.name ?? tool.type)),
    h("pre", { class: "args" }, pretty(tool.function?.arguments ?? "")),
    turn.done && !answered && state.turns.at(-1) === turn ? h("label", { class: "field" }, h("span", {}, text("toolResult")), result) : null);
}

function pretty(source) {
  try {
    return JSON.stringify(JSON.parse(source), null, 2);
  } catch {
    return source;
  }
}

async function sendResults(turn) {
  for (const tool of turn.calls.filter(Boolean)) state.turns.push({ role: "tool", id: tool.id, name: tool.function?.name, content: tool.result });
  const body = bodyOf(false);
  if (body) {
    if (body.tool_choice === "required") body.tool_choice = "auto"; // or it would be called for ever
    await run(body);
  }
}

function statsLine(turn) {
  const { first, total, usage, finish } = turn.stats;
  const header = (name) => turn.headers?.find(([each]) => each === name)?.[1];
  const out = usage?.completion_tokens;
  const speed = out && first !== undefined && total - first > 0.001 && turn.request.stream ? `${number(out / (total - first), 1)} tok/s` : null;
  const dropped = header("x-modelserver-dropped");
  const items = [
    first !== undefined && turn.request.stream && ["ttft", seconds(first)],
    ["total", seconds(total)],
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

const prices = new Map(); // provider/model → a promise of its listed prices, or of null

/** The listed prices of whoever answered: not always the first that the model's card speaks of. */
async function pricesOf(turn) {
  const own = state.cards.find((each) => each.id === turn.model);
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

function drawTurn(turn) {
  if (turn.role === "tool") {
    return h("article", { class: "turn tool" }, h("h2", {}, `${text("toolResult")} · ${turn.name ?? ""}`), h("pre", { class: "args" }, turn.content));
  }
  if (turn.role === "user") {
    return h("article", { class: "turn user" }, h("h2", {}, text("you")), h("div", { class: "said" }, turn.content),
      turn.images?.length ? h("div", { class: "strip" }, turn.images.map((image) => h("figure", {}, picture(image), h("figcaption", {}, image.name)))) : null);
  }
  const node = h("article", { class: `turn assistant ${turn.done ? "" : "busy"}` }, h("h2", {}, turn.model),
    h("details", { class: "thinking", open: true, hidden: !turn.reasoning }, h("summary", {}, text("thinking")), h("pre", {}, turn.reasoning)),
    h("div", { class: "said" }, turn.content),
    h("div", { class: "calls" }, turn.calls.filter(Boolean).map((tool) => drawCall(tool, turn))),
    turn.done && turn.calls.length && state.turns.at(-1) === turn ? h("button", { type: "button", id: "play-results", onclick: () => sendResults(turn) }, text("sendResults")) : null,
    turn.error ? failure(turn.error, state.turns.at(-1) === turn ? () => retry(turn) : null) : null,
    turn.note ? h("p", { class: "faint" }, turn.note) : null,
    turn.done ? statsLine(turn) : null,
    turn.done ? h("details", { class: "raw" }, h("summary", {}, text("wire")),
      h("h3", {}, text("request")), h("pre", { tabindex: "0" }, colored(JSON.stringify(turn.request, null, 2).slice(0, WIRE_LIMIT), "json")),
      h("h3", {}, text("headers")), h("pre", { tabindex: "0" }, (turn.headers ?? []).map(([name, value]) => `${name}: ${value}`).join("\n")),
      h("h3", {}, text("response")), h("pre", { tabindex: "0", class: "bytes" }, turn.wire || turn.error?.body || "")) : null);
  node.turn = turn;
  return node;
}

function draw() {
  ui.log.replaceChildren(...(state.turns.length ? state.turns.map(drawTurn) : [h("p", { class: "empty" }, text("playEmpty"))]));
  if (state.turns.length) toEnd();
}

/** Another view wants a model, or a whole request, here. */
addEventListener("try-model", ({ detail }) => {
  state.pending = detail;
  if (ui.model) fillModels();
});
addEventListener("try-request", ({ detail: body }) => {
  state.pending = String(body.model ?? "");
  state.request = body;
  if (ui.model) adopt();
});

const textOf = (content) => (typeof content === "string" ? content : (content ?? []).filter((part) => part.type === "text").map((part) => part.text).join("\n"));

/** Take over a recorded request: its settings, and its conversation up to the last message of the user. */
function adopt() {
  const body = state.request;
  state.request = null;
  fillModels();
  const turns = [];
  ui.system.value = "";
  for (const message of body.messages ?? []) {
    const images = Array.isArray(message.content) ? message.content.filter((part) => part.type === "image_url").map((part) => ({ name: "image", url: String(part.image_url?.url ?? part.image_url) })) : [];
    const content = textOf(message.content);
    if (message.role === "system" || message.role === "developer") ui.system.value += (ui.system.value ? "\n" : "") + content;
    else if (message.role === "tool") turns.push({ role: "tool", id: message.tool_call_id, name: message.name, content });
    else if (message.role === "assistant") turns.push({ role: "assistant", content, reasoning: "", calls: message.tool_calls ?? [], model: body.model, request: body, stats: { total: 0 }, done: true });
    else turns.push({ role: "user", content, images });
  }
  const last = turns.at(-1)?.role === "user" ? turns.pop() : { content: "", images: [] };
  Object.assign(state, { turns, images: last.images });
  ui.message.value = last.content;
  ui.temperature.value = body.temperature ?? "";
  ui.max.value = body.max_tokens ?? body.max_completion_tokens ?? "";
  ui.effort.value = body.reasoning_effort ?? "";
  ui.stream.checked = body.stream === true;
  ui.tools.value = body.tools ? JSON.stringify(body.tools, null, 1) : "";
  ui.choice.value = typeof body.tool_choice === "string" ? body.tool_choice : "";
  const schema = body.response_format?.json_schema?.schema;
  ui.schema.value = schema ? JSON.stringify(schema, null, 1) : "";
  drawStrip();
  draw();
}

export async function update() {
  if (!ui.model) return;
  state.cards = [];
  try {
    if (ready()) state.cards = (await listModels()).filter((each) => !embeds(each));
  } catch (error) {
    toast(error.message);
  }
  fillModels();
  if (state.request) adopt();
}

export async function show(container) {
  build(container);
  await update();
}

export function translate() {
  if (!ui.model) return;
  fillModels();
  if (!state.running) draw();
}
