// The page "Stored": streams, replays, groups and dead letters.

import { call } from "./api.js";
import { confirm } from "./confirm.js";
import { count, element, printable, size, table, template, time, toast } from "./dom.js";
import "./histogram.js";
import "./json-tree.js";
import { redacted } from "./redaction.js";

const REFRESH_MS = 3000;
const MAX_LETTERS = 200;
const MAX_TEXT = 300;

export class StoredPage {
  #timer = 0;
  #user = null;
  #stream = "";
  #groups = new Map();
  #letters = [];
  #chosen = new Set();

  constructor(page, actions) {
    page.append(template("stored-page"));
    this.page = page;
    this.actions = actions;
    this.find = (selector) => page.querySelector(selector);
    this.form = this.find(".replay");
    this.fields = this.form.elements;
    this.histogram = this.find("time-histogram");
    this.find(".count-again").addEventListener("click", () => this.#count());
    for (const name of ["since", "until"]) this.fields[name].addEventListener("input", () => this.#mark());
    this.histogram.addEventListener("range", ({ detail }) => {
      this.fields.since.value = local(detail.since);
      this.fields.until.value = local(detail.until);
      this.#mark();
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const [since, until] = [moment(this.fields.since), moment(this.fields.until) || new Date().toISOString()];
      const group = this.fields.target.value;
      if (group) this.#replay(group, since || null, until);
      else actions.replay({ since: since || "first", until });
    });
    this.find(".retry").addEventListener("click", () => this.#retry());
    this.find(".drop").addEventListener("click", () => this.#drop());
    this.find(".all").addEventListener("change", ({ target }) => {
      this.#chosen = new Set(target.checked ? this.#letters.map((letter) => letter.id) : []);
      this.#showLetters();
    });
  }

  /** Keep the page up to date while it can be seen. */
  view(user) {
    this.#user = user;
    this.hide();
    for (const part of this.page.querySelectorAll(".admin")) part.hidden = !user.is_admin;
    this.#count();
    this.#refresh();
  }

  hide() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  async #refresh() {
    this.hide();
    try {
      if (!document.hidden) {
        const [{ streams }, letters] = await Promise.all([
          call("GET", "api/streams"),
          call("GET", `api/dead-letters?limit=${MAX_LETTERS}`),
        ]);
        this.#showStreams(streams);
        this.#showGroups(streams);
        this.#showNewLetters(letters);
      }
      this.find(".page-message").textContent = "";
    } catch (error) {
      this.find(".page-message").textContent = printable(error.message);
      if (error.status === 401) return;
    }
    if (!this.page.hidden) this.#timer = setTimeout(() => this.#refresh(), REFRESH_MS);
  }

  #showStreams(streams) {
    const rows = streams.map((stream) => [
      printable(stream.name), count(stream.messages), size(stream.bytes),
      stream.first ? time(new Date(stream.first), false) : "–", stream.last ? time(new Date(stream.last), false) : "–",
      stream.max_age ? `${count(Math.round(stream.max_age / 3600))} h` : "unlimited",
      stream.max_bytes >= 0 ? size(stream.max_bytes) : "unlimited", count(stream.replicas), count(stream.dead),
    ]);
    const headings = ["Stream", "#Events", "#Size", "Oldest", "Latest", "Kept for", "Size limit", "#Copies", "#Dead letters"];
    this.find(".streams").replaceChildren(table(headings, rows));
  }

  #showGroups(streams) {
    const now = Date.now();
    const seen = new Map();
    const rows = streams.flatMap((stream) =>
      stream.groups.map((group) => {
        // A group has settled what is neither waiting nor in progress.
        const settled = stream.last_sequence - group.waiting - group.pending;
        const key = `${stream.name} ${group.name}`;
        const before = this.#groups.get(key) ?? { now, settled };
        seen.set(key, now - before.now < 10_000 ? before : { now, settled });
        const seconds = (now - before.now) / 1000;
        const rate = seconds ? `${Math.max(0, (settled - before.settled) / seconds).toFixed(1)}/s` : "…";
        return [
          printable(group.name), printable(stream.name), count(group.waiting), count(group.pending), count(group.repeated), rate,
        ];
      }),
    );
    this.#groups = seen;
    const headings = ["Group", "Stream", "#Waiting", "#In progress", "#Redelivered", "#Settled"];
    this.find(".groups").replaceChildren(table(headings, rows));
    this.#offer(streams.flatMap((stream) => (stream.name === this.#stream ? stream.groups : [])));
    this.find(".no-groups").hidden = rows.length > 0;
    this.find(".groups").hidden = !rows.length;
  }

  /** Offer groups as targets of a replay, to administrators. */
  #offer(groups) {
    const { target } = this.fields;
    const names = this.#user.is_admin ? groups.map((group) => group.name) : [];
    if (names.join("\n") === [...target.options].slice(1).map((option) => option.value).join("\n")) return;
    const chosen = target.value;
    target.replaceChildren(new Option("Live", ""), ...names.map((name) => new Option(printable(name, 100), name)));
    target.value = names.includes(chosen) ? chosen : "";
  }

