// A request as code: the same body for curl, Python and Node.
import { server } from "./api.js";

const shell = (value) => `'${value.replaceAll("'", `'\\''`)}'`;

/** JSON → a Python literal. */
function python(value, indent = "    ") {
  const inner = `${indent}    `;
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) {
    const items = value.map((item) => python(item, inner));
    const line = `[${items.join(", ")}]`;
    return line.length < 88 && !line.includes("\n") ? line : `[\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}]`;
  }
  if (typeof value === "object") {
    const items = Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${python(item, inner)}`);
    const line = `{${items.join(", ")}}`;
    return line.length < 88 && !line.includes("\n") ? line : `{\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}}`;
  }
  return JSON.stringify(value);
}

export const setup = {
  curl: () => (server.keyed ? ` \\\n  -H "Authorization: Bearer $MODELSERVER_KEY"` : ""),
  python: () =>
    server.keyed
      ? `import os\n\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${server.base}", api_key=os.environ["MODELSERVER_KEY"])`
      : `from openai import OpenAI\n\nclient = OpenAI(base_url="${server.base}", api_key="none")`,
  anthropic: () =>
    server.keyed
      ? `import os\n\nfrom anthropic import Anthropic\n\nclient = Anthropic(base_url="${server.origin}", auth_token=os.environ["MODELSERVER_KEY"])`
      : `from anthropic import Anthropic\n\nclient = Anthropic(base_url="${server.origin}", auth_token="none")`,
  node: () =>
    `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${server.base}", apiKey: ` +
    `${server.keyed ? "process.env.MODELSERVER_KEY" : '"none"'} });`,
};

export function asCurl(body, path = "/v1/chat/completions") {
  return (
    `curl ${body.stream ? "-N " : ""}${server.origin}${path}${setup.curl()} \\\n` +
    `  -H "Content-Type: application/json" \\\n  -d ${shell(JSON.stringify(body))}`
  );
}

export function asPython(body) {
  const fields = Object.entries(body).map(([name, value]) => `    ${name}=${python(value)},\n`);
  const made = `client.chat.completions.create(\n${fields.join("")})`;
  return body.stream
    ? `${setup.python()}\nfor chunk in ${made}:\n    if chunk.choices:\n        print(chunk.choices[0].delta.content or "", end="", flush=True)\n`
    : `${setup.python()}\nanswer = ${made}\nprint(answer.choices[0].message.content)\n`;
}

export function asNode(body) {
  const made = `await client.chat.completions.create(${JSON.stringify(body, null, 2)})`;
  return body.stream
    ? `${setup.node()}\nconst stream = ${made};\nfor await (const chunk of stream) {\n  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");\n}\n`
    : `${setup.node()}\nconst answer = ${made};\nconsole.log(answer.choices[0].message.content);\n`;
}

/** Code that embeds a text, in each language. */
export function forEmbeddings(model) {
  const named = JSON.stringify(model);
  return {
    curl: asCurl({ model, input: "Hello!" }, "/v1/embeddings"),
    python: `${setup.python()}\nanswer = client.embeddings.create(model=${named}, input="Hello!")\nprint(len(answer.data[0].embedding))\n`,
    node: `${setup.node()}\nconst answer = await client.embeddings.create({ model: ${named}, input: "Hello!" });\nconsole.log(answer.data[0].embedding.length);\n`,
  };
}
