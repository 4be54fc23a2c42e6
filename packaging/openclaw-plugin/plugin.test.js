// node --test

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import plugin, { hooks } from "./index.js";
import { Line } from "./line.js";

const CALLS = 10_000;
const QUEUE = 256;

// place gives the path of a socket that is not there yet.
function place(t) {
  const dir = mkdtempSync(join(tmpdir(), "plugin-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return join(dir, "s");
}

// agent listens at a path and keeps the lines that it is told.
async function agent(t, path, options = {}) {
  const lines = [];
  const peers = new Set();
  const server = createServer(options, (peer) => {
    peers.add(peer);
    if (options.pauseOnConnect) return;
    let rest = "";
    peer.on("error", () => {});
    peer.on("data", (chunk) => {
      const parts = (rest + chunk).split("\n");
      rest = parts.pop();
      lines.push(...parts.map((text) => JSON.parse(text)));
    });
  });
  await new Promise((listening) => server.listen(path, listening));
  const stop = () => {
    for (const peer of peers) peer.destroy();
    return new Promise((closed) => server.close(closed));
  };
  t.after(stop);
  return { lines, peers, stop };
}

async function until(what, is) {
  for (const began = Date.now(); !is(); ) {
    assert.ok(Date.now() - began < 60_000, `${what}: not within a minute`);
    await new Promise((later) => setTimeout(later, 10));
  }
}

// Nothing else runs between the calls here: each of them returns without waiting
// for anything, or this would not end.
function sayAll(line) {
  for (let n = 0; n < CALLS; n++) assert.equal(line.say({ ev: "begin", n }), undefined);
}

test("without an agent nothing waits, and little is kept", async (t) => {
  const path = place(t);
  const line = new Line(path, { ev: "hello" });
  sayAll(line);
  assert.equal(line.waiting, QUEUE);
  assert.equal(line.lost, CALLS - QUEUE);
  const { lines } = await agent(t, path);
  let more = 0;
  await until("the agent is found", () => {
    line.say({ ev: "end", n: more++ });
    return lines.some((m) => m.ev === "end");
  });
  assert.equal(lines[0].ev, "hello");
  assert.ok(lines[0].lost >= CALLS - QUEUE, "the agent is told how many are missing");
  assert.ok(lines.some((m) => m.n === CALLS - 1), "the latest were kept");
});

test("an agent that never reads makes nothing wait, and little is kept", async (t) => {
  const path = place(t);
  const { peers } = await agent(t, path, { pauseOnConnect: true });
  const line = new Line(path, { ev: "hello" });
  line.say({ ev: "begin" });
  await until("it is connected", () => peers.size === 1 && line.waiting === 0);
  for (let round = 0; round < 5; round++) {
    sayAll(line);
    await new Promise(setImmediate);
  }
  assert.ok(line.waiting <= QUEUE);
  assert.ok(line.lost > CALLS, `${line.lost} of ${5 * CALLS} were dropped`);
});

test("an agent that comes back is greeted again", async (t) => {
  const path = place(t);
  const line = new Line(path, { ev: "hello", state: "/x" });
  for (let round = 0; round < 2; round++) {
    const { lines, stop } = await agent(t, path);
    await until("the agent is greeted", () => {
      line.say({ ev: "begin" });
      return lines.length > 1;
    });
    assert.deepEqual([lines[0].v, lines[0].ev, lines[0].state], [1, "hello", "/x"]);
    await stop();
  }
});

test("a call is told without what it is about", () => {
  const said = [];
  const { before_tool_call, after_tool_call, resolve_exec_env } = hooks((m) => said.push(m));
  const ctx = { agentId: "main", sessionId: "s1", sessionKey: "agent:main:alice", runId: "r1", requester: { senderId: "SECRET" } };
  const event = { toolName: "exec", toolCallId: "c1", params: { command: "SECRET" }, result: { content: "SECRET", details: { status: "running", aggregated: "SECRET" } } };
  assert.equal(before_tool_call(event, ctx), undefined);
  assert.equal(after_tool_call(event, ctx), undefined);
  const env = resolve_exec_env({ toolName: "exec", host: "gateway", sessionKey: "agent:main:alice" }, ctx);
  assert.match(env.CLAWWATCH_CALL, /^[0-9a-f]{32}$/);
  assert.deepEqual(Object.keys(env), ["CLAWWATCH_CALL"]);
  const who = { agent: "main", session: "s1", key: "agent:main:alice" };
  assert.deepEqual(said, [
    { ev: "begin", ...who, run: "r1", call: "c1", tool: "exec" },
    { ev: "end", ...who, run: "r1", call: "c1", tool: "exec", open: true },
    { ev: "tag", ...who, tag: env.CLAWWATCH_CALL },
  ]);
  assert.ok(!JSON.stringify(said).includes("SECRET"));
  assert.notEqual(resolve_exec_env({ host: "gateway" }, ctx).CLAWWATCH_CALL, env.CLAWWATCH_CALL);
});

test("what runs elsewhere, or in no known session, gets no tag", () => {
  const { resolve_exec_env } = hooks(() => {});
  for (const host of ["node", "sandbox", undefined]) assert.equal(resolve_exec_env({ host }, { sessionId: "s1" }), undefined);
  assert.equal(resolve_exec_env({ host: "gateway" }, { sessionKey: "agent:main:alice" }), undefined);
});

// register gives the hooks that the plugin registers.
function register(socket, runtime = { state: { resolveStateDir: () => tmpdir() } }, registrationMode = "full") {
  const registered = {};
  plugin.register({ pluginConfig: { socket }, runtime, registrationMode, on: (name, hook) => (registered[name] = hook) });
  return registered;
}

test("no hook throws, whatever it is given", (t) => {
  const registered = register(place(t), undefined);
  assert.deepEqual(Object.keys(registered).sort(), ["after_tool_call", "before_tool_call", "resolve_exec_env"]);
  const evil = new Proxy({}, { get() { throw new Error("no"); } });
  for (const hook of Object.values(registered)) {
    for (const value of [undefined, null, 1, evil, { result: evil }]) assert.equal(hook(value, value), undefined);
  }
});

test("registered twice, the hooks of either registration are heard", async (t) => {
  const path = place(t);
  const { lines, peers } = await agent(t, path);
  const [first, second] = [register(path), register(path, undefined, "discovery")];
  first.before_tool_call({ toolCallId: "c1" }, { sessionId: "s1" });
  second.before_tool_call({ toolCallId: "c2" }, { sessionId: "s1" });
  await until("both are heard", () => lines.length === 3);
  assert.deepEqual(lines.map((m) => m.call), [undefined, "c1", "c2"]);
  assert.equal(peers.size, 1);
});

test("a gateway that a tool call started does not hand on that call's tag", (t) => {
  process.env.CLAWWATCH_CALL = "of the call that started this";
  register(place(t));
  assert.equal(process.env.CLAWWATCH_CALL, undefined);
});
