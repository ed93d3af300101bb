// Checks JSON in a <textarea> while it is typed.

import { printable } from "./dom.js";
import { parse } from "./json.js";

/** The value of a text area, or undefined if it is not JSON. Shows the error, with its line, in `message`. */
export function readJson(area, message, check = () => "") {
  let value;
  let error = "";
  try {
    value = parse(area.value);
    error = check(value);
  } catch (problem) {
    const at = /position (\d+)/.exec(problem.message);
    const lines = area.value.slice(0, at ? Number(at[1]) : undefined).split("\n");
    error = `Line ${lines.length}, column ${lines.at(-1).length + 1}: ${problem.message.replace(/ in JSON at.*/s, "")}.`;
  }
  area.setAttribute("aria-invalid", String(!!error));
  message.textContent = printable(error, 300);
  message.classList.toggle("error", !!error);
  return error ? undefined : value;
}
