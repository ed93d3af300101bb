// <event-list>: the latest events, newest first. It has elements for the visible rows only, whatever the number.

import { element } from "./dom.js";

const SPARE_ROWS = 4;
let lists = 0;

class EventList extends HTMLElement {
  #entries = [];
  #rows = [];
  #active = null;
  #frame = 0;
  #isHeld = false;

  connectedCallback() {
    if (this.body) return;
    this.rowId = `events-${++lists}`;
    this.setAttribute("role", "listbox");
    this.tabIndex = 0;
    this.body = element("div", { class: "rows", role: "presentation" });
    this.append(this.body);
    this.addEventListener("scroll", () => this.#schedule(), { passive: true });
    this.addEventListener("click", (event) => this.#click(event));
    this.addEventListener("keydown", (event) => this.#key(event));
    // Rows do not move away under the pointer: while it is here, the list stays where it is.
    this.addEventListener("pointerenter", ({ pointerType }) => (this.#isHeld = pointerType === "mouse" && !this.scrollTop));
    this.addEventListener("pointerleave", () => {
      if (this.#isHeld) this.scrollTop = 0;
      this.#isHeld = false;
    });
    this.addEventListener("wheel", () => (this.#isHeld = false), { passive: true });
    new ResizeObserver(() => this.#schedule()).observe(this);
  }

  /** The entry that the arrow keys have reached. */
  get active() {
    return this.#active;
  }

  /** Show entries: objects with `text(name)` for the parts of a row. `added` of them are new, at the begin. */
  show(entries, added) {
    const height = this.#height;
    const isKept = entries.length > added && (this.#isHeld || this.scrollTop > 0);
    this.#entries = entries;
    this.body.style.height = `${entries.length * height}px`;
    // Rows that are being read stay in place.
    if (isKept) this.scrollTop += added * height;
    this.#schedule();
  }

  get #height() {
    return parseFloat(getComputedStyle(this).getPropertyValue("--row-height"));
  }

  #schedule() {
    if (!this.#frame) this.#frame = requestAnimationFrame(() => this.#render());
  }

  #render() {
    this.#frame = 0;
    const height = this.#height;
    const first = Math.max(0, Math.floor(this.scrollTop / height) - SPARE_ROWS);
    const number = Math.min(this.#entries.length - first, Math.ceil(this.clientHeight / height) + 2 * SPARE_ROWS);
    while (this.#rows.length < number) this.#addRow();
    this.#rows.forEach((row, index) => {
      const entry = index < number ? this.#entries[first + index] : null;
      row.hidden = !entry;
      if (!entry) return;
      row.style.transform = `translateY(${(first + index) * height}px)`;
      row.setAttribute("aria-posinset", first + index + 1);
      row.setAttribute("aria-setsize", this.#entries.length);
      row.setAttribute("aria-selected", String(entry === this.#active));
      if (row.entry === entry) return;
      row.entry = entry;
      row.className = `event ${entry.kind}`;
      for (const part of row.children) part.textContent = entry.text(part.className);
    });
    const shown = this.#rows.find((row) => !row.hidden && row.entry === this.#active);
    if (shown) this.setAttribute("aria-activedescendant", shown.id);
    else this.removeAttribute("aria-activedescendant");
  }

  #addRow() {
    const parts = ["time", "topic", "data", "source"].map((name) => element("span", { class: name }));
    const row = element("div", { id: `${this.rowId}-${this.#rows.length}`, role: "option", class: "event" }, ...parts);
    this.#rows.push(row);
    this.body.append(row);
  }

  /** Move to an entry. */
  activate(entry) {
    this.#active = entry;
    const index = this.#entries.indexOf(entry);
    if (index >= 0) {
      const height = this.#height;
      const top = index * height;
      if (top < this.scrollTop) this.scrollTop = top;
      else if (top + height > this.scrollTop + this.clientHeight) this.scrollTop = top + height - this.clientHeight;
    }
    this.#schedule();
  }

  #click(event) {
    const entry = event.target.closest(".event")?.entry;
    if (entry) this.#open(entry);
  }

  #open(entry) {
    this.activate(entry);
    this.dispatchEvent(new CustomEvent("open", { detail: entry }));
  }

  #key(event) {
    const last = this.#entries.length - 1;
    const page = Math.max(1, Math.floor(this.clientHeight / this.#height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" && this.#active) this.#open(this.#active);
    else if (event.key in steps && last >= 0) {
      const from = this.#active ? this.#entries.indexOf(this.#active) : -1;
      this.activate(this.#entries[Math.max(0, Math.min(last, from + steps[event.key]))]);
      this.dispatchEvent(new CustomEvent("move", { detail: this.#active }));
    } else return;
    event.preventDefault();
  }
}

customElements.define("event-list", EventList);
