/** The result of one check. */
export interface Finding {
  /** The subject: `docker`, `port 8080`, `commit of green`. */
  check: string;
  /** `warn`: everything works now; `fail`: it stops a deployment, or will. */
  status: "ok" | "warn" | "fail";
  found: string;
  expected?: string;
  /** The command or the sentence that mends it. */
  fix?: string;
}

export const ok = (check: string, found: string): Finding => ({ check, status: "ok", found });
export const warn = (check: string, found: string, expected: string, fix: string): Finding => ({
  check,
  status: "warn",
  found,
  expected,
  fix,
});
export const fail = (check: string, found: string, expected: string, fix: string): Finding => ({
  check,
  status: "fail",
  found,
  expected,
  fix,
});

/** The number of findings of each kind: `12 ok, 1 warning, 0 failed`. */
export function countFindings(findings: readonly Finding[]): string {
  const count = (status: Finding["status"]): number => findings.filter((finding) => finding.status === status).length;
  return `${count("ok")} ok, ${count("warn")} ${count("warn") === 1 ? "warning" : "warnings"}, ${count("fail")} failed`;
}
