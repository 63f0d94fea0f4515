// `node database-forward.mjs CONTAINER PORT ENGINE`: forwards a port of this machine's loopback into PostgreSQL's
// container on the Docker host, through the Docker client alone. Prints the port on stdout: PORT, or the next one that
// is free. Ends with ENGINE, the address:port of the deployment's engine. Plain JavaScript, which starts in half the
// time.
import { spawn } from "node:child_process";
import { connect } from "node:http2";
import { createServer } from "node:net";

const [, , container, wished, address] = process.argv;

// In the container: copies both directions until either side closes.
const script = "exec 3<>/dev/tcp/127.0.0.1/5432 || exit 1; { cat <&3; kill $$; } & exec cat >&3";

const server = createServer({ allowHalfOpen: true }, (socket) => {
  const client = spawn("docker", ["exec", "--interactive", container, "bash", "-c", script], {
    stdio: ["pipe", "pipe", "inherit"],
    windowsHide: true,
  });
  for (const stream of [socket, client.stdin, client.stdout]) stream.on("error", () => undefined);
  client.once("error", () => socket.destroy());
  client.once("close", () => socket.end());
  socket.once("close", () => client.kill());
  socket.pipe(client.stdin);
  client.stdout.pipe(socket);
});

let port = Number(wished);
server.on("error", (error) => {
  if (error.code !== "EADDRINUSE") throw error;
  port += 1;
  server.listen(port, "127.0.0.1");
});
server.on("listening", () => console.log(port));
server.listen(port, "127.0.0.1");

const engine = connect(`http://${address}`);
engine.on("error", () => undefined);
engine.once("close", () => process.exit());
