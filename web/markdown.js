// Markdown → nodes: what models write is text until a rule here makes an element of it, and no rule makes one that loads,
// runs or submits anything. Images are links, links lead to http(s) and mail only, and HTML is shown as it is written.
import { colored, copyButton, h } from "./dom.js";

const INLINE_LIMIT = 20_000; // characters of one paragraph that are searched for emphasis and links
const DEPTH = 12; // of lists and quotes inside each other
const SAFE = /^(?:https?:\/\/|mailto:)[^\s]+$/i;

// In this order: escape, code, image, link, bare address, bold, struck, italic. Repetitions are bounded: time is linear.
const INLINE = new RegExp(
  [
    String.raw`\\([!-/:-@[-\`{-~])`,
    String.raw`(\`{1,3})((?:(?!\2).){1,2000}?)\2(?!\`)`,
    String.raw`(!?)\[([^\[\]\n]{0,500})\]\(([^\s()<>]{1,2000}|[^\s()<>]{0,500}\([^\s()<>]{0,500}\)[^\s()<>]{0,500})(?: "[^"\n]{0,300}")?\)`,
    String.raw`(https?:\/\/[^\s<>"'\`)\]]{1,2000}[^\s<>"'\`)\].,;:!?*_])`,
    String.raw`(\*\*|(?<!\w)__)(?=\S)((?:(?!\8).){1,2000}?\S|\S)\8`,
    String.raw`~~(?=\S)([^~\n]{1,2000})~~`,
    String.raw`(?<![\w*])([*_])(?=\S)([^*_]{0,1000}[^\s*_])\11(?!\w)`,
  ].join("|"),
  "gs",
);

function link(address, content) {
  return h("a", { href: address, title: address, rel: "noopener noreferrer nofollow", target: "_blank" }, content);
}

/** A span of text → nodes and strings. */
function inline(source, depth = 0) {
  if (source.length > INLINE_LIMIT || depth > 4) return [source];
  const nodes = [];
  let last = 0;
  for (const found of source.matchAll(INLINE)) {
    const [all, escaped, , code, image, label, address, bare, , bold, struck, , italic] = found;
    let node = null;
    if (escaped !== undefined) node = escaped;
    else if (code !== undefined) node = h("code", {}, code.trim() || code);
    else if (address !== undefined) node = SAFE.test(address) ? link(address, image ? `${label || "image"} (${address})` : inline(label, depth + 1)) : null;
    else if (bare !== undefined) node = link(bare, bare);
    else if (bold !== undefined) node = h("strong", {}, inline(bold, depth + 1));
    else if (struck !== undefined) node = h("del", {}, inline(struck, depth + 1));
    else if (italic !== undefined) node = h("em", {}, inline(italic, depth + 1));
    if (node === null) continue; // shown as it is written
    nodes.push(source.slice(last, found.index), node);
    last = found.index + all.length;
  }
  nodes.push(source.slice(last));
  return nodes.filter((node) => node !== "");
}

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]{0,30})[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+|$)/;
const QUOTE = /^ {0,3}>\s?/;
const DELIMITERS = /^\s*\|?(?:\s*:?-+:?\s*\|)+\s*(?::?-+:?\s*\|?)?\s*$/;

export function codeBlock(source, language) {
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", { class: "tabs one" }, language || "text"), copyButton(source)),
    h("pre", { tabindex: "0" }, h("code", {}, colored(source, COLORS[language] ?? language))));
}
const COLORS = { js: "node", javascript: "node", ts: "node", typescript: "node", py: "python", sh: "curl", bash: "curl", yml: "yaml" };

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

function table(lines) {
  const [names, rule, ...rows] = lines.map(cells);
  const sides = rule.map((cell) => (/^:-+:$/.test(cell) ? "middle" : /-:$/.test(cell) ? "right" : undefined));
  const row = (kind) => (given) => h("tr", {}, names.map((_, at) => h(kind, { class: sides[at], scope: kind === "th" ? "col" : undefined }, inline(given[at] ?? ""))));
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": names.join(", ").slice(0, 80) || "table" },
    h("table", {}, h("thead", {}, row("th")(names)), h("tbody", {}, rows.map(row("td")))));
}

