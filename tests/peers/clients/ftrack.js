// ftrack's JavaScript client, unmodified.
const { EventHub, Event } = require("@ftrack/api");
const { serve, tell } = require("./commands.js");

console.log = console.error; // stdout is for answers
let hub;
const [, , url, user, key] = process.argv;

serve({
  connect: () => {
    hub ??= new EventHub(url, user, key);
    hub.connect();
  },
  connected: () => hub.isConnected(),
  subscribe: ({ subscription, id, reply }) =>
    hub.subscribe(
      subscription,
      (event) => {
        tell({ event });
        return reply;
      },
      { id },
    ),
  unsubscribe: ({ id }) => hub.unsubscribe(id),
  publish: ({ topic, data }) => hub.publish(new Event(topic, data)),
  ask: async ({ topic, data }) => (await hub.publishAndWaitForReply(new Event(topic, data), { timeout: 10 })).data,
  disconnect: () => hub.disconnect(),
});
