/** An adoption from beginning to end: each step once, continuing where an earlier run has stopped. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { environmentRules } from "../../config/schema/environments.ts";
import { secretsFileOf } from "../../config/secrets/secrets.ts";
import { slotNames } from "../../ops/contract/steps.ts";
import { formatBytes, seconds } from "../../ops/contract/units.ts";
import { confirm } from "../confirm.ts";
import { ready, type DeployContext } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import { findingsText, showFindings } from "../doctor/doctor.ts";
import { exitCodes } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { Collected, invocation } from "../output.ts";
import { StackFile } from "../stack-file.ts";
import { shortName } from "../stack-name.ts";
import { keepCertificate } from "./certificate.ts";
import { tryCopy } from "./copy.ts";
import { removeEnvironment, writeEnvironment, type WrittenEnvironment } from "./environment.ts";
import { nodeFindings } from "./findings.ts";
import type { ForeignHost } from "./host.ts";
import { lookAtNode, type Node } from "./look.ts";
import type { NodeNames } from "./node.ts";
import { oldDatabase, planText, prepare, refuseStack, type AdoptionPlan } from "./prepare.ts";
import { describeProxy, findProxy } from "./proxy.ts";
import { Adoption, type Takeover } from "./record.ts";
import { goBack, oldNodeNow, takeOver, type TakeoverJob } from "./takeover.ts";

export interface AdoptOptions {
  /** Everything except the takeover. */
  prepare: boolean;
  yes: boolean;
}

export interface AdoptJob {
  context: DeployContext;
  host: ForeignHost;
  names: NodeNames;
  project: string;
  /** Variables that the server's Go files name. Undefined: its source is not here. */
  read: ReadonlySet<string> | undefined;
}

const union = (one: readonly string[] = [], other: readonly string[] = []): string[] => [
  ...new Set([...one, ...other]),
];

/** Writes environment, certificate, ports and release to the stack's own files. */
function writeSettings({ context, project }: AdoptJob, adoption: Adoption, plan: AdoptionPlan): void {
  const { file, output } = context;
  const settings = file.settings();
  const { written, kept } = writeEnvironment(project, plan.environment, { file, settings });
  const before = adoption.record.environment;
  const environment: WrittenEnvironment = {
    settings: union(before?.settings, written.settings),
    listed: union(before?.listed, written.listed),
    unread: union(before?.unread, written.unread),
    maxConnections: before?.maxConnections === true || written.maxConnections,
    secrets: union(before?.secrets, written.secrets),
    made: union(before?.made, written.made),
  };
  if (settings.tls === undefined && plan.certificate !== undefined) {
    const files = keepCertificate(project, shortName(file.stack), plan.certificate);
    file.setValue(files, "tls");
    adoption.note({ tls: Object.values(files) });
  }
  if (adoption.record.ports === undefined) {
    const { ports, slotPorts, databasePort } = plan.beside;
    adoption.note({
      ports: {
        before: {
          ports: file.value("ports") ?? null,
          slotPorts: file.value("slotPorts") ?? null,
          databasePort: file.value("databasePort") ?? null,
        },
        final: settings.ports,
        beside: ports,
      },
    });
    file.setValue(ports, "ports");
    if (slotNames.some((slot) => slotPorts[slot] !== settings.slotPorts[slot])) file.setValue(slotPorts, "slotPorts");
    if (databasePort !== settings.databasePort) file.setValue(databasePort, "databasePort");
  }
  if (settings.slots[plan.release.slot] === undefined) {
    file.setSlot(plan.release.slot, plan.release.setting);
    adoption.note({ slot: plan.release.slot });
  }
  adoption.note({ environment });
  file.save();
  const secretsFile = secretsFileOf(settings);
  output.say(
    `environment  in ${file.name} and ${secretsFile}${written.made.length === 0 ? "" : `, and made up: ${written.made.join(", ")}`}`,
  );
  if (kept.length > 0)
    output.warn(`${kept.join(", ")}: ${file.name} or ${secretsFile} has another value than the old node; it stays.`);
}

/** Starts the old node's database again where a killed run, or a person, has stopped it. */
async function withDatabase({ host, names, context }: AdoptJob): Promise<Node> {
  const node = await lookAtNode(host, names);
  if (node.database !== undefined) return node;
  context.output.say(`Starting ${names.database}.`);
  await host.start(names.database, "no");
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await lookAtNode(host, names);
    } catch (error) {
      if (attempt === 30) throw error;
      await sleep(1_000);
    }
  }
}

const oldPortsOf = ({ slots, names }: Pick<Node, "slots" | "names">): TakeoverJob["oldPorts"] =>
  Object.fromEntries(slotNames.map((slot) => [names.slots[slot], slots[slot]?.port]));

