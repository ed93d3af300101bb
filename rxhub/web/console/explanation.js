// The dialog "Why (not)?": the explanation of an event for the filter, for a subscriber, or for any subscription.

import { call } from "./api.js";
import { element, printable } from "./dom.js";

const MAX_LENGTH = 300;
const WORDS = { all: "all of", any: "any of", not: "not", everything: "everything" };

const dialog = document.getElementById("explanation");
const select = dialog.querySelector("select");
const box = dialog.querySelector("filter-box");
let event = null;

/** Open the dialog for an event and a subscription. */
export async function explain(explained, filter) {
  event = explained;
  select.replaceChildren(new Option("the filter", ""));
  dialog.showModal();
  box.apply(filter);
  try {
    const { subscribers } = await call("GET", "api/subscribers");
    for (const client of subscribers) {
      for (const { subscriber, subscription } of client.subscriptions) {
        const option = new Option(printable(`${client.user}: ${subscription || "everything"}`, 100));
        option.about = { client: client.id, subscriber, subscription };
        select.append(option);
      }
    }
  } catch (error) {
    show({ error });
  }
}

select.addEventListener("change", async () => {
  const { about } = select.selectedOptions[0];
  if (!about) return;
  box.input.value = about.subscription;
  // By the id of the subscriber: the text may lack secrets.
  await ask({ client: about.client, subscriber: about.subscriber });
});

box.addEventListener("filter", ({ detail }) => {
  select.selectedIndex = 0;
  ask({ subscription: detail });
});

async function ask(about) {
  try {
    show(await call("POST", "api/explain", { ...about, event }));
  } catch (error) {
    show({ error });
  }
}

function show({ matched, tree, error }) {
  const verdict = dialog.querySelector(".verdict");
  verdict.classList.toggle("error", !!error);
  verdict.textContent = error ? error.message : matched ? "The event matches." : "The event does not match.";
  dialog.querySelector(".tree").replaceChildren(...(tree ? [node(tree)] : []));
}

function node({ kind, text, matched, decisive, detail, children }) {
  const label = element("span", { class: "mono" }, printable(WORDS[kind] ?? text, MAX_LENGTH));
  const found = detail ? element("span", { class: "found" }, ` ${printable(detail, MAX_LENGTH)}`) : null;
  const mark = element("span", { class: "offscreen" }, matched ? "true: " : "false: ");
  const item = element("li", { class: `${matched ? "yes" : "no"} ${decisive ? "decisive" : ""}` }, mark, label, found);
  if (children.length) item.append(element("ul", {}, ...children.map(node)));
  return item;
}
