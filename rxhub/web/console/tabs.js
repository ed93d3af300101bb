// What the pages of one browser tell each other. They share its connections to a host: six with HTTP/1.1, and a stream
// takes one. So if more than four pages have a stream, hidden pages end theirs until they are looked at again.

const MAX_STREAMS = 4;
const LOCK = "rxhub-stream";

const channel = new BroadcastChannel("rxhub");
let release = null;

/** Count the stream of this page, and tell the others. */
export function holdStream() {
  if (release || !navigator.locks) return;
  const ended = new Promise((resolve) => (release = resolve));
  navigator.locks.request(LOCK, { mode: "shared" }, () => {
    channel.postMessage("stream");
    return ended;
  });
}

/** The stream of this page has ended. */
export function releaseStream() {
  release?.();
  release = null;
}

/** Call `suspend` when this page is hidden and there are too many streams. */
export function onCrowded(suspend) {
  channel.addEventListener("message", async ({ data }) => {
    if (data !== "stream" || !document.hidden || !release) return;
    const { held } = await navigator.locks.query();
    if (held.filter(({ name }) => name === LOCK).length > MAX_STREAMS) suspend();
  });
}

/** Tell the other pages that the user has signed out. */
export function signedOut() {
  channel.postMessage("signed-out");
}

/** Call `leave` when the user has signed out on another page. */
export function onSignedOut(leave) {
  channel.addEventListener("message", ({ data }) => data === "signed-out" && leave());
}
