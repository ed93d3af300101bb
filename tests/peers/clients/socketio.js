// The Socket.IO 0.9 client, on which ftrack's own clients were modelled; what a hub does is done by hand.
const io = require("socket.io-client");
const { randomUUID } = require("node:crypto");
const { serve, tell } = require("./commands.js");

console.log = console.error; // stdout is for answers
const [, , url, user, key] = process.argv;
const id = randomUUID();
const subscriptions = new Map();
const waiting = new Map();
let socket;

const emit = (topic, data, fields = {}) =>
  new Promise((resolve, reject) => {
    const event = { topic, data, id: randomUUID(), source: { id }, target: "", ...fields };
    socket.emit("ftrack.event", event, (answer) =>
      answer.success ? resolve(event.id) : reject(new Error(answer.message)),
    );
  });
const announce = ([name, { subscription }]) =>
  emit("ftrack.meta.subscribe", { subscriber: { id: name }, subscription });

const received = async (event) => {
  if (event.topic === "ftrack.meta.reply") {
    waiting.get(event.inReplyToEvent)?.(event.data);
    return;
  }
  tell({ event });
  for (const { reply } of subscriptions.values()) {
    if (reply !== undefined && reply !== null) {
      await emit("ftrack.meta.reply", reply, { target: `id=${event.source.id}`, inReplyToEvent: event.id });
    }
  }
};

serve({
  connect: () =>
    new Promise((resolve, reject) => {
      subscriptions.set(id, { subscription: "topic=ftrack.meta.reply" });
      const query = `api_user=${encodeURIComponent(user)}&api_key=${encodeURIComponent(key)}`;
      socket = io.connect(url, { query, "force new connection": true, transports: ["websocket"] });
      socket.on("ftrack.event", received);
      socket.on("error", reject);
      socket.on("connect", () => Promise.all([...subscriptions].map(announce)).then(() => resolve(), reject));
    }),
  connected: () => socket.socket.connected,
  subscribe: ({ subscription, id, reply }) => {
    subscriptions.set(id, { subscription, reply });
    return announce([id, { subscription }]).then(() => id);
  },
  unsubscribe: ({ id }) => {
    subscriptions.delete(id);
    return emit("ftrack.meta.unsubscribe", { subscriber: { id } });
  },
  publish: ({ topic, data }) => emit(topic, data),
  ask: ({ topic, data }) =>
    new Promise((resolve, reject) => {
      const question = randomUUID();
      waiting.set(question, resolve);
      emit(topic, data, { id: question }).catch(reject);
    }),
  disconnect: () => void socket.disconnect(),
});
