import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Document, isMap, isSeq, parseDocument, Scalar, type YAMLMap } from "yaml";
import type { DeploymentFile } from "../config/schema/deployment-file.ts";
import { snapshotRules, type SnapshotRules } from "../config/schema/snapshot-rules.ts";
import { environmentRules } from "../config/schema/environments.ts";
import { hostDirectories, type HostDirectories } from "../config/host-directories.ts";
import { parseConfig, readDeploymentFile } from "../config/settings.ts";
import { nearest } from "../config/nearest.ts";
import { SettingsError } from "../config/problems.ts";
import type { ReleaseSetting, StackSettings } from "../config/schema/stack-settings.ts";
import type { SlotName } from "../ops/contract/steps.ts";
import { exampleOf, stackFileName, stacksWithFile } from "./example-file.ts";
import { Failure } from "./failure.ts";
import { keepLayout } from "./keep-layout.ts";
import { invocation } from "./output.ts";

const prefix = "togather:";

/** The content of a stack file, without its secrets. */
export interface PlainSettings extends StackSettings, HostDirectories {
  name: string;
  /** Directory on the Docker host that holds the snapshots. */
  backupLocation: string;
  /** The storage for copies of snapshots. Null: none. */
  snapshotCopy: DeploymentFile["database"]["snapshot_copy"];
  /** Number of logs of this deployment that stay. */
  logRetention: number;
  /** Format, encryption and retention of snapshots. */
  snapshots: {
    retention: number;
    keepVerified: number;
    format: DeploymentFile["database"]["snapshot_format"];
    recipients: string[];
  };
  /** Whether migrations are tried on a copy of the data first. */
  rehearse: SnapshotRules["rehearse"];
  /** Whether snapshots are proved. */
  verify: SnapshotRules["verify"];
}

/** A text that every YAML reader reads as text: a commit of digits alone would be a number. */
function quoted(text: string): Scalar {
  const scalar = new Scalar(text);
  scalar.type = Scalar.QUOTE_DOUBLE;
  return scalar;
}

/** The usual notation: versions such as v1.4.0 need no quotes. */
function versionNode(version: string): Scalar {
  return /^v\d[\w.+-]*$/.test(version) ? new Scalar(version) : quoted(version);
}

/** A value without its encrypted parts. Undefined: everything is encrypted. */
function withoutEncrypted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  if ("secure" in value) return undefined;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]): [string, unknown][] => {
      const plain = withoutEncrypted(inner);
      return plain === undefined ? [] : [[key, plain]];
    }),
  );
}

/** Whether a part of a value is encrypted by Pulumi. */
function hasEncrypted(value: unknown): boolean {
  return isMap(value) && (value.has("secure") || value.items.some((item) => hasEncrypted(item.value)));
}

/** The style of a file: its byte order mark, its line ends, and the whole text as it was read, with plain line ends. */
interface Style {
  mark: string;
  lineEnd: string;
  original: string;
}

const writtenBy = (document: Document): string => document.toString({ lineWidth: 0 });

/** Whether a text is YAML with the same content as a document, in the same order. */
function saysTheSame(text: string, document: Document): boolean {
  const parsed = parseDocument(text);
  return parsed.errors.length === 0 && JSON.stringify(parsed.toJS()) === JSON.stringify(document.toJS());
}

/** `Pulumi.<stack>.yaml`, edited in place: comments, order and all other content stay. */
export class StackFile {
  /** The name for people: relative to the project. */
  readonly name: string;
  readonly stack: string;
  readonly #project: string;
  readonly #document: Document;
  readonly #style: Style;

  private constructor(project: string, stack: string, name: string, document: Document, style: Style) {
    this.#project = project;
    this.stack = stack;
    this.name = name;
    this.#document = document;
    this.#style = style;
  }

