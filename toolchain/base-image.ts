import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installPackages } from "./apt.ts";
import { findProgram, type Machine } from "./machine.ts";
import { Problem } from "./problem.ts";
import { run, tail } from "./run.ts";
import type { Report, Step } from "./step.ts";

/** The base image of every Dockerfile of this project. */
const IMAGE = "debian:trixie-slim";
const SUITE = "trixie";
const EXTRA_CERTIFICATES = "/usr/local/share/ca-certificates";

/** Docker Hub, when it answers: the first line comes once it has, and has to come soon. */
async function pull(machine: Machine, report: Report): Promise<boolean> {
  report(`Pulling ${IMAGE}`);
  const probe = new AbortController();
  let answered = false;
  const pulling = run("docker", ["pull", IMAGE], {
    env: machine.env,
    timeLimit: 300_000,
    signal: probe.signal,
    onLine(line) {
      answered = true;
      report.detail(line);
    },
  });
  const timer = setTimeout(() => {
    if (!answered) probe.abort(new Error("no answer"));
  }, 15_000);
  const { ok } = await pulling;
  clearTimeout(timer);
  return ok;
}

/** Makes a proxy's own certificate trusted inside the images, for builds that go through it. */
async function trustHooks(): Promise<string[]> {
  const names = await readdir(EXTRA_CERTIFICATES).catch(() => []);
  const files = names.filter((name) => name.endsWith(".crt")).map((name) => join(EXTRA_CERTIFICATES, name));
  if (files.length === 0) return [];
  return [
    `--customize-hook=copy-in ${files.map((file) => `'${file}'`).join(" ")} ${EXTRA_CERTIFICATES}`,
    `--customize-hook=chroot "$1" update-ca-certificates`,
  ];
}

/** The same minimal Debian, put together from packages. It carries a label that says so. */
async function bootstrap(machine: Machine, report: Report): Promise<void> {
  if (!findProgram("mmdebstrap", machine.env))
    await installPackages(["mmdebstrap", "debian-archive-keyring"], machine, report);
  const directory = await mkdtemp(join(tmpdir(), "togather-base-image-"));
  try {
    const tar = join(directory, "base.tar");
    report(`Bootstrapping Debian ${SUITE} from its packages`);
    const made = await run(
      "mmdebstrap",
      ["--variant=minbase", "--include=ca-certificates", ...(await trustHooks()), SUITE, tar],
      {
        env: machine.env,
        onLine: report.detail,
        silenceLimit: 180_000,
      },
    );
    if (!made.ok)
      throw new Problem(`The base image could not be bootstrapped from Debian packages:\n${tail(made.output)}`);
    report(`Importing it as ${IMAGE}`);
    const imported = await run(
      "docker",
      ["import", "--change", "LABEL org.togather.stand-in=true", "--change", 'CMD ["bash"]', tar, IMAGE],
      { env: machine.env },
    );
    if (!imported.ok)
      throw new Problem(`The Docker engine refused the bootstrapped base image:\n${tail(imported.output)}`);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

export function baseImage(machine: Machine): Step {
  return {
    title: "Base image",
    async check() {
      const { ok } = await run("docker", ["image", "inspect", "--format", "{{.Id}}", IMAGE], {
        env: machine.env,
        timeLimit: 20_000,
      });
      return ok ? IMAGE : undefined;
    },
    async supply(report) {
      if (await pull(machine, report)) return `${IMAGE}, pulled`;
      if (!machine.isDebian || !machine.isRoot) {
        throw new Problem(
          `The image ${IMAGE} could not be pulled, and only root on Debian can put it together from packages. ` +
            `Where this machine can't reach Docker Hub, bring it from one that can:\n  docker save ${IMAGE} | ssh THIS-MACHINE docker load`,
        );
      }
      report("Docker Hub can't be reached");
      await bootstrap(machine, report);
      return `${IMAGE}, a stand-in made from Debian packages, because Docker Hub can't be reached`;
    },
  };
}
