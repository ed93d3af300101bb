// Requests to the HTTP interface of the server, relative to the page.

import { parse } from "./json.js";
import { setRules } from "./redaction.js";

const MISSED_HEARTBEATS = 3;

/** A request that failed, with the problem details of the response (RFC 9457). */
export class Problem extends Error {
  constructor(status, details) {
    super(details.detail || details.title || `The server answered with status ${status}.`);
    this.status = status;
    this.details = details;
  }
}

let csrfToken = "";
let silenceMs = 60_000;

/** The response to a request. Signals `signed-out` if the session has ended. */
export async function send(method, path, body, options = {}) {
  const headers = { accept: "application/json", ...options.headers };
  if (body !== undefined) headers["content-type"] ??= "application/json";
  if (method !== "GET") headers["x-csrf-token"] = csrfToken;
  const content = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  let response;
  try {
    response = await fetch(path, { method, body: content, ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The server cannot be reached." });
  }
  if (response.ok) return response;
  const details = await response.json().catch(() => ({}));
  if (response.status === 401) document.dispatchEvent(new Event("signed-out"));
  throw new Problem(response.status, details);
}

/** The JSON of a response. */
export async function call(method, path, body, options) {
  const response = await send(method, path, body, options);
  return response.status === 204 ? null : response.json();
}

/** The session of this page: who has signed in, and what the user may do. Throws a problem 401 without one. */
export async function session(signIn) {
  const found = await call(signIn ? "POST" : "GET", "api/session", signIn);
  csrfToken = found.csrf_token;
  silenceMs = Math.min(Math.max(5, MISSED_HEARTBEATS * found.heartbeat), 1e6) * 1000;
  setRules(found.secret_names);
  return found;
}

/** The messages of a response of Server-Sent Events, in the batches in which they arrive. */
export async function* messages(response, controller) {
  for await (const blocks of parts(response, controller, "\n\n")) {
    const batch = blocks.map(message).filter(Boolean);
    if (batch.length) yield batch;
  }
}

/** The values of a response of lines of JSON. */
export async function* values(response, controller) {
  for await (const lines of parts(response, controller, "\n")) {
    for (const line of lines) if (line) yield parse(line);
  }
}

/** The parts of a response before each separator, in the batches in which they arrive. */
async function* parts(response, controller, separator) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    // The server sends heartbeats, so silence is a lost connection.
    const timer = setTimeout(() => controller.abort(), silenceMs);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    // A separator may be cut in two.
    const searched = Math.max(0, text.length - separator.length + 1);
    text += value;
    const last = text.lastIndexOf(separator);
    if (last < searched) continue;
    const found = text.slice(0, last).split(separator);
    text = text.slice(last + separator.length);
    yield found;
  }
}

function message(block) {
  const found = { id: "", event: "", data: "" };
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon <= 0) continue; // a comment is a heartbeat
    const value = line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    const name = line.slice(0, colon);
    found[name] = name === "data" && found.data ? `${found.data}\n${value}` : value;
  }
  return found.data ? found : null;
}
