// Making elements. Text goes in as text, whatever it holds: nothing here reads HTML.

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

/** Text that screen readers announce only when it is another one. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A pair for a <dl>: what it is called, and its value. */
export function pair(term, ...description) {
  return element("div", {}, element("dt", {}, term), element("dd", {}, ...description));
}
