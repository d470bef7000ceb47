// The response beside a request of the documentation: not written down, but what this server's echo answers, now.
import { call, ready, server } from "./api.js";
import { askForKey, colored, h, pretty } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { text } from "./text.js";

const KEPT = 60_000; // characters of a response that are shown

/** A line for curl → {path, body}, or null where it is not a plain call of this server. echo: the model that answers. */
export function requestOf(source, model, echo) {
  const url = source.replace(/"\$OPENAI_BASE_URL([^"]*)"/, `${server.base}$1`).match(/\bcurl(?: -[A-Za-z]+)* (\S+)/)?.[1] ?? "";
  const sent = source.match(/ -d '((?:[^']|'\\'')*)'/)?.[1];
  if (!url.startsWith(`${server.origin}/`) || (sent === undefined && source.includes(" -F "))) return null;
  const path = url.slice(server.origin.length);
  if (sent === undefined) return { path: path.endsWith(`/${model}`) ? `${path.slice(0, -model.length)}${echo}` : path };
  try {
    const body = JSON.parse(sent.replaceAll(`'\\''`, "'"));
    if (typeof body.model !== "string") return null;
    return { path, body: JSON.stringify(/^(echo|no-such-model)/.test(body.model) ? body : { ...body, model: echo }) };
  } catch {
    return null;
  }
}

/** Fill a box with the response to a request. all: whether every x- header is shown. */
async function fill(box, { path, body }, all) {
  box.replaceChildren(h("p", { class: "faint" }, "…"));
  try {
    const response = await call(path, body === undefined ? {} : { method: "POST", body });
    const content = pretty(await response.text()).slice(0, KEPT);
    const headers = [...response.headers].filter(([name]) => name === "content-type" || (all && name.startsWith("x-")));
    const head = [`HTTP ${response.status}`, ...headers.map(([name, value]) => `${name}: ${value}`)].join("\n");
    box.replaceChildren(h("pre", { tabindex: "0", "aria-label": text("response"), "data-response": "" }, h("code", {}, head, "\n\n", colored(content, "json"))));
  } catch (error) {
    box.replaceChildren(failure(failureOf(error), () => fill(box, { path, body }, all)));
  }
}

/** [a button, the box that it opens and fills]. */
export function sample(request, all) {
  const box = h("div", { class: "sample", hidden: true, "aria-live": "polite" });
  const button = h("button", { type: "button", class: "response", "aria-expanded": "false", title: text("responseHint"), onclick: () => {
    if (!ready()) return askForKey();
    box.hidden = !box.hidden;
    button.setAttribute("aria-expanded", String(!box.hidden));
    if (!box.hidden) fill(box, request, all);
  } }, text("response"));
  return [button, box];
}
