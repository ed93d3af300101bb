// The keys and values of events that were seen, for completion. Bounded, whatever the events are.

import { isContainer } from "./json.js";
import { literal } from "./json-tree.js";

const MAX_KEYS = 300;
const MAX_VALUES = 30;
const MAX_NODES = 200;
const MAX_LENGTH = 80;
const KEYWORDS = ["and", "or"];
const KEY = String.raw`[^\x00-,/:-@[-^\x60{-\x9f\s]+`;
const AT_VALUE = new RegExp(String.raw`(${KEY})\s*(?:!=|>=|<=|=|>|<)\s*("[^"]*|'[^']*|[^\s()"']*)$`, "u");
const AT_KEY = new RegExp(String.raw`(?:^|[\s(])(${KEY})?$`, "u");

export class Vocabulary {
  #values = new Map([["topic", new Set()], ["source.user.username", new Set()]]);

  /** Learn the keys and values of an event. */
  learn(event) {
    let left = MAX_NODES;
    const visit = (value, key) => {
      if (left-- <= 0) return;
      if (Array.isArray(value)) for (const item of value.slice(0, 10)) visit(item, key);
      else if (isContainer(value)) {
        for (const [name, item] of Object.entries(value).slice(0, 50)) visit(item, key ? `${key}.${name}` : name);
      } else if (key && key.length <= MAX_LENGTH) this.#add(key, value);
    };
    visit(event, "");
  }

  #add(key, value) {
    let values = this.#values.get(key);
    if (!values) {
      if (this.#values.size >= MAX_KEYS) return;
      this.#values.set(key, (values = new Set()));
    }
    const written = literal(value);
    if (written === null || written.length > MAX_LENGTH) return;
    // The latest last.
    values.delete(written);
    values.add(written);
    if (values.size > MAX_VALUES) values.delete(values.values().next().value);
  }

  /** What can stand before the end of `text`: the begin of the part that it replaces, and texts. */
  complete(text) {
    const atValue = AT_VALUE.exec(text);
    if (atValue) {
      const typed = atValue[2].replace(/^["']/, "").toLowerCase();
      const values = [...(this.#values.get(atValue[1]) ?? [])].reverse();
      const bare = (value) => value.replace(/^["']|["']$/g, "");
      const found = values.filter((value) => bare(value).toLowerCase().includes(typed) && value !== atValue[2]);
      return { begin: text.length - atValue[2].length, texts: found.map((value) => shortest(value)).slice(0, 12) };
    }
    const atKey = AT_KEY.exec(text);
    if (!atKey) return { begin: text.length, texts: [] };
    const begin = text.length - (atKey[1] ?? "").length;
    const typed = text.slice(begin).toLowerCase();
    const before = text.slice(0, begin).trimEnd();
    if (before && !/(?:\b(?:and|or|not)|\()$/i.test(before)) {
      return { begin, texts: KEYWORDS.filter((word) => word.startsWith(typed) && word !== typed) };
    }
    const keys = [...this.#values.keys()].filter((key) => key.toLowerCase().includes(typed) && key !== typed);
    keys.sort((a, b) => !a.toLowerCase().startsWith(typed) - !b.toLowerCase().startsWith(typed) || (a < b ? -1 : 1));
    return { begin, texts: keys.slice(0, 12).map((key) => `${key}=`) };
  }
}

/** A string without its quotes, if it means the same. */
function shortest(value) {
  const bare = value.slice(1, -1);
  const needsNone = value[0] === '"' && /^[A-Za-z_/@][\w\-.,/@+:%#]*$/.test(bare) && !/^(true|false|null)$/.test(bare);
  return needsNone ? bare : value;
}
