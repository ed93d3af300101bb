// The page "Publish": an event with replies.

import { send, values } from "./api.js";
import { count, element, printable, template, written } from "./dom.js";
import { readJson } from "./json-input.js";
import "./json-tree.js";
import { redacted } from "./redaction.js";

export class PublishPage {
  #publish = ["*"];

  constructor(page) {
    page.append(template("publish-page"));
    this.find = (selector) => page.querySelector(selector);
    this.form = this.find("form");
    this.fields = this.form.elements;
    this.fields.topic.addEventListener("input", () => this.#checkTopic());
    this.fields.data.addEventListener("input", () => this.#readData());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  view(user) {
    this.#publish = user.publish;
    this.find("datalist").replaceChildren(...user.publish.map((topic) => new Option(topic.replace(/\*$/, ""))));
  }

  #checkTopic() {
    const topic = this.fields.topic.value;
    const matches = (rule) => (rule.endsWith("*") ? topic.startsWith(rule.slice(0, -1)) : topic === rule);
    const error = this.#publish.some(matches) ? "" : `Your rules allow these topics: ${this.#publish.join(", ")}.`;
    const isWrong = topic !== "" && error !== "";
    const message = this.find(".topic-message");
    message.textContent = isWrong ? printable(error, 500) : "";
    message.classList.toggle("error", isWrong);
    this.fields.topic.setAttribute("aria-invalid", String(isWrong));
    return !isWrong;
  }

  #readData() {
    return readJson(this.fields.data, this.find(".data-message"));
  }

  async #send() {
    const data = this.#readData();
    if (data === undefined || !this.#checkTopic()) return;
    const seconds = Number(this.fields.reply.value);
    const replies = this.find(".replies");
    const button = this.form.querySelector("button");
    replies.replaceChildren();
    this.#say("Publishing …");
    button.disabled = true;
    const controller = new AbortController();
    try {
      const path = seconds ? `api/events?reply=${seconds}` : "api/events";
      const options = { signal: controller.signal, headers: seconds ? { accept: "application/x-ndjson" } : {} };
      const event = { topic: this.fields.topic.value, data };
      const response = await send("POST", path, event, options);
      for await (const found of seconds ? values(response, controller) : [await response.json()]) {
        if (found.ids) this.#say(`Published as ${found.ids[0]}.`);
        else replies.append(reply(found));
      }
      if (seconds) this.#say(`${this.find(".result").textContent} Replies: ${count(replies.children.length)}.`);
    } catch (error) {
      this.#say(error.message, true);
    } finally {
      controller.abort();
      button.disabled = false;
    }
  }

  #say(text, isError = false) {
    const result = this.find(".result");
    result.textContent = printable(text, 1000);
    result.classList.toggle("error", isError);
  }
}

function reply(event) {
  const { data, source } = redacted(event);
  const tree = element("json-tree");
  tree.show(data);
  return element("li", {}, printable(written(source?.user?.username ?? source?.id ?? "unknown"), 100), tree);
}