  /** @throws {Failure} when there is no such file, or it is not YAML. */
  static open(project: string, stack: string): StackFile {
    const name = stackFileName(stack);
    const file = join(project, name);
    if (!existsSync(file)) {
      const example = exampleOf(project, stack);
      if (example !== undefined)
        throw new Failure(
          "config",
          `there is no ${name} yet`,
          `${invocation(`up --stack ${stack}`)} makes it from ${example}`,
        );
      const known = stacksWithFile(project);
      const meant = nearest(stack, known) ?? known.find((one) => one.startsWith(stack));
      throw new Failure(
        "config",
        `there is no ${name}; stacks with a file: ${known.join(", ")}`,
        meant === undefined ? `write ${name}: docs/operations.md begins with one` : `--stack ${meant}`,
      );
    }
    const text = readFileSync(file, "utf8");
    const style = { mark: text.startsWith("\uFEFF") ? "\uFEFF" : "", lineEnd: text.includes("\r\n") ? "\r\n" : "\n" };
    const original = text.slice(style.mark.length).replaceAll("\r\n", "\n");
    const document = parseDocument(original);
    const [error] = document.errors;
    if (error) throw new Failure("config", `${name} is not YAML: ${error.message}`, "correct it; nothing was changed");
    return new StackFile(project, stack, name, document, { ...style, original });
  }

