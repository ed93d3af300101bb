// An event as JSON, as a subscription, as a command, and as a test.

import { isContainer } from "./json.js";
import { condition, literal } from "./json-tree.js";

const MAX_CONDITIONS = 5;

const json = (event) => JSON.stringify(event, null, 2);
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** What a publisher sends. */
const content = ({ topic, data, target }) => (target ? { topic, data, target } : { topic, data });

/** The subscription that matches an event by its topic and the simple values of its data. */
function subscription({ topic, data }) {
  const simple = isContainer(data) && !Array.isArray(data) ? Object.entries(data) : [];
  const parts = simple
    .filter(([, value]) => value !== "***" && literal(value)?.length <= 80)
    .map(([key, value]) => condition(["data", key], value));
  return [condition(["topic"], topic), ...parts.filter(Boolean).slice(0, MAX_CONDITIONS)].join(" and ");
}

function curl(event) {
  const url = new URL("api/events", document.baseURI);
  return [
    `curl ${shell(url.href)} -u "$FTRACK_API_USER:$FTRACK_API_KEY"`,
    "-H 'Content-Type: application/json'",
    `--data-binary ${shell(JSON.stringify(content(event)))}`,
  ].join(" \\\n  ");
}

/** A value as a literal of Python. */
function python(value, indent = "") {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  // Escapes of JSON are valid in Python, except those of surrogates.
  if (typeof value === "string") return JSON.stringify(value).replace(/[\u007f-\uffff]+/g, escaped);
  if (!isContainer(value)) return JSON.stringify(value);
  const deeper = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((item) => deeper + python(item, deeper))
    : Object.entries(value).map(([key, item]) => `${deeper}${python(key)}: ${python(item, deeper)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return items.length ? `${open}\n${items.join(",\n")},\n${indent}${close}` : open + close;
}

const escaped = (text) =>
  Array.from(text, (character) => `\\U${character.codePointAt(0).toString(16).padStart(8, "0")}`).join("");

function test(event, filter) {
  const wanted = filter || subscription(event);
  const { topic, data } = event;
  return `from rxhub import Event, EventHub


def test_subscription_matches():
    hub = EventHub()
    received = []
    hub.subscribe(${python(wanted)}, received.append)
    event = Event(${python(topic)}, data=${python(data, "    ")})
    hub.publish(event, synchronous=True)
    assert received == [event]
`;
}

export const forms = { json, subscription, curl, test };
