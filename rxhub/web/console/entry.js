// One event of the list: its text, and what the list shows of it. The text is decoded when the list shows it.

import { printable, size, time } from "./dom.js";
import { isContainer, parse } from "./json.js";
import { redacted } from "./redaction.js";

const MAX_SUMMARY = 240;
const MAX_DECODED = 64 * 1024;

export class Entry {
  #parts = null;

  constructor({ id, event, data }) {
    this.id = id;
    this.topic = event;
    this.data = data;
    this.received = new Date();
    this.kind = "normal";
  }

  get length() {
    return this.data.length;
  }

  /** The event as it was sent. */
  decode() {
    return parse(this.data);
  }

  /** The event without secrets. */
  redacted() {
    return redacted(this.decode());
  }

  /** A part of its row. */
  text(part) {
    this.#parts ??= this.#read();
    return this.#parts[part];
  }

  #read() {
    const topic = printable(this.topic, 200);
    if (this.data.length > MAX_DECODED) {
      return { time: time(this.received), topic, data: `${size(this.data.length)} of data`, source: "" };
    }
    const { data, source, sent } = this.redacted();
    const user = [source?.user?.username, source?.host ?? source?.applicationId].filter((each) => typeof each === "string");
    return {
      time: time(typeof sent === "string" ? new Date(sent) : this.received),
      topic,
      data: printable(summary(data), MAX_SUMMARY),
      source: printable(user.join(" · "), 100),
    };
  }
}

/** A line of the list that is not an event. */
export class Notice {
  constructor(text) {
    this.kind = "notice";
    this.length = 0;
    this.received = new Date();
    this.message = text;
  }

  text(part) {
    if (part === "time") return time(this.received);
    return part === "data" ? this.message : "";
  }
}

function summary(data) {
  if (!isContainer(data)) return JSON.stringify(data) ?? "";
  let text = "";
  for (const [key, value] of Object.entries(data)) {
    if (text.length > MAX_SUMMARY) break;
    text += `${text ? "  " : ""}${key}=${short(value)}`;
  }
  return text || "no data";
}

function short(value) {
  if (typeof value === "string") return value.length > 60 ? `${value.slice(0, 60)}…` : value;
  if (Array.isArray(value)) {
    const first = value.slice(0, 5);
    return first.length && !first.some(isContainer) ? `[${first.map(short)}]` : `[${value.length}]`;
  }
  return isContainer(value) ? `{${Object.keys(value).slice(0, 5)}}` : JSON.stringify(value);
}
