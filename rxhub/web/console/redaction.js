// Hides secrets in events, by the rules of `rxhub.redaction`. The server sends the names of secrets.

import { isContainer } from "./json.js";

const MASK = "***";
const MAX_LEVELS = 64;
const WORD = /[A-Z]+(?![a-z])|[A-Z]?[a-z]+|(?:(?![A-Za-z])\p{L})+/gu;
const URL_PASSWORD = /([A-Za-z][\w+.-]{0,30}:\/\/[^\s/?#@:"'<>]*:)[^\s/?#"'<>]+@/g;
const PARAMETER = /(?<![\w.%-])([\w.%-]{1,200})(\s?[=:]\s?)("[^"]*"|'[^']*'|[^\s&;,"')\]}[{]+)/g;
const BEARER = /\b(bearer +)[\w.~+/-]{8,}=*/gi;
const WEB_TOKEN = /(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*/g;

let rules = { names: new Set(), about: new Set(), asking: new Set(), labels: new Set(), values: new Set() };
const known = new Map();

/** Use the rules of the server. */
export function setRules(lists) {
  rules = Object.fromEntries(Object.entries(lists).map(([name, words]) => [name, new Set(words)]));
  known.clear();
}

const singular = (word) => (word.length > 3 && word.at(-1) === "s" && word.at(-2) !== "s" ? word.slice(0, -1) : word);

/** Whether the value of a name is secret. */
export function isSecret(name) {
  let found = known.get(name);
  if (found === undefined) {
    if (known.size > 4096) known.clear();
    known.set(name, (found = decide(name.slice(-200))));
  }
  return found;
}

function decide(name) {
  const words = (name.normalize("NFKC").match(WORD) ?? []).slice(-16).map((word) => word.toLowerCase());
  const { names, about, asking } = rules;
  if (!words.length) return false;
  const last = words.at(-1);
  const counted = ["used", "usage", "remaining", "left", "spent", "total", "max", "min"];
  const describes = about.has(last) || (asking.has(words[0]) && words.length > 1);
  if (describes || (counted.includes(last) && words.at(-2) === "tokens")) return names.has(singular(words.join("")));
  for (let begin = 0; begin < words.length; begin++) {
    for (let end = begin + 1; end <= words.length; end++) {
      const together = words.slice(begin, end).join("");
      if (names.has(singular(together)) && (together !== "pass" || words.length === 1)) return true;
    }
  }
  const ends = [...names].filter((each) => each.length >= 5 || each === "jwt" || each === "pwd");
  return [...words, words.join("")].some((word) => ends.some((end) => singular(word).endsWith(end)));
}

/** The text without passwords in URLs, tokens, and values of parameters with a secret name. */
export function redactedText(text) {
  if (!/[=:]|earer |EARER |eyJ/.test(text)) return text;
  return text
    .replace(URL_PASSWORD, `$1${MASK}@`)
    .replace(BEARER, `$1${MASK}`)
    .replace(PARAMETER, (whole, name, sign) => (isSecret(name) ? `${name}${sign}${MASK}` : whole))
    .replace(WEB_TOKEN, MASK);
}

/** A copy of a value of JSON without secrets. */
export function redacted(value, levels = MAX_LEVELS) {
  if (typeof value === "string") return redactedText(value);
  if (!isContainer(value)) return value;
  if (!levels) return "…";
  if (Array.isArray(value)) {
    if (value.length === 2 && typeof value[0] === "string" && isSecret(value[0])) return [value[0], MASK];
    return value.map((item) => redacted(item, levels - 1));
  }
  const entries = Object.entries(value);
  const isLabelled = entries.some(
    ([key, item]) => rules.labels.has(key.toLowerCase()) && typeof item === "string" && isSecret(item),
  );
  const isHidden = (key) => isSecret(key) || (isLabelled && rules.values.has(key.replace(/[_\- ]/g, "").toLowerCase()));
  // Without a prototype: a key may be `__proto__`.
  const copy = Object.create(null);
  for (const [key, item] of entries) copy[key] = isHidden(key) ? MASK : redacted(item, levels - 1);
  return copy;
}
