// <filter-box>: an input for a subscription. The server checks it; keys and values that were seen complete it.

import { call } from "./api.js";
import { element, printable } from "./dom.js";

const CHECK_MS = 150;
let boxes = 0;

class FilterBox extends HTMLElement {
  #vocabulary = null;
  #applied = "";
  #timer = 0;
  #check = new AbortController();
  #begin = 0;
  #active = -1;

  connectedCallback() {
    if (this.input) return;
    const id = `filter-${++boxes}`;
    this.input = element("input", {
      id, type: "text", role: "combobox", spellcheck: "false", autocomplete: "off", autocapitalize: "off",
      enterkeyhint: "search", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": `${id}-list`,
      "aria-describedby": `${id}-message`, placeholder: this.getAttribute("placeholder"), maxlength: "8192",
    });
    this.backdrop = element("div", { class: "backdrop", "aria-hidden": "true" });
    this.list = element("ul", { id: `${id}-list`, role: "listbox", "aria-label": "Completions", hidden: true });
    this.message = element("p", { id: `${id}-message`, class: "message", role: "status" });
    const label = element("label", { for: id }, this.getAttribute("label"));
    // The completions are below the message, so that they do not cover an error.
    this.append(label, element("div", { class: "field" }, this.backdrop, this.input), this.message, this.list);
    this.input.addEventListener("input", () => this.#changed(true));
    this.input.addEventListener("scroll", () => (this.backdrop.scrollLeft = this.input.scrollLeft));
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("keydown", (event) => this.#key(event));
  }

  set vocabulary(vocabulary) {
    this.#vocabulary = vocabulary;
  }

  get value() {
    return this.input.value;
  }

  /** Replace the text, and apply it if it is valid. */
  async apply(text = this.value) {
    this.input.value = text;
    this.#close();
    clearTimeout(this.#timer);
    if (!(await this.#isValid()) || this.value !== text) return;
    this.#applied = text;
    this.#say("");
    this.dispatchEvent(new CustomEvent("filter", { bubbles: true, detail: text }));
  }

  /** Add a condition to the text, and apply it. */
  add(condition) {
    const text = this.value.trim();
    if (!text) return this.apply(condition);
    return this.apply(/\bor\b/i.test(text) ? `(${text}) and ${condition}` : `${text} and ${condition}`);
  }

  #changed(complete) {
    clearTimeout(this.#timer);
    this.#mark(-1);
    this.#timer = setTimeout(async () => {
      if (await this.#isValid()) this.#say(this.value === this.#applied ? "" : "Press Enter to apply.");
    }, CHECK_MS);
    if (complete) this.#complete();
  }

  async #isValid() {
    this.#check.abort();
    this.#check = new AbortController();
    const text = this.value;
    try {
      await call("POST", "api/explain", { subscription: text }, { signal: this.#check.signal });
    } catch (error) {
      if (error.name === "AbortError" || this.value !== text) return false;
      const { position, message, expected, hint } = error.details ?? {};
      if (position === undefined) {
        this.#say(error.message, true);
      } else {
        this.#mark(position);
        this.#say([message, expected && `Expected ${expected}.`, hint].filter(Boolean).join(" "), true);
      }
      return false;
    }
    this.#mark(-1);
    return true;
  }

  #mark(position) {
    const isError = position >= 0;
    this.input.setAttribute("aria-invalid", String(isError));
    if (!isError) return this.backdrop.replaceChildren();
    const text = Array.from(this.value); // the server counts code points
    const rest = text.slice(position).join("");
    const wrong = /^\s*(?:[\w.-]+|\S)?/u.exec(rest)[0] || "\u00a0";
    this.backdrop.replaceChildren(text.slice(0, position).join(""), element("mark", {}, wrong), rest.slice(wrong.length));
    this.backdrop.scrollLeft = this.input.scrollLeft;
  }

  #say(text, isError = false) {
    this.message.textContent = printable(text);
    this.message.classList.toggle("error", isError);
  }

  #complete() {
    const { selectionStart: caret, selectionEnd: end } = this.input;
    const { begin, texts } = this.#vocabulary && caret === end
      ? this.#vocabulary.complete(this.value.slice(0, caret))
      : { begin: 0, texts: [] };
    this.#begin = begin;
    this.#active = -1;
    this.list.replaceChildren(
      ...texts.map((text, index) => {
        const choose = (event) => {
          event.preventDefault(); // the input keeps the focus
          this.#choose(index);
        };
        const id = `${this.list.id}-${index}`;
        const option = element("li", { id, role: "option", "aria-selected": "false", mousedown: choose }, printable(text));
        option.text = text;
        return option;
      }),
    );
    this.list.hidden = !texts.length;
    this.input.setAttribute("aria-expanded", String(!!texts.length));
    this.input.removeAttribute("aria-activedescendant");
  }

  #close() {
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #choose(index) {
    const { text } = this.list.children[index];
    const rest = this.value.slice(this.input.selectionStart);
    const written = this.value.slice(0, this.#begin) + text + (text.endsWith("=") ? "" : " ");
    this.input.value = written + rest.trimStart();
    this.input.setSelectionRange(written.length, written.length);
    this.#changed(text.endsWith("="));
    if (!text.endsWith("=")) this.#close();
  }

  #key(event) {
    const options = this.list.hidden ? [] : [...this.list.children];
    if (event.key === "Enter") {
      event.preventDefault();
      if (this.#active >= 0 && options.length) this.#choose(this.#active);
      else this.apply(this.value.trim());
    } else if (event.key === "Escape") {
      if (!options.length && this.closest("dialog")) return; // closes it
      if (options.length) this.#close();
      else this.input.blur();
      event.preventDefault();
    } else if (event.key === "Tab" && this.#active >= 0 && options.length) {
      event.preventDefault();
      this.#choose(this.#active);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!options.length) return this.#complete();
      options[this.#active]?.setAttribute("aria-selected", "false");
      const step = event.key === "ArrowDown" ? 1 : options.length - (this.#active < 0 ? 0 : 1);
      this.#active = (this.#active + step) % options.length;
      options[this.#active].setAttribute("aria-selected", "true");
      options[this.#active].scrollIntoView({ block: "nearest" });
      this.input.setAttribute("aria-activedescendant", options[this.#active].id);
    }
  }
}

customElements.define("filter-box", FilterBox);
