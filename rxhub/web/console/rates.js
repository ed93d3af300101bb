// <topic-rates>: a sparkline of the events per second of each topic.

import { element, printable } from "./dom.js";

const SECONDS = 60;
const RATE_SECONDS = 10;
const MAX_TOPICS = 200;
const MAX_SHOWN = 12;
const WIDTH = 80;
const HEIGHT = 18;
const SVG = "http://www.w3.org/2000/svg";

class TopicRates extends HTMLElement {
  #topics = new Map();
  #rows = [];
  #second = 0;

  connectedCallback() {
    this.list ??= this.appendChild(element("ul"));
    this.timer = setInterval(() => this.#tick(), 1000);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  /** Count an event. */
  count(topic) {
    let counts = this.#topics.get(topic);
    if (!counts) {
      if (this.#topics.size >= MAX_TOPICS) this.#topics.delete(this.#topics.keys().next().value);
      counts = new Uint32Array(SECONDS);
    } else if (counts[this.#second]) {
      counts[this.#second]++;
      return;
    }
    // The topic that was silent for longest is first.
    this.#topics.delete(topic);
    this.#topics.set(topic, counts);
    counts[this.#second]++;
  }

  clear() {
    this.#topics.clear();
    this.#draw();
  }

  #tick() {
    if (!document.hidden && this.isConnected) this.#draw();
    this.#second = (this.#second + 1) % SECONDS;
    for (const counts of this.#topics.values()) counts[this.#second] = 0;
  }

  #draw() {
    const sums = [...this.#topics].map(([topic, counts]) => [topic, counts, counts.reduce((sum, n) => sum + n, 0)]);
    const shown = sums.filter(([, , sum]) => sum).sort((a, b) => b[2] - a[2]).slice(0, MAX_SHOWN);
    while (this.#rows.length < shown.length) this.#addRow();
    this.#rows.forEach((row, index) => {
      row.hidden = index >= shown.length;
      if (row.hidden) return;
      const [topic, counts, sum] = shown[index];
      if (row.topic !== topic) {
        row.topic = topic;
        row.button.textContent = printable(topic, 100);
        row.button.title = `Use as filter: topic=${printable(topic, 100)}`;
      }
      row.rate.textContent = `${rate(counts, this.#second)}/s`;
      row.rate.title = `${sum} in the last minute`;
      const highest = Math.max(1, ...counts);
      const points = [];
      for (let age = SECONDS - 1; age >= 0; age--) {
        const number = counts[(this.#second - age + SECONDS) % SECONDS];
        const x = ((SECONDS - 1 - age) / (SECONDS - 1)) * WIDTH;
        points.push(`${x.toFixed(1)},${(HEIGHT - 1 - (number / highest) * (HEIGHT - 2)).toFixed(1)}`);
      }
      row.line.setAttribute("points", points.join(" "));
    });
  }

  #addRow() {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    svg.setAttribute("aria-hidden", "true");
    const row = element("li");
    row.line = svg.appendChild(document.createElementNS(SVG, "polyline"));
    row.rate = element("span", { class: "rate" });
    const choose = () => this.dispatchEvent(new CustomEvent("topic", { detail: row.topic }));
    row.button = element("button", { class: "quiet", click: choose });
    row.append(row.button, svg, row.rate);
    this.#rows.push(row);
    this.list.append(row);
  }
}

/** The events per second of the last seconds. */
function rate(counts, second) {
  let sum = 0;
  for (let age = 0; age < RATE_SECONDS; age++) sum += counts[(second - age + SECONDS) % SECONDS];
  const mean = sum / RATE_SECONDS;
  return mean < 10 ? mean.toFixed(1) : Math.round(mean).toLocaleString("en");
}

customElements.define("topic-rates", TopicRates);