  #showNewLetters({ dead_letters: letters, next }) {
    const ids = letters.map((letter) => letter.id).join();
    if (ids === this.#letters.map((letter) => letter.id).join()) return;
    this.#letters = letters;
    this.#chosen = new Set(letters.map((letter) => letter.id).filter((id) => this.#chosen.has(id)));
    this.find(".more").hidden = next === null;
    this.#showLetters();
  }

  #showLetters() {
    const open = new Set([...this.page.querySelectorAll(".dead details[open]")].map((details) => details.dataset.id));
    this.find(".dead").replaceChildren(...this.#letters.map((letter) => this.#letter(letter, open.has(String(letter.id)))));
    this.find(".no-letters").hidden = this.#letters.length > 0;
    this.find(".letter-actions").hidden = !this.#letters.length || !this.#user.is_admin;
    this.#choose();
  }

  #letter(letter, isOpen) {
    const choose = ({ target }) => {
      if (target.checked) this.#chosen.add(letter.id);
      else this.#chosen.delete(letter.id);
      this.#choose();
    };
    const title = `${printable(letter.topic, 200)} – ${printable(letter.group, 100)}`;
    const about = `${count(letter.attempts)} attempt${letter.attempts === 1 ? "" : "s"}, ${time(new Date(letter.died), false)}`;
    const tree = element("json-tree");
    const details = element(
      "details", { "data-id": letter.id, open: isOpen },
      element("summary", {}, element("strong", {}, title), ` ${about}`, element("div", { class: "error" }, printable(letter.reason, MAX_TEXT))),
      letter.traceback ? element("pre", { tabindex: "0", "aria-label": "Traceback" }, lines(letter.traceback)) : null,
      tree,
    );
    tree.show(redacted(letter.event));
    const item = element("li", {}, details);
    if (this.#user.is_admin) {
      const box = element("input", { type: "checkbox", "aria-label": `Select dead letter ${letter.id}`, change: choose });
      box.checked = this.#chosen.has(letter.id);
      item.prepend(box);
    }
    return item;
  }

  #choose() {
    const number = this.#chosen.size;
    this.find(".retry").textContent = number ? `Retry ${count(number)}` : "Retry";
    this.find(".drop").textContent = number ? `Drop ${count(number)}` : "Drop";
    for (const name of ["retry", "drop"]) this.find(`.${name}`).disabled = !number;
    const all = this.find(".all");
    all.checked = number > 0 && number === this.#letters.length;
    all.indeterminate = number > 0 && number < this.#letters.length;
  }

  /** Deliver the events of a range to a group again, in parts. */
  async #replay(group, since, until) {
    const filter = this.actions.filter();
    const what = filter ? `the events that match ${filter}` : "all events of this range";
    const question = `Replay into the group ${printable(group, 100)}?`;
    if (!(await confirm(question, printable(`Its processes handle ${what} again.`, 500), "Replay"))) return;
    const button = this.form.querySelector(".primary");
    const progress = this.find(".progress");
    button.disabled = true;
    let [number, sequence] = [0, 0];
    try {
      while (sequence !== null && !this.page.hidden) {
        const body = { since, until, subscription: filter, sequence };
        const found = await call("POST", `api/groups/${encodeURIComponent(group)}/replay`, body);
        [number, sequence] = [number + found.replayed, found.next];
        progress.textContent = `${count(number)} events will be handled again.`;
      }
    } catch (error) {
      toast(error.message, true);
    } finally {
      button.disabled = false;
    }
  }

  async #retry() {
    await this.#change("POST", "api/dead-letters/retry", ({ retried }) => `${count(retried)} will be handled again.`);
  }

  async #drop() {
    const number = this.#chosen.size;
    const question = `Drop ${count(number)} dead letter${number === 1 ? "" : "s"}?`;
    if (!(await confirm(question, "They are deleted permanently.", "Drop"))) return;
    await this.#change("DELETE", "api/dead-letters", ({ dropped }) => `${count(dropped)} dropped.`);
  }

  async #change(method, path, told) {
    const ids = [...this.#chosen];
    this.#chosen.clear();
    try {
      toast(told(await call(method, `${path}?ids=${ids.join(",")}`)));
    } catch (error) {
      toast(error.message, true);
    }
    this.#refresh();
  }

  async #count() {
    try {
      const { stream, bins } = await call("GET", "api/histogram");
      this.#stream = stream;
      const bars = bins.map(({ since, until, events }) => ({ from: new Date(since), to: new Date(until), count: events }));
      this.histogram.show(bars);
      this.#mark();
    } catch (error) {
      toast(error.message, true);
    }
  }

  #mark() {
    const [since, until] = [this.fields.since, this.fields.until].map((field) => field.value && new Date(field.value));
    this.histogram.mark(since, until);
  }
}

const moment = (field) => (field.value ? new Date(field.value).toISOString() : "");
const lines = (text) => text.split("\n").map((line) => printable(line, 500)).join("\n");

/** A date as the value of an input. */
function local(date) {
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