/** The lines of one list, from `at`: [its node, the line behind it]. Lines that are indented belong to their item. */
function list(lines, at, depth) {
  const [, indent, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const items = [];
  let box = null; // of a task
  while (at < lines.length) {
    const item = ITEM.exec(lines[at]);
    if (!item || item[1].length > indent.length + 1 || item[1].length < indent.length || /\d/.test(item[2]) !== ordered || RULE.test(lines[at])) break;
    const width = item[0].length;
    const own = [lines[at].slice(width)];
    for (at += 1; at < lines.length; at += 1) {
      const inside = /^\s*/.exec(lines[at])[0].length > indent.length;
      const blank = !lines[at].trim();
      if (blank ? !(/^\s/.test(lines[at + 1] ?? "") && lines[at + 1].trim()) : !inside && (ITEM.test(lines[at]) || begins(lines[at]) || !own.at(-1).trim())) break;
      own.push(lines[at].replace(new RegExp(`^\\s{0,${width}}`), ""));
    }
    if (!lines[at]?.trim() && ITEM.test(lines[at + 1] ?? "")) at += 1;
    box = /^\[([ xX])\] /.exec(own[0]);
    if (box) own[0] = own[0].slice(4);
    const content = blocks(own, depth + 1).map(({ node }) => node);
    const [first] = content;
    if (first?.nodeName === "P") content.splice(0, 1, ...first.childNodes);
    items.push(h("li", {}, box ? (box[1] === " " ? "☐ " : "☑ ") : null, content));
  }
  return [h(ordered ? "ol" : "ul", ordered ? { start: String(parseInt(mark, 10)) } : {}, items), at];
}

const begins = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line);

/** Lines → [{node, from}]: from is the line where the block begins. */
function blocks(lines, depth = 0) {
  if (depth > DEPTH) return [{ node: h("p", {}, lines.join("\n")), from: 0 }];
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const from = at;
    const line = lines[at];
    const [fence, heading] = [FENCE.exec(line), HEADING.exec(line)];
    let node = null;
    if (!line.trim()) {
      at += 1;
      continue;
    } else if (fence) {
      const end = new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},}\\s*$`);
      for (at += 1; at < lines.length && !end.test(lines[at]); ) at += 1;
      node = codeBlock(lines.slice(from + 1, at).join("\n"), fence[2].toLowerCase());
      at += 1;
    } else if (heading) {
      node = h("p", { class: `heading h${heading[1].length}`, role: "heading", "aria-level": String(Math.min(heading[1].length + 2, 6)) }, inline(heading[2]));
      at += 1;
    } else if (RULE.test(line)) {
      node = h("hr");
      at += 1;
    } else if (QUOTE.test(line)) {
      while (at < lines.length && lines[at].trim() && (QUOTE.test(lines[at]) || !begins(lines[at]))) at += 1;
      node = h("blockquote", {}, blocks(lines.slice(from, at).map((each) => each.replace(QUOTE, "")), depth + 1).map((each) => each.node));
    } else if (ITEM.test(line)) {
      [node, at] = list(lines, at, depth);
    } else if (line.includes("|") && DELIMITERS.test(lines[at + 1] ?? "") && cells(lines[at + 1]).length === cells(line).length) {
      while (at < lines.length && lines[at].includes("|")) at += 1;
      node = table(lines.slice(from, at));
    } else {
      for (at += 1; at < lines.length && lines[at].trim() && !begins(lines[at]) && !ITEM.test(lines[at]); ) at += 1;
      node = h("p", {}, inline(lines.slice(from, at).join("\n")));
    }
    found.push({ node, from });
  }
  return found;
}

/** A text that grows, drawn into a node. Blocks that are complete stay as they are; only the last one is drawn again. */
export class Markdown {
  constructor(node) {
    Object.assign(this, { node, drawn: 0, kept: 0 });
  }

  /** source: the whole text so far. */
  draw(source) {
    const rest = source.slice(this.drawn);
    const lines = rest.replaceAll("\r\n", "\n").split("\n");
    const found = blocks(lines);
    while (this.node.childNodes.length > this.kept) this.node.lastChild.remove();
    this.node.append(...found.map(({ node }) => node));
    if (found.length < 2 || rest.includes("\r")) return;
    this.kept += found.length - 1;
    this.drawn += lines.slice(0, found.at(-1).from).reduce((sum, line) => sum + line.length + 1, 0);
  }
}

/** A whole text, drawn once. */
export function markdown(source) {
  const node = h("div", { class: "said markdown" });
  new Markdown(node).draw(source);
  return node;
}
