import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Does `work` while no other process does so under the same lock file. The lock is SQLite's, thus the operating
 * system's: it ends with the process, however that ends, so that nothing stale can stay behind.
 */
export async function withLock<T>(file: string, onWait: () => void, work: () => Promise<T>): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  // Here, because older Nodes warn of it.
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(file);
  try {
    for (let told = false; ; told = true) {
      try {
        database.exec("BEGIN EXCLUSIVE");
        break;
      } catch (error) {
        if (!(error instanceof Error) || !error.message.includes("locked")) throw error;
        if (!told) onWait();
        await sleep(500);
      }
    }
    return await work();
  } finally {
    database.close();
  }
}
