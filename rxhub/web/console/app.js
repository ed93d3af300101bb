// Signs in, shows the pages, and handles the keys that work everywhere.

import { call, session } from "./api.js";
import { announce, printable, toast } from "./dom.js";
import { explain } from "./explanation.js";
import { LivePage } from "./live.js";
import { PublishPage } from "./publish.js";
import { StoredPage } from "./stored.js";
import { SubscribersPage } from "./subscribers.js";
import { onSignedOut, signedOut } from "./tabs.js";

const find = (selector) => document.querySelector(selector);
const form = find("#sign-in");
let user = null;
let current = "live";

const actions = {
  explain: (event, filter) => explain(event, filter),
  receivers: (event) => {
    location.hash = "subscribers";
    pages.subscribers.receivers(event);
  },
  filter: () => pages.live.filter,
  replay: (range) => {
    location.hash = "live";
    pages.live.replay(range);
  },
};

const pages = {
  live: new LivePage(find("#live"), actions),
  subscribers: new SubscribersPage(find("#subscribers"), actions),
  publish: new PublishPage(find("#publish"), actions),
  stored: new StoredPage(find("#stored"), actions),
};

/** Show the page that the address names, if the user may use it. */
function route() {
  if (!user) return;
  const wanted = location.hash.slice(1);
  const name = pages[wanted] && isAllowed(wanted) ? wanted : "live";
  if (name !== current) pages[current].hide?.();
  current = name;
  for (const id of Object.keys(pages)) find(`#${id}`).hidden = id !== name;
  for (const link of document.querySelectorAll("nav a")) {
    const id = link.hash.slice(1);
    link.hidden = !isAllowed(id);
    if (id === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${find(`nav a[href="#${name}"]`).textContent} – rxhub`;
  pages[name].view?.(user);
}

function isAllowed(page) {
  if (page === "stored") return user.stores;
  return page !== "publish" || user.publish.length > 0;
}

function enter(found) {
  user = found;
  form.hidden = true;
  form.reset();
  find("header").hidden = false;
  find("header .who").textContent = printable(user.user);
  pages.live.start();
  route();
}

function leave(message = "") {
  const wasIn = user !== null;
  user = null;
  pages.live.stop();
  pages[current].hide?.();
  for (const id of Object.keys(pages)) find(`#${id}`).hidden = true;
  for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  find("header").hidden = true;
  form.hidden = false;
  form.querySelector(".message").textContent = message || (wasIn ? "Your session has ended. Sign in again." : "");
  document.title = "Sign in – rxhub";
  form.elements.user.focus();
}

async function signIn(credentials) {
  try {
    enter(await session(credentials));
  } catch (error) {
    leave(error.message);
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn({ user: form.elements.user.value.trim(), key: form.elements.key.value });
});

find(".sign-out").addEventListener("click", async () => {
  try {
    await call("DELETE", "api/session");
    signedOut();
    leave("You have signed out.");
  } catch (error) {
    toast(error.message, true);
  }
});

document.addEventListener("signed-out", () => user && leave());
onSignedOut(() => user && leave("You have signed out."));
addEventListener("hashchange", () => (location.hash.startsWith("#token=") ? begin() : route()));

document.addEventListener("keydown", (event) => {
  const inside = event.target.closest("input, textarea, select, dialog, filter-box");
  if (!user || inside || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("button, a, summary") && (event.key === " " || event.key === "Enter")) return;
  const isInList = event.target.closest("event-list") && event.key !== " " && event.key !== "Escape" && event.key !== "/";
  if (isInList || event.defaultPrevented || current !== "live") return;
  if (event.key === "/") pages.live.box.input.focus();
  else if (!pages.live.key(event)) return;
  event.preventDefault();
});

async function begin() {
  // The token of a sign-in link is in the fragment, which browsers do not send.
  const token = /^#token=(.+)$/.exec(location.hash)?.[1];
  if (token) history.replaceState(null, "", `${location.pathname}#live`);
  try {
    enter(await session(token ? { token } : undefined));
  } catch (error) {
    // A link that was used before is no harm in a browser that is signed in.
    const known = token ? await session().catch(() => null) : null;
    if (known) enter(known);
    else leave(token || error.status !== 401 ? error.message : "");
  }
}

begin();
announce("");
