// The images of the message that is being written: pasted, dropped, chosen or by address.
import { h, toast } from "./dom.js";
import { text } from "./text.js";
import { picture } from "./turns.js";

const images = []; // {name, url}
const strip = h("div", { class: "strip", id: "play-images" });
const address = h("input", { id: "play-url", type: "url", "t-placeholder": "imageUrl", "t-aria-label": "imageUrl", onkeydown: (event) => event.key === "Enter" && addUrl(event) });
const file = h("input", { type: "file", accept: "image/*", multiple: true, class: "offscreen", id: "play-file", "t-aria-label": "chooseImage", tabindex: "-1", onchange: () => { addFiles(file.files); file.value = ""; } });

function draw() {
  strip.replaceChildren(...images.map((image, at) =>
    h("figure", {}, picture(image), h("figcaption", {}, image.name),
      h("button", { type: "button", "aria-label": `${text("remove")}: ${image.name}`, onclick: () => { images.splice(at, 1); draw(); } }, "×"))));
}

function addFiles(files) {
  for (const each of files) {
    if (!each.type.startsWith("image/")) {
      toast(`${each.name}: ${text("notImage")}`);
      continue;
    }
    const reader = new FileReader();
    reader.onload = () => set([...images, { name: each.name, url: reader.result }]);
    reader.readAsDataURL(each);
  }
}

function addUrl(event) {
  event.preventDefault();
  const url = address.value.trim();
  if (!/^(https?:\/\/|data:image\/)/.test(url)) return address.focus();
  address.value = "";
  return set([...images, { name: url.slice(0, 80), url }]);
}

function set(list) {
  images.splice(0, images.length, ...list);
  draw();
}

/** The images so far. */
export const attached = () => [...images];
export const attach = set;

export function onPaste(event) {
  if (!event.clipboardData.files.length) return;
  event.preventDefault();
  addFiles(event.clipboardData.files);
}

export function onDrop(event) {
  event.preventDefault();
  addFiles(event.dataTransfer.files);
}

export const attachments = {
  strip,
  controls: [file, h("button", { type: "button", class: "small quiet", t: "chooseImage", onclick: () => file.click() }),
    address, h("button", { type: "button", class: "small quiet", t: "addImage", id: "play-add-url", onclick: addUrl })],
};
