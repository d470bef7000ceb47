// The administration: how providers are, what keys have used, a new key, a key that is disabled. The server says who may.
import { json, key, ready, server } from "./api.js";
import { copyButton, dollars, h, locale, meter, number, rich, seconds, toast } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { counted, text } from "./text.js";

const PERIOD = 5000; // ms between looks, while somebody looks

const state = { providers: null, keys: null, error: null, sure: "" }; // sure: the key that is asked about before it is disabled
let container;
let form;
let looking;

// Small things

/** A moment as the server means it: days and budgets begin by UTC. */
const moment = (iso) => `${iso.slice(0, 16).replace("T", " ")} UTC`;

const UNITS = [[86_400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
/** How long ago, in words. */
function ago(past) {
  const [size, unit] = UNITS.find(([each]) => past >= each) ?? UNITS.at(-1);
  return new Intl.RelativeTimeFormat(locale(), { numeric: "always" }).format(-Math.round(past / size), unit);
}

const kinds = { up: "up", on: "up", cooling_down: "cooling_down", trial: "cooling_down", throttled: "cooling_down", failing: "cooling_down", key_refused: "bad", disabled: "bad", expired: "bad" };
const chip = (name) => h("span", { class: `state ${kinds[name] ?? ""}` }, text(name));
const fact = (name, value) => (value === null || value === undefined || value === "" ? null : h("div", {}, h("dt", {}, text(name)), h("dd", {}, value)));

/** Replace what a box holds; what was folded out stays so, and focus stays where it is. */
function refill(box, ...nodes) {
  const open = new Set([...box.querySelectorAll("details[open]")].map((each) => each.dataset.name));
  const focused = box.contains(document.activeElement) ? document.activeElement.dataset.name : undefined;
  box.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  for (const each of box.querySelectorAll("[data-name]")) {
    if (each.localName === "details") each.open = open.has(each.dataset.name);
    else if (focused && each.dataset.name === focused) each.focus();
  }
}

// Providers

function latency(each) {
  return [["stream", "firstByte"], ["whole", "wholeAnswer"]].filter(([kind]) => each[kind]).map(([kind, name]) =>
    h("div", {}, h("dt", {}, counted(name, each[kind].answers, number(each[kind].answers))), h("dd", {}, `p50 ${seconds(each[kind].p50_ms / 1000)} · p95 ${seconds(each[kind].p95_ms / 1000)}`)));
}

/** The state of one target's breaker, or of a key of the provider. */
const ailment = (each) => h("li", {}, h("code", {}, each.model || "*"), " ", chip(each.state), " ",
  h("span", { class: "faint" }, [each.failures ? counted("inARow", each.failures, number(each.failures)) : "", each.seconds ? `${text("againIn")} ${Math.ceil(each.seconds)} s` : ""].filter(Boolean).join(" · ")));

const fault = (each) => h("li", {}, h("code", {}, each.code), " ", h("span", { class: "faint", title: each.request_id }, `${each.target} · ${ago(each.ago)}`));

function listOf(models) {
  if (!models) return text("listNotRead");
  if (models.failed) return [h("span", { class: "wrong" }, `${text("listFailed")} `, h("code", {}, models.failed)), models.age === null ? null : ` · ${counted("modelCount", models.listed, number(models.listed))}, ${ago(models.age)}`];
  return models.age === null ? text("listPending") : `${counted("modelCount", models.listed, number(models.listed))} · ${ago(models.age)}`;
}

const isIll = (each) => each.state !== "up" || Boolean(each.models?.failed);
const isUsed = (each) => each.calls > 0 || Boolean(each.latency.stream ?? each.latency.whole) || each.failures.length > 0;

function provider(each) {
  const [last, ...more] = each.failures;
  const used = [
    h("dl", {}, latency(each.latency), fact("callsNow", number(each.calls)), fact("upstreamKeys", each.keys > 1 ? number(each.keys) : null), fact("modelList", listOf(each.models))),
    h("div", { class: "faults" }, h("h4", {}, text("lastErrors")),
      last ? h("ul", { class: "plain" }, fault(last)) : h("p", { class: "faint" }, text("noErrors")),
      more.length ? h("details", { "data-name": `faults ${each.name}` }, h("summary", {}, counted("moreErrors", more.length, number(more.length))), h("ul", { class: "plain" }, more.map(fault))) : null),
  ];
  const idle = [each.models ? h("dl", {}, fact("modelList", listOf(each.models))) : null, h("p", { class: "faint" }, text("notCalled"))];
  return h("article", { class: `card ${isIll(each) ? "ill" : ""}` },
    h("h3", {}, h("span", {}, each.name), chip(each.state)),
    h("p", { class: "faint" }, each.base_url || each.protocol),
    each.unwell.length ? h("ul", { class: "plain" }, each.unwell.map(ailment)) : null,
    isUsed(each) ? used : idle);
}

const since = (day) => `${day} (${ago((Date.now() - Date.parse(day)) / 1000)})`;

function drawProviders() {
  const { data, facts } = state.providers;
  const [on, off] = [data.filter((each) => each.state !== "off"), data.filter((each) => each.state === "off")];
  on.sort((one, other) => isIll(other) - isIll(one) || isUsed(other) - isUsed(one)); // what wants a look comes first
  const dates = [facts.as_of && `${text("priceTable")} ${since(facts.as_of)}`, facts.local && `models.local.yaml ${since(facts.local)}`].filter(Boolean).join(" · ");
  refill(container.querySelector("#admin-providers"),
    h("div", { class: "cards" }, on.map(provider)),
    off.length ? h("details", { "data-name": "off" }, h("summary", {}, counted("providersOff", off.length, number(off.length))),
      h("ul", { class: "plain" }, off.map((each) => h("li", {}, each.name, " ", h("code", {}, each.lacks))))) : null,
    dates ? h("p", { class: "faint" }, dates) : null);
}

// Keys

const PERIODS = { month: "eachMonth", day: "eachDay", total: "forEver" };
const LABELS = { rpm: "perMinute", tpm: "tokensPerMinute", concurrency: "atOnce", budget_usd: "budgetName" };

/** How far a limit is used. */
function limit(each) {
  const money = each.name === "budget_usd";
  const shown = (value) => (value === null ? "?" : money ? dollars(value) : number(value));
  const name = text(LABELS[each.name]);
  return h("div", { class: "limit" }, h("dt", {}, money ? `${name} · ${text(PERIODS[each.period])}` : name),
    h("dd", {}, `${shown(each.used)} / ${shown(each.limit)}`),
    each.used === null ? null : h("dd", { class: "whole" }, meter(each.used, each.limit, `${name}: ${shown(each.used)} / ${shown(each.limit)}`)),
    each.resets_at ? h("dd", { class: "faint" }, `${text("resets")} ${moment(each.resets_at)}`) : null);
}

function actions(each) {
  if (!each.managed) return h("p", { class: "faint" }, rich(text("changeThere")));
  const button = (label, act, kind) => h("button", { type: "button", class: `small ${kind}`, "data-name": `act ${each.name}`, "aria-label": `${text(label)}: ${each.name}`, onclick: act }, text(label));
  if (each.state === "disabled") return button("enableKey", () => act("enable", each.name), "");
  if (state.sure !== each.name) return button("disableKey", () => sure(each.name), "");
  return h("div", { class: "row wrap" }, button("reallyDisable", () => act("disable", each.name), "danger"), h("button", { type: "button", class: "small quiet", onclick: () => sure("") }, text("cancel")));
}

function sure(name) {
  state.sure = name;
  drawKeys();
}

function keyCard(each) {
  return h("article", { class: `card ${each.state === "on" ? "" : "ill"}`, "data-key": each.name },
    h("h3", {}, h("span", {}, each.name), chip(each.state)),
    h("p", { class: "faint" }, each.admin ? h("span", { class: "chip warning" }, text("adminKey")) : null, each.passthrough ? h("span", { class: "chip" }, "passthrough") : null,
      each.models.map((name) => [name === "*" ? h("span", { class: "faint" }, text("allModels")) : h("code", {}, name), " "])),
    each.limits.length ? h("dl", { class: "limits" }, each.limits.map(limit)) : h("p", { class: "faint" }, text("noLimits")),
    h("dl", {}, each.today ? [fact("today", `${counted("requestCount", each.today.requests, number(each.today.requests))} · ${dollars(each.today.cost_usd)}`), fact("inTotal", dollars(each.total_usd)), fact("lastDay", each.last_day ?? text("never"))] : null,
      fact("expires", each.expires && moment(each.expires))),
    actions(each));
}

function drawKeys() {
  const { data, usage } = state.keys;
  refill(container.querySelector("#admin-keys"),
    data.length ? null : h("p", { class: "note" }, text("noKeys")),
    usage || !data.length ? null : h("p", { class: "faint" }, rich(text("usageUnknown"))),
    h("div", { class: "cards" }, data.map(keyCard)));
}

/** Disable or enable a key. */
async function act(action, name) {
  state.sure = "";
  const box = container.querySelector("#admin-said");
  try {
    const told = await json(`/admin/keys/${action}`, { method: "POST", body: JSON.stringify({ name }) });
    box.replaceChildren(...reloaded(told));
    toast(`${name}: ${text(action === "disable" ? "disabled" : "on")}`);
  } catch (error) {
    box.replaceChildren(failure(failureOf(error)));
  }
  await look();
}

/** A change that is written, but not at work. */
const reloaded = (told) => (told.reload ? [h("p", { class: "wrong", role: "alert" }, `${text("notReloaded")} ${told.reload}`)] : []);

// A new key

const NUMBERS = ["rpm", "tpm", "concurrency", "budget_usd"];

/** The form of a new key; it is made once, so that what was typed stays. */
function newForm() {
  const input = (name, options = {}) => h("input", { id: `new-${name}`, name, autocomplete: "off", spellcheck: "false", ...options });
  const label = (name, control) => h("label", { class: "field" }, h("span", { t: name }), control);
  const flag = (name, words) => h("label", { class: "inline" }, input(name, { type: "checkbox" }), h("span", { t: words }));
  const count = (name) => input(name, { type: "number", min: "1", step: "1", "t-placeholder": "noLimit" });
  const said = h("div", { id: "new-said" });
  return h("form", { id: "admin-add", onsubmit: (event) => { event.preventDefault(); add(event.currentTarget, said); } },
    h("div", { class: "grid" },
      label("keyOwner", input("name", { required: true, maxlength: "100" })),
      label("keyModels", input("models", { placeholder: "gpt-*,echo" })),
      label("perMinute", count("rpm")), label("tokensPerMinute", count("tpm")), label("atOnce", count("concurrency")),
      label("budgetDollars", input("budget_usd", { inputmode: "decimal", "t-placeholder": "noLimit" })),
      label("budgetPer", h("select", { id: "new-budget_period", name: "budget_period" }, Object.entries(PERIODS).map(([value, name]) => h("option", { value, t: name })))),
      label("lastValidDay", input("expires", { type: "date" }))),
    h("div", { class: "row wrap" }, flag("admin", "mayAdmin"), flag("passthrough", "mayPass"), flag("allow_unpriced", "mayUnpriced")),
    said, h("div", { class: "row" }, h("button", { type: "submit", class: "primary", t: "makeKey" })));
}

async function add(node, said) {
  const given = Object.fromEntries([...new FormData(node)].filter(([, value]) => value !== ""));
  for (const name of NUMBERS) if (name in given) given[name] = given[name].trim();
  for (const each of node.querySelectorAll("[type=checkbox]")) if (each.checked) given[each.name] = true;
  if (!("budget_usd" in given)) delete given.budget_period;
  said.replaceChildren();
  try {
    const told = await json("/admin/keys/add", { method: "POST", body: JSON.stringify(given) });
    node.reset();
    said.replaceChildren(...reloaded(told));
    showOnce(told);
  } catch (error) {
    said.replaceChildren(failure(failureOf(error)));
    return;
  }
  await look();
}

/** Show a new key, once: with its dialog it is gone from the page. */
function showOnce({ name, key: made, first }) {
  const dialog = container.querySelector("#made-dialog");
  if (first) server.keyed = true;
  const close = () => dialog.close();
  const use = () => {
    key.value = made;
    dispatchEvent(new Event("key-changed"));
    close();
  };
  dialog.onclose = () => {
    dialog.replaceChildren();
    if (first) update();
  };
  dialog.replaceChildren(
    h("h2", { id: "made-title" }, `${text("newKey")}: ${name}`),
    h("div", { class: "address" }, h("code", { id: "made-key" }, made), copyButton(made)),
    h("p", { class: "hint" }, rich(text("shownOnce")), first ? [" ", h("strong", {}, text("firstKey"))] : null),
    h("div", { class: "row end" }, first ? h("button", { type: "button", onclick: use }, text("useHere")) : null, h("button", { type: "button", class: "primary", onclick: close }, text("kept"))));
  dialog.showModal();
}

// The view

async function look() {
  if (!ready()) return;
  try {
    const [providers, keys] = await Promise.all([json("/admin/providers"), json("/admin/keys")]);
    const before = state.providers && !state.error;
    Object.assign(state, { providers, keys, error: null });
    if (!before) return render();
    drawProviders();
    drawKeys();
  } catch (error) {
    state.error = error;
    render();
  }
  return undefined;
}

function render() {
  const head = h("div", { class: "head" }, h("h1", {}, text("admin")));
  const lead = h("p", { class: "lead" }, rich(text("adminText")));
  if (!ready() || state.error?.status === 401 || state.error?.status === 403) {
    const words = ready() ? rich(text("adminOnly")) : text("keyNeeded");
    container.replaceChildren(head, lead, h("p", { class: "empty" }, words, " ", h("button", { type: "button", onclick: () => dispatchEvent(new Event("ask-key")) }, text("key"))));
    return;
  }
  if (state.error) return container.replaceChildren(head, lead, failure(failureOf(state.error), update));
  if (!state.providers) return container.replaceChildren(head, lead, h("p", { class: "empty" }, "…"));
  form ??= newForm();
  head.append(h("button", { type: "button", class: "quiet", onclick: look }, text("refresh")));
  container.replaceChildren(head, lead,
    h("section", { class: "part" }, h("h2", {}, text("providers")), h("div", { id: "admin-providers" })),
    h("section", { class: "part" }, h("h2", {}, text("keys")), h("div", { id: "admin-said" }), h("div", { id: "admin-keys" })),
    h("section", { class: "part" }, h("h2", {}, text("newKey")), h("p", { class: "faint" }, rich(text("newKeyText"))), form),
    h("dialog", { id: "made-dialog", "aria-labelledby": "made-title" }));
  drawProviders();
  drawKeys();
  return undefined;
}

export async function update() {
  if (!container) return;
  Object.assign(state, { providers: null, keys: null, error: null, sure: "" });
  render();
  await look();
}

export async function show(node) {
  container = node;
  await update();
  looking ??= setInterval(() => !document.hidden && !container.hidden && !state.error && !container.querySelector("dialog[open]") && look(), PERIOD);
}

export const resume = look;
export const translate = () => container && render();
