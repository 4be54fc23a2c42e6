// A gateway at work, as far as the kernel sees it: for each turn a request to
// the model's provider with a streamed answer, an exec tool call of five
// processes, four files read, one written and renamed. Arguments: turns,
// directory, provider, title. It begins at a line on its standard input, and
// ends with it.
import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import https from "node:https";
import readline from "node:readline";

const [turns, dir, provider, title] = process.argv.slice(-4);
if (title !== "-") process.title = title;

const ask = (turn) =>
  new Promise((resolve, reject) => {
    const req = https.request(`https://${provider}/v1/messages`, { method: "POST", rejectUnauthorized: false, agent: false }, (res) => {
      res.on("data", () => {});
      res.on("end", resolve);
    });
    req.on("error", reject);
    req.end(JSON.stringify({ turn, text: "x".repeat(4000) }));
  });

// As OpenClaw starts an exec tool call.
const call = (command) =>
  new Promise((resolve, reject) => {
    const text = `eval 'unset OPENCLAW_PREPEND_PATH; ${command}'`;
    const wrapper = `echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$0" "$@"`;
    const child = spawn("/bin/sh", ["-c", wrapper, "/bin/bash", "--noprofile", "--norc", "-c", text], { cwd: dir, stdio: ["ignore", "pipe", "inherit"] });
    child.stdout.on("data", () => {});
    child.on("error", reject);
    child.on("close", resolve);
  });

async function turn(n) {
  await ask(n);
  await call(`cat f1 | wc -c; /bin/true; ls . # turn ${n}`);
  for (let i = 0; i < 4; i++) await fs.readFile(`${dir}/f${i}`);
  await fs.writeFile(`${dir}/state.new`, "x".repeat(1000));
  await fs.rename(`${dir}/state.new`, `${dir}/state`);
}

const lines = readline.createInterface({ input: process.stdin });
lines.once("line", async () => {
  for (let i = 0; i < 4; i++) await fs.writeFile(`${dir}/f${i}`, "x".repeat(100));
  const start = process.hrtime.bigint();
  for (let n = 0; n < Number(turns); n++) await turn(n);
  console.log(JSON.stringify({ ns: Number(process.hrtime.bigint() - start) }));
});
lines.on("close", () => process.exit(0));