/** The current state of everything that is about to be stopped. */
async function beginning(
  { host, names }: AdoptJob,
  node: Node,
  final: { http: number; https: number },
): Promise<Takeover> {
  const slots = slotNames.flatMap((slot) => {
    const one = node.slots[slot];
    return one === undefined || !["running", "restarting", "paused"].includes(one.state)
      ? []
      : [{ container: names.slots[slot], restart: one.restart }];
  });
  const database = await host.container(names.database);
  return {
    at: new Date().toISOString(),
    slots,
    database: { container: names.database, restart: database?.restart ?? "no" },
    proxy: await findProxy(host, node.databaseImage, [final.http, final.https]),
  };
}

/** An adoption in progress: its job, its record, and its outputs. */
interface Underway {
  job: AdoptJob;
  adoption: Adoption;
  node: Node;
  options: AdoptOptions;
  /** The command's own output, beside that of the deployments. */
  outer: DeployContext["output"];
  output: Collected;
}

/** @returns the exit code. */
export async function adopt(given: AdoptJob, options: AdoptOptions): Promise<number> {
  const outer = given.context.output;
  const output = new Collected(outer.json);
  const job: AdoptJob = { ...given, context: { ...given.context, output } };
  const { stack } = job.context.file;
  const adoption = new Adoption(job.project, stack);
  const { record } = adoption;
  const on = `--stack ${stack}`;
  refuseStack(job.context.settings, job.context.file);
  if (options.prepare && record.takeover !== undefined)
    throw new Failure(
      "config",
      `the takeover of ${stack} was begun, at ${record.takeover.at}: it is too late to prepare it`,
      `${invocation(`adopt ${on}`)} goes on, ${invocation(`adopt --undo ${on}`)} goes back`,
    );
  if (record.done !== undefined) {
    outer.result(
      { ok: true, done: record.done.at },
      () => `${stack} has adopted the node already, at ${record.done?.at}.\n  → ${invocation(`status ${on}`)}`,
    );
    return exitCodes.ok.code;
  }
  const node = record.takeover === undefined ? await lookAtNode(job.host, job.names) : await withDatabase(job);
  const underway: Underway = { job, adoption, node, options, outer, output };
  if (record.takeover !== undefined) return takeOverFrom(underway);
  const prepared = await makeReady(underway);
  if (typeof prepared === "number") return prepared;
  if (!options.prepare) return takeOverFrom({ ...underway, job: prepared });
  outer.result(
    { ok: true, prepared: true, trial: record.trial ?? null },
    () =>
      `All but the takeover is done; the old node serves.\n  → ${invocation(`adopt ${on}`)} takes over\n  → ${invocation(`adopt --undo ${on}`)} goes back`,
  );
  return exitCodes.ok.code;
}

/**
 * Environment, deployment and trial, as far as they are not done yet.
 * @returns the job to continue with, or the exit code where it can't continue.
 */
async function makeReady({ job, adoption, node, options, outer, output }: Underway): Promise<AdoptJob | number> {
  const { host, project, read } = job;
  const { record } = adoption;
  const { settings } = job.context;
  const { findings, plan } = await prepare({ host, node, settings, project, read, record });
  const all = [...nodeFindings(node, settings, record.ports === undefined), ...findings];
  if (plan === undefined || all.some(({ status }) => status === "fail"))
    return showFindings(outer, all, { closing: ". Nothing was changed." });
  const badly = all.filter(({ status }) => status !== "ok");
  if (badly.length > 0) output.say(findingsText(badly));
  let deployed = job;
  if (record.deployed === undefined) {
    output.say(planText(plan, job.context.file, settings));
    await confirm(
      `Adopt the node into ${job.context.file.stack}, up to the trial? You are asked again before the takeover.`,
      {
        yes: options.yes,
        output,
      },
    );
    writeSettings(job, adoption, plan);
    const context = await ready(job.context, {});
    deployed = { ...job, context: { ...context, settings: context.file.settings() } };
    const code = await deploy({
      ...deployed.context,
      dryRun: false,
      skipMigrations: false,
      force: false,
      meanwhile: () => oldNodeNow(deployed.context, oldPortsOf(node)),
    });
    if (code !== exitCodes.ok.code) {
      output.say(`  → once that is right, to go on: ${invocation(`adopt --stack ${context.file.stack}`)}`);
      return code;
    }
    adoption.note({ deployed: { at: new Date().toISOString() } });
  }
  if (record.trial === undefined || options.prepare) {
    output.say(
      `trial        copying ${formatBytes(node.database?.bytes ?? 0)} into a scratch database; the old node serves meanwhile`,
    );
    const trial = await tryCopy(deployed.context, plan.old);
    adoption.note({ trial: { at: new Date().toISOString(), ...trial } });
    output.say(
      `trial        ${trial.rows} rows in ${trial.tables} tables, as the old database has them, in ${seconds(trial.durationMs)}`,
    );
  }
  return deployed;
}

/**
 * The last step: from the question, or from where an earlier run has stopped, to the router's answer.
 * @returns the exit code.
 */
