// The playground: one conversation with one model, or with two side by side, and everything the wire says about it.
import { listModels, ready } from "./api.js";
import { ask, newTurn } from "./answer.js";
import { attach, attached, attachments, onDrop, onPaste } from "./attachments.js";
import { embeds, groupName, grouped } from "./cards.js";
import { adopt, columnOf, cutAt, keep, messageOf, messages, recall, remove, turns } from "./conversation.js";
import { askForKey, copy, h, toast } from "./dom.js";
import { explain } from "./explain.js";
import { adoptSettings, bodyFor, field, offerEfforts, restored, saved, settings } from "./settings.js";
import { asCurl, asNode, asPython } from "./snippets.js";
import { text } from "./text.js";
import { drawTurns, redraw } from "./turns.js";
import { labelled } from "./words.js";

const OTHER = "\u0000other";
const TOUCH = matchMedia("(pointer: coarse)"); // there Enter breaks the line, and focus would open a keyboard

const state = {
  cards: [],
  running: null, // AbortController
  pending: null, // model asked for by another view, or before a reload
  request: null, // asked for by the inspector
  second: "", // the model that answers beside the first; "": none
};
const ui = {};

function build(container) {
  ui.model = h("select", { id: "play-model", onchange: chooseModel });
  ui.second = h("select", { id: "play-second", onchange: () => { state.second = ui.second.value; save(); } });
  ui.other = h("input", { id: "play-other", hidden: true, "t-aria-label": "otherName", "t-placeholder": "otherName", spellcheck: "false" });
  ui.log = h("div", { class: "log", id: "play-log", role: "log", tabindex: "0", "t-aria-label": "playground" });
  ui.message = h("textarea", { id: "play-message", rows: "3", "t-placeholder": TOUCH.matches ? "messageHintTouch" : "messageHint", "t-aria-label": "message", onkeydown: keys, onpaste: onPaste });
  ui.send = h("button", { id: "play-send", type: "button", class: "primary", t: "send", onclick: send });
  ui.stop = h("button", { id: "play-stop", type: "button", class: "danger", hidden: true, t: "stop", onclick: () => state.running?.abort() });
  ui.explain = h("dialog", { id: "explain-dialog", class: "wide", "aria-labelledby": "explain-title" });

  const with_ = (label, use, id) => h("button", { type: "button", class: "small quiet", id, t: label, onclick: (event) => { const body = draft(); if (body) use(body, event.currentTarget); } });
  const as = (label, make) => with_(label, (body, button) => copy(make(body), button));
  const box = h("details", { class: "settings", id: "play-settings" }, h("summary", { t: "settings" }), h("div", { class: "second" }, field("beside", ui.second)),
    settings([as("asCurl", asCurl), as("asPython", asPython), as("asNode", asNode)]));
  box.open = matchMedia("(min-width: 900px)").matches;

  ui.composer = h("div", { class: "composer" }, attachments.strip, ui.message,
    h("div", { class: "row wrap" }, attachments.controls, h("span", { class: "spring" }),
      with_("explain", (body) => explain(body, ui.explain), "play-explain"),
      h("button", { type: "button", class: "small quiet", t: "newChat", id: "play-new", onclick: newChat }),
      ui.stop, ui.send));
  container.replaceChildren(
    h("h1", { class: "offscreen", t: "playground" }),
    h("div", { class: "play" },
      h("div", { class: "side", tabindex: "0", role: "region", "t-aria-label": "settings" }, field("model", ui.model), ui.other, box),
      h("div", { class: "talk", ondragover: (event) => event.preventDefault(), ondrop: onDrop }, ui.log, ui.composer)),
    ui.explain);
  const kept = recall();
  if (kept) {
    restored(kept.settings ?? {});
    state.pending = kept.model;
    state.second = kept.second ?? "";
    ui.message.value = kept.draft ?? "";
  }
  addEventListener("pagehide", save);
  draw();
}

const save = () => ui.model && keep({ settings: saved(), model: modelName(), second: state.second, draft: ui.message.value });

// The model

function fillModels() {
  const before = state.pending ?? modelName();
  state.pending = null;
  const groups = () => grouped(state.cards).map(([name, cards]) => h("optgroup", { label: groupName(name) }, cards.map((card) => h("option", { value: card.id }, labelled(card, state.cards)))));
  ui.model.replaceChildren(...groups(), h("option", { value: OTHER }, text(ready() ? "otherName" : "keyNeeded")));
  ui.second.replaceChildren(h("option", { value: "" }, text("noSecond")), ...groups());
  if (state.cards.length && !state.cards.some((card) => card.id === state.second)) state.second = "";
  ui.second.value = state.second;
  const known = state.cards.some((card) => card.id === before);
  ui.model.value = known ? before : before ? OTHER : (state.cards[0]?.id ?? OTHER);
  if (!known && before) ui.other.value = before;
  chooseModel();
}

function chooseModel() {
  ui.other.hidden = ui.model.value !== OTHER || !ready();
  offerEfforts(state.cards.find((each) => each.id === modelName()));
}

const modelName = () => (ui.model.value === OTHER ? ui.other.value.trim() : ui.model.value);

// The request