  /** The file's new text. */
  get text(): string {
    const { mark, lineEnd, original } = this.#style;
    const written = writtenBy(this.#document);
    const kept = keepLayout(original, writtenBy(parseDocument(original)), written);
    // Where a change can't be made in the author's layout, the library's own layout is used.
    return mark + (saysTheSame(kept, this.#document) ? kept : written).replaceAll("\n", lineEnd);
  }

  /** Whether Pulumi has created a stack for this file: it then notes there how secrets are encrypted. */
  get belongsToAStack(): boolean {
    return ["encryptionsalt", "secretsprovider", "encryptedkey"].some((key) => this.#document.has(key));
  }

  /** Whether the file has a value for a key, encrypted or not. */
  has(key: keyof StackSettings): boolean {
    return this.#document.hasIn(["config", `${prefix}${key}`]);
  }

  /**
   * The values under `togather:` in the form in which Pulumi passes them to the program: texts, structures as JSON.
   * Encrypted ones are left out.
   */
  #config(): Record<string, string> {
    const config = this.#document.get("config");
    if (!isMap(config)) return {};
    const values = config.toJS(this.#document) as Record<string, unknown>;
    return Object.fromEntries(
      Object.entries(values).flatMap(([key, value]) => {
        if (!key.startsWith(prefix) || value === null || value === undefined) return [];
        const plain = withoutEncrypted(value);
        if (plain === undefined) return [];
        return [[key.slice(prefix.length), typeof plain === "string" ? plain : JSON.stringify(plain)]];
      }),
    );
  }

  /** The values without encrypted parts, in the form in which Pulumi passes them to the program. */
  get plainConfig(): Record<string, string> {
    return Object.fromEntries(
      Object.entries(this.#config()).filter(
        ([key]) => !hasEncrypted(this.#document.getIn(["config", `${prefix}${key}`])),
      ),
    );
  }

  /**
   * @throws {SettingsError} with all problems of the file itself. Secrets and other files are checked by the program.
   */
  settings(): PlainSettings {
    const config = this.#config();
    const { value, problems } = parseConfig({ config });
    const deployment = readDeploymentFile({ config, projectDirectory: this.#project });
    problems.push(...deployment.problems);
    if (value === undefined || deployment.value === undefined || problems.length > 0) throw new SettingsError(problems);
    const name = value.name ?? value.environment;
    const listenAddress =
      value.listenAddress === "" ? environmentRules[value.environment].listenAddress : value.listenAddress;
    const { database, logging } = deployment.value;
    const snapshots = {
      retention: database.snapshot_retention,
      keepVerified: database.snapshot_keep_verified,
      format: database.snapshot_format,
      recipients: database.snapshot_recipients,
    };
    return {
      ...value,
      name,
      listenAddress,
      ...hostDirectories(deployment.value, name),
      backupLocation: database.backup_location,
      snapshotCopy: database.snapshot_copy,
      logRetention: logging.retention,
      snapshots,
      rehearse: snapshotRules(database, environmentRules[value.environment]).rehearse,
      verify: snapshotRules(database, environmentRules[value.environment]).verify,
    };
  }

  #map(path: string[]): YAMLMap {
    const found = this.#document.getIn(path);
    if (isMap(found)) return found;
    // An empty `config:` exists, but is no map.
    if (path.length > 1) this.#map(path.slice(0, -1));
    const made = this.#document.createNode({}) as YAMLMap;
    this.#document.setIn(path, made);
    return made;
  }

  /** Sets a slot's release; undefined empties it. */
  setSlot(slot: SlotName, release: ReleaseSetting | undefined): void {
    const slots = this.#map(["config", `${prefix}slots`]);
    if (release === undefined) {
      slots.delete(slot);
      return;
    }
    const held = slots.get(slot);
    const entry = isMap(held) ? held : (this.#document.createNode({}) as YAMLMap);
    if (!isMap(held)) {
      // In the style of the other slot: on one line, or one line for each key.
      const neighbour = slots.items.map(({ value }) => value).find(isMap);
      entry.flow = neighbour?.flow ?? false;
      slots.flow = slots.flow === true && slots.items.length > 0;
      slots.set(slot, entry);
    }
    const wanted: Record<string, Scalar> = {
      version: versionNode(release.version),
      ...("commit" in release ? { commit: quoted(release.commit) } : { image: quoted(release.image) }),
    };
    for (const key of ["version", "commit", "image"]) {
      const node = wanted[key];
      if (node === undefined) {
        entry.delete(key);
        continue;
      }
      const old: unknown = entry.get(key, true);
      // A comment behind the value stays there.
      if (old instanceof Scalar) node.comment = old.comment;
      entry.set(key, node);
    }
  }

  setActiveSlot(slot: SlotName): void {
    this.#map(["config"]);
    const path = ["config", `${prefix}activeSlot`];
    const old: unknown = this.#document.getIn(path, true);
    if (old instanceof Scalar) old.value = slot;
    else this.#document.setIn(path, slot);
  }

  /** A value of the file, by its keys below `togather:`. Undefined: none. */
  value(key: keyof StackSettings, ...path: string[]): unknown {
    const found: unknown = this.#document.getIn(["config", `${prefix}${key}`, ...path]);
    return isMap(found) || isSeq(found) ? found.toJS(this.#document) : found;
  }

  /**
   * Sets a value, by its keys below `togather:`; undefined removes it, and parents that are then empty. Texts are
   * quoted: `30` stays a text.
   */
  setValue(value: unknown, key: keyof StackSettings, ...path: string[]): void {
    const keys = ["config", `${prefix}${key}`, ...path];
    if (value === undefined) {
      this.#document.deleteIn(keys);
      const parent = keys.slice(0, -1);
      const left: unknown = this.#document.getIn(parent);
      if (path.length > 0 && (isMap(left) || isSeq(left)) && left.items.length === 0)
        this.setValue(undefined, key, ...path.slice(0, -1));
      return;
    }
    this.#map(keys.slice(0, -1));
    this.#document.setIn(keys, typeof value === "string" ? quoted(value) : this.#document.createNode(value));
  }

  /** Sets an option for this run only: call it on a file that is saved as a copy. */
  override(key: "force" | "skipMigrations" | "releaseAgain", value: boolean | string): void {
    this.#document.setIn(["config", `${prefix}${key}`], value);
  }

  /** Writes the file atomically. */
  save(): void {
    const file = join(this.#project, this.name);
    const partial = `${file}.partial`;
    writeFileSync(partial, this.text, { mode: statSync(file).mode & 0o777 });
    renameSync(partial, file);
  }

  /** Passes a temporary copy to one run of Pulumi, and removes it. */
  async withCopy<T>(use: (file: string) => Promise<T>): Promise<T> {
    const directory = mkdtempSync(join(tmpdir(), "togather-stack-"));
    try {
      const file = join(directory, this.name);
      writeFileSync(file, this.text, { mode: 0o600 });
      return await use(file);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  /** A copy of the file, to be changed for one run. */
  copy(): StackFile {
    return new StackFile(this.#project, this.stack, this.name, this.#document.clone(), this.#style);
  }
}
