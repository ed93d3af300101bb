// JSON whose numbers stay as they were written. JavaScript would round integers above 2**53, and ids are such numbers.

const ROUNDED = /\d{16}|\d[eE]/;

/** The value of a text. Numbers that would change become raw JSON, if the browser has it. */
export function parse(text) {
  if (!JSON.rawJSON || !ROUNDED.test(text)) return JSON.parse(text);
  return JSON.parse(text, (_, value, { source }) =>
    typeof value === "number" && String(value) !== source ? JSON.rawJSON(source) : value,
  );
}

/** Whether a value is an object or a list. */
export function isContainer(value) {
  return value !== null && typeof value === "object" && !JSON.isRawJSON?.(value);
}
