// Tables that may grow long: folded to so many rows, with their sums at the end; on a phone each row is a card.
import { h, heads, number } from "./dom.js";
import { text } from "./text.js";

const SHOWN = 20; // rows, until all are asked for
const unfolded = new Set(); // names of tables

/** columns: [name, content of a row's cell, {number, sum: content of the cell under all rows, half: of a card's width}]. The first names its row. */
export function folded(name, label, columns, rows) {
  const box = h("div", { class: "folded" });
  const numbers = columns.filter(([, , more]) => more?.number).map(([column]) => column);
  const cell = ([column, , more], content, at) =>
    at === 0 ? h("th", { scope: "row" }, content)
      : h("td", { class: ["number", "half"].filter((name) => more?.[name]).join(" "), "data-label": text(column) }, content);
  const line = (contents) => h("tr", {}, columns.map((column, at) => cell(column, contents(column, at), at)));
  const sums = columns.some(([, , more]) => more?.sum !== undefined);
  const draw = () => {
    const shown = unfolded.has(name) ? rows : rows.slice(0, SHOWN);
    box.replaceChildren(
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
        h("table", { class: `carded ${name}` }, heads(columns.map(([column]) => column), numbers),
          h("tbody", {}, shown.map((row) => line(([, content]) => content(row)))),
          sums && rows.length > 1 ? h("tfoot", {}, line(([, , more], at) => (at ? more?.sum : `${text("sum")} · ${number(rows.length)}`))) : null)),
      rows.length > SHOWN
        ? h("button", { type: "button", class: "link", "aria-expanded": String(unfolded.has(name)), onclick: turn }, text(unfolded.has(name) ? "showFirst" : "showAll").replace("{}", number(unfolded.has(name) ? SHOWN : rows.length)))
        : "");
  };
  const turn = () => {
    if (!unfolded.delete(name)) unfolded.add(name);
    draw();
    box.querySelector("button").focus();
  };
  draw();
  return box;
}
