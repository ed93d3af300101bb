// <json-tree>: a value of JSON whose containers open and close. Its parts are created when they are opened.

import { element, printable, size } from "./dom.js";
import { isContainer } from "./json.js";

const MAX_ITEMS = 100;
const MAX_TEXT = 2000;
const KEY = /^[^\x00-,/:-@[-^`{-\x9f\s]+$/u;

/** A value as the subscription language writes it; null if it cannot. */
export function literal(value) {
  if (isContainer(value)) return null;
  if (typeof value !== "string") return JSON.stringify(value);
  // A quote after a backslash does not end a string.
  if (value.length > 500 || value.endsWith("\\") || !value.isWellFormed()) return null;
  if (value.startsWith("*") || value.endsWith("*")) return null;
  return value.includes('"') ? (value.includes("'") ? null : `'${value}'`) : `"${value}"`;
}

/** The condition that a path has a value; null if the language has none. */
export function condition(path, value) {
  const written = literal(value);
  const isKey = path.length && path.every((key) => KEY.test(key)) && !/^not$/i.test(path[0]);
  return written === null || !isKey ? null : `${path.join(".")}=${written}`;
}

class JsonTree extends HTMLElement {
  /** Show a value. Buttons at values send the event `condition` if `root` is the value of an event. */
  show(value, root = []) {
    this.replaceChildren(node(value, root, true));
  }
}

/** A value, after the label of its key. */
function node(value, path, isOpen, label = null) {
  if (!isContainer(value)) return leaf(value, path, label);
  const isList = Array.isArray(value);
  const entries = isList ? value.map((item, index) => [index, item]) : Object.entries(value);
  if (!entries.length) return element("span", { class: "leaf" }, label, element("span", { class: "value" }, isList ? "[ ]" : "{ }"));
  const details = element("details", { open: isOpen }, element("summary", {}, label, summary(entries.length, isList)));
  const fill = () => {
    details.removeEventListener("toggle", fill);
    // Conditions look into lists without an index.
    details.append(items(entries, (key) => (isList ? path : [...path, key])));
  };
  if (isOpen) fill();
  else details.addEventListener("toggle", fill);
  return details;
}

const summary = (length, isList) => (isList ? `[ ${length} ]` : `{ ${length} }`);

function items(entries, pathOf) {
  const list = element("ul");
  let shown = 0;
  const more = () => {
    for (const [key, item] of entries.slice(shown, shown + MAX_ITEMS)) {
      const path = pathOf(String(key));
      const isShort = isContainer(item) && Object.keys(item).length <= 20 && path.length < 5;
      const label = element("span", { class: "key" }, `${printable(String(key), 200)}: `);
      list.append(element("li", {}, node(item, path, isShort, label)));
    }
    shown = Math.min(entries.length, shown + MAX_ITEMS);
    if (shown < entries.length) {
      const button = element("button", { class: "quiet" }, `Show ${Math.min(MAX_ITEMS, entries.length - shown)} more`);
      button.addEventListener("click", () => {
        const place = list.children.length - 1;
        button.parentElement.remove();
        more();
        list.children[place]?.querySelector("button, summary")?.focus();
      });
      list.append(element("li", {}, button));
    }
  };
  more();
  return list;
}

function leaf(value, path, label) {
  const text = JSON.stringify(value);
  const kind = value === null ? "null" : typeof value === "object" ? "number" : typeof value;
  const shown = element("span", { class: `value ${kind}` }, printable(text, MAX_TEXT));
  const parts = [label, shown];
  if (text.length > MAX_TEXT) parts.push(element("small", {}, ` ${size(text.length)}`));
  const written = path.length ? condition(path, value) : null;
  if (written !== null && value !== "***") {
    const use = () => shown.dispatchEvent(new CustomEvent("condition", { bubbles: true, detail: written }));
    const name = `Use as filter: ${printable(written, 100)}`;
    parts.push(" ", element("button", { class: "use", title: name, "aria-label": name, click: use }, "filter"));
  }
  return element("span", { class: "leaf" }, ...parts);
}

customElements.define("json-tree", JsonTree);
