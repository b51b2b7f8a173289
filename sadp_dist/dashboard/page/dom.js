// Creates elements. Text is always inserted as text, never parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** An element with attributes (a value of null, undefined or false leaves one out) and children: elements or text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false)
      made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined).map(asNode));
  return made;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** Set a text only if it has changed, so that screen readers announce it once. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A term and its description for a <dl>. */
export function pair(term, ...description) {
  return element("div", {}, element("dt", {}, term), element("dd", {}, ...description));
}