async function takeOverFrom({ job, adoption, node, options, outer, output }: Underway): Promise<number> {
  const { host, names } = job;
  const { record } = adoption;
  const { stack } = job.context.file;
  const final = record.ports?.final ?? job.context.settings.ports;
  const resumed = record.takeover !== undefined;
  const takeover = record.takeover ?? (await beginning(job, node, final));
  const stopped = [
    ...takeover.slots.map((slot) => slot.container),
    ...(takeover.proxy.kind === "none" ? [] : [describeProxy(takeover.proxy)]),
  ];
  if (resumed) output.say("Going on with the takeover that was begun.");
  else {
    output.say(
      `takeover     ${stopped.length === 0 ? "nothing has to be stopped" : `${stopped.join(", ")} will be stopped`}. Nobody is served from then on until the old slot has ended, its data are copied (that alone took ${seconds(record.trial?.durationMs ?? 0)} in the trial) and counted, and an \`up\` has moved the router to the ports ${final.http} and ${final.https}: each takes seconds, more where the Docker host is behind ssh.`,
    );
    await confirm("Take over now?", { yes: options.yes, output });
  }
  const values = await host.variables(node.databaseImage, names.environmentFile);
  const taken = await takeOver(
    {
      context: { ...job.context, before: await job.context.pulumi.before() },
      adoption,
      host,
      image: node.databaseImage,
      oldPorts: oldPortsOf(node),
    },
    resumed ? takeover : { ...takeover, at: new Date().toISOString() },
    oldDatabase(node, values),
  );
  outer.result({ ok: true, ...taken, stopped: [...stopped, names.database], deployments: output.results }, () =>
    [
      `${stack} serves: ${taken.rows} rows, counted, from ${taken.snapshot}; ${seconds(taken.outageMs)} without service.`,
      `Stopped, and not removed: ${[...stopped, names.database].join(", ")}.`,
      ...(record.tls === undefined
        ? []
        : [`The certificate is Caddy's, which renews it no more: see that ${record.tls[0]} and its key are renewed.`]),
      `  → ${invocation(`status --stack ${stack}`)}`,
    ].join("\n"),
  );
  return exitCodes.ok.code;
}

/**
 * Removes adopt's settings from the stack's files.
 * @returns a sentence about that.
 */
function takeOutSettings(project: string, stack: string, adoption: Adoption): string {
  const { record } = adoption;
  const file = StackFile.open(project, stack);
  const settings = file.settings();
  if (record.environment !== undefined) removeEnvironment(project, record.environment, { file, settings });
  if (record.slot !== undefined) file.setValue(undefined, "slots", record.slot);
  if (record.tls !== undefined) {
    file.setValue(undefined, "tls");
    for (const one of record.tls) rmSync(join(project, one), { force: true });
  }
  if (record.ports !== undefined) {
    for (const key of ["ports", "slotPorts", "databasePort"] as const)
      file.setValue(record.ports.before[key] ?? undefined, key);
  }
  file.save();
  adoption.forget();
  return `${file.name} and ${secretsFileOf(settings)} are without what adopt has written.`;
}

/**
 * Goes back to the old node alone, undoing this program's changes.
 * @returns the exit code.
 */
export async function undo(given: AdoptJob, options: Pick<AdoptOptions, "yes">): Promise<number> {
  const output = new Collected(given.context.output.json);
  const job: AdoptJob = { ...given, context: { ...given.context, output } };
  const { project, host, context } = job;
  const { stack } = context.file;
  const adoption = new Adoption(project, stack);
  const { record } = adoption;
  if (record.done !== undefined) {
    throw new Failure(
      "config",
      `the takeover is over: what was written since ${record.done.at} is in this stack's database alone. Nothing was changed.`,
      `to give that up: docs/from-deploy-sh.md says how to start the old node by hand`,
    );
  }
  const said: string[] = [];
  if (record.takeover !== undefined) {
    if (record.takeover.public !== undefined)
      await confirm(
        `The router may have served since ${record.takeover.public}: what was written there would be in this stack's database alone. Go back?`,
        { yes: options.yes, output },
      );
    const node = await withDatabase(job);
    said.push(
      await goBack({ context, adoption, host, image: node.databaseImage, oldPorts: oldPortsOf(node) }, record.takeover),
    );
  }
  const own = await host.ownContainers(context.settings.name);
  if (own.length > 0) {
    said.push(
      `This stack's own containers are there, beside the old node: ${own.join(", ")}.`,
      `  → ${invocation(`adopt --stack ${stack}`)} goes on`,
      "  → to take them away, with the data that were copied:",
      ...(environmentRules[context.settings.environment].protectData
        ? [`      npm run pulumi -- state unprotect --all --stack ${stack}`]
        : []),
      `      npm run pulumi -- destroy --stack ${stack}`,
      `      ${invocation(`adopt --undo --stack ${stack}`)}, which then takes the settings out`,
    );
  } else if (record.environment === undefined && record.ports === undefined) {
    said.push("There is nothing to undo: no adoption of this stack has begun.");
  } else {
    said.push(takeOutSettings(project, stack, adoption));
  }
  given.context.output.result({ ok: true, said }, () => said.join("\n"));
  return exitCodes.ok.code;
}
