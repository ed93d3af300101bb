// The page "Live": incoming events, a filter, rates of topics, and the details of an event.

import "./event-list.js";
import "./filter-box.js";
import "./rates.js";
import { announce, copy, count, element, printable, size, template, time, written } from "./dom.js";
import { Entry, Notice } from "./entry.js";
import { EventStream } from "./event-stream.js";
import { forms } from "./forms.js";
import { condition } from "./json-tree.js";
import { onCrowded } from "./tabs.js";
import { Vocabulary } from "./vocabulary.js";

const BATCH_MS = 100;
const MAX_EVENTS = 1000;
const MAX_CHARACTERS = 16e6;
const LEARNED_PER_BATCH = 5;
const STATES = {
  connecting: "Connecting …",
  live: "Live",
  lost: "Connection lost; reconnecting …",
  suspended: "Disconnected while hidden, because many pages are open",
  ended: "Replayed",
};

export class LivePage {
  #entries = [];
  #waiting = [];
  #dropped = 0;
  #timer = 0;
  #isPaused = false;
  #range = {};
  #open = null;
  #vocabulary = new Vocabulary();

  constructor(page, actions) {
    page.append(template("live-page"));
    this.page = page;
    this.actions = actions;
    this.find = (selector) => page.querySelector(selector);
    this.list = this.find("event-list");
    this.box = this.find("filter-box");
    this.rates = this.find("topic-rates");
    this.details = this.find(".details");
    this.box.vocabulary = this.#vocabulary;
    this.stream = new EventStream((batch) => this.#receive(batch), (state, reason) => this.#state(state, reason));
    this.box.addEventListener("filter", ({ detail }) => this.#start(detail, this.#range));
    this.rates.addEventListener("topic", ({ detail }) => this.box.add(condition(["topic"], detail)));
    this.list.addEventListener("open", ({ detail }) => this.#show(detail, true));
    this.list.addEventListener("move", ({ detail }) => !this.details.hidden && this.#show(detail, false));
    this.details.addEventListener("condition", ({ detail }) => this.box.add(detail));
    this.find(".pause").addEventListener("click", () => this.togglePause());
    this.find(".clear").addEventListener("click", () => this.clear());
    this.find(".now").addEventListener("click", () => this.#start(this.filter, {}));
    this.find(".close").addEventListener("click", () => this.closeDetails());
    this.find(".why").addEventListener("click", () => actions.explain(this.#open.decode(), this.filter));
    this.find(".who").addEventListener("click", () => actions.receivers(this.#open.decode()));
    for (const button of page.querySelectorAll("[data-copy]")) {
      const [form, what] = [button.dataset.copy, button.textContent];
      button.addEventListener("click", () => copy(forms[form](this.#open.redacted(), this.filter), `as ${what}`));
    }
    onCrowded(() => this.stream.suspend());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.stream.resume();
      this.#flush();
    });
  }

  filter = "";

  /** Begin to receive. */
  start() {
    this.#start(this.filter, this.#range);
  }

  stop() {
    this.stream.stop();
    this.clear();
  }

  /** Replay a range of a stream into the list. */
  replay(range) {
    this.#start(this.filter, range);
  }

  #start(filter, range) {
    this.filter = filter;
    this.#range = range;
    this.clear();
    this.find(".now").hidden = !range.since;
    this.stream.start(filter, range);
  }

  #state(state, reason = "") {
    const shown = this.find(".state");
    shown.className = `state ${state}`;
    shown.textContent = state === "refused" ? printable(reason) : STATES[state] + (reason ? ` (${printable(reason)})` : "");
    if (state === "lost" || state === "suspended") this.wasLost = true;
    if (state === "live" && this.wasLost) this.wasLost = !this.#add([new Notice("Reconnected")]);
  }

  #receive(batch) {
    const entries = batch.map((message) => gap(message) ?? new Entry(message));
    for (const entry of entries) if (entry.topic !== undefined) this.rates.count(entry.topic);
    this.#add(entries);
  }

  #add(entries) {
    for (const entry of entries) this.#waiting.push(entry);
    this.#dropped += bound(this.#waiting);
    if (!this.#timer && !document.hidden) this.#timer = setTimeout(() => this.#flush(), BATCH_MS);
    return true;
  }

  /** Show what has arrived: at most ten times a second, and not while the page is hidden or paused. */
  #flush() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#count();
    if (this.#isPaused || !this.#waiting.length) return;
    const added = this.#waiting.reverse();
    this.#waiting = [];
    this.#dropped = 0;
    for (const entry of added.slice(0, LEARNED_PER_BATCH)) {
      if (entry instanceof Entry && entry.length < 65_536) this.#vocabulary.learn(entry.redacted());
    }
    this.#entries = [...added, ...this.#entries];
    bound(this.#entries, true);
    this.list.show(this.#entries, added.length);
    this.find(".empty").hidden = true;
    this.#count();
  }

  #count() {
    const shown = `${count(this.#entries.length)} shown`;
    const buffered = `paused, ${count(this.#waiting.length)} of ${count(MAX_EVENTS)} buffered`;
    const dropped = this.#dropped ? `, ${count(this.#dropped)} dropped` : "";
    this.find(".count").textContent = this.#isPaused ? buffered + dropped : shown;
  }

  togglePause() {
    this.#isPaused = !this.#isPaused;
    const button = this.find(".pause");
    button.textContent = this.#isPaused ? "Resume" : "Pause";
    this.page.classList.toggle("paused", this.#isPaused);
    announce(this.#isPaused ? "Paused" : "Resumed");
    this.#flush();
  }

  clear() {
    this.#entries = [];
    this.#waiting = [];
    this.#dropped = 0;
    this.list.show(this.#entries, 0);
    this.find(".empty").hidden = false;
    this.#count();
  }

  #show(entry, focus) {
    if (!(entry instanceof Entry)) return;
    this.#open = entry;
    const event = entry.redacted();
    const facts = [
      ["Id", event.id], ["Sent", event.sent ?? null], ["Received", time(entry.received)],
      ["Target", event.target || null], ["Reply to", event.in_reply_to_event ?? event.inReplyToEvent ?? null],
      ["Size", size(entry.length)],
    ].filter(([, value]) => value != null);
    this.find(".details h2").textContent = printable(entry.topic, 300);
    this.find(".facts").replaceChildren(
      ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, printable(written(value), 200))]),
    );
    const { data, source } = event;
    this.find(".data-tree").show(data ?? null, ["data"]);
    this.find(".source-tree").show(source ?? null, ["source"]);
    this.details.hidden = false;
    this.page.classList.add("detailed");
    if (focus && matchMedia("(max-width: 900px)").matches) this.find(".close").focus();
  }

  closeDetails() {
    if (this.details.hidden) return false;
    this.details.hidden = true;
    this.page.classList.remove("detailed");
    this.list.focus();
    return true;
  }

  /** The keys of this page. */
  key(event) {
    if (event.key === " ") this.togglePause();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp" || event.key === "Enter") {
      this.list.focus();
      this.list.dispatchEvent(new KeyboardEvent("keydown", { key: event.key }));
    } else if (event.key === "Escape") return this.closeDetails();
    else return false;
    return true;
  }
}

/** Remove the oldest entries beyond the limits. Returns how many. */
function bound(entries, newestFirst = false) {
  let kept = 0;
  let characters = 0;
  const at = (age) => entries[newestFirst ? age : entries.length - 1 - age];
  while (kept < entries.length && kept < MAX_EVENTS && (characters += at(kept).length) <= MAX_CHARACTERS) kept++;
  const removed = entries.length - kept;
  if (removed) entries.splice(newestFirst ? kept : 0, removed);
  return removed;
}

/** The notice that events are missing; null for an event, which has a topic. */
function gap({ event, data }) {
  if (event !== "rxhub.gap") return null;
  const { topic, gap: found } = JSON.parse(data);
  if (topic !== undefined || !found) return null;
  const number = found.events ? `${count(found.events)} events` : "Events";
  return new Notice(`${number} are missing here. ${printable(written(found.reason), 300)}`);
}
