// <time-histogram>: how many events a stream stores over time. Drag, or use the fields beside it, to select a range.

import { count, element, time } from "./dom.js";

const HEIGHT = 60;
const SVG = "http://www.w3.org/2000/svg";

class TimeHistogram extends HTMLElement {
  #bars = [];
  #from = -1;

  connectedCallback() {
    if (this.svg) return;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("role", "img");
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.ends = element("p", { class: "ends" });
    this.append(this.svg, this.ends);
    this.svg.addEventListener("pointerdown", (event) => {
      this.svg.setPointerCapture(event.pointerId);
      this.#select((this.#from = this.#at(event)), this.#from);
    });
    this.svg.addEventListener("pointermove", (event) => this.#from >= 0 && this.#select(this.#from, this.#at(event)));
    for (const end of ["pointerup", "pointercancel"]) this.svg.addEventListener(end, () => (this.#from = -1));
  }

  /** Show bars: `{from, to, count}` with dates. */
  show(bars) {
    this.#bars = bars;
    this.hidden = !bars.length;
    const most = Math.max(1, ...bars.map((bar) => bar.count));
    const total = bars.reduce((sum, bar) => sum + bar.count, 0);
    this.svg.setAttribute("viewBox", `0 0 ${Math.max(1, bars.length)} ${HEIGHT}`);
    this.svg.setAttribute("aria-label", `${count(total)} events over time, at most ${count(most)} in one of ${bars.length} bars`);
    this.svg.replaceChildren(
      ...bars.map((bar, index) => {
        const rect = document.createElementNS(SVG, "rect");
        const height = bar.count ? Math.max(1, (bar.count / most) * HEIGHT) : 0;
        const place = { x: index + 0.05, width: 0.9, y: HEIGHT - height, height };
        for (const [name, value] of Object.entries(place)) rect.setAttribute(name, value);
        const title = document.createElementNS(SVG, "title");
        title.textContent = `${time(bar.from, false)}: ${count(bar.count)}`;
        rect.append(title);
        return rect;
      }),
    );
    const shown = bars.length ? [time(bars[0].from, false), time(bars.at(-1).to, false)] : [];
    this.ends.replaceChildren(...shown.map((text) => element("span", {}, text)));
  }

  /** Mark the bars of a range. */
  mark(since, until) {
    this.#bars.forEach((bar, index) => {
      const isInside = (!since || bar.to > since) && (!until || bar.from < until);
      this.svg.children[index].classList.toggle("outside", !isInside);
    });
  }

  #at(event) {
    const box = this.svg.getBoundingClientRect();
    const index = Math.floor(((event.clientX - box.left) / box.width) * this.#bars.length);
    return Math.max(0, Math.min(this.#bars.length - 1, index));
  }

  #select(first, last) {
    if (!this.#bars.length) return;
    const detail = { since: this.#bars[Math.min(first, last)].from, until: this.#bars[Math.max(first, last)].to };
    this.dispatchEvent(new CustomEvent("range", { detail }));
  }
}

customElements.define("time-histogram", TimeHistogram);
