// The frame of the page: views and their addresses, language, theme, the key.
import * as admin from "./admin.js";
import { json, key, listModels, ready, server } from "./api.js";
import * as docs from "./docs.js";
import { h, relabel, remember, toast } from "./dom.js";
import * as inspector from "./inspector.js";
import * as models from "./models.js";
import * as playground from "./playground.js";
import { text } from "./text.js";
import * as usage from "./usage.js";

const VIEWS = { docs, models, playground, usage, inspector, admin };
const shown = new Set();
const root = document.documentElement;
const element = (id) => document.getElementById(id);

/** #playground is a view, #inspector/500 a thing in one, #streaming a section of the documentation. */
function address() {
  const [name, ...inside] = location.hash.slice(1).split("/");
  return { name, view: Object.hasOwn(VIEWS, name) ? name : "docs", inside: inside.join("/") };
}

let before = "";
function route() {
  const { name, view, inside } = address();
  for (const each of Object.keys(VIEWS)) {
    element(`view-${each}`).hidden = each !== view;
    const link = element("views").querySelector(`[href="#${each}"]`);
    if (each === view) {
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
    } else link.removeAttribute("aria-current");
  }
  document.title = view === "docs" ? "ModelServer" : `${text(view)} · ModelServer`;
  const container = element(`view-${view}`);
  if (!shown.has(view)) {
    shown.add(view);
    VIEWS[view].show(container, inside);
  } else VIEWS[view].resume?.(inside);
  if (docs.hasSection(name)) element(name)?.scrollIntoView();
  else if (view !== before) scrollTo({ top: 0, behavior: "instant" });
  before = view;
}

function frame() {
  element("views").replaceChildren(...Object.keys(VIEWS).map((name) => h("a", { href: `#${name}`, t: name })));
  element("language").textContent = text("otherLanguage");
  element("language").lang = root.lang === "zh" ? "en" : "zh";
  element("theme").setAttribute("aria-label", text("theme"));
  element("theme").title = text("theme");
  element("theme").textContent = "◐";
  keyLabel();
}

function keyLabel() {
  element("key").textContent = text(key.value ? "keySet" : "key");
  element("key").classList.toggle("set", key.value !== "");
}

function switchLanguage() {
  root.lang = root.lang === "zh" ? "en" : "zh";
  remember("language", root.lang);
  frame();
  relabel();
  for (const view of shown) VIEWS[view].translate?.();
  for (const link of element("views").children) {
    if (link.hash === `#${address().view}`) link.setAttribute("aria-current", "page");
  }
}

function switchTheme() {
  const dark = getComputedStyle(root).colorScheme.includes("dark") && !getComputedStyle(root).colorScheme.includes("light")
    ? true
    : root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
}

function openKey() {
  const dialog = element("key-dialog");
  const input = h("input", { type: "password", id: "key-input", autocomplete: "off", spellcheck: "false", placeholder: "sk-…", value: key.value });
  const wrong = h("p", { class: "wrong", role: "alert" });
  const close = () => dialog.close();
  const save = async (value) => {
    key.value = value.trim();
    wrong.textContent = "";
    try {
      if (ready()) await json("/v1/models");
    } catch (error) {
      if (error.status === 401 && key.value) {
        key.value = "";
        wrong.textContent = `${text("keyRefused")} ${error.message}`;
        keyLabel();
        return;
      }
    }
    keyLabel();
    close();
    toast(text(key.value ? "keySet" : "forget"));
    listModels(true).catch(() => {});
    for (const view of shown) VIEWS[view].update?.();
  };
  dialog.replaceChildren(
    h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); save(input.value); } },
      h("h2", { id: "key-title" }, text("key")),
      h("label", { for: "key-input", class: "offscreen" }, text("key")), input, wrong,
      h("p", { class: "hint" }, text(server.keyed ? "keyHint" : "keyNone")),
      h("div", { class: "row end" },
        h("button", { type: "button", class: "quiet", onclick: close }, text("cancel")),
        h("button", { type: "button", onclick: () => save("") }, text("forget")),
        h("button", { type: "submit", class: "primary" }, text("save")))));
  dialog.showModal();
}

relabel();
frame();
element("key").addEventListener("click", openKey);
element("language").addEventListener("click", switchLanguage);
element("theme").addEventListener("click", switchTheme);
addEventListener("hashchange", route);
addEventListener("ask-key", openKey);
addEventListener("key-changed", () => {
  keyLabel();
  listModels(true).catch(() => {});
});
route();
