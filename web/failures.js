// What went wrong with a request, for a person: what happened, what the server said, what to do first. The JSON is folded.
import { Refused } from "./api.js";
import { h, pretty, rich } from "./dom.js";
import { SECTIONS, pick, text } from "./text.js";

const SHOWN = 1000; // characters of a message outside of the folded JSON

// What happened, by status. A stream that has begun has no status that says so: its headers were fine.
const BROKE_OFF = ["流中断了", "The stream broke off"];
const NO_ANSWER = ["服务器没有应答", "The server did not answer"];
const HAPPENED = {
  400: ["请求被拒绝", "The request was refused"],
  401: ["密钥不被接受", "The key was not accepted"],
  402: ["额度用完了", "The budget is spent"],
  403: ["没有权限", "This key may not do that"],
  404: ["没有这个模型或地址", "There is no such model or address"],
  408: ["请求超时", "The request took too long to arrive"],
  413: ["请求太大", "The request is too large"],
  429: ["请求太多", "Too many requests"],
  500: ["服务器出错", "The server failed"],
  502: ["上游出错", "The upstream failed"],
  503: ["暂时不可用", "Not available at the moment"],
  504: ["上游太久没有回答", "The upstream took too long"],
};

const FIRST = {
  0: ["确认服务器仍在运行、网络畅通，然后重试。", "check that the server is running and that you are online, then try again."],
  broken: ["重试。已经收到的部分不完整，不要当作完整的回答使用。", "try again. What has arrived is only a part: do not use it as a whole answer."],
  wait: ["等待 {} 秒，然后重试。", "wait {} s, then try again."],
  param: ["改正 `{}`。", "correct `{}`."],
  other: ["重试；如果反复出现，请把下面的 JSON 发给管理员。", "try again. If it stays, send the JSON below to the operator."],
};

/** What to do about each code, as the documentation's table says. param: what is wrong, where an error names it. */
function advice(code, status, param) {
  const [, , ...rows] = SECTIONS.find(({ id }) => id === "errors").body.find(([kind]) => kind === "table");
  const row = rows.find(([, , codes]) => codes.includes(`\`${code}\``));
  const told = row?.[3] ?? FIRST[status] ?? FIRST.other;
  return param && told[1].includes("`param`") ? FIRST.param.map((words) => words.replace("{}", () => param)) : told;
}

/** The error object of a body in any API's shape, or null. */
function errorIn(body) {
  try {
    const value = JSON.parse(body);
    return value?.error ?? value?.response?.error ?? null;
  } catch {
    return null;
  }
}

/** An exception → what failure() draws. began: whether the answer's headers, and perhaps a part of it, had arrived. */
export function failureOf(error, began = false) {
  if (!(error instanceof Refused)) return { status: 0, broken: began, body: "", says: began ? "" : error.message };
  const after = error.headers.find(([name]) => name === "retry-after")?.[1];
  return { status: error.status, broken: error.status < 400, body: error.body, says: error.message, after };
}

/** {status, broken, body, says, after} → its box. retry: does it again. */
export function failure({ status, broken, body, says, after }, retry) {
  const error = errorIn(body);
  const code = String(error?.code ?? error?.type ?? "").slice(0, 100);
  const param = typeof error?.param === "string" ? error.param.replaceAll("`", "").slice(0, 100) : "";
  const happened = broken ? BROKE_OFF : status ? (HAPPENED[status] ?? HAPPENED[status < 500 ? 400 : 500]) : NO_ANSWER;
  const first = after ? FIRST.wait.map((words) => words.replace("{}", after)) : broken && !code ? FIRST.broken : advice(code, status, param);
  return h("div", { class: "failure", role: "alert" },
    h("p", { class: "happened" }, h("strong", {}, pick(happened)), code ? [" · ", h("code", {}, code)] : null,
      status >= 400 ? h("span", { class: "faint" }, ` HTTP ${status}`) : null),
    says ? h("p", { class: "says" }, says.length > SHOWN ? `${says.slice(0, SHOWN)}…` : says) : null,
    h("p", { class: "first" }, h("span", { class: "faint" }, text("first")), " ", rich(pick(first))),
    retry ? h("div", { class: "row" }, h("button", { type: "button", class: "small retry", onclick: retry }, text("retry"))) : null,
    body ? h("details", {}, h("summary", {}, error ? "JSON" : text("response")), h("pre", { tabindex: "0" }, pretty(body))) : null);
}
