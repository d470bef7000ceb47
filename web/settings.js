// The settings of the playground: one control for each parameter, and the request that they make.
import { h, toast } from "./dom.js";
import { PLAY, text } from "./text.js";

const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

export const field = (label, control) => h("label", { class: "field" }, h("span", { t: label }), control);

// id → [label, parameter, its bounds]
const NUMBERS = {
  temperature: ["temperature", "temperature", { min: "0", max: "2", step: "0.1" }],
  max: ["maxTokens", "max_tokens", { min: "1", step: "1" }],
  "top-p": ["topP", "top_p", { min: "0", max: "1", step: "0.05" }],
  seed: ["seed", "seed", { step: "1" }],
  n: ["choices", "n", { min: "1", max: "8", step: "1" }],
  presence: ["presence", "presence_penalty", { min: "-2", max: "2", step: "0.1" }],
  frequency: ["frequency", "frequency_penalty", { min: "-2", max: "2", step: "0.1" }],
};

// id → label of a control that holds JSON
const JSONS = { tools: "toolsJson", schema: "schemaJson", extra: "extraJson" };

const controls = {};
const number = (id) => (controls[id] = h("input", { id: `play-${id}`, type: "number", "t-placeholder": "unset", ...NUMBERS[id][2] }));
const json = (id) => (controls[id] = h("textarea", { id: `play-${id}`, rows: "4", spellcheck: "false", class: "mono" }));
const numberField = (id) => field(NUMBERS[id][0], number(id));

/** The controls. actions: nodes that stand below them. */
export function settings(actions) {
  controls.system = h("textarea", { id: "play-system", rows: "2" });
  controls.effort = h("select", { id: "play-effort" });
  controls.stream = h("input", { id: "play-stream", type: "checkbox", checked: true });
  controls.choice = h("select", { id: "play-choice" }, ["", "auto", "required", "none"].map((value) => h("option", { value, t: value ? undefined : "unset" }, value)));
  controls.ends = h("textarea", { id: "play-ends", rows: "2", class: "mono", spellcheck: "false", "t-placeholder": "unset" });
  const example = (id, source) => h("div", { class: "row" }, h("button", { type: "button", class: "link", t: "example", onclick: () => {
    controls[id].value = JSON.stringify(JSON.parse(source), null, 1);
    if (id === "tools" && !controls.choice.value) controls.choice.value = "required";
  } }));
  return h("div", { class: "fields" },
    field("system", controls.system),
    h("div", { class: "pair" }, numberField("temperature"), numberField("max")),
    h("div", { class: "pair" }, field("effort", controls.effort), h("label", { class: "field check" }, h("span", { t: "streamed" }), controls.stream)),
    h("details", { class: "more" }, h("summary", { t: "advanced" }),
      field("toolsJson", json("tools")), example("tools", PLAY.tools), field("toolChoice", controls.choice),
      field("schemaJson", json("schema")), example("schema", PLAY.schema)),
    h("details", { class: "more", id: "play-sampling" }, h("summary", { t: "sampling" }),
      h("div", { class: "pair" }, numberField("top-p"), numberField("seed")),
      h("div", { class: "pair" }, numberField("presence"), numberField("frequency")),
      h("div", { class: "pair" }, numberField("n"), h("span")),
      field("stops", controls.ends), field("extraJson", json("extra"))),
    h("div", { class: "row wrap copies" }, actions));
}

/** Offer the efforts that a model takes; those of all where its card does not say. */
export function offerEfforts(card) {
  const efforts = card?.reasoning_efforts ?? EFFORTS;
  const before = controls.effort.value || controls.effort.dataset.wanted || "";
  controls.effort.replaceChildren(h("option", { value: "", t: "unset" }), ...efforts.map((value) => h("option", { value }, value)));
  controls.effort.value = efforts.includes(before) ? before : "";
  delete controls.effort.dataset.wanted;
}

/** The value of a control that holds JSON; undefined where it is empty. Throws what is wrong, after it has said so. */
function parsed(id) {
  const control = controls[id];
  if (!control.value.trim()) return undefined;
  try {
    const value = JSON.parse(control.value);
    if (id === "extra" && (value === null || typeof value !== "object" || Array.isArray(value))) throw new SyntaxError("{…}");
    return value;
  } catch (error) {
    for (let box = control.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    control.focus();
    toast(`${text(JSONS[id])} ${text("invalidJson")}: ${error.message}`);
    throw error;
  }
}

/** A request for these messages; undefined where a field is wrong. */
export function bodyFor(model, messages) {
  let tools, schema, extra;
  try {
    [tools, schema, extra] = [parsed("tools"), parsed("schema"), parsed("extra")];
  } catch {
    return undefined;
  }
  const { system, stream, effort, choice, ends } = controls;
  const body = { model, messages: system.value.trim() ? [{ role: "system", content: system.value }, ...messages] : messages };
  if (stream.checked) Object.assign(body, { stream: true, stream_options: { include_usage: true } });
  for (const [id, [, name]] of Object.entries(NUMBERS)) if (controls[id].value !== "") body[name] = Number(controls[id].value);
  if (effort.value) body.reasoning_effort = effort.value;
  const stops = ends.value.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n"));
  if (stops.length) body.stop = stops;
  if (tools !== undefined) body.tools = tools;
  if (tools !== undefined && choice.value) body.tool_choice = choice.value;
  // After a result the model may answer: told to call once more, it would call for ever.
  if (body.tool_choice === "required" && messages.at(-1)?.role === "tool") body.tool_choice = "auto";
  if (schema !== undefined) body.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  return { ...body, ...extra };
}

const TAKEN = new Set(["model", "messages", "stream", "stream_options", "reasoning_effort", "stop", "tools", "tool_choice", "response_format", "max_completion_tokens", ...Object.values(NUMBERS).map(([, name]) => name)]);

/** Set the controls to what a recorded request asks for; what has no control becomes extra JSON. */
export function adoptSettings(body, system) {
  for (const [id, [, name]] of Object.entries(NUMBERS)) controls[id].value = body[name] ?? "";
  controls.max.value = body.max_tokens ?? body.max_completion_tokens ?? "";
  controls.system.value = system;
  controls.effort.value = body.reasoning_effort ?? "";
  controls.stream.checked = body.stream === true;
  controls.tools.value = body.tools ? JSON.stringify(body.tools, null, 1) : "";
  controls.choice.value = typeof body.tool_choice === "string" ? body.tool_choice : "";
  controls.ends.value = [body.stop ?? []].flat().map((each) => String(each).replaceAll("\n", "\\n")).join("\n");
  const schema = body.response_format?.json_schema?.schema;
  controls.schema.value = schema ? JSON.stringify(schema, null, 1) : "";
  const extra = Object.fromEntries(Object.entries(body).filter(([name]) => !TAKEN.has(name) || (name === "response_format" && !schema)));
  controls.extra.value = Object.keys(extra).length ? JSON.stringify(extra, null, 1) : "";
}

/** What the controls hold, for restored(). */
export const saved = () => Object.fromEntries(Object.entries(controls).map(([id, control]) => [id, control.type === "checkbox" ? control.checked : control.value]));

export function restored(values) {
  for (const [id, control] of Object.entries(controls)) {
    if (!(id in values)) continue;
    if (control.type === "checkbox") control.checked = values[id];
    else if (id === "effort") control.dataset.wanted = values[id]; // its options come with the model
    else control.value = values[id];
  }
}
