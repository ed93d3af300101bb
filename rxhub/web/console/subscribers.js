// The page "Subscribers": who is connected, and who would receive an event.

import { call } from "./api.js";
import { confirm } from "./confirm.js";
import { count, element, printable, template, time, toast } from "./dom.js";
import { readJson } from "./json-input.js";

const REFRESH_MS = 2000;
const MAX_TEXT = 300;

export class SubscribersPage {
  #timer = 0;
  #user = null;

  constructor(page) {
    page.append(template("subscribers-page"));
    this.page = page;
    this.find = (selector) => page.querySelector(selector);
    this.form = this.find(".receivers");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    this.form.elements.event.addEventListener("input", () => this.#read());
  }

  /** Keep the table up to date while it can be seen. */
  view(user) {
    this.#user = user;
    this.hide();
    this.#refresh();
  }

  hide() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  /** Show who would receive an event. */
  receivers(event) {
    this.form.elements.event.value = JSON.stringify(event, null, 2);
    this.#ask();
    this.form.scrollIntoView();
  }

  async #refresh() {
    try {
      if (!document.hidden) this.#show(await call("GET", "api/subscribers?limit=200"));
      this.find(".list-message").textContent = "";
    } catch (error) {
      this.find(".list-message").textContent = printable(error.message);
      if (error.status === 401) return;
    }
    if (!this.page.hidden) this.#timer = setTimeout(() => this.#refresh(), REFRESH_MS);
  }

  #show({ subscribers, next }) {
    const focused = document.activeElement?.dataset.client;
    this.find("tbody").replaceChildren(...subscribers.map((client) => this.#row(client)));
    if (focused) this.find(`[data-client="${CSS.escape(focused)}"]`)?.focus();
    this.find(".empty").hidden = subscribers.length > 0;
    this.find(".more").hidden = next === null;
    this.find(".scroll").hidden = !subscribers.length;
  }

  #row(client) {
    const cell = (text, name) => element("td", { class: name }, text);
    const texts = client.subscriptions.map(({ subscription }) =>
      element("li", { class: "mono" }, printable(subscription || "everything", MAX_TEXT)),
    );
    const more = client.subscription_count - texts.length;
    if (more > 0) texts.push(element("li", {}, `and ${count(more)} more`));
    const row = element(
      "tr", {},
      cell(printable(client.user, MAX_TEXT)),
      cell(`${client.protocol} ${client.id}`),
      cell(printable(client.address, MAX_TEXT)),
      cell(time(new Date(client.connected), false)),
      element("td", {}, texts.length ? element("ul", {}, ...texts) : "none"),
      cell(count(client.waiting), "number"),
      cell(count(client.sent), "number"),
      cell(count(client.dropped), "number"),
    );
    if (this.#user.is_admin) {
      const name = `Disconnect ${printable(client.user, 60)}, client ${client.id}`;
      const properties = { "aria-label": name, "data-client": client.id, click: () => this.#disconnect(client) };
      row.append(element("td", {}, element("button", properties, "Disconnect")));
    }
    return row;
  }

  async #disconnect({ id, user }) {
    const question = `Disconnect client ${id} of ${printable(user, 60)}?`;
    if (!(await confirm(question, "Hubs and ftrack's clients connect again by themselves.", "Disconnect"))) return;
    try {
      await call("DELETE", `api/subscribers/${id}`);
      toast("Disconnected.");
    } catch (error) {
      toast(error.message, true);
    }
    this.view(this.#user);
  }

  #read() {
    const check = (event) => (typeof event?.topic === "string" ? "" : "An event is an object with a string “topic”.");
    return readJson(this.form.elements.event, this.form.querySelector(".message"), check);
  }

  async #ask() {
    const event = this.#read();
    if (event === undefined) return;
    const list = this.find(".found");
    try {
      const { receivers, total } = await call("POST", "api/receivers", event);
      list.replaceChildren(...receivers.map(receiver));
      this.form.querySelector(".message").textContent =
        total === 0 ? "No subscriber receives this event." : `Receivers of this event, in order: ${count(total)}`;
    } catch (error) {
      list.replaceChildren();
      toast(error.message, true);
    }
  }
}

function receiver({ client, user, subscription }) {
  const text = element("span", { class: "mono" }, printable(subscription || "everything", MAX_TEXT));
  return element("li", {}, `${printable(user, 100)}, client ${client}: `, text);
}
