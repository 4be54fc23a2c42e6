// The clawwatch plugin for OpenClaw. It tells the clawwatch agent of the host
// when each tool call begins and ends, and gives every exec call that runs on
// the gateway's host a tag in its environment: a random word that nobody else
// knows at that moment, and that the agent is told together with the session it
// was made for. The agent checks it against the kernel's lineage and OpenClaw's
// records; it is a claim, and no proof.
//
// It says who and when, and never what: no arguments, no contents. The hooks
// return at once, whatever the agent does (line.js), and none of them throws:
// before_tool_call would block the call.
//
// OpenClaw asks resolve_exec_env for the session and not for the call, so a tag
// is the session's. Which of its calls it is follows from the command.

import { randomBytes } from "node:crypto";
import { realpathSync } from "node:fs";
import { Line } from "./line.js";

const VARIABLE = "CLAWWATCH_CALL";
const SOCKET = "/run/clawwatch/plugin.sock";

// The lines of this process, by socket. OpenClaw registers a plugin more than
// once, and the hooks that it calls can be those of a later registration that
// says of itself that it only looks what there is ("discovery").
const LINES = Symbol.for("clawwatch.plugin.lines.1");

// text keeps out what is no short text: of an id cut short nothing could be found.
const text = (v) => (typeof v === "string" && v.length > 0 && v.length <= 256 ? v : undefined);

// goesOn reports whether a result only says that the command runs on, or waits
// for somebody to approve it. Nothing else of a result is looked at.
const goesOn = (status) => status === "running" || status === "approval-pending";

// hooks are what the plugin does, by name; say takes what the agent is told.
export function hooks(say) {
  const who = (ctx) => ({ agent: text(ctx?.agentId), session: text(ctx?.sessionId), key: text(ctx?.sessionKey) });
  const call = (event, ctx) => ({
    ...who(ctx), run: text(ctx?.runId ?? event?.runId), call: text(event?.toolCallId ?? ctx?.toolCallId), tool: text(event?.toolName),
  });
  return { // void: what before_tool_call returns would change the call
    before_tool_call: (event, ctx) => void say({ ev: "begin", ...call(event, ctx) }),
    after_tool_call: (event, ctx) => void say({ ev: "end", ...call(event, ctx), open: goesOn(event?.result?.details?.status) }),
    resolve_exec_env: (event, ctx) => {
      if (event?.host !== "gateway" || !text(ctx?.sessionId)) return undefined;
      const tag = randomBytes(16).toString("hex");
      say({ ev: "tag", ...who(ctx), tag });
      return { [VARIABLE]: tag };
    },
  };
}

export default {
  id: "clawwatch",
  name: "clawwatch",
  description: "Tells the clawwatch agent of this host when tool calls begin and end",
  register(api) {
    // A gateway that was started by a tool call must not hand that call's tag on.
    delete process.env[VARIABLE];
    let state;
    try {
      state = text(realpathSync(api.runtime.state.resolveStateDir()));
    } catch {
      // the agent knows it anyway; it would only have been compared
    }
    const lines = (globalThis[LINES] ??= new Map());
    const socket = text(api.pluginConfig?.socket) ?? SOCKET;
    const line = lines.get(socket) ?? new Line(socket, { ev: "hello", state });
    lines.set(socket, line);
    const safe = (hook) => (event, ctx) => {
      try {
        return hook(event, ctx);
      } catch {
        return undefined; // better not told than a call that fails
      }
    };
    for (const [name, hook] of Object.entries(hooks((message) => line.say(message)))) {
      // Of several plugins that set a variable the last one counts.
      api.on(name, safe(hook), { priority: name === "resolve_exec_env" ? -1000 : 1000 });
    }
  },
};
