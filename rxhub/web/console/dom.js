// Creates elements, and makes text of other programs safe to look at. Values only become text nodes and attributes.

/** An element. Functions in `properties` listen to the event of their name, the others are attributes. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(key, value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** A copy of the content of a template. */
export function template(id) {
  return document.getElementById(id).content.cloneNode(true);
}

// As `rxhub.text.printable`: control, bidirectional and invisible characters, and piles of combining marks.
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0]|\p{M}{9,}/gu;

/** The text with escapes for characters that are invisible or change the order of others. */
export function printable(text, limit = Infinity) {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut.replace(HIDDEN, (found) =>
    Array.from(found, (character) => `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`).join(""),
  );
}

/** Any value of JSON as a text. */
export function written(value) {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "");
}

/** Tell people with screen readers. */
export function announce(text) {
  document.getElementById("announcements").textContent = text;
}

/** Copy a text, and tell so. */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS, browsers offer the clipboard only to pages of this machine.
    const area = element("textarea", { class: "offscreen", "aria-label": what });
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(`Copied ${what}.`);
}

let toastTimer = 0;

/** Show a message for some seconds. */
export function toast(text, isError = false) {
  const shown = document.getElementById("toast");
  shown.textContent = printable(text, 1000);
  shown.classList.toggle("error", isError);
  shown.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (shown.hidden = true), isError ? 8000 : 3000);
}

const SIZES = ["B", "kB", "MB", "GB", "TB"];

/** A size such as `1.5 MB`. */
export function size(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toLocaleString("en", { maximumSignificantDigits: 3 })} ${SIZES[power]}`;
}

/** A number such as `12,345`. */
export function count(number) {
  return number == null ? "–" : number.toLocaleString("en");
}

/** The time of day with milliseconds, or the date too if it is another day. */
export function time(date, milliseconds = true) {
  if (Number.isNaN(date.getTime())) return "";
  const pad = (number, digits = 2) => String(number).padStart(digits, "0");
  const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
  const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
  const prefix = date.toDateString() === new Date().toDateString() ? "" : `${day} `;
  return prefix + clock + (milliseconds ? `.${pad(date.getMilliseconds(), 3)}` : "");
}

/** A table of texts. A heading that begins with `#` has numbers below it. */
export function table(headings, rows) {
  const kinds = headings.map((heading) => (heading.startsWith("#") ? "number" : null));
  const head = headings.map((heading, index) => element("th", { scope: "col", class: kinds[index] }, heading.replace(/^#/, "")));
  const body = rows.map((row) => element("tr", {}, ...row.map((text, index) => element("td", { class: kinds[index] }, text))));
  return element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
}
