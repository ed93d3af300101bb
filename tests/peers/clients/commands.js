// Commands come as JSON lines on stdin, what happens goes as JSON lines to stdout.
const readline = require("node:readline");

exports.tell = (what) => process.stdout.write(JSON.stringify(what) + "\n");
exports.serve = (commands) => {
  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const { command, ...options } = JSON.parse(line);
    try {
      exports.tell({ done: command, result: (await commands[command](options)) ?? null });
    } catch (error) {
      exports.tell({ done: command, error: String(error) });
    }
  });
  process.stdin.on("end", () => process.exit(0));
};
