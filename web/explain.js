// POST /v1/explain: where a request would go, in which order, as what and for how much. Nothing is sent to a model.
import { json } from "./api.js";
import { colored, dollars, h, number, rich } from "./dom.js";
import { failure, failureOf } from "./failures.js";
import { text } from "./text.js";

const KINDS = { asked: "up", asked_next: "", passed_over: "bad", refused: "bad", not_reached: "" };

const list = (name, names) => names?.length ? h("div", {}, h("dt", {}, text(name)), h("dd", {}, names.join(", "))) : null;

function drawTarget(each) {
  const { estimate = {}, request } = each;
  const kind = KINDS[each.verdict] ?? "";
  return h("li", { class: `attempt ${kind === "bad" ? "bad" : ""}` },
    h("h3", {}, h("code", {}, each.target), " ", h("span", { class: `state ${kind}` }, text(each.verdict)), each.native ? [" ", h("span", { class: "chip" }, text("native"))] : null),
    each.why ? h("p", {}, each.why.message, " ", h("code", {}, each.why.code)) : null,
    h("dl", { class: "stats" },
      h("div", {}, h("dt", {}, text("promptTokens")), h("dd", {}, number(estimate.prompt_tokens))),
      h("div", {}, h("dt", {}, text("atMost")), h("dd", {}, number(estimate.completion_tokens_at_most))),
      h("div", {}, h("dt", {}, text("costAtMost")), h("dd", {}, dollars(estimate.cost_usd_at_most))),
      list("mappedFields", each.mapped), list("droppedFields", each.dropped), list("addedFields", each.added)),
    request ? h("details", {}, h("summary", {}, `${request.method} ${request.url}`), h("pre", { tabindex: "0" }, colored(JSON.stringify(request.body, null, 2).slice(0, 100_000), "json"))) : null);
}

/** Show in a dialog where this request would go. */
export async function explain(body, dialog) {
  const box = h("div", { class: "explained" }, h("p", { class: "faint" }, "…"));
  dialog.replaceChildren(
    h("div", { class: "head" }, h("h2", { id: "explain-title" }, text("explain")), h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, text("close"))),
    h("p", { class: "hint" }, rich(text("explainText"))), box);
  if (!dialog.open) dialog.showModal();
  try {
    const told = await json("/v1/explain", { method: "POST", body: JSON.stringify(body) });
    box.replaceChildren(h("ol", {}, told.targets.map(drawTarget)),
      h("details", {}, h("summary", {}, "JSON"), h("pre", { tabindex: "0" }, colored(JSON.stringify(told, null, 2).slice(0, 200_000), "json"))));
  } catch (error) {
    box.replaceChildren(failure(failureOf(error), () => explain(body, dialog)));
  }
}