/** The next request, with the message that is being written. Undefined when a field is wrong. */
function draft() {
  const said = messages();
  const images = attached();
  if (ui.message.value || images.length || !said.length) {
    said.push(messageOf({ role: "user", content: ui.message.value || (images.length ? "" : "Hello!"), images }));
  }
  return bodyFor(modelName(), said);
}

/** Enter sends, Shift+Enter breaks the line. Enter that ends the input of a Chinese word does neither. */
function keys(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  if (TOUCH.matches && !event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  send();
}

function newChat() {
  state.running?.abort();
  turns.length = 0;
  draw();
  focus();
}

/** Put the focus into the box, unless it is elsewhere in this view: then it stays there. */
function focus() {
  const { activeElement } = document;
  const free = activeElement === document.body || activeElement?.hidden || ui.composer.contains(activeElement) || activeElement?.closest("#views");
  if (!TOUCH.matches && free) ui.message.focus({ preventScroll: true });
}

async function send() {
  if (state.running) return;
  if (!ready()) return askForKey();
  const [said, images] = [ui.message.value, attached()];
  if (!said && !images.length && turns.at(-1)?.role !== "tool") return;
  if (bodyFor(modelName(), []) === undefined) return;
  if (said || images.length) {
    turns.push({ role: "user", content: said, images });
    ui.message.value = "";
    attach([]);
  }
  await run();
}

/** Ask for answers to the conversation as it is, at once. columns: of the models that are asked; second: the one of column 1. */
async function run(columns = state.second ? [0, 1] : [0], second = state.second) {
  const bodies = columns.map((column) => bodyFor(column ? second : modelName(), messages(column)));
  if (state.running || !bodies.every(Boolean)) return draw();
  const asked = columns.map((column, at) => ({ ...newTurn(bodies[at]), column }));
  turns.push(...asked);
  state.running = new AbortController();
  busy(true);
  draw();
  save();
  await Promise.all(asked.map(async (turn) => {
    await ask(turn, state.running.signal, later, state.cards);
    if (turns.includes(turn)) draw();
  }));
  state.running = null;
  busy(false);
  draw();
  save();
  focus();
  return undefined;
}

function busy(now) {
  ui.send.hidden = now;
  ui.stop.hidden = !now;
}

/** Ask the model of a turn once more: the one that is chosen in its place, if one is. */
const again = (turn) => run([columnOf(turn)], state.second || turn.model);

const actions = {
  retry(turn) {
    if (state.running) return;
    cutAt(turn);
    again(turn);
  },
  remove(turn) {
    if (state.running) state.running.abort();
    remove(turn);
    draw();
    save();
  },
  edit(turn, content) {
    if (state.running) return;
    if (turn.role === "user") {
      cutAt(turn);
      turns.push({ ...turn, content });
      run();
      return;
    }
    Object.assign(turn, { content });
    draw();
    save();
  },
  results(turn) {
    if (state.running) return;
    for (const tool of turn.calls.filter(Boolean)) turns.push({ role: "tool", id: tool.id, name: tool.function?.name, content: tool.result, column: columnOf(turn) });
    again(turn);
  },
};

// The conversation

let waiting = false;
/** Draw what runs at the next frame: a fast stream has many chunks in one. */
function later() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const running = [...ui.log.querySelectorAll(".turn.busy")].filter(({ turn }) => turn && !turn.done && turns.includes(turn));
    if (!running.length) return;
    const atEnd = [ui.log, document.scrollingElement].every((box) => box.scrollHeight - box.scrollTop - box.clientHeight < 60);
    for (const node of running) redraw(node, node.turn);
    if (atEnd) toEnd();
  });
}

/** Show the end of the conversation. On a phone it is the page that scrolls. */
function toEnd() {
  ui.log.scrollTop = ui.log.scrollHeight;
  ui.composer.scrollIntoView({ block: "nearest", behavior: "instant" });
}

const nothing = () => h("p", { class: "empty" }, ready() ? text("playEmpty") : [text("keyNeeded"), " ", h("button", { type: "button", onclick: () => dispatchEvent(new Event("ask-key")) }, text("key"))]);

function draw() {
  ui.log.replaceChildren(...(turns.length ? drawTurns(actions) : [nothing()]));
  if (turns.length) toEnd();
}

/** Another view wants a model, or a whole request, here. */
addEventListener("try-model", ({ detail }) => {
  state.pending = detail;
  if (ui.model) fillModels();
});
addEventListener("try-request", ({ detail: body }) => {
  state.pending = String(body.model ?? "");
  state.request = body;
  if (ui.model) takeOver();
});

/** Take over a recorded request: its settings, and its conversation up to the last message of the user. */
function takeOver() {
  const body = state.request;
  state.request = null;
  fillModels();
  const { system, last } = adopt(body);
  adoptSettings(body, system);
  attach(last.images);
  ui.message.value = last.content;
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
  if (!turns.length) draw();
  if (state.request) takeOver();
}

export async function show(container) {
  const { pending } = state;
  build(container);
  state.pending = pending ?? state.pending; // what was asked for just now comes before what was kept
  focus();
  await update();
}

export const resume = focus;

export function translate() {
  if (!ui.model) return;
  fillModels();
  if (!state.running) draw();
}
