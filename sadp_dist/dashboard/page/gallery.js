// The examples with the highest scores, the lowest scores and the largest changes.

import { byId, element } from "./dom.js";
import { count, figure } from "./format.js";

export const SHELVES = [
  ["highest", { by: "score", lowest: false }],
  ["lowest", { by: "score", lowest: true }],
  ["changed", { by: "change", lowest: false }],
];

const EMPTY = {
  highest: "No example has a score yet.",
  lowest: "No example has a score yet.",
  changed: "No example has been scored twice yet.",
};

export function showShelf(name, examples) {
  byId(name).replaceChildren(
    ...(examples.length
      ? examples.map((example) => card(name, example))
      : [element("li", { class: "empty" }, EMPTY[name])]),
  );
}

export function showGalleryHint(images, problem) {
  byId("gallery-hint").textContent = problem
    ? `No images: ${problem}.`
    : images
      ? "Mislabelled and unusual examples often have the highest scores. Examples that the network has learned have the lowest."
      : "To show the images, start the dashboard with --images SOURCE --split train (folder, .zip, parquet or .beton).";
}

function picture(path, words) {
  const src = `${path.replace(/^\//, "")}?size=160`;
  const image = element("img", {
    src,
    alt: words,
    width: 96,
    height: 96,
    loading: "lazy",
    decoding: "async",
  });
  image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth < 64)); // sharp when enlarged
  return image;
}

function card(shelf, { index, value, score, label, name, image }) {
  const title = name ?? (label === null || label === undefined ? null : `class ${label}`);
  const number = shelf === "changed" ? `${value > 0 ? "+" : ""}${figure(value)}` : figure(value);
  const words = [`example ${count(index)}`, title].filter((word) => word !== null).join(", ");
  return element(
    "li",
    {},
    image
      ? picture(image, words)
      : element("span", { class: "no-image", "aria-hidden": "true" }, `#${index}`),
    element("span", { class: "label", title: words }, title ?? `#${index}`),
    element("span", { class: "number", title: shelf === "changed" ? `now ${figure(score)}` : null }, number),
  );
}
