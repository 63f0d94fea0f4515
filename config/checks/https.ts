import { certificateProblems, describeCertificate, isCertificateOf } from "../certificate.ts";
import { tlsNames } from "../tls.ts";
import { found, type Check, type Finding } from "./check.ts";

/** The certificate; and the public URL, which must be HTTPS where HTTPS is served. */
export const checkHttps: Check = (given) => [...certificateFindings(given), ...publicUrlFindings(given)];

const certificateFindings: Check = ({ stack, rules, tls, tlsIsRead, secretsFile }) => {
  const where = "togather:tls";
  // A proxy before the router has the certificate, and says that visitors came by HTTPS.
  if (tls === undefined && stack.router.trustedProxies.length > 0 && /^https:/i.test(stack.publicUrl)) return [];
  if (tls === undefined)
    return found(rules.https, [
      {
        where,
        what: `${stack.environment} serves HTTPS, but no certificate is set`,
        fix: `pulumi config set --path togather:tls.certificateFile /path/fullchain.pem and the same for .keyFile; or the PEM texts as ${tlsNames.certificate} and ${tlsNames.key} in the environment or ${secretsFile}`,
      },
    ]);
  if (!tlsIsRead) return [];
  const problems = certificateProblems(tls);
  if (problems.length > 0)
    return problems.map(({ severity, what, fix }): Finding => ({
      where,
      what,
      fix,
      severity: severity === "broken" ? "error" : "warn",
    }));
  // Not refused: another proxy with its own certificate may be in front of the router.
  if (!/^https:/i.test(stack.publicUrl) || isCertificateOf(tls.certificate, stack.publicUrl)) return [];
  return found("warn", [
    {
      where,
      what: `the certificate is that of ${describeCertificate(tls.certificate)}, and togather:publicUrl is ${stack.publicUrl}: browsers refuse one of another name`,
    },
  ]);
};

const publicUrlFindings: Check = ({ stack, rules }) => {
  if (!/^http:/i.test(stack.publicUrl)) return [];
  return found(rules.https, [
    {
      where: "togather:publicUrl",
      what: `${stack.publicUrl} is plain HTTP, and ${stack.environment} serves HTTPS`,
      fix: `pulumi config set togather:publicUrl ${stack.publicUrl.replace(/^http:/i, "https:")}`,
    },
  ]);
};
