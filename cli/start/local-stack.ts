import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMap, parseDocument, type Document } from "yaml";
import { otherSlot } from "../../ops/contract/release.ts";
import type { SlotName } from "../../ops/contract/steps.ts";
import { Problem } from "../../toolchain/problem.ts";
import type { StackFile } from "../stack-file.ts";
import { freePorts } from "./free-port.ts";
import type { ReleaseSource } from "./release-source.ts";

export const STACK = "local";

const INTRODUCTION = ` The deployment that npm start makes on this machine. Git ignores this file, and npm start keeps what you change:
 it fills in what is missing, and puts a new commit into the idle slot. Keys: see config/schema/stack-settings.ts.`;

/** Directories of the deployment, below the project: ignored by git, and owned by the user who runs npm start. */
const directories = (project: string) => ({
  backups: join(project, ".togather", "backups"),
  logs: join(project, ".togather", "log", "deployments"),
  state: join(project, ".togather", "deployment"),
});

/** The settings of the stack of `npm start`. Comments and the user's own settings stay. */
export class LocalStackFile {
  readonly #file: string;
  readonly #document: Document;

  constructor(project: string) {
    this.#file = join(project, `Pulumi.${STACK}.yaml`);
    const document = parseDocument(existsSync(this.#file) ? readFileSync(this.#file, "utf8") : "");
    if (document.errors.length > 0)
      throw new Problem(`Pulumi.${STACK}.yaml is not YAML: ${document.errors[0]?.message ?? ""}`);
    this.#document = document;
  }

  #get(key: string): unknown {
    const value = this.#document.getIn(["config", `togather:${key}`]);
    return isMap(value) ? value.toJS(this.#document) : value;
  }

  #setUnlessPresent(key: string, value: unknown): void {
    const path = ["config", `togather:${key}`];
    if (!this.#document.hasIn(path)) this.#document.setIn(path, this.#document.createNode(value));
  }

  get isNew(): boolean {
    return this.#get("environment") === undefined;
  }

  /** Sets missing values: names, free ports, directories. */
  async fillIn(project: string, name: string): Promise<void> {
    if (this.isNew && !this.#document.commentBefore) this.#document.commentBefore = INTRODUCTION;
    this.#setUnlessPresent("environment", "staging");
    this.#setUnlessPresent("name", name);
    this.#setUnlessPresent("activeSlot", "blue");
    this.#setUnlessPresent("slots", {});
    this.#setUnlessPresent("listenAddress", "127.0.0.1");
    if (["ports", "slotPorts", "databasePort"].some((key) => this.#get(key) === undefined)) {
      // A second deployment on an engine leaves room for the first one's ports, some of which may be unused at the
      // moment.
      const room = 10 * (Number(/-(\d+)$/.exec(String(this.#get("name")))?.[1] ?? 1) - 1);
      const wished = { http: 8000, https: 8443, blue: 8080, green: 8081, database: 15432 };
      const { http, https, blue, green, database } = await freePorts(wished, room);
      this.#setUnlessPresent("ports", { http, https });
      this.#setUnlessPresent("slotPorts", { blue, green });
      this.#setUnlessPresent("databasePort", database);
    }
    this.#setUnlessPresent("tls", {
      certificateFile: ".togather/tls/certificate.pem",
      keyFile: ".togather/tls/key.pem",
    });
    this.#setUnlessPresent("secretsFile", ".env.local");
    const { backups, logs, state } = directories(project);
    this.#setUnlessPresent("deployment", {
      database: { backup_location: backups },
      logging: { location: logs },
      state: { location: state },
    });
    // Docker would create them too, but as root.
    for (const directory of Object.values(directories(project))) mkdirSync(directory, { recursive: true });
  }

  save(): void {
    writeFileSync(this.#file, this.#document.toString({ lineWidth: 0 }));
  }
}

/**
 * Puts a release into the idle slot and makes that slot the active one, unless a slot has the same sources already.
 * @param file it is changed, and not saved.
 * @param serving the slot that takes requests now, whatever the file says: a failed release may have flipped it.
 * @returns the slot of the release; undefined when there was nothing to release.
 */
export async function putIntoIdleSlot(
  file: StackFile,
  source: ReleaseSource,
  serving: SlotName | undefined,
): Promise<SlotName | undefined> {
  const { activeSlot, slots } = file.settings();
  for (const held of Object.values(slots)) if ("commit" in held && (await source.sameAs(held))) return undefined;
  const slot = serving === undefined ? activeSlot : otherSlot(serving);
  file.setSlot(slot, source.release);
  file.setActiveSlot(slot);
  return slot;
}
