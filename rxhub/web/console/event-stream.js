// The stream of events of a filter. Reconnects, and continues after the last event if the server stores events.

import { messages, send } from "./api.js";
import { holdStream, releaseStream } from "./tabs.js";

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 8_000;

export class EventStream {
  #controller = null;
  #lastId = "";
  #query = null;

  /**
   * @param onBatch called with the messages that arrived together.
   * @param onState called with `connecting`, `live`, `lost`, `suspended`, `ended` or `refused`, and a reason.
   */
  constructor(onBatch, onState) {
    this.onBatch = onBatch;
    this.onState = onState;
  }

  /** Begin with a filter; `range` has `since` and `until` of a replay. Ends the stream before. */
  start(subscription, range = {}) {
    this.stop();
    this.#lastId = "";
    this.#query = new URLSearchParams({ subscription: subscription || "topic=*", ...range });
    this.resume();
  }

  stop() {
    this.#controller?.abort();
    this.#controller = null;
    this.#query = null;
    releaseStream();
  }

  /** End the connection until `resume` continues after the last event. */
  suspend() {
    const query = this.#query;
    this.stop();
    this.#query = query;
    if (query) this.onState("suspended");
  }

  /** Continue, unless it is running or was stopped. */
  resume() {
    if (this.#controller || !this.#query) return;
    holdStream();
    this.#run(this.#query, (this.#controller = new AbortController()));
  }

  async #run(query, owner) {
    for (let delay = FIRST_DELAY_MS; owner === this.#controller; delay = Math.min(2 * delay, LONGEST_DELAY_MS)) {
      this.onState("connecting");
      const controller = new AbortController();
      const abort = () => controller.abort();
      owner.signal.addEventListener("abort", abort);
      try {
        const headers = { accept: "text/event-stream" };
        if (this.#lastId) headers["last-event-id"] = this.#lastId;
        const response = await send("GET", `api/events?${query}`, undefined, { headers, signal: controller.signal });
        this.onState("live");
        for await (const batch of messages(response, controller)) {
          if (owner !== this.#controller) return;
          this.#lastId = batch.findLast((message) => message.id)?.id ?? this.#lastId;
          delay = FIRST_DELAY_MS;
          this.onBatch(batch);
        }
        if (query.has("until")) return this.onState("ended");
        this.onState("lost");
      } catch (error) {
        if (owner !== this.#controller) return;
        if (error.status >= 400 && error.status < 500 && error.status !== 429) {
          return this.onState("refused", error.message);
        }
        this.onState("lost", error.status ? error.message : "");
      } finally {
        controller.abort();
        owner.signal.removeEventListener("abort", abort);
      }
      await new Promise((resolve) => setTimeout(resolve, delay * (0.75 + Math.random() / 2)));
    }
  }
}
