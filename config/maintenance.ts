import type { Maintenance } from "../ops/host/serving-slot.ts";

/** Maintenance that is on, in a sentence. */
export const maintenanceText = ({ since, by, message }: Maintenance): string =>
  `Maintenance is on${since === "" ? "" : ` since ${since}`}${by === "" ? "" : `, by ${by}`}: the router answers 503 to the public${message === "" ? "" : ` ("${message}")`}.`;
