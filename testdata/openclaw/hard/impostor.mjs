// Takes the name of a gateway and runs a command as one would. What it is
// started with tells whose state it points at.
import { spawn } from "node:child_process";
process.title = "openclaw-gateway";
const command = process.argv[2];
const shell = `export PATH='/usr/bin:/bin'\neval 'unset OPENCLAW_PREPEND_PATH; ${command}'`;
process.stdin.once("data", () => {
  const child = spawn("/bin/sh", ["-c", 'echo 1000 > /proc/self/oom_score_adj 2>/dev/null; exec "$0" "$@"',
    "/bin/bash", "--noprofile", "--norc", "-c", shell], { stdio: "inherit" });
  child.on("exit", () => {
    console.log("ran");
    process.exit(0);
  });
});
