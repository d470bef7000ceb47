// Elements, texts and small things every view needs. Nothing here, or anywhere, makes HTML out of a string: what models,
// upstreams and files say reaches the page as text nodes only, and the page's CSP (trusted-types 'none') holds us to it.
import { text } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const SVG_NAMES = new Set(["svg", "rect", "path", "circle", "line", "g", "title", "text"]);

/** An element. props: class, on… handlers, t (a key of text.js for its text), t-<attribute>, other attributes. */
export function h(name, props = {}, ...children) {
  const node = name.startsWith("svg:") && SVG_NAMES.has(name.slice(4))
    ? document.createElementNS(SVG, name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "t" || key.startsWith("t-")) node.setAttribute(`data-${key}`, value);
    else if (key === "value" || key === "checked" || key === "open" || key === "selected") node[key] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  if (props.t || Object.keys(props).some((key) => key.startsWith("t-"))) label(node);
  return node;
}

function label(node) {
  for (const { name, value } of [...node.attributes]) {
    if (name === "data-t") node.textContent = text(value);
    else if (name.startsWith("data-t-")) node.setAttribute(name.slice(7), text(value));
  }
}

/** Write all labels again: the language has changed. */
export function relabel(root = document) {
  for (const node of root.querySelectorAll("*")) {
    for (const { name } of node.attributes) {
      if (name === "data-t" || name.startsWith("data-t-")) {
        label(node);
        break;
      }
    }
  }
}

/** `code`, **bold** and [links](#inside) of our own texts → nodes. */
export function rich(source) {
  const parts = source.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\(#[a-z-]+\))/);
  return parts.filter(Boolean).map((part) => {
    if (part.startsWith("`")) return h("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return h("strong", {}, part.slice(2, -2));
    const link = /^\[([^\]]+)\]\((#[a-z-]+)\)$/.exec(part);
    return link ? h("a", { href: link[2] }, link[1]) : part;
  });
}

const KEYWORDS = new Set(
  ("import from for in if else elif try except as print async await const let new of while with def return export " +
    "curl true false null True False None").split(" "),
);
const TOKENS = /(#[^\n]*|\/\/[^\n]*)|("(?:[^"\\\n]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)|(\b\d+(?:\.\d+)?\b)|([A-Za-z_$][\w$]*)/g;

/** Source text → nodes with classes for comments, strings, numbers and keywords. */
export function colored(source, language = "") {
  if (source.length > 60_000) return [source];
  const nodes = [];
  let last = 0;
  for (const found of source.matchAll(TOKENS)) {
    const [all, comment, string, number, word] = found;
    if (comment && language !== "python" && language !== "curl" && language !== "yaml" && comment[0] === "#") continue;
    if (comment && language === "json") continue;
    if (comment && comment[0] === "/" && language !== "node") continue;
    let kind = comment ? "comment" : string ? "string" : number ? "number" : KEYWORDS.has(word) ? "keyword" : "";
    if (kind === "string" && /^\s*:/.test(source.slice(found.index + all.length, found.index + all.length + 2))) kind = "key";
    if (!kind) continue;
    nodes.push(source.slice(last, found.index), h("span", { class: kind }, all));
    last = found.index + all.length;
  }
  nodes.push(source.slice(last));
  return nodes;
}

/** Put a text on the clipboard and say so. */
export async function copy(content, button) {
  try {
    await navigator.clipboard.writeText(content);
  } catch {
    const area = h("textarea", { value: content, class: "offscreen", "aria-hidden": "true" }); // plain http is no secure context
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(text("copied"));
  button?.classList.add("done");
  setTimeout(() => button?.classList.remove("done"), 1200);
}

export function copyButton(content, label = "copy") {
  const button = h("button", { type: "button", class: "copy", t: label });
  button.addEventListener("click", () => copy(typeof content === "function" ? content() : content, button));
  return button;
}

let fading;
export function toast(message) {
  const node = document.getElementById("toast");
  node.textContent = message;
  node.classList.add("shown");
  clearTimeout(fading);
  fading = setTimeout(() => node.classList.remove("shown"), 1600);
}

/** The head of a table. Columns of numbers are named at their right. */
export const heads = (names, numbers = []) =>
  h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col", class: `col-${name} ${numbers.includes(name) ? "number" : ""}` }, name === "tryIt" ? h("span", { class: "offscreen" }, text(name)) : text(name)))));

/** JSON, indented; what is no JSON, as it is. */
export function pretty(source) {
  try {
    return JSON.stringify(JSON.parse(source), null, 2);
  } catch {
    return source;
  }
}

/** Keep a choice for the next visit. */
export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Storage may be forbidden: it holds for this visit.
  }
}

/** Say that a key is needed, and ask for it. */
export function askForKey() {
  toast(text("keyNeeded"));
  dispatchEvent(new Event("ask-key"));
}

const LOCALES = { zh: "zh-CN", en: "en-US" };
export const locale = () => LOCALES[document.documentElement.lang] ?? "en-US";
/** How much of a limit is used: the browser paints the last fifth yellow, and what is used up red. */
export const meter = (used, limit, label) =>
  h("meter", { min: "0", max: String(limit), low: String(limit * 0.8), high: String(limit * 0.99), optimum: "0", value: String(used), "aria-label": label });

export const number = (value, digits = 0) =>
  value === undefined || value === null ? "–" : Number(value).toLocaleString(locale(), { maximumFractionDigits: digits });
export const compact = (value) =>
  value === undefined || value === null
    ? "–"
    : Number(value).toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
export const seconds = (value) => (value < 1 ? `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms` : `${value.toFixed(value < 10 ? 2 : 1)} s`);

/** US dollars, with as many digits as small sums need. null: unknown. */
export function dollars(value) {
  if (value === undefined || value === null) return text("unknown");
  if (value === 0) return "$0";
  const digits = value >= 1 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(value)));
  return `$${value.toFixed(digits).replace(/(\.\d\d\d*?)0+$/, "$1")}`;
}
